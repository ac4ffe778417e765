"""Whatever a provider answers, and it repeats what it was given: receipts, errors, logs and records name nobody."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels.base import Channel, ChannelError, Medium, Outbound
from tests.channels.kit import NOW, PLAIN, outbound
from tests.channels.kits.fcm import fcm
from tests.channels.kits.letterfile import letterfile
from tests.channels.kits.smtp import nobody, smtp
from tests.channels.kits.webpush import webpush
from tests.vendors.fcm import FakeFcm
from tests.vendors.relay import GONE, Relay
from tests.vendors.sendgrid import SendGridVendor
from tests.vendors.server import HANG_UP, RESET, Reply, Vendor
from tests.vendors.twilio import Twilio
from tests.vendors.twilio_bench import Bench
from tests.vendors.webpush import FakePush

ECHO = "zoe.quirrel@example.com Zoe Quirrel +4915112349876 tok-secret-9876 Lindenweg 77"
PERSONAL = ("quirrel", "zoe", "+49151", "4915112349876", "tok-secret", "lindenweg", "a-key-of-hers")
TO = {
    Medium.EMAIL: {"address": "zoe.quirrel@example.com", "name": "Zoe Quirrel"},
    Medium.SMS: {"number": "+4915112349876"},
    Medium.PUSH: {"token": "tok-secret-9876", "platform": "android"},
    Medium.MAIL: {
        "name": "Zoe Quirrel",
        "street": "Lindenweg 77",
        "city": "Bonn",
        "postcode": "53111",
        "country": "DE",
    },
}


def person(medium: Medium, **changes: Any) -> Outbound:
    return outbound(medium, to=TO[medium], values=("Zoe Quirrel",), **changes)


def answers(*statuses: int) -> list[tuple[str, Reply]]:
    said = json.dumps(
        {
            "errors": [{"message": ECHO, "field": f"personalizations.0.{ECHO}"}, {"message": ECHO, "field": ECHO}],
            "error": {"message": ECHO, "status": ECHO, "code": 400, "details": [{"errorCode": ECHO, "@type": ECHO}]},
            "message": ECHO,
            "code": 21211,
            "sid": ECHO,
            "name": ECHO,
        }
    ).encode()
    headers = {"Retry-After": ECHO, "X-Message-Id": "id1", "X-Told": ECHO, "Location": f"https://x.example/{ECHO}"}
    kinds = [(str(status), Reply(status, headers, said, taken=False)) for status in statuses]
    odd = [
        ("no json", Reply(500, {}, ECHO.encode(), taken=False)),
        ("another encoding", Reply(200, {"Content-Encoding": "gzip"}, ECHO.encode(), taken=False)),
        ("reset", RESET),
        ("half", HANG_UP),
    ]
    return kinds + odd


ANSWERS = answers(200, 201, 202, 301, 400, 401, 403, 404, 408, 410, 413, 422, 429, 500, 503)


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Everything that anybody could read afterwards; checked at the end."""
    told: list[str] = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield told
    # What the relay of these tests logs is no log of ours.
    logged = [r for r in caplog.records if not r.name.startswith(("mail", "aiosmtpd"))]
    told += [f"{r.name} {r.getMessage()} {r.exc_info}" for r in logged] + [str(w.message) for w in warned]
    found = [line for line in told if any(word in line.lower() for word in PERSONAL)]
    assert not found, found


def tried(channel: Channel, told: list[str], *batch: Outbound) -> None:
    try:
        for receipt in channel.send(batch):
            told += [receipt.detail, receipt.provider_id, repr(receipt)]
    except ChannelError as error:
        told += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)[:0]]
    told.append(repr(channel))


def sendgrid(stack: ExitStack) -> tuple[Channel, Vendor, Outbound]:
    vendor = stack.enter_context(SendGridVendor())
    return vendor.channel(lambda: NOW, timeout=2), vendor, person(Medium.EMAIL)


def twilio(stack: ExitStack) -> tuple[Channel, Vendor, Outbound]:
    vendor = stack.enter_context(Twilio())
    return Bench(vendor).channel, vendor.server, person(Medium.SMS)


