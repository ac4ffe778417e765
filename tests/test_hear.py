"""What people write back by text: STOP, START, HELP, replies; and what is reported of an address alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Event, EventKind, Medium, Reason
from channels.sandbox import ACCEPT
from orchestrator.erase import Places, erase
from orchestrator.ingest import receive
from orchestrator.store import consents
from orchestrator.store import tables as t
from tests.outgoing import NOON, World, audit, files, journey, world_of

ASK = "- sms: short\n- wait_for: { message: sms:short, is: replied, timeout: 3 days, then: [ { email: hello } ] }"
NUMBER = "+4917139{:05}"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def texted(world: World, people: int = 1, steps: str = "- sms: short\n- wait: 9 days", **columns: Any) -> list[int]:
    world.apply(files({"j": journey("j", steps)}))
    ids = world.people(people, **columns)
    world.event(ids)
    assert world.tick()["sent"] == people
    world.pass_time(minutes=5)
    return ids


def write(world: World, text: str, person: int = 1, sid: str = "", **more: Any) -> Any:
    """Somebody sends us a text."""
    world._sids = getattr(world, "_sids", 0) + 1  # type: ignore[attr-defined]
    sid = sid or f"SM{world._sids}"  # type: ignore[attr-defined]
    number = more.pop("number", NUMBER.format(person))
    at = more.pop("at", world.now)
    event = Event("", EventKind.REPLIED, at, sid, address=number, text=text, **more)
    return receive(world.store, world.keys, [event], now=world.now)


def suppressed(world: World) -> list[tuple[str, str]]:
    return [(row.medium, row.reason) for row in world.rows(sa.select(t.suppression).order_by(t.suppression.c.id))]


def answers(world: World) -> list[str]:
    """What we answered, delivered: the texts of the sandbox, without those of journeys."""
    world.deliver()
    ours = {f"m{m.id}a" for m in world.messages() if m.origin != "journey" and m.state in ("sent", "delivered")}
    return [
        world.opened(k).partition("\n\n")[2].strip()
        for k in world.outbox()
        if k.attempt.partition("a")[0] + "a" in ours
    ]


def words(world: World, person: int = 1) -> list[tuple[str, str, str | None]]:
    e = t.consent_event.c
    query = sa.select(e.topic, e.action, e.method).where(e.customer_id == person, e.medium == "sms").order_by(e.id)
    return [tuple(row) for row in world.rows(query)]


# ---- STOP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["STOP", "please stop texting me", "Bitte keine SMS mehr!"])
def test_a_stop_is_a_no_to_every_text_and_confirmed_once(world: World, text: str):
    texted(world)
    report = write(world, text)
    assert report.new == {"unsubscribed": 1} and (report.withdrawn, report.suppressed) == (1, 1)
    assert words(world)[-1] == ("*", "withdraw", "keyword") and suppressed(world) == [("sms", "opted_out")]
    assert answers(world) == [
        "Small: You are unsubscribed and will get no more texts from us. Reply START to get them again."
    ]
    [event] = [row for row in world.rows(sa.select(t.consent_event)) if row.action == "withdraw"]
    with world.store.read() as conn:
        told = consents.evidence_of(conn, world.keys, [event.id])[event.id].evidence
    assert told is not None and told["evidence"] == text and event.occurred_at == world.now
    world.event([1], "signed_up")
    assert world.tick()["sent"] == 0
    state = {m.origin: (m.state, m.purpose) for m in world.messages()}
    assert state["stop_confirmation"] == ("sent", "transactional")


def test_said_again_it_is_not_confirmed_again(world: World):
    texted(world)
    write(world, "STOP", sid="SM9")
    world.pass_time(seconds=5)
    assert write(world, "STOP", sid="SM9").withdrawn == 0, "the provider told us twice"
    assert write(world, "Stop!!!").withdrawn == 1, "said twice, written down twice"
    world.deliver()
    world.pass_time(hours=1)
    write(world, "STOP")
    assert len(answers(world)) == 1
    unsubscribed = [f.kind for f in world.rows(sa.select(t.feedback))]
    assert unsubscribed == ["unsubscribed"], "the text that it answers, once"


def test_after_a_start_a_stop_is_confirmed_anew(world: World):
    texted(world)
    for text in ("STOP", "START", "STOP"):
        write(world, text)
        world.deliver()
        world.pass_time(minutes=1)
    assert [a.split(":")[1].split()[1] for a in answers(world)] == ["are", "will", "are"]
    assert suppressed(world) == [("sms", "opted_out")]


def test_none_where_the_provider_has_answered(world: World):
    texted(world)
    for meaning in ("stop", "help", "start"):
        write(world, "whatever", meaning=meaning)
        world.pass_time(minutes=1)
    assert answers(world) == [] and [w[1] for w in words(world)][-2:] == ["withdraw", "confirm"]


def test_everybody_with_that_number(world: World):
    texted(world, people=3, phone="+4917139000999")
    write(world, "STOP", number="+4917139000999")
    assert all(words(world, i)[-1] == ("*", "withdraw", "keyword") for i in (1, 2, 3))
    assert len(answers(world)) == 1, "one number, one confirmation"


def test_a_number_that_nobody_has_is_suppressed_all_the_same(world: World):
    texted(world)
    report = write(world, "STOP", number="+4915112345678")
    assert (report.suppressed, report.withdrawn) == (1, 0) and answers(world) == []
    world.people(1, phone="+4915112345678")
    world.event([2])
    world.tick()
    last = world.messages()[-1]
    assert (last.customer_id, last.state, last.reason) == (2, "denied", "suppressed"), "whoever has it later"


def test_of_one_instant_the_stop_has_the_last_word(world: World):
    texted(world)
    events = [Event("", EventKind.REPLIED, world.now, f"SM{text}", address=NUMBER.format(1), text=text)
              for text in ("STOP", "START")]  # fmt: skip
    receive(world.store, world.keys, events, now=world.now)
    assert suppressed(world) == [("sms", "opted_out")]
    with world.store.read() as conn:
        current = consents.current(conn, [1], Medium.SMS)[1]
    assert any(c.state == "withdrawn" and c.topic == "*" for c in current)
    world.event([1])
    assert "sent" not in {m.state for m in world.messages()[1:] if m.origin == "journey"}


def test_a_start_told_again_behind_a_stop_brings_nothing_back(world: World):
    texted(world)
    write(world, "STOP")
    world.pass_time(minutes=1)
    write(world, "START", sid="SM-start")
    world.pass_time(minutes=1)
    write(world, "STOP")
    world.pass_time(minutes=1)
    assert write(world, "START", sid="SM-start").known == 1
    assert suppressed(world) == [("sms", "opted_out")] and words(world)[-1][1] == "withdraw"


def test_the_confirmation_speaks_the_customers_language_and_passes_the_night(world: World):
    texted(world, locale="de-AT")
    world.now = NOON.replace(hour=23)
    write(world, "STOPP")
    [answer] = answers(world)
    assert answer.startswith("Small: Sie sind abgemeldet")


@pytest.mark.parametrize("why", ["invalid_address", "complained", "erased"])
def test_no_other_suppression_lets_it_pass(world: World, why: str):
    texted(world)
    with world.store.write() as conn:
        key = world.keys.address_key(Medium.SMS, NUMBER.format(1))
        conn.execute(t.suppression.insert().values(medium="sms", address_key=key, reason=why, since=world.now))
    write(world, "STOP")
    assert answers(world) == [] and world.messages()[-1].reason == "suppressed"


def test_too_late_it_is_not_sent(world: World):
    texted(world)
    write(world, "STOP")
    world.pass_time(minutes=5)
    assert answers(world) == [] and world.messages()[-1].state == "expired"


def test_who_may_not_be_written_to_here_gets_no_confirmation_either(world: World):
    texted(world)
    write(world, "STOP")
    world.deliver(permits=lambda medium, address: False)
    assert world.messages()[-1].reason == "not_on_allow_list"


# ---- START and HELP -------------------------------------------------------------------------------------------------


def test_a_start_brings_back_what_the_stop_took(world: World):
    texted(world)
    write(world, "STOP")
    world.pass_time(minutes=1)
    report = write(world, "UNSTOP")
    assert report.new == {"resubscribed": 1} and suppressed(world) == []
    assert words(world)[-1] == ("offers", "confirm", "keyword")
    world.pass_time(minutes=1)
    assert answers(world)[-1].startswith("Small: You will get our texts again.")
    world.event([1])
    assert world.one(sa.select(sa.func.count()).select_from(t.suppression)) == 0


def test_a_bare_yes_is_a_start_only_to_who_has_stopped(world: World):
    texted(world)
    assert write(world, "Yes").new == {"replied": 1}
    write(world, "STOP")
    world.pass_time(minutes=1)
    assert write(world, "YES").new == {"resubscribed": 1}


def test_help_is_answered_once_an_hour_also_to_who_has_stopped(world: World):
    texted(world)
    write(world, "STOP")
    world.pass_time(minutes=1)
    for _ in range(3):
        assert write(world, "HELP").new == {"replied": 1}
        world.deliver()
        world.pass_time(minutes=1)
    told = [a for a in answers(world) if "texts for our customers" in a]
    assert len(told) == 1 and "STOP" in told[0] and "Contact: " in told[0] and "{" not in told[0]


# ---- replies --------------------------------------------------------------------------------------------------------


def test_a_reply_is_an_event_of_the_text_that_it_answers(world: World):
    texted(world)
    assert write(world, "Do you have it in blue?", sid="SM7").new == {"replied": 1}
    assert write(world, "Do you have it in blue?", sid="SM7").known == 1
    [event] = world.rows(sa.select(t.event).where(t.event.c.type == "message_replied"))
    told = {"medium": "sms", "journey": "j", "step": "sms:short", "text": "Do you have it in blue?"}
    assert (event.customer_id, event.properties) == (1, told)
    assert [(f.message_id, f.kind) for f in world.rows(sa.select(t.feedback))] == [(1, "replied")]
    assert "blue" not in str([(line["body"], line["detail"]) for line in world.log()]), "never in the log"


def test_a_reply_wakes_who_waits_for_it(world: World):
    texted(world, steps=ASK)
    assert world.tick() == {}
    write(world, "Gern, am Dienstag")
    assert world.tick()["sent"] == 1 and world.messages()[-1].step == "email:hello"


def test_what_has_not_gone_out_is_not_answered(world: World):
    """A message that is decided on and not handed over: a STOP is no feedback on it, or it would count as arrived."""
    world.apply(files({"j": journey("j", "- sms: short\n- wait: 9 days")}))
    world.event(world.people(1))
    world.behaviour = lambda outbound, number: write(world, "STOP") and ACCEPT
    world.tick(1)
    assert [m.state for m in world.messages() if m.origin == "journey"] == ["sent"], "it was on its way"
    assert not world.rows(sa.select(t.feedback))


def test_it_is_taken_for_one_to_the_last_text_of_a_week(world: World):
    texted(world, steps="- sms: short\n- wait: 2 days\n- sms: short\n  id: again\n- wait: 30 days")
    world.pass_time(days=2)
    world.tick()
    write(world, "One")
    world.pass_time(days=8)
    write(world, "Two")
    rows = world.rows(sa.select(t.event.c.properties).where(t.event.c.type == "message_replied").order_by(t.event.c.id))
    assert [(row[0]["text"], row[0]["step"]) for row in rows] == [("One", "again"), ("Two", "")]


def test_not_to_a_text_that_went_to_another_number(world: World):
    texted(world)
    with world.store.write() as conn:
        conn.execute(t.customer.update().values(phone="+4917139000777"))
    write(world, "Hello?", number="+4917139000777")
    [row] = world.rows(sa.select(t.event.c.properties).where(t.event.c.type == "message_replied"))
    assert row[0]["step"] == "" and not world.rows(sa.select(t.feedback))


def test_nobodys_and_several_peoples_words_are_not_kept(world: World):
    texted(world)
    assert write(world, "Hello", number="+4915112345678").unknown == 1
    world.people(2, phone="+4917139000999")
    assert write(world, "Hello", number="+4917139000999").unknown == 1
    assert not world.rows(sa.select(t.event).where(t.event.c.type == "message_replied"))


def test_an_erasure_takes_the_words_too(world: World, tmp_path: Path):
    texted(world)
    write(world, "My name is Ann Lee")
    erase(
        world.store, world.keys, "c1", Places(tmp_path / "erased.jsonl", (), tmp_path, tmp_path), now=world.now, by="me"
    )
    assert "Ann Lee" not in str(world.rows(sa.select(t.event.c.properties)))


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason", "expected", "withdrawn"),
    [
        (EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS, [("email", "unknown_address")], 0),
        (EventKind.BOUNCED, None, [("email", "bounced")], 0),
        (EventKind.COMPLAINED, None, [("email", "complained")], 1),
        (EventKind.UNSUBSCRIBED, None, [], 1),
        (EventKind.SOFT_BOUNCED, None, [], 0),
        (EventKind.DELIVERED, None, [], 0),
    ],
)
def test_what_is_reported_of_an_e_mail_address(
    world: World, kind: EventKind, reason: Reason | None, expected: list[tuple[str, str]], withdrawn: int
):
    world.apply(files({"j": journey("j", "- email: hello")}))
    world.people(1)
    for _ in range(2):
        event = Event("", kind, NOON - timedelta(minutes=1), reason=reason, address="c1@example.com")
        receive(world.store, world.keys, [event], now=world.now)
    assert suppressed(world) == expected
    noes = world.rows(sa.select(t.consent_event).where(t.consent_event.c.action == "withdraw"))
    assert len(noes) == withdrawn and all((no.medium, no.topic) == ("email", "*") for no in noes)
