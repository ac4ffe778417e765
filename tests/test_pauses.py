"""Hold or discard, shift or catch up: what a pause does with those who come, and what its end with those inside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from orchestrator.apply import in_force
from orchestrator.problems import Conflict
from orchestrator.resume import How, Outlook, Resumed, outlooks, span
from orchestrator.resume import resume as let_go
from orchestrator.store import tables as t
from orchestrator.store import versions
from tests.outgoing import NOON, Statements, World, audit, files, journey, world_of

SEGMENTS = {"journeys__segments_dot_yaml": "gold: tier >= gold\n"}
EVENTS = journey("club", "- email: hello\n- wait: 3 days\n- email: second")
GOLD = journey("club", "- email: hello", "{ segment_entry: gold }", "reentry: always")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def put_in_force(world: World, *texts: str) -> None:
    world.apply(files({text.split()[1]: text for text in texts}, **SEGMENTS))


def stop(world: World, meanwhile: Literal["hold", "discard"] = "hold", scope: str = "club") -> None:
    with world.store.write() as conn:
        assert versions.pause(conn, scope, by="me", reason="", now=world.now, meanwhile=meanwhile)


def go_on(world: World, how: How = "catch_up", scope: str = "club") -> Resumed:
    done = let_go(world.store, scope, by="me", now=world.now, how=how)
    assert done is not None
    return done


def ahead(world: World, scope: str = "club") -> Outlook:
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        return outlooks(conn, force, world.now)[scope]


def entered(world: World, name: str = "club") -> int:
    query = sa.select(sa.func.count()).select_from(t.enrollment).where(t.enrollment.c.journey == name)
    return int(world.one(query))


def sent(world: World, step: str) -> list[datetime]:
    m = t.message.c
    query = sa.select(m.settled_at).where(m.step == step, m.state == "sent").order_by(m.settled_at)
    return [row.settled_at for row in world.rows(query)]


def days(world: World, count: int) -> None:
    """A tick at noon of each."""
    for _ in range(count):
        world.pass_time(days=1)
        world.tick()


# ---- who comes meanwhile --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("meanwhile", "expected"), [("hold", 2), ("discard", 0)])
def test_what_happens_during_a_pause(world: World, meanwhile: Literal["hold", "discard"], expected: int):
    people = world.people(4)
    put_in_force(world, EVENTS)
    stop(world, meanwhile)
    world.pass_time(hours=1)
    world.event(people[:1])
    world.pass_time(days=5)  # longer than `missed_runs.grace`: a pause is no delay
    world.event(people[1:2])
    world.tick()
    assert entered(world) == 0
    assert (
        "enters then" in ahead(world).in_words() if meanwhile == "hold" else "does not enter" in ahead(world).in_words()
    )
    go_on(world)
    world.tick()
    assert entered(world) == expected
    world.event(people[2:3])
    world.tick()
    assert entered(world) == expected + 1
    world.event(people[3:])
    world.pass_time(days=2)  # after that look what comes late is late again
    world.tick()
    assert entered(world) == expected + 1


def test_what_wants_nothing_late_gets_nothing_late_out_of_a_pause(world: World):
    people = world.people(2)
    put_in_force(world, EVENTS.replace("steps:", "missed_runs: { grace: 2 hours, then: skip }\nsteps:"))
    stop(world)
    world.event(people[:1])
    world.pass_time(days=1)
    world.event(people[1:])
    go_on(world)
    world.tick()
    assert entered(world) == 1


@pytest.mark.parametrize(("meanwhile", "expected"), [("hold", 3), ("discard", 0)])
def test_who_came_into_a_segment_during_a_pause(world: World, meanwhile: Literal["hold", "discard"], expected: int):
    world.people(2, tier="gold")
    put_in_force(world, GOLD)
    world.pass_time(minutes=1)
    world.tick()
    stop(world, meanwhile)
    world.people(3, tier="gold")
    world.pass_time(days=2)
    go_on(world)
    world.tick()
    assert entered(world) == expected
    world.people(1, tier="gold")
    world.pass_time(minutes=1)
    world.tick()
    assert entered(world) == expected + 1


def test_who_left_a_segment_during_a_pause_that_discards(world: World):
    ids = world.people(2, tier="gold")
    put_in_force(world, GOLD.replace("segment_entry", "segment_exit"))
    stop(world, "discard")
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == ids[0]).values(tier="silver"))
    world.pass_time(days=2)
    go_on(world)
    world.tick()
    assert entered(world) == 0
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(tier="silver"))
    world.pass_time(minutes=1)
    world.tick()
    assert entered(world) == 1, "who leaves afterwards does enter"


@pytest.mark.parametrize(("meanwhile", "then", "expected"), [
    ("hold", "latest", 1), ("hold", "all", 3), ("hold", "skip", 0), ("discard", "all", 0)
])  # fmt: skip
def test_a_schedule_that_was_paused_counts_as_missed(
    world: World, meanwhile: Literal["hold", "discard"], then: str, expected: int
):
    """Each run is for everybody: what becomes of several is `missed_runs`' to say, as after any other stop."""
    world.people(1)
    more = f"missed_runs: {{ grace: 1 hour, then: {then} }}\noverlap: allow\nreentry: always"
    put_in_force(world, journey("club", "- wait: 30 days", '{ schedule: "0 9 * * *", timezone: Europe/Berlin }', more))
    stop(world, meanwhile)
    world.pass_time(days=3)  # at noon: three mornings at nine, the last three hours ago
    go_on(world)
    world.tick()
    assert entered(world) == expected


