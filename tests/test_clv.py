"""Models of buying against what Fader and Hardie published; the pyramid, contracts and history against hand's work."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import clv
from orchestrator.clv import BgNbd, Contract, GammaGamma, History, Past

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "cdnow" / "CDNOW_sample.txt"
CALIBRATED = date(1997, 9, 30)  # 39 weeks from the first day of 1997
PUBLISHED = BgNbd(0.243, 4.414, 0.793, 2.426)

with_sample = pytest.mark.skipif(not SAMPLE.is_file(), reason=f"CDNOW_sample.txt is not at {SAMPLE.parent}")


def sample() -> Iterator[Past]:
    """The 2,357 customers of the published estimates, as bought in the first 39 weeks."""
    bought: dict[str, Counter[date]] = defaultdict(Counter)
    for line in SAMPLE.read_text(encoding="ascii").splitlines():
        cells = line.split()
        if cells:
            day = date(int(cells[2][:4]), int(cells[2][4:6]), int(cells[2][6:]))
            if day <= CALIBRATED:
                bought[cells[1]][day] += round(float(cells[4]) * 100)
    for days in bought.values():
        first = min(days)
        yield Past(len(days), len(days), first, max(days), days.total(), days[first])


# ---- what was published ---------------------------------------------------------------------------------------------


@with_sample
def test_the_published_parameters_of_buying() -> None:
    histories = Counter(past.history(CALIBRATED) for past in sample())
    found = clv.fit_bg_nbd(histories)
    assert found.n == 2_357
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), rel=0.01)
    assert found.log_likelihood == pytest.approx(-9582.4, abs=0.1)


@with_sample
def test_the_published_parameters_of_spending() -> None:
    """Fader and Hardie (2013): p 6.25, q 3.74, gamma 15.44 for the 946 who came back."""
    pasts = [past for past in sample() if past.days > 1]
    found = clv.fit_gamma_gamma(Counter((past.days - 1, past.mean_repeat() / 100) for past in pasts))
    assert found.n == 946
    assert (found.p, found.q, found.v) == pytest.approx((6.25, 3.74, 15.44), rel=0.01)


@with_sample
def test_grouped_by_week_the_parameters_are_nearly_the_same() -> None:
    """What is done where there are too many different histories to go through each."""
    pasts = list(sample())
    histories = Counter(past.history(CALIBRATED) for past in pasts)
    weekly = clv.by_week(histories, most=10)
    assert len(weekly) < len(histories) * 0.7 and weekly.total() == 2_357
    assert clv.by_week(histories) is histories
    found = clv.fit_bg_nbd(weekly)
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), rel=0.05)
    means = Counter((past.days - 1, past.mean_repeat() / 100) for past in pasts if past.days > 1)
    rough = clv.fit_gamma_gamma(clv.by_digits(means, most=10))
    assert (rough.p, rough.q, rough.v) == pytest.approx((6.25, 3.74, 15.44), rel=0.02)


def test_the_published_expectation() -> None:
    """Fader, Hardie and Lee (2005): who bought twice again, last in week 30.43 of 38.86, is expected to buy 1.226 times
    in the 39 weeks to come."""
    assert PUBLISHED.expected(History(2, 30.43, 38.86), 39) == pytest.approx(1.226, abs=5e-4)


# ---- what must hold of any model ------------------------------------------------------------------------------------


def by_integral(model: BgNbd, who: History, weeks: float) -> float:
    """The same expectation without the series: of somebody who is there at rate λ and leaves with p after a purchase,
    λt-many purchases are expected until she leaves, weighed by what is known of λ and p."""
    steps = 400
    total = weight = 0.0
    for i in range(steps):
        for j in range(steps):
            u, p = (i + 0.5) / steps, (j + 0.5) / steps
            rate = -math.log(1 - u) * 2 / model.alpha  # an exponential as a stand-in for the gamma's own measure
            prior = rate ** (model.r - 1) * math.exp(-model.alpha * rate) * p ** (model.a - 1)
            prior *= (1 - p) ** (model.b - 1) / math.exp(-model.alpha * rate / 2)
            x = who.repeats
            there = (1 - p) ** x * rate**x * math.exp(-rate * who.age)
            gone = p * (1 - p) ** (x - 1) * rate**x * math.exp(-rate * who.recency) if x else 0.0
            to_come = (1 - math.exp(-rate * p * weeks)) / p
            total += prior * there * to_come
            weight += prior * (there + gone)
    return total / weight


@pytest.mark.parametrize("who", [History(1, 3.0, 10.0), History(4, 20.0, 25.0)])
def test_the_expectation_is_the_integral_it_stands_for(who: History) -> None:
    model = BgNbd(1.4, 5.0, 1.6, 2.4)
    assert model.expected(who, 12.0) == pytest.approx(by_integral(model, who, 12.0), rel=0.01)


@pytest.mark.parametrize(("k", "z"), [(0.25, 0.9), (1.0, 0.001), (30.0, 0.5), (2_000.0, 0.9)])
def test_who_never_leaves_and_who_leaves_at_once(k: float, z: float) -> None:
    """The first makes all purchases, the mean of a negative binomial; the other one, if any."""
    assert clv.purchases_made(k, z, 1e-12, 2.0) == pytest.approx(k * z / (1 - z), rel=1e-6)
    assert clv.purchases_made(k, z, 2.0, 1e-12) == pytest.approx(1 - (1 - z) ** k, rel=1e-6)


histories = st.builds(
    lambda repeats, recency, rest: History(repeats, recency if repeats else 0.0, recency + rest),
    st.integers(0, 2_000),
    st.floats(0.1, 500),
    st.floats(0, 500),
)
models = st.builds(BgNbd, *[st.floats(0.05, 20)] * 4)


@given(models, histories, st.floats(0.1, 200))
def test_predictions_are_of_this_world(model: BgNbd, who: History, weeks: float) -> None:
    alive, soon = model.p_alive(who), model.expected(who, weeks)
    assert 0 <= alive <= 1 and math.isfinite(soon) and soon >= 0
    assert model.expected(who, weeks * 2) >= soon * (1 - 1e-9) - 1e-9
    if who.repeats:
        later = who._replace(recency=who.age)
        assert model.p_alive(later) >= alive - 1e-12
    else:
        assert alive == 1


@given(st.integers(0, 400), st.floats(0.01, 5_000))
def test_a_value_lies_between_her_own_and_everybodys(repeats: int, mean: float) -> None:
    model = GammaGamma(6.25, 3.74, 15.44)
    low, high = sorted((mean, model.mean()))
    assert low * (1 - 1e-9) <= model.expected(repeats, mean) <= high * (1 + 1e-9)
    assert model.expected(0, mean) == pytest.approx(model.mean())


def test_the_way_down_ends_at_the_bottom_of_a_bent_valley() -> None:
    def valley(p: Sequence[float]) -> tuple[float, tuple[float, ...]]:
        off = p[1] - p[0] ** 2
        return (1 - p[0]) ** 2 + 100 * off**2, (2 * (p[0] - 1) - 400 * p[0] * off, 200 * off)

    best, least = clv.minimise(valley, (-1.2, 1.0))
    assert best == pytest.approx((1, 1), abs=1e-5) and least < 1e-9


@pytest.mark.parametrize("start", [(0.0, 0.0), (-11.0, 12.0), (12.0, -12.0)])
def test_what_has_no_bottom_ends_at_its_bounds(start: tuple[float, float]) -> None:
    """Where data say "never" the likelihood rises for ever: one number is held, the other one found all the same."""
    best, least = clv.minimise(lambda p: (math.exp(p[0]) + (p[1] - 3) ** 2, (math.exp(p[0]), 2 * (p[1] - 3))), start)
    assert best == pytest.approx((-12, 3), abs=1e-4) and least == pytest.approx(math.exp(-12), abs=1e-9)


points = st.tuples(*[st.floats(-4, 4)] * 4)


def unlikely(point: Sequence[float], who: History) -> float:
    """The paper's (6), by its gammas."""
    (r, alpha, a, b), (x, last, age) = map(math.exp, point), who
    gamma = math.lgamma
    stays = gamma(b + x) + gamma(a + b) - gamma(b) - gamma(a + b + x)
    here = gamma(r + x) - gamma(r) + r * math.log(alpha) + stays - (r + x) * math.log(alpha + age)
    odds = math.log(a / (b + x - 1)) + (r + x) * math.log((alpha + age) / (alpha + last)) if x else -math.inf
    return -here - (odds + math.log1p(math.exp(-odds)) if odds > 0 else math.log1p(math.exp(odds)))


