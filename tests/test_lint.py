"""What is allowed and most likely not meant: word for word what a marketer is told, and that nothing else is.

A case is `golden/lint/NAME.txt`: files behind lines `=== PATH`, laid over the sound workspace. REGEN_GOLDEN=1 writes
the `.out` files anew: read every change before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.problems import alike, render
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


FOOTER = '<a href="{{ links.unsubscribe }}">Unsubscribe</a> {{ workspace.sender.postal_address }}'


def _email(body: str, footer: str = FOOTER) -> dict[str, str]:
    """The welcome mail with something more in it, and with another footer."""
    path = "templates/email/welcome.mjml"
    text = GOOD[path].replace("<mj-text>Hello", f"{body}\n        <mj-text>Hello", 1)
    return {path: text.replace(FOOTER, footer or "<a href='{{ links.unsubscribe }}'>x</a>" * ("links" not in body))}


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
    "a postal address by lines": _email(
        "<mj-text>Acme GmbH &middot; Inc.<br/>Hauptstr.&nbsp;1<br /><b>10115</b> Berlin<br/>Germany</mj-text>", ""
    ),
    "a way out on each way": _email(
        "<mj-text>{% if customer.birthday is defined %}<a href='{{ links.unsubscribe }}'>a</a>{% else %}"
        """<a href="{{ links['preferences'] }}">b</a>{% endif %} {{ workspace.sender.postal_address }}</mj-text>""",
        "",
    ),
    "a way out wherever there is one": _email(
        "<mj-text>{% if links.unsubscribe is defined %}<a href='{{ links.unsubscribe }}'>a</a>{% endif %}"
        "{{ workspace.sender.postal_address }} {% if tier == 'gold' %}Hello{% endif %}</mj-text>",
        "",
    ),
}
"""What is laid over the sound workspace and is sound, too."""


@pytest.mark.parametrize("name", SOUND)
def test_what_is_meant_is_not_warned_of(name: str) -> None:
    assert load_files(GOOD | SOUND[name], lint=True).warnings == ()


@pytest.mark.parametrize(
    "words",
    [
        "Reply STOP to opt out",
        "Abmelden: STOP",
        "Text END to stop all of it",
        "keine Werbung mehr? Antwort mit ENDE",
        "Pour ne plus en recevoir, répondez FIN",
        "Rispondi FINE",
        "To opt-out visit our site",
        "No more? {{ links.preferences }}",
        "STOP SMS 36180",
        "https://acme.example/unsubscribe",
    ],
)
def test_a_text_message_says_how_to_stop_in_whatever_words(words: str) -> None:
    text = f"---\ntopic: loyalty\n---\nAcme: hello! {words}\n"
    assert load_files(GOOD | {"templates/sms/hello.txt": text}, lint=True).warnings == ()


@pytest.mark.parametrize("words", ["20% OFF at the weekend", "Sale ends today", "Mit uns: das Ende der Warterei"])
def test_a_text_message_that_does_not_say_how_to_stop(words: str) -> None:
    text = f"---\ntopic: loyalty\n---\nAcme: hello! {words}\n"
    told = load_files(GOOD | {"templates/sms/hello.txt": text}, lint=True).warnings
    assert [p.code for p in told] == ["no-unsubscribe"]


@pytest.mark.parametrize(
    ("one", "other", "slip"),
    [
        ("custmer-care", "customer-care", True),
        ("cutsomer-care", "customer-care", True),
        ("customer care", "customer-care", True),
        ("Customer-Care", "customer-care", True),
        ("customercare", "customer-care", True),
        ("sales", "sale", True),
        ("account_managers", "account_manager", True),
        ("customer-care", "customer-care", False),
        ("sales-north", "sales-south", False),
        ("sales-austria", "sales-australia", False),
        ("desk-a", "desk-b", False),
        ("team-1", "team-2", False),
        ("region10", "region11", False),
        ("inbound", "outbound", False),
        ("crm", "crn", False),
        ("manager", "account_manager", False),
    ],
)
def test_a_slip_is_told_from_another_name(one: str, other: str, slip: bool) -> None:
    assert alike(one, other) is slip is alike(other, one)


@pytest.mark.parametrize(
    "date", ["every year 10 days before birthday", "every year on birthday", "6574 days after birthday"]
)
def test_a_birthday_that_may_come_is_not_warned_of(date: str) -> None:
    text = GOOD["journeys/welcome.yaml"].replace("trigger: { event: signed_up }", f"trigger: {{ date: {date} }}")
    assert load_files(GOOD | {"journeys/welcome.yaml": text}, lint=True).warnings == ()


def test_a_slip_in_the_workspace_is_told_at_its_place() -> None:
    declared = GOOD["journeys/workspace.yaml"] + "preferences: { call_me: acount_manager }\n"
    (told,) = load_files(GOOD | {"journeys/workspace.yaml": declared}, lint=True).warnings
    assert (told.code, told.span.line) == ("misspelt-team", declared.count("\n"))
