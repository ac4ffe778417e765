"""Messages on their way out: leases, the commit point, the last look, and what became of them.

Every transaction that changes messages locks in one order: enrollments, customers, accounts, messages, each by id. So
two workers wait for one another and not in a circle, and nobody who is moved meanwhile misses what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from channels.base import Medium, Reason
from orchestrator.model import AGAINST_ADVERTISING
from orchestrator.outbound import Asked, Due
from orchestrator.outcome import Look, Now
from orchestrator.rules import ANSWERS
from orchestrator.rules.consent import EXPLICIT
from orchestrator.store.counting import book, taken_back
from orchestrator.store.database import (
    allocate_ids,
    bound_ids,
    bound_keys,
    dump_json,
    insert_many,
    key_list,
    update_many,
)
from orchestrator.store.journeys import add_messages
from orchestrator.store.rates import blocked, held_back, looked_at
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
_NOW: Final[sa.BindParameter[Any]] = sa.bindparam("now")
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
    found = conn.execute(_WAITING, looked_at(now)).all()
    media = frozenset(Medium(medium) for name, medium in found if not name)
    return media, frozenset(name for name, _ in found if name)


_FREE: Final = (
    batch.c.done_at.is_(None),
    batch.c.due_at <= _NOW,
    sa.or_(batch.c.lease_until.is_(None), batch.c.lease_until <= _NOW),
)
_WAITING: Final = sa.union(
    sa.select(sa.literal("", sa.Text()).label("channel"), batch.c.medium).where(*_FREE),
    sa.select(rate.c.name, sa.literal("", sa.Text())).where(blocked()),
)


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
    rows = conn.execute(_leasable(paused), {"of": medium.value, "now": now}).all()
    chosen: dict[int, datetime] = {}
    total = 0
    for row in rows:
        if total >= most:
            break
        chosen[row.id] = row.due_at
        total += row.size
    if not chosen:
        return None
    ids, dialect = list(chosen), conn.dialect.name
    conn.execute(_take(dialect), {"ids": ids, "owner": owner, "until": until})
    lost = _read(conn, _lost(dialect), {"ids": ids})
    ready = {"ids": ids} if whole else {"ids": ids, "most": most}
    messages = _read(conn, _ready(dialect, paused, whole), ready)
    return Lease(owner, until, tuple(chosen), messages, lost, chosen)


@cache
def _leasable(paused: bool) -> sa.Select[Any]:
    """Batches of a medium that may be leased, the most urgent first."""
    due = [batch.c.medium == sa.bindparam("of"), *_FREE]
    if paused:
        held = sa.exists().where(message.c.batch_id == batch.c.id, message.c.state.in_(OPEN))
        due.append(sa.or_(~held, held.where(_running(message.c.journey))))
    urgency = sa.case((batch.c.purpose == "transactional", 0), else_=1)
    return (
        sa.select(batch.c.id, batch.c.size, batch.c.due_at)
        .where(*due)
        .order_by(urgency, batch.c.priority.desc(), batch.c.due_at, batch.c.id)
        .limit(_LOOKED_AT)
        .with_for_update(skip_locked=True)
    )


@cache
def _take(dialect: str) -> sa.Update:
    mine = batch.c.id.in_(sa.select(bound_ids(dialect).c.id))
    return batch.update().where(mine).values(lease_owner=sa.bindparam("owner"), lease_until=sa.bindparam("until"))


@cache
def _lost(dialect: str) -> sa.Select[Any]:
    return _of_batches(dialect, message.c.state == "sending")


@cache
def _ready(dialect: str, paused: bool, whole: bool) -> sa.Select[Any]:
    running = [_running(message.c.journey)] if paused else []
    query = _of_batches(dialect, message.c.state.in_(READY), *running)
    return query if whole else query.limit(sa.bindparam("most", type_=sa.Integer()))


def _of_batches(dialect: str, *where: Any) -> sa.Select[Any]:
    """Messages of the batches bound as `ids`, the most urgent first."""
    urgency = sa.case((message.c.purpose == "transactional", 0), else_=1)
    return (
        sa.select(*(message.c[name] for name in _DUE))
        .where(message.c.batch_id.in_(sa.select(bound_ids(dialect).c.id)), *where)
        .order_by(urgency, message.c.priority.desc(), message.c.due_at, message.c.id)
    )


def _read(conn: sa.Connection, query: sa.Select[Any], bound: Mapping[str, Any]) -> tuple[Due, ...]:
    found = []
    for row in conn.execute(query, bound).all():
        values: list[Any] = list(row)
        values[_MEDIUM] = _MEDIA[values[_MEDIUM]]
        found.append(Due(*values))
    return tuple(found)


def set_topics(conn: sa.Connection, messages: Iterable[Due]) -> None:
    """Write down the topic and purpose of messages whose text has others by now."""
    update_many(conn, message, [{"id": d.id, "topic": d.topic, "purpose": d.purpose} for d in messages], where=("id",))


def renew(conn: sa.Connection, held: Lease, until: datetime) -> bool:
    """Longer; False when another worker has taken any of it meanwhile."""
    values = {"ids": list(held.batches), "owner": held.owner, "until": until}
    return conn.execute(_renew(conn.dialect.name), values).rowcount == len(held.batches)


@cache
def _renew(dialect: str) -> sa.Update:
    return batch.update().where(*_still_ours(dialect)).values(lease_until=sa.bindparam("until"))


def _still_ours(dialect: str) -> tuple[Any, Any]:
    return batch.c.id.in_(sa.select(bound_ids(dialect).c.id)), batch.c.lease_owner == sa.bindparam("owner")


def release(conn: sa.Connection, held: Lease, now: datetime) -> None:
    """Give the batches back; those of which nothing is left to do are done."""
    conn.execute(_release(conn.dialect.name), {"ids": list(held.batches), "owner": held.owner, "now": now})


@cache
def _release(dialect: str) -> sa.Update:
    left = sa.exists().where(message.c.batch_id == batch.c.id, message.c.state.in_(OPEN)).correlate(batch)
    done_at = sa.case((left, sa.null()), else_=sa.bindparam("now", type_=batch.c.done_at.type))
    free = {"lease_owner": None, "lease_until": None, "done_at": done_at}
    return batch.update().where(*_still_ours(dialect)).values(free)


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
    if conn.dialect.name == "postgresql":
        _lock(conn, enrollment, {d.enrollment_id for d in messages})
        _lock_customers(conn, messages, addresses)
        if accounts:
            _lock(conn, account, {d.account_id for d in messages})
        if messages[0].medium is Medium.MAIL:
            _lock_letters(conn, dedupe_keys)
    whose = {d.id: d.customer_id for d in messages}
    found = conn.execute(_locked(conn.dialect.name), {"ids": list(whose)})
    return {row.id: row.state for row in found if whose[row.id] == row.customer_id}


@cache
def _locked(dialect: str) -> sa.Select[Any]:
    """Messages by id, locked, as they are now."""
    m = message.c
    return (
        sa.select(m.id, m.state, m.customer_id, m.attempts, m.reason)
        .where(m.id.in_(sa.select(bound_ids(dialect).c.id)))
        .order_by(m.id)
        .with_for_update(key_share=True)
    )


def _lock_customers(conn: sa.Connection, messages: Sequence[Due], addresses: Iterable[str]) -> None:
    shared = {Medium.EMAIL: "email", Medium.SMS: "phone"}.get(messages[0].medium, "")
    _lock(conn, customer, {d.customer_id for d in messages}, shared, addresses)


def _lock_letters(conn: sa.Connection, dedupe_keys: Iterable[str]) -> None:
    buckets = sorted({int(key[:8], 16) % _BUCKETS for key in dedupe_keys})
    if buckets:
        conn.execute(_LOCK_LETTERS, {"buckets": buckets}).all()


_LOCK_LETTERS: Final = sa.select(
    sa.func.pg_advisory_xact_lock(
        _LETTERS, sa.func.unnest(sa.bindparam("buckets", type_=ARRAY(sa.Integer()))).column_valued("n")
    )
)


def _lock(
    conn: sa.Connection, table: sa.Table, ids: Iterable[int | None], shared: str = "", keys: Iterable[str] = ()
) -> None:
    """Rows by id, and those that have one of the keys in the column `shared`."""
    values: dict[str, Any] = {"ids": [i for i in ids if i is not None]}
    if shared:
        values["keys"] = list(set(keys))
    if any(values.values()):
        conn.execute(_locking(table, shared), values).all()


@cache
def _locking(table: sa.Table, shared: str) -> sa.Select[Any]:
    ids: Any = sa.select(bound_ids("postgresql").c.id)
    if shared:
        listed = bound_keys("postgresql")
        ids = sa.union(ids, sa.select(table.c.id).join(listed, listed.c.key == table.c[shared]))
    return sa.select(table.c.id).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update(key_share=True)


def allow(conn: sa.Connection, ids: Sequence[int], now: datetime) -> None:
    """These may go: they are `sending` from the commit on, one attempt further."""
    if not ids:
        return
    conn.execute(_allow(conn.dialect.name), {"ids": list(ids), "now": now})


@cache
def _allow(dialect: str) -> sa.Update:
    going = {"state": "sending", "reason": None, "decided_at": _NOW, "attempts": message.c.attempts + 1}
    return message.update().where(message.c.id.in_(sa.select(bound_ids(dialect).c.id))).values(going)


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
    looks = {}
    unchanged: dict[tuple[Any, ...], Look] = {}  # nearly all of them look alike
    asked = {**_bound(conn.dialect.name, deliveries), **looked_at(now), "channel": channel}
    for i, key, state, attempts, until, *seen, resting in conn.execute(_looking(conn.dialect.name), asked).all():
        values = (state, *map(bool, seen), attempts, until, bool(resting))
        look = unchanged.get(values)
        if look is None:
            look = unchanged[values] = Look(*values)
        looks[(i, key)] = look
    return looks


@cache
def _looking(dialect: str) -> sa.Select[Any]:
    pairs, now = _pairs(dialect), _NOW
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
    return sa.select(
        message.c.id,
        pairs.c.key,
        message.c.state,
        message.c.attempts,
        held_back(),
        sa.exists()
        .where(sa.or_(journey_control.c.scope == "*", journey_control.c.scope == message.c.journey))
        .label("paused"),
        sa.func.coalesce(sa.or_(run_is_over(), gone), sa.false()).label("over"),
        sa.and_(message.c.addressee == "customer", _withdrawn()).label("withdrawn"),
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


def _withdrawn() -> Any:
    """The consent rule's word (rules/consent.py), as far as a message that it allowed can lose it.

    A no that no newer yes answers; and any no that came in since the decision: which yes was relied on cannot be told
    here, and another one, newer than the no, may be too little for the law. A transactional message heeds only a no to
    exactly its topic. A consent's end counts where it came in, or was reached, since, and no yes is left.
    """
    yes, no, said = consent_current.alias("yes"), consent_current.alias("no"), consent_event.alias("said")
    now = _NOW

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


def _bound(dialect: str, pairs: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """What is bound to a statement with `_pairs` in it."""
    if dialect == "sqlite":
        return {"pairs": dump_json([list(pair) for pair in pairs])}
    return {"ids": [i for i, _ in pairs], "keys": [key for _, key in pairs]}


def _pairs(dialect: str) -> sa.Subquery:
    """(id, key) as something to join with: one bound value, or two, however many there are."""
    if dialect == "sqlite":
        each = sa.func.json_each(sa.bindparam("pairs", type_=sa.Text())).table_valued("value")
        number = sa.cast(sa.func.json_extract(each.c.value, "$[0]"), sa.BigInteger)
        return sa.select(number.label("id"), sa.func.json_extract(each.c.value, "$[1]").label("key")).subquery()
    ids = sa.bindparam("ids", type_=ARRAY(sa.BigInteger()))
    keys = sa.bindparam("keys", type_=ARRAY(sa.Text()))
    unnested = sa.func.unnest(ids, keys).table_valued(sa.column("id", sa.BigInteger), sa.column("key", sa.Text))
    return sa.select(unnested.render_derived()).subquery()


# ---- outcomes -------------------------------------------------------------------------------------------------------


def lock_states(conn: sa.Connection, messages: Iterable[Due]) -> dict[int, Now]:
    """Message id → how it stands, locked (their enrollments first)."""
    chosen = list(messages)
    if conn.dialect.name == "postgresql":
        _lock(conn, enrollment, {d.enrollment_id for d in chosen})
    found = conn.execute(_locked(conn.dialect.name), {"ids": [d.id for d in chosen]})
    return {row.id: Now(row.state, row.attempts, row.reason) for row in found}


def settle(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each row: id, state, reason, provider, provider_id, settled_at."""
    update_many(conn, message, rows, where=("id",))
