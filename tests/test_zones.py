"""Windows and calendars against a table of hard cases, and against a second implementation, minute by minute."""

import subprocess
import sys
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import _zoneinfo  # type: ignore[attr-defined]

import pytest
from dateutil.easter import easter
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.holiday import UnknownCalendar, is_holiday, known
from orchestrator.model import Window
from orchestrator.zones import (
    CLOSING_DAYS,
    HORIZON_DAYS,
    TZDATA,
    instant,
    is_open,
    local,
    local_day_start,
    local_month_start,
    local_week_start,
    next_open,
    open_until,
    zone,
)

PARIS, NY, LA, CHICAGO, DENVER = (
    "Europe/Paris",
    "America/New_York",
    "America/Los_Angeles",
    "America/Chicago",
    "America/Denver",
)
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
ALL = tuple(sorted(n for n in zoneinfo.available_timezones() if n != "Factory"))


Hours = Sequence[tuple[tuple[Window, ...], str]]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def window(text: str, *days: int) -> Window:
    opens, closes = text.split("-")
    return Window(time.fromisoformat(opens), time.fromisoformat(closes), frozenset(days or range(7)))


# ---- the table ------------------------------------------------------------------------------------------------------

CASES: list[tuple[str, Window, Sequence[str], str, str | None]] = [
    # title, window, zones, now, first open instant (now itself: open)
    ("day before the clock goes forward", window("08:00-21:00"), [NY], "2027-03-13T12:59Z", "2027-03-13T13:00Z"),
    ("the clock has gone forward", window("08:00-21:00"), [NY], "2027-03-14T11:59Z", "2027-03-14T12:00Z"),
    ("at the opening", window("08:00-21:00"), [NY], "2027-03-14T12:00Z", "2027-03-14T12:00Z"),
    ("a microsecond before", window("08:00-21:00"), [NY], "2027-03-14T11:59:59.999999Z", "2027-03-14T12:00Z"),
    ("the last microsecond", window("08:00-21:00"), [NY], "2027-03-15T00:59:59.999999Z", "2027-03-15T00:59:59.999999Z"),
    ("at the close", window("08:00-21:00"), [NY], "2027-03-15T01:00Z", "2027-03-15T12:00Z"),
    ("opens in the gap", window("02:30-05:00"), [NY], "2027-03-14T06:59Z", "2027-03-14T07:00Z"),
    ("the whole window in the gap", window("02:00-03:00"), [NY], "2027-03-14T06:59Z", "2027-03-15T06:00Z"),
    ("a weekly window in the gap", window("02:00-03:00", SUN), [NY], "2027-03-08T12:00Z", "2027-03-21T06:00Z"),
    ("fold, first time", window("01:30-06:00"), [NY], "2026-11-01T05:45Z", "2026-11-01T05:45Z"),
    ("fold, closed between", window("01:30-06:00"), [NY], "2026-11-01T06:15Z", "2026-11-01T06:30Z"),
    ("fold, second time", window("01:30-06:00"), [NY], "2026-11-01T06:45Z", "2026-11-01T06:45Z"),
    ("fold, before it", window("01:30-06:00"), [NY], "2026-11-01T05:15Z", "2026-11-01T05:30Z"),
    ("half an hour back", window("08:00-21:00"), ["Australia/Lord_Howe"], "2027-04-03T20:59Z", "2027-04-03T21:30Z"),
    ("half-hour zone", window("08:00-21:00"), ["Asia/Kolkata"], "2027-01-01T02:29Z", "2027-01-01T02:30Z"),
    ("quarter-hour zone", window("08:00-21:00"), ["Asia/Kathmandu"], "2027-01-01T02:00Z", "2027-01-01T02:15Z"),
    ("a day left out", window("08:00-21:00"), ["Pacific/Apia"], "2011-12-30T08:00Z", "2011-12-30T18:00Z"),
    ("only the day left out", window("08:00-21:00", FRI), ["Pacific/Apia"], "2011-12-30T08:00Z", "2012-01-05T18:00Z"),
    ("the night before it", window("22:00-02:00", THU), ["Pacific/Apia"], "2011-12-30T09:30Z", "2011-12-30T09:30Z"),
    ("Sunday from noon, one zone", window("12:00-21:00", SUN), [CHICAGO], "2027-01-10T18:30Z", "2027-01-10T18:30Z"),
    ("… two zones", window("12:00-21:00", SUN), [CHICAGO, DENVER], "2027-01-10T18:30Z", "2027-01-10T19:00Z"),
    ("both coasts", window("08:00-20:00"), [NY, LA], "2027-01-11T13:00Z", "2027-01-11T16:00Z"),
    ("both coasts, evening", window("08:00-20:00"), [NY, LA], "2027-01-12T01:00Z", "2027-01-12T16:00Z"),
    ("both coasts, narrow", window("09:00-11:00"), [NY, LA], "2027-01-11T13:00Z", None),
    ("just touching", window("09:00-12:00"), [NY, LA], "2027-01-11T13:00Z", None),
    ("one minute in common", window("09:00-12:01"), [NY, LA], "2027-01-11T13:00Z", "2027-01-11T17:00Z"),
    ("a day apart", window("00:00-00:00", MON), ["Pacific/Pago_Pago", "Pacific/Kiritimati"], "2027-01-01T00:00Z", None),
    ("overnight, before midnight", window("21:00-02:00", FRI), [PARIS], "2027-01-08T22:30Z", "2027-01-08T22:30Z"),
    ("overnight, behind midnight", window("21:00-02:00", FRI), [PARIS], "2027-01-09T00:30Z", "2027-01-09T00:30Z"),
    ("overnight, closed", window("21:00-02:00", FRI), [PARIS], "2027-01-09T01:00Z", "2027-01-15T20:00Z"),
    ("overnight, not that day's", window("21:00-02:00", FRI), [PARIS], "2027-01-07T23:30Z", "2027-01-08T20:00Z"),
    ("to midnight", window("08:00-00:00"), [PARIS], "2027-01-08T22:59Z", "2027-01-08T22:59Z"),
    ("at midnight", window("08:00-00:00"), [PARIS], "2027-01-08T23:00Z", "2027-01-09T07:00Z"),
    ("around the clock", window("00:00-00:00"), [PARIS], "2027-01-08T23:00Z", "2027-01-08T23:00Z"),
    ("24 hours from nine", window("09:00-09:00", SAT), [PARIS], "2027-01-10T07:59Z", "2027-01-10T07:59Z"),
    ("24 hours from nine, over", window("09:00-09:00", SAT), [PARIS], "2027-01-10T08:00Z", "2027-01-16T08:00Z"),
    ("no Sunday", window("08:00-20:00", MON, TUE, WED, THU, FRI, SAT), [PARIS], "2027-03-27T19:00Z",
     "2027-03-29T06:00Z"),
    ("midnight left out", window("00:00-06:00"), ["Africa/Cairo"], "2027-04-29T21:59Z", "2027-04-29T22:00Z"),
    ("no day", Window(time(8), time(20), frozenset()), [PARIS], "2027-01-08T12:00Z", None),
    ("an unknown zone", window("08:00-20:00"), ["Europe/Paris", "Mars/Base"], "2027-01-08T12:00Z", None),
    ("no zone", window("08:00-20:00"), [], "2027-01-08T12:00Z", None),
    ("Vancouver by the pinned data", window("08:00-21:00"), ["America/Vancouver"], "2026-12-16T04:30Z",
     "2026-12-16T15:00Z"),
]  # fmt: skip


