"""Challenges: done once, or again; silent where they were fulfilled before; points, badges, who sees what."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import play
from orchestrator.apply import in_force
from orchestrator.store import challenges, merging
from orchestrator.store import tables as t
from tests.playing import Game, game, migrated_file, migrated_url, on_sqlite, snapshot  # noqa: F401

PROGRAM = """
b2c:
  challenges:
    first-review: { when: "count(reviewed) >= 1", points: 100, badge: critic }
    three-reviews: { when: "count(reviewed) >= 3", points: 300, hidden: true }
    monthly: { when: "count(reviewed, 30 days) >= 1", points: 10, again: 30 days }
    spring: { when: "count(bought) >= 1", points: 50, until: 2027-03-05 }
  titles:
    first-review: { en: Your first review, de: Die erste Bewertung }
b2b:
  challenges:
    team-review: { when: "count(reviewed) >= 2", points: 40 }
"""


@pytest.fixture
def found(migrated_file: Path, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    with on_sqlite(migrated_file, tmp_path, PROGRAM) as found:
        yield found


@pytest.fixture
def both(migrated_url: str, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    """On each of the two databases: for what asks most of their SQL."""
    with game(migrated_url, tmp_path, PROGRAM) as found:
        yield found


def done(found: Game) -> list[tuple[str, int, int, bool]]:
    a = t.achievement.c
    return [tuple(row) for row in found.rows(sa.select(a.challenge, a.unit_id, a.points, a.silent).order_by(a.id))]


def test_a_challenge_is_done_once(both: Game):
    found = both
    ann = found.person()
    found.look()
    found.pass_time(hours=1)
    found.tell("reviewed", ann, stars=5)
    found.look()
    assert done(found) == [("first-review", ann, 100, False), ("monthly", ann, 10, False)]
    [event, _] = found.events("challenge_completed")
    assert event.properties == {"challenge": "first-review", "points": 100, "badge": "critic"}
    assert event.key == f"challenge:b2c:first-review:customer:{ann}:1"
    assert found.points() == {("customer", ann): 110}
    before = snapshot(found)
    found.look()
    found.pass_time(days=2)
    found.tell("reviewed", ann)
    found.look()
    assert snapshot(found) - before == {"event": 1}


def test_again_after_its_time_and_not_before(found: Game):
    ann = found.person(timezone="America/New_York")
    found.look()
    found.pass_time(minutes=1)
    found.tell("reviewed", ann)
    found.look()
    found.pass_time(days=29)
    found.tell("reviewed", ann)
    found.look()
    assert [row[0] for row in done(found)] == ["first-review", "monthly"]
    found.pass_time(days=1)  # by her own clock, which has lost an hour in between
    found.tell("reviewed", ann, at=found.now)
    found.look()
    assert [row[0] for row in done(found)] == ["first-review", "monthly", "three-reviews", "monthly"]
    keys = [event.key for event in found.events("challenge_completed")]
    assert keys[-1] == f"challenge:b2c:monthly:customer:{ann}:2"


def test_not_after_its_last_day_by_her_own_clock(found: Game):
    late, early = found.person(timezone="Asia/Tokyo"), found.person(timezone="America/Los_Angeles")
    found.look()
    found.now = datetime(2027, 3, 5, 20, tzinfo=UTC)  # the 6th in Tokyo, the 5th at noon in California
    for who in (late, early):
        found.tell("bought", who, order_id=f"o{who}", amount=1000, amount_currency="EUR")
    found.look()
    assert [row[:2] for row in done(found)] == [("spring", early)]


def test_a_tick_that_comes_late_counts_what_was_in_time(found: Game):
    ann = found.person()
    found.look()
    found.pass_time(days=1)
    found.tell("bought", ann, order_id="o1", amount=1000, amount_currency="EUR")
    found.now = datetime(2027, 3, 9, tzinfo=UTC)  # no tick for days
    found.look()
    [event] = found.events("challenge_completed")
    assert event.properties["challenge"] == "spring"
    assert event.occurred_at == datetime(2027, 3, 2, 11, tzinfo=UTC)


def test_who_fulfilled_it_before_it_was_there_has_done_it_silently(migrated_url: str, tmp_path: Path):  # noqa: F811
    with game(migrated_url, tmp_path, "b2c: { leaderboard: true }") as found:
        ann, bob = found.people(2, consents=None)
        found.tell("reviewed", ann)
        found.look()
        found.pass_time(days=1)
        found.begin(PROGRAM)
        found.pass_time(minutes=5)
        found.tell("reviewed", bob)  # after the apply, before the first tick: new
        found.look()
        firsts = [row for row in done(found) if row[0] == "first-review"]
        assert firsts == [("first-review", ann, 0, True), ("first-review", bob, 100, False)]
        assert found.points() == {("customer", bob): 110}
        assert {event.customer_id for event in found.events("challenge_completed")} == {bob}
        # Edited: a new baseline, silent again, for what nobody did before.
        found.pass_time(days=1)
        found.begin(PROGRAM.replace("count(bought) >= 1", "count(reviewed) >= 1").replace("spring", "spring2"))
        found.look()
        assert [row for row in done(found) if row[0] == "spring2"] == [
            ("spring2", ann, 0, True),
            ("spring2", bob, 0, True),
        ]


def test_include_existing_gives_points_to_everybody(migrated_file: Path, tmp_path: Path):  # noqa: F811
    program = """
