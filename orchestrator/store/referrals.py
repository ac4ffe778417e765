"""Who brought whom, by which code; what partners earn of it."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.program import ClassProgram, Refund
from orchestrator.project import Project
from orchestrator.store.database import id_list, insert_many, key_list, update_many
from orchestrator.store.dialect import json_number, json_text
from orchestrator.store.loyalty import members
from orchestrator.store.people import take_turns
from orchestrator.store.segments import Segments
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
    listed = id_list(conn, {unit_id for _, unit_id, _ in owners})
    c = referral_code.c
    query = sa.select(c.unit, c.unit_id, c.customer_id, c.code).join(listed, listed.c.id == c.unit_id)
    found: dict[Whose, str] = {}
    for unit, unit_id, customer_id, code in conn.execute(query.order_by(c.created_at, c.code)):
        whose: Whose = (unit, unit_id, customer_id)
        if whose in owners:
            found.setdefault(whose, code)
    return found


def _make(conn: sa.Connection, owners: Sequence[Whose], now: datetime) -> None:
    """Ten of 27 letters and figures by the operating system's generator: 47 bits, and nobody's data in it."""
    rows = [("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)), *whose, now) for whose in owners]
    # No `ignore_conflicts`: two alike would be a generator that is broken.
    insert_many(conn, referral_code, rows, columns=("code", "unit", "unit_id", "customer_id", "created_at"))


def by_code(conn: sa.Connection, given: Iterable[str]) -> dict[str, Referrer]:
    """Whose these codes are (as `normal` writes them): of a customer who was merged, the one she was merged into; of
    those who were erased, nobody's."""
    listed = key_list(conn, set(given))
    c, kept = referral_code.c, customer.alias("kept")
    contact = sa.func.coalesce(customer.c.merged_into, customer.c.id)
    query = (
        sa.select(c.code, c.unit, c.unit_id, kept.c.id, kept.c["class"], kept.c.erased_at, account.c["class"])
        .join(listed, listed.c.key == c.code)
        .outerjoin(customer, customer.c.id == c.customer_id)
        .outerjoin(kept, kept.c.id == contact)
        .outerjoin(account, sa.and_(c.unit == "account", account.c.id == c.unit_id))
    )
    found = {}
    for code, unit, unit_id, contact_id, class_name, erased_at, account_class in conn.execute(query):
        if unit == "account":
            found[code] = Referrer(unit, unit_id, contact_id if erased_at is None else None, account_class)
        elif contact_id is not None and erased_at is None:
            found[code] = Referrer(unit, contact_id, contact_id, class_name)
    return found


# ---- who is whom ----------------------------------------------------------------------------------------------------


def people(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Person]:
    """By the ids asked for, also of those who were merged: as who they are now. Without those who were erased."""
    listed = id_list(conn, set(ids))
    kept = customer.alias("kept")
    zone = sa.func.coalesce(kept.c.timezone, account.c.timezone)
    columns = (kept.c.id, kept.c["class"], kept.c.account_id, kept.c.email, kept.c.phone, kept.c.joined, zone)
    query = (
        sa.select(customer.c.id, *columns)
        .join(listed, listed.c.id == customer.c.id)
        .join(kept, kept.c.id == sa.func.coalesce(customer.c.merged_into, customer.c.id))
        .outerjoin(account, account.c.id == kept.c.account_id)
        .where(kept.c.erased_at.is_(None))
    )
    return {row[0]: Person(*row[1:]) for row in conn.execute(query)}


def above(conn: sa.Connection, nodes: Iterable[Node]) -> dict[Node, set[Node]]:
    """Who referred whom, for these and everybody above them: referred → referrers, of live referrals."""
    by_unit: dict[Unit, set[int]] = defaultdict(set)
    for unit, unit_id in nodes:
        by_unit[unit].add(unit_id)
    r = referral.c
    edges = (r.referred_unit, r.referred_id, r.unit, r.unit_id)
    start = []
    for unit, ids in by_unit.items():
        listed = id_list(conn, ids)
        start.append(
            sa.select(*edges)
            .join(listed, listed.c.id == r.referred_id)
            .where(r.referred_unit == unit, r.state.in_(LIVE))
        )
    if not start:
        return {}
    up = (start[0] if len(start) == 1 else sa.union(*start).subquery().select()).cte("up", recursive=True)
    onward = sa.select(*edges).join(up, sa.and_(up.c.unit == r.referred_unit, up.c.unit_id == r.referred_id))
    up = up.union(onward.where(r.state.in_(LIVE)))  # without ALL: this ends whatever is there
    found: dict[Node, set[Node]] = defaultdict(set)
    for referred_unit, referred_id, unit, unit_id in conn.execute(sa.select(up)):
        found[referred_unit, referred_id].add((unit, unit_id))
    return found


