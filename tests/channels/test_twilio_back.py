"""Texts through Twilio: what comes back, and whether it is genuine."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import twilio
from channels.base import (
    Event,
    EventKind,
    Forged,
    Inbound,
    Medium,
    Reason,
    Site,
)
from tests.vendors.twilio import Twilio
from tests.vendors.twilio_bench import HOOK, NOW, SERVICE, Bench, running


@pytest.fixture
def vendor() -> Iterator[Twilio]:
    with running() as made:
        yield made


@pytest.fixture
def bench(vendor: Twilio) -> Bench:
    return Bench(vendor)


# ---- whether it is genuine ------------------------------------------------------------------------------------------

CLASSIC = "https://mycompany.com/myapp.php?foo=1&bar=2"
CALL = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
HASHED = CLASSIC + "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
TEXTED = {
    "ToState": "CA",
    "FromState": "CA",
    "AccountSid": "ACba8bc05eacf94afdae398e642c9cc32d",
    "SmsMessageSid": "SM2003cbd5e6a3701999aa3e5f20ff2787",
    "Body": "Orly",
    "From": "+14159354345",
    "FromCity": "SAN FRANCISCO",
    "SmsStatus": "received",
    "FromZip": "94107",
    "FromCountry": "US",
    "To": "+14158141819",
    "ToCity": "SAN FRANCISCO",
    "ToZip": "94105",
    "ToCountry": "US",
    "ApiVersion": "2010-04-01",
    "SmsSid": "SM2003cbd5e6a3701999aa3e5f20ff2787",
}


def form(fields: Any, url: str, signature: str, kind: str = "application/x-www-form-urlencoded") -> Inbound:
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    return Inbound(body, {"x-twilio-signature": signature, "Content-Type": kind}, url)


PUBLISHED = {
    # The examples in the vendor's own test suites: twilio-python (form, JSON) and twilio-ruby (a text).
    "form": ("12345", form(CALL, CLASSIC, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")),
    "json": (
        "12345",
        form(b'{"property": "value", "boolean": true}', HASHED, "a9nBmqA0ju/hNViExpshrM61xv4=", "application/json"),
    ),
    "text": (
        "2bd9e9638872de601313dc77410d3b23",
        form(TEXTED, "http://twiliotests.heroku.com/validate/sms", "mxeiv65lEe0b8L6LdVw2jgJi8yw="),
    ),
}


def signed_by(token: str, **more: Any) -> twilio.Twilio:
    options = {
        "account_sid": "AC" + "0" * 32,
        "auth_token": token,
        "messaging_service_sid": SERVICE,
        "base_url": "http://127.0.0.1:9",
        **more,
    }
    return twilio.connect(Medium.SMS, options, Site(Path(), lambda: NOW, b"s" * 32, HOOK))


@pytest.mark.parametrize("example", PUBLISHED)
def test_the_vendors_published_signatures_verify(example: str):
    token, inbound = PUBLISHED[example]
    found = signed_by(token).events(inbound)
    if example == "text":
        assert [(e.address, e.text) for e in found] == [("+14159354345", "Orly")]
    else:
        assert found == []


@pytest.mark.parametrize("example", PUBLISHED)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
def test_a_changed_byte_does_not(example: str, place: float, byte: int):
    token, inbound = PUBLISHED[example]
    channel = signed_by(token)
    where = int(place * len(inbound.body))
    changed = bytes(b ^ byte if n == where else b for n, b in enumerate(inbound.body))
    if sorted(set(changed.split(b"&"))) != sorted(set(inbound.body.split(b"&"))):
        with pytest.raises(Forged):
            channel.events(replace(inbound, body=changed))
    signature = inbound.headers["x-twilio-signature"]
    at = int(place * len(signature))
    wrong = signature[:at] + chr(ord(signature[at]) ^ (byte % 128 or 1)) + signature[at + 1 :]
    with pytest.raises(Forged):
        channel.events(replace(inbound, headers={**inbound.headers, "x-twilio-signature": wrong}))


@pytest.mark.parametrize("example", PUBLISHED)
@pytest.mark.parametrize("wrong", ["token", "host", "path", "query", "scheme", "no address", "no port", "no signature"])
def test_another_address_or_token_does_not(example: str, wrong: str):
    token, inbound = PUBLISHED[example]
    parts = urlsplit(inbound.url)
    urls = {
        "host": parts._replace(netloc="mycompany.example").geturl(),
        "path": parts._replace(path=parts.path + "/").geturl(),
        "query": parts._replace(query=parts.query + "&a=1").geturl(),
        "scheme": parts._replace(scheme="https" if parts.scheme == "http" else "http").geturl(),
        "no address": "",
        "no port": parts._replace(netloc=f"{parts.netloc}:port").geturl(),
    }
    changed = replace(inbound, url=urls.get(wrong, inbound.url))
    if wrong == "no signature":
        changed = replace(inbound, headers={"Content-Type": inbound.headers["Content-Type"]})
    with pytest.raises(Forged):
        signed_by("54321" if wrong == "token" else token).events(changed)


def signature(token: str, url: str, pairs: list[tuple[str, str]]) -> str:
    """By the vendor's words, not its code: names sorted, the values of a name sorted and each once."""
    told = url + "".join(name + value for name, value in sorted(set(pairs)))
    return b64encode(hmac.digest(token.encode(), told.encode(), "sha1")).decode()


