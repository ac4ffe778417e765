"""The sum of the rules: the strictest wins, a rule that fails denies, and nothing makes a refusal a yes."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator.rules as package
from channels.base import Medium
from orchestrator.model import Cap, HouseHours, Policies, Window
from orchestrator.rules import (
    Consent,
    Contact,
    Partner,
    Place,
    Rival,
    Standing,
    Subject,
    Verdict,
    Zone,
    judge,
    reasons,
    rules,
)
from tests.rules.cases import CONSENT_LAW, DAY, HOUR, NOW, POLICIES, STANDING, SUBJECT, hours, says, standing, subject

NAMES = [
    "ended",
    "expiry",
    "address",
    "allow_list",
    "suppression",
    "consent",
    "pause",
    "minor",
    "partner",
    "dedupe",
    "open_case",
    "frequency_cap",
    "budget",
    "quiet_hours",
]
NIGHT = hours("20:00-21:00")


def test_the_rules_are_found_in_their_order() -> None:
    assert list(rules()) == NAMES


def test_every_rule_tells_why_it_is_there() -> None:
    for name in NAMES:
        module = sys.modules[f"orchestrator.rules.{name}"]
        assert module.__doc__ and ("Law:" in module.__doc__ or "House policy" in module.__doc__), name


def test_an_ordinary_message_is_allowed_and_every_rule_was_heard() -> None:
    found = judge(SUBJECT, STANDING, POLICIES, NOW)
    assert (found.say, found.rule, found.reason, found.until) == ("allow", "", "", None)
    assert [v.rule for v in found.verdicts] == NAMES


def test_deny_beats_hold_and_the_first_denial_is_named() -> None:
    found = judge(SUBJECT, standing(consents=(), suppressions=(("bounced", None),)), NIGHT, NOW)
    assert (found.say, found.rule, found.reason, found.until) == ("deny", "suppression", "suppressed", None)
    assert {v.rule for v in found.verdicts if v.say == "deny"} == {"suppression", "consent"}
    assert {v.rule for v in found.verdicts if v.say == "hold"} == {"quiet_hours"}


def test_hold_beats_allow() -> None:
    found = judge(SUBJECT, STANDING, NIGHT, NOW)
    assert (found.say, found.rule, found.reason) == ("hold", "quiet_hours", "quiet_hours")
    assert found.until == NOW + 7 * HOUR


# ---- rules that misbehave -------------------------------------------------------------------------------------------


@pytest.fixture
def also(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Adds rules for one test: also(name=function)."""

    def add(**more: Any) -> None:
        monkeypatch.setattr(package, "rules", lambda: {**found, **more})

    found = rules()
    yield add


def holds(until: Any) -> Any:
    return lambda *given: Verdict("later", "hold", "later", until)


def test_a_rule_that_raises_denies_and_quotes_nothing(also: Any) -> None:
    def breaks(*given: Any) -> Verdict:
        raise ValueError("anna@example.com has no zone")

    also(broken=breaks)
    found = judge(SUBJECT, STANDING, POLICIES, NOW)
    assert (found.say, found.rule, found.reason) == ("deny", "broken", "rule_failed")
    assert found.verdicts[-1].inputs == {"error": "ValueError"}


@pytest.mark.parametrize(
    "answer",
    [None, True, "allow", Verdict("odd", "perhaps"), Verdict("odd", "hold"), Verdict("odd", "hold", "x", NOW),  # type: ignore[arg-type]
     Verdict("odd", "hold", "x", NOW - DAY)],
)  # fmt: skip
def test_an_answer_that_is_no_verdict_denies(also: Any, answer: Any) -> None:
    also(odd=lambda *given: answer)
    found = judge(SUBJECT, STANDING, POLICIES, NOW)
    assert (found.say, found.rule, found.reason) == ("deny", "odd", "rule_failed")


def test_of_several_holds_the_latest_counts(also: Any) -> None:
    also(later=holds(NOW + 9 * HOUR), sooner=holds(NOW + HOUR))
    assert judge(SUBJECT, STANDING, NIGHT, NOW).until == NOW + 9 * HOUR


def test_without_rules_nothing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "rules", dict)
    assert judge(SUBJECT, STANDING, POLICIES, NOW).say == "deny"


def test_a_new_file_is_a_new_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_mondays.py").write_text(
        "from orchestrator.rules import Verdict\n"
        "NAME, ORDER, REASONS = 'no_mondays', 27, {'monday': 'Not on Mondays.'}\n"
        "def rule(subject, standing, policies, now):\n"
        "    return Verdict(NAME, 'deny', 'monday') if now.weekday() == 0 else Verdict(NAME, 'allow')\n"
    )
    fresh(monkeypatch, tmp_path)
    try:
        assert list(rules())[4] == "no_mondays"
        assert reasons()["no_mondays"] == {"monday": "Not on Mondays."}
        assert judge(SUBJECT, STANDING, POLICIES, NOW - 2 * DAY).reason == "monday"
        assert judge(SUBJECT, STANDING, POLICIES, NOW).say == "allow"
    finally:
        monkeypatch.undo()
        forget()


