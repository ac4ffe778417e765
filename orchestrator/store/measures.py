"""What measures count, asked by set: one statement a question, whatever the number of units.

A period is [start, end). What was received later than `now` is not counted, as nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator.centre import ANSWERED
from orchestrator.metrics import MONTHS, JourneyTally, Size
from orchestrator.model import Survey, Unit, minor_digits
from orchestrator.program import Refund, Value
from orchestrator.store.database import insert_many, key_list
from orchestrator.store.dialect import json_number, json_text
from orchestrator.store.meaning import Meaning
from orchestrator.store.scalars import Frame, Place
from orchestrator.store.segments import Segments
from orchestrator.store.tables import (
    UtcDateTime,
    account,
    cost,
    customer,
    enrollment,
    event,
    loyalty,
    message,
    point_entry,
    referral,
    reservation,
    survey_answer,
)
from orchestrator.store.value import bought, day_number, refunded
from orchestrator.terms import Node

_TOOK_PART: Final = ("earn", "award", "spend")


@dataclass(frozen=True, slots=True)
class Span:
    """A period, as of `now`; `recently` is before how long a purchase makes nobody active any more."""

    start: datetime
    end: datetime
    now: datetime


class Facts(NamedTuple):
    """A unit and its purchases until the period's end. Instants None: it has not bought (before the start). `days`: on
    how many; `month`: of the first, as year × 12 + month − 1; money in minor units, before refunds; `kept`: the share
    of it that was not given back."""

    id: int
    class_name: str
    tier: str | None
    band: str | None
    member: str | None
    clv: int | None
    first: datetime | None
    last: datetime | None
    last_before: datetime | None
    days: int
    orders: int
    spent: float
    orders_ever: int
    spent_ever: float
    orders_year: int
    spent_year: float
    month: int | None
    kept: float


def facts(
    conn: sa.Connection,
    classes: Sequence[str],
    unit: Unit,
    value: Value,
    refunds: Sequence[Refund],
    currency: str,
    span: Span,
) -> Iterator[Facts]:
    """Every unit of these classes, in order of id. Merged and erased customers are left out; what was theirs is not."""
    table: sa.Table = customer if unit == "customer" else account
    whose, amount = event.c[f"{unit}_id"], json_number(event.c.properties, value.of)
    at = event.c.occurred_at
    inside = sa.case((at >= span.start, 1), else_=0)
    recent = sa.case((at >= span.end - timedelta(days=365), 1), else_=0)
    days = (
        sa.select(
            whose.label("unit_id"),
            sa.func.min(at).label("first"),
            sa.func.max(at).label("last"),
            sa.func.max(sa.case((at < span.start, at))).label("last_before"),
            sa.func.sum(inside).label("orders"),
            sa.func.sum(amount * inside).label("spent"),
            sa.func.count().label("orders_ever"),
            sa.func.sum(amount).label("spent_ever"),
            sa.func.sum(recent).label("orders_year"),
            sa.func.sum(amount * recent).label("spent_year"),
        )
        .where(*bought(whose, value.event, value.of, currency, span.now), at < span.end)
        .group_by(whose, day_number(conn, at))
        .subquery()
    )
    d = days.c
    sums = [sa.func.sum(d[n]).label(n) for n in ("orders", "spent", "orders_ever", "spent_ever", "orders_year",
                                                 "spent_year")]  # fmt: skip
    each = sa.select(
        d.unit_id,
        sa.func.min(d.first).label("first"),
        sa.func.max(d.last).label("last"),
        sa.func.max(d.last_before).label("last_before"),
        sa.func.count().label("days"),
        *sums,
    ).group_by(d.unit_id)
    # Not joined: a database that has not looked at fresh tables yet takes one row for all of it, and loops.
    bought_by = {row.unit_id: row for row in conn.execute(each)} if value.event else {}
    back = refunded(conn, unit, value, refunds, currency, span.now, span.end) if value.event else {}
    query = (
        sa.select(table.c.id, table.c["class"], table.c.tier, loyalty.c.band, loyalty.c.member, loyalty.c.clv)
        .join(loyalty, sa.and_(loyalty.c.unit == unit, loyalty.c.unit_id == table.c.id), isouter=True)
        .where(table.c["class"].in_(classes))
        .order_by(table.c.id)
    )
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    for known in conn.execute(query):
        row = bought_by.get(known.id)
        if row is None:
            yield Facts._make((*known, None, None, None, 0, 0, 0.0, 0, 0.0, 0, 0.0, None, 1.0))
            continue
        month = row.first.year * 12 + row.first.month - 1
        now_ = (row.first, row.last, row.last_before, row.days, int(row.orders), float(row.spent))
        ever = (int(row.orders_ever), float(row.spent_ever), int(row.orders_year), float(row.spent_year))
        # Taken off evenly, as `value.spent`: which of the purchases it was is not asked.
        whole = max(0.0, 1 - back.get(known.id, 0.0) / ever[1]) if ever[1] > 0 else 1.0
        yield Facts._make((*known, *now_, *ever, month, whole))


def taking_part(conn: sa.Connection, unit: Unit, span: Span) -> set[int]:
    """Who earned, was given or spent points in the period."""
    c = point_entry.c
    where = (c.unit == unit, c.kind.in_(_TOOK_PART), c.at >= span.start, c.at < span.end, c.received_at <= span.now)
    return set(conn.execute(sa.select(c.unit_id).where(*where).distinct()).scalars())


def advocates(conn: sa.Connection, unit: Unit, span: Span) -> set[int]:
    """Who referred somebody in the period."""
    c = referral.c
    where = (c.unit == unit, c.state != "refused", c.at >= span.start, c.at < span.end)
    return set(conn.execute(sa.select(c.unit_id).where(*where).distinct()).scalars())


def trained(conn: sa.Connection, unit: Unit, training: tuple[str, str], span: Span) -> dict[int, tuple[int, int]]:
    """By unit: how many people began a training in the period, and how many of them completed one later, by its end."""
    began, completed = training
    if not began:
        return {}
    whose = event.c[f"{unit}_id"]
    heard = event.c.received_at <= span.now
    starts = (
        sa.select(whose.label("unit_id"), event.c.customer_id, sa.func.min(event.c.occurred_at).label("at"))
        .where(event.c.type == began, heard, event.c.occurred_at >= span.start, event.c.occurred_at < span.end)
        .where(whose.isnot(None), event.c.customer_id.isnot(None))
        .group_by(whose, event.c.customer_id)
        .subquery()
    )
    done = event.alias("done")
    later = sa.exists().where(
        done.c.type == completed,
        done.c.customer_id == starts.c.customer_id,
        done.c.occurred_at >= starts.c.at,
        done.c.occurred_at < span.end,
        done.c.received_at <= span.now,
    )
    query = sa.select(starts.c.unit_id, sa.func.count(), sa.func.sum(sa.case((later, 1), else_=0)))
    return {unit_id: (n, int(k)) for unit_id, n, k in conn.execute(query.group_by(starts.c.unit_id))}


# ---- answers --------------------------------------------------------------------------------------------------------


def scores(conn: sa.Connection, surveys: Mapping[str, Survey], span: Span) -> dict[int, tuple[int | None, float]]:
    """Everybody's latest answer to a question of kind nps in the period: customer id → (account id, score)."""
    asked = _asked(surveys)
    if not asked:
        return {}
    e, names = event.c, sorted(set(asked.values()))
    query = (
        sa.select(
            e.customer_id,
            e.account_id,
            json_text(e.properties, "survey"),
            *(json_number(e.properties, name) for name in names),
        )
        .where(e.type == ANSWERED, e.customer_id.isnot(None), e.received_at <= span.now)
        .where(e.occurred_at >= span.start, e.occurred_at < span.end)
        .order_by(e.occurred_at, e.id)
    )
    found: dict[int, tuple[int | None, float]] = {}
    for customer_id, account_id, survey, *given in conn.execute(query):
        score = given[names.index(asked[survey])] if survey in asked else None
        if score is not None:
            found[customer_id] = (account_id, score)
    return found


