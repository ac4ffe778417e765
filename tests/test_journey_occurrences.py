"""When triggers by the calendar are due: once each, whatever the ticks; gaps, folds, leap days, business days."""

# ruff: noqa: E501

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dates import add_months, anniversary
from orchestrator.journey import AtTrigger, DateTrigger, MissedRuns, ScheduleTrigger
from orchestrator.occurrences import Window, date_windows, due_runs
from orchestrator.zones import instant
from tests.making import SPAN

ALL = MissedRuns(timedelta(hours=12), "all")
BERLIN = "Europe/Berlin"
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo")


def cron(text: str) -> ScheduleTrigger:
    return ScheduleTrigger(cron=text, timezone="recipient", key="k", span=SPAN)


def rule(text: str) -> ScheduleTrigger:
    return ScheduleTrigger(rrule=text, timezone="recipient", key="k", span=SPAN)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def runs(trigger, since: str, now: str, zone: str = BERLIN, missed: MissedRuns = ALL) -> list[tuple[str, str]]:
    found = due_runs(trigger, utc(since), utc(now), zone, missed)
    return [(key, f"{at.astimezone(UTC):%m-%d %H:%M}") for key, at in found]


# ---- schedules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "since", "now", "expected"),
    [
        (cron("0 9 * * *"), "2027-03-27 00:00", "2027-03-29 00:00", [("27T09:00", "03-27 08:00"), ("28T09:00", "03-28 07:00")]),
        (cron("30 2 * * *"), "2027-03-27 12:00", "2027-03-28 12:00", [("28T02:30", "03-28 01:00")]),  # a gap
        (cron("30 2 * * *"), "2027-10-30 12:00", "2027-10-31 12:00", [("31T02:30", "10-31 00:30")]),  # a fold
        (cron("0,20,40 2 28 3 *"), "2027-03-27 12:00", "2027-03-28 12:00", [("28T02:00", "03-28 01:00")]),
        (cron("0 9 1 * mon"), "2027-03-01 12:00", "2027-03-10 12:00", [("08T09:00", "03-08 08:00")]),
        (rule("FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0"), "2027-03-01 12:00", "2027-03-09 00:00", [("08T09:00", "03-08 08:00")]),
        (rule("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=10"), "2027-03-01 00:00", "2027-03-31 00:00", [("26T10:00", "03-26 09:00")]),
        (rule("DTSTART:20270302T080000 RRULE:FREQ=DAILY;COUNT=2"), "2027-01-01 00:00", "2027-12-31 00:00", [("02T08:00", "03-02 07:00"), ("03T08:00", "03-03 07:00")]),
    ],
)  # fmt: skip
def test_a_run_is_a_wall_time(trigger, since: str, now: str, expected: list[tuple[str, str]]) -> None:
    assert [(key[8:], at) for key, at in runs(trigger, since, now)] == expected


def test_the_edges_belong_to_the_later_tick_only() -> None:
    nine = cron("0 9 * * *")
    assert runs(nine, "2027-03-01 07:00", "2027-03-01 08:00") == [("2027-03-01T09:00", "03-01 08:00")]
    assert runs(nine, "2027-03-01 08:00", "2027-03-01 09:00") == []
    assert runs(nine, "2027-03-01 09:00", "2027-03-01 09:00") == []
    assert runs(nine, "2027-03-02 09:00", "2027-03-01 07:00") == []  # a clock that went back


def test_the_key_is_the_same_in_every_zone() -> None:
    keys = {runs(cron("0 10 1 4 *"), "2027-03-30 00:00", "2027-04-03 00:00", zone)[0][0] for zone in ZONES}
    assert keys == {"2027-04-01T10:00"}


def test_an_unknown_zone_has_no_runs() -> None:
    assert runs(cron("* * * * *"), "2027-03-01 00:00", "2027-03-01 01:00", "Mars/Olympus") == []


@pytest.mark.parametrize(
    ("then", "down", "expected"),
    [
        ("skip", 62, []),
        ("latest", 62, ["04"]),
        ("all", 62, ["02", "03", "04"]),
        ("skip", 2, ["02"]),
        ("latest", 2, ["02"]),
        ("latest", 25, ["03"]),  # one in time, and one too late
        ("skip", 25, ["03"]),
    ],
)
def test_after_a_stop(then, down: int, expected: list[str]) -> None:
    """Daily at nine, looked at last on the 1st at 20:00; `down` hours after the 2nd at nine comes the next tick."""
    since, now = utc("2027-03-01 19:00"), utc("2027-03-02 08:00") + timedelta(hours=down)
    found = due_runs(cron("0 9 * * *"), since, now, BERLIN, MissedRuns(timedelta(hours=12), then))
    assert [key[8:10] for key, _ in found] == expected


