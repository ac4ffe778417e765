"""The decision table of consent: every history through the ledger and the rule, to the one code it must come to."""

import pytest

from orchestrator.rules import Consent, reasons, rules
from orchestrator.store import Store
from tests.rules.cases import CONSENT_LAW, POLICIES, says, standing, subject
from tests.rules.heard import judged, tell
from tests.rules.histories import DAY, HISTORIES, NOW, History


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Consent, ...]]:
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('histories') / 'store.db'}", create=True)
    store.migrate()
    found = tell(store, HISTORIES)
    store.close()
    return {history.title: consents for history, consents in zip(HISTORIES, found, strict=True)}


def test_there_are_enough_and_each_says_why() -> None:
    assert len(HISTORIES) >= 60
    assert len({h.title for h in HISTORIES}) == len(HISTORIES)
    assert all(h.law for h in HISTORIES)
    told = {h.expected.partition(" ")[2] for h in HISTORIES}
    assert told == set(reasons()["consent"]) - {"not_applicable", "no_consent_rule"}


@pytest.mark.parametrize("history", HISTORIES, ids=lambda h: h.title)
def test_the_history_comes_to(history: History, held: dict[str, tuple[Consent, ...]]) -> None:
    verdict = judged(history, held[history.title])
    assert f"{verdict.say} {verdict.reason}" == history.expected, (history.law, verdict.inputs)


@pytest.mark.parametrize("history", HISTORIES, ids=lambda h: h.title)
def test_what_is_allowed_names_its_evidence_or_that_there_is_none(
    history: History, held: dict[str, tuple[Consent, ...]]
) -> None:
    verdict = judged(history, held[history.title])
    if verdict.reason == "consented":
        assert verdict.inputs["events"] and verdict.inputs["rules"]
        assert all(state["state"] == "granted" for state in verdict.inputs["states"])
    if verdict.reason == "no_consent_needed":
        assert verdict.inputs["events"] == []
        assert verdict.inputs["consent_evidence"] == "none"
        known = {row.id: row for row in CONSENT_LAW.consent}
        assert any(known[name].without for name in verdict.inputs["rules"])


def test_a_country_about_which_nothing_is_said_is_closed() -> None:
    from dataclasses import replace

    nothing = replace(POLICIES, ruleset=replace(CONSENT_LAW, consent=()))
    verdict = rules()["consent"](subject(), standing(), nothing, NOW)
    assert (verdict.say, verdict.reason, verdict.inputs["countries"]) == ("deny", "no_consent_rule", ["DE"])


def test_a_row_binds_in_its_term_only() -> None:
    from dataclasses import replace

    row = next(r for r in CONSENT_LAW.consent if r.id == "us-sms")
    later = replace(row, id="later", bases=frozenset({"express"}), since=(NOW + DAY).date())
    until = replace(row, until=NOW.date())
    law = replace(POLICIES, ruleset=replace(CONSENT_LAW, consent=(until, later)))
    there = standing(country="US", consents=(Consent("offers", "granted", NOW - 9 * DAY, 1, "express"),))
    from channels.base import Medium

    said = [rules()["consent"](subject(medium=Medium.SMS), there, law, NOW + n * DAY).reason for n in (0, 1)]
    assert said == ["consent_insufficient", "consented"]


def test_an_unknown_legal_form_is_a_persons() -> None:
    from channels.base import Medium

    for form in (None, "gmbh", ""):
        there = standing(country="GB", consents=(), legal_form=form)
        assert rules()["consent"](subject(medium=Medium.EMAIL), there, POLICIES, NOW).reason == "no_consent"


def test_a_yes_without_a_ground_is_a_plain_one() -> None:
    there = standing(country="GB", consents=(says("granted", 5000 * DAY)._replace(basis=""),))
    verdict = rules()["consent"](subject(), there, POLICIES, NOW)
    assert verdict.reason == "consented"
    assert verdict.inputs["states"][0]["basis"] == "express"
