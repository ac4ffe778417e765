"""Measures of loyalty: what each is called, what it means, and its arithmetic. Pure: counts come in, figures go out.

A figure never stands alone: it has the number of cases behind it, and a share has its interval of 95 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Final, Literal

Z: Final = 1.959963984540054
"""Of the normal distribution: 95 % lie within so many standard deviations."""
YEAR: Final = 365.0

Kind = Literal["share", "number", "money", "score", "difference"]
"""How a figure is shown: a share of 1, a number, minor units of money, −100 to 100, percentage points."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` None: nothing to say, for `n` is 0. `of`: the numerator of a share. `low`, `high`: its interval."""

    value: float | None
    n: int
    of: float | None = None
    low: float | None = None
    high: float | None = None


NOTHING: Final = Figure(None, 0)


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the page: `definition` says what is divided by what; `of` what `n` counts."""

    name: str
    title: str
    kind: Kind
    of: str
    definition: str


MEASURES: Final[Mapping[str, Measure]] = {
    m.name: m
    for m in (
        Measure("churn_rate", "Churn rate", "share", "active at the start",
                "of those active at the start of the period, the share that is not at its end; active: a purchase "
                "within `inactive_after`, or a contract that runs"),
        Measure("retention_rate", "Retention rate", "share", "active at the start", "the rest: 1 − churn rate"),
        Measure("repeat_rate", "Repeat customer rate", "share", "buyers",
                "of those who bought in the period, the share that had bought on another day by its end"),
        Measure("purchase_frequency", "Purchase frequency", "number", "buyers",
                "orders in the period ÷ those who bought in it"),
        Measure("order_value", "Average order value", "money", "orders",
                "revenue of the period ÷ its orders, before refunds"),
        Measure("expected_value", "Lifetime value, expected", "money", "ranked, prospects left out",
                "mean of `value.clv` as of the last refresh"),
        Measure("value_by_year", "Lifetime value, by year", "money", "who ever bought or had a contract",
                "mean yearly value × mean lifespan × margin; net of refunds, and with contracts' yearly value"),
        Measure("value_by_parts", "Lifetime value, by parts", "money", "buyers of the last 365 days",
                "orders ÷ buyers × revenue ÷ orders × mean lifespan × margin; net of refunds, and of contracts what "
                "falls into these days"),
        Measure("nps", "Net promoter score", "score", "answers",
                "share of answers 9 and 10 − share of 0 to 6, × 100; each person's latest in the period, each "
                "anonymous one for itself"),
        Measure("renewal_rate", "Contract renewal rate", "share", "contracts decided",
                "of contracts renewed, cancelled, or ended without a word in the period, the share renewed"),
        Measure("acquisition_cost", "Customer acquisition cost", "money", "new customers",
                "imported costs of acquisition in the period ÷ new customers"),
        Measure("retention_cost", "Retention cost", "money", "kept customers",
                "imported costs of retention in the period ÷ those active at its start and its end"),
        Measure("spending_ratio", "Retention per acquisition", "number", "",
                "imported costs of retention ÷ imported costs of acquisition"),
        Measure("membership", "Members", "share", "in classes with a membership",
                "share of them that are active members now"),
        Measure("participation", "Participation", "share", "active members",
                "share of active members who earned or spent points in the period"),
        Measure("advocacy", "Advocacy", "share", "customers",
                "of all but prospects, the share that referred somebody in the period; refused referrals left out"),
        Measure("training", "Training completion", "share", "people who began one",
                "of people who began a training in the period, the share that completed one by its end"),
    )
}  # fmt: skip
"""Every measure by name, in the order in which they are shown."""

OF_EXPERIMENTS: Final[Mapping[str, Measure]] = {
    m.name: m
    for m in (
        Measure("arm_rate", "Arm", "share", "dealt the arm, time over",
                "of those dealt the arm (of a holdout: sent, held out) whose time is over, each counted once, the "
                "share of whom the event came; its interval is that of one look"),
        Measure("arm_difference", "Best against", "difference", "both",
                "the best arm − another; its interval holds at all times together, so that it may be looked at as "
                "often as one likes"),
    )
}  # fmt: skip
"""Of splits with a winner, and of holdouts: from the first on, whatever the period."""

OF_JOURNEYS: Final[Mapping[str, Measure]] = {
    m.name: m
    for m in (
        Measure("goal_rate", "Goal", "share", "runs",
                "of runs that entered in the period and whose time for the goal is over, the share that reached it; "
                "those held out left aside"),
        Measure("baseline", "Before", "share", "runs",
                "the same of the same runs in a time as long before they entered; the goal needs `within`"),
        Measure("holdout", "Held out", "share", "runs held out", "the goal's share among those held out"),
        Measure("lift", "Lift", "difference", "both",
                "goal − held out; an interval that leaves out 0 is no chance, where it is looked at once: whoever "
                "looks again and again reads the experiment `holdout`"),
        Measure("message_cost", "Message cost", "money", "runs", "what the runs' messages cost, by `policies.prices`"),
        Measure("goal_value", "Goal value", "money", "runs",
                "money of the goal's events within its time, runs held out left aside"),
        Measure("return_on_cost", "Return", "number", "",
                "(goal value × margin − message cost) ÷ message cost"),
        Measure("lifted_return", "Return, lifted", "number", "",
                "the same of what is more than as many held out brought"),
    )
}  # fmt: skip


# ---- shares and their intervals -------------------------------------------------------------------------------------


def wilson(k: float, n: int) -> tuple[float, float]:
    """The interval of a share k/n (Wilson 1927): inside 0 and 1, and of use for few cases and for none of many."""
    if n <= 0:
        return (0.0, 1.0)
    p, zz = k / n, Z * Z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = Z / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return (max(0.0, middle - half) if k > 0 else 0.0, min(1.0, middle + half) if k < n else 1.0)


def share(k: int, n: int) -> Figure:
    """k of n."""
    if n <= 0:
        return NOTHING
    return Figure(k / n, n, k, *wilson(k, n))


def ratio(total: float, n: int) -> Figure:
    """A mean: no share, so it has no interval of one."""
    return Figure(total / n, n, total) if n > 0 else NOTHING


def net_promoters(promoters: int, detractors: int, n: int) -> Figure:
    """−100 to 100, with the normal interval of a difference of two shares of the same answers. Where all are alike it
    has no width, and Wilson's bound is taken."""
    if n <= 0:
        return NOTHING
    value = (promoters - detractors) / n
    spread = Z * math.sqrt(max(0.0, (promoters + detractors) / n - value * value) / n)
    low, high = max(-1.0, value - spread), min(1.0, value + spread)
    if spread == 0 and n:
        bound = wilson(n, n)[0]
        low, high = (bound, 1.0) if value == 1 else (-1.0, -bound) if value == -1 else (bound - 1, 1 - bound)
    return Figure(100 * value, n, promoters - detractors, 100 * low, 100 * high)