@pytest.mark.parametrize(("meanwhile", "expected"), [("hold", 3), ("discard", 0)])
def test_days_of_single_people_are_no_runs_of_all(world: World, meanwhile: Literal["hold", "discard"], expected: int):
    """An anniversary comes once a year: the hold keeps each, whatever its morning."""
    for n in range(3):
        world.people(1, joined=(NOON + timedelta(days=n + 1 - 365)).date())
    put_in_force(world, journey("club", "- wait: 30 days", "{ date: every year on joined, at: 09:00 }"))
    stop(world, meanwhile)
    world.pass_time(days=4)
    go_on(world)
    world.tick()
    assert entered(world) == expected


@pytest.mark.parametrize(("meanwhile", "expected"), [("hold", 1), ("discard", 0)])
def test_who_is_sent_into_a_paused_journey(world: World, meanwhile: Literal["hold", "discard"], expected: int):
    put_in_force(world, EVENTS, journey("asks", "- enter: club", "{ event: bought }"))
    stop(world, meanwhile)
    world.event(world.people(1), "bought", order_id="o1")
    world.tick()
    assert entered(world) == expected
    assert not sent(world, "email:hello"), "at the door, and not through it"
    told = [d["because"] for (d,) in world.rows(sa.select(t.trace.c.detail).where(t.trace.c.what == "not_entered"))]
    assert told == ([] if meanwhile == "hold" else ["paused"])
    world.pass_time(days=1)
    go_on(world, "shift")
    world.tick()
    assert len(sent(world, "email:hello")) == expected


# ---- who is inside --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "due"), [("catch_up", 5), ("shift", 7)])
def test_waits_after_a_pause_of_four_days(world: World, how: How, due: int):
    """Sent on day 0, a wait of three days; paused from day 1 to day 5."""
    put_in_force(world, EVENTS)
    world.event(world.people(2))
    world.tick()
    days(world, 1)
    stop(world)
    days(world, 4)
    found = ahead(world)
    assert (found.inside, found.due, found.waits, found.length) == (2, 2, 2, timedelta(days=4))
    done = go_on(world, how)
    assert done.shifted == (2 if how == "shift" else 0)
    world.tick()
    days(world, 4)
    assert sent(world, "email:second") == [NOON + timedelta(days=due)] * 2


def test_a_wait_that_ends_after_the_pause_is_prolonged_too_and_twice_by_two_pauses(world: World):
    put_in_force(world, EVENTS)
    world.event(world.people(1))
    world.tick()
    for _ in range(2):
        stop(world)
        days(world, 1)
        go_on(world, "shift")
    days(world, 2)
    assert not sent(world, "email:second")
    days(world, 2)
    assert sent(world, "email:second") == [NOON + timedelta(days=5)]


def test_a_shift_moves_lengths_of_time_and_no_day(world: World):
    until = "- wait_until: 2 days after joined\n- email: hello"
    waits = "- wait_for: { event: bought, timeout: 2 days, else: [ { email: second } ] }"
    put_in_force(world, journey("day", until), journey("club", waits))
    world.event(world.people(1, joined=NOON.date()))
    world.tick()
    stop(world, scope="*")
    days(world, 4)
    found = ahead(world, "*")
    assert (found.inside, found.due, found.waits) == (2, 2, 1)
    go_on(world, "shift", "*")
    world.tick()
    assert sent(world, "email:hello") == [NOON + timedelta(days=4)]
    assert not sent(world, "email:second")
    days(world, 2)
    assert sent(world, "email:second") == [NOON + timedelta(days=6)]


def test_what_was_waited_for_during_the_pause_counts_whichever_way(world: World):
    waits = "- wait_for: { event: bought, timeout: 2 days, already_true: ignore, then: [ { email: second } ] }"
    put_in_force(world, journey("club", waits))
    people = world.people(1)
    world.event(people)
    world.tick()
    stop(world)
    world.pass_time(days=1)
    world.event(people, "bought", order_id="o1")
    days(world, 2)
    go_on(world, "shift")
    world.tick()
    assert sent(world, "email:second") == [world.now]


