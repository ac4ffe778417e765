"""Everything at once: several workers of every verb, on both databases, and still each message once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Event, EventKind
from orchestrator import advance as advancing
from orchestrator import engine
from orchestrator.advance import advance
from orchestrator.deliver import deliver
from orchestrator.enroll import enroll
from orchestrator.ingest import receive, record_events
from orchestrator.store import Store
from orchestrator.store import journeys as running
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, audit, files, journey, open_store, world_of

STEPS = (
    "- email: hello\n- update: { customer.town: Ulm }\n- emit: left\n  properties: { why: done }\n"
    "- first_of: [ { push: ping }, { sms: short } ]\n  until: delivered\n  within: 1 hour\n- email: second"
)
TEXTS = files(
    {
        "main": journey("main", STEPS, more="reentry: always\nexit_when: [ { event: bought } ]"),
        "after": journey("after", "- email: town\n- mail: letter", "{ event: left }", "reentry: always"),
    },
    POLICIES
    + "  caps:\n    - 3 per day across email, sms, push\n  dedupe: same address and same content within 2 hours\n",
)


@pytest.mark.slow
def test_all_verbs_at_once(database_url: str):
    world = world_of(database_url, batch_size=20)
    world.apply(TEXTS)
    people = world.people(150)
    world.event(people)
    stores = [open_store(database_url) for _ in range(5)]
    failed: list[BaseException] = []
    until = time.monotonic() + 6

    def loop(store: Store, work: Callable[[Store], Any]) -> None:
        try:
            while time.monotonic() < until and not failed:
                work(store)
        except BaseException as error:
            failed.append(error)

    def move(store: Store) -> None:
        enroll(store, now=world.now)
        advance(store, now=world.now, batch=17, reports={m: c.reports for m, c in world.channels.items()})

    def send(store: Store) -> None:
        deliver(store, world.channels, world.keys, now=world.now, worker="w")

    def hear(store: Store) -> None:
        kinds = (EventKind.DELIVERED, EventKind.OPENED, EventKind.BOUNCED, EventKind.UNSUBSCRIBED)
        events = [Event(k.attempt, kinds[i % 4], world.now) for i, k in enumerate(world.outbox()[::3])]
        receive(store, world.keys, events, now=world.now)
        some = World(store, world.folder)
        some._events = int(time.monotonic() * 1e6)
        some.event(people[::29], "bought", order_id="o", amount=100, amount_currency="EUR")
        some.event(people[::7])

    works = [move, move, send, send, hear]
    threads = [threading.Thread(target=loop, args=pair) for pair in zip(stores, works, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    for store in stores:
        store.close()
    audit(world)
    for _ in range(4):
        world.pass_time(hours=7)
        world.tick(4)
    audit(world)
    open_runs = world.one(sa.select(sa.func.count()).where(t.enrollment.c.ended_at.is_(None)))
    states = Counter(m.state for m in world.messages())
    assert open_runs == 0 and states["sent"] + states["delivered"] > 100, (open_runs, states)
    assert not states["planned"] and not states["sending"] and not states["uncertain"], states
    world.store.close()


def test_who_is_moved_while_an_event_comes_in_is_woken_all_the_same(database_url: str, monkeypatch: pytest.MonkeyPatch):
    """The mover has read its facts and not yet committed; the event is stored, and somebody wakes for it. Not lost."""
    world = world_of(database_url)
    waits = "{ event: bought, timeout: 9 days, then: [ { email: hello } ] }"
    world.apply(files({"j": journey("j", f"- wait_for: {waits}")}))
    people = world.people(1)
    world.event(people)
    enroll(world.store, now=world.now)
    other = open_store(database_url)
    begun = threading.Event()
    threads: list[threading.Thread] = []
    plain = running.move

    def buy_and_wake() -> None:
        row = {"type": "bought", "key": "b", "customer_id": people[0], "account_id": None, "occurred_at": world.now}
        if other.dialect == "sqlite":  # one writer: it comes behind the mover, whatever it does
            begun.set()
        with other.write() as conn:
            record_events(conn, [{**row, "properties": {}}], now=world.now)
        with other.write() as conn:
            begun.set()
            advancing._woken(conn, world.now)

    def move(conn, rows):
        if not threads:
            threads.append(threading.Thread(target=buy_and_wake))
            threads[0].start()
            assert begun.wait(60)
            time.sleep(0.3)
        return plain(conn, rows)

    monkeypatch.setattr(running, "move", move)
    with world.store.write() as conn:
        advancing._batch(conn, {}, 10, world.now)
    threads[0].join(30)
    due = sa.and_(t.enrollment.c.ended_at.is_(None), t.enrollment.c.wake_at <= world.now)
    assert world.one(sa.select(sa.func.count()).where(due)) == 1
    assert world.tick()["sent"] == 1
    other.close()
    world.store.close()


def test_a_fault_in_one_run_stops_nobody_else(database_url: str, monkeypatch: pytest.MonkeyPatch):
    world = world_of(database_url)
    world.apply(files({"j": journey("j", "- email: hello")}))
    people = world.people(3)
    world.event(people)
    plain = engine.advance

    def odd(pinned, run, facts, now):
        if run.unit_id == people[1]:
            raise ZeroDivisionError
        return plain(pinned, run, facts, now)

    monkeypatch.setattr(engine, "advance", odd)
    assert world.tick()["sent"] == 2
    [line] = world.rows(sa.select(t.trace).where(t.trace.c.what == "parked"))
    assert line.detail == {"because": "fault", "error": "ZeroDivisionError"}
    monkeypatch.undo()
    world.apply(files({"j": journey("j", "- email: hello\n- email: second")}))
    assert world.tick()["sent"] == 1, "an apply tries it again"
    world.store.close()
