"""The kill switch and the error rate: nothing goes out behind a pause, whoever made it, however many workers run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium, Reason
from channels.sandbox import ACCEPT, rejected, timed_out
from orchestrator.advance import advance
from orchestrator.deliver import deliver
from orchestrator.store import tables as t
from orchestrator.store import versions
from orchestrator.tick import tick
from tests.outgoing import POLICIES, World, audit, files, journey, open_store, world_of

HELLO = journey("hello", "- email: hello")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url, batch_size=2)
    yield made
    audit(made)
    made.store.close()


def pause(world: World, scope: str = "*", reason: str = "a wrong price") -> Any:
    """As another process does it, while this one is under way; what the provider answers meanwhile."""
    with world.store.write() as conn:
        versions.pause(conn, scope, by="mara", reason=reason, now=world.now)
    return ACCEPT


def resume(world: World, scope: str = "*") -> None:
    with world.store.write() as conn:
        versions.resume(conn, scope, by="mara", now=world.now)


# ---- the kill switch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["*", "hello"])
def test_a_pause_between_two_requests_stops_the_second(world: World, scope: str):
    """One batch of seven is four requests; the pause comes during the first."""
    world.apply(files({"hello": HELLO}))
    world.event(world.people(7))
    world.move()

    def pause_during_the_first(outbound, number):
        if number == 1:
            pause(world, scope)
        return ACCEPT

    world.behaviour = pause_during_the_first
    report = world.deliver()
    assert report.total("allow") == 7 and report.total("sent") == 2
    assert len(world.outbox()) == 2
    assert world.states() == {"sent": 2, "planned": 5}
    assert {m.reason for m in world.messages() if m.state == "planned"} == {"paused"}
    assert world.deliver().judged == 0, "nothing is even judged while it is paused"
    resume(world, scope)
    world.behaviour = None
    assert world.deliver().total("sent") == 5
    assert len(world.outbox()) == 7


def test_what_no_journey_says_stops_too(world: World):
    world.apply(files({"hello": HELLO}))
    world.event(world.people(4))
    world.move()
    with world.store.write() as conn:
        conn.execute(t.message.update().values(journey=None, enrollment_id=None, origin="test"))
    world.behaviour = lambda outbound, number: pause(world)
    assert world.deliver().total("sent") == 2
    resume(world)
    world.behaviour = None
    assert world.deliver().total("sent") == 2


def test_every_worker_stops_before_its_next_request(database_url: str):
    world = world_of(database_url, batch_size=2)
    world.apply(files({"hello": HELLO}))
    for _ in range(3):  # a batch for each worker
        world.event(world.people(6))
        world.move()
        world.pass_time(minutes=1)
    inside, go_on = threading.Semaphore(0), threading.Event()

    def in_a_request(outbound, number):
        inside.release()
        assert go_on.wait(60)
        return ACCEPT

    world.behaviour = in_a_request

    def work(n: int) -> None:
        store = open_store(database_url)
        # Six at a time: a worker takes one batch, and leaves the others to the others.
        deliver(store, {Medium.EMAIL: world.channels[Medium.EMAIL]}, world.keys, now=world.now, worker=f"w{n}", limit=6)
        store.close()

    workers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for worker in workers:  # one after the other: two that lease at one moment may find nothing left
        worker.start()
        assert inside.acquire(timeout=60), "a worker never came to its request"
    pause(world)
    go_on.set()
    for worker in workers:
        worker.join(60)
    assert len(world.outbox()) <= 6, "each worker may end the one request it was in"
    assert world.states()["planned"] == 18 - len(world.outbox())
    resume(world)
    world.behaviour = None
    world.deliver()
    assert len(world.outbox()) == 18
    audit(world)
    world.store.close()


def test_nobody_moves_on_behind_a_pause(world: World):
    """Between two batches of moves, which is the next thing a tick looks at."""
    world.apply(files({"hello": HELLO}))
    world.event(world.people(6))
    from orchestrator.enroll import enroll

    enroll(world.store, now=world.now)
    asked = []

    def pause_before_the_second() -> bool:
        asked.append(1)
        if len(asked) == 2:
            pause(world)
        return False

    assert advance(world.store, now=world.now, batch=2, stop=pause_before_the_second).moved == 2
    resume(world)
    assert advance(world.store, now=world.now).moved == 4


def test_a_tick_under_way_ends_with_nothing_more_done(world: World):
    """Everything of a tick behind the pause: moves of the next round, the other media, the journeys planned next."""
    steps = "- email: hello\n- sms: short\n- email: second"
    world.apply(files({"hello": journey("hello", steps)}))
    world.event(world.people(2))
    world.behaviour = lambda outbound, number: pause(world)

    def once() -> dict[str, int]:
        channels: Any = world.channels
        report = tick(world.store, channels, world.keys, clock=lambda: world.now, budget_seconds=60, worker="w")
        assert report.finished
        return report.by_verdict()

    assert once() == {"sent": 2}
    assert once() == {}
    assert {k.medium for k in world.outbox()} == {Medium.EMAIL}
    resume(world)
    world.behaviour = None
    world.pass_time(minutes=1)
    assert once() == {"sent": 4}


def test_who_paused_when_and_why_is_on_the_record(world: World):
    world.apply(files({"hello": HELLO}))
    pause(world, reason="the shop is down")
    with world.store.read() as conn:
        row = versions.pauses(conn)["*"]
    assert (row["by"], row["reason"], row["paused_at"]) == ("mara", "the shop is down", world.now)
    world.pass_time(hours=1)
    resume(world)
    lines = world.rows(sa.select(t.log).where(t.log.c.kind == "operation").order_by(t.log.c.id))
    assert [(line.verdict, line.at) for line in lines] == [
        ("paused", world.now - timedelta(hours=1)),
        ("resumed", world.now),
    ]
    assert b'"by":"mara"' in lines[0].body and b'"scope":"*"' in lines[0].body


# ---- too many errors ------------------------------------------------------------------------------------------------

CAREFUL = POLICIES + "  pause_if: errors > 20% of last 10\n"


@pytest.mark.parametrize("what", [rejected(Reason.CONTENT), timed_out()], ids=["refused", "uncertain"])
def test_errors_stop_a_journey_between_two_requests(world: World, what):
    """Three of the last ten: the fourth request is not made."""
    world.apply(files({"hello": HELLO}, CAREFUL))
    world.event(world.people(10))
    world.move()
    world.behaviour = lambda outbound, number: what
    report = world.deliver()
    assert report.paused == ("hello",)
    states = world.states()
    assert states["planned"] == 10 - 4 and states["failed"] + states["uncertain"] == 4
    [line] = world.rows(sa.select(t.log).where(t.log.c.kind == "operation"))
    assert (line.verdict, b'"by":"orchestrator"' in line.body) == ("paused", True)
    assert "4 of the last 10" in line.reason


def test_errors_of_two_workers_are_counted_together(world: World):
    """Two failures each, settled at the same time: neither saw the other's, and together they are too many."""
    world.apply(files({"hello": HELLO}, CAREFUL))
    world.event(world.people(2))
    world.move()
    world.pass_time(minutes=1)
    world.event(world.people(2))
    world.move()
    world.behaviour = lambda outbound, number: rejected(Reason.CONTENT)
    from orchestrator.ingest import pause_failing as plain

    settled: list[int] = []

    def blind_while_settling(conn, names, now):
        """What PostgreSQL shows each of them: nothing of the other's transaction."""
        settled.append(1)
        return plain(conn, names, now) if len(settled) % 2 == 0 else ()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.deliver.pause_failing", blind_while_settling)
        assert world.deliver(worker="one", limit=2).paused == ()
        assert world.deliver(worker="two", limit=2).paused == ("hello",)


def test_a_journey_that_works_is_not_stopped_by_another(world: World):
    world.apply(files({"hello": HELLO, "other": journey("other", "- email: second", "{ event: left }")}, CAREFUL))
    ids = world.people(5)
    world.event(ids)
    world.event(ids, "left")
    world.move()
    world.behaviour = lambda outbound, number: (
        rejected(Reason.CONTENT) if outbound.template.endswith("hello") else ACCEPT
    )
    assert world.deliver().paused == ("hello",)
    with world.store.read() as conn:
        assert set(versions.pauses(conn)) == {"hello"}