b2c:
  challenges: { first-review: { when: "count(reviewed) >= 1", points: 100, include_existing: true } }
"""
    with on_sqlite(migrated_file, tmp_path, "b2c: { leaderboard: true }") as found:
        ann = found.person()
        found.tell("reviewed", ann)
        found.look()
        found.pass_time(days=1)
        found.begin(program)
        found.look()
        assert done(found) == [("first-review", ann, 100, False)]
        assert found.points() == {("customer", ann): 100}


def test_what_comes_true_by_time_alone_is_found_the_next_day(migrated_file: Path, tmp_path: Path):  # noqa: F811
    program = """
b2c:
  challenges: { loyal: { when: "joined is more than 1 year ago", points: 5 } }
"""
    with on_sqlite(migrated_file, tmp_path, program) as found:
        ann = found.person(joined=date(2026, 3, 4))
        found.look()
        assert done(found) == []
        found.pass_time(days=2)
        assert not found.look().played
        found.pass_time(days=2)
        assert found.look().played == 1
        assert done(found) == [("loyal", ann, 5, False)]
        with found.store.read() as conn:
            force = in_force(conn)
            assert force is not None
            assert not play.is_due(conn, force.project, found.now)


def test_an_account_does_what_its_contacts_do(both: Game):
    found = both
    firm = found.company("nord")
    one, two = (
        found.person(**{"class": "b2b", "account_id": firm}),
        found.person(**{"class": "b2b", "account_id": firm}),
    )
    found.look()
    found.pass_time(hours=1)
    found.tell("reviewed", one)
    found.tell("reviewed", two)
    found.look()
    assert done(found) == [("team-review", firm, 40, False)]
    [event] = found.events("challenge_completed")
    assert (event.account_id, event.customer_id) == (firm, None)
    assert found.points() == {("account", firm): 40}


def test_hidden_ones_are_shown_when_they_are_done(found: Game):
    ann = found.person()
    found.look()

    def seen(locale: str = "") -> dict[str, str]:
        with found.store.read() as conn:
            force = in_force(conn)
            assert force is not None
            shown = play.progress(conn, force.project, "customer", ann, "b2c", locale)
        return {one.name: f"{one.title}{' ✓' * one.times}" for one in shown}

    assert seen("de-AT") == {"first-review": "Die erste Bewertung", "monthly": "monthly", "spring": "spring"}
    found.pass_time(hours=1)
    for _ in range(3):
        found.tell("reviewed", ann)
    found.look()
    assert seen("en") == {
        "first-review": "Your first review ✓",
        "three-reviews": "three reviews ✓",
        "monthly": "monthly ✓",
        "spring": "spring",
    }


def test_two_records_of_one_person_did_what_either_did(found: Game):
    ann, twin = found.people(2, consents=None)
    found.look()
    found.pass_time(hours=1)
    found.tell("reviewed", twin)
    found.look()
    with found.store.write() as conn:
        merging.merge(conn, ann, twin, now=found.now)
        standing = challenges.done_by(conn, "customer", [ann])[ann]
    assert set(standing) == {"first-review", "monthly"}
    assert standing["first-review"].times == 1


def test_statements_do_not_grow_with_people(found: Game):
    from tests.outgoing import Statements

    def taken(count: int) -> int:
        ids = found.people(count, consents=None)
        found.pass_time(minutes=1)
        for who in ids:
            found.tell("reviewed", who)
        with Statements(found.store.engine) as counted:
            counted.break_after(None)
            found.look()
            return counted.count

    found.look()
    taken(1)
    assert taken(2) == taken(20)
