"""Sends that nobody knows the fate of: asked, sent again or given up, never twice, and each accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import (
    Event,
    EventKind,
    Handed,
    Inbound,
    Medium,
    Outbound,
    Reason,
    Receipt,
    Unavailable,
    Uncertain,
)
from orchestrator.deliver import deliver
from orchestrator.ingest import receive
from orchestrator.problems import Conflict
from orchestrator.reconcile import prospects, reconcile, settle_by_hand
from orchestrator.rejudge import examine
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, files, journey, world_of

AGAIN = "if_uncertain: { send_again: after 10 minutes, at_most: 2 }"
CODE = "---\ntopic: service\n---\nOrder {{ event.order_id }} is on its way, {{ customer.first_name }}.\n"


class Died(BaseException):
    """The process is gone while it speaks to the provider."""


@dataclass
class Traced:
    """A provider of texts that can be asked later: what it has taken, it lists."""

    name: str = "traced"
    medium: Medium = Medium.SMS
    batch_size: int = 3
    rate: float | None = None
    resend: Any = "never"
    reports: frozenset[EventKind] = frozenset()
    taken: dict[str, Outbound] = field(default_factory=dict)
    how: list[str] = field(default_factory=list)  # what it does with each message, in turn
    asked: list[Handed] = field(default_factory=list)
    answers: str = "all"
    number: int = 0

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        for outbound in batch:
            how = self.how[self.number % len(self.how)] if self.how else "taken"
            self.number += 1
            if how in ("taken", "taken, no answer", "taken, malformed", "taken, died"):
                assert outbound.attempt not in self.taken
                self.taken[outbound.attempt] = outbound
            if how.endswith("died"):
                raise Died
            if how.endswith("no answer"):
                raise Uncertain("no answer in time")
            if how.endswith("malformed"):
                continue  # an answer that does not name it
            if how == "away":
                raise Unavailable("429", 30.0)
            if how == "refused":
                yield Receipt(outbound.attempt, "rejected", reason=Reason.CONTENT)
            else:
                yield Receipt(outbound.attempt, "accepted", f"SM{outbound.attempt}")

    def events(self, inbound: Inbound) -> list[Event]:
        return []

    def trace(self, handed: Sequence[Handed]) -> Iterator[Receipt]:
        self.asked += handed
        if self.answers == "away":
            raise Unavailable("503")
        for one in reversed(handed):
            if self.answers == "none" or (self.answers == "some" and sum(one.attempt.encode()) % 2):
                continue
            if one.attempt in self.taken:
                yield Receipt(one.attempt, "accepted", f"SM{one.attempt}")
            else:
                yield Receipt(one.attempt, "rejected", "", Reason.PROVIDER, "never_taken")


def texts(resend: str = "", policies: str = POLICIES) -> dict[str, str]:
    made = files(
        {
            "ads": journey("ads", "- sms: short", more="reentry: always"),
            "codes": journey("codes", "- sms: code", "{ event: bought }", "reentry: always"),
        },
        policies,
        templates__sms__code_dot_txt=CODE,
    )
    where = "title: Your account,"
    made["journeys/workspace.yaml"] = made["journeys/workspace.yaml"].replace(
        where, f"{where} {resend}{',' * bool(resend)}"
    )
    return made


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    made.apply(texts(AGAIN))
    yield made
    made.store.close()


def run(world: World, channel: Traced, rounds: int = 2) -> None:
    """Advance and deliver texts by this channel."""
    for _ in range(rounds):
        world.move()
        deliver(
            world.store, {Medium.SMS: channel}, world.keys, now=lambda: world.now, public_url="https://small.example"
        )


def look(world: World, channel: Traced) -> Any:
    return reconcile(world.store, {Medium.SMS: channel}, world.keys, now=world.now, public_url="https://small.example")


def fates(world: World) -> list[tuple[str, str | None]]:
    return [(m.state, m.reason) for m in world.messages()]


def reserved(world: World) -> int:
    return int(world.one(sa.select(sa.func.count()).select_from(t.reservation)))


def sound(world: World) -> None:
    """The log judged again, and the messages held against it."""
    with world.store.read() as conn:
        examined = examine(conn, world.keys)
    assert not examined.findings, examined.findings


# ---- what the provider knows ----------------------------------------------------------------------------------------


def test_what_the_provider_took_is_sent(world: World):
    channel = Traced(how=["taken, no answer"])
    world.event(world.people(1))
    run(world, channel)
    assert fates(world) == [("uncertain", "no_answer")]
    assert look(world, channel).settled == 0 and not channel.asked, "it may still be on its way into its list"
    world.pass_time(minutes=5)
    report = look(world, channel)
    assert report.counts == {("sent", ""): 1} and report.summary == "sent 1"
    [handed] = channel.asked
    assert (handed.attempt, handed.to) == ("m1a1", {"number": "+491713900001"})
    assert handed.body == "Hello Ann1. Reply STOP to opt out" and handed.at == world.messages()[0].decided_at
    message = world.messages()[0]
    assert (message.state, message.provider_id, message.provider) == ("sent", "SMm1a1", "traced")
    assert world.log(1)[-1]["verdict"] == "sent" and reserved(world) == 1
    assert look(world, channel).looked == 0
    audit_log(world)


def audit_log(world: World) -> None:
    sound(world)
    with world.store.read() as conn:
        from orchestrator.store import judged

        assert not judged.unallowed(conn) and not judged.contradicted(conn)


def test_what_it_never_took_is_judged_again_marketing_too(world: World):
    channel = Traced(how=["no answer", "taken"])
    world.event(world.people(1))
    run(world, channel)
    world.pass_time(minutes=6)
    report = look(world, channel)
    assert report.counts == {("planned", "never_taken"): 1} and report.summary == "never taken, planned again 1"
    assert reserved(world) == 0 and [x["reason"] for x in world.log(1)][-1] == "never_taken"
    audit_log(world)
    run(world, channel)
    assert fates(world) == [("sent", None)] and list(channel.taken) == ["m1a2"]
    audit_log(world)


def test_who_said_no_meanwhile_gets_nothing_again(world: World):
    channel = Traced(how=["no answer"])
    people = world.people(1)
    world.event(people)
    run(world, channel)
    world.pass_time(minutes=6)
    look(world, channel)
    world.consent(people, "sms", "offers", "withdraw")
    run(world, channel)
    assert world.messages()[0].state == "denied" and not channel.taken
    audit_log(world)


def test_a_number_that_changed_or_words_that_did_are_not_asked_for(world: World):
    channel = Traced(how=["taken, no answer"])
    world.event(world.people(2))
    run(world, channel)
    world.pass_time(minutes=6)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == 1).values(phone="+491713900777"))
        conn.execute(t.customer.update().where(t.customer.c.id == 2).values(first_name="Bo"))
    look(world, channel)
    assert [(h.attempt, h.body) for h in channel.asked] == [("m2a1", "")]


def test_one_number_of_a_provider_stands_for_one_message(world: World):
    """What a provider lists under an id that is another message's already says nothing of this one."""
    channel = Traced(how=["taken", "taken, no answer"])
    world.event(world.people(2))
    run(world, channel)
    world.pass_time(minutes=6)

    def same(handed: Sequence[Handed]) -> Iterator[Receipt]:
        yield from (Receipt(h.attempt, "accepted", "SMm1a1") for h in handed)

    channel.trace = same  # type: ignore[method-assign]
    assert look(world, channel).settled == 0
    assert fates(world)[1] == ("uncertain", "no_answer")
    audit_log(world)


