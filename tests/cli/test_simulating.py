"""`simulate`: what it shows, its report, two side by side, and what it says to what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import cli
from tests.outgoing import files, journey

WEEKLY = journey("weekly", "- email: second", '{ schedule: "0 10 * * *", timezone: recipient }', "reentry: always")
SOON = ("--from", "2027-03-01", "--days", "1", "--customers", "25")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _written(tmp_path / "this", {"weekly": WEEKLY})


def _written(folder: Path, journeys: dict[str, str]) -> Path:
    texts = files(journeys)
    texts["journeys/workspace.yaml"] += "  prices: { email: 0.5 EUR }\n"
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def _said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_what_would_go_out_and_what_not(folder: Path, capsys: pytest.CaptureFixture[str]):
    report = folder / "out" / "report.html"
    code, out, err = _said(capsys, "-w", folder, "simulate", *SOON, "--out", report)
    assert code == 0, err
    assert out.startswith("25 customers, 01 Mar 2027 to 02 Mar 2027  seed 1")
    assert "Held and refused" in out and "no_consent" in out
    assert "weekly" in out and "EUR" in out
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(folder.glob("*.db")), "no database is made for people made up"


def test_another_folder_beside_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = _written(tmp_path / "other", {"weekly": WEEKLY.replace("* * *", "* * 2")})
    code, out, _ = _said(capsys, "-w", folder, "--json", "simulate", *SOON, "--compare", other)
    told = json.loads(out)
    assert code == 0
    assert told["journeys"]["weekly"]["entered"] > 15 and told["compared"]["journeys"]["weekly"]["entered"] == 0
    assert sum(v["messages"] for v in told["volumes"]) == told["journeys"]["weekly"]["sent"]["email:second"]
    assert told["messages"] != told["compared"]["messages"]
    code, out, _ = _said(capsys, "-w", folder, "simulate", *SOON, "--compare", folder)
    assert "Compared with the other  the same messages" in out


def test_what_cannot_be_is_said(folder: Path, capsys: pytest.CaptureFixture[str]):
    for arguments, code, words in (
        (("welcom",), 2, "there is no journey `welcom`"),
        (("--days", "0"), 2, "one at least"),
        (("--from", "2027-03-01", "--until", "2027-02-01"), 2, "before the beginning"),
        (("--compare", folder / "nowhere"), 2, "no folder"),
        (("--behaviour", folder / "none.yaml"), 3, "cannot be read"),
        (("--sample", "10"), 3, "there are no customers here yet"),
    ):
        got, _, err = _said(capsys, "-w", folder, "simulate", *arguments)
        assert got == code and words in " ".join(err.split()), (arguments, err)
    (folder / "how.yaml").write_text("email: { opened: 140% }\nfax: {}\n", encoding="utf-8")
    got, _, err = _said(capsys, "-w", folder, "simulate", "--behaviour", folder / "how.yaml")
    assert got == 1 and "`140%` is no share" in err and "`fax` is no medium" in err


COMPLAINTS = "complaints: { event: left, closed_by: signed_up, task: { to: care, within: 2 days, text: Call } }\n"


def test_signs_of_the_calendar_are_told_once_and_reasons_in_words(folder: Path, capsys: pytest.CaptureFixture[str]):
    _, out, _ = _said(capsys, "-w", folder, "simulate", "--from", "2027-03-01", "--days", "1", "--customers", "4")
    [legend] = [line for line in out.splitlines() if "on a day, up to" in line]
    told = legend.split("up to")[1].split()
    assert len(set(told[1::2])) == len(told[1::2]), legend
    _, out, _ = _said(capsys, "-w", folder, "simulate", *SOON)
    assert "There is no record that the customer ever said yes" in " ".join(out.split())


def test_messages_of_no_journey_do_not_count_for_one_that_was_asked_for(tmp_path: Path, capsys):
    exits = WEEKLY.replace("reentry: always", "reentry: always\nexit_when: [ { event: left } ]")
    texts = _written(tmp_path, {"weekly": exits}) / "journeys" / "workspace.yaml"
    texts.write_text(texts.read_text(encoding="utf-8") + COMPLAINTS, encoding="utf-8")
    _, out, _ = _said(
        capsys, "-w", tmp_path, "--json", "simulate", "weekly", *SOON[:2], "--days", "60", "--customers", "60"
    )
    told = json.loads(out)
    assert {v["journey"] for v in told["volumes"]} == {"weekly"}
    assert any("messages of no journey" in note and "complaint" in note for note in told["notes"])


def test_that_nobody_entered_is_told_once_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    left = journey("left", "- email: second", "{ event: left }")
    _, out, _ = _said(
        capsys, "-w", _written(tmp_path, {"left": left}), "simulate", "left", *SOON[:4], "--customers", "2"
    )
    assert out.count("nobody entered left") == 1 and "`left` did not happen to anybody" in out and "--sample" in out
    assert "By medium" not in out
