"""Tiers kept look by look are those that a replay from the first event comes to, in whatever order things arrived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orchestrator import grade
from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.ingest import record_events
from orchestrator.store import tables as t
from orchestrator.store import tiers
from tests.outgoing import World
from tests.tiered import texts, world

__all__ = ["world"]
pytestmark = pytest.mark.slow

START = datetime(2027, 2, 20, 12, tzinfo=UTC)
PROGRAM = """
    tier_by: count(bought, 60 days) - count(left, 60 days)
    thresholds: { bronze: 0, silver: 1, gold: 2, platinum: 4 }
    downgrade: { grace: GRACE, steps: STEPS, review: monthly, protected_if: "safe_until is in future" }
"""
ZONES = ("Europe/Berlin", "Pacific/Kiritimati", "Pacific/Honolulu", "America/New_York")


class Deed(NamedTuple):
    """An order or a refund: of whom, and how many hours after the start."""

    who: int
    hours: int
    kind: str


deeds = st.lists(
    st.builds(
        Deed, st.integers(0, 2), st.integers(1, 24 * 150), st.sampled_from(["bought", "bought", "bought", "left"])
    ),
    max_size=10,
)
rules = st.sampled_from([("60 days", "one"), ("20 days", "by_score"), ("0 days", "one"), ("0 days", "by_score")])


class Case:
    """Three people under a programme of their own, two years behind those of the case before: whoever was there before
    is gone."""

    def __init__(self, world: World, rule: tuple[str, str], zones: Sequence[str], kept_safe: bool = False) -> None:
        self.world = world
        world.now = max(START, world.now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=40))
        self.start, self.end = world.now, world.now + timedelta(days=151)
        with world.store.write() as conn:
            conn.execute(t.customer.update().values(erased_at=world.now))
        grace, steps = rule
        program = PROGRAM.replace("STEPS", steps)
        program = program.replace("grace: GRACE, ", "" if grace[0] == "0" else f"grace: {grace}, ")
        world.apply(texts(program))
        self.people: list[int] = []
        for n, zone in enumerate(zones):
            columns: dict[str, Any] = {"tier": None, "timezone": zone, "consents": None}
            if n == 0 and kept_safe:
                columns["attributes"] = {"safe_until": (self.start + timedelta(days=84)).date().isoformat()}
            self.people += [world.people(**columns)[0]]
        self.look()

    def look(self) -> None:
        accrue(self.world.store, now=self.world.now)

    def at(self, deed: Deed) -> datetime:
        return self.start + timedelta(hours=deed.hours)

    def store(self, some: Sequence[tuple[int, Deed]]) -> None:
        rows: list[dict[str, Any]] = [
            {
                "type": deed.kind,
                "key": f"{self.world.now.isoformat()}:{n}",
                "customer_id": self.people[deed.who],
                "account_id": None,
                "occurred_at": self.at(deed),
                "properties": {},
            }
            for n, deed in some
        ]
        with self.world.store.write() as conn:
            record_events(conn, rows, now=self.world.now)

    # ---- ways to hear of it

    def day_by_day(self, happened: Sequence[Deed]) -> None:
        """Each known the moment it happens."""
        for n, deed in sorted(enumerate(happened), key=lambda pair: pair[1].hours):
            self.world.now = self.at(deed)
            self.store([(n, deed)])
            self.look()
        self.world.now = self.end
        self.look()

    def in_one_go(self, happened: Sequence[Deed]) -> None:
        self.world.now = self.end
        self.store(list(enumerate(happened)))
        self.look()

    def late_and_mixed(self, happened: Sequence[Deed], shuffled: Sequence[int]) -> None:
        """In some order, three at a time, each after it happened; looks only now and then."""
        for k in range(0, len(shuffled), 3):
            some = [(n, happened[n]) for n in shuffled[k : k + 3]]
            last = max(self.at(d) for _, d in some)
            self.world.now = max(self.world.now, last) + timedelta(minutes=k + 1)
            self.store(some)
            if k % 2:
                accrue(self.world.store, now=self.world.now + timedelta(seconds=1))
        self.world.now = max(self.end, self.world.now)
        self.look()

    # ---- what came of it

    def kept(self) -> list[tuple[Any, ...]]:
        found = []
        for i in self.people:
            with self.world.store.read() as conn:
                ledger = tiers.history(conn, "customer", i, limit=500)
            told = tuple((c["to_tier"], c["reason"], c["at"]) for c in reversed(ledger))
            row = self.world.rows(
                sa.select(t.customer.c.tier, t.loyalty.c.below_since, t.loyalty.c.graded_tier)
                .join(t.loyalty, t.loyalty.c.unit_id == t.customer.c.id)
                .where(t.customer.c.id == i)
            )[0]
            assert row.tier == row.graded_tier
            found.append((row.tier, row.below_since, told))
        return found

    def replayed(self) -> list[tuple[Any, ...]]:
        with self.world.store.read() as conn:
            force = in_force(conn)
            assert force is not None
            found = grade.rebuilt(conn, force.project, force.segments, "b2c", self.people, self.world.now)
        return [(found[i].stand.tier, found[i].stand.below_since, found[i].changes) for i in self.people]


@settings(
    max_examples=6, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(happened=deeds, rule=rules, zones=st.permutations(ZONES), kept_safe=st.booleans(), data=st.data())
def test_kept_is_replayed(
    world: World, happened: list[Deed], rule: tuple[str, str], zones: list[str], kept_safe: bool, data: Any
) -> None:
    way = data.draw(st.sampled_from(["day by day", "in one go", "late and mixed"]))
    shuffled = data.draw(st.permutations(range(len(happened))))
    case = Case(world, rule, zones[:3], kept_safe)
    if way == "day by day":
        case.day_by_day(happened)
    elif way == "in one go":
        case.in_one_go(happened)
    else:
        case.late_and_mixed(happened, shuffled)
    now = case.kept()
    assert now == case.replayed()
    world.now += timedelta(minutes=1)
    case.look()
    assert case.kept() == now  # looking again changes nothing


@settings(
    max_examples=2, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(happened=deeds, rule=rules, data=st.data())
def test_in_the_end_the_order_of_arrival_does_not_matter(
    world: World, happened: list[Deed], rule: tuple[str, str], data: Any
) -> None:
    """What was known when decides what happened meanwhile; once every grace is over all agree."""
    shuffled = data.draw(st.permutations(range(len(happened))))
    found = []
    for way in ("day by day", "in one go", "late and mixed"):
        case = Case(world, rule, ZONES[:3])
        if way == "day by day":
            case.day_by_day(happened)
        elif way == "in one go":
            case.in_one_go(happened)
        else:
            case.late_and_mixed(happened, shuffled)
        world.now += timedelta(days=61 + 4 * 92)
        case.look()
        found.append([tier for tier, _, _ in case.kept()])
    assert found[0] == found[1] == found[2]
