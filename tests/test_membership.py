"""Membership: free, by an event, by contract; terms, renewals, ends; the benefit of joining, once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.ladder import Term, covering, terms
from orchestrator.program import Membership
from orchestrator.store import insert_ids, vouchers
from orchestrator.store import tables as t
from orchestrator.words import Duration
from tests.outgoing import World, files
from tests.tiered import at, buy, row, texts, tier, world

__all__ = ["world"]

POOL = "vouchers:\n  welcome: { title: Welcome }\n"
FREE = "\n    membership: { joins: free, benefit: welcome }\n"
YEAR = Duration(months=12)


def events(world: World, i: int, unit: str = "customer") -> list[str]:
    owner = t.event.c.customer_id if unit == "customer" else t.event.c.account_id
    kinds = world.rows(
        sa.select(t.event.c.type).where(owner == i, t.event.c.type.like("membership%")).order_by(t.event.c.id)
    )
    return [kind.removeprefix("membership_") for (kind,) in kinds]


def company(world: World, name: str = "acme") -> int:
    blank = {"name": name, "attributes": {}, "created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        return int(insert_ids(conn, t.account, [{"key": name, "class": "b2b", **blank}])[0][0])


def contract(world: World, account_id: int, key: str, ends: str, **more: Any) -> None:
    row_ = {"type": "contract", "key": key, "customer_id": None, "account_id": account_id}
    stamps = {"created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        insert_ids(conn, t.record, [{**row_, "fields": {"ends": ends, **more}, **stamps}])


# ---- in the store ---------------------------------------------------------------------------------------------------


def test_joining_is_free_and_gives_its_benefit_at_once_and_once(world: World) -> None:
    world.apply(files({}))
    (old,) = world.people()
    world.pass_time(hours=1)
    world.apply(texts(FREE, more=POOL))
    with world.store.write() as conn:
        vouchers.add(conn, "welcome", ["w1", "w2", "w3"], world.now)
    ann, known = world.people(), world.people(joined=date(2020, 5, 1))
    accrue(world.store, now=world.now)
    world.pass_time(minutes=1)
    accrue(world.store, now=world.now)
    assert events(world, ann[0]) == ["started"]
    assert (row(world, ann[0]).member, row(world, ann[0]).member_since) == ("active", date(2027, 3, 1))
    # Whoever was there before, or joined before there was a programme, is a member and gets no welcome.
    assert [row(world, i).member for i in (old, known[0])] == ["active", "active"]
    assert [events(world, i) for i in (old, known[0])] == [[], []]
    assert row(world, known[0]).member_since == date(2020, 5, 1)
    given = world.rows(sa.select(t.voucher.c.unit_id).where(t.voucher.c.given_at.is_not(None)))
    assert [i for (i,) in given] == [ann[0]]


def given(world: World) -> list[int]:
    found = world.rows(sa.select(t.voucher.c.unit_id).where(t.voucher.c.given_at.is_not(None)).order_by(t.voucher.c.id))
    return [i for (i,) in found]


def test_who_joined_while_the_pool_was_empty_is_given_the_benefit_later(world: World) -> None:
    """In the order of joining, once, within sixty days, while the membership holds; the report says what is short."""
    world.apply(texts("\n    membership: { joins: free }\n", more=POOL))
    world.pass_time(minutes=1)
    (before,) = world.people()  # joined while there was no benefit
    accrue(world.store, now=world.now)
    world.pass_time(hours=1)
    world.apply(texts(FREE, more=POOL))
    ann, ben, cid, _ = world.people(4)
    empty = "voucher pool `welcome` is empty: nobody is given a code"
    assert accrue(world.store, now=world.now).shortages[0].startswith(empty)
    world.pass_time(minutes=5)
    accrue(world.store, now=world.now)
    world.pass_time(minutes=5)
    quiet = accrue(world.store, now=world.now)
    assert (quiet.looks, quiet.shortages[0].startswith(empty)) == (0, True)  # told as long as somebody waits
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == ben).values({"class": "b2b"}))
        vouchers.add(conn, "welcome", ["w1", "w2"], world.now)
    world.pass_time(minutes=5)
    accrue(world.store, now=world.now)
    assert given(world) == [ann, cid]
    (eve,) = world.people()
    world.pass_time(days=30)
    assert accrue(world.store, now=world.now).shortages
    world.pass_time(days=31)  # the fourth has waited for longer than anybody waits
    with world.store.write() as conn:
        vouchers.add(conn, "welcome", ["w3", "w4", "w5"], world.now)
    accrue(world.store, now=world.now)
    assert given(world) == [ann, cid, eve]
    world.pass_time(minutes=5)
    assert accrue(world.store, now=world.now).shortages == ()
    assert before not in given(world)


def test_a_purchase_makes_a_member_for_a_term_and_the_next_one_renews(world: World) -> None:
    joins = "\n    membership: { joins: purchase, event: bought, term: 1 year, benefit: welcome }\n"
    rule = "    tier_by: count(bought)\n    thresholds: { bronze: 0, silver: 2 }\n"
    world.apply(texts(joins + rule, more=POOL))
    with world.store.write() as conn:
        vouchers.add(conn, "welcome", ["w1", "w2"], world.now)
    (ann,) = world.people(tier=None)
    at(world, "2027-03-01T11:30")
    assert (tier(world, ann), row(world, ann).tier_due) == (None, None)  # nobody's member, and nobody looks again
    buy(world, ann)
    assert (row(world, ann).member, row(world, ann).member_until, tier(world, ann)) == (
        "active",
        date(2028, 2, 29),
        "bronze",
    )
    at(world, "2027-12-01T12:00")
    buy(world, ann)
    assert (row(world, ann).member_until, tier(world, ann)) == (date(2029, 2, 28), "silver")
    at(world, "2029-02-28T22:59")
    assert row(world, ann).member == "active"
    at(world, "2029-02-28T23:00")  # 1 March in Berlin
    assert (row(world, ann).member, row(world, ann).tier_due) == ("lapsed", None)
    assert tier(world, ann) == "silver"
    at(world, "2029-05-01T12:00")
    buy(world, ann)
    accrue(world.store, now=world.now)
    assert row(world, ann).member_since == date(2029, 5, 1)
    assert events(world, ann) == ["started", "renewed", "ended", "started"]
    assert world.one(sa.select(sa.func.count()).where(t.voucher.c.given_at.is_not(None))) == 1


def test_what_renews_by_itself_goes_on(world: World) -> None:
    world.apply(texts("\n    membership: { joins: subscription, event: signed_up, term: 1 month, renews: auto }\n"))
    world.now = datetime(2027, 1, 31, 12, tzinfo=UTC)
    (ann,) = world.people()
    world.event([ann], "signed_up")
    accrue(world.store, now=world.now)
    until = []
    for stamp in ("2027-02-20", "2027-03-05", "2027-04-02", "2028-03-02"):
        at(world, f"{stamp}T12:00")
        until.append(row(world, ann).member_until.isoformat())
    assert until == ["2027-02-28", "2027-03-30", "2027-04-30", "2028-03-30"]
    assert events(world, ann).count("renewed") == 3 and row(world, ann).member_since == date(2027, 1, 31)


CONTRACTS = """records:
  contract: { of: account, key: contract_id, ends: date, starts: date, auto_renew: yes_no }
