"""Gather what goes with a job: for channels that hand over at cut-offs, letters to a print house.

What is due between two cut-offs waits, undecided, until the next: a withdrawal, an exit or an erasure until then stops
it as if it had never been planned. When the cut-off has come, everything due by it is decided on that moment's facts
and is handed over in one piece. Whoever was down at the cut-off does it later, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from channels.base import Collects
from orchestrator.apply import Force
from orchestrator.outbound import Due
from orchestrator.outcome import Delivery
from orchestrator.store import outbox
from orchestrator.store.database import Store
from orchestrator.store.outbox import Lease

LEASE = timedelta(minutes=30)
"""For how long a job's messages are one worker's: some ten thousand letters are set in it."""
REASON = "cut_off"

Leases = Callable[[sa.Connection, datetime], "tuple[Force, Lease] | float | None"]
"""Takes what is due, for this worker, at this instant."""
Decides = Callable[[Force, Lease], list[Delivery]]


@dataclass(slots=True)
class Gathered:
    """A job's messages: decided and to be handed over, and those that wait for their cut-off. `held`: the lease over
    all of them, None where nothing was due."""

    held: Lease | None
    deliveries: Sequence[Delivery] = ()
    waiting: Sequence[Due] = ()


def gathered(
    store: Store,
    channel: Collects,
    lease: Leases,
    decide: Decides,
    clock: Callable[[], datetime],
    over: Callable[[], bool],
    most: int,
) -> Gathered:
    """Lease, put off, decide, until nothing is due any more or `over()` says so; `most` messages a decision."""
    deliveries: list[Delivery] = []
    waiting: list[Due] = []
    held: Lease | None = None
    while not over():
        now = clock()
        found = store.written(lambda conn, now=now: lease(conn, now))  # type: ignore[misc]
        if found is None or isinstance(found, float):
            break
        force, own = found
        held = own if held is None else replace(held, batches=held.batches + own.batches, until=own.until)
        late = [due for due in own.messages if _goes(channel, due, own)]
        known = {due.id for due in late}
        early = [due for due in own.messages if due.id not in known]
        if early:
            waiting += _put_off(store, channel, early, own, now)
        for n in range(0, len(late), most):
            deliveries += decide(force, replace(own, messages=tuple(late[n : n + most])))
    return Gathered(held, deliveries, waiting)


def _goes(channel: Collects, due: Due, own: Lease) -> bool:
    """Whether its cut-off has come. What was decided for a job that could not be dropped does not wait for another."""
    at = own.due[due.batch_id]
    return due.attempts > 0 or channel.closes(at) == at


def _put_off(store: Store, channel: Collects, early: Sequence[Due], own: Lease, now: datetime) -> list[Due]:
    """Until the next cut-off; only what is still to be judged. No refusal and no decision: nothing is logged."""

    def write(conn: sa.Connection) -> list[Due]:
        states = outbox.lock_states(conn, early)
        still = [due for due in early if due.id in states and states[due.id].state in outbox.READY]
        rows = [(due, "planned", REASON, channel.closes(max(own.due[due.batch_id], now))) for due in still]
        outbox.put_off(conn, rows, now, decided=False)
        return still

    return store.written(write)
