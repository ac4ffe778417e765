"""Tests of journeys run: the real verbs, a clock that jumps, and what is told when something else came."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from channels.base import Medium
from channels.null import Null
from orchestrator.project import Project, load_files
from orchestrator.rehearsal import rehearsals
from orchestrator.rehearse import Stage, Verdict, coverage
from tests.outgoing import files, journey

pytestmark = pytest.mark.slow

JOURNEYS = {
    "welcome": journey("welcome", "- email: hello\n- wait: 3 days\n- sms: short"),
    "fallback": journey(
        "fallback",
        "- first_of: [ { email: hello }, { sms: short }, { mail: letter } ]\n  until: delivered\n  within: 2 days",
        "{ event: bought }",
    ),
    "split": journey(
        "split",
        "- split:\n    one: { share: 5%, steps: [ { email: hello } ] }\n"
        "    other: { share: 95%, steps: [ { email: second } ] }",
        "{ event: left }",
        "holdout: 20%",
    ),
    "lapsed": journey("lapsed", "- email: second", "{ segment_entry: lapsed }"),
    "monthly": journey(
        "monthly", "- email: hello", '{ schedule: "0 10 1 * *", timezone: recipient }', "reentry: always"
    ),
    "waiting": journey(
        "waiting",
        "- wait_for: { event: bought, timeout: 2 days, then: [ { email: hello } ], else: [ { email: second } ] }\n"
        "- branch:\n    - if: tier == gold\n      steps: [ { sms: short } ]",
        "{ event: signed_up }",
    ),
    "changing": journey(
        "changing", "- wait: 5 days\n- email: hello", "{ tier_change: up }", "exit_when: [ tier == silver ]"
    ),
    "quiet": journey("quiet", "- sms: short", "{ event: left }"),
}
CLOCK = "clock: 2027-03-01 10:00 Europe/Berlin\n"
ANA = "given: { customers: [ { key: ana, class: b2c, tier: silver, consent: [email, sms] } ] }\n"
SIGNS_UP = "when: [ { after: 1 hour, ana: signed_up } ]\n"


@pytest.fixture(scope="module")
def small() -> Project:
    texts = files(JOURNEYS)
    texts["journeys/segments.yaml"] = "lapsed: class == b2c and days_since(last(bought)) > 60\n"
    return load_files(texts)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        yield Stage(Path(folder), {medium: Null(medium) for medium in Medium})


class Runs:
    def __init__(self, stage: Stage, project: Project) -> None:
        self.stage, self.project = stage, project

    def __call__(self, name: str, text: str) -> Verdict:
        (test,) = rehearsals({"a.test.yaml": f"test: it\njourney: {name}\n" + CLOCK + text}, self.project)
        return self.stage.run(test, self.project)


@pytest.fixture
def run(stage: Stage, small: Project) -> Runs:
    return Runs(stage, small)


def failures(verdict: Verdict) -> list[tuple[str, str]]:
    return [(f.kind, f.text) for f in verdict.failures]


def why(verdict: Verdict) -> str:
    return "\n".join(line for f in verdict.failures for line in f.why)


# ---- passing and failing --------------------------------------------------------------------------------------------

BOTH = "expect:\n  - 2027-03-01 11:00 email hello to ana\n  - 2027-03-04 11:00 sms short to ana\n"


def test_what_is_expected_comes(run):
    verdict = run("welcome", ANA + SIGNS_UP + BOTH)
    assert verdict.passed, verdict.failures
    assert [(t.expected is not None, t.good) for t in verdict.turns] == [(True, True)] * 2


def test_two_runs_are_the_same(run):
    first, second = (run("welcome", ANA + SIGNS_UP + BOTH) for _ in range(2))
    assert first.turns == second.turns and first.stops == second.stops


def test_what_does_not_come_is_missing_and_when_it_did_is_told(run):
    verdict = run("welcome", ANA + SIGNS_UP + BOTH.replace("03-04 11:00", "03-05 11:00"))
    assert failures(verdict) == [("missing", "2027-03-05 11:00 sms short to ana")]
    assert why(verdict) == "it went out 2027-03-04 11:00"
    assert verdict.failures[0].span.line == 8


def test_what_nobody_expected_is_unexpected_unless_it_is_allowed(run):
    only = ANA + SIGNS_UP + "expect: [ 2027-03-01 email hello to ana ]\nuntil: 7 days\n"
    verdict = run("welcome", only)
    assert failures(verdict) == [("unexpected", "2027-03-04 11:00 sms short to ana")]
    assert run("welcome", only + "also: allowed\n").passed


def test_a_refusal_is_told_with_its_reason(run):
    text = ANA.replace("[email, sms]", "[sms]") + SIGNS_UP + BOTH
    verdict = run("welcome", text)
    assert failures(verdict) == [("missing", "2027-03-01 11:00 email hello to ana")]
    assert "because no_consent: " in why(verdict)
    assert run("welcome", text.replace("email hello to ana", "email hello to ana refused because no_consent")).passed
    assert run("welcome", text.replace("2027-03-01 11:00 email hello to ana", "2027-03-04 sms to ana")).passed is False


def test_never_is_a_refusal_for_that_reason_or_an_absence(run):
    base = ANA.replace("[email, sms]", "[sms]") + SIGNS_UP + "also: allowed\nuntil: 7 days\n"
    assert run("welcome", base + "never: [ email hello to ana because no_consent ]\n").passed
    assert run("welcome", base + "never: [ push ]\n").passed
    wrong = run("welcome", base + "never: [ email hello to ana because frequency_cap ]\n")
    assert failures(wrong) == [("forbidden", "email hello to ana because frequency_cap")]
    assert "because no_consent" in why(wrong)
    sent = run("welcome", base + "never: [ sms to ana ]\n")
    assert failures(sent) == [("forbidden", "sms to ana")] and "it went out 2027-03-04" in why(sent)
    alone = run("welcome", base.replace("also: allowed\n", "") + "never: [ sms to ana ]\n")
    assert failures(alone) == [("forbidden", "sms to ana")], "and not told to be added to `expect`"


def test_who_never_entered_is_told_why(run):
    verdict = run("welcome", ANA + BOTH)
    assert why(verdict).startswith("ana never entered welcome")


def test_a_missing_value_is_named(run):
    text = ANA.replace("tier: silver", "tier: silver, first_name: ") + SIGNS_UP + BOTH
    assert "customer.first_name" in why(run("welcome", text))


# ---- time -----------------------------------------------------------------------------------------------------------


def test_a_year_of_a_monthly_journey_in_two_zones_takes_few_stops(run):
    joe = ", { key: joe, class: b2c, timezone: Asia/Tokyo, country: JP, consent: [email] } ] }"
    people = ANA.replace(" ] }", joe)
    lines = "".join(f"  - 2027-{m:02}-01 10:00 email hello to ana\n" for m in range(4, 13))
    verdict = run("monthly", people + f"expect:\n{lines}  - 2027-04-01 03:00 email hello to joe\nalso: allowed\n")
    assert verdict.passed, verdict.failures
    assert verdict.stops < 60
    assert sum(t.got == "email hello to joe" for t in verdict.turns) == 9


def test_somebody_comes_into_a_segment_by_time_alone_to_the_minute(run):
    given = ANA.replace(" ] }", " ], events: [ { at: 2027-02-01 14:23, ana: bought } ] }")
    verdict = run("lapsed", given + "expect: [ 2027-04-03 email second to ana ]\n")
    assert verdict.passed, verdict.failures


def test_night_holds_a_text_and_the_morning_lets_it_go(run):
    at = "when: [ { at: 2027-03-01 23:00, ana: left } ]\n"
    lines = "expect:\n  - 2027-03-01 sms to ana held because quiet_hours\n  - 2027-03-02 08:00-10:00 sms to ana\n"
    assert run("quiet", ANA + at + lines).passed


def test_a_field_that_changes_makes_a_tier_change_and_an_exit(run):
    sets = "when:\n" + "".join(
        f"  - {{ after: {n} days, set: {{ ana: {{ tier: {tier} }} }} }}\n" for n, tier in ((1, "gold"), (3, "silver"))
    )
    verdict = run("changing", ANA + sets + "until: 10 days\nexpect: [ ana left changing because exited ]\n")
    assert verdict.passed, verdict.failures


# ---- what comes back ------------------------------------------------------------------------------------------------

BUYS = "when:\n  - { after: 1 hour, ana: bought }\n"


def test_messages_arrive_unless_the_test_says_otherwise(run):
    assert run("fallback", ANA + BUYS + "until: 7 days\nexpect: [ 2027-03-01 11:00 email hello to ana ]\n").passed


def test_a_bounce_moves_on_at_once_a_soft_one_when_the_time_is_over(run):
    hard = "  - { message: email:hello, hard_bounce: true }\n"
    lines = "expect:\n  - 2027-03-01 11:00 email hello to ana\n  - {} sms short to ana\n"
    assert run("fallback", ANA + BUYS + hard + lines.format("2027-03-01 11:01")).passed
    soft = hard.replace("hard", "soft")
    assert run("fallback", ANA + BUYS + soft + lines.format("2027-03-03 11:00")).passed


def test_a_bounce_of_a_message_that_never_went_out_is_told(run):
    text = ANA + SIGNS_UP.replace("]\n", ", { message: sms:short, failed: true } ]\n")
    verdict = run("welcome", text + "expect: [ 2027-03-01 email hello to ana ]\n")
    assert failures(verdict) == [("impossible", "no sms:short went out, so nothing came back of it")]


def test_somebody_takes_her_yes_back(run):
    withdraws = SIGNS_UP.replace("]\n", ", { after: 1 day, ana: withdraws, medium: sms, topic: offers } ]\n")
    verdict = run(
        "welcome",
        ANA + withdraws + BOTH.replace("sms short to ana", "sms short to ana refused because consent_withdrawn"),
    )
    assert verdict.passed, verdict.failures


# ---- chance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arm", "text"), [("one", "hello"), ("other", "second")])
def test_chance_deals_what_the_test_says(run, arm, text):
    given = "given: { customers: [ " + ", ".join(
        f"{{ key: {k}, class: b2c, consent: [email], takes: {arm} }}" for k in ("ana", "bea", "cid")
    )
    when = " ] }\nwhen: [ " + ", ".join(f"{{ after: 1 hour, {k}: left }}" for k in ("ana", "bea", "cid")) + " ]\n"
    lines = "".join(f"  - 2027-03-01 email {text} to {k}\n" for k in ("ana", "bea", "cid"))
    verdict = run("split", given + when + f"expect:\n{lines}")
    assert verdict.passed, verdict.failures


def test_who_is_held_out_hears_nothing(run):
    given = ANA.replace("tier: silver", "tier: silver, holdout: yes")
    verdict = run(
        "split", given + "when: [ { after: 1 hour, ana: left } ]\nexpect: [ ana left split because holdout ]\n"
    )
    assert verdict.passed, verdict.failures


def test_an_arm_that_no_split_has_cannot_be_dealt(run):
    given = ANA.replace("tier: silver", "tier: silver, takes: third")
    verdict = run("split", given + "never: [ email ]\n")
    assert failures(verdict)[0][0] == "impossible" and "`third`" in failures(verdict)[0][1]


# ---- the programme --------------------------------------------------------------------------------------------------

PROGRAM = """
vouchers: { ten-off: { title: Ten off, valid: 90 days } }
surveys: { nps: { title: How was it?, questions: { recommend: { kind: nps, ask: Would you?, needed: yes } } } }
program:
  b2c:
    tier_by: points(365 days)
    thresholds: { silver: 0, gold: 500 }
    points: [ 1 per 1 EUR of bought.amount ]
    challenges: { second: { when: count(bought) >= 2, points: 100, badge: regular } }
    rewards: { mug: { costs: 200, stock: 1 }, ten: { costs: 100, voucher: ten-off } }
    referral: { code: per customer, converts_on: bought, within: 90 days, reward: { referrer: 50 } }
