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