"""


def test_a_contract_makes_the_account_a_member_as_long_as_it_runs(world: World) -> None:
    rule = "    tier_by: count(bought)\n    thresholds: { std: 0, big: 2 }\n"
    b2b = f"\n    membership: {{ joins: contract }}\n{rule}"
    world.apply(texts(b2b=b2b, more=CONTRACTS))
    acme, next_year, open_end = (company(world, name) for name in ("acme", "next", "open"))
    contract(world, acme, "c1", "2027-06-30")
    contract(world, next_year, "c2", "2028-06-30", starts="2027-07-01")
    contract(world, open_end, "c3", "2027-04-30", auto_renew=True)
    at(world, "2027-03-01T12:00")
    assert [row(world, i, "account").member for i in (acme, open_end)] == ["active", "active"]
    assert world.one(sa.select(t.account.c.tier).where(t.account.c.id == acme)) == "std"
    at(world, "2027-06-30T21:59")
    contract(world, acme, "c4", "2028-06-30", starts="2027-07-01")
    at(world, "2027-06-30T22:00")
    assert [row(world, i, "account").member for i in (acme, next_year)] == ["active", "active"]
    assert row(world, acme, "account").member_until == date(2028, 6, 30)
    assert row(world, open_end, "account").member_until is None
    at(world, "2028-07-01T12:00")
    assert [row(world, i, "account").member for i in (acme, next_year, open_end)] == ["lapsed", "lapsed", "active"]
    assert events(world, acme, "account") == ["started", "renewed", "ended"]
    assert events(world, next_year, "account") == ["started", "ended"]


# ---- classes by rule ------------------------------------------------------------------------------------------------

RULED = """  b2c: { tiers: [bronze, silver, gold, platinum] }
  firm: { tiers: [std, big], when: 'town == "Office"' }
  vip: { tiers: [one], when: "count(bought) >= 2" }
