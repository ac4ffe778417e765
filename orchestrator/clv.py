"""What a customer is worth: models of buying, contracts, what has been so far, and the pyramid. Pure arithmetic.

Predictions follow Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way (BG/NBD: how often and for how
long somebody buys), and Fader and Hardie (2013), The Gamma-Gamma Model of Monetary Value. Parameters are those of
the greatest likelihood, found by going down its slope over their logarithms. Time is in weeks, money in whole units of
a currency (euros, not cents).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from operator import mul
from typing import Final, NamedTuple, TypeVar

ENOUGH: Final = 50
"""Customers who came back: with fewer, no model is fitted."""
MOST: Final = 50_000
"""Different histories that are fitted as they are; more are grouped."""
YEAR: Final = 365.25
WEEK: Final = 7.0
_FAR: Final = 12.0  # parameters stay within exp(±12): where data say "never" or "always" the likelihood has no end
_TERMS: Final = 1_000_000
_STEPS: Final = 500

Unit = TypeVar("Unit", bound=Hashable)


class History(NamedTuple):
    """How somebody bought. `repeats`: days with a purchase after the first; `recency`: weeks from the first to the
    last; `age`: weeks from the first until the day of observation."""

    repeats: int
    recency: float
    age: float


# ---- how often, and for how long ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BgNbd:
    """While a customer is there she buys at a rate of her own (gamma: r, alpha); after any purchase she leaves with a
    probability of her own (beta: a, b). `n` customers were fitted, with `log_likelihood`."""

    r: float
    alpha: float
    a: float
    b: float
    n: int = 0
    log_likelihood: float = 0.0

    def p_alive(self, who: History) -> float:
        """The probability that she is still there: 1 where she has bought once only (the model lets nobody leave
        without a second purchase)."""
        return 1 / (1 + self._gone(who))

    def expected(self, who: History, weeks: float) -> float:
        """How many more days with a purchase are expected of her within so many weeks."""
        return self.while_there(who, weeks) * self.p_alive(who)

    def while_there(self, who: History, weeks: float) -> float:
        """That again, of who is still there."""
        left = self.alpha + who.age
        return purchases_made(self.r + who.repeats, weeks / (left + weeks), self.a, self.b + who.repeats)

    def _gone(self, who: History) -> float:
        """The odds that she has left."""
        if who.repeats == 0:
            return 0.0
        odds = math.log(self.a / (self.b + who.repeats - 1))
        odds += (self.r + who.repeats) * math.log((self.alpha + who.age) / (self.alpha + who.recency))
        return math.exp(min(odds, 700.0))


def fit_bg_nbd(customers: Mapping[History, int]) -> BgNbd:
    """The parameters under which this is likeliest: histories, and how many customers have each. ValueError where
    nobody came back."""
    if not any(who.repeats for who in customers):
        raise ValueError("nobody bought a second time: there is nothing to fit")
    told = _Bought(customers)
    start = (0.0, math.log(max(1e-3, sum(told.ages) / len(told.ages) / 4)), 0.0, 0.0)
    best, least = minimise(told.unlikeliness, start)
    r, alpha, a, b = map(math.exp, best)
    return BgNbd(r, alpha, a, b, told.n, -least)


class _Bought:
    """Histories as a fit goes through them: what does not hang on the parameters is added up once, and logarithms of
    times are taken once for each different time."""

    def __init__(self, customers: Mapping[History, int]) -> None:
        ages = {age: n for n, age in enumerate(dict.fromkeys(who.age for who in customers))}
        recencies = {t: n for n, t in enumerate(dict.fromkeys(who.recency for who in customers))}
        self.n = sum(customers.values())
        self.ages, self.recencies = list(ages), list(recencies)
        self.of_age = [0] * len(ages)
        """Customers of each age."""
        self.bought = [0] * len(ages)
        """Their repeated purchases."""
        self.beyond = [0] * max(who.repeats for who in customers)
        """At n, how many customers have more than n repeated purchases."""
        by_repeats: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for who, count in customers.items():
            age = ages[who.age]
            self.of_age[age] += count
            self.bought[age] += count * who.repeats
            if who.repeats:
                by_repeats[who.repeats].append((age, recencies[who.recency], count))
                self.beyond[who.repeats - 1] += count
        for n in range(len(self.beyond) - 1, 0, -1):
            self.beyond[n - 1] += self.beyond[n]
        self.groups = [
            (x, [age for age, _, _ in rows], [last for _, last, _ in rows], [count for _, _, count in rows])
            for x, rows in by_repeats.items()
        ]

    def unlikeliness(self, point: Sequence[float]) -> tuple[float, tuple[float, ...]]:
        """What the logarithm of the likelihood is short of nought, and its slope: over the logarithms of r, alpha, a
        and b. Gammas stand in quotients only, and are sums over n = 0, 1, … up to the number of purchases."""
        r, alpha, a, b = map(math.exp, point)
        exp, log, log1p = math.exp, math.log, math.log1p
        log_age, log_recency = ([log(alpha + t) for t in times] for times in (self.ages, self.recencies))
        by_age, by_recency = ([1 / (alpha + t) for t in times] for times in (self.ages, self.recencies))
        rate = self.n * log(alpha) - sum(map(mul, self.of_age, log_age))
        total = r * rate - sum(map(mul, self.bought, log_age))
        to_r, to_a, to_b = rate, 0.0, 0.0
        to_alpha = self.n * r / alpha - r * sum(map(mul, self.of_age, by_age)) - sum(map(mul, self.bought, by_age))
        for n, count in enumerate(self.beyond):
            total += count * (log(r + n) - log1p(a / (b + n)))
            to_r += count / (r + n)
            to_a -= count / (a + b + n)
            to_b += count * a / ((b + n) * (a + b + n))
        for x, aged, last, counts in self.groups:
            power, leaves = r + x, log(a / (b + x - 1))
            longer = [log_age[i] - log_recency[j] for i, j in zip(aged, last, strict=True)]
            odds = [leaves + power * gap for gap in longer]  # that she has left, as a logarithm
            if min(odds) < -700.0:  # there are none
                odds = [max(gap, -700.0) for gap in odds]
            stays = [exp(-gap) for gap in odds]
            total += sum(map(mul, counts, odds)) + sum(map(mul, counts, map(log1p, stays)))
            gone = [n / (1 + o) for n, o in zip(counts, stays, strict=True)]
            all_gone = sum(gone)
            to_r += sum(map(mul, gone, longer))
            to_alpha += power * sum([g * (by_age[i] - by_recency[j]) for g, i, j in zip(gone, aged, last, strict=True)])
            to_a += all_gone / a
            to_b -= all_gone / (b + x - 1)
        return -total, (-r * to_r, -alpha * to_alpha, -a * to_a, -b * to_b)


@lru_cache(maxsize=1 << 14)
def purchases_made(k: float, z: float, a: float, b: float) -> float:
    """How many purchases somebody makes who would make n of them with the probability of a negative binomial (k, z) and
    leaves after each with one that is beta (a, b) distributed; k, a, b above zero, 0 ≤ z < 1.

    The sum over n of P(n) × (how many of n are made): what the paper's (10) says with Gauss's ₂F₁, as a series whose
    terms are all positive. The closed form is a difference of large numbers, and has a hole at a = 1.
    """
    weight, stays, made, total, log_scale = 1.0, 1.0, 0.0, 0.0, k * math.log1p(-z)
    for n in range(_TERMS):
        weight *= (k + n) / (n + 1) * z  # P(n + 1), but for its scale
        made += stays  # the chance of making the (n + 1)st, added up: how many of n + 1 are made
        stays *= (b + n) / (a + b + n)
        total += weight * made
        if total > 1e250:
            weight, total, log_scale = weight * 1e-250, total * 1e-250, log_scale + 250 * math.log(10)
        if weight * made <= total * 1e-12 * (1 - z) and (k + n) * z < n + 1:
            break
    return math.exp(math.log(total) + log_scale) if total else 0.0


# ---- how much -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Purchases scatter around each customer's own mean (gamma: p), and the means among customers (inverse gamma:
    q, v). `n` customers were fitted."""

    p: float
    q: float
    v: float
    n: int = 0
    log_likelihood: float = 0.0

    def mean(self) -> float:
        """What a purchase of somebody of whom nothing is known is worth; infinite where q is no more than 1."""
        return self.p * self.v / (self.q - 1) if self.q > 1 else math.inf

    def expected(self, repeats: int, mean: float) -> float:
        """What a purchase of hers is worth: between all customers' mean and her own, the nearer to her own the more
        often she bought. `mean`: of her repeated purchases."""
        known = self.p * repeats + self.q - 1
        return self.p * (self.v + repeats * mean) / known if known > 0 else math.inf


