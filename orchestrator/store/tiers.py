"""Tiers and membership in the store: who is due, whose tier is what, what changed, what came in when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator.condition import Expression
from orchestrator.ladder import reviews
from orchestrator.model import Kind, Unit, Vocabulary
from orchestrator.program import ClassProgram
from orchestrator.store import versions
from orchestrator.store.database import bound_among, bound_ids, id_list, insert_new, update_many
from orchestrator.store.dialect import json_bool, json_date
from orchestrator.store.segments import Segments, meant
from orchestrator.store.tables import (
    UtcDateTime,
    account,
    customer,
    event,
    loyalty,
    point_entry,
    record,
    setting,
    tier_change,
)

_TICK: Final = timedelta(microseconds=1)
_LATELY: Final = timedelta(days=2)
"""For so long after an account was written its contacts are looked at every night: its zone may have become theirs."""


def _table(unit: Unit) -> sa.Table:
    return customer if unit == "customer" else account


# ---- who is due -----------------------------------------------------------------------------------------------------


def due(conn: sa.Connection, now: datetime, limit: int) -> dict[Unit, list[int]]:
    """Units whose day has come, those that have waited longest first."""
    found: dict[Unit, list[int]] = {"customer": [], "account": []}
    for unit, unit_id in conn.execute(_DUE, {"now": now, "most": limit}):
        found[unit].append(unit_id)
    return found


_DUE: Final = (
    sa.select(loyalty.c.unit, loyalty.c.unit_id)
    .where(loyalty.c.tier_due <= sa.bindparam("now"))
    .order_by(loyalty.c.tier_due, loyalty.c.unit_id)
    .limit(sa.bindparam("most"))
)


def wake_class(conn: sa.Connection, class_name: str, unit: Unit, now: datetime) -> None:
    """Everybody of a class is due: its programme is new, or another one. Not by a midnight, so that nobody of them is
    passed over (`unchanged`)."""
    table = _table(unit)
    mine = [table.c["class"] == class_name]
    if unit == "customer":
        mine += [customer.c.merged_into.is_(None), customer.c.erased_at.is_(None)]
    at = sa.literal(now, loyalty.c.updated_at.type)
    fresh = sa.select(sa.literal(unit, sa.Text()), table.c.id, at).where(*mine)
    conn.execute(insert_new(conn.dialect.name, loyalty, ("unit", "unit_id", "updated_at"), fresh))
    theirs = sa.select(table.c.id).where(*mine)
    conn.execute(
        loyalty.update().where(loyalty.c.unit == unit, loyalty.c.unit_id.in_(theirs)).values(tier_due=now - _TICK)
    )


def unchanged(
    conn: sa.Connection,
    segments: Segments,
    program: ClassProgram,
    but: Iterable[int],
    day: date,
    now: datetime,
    limit: int,
) -> dict[tuple[str | None, datetime], list[int]]:
    """Of the units that are due, `limit` of them as in `due` and none of `but`, those of a class with a tier of whom
    all is as it was when they were looked at last, though a day has begun: by (zone, since when they are due). `day`:
    the local date, where it is furthest on.

    Never somebody of whom it is not so; but where a review is due, a membership may end or a zone may be another one,
    they are looked at whatever comes of it. One statement.
    """
    score, protected = program.tier_by, program.downgrade.protected_if
    if score is None or score.kind not in (Kind.NUMBER, Kind.MONEY):
        return {}
    review = program.downgrade.review
    kept = segments.kept(
        ("unchanged", program.unit, *meant(score, protected), review == "never", program.membership),
        lambda: _unchanged(segments, program, score),
    )
    last = max(reviews(review, day - timedelta(days=370), day), default=day)
    bound = {"name": program.class_name, "now": now, "most": limit, "ids": list(but)}
    bound |= {"day": day, "last": last, "lately": now - _LATELY}
    found: dict[tuple[str | None, datetime], list[int]] = {}
    for unit_id, zone, due_at in conn.execute(kept.statement, kept.binds(now, **bound)):
        found.setdefault((zone, due_at), []).append(unit_id)
    return found


def _unchanged(segments: Segments, program: ClassProgram, score: Expression) -> sa.Select[Any]:
    table, listed = _table(program.unit), bound_ids(segments.dialect)
    names = ("unit", "unit_id", "tier_due", "reviewed_on", "graded_tier", "score", "protected", "member",
             "member_since", "member_until")  # fmt: skip
    due = (
        sa.select(*(loyalty.c[name] for name in names))
        .where(loyalty.c.tier_due <= sa.bindparam("now"))  # of both kinds: SQLite would take the index of the kind
        .order_by(loyalty.c.tier_due, loyalty.c.unit_id)
        .limit(sa.bindparam("most"))
        .subquery()
    )
    row: Any = due.c
    value: Any = sa.cast(segments.value(score, table), sa.Double())
    protected: sa.ColumnElement[bool] = sa.false()
    if program.downgrade.protected_if is not None:
        protected = sa.case((segments.predicate(program.downgrade.protected_if, table), sa.true()), else_=sa.false())
    same = [
        row.unit == program.unit,
        row.unit_id.not_in(sa.select(listed.c.id)),
        table.c["class"] == sa.bindparam("name"),
        row.reviewed_on.is_not(None),
        row.graded_tier == table.c.tier,
        row.score.is_not_distinct_from(value),
        row.protected == protected,
    ]
    if program.downgrade.review != "never":
        same.append(row.reviewed_on >= sa.bindparam("last"))
    if program.membership is not None:
        same += [row.member == "active", sa.or_(row.member_until.is_(None), row.member_until >= sa.bindparam("day"))]
        if program.membership.joins == "free":  # who is to join on a day to come has joined today until then
            same.append(sa.or_(table.c.joined.is_(None), table.c.joined <= row.member_since))
    whose = due.join(table, table.c.id == row.unit_id)
    if program.unit == "account":
        return sa.select(row.unit_id, account.c.timezone, row.tier_due).select_from(whose).where(*same)
    old = account.c.updated_at < sa.bindparam("lately")
    own = sa.or_(customer.c.timezone.is_not(None), account.c.id.is_(None), old)
    return (
        sa.select(row.unit_id, sa.func.coalesce(customer.c.timezone, account.c.timezone), row.tier_due)
        .select_from(whose.outerjoin(account, account.c.id == customer.c.account_id))
        .where(*same, own, customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    )


def rest(conn: sa.Connection, unit: Unit, ids: Iterable[int]) -> None:
    """Nobody looks at these units any more: they are gone, or their class has no programme."""
    conn.execute(_rest(conn.dialect.name), {"of": unit, "ids": list(ids)})


@cache
def _rest(dialect: str) -> sa.Update:
    none = dict.fromkeys(("tier_due", "score", "score_currency", "next_tier", "missing", "shortfall", "review_on",
                          "below_since"))  # fmt: skip
    return loyalty.update().where(_these(dialect)).values(**none, held_until=None, held_below=None, protected=None)


def _these(dialect: str) -> sa.ColumnElement[bool]:
    listed = bound_ids(dialect)
    return sa.and_(loyalty.c.unit == sa.bindparam("of"), loyalty.c.unit_id.in_(sa.select(listed.c.id)))


def since_name(class_name: str) -> str:
    """Under which name `program_since` is kept."""
    return f"program_since:{class_name}"


def program_since(conn: sa.Connection, class_name: str) -> datetime | None:
    """Since when a class has had a programme: whoever was there before comes in quietly."""
    return versions.setting_instant(conn, since_name(class_name))


def began(conn: sa.Connection) -> bool:
    """Whether any class has had a programme that has looked."""
    known = sa.exists().where(setting.c.name.startswith(since_name("")))
    return bool(conn.execute(sa.select(known)).scalar_one())


def begin_program(conn: sa.Connection, class_name: str, at: datetime) -> None:
    """Note it, once."""
    versions.set_instant(conn, since_name(class_name), at)


# ---- what is known --------------------------------------------------------------------------------------------------


class Graded(NamedTuple):
    """What stands of a unit's membership and tier in its derived row. `there`: whether it has one."""

    there: bool = False
    member: str | None = None
    member_since: date | None = None
    member_until: date | None = None
    score: float | None = None
    next_tier: str | None = None
    missing: float | None = None
    shortfall: float | None = None
    review_on: date | None = None
    protected: bool | None = None
    tier_since: datetime | None = None
    below_since: date | None = None
    held_until: date | None = None
    held_below: str | None = None
    reviewed_on: date | None = None
    graded_tier: str | None = None
    tier_due: datetime | None = None
    score_currency: str | None = None


