"""`tiers` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, At, World, small_files

PROGRAM = """
program:
  b2c:
    tier_by: count(order_placed, 365 days)
    thresholds: { bronze: 0, gold: 2 }
    downgrade: { grace: 30 days, steps: one }
"""


@pytest.fixture
def shop(tmp_path: Path, clock: At) -> World:
    world = World(small_files(tmp_path / "small"), clock)
    text = SMALL["journeys/workspace.yaml"].replace("\npolicies:", f"{PROGRAM}policies:")
    (world.folder / "journeys/workspace.yaml").write_text(text, encoding="utf-8")
    clock.now = clock.now.replace(year=2027, month=3, day=1)
    assert world("apply", "--yes", "-m", "first").code == 0
    rows = [{"key": key, "class": "b2c", "timezone": "Europe/Berlin"} for key in ("ana", "ben")]
    assert world("import", "customers", str(world.write("people.csv", rows))).code == 0
    return world


def test_where_one_stands_and_how_it_came(shop: World, clock: At) -> None:
    bought = [{"type": "order_placed", "customer": "ana", "occurred_at": f"2027-03-01T0{n}:00:00Z"} for n in range(2)]
    assert shop("import", "events", str(shop.write("orders.csv", bought))).code == 0
    assert shop("run").code == 0
    told = shop.json("tiers", "ana")
    assert (told["tier"], told["score"], told["next"], told["lost_on"]) == ("gold", 2, None, None)
    assert [(c["from"], c["to"], c["why"]) for c in told["changes"]] == [
        ("bronze", "gold", "score"),
        (None, "bronze", "first"),
    ]
    spread = {c["class"]: c["tiers"] for c in shop.json("tiers")["classes"]}["b2c"]
    assert {s["tier"]: s["units"] for s in spread if s["units"]} == {"gold": 1, "bronze": 1}
    clock.now = clock.now.replace(year=2028, month=3, day=10)
    assert shop("run").code == 0
    told = shop.json("tiers", "ana", "--replay")
    assert (told["lost_on"], told["shortfall"], told["replayed"]) == ("2028-04-01", 2, "gold")
    shown = shop("tiers", "ana").out
    assert "at risk" in shown and "2028-04-01" in shown and "the score was enough" in shown
    assert "at risk" in shop("tiers").out
    assert shop("tiers", "nobody").code == 2


def test_money_and_a_membership_that_is_over(tmp_path: Path, clock: At) -> None:
    program = """
program:
  b2c:
    membership: { joins: free, term: 1 year }
    tier_by: sum(order_placed.amount, 365 days)
    thresholds: { bronze: 0, gold: 250000 }
"""
    world = World(small_files(tmp_path / "small"), clock)
    text = SMALL["journeys/workspace.yaml"].replace("\npolicies:", f"{program}policies:")
    (world.folder / "journeys/workspace.yaml").write_text(text, encoding="utf-8")
    clock.now = clock.now.replace(year=2027, month=3, day=1)
    assert world("apply", "--yes", "-m", "first").code == 0
    rows = [{"key": "ana", "class": "b2c", "timezone": "Europe/Berlin", "joined": "2027-03-01"}]
    assert world("import", "customers", str(world.write("people.csv", rows))).code == 0
    bought = [{"type": "order_placed", "customer": "ana", "amount": "30000", "occurred_at": "2027-03-01T01:00:00Z"}]
    assert world("import", "events", str(world.write("orders.csv", bought))).code == 0
    assert world("run").code == 0
    told = world.json("tiers", "ana")
    assert (told["score"], told["missing"], told["currency"]) == (3_000_000, 22_000_000, "EUR")
    assert "is 30,000.00 EUR; 220,000.00 EUR more make gold" in world("tiers", "ana").out
    clock.now = clock.now.replace(year=2028, month=3, day=10)
    assert world("run").code == 0
    out = world("tiers", "ana").out
    assert "membership lapsed" in out and "the membership is over" in out and "not known" not in out
