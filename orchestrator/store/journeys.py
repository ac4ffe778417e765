"""Enrollments under way: who is due, what a move depends on, and the move's writing. A fixed number of statements per
batch, whatever its size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from channels.base import EventKind, Medium
from orchestrator.condition import Condition
from orchestrator.model import Enrollment, Json, Unit
from orchestrator.steps import Addressee, MessageState
from orchestrator.store import log
from orchestrator.store.database import allocate_ids, bound_ids, bound_keys, insert_many, update_many
from orchestrator.store.preferences import undeclare
from orchestrator.store.segments import Segments, meant
from orchestrator.store.tables import (
    UtcDateTime,
    account,
    batch,
    customer,
    device,
    enrollment,
    feedback,
    message,
    record,
    trace,
)

OPEN_STATES = ("planned", "held")
"""Messages that an exit can still withdraw at once; `sending` ones are re-read just before the hand-over."""

_ADDRESSED = (Medium.EMAIL, Medium.SMS, Medium.MAIL, Medium.PUSH)
_COLUMNS = [
    enrollment.c[name]
    for name in (
        "id",
        "journey",
        "version",
        "unit",
        "unit_id",
        "customer_id",
        "account_id",
        "run_key",
        "step",
        "visit",
        "entered_at",
        "since",
        "wake_at",
        "memory",
        "visits",
        "event_id",
        "record_id",
        "paused",
    )
]


@dataclass(frozen=True, slots=True)
class Contact:
    """A person of an account, and the media there is an address for. `above`: of an account so many levels above."""

    customer_id: int
    role: str | None
    media: frozenset[Medium]
    above: int = 0


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """What is known of an enrollment's unit beside conditions."""

    zone: str | None
    contacts: tuple[Contact, ...]  # of an account: those who have not left
    customer_id: int | None
    account_id: int | None
    manager: bool  # whether the account has an account manager who can be written to


def due(conn: sa.Connection, now: datetime, limit: int, paused: Iterable[str] = ()) -> list[Enrollment]:
    """Enrollments whose time has come, oldest first, locked for this transaction; others' locked ones are passed by."""
    names = list(paused)
    rows = conn.execute(_due(conn.dialect.name, bool(names)), {"now": now, "most": limit, "keys": names}).tuples()
    return [Enrollment(*row) for row in rows]


@cache
def _due(dialect: str, paused: bool) -> sa.Select[Any]:
    query = sa.select(*_COLUMNS).where(enrollment.c.ended_at.is_(None), enrollment.c.wake_at <= sa.bindparam("now"))
    if paused:
        query = query.where(enrollment.c.journey.not_in(sa.select(bound_keys(dialect).c.key)))
    query = query.order_by(enrollment.c.wake_at, enrollment.c.id).limit(sa.bindparam("most", type_=sa.Integer()))
    return query.with_for_update(skip_locked=True)


_SOONEST: Final = sa.select(sa.func.min(enrollment.c.wake_at)).where(enrollment.c.ended_at.is_(None))


def next_wake(conn: sa.Connection) -> datetime | None:
    """When the first sleeper wakes, paused or not; None where nobody ever will by herself."""
    found: datetime | None = conn.execute(_SOONEST).scalar_one()
    return found


def unit_facts(conn: sa.Connection, runs: Sequence[Enrollment]) -> dict[int, UnitFacts]:
    """By enrollment id. Two statements: zones, and the contacts of accounts and of those above them."""
    customers = list({e.customer_id for e in runs if e.unit == "customer"})
    rows = conn.execute(_zones(conn.dialect.name), {"ids": customers}).tuples() if customers else ()
    theirs = {i: (zone, account_id, manager_email is not None) for i, zone, account_id, manager_email in rows}
    account_ids = {e.account_id for e in runs if e.unit == "account" and e.account_id is not None}
    companies = company_facts(conn, account_ids) if account_ids else {}
    found = {}
    for e in runs:
        if e.unit == "account":
            assert e.account_id is not None
            found[e.id] = companies.get(e.account_id) or UnitFacts(None, (), None, e.account_id, False)
        else:
            zone, account_id, manager = theirs.get(e.unit_id, (None, None, False))
            found[e.id] = UnitFacts(zone, (), e.customer_id, account_id, manager)
    return found


