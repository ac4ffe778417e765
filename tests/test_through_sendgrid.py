"""From a journey to the inbox and back, through the real channel over HTTP: states, suppressions, and never twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Inbound, Medium
from orchestrator.ingest import receive
from orchestrator.store import tables as t
from tests.outgoing import World, files, journey, world_of
from tests.vendors.sendgrid import SendGridVendor
from tests.vendors.server import RESET, Reply
from tests.web.site import Asked

STEPS = "- email: hello\n- wait: 9 days"


class Through(World):
    vendor: SendGridVendor

    def hear_signed(self, inbound: Inbound) -> Any:
        events = self.channels[Medium.EMAIL].events(inbound)
        return receive(self.store, self.keys, events, now=self.now)

    def suppressed(self) -> set[str]:
        """By why."""
        return {row.reason for row in self.rows(sa.select(t.suppression))}

    def state_of(self, key: str) -> str:
        customer = self.one(sa.select(t.customer.c.id).where(t.customer.c.email == key))
        return str(self.one(sa.select(t.message.c.state).where(t.message.c.customer_id == customer)))


@pytest.fixture
def world(database_url: str) -> Iterator[Through]:
    made = world_of(database_url)
    made.__class__ = Through
    assert isinstance(made, Through)
    with SendGridVendor() as vendor:
        made.vendor = vendor
        channel = vendor.channel(lambda: made.now, timeout=30)
        made.channels[Medium.EMAIL] = channel  # type: ignore[assignment]
        texts = files({"j": journey("j", STEPS)})
        sender = 'sender: { name: Small, email: "hello@small.example",'
        texts["journeys/workspace.yaml"] = texts["journeys/workspace.yaml"].replace("sender: { name: Small,", sender)
        made.apply(texts)
        yield made
        channel.close()
    made.store.close()


def test_out_and_back(world: Through) -> None:
    world.event(world.people(6))
    assert world.tick()["sent"] == 6
    mails = {mail.to: mail for mail in world.vendor.mails}
    assert sorted(mails) == [f"c{n}@example.com" for n in range(1, 7)] and len(world.vendor.bodies) == 1
    for n in range(1, 7):
        mail = mails[f"c{n}@example.com"]
        assert mail.subject == f"Hello Ann{n}" and mail.sender == "hello@small.example"
        assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert "/o/v1.m" in mail.headers["List-Unsubscribe"] and "/u/v1.m" in mail.html
    providers = world.rows(sa.select(t.message.c.provider_id))
    assert len({row.provider_id for row in providers}) == 6 and None not in {row.provider_id for row in providers}

    world.pass_time(minutes=1)
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("c1", "processed", {}),
        ("c1", "delivered", {}),
        ("c1", "open", {"sg_machine_open": True}),
        ("c2", "processed", {}),
        ("c2", "bounce", {"type": "bounce", "bounce_classification": "Invalid Address", "status": "5.1.1"}),
        ("c3", "bounce", {"type": "blocked", "bounce_classification": "Reputation"}),
        ("c4", "delivered", {}),
        ("c4", "spamreport", {}),
        ("c5", "deferred", {}),
        ("c6", "dropped", {"reason": "Unsubscribed Address"}),
    ]

    def tell(reverse: bool) -> Any:
        events = [world.vendor.event(mails[f"{who}@example.com"], kind, world.now, **more) for who, kind, more in told]
        return world.hear_signed(world.vendor.signed(events[::-1] if reverse else events, world.now))

    report = tell(reverse=True)
    assert sum(report.new.values()) == len(told)
    states = {f"c{n}": world.state_of(f"c{n}@example.com") for n in range(1, 7)}
    assert states == {
        "c1": "delivered", "c2": "bounced", "c3": "failed", "c4": "delivered", "c5": "sent", "c6": "failed",
    }  # fmt: skip
    assert world.suppressed() == {"unknown_address", "complained", "opted_out"}
    # The vendor tells it all again, in another order and with new ids.
    again = tell(reverse=False)
    assert sum(again.new.values()) == 0 and again.known == len(told)
    assert states == {f"c{n}": world.state_of(f"c{n}@example.com") for n in range(1, 7)}
    assert world.tick()["sent"] == 0 and len(world.vendor.mails) == 6


def test_by_the_front_door(world: Through) -> None:
    """The web app's webhook, over HTTP: what is genuine is written and answered 2xx, what is not changes nothing."""
    world.event(world.people(1))
    world.tick()
    ask = Asked(world)
    told = [world.vendor.event(world.vendor.mails[0], "delivered", world.now)]
    genuine = world.vendor.signed(told, world.now)

    def post(inbound: Inbound) -> int:
        return ask.post("/hooks/email", content=inbound.body, headers=dict(inbound.headers)).status_code

    assert post(replace(genuine, body=genuine.body.replace(b"m1a1", b"m2a1"))) == 403
    assert post(replace(genuine, headers={})) == 403
    assert world.states() == {"sent": 1}
    assert post(genuine) == 204
    assert post(genuine) == 204
    assert world.states() == {"delivered": 1}
    assert world.one(sa.select(sa.func.count()).select_from(t.feedback)) == 1
    # Ours to mend, so it has to come again.
    assert post(world.vendor.signed_bytes(b"no list", world.now)) == 503


def test_a_bounce_days_later_names_an_address_alone(world: Through) -> None:
    world.event(world.people(2))
    world.tick()
    world.pass_time(days=2)
    entry = {"event": "bounce", "email": "c1@example.com", "timestamp": int(world.now.timestamp()), "status": "5.1.1"}
    world.hear_signed(world.vendor.signed([entry], world.now))
    assert world.suppressed() == {"unknown_address"}


@pytest.mark.parametrize("reply", [RESET, Reply(503), Reply(202)], ids=["reset", "503", "no message id"])
def test_what_nobody_knows_is_settled_by_what_is_heard(world: Through, reply: Reply) -> None:
    world.event(world.people(1))
    world.vendor.next(reply)  # it takes the message, and its answer says nothing
    assert world.tick()["uncertain provider"] + world.states()["uncertain"] >= 1
    world.pass_time(minutes=10)
    world.tick()
    assert world.vendor.attempts() == ["m1a1"]
    told = world.vendor.event(world.vendor.mails[0], "processed", world.now)
    world.hear_signed(world.vendor.signed([told], world.now))
    assert world.states() == {"sent": 1} and len(world.vendor.mails) == 1


def test_too_many_requests_wait_and_go_once(world: Through) -> None:
    world.event(world.people(3))
    world.vendor.next(Reply(429, {"Retry-After": "90"}, taken=False))
    world.tick()
    assert world.vendor.mails == [] and world.states() == {"planned": 3}
    world.now += timedelta(minutes=10)
    world.tick()
    assert world.states() == {"sent": 3}
    assert sorted(mail.to for mail in world.vendor.mails) == [f"c{n}@example.com" for n in range(1, 4)]


def test_one_bad_address_stops_nobody_else(world: Through) -> None:
    ids = world.people(3)
    with world.store.write() as conn:
        conn.execute(sa.update(t.customer).where(t.customer.c.id == ids[1]).values(email="c2@invalid"))
    world.event(ids)
    world.tick()
    assert world.state_of("c2@invalid") == "failed"
    for _ in range(3):
        world.pass_time(minutes=30)
        world.tick()
    assert world.states() == {"sent": 2, "failed": 1}
    assert sorted(mail.to for mail in world.vendor.mails) == ["c1@example.com", "c3@example.com"]