NAMES = st.sampled_from(["Body", "From", "MessageStatus", "A", "a", "", "Ünïcode", "x y", "&=;"])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(NAMES, WORDS), max_size=12), st.sampled_from(["", ":443"]), st.booleans())
def test_whatever_twilio_signs_is_taken(pairs: list[tuple[str, str]], port: str, with_port: bool):
    """Names that come twice, blank values, any words; signed with the port that every https address has, or without."""
    url = f"https://small.example{port}/hooks/sms?attempt=m1a1"
    told = url.replace(".example:443", ".example").replace(".example", ".example:443" if with_port else ".example")
    inbound = form(pairs, url, signature("t" * 32, told, pairs))
    signed_by("t" * 32).events(inbound)
    with pytest.raises(Forged):
        signed_by("u" * 32).events(inbound)


@pytest.mark.parametrize(
    "body", [b"Body=%FF%FE&From=%2B1", b"Body=\xff\xfe", b"\x00\xff" * 50, b"a=1&" * 2000, b"%", b"=", b"&&&", b""]
)
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", "text/plain; charset=x", ""])
def test_what_is_no_form_at_all_is_forged(body: bytes, kind: str):
    for url in (HOOK, HOOK + "?bodySHA256=" + hashlib.sha256(body).hexdigest()):
        with pytest.raises(Forged):
            signed_by("t" * 32).events(form(body, url, "c2lnbmF0dXJl", kind))


def test_latin_letters_are_read_as_they_were_sent():
    pairs = [("From", "+4915112345678"), ("Body", "Grüße"), ("SmsStatus", "received")]
    inbound = form(pairs, HOOK, signature("t" * 32, HOOK, pairs))
    body = urlencode(pairs, encoding="latin-1").encode()
    latin = replace(inbound, body=body, headers={**inbound.headers, "Content-Type": "a/b; charset=ISO-8859-1"})
    assert [e.text for e in signed_by("t" * 32).events(latin)] == ["Grüße"]


def test_json_without_its_hash_in_the_address_is_forged():
    """The signature covers the address alone: it would vouch for any body."""
    body = b'{"From": "+4915112345678", "Body": "START", "OptOutType": "START"}'
    signed = signature("t" * 32, HOOK, [])
    with pytest.raises(Forged):
        signed_by("t" * 32).events(form(body, HOOK, signed, "application/json"))
    url = f"{HOOK}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    inbound = form(body, url, signature("t" * 32, url, []), "Application/JSON; charset=utf-8")
    assert [e.meaning for e in signed_by("t" * 32).events(inbound)] == ["start"]
    with pytest.raises(Forged):
        signed_by("t" * 32).events(replace(inbound, body=body.replace(b"5678", b"5679")))


def test_both_tokens_are_good_while_they_change(bench: Bench):
    bench.one()
    message = bench.account.messages[0]
    before = bench.account.report(message, "sent")
    old, bench.account.token = bench.account.token, "a new token"
    after = bench.account.report(message, "sent")
    assert len(bench.channel.events(before)) == 1
    with pytest.raises(Forged):
        bench.channel.events(after)
    bench.connect(auth_token="a new token", old_auth_token=old)
    assert bench.channel.events(before) == bench.channel.events(after) != []