@cache
def _zones(dialect: str) -> sa.Select[tuple[int, str | None, int | None, str | None]]:
    customers = bound_ids(dialect)
    return (
        sa.select(
            customer.c.id,
            sa.func.coalesce(customer.c.timezone, account.c.timezone).label("timezone"),
            customer.c.account_id,
            account.c.manager_email,
        )
        .join(customers, customers.c.id == customer.c.id)
        .outerjoin(account, account.c.id == customer.c.account_id)
    )


def company_facts(conn: sa.Connection, account_ids: Iterable[int]) -> dict[int, UnitFacts]:
    """By account id: its zone, its contacts and those of accounts above, whether it has a manager. One statement."""
    companies: dict[int, tuple[str | None, bool]] = {}
    contacts: dict[int, list[Contact]] = defaultdict(list)
    for row in conn.execute(_companies(conn.dialect.name), {"ids": list(account_ids)}):
        if not row.level:
            companies[row.start] = (row.timezone, row.manager_email is not None)
        if row.contact is not None:
            media = frozenset(m for m in _ADDRESSED if getattr(row, m.value))
            contacts[row.start].append(Contact(row.contact, row.role, media, row.level))
    return {i: UnitFacts(zone, tuple(contacts[i]), None, i, manager) for i, (zone, manager) in companies.items()}


@cache
def _companies(dialect: str) -> sa.Select[Any]:
    tree = above(bound_ids(dialect))
    return (
        sa.select(
            tree.c.start,
            tree.c.level,
            account.c.timezone,
            account.c.manager_email,
            customer.c.id.label("contact"),
            customer.c.role,
            customer.c.email.isnot(None).label("email"),
            customer.c.phone.isnot(None).label("sms"),
            customer.c.street.isnot(None).label("mail"),
            sa.exists()
            .where(device.c.customer_id == customer.c.id, device.c.retired_at.is_(None))
            .correlate(customer)
            .label("push"),
        )
        .join(tree, tree.c.id == account.c.id)
        .outerjoin(
            customer,
            sa.and_(
                customer.c.account_id == account.c.id,
                customer.c.left_at.is_(None),
                customer.c.merged_into.is_(None),
            ),
        )
        .order_by(tree.c.start, tree.c.level, customer.c.id)
    )


HIGHEST = 50
"""Levels of accounts that are looked up: were there ever a circle, this would still end."""


def above(accounts: sa.FromClause) -> sa.CTE:
    """A list of accounts' ids with all above them: `start`, `id`, `level` (0: the account itself)."""
    zero = sa.literal(0, sa.Integer()).label("level")
    own = sa.select(accounts.c.id.label("start"), accounts.c.id, zero)
    tree = own.cte("tree", recursive=True)
    child = account.alias("child")
    step = sa.select(tree.c.start, child.c.parent_id, tree.c.level + 1)
    step = step.join(child, child.c.id == tree.c.id).where(child.c.parent_id.is_not(None), tree.c.level < HIGHEST)
    return tree.union_all(step)


def message_states(conn: sa.Connection, enrollment_ids: Sequence[int]) -> dict[int, tuple[MessageState, ...]]:
    """What became of each enrollment's messages so far, with what was heard of them."""
    which = {"ids": list(enrollment_ids)}
    rows = conn.execute(_messages(conn.dialect.name), which).tuples().all()
    heard: dict[int, set[EventKind]] = defaultdict(set)
    if rows:
        for message_id, kind in conn.execute(_heard(conn.dialect.name), which).tuples():
            heard[message_id].add(EventKind(kind))
    found: dict[int, list[MessageState]] = defaultdict(list)
    for run, i, step, visit, kind, to, customer_id, account_id, medium, state, reason, settled_at in rows:
        who = Addressee(kind, to, customer_id, account_id)
        told = frozenset(heard.get(i, ()))
        found[run].append(MessageState(step, visit, who, Medium(medium), state, reason or "", settled_at, told))
    return {key: tuple(value) for key, value in found.items()}


@cache
def _messages(dialect: str) -> sa.Select[Any]:
    m, listed = message.c, bound_ids(dialect)
    who = (m.addressee, m.addressee_id, m.customer_id, m.account_id)
    columns = (m.enrollment_id, m.id, m.step, m.visit, *who, m.medium, m.state, m.reason, m.settled_at)
    return sa.select(*columns).join(listed, listed.c.id == m.enrollment_id).order_by(m.id)


