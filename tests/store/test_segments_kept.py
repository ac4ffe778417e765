"""Statements with conditions that are made once: whenever they are asked, they answer as one made for that instant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.condition import Condition, Scope
from orchestrator.store import Store
from orchestrator.store import segments as kept_in
from orchestrator.store import tables as t
from orchestrator.store.scalars import _zone_names, local_days
from orchestrator.store.segments import Segments, meant
from tests.store.test_segments import NOW, Shop
from tests.test_condition import ACME, read

MOMENT = timedelta(microseconds=1)
TURNS = [
    datetime(2027, 3, 14, 7, tzinfo=UTC),  # New York's clock goes from 2 to 3
    datetime(2027, 3, 27, 23, tzinfo=UTC),  # midnight in Berlin
    datetime(2027, 3, 28, 1, tzinfo=UTC),  # Berlin's clock goes from 2 to 3
    datetime(2027, 3, 28, 22, tzinfo=UTC),  # midnight again, 23 hours after the last
    datetime(2027, 3, 29, 4, tzinfo=UTC),  # midnight in New York
    datetime(2027, 3, 29, 11, tzinfo=UTC),  # in Pago Pago it is the day before, on Kiritimati the day after
    datetime(2028, 2, 28, 23, tzinfo=UTC),  # 29 February begins in Berlin
    datetime(2028, 2, 29, 23, tzinfo=UTC),  # and ends
]
INSTANTS = [at for turn in TURNS for at in (turn - MOMENT, turn)]
ZONES = ["Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", None, "Mars/Olympus"]
TEXTS = [
    "joined is in past",
    "joined is in future",
    "joined is within next 1 month",
    "joined is within last 1 year",
    "joined is more than 1 month ago",
    "joined is less than 365 days ago",
    "days_since(joined) == 1",
    "last(order_placed) is within last 1 month",
    "last(order_placed) is more than 3 hours ago",
    "days_since(last(order_placed)) >= 1",
    "count(order_placed, 1 day) >= 1",
    "count(order_placed, 1 month) == 2",
    "never(order_placed, 2 hours)",
    "any(order_placed, 1 day) and not joined is within last 2 days",
    "last(order_placed) >= 2027-03-28",
]


@pytest.fixture
def shop(store: Store) -> Shop:
    return Shop(store)


def settled(shop: Shop) -> None:
    """Somebody in every zone for every day that matters, with an order at every turn."""
    turn = 0
    for first in (date(2027, 3, 27), date(2028, 2, 28), date(2027, 2, 28), date(2024, 2, 29)):
        for day in (first, first + timedelta(days=1)):
            for zone in ZONES:
                who = shop.customer(timezone=zone, joined=day)
                shop.event("order_placed", who, TURNS[turn % len(TURNS)])
                shop.event("order_placed", who, TURNS[turn // 3 % len(TURNS)] - timedelta(days=28))
                turn += 1
    shop.customer("b2b", joined=date(2027, 3, 28), account_id=shop.account(timezone="America/New_York"))


def test_it_answers_at_every_instant_as_one_made_for_it(shop: Shop) -> None:
    settled(shop)
    runs = _runs(shop)
    with shop.store.read() as conn:
        for text in TEXTS:
            condition = read(text)
            seen = set()
            for now in INSTANTS:
                anew = set(conn.execute(shop.segments.audience(condition, "customer", now)).scalars())
                make = partial(shop.segments.audience, condition, "customer")
                kept = shop.segments.kept(("here", meant(condition)), make)
                assert set(conn.execute(kept.statement, kept.binds(now)).scalars()) == anew, (text, now)
                told = shop.segments.evaluate(conn, [condition], list(runs), now)
                assert {runs[run] for run, (truths, _) in told.items() if truths[text]} == anew, (text, now)
                seen.add(frozenset(anew))
            assert len(seen) > 1, text  # it does hang on the instant


def _runs(shop: Shop) -> dict[int, int]:
    with shop.store.read() as conn:
        people = list(conn.execute(sa.select(t.customer.c.id)).scalars())
    return {shop.run("customer", who): who for who in people}


def test_two_conditions_in_one_statement_share_what_is_the_same(shop: Shop) -> None:
    zone = "America/New_York"
    nord = shop.account(timezone=zone)
    who = shop.customer("b2b", account_id=nord, joined=date(2027, 3, 27), timezone=zone)
    shop.event("order_placed", who, TURNS[4] - timedelta(days=10))
    one, two = read("joined is in past and any(order_placed, 2 weeks)"), read("any(order_placed, 14 days)")
    three = read("never(order_placed, 1 day)", Scope("account"))

    def make() -> sa.Select[Any]:
        every = (shop.segments.predicate(each, t.customer) for each in (one, two, three))
        return sa.select(t.customer.c.id).where(*every, t.customer.c.key == sa.bindparam("whose"))

    kept = shop.segments.kept(("three", meant(one, two, three)), make)
    assert {"at_now", "at_ago_0_14_0_0", "at_ago_0_1_0_0", "at_day_0", "at_zones_2"} <= kept.moments.keys()
    assert len(kept.moments) == 9
    with shop.store.read() as conn:
        key = conn.execute(sa.select(t.customer.c.key).where(t.customer.c.id == who)).scalar_one()
        for now, expected in ((TURNS[4], [who]), (TURNS[0], []), (TURNS[4] + timedelta(days=7), [])):
            assert conn.execute(kept.statement, kept.binds(now, whose=key)).scalars().all() == expected


def test_it_may_stand_in_an_insert(shop: Shop) -> None:
    early = shop.customer(joined=date(2027, 3, 27), timezone="UTC")
    shop.customer(joined=date(2027, 3, 29), timezone="UTC")
    condition = read("joined is in past")

    def make() -> sa.Insert:
        made = sa.select(
            t.customer.c.key,
            sa.literal("x"),
            sa.bindparam("called", type_=sa.Text()),
            sa.bindparam("body", {}, t.Json),
            sa.bindparam("written", type_=t.UtcDateTime()),
        ).where(shop.segments.predicate(condition, t.customer))
        return t.document.insert().from_select(["hash", "kind", "name", "body", "created_at"], made)

    now = datetime(2027, 3, 28, 12, tzinfo=UTC)
    kept = shop.segments.kept(("insert", meant(condition)), make)
    with shop.store.write() as conn:
        conn.execute(kept.statement, kept.binds(now, called="those", written=now))
        found = conn.execute(sa.select(t.document.c.hash).where(t.document.c.name == "those")).scalars().all()
        assert found == [conn.execute(sa.select(t.customer.c.key).where(t.customer.c.id == early)).scalar_one()]


def test_one_text_may_mean_two_things(shop: Shop) -> None:
    """`event.amount` is what the trigger's event has by that name."""
    run = shop.run("customer", shop.customer(city="here"))
    here, there = read("city == here"), read("city == there")
    other: Condition = replace(there, text=here.text)
    assert other == here
    assert (shop.truth(here, run), shop.truth(other, run), shop.truth(here, run)) == (True, False, True)