"""


def ruled() -> dict[str, str]:
    made = texts()
    text = made["journeys/workspace.yaml"]
    start, end = text.index("  b2c: { tiers"), text.index("topics:")
    made["journeys/workspace.yaml"] = text[:start] + RULED + text[end:]
    return made


def class_of(world: World, key: str) -> Any:
    return world.one(sa.select(t.customer.c["class"]).where(t.customer.c.key == key))


def test_a_class_nobody_stated_is_found_by_rule(world: World) -> None:
    from orchestrator.importing import import_rows

    project = world.apply(ruled())

    def take(*rows: dict[str, str]) -> Any:
        return import_rows(world.store, world.keys, project.vocabulary, "customers", rows, now=world.now)

    report = take(
        {"key": "a", "town": "Office"},
        {"key": "b", "town": "Bonn", "class": ""},
        {"key": "c", "town": "Office", "class": "b2c"},
    )
    assert (report.inserted, report.quarantined) == (3, 0)
    at(world, "2027-03-01T12:00")
    assert [class_of(world, key) for key in "abc"] == ["firm", "b2c", "b2c"]
    ids = {key: i for i, key in world.rows(sa.select(t.customer.c.id, t.customer.c.key))}
    buy(world, *ids.values(), times=2)
    assert [class_of(world, key) for key in "abc"] == ["firm", "vip", "b2c"]  # the first rule that is true
    assert tier(world, ids["c"]) == "silver" and tier(world, ids["b"]) is None
    take({"key": "a", "class": "b2c"})  # stated: the rule is not asked any more
    world.pass_time(minutes=1)
    accrue(world.store, now=world.now)
    assert class_of(world, "a") == "b2c"
    take({"key": "a", "class": ""})
    world.pass_time(minutes=1)
    accrue(world.store, now=world.now)
    assert class_of(world, "a") == "firm"


# ---- how long it lasts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "term", "until"),
    [
        ("2027-03-01", YEAR, "2028-02-29"),
        ("2028-02-29", YEAR, "2029-02-28"),  # no such day: the month's last
        ("2027-01-31", Duration(months=1), "2027-02-28"),
        ("2027-02-01", Duration(months=1), "2027-02-28"),
        ("2027-03-01", Duration(days=30), "2027-03-30"),
        ("2027-03-01", Duration(), "2027-03-01"),
    ],
)
def test_the_last_day_of_a_term(since: str, term: Duration, until: str) -> None:
    day = date.fromisoformat(since)
    assert terms(Membership("purchase", term=term), [day], day) == [Term(day, date.fromisoformat(until))]


def test_coming_early_loses_nothing_and_coming_late_begins_anew() -> None:
    membership = Membership("purchase", term=Duration(months=1))
    days = [date(2027, 1, 31), date(2027, 2, 10), date(2027, 4, 15)]
    assert terms(membership, days, date(2027, 5, 1)) == [
        Term(date(2027, 1, 31), date(2027, 3, 30), 1),
        Term(date(2027, 4, 15), date(2027, 5, 14)),
    ]
    assert terms(membership, days, date(2027, 1, 30)) == []


def test_contracts_that_follow_each_other_are_one_time() -> None:
    first, second = (date(2027, 1, 1), date(2027, 6, 30)), (date(2027, 7, 1), date(2027, 12, 31))
    assert covering([second, first], date(2027, 8, 1)) == Term(date(2027, 1, 1), date(2027, 12, 31), 1)
    assert covering([second, first], date(2027, 3, 1)) == Term(date(2027, 1, 1), date(2027, 6, 30))
    assert covering([second], date(2027, 3, 1)) is None
    gap = (date(2028, 3, 1), None)
    assert covering([first, gap], date(2028, 3, 1)) == Term(date(2028, 3, 1), None)