@cache
def _heard(dialect: str) -> sa.Select[tuple[int, str]]:
    listed = bound_ids(dialect)
    return (
        sa.select(feedback.c.message_id, feedback.c.kind)
        .join(message, message.c.id == feedback.c.message_id)
        .join(listed, listed.c.id == message.c.enrollment_id)
    )


# ---- writing a round of moves ---------------------------------------------------------------------------------------


def move(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Compare-and-swap the cursors; returns the ids of those that had not moved on meanwhile.

    Each row: id, old_step, old_visit, old_since and the new step, visit, since, wake_at, memory, visits; those whose
    run ends with it also ended_at, ended_because and live_key. Two statements at most.
    """
    where = ("id", "old_step", "old_visit", "old_since")
    moved: set[int] = set()
    for ends in (False, True):
        chosen = [row for row in rows if ("ended_at" in row) is ends]
        moved.update(update_many(conn, enrollment, chosen, where=where, returning="id"))
    return moved


def add_trace(conn: sa.Connection, rows: Sequence[tuple[int, datetime, str, int, str, Json]]) -> None:
    """Diary lines: (enrollment id, at, step, visit, what, detail)."""
    insert_many(conn, trace, rows, columns=("enrollment_id", "at", "step", "visit", "what", "detail"))


def add_messages(conn: sa.Connection, rows: Sequence[dict[str, Any]], now: datetime) -> int:
    """Plan messages, in batches of one medium, purpose, priority and instant. What is planned already stays as it is.

    Rows carry every column of `message` but id, batch_id, state and planned_at.
    """
    if not rows:
        return 0
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    kind_of = itemgetter("medium", "purpose", "priority", "due_at")
    for row in rows:
        groups[kind_of(row)].append(row)
    heads = [
        {"medium": m, "purpose": p, "priority": pr, "due_at": due, "size": len(group), "rows": group}
        for (m, p, pr, due), group in groups.items()
    ]
    names = ("medium", "purpose", "priority", "due_at", "size")
    ids = allocate_ids(conn, batch, len(heads))
    insert_many(conn, batch, [{"id": i, **{n: h[n] for n in names}} for i, h in zip(ids, heads, strict=True)])
    columns = (*rows[0], "batch_id", "state", "planned_at")
    values_of = itemgetter(*rows[0])
    planned = [(*values_of(row), i, "planned", now) for i, h in zip(ids, heads, strict=True) for row in h["rows"]]
    return insert_many(conn, message, planned, columns=columns, ignore_conflicts=True)


def last_slot(conn: sa.Connection, journey: str, step: str | None, since: datetime) -> tuple[datetime, int] | None:
    """The latest instant a throttled journey's (or step's) messages are due at, from `since` on, and how many then."""
    asked = {"of_journey": journey, "of_step": step, "begin": since}
    row = conn.execute(_slot(step is not None), asked).one_or_none()
    return None if row is None else (row[0], row[1])


@cache
def _slot(of_step: bool) -> sa.Select[tuple[datetime, int]]:
    m = message.c
    return (
        sa.select(m.due_at, sa.func.count())
        .where(m.journey == sa.bindparam("of_journey"), m.due_at >= sa.bindparam("begin"))
        .where(m.step == sa.bindparam("of_step") if of_step else sa.true())
        .group_by(m.due_at)
        .order_by(m.due_at.desc())
        .limit(1)
    )


def set_attributes(conn: sa.Connection, table: sa.Table, patches: Mapping[int, Json], now: datetime) -> None:
    """Merge declared attributes into units of `customer` or `account`; None clears one."""
    if not patches:
        return
    rows = [
        {
            "id": row.id,
            "attributes": {k: v for k, v in {**row.attributes, **patches[row.id]}.items() if v is not None},
            "updated_at": now,
        }
        for row in conn.execute(_attributes(conn.dialect.name, table), {"ids": list(patches)})
    ]
    update_many(conn, table, rows, where=("id",))
    if table.name == "customer":
        undeclare(conn, patches)  # a rule of the house: what it writes is nobody's word about herself


@cache
def _attributes(dialect: str, table: sa.Table) -> sa.Select[Any]:
    ids = bound_ids(dialect)
    query = sa.select(table.c.id, table.c.attributes).join(ids, ids.c.id == table.c.id)
    return query.order_by(table.c.id).with_for_update(of=table, key_share=True)


# ---- waking ---------------------------------------------------------------------------------------------------------


def wake(conn: sa.Connection, where: sa.ColumnElement[bool], now: datetime, **bound: Any) -> int:
    """Make sleepers that match due at once. `where` may be made once and kept, as its statements then are; `bound`:
    what it leaves to be bound, by names that are no column's.

    Who is being moved at this moment, on facts from before what wakes them, is waited for and then woken as well.
    """
    locking, waking = _waking(where)
    if conn.dialect.name == "postgresql":
        # A statement of its own: the UPDATE must see them as their mover left them. In order of id, as everybody locks.
        conn.execute(locking, bound)
    return conn.execute(waking, {**bound, "now": now}).rowcount


@lru_cache(maxsize=256)
def _waking(where: sa.ColumnElement[bool]) -> tuple[sa.Select[Any], sa.Update]:
    e, now = enrollment.c, sa.bindparam("now", type_=UtcDateTime())
    live = sa.and_(e.ended_at.is_(None), where)
    locked = sa.select(e.id).where(live).order_by(e.id).with_for_update(key_share=True)
    asleep = sa.or_(e.wake_at.is_(None), e.wake_at > now)
    locking = sa.select(sa.func.count()).select_from(locked.subquery())
    return locking, enrollment.update().where(live, asleep).values(wake_at=now)


def wake_in(
    conn: sa.Connection, journey: str, version: str, where: sa.ColumnElement[bool], now: datetime, **bound: Any
) -> int:
    """Wake those of one journey version that match; `where` and `bound` as `wake` has them: whom few events are about,
    found by them and not among all who are inside."""
    return wake(conn, _within(conn.dialect.name, where), now, of_journey=journey, of_version=version, **bound)


_INSIDE: Final = (
    enrollment.c.journey == sa.bindparam("of_journey"),
    enrollment.c.version == sa.bindparam("of_version"),
)


@lru_cache(maxsize=256)
def _within(dialect: str, where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    if dialect != "sqlite":
        return sa.and_(*_INSIDE, where)
    # SQLite goes by rules of thumb and takes any equality to leave ten rows: an index must not serve this one.
    return sa.and_(enrollment.c.journey + "" == _INSIDE[0].right, _INSIDE[1], where)


def wake_settled(conn: sa.Connection, enrollment_ids: Iterable[int], now: datetime) -> int:
    """Wake enrollments of which a message settled or was heard of."""
    ids = list(enrollment_ids)
    return wake(conn, _listed(conn.dialect.name), now, ids=ids) if ids else 0


@cache
def _listed(dialect: str) -> sa.ColumnElement[bool]:
    return enrollment.c.id.in_(sa.select(bound_ids(dialect).c.id))


def wake_parked(conn: sa.Connection, now: datetime) -> int:
    """Wake those who sleep until something happens: what was applied may be what they waited for."""
    return wake(conn, enrollment.c.wake_at.is_(None), now)


def wake_where(
    conn: sa.Connection,
    segments: Segments,
    journey: str,
    version: str,
    unit: Unit,
    step: str,
    condition: Condition,
    now: datetime,
) -> int:
    """Wake those inside a version, standing at a step ("": at any), of whom a condition on their state is true."""

    def make() -> sa.Select[tuple[int]]:
        asleep = sa.or_(enrollment.c.wake_at.is_(None), enrollment.c.wake_at > sa.bindparam("now"))
        listed = sa.select(enrollment.c.id).where(*_INSIDE, enrollment.c.ended_at.is_(None), asleep)
        return segments.among(
            condition, listed.where(enrollment.c.step == sa.bindparam("of_step")) if step else listed, unit
        )

    kept = segments.kept(("wake_where", unit, bool(step), meant(condition)), make)
    asked = kept.binds(now, now=now, of_journey=journey, of_version=version, of_step=step)
    return wake_settled(conn, conn.execute(kept.statement, asked).scalars(), now)


def wake_changed(conn: sa.Connection, journeys: Iterable[str], since: datetime, now: datetime) -> int:
    """Wake those inside these journeys whose customer, account or record was written from `since` until now: a wait
    may hang on a field of it. What another machine's clock says was written later has its turn then."""
    return wake(conn, _changed(conn.dialect.name), now, keys=list(journeys), begin=since, until=now)


