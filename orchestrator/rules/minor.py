"""No marketing to somebody who is too young to consent alone, unless a parent did.

Law: GDPR art. 8 (16 years, or what a member state has lowered it to, not below 13); UK DPA 2018 s. 9 (13); COPPA,
16 CFR 312 (under 13); Québec's Act respecting the protection of personal information s. 4.1 (under 14). The ages are
data, by country (`orchestrator/ruleset/consent.yaml`), with "*" for all others; of several candidate countries the
highest age counts, and where no country is known the highest there is.

The date of birth is the attribute that `policies.minors` names; without that policy nobody is told apart. Somebody of
whom no date is known is taken to be of age. The day is counted where it begins last on earth, and who was born on 29
February is a year older on 1 March: nobody is of age a day early. A parent's consent (basis `parental`) counts for its
topic, or for every topic, until anything newer takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict

NAME = "minor"
ORDER = 45
REASONS: Mapping[str, str] = {
    "not_applicable": "Only customers have an age, and this message is for staff or a system.",
    "transactional": "A transactional message goes out whatever the age.",
    "minor": "The customer is too young, where they may be, to consent to marketing alone, and no parent has.",
    "birth_unreadable": "The customer's date of birth cannot be read or lies ahead: nobody knows that they are of age.",
}

_ALLOW = Verdict(NAME, "allow")
_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")
_OTHERS = "*"
_ADULT = 18
_LAST_ZONE = timedelta(hours=12)  # where a day begins last: twelve hours behind UTC


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `minor` or `birth_unreadable`; the inputs carry the age that is needed, never the date of birth."""
    if subject.addressee != "customer":
        return _NOT_APPLICABLE
    if subject.purpose == "transactional":
        return _TRANSACTIONAL
    if not policies.born or standing.born is None:
        return _ALLOW
    today = (now - _LAST_ZONE).date()
    if standing.born > (now + timedelta(days=1)).date():
        return Verdict(NAME, "deny", "birth_unreadable")
    named = {place.country for place in standing.places} | ({standing.country} if standing.country else set())
    countries = sorted(named)
    age = _needed(countries, policies)
    if _turns(standing.born, age) <= today:
        return _ALLOW
    inputs = {"countries": countries, "age_needed": age}
    parent = _parent(subject, standing, now)
    if parent is not None:
        return Verdict(NAME, "allow", inputs={**inputs, "parental_consent": parent})
    return Verdict(NAME, "deny", "minor", inputs=inputs)


def _needed(countries: list[str], policies: Policies) -> int:
    ages = policies.ruleset.ages
    if not countries:
        return max(ages.values(), default=_ADULT)
    return max(ages.get(country, ages.get(_OTHERS, _ADULT)) for country in countries)


def _turns(born: date, age: int) -> date:
    """The day on which somebody is so many years old."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:  # 29 February
        return date(born.year + age, 3, 1)


def _parent(subject: Subject, standing: Standing, now: datetime) -> int | None:
    """The consent event of a parent that stands for this topic."""
    about = [c for c in standing.consents if c.topic in (subject.topic, "*")]
    last_no = max((c.since for c in about if c.state == "withdrawn"), default=None)
    for consent in about:
        if consent.state != "granted" or consent.basis != "parental" or consent.since > now:
            continue
        if (consent.until is None or now < consent.until) and (last_no is None or consent.since > last_no):
            return consent.event_id
    return None
