"""STOP at 10:00:00: nothing is handed over from 10:00:01, also of what is queued and decided; with two workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Event, EventKind, Medium, Outbound, Receipt
from orchestrator import deliver as delivering
from orchestrator.deliver import deliver
from orchestrator.ingest import receive
from orchestrator.store import outbox
from orchestrator.store import tables as t
from orchestrator.store.keys import Attempt
from orchestrator.why import why
from tests.outgoing import POLICIES, audit, files, journey, open_store, world_of
from tests.test_concurrent_caps import queue

SECOND = timedelta(seconds=1)


class Slow:
    """A provider to which so many requests go at once, and that takes its time over each."""

    name, medium, rate, resend = "slow", Medium.SMS, None, "never"
    reports = frozenset({EventKind.REPLIED})

    def __init__(self, clock: Any, at_once: int, seconds: float) -> None:
        self.clock, self.batch_size, self.seconds = clock, at_once, seconds
        self.began: list[tuple[datetime, str, str]] = []  # when, attempt, number
        self.lock = threading.Lock()

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        with self.lock:
            self.began += [(self.clock(), one.attempt, one.to["number"]) for one in batch]
        time.sleep(self.seconds)
        for one in batch:
            yield Receipt(one.attempt, "accepted", f"p-{one.attempt}")

    def events(self, inbound: Any) -> list[Event]:
        return []


def clock_of(start: datetime) -> Any:
    """A clock that runs as ours does, from noon of the tests' day on: it is no time of night in Berlin."""
    began = time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - began)


def test_stop_with_two_workers(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivering, "BATCH", 40)
    world = world_of(database_url)
    world.apply(files({"j": journey("j", "- sms: short")}, POLICIES))
    people = world.people(40)
    world.pass_time(minutes=1)
    clock = clock_of(world.now)
    for _ in range(4):
        queue(world, people, "sms", "short", step=f"sms:short{_}")
    slow: Any = Slow(clock, at_once=4, seconds=0.15)
    stores, failed = [open_store(database_url) for _ in range(2)], []

    def work(store: Any) -> None:
        try:
            while True:
                deliver(store, {Medium.SMS: slow}, world.keys, now=clock, worker="w")
                with store.read() as conn:
                    busy, _ = outbox.waiting(conn, clock())
                    left = conn.execute(sa.select(sa.func.count()).where(t.message.c.state == "sending")).scalar_one()
                if not busy and not left:
                    return
                time.sleep(0.02)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while len(slow.began) < 24 and time.monotonic() < until and not failed:
        time.sleep(0.01)
    out = {f"+4917139{i:05}": i for i in people[::2]}
    stopped_at = clock()
    events = [
        Event("", EventKind.REPLIED, stopped_at, f"SM{i}", address=number, text="STOP") for number, i in out.items()
    ]
    with monkeypatch.context():
        receive(world.store, world.keys, events, now=stopped_at)
    took = clock() - stopped_at
    for thread in threads:
        thread.join(120)
    assert not failed and not any(thread.is_alive() for thread in threads), failed

    origins = {m.id: m.origin for m in world.messages()}
    ours = [
        (at, number, m) for at, attempt, number in slow.began if (m := _message(attempt)) and origins[m] == "journey"
    ]
    late = [(at, number) for at, number, _ in ours if number in out and at >= stopped_at + max(SECOND, took)]
    assert late == [], f"begun after the STOP of {stopped_at}"
    before = {m for at, number, m in ours if number in out}
    states = {m.id: (m.state, m.reason) for m in world.messages() if m.origin == "journey"}
    theirs = {m.id for m in world.messages() if m.customer_id in out.values() and m.origin == "journey"}
    ends = {states[m] for m in theirs - before}
    assert ends <= {("cancelled", "suppressed"), ("cancelled", "consent_withdrawn"), ("denied", "suppressed")}, ends
    assert any(state == "cancelled" for state, _ in ends), "some of it was queued and decided"
    assert all(states[m][0] in ("sent", "delivered") for m in before), "what had gone before went"
    others = {m.id for m in world.messages() if m.customer_id not in out.values()}
    assert len(others) == 80 and {states[m] for m in others} == {("sent", None)}, "nobody else is touched"
    confirmed = [m for m in world.messages() if m.origin == "stop_confirmation"]
    assert len(confirmed) == len(out) and {m.state for m in confirmed} == {"sent"}, "each confirmed, once"
    for store in stores:
        store.close()
    for key in (1, 3):
        story = why(world.store, world.keys, f"c{key}", None, now=clock())
        [no] = story.stops
        assert {sent.id for sent in no.before} == {m for m in before if m in {s.id for s in story.others}}
        assert not no.after
    world.now = clock()
    world.store.close()


def _message(attempt: str) -> int:
    found = Attempt.read(attempt)
    assert found is not None
    return found.message_id


def test_a_look_that_took_too_long_is_taken_again(database_url: str, monkeypatch: pytest.MonkeyPatch):
    """Two slow answers of the database; while the second is on its way, the STOP comes."""
    world = world_of(database_url)
    world.apply(files({"j": journey("j", "- sms: short")}, POLICIES))
    people = world.people(2)
    world.pass_time(minutes=1)
    queue(world, people, "sms", "short")
    plain, looks = outbox.last_look, []
    monkeypatch.setattr(delivering, "_FRESH", 0.2)

    def slowly(conn: Any, *given: Any) -> Any:
        looks.append(1)
        found = plain(conn, *given)
        if len(looks) == 2:
            event = Event("", EventKind.REPLIED, world.now, "SM1", address="+491713900001", text="STOP")
            receive(world.store, world.keys, [event], now=world.now)
        if len(looks) <= 2:
            time.sleep(0.25)
        return found

    monkeypatch.setattr(outbox, "last_look", slowly)
    world.deliver()
    assert {m.customer_id: m.state for m in world.messages() if m.origin == "journey"} == {1: "cancelled", 2: "sent"}
    audit(world)
    world.store.close()


def test_with_a_database_that_is_always_so_slow_nothing_goes(database_url: str, monkeypatch: pytest.MonkeyPatch):
    world = world_of(database_url)
    world.apply(files({"j": journey("j", "- sms: short")}, POLICIES))
    queue(world, world.people(2), "sms", "short")
    monkeypatch.setattr(delivering, "_FRESH", 0.0)
    world.deliver(limit=2)
    assert {(m.state, m.reason) for m in world.messages()} == {("planned", "slow_look")} and not world.outbox()
    monkeypatch.undo()
    world.pass_time(minutes=1)
    world.deliver()
    assert world.states() == {"sent": 2}
    audit(world)
    world.store.close()
