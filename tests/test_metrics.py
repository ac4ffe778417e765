"""Measures against numbers worked out by hand: the arithmetic alone, then a small world on both databases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import metrics
from orchestrator.apply import in_force
from orchestrator.importing import import_rows
from orchestrator.ingest import record_events
from orchestrator.measure import Only, Report, measure
from orchestrator.metrics import MEASURES, OF_JOURNEYS, JourneyTally, Period, Tally
from orchestrator.rank import refresh
from orchestrator.store import insert_ids, insert_many
from orchestrator.store import tables as t
from tests.copied import copied
from tests.outgoing import TEMPLATES, WORKSPACE, Statements, World, journey

# ---- arithmetic -----------------------------------------------------------------------------------------------------


def test_wilson_as_published() -> None:
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    assert metrics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert metrics.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert metrics.wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert metrics.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_a_difference_as_published() -> None:
    """Newcombe (1998b), table II, method 10: 56/70 − 48/80, 9/10 − 3/10, 10/10 − 0/10."""
    for (k, n, k2, n2), (value, low, high) in {
        (56, 70, 48, 80): (0.2, 0.0524, 0.3339),
        (9, 10, 3, 10): (0.6, 0.1705, 0.8090),
        (10, 10, 0, 10): (1.0, 0.6075, 1.0),
    }.items():
        found = metrics.difference(k, n, k2, n2)
        assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=5e-5)


@given(st.integers(0, 2_000), st.integers(0, 2_000), st.integers(0, 500), st.integers(0, 500))
def test_intervals_hold_their_figure(k: int, more: int, k2: int, more2: int) -> None:
    found = metrics.share(k, k + more)
    both = metrics.difference(k, k + more, k2, k2 + more2)
    for figure, least in ((found, 0.0), (both, -1.0)):
        if figure.n and figure.value is not None:
            assert figure.low is not None and figure.high is not None
            assert least <= figure.low <= figure.value + 1e-12 and figure.value - 1e-12 <= figure.high <= 1
        else:
            assert figure == metrics.NOTHING


def test_net_promoters_by_hand() -> None:
    found = metrics.net_promoters(5, 2, 10)  # three are passive
    assert (found.value, found.n) == (30, 10)
    half = 1.959964 * math.sqrt((0.7 - 0.09) / 10) * 100
    assert (found.low, found.high) == pytest.approx((30 - half, 30 + half), abs=1e-3)
    alike = metrics.net_promoters(5, 0, 5)
    assert alike.value == 100 and alike.low == pytest.approx(56.55, abs=0.01) and alike.high == 100
    assert metrics.net_promoters(0, 0, 0) == metrics.NOTHING
    for counts in ((0, 5, 5), (0, 0, 5)):
        found = metrics.net_promoters(*counts)
        assert found.low is not None and found.high is not None and found.value is not None
        assert found.low <= found.value <= found.high and found.high > found.low


def test_what_if_by_hand() -> None:
    """100 active, 80 kept in a year; 90 active at its end, ten of them new, who paid 4,500 EUR and have contracts for
    as much a year; ten new ones for 5 EUR each."""
    tally = Tally(active_before=100, kept=80, active=90, active_spent=450_000, active_contracts=450_000, new=10,
                  acquisition=5_000)  # fmt: skip
    found = metrics.what_if(tally, 0.05, 365, margin=0.5)
    assert not isinstance(found, str)
    assert (found.active, found.yearly) == (90, 10_000)
    assert (found.retention, found.retention_then) == pytest.approx((0.8, 0.85))
    assert (found.lifetime, found.lifetime_then) == pytest.approx((5, 20 / 3))
    assert (found.value, found.value_then) == pytest.approx((25_000, 100_000 / 3))
    assert (found.revenue, found.revenue_then) == pytest.approx((90 * 0.8 * 10_000, 765_000))
    assert (found.worth, found.saved) == pytest.approx((4.5, 2_250))
    # Half a year: what was paid in it counts twice, contracts once.
    half = Tally(active_before=100, kept=90, active=50, active_spent=25_000, active_contracts=5_000)
    whole = metrics.what_if(half, 0.05, 365 / 2)
    assert not isinstance(whole, str) and whole.retention == pytest.approx(0.81) and whole.saved is None
    assert whole.yearly == pytest.approx(1_100)
    for wrong, why in (
        (Tally(), "nobody was active"),
        (Tally(active_before=5), "nobody is active at the end"),
        (Tally(active_before=5, kept=4, active=4), "no yearly value"),
        (Tally(active_before=5, kept=5, active=5, active_spent=1), "nobody left"),
        (Tally(active_before=100, kept=99, active=99, active_spent=1), "below 100 %"),
    ):
        said = metrics.what_if(wrong, 0.05, 365)
        assert isinstance(said, str) and why in said


def test_what_if_of_unlike_classes_adds_up() -> None:
    people = Tally(active_before=100, kept=60, active=100, active_spent=100_000, new=10, acquisition=1_000)
    firms = Tally(active_before=10, kept=9, active=10, active_contracts=10_000_000)
    nobody = Tally(units=3)
    whole = Tally()
    for one in (people, firms, nobody):
        whole.add(one)
    found = metrics.what_ifs(whole, {"b2c": people, "b2b": firms, "club": nobody}, 0.05, 365)
    assert list(found.classes) == ["b2c", "b2b"] and "nobody was active" in found.without["club"]
    assert found.active == 110
    assert found.revenue == pytest.approx(0.6 * 100_000 + 0.9 * 10_000_000)
    assert found.revenue_then == pytest.approx(0.65 * 100_000 + 0.95 * 10_000_000)
    assert found.worth == pytest.approx(5 + 0.5)
    assert found.classes["b2c"].saved == pytest.approx(500) and found.saved is None  # nobody knows what firms cost
    firms.new, firms.acquisition = 2, 100_000
    assert metrics.what_ifs(whole, {"b2c": people, "b2b": firms}, 0.05, 365).saved == pytest.approx(500 + 25_000)
    shared = Tally(active_before=100, kept=60, active=100, active_spent=100_000, new=10)
    alone = metrics.what_ifs(people, {"b2c": shared}, 0.05, 365)  # costs of no class are those of the only one
    assert alone.saved == pytest.approx(500)


def test_returns_by_hand() -> None:
    found = metrics.journey_figures(JourneyTally("j", 90, 30, 9, 10, 1, cost=100, value=900, held_value=20), 0.5)
    assert found["return_on_cost"].value == pytest.approx((450 - 100) / 100)
    assert found["lifted_return"].value == pytest.approx(((900 - 90 * 2) * 0.5 - 100) / 100)
    assert (found["goal_rate"].value, found["baseline"].value) == pytest.approx((1 / 3, 0.1))
    empty = metrics.journey_figures(JourneyTally("j"))
    assert set(empty) == set(OF_JOURNEYS) and all(figure.value is None for figure in empty.values())
    assert all(figure.value is None and figure.n == 0 for figure in metrics.figures(Tally()).values())
    assert set(metrics.figures(Tally())) == set(MEASURES)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2027", "2027-01-01", "2027-12-31"),
        ("2028-02", "2028-02-01", "2028-02-29"),
        ("2027-Q4", "2027-10-01", "2027-12-31"),
        ("2027q1", "2027-01-01", "2027-03-31"),
        ("2027-03-05..2027-03-05", "2027-03-05", "2027-03-05"),
    ],
)
def test_periods(text: str, first: str, last: str) -> None:
    assert metrics.period(text) == Period(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize("text", ["", "27", "2027-13", "2027-Q5", "2027-03-05..2027-03-04", "soon", "2027-03-05"])
def test_what_is_no_period(text: str) -> None:
    assert metrics.period(text) is None


def test_a_triangle_by_hand() -> None:
    """Three came in January, two in March; February is over, April is not."""
    jan, feb, mar, apr = (2027 * 12 + n for n in range(4))
    counts = {(jan, jan): 3, (jan, feb): 1, (jan, apr): 1, (mar, mar): 2}
    found = metrics.triangle(counts, "month", date(2027, 4, 20))
    assert [(c.name, c.n, [f.of for f in c.cells]) for c in found] == [("2027-01", 3, [3, 1, 0]), ("2027-03", 2, [2])]
    quarters = metrics.triangle({(jan, jan): 3, (jan, apr): 2}, "quarter", date(2027, 6, 30))
    assert [(c.name, [f.value for f in c.cells]) for c in quarters] == [("2027-Q1", [1, pytest.approx(2 / 3)])]


# ---- a small world --------------------------------------------------------------------------------------------------

DECLARED = WORKSPACE.replace("  customer: { town: text }", "  customer: { town: text }").replace(
    "events:\n",
    """records:
  deal: { of: account, key: deal_id, worth: money, begins: date, ends: date }