@given(points, st.dictionaries(histories.filter(lambda who: who.repeats < 300), st.integers(1, 3)))
def test_what_is_made_least_is_the_likelihood_of_the_paper(
    point: tuple[float, ...], bought: dict[History, int]
) -> None:
    bought = {History(1, 1.0, 2.0): 1, **bought}
    told = clv._Bought(bought)
    value, slope = told.unlikeliness(point)
    assert value == pytest.approx(sum(n * unlikely(point, who) for who, n in bought.items()), rel=1e-9, abs=1e-6)
    for n, steep in enumerate(slope):
        up, down = ([p + by * (n == m) for m, p in enumerate(point)] for by in (1e-5, -1e-5))
        rise = (told.unlikeliness(up)[0] - told.unlikeliness(down)[0]) / 2e-5
        assert steep == pytest.approx(rise, rel=1e-4, abs=1e-3 + abs(value) * 1e-8)


def test_where_nobody_leaves_a_model_is_found_too() -> None:
    """Everybody bought just now: nothing says that anybody ever leaves."""
    seen = {History(n, 20.0 + n / 7, 20.0 + n / 7): 3 for n in range(1, 30)}
    found = clv.fit_bg_nbd(seen)
    assert found.p_alive(History(5, 21.0, 21.0)) > 0.99
    again = clv.fit_bg_nbd(dict(reversed(seen.items())))
    assert (again.r, again.alpha) == pytest.approx((found.r, found.alpha), rel=1e-3)


