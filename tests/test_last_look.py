"""Between decision and hand-over: a no that came in since is found, whatever else was said; nothing else stops."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.apply import in_force
from orchestrator.importing import import_file
from orchestrator.ingest import record_consents
from orchestrator.store import merging, outbox
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, audit, email, files, journey, world_of

SERVICE = email("Your account", "A word about it.", "service")
HOUR = timedelta(hours=1)
Word = tuple[Any, ...]  # action, topic, hours before now, ground

YES = ("confirm", "offers", 9, "express")
CASES: list[tuple[str, list[Word], list[Word], str, str]] = [
    # title, before the decision, after it, which message, what becomes of it
    ("nothing", [YES], [], "hello", "sent"),
    ("a no", [YES], [("withdraw", "offers", 0)], "hello", "cancelled"),
    ("a general no", [YES], [("withdraw", "*", 0)], "hello", "cancelled"),
    ("another topic's no", [YES], [("withdraw", "news", 0)], "hello", "sent"),
    ("a no of yesterday that comes in now", [("confirm", "offers", 30, "express")], [("withdraw", "offers", 20)],
     "hello", "cancelled"),
    ("a no, and a yes on a ground that is too little", [YES],
     [("withdraw", "offers", 2), ("grant", "offers", 1, "legitimate_interest")], "hello", "cancelled"),
    ("a no, answered at once", [YES], [("withdraw", "offers", 2), ("confirm", "offers", 1, "express")],
     "hello", "cancelled"),  # what was relied on is gone; the next message is judged on the new one
    ("a no to one of two grounds' topic", [YES, ("confirm", "*", 8, "express_written")], [("withdraw", "offers", 2)],
     "hello", "cancelled"),
    ("another ground", [YES], [("grant", "offers", 1, "soft_opt_in")], "hello", "sent"),
    ("asked once more", [YES], [("request", "offers", 1, "express")], "hello", "sent"),
    ("an old no that was answered", [("withdraw", "offers", 20), YES], [], "hello", "sent"),
    ("two grounds and an old general no", [("withdraw", "*", 20), YES, ("grant", "offers", 5, "soft_opt_in")], [],
     "hello", "sent"),
    ("its end", [YES], [("expire", "offers", 0)], "hello", "cancelled"),
    ("its end, under a general yes", [YES, ("confirm", "*", 8, "express")], [("expire", "offers", 0)], "hello", "sent"),
    ("a letter nobody objected to", [], [], "letter", "sent"),
    ("a letter, objected", [], [("withdraw", "offers", 0)], "letter", "cancelled"),
    ("a letter, a consent's end", [], [("expire", "offers", 0)], "letter", "cancelled"),
    ("transactional, a general no", [], [("withdraw", "*", 0)], "service", "sent"),
    ("transactional, a no to exactly this", [], [("withdraw", "service", 0)], "service", "cancelled"),
]  # fmt: skip
STEPS = {"hello": "- email: hello", "letter": "- mail: letter", "service": "- email: service"}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


def say(world: World, who: int, medium: str, words: list[Word], when: str) -> None:
    rows = [
        {
            "key": f"{when}-{number}",
            "customer_id": who,
            "medium": medium,
            "topic": topic,
            "action": action,
            "occurred_at": world.now - hours * HOUR,
            "basis": ground[0] if ground else None,
        }
        for number, (action, topic, hours, *ground) in enumerate(words)
    ]
    with world.store.write() as conn:
        record_consents(conn, world.keys, rows, now=world.now)


@pytest.mark.parametrize(("title", "before", "after", "step", "end"), CASES, ids=[case[0] for case in CASES])
def test_what_came_in_since(
    world: World, monkeypatch: pytest.MonkeyPatch, title: str, before: Any, after: Any, step: str, end: str
) -> None:
    world.apply(files({"j": journey("j", STEPS[step])}, templates__email__service_dot_mjml=SERVICE))
    [who] = world.people(1, consents=None)
    medium = "mail" if step == "letter" else "email"
    say(world, who, medium, before, "before")
    world.pass_time(minutes=1)
    world.event([who])
    world.move()
    plain, told = outbox.last_look, [False]

    def first_they_speak(conn: Any, deliveries: Any, at: Any, channel: str) -> Any:
        if not told[0]:
            told[0] = True
            world.pass_time(seconds=1)
            say(world, who, medium, after, "after")
        with world.store.read() as fresh:
            return plain(fresh, deliveries, at, channel)

    monkeypatch.setattr(outbox, "last_look", first_they_speak)
    world.deliver()
    assert told[0], "it was not allowed in the first place"
    [message] = world.messages()
    assert (message.state, message.reason) == (end, "consent_withdrawn" if end == "cancelled" else None)


@pytest.mark.parametrize(("seconds", "another", "end"), [(30, False, "cancelled"), (90, False, "sent"),
                                                         (30, True, "sent")])  # fmt: skip
def test_a_yes_whose_time_is_over_since(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: int, another: bool, end: str
) -> None:
    world.apply(files({"j": journey("j", STEPS["hello"])}))
    [who] = world.people(1, consents="push email" if another else None)
    until = world.now + timedelta(seconds=seconds)
    yes = {"customer_id": who, "medium": "email", "topic": "*", "action": "confirm", "basis": "express"}
    with world.store.write() as conn:
        row = {**yes, "key": "for a time", "occurred_at": world.now - HOUR, "expires_at": until}
        record_consents(conn, world.keys, [row], now=world.now)
    world.event([who])
    world.move()
    plain = outbox.last_look

    def a_minute_later(conn: Any, deliveries: Any, at: Any, channel: str) -> Any:
        return plain(conn, deliveries, at + timedelta(minutes=1), channel)

    monkeypatch.setattr(outbox, "last_look", a_minute_later)
    world.deliver()
    [message] = world.messages()
    assert (message.state, message.reason) == (end, "consent_withdrawn" if end == "cancelled" else None)


# ---- lists, and calls -----------------------------------------------------------------------------------------------

CALL = "- task: sales@small.example\n  message: Call them\n  call: yes"
LISTS = [  # step, list, what it says, what becomes of the message
    ("- mail: letter", "mps", "name,street,postcode,country\nAnn1 Lee,Lindenweg 1,10115,DE\n", "cancelled"),
    ("- mail: letter", "mps", "name,street,postcode,country\nBob Lee,Lindenweg 1,10115,DE\n", "sent"),
    ("- mail: letter", "house", "street,postcode,country,reason\nLindenweg 1,10115,DE,no junk\n", "cancelled"),
    (CALL, "do_not_call", "number\n+491713900001\n", "cancelled"),
    (CALL, "do_not_call", "number\n+491713900002\n", "sent"),
    ("- sms: short", "do_not_call", "number\n+491713900001\n", "sent"),
]


@pytest.mark.parametrize(("step", "name", "text", "end"), LISTS)
def test_a_list_that_is_imported_since(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, name: str, text: str, end: str
) -> None:
    world.apply(files({"j": journey("j", step)}))
    world.event(world.people(1))
    world.move()
    plain = outbox.last_look

    def first_a_list(conn: Any, deliveries: Any, at: Any, channel: str) -> Any:
        path = world.folder / "list.csv"
        path.write_text(text, encoding="utf-8")
        with world.store.read() as fresh:
            force = in_force(fresh)
        assert force is not None
        found = force.project.vocabulary
        report = import_file(world.store, world.keys, found, "suppressions", path, now=world.now, list_name=name)
        assert report.inserted == 1
        with world.store.read() as fresh:
            return plain(fresh, deliveries, at, channel)

    monkeypatch.setattr(outbox, "last_look", first_a_list)
    world.deliver()
    [message] = world.messages()
    assert (message.state, message.reason) == (end, "suppressed" if end == "cancelled" else None)


@pytest.mark.parametrize("what", ["left_at", "merged_into"])
def test_nobody_is_called_who_has_left_or_is_another_by_now(world: World, what: str) -> None:
    world.apply(files({"j": journey("j", CALL), "k": journey("k", CALL.replace("yes", "no"))}))
    gone, other = world.people(2)
    world.event([gone])
    world.move()
    value = {"left_at": world.now, "merged_into": other}[what]
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == gone).values({what: value}))
    world.deliver()
    assert {(m.journey, m.state, m.reason) for m in world.messages()} == {
        ("j", "denied", "exited"),
        ("k", "sent", None),
    }


# ---- a merge meanwhile ----------------------------------------------------------------------------------------------


def test_a_message_that_becomes_anothers_is_judged_as_theirs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the facts and the commit: or it would count for the one who is gone, and the cap have room again."""
    caps = POLICIES + "  caps: [ 1 per day across email ]\n"
    world.apply(files({"j": journey("j", "- email: hello"), "k": journey("k", "- email: second")}, caps))
    keep, drop = world.people(2)
    world.event([drop])
    world.move()
    plain, done = outbox.lock, [False]

    def first_they_merge(conn: Any, *given: Any) -> Any:
        if not done[0]:
            done[0] = True
            merging.merge(conn, keep, drop, now=world.now)
        return plain(conn, *given)

    monkeypatch.setattr(outbox, "lock", first_they_merge)
    assert world.deliver().total("sent") == 1
    world.event([keep])
    assert world.tick()["sent"] == 0
    assert {row.customer_id for row in world.rows(sa.select(t.reservation.c.customer_id))} == {keep}
    audit(world)


