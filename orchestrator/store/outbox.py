"""Messages on their way out: leases, the commit point, the last look, and what became of them.

Every transaction that changes messages locks in one order: enrollments, customers, accounts, messages, each by id. So
two workers wait for one another and not in a circle, and nobody who is moved meanwhile misses what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from channels.base import Medium, Reason
from orchestrator.model import AGAINST_ADVERTISING
from orchestrator.outbound import Asked, Due
from orchestrator.outcome import Look, Now
from orchestrator.rules import ANSWERS
from orchestrator.rules.consent import EXPLICIT
from orchestrator.store.counting import book, taken_back
from orchestrator.store.database import allocate_ids, dump_json, id_list, insert_many, key_list, update_many
from orchestrator.store.feedback import lock_runs
from orchestrator.store.journeys import add_messages
from orchestrator.store.rates import blocked, held_back
from orchestrator.store.standing import run_is_over
from orchestrator.store.suppressions import VOICE
from orchestrator.store.tables import (
    account,
    batch,
    consent_current,
    consent_event,
    customer,
    enrollment,
    journey_control,
    message,
    preference,
    rate,
    reservation,
    suppression,
)

READY = ("planned", "held")
OPEN = (*READY, "sending")
RESERVED = (
    "message_id",
    "customer_id",
    "account_id",
    "medium",
    "topic",
    "purpose",
    "at",
    "dedupe_key",
    "cost",
    "day",
)
"""A reservation, as `reserve` takes it."""
_LETTERS = 0x1E77E2  # the name of our advisory locks among those of a database
_BUCKETS = 256  # PostgreSQL keeps some 6,000 locks in all, so that a batch cannot have one for each letter
_LOOKED_AT = 200  # batches looked at for one lease
_DUE = (
    "id",
    "batch_id",
    "origin",
    "enrollment_id",
    "journey",
    "version",
    "step",
    "visit",
    "addressee",
    "addressee_id",
    "customer_id",
    "account_id",
    "medium",
    "template",
    "topic",
    "purpose",
    "priority",
    "state",
    "planned_at",
    "due_at",
    "expires_at",
    "attempts",
    "payload",
)
_MEDIUM = _DUE.index("medium")
_MEDIA = {medium.value: medium for medium in Medium}


# ---- what no journey plans ------------------------------------------------------------------------------------------


def plan(conn: sa.Connection, asked: Sequence[Asked], now: datetime) -> int:
    """Plan messages, due now; returns how many. One whose (origin, key) is known already is left out."""
    rows = [
        {
            "origin": a.origin,
            "origin_key": f"{a.origin}:{a.key}",
            "step": a.origin,
            "visit": 0,
            "addressee": a.addressee,
            "addressee_id": a.addressee_id,
            "customer_id": a.customer_id,
            "account_id": a.account_id,
            "medium": a.medium.value,
            "template": a.template,
            "topic": a.topic,
            "purpose": a.purpose,
            "priority": a.priority,
            "due_at": now,
            "expires_at": a.expires_at,
            "payload": dict(a.payload),
        }
        for a in asked
    ]
    return add_messages(conn, rows, now)


def asked_before(conn: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Messages that were planned under these names (ORIGIN:KEY), by name. One statement."""
    listed = key_list(conn, set(names))
    query = sa.select(message.c.origin_key, message.c.id).join(listed, listed.c.key == message.c.origin_key)
    return {str(name): number for name, number in conn.execute(query)}


# ---- leases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lease:
    """Batches that are one worker's until `until`. `messages`: those ready to be judged, most urgent first."""

    owner: str
    until: datetime
    batches: tuple[int, ...]
    messages: tuple[Due, ...]
    lost: tuple[Due, ...]
    """Handed over, or about to be, by a worker whose lease ran out before it told what became of them."""
    due: Mapping[int, datetime] = field(default_factory=dict)
    """Batch id → when it was due."""


def _running(column: Any) -> Any:
    """Not of a paused journey. The caller has made sure that not everything is paused."""
    return sa.or_(column.is_(None), column.not_in(sa.select(journey_control.c.scope)))


