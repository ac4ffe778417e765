"""Experiments in a small world, on both databases: who counts, who wins, what becomes of those who come later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from channels.null import Null
from orchestrator.apply import in_force
from orchestrator.decide import HOLDOUT, DecideReport, Standing, decide, standings
from orchestrator.project import load_files
from orchestrator.rehearse.cohort import made_up
from orchestrator.rehearse.simulating import simulate
from orchestrator.simulation import Behaviour, Chances
from orchestrator.store import experiments
from orchestrator.store import tables as t
from tests.copied import copied
from tests.outgoing import Statements, World, files, journey

NOW = timedelta()
SPLIT = """
- split:
    plain: { share: 50%, steps: [ { wait: 1 day } ] }
    bold: { share: 50%, steps: [] }
  winner: { by: bought, after: 7 days }
"""
AGAIN = "reentry: always"


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with copied(request, tmp_path, files({"test": journey("test", SPLIT, more=AGAIN)})) as world:
        yield world


def put(world: World, steps: str = SPLIT, more: str = AGAIN) -> None:
    world.apply(files({"test": journey("test", steps, more=more)}))


def deal(world: World, count: int) -> dict[str, list[int]]:
    """So many new people into the journey; by arm."""
    ids = set(world.people(count, consents=None))
    world.event(sorted(ids))
    world.move()
    by_arm = {arm: [i for i in who if i in ids] for arm, who in dealt(world).items()}
    return {arm: who for arm, who in by_arm.items() if who}


def dealt(world: World) -> dict[str, list[int]]:
    lines = sa.select(t.enrollment.c.unit_id, t.trace.c.detail).join(
        t.trace, t.trace.c.enrollment_id == t.enrollment.c.id
    )
    found: dict[str, list[int]] = {}
    for unit_id, detail in world.rows(lines.where(t.trace.c.what == "chose").order_by(t.trace.c.id)):
        found.setdefault(detail["arm"], []).append(unit_id)
    return found


def standing(world: World, step: str = "split:plain-bold") -> Standing:
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        [found] = [one for one in standings(conn, force, world.now) if one.step == step]
    return found


def counts(world: World) -> dict[str, tuple[int, int, int]]:
    one = standing(world)
    return {arm.name: (arm.runs, arm.successes, one.waiting.get(arm.name, 0)) for arm in one.arms}


def look(world: World) -> DecideReport:
    return decide(world.store, now=world.now, every=NOW)


def won(world: World) -> dict[str, list[int]]:
    """A split that is as good as decided: 300 people, half of bold's bought, none of plain's."""
    by_arm = deal(world, 300)
    world.pass_time(days=1)
    world.event(by_arm["bold"][::2], "bought")
    world.pass_time(days=7)
    return by_arm


def test_an_arm_wins_and_is_taken_from_then_on(world: World) -> None:
    by_arm = won(world)
    assert min(len(who) for who in by_arm.values()) > 100
    assert standing(world).state == "gathering"
    report = look(world)
    [decision] = report.decided
    assert (report.looked, decision.winner, decision.journey, decision.step) == (1, "bold", "test", "split:plain-bold")
    assert decision.after == timedelta(days=7) and decision.confidence == 0.95 and decision.at == world.now
    assert [(a["name"], a["runs"], a["successes"]) for a in decision.arms] == [
        ("plain", len(by_arm["plain"]), 0),
        ("bold", len(by_arm["bold"]), len(by_arm["bold"][::2])),
    ]
    [compared] = decision.comparisons
    assert compared["first"] == "bold" and 0 < compared["low"] < compared["difference"] < compared["high"]
    [told] = report.told
    assert "`bold` won" in told and "orchestrator experiments test" in told
    assert standing(world).state == "decided"

    later = deal(world, 40)
    assert {arm: len(who) for arm, who in later.items()} == {"bold": 40}
    notes = world.rows(
        sa.select(t.trace.c.detail).where(t.trace.c.what == "chose").order_by(t.trace.c.id.desc()).limit(40)
    )
    assert all(note[0]["decided"] == decision.id and "draw" not in note[0] for note in notes)
    # Who was dealt plain keeps her run's arm; in a run of her own later she comes to the split anew.
    again = by_arm["plain"][0]
    world.event([again])
    world.move()
    assert again in dealt(world)["bold"] and again in dealt(world)["plain"]
    assert counts(world)["bold"][0] == len(by_arm["bold"])  # whoever was sent the winner's way was dealt nothing


def test_it_is_decided_once_and_logged_once(world: World) -> None:
    won(world)
    reports: list[DecideReport] = []
    if world.store.dialect == "postgresql":
        threads = [Thread(target=lambda: reports.append(look(world))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    reports += [look(world), look(world)]
    assert sum(len(report.decided) for report in reports) == 1 and reports[-1].looked == 0
    assert world.one(sa.select(sa.func.count()).select_from(t.experiment_decision)) == 1
    [line] = world.rows(sa.select(t.log).where(t.log.c.kind == "operation"))
    assert line.verdict == experiments.DECIDED
    text = bytes(line.body).decode()
    assert '"winner":"bold"' in text and '"by":"orchestrator"' in text and "@" not in text


def test_nobody_counts_before_the_time_is_over(world: World) -> None:
    by_arm = deal(world, 120)
    n, m = len(by_arm["plain"]), len(by_arm["bold"])
    world.event(by_arm["bold"], "bought")
    world.pass_time(days=6, hours=23)
    assert look(world) == DecideReport(1) and standing(world).state == "too early"
    assert counts(world) == {"plain": (0, 0, n), "bold": (0, 0, m)}
    world.pass_time(hours=1)
    late = deal(world, 30)
    assert counts(world) == {"plain": (n, 0, len(late["plain"])), "bold": (m, m, len(late["bold"]))}
    assert [d.winner for d in look(world).decided] == ["bold"]


def test_what_counts_as_success(world: World) -> None:
    """After the arm was dealt, within the time, each unit once, as far as it was known."""
    early = world.people(4, consents=None)
    world.event(early, "bought")  # before
    world.pass_time(minutes=1)
    world.event(early)
    world.move()
    mine = {i: arm for arm, who in dealt(world).items() for i in who}
    world.event([early[0]])  # a second run: the same unit
    world.pass_time(days=1)
    world.move()
    world.event([early[0], early[0], early[1]], "bought")
    world.event([early[2]], "left")
    world.pass_time(days=6)
    world.event([early[2]], "bought")  # at the very last moment
    world.pass_time(hours=1)
    world.event([early[3]], "bought")  # too late
    world.pass_time(days=30)
    expected = {arm: Counter(mine.values())[arm] for arm in ("plain", "bold")}
    wins = Counter(mine[i] for i in early[:3])
    assert {arm: found[:2] for arm, found in counts(world).items()} == {
        arm: (expected[arm], wins[arm]) for arm in expected
    }


def test_who_leaves_by_an_exit_or_a_goal_still_counts(world: World) -> None:
    put(world, more="reentry: once\ngoal: { event: bought, within: 30 days }\nexit_when: [ { event: left } ]")
    by_arm = deal(world, 60)
    world.pass_time(hours=1)
    world.event(by_arm["plain"][:5], "bought")
    world.event(by_arm["plain"][5:10], "left")
    world.move()
    world.pass_time(days=8)
    assert counts(world)["plain"][:2] == (len(by_arm["plain"]), 5)


def test_other_shares_are_another_experiment(world: World) -> None:
    won(world)
    look(world)
    put(world, SPLIT.replace("50%, steps: []", "40%, steps: []").replace("50%", "60%"))
    assert standing(world).state == "too early" and standing(world).arms[0].runs == 0
    assert {len(who) for who in deal(world, 100).values()} != {100}  # dealt by chance again
    put(world)
    assert standing(world).state == "decided" and set(deal(world, 20)) == {"bold"}
    put(world, SPLIT.replace("by: bought", "by: left"))
    assert standing(world).state == "gathering" and len(deal(world, 60)) == 2
    put(world, "\n".join(line for line in SPLIT.splitlines() if "winner" not in line))
    assert len(deal(world, 60)) == 2 and look(world) == DecideReport()


def test_a_control_that_wins_sends_nobody_anything(world: World) -> None:
    control = """
