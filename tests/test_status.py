"""Draft, live, archived: who enters, who goes on, and that a change of status makes no new version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.accepting import NotAccepted, accept_units
from orchestrator.apply import in_force
from orchestrator.consider import consider
from orchestrator.plan import plan
from orchestrator.problems import ProjectError
from orchestrator.project import Project, load_files
from orchestrator.rehearse.stage import narrowed
from orchestrator.store import explain, versions
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, audit, files, journey, world_of

SEGMENTS = {"journeys__segments_dot_yaml": "gold: tier >= gold\n"}
STEPS = "- email: hello\n- wait: 2 days\n- email: second"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def texts(status: str, trigger: str = "{ event: signed_up }", more: str = "", **others: str) -> dict[str, str]:
    said = f"status: {status}\n" if status else ""
    return files({"club": journey("club", STEPS, trigger, said + more), **others}, **SEGMENTS)


def entered(world: World, name: str = "club") -> int:
    query = sa.select(sa.func.count()).select_from(t.enrollment).where(t.enrollment.c.journey == name)
    return int(world.one(query))


def marks(world: World) -> set[str]:
    with world.store.read() as conn:
        return {name for name, _ in versions.watermarks(conn)}


def planned(world: World, said: dict[str, str]) -> Any:
    found = plan(world.store, load_files(said), now=world.now)
    return next(j for j in found.journeys if j.name == "club")


# ---- as written -----------------------------------------------------------------------------------------------------


def version(said: dict[str, str]) -> str:
    return load_files(said).journeys["club"].version


def test_the_status_is_no_part_of_the_version() -> None:
    assert len({version(texts(s)) for s in ("", "draft", "live", "archived")}) == 1
    assert version(texts("")) != version(texts("", more="priority: 60"))


def test_what_is_live_enters_nothing_that_is_closed() -> None:
    other = journey("asks", "- enter: club")
    for status, word in (("draft", "a draft"), ("archived", "archived")):
        with pytest.raises(ProjectError) as caught:
            load_files(texts(status, asks=other))
        [problem] = caught.value.problems
        assert (problem.code, problem.message) == ("enter-closed", f"`club` is {word}: nobody enters it")
        assert problem.span.file == "journeys/asks.yaml"
        load_files(texts(status, asks=other.replace("trigger", "status: draft\ntrigger")))


def test_an_unknown_status_is_told() -> None:
    with pytest.raises(ProjectError) as caught:
        load_files(texts("drft"))
    assert [p.code for p in caught.value.problems] == ["wrong-choice"]


def test_a_draft_is_tested_as_if_it_were_live() -> None:
    project: Project = load_files(texts("draft"))
    assert not project.journeys["club"].admits
    assert narrowed(project, ["club"], ["b2c"]).journeys["club"].admits


# ---- draft ----------------------------------------------------------------------------------------------------------


def test_nobody_enters_a_draft_and_it_goes_live_from_then_on(world: World):
    people = world.people(3)
    world.apply(texts("draft"))
    world.event(people[:1])
    world.tick()
    assert (entered(world), marks(world)) == (0, set())
    world.pass_time(hours=1)
    world.event(people[1:2])
    world.apply(texts("live"))
    world.tick()
    assert entered(world) == 0, "what happened to a draft is over when it goes live"
    world.event(people[2:])
    world.tick()
    assert entered(world) == 1


def test_a_draft_by_segment_takes_its_baseline_when_it_goes_live(world: World):
    world.people(2, tier="gold")
    world.apply(texts("draft", "{ segment_entry: gold }"))
    world.people(3, tier="gold")
    world.tick()
    assert planned(world, texts("live", "{ segment_entry: gold }")).enters_now == 0
    existing = "{ segment_entry: gold, include_existing: true }"
    assert planned(world, texts("live", existing)).enters_now == 5
    assert planned(world, texts("draft", existing)).enters_now == 0
    world.apply(texts("live", "{ segment_entry: gold }"))
    world.tick()
    assert entered(world) == 0
    world.people(1, tier="gold")
    world.tick()
    assert entered(world) == 1


def test_calls_and_steps_bring_nobody_into_what_is_closed(world: World):
    people = world.people(2)
    asks = journey("asks", "- wait: 1 hour\n- enter: club")
    world.apply(texts("live", "api", asks=asks))
    world.event(people[:1])
    world.tick()
    for status, word in (("draft", "a draft"), ("archived", "archived")):
        # Who is inside `asks` keeps her version of it, which enters `club` all the same.
        world.apply(texts(status, "api", asks=asks.replace("enter: club", "email: second")))
        with pytest.raises(NotAccepted) as caught:
            accept_units(world.store, "club", ["c2"], "one", now=world.now)
        assert caught.value.status == 409
        assert word in str(caught.value)
    world.pass_time(hours=2)
    world.tick()
    assert (entered(world, "asks"), entered(world)) == (1, 0)
    run = world.one(sa.select(t.enrollment.c.ended_because).where(t.enrollment.c.journey == "asks"))
    assert run == "completed"
    told = world.rows(sa.select(t.trace.c.detail).where(t.trace.c.what == "not_entered"))
    assert [(d["journey"], d["because"]) for (d,) in told] == [("club", "archived")]


def test_what_has_people_inside_cannot_become_a_draft(world: World):
    world.apply(texts(""))
    world.event(world.people(2))
    world.tick()
    found = plan(world.store, load_files(texts("draft")), now=world.now)
    [problem] = found.problems
    assert (problem.code, problem.message) == (
        "draft-with-people-inside",
        "2 inside: what has people in it is no draft",
    )
    with pytest.raises(ProjectError) as caught:
        world.apply(texts("draft"))
    assert caught.value.problems == (problem,)
    with world.store.read() as conn:
        force = in_force(conn)
    assert force is not None
    assert force.project.journeys["club"].status == "live", "nothing of it was put in force"
    assert "club" in marks(world)


# ---- archived -------------------------------------------------------------------------------------------------------


def test_who_is_inside_what_is_archived_finishes_and_nobody_new_enters(world: World):
    people = world.people(2)
    world.apply(texts(""))
    world.event(people[:1])
    world.tick()
    said = planned(world, texts("archived"))
    assert (said.change, said.becomes) == ("edited", "")
    assert said.entering == "archived: nobody new enters; 1 inside finish"
    world.apply(texts("archived"))
    world.event(people[1:])
    world.pass_time(days=3)
    world.tick()
    assert entered(world) == 1
    assert world.one(sa.select(t.enrollment.c.ended_because)) == "completed"
    assert world.states() == {"sent": 2}
    assert planned(world, texts("live")).entering == "goes live: its triggers look from the apply on"
    world.apply(texts("live"))
    world.tick()
    assert entered(world) == 1, "what fired while it was archived stays unheard"


def test_considering_says_that_it_is_closed(world: World):
    world.people(1)
    for status, word in (("draft", "the journey is a draft"), ("archived", "the journey is archived")):
        world.apply(texts(status))
        with world.store.read() as conn:
            force, who = in_force(conn), explain.who(conn, "c1")
            assert force is not None
            assert who is not None
            entry = consider(conn, force, "club", who, world.now)
        assert entry.blocks[0].startswith(word)


def test_the_guard_heeds_what_is_live_alone(world: World):
    world.people(60, tier="gold")
    guarded = POLICIES + "  guard: audience grew > 30%\n"
    for status, known in (("draft", None), ("live", 60)):
        said = journey("club", STEPS, "{ segment_entry: gold }", f"status: {status}")
        world.apply(files({"club": said}, guarded, **SEGMENTS))
        with world.store.read() as conn:
            assert set(versions.audiences(conn).values()) == (set() if known is None else {known})
