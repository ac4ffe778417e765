"""Points with several workers at once, and whole histories against a second, simpler way of counting them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import earn
from orchestrator.accrue import accrue
from orchestrator.dates import add_months
from orchestrator.earn import Award
from orchestrator.store import Store
from orchestrator.store import tables as t
from tests.outgoing import NOON, open_store
from tests.points_world import Shop

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def shop(migrated_url: str) -> Iterator[Shop]:
    made = Shop(migrated_url)
    yield made
    made.close()


# ---- at once --------------------------------------------------------------------------------------------------------


def at_once(url: str, works: Sequence[Any]) -> list[Any]:
    """Each with a connection of its own, beginning at the same moment; what they return, or what they raise."""
    start = threading.Barrier(len(works))
    found: list[Any] = [None] * len(works)

    def run(n: int) -> None:
        store = open_store(url)
        try:
            start.wait(30)
            found[n] = works[n](store)
        except BaseException as error:
            found[n] = error
        finally:
            store.close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    raised = [error for error in found if isinstance(error, BaseException)]
    assert not raised, raised
    return found


def test_one_balance_is_spent_once(shop: Shop, migrated_url: str):
    ann, bob = shop.world.people(2)
    shop.award(Award("a", "customer", ann, 100), Award("b", "customer", bob, 1_000))

    def spends(n: int) -> Any:
        some = [Award(f"s{n}:{i}", "customer", ann, 10, "spend") for i in range(5)]
        # The same of another, in the other order for every second: they must not wait for one another in a circle.
        other = [Award(f"t{n}:{i}", "customer", bob, 10, "spend") for i in range(5)]
        pairs = zip(some, other, strict=True)
        mixed = [a for pair in pairs for a in (pair if n % 2 else pair[::-1])]

        def work(store: Store) -> list[str]:
            found: list[str] = []
            for k in range(5):
                two = mixed[2 * k : 2 * k + 2]
                found += store.written(partial(earn.award, project=shop.project, awards=two, now=NOON))
            return found

        return work

    keys = [key for some in at_once(migrated_url, [spends(n) for n in range(6)]) for key in some]
    assert len(keys) == len(set(keys))
    assert sum(key.startswith("s") for key in keys) == 10 and sum(key.startswith("t") for key in keys) == 30
    assert shop.points(ann) == (0, 0) and shop.points(bob) == (700, 0)


def test_the_same_key_by_several(shop: Shop, migrated_url: str):
    people = shop.world.people(2)

    def give(store: Store) -> Any:
        wanted = [Award(f"welcome:{who}", "customer", who, 50) for who in people]
        return store.written(lambda conn: earn.award(conn, shop.project, wanted, NOON))

    given_ = at_once(migrated_url, [give] * 6)
    assert sum(len(keys) for keys in given_) == 2 and [shop.points(who) for who in people] == [(50, 0)] * 2


def test_looks_beside_spends(shop: Shop, migrated_url: str):
    [ann] = shop.world.people(1)
    for n in range(20):
        shop.buys(ann, 1_000, f"o{n}")
        shop.returns(ann, 300, f"o{n}")

    def spend(n: int) -> Any:
        def work(store: Store) -> int:
            wanted = [Award(f"s{n}:{i}", "customer", ann, 3, "spend") for i in range(10)]
            return len(store.written(lambda conn: earn.award(conn, shop.project, wanted, shop.now)))

        return work

    done = at_once(migrated_url, [lambda store: accrue(store, now=shop.now).points, spend(1), spend(2), spend(3)])
    assert done[0] == 40
    assert shop.points(ann) == (140 - 3 * sum(done[1:]), 0)


# ---- histories ------------------------------------------------------------------------------------------------------

ORDERS = ["a", "b", "c"]
MINOR = st.integers(0, 5_000)
DAYS = st.integers(0, 60)
DEEDS = st.one_of(
    st.tuples(st.just("buys"), DAYS, st.integers(0, 1), MINOR, st.sampled_from(ORDERS)),
    st.tuples(st.just("returns"), DAYS, st.integers(0, 1), MINOR, st.sampled_from(ORDERS)),
    st.tuples(st.just("visits"), DAYS, st.integers(0, 1), st.just(0), st.just("")),
    st.tuples(st.just("award"), DAYS, st.integers(0, 1), st.integers(1, 50), st.sampled_from(ORDERS)),
    st.tuples(st.just("deduct"), DAYS, st.integers(0, 1), st.integers(1, 50), st.sampled_from(ORDERS)),
    st.tuples(st.just("spend"), DAYS, st.integers(0, 1), st.integers(1, 50), st.sampled_from(ORDERS)),
)
LOOKS = st.sets(DAYS, max_size=5)


class Second:
    """One person's points, counted in a way that has nothing in common with the ledger's: each point on its own."""

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []
        self.owed = 0
        self.keys: set[str] = set()
        self.bought: dict[str, list[tuple[int, list[dict[str, Any]]]]] = {order: [] for order in ORDERS}
        self.refunds: dict[str, list[int]] = {order: [] for order in ORDERS}

    def pass_to(self, now: datetime) -> None:
        """Point by point in the order of time: what becomes active fills what is owed, what is over goes."""
        moments = {p["active"] for p in self.points} | {p["end"] for p in self.points}
        for at in sorted(m for m in moments if m <= now):
            for p in self.points:
                if p["state"] in ("pending", "active") and p["end"] <= at:
                    p["state"] = "expired"
            for p in self.points:
                if p["state"] == "pending" and p["active"] <= at:
                    p["state"] = "active"
                    if self.owed:
                        p["state"], self.owed = "gone", self.owed - 1

    def gain(self, amount: int, at: datetime, pending: int = 0) -> list[dict[str, Any]]:
        active = at + timedelta(days=pending)
        last = add_months(active.astimezone(BERLIN).date(), 1)
        end = datetime.combine(last + timedelta(days=1), time(), BERLIN).astimezone(UTC)
        new = [{"active": active, "end": end, "state": "pending", "n": len(self.points) + n} for n in range(amount)]
        self.points += new
        self.pass_to(at)
        return new

    def lose(self, amount: int, own: Sequence[dict[str, Any]] = ()) -> None:
        for _ in range(amount):
            mine = [p for p in own if p["state"] in ("pending", "active")] or [
                p for p in own if p["state"] == "expired"
            ]
            others = sorted((p for p in self.points if p["state"] == "active"), key=lambda p: (p["end"], p["n"]))
            if mine or others:
                (mine or others)[0]["state"] = "gone"
            else:
                self.owed += 1

    def balance(self) -> int:
        return sum(p["state"] == "active" for p in self.points) - self.owed

    def pending(self) -> int:
        return sum(p["state"] == "pending" for p in self.points)

    def taken_back(self, order: str) -> None:
        """What the refunds so far take of the orders of that number, one order after the other."""
        left = sum(self.refunds[order])
        any_ = bool(self.refunds[order])
        for minor, own in self.bought[order]:
            part = min(left, minor)
            left -= part
            keeps = 0 if any_ and not minor else len(own) * (minor - part) // minor if minor else len(own)
            gone = sum(p.get("back", False) for p in own)
            for p in [p for p in own if not p.get("back")][: len(own) - keeps - gone]:
                p["back"] = True
            self.lose(max(len(own) - keeps - gone, 0), own)


def replay(deeds: Sequence[Any], until: datetime) -> list[tuple[int, int]]:
    """Balance and pending of both people at the end, by the second way."""
    people = [Second(), Second()]
    for kind, day, who, amount, name in deeds:
        at, one = NOON + timedelta(days=day), people[who]
        one.pass_to(at)
        if kind == "buys":
            one.bought[name].append((amount, one.gain(amount // 100, at)))
            one.taken_back(name)
        elif kind == "returns":
            one.refunds[name].append(amount)
            one.taken_back(name)
        elif kind == "visits":
            one.gain(20, at, 14)
        elif (key := f"{kind}:{name}") not in one.keys:
            if kind == "spend" and one.balance() < amount:
                continue
            one.keys.add(key)
            if kind == "award":
                one.gain(amount, at)
            else:
                one.lose(min(amount, max(one.balance(), 0)))
    for one in people:
        one.pass_to(until)
    return [(one.balance(), one.pending()) for one in people]


def act(shop: Shop, people: Sequence[int], deed: Any) -> None:
    kind, _, who, amount, name = deed
    if kind == "buys":
        shop.buys(people[who], amount, name)
    elif kind == "returns":
        shop.returns(people[who], amount, name)
    elif kind == "visits":
        shop.happens(people[who], "visited", place="town")
    else:
        if kind != "award":
            shop.look()  # what can be spent is what a look has found
        shop.award(Award(f"{kind}:{name}:{people[who]}", "customer", people[who], amount, kind))


def lived(shop: Shop, deeds: Sequence[Any], looks: set[int]) -> list[tuple[int, int]]:
    """The same on a database, with looks on these days and one at the end; both people are new."""
    people = shop.world.people(2, consents=None)
    begun: set[int] = set()
    for deed in deeds:
        shop.go(deed[1])
        for day in sorted(d for d in looks - begun if d < deed[1]):
            begun.add(day)
            shop.go(day)
            shop.look()
        shop.go(deed[1])
        act(shop, people, deed)
    shop.go(75)
    shop.look()
    assert shop.look() == 0
    with shop.store.read() as conn:
        e = t.point_entry.c
        query = sa.select(e.unit_id, sa.func.sum(e.points)).where(e.unit_id.in_(people)).group_by(e.unit_id)
        sums = {unit_id: int(total) for unit_id, total in conn.execute(query)}
    for who in people:
        assert sums.get(who, 0) == sum(shop.points(who))
    return [shop.points(who) for who in people]


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(DEEDS, max_size=12), LOOKS)
def test_a_history_counted_twice(shop: Shop, deeds: list[Any], looks: set[int]):
    """On the database, in any number of looks, it comes to what a second way of counting gives; a replay adds
    nothing."""
    deeds = sorted(deeds, key=lambda d: d[1])
    expected = replay(deeds, NOON + timedelta(days=75))
    assert lived(shop, deeds, looks) == expected
    rows = shop.world.one(sa.select(sa.func.count()).select_from(t.point_entry))
    shop.look_again()
    assert shop.world.one(sa.select(sa.func.count()).select_from(t.point_entry)) == rows
    assert shop.check() == []


@settings(max_examples=20)
@given(st.lists(DEEDS.filter(lambda d: d[0] in ("buys", "returns", "visits")), max_size=10), LOOKS, st.data())
def test_the_whole_history_at_once(shop: Shop, deeds: list[Any], looks: set[int], data: Any):
    """Events alone: taken by one look at the end they come to the same as taken by many, in the order of arrival."""
    deeds = sorted(deeds, key=lambda d: d[1])
    assert lived(shop, deeds, looks) == lived(shop, deeds, set())