def difference(k: int, n: int, k2: int, n2: int) -> Figure:
    """k/n − k2/n2 with Newcombe's interval (1998, method 10), made of both shares' own."""
    if n <= 0 or n2 <= 0:
        return NOTHING
    p, q = k / n, k2 / n2
    (low, high), (low2, high2) = wilson(k, n), wilson(k2, n2)
    below = math.sqrt((p - low) ** 2 + (high2 - q) ** 2)
    above = math.sqrt((high - p) ** 2 + (q - low2) ** 2)
    return Figure(p - q, n + n2, None, max(-1.0, p - q - below), min(1.0, p - q + above))


# ---- what is counted, and what it comes to --------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """Counts of some units. They add up: of two classes together it is the sum. Money in minor units."""

    units: int = 0
    active_before: int = 0
    kept: int = 0
    active: int = 0  # at the end; of these:
    active_spent: float = 0  # in the period, net of refunds
    active_contracts: float = 0  # the yearly value of contracts that run at the end
    buyers: int = 0
    repeaters: int = 0
    new: int = 0
    orders: int = 0
    spent: float = 0
    valued: int = 0
    expected: float = 0
    past: int = 0  # who ever bought or had a contract; sums over them:
    lifespans: float = 0
    yearlies: float = 0
    buyers_year: int = 0  # of the last 365 days, and who had a contract in them
    spent_year: float = 0  # net, and of contracts what falls into these days
    answers: int = 0
    promoters: int = 0
    detractors: int = 0
    renewed: int = 0
    lost: int = 0
    acquisition: float | None = None  # None: no costs for these
    retention: float | None = None
    joinable: int = 0
    members: int = 0
    taking_part: int = 0
    customers: int = 0
    advocates: int = 0
    began: int = 0
    completed: int = 0

    def add(self, other: Tally) -> None:
        for name in _COUNTS:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs if mine is None else mine if theirs is None else mine + theirs)


_COUNTS: Final = tuple(f.name for f in fields(Tally))


