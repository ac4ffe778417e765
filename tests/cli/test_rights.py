"""`customer export`, `customer erase`, `retain`: what people may ask for, at the command line."""

from __future__ import annotations

import io
import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import MONDAY, World, happened, small_files

RETAINED = """\
  retention: { events: 10 days, feedback: 1 year, decision_details: 10 days }
"""


@pytest.fixture
def mine(tmp_path: Path, clock) -> World:
    """Everything that `told` tells of, to be changed."""
    return happened(World(small_files(tmp_path / "small"), clock))


# ---- export ---------------------------------------------------------------------------------------------------------


def test_an_export_is_a_page_and_the_same_as_json(mine):
    found = mine.json("customer", "export", "ana")
    page, plain = Path(found["page"]), Path(found["file"])
    assert page.parent == mine.folder / ".orchestrator" / "exports"
    assert page.name == f"customer-{found['customer']}.html", "the name of the file says nothing about her"
    assert page.stat().st_mode & 0o777 == plain.stat().st_mode & 0o777 == 0o600
    told = json.loads(plain.read_text(encoding="utf-8"))
    assert told["profile"][0]["email"] == "ana@example.com"
    assert told["consents"][0]["evidence"]["source"] == "sign-up page"
    assert told["messages"][0]["text"][0].startswith("Hello there")
    assert [e["type"] for e in told["events"]] == ["signed_up"]
    assert {v["rule"] for d in told["decisions"] for v in d.get("rules", ())} >= {"consent", "quiet_hours"}
    assert told["journeys"][0]["journey"] in ("hello", "golden")
    assert found["counts"]["messages"] == len(told["messages"])
    text = page.read_text(encoding="utf-8")
    assert "ana@example.com" in text
    assert "sign-up page" in text
    for other in ("ben", "cleo@", "dora", "emil@"):
        assert other not in text
        assert other not in plain.read_text(encoding="utf-8")


def test_what_people_wrote_does_not_become_markup(mine):
    mine(
        "import", "customers", str(mine.write("more.csv", [{"key": "ana", "first_name": "<script>alert(1)</script>"}]))
    )
    page = Path(mine.json("customer", "export", "ana")["page"]).read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_export_goes_where_it_is_told_and_says_that_it_is_to_be_deleted(mine, tmp_path):
    said = mine("customer", "export", "ana", "--out", str(tmp_path / "out"))
    assert said.code == 0
    assert "delete the files" in said.out
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_export_of_nobody(mine):
    assert mine("customer", "export", "zoe").code == 2


# ---- erase ----------------------------------------------------------------------------------------------------------


def words(folder: Path, *words: str) -> list[str]:
    return [
        p.name
        for p in sorted(folder.rglob("*"))
        if p.is_file() and any(word.encode() in p.read_bytes() for word in words)
    ]


def test_an_erasure_tells_what_it_did_and_leaves_nothing_of_her_in_the_workspaces_own_files(mine):
    mine("customer", "export", "ana")
    mine("outbox")
    said = mine("customer", "erase", "ana", "--yes", "--by", "dpo")
    assert said.code == 0, said
    assert "erased; the log knows the customer as number" in said.out
    assert "1 run ended" in said.out
    assert "sealed records destroyed" in said.out
    assert "exports deleted" in said.out
    assert words(mine.folder / ".orchestrator", "ana@example.com") == []
    assert mine("customer", "ana").code == 2
    assert mine("customer", "erase", "ana", "--yes").code == 2
    assert mine("customer", "erase", "--finish").code == 0
    verified = mine("audit", "verify")
    assert verified.code == 0, verified
    assert "erased" in verified.out


def test_an_erasure_asks_for_the_key_once_more(mine, monkeypatch):
    class Somebody(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert mine("customer", "erase", "ana").code == 2, "nobody is at the terminal"
    monkeypatch.setattr(sys, "stdin", Somebody("anna\n"))
    said = mine("customer", "erase", "ana")
    assert said.code == 3
    assert "nothing was erased" in said.err
    assert mine("customer", "ana").code == 0
    monkeypatch.setattr(sys, "stdin", Somebody("ana\n"))
    assert mine("customer", "erase", "ana").code == 0


@pytest.mark.parametrize(
    "arguments", [(), ("ana", "--replay"), ("--replay", "--finish"), ("zoe", "--yes"), ("ana", "--reason", "why not")]
)
def test_what_an_erasure_does_not_take(mine, arguments):
    assert mine("customer", "erase", *arguments).code == 2
    assert mine("customer", "ana").code == 0


def test_she_is_put_aside_when_she_is_imported_again(mine):
    mine("customer", "erase", "ana", "--yes")
    path = mine.write("again.csv", [{"key": "ana-2", "class": "b2c", "email": "Ana@example.com"}])
    found = mine("--json", "import", "customers", str(path))
    assert found.code == 1
    [reason] = found.data["reasons"]
    assert reason["problem"].startswith("somebody with this e-mail address was erased on 2027-03-01")


def test_a_restored_backup_is_told_by_ticks_and_by_doctor_until_the_list_is_replayed(mine):
    state = mine.folder / ".orchestrator"
    before = {p.name: p.read_bytes() for p in state.glob("orchestrator.db*")}
    assert mine("customer", "erase", "ana", "--yes").code == 0
    for path in state.glob("orchestrator.db*"):
        path.unlink()
    for name, data in before.items():
        (state / name).write_bytes(data)
    assert mine("customer", "ana").code == 0, "she is back"
    mine.at.now = MONDAY + timedelta(days=3)
    report = mine.tick(mine.at.now)
    assert "customer erase --replay" in report.problems[0]
    assert report.messages == ()
    doctor = mine("doctor")
    assert "customer erase --replay" in doctor.out + doctor.err
    said = mine.json("customer", "erase", "--replay", "--by", "dpo")
    assert (said["entries"], said["customers"], said["left"]) == (1, 1, [])
    assert mine("customer", "ana").code == 2
    assert words(state, "ana@example.com") == []
    assert mine.tick(mine.at.now).problems == ()


def test_the_list_of_erasures_may_lie_elsewhere(mine, tmp_path):
    listed = tmp_path / "kept apart" / "list.jsonl"
    (mine.folder / "orchestrator.toml").write_text(f'[erasures]\npath = "{listed}"\n', encoding="utf-8")
    assert mine("customer", "erase", "ana", "--yes").code == 0
    assert listed.exists()
    shutil.rmtree(listed.parent)


# ---- retain ---------------------------------------------------------------------------------------------------------


def test_retain_destroys_nothing_where_nothing_is_named(mine):
    said = mine("retain")
    assert said.code == 0
    assert "everything is kept" in said.out


def test_retain_counts_and_then_destroys(mine):
    path = mine.folder / "journeys/workspace.yaml"
    path.write_text(path.read_text(encoding="utf-8") + RETAINED, encoding="utf-8")
    assert mine("apply", "-m", "kept no longer", "--yes").code == 0
    mine.at.now = MONDAY + timedelta(days=11)
    before = mine.json("retain", "--dry-run")
    assert before["counts"]["events"] == 5
    assert before["counts"]["decision_details"] > 0
    assert before["counts"]["feedback"] == 0
    assert mine.json("retain", "--dry-run") == before
    assert mine.json("retain")["counts"] == before["counts"]
    assert mine.json("retain")["counts"] == dict.fromkeys(before["counts"], 0)
    assert mine("retain", "--budget", "0").code == 2
    verified = mine("audit", "verify")
    assert verified.code == 0, verified
