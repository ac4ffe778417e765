"""What our own people say became of their tasks: an event, a line in the log, and a no where the customer said one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from channels.base import Event, EventKind, Medium
from orchestrator.ingest import receive_in, record_consents, record_events, suppress
from orchestrator.rows import CONSENT_MEDIA
from orchestrator.store.auditing import erased_among
from orchestrator.store.database import id_list
from orchestrator.store.keys import Attempt, Keys
from orchestrator.store.suppressions import VOICE
from orchestrator.store.tables import customer, message

TASK_DONE: Final = "task_done"
"""The event that an outcome becomes."""
WANTS_NONE: Final = "wants_none"
_REASON: Final = "objected"


class TaskOf(NamedTuple):
    """A task that was given out."""

    attempt: str
    message_id: int
    customer_id: int | None
    account_id: int | None
    journey: str
    step: str


class Told(NamedTuple):
    """What somebody says of it."""

    task: TaskOf
    outcome: str
    note: str
    at: datetime


def tasks(conn: sa.Connection, attempts: Iterable[str]) -> dict[str, TaskOf]:
    """Those of these attempts that are tasks of ours. One statement."""
    read = {text: found for text in attempts if (found := Attempt.read(text)) is not None}
    listed = id_list(conn, {found.message_id for found in read.values()})
    m = message.c
    query = sa.select(m.id, m.attempts, m.customer_id, m.account_id, m.journey, m.step)
    query = query.join(listed, listed.c.id == m.id).where(m.medium == Medium.TASK.value)
    rows = {row.id: row for row in conn.execute(query)}
    return {
        text: TaskOf(text, row.id, row.customer_id, row.account_id, row.journey or "", row.step)
        for text, found in read.items()
        if (row := rows.get(found.message_id)) is not None and 0 < found.number <= row.attempts
    }


def record(conn: sa.Connection, keys: Keys, told: Sequence[Told], *, now: datetime) -> int:
    """Take in what became of tasks, in the caller's transaction; returns how much of it was new.

    `wants_none` is the customer's no to all advertising, on every medium, and to calls: whoever says so on the phone
    has objected (GDPR art. 21(2); 47 CFR 64.1200(d)(3)). Of somebody erased nothing is kept but that it was done.
    """
    if not told:
        return 0
    people = {one.task.customer_id for one in told if one.task.customer_id is not None}
    gone = erased_among(conn, people)
    kept = [one for one in told if one.task.customer_id not in gone]
    added = record_events(conn, [_event(one) for one in kept], now=now)
    receive_in(conn, keys, [Event(one.task.attempt, EventKind.DELIVERED, one.at) for one in told], now=now)
    noes = [one for one in kept if one.outcome == WANTS_NONE and one.task.customer_id is not None]
    if noes:
        record_consents(conn, keys, [row for one in noes for row in _withdrawals(one)], now=now)
        _not_called(conn, keys, noes, now)
    return added


def _key(one: Told) -> str:
    return f"task:{one.task.message_id}:{one.outcome}:{one.at.isoformat()}"


def _event(one: Told) -> dict[str, Any]:
    said = {"outcome": one.outcome, "note": one.note, "journey": one.task.journey, "step": one.task.step}
    return {
        "type": TASK_DONE,
        "key": _key(one),
        "customer_id": one.task.customer_id,
        "account_id": one.task.account_id,
        "occurred_at": one.at,
        "properties": {name: value for name, value in said.items() if value},
    }


def _withdrawals(one: Told) -> list[dict[str, Any]]:
    return [
        {
            "key": f"{_key(one)}:{medium}",
            "customer_id": one.task.customer_id,
            "medium": medium.value,
            "topic": "*",
            "action": "withdraw",
            "occurred_at": one.at,
            "method": "call",
            "source": f"task {one.task.attempt}",
        }
        for medium in CONSENT_MEDIA
    ]


def _not_called(conn: sa.Connection, keys: Keys, noes: Sequence[Told], now: datetime) -> None:
    listed = id_list(conn, {one.task.customer_id for one in noes if one.task.customer_id is not None})
    query = sa.select(customer.c.phone).join(listed, listed.c.id == customer.c.id)
    numbers = [phone for phone in conn.execute(query).scalars() if phone]
    suppress(conn, [(VOICE, keys.address_key(VOICE, number), _REASON, None) for number in numbers], now=now)