def nameless_scores(conn: sa.Connection, surveys: Mapping[str, Survey], first: date, last: date) -> list[float]:
    """Answers to anonymous surveys from the first to the last day: each for itself, for nobody knows whose it is."""
    found: list[float] = []
    for name, question in _asked(surveys).items():
        if surveys[name].anonymous:
            c = survey_answer.c
            score = json_number(c.answers, question)
            query = sa.select(score).where(c.survey == name, c.day >= first, c.day <= last, score.isnot(None))
            found += conn.execute(query).scalars()
    return found


def _asked(surveys: Mapping[str, Survey]) -> dict[str, str]:
    """Survey → its first question of kind nps."""
    return {
        name: next(q.name for q in survey.questions if q.kind == "nps")
        for name, survey in surveys.items()
        if any(q.kind == "nps" for q in survey.questions)
    }


# ---- costs ----------------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """What was spent in a time, both days included. `class_name` None: on all classes."""

    kind: str
    class_name: str | None
    since: date
    until: date
    amount: int
    currency: str


def costs(conn: sa.Connection, first: date, last: date) -> list[Cost]:
    """Imported costs of times that overlap these days."""
    c = cost.c
    query = sa.select(c.kind, c["class"], c.since, c.until, c.amount, c.currency).where(
        c.since <= last, c.until >= first
    )
    return [Cost(*row) for row in conn.execute(query.order_by(c.id)).tuples()]