def graded(conn: sa.Connection, unit: Unit, ids: Sequence[int]) -> dict[int, Graded]:
    """By unit id, of those who have a row."""
    if not ids:
        return {}
    rows = conn.execute(_graded(conn.dialect.name), {"of": unit, "ids": list(ids)})
    return {row[0]: Graded(True, *row[1:]) for row in rows}


@cache
def _graded(dialect: str) -> sa.Select[Any]:
    c = loyalty.c
    columns = [c[name] for name in Graded._fields[1:]]
    return sa.select(c.unit_id, *columns).where(c.unit == sa.bindparam("of"), bound_among(dialect, c.unit_id))


def arrivals(
    conn: sa.Connection, unit: Unit, ids: Sequence[int], after_id: int, until_id: int, since: datetime, now: datetime
) -> dict[int, set[datetime]]:
    """When events with ids in (after_id, until_id] came to count for these units, in (since, now]: once they had
    happened and were received."""
    if not ids or until_id <= after_id:
        return {}
    listed = id_list(conn, ids)
    owner = event.c.customer_id if unit == "customer" else event.c.account_id
    query = (
        sa.select(owner, event.c.occurred_at, event.c.received_at)
        .join(listed, listed.c.id == owner)
        .where(event.c.id > after_id, event.c.id <= until_id)
        .distinct()
    )
    found: dict[int, set[datetime]] = {}
    for unit_id, occurred, received in conn.execute(query):
        at = max(occurred, received)
        if since < at <= now:
            found.setdefault(unit_id, set()).add(at)
    return found


