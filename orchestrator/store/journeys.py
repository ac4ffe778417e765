"""Enrollments under way: who is due, what a move depends on, and the move's writing. A fixed number of statements per
batch, whatever its size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from channels.base import EventKind, Medium
from orchestrator.condition import Condition
from orchestrator.model import Enrollment, Json, Unit
from orchestrator.steps import Addressee, MessageState
from orchestrator.store import log
from orchestrator.store.database import allocate_ids, id_list, insert_many, key_list, update_many
from orchestrator.store.preferences import undeclare
from orchestrator.store.segments import Segments
from orchestrator.store.tables import (
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
    query = (
        sa.select(*_COLUMNS)
        .where(enrollment.c.ended_at.is_(None), enrollment.c.wake_at <= now)
        .order_by(enrollment.c.wake_at, enrollment.c.id)
        .limit(limit)
    )
    names = list(paused)
    if names:
        listed = key_list(conn, names)
        query = query.where(enrollment.c.journey.not_in(sa.select(listed.c.key)))
    return [Enrollment(*row) for row in conn.execute(query.with_for_update(skip_locked=True)).all()]


def unit_facts(conn: sa.Connection, runs: Sequence[Enrollment]) -> dict[int, UnitFacts]:
    """By enrollment id. Two statements: zones, and the contacts of accounts and of those above them."""
    customers = id_list(conn, {e.customer_id for e in runs if e.customer_id is not None})
    theirs = {
        customer_id: (zone, account_id, manager_email is not None)
        for customer_id, zone, account_id, manager_email in conn.execute(
            sa.select(
                customer.c.id,
                sa.func.coalesce(customer.c.timezone, account.c.timezone).label("timezone"),
                customer.c.account_id,
                account.c.manager_email,
            )
            .join(customers, customers.c.id == customer.c.id)
            .outerjoin(account, account.c.id == customer.c.account_id)
        ).all()
    }
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


def company_facts(conn: sa.Connection, account_ids: Iterable[int]) -> dict[int, UnitFacts]:
    """By account id: its zone, its contacts and those of accounts above, whether it has a manager. One statement."""
    companies: dict[int, tuple[str | None, bool]] = {}
    contacts: dict[int, list[Contact]] = defaultdict(list)
    tree = above(id_list(conn, account_ids))
    for row in conn.execute(
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
    ):
        if not row.level:
            companies[row.start] = (row.timezone, row.manager_email is not None)
        if row.contact is not None:
            media = frozenset(m for m in _ADDRESSED if getattr(row, m.value))
            contacts[row.start].append(Contact(row.contact, row.role, media, row.level))
    return {i: UnitFacts(zone, tuple(contacts[i]), None, i, manager) for i, (zone, manager) in companies.items()}


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
    listed = id_list(conn, enrollment_ids)
    heard: dict[int, set[EventKind]] = defaultdict(set)
    for row in conn.execute(
        sa.select(feedback.c.message_id, feedback.c.kind)
        .join(message, message.c.id == feedback.c.message_id)
        .join(listed, listed.c.id == message.c.enrollment_id)
    ):
        heard[row.message_id].add(EventKind(row.kind))
    found: dict[int, list[MessageState]] = defaultdict(list)
    for row in conn.execute(
        sa.select(message).join(listed, listed.c.id == message.c.enrollment_id).order_by(message.c.id)
    ):
        who = Addressee(row.addressee, row.addressee_id, row.customer_id, row.account_id)
        found[row.enrollment_id].append(
            MessageState(
                row.step,
                row.visit,
                who,
                Medium(row.medium),
                row.state,
                row.reason or "",
                row.settled_at,
                frozenset(heard[row.id]),
            )
        )
    return {key: tuple(value) for key, value in found.items()}


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
    row = conn.execute(
        sa.select(message.c.due_at, sa.func.count())
        .where(
            message.c.journey == journey,
            message.c.due_at >= since,
            message.c.step == step if step is not None else sa.true(),
        )
        .group_by(message.c.due_at)
        .order_by(message.c.due_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def set_attributes(conn: sa.Connection, table: sa.Table, patches: Mapping[int, Json], now: datetime) -> None:
    """Merge declared attributes into units of `customer` or `account`; None clears one."""
    if not patches:
        return
    ids = id_list(conn, patches)
    query = sa.select(table.c.id, table.c.attributes).join(ids, ids.c.id == table.c.id)
    query = query.order_by(table.c.id).with_for_update(of=table, key_share=True)
    rows = [
        {
            "id": row.id,
            "attributes": {k: v for k, v in {**row.attributes, **patches[row.id]}.items() if v is not None},
            "updated_at": now,
        }
        for row in conn.execute(query)
    ]
    update_many(conn, table, rows, where=("id",))
    if table.name == "customer":
        undeclare(conn, patches)  # a rule of the house: what it writes is nobody's word about herself


# ---- waking ---------------------------------------------------------------------------------------------------------


def wake(conn: sa.Connection, where: Any, now: datetime) -> int:
    """Make sleepers that match due at once.

    Who is being moved at this moment, on facts from before what wakes them, is waited for and then woken as well.
    """
    live = sa.and_(enrollment.c.ended_at.is_(None), where)
    if conn.dialect.name == "postgresql":
        # A statement of its own: the UPDATE must see them as their mover left them. In order of id, as everybody locks.
        locked = sa.select(enrollment.c.id).where(live).order_by(enrollment.c.id).with_for_update(key_share=True)
        conn.execute(sa.select(sa.func.count()).select_from(locked.subquery()))
    asleep = sa.or_(enrollment.c.wake_at.is_(None), enrollment.c.wake_at > now)
    return conn.execute(enrollment.update().where(live, asleep).values(wake_at=now)).rowcount


def wake_in(conn: sa.Connection, journey: str, version: str, where: Any, now: datetime) -> int:
    """Wake those of one journey version that match."""
    inside = sa.and_(enrollment.c.journey == journey, enrollment.c.version == version)
    return wake(conn, sa.and_(inside, where), now)


def wake_settled(conn: sa.Connection, enrollment_ids: Iterable[int], now: datetime) -> int:
    """Wake enrollments of which a message settled or was heard of."""
    listed = id_list(conn, enrollment_ids)
    return wake(conn, enrollment.c.id.in_(sa.select(listed.c.id)), now)


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
    listed = sa.select(enrollment.c.id).where(
        enrollment.c.journey == journey,
        enrollment.c.version == version,
        enrollment.c.ended_at.is_(None),
        enrollment.c.step == step if step else sa.true(),
        sa.or_(enrollment.c.wake_at.is_(None), enrollment.c.wake_at > now),
    )
    ids = list(conn.execute(segments.among(condition, listed, unit, now)).scalars())
    return wake_settled(conn, ids, now) if ids else 0


def wake_changed(conn: sa.Connection, journeys: Iterable[str], since: datetime, now: datetime) -> int:
    """Wake those inside these journeys whose customer, account or record was written from `since` until now: a wait
    may hang on a field of it. What another machine's clock says was written later has its turn then."""
    names = key_list(conn, journeys)
    owners = (
        (enrollment.c.customer_id, customer),
        (enrollment.c.account_id, account),
        (enrollment.c.record_id, record),
    )
    changed = sa.or_(
        *(
            column.in_(sa.select(table.c.id).where(table.c.updated_at >= since, table.c.updated_at <= now))
            for column, table in owners
        )
    )
    return wake(conn, sa.and_(enrollment.c.journey.in_(sa.select(names.c.key)), changed), now)


