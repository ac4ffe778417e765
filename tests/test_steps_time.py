"""wait, wait_until, wait_for: wall time over changes of the clock, gaps and folds, dates that move, what comes."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.condition import Condition
from orchestrator.dates import add_business_days, add_months, after, anniversary, before, next_wall
from orchestrator.reading import Days
from orchestrator.steps import Facts, Go, Into, Stay
from orchestrator.steps.wait import Wait
from orchestrator.steps.wait_for import WaitFor
from orchestrator.steps.wait_until import Clock, WaitUntil
from orchestrator.words import Duration
from orchestrator.zones import zone
from tests.making import NOW, enrollment, here, journey, offset, step

BERLIN, NEW_YORK, LORD_HOWE, SAO_PAULO, APIA = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
)


def wall(text: str, name: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name), fold=fold)


def local(at: datetime | None, name: str) -> str:
    assert at is not None
    return at.astimezone(ZoneInfo(name)).strftime("%Y-%m-%d %H:%M")


# ---- wait ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start", "length", "end"),
    [
        # Both changes of a year, in each of the zones: the wall time stays.
        (BERLIN, "2027-03-27 09:00", Duration(days=3), "2027-03-30 09:00"),
        (BERLIN, "2027-10-30 09:00", Duration(days=3), "2027-11-02 09:00"),
        (NEW_YORK, "2027-03-13 18:30", Duration(days=1), "2027-03-14 18:30"),
        (NEW_YORK, "2027-11-06 18:30", Duration(days=1), "2027-11-07 18:30"),
        (LORD_HOWE, "2027-04-03 10:15", Duration(days=2), "2027-04-05 10:15"),
        (LORD_HOWE, "2027-10-02 10:15", Duration(days=2), "2027-10-04 10:15"),
        (SAO_PAULO, "2018-11-03 09:00", Duration(days=1), "2018-11-04 09:00"),
        (SAO_PAULO, "2018-02-17 09:00", Duration(days=1), "2018-02-18 09:00"),
        # Into a gap: the first moment after it.
        (BERLIN, "2027-03-27 02:30", Duration(days=1), "2027-03-28 03:00"),
        (NEW_YORK, "2027-03-13 02:15", Duration(days=1), "2027-03-14 03:00"),
        (LORD_HOWE, "2027-10-02 02:10", Duration(days=1), "2027-10-03 02:30"),
        (SAO_PAULO, "2018-11-03 00:30", Duration(days=1), "2018-11-04 01:00"),
        (APIA, "2011-12-29 12:00", Duration(days=1), "2011-12-31 00:00"),  # a day that was left out
        (APIA, "2011-12-29 12:00", Duration(days=2), "2011-12-31 12:00"),
        # Months and business days.
        (BERLIN, "2027-01-31 08:00", Duration(months=1), "2027-02-28 08:00"),
        (BERLIN, "2027-10-29 08:00", Duration(business=2), "2027-11-02 08:00"),
        (BERLIN, "2027-10-30 08:00", Duration(business=1), "2027-11-01 08:00"),
    ],
)
def test_days_keep_the_wall_time(name: str, start: str, length: Duration, end: str) -> None:
    waiting = step(Wait, "wait", wait=length)
    outcome = waiting.arrive(here(Facts(zone=name), wall(start, name).astimezone(UTC)))
    assert isinstance(outcome, Stay) and local(outcome.until, name) == end


@pytest.mark.parametrize("name", [BERLIN, NEW_YORK, LORD_HOWE, SAO_PAULO])
def test_hours_are_elapsed(name: str) -> None:
    for hour in range(0, 24 * 370, 7):
        at = datetime(2018, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        assert after(at, Duration(seconds=7200), ZoneInfo(name)) == at + timedelta(hours=2)


def test_the_second_of_two_equal_hours_is_a_day_after_itself_or_its_twin() -> None:
    start = wall("2027-10-30 02:30", BERLIN)
    assert after(start, Duration(days=1), ZoneInfo(BERLIN)) == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    again = wall("2027-10-31 02:30", BERLIN, fold=1)
    assert local(after(again, Duration(days=1), ZoneInfo(BERLIN)), BERLIN) == "2027-11-01 02:30"


def test_it_counts_from_its_own_beginning_and_passes_once_it_is_over() -> None:
    waiting = step(Wait, "wait", wait=Duration(days=3))
    run = enrollment(step="wait", since=NOW)
    early = waiting.wake(here(now=NOW + timedelta(days=2), enrollment_=run))
    assert isinstance(early, Stay) and early.until == NOW + timedelta(days=3)
    over = waiting.wake(here(now=NOW + timedelta(days=3), enrollment_=run))
    assert isinstance(over, Go) and over.what == "woke"


@pytest.mark.parametrize(
    ("own", "workspace", "hour"),
    [(None, BERLIN, 9), ("Mars/Olympus", BERLIN, 9), (NEW_YORK, BERLIN, 13), (None, "Nowhere/At_All", 8)],
)
def test_the_zone_is_ones_own_then_the_workspaces(own: str | None, workspace: str, hour: int) -> None:
    # 08:00 UTC before the change in Berlin, and after it in New York (14 March).
    told = here(Facts(zone=own, workspace_zone=workspace), datetime(2027, 3, 27, 8, tzinfo=UTC))
    outcome = step(Wait, "wait", wait=Duration(days=1)).arrive(told)
    assert isinstance(outcome, Stay) and outcome.until is not None
    shift = timedelta(hours=1) if own is not NEW_YORK and workspace == BERLIN else timedelta(0)
    assert outcome.until == datetime(2027, 3, 28, 8, tzinfo=UTC) - shift


ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, SAO_PAULO, APIA, "Asia/Kolkata", "UTC", "Africa/Casablanca"])
INSTANTS = st.datetimes(datetime(2005, 1, 1), datetime(2040, 1, 1)).map(lambda d: d.replace(tzinfo=UTC))  # noqa: DTZ001
LENGTHS = st.one_of(
    st.integers(0, 800).map(lambda n: Duration(days=n)),
    st.integers(0, 200).map(lambda n: Duration(business=n)),
    st.builds(Duration, st.integers(0, 30), st.integers(0, 40), st.integers(0, 10**6)),
)


@given(INSTANTS, LENGTHS, ZONES)
def test_a_wait_never_ends_before_it_began_and_keeps_the_wall_time(at: datetime, length: Duration, name: str) -> None:
    tz = zone(name)
    assert tz is not None
    end = after(at, length, tz)
    assert end >= at
    if not length.seconds and length != Duration():
        then, now = end.astimezone(tz), at.astimezone(tz)
        real = then.replace(tzinfo=None) == datetime.combine(then.date(), now.time())
        day_before = (end - timedelta(seconds=1)).astimezone(tz)
        assert real or day_before.utcoffset() != then.utcoffset()  # else the wall time fell into a gap


@given(st.dates(date(1990, 1, 1), date(2060, 1, 1)), st.integers(-60, 60))
def test_business_days_step_by_step(day: date, count: int) -> None:
    walked, one = day, 1 if count > 0 else -1
    for _ in range(abs(count)):
        walked += timedelta(days=one)
        while walked.weekday() > 4:
            walked += timedelta(days=one)
    assert add_business_days(day, count) == walked


def test_months_and_anniversaries() -> None:
    assert add_months(date(2028, 1, 31), 1) == date(2028, 2, 29)
    assert add_months(date(2027, 3, 31), -13) == date(2026, 2, 28)
    assert anniversary(date(2000, 2, 29), 2027) == date(2027, 2, 28)
    assert anniversary(date(2000, 2, 29), 2027, "mar_1") == date(2027, 3, 1)
    assert anniversary(date(2000, 2, 29), 2028, "mar_1") == date(2028, 2, 29)
    assert anniversary(date(2001, 7, 5), 2027) == date(2027, 7, 5)
    assert before(wall("2027-03-30 09:00", BERLIN), Duration(days=3), ZoneInfo(BERLIN)) == wall(
        "2027-03-27 09:00", BERLIN
    )


# ---- wait_until a time ---------------------------------------------------------------------------------------------

WEEKDAYS = Days(frozenset(range(5)))


@pytest.mark.parametrize(
    ("now", "at", "days", "expected"),
    [
        ("2027-03-01 08:59", time(9), Days(frozenset(range(7))), "2027-03-01 09:00"),
        ("2027-03-01 09:00", time(9), Days(frozenset(range(7))), None),
        ("2027-03-01 09:01", time(9), Days(frozenset(range(7))), "2027-03-02 09:00"),
        ("2027-03-05 12:00", time(9), WEEKDAYS, "2027-03-08 09:00"),
        ("2027-03-06 08:00", time(9), WEEKDAYS, "2027-03-08 09:00"),
        ("2027-03-01 12:00", time(9), Days(frozenset({0})), "2027-03-08 09:00"),
        ("2027-03-28 01:00", time(2, 30), Days(frozenset(range(7))), "2027-03-28 03:00"),
        ("2027-10-31 01:00", time(2, 30), Days(frozenset(range(7))), "2027-10-31 02:30"),
        ("2027-10-31 03:00", time(2, 30), Days(frozenset(range(7))), "2027-11-01 02:30"),
    ],
)
def test_the_next_time_of_day(now: str, at: time, days: Days, expected: str | None) -> None:
    waiting = step(WaitUntil, "w", wait_until=Clock(at=at, days=days))
    outcome = waiting.arrive(here(now=wall(now, BERLIN).astimezone(UTC)))
    if expected is None:
        assert isinstance(outcome, Go)
    else:
        assert isinstance(outcome, Stay) and local(outcome.until, BERLIN) == expected


def test_a_repeated_hour_is_waited_for_once() -> None:
    second = wall("2027-10-31 02:10", BERLIN, fold=1)
    outcome = step(WaitUntil, "w", wait_until=Clock(at=time(2, 30))).arrive(here(now=second.astimezone(UTC)))
    assert isinstance(outcome, Stay) and local(outcome.until, BERLIN) == "2027-11-01 02:30"


def test_a_late_wake_does_not_wait_for_another_day() -> None:
    waiting = step(WaitUntil, "w", wait_until=Clock(at=time(9)))
    run = enrollment(step="w", since=wall("2027-03-01 08:00", BERLIN))
    assert isinstance(waiting.wake(here(now=wall("2027-03-01 09:20", BERLIN), enrollment_=run)), Go)


@given(INSTANTS, st.times(), st.frozensets(st.integers(0, 6), min_size=1), ZONES)
def test_next_wall_comes_within_a_week_or_so(at: datetime, clock: time, days: frozenset[int], name: str) -> None:
    tz = zone(name)
    assert tz is not None
    found = next_wall(at, clock, days, tz)
    assert at <= found <= at + timedelta(days=9)


# ---- wait_until a day ----------------------------------------------------------------------------------------------

ENDS = offset(Duration(days=45), "before", "contract.ends")


def until(value, now: datetime = NOW, *, memory=None, at=None, off=ENDS, name=BERLIN):
    waiting = step(WaitUntil, "w", wait_until=off, at=at)
    known = Facts(zone=name, values={off.field: value})
    return waiting.wake(here(known, now, enrollment(step="w", memory=memory or {})))


@pytest.mark.parametrize(
    ("value", "off", "at", "expected"),
    [
        ("2027-06-30", ENDS, None, "2027-05-16 09:00"),
        ("2027-06-30", ENDS, time(14, 30), "2027-05-16 14:30"),
        ("2027-06-30", offset(Duration(), "on", "ends"), None, "2027-06-30 09:00"),
        ("2027-06-27", offset(Duration(business=2), "after", "ends"), None, "2027-06-29 09:00"),
        ("2027-06-27", offset(Duration(business=2), "before", "ends"), None, "2027-06-24 09:00"),
        ("2027-03-31", offset(Duration(months=1), "after", "ends"), None, "2027-04-30 09:00"),
        ("2027-03-28", offset(Duration(), "on", "ends"), time(2, 30), "2027-03-28 03:00"),
        ("2027-10-31", offset(Duration(), "on", "ends"), time(2, 30), "2027-10-31 02:30"),
        (datetime(2027, 4, 1, 13, tzinfo=UTC), offset(Duration(days=7), "before", "met"), None, "2027-03-25 15:00"),
        (datetime(2027, 4, 1, 13, tzinfo=UTC), offset(Duration(days=7), "before", "met"), time(8), "2027-03-25 08:00"),
    ],
)
def test_a_day_that_hangs_on_a_date(value, off, at, expected: str) -> None:
    outcome = until(value, at=at, off=off)
    assert isinstance(outcome, Stay) and local(outcome.until, BERLIN) == expected
    assert outcome.memory["value"] is not None


def test_the_same_date_is_another_moment_elsewhere() -> None:
    ends = [until("2027-06-30", name=name).until for name in (APIA, BERLIN, NEW_YORK)]
    assert ends == sorted(ends) and len(set(ends)) == 3


def test_a_day_that_has_passed_is_not_waited_for() -> None:
    outcome = until("2027-03-02")
    assert isinstance(outcome, Go) and outcome.note["value"] == "2027-03-02"


def test_a_date_that_moves_is_planned_anew() -> None:
    first = until("2027-06-30")
    assert isinstance(first, Stay)
    moved = until("2027-09-30", memory=first.memory)
    assert isinstance(moved, Stay) and local(moved.until, BERLIN) == "2027-08-16 09:00"
    assert moved.memory != first.memory
    assert isinstance(until("2027-03-01", memory=first.memory), Go)


def test_an_empty_field_is_waited_for() -> None:
    outcome = until(None)
    assert isinstance(outcome, Stay) and outcome.until is None and "empty" in outcome.note["because"]
    waiting = step(WaitUntil, "w", wait_until=ENDS)
    assert waiting.watches() == (ENDS.expression,) == waiting.asks()


# ---- wait_for ------------------------------------------------------------------------------------------------------

HEAD = "journey: j\ntrigger: { event: order_placed }\nsteps:\n  - email: hello\n  - wait_for:\n"


def wait_for(body: str) -> WaitFor:
    lines = "".join(f"      {line}\n" for line in body.splitlines())
    found = next(s for s in journey(HEAD + lines).every_step() if s.keyword == "wait_for")
    assert isinstance(found, WaitFor)
    return found


EVENT = "event: quote_opened\ntimeout: 14 days\nthen: [ { sms: came } ]\nelse: [ { sms: never } ]"


def asked(waiting: WaitFor, truth: bool | None, *, now=NOW, memory=None, arrive=False, name=BERLIN):
    (asking,) = waiting.asks()
    assert isinstance(asking, Condition)
    told = here(Facts(zone=name, truths={asking.text: truth}), now, enrollment(step="wait_for", memory=memory or {}))
    return waiting.arrive(told) if arrive else waiting.wake(told)


def test_what_it_asks_and_hears() -> None:
    skip, ignore = wait_for(EVENT), wait_for(EVENT + "\nalready_true: ignore")
    assert [c.text for c in skip.asks()] == ["happened(quote_opened since entry)"]
    assert [c.text for c in ignore.asks()] == ["happened(quote_opened since step)"]
    assert skip.listens() == {"quote_opened"} and skip.watches() == ()
    where = wait_for("event: order_placed\nwhere: store == 'north'\ntimeout: 1 day")
    assert "where" in where.asks()[0].text and where.listens() == {"order_placed"}
    told = wait_for("message: email:hello\nis: clicked\ntimeout: 1 day")
    assert [c.text for c in told.asks()] == ['clicked("email:hello")']
    member = wait_for("segment: vips\ntimeout: 1 day")
    assert member.watches() == member.asks() and member.asks()[0].text == 'in segment("vips")'


@pytest.mark.parametrize(
    ("already", "truth", "passes"),
    [("skip", True, True), ("skip", False, False), ("skip", None, False), ("ignore", True, False)],
)
def test_what_has_happened_before(already: str, truth: bool | None, passes: bool) -> None:
    outcome = asked(wait_for(f"{EVENT}\nalready_true: {already}"), truth, arrive=True)
    if passes:
        assert isinstance(outcome, Into) and outcome.body == "then" and outcome.note["already"] is True
    else:
        assert isinstance(outcome, Stay) and outcome.until == wall("2027-03-15 10:00", BERLIN)


@pytest.mark.parametrize(
    ("days", "truth", "expected"),
    [
        (3, True, "then"),
        (3, None, None),
        (13, False, None),
        (14, False, "else"),
        (14, True, "then"),
        (20, None, "else"),
    ],
)
def test_in_time_or_not(days: int, truth: bool | None, expected: str | None) -> None:
    outcome = asked(wait_for(EVENT), truth, now=NOW + timedelta(days=days))
    assert (outcome.body if isinstance(outcome, Into) else None) == expected
    assert expected is not None or isinstance(outcome, Stay)


def test_a_timeout_in_days_keeps_the_wall_time() -> None:
    outcome = asked(wait_for(EVENT.replace("14 days", "30 days")), False, arrive=True)
    assert isinstance(outcome, Stay) and local(outcome.until, BERLIN) == "2027-03-31 10:00"


def test_to_enter_a_segment_one_must_have_been_outside() -> None:
    waiting = wait_for("segment: vips\ntimeout: 30 days\nalready_true: ignore")
    inside = asked(waiting, True, arrive=True)
    assert isinstance(inside, Stay) and inside.memory == {"was": True}
    still = asked(waiting, True, memory=inside.memory)
    assert isinstance(still, Stay) and still.memory == {"was": True}
    outside = asked(waiting, False, memory=still.memory)
    assert isinstance(outside, Stay) and outside.memory == {}
    entered = asked(waiting, True, memory=outside.memory)
    assert isinstance(entered, Into) and entered.body == "then"
    late = asked(waiting, True, memory={"was": True}, now=NOW + timedelta(days=31))
    assert isinstance(late, Into) and late.body == "else"


def test_a_zone_that_changes_moves_the_end() -> None:
    waiting = step(Wait, "wait", wait=Duration(days=30))
    run = enrollment(step="wait", since=NOW)
    told = here(Facts(zone=NEW_YORK), NOW, run)
    assert waiting.wake(told) != waiting.wake(replace(told, facts=Facts(zone="UTC")))
