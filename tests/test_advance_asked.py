"""What a look of `advance` asks of the database: nothing twice, and nothing of all that is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.advance import advance
from orchestrator.enroll import enroll
from tests.outgoing import Statements, World, audit, files, journey, world_of

HELLO = journey("hello", "- email: hello")
PATIENT = journey(
    "patient",
    """
- wait: 3 days
- email: hello
""",
    more="reentry: always\nexit_when: [ { event: bought }, tier == gold ]",
)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    made.apply(files({"hello": HELLO, "patient": PATIENT}))
    yield made
    audit(made)
    made.store.close()


def looks(world: World) -> list[str]:
    with Statements(world.store.engine) as asked:
        advance(world.store, now=world.now)
    return asked.seen


def test_where_nobody_is_due_it_looks_once(world: World):
    world.event(world.people(2))
    world.move()
    world.move()  # has seen the events already, and wakes nobody
    assert looks(world).count("COMMIT") == 1


def test_where_all_who_are_due_were_moved_it_does_not_look_again(world: World):
    world.event(world.people(2))
    enroll(world.store, now=world.now)
    assert looks(world).count("COMMIT") == 2
    assert world.states() == {"planned": 2}


def test_who_comes_on_by_what_was_done_is_moved_in_the_same_call(database_url: str):
    """Somebody's event, and somebody sent on into another journey, whose step is due at once."""
    world = world_of(database_url)
    first = journey("first", "- emit: left\n- enter: second")
    second = journey("second", "- email: hello", "api")
    third = journey("third", "- wait: 3 days\n- email: second", more="exit_when: [ { event: left } ]")
    world.apply(files({"first": first, "second": second, "third": third}))
    world.event(world.people(1))
    enroll(world.store, now=world.now)
    report = advance(world.store, now=world.now)
    assert report.ended == {"completed": 1, "exited": 1} and world.states() == {"planned": 1}
    audit(world)
    world.store.close()


def test_the_past_is_not_gone_through(sqlite_database_url: str):
    """However many events there were and however many were inside, those who are and what is new are found by an
    index: without statistics SQLite would rather go through all of them."""
    world = world_of(sqlite_database_url)
    world.apply(files({"hello": HELLO, "patient": PATIENT}))
    people = world.people(3)
    world.event(people)
    world.move()
    world.event(people[:1], "bought", order_id="1", amount=100)
    gone_through: list[str] = []

    def explained(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE")) and isinstance(parameters, tuple):
            driver = conn.connection.dbapi_connection
            plan = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            gone_through.extend(step for step in plan if step.startswith("SCAN") and "VIRTUAL TABLE" not in step)
            gone_through.extend(step for step in plan if "uq_enrollment_live" in step)

    world.pass_time(minutes=1)
    sa.event.listen(world.store.engine, "before_cursor_execute", explained)
    assert advance(world.store, now=world.now).ended == {"exited": 1}
    sa.event.remove(world.store.engine, "before_cursor_execute", explained)
    few = ("applied", "anon_1", "journey_control", "CONSTANT ROW", "INDEX ix_enrollment_live")
    unwanted = [step for step in gone_through if not any(one in step for one in few)]
    assert not unwanted, unwanted
    world.store.close()
