"""FCM HTTP v1: what goes out, and what each of its answers comes to."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from channels.base import ChannelError, Medium, Misconfigured, Outbound, Reason, Receipt, Site, Skeleton, Unavailable
from channels.fcm import LARGEST, Fcm, connect
from tests.channels.kit import NOW, outbound, outbounds
from tests.channels.kits.fcm import fcm
from tests.vendors import published
from tests.vendors.fcm import (
    BAD_PAYLOAD,
    BAD_TOKEN,
    DENIED,
    GATEWAY,
    INTERNAL,
    MISMATCH,
    NO_PROJECT,
    PROJECT,
    THIRD_PARTY,
    UNAUTHENTICATED,
    UNREGISTERED,
    FakeFcm,
    error,
    fcm_error,
    quota,
    schema,
    unavailable,
    violation,
)
from tests.vendors.server import HANG_UP, RESET, Reply, slow, together


@pytest.fixture
def vendor() -> Iterator[FakeFcm]:
    with FakeFcm() as made:
        yield made
    assert not made.wrong


def push(number: int = 0, **changes: object) -> Outbound:
    return outbound(Medium.PUSH, number, **changes)


def sent(channel: Fcm, *batch: Outbound) -> tuple[list[Receipt], ChannelError | None]:
    receipts = []
    try:
        for receipt in channel.send(batch):
            receipts.append(receipt)
    except ChannelError as broken:
        return receipts, broken
    return receipts, None


# ---- what goes out --------------------------------------------------------------------------------------------------


def test_what_fcm_is_given(vendor: FakeFcm) -> None:
    meta = {"collapse_key": "birthday", "image": "https://example.com/cake.png"}
    [receipt], _ = sent(fcm(vendor), push(meta=meta, valid_until=NOW + timedelta(hours=2)))
    assert receipt == Receipt("a0", "accepted", receipt.provider_id)
    assert receipt.provider_id.startswith(f"projects/{PROJECT}/messages/")
    expires = str(int(NOW.timestamp()) + 7200)
    assert vendor.sent == [
        {
            "token": "token-0",
            "notification": {"title": "For Anna", "body": "Hi Anna, this is for you.", "image": meta["image"]},
            "data": {"attempt": "a0", "url": "https://example.com/"},
            "android": {"ttl": "7200s", "collapseKey": "birthday"},
            "apns": {
                "headers": {"apns-expiration": expires, "apns-collapse-id": "birthday"},
                "payload": {"aps": {"mutable-content": 1}},
                "fcmOptions": {"image": meta["image"]},
            },
            "webpush": {
                "headers": {"TTL": "7200", "Topic": "birthday"},
                "fcmOptions": {"link": "https://example.com/"},
            },
        }
    ]


def test_the_discovery_document_is_held_against_every_request(vendor: FakeFcm) -> None:
    if schema() is None:
        pytest.skip("the vendor's discovery document is not beside this repository")
    channel = fcm(vendor)
    with FakeFcm() as strict:
        own = fcm(strict)
        sent(own, push())
        body = json.loads(strict.asked[-1].body)
        body["message"]["colour"] = "green"
        body["message"]["data"]["n"] = 1
        asked = strict.asked[-1]
        strict.answer(type(asked)(asked.method, asked.path, asked.headers, json.dumps(body).encode(), asked.at))
        assert len(strict.wrong) == 2
        published.WRONG.clear()
    assert sent(channel, push())[1] is None


@pytest.mark.parametrize(
    ("until", "seconds"),
    [(None, 86_400), (timedelta(days=60), 86_400), (timedelta(minutes=5), 300), (timedelta(seconds=-1), 0)],
)
def test_no_platform_keeps_a_message_beyond_its_window(vendor, until, seconds):
    sent(fcm(vendor), push(valid_until=NOW + until if until else None))
    [message] = vendor.sent
    expires = int(NOW.timestamp()) + seconds if seconds else 0
    assert message["android"]["ttl"] == f"{seconds}s"
    assert message["apns"]["headers"]["apns-expiration"] == str(expires)
    assert message["webpush"]["headers"]["TTL"] == str(seconds)


@pytest.mark.parametrize("key", ["k" * 65, "Geburtstagsgrüße", "with space"])
def test_a_key_that_is_too_long_or_too_odd_for_a_platform_is_hashed(vendor, key):
    sent(fcm(vendor), push(meta={"collapse_key": key}))
    [message] = vendor.sent
    assert message["android"]["collapseKey"] == key
    assert len(message["apns"]["headers"]["apns-collapse-id"].encode()) <= 64
    topic = message["webpush"]["headers"]["Topic"]
    assert len(topic) <= 32 and topic.isascii() and " " not in topic


def test_what_is_too_large_is_never_handed_over(vendor):
    def of(size: int) -> Outbound:
        return push(
            size, skeleton=Skeleton("h", {"title": ("T",), "body": ("ü" * (size // 2),)}, {"title": (), "body": ()})
        )

    small, large = sent(fcm(vendor), of(LARGEST - 400), of(LARGEST))[0]
    assert {small.attempt: small.reason, large.attempt: large.reason} == {"a3696": None, "a4096": Reason.TOO_LARGE}
    assert len(vendor.sent) == 1


def test_a_dry_run_delivers_nothing_and_its_numbers_are_not_the_same(vendor):
    receipts, _ = sent(fcm(vendor, validate_only=True), push(0), push(1))
    assert vendor.sent == [] and all(json.loads(a.body)["validateOnly"] for a in vendor.asked)
    assert len({r.provider_id for r in receipts if r.status == "accepted"}) == 2


def test_all_of_a_batch_begin_at_once(vendor):
    channel = fcm(vendor)
    sent(channel, push())  # has the token
    count = channel.batch_size
    vendor.next(*together(count))
    assert all(r.status == "accepted" for r in channel.send(outbounds(Medium.PUSH, count, 1)))


# ---- what comes back ------------------------------------------------------------------------------------------------

CASES = {
    "no such device": (UNREGISTERED, "rejected", Reason.UNKNOWN_ADDRESS),
    "a bad token, by FcmError": (BAD_TOKEN, "rejected", Reason.INVALID_ADDRESS),
    "a bad token, by violation": (
        error(400, "INVALID_ARGUMENT", "", fcm_error("INVALID_ARGUMENT"), violation("message.token")),
        "rejected",
        Reason.INVALID_ADDRESS,
    ),
    "a bad payload": (BAD_PAYLOAD, "rejected", Reason.CONTENT),
    "a bad payload, with FcmError too": (
        error(400, "INVALID_ARGUMENT", "", fcm_error("INVALID_ARGUMENT"), violation("message.data[0].value")),
        "rejected",
        Reason.CONTENT,
    ),
    "a bad payload and a bad token": (
        error(400, "INVALID_ARGUMENT", "", violation("message.token"), violation("message.android.ttl")),
        "rejected",
        Reason.CONTENT,
    ),
    "a 400 that says nothing": (
        error(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
        "rejected",
        Reason.CONTENT,
    ),
    "a 400 of something else's": (Reply(400, {}, b"<html>Bad Request"), "rejected", Reason.CONTENT),
    "too big for Android": (
        error(400, "INVALID_ARGUMENT", "Android message is too big", fcm_error("INVALID_ARGUMENT")),
        "rejected",
        Reason.TOO_LARGE,
    ),
    "another project's device": (MISMATCH, "rejected", Reason.CONFIGURATION),
    "Apple's key": (THIRD_PARTY, "retry", None),
    "an inner error": (INTERNAL, "uncertain", Reason.PROVIDER),
    "a gateway's page": (GATEWAY, "uncertain", Reason.PROVIDER),
    "a 503 of something else's": (Reply(503, {}, b"<html>"), "uncertain", Reason.PROVIDER),
    "a reset": (RESET, "uncertain", Reason.TIMEOUT),
    "half an answer": (HANG_UP, "uncertain", Reason.TIMEOUT),
    "no JSON": (Reply(200, {}, b"OK"), "uncertain", Reason.PROVIDER),
    "JSON without a name": (Reply(200, {}, b'{"name": 7}'), "uncertain", Reason.PROVIDER),
    "deep JSON": (Reply(200, {}, b"[" * 100_000), "uncertain", Reason.PROVIDER),
    "a teapot": (Reply(418), "rejected", Reason.PROVIDER),
}


@pytest.mark.parametrize(("reply", "status", "reason"), CASES.values(), ids=CASES)
def test_what_an_answer_comes_to(vendor, reply, status, reason):
    vendor.next(reply)
    receipts, broken = sent(fcm(vendor, at_once=1), push(0), push(1))
    assert broken is None
    assert [(r.attempt, r.status, r.reason) for r in receipts] == [("a0", status, reason), ("a1", "accepted", None)]
    assert "token-0" not in repr(receipts)


def test_nobody_is_retired_but_by_a_word_on_the_token():
    retiring = {
        name for name, (_, _, reason) in CASES.items() if reason in (Reason.INVALID_ADDRESS, Reason.UNKNOWN_ADDRESS)
    }
    assert retiring == {"no such device", "a bad token, by FcmError", "a bad token, by violation"}


@pytest.mark.parametrize(
    ("reply", "kind", "wait"),
    [
        (quota("7"), Unavailable, 7),
        (Reply(429), Unavailable, 60),
        (unavailable("3"), Unavailable, 3),
        (unavailable("9" * 400), Unavailable, 86_400),
        (UNAUTHENTICATED, Misconfigured, None),
        (DENIED, Misconfigured, None),
        (NO_PROJECT, Misconfigured, None),
        (Reply(302, {"Location": "https://example.com/"}), Misconfigured, None),
    ],
    ids=["quota", "bare 429", "overloaded", "for ever", "no access", "denied", "no project", "redirect"],
)
def test_what_an_answer_says_of_the_whole_channel(vendor, reply, kind, wait):
    vendor.next(reply)
    receipts, broken = sent(fcm(vendor, at_once=1), push(0), push(1))
    assert [(r.attempt, r.status) for r in receipts] == [("a1", "accepted")], "the others get their receipts first"
    assert type(broken) is kind and getattr(broken, "retry_after", None) == wait
    assert "token-0" not in str(broken) and "projects/" not in str(broken)


def test_a_slow_answer_is_uncertain_and_no_connection_is_not(vendor):
    account = json.loads(vendor.credentials)
    hasty = Fcm(PROJECT, account, lambda: NOW, base_url=vendor.url, total_seconds=0.4)
    sent(hasty, push())
    vendor.next(slow(1.0))
    [receipt], _ = sent(hasty, push(1))
    assert (receipt.status, receipt.reason) == ("uncertain", Reason.TIMEOUT)
    nowhere = Fcm(PROJECT, account, lambda: NOW, base_url="http://127.0.0.1:1")
    receipts, broken = sent(nowhere, push(2))
    assert receipts == [] and type(broken) is Unavailable


# ---- the access token -----------------------------------------------------------------------------------------------


def test_one_token_for_all_threads_and_all_batches(vendor):
    channel = fcm(vendor)
    threads = [threading.Thread(target=sent, args=(channel, push(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(vendor.sent) == 8 and vendor.tokens == 1


def test_it_is_made_anew_before_it_ends(vendor, monkeypatch):
    channel = fcm(vendor)
    sent(channel, push(0))
    later = time.monotonic() + 3600 - 299
    monkeypatch.setattr("channels.fcm.time.monotonic", lambda: later)
    sent(channel, push(1))
    assert vendor.tokens == 2 and len(vendor.sent) == 2


def test_one_that_is_refused_is_dropped(vendor):
    channel = fcm(vendor)
    sent(channel, push(0))
    vendor.next(UNAUTHENTICATED)
    assert type(sent(channel, push(1))[1]) is Misconfigured
    assert sent(channel, push(2))[1] is None
    assert vendor.tokens == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(400, {}, b'{"error": "invalid_grant"}'), Misconfigured),
        (Reply(200, {}, b"{}"), Misconfigured),
        (Reply(503), Unavailable),
        (RESET, Unavailable),
        (slow(1.2), Unavailable),
    ],
    ids=["refused", "empty", "away", "reset", "slow"],
)
def test_without_a_token_nothing_is_handed_over(vendor, reply, kind):
    vendor.tokens_api.next(reply)
    channel = fcm(vendor)
    receipts, broken = sent(channel, push())
    assert receipts == [] and type(broken) is kind and vendor.asked == []
    assert sent(channel, push())[0][0].status == "accepted"


# ---- the settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"credentials": ""}, "credentials"),
        ({"credentials": "{"}, "JSON key"),
        ({"credentials": '{"client_email": "a", "private_key": "b"}'}, "JSON key"),
        (
            {"credentials": '{"client_email": "a", "private_key": "b", "token_uri": "c", "project_id": "p"}'},
            "cannot be",
        ),
        ({"project": "../../evil"}, "project"),
        ({"ttl": "soon"}, "ttl"),
        ({"ttl": 2_419_201}, "ttl"),
        ({"at_once": 0}, "at_once"),
        ({"rate": 0}, "rate"),
        ({"color": "green"}, "color"),
    ],
)
def test_what_is_set_up_wrongly_is_said_and_no_secret_with_it(vendor, changes, said, tmp_path):
    options = {"credentials": vendor.credentials, **changes}
    with pytest.raises(Misconfigured, match=said) as raised:
        connect(Medium.PUSH, options, Site(tmp_path, lambda: NOW, b"s"))
    assert "PRIVATE KEY" not in str(raised.value)


def test_it_carries_push_alone(vendor, tmp_path):
    with pytest.raises(Misconfigured, match="carries push"):
        connect(Medium.SMS, {"credentials": vendor.credentials}, Site(tmp_path, lambda: NOW, b"s"))
