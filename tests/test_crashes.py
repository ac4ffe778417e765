"""Any order of verbs, any replays, any crash between two statements or within a request: never twice, never lost.

A crash is an exception that nobody catches: from the n-th statement or commit on the database is gone, or the process
dies while the provider is being spoken to. Then a new process begins, sooner or later than the dead one's lease ends.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import Event, EventKind, Reason
from channels.sandbox import ACCEPT, malformed, rejected, retry, timed_out, unavailable
from orchestrator.advance import advance
from orchestrator.enroll import enroll
from orchestrator.ingest import receive
from orchestrator.model import SETTLED_STATES
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.store.keys import Attempt
from tests.outgoing import POLICIES, Broken, Statements, World, audit, files, journey
from tests.postgres import Postgres

STEPS = """
- first_of: [ { push: ping }, { sms: short } ]
  until: delivered
  within: 1 hour
- wait: 1 hour
- branch:
    - if: count(bought) >= 1
      steps: [ { email: second } ]
    - else: [ { email: hello } ]
- emit: left
  properties: { why: done }
- mail: letter
"""
FOLLOWS = "- email: town\n- task: sales\n  message: Call {{ customer.first_name }}\n- wait: 2 days\n- email: second"
JOURNEYS = {
    "main": journey("main", STEPS, more="reentry: always\npriority: 70\ngoal: { event: bought, within: 30 days }"),
    "after": journey("after", FOLLOWS, "{ event: left }", "reentry: always\nexit_when: [ { event: bought } ]"),
}
LIMITS = "  caps:\n    - 2 per day across email, sms, push\n  dedupe: same address and same content within 2 hours\n"
TEXTS = files(JOURNEYS, POLICIES + LIMITS)
ACTS = {
    "taken": ACCEPT,
    "rejected": rejected(Reason.CONTENT),
    "bad address": rejected(Reason.UNKNOWN_ADDRESS),
    "retry": retry(),
    "no answer, taken": timed_out(True),
    "no answer, not taken": timed_out(False),
    "away": unavailable(30.0),
    "unreadable": malformed(),
}


class Died(BaseException):
    """The process is gone while it speaks to the provider."""


@dataclass
class Scene:
    """A world whose process can die, and a second pair of eyes on its database."""

    world: World
    watcher: Store
    acts: list[str]
    dies_at: int | None = None
    calls: int = 0
    seen: set[str] = field(default_factory=set)

    def behave(self, outbound: Any, number: int) -> Any:
        """What the provider does. What reaches it must have been decided and committed: another connection looks."""
        attempt = Attempt.read(outbound.attempt)
        assert attempt is not None
        with self.watcher.read() as conn:
            state = conn.execute(sa.select(t.message.c.state).where(t.message.c.id == attempt.message_id)).scalar_one()
            allowed = conn.execute(
                sa.select(sa.func.count()).where(
                    t.log.c.message_id == attempt.message_id,
                    t.log.c.attempt == attempt.number,
                    t.log.c.kind == "decision",
                    t.log.c.verdict == "allow",
                )
            ).scalar_one()
        assert state == "sending" and allowed == 1, (outbound.attempt, state, allowed)
        self.calls += 1
        if self.dies_at is not None and self.calls > self.dies_at:
            raise Died
        return ACTS[self.acts[self.calls % len(self.acts)]] if self.acts else ACCEPT


@contextmanager
def scene(url: str, acts: list[str]) -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="outbox-"))
    store, watcher = Store.open(url), Store.open(url)
    world = World(store, folder, batch_size=7)
    made = Scene(world, watcher, acts)
    world.behaviour = made.behave
    try:
        yield made
    finally:
        store.close()
        watcher.close()
        shutil.rmtree(folder, ignore_errors=True)


# ---- what may happen ------------------------------------------------------------------------------------------------

_VERBS = (
    "tick",
    "deliver",
    "move",
    "tick",
    "deliver",
    "minute",
    "enroll",
    "advance",
    "hear",
    "buy",
    "withdraw",
    "time",
)
_action = st.tuples(
    st.sampled_from(_VERBS),
    st.integers(0, 30),  # how much, how long, whom
    st.none() | st.integers(0, 60),  # the database is gone behind so many statements
    st.none() | st.integers(0, 9),  # the process dies at that message
)
_story = st.tuples(
    st.lists(st.sampled_from(sorted(ACTS)), max_size=6),
    st.lists(_action, min_size=6, max_size=16),
    st.integers(3, 9),
)


def _hear(world: World, n: int) -> None:
    """Feedback on some of what went out, some of it twice."""
    kinds = (EventKind.DELIVERED, EventKind.OPENED, EventKind.BOUNCED, EventKind.UNSUBSCRIBED, EventKind.DEFERRED)
    events = [Event(k.attempt, kinds[(i + n) % len(kinds)], world.now) for i, k in enumerate(world.outbox())]
    receive(world.store, world.keys, events + events[:3], now=world.now)


def _act(world: World, people: list[int], verb: str, n: int) -> None:
    match verb:
        case "enroll":
            enroll(world.store, now=world.now)
        case "advance":
            advance(world.store, now=world.now, batch=5, reports={m: c.reports for m, c in world.channels.items()})
        case "deliver":
            world.deliver()
        case "hear":
            _hear(world, n)
        case "buy":
            world.event(people[: n % 3], "bought", order_id=f"o{n}", amount=100, amount_currency="EUR")
        case "withdraw":
            world.consent(people[n % len(people) :][:1], ("email", "sms", "push")[n % 3], "offers", "withdraw")
        case "move":
            world.move()
        case "minute":
            world.pass_time(seconds=61)
        case "time":
            world.pass_time(seconds=(1, 30, 61, 3600, 7300, 43200)[n % 6])
        case "tick":
            world.tick(2)
            world.pass_time(seconds=61)


def _play(made: Scene, story: tuple[list[str], list[tuple[str, int, int | None, int | None]], int]) -> Counter[str]:
    _, actions, count = story
    world = made.world
    people = world.people(count)
    world.event(people)
    met: Counter[str] = Counter()
    with Statements(world.store.engine) as statements:
        for verb, n, gone_behind, dies_at in actions:
            statements.break_after(gone_behind)
            made.dies_at = None if dies_at is None else made.calls + dies_at
            try:
                _act(world, people, verb, n)
            except (Broken, Died) as end:
                met[type(end).__name__] += 1
            statements.break_after(None)
            made.dies_at = None
            audit(world)
    return met


def _finish(world: World) -> None:
    """New workers, no more faults, and time enough for every wait."""
    made = world.behaviour
    assert made is not None
    scene_of: Scene = made.__self__  # type: ignore[attr-defined]
    scene_of.acts = []
    for _ in range(10):
        world.pass_time(hours=13)
        world.tick(4)
    audit(world)


def _accounted(world: World) -> None:
    messages = world.messages()
    assert {m.state for m in messages} <= SETTLED_STATES
    runs = world.rows(sa.select(t.enrollment))
    asleep = [r for r in runs if r.ended_at is None and (r.wake_at is None or r.wake_at <= world.now)]
    assert not asleep, f"neither ended nor waiting: {asleep}"
    assert all(r.ended_at is not None for r in runs), "no journey here takes longer"
    out = {a.message_id for k in world.outbox() if (a := Attempt.read(k.attempt))}
    by_state = Counter(m.state for m in messages)
    handed = sum(n for s, n in by_state.items() if s in ("sent", "delivered", "bounced"))
    unsent = sum(n for s, n in by_state.items() if s in ("denied", "expired", "cancelled", "failed"))
    assert handed + unsent + by_state["uncertain"] == len(messages)
    for m in messages:
        if m.state in ("denied", "expired", "cancelled"):
            assert m.id not in out, f"message {m.id} is {m.state} and went out"
        if m.state in ("sent", "delivered", "bounced"):
            assert m.id in out
    assert all(b.done_at and not b.lease_owner for b in world.rows(sa.select(t.batch)))


def _tell(fresh: Callable[[], Any], story: Any) -> None:
    with fresh() as url, scene(url, story[0]) as made:
        _play(made, story)
        _finish(made.world)
        _accounted(made.world)


# ---- on both databases ----------------------------------------------------------------------------------------------


def _prepare(url: str) -> None:
    store = Store.open(url, create=True)
    store.migrate()
    world = World(store, Path(tempfile.gettempdir()))
    world.apply(TEXTS)
    store.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prepared") / "prepared.db"
    _prepare(f"sqlite:///{path}")
    store = Store.open(f"sqlite:///{path}")
    with store.engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        conn.rollback()
    store.close()
    return path


@pytest.mark.slow
@settings(max_examples=30)
@given(story=_story)
def test_never_twice_never_lost_sqlite(prepared: Path, story: Any):
    @contextmanager
    def fresh() -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(prepared, f"{folder}/test.db")
            yield f"sqlite:///{folder}/test.db"

    _tell(fresh, story)


@pytest.mark.slow
@settings(max_examples=12)
@given(story=_story)
def test_never_twice_never_lost_postgresql(postgres: Postgres, story: Any):
    template = postgres.template("crashes", _prepare)
    _tell(lambda: postgres.fresh_database(template), story)


@pytest.mark.slow
def test_a_crash_at_every_statement_of_a_delivery(prepared: Path):
    """One after the other: whichever statement is the last, nobody gets anything twice and nothing is forgotten."""
    ends: Counter[str] = Counter()
    for n in range(0, 200, 1):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(prepared, f"{folder}/test.db")
            with scene(f"sqlite:///{folder}/test.db", []) as made:
                world = made.world
                world.event(world.people(9))
                world.move()
                with Statements(world.store.engine) as statements:
                    statements.break_after(n)
                    try:
                        world.deliver()
                        done = True
                    except Broken:
                        done = False
                    statements.break_after(None)
                audit(world)
                ends.update(world.states())
                world.pass_time(seconds=61)
                world.deliver()
                audit(world)
                assert set(world.states()) <= {"sent", "uncertain"}
                assert world.states()["uncertain"] <= 9
                if done:
                    break
    else:
        raise AssertionError("a delivery has no two hundred statements")
    assert ends["planned"] and ends["sending"] and ends["sent"], ends