def fit_gamma_gamma(customers: Mapping[tuple[int, float], int]) -> GammaGamma:
    """The likeliest parameters for those who came back: (repeated purchases, their mean value) and how many customers
    have it. ValueError where nobody has both above zero."""
    by_repeats: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for (x, mean), n in customers.items():
        if x > 0 and mean > 0:
            by_repeats[x].append((x * mean, n))
    if not by_repeats:
        raise ValueError("nobody bought a second time: there is nothing to fit")
    groups = [(x, [spent for spent, _ in rows], [n for _, n in rows]) for x, rows in by_repeats.items()]
    logs = {x: sum(n * math.log(spent) for spent, n in rows) for x, rows in by_repeats.items()}
    people = {x: sum(n for _, n in rows) for x, rows in by_repeats.items()}
    bought, lots = sum(x * n for x, n in people.items()), sum(x * of for x, of in logs.items())
    # The density of the mean, not of the sum: hence ln x, as in the paper's (1a).
    same = sum(n * math.log(x) for x, n in people.items()) - sum(logs.values())

    def unlikeliness(point: Sequence[float]) -> tuple[float, tuple[float, ...]]:
        p, q, v = map(math.exp, point)
        total = same + p * (lots - bought * point[2])
        to_p, to_q, to_v = lots - bought * point[2], 0.0, -p * bought
        for x, spents, counts in groups:
            n, k = people[x], p * x + q
            parts = [spent / v for spent in spents]
            above = sum(map(mul, counts, map(math.log1p, parts)))
            total += n * (math.lgamma(k) - math.lgamma(p * x) - math.lgamma(q)) - k * above
            to_p += x * (n * (digamma(k) - digamma(p * x)) - above)
            to_q += n * (digamma(k) - digamma(q)) - above
            to_v += k * sum([count * part / (1 + part) for count, part in zip(counts, parts, strict=True)])
        return -total, (-p * to_p, -q * to_q, -to_v)

    middles = sorted(spent / x for x, rows in by_repeats.items() for spent, _ in rows)
    middle = middles[len(middles) // 2]
    best, least = minimise(unlikeliness, (math.log(4.0), math.log(3.0), math.log(max(middle / 2, 1e-3))))
    p, q, v = map(math.exp, best)
    return GammaGamma(p, q, v, sum(people.values()), -least)


def digamma(x: float) -> float:
    """The slope of ln Γ at x > 0: Stirling's series from 10 on, and from below it by ψ(x) = ψ(x + 1) - 1/x."""
    below = 0.0
    while x < 10:
        below += 1 / x
        x += 1
    z = 1 / (x * x)
    return math.log(x) - 0.5 / x - z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z / 132)))) - below


