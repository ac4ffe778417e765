"""Words for durations, times, shares and days: what they mean, and what is none."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import words
from orchestrator.model import minor_digits
from orchestrator.words import Duration, Money, OffsetWords, Rate, Stamp


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("3 days", Duration(days=3)),
        ("1 day", Duration(days=1)),
        ("a week", Duration(days=7)),
        ("an hour", Duration(seconds=3600)),
        ("2 weeks", Duration(days=14)),
        ("90 minutes", Duration(seconds=5400)),
        ("1 day 12 hours", Duration(days=1, seconds=43_200)),
        ("1 hour and 30 minutes", Duration(seconds=5400)),
        ("1 year, 6 months", Duration(months=18)),
        ("2 business days", Duration(business=2)),
        ("0 days", Duration()),
        ("  3  days ", Duration(days=3)),
        ("3 business days 1 hour", None),
        ("3days", None),
        ("3 d", None),
        ("3", None),
        ("", None),
        ("days", None),
        ("-3 days", None),
        ("1.5 days", None),
        ("3 days ago", None),
        ("101 years", None),
        ("9999999 days", None),
    ],
)
def test_durations(text: str, meant: Duration | None) -> None:
    assert words.duration(text) == meant


def test_what_is_exact() -> None:
    assert Duration(days=1, seconds=60).exact == timedelta(days=1, minutes=1)
    assert Duration(months=1).exact is None and Duration(business=1).exact is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("3d", "3 days"),
        ("3days", "3 days"),
        ("3", "3 days"),
        ("1 dya", "1 day"),
        ("2 hurs", "2 hours"),
        ("1.5 days", "36 hours"),
        ("2 bussiness days", "2 business days"),
        ("soon", ""),
        ("3 bananas", ""),
    ],
)
def test_what_was_meant(text: str, meant: str) -> None:
    assert words.nearest_duration(text) == meant


@given(
    st.builds(Duration, st.integers(0, 1200), st.integers(0, 36_000), st.integers(0, 86_399))
    | st.builds(Duration, business=st.integers(1, 3_000))
)
def test_a_duration_is_read_as_it_is_written(duration: Duration) -> None:
    assert words.duration(str(duration)) == duration


@given(st.text(max_size=30))
def test_no_text_raises(text: str) -> None:
    for read in (words.duration, words.clock, words.day, words.share, words.days, words.rate, words.hours):
        read(text)
    for more in (words.offset, words.stamp, words.slug, words.nearest_duration):
        more(text)
    words.money(text, minor_digits)


def test_times_and_dates() -> None:
    assert words.clock("09:00") == words.clock("9:00") == time(9)
    assert [words.clock(t) for t in ("24:00", "9", "09:60", "9am", "09:00:00")] == [None] * 5
    assert words.day("2028-02-29") == date(2028, 2, 29)
    assert [words.day(t) for t in ("2027-02-29", "2027-2-1", "20270201", "1.2.2027")] == [None] * 4
    assert words.hours("08:00-20:00") == words.hours("8:00 – 20:00") == words.hours("08:00 to 20:00")
    assert words.hours("22:00-06:00") == (time(22), time(6)) and words.hours("07:00-24:00") == (time(7), time(0))
    assert [words.hours(t) for t in ("8-20", "08:00", "08:00-25:00")] == [None] * 3
    wall = datetime.fromisoformat("2027-03-01T09:00")
    assert words.stamp("2027-03-01 09:00 Europe/Berlin") == Stamp(wall, "Europe/Berlin")
    assert words.stamp("2027-03-01 09:00") == Stamp(wall, "")
    assert words.stamp("2027-02-30 09:00") is None


def test_shares_rates_money_and_days() -> None:
    assert [words.share(t) for t in ("0%", "10%", "2.5 %", "100%")] == [0.0, 0.1, 0.025, 1.0]
    assert [words.share(t) for t in ("101%", "10", "-1%", "10 percent")] == [None] * 4
    assert words.rate("1000 per hour") == words.rate("1,000 per hour") == Rate(1000, timedelta(hours=1))
    assert words.rate("50 per 10 minutes") == Rate(50, timedelta(minutes=10))
    assert [words.rate(t) for t in ("0 per hour", "5 per month", "5/hour", "5 per 0 days", "5 per")] == [None] * 5
    assert words.money("1,250.50 EUR", minor_digits) == Money(125_050, "EUR")
    assert words.money("500 JPY", minor_digits) == Money(500, "JPY")
    assert [words.money(t, minor_digits) for t in ("500", "1.5 JPY", "500 eur", "-5 EUR")] == [None] * 4
    assert words.days("weekdays") == frozenset(range(5)) and words.days("Sat") == frozenset({5})
    assert words.days("someday") is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90 days before contract.ends", (Duration(days=90), "before", False, "contract.ends")),
        ("1 month after joined", (Duration(months=1), "after", False, "joined")),
        ("joined", (Duration(), "on", False, "joined")),
        ("on joined", (Duration(), "on", False, "joined")),
        ("every year on birthday", (Duration(), "on", True, "birthday")),
        ("every year 7 days before birthday", (Duration(days=7), "before", True, "birthday")),
    ],
)
def test_offsets(text: str, meant: tuple[Duration, str, bool, str]) -> None:
    found = words.offset(text)
    assert isinstance(found, OffsetWords)
    assert (found.amount, found.side, found.every_year, found.field) == meant
    assert text[found.begins :] == found.field


def test_no_offsets() -> None:
    for text in ("", "90 days", "90 days befor x", "before x", "every year x", "3 before x", "90 days before 7x"):
        assert words.offset(text) is None, text
