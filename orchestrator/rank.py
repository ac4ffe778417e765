"""Ranks customers and accounts by what they are worth: value, the pyramid's band, an account's health. Every night.

Everything it writes is derived from events and records, so that it can be run again at any time; only a movement from
one band to another stays on the record. Classes are ranked each by itself: a company's contract and a consumer's order
are no measure of each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import partial
from itertools import islice

import sqlalchemy as sa

from orchestrator import clv
from orchestrator.apply import Force, in_force
from orchestrator.dates import day_after
from orchestrator.ingest import record_events
from orchestrator.model import BANDS, Json, Unit, minor_digits
from orchestrator.program import ClassProgram, Refund, Value
from orchestrator.store import loyalty, people
from orchestrator.store import value as kept
from orchestrator.store.database import Store
from orchestrator.store.value import Held, Ranked
from orchestrator.words import Duration

BATCH = 5_000
_A_YEAR = Duration(months=12)
_UNITS: tuple[Unit, ...] = ("customer", "account")


@dataclass(frozen=True, slots=True)
class RankReport:
    """`bands`: class → band → how many. `moved`: from one band to another. `scored`: healths. `notes`: what was left
    out and why, to be read by a person. `finished`: nobody was left for the next run."""

    ranked: int = 0
    moved: int = 0
    scored: int = 0
    bands: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    models: Mapping[str, clv.Model] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    finished: bool = True

    @property
    def summary(self) -> str:
        """One line."""
        told = f"{self.ranked:,} ranked, {self.moved:,} moved, {self.scored:,} healths"
        return told if self.finished else f"{told}; time is up, the next run goes on"


@dataclass(frozen=True, slots=True)
class Worth:
    """What one unit is worth, as it is written. `order`: what it is ranked by within its class."""

    id: int
    class_name: str
    band: str
    clv: int
    spent: int
    p_alive: float | None
    expected_orders: float | None
    renewal: float | None


def refresh(store: Store, *, now: datetime, batch: int = BATCH, stop: Callable[[], bool] = lambda: False) -> RankReport:
    """Score accounts' health, value every unit and rank it. Nothing where no programme is in force."""
    with store.read() as conn:
        force = in_force(conn)
    program = force.project.program if force is not None else None
    if force is None or program is None or (program.value is None and not _scoring(force)):
        return RankReport(notes=("nothing is in force that could be ranked: `program` has no `value`",))
    scored = 0
    for one in _scoring(force):
        scored += _score(store, force, one, now, batch, stop)
    if program.value is None:
        return RankReport(scored=scored, finished=not stop())
    with store.read() as conn:
        work = _Ranking(conn, force, program.value, now)
        worths = {unit: work.worths(unit) for unit in _UNITS}
    moved = done = 0
    for unit in _UNITS:
        rows = iter(sorted(worths[unit], key=lambda worth: worth.id))
        while some := list(islice(rows, batch)):
            if stop():
                return RankReport(done, moved, scored, notes=tuple(work.notes), finished=False)
            moved += store.written(partial(_write, unit, some, work.currency, now))
            done += len(some)
    report = RankReport(done, moved, scored, work.bands, work.models, tuple(work.notes))
    store.written(lambda conn: kept.keep_summary(conn, _kept(report, now)))
    return report


# ---- health ---------------------------------------------------------------------------------------------------------


def _scoring(force: Force) -> list[ClassProgram]:
    return [one for one in force.project.program.classes.values() if one.health is not None]


def _score(store: Store, force: Force, one: ClassProgram, now: datetime, batch: int, stop: Callable[[], bool]) -> int:
    """Ask the class's health of each of its units, a batch a transaction."""
    asked = one.health
    assert asked is not None
    with store.read() as conn:
        ids = iter(kept.of_class(conn, one.class_name, one.unit))
    done = 0

    def score(conn: sa.Connection, some: Sequence[int]) -> int:
        people.take_turns(conn, "accrue")  # whoever else writes these rows
        there = list(kept.bands(conn, one.unit, some))  # somebody may have been erased since they were read
        answers = force.segments.of_units(conn, [asked], one.unit, there, now)
        values = {unit_id: found[1][asked.text] for unit_id, found in answers.items()}
        rows = {i: {"health": float(v) if isinstance(v, int | float) else None} for i, v in sorted(values.items())}
        loyalty.write(conn, one.unit, rows, now)
        return len(rows)

    while not stop() and (some := list(islice(ids, batch))):
        done += store.written(partial(score, some=some))
    return done


# ---- value ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Contracts:
    """What a unit's contracts come to. `running`: those that have not ended, with the probability that each goes on."""

    running: list[tuple[clv.Contract, float]] = field(default_factory=list)
    any: bool = False
    last_end: date | None = None


