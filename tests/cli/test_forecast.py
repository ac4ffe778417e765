"""`plan --forecast`: the next thirty days beside the plan; by itself only at a terminal, and not for long."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from rich.console import Console

from channels.base import Medium
from orchestrator import wiring
from orchestrator.cli import _forecast, workspace
from orchestrator.cli._reference import ANSWERS
from orchestrator.cli.terminal import Terminal
from orchestrator.foresee import Forecast, Pair, Sends
from orchestrator.problems import Problem, Span
from orchestrator.project import load
from orchestrator.store import tables as t
from tests.cli.conftest import MONDAY, PEOPLE, World, golden


@pytest.fixture
def ready(small: World) -> World:
    """In force, with people in it who signed up a year ago, and an edit that is not in force yet."""
    assert small("apply", "-m", "first", "--author", "mara", "--yes").code == 0
    assert small("import", "customers", str(small.write("customers.csv", PEOPLE))).code == 0
    consents = [
        {
            "customer": p["key"], "medium": "email", "topic": "news", "action": "confirm",
            "basis": "express_written", "method": "form", "occurred_at": "2026-01-01T09:00:00Z",
        }
        for p in PEOPLE
    ]  # fmt: skip
    assert small("import", "consents", str(small.write("consents.csv", consents))).code == 0
    rows = [
        {"type": "signed_up", "event_id": f"s{n}", "customer": p["key"], "occurred_at": "2026-03-08T09:00:00Z"}
        for n, p in enumerate(PEOPLE)
    ]
    assert small("import", "events", str(small.write("events.jsonl", rows))).code == 0
    path = small.folder / "journeys/hello.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("wait: 2 days", "wait: 8 days"), encoding="utf-8")
    return small


def test_the_plan_in_numbers(ready: World):
    said = ready("plan", "--forecast")
    assert said.code == 0, said
    golden("plan-forecast.txt", said.out, ready)
    narrow = ready("plan", "--forecast", width=60)
    assert max(len(line) for line in narrow.out.splitlines() if "orchestrator apply" not in line) <= 80


def test_the_plan_as_a_document(ready: World):
    told = ready.json("plan", "--forecast")
    assert set(told) == set(ANSWERS["plan"])
    found = told["forecast"]
    assert (found["days"], found["people"], found["audience"], found["same"]) == (30, len(PEOPLE), len(PEOPLE), False)
    assert found["sends"][0].keys() == {"day", "medium", "count"}
    assert found["sends"][0]["count"].keys() == {"before", "after"}
    assert ready.json("plan")["forecast"] is None, "nobody is at a terminal here"


def test_at_a_terminal_it_is_played_but_not_for_long(ready: World, monkeypatch: pytest.MonkeyPatch):
    call = Terminal(ready.folder, False)
    screen = Console(force_terminal=True, width=100, record=True)
    monkeypatch.setattr(Terminal, "console", screen)
    project = load(ready.folder)
    with wiring.connected(ready.folder) as wired:
        from orchestrator.plan import plan

        found = plan(wired.store, project, now=wired.clock())
        monkeypatch.setattr(workspace, "PATIENCE", 0.0)
        told = workspace._ahead(call, wired, project, found, None)
        assert isinstance(told, str)
        assert told.startswith("not done within 0 seconds (")
        assert workspace._ahead(call, wired, project, found, False) is None
        refused = dataclasses.replace(found, problems=(Problem("strands-people", "", Span.whole("x")),))
        assert workspace._ahead(call, wired, project, refused, None) is None, "it cannot be put in force"
        with wired.store.write() as conn:
            conn.execute(t.customer.update().values(merged_into=1))
        assert "no customers" in str(workspace._ahead(call, wired, project, found, True))


def test_a_forecast_in_which_nothing_goes_out():
    screen = Console(width=100, record=True)
    began = MONDAY.date()
    empty = Forecast(began, 30, 10, 10, 1.0, 1, True)
    _forecast.show_forecast(screen, empty)
    assert "Nobody is sent anything in the next 30 days" in screen.export_text()
    assert empty.by_day() == {}
    sends = tuple(Sends(began + timedelta(days=n), Medium.EMAIL, Pair(n, 2)) for n in (7, 0, 6))
    busy = dataclasses.replace(empty, sends=sends)
    assert list(busy.by_day()) == [began, began + timedelta(days=6), began + timedelta(days=7)]
    _forecast.show_forecast(screen, busy)
    assert [line.split() for line in screen.export_text().splitlines() if "Mar " in line] == [
        ["Mon", "1", "Mar", "0", "→", "2"],
        ["Sun", "7", "Mar", "6", "→", "2"],
        ["Mon", "8", "Mar", "7", "→", "2"],
    ]