def waiting(conn: sa.Connection, now: datetime) -> tuple[frozenset[Medium], frozenset[str]]:
    """(media that have a batch due which nobody holds, channels that are held back by what their provider asked)."""
    due = sa.select(sa.literal("", sa.Text()).label("channel"), batch.c.medium).where(*_free(now))
    held = sa.select(rate.c.name, sa.literal("", sa.Text())).where(blocked(now))
    found = conn.execute(sa.union(due, held)).all()
    media = frozenset(Medium(medium) for name, medium in found if not name)
    return media, frozenset(name for name, _ in found if name)


def _free(now: datetime) -> list[Any]:
    return [
        batch.c.done_at.is_(None),
        batch.c.due_at <= now,
        sa.or_(batch.c.lease_until.is_(None), batch.c.lease_until <= now),
    ]


def lease(
    conn: sa.Connection,
    medium: Medium,
    *,
    owner: str,
    now: datetime,
    until: datetime,
    most: int,
    paused: bool,
    whole: bool = False,
) -> Lease | None:
    """Take the most urgent batches of a medium, about `most` messages together; None when nothing is due. `whole`:
    with all of their messages, so that none stays behind until they are released.

    What belongs to a paused journey stays where it is, and a batch of nothing else is passed by.
    """
    due = [batch.c.medium == medium.value, *_free(now)]
    if paused:
        held = sa.exists().where(message.c.batch_id == batch.c.id, message.c.state.in_(OPEN))
        due.append(sa.or_(~held, held.where(_running(message.c.journey))))
    urgency = sa.case((batch.c.purpose == "transactional", 0), else_=1)
    rows = conn.execute(
        sa.select(batch.c.id, batch.c.size, batch.c.due_at)
        .where(*due)
        .order_by(urgency, batch.c.priority.desc(), batch.c.due_at, batch.c.id)
        .limit(_LOOKED_AT)
        .with_for_update(skip_locked=True)
    ).all()
    chosen: dict[int, datetime] = {}
    total = 0
    for row in rows:
        if total >= most:
            break
        chosen[row.id] = row.due_at
        total += row.size
    if not chosen:
        return None
    listed = id_list(conn, chosen)
    mine = batch.c.id.in_(sa.select(listed.c.id))
    conn.execute(batch.update().where(mine).values(lease_owner=owner, lease_until=until))
    of_these = message.c.batch_id.in_(sa.select(listed.c.id))
    lost = _read(conn, [of_these, message.c.state == "sending"])
    ready = [of_these, message.c.state.in_(READY)]
    messages = _read(conn, [*ready, _running(message.c.journey)] if paused else ready, None if whole else most)
    return Lease(owner, until, tuple(chosen), messages, lost, chosen)


def _read(conn: sa.Connection, where: Sequence[Any], most: int | None = None) -> tuple[Due, ...]:
    urgency = sa.case((message.c.purpose == "transactional", 0), else_=1)
    query = (
        sa.select(*(message.c[name] for name in _DUE))
        .where(*where)
        .order_by(urgency, message.c.priority.desc(), message.c.due_at, message.c.id)
        .limit(most)
    )
    found = []
    for row in conn.execute(query).all():
        values: list[Any] = list(row)
        values[_MEDIUM] = _MEDIA[values[_MEDIUM]]
        found.append(Due(*values))
    return tuple(found)


def set_topics(conn: sa.Connection, messages: Iterable[Due]) -> None:
    """Write down the topic and purpose of messages whose text has others by now."""
    update_many(conn, message, [{"id": d.id, "topic": d.topic, "purpose": d.purpose} for d in messages], where=("id",))


def renew(conn: sa.Connection, held: Lease, until: datetime) -> bool:
    """Longer; False when another worker has taken any of it meanwhile."""
    listed = id_list(conn, held.batches)
    mine = sa.and_(batch.c.id.in_(sa.select(listed.c.id)), batch.c.lease_owner == held.owner)
    return conn.execute(batch.update().where(mine).values(lease_until=until)).rowcount == len(held.batches)


