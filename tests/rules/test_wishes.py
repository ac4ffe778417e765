"""What customers ask for themselves: a rest, and fewer messages. What is so, and the one word the rule has to say."""

from datetime import timedelta
from typing import Any

import pytest

from channels.base import Medium
from orchestrator.model import Policies
from orchestrator.rules import Rival, Standing, Subject, Wishes, judge, rules
from tests.rules.cases import DAY, HOUR, MINUTE, NOW, POLICIES, cap, capped, sent, standing, subject

MICRO = timedelta(microseconds=1)
TRANSACTIONAL: dict[str, Any] = {"purpose": "transactional", "topic": "contract-notices"}
FULL, ROOM, PAUSED = "deny customer_frequency", "allow ", "deny customer_paused"
Case = tuple[str, str, Subject, Standing, Policies, str]


def paused(title: str, expected: str, until: timedelta | None, **of: Any) -> Case:
    wishes = Wishes(None if until is None else NOW + until)
    return "pause", title, subject(**of), standing(wishes=wishes), POLICIES, expected


PAUSE = [
    ("pause", "nothing was asked for", subject(), standing(), POLICIES, ROOM),
    paused("asked for something else", ROOM, None),
    paused("for 30 days", PAUSED, 30 * DAY),
    paused("until this very instant", ROOM, 0 * DAY),
    paused("a microsecond more", PAUSED, MICRO),
    paused("over since yesterday", ROOM, -DAY),
    paused("a text", PAUSED, DAY, medium=Medium.SMS),
    paused("a push", PAUSED, DAY, medium=Medium.PUSH),
    paused("a letter", PAUSED, DAY, medium=Medium.MAIL),
    paused("what the contract needs", ROOM, DAY, **TRANSACTIONAL),
    paused("a task about her, for staff", ROOM, DAY, addressee="staff", medium=Medium.TASK),
]


def wanted(
    title: str, expected: str, at_most: int, per: Any, *contacts: Any, policies: Policies = POLICIES, **of: Any
) -> Case:
    there = standing(wishes=Wishes(None, at_most, per), contacts=contacts)
    return "frequency_cap", title, subject(**of), there, policies, expected


EMAIL, SMS, MAIL = Medium.EMAIL, Medium.SMS, Medium.MAIL
CALL = sent(HOUR, SMS, "")._replace(department="sales")
WEEK = 2 * DAY + 13 * HOUR  # from Monday in Berlin: NOW is a Wednesday, 13:00 there
MONTH = 12 * DAY + 13 * HOUR
FREQUENCY = [
    wanted("none yet", ROOM, 1, "week"),
    wanted("one this week", FULL, 1, "week", sent(HOUR)),
    wanted("one of two", ROOM, 2, "week", sent(HOUR)),
    wanted("another topic counts", FULL, 1, "week", sent(HOUR, topic="loyalty")),
    wanted("another medium counts", FULL, 1, "week", sent(HOUR, SMS)),
    wanted("a letter counts, and is counted", FULL, 1, "week", sent(HOUR, MAIL), medium=MAIL),
    wanted("the first instant of Monday", FULL, 1, "week", sent(WEEK)),
    wanted("the last one of Sunday", ROOM, 1, "week", sent(WEEK + MICRO)),
    wanted("the first instant of the month", FULL, 1, "month", sent(MONTH)),
    wanted("the last one of December", ROOM, 1, "month", sent(MONTH + MICRO)),
    wanted("what the contract needs does not count", ROOM, 1, "week", sent(HOUR, purpose="transactional")),
    wanted("what the contract needs goes", "allow transactional", 1, "week", sent(HOUR), **TRANSACTIONAL),
    wanted("a colleague's does not count", ROOM, 1, "week", sent(HOUR, customer=8)),
    wanted("another department's does", FULL, 1, "week", CALL),
    wanted("none at all", FULL, 0, "week"),
    wanted("the house allows more", FULL, 1, "week", sent(HOUR), policies=capped(cap(9, per="week"))),
    wanted("the house allows less", "deny frequency_cap", 9, "week", sent(HOUR), policies=capped(cap(1, per="week"))),
    wanted("to staff", "allow not_applicable", 1, "week", sent(HOUR), addressee="staff"),
]


@pytest.mark.parametrize(("rule", "title", "about", "there", "policies", "expected"), [*PAUSE, *FREQUENCY])
def test_wishes(rule: str, title: str, about: Subject, there: Standing, policies: Policies, expected: str) -> None:
    found = rules()[rule](about, there, policies, NOW)
    assert f"{found.say} {found.reason}" == expected, title


def test_who_has_other_wishes_is_not_taken_for_the_same() -> None:
    """Verdicts are kept for a batch: those of customers without contacts are shared."""
    none, some = standing(wishes=Wishes(None, 0, "week")), standing(wishes=Wishes(None, 3, "week"))
    assert judge(subject(), none, POLICIES, NOW).reason == "customer_frequency"
    assert judge(subject(), some, POLICIES, NOW).say == judge(subject(), standing(), POLICIES, NOW).say == "allow"


def test_the_one_who_goes_first_takes_the_room() -> None:
    there = standing(wishes=Wishes(None, 1, "week"), rivals=(Rival(9, SMS, "loyalty", 90),))
    found = judge(subject(), there, POLICIES, NOW)
    assert (found.say, found.reason, found.until) == ("hold", "outranked", NOW + 5 * MINUTE)


def test_the_verdict_tells_what_was_chosen() -> None:
    found = rules()["frequency_cap"](subject(), standing(wishes=Wishes(None, 0, "month")), POLICIES, NOW)
    assert found.inputs["line"] == "0 per month, as the customer chose"
    until = rules()["pause"](subject(), standing(wishes=Wishes(NOW + DAY)), POLICIES, NOW).inputs["paused_until"]
    assert until == "2027-01-14T12:00:00.000000Z"
