"""Test files as they are written: read, checked against the workspace, every mistake placed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import jsonschema
import pytest

from channels.base import EventKind
from orchestrator.problems import Problem, Problems, ProjectError
from orchestrator.project import Project, load_files
from orchestrator.rehearsal import Change, Deed, Reaction, Rehearsal, rehearsal_schema, rehearsals
from orchestrator.rehearsal.expectation import Course, Line, State
from orchestrator.source import parse
from tests.outgoing import email, journey

ROOT = Path(__file__).resolve().parent.parent
PATH = "journeys/some.test.yaml"
HEAD = "test: something\nclock: 2027-03-01 10:00 Europe/Berlin\n"
GIVEN = """
given:
  account: { key: nord, class: b2b, tier: standard, status: active }
  contracts: [ { contract_id: c1, ends: in 90 days, auto_renew: no } ]
  customers:
    - { key: ana, class: b2c, tier: silver, consent: [email offers, sms, push, mail] }
    - { key: ben, role: admin, consent: email }
"""
NEVER = "never: [ email to ana ]\n"


WORKSPACE = """
workspace: acme
timezone: Europe/Berlin
currency: EUR
sender: { name: Acme, postal_address: "Acme GmbH, Hauptstr. 1, 10115 Berlin, DE" }
attributes: { customer: { birthday: date }, account: { status: { one_of: [active, churned] } } }
records: { contract: { of: account, key: contract_id, ends: date, auto_renew: yes_no } }
events:
  signed_up: { source: text }
  order_placed: { order_id: key, amount: money }
  first_login: { device: text }
  contract_signed: { contract_id: key }
  contract_renewed: { contract_id: key }
