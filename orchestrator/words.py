"""Durations, times, shares and days as they are written in words: `3 days`, `09:00`, `10%`, `weekdays`.

Each reader takes a text and gives a value, or None when the text does not say one. What to tell the author is
`orchestrator.reading`'s business.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal

DAY: Final = 86_400
_UNITS: Final[dict[str, tuple[Literal["months", "days", "seconds"], int]]] = {
    "second": ("seconds", 1),
    "minute": ("seconds", 60),
    "hour": ("seconds", 3_600),
    "day": ("days", 1),
    "week": ("days", 7),
    "month": ("months", 1),
    "year": ("months", 12),
}
WEEKDAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_SETS: Final[dict[str, frozenset[int]]] = {
    "weekdays": frozenset(range(5)),
    "weekends": frozenset((5, 6)),
    "every day": frozenset(range(7)),
    **{name: frozenset((n,)) for n, name in enumerate(WEEKDAY_NAMES)},
    **{name[:3]: frozenset((n,)) for n, name in enumerate(WEEKDAY_NAMES)},
}


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time as calendars know it: months and days keep wall time, seconds are exact, business days skip
    weekends. At most one of `business` and the others is not 0.
    """

    months: int = 0
    days: int = 0
    seconds: int = 0
    business: int = 0

    @property
    def exact(self) -> timedelta | None:
        """As a rolling length (a day is 24 hours); None when it hangs on a calendar: months, years, business days."""
        return None if self.months or self.business else timedelta(days=self.days, seconds=self.seconds)

    def __str__(self) -> str:
        years, months = divmod(self.months, 12)
        hours, rest = divmod(self.seconds, 3_600)
        minutes, seconds = divmod(rest, 60)
        parts = [
            (years, "year"),
            (months, "month"),
            (self.days, "day"),
            (self.business, "business day"),
            (hours, "hour"),
            (minutes, "minute"),
            (seconds, "second"),
        ]
        return " ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in parts if n) or "0 days"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in each `per`."""

    count: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class OffsetWords:
    """`90 days before contract.ends`: the field's text, and where in the whole text it begins."""

    amount: Duration
    side: Literal["before", "on", "after"]
    every_year: bool
    field: str
    begins: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """A wall time on a day: `2027-03-01 09:00 Europe/Berlin`. `zone` is a zone's name, `recipient`, or ""."""

    wall: datetime
    zone: str


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of a currency."""

    minor: int
    currency: str


_PART = re.compile(r"(\d{1,6}|an?)\s+(business\s+day|second|minute|hour|day|week|month|year)s?")


CALLED: Mapping[str, str] = {
    "letter": "mail",
    "letters": "mail",
    "post": "mail",
    "postcard": "mail",
    "print": "mail",
    "text": "sms",
    "texts": "sms",
    "message": "sms",
    "text_message": "sms",
    "text-message": "sms",
    "e-mail": "email",
    "e_mail": "email",
    "notification": "push",
    "push_notification": "push",
    "todo": "task",
    "to-do": "task",
}
"""What people call a medium → its word here. No other keyword: for telling what was meant."""


def duration(text: str) -> Duration | None:
    """`3 days`, `1 week`, `1 day 12 hours`, `2 business days`; None when it says no duration or more than 100 years."""
    amounts = {"months": 0, "days": 0, "seconds": 0}
    business, position, found = 0, 0, False
    text = text.strip()
    while match := _PART.match(text, position):
        number = 1 if match[1].startswith("a") else int(match[1])
        if match[2].startswith("business"):
            business += number
        else:
            into, factor = _UNITS[match[2]]
            amounts[into] += number * factor
        position, found = match.end(), True
        gap = re.compile(r"\s*,?\s+(and\s+)?").match(text, position)
        position = gap.end() if gap else position
    if not found or position != len(text):
        return None
    value = Duration(amounts["months"], amounts["days"], amounts["seconds"], business)
    if business and (value.months or value.days or value.seconds):
        return None
    if value.months > 1_200 or value.days > 36_525 or value.seconds > 36_525 * DAY or business > 36_525:
        return None
    return value


def nearest_duration(text: str) -> str:
    """What `3d`, `3 dayz`, `3` or `1.5 days` was probably meant to be, or nothing."""
    match = re.fullmatch(r"([0-9]{1,6})(\.5)?\s*([a-z ]*)", text.strip().lower())
    if not match:
        return ""
    letters = match[3].replace(" ", "")
    short = {"": "day", "d": "day", "h": "hour", "hr": "hour", "hrs": "hour", "w": "week", "min": "minute"}
    short |= {"mins": "minute", "s": "second", "sec": "second", "y": "year", "businessday": "business day"}
    near = difflib.get_close_matches(letters.removesuffix("s"), [*_UNITS, "businessday"], n=1, cutoff=0.6)
    unit = short.get(letters) or (short.get(near[0], near[0]) if near else "")
    if match[2]:
        return f"{int(match[1]) * 24 + 12} hours" if unit == "day" else ""
    return f"{match[1]} {unit}{'' if int(match[1]) == 1 else 's'}" if unit else ""


def names_a_field(text: str) -> bool:
    """Whether it reads as a field, `opportunity.owner`, and not as a team's name or an address."""
    return re.fullmatch(r"[a-z_]\w*(\.\w+)+", text) is not None


