"""What SendGrid's Event Webhook tells, and that only its own word counts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sendgrid import EventWebhook

from channels.base import ChannelError, Event, EventKind, Forged, Inbound, Medium, Misconfigured, Reason, Site
from channels.sendgrid import connect
from channels.sendgrid.events import read
from tests.channels.kit import NOW, outbounds
from tests.vendors.sendgrid import KEY, SendGridVendor

SITE = Site(Path(), lambda: NOW, b"secret")


@pytest.fixture
def vendor() -> Any:
    with SendGridVendor() as made:
        yield made


# The vendor's own example, from the tests of its packages.
EXAMPLE_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6w"
    "EA3F+g=="
)
EXAMPLE_AT = datetime.fromtimestamp(1600112502, UTC)
EXAMPLE = Inbound(
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n',
    {
        "x-twilio-email-event-webhook-signature": (
            "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
        ),
        "X-TWILIO-EMAIL-EVENT-WEBHOOK-TIMESTAMP": "1600112502",
    },
)
OTHER_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe"
    "1OPzpA=="
)


def example_channel(keys: object = (EXAMPLE_KEY,), at: datetime = EXAMPLE_AT, **options: Any) -> Any:
    given = {"api_key": KEY, "webhook_keys": keys, **options}
    return connect(Medium.EMAIL, given, Site(Path(), lambda: at, b"secret"))


def test_the_vendors_own_example_verifies() -> None:
    (event,) = example_channel().events(EXAMPLE)
    at = datetime.fromtimestamp(1600112492, UTC)
    assert (event.attempt, event.kind, event.at) == ("", EventKind.DROPPED, at)
    assert (event.reason, event.address) == (Reason.UNKNOWN_ADDRESS, "hello@world.com")
    headers = {n.lower(): v for n, v in EXAMPLE.headers.items()}
    signature, stamp = (headers[f"x-twilio-email-event-webhook-{n}"] for n in ("signature", "timestamp"))
    assert EventWebhook(EXAMPLE_KEY).verify_signature(EXAMPLE.body.decode(), signature, stamp)


@pytest.mark.parametrize(
    "keys",
    [
        [OTHER_KEY, EXAMPLE_KEY],
        f"{OTHER_KEY},{EXAMPLE_KEY}",
        f"{OTHER_KEY}\n{EXAMPLE_KEY}",
        f"-----BEGIN PUBLIC KEY-----\n{EXAMPLE_KEY[:64]}\n{EXAMPLE_KEY[64:]}\n-----END PUBLIC KEY-----\n",
    ],
)
def test_two_keys_while_they_change(keys: object) -> None:
    assert len(example_channel(keys).events(EXAMPLE)) == 1


@pytest.mark.parametrize(
    ("inbound", "options"),
    [
        (replace(EXAMPLE, body=EXAMPLE.body.replace(b"hello", b"jello")), {}),
        (replace(EXAMPLE, body=EXAMPLE.body.strip()), {}),
        (replace(EXAMPLE, body=EXAMPLE.body + b"\xff"), {}),
        (replace(EXAMPLE, headers={}), {}),
        (replace(EXAMPLE, headers={**EXAMPLE.headers, "X-TWILIO-EMAIL-EVENT-WEBHOOK-TIMESTAMP": "1600112503"}), {}),
        (replace(EXAMPLE, headers={**EXAMPLE.headers, "X-TWILIO-EMAIL-EVENT-WEBHOOK-TIMESTAMP": "now"}), {}),
        (replace(EXAMPLE, headers={**EXAMPLE.headers, "x-twilio-email-event-webhook-signature": "%%%"}), {}),
        (replace(EXAMPLE, headers={**EXAMPLE.headers, "x-twilio-email-event-webhook-signature": "é"}), {}),
        (EXAMPLE, {"keys": [OTHER_KEY]}),
        (EXAMPLE, {"at": EXAMPLE_AT + timedelta(seconds=601)}),
        (EXAMPLE, {"at": EXAMPLE_AT - timedelta(seconds=61)}),
        (EXAMPLE, {"at": EXAMPLE_AT + timedelta(seconds=11), "max_age": 10}),
    ],
)
def test_what_is_not_the_vendors_own_is_refused(inbound: Inbound, options: dict[str, Any]) -> None:
    with pytest.raises(Forged) as raised:
        example_channel(**options).events(inbound)
    assert "world.com" not in str(raised.value)


@pytest.mark.parametrize("seconds", [-60, 0, 600])
def test_clocks_may_differ_a_little(seconds: int) -> None:
    assert example_channel(at=EXAMPLE_AT + timedelta(seconds=seconds)).events(EXAMPLE)


HEARD: list[tuple[dict[str, Any], EventKind, Reason | None]] = [
    ({"event": "processed"}, EventKind.ACCEPTED, None),
    ({"event": "deferred", "attempt": "5", "response": "400 try again later"}, EventKind.DEFERRED, None),
    ({"event": "delivered", "response": "250 OK"}, EventKind.DELIVERED, None),
    ({"event": "open"}, EventKind.OPENED, None),
    ({"event": "open", "sg_machine_open": False}, EventKind.OPENED, None),
    ({"event": "open", "sg_machine_open": True}, EventKind.MACHINE_OPENED, None),
    ({"event": "click", "url": "https://example.com/?a=1"}, EventKind.CLICKED, None),
    ({"event": "spamreport"}, EventKind.COMPLAINED, None),
    ({"event": "unsubscribe"}, EventKind.UNSUBSCRIBED, None),
    ({"event": "group_unsubscribe", "asm_group_id": 1}, EventKind.UNSUBSCRIBED, None),
    ({"event": "group_resubscribe", "asm_group_id": 1}, EventKind.RESUBSCRIBED, None),
    ({"event": "bounce"}, EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS),
    ({"event": "bounce", "type": "bounce", "status": "5.1.1"}, EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS),
    ({"event": "bounce", "bounce_classification": "Invalid Address"}, EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS),
    ({"event": "bounce", "bounce_classification": "Unclassified"}, EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS),
    ({"event": "bounce", "bounce_classification": "Mailbox Unavailable"}, EventKind.SOFT_BOUNCED, None),
    (
        {"event": "bounce", "bounce_classification": "Mailbox Unavailable", "status": "5.2.2"},
        EventKind.SOFT_BOUNCED,
        None,
    ),
    (
        {"event": "bounce", "bounce_classification": "Mailbox Unavailable", "reason": "550 5.1.1 unknown user"},
        EventKind.BOUNCED,
        Reason.UNKNOWN_ADDRESS,
    ),
    ({"event": "bounce", "status": "5.2.2"}, EventKind.SOFT_BOUNCED, None),
    ({"event": "bounce", "status": "5.7.1"}, EventKind.BLOCKED, Reason.PROVIDER),
    ({"event": "bounce", "bounce_classification": "Reputation"}, EventKind.BLOCKED, Reason.PROVIDER),
    ({"event": "bounce", "bounce_classification": "Content"}, EventKind.BLOCKED, Reason.CONTENT),
    ({"event": "bounce", "bounce_classification": "Technical Failure"}, EventKind.BLOCKED, Reason.PROVIDER),
    (
        {"event": "bounce", "bounce_classification": "Frequency or Volume Too High"},
        EventKind.BLOCKED,
        Reason.RATE,
    ),
    ({"event": "bounce", "type": "blocked"}, EventKind.BLOCKED, Reason.PROVIDER),
    (
        {"event": "bounce", "type": "blocked", "bounce_classification": "Invalid Address", "status": "5.1.1"},
        EventKind.BLOCKED,
        Reason.PROVIDER,
    ),
    ({"event": "bounce", "type": "blocked", "bounce_classification": "Content"}, EventKind.BLOCKED, Reason.CONTENT),
    ({"event": "dropped", "reason": "Bounced Address"}, EventKind.DROPPED, Reason.UNKNOWN_ADDRESS),
    ({"event": "dropped", "reason": "Unsubscribed Address"}, EventKind.DROPPED, Reason.OPTED_OUT),
    ({"event": "dropped", "reason": "Spam Reporting Address"}, EventKind.DROPPED, Reason.OPTED_OUT),
    ({"event": "dropped", "reason": "Invalid"}, EventKind.DROPPED, Reason.INVALID_ADDRESS),
    ({"event": "dropped", "reason": "Invalid SMTPAPI header"}, EventKind.FAILED, Reason.CONFIGURATION),
    ({"event": "dropped", "reason": "Recipient List over Package Quota"}, EventKind.FAILED, Reason.CONFIGURATION),
    ({"event": "dropped", "reason": "Spam Content (if Spam Checker app enabled)"}, EventKind.FAILED, Reason.CONTENT),
    ({"event": "dropped", "reason": "A new reason"}, EventKind.FAILED, Reason.PROVIDER),
    ({"event": "dropped"}, EventKind.FAILED, Reason.PROVIDER),
]


@pytest.mark.parametrize(("told", "kind", "reason"), HEARD, ids=lambda x: None)
def test_every_event(vendor: SendGridVendor, told: dict[str, Any], kind: EventKind, reason: Reason | None) -> None:
    channel = vendor.channel(lambda: NOW)
    entry = {"email": "anna@example.com", "timestamp": 1700000000, "sg_message_id": "x.y", "attempt_id": "m7a1", **told}
    (event,) = channel.events(vendor.signed([entry], NOW))
    assert event == Event(
        "m7a1", kind, datetime.fromtimestamp(1700000000, UTC), "x.y", reason, told.get("url", ""), event.detail
    )
    assert kind in channel.reports
    assert event.detail in ("", told.get("status", "5.1.1"))


MALFORMED: list[Any] = [
    None, 7, "x", [], {}, {"event": "delivered"}, {"event": ["delivered"], "timestamp": 1},
    {"event": None, "timestamp": 1}, {"event": "delivered", "timestamp": 1, "attempt_id": 5},
    *({"event": "delivered", "timestamp": bad, "attempt_id": "a"} for bad in ("soon", True, -1, 10**30, 1e400)),
    {"event": "unheard_of", "timestamp": 1, "attempt_id": "a"},
    {"event": "account_status_change", "type": "compliance_suspend", "timestamp": 1},
    {"event": "delivered", "timestamp": 1, "email": "somebody.elses@example.com"},
]  # fmt: skip


def test_what_makes_no_sense_spoils_nothing(vendor: SendGridVendor) -> None:
    good = {"event": "delivered", "timestamp": 5, "attempt_id": "a1"}
    told = [x for bad in MALFORMED for x in (bad, good)]
    events = vendor.channel(lambda: NOW).events(vendor.signed(told, NOW))
    assert [(e.attempt, e.kind) for e in events] == [("a1", EventKind.DELIVERED)] * len(MALFORMED)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "event",
                        "timestamp",
                        "email",
                        "attempt_id",
                        "reason",
                        "status",
                        "type",
                        "url",
                        "bounce_classification",
                    ]
                )
                | st.text(),
                x,
            )
        ),
    )
)
@settings(max_examples=150, deadline=None)
def test_no_entry_breaks_the_reading(entry: Any) -> None:
    for kind in ("bounce", "dropped", "click", "open"):
        told = {**entry, "event": kind, "timestamp": 5} if isinstance(entry, dict) else entry
        for event in read(json.dumps([told]).encode()):
            assert event.address + event.url + event.attempt == (event.address + event.url + event.attempt).replace(
                "\0", ""
            )
            json.dumps([event.url, event.attempt, event.address]).encode()


@pytest.mark.parametrize("body", [b"", b"nothing", b"7", b'"x"', b"[" * 100_000])
def test_a_genuine_request_that_is_no_list_is_told_again_later(vendor: SendGridVendor, body: bytes) -> None:
    with pytest.raises(ChannelError) as raised:
        vendor.channel(lambda: NOW).events(vendor.signed_bytes(body, NOW))
    assert type(raised.value) is ChannelError


def test_a_word_on_an_address_that_names_no_attempt(vendor: SendGridVendor) -> None:
    at = int(NOW.timestamp())
    told = [
        {"event": "bounce", "email": "a@example.com", "timestamp": at, "reason": "550 5.1.1 a@example.com unknown"},
        {"event": "spamreport", "email": "b@example.com", "timestamp": at},
        {"event": "delivered", "email": "c@example.com", "timestamp": at},
        {"event": "group_unsubscribe", "email": "d@example.com", "timestamp": at},
        {"event": "bounce", "timestamp": at},
    ]
    events = vendor.channel(lambda: NOW).events(vendor.signed(told, NOW))
    assert [(e.attempt, e.kind, e.address, e.detail) for e in events] == [
        ("", EventKind.BOUNCED, "a@example.com", "5.1.1"),
        ("", EventKind.COMPLAINED, "b@example.com", ""),
    ]
    assert "a@example.com" not in repr(events)


def test_what_was_told_twice_is_the_same(vendor: SendGridVendor) -> None:
    channel = vendor.channel(lambda: NOW)
    list(channel.send(outbounds(Medium.EMAIL, 2)))
    once = channel.events(vendor.signed([vendor.event(m, "delivered", NOW) for m in vendor.mails], NOW))
    again = channel.events(vendor.signed([vendor.event(m, "delivered", NOW) for m in vendor.mails[::-1]], NOW))
    assert sorted(once, key=lambda e: e.attempt) == sorted(again, key=lambda e: e.attempt)


def test_a_key_of_another_kind_is_refused() -> None:
    from base64 import b64encode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(Misconfigured, match="ECDSA"):
        connect(Medium.EMAIL, {"api_key": KEY, "webhook_keys": [b64encode(key).decode()]}, SITE)


def test_no_feedback_without_a_key_to_check_it(vendor: SendGridVendor) -> None:
    channel = vendor.channel(lambda: NOW, webhook_keys=[])
    assert channel.reports == frozenset()
    with pytest.raises(Forged):
        channel.events(vendor.signed([], NOW))
