"""A small business with tiers by the number of orders in a year."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.store import Store, tiers
from orchestrator.store import tables as t
from tests.outgoing import World, files
from tests.store.conftest import migrate

TIERS = """  b2c: { tiers: [bronze, silver, gold, platinum] }
  b2b: { tiers: [std, big], unit: account }
"""
B2C = """
    tier_by: count(bought, 365 days)
    thresholds: { bronze: 0, silver: 2, gold: 4, platinum: 8 }
    downgrade: { grace: 60 days, steps: one, review: monthly, protected_if: "safe_until is in future" }
"""


@cache
def _migrated() -> Path:
    path = Path(tempfile.mkdtemp(prefix="migrated-")) / "store.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on a database that was migrated once, and copied."""
    if request.param == "sqlite":
        shutil.copy(_migrated(), tmp_path / "store.db")
        found = World(Store.open(f"sqlite:///{tmp_path / 'store.db'}"), tmp_path)
        yield found
        found.store.close()
        return
    postgres = request.getfixturevalue("postgres")
    with postgres.fresh_database(postgres.template("store", migrate)) as url:
        found = World(Store.open(url), tmp_path)
        yield found
        found.store.close()


def texts(b2c: str = B2C, journeys: Mapping[str, str] | None = None, b2b: str = "", more: str = "") -> dict[str, str]:
    """The workspace's files; `b2c`, `b2b`: their programmes; `more`: other keys of workspace.yaml."""
    made = files(dict(journeys or {}))
    text = made["journeys/workspace.yaml"]
    text = text.replace("customer: { town: text }", "customer: { town: text, safe_until: date }")
    start, end = text.index("  b2c: {"), text.index("topics:")
    text = text[:start] + TIERS + text[end:]
    program = f"program:\n  b2c:{b2c}" + (f"  b2b:{b2b}" if b2b else "")
    made["journeys/workspace.yaml"] = text.replace("\npolicies:", f"\n{program}{more}policies:", 1)
    return made


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


def row(world: World, i: int, unit: str = "customer") -> Any:
    """The unit's derived row."""
    return world.rows(sa.select(t.loyalty).where(t.loyalty.c.unit_id == i, t.loyalty.c.unit == unit))[0]


def changes(world: World, i: int) -> list[tuple[str | None, str | None, str, str]]:
    """(from, to, direction, reason), oldest first."""
    with world.store.read() as conn:
        found = tiers.history(conn, "customer", i)
    return [(c["from_tier"], c["to_tier"], c["direction"], c["reason"]) for c in reversed(found)]
