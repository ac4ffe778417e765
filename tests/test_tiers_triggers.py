"""Journeys that begin before a tier is lost, with a number of orders, some time after somebody joined."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.consider import consider
from orchestrator.enroll import enroll
from orchestrator.ingest import record_events
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.store import insert_ids
from orchestrator.store import tables as t
from orchestrator.store.explain import Who
from tests.outgoing import World, email, journey
from tests.tiered import B2C, buy, texts, world

__all__ = ["world"]

RISK = journey("keep", "- email: hello", "{ tier_at_risk: { within: 30 days } }")


def look(world: World, text: str) -> None:
    world.now = datetime.fromisoformat(text).replace(tzinfo=UTC)
    accrue(world.store, now=world.now)
    enroll(world.store, now=world.now)


def contact(world: World, account_id: int) -> int:
    columns: dict[str, Any] = {"class": "b2b", "tier": None, "account_id": account_id}
    return world.people(**columns)[0]


def runs(world: World, name: str) -> list[tuple[int, str]]:
    query = sa.select(t.enrollment.c.unit_id, t.enrollment.c.run_key).where(t.enrollment.c.journey == name)
    return [(r.unit_id, r.run_key) for r in world.rows(query.order_by(t.enrollment.c.id))]


def why_not(world: World, name: str, customer_id: int) -> str:
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        return consider(conn, force, name, Who("x", customer_id, None, None), world.now).first_reason


def test_what_is_still_to_come_is_told_as_the_reason(world: World) -> None:
    """Nobody reads that the next tick lets them in when it will not."""
    tenth = journey("tenth", "- email: hello", "{ milestone: { event: bought, count: 10 } }")
    world.now = datetime(2027, 2, 20, 12, tzinfo=UTC)
    world.apply(texts(journeys={"keep": RISK, "tenth": tenth}))
    (ann,) = world.people(tier=None)
    buy(world, ann, times=4)
    assert why_not(world, "tenth", ann) == "4 bought are known: it begins with number 10"
    look(world, "2028-03-15T12:00")
    assert "she enters from 2028-04-01 on" in why_not(world, "keep", ann)
    world.now = datetime(2028, 4, 1, 6, 30, tzinfo=UTC)
    assert why_not(world, "keep", ann) == ""


def test_at_risk_begins_so_many_days_before_the_tier_would_be_lost_once(world: World) -> None:
    world.now = datetime(2027, 2, 20, 12, tzinfo=UTC)
    world.apply(texts(journeys={"keep": RISK}))
    ann, far = world.people(tier=None) + world.people(tier=None, timezone="Pacific/Honolulu")
    (cat,) = world.people(tier=None, attributes={"safe_until": "2030-01-01"})
    buy(world, ann, far, cat, times=4)
    look(world, "2028-03-15T12:00")  # below since 20 February; the grace began on 1 March, the tier goes on 1 May
    assert runs(world, "keep") == []
    look(world, "2028-04-01T06:59")  # 08:59 in Berlin, thirty days before
    assert runs(world, "keep") == []
    look(world, "2028-04-01T07:00")
    look(world, "2028-04-01T08:00")
    assert runs(world, "keep") == [(ann, "risk:2028-05-01")]
    look(world, "2028-04-01T19:00")  # 09:00 in Honolulu
    look(world, "2028-04-10T19:00")
    assert runs(world, "keep") == [(ann, "risk:2028-05-01"), (far, "risk:2028-05-01")]
    # The tier is lost on 1 May; the next one is at risk for 1 July.
    world.tick(3)
    look(world, "2028-06-02T12:00")
    assert runs(world, "keep")[2:] == [(ann, "risk:2028-07-01")]


def test_a_risk_that_arises_late_is_told_the_next_morning(world: World) -> None:
    late = B2C.replace("grace: 60 days, ", "")
    world.apply(texts(late, {"keep": RISK}))
    (ann,) = world.people(tier=None)
    world.now = datetime(2027, 3, 24, 12, tzinfo=UTC)
    buy(world, ann, times=4)
    # 365 days later is 23 March 2028: below from then on, and the review of 1 April takes the tier.
    look(world, "2028-03-23T11:59")
    look(world, "2028-03-23T12:30")
    look(world, "2028-03-24T07:59")
    assert runs(world, "keep") == []
    look(world, "2028-03-24T08:00")
    assert runs(world, "keep") == [(ann, "risk:2028-04-01")]


def test_texts_say_what_is_missing_and_until_when(world: World) -> None:
    words = "Until {{ progress.review_on | date }}: {{ progress.shortfall }} more keep you {{ tier }}."
    made = texts(journeys={"keep": RISK}) | {"templates/email/hello.mjml": email("Keep it", words)}
    world.apply(made)
    world.now = datetime(2027, 2, 20, 12, tzinfo=UTC)
    (ann,) = world.people(tier=None)
    buy(world, ann, times=4)
    look(world, "2028-03-15T12:00")
    look(world, "2028-04-01T07:00")
    assert world.tick(1)["sent"] == 1
    assert "4 more keep you gold" in world.opened(world.outbox()[0])


def test_contacts_are_told_of_their_accounts_tier(world: World) -> None:
    b2b = "\n    tier_by: count(bought, 365 days)\n    thresholds: { std: 0, big: 2 }\n"
    world.now = datetime(2027, 2, 20, 12, tzinfo=UTC)
    world.apply(texts(journeys={"keep": RISK}, b2b=b2b))
    blank = {"name": "Acme", "attributes": {}, "created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        acme = insert_ids(conn, t.account, [{"key": "acme", "class": "b2b", **blank}])[0][0]
    boss, other = contact(world, acme), world.people(tier=None)[0]
    buy(world, boss, times=2)
    assert world.one(sa.select(t.account.c.tier)) == "big"
    look(world, "2028-02-19T12:00")
    assert runs(world, "keep") == []
    look(world, "2028-02-21T08:00")  # below since the day before; without a grace it is lost on 1 March
    assert runs(world, "keep") == [(boss, "risk:2028-03-01")]
    look(world, "2028-03-01T08:00")
    assert world.one(sa.select(t.account.c.tier)) == "std"
    assert other not in [unit for unit, _ in runs(world, "keep")]


def test_the_tenth_order_begins_a_run_once_and_no_other_does(world: World) -> None:
    made = {
        "tenth": journey("tenth", "- email: hello", "{ milestone: { event: bought, count: 3 } }"),
        "both": journey("both", "- email: second", "[ { milestone: { orders: 2 } }, { milestone: { orders: 4 } } ]"),
    }
    value = "  value: { orders: bought.amount }\n"
    world.apply(texts(journeys={}, more=value))
    (old,) = world.people()
    buy(world, old, times=5)
    world.pass_time(hours=1)
    world.apply(texts(journeys=made, more=value))
    ann, late = world.people(2)
    for _ in range(5):
        buy(world, ann, old)
        enroll(world.store, now=world.now)
        enroll(world.store, now=world.now)
        world.pass_time(minutes=1)
    world.event([late], "bought")
    world.event([late], "bought")
    with world.store.write() as conn:  # imported weeks later
        rows = [{"type": "bought", "key": "old", "customer_id": late, "account_id": None, "properties": {}}]
        record_events(conn, [{**rows[0], "occurred_at": datetime(2027, 2, 1, tzinfo=UTC)}], now=world.now)
    enroll(world.store, now=world.now)
    assert runs(world, "tenth") == [(ann, "milestone:bought:3")]
    assert runs(world, "both")[0] == (ann, "milestone:bought:2")
    assert (late, "milestone:bought:2") in runs(world, "both")
    row = world.rows(sa.select(t.enrollment).where(t.enrollment.c.journey == "tenth"))[0]
    assert row.event_id is not None


def test_a_year_since_somebody_joined(world: World) -> None:
    made = {"year": journey("year", "- email: hello", "{ milestone: { joined: 1 year }, at: 10:00 }")}
    world.apply(texts(journeys=made))
    (leap,) = world.people(joined=date(2028, 2, 29))
    world.now = datetime(2029, 2, 28, 8, 59, tzinfo=UTC)
    enroll(world.store, now=datetime(2029, 2, 27, 12, tzinfo=UTC))
    enroll(world.store, now=world.now)
    assert runs(world, "year") == []
    enroll(world.store, now=datetime(2029, 2, 28, 9, tzinfo=UTC))
    assert runs(world, "year") == [(leap, "date:2028-02-29")]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("{ milestone: { orders: 10, joined: 1 year } }", "which-milestone"),
        ("{ milestone: { event: bought } }", "which-milestone"),
        ("{ milestone: { orders: 10 } }", "which-milestone"),  # nothing says what an order is
        ("{ milestone: { event: bought, count: 3 }, at: 09:00 }", "unused-key"),
        ("{ milestone: { joined: 3 hours } }", "hours-from-date"),
        ("{ tier_at_risk: { within: 30 days }, at: 2027-01-01 09:00 }", "day-and-date"),
        ("{ tier_at_risk: { } }", "missing-key"),
    ],
)
def test_what_is_wrong_is_told(written: str, code: str) -> None:
    with pytest.raises(ProjectError) as told:
        load_files(texts(journeys={"j": journey("j", "- email: hello", written)}))
    assert [p.code for p in told.value.problems] == [code]
