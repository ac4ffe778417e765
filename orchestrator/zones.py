"""Local wall time from one pinned copy of the zone data, and windows of it."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.metadata import version

from orchestrator.model import Window

# The system's copy must not win over the pinned package: Debian 12 ships 2025b, which would text Vancouver at 21:30.
zoneinfo.reset_tzpath(to=[])

TZDATA = version("tzdata")


@cache
def zone(name: str) -> zoneinfo.ZoneInfo | None:
    """The zone, kept for good (a dropped one is read from disk again); None when there is none of that name."""
    if not name or name.startswith("Etc/Unknown"):
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
    wall = datetime.combine(day, at).replace(tzinfo=tz, fold=0)
    utc = wall.astimezone(UTC)
    back = utc.astimezone(tz)
    if back.replace(tzinfo=None) == wall.replace(tzinfo=None):
        return utc
    # In a gap fold=0 reads with the offset before it and lands after it by the gap's length: walk back to its end.
    before, after = wall.utcoffset(), back.utcoffset()
    assert before is not None and after is not None
    low, high = utc - abs(after - before), utc
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(tz).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high.replace(microsecond=0)


def is_open(window: Window, now: datetime, tz: zoneinfo.ZoneInfo) -> bool:
    """Whether the wall clock stands in the window; the weekday is the one on which the window opened."""
    wall = now.astimezone(tz)
    at, day = wall.time(), wall.weekday()
    if window.open < window.close:
        return window.open <= at < window.close and day in window.days
    if window.open == window.close:
        return day in window.days if at >= window.open else (day - 1) % 7 in window.days
    if at >= window.open:
        return day in window.days
    return at < window.close and (day - 1) % 7 in window.days


def next_open(windows: Sequence[tuple[Window, str]], now: datetime, horizon_days: int = 9) -> datetime | None:
    """The first instant at or after `now` at which every (window, zone) is open; None when never within the horizon.

    An unknown zone has no open instant.
    """
    zones = [(w, zone(name)) for w, name in windows]
    if any(tz is None for _, tz in zones):
        return None
    pairs = [(w, tz) for w, tz in zones if tz is not None]

    def all_open(at: datetime) -> bool:
        return all(is_open(w, at, tz) for w, tz in pairs)

    if all_open(now):
        return now
    edges = set()
    for w, tz in pairs:
        first = now.astimezone(tz).date() - timedelta(days=1)
        for n in range(horizon_days + 2):
            edges.add(instant(first + timedelta(days=n), w.open, tz))
        edges |= set(_changes(tz, now, horizon_days))
    return next((at for at in sorted(edges) if at > now and all_open(at)), None)


def _changes(tz: zoneinfo.ZoneInfo, now: datetime, days: int) -> Iterable[datetime]:
    """Instants at which the zone's offset changes: a window may open or re-open there."""
    at = now
    for _ in range(days + 1):
        later = at + timedelta(days=1)
        if at.astimezone(tz).utcoffset() != later.astimezone(tz).utcoffset():
            low, high = at, later
            old = at.astimezone(tz).utcoffset()
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                if middle.astimezone(tz).utcoffset() == old:
                    low = middle
                else:
                    high = middle
            yield high.replace(microsecond=0)
        at = later
