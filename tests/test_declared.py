"""What people said of themselves stays when a file says otherwise, but as the workspace's rule has it; and merges."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.importing import import_rows, merge_customers
from orchestrator.model import Vocabulary
from orchestrator.project import load_files
from orchestrator.rules import Wishes
from orchestrator.store import preferences, rights
from orchestrator.store import tables as t
from orchestrator.store.holdings import held
from orchestrator.store.journeys import set_attributes
from orchestrator.store.preferences import Chosen
from tests.outgoing import NOON, World, world_of
from tests.web.choosing_world import texts

KEPT = "values that people declared themselves: kept as they are"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


def vocabulary(rule: str = "never") -> Vocabulary:
    files = texts()
    path = "journeys/workspace.yaml"
    return load_files(
        files | {path: files[path].replace("overwrite: after 12 months", f"overwrite: {rule}")}
    ).vocabulary


def imported(world: World, rule: str = "never", **values: Any) -> dict[str, int]:
    row = {"key": "c1", "first_name": "Ann1", "street": "Altweg 9", "town": "Bonn", **values}
    report = import_rows(world.store, world.keys, vocabulary(rule), "customers", [row], now=world.now)
    assert not report.refused
    return dict(report.warnings)


def declare(world: World, customer_id: int, *fields: str) -> None:
    with world.store.write() as conn:
        preferences.declare(conn, customer_id, fields, world.now)


def row_of(world: World) -> tuple[Any, ...]:
    c = t.customer.c
    [row] = world.rows(sa.select(c.first_name, c.street, c.attributes).where(c.key == "c1"))
    return tuple(row)


def told(world: World) -> set[str]:
    return {row[0] for row in world.rows(sa.select(t.declared.c.field))}


def test_an_import_leaves_alone_what_somebody_said_herself(world: World) -> None:
    [one] = world.people(1, attributes={"town": "Ulm"})
    declare(world, one, "street", "town", "first_name")
    assert imported(world)[KEPT] == 2, "the first name is the same"
    assert row_of(world) == ("Ann1", "Lindenweg 1", {"town": "Ulm"})
    assert imported(world, first_name="Other", last_name="New")[KEPT] == 3
    assert world.one(sa.select(t.customer.c.last_name)) == "New", "the rest of the row goes on"
    assert told(world) == {"street", "town", "first_name"}


def test_nobody_else_is_spared(world: World) -> None:
    first, second = world.people(2)
    declare(world, second, "street", "town")
    assert KEPT not in imported(world)
    assert row_of(world) == ("Ann1", "Altweg 9", {"town": "Bonn"})
    assert first


def test_an_empty_cell_does_not_clear_it_either(world: World) -> None:
    [one] = world.people(1, attributes={"town": "Ulm"})
    declare(world, one, "town")
    assert imported(world, town="")[KEPT] == 1
    assert row_of(world)[2] == {"town": "Ulm"}


@pytest.mark.parametrize(
    ("rule", "days", "stays"),
    [
        ("never", 9999, True),
        ("always", 0, False),
        ("after 12 months", 364, True),
        ("after 12 months", 366, False),
        ("after 30 days", 29, True),
        ("after 30 days", 30, False),
    ],
)
def test_the_rule_says_when_it_may(world: World, rule: str, days: int, stays: bool) -> None:
    [one] = world.people(1)
    declare(world, one, "street")
    world.now = NOON + timedelta(days=days)
    warnings = imported(world, rule)
    assert (KEPT in warnings) is stays
    assert row_of(world)[1] == ("Lindenweg 1" if stays else "Altweg 9")
    assert told(world) == ({"street"} if stays else set()), "what is overwritten is nobody's own word any more"


def test_a_journeys_update_is_the_houses_own_word(world: World) -> None:
    one, other = world.people(2)
    declare(world, one, "town", "street")
    declare(world, other, "town")
    with world.store.write() as conn:
        set_attributes(conn, t.customer, {one: {"town": "Köln"}}, world.now)
    rows = world.rows(sa.select(t.declared.c.customer_id, t.declared.c.field))
    assert {tuple(row) for row in rows} == {(one, "street"), (other, "town")}


def test_declared_again_it_has_the_later_date(world: World) -> None:
    [one] = world.people(1)
    declare(world, one, "street")
    world.pass_time(days=5)
    declare(world, one, "street", "city")
    with world.store.read() as conn:
        assert preferences.declared_by(conn, [one]) == {one: {"street": world.now, "city": world.now}}


def choose(world: World, customer_id: int, *wishes: Any, form: Any = None) -> None:
    with world.store.write() as conn:
        preferences.choose(conn, customer_id, Chosen(Wishes(*wishes), form), world.now)


LATE, EARLY = NOON + timedelta(days=30), NOON + timedelta(days=3)


@pytest.mark.parametrize(
    ("keep", "drop", "holds"),
    [
        (None, (LATE, 2, "week"), (LATE, 2, "week")),
        ((EARLY, 2, "week"), None, (EARLY, 2, "week")),
        ((EARLY, 2, "week"), (LATE, 4, "week"), (LATE, 2, "week")),
        ((None, 1, "week"), (None, 4, "month"), (None, 4, "month")),
        ((None, 1, "week"), (None, 5, "month"), (None, 1, "week")),
        ((LATE, None, "week"), (None, 0, "month"), (LATE, 0, "month")),
    ],
)
def test_of_two_records_the_stricter_wish_holds(world: World, keep: Any, drop: Any, holds: Any) -> None:
    one, other = world.people(2)
    for customer_id, wishes in ((one, keep), (other, drop)):
        if wishes is not None:
            choose(world, customer_id, *wishes)
    merge_customers(world.store, world.keys, "c1", "c2", now=world.now)
    with world.store.read() as conn:
        assert preferences.chosen_by(conn, [one, other]) == {one: Chosen(Wishes(*holds))}


def test_what_she_chose_and_said_is_among_what_is_held(world: World) -> None:
    [one] = world.people(1)
    choose(world, one, LATE, 2, "week", form="text")
    declare(world, one, "street")
    with world.store.read() as conn:
        person = rights.person(conn, "c1")
        assert person is not None
        found = held(conn, person, world.keys)
    assert found["choices"] == [
        {"paused_until": LATE, "at_most": 2, "per": "week", "format": "text", "updated_at": world.now}
    ]
    assert found["declared"] == [{"field": "street", "at": world.now, "source": "preference_centre"}]