def test_equal_conditions_share_a_statement_whatever_instance_asks(shop: Shop) -> None:
    again = Segments(shop.segments.vocabulary, shop.segments.segments, shop.segments.dialect)
    changed = Segments(ACME, dict(shop.segments.segments), shop.segments.dialect)  # another workspace
    made = []

    def make() -> sa.Select[Any]:
        made.append(1)
        return shop.segments.audience(read("city is set"), "customer")

    one = shop.segments.kept(("shared", meant(read("city is set"))), make)
    assert again.kept(("shared", meant(read("city  is set"))), make) is one
    assert len(made) == 1
    assert changed.kept(("shared", meant(read("city is set"))), make) is not one


def test_the_process_keeps_what_was_asked_last(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_in, "_made", type(kept_in._made)())
    monkeypatch.setattr(kept_in, "_MOST", 2)
    texts = ["city is set", "region is set", "city is set", "country is set"]
    with shop.store.read() as conn:
        for text in texts:
            shop.segments.count(conn, read(text), "customer", NOW)
    assert [key[3][2][0][0].text for key in kept_in._made] == ["city is set", "country is set"]  # type: ignore[index]


@settings(max_examples=25, deadline=None)
@given(
    now=st.integers(157_766_400, 2_114_380_800).map(lambda s: datetime.fromtimestamp(s, UTC))
    | st.sampled_from(INSTANTS),
    home=st.sampled_from(["Europe/Berlin", "Pacific/Kiritimati", "Mars/Olympus"]),
)
def test_three_days_at_most_are_today(now: datetime, home: str) -> None:
    days = local_days(now, home)
    assert len({day for day, _ in days}) == 3
    assert days[0][0] == now.astimezone(ZoneInfo("UTC" if home == "Mars/Olympus" else home)).date()
    told = {name: day for day, names in days for name in names}
    assert told == {name: now.astimezone(ZoneInfo(name)).date() for name in _zone_names()}
