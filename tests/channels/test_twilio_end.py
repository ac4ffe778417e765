"""Texts through Twilio from end to end: the verbs, the vendor, and what comes back; and the vendor's own client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import sqlalchemy as sa
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from channels import twilio
from channels.base import Medium, Site
from orchestrator.ingest import receive
from orchestrator.store import tables as t
from tests.outgoing import World, files, journey, world_of
from tests.vendors.server import RESET, Reply
from tests.vendors.twilio import Account, Twilio, error, post
from tests.vendors.twilio_bench import HOOK, SERVICE, opened, running
from tests.web.site import served

STEPS = "- sms: short\n- wait: 9 days"


@pytest.fixture
def vendor() -> Iterator[Twilio]:
    with running() as made:
        yield made


class Shop:
    """A world whose texts go through the vendor."""

    def __init__(self, world: World, vendor: Twilio, hook: str = HOOK, **options: Any) -> None:
        self.world, self.vendor = world, vendor
        self.account: Account = vendor.account(now=world.now)
        given = {
            "account_sid": self.account.sid,
            "auth_token": self.account.token,
            "messaging_service_sid": SERVICE,
            "base_url": vendor.url,
            **options,
        }
        site = Site(world.folder, lambda: world.now, b"s" * 32, hook)
        self.channel = twilio.connect(Medium.SMS, given, site)
        opened.append(self.channel)
        world.channels[Medium.SMS] = self.channel  # type: ignore[assignment]

    def send(self, people: int) -> None:
        self.world.apply(files({"j": journey("j", STEPS)}))
        self.world.event(self.world.people(people))
        self.world.tick()

    def report(self, status: str, code: int = 0, which: int = 0) -> Any:
        inbound = self.account.report(self.account.messages[which], status, code)
        return receive(self.world.store, self.world.keys, self.channel.events(inbound), now=self.world.now)

    def state(self, attempt: str) -> tuple[str, str | None]:
        message_id = int(attempt.removeprefix("m").partition("a")[0])
        return next((m.state, m.reason) for m in self.world.messages() if m.id == message_id)


@pytest.fixture
def shop(database_url: str, vendor: Twilio) -> Iterator[Shop]:
    world = world_of(database_url)
    yield Shop(world, vendor)
    world.store.close()


def test_texts_go_out_and_what_becomes_of_them_comes_back(shop: Shop):
    shop.send(7)
    assert shop.world.states() == {"sent": 7}
    assert sorted(shop.account.attempts()) == [f"m{n}a1" for n in range(1, 8)]
    numbers = {m["to"] for m in shop.account.messages}
    assert len(numbers) == 7
    # Noon in Berlin, and texts until 20:00: a text that is still queued then is given up.
    assert {form["ValidityPeriod"] for form in shop.account.forms} == {str(8 * 3600)}
    assert {m.provider_id for m in shop.world.messages()} == {m["sid"] for m in shop.account.messages}
    # Out of order, and each twice, at different times.
    for which, order in enumerate(list(permutations(["queued", "sent", "delivered"]))):
        for status in (*order, *reversed(order)):
            shop.world.pass_time(seconds=1)
            shop.report(status, which=which)
    states = [shop.state(attempt)[0] for attempt in shop.account.attempts()]
    assert states == ["delivered"] * 6 + ["sent"]
    kinds = shop.world.rows(sa.select(t.feedback.c.message_id, t.feedback.c.kind))
    assert sorted(kind for _, kind in kinds) == ["accepted"] * 6 + ["delivered"] * 6


FATES = [
    # code, the message's state and reason, addresses suppressed, consents withdrawn
    (30003, ("sent", None), 0, 0),
    (30005, ("bounced", "unknown_address"), 1, 0),
    (30006, ("bounced", "invalid_address"), 1, 0),
    (30007, ("failed", "content"), 0, 0),
    (30008, ("failed", "provider"), 0, 0),
    (30036, ("failed", "expired"), 0, 0),
    (21610, ("failed", "opted_out"), 1, 1),
]


def test_what_follows_from_an_undelivered_text(shop: Shop):
    shop.send(len(FATES))
    attempts = shop.account.attempts()
    for which, (code, state, suppressed, withdrawn) in enumerate(FATES):
        first = shop.report("undelivered", code, which)
        again = shop.report("undelivered", code, which)
        assert (first.suppressed, first.withdrawn) == (suppressed, withdrawn), code
        assert (again.known, again.new) == (1, {}), code
        assert shop.state(attempts[which]) == state, code


def test_who_has_opted_out_with_twilio_has_said_no(shop: Shop):
    shop.account.refuses["+491713900001"] = 21610
    shop.send(2)
    assert shop.world.states() == {"sent": 1, "failed": 1}
    assert shop.world.one(sa.select(sa.func.count()).where(t.suppression.c.reason == "opted_out")) == 1
    said = shop.world.rows(sa.select(t.consent_event.c.action, t.consent_event.c.method, t.consent_event.c.topic))
    assert ("withdraw", "opted_out", "*") in [tuple(row) for row in said]


def test_a_lost_answer_is_settled_by_the_report(shop: Shop):
    shop.vendor.server.next(RESET)
    shop.send(1)
    assert shop.world.states() == {"uncertain": 1}
    assert len(shop.account.messages) == 1  # it had been taken
    shop.world.pass_time(minutes=2)
    shop.report("delivered")
    assert shop.world.states() == {"delivered": 1}
    shop.world.tick()
    assert len(shop.account.messages) == 1


def test_a_busy_vendor_is_left_alone_and_nothing_goes_twice(shop: Shop):
    shop.vendor.server.next(error(20429, "Too many", **{"Retry-After": "90"}), Reply(500, taken=False))
    shop.send(5)
    assert shop.world.states() == {"sent": 3, "uncertain": 1, "planned": 1}
    shop.world.pass_time(seconds=60)
    shop.world.tick()
    assert shop.world.states()["planned"] == 1
    shop.world.pass_time(seconds=60)
    shop.world.tick()
    assert shop.world.states() == {"sent": 4, "uncertain": 1}
    assert len({m["to"] for m in shop.account.messages}) == len(shop.account.messages) == 4


# ---- over the web ---------------------------------------------------------------------------------------------------


def test_reports_and_a_stop_come_in_by_the_web_app(database_url: str, vendor: Twilio):
    """Over real HTTP all the way: out of order, each twice, some of them forged."""
    world = world_of(database_url)
    with served(world) as url:
        hook = f"{url}/hooks/sms"
        shop = Shop(world, vendor, hook)
        shop.send(3)
        reports = [
            shop.account.report(message, status, code)
            for message in shop.account.messages
            for status, code in (("delivered", 0), ("sent", 0), ("queued", 0))
        ]
        reports[6] = shop.account.report(shop.account.messages[2], "undelivered", 30005)
        for report in (*reports, *reversed(reports)):
            world.pass_time(seconds=1)
            assert post(report)[0] == 200
        assert world.states() == {"delivered": 2, "bounced": 1}
        assert world.one(sa.select(sa.func.count()).select_from(t.feedback)) == 6
        forged = replace(reports[0], url=reports[0].url.replace("attempt=m", "attempt=m9"))
        assert post(forged) == (403, b"")
        assert post(replace(reports[0], body=reports[0].body.replace(b"delivered", b"failed")))[0] == 403

        number = shop.account.messages[0]["to"]
        stop = shop.account.text(hook, number, "Please stop texting me")
        for _ in range(2):
            status, said = post(stop)
            assert status == 200 and said.endswith(b"<Response/>")  # Twilio would text anything else back
            world.pass_time(minutes=1)
        withdrawn = world.rows(sa.select(t.consent_event.c.medium).where(t.consent_event.c.action == "withdraw"))
        assert [tuple(row) for row in withdrawn] == [("sms",)]
        before = len(shop.account.messages)
        world.tick()
        later = [m["to"] for m in shop.account.messages[before:]]
        assert later in ([], [number])  # nothing but the one confirmation
    world.store.close()


# ---- the vendor's own client ----------------------------------------------------------------------------------------


def test_the_vendors_own_client_understands_the_vendor_of_these_tests(vendor: Twilio):
    """What our channel is tested against answers so that Twilio's own package reads it: messages, refusals, lists."""
    account = vendor.account()
    client = Client(account.sid, account.token)
    client.api.base_url = vendor.url
    try:
        made = client.messages.create(to="+4915112345678", from_="+15005550006", body="Hello")
        assert (made.sid, made.status) == (account.messages[0]["sid"], "queued")
        with pytest.raises(TwilioRestException) as refused:
            client.messages.create(to="+15005550004", from_="+15005550006", body="Hello")
        assert (refused.value.status, refused.value.code) == (400, 21610)
        assert "+15005550004" in str(refused.value)  # why no text of Twilio's goes on: it names people
        for n in range(4):
            client.messages.create(to="+4915112345678", from_="+15005550006", body=f"Hello {n}")
        listed = client.messages.list(to="+4915112345678", page_size=2)
        assert [m.body for m in listed] == ["Hello 3", "Hello 2", "Hello 1", "Hello 0", "Hello"]
        wrong = Client(account.sid, "another token")
        wrong.api.base_url = vendor.url
        with pytest.raises(TwilioRestException) as refused:
            wrong.messages.create(to="+4915112345678", from_="+15005550006", body="Hello")
        assert (refused.value.status, refused.value.code) == (401, 20003)
    finally:
        for each in (client, wrong):
            each.http_client.session.close()


def test_our_channel_and_the_vendors_client_ask_alike(vendor: Twilio):
    from tests.channels.kit import outbound
    from tests.vendors.twilio_bench import Bench

    bench = Bench(vendor)
    one = outbound(Medium.SMS)
    assert [r.status for r in bench.channel.send([one])] == ["accepted"]
    client = Client(bench.account.sid, bench.account.token)
    client.api.base_url = vendor.url
    client.messages.create(
        to=one.to["number"],
        messaging_service_sid=SERVICE,
        body=one.part("text"),
        status_callback=bench.account.forms[0]["StatusCallback"],
    )
    client.http_client.session.close()
    ours, theirs = vendor.server.asked
    assert bench.account.forms[0] == bench.account.forms[1]
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    for name in ("authorization", "content-type"):
        assert ours.headers[name] == theirs.headers[name]
