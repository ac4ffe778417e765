"""Which of several arms does better, by a test that may be looked at as often as one likes. Pure arithmetic.

Arms are dealt by chance in known shares. If two arms do equally well, then of those who succeed each belongs to an arm
in the proportion of the shares, whatever the rate is and however it changes by day or season; and so does each of those
who do not succeed. Both are tosses of a coin that is known, and for these there is a test that holds at every moment:

- the coin's real side is weighed by a prior around the shares, and the likelihood under it divided by that of the
  shares: the *e-value*. While there is no difference it exceeds 1/α at any time with probability α at most (Ville's
  inequality; Robbins 1970), so that stopping at the first moment one likes is no cheating;
- the sides of the coin that are not refused that way are an interval that holds the truth at all times together (a
  confidence sequence: Howard, Ramdas, McAuliffe, Sekhon, Annals of Statistics 2021). With the share of successes in
  both arms together, bounded likewise, it becomes an interval of the difference of the rates.

For conversions of randomised arms: Lindon and Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022.
Of K arms the winner has to be better than each other one, each time at 1 − α/(K − 1); `judge` says why that is enough.
docs/decisions names what was weighed against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

PRIORS: Final = ((100.0, 0.8), (4.0, 0.2))
"""Weights in successes, and how much each is believed: mostly arms differ by some 20 % of their rates, sometimes by a
multiple of them."""
Priors = Sequence[tuple[float, float]]
_PLAIN: Final = ((1.0, 1.0),)
"""Of the common rate nothing is expected: Jeffreys' prior, Beta(1/2, 1/2)."""
_RATE: Final = 0.1
"""The part of α that goes to the common rate; the rest is halved between successes and failures."""
_SKEWED: Final = 1_000.0
"""An e-value against the shares themselves; then the arms were not dealt as is written, and nothing can be said."""
_DEALT: Final = 1_000.0
"""The weight of the prior there."""
_FURTHEST: Final = 1_000_000
"""More runs than these to go is as good as never."""
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Arm:
    """`runs`: units dealt this arm whose time is over; `successes` of them. `share`: of the split, above 0 and to 1;
    0 for all arms of a comparison stands for equal shares."""

    name: str
    runs: int
    successes: int
    share: float = 0.0

    @property
    def rate(self) -> float | None:
        """None: nobody's time is over."""
        return self.successes / self.runs if self.runs else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` of the rates, first − second, and an interval that holds the truth at all times. None: one of them
    has no runs. `e_value`: how much likelier the data is under some difference than under none; `p_value` 1 ÷ that, at
    most 1, before it is divided among several arms. `clear`: the interval leaves out 0."""

    first: str
    second: str
    difference: float | None
    low: float
    high: float
    e_value: float
    p_value: float
    clear: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """`leader`: best as it stands, "" where nothing is known; compared with each other arm. `winner`: it, once it is
    better than each beyond doubt (`reached`). `why`: the state in words."""

    winner: str | None
    leader: str
    comparisons: tuple[Comparison, ...]
    reached: bool
    why: str


def judge(arms: Sequence[Arm], confidence: float) -> Finding:
    """The best arm against each other one. `confidence`: how sure, 0.95; ValueError when it is not within 0 and 1.

    A wrong winner is one that beats an arm which is at least as good. Against one fixed arm that is truly best there
    are K − 1 comparisons, and one of them must err; were it the fixed arm itself that is wrongly called better than its
    equal, that is the same comparison's other side. So K − 1 two-sided tests at α/(K − 1) keep it below α.
    """
    if not 0 < confidence < 1:
        raise ValueError("how sure: between 0 and 1")
    dealt = _shared(arms)
    known = [arm for arm in dealt if arm.runs]
    if len(dealt) < 2:
        return Finding(None, "", (), False, "there is nothing to compare with")
    if not known:
        return Finding(None, "", (), False, "nobody's time is over yet")
    if skew(dealt) >= _SKEWED:
        return Finding(None, "", (), False, "the arms were not dealt in their shares: nothing can be said")
    leader = max(known, key=lambda arm: arm.successes / arm.runs)
    alpha = (1 - confidence) / (len(dealt) - 1)
    compared = tuple(compare(leader, other, alpha) for other in dealt if other is not leader)
    open_ = [c.second for c in compared if not (c.clear and c.low > 0)]
    if not open_:
        return Finding(leader.name, leader.name, compared, True, f"`{leader.name}` is better than each other arm")
    behind = " and ".join(f"`{name}`" for name in open_)
    return Finding(None, leader.name, compared, False, f"`{leader.name}` may be no better than {behind}")


def compare(first: Arm, second: Arm, alpha: float) -> Comparison:
    """Two arms, at 1 − alpha."""
    total = first.share + second.share
    q = first.share / total if total else 0.5
    n, n2, k, k2 = first.runs, second.runs, first.successes, second.successes
    if not n or not n2:
        return Comparison(first.name, second.name, None, -1.0, 1.0, 1.0, 1.0, False)
    side = alpha * (1 - _RATE) / 2
    rate = interval(k + k2, n + n2 - k - k2, 0.5, alpha * _RATE, _PLAIN)
    won = _difference(k, k2, q, side, rate)
    lost = _difference(n - k, n2 - k2, q, side, (1 - rate[1], 1 - rate[0]))
    low, high = max(won[0], -lost[1]), min(won[1], -lost[0])
    if low > high:  # both cannot be right: that is the α, or the shares are not those it was dealt in
        low, high = min(won[0], -lost[1]), max(won[1], -lost[0])
    log_e = max(evidence(k, k2, q), evidence(n - k, n2 - k2, q)) - math.log(2)
    e_value = math.exp(min(log_e, 700.0))
    clear = low > 0 or high < 0
    return Comparison(first.name, second.name, k / n - k2 / n2, low, high, e_value, min(1.0, 1 / e_value), clear)


def evidence(k: float, k2: float, q: float) -> float:
    """Logarithm of the e-value of k tosses that fell on a side of probability q, and k2 that did not."""
    return _weighed(k, k2, q, PRIORS) - k * math.log(q) - k2 * math.log(1 - q)


def interval(k: float, k2: float, q: float, alpha: float, priors: Priors = PRIORS) -> tuple[float, float]:
    """Probabilities that k tosses on one side and k2 on the other do not refuse, at any time together. `q`: around
    which the prior lies."""
    weighed = _weighed(k, k2, q, priors) + math.log(alpha)

    def refused(p: float) -> bool:
        return weighed > (k * math.log(p) if k else 0.0) + (k2 * math.log1p(-p) if k2 else 0.0)

    if not k + k2:
        return 0.0, 1.0
    middle = k / (k + k2)
    return (_edge(refused, 0.0, middle) if k else 0.0), (_edge(refused, 1.0, middle) if k2 else 1.0)


def skew(arms: Sequence[Arm]) -> float:
    """The e-value against arms having been dealt in their shares (Dirichlet around them)."""
    parts = _shared(arms)
    n, weight = sum(arm.runs for arm in parts), _DEALT
    log_e = math.lgamma(weight) - math.lgamma(weight + n)
    for arm in parts:
        a = weight * arm.share
        log_e += math.lgamma(a + arm.runs) - math.lgamma(a) - arm.runs * math.log(arm.share)
    return math.exp(min(log_e, 700.0))


def to_go(arms: Sequence[Arm], confidence: float) -> int | None:
    """How many more runs it takes, roughly, if the rates stay as they are; None: more than anybody waits for."""
    dealt = _shared(arms)
    found, n = judge(dealt, confidence), sum(arm.runs for arm in dealt)
    if found.reached:
        return 0
    leader = next((arm for arm in dealt if arm.name == found.leader), None)
    if leader is None or any(not c.difference or c.difference <= 0 for c in found.comparisons):
        return None
    alpha = (1 - confidence) / (len(dealt) - 1)

    def enough(times: float) -> bool:
        grown = [_grown(arm, n * times) for arm in dealt]
        best = next(arm for arm in grown if arm.name == leader.name)
        return all(compare(best, other, alpha).low > 0 for other in grown if other is not best)

    near, far = 1.0, 2.0
    while not enough(far):
        near, far = far, far * 2
        if n * far > 2 * _FURTHEST:
            return None
    for _ in range(12):
        between = (near + far) / 2
        near, far = (near, between) if enough(between) else (between, far)
    more = math.ceil(n * (far - 1))
    return more if more <= _FURTHEST else None


def _grown(arm: Arm, total: float) -> Arm:
    """Of so many runs in all, with the arm's rate as it is; dealt in their shares, as in the long run they are."""
    runs = total * arm.share
    return replace(arm, runs=round(runs), successes=round(runs * (arm.rate or 0.0)))


def _shared(arms: Sequence[Arm]) -> list[Arm]:
    """Those that are dealt at all, with shares that make up 1."""
    total = sum(arm.share for arm in arms)
    if not total:
        return [replace(arm, share=1 / len(arms)) for arm in arms]
    return [replace(arm, share=arm.share / total) for arm in arms if arm.share > 0]


def _difference(k: int, k2: int, q: float, alpha: float, rate: tuple[float, float]) -> tuple[float, float]:
    """Bounds of the difference: of all that happened (at `rate` in both arms together) the first arm had the part θ, so
    its rate is θ · rate ÷ q, the other's (1 − θ) · rate ÷ (1 − q)."""
    low, high = interval(k, k2, q, alpha)
    scale = q * (1 - q)
    below, above = (low - q) / scale, (high - q) / scale
    bounds = (below * rate[0 if below > 0 else 1], above * rate[1 if above > 0 else 0])
    return max(-1.0, bounds[0]), min(1.0, bounds[1])


def _edge(refused: Callable[[float], bool], outside: float, inside: float) -> float:
    """Between the two, where refusing begins; on the side of refusing, so that the interval is no narrower."""
    for _ in range(_HALVINGS):
        between = (outside + inside) / 2
        if between in (outside, inside):
            break
        outside, inside = (between, inside) if refused(between) else (outside, between)
    return outside


def _weighed(k: float, k2: float, q: float, priors: Priors) -> float:
    """Logarithm of the likelihood of one order of tosses, averaged over the priors around q."""
    logs = []
    for weight, belief in priors:
        a, b = weight * q, weight * (1 - q)
        logs.append(_log_beta(k + a, k2 + b) - _log_beta(a, b) + math.log(belief))
    most = max(logs)
    return most + math.log(sum(math.exp(one - most) for one in logs))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