# ---- the way down ---------------------------------------------------------------------------------------------------

Slope = tuple[float, ...]
Sloped = Callable[[Sequence[float]], tuple[float, Slope]]
"""A function of several numbers: its value, and how it changes with each of them."""


def minimise(
    f: Sloped, start: Sequence[float], *, far: float = _FAR, tolerance: float = 1e-12
) -> tuple[tuple[float, ...], float]:
    """Where `f` is least near `start`, no number beyond ±far, and what it is there; within `tolerance` of its size.

    The method of Broyden, Fletcher, Goldfarb and Shanno (Nocedal and Wright 2006, Numerical Optimization, 6.1): a step
    down the slope as it is bent, which the slopes passed so far tell. A number that would leave its bounds is held
    there.
    """
    point = tuple(start)
    value, slope = f(point)
    free: list[int] = []
    bend: _Bend | None = None
    for _ in range(_STEPS):
        held, free = free, [n for n, p in enumerate(point) if abs(p) < far or p * slope[n] > 0]
        bend = bend if free == held else None
        down = [0.0] * len(point)
        steepest = max((abs(slope[n]) for n in free), default=0.0)
        for n in free:
            down[n] = -sum(bend[n][m] * slope[m] for m in free) if bend else -0.5 * slope[n] / (steepest or 1.0)
        gain = -sum(map(mul, down, slope))
        if gain <= tolerance * (1 + abs(value)):
            break
        found = _down(f, point, value, down, gain, far)
        if found is None and bend is None:
            break
        if found is None:
            free = []  # so that what was learnt of the bend is forgotten
            continue
        further, lower, next_slope = found
        moved, turned = ([a - b for a, b in zip(new, old, strict=True)]
                         for new, old in ((further, point), (next_slope, slope)))  # fmt: skip
        bend = _bent(bend, moved, turned)
        point, value, slope = further, lower, next_slope
    return point, value