def keep_costs(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Store costs by key, one that is known anew; returns how many are new and how many said something else."""
    wanted = {row["key"]: row for row in rows}
    listed = key_list(conn, wanted)
    known = {row["key"]: row for row in conn.execute(
        sa.select(cost).join(listed, listed.c.key == cost.c.key)).mappings()}  # fmt: skip
    other = {key: row for key, row in wanted.items() if key in known and any(known[key][n] != row[n] for n in row)}
    if other:
        gone = key_list(conn, other)
        conn.execute(cost.delete().where(cost.c.key.in_(sa.select(gone.c.key))))
    insert_many(conn, cost, [row for key, row in wanted.items() if key not in known or key in other])
    return len(wanted) - len(wanted.keys() & known.keys()), len(other)


# ---- cohorts --------------------------------------------------------------------------------------------------------


def bought_in(
    conn: sa.Connection, unit: Unit, value: Value, currency: str, size: Size, span: Span
) -> Iterator[tuple[int, int]]:
    """(unit id, number of a month in which it bought), each once, in no order; of a quarter or year, its first month.
    Numbers are year × 12 + month − 1, by UTC."""
    whose = event.c[f"{unit}_id"]
    step, at = MONTHS[size], _month(conn, event.c.occurred_at)
    number = (at // step) * step if step > 1 else at
    where = (*bought(whose, value.event, value.of, currency, span.now), event.c.occurred_at < span.end)
    for unit_id, month in conn.execute(sa.select(whose, number).where(*where).distinct()):
        yield unit_id, int(month)


def _month(conn: sa.Connection, at: Any) -> Any:
    if conn.dialect.name == "postgresql":
        day = sa.func.timezone("UTC", at)
        return sa.cast(sa.extract("year", day) * 12 + sa.extract("month", day) - 1, sa.Integer)
    seconds = sa.type_coerce(at, sa.BigInteger) // sa.literal_column("1000000")
    year, month = (sa.cast(sa.func.strftime(f, seconds, "unixepoch"), sa.Integer) for f in ("%Y", "%m"))
    return year * 12 + month - 1


# ---- journeys -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aim:
    """A journey's goal: the event, which of them count, within what time of the entry (None: any), and the money
    property that is its value ("" none). `first`: of each unit its first run only."""

    journey: str
    unit: Unit
    event: str
    where: Node | None
    within: timedelta | None
    of: str = ""
    first: bool = False


def runs(conn: sa.Connection, segments: Segments, aim: Aim, currency: str, span: Span) -> JourneyTally:
    """What the runs came to that entered in the period and whose time for the goal is over."""
    c = enrollment.c
    held = sa.case((c.ended_because == "holdout", 1), else_=0).label("held")
    entered = [c.journey == aim.journey, c.entered_at >= span.start, c.entered_at < span.end]
    if aim.first:
        entered.append(c.id.in_(_first_runs(aim)))
    if aim.within is not None:
        entered.append(c.entered_at <= span.now - aim.within)
    counts = dict(conn.execute(sa.select(held, sa.func.count()).where(*entered).group_by(held)).tuples().all())

    reached = {kind: (n, worth) for kind, n, worth in _reached(conn, segments, aim, entered, held, currency, span, 0)}
    before = None
    if aim.within is not None:
        found = _reached(conn, segments, aim, entered, held, currency, span, 1)
        before = next((n for kind, n, _ in found if kind == 0), 0)
    spent = conn.execute(
        sa.select(sa.func.coalesce(sa.func.sum(reservation.c.cost), 0))
        .select_from(reservation.join(message).join(enrollment, message.c.enrollment_id == c.id))
        .where(*entered)
    ).scalar_one()
    (hits, worth), (held_hits, held_worth) = reached.get(0, (0, 0.0)), reached.get(1, (0, 0.0))
    paid = float(spent) * 10 ** minor_digits(currency) / 1_000_000  # kept as millionths of the currency
    return JourneyTally(aim.journey, counts.get(0, 0), hits, before, counts.get(1, 0), held_hits, paid, worth,
                        held_worth)  # fmt: skip


def _first_runs(aim: Aim) -> sa.Select[tuple[int]]:
    run = enrollment.alias("run").c
    return sa.select(sa.func.min(run.id)).where(run.journey == aim.journey).group_by(run.unit_id)


def first_entry(conn: sa.Connection, journey: str) -> datetime | None:
    """When the first run of a journey began."""
    query = sa.select(sa.func.min(enrollment.c.entered_at)).where(enrollment.c.journey == journey)
    found: datetime | None = conn.execute(query).scalar_one()
    return found


def waiting(conn: sa.Connection, aim: Aim, now: datetime) -> tuple[int, int]:
    """How many first runs' time for the goal is not over: in the journey, held out."""
    c = enrollment.c
    held = sa.func.coalesce(sa.func.sum(sa.case((c.ended_because == "holdout", 1), else_=0)), 0)
    query = sa.select(sa.func.count(), held).where(c.journey == aim.journey, c.id.in_(_first_runs(aim)))
    if aim.within is not None:
        query = query.where(c.entered_at > now - aim.within)
    every, out = conn.execute(query).one()
    return int(every) - int(out), int(out)


def _reached(
    conn: sa.Connection, segments: Segments, aim: Aim, entered: Sequence[Any], held: Any, currency: str, span: Span,
    earlier: int,
) -> list[tuple[int, int, float]]:  # fmt: skip
    """(held out or not, how many runs reached it, what it brought), each event once for each run. `earlier` 1: in a
    time as long before the entry."""
    c, table = enrollment.c, customer if aim.unit == "customer" else account
    at, entry = event.c.occurred_at, c.entered_at
    where = [*entered, event.c.type == aim.event, at <= span.now, event.c.received_at <= span.now]
    if earlier and aim.within is not None:
        where += [at < entry, _within(conn, entry, at, aim.within)]
    else:
        where.append(at >= entry)
        if aim.within is not None:
            where.append(_within(conn, at, entry, aim.within))
    if aim.where is not None:
        run = Place("event", id=c.event_id), Place("record", id=c.record_id), enrollment
        frame = Frame(aim.unit, table, None, Place("event", event), *run)
        meaning = Meaning(segments.vocabulary, segments.segments, segments.dialect, span.now)
        where.append(meaning.filter(aim.where, frame))
    worth: Any = sa.literal(0.0)
    if aim.of:
        counted = json_text(event.c.properties, f"{aim.of}_currency") == currency
        worth = sa.func.coalesce(sa.func.sum(sa.case((counted, json_number(event.c.properties, aim.of)))), 0.0)
    joined = enrollment.join(event, event.c[f"{aim.unit}_id"] == c[f"{aim.unit}_id"])
    joined = joined.join(table, table.c.id == c[f"{aim.unit}_id"])
    query = sa.select(held, sa.func.count(sa.distinct(c.id)), worth).select_from(joined).where(*where).group_by(held)
    return [(int(kind), n, float(value)) for kind, n, value in conn.execute(query).tuples()]


def _within(conn: sa.Connection, at: Any, start: Any, span: timedelta) -> Any:
    """`at` is not later than so long after `start`."""
    if conn.dialect.name == "postgresql":
        return at <= start.op("+", return_type=UtcDateTime())(sa.literal(span, sa.Interval()))
    micros = round(span.total_seconds() * 1_000_000)
    return sa.type_coerce(at, sa.BigInteger) <= sa.type_coerce(start, sa.BigInteger) + micros
