"""The house's hours, instant by instant: allowed, held until exactly when, or refused, and with which code."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from channels.base import Medium
from orchestrator.model import Policies
from orchestrator.rules import Zone, judge, rules
from orchestrator.zones import TZDATA, next_open
from tests.rules.cases import hours, standing, subject

NY, LA, CHICAGO, DENVER = "America/New_York", "America/Los_Angeles", "America/Chicago", "America/Denver"
BERLIN, KOLKATA, HOWE, APIA = "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"
WORKDAYS, NO_SUNDAY = "01234", "012345"


class Case(NamedTuple):
    title: str
    window: str
    zones: Sequence[str]
    now: str
    expected: str  # "open", "hold until …" as "> INSTANT", or a code
    medium: Medium = Medium.SMS
    then: str = "hold"
    days: str = "0123456"
    changes: Mapping[str, Any] = MappingProxyType({})


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


CASES = [
    Case("noon", "08:00-20:00", [BERLIN], "2027-01-13T12:00+01:00", "open"),
    Case("at the opening", "08:00-20:00", [BERLIN], "2027-01-13T08:00+01:00", "open"),
    Case("a second before it", "08:00-20:00", [BERLIN], "2027-01-13T07:59:59+01:00", "> 2027-01-13T08:00+01:00"),
    Case("the last second", "08:00-20:00", [BERLIN], "2027-01-13T19:59:59+01:00", "open"),
    Case("at the close", "08:00-20:00", [BERLIN], "2027-01-13T20:00+01:00", "> 2027-01-14T08:00+01:00"),
    Case("midnight", "08:00-20:00", [BERLIN], "2027-01-13T00:00+01:00", "> 2027-01-13T08:00+01:00"),
    Case("e-mail has its own", "07:00-22:00", [BERLIN], "2027-01-13T22:30+01:00", "> 2027-01-14T07:00+01:00",
         Medium.EMAIL),
    Case("push", "08:00-21:00", [BERLIN], "2027-01-13T21:00+01:00", "> 2027-01-14T08:00+01:00", Medium.PUSH),
    Case("a letter", "08:00-20:00", [BERLIN], "2027-01-13T21:00+01:00", "> 2027-01-14T08:00+01:00", Medium.MAIL),
    Case("refused, not held", "08:00-20:00", [BERLIN], "2027-01-13T21:00+01:00", "quiet_hours", then="deny"),
    Case("refusing, but open", "08:00-20:00", [BERLIN], "2027-01-13T12:00+01:00", "open", then="deny"),
    # across the two clock changes
    Case("the day before spring", "08:00-21:00", [NY], "2027-03-13T12:59Z", "> 2027-03-13T13:00Z"),
    Case("in spring", "08:00-21:00", [NY], "2027-03-14T11:59Z", "> 2027-03-14T12:00Z"),
    Case("held over the change", "08:00-20:00", [BERLIN], "2027-03-27T20:00+01:00", "> 2027-03-28T08:00+02:00"),
    Case("held over the other", "08:00-20:00", [BERLIN], "2027-10-30T20:00+02:00", "> 2027-10-31T08:00+01:00"),
    Case("opens in the gap", "02:30-05:00", [NY], "2027-03-14T06:59Z", "> 2027-03-14T07:00Z"),
    Case("all in the gap", "02:00-03:00", [NY], "2027-03-14T06:59Z", "> 2027-03-15T06:00Z"),
    Case("fold, first", "01:30-06:00", [NY], "2026-11-01T05:45Z", "open"),
    Case("fold, between", "01:30-06:00", [NY], "2026-11-01T06:15Z", "> 2026-11-01T06:30Z"),
    Case("fold, refused between", "01:30-06:00", [NY], "2026-11-01T06:15Z", "quiet_hours", then="deny"),
    Case("fold, second", "01:30-06:00", [NY], "2026-11-01T06:45Z", "open"),
    Case("half an hour back", "08:00-21:00", [HOWE], "2027-04-03T20:59Z", "> 2027-04-03T21:30Z"),
    # other zones
    Case("half-hour zone", "08:00-20:00", [KOLKATA], "2027-01-13T02:29Z", "> 2027-01-13T02:30Z"),
    Case("half-hour zone, open", "08:00-20:00", [KOLKATA], "2027-01-13T02:30Z", "open"),
    Case("a day left out", "08:00-21:00", [APIA], "2011-12-30T08:00Z", "> 2011-12-30T18:00Z"),
    Case("only on the day left out", "08:00-21:00", [APIA], "2011-12-30T08:00Z", "> 2012-01-05T18:00Z", days="4"),
    Case("Vancouver of 2026", "08:00-21:00", ["America/Vancouver"], "2026-12-16T04:30Z", "> 2026-12-16T15:00Z"),
    # several candidates
    Case("one asleep", "08:00-20:00", [NY, LA], "2027-01-13T14:00Z", "> 2027-01-13T16:00Z"),
    Case("both awake", "08:00-20:00", [NY, LA], "2027-01-13T17:00Z", "open"),
    Case("the other asleep", "08:00-20:00", [NY, LA], "2027-01-14T02:00Z", "> 2027-01-14T16:00Z"),
    Case("the order is nothing", "08:00-20:00", [LA, NY], "2027-01-14T02:00Z", "> 2027-01-14T16:00Z"),
    Case("twice the same", "08:00-20:00", [NY, NY], "2027-01-13T14:00Z", "open"),
    Case("Texas on a Sunday", "12:00-21:00", [CHICAGO, DENVER], "2027-01-10T18:30Z", "> 2027-01-10T19:00Z", days="6"),
    Case("never both", "09:00-11:00", [NY, LA], "2027-01-13T14:00Z", "window_never_opens"),
    Case("never both, e-mail", "09:00-11:00", [NY, LA], "2027-01-13T14:00Z", "window_never_opens", Medium.EMAIL),
    Case("never the same Monday", "00:00-00:00", ["Pacific/Pago_Pago", "Pacific/Kiritimati"], "2027-01-13T14:00Z",
         "window_never_opens", days="0"),
    Case("no day at all", "08:00-20:00", [BERLIN], "2027-01-13T14:00Z", "window_never_opens", days=""),
    # days and midnight
    Case("workdays, Friday night", "08:00-20:00", [BERLIN], "2027-01-15T21:00+01:00", "> 2027-01-18T08:00+01:00",
         days=WORKDAYS),
    Case("no Sunday", "08:00-20:00", [BERLIN], "2027-01-16T20:00+01:00", "> 2027-01-18T08:00+01:00", days=NO_SUNDAY),
    Case("Saturday is no Sunday", "08:00-20:00", [BERLIN], "2027-01-16T19:00+01:00", "open", days=NO_SUNDAY),
    Case("overnight", "20:00-02:00", [BERLIN], "2027-01-13T01:59+01:00", "open"),
    Case("overnight, over", "20:00-02:00", [BERLIN], "2027-01-13T02:00+01:00", "> 2027-01-13T20:00+01:00"),
    Case("opened on Friday", "20:00-02:00", [BERLIN], "2027-01-16T01:00+01:00", "open", days="4"),
    Case("not on Saturday", "20:00-02:00", [BERLIN], "2027-01-16T20:00+01:00", "> 2027-01-22T20:00+01:00", days="4"),
    Case("until midnight", "08:00-00:00", [BERLIN], "2027-01-13T23:59+01:00", "open"),
    # unknown
    Case("no zone, text", "08:00-20:00", [], "2027-01-13T12:00Z", "unknown_zone"),
    Case("no zone, push", "08:00-20:00", [], "2027-01-13T12:00Z", "unknown_zone", Medium.PUSH),
    Case("no zone, e-mail", "08:00-20:00", [], "2027-01-13T12:00Z", "unknown_zone", Medium.EMAIL),
    Case("no zone, letter", "08:00-20:00", [], "2027-01-13T12:00Z", "unknown_zone", Medium.MAIL),
    Case("an unknown one", "08:00-20:00", ["Mars/Base"], "2027-01-13T12:00Z", "unknown_zone"),
    Case("one of two unknown", "08:00-20:00", [BERLIN, "Etc/Unknown"], "2027-01-13T12:00Z", "unknown_zone"),
    Case("tzdata's own nowhere", "08:00-20:00", ["Factory"], "2027-01-13T12:00Z", "unknown_zone"),
    Case("no window, no zone, text", "", [], "2027-01-13T12:00Z", "unknown_zone"),
    Case("no window, no zone, e-mail", "", [], "2027-01-13T12:00Z", "no_window", Medium.EMAIL),
    Case("no window, text", "", [BERLIN], "2027-01-13T23:00Z", "no_window"),
    # whom and what for
    Case("transactional at night", "08:00-20:00", [BERLIN], "2027-01-13T23:00Z", "transactional",
         changes={"purpose": "transactional"}),
    Case("staff mail at night", "08:00-20:00", [BERLIN], "2027-01-13T23:00Z", "not_applicable", Medium.EMAIL,
         changes={"addressee": "staff"}),
    Case("a text to staff at night", "08:00-20:00", [BERLIN], "2027-01-13T23:00Z", "> 2027-01-14T07:00Z",
         changes={"addressee": "staff"}),
    # a hold and an end
    Case("opens in time", "08:00-20:00", [BERLIN], "2027-01-13T23:00Z", "> 2027-01-14T07:00Z",
         changes={"expires_at": instant("2027-01-14T07:00:00.000001Z")}),
    Case("opens at its end", "08:00-20:00", [BERLIN], "2027-01-13T23:00Z", "expired",
         changes={"expires_at": instant("2027-01-14T07:00Z")}),
    Case("opens too late", "08:00-20:00", [BERLIN], "2027-01-13T23:00Z", "expired",
         changes={"expires_at": instant("2027-01-14T01:00Z")}),
]  # fmt: skip
ALLOWED = {"open", "no_window", "transactional", "not_applicable"}


@pytest.mark.parametrize("case", CASES, ids=[c.title for c in CASES])
def test_at_that_instant(case: Case) -> None:
    policies = hours(case.window, case.medium, case.then, case.days) if case.window else Policies()
    there = standing(zones=tuple(Zone(name, "phone") for name in case.zones))
    message = subject(medium=case.medium, **case.changes)
    verdict = rules()["quiet_hours"](message, there, policies, instant(case.now))
    if case.expected.startswith("> "):
        assert (verdict.say, verdict.reason) == ("hold", "quiet_hours")
        assert verdict.until == instant(case.expected[2:])
    else:
        assert (verdict.say, verdict.reason) == ("allow" if case.expected in ALLOWED else "deny", case.expected)
        assert verdict.until is None


def test_enough_cases() -> None:
    assert len(CASES) >= 40
    assert len({c.title for c in CASES}) == len(CASES)


def test_what_it_was_judged_on_can_be_judged_again() -> None:
    there = standing(zones=(Zone(BERLIN, "stated"), Zone(NY, "phone")))
    verdict = rules()["quiet_hours"](subject(), there, hours("08:00-20:00"), instant("2027-01-13T06:00Z"))
    assert verdict.inputs == {
        "zones": [{"name": BERLIN, "source": "stated"}, {"name": NY, "source": "phone"}],
        "window": {"open": "08:00", "close": "20:00", "days": [0, 1, 2, 3, 4, 5, 6], "then": "hold"},
        "tzdata": TZDATA,
        "local": {BERLIN: "2027-01-13T07:00+01:00", NY: "2027-01-13T01:00-05:00"},
        "next_open": "2027-01-13T13:00:00.000000Z",
        "closes": "2027-01-13T19:00:00.000000Z",
    }


def test_a_hold_is_released_exactly_when_it_ends() -> None:
    policies, there = hours("08:00-20:00"), standing(zones=(Zone(BERLIN, "stated"), Zone(NY, "phone")))
    held = judge(subject(), there, policies, instant("2027-01-13T20:00Z"))
    assert held.say == "hold" and held.until is not None
    assert judge(subject(), there, policies, held.until).say == "allow"
    assert judge(subject(), there, policies, held.until - timedelta(microseconds=1)).say == "hold"


def test_a_batch_pays_once_for_each_set_of_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def counted(*given: Any) -> Any:
        looks.append(given)
        return next_open(*given)

    monkeypatch.setattr("orchestrator.rules.quiet_hours.next_open", counted)
    sets = [(Zone(BERLIN, "stated"),), (Zone(BERLIN, "stated"), Zone(NY, "phone")), (Zone(LA, "address"),)]
    policies, now = hours("08:00-20:00"), instant("2027-01-13T12:00Z")
    for number in range(1000):
        judge(subject(id=number), standing(zones=sets[number % 3]), policies, now)
    assert len(looks) == 3