def test_a_file_that_is_no_rule_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_done.py").write_text("NAME = 'half_done'\n")
    fresh(monkeypatch, tmp_path)
    try:
        with pytest.raises(TypeError, match=r"half_done\.py lacks ORDER, REASONS, rule"):
            rules()
    finally:
        monkeypatch.undo()
        forget()


def fresh(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    forget()


def forget() -> None:
    for cached in (package._modules, package.rules, package.reasons):
        cached.cache_clear()
    for name in ("no_mondays", "half_done"):
        module: ModuleType | None = sys.modules.pop(f"orchestrator.rules.{name}", None)
        if module is not None and hasattr(package, name):
            delattr(package, name)


# ---- properties -----------------------------------------------------------------------------------------------------

instants = st.integers(-40 * 86400, 40 * 86400).map(lambda s: NOW + timedelta(seconds=s)) | st.just(NOW)
topics = st.sampled_from(["offers", "loyalty", "contract-notices", "*"])
media = st.sampled_from(list(Medium))
purposes = st.sampled_from(["marketing", "transactional"])
zone_names = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Asia/Kolkata", "Mars/Base", "", "Etc/Unknown", "\0"]
)
zones = st.lists(st.builds(Zone, zone_names, st.sampled_from(["stated", "address", "phone", "account"])), max_size=3)
states = st.sampled_from(["granted", "withdrawn", "requested", "expired"])
grounds = st.sampled_from(["", "express", "express_written", "soft_opt_in", "implied_purchase", "of my own"])
consents = st.builds(
    Consent, topics, states, instants, st.integers(1, 99), grounds, st.booleans(), st.none() | instants
)
suppressions = st.tuples(st.sampled_from(["bounced", "complained", "opted_out"]), st.none() | instants)
contacts = st.builds(Contact, instants, media, topics, purposes, st.integers(1, 2), st.none() | st.integers(1, 2))
rivals = st.builds(Rival, st.integers(2, 9), media, topics, st.integers(0, 100), st.none() | st.integers(1, 2))
subjects = st.builds(
    Subject,
    st.just(1),
    st.sampled_from(["customer", "staff", "system"]),
    st.none() | st.integers(1, 2),
    st.none() | st.integers(1, 2),
    media,
    topics.filter(lambda t: t != "*"),
    purposes,
    st.integers(0, 100),
    instants,
    instants,
    st.none() | instants,
)  # fmt: skip
standings = st.builds(
    Standing,
    zones.map(tuple),
    st.sampled_from([None, "DE", "US"]),
    st.sampled_from(["b2c", "b2b"]),
    st.sampled_from([None, "gold", "platinum"]),
    st.lists(consents, max_size=4).map(tuple),
    st.sampled_from([None, "hash"]),
    st.lists(suppressions, max_size=2).map(tuple),
    st.lists(contacts, max_size=5),
    st.none() | instants,
    st.booleans(),
    open_case=st.booleans(),
    rivals=st.lists(rivals, max_size=2).map(tuple),
    spent=st.integers(0, 3_000_000),
    places=st.lists(st.builds(Place, st.sampled_from(["DE", "US", "GB", "CA", "XX"]), st.none(), st.just("phone"))).map(
        tuple
    ),
    legal_form=st.sampled_from([None, "individual", "sole_trader", "corporate", "odd"]),
    partners=st.lists(st.builds(Partner, st.integers(1, 9), st.sampled_from([None, True, False])), max_size=2).map(
        tuple
    ),
)
windows = st.builds(Window, st.times(), st.times(), st.frozensets(st.integers(0, 6)))
caps = st.builds(
    Cap,
    st.just("cap"),
    st.just("line"),
    st.integers(0, 3),
    st.sampled_from(["customer", "account"]),
    st.frozensets(media, max_size=3),
    st.sampled_from([None, "day", "week", "month"]),
    st.none() | st.timedeltas(timedelta(0), timedelta(days=30)),
    st.sampled_from([None, "gold", "platinum"]),
    st.none() | topics,
)
policies = st.builds(
    lambda medium, window, then, found, dedupe, budget, pause: Policies(
        hours={medium: HouseHours(medium, window, then)},
        caps=tuple(found),
        dedupe=dedupe,
        ruleset=CONSENT_LAW,
        budgets={medium: budget} if budget else {},
        prices={medium: 850_000},
        pause_on_case=pause,
        zone="Europe/Berlin",
    ),
    media,
    windows,
    st.sampled_from(["hold", "deny"]),
    st.lists(caps, max_size=3),
    st.none() | st.timedeltas(timedelta(0), timedelta(days=3)),
    st.none() | st.tuples(st.integers(0, 300), st.just("EUR"), st.sampled_from(["day", "week", "month"])),
    st.booleans(),
)
STRICTNESS = {"allow": 0, "hold": 1, "deny": 2}


