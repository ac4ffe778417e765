"""Web Push: what a browser gets to read, and what a push service's answer comes to."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Medium, Misconfigured, Outbound, Reason, Site, Skeleton
from channels.webpush import LARGEST, Subscription, connect
from tests.channels.kit import NOW, outbound
from tests.channels.kits.webpush import webpush
from tests.vendors.server import HANG_UP, RESET, Reply, together
from tests.vendors.webpush import FakePush, vapid_pem, vapid_raw


@pytest.fixture
def vendor() -> Iterator[FakePush]:
    with FakePush() as made:
        yield made


def push(vendor: FakePush, name: str = "b1", number: int = 0, **changes: object) -> Outbound:
    return outbound(Medium.PUSH, number, **{"to": {"token": vendor.subscription(name), "platform": "web"}, **changes})


def sized(vendor: FakePush, size: int) -> Outbound:
    text = "x" * (size - len('{"body":""}'))
    return push(vendor, skeleton=Skeleton("h", {"body": (text,)}, {"body": ()}))


@pytest.mark.parametrize("key", [vapid_pem(), vapid_raw()], ids=["PEM", "raw"])
def test_what_a_browser_gets_is_the_text(vendor, key):
    meta = {"image": "https://example.com/cake.png", "collapse_key": "birthday"}
    channel = webpush(vapid_key=key)
    [receipt] = channel.send([push(vendor, valid_until=NOW + timedelta(hours=1), meta=meta)])
    assert (receipt.status, receipt.provider_id) == ("accepted", "/m/1#a0")
    [(name, shown, headers)] = vendor.shown
    assert name == "b1"
    assert shown == {
        "title": "For Anna",
        "body": "Hi Anna, this is for you.",
        "url": "https://example.com/",
        "image": meta["image"],
    }
    assert (headers["ttl"], headers["urgency"], headers["topic"]) == ("3600", "normal", "birthday")


@pytest.mark.parametrize(
    ("until", "seconds"), [(None, "86400"), (timedelta(days=60), "86400"), (timedelta(seconds=-1), "0")]
)
def test_no_service_keeps_it_beyond_its_window(vendor, until, seconds):
    list(webpush().send([push(vendor, valid_until=NOW + until if until else None)]))
    assert vendor.shown[0][2]["ttl"] == seconds


def test_the_largest_that_fits_and_a_byte_more(vendor):
    [fits] = webpush().send([sized(vendor, LARGEST)])
    assert fits.status == "accepted" and len(vendor.asked[0].body) == 4096
    [large] = webpush().send([sized(vendor, LARGEST + 1)])
    assert (large.status, large.reason) == ("rejected", Reason.TOO_LARGE) and len(vendor.asked) == 1


def test_all_of_a_batch_begin_at_once(vendor):
    channel = webpush()
    count = channel.batch_size
    vendor.next(*together(count))
    assert all(r.status == "accepted" for r in channel.send([push(vendor, f"b{n}", n) for n in range(count)]))


CASES = {
    "gone": (Reply(410, taken=False), "rejected", Reason.UNKNOWN_ADDRESS, None),
    "not there": (Reply(404, taken=False), "rejected", Reason.UNKNOWN_ADDRESS, None),
    "too large": (Reply(413, taken=False), "rejected", Reason.TOO_LARGE, None),
    "the signature": (Reply(403, taken=False), "retry", None, 300),
    "a header": (Reply(400, taken=False), "retry", None, 300),
    "too many": (Reply(429, {"Retry-After": "9"}, taken=False), "retry", None, 9),
    "too many, for ever": (Reply(429, {"Retry-After": "9" * 400}, taken=False), "retry", None, 86_400),
    "too many, in another's digits": (Reply(429, {"Retry-After": "\u00b2"}, taken=False), "retry", None, 60),
    "another yes": (Reply(204), "uncertain", Reason.PROVIDER, None),
    "an inner error": (Reply(500), "uncertain", Reason.PROVIDER, None),
    "overloaded": (Reply(503), "uncertain", Reason.PROVIDER, None),
    "a reset": (RESET, "uncertain", Reason.TIMEOUT, None),
    "half an answer": (HANG_UP, "uncertain", Reason.TIMEOUT, None),
    "elsewhere": (Reply(307, {"Location": "http://127.0.0.1:1/"}, taken=False), "rejected", Reason.PROVIDER, None),
}


@pytest.mark.parametrize(("reply", "status", "reason", "wait"), CASES.values(), ids=CASES)
def test_what_an_answer_comes_to(vendor, reply, status, reason, wait):
    vendor.next(reply)
    receipts = list(webpush(at_once=1).send([push(vendor, "b1", 0), push(vendor, "b2", 1)]))
    first, second = receipts
    assert (first.status, first.reason, first.retry_after) == (status, reason, wait)
    assert second.status == "accepted", "no answer speaks for another device"
    assert vendor.url not in repr(receipts)


def test_a_browser_that_has_unsubscribed(vendor):
    vendor.gone.add("b1")
    found = {r.attempt: r.reason for r in webpush().send([push(vendor, "b1", 0), push(vendor, "b2", 1)])}
    assert found == {"a0": Reason.UNKNOWN_ADDRESS, "a1": None}


def test_another_house_s_key_is_an_operator_s_to_mend(vendor):
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    [receipt] = webpush(vapid_key=pem).send([push(vendor)])
    assert (receipt.status, receipt.detail) == ("retry", "misconfigured")


def test_no_connection_is_certainly_not_taken(vendor):
    token = json.loads(vendor.subscription("b1"))
    token["endpoint"] = "http://127.0.0.1:1/wpush/b1"
    [receipt] = webpush().send([push(vendor, to={"token": json.dumps(token)})])
    assert (receipt.status, receipt.detail) == ("retry", "unavailable")


@pytest.mark.parametrize(
    "location", ["", "/m/7", "https://evil.example.com/m/7?who=anna@example.com", "\x01", "a" * 7000]
)
def test_a_stranger_s_number_is_never_two_messages(vendor, location):
    vendor.next(*[Reply(201, {"Location": location})] * 2)
    receipts = list(webpush().send([push(vendor, "b1", 0), push(vendor, "b2", 1)]))
    assert len({r.provider_id for r in receipts}) == 2
    assert all(len(r.provider_id) < 300 and "anna" not in r.provider_id for r in receipts)


# ---- what comes from outside ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "detail"),
    [
        ("http://push.example.com/a", "endpoint_scheme"),
        ("https://127.0.0.1/a", "endpoint_private"),
        ("https://[::1]/a", "endpoint_private"),
        ("https://169.254.169.254/latest", "endpoint_private"),
        ("https://user@push.example.com/a", "endpoint_form"),
        ("https://push.example.com/a\r\nX-Evil: 1", "endpoint_form"),
    ],
)
def test_our_own_machines_are_not_called_for_a_stranger(vendor, endpoint, detail):
    token = {**json.loads(vendor.subscription("b1")), "endpoint": endpoint}
    [receipt] = webpush(allow_private=False).send([push(vendor, to={"token": json.dumps(token)})])
    assert (receipt.status, receipt.reason, receipt.detail) == ("rejected", Reason.INVALID_ADDRESS, detail)
    assert vendor.asked == []


def test_a_name_of_our_own_network_is_refused_and_nobody_retired(vendor, monkeypatch):
    from tests.channels.test_addresses import names

    names(monkeypatch, ["127.0.0.1"])
    token = {**json.loads(vendor.subscription("b1")), "endpoint": "https://push.example.com/b1"}
    [receipt] = webpush(allow_private=False).send([push(vendor, to={"token": json.dumps(token)})])
    assert (receipt.status, receipt.reason, receipt.detail) == ("rejected", Reason.CONFIGURATION, "endpoint_private")


@pytest.mark.parametrize(
    "change",
    [
        {"keys": None},
        {"keys": {"p256dh": "AAAA", "auth": "AAAA"}},
        {"keys": {"p256dh": "B" + "A" * 86, "auth": "c2l4dGVlbiBieXRlcy4uLg"}},  # no point of the curve
        {"endpoint": 7},
        {"endpoint": None},
    ],
)
def test_a_broken_subscription_is_a_bad_address(vendor, change):
    token = {**json.loads(vendor.subscription("b1")), **change}
    [receipt] = webpush().send([push(vendor, to={"token": json.dumps(token)})])
    assert (receipt.status, receipt.reason) == ("rejected", Reason.INVALID_ADDRESS)


@given(
    st.text()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["endpoint", "keys", "p256dh", "auth"]), v),
    ).map(json.dumps)
)
def test_no_text_breaks_the_reading(text):
    assert Subscription.read(text) is None


# ---- the settings ---------------------------------------------------------------------------------------------------

_RSA = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vapid_key": ""}, "vapid_key"),
        ({"vapid_key": "AAAA"}, "neither"),
        ({"vapid_key": "-----BEGIN PRIVATE KEY-----"}, "neither"),
        ({"vapid_key": _RSA}, "neither"),
        ({"vapid_key": "A" * 43}, "neither"),
        ({"vapid_subject": "push@example.com"}, "vapid_subject"),
        ({"ttl": -1}, "ttl"),
        ({"rate": 0}, "rate"),
        ({"urgency": "now"}, "urgency"),
        ({"colour": "green"}, "colour"),
    ],
)
def test_what_is_set_up_wrongly_is_said(changes, said, tmp_path):
    options = {"vapid_key": vapid_raw(), "vapid_subject": "mailto:push@example.com", **changes}
    with pytest.raises(Misconfigured, match=said) as raised:
        connect(Medium.PUSH, options, Site(tmp_path, lambda: NOW, b"s"))
    assert "PRIVATE" not in str(raised.value)