- split:
    offer: { share: 80%, steps: [ { email: hello } ] }
    control: { share: 20%, steps: [] }
  winner: { by: bought, after: 2 days, min_confidence: 90% }
"""
    put(world, control)
    by_arm = deal(world, 300)
    world.event(by_arm["control"], "bought")
    world.pass_time(days=2)
    assert [d.winner for d in look(world).decided] == ["control"]
    before = len(world.messages())
    deal(world, 30)
    assert len(world.messages()) == before


def test_a_look_an_hour_is_enough(world: World) -> None:
    won(world)
    assert decide(world.store, now=world.now - timedelta(days=3)).looked == 1
    with Statements(world.store.engine) as counted:
        assert decide(world.store, now=world.now - timedelta(days=3) + timedelta(minutes=59)) == DecideReport()
    assert not any("trace" in statement for statement in counted.seen)
    assert decide(world.store, now=world.now - timedelta(days=3) + timedelta(hours=1)).looked == 1


def test_statements_do_not_grow_with_people(world: World) -> None:
    seen = []
    for count in (10, 200):
        deal(world, count)
        with Statements(world.store.engine) as counted:
            standing(world)
        seen.append(counted.count)
    assert seen[0] == seen[1]


def test_what_a_journey_brings_against_those_held_out(world: World) -> None:
    more = "reentry: always\nholdout: 20%\ngoal: { event: bought, within: 5 days }"
    put(world, "- wait: 10 days", more)
    ids = world.people(400, consents=None)
    world.event(ids)
    world.move()
    held = {row.unit_id for row in world.rows(sa.select(t.enrollment).where(t.enrollment.c.ended_because == "holdout"))}
    sent = [i for i in ids if i not in held]
    world.event(sorted(held), "signed_up")  # in again: one unit is one run
    world.pass_time(days=1)
    world.move()
    world.event(sent[::2] + sorted(held)[:3], "bought")
    assert standing(world, HOLDOUT).state == "too early"
    assert standing(world, HOLDOUT).waiting == {"journey": len(sent), "held out": len(held)}
    world.pass_time(days=4)
    found = standing(world, HOLDOUT)
    assert [(arm.name, arm.runs, arm.successes) for arm in found.arms] == [
        ("journey", len(sent), len(sent[::2])),
        ("held out", len(held), 3),
    ]
    assert found.finding.winner == "journey" and found.decision is None and found.by == "bought"
    assert look(world) == DecideReport()  # a holdout is not decided by itself


def test_a_simulation_decides_as_ticks_do(tmp_path: Path) -> None:
    """Who is written to buys, hardly anybody else does."""
    steps = """