class _Ranking:
    """One look at everybody; what is worked out is in `bands`, `models` and `notes`."""

    def __init__(self, conn: sa.Connection, force: Force, value: Value, now: datetime) -> None:
        self.conn, self.value, self.now, self.today = conn, value, now, now.date()
        self.vocabulary = force.project.vocabulary
        self.currency = self.vocabulary.currency
        self.minor = 10 ** minor_digits(self.currency)
        self.since = day_after(self.today, value.inactive_after or _A_YEAR, -1)
        self.refunds: list[Refund] = [r for c in force.project.program.classes.values() for r in c.refunds]
        self.bands: dict[str, dict[str, int]] = {}
        self.models: dict[str, clv.Model] = {}
        self.notes: list[str] = []
        others = kept.in_other_currencies(conn, value, self.currency, now)
        if others:
            self.notes.append(
                f"{others:,} {value.event} not in {self.currency} are left out: sums of several currencies need rates"
            )

    def worths(self, unit: Unit) -> list[Worth]:
        """Every unit of the classes that such units are of, ranked."""
        classes = [name for name, of in self.vocabulary.classes.items() if of.unit == unit]
        found: dict[str, list[Ranked]] = {name: [] for name in classes}
        query = kept.ranked(self.conn, classes, unit, self.value, self.refunds, self.currency, self.now)
        for one in query:
            found[one.class_name].append(one)
        held = self._contracts(unit, {one.id: one.class_name for of in found.values() for one in of})
        upsell = self._upsell(unit)
        return [worth for name in classes for worth in self._of_class(name, found[name], held, upsell)]

    def _of_class(
        self, name: str, units: Sequence[Ranked], held: Mapping[int, _Contracts], upsell: Mapping[int, float]
    ) -> Iterator[Worth]:
        pasts = [one.past for one in units if one.past is not None]
        model = clv.fit(pasts, self.today, self.minor) if pasts else None
        if model is not None:
            self.models[name] = model
        elif pasts:
            again = sum(past.days > 1 for past in pasts)
            self.notes.append(
                f"{name}: {again:,} came back, and a prediction of orders needs {clv.ENOUGH:,}; what is expected is "
                "what they spent a year until now"
            )
        valued = [self._worth(one, model, held.get(one.id, _Contracts()), upsell.get(one.id, 0.0)) for one in units]
        active = [(worth.id, order) for worth, order in valued if not worth.band]
        bands = clv.pyramid(active, self.value.bands)
        counts = dict.fromkeys(reversed(BANDS), 0)
        for worth, _ in valued:
            band = worth.band or bands[worth.id]
            counts[band] = counts.get(band, 0) + 1
            yield Worth(worth.id, worth.class_name, band, worth.clv, worth.spent, worth.p_alive,
                        worth.expected_orders, worth.renewal)  # fmt: skip
        self.bands[name] = counts

    def _worth(
        self, one: Ranked, model: clv.Model | None, held: _Contracts, upsell: float
    ) -> tuple[Worth, tuple[float, ...]]:
        """A unit's value, its band "" where it is to be ranked, and what by."""
        past, days = one.past, self.value.horizon_days
        ends = [day for day in (past.last if past is not None else None, held.last_end) if day is not None]
        active = bool(held.running) or (bool(ends) and max(ends) >= self.since)
        band = "" if active else "inactive" if past is not None or held.any else "prospect"
        p_alive = orders = None
        to_come = upsell
        if past is not None and model is not None:
            found = model.predict(past, self.today, days)
            p_alive, orders = found.p_alive, found.orders
            to_come += found.value
        elif past is not None and active:
            to_come += past.yearly(self.today, active) * days / 365
        spent = float(past.spent) if past is not None else 0.0
        whole = sum(contract.value for contract, _ in held.running)
        for contract, goes_on in held.running:
            rest = contract.to_the_end(self.today)
            to_come += rest + goes_on * contract.value
            spent += contract.value - rest
        renewal = None
        if held.running:
            weights = [(c.value if whole else 1, p) for c, p in held.running]
            renewal = sum(w * p for w, p in weights) / sum(w for w, _ in weights)
        worth = round(to_come * float(self.value.margin))
        last = max(ends).toordinal() if ends else 0
        row = Worth(one.id, one.class_name, band, worth, round(spent), p_alive, orders, renewal)
        return row, (worth, round(spent), last)

    def _upsell(self, unit: Unit) -> Mapping[int, float]:
        kind = self.vocabulary.records.get(self.value.opportunity)
        if kind is None or kind.of != unit:
            return {}
        return kept.opportunities(self.conn, self.vocabulary, self.value, self.currency)

    def _contracts(self, unit: Unit, classes: Mapping[int, str]) -> dict[int, _Contracts]:
        """Each unit's contracts, and with what probability those that run go on."""
        kind = self.vocabulary.records.get(self.value.contract)
        if kind is None or kind.of != unit:
            return {}
        held: dict[int, list[Held]] = defaultdict(list)
        for one in kept.contracts(self.conn, self.vocabulary, self.value, self.currency):
            if one.unit_id in classes:
                held[one.unit_id].append(one)
        past = _Decisions.read(kept.decided(self.conn, self.vocabulary, self.value, unit, self.now))
        fates = {unit_id: past.fate(unit_id, held.get(unit_id, ()), self.today) for unit_id in classes}
        shares: dict[str, float] = {}
        for name in set(classes.values()):
            of = [fates[unit_id] for unit_id, theirs in classes.items() if theirs == name]
            shares[name] = clv.share_renewed(sum(r for r, _ in of), sum(lost for _, lost in of))
        healths = kept.healths(self.conn, unit)
        found: dict[int, _Contracts] = {}
        for unit_id, theirs in held.items():
            renewed, lost = fates[unit_id]
            own = found.setdefault(unit_id, _Contracts(any=True))
            for one in theirs:
                own.last_end = max(own.last_end or one.contract.ends, one.contract.ends)
                if one.contract.ends < self.today:
                    continue
                goes_on = 0.0
                if not past.is_cancelled(one):
                    goes_on = clv.renewal(renewed, lost, shares[classes[unit_id]], by_itself=one.contract.renews,
                                          health=healths.get(unit_id))  # fmt: skip
                own.running.append((one.contract, goes_on))
        return found


