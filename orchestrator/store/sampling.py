"""Whom a look at a text is about, and what its audience holds: one drawn, her newest facts, the longest and the
emptiest values. Reads only, in a fixed number of statements whatever the audience."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.journey import Journey
from orchestrator.model import LOYALTY_FIELDS, Field, Kind, Vocabulary
from orchestrator.store.dialect import json_number, json_text
from orchestrator.store.explain import subject_of
from orchestrator.store.segments import Segments
from orchestrator.store.tables import account, customer, event, loyalty, record, voucher

_TEXTS = frozenset({Kind.TEXT, Kind.KEY, Kind.CHOICE, Kind.TIER})
_NUMBERS = frozenset({Kind.NUMBER, Kind.MONEY})
_MOST_HOPS = 20  # of merges: who was merged into somebody who was merged …


@dataclass(frozen=True, slots=True)
class Extreme:
    """What an audience holds of one name that a text prints. `of` rows, of which `missing` have nothing there;
    `longest` and `shortest`: texts by their length, numbers by their size; None where there is none."""

    name: str
    of: int
    missing: int
    longest: str | int | float | None = None
    shortest: str | int | float | None = None


# ---- who ------------------------------------------------------------------------------------------------------------


def customer_named(conn: sa.Connection, key: str) -> int | None:
    """A customer by key, or the one that she was merged into; None where there is none, or she was erased."""
    c = customer.c
    row = conn.execute(sa.select(c.id, c.merged_into, c.erased_at).where(c.key == key)).one_or_none()
    for _ in range(_MOST_HOPS):
        if row is None or row.merged_into is None:
            break
        query = sa.select(c.id, c.merged_into, c.erased_at).where(c.id == row.merged_into)
        row = conn.execute(query).one_or_none()
    return None if row is None or row.erased_at is not None else int(row.id)


def account_of(conn: sa.Connection, customer_id: int) -> int | None:
    """The company that a customer is a contact of."""
    return conn.execute(sa.select(customer.c.account_id).where(customer.c.id == customer_id)).scalar_one_or_none()


def is_a_customers(conn: sa.Connection, address: str) -> bool:
    """Whether an e-mail address is some customer's, however it is written."""
    known = sa.exists().where(sa.func.lower(customer.c.email) == address.strip().lower())
    return bool(conn.execute(sa.select(known)).scalar_one())


