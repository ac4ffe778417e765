"""Customers of partners: what is so, and the one word the rule has to say."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from channels.base import Medium
from orchestrator.rules import Partner, Verdict, judge, rules
from tests.rules.cases import NOW, POLICIES, standing, subject

NOT_SAID, YES, NO = Partner(3), Partner(3, True), Partner(3, False)
OTHER_YES, OTHER_NO = Partner(4, True), Partner(4, False)
ASK, NEVER, ALWAYS = "if_partner_allows", "never", "always"
DENY, ALLOW = "deny partners_customer", "allow "
TRANSACTIONAL: dict[str, Any] = {"purpose": "transactional", "topic": "contract-notices"}

TABLE = [
    # what is so                       policy  partners             the message              word
    ("nobody's customer",              ASK,    (),                  {},                      ALLOW),
    ("nobody's, and never",            NEVER,  (),                  {},                      ALLOW),
    ("the partner never said",         ASK,    (NOT_SAID,),         {},                      DENY),
    ("the partner said no",            ASK,    (NO,),               {},                      DENY),
    ("the partner said yes",           ASK,    (YES,),              {},                      ALLOW),
    ("one of two partners",            ASK,    (YES, OTHER_NO),     {},                      DENY),
    ("both partners",                  ASK,    (YES, OTHER_YES),    {},                      ALLOW),
    ("whatever the partner says",      NEVER,  (YES,),              {},                      DENY),
    ("always, the partner said no",    ALWAYS, (NO,),               {},                      ALLOW),
    ("a contract's notice",            NEVER,  (NO,),               TRANSACTIONAL,           ALLOW),
    ("a topic over the partner",       NEVER,  (NO,),               {"topic": "recall"},     ALLOW),
    ("another topic",                  ASK,    (NO,),               {"topic": "news"},       DENY),
    ("a text",                         ASK,    (NO,),               {"medium": Medium.SMS},  DENY),
    ("a letter",                       ASK,    (NO,),               {"medium": Medium.MAIL}, DENY),
    ("a list of an advertising site",  ASK,    (NO,),               {"medium": Medium.AUDIENCE}, DENY),
    ("one of our own people",          NEVER,  (NO,),               {"addressee": "staff"},  ALLOW),
    ("a machine of ours",              NEVER,  (NO,),               {"addressee": "system"}, ALLOW),
]  # fmt: skip


def heard(policy: Any, partners: tuple[Partner, ...], of: dict[str, Any]) -> Verdict:
    policies = replace(POLICIES, end_customers=policy, over_partner=frozenset({"recall"}))
    return rules()["partner"](subject(**of), standing(partners=partners), policies, NOW)


@pytest.mark.parametrize(("title", "policy", "partners", "of", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_one_word(title: str, policy: str, partners: tuple[Partner, ...], of: dict[str, Any], expected: str) -> None:
    found = heard(policy, partners, of)
    assert f"{found.say} {found.reason}" == expected


def test_the_inputs_name_the_policy_and_who_refuses_and_nobody_else() -> None:
    assert heard(ASK, (YES, OTHER_NO), {}).inputs == {"policy": ASK, "partners": [4]}
    assert heard(NEVER, (YES, OTHER_NO), {}).inputs == {"policy": NEVER, "partners": [3, 4]}


def test_without_a_word_in_the_workspace_the_partner_is_asked() -> None:
    assert POLICIES.end_customers == ASK
    found = judge(subject(), standing(partners=(NOT_SAID,)), POLICIES, NOW)
    assert (found.say, found.rule, found.reason) == ("deny", "partner", "partners_customer")


def test_marketing_over_the_head_of_a_partner_needs_every_partners_own_yes() -> None:
    for said in product([None, True, False], repeat=2):
        found = heard(ASK, (Partner(3, said[0]), Partner(4, said[1])), {})
        assert (found.say == "allow") == (said == (True, True)), said