@pytest.mark.parametrize(("hours", "zones", "now", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_next_open(hours: Window, zones: Sequence[str], now: str, expected: str | None) -> None:
    found = next_open([((hours,), name) for name in zones], at(now))
    assert found == (None if expected is None else at(expected))


FRANCE = (
    Window(time(8), time(20), frozenset((MON, TUE, WED, THU, FRI)), "FR"),
    Window(time(10), time(19), frozenset((SAT,)), "FR"),
)
BAVARIA = (Window(time(8), time(20), frozenset(range(6)), "DE-BY"),)
GERMANY = (Window(time(8), time(20), frozenset(range(6)), "DE"),)
MONDAYS = (Window(time(9), time(10), frozenset((MON,)), "DE"),)
CHANGE = date(2026, 10, 18)
FROM_A_DAY_ON = (
    Window(time(8), time(21), frozenset(range(6)), since=CHANGE),
    Window(time(), time(), until=CHANGE - timedelta(days=1)),
)
SEVERAL: list[tuple[str, Hours, str, str | None, str | None]] = [
    # title, hours, now, first open instant, when that closes
    ("a weekday", [(FRANCE, PARIS)], "2027-01-06T12:00Z", "2027-01-06T12:00Z", "2027-01-06T19:00Z"),
    ("Saturday's own hours", [(FRANCE, PARIS)], "2027-01-09T07:00Z", "2027-01-09T09:00Z", "2027-01-09T18:00Z"),
    ("Easter in France", [(FRANCE, PARIS)], "2027-03-27T19:00Z", "2027-03-30T06:00Z", "2027-03-30T18:00Z"),
    ("Christmas Eve to Monday", [(GERMANY, PARIS)], "2026-12-24T19:30Z", "2026-12-28T07:00Z", "2026-12-28T19:00Z"),
    ("Epiphany in Bavaria", [(BAVARIA, PARIS)], "2027-01-06T12:00Z", "2027-01-07T07:00Z", "2027-01-07T19:00Z"),
    ("… but not in Germany", [(GERMANY, PARIS)], "2027-01-06T12:00Z", "2027-01-06T12:00Z", "2027-01-06T19:00Z"),
    ("both of them", [(GERMANY, PARIS), (BAVARIA, PARIS)], "2027-01-06T12:00Z", "2027-01-07T07:00Z",
     "2027-01-07T19:00Z"),
    ("two Mondays gone", [(MONDAYS, PARIS)], "2028-12-19T12:00Z", "2029-01-08T08:00Z", "2029-01-08T09:00Z"),
    ("before it binds", [(FROM_A_DAY_ON, NY)], "2026-10-16T15:00Z", "2026-10-16T15:00Z", "2026-10-18T04:00Z"),
    ("as it begins to bind", [(FROM_A_DAY_ON, NY)], "2026-10-18T04:00Z", "2026-10-19T12:00Z", "2026-10-20T01:00Z"),
    ("binding here, not yet there", [(FROM_A_DAY_ON, NY), (FROM_A_DAY_ON, LA)], "2026-10-18T06:00Z",
     "2026-10-19T15:00Z", "2026-10-20T01:00Z"),
    ("windows that touch are one", [((window("08:00-12:00"), window("12:00-20:00")), PARIS)], "2027-01-06T08:00Z",
     "2027-01-06T08:00Z", "2027-01-06T19:00Z"),
    ("never closed", [((window("00:00-00:00"),), PARIS)], "2027-01-06T08:00Z", "2027-01-06T08:00Z", None),
    ("closes into the gap", [((window("00:00-02:30"),), NY)], "2027-03-14T06:00Z", "2027-03-14T06:00Z",
     "2027-03-14T07:00Z"),
    ("closes twice in the fold", [((window("00:00-01:30"),), NY)], "2026-11-01T05:00Z", "2026-11-01T05:00Z",
     "2026-11-01T05:30Z"),
    ("… and opens between", [((window("00:00-01:30"),), NY)], "2026-11-01T05:45Z", "2026-11-01T06:00Z",
     "2026-11-01T06:30Z"),
    ("half an hour back", [((window("01:00-01:45"),), "Australia/Lord_Howe")], "2027-04-03T14:10Z",
     "2027-04-03T14:10Z", "2027-04-03T14:45Z"),
    ("a day left out", [((window("20:00-02:00"),), "Pacific/Apia")], "2011-12-30T09:00Z", "2011-12-30T09:00Z",
     "2011-12-30T12:00Z"),
    ("no window at all", [((), PARIS)], "2027-01-06T08:00Z", None, None),
    ("over the year's end", [(GERMANY, PARIS)], "2026-12-31T19:30Z", "2027-01-02T07:00Z", "2027-01-02T19:00Z"),
]  # fmt: skip


@pytest.mark.parametrize(("hours", "now", "opens", "closes"), [c[1:] for c in SEVERAL], ids=[c[0] for c in SEVERAL])
def test_several_windows_terms_and_holidays(hours: Hours, now: str, opens: str | None, closes: str | None) -> None:
    found = next_open(hours, at(now))
    assert found == (None if opens is None else at(opens))
    if found is not None:
        assert open_until(hours, found) == (None if closes is None else at(closes))


def test_what_is_closed_closes_now() -> None:
    assert open_until([(GERMANY, PARIS)], at("2027-01-10T12:00Z")) == at("2027-01-10T12:00Z")
    assert open_until([(GERMANY, "Mars/Base")], at("2027-01-11T12:00Z")) == at("2027-01-11T12:00Z")


def test_an_unknown_calendar_is_an_error() -> None:
    nowhere = (Window(time(8), time(20), closed_on="DE-XX"),)
    with pytest.raises(UnknownCalendar):
        next_open([(nowhere, PARIS)], at("2027-01-10T12:00Z"))


@pytest.mark.parametrize(
    ("calendar", "is_known"),
    [("DE", True), ("US-AL", True), ("DE-BY", True), ("DE-XX", False), ("XX", False), ("USA", False), ("", False),
     ("DE-", False)],
)  # fmt: skip
def test_known_calendars(calendar: str, is_known: bool) -> None:
    assert known(calendar) == is_known


@pytest.mark.parametrize("year", range(1995, 2060))
def test_german_holidays_are_those_of_the_law(year: int) -> None:
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(365))
    assert {day for day in days if is_holiday("DE", day)} == german_holidays(year)


@pytest.mark.parametrize(("calendar", "year"), [("DE", 1950), ("DE", 2150), ("XX", 2027)])
def test_a_year_nobody_knows_is_an_error(calendar: str, year: int) -> None:
    with pytest.raises(UnknownCalendar):
        is_holiday(calendar, date(year, 6, 1))


def test_the_newer_data_keeps_vancouver_asleep() -> None:
    """Debian's 2025b has 20:30 there and would send; 2026f has 21:30."""
    vancouver = zone("America/Vancouver")
    assert vancouver is not None
    assert at("2026-12-16T04:30Z").astimezone(vancouver).time() == time(21, 30)
    assert TZDATA >= "2026.6"


def test_the_pinned_copy_wins_over_zones_made_before() -> None:
    code = (
        "import zoneinfo; kept = zoneinfo.ZoneInfo('America/Vancouver')\n"
        "from datetime import datetime, UTC\n"
        "from orchestrator.zones import local\n"
        "assert zoneinfo.TZPATH == ()\n"
        "print(local(datetime(2026, 12, 16, 4, 30, tzinfo=UTC), 'America/Vancouver').isoformat())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "2026-12-15T21:30:00-07:00"


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Base", "Etc/Unknown", "Factory", "America", "../etc/passwd", "/etc/localtime", "__init__.py", "\0",
     "\ud800", "zone.tab", "x" * 3000, "Europe//Berlin", "a.b/c", "é", ".", "Europe/Berlin\n"],
)  # fmt: skip
def test_a_name_that_is_no_zone_is_unknown(name: str) -> None:
    assert zone(name) is None
    assert local(at("2027-01-01T00:00Z"), name) is None
    assert local_day_start(at("2027-01-01T00:00Z"), name) is None
    assert next_open([((window("00:00-00:00"),), name)], at("2027-01-01T00:00Z")) is None


