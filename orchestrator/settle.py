"""Write down what became of messages: states, lines in the log, what counts and costs; sleepers wake.

`deliver` settles what it handed over, `reconcile` what nobody knew. Whatever is known by then is not taken back: an
end is written only where the message still is in the attempt that the end is of, and where the end may follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from channels.base import Medium, Reason
from orchestrator.apply import in_force
from orchestrator.decision import Outcomes
from orchestrator.ingest import record_events, retire_devices, revoke, suppress
from orchestrator.model import Json, Vocabulary
from orchestrator.outbound import Due
from orchestrator.outcome import End, may_end
from orchestrator.rows import RowReader
from orchestrator.store import journeys as running
from orchestrator.store import log, outbox
from orchestrator.store.auditing import erased_among
from orchestrator.store.feedback import ERRORS, give_back
from orchestrator.store.keys import Keys


@dataclass(frozen=True, slots=True)
class Settled:
    """What was written: the ends that could still be, and the journeys of which a message went wrong."""

    ends: Sequence[End] = ()
    wrong: frozenset[str] = field(default_factory=frozenset)


def settle(
    conn: sa.Connection, keys: Keys, provider: str, medium: Medium, ends: Sequence[End], at: datetime
) -> Settled:
    """Settle messages of one medium by one provider, in the caller's transaction. Fixed number of statements."""
    if not ends:
        return Settled()
    found = outbox.lock_states(conn, [end.delivery.due for end in ends])
    fresh = [end for end in ends if may_end(found.get(end.delivery.due.id), end)]
    if not fresh:
        return Settled()
    lines = Outcomes(provider, at)
    log.append(conn, [lines.entry(end) for end in fresh])
    over = [end for end in fresh if end.state != "planned"]
    outbox.settle(conn, [_row(end, provider, at) for end in over])
    waiting = [(e.delivery.due, "planned", e.reason, e.again or at) for e in fresh if e.state == "planned"]
    outbox.put_off(conn, waiting, at, decided=False)
    if returned := [end.delivery.due.id for end in fresh if end.given_back]:
        give_back(conn, returned)
    if bad := [end for end in fresh if end.bad]:
        _not_again(conn, keys, medium, bad, at)
    if told := [end for end in over if end.answer and end.delivery.due.payload.get("answer")]:
        _record_answers(conn, told, at)
    wake(conn, [end.delivery.due for end in over], at)
    wrong = frozenset(e.delivery.due.journey for e in over if e.state in ERRORS and e.delivery.due.journey)
    return Settled(fresh, wrong)


def wake(conn: sa.Connection, messages: Iterable[Due], now: datetime) -> None:
    """Wake the runs that these messages belong to."""
    ids = {due.enrollment_id for due in messages if due.enrollment_id is not None}
    if ids:
        running.wake_settled(conn, ids, now)


def _not_again(conn: sa.Connection, keys: Keys, medium: Medium, ends: Sequence[End], at: datetime) -> None:
    suppress(conn, [(medium.value, key, why, None) for end in ends for key, why in end.bad], now=at)
    out = [e.delivery.due for e in ends if any(why == Reason.OPTED_OUT for _, why in e.bad)]
    told = [(d.id, d.customer_id, d.medium.value, d.topic) for d in out if d.customer_id is not None]
    revoke(conn, keys, told, now=at)
    if medium is Medium.PUSH:
        gone: dict[int, list[str]] = {}
        for end in ends:
            if end.delivery.due.customer_id is not None:
                gone.setdefault(end.delivery.due.customer_id, []).extend(key for key, _ in end.bad)
        retire_devices(conn, keys, gone, now=at)


def _record_answers(conn: sa.Connection, ends: Sequence[End], at: datetime) -> None:
    """What other systems answered, as events of the types that their steps name: once for each message."""
    force = in_force(conn)
    if force is None:
        return
    about = [end.delivery.due for end in ends]
    gone = erased_among(conn, {due.customer_id for due in about if due.customer_id is not None})
    rows = []
    for end in ends:
        due, kind = end.delivery.due, str(end.delivery.due.payload["answer"])
        if due.customer_id not in gone and kind in force.project.vocabulary.events:
            told = answered(force.project.vocabulary, kind, end.answer or {}, at)
            rows.append(
                {
                    "type": kind,
                    "key": f"answer:{due.id}",
                    "customer_id": due.customer_id,
                    "account_id": due.account_id,
                    "occurred_at": at,
                    "properties": told,
                }
            )
    record_events(conn, rows, now=at)


def answered(vocabulary: Vocabulary, kind: str, answer: Mapping[str, Any], at: datetime) -> Json:
    """The properties of an answer that are declared of this type of event, and fit: others are not taken in."""
    found: Json = {}
    for name in vocabulary.events[kind].fields:
        given = {n: answer[n] for n in (name, f"{name}_currency") if answer.get(n) is not None}
        if name in given:
            row = {"type": kind, "event_id": "answer", "customer": "answer", "occurred_at": at.isoformat()}
            read = RowReader("events", vocabulary, at).read({**row, "properties": given})
            found |= {} if isinstance(read, str) else read.members
    return found


def _row(end: End, provider: str, at: datetime) -> dict[str, Any]:
    return {
        "id": end.delivery.due.id,
        "state": end.state,
        "reason": end.reason or None,
        "provider": provider,
        "provider_id": end.provider_id or None,
        "settled_at": at,
    }
