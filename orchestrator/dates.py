"""What a span of time as a marketer writes it comes to, in somebody's zone.

Days, weeks, months and years keep the wall time over a clock change; hours and minutes are elapsed time. Business days
are Monday to Friday: there is no holiday calendar.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from orchestrator.words import Duration
from orchestrator.zones import instant

__all__ = [
    "Duration",
    "LeapDay",
    "add_business_days",
    "add_months",
    "after",
    "anniversary",
    "before",
    "day_after",
    "next_wall",
]

LeapDay = Literal["feb_28", "mar_1"]


def after(start: datetime, duration: Duration, tz: ZoneInfo) -> datetime:
    """The UTC instant a duration after another: whole days by the zone's wall clock, then what is shorter."""
    return _after(start.astimezone(UTC), duration, tz)


@lru_cache(maxsize=20_000)  # a batch comes to a wait at one instant, in a handful of zones
def _after(start: datetime, duration: Duration, tz: ZoneInfo) -> datetime:
    at = start
    if duration.months or duration.days or duration.business:
        wall = start.astimezone(tz)
        at = instant(day_after(wall.date(), duration), wall.time(), tz)
    return at + timedelta(seconds=duration.seconds)


def before(end: datetime, duration: Duration, tz: ZoneInfo) -> datetime:
    """The UTC instant a duration before another."""
    at = end.astimezone(UTC)
    if duration.months or duration.days or duration.business:
        wall = end.astimezone(tz)
        at = instant(day_after(wall.date(), duration, -1), wall.time(), tz)
    return at - timedelta(seconds=duration.seconds)


def day_after(day: date, duration: Duration, sign: Literal[1, -1] = 1) -> date:
    """The calendar day a duration after (1) or before (-1) another; the seconds of a duration do not count."""
    moved = add_months(day, sign * duration.months) + timedelta(days=sign * duration.days)
    return add_business_days(moved, sign * duration.business)


def add_months(day: date, months: int) -> date:
    """The same day of another month, or that month's last."""
    if not months:
        return day
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def add_business_days(day: date, count: int) -> date:
    """So many working days on, or back when negative. From a weekend, the first is the working day next to it."""
    if not count:
        return day
    step = 1 if count > 0 else -1
    if day.weekday() > 4:  # count from the last working day behind us, whichever way we look
        day -= timedelta(days=day.weekday() - 4) if step > 0 else -timedelta(days=7 - day.weekday())
    day += timedelta(weeks=step * (abs(count) // 5))
    rest = abs(count) % 5
    while rest:
        day += timedelta(days=step)
        rest -= day.weekday() < 5
    return day


def anniversary(day: date, year: int, leap_day: LeapDay = "feb_28") -> date:
    """The same month and day of another year; 29 February falls where the rule says when there is none."""
    if (day.month, day.day) == (2, 29) and not calendar.isleap(year):
        return date(year, 2, 28) if leap_day == "feb_28" else date(year, 3, 1)
    return date(year, day.month, day.day)


def next_wall(start: datetime, at: time, days: frozenset[int], tz: ZoneInfo) -> datetime:
    """The first instant at or after `start` when the wall clock comes to `at` on one of these weekdays (0 Monday)."""
    return _next_wall(start.astimezone(UTC), at, days, tz)


@lru_cache(maxsize=20_000)
def _next_wall(start: datetime, at: time, days: frozenset[int], tz: ZoneInfo) -> datetime:
    day = start.astimezone(tz).date() - timedelta(days=1)
    for _ in range(16):  # two weeks hold every weekday, even where a zone skipped one
        if day.weekday() in days and (found := instant(day, at, tz)) >= start:
            return found
        day += timedelta(days=1)
    raise ValueError("no weekday to wait for")
