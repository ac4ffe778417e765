"""docs/reference/cli.md says what the commands say, and their documents have the members it lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli import build
from orchestrator.cli._reference import ANSWERS, reference
from tests.cli.conftest import World

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_the_page_is_current():
    hint = "python -m orchestrator.cli._reference > docs/reference/cli.md"
    assert PAGE.read_text(encoding="utf-8") == reference(), hint


def test_every_command_of_the_issue_is_there():
    wanted = "init check plan apply run up import segment customer why journeys pause resume outbox log db doctor audit"
    app = build()
    assert [name for name in wanted.split() if name not in set(app)] == []


ASKED = {
    "check": ("check",),
    "plan": ("plan",),
    "segment": ("segment", "gold-members"),
    "customer": ("customer", "ana"),
    "why": ("why", "ana"),
    "journeys": ("journeys",),
    "outbox": ("outbox",),
    "log": ("log",),
    "db check": ("db", "check"),
    "db stats": ("db", "stats"),
    "db upgrade": ("db", "upgrade"),
    "doctor": ("doctor",),
    "audit verify": ("audit", "verify"),
    "audit seal": ("audit", "seal"),
    "audit key": ("audit", "key"),
    "audit verifier": ("audit", "verifier"),
}


@pytest.mark.parametrize("name", ASKED)
def test_documents_have_the_members_that_are_listed(told: World, name: str):
    assert set(told.json(*ASKED[name])) == set(ANSWERS[name])


def test_documents_of_what_changes_something(small: World):
    path = str(small.write("customers.csv", [{"key": "a", "class": "b2c"}, {"key": "b", "class": "b2c"}]))
    assert set(small.json("import", "customers", path)) == set(ANSWERS["import"])
    assert set(small.json("customer", "merge", "a", "b", "--yes")) == set(ANSWERS["customer merge"])
    assert set(small.json("apply", "-m", "x", "--yes")) == set(ANSWERS["apply"])
    assert set(small.json("pause", "hello")) == set(ANSWERS["pause"])
    assert set(small.json("resume", "hello")) == set(ANSWERS["resume"])
    assert set(small.json("init", str(small.folder / "new"))) == set(ANSWERS["init"])


def test_every_commands_help_is_shown(small: World):
    for name in ANSWERS:
        said = small(*name.split(), "--help")
        assert said.code == 0, name
        assert "Usage" in said.out
