"""Who brought whom, by which code; what partners earn of it."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import cache, partial
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa

from orchestrator.condition import Condition
from orchestrator.model import Unit
from orchestrator.program import ClassProgram, Refund
from orchestrator.project import Project
from orchestrator.store.database import bound_ids, bound_keys, id_list, insert_many, update_many
from orchestrator.store.dialect import json_number, json_text
from orchestrator.store.loyalty import members
from orchestrator.store.people import take_turns
from orchestrator.store.segments import Segments, meant
from orchestrator.store.tables import account, commission, customer, event, referral, referral_code

ALPHABET = "23456789BCDFGHJKMNPQRSTVWXZ"
"""No letter that is read as another one or as a figure, and no vowels, so that no code is a word."""
LENGTH = 10
LIVE = ("pending", "converted")
Whose = tuple[Unit, int, int | None]
"""Unit, its id, and of an account the contact who hands the code on."""
Node = tuple[Unit, int]


class Referrer(NamedTuple):
    """Whose a code is."""

    unit: Unit
    unit_id: int
    customer_id: int | None
    class_name: str


class Person(NamedTuple):
    """A customer as far as a referral is judged by it."""

    id: int
    class_name: str
    account_id: int | None
    email: str | None
    phone: str | None
    joined: date | None
    zone: str | None


class Referred(NamedTuple):
    """A referral as it stands."""

    id: int
    key: str
    class_name: str
    unit: Unit
    unit_id: int
    customer_id: int | None
    referred_unit: Unit
    referred_id: int
    state: str
    reason: str
    at: datetime
    converted_at: datetime | None
    event_id: int | None


class Line(NamedTuple):
    """A commission as it is written. `of_id`: of a refund, the line it takes back."""

    key: str
    account_id: int
    event_id: int
    of_id: int | None
    amount: int
    currency: str
    at: datetime


# ---- codes ----------------------------------------------------------------------------------------------------------


def normal(code: str) -> str:
    """A code as it is stored, however it was typed."""
    return "".join(letter for letter in code.upper() if letter in ALPHABET)


def codes(conn: sa.Connection, project: Project, wanted: Iterable[Whose], now: datetime) -> dict[Whose, str]:
    """The code of each of these, made where there is none; without those whose class has no referral programme.

    Of a customer its id stands for the third part, too. A fixed number of statements.
    """
    programs = [one for one in project.program.classes.values() if one.referral is not None]
    asked = [whose for whose in dict.fromkeys(wanted) if any(one.unit == whose[0] for one in programs)]
    by_unit: dict[Unit, set[int]] = defaultdict(set)
    for unit, unit_id, _ in asked:
        by_unit[unit].add(unit_id)
    own: dict[Whose, Whose] = {}
    for unit, ids in by_unit.items():
        found = members(conn, unit, sorted(ids))
        for whose in asked:
            member = found.get(whose[1]) if whose[0] == unit else None
            program = project.program.classes.get(member.class_name) if member is not None else None
            if program is not None and program.referral is not None and program.unit == unit:
                own[whose] = _owner(whose, program)
    known = _known(conn, set(own.values()))
    missing = set(own.values()) - known.keys()
    if missing:
        take_turns(conn, "referral_code")
        known |= _known(conn, missing)
        _make(conn, sorted(missing - known.keys(), key=str), now)
        known |= _known(conn, missing)
    return {whose: known[kept] for whose, kept in own.items()}


def code_of(conn: sa.Connection, program: ClassProgram, whose: Whose) -> str | None:
    """The code of one whose programme this is; None where none was made yet."""
    if program.referral is None:
        return None
    owner = _owner(whose, program)
    return _known(conn, {owner}).get(owner)


def _owner(whose: Whose, program: ClassProgram) -> Whose:
    unit, unit_id, customer_id = whose
    if unit == "customer":
        return unit, unit_id, unit_id
    assert program.referral is not None
    return unit, unit_id, customer_id if program.referral.code == "customer" else None


def _known(conn: sa.Connection, owners: set[Whose]) -> dict[Whose, str]:
    if not owners:
        return {}
    found: dict[Whose, str] = {}
    ids = {unit_id for _, unit_id, _ in owners}
    for unit, unit_id, customer_id, code in conn.execute(_codes(conn.dialect.name), {"ids": list(ids)}):
        whose: Whose = (unit, unit_id, customer_id)
        if whose in owners:
            found.setdefault(whose, code)
    return found


@cache
def _codes(dialect: str) -> sa.Select[Any]:
    listed, c = bound_ids(dialect), referral_code.c
    query = sa.select(c.unit, c.unit_id, c.customer_id, c.code).join(listed, listed.c.id == c.unit_id)
    return query.order_by(c.created_at, c.code)


def _make(conn: sa.Connection, owners: Sequence[Whose], now: datetime) -> None:
    """Ten of 27 letters and figures by the operating system's generator: 47 bits, and nobody's data in it."""
    rows = [("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)), *whose, now) for whose in owners]
    # No `ignore_conflicts`: two alike would be a generator that is broken.
    insert_many(conn, referral_code, rows, columns=("code", "unit", "unit_id", "customer_id", "created_at"))


def by_code(conn: sa.Connection, given: Iterable[str]) -> dict[str, Referrer]:
    """Whose these codes are (as `normal` writes them): of a customer who was merged, the one she was merged into; of
    those who were erased, nobody's."""
    rows = conn.execute(_by_code(conn.dialect.name), {"keys": list(set(given))})
    found = {}
    for code, unit, unit_id, contact_id, class_name, erased_at, account_class in rows:
        if unit == "account":
            found[code] = Referrer(unit, unit_id, contact_id if erased_at is None else None, account_class)
        elif contact_id is not None and erased_at is None:
            found[code] = Referrer(unit, contact_id, contact_id, class_name)
    return found