def release(conn: sa.Connection, held: Lease, now: datetime) -> None:
    """Give the batches back; those of which nothing is left to do are done."""
    listed = id_list(conn, held.batches)
    left = sa.exists().where(message.c.batch_id == batch.c.id, message.c.state.in_(OPEN)).correlate(batch)
    conn.execute(
        batch.update()
        .where(batch.c.id.in_(sa.select(listed.c.id)), batch.c.lease_owner == held.owner)
        .values(
            lease_owner=None,
            lease_until=None,
            done_at=sa.case((left, sa.null()), else_=sa.literal(now, batch.c.done_at.type)),
        )
    )


# ---- the commit point -----------------------------------------------------------------------------------------------


def lock(
    conn: sa.Connection, messages: Sequence[Due], addresses: Iterable[str], accounts: bool, dedupe_keys: Iterable[str]
) -> dict[int, str]:
    """Lock what a decision about these messages hangs on; message id → state as it is now.

    Without those that a merge has made another customer's: what was read is about the one who is gone, and they are
    looked at again.

    Customers, and those who share an address with them, so that caps and dedupe are counted one decision after the
    other; accounts when a cap counts by them; of letters, whose households share no column that could be looked up,
    the dedupe keys. SQLite holds its one write lock since the transaction began.
    """
    listed = id_list(conn, [d.id for d in messages])
    if conn.dialect.name == "postgresql":
        runs = id_list(conn, {d.enrollment_id for d in messages if d.enrollment_id is not None})
        lock_runs(conn, sa.select(runs.c.id))
        _lock_customers(conn, messages, addresses)
        if accounts:
            theirs = id_list(conn, {d.account_id for d in messages if d.account_id is not None})
            _lock(conn, account, sa.select(theirs.c.id))
        if messages[0].medium is Medium.MAIL:
            _lock_letters(conn, dedupe_keys)
    columns = (message.c.id, message.c.state, message.c.customer_id)
    query = sa.select(*columns).where(message.c.id.in_(sa.select(listed.c.id)))
    query = query.order_by(message.c.id).with_for_update(key_share=True)
    whose = {d.id: d.customer_id for d in messages}
    return {i: state for i, state, customer_id in conn.execute(query).tuples() if whose[i] == customer_id}


def _lock_customers(conn: sa.Connection, messages: Sequence[Due], addresses: Iterable[str]) -> None:
    own = id_list(conn, {d.customer_id for d in messages if d.customer_id is not None})
    ids: Any = sa.select(own.c.id)
    column = {Medium.EMAIL: customer.c.email, Medium.SMS: customer.c.phone}.get(messages[0].medium)
    if column is not None:
        shared = key_list(conn, set(addresses))
        ids = sa.union(ids, sa.select(customer.c.id).join(shared, shared.c.key == column))
    _lock(conn, customer, ids)


def _lock_letters(conn: sa.Connection, dedupe_keys: Iterable[str]) -> None:
    buckets = sorted({int(key[:8], 16) % _BUCKETS for key in dedupe_keys})
    if buckets:
        numbers = sa.func.unnest(sa.literal(buckets, ARRAY(sa.Integer()))).column_valued("n")
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LETTERS, numbers))).all()


def _lock(conn: sa.Connection, table: sa.Table, ids: Any) -> None:
    where = table.c.id.in_(ids)
    conn.execute(sa.select(table.c.id).where(where).order_by(table.c.id).with_for_update(key_share=True)).all()


def allow(conn: sa.Connection, ids: Sequence[int], now: datetime) -> None:
    """These may go: they are `sending` from the commit on, one attempt further."""
    if not ids:
        return
    listed = id_list(conn, ids)
    conn.execute(
        message.update()
        .where(message.c.id.in_(sa.select(listed.c.id)))
        .values(state="sending", reason=None, decided_at=now, attempts=message.c.attempts + 1)
    )


def reserve(conn: sa.Connection, rows: Sequence[tuple[Any, ...]], again: Iterable[int]) -> None:
    """Count what was allowed, and book what it costs: rows of RESERVED.

    `again`: messages that may have a reservation of an earlier attempt; it is replaced.
    """
    earlier = list(again)
    amounts = taken_back(conn, earlier) if earlier else {}
    insert_many(conn, reservation, rows, columns=RESERVED)
    for _, _, _, medium, _, _, _, _, cost, day in rows:
        if cost:
            amounts[medium, day] = amounts.get((medium, day), 0) + cost
    book(conn, amounts)