def first_deeds(conn: sa.Connection, types: Iterable[str], nodes: Iterable[Node]) -> dict[Node, dict[str, datetime]]:
    """When each of these first did such a thing, by type."""
    found: dict[Node, dict[str, datetime]] = defaultdict(dict)
    by_unit: dict[Unit, set[int]] = defaultdict(set)
    for unit, unit_id in nodes:
        by_unit[unit].add(unit_id)
    for unit, ids in by_unit.items():
        owner = event.c.customer_id if unit == "customer" else event.c.account_id
        listed = id_list(conn, ids)
        query = (
            sa.select(owner, event.c.type, sa.func.min(event.c.occurred_at))
            .join(listed, listed.c.id == owner)
            .where(event.c.type.in_(sorted(types)))
            .group_by(owner, event.c.type)
        )
        for unit_id, kind, at in conn.execute(query):
            found[unit, unit_id][kind] = at
    return found


# ---- referrals ------------------------------------------------------------------------------------------------------

_COLUMNS = ("key", "class", "unit", "unit_id", "customer_id", "referred_unit", "referred_id", "state", "reason", "at")


def _referred(row: Any) -> Referred:
    return Referred(*row)


def by_key(conn: sa.Connection, keys: Iterable[str]) -> dict[str, Referred]:
    listed = key_list(conn, set(keys))
    query = sa.select(referral).join(listed, listed.c.key == referral.c.key)
    return {row.key: _referred(row) for row in conn.execute(query)}


def live(conn: sa.Connection, nodes: Iterable[Node]) -> set[Node]:
    """Those of these who have a referrer."""
    wanted = set(nodes)
    listed = id_list(conn, {unit_id for _, unit_id in wanted})
    r = referral.c
    query = sa.select(r.referred_unit, r.referred_id).join(listed, listed.c.id == r.referred_id)
    return {(unit, unit_id) for unit, unit_id in conn.execute(query.where(r.state.in_(LIVE)))} & wanted


