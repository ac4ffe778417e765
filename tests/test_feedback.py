"""What each kind of feedback comes to: the message's state, the log, suppression, consent, who waits; and the numbers.

One world for all kinds: a customer for each, in a journey for each way of waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from channels.base import Event, EventKind, Medium
from orchestrator.ingest import receive
from orchestrator.store import tables as t
from orchestrator.store.statistics import Numbers, tally
from tests.outgoing import Statements, World, audit, files, journey, world_of

K = EventKind
MARKS = ("delivered", "opened", "clicked", "replied", "bounced")
UNTIL = ("delivered", "opened", "clicked")
NEXT, LEFT, STAYS = "sms", "push", ""
# kind: (state, suppressed, withdrawn, what a wait_for takes it for, where first_of goes until each mark)
LIFE: dict[EventKind, tuple[str, bool, bool, set[str], tuple[str, str, str]]] = {
    K.ACCEPTED: ("sent", False, False, set(), (STAYS, STAYS, STAYS)),
    K.DEFERRED: ("sent", False, False, set(), (STAYS, STAYS, STAYS)),
    K.SOFT_BOUNCED: ("sent", False, False, set(), (STAYS, STAYS, STAYS)),
    K.DELIVERED: ("delivered", False, False, {"delivered"}, (LEFT, STAYS, STAYS)),
    K.MACHINE_OPENED: ("delivered", False, False, {"delivered"}, (LEFT, STAYS, STAYS)),
    K.OPENED: ("delivered", False, False, {"delivered", "opened"}, (LEFT, LEFT, STAYS)),
    K.CLICKED: ("delivered", False, False, {"delivered", "opened", "clicked"}, (LEFT, LEFT, LEFT)),
    K.REPLIED: ("delivered", False, False, {"delivered", "replied"}, (LEFT, LEFT, STAYS)),
    K.COMPLAINED: ("delivered", True, True, set(), (LEFT, STAYS, STAYS)),
    K.UNSUBSCRIBED: ("delivered", False, True, set(), (LEFT, STAYS, STAYS)),
    K.BOUNCED: ("bounced", True, False, {"bounced"}, (NEXT, NEXT, NEXT)),
    K.RETURNED: ("bounced", True, False, {"bounced"}, (NEXT, NEXT, NEXT)),
    K.BLOCKED: ("failed", False, False, {"bounced"}, (NEXT, NEXT, NEXT)),
    K.DROPPED: ("failed", True, False, {"bounced"}, (NEXT, NEXT, NEXT)),
    K.FAILED: ("failed", False, False, set(), (NEXT, NEXT, NEXT)),
    K.EXPIRED: ("failed", False, False, set(), (NEXT, NEXT, NEXT)),
}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    world = world_of(database_url)
    yield world
    world.store.close()


def test_the_life_of_each_kind_of_feedback(world: World) -> None:
    waits = {
        f"w-{mark}": journey(
            f"w-{mark}",
            f"- email: hello\n- wait_for: {{ message: email:hello, is: {mark}, timeout: 9 days,"
            " then: [ push: ping ] }",
        )
        for mark in MARKS
    }
    firsts = {
        f"f-{mark}": journey(
            f"f-{mark}",
            f"- first_of: [ {{ email: hello }}, {{ sms: short }} ]\n  until: {mark}\n  within: 2 days\n- push: ping",
        )
        for mark in UNTIL
    }
    world.apply(files({**waits, **firsts}))
    people = dict(zip(LIFE, world.people(len(LIFE)), strict=True))
    world.event(people.values())
    world.tick()
    mails = {(m.customer_id, m.journey): m.id for m in world.messages()}
    assert len(mails) == len(LIFE) * 8 and world.states() == {"sent": len(mails)}
    world.pass_time(minutes=10)
    told = []
    for kind, customer_id in people.items():
        for (whose, _), message_id in mails.items():
            if whose == customer_id:
                event = Event(f"m{message_id}a1", kind, world.now, provider_id="p1")
                late = Event(f"m{message_id}a1", K.DEFERRED, world.now - timedelta(minutes=5))
                told += [event, event, late]
    report = receive(world.store, world.keys, told[::-1], now=world.now)
    assert report.new[K.COMPLAINED.value] == 8
    assert receive(world.store, world.keys, told, now=world.now).known == len(told)
    world.tick()
    audit(world)
    states = {(m.customer_id, m.journey, m.medium): m.state for m in world.messages()}
    said = {(line["message_id"], line["verdict"]) for line in world.log() if line["kind"] == "feedback"}
    barred = {row[0] for row in world.rows(sa.select(t.suppression.c.address_key))}
    c = t.consent_current.c
    noes = {row[0] for row in world.rows(sa.select(c.customer_id).where(c.state == "withdrawn", c.medium == "email"))}
    for kind, (state, suppressed, withdrawn, taken_for, ways) in LIFE.items():
        who = people[kind]
        found = {name: states[who, name, Medium.EMAIL] for name in (*waits, *firsts)}
        assert set(found.values()) == {state}, kind
        assert all((mails[who, name], kind.value) in said for name in found), kind
        assert (world.keys.address_key(Medium.EMAIL, f"c{who}@example.com") in barred) == suppressed, kind
        assert (who in noes) == withdrawn, kind
        assert {mark for mark in MARKS if (who, f"w-{mark}", "push") in states} == taken_for, kind
        went = tuple(
            next((medium for medium in (NEXT, LEFT) if (who, f"f-{mark}", medium) in states), STAYS) for mark in UNTIL
        )
        assert went == ways, kind


# ---- statistics -----------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_counted_by_hand(world: World) -> None:
    world.apply(files({"a": journey("a", "- email: hello\n- sms: short"), "b": journey("b", "- email: second")}))
    ids = world.people(4)
    world.event(ids)
    world.tick()
    by = {(m.customer_id, m.step.partition(":")[2]): m.id for m in world.messages()}
    one, two, three, four = ids

    def hear(who: int, step: str, *kinds: EventKind) -> None:
        for n, kind in enumerate(kinds):
            event = Event(f"m{by[who, step]}a1", kind, world.now + timedelta(seconds=n), url=f"https://x.example/{n}")
            receive(world.store, world.keys, [event], now=world.now)

    # hello: three delivered (one opened thrice, clicked twice; one by a machine alone; one by both), one bounced
    hear(one, "hello", K.DELIVERED, K.OPENED, K.OPENED, K.OPENED, K.CLICKED, K.CLICKED, K.REPLIED)
    hear(two, "hello", K.DELIVERED, K.MACHINE_OPENED, K.MACHINE_OPENED, K.COMPLAINED, K.UNSUBSCRIBED)
    hear(three, "hello", K.DELIVERED, K.MACHINE_OPENED, K.OPENED)
    hear(four, "hello", K.BOUNCED)
    hear(one, "second", K.FAILED)
    hear(two, "second", K.CLICKED)  # nobody tells of deliveries of texts: a click is one all the same
    hear(one, "short", K.REPLIED)

    def numbers(what: str, **more: object) -> dict[str, Numbers]:
        with world.store.read() as conn:
            return tally(conn, what, **more).groups  # type: ignore[arg-type]

    hello = Numbers(sent=4, delivered=3, bounced=1, opened=2, machine=1, clicked=1, unsubscribed=1, complained=1,
                    replied=1, base=3, people=4)  # fmt: skip
    second = Numbers(sent=4, delivered=1, failed=1, opened=1, clicked=1, base=1, people=4)
    short = Numbers(sent=4, delivered=1, replied=1, base=4, people=4)
    assert numbers("step") == {"a/email:hello": hello, "a/sms:short": short, "b/email:second": second}
    assert numbers("step", journey="b") == {"b/email:second": Numbers(4, 1, 0, 1, 0, 1, 0, 1, base=4, people=4)}
    assert hello.rate("opened") == pytest.approx(2 / 3) and hello.rate("bounced") == 0.25
    assert Numbers().rate("opened") is None
    mail = Numbers(sent=8, delivered=4, bounced=1, failed=1, opened=3, machine=1, clicked=2, unsubscribed=1,
                   complained=1, replied=1, base=4, people=4)  # fmt: skip
    assert numbers("medium") == {"email": mail, "sms": short}
    assert set(numbers("topic")) == {"offers"} and set(numbers("journey")) == {"a", "b"}
    assert list(numbers("day")) == ["2027-03-01"] and numbers("day")["2027-03-01"].people == 4
    assert numbers("medium", since=world.now + timedelta(seconds=1)) == {}
    assert numbers("medium", until=world.now) == {}
    with world.store.read() as conn, Statements(world.store.engine) as counted:
        total = tally(conn, "step", since=world.now, until=world.now + timedelta(days=1)).total
    assert counted.count == 3 and (total.sent, total.people) == (12, 4)
