"""The test that may be looked at at any time: its arithmetic, its promise by simulation, its power."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import experiment
from orchestrator.experiment import PRIORS, Arm, Comparison, compare, evidence, interval, judge, skew, to_go

ALPHA = 0.05
COUNTS = st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)).map(lambda two: (max(two), min(two)))
"""(runs, successes)."""


def arms(*counts: tuple[int, int], shares: tuple[float, ...] = ()) -> list[Arm]:
    dealt = shares or (1 / len(counts),) * len(counts)
    return [Arm(f"arm{n}", runs, won, share) for n, ((runs, won), share) in enumerate(zip(counts, dealt, strict=True))]


def versus(two: list[Arm]) -> Comparison:
    first, second = two
    return compare(first, second, ALPHA)


# ---- arithmetic -----------------------------------------------------------------------------------------------------


def test_evidence_by_hand() -> None:
    """Equal shares: the priors are Beta(50, 50) and Beta(2, 2). One toss proves nothing; of two alike 51 ÷ 101 or 3 ÷ 5
    is expected, and 1 ÷ 2 without a difference."""
    assert evidence(0, 0, 0.5) == pytest.approx(0)
    assert evidence(1, 0, 0.5) == pytest.approx(0)
    assert math.exp(evidence(2, 0, 0.5)) == pytest.approx(2 * (0.8 * 51 / 101 + 0.2 * 3 / 5))
    assert math.exp(evidence(1, 1, 0.5)) == pytest.approx(2 * (0.8 * 50 / 101 + 0.2 * 2 / 5))
    assert math.exp(evidence(0, 1, 0.8)) == pytest.approx(1)


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([0.1, 0.5, 0.818]))
def test_the_closed_form_is_the_product_of_its_steps(k: int, k2: int, q: float) -> None:
    """In whatever order they come: here all of one side first."""
    logs = []
    for weight, belief in PRIORS:
        a, b, log_e = weight * q, weight * (1 - q), math.log(belief)
        for n in range(k):
            log_e += math.log((a + n) / (weight + n)) - math.log(q)
        for n in range(k2):
            log_e += math.log((b + n) / (weight + k + n)) - math.log(1 - q)
        logs.append(log_e)
    assert evidence(k, k2, q) == pytest.approx(_sum(*logs), abs=1e-7)


def _sum(one: float, two: float) -> float:
    """The logarithm of a sum, of logarithms."""
    return max(one, two) + math.log1p(math.exp(-abs(one - two)))


def test_the_next_toss_is_a_fair_game() -> None:
    """Under no difference the e-value of tomorrow is on the average that of today: that is what Ville's inequality
    needs, and it holds exactly."""
    for k, k2, q in ((0, 0, 0.5), (7, 3, 0.5), (40, 90, 0.45), (3, 200, 0.1)):
        today = math.exp(evidence(k, k2, q))
        tomorrow = q * math.exp(evidence(k + 1, k2, q)) + (1 - q) * math.exp(evidence(k, k2 + 1, q))
        assert tomorrow == pytest.approx(today, rel=1e-9)


@given(st.integers(0, 2_000), st.integers(0, 2_000), st.sampled_from([0.5, 0.9]))
def test_an_interval_ends_where_refusing_begins(k: int, k2: int, q: float) -> None:
    """A side of the coin is within as long as its own e-value is below 1 ÷ α: the shares, too."""
    low, high = interval(k, k2, q, ALPHA)
    assert 0 <= low <= high <= 1
    assert (low <= q <= high) == (evidence(k, k2, q) <= math.log(1 / ALPHA) + 1e-9)
    if k + k2:
        assert low <= k / (k + k2) <= high


@given(COUNTS, COUNTS, st.sampled_from([(0.5, 0.5), (0.9, 0.1)]))
def test_a_comparison_turned_round_is_the_same(one: tuple[int, int], two: tuple[int, int], shares) -> None:
    first, second = arms(one, two, shares=shares)
    there, back = compare(first, second, ALPHA), compare(second, first, ALPHA)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-9)
    assert there.clear == back.clear and there.e_value == pytest.approx(back.e_value)
    assert -1 <= there.low <= there.high <= 1 and 0 < there.p_value <= 1
    if there.clear:  # the interval and the test say the same
        assert there.e_value >= 1 / ALPHA


@given(COUNTS, COUNTS)
def test_failures_tell_what_successes_do(one: tuple[int, int], two: tuple[int, int]) -> None:
    there = versus(arms(one, two))
    turned = versus(arms((one[0], one[0] - one[1]), (two[0], two[0] - two[1])))
    assert (there.low, there.high) == pytest.approx((-turned.high, -turned.low), abs=1e-9)


def test_more_of_the_same_is_more_certain() -> None:
    found = [versus(arms((n, n // 5), (n, n // 10))) for n in (200, 400, 800, 1_600, 3_200)]
    assert all(a.high - a.low > b.high - b.low and a.e_value < b.e_value for a, b in pairwise(found))


# ---- the promise ----------------------------------------------------------------------------------------------------


class _Pair:
    """Two arms observed one unit after the other; logarithms of the e-values carried on step by step."""

    def __init__(self, seed: int, first: float, second: float, q: float = 0.5) -> None:
        self.random, self.rates, self.q = Random(seed), (first, second), q
        self.n, self.k = [0, 0], [0, 0]
        self.logs = [0.0, 0.0]  # of failures, of successes
        self._each = [[math.log(belief) for _, belief in PRIORS] for _ in range(2)]
        self._tosses = [[0, 0], [0, 0]]

    def observe(self) -> None:
        arm = 0 if self.random.random() < self.q else 1
        won = self.random.random() < self.rates[arm]
        self.n[arm] += 1
        self.k[arm] += won
        tosses, fair = self._tosses[won], self.q if arm == 0 else 1 - self.q
        each = self._each[won]
        for number, (weight, _) in enumerate(PRIORS):
            each[number] += math.log((weight * fair + tosses[arm]) / ((weight + tosses[0] + tosses[1]) * fair))
        self.logs[won] = _sum(*each)
        tosses[arm] += 1

    def counts(self) -> list[Arm]:
        return [Arm("a", self.n[0], self.k[0], self.q), Arm("b", self.n[1], self.k[1], 1 - self.q)]


BOUND = math.log(2 / (0.9 * ALPHA))
"""`compare` halves nine tenths of α between successes and failures."""


def test_the_steps_are_what_is_judged() -> None:
    pair = _Pair(3, 0.2, 0.3)
    for _ in range(1_000):
        pair.observe()
    found = versus(pair.counts())
    assert math.log(found.e_value) == pytest.approx(max(pair.logs) - math.log(2), abs=1e-6)
    assert found.clear == (max(pair.logs) > BOUND)


@pytest.mark.parametrize(
    ("rate", "q", "experiments"), [(0.1, 0.5, 400), (0.5, 0.5, 100), (0.1, 0.9, 100), (0.01, 0.5, 100), (0.9, 0.6, 100)]
)
def test_who_looks_after_every_run_is_fooled_in_less_than_one_of_twenty(rate, q, experiments) -> None:
    """No difference, 2,000 runs each, a look at each of them: how many experiments ever find a winner."""
    fooled = 0
    for seed in range(experiments):
        pair = _Pair(seed, rate, rate, q)
        for _ in range(2_000):
            pair.observe()
            if pair.logs[0] > BOUND or pair.logs[1] > BOUND:
                fooled += 1
                break
    assert fooled <= 0.05 * experiments


def test_looking_often_with_the_usual_test_would_not_do() -> None:
    """The same experiments with a z-test at each look: that is why there is another one."""
    fooled = 0
    for seed in range(100):
        pair = _Pair(seed, 0.1, 0.1)
        for n in range(1, 2_001):
            pair.observe()
            if n % 20 == 0 and n >= 200 and abs(_z(pair)) > 1.96:
                fooled += 1
                break
    assert fooled > 15


def _z(pair: _Pair) -> float:
    (n, n2), (k, k2) = pair.n, pair.k
    pooled = (k + k2) / (n + n2)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n2))
    return (k / n - k2 / n2) / spread if spread else 0.0


def test_a_rate_that_changes_with_the_season_fools_nobody() -> None:
    """Both arms alike, 5 % in summer and 30 % before Christmas."""
    fooled = 0
    for seed in range(100):
        pair = _Pair(seed, 0.05, 0.05)
        for n in range(2_000):
            pair.rates = (0.3, 0.3) if n % 500 > 400 else (0.05, 0.05)
            pair.observe()
            if max(pair.logs) > BOUND:
                fooled += 1
                break
    assert fooled <= 0.05 * 100


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.13, 0.1), (0.6, 0.4)])
def test_the_interval_holds_the_truth_at_all_times(rates: tuple[float, float]) -> None:
    missed = 0
    for seed in range(60):
        pair = _Pair(seed, *rates)
        for n in range(1, 1_501):
            pair.observe()
            if n % 50 == 0:
                found = versus(pair.counts())
                if not found.low <= rates[0] - rates[1] <= found.high:
                    missed += 1
                    break
    assert missed <= 3


@pytest.mark.parametrize(("rates", "most"), [((0.13, 0.1), 12_000), ((0.85, 0.88), 14_000), ((0.3, 0.2), 2_500)])
def test_a_real_difference_is_found(rates: tuple[float, float], most: int) -> None:
    """Of ten experiments eight at least within so many runs of both arms; never the wrong arm."""
    right, found = ("a" if rates[0] > rates[1] else "b"), 0
    for seed in range(10):
        pair = _Pair(seed, *rates)
        for n in range(1, most + 1):
            pair.observe()
            if n % 200 == 0 and (finding := judge(pair.counts(), 0.95)).reached:
                assert finding.winner == right
                found += 1
                break
    assert found >= 8


def test_of_four_equal_arms_none_wins() -> None:
    fooled = 0
    for seed in range(60):
        random, counts = Random(seed), [[0, 0] for _ in range(4)]
        for n in range(1, 2_001):
            count = counts[random.randrange(4)]
            count[0] += 1
            count[1] += random.random() < 0.2
            if n % 100 == 0 and judge(arms(*((a, b) for a, b in counts)), 0.95).reached:
                fooled += 1
                break
    assert fooled <= 3


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_the_best_must_beat_each_other_one() -> None:
    clear = judge(arms((4_000, 800), (4_000, 400), (4_000, 380)), 0.95)
    assert (clear.winner, clear.reached, clear.leader) == ("arm0", True, "arm0")
    assert [(c.first, c.second, c.clear) for c in clear.comparisons] == [("arm0", "arm1", True), ("arm0", "arm2", True)]
    two = judge(arms((4_000, 800), (4_000, 790), (4_000, 380)), 0.95)
    assert (two.winner, two.leader) == (None, "arm0") and "`arm1`" in two.why and "`arm2`" not in two.why
    assert to_go(arms((4_000, 800), (4_000, 400), (4_000, 380)), 0.95) == 0


def test_a_control_may_win() -> None:
    found = judge([Arm("offer", 900, 45, 0.9), Arm("control", 100, 30, 0.1)], 0.95)
    assert found.winner == "control"


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ([(10, 3)], "nothing to compare"),
        ([(0, 0), (0, 0)], "nobody's time"),
        ([(5_000, 900), (500, 10)], "not dealt in their shares"),
        ([(20, 4), (0, 0)], "may be no better"),
    ],
)
def test_why_nothing_is_decided(counts: list[tuple[int, int]], why: str) -> None:
    found = judge(arms(*counts), 0.95)
    assert found.winner is None and not found.reached and why in found.why


def test_arms_that_are_never_dealt_are_left_out() -> None:
    dealt = [Arm("a", 4_000, 800, 0.5), Arm("b", 4_000, 400, 0.5), Arm("c", 0, 0, 0.0)]
    assert judge(dealt, 0.95).winner == "a"


@pytest.mark.parametrize("sure", [0, 1, -0.5, 95, math.nan])
def test_how_sure_is_a_share(sure: float) -> None:
    with pytest.raises(ValueError, match="how sure"):
        judge(arms((10, 1), (10, 2)), sure)


def test_more_certainty_takes_longer() -> None:
    counts = arms((1_000, 130), (1_000, 100))
    needed = [to_go(counts, sure) for sure in (0.8, 0.95, 0.999)]
    assert all(n is not None for n in needed) and sorted(needed) == needed and needed[0] != needed[2]  # type: ignore[type-var]
    more = needed[1] or 0
    factor = 1 + more / 2_000 * 1.05
    grown = arms((round(1_000 * factor), round(130 * factor)), (round(1_000 * factor), round(100 * factor)))
    assert judge(grown, 0.95).reached


def test_nobody_is_told_to_wait_for_ever() -> None:
    assert to_go(arms((1_000, 100), (1_000, 100)), 0.95) is None
    assert to_go(arms((10_000, 1_000), (10_000, 1_001)), 0.95) is None
    assert to_go(arms((0, 0), (0, 0)), 0.95) is None


def test_a_deal_by_chance_is_no_skew() -> None:
    assert skew(arms((5_050, 0), (4_950, 0))) < 1
    assert skew(arms((1_000, 0), (100, 0), shares=(0.9, 0.1))) < 10
    assert skew(arms((1_000, 0), (300, 0), shares=(0.9, 0.1))) > experiment._SKEWED


def test_a_million_runs_are_no_trouble() -> None:
    found = judge(arms((500_000, 50_000), (500_000, 50_100)), 0.95)
    assert not found.reached and found.comparisons[0].high - found.comparisons[0].low < 0.01
    assert judge(arms((500_000, 51_500), (500_000, 50_000)), 0.95).winner == "arm0"
