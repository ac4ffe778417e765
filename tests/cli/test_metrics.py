"""`metrics`, `metrics what-if`: what is measured at the command line."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli.metrics import _show_experiments
from orchestrator.metrics import MEASURES, Figure
from tests.cli.conftest import World

PROGRAM = "program:\n  value: { orders: order_placed.amount, inactive_after: 12 months, margin: 50% }\n"


@pytest.fixture
def shop(small: World) -> World:
    """Ten customers bought for 100 EUR in 2025; customers 1 to 8, three of whom are gold, in 2026 again."""
    path = small.folder / "journeys/workspace.yaml"
    path.write_text(path.read_text() + PROGRAM)
    people = [
        {"key": f"k{n}", "class": "b2c", "tier": "gold" if n < 4 else "bronze", "email": f"k{n}@example.com"}
        for n in range(1, 11)
    ]
    small.write("people.csv", people)
    orders = [
        {"type": "order_placed", "event_id": f"o{n}-{year}", "customer": f"k{n}", "amount": "100 EUR",
         "occurred_at": f"{year}-02-01T10:00:00Z"}
        for n in range(1, 11) for year in (2025, 2026) if year == 2025 or n < 9
    ]  # fmt: skip
    small.write("orders.csv", orders)
    costs = [
        {"kind": "acquisition", "since": "2025-01-01", "until": "2025-12-31", "amount": "50 EUR"},
        {"kind": "retention", "since": "2026-01-01", "until": "2026-12-31", "amount": "80 EUR"},
    ]
    small.write("costs.csv", costs)
    assert small("apply", "-m", "x", "--yes").code == 0
    for kind, name in (("customers", "people.csv"), ("events", "orders.csv"), ("costs", "costs.csv")):
        assert small("import", kind, str(small.folder / name)).code == 0
    return small


def test_as_a_document(shop: World) -> None:
    data = shop.json("metrics", "--period", "2026")
    churn = data["figures"]["churn_rate"]
    assert (churn["value"], churn["n"], churn["of"]) == (0.2, 10, 2) and churn["low"] < 0.2 < churn["high"]
    assert data["figures"]["retention_cost"]["value"] == 1_000 and data["figures"]["nps"]["value"] is None
    assert data["period"] == {"first": "2026-01-01", "last": "2026-12-31"}
    assert set(data["figures"]) == set(MEASURES) < set(data["definitions"])
    assert data["cohorts"]["rows"][0]["cohort"] == "2025-02"
    assert shop.json("metrics", "--period", "2025")["figures"]["acquisition_cost"]["value"] == 500
    tiers = shop.json("metrics", "--period", "2026", "--by", "tier")["groups"]
    assert [(g["group"], g["figures"]["churn_rate"]["n"]) for g in tiers] == [("b2c bronze", 7), ("b2c gold", 3)]
    gold = shop.json("metrics", "--period", "2026", "--tier", "gold", "--class", "b2c", "--cohort", "2025-02")
    assert gold["figures"]["churn_rate"]["value"] == 0


def test_in_the_terminal(shop: World) -> None:
    said = shop("metrics", "--period", "2026", "--cohorts", "year", width=110)
    assert said.code == 0
    rows = {line.split("  ")[0]: line for line in said.out.splitlines()}
    assert "20.0%" in rows["Churn rate"] and "█░░░░" in rows["Churn rate"] and "5.7% … 51.0%" in rows["Churn rate"]
    assert "n = 0" in rows["Net promoter score"] and "–" in rows["Net promoter score"]
    assert "100.00 EUR" in rows["Average order value"]
    assert "80%" in rows["2025"] and "100%" in rows["2025"]
    assert said.out.splitlines()[-1] == "what each of them is: --definitions"
    asked = " ".join(shop("metrics", "--period", "2026", "--definitions", width=110).out.split())
    for measure in MEASURES.values():
        told = f"{measure.title}: {measure.definition}"
        assert told in asked and told not in " ".join(said.out.split()), (
            "every figure says what it is, when it is asked"
        )
    by = shop("metrics", "--period", "2026", "--by", "tier", width=110).out
    assert "b2c gold" in by and by.count("Net promoter score") == 1


def test_what_more_retention_would_do(shop: World) -> None:
    data = shop.json("metrics", "what-if", "--retention", "+5%", "--period", "2026")
    one = data["classes"]["b2c"]
    assert one["retention"] == pytest.approx(0.8) and one["retention_then"] == pytest.approx(0.85)
    assert one["value"] == pytest.approx(10_000 * 0.5 * 5) and one["value_then"] == pytest.approx(5_000 / 0.15)
    assert (data["active"], data["revenue"], data["saved"]) == (8, pytest.approx(8 * 0.8 * 10_000), None)
    out = shop("metrics", "what-if", "--retention=-10%", "--period", "2026").out
    assert "80.0%" in out and "70.0%" in out and "1 ÷ (1 − retention)" in out


def test_as_many_months_as_there_are(shop: World) -> None:
    wide = shop("metrics", "--period", "2026", width=220).out.splitlines()
    (head,) = (line for line in wide if line.startswith("cohort "))
    (row,) = (line for line in wide if line.startswith("2025-02 "))
    assert head.split()[2:] == [str(n) for n in range(23)] and row.split()[2:][12:13] == ["80%▆"]
    narrow = shop("metrics", "--period", "2026", width=80).out
    assert "months from 9 on" in narrow and "80%▆" in narrow and "%…" not in narrow
    assert len(shop.json("metrics", "--period", "2026")["cohorts"]["rows"][0]["cells"]) == 23


def test_what_it_does_not_take(shop: World) -> None:
    for arguments, why in (
        (("--period", "soon"), "--period takes 2027"),
        (("--period", "2031"), "has not begun"),
        (("--class", "b2x"), "there is no class `b2x`"),
        (("--tier", "golden"), "there is no tier `golden`"),
        (("--band", "huge"), "there is no band `huge`"),
        (("--cohort", "long ago"), "--cohort takes"),
        (("what-if", "--retention", "more"), "percentage points"),
    ):
        said = shop("metrics", *arguments)
        assert said.code == 2 and why in said.err, (arguments, said)
    said = shop("metrics", "what-if", "--retention", "+30%", "--period", "2026")
    assert said.code == 3 and "below 100 %" in said.err


def test_what_an_experiment_has_so_far_is_there_to_be_read_where_it_is_narrow() -> None:
    one = SimpleNamespace(state="too early", decision=None)
    told: dict[str, Any] = {"win-back/split:fifteen-percent-ten-euros": (one, {"ten-euros": Figure(None, 0)}, {})}
    found: Any = SimpleNamespace(experiments=(one,), of_experiments=lambda: told)
    console = Console(width=60, file=StringIO(), record=True)
    _show_experiments(console, found, "EUR")
    shown = console.export_text()
    assert "…" not in shown
    assert "n = 0" in shown