def figures(t: Tally, margin: float = 1.0) -> dict[str, Figure]:
    """Every measure of MEASURES."""
    lifespan = t.lifespans / t.past if t.past else 0.0
    by_parts = NOTHING
    if t.buyers_year:  # how many orders it was cancels out
        by_parts = Figure(t.spent_year / t.buyers_year * lifespan * margin, t.buyers_year)
    both = t.acquisition is not None and t.retention is not None and t.acquisition > 0
    return {
        "churn_rate": share(t.active_before - t.kept, t.active_before),
        "retention_rate": share(t.kept, t.active_before),
        "repeat_rate": share(t.repeaters, t.buyers),
        "purchase_frequency": ratio(t.orders, t.buyers),
        "order_value": ratio(t.spent, t.orders),
        "expected_value": ratio(t.expected, t.valued),
        "value_by_year": Figure(t.yearlies / t.past * lifespan * margin, t.past) if t.past else NOTHING,
        "value_by_parts": by_parts,
        "nps": net_promoters(t.promoters, t.detractors, t.answers),
        "renewal_rate": share(t.renewed, t.renewed + t.lost),
        "acquisition_cost": NOTHING if t.acquisition is None else ratio(t.acquisition, t.new),
        "retention_cost": NOTHING if t.retention is None else ratio(t.retention, t.kept),
        "spending_ratio": Figure((t.retention or 0) / (t.acquisition or 1), 1) if both else NOTHING,
        "membership": share(t.members, t.joinable),
        "participation": share(t.taking_part, t.members),
        "advocacy": share(t.advocates, t.customers),
        "training": share(t.completed, t.began),
    }


@dataclass(frozen=True, slots=True)
class JourneyTally:
    """Runs of one journey and what they came to; `held_…` of those held out. `before` None: the goal has no `within`.
    Money in minor units."""

    journey: str
    runs: int = 0
    reached: int = 0
    before: int | None = None
    held: int = 0
    held_reached: int = 0
    cost: float = 0
    value: float = 0
    held_value: float = 0


def journey_figures(t: JourneyTally, margin: float = 1.0) -> dict[str, Figure]:
    """Every measure of OF_JOURNEYS."""
    returned = lifted = NOTHING
    if t.cost > 0:
        returned = Figure((t.value * margin - t.cost) / t.cost, t.runs)
        if t.held:
            more = t.value - t.runs * t.held_value / t.held
            lifted = Figure((more * margin - t.cost) / t.cost, t.runs + t.held)
    return {
        "goal_rate": share(t.reached, t.runs),
        "baseline": NOTHING if t.before is None else share(t.before, t.runs),
        "holdout": share(t.held_reached, t.held),
        "lift": difference(t.reached, t.runs, t.held_reached, t.held),
        "message_cost": Figure(t.cost, t.runs) if t.runs else NOTHING,
        "goal_value": Figure(t.value, t.runs) if t.runs else NOTHING,
        "return_on_cost": returned,
        "lifted_return": lifted,
    }