def refuse(conn: sa.Connection, rows: Sequence[tuple[int, str, str]], now: datetime) -> None:
    """(message id, denied or expired, reason)."""
    changed = [
        {"id": i, "state": state, "reason": reason, "decided_at": now, "settled_at": now} for i, state, reason in rows
    ]
    update_many(conn, message, changed, where=("id",))


def put_off(
    conn: sa.Connection, rows: Sequence[tuple[Due, str, str, datetime]], now: datetime, *, decided: bool
) -> None:
    """(message, held or planned, reason, when to look again): into new batches, one for each instant and kind."""
    if not rows:
        return
    groups: dict[tuple[str, str, int, datetime], int] = {}
    for due, _, _, at in rows:
        key = (due.medium.value, due.purpose, due.priority, at)
        groups[key] = groups.get(key, 0) + 1
    ids = dict(zip(groups, allocate_ids(conn, batch, len(groups)), strict=True))
    insert_many(
        conn,
        batch,
        [(ids[key], *key, size) for key, size in groups.items()],
        columns=("id", "medium", "purpose", "priority", "due_at", "size"),
    )
    changed = []
    for due, state, reason, at in rows:
        row: dict[str, Any] = {"id": due.id, "state": state, "reason": reason}
        row["batch_id"] = ids[(due.medium.value, due.purpose, due.priority, at)]
        changed.append({**row, "decided_at": now} if decided else row)
    update_many(conn, message, changed, where=("id",))


# ---- the last look --------------------------------------------------------------------------------------------------


def last_look(
    conn: sa.Connection, deliveries: Sequence[tuple[int, str]], now: datetime, channel: str = ""
) -> dict[tuple[int, str], Look]:
    """(message id, address key) → what changed, in one statement, just before they are handed over. `channel`: the
    name of the one they go by (`rates.name_of`)."""
    pairs = _pairs(conn, deliveries)
    person = customer.alias("person")
    gone = sa.and_(
        message.c.addressee == "customer", sa.or_(person.c.merged_into.isnot(None), person.c.left_at.isnot(None))
    )
    listed = sa.and_(
        suppression.c.address_key == pairs.c.key, sa.or_(suppression.c.until.is_(None), suppression.c.until > now)
    )
    advertising = sa.or_(message.c.purpose == "marketing", suppression.c.reason.not_in(sorted(AGAINST_ADVERTISING)))
    # The answer to a customer's own text passes the opt-out that it is about, as the rule has it.
    about_it = sa.and_(message.c.origin.in_(sorted(ANSWERS)), suppression.c.reason == Reason.OPTED_OUT.value)
    # Of a task, only a call's number is asked for among those not to be called; and whatever list it is on counts.
    not_called = sa.exists().where(suppression.c.medium == VOICE, listed)
    query = sa.select(
        message.c.id,
        pairs.c.key,
        message.c.state,
        message.c.attempts,
        held_back(channel, now),
        sa.exists()
        .where(sa.or_(journey_control.c.scope == "*", journey_control.c.scope == message.c.journey))
        .label("paused"),
        sa.func.coalesce(sa.or_(run_is_over(), gone), sa.false()).label("over"),
        sa.and_(message.c.addressee == "customer", _withdrawn(now)).label("withdrawn"),
        sa.or_(
            sa.exists().where(suppression.c.medium == message.c.medium, listed, advertising, ~about_it),
            sa.and_(message.c.medium == Medium.TASK.value, not_called),
        ).label("suppressed"),
        # As the pause rule has it.
        sa.func.coalesce(
            sa.and_(
                message.c.addressee == "customer",
                message.c.purpose != "transactional",
                preference.c.paused_until > now,
            ),
            sa.false(),
        ).label("resting"),
    ).select_from(
        pairs.join(message, message.c.id == pairs.c.id)
        .outerjoin(enrollment, enrollment.c.id == message.c.enrollment_id)
        .outerjoin(person, person.c.id == message.c.customer_id)
        .outerjoin(preference, preference.c.customer_id == message.c.customer_id)
    )
    looks = {}
    unchanged: dict[tuple[Any, ...], Look] = {}  # nearly all of them look alike
    for i, key, state, attempts, until, *seen, resting in conn.execute(query).all():
        values = (state, *map(bool, seen), attempts, until, bool(resting))
        look = unchanged.get(values)
        if look is None:
            look = unchanged[values] = Look(*values)
        looks[(i, key)] = look
    return looks