classes: { b2c: { tiers: [bronze, silver, gold] }, b2b: { tiers: [standard, strategic], unit: account } }
topics: { offers: { purpose: marketing, title: Offers } }
"""


@lru_cache(maxsize=1)
def acme() -> Project:
    return load_files(
        {
            "journeys/workspace.yaml": WORKSPACE,
            "journeys/segments.yaml": "vip-club: class == b2c and tier >= gold\n",
            "journeys/welcome.yaml": journey("welcome", "- email: welcome\n- wait: 1 day\n- sms: welcome-stores"),
            "journeys/b2b-onboarding.yaml": journey(
                "b2b-onboarding",
                "- email: welcome\n"
                "- wait_for: { event: first_login, timeout: 4 days }\n"
                "- task: account_manager\n  id: nobody-signed-in\n  message: Call them",
                "{ event: contract_signed }",
                "unit: account\nrecipients: { role: [admin] }",
            ),
            "templates/email/welcome.mjml": email("Welcome", "Good to see you."),
            "templates/sms/welcome-stores.txt": "---\ntopic: offers\n---\nHello. Reply STOP to opt out\n",
        }
    )


def one(text: str) -> Rehearsal:
    (found,) = rehearsals({PATH: text}, acme())
    return found


def told(text: str) -> list[Problem]:
    with pytest.raises(ProjectError) as raised:
        rehearsals({PATH: text}, acme())
    return list(raised.value.problems)


def code(text: str) -> tuple[str, int, int]:
    """The one problem: its code, line and column."""
    found = told(text)
    assert len(found) == 1, found
    return found[0].code, found[0].span.line, found[0].span.col


# ---- what a file says -----------------------------------------------------------------------------------------------


def test_a_file_holds_one_test_or_several():
    assert one(HEAD + GIVEN + NEVER).name == "something"
    several = "".join(
        f"- test: {n}\n  clock: 2027-03-01 10:00\n  never: [ {m} ]\n" for n, m in (("a", "email"), ("b", "sms"))
    )
    assert [t.name for t in rehearsals({PATH: several}, acme())] == ["a", "b"]


def test_the_clock_is_wall_time_in_a_zone_the_workspaces_when_none_is_said():
    assert one(HEAD + GIVEN + NEVER).clock == datetime(2027, 3, 1, 9, tzinfo=UTC)
    assert one(HEAD.replace(" Europe/Berlin", "") + GIVEN + NEVER).zone == "Europe/Berlin"
    there = one(HEAD.replace("Europe/Berlin", "America/New_York") + GIVEN + NEVER)
    assert there.clock == datetime(2027, 3, 1, 15, tzinfo=UTC)


def test_without_a_journey_all_of_them_run():
    assert one(HEAD + GIVEN + NEVER).journeys == tuple(sorted(acme().journeys))
    assert one(HEAD + "journey: welcome\n" + GIVEN + NEVER).journeys == ("welcome",)


def test_it_ends_with_the_last_day_that_is_named():
    assert one(HEAD + GIVEN + NEVER).until == datetime(2027, 3, 31, 22, tzinfo=UTC)  # 30 days; summer time by then
    dated = HEAD + GIVEN + "expect: [ 2027-03-05 email welcome to ana ]\n"
    assert one(dated).until == datetime(2027, 3, 5, 23, tzinfo=UTC)
    assert one(dated + "until: 2027-03-20\n").until == datetime(2027, 3, 20, 23, tzinfo=UTC)
    assert one(dated + "until: 10 days\n").until == datetime(2027, 3, 11, 9, tzinfo=UTC)


def test_short_rows_are_made_up_so_that_people_can_be_written_to():
    people = one(HEAD + GIVEN + NEVER).given.people
    ana = people["ana"].row.values
    assert ana["email"] == "ana@example.com" and ana["phone"].startswith("+49") and ana["street"]
    assert (ana["country"], ana["timezone"], ana["first_name"]) == ("DE", "Europe/Berlin", "Ana")
    ben = people["ben"].row.values
    assert "phone" not in ben and "street" not in ben
    assert (ben["account"], ben["class"]) == ("nord", "b2b")
    kinds = [row.kind for row in one(HEAD + GIVEN + NEVER).given.rows]
    assert kinds.count("devices") == 1 and kinds.count("consents") == 5


def test_what_is_made_up_is_of_somebodys_own_country():
    text = HEAD + "given: { customer: { key: joe, class: b2c, timezone: America/New_York, consent: [sms, mail] } }\n"
    joe = one(text + "never: [ email to joe ]\n").given.people["joe"].row.values
    assert joe["country"] == "US" and joe["phone"].startswith("+1") and joe["city"] == "New York"


def test_an_empty_cell_is_empty():
    text = HEAD + "given: { customer: { key: joe, class: b2c, email: } }\nnever: [ email to joe ]\n"
    assert one(text).given.people["joe"].row.values["email"] is None


def test_days_may_be_told_by_the_clock():
    (contract,) = [row for row in one(HEAD + GIVEN + NEVER).given.rows if row.kind == "records"]
    assert contract.values["ends"] == "2027-05-30"
    assert contract.values["account"] == "nord"


def test_events_name_somebody_and_what_happened():
    when = """
when:
  - { after: 3 days, ana: order_placed, amount: 50 EUR, times: 3, every: 1 week }
  - { at: 2027-03-02 08:30, nord: contract_renewed }
"""
    renewed, first, second, third = one(HEAD + GIVEN + when + NEVER).happens
    assert isinstance(renewed, Deed) and renewed.details == {"contract_id": "c1"}  # the one contract there is
    assert renewed.at == datetime(2027, 3, 2, 7, 30, tzinfo=UTC)
    assert [d.at - first.at for d in (second, third)] == [timedelta(days=7), timedelta(days=14)]
    assert isinstance(first, Deed) and first.row is not None and first.row.values["amount"] == "50 EUR"
    rows = [d.row for d in (renewed, first, second, third) if isinstance(d, Deed) and d.row]
    assert len({row.values["event_id"] for row in rows}) == 4


def test_what_comes_back_of_a_message_and_what_changes():
    when = """
when:
  - { message: email:welcome, to: ana, opened: 2 hours }
  - { after: 2 days, message: email:welcome, hard_bounce: true }
  - { after: 3 days, message: sms:welcome-stores, replied: "Who is this?" }
  - { after: 4 days, set: { ana: { tier: gold }, c1: { auto_renew: yes } } }