# ---- wall time and calendars ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "clock", "name", "expected"),
    [
        (date(2027, 3, 14), "02:30", NY, "2027-03-14T07:00Z"),
        (date(2026, 11, 1), "01:30", NY, "2026-11-01T05:30Z"),
        (date(2027, 4, 30), "00:00", "Africa/Cairo", "2027-04-29T22:00Z"),
        (date(2011, 12, 30), "12:00", "Pacific/Apia", "2011-12-30T10:00Z"),
        (date(2027, 10, 3), "02:10", "Australia/Lord_Howe", "2027-10-02T15:30Z"),
        (date(2027, 7, 1), "09:00", "Asia/Kolkata", "2027-07-01T03:30Z"),
    ],
)
def test_instant(day: date, clock: str, name: str, expected: str) -> None:
    tz = zone(name)
    assert tz is not None
    assert instant(day, time.fromisoformat(clock), tz) == at(expected)


@pytest.mark.parametrize(
    ("now", "name", "day", "week", "month"),
    [
        ("2027-01-06T12:00Z", "Europe/Berlin", "2027-01-05T23:00Z", "2027-01-03T23:00Z", "2026-12-31T23:00Z"),
        ("2027-03-28T12:00Z", "Europe/Berlin", "2027-03-27T23:00Z", "2027-03-21T23:00Z", "2027-02-28T23:00Z"),
        ("2027-03-29T12:00Z", "Europe/Berlin", "2027-03-28T22:00Z", "2027-03-28T22:00Z", "2027-02-28T23:00Z"),
        ("2026-12-31T23:00Z", "Europe/Berlin", "2026-12-31T23:00Z", "2026-12-27T23:00Z", "2026-12-31T23:00Z"),
        ("2026-11-01T06:30Z", NY, "2026-11-01T04:00Z", "2026-10-26T04:00Z", "2026-11-01T04:00Z"),
        ("2027-04-30T10:00Z", "Africa/Cairo", "2027-04-29T22:00Z", "2027-04-25T22:00Z", "2027-03-31T22:00Z"),
        ("1995-01-02T12:00Z", "Pacific/Kiritimati", "1995-01-02T10:00Z", "1995-01-01T10:00Z", "1994-12-31T10:00Z"),
        ("1995-01-01T11:00Z", "Pacific/Kiritimati", "1995-01-01T10:00Z", "1995-01-01T10:00Z", "1994-12-31T10:00Z"),
    ],
)
def test_calendar_starts(now: str, name: str, day: str, week: str, month: str) -> None:
    assert local_day_start(at(now), name) == at(day)
    assert local_week_start(at(now), name) == at(week)
    assert local_month_start(at(now), name) == at(month)


