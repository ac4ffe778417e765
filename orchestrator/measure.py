"""Measures of loyalty over a period: asked of the store by set, added up by group, worked out by `metrics`.

Classes, tiers, bands and memberships are those of now; who was what a year ago is not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple

import sqlalchemy as sa

from orchestrator import clv
from orchestrator.apply import Force
from orchestrator.clv import Past
from orchestrator.dates import day_after
from orchestrator.decide import Standing, standings
from orchestrator.metrics import (
    YEAR,
    Cohort,
    Figure,
    JourneyTally,
    Period,
    Size,
    Tally,
    cohort_name,
    figures,
    journey_figures,
    share,
    triangle,
)
from orchestrator.model import BANDS, Kind, Unit
from orchestrator.program import Value
from orchestrator.rows import ReadRow
from orchestrator.store import measures
from orchestrator.store import value as kept
from orchestrator.store.measures import Aim, Facts, Span
from orchestrator.store.value import Held
from orchestrator.terms import Happened
from orchestrator.words import Duration
from orchestrator.zones import instant, zone

By = Literal["class", "tier", "band", "cohort"]
_UNITS: tuple[Unit, ...] = ("customer", "account")
NOBODY = "–"
"""The group of those who have no tier, no band or no purchase."""


@dataclass(frozen=True, slots=True)
class Only:
    """Of whom: "" and None leave it open. `cohort`: when they first bought."""

    class_name: str = ""
    tier: str = ""
    band: str = ""
    cohort: Period | None = None

    def fits(self, one: Facts) -> bool:
        return (
            (not self.class_name or one.class_name == self.class_name)
            and (not self.tier or one.tier == self.tier)
            and (not self.band or one.band == self.band)
            and (self.cohort is None or (one.first is not None and self._first(one.first.date())))
        )

    def _first(self, day: date) -> bool:
        return self.cohort is not None and self.cohort.first <= day <= self.cohort.last

    def everybody(self) -> bool:
        return self == Only()


@dataclass(frozen=True, slots=True)
class Report:
    """`groups` by name where something was asked `by`; `cohorts` by class unit; `notes` to be read by a person.
    `experiments` as they stand, whatever the period."""

    period: Period
    margin: float
    total: Tally
    groups: Mapping[str, Tally] = field(default_factory=dict)
    journeys: Sequence[JourneyTally] = ()
    cohorts: Sequence[Cohort] = ()
    notes: tuple[str, ...] = ()
    experiments: Sequence[Standing] = ()

    def figures(self, group: str | None = None) -> dict[str, Figure]:
        return figures(self.total if group is None else self.groups[group], self.margin)

    def of_journeys(self) -> dict[str, dict[str, Figure]]:
        return {one.journey: journey_figures(one, self.margin) for one in self.journeys}

    def of_experiments(self) -> dict[str, tuple[Standing, dict[str, Figure], dict[str, Figure]]]:
        """By name: how it stands, each arm's rate, and the difference of the best to each other arm."""
        found = {}
        for one in self.experiments:
            runs = {arm.name: arm.runs for arm in one.arms}
            rates = {arm.name: share(arm.successes, arm.runs) for arm in one.arms}
            behind = {
                c.second: Figure(c.difference, runs[c.first] + runs[c.second], None, c.low, c.high)
                for c in one.finding.comparisons
                if c.difference is not None
            }
            found[one.name] = (one, rates, behind)
        return found


def measure(
    conn: sa.Connection,
    force: Force,
    period: Period,
    *,
    now: datetime,
    only: Only | None = None,
    by: By | None = None,
    size: Size = "month",
) -> Report:
    """Every measure of a period, of those that `only` names, and by group where asked. Days are the workspace's."""
    return _Measuring(conn, force, period, only or Only(), by, size, now).report()