def test_once_in_ones_own_zone_or_for_all() -> None:
    everybody = AtTrigger(at=utc("2027-03-01 08:00"), key="k", span=SPAN)
    assert runs(everybody, "2027-03-01 07:00", "2027-03-01 08:00") == [("2027-03-01T08:00", "03-01 08:00")]
    own = AtTrigger(at=utc("2027-03-01 09:00"), local=True, key="k", span=SPAN)
    assert runs(own, "2027-03-01 07:00", "2027-03-01 08:00") == [("2027-03-01T09:00", "03-01 08:00")]
    assert runs(own, "2027-03-01 07:00", "2027-03-01 08:00", "America/New_York") == []
    assert runs(own, "2027-03-01 13:00", "2027-03-01 14:00", "America/New_York") == [
        ("2027-03-01T09:00", "03-01 14:00")
    ]


CRONS = st.builds(
    lambda minute, hour, day, week: f"{minute} {hour} {day} * {week}",
    st.sampled_from(["0", "30", "15,45", "*/20"]),
    st.sampled_from(["*", "2", "0", "3,23", "*/6"]),
    st.sampled_from(["*", "1", "L"]),
    st.sampled_from(["*", "mon-fri", "sun"]),
)
RULES = st.sampled_from(["FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;BYHOUR=2;BYMINUTE=0"])
STARTS = st.sampled_from(
    ["2027-03-12", "2027-03-26", "2027-04-02", "2027-10-01", "2027-10-29", "2027-11-05", "2011-12-28", "2018-11-02"]
)
CUTS = st.lists(st.integers(0, 5 * 24 * 60), max_size=30)


def ticks(start: str, cuts: list[int], days: int = 5) -> list[datetime]:
    begin = utc(f"{start} 00:00")
    return [begin + timedelta(minutes=m) for m in sorted({0, *cuts, days * 24 * 60})]


@settings(deadline=None, max_examples=120)
@given(st.one_of(CRONS.map(cron), RULES.map(rule)), STARTS, CUTS, st.sampled_from(ZONES))
def test_each_run_falls_into_one_tick(trigger, start: str, cuts: list[int], zone: str) -> None:
    at = ticks(start, cuts)
    whole = due_runs(trigger, at[0], at[-1], zone, ALL)
    parts = [run for since, now in pairwise(at) for run in due_runs(trigger, since, now, zone, ALL)]
    assert parts == whole
    assert len({key for key, _ in whole}) == len(whole) == len({i for _, i in whole})
    assert all(a[1] < b[1] for a, b in pairwise(whole))


# ---- dates ---------------------------------------------------------------------------------------------------------


def dated(days: int = 0, *, months: int = 0, business: bool = False, yearly: bool = False, leap="feb_28", at=time(9)):
    return DateTrigger(
        of="customer",
        source="customer",
        field_name="birthday",
        offset_days=days,
        offset_months=months,
        business_days=business,
        every_year=yearly,
        leap_day=leap,
        at=at,
        key="k",
        span=SPAN,
    )


def windows(trigger: DateTrigger, since: str, now: str, zone: str = BERLIN) -> list[Window]:
    return date_windows(trigger, utc(since), utc(now), zone)


D = date


@pytest.mark.parametrize(
    ("trigger", "since", "now", "first", "last"),
    [
        (dated(), "2027-03-01 07:00", "2027-03-01 08:00", D(2027, 3, 1), D(2027, 3, 1)),
        (dated(-90), "2027-03-01 07:00", "2027-03-01 08:00", D(2027, 5, 30), D(2027, 5, 30)),
        (dated(3), "2027-03-01 00:00", "2027-03-05 00:00", D(2027, 2, 26), D(2027, 3, 1)),
        (dated(months=1), "2027-02-28 00:00", "2027-02-28 12:00", D(2027, 1, 28), D(2027, 1, 31)),
        (dated(months=-1), "2027-02-28 00:00", "2027-02-28 12:00", D(2027, 3, 28), D(2027, 3, 31)),
        # Two working days before: what falls on a Thursday is due for Saturday, Sunday and Monday alike.
        (dated(-2, business=True), "2027-03-04 00:00", "2027-03-04 12:00", D(2027, 3, 6), D(2027, 3, 8)),
        (dated(1, business=True), "2027-03-01 00:00", "2027-03-01 12:00", D(2027, 2, 26), D(2027, 2, 28)),
        (dated(at=time(2, 30)), "2027-03-28 00:00", "2027-03-28 01:00", D(2027, 3, 28), D(2027, 3, 28)),
    ],
)
def test_which_dates_are_due(trigger, since: str, now: str, first: date, last: date) -> None:
    assert windows(trigger, since, now) == [Window(first, last)]


def test_no_dates_are_due() -> None:
    assert windows(dated(), "2027-03-01 08:00", "2027-03-02 07:00") == []
    assert windows(dated(-2, business=True), "2027-03-06 00:00", "2027-03-06 12:00") == []  # a Saturday
    assert windows(dated(), "2027-03-01 07:00", "2027-03-01 08:00", "Mars/Olympus") == []