@cache
def _by_code(dialect: str) -> sa.Select[Any]:
    listed, c, kept = bound_keys(dialect), referral_code.c, customer.alias("kept")
    contact = sa.func.coalesce(customer.c.merged_into, customer.c.id)
    return (
        sa.select(c.code, c.unit, c.unit_id, kept.c.id, kept.c["class"], kept.c.erased_at, account.c["class"])
        .join(listed, listed.c.key == c.code)
        .outerjoin(customer, customer.c.id == c.customer_id)
        .outerjoin(kept, kept.c.id == contact)
        .outerjoin(account, sa.and_(c.unit == "account", account.c.id == c.unit_id))
    )


# ---- who is whom ----------------------------------------------------------------------------------------------------


def people(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Person]:
    """By the ids asked for, also of those who were merged: as who they are now. Without those who were erased."""
    rows = conn.execute(_people(conn.dialect.name), {"ids": list(set(ids))})
    return {row[0]: Person(*row[1:]) for row in rows}


@cache
def _people(dialect: str) -> sa.Select[Any]:
    listed, kept = bound_ids(dialect), customer.alias("kept")
    zone = sa.func.coalesce(kept.c.timezone, account.c.timezone)
    columns = (kept.c.id, kept.c["class"], kept.c.account_id, kept.c.email, kept.c.phone, kept.c.joined, zone)
    return (
        sa.select(customer.c.id, *columns)
        .join(listed, listed.c.id == customer.c.id)
        .join(kept, kept.c.id == sa.func.coalesce(customer.c.merged_into, customer.c.id))
        .outerjoin(account, account.c.id == kept.c.account_id)
        .where(kept.c.erased_at.is_(None))
    )


def above(conn: sa.Connection, nodes: Iterable[Node]) -> dict[Node, set[Node]]:
    """Who referred whom, for these and everybody above them: referred → referrers, of live referrals."""
    by_unit = _by_unit(nodes)
    if not by_unit:
        return {}
    found: dict[Node, set[Node]] = defaultdict(set)
    ids = {f"{unit}_ids": list(ids) for unit, ids in by_unit.items()}
    for referred_unit, referred_id, unit, unit_id in conn.execute(_above(conn.dialect.name, *sorted(by_unit)), ids):
        found[referred_unit, referred_id].add((unit, unit_id))
    return found


