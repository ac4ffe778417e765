"""Public holidays of countries and regions, by one pinned library.

A calendar is a country ("DE": what is a holiday in all of it) or a region ("US-AL": the country's and its own), by
ISO 3166. A holiday that is kept on another day counts on both.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from importlib.metadata import version
from typing import Final

HOLIDAYS: Final = version("holidays")
"""The version of the holiday data, logged with every decision that asked for one."""


class UnknownCalendar(LookupError):
    """There is no such calendar, or it does not reach that year: nobody can say what is a holiday."""


def is_holiday(calendar: str, day: date) -> bool:
    """Whether that local date is a public holiday there. Raises UnknownCalendar."""
    return day in _year(calendar, day.year)


@cache
def known(calendar: str) -> bool:
    """Whether there is such a calendar."""
    from holidays.registry import COUNTRIES  # a fifth of a second: only where a window is closed on holidays

    country, dash, region = calendar.partition("-")
    if not any(country == names[1] for names in COUNTRIES.values()):
        return False
    return not dash or region in _regions(country)


def _regions(country: str) -> tuple[str, ...]:
    import holidays

    return tuple(holidays.country_holidays(country).subdivisions)


@cache
def _year(calendar: str, year: int) -> frozenset[date]:
    import holidays

    if not known(calendar):
        raise UnknownCalendar(calendar)
    country, _, region = calendar.partition("-")
    found = frozenset(holidays.country_holidays(country, subdiv=region or None, years=year))
    if not found:  # the library's own way to say that it does not reach so far
        raise UnknownCalendar(f"{calendar} {year}")
    return found