_Bend = list[list[float]]


def _down(
    f: Sloped, point: Sequence[float], value: float, down: Sequence[float], gain: float, far: float
) -> tuple[tuple[float, ...], float, Slope] | None:
    """A point in this direction where `f` is lower by a part of what was to be gained; None where there is none."""
    step = min(1.0, 3.0 / max(map(abs, down)))
    step = min(step, *((far - math.copysign(p, p * d)) / abs(d) for p, d in zip(point, down, strict=True) if d))
    while step > 1e-12:
        new = tuple(min(far, max(-far, p + step * d)) for p, d in zip(point, down, strict=True))
        there, slope = f(new)
        if there <= value - 1e-4 * step * gain:
            return new, there, slope
        step *= min(0.5, max(0.1, step * gain / (2 * (there - value + step * gain))))
    return None


def _bent(bend: _Bend | None, moved: Sequence[float], turned: Sequence[float]) -> _Bend | None:
    """What is known of the inverse of the second derivatives, after a step that changed the slope like this."""
    along, size = sum(map(mul, moved, turned)), range(len(moved))
    if along <= 1e-10 * math.hypot(*moved) * math.hypot(*turned):
        return bend
    if bend is None:
        scale = along / sum(map(mul, turned, turned))
        bend = [[scale * (n == m) for m in size] for n in size]
    sent = [sum(map(mul, row, turned)) for row in bend]
    more = (1 + sum(map(mul, turned, sent)) / along) / along
    return [
        [bend[n][m] + more * moved[n] * moved[m] - (moved[n] * sent[m] + sent[n] * moved[m]) / along for m in size]
        for n in size
    ]


# ---- what has been so far -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Past:
    """What one customer or account has bought until now. `days`: on how many days; `spent` and the others of money:
    net, minor units; `spent_first`: on the first day; `_year`: within the last 365 days."""

    orders: int
    days: int
    first: date
    last: date
    spent: int
    spent_first: int
    orders_year: int = 0
    spent_year: int = 0

    def history(self, today: date) -> History:
        """What the model of buying asks. Purchases of one day are one."""
        age = max(0, (today - self.first).days)
        return History(self.days - 1, (self.last - self.first).days / WEEK, age / WEEK)

    def mean_repeat(self) -> float:
        """Of one repeated purchase, minor units; 0 where there was none."""
        return (self.spent - self.spent_first) / (self.days - 1) if self.days > 1 else 0.0

    def years(self, today: date, active: bool) -> float:
        """How long she was, or has been, a customer; at least one, so that one purchase is no yearly value of 365."""
        return max(1.0, ((today if active else self.last) - self.first).days / YEAR)

    def yearly(self, today: date, active: bool) -> float:
        """What she spent a year, minor units."""
        return self.spent / self.years(today, active)