"""
    opened, bounced, replied, change = one(HEAD + GIVEN + when + NEVER).happens
    assert isinstance(opened, Reaction) and isinstance(bounced, Reaction) and isinstance(replied, Reaction)
    assert (opened.kind, opened.to, opened.delay.seconds) == (EventKind.OPENED, "ana", 7200)
    assert (bounced.kind, bounced.delay.seconds) == (EventKind.BOUNCED, 60)
    assert replied.text == "Who is this?"
    assert isinstance(change, Change) and [row.kind for row in change.rows] == ["customers", "records"]


def test_expectations_are_lines():
    expect = """
expect:
  - 2027-03-05 09:00 email welcome to ana
  - 2027-03-05 08:00-10:00 sms welcome-stores to ana held because quiet_hours
  - after 14 days task nobody-signed-in to account_manager for nord
  - 2027-03-06 tier of ana is gold
  - class of ana is not b2b
  - country of ana is DE
  - ana matches tier >= silver and email is set
  - ana is in segment vip-club
  - ana is in b2b-onboarding at wait_for:first_login
  - ana left welcome because goal
  - 2027-03-06 ana enters welcome
"""
    lines = one(HEAD + GIVEN + expect).expect
    sent, held, task, tier, other, country, matches, segment, inside, left, enters = lines
    assert isinstance(sent, Line) and (sent.medium, sent.name, sent.to, sent.fate) == (
        "email",
        "welcome",
        "ana",
        "sent",
    )
    assert isinstance(held, Line) and (held.fate, held.reason) == ("held", "quiet_hours")
    assert held.when is not None and held.when.last_time is not None
    assert isinstance(task, Line) and (task.to, task.about) == ("account_manager", "nord")
    assert task.when is not None and task.when.day.isoformat() == "2027-03-15"
    states = [tier, other, country, matches, segment]
    assert [s.condition.text for s in states if isinstance(s, State)] == [
        'tier == "gold"',
        'class != "b2b"',
        'country == "DE"',
        'tier >= "silver" and email is set',
        'in segment("vip-club")',
    ]
    assert isinstance(inside, Course) and (inside.what, inside.step) == ("in", "wait_for:first_login")
    assert isinstance(left, Course) and (left.what, left.reason) == ("left", "goal")
    assert isinstance(enters, Course) and enters.what == "enters"


# ---- what is wrong with it ------------------------------------------------------------------------------------------

WRONG = {
    "unknown-key": HEAD + "exspect: [ email to ana ]\n" + GIVEN + NEVER,
    "missing-key": "test: x\n" + GIVEN + NEVER,
    "unknown-journey": HEAD + "journey: welcom\n" + GIVEN + NEVER,
    "unknown-zone": HEAD.replace("Berlin", "Berln") + GIVEN + NEVER,
    "bad-row": HEAD + GIVEN.replace("status: active", "status: actve") + NEVER,
    "unknown-field": HEAD + GIVEN.replace("role: admin", "rol: admin") + NEVER,
    "unknown-topic": HEAD + GIVEN.replace("email offers", "email ofers") + NEVER,
    "wrong-choice": HEAD + GIVEN.replace("email offers", "mial offers") + NEVER,
    "duplicate-key": HEAD + GIVEN.replace("key: ben", "key: ana") + NEVER,
    "unknown-person": HEAD + GIVEN + "never: [ email to anna ]\n",
    "unknown-event": HEAD + GIVEN + "when: [ { after: 1 day, ana: order_placd } ]\n" + NEVER,
    "unknown-step-id": HEAD + GIVEN + "when: [ { message: email:welcom, opened: true } ]\n" + NEVER,
    "wrong-type": HEAD + GIVEN + "when: [ { after: 1 dya, ana: order_placed } ]\n" + NEVER,
    "unknown-template": HEAD + GIVEN + "never: [ email welcom to ana ]\n",
    "unknown-tier": HEAD + GIVEN + "expect: [ tier of ana is golden ]\n",
    "unknown-segment": HEAD + GIVEN + "expect: [ ana is in segment vip ]\n",
    "bad-expectation": HEAD + GIVEN + "expect: [ ana flies ]\n",
}


@pytest.mark.parametrize("wanted", WRONG)
def test_a_mistake_is_one_problem_with_its_code(wanted):
    assert code(WRONG[wanted])[0] == wanted


def test_mistakes_have_their_place():
    assert code(WRONG["unknown-template"])[1:] == (10, 16)
    assert code(WRONG["unknown-step-id"])[1:] == (10, 20)
    assert code(WRONG["bad-row"])[1] == 5


@pytest.mark.parametrize(
    "line",
    [
        "2027-13-01 email to ana",
        "2027-03-05 25:00 email to ana",
        "2027-03-05 email welcome to ana because goal",
        "2027-03-05 email welcome from ana",
        "ana left welcome because bored",
        "[1, 2]",
        "zoe matches tier >= gold",
    ],
)
def test_a_line_that_cannot_be_read_is_told_once(line):
    assert code(HEAD + GIVEN + f"expect: [ {line} ]\n")[0] == "bad-expectation"


@pytest.mark.parametrize(
    ("word", "meant"), [("letter", "mail"), ("text", "sms"), ("message", "sms"), ("e-mail", "email")]
)
def test_a_medium_by_another_name_is_recognised(word, meant):
    with pytest.raises(ProjectError) as raised:
        rehearsals({"j.test.yaml": HEAD + GIVEN + f"expect: [ {word} welcome to ana ]\n"}, acme())
    assert [p.hint for p in raised.value.problems] == [f"did you mean `{meant}`?"]


def test_a_slip_in_the_journey_is_corrected_there_and_not_in_the_test():
    call = journey("calls", "- task: account_manger\n  message: Call")
    project = load_files({"journeys/workspace.yaml": WORKSPACE, "journeys/calls.yaml": call})
    with pytest.raises(ProjectError) as raised:
        rehearsals({"j.test.yaml": HEAD + GIVEN + "expect: [ task account_manager ]\n"}, project)
    (hint,) = (p.hint for p in raised.value.problems)
    assert "`account_manger`" in hint and "correct it there" in hint


def test_what_is_no_line_is_told_with_a_letter_among_the_examples():
    with pytest.raises(ProjectError) as raised:
        rehearsals({"j.test.yaml": HEAD + GIVEN + "expect: [ zzz welcome zoe ]\n"}, acme())
    assert "mail welcome-letter to ana" in raised.value.problems[0].hint


def test_a_test_that_expects_nothing_is_none():
    assert code(HEAD + GIVEN)[0] == "missing-key"


def test_what_is_given_has_happened_and_what_happens_is_before_the_end():
    early = GIVEN + "  events: [ { at: 2027-04-01, ana: order_placed } ]\n"
    assert code(HEAD + early + NEVER)[0] == "wrong-type"
    late = "when: [ { after: 20 days, ana: order_placed } ]\nuntil: 10 days\n"
    assert code(HEAD + GIVEN + late + NEVER)[0] == "wrong-type"


def test_a_line_is_of_a_day_of_the_test():
    assert code(HEAD + GIVEN + "expect: [ 2027-02-28 email to ana ]\n")[0] == "bad-expectation"
    assert code(HEAD + GIVEN + "until: 5 days\nexpect: [ 2027-03-20 email to ana ]\n")[0] == "wrong-type"


def test_all_problems_of_all_files_are_told_at_once():
    with pytest.raises(ProjectError) as raised:
        rehearsals({"a.test.yaml": WRONG["unknown-field"], "b.test.yaml": WRONG["unknown-event"]}, acme())
    assert [(p.span.file, p.code) for p in raised.value.problems] == [
        ("a.test.yaml", "unknown-field"),
        ("b.test.yaml", "unknown-event"),
    ]


# ---- the schema -----------------------------------------------------------------------------------------------------


def test_the_committed_schema_is_current():
    path = ROOT / "docs" / "schema" / "test.schema.json"
    text = json.dumps(rehearsal_schema(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("REGEN_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run the tests once with REGEN_GOLDEN=1, and look at the change"


@pytest.mark.parametrize("path", sorted((ROOT / "journeys").rglob("*.test.yaml")), ids=lambda p: p.name)
def test_the_starter_tests_fit_the_schema_and_name_it(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=../../docs/schema/test.schema.json\n")
    node = parse(text, path.name, Problems())
    assert node is not None
    jsonschema.Draft7Validator(rehearsal_schema()).validate(node.plain())
