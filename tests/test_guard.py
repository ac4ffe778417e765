"""The blast guard: an audience grown by more than the policy allows enters nobody until somebody has looked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.enroll import enroll
from orchestrator.store import tables as t
from orchestrator.store import versions
from orchestrator.tick import tick
from tests.outgoing import POLICIES, Broken, Statements, World, audit, files, journey, open_store, world_of

GUARD = POLICIES + "  guard: audience grew > 30%\n"
SEGMENTS = {"journeys__segments_dot_yaml": "gold: tier >= gold\n"}
STEP = "- email: hello"
CLUB = journey("club", STEP, "{ segment_entry: gold }", "reentry: always")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def put_in_force(world: World, text: str, name: str = "club", policies: str = GUARD) -> None:
    world.apply(files({name: text}, policies, **SEGMENTS))


def look(world: World) -> tuple[int, dict[str, str]]:
    """How many come in at the next look, and what it says of those held."""
    held: dict[str, str] = {}
    return sum(enroll(world.store, now=world.now, tell=held.__setitem__).values()), held


def resume(world: World, name: str = "club") -> None:
    with world.store.write() as conn:
        versions.resume(conn, name, by="me", now=world.now)


def paused(world: World) -> set[str]:
    with world.store.read() as conn:
        return set(versions.pauses(conn))


# ---- segments -------------------------------------------------------------------------------------------------------


def test_growth_within_bounds_goes_on_and_beyond_is_held(world: World):
    world.people(100, tier="gold")
    put_in_force(world, CLUB)
    assert look(world) == (0, {})
    world.people(30, tier="gold")
    world.pass_time(minutes=1)
    assert look(world) == (30, {})
    world.people(40, tier="gold")
    world.pass_time(minutes=1)
    count, held = look(world)
    assert count == 0 and paused(world) == {"club"}
    assert held == {
        "club": "segment `gold` has 170 customers now, and had 130: more than the guard allows (30%)"
    }  # fmt: skip
    with world.store.read() as conn:
        row = versions.pauses(conn)["club"]
    assert (row["by"], row["reason"], row["paused_at"]) == ("orchestrator", held["club"], world.now)
    world.pass_time(minutes=1)
    assert look(world) == (0, {}), "paused: it is not looked at again"
    assert world.one(sa.select(sa.func.count()).select_from(t.segment_member)) == 130
    resume(world)
    assert look(world) == (40, {}), "whom it found is what it is compared with now"
    world.people(60, tier="gold")
    world.pass_time(minutes=1)
    assert look(world)[0] == 0 and paused(world) == {"club"}


def test_without_the_policy_nothing_is_counted(world: World):
    world.people(10, tier="gold")
    put_in_force(world, CLUB, policies=POLICIES)
    world.people(500, tier="gold")
    world.pass_time(minutes=1)
    assert look(world) == (500, {})
    assert world.rows(sa.select(t.audience_seen)) == []


def test_a_handful_is_never_held(world: World):
    put_in_force(world, CLUB)
    world.people(49, tier="gold")
    assert look(world) == (49, {})


def test_an_audience_that_was_empty_at_the_apply_is_held_at_its_first_crowd(world: World):
    put_in_force(world, CLUB)
    world.people(50, tier="gold")
    count, held = look(world)
    assert count == 0 and "50 customers now, and had 0" in held["club"]
    resume(world)
    assert look(world) == (50, {})


def test_it_may_shrink_and_what_it_shrank_to_is_what_it_is_compared_with(world: World):
    ids = world.people(200, tier="gold")
    put_in_force(world, CLUB)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id > ids[99]).values(tier="silver"))
    assert look(world) == (0, {})
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(tier="gold"))
    world.pass_time(minutes=1)
    count, held = look(world)
    assert count == 0 and "has 200 customers now, and had 100" in held["club"]


def test_existing_members_were_counted_by_the_apply(world: World):
    world.people(300, tier="gold")
    put_in_force(world, journey("club", STEP, "{ segment_entry: gold, include_existing: true }"))
    assert look(world) == (300, {})


def test_a_crowd_that_leaves_at_once_is_held_too(world: World):
    ids = world.people(200, tier="gold")
    put_in_force(world, journey("bye", STEP, "{ segment_exit: gold }", "reentry: always"), "bye")

    def demote(*who: int) -> None:
        with world.store.write() as conn:
            conn.execute(t.customer.update().where(t.customer.c.id.in_(who)).values(tier="silver"))

    demote(*ids[:55])
    assert look(world) == (55, {})
    demote(*ids[55:140])
    world.pass_time(minutes=1)
    count, held = look(world)
    assert (count, held) == (
        0,
        {"bye": "85 customers of 145 would leave segment `gold` at once: more than the guard allows (30%)"},
    )
    resume(world, "bye")
    assert look(world) == (85, {})
    demote(*ids[140:])
    world.pass_time(minutes=1)
    assert look(world)[0] == 60, "85 at once were accepted"


def test_an_account_journey_counts_accounts(world: World):
    texts = {"journeys__segments_dot_yaml": 'big: { of: account, when: account.tier == "big" }\n'}
    text = journey("club", "- task: account_manager\n  message: Call", "{ segment_entry: big }", "unit: account")
    world.apply(files({"club": text}, GUARD, **texts))
    rows = [{"key": f"a{n}", "class": "b2b", "tier": "big", "name": f"A{n}", "attributes": {}} for n in range(60)]
    with world.store.write() as conn:
        conn.execute(t.account.insert(), [{**r, "created_at": world.now, "updated_at": world.now} for r in rows])
    assert "60 accounts now" in look(world)[1]["club"]


# ---- schedules and broadcasts ---------------------------------------------------------------------------------------

DAILY = journey("club", STEP, '{ schedule: "0 14 * * *", timezone: Europe/Berlin }', "reentry: always\noverlap: allow")


def test_the_first_run_is_compared_with_what_the_apply_counted(world: World):
    world.people(100)
    put_in_force(world, DAILY)
    world.people(40)
    world.pass_time(hours=3)
    count, held = look(world)
    assert count == 0
    assert held["club"] == "its audience is 140 customers now, and was 100: more than the guard allows (30%)"
    resume(world)
    world.pass_time(minutes=1)
    assert look(world) == (140, {})
    world.people(40)
    world.pass_time(days=1)
    assert look(world) == (180, {}), "a run is compared with the last one"


def test_an_apply_that_edits_a_journey_counts_anew(world: World):
    world.people(100)
    put_in_force(world, DAILY)
    world.people(200)
    put_in_force(world, DAILY.replace(STEP, STEP + "\n  - email: second"))
    world.pass_time(hours=3)
    assert look(world) == (300, {})


def test_an_apply_that_leaves_a_journey_alone_does_not(world: World):
    world.people(100)
    put_in_force(world, DAILY)
    world.people(200)
    world.apply(files({"club": DAILY, "other": journey("other", STEP)}, GUARD, **SEGMENTS))
    world.pass_time(hours=3)
    assert look(world)[0] == 0


def test_a_guard_declared_later_counts_when_it_is_applied(world: World):
    world.people(100)
    put_in_force(world, DAILY, policies=POLICIES)
    world.people(200)
    put_in_force(world, DAILY)
    world.people(200)
    world.pass_time(hours=3)
    assert "was 300" in look(world)[1]["club"]


def test_a_broadcast_is_held_and_missed_only_when_its_grace_is_over(world: World):
    world.people(60)
    put_in_force(world, journey("club", STEP, "{ at: 2027-03-01 14:00 }"))
    world.people(60)
    world.pass_time(hours=3)
    assert look(world)[0] == 0
    world.pass_time(hours=8)
    resume(world)
    assert look(world) == (120, {})


def test_by_the_recipients_clock_zones_are_one_audience(world: World):
    """Each zone brings its own share of the same people: no growth."""
    world.people(60, timezone="Asia/Tokyo")
    world.people(100, timezone="Europe/Berlin")
    world.people(200, timezone="America/New_York")
    trigger = '{ schedule: "0 9 * * *", timezone: recipient }'
    put_in_force(world, journey("club", STEP, trigger, "reentry: always\noverlap: allow"))
    total = 0
    for _ in range(48):
        world.pass_time(hours=1)
        count, held = look(world)
        assert not held
        total += count
    assert total == 2 * 360


# ---- dates ----------------------------------------------------------------------------------------------------------

JOINED = journey("club", STEP, "{ date: every year on joined, at: 09:00 }", "reentry: always")


def test_days_are_compared_with_the_greatest_one(world: World):
    """An import that gives everybody one date is the accident; a busy first of the month is none."""
    for day in range(1, 29):
        world.people(60 if day == 1 else 5, joined=date(2020, 3, day))
    put_in_force(world, JOINED)
    counts = []
    for _ in range(5):
        world.pass_time(days=1)
        counts.append(look(world))
    assert counts == [(5, {})] * 5
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(joined=date(2019, 3, 9)))
    world.pass_time(days=2)
    assert look(world) == (0, {})
    world.pass_time(days=1)
    count, held = look(world)
    assert count == 0
    assert held["club"] == (
        "195 customers are due at once by `customer.joined`, and on no day before were there more than 60: "
        "more than the guard allows (30%)"
    )


def test_zones_of_one_day_are_one_crowd(world: World):
    for zone in ("Asia/Tokyo", "Europe/Berlin", "America/New_York"):
        world.people(60, timezone=zone, joined=date(2020, 3, 3))
    put_in_force(world, JOINED)
    total = 0
    for _ in range(72):
        world.pass_time(hours=1)
        count, held = look(world)
        assert not held
        total += count
    assert total == 180


def test_dates_of_records_to_come_are_counted_at_the_apply(world: World):
    """90 days before a date that is months away: the greatest day within a year."""
    ids = world.people(60, joined=date(2027, 9, 1)) + world.people(10, joined=date(2027, 7, 1))
    put_in_force(world, journey("club", STEP, "{ date: 90 days before joined, at: 09:00 }", "reentry: always"))
    assert world.one(sa.select(t.audience_seen.c.units)) == 60
    world.now = datetime(2027, 4, 2, 12, tzinfo=UTC)
    assert look(world) == (10, {})
    world.now = datetime(2027, 6, 3, 12, tzinfo=UTC)
    assert look(world) == (len(ids) - 10, {})


# ---- crashes, other workers, the tick -------------------------------------------------------------------------------


@pytest.mark.parametrize("extra, enters", [(20, 20), (60, 0)])
def test_a_crash_anywhere_repeats_the_same_look(database_url: str, extra: int, enters: int):
    world = world_of(database_url)
    world.people(100, tier="gold")
    put_in_force(world, CLUB)
    world.people(extra, tier="gold")
    world.pass_time(minutes=1)
    with Statements(world.store.engine) as statements:
        for n in range(100):
            statements.break_after(n)
            with suppress(Broken):
                enroll(world.store, now=world.now)
                break
            statements.break_after(None)
            assert paused(world) in (set(), {"club"})
        statements.break_after(None)
        enroll(world.store, now=world.now)
    assert world.one(sa.select(sa.func.count()).select_from(t.enrollment)) == enters
    assert paused(world) == (set() if enters else {"club"})
    if not enters:
        resume(world)
        world.pass_time(minutes=1)
        assert look(world) == (extra, {})
    world.store.close()


def test_of_two_workers_at_once_none_slips_through(database_url: str):
    """What the first holds and accepts for later must not let the second in at once."""
    world = world_of(database_url)
    world.people(100, tier="gold")
    put_in_force(world, CLUB)
    world.people(100, tier="gold")
    begin = threading.Barrier(3)
    counts: list[int] = []

    def work() -> None:
        store = open_store(database_url)
        begin.wait(30)
        counts.append(sum(enroll(store, now=world.now).values()))
        store.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [0, 0, 0] and paused(world) == {"club"}
    world.store.close()


def test_the_operator_is_told_by_the_tick(world: World):
    world.people(100, tier="gold")
    put_in_force(world, CLUB)
    world.people(100, tier="gold")
    channels: Any = world.channels
    report = tick(world.store, channels, world.keys, clock=lambda: world.now, budget_seconds=60, worker="w")
    assert report.paused == ("club",) and "paused club" in report.summary
    [problem] = report.problems
    assert "200 customers now, and had 100" in problem and "`orchestrator resume club`" in problem
    assert problem in report.markdown()


def test_a_pause_of_everything_stops_at_the_next_trigger(world: World):
    """A tick under way enters nobody by the triggers it has not come to yet."""
    world.people(10)
    texts = {name: journey(name, STEP, "{ at: 2027-03-01 13:00 }") for name in ("a", "b", "c")}
    world.apply(files(texts))
    world.pass_time(hours=2)
    plain = versions.hold_trigger
    looked: list[str] = []

    def after_the_first(conn, name, key):
        if looked:
            versions.pause(conn, "*", by="me", reason="", now=world.now)
        looked.append(name)
        return plain(conn, name, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "hold_trigger", after_the_first)
        assert dict(enroll(world.store, now=world.now)) == {"a": 10, "b": 0, "c": 0}
    resume(world, "*")
    assert sum(enroll(world.store, now=world.now + timedelta(minutes=1)).values()) == 20


# ---- how it is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "growth"),
    [
        ("audience grew > 30%", 0.3),
        ("audience  grows > 12.5 %", 0.125),
        ("audience grew > 200%", 2.0),
        ("audience grew > 0%", 0.0),
        ("off", None),
    ],
)
def test_how_it_is_written(text: str, growth: float | None):
    from tests.outgoing import _loaded

    project = _loaded(tuple(sorted(files({"club": CLUB}, POLICIES + f"  guard: {text}\n", **SEGMENTS).items())))
    assert project.vocabulary.policies.growth == growth


@pytest.mark.parametrize("text", ["30%", "audience grew > 30", "audience grew < 30%", "audience shrank > 30%", "on"])
def test_what_is_refused(text: str):
    from orchestrator.problems import ProjectError
    from orchestrator.project import load_files

    with pytest.raises(ProjectError) as raised:
        load_files(files({"club": CLUB}, POLICIES + f"  guard: {text}\n", **SEGMENTS))
    [problem] = raised.value.problems
    assert problem.code == "bad-guard" and "audience grew > 30%" in problem.hint
