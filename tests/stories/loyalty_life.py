"""Members of a shop and what becomes of them in a year: worked out from their orders alone, one person at a time.

The second implementation of what `test_loyalty_year` checks, written from docs/reference/tiers.md and points.md. It
knows nothing of the product: no import of it, no database, no sets. Days are each person's own.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ZONES = {  # and where they live
    "Pacific/Kiritimati": "KI",  # the first of all to see a day, Honolulu nearly the last: they share a wall clock
    "Asia/Kolkata": "IN",
    "Europe/Berlin": "DE",
    "America/New_York": "US",
    "Pacific/Honolulu": "US",
    "Australia/Lord_Howe": "AU",  # half an hour of summer time, in the southern summer
}
MORNING, EVENING = time(9), time(20)
TIERS = ("bronze", "silver", "gold")
FROM = {"bronze": 0, "silver": 300, "gold": 900}
PENDING = timedelta(days=14)
WINDOW = timedelta(days=365)
GRACE = timedelta(days=30)
LIFE = 4  # months
RISK, SOON = timedelta(days=45), timedelta(days=14)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """Whose days from the first to the last are lived through."""

    begin: date
    end: date
    zones: tuple[str, ...] = tuple(ZONES)


YEAR = Span(date(2027, 9, 20), date(2028, 9, 30))  # with a 29th of February
WINTER = Span(date(2027, 10, 20), date(2028, 4, 5), ("Pacific/Kiritimati", "Europe/Berlin", "Pacific/Honolulu"))


@dataclass(frozen=True, slots=True)
class Order:
    """So many euros, paid by this wall clock; and what was given back of them, how many days later (0: nothing)."""

    number: int
    wall: datetime
    euros: int
    back: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """`joined`: the local day on whose evening she comes in, with her old orders if there are any; `until`: the last
    day that is looked at."""

    number: int
    zone: str
    joined: date
    until: date
    orders: tuple[Order, ...]

    @property
    def tz(self) -> ZoneInfo:
        return ZoneInfo(self.zone)


@dataclass(frozen=True, slots=True)
class Deed:
    """What the till tells: an order, or a refund of one. `told`: on which evening."""

    person: int
    order: int
    euros: int
    refund: bool
    at: datetime
    told: datetime


@dataclass(slots=True)
class Told:
    """What became of her: (day, from, to, up or down); (day, points); (day, by when).
    `total`: the points that are left on her last evening, with those that are pending."""

    changes: list[tuple[date, str, str, str]] = field(default_factory=list)
    expiries: dict[date, int] = field(default_factory=dict)
    at_risk: list[tuple[date, date]] = field(default_factory=list)
    expiring: list[tuple[date, date]] = field(default_factory=list)
    tier: str = ""
    total: int = 0


def cast(span: Span, count: int, seed: int = 5) -> list[Person]:
    """People of all zones: half of them there from the first evening, most with a year of orders behind them."""
    dice = random.Random(seed)
    begin, end, days = span.begin, span.end, (span.end - span.begin).days
    found = []
    for number in range(count):
        joined = begin if dice.random() < 0.5 else begin + timedelta(days=dice.randrange(days // 2))
        first = joined - timedelta(days=360 if dice.random() < 0.7 else 0)
        often = dice.choice((30, 60, 90, 150))  # days between two orders, more or less
        stops = end if dice.random() < 0.6 else begin + timedelta(days=dice.randrange(days))
        orders: list[Order] = []
        day = first + timedelta(days=dice.randrange(often) + 1)
        while day < min(stops, end):
            # Seconds, too: no two instants of hers are the same.
            wall = datetime.combine(day, time(11)) + timedelta(seconds=dice.randrange(9 * 3600 - 60))
            euros = 2 * dice.choice((10, 25, 40, 60, 90, 150))
            back, after = (dice.choice((euros, euros // 2)), dice.randrange(1, 90)) if dice.random() < 0.12 else (0, 0)
            orders.append(Order(len(orders), wall, euros, back, after))
            day += timedelta(days=dice.randrange(often) + 1)
        found.append(Person(number, span.zones[number % len(span.zones)], joined, end, tuple(orders)))
    return found


def local(day: date, at: time, tz: ZoneInfo) -> datetime:
    """That wall time as an instant. None of those used here is ever left out or doubled by a change of the clocks."""
    return datetime.combine(day, at, tz).astimezone(UTC)


def deeds(person: Person) -> list[Deed]:
    """What is told of her up to the end, each on the evening of its day, what is older when she comes in."""
    tz, found = person.tz, []
    for order in person.orders:
        days = [(order.wall, order.euros, False)]
        if order.back:
            days.append((order.wall + timedelta(days=order.after), order.back, True))
        for wall, euros, refund in days:
            if wall.date() <= person.until:
                told = local(max(wall.date(), person.joined), EVENING, tz)
                at = wall.replace(tzinfo=tz).astimezone(UTC)
                found.append(Deed(person.number, order.number, euros, refund, at, told))
    return found


def months_on(day: date, months: int) -> date:
    """The same day so many months on, or that month's last."""
    month = day.month - 1 + months
    year, month = day.year + month // 12, month % 12 + 1
    last = (date(year + month // 12, month % 12 + 1, 1) - _DAY).day
    return date(year, month, min(day.day, last))


def first_on(day: date) -> date:
    """The first first of a month on that day or after it."""
    return day if day.day == 1 else months_on(day.replace(day=1), 1)


def reached(score: int) -> str:
    """The tier that is enough for; the lowest where refunds outlive the orders that they are of."""
    return [tier for tier in TIERS if score >= FROM[tier] or tier == TIERS[0]][-1]


@dataclass(slots=True)
class _Lot:
    last: date
    left: int
    active: datetime


class _Life:
    """One person's year, day by day."""

    def __init__(self, person: Person, hops: Sequence[datetime]) -> None:
        self.person, self.tz, self.hops = person, person.tz, hops
        self.dues: list[datetime] = []  # when pending points are found to be active
        self.told = Told(tier=TIERS[0])
        self.news = sorted(deeds(person), key=lambda d: (d.told, d.at))
        self.lots: dict[int, _Lot] = {}
        self.turns: list[tuple[datetime, int]] = []  # when the score changes, by how much
        self.score = 0
        self.below: date | None = None
        self.warned: set[tuple[str, date]] = set()

    def run(self) -> Told:
        """Until her own last evening: what some of the others live through behind it is left out."""
        day = self.person.joined
        while day <= self.person.until:
            if day > self.person.joined:
                self._expire(day)
                if day.day == 1:
                    self._review(day)
                self._look(day, local(day, MORNING, self.tz))
                self._warn(day)
            self._pass_through(day)
            day += _DAY
        self.told.total = sum(lot.left for lot in self.lots.values())
        return self.told

    def _pass_through(self, day: date) -> None:
        """What becomes active in the course of the day, and in the evening what the till tells."""
        evening = local(day, EVENING, self.tz)
        while self.dues and self.dues[0] < evening:
            self._look(day, heapq.heappop(self.dues))
        new = False
        while self.news and self.news[0].told <= evening:
            self._hear(self.news.pop(0))
            new = True
        while self.dues and self.dues[0] <= evening:
            heapq.heappop(self.dues)
            new = True
        if new:
            self._look(day, evening)

    def _hear(self, deed: Deed) -> None:
        if not deed.refund:
            wall = deed.at.astimezone(self.tz).replace(tzinfo=None) + PENDING
            active = wall.replace(tzinfo=self.tz).astimezone(UTC)
            self.lots[deed.order] = _Lot(months_on(wall.date(), LIFE), deed.euros, active)
            self._counts(max(active, deed.told), deed.at + WINDOW, deed.euros)
            if active > deed.told and active <= self.hops[-1]:
                heapq.heappush(self.dues, self.hops[bisect_left(self.hops, active)])
            return
        lot = self.lots[deed.order]
        lot.left -= deed.euros
        # Points that are not active yet do not count: their refund takes nothing of what does.
        self._counts(max(lot.active, deed.told), deed.at + WINDOW, -deed.euros)

    def _counts(self, since: datetime, until: datetime, points: int) -> None:
        if since < until:
            heapq.heappush(self.turns, (since, points))
            heapq.heappush(self.turns, (until, -points))

    def _look(self, day: date, at: datetime) -> None:
        """The score as it is then; whoever has enough for more gets it at once."""
        while self.turns and self.turns[0][0] <= at:
            self.score += heapq.heappop(self.turns)[1]
        now = reached(self.score)
        if TIERS.index(now) > TIERS.index(self.told.tier):
            self.told.changes.append((day, self.told.tier, now, "up"))
            self.told.tier = now
        if TIERS.index(now) >= TIERS.index(self.told.tier):
            self.below = None

    def _review(self, day: date) -> None:
        """On the first of a month, at midnight."""
        self._look(day, local(day, time(), self.tz))
        now = reached(self.score)
        if TIERS.index(now) >= TIERS.index(self.told.tier):
            return
        self.below = self.below or day
        if day < self.below + GRACE:
            return
        lower = TIERS[TIERS.index(self.told.tier) - 1]
        self.told.changes.append((day, self.told.tier, lower, "down"))
        self.told.tier = lower
        self.below = day if TIERS.index(now) < TIERS.index(lower) else None

    def _expire(self, day: date) -> None:
        """What could be spent until yesterday, or what was old when it was told."""
        for lot in self.lots.values():
            if lot.last < day and lot.left:
                self.told.expiries[lot.last] = self.told.expiries.get(lot.last, 0) + lot.left
                lot.left = 0

    def _warn(self, day: date) -> None:
        """At nine: once for each day on which something would be lost."""
        if TIERS.index(reached(self.score)) < TIERS.index(self.told.tier):
            coming = first_on(day + _DAY)
            lost = first_on(max(coming, (self.below or coming) + GRACE))
            if day < lost <= day + RISK and ("risk", lost) not in self.warned:
                self.warned.add(("risk", lost))
                self.told.at_risk.append((day, lost))
        last = min((lot.last for lot in self.lots.values() if lot.left), default=None)
        if last is not None and day <= last <= day + SOON and ("points", last) not in self.warned:
            self.warned.add(("points", last))
            self.told.expiring.append((day, last))


def life(person: Person, hops: Sequence[datetime]) -> Told:
    """What becomes of her from her first evening to her last one; `hops`: `clock`'s."""
    return _Life(person, hops).run()


def clock(span: Span) -> list[datetime]:
    """The instants at which somebody is looked at: each zone's nine o'clock and its evening, in order."""
    days = [span.begin + timedelta(days=n) for n in range((span.end - span.begin).days + 1)]
    return sorted({local(day, at, ZoneInfo(z)) for z in span.zones for day in days for at in (MORNING, EVENING)})