def _withdrawn(now: datetime) -> Any:
    """The consent rule's word (rules/consent.py), as far as a message that it allowed can lose it.

    A no that no newer yes answers; and any no that came in since the decision: which yes was relied on cannot be told
    here, and another one, newer than the no, may be too little for the law. A transactional message heeds only a no to
    exactly its topic. A consent's end counts where it came in, or was reached, since, and no yes is left.
    """
    yes, no, said = consent_current.alias("yes"), consent_current.alias("no"), consent_event.alias("said")

    def of(word: Any, *topics: Any) -> Any:
        same = sa.and_(word.c.customer_id == message.c.customer_id, word.c.medium == message.c.medium)
        return sa.and_(same, word.c.topic.in_(topics))

    any_topic = (message.c.topic, sa.literal("*"))
    left = sa.and_(of(yes, *any_topic), yes.c.state == "granted", sa.or_(yes.c.until.is_(None), yes.c.until > now))
    word = yes.c.basis.in_(sorted(EXPLICIT))
    answered = sa.exists().where(left, word, yes.c.since > no.c.since).correlate(no, message)
    since = sa.exists().where(said.c.id == no.c.event_id, said.c.received_at >= message.c.decided_at)
    newer = sa.or_(~answered, since.correlate(no, message))
    refused = sa.exists().where(of(no, *any_topic), no.c.state == "withdrawn", newer)
    objected = sa.exists().where(of(no, message.c.topic), no.c.state == "withdrawn", newer)
    none_left = ~sa.exists().where(left).correlate(message)
    ended = sa.exists().where(of(no, *any_topic), no.c.state == "expired", since.correlate(no, message))
    over = sa.exists().where(
        of(yes, *any_topic), yes.c.state == "granted", yes.c.until > message.c.decided_at, yes.c.until <= now
    )
    ends = sa.or_(ended.correlate(message), over.correlate(message))
    marketing = sa.or_(refused.correlate(message), sa.and_(ends, none_left))
    return sa.case((message.c.purpose == "marketing", marketing), else_=objected.correlate(message))


def _pairs(conn: sa.Connection, pairs: Sequence[tuple[int, str]]) -> sa.Subquery:
    """(id, key) as something to join with: one bound value, or two, however many there are."""
    if conn.dialect.name == "sqlite":
        text = sa.literal(dump_json([list(pair) for pair in pairs]), sa.Text())
        each = sa.func.json_each(text).table_valued("value")
        number = sa.cast(sa.func.json_extract(each.c.value, "$[0]"), sa.BigInteger)
        return sa.select(number.label("id"), sa.func.json_extract(each.c.value, "$[1]").label("key")).subquery()
    ids = sa.literal([i for i, _ in pairs], ARRAY(sa.BigInteger()))
    keys = sa.literal([key for _, key in pairs], ARRAY(sa.Text()))
    unnested = sa.func.unnest(ids, keys).table_valued(sa.column("id", sa.BigInteger), sa.column("key", sa.Text))
    return sa.select(unnested.render_derived()).subquery()


# ---- outcomes -------------------------------------------------------------------------------------------------------


def lock_states(conn: sa.Connection, messages: Iterable[Due]) -> dict[int, Now]:
    """Message id → how it stands, locked (their enrollments first)."""
    chosen = list(messages)
    listed = id_list(conn, [d.id for d in chosen])
    if conn.dialect.name == "postgresql":
        runs = id_list(conn, {d.enrollment_id for d in chosen if d.enrollment_id is not None})
        lock_runs(conn, sa.select(runs.c.id))
    m = message.c
    query = sa.select(m.id, m.state, m.attempts, m.reason).where(m.id.in_(sa.select(listed.c.id)))
    query = query.order_by(m.id).with_for_update(key_share=True)
    return {i: Now(*found) for i, *found in conn.execute(query).all()}


def settle(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each row: id, state, reason, provider, provider_id, settled_at."""
    update_many(conn, message, rows, where=("id",))