def point_arrivals(
    conn: sa.Connection, unit: Unit, ids: Sequence[int], since: datetime, now: datetime
) -> dict[int, set[datetime]]:
    """When points came to count for these units, in (since, now]."""
    listed, e = id_list(conn, ids), point_entry.c
    query = (
        sa.select(e.unit_id, e.at, e.received_at, e.active_at)
        .join(listed, listed.c.id == e.unit_id)
        .where(e.unit == unit)
        .distinct()
    )
    found: dict[int, set[datetime]] = {}
    for unit_id, *instants in conn.execute(query):
        if since < (at := max(instants)) <= now:
            found.setdefault(unit_id, set()).add(at)
    return found


def happenings(
    conn: sa.Connection, unit: Unit, ids: Sequence[int], kind: str, now: datetime
) -> dict[int, list[datetime]]:
    """When events of a kind happened, of those known now."""
    bound = {"ids": list(ids), "kind": kind, "now": now}
    found: dict[int, list[datetime]] = {}
    for unit_id, at in conn.execute(_happenings(conn.dialect.name, unit), bound):
        found.setdefault(unit_id, []).append(at)
    return found


@cache
def _happenings(dialect: str, unit: Unit) -> sa.Select[Any]:
    e, listed, now = event.c, bound_ids(dialect), sa.bindparam("now", type_=UtcDateTime())
    owner = e.customer_id if unit == "customer" else e.account_id
    return (
        sa.select(owner, e.occurred_at)
        .join(listed, listed.c.id == owner)
        .where(e.type == sa.bindparam("kind"), e.occurred_at <= now, e.received_at <= now)
        .order_by(e.occurred_at, e.id)
    )


