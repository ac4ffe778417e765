"""Local wall time from one pinned copy of the zone data, and the windows and calendars of it.

A window is judged by the wall clock alone: half-open, its weekday, holiday and term are those of the date it opened
on. So the repeated hour at the end of daylight saving time opens it twice, the skipped hour opens it at its end, and a
date that a country left out (Samoa, 30 December 2011) never opens one. Behind midnight, the day of opening is the
calendar's day before.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Literal

from orchestrator.holiday import is_holiday
from orchestrator.model import Window

# The system's copy must not win over the pinned package: Debian 12 ships 2025b, which would text Vancouver at 21:30.
zoneinfo.reset_tzpath(to=[])
zoneinfo.ZoneInfo.clear_cache()  # a library may have made zones from the system's copy before us

TZDATA = version("tzdata")
"""The version of the zone data, logged with every decision."""

HORIZON_DAYS = 29
"""How far `next_open` looks, in UTC days after today: on a Monday-only window, Christmas Day and New Year's Day fall in
two weeks running, and a clock change may swallow a third."""

CLOSING_DAYS = 4
"""How far `open_until` looks, in UTC days from today on: nothing waits in a queue for longer than that."""

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


def first_known(*names: str | None) -> zoneinfo.ZoneInfo:
    """The first of these that there is, UTC for want of any. For days and waits, never for a legal window."""
    for name in names:
        if name and (found := zone(name)) is not None:
            return found
    return zoneinfo.ZoneInfo("UTC")


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

Open = tuple[tuple[Window, ...], str]
"""Windows, and the name of a zone: open when any of them is open there."""


def is_open(window: Window, now: datetime, tz: zoneinfo.ZoneInfo) -> bool:
    """Whether the wall clock stands in the window; weekday, term and holiday are those of the day it opened on.

    A window that closes when it opens lasts 24 hours of wall time. Raises UnknownCalendar.
    """
    wall = now.astimezone(tz)
    at = wall.time()
    if window.open < window.close:
        return window.open <= at < window.close and _opens(window, wall.date())
    if at >= window.open:
        return _opens(window, wall.date())
    return at < window.close and _opens(window, wall.date() - _DAY)


def _opens(window: Window, day: date) -> bool:
    """Whether it opens on that local date."""
    if day.weekday() not in window.days:
        return False
    if (window.since is not None and day < window.since) or (window.until is not None and day > window.until):
        return False
    return not window.closed_on or not is_holiday(window.closed_on, day)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found for a set of windows, true for every instant in [since, until)."""

    since: datetime
    until: datetime
    open: bool
    next: datetime | None


_looks: dict[tuple[Open, ...], _Look] = {}
_ends: dict[tuple[Open, ...], tuple[datetime, datetime | None]] = {}


def next_open(hours: Sequence[Open], now: datetime) -> datetime | None:
    """The first instant at or after `now` at which every item (windows, zone name) is open: `now` itself when all are.

    An item is open when any of its windows is. None when that never happens before the horizon, when a zone is
    unknown, and when there is nothing to ask. Raises UnknownCalendar. What was found is kept until the next edge, so
    that a batch pays once for each distinct set.
    """
    key = tuple(hours)
    look = _looks.get(key)
    if look is None or not look.since <= now < look.until:
        look = _look(key, now)
        if len(_looks) >= _KEPT:
            _looks.clear()
        _looks[key] = look
    return now if look.open else look.next


def open_until(hours: Sequence[Open], now: datetime) -> datetime | None:
    """When what is open at `now` closes: the first instant after it at which some item is not open any more.

    `now` itself when it is not open; None when it stays open for days (CLOSING_DAYS). Raises UnknownCalendar.
    """
    key = tuple(hours)
    kept = _ends.get(key)
    if kept is not None and kept[0] <= now and kept[1] is not None and now < kept[1]:
        return kept[1]
    items = _items(key)
    if items is None or not _all_open(items, now):
        return now
    edges = _edges(key, now, closing=True, days=CLOSING_DAYS)
    end = next((at for at in edges if not _all_open(items, at)), None)
    if len(_ends) >= _KEPT:
        _ends.clear()
    _ends[key] = (now, end)
    return end


_Item = tuple[tuple[Window, ...], zoneinfo.ZoneInfo]


def _items(hours: tuple[Open, ...]) -> list[_Item] | None:
    """With the zones themselves; None when one is unknown or there is nothing."""
    found = [(windows, tz) for windows, name in hours if (tz := zone(name)) is not None]
    return found if found and len(found) == len(hours) else None


def _all_open(items: Iterable[_Item], now: datetime) -> bool:
    return all(any(is_open(window, now, tz) for window in windows) for windows, tz in items)


def _look(hours: tuple[Open, ...], now: datetime) -> _Look:
    midnight = datetime.combine(now.astimezone(UTC).date() + _DAY, time(), UTC)
    items = _items(hours)
    if items is None:
        return _Look(now, midnight, False, None)
    if _all_open(items, now):
        return _Look(now, min([midnight, *_edges(hours, now, closing=True, days=1)]), True, now)
    # All windows are half-open, so a moment at which the last of them opens is an opening of one of them.
    found = next((at for at in _edges(hours, now, closing=False) if _all_open(items, at)), None)
    return _Look(now, found or midnight, False, found)


def _edges(
    hours: tuple[Open, ...], now: datetime, *, closing: bool, days: int = HORIZON_DAYS + 1
) -> Iterator[datetime]:
    """The instants after `now`, in order, at which a window may open, and with `closing` also at which it may close.

    A change of offset is both: the wall clock may jump into a window or out of it. Day by UTC day, so that nobody
    works out a month to find tomorrow morning.
    """
    clocks: dict[str, set[time]] = {}
    for windows, name in hours:
        clocks.setdefault(name, set()).update(window.open for window in windows)
        if closing:
            clocks[name].update(window.close for window in windows)
    today = now.astimezone(UTC).date()
    for n in range(days):
        day = today + n * _DAY
        found = {at for name, several in clocks.items() for clock in several for at in _times(clock, name, day)}
        found.update(change for name in clocks for change, _, _ in _segments(name, day)[1:])
        yield from sorted(at for at in found if at > now)


@lru_cache(maxsize=_KEPT)
def _times(clock: time, name: str, day: date) -> tuple[datetime, ...]:
    """The instants of a UTC day at which that wall clock reads so."""
    found = []
    for start, end, offset in _segments(name, day):
        wall = (start + offset).date()
        for n in range(3):
            at = datetime.combine(wall + n * _DAY, clock, UTC) - offset
            if start <= at < end:
                found.append(at)
    return tuple(found)


@lru_cache(maxsize=_KEPT)
def _segments(name: str, day: date) -> tuple[tuple[datetime, datetime, timedelta], ...]:
    """The zone's offsets of that UTC day, as (from, until, offset), half-open: one, or two with a change between (the
    second of no length, when it changes at the day's end)."""
    tz = zone(name)
    assert tz is not None
    start = datetime.combine(day, time(), UTC)
    end = start + _DAY
    before, after = _offset(tz, start), _offset(tz, end)
    # Days are fine enough: no two changes of any zone in tzdata 2026f since 1973 lie nearer than 166 hours.
    if before == after:
        return ((start, end, before),)
    change = _change(tz, start, end)
    return ((start, change, before), (change, end, after))


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
