"""Old orders, known before the first apply, make points and tiers at the first looks: no news to journeys."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from orchestrator import accrue as accruing
from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.consider import consider
from orchestrator.enroll import enroll
from orchestrator.store import tables as t
from orchestrator.store.explain import Who
from tests.outgoing import World, journey
from tests.tiered import B2C, buy, texts, tier, world

__all__ = ["world"]

STEP = "- email: hello"
UP = journey("up", STEP, "{ tier_change: up }")
CLUB = journey("club", STEP, "{ segment_entry: club }")
ALL = journey("all", STEP, "{ segment_entry: club, include_existing: true }")
OUT = journey("out", STEP, "{ segment_exit: newcomers }")


def put_in_force(world: World, **journeys: str) -> None:
    made = texts(journeys=journeys)
    made["journeys/segments.yaml"] = "club: tier >= silver\nnewcomers: tier is not set or tier == bronze\n"
    world.apply(made)


def look(world: World) -> dict[str, int]:
    world.pass_time(minutes=1)
    accrue(world.store, now=world.now)
    return {name: n for name, n in enroll(world.store, now=world.now).items() if n}


def _why(world: World, name: str, customer_id: int) -> str:
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        return consider(conn, force, name, Who("x", customer_id, None, None), world.now).triggers[0].told[0]


def with_a_past(world: World, n: int) -> list[int]:
    ids = world.people(n, tier=None)
    for _ in range(4):
        world.event(ids, "bought", order_id="o", amount=100)
    return ids


def test_what_an_old_order_makes_begins_nothing_and_what_a_new_one_makes_does(world: World):
    old = with_a_past(world, 3)
    (new,) = world.people(tier=None)
    put_in_force(world, up=UP, club=CLUB, out=OUT)
    assert look(world) == {}
    assert {tier(world, i) for i in old} == {"gold"}
    assert look(world) == {}
    for name in ("up", "club"):
        assert "known before the programme came in force" in _why(world, name, old[0])
    buy(world, new, times=2)
    assert look(world) == {"up": 1, "club": 1, "out": 1}


def test_who_is_meant_to_be_in_from_the_beginning_is(world: World):
    with_a_past(world, 3)
    put_in_force(world, all=ALL)
    assert look(world) == {"all": 3}


def test_segments_that_ask_for_nothing_of_the_programme_wait_for_nothing(world: World):
    """Three days until the first look: who came meanwhile is news to them, and no news to those that ask for points."""
    with_a_past(world, 1)
    made = texts(B2C + "    points:\n      - 1 per 1 EUR of bought.amount\n", journeys={
        "plain": journey("plain", STEP, "{ segment_entry: buyers }", "reentry: always"),
        "behind": journey("behind", STEP, "{ segment_entry: rich-buyers }", "reentry: always"),
    })  # fmt: skip
    made["journeys/segments.yaml"] = (
        "buyers: count(bought) >= 1\nrich: points.balance >= 1\n"
        'rich-buyers: in segment("buyers") and in segment("rich")\n'
    )
    world.apply(made)
    world.pass_time(days=3)
    world.event(world.people(2, tier=None), "bought", order_id="o", amount=10_000, amount_currency="EUR")
    assert look(world) == {"plain": 2}


def test_as_long_as_the_programme_is_at_it_segments_and_tiers_wait(world: World, monkeypatch):
    """A look in bounds, and the budget is over: nobody enters for the half that is done."""
    monkeypatch.setattr(accruing, "BATCH", 5)
    with_a_past(world, 5)
    put_in_force(world, up=UP, club=CLUB, all=ALL)
    world.pass_time(minutes=1)
    looks = iter([False, False, True])
    accrue(world.store, now=world.now, stop=lambda: next(looks))
    assert world.rows(sa.select(t.tier_change))
    assert set(enroll(world.store, now=world.now)) <= {"all"}
    assert set(look(world)) <= {"all"}
    assert not world.rows(sa.select(t.enrollment).where(t.enrollment.c.journey != "all"))


def test_who_is_meant_to_be_in_from_the_beginning_is_not_found_by_half_of_her_points(world: World, monkeypatch):
    """The first look takes one order of four of each: by its end nobody is poor, and nobody has become so."""
    monkeypatch.setattr(accruing, "BATCH", 3)
    ids = world.people(3, tier=None)
    for _ in range(4):
        world.event(ids, "bought", order_id="o", amount=10_000, amount_currency="EUR")
    segments = {
        "poor": journey("poor", STEP, "{ segment_entry: poor, include_existing: true }"),
        "gone": journey("gone", STEP, "{ segment_exit: rich, include_existing: true }"),
        "rich": journey("rich", STEP, "{ segment_entry: rich, include_existing: true }"),
    }
    made = texts(B2C + "    points:\n      - 1 per 1 EUR of bought.amount\n", journeys=segments)
    made["journeys/segments.yaml"] = "poor: not points.balance >= 300\nrich: points.balance >= 300\n"
    world.apply(made)
    world.pass_time(minutes=1)
    looks = iter([False, True])
    accrue(world.store, now=world.now, stop=lambda: next(looks))
    assert set(world.rows(sa.select(t.loyalty.c.points))) == {(100,)}
    assert not any(enroll(world.store, now=world.now).values())
    assert look(world) == {"rich": 3}


def test_where_nobody_was_there_at_the_apply_there_is_no_past(world: World):
    put_in_force(world, up=UP, club=CLUB)
    with_a_past(world, 3)
    assert look(world) == {"club": 3, "up": 3}


def test_a_later_apply_takes_nothing_for_history(world: World):
    with_a_past(world, 2)
    put_in_force(world, club=CLUB)
    assert look(world) == {}
    (new,) = world.people(tier=None)
    world.event([new], "bought", order_id="o", amount=100)
    put_in_force(world, club=CLUB, up=UP)
    world.now += timedelta(minutes=1)
    buy(world, new, times=2)
    assert look(world)["club"] == 1


def test_rules_of_classes_that_have_looked_before_are_no_programme(world: World):
    """The workspace began with classes by rule alone; the first programme comes with a later apply."""
    made = texts()
    text = made["journeys/workspace.yaml"]
    start, end = text.index("program:\n"), text.index("policies:")
    vip = "  vip: { tiers: [bronze, silver], when: \"town == 'here'\" }\n  b2b: { tiers"
    made["journeys/workspace.yaml"] = (text[:start] + text[end:]).replace("  b2b: { tiers", vip, 1)
    world.apply(made)
    old = with_a_past(world, 3)
    assert look(world) == {}
    put_in_force(world, up=UP, club=CLUB, out=OUT)
    assert look(world) == {}
    assert {tier(world, i) for i in old} == {"gold"}