# ---- against a second implementation --------------------------------------------------------------------------------


def german_holidays(year: int) -> set[date]:
    """In all of Germany, by the laws of its states: what the calendar "DE" must say since 1995."""
    sunday = easter(year)
    moved = {sunday + timedelta(days=n) for n in (-2, 1, 39, 50)}
    fixed = {date(year, month, day) for month, day in ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26))}
    return moved | fixed | ({date(2017, 10, 31)} if year == 2017 else set())


def opens_on(hours: Window, day: date) -> bool:
    if hours.since is not None and day < hours.since:
        return False
    if hours.until is not None and hours.until < day:
        return False
    if hours.closed_on and day in german_holidays(day.year):
        return False
    return day.weekday() in hours.days


def by_wall(hours: Window, wall: datetime) -> bool:
    """A window as stretches of naive wall time, each belonging to the date it opens on."""
    for back in (0, 1):
        opening = datetime.combine(wall.date() - timedelta(days=back), hours.open)
        closing = datetime.combine(opening.date(), hours.close)
        if closing <= opening:
            closing += timedelta(days=1)
        if opening <= wall < closing and opens_on(hours, opening.date()):
            return True
    return False


def minutes(hours: Hours, now: datetime) -> Iterator[tuple[datetime, bool]]:
    """Every minute to the horizon and whether all is open in it, with Python's own (not the C) reader of zone data."""
    readers = [(windows, _zoneinfo.ZoneInfo(name)) for windows, name in hours]
    end = datetime.combine(now.date(), time(), UTC) + timedelta(days=HORIZON_DAYS + 1)
    minute = now
    while minute < end:
        walls = ((windows, minute.astimezone(tz).replace(tzinfo=None)) for windows, tz in readers)
        yield minute, all(any(by_wall(window, wall) for window in windows) for windows, wall in walls)
        minute += timedelta(minutes=1)


