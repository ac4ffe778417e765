"""`points` on the command line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.store import tables as t
from tests.cli.conftest import SMALL, At, World, small_files

PROGRAM = """
program:
  b2c:
    points: [ 1 per 1 EUR of order_placed.amount ]
    points_expire: 1 month
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


def test_given_taken_and_shown(shop: World) -> None:
    said = shop("points", "award", "ana", "50", "--reason", "late parcel", "--key", "case-1")
    assert said.code == 0 and "customer ana has 50 points" in said.out
    again = shop.json("points", "award", "ana", "50", "--reason", "late parcel", "--key", "case-1")
    assert again == {"unit": "customer", "key": "ana", "written": False, "points": 50}
    assert shop.json("points", "award", "ana", "-70", "--reason", "mistake", "--key", "case-2")["points"] == 0
    more = ("--reason", "gift", "--key", "case-3", "--expires", "2027-12-31")
    assert shop("points", "award", "ana", "8", *more).code == 0
    told = shop.json("points", "show", "ana")
    assert (told["points"], told["expiring"], told["expire_on"]) == (8, 8, "2027-12-31")
    assert [(line["kind"], line["points"], line["what"]) for line in told["entries"]] == [
        ("award", 8, "by hand: gift"),
        ("deduct", -50, "by hand: mistake"),
        ("award", 50, "by hand: late parcel"),
    ]
    shown = shop("points", "show", "ana").out
    assert "8 points" in shown and "2027-12-31" in shown and "by hand: gift" in shown
    assert shop("points", "show", "nobody").code == 2
    assert shop("points", "award", "ana", "0", "--reason", "x", "--key", "y").code == 2
    for named in ("for ana@shop.example", "she called from 0171 234 567"):
        refused = shop("points", "award", "ana", "5", "--reason", named, "--key", "y")
        assert refused.code == 2 and "--reason" in refused.err
    assert shop("points", "award", "ana", "5", "--reason", "x", "--key", "y", "--expires", "soon").code == 2


def test_a_tick_tells_what_the_programme_came_to(shop: World, clock: At) -> None:
    more = """    points: [ 1 per 1 EUR of order_placed.amount, 5 for challenge_completed ]
    membership: { joins: purchase, event: order_placed, term: 1 year }
    tier_by: points(365 days)
    thresholds: { silver: 100 }
    challenges: { first: { when: count(order_placed) >= 1, points: 10 } }
"""
    workspace = shop.folder / "journeys/workspace.yaml"
    text = workspace.read_text(encoding="utf-8")
    workspace.write_text(text.replace("    points: [ 1 per 1 EUR of order_placed.amount ]\n", more), encoding="utf-8")
    assert shop("apply", "--yes", "-m", "more").code == 0
    assert shop.tick().summary == "nothing was due"
    clock.now += timedelta(minutes=1)
    row = {"type": "order_placed", "occurred_at": clock.now.isoformat(), "amount": "1400.00", "amount_currency": "EUR"}
    rows = [{**row, "customer": key} for key in ("ana", "ben")]
    assert shop("import", "events", str(shop.write("orders.csv", rows))).code == 0
    clock.now += timedelta(minutes=1)
    report = shop.tick()
    assert report.name == "Moved" and report.counts()["programme"] == report.programme
    earned, *rest = report.summary.split(", ")
    assert earned == "2,810 points earned"
    assert rest == ["4 tiers changed", "2 memberships begun", "2 challenges done"]
    clock.now += timedelta(days=32)
    assert shop.tick().summary == "2,830 points expired"
    clock.now += timedelta(minutes=1)
    assert (shop.tick().name, shop.tick().summary) == ("Idle", "nothing was due")


def test_each_is_shown_the_rules_of_her_class_and_who_earns_nothing_is_told(shop: World) -> None:
    workspace = shop.folder / "journeys/workspace.yaml"
    text = workspace.read_text(encoding="utf-8")
    classes = "  club: { tiers: [one] }\n  b2b: { tiers: [std], unit: account }\n"
    text = text.replace("gold] }\n", "gold] }\n" + classes, 1)
    rules = (
        "  club:\n    points: [ 1 per 10 EUR of order_placed.amount ]\n"
        "  b2b:\n    points: [ 1 per 5 EUR of order_placed.amount ]\n"
    )
    workspace.write_text(text.replace("policies:", rules + "policies:", 1), encoding="utf-8")
    assert shop("apply", "--yes", "-m", "more").code == 0
    assert (
        shop("import", "accounts", str(shop.write("a.csv", [{"key": "nord", "class": "b2b", "name": "Nord"}]))).code
        == 0
    )
    people = [{"key": "cleo", "class": "club"}, {"key": "ida", "class": "b2b"}, {"key": "uma", "class": "b2b"}]
    people = [{**one, "account": "nord" if one["key"] == "uma" else ""} for one in people]
    assert shop("import", "customers", str(shop.write("more.csv", people))).code == 0
    row = {"type": "order_placed", "occurred_at": "2027-03-01", "amount": "20.00", "amount_currency": "EUR"}
    rows = [{**row, "customer": key} for key in ("ana", "cleo", "ida", "uma")]
    assert shop("import", "events", str(shop.write("orders.csv", rows))).code == 0
    shop.tick()
    shown = {key: shop.json("points", "show", key) for key in ("ana", "cleo", "ida", "uma", "nord")}
    what = {key: [(line["points"], line["what"]) for line in told["entries"]] for key, told in shown.items()}
    nord = [(4, "1 per 5 EUR of order_placed.amount")]
    assert what == {
        "ana": [(20, "1 per 1 EUR of order_placed.amount")],
        "cleo": [(2, "1 per 10 EUR of order_placed.amount")],
        "ida": [],
        "uma": nord,
        "nord": nord,
    }
    assert [key for key, told in shown.items() if told["without_account"]] == ["ida"]
    assert "she belongs to none" in " ".join(shop("points", "show", "ida").out.split())
    said = shop("points", "check")
    assert said.code == 0 and "1 customer of class b2b without an account" in " ".join(said.out.split())


def test_a_balance_that_is_wrong_is_named_and_written_anew(shop: World) -> None:
    rows = [
        {"type": "order_placed", "customer": "ana", "occurred_at": "2027-03-01", "amount": amount, "amount_currency": c}
        for amount, c in (("20.00", "EUR"), ("30.00", "USD"))
    ]
    assert shop("import", "events", str(shop.write("orders.csv", rows))).code == 0
    points = [{"customer": "ben", "points": "7", "key": "old"}, {"customer": "ben", "points": "x", "key": "odd"}]
    assert shop("import", "points", str(shop.write("points.csv", points))).code == 1
    shop.tick()
    said = shop("points", "check")
    assert said.code == 0 and "2 balances: each is what the ledger says" in said.out
    assert "1 event in USD earned nothing by `1 per 1 EUR of order_placed.amount`" in said.out.replace("\n", " ")
    with wiring.connected(shop.folder) as wired, wired.store.write() as conn:
        conn.execute(sa.update(t.loyalty).where(t.loyalty.c.points == 20).values(points=21))
    said = shop("points", "check")
    assert said.code == 1 and "customer ana" in said.out and "points check --rebuild" in said.out.replace("\n", " ")
    assert shop("--json", "points", "check").data["differences"][0]["key"] == "ana"
    assert shop("points", "check", "--rebuild").code == 0
    assert shop("points", "check").code == 0
