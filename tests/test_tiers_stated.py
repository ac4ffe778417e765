"""Tiers that imports state: what is said once counts once, however often the file comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import grade
from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.importing import ImportReport, import_rows
from orchestrator.model import Unit
from orchestrator.project import Project
from orchestrator.store import tables as t
from orchestrator.store import tiers
from tests.outgoing import World
from tests.tiered import B2C, at, buy, changes, row, texts, tier, world

__all__ = ["world"]

NEVER = B2C.replace("grace: 60 days, steps: one, review: monthly, ", "review: never, ")
B2B = """
    tier_by: count(bought, 365 days)
    thresholds: { std: 0, big: 2 }
"""
_KINDS: dict[Unit, Any] = {"customer": "customers", "account": "accounts"}


def take(world: World, project: Project, cells: Mapping[str, str], unit: Unit = "customer") -> ImportReport:
    """One row of a file is imported, and the next look is taken."""
    report = import_rows(
        world.store, world.keys, project.vocabulary, _KINDS[unit], [{"key": "a", **cells}], now=world.now
    )
    assert report.refused == ()
    world.pass_time(minutes=1)
    accrue(world.store, now=world.now)
    return report


def whose(world: World, unit: Unit = "customer") -> int:
    table = t.customer if unit == "customer" else t.account
    found: int = world.one(sa.select(table.c.id).where(table.c.key == "a"))
    return found


def ledger(world: World, i: int, unit: Unit) -> list[tuple[Any, ...]]:
    with world.store.read() as conn:
        found = tiers.history(conn, unit, i)
    return [(c["from_tier"], c["to_tier"], c["reason"]) for c in reversed(found)]


def replayed(world: World, i: int, class_name: str = "b2c") -> str | None:
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        return grade.rebuilt(conn, force.project, force.segments, class_name, [i], world.now)[i].stand.tier


@pytest.mark.parametrize("unit", ["customer", "account"])
@pytest.mark.parametrize("program", [B2C, NEVER], ids=["monthly", "never"])
def test_a_file_that_repeats_itself_takes_nothing_that_was_reached_since(
    world: World, program: str, unit: Unit
) -> None:
    never = "    downgrade: { review: never }\n" if program is NEVER else ""
    project = world.apply(texts(program, b2b=B2B + never))
    foot, top, name = ("bronze", "silver", "b2c") if unit == "customer" else ("std", "big", "b2b")
    line = {"class": name, "tier": foot, "country": "DE"}
    take(world, project, line, unit)
    i = whose(world, unit)
    if unit == "customer":
        buy(world, i, times=2)
    else:
        take(world, project, {"class": "b2b", "account": "a"})
        buy(world, whose(world), times=2)
    reached = [(None, foot, ""), (foot, top, "score")]
    assert ledger(world, i, unit) == reached
    for n in range(3):
        world.pass_time(days=1)
        report = take(world, project, line, unit)
        assert (report.unchanged, report.updated) == (1, 0), n
    take(world, project, {**line, "country": "AT"}, unit)  # another cell is news, the tier beside it is none
    assert ledger(world, i, unit) == reached
    assert replayed(world, i, name) == top


def test_another_word_counts_and_so_does_the_same_one_after_an_empty_cell(world: World) -> None:
    project = world.apply(texts())
    take(world, project, {"class": "b2c", "tier": "bronze"})
    ann = whose(world)
    buy(world, ann, times=4)
    take(world, project, {"tier": "silver"})
    assert (tier(world, ann), row(world, ann).held_until is not None) == ("silver", True)
    take(world, project, {"tier": ""})  # taken back: the score decides
    assert tier(world, ann) == "gold"
    take(world, project, {"tier": ""})
    assert tier(world, ann) == "gold"
    take(world, project, {"tier": "silver"})
    assert tier(world, ann) == "silver"
    assert replayed(world, ann) == "silver"


def test_the_same_word_in_another_class_is_another_word(world: World) -> None:
    made = texts()
    path = "journeys/workspace.yaml"
    made[path] = made[path].replace("  b2b: {", "  club: { tiers: [bronze, gold] }\n  b2b: {", 1)
    project = world.apply(made)
    take(world, project, {"class": "b2c", "tier": "gold"})
    take(world, project, {"class": "club", "tier": "gold"})
    assert tier(world, whose(world)) == "gold"
    take(world, project, {"class": "b2c"})
    assert tier(world, whose(world)) == "bronze"
    take(world, project, {"class": "club"})
    assert tier(world, whose(world)) is None  # no programme: its tiers come from imports alone
    take(world, project, {"class": "club", "tier": "gold"})
    assert tier(world, whose(world)) == "gold"


def test_two_rows_of_one_file_are_two_words(world: World) -> None:
    project = world.apply(texts())
    lines = [{"key": "a", "class": "b2c", "tier": name} for name in ("gold", "silver", "gold")]
    report = import_rows(world.store, world.keys, project.vocabulary, "customers", lines, now=world.now)
    assert (report.inserted, report.updated) == (1, 2)
    assert tier(world, whose(world)) == "gold"


def test_without_reviews_a_lower_tier_holds_until_the_score_is_enough_for_more(world: World) -> None:
    project = world.apply(texts(NEVER))
    take(world, project, {"class": "b2c"})
    ann = whose(world)
    buy(world, ann, times=4)
    take(world, project, {"tier": "bronze"})
    assert (tier(world, ann), row(world, ann).held_below) == ("bronze", "gold")
    buy(world, ann)
    at(world, "2027-08-01T12:00")
    assert (tier(world, ann), replayed(world, ann)) == ("bronze", "bronze")
    buy(world, ann, times=3)
    assert (tier(world, ann), row(world, ann).held_below) == ("platinum", None)
    assert replayed(world, ann) == "platinum"
    assert changes(world, ann)[-2:] == [("gold", "bronze", "down", ""), ("bronze", "platinum", "up", "score")]


def test_without_reviews_a_status_match_stays_for_good_and_more_is_reached_yet(world: World) -> None:
    project = world.apply(texts(NEVER))
    take(world, project, {"class": "b2c", "tier": "gold"})
    ann = whose(world)
    at(world, "2029-08-01T12:00")
    assert tier(world, ann) == "gold"
    buy(world, ann, times=8)
    assert (tier(world, ann), replayed(world, ann)) == ("platinum", "platinum")


@pytest.mark.parametrize("program", [B2C, NEVER], ids=["monthly", "never"])
@pytest.mark.parametrize("looked", [True, False], ids=["a look between", "one look"])
def test_the_tier_that_somebody_came_with_is_judged_as_of_then(world: World, looked: bool, program: str) -> None:
    """Customers, then what they have bought: it does not hang on whether a tick ran between the two files."""
    project = world.apply(texts(program))
    world.pass_time(hours=1)
    line = {"key": "a", "class": "b2c", "tier": "bronze"}
    import_rows(world.store, world.keys, project.vocabulary, "customers", [line], now=world.now)
    if looked:
        accrue(world.store, now=world.now)
    world.pass_time(minutes=5)
    ann = whose(world)
    world.event([ann, ann], "bought", order_id="o", amount=100)
    world.event([ann], "bought", order_id="p", amount=100)
    world.pass_time(minutes=5)
    accrue(world.store, now=world.now)
    assert (tier(world, ann), replayed(world, ann)) == ("silver", "silver")
    assert ledger(world, ann, "customer") == [(None, "bronze", ""), ("bronze", "silver", "score")]
    assert (row(world, ann).held_until, row(world, ann).held_below) == (None, None)


def test_what_was_stated_of_a_class_that_a_rule_took_away_says_nothing_in_the_next(world: World) -> None:
    made = texts()
    vip = "  vip: { tiers: [one, gold], when: \"town == 'here'\" }\n  b2b: { tiers"
    made["journeys/workspace.yaml"] = made["journeys/workspace.yaml"].replace("  b2b: { tiers", vip, 1)
    project = world.apply(made)
    take(world, project, {"tier": "gold"})
    ann = whose(world)
    take(world, project, {"town": "here"})
    take(world, project, {"town": "there"})
    assert tier(world, ann) == "bronze"
    take(world, project, {"tier": "gold"})
    assert tier(world, ann) == "gold"