@given(subjects, standings, policies)
def test_it_never_raises_and_only_says_what_is_documented(subject: Subject, there: Standing, house: Policies) -> None:
    found = judge(subject, there, house, NOW)
    assert [v.rule for v in found.verdicts] == NAMES
    assert STRICTNESS[found.say] == max(STRICTNESS[v.say] for v in found.verdicts)
    for verdict in found.verdicts:
        assert verdict.reason != "rule_failed", verdict
        assert not verdict.reason or verdict.reason in reasons()[verdict.rule]
        assert verdict.say == "allow" or verdict.reason
    assert (found.until is not None) == (found.say == "hold")
    if found.until is not None:
        assert found.until > NOW and (subject.expires_at is None or found.until < subject.expires_at)
    assert found == judge(subject, there, house, NOW)


@given(st.one_of(st.none(), st.text(), st.integers()), st.one_of(st.none(), st.integers(), st.lists(st.text())))
def test_nonsense_is_denied_not_raised(one: Any, other: Any) -> None:
    odd = replace(STANDING, consents=one, zones=other, suppressions=one, contacts=other)
    for message in (SUBJECT, subject(medium=Medium.SMS), one, other):
        assert judge(message, odd, NIGHT, NOW).say == "deny"


@given(subjects, standings, policies, suppressions)
def test_a_suppression_never_helps(subject: Subject, there: Standing, house: Policies, more: Any) -> None:
    before = judge(subject, there, house, NOW)
    after = judge(subject, replace(there, suppressions=(*there.suppressions, more)), house, NOW)
    assert STRICTNESS[after.say] >= STRICTNESS[before.say]


@given(subjects, standings, policies, contacts)
def test_another_contact_never_helps(subject: Subject, there: Standing, house: Policies, more: Contact) -> None:
    before = judge(subject, there, house, NOW)
    after = judge(subject, replace(there, contacts=[*there.contacts, more]), house, NOW)
    assert STRICTNESS[after.say] >= STRICTNESS[before.say]


@given(subjects, standings, policies, topics, instants)
def test_a_withdrawal_never_helps(subject: Subject, there: Standing, house: Policies, topic: str, since: Any) -> None:
    before = judge(subject, there, house, NOW)
    withdrawn = (*there.consents, Consent(topic, "withdrawn", since, 1))
    assert STRICTNESS[judge(subject, replace(there, consents=withdrawn), house, NOW).say] >= STRICTNESS[before.say]


@given(subjects, standings, policies, zones)
def test_another_candidate_zone_never_hastens(
    subject: Subject, there: Standing, house: Policies, more: list[Zone]
) -> None:
    """Only the hours: a cap's calendar is that of the first zone."""
    rule = rules()["quiet_hours"]
    there = replace(there, zones=there.zones or (Zone("Europe/Berlin", "stated"),))
    before = rule(subject, there, house, NOW)
    after = rule(subject, replace(there, zones=(*there.zones, *more)), house, NOW)
    assert STRICTNESS[after.say] >= STRICTNESS[before.say]
    if before.until is not None and after.until is not None:
        assert after.until >= before.until


@given(subjects, standings, policies, zones, st.sampled_from(["Mars/Base", "", "Etc/Unknown", "Factory"]))
def test_an_unknown_zone_never_lets_a_text_out(
    subject: Subject, there: Standing, house: Policies, known: list[Zone], name: str
) -> None:
    text = replace(subject, medium=Medium.SMS, purpose="marketing", addressee="customer")
    for candidates in ((), (*known, Zone(name, "phone"))):
        assert judge(text, replace(there, zones=candidates), house, NOW).say == "deny"


@given(standings, policies)
def test_no_marketing_without_a_yes(there: Standing, house: Policies) -> None:
    never = replace(there, consents=tuple(c for c in there.consents if c.state != "granted"))
    for medium in Medium:
        found = judge(subject(medium=medium), never, house, NOW)
        heard = next(v for v in found.verdicts if v.rule == "consent")
        assert found.say == "deny" or heard.reason == "no_consent_needed", medium  # letters, in some countries
    allowed = judge(SUBJECT, replace(there, consents=(says("granted"),)), house, NOW)
    if allowed.say == "allow":
        relied = next(v for v in allowed.verdicts if v.rule == "consent")
        assert relied.inputs["events"] == [11]
