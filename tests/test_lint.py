"""What is allowed and most likely not meant: word for word what a marketer is told, and that nothing else is.

A case is `golden/lint/NAME.txt`: files behind lines `=== PATH`, laid over the sound workspace. REGEN_GOLDEN=1 writes
the `.out` files anew: read every change before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.offers import presses
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


def _other(rest: str, audience: str = "audience: class == b2c") -> dict[str, str]:
    """One more journey of customers."""
    head = f"journey: other\nowner: crm@acme.example\ntrigger: {{ event: signed_up }}\n{audience}\n"
    return {"journeys/other.yaml": f"{head}goal: {{ event: order_placed }}\n{rest}"}


WORKSPACE = "journeys/workspace.yaml"
TRACKED = {WORKSPACE: GOOD[WORKSPACE].replace("policies:\n", "policies:\n  tracking: { opens: on, clicks: on }\n")}
SMS_HOURS = {
    WORKSPACE: GOOD[WORKSPACE].replace(
        "    release:", "    sms: { open: 08:00-20:00, days: weekdays, then: hold }\n    release:"
    )
}
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
    "a street spelt out": _email("<mj-text>Acme | Hauptstra&szlig;e 1 | D-10115 Berlin</mj-text>", ""),
    "a way out on each way": _email(
        "<mj-text>{% if customer.birthday is defined %}<a href='{{ links.unsubscribe }}'>a</a>{% else %}"
        """<a href="{{ links['preferences'] }}">b</a>{% endif %} {{ workspace.sender.postal_address }}</mj-text>""",
        "",
    ),
    "a way out under one of two conditions": _email(
        "<mj-text>{% if tier == 'gold' %}<a href='{{ links.unsubscribe }}'>a</a>{% endif %}{% if tier != 'gold' %}"
        "<a href='{{ links.preferences }}'>b</a>{% endif %} {{ workspace.sender.postal_address }}</mj-text>",
        "",
    ),
    "a way out wherever there is one": _email(
        "<mj-text>{% if links.unsubscribe is defined %}<a href='{{ links.unsubscribe }}'>a</a>{% endif %}"
        "{{ workspace.sender.postal_address }} {% if tier == 'gold' %}Hello{% endif %}</mj-text>",
        "",
    ),
    "what may come true, and may not": _other(
        "exit_when: [ count(order_placed) >= 3, class == b2c and tier == platinum ]\n"
        "steps: [ { email: welcome }, { wait: 3 days }, { sms: hello, only_if: tier >= silver } ]\n",
        "audience: class == b2c and never(order_placed) and tier < silver",
    ),
    "what a step brings about": _other(
        "steps:\n  - emit: order_placed\n    properties: { order_id: x }\n  - branch:\n"
        "      - if: any(order_placed)\n        steps: [ { email: welcome } ]\n",
        "audience: never(order_placed)",
    ),
    "a message asked about in the next round": TRACKED
    | _other(
        "steps:\n  - sms: hello\n    only_if: not opened(email:welcome)\n  - email: welcome\n  - wait: 3 days\n"
        "  - goto: sms:hello\n    max: 2\n"
    ),
    "a message asked about by the next of a first_of": TRACKED
    | _other(
        "steps:\n  - first_of: [ { email: welcome }, { sms: hello, only_if: not clicked(email:welcome) } ]\n"
        "    within: 1 day\n  - branch: [ { if: opened(email:welcome), steps: [ { wait: 1 day } ] } ]\n"
    ),
    "closed now, and open before it expires": SMS_HOURS
    | _other(
        "steps:\n  - wait_until: { time: 23:00, days: sun }\n  - sms: hello\n    expire_after: 10 hours\n"
        "  - wait_until: { time: 23:00 }\n  - sms: hello\n    id: held\n  - wait_until: { time: 23:00 }\n"
        "  - first_of: [ { email: welcome }, { sms: hello, id: next, expire_after: 1 hour } ]\n    within: 2 days\n"
        "  - wait_until: { time: 06:00, days: weekdays }\n  - wait: 3 hours\n"
        "  - sms: hello\n    id: later\n    expire_after: 1 hour\n"
    ),
    "closed on Sundays in one of two countries": _other(
        "steps:\n  - wait_until: { time: 10:00, days: sun }\n  - sms: hello\n    expire_after: 2 hours\n",
        "audience: country in [FR, AT]",
    ),
    "a deadline for consumers": _other("steps: [ { email: welcome } ]\n", "audience: class != b2b and tier >= bronze")
    | {"templates/email/welcome.mjml": GOOD["templates/email/welcome.mjml"].replace("Hello", "Last chance, hello")},
    "a day that is still to come, and one of every year": {
        "journeys/other.yaml": "journey: other\nunit: account\ntrigger: { date: 90 days before contract.ends }\n"
        "steps:\n  - wait_until: 90 days before contract.ends\n    at: 10:00\n"
        "  - wait_until: 45 days before contract.ends\n  - email: renewal\n"
    },
    "a day of the contract that was renewed meanwhile": {
        "journeys/other.yaml": "journey: other\nunit: account\ntrigger: { date: 30 days before contract.ends }\n"
        "steps:\n  - wait_for: { event: contract_renewed, timeout: 60 days }\n"
        "  - wait_until: 90 days before contract.ends\n  - email: renewal\n"
    },
    "another class of the same unit as the goal": {
        WORKSPACE: GOOD[WORKSPACE].replace("  b2b: {", "  prospect: { tiers: [new] }\n  b2b: {"),
        "journeys/other.yaml": "journey: other\nowner: crm@acme.example\ntrigger: { event: signed_up }\n"
        "audience: class == prospect\ngoal: class == b2c\n"
        "steps: [ { email: welcome }, { wait: 3 days }, { sms: hello } ]\n",
    },
    "late by the clock of the house, not where they are": SMS_HOURS
    | {
        "journeys/other.yaml": 'journey: other\nowner: crm@acme.example\ntrigger: { schedule: "0 22 * * *" }\n'
        "audience: country == US\ngoal: { event: order_placed }\nsteps: [ { sms: hello, expire_after: 2 hours } ]\n",
    },
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Last chance: 20 % off", "Last chance"),
        ("The offer is good, and it ends tonight.", "ends tonight"),
        ("Nur noch 3 Tage: 20 % auf alles", "Nur noch 3 Tage"),
        ("20 % auf alles. Das endet heute Abend", "endet heute Abend"),
        ("Order now, 3 days left!", "3 days left"),
        ("Your plan: 20 % off, only today", "only today"),
        ("You have 3 days left in your trial. There is no hurry.", None),
        ("Your free trial ends today", None),
        ("Your trial period: 5 days left", None),
        ("12 days left until your contract ends", None),
        ("Ihre Testphase endet heute.", None),
        ("Noch 5 Tage: Sie haben nur noch 5 Tage in Ihrer kostenlosen Testphase", None),
        ("This is not your last chance", None),
        ("Nur noch 3 Tage bis zu unserem Webinar", None),
        ("{# never say last chance #} Hello <!-- hurry --> https://acme.example/countdown.gif", None),
    ],
)
def test_what_presses_for_time(text: str, said: str | None) -> None:
    found = presses(text)
    assert (found[0] if found else None) == said