def test_a_birthday_in_one_zone_is_not_yet_one_in_another() -> None:
    tick = ("2027-02-28 19:30", "2027-02-28 20:30")
    assert windows(dated(), *tick, "Pacific/Apia") == [Window(D(2027, 3, 1), D(2027, 3, 1))]
    assert windows(dated(), *tick, "America/New_York") == []


@pytest.mark.parametrize(
    ("trigger", "day", "month_days"),
    [
        (dated(yearly=True), "2027-03-01", ((3, 1),)),
        (dated(yearly=True), "2027-02-28", ((2, 28), (2, 29))),
        (dated(yearly=True), "2028-02-28", ((2, 28),)),
        (dated(yearly=True), "2028-02-29", ((2, 29),)),
        (dated(yearly=True, leap="mar_1"), "2027-02-28", ((2, 28),)),
        (dated(yearly=True, leap="mar_1"), "2027-03-01", ((2, 29), (3, 1))),
        (dated(yearly=True, leap="mar_1"), "2028-03-01", ((3, 1),)),
        (dated(-7, yearly=True), "2026-12-28", ((1, 4),)),
        (dated(5, yearly=True), "2027-01-02", ((12, 28),)),
        (dated(months=1, yearly=True), "2027-02-28", ((1, 28), (1, 29), (1, 30), (1, 31))),
        (dated(-1, business=True, yearly=True), "2027-03-05", ((3, 6), (3, 7), (3, 8))),
    ],
)
def test_every_year(trigger, day: str, month_days: tuple[tuple[int, int], ...]) -> None:
    found = windows(trigger, f"{day} 00:00", f"{day} 12:00")
    assert found == [Window(month_days=month_days, run_date=date.fromisoformat(day))]


def fires(trigger: DateTrigger, born: date, year: int, zone: str) -> datetime:
    """Straight from the meaning: the year's anniversary, moved, at the wall time."""
    day = add_months(anniversary(born, year, trigger.leap_day), trigger.offset_months)
    left = abs(trigger.offset_days)
    one = timedelta(days=1 if trigger.offset_days > 0 else -1)
    while left:
        day += one
        left -= not trigger.business_days or day.weekday() < 5
    return instant(day, trigger.at, ZoneInfo(zone))


TRIGGERS = st.builds(
    lambda days, months, business, leap, at: (days, months, business, leap, at),
    st.integers(-40, 40),
    st.sampled_from([0, 0, 1, -2]),
    st.booleans(),
    st.sampled_from(["feb_28", "mar_1"]),
    st.sampled_from([time(9), time(0), time(2, 30), time(23, 59)]),
)


@settings(deadline=None, max_examples=150)
@given(TRIGGERS, STARTS, CUTS, st.sampled_from(ZONES), st.integers(-60, 60))
def test_each_date_falls_into_one_tick(shape, start: str, cuts: list[int], zone: str, near: int) -> None:
    days, months, business, leap, at = shape
    trigger = dated(days, months=months, business=business, leap=leap, at=at)
    day = date.fromisoformat(start) + timedelta(days=near)
    walls = ticks(start, cuts)
    due = [
        (since, now)
        for since, now in pairwise(walls)
        for w in date_windows(trigger, since, now, zone)
        if w.first is not None and w.last is not None and w.first <= day <= w.last
    ]
    expected = fires(trigger, day, day.year, zone)
    assert due == [(since, now) for since, now in pairwise(walls) if since < expected <= now]


@settings(deadline=None, max_examples=150)
@given(TRIGGERS, STARTS, CUTS, st.sampled_from(ZONES), st.dates(date(1940, 1, 1), date(2004, 12, 31)), st.booleans())
def test_each_birthday_falls_into_one_tick(shape, start: str, cuts, zone: str, born: date, leapling: bool) -> None:
    days, months, business, leap, at = shape
    born = date(1980, 2, 29) if leapling else born
    trigger = dated(days, months=months, business=business, leap=leap, at=at, yearly=True)
    begin = date.fromisoformat(start)
    walls = [utc(f"{begin} 00:00") + timedelta(days=n * 8) for n in range(60)]  # sixteen months
    due = [
        w.run_date
        for since, now in pairwise(walls)
        for w in date_windows(trigger, since, now, zone)
        if (born.month, born.day) in w.month_days
    ]
    expected = [
        at_.astimezone(ZoneInfo(zone)).date()
        for year in range(begin.year - 1, begin.year + 4)
        if walls[0] < (at_ := fires(trigger, born, year, zone)) <= walls[-1]
    ]
    # A wall time in a gap at the end of a day may come on the next one; the run is named by the day that was meant.
    assert len(due) == len(expected) == len(set(due))
    assert all(
        run is not None and run <= day <= run + timedelta(days=1) for run, day in zip(due, expected, strict=True)
    )
