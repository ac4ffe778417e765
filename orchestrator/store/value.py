"""What units have bought and hold contracts for, by set; and the bands they stand in. One statement per question.

A day is UTC's: purchases of one such day are one purchase to the model of buying.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from orchestrator.clv import Contract, Past
from orchestrator.model import Field, Json, Kind, Unit, Vocabulary
from orchestrator.program import Refund, Value
from orchestrator.store.database import id_list, insert_many
from orchestrator.store.dialect import json_bool, json_date, json_instant, json_number, json_text
from orchestrator.store.tables import account, band_change, customer, event, loyalty, record, setting

_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = 86_400_000_000  # microseconds
YEAR: Final = timedelta(days=365)
_SUMMARY: Final = "value_summary"


class Ranked(NamedTuple):
    """A unit that can be ranked. `past` None: it has never bought."""

    id: int
    class_name: str
    past: Past | None


@dataclass(frozen=True, slots=True)
class Held:
    """A contract or subscription of a unit. `key` its own."""

    unit_id: int
    key: str
    contract: Contract


# ---- who, and what they bought --------------------------------------------------------------------------------------


def ranked(
    conn: sa.Connection,
    classes: Sequence[str],
    unit: Unit,
    value: Value,
    refunds: Sequence[Refund],
    currency: str,
    now: datetime,
) -> Iterator[Ranked]:
    """Every unit of these classes with what it bought in `currency` until now, refunds taken off; in order of id.

    Customers that were merged away or erased are left out.
    """
    table: sa.Table = customer if unit == "customer" else account
    query = sa.select(table.c.id, table.c["class"]).where(table.c["class"].in_(classes)).order_by(table.c.id)
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    # Not joined: a database that has not looked at fresh tables yet takes one row for all of it, and loops.
    bought_by: dict[int, tuple[Any, ...]] = {}
    back: dict[int, float] = {}
    if value.event:
        rows = conn.execute(purchases(conn, unit, value, currency, now)).tuples()
        bought_by = {row[0]: row for row in rows}
        back = refunded(conn, unit, value, refunds, currency, now)
    for unit_id, class_name in conn.execute(query):
        if unit_id not in bought_by:
            yield Ranked(unit_id, class_name, None)
            continue
        _, orders, days, first, last, *sums = bought_by[unit_id]
        spent, spent_first, orders_year, spent_year = [int(n or 0) for n in sums]
        if unit_id in back and spent > 0:
            # Taken off evenly: which of the purchases it was is not asked.
            kept = max(0.0, 1 - back[unit_id] / spent)
            spent, spent_first, spent_year = (round(n * kept) for n in (spent, spent_first, spent_year))
        past = Past(int(orders), days, _day(first), _day(last), spent, spent_first, orders_year, spent_year)
        yield Ranked(unit_id, class_name, past)


def of_class(conn: sa.Connection, class_name: str, unit: Unit) -> list[int]:
    """The ids of all units of a class."""
    table: sa.Table = customer if unit == "customer" else account
    query = sa.select(table.c.id).where(table.c["class"] == class_name).order_by(table.c.id)
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    return list(conn.execute(query).scalars())


def purchases(conn: sa.Connection, unit: Unit, value: Value, currency: str, now: datetime) -> sa.Select[Any]:
    """By unit_id: orders, days, first and last day (days since 1970), and sums of minor units."""
    whose, amount = event.c[f"{unit}_id"], json_number(event.c.properties, value.of)
    day = day_number(conn, event.c.occurred_at)
    recent = sa.case((event.c.occurred_at > now - YEAR, 1), else_=0)
    days = (
        sa.select(
            whose.label("unit_id"),
            day.label("day"),
            sa.func.count().label("orders"),
            sa.func.sum(amount).label("spent"),
            sa.func.sum(recent).label("orders_year"),
            sa.func.sum(amount * recent).label("spent_year"),
        )
        .where(*bought(whose, value.event, value.of, currency, now))
        .group_by(whose, day)
        .subquery()
    )
    first = sa.func.first_value(days.c.spent).over(partition_by=days.c.unit_id, order_by=days.c.day)
    each = sa.select(days, first.label("spent_first")).subquery()
    c = each.c
    return sa.select(
        c.unit_id,
        sa.func.sum(c.orders).label("orders"),
        sa.func.count().label("days"),
        sa.func.min(c.day).label("first"),
        sa.func.max(c.day).label("last"),
        sa.func.sum(c.spent).label("spent"),
        sa.func.max(c.spent_first).label("spent_first"),
        sa.func.sum(c.orders_year).label("orders_year"),
        sa.func.sum(c.spent_year).label("spent_year"),
    ).group_by(c.unit_id)


def bought(whose: Any, kind: str, of: str, currency: str, now: datetime, table: Any = event) -> list[Any]:
    """What makes an event a purchase that counts."""
    c = table.c
    return [
        c.type == kind,
        whose.isnot(None),
        c.occurred_at <= now,
        c.received_at <= now,
        json_number(c.properties, of).isnot(None),
        json_text(c.properties, f"{of}_currency") == currency,
    ]


def refunded(
    conn: sa.Connection,
    unit: Unit,
    value: Value,
    refunds: Sequence[Refund],
    currency: str,
    now: datetime,
    before: datetime | None = None,
) -> dict[int, float]:
    """What went back to each unit, minor units. A refund that names no sum takes back the purchase that it matches.
    `before`: of what was bought and given back before then, as far as it is known now."""
    early = [] if before is None else [event.c.occurred_at < before]
    found: dict[int, float] = {}
    for refund in dict.fromkeys(r for r in refunds if r.takes_back == value.event):
        whose = event.c[f"{unit}_id"]
        if refund.of:
            query = sa.select(whose, sa.func.sum(json_number(event.c.properties, refund.of)))
            query = query.where(*bought(whose, refund.event, refund.of, currency, now), *early).group_by(whose)
        else:
            of = event.alias("purchase")
            theirs = of.c[f"{unit}_id"]
            same = json_text(of.c.properties, refund.match) == json_text(event.c.properties, refund.match)
            once = (
                sa.select(
                    theirs.label("unit_id"), of.c.id, sa.func.max(json_number(of.c.properties, value.of)).label("n")
                )
                .select_from(of.join(event, sa.and_(whose == theirs, event.c.type == refund.event, same)))
                .where(*bought(theirs, value.event, value.of, currency, now, of))
                .where(event.c.occurred_at <= now, event.c.received_at <= now, *early)
                .group_by(theirs, of.c.id)
                .subquery()
            )
            query = sa.select(once.c.unit_id, sa.func.sum(once.c.n)).group_by(once.c.unit_id)
        for unit_id, amount in conn.execute(query):
            found[unit_id] = found.get(unit_id, 0.0) + amount
    return found


def in_other_currencies(conn: sa.Connection, value: Value, currency: str, now: datetime) -> int:
    """How many purchases are in another currency, or have none: they are not counted."""
    if not value.event:
        return 0
    known = json_text(event.c.properties, f"{value.of}_currency")
    other = sa.or_(known != currency, known.is_(None), json_number(event.c.properties, value.of).is_(None))
    query = sa.select(sa.func.count()).where(event.c.type == value.event, event.c.occurred_at <= now, other)
    return conn.execute(query).scalar_one()


def day_number(conn: sa.Connection, at: Any) -> Any:
    """The UTC day of an instant as days since 1970, on both databases."""
    if conn.dialect.name == "postgresql":
        return sa.cast(sa.func.timezone("UTC", at), sa.Date) - sa.literal(_EPOCH, sa.Date())
    return sa.type_coerce(at, sa.BigInteger) // sa.literal_column(str(_DAY))


def _day(number: Any) -> date:
    return date.fromordinal(_EPOCH.toordinal() + int(number))


# ---- contracts and opportunities ------------------------------------------------------------------------------------


def contracts(conn: sa.Connection, vocabulary: Vocabulary, value: Value, currency: str) -> list[Held]:
    """Every contract with an end and a value in `currency`, of the unit that such records are of."""
    kind = vocabulary.records.get(value.contract)
    if kind is None:
        return []
    fields, whose = kind.fields, record.c[f"{kind.of}_id"]
    amount, paid_in = _money(value.contract_value)
    begins = _dated(fields.get(value.contract_begins))
    renews = json_bool(record.c.fields, value.contract_renews) if value.contract_renews else sa.null()
    ends = _dated(fields.get(value.contract_ends))
    query = sa.select(whose, record.c.key, amount, ends, begins, renews).where(
        record.c.type == kind.name, whose.isnot(None), amount.isnot(None), ends.isnot(None), paid_in == currency
    )
    return [
        Held(unit_id, key, Contract(int(worth), _date(end), value.term_days, begin and _date(begin), bool(goes_on)))
        for unit_id, key, worth, end, begin, goes_on in conn.execute(query.order_by(record.c.id))
    ]


def opportunities(conn: sa.Connection, vocabulary: Vocabulary, value: Value, currency: str) -> dict[int, float]:
    """What open opportunities may bring, minor units by unit: each times its stage's weight."""
    kind = vocabulary.records.get(value.opportunity)
    if kind is None or not value.stages:
        return {}
    whose, (amount, paid_in) = record.c[f"{kind.of}_id"], _money(value.opportunity_value)
    stage = json_text(record.c.fields, value.opportunity_stage)
    query = sa.select(whose, stage, sa.func.sum(amount)).where(
        record.c.type == kind.name, whose.isnot(None), paid_in == currency, stage.in_(list(value.stages))
    )
    found: dict[int, float] = {}
    for unit_id, at, worth in conn.execute(query.group_by(whose, stage)):
        found[unit_id] = found.get(unit_id, 0.0) + (worth or 0) * value.stages[at]
    return found


