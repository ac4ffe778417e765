"""The demo: all media, what differs by class and tier as the journeys say, and the real flow behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator import cli

BOUND = 900  # seconds: three minutes on two idle cores, and room for busy ones


def demo(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "-w", str(folder), "--json", "demo", *arguments],
        cwd=folder,
        env=os.environ | {"ORCHESTRATOR_DATABASE__URL": "sqlite:////nowhere/else.db"},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(folder: Path) -> dict[str, Any]:
    return demo(folder)


@pytest.mark.slow
@pytest.mark.prefect
def test_sends_on_all_media_and_tells_every_outcome(shown: dict[str, Any]):
    found = {(row["medium"], row["what"]) for day in shown["days"] for row in day["messages"]}
    assert {"email", "sms", "push", "mail", "task"} <= {medium for medium, what in found if what == "sent"}
    assert {"sent", "held", "refused"} <= {what for _, what in found}
    assert {"no_consent", "no_address", "quiet_hours"} <= {row["reason"] for row in shown["reasons"]}
    ended: dict[str, int] = defaultdict(int)
    heard: dict[str, int] = defaultdict(int)
    for day in shown["days"]:
        for why, n in day["ended"].items():
            ended[why] += n
        for kind, n in day["heard"].items():
            heard[kind] += n
    assert ended["goal"] and ended["exited"] and ended["completed"]
    assert heard["bounced"] and heard["delivered"] and heard["opened"]
    assert shown["runs"] == 60
    assert {"sent", "held", "refused"} <= shown["examples"].keys()


@pytest.mark.slow
@pytest.mark.prefect
def test_what_is_sent_differs_by_class_and_tier(shown: dict[str, Any]):
    got: dict[tuple[str, str, str], set[tuple[str, str]]] = defaultdict(set)
    for row in shown["received"]:
        got[row["journey"], row["customer_class"], row["tier"]].add((row["medium"], row["template"]))
    assert got["birthday", "b2c", "platinum"] == {("mail", "birthday-letter")}
    assert got["birthday", "b2c", "gold"] == {("email", "birthday-early-access")}
    assert got["birthday", "b2c", "bronze"] <= {("email", "birthday"), ("push", "birthday-wish")}
    assert got["tier-up", "b2c", "platinum"] == {("sms", "tier-up-note"), ("mail", "tier-up-letter")}
    assert ("email", "tier-up") in got["tier-up", "b2c", "silver"]
    assert any(medium == "task" for medium, _ in got["partner-quarterly-news", "partner", "gold"])
    assert not any(medium == "task" for medium, _ in got["partner-quarterly-news", "partner", "silver"])
    classes = {(journey, of) for journey, of, _ in got}
    assert "" not in {journey for journey, _ in classes}, "what no journey sent stands under its origin"
    assert {of for journey, of in classes if journey.startswith("b2b-")} == {"b2b"}
    assert {of for journey, of in classes if journey in ("welcome", "birthday", "win-back")} == {"b2c"}


@pytest.mark.slow
@pytest.mark.prefect
def test_a_gold_member_a_strategic_company_and_a_partner_side_by_side(shown: dict[str, Any]):
    gold, strategic, partner = shown["side_by_side"]
    assert (gold["class"], gold["tier"]) == ("b2c", "gold")
    assert (strategic["class"], strategic["tier"]) == ("b2b", "strategic")
    assert partner["class"] == "partner"
    sides = [side["rows"] for side in (gold, strategic, partner)]
    for name in ("by", "points", "benefits", "sent", "contract", "rewards"):
        assert len({tuple(rows[name]) for rows in sides}) > 1, name
    assert sides[0]["by"] == ["points(365 days)"] and sides[1]["by"] == ["annual_value"]
    assert sides[1]["points"] == ["collects none"] and sides[0]["contract"] == ["none"] != sides[1]["contract"]
    assert all(rows["value"] != ["not ranked"] for rows in sides)
    sent = [{line.split(" (")[0] for line in rows["sent"]} for rows in sides]
    assert all(sent) and not sent[0] & sent[1] and not sent[0] & sent[2]


@pytest.mark.slow
@pytest.mark.prefect
def test_what_it_leaves_can_be_looked_at(shown: dict[str, Any]):
    page = Path(shown["outbox"])
    assert page.is_file()
    for medium, pattern in {
        "email": "*.eml",
        "sms": "*.txt",
        "push": "*.json",
        "letters": "demo-*/*_records.csv",
    }.items():
        assert list((page.parent / medium).glob(pattern)), medium
    quarantined = list(Path(shown["workspace"]).glob("imports/*/customers.quarantine-*.csv"))
    assert len(quarantined) == 1
    assert len(quarantined[0].read_text().splitlines()) == 7


@pytest.mark.slow
@pytest.mark.prefect
def test_letters_are_dated_by_the_demos_days(shown: dict[str, Any]):
    asked = [sys.executable, "-m", "orchestrator.cli", "-w", shown["workspace"], "--json", "letters"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    jobs = json.loads(done.stdout)["jobs"]
    assert jobs and all(job["cutoff"] <= job["updated_at"] < "2027-04-06" for job in jobs)


@pytest.mark.slow
@pytest.mark.prefect
def test_the_same_days_again_send_nothing(folder: Path, shown: dict[str, Any]):
    again = demo(folder, "--keep", "--days", "3")
    assert [day["messages"] for day in again["days"]] == [[]] * len(again["days"])
    assert sum(day["entered"] for day in again["days"]) == 0
    assert again["received"] == shown["received"]


def test_without_the_flows_there_is_no_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "orchestrator.flows", None)
    monkeypatch.delattr(orchestrator, "flows", raising=False)  # left there by a test that imported it before
    monkeypatch.chdir(tmp_path)
    assert cli.run(["demo", "--days", "1"]) == 3
    assert "ModuleNotFoundError" in capsys.readouterr().err
    assert not list(tmp_path.glob(".orchestrator/demo/.orchestrator/outbox/*"))


def test_days_are_bounded():
    assert cli.run(["demo", "--days", "11"]) == 2