"""
MEMBERS = """given:
  customers: [ { key: ana, class: b2c, consent: [email] }, { key: ben, class: b2c, joined: today } ]
  points: { ana: 300 }
  vouchers: { ten-off: 2 }
  events: [ { at: 9 days ago, ana: bought, amount: 150 EUR } ]
until: 30 days
also: allowed
"""


@pytest.fixture(scope="module")
def loyal() -> Project:
    texts = files({"risen": journey("risen", "- email: hello", "{ tier_change: up }"), "welcome": JOURNEYS["welcome"]})
    texts["journeys/workspace.yaml"] += PROGRAM
    return load_files(texts)


def test_what_is_given_is_counted_before_the_clock_begins(stage, loyal):
    points = "  - 2027-03-01 10:00 points of ana are 450\n"
    verdict = Runs(stage, loyal)("risen", f"{MEMBERS}expect:\n{points}never: [ ana enters risen ]\n")
    assert verdict.passed, verdict.failures
    nothing = Runs(stage, loyal)("risen", f"{MEMBERS}expect:\n{points}  - ana has voucher ten-off\n")
    assert failures(nothing) == [("untrue", "ana has voucher ten-off")] and why(nothing) == "vouchers of ana: none"


def test_people_claim_redeem_refer_answer_and_rise(stage, loyal):
    text = """when:
  - { after: 1 day, ana: bought, amount: 60 EUR }
  - { after: 2 days, ana: claims, reward: mug }
  - { after: 2 days, ana: claims, reward: ten }
  - { after: 3 days, ana: redeems, voucher: ten-off }
  - { after: 4 days, ana: refers, customer: ben }
  - { after: 5 days, ben: bought, amount: 20 EUR }
  - { after: 6 days, ana: answers, survey: nps, score: 9 }