def google(stack: ExitStack) -> tuple[Channel, Vendor, Outbound]:
    vendor = stack.enter_context(FakeFcm())
    return fcm(vendor), vendor, person(Medium.PUSH)


def browser(stack: ExitStack) -> tuple[Channel, Vendor, Outbound]:
    vendor = stack.enter_context(FakePush())
    one = person(Medium.PUSH)
    return webpush(), vendor, replace(one, to={"token": vendor.subscription("a-key-of-hers"), "platform": "web"})


@pytest.mark.parametrize("start", [sendgrid, twilio, google, browser])
def test_no_answer_has_anybody_named(
    start: Callable[[ExitStack], tuple[Channel, Vendor, Outbound]], watched: list[str]
) -> None:
    with ExitStack() as stack:
        channel, vendor, one = start(stack)
        for _, reply in ANSWERS:
            vendor.next(reply)
            tried(channel, watched, one)
            vendor.scripted.clear()
        tried(channel, watched, replace(one, to={}))
        tried(channel, watched, replace(one, to={name: f"{value}\r\n\0" for name, value in one.to.items()}))
        tried(channel, watched, replace(one, values=("Zoe Quirrel\r\nX: y",)))
        tried(channel, watched, replace(one, values=("Zoe \ud800 Quirrel",)))


@pytest.mark.parametrize("reply", [f"550 5.1.1 {ECHO}", f"451 {ECHO}", f"553 {ECHO}", f"999 {ECHO}", GONE])
@pytest.mark.parametrize("where", ["at_rcpt", "at_data"])
def test_nor_any_relays(where: str, reply: str, watched: list[str]) -> None:
    one = person(Medium.EMAIL)
    answers: dict[str, Any] = {where: {one.to["address"]: reply}}
    with Relay(**answers) as relay:
        tried(smtp(relay.port, timeout=3.0), watched, one)
    tried(smtp(nobody()), watched, one, replace(one, to={"address": "zoe quirrel@example.com"}))


def test_nor_a_print_houses_ledger(tmp_path: Path, watched: list[str]) -> None:
    one = person(Medium.MAIL)
    channel = letterfile(tmp_path)
    tried(channel, watched, one, replace(one, attempt="a2", to={**one.to, "country": "Zoe Quirrel"}))
    tried(channel, watched, one, replace(one, attempt="a3", to={**one.to, "name": "=Zoe Quirrel"}))
    tried(channel, watched, replace(one, values=("other words",)))
    watched += [path.read_text() for path in (tmp_path / "letterfile").rglob("*.json")]
    (tmp_path / "letters").chmod(0o500)
    watched += [repr(job) for job in channel.jobs()]
    (tmp_path / "letters").chmod(0o700)


def test_what_a_provider_keeps_and_tells_us_again_names_nobody() -> None:
    with SendGridVendor() as vendor:
        list(vendor.channel(lambda: NOW, categories=("spring",)).send([person(Medium.EMAIL, attempt="m1a1")]))
        [body] = vendor.bodies
        kept = {**body["personalizations"][0]["custom_args"], "categories": body["categories"]}
        assert kept == {"attempt_id": "m1a1", "categories": ["spring", "welcome"]}
        assert "custom_args" not in body and "headers" not in body and "batch_id" not in body
    with Twilio() as sms:
        bench = Bench(sms)
        list(bench.channel.send([person(Medium.SMS, attempt="m1a1")]))
        [form] = bench.account.forms
        assert not any(word in form["StatusCallback"].lower() for word in PERSONAL)
        assert set(form) <= {"To", "Body", "MessagingServiceSid", "StatusCallback", "ValidityPeriod", "SmartEncoded"}
    with FakeFcm() as push:
        skeleton = replace(PLAIN, parts={**PLAIN.parts, "url": ("",)})
        list(fcm(push).send([person(Medium.PUSH, attempt="m1a1", skeleton=skeleton)]))
        assert push.sent[0]["data"] == {"attempt": "m1a1"}
        assert "fcmOptions" not in push.sent[0], "no label for statistics"