@pytest.mark.parametrize(
    ("x", "known"), [(1, -0.5772156649015329), (0.5, -1.9635100260214235), (10, 2.2517525890667211)]
)
def test_digamma(x: float, known: float) -> None:
    assert clv.digamma(x) == pytest.approx(known, abs=1e-13)
    assert clv.digamma(x + 1) == pytest.approx(clv.digamma(x) + 1 / x, abs=1e-13)


def test_without_enough_who_came_back_there_is_no_model() -> None:
    once = Past(1, 1, date(2027, 1, 1), date(2027, 1, 1), 500, 500)
    twice = Past(2, 2, date(2027, 1, 1), date(2027, 2, 1), 1_500, 500)
    assert clv.fit([once] * 500 + [twice] * (clv.ENOUGH - 1), date(2027, 3, 1)) is None
    with pytest.raises(ValueError, match="nobody bought a second time"):
        clv.fit_bg_nbd({once.history(date(2027, 3, 1)): 3})
    with pytest.raises(ValueError, match="nobody bought a second time"):
        clv.fit_gamma_gamma({})


def test_one_and_the_same_history_of_everybody_does_not_break_the_fit() -> None:
    """The likelihood has no end where all are alike; what comes out is still a model that predicts."""
    twice = Past(2, 2, date(2027, 1, 1), date(2027, 2, 1), 1_500, 500)
    found = clv.fit([twice] * 100, date(2027, 3, 1))
    assert found is not None
    predicted = found.predict(twice, date(2027, 3, 1), 365)
    assert math.isfinite(predicted.value) and predicted.value >= 0


# ---- history, by hand -----------------------------------------------------------------------------------------------


def test_history_by_hand() -> None:
    today = date(2027, 3, 1)
    # Two years and 0 days a customer, and active: 731 days of 365.25 = 2.00137 years; 300 EUR in 3 orders, 2 this year.
    steady = Past(3, 3, date(2025, 2, 28), date(2027, 2, 1), 30_000, 10_000, 2, 20_000)
    # Bought once and is gone: counts as one year.
    gone = Past(1, 1, date(2025, 1, 1), date(2025, 1, 1), 10_000, 10_000)
    found = clv.historic([(steady, True), (gone, False)], today, margin=0.5)
    assert found is not None
    years = (today - date(2025, 2, 28)).days / 365.25
    assert (found.n, found.buyers) == (2, 1)
    assert found.lifespan == pytest.approx((years + 1) / 2)
    assert found.yearly == pytest.approx((30_000 / years + 10_000) / 2)
    assert (found.frequency, found.order_value) == (2, 10_000)
    assert found.by_year == pytest.approx((30_000 / years + 10_000) / 2 * (years + 1) / 2 * 0.5)
    assert found.by_parts == pytest.approx(2 * 10_000 * (years + 1) / 2 * 0.5)
    assert clv.historic([], today) is None
    nobody = clv.historic([(gone, False)], today)
    assert nobody is not None and nobody.frequency is None and nobody.by_parts is None


# ---- contracts, by hand ---------------------------------------------------------------------------------------------


def test_a_contracts_rest_by_hand() -> None:
    year = Contract(36_500, date(2027, 12, 31), begins=date(2027, 1, 1))
    assert year.to_the_end(date(2027, 1, 1)) == 36_500
    assert year.to_the_end(date(2027, 12, 22)) == pytest.approx(1_000)  # ten days of 365, the last one included
    assert year.to_the_end(date(2028, 1, 1)) == 0
    assert year.to_the_end(date(2026, 6, 1)) == 36_500  # not begun
    assert Contract(36_500, date(2027, 12, 31), term=73).to_the_end(date(2027, 12, 22)) == pytest.approx(5_000)