def test_a_provider_that_cannot_be_asked_is_told_and_stops_nothing(world: World):
    channel = Traced(how=["taken, no answer"], answers="away")
    world.event(world.people(1))
    run(world, channel)
    world.pass_time(hours=25)
    report = look(world, channel)
    assert report.counts == {("failed", "unknown_outcome"): 1}
    assert report.problems == ("sms by traced could not be asked: 503",)


def test_what_ran_out_of_time_is_not_planned_again(world: World):
    made = texts()
    made["journeys/ads.yaml"] = journey("ads", "- sms: short\n  expire_after: 5 minutes", more="reentry: always")
    world.apply(made)
    channel = Traced(how=["no answer"])
    world.event(world.people(1))
    run(world, channel)
    world.pass_time(minutes=6)
    look(world, channel)
    assert fates(world) == [("expired", "expired")] and reserved(world) == 0
    audit_log(world)


def test_a_fallback_that_was_taken_meanwhile_is_not_doubled(world: World):
    made = texts()
    steps = "- first_of: [ { sms: short }, { email: hello } ]\n  until: delivered\n  within: 1 hour"
    made["journeys/ads.yaml"] = journey("ads", steps, more="reentry: always")
    world.apply(made)
    channel = Traced(how=["no answer"])
    world.event(world.people(1))
    run(world, channel)
    world.pass_time(hours=2)
    world.tick()  # the e-mail goes
    look(world, channel)
    states = {m.medium: (m.state, m.reason) for m in world.messages()}
    assert states == {"sms": ("failed", "never_taken"), "email": ("sent", None)}
    audit_log(world)


# ---- what nobody knows ----------------------------------------------------------------------------------------------


