"""When triggers by the calendar are due: pure arithmetic over (since, now], so that no tick is too late or too many.

For any division of time into ticks each occurrence falls into exactly one of them. An occurrence has a local wall time
and one instant: in a gap of the clock the first moment after it, in a fold the first of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from orchestrator.dates import add_business_days, add_months, anniversary
from orchestrator.journey import AtTrigger, DateTrigger, MissedRuns, ScheduleTrigger
from orchestrator.trigger import cron_walls, rule_walls
from orchestrator.zones import instant
from orchestrator.zones import zone as find_zone

# A wall time in a gap comes later than its clock says, and a zone has skipped a whole day once: look that much further.
_EDGE = timedelta(hours=25)
_MOST = 10_000  # runs told at once: a watermark a year old under a cron line of every minute is a mistake


def due_runs(
    trigger: AtTrigger | ScheduleTrigger, since: datetime, now: datetime, zone: str, missed_runs: MissedRuns
) -> list[tuple[str, datetime]]:
    """Runs due in (since, now] in a zone, as (run key, instant), oldest first. The key is the local wall time, which
    is the same for a replay and for both times of a repeated hour.

    Runs later than `grace` follow `then`: `skip` drops them, `latest` keeps the youngest of them unless one is in
    time, `all` keeps them all. An unknown zone has none.
    """
    tz = find_zone(zone)
    if tz is None or now <= since:
        return []
    found = _scheduled(trigger, since, now, tz) if isinstance(trigger, ScheduleTrigger) else _once(trigger, tz)
    runs: dict[str, datetime] = {}
    for wall, at in found:
        if since < at <= now:
            runs.setdefault(wall.strftime("%Y-%m-%dT%H:%M"), at)
    return _in_time(list(runs.items()), now, missed_runs)


def _in_time(runs: list[tuple[str, datetime]], now: datetime, missed_runs: MissedRuns) -> list[tuple[str, datetime]]:
    if missed_runs.then == "all":
        return runs[-_MOST:]
    fresh = [run for run in runs if run[1] >= now - missed_runs.grace][-_MOST:]
    return runs[-1:] if missed_runs.then == "latest" and not fresh else fresh


def _once(trigger: AtTrigger, tz: ZoneInfo) -> list[tuple[datetime, datetime]]:
    if trigger.local:
        wall = trigger.at.replace(tzinfo=None)
        return [(wall, instant(wall.date(), wall.time(), tz))]
    return [(trigger.at.astimezone(UTC).replace(tzinfo=None), trigger.at)]


def _scheduled(
    trigger: ScheduleTrigger, since: datetime, now: datetime, tz: ZoneInfo
) -> list[tuple[datetime, datetime]]:
    first = since.astimezone(tz).replace(tzinfo=None) - _EDGE
    last = now.astimezone(tz).replace(tzinfo=None) + _EDGE
    if trigger.cron is not None:
        walls = cron_walls(trigger.cron, first, last)
    else:
        walls = rule_walls(str(trigger.rrule), first, last)
    found = [(wall, _instant(wall, tz)) for wall in walls]
    # Several wall times may fall into one gap and come to one instant: one of them is enough to begin a run.
    firsts: dict[datetime, datetime] = {}
    for wall, at in found:
        firsts.setdefault(at, wall)
    return sorted(((wall, at) for at, wall in firsts.items()), key=lambda run: run[1])


@lru_cache(maxsize=100_000)
def _instant(wall: datetime, tz: ZoneInfo) -> datetime:
    return instant(wall.date(), wall.time(), tz)


# ---- dates ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """Dates of a field that are due: those in [first, last], or with `every_year` those of `month_days` in any year.

    `run_date` (`every_year`) is the local day on which they fire: the run's key for this year.
    """

    first: date | None = None
    last: date | None = None
    month_days: tuple[tuple[int, int], ...] = ()
    run_date: date | None = None


def date_windows(trigger: DateTrigger, since: datetime, now: datetime, zone: str) -> list[Window]:
    """Which dates of the trigger's field are due within (since, now] for units of a zone. An unknown zone has none.

    A plain date gives at most one window: later dates fire later, so that those due are a range. `every_year` gives one
    for each local day on which it fired, at most 400.
    """
    tz = find_zone(zone)
    if tz is None or now <= since:
        return []
    days = _fired(since, now, trigger.at, tz)
    if not days:
        return []
    if trigger.every_year:
        windows = [Window(month_days=_month_days(trigger, day), run_date=day) for day in days[-400:]]
        return [w for w in windows if w.month_days]
    found = _field_dates(trigger, days[0], days[-1])
    return [Window(*found)] if found is not None else []


def days_fired(since: datetime, now: datetime, at: time, zone: str) -> list[date]:
    """Local days of a zone whose wall time `at` came in (since, now]; an unknown zone has none."""
    tz = find_zone(zone)
    return [] if tz is None or now <= since else _fired(since, now, at, tz)


def _fired(since: datetime, now: datetime, at: time, tz: ZoneInfo) -> list[date]:
    """Local days whose wall time `at` came in (since, now]."""
    day = since.astimezone(tz).date() - _EDGE
    last = now.astimezone(tz).date() + _EDGE
    found = []
    while day <= last:
        if since < instant(day, at, tz) <= now:
            found.append(day)
        day += timedelta(days=1)
    return found


def _fires_on(trigger: DateTrigger, day: date) -> date:
    """The local day on which a date of the field fires (in its own year, for `every_year`)."""
    moved = add_months(day, trigger.offset_months)
    if trigger.business_days:
        return add_business_days(moved, trigger.offset_days)
    return moved + timedelta(days=trigger.offset_days)


def _field_dates(trigger: DateTrigger, first: date, last: date) -> tuple[date, date] | None:
    """The first and last date that fires on a day in [first, last]; None when there is none (a Sunday, say)."""
    begin, end = _earliest(trigger, first), _earliest(trigger, last + timedelta(days=1)) - timedelta(days=1)
    return (begin, end) if begin <= end else None


def _earliest(trigger: DateTrigger, day: date) -> date:
    """The earliest date that fires on this day or later: `_fires_on` never runs backwards."""
    span = abs(trigger.offset_days) * (3 if trigger.business_days else 1) + abs(trigger.offset_months) * 32 + 14
    low = max(date.min + timedelta(days=2 * span), day - timedelta(days=span))
    high = min(date.max - timedelta(days=2 * span), day + timedelta(days=span))
    while low < high:
        middle = low + (high - low) // 2
        if _fires_on(trigger, middle) >= day:
            high = middle
        else:
            low = middle + timedelta(days=1)
    return low


@lru_cache(maxsize=10_000)
def _month_days(trigger: DateTrigger, day: date) -> tuple[tuple[int, int], ...]:
    """(month, day) of the dates whose anniversary fires on this day."""
    near = _field_dates(trigger, day, day)
    found: set[tuple[int, int]] = set()
    while near is not None and near[0] <= near[1]:
        kept = near[0]
        found.add((kept.month, kept.day))
        if kept == anniversary(date(2024, 2, 29), kept.year, trigger.leap_day):
            found.add((2, 29))
        near = (kept + timedelta(days=1), near[1])
    return tuple(sorted(found))
