"""Whatever a provider does, wherever the process dies, however often it is reconciled: never twice, each accounted for.

A provider of texts that takes them and then times out, resets, answers what cannot be read, or whose caller dies; it
can be asked later, and sometimes answers. Marketing is never accepted twice; what somebody waits for at most as often
as its topic allows; and every message planned is sent, refused or settled.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import Event, EventKind, Medium
from orchestrator.deliver import deliver
from orchestrator.ingest import receive
from orchestrator.model import SETTLED_STATES
from orchestrator.reconcile import reconcile
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.store.keys import Attempt
from tests import asked
from tests.outgoing import Broken, Statements, World, open_store
from tests.postgres import Postgres
from tests.test_reconcile import AGAIN, Died, Traced, audit_log, texts

RESENDS = 2
HOW = ("taken", "taken", "taken, no answer", "no answer", "taken, malformed", "malformed", "taken, died", "died",
       "away", "refused")  # fmt: skip
ANSWERS = ("all", "some", "none", "away")

_action = st.tuples(
    st.sampled_from(("send", "send", "ask", "ask twice", "hear", "more", "time", "time", "no")),
    st.integers(0, 20),
    st.none() | st.integers(0, 40),  # the database is gone behind so many statements
)
_story = st.tuples(
    st.lists(st.sampled_from(HOW), min_size=1, max_size=7),
    st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4),
    st.lists(_action, min_size=5, max_size=18),
)


def send(world: World, channel: Traced) -> None:
    world.move()
    deliver(world.store, {Medium.SMS: channel}, world.keys, now=lambda: world.now, public_url="https://small.example")


def ask(world: World, channel: Traced) -> None:
    reconcile(world.store, {Medium.SMS: channel}, world.keys, now=world.now, public_url="https://small.example")


def act(world: World, channel: Traced, people: list[int], verb: str, n: int) -> None:
    match verb:
        case "send":
            send(world, channel)
        case "ask":
            ask(world, channel)
        case "ask twice":
            ask(world, channel)
            ask(world, channel)
        case "hear":
            kinds = (EventKind.DELIVERED, EventKind.ACCEPTED, EventKind.FAILED)
            taken = sorted(channel.taken)[n % 3 :: 3]
            receive(world.store, world.keys, [Event(a, kinds[n % 3], world.now) for a in taken], now=world.now)
        case "more":
            world.event(people[n % len(people) :][:2])
            world.event(people[:1], "bought", order_id=f"o{n}", amount=100, amount_currency="EUR")
        case "time":
            world.pass_time(seconds=(61, 301, 601, 1300, 4000, 90_000)[n % 6])
        case "no":
            world.consent(people[n % len(people) :][:1], "sms", "offers", "withdraw")


def check(world: World, channel: Traced) -> None:
    """What holds at any time."""
    messages = {m.id: m for m in world.messages()}
    accepted = Counter(a.message_id for name in channel.taken if (a := Attempt.read(name)))
    for message_id, n in accepted.items():
        most = 1 if messages[message_id].purpose == "marketing" else 1 + RESENDS
        assert n <= most, f"message {message_id} ({messages[message_id].purpose}) was accepted {n} times"
    audit_log(world)
    kept = {r.message_id for r in world.rows(sa.select(t.reservation.c.message_id))}
    for m in messages.values():
        if m.state in ("sending", "sent", "delivered", "uncertain"):
            assert m.id in kept, (m.id, m.state)
        if m.state in ("planned", "denied", "expired", "cancelled"):
            assert m.id not in kept, (m.id, m.state)
        if m.state in ("sent", "delivered"):
            assert accepted[m.id], f"message {m.id} is {m.state}, and nobody took it"


def finish(world: World, channel: Traced) -> None:
    """No more faults; all the time that anything may wait for."""
    channel.how, channel.answers = [], "all"
    for _ in range(8):
        world.pass_time(hours=13)
        for _ in range(2):
            send(world, channel)
            ask(world, channel)
    check(world, channel)
    states = Counter(m.state for m in world.messages())
    assert set(states) <= SETTLED_STATES - {"uncertain"}, states
    accepted = {a.message_id for name in channel.taken if (a := Attempt.read(name))}
    for m in world.messages():
        if m.purpose == "marketing" and m.state in ("denied", "expired", "cancelled"):
            assert m.id not in accepted, f"message {m.id} is {m.state} and went out"


def tell(url: str, story: Any) -> None:
    how, answers, actions = story
    folder = Path(tempfile.mkdtemp(prefix="outbox-"))
    world = World(Store.open(url), folder)
    channel = Traced(how=list(how))
    try:
        people = world.people(5)
        world.event(people)
        world.event(people[:2], "bought", order_id="o", amount=100, amount_currency="EUR")
        with Statements(world.store.engine) as statements:
            for k, (verb, n, gone_behind) in enumerate(actions):
                channel.answers = answers[k % len(answers)]
                statements.break_after(gone_behind)
                with suppress(Broken, Died):
                    act(world, channel, people, verb, n)
                statements.break_after(None)
                check(world, channel)
        finish(world, channel)
    finally:
        world.store.close()
        shutil.rmtree(folder, ignore_errors=True)


def prepare(url: str) -> None:
    store = open_store(url)
    World(store, Path(tempfile.gettempdir())).apply(texts(AGAIN))
    store.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prepared") / "prepared.db"
    prepare(f"sqlite:///{path}")
    store = Store.open(f"sqlite:///{path}")
    with store.engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        conn.rollback()
    store.close()
    return path


@pytest.mark.slow
@settings(max_examples=20)
@given(story=_story)
def test_never_twice_sqlite(prepared: Path, story: Any):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(prepared, f"{folder}/test.db")
        tell(f"sqlite:///{folder}/test.db", story)


@pytest.mark.slow
@settings(max_examples=5)
@given(story=_story)
def test_never_twice_postgresql(postgres: Postgres, story: Any):
    with postgres.fresh_database(postgres.template("twice", prepare)) as url:
        tell(url, story)


@pytest.mark.slow
def test_reconcilers_and_workers_at_once_kill_after_kill(database_url: str, tmp_path: Path):
    """Workers die by SIGKILL between acceptance and record; others ask and send meanwhile, three at a time."""
    prepare(database_url)
    world = World(open_store(database_url), tmp_path)
    people = world.people(120)
    world.event(people)
    world.event(people[:40], "bought", order_id="o", amount=100, amount_currency="EUR")
    world.move()
    world.store.close()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.asked"])
    chance = random.Random(7)
    died = 0
    begun = time.monotonic()
    while died < 8 and time.monotonic() - begun < 120:
        world.pass_time(minutes=6)
        workers = [
            context.Process(target=asked.work, args=(database_url, str(tmp_path), world.now, chance.random()))
            for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + 60
        seen = asked.count(tmp_path)
        while asked.count(tmp_path) < seen + 3 and time.monotonic() < deadline and any(w.is_alive() for w in workers):
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.1))
        for worker in workers:
            died += worker.is_alive()
            worker.kill()
            worker.join(10)
    assert died >= 4, "too few were at work when they were killed"
    for _ in range(12):
        world.pass_time(hours=7)
        asked.rounds(world.store, tmp_path, world.now, 0.0)
    accepted = Counter(a.message_id for name in asked.taken(tmp_path) if (a := Attempt.read(name)))
    messages = {m.id: m for m in world.messages()}
    assert len(messages) == 160 and {m.state for m in messages.values()} <= {"sent", "failed"}
    for message_id, n in accepted.items():
        assert n <= (1 if messages[message_id].purpose == "marketing" else 1 + RESENDS), (message_id, n)
    assert all(accepted[m.id] for m in messages.values() if m.state == "sent")
    audit_log(world)
    world.store.close()
