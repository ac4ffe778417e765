"""The ledger of points: entries in and out, by set; whose they are after a merge; what an event of a round earns from.

The points of a customer who was merged away are read with those of the one who stayed: the ledger is append-only, and
what was earned keeps its day, its expiry and its event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator.condition import Condition
from orchestrator.ledger import Entry
from orchestrator.model import EventType, Kind, Unit
from orchestrator.project import Project
from orchestrator.store import loyalty as loyalty_of
from orchestrator.store.database import among, bound_among, bound_ids, bound_keys, insert_ids
from orchestrator.store.dialect import json_number, json_text
from orchestrator.store.segments import Segments, meant
from orchestrator.store.tables import account, customer, event, loyalty, point_entry, tier_change

Owner = tuple[Unit, int]
WRITTEN = "accrued_until"
"""The setting that says up to when the last look of `accrue` has taken what was written of people and accounts."""


# ---- whose ----------------------------------------------------------------------------------------------------------


def kept(conn: sa.Connection, customer_ids: Iterable[int]) -> dict[int, int]:
    """Customer id → the one it was merged into, or itself; who does not exist or was erased is missing."""
    return {row[0]: row[1] for row in conn.execute(_whose(conn.dialect.name), {"ids": list(set(customer_ids))})}


def whose(conn: sa.Connection, project: Project, customer_ids: Iterable[int]) -> dict[int, Owner]:
    """Customer id → whose points these are: the account's where her class says so, else hers (of the record she was
    merged into). Who was erased is missing."""
    found: dict[int, Owner] = {}
    rows = conn.execute(_whose(conn.dialect.name), {"ids": list(set(customer_ids))})
    for of, own, class_name, account_id in rows:
        known = project.vocabulary.classes.get(class_name)
        shared = known is not None and known.unit == "account" and account_id is not None
        found[of] = ("account", account_id) if shared else ("customer", own)
    return found


@cache
def _whose(dialect: str) -> sa.Select[Any]:
    listed, into = bound_ids(dialect), customer.alias("into")
    return (
        sa.select(customer.c.id, into.c.id, into.c["class"], into.c.account_id)
        .join(listed, listed.c.id == customer.c.id)
        .join(into, into.c.id == sa.func.coalesce(customer.c.merged_into, customer.c.id))
        .where(into.c.erased_at.is_(None))
    )


def owners(conn: sa.Connection, unit: Unit, ids: Iterable[int]) -> dict[int, int]:
    """Unit id in the ledger → the unit it counts for: each of these itself, and who was merged into them."""
    found = {i: i for i in ids}
    if unit == "customer" and found:
        found |= {row[0]: row[1] for row in conn.execute(_merged(conn.dialect.name), {"ids": list(found)})}
    return found


@cache
def _merged(dialect: str) -> sa.Select[Any]:
    return sa.select(customer.c.id, customer.c.merged_into).where(bound_among(dialect, customer.c.merged_into))


def lock(conn: sa.Connection, units: Mapping[Unit, Iterable[int]], now: datetime) -> None:
    """Nobody else's to change until the transaction ends, in order of unit and id: two who want the same wait for one
    another and not in a circle. At most two statements for each kind of unit."""
    for unit in sorted(units):
        ids = sorted(set(units[unit]))
        if not ids:
            continue
        loyalty_of.make(conn, unit, ids, now)
        if conn.dialect.name == "postgresql":  # SQLite has one writer
            conn.execute(_HELD, {"of": unit, "ids": ids}).all()


_HELD: Final = (
    sa.select(loyalty.c.unit_id)
    .where(loyalty.c.unit == sa.bindparam("of"), bound_among("postgresql", loyalty.c.unit_id))
    .order_by(loyalty.c.unit_id)
    .with_for_update()
)


def without_account(conn: sa.Connection, project: Project) -> list[tuple[str, int]]:
    """(class, customers) of those whose points are an account's, and who belong to none: what they do earns nothing."""
    rules = project.program.classes
    shared = [name for name in _shared(project) if name in rules and rules[name].points]
    if not shared:
        return []
    c = customer.c
    query = (
        sa.select(c["class"], sa.func.count())
        .where(c["class"].in_(shared), c.account_id.is_(None), c.merged_into.is_(None), c.erased_at.is_(None))
        .group_by(c["class"])
        .order_by(c["class"])
    )
    return [(name, n) for name, n in conn.execute(query)]