def audience(segments: Segments, journey: Journey | None, now: datetime) -> sa.Select[tuple[int]]:
    """Ids of the customers whom a journey may be about (an account's: its contacts); without one, of all. What an
    audience says of a record or an event is asked of any of theirs."""
    there = (customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    if journey is None:
        return sa.select(customer.c.id).where(*there)
    about = None if journey.audience is None else subject_of(journey.audience)
    if journey.audience is None or about is None:
        units = segments.audience(journey.audience, journey.unit, now)
    else:
        units = _units_with(segments, journey, about, now)
    if journey.unit == "customer":
        return sa.select(customer.c.id).where(*there, customer.c.id.in_(units))
    return sa.select(customer.c.id).where(*there, customer.c.left_at.is_(None), customer.c.account_id.in_(units))


def _units_with(segments: Segments, journey: Journey, about: str, now: datetime) -> sa.Select[tuple[int]]:
    unit = customer if journey.unit == "customer" else account
    subject = record if about == "record" else event
    kind = journey.record if about == "record" else journey.event
    owner = subject.c.customer_id if journey.unit == "customer" else subject.c.account_id
    assert journey.audience is not None
    place: dict[str, Any] = {about: subject.c.id}
    match = segments.predicate(journey.audience, unit, now=now, **place)
    return sa.select(unit.c.id).select_from(subject.join(unit, unit.c.id == owner)).where(subject.c.type == kind, match)


def drawn(conn: sa.Connection, among: sa.Select[tuple[int]], seed: int) -> int | None:
    """One of them, the same for the same seed while they are the same; None of nobody. Two statements."""
    meant = among.subquery()
    count = conn.execute(sa.select(sa.func.count()).select_from(meant)).scalar_one()
    if not count:
        return None
    place = int.from_bytes(hashlib.sha256(f"preview\0{seed}".encode()).digest()[:8], "big") % count
    return conn.execute(sa.select(meant.c.id).order_by(meant.c.id).offset(place).limit(1)).scalar_one_or_none()


# ---- what of hers a text may name -----------------------------------------------------------------------------------


def newest_event(conn: sa.Connection, customer_id: int, account_id: int | None, types: Iterable[str]) -> Any | None:
    """(id, type) of the newest event of hers, or of her company, of one of these types."""
    e, listed = event.c, sorted(types)
    hers = [e.customer_id == customer_id]
    if account_id is not None:
        hers.append(e.account_id == account_id)
    query = sa.select(e.id, e.type).where(sa.or_(*hers), e.type.in_(listed))
    return conn.execute(query.order_by(e.occurred_at.desc(), e.id.desc()).limit(1)).one_or_none()


def newest_record(conn: sa.Connection, customer_id: int, account_id: int | None, kind: str) -> int | None:
    """The record of hers, or of her company, that came last."""
    r = record.c
    hers = [r.customer_id == customer_id]
    if account_id is not None:
        hers.append(r.account_id == account_id)
    query = sa.select(r.id).where(sa.or_(*hers), r.type == kind).order_by(r.id.desc()).limit(1)
    return conn.execute(query).scalar_one_or_none()


def newest_voucher(conn: sa.Connection, customer_id: int, account_id: int | None) -> dict[str, Any] | None:
    """The voucher that she, or her company, was given last, as texts name it."""
    v = voucher.c
    hers = [sa.and_(v.unit == "customer", v.unit_id == customer_id)]
    if account_id is not None:
        hers.append(sa.and_(v.unit == "account", v.unit_id == account_id))
    query = sa.select(v.code, v.expires_on, v.pool).where(sa.or_(*hers), v.void_at.is_(None))
    row = conn.execute(query.order_by(v.given_at.desc(), v.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    day = {} if row.expires_on is None else {"expires": row.expires_on.isoformat()}
    return {"code": row.code, "pool": row.pool, **day}


# ---- the longest and the emptiest -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    kind: Kind
    value: Any


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows, and which names' values stand in them."""

    rows: sa.FromClause
    where: tuple[Any, ...]
    asked: tuple[_Asked, ...]


def extremes(
    conn: sa.Connection,
    vocabulary: Vocabulary,
    meant: sa.Select[tuple[int]],
    names: Iterable[str],
    *,
    event_type: str = "",
) -> Mapping[str, Extreme]:
    """By name, the longest and the emptiest value that an audience (ids of customers) has of what a text prints.

    `event_type`: which event `event` is. At most two statements each for people with their companies, the programme's
    rows, events, and each type of record named. Dates and names of other accounts are not compared.
    """
    found: dict[str, Extreme] = {}
    for source in _sources(vocabulary, meant, sorted(set(names)), event_type):
        found |= _measured(conn, source)
    return found


def _sources(
    vocabulary: Vocabulary, meant: sa.Select[tuple[int]], names: Sequence[str], event_type: str
) -> list[_Source]:
    people = meant.subquery()
    units = customer.join(people, people.c.id == customer.c.id).outerjoin(
        account, account.c.id == customer.c.account_id
    )
    of_unit: list[_Asked] = []
    of_program: list[_Asked] = []
    of_others: dict[str, list[_Asked]] = {}
    for name in names:
        root, _, member = name.partition(".")
        if root in ("customer", "account"):
            declared = (vocabulary.customer if root == "customer" else vocabulary.account).get(member)
            table = customer if root == "customer" else account
            _ask(of_unit, name, declared, table, table.c.attributes)
        elif name in LOYALTY_FIELDS and LOYALTY_FIELDS[name].column:
            _ask(of_program, name, LOYALTY_FIELDS[name], loyalty, None)
        elif root == "event" and event_type in vocabulary.events:
            declared = vocabulary.events[event_type].fields.get(member)
            _ask(of_others.setdefault("event", []), name, declared, event, event.c.properties)
        elif root in vocabulary.records:
            kind = vocabulary.records[root]
            held = None if member == kind.key else record.c.fields
            declared = Field(member, Kind.KEY, column="key") if held is None else kind.fields.get(member)
            _ask(of_others.setdefault(root, []), name, declared, record, held)
    sources = [_Source(units, (), tuple(of_unit))]
    mine = sa.select(people.c.id)
    theirs = sa.select(customer.c.account_id).where(customer.c.id.in_(mine))
    own = sa.or_(
        sa.and_(loyalty.c.unit == "customer", loyalty.c.unit_id.in_(mine)),
        sa.and_(loyalty.c.unit == "account", loyalty.c.unit_id.in_(theirs)),
    )
    sources.append(_Source(loyalty, (own,), tuple(of_program)))
    for root, asked in of_others.items():
        table, kind_of = (event, event_type) if root == "event" else (record, root)
        hers = sa.or_(table.c.customer_id.in_(mine), table.c.account_id.in_(theirs))
        sources.append(_Source(table, (table.c.type == kind_of, hers), tuple(asked)))
    return [source for source in sources if source.asked]


def _ask(into: list[_Asked], name: str, declared: Field | None, table: sa.Table, members: Any) -> None:
    if declared is None or declared.kind not in _TEXTS | _NUMBERS:
        return
    if declared.column is not None:
        if declared.column in table.c:  # not a name that stands in another account's row
            into.append(_Asked(name, declared.kind, table.c[declared.column]))
    elif members is not None:
        read = json_number if declared.kind in _NUMBERS else json_text
        into.append(_Asked(name, declared.kind, read(members, declared.name)))


def _measured(conn: sa.Connection, source: _Source) -> dict[str, Extreme]:
    columns: list[Any] = [sa.func.count()]
    for asked in source.asked:
        value, is_text = asked.value, asked.kind in _TEXTS
        empty = sa.or_(value.is_(None), value == "") if is_text else value.is_(None)
        size = sa.func.length(sa.case((empty, None), else_=value)) if is_text else value
        columns += [sa.func.coalesce(sa.func.sum(sa.case((empty, 1), else_=0)), 0), sa.func.max(size)]
        columns.append(sa.func.min(size))
    row = conn.execute(sa.select(*columns).select_from(source.rows).where(*source.where)).one()
    found: dict[str, Extreme] = {}
    wanted: list[tuple[_Asked, str, int]] = []
    for n, asked in enumerate(source.asked):
        missing, most, least = row[1 + 3 * n : 4 + 3 * n]
        if asked.kind in _TEXTS:
            found[asked.name] = Extreme(asked.name, row[0], int(missing))
            wanted += [(asked, end, size) for end, size in (("longest", most), ("shortest", least)) if size is not None]
        else:
            found[asked.name] = Extreme(asked.name, row[0], int(missing), _number(most), _number(least))
    for name, end, value in _texts(conn, source, wanted):
        was = found[name]
        longest, shortest = (value, was.shortest) if end == "longest" else (was.longest, value)
        found[name] = Extreme(name, was.of, was.missing, longest, shortest)
    return found


def _texts(
    conn: sa.Connection, source: _Source, wanted: Sequence[tuple[_Asked, str, int]]
) -> Iterable[tuple[str, str, str]]:
    """(name, which end, the text): one text of each size, in one statement."""
    if not wanted:
        return ()
    each = []
    for asked, end, size in wanted:
        one = (
            sa.select(
                sa.literal(asked.name, sa.Text()).label("name"), sa.literal(end, sa.Text()).label("end"),
                asked.value.label("value"),
            )
            .select_from(source.rows)
            .where(*source.where, sa.func.length(asked.value) == size)
            .limit(1)
            .subquery()
        )  # fmt: skip
        each.append(sa.select(one.c.name, one.c.end, one.c.value))
    return [(name, end, str(value)) for name, end, value in conn.execute(sa.union_all(*each))]


def _number(value: Any) -> int | float | None:
    return None if value is None else int(value) if value == int(value) else float(value)
