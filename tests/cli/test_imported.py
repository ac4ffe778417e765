"""What an import says beyond its rows: a history that journeys would take for news, yeses that were never confirmed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import World

SILVER = """\
journey: silver
trigger: { segment_entry: silver }
steps: [ { email: hello } ]
"""
DAY = "2027-02-01T08:00:00+01:00"


@pytest.fixture
def begun(small: World) -> World:
    """A journey that begins with a segment, in force, and nobody there."""
    with (small.folder / "journeys" / "segments.yaml").open("a", encoding="utf-8") as segments:
        segments.write("silver: tier >= silver\n")
    (small.folder / "journeys" / "silver.yaml").write_text(SILVER, encoding="utf-8")
    assert small("apply", "-m", "first", "--yes").code == 0
    return small


def people(world: World, n: int, first: int = 0, **columns: Any) -> list[str]:
    rows = [{"key": f"p{i}", "class": "b2c", "tier": "silver", "email": f"p{i}@example.com", **columns}
            for i in range(first, first + n)]  # fmt: skip
    notes: list[str] = world.json("import", "customers", str(world.write(f"people{first}.csv", rows)))["notes"]
    return notes


def consents(world: World, rows: list[dict[str, str]]) -> list[str]:
    told = [{"medium": "email", "topic": "news", "occurred_at": DAY, **row} for row in rows]
    notes: list[str] = world.json("import", "consents", str(world.write("consents.csv", told)))["notes"]
    return notes


def test_a_history_under_journeys_in_force_is_told_with_what_to_do(begun: World):
    (note,) = people(begun, 60)
    assert note.startswith("60 of 60 customers came after the apply in force, and 2 journeys that begin with")
    assert ": golden, silver." in note and "`orchestrator pause --all --discard`" in note
    said = begun(
        "import", "customers", str(begun.write("more.csv", [{"key": f"q{i}", "class": "b2c"} for i in range(50)]))
    )
    assert "note: 110 of 110 customers came after the apply" in said.out


def test_an_ordinary_day_is_not(begun: World):
    assert people(begun, 49) == []


def test_nor_is_who_comes_to_many(small: World):
    people(small, 100)
    small.at.now = small.at.now.replace(hour=12)
    assert small("apply", "-m", "first", "--yes").code == 0
    assert people(small, 60, first=100) == []


def test_under_the_pause_that_it_asks_for_it_says_no_more_and_nobody_enters(begun: World):
    assert begun("pause", "--all", "--discard").code == 0
    assert people(begun, 60) == []
    begun.tick()
    assert begun("resume", "--all").code == 0
    assert not begun.tick().enrolled
    people(begun, 1, first=60)
    assert begun.tick().enrolled == {"silver": 1}


def test_before_the_first_apply_there_is_nothing_to_say(small: World):
    assert people(small, 60) == []


def test_yeses_that_must_be_confirmed_are_told_where_nobody_has(small: World):
    people(small, 3, country="DE")
    people(small, 1, first=3, country="GB")
    grants = [{"customer": f"p{i}", "action": "grant"} for i in range(4)]
    (note,) = consents(small, grants)
    assert note.startswith("3 yeses on email of people in DE have no `confirm` row")
    assert "docs/guide/consent.md" in note
    confirmed = {"action": "confirm", "occurred_at": "2027-02-02T08:00:00+01:00"}
    (note,) = consents(small, [{"customer": "p0", **confirmed}, {"customer": "p1", **confirmed}])
    assert note.startswith("1 yes on email of people in DE has no")
    assert consents(small, [{"customer": "p2", **confirmed}]) == []


def test_a_ground_that_needs_no_confirmation_is_none_of_them(small: World):
    people(small, 1, country="DE")
    assert consents(small, [{"customer": "p0", "action": "grant", "basis": "soft_opt_in"}]) == []
