"""`audit export` and `audit report` as a user types them."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator import wiring
from tests.cli.conftest import World


@pytest.fixture
def world(told: World, tmp_path: Path) -> World:
    copy = World(tmp_path / "copy", told.at)
    shutil.copytree(told.folder, copy.folder)
    return copy


def test_an_export_of_a_day_of_the_workspaces(world: World):
    found = world.json("audit", "export", "--from", "2027-03-01", "--to", "2027-03-01")
    path = Path(found["file"])
    assert path.parent == world.folder / ".orchestrator" / "exports"
    assert path.name == "audit-20270228T2300Z-20270301T2300Z.csv", "midnight in Berlin"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["rows"] == sum(found["counts"].values()) > 3
    assert not any("ana" in cell for row in rows for cell in row.values())
    assert json.loads(Path(found["manifest"]).read_text())["file"]["sha256"] == found["sha256"]
    assert world.json("audit", "export", "--to", "2027-02-28")["rows"] == 0
    said = world("audit", "export").out
    assert "decision" in said and "beside it: " in said


def test_an_export_of_one_customer_where_one_says(world: World, tmp_path: Path):
    said = world(
        "audit", "export", "--customer", "ana", "--to", "2027-03-02", "--format", "jsonl", "--out", str(tmp_path / "x")
    )
    assert said.code == 0 and "an erasure does not look there" in said.out
    [path] = (tmp_path / "x").glob("customer-*.jsonl")
    assert {json.loads(line)["customer_key"] for line in path.read_text().splitlines()} == {"ana"}
    nobody = world("audit", "export", "--customer", "nobody")
    assert (nobody.code, "there is no customer `nobody`" in nobody.err) == (2, True)


@pytest.mark.parametrize("form, begins", [("html", b"<!doctype html>"), ("pdf", b"%PDF-")])
def test_a_report(world: World, form: str, begins: bytes):
    said = world("audit", "report", "--from", "2027-03-01", "--to", "2027-03-07", "--format", form)
    assert said.code == 0, said
    assert "internally consistent only" in said.out
    [path] = (world.folder / ".orchestrator" / "exports").glob(f"report-*.{form}")
    assert path.read_bytes().startswith(begins)


def test_a_report_of_a_log_that_was_changed_ends_with_1(world: World, tmp_path: Path):
    import sqlite3

    with sqlite3.connect(world.folder / ".orchestrator" / "orchestrator.db") as connection:
        connection.execute("drop trigger log_no_update")
        connection.execute("update log set reason = 'made_up' where id = 1")
    out = tmp_path / "report.html"
    said = world("--json", "audit", "report", "--to", "2027-03-07", "--out", str(out))
    assert said.code == 1 and said.data["verification"]["ok"] is False
    assert "Verification failed:" in out.read_text(encoding="utf-8")
    assert world("audit", "report", "--unverified", "--out", str(out)).code == 0
    assert "Not verified." in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["export", "report"])
def test_times_that_are_none(world: World, command: str):
    assert "--from comes before --to" in world("audit", command, "--from", "2027-03-02", "--to", "2027-03-01").err
    wrong = world("audit", command, "--from", "last week")
    assert (wrong.code, "--from takes a day, as 2027-03-01" in wrong.err) == (2, True)


def test_where_nothing_can_be_written(world: World, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for command, place in (("export", tmp_path / "file"), ("report", tmp_path / "file" / "report.html")):
        said = world("audit", command, "--out", str(place))
        assert (said.code, "cannot be written" in said.err) == (3, True), said


def test_without_an_end_a_rehearsal_ahead_of_the_clock_is_in_it_too(world: World, monkeypatch: pytest.MonkeyPatch):
    whole = world.json("audit", "export")["rows"]
    earlier = datetime(2027, 2, 1, tzinfo=UTC)
    monkeypatch.setattr(wiring, "_clock", lambda now: lambda: earlier)
    assert world.json("audit", "export")["rows"] == whole > 3
