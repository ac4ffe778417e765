"""What comes back: once each, never backwards, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Event, EventKind, Medium, Reason
from channels.sandbox import always, timed_out
from orchestrator.advance import advance
from orchestrator.ingest import _FROM, receive, wake_by_events
from orchestrator.store import tables as t
from orchestrator.store import versions
from orchestrator.store.keys import Attempt, Keys, KeysUnusable, load_keys
from tests.outgoing import KEYS, NOON, POLICIES, World, audit, files, journey, world_of


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def sent(world: World, steps: str = "- email: hello\n- wait: 9 days", people: int = 1, more: str = "") -> list[int]:
    """Everybody has got the first message and waits."""
    world.apply(files({"j": journey("j", steps, more=more)}))
    ids = world.people(people)
    world.event(ids)
    assert world.tick()["sent"] >= people
    world.pass_time(minutes=1)
    return ids


def state(world: World, message_id: int = 1) -> tuple[str, str | None]:
    row = next(m for m in world.messages() if m.id == message_id)
    return row.state, row.reason


# ---- states ---------------------------------------------------------------------------------------------------------


def test_feedback_is_recorded_once_and_settles_the_message(world: World):
    sent(world)
    report = world.hear("m1a1", EventKind.DELIVERED)
    assert report.new == {"delivered": 1} and state(world) == ("delivered", None)
    again = world.hear("m1a1", EventKind.DELIVERED)
    assert again.new == {} and again.known == 1
    world.pass_time(minutes=1)
    world.hear("m1a1", EventKind.OPENED)
    kinds = [line["verdict"] for line in world.log(1) if line["kind"] == "feedback"]
    assert kinds == ["delivered", "opened"]
    assert world.one(sa.select(sa.func.count()).select_from(t.feedback)) == 2


def test_the_same_event_twice_in_one_request(world: World):
    sent(world)
    event = Event("m1a1", EventKind.CLICKED, world.now, url="https://small.example/a")
    other = Event("m1a1", EventKind.CLICKED, world.now, url="https://small.example/b")
    report = receive(world.store, world.keys, [event, event, other], now=world.now)
    assert report.new == {"clicked": 2} and report.known == 1
    assert state(world) == ("delivered", None)


def test_what_is_not_ours_is_counted_and_does_no_harm(world: World):
    sent(world)
    events = [Event(a, EventKind.BOUNCED, world.now) for a in ("x", "", "m7a1", "m1a1d1'; drop", "m0a1", "M1A1")]
    assert receive(world.store, world.keys, events, now=world.now).unknown == 6
    assert state(world) == ("sent", None)


@pytest.mark.parametrize(
    ("kinds", "end"),
    [
        ([EventKind.OPENED], ("delivered", None)),
        ([EventKind.BOUNCED, EventKind.DELIVERED], ("bounced", "bounced")),
        ([EventKind.DELIVERED, EventKind.BOUNCED], ("bounced", "bounced")),
        ([EventKind.FAILED, EventKind.DELIVERED], ("failed", "failed")),
        ([EventKind.DELIVERED, EventKind.FAILED], ("delivered", None)),
        ([EventKind.DEFERRED, EventKind.SOFT_BOUNCED], ("sent", None)),
        ([EventKind.RETURNED], ("bounced", "returned")),
        ([EventKind.BLOCKED], ("failed", "blocked")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_never_backwards(world: World, kinds: list[EventKind], end: tuple[str, str | None]):
    sent(world)
    for kind in kinds:
        world.hear("m1a1", kind)
        world.pass_time(seconds=1)
    assert state(world) == end


@given(st.lists(st.sampled_from(sorted(EventKind)), max_size=8))
def test_the_end_is_the_same_whatever_comes_late_or_twice(kinds: list[EventKind]):
    """Pure: the table of transitions alone. What has bounced stays bounced; nothing leads back to `sent`."""
    from orchestrator.ingest import _becomes

    def run(order: list[EventKind]) -> list[str]:
        at, path = "sent", ["sent"]
        for kind in order:
            new = _becomes(kind, Attempt(1, 1))
            if new is not None and at in _FROM[new]:
                at = new
                path.append(at)
        return path

    path = run(kinds)
    assert len(path) == len(set(path)) and path.count("sent") == 1
    assert run([k for kind in kinds for k in (kind, kind)]) == path


def test_an_uncertain_message_is_settled_by_what_is_heard_of_it(world: World):
    world.apply(files({"j": journey("j", "- email: hello\n- wait: 9 days")}))
    world.event(world.people(1))
    world.behaviour = always(timed_out(True))
    world.tick()
    assert state(world) == ("uncertain", "no_answer")
    world.hear("m1a1", EventKind.ACCEPTED)
    assert state(world)[0] == "sent" and world.log(1)[-1]["body"]["was"] == "uncertain"
    world.hear("m1a1", EventKind.DELIVERED)
    assert state(world)[0] == "delivered"


# ---- what follows ---------------------------------------------------------------------------------------------------


def test_a_bounce_suppresses_the_address_it_went_to_not_the_one_there_is_now(world: World):
    [person] = sent(world, "- email: hello\n- wait: 1 day\n- email: second")
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(email="new@example.com"))
    assert world.hear("m1a1", EventKind.BOUNCED, reason=Reason.UNKNOWN_ADDRESS).suppressed == 1
    key = world.keys.address_key(Medium.EMAIL, f"c{person}@example.com")
    row = world.rows(sa.select(t.suppression))[0]
    assert (row.medium, row.address_key, row.reason) == ("email", key, "unknown_address")
    world.pass_time(days=1, hours=1)
    assert world.tick()["sent"] == 1, "the new address is good"


def test_a_bounce_stops_what_is_still_to_come(world: World):
    sent(world, "- email: hello\n- wait: 1 day\n- email: second")
    world.hear("m1a1", EventKind.BOUNCED)
    world.pass_time(days=1)
    assert world.tick() == {"deny suppressed": 1}


def test_an_unsubscription_is_a_no_to_the_topic_and_a_stop_to_all_texts(world: World):
    sent(world, "- email: hello\n- sms: short\n- wait: 9 days")
    world.tick()
    assert world.hear("m1a1", EventKind.UNSUBSCRIBED).withdrawn == 1
    assert world.hear("m2a1", EventKind.UNSUBSCRIBED).withdrawn == 1
    now = {(r.medium, r.topic): r.state for r in world.rows(sa.select(t.consent_current))}
    assert now[("email", "offers")] == "withdrawn" and now[("sms", "*")] == "withdrawn"
    assert now[("push", "offers")] == "granted"
    world.pass_time(minutes=1)
    world.hear("m2a1", EventKind.RESUBSCRIBED)
    now = {(r.medium, r.topic): r.state for r in world.rows(sa.select(t.consent_current))}
    assert now[("sms", "offers")] == "granted"  # what was given before, and newer than the no
    assert now[("sms", "*")] == "withdrawn"


def test_a_complaint_withdraws_and_is_heard_once(world: World):
    sent(world, "- email: hello\n- wait: 1 day\n- email: second")
    for _ in range(2):
        world.hear("m1a1", EventKind.COMPLAINED)
    assert world.one(sa.select(sa.func.count()).where(t.consent_event.c.action == "withdraw")) == 1
    world.pass_time(days=1)
    assert world.tick() == {"deny suppressed": 1}
    assert {v["rule"] for v in world.log(2)[0]["detail"]["verdicts"] if v["say"] == "deny"} == {
        "suppression",
        "consent",
    }


def test_a_reply_is_an_event(world: World):
    [person] = sent(world, "- sms: short\n- wait: 9 days")
    world.hear("m1a1", EventKind.REPLIED)
    row = world.rows(sa.select(t.event).where(t.event.c.type == "message_replied"))[0]
    assert row.customer_id == person and row.properties["step"] == "sms:short"


def test_one_device_of_several_that_fails_is_forgotten_and_the_message_stays(world: World):
    world.apply(files({"j": journey("j", "- push: ping\n- wait: 9 days")}))
    [person] = world.people(1)
    with world.store.write() as conn:
        conn.execute(t.device.insert().values(customer_id=person, token="two", platform="web", created_at=NOON))
    world.event([person])
    world.tick()
    world.hear("m1a1d2", EventKind.FAILED, reason=Reason.UNKNOWN_ADDRESS)
    assert state(world) == ("sent", None)
    assert world.one(sa.select(t.device.c.token).where(t.device.c.retired_at.isnot(None))) == "two"
    world.hear("m1a1d1", EventKind.OPENED)
    assert state(world) == ("delivered", None)


def test_bounces_pause_a_journey(world: World):
    world.apply(files({"j": journey("j", "- email: hello")}, POLICIES + "  pause_if: errors > 20% of last 10\n"))
    world.event(world.people(4))
    world.tick()
    events = [Event(f"m{n}a1", EventKind.BOUNCED, world.now) for n in (1, 2, 3)]
    assert receive(world.store, world.keys, events[:2], now=world.now).paused == ()
    assert receive(world.store, world.keys, events[2:], now=world.now).paused == ("j",)
    with world.store.read() as conn:
        assert set(versions.pauses(conn)) == {"j"}


# ---- sleepers -------------------------------------------------------------------------------------------------------


def test_feedback_wakes_who_waits_for_it(world: World):
    waits = "{ message: email:hello, timeout: 9 days, then: [ { sms: short } ], else: [ { mail: letter } ] }"
    sent(world, f"- email: hello\n- wait_for: {waits}")
    world.hear("m1a1", EventKind.OPENED)
    assert world.tick()["sent"] == 1
    assert [m.medium for m in world.messages()] == ["email", "sms"]


def test_a_bounce_lets_first_of_move_on_at_once(world: World):
    sent(world, "- first_of: [ { email: hello }, { sms: short } ]\n  until: delivered\n  within: 2 days")
    world.hear("m1a1", EventKind.BOUNCED)
    assert world.tick()["sent"] == 1
    assert [m.medium for m in world.messages()] == ["email", "sms"]


def test_exit_and_goal_act_at_once_on_sleepers_and_on_what_is_queued(world: World):
    world.now = NOON + timedelta(hours=12)  # at night: texts are held
    world.apply(
        files(
            {
                "exits": journey("exits", "- sms: short\n- wait: 9 days", more="exit_when: [ { event: left } ]"),
                "goes": journey(
                    "goes", "- wait: 9 days\n- email: hello", more="goal: { event: bought, within: 9 days }"
                ),
                "deaf": journey("deaf", "- wait: 9 days\n- email: second"),
            }
        )
    )
    one, two = world.people(2)
    world.event([one, two])
    world.tick()
    world.pass_time(minutes=5)
    world.event([one], "left", why="moved")
    world.event([one], "bought", order_id="o1", amount=1, amount_currency="EUR")
    world.tick()
    ended = {(r.journey, r.unit_id): r.ended_because for r in world.rows(sa.select(t.enrollment))}
    assert ended[("exits", one)] and ended[("goes", one)] and not ended[("deaf", one)]
    assert not any(because for (_, unit), because in ended.items() if unit == two)
    states = {m.customer_id: (m.state, m.reason) for m in world.messages()}
    assert states[one][0] == "cancelled" and states[two][0] == "held"


def test_events_are_woken_for_by_whoever_comes_next(world: World):
    """The process that stored the events may be gone: the next advance finds them by its watermark."""
    sent(world, more="exit_when: [ { event: left } ]")
    with world.store.write() as conn:
        row = {"type": "left", "key": "x", "customer_id": 1, "occurred_at": world.now, "received_at": world.now}
        conn.execute(t.event.insert().values(**row, properties={}))
    world.tick()
    assert world.one(sa.select(t.enrollment.c.ended_because)) == "exited"
    with world.store.write() as conn:
        assert wake_by_events(conn, 1, 99, world.now) == 0


def test_an_event_with_the_same_key_is_the_same(world: World):
    from orchestrator.ingest import record_events

    world.apply(files({"j": journey("j", "- email: hello")}))
    [person] = world.people(1)
    row = {"type": "left", "key": "k", "customer_id": person, "account_id": None, "occurred_at": NOON, "properties": {}}
    with world.store.write() as conn:
        assert record_events(conn, [row, row], now=NOON) == 1
        assert record_events(conn, [row], now=NOON) == 0
        assert record_events(conn, [], now=NOON) == 0


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_keys_are_made_once_for_their_owner_only(tmp_path: Path):
    path = tmp_path / "deep" / "db.keys"
    first = load_keys(path)
    assert load_keys(path) == first and path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert "address" not in repr(first) and first.address.hex() not in repr(first)
    assert first != load_keys(tmp_path / "other.keys")


@pytest.mark.parametrize(
    "text", ["", "{}", '{"address": "zz", "token": "00"}', '{"address": "00", "token": "00"}', "[1]"]
)
def test_a_damaged_key_file_is_told_and_not_replaced(tmp_path: Path, text: str):
    path = tmp_path / "db.keys"
    path.write_text(text)
    with pytest.raises(KeysUnusable, match="damaged"):
        load_keys(path)
    assert path.read_text() == text


def test_addresses_written_differently_are_one():
    assert KEYS.address_key("email", "Ann@Example.com") == KEYS.address_key("email", " ann@example.com ")
    assert KEYS.address_key("push", "Tok") != KEYS.address_key("push", "tok")
    assert KEYS.address_key("email", "a@example.com") != KEYS.address_key("sms", "a@example.com")
    assert KEYS.address_key("email", "a@example.com") != Keys(b"b" * 32, b"t" * 32, b"s" * 32, b"c" * 32).address_key(
        "email", "a@example.com"
    )
    assert KEYS.dedupe_key("a", "t", "1") != KEYS.dedupe_key("a", "t1", "")


@given(st.integers(1, 2**62))
def test_link_tokens_are_read_by_their_maker_only(message_id: int):
    token = KEYS.link_token(message_id)
    assert KEYS.read_link_token(token) == message_id
    assert Keys(b"a" * 32, b"u" * 32, b"s" * 32, b"c" * 32).read_link_token(token) is None
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert KEYS.read_link_token(flipped) is None
    assert KEYS.read_link_token(token + "x") is None and KEYS.read_link_token("") is None


@given(st.integers(1, 2**60), st.integers(1, 99), st.integers(0, 99))
def test_attempts_are_read_as_they_are_written(message_id: int, number: int, delivery: int):
    attempt = Attempt(message_id, number, delivery)
    assert Attempt.read(str(attempt)) == attempt


@given(st.text(max_size=20))
def test_anything_else_is_no_attempt(text: str):
    found = Attempt.read(text)
    assert found is None or str(found) == text


def test_what_a_clock_ahead_wrote_wakes_nobody_over_and_over(world: World):
    """A row of another machine, dated in an hour, and one of this very instant: neither keeps a tick going."""
    world.apply(files({"later": journey("later", "- wait_until: 1 day after joined\n- email: hello")}))
    ids = world.people(1, joined=date(2027, 6, 1))
    world.event(ids)
    world.move()
    for written in (world.now + timedelta(hours=1), world.now):
        with world.store.write() as conn:
            conn.execute(t.customer.update().values(updated_at=written))
        moved = [advance(world.store, now=world.now).moved for _ in range(5)]
        assert sum(moved) <= 1, moved
    world.pass_time(hours=2)
    assert advance(world.store, now=world.now).moved == 1, "its turn has come"