- split:
    written: { share: 50%, steps: [ { email: hello } ] }
    silent: { share: 50%, steps: [] }
  winner: { by: bought, after: 2 days }
- wait: 20 days
"""
    goal = "goal: { event: bought, within: 20 days }"
    project = load_files(files({"test": journey("test", steps, "{ at: 2027-03-01 12:00 }", more=goal)}))
    cohort = made_up(project, 250, 5, rates={"bought": 1.0})
    eager = Behaviour({(Medium.EMAIL, ""): Chances(opened=1.0, clicked=1.0, converted=1.0)})
    begin = datetime(2027, 3, 1, tzinfo=UTC)
    played = simulate(
        project, cohort, begin=begin, until=begin + timedelta(days=7), behaviour=eager, seed=1, folder=tmp_path,
        channels={medium: Null(medium) for medium in Medium},
    )  # fmt: skip
    assert any("`written` won by bought" in note for note in played.notes), played.notes


def test_nothing_of_a_person_is_in_a_decision(world: World) -> None:
    won(world)
    look(world)
    [row] = world.rows(sa.select(t.experiment_decision))
    told: list[Any] = [*row.arms, *row.comparisons]
    assert {key for one in told for key in one} == {
        "name", "share", "runs", "successes", "first", "second", "difference", "low", "high", "e_value", "p_value",
        "clear",
    }  # fmt: skip
