"""Suppressed addresses, end to end: lists, shared addresses, what feedback leads to, and what START lifts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import EventKind, Reason
from orchestrator.importing import import_file
from orchestrator.store import tables as t
from tests.outgoing import World, email, files, journey, world_of

LETTER = "- mail: letter"
TEXT = "- sms: short"
HELLO = "- email: hello"
SERVICE = email("Your account", "A word about it.", "service")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


def listed(world: World, name: str, text: str) -> None:
    path = world.folder / f"{name}-{len(text)}.csv"
    path.write_text(text, encoding="utf-8")
    from orchestrator.apply import in_force

    with world.store.read() as conn:
        force = in_force(conn)
    assert force is not None
    vocabulary = force.project.vocabulary
    report = import_file(world.store, world.keys, vocabulary, "suppressions", path, now=world.now, list_name=name)
    assert not report.quarantined


def refused(world: World) -> list[Any]:
    """Why the suppression rule refused, message by message."""
    found = []
    for line in world.log():
        for verdict in (line["detail"] or {}).get("verdicts", ()):
            if verdict["rule"] == "suppression" and verdict.get("reason"):
                found.append(
                    (verdict["say"], verdict["reason"], [s["reason"] for s in verdict["inputs"]["suppressions"]])
                )
    return found


def test_a_list_stops_the_one_who_is_on_it_and_not_the_household(world: World) -> None:
    world.apply(files({"j": journey("j", LETTER)}))
    ids = world.people(2)
    listed(world, "mps", "name,street,postcode,city,country\nANN1 LEE,Lindenweg 1,10115,Berlin,DE\n")
    world.event(ids)
    counts = world.tick()
    assert (counts["deny suppressed"], counts["sent"]) == (1, 1)
    assert refused(world) == [("deny", "suppressed", ["mps"])]


def test_an_address_of_the_houses_list_stops_everybody_there(world: World) -> None:
    world.apply(files({"j": journey("j", LETTER)}))
    ids = world.people(2)
    listed(world, "house", "street,postcode,country,reason\nlindenweg 1,10115,DE,no junk mail\n")
    world.event(ids)
    assert world.tick()["deny suppressed"] == 2


def test_a_list_against_advertising_lets_a_contract_through(world: World) -> None:
    texts = {"templates__email__service_dot_mjml": SERVICE}
    world.apply(files({"j": journey("j", f"{HELLO}\n- email: service")}, **texts))
    ids = world.people(1)
    listed(world, "robinson", "address\nc1@example.com\n")
    world.event(ids)
    counts = world.tick()
    assert (counts["deny suppressed"], counts["sent"]) == (1, 1)
    assert refused(world) == [("deny", "suppressed", ["robinson"]), ("allow", "no_advertising", ["robinson"])]


def test_the_dead_get_nothing_at_all(world: World) -> None:
    texts = {"templates__email__service_dot_mjml": SERVICE}
    world.apply(files({"j": journey("j", f"{HELLO}\n- email: service")}, **texts))
    ids = world.people(1)
    listed(world, "deceased", "address\nc1@example.com\n")
    world.event(ids)
    counts = world.tick()
    assert (counts["deny suppressed"], counts["sent"]) == (2, 0)


def test_a_shared_number_is_suppressed_for_everybody_who_has_it(world: World) -> None:
    world.apply(files({"j": journey("j", TEXT)}))
    ids = world.people(2, phone="+491713920077")
    world.event(ids[:1])
    world.tick()
    world.hear("m1a1", EventKind.FAILED, reason=Reason.UNKNOWN_ADDRESS)
    world.event(ids[1:])
    assert world.tick()["deny suppressed"] == 1


CALL = "- task: account_manager\n  message: Call her\n  call: yes"


def test_a_do_not_call_number_stops_the_call_and_not_the_text(world: World) -> None:
    world.apply(files({"j": journey("j", f"{CALL}\n{TEXT}")}))
    with world.store.write() as conn:
        row = {"key": "a1", "name": "Firm", "class": "b2b", "attributes": {}, "manager_email": "mo@small.example"}
        conn.execute(t.account.insert().values({**row, "created_at": world.now, "updated_at": world.now}))
    ids = world.people(1, account_id=1)
    listed(world, "do_not_call", "number\n+4917139" + "00001\n")
    world.event(ids)
    world.tick()
    assert refused(world) == [("deny", "suppressed", ["do_not_call"])]
    assert world.states()["sent"] >= 1


# ---- what feedback leads to -----------------------------------------------------------------------------------------

FEEDBACK: list[tuple[str, EventKind, Reason | None, str, str, str]] = [
    # step, kind, reason → the message's state, why its address is suppressed, what the ledger says
    ("hello", EventKind.ACCEPTED, None, "sent", "", ""),
    ("hello", EventKind.DEFERRED, None, "sent", "", ""),
    ("hello", EventKind.DELIVERED, None, "delivered", "", ""),
    ("hello", EventKind.OPENED, None, "delivered", "", ""),
    ("hello", EventKind.MACHINE_OPENED, None, "delivered", "", ""),
    ("hello", EventKind.CLICKED, None, "delivered", "", ""),
    ("hello", EventKind.REPLIED, None, "delivered", "", ""),
    ("hello", EventKind.SOFT_BOUNCED, None, "sent", "", ""),
    ("hello", EventKind.BOUNCED, None, "bounced", "bounced", ""),
    ("hello", EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS, "bounced", "unknown_address", ""),
    ("hello", EventKind.BLOCKED, Reason.PROVIDER, "failed", "", ""),
    ("hello", EventKind.DROPPED, None, "failed", "dropped", ""),
    ("hello", EventKind.COMPLAINED, None, "delivered", "complained", "offers"),
    ("hello", EventKind.UNSUBSCRIBED, None, "delivered", "", "offers"),
    ("hello", EventKind.FAILED, Reason.INVALID_ADDRESS, "failed", "invalid_address", ""),
    ("hello", EventKind.FAILED, Reason.CONTENT, "failed", "", ""),
    ("hello", EventKind.EXPIRED, None, "failed", "", ""),
    ("short", EventKind.UNSUBSCRIBED, None, "delivered", "opted_out", "*"),
    ("short", EventKind.COMPLAINED, None, "delivered", "complained", "*"),
    ("short", EventKind.FAILED, Reason.UNKNOWN_ADDRESS, "failed", "unknown_address", ""),
    ("short", EventKind.FAILED, Reason.OPTED_OUT, "failed", "opted_out", "*"),
    ("ping", EventKind.UNSUBSCRIBED, None, "delivered", "", "offers"),
    ("ping", EventKind.FAILED, Reason.UNKNOWN_ADDRESS, "failed", "unknown_address", ""),
    ("letter", EventKind.RETURNED, None, "bounced", "returned", ""),
    ("letter", EventKind.DELIVERED, None, "delivered", "", ""),
    ("letter", EventKind.UNSUBSCRIBED, None, "delivered", "", "offers"),
]
STEPS = {"hello": HELLO, "short": TEXT, "ping": "- push: ping", "letter": LETTER}


def test_every_kind_and_every_reason_that_means_anything_is_in_the_table() -> None:
    assert {kind for _, kind, *_ in FEEDBACK} == set(EventKind) - {EventKind.RESUBSCRIBED}
    assert {reason for _, _, reason, *_ in FEEDBACK} >= {
        Reason.INVALID_ADDRESS,
        Reason.UNKNOWN_ADDRESS,
        Reason.OPTED_OUT,
    }


@pytest.mark.parametrize(("step", "kind", "reason", "state", "suppressed", "said"), FEEDBACK)
def test_feedback_leads_where_it_should(
    sqlite_database_url: str, step: str, kind: EventKind, reason: Reason | None, state: str, suppressed: str, said: str
) -> None:
    world = world_of(sqlite_database_url)
    world.apply(files({"j": journey("j", STEPS[step])}))
    world.event(world.people(1))
    world.tick()
    more = {"reason": reason} if reason else {}
    world.hear("m1a1", kind, **more)
    assert [m.state for m in world.messages()] == [state]
    assert [r.reason for r in world.rows(sa.select(t.suppression.c.reason))] == ([suppressed] if suppressed else [])
    noes = world.rows(sa.select(t.consent_event.c.topic).where(t.consent_event.c.action == "withdraw"))
    assert [r.topic for r in noes] == ([said] if said else [])
    retired = world.one(sa.select(sa.func.count()).where(t.device.c.retired_at.isnot(None)))
    assert retired == (step == "ping" and bool(suppressed))
    world.store.close()


# ---- STOP and START -------------------------------------------------------------------------------------------------


def sms(world: World) -> Any:
    return world.rows(sa.select(t.suppression.c.reason, t.suppression.c.source).order_by(t.suppression.c.id))


def test_start_lifts_what_stop_set_and_nothing_else(world: World) -> None:
    world.apply(files({"j": journey("j", TEXT), "k": journey("k", TEXT, "{ event: left }")}))
    [one] = world.people(1)
    world.event([one])
    assert world.tick()["sent"] == 1
    listed(world, "house", "number,reason\n+491713900001,opted_out\n")
    world.pass_time(minutes=1)
    world.hear("m1a1", EventKind.UNSUBSCRIBED)
    assert ("opted_out", "house") in [tuple(r) for r in sms(world)]
    world.pass_time(minutes=1)
    world.hear("m1a1", EventKind.RESUBSCRIBED)
    assert {tuple(r) for r in sms(world)} == {("opted_out", "house")}
    with world.store.write() as conn:
        conn.execute(sa.delete(t.suppression))
    world.pass_time(minutes=1)
    world.event([one], "left")
    assert world.tick()["sent"] == 1


def test_start_brings_back_what_was_given_before_and_no_more(world: World) -> None:
    world.apply(files({"j": journey("j", TEXT)}))
    [one] = world.people(1, consents=None)
    world.consent([one], "sms", "offers")
    world.event([one])
    world.tick()
    world.pass_time(minutes=1)
    world.hear("m1a1", EventKind.UNSUBSCRIBED)
    world.pass_time(minutes=1)
    world.hear("m1a1", EventKind.RESUBSCRIBED)
    query = sa.select(t.consent_current.c.topic, t.consent_current.c.basis, t.consent_current.c.confirmed)
    rows = world.rows(query.where(t.consent_current.c.state == "granted"))
    assert [tuple(r) for r in rows] == [("offers", "express_written", True)]


def test_start_brings_back_no_topic_that_was_refused_by_itself(world: World) -> None:
    world.apply(files({"j": journey("j", TEXT)}))
    [one] = world.people(1, consents=None)
    world.consent([one], "sms", "news")
    world.consent([one], "sms", "offers")
    world.event([one])
    world.tick()
    world.pass_time(minutes=1)
    world.consent([one], "sms", "news", "withdraw")
    world.pass_time(minutes=1)
    world.hear("m1a1", EventKind.UNSUBSCRIBED)
    world.pass_time(minutes=1)
    world.hear("m1a1", EventKind.RESUBSCRIBED)
    rows = world.rows(sa.select(t.consent_current.c.topic).where(t.consent_current.c.state == "granted"))
    assert [r.topic for r in rows] == ["offers"]


def test_a_stop_on_a_shared_number_stops_both(world: World) -> None:
    world.apply(files({"j": journey("j", TEXT)}))
    ids = world.people(2, phone="+491713920077")
    world.event(ids[:1])
    world.tick()
    world.hear("m1a1", EventKind.UNSUBSCRIBED)
    world.event(ids[1:])
    assert world.tick()["deny suppressed"] == 1
