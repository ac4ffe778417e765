"""What `plan` says of who is there already, of what an edit changes and of a moment that is over; and that it is so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from orchestrator.plan import JourneyPlan, plan
from orchestrator.project import load_files
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, audit, files, journey, world_of

SEGMENTS = {"journeys__segments_dot_yaml": "gold: tier >= gold\n"}
IN = "{ segment_entry: gold, include_existing: true }"
OUT = "{ segment_exit: gold, include_existing: true }"
STEPS = "- email: hello\n- wait: 9 days\n- email: second"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def said(trigger: str, more: str = "reentry: always", steps: str = STEPS) -> dict[str, str]:
    return files({"club": journey("club", steps, trigger, more)}, **SEGMENTS)


def planned(world: World, texts: dict[str, str]) -> JourneyPlan:
    return next(j for j in plan(world.store, load_files(texts), now=world.now).journeys if j.name == "club")


def entered(world: World) -> int:
    return int(world.one(sa.select(sa.func.count()).select_from(t.enrollment)))


def comes_true(world: World, texts: dict[str, str]) -> int:
    """How many the plan lets in, which is how many come in."""
    count, before = planned(world, texts).enters_now, entered(world)
    world.apply(texts)
    world.pass_time(minutes=5)
    world.tick()
    assert entered(world) - before == count
    return count


@pytest.mark.parametrize(("trigger", "count"), [(IN, 5), (OUT, 3)])
def test_all_who_are_there_enter(world: World, trigger: str, count: int):
    world.people(5, tier="gold")
    world.people(3, tier="silver")
    assert comes_true(world, said(trigger)) == count
    assert planned(world, said(trigger)).enters_now == 0, "in force already"
    world.pass_time(hours=1)
    world.tick()
    assert entered(world) == count, "once"


def test_who_leaves_later_enters_as_before(world: World):
    gold = world.people(4, tier="gold")
    world.people(2, tier="silver")
    comes_true(world, said(OUT))
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == gold[0]).values(tier="silver"))
    world.pass_time(minutes=5)
    world.tick()
    assert entered(world) == 3


@pytest.mark.parametrize(("trigger", "count"), [(IN, 2), (OUT, 1)])
def test_only_the_audience(world: World, trigger: str, count: int):
    for tier, n in (("gold", 2), ("silver", 1)):
        world.people(n, tier=tier, country="AT")
        world.people(4, tier=tier)
    assert comes_true(world, said(trigger, "reentry: always\naudience: country == AT")) == count


@pytest.mark.parametrize(
    ("rest", "count"),
    [
        ("reentry: always", 2),  # three are inside
        ("reentry: once", 2),
        ("reentry: always\noverlap: allow", 5),
        ("reentry: after 30 days\noverlap: allow", 2),
    ],
)
def test_whom_a_run_keeps_out_does_not_count(world: World, rest: str, count: int):
    people = world.people(5, tier="gold")
    world.apply(said("{ event: signed_up }", rest))
    world.event(people[:3])
    world.tick()
    assert entered(world) == 3
    assert comes_true(world, said(IN, rest)) == count


def test_who_is_there_by_two_triggers_enters_once(world: World):
    world.people(5, tier="gold")
    world.people(3, tier="silver")
    texts = said(f"[ {IN}, {{ segment_entry: silver, include_existing: true }} ]", "reentry: once")
    texts["journeys/segments.yaml"] += "silver: tier >= silver\n"
    assert comes_true(world, texts) == 8


def test_whose_run_is_over_comes_again_unless_it_was_for_once(world: World):
    people = world.people(3, tier="gold")
    world.apply(said("{ event: signed_up }", "reentry: once", "- email: hello"))
    world.event(people[:1])
    world.tick()
    world.pass_time(days=1)
    world.tick()
    assert planned(world, said(IN, "reentry: always", "- email: hello")).enters_now == 3
    assert comes_true(world, said(IN, "reentry: once", "- email: hello")) == 2


def test_an_edited_segment_is_another_one(world: World):
    """Its members are there already, and the trigger takes those in too: the plan counts whom that lets in."""
    world.people(2, tier="gold")
    world.people(3, tier="silver")
    comes_true(world, said(IN))
    wider = said(IN) | {"journeys/segments.yaml": "gold: tier >= silver\n"}
    assert comes_true(world, wider) == 3


# ---- what an edit changes -------------------------------------------------------------------------------------------


def test_an_edit_is_told_in_words(world: World):
    world.apply(said(IN))
    edited = planned(world, said(IN, "reentry: always\naudience: country == AT", STEPS.replace("9 days", "4 days")))
    told = {(one.kind, one.what, one.was, one.now) for one in edited.how}
    assert ("+", "audience", "", "country == AT") in told
    assert ("~", "step", "wait:9-days", "wait:4-days") in told
    assert planned(world, said(IN)).how == ()


# ---- a moment that is over ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "zone", "over"),
    [
        (timedelta(hours=1), " Europe/Berlin", True),
        (timedelta(hours=-1), " Europe/Berlin", False),
        (timedelta(hours=3), "", False),  # on everybody's own clock: in the west it is still to come
        (timedelta(hours=14), "", True),
    ],
)
def test_a_broadcast_whose_moment_is_over_says_so(world: World, ago: timedelta, zone: str, over: bool):
    at: Any = world.now - ago
    wall = at.astimezone(ZoneInfo("Europe/Berlin")) if zone else at
    texts = files({"club": journey("club", STEPS, f"{{ at: {wall:%Y-%m-%d %H:%M}{zone or ' recipient'} }}")}, POLICIES)
    assert ("moment is over" in planned(world, texts).entering) is over
