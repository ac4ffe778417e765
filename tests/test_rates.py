"""A channel's rate is all workers' together; a provider that asks to wait is left alone by all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import EventKind, Inbound, Medium, Outbound, Receipt, Unavailable
from orchestrator.deliver import deliver
from orchestrator.store import rates
from orchestrator.store import tables as t
from tests.outgoing import NOON, Statements, World, audit, files, journey, open_store, world_of

HELLO = journey("hello", "- email: hello", more="reentry: always")


class Counting:
    """Takes everything, and notes when."""

    name = "counting"
    medium = Medium.EMAIL
    batch_size = 10
    resend: Any = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self.at: list[float] = []
        self.refuses: float | None = None
        self.requests = 0
        self.lock = threading.Lock()

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        with self.lock:
            self.requests += 1
            if self.refuses is not None:
                raise Unavailable("429", self.refuses)
            self.at += [time.monotonic()] * len(batch)
        yield from (Receipt(o.attempt, "accepted", o.attempt) for o in batch)

    def events(self, inbound: Inbound) -> list[Any]:
        return []


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    made.apply(files({"hello": HELLO}))
    yield made
    made.store.close()


def take(world: World, want: int, after: float, rate: float = 10.0, burst: float = 5.0) -> rates.Taken:
    with world.store.write() as conn:
        return rates.take(conn, "x/sms", rate, burst, want, NOON + timedelta(seconds=after))


# ---- the bucket -----------------------------------------------------------------------------------------------------


def test_a_bucket_begins_full_and_fills_by_the_clock(world: World):
    assert take(world, 3, 0) == (3, 0.0)
    assert take(world, 3, 0) == (2, 0.0)
    none, wait = take(world, 3, 0)
    assert none == 0 and 0.1 <= wait <= 0.2
    assert take(world, 3, wait).tokens >= 1
    assert take(world, 100, 3600).tokens == 5, "no more than the burst, however long nobody came"


def test_a_clock_that_is_behind_brings_nothing(world: World):
    assert take(world, 5, 100).tokens == 5
    for _ in range(5):
        assert take(world, 5, 40).tokens == 0
        assert take(world, 5, 100).tokens == 0
    assert take(world, 5, 40).wait >= 60, "it waits until it has caught up"
    assert take(world, 9, 100.3).tokens == 3


def _held_back(conn, now):
    return conn.execute(sa.select(rates.held_back()), {**rates.looked_at(now), "channel": "x/sms"}).scalar_one()


def test_a_clock_that_was_set_wrong_once_stops_nobody_for_good(world: World):
    year = 366 * 86_400.0
    assert take(world, 5, year).tokens == 5
    none, wait = take(world, 5, 0)
    assert none == 0 and wait < 1
    assert take(world, 5, wait).tokens >= 1, "and not in a year"
    with world.store.write() as conn:
        wrong = NOON + timedelta(days=366)
        rates.hold_back(conn, "x/sms", wrong + timedelta(hours=1), wrong)
        assert _held_back(conn, NOON) is None
        assert _held_back(conn, wrong) is not None
        rates.hold_back(conn, "x/sms", NOON + timedelta(minutes=1), NOON)
        assert _held_back(conn, NOON) is not None


def test_what_is_not_used_is_given_back_and_what_is_used_more_is_owed(world: World):
    assert take(world, 5, 0).tokens == 5
    with world.store.write() as conn:
        rates.give_back(conn, "x/sms", 4)
    assert take(world, 9, 0).tokens == 4
    with world.store.write() as conn:
        rates.give_back(conn, "x/sms", -10)
    assert take(world, 9, 1).tokens == 0 and take(world, 9, 1.1).tokens == 1
    with world.store.write() as conn:
        rates.give_back(conn, "x/sms", 1000)
    assert take(world, 9, 1.1).tokens == 5


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('rates')}/rates.db")
    yield store
    store.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asks=st.lists(st.tuples(st.floats(-30, 30), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30),
    rate=st.floats(0.5, 200),
)
def test_never_more_than_the_burst_and_the_rate(one: Any, asks: list[tuple[float, int, int]], rate: float):
    """Whatever clocks say, and whatever is given back: used ≤ burst + rate × (the furthest clock - the first)."""
    burst, used, furthest = max(1.0, rate / 2), 0, 0.0
    now = 0.0
    with one.write() as conn:
        conn.execute(t.rate.delete())
        for step, want, unused in asks:
            now += step
            furthest = max(furthest, now) if used or furthest else now
            taken = rates.take(conn, "x/sms", rate, burst, want, NOON + timedelta(seconds=now)).tokens
            back = min(unused, taken)
            rates.give_back(conn, "x/sms", back)
            used += taken - back
        first = asks[0][0]
    top = max([first, *(sum(a[0] for a in asks[: n + 1]) for n in range(len(asks)))])
    assert used <= burst + rate * (top - first) + 1e-6


# ---- several workers ------------------------------------------------------------------------------------------------


def test_four_workers_keep_one_rate(world: World, database_url: str):
    channel = Counting(rate=60.0)
    world.event(world.people(120))
    world.move()
    with world.store.write() as conn:  # of many small batches, so that they have something to share
        first = conn.execute(sa.select(t.batch)).mappings().one()
        ids = conn.execute(sa.select(t.message.c.id).order_by(t.message.c.id)).scalars().all()
        for n in range(1, 12):
            row = {k: v for k, v in first.items() if k != "id"} | {"size": 10}
            new = conn.execute(t.batch.insert().values(**row).returning(t.batch.c.id)).scalar_one()
            some = t.message.c.id.in_(ids[n * 10 : n * 10 + 10])
            conn.execute(t.message.update().where(some).values(batch_id=new))
        conn.execute(t.batch.update().where(t.batch.c.id == first["id"]).values(size=10))
    stores = [open_store(database_url) for _ in range(4)]
    failed: list[BaseException] = []

    def work(store: Any) -> None:
        try:
            until = time.monotonic() + 60
            deliver(store, {Medium.EMAIL: channel}, world.keys, now=world.now, stop=lambda: time.monotonic() > until)
        except BaseException as error:
            failed.append(error)

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for store in stores:
        store.close()
    assert not failed, failed
    assert world.states() == {"sent": 120}
    at = sorted(channel.at)
    assert at[-1] - begun >= (120 - 30) / 60 - 0.1, "half a second's worth at once, the rest at the rate"
    for n, moment in enumerate(at, 1):  # a worker may dawdle between its leave and its request, never hurry
        assert n <= 30 + 60 * (moment - begun) + 1, "at no moment more than what was there at first and what came"


def test_without_a_rate_there_is_no_statement_for_it(world: World):
    world.event(world.people(3))
    world.move()
    with Statements(world.store.engine) as statements:
        deliver(world.store, {Medium.EMAIL: Counting()}, world.keys, now=world.now)
    own = [s for s in statements.seen if "rate" in s.split() and ("UPDATE" in s.split() or "INTO" in s.split())]
    assert not own and world.one(sa.select(sa.func.count()).select_from(t.rate)) == 0


def test_a_worker_that_waits_for_its_turn_can_be_stopped(world: World):
    channel = Counting(rate=0.01)
    world.event(world.people(2))
    world.move()
    report = deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=world.now, stop=lambda: bool(channel.at))
    assert report.total("sent") == 1 and world.states() == {"sent": 1, "planned": 1}, "it does not wait for its turn"


def test_what_is_refused_takes_nothing_from_the_rate(world: World):
    channel = Counting(rate=4.0)
    people = world.people(5)
    world.consent(people[:3], "email", "offers", "withdraw")
    world.event(people)
    world.move()
    until = time.monotonic() + 60
    deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=world.now, stop=lambda: time.monotonic() > until)
    assert world.states() == {"denied": 3, "sent": 2}


# ---- a provider that asks to wait -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_all_workers_wait_where_one_was_asked_to(world: World, database_url: str, rate: float | None):
    channel, other = Counting(rate), Counting(rate)
    world.event(world.people(25))
    world.move()
    channel.refuses = 120.0
    report = deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=world.now)
    assert channel.requests == 1 and report.problems == ("email by counting is not available: 429",)
    assert set(world.states()) == {"planned"}
    world.event(world.people(1))
    world.move()
    deliver(world.store, {Medium.EMAIL: other}, world.keys, now=world.now)
    world.pass_time(seconds=119)
    deliver(world.store, {Medium.EMAIL: other}, world.keys, now=world.now)
    assert other.requests == 0
    world.pass_time(seconds=1)
    deliver(world.store, {Medium.EMAIL: other}, world.keys, now=world.now)
    assert world.states() == {"sent": 26}


def test_a_worker_in_the_midst_of_its_round_stops_too(world: World):
    """The other was told to wait between two requests of this one: its rest goes back, and is not tried."""
    channel = Counting()
    world.event(world.people(30))
    world.move()
    plain = channel.send

    def send(batch: Sequence[Outbound]) -> Iterator[Receipt]:
        yield from plain(batch)
        with world.store.write() as conn:
            rates.hold_back(conn, "counting/email", world.now + timedelta(minutes=3), world.now)

    channel.send = send  # type: ignore[method-assign]
    deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=world.now)
    assert channel.requests == 1 and world.states() == {"sent": 10, "planned": 20}
    world.pass_time(minutes=3)
    channel.send = plain  # type: ignore[method-assign]
    deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=world.now)
    assert world.states() == {"sent": 30}


def test_a_word_to_wait_is_not_shortened_and_has_an_end(world: World):
    from orchestrator.outcome import asked_for

    for minutes in (10, 2):
        with world.store.write() as conn:
            rates.hold_back(conn, "x/sms", NOON + timedelta(minutes=minutes), NOON)
    [row] = world.rows(sa.select(t.rate))
    assert row.blocked_until == NOON + timedelta(minutes=10)
    assert asked_for(1e12) == timedelta(days=1) and asked_for(-5) == timedelta(0)


# ---- a slow provider ------------------------------------------------------------------------------------------------


class Slow(Counting):
    """A request takes longer than a lease; meanwhile another worker may come."""

    def __init__(self, world: World, seconds: float, meanwhile: Any) -> None:
        super().__init__()
        self.world, self.seconds, self.meanwhile = world, seconds, meanwhile
        self.attempts: list[str] = []

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        self.attempts += [o.attempt for o in batch]
        for n, outbound in enumerate(batch):
            self.world.pass_time(seconds=self.seconds / len(batch))
            if n == len(batch) // 2:
                self.meanwhile()
            yield Receipt(outbound.attempt, "accepted", outbound.attempt)


def test_receipts_that_come_keep_the_lease(world: World, database_url: str):
    """Ten seconds a message, a hundred seconds a request: as long as it tells of some, nobody takes the rest."""
    other = open_store(database_url)
    late = Counting()

    def meanwhile() -> None:
        report = deliver(other, {Medium.EMAIL: late}, world.keys, now=world.now)
        assert report.judged == 0 and not report.counts

    channel = Slow(world, 100, meanwhile)
    world.event(world.people(30))
    world.move()
    deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=lambda: world.now)
    assert world.states() == {"sent": 30} and not late.requests
    other.close()


def test_what_was_not_handed_over_before_the_lease_was_lost_is_known_to_be_unsent(world: World, database_url: str):
    """A silent minute, another worker calls all of it uncertain; the first settles what it knows of, and gives back."""
    other = open_store(database_url)
    late = Counting()

    class Silent(Counting):
        def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
            if not self.requests:
                world.pass_time(seconds=61)
                report = deliver(other, {Medium.EMAIL: late}, world.keys, now=world.now)
                assert report.total("uncertain", "lost_worker") == 30
                assert world.states() == {"uncertain": 30}
            yield from super().send(batch)

    channel = Silent()
    world.event(world.people(30))
    world.move()
    report = deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=lambda: world.now)
    assert report.total("planned", "lost_lease") == 20 and report.total("sent") == 30
    assert world.states() == {"sent": 30} and len(channel.at) == 30 and not late.at
    attempts = sorted(m.attempts for m in world.messages())
    assert attempts == [1] * 10 + [2] * 20
    assert world.one(sa.select(sa.func.count()).select_from(t.reservation)) == 30
    other.close()


def test_what_another_worker_has_decided_anew_is_not_handed_over(world: World, database_url: str):
    """The lease is lost before the first request, and the other plans it again: only its own attempt goes out."""
    from orchestrator import deliver as module

    other = open_store(database_url)
    channel = Counting()
    world.event(world.people(4))
    world.move()
    plain, done = module._Run._hand_over, [False]

    def first_another(run: Any, *rest: Any) -> int:
        if not done[0]:
            done[0] = True
            world.pass_time(seconds=61)
            again = lambda channel, due: True  # noqa: E731
            deliver(other, {Medium.EMAIL: channel}, world.keys, now=world.now, send_again=again)
            assert world.states() == {"sent": 4}
        return plain(run, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._Run, "_hand_over", first_another)
        deliver(world.store, {Medium.EMAIL: channel}, world.keys, now=lambda: world.now)
    assert len(channel.at) == 4 and [m.attempts for m in world.messages()] == [2] * 4
    other.close()


def test_everything_still_adds_up(world: World):
    world.channels[Medium.EMAIL].rate = 200.0
    world.event(world.people(60))
    world.tick()
    audit(world)
    assert world.states() == {"sent": 60}