def _by_unit(nodes: Iterable[Node]) -> dict[Unit, set[int]]:
    found: dict[Unit, set[int]] = defaultdict(set)
    for unit, unit_id in nodes:
        found[unit].add(unit_id)
    return found


@cache
def _above(dialect: str, *units: Unit) -> sa.Select[Any]:
    r = referral.c
    edges = (r.referred_unit, r.referred_id, r.unit, r.unit_id)
    start = [
        sa.select(*edges).join(listed, listed.c.id == r.referred_id).where(r.referred_unit == unit, r.state.in_(LIVE))
        for unit in units
        for listed in (bound_ids(dialect, f"{unit}_ids"),)
    ]
    up = (start[0] if len(start) == 1 else sa.union(*start).subquery().select()).cte("up", recursive=True)
    onward = sa.select(*edges).join(up, sa.and_(up.c.unit == r.referred_unit, up.c.unit_id == r.referred_id))
    return sa.select(up.union(onward.where(r.state.in_(LIVE))))  # without ALL: this ends whatever is there


def first_deeds(conn: sa.Connection, types: Iterable[str], nodes: Iterable[Node]) -> dict[Node, dict[str, datetime]]:
    """When each of these first did such a thing, by type."""
    found: dict[Node, dict[str, datetime]] = defaultdict(dict)
    for unit, ids in _by_unit(nodes).items():
        query = _first_deeds(conn.dialect.name, unit)
        for unit_id, kind, at in conn.execute(query, {"ids": list(ids), "types": sorted(types)}):
            found[unit, unit_id][kind] = at
    return found


@cache
def _first_deeds(dialect: str, unit: Unit) -> sa.Select[Any]:
    owner = event.c.customer_id if unit == "customer" else event.c.account_id
    listed = bound_ids(dialect)
    return (
        sa.select(owner, event.c.type, sa.func.min(event.c.occurred_at))
        .join(listed, listed.c.id == owner)
        .where(event.c.type.in_(sa.bindparam("types", expanding=True)))
        .group_by(owner, event.c.type)
    )


# ---- referrals ------------------------------------------------------------------------------------------------------

_COLUMNS = ("key", "class", "unit", "unit_id", "customer_id", "referred_unit", "referred_id", "state", "reason", "at")


def by_key(conn: sa.Connection, keys: Iterable[str]) -> dict[str, Referred]:
    wanted = list(set(keys))
    rows = conn.execute(_by_key(conn.dialect.name), {"keys": wanted}) if wanted else ()
    return {row.key: Referred(*row) for row in rows}


@cache
def _by_key(dialect: str) -> sa.Select[Any]:
    listed = bound_keys(dialect)
    return sa.select(referral).join(listed, listed.c.key == referral.c.key)


def live(conn: sa.Connection, nodes: Iterable[Node]) -> set[Node]:
    """Those of these who have a referrer."""
    wanted = set(nodes)
    if not wanted:
        return set()
    rows = conn.execute(_live(conn.dialect.name), {"ids": list({unit_id for _, unit_id in wanted})})
    return {(unit, unit_id) for unit, unit_id in rows} & wanted


@cache
def _live(dialect: str) -> sa.Select[Any]:
    listed, r = bound_ids(dialect), referral.c
    query = sa.select(r.referred_unit, r.referred_id).join(listed, listed.c.id == r.referred_id)
    return query.where(r.state.in_(LIVE))