def clock(text: str) -> time | None:
    """`09:00`, `9:00`; from 0:00 to 23:59."""
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    return time(int(match[1]), int(match[2])) if match else None


def day(text: str) -> date | None:
    """`2027-08-31`."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text.strip()):
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def share(text: str) -> float | None:
    """`10%`, `2.5 %` as 0.1, 0.025; None above 100%."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)\s*%", text.strip())
    value = float(Decimal(match[1]) / 100) if match else None
    return value if value is not None and value <= 1 else None


def days(text: str) -> frozenset[int] | None:
    """`weekdays`, `weekends`, `every day`, `mon`, `monday` as days of the week, Monday 0."""
    return _DAY_SETS.get(text.strip().lower())


def rate(text: str) -> Rate | None:
    """`1000 per hour`, `50 per 10 minutes`."""
    match = re.fullmatch(r"([0-9]{1,3}(?:,?[0-9]{3}){0,3}|[0-9]{1,9})\s+per\s+(.+)", text.strip())
    if not match:
        return None
    span = duration(match[2] if match[2][0].isdigit() else f"1 {match[2]}")
    count = int(match[1].replace(",", ""))
    if span is None or span.exact is None or not span.exact or count < 1:
        return None
    return Rate(count, span.exact)


def hours(text: str) -> tuple[time, time] | None:
    """`08:00-20:00`; `24:00` may stand for the end of the day."""
    match = re.fullmatch(r"\s*([0-9:]+)\s*(?:-|–|to)\s*([0-9:]+)\s*", text)
    if not match:
        return None
    opens, closes = clock(match[1]), clock("00:00" if match[2] == "24:00" else match[2])
    return None if opens is None or closes is None else (opens, closes)


def offset(text: str) -> OffsetWords | None:
    """`90 days before FIELD`, `on FIELD`, `FIELD`, `every year on FIELD`, `every year 7 days before FIELD`."""
    match = re.fullmatch(r"\s*(every\s+year\s+)?(?:(?:(.+?)\s+(before|after)|(on))\s+)?([A-Za-z_][\w.]*)\s*", text)
    if not match:
        return None
    amount = duration(match[2]) if match[2] else Duration()
    if amount is None or (match[1] and not (match[3] or match[4])):
        return None
    side: Literal["before", "on", "after"] = "before" if match[3] == "before" else "after" if match[3] else "on"
    return OffsetWords(amount, side, bool(match[1]), match[5], match.start(5))


def stamp(text: str) -> Stamp | None:
    """`2027-03-01 09:00`, with a zone's name or `recipient` behind it where one is said."""
    match = re.fullmatch(r"\s*([0-9-]{10})[ T]([0-9:]{4,5})(?:\s+([A-Za-z][\w/+-]*))?\s*", text)
    if not match:
        return None
    on, at = day(match[1]), clock(match[2])
    return None if on is None or at is None else Stamp(datetime.combine(on, at), match[3] or "")


def money(text: str, digits: Callable[[str], int]) -> Money | None:
    """`500 EUR`, `1,250.50 EUR`; `digits` of a currency's minor unit: more decimals than that are no amount."""
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,13})(\.[0-9]{1,3})?\s+([A-Z]{3})\s*", text)
    if not match:
        return None
    amount = Decimal(match[1].replace(",", "") + (match[2] or "")) * 10 ** digits(match[3])
    return Money(int(amount), match[3]) if amount == int(amount) else None


def slug(text: str) -> str:
    """A text as part of an id: `3 days` → `3-days`."""
    return re.sub(r"[^\w.:]+", "-", text.strip().lower()).strip("-")[:60]


_PERIOD = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(\d\d)))?", re.ASCII)


def period(text: str) -> tuple[date, date] | None:
    """`2027`, `2027-Q1`, `2027-03` or `2027-03-01..2027-03-15` as the first day and the last."""
    first, _, last = text.strip().partition("..")
    if last:
        begin, end = day(first.strip()), day(last.strip())
        return (begin, end) if begin is not None and end is not None and begin <= end else None
    found = _PERIOD.fullmatch(first.upper())
    if found is None:
        return None
    year, quarter, month = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    if not 0 < year < 9999 or not (0 <= month <= 12) or (found[3] and not month):
        return None
    months = 3 if quarter else 1 if month else 12
    start = month or (quarter * 3 - 2 if quarter else 1)
    after = year * 12 + start - 1 + months
    return date(year, start, 1), date(after // 12, after % 12 + 1, 1) - timedelta(days=1)
