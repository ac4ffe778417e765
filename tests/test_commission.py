"""Commission of partners: whose sales, by which share, refunds, each once; the statement of a period."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.store import referrals
from orchestrator.store import tables as t
from tests.playing import Game, game, migrated_file, migrated_url, on_sqlite, snapshot  # noqa: F401
from tests.test_referral import claim, code_of

PROGRAM = """
b2c:
  refunds: [ returned takes back bought by order_id of refund, cancelled takes back bought by order_id ]
partner:
  thresholds: { registered: 0, silver: 2, gold: 10 }
  tier_by: "count(referral_converted where side == 'referrer', 365 days)"
  referral: { converts_on: bought, code: per account }
  commission: { share: 5% of bought.amount, tiers: { silver: 7.5%, gold: 10% } }
"""


@pytest.fixture
def both(migrated_url: str, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    with game(migrated_url, tmp_path, PROGRAM) as found:
        found.look()
        yield found


@pytest.fixture
def found(migrated_file: Path, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    with on_sqlite(migrated_file, tmp_path, PROGRAM) as found:
        found.look()
        yield found


def lines(found: Game) -> list[tuple[int, int, str]]:
    c = t.commission.c
    return [tuple(row) for row in found.rows(sa.select(c.account_id, c.amount, c.currency).order_by(c.id))]


def buys(found: Game, who: int, order: str, amount: int, currency: str = "EUR", at: datetime | None = None) -> None:
    found.tell("bought", who, at=at, order_id=order, amount=amount, amount_currency=currency)


def test_a_share_of_what_those_bring_in_whom_the_partner_brought(both: Game):
    found = both
    agency = found.company("agency", "partner", tier="registered")
    ann, stranger = found.people(2, consents=None)
    buys(found, ann, "before", 100)
    found.look()
    found.pass_time(hours=1)
    bob = found.person()
    claim(found, code_of(found, "account", agency), bob)
    found.pass_time(hours=1)
    buys(found, bob, "o1", 10_010)
    buys(found, bob, "o2", 999, "USD")
    buys(found, bob, "free", 0)
    buys(found, stranger, "o3", 10_000)
    found.look()
    assert lines(found) == [(agency, 501, "EUR"), (agency, 50, "USD")]  # 500.5 and 49.95, halves up
    told = [(e.account_id, e.customer_id, e.properties["amount"]) for e in found.events("commission_earned")]
    assert told == [(agency, None, 501), (agency, None, 50)]
    before = snapshot(found)
    found.pass_time(hours=1)
    found.look()
    assert snapshot(found) == before


def test_by_the_tier_that_the_partner_has(found: Game):
    agency = found.company("agency", "partner", tier="silver")
    bob = found.person(partner_id=agency)
    buys(found, bob, "o1", 1_000)
    found.look()
    assert lines(found) == [(agency, 75, "EUR")]


def test_end_customers_are_their_partner_s_and_who_brought_comes_first(both: Game):
    found = both
    one, two = found.company("one", "partner"), found.company("two", "partner")
    firm = found.company("firm", "b2b", partner_id=two)
    ann = found.person(partner_id=one)
    bob = found.person(**{"class": "b2b", "account_id": firm})
    cem = found.person(partner_id=one)
    claim(found, code_of(found, "account", two), cem)
    own = found.person(**{"class": "partner", "account_id": one, "partner_id": one})
    found.pass_time(hours=1)
    for who, order in ((ann, "a"), (bob, "b"), (cem, "c"), (own, "d")):
        buys(found, who, order, 1_000)
    found.look()
    assert sorted(lines(found)) == [(one, 50, "EUR"), (two, 50, "EUR"), (two, 50, "EUR")]


def test_refunds_take_their_share_and_no_more(both: Game):
    found = both
    agency = found.company("agency", "partner")
    bob = found.person(partner_id=agency)
    buys(found, bob, "o1", 10_000)
    found.look()
    found.pass_time(days=1)
    for refund in (2_500, 5_000):
        found.tell("returned", bob, order_id="o1", refund=refund, refund_currency="EUR")
    found.look()
    assert [amount for _, amount, _ in lines(found)] == [500, -125, -250]
    found.pass_time(days=1)
    found.tell("cancelled", bob, order_id="o1")  # and all that is left
    found.tell("returned", bob, order_id="o1", refund=9_000, refund_currency="EUR")
    found.look()
    assert sum(amount for _, amount, _ in lines(found)) == 0
    before = snapshot(found)
    found.look()
    assert snapshot(found) == before


def test_a_refund_that_comes_before_its_order(found: Game):
    agency = found.company("agency", "partner")
    bob = found.person(partner_id=agency)
    found.tell("returned", bob, order_id="o1", refund=1_000, refund_currency="EUR")
    found.look()
    buys(found, bob, "o1", 2_000, at=found.now - timedelta(hours=1))
    found.pass_time(minutes=1)
    found.look()
    assert [amount for _, amount, _ in lines(found)] == [100, -50]


def test_what_was_bought_before_the_referral_was_told_counts_from_the_referral_on(found: Game):
    agency = found.company("agency", "partner")
    bob = found.person()
    code, then = code_of(found, "account", agency), found.now
    found.pass_time(hours=1)
    buys(found, bob, "o1", 1_000)
    found.look()
    assert claim(found, code, bob, at=then) == ("pending", "")
    found.pass_time(hours=1)
    found.look()
    assert lines(found) == [(agency, 50, "EUR")]


def test_the_statement_of_a_period_by_the_workspace_s_clock(found: Game):
    agency = found.company("agency", "partner", name="The Agency")
    bob = found.person(partner_id=agency)
    found.now = datetime(2027, 4, 2, tzinfo=UTC)
    buys(found, bob, "o1", 10_000, at=datetime(2027, 3, 31, 21, 59, tzinfo=UTC))  # 23:59 in Berlin
    buys(found, bob, "o2", 20_000, at=datetime(2027, 3, 31, 22, 1, tzinfo=UTC))
    found.tell("cancelled", bob, order_id="o1")
    found.look()
    quarter = datetime(2027, 3, 31, 22, tzinfo=UTC)
    with found.store.read() as conn:
        first = referrals.statements(conn, datetime(2026, 12, 31, 23, tzinfo=UTC), quarter)
        second = referrals.statements(conn, quarter, datetime(2027, 6, 30, 22, tzinfo=UTC))
    assert [(s.partner, s.sales, s.earned, s.taken_back, s.total) for s in first] == [("agency", 1, 500, 0, 500)]
    assert [(s.name, s.sales, s.earned, s.taken_back, s.total) for s in second] == [("The Agency", 1, 1_000, -500, 500)]


def test_partners_rise_by_how_many_they_brought_within_a_year(found: Game):
    agency = found.company("agency", "partner")
    code = code_of(found, "account", agency)
    for n in range(2):
        bob = found.person()
        claim(found, code, bob)
        buys(found, bob, f"o{n}", 1_000)
    for _ in range(2):
        found.pass_time(minutes=5)
        found.look()
    assert found.one(sa.select(t.account.c.tier).where(t.account.c.id == agency)) == "silver"