@dataclass(frozen=True, slots=True)
class Historic:
    """Lifetime value from what has been, minor units. `n` customers who bought; `buyers` of them within the last year.

    `by_year`: mean yearly value × mean lifespan. `by_parts`: frequency × average order value × mean lifespan, of the
    last year's buyers. Both times the margin. None where nobody bought.
    """

    n: int
    buyers: int
    lifespan: float
    yearly: float
    frequency: float | None
    order_value: float | None
    by_year: float
    by_parts: float | None


def historic(pasts: Iterable[tuple[Past, bool]], today: date, margin: float = 1.0) -> Historic | None:
    """Of customers who bought, each with whether she is active (else her lifespan ended with the last purchase)."""
    n = buyers = orders = spent = 0
    lifespans = yearlies = 0.0
    for past, active in pasts:
        n += 1
        lifespans += past.years(today, active)
        yearlies += past.yearly(today, active)
        if past.orders_year:
            buyers, orders, spent = buyers + 1, orders + past.orders_year, spent + past.spent_year
    if not n:
        return None
    lifespan, yearly = lifespans / n, yearlies / n
    frequency = orders / buyers if buyers else None
    order_value = spent / orders if orders else None
    parts = frequency * order_value * lifespan * margin if frequency is not None and order_value is not None else None
    return Historic(n, buyers, lifespan, yearly, frequency, order_value, yearly * lifespan * margin, parts)


# ---- what is to come ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prediction:
    """Of one customer: `orders` are days with a purchase within the horizon, `value` what they bring, minor units."""

    p_alive: float
    orders: float
    value: float


@dataclass(frozen=True, slots=True)
class Model:
    """How the customers of one class buy, and how much. `minor`: how many minor units make one of the currency."""

    buying: BgNbd
    spending: GammaGamma
    minor: int = 100

    def predict(self, past: Past, today: date, days: int) -> Prediction:
        """What is expected of a customer within so many days."""
        who = past.history(today)
        p_alive = self.buying.p_alive(who)
        orders = self.buying.while_there(who, days / WEEK) * p_alive
        each = self.spending.expected(who.repeats, past.mean_repeat() / self.minor)
        if not math.isfinite(each):  # means scatter so widely that they have no mean: then her own
            each = past.spent / past.days / self.minor
        return Prediction(p_alive, orders, orders * each * self.minor)


def fit(pasts: Iterable[Past], today: date, minor: int = 100) -> Model | None:
    """The model of customers who have bought; None where fewer than ENOUGH of them came back, with money to fit."""
    histories: Counter[History] = Counter()
    means: Counter[tuple[int, float]] = Counter()
    for past in pasts:
        histories[past.history(today)] += 1
        mean = past.mean_repeat() / minor
        if mean > 0:
            means[(past.days - 1, mean)] += 1
    if means.total() < ENOUGH:
        return None
    return Model(fit_bg_nbd(by_week(histories)), fit_gamma_gamma(by_digits(means)), minor)


def by_week(histories: Counter[History], most: int = MOST) -> Counter[History]:
    """The same where there are no more than `most` different ones, else with times rounded to whole weeks: a fit goes
    through all different ones some dozens of times."""
    if len(histories) <= most:
        return histories
    found: Counter[History] = Counter()
    for who, n in histories.items():
        recency = max(1.0, float(round(who.recency))) if who.repeats else 0.0
        found[History(who.repeats, recency, max(recency, float(round(who.age))))] += n
    return found


def by_digits(means: Counter[tuple[int, float]], most: int = MOST) -> Counter[tuple[int, float]]:
    """The same of mean values: rounded to two digits."""
    if len(means) <= most:
        return means
    found: Counter[tuple[int, float]] = Counter()
    for (repeats, mean), n in means.items():
        found[repeats, float(f"{mean:.1e}")] += n
    return found


