"""Who is too young to consent alone: by country, to the day, and what a parent's consent changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from orchestrator.model import Ruleset
from orchestrator.rules import Consent, Place, judge
from orchestrator.rules.minor import rule
from tests.rules.cases import DAY, NOW, POLICIES, SHIPPED, standing, subject

AGES = {"*": 16, "US": 13, "GB": 13, "DE": 16, "AT": 14}
MINORS = replace(POLICIES, born="birthday", ruleset=Ruleset(ages=AGES))
PARENT = Consent("offers", "granted", NOW - DAY, 21, "parental")


def place(country: str) -> Place:
    return Place(country, None, "address")


@pytest.mark.parametrize(
    ("born", "countries", "reason", "why"),
    [
        (date(2011, 1, 13), ["DE"], "", "sixteen on the very day, where it begins last"),
        (date(2011, 1, 14), ["DE"], "minor", "sixteen tomorrow"),
        (date(2013, 1, 13), ["AT"], "", "Austria lowered it to fourteen"),
        (date(2013, 1, 14), ["AT"], "minor", "fourteen tomorrow"),
        (date(2014, 1, 13), ["US"], "", "thirteen, COPPA"),
        (date(2014, 1, 14), ["US"], "minor", "twelve, COPPA"),
        (date(2013, 1, 13), ["AT", "DE"], "minor", "of two candidate countries the stricter"),
        (date(2013, 1, 13), ["US", "GB"], "", "fourteen where thirteen is enough in both"),
        (date(2013, 1, 13), ["JP"], "minor", "a country without a row of its own: sixteen"),
        (date(2013, 1, 13), [], "minor", "no country is known: the highest age there is"),
        (date(2011, 1, 13), [], "", "and of that age"),
        (date(1950, 6, 1), ["DE"], "", "a grandmother"),
        (None, ["DE"], "", "no date is known: taken to be of age"),
        (date.max, ["DE"], "birth_unreadable", "what the store gives for a date that is none"),
        (date(2027, 2, 1), ["DE"], "birth_unreadable", "born in the future"),
        (date(2027, 1, 13), ["DE"], "minor", "born today"),
    ],
)
def test_the_age_that_is_needed(born, countries, reason, why):
    facts = standing(born=born, country=None, places=tuple(place(c) for c in countries))
    verdict = rule(subject(), facts, MINORS, NOW)
    assert (verdict.say, verdict.reason) == ("deny" if reason else "allow", reason), why
    assert born is None or born.isoformat() not in str(verdict.inputs)


@pytest.mark.parametrize(
    ("now", "say"),
    [
        (datetime(2027, 1, 13, 11, 59, tzinfo=UTC), "deny"),
        (datetime(2027, 1, 13, 12, 0, tzinfo=UTC), "allow"),
    ],
)
def test_a_day_begins_where_it_begins_last(now, say):
    """12 hours behind UTC it is still the day before."""
    assert rule(subject(), standing(born=date(2011, 1, 13)), MINORS, now).say == say


@pytest.mark.parametrize(("day", "say"), [(28, "deny"), (1, "allow")])
def test_born_on_the_29th_of_february_one_is_older_on_the_first_of_march(day, say):
    now = datetime(2028, 2, 29, 23, tzinfo=UTC) if day == 28 else datetime(2029, 3, 1, 13, tzinfo=UTC)
    born = date(2012, 2, 29) if day == 28 else date(2016, 2, 29)
    facts = standing(born=born, country="US", places=())
    policies = replace(MINORS, ruleset=Ruleset(ages={"US": 16 if day == 28 else 13}))
    assert rule(subject(), facts, policies, now.replace(day=28) if day == 28 else now).say == say


@pytest.mark.parametrize(
    ("consents", "say"),
    [
        ([PARENT], "allow"),
        ([PARENT._replace(topic="*")], "allow"),
        ([PARENT._replace(topic="news")], "deny"),
        ([PARENT._replace(basis="express_written")], "deny"),
        ([PARENT._replace(until=NOW)], "deny"),
        ([PARENT._replace(until=NOW + DAY)], "allow"),
        ([PARENT._replace(since=NOW + DAY)], "deny"),
        ([PARENT._replace(state="requested")], "deny"),
        ([PARENT, Consent("offers", "withdrawn", NOW - DAY, 22)], "deny"),
        ([PARENT._replace(topic="*"), Consent("offers", "withdrawn", NOW - DAY / 2, 22)], "deny"),
        ([PARENT, Consent("*", "withdrawn", NOW - 2 * DAY, 22)], "allow"),
        ([], "deny"),
    ],
)
def test_a_parents_consent(consents, say):
    verdict = rule(subject(), standing(born=date(2015, 1, 1), consents=tuple(consents)), MINORS, NOW)
    assert verdict.say == say
    assert verdict.inputs.get("parental_consent") == (21 if say == "allow" else None)


def test_who_is_not_judged():
    child = standing(born=date(2020, 1, 1))
    assert rule(subject(addressee="staff"), child, MINORS, NOW).reason == "not_applicable"
    assert rule(subject(purpose="transactional"), child, MINORS, NOW).reason == "transactional"
    assert rule(subject(), child, POLICIES, NOW).say == "allow", "without the policy nobody is told apart"


def test_the_shipped_ages_are_those_of_the_law():
    assert SHIPPED is not None
    ages = SHIPPED.ages
    assert (ages["*"], ages["US"], ages["GB"], ages["DE"], ages["AT"]) == (16, 13, 13, 16, 14)
    assert all(13 <= age <= 18 for age in ages.values())


def test_the_rule_is_heard():
    child = standing(born=date(2020, 1, 1), consents=(PARENT._replace(basis="express_written", confirmed=True),))
    policies = replace(POLICIES, born="birthday")
    assert judge(subject(), child, policies, NOW).reason == "minor"