def decided(
    conn: sa.Connection, vocabulary: Vocabulary, value: Value, unit: Unit, now: datetime
) -> Iterator[tuple[int, str, bool, date]]:
    """Renewals and cancellations told as events: (unit id, contract key or "", whether it went on, the UTC day)."""
    kind = vocabulary.records.get(value.contract)
    whose = event.c[f"{unit}_id"]
    for name, went_on in ((value.renewed, True), (value.cancelled, False)):
        if not name or kind is None or name not in vocabulary.events:
            continue
        named = kind.key in vocabulary.events[name].fields
        key: Any = json_text(event.c.properties, kind.key) if named else sa.null()
        query = sa.select(whose, key, event.c.occurred_at).where(
            event.c.type == name, whose.isnot(None), event.c.occurred_at <= now, event.c.received_at <= now
        )
        for unit_id, of, at in conn.execute(query):
            yield unit_id, of or "", went_on, at.date()


def _money(name: str) -> tuple[Any, Any]:
    return json_number(record.c.fields, name), json_text(record.c.fields, f"{name}_currency")


def _dated(field: Field | None) -> Any:
    if field is None:
        return sa.null()
    read = json_instant if field.kind is Kind.INSTANT else json_date
    return read(record.c.fields, field.name)


def _date(found: date | datetime) -> date:
    return found.date() if isinstance(found, datetime) else found


