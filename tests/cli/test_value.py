"""`value`, `refresh`: the pyramid at the command line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import World

PROGRAM = "program:\n  value: { orders: order_placed.amount, inactive_after: 6 months }\n"


@pytest.fixture
def shop(small: World) -> World:
    """Ten customers: customer n bought once for n × 10 EUR in February, the last one never, the first one long ago."""
    path = small.folder / "journeys/workspace.yaml"
    path.write_text(path.read_text() + PROGRAM)
    people = [{"key": f"k{n}", "class": "b2c", "tier": "bronze", "email": f"k{n}@example.com"} for n in range(1, 11)]
    small.write("people.csv", people)
    orders = [
        {"type": "order_placed", "event_id": f"o{n}", "customer": f"k{n}", "amount": f"{n * 10} EUR",
         "occurred_at": "2026-02-01T10:00:00Z" if n == 1 else "2027-02-01T10:00:00Z"}
        for n in range(1, 10)
    ]  # fmt: skip
    small.write("orders.csv", orders)
    assert small("apply", "-m", "x", "--yes").code == 0
    for kind, name in (("customers", "people.csv"), ("events", "orders.csv")):
        assert small("import", kind, str(small.folder / name)).code == 0
    return small


def test_nobody_is_ranked_before_the_first_refresh(shop: World) -> None:
    said = shop("value")
    assert said.code == 3 and "run `orchestrator refresh`" in said.err


def test_the_pyramid_in_the_terminal_and_as_json(shop: World) -> None:
    said = shop("refresh")
    assert said.code == 0 and "10 ranked, 0 moved" in said.out and "0 came back" in said.out
    data = shop.json("value")
    bands = data["classes"]["b2c"]["bands"]
    assert [(band["band"], band["units"]) for band in bands] == [
        ("top", 1), ("medium", 1), ("small", 6), ("inactive", 1), ("prospect", 1),
    ]  # fmt: skip
    # 90 EUR of 440 EUR (20 to 90) is the top's; nothing is expected of who has not bought for a year.
    assert bands[0]["clv"] == 9_000 and bands[0]["clv_share"] == pytest.approx(9 / 44)
    assert data["classes"]["b2c"]["clv"] == 44_000 and data["classes"]["b2c"]["model"] is None
    assert data["currency"] == "EUR" and data["moved"] == []
    out = shop("value", width=120).out
    assert "b2c: 10" in out and "440" not in out and "90.00" in out and "20.5%" in out and "█" in out
    widths = [line.count("█") for line in out.splitlines() if line.startswith(("top", "small", "prospect"))]
    assert widths[1] > widths[0] > 0 and widths[2] > 0


@pytest.mark.parametrize("command", ["value", "metrics"])
def test_nothing_is_cut_off_on_a_screen_of_80_columns(shop: World, command: str) -> None:
    shop("refresh")
    lines = shop(command, width=80).out.splitlines()
    assert not [line for line in lines if "…" in line.replace(" … ", "")]
    assert all(len(line.rstrip()) <= 80 for line in lines if not line.startswith("!"))


def test_movement_and_one_customer(shop: World) -> None:
    shop("refresh")
    order = {"type": "order_placed", "event_id": "new", "customer": "k10", "amount": "900 EUR",
             "occurred_at": "2027-02-27T10:00:00Z"}  # fmt: skip
    shop.write("more.csv", [order])
    assert shop("import", "events", str(shop.folder / "more.csv")).code == 0
    assert shop.json("refresh")["moved"] == 3
    assert shop.json("refresh")["moved"] == 0
    data = shop.json("value")
    moved = {(m["from"], m["to"]): m["units"] for m in data["moved"]}
    assert moved == {("prospect", "top"): 1, ("top", "medium"): 1, ("medium", "small"): 1}
    out = shop("value").out
    assert "▲ 1 from prospect to top" in out and "▼ 1 from top to medium" in out
    one = shop.json("value", "k10")
    assert (one["band"], one["clv"], one["spent"]) == ("top", 90_000, 90_000)
    assert [(step["from"], step["to"]) for step in one["history"]] == [(None, "prospect"), ("prospect", "top")]
    assert "from prospect to top" in shop("value", "k10").out


def test_what_it_cannot_show(shop: World) -> None:
    shop("refresh")
    said = shop("value", "nobody")
    assert said.code == 3 and "no customer and no account `nobody`" in said.err
    assert shop("value", "k1", "--account").code == 3
    assert shop("value", "--moved", "soon").code == 2


def test_a_refresh_without_a_programme_says_so(small: World) -> None:
    assert small("apply", "-m", "x", "--yes").code == 0
    said = small("refresh")
    assert said.code == 0 and "`program` has no `value`" in said.out