class Contract(NamedTuple):
    """A record that makes a member: from when (None: when it was made) to when (None: open), or on and on."""

    starts: date | None
    ends: date | None
    goes_on: bool
    created_at: datetime


def contracts(
    conn: sa.Connection, unit: Unit, ids: Sequence[int], kind: str, starts: str, ends: str, goes_on: str
) -> dict[int, list[Contract]]:
    """Records of a kind by unit; `starts`, `ends` and `goes_on` name their fields, "" none."""
    query = _contracts(conn.dialect.name, unit, starts, ends, goes_on)
    found: dict[int, list[Contract]] = {}
    for unit_id, begins, over, on, created in conn.execute(query, {"ids": list(ids), "kind": kind}):
        found.setdefault(unit_id, []).append(Contract(begins, over, bool(on), created))
    return found


@cache
def _contracts(dialect: str, unit: Unit, starts: str, ends: str, goes_on: str) -> sa.Select[Any]:
    r, listed, nothing = record.c, bound_ids(dialect), sa.cast(sa.null(), sa.Date())
    owner = r.customer_id if unit == "customer" else r.account_id
    return (
        sa.select(
            owner,
            json_date(r.fields, starts) if starts else nothing,
            json_date(r.fields, ends) if ends else nothing,
            json_bool(r.fields, goes_on) if goes_on else sa.false(),
            r.created_at,
        )
        .join(listed, listed.c.id == owner)
        .where(r.type == sa.bindparam("kind"))
        .order_by(r.id)
    )


def unstated(conn: sa.Connection, unit: Unit, ids: Sequence[int] | None) -> list[int]:
    """Of these units (None: of all) those whose class nobody stated: a rule finds it."""
    query = _unstated(conn.dialect.name, unit, ids is None)
    return list(conn.execute(query, {} if ids is None else {"ids": list(ids)}).scalars())


@cache
def _unstated(dialect: str, unit: Unit, everybody: bool) -> sa.Select[Any]:
    table, listed = _table(unit), bound_ids(dialect)
    query = sa.select(table.c.id).where(table.c.class_by_rule.is_(True))
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    if not everybody:
        query = query.where(table.c.id.in_(sa.select(listed.c.id)))
    return query.order_by(table.c.id)


# ---- what is written ------------------------------------------------------------------------------------------------


def set_tiers(conn: sa.Connection, unit: Unit, tiers: Mapping[int, str | None]) -> None:
    """Whose tier is what. `updated_at` stays: nothing was told of them, and a look follows what was told."""
    update_many(conn, _table(unit), [{"id": i, "tier": tier} for i, tier in tiers.items()], where=("id",))


def look_again(conn: sa.Connection, unit: Unit, due: Mapping[datetime, Sequence[int]]) -> None:
    """When these units are due next, by instant: nothing else of them has changed."""
    for at, ids in sorted(due.items()):
        conn.execute(_look_again(conn.dialect.name), {"of": unit, "ids": list(ids), "at": at})


@cache
def _look_again(dialect: str) -> sa.Update:
    return loyalty.update().where(_these(dialect)).values(tier_due=sa.bindparam("at"))


NO_MEMBER: Final[Mapping[str, Any]] = dict.fromkeys(("member", "member_since", "member_until"))
"""Columns of the derived row, of whoever is in a class that nobody joins."""


def leave_classes(conn: sa.Connection, unit: Unit, names: Sequence[str], now: datetime) -> None:
    """Nobody of these classes is a member any more: the programme says so."""
    table = _table(unit)
    theirs = sa.select(table.c.id).where(table.c["class"].in_(names))
    was = loyalty.update().where(loyalty.c.unit == unit, loyalty.c.member.is_not(None), loyalty.c.unit_id.in_(theirs))
    conn.execute(was.values(**NO_MEMBER, updated_at=now))


