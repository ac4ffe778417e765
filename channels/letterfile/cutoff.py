"""When a print house takes its jobs: an hour of the day, on working days of a calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache

from channels.base import Misconfigured
from channels.letterfile.options import Options

_LOOK = 40
"""So many days without a working day there are nowhere."""


def check(options: Options, now: datetime) -> None:
    """Raises Misconfigured for a calendar of holidays that there is not."""
    if options.holidays:
        _holidays(options.holidays, now.year)


def closes(options: Options, at: datetime) -> datetime:
    """The next cut-off, `at` itself included: aware UTC, whole seconds."""
    day = at.astimezone(options.zone).date()
    for n in range(_LOOK):
        found = _on(options, day + timedelta(days=n))
        if found is not None and found >= at:
            return found
    raise Misconfigured("letterfile finds no working day in the next weeks; look at `days` and `holidays`")


def closed(options: Options, at: datetime) -> datetime:
    """The last cut-off, `at` itself included."""
    day = at.astimezone(options.zone).date()
    for n in range(_LOOK):
        found = _on(options, day - timedelta(days=n))
        if found is not None and found <= at:
            return found
    raise Misconfigured("letterfile finds no working day in the last weeks; look at `days` and `holidays`")


def _on(options: Options, day: date) -> datetime | None:
    """A day's cut-off, None where the house does not work. In a gap of the clock it is as much later; of an hour that
    comes twice the first counts."""
    if options.days == "weekdays" and day.weekday() > 4:
        return None
    if options.holidays and day in _holidays(options.holidays, day.year):
        return None
    return datetime.combine(day, options.cutoff, options.zone).astimezone(UTC)


@cache
def _holidays(calendar: str, year: int) -> frozenset[date]:
    import holidays

    country, _, region = calendar.partition("-")
    try:
        found = frozenset(holidays.country_holidays(country, subdiv=region or None, years=year))
    except NotImplementedError:
        found = frozenset()
    if not found:
        raise Misconfigured(f"letterfile knows no calendar `{calendar[:20]}` for {year}; write `DE`, or `DE-BE`")
    return found
