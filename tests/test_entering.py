"""Statements by which triggers let people in are made once: shared where they mean the same, and each journey's own
name, version and instant bound; what nobody is to look for is not asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product

import pytest
import sqlalchemy as sa

from orchestrator.enroll import enroll
from orchestrator.store import tables as t
from orchestrator.store.triggers import zones_present
from tests.outgoing import Statements, World, files, journey, world_of

TEXTS = files(
    {
        "first": journey("first", "- wait: 1 day", more="reentry: always\npriority: 70"),
        "second": journey("second", "- wait: 2 days", more="reentry: always"),
    }
)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


def test_journeys_of_one_trigger_each_let_in_their_own(world: World):
    project = world.apply(TEXTS)
    entered = []
    for _ in range(2):
        world.pass_time(hours=1)
        people = world.people(2, consents=None)
        world.event(people)
        assert enroll(world.store, now=world.now) == {"first": 2, "second": 2}
        entered += [(who, world.now) for who in people]
    e = t.enrollment.c
    found = world.rows(sa.select(e.journey, e.version, e.priority, e.customer_id, e.entered_at, e.since))
    said = {"first": 70, "second": 50}
    assert sorted(tuple(row) for row in found) == sorted(
        (name, project.journeys[name].version, said[name], who, at, at) for name, (who, at) in product(said, entered)
    )


def test_what_no_trigger_looks_for_is_not_asked(world: World):
    world.apply(TEXTS)
    world.people(1, consents=None)
    world.pass_time(hours=1)
    with Statements(world.store.engine) as asked:
        assert not enroll(world.store, now=world.now)
    statements = [text for text in asked.seen if text.startswith(("SELECT", "WITH", "UPDATE", "INSERT", "DELETE"))]
    assert len(statements) == 4, statements  # what is in force, how far they looked, what is new, and that they looked
    assert not any("timezone" in text or "tier_change" in text for text in statements)
    mark = t.trigger_state.c
    assert {row[0] for row in world.rows(sa.select(mark.seen_until))} == {world.now}
    with Statements(world.store.engine) as asked:
        enroll(world.store, now=world.now, unchanged={(row.journey, row.trigger) for row in _marks(world)})
    assert not any("event" in text for text in asked.seen)


def _marks(world: World) -> list[sa.Row]:
    return world.rows(sa.select(t.trigger_state.c.journey, t.trigger_state.c.trigger))


@pytest.mark.parametrize(
    ("customers", "accounts"),
    [
        ([], []),
        ([None, ""], []),
        (["Europe/Berlin"] * 3 + [None, "", "America/New_York", "Mars/Olympus"], ["Asia/Tokyo", "Europe/Berlin", None]),
    ],
)
def test_zones_are_those_that_are_stated(world: World, customers: list[str | None], accounts: list[str | None]):
    for zone in customers:
        world.people(1, consents=None, timezone=zone)
    with world.store.write() as conn:
        plain = {"class": "b2b", "created_at": world.now, "updated_at": world.now}
        for n, zone in enumerate(accounts):
            conn.execute(t.account.insert().values(key=f"a{n}", timezone=zone, **plain))
    with world.store.read() as conn:
        assert zones_present(conn, "account") == sorted({zone for zone in accounts if zone})
        assert zones_present(conn, "customer") == sorted({zone for zone in [*customers, *accounts] if zone})


def test_a_look_back_binds_its_own_instant(world: World):
    """`reentry: after` counts from each look's own now, by the one statement."""
    world.apply(files({"main": journey("main", "- wait: 1 hour", more="reentry: after 2 days")}))
    people = world.people(1, consents=None)
    for entered in (1, 0, 1, 0):
        world.now += timedelta(days=1)
        world.move()  # the run before is over
        world.event(people)
        assert sum(enroll(world.store, now=world.now).values()) == entered, world.now


def test_days_that_were_missed_come_in_order(world: World):
    """Whatever order a set of them has in this process: the same simulation must come out the same in any."""
    every_year = "{ date: every year on birthday, at: 09:00 }"
    texts = files({"main": journey("main", "- wait: 1 day", every_year, "missed_runs: { then: all }")})
    head = "journeys/workspace.yaml"
    world.apply({**texts, head: texts[head].replace("{ town: text }", "{ town: text, birthday: date }")})
    for day in (9, 3, 8, 5, 7, 4, 6):
        world.people(1, consents=None, attributes={"birthday": f"1980-03-0{day}"})
    world.pass_time(days=10)
    assert enroll(world.store, now=world.now) == {"main": 7}
    e = t.enrollment.c
    keys = [key for (key,) in world.rows(sa.select(e.run_key).order_by(e.id))]
    assert keys == [f"date:2027-03-0{day}" for day in range(3, 10)]
