"""`check` in its three ways of telling, what it remembers, `explain` and `schema`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.cli import checking, explaining
from orchestrator.problems import Problem, Span
from orchestrator.project import load
from orchestrator.recall import Recall
from tests.docs.pages import DOCS, ROOT, blocks
from tests.docs.problem_codes import codes
from tests.golden.workspace import GOOD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in GOOD.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def _said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


# ---- annotations ----------------------------------------------------------------------------------------------------


def test_github_shows_a_problem_at_its_line(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder.parent))
    (folder / "templates/sms/helo.txt").write_text(
        "---\ntopic: loyalty\n---\nHello. Reply STOP to opt out\n", encoding="utf-8"
    )
    text = (folder / "journeys/welcome.yaml").read_text(encoding="utf-8")
    code, out, _ = _said(capsys, "check", folder, "--format", "github")
    told = f"file={folder.name}/templates/sms/helo.txt,line=1,col=1,endLine=1,endColumn=2,title=unused-template"
    assert code == 0
    assert out.splitlines()[0] == (
        f"::warning {told}::nothing sends this text: no step says `sms: helo`%0Asend it, or delete the file"
    )
    (folder / "journeys/welcome.yaml").write_text(text.replace("email: welcome", "email: welcom", 1), encoding="utf-8")
    code, out, _ = _said(capsys, "check", folder, "--format", "github")
    assert code == 1
    assert out.startswith(f"::error file={folder.name}/journeys/welcome.yaml,line=8,col=12,")


def test_nothing_in_a_message_ends_an_annotation_or_begins_another():
    span = Span("journeys/a,b:c%.yaml", 3, 4, 3, 9)
    told = checking._annotation(Path("/w"), Problem("x-y", "50 %\r\n::error::no", span, "do: this, please"))
    assert "\n" not in told and "\r" not in told
    assert "file=/w/journeys/a%2Cb%3Ac%25.yaml,line=3" in told
    assert told.endswith("::50 %25%0D%0A::error::no%0Ado: this, please")


def test_the_editors_patterns_read_what_check_says(folder: Path, capsys: pytest.CaptureFixture[str]):
    (block,) = blocks(DOCS / "guide" / "editor.md", "json")
    first, second = json.loads(block.text)["tasks"][0]["problemMatcher"]["pattern"]
    (folder / "templates/sms/helo.txt").write_text(
        "---\ntopic: loyalty\n---\nHello. Reply STOP to opt out\n", encoding="utf-8"
    )
    lines = _said(capsys, "check", folder)[1].splitlines()
    said, at = re.match(first["regexp"], lines[0]), re.match(second["regexp"], lines[1])
    assert said is not None and said[2] == "unused-template"
    assert at is not None and at.groups() == ("templates/sms/helo.txt", "1", "1")


# ---- what it remembers ----------------------------------------------------------------------------------------------


def test_what_is_remembered_is_told_again_and_what_changed_is_looked_at(folder: Path):
    gray = GOOD["templates/email/welcome.mjml"].replace("<mj-text>Hello", '<mj-text color="#999999">Hello')
    (folder / "templates/email/welcome.mjml").write_text(gray, encoding="utf-8")
    first = Recall("this program")
    told = load(folder, lint=True, recall=first)
    assert [p.code for p in told.warnings] == ["low-contrast"]
    kept = json.loads(json.dumps(first.after))
    second = Recall("this program", kept)
    again = load(folder, lint=True, recall=second)
    assert again.warnings == told.warnings and not second.changed
    for text in told.templates:
        other = again.templates.get(text.medium, text.name)
        assert other is not None and other is not text
        assert (other.hash, other.topic, other.names, other.locales) == (
            text.hash,
            text.topic,
            text.names,
            text.locales,
        )
        assert other.compiled("en").skeleton.parts == text.compiled("en").skeleton.parts
    (folder / "templates/email/welcome.mjml").write_text(GOOD["templates/email/welcome.mjml"], encoding="utf-8")
    third = Recall("this program", kept)
    assert load(folder, lint=True, recall=third).warnings == ()
    assert third.changed


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("journeys/workspace.yaml", "favourite_store: text", "favourite_shop: text"),
        ("templates/snippets/foot.mjml", "first_name", "frist_name"),
    ],
)
def test_what_a_text_hangs_on_is_not_forgotten(folder: Path, path: str, old: str, new: str):
    from orchestrator.problems import ProjectError

    text = GOOD["templates/email/welcome.mjml"].replace("<mj-column>", '<mj-column>{% include "snippets/foot.mjml" %}')
    (folder / "templates/email/welcome.mjml").write_text(text, encoding="utf-8")
    (folder / "templates/snippets").mkdir()
    foot = "<mj-text>{{ customer.first_name | default('') }}{{ customer.favourite_store | default('') }}</mj-text>"
    (folder / "templates/snippets/foot.mjml").write_text(foot, encoding="utf-8")
    first = Recall("")
    load(folder, lint=True, recall=first)
    changed = (folder / path).read_text(encoding="utf-8").replace(old, new)
    (folder / path).write_text(changed, encoding="utf-8")
    with pytest.raises(ProjectError) as caught:
        load(folder, lint=True, recall=Recall("", first.after))
    assert [p.code for p in caught.value.problems] == ["unknown-name"]


def test_a_broken_memory_is_none(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert _said(capsys, "check", folder)[0] == 0
    kept = checking._kept(folder)
    assert kept.is_file() and not kept.is_relative_to(folder)
    for text in ("", "{", "[]", '{"email/welcome": 1}'):
        kept.write_text(text, encoding="utf-8")
        assert _said(capsys, "check", folder)[0] == 0


# ---- explain --------------------------------------------------------------------------------------------------------


def test_every_code_is_explained():
    every = {entry.code: entry for entry in explaining.entries()}
    assert codes() <= every.keys()
    for code in codes():
        entry = every[code]
        assert entry.kind in ("error", "warning") and entry.wrong and entry.why and entry.do, code


def test_explain_tells_what_why_and_what_to_do(capsys: pytest.CaptureFixture[str]):
    code, out, _ = _said(capsys, "explain", "unknown-template")
    assert code == 0
    assert [line for line in out.splitlines() if line and not line.startswith(" ")] == [
        "unknown-template  error  Texts",
        "What is wrong",
        "Why it matters",
        "What to do",
        "A line that has it",
    ]
    assert "  - email: welcom\n" in out
    assert all(len(line) <= 100 and line == line.rstrip() for line in out.splitlines())


def test_explain_knows_reasons_of_the_gate_and_what_was_meant(capsys: pytest.CaptureFixture[str]):
    assert "rule consent" in _said(capsys, "explain", "no_consent")[1]
    assert "no_consent" in _said(capsys, "explain", "no-consent")[1], "as it is heard"
    code, _, err = _said(capsys, "explain", "unknwn-template")
    assert code == 2 and "did you mean `unknown-template`?" in err
    assert "orchestrator explain" in _said(capsys, "explain", "zzz")[2]


def test_explain_lists_them_by_section(capsys: pytest.CaptureFixture[str]):
    lines = _said(capsys, "explain")[1].splitlines()
    assert lines[0] == "The file itself"
    assert any(line.startswith("  never-true") for line in lines)
    found = json.loads(_said(capsys, "--json", "explain", "never-true")[1])["codes"]
    assert found[0]["kind"] == "warning" and found[0]["example"].startswith("- if: class == b2b")


# ---- schema ---------------------------------------------------------------------------------------------------------


def test_the_schemas_are_those_of_the_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert _said(capsys, "schema", "--to", tmp_path / "schema")[0] == 0
    for path in (ROOT / "docs" / "schema").glob("*.json"):
        assert (tmp_path / "schema" / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    code, out, _ = _said(capsys, "schema", "journey")
    assert code == 0 and json.loads(out)["title"] == "a journey"
    assert _said(capsys, "schema")[0] == 2
