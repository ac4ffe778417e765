"""Points on both databases: earned by rules, pending, expiring, taken back, awarded, spent, moved by a merge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.condition import Scope, parse_expression
from orchestrator.earn import MOST, Award, worth_of
from orchestrator.ingest import record_events
from orchestrator.problems import Problems, Span
from orchestrator.program import EarnRule
from orchestrator.store import insert_ids
from orchestrator.store import tables as t
from orchestrator.store.merging import merge
from orchestrator.store.people import TierChange, add_tier_changes
from orchestrator.store.points import Deed, foreign
from tests.outgoing import NOON, Statements
from tests.points_world import PROGRAM, Shop


@pytest.fixture
def shop(migrated_url: str) -> Iterator[Shop]:
    made = Shop(migrated_url)
    yield made
    made.close()


# ---- earned ---------------------------------------------------------------------------------------------------------


def test_points_for_each_full_euro(shop: Shop):
    ann, bob = shop.world.people(2)
    shop.buys(ann, 12_099)
    shop.buys(bob, 99)
    shop.buys(bob, -500)
    assert shop.look() == 1
    assert shop.points(ann) == (120, 0) and shop.points(bob) == (0, 0)
    row = shop.row(ann)
    assert (row.points_earned, row.points_expiring, row.points_expire_on) == (120, 120, date(2027, 4, 1))


def test_a_second_look_adds_nothing(shop: Shop):
    [ann] = shop.world.people(1)
    shop.buys(ann, 5_000, "a")
    shop.happens(ann, "reviewed", stars=5)
    shop.returns(ann, 2_000, "a")
    assert shop.look() == 3
    assert shop.look() == 0 and shop.look_again() == 0
    assert shop.points(ann) == (80, 0)


def test_a_look_tells_how_many_points_it_was(shop: Shop):
    ann, bob = shop.world.people(2)
    shop.buys(ann, 5_000, "a")
    shop.buys(bob, 2_000)
    assert accrue(shop.store, now=shop.now).done == {"points_earned": 70}
    assert accrue(shop.store, now=shop.now).done == {}
    shop.go(1)
    shop.returns(ann, 1_000, "a")
    assert accrue(shop.store, now=shop.now).done == {"points_taken_back": 10}
    shop.go(32)
    assert accrue(shop.store, now=shop.now).done == {"points_expired": 60}


def test_money_of_another_currency_earns_nothing(shop: Shop):
    [ann] = shop.world.people(1)
    shop.buys(ann, 5_000, currency="USD")
    assert shop.look() == 0


def test_an_amount_beyond_everything_does_not_hold_up_the_others(migrated_url: str):
    shop = Shop(migrated_url, PROGRAM.replace("- 1 per 1 EUR of", "- 900000000 per 0.01 EUR of"))
    ann, bob = shop.world.people(2)
    shop.buys(ann, 10**17)
    shop.buys(bob, 1)
    shop.award(*(Award(f"k{n}", "customer", ann, 9 * 10**18) for n in range(3)))
    assert shop.look() == 2
    assert shop.points(ann) == (4 * MOST, 0) and shop.points(bob) == (900_000_000, 0)
    shop.close()


def test_a_number_beyond_everything_is_worth_the_most():
    rule = EarnRule("r", "", Decimal(3), "visited", "minutes")
    assert 0 < worth_of(rule, Deed(1, 1, 1, NOON, 1e300, None)) <= 3 * MOST


def test_at_most_so_often(shop: Shop):
    [ann] = shop.world.people(1)
    for ago in (40, 35, 5, 4):
        shop.happens(ann, "reviewed", ago=ago, stars=5)
    assert shop.look() == 3 and shop.points(ann) == (50, 0)  # those of 40 and 5 days ago; the first has expired
    shop.go(2)
    shop.happens(ann, "reviewed", ago=20, stars=5)  # late, and too near to one that has its points
    shop.happens(ann, "reviewed", stars=5)
    shop.look()
    assert [kind for kind, _ in shop.ledger()].count("earn") == 2
    assert shop.look_again() == 0
    shop.go(26)
    shop.happens(ann, "reviewed", stars=5)
    assert shop.look() == 2 and shop.points(ann) == (50, 0)  # a month after the other, which expires


def test_pending_points_become_active_without_an_entry(shop: Shop):
    [ann] = shop.world.people(1)
    shop.happens(ann, "visited", place="town")
    shop.look()
    assert shop.points(ann) == (0, 20)
    assert shop.award(Award("s", "customer", ann, 10, "spend")) == ()
    shop.go(14)
    assert shop.look() == 0 and shop.points(ann) == (20, 0)
    assert shop.row(ann).points_expire_on == date(2027, 4, 15)  # a month from the day on which they became active
    assert len(shop.ledger()) == 1


def test_the_multiplier_is_of_the_tier_one_was_in(shop: Shop):
    ann, bob = shop.world.people(2)
    dinner: dict[str, Any] = {"amount": 1_999, "amount_currency": "EUR"}
    shop.go(1)
    with shop.store.write() as conn:
        add_tier_changes(conn, [TierChange("customer", ann, "b2c", "silver", "gold", "up")], shop.now)
        conn.execute(sa.update(t.customer).where(t.customer.c.id == ann).values(tier="gold"))
    shop.happens(ann, "dined", ago=1, **dinner)
    shop.happens(ann, "dined", **dinner)
    shop.happens(bob, "dined", **dinner)
    shop.look()
    assert shop.points(ann) == (15, 0) and shop.points(bob) == (5, 0)


def company(shop: Shop, **columns: Any) -> int:
    row = {"key": "nord", "class": "b2b", "name": "Nord", "attributes": {}, "created_at": NOON, "updated_at": NOON}
    with shop.store.write() as conn:
        return int(insert_ids(conn, t.account, [row | columns])[0][0])


def test_what_a_contact_does_is_the_accounts(shop: Shop):
    nord = company(shop)
    ann, bob = shop.world.people(2, account_id=nord, **{"class": "b2b"})
    shop.buys(ann, 1_000)
    shop.buys(bob, 500)
    shop.look()
    assert shop.points(nord, "account") == (30, 0) and shop.row(ann) is None


def test_what_a_contact_does_whose_points_are_her_own_is_not_the_accounts_too(migrated_url: str):
    asked = (
        '2 per 1 EUR of bought.amount where order_id != "x"\n    refunds: [ cancelled takes back bought by order_id ]'
    )
    shop = Shop(migrated_url, PROGRAM.replace("2 per 1 EUR of bought.amount", asked))
    nord = company(shop)
    [ann] = shop.world.people(1, account_id=nord)
    [bob] = shop.world.people(1, account_id=nord, **{"class": "b2b"})
    shop.buys(ann, 1_000, "a")
    shop.buys(bob, 500, "b")
    shop.buys(ann, 700, currency="USD")
    amount = {"order_id": "c", "amount": 300, "amount_currency": "EUR"}
    row = {"type": "bought", "key": "k", "customer_id": None, "account_id": nord, "occurred_at": NOON}
    with shop.store.write() as conn:
        record_events(conn, [row | {"properties": amount}], now=NOON)
    assert shop.look() == 3
    assert shop.points(ann) == (10, 0) and shop.points(nord, "account") == (16, 0)
    with shop.store.read() as conn:
        assert foreign(conn, shop.project) == [("1 per 1 EUR of bought.amount", "USD", 1)]
    # What an account has earned is taken back from the account, whatever class the customer is of by then.
    with shop.store.write() as conn:
        conn.execute(sa.update(t.customer).where(t.customer.c.id == bob).values({"class": "b2c"}))
    shop.happens(bob, "cancelled", order_id="b")
    shop.happens(ann, "cancelled", order_id="a")
    assert shop.look() == 2 and shop.points(ann) == (0, 0)
    assert shop.points(nord, "account") == (6, 0) and shop.points(bob) == (0, 0)
    shop.close()


# ---- expiry ---------------------------------------------------------------------------------------------------------


def test_they_expire_at_the_units_own_midnight(shop: Shop):
    ann, bob = shop.world.people(1) + shop.world.people(1, timezone="America/Los_Angeles")
    shop.buys(ann, 1_000)
    shop.buys(bob, 1_000)
    shop.look()
    shop.go(31 + 11 / 24)  # 1 April, a minute of UTC after Berlin's midnight: 22:00 UTC
    assert shop.look() == 1 and shop.points(ann) == (0, 0) and shop.points(bob) == (10, 0)
    shop.go(31 + 20 / 24)
    assert shop.look() == 1 and shop.points(bob) == (0, 0)
    told = shop.world.rows(
        sa.select(t.event.c.properties, t.event.c.occurred_at).where(t.event.c.type == "points_expired")
    )
    assert [r.properties for r in told] == [{"points": 10}, {"points": 10}]
    assert [r.occurred_at.isoformat() for r in told] == ["2027-04-01T22:00:00+00:00", "2027-04-02T07:00:00+00:00"]
    shop.go(60)
    assert shop.look() == 0


def test_a_spend_behind_the_expiry_finds_nothing_though_nobody_looked(shop: Shop):
    [ann] = shop.world.people(1)
    shop.buys(ann, 1_000)
    shop.look()
    shop.go(32)
    assert shop.award(Award("s", "customer", ann, 10, "spend")) == ()
    assert shop.ledger() == [("earn", 10), ("expire", -10)]


def test_who_moves_east_loses_them_in_time(shop: Shop):
    [ann] = shop.world.people(1, timezone="America/Los_Angeles")
    shop.buys(ann, 1_000)
    shop.look()
    shop.go(20)
    with shop.store.write() as conn:
        conn.execute(sa.update(t.customer).values(timezone="Asia/Tokyo", updated_at=shop.now))
    shop.look()
    assert shop.row(ann).points_due.isoformat() == "2027-04-01T15:00:00+00:00"


def moves(shop: Shop, table: sa.Table, unit_id: int, zone: str | None) -> None:
    with shop.store.write() as conn:
        mine = sa.update(table).where(table.c.id == unit_id)
        conn.execute(mine.values(timezone=zone, updated_at=shop.now))


def test_who_moves_with_her_company_loses_them_in_time(shop: Shop):
    nord = company(shop, timezone="America/Los_Angeles")
    [ann] = shop.world.people(1, account_id=nord, timezone=None)
    [own] = shop.world.people(1, account_id=nord, timezone="America/Los_Angeles")
    shop.buys(ann, 1_000)
    shop.buys(own, 1_000)
    shop.look()
    shop.go(20)
    moves(shop, t.account, nord, "Asia/Tokyo")
    assert shop.check() == []  # the next look counts it
    shop.go(20.1)
    shop.look()
    assert shop.row(ann).points_due.isoformat() == "2027-04-01T15:00:00+00:00"
    assert shop.row(own).points_due.isoformat() == "2027-04-02T07:00:00+00:00"
    shop.go(20.2)
    assert shop.check() == []


@pytest.mark.parametrize("how", ["of her own", "her company", "into a company"])
def test_who_moves_west_keeps_them_until_midnight_there_and_nothing_differs(shop: Shop, how: str):
    zone = "America/Los_Angeles" if how == "into a company" else "Asia/Tokyo"
    nord = company(shop, timezone=zone)
    [ann] = shop.world.people(1, timezone="Asia/Tokyo" if how == "of her own" else None)
    with shop.store.write() as conn:
        if how == "her company":
            conn.execute(sa.update(t.customer).values(account_id=nord))
        else:
            conn.execute(sa.update(t.customer).values(timezone="Asia/Tokyo"))
    shop.buys(ann, 1_000)
    shop.look()
    due = shop.row(ann).points_due
    assert due.isoformat() == "2027-04-01T15:00:00+00:00"
    shop.go(20)
    if how == "her company":
        moves(shop, t.account, nord, "America/Los_Angeles")
    else:
        moves(shop, t.customer, ann, "America/Los_Angeles" if how == "of her own" else None)
        with shop.store.write() as conn:
            conn.execute(sa.update(t.customer).values(account_id=nord))
    for day in (20, 20.1, 20.2):
        shop.go(day)
        assert shop.check() == []
        shop.look()
    assert shop.row(ann).points_due == due  # sooner than need be, and then once more
    shop.world.now = due
    assert shop.look() == 0 and shop.points(ann) == (10, 0)
    assert shop.row(ann).points_due.isoformat() == "2027-04-02T07:00:00+00:00" and shop.check() == []
    shop.go(32)
    assert shop.look() == 1 and shop.points(ann) == (0, 0)


def test_who_would_be_looked_at_too_late_is_named(shop: Shop):
    [ann] = shop.world.people(1)
    shop.buys(ann, 1_000)
    shop.look()
    shop.go(1)
    shop.look()
    with shop.store.write() as conn:
        conn.execute(sa.update(t.loyalty).values(points_due=NOON + timedelta(days=40)))
    assert {(d.unit_id, d.column) for d in shop.check()} == {(ann, "points_due")}
    moves(shop, t.customer, ann, "Europe/Paris")
    with shop.store.write() as conn:
        conn.execute(sa.update(t.loyalty).values(points=11))
    assert {d.column for d in shop.check()} >= {"total", "points"}  # what hangs on no zone is proved meanwhile
    with shop.store.write() as conn:
        conn.execute(sa.update(t.loyalty).values(points=10))
    shop.go(2)
    shop.look()


# ---- refunds --------------------------------------------------------------------------------------------------------


def test_a_refund_takes_back_its_share(shop: Shop):
    cases = [
        ([9_999], 0),
        ([3_333, 3_333, 3_333], 0),
        ([5_050], 49),
        ([5_050, 5_050], 0),
        ([1], 98),
        ([20_000, 20_000], 0),
    ]
    people = shop.world.people(len(cases), consents=None)
    for who in people:
        shop.buys(who, 9_999, "a")
        shop.buys(who, 100, "b")
    for n in range(3):
        for who, (parts, _) in zip(people, cases, strict=True):
            if n < len(parts):
                shop.returns(who, parts[n], "a")
        shop.look()
    for who, (_, left) in zip(people, cases, strict=True):
        assert shop.points(who) == (left + 1, 0)
        assert shop.row(who).points_earned == left + 1


def test_a_refund_before_its_order(shop: Shop):
    ann, bob = shop.world.people(2)
    shop.returns(ann, 2_500, "a")
    shop.look()
    assert shop.ledger() == []
    shop.buys(ann, 10_000, "a")
    shop.buys(bob, 10_000, "a")  # the same number of another customer: nothing to do with it
    shop.look()
    assert shop.points(ann) == (75, 0) and shop.points(bob) == (100, 0)


def test_a_cancellation_behind_a_part_takes_the_rest(shop: Shop):
    [ann] = shop.world.people(1)
    shop.buys(ann, 10_000, "a")
    shop.returns(ann, 2_500, "a")
    shop.look()
    shop.happens(ann, "cancelled", order_id="a")
    shop.happens(ann, "cancelled", order_id="a")
    shop.look()
    assert shop.ledger() == [("earn", 100), ("reverse", -25), ("reverse", -75)]


def test_a_refund_in_another_currency_takes_nothing(shop: Shop):
    [ann] = shop.world.people(1)
    shop.buys(ann, 10_000, "a")
    shop.returns(ann, 2_500, "a", currency="USD")
    shop.look()
    assert shop.points(ann) == (100, 0)


def test_what_was_spent_is_owed_and_filled_first(shop: Shop):
    [ann] = shop.world.people(1)
    shop.buys(ann, 10_000, "a")
    shop.look()
    assert shop.award(Award("s", "customer", ann, 80, "spend")) == ("s",)
    shop.returns(ann, 10_000, "a")
    shop.look()
    assert shop.points(ann) == (-80, 0)
    assert shop.award(Award("d", "customer", ann, 5, "deduct")) == ("d",) and shop.points(ann) == (-80, 0)
    shop.buys(ann, 10_000, "b")
    shop.look()
    assert shop.points(ann) == (20, 0)


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_awards_are_once_by_key(shop: Shop):
    [ann] = shop.world.people(1)
    assert shop.award(Award("a", "customer", ann, 50), Award("a", "customer", ann, 50)) == ("a",)
    assert shop.award(Award("a", "customer", ann, 70), Award("b", "customer", ann, 1)) == ("b",)
    assert shop.points(ann) == (51, 0)


def test_a_deduction_takes_what_is_there(shop: Shop):
    [ann] = shop.world.people(1)
    shop.award(Award("a", "customer", ann, 30))
    assert shop.award(Award("d", "customer", ann, -50), Award("e", "customer", ann, -50)) == ("d", "e")
    assert shop.ledger() == [("award", 30), ("deduct", -30), ("deduct", 0)]
    shop.award(Award("b", "customer", ann, 30))
    assert shop.award(Award("e", "customer", ann, -50)) == () and shop.points(ann) == (30, 0)


def test_a_spend_is_covered_or_left_out(shop: Shop):
    [ann] = shop.world.people(1)
    shop.award(Award("a", "customer", ann, 100))
    spends = [Award(f"s{n}", "customer", ann, -40, "spend", "tote-bag") for n in range(3)]
    assert shop.award(*spends) == ("s0", "s1")
    assert shop.award(spends[2]._replace(points=20)) == ("s2",) and shop.points(ann) == (0, 0)


def test_nobody_who_was_erased_gets_points(shop: Shop):
    ann, bob = shop.world.people(2)
    with shop.store.write() as conn:
        conn.execute(sa.update(t.customer).where(t.customer.c.id == ann).values(erased_at=NOON))
    assert shop.award(Award("a", "customer", ann, 50), Award("b", "customer", bob, 5)) == ("b",)


def earned_in_a_year(shop: Shop) -> dict[int, object]:
    """As conditions say it."""
    condition = parse_expression(
        "points(365 days)", Span("x", 1, 1, 1, 17), Scope(unit="customer"), shop.project.vocabulary, Problems(), None
    )
    assert condition is not None
    with shop.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        ids = list(conn.execute(sa.select(t.customer.c.id).where(t.customer.c.merged_into.is_(None))).scalars())
        found = force.segments.of_units(conn, [condition], "customer", ids, shop.now)
    return {who: values[condition.text] for who, (_, values) in found.items()}


# ---- merged ---------------------------------------------------------------------------------------------------------


def test_points_of_two_records_of_one_person(shop: Shop):
    ann, ann_too = shop.world.people(2)
    shop.buys(ann, 1_000, "a")
    shop.buys(ann_too, 2_000, "b")
    shop.look()
    shop.go(1)
    with shop.store.write() as conn:
        merge(conn, ann, ann_too, now=shop.now)
    shop.look()
    assert shop.points(ann) == (30, 0) and shop.check() == []
    assert shop.award(Award("s", "customer", ann_too, 30, "spend")) == ("s",)
    assert earned_in_a_year(shop) == {ann: 30}
    shop.go(2)
    shop.returns(ann, 1_000, "b")
    shop.look()
    assert shop.points(ann) == (-10, 0)
    assert shop.look_again() == 0


# ---- proof, and cost ------------------------------------------------------------------------------------------------


def test_a_balance_that_is_not_the_ledgers_is_named(shop: Shop):
    ann, bob = shop.world.people(2)
    shop.award(Award("a", "customer", ann, 50), Award("b", "customer", bob, 50))
    with shop.store.write() as conn:
        conn.execute(sa.update(t.loyalty).where(t.loyalty.c.unit_id == bob).values(points=51))
    found = shop.check()
    assert {(d.unit_id, d.column) for d in found} == {(bob, "points"), (bob, "total")}
    with shop.store.write() as conn:
        conn.execute(sa.update(t.loyalty).where(t.loyalty.c.unit_id == bob).values(points=50))


def test_what_a_merge_brought_is_no_difference_before_the_next_look(shop: Shop):
    ann, bob = shop.world.people(2)
    shop.award(Award("a", "customer", ann, 50), Award("b", "customer", bob, 50))
    with shop.store.write() as conn:
        merge(conn, ann, bob, now=shop.now)
    assert shop.check() == []
    shop.look()
    assert shop.check() == [] and shop.points(ann) == (100, 0)


def test_a_look_costs_the_same_for_two_and_for_two_hundred(shop: Shop):
    people = shop.world.people(200, consents=None)
    counted = []
    for some in (people[:2], people[2:]):
        for n, who in enumerate(some):
            shop.buys(who, 1_000, f"o{who}")
            shop.happens(who, "reviewed", stars=n)
        for who in some:
            shop.returns(who, 500, f"o{who}")
        with Statements(shop.store.engine) as statements:
            shop.look()
        counted.append(statements.count)
    assert counted[1] <= counted[0] + 5, counted
