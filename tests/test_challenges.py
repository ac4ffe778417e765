"""Challenges: done once, or again; silent where they were fulfilled before; points, badges, who sees what."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import earn, play, pseudonym
from orchestrator.apply import in_force
from orchestrator.earn import Award
from orchestrator.store import challenges, merging, players, versions
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
            kept = versions.settings(conn, *play.kept_names(force.project))
            assert not play.is_due(conn, force.project, kept, found.now)


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


# ---- leaderboards ---------------------------------------------------------------------------------------------------


def earns(found: Game, who: int, points: int, at: datetime | None = None, **more: Any) -> None:
    with found.store.write() as conn:
        force = in_force(conn)
        assert force is not None
        unit = more.pop("unit", "customer")
        award = Award(f"t:{unit}:{who}:{points}:{at}", unit, who, points, counts=True, at=at or found.now, **more)
        assert earn.award(conn, force.project, [award], found.now)


def board(found: Game, class_name: str = "b2c", unit: Any = "customer", **more: Any) -> list[tuple[int, str, int]]:
    with found.store.read() as conn:
        return [(p.rank, p.name, p.points) for p in players.leaderboard(conn, class_name, unit, **more)]


def join(found: Game, who: int, name: str = "", unit: Any = "customer") -> str:
    with found.store.write() as conn:
        return players.join(conn, unit, who, name, found.now)


def test_only_who_joined_stands_on_a_leaderboard(both: Game):
    found = both
    ann, bob, cem, dee = found.people(4, consents=None)
    for who, points in ((ann, 50), (bob, 90), (cem, 50), (dee, 500)):
        earns(found, who, points)
    join(found, ann, "Otter"), join(found, bob, "Quick Fox"), join(found, cem, "Älg")
    eve = found.person()
    join(found, eve, "Late-Owl")
    assert board(found) == [(1, "Quick Fox", 90), (2, "Otter", 50), (2, "Älg", 50), (4, "Late-Owl", 0)]
    assert board(found, limit=1, of=eve) == [(1, "Quick Fox", 90), (4, "Late-Owl", 0)]
    earns(found, ann, 7, found.now - timedelta(days=40))
    assert board(found, since=found.now - timedelta(days=30), limit=2)[1] == (2, "Otter", 50)
    assert board(found, until=found.now - timedelta(days=30), limit=1) == [(1, "Otter", 7)]
    with found.store.write() as conn:
        assert players.leave(conn, "customer", bob) and not players.leave(conn, "customer", bob)
    assert "Quick Fox" not in str(board(found))


def test_awards_that_do_not_count_and_points_spent_change_no_rank(found: Game):
    ann = found.person()
    join(found, ann, "Otter")
    earns(found, ann, 50)
    with found.store.write() as conn:
        force = in_force(conn)
        assert force is not None
        more = [Award("gift", "customer", ann, 1000), Award("spent", "customer", ann, -40, "spend")]
        assert len(earn.award(conn, force.project, more, found.now)) == 2
    assert board(found) == [(1, "Otter", 50)]


def test_accounts_have_a_leaderboard_of_their_own(found: Game):
    firm = found.company("nordwind")
    found.person(first_name="Greta", **{"class": "b2b", "account_id": firm})
    earns(found, firm, 30, unit="account")
    for name in ("Nordwind AG", "Team Greta"):
        with pytest.raises(players.Refused, match="recognised"):
            join(found, firm, name, "account")
    join(found, firm, "The Crew", "account")
    assert board(found, "b2b", "account") == [(1, "The Crew", 30)]
    assert board(found) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ab", "3 to 24"),
        ("x" * 25, "3 to 24"),
        ("me@home", "letters and figures"),
        ("Fox <b>", "letters and figures"),
        ("call 01713900001", "at most four figures"),
        ("otter", "somebody else"),
        ("Ann the Great", "recognised"),
        ("LEE1", "recognised"),
    ],
)
def test_names_that_cannot_be_had(found: Game, name: str, why: str):
    join(found, found.person(first_name="Bob", last_name="May"), "Otter")
    with pytest.raises(players.Refused, match=why):
        join(found, found.person(first_name="Ann", last_name="Lee", email="ann@example.com"), name)


def test_a_name_that_is_drawn_says_nothing(found: Game):
    ann = found.person()
    name = join(found, ann)
    assert pseudonym.problem(name, ()) == "" and join(found, ann) == name
    assert join(found, ann, "  New   Name ") == "New Name"
    assert len({pseudonym.drawn(n) for n in range(0, pseudonym.SPACE, 9_973)}) == len(range(0, pseudonym.SPACE, 9_973))
    assert all(len(w) >= 2 for w in pseudonym.FIRST) and len(set(pseudonym.FIRST)) == len(pseudonym.FIRST)
    longest = max(map(len, pseudonym.FIRST)) + max(map(len, pseudonym.SECOND)) + 5
    assert longest <= pseudonym.LONGEST
