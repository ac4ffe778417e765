"""Tiers: gained at once, lost at a review of one's own zone, after the grace, never while protected."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import earn
from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.store import tables as t
from orchestrator.store import tiers
from tests.outgoing import World, files
from tests.tiered import B2C, at, buy, changes, row, texts, tier, world

__all__ = ["world"]


def test_new_customers_begin_at_the_foot_and_rise_at_once(world: World) -> None:
    world.apply(texts())
    (ann,) = world.people(tier=None)
    at(world, "2027-03-01T12:00")
    assert tier(world, ann) == "bronze"
    buy(world, ann, times=4)
    assert tier(world, ann) == "gold"
    assert changes(world, ann) == [(None, "bronze", "set", "first"), ("bronze", "gold", "up", "score")]
    found = row(world, ann)
    assert (found.score, found.next_tier, found.missing, found.shortfall) == (4, "platinum", 4, 0)
    assert found.review_on is None and found.protected is False


def test_who_was_there_before_the_programme_comes_in_quietly(world: World) -> None:
    world.apply(files({}))
    old, imported = world.people(tier=None), world.people(tier="silver")
    world.event([*old, *imported], "bought")
    for _ in range(4):
        world.event([*old, *imported], "bought")
    world.pass_time(hours=1)
    world.apply(texts())
    accrue(world.store, now=world.now)
    assert [tier(world, i) for i in (*old, *imported)] == ["gold", "gold"]
    assert changes(world, old[0]) == [(None, "gold", "set", "first")]
    assert changes(world, imported[0]) == [("silver", "gold", "set", "first")]


def fallen(world: World, **columns: Any) -> int:
    """Gold by four orders of a day, all out of the window of 365 days a year later."""
    world.apply(texts())
    (ann,) = world.people(tier=None, **columns)
    buy(world, ann, times=4)
    assert tier(world, ann) == "gold"
    return ann


def test_a_tier_is_lost_step_by_step_at_reviews_after_the_grace(world: World) -> None:
    ann = fallen(world)
    at(world, "2028-02-15T12:00")
    assert (tier(world, ann), row(world, ann).review_on) == ("gold", None)
    # 365 days after 1 March 2027 (noon) is 29 February 2028: below from then on.
    at(world, "2028-02-29T23:30")  # 00:30 in Berlin on 1 March: the review begins the grace
    found = row(world, ann)
    assert (found.below_since, found.review_on, found.shortfall) == (date(2028, 3, 1), date(2028, 5, 1), 4)
    at(world, "2028-04-01T12:00")
    assert tier(world, ann) == "gold"
    at(world, "2028-04-30T21:59")
    assert tier(world, ann) == "gold"
    at(world, "2028-04-30T22:00")  # midnight in Berlin
    assert (tier(world, ann), changes(world, ann)[-1]) == ("silver", ("gold", "silver", "down", "review"))
    # The next step has a grace of its own: 60 days from 1 May are over on 30 June.
    assert row(world, ann).review_on == date(2028, 7, 1)
    at(world, "2028-06-30T12:00")
    assert tier(world, ann) == "silver"
    at(world, "2028-07-01T12:00")
    assert tier(world, ann) == "bronze"
    assert row(world, ann).review_on is None


def test_enough_again_ends_the_grace(world: World) -> None:
    ann = fallen(world)
    at(world, "2028-03-05T12:00")
    assert row(world, ann).below_since == date(2028, 3, 1)
    buy(world, ann, times=4)
    assert (row(world, ann).below_since, row(world, ann).review_on) == (None, None)
    at(world, "2028-05-02T12:00")
    assert tier(world, ann) == "gold"


def test_whoever_is_protected_keeps_the_tier_and_has_the_whole_grace_afterwards(world: World) -> None:
    ann = fallen(world, attributes={"safe_until": "2028-06-15"})
    at(world, "2028-05-02T12:00")
    assert (tier(world, ann), row(world, ann).protected, row(world, ann).review_on) == ("gold", True, None)
    at(world, "2028-06-20T12:00")
    assert (row(world, ann).protected, row(world, ann).review_on) == (False, date(2028, 9, 1))
    at(world, "2028-08-31T12:00")
    assert tier(world, ann) == "gold"
    at(world, "2028-09-01T12:00")
    assert tier(world, ann) == "silver"


def test_a_late_look_judges_each_review_as_of_its_own_day(world: World) -> None:
    """Nothing ran for half a year: what came of it is what would have come of it day by day."""
    ann, bob = fallen(world), world.people(tier=None)[0]
    at(world, "2028-08-20T12:00")
    assert tier(world, ann) == "bronze" and tier(world, bob) == "bronze"
    with world.store.read() as conn:
        told = [(c["to_tier"], c["at"]) for c in tiers.history(conn, "customer", ann)][:2]
    assert told == [
        ("bronze", datetime(2028, 6, 30, 22, tzinfo=UTC)),
        ("silver", datetime(2028, 4, 30, 22, tzinfo=UTC)),
    ]


BY_SCORE = B2C.replace("grace: 60 days, steps: one, review: monthly", "steps: by_score, review: quarterly")


def test_without_grace_the_first_review_takes_it_to_where_the_score_is(world: World) -> None:
    world.apply(texts(BY_SCORE))
    (ann,) = world.people(tier=None)
    buy(world, ann, times=8)
    assert tier(world, ann) == "platinum"
    at(world, "2028-03-20T12:00")
    assert row(world, ann).review_on == date(2028, 4, 1)
    at(world, "2028-04-01T12:00")
    assert tier(world, ann) == "bronze"


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Pacific/Kiritimati", "2028-04-30T09:59", "2028-04-30T10:00"),  # 14 hours ahead
        ("Pacific/Honolulu", "2028-05-01T09:59", "2028-05-01T10:00"),
        ("Europe/Berlin", "2028-04-30T21:59", "2028-04-30T22:00"),
        ("Asia/Kolkata", "2028-04-30T18:29", "2028-04-30T18:30"),
        ("No/Where", "2028-04-30T21:59", "2028-04-30T22:00"),  # the workspace's
    ],
)
def test_reviews_come_at_each_ones_own_midnight(world: World, zone: str, before: str, after: str) -> None:
    world.now -= timedelta(days=5)
    ann = fallen(world, timezone=zone)
    at(world, "2028-03-10T12:00")
    at(world, before)
    assert tier(world, ann) == "gold"
    at(world, after)
    assert tier(world, ann) == "silver"


def test_a_move_across_the_date_line_is_no_second_review(world: World) -> None:
    world.apply(texts(BY_SCORE.replace("by_score", "one")))
    (ann,) = world.people(tier=None, timezone="Pacific/Kiritimati")
    buy(world, ann, times=8)
    at(world, "2028-03-31T12:00")  # 1 April in Kiritimati
    assert tier(world, ann) == "gold"
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(timezone="Pacific/Honolulu", updated_at=world.now))
    at(world, "2028-04-01T11:00")  # 1 April in Honolulu
    assert tier(world, ann) == "gold"


def test_an_imported_tier_counts_as_reached_and_a_lower_one_holds_until_the_next_review(world: World) -> None:
    world.apply(texts())
    matched, lowered = world.people(2, tier=None)
    buy(world, lowered, times=4)
    at(world, "2027-03-10T12:00")
    for i, name in ((matched, "platinum"), (lowered, "bronze")):
        with world.store.write() as conn:
            conn.execute(t.customer.update().where(t.customer.c.id == i).values(tier=name, updated_at=world.now))
    world.pass_time(minutes=1)
    accrue(world.store, now=world.now)
    assert (tier(world, matched), tier(world, lowered)) == ("platinum", "bronze")
    assert row(world, matched).review_on == date(2027, 6, 1)  # the grace begins on 1 April
    assert row(world, lowered).held_until == date(2027, 4, 1)
    buy(world, lowered)
    assert tier(world, lowered) == "bronze"
    at(world, "2027-04-01T12:00")
    assert (tier(world, matched), tier(world, lowered)) == ("platinum", "gold")
    at(world, "2027-06-01T12:00")
    assert tier(world, matched) == "gold"


def test_another_programme_has_everybody_looked_at(world: World) -> None:
    world.apply(texts())
    (ann,) = world.people(tier=None)
    buy(world, ann, times=3)
    assert tier(world, ann) == "silver"
    world.pass_time(hours=1)
    world.apply(texts(B2C.replace("gold: 4", "gold: 3")))
    accrue(world.store, now=world.now)
    assert tier(world, ann) == "gold"


def test_an_unknown_score_moves_nobody(world: World) -> None:
    world.apply(texts("\n    tier_by: account.annual_value\n    thresholds: { bronze: 0, gold: 100 EUR }\n"))
    (ann,) = world.people(tier="gold")
    at(world, "2027-05-01T12:00")
    assert (tier(world, ann), row(world, ann).score, row(world, ann).shortfall) == ("gold", None, None)


def test_a_look_that_finds_nothing_new_writes_nothing(world: World) -> None:
    ann = fallen(world)
    before = len(changes(world, ann))
    for _ in range(3):
        world.pass_time(minutes=5)
        accrue(world.store, now=world.now)
    assert accrue(world.store, now=world.now + timedelta(minutes=1)).looks == 0
    assert len(changes(world, ann)) == before


def test_points_of_a_year_are_found_by_an_index(world: World) -> None:
    """Whose points they are, merged records too: never by reading everybody's."""
    world.apply(texts("\n    points: [ 1 for bought ]\n    tier_by: points(365 days)\n    thresholds: { gold: 2 }\n"))
    ids = world.people(3, tier=None)
    seen: list[tuple[str, Any]] = []
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        if conn.dialect.name != "sqlite":
            return  # PostgreSQL chooses by its statistics
        score = force.project.program.classes["b2c"].tier_by
        assert score is not None
        sa.event.listen(conn, "before_cursor_execute", lambda *told: seen.append((told[2], told[3])))
        force.segments.of_units(conn, [score], "customer", ids, world.now)
        statement, bound = seen[-1]
        plan = [line[3] for line in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", bound)]
    points = [line for line in plan if "point_entry" in line]
    assert len(points) == 2 and all("unit_id=?" in line for line in points)


def test_points_by_hand_raise_the_tier_with_the_next_look(world: World) -> None:
    world.apply(texts("\n    points: [ 1 for bought ]\n    tier_by: points(365 days)\n    thresholds: { gold: 2 }\n"))
    (ann,) = world.people(tier=None)
    accrue(world.store, now=world.now)
    with world.store.write() as conn:
        force = in_force(conn)
        assert force is not None
        earn.award(conn, force.project, [earn.Award("gift", "customer", ann, 5, counts=True)], world.now)
    accrue(world.store, now=world.now)
    assert tier(world, ann) == "gold"