@cache
def _changed(dialect: str) -> sa.ColumnElement[bool]:
    begin, until = sa.bindparam("begin", type_=UtcDateTime()), sa.bindparam("until", type_=UtcDateTime())
    owners = (
        (enrollment.c.customer_id, customer),
        (enrollment.c.account_id, account),
        (enrollment.c.record_id, record),
    )
    changed = (
        column.in_(sa.select(table.c.id).where(table.c.updated_at >= begin, table.c.updated_at <= until))
        for column, table in owners
    )
    return sa.and_(enrollment.c.journey.in_(sa.select(bound_keys(dialect).c.key)), sa.or_(*changed))


# ---- ending ---------------------------------------------------------------------------------------------------------


def cancel_messages(
    conn: sa.Connection, cancels: Mapping[int, tuple[frozenset[str] | None, str]], now: datetime
) -> int:
    """Withdraw what is queued: enrollment id → (step ids, None for all; reason). Logged line by line."""
    if not cancels:
        return 0
    rows = conn.execute(_queued(conn.dialect.name), {"ids": list(cancels)}).all()
    chosen = []
    for row in rows:
        steps, reason = cancels[row.enrollment_id]
        if steps is None or row.step in steps:
            chosen.append((row, reason))
    return withdraw(conn, chosen, now)