# ---- contracts ------------------------------------------------------------------------------------------------------

PRIOR: Final = 2.0
"""How many renewals and losses of its own an account needs until they weigh as much as its class's share."""
BY_ITSELF: Final = 2.0
"""A contract that renews by itself counts as so many renewals more: somebody would have to act to end it."""


@dataclass(frozen=True, slots=True)
class Contract:
    """`value`: of its whole term, minor units. `begins` None: `term` days before its end. `renews`: by itself."""

    value: int
    ends: date
    term: int = 365
    begins: date | None = None
    renews: bool = False

    def days(self) -> int:
        """How long its term is, at least a day."""
        begins = self.begins
        whole = (self.ends - begins).days + 1 if begins is not None and begins <= self.ends else self.term
        return max(1, whole)

    def start(self) -> date:
        """The first day of its term."""
        return self.ends - timedelta(days=self.days() - 1)

    def to_the_end(self, today: date) -> float:
        """What of its value is still to come."""
        if today > self.ends:
            return 0.0
        return self.value * min(1.0, ((self.ends - today).days + 1) / self.days())


def share_renewed(renewed: int, lost: int) -> float:
    """How many contracts of a class went on, never none and never all: Laplace's (renewed + 1) / (renewed + lost + 2).
    One half where nothing has ended yet."""
    return (renewed + 1) / (renewed + lost + 2)


def renewal(renewed: int, lost: int, share: float, *, by_itself: bool = False, health: float | None = None) -> float:
    """The probability that a contract goes on, between 0 and 1 and never at either.

    The account's own renewals and losses, with the class's `share` as PRIOR more of them, and BY_ITSELF renewals more
    where the contract renews by itself. `health` (0 to 100; 50 changes nothing) multiplies the odds by 2 for each 25
    above 50, and halves them for each 25 below.
    """
    extra = BY_ITSELF if by_itself else 0.0
    p = (renewed + PRIOR * share + extra) / (renewed + lost + PRIOR + extra)
    if health is None:
        return p
    odds = p / (1 - p) * 2 ** ((min(100.0, max(0.0, health)) - 50) / 25)
    return odds / (1 + odds)


# ---- the pyramid ----------------------------------------------------------------------------------------------------


def pyramid(units: Iterable[tuple[Unit, tuple[float, ...]]], shares: Mapping[str, float]) -> dict[Unit, str]:
    """A band for each: the first `shares` of all from the top, rounded up, then the next. `units`: with what they are
    ordered by, highest first.

    Who is equal in everything stays together: where a bound would go through equals, it moves to the nearer side of
    them (the upper, if both are as near). So bands are as large as their shares say, but for equals at a bound. The
    last band takes what is left.
    """
    ordered = sorted(units, key=lambda unit: unit[1], reverse=True)
    keys = [key for _, key in ordered]
    names = list(shares)
    ends: list[int] = []
    upto = Decimal(0)
    for name in names[:-1]:
        upto += Decimal(str(shares[name]))
        cut = min(len(keys), int((upto * len(keys)).to_integral_value(ROUND_CEILING)))
        ends.append(max(ends[-1] if ends else 0, _beside_equals(keys, cut)))
    ends.append(len(keys))
    found: dict[Unit, str] = {}
    at = 0
    for name, end in zip(names, ends, strict=True):
        found.update((unit, name) for unit, _ in ordered[at:end])
        at = end
    return found


def _beside_equals(keys: Sequence[tuple[float, ...]], cut: int) -> int:
    """The bound nearest to `cut` that parts no equals."""
    if cut <= 0 or cut >= len(keys) or keys[cut - 1] != keys[cut]:
        return cut
    low = high = cut
    while low > 0 and keys[low - 1] == keys[cut]:
        low -= 1
    while high < len(keys) and keys[high] == keys[cut]:
        high += 1
    return low if cut - low <= high - cut else high