def by_minutes(hours: Hours, now: datetime) -> datetime | None:
    """The first open minute, by trying them all."""
    return next((minute for minute, is_open in minutes(hours, now) if is_open), None)


def closed_by_minutes(hours: Hours, now: datetime) -> datetime | None:
    """The first minute that is not open."""
    end = datetime.combine(now.date(), time(), UTC) + timedelta(days=CLOSING_DAYS)
    return next((minute for minute, is_open in minutes(hours, now) if not is_open and minute < end), None)


def changes(name: str) -> list[int]:
    """The zone's changes of offset, in seconds since 1970; those since 1973 fall on whole minutes."""
    first, last = datetime(1973, 1, 1, tzinfo=UTC).timestamp(), datetime(2037, 1, 1, tzinfo=UTC).timestamp()
    return [int(t) for t in _zoneinfo.ZoneInfo(name)._trans_utc if first < t < last]


clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59)) | st.builds(time, st.integers(0, 4))
weekdays = st.frozensets(st.integers(0, 6), min_size=1) | st.just(frozenset(range(7)))
plain_hours = st.builds(Window, clocks, clocks, weekdays)
in_germany = st.just("DE") | st.just("")


@st.composite
def moments(draw: st.DrawFn) -> tuple[Hours, datetime]:
    """Hours of up to two zones, at some minute of these decades, often one near a change of the clock."""
    names = draw(st.lists(st.sampled_from(ALL), min_size=1, max_size=2))
    edges = [t for t in changes(names[0]) if t > datetime(1996, 1, 1, tzinfo=UTC).timestamp()]
    if len(edges) > 0 and draw(st.booleans()):
        near: int = draw(st.sampled_from(edges)) + 60 * draw(st.integers(-3000, 180))
    else:
        near = 60 * draw(st.integers(26 * 365 * 1440 + 7 * 1440, 67 * 365 * 1440))
    now = datetime.fromtimestamp(near - near % 60, UTC)
    return [(draw(alternatives(now)), name) for name in names], now