class _Measuring:
    """One look. Counts are collected by unit and added to the total and to the unit's group."""

    def __init__(
        self, conn: sa.Connection, force: Force, period: Period, only: Only, by: By | None, size: Size, now: datetime
    ) -> None:
        self.conn, self.force, self.period, self.only, self.by, self.size = conn, force, period, only, by, size
        self.project, self.vocabulary = force.project, force.project.vocabulary
        self.value = force.project.program.value or Value()
        self.currency = self.vocabulary.currency
        tz = zone(self.vocabulary.timezone)
        start = instant(period.first, time(), tz) if tz else datetime.combine(period.first, time(), UTC)
        after = period.last + timedelta(days=1)
        end = instant(after, time(), tz) if tz else datetime.combine(after, time(), UTC)
        self.span = Span(start, min(end, now), now)
        self.inactive = self.value.inactive_after or Duration(months=12)
        self.notes: list[str] = []
        self.firsts: dict[Unit, dict[int, int]] = {}  # by unit and its id, the month of the first purchase

    def report(self) -> Report:
        if not self.value.event and not self.value.contract:
            self.notes.append("`program` has no `value`: nothing is known of purchases and contracts")
        total, groups = Tally(), dict[str, Tally]()
        for unit in _UNITS:
            for one, tally in self._of_unit(unit):
                total.add(tally)
                if self.by is not None:
                    groups.setdefault(self._group(one), Tally()).add(tally)
        if self.only.everybody():
            total.add(self._nameless())
        for name, tally in {"": total, **groups}.items():
            self._spend(name, tally)
        return Report(
            self.period,
            float(self.value.margin),
            total,
            {name: groups[name] for name in sorted(groups, key=self._place)},
            tuple(self._journeys()),
            tuple(self._cohorts()),
            tuple(self.notes),
            standings(self.conn, self.force, self.span.now) if self.only.everybody() else (),
        )

    def _group(self, one: Facts) -> str:
        if self.by == "cohort":
            return NOBODY if one.month is None else cohort_name(self._floored(one.month), self.size)
        found = {"class": one.class_name, "tier": one.tier, "band": one.band}[self.by or "class"]
        return f"{one.class_name} {found}" if found and self.by == "tier" else found or NOBODY

    def _place(self, group: str) -> tuple[int, str]:
        """Bands from the top, classes and tiers as they are declared, cohorts by time; nobody's last."""
        known: list[str] = []
        if self.by == "band":
            known = list(reversed(BANDS))
        elif self.by == "class":
            known = list(self.vocabulary.classes)
        elif self.by == "tier":
            known = [f"{name} {tier}" for name, of in self.vocabulary.classes.items() for tier in of.tiers]
        if group == NOBODY:
            return len(known) + 1, group
        return known.index(group) if group in known else len(known), group

    def _floored(self, month: int) -> int:
        step = {"month": 1, "quarter": 3, "year": 12}[self.size]
        return month // step * step

    # ---- units

    def _of_unit(self, unit: Unit) -> Iterator[tuple[Facts, Tally]]:
        """Each unit that is meant, with what it counts for."""
        classes = [
            name
            for name, of in self.vocabulary.classes.items()
            if of.unit == unit and self.only.class_name in ("", name)
        ]
        if not classes:
            return
        conn, span = self.conn, self.span
        refunds = [refund for one in self.project.program.classes.values() for refund in one.refunds]
        found = measures.facts(conn, classes, unit, self.value, refunds, self.currency, span)
        meant = [one for one in found if self.only.fits(one)]
        self.firsts[unit] = {one.id: self._floored(one.month) for one in meant if one.month is not None}
        contracts = _Contracts.read(conn, self, unit)
        acting, referring = measures.taking_part(conn, unit, span), measures.advocates(conn, unit, span)
        trained = measures.trained(conn, unit, self.value.training, span)
        scores: dict[int, list[float]] = {}
        for customer_id, (account_id, score) in measures.scores(conn, self.vocabulary.surveys, span).items():
            scores.setdefault((customer_id if unit == "customer" else account_id) or 0, []).append(score)
        joinable = {n for n, c in self.project.program.classes.items() if c.membership is not None}
        for one in meant:
            tally = self._bought(one, contracts)
            tally.joinable = int(one.class_name in joinable)
            tally.members = int(tally.joinable and one.member == "active")
            tally.taking_part = int(tally.members and one.id in acting)
            tally.customers = int(one.first is not None or contracts.any(one.id))
            tally.advocates = int(tally.customers and one.id in referring)
            tally.began, tally.completed = trained.get(one.id, (0, 0))
            _add_answers(tally, scores.get(one.id, ()))
            yield one, tally

    def _bought(self, one: Facts, contracts: _Contracts) -> Tally:
        """What a unit bought, and whether it was and is active."""
        span = self.span
        first, last = span.start.date(), (span.end - timedelta(microseconds=1)).date()
        before = self._recent(one.last_before, first) or contracts.runs(one.id, first)
        still = self._recent(one.last, last) or contracts.runs(one.id, last)
        new = (one.first is not None and one.first >= span.start) and not contracts.began_before(one.id, first)
        renewed, lost = contracts.decided(one.id)
        tally = Tally(
            units=1,
            active_before=int(before),
            kept=int(before and still),
            active=int(still),
            active_spent=one.spent * one.kept if still else 0.0,
            active_contracts=contracts.yearly(one.id, last),
            buyers=int(one.orders > 0),
            repeaters=int(one.orders > 0 and one.days > 1),
            new=int(new or (one.first is None and contracts.is_new(one.id))),
            orders=one.orders,
            spent=one.spent,
            renewed=renewed,
            lost=lost,
        )
        if one.clv is not None and one.band not in (None, "prospect"):
            tally.valued, tally.expected = 1, one.clv
        self._lived(tally, one, contracts.life(one.id, last), last, still)
        return tally

    def _lived(self, tally: Tally, one: Facts, life: Life | None, last: date, active: bool) -> None:
        """What a unit was worth until the last day, and how long: by its purchases, net, and by its contracts."""
        begins, ends = [], []
        if one.first is not None and one.last is not None:
            begins, ends = [one.first.date()], [one.last.date()]
            spent = round(one.spent_ever * one.kept)
            past = Past(one.orders_ever, one.days, begins[0], ends[0], spent, 0)
            tally.yearlies += past.yearly(last, self._recent(one.last, last))
        if life is not None:
            begins, ends = [*begins, life.first], [*ends, life.last]
            tally.yearlies += life.yearly
        if begins:
            until = last if active else max(ends)
            tally.past, tally.lifespans = 1, max(1.0, (until - min(begins)).days / clv.YEAR)
        recent = 0.0 if life is None else life.lately
        tally.buyers_year = int(one.orders_year > 0 or recent > 0)
        tally.spent_year = one.spent_year * one.kept + recent

    def _recent(self, at: datetime | None, day: date) -> bool:
        return at is not None and at.date() >= day_after(day, self.inactive, -1)

    def _nameless(self) -> Tally:
        """Anonymous answers are of everybody, and so of no group."""
        tally = Tally()
        _add_answers(
            tally,
            measures.nameless_scores(self.conn, self.vocabulary.surveys, self.period.first, self.period.last),
        )
        return tally

    # ---- costs

    def _spend(self, group: str, tally: Tally) -> None:
        """Costs are of classes: of a tier, a band or a cohort nobody knows them."""
        if self.only.tier or self.only.band or self.only.cohort or (group and self.by != "class"):
            return
        name = group or self.only.class_name
        for one in measures.costs(self.conn, self.period.first, self.period.last):
            if name and one.class_name != name:
                continue
            if one.currency != self.currency:
                note = f"costs in {one.currency} are left out: sums of several currencies need rates"
                self.notes += [note] if note not in self.notes else []
                continue
            shared = (min(one.until, self.period.last) - max(one.since, self.period.first)).days + 1
            amount = one.amount * shared / ((one.until - one.since).days + 1)
            if one.kind == "acquisition":
                tally.acquisition = (tally.acquisition or 0.0) + amount
            else:
                tally.retention = (tally.retention or 0.0) + amount

    # ---- journeys and cohorts

    def _journeys(self) -> Iterator[JourneyTally]:
        if not self.only.everybody():
            return
        for name, journey in sorted(self.project.journeys.items()):
            if journey.goal is None or not isinstance(journey.goal.root, Happened):
                continue
            goal = journey.goal.root
            within = None if goal.within_seconds is None else timedelta(seconds=goal.within_seconds)
            aim = Aim(name, journey.unit, goal.event, goal.where, within, self._worth(goal.event))
            found = measures.runs(self.conn, self.force.segments, aim, self.currency, self.span)
            if found.runs or found.held:
                yield found

    def _worth(self, event: str) -> str:
        """The money property that an event is worth: the purchase's own, else its only one."""
        if event == self.value.event:
            return self.value.of
        declared = self.vocabulary.events.get(event)
        money = [f.name for f in declared.fields.values() if f.kind is Kind.MONEY] if declared is not None else []
        return money[0] if len(money) == 1 else ""

    def _cohorts(self) -> list[Cohort]:
        """Of the units that are meant; the first month of each is that of its first purchase."""
        counts: Counter[tuple[int, int]] = Counter()
        for unit, first in self.firsts.items():
            if self.value.event and first:
                for unit_id, month in measures.bought_in(
                    self.conn, unit, self.value, self.currency, self.size, self.span
                ):
                    if unit_id in first:
                        counts[first[unit_id], month] += 1
        return triangle(counts, self.size, (self.span.end - timedelta(microseconds=1)).date())


