"""Local wall time from one pinned copy of the zone data, and the windows and calendars of it.

A window is judged by the wall clock alone: half-open, `days` names the weekday on which it opened. So the repeated hour
at the end of daylight saving time opens it twice, the skipped hour opens it at its end, and a date that a country left
out (Samoa, 30 December 2011) never opens one. Behind midnight, the day of opening is the calendar's day before.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Literal

from orchestrator.model import Window

# The system's copy must not win over the pinned package: Debian 12 ships 2025b, which would text Vancouver at 21:30.
zoneinfo.reset_tzpath(to=[])
zoneinfo.ZoneInfo.clear_cache()  # a library may have made zones from the system's copy before us

TZDATA = version("tzdata")
"""The version of the zone data, logged with every decision."""

HORIZON_DAYS = 15
"""How far `next_open` looks, in UTC days after today: a weekly window that a clock change swallowed opens next week."""

Period = Literal["day", "week", "month"]
_DAY = timedelta(days=1)
_KEPT = 20_000


@cache
def zone(name: str) -> zoneinfo.ZoneInfo | None:
    """The zone, kept for good (a dropped one is read from disk again); None when there is none of that name."""
    # phonenumbers says Etc/Unknown for a number it cannot place; Factory is tzdata's own "not configured".
    if not name or name.startswith("Etc/Unknown") or name == "Factory":
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local(now: datetime, name: str) -> datetime | None:
    """Wall time at an instant; None for an unknown zone."""
    found = zone(name)
    return None if found is None else now.astimezone(found)


def instant(day: date, at: time, tz: zoneinfo.ZoneInfo) -> datetime:
    """The UTC instant of a wall time: in a gap the first valid instant after it, in a fold the first occurrence."""
    wall = datetime.combine(day, at)
    high = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if high.astimezone(tz).replace(tzinfo=None) == wall:
        return high
    # In a gap, fold=0 reads with the offset before it and lands behind its end; fold=1 the other way round.
    low = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    return _change(tz, low, high)


def _offset(tz: zoneinfo.ZoneInfo, at: datetime) -> timedelta:
    found = at.astimezone(tz).utcoffset()
    assert found is not None
    return found


def _change(tz: zoneinfo.ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The instant in (low, high] at which the offset becomes what it is at `high`; changes fall on whole seconds."""
    after = _offset(tz, high)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if _offset(tz, middle) == after:
            high = middle
        else:
            low = middle
    return high.replace(microsecond=0)


# ---- windows --------------------------------------------------------------------------------------------------------


def is_open(window: Window, now: datetime, tz: zoneinfo.ZoneInfo) -> bool:
    """Whether the wall clock stands in the window; the weekday is the one on which the window opened.

    A window that closes when it opens lasts 24 hours of wall time.
    """
    wall = now.astimezone(tz)
    at, day = wall.time(), wall.weekday()
    if window.open < window.close:
        return window.open <= at < window.close and day in window.days
    if at >= window.open:
        return day in window.days
    return at < window.close and (day - 1) % 7 in window.days


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found for a set of windows, true for every instant in [since, until)."""

    since: datetime
    until: datetime
    open: bool
    next: datetime | None


_looks: dict[tuple[tuple[Window, str], ...], _Look] = {}


def next_open(windows: Sequence[tuple[Window, str]], now: datetime) -> datetime | None:
    """The first instant at or after `now` at which every (window, zone name) is open: `now` itself when all are.

    None when that never happens before the horizon, when a zone is unknown, and when there is no window to ask.
    What was found is kept until the next edge, so that a batch pays once for each distinct set of windows.
    """
    key = tuple(windows)
    look = _looks.get(key)
    if look is None or not look.since <= now < look.until:
        look = _look(key, now)
        if len(_looks) >= _KEPT:
            _looks.clear()
        _looks[key] = look
    return now if look.open else look.next


def _look(windows: tuple[tuple[Window, str], ...], now: datetime) -> _Look:
    today = now.astimezone(UTC).date()
    midnight = datetime.combine(today + _DAY, time(), UTC)
    pairs = [(window, tz) for window, name in windows if (tz := zone(name)) is not None]
    if not pairs or len(pairs) != len(windows):
        return _Look(now, midnight, False, None)
    opens: set[datetime] = set()
    edges: set[datetime] = {midnight}
    for window, name in windows:
        opening, closing = _edges(window, name, today)
        opens.update(opening)
        edges.update(opening, closing)
    if all(is_open(window, now, tz) for window, tz in pairs):
        return _Look(now, min(e for e in edges if e > now), True, now)
    # All windows are half-open, so a moment at which the last of them opens is an opening of one of them.
    later = sorted(e for e in opens if e > now)
    found = next((at for at in later if all(is_open(window, at, tz) for window, tz in pairs)), None)
    return _Look(now, found or midnight, False, found)


@lru_cache(maxsize=_KEPT)
def _edges(window: Window, name: str, day: date) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """Instants from that UTC day to the horizon at which the window may open, and at which it may close.

    A change of offset is both: the wall clock may jump into the window or out of it.
    """
    opens: list[datetime] = []
    closes: list[datetime] = []
    for number, (start, end, offset) in enumerate(_segments(name, day)):
        if number:
            opens.append(start)
            closes.append(start)
        first = (start + offset).date()
        for n in range((end - start).days + 3):
            wall = first + n * _DAY
            for at, into in ((window.open, opens), (window.close, closes)):
                edge = datetime.combine(wall, at, UTC) - offset
                if start <= edge < end:
                    into.append(edge)
    return tuple(opens), tuple(closes)


@lru_cache(maxsize=_KEPT)
def _segments(name: str, day: date) -> tuple[tuple[datetime, datetime, timedelta], ...]:
    """The zone's offsets from that UTC midnight to the horizon, as (from, until, offset), half-open."""
    tz = zone(name)
    assert tz is not None
    start = at = datetime.combine(day, time(), UTC)
    offset = _offset(tz, start)
    found = []
    # Days are fine enough: no two changes of any zone in tzdata 2026f since 1973 lie nearer than 166 hours.
    for _ in range(HORIZON_DAYS + 1):
        later = at + _DAY
        if _offset(tz, later) != offset:
            change = _change(tz, at, later)
            found.append((start, change, offset))
            start, offset = change, _offset(tz, later)
        at = later
    found.append((start, at, offset))
    return tuple(found)


# ---- calendars ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_KEPT)
def local_start(now: datetime, name: str, period: Period) -> datetime | None:
    """The UTC instant at which the local day, week (Monday) or month of `now` began; None for an unknown zone.

    Where midnight was skipped it is the first valid instant after it, where it came twice the first of the two.
    """
    tz = zone(name)
    if tz is None:
        return None
    today = now.astimezone(tz).date()
    if period == "week":
        today -= timedelta(days=today.weekday())
    elif period == "month":
        today = today.replace(day=1)
    return instant(today, time(), tz)


def local_day_start(now: datetime, name: str) -> datetime | None:
    """The UTC instant at which the local day of `now` began; None for an unknown zone."""
    return local_start(now, name, "day")


def local_week_start(now: datetime, name: str) -> datetime | None:
    """The UTC instant at which the local week of `now` began, on Monday; None for an unknown zone."""
    return local_start(now, name, "week")


def local_month_start(now: datetime, name: str) -> datetime | None:
    """The UTC instant at which the local month of `now` began; None for an unknown zone."""
    return local_start(now, name, "month")