# ---- entries --------------------------------------------------------------------------------------------------------


def entries(conn: sa.Connection, unit: Unit, ids: Iterable[int]) -> dict[int, list[Entry]]:
    """The ledger of each unit, merged records with it, in the order of writing. Two statements."""
    whom = owners(conn, unit, ids)
    found: dict[int, list[Entry]] = {owner: [] for owner in whom.values()}
    if not whom:
        return found
    for unit_id, *rest in conn.execute(_entries(conn.dialect.name), {"of": unit, "ids": list(whom)}):
        found[whom[unit_id]].append(Entry(*rest))
    return found


@cache
def _entries(dialect: str) -> sa.Select[Any]:
    e = point_entry.c
    return (
        sa.select(e.unit_id, e.id, e.kind, e.points, e.at, e.active_at, e.expires_on, e.of_id)
        .where(e.unit == sa.bindparam("of"), bound_among(dialect, e.unit_id))
        .order_by(e.id)
    )


def known(conn: sa.Connection, keys: Iterable[str]) -> set[str]:
    """Those of these keys that stand in the ledger."""
    return set(conn.execute(_known(conn.dialect.name), {"keys": list(set(keys))}).scalars())


@cache
def _known(dialect: str) -> sa.Select[tuple[str]]:
    listed = bound_keys(dialect)
    return sa.select(point_entry.c.key).join(listed, listed.c.key == point_entry.c.key)


_COLUMNS = ("key", "unit", "unit_id", "customer_id", "kind", "points", "rule", "event_id", "of_id", "counts", "at",
            "received_at", "active_at", "expires_on")  # fmt: skip