# ---- what comes back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        ("queued", 0, EventKind.ACCEPTED, None),
        ("accepted", 0, EventKind.ACCEPTED, None),
        ("scheduled", 0, EventKind.ACCEPTED, None),
        ("sending", 0, EventKind.ACCEPTED, None),
        ("sent", 0, EventKind.ACCEPTED, None),
        ("delivered", 0, EventKind.DELIVERED, None),
        ("read", 0, EventKind.OPENED, None),
        ("canceled", 0, EventKind.FAILED, None),
        ("undelivered", 30003, EventKind.SOFT_BOUNCED, None),
        ("undelivered", 30005, EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS),
        ("undelivered", 30006, EventKind.BOUNCED, Reason.INVALID_ADDRESS),
        ("undelivered", 30004, EventKind.BLOCKED, Reason.CONTENT),
        ("undelivered", 30007, EventKind.BLOCKED, Reason.CONTENT),
        ("undelivered", 30008, EventKind.FAILED, Reason.PROVIDER),
        ("undelivered", 30034, EventKind.FAILED, Reason.CONFIGURATION),
        ("failed", 30001, EventKind.FAILED, Reason.RATE),
        ("failed", 30610, EventKind.FAILED, Reason.CONFIGURATION),
        ("failed", 21610, EventKind.FAILED, Reason.OPTED_OUT),
        ("failed", 21211, EventKind.BOUNCED, Reason.INVALID_ADDRESS),
        ("failed", 21614, EventKind.BOUNCED, Reason.INVALID_ADDRESS),
        ("failed", 21408, EventKind.FAILED, Reason.CONFIGURATION),
        ("failed", 21703, EventKind.FAILED, Reason.CONFIGURATION),
        ("failed", 30002, EventKind.FAILED, Reason.CONFIGURATION),
        ("failed", 21611, EventKind.FAILED, Reason.RATE),
        ("failed", 30036, EventKind.EXPIRED, None),
        ("failed", 39999, EventKind.FAILED, Reason.PROVIDER),
        ("undelivered", 0, EventKind.FAILED, Reason.PROVIDER),
    ],
)
def test_every_status_has_its_meaning(bench: Bench, status: str, code: int, kind: EventKind, reason: Reason | None):
    bench.one(attempt="m7a2")
    message = bench.account.messages[0]
    events = bench.channel.events(bench.account.report(message, status, code))
    assert events == [Event("m7a2", kind, NOW, message["sid"], reason, detail=str(code) if code else "")]
    assert kind in bench.channel.reports | {EventKind.OPENED}


def test_the_same_report_is_the_same_event_whenever_it_comes(bench: Bench):
    bench.one()
    message = bench.account.messages[0]
    first = bench.channel.events(bench.account.report(message, "delivered"))
    bench.now += timedelta(hours=3, milliseconds=1)
    again = bench.connect().events(bench.account.report(message, "delivered", RawDlrDoneDate="2701131217"))
    assert first == again and first[0].at == NOW
    later = bench.channel.events(bench.account.report(message, "sent")) + bench.channel.events(
        bench.account.report(message, "sending")
    )
    assert len({(e.attempt, e.kind, e.at) for e in later}) == 1


@pytest.mark.parametrize("status", ["", "a new one", "partially_received"])
def test_statuses_that_say_nothing_are_no_events(bench: Bench, status: str):
    bench.one()
    assert bench.channel.events(bench.account.report(bench.account.messages[0], status)) == []


def test_reports_on_what_others_sent_are_none_of_ours(bench: Bench):
    fields = {"MessageSid": "SM" + "0" * 32, "MessageStatus": "delivered", "To": "+4915112345678"}
    assert bench.channel.events(bench.account.posted(HOOK, fields.items())) == []


@pytest.mark.parametrize(
    ("sender", "meaning", "found"),
    [
        ("+4915112345678", "", ("+4915112345678", "")),
        ("+4915112345678", "STOP", ("+4915112345678", "stop")),
        ("+4915112345678", "START", ("+4915112345678", "start")),
        ("+4915112345678", "HELP", ("+4915112345678", "help")),
        ("+4915112345678", "SOMETHING", ("+4915112345678", "")),
        ("rcs:+4915112345678", "START", ("+4915112345678", "start")),
        ("whatsapp:+4915112345678", "STOP", ("+4915112345678", "stop")),
        ("whatsapp:+4915112345678", "START", None),
        ("whatsapp:+4915112345678", "", None),
        ("12345", "STOP", None),
        ("Acme", "", None),
        ("", "", None),
    ],
)
def test_what_somebody_texts_us(bench: Bench, sender: str, meaning: str, found: tuple[str, str] | None):
    inbound = bench.account.text(HOOK, sender, "Stop it, please 🙏", meaning)
    events = bench.channel.events(inbound)
    if found is None:
        assert events == []
        return
    sid = parse_qs(inbound.body.decode())["MessageSid"][0]
    wanted = Event("", EventKind.REPLIED, NOW, sid, address=found[0], text="Stop it, please 🙏", meaning=found[1])  # type: ignore[arg-type]
    assert events == [wanted]
    assert "+49" not in repr(events[0]) and "Stop it" not in repr(events[0])


def test_a_text_that_comes_by_the_fallback_address_is_the_same_text(bench: Bench):
    """Twilio calls the second address where the first gave no answer, and says so among the parameters."""
    inbound = bench.account.text(HOOK, "+4915112345678", "STOP", "STOP")
    fields = parse_qsl(inbound.body.decode(), keep_blank_values=True)
    again = bench.account.posted(HOOK, [*fields, ("ErrorCode", "11200"), ("ErrorUrl", HOOK)])
    assert bench.channel.events(again) == bench.channel.events(inbound) != []