@pytest.mark.parametrize(
    ("which", "days", "becomes"),
    [("hello", 30, "cancelled customer_paused"), ("letter", 30, "cancelled customer_paused"), ("service", 30, "sent"),
     ("hello", -1, "sent")],
)  # fmt: skip
def test_a_pause_that_she_asks_for_between_decision_and_hand_over_holds(
    world: World, which: str, days: int, becomes: str, monkeypatch: pytest.MonkeyPatch
):
    world.apply(files({"j": journey("j", STEPS[which])}, templates__email__service_dot_mjml=SERVICE))
    [who] = world.people(1)
    world.event([who])
    world.move()
    plain, told = outbox.last_look, [False]

    def first_she_asks(conn: Any, deliveries: Any, at: Any, channel: str) -> Any:
        if not told[0]:
            told[0] = True
            row = {"customer_id": who, "paused_until": world.now + timedelta(days=days), "updated_at": world.now}
            with world.store.write() as other:
                other.execute(t.preference.insert().values(row))
        with world.store.read() as fresh:
            return plain(fresh, deliveries, at, channel)

    monkeypatch.setattr(outbox, "last_look", first_she_asks)
    world.deliver()
    [message] = world.messages()
    assert told[0] and f"{message.state} {message.reason or ''}".strip() == becomes
    audit(world)