@st.composite
def alternatives(draw: st.DrawFn, now: datetime) -> tuple[Window, ...]:
    """One to three windows of which one must be open; some end or begin these days, some are closed on holidays."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        hours = replace(draw(plain_hours), closed_on=draw(in_germany))
        if draw(st.integers(0, 3)) == 0:
            hours = replace(hours, since=now.date() + timedelta(days=draw(st.integers(-9, 20))))
        if draw(st.integers(0, 3)) == 0:
            hours = replace(hours, until=now.date() + timedelta(days=draw(st.integers(-9, 20))))
        found.append(hours)
    return tuple(found)


@settings(max_examples=100)
@given(moments())
def test_next_open_is_the_first_open_minute(moment: tuple[Hours, datetime]) -> None:
    hours, now = moment
    expected = by_minutes(hours, now)
    assert next_open(hours, now) == expected
    if expected is not None:  # what is remembered of the first look answers every later one until then
        for share in (0.3, 0.9, 1.0):
            later = now + (expected - now) * share
            assert next_open(hours, later) == expected


@settings(max_examples=60)
@given(moments())
def test_it_closes_in_the_first_minute_that_is_not_open(moment: tuple[Hours, datetime]) -> None:
    hours, start = moment
    now = next_open(hours, start)
    if now is None:
        return
    expected = closed_by_minutes(hours, now)
    assert open_until(hours, now) == expected
    if expected is not None:
        between = now + (expected - now) * 0.7
        assert open_until(hours, between) == expected and open_until(hours, expected) == expected


@settings(max_examples=60)
@given(moments(), st.lists(st.integers(0, 8 * 1440), max_size=6))
def test_what_is_remembered_is_what_would_be_found(moment: tuple[Hours, datetime], steps: list[int]) -> None:
    from orchestrator import zones

    hours, now = moment
    for step in steps:  # forwards and backwards
        then = now + timedelta(minutes=step)
        remembered = next_open(hours, then), open_until(hours, then)
        zones._looks.clear()
        zones._ends.clear()
        assert (next_open(hours, then), open_until(hours, then)) == remembered


@pytest.mark.parametrize("part", range(4))
def test_every_zone_around_its_last_changes(part: int) -> None:
    hours = window("01:30-02:30", SAT, SUN, MON)
    for name in ALL[part::4]:
        for change in changes(name)[-2:]:
            now = datetime.fromtimestamp(change, UTC) - timedelta(minutes=95)
            found = next_open([((hours,), name)], now)
            assert found == by_minutes([((hours,), name)], now), name
            assert found is not None
            assert open_until([((hours,), name)], found) == closed_by_minutes([((hours,), name)], found), name


@settings(max_examples=200)
@given(st.sampled_from(ALL), st.integers(3 * 365 * 86400, 67 * 365 * 86400), plain_hours)
def test_is_open_agrees_and_starts_are_starts(name: str, seconds: int, hours: Window) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    tz = zone(name)
    assert tz is not None
    wall = now.astimezone(_zoneinfo.ZoneInfo(name)).replace(tzinfo=None)
    assert is_open(hours, now, tz) == by_wall(hours, wall)
    day, week, month = local_day_start(now, name), local_week_start(now, name), local_month_start(now, name)
    assert day is not None and week is not None and month is not None
    assert week <= day <= now and month <= day
    assert day.astimezone(tz).date() == wall.date()
    assert (day - timedelta(seconds=1)).astimezone(tz).date() != wall.date()
    assert now - day <= timedelta(hours=25) and now - week <= timedelta(days=7, hours=1)
