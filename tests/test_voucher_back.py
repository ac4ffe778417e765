"""A code that goes back into its pool, on both databases: for the next in line, and not at the cost of anybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import reward
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.reward import Asked
from orchestrator.store import tables as t
from orchestrator.store import vouchers
from orchestrator.store.vouchers import Level
from tests.loyal import fill, project_of, shop, texts
from tests.outgoing import Statements, World, journey

SEAT = """
- voucher: ten
- wait_for: { event: voucher_given, where: pool == "ten", timeout: 1 day, else: [ { goto: "voucher:ten", max: 5 } ] }
- email: hello
"""
BACK = "- voucher: { take_back: ten }"
JOURNEYS = {"seat": journey("seat", SEAT), "back": journey("back", BACK, "{ event: bought }")}


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with shop(request, tmp_path, JOURNEYS) as made:
        yield made


def level(world: World) -> Level:
    with world.store.read() as conn:
        return vouchers.levels(conn, world.now.date()).get("ten", Level())


def holders(world: World) -> dict[str, int]:
    query = sa.select(t.voucher.c.code, t.voucher.c.unit_id).where(t.voucher.c.given_at.is_not(None))
    return {row.code: row.unit_id for row in world.rows(query.where(t.voucher.c.void_at.is_(None)))}


def settle(world: World) -> None:
    for _ in range(4):
        world.move()


def test_a_seat_that_is_given_back_goes_to_who_waits_for_one(world: World) -> None:
    ann, bob = world.people(2)
    fill(world, "ten", ["SEAT-1"])
    world.event([ann, bob])
    settle(world)
    first, other = (ann, bob) if holders(world) == {"SEAT-1": ann} else (bob, ann)
    assert holders(world) == {"SEAT-1": first}
    assert len(world.messages()) == 1
    world.event([first], "bought", order_id="1")
    settle(world)
    assert level(world) == Level(free=1, void=1)
    assert holders(world) == {}
    world.pass_time(days=1, hours=1)
    settle(world)
    assert holders(world) == {"SEAT-1": other}
    assert level(world) == Level(given=1, void=1)
    assert len(world.messages()) == 2
    told = world.rows(sa.select(t.event.c.type, t.event.c.customer_id, t.event.c.properties["pool"].as_string())
                      .where(t.event.c.type.like("voucher_%")).order_by(t.event.c.id))  # fmt: skip
    assert [tuple(row) for row in told] == [
        ("voucher_given", first, "ten"),
        ("voucher_returned", first, "ten"),
        ("voucher_given", other, "ten"),
    ]


def test_who_has_none_gives_none_back_and_her_diary_says_so(world: World) -> None:
    (ann,) = world.people(1)
    fill(world, "ten", ["SEAT-1"])
    world.event([ann], "bought", order_id="1")
    settle(world)
    assert level(world) == Level(free=1)
    (said,) = world.rows(sa.select(t.trace.c.detail).where(t.trace.c.what == "no_voucher"))
    assert said.detail == {"line": 5, "pool": "ten", "because": "there is none to take back"}


def test_what_was_redeemed_claimed_or_is_somebody_elses_stays(world: World) -> None:
    ann, bob = world.people(2)
    fill(world, "ten", ["SEAT-1", "SEAT-2", "SEAT-3"])
    world.event([ann])
    settle(world)
    world.event([bob])
    settle(world)
    project = project_of(world)
    with world.store.write() as conn:
        reward.give(conn, project, [Asked("claim:1", "ten", "customer", ann)], world.now)
        answer = reward.redeem(conn, project.vocabulary, [reward.Redemption("SEAT-1", "r1", world.now)], world.now)
    assert answer[0].reason == ""
    world.event([ann], "bought", order_id="1")
    settle(world)
    assert holders(world) == {"SEAT-1": ann, "SEAT-2": bob, "SEAT-3": ann}
    world.event([bob], "bought", order_id="2")
    settle(world)
    assert holders(world) == {"SEAT-1": ann, "SEAT-3": ann}
    assert level(world) == Level(free=1, given=1, redeemed=1, void=1)


def test_many_give_back_by_as_many_statements_as_few(world: World) -> None:
    people = world.people(330, consents=None)
    fill(world, "ten", [f"CODE-{n:05}" for n in range(330)])
    world.event(people)
    settle(world)
    counts = []
    for some in (people[:10], people[10:]):
        with Statements(world.store.engine) as seen, world.store.write() as conn:
            done = reward.take_back(conn, [("ten", "customer", i) for i in some], world.now)
        assert len(done) == len(some)
        counts.append(seen.count)
    assert counts[0] == counts[1] <= 12
    assert level(world) == Level(free=330, void=330)


def test_the_pool_taken_back_from_has_to_be_declared() -> None:
    with pytest.raises(ProjectError) as told:
        load_files(texts({"j": journey("j", "- voucher: { take_back: tenn }")}))
    (problem,) = told.value.problems
    assert (problem.code, problem.hint) == ("unknown-voucher-pool", "did you mean `ten`?")