def _add_answers(tally: Tally, scores: Iterable[float]) -> None:
    for score in scores:
        tally.answers += 1
        tally.promoters += score >= 9
        tally.detractors += score <= 6


# ---- contracts ------------------------------------------------------------------------------------------------------


class Life(NamedTuple):
    """A unit's time under contract: its first and last day, and what it brought a year, and in the last 365 days."""

    first: date
    last: date
    yearly: float
    lately: float


@dataclass(slots=True)
class _Contracts:
    """The contracts of each unit, and what was decided about them. Records say how a contract is now; that it went on
    before is what events of a renewal say."""

    first: date
    last: date
    today: date
    held: dict[int, list[Held]] = field(default_factory=dict)
    renewed: dict[int, list[tuple[str, date]]] = field(default_factory=dict)
    cancelled: dict[int, list[tuple[str, date]]] = field(default_factory=dict)

    @classmethod
    def read(cls, conn: sa.Connection, of: _Measuring, unit: Unit) -> _Contracts:
        found = cls(of.period.first, (of.span.end - timedelta(microseconds=1)).date(), of.span.now.date())
        kind = of.vocabulary.records.get(of.value.contract)
        if kind is None or kind.of != unit:
            return found
        for one in kept.contracts(conn, of.vocabulary, of.value, of.currency):
            found.held.setdefault(one.unit_id, []).append(one)
        for unit_id, key, went_on, day in kept.decided(conn, of.vocabulary, of.value, unit, of.span.now):
            into = found.renewed if went_on else found.cancelled
            into.setdefault(unit_id, []).append((key, day))
        return found

    def any(self, unit_id: int) -> bool:
        return unit_id in self.held

    def runs(self, unit_id: int, day: date) -> bool:
        """Whether one ran on that day: by its dates; or before it went on, later, as an event says."""
        if any(_runs(one, day) for one in self.held.get(unit_id, ())):
            return True
        return any(renewed > day for _, renewed in self.renewed.get(unit_id, ()))

    def yearly(self, unit_id: int, day: date) -> float:
        """What the contracts that run on that day come to in a year; one that has gone on since, as it is now."""
        later = {key for key, renewed in self.renewed.get(unit_id, ()) if renewed > day}
        running = (one for one in self.held.get(unit_id, ()) if _runs(one, day) or later & {"", one.key})
        return sum((one.contract.value * YEAR / one.contract.days() for one in running), 0.0)

    def life(self, unit_id: int, day: date) -> Life | None:
        """All of the time under contract until that day; None where none had begun."""
        spans = [(self._start(unit_id, one), min(one.contract.ends, day), one.contract.value / one.contract.days())
                 for one in self.held.get(unit_id, ())]  # fmt: skip
        spans = [span for span in spans if span[0] <= span[1]]
        if not spans:
            return None
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        earned = sum(worth * ((end - start).days + 1) for start, end, worth in spans)
        since = day - timedelta(days=int(YEAR) - 1)
        lately = sum(worth * max(0, (end - max(start, since)).days + 1) for start, end, worth in spans)
        return Life(first, last, earned * YEAR / ((last - first).days + 1), lately)

    def _start(self, unit_id: int, one: Held) -> date:
        """The first day that is known of. A renewal that was told of came a term after another had begun."""
        told = [day for key, day in self.renewed.get(unit_id, ()) if key in ("", one.key)]
        before = [day - timedelta(days=one.contract.days() - 1) for day in told]
        return min([one.contract.start(), *before])

    def began_before(self, unit_id: int, day: date) -> bool:
        begins = (one.contract.begins for one in self.held.get(unit_id, ()))
        return any(begin is None or begin < day for begin in begins)

    def is_new(self, unit_id: int) -> bool:
        """Whether the unit's first contract began in the period."""
        begins = [one.contract.begins for one in self.held.get(unit_id, ())]
        known = [begin for begin in begins if begin is not None]
        whole = bool(known) and len(known) == len(begins) and unit_id not in self.renewed
        return whole and self.first <= min(known) <= self.last

    def decided(self, unit_id: int) -> tuple[int, int]:
        """How many went on in the period, and how many did not: cancelled in it, or ended in it without a word within a
        term before, and before today."""
        renewed = [key for key, day in self.renewed.get(unit_id, ()) if self.first <= day <= self.last]
        lost = {key or str(n): None for n, (key, day) in enumerate(self.cancelled.get(unit_id, ()))
                if self.first <= day <= self.last}  # fmt: skip
        last_word = dict(sorted(self.renewed.get(unit_id, ()), key=lambda told: told[1]))
        told = {key for key, _ in self.cancelled.get(unit_id, ())}
        for one in self.held.get(unit_id, ()):
            ends = one.contract.ends
            if not self.first <= ends <= self.last or ends >= self.today or one.key in told:
                continue
            went_on = last_word.get(one.key)
            if went_on is None or (ends - went_on).days > one.contract.term:
                lost[one.key] = None
        return len(renewed), len(lost)


def _runs(one: Held, day: date) -> bool:
    """By its dates. Where it is not said when it began, it has run for as long as anybody knows."""
    return one.contract.ends >= day and (one.contract.begins is None or one.contract.begins <= day)


# ---- costs taken in -------------------------------------------------------------------------------------------------


def take_costs(conn: sa.Connection, rows: Sequence[ReadRow], currency: str) -> tuple[int, int, int]:
    """Store imported costs by key; how many are new, changed, unchanged."""
    wanted = [
        {
            "key": row.key,
            "kind": row.values["kind"],
            "class": row.values.get("class"),
            "since": row.values["since"],
            "until": row.values["until"],
            "amount": row.values["amount"],
            "currency": row.values.get("amount_currency") or currency,
        }
        for row in rows
    ]
    new, changed = measures.keep_costs(conn, wanted)
    return new, changed, len(wanted) - new - changed