@dataclass(slots=True)
class _Decisions:
    """Renewals and cancellations that were told. By (unit, contract key): the last day; `all`: by unit, how many."""

    renewed: dict[tuple[int, str], date] = field(default_factory=dict)
    cancelled: dict[tuple[int, str], date] = field(default_factory=dict)
    renewals: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    unnamed: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def read(cls, told: Iterable[tuple[int, str, bool, date]]) -> _Decisions:
        found = cls()
        for unit_id, key, went_on, day in told:
            by = found.renewed if went_on else found.cancelled
            if key:
                by[unit_id, key] = max(day, by.get((unit_id, key), day))
            elif not went_on:
                found.unnamed[unit_id] += 1
            found.renewals[unit_id] += went_on
        return found

    def is_cancelled(self, held: Held) -> bool:
        """Whether the last thing said of it is that it ends."""
        ended = self.cancelled.get((held.unit_id, held.key))
        renewed = self.renewed.get((held.unit_id, held.key))
        return ended is not None and (renewed is None or renewed < ended)

    def fate(self, unit_id: int, held: Sequence[Held], today: date) -> tuple[int, int]:
        """How many of a unit's contracts went on, and how many did not. One that has ended without a word of a renewal
        within its term did not."""
        lost = {one.key for one in held if self.is_cancelled(one)}
        for one in held:
            if one.contract.ends < today:
                renewed = self.renewed.get((unit_id, one.key))
                if renewed is None or (one.contract.ends - renewed).days > one.contract.term:
                    lost.add(one.key)
        return self.renewals.get(unit_id, 0), max(len(lost), self.unnamed.get(unit_id, 0))


# ---- written --------------------------------------------------------------------------------------------------------


def _write(unit: Unit, worths: Sequence[Worth], currency: str, now: datetime, conn: sa.Connection) -> int:
    """A batch of ranked units, their movements and the events of these, in one transaction; how many moved."""
    people.take_turns(conn, "accrue", "rank")
    before = kept.bands(conn, unit, [worth.id for worth in worths])
    worths = [worth for worth in worths if worth.id in before]  # somebody may have been erased since they were read
    rows = {
        worth.id: {
            "band": worth.band,
            "clv": worth.clv,
            "clv_currency": currency,
            "spent": worth.spent,
            "spent_currency": currency,
            "p_alive": worth.p_alive,
            "expected_orders": worth.expected_orders,
            "renewal": worth.renewal,
            "valued_at": now,
        }
        for worth in worths
    }
    loyalty.write(conn, unit, rows, now, there={i for i, band in before.items() if band is not None})
    moves = [(w.id, before[w.id], w.band) for w in worths if before[w.id] != w.band]
    kept.moved(conn, unit, moves, now)
    # Ranked for the first time is no movement: the first refresh would set off a message to everybody.
    events = [_event(unit, unit_id, old, new, now) for unit_id, old, new in moves if old is not None]
    record_events(conn, events, now=now)
    return len(events)


def _event(unit: Unit, unit_id: int, old: str, new: str, now: datetime) -> Json:
    order = {band: n for n, band in enumerate(BANDS)}
    return {
        "type": "band_changed",
        "key": f"band:{unit}:{unit_id}:{now.isoformat()}",
        "customer_id": unit_id if unit == "customer" else None,
        "account_id": unit_id if unit == "account" else None,
        "occurred_at": now,
        "properties": {
            "from_band": old,
            "to_band": new,
            "direction": "up" if order.get(new, 0) > order.get(old, 0) else "down",
        },
    }


def _kept(report: RankReport, now: datetime) -> Json:
    models = {name: {"buying": asdict(m.buying), "spending": asdict(m.spending)} for name, m in report.models.items()}
    return {"at": now.isoformat(), "models": models, "notes": list(report.notes), "moved": report.moved}