def test_renewal_by_hand() -> None:
    assert clv.share_renewed(0, 0) == 0.5 and clv.share_renewed(7, 1) == 0.8
    assert clv.renewal(0, 0, 0.8) == pytest.approx(0.8)  # nothing is known of the account: its class's share
    assert clv.renewal(3, 1, 0.5) == pytest.approx((3 + 1) / (4 + 2))
    assert clv.renewal(3, 1, 0.5, by_itself=True) == pytest.approx((3 + 1 + 2) / (4 + 2 + 2))
    assert clv.renewal(0, 0, 0.5, health=50) == pytest.approx(0.5)
    assert clv.renewal(0, 0, 0.5, health=75) == pytest.approx(2 / 3)
    assert clv.renewal(0, 0, 0.5, health=0) == pytest.approx(0.2)


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.01, 0.99), st.booleans(), st.floats(0, 100))
def test_renewal_is_a_probability_that_health_raises(
    renewed: int, lost: int, share: float, by_itself: bool, health: float
) -> None:
    p = clv.renewal(renewed, lost, share, by_itself=by_itself, health=health)
    assert 0 < p < 1
    assert clv.renewal(renewed + 1, lost, share, by_itself=by_itself, health=health) > p
    assert clv.renewal(renewed, lost + 1, share, by_itself=by_itself, health=health) < p
    assert clv.renewal(renewed, lost, share, by_itself=True, health=min(100, health + 10)) >= p


# ---- the pyramid ----------------------------------------------------------------------------------------------------

SHARES = {"top": 0.01, "big": 0.04, "medium": 0.15, "small": 0.80}


def sizes(found: dict[int, str], shares: dict[str, float] = SHARES) -> list[int]:
    counts = Counter(found.values())
    return [counts[name] for name in shares]


def test_bands_of_a_hundred_and_of_few() -> None:
    assert sizes(clv.pyramid([(n, (n,)) for n in range(100)], SHARES)) == [1, 4, 15, 80]
    assert sizes(clv.pyramid([(n, (n,)) for n in range(40)], SHARES)) == [1, 1, 6, 32]
    assert sizes(clv.pyramid([(1, (5.0,))], SHARES)) == [1, 0, 0, 0]
    assert clv.pyramid([], SHARES) == {}
    assert clv.pyramid([(n, (n,)) for n in range(100)], SHARES)[99] == "top"
    halves = {"big": 0.5, "small": 0.5}
    assert sizes(clv.pyramid([(n, (n,)) for n in range(7)], halves), halves) == [4, 3]


def test_equals_stay_together_on_the_nearer_side() -> None:
    values = [9.0] * 1 + [5.0] * 3 + [1.0] * 96  # the bound of `big` (5) lies in the 96, nearer to their upper end
    assert sizes(clv.pyramid(list(enumerate((v,) for v in values)), SHARES)) == [1, 3, 0, 96]
    alike = [(n, (1.0,)) for n in range(100)]
    assert sizes(clv.pyramid(alike, SHARES)) == [0, 0, 0, 100]
    values = [5.0] * 12 + [
        1.0
    ] * 88  # `medium` ends in the 88; top and big in the 12: 1 and 5 are nearer to none of them
    assert sizes(clv.pyramid(list(enumerate((v,) for v in values)), SHARES)) == [0, 0, 12, 88]


shares_ = st.lists(st.integers(0, 100), min_size=1, max_size=5).map(
    lambda cuts: {
        f"band{n}": float(Fraction(high - low, 100))
        for n, (low, high) in enumerate(zip([0, *sorted(cuts)], [*sorted(cuts), 100], strict=True))
    }
)


@given(st.lists(st.integers(0, 30) | st.integers(0, 10_000), max_size=120), shares_)
def test_the_pyramid_adds_up(values: list[int], shares: dict[str, float]) -> None:
    units = [(n, (float(v),)) for n, v in enumerate(values)]
    found = clv.pyramid(units, shares)
    rank = {name: n for n, name in enumerate(shares)}
    assert sorted(found) == list(range(len(values)))
    for (a, worth), (b, less) in pairwise(units):
        if worth == less:
            assert found[a] == found[b]
        elif worth > less:
            assert rank[found[a]] <= rank[found[b]]
        else:
            assert rank[found[a]] >= rank[found[b]]
    if len(set(values)) == len(values):
        upto = Fraction(0)
        for name, size in zip(shares, sizes(found, shares), strict=True):
            before, upto = math.ceil(upto * len(values)), upto + Fraction(str(shares[name]))
            assert size == min(len(values), math.ceil(upto * len(values))) - before or name == list(shares)[-1]


def test_a_year_is_looked_back_on_to_the_day() -> None:
    past = Past(2, 2, date(2026, 1, 1), date(2026, 1, 8), 300, 100)
    assert past.history(date(2026, 1, 15)) == History(1, 1.0, 2.0)
    assert past.mean_repeat() == 200
    assert past.history(date(2026, 1, 1) - timedelta(days=1)).age == 0