def add(conn: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows in the order of key, class, unit, id, contact, referred unit, its id, state, reason, at."""
    insert_many(conn, referral, rows, columns=_COLUMNS)


def newest(conn: sa.Connection) -> int:
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(referral.c.id), 0))).scalar_one())


class Candidate(NamedTuple):
    """An event that may convert a referral."""

    referred: Referred
    event_id: int
    at: datetime


def candidates(
    conn: sa.Connection,
    segments: Segments,
    program: ClassProgram,
    unit: Unit,
    events: tuple[int, int],
    seen: int,
    now: datetime,
) -> list[Candidate]:
    """Events first < id ≤ last that may convert a referral to this class's members of such units; of referrals newer
    than `seen`, all events since them. Earliest first."""
    assert program.referral is not None
    r, e = referral.c, event.c
    table = customer if unit == "customer" else account
    first, last = events
    owner = e.customer_id if unit == "customer" else e.account_id
    query = (
        sa.select(referral, e.id.label("converting"), e.occurred_at.label("converting_at"))
        .select_from(
            referral.join(event, sa.and_(owner == r.referred_id, e.type == program.referral.converts_on)).join(
                table, table.c.id == r.referred_id
            )
        )
        .where(
            r["class"] == program.class_name,
            r.referred_unit == unit,
            r.state.in_(("pending", "lapsed")),
            e.occurred_at >= r.at,
            e.id <= last,
        )
    )
    if program.referral.where is not None:
        query = query.where(segments.predicate(program.referral.where, table, now=now, event=e.id))
    # Two statements and no OR: each has an index.
    rows = {row for new in (e.id > first, r.id > seen) for row in conn.execute(query.where(new))}
    found = [Candidate(_referred(row[:-2]), row[-2], row[-1]) for row in rows]
    return sorted(found, key=lambda one: (one.at, one.event_id, one.referred.id))


def by_id(conn: sa.Connection, ids: Iterable[int]) -> list[Referred]:
    wanted = id_list(conn, set(ids))
    query = sa.select(referral).join(wanted, wanted.c.id == referral.c.id).order_by(referral.c.id)
    return [_referred(row) for row in conn.execute(query)]


def pending(conn: sa.Connection, class_name: str) -> list[Referred]:
    """Those of a class that have not come to anything yet."""
    r = referral.c
    query = sa.select(referral).where(r["class"] == class_name, r.state == "pending").order_by(r.id)
    return [_referred(row) for row in conn.execute(query)]


def converted_since(conn: sa.Connection, class_name: str, since: datetime) -> list[Referred]:
    r = referral.c
    query = sa.select(referral).where(r["class"] == class_name, r.state == "converted", r.converted_at >= since)
    return [_referred(row) for row in conn.execute(query.order_by(r.id))]


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
    return [_referred(row) for row in conn.execute(query)]


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
    conn: sa.Connection,
    of: sa.Table,
    refund: Refund,
    events: tuple[int, int],
    new: Iterable[int],
    whole: str,
    *picked: sa.ColumnElement[bool],
) -> list[Back]:
    """Refunds with first < id ≤ last of the events that rows of `of` name, and all there are of the rows `new`. Of the
    same customer or, where it is nobody's, of the same account; `whole`: the money property of the event refunded."""
    x = event.alias("refund")
    e, first, last = event.c, *events
    listed = id_list(conn, new)
    same = sa.or_(x.c.customer_id == e.customer_id, sa.and_(e.customer_id.is_(None), x.c.account_id == e.account_id))
    mark = json_text(e.properties, refund.match)
    amount: Any = json_number(x.c.properties, refund.of) if refund.of else sa.null()
    currency: Any = json_text(x.c.properties, f"{refund.of}_currency") if refund.of else sa.null()
    of_all: Any = json_number(e.properties, whole) if whole else sa.null()
    query = (
        sa.select(of.c.id, x.c.id, x.c.occurred_at, amount, currency, of_all)
        .select_from(
            of.join(event, e.id == of.c.event_id).join(
                x, sa.and_(x.c.type == refund.event, same, json_text(x.c.properties, refund.match) == mark)
            )
        )
        .where(e.type == refund.takes_back, x.c.id <= last, *picked)
    )
    # Two statements and no OR: each has an index.
    news = (x.c.id > first, of.c.id.in_(sa.select(listed.c.id)))
    rows = sorted({row for new in news for row in conn.execute(query.where(new))}, key=lambda r: (r[2], r[1], r[0]))
    return [Back(r[0], r[1], r[2], _whole(r[3]), r[4], _whole(r[5])) for r in rows]


def _whole(amount: Any) -> int | None:
    return None if amount is None else round(amount)


def refunded(conn: sa.Connection, ids: Iterable[int]) -> dict[int, int]:
    """Commission line → how much of it was taken back, as it is written (negative)."""
    listed = id_list(conn, set(ids))
    c = commission.c
    query = sa.select(c.of_id, sa.func.sum(c.amount)).join(listed, listed.c.id == c.of_id).group_by(c.of_id)
    return {row[0]: int(row[1]) for row in conn.execute(query)}


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


def sales(
    conn: sa.Connection, program: ClassProgram, kind: str, of: str, events: tuple[int, int], seen: int
) -> list[Sale]:
    """Events first < id ≤ last of whom partners of this class referred, or whose end customers they are; of referrals
    newer than `seen`, all since them. Who referred comes before whose end customer it is; a partner's own are none."""
    r, e, first, last = referral.c, event.c, *events
    partner = account.alias("partner")
    amount, currency = json_number(e.properties, of), json_text(e.properties, f"{of}_currency")
    columns = (e.id, e.occurred_at, amount, currency, partner.c.id, partner.c.tier, e.customer_id)
    theirs = [e.type == kind, e.id <= last, amount > 0, currency.is_not(None), partner.c["class"] == program.class_name]
    own = sa.or_(e.account_id.is_(None), e.account_id != partner.c.id)
    found: dict[int, Sale] = {}
    joined = [
        sa.and_(r.referred_unit == "customer", r.referred_id == e.customer_id),
        sa.and_(r.referred_unit == "account", r.referred_id == e.account_id),
    ]
    queries = [
        sa.select(*columns)
        .select_from(event.join(referral, on).join(partner, sa.and_(r.unit == "account", partner.c.id == r.unit_id)))
        .where(*theirs, r["class"] == program.class_name, r.state.in_(LIVE), e.occurred_at >= r.at)
        .where(new)
        for on in joined
        for new in (e.id > first, r.id > seen)
    ]
    for table, owner in ((customer, e.customer_id), (account, e.account_id)):
        named = event.join(table, table.c.id == owner).join(partner, partner.c.id == table.c.partner_id)
        queries.append(sa.select(*columns).select_from(named).where(*theirs, e.id > first))
    for query in queries:
        for row in conn.execute(query.where(own).order_by(e.id)):
            found.setdefault(row[0], Sale(row[0], row[1], round(row[2]), *row[3:]))
    return [found[i] for i in sorted(found)]


def add_lines(conn: sa.Connection, lines: Sequence[Line], now: datetime) -> dict[str, int]:
    """Write those that are not there; returns the new ones' ids by key. Ids grow in the order of commits."""
    if not lines:
        return {}
    take_turns(conn, "commission")
    listed = key_list(conn, {line.key for line in lines})
    query = sa.select(commission.c.key, commission.c.id).join(listed, listed.c.key == commission.c.key)
    before = {row.key for row in conn.execute(query)}
    fresh = {line.key: line for line in lines if line.key not in before}
    rows = [(*line, now) for line in fresh.values()]
    insert_many(conn, commission, rows, columns=(*Line._fields, "received_at"))
    return {row.key: row.id for row in conn.execute(query) if row.key in fresh}


def lines(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Line]:
    listed = id_list(conn, set(ids))
    c = commission.c
    query = sa.select(c.id, *(c[name] for name in Line._fields)).join(listed, listed.c.id == c.id)
    return {row[0]: Line(*row[1:]) for row in conn.execute(query)}


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


# ---- two records of one person --------------------------------------------------------------------------------------


def merged(conn: sa.Connection, keep: int, drop: int) -> None:
    """What one record of a person referred, and who referred it, is the other's. Whom she brought as herself is
    refused; of two who brought her, the first stays."""
    r = referral.c
    mine = sa.select(referral).where(
        sa.or_(
            sa.and_(r.unit == "customer", r.unit_id.in_((keep, drop))),
            sa.and_(r.referred_unit == "customer", r.referred_id.in_((keep, drop))),
            r.customer_id.in_((keep, drop)),
        )
    )
    rows = [_referred(row) for row in conn.execute(mine.order_by(r.at, r.id).with_for_update())]
    brought: Mapping[Node, set[Node]] = above(conn, [("customer", keep), ("customer", drop)])
    ancestors = _ancestors({"customer": {keep, drop}}, brought)
    seen: set[str] = set()
    states, owners = [], []
    for row in rows:
        unit_id = keep if row.unit == "customer" and row.unit_id == drop else row.unit_id
        referred_id = keep if row.referred_unit == "customer" and row.referred_id == drop else row.referred_id
        state, reason = row.state, row.reason
        is_hers = row.referred_unit == "customer" and referred_id == keep
        if state in LIVE and is_hers:
            if (row.unit, unit_id) == (row.referred_unit, referred_id):
                state, reason = "refused", "self"
            elif row.class_name in seen:
                state, reason = "refused", "second_referrer"
            elif ("customer", keep) in ancestors.get((row.unit, unit_id), set()):
                state, reason = "refused", "loop"
            else:
                seen.add(row.class_name)
        contact = keep if row.customer_id == drop else row.customer_id
        states.append({"id": row.id, "state": state, "reason": reason})
        owners.append({"id": row.id, "unit_id": unit_id, "referred_id": referred_id, "customer_id": contact})
    # States first: the index that lets a customer have one referrer must never see two.
    update_many(conn, referral, states, where=("id",))
    update_many(conn, referral, owners, where=("id",))


def _ancestors(start: Mapping[str, set[int]], brought: Mapping[Node, set[Node]]) -> dict[Node, set[Node]]:
    """Node → everybody above it, the two records of `start` taken as one (its least id)."""
    one = min(start["customer"])
    alike: set[Node] = {("customer", i) for i in start["customer"]}

    def as_one(node: Node) -> Node:
        return ("customer", one) if node in alike else node

    edges: dict[Node, set[Node]] = defaultdict(set)
    for node, parents in brought.items():
        edges[as_one(node)] |= {as_one(parent) for parent in parents}
    found: dict[Node, set[Node]] = {}
    for node in list(edges):
        reached: set[Node] = set()
        waiting = list(edges[node])
        while waiting:
            parent = waiting.pop()
            if parent not in reached:
                reached.add(parent)
                waiting += edges.get(parent, ())
        found[node] = reached | (alike if ("customer", one) in reached else set())
    return found
