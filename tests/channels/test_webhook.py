"""Webhook calls: what the other system gets, what its answers come to, and which addresses are never called."""

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from channels.base import Forged, Inbound, Medium, Misconfigured, Outbound, Reason, Receipt, Site, Skeleton
from channels.webhook import connect
from tests.channels.kit import NOW, outbound
from tests.channels.kits.webhook import OLD, SECRET, webhook
from tests.vendors.server import HANG_UP, RESET, Reply, Vendor, slow

SKELETON = Skeleton(
    "h",
    {"journey": ("welcome",), "fields": ('{"customer":{"key":', "}}")},
    {"journey": (), "fields": (0,)},
)


@pytest.fixture
def crm() -> Iterator[Vendor]:
    with Vendor(lambda asked: Reply(200)) as made:
        yield made


def call(number: int = 0, **changes: Any) -> Outbound:
    given = {"skeleton": SKELETON, "values": ('"c1"',), "meta": {"message": f"m{number + 1}"}, "template": "tell"}
    return outbound(Medium.WEBHOOK, number, **{**given, **changes})


def told(vendor: Vendor, **more: Any) -> Receipt:
    [receipt] = webhook({"crm": {"url": vendor.url, **more}}).send([call()])
    return receipt


def verified(headers: Any, body: bytes, secret: str) -> bool:
    """As the guide shows it to who receives."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    given = [part.partition(",")[2] for part in headers["webhook-signature"].split()]
    return any(hmac.compare_digest(wanted, one) for one in given)


def test_what_the_other_system_gets(crm):
    receipt = told(crm, old_secret=OLD, headers={"Authorization": "Bearer abc"})
    assert (receipt.status, receipt.provider_id, receipt.answer) == ("accepted", "m1", None)
    [asked] = crm.asked
    assert (asked.method, asked.headers["content-type"]) == ("POST", "application/json")
    assert json.loads(asked.body) == {
        "id": "m1",
        "attempt": "a0",
        "journey": "welcome",
        "step": "tell",
        "at": "2027-01-13T12:00:00Z",
        "data": {"customer": {"key": "c1"}},
    }
    assert asked.headers["idempotency-key"] == asked.headers["webhook-id"] == "m1"
    assert asked.headers["authorization"] == "Bearer abc"
    assert verified(asked.headers, asked.body, SECRET) and verified(asked.headers, asked.body, OLD)
    assert not verified(asked.headers, asked.body + b" ", SECRET)


def test_the_signature_is_that_of_standard_webhooks():
    from channels.webhook import signed  # the example of the specification's reference implementations

    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signed([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    ("reply", "resend", "status", "reason"),
    [
        (Reply(201), False, "accepted", None),
        (Reply(400), False, "rejected", Reason.CONTENT),
        (Reply(413), False, "rejected", Reason.TOO_LARGE),
        *((Reply(n), False, "retry", Reason.CONFIGURATION) for n in (301, 302, 307, 308, 401, 403, 404, 410)),
        (Reply(429), False, "retry", Reason.RATE),
        *((Reply(n), False, "retry", Reason.PROVIDER) for n in (408, 425, 503)),
        *((Reply(n), False, "uncertain", Reason.PROVIDER) for n in (500, 502, 504)),
        *((Reply(n), True, "retry", Reason.PROVIDER) for n in (500, 502, 504)),
        *((fault, False, "uncertain", None) for fault in (RESET, HANG_UP, slow(0.6))),
        *((fault, True, "retry", Reason.TIMEOUT) for fault in (RESET, HANG_UP, slow(0.6))),
    ],
)
def test_what_its_answer_comes_to(crm, reply, resend, status, reason):
    crm.next(reply)
    receipt = told(crm, resend=resend, timeout=0.3 if reply.delay else 20)
    assert (receipt.status, receipt.reason) == (status, reason)


def test_it_says_when_to_come_back(crm):
    crm.next(Reply(503, {"Retry-After": "40"}))
    assert told(crm).retry_after == 40


def test_a_redirect_is_not_followed(crm):
    crm.next(Reply(302, {"Location": "http://169.254.169.254/latest/meta-data/"}))
    receipt = told(crm)
    assert receipt.detail == "redirects are not followed" and len(crm.asked) == 1


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"score": 7, "band": "a"}', {"score": 7, "band": "a"}),
        (b"", None),
        (b"OK", None),
        (b"[1]", None),
        (b'{"score": NaN}', None),
        (b"\xff", None),
        (b'{"a":' * 20_000, None),
        (json.dumps({"a": "x" * 65_600}).encode(), None),
    ],
    ids=["object", "nothing", "text", "list", "no number", "no text", "deep", "large"],
)
def test_only_an_object_of_some_size_is_an_answer(crm, body, answer):
    crm.next(Reply(200, {}, body))
    receipt = told(crm)
    assert (receipt.status, receipt.answer) == ("accepted", answer)


def test_an_endpoint_that_is_gone_stops_no_other(crm):
    with Vendor(lambda asked: Reply(410)) as gone:
        channel = webhook({"crm": {"url": crm.url}, "old": {"url": gone.url}})
        batch = [call(0), call(1, to={"name": "old"}), call(2, to={"name": "never set up"}), call(3)]
        found = {r.attempt: (r.status, r.reason) for r in channel.send(batch)}
    waits = ("retry", Reason.CONFIGURATION)
    assert found == {"a0": ("accepted", None), "a1": waits, "a2": waits, "a3": ("accepted", None)}


def test_a_slow_endpoint_keeps_no_other(crm):
    with Vendor(lambda asked: Reply(200)) as other:
        other.next(slow(1.0))
        channel = webhook({"crm": {"url": crm.url}, "other": {"url": other.url}})
        order = [r.attempt for r in channel.send([call(0, to={"name": "other"}), call(1), call(2)])]
    assert order[-1] == "a0"


def test_again_at_once_only_where_every_receiver_tells_ids_apart():
    assert webhook({"a": {"url": "https://a.example.com", "resend": True}}).resend == "safe"
    both: dict[str, dict[str, Any]] = {
        "a": {"url": "https://a.example.com", "resend": True},
        "b": {"url": "https://b.example.com"},
    }
    assert webhook(both).resend == "never"


def test_nothing_comes_in():
    with pytest.raises(Forged):
        webhook({"a": {"url": "https://a.example.com"}}).events(Inbound(b"{}"))


# ---- addresses that are never called --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/hook", "https://"),
        ("ftp://example.com/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("https://user:pass@example.com/", "may mean another"),
        ("https://user@example.com/", "may mean another"),
        ("https://example.com\\@127.0.0.1/", "may mean another"),
        ("https://exam ple.com/", "may mean another"),
        ("https://example.com/\r\nX-Evil: 1", "may mean another"),
        ("https:///hook", "may mean another"),
        ("https://2130706433/", "may mean another"),  # 127.0.0.1 as one number
        ("https://0177.0.0.1/", "may mean another"),  # octal
        ("https://0x7f.0.0.1/", "may mean another"),  # hexadecimal
        ("https://127.1/", "may mean another"),
        ("https://ⓛocalhost/", "may mean another"),
        ("https://127.0.0.1/", "private network"),
        ("https://10.1.2.3/", "private network"),
        ("https://169.254.169.254/latest/meta-data/", "private network"),
        ("https://[::1]/", "private network"),
        ("https://[::ffff:169.254.169.254]/", "private network"),
        ("https://[fd00:ec2::254]/", "private network"),
        ("https://[64:ff9b::a9fe:a9fe]/", "private network"),
        ("https://localhost/", "private network"),
        ("https://metadata.google.internal/", "private network"),
        ("https://crm/", "private network"),
    ],
)
def test_an_address_that_is_never_called(url, why):
    with pytest.raises(Misconfigured, match="the webhook endpoint crm is not called") as raised:
        webhook({"crm": {"url": url, "allow_private": False}})
    assert why in str(raised.value)
    assert "pass@" not in str(raised.value)


def test_a_name_that_changes_its_address(crm, monkeypatch):
    """DNS rebinding: what is public when it is set up, and leads to our own network when it is called."""
    port = int(crm.url.rpartition(":")[2])
    known = iter([["8.8.8.8"], ["127.0.0.1"], ["169.254.169.254", "127.0.0.1"]])
    asked: list[str] = []

    def resolve(host: str, *rest: Any, **more: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in next(known)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert resolve("rebound.example.com")[0][4][0] == "8.8.8.8"
    channel = webhook({"crm": {"url": f"https://rebound.example.com:{port}/", "allow_private": False}})
    for _ in range(2):
        [receipt] = channel.send([call()])
        assert (receipt.status, receipt.reason) == ("retry", Reason.CONFIGURATION)
        assert receipt.detail == "the endpoint's name leads to a private address"
    assert asked == ["rebound.example.com"] * 3 and not crm.asked


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"url": ""}, "needs a `url`"),
        ({"method": "GET"}, "has no setting `method`"),
        ({"secret": "plain text"}, "no signing secret"),
        ({"secret": "whsec_" + base64.b64encode(b"short").decode()}, "24 to 64"),
        ({"old_secret": "whsec_%%%"}, "`old_secret` is no signing secret"),
        ({"timeout": 60}, "at most 20"),
        ({"timeout": True}, "at most 20"),
        ({"resend": "yes"}, "true or false"),
        ({"headers": {"X-A\r\nX-B": "1"}}, "headers cannot have"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "the header X-A is no text on one line"),
        ({"headers": {"Host": "other.example"}}, "is made here"),
        ({"headers": {"Webhook-Signature": "v1,a"}}, "is made here"),
    ],
)
def test_settings_that_are_wrong(table, said):
    with pytest.raises(Misconfigured, match=said) as raised:
        webhook({"crm": {"url": "https://example.com/", **table}})
    assert "crm" in str(raised.value) and "plain text" not in str(raised.value)


def test_an_endpoint_signs():
    site = Site(Path(), lambda: NOW, b"s")
    with pytest.raises(Misconfigured, match="needs a `secret`"):
        connect(Medium.WEBHOOK, {"endpoints": {"crm": {"url": "https://example.com/"}}}, site)
    none: tuple[dict[str, Any], ...] = ({}, {"endpoints": {}})
    for options in none:
        with pytest.raises(Misconfigured, match="at least one endpoint"):
            connect(Medium.WEBHOOK, options, site)
    with pytest.raises(Misconfigured, match="carries no email"):
        connect(Medium.EMAIL, {"endpoints": {}}, site)
