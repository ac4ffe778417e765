"""Tiers: gained at once, lost at a review of one's own zone, after the grace, never while protected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.store import tables as t
from orchestrator.store import tiers
from tests.outgoing import World, files, world_of

TIERS = """
  b2c: { tiers: [bronze, silver, gold, platinum] }
  b2b: { tiers: [std, big], unit: account }
"""
B2C = """
    tier_by: count(bought, 365 days)
    thresholds: { bronze: 0, silver: 2, gold: 4, platinum: 8 }
    downgrade: { grace: 60 days, steps: one, review: monthly, protected_if: "safe_until is in future" }
"""


def texts(b2c: str = B2C, journeys: Mapping[str, str] | None = None, b2b: str = "") -> dict[str, str]:
    made = files(dict(journeys or {}))
    text = made["journeys/workspace.yaml"]
    text = text.replace("customer: { town: text }", "customer: { town: text, safe_until: date }")
    text = text.replace("  b2c: { tiers: [silver, gold] }\n  b2b: { tiers: [std, big], unit: account }\n", TIERS.lstrip("\n"))
    program = f"program:\n  b2c:{b2c}" + (f"  b2b:{b2b}" if b2b else "")
    made["journeys/workspace.yaml"] = text.replace("\npolicies:", f"\n{program}policies:", 1)
    return made


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    found = world_of(database_url)
    yield found
    found.store.close()


def at(world: World, text: str) -> None:
    """The clock stands there (UTC), and a look is taken."""
    world.now = datetime.fromisoformat(text).replace(tzinfo=UTC)
    accrue(world.store, now=world.now)


def buy(world: World, *ids: int, times: int = 1) -> None:
    for _ in range(times):
        world.event(ids, "bought", order_id="o", amount=100)
    accrue(world.store, now=world.now)


def tier(world: World, i: int) -> str | None:
    found: str | None = world.one(sa.select(t.customer.c.tier).where(t.customer.c.id == i))
    return found


def row(world: World, i: int) -> Any:
    return world.rows(sa.select(t.loyalty).where(t.loyalty.c.unit_id == i, t.loyalty.c.unit == "customer"))[0]


def changes(world: World, i: int) -> list[tuple[str | None, str | None, str, str]]:
    with world.store.read() as conn:
        return [
            (c["from_tier"], c["to_tier"], c["direction"], c["reason"])
            for c in reversed(tiers.history(conn, "customer", i))
        ]


def test_new_customers_begin_at_the_foot_and_rise_at_once(world: World) -> None:
    world.apply(texts())
    (ann,) = world.people(tier=None)
    at(world, "2027-03-01T12:00")
    assert tier(world, ann) == "bronze"
    buy(world, ann, times=4)
    assert tier(world, ann) == "gold"
    assert changes(world, ann) == [(None, "bronze", "set", "first"), ("bronze", "gold", "up", "score")]
    found = row(world, ann)
    assert (found.score, found.next_tier, found.missing, found.shortfall) == (4, "platinum", 4, 0)
    assert found.review_on is None and found.protected is False
