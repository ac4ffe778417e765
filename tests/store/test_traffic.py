"""Who went where in a journey: counted in SQL as one would count runs by hand, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from channels.base import Reason
from channels.sandbox import ACCEPT, rejected
from orchestrator.enroll import enroll
from orchestrator.simulation import Traffic
from orchestrator.store import tables as t
from orchestrator.store.traffic import traffic
from tests.outgoing import Statements, World, files, journey, open_store

STEPS = """
- branch:
    - if: tier == gold
      steps: [ { email: hello } ]
    - if: town == "Ulm"
      steps: [ { sms: short } ]
- wait_for:
    event: bought
    timeout: 2 days
    then: [ { exit: has bought } ]
    else: [ { goto: branch, max: 1 } ]
- first_of: [ { push: ping }, { email: second } ]
  until: clicked
  within: 1 day
"""


@pytest.fixture
def world(migrated_url: str, tmp_path: Path) -> Iterator[World]:
    made = World(open_store(migrated_url), tmp_path)
    yield made
    made.store.close()


def counted(world: World, **asked: object) -> Traffic:
    with world.store.read() as conn:
        return traffic(conn, "greet", **asked)  # type: ignore[arg-type]


def test_runs_are_counted_once_per_step_and_way(world: World):
    project = world.apply(files({"greet": journey("greet", STEPS, more="holdout: 20%\nreentry: always")}))
    branch, wait, *_ = project.journeys["greet"].steps
    goto = next(s for s in project.journeys["greet"].every_step() if s.keyword == "goto")
    first_of = project.journeys["greet"].steps[2]
    people = [*world.people(10, tier="gold"), *world.people(10, attributes={"town": "Ulm"}), *world.people(5)]
    world.event(people)
    assert counted(world) == Traffic()
    world.tick()
    runs = world.rows(sa.select(t.enrollment.c.unit_id, t.enrollment.c.ended_because))
    held = {row.unit_id for row in runs if row.ended_because == "holdout"}
    gold, ulm, rest = (len([p for p in some if p not in held]) for some in (people[:10], people[10:20], people[20:]))
    got = counted(world)
    assert (got.entered, got.held_out) == (25, len(held)) and held
    assert got.ways == {(branch.id, "if 1"): gold, (branch.id, "if 2"): ulm, (branch.id, "none"): rest}
    assert got.steps == {branch.id: 25 - len(held), "email:hello": gold, "sms:short": ulm, wait.id: 25 - len(held)}
    assert got.inside == {wait.id: 25 - len(held)}
    assert got.sent == {"email:hello": gold, "sms:short": ulm}

    buyer = next(p for p in people if p not in held)
    world.event([buyer], "bought")
    world.tick()
    world.pass_time(days=2, minutes=1)
    world.tick(6)  # once more round: the same runs at the same steps are no more runs
    again = counted(world)
    stayed = 24 - len(held)
    assert again.ended == {"exited": 1, "holdout": len(held)}
    assert again.ways[goto.id, "goto"] == stayed == again.steps[goto.id]
    assert again.ways[wait.id, "then"] == 1 and again.ways[branch.id, "none"] == rest
    assert again.steps["email:hello"] == gold
    world.pass_time(days=2, minutes=1)
    world.tick(6)
    last = counted(world)
    assert last.steps[first_of.id] == last.steps["push:ping"] == last.sent["push:ping"] == stayed
    assert last.inside == {first_of.id: stayed}
    assert sum(last.inside.values()) + sum(last.ended.values()) == last.entered


def test_one_version_and_since_when(world: World):
    world.apply(files({"greet": journey("greet", "- email: hello", more="reentry: always")}))
    old = world.people(3)
    world.event(old)
    world.tick()
    first = world.one(sa.select(t.enrollment.c.version).limit(1))
    world.pass_time(days=1)
    project = world.apply(files({"greet": journey("greet", "- wait: 1 day\n- email: hello", more="reentry: always")}))
    world.event(world.people(2))
    world.tick()
    wait = project.journeys["greet"].steps[0].id
    assert counted(world).entered == 5
    assert counted(world, version=first) == Traffic(
        entered=3, steps={"email:hello": 3}, ended={"completed": 3}, sent={"email:hello": 3}
    )
    newer = Traffic(entered=2, steps={wait: 2}, inside={wait: 2})
    assert counted(world, version=project.journeys["greet"].version) == newer
    assert counted(world, since=world.now - timedelta(hours=1)) == newer
    assert counted(world, since=world.now + timedelta(hours=1)) == Traffic()


def test_what_the_gate_refused_did_not_go_out_and_runs_not_yet_moved_stand_at_no_step(world: World):
    world.apply(files({"greet": journey("greet", "- email: hello")}))
    ids = [*world.people(2), *world.people(1, consents=None)]
    world.behaviour = lambda out, n: rejected(Reason.CONTENT) if out.attempt == "m1a1" else ACCEPT
    world.event(ids)
    world.tick()
    world.event(world.people(1))
    enroll(world.store, now=world.now)
    got = counted(world)
    assert got.inside == {"": 1} and got.entered == 4
    assert got.steps == {"email:hello": 3} and got.sent == {"email:hello": 2}  # handed over, if one in vain


def test_statements_do_not_grow_with_runs(world: World):
    world.apply(files({"greet": journey("greet", "- email: hello")}))
    counts = []
    for people in (1, 30):
        world.event(world.people(people))
        world.tick()
        with world.store.read() as conn, Statements(world.store.engine) as statements:
            traffic(conn, "greet")
            counts.append(statements.count)
    assert counts[0] == counts[1] == 4
