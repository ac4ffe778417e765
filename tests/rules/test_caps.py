"""Caps, by law and by the house, priority under them, budgets and open cases: what is so, the rule's word, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from channels.base import Medium
from orchestrator.model import HoursRule, LegalCap, Policies, Ruleset
from orchestrator.rules import Contact, Place, Rival, Standing, Subject, Zone, rules
from tests.rules.cases import DAY, HOUR, MINUTE, NOW, SHIPPED, cap, capped, sent, standing, subject

MICRO = timedelta(microseconds=1)
assert SHIPPED is not None
SMS, EMAIL, MAIL = Medium.SMS, Medium.EMAIL, Medium.MAIL
FLORIDA, GEORGIA = Place("US", "FL", "address"), Place("US", "GA", "phone")
LAW = Policies(ruleset=SHIPPED)


@dataclass(frozen=True)
class Row:
    """`why`: the law, or the arithmetic. `until`: of a hold, from now."""

    title: str
    why: str
    expected: str
    policies: Policies
    subject: Subject
    standing: Standing
    rule: str = "frequency_cap"
    until: timedelta | None = None


def text(
    title: str,
    why: str,
    expected: str,
    *contacts: Contact,
    places: Any = (FLORIDA,),
    country: str | None = "DE",
    policies: Policies = LAW,
    **of: Any,
) -> Row:
    there = standing(contacts=contacts, places=places, country=country)
    return Row(title, why, expected, policies, subject(**{"medium": SMS, **of}), there)


def texts(count: int, ago: timedelta = HOUR, **more: Any) -> list[Contact]:
    return [sent(ago + n * MINUTE, SMS, **more) for n in range(count)]


def touched(ago: timedelta, medium: Medium = SMS, department: str = "sales") -> Contact:
    return sent(ago, medium, "")._replace(department=department)


def row_of(region: str, **changes: Any) -> Policies:
    given: dict[str, Any] = {"windows": (), "source": "a statute", "confidence": "statute", "as_of": date(2026, 1, 1)}
    given |= {"cap": LegalCap(3, DAY), **changes}
    return Policies(ruleset=Ruleset(hours=(HoursRule("a-law", "US", region, frozenset({"sms"}), **given),)))


FULL, ROOM = "deny legal_cap", "allow "
LEGAL = [
    text("no text yet", "0 of 3", ROOM),
    text("two texts in Florida", "2 of 3: Fla. Stat. 501.059(8)", ROOM, *texts(2)),
    text("three texts in Florida", "3 of 3", FULL, *texts(3)),
    text("Oklahoma", "15 O.S. 775C.4: 3 of 3", FULL, *texts(3), places=(Place("US", "OK", "address"),)),
    text("Maryland", "Com. Law 14-3201: 3 of 3", FULL, *texts(3), places=(Place("US", "MD", "address"),)),
    text("Georgia has no such cap", "no row of the ruleset", ROOM, *texts(9), places=(GEORGIA,)),
    text("lives in Georgia, number of Florida", "every candidate place counts", FULL, *texts(3),
         places=(GEORGIA, FLORIDA._replace(source="phone"))),
    text("somewhere in the United States", "it may be Florida", FULL, *texts(3), places=(Place("US", None, "phone"),)),
    text("nobody knows where", "it may be Florida", FULL, *texts(3), places=(), country=None),
    text("a satellite phone", "a number of no country: it may be Florida", FULL, *texts(3),
         places=(Place("", None, "phone"),)),
    text("a country without candidates", "by the address's own", ROOM, *texts(9), places=(), country="DE"),
    text("Germany", "no row of the ruleset", ROOM, *texts(9), places=(Place("DE", None, "address"),)),
    text("one of them exactly a day ago", "24 hours are over: 2 of 3", ROOM, *texts(2), sent(DAY, SMS)),
    text("one of them almost a day ago", "rolling, not the calendar: 3 of 3", FULL, *texts(2), sent(DAY - MICRO, SMS)),
    text("over midnight", "elapsed time: a new day is no new count", FULL, *texts(3, 22 * HOUR)),
    text("another subject", "a subject is a topic: 2 of 3", ROOM, *texts(2), *texts(3, topic="loyalty")),
    text("e-mails do not count", "the law is about texts and calls", ROOM, *[sent(HOUR)] * 5),
    text("an e-mail is not capped by it", "the law is about texts and calls", ROOM, *texts(5), medium=EMAIL),
    text("texts of the sales department", "nobody can say that they were about something else: 2 + 1", FULL,
         *texts(2), touched(HOUR)),
    text("calls of the support department", "of touches, texts: 2 of 3", ROOM, *texts(2), touched(HOUR, Medium.TASK)),
    text("a transactional text", "no sale is offered in it", "allow transactional", *texts(5), purpose="transactional"),
    text("a richer house cap", "the house may narrow the law, never widen it", FULL, *texts(3),
         policies=Policies(caps=(cap(9, per="day"),), ruleset=SHIPPED)),
    text("a tier's cap", "no tier is beyond the law", FULL, *texts(3),
         policies=Policies(caps=(cap(9, within=DAY, tier="gold"),), ruleset=SHIPPED)),
    text("a tighter house cap", "1 of 1 by the house, 1 of 3 by law", "deny frequency_cap", *texts(1),
         policies=Policies(caps=(cap(1, per="day"),), ruleset=SHIPPED)),
    text("a law of next month", "not in force", ROOM, *texts(3), policies=row_of("FL", since=date(2027, 2, 1))),
    text("a law of yesterday", "by some clock it may still be in force", FULL, *texts(3),
         policies=row_of("FL", until=date(2027, 1, 12))),
    text("a law that is over", "not in force", ROOM, *texts(3), policies=row_of("FL", until=date(2027, 1, 11))),
    text("a law of the whole country", "whatever the region", FULL, *texts(3), places=(GEORGIA,), policies=row_of("*")),
]  # fmt: skip


def house(title: str, why: str, expected: str, caps: Any, *contacts: Contact, **changes: Any) -> Row:
    there = {key: changes.pop(key) for key in ("zones", "tier", "band", "rivals") if key in changes}
    until = changes.pop("until", None)
    return Row(
        title, why, expected, capped(*caps), subject(**changes), standing(contacts=contacts, **there), until=until
    )


NEW_YORK = (Zone("America/New_York", "stated"),)
DAILY, WEEKLY = cap(1, per="day"), cap(3, "week", per="week")
ROLLING = cap(2, within=36 * HOUR)
LETTERS = cap(1, per="month", media=frozenset({MAIL}))
OFFERS = cap(1, per="day", topic="offers")
COMPANY = cap(4, scope="account", per="week", media=frozenset())
GOLD = cap(2, "gold", per="day", tier="gold")
TOP, FOOT = cap(3, "top", per="day", band="top"), cap(0, "foot", per="day", band="small")
DENY = "deny frequency_cap"
HOUSE = [
    house("today's second", "1 of 1 since midnight in Berlin", DENY, [DAILY], sent(12 * HOUR)),
    house("yesterday's", "13:00 minus 13 h and a bit is yesterday", ROOM, [DAILY], sent(13 * HOUR + MICRO)),
    house("New York's day began at 05:00 UTC", "7 h and a bit ago was yesterday there", ROOM, [DAILY],
          sent(7 * HOUR + MICRO), zones=NEW_YORK),
    house("rolling, 36 hours", "2 of 2 within 36 h, over two midnights", DENY, [ROLLING], sent(35 * HOUR), sent(HOUR)),
    house("rolling, one fell out", "1 of 2: 36 h are over", ROOM, [ROLLING], sent(36 * HOUR), sent(HOUR)),
    house("the day has room, the week has not", "0 of 1 and 3 of 3", DENY, [DAILY, WEEKLY], *[sent(2 * DAY)] * 3),
    house("another medium's cap", "the cap is for letters", ROOM, [LETTERS], sent(HOUR, MAIL)),
    house("a letter under it", "1 of 1 this month", DENY, [LETTERS], sent(11 * DAY, MAIL), medium=MAIL),
    house("a letter, last month's", "the month began 12 days and 13 hours ago", ROOM, [LETTERS], sent(13 * DAY, MAIL),
          medium=MAIL),
    house("a cap of one topic, another topic's", "topics count apart", ROOM, [OFFERS], sent(HOUR, topic="loyalty")),
    house("a touch has no topic", "a house cap of a topic cannot count it", ROOM, [OFFERS], touched(HOUR, EMAIL)),
    house("a touch counts under the general cap", "1 of 1: support wrote an hour ago", DENY, [DAILY],
          touched(HOUR, EMAIL, "support")),
    house("a call counts where a cap names no media", "3 + 1 of 4 for the company", DENY, [COMPANY],
          *[sent(HOUR, customer=8, account=3)] * 3, touched(HOUR, Medium.TASK)._replace(account_id=3), account_id=3),
    house("a call under a cap of e-mail and texts", "not one of its media", ROOM, [DAILY], touched(HOUR, Medium.TASK)),
    house("the company's fourth", "3 of 4", ROOM, [COMPANY], *[sent(HOUR, customer=8, account=3)] * 3, account_id=3),
    house("the tier's own cap", "1 of 2: it stands for the general one", ROOM, [DAILY, GOLD], sent(HOUR)),
    house("the tier's own cap, full", "2 of 2", DENY, [DAILY, GOLD], *[sent(HOUR)] * 2),
    house("the band's own cap", "2 of 3: it stands for the general one", ROOM, [DAILY, TOP], *[sent(HOUR)] * 2,
          band="top"),
    house("the band's own cap, full", "3 of 3", DENY, [DAILY, TOP], *[sent(HOUR)] * 3, band="top"),
    house("another band's cap", "the general one: 1 of 1", DENY, [DAILY, TOP], sent(HOUR), band="big"),
    house("a band's cap, no band", "the general one: 1 of 1", DENY, [DAILY, TOP], sent(HOUR)),
    house("less for a band", "0 of 0", DENY, [DAILY, FOOT], band="small"),
    house("a tier's and a band's", "both count: 2 of 2 and 2 of 3", DENY, [DAILY, GOLD, TOP], *[sent(HOUR)] * 2,
          band="top"),
]  # fmt: skip


def rival(number: int, medium: Medium = SMS, topic: str = "offers", account: int | None = None) -> Rival:
    return Rival(number, medium, topic, 80, account)


SOON = 5 * MINUTE
OUTRANKED = "hold outranked"
PRIORITY = [
    house("one goes first, room for one", "0 + 1 of 1", OUTRANKED, [DAILY], rivals=(rival(2),), until=SOON),
    house("one goes first, room for two", "0 + 1 of 2", ROOM, [cap(2, per="day")], rivals=(rival(2),)),
    house("two go first, room for two", "0 + 2 of 2", OUTRANKED, [cap(2, per="day")], rivals=(rival(2), rival(3)),
          until=SOON),
    house("one went, one goes first, room for two", "1 + 1 of 2", OUTRANKED, [cap(2, per="day")], sent(HOUR),
          rivals=(rival(2),), until=SOON),
    house("full already", "1 of 1: nothing to wait for", DENY, [DAILY], sent(HOUR), rivals=(rival(2),)),
    house("the other is a letter", "the cap does not concern it", ROOM, [DAILY], rivals=(rival(2, MAIL),)),
    house("the other has another topic", "not its cap", ROOM, [OFFERS], rivals=(rival(2, topic="news"),)),
    house("the other is not the company's", "not of this account", ROOM, [cap(1, scope="account", per="day")],
          rivals=(rival(2, account=4),), account_id=3),
    house("the other is the company's too", "0 + 1 of 1", OUTRANKED, [cap(1, scope="account", per="day")],
          rivals=(rival(2, account=3),), account_id=3, until=SOON),
    house("it would expire meanwhile", "to wait is no reason to be lost", ROOM, [DAILY], rivals=(rival(2),),
          expires_at=NOW + SOON),
    house("it expires later", "0 + 1 of 1", OUTRANKED, [DAILY], rivals=(rival(2),), expires_at=NOW + SOON + MICRO,
          until=SOON),
    house("without a cap", "nothing to share", ROOM, [], rivals=(rival(2),)),
    house("transactional", "it has no cap", "allow transactional", [DAILY], rivals=(rival(2),),
          purpose="transactional"),
    Row("two texts and one that goes first", "2 + 1 of the law's 3", OUTRANKED, LAW, subject(medium=SMS),
        standing(contacts=texts(2), places=(FLORIDA,), rivals=(rival(2),)), until=SOON),
    Row("… of another subject", "2 of the law's 3", ROOM, LAW, subject(medium=SMS),
        standing(contacts=texts(2), places=(FLORIDA,), rivals=(rival(2, topic="news"),))),
]  # fmt: skip

JANUARY = datetime(2027, 1, 31, 23, tzinfo=UTC)  # midnight in Berlin


def spent(title: str, why: str, expected: str, cents: int, amount: int, **changes: Any) -> Row:
    """A budget of so many cents, of which so many millionths are spent; a letter costs 0.85 EUR."""
    per, until = changes.pop("per", "month"), changes.pop("until", None)
    there = standing(spent=amount, segments=changes.pop("segments", 1))
    house = Policies(budgets={MAIL: (cents, "EUR", per)}, prices={MAIL: 850_000}, zone="Europe/Berlin")
    return Row(title, why, expected, house, subject(**{"medium": MAIL, **changes}), there, "budget", until)


WAITS, SPENT = "hold budget_spent", "deny budget_spent"
BUDGET = [
    spent("the first letter", "0.85 of 500 EUR", ROOM, 50_000, 0),
    spent("the last that fits", "499.15 + 0.85 = 500 EUR", ROOM, 50_000, 499_150_000),
    spent("two segments that fit", "498.30 + 2 x 0.85 = 500 EUR", ROOM, 50_000, 498_300_000, segments=2),
    spent("three that do not", "498.30 + 3 x 0.85 > 500", WAITS, 50_000, 498_300_000, segments=3, until=JANUARY - NOW),
    spent("three that never fit", "3 x 0.85 = 2.55 > 2 EUR", SPENT, 200, 0, segments=3),
    spent("a millionth too much", "499.150001 + 0.85 > 500", WAITS, 50_000, 499_150_001, until=JANUARY - NOW),
    spent("it expires before February", "held, it would be lost", SPENT, 50_000, 500_000_000, expires_at=JANUARY),
    spent("it expires in February", "it can wait", WAITS, 50_000, 500_000_000, expires_at=JANUARY + MICRO,
          until=JANUARY - NOW),
    spent("per day", "midnight in Berlin is 11 hours away", WAITS, 100, 850_000, per="day", until=11 * HOUR),
    spent("per week", "Wednesday noon to Monday in Berlin", WAITS, 100, 850_000, per="week", until=4 * DAY + 11 * HOUR),
    spent("dearer than the whole budget", "it fits in no month", SPENT, 84, 0),
    spent("transactional", "it goes, and counts", "allow transactional", 50_000, 500_000_000, purpose="transactional"),
    spent("another medium", "the budget is for letters", ROOM, 50_000, 500_000_000, medium=EMAIL),
    spent("staff", "not to a customer", "allow not_applicable", 50_000, 500_000_000, addressee="staff"),
]  # fmt: skip


def case(title: str, why: str, expected: str, open_case: bool = True, policy: bool = True, **changes: Any) -> Row:
    until, house = changes.pop("until", None), Policies(pause_on_case=policy)
    return Row(title, why, expected, house, subject(**changes), standing(open_case=open_case), "open_case", until)


HELD = "hold open_case"
CASES = [
    case("no case", "nothing to wait for", ROOM, open_case=False),
    case("the house does not mind", "no policy", ROOM, policy=False),
    case("an open case", "again in an hour", HELD, until=HOUR),
    case("waiting for a day", "again in six hours", HELD, due_at=NOW - DAY, until=6 * HOUR),
    case("expires in half an hour", "a last look before", HELD, expires_at=NOW + 30 * MINUTE, until=29 * MINUTE),
    case("expires in a minute", "too late", "deny open_case", expires_at=NOW + MINUTE),
    case("transactional", "not what annoys", ROOM, purpose="transactional"),
    case("staff", "not the customer", ROOM, addressee="staff"),
]

ROWS = [*LEGAL, *HOUSE, *PRIORITY, *BUDGET, *CASES]


@pytest.mark.parametrize("row", ROWS, ids=[f"{r.rule}: {r.title}" for r in ROWS])
def test_the_rule_says(row: Row) -> None:
    verdict = rules()[row.rule](row.subject, row.standing, row.policies, NOW)
    assert f"{verdict.say} {verdict.reason}" == row.expected, row.why
    assert verdict.until == (None if row.until is None else NOW + row.until), row.why


def test_enough_rows() -> None:
    assert len(LEGAL) + len(HOUSE) + len(PRIORITY) >= 20 and all(row.why for row in ROWS)
    assert len({(r.rule, r.title) for r in ROWS if r not in HOUSE}) == len(ROWS) - len(HOUSE)


def test_a_refusal_by_law_names_the_law_and_the_counts() -> None:
    row = next(r for r in LEGAL if r.title == "three texts in Florida")
    inputs = rules()["frequency_cap"](row.subject, row.standing, row.policies, NOW).inputs
    assert inputs["cap"] == "law us-fl" and "501.059" in inputs["line"]
    assert (inputs["counted"], inputs["allowed"]) == (3, 3)


def test_who_makes_way_is_told_for_whom() -> None:
    there = standing(rivals=(rival(5), rival(9, MAIL)))
    inputs = rules()["frequency_cap"](subject(), there, capped(DAILY), NOW).inputs
    assert inputs["first"] == [5] and inputs["line"] == "at most 1"


def test_a_budget_without_a_price_allows_nothing() -> None:
    with pytest.raises(KeyError):
        rules()["budget"](subject(medium=MAIL), standing(), Policies(budgets={MAIL: (1, "EUR", "day")}), NOW)