def test_the_first_of_several_has_its_time_prolonged(world: World):
    tries = "- first_of: [ { email: hello }, { sms: short } ]\n  until: opened\n  within: 2 days"
    put_in_force(world, journey("club", tries))
    world.event(world.people(1))
    world.tick()
    days(world, 1)
    stop(world)
    days(world, 3)
    go_on(world, "shift")
    world.tick()
    assert not sent(world, "sms:short")
    days(world, 1)
    assert len(sent(world, "sms:short")) == 1


def test_a_shift_keeps_the_spacing_of_a_throttle(world: World):
    put_in_force(world, EVENTS.replace("steps:", "throttle: 2 per hour\nsteps:"))
    world.event(world.people(4))
    world.move()
    stop(world)
    world.pass_time(days=1)
    assert go_on(world, "shift").put_off > 0
    world.tick()
    assert 1 <= len(sent(world, "email:hello")) <= 2
    for _ in range(3):
        world.pass_time(hours=1)
        world.tick()
    assert len(sent(world, "email:hello")) == 4
    assert len(set(sent(world, "email:hello"))) >= 2


def test_one_journey_is_not_shifted_while_everything_is_paused(world: World):
    put_in_force(world, EVENTS)
    stop(world)
    stop(world, scope="*")
    with pytest.raises(Conflict, match="resume --all"):
        let_go(world.store, "club", by="me", now=world.now, how="shift")
    go_on(world, "shift", "*")
    go_on(world, "shift")
    assert let_go(world.store, "club", by="me", now=world.now) is None


def test_a_pause_by_name_within_a_pause_of_everything_loses_none_of_the_time(world: World):
    put_in_force(world, EVENTS)
    world.event(world.people(1))
    world.tick()
    stop(world, scope="*")
    days(world, 1)
    stop(world)
    days(world, 1)
    go_on(world, "shift", "*")
    days(world, 1)
    go_on(world, "shift")
    days(world, 2)
    assert not sent(world, "email:second")  # two of three days waited
    days(world, 1)
    assert sent(world, "email:second") == [NOON + timedelta(days=6)]


def test_everything_resumed_leaves_alone_what_is_paused_by_name(world: World):
    other = journey("other", "- wait: 1 hour\n- email: second", "{ event: bought }")
    put_in_force(world, EVENTS, other)
    people = world.people(1)
    world.event(people, "bought", order_id="o1")
    world.tick()
    stop(world, "discard", "other")
    stop(world, "discard", "*")
    world.event(people)
    world.pass_time(days=1)
    found = ahead(world, "*")
    assert (found.inside, found.due) == (0, 0)
    assert go_on(world, "shift", "*").shifted == 0
    world.tick()
    assert entered(world) == 0
    assert not sent(world, "email:second")


# ---- on record ------------------------------------------------------------------------------------------------------


def test_the_log_says_how_it_was_paused_and_resumed(world: World):
    put_in_force(world, EVENTS)
    world.event(world.people(2))
    world.tick()
    stop(world, "discard")
    world.pass_time(days=4)
    go_on(world, "shift")
    with world.store.read() as conn:
        rows = conn.execute(sa.select(t.log.c.verdict, t.log.c.body).where(t.log.c.kind == "operation")).all()
    said: list[tuple[str, Any]] = [(row.verdict, _read(row.body)) for row in rows]
    assert said == [
        ("paused", {"by": "me", "scope": "club", "meanwhile": "discard"}),
        (
            "resumed",
            {
                "by": "me", "scope": "club", "how": "shift", "meanwhile": "discard", "seconds": 345600,
                "inside": 2, "due": 2, "messages": 0,
            },
        ),
    ]  # fmt: skip


def _read(body: Any) -> Any:
    import msgspec

    return msgspec.json.decode(body) if isinstance(body, bytes | str) else body


def test_the_numbers_in_words(world: World):
    put_in_force(world, EVENTS)
    world.event(world.people(3))
    world.tick()
    stop(world)
    assert ahead(world).in_words() == (
        "3 inside, 0 due meanwhile; resume --catch-up moves 0 on at once, --shift moves 0 on at once, the other waits "
        "end less than a minute later; who would have entered meanwhile enters then"
    )
    world.pass_time(days=5, hours=3)
    assert (
        ahead(world)
        .in_words()
        .startswith(
            "3 inside, 3 due meanwhile; resume --catch-up moves 3 on at once, --shift moves 0 on at once, the other "
            "waits end 5 days 3 hours later"
        )
    )
    assert span(timedelta(minutes=61)) == "1 hour 1 minute"


def test_a_resume_takes_the_same_statements_for_many(world: World):
    put_in_force(world, EVENTS.replace("steps:", "throttle: 100 per hour\nsteps:"))
    counts = []
    for n in (2, 300):
        world.event(world.people(n, consents=None))
        world.move()
        stop(world)
        world.pass_time(days=1)
        with Statements(world.store.engine) as statements:
            go_on(world, "shift")
            counts.append(statements.count)
    assert counts[1] <= counts[0] + 5, "the second has runs that were paused before"