def add(conn: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows in the order of key, class, unit, id, contact, referred unit, its id, state, reason, at."""
    insert_many(conn, referral, rows, columns=_COLUMNS)


_NEWEST: Final = sa.select(sa.func.coalesce(sa.func.max(referral.c.id), 0))


def newest(conn: sa.Connection) -> int:
    return int(conn.execute(_NEWEST).scalar_one())


_FIRST: Final = sa.bindparam("first", type_=sa.BigInteger())
_LAST: Final = sa.bindparam("last", type_=sa.BigInteger())
_SINCE: Final = sa.bindparam("seen", type_=sa.BigInteger())
_OF: Final = sa.bindparam("of", type_=sa.Text())
_IN_LOOK: Final = (event.c.id > _FIRST, event.c.id <= _LAST)
_TYPES: Final = sa.select(event.c.type).where(*_IN_LOOK).distinct()
_OF_TYPE: Final = (
    sa.select(event.c.id, event.c.customer_id, event.c.account_id, event.c.occurred_at, event.c.properties)
    .where(*_IN_LOOK, event.c.type == _OF)
    .order_by(event.c.id)
)
Way = Literal["event", "referral"]


class News(NamedTuple):
    """What a look looks at: events first < id ≤ last, which are of these types, and referrals with seen < id ≤ newest
    (0: there are none, old or new)."""

    first: int
    last: int
    types: frozenset[str]
    seen: int = 0
    newest: int = 0

    def ways(self, kind: str) -> tuple[Way, ...]:
        """By what there may be a referral and an event of that type which have not been looked at together."""
        by_event: tuple[Way, ...] = ("event",) if kind in self.types and self.newest else ()
        return (*by_event, "referral") if self.newest > self.seen else by_event

    @property
    def bound(self) -> dict[str, int]:
        return {"first": self.first, "last": self.last}


def news(conn: sa.Connection, first: int, last: int) -> News:
    """Of events alone."""
    types = conn.execute(_TYPES, {"first": first, "last": last}).scalars() if last > first else ()
    return News(first, last, frozenset(types))


def of_types(conn: sa.Connection, news: News, types: Iterable[str]) -> list[Any]:
    """The look's events of these types: id, customer, account, time and properties; in order of id."""
    found = [row for kind in types if kind in news.types for row in conn.execute(_OF_TYPE, {**news.bound, "of": kind})]
    return sorted(found, key=lambda row: row.id)


class Candidate(NamedTuple):
    """An event that may convert a referral."""

    referred: Referred
    event_id: int
    at: datetime


def candidates(
    conn: sa.Connection, segments: Segments, program: ClassProgram, unit: Unit, news: News, now: datetime
) -> list[Candidate]:
    """The look's events that may convert a referral to this class's members of such units; of referrals that are new,
    all events since them. Earliest first."""
    assert program.referral is not None
    kind, where = program.referral.converts_on, program.referral.where
    bound = {**news.bound, "seen": news.seen, "of": program.class_name, "type": kind}
    rows: set[Any] = set()
    for way in news.ways(kind):  # two statements and no OR: each has an index
        kept = segments.kept(("converts", unit, way, meant(where)), partial(_candidates, segments, where, unit, way))
        rows.update(conn.execute(kept.statement, kept.binds(now, **bound)))
    found = [Candidate(Referred(*row[:-2]), row[-2], row[-1]) for row in rows]
    return sorted(found, key=lambda one: (one.at, one.event_id, one.referred.id))


def _candidates(segments: Segments, where: Condition | None, unit: Unit, way: Way) -> sa.Select[Any]:
    r, e = referral.c, event.c
    table = customer if unit == "customer" else account
    owner = e.customer_id if unit == "customer" else e.account_id
    query = (
        sa.select(referral, e.id.label("converting"), e.occurred_at.label("converting_at"))
        .select_from(
            referral.join(event, sa.and_(owner == r.referred_id, e.type == sa.bindparam("type"))).join(
                table, table.c.id == r.referred_id
            )
        )
        .where(
            r["class"] == _OF,
            r.referred_unit == unit,
            r.state.in_(("pending", "lapsed")),
            e.occurred_at >= r.at,
            e.id <= _LAST,
            _new(way),
        )
    )
    return query if where is None else query.where(segments.predicate(where, table, event=e.id))


def _new(way: Way) -> sa.ColumnElement[bool]:
    return event.c.id > _FIRST if way == "event" else referral.c.id > _SINCE


def by_id(conn: sa.Connection, ids: Iterable[int]) -> list[Referred]:
    return [Referred(*row) for row in conn.execute(_by_id(conn.dialect.name), {"ids": list(set(ids))})]


@cache
def _by_id(dialect: str) -> sa.Select[Any]:
    wanted = bound_ids(dialect)
    return sa.select(referral).join(wanted, wanted.c.id == referral.c.id).order_by(referral.c.id)


_OF_CLASS: Final = sa.select(referral).where(referral.c["class"] == _OF).order_by(referral.c.id)
_PENDING: Final = _OF_CLASS.where(referral.c.state == "pending")
_CONVERTED: Final = _OF_CLASS.where(referral.c.state == "converted", referral.c.converted_at >= sa.bindparam("since"))


def pending(conn: sa.Connection, class_name: str) -> list[Referred]:
    """Those of a class that have not come to anything yet."""
    return [Referred(*row) for row in conn.execute(_PENDING, {"of": class_name})]


def converted_since(conn: sa.Connection, class_name: str, since: datetime) -> list[Referred]:
    return [Referred(*row) for row in conn.execute(_CONVERTED, {"of": class_name, "since": since})]


def set_states(conn: sa.Connection, rows: Sequence[tuple[int, str, str, datetime | None, int | None]]) -> None:
    """(id, state, reason, converted at, by which event) of each."""
    names = ("id", "state", "reason", "converted_at", "event_id")
    update_many(conn, referral, [dict(zip(names, row, strict=True)) for row in rows], where=("id",))


def listed(
    conn: sa.Connection, *, state: str | None = None, nodes: Iterable[Node] | None = None, limit: int = 100
) -> list[Referred]:
    """The newest first; `nodes`: what these referred."""
    r = referral.c
    query = sa.select(referral).order_by(r.id.desc()).limit(limit)
    if state is not None:
        query = query.where(r.state == state)
    if nodes is not None:
        query = query.where(sa.or_(sa.false(), *(sa.and_(r.unit == u, r.unit_id == i) for u, i in nodes)))
    return [Referred(*row) for row in conn.execute(query)]


def keys_of(conn: sa.Connection, rows: Iterable[Referred]) -> dict[Node, str]:
    """What the outside calls both sides of these."""
    found: dict[Node, str] = {}
    nodes = {node for row in rows for node in ((row.unit, row.unit_id), (row.referred_unit, row.referred_id))}
    for unit in {unit for unit, _ in nodes}:
        table = customer if unit == "customer" else account
        wanted = id_list(conn, {unit_id for own, unit_id in nodes if own == unit})
        query = sa.select(table.c.id, table.c.key).join(wanted, wanted.c.id == table.c.id)
        found |= {(unit, row.id): row.key for row in conn.execute(query)}
    return found


def counts(conn: sa.Connection) -> dict[tuple[str, str], int]:
    """(state, reason) → how many."""
    r = referral.c
    query = sa.select(r.state, r.reason, sa.func.count()).group_by(r.state, r.reason).order_by(r.state, r.reason)
    return {(row[0], row[1]): row[2] for row in conn.execute(query)}


# ---- refunds --------------------------------------------------------------------------------------------------------


class Back(NamedTuple):
    """A refund of the event behind a referral or a commission line (`of`). `amount`, `whole`: what was refunded, and
    of how much; None where the rule or the events name no money."""

    of: int
    event_id: int
    at: datetime
    amount: int | None
    currency: str | None
    whole: int | None


def backs(
    conn: sa.Connection, of: sa.Table, class_name: str, refund: Refund, whole: str, news: News, new: Iterable[int]
) -> list[Back]:
    """The look's refunds of the events that rows of `of` (referral or commission) name, of that class's programme; and
    all there are of the rows `new`. Of the same customer or, where it is nobody's, of the same account; `whole`: the
    money property of the event refunded."""
    ids = list(new)
    bound = {**news.bound, "ids": ids, "of": f"{class_name}:" if of is commission else class_name}
    # Two statements and no OR: each has an index.
    ways = [way for way, may in (("event", refund.event in news.types), ("row", ids)) if may]
    queries = [_backs(conn.dialect.name, of.name, refund, whole, way) for way in ways]
    rows = sorted({row for query in queries for row in conn.execute(query, bound)}, key=lambda r: (r[2], r[1], r[0]))
    return [Back(r[0], r[1], r[2], _whole(r[3]), r[4], _whole(r[5])) for r in rows]


@cache
def _backs(dialect: str, name: str, refund: Refund, whole: str, way: str) -> sa.Select[Any]:
    x, e, of = event.alias("refund"), event.c, commission if name == "commission" else referral
    same = sa.or_(x.c.customer_id == e.customer_id, sa.and_(e.customer_id.is_(None), x.c.account_id == e.account_id))
    mark = json_text(e.properties, refund.match)
    amount: Any = json_number(x.c.properties, refund.of) if refund.of else sa.null()
    currency: Any = json_text(x.c.properties, f"{refund.of}_currency") if refund.of else sa.null()
    of_all: Any = json_number(e.properties, whole) if whole else sa.null()
    earned = [commission.c.of_id.is_(None), sa.func.substr(commission.c.key, 1, sa.func.length(_OF)) == _OF]
    converted = [referral.c["class"] == _OF, referral.c.state == "converted"]
    picked = earned if of is commission else converted
    new = x.c.id > _FIRST if way == "event" else of.c.id.in_(sa.select(bound_ids(dialect).c.id))
    return (
        sa.select(of.c.id, x.c.id, x.c.occurred_at, amount, currency, of_all)
        .select_from(
            of.join(event, e.id == of.c.event_id).join(
                x, sa.and_(x.c.type == refund.event, same, json_text(x.c.properties, refund.match) == mark)
            )
        )
        .where(e.type == refund.takes_back, x.c.id <= _LAST, *picked, new)
    )


def _whole(amount: Any) -> int | None:
    return None if amount is None else round(amount)


def refunded(conn: sa.Connection, ids: Iterable[int]) -> dict[int, int]:
    """Commission line → how much of it was taken back, as it is written (negative)."""
    rows = conn.execute(_refunded(conn.dialect.name), {"ids": list(set(ids))})
    return {row[0]: int(row[1]) for row in rows}


@cache
def _refunded(dialect: str) -> sa.Select[Any]:
    listed, c = bound_ids(dialect), commission.c
    return sa.select(c.of_id, sa.func.sum(c.amount)).join(listed, listed.c.id == c.of_id).group_by(c.of_id)


# ---- commission -----------------------------------------------------------------------------------------------------


class Sale(NamedTuple):
    """An event that may earn a partner something. `tier`: the partner's now."""

    event_id: int
    at: datetime
    amount: int
    currency: str
    account_id: int
    tier: str | None
    customer_id: int | None


def sales(conn: sa.Connection, program: ClassProgram, kind: str, of: str, news: News) -> list[Sale]:
    """The look's events of that type of whom partners of this class referred, or whose end customers they are; of
    referrals that are new, all since them. Who referred comes before whose end customer it is; a partner's own are
    none."""
    units: tuple[Unit, ...] = ("customer", "account")
    queries = [_sales(of, unit, way) for unit in units for way in news.ways(kind)]
    if kind in news.types:
        queries += [_sales(of, unit, None) for unit in units]
    bound = {**news.bound, "seen": news.seen, "of": program.class_name, "type": kind}
    found: dict[int, Sale] = {}
    for query in queries:
        for row in conn.execute(query, bound):
            found.setdefault(row[0], Sale(row[0], row[1], round(row[2]), *row[3:]))
    return [found[i] for i in sorted(found)]


@cache
def _sales(of: str, unit: Unit, way: Way | None) -> sa.Select[Any]:
    """Of units of this kind that a partner referred; without a way: of his end customers."""
    r, e, table = referral.c, event.c, customer if unit == "customer" else account
    partner = account.alias("partner")
    owner = e.customer_id if unit == "customer" else e.account_id
    amount, currency = json_number(e.properties, of), json_text(e.properties, f"{of}_currency")
    columns = (e.id, e.occurred_at, amount, currency, partner.c.id, partner.c.tier, e.customer_id)
    query = sa.select(*columns).where(
        e.type == sa.bindparam("type"),
        e.id <= _LAST,
        amount > 0,
        currency.is_not(None),
        partner.c["class"] == _OF,
        sa.or_(e.account_id.is_(None), e.account_id != partner.c.id),
    )
    if way is None:
        named = event.join(table, table.c.id == owner).join(partner, partner.c.id == table.c.partner_id)
        return query.select_from(named).where(e.id > _FIRST).order_by(e.id)
    referred = event.join(referral, sa.and_(r.referred_unit == unit, r.referred_id == owner)).join(
        partner, sa.and_(r.unit == "account", partner.c.id == r.unit_id)
    )
    live = (r["class"] == _OF, r.state.in_(LIVE), e.occurred_at >= r.at, _new(way))
    return query.select_from(referred).where(*live).order_by(e.id)


def add_lines(conn: sa.Connection, lines: Sequence[Line], now: datetime) -> dict[str, int]:
    """Write those that are not there; returns the new ones' ids by key. Ids grow in the order of commits."""
    if not lines:
        return {}
    take_turns(conn, "commission")
    query, keys = _lines_by_key(conn.dialect.name), {"keys": list({line.key for line in lines})}
    before = {row.key for row in conn.execute(query, keys)}
    fresh = {line.key: line for line in lines if line.key not in before}
    rows = [(*line, now) for line in fresh.values()]
    insert_many(conn, commission, rows, columns=(*Line._fields, "received_at"))
    return {row.key: row.id for row in conn.execute(query, keys) if row.key in fresh}


@cache
def _lines_by_key(dialect: str) -> sa.Select[Any]:
    listed = bound_keys(dialect)
    return sa.select(commission.c.key, commission.c.id).join(listed, listed.c.key == commission.c.key)


def lines(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Line]:
    return {row[0]: Line(*row[1:]) for row in conn.execute(_lines(conn.dialect.name), {"ids": list(set(ids))})}


@cache
def _lines(dialect: str) -> sa.Select[Any]:
    listed, c = bound_ids(dialect), commission.c
    return sa.select(c.id, *(c[name] for name in Line._fields)).join(listed, listed.c.id == c.id)


class Statement(NamedTuple):
    """What one partner earned in one currency, in minor units."""

    partner: str
    name: str
    currency: str
    sales: int
    earned: int
    taken_back: int

    @property
    def total(self) -> int:
        return self.earned + self.taken_back


def statements(conn: sa.Connection, since: datetime, until: datetime) -> list[Statement]:
    """By partner and currency, of what happened in [since, until)."""
    c = commission.c
    earned = sa.func.sum(sa.case((c.of_id.is_(None), c.amount), else_=0))
    back = sa.func.sum(sa.case((c.of_id.is_not(None), c.amount), else_=0))
    query = (
        sa.select(
            account.c.key, account.c.name, c.currency, sa.func.count(sa.case((c.of_id.is_(None), 1))), earned, back
        )
        .join(account, account.c.id == c.account_id)
        .where(c.at >= since, c.at < until)
        .group_by(account.c.key, account.c.name, c.currency)
        .order_by(account.c.key, c.currency)
    )
    return [Statement(*row[:3], *(int(n) for n in row[3:])) for row in conn.execute(query)]


class Item(NamedTuple):
    """One line of a statement. `event`: our own number of what it is for."""

    partner: str
    name: str
    at: datetime
    event: int
    amount: int
    currency: str
    is_refund: bool


def items(conn: sa.Connection, since: datetime, until: datetime) -> list[Item]:
    """Every line of what happened in [since, until), by partner and time."""
    c = commission.c
    query = (
        sa.select(account.c.key, account.c.name, c.at, c.event_id, c.amount, c.currency, c.of_id.is_not(None))
        .join(account, account.c.id == c.account_id)
        .where(c.at >= since, c.at < until)
        .order_by(account.c.key, c.at, c.id)
    )
    return [Item(r[0], r[1], r[2], r[3], r[4], r[5], bool(r[6])) for r in conn.execute(query)]