def add(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Append; what stands there by its key already is left out. Key → id of what is new, in the rows' order."""
    full = [{name: row.get(name) for name in _COLUMNS} for row in rows]
    added = insert_ids(conn, point_entry, full, ("key", "id"), ignore_conflicts=True)
    return dict(tuple(row) for row in added)


def due(conn: sa.Connection, now: datetime, limit: int) -> dict[Unit, list[int]]:
    """Units for whom the clock has changed something: pending points that are active, points that have expired."""
    found: dict[Unit, list[int]] = {"customer": [], "account": []}
    for unit, unit_id in conn.execute(_DUE, {"now": now, "most": limit}):
        found[unit].append(unit_id)
    return found


_DUE: Final = (
    sa.select(loyalty.c.unit, loyalty.c.unit_id)
    .where(loyalty.c.points_due <= sa.bindparam("now"))
    .order_by(loyalty.c.points_due, loyalty.c.unit, loyalty.c.unit_id)
    .limit(sa.bindparam("most"))
)


class Contact(NamedTuple):
    """A contact who lives where her account does, and has points that expire: see `loyalty.expiring`."""

    id: int
    account_id: int
    expire_on: date
    due_at: datetime


def contacts(conn: sa.Connection, account_ids: Iterable[int], since: datetime | None) -> list[Contact]:
    """Those of these accounts, of which only those count that were written since (None: all of them)."""
    bound = {"ids": list(account_ids), "since": since}
    return [Contact(*row) for row in conn.execute(_contacts(conn.dialect.name, since is None), bound)]


@cache
def _contacts(dialect: str, all_: bool) -> sa.Select[Any]:
    mine = sa.and_(loyalty.c.unit == "customer", loyalty.c.unit_id == customer.c.id)
    found = (
        sa.select(customer.c.id, account.c.id, loyalty.c.points_expire_on, loyalty.c.points_due)
        .select_from(account.join(customer, customer.c.account_id == account.c.id).join(loyalty, mine))
        .where(bound_among(dialect, account.c.id), customer.c.timezone.is_(None))
        .where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
        .where(loyalty.c.points_expire_on.is_not(None), loyalty.c.points_due.is_not(None))
    )
    return found if all_ else found.where(account.c.updated_at >= sa.bindparam("since"))


def written(conn: sa.Connection, unit: Unit, ids: Iterable[int], since: datetime) -> set[int]:
    """Those of these who were written since, or whose account was: they may live elsewhere than they did."""
    listed = bound_ids(conn.dialect.name)
    if unit == "account":
        query = sa.select(account.c.id).join(listed, listed.c.id == account.c.id).where(account.c.updated_at >= since)
    else:
        query = (
            sa.select(customer.c.id)
            .join(listed, listed.c.id == customer.c.id)
            .join(account, account.c.id == customer.c.account_id, isouter=True)
            .where(sa.or_(customer.c.updated_at >= since, account.c.updated_at >= since))
        )
    return set(conn.execute(query, {"ids": list(ids)}).scalars())


def forget_due(conn: sa.Connection, unit: Unit, ids: Iterable[int]) -> None:
    """These are nobody any more (merged away, erased): the clock changes nothing for them."""
    gone = list(ids)
    if gone:
        mine = sa.and_(loyalty.c.unit == unit, among(conn, loyalty.c.unit_id, gone))
        conn.execute(sa.update(loyalty).where(mine).values(points_due=None))


def history(conn: sa.Connection, unit: Unit, unit_id: int, limit: int | None = None) -> list[dict[str, Any]]:
    """What a person reads of her points, newest first; merged records with it."""
    e = point_entry.c
    columns = (e.id, e.at, e.kind, e.points, e.rule, e.active_at, e.expires_on, e.customer_id, e.of_id, e.key)
    query = (
        sa.select(*columns)
        .where(e.unit == unit, among(conn, e.unit_id, list(owners(conn, unit, [unit_id]))))
        .order_by(e.at.desc(), e.id.desc())
    )
    return [dict(row) for row in conn.execute(query if limit is None else query.limit(limit)).mappings()]


def with_points(conn: sa.Connection, unit: Unit, after: int, limit: int) -> list[int]:
    """Ids of units who have entries or a derived row, in order, those above `after`; merged and erased ones left
    out."""
    holders = sa.union(
        sa.select(point_entry.c.unit_id.label("id")).where(point_entry.c.unit == unit),
        sa.select(loyalty.c.unit_id.label("id")).where(loyalty.c.unit == unit, loyalty.c.points.is_not(None)),
    ).subquery()
    if unit == "account":
        own: Any = holders.c.id
        query = sa.select(own.distinct())
    else:
        own = sa.func.coalesce(customer.c.merged_into, customer.c.id)
        alive = customer.alias("alive")
        query = (
            sa.select(own.distinct())
            .select_from(holders.join(customer, customer.c.id == holders.c.id).join(alive, alive.c.id == own))
            .where(alive.c.erased_at.is_(None))
        )
    return list(conn.execute(query.where(own > after).order_by(own).limit(limit)).scalars())


def names(conn: sa.Connection, unit: Unit, ids: Iterable[int]) -> dict[int, str]:
    """Ids → keys, for an operator."""
    table = customer if unit == "customer" else account
    return {
        r[0]: r[1] for r in conn.execute(sa.select(table.c.id, table.c.key).where(among(conn, table.c.id, list(ids))))
    }


# ---- what a round's events say --------------------------------------------------------------------------------------


class Deed(NamedTuple):
    """An event that a rule is about. `amount`: of the property that earns (minor units, or a number)."""

    event_id: int
    unit_id: int
    customer_id: int | None
    at: datetime
    amount: float | None
    currency: str | None


def _whom(unit: Unit) -> Any:
    """Whose deed an event is. An account's: as it was known when the event came in (`people.add_events`)."""
    return event.c.customer_id if unit == "customer" else event.c.account_id


def _of_class(unit: Unit, class_name: Any) -> tuple[sa.Table, Any]:
    table = customer if unit == "customer" else account
    return table, sa.and_(table.c.id == _whom(unit), table.c["class"] == class_name)


def _hers(dialect: str) -> Any:
    """Whether what an event earns is not the account's: it is a customer's whose own class does not share points, see
    `whose`. `shared`: the classes that do."""
    by = customer.alias("by")
    shares = by.c["class"].in_(sa.select(bound_keys(dialect, "shared").c.key))
    return sa.exists().where(by.c.id == event.c.customer_id, ~shares)


def _shared(project: Project) -> list[str]:
    return sorted(name for name, one in project.vocabulary.classes.items() if one.unit == "account")


def deeds(
    conn: sa.Connection,
    project: Project,
    segments: Segments,
    unit: Unit,
    class_name: str,
    type_name: str,
    of: str,
    where: Condition | None,
    first_id: int,
    last_id: int,
    now: datetime,
) -> list[Deed]:
    """The events of a range that a rule is about, in the order of what happened. One statement."""
    dialect = conn.dialect.name
    bound: dict[str, Any] = {"class_name": class_name, "kind": type_name, "first": first_id, "last": last_id}
    if unit == "account":
        bound["shared"] = _shared(project)
    if where is None:
        return [Deed(*row) for row in conn.execute(_deeds(dialect, unit, of), bound)]
    table = customer if unit == "customer" else account
    asked = segments.kept(
        ("deeds", unit, of, *meant(where)),
        lambda: _deeds(dialect, unit, of).where(segments.predicate(where, table, event=event.c.id)),
    )
    return [Deed(*row) for row in conn.execute(asked.statement, asked.binds(now, **bound))]


@cache
def _deeds(dialect: str, unit: Unit, of: str) -> sa.Select[Any]:
    table, mine = _of_class(unit, sa.bindparam("class_name"))
    e, null = event.c, sa.null()
    amount = json_number(e.properties, of) if of else sa.cast(null, sa.Double())
    currency = json_text(e.properties, f"{of}_currency") if of else sa.cast(null, sa.Text())
    found = (
        sa.select(e.id, table.c.id, e.customer_id, e.occurred_at, amount, currency)
        .select_from(event.join(table, mine))
        .where(e.id > sa.bindparam("first"), e.id <= sa.bindparam("last"), e.type == sa.bindparam("kind"))
        .order_by(e.occurred_at, e.id)
    )
    return found if unit == "customer" else found.where(~_hers(dialect))


def earned_at(
    conn: sa.Connection, unit: Unit, ids: Iterable[int], rule: str, since: datetime
) -> dict[int, list[tuple[datetime, int]]]:
    """When a rule gave these units points, from `since` on: (instant, event id) by unit, in order."""
    whom = owners(conn, unit, ids)
    bound = {"of": unit, "ids": list(whom), "by": rule, "since": since}
    found: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for unit_id, at, event_id in conn.execute(_earned_at(conn.dialect.name), bound):
        found[whom[unit_id]].append((at, event_id))
    return found


@cache
def _earned_at(dialect: str) -> sa.Select[Any]:
    e = point_entry.c
    return (
        sa.select(e.unit_id, e.at, e.event_id)
        .where(e.unit == sa.bindparam("of"), bound_among(dialect, e.unit_id))
        .where(e.kind == "earn", e.rule == sa.bindparam("by"), e.at >= sa.bindparam("since"))
        .order_by(e.at, e.id)
    )


def tiers(
    conn: sa.Connection, unit: Unit, ids: Iterable[int]
) -> dict[int, list[tuple[datetime, str | None, str | None]]]:
    """How the tiers of these units went: (when, from, to), in order."""
    found: dict[int, list[tuple[datetime, str | None, str | None]]] = defaultdict(list)
    for unit_id, *change in conn.execute(_tiers(conn.dialect.name), {"of": unit, "ids": list(ids)}):
        found[unit_id].append(tuple(change))
    return found


@cache
def _tiers(dialect: str) -> sa.Select[Any]:
    c = tier_change.c
    return (
        sa.select(c.unit_id, c.at, c.from_tier, c.to_tier)
        .where(c.unit == sa.bindparam("of"), bound_among(dialect, c.unit_id))
        .order_by(c.at, c.id)
    )


# ---- refunds --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """What refunds are matched by: the refunding and the refunded event, the property that both have, the money."""

    unit: Unit
    class_name: str
    refund: EventType
    earned: EventType
    match: str
    refunded: str  # the refund's money property; "": all of it
    paid: str  # the earlier event's


class Happened(NamedTuple):
    """An event that is one side of a case. `match`: the value by which the two sides find each other."""

    event_id: int
    type: str
    unit_id: int
    customer_id: int | None
    at: datetime
    match: str
    amount: float | None
    currency: str | None


class Earned(NamedTuple):
    """An entry that an event has made. `back`: what of it was taken back already, by event id."""

    id: int
    event_id: int
    points: int
    at: datetime
    active_at: datetime
    rule: str
    counts: bool
    back: dict[int, int]


def both_sides(conn: sa.Connection, case: Case, first_id: int, last_id: int) -> list[Happened]:
    """Every event up to `last_id` that matches one of the range's, in the order of arrival. Two statements."""
    money = (case.refunded, case.paid) if case.refunded and case.paid else None
    is_number = case.earned.fields[case.match].kind is Kind.NUMBER
    new, all_ = _sides(conn.dialect.name, case.unit, case.match, is_number, money)
    bound = {"refund": case.refund.name, "earned": case.earned.name, "last": last_id}
    touched = conn.execute(new, {**bound, "class_name": case.class_name, "first": first_id}).all()
    if not touched:
        return []
    wanted = {tuple(row) for row in touched}
    lists = {"ids": list({row[0] for row in touched}), "keys": list({row[1] for row in touched})}
    rows = conn.execute(all_, bound | lists)
    return [found for row in rows if ((found := Happened(*row)).unit_id, found.match) in wanted]


@cache
def _sides(
    dialect: str, unit: Unit, name: str, is_number: bool, money: tuple[str, str] | None
) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """(unit id, match) of new events of both types; and all events of these units with one of these matches. `money`:
    the properties that say how much, of the refund and of what it takes back."""
    e, p, whom = event.c, event.c.properties, _whom(unit)
    match = (sa.cast(json_number(p, name), sa.Text()) if is_number else json_text(p, name)).label("m")
    refund, earned = sa.bindparam("refund", type_=sa.Text()), sa.bindparam("earned", type_=sa.Text())
    either = e.type.in_([refund, earned]), e.id <= sa.bindparam("last")
    table, mine = _of_class(unit, sa.bindparam("class_name"))
    new = (
        sa.select(table.c.id, match)
        .select_from(event.join(table, mine))
        .where(e.id > sa.bindparam("first"), *either, match.is_not(None))
        .distinct()
    )
    amount: Any = sa.cast(sa.null(), sa.Double())
    currency: Any = sa.cast(sa.null(), sa.Text())
    if money is not None:
        taken, paid = money
        is_refund = e.type == refund
        amount = sa.case((is_refund, json_number(p, taken)), else_=json_number(p, paid))
        currency = sa.case((is_refund, json_text(p, f"{taken}_currency")), else_=json_text(p, f"{paid}_currency"))
    all_ = (
        sa.select(e.id, e.type, whom, e.customer_id, e.occurred_at, match, amount, currency)
        .where(bound_among(dialect, whom), *either, match.in_(sa.select(bound_keys(dialect).c.key)))
        .order_by(e.id)
    )
    return new, all_


def earned_by(conn: sa.Connection, unit: Unit, event_ids: Iterable[int]) -> dict[int, list[Earned]]:
    """What rules gave for these events, and what of it was taken back. Two statements."""
    earned, taken = _earned_by(conn.dialect.name)
    rows = conn.execute(earned, {"of": unit, "ids": list(event_ids)}).all()
    found = {r.id: Earned(r.id, r.event_id, r.points, r.at, r.active_at, r.rule, r.counts, {}) for r in rows}
    if found:
        for of_id, event_id, points in conn.execute(taken, {"ids": list(found)}):
            if event_id is not None:
                found[of_id].back[event_id] = -points
    by_event: dict[int, list[Earned]] = defaultdict(list)
    for one in found.values():
        by_event[one.event_id].append(one)
    return by_event


@cache
def _earned_by(dialect: str) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Of these events; and what was taken back of these entries."""
    e = point_entry.c
    earned = sa.select(e.id, e.event_id, e.points, e.at, e.active_at, e.rule, e.counts).where(
        bound_among(dialect, e.event_id), e.unit == sa.bindparam("of"), e.kind == "earn"
    )
    taken = sa.select(e.of_id, e.event_id, e.points).where(e.kind == "reverse", bound_among(dialect, e.of_id))
    return earned.order_by(e.id), taken


def foreign(conn: sa.Connection, project: Project) -> list[tuple[str, str, int]]:
    """(rule, currency, events) of money that earned nothing, because the rule is about another currency."""
    found: list[tuple[str, str, int]] = []
    for program in project.program.classes.values():
        for rule in program.points:
            if not rule.of or not rule.currency:
                continue
            _, mine = _of_class(program.unit, program.class_name)
            table = customer if program.unit == "customer" else account
            currency = json_text(event.c.properties, f"{rule.of}_currency").label("currency")
            query = (
                sa.select(currency, sa.func.count())
                .select_from(event.join(table, mine))
                .where(event.c.type == rule.event, currency != rule.currency)
                .group_by(currency)
                .order_by(currency)
            )
            bound = {}
            if program.unit == "account":
                query, bound = query.where(~_hers(conn.dialect.name)), {"shared": _shared(project)}
            found += [(rule.text, row[0], row[1]) for row in conn.execute(query, bound)]
    return found