surveys:
  happy: { title: Happy?, questions: { how: { kind: nps, ask: How likely? } } }
  secret: { title: Happy?, anonymous: yes, questions: { how: { kind: nps, ask: How likely? } } }
events:
  gave_back: { order_id: key, amount: money }
  deal_renewed: { deal_id: key }
  deal_cancelled: { deal_id: key }
  course_begun: { course: text }
  course_done: { course: text }
""",
).removesuffix("policies:\n")  # fmt: skip
PROGRAM = """
program:
  b2c:
    membership: { joins: free }
    refunds: [ "gave_back takes back bought by order_id of amount" ]
  value:
    orders: bought.amount
    contracts: { value: deal.worth, ends: deal.ends, begins: deal.begins, renewed: deal_renewed,
                 cancelled: deal_cancelled }
    inactive_after: 12 months
    margin: 50%
    training: { began: course_begun, completed: course_done }
"""
YEAR_2027 = Period(date(2027, 1, 1), date(2027, 12, 31))
NOW = datetime(2028, 1, 15, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    files = {"journeys/workspace.yaml": DECLARED + PROGRAM, **TEMPLATES}
    goal = "goal: { event: bought, within: 30 days, where: amount > 5 EUR }\nholdout: 20%\nreentry: always"
    files["journeys/hello.yaml"] = journey("hello", "- email: hello", more=goal)
    with copied(request, tmp_path, files) as found:
        found.now = NOW
        yield found


def event(world: World, kind: str, at: str, *, customer: int | None = None, account: int | None = None,
          **properties: Any) -> int:  # fmt: skip
    when = datetime.fromisoformat(at).replace(tzinfo=UTC)
    row = {"type": kind, "key": f"{kind}:{customer}:{account}:{at}:{properties}", "customer_id": customer,
           "account_id": account, "occurred_at": when, "properties": properties}  # fmt: skip
    with world.store.write() as conn:
        assert record_events(conn, [row], now=world.now) == 1
    return int(world.one(sa.select(sa.func.max(t.event.c.id))))


def bought(world: World, customer: int, at: str, euros: int) -> None:
    event(world, "bought", f"{at}T10:00", customer=customer, amount=euros * 100, amount_currency="EUR")


def add(world: World, table: sa.Table, **columns: Any) -> int:
    with world.store.write() as conn:
        return int(insert_ids(conn, table, [columns])[0][0])


def report(world: World, period: Period = YEAR_2027, **more: Any) -> Report:
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        return measure(conn, force, period, now=world.now, **more)


def said(found: Report, name: str, group: str | None = None) -> tuple[Any, int]:
    figure = found.figures(group)[name]
    return figure.value, figure.n


def shop(world: World) -> list[int]:
    """Ann: 2026, 2027 twice. Bob: 2026 only. Cleo: new in 2027, once. Dan: 2026, and 2027 once. Eva never bought."""
    ann, bob, cleo, dan, eva = world.people(5, consents=None)
    for who, day, euros in (
        (ann, "2026-06-01", 100), (ann, "2027-03-01", 60), (ann, "2027-03-01", 20), (ann, "2027-09-01", 40),
        (bob, "2026-03-01", 500), (cleo, "2027-05-10", 90), (dan, "2026-11-01", 10), (dan, "2027-01-02", 30),
    ):  # fmt: skip
        bought(world, who, day, euros)
    return [ann, bob, cleo, dan, eva]


def test_customers_by_hand(world: World) -> None:
    shop(world)
    refresh(world.store, now=world.now)
    found = report(world)
    assert found.total.units == 5
    # Active on 1 January 2027: Ann, Bob, Dan. Bob has not bought since; Dan has, on 2 January.
    assert said(found, "churn_rate") == (pytest.approx(1 / 3), 3)
    assert said(found, "retention_rate") == (pytest.approx(2 / 3), 3)
    # Bought in 2027: Ann (three orders on two days), Cleo (one), Dan (one). On another day too: Ann, Dan.
    assert said(found, "repeat_rate") == (pytest.approx(2 / 3), 3)
    assert said(found, "purchase_frequency") == (pytest.approx(5 / 3), 3)
    assert said(found, "order_value") == (pytest.approx(24_000 / 5), 5)
    assert found.total.new == 1  # Cleo
    figure = found.figures()["churn_rate"]
    assert figure.of == 1 and (figure.low, figure.high) == pytest.approx(metrics.wilson(1, 3))
    assert (found.total.active, found.total.active_spent) == (3, 24_000)  # Cleo is new
    # Lifespans at 31 December: Ann 578 days, Dan 425, both active; Cleo, and Bob who is gone, a year.
    lifespan = (578 / 365.25 + 425 / 365.25 + 1 + 1) / 4
    yearly = (22_000 / (578 / 365.25) + 4_000 / (425 / 365.25) + 9_000 + 50_000) / 4
    assert said(found, "value_by_year") == (pytest.approx(yearly * lifespan / 2), 4)
    assert said(found, "value_by_parts") == (pytest.approx(24_000 / 3 * lifespan / 2), 3)
    # Too few for a model: half of what each active one spent a year until 15 January 2028. Of Bob and Dan, who have not
    # bought for a year by then, nothing is expected; Eva is no customer.
    spent = 22_000 / (593 / 365.25) + 9_000
    value, n = said(found, "expected_value")
    assert n == 4 and value == pytest.approx(spent / 2 / 4, abs=1)


def test_refunds_by_hand(world: World) -> None:
    """Of Ann's 220 EUR, of which 120 in 2027, 55 went back in 2027, a quarter; of Dan's 40, 10 in 2028: too late."""
    ann, _, _, dan, _ = shop(world)
    for who, at, euros in ((ann, "2027-10-01T10:00", 55), (dan, "2028-01-03T10:00", 10)):
        event(world, "gave_back", at, customer=who, order_id="o", amount=euros * 100, amount_currency="EUR")
    found = report(world)
    assert said(found, "order_value") == (pytest.approx(24_000 / 5), 5)  # before refunds
    lifespan = (578 / 365.25 + 425 / 365.25 + 1 + 1) / 4
    yearly = (16_500 / (578 / 365.25) + 4_000 / (425 / 365.25) + 9_000 + 50_000) / 4
    assert said(found, "value_by_year") == (pytest.approx(yearly * lifespan / 2), 4)
    assert said(found, "value_by_parts") == (pytest.approx((9_000 + 9_000 + 3_000) / 3 * lifespan / 2), 3)
    assert found.total.active_spent == pytest.approx(9_000 + 9_000 + 3_000)


def test_groups_add_up_to_the_whole(world: World) -> None:
    ann, bob, *_ = shop(world)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id.in_([ann, bob])).values(tier="gold"))
    refresh(world.store, now=world.now)
    tiers = report(world, by="tier")
    assert {name: tally.units for name, tally in tiers.groups.items()} == {"b2c gold": 2, "b2c silver": 3}
    assert said(tiers, "churn_rate", "b2c gold") == (0.5, 2)
    assert said(tiers, "churn_rate", "b2c silver") == (0, 1)
    bands = report(world, by="band")
    assert {name: tally.units for name, tally in bands.groups.items()} == {
        "top": 1, "small": 1, "inactive": 2, "prospect": 1,
    }  # fmt: skip
    cohorts = report(world, by="cohort", size="quarter")
    assert {name: tally.units for name, tally in cohorts.groups.items()} == {
        "2026-Q1": 1, "2026-Q2": 1, "2026-Q4": 1, "2027-Q2": 1, "–": 1,
    }  # fmt: skip
    for found in (tiers, bands, cohorts, report(world, by="class")):
        for name in ("units", "buyers", "orders", "spent", "active_before", "kept", "new"):
            assert sum(getattr(tally, name) for tally in found.groups.values()) == getattr(found.total, name)
    assert report(world, only=Only(tier="gold")).total.units == 2
    assert report(world, only=Only(band="top")).total.units == 1
    assert report(world, only=Only(cohort=metrics.period("2026"))).total.units == 3
    assert report(world, only=Only(class_name="b2b")).total.units == 0


def test_cohorts_by_hand(world: World) -> None:
    shop(world)
    found = {c.name: c for c in report(world, size="quarter").cohorts}
    assert [(c.n, [f.of for f in c.cells]) for c in found.values()] == [
        (1, [1, 0, 0, 0, 0, 0, 0, 0]),  # Bob
        (1, [1, 0, 0, 1, 0, 1, 0]),  # Ann: the second quarter of 2026, then 2027's first and third
        (1, [1, 1, 0, 0, 0]),  # Dan
        (1, [1, 0, 0]),  # Cleo
    ]
    assert list(found) == ["2026-Q1", "2026-Q2", "2026-Q4", "2027-Q2"]
    years = {c.name: [f.value for f in c.cells] for c in report(world, size="year").cohorts}
    assert years == {"2026": [1, pytest.approx(2 / 3)], "2027": [1]}
    only = report(world, size="month", only=Only(cohort=metrics.period("2027-05"))).cohorts
    assert [c.name for c in only] == ["2027-05"]


def test_answers_by_hand(world: World) -> None:
    ann, bob, cleo, dan, _ = shop(world)
    for who, at, score in ((ann, "2027-02-01T10:00", 2), (ann, "2027-08-01T10:00", 9), (bob, "2027-02-01T10:00", 6),
                           (cleo, "2027-02-01T10:00", 8), (dan, "2026-12-30T10:00", 0)):  # fmt: skip
        event(world, "survey_answered", at, customer=who, survey="happy", score=score, how=score)
    days = {date(2027, 6, 1): 10, date(2027, 6, 2): 10, date(2027, 6, 3): 3, date(2026, 6, 1): 0}
    secret = [(n, "secret", day, {"how": score}) for n, (day, score) in enumerate(days.items(), 1)]
    with world.store.write() as conn:
        insert_many(conn, t.survey_answer, secret, columns=("id", "survey", "day", "answers"))
    found = report(world)
    # Ann's latest is 9, Bob 6, Cleo 8; nameless 10, 10, 3: three promoters, two detractors of six.
    assert said(found, "nps") == (pytest.approx(100 / 6), 6)
    assert said(report(world, only=Only(class_name="b2c")), "nps") == (0, 3)  # whose the others are nobody knows


def test_companies_by_hand(world: World) -> None:
    def deal(account_id: int, key: str, begins: str, ends: str) -> None:
        fields = {"worth": 100_000, "worth_currency": "EUR", "begins": begins, "ends": ends}
        add(world, t.record, type="deal", key=key, account_id=account_id, fields=fields, created_at=NOW, updated_at=NOW)

    nord, sued, ost, west = (
        add(world, t.account, key=key, **{"class": "b2b"}, attributes={}, created_at=NOW, updated_at=NOW)
        for key in ("nord", "sued", "ost", "west")
    )
    deal(nord, "n", "2027-07-01", "2028-06-30")  # renewed in June 2027
    event(world, "deal_renewed", "2027-06-20T10:00", account=nord, deal_id="n")
    deal(sued, "s", "2026-04-01", "2027-03-31")  # ended without a word
    deal(ost, "o", "2026-10-01", "2027-09-30")
    event(world, "deal_cancelled", "2027-08-01T10:00", account=ost, deal_id="o")
    deal(west, "w", "2027-05-01", "2028-04-30")  # new
    found = report(world)
    assert said(found, "renewal_rate") == (pytest.approx(1 / 3), 3)
    assert said(found, "churn_rate") == (pytest.approx(2 / 3), 3)  # Süd and Ost; West was not there at the start
    assert found.total.new == 1
    assert said(report(world, Period(date(2027, 1, 1), date(2027, 5, 31))), "renewal_rate") == (0, 1)
    # 1,000 EUR a term. Nord's earlier one, of 366 days as well, is taken to have ended on 20 June 2027, when it was
    # told to go on: it began on 20 June 2026, 560 days until 31 December. Süd and Ost had a year each; West 245 days.
    nord_a_day, west_a_day = 100_000 / 366, 100_000 / 366
    yearly = (nord_a_day * 365 + 2 * 100_000 + west_a_day * 365) / 4
    lifespan = (559 / 365.25 + 1 + 1 + 1) / 4
    assert said(found, "value_by_year") == (pytest.approx(yearly * lifespan / 2), 4)
    # In 2027: Nord all year, Süd 90 days, Ost 273, West 245.
    lately = nord_a_day * 365 + (90 + 273) * 100_000 / 365 + west_a_day * 245
    assert said(found, "value_by_parts") == (pytest.approx(lately / 4 * lifespan / 2), 4)
    # A third was kept; Nord and West run at the end. Nobody ever bought.
    what = metrics.what_ifs(found.total, report(world, by="class").groups, 0.05, 365, found.margin)
    assert (what.active, list(what.classes)) == (2, ["b2b"])
    one = what.classes["b2b"]
    assert one.retention == pytest.approx(1 / 3) and one.yearly == pytest.approx(100_000 * 365 / 366)
    assert what.revenue == pytest.approx(2 / 3 * one.yearly) and one.value == pytest.approx(one.yearly / 2 * 1.5)


def test_costs_by_hand(world: World) -> None:
    shop(world)
    force = world.apply({"journeys/workspace.yaml": DECLARED + PROGRAM})
    rows = [
        {"kind": "acquisition", "since": "2027-01-01", "until": "2027-12-31", "amount": "100 EUR", "class": "b2c"},
        {"kind": "acquisition", "since": "2026-07-01", "until": "2027-06-30", "amount": "365 EUR"},
        {"kind": "retention", "since": "2027-02-01", "until": "2027-02-28", "amount": "50 EUR"},
        {"kind": "retention", "since": "2027-02-01", "until": "2027-02-28", "amount": "50 CHF", "class": "b2c"},
        {"kind": "retention", "since": "2027-02-01", "until": "2027-01-28", "amount": "50 EUR"},
        {"kind": "luck", "since": "2027-02-01", "until": "2027-02-28", "amount": "50 EUR"},
        {"kind": "retention", "since": "2027-02-01", "until": "2027-02-28"},
    ]

    def imported() -> tuple[int, int, int, int]:
        done = import_rows(world.store, world.keys, force.vocabulary, "costs", rows, now=world.now)
        return done.inserted, done.updated, done.unchanged, done.quarantined

    assert imported() == (4, 0, 0, 3)
    assert imported() == (0, 0, 4, 3)
    rows[2]["amount"] = "60 EUR"
    assert imported() == (0, 1, 3, 3)
    found = report(world)
    # 100 EUR and 181 of the 365 days of 2026/27 that lie in 2027; one new customer (Cleo), two kept (Ann, Dan).
    assert said(found, "acquisition_cost") == (pytest.approx(10_000 + 18_100), 1)
    assert said(found, "retention_cost") == (pytest.approx(3_000), 2)
    assert found.figures()["spending_ratio"].value == pytest.approx(6_000 / 28_100)
    assert any("CHF" in note for note in found.notes)
    assert said(report(world, by="class"), "acquisition_cost", "b2c") == (pytest.approx(10_000), 1)
    assert said(report(world, by="tier"), "acquisition_cost", "b2c silver") == (None, 0)
    what = metrics.what_if(found.total, 0.05, 365, found.margin)  # Ann, Cleo and Dan are active at the end
    assert not isinstance(what, str)
    assert what.retention == pytest.approx(2 / 3) and what.saved == pytest.approx(3 * 0.05 * 28_100)
    assert what.yearly == pytest.approx(24_000 / 3)


def test_members_by_hand(world: World) -> None:
    ann, bob, cleo, dan, eva = shop(world)
    with world.store.write() as conn:
        for who, state in ((ann, "active"), (bob, "active"), (cleo, "lapsed")):
            conn.execute(t.loyalty.insert().values(unit="customer", unit_id=who, member=state, updated_at=NOW))
    at = datetime(2027, 4, 1, tzinfo=UTC)
    for who, then in ((ann, at), (bob, at - timedelta(days=365)), (cleo, at)):
        add(world, t.point_entry, key=f"p{who}", unit="customer", unit_id=who, kind="earn", points=5, at=then,
            received_at=then, active_at=then)  # fmt: skip
    for n, (who, whom, state) in enumerate(((ann, eva, "converted"), (ann, dan, "pending"), (bob, ann, "refused"))):
        add(world, t.referral, key=f"r{n}", **{"class": "b2c"}, unit="customer", unit_id=who,
            referred_unit="customer", referred_id=whom, state=state, at=at)  # fmt: skip
    for who, kind, when in ((ann, "course_begun", "2027-02-01T10:00"), (ann, "course_done", "2027-03-01T10:00"),
                            (bob, "course_begun", "2027-02-01T10:00"), (cleo, "course_done", "2027-02-01T10:00"),
                            (dan, "course_begun", "2027-02-02T10:00"), (dan, "course_done", "2027-02-01T10:00"),
                            (eva, "course_begun", "2026-02-01T10:00")):  # fmt: skip
        event(world, kind, when, customer=who, course="a")
    found = report(world)
    assert said(found, "membership") == (pytest.approx(2 / 5), 5)
    assert said(found, "participation") == (pytest.approx(1 / 2), 2)
    assert said(found, "advocacy") == (pytest.approx(1 / 4), 4)  # Ann, of all who ever bought
    assert said(found, "training") == (pytest.approx(1 / 3), 3)  # Ann, of Ann, Bob and Dan


def test_journeys_by_hand(world: World) -> None:
    """Ten runs on 1 May and two held out. Of the ten, four buy within 30 days (one of them twice, one too cheaply to
    count, one too late); before their entry one had bought. Of the two held out one buys."""
    people = world.people(13, consents=None)
    entered = datetime(2027, 5, 1, 12, tzinfo=UTC)
    version = world.one(sa.select(t.document.c.hash).where(t.document.c.name == "hello"))
    for n, who in enumerate(people):
        begun = entered if n < 12 else NOW - timedelta(days=5)  # the last one's time is not over
        held = n in (10, 11)
        event(world, "signed_up", "2027-04-30T10:00", customer=who, source="web")
        row = {"journey": "hello", "version": version, "unit": "customer", "unit_id": who, "customer_id": who,
               "run_key": f"r{n}", "live_key": None, "entered_at": begun, "since": begun, "ended_at": begun,
               "ended_because": "holdout" if held else "completed"}  # fmt: skip
        run = add(world, t.enrollment, **row)
        if not held and n < 10:
            batch = add(world, t.batch, medium="email", purpose="marketing", priority=50, due_at=begun, size=1)
            told = add(world, t.message, batch_id=batch, enrollment_id=run, journey="hello", step="email:hello",
                       visit=0, addressee="customer", addressee_id=who, customer_id=who, medium="email",
                       template="hello", topic="offers", purpose="marketing", priority=50, state="sent",
                       planned_at=begun, due_at=begun)  # fmt: skip
            with world.store.write() as conn:
                conn.execute(t.reservation.insert().values(
                    message_id=told, customer_id=who, medium="email", topic="offers", purpose="marketing", at=begun,
                    dedupe_key=str(n), cost=200_000, day="2027-05-01"))  # fmt: skip
    for n, day, euros in ((0, "2027-05-02", 10), (0, "2027-05-20", 10), (1, "2027-05-30", 20), (2, "2027-05-31", 30),
                          (3, "2027-05-10", 40), (4, "2027-05-10", 5), (5, "2027-06-02", 90), (6, "2027-04-20", 70),
                          (10, "2027-05-05", 15)):  # fmt: skip
        bought(world, people[n], day, euros)
    found = report(world)
    [tally] = found.journeys
    assert (tally.runs, tally.reached, tally.before, tally.held, tally.held_reached) == (10, 4, 1, 2, 1)
    assert (tally.cost, tally.value, tally.held_value) == (200.0, 11_000, 1_500)
    figures = found.of_journeys()["hello"]
    assert figures["lift"].value == pytest.approx(0.4 - 0.5)
    assert (figures["lift"].low, figures["lift"].high) == pytest.approx(
        (metrics.difference(4, 10, 1, 2).low, metrics.difference(4, 10, 1, 2).high)
    )
    assert figures["return_on_cost"].value == pytest.approx((11_000 * 0.5 - 200) / 200)
    assert figures["lifted_return"].value == pytest.approx(((11_000 - 10 * 750) * 0.5 - 200) / 200)


def test_nothing_happened(world: World) -> None:
    found = report(world)
    assert all(figure.value is None and figure.n == 0 for figure in found.figures().values())
    assert found.journeys == () and found.cohorts == ()


def test_statements_do_not_grow(world: World) -> None:
    def cost() -> int:
        with Statements(world.store.engine) as seen:
            report(world, by="tier")
        return seen.count

    shop(world)
    few = cost()
    for one in world.people(40, consents=None):
        bought(world, one, "2027-02-01", one)
    assert cost() == few