# ---- what if --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What more retention would come to in one class. Rates are a year's; money in minor units.

    `active` at the end of the period; `yearly` what each of them brings in a year; `lifetime` 1 ÷ (1 − retention), in
    years; `value` yearly value × margin × lifetime; `revenue` of the next year from those who stay: active × retention
    × yearly value; `worth`: how many new customers would bring as much more, and `saved`: what winning these would cost
    (None without costs of acquisition).
    """

    active: int
    yearly: float
    retention: float
    retention_then: float
    lifetime: float
    lifetime_then: float
    value: float
    value_then: float
    revenue: float
    revenue_then: float
    worth: float
    saved: float | None


def what_if(t: Tally, points: float, days: float, margin: float = 1.0) -> WhatIf | str:
    """The effect of so many percentage points (0.05: five) more of a year's retention; or why it cannot be told.

    A period's rate is taken to the year: rate ^ (365 ÷ days). So is what those brought who are active at its end; their
    contracts count by the year.
    """
    if not t.active_before:
        return "nobody was active at the start of the period: there is no retention rate to change"
    if not t.active:
        return "nobody is active at the end of the period: there is nobody to keep"
    yearly = (t.active_spent * YEAR / days + t.active_contracts) / t.active
    if yearly <= 0:
        return "nobody of those who are active bought in the period, or has a contract: there is no yearly value"
    rate = (t.kept / t.active_before) ** (YEAR / days)
    then = rate + points
    if rate >= 1:
        return "nobody left in the period: a lifetime without an end cannot be made longer; take a longer period"
    if not 0 <= then < 1:
        return f"retention is {rate:.1%} a year: {points:+.1%} would make it {then:.1%}, and it must stay below 100 %"
    before, after = t.active * rate * yearly, t.active * then * yearly
    worth = (after - before) / yearly
    cost = t.acquisition / t.new if t.acquisition is not None and t.new else None
    return WhatIf(
        active=t.active,
        yearly=yearly,
        retention=rate,
        retention_then=then,
        lifetime=1 / (1 - rate),
        lifetime_then=1 / (1 - then),
        value=yearly * margin / (1 - rate),
        value_then=yearly * margin / (1 - then),
        revenue=before,
        revenue_then=after,
        worth=worth,
        saved=None if cost is None else worth * cost,
    )


@dataclass(frozen=True, slots=True)
class WhatIfs:
    """The same by class, and what adds up of it: rates and lifetimes of unlike customers do not. `without`: classes of
    which it cannot be told, and why; they are in no sum. `saved` None: what new customers cost is not known of all."""

    classes: Mapping[str, WhatIf]
    without: Mapping[str, str]
    active: int
    revenue: float
    revenue_then: float
    worth: float
    saved: float | None


def what_ifs(whole: Tally, classes: Mapping[str, Tally], points: float, days: float, margin: float = 1.0) -> WhatIfs:
    """By class. Costs that were imported for no class are those of the only one, and of several nobody knows whose."""
    alone = len(classes) == 1
    told = {name: what_if(whole if alone else tally, points, days, margin) for name, tally in classes.items()}
    found = {name: one for name, one in told.items() if isinstance(one, WhatIf)}
    known = [one.saved for one in found.values() if one.saved is not None]
    return WhatIfs(
        found,
        {name: why for name, why in told.items() if isinstance(why, str)},
        sum(one.active for one in found.values()),
        sum(one.revenue for one in found.values()),
        sum(one.revenue_then for one in found.values()),
        sum(one.worth for one in found.values()),
        sum(known) if known and len(known) == len(found) else None,
    )


# ---- time -----------------------------------------------------------------------------------------------------------

Size = Literal["month", "quarter", "year"]
MONTHS: Final[Mapping[Size, int]] = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


def period(text: str) -> Period | None:
    """`2027`, `2027-Q1`, `2027-03`, `2027-03-01..2027-03-14`; None when it says none."""
    text = text.strip()
    try:
        if ".." in text:
            first, _, last = text.partition("..")
            found = Period(date.fromisoformat(first.strip()), date.fromisoformat(last.strip()))
            return found if found.first <= found.last else None
        if match := re.fullmatch(r"(\d{4})", text):
            return months(int(match[1]) * 12, 12)
        if match := re.fullmatch(r"(\d{4})-?[Qq]([1-4])", text):
            return months(int(match[1]) * 12 + 3 * (int(match[2]) - 1), 3)
        if match := re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text):
            return months(int(match[1]) * 12 + int(match[2]) - 1, 1)
    except ValueError:
        return None
    return None


def months(number: int, count: int) -> Period:
    """So many months from the one of this number on: year × 12 + month − 1."""
    after = number + count
    last = date(after // 12, after % 12 + 1, 1) - timedelta(days=1)
    return Period(date(number // 12, number % 12 + 1, 1), last)


def cohort_name(number: int, size: Size) -> str:
    """Of a month's number: `2027-03`, `2027-Q1`, `2027`."""
    year, month = divmod(number, 12)
    return {"month": f"{year}-{month + 1:02}", "quarter": f"{year}-Q{month // 3 + 1}", "year": str(year)}[size]


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who first bought in one month, quarter or year: how many, and the share of them that bought in each one after, as
    far as it is over. Cell 0 is the first itself: all of them."""

    name: str
    n: int
    cells: tuple[Figure, ...]


def triangle(counts: Mapping[tuple[int, int], int], size: Size, last: date) -> list[Cohort]:
    """From (first month's number, month's number) → how many, both the first of their quarter or year; `last`: the last
    day that is over."""
    step = MONTHS[size]
    found: list[Cohort] = []
    end = last + timedelta(days=1)
    over = (end.year * 12 + end.month - 1) // step * step  # the first that is not over
    for first in sorted({first for first, _ in counts}):
        n = counts.get((first, first), 0)
        cells = tuple(share(counts.get((first, at), 0), n) for at in range(first, over, step))
        found.append(Cohort(cohort_name(first, size), n, cells))
    return found
