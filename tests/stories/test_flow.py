"""What one journey does to another, to people, and to what is already queued: the verbs in a row, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.store import Store
from orchestrator.store import tables as t
from tests.outgoing import World, audit, files, journey


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    store = Store.open(database_url, create=True)
    store.migrate()
    yield World(store, tmp_path / "outbox")
    store.close()


def _runs(world: World, name: str) -> list[tuple[int, str | None]]:
    query = sa.select(t.enrollment.c.unit_id, t.enrollment.c.ended_because).where(t.enrollment.c.journey == name)
    return [tuple(row) for row in world.rows(query.order_by(t.enrollment.c.unit_id))]


def test_enter_sends_each_one_on_once_for_each_time_they_come(world: World) -> None:
    first = journey("first", "- enter: second\n- exit", more="reentry: always")
    second = journey("second", "- email: hello", "api", "reentry: always")
    world.apply(files({"first": first, "second": second}))
    people = world.people(3)
    world.event(people)
    world.tick()
    assert _runs(world, "second") == [(who, "completed") for who in people]
    world.move()
    assert len(_runs(world, "second")) == 3, "a replay enters nobody again"
    world.pass_time(hours=1)
    world.event(people[:1])
    world.tick()
    assert len(_runs(world, "second")) == 4, "another run of the first sends her on once more"
    audit(world)


def test_a_goal_wakes_the_sleeper_and_withdraws_what_is_queued(world: World) -> None:
    steps = "- wait: 1 day\n- sms: short\n- wait: 30 days\n- email: second"
    world.apply(files({"shop": journey("shop", steps, more="goal: { event: bought, within: 60 days }")}))
    early, late = world.people(2)
    world.event([early, late])
    world.tick()
    world.event([early], "bought", order_id="o1")
    world.tick()
    assert _runs(world, "shop") == [(early, "goal"), (late, None)]
    world.pass_time(days=1, hours=11)  # a night text: held until eight
    world.tick()
    assert world.states()["held"] == 1
    world.event([late], "bought", order_id="o2")
    world.tick()
    assert world.states() == {"cancelled": 1}
    world.pass_time(days=2)
    world.tick()
    assert not world.outbox()
    audit(world)


def test_an_exit_on_state_acts_when_the_field_is_written(world: World) -> None:
    steps = "- wait: 10 days\n- email: hello"
    world.apply(files({"stay": journey("stay", steps, more='exit_when: town == "Gone"')}))
    (who,) = world.people()
    world.event([who])
    world.tick()
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(attributes={"town": "Gone"}, updated_at=world.now))
    world.pass_time(minutes=1)
    world.tick()
    assert _runs(world, "stay") == [(who, "exited")]


def test_an_update_is_seen_by_the_branch_behind_it(world: World) -> None:
    steps = """
- update: { town: Rome }
- branch:
    - if: town == "Rome"
      steps: [ { email: town } ]
    - else: [ { email: hello } ]
"""
    world.apply(files({"move": journey("move", steps)}))
    (who,) = world.people()
    world.event([who])
    world.tick(4)
    assert [m.template for m in world.messages()] == ["town"]
    assert "Rome" in world.opened(world.outbox()[0])


def test_a_throttled_broadcast_goes_out_slot_by_slot(world: World) -> None:
    world.apply(files({"cast": journey("cast", "- email: hello", more="throttle: 2 per hour")}))
    world.event(world.people(5))
    sent = []
    for _ in range(3):
        world.tick()
        sent.append(len(world.outbox()))
        world.pass_time(hours=1)
    assert sent == [2, 4, 5]
    audit(world)


def test_a_pause_holds_everything_and_a_resume_goes_on(world: World) -> None:
    from orchestrator.store import versions

    world.apply(files({"plain": journey("plain", "- email: hello")}))
    people = world.people(2)
    with world.store.write() as conn:
        versions.pause(conn, "plain", by="me", reason="", now=world.now)
    world.event(people)
    world.tick()
    assert not world.messages()
    with world.store.write() as conn:
        versions.resume(conn, "plain", by="me", now=world.now)
    world.pass_time(hours=1)
    world.tick()
    assert world.states() == {"sent": 2}


def test_an_edit_leaves_those_inside_on_their_version(world: World) -> None:
    world.apply(files({"plain": journey("plain", "- wait: 1 day\n- email: hello")}))
    old, new = world.people(2)
    world.event([old])
    world.tick()
    world.apply(files({"plain": journey("plain", "- wait: 1 day\n- email: second")}))
    world.pass_time(hours=1)
    world.event([new])
    world.tick()
    world.now += timedelta(days=2)
    world.tick()
    assert {m.customer_id: m.template for m in world.messages()} == {old: "hello", new: "second"}


def test_an_event_dated_ahead_starts_its_run_when_its_time_comes(world: World) -> None:
    world.apply(files({"plain": journey("plain", "- email: hello", more="reentry: always")}))
    early, late = world.people(2)
    world.now += timedelta(hours=3)
    world.event([early])
    world.now -= timedelta(hours=3)
    world.event([late])
    world.tick()
    assert [who for who, _ in _runs(world, "plain")] == [late]
    world.pass_time(hours=4)
    world.tick()
    assert [who for who, _ in _runs(world, "plain")] == [early, late]
    audit(world)


def test_an_email_comes_from_the_sender_of_the_workspace(world: World) -> None:
    texts = files({"plain": journey("plain", "- email: hello")})
    sender = "{ name: Small, email: hello@small.example, reply_to: ask@small.example,"
    texts["journeys/workspace.yaml"] = texts["journeys/workspace.yaml"].replace("{ name: Small,", sender)
    world.apply(texts)
    world.event(world.people())
    world.tick()
    written = world.opened(world.outbox()[0])
    assert "From: Small <hello@small.example>" in written and "Reply-To: ask@small.example" in written