def test_marketing_is_given_up_after_a_day_and_still_counts(world: World):
    channel = Traced(how=["taken, no answer"], answers="none")
    world.event(world.people(1))
    run(world, channel)
    world.pass_time(hours=23, minutes=59)
    assert look(world, channel).left == 1
    world.pass_time(minutes=1)
    report = look(world, channel)
    assert report.counts == {("failed", "unknown_outcome"): 1} and report.summary == "given up 1"
    assert reserved(world) == 1, "it may have arrived"
    run(world, channel)
    assert len(channel.taken) == 1
    audit_log(world)
    # What comes late is heard all the same.
    receive(world.store, world.keys, [Event("m1a1", EventKind.DELIVERED, world.now)], now=world.now)
    assert world.messages()[0].state == "delivered"
    audit_log(world)


def test_a_policy_of_its_own_says_how_long(world: World):
    world.apply(texts(policies=POLICIES + "  give_up_after: 2 hours\n"))
    channel = Traced(how=["taken, no answer"], answers="none")
    world.event(world.people(1))
    run(world, channel)
    world.pass_time(hours=2)
    assert look(world, channel).counts == {("failed", "unknown_outcome"): 1}


def test_what_somebody_waits_for_is_sent_again_so_many_times(world: World):
    channel = Traced(how=["taken, no answer"], answers="none")
    world.event(world.people(1), "bought", order_id="o1", amount=100, amount_currency="EUR")
    run(world, channel)
    world.pass_time(minutes=9)
    assert look(world, channel).settled == 0
    for n in (1, 2):
        world.pass_time(minutes=10)
        assert look(world, channel).counts == {("planned", "sent_again"): 1}
        assert look(world, channel).looked == 0, "asked for twice, planned once"
        run(world, channel)
        assert len(channel.taken) == 1 + n
    world.pass_time(hours=23)
    assert look(world, channel).settled == 0
    world.pass_time(hours=2)
    assert look(world, channel).counts == {("failed", "unknown_outcome"): 1}
    assert len(channel.taken) == 3
    audit_log(world)


def test_never_without_the_policy_and_never_marketing(world: World):
    world.apply(texts(AGAIN.replace("2 }", "1 }")))
    channel = Traced(how=["taken, no answer"], answers="none")
    people = world.people(1)
    world.event(people)
    world.event(people, "bought", order_id="o1", amount=100, amount_currency="EUR")
    run(world, channel)
    # The topic became transactional since: the message was planned as marketing, and stays so.
    made = texts(AGAIN)
    review = "reviewed: { by: legal, on: 2026-11-01 }"
    made["journeys/workspace.yaml"] = made["journeys/workspace.yaml"].replace(
        "offers: { purpose: marketing, title: Offers }",
        f"offers: {{ purpose: transactional, title: Offers, {review}, {AGAIN} }}",
    )
    world.apply(made)
    world.pass_time(minutes=30)
    assert look(world, channel).counts == {("planned", "sent_again"): 1}
    by_topic = {m.topic: m.state for m in world.messages()}
    assert by_topic == {"offers": "uncertain", "service": "planned"}


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_somebody_finds_out_and_says_so(world: World):
    channel = Traced(how=["taken, no answer"], answers="none")
    world.event(world.people(4))
    run(world, channel)
    now, keys = world.now, world.keys
    assert settle_by_hand(world.store, keys, 1, sent=True, because="seen", by="op", now=now) == "sent"
    assert settle_by_hand(world.store, keys, 2, sent=False, because="Twilio says", by="op", now=now) == "failed"
    with pytest.raises(Conflict, match="message 1 is sent: only what is uncertain"):
        settle_by_hand(world.store, keys, 1, sent=False, because="", by="op", now=now)
    with pytest.raises(LookupError):
        settle_by_hand(world.store, keys, 99, sent=False, because="", by="op", now=now)
    assert fates(world)[:2] == [("sent", "settled_by_hand"), ("failed", "settled_by_hand")] and reserved(world) == 3
    with world.store.read() as conn:
        rows = conn.execute(sa.select(t.log).where(t.log.c.kind == "operation", t.log.c.verdict == "settled")).all()
    assert [(r.reason, b'"by":"op"' in bytes(r.body)) for r in rows] == [("seen", True), ("Twilio says", True)]
    audit_log(world)
    run(world, channel)
    assert len(channel.taken) == 2, "the third and fourth were of a batch that broke off; nothing goes again"


def test_what_comes_next_is_told(world: World):
    channel = Traced(how=["taken, no answer"], answers="none")
    people = world.people(1)
    world.event(people)
    world.event(people, "bought", order_id="o1", amount=100, amount_currency="EUR")
    run(world, channel)
    now = world.now
    told = {p.message.due.topic: (p.next, p.at - now) for p in prospects(world.store, {Medium.SMS: channel})}
    minutes = timedelta(minutes=1)
    assert told == {"offers": ("ask", 5 * minutes), "service": ("ask", 5 * minutes)}
    told = {p.message.due.topic: (p.next, p.at - now) for p in prospects(world.store, {})}
    assert told == {"offers": ("give_up", 1440 * minutes), "service": ("again", 10 * minutes)}
