"""What is allowed and most likely not meant: word for word what a marketer is told, and that nothing else is.

A case is `golden/lint/NAME.txt`: files behind lines `=== PATH`, laid over the sound workspace. REGEN_GOLDEN=1 writes
the `.out` files anew: read every change before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.problems import render
from orchestrator.project import load_files
from tests.golden.workspace import GOOD

FOLDER = Path(__file__).resolve().parent / "golden" / "lint"
CASES = sorted(FOLDER.glob("*.txt"))


def _files(case: Path) -> dict[str, str]:
    sections = case.read_text(encoding="utf-8").removeprefix("=== ").split("\n=== ")
    return {head: body.rstrip("\n") + "\n" for head, _, body in (section.partition("\n") for section in sections)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_what_is_told(case: Path) -> None:
    files = GOOD | _files(case)
    assert load_files(files).warnings == (), "who does not ask for it does not pay for it"
    warnings = load_files(files, lint=True).warnings
    told = render(warnings, files) + "\n"
    expected = case.with_suffix(".out")
    if os.environ.get("REGEN_GOLDEN"):
        expected.write_text(told, encoding="utf-8")
    assert told == expected.read_text(encoding="utf-8")
    assert len(warnings) == 1, "one mistake is one warning"
    assert warnings[0].hint
    lines = files[warnings[0].span.file].splitlines()
    assert 1 <= warnings[0].span.line <= len(lines)
    assert warnings[0].span.end_col <= len(lines[warnings[0].span.end_line - 1]) + 1


def test_there_is_no_stray_expectation() -> None:
    assert {p.stem for p in FOLDER.glob("*.out")} == {p.stem for p in CASES}


def test_a_sound_workspace_is_warned_of_nothing() -> None:
    assert load_files(GOOD, lint=True).warnings == ()


def _email(body: str) -> dict[str, str]:
    """The welcome mail with something more in it."""
    path = "templates/email/welcome.mjml"
    return {path: GOOD[path].replace("<mj-text>Hello", f"{body}\n        <mj-text>Hello", 1)}


NAMESAKE = GOOD["templates/email/welcome.mjml"]
SOUND = {
    "alternatives of one name are one message": {
        "templates/email/hello.mjml": NAMESAKE,
        "journeys/other.yaml": "journey: other\nowner: crm@acme.example\ntrigger: { event: signed_up }\nsteps:\n"
        "  - first_of: [ { email: hello }, { sms: hello } ]\n    within: 2 days\n  - wait: 3 days\n"
        "  - enter: welcome\n",
    },
    "links that lead somewhere": _email(
        '<mj-text><a href="mailto:a@acme.example">a</a> <a href="tel:030123">b</a></mj-text>'
        '<mj-text><a href="sms:+4930123">c</a> <a href="#end">d</a> <a name="end">e</a></mj-text>'
        """<mj-text><a href="{% if tier == 'gold' %}https://acme.example/g{% endif %}">f</a></mj-text>"""
        '<mj-text><a href="{{ customer.favourite_store | default("https://acme.example") }}">g</a></mj-text>'
        '<mj-button href="https://acme.example/{{ tier | default("x") }}">h</mj-button>'
        '<mj-navbar base-url="https://acme.example"><mj-navbar-link href="/new">i</mj-navbar-link></mj-navbar>'
        '<mj-image alt="" src="https://acme.example/a.png" /> <mj-text><img alt="" src="cid:logo"></mj-text>'
        '<!-- <a href="acme.example">j</a> -->'
    ),
    "a button whose address is a default": _email("<mj-button>Go</mj-button>")
    | {
        "templates/email/welcome.mjml": _email("<mj-button>Go</mj-button>")["templates/email/welcome.mjml"].replace(
            "<mj-body>",
            '<mj-head><mj-attributes><mj-button href="https://acme.example" /></mj-attributes></mj-head><mj-body>',
        )
    },
}
"""What is laid over the sound workspace and is sound, too."""


@pytest.mark.parametrize("name", SOUND)
def test_what_is_meant_is_not_warned_of(name: str) -> None:
    assert load_files(GOOD | SOUND[name], lint=True).warnings == ()