expect:
  - 2027-03-02 10:00 points of ana are 610
  - ana completed second
  - ana has badge regular
  - 2027-03-02 tier of ana is gold
  - 2027-03-02 10:00 email hello to ana
  - 2027-03-03 points of ana are 310
  - ana has reward mug
  - ana has voucher ten-off
  - 2027-03-06 points of ana are 360
  - ana matches nps == 9
"""
    verdict = Runs(stage, loyal)("risen", MEMBERS + text)
    assert verdict.passed, verdict.failures


def test_what_somebody_may_not_do_is_told_with_its_reason(stage, loyal):
    text = """when:
  - { after: 1 day, ben: claims, reward: mug }
  - { after: 2 days, ben: redeems, voucher: ten-off }
  - { after: 3 days, ana: refers, customer: ana }
never: [ sms ]
"""
    verdict = Runs(stage, loyal)("risen", MEMBERS + text)
    told = [text for kind, text in failures(verdict) if kind == "impossible"]
    assert [t.partition(":")[0] for t in told] == ["ben claims", "ben redeems", "ana refers"]
    assert "because points" in told[0] and "no code of `ten-off`" in told[1] and "because self" in told[2]


# ---- states, and what tests came to ---------------------------------------------------------------------------------


def test_states_are_asked_at_their_time(run):
    sets = "when: [ { at: 2027-03-03 12:00, set: { ana: { tier: gold } } } ]\nalso: allowed\n"
    told = (
        "2027-03-02 tier of ana is silver",
        "2027-03-03 11:00 tier of ana is silver",
        "2027-03-03 tier of ana is gold",
    )
    lines = "expect:\n" + "".join(f"  - {line}\n" for line in told)
    assert run("changing", ANA + sets + lines).passed
    verdict = run("changing", ANA + sets + "expect: [ 2027-03-02 tier of ana is gold ]\nuntil: 5 days\n")
    assert failures(verdict) == [("untrue", "2027-03-02 tier of ana is gold")]
    assert why(verdict) == "`tier` is silver 2027-03-02 23:59"


def test_runs_stand_where_they_should(run):
    told = (
        "2027-03-02 ana is in waiting at wait_for:bought",
        "2027-03-05 ana is not in waiting",
        "ana completed waiting",
    )
    lines = "expect:\n" + "".join(f"  - {line}\n" for line in told)
    verdict = run("waiting", ANA + SIGNS_UP + "also: allowed\n" + lines)
    assert verdict.passed, verdict.failures
    wrong = run("waiting", ANA + SIGNS_UP + "also: allowed\nexpect: [ 2027-03-02 ana left waiting ]\n")
    assert "stands at `wait_for:bought` until 2027-03-03 11:00" in why(wrong)


def test_coverage_names_what_no_test_came_to(run, small):
    verdict = run("waiting", ANA + SIGNS_UP + "also: allowed\nexpect: [ ana completed waiting ]\n")
    found = coverage(small.journeys["waiting"], [verdict.reached["waiting"]])
    assert set(found.unreached) == {"email:hello", "sms:short"}
    assert set(found.untaken) == {("wait_for:bought", "then"), ("branch", "if 1")}
    assert 0 < found.share < 1
    assert coverage(small.journeys["waiting"], []).share == 0