# ---- ending ---------------------------------------------------------------------------------------------------------


def cancel_messages(
    conn: sa.Connection, cancels: Mapping[int, tuple[frozenset[str] | None, str]], now: datetime
) -> int:
    """Withdraw what is queued: enrollment id → (step ids, None for all; reason). Logged line by line."""
    if not cancels:
        return 0
    listed = id_list(conn, cancels)
    rows = conn.execute(
        sa.select(message.c.id, message.c.enrollment_id, message.c.step, message.c.attempts, message.c.journey)
        .join(listed, listed.c.id == message.c.enrollment_id)
        .where(message.c.state.in_(OPEN_STATES))
        .order_by(message.c.id)
        .with_for_update(of=message)
    ).all()
    chosen = []
    for row in rows:
        steps, reason = cancels[row.enrollment_id]
        if steps is None or row.step in steps:
            chosen.append((row, reason))
    return withdraw(conn, chosen, now)


def withdraw(conn: sa.Connection, chosen: Sequence[tuple[Any, str]], now: datetime) -> int:
    """Cancel queued messages: (row of id, attempts, journey and step; reason). Logged line by line."""
    if not chosen:
        return 0
    by_reason: dict[str, list[int]] = defaultdict(list)
    for row, reason in chosen:
        by_reason[reason].append(row.id)
    for reason, ids in by_reason.items():
        those = id_list(conn, ids)
        conn.execute(
            message.update()
            .where(message.c.id.in_(sa.select(those.c.id)))
            .values(state="cancelled", reason=reason, settled_at=now)
        )
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


def live_versions(conn: sa.Connection) -> list[tuple[str, str, Unit]]:
    """(journey, version, unit) with anyone inside."""
    rows = conn.execute(
        sa.select(enrollment.c.journey, enrollment.c.version, enrollment.c.unit)
        .where(enrollment.c.ended_at.is_(None))
        .distinct()
    )
    return [(r.journey, r.version, r.unit) for r in rows]
