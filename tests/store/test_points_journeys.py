"""Points in journeys, by import, in what a person is shown of herself, and after an erasure; on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.earn import Award
from orchestrator.importing import import_rows
from orchestrator.store import holdings, insert_ids, rights
from orchestrator.store import tables as t
from orchestrator.store.merging import merge
from tests.outgoing import NOON, journey
from tests.points_world import Shop


@pytest.fixture
def shop(migrated_url: str) -> Iterator[Shop]:
    made = Shop(migrated_url)
    yield made
    made.close()


def into(shop: Shop, name: str, steps: str, trigger: str = "{ event: reviewed }", more: str = "") -> None:
    from tests.points_world import texts

    shop.project = shop.world.apply(texts(**{name: journey(name, steps, trigger, more)}))


def test_a_journey_gives_once_for_a_key_and_once_for_each_run(shop: Shop):
    steps = '- points: { award: 5, key: first }\n- points: { award: "= event.stars * 2" }'
    into(shop, "thanks", steps, more="reentry: always")
    [ann] = shop.world.people(1)
    for stars in (3, 4):
        shop.happens(ann, "reviewed", stars=stars, key=f"r{stars}")
        shop.world.move()
    assert shop.ledger() == [("award", 5), ("award", 6), ("award", 8)]
    shop.world.move()
    assert len(shop.ledger()) == 3 and shop.points(ann) == (19, 0)
    traces = shop.world.rows(sa.select(t.trace.c.what, t.trace.c.detail).order_by(t.trace.c.id))
    said = [(what, detail.get("points")) for what, detail in traces if what in ("awarded", "no_points")]
    assert said == [("awarded", 5), ("awarded", 6), ("awarded", 5), ("no_points", None), ("awarded", 8)]


def test_what_one_record_of_a_person_was_given_the_other_is_not(shop: Shop):
    into(shop, "thanks", "- points: { award: 5, key: first }")
    ann, ann_too = shop.world.people(2)
    shop.happens(ann_too, "reviewed", stars=1)
    shop.world.move()
    with shop.store.write() as conn:
        merge(conn, ann, ann_too, now=shop.now)
    into(shop, "more", "- points: { award: 5, key: first }")
    shop.happens(ann, "reviewed", stars=1)
    shop.world.move()
    shop.look()
    assert shop.ledger() == [("award", 5), ("earn", 50)] and shop.points(ann) == (55, 0)


def test_a_deduction_of_a_journey_takes_what_is_there_and_nothing_is_given_for_nought(shop: Shop):
    into(shop, "fine", '- points: { deduct: 100 }\n- points: { award: "= event.stars - 5" }')
    [ann] = shop.world.people(1)
    shop.award(Award("a", "customer", ann, 30))
    shop.happens(ann, "reviewed", stars=5)
    shop.world.move()
    assert shop.ledger() == [("award", 30), ("deduct", -30)] and shop.points(ann) == (0, 0)


def test_a_contacts_points_of_a_journey_are_the_accounts(shop: Shop):
    with shop.store.write() as conn:
        row = {"key": "nord", "class": "b2b", "name": "Nord", "attributes": {}, "created_at": NOON, "updated_at": NOON}
        [(nord,)] = insert_ids(conn, t.account, [row])
    ann, bob = shop.world.people(2, account_id=nord, **{"class": "b2b"})
    into(shop, "thanks", "- points: { award: 5, key: first }")
    for who in (ann, bob):
        shop.happens(who, "reviewed", stars=1)
    shop.world.move()
    assert shop.points(nord, "account") == (5, 0)


# ---- points that expire ---------------------------------------------------------------------------------------------


def test_who_has_points_that_expire_is_told_once_for_each_day(shop: Shop):
    into(
        shop, "use", "- update: { town: Bonn }", "{ points_expiring: { within: 7 days }, at: 10:00 }", "reentry: always"
    )
    ann, bob = shop.world.people(2)
    shop.buys(ann, 1_000)
    shop.go(2)
    shop.buys(ann, 2_000)
    shop.buys(bob, 2_000)
    shop.look()
    shop.award(Award("s", "customer", bob, 20, "spend"))
    runs = sa.select(t.enrollment.c.unit_id, t.enrollment.c.run_key).order_by(t.enrollment.c.id)
    for day in range(3, 40):
        shop.go(day)
        shop.look()
        shop.world.move()
        if day == 23:
            assert shop.world.rows(runs) == []
        if day in (24, 31):
            assert shop.world.rows(runs) == [(ann, "points:2027-04-01")], day
    # That of the third comes to light when the first is over, and seven days before are behind us: it is told then.
    assert shop.world.rows(runs) == [(ann, "points:2027-04-01"), (ann, "points:2027-04-03")]


# ---- imported -------------------------------------------------------------------------------------------------------


def test_opening_balances_come_in_once(shop: Shop):
    ann, bob = shop.world.people(2)
    rows: list[dict[str, Any]] = [
        {"customer": "c1", "points": "120", "key": "old-1", "at": "2027-01-10", "expires_on": "2027-03-31"},
        {"customer": "c2", "points": "50", "key": "old-2", "counts": "yes", "reason": "old programme"},
        {"customer": "c2", "points": "-70", "key": "fix-2"},
        {"customer": "c3", "points": "5", "key": "old-3"},
        {"customer": "c1", "account": "nord", "points": "5", "key": "old-4"},
        {"customer": "c1", "points": "1.5", "key": "old-5"},
        {"customer": "c1", "points": "5"},
    ]
    vocabulary = shop.project.vocabulary
    report = import_rows(shop.store, shop.world.keys, vocabulary, "points", rows, now=shop.now)
    assert (report.inserted, report.quarantined) == (3, 4)
    assert [r.problem.partition(";")[0].partition(":")[0] for r in report.refused] == [
        "this customer is not known",
        "customer or account is missing, or both are named",
        "points is no whole number of points from 1 to 1,000,000,000 (with a minus, to take some)",
        "key is missing",
    ]
    assert shop.points(ann) == (120, 0) and shop.row(ann).points_expire_on.isoformat() == "2027-03-31"
    assert shop.points(bob) == (0, 0)
    again = import_rows(shop.store, shop.world.keys, vocabulary, "points", rows[:3], now=shop.now)
    assert (again.inserted, again.unchanged) == (0, 3)
    keys = shop.world.rows(sa.select(t.point_entry.c.key))
    assert not any("old-" in row.key for row in keys)


# ---- what is hers ---------------------------------------------------------------------------------------------------


def test_she_is_shown_her_points_and_the_ledger_outlives_her(shop: Shop):
    ann, bob = shop.world.people(2)
    shop.buys(ann, 1_000)
    shop.look()
    shop.award(Award("s", "customer", ann, 4, "spend", "tote-bag"), Award("b", "customer", bob, 7))
    with shop.store.write() as conn:
        codes = [{"pool": "ten", "code": "A-1", "created_at": NOON, "unit": "customer", "unit_id": ann,
                  "customer_id": ann, "given_key": "claim:ann's", "given_at": NOON}]  # fmt: skip
        insert_ids(conn, t.voucher, codes)
        conn.execute(t.player.insert().values(unit="customer", unit_id=ann, name="Queen Ann", since=NOON))
    with shop.store.read() as conn:
        one = rights.person(conn, "c1")
        assert one is not None
        held = holdings.held(conn, one, shop.world.keys)
    assert [(r["kind"], r["points"]) for r in held["points"]] == [("earn", 10), ("spend", -4)]
    assert held["membership"][0]["points"] == 6 and held["leaderboard"][0]["name"] == "Queen Ann"
    assert held["vouchers"][0]["code"] == "A-1"
    with shop.store.write() as conn:
        one = rights.by_id(conn, ann, lock=True)
        rights.empty(conn, one, [], [], shop.now)
    assert shop.row(ann) is None and shop.points(bob) == (7, 0)
    assert len(shop.ledger(ann)) == 2
    assert shop.world.one(sa.select(sa.func.count()).select_from(t.player)) == 0
    row = shop.world.rows(sa.select(t.voucher))[0]
    assert (row.unit_id, row.customer_id, row.given_key) == (None, None, f"erased-{row.id}")
    shop.go(40)
    assert shop.look() == 1 and len(shop.ledger(ann)) == 2  # bob's expire; hers are nobody's