# ---- bands ----------------------------------------------------------------------------------------------------------


def bands(conn: sa.Connection, unit: Unit, unit_ids: Sequence[int]) -> dict[int, str | None]:
    """In which band each of these stands, None: not ranked yet. Who is gone is left out."""
    listed = id_list(conn, unit_ids)
    table: sa.Table = customer if unit == "customer" else account
    query = (
        sa.select(table.c.id, loyalty.c.band)
        .join(listed, listed.c.id == table.c.id)
        .join(loyalty, sa.and_(loyalty.c.unit == unit, loyalty.c.unit_id == table.c.id), isouter=True)
    )
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    return dict(conn.execute(query).tuples().all())


def healths(conn: sa.Connection, unit: Unit) -> dict[int, float]:
    """Health scores by unit."""
    query = sa.select(loyalty.c.unit_id, loyalty.c.health).where(loyalty.c.unit == unit, loyalty.c.health.isnot(None))
    return {unit_id: health for unit_id, health in conn.execute(query).tuples() if health is not None}


def moved(conn: sa.Connection, unit: Unit, moves: Sequence[tuple[int, str | None, str]], now: datetime) -> None:
    """Put movements on the record: (unit id, from, to); from None: ranked for the first time."""
    rows = [(unit, unit_id, old, new, now) for unit_id, old, new in moves]
    insert_many(conn, band_change, rows, columns=("unit", "unit_id", "from_band", "to_band", "at"))


def keep_summary(conn: sa.Connection, summary: Json) -> None:
    """What the last ranking found, beside its rows: models, how many, what was left out."""
    text = msgspec.json.encode(summary).decode()
    if not conn.execute(setting.update().where(setting.c.name == _SUMMARY).values(value=text)).rowcount:
        insert_many(conn, setting, [{"name": _SUMMARY, "value": text}], ignore_conflicts=True)


def summary(conn: sa.Connection) -> Json | None:
    """That again; None before the first ranking."""
    text = conn.execute(sa.select(setting.c.value).where(setting.c.name == _SUMMARY)).scalar_one_or_none()
    return None if text is None else msgspec.json.decode(text)


@dataclass(frozen=True, slots=True)
class Layer:
    """A band of a class: how many units, and their sums in minor units."""

    class_name: str
    band: str
    units: int
    clv: int
    spent: int


def layers(conn: sa.Connection, classes: Mapping[str, Unit]) -> list[Layer]:
    """The pyramid as it was last ranked, by class and band."""
    found: list[Layer] = []
    for unit, table in (("customer", customer), ("account", account)):
        named = [name for name, of in classes.items() if of == unit]
        if not named:
            continue
        c = table.c
        sums = [sa.func.coalesce(sa.func.sum(loyalty.c[name]), 0) for name in ("clv", "spent")]
        query = (
            sa.select(c["class"], loyalty.c.band, sa.func.count(), *sums)
            .join(loyalty, sa.and_(loyalty.c.unit == unit, loyalty.c.unit_id == c.id))
            .where(c["class"].in_(named), loyalty.c.band.isnot(None))
            .group_by(c["class"], loyalty.c.band)
        )
        if unit == "customer":
            query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
        found += [Layer(of, band, n, int(clv), int(spent)) for of, band, n, clv, spent in conn.execute(query)]
    return found


def movements(conn: sa.Connection, since: datetime, until: datetime) -> dict[tuple[str, str], int]:
    """How many moved from one band to another in [since, until)."""
    c = band_change.c
    query = sa.select(c.from_band, c.to_band, sa.func.count()).where(
        c.at >= since, c.at < until, c.from_band.isnot(None)
    )
    return {(old, new): n for old, new, n in conn.execute(query.group_by(c.from_band, c.to_band))}


def history(conn: sa.Connection, unit: Unit, unit_id: int) -> list[tuple[str | None, str, datetime]]:
    """One unit's way through the pyramid, oldest first: (from, to, when)."""
    c = band_change.c
    query = sa.select(c.from_band, c.to_band, c.at).where(c.unit == unit, c.unit_id == unit_id)
    return [tuple(row) for row in conn.execute(query.order_by(c.at, c.id)).tuples()]