@cache
def _queued(dialect: str) -> sa.Select[Any]:
    m, listed = message.c, bound_ids(dialect)
    return (
        sa.select(m.id, m.enrollment_id, m.step, m.attempts, m.journey)
        .join(listed, listed.c.id == m.enrollment_id)
        .where(m.state.in_(OPEN_STATES))
        .order_by(m.id)
        .with_for_update(of=message)
    )


def withdraw(conn: sa.Connection, chosen: Sequence[tuple[Any, str]], now: datetime) -> int:
    """Cancel queued messages: (row of id, attempts, journey and step; reason). Logged line by line."""
    if not chosen:
        return 0
    by_reason: dict[str, list[int]] = defaultdict(list)
    for row, reason in chosen:
        by_reason[reason].append(row.id)
    for reason, ids in by_reason.items():
        conn.execute(_cancel(conn.dialect.name), {"ids": ids, "because": reason, "now": now})
    log.append(
        conn,
        [
            log.Entry(
                "outcome",
                now,
                row.id,
                row.attempts,
                "cancelled",
                reason,
                body={"journey": row.journey, "step": row.step},
            )
            for row, reason in chosen
        ],
    )
    return len(chosen)


@cache
def _cancel(dialect: str) -> sa.Update:
    mine = message.c.id.in_(sa.select(bound_ids(dialect).c.id))
    because, now = sa.bindparam("because", type_=sa.Text()), sa.bindparam("now", type_=UtcDateTime())
    return message.update().where(mine).values(state="cancelled", reason=because, settled_at=now)


def end_all(conn: sa.Connection, journey: str, *, keep_version: str, because: str, now: datetime) -> int:
    """End every run of a journey that is not of this version, and withdraw what it had queued."""
    ids = list(
        conn.execute(
            enrollment.update()
            .where(
                enrollment.c.journey == journey, enrollment.c.version != keep_version, enrollment.c.ended_at.is_(None)
            )
            .values(ended_at=now, ended_because=because, live_key=None, wake_at=None)
            .returning(enrollment.c.id)
        ).scalars()
    )
    cancel_messages(conn, dict.fromkeys(ids, (None, because)), now)
    return len(ids)


def end_at(conn: sa.Connection, journey: str, version: str, step: str, *, because: str, now: datetime) -> int:
    """End the runs that stand at a step of a version, and withdraw what they had queued."""
    ids = list(
        conn.execute(
            enrollment.update()
            .where(
                enrollment.c.journey == journey,
                enrollment.c.version == version,
                enrollment.c.step == step,
                enrollment.c.ended_at.is_(None),
            )
            .values(ended_at=now, ended_because=because, live_key=None, wake_at=None)
            .returning(enrollment.c.id)
        ).scalars()
    )
    cancel_messages(conn, dict.fromkeys(ids, (None, because)), now)
    return len(ids)


_LIVE_VERSIONS: Final = (
    sa.select(enrollment.c.journey, enrollment.c.version, enrollment.c.unit)
    .where(enrollment.c.ended_at.is_(None))
    .distinct()
)


def live_versions(conn: sa.Connection) -> list[tuple[str, str, Unit]]:
    """(journey, version, unit) with anyone inside."""
    return [(r.journey, r.version, r.unit) for r in conn.execute(_LIVE_VERSIONS)]