def set_classes(conn: sa.Connection, unit: Unit, classes: Mapping[int, str]) -> None:
    """Another class, and no tier: the old one's says nothing in it, nor does what was stated of it."""
    rows = [{"id": i, "class": name, "tier": None, "tier_stated": None} for i, name in classes.items()]
    update_many(conn, _table(unit), rows, where=("id",))


# ---- to look at -----------------------------------------------------------------------------------------------------


def history(conn: sa.Connection, unit: Unit, unit_id: int, limit: int = 50) -> list[Mapping[str, Any]]:
    """Changes of a unit's tier, newest first."""
    query = sa.select(tier_change).where(tier_change.c.unit == unit, tier_change.c.unit_id == unit_id)
    return [dict(row) for row in conn.execute(query.order_by(tier_change.c.id.desc()).limit(limit)).mappings()]


def set_by_others(conn: sa.Connection, unit: Unit, ids: Sequence[int]) -> dict[int, list[tuple[datetime, str | None]]]:
    """The tiers that imports set, and when, oldest first: what a replay starts from."""
    listed = id_list(conn, ids)
    query = (
        sa.select(tier_change.c.unit_id, tier_change.c.at, tier_change.c.to_tier)
        .join(listed, listed.c.id == tier_change.c.unit_id)
        .where(tier_change.c.unit == unit, tier_change.c.reason == "")
        .order_by(tier_change.c.id)
    )
    found: dict[int, list[tuple[datetime, str | None]]] = {}
    for unit_id, at, tier in conn.execute(query):
        found.setdefault(unit_id, []).append((at, tier))
    return found


def standing_of(conn: sa.Connection, unit: Unit, unit_id: int, vocabulary: Vocabulary) -> Mapping[str, Any] | None:
    """The derived row that counts for a unit: a contact's is the account's, where the tier of her class is."""
    whose: tuple[Unit, int | None] = (unit, unit_id)
    if unit == "customer":
        row = conn.execute(
            sa.select(customer.c["class"], customer.c.account_id).where(customer.c.id == unit_id)
        ).one_or_none()
        declared = vocabulary.classes.get(row[0]) if row is not None else None
        if row is not None and declared is not None and declared.unit == "account":
            whose = ("account", row.account_id)
    mine = sa.and_(loyalty.c.unit == whose[0], loyalty.c.unit_id == whose[1])
    found = conn.execute(sa.select(loyalty).where(mine)).mappings().one_or_none()
    return None if found is None else dict(found)


def number_of(conn: sa.Connection, unit: Unit, unit_id: int, kind: str, now: datetime) -> int:
    """How many events of a kind a unit has had."""
    owner = event.c.customer_id if unit == "customer" else event.c.account_id
    query = sa.select(sa.func.count()).where(owner == unit_id, event.c.type == kind, event.c.occurred_at <= now)
    return int(conn.execute(query).scalar_one())


class Share(NamedTuple):
    """How many of a class stand on a tier, and of them: at risk of losing it, protected."""

    class_name: str
    tier: str | None
    units: int
    at_risk: int
    protected: int


def distribution(conn: sa.Connection, class_name: str, unit: Unit) -> list[Share]:
    """By tier, of one class."""
    table = _table(unit)
    row = sa.and_(loyalty.c.unit == unit, loyalty.c.unit_id == table.c.id)
    at_risk = sa.func.coalesce(sa.func.sum(sa.case((loyalty.c.review_on.is_not(None), 1), else_=0)), 0)
    protected = sa.func.coalesce(sa.func.sum(sa.case((loyalty.c.protected.is_(True), 1), else_=0)), 0)
    query = (
        sa.select(table.c.tier, sa.func.count(), at_risk, protected)
        .select_from(table.outerjoin(loyalty, row))
        .where(table.c["class"] == class_name)
        .group_by(table.c.tier)
    )
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    return [Share(class_name, tier, int(n), int(r), int(p)) for tier, n, r, p in conn.execute(query)]
