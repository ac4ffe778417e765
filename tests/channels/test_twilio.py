"""Texts through Twilio: what is asked, how each answer is taken, and how a lost answer is traced."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from channels import twilio
from channels.base import (
    ChannelError,
    Handed,
    Medium,
    Misconfigured,
    Reason,
    Receipt,
    Site,
    Unavailable,
)
from tests.channels.kit import outbounds
from tests.vendors.server import HANG_UP, RESET, Reply, slow, together
from tests.vendors.twilio import MAGIC, Twilio, earlier, error
from tests.vendors.twilio_bench import CONTRACT, HOOK, NOW, SERVICE, Bench, published, running, text


@pytest.fixture
def vendor() -> Iterator[Twilio]:
    with running() as made:
        yield made


@pytest.fixture
def bench(vendor: Twilio) -> Bench:
    return Bench(vendor)


# ---- what is asked --------------------------------------------------------------------------------------------------


def test_a_message_is_one_request(bench: Bench):
    receipt = bench.one(attempt="m12a1")
    message = bench.account.messages[0]
    assert receipt == Receipt("m12a1", "accepted", message["sid"])
    asked = bench.vendor.server.asked[0]
    assert asked.path == f"/2010-04-01/Accounts/{bench.account.sid}/Messages.json"
    assert bench.account.forms == [
        {
            "To": "+4915100000000",
            "MessagingServiceSid": SERVICE,
            "Body": "Dear Anna,\nthis is for you.\n",
            "StatusCallback": f"{HOOK}?attempt=m12a1&at=1799841600000",
        }
    ]


def test_the_vendor_of_these_tests_answers_as_the_published_schema_says(bench: Bench):
    if not CONTRACT.exists():
        pytest.skip(f"the vendors' schemas are not at {CONTRACT.parent}")
    assert isinstance(bench.one(), Receipt)
    published.response(bench.account.messages[0])
    with pytest.raises(jsonschema.ValidationError):
        published.validate({"To": "+4915100000000", "Bdoy": "misspelt"})
    with pytest.raises(jsonschema.ValidationError):
        published.validate({"Body": "to nobody"})


def test_a_number_a_name_and_a_key_to_send_with(bench: Bench):
    bench.account.keys["SK" + "1" * 32] = "a key's secret"
    bench.connect(
        **{"messaging_service_sid": None, "from": "Small Shop"},
        api_key_sid="SK" + "1" * 32,
        api_key_secret="a key's secret",
    )
    assert isinstance(bench.one(), Receipt)
    form = bench.account.forms[0]
    assert (form["From"], "MessagingServiceSid" in form) == ("Small Shop", False)
    wanted = "Basic " + b64encode(f"SK{'1' * 32}:a key's secret".encode()).decode()
    assert bench.vendor.server.asked[0].headers["authorization"] == wanted


def test_a_named_sender_of_the_settings_has_its_own_number(bench: Bench):
    assert isinstance(bench.one(sender={"name": "Acme Service", "number": "+4930123456"}), Receipt)
    assert [bench.account.forms[0][name] for name in ("MessagingServiceSid", "From")] == [SERVICE, "+4930123456"]
    refused = bench.one(sender={"number": "030 123456"})
    assert isinstance(refused, Receipt) and (refused.status, refused.reason) == ("rejected", Reason.CONFIGURATION)
    bench.connect(**{"messaging_service_sid": None, "from": "+4940123456"})
    assert isinstance(bench.one(sender={"number": "+4930123456"}), Receipt)
    assert bench.account.forms[1]["From"] == "+4930123456"


@pytest.mark.parametrize(
    ("left", "period"),
    [(None, None), (20 * 3600, "36000"), (36_001, "36000"), (3600.9, "3600"), (6, "6")],
)
def test_a_text_dies_in_the_queue_before_its_hours_end(bench: Bench, left: float | None, period: str | None):
    until = None if left is None else NOW + timedelta(seconds=left)
    assert isinstance(bench.one(valid_until=until), Receipt)
    assert bench.account.forms[0].get("ValidityPeriod") == period


@pytest.mark.parametrize("left", [5.9, 5, 0, -60])
def test_a_text_whose_hours_are_all_but_over_is_not_handed_over(bench: Bench, left: float):
    receipt = bench.one(valid_until=NOW + timedelta(seconds=left))
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.detail) == ("retry", "hours_over")
    assert receipt.retry_after is not None and receipt.retry_after > max(left, 0)
    assert not bench.vendor.server.asked


@pytest.mark.parametrize(("option", "said"), [(None, None), (True, "true"), (False, "false"), ("true", "true")])
def test_smart_encoding_is_asked_for_or_left_to_the_service(bench: Bench, option: Any, said: str | None):
    bench.connect(smart_encoding=option)
    assert isinstance(bench.one(), Receipt)
    assert bench.account.forms[0].get("SmartEncoded") == said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"to": {}}, Reason.INVALID_ADDRESS),
        ({"to": {"number": "0151 1234"}}, Reason.INVALID_ADDRESS),
        ({"to": {"number": "+4915112345678\r\nX: y"}}, Reason.INVALID_ADDRESS),
        ({"to": {"number": "+4915112345678\n"}}, Reason.INVALID_ADDRESS),
        ({"values": ("x" * 1600,)}, Reason.TOO_LARGE),
    ],
)
def test_what_twilio_would_refuse_is_not_asked(bench: Bench, changes: dict[str, Any], reason: Reason):
    receipt = bench.one(**changes)
    assert isinstance(receipt, Receipt) and (receipt.status, receipt.reason) == ("rejected", reason)
    assert not bench.vendor.server.asked


def test_words_of_any_kind_arrive_as_they_are(bench: Bench):
    words = "a&b=c+d%20 ’ü€ 🎉 \ud800 end"
    assert isinstance(bench.one(values=(words,)), Receipt)
    assert bench.account.forms[0]["Body"] == f"Dear {words.replace(chr(0xD800), '?')},\nthis is for you.\n"


def test_a_batch_leaves_at_once(bench: Bench):
    bench.connect(concurrency=20, timeout=20)
    assert bench.channel.batch_size == 20
    bench.vendor.server.next(*together(20))
    receipts, broken = bench.send(*outbounds(Medium.SMS, 20))
    assert broken is None and {r.status for r in receipts} == {"accepted"}


# ---- how each answer is taken ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (21610, Reason.OPTED_OUT),
        (21211, Reason.INVALID_ADDRESS),
        (21214, Reason.INVALID_ADDRESS),
        (21217, Reason.INVALID_ADDRESS),
        (21604, Reason.INVALID_ADDRESS),
        (21614, Reason.INVALID_ADDRESS),
        (21408, Reason.CONFIGURATION),
        (21612, Reason.CONFIGURATION),
        (30034, Reason.CONFIGURATION),
        (30610, Reason.CONFIGURATION),
        (21605, Reason.TOO_LARGE),
        (21617, Reason.TOO_LARGE),
        (30007, Reason.CONTENT),
        (29999, Reason.PROVIDER),
    ],
)
def test_a_refusal_is_of_one_message(bench: Bench, code: int, reason: Reason):
    bench.account.refuses["+4915100000001"] = code
    receipts, broken = bench.send(*outbounds(Medium.SMS, 3))
    assert broken is None
    found = {r.attempt: r for r in receipts}
    assert found["a1"] == Receipt("a1", "rejected", "", reason, str(code))
    assert {found["a0"].status, found["a2"].status} == {"accepted"}


@pytest.mark.parametrize(("number", "code"), MAGIC.items())
def test_the_magic_numbers_of_test_credentials(bench: Bench, number: str, code: int):
    receipt = bench.one(to={"number": number})
    assert isinstance(receipt, Receipt) and (receipt.status, receipt.detail) == ("rejected", str(code))


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (error(20429, "Too many", **{"Retry-After": "7"}), 7.0),
        (Reply(429, {"Retry-After": "Wed, 13 Jan 2027 12:00:30 GMT"}, b"slow down", taken=False), 30.0),
        (error(14107, "rate"), None),
        (error(21611, "queue full"), None),
    ],
)
def test_too_many_at_once_is_not_taken_and_comes_later(bench: Bench, reply: Reply, wait: float | None):
    broken = bench.one(reply)
    assert type(broken) is Unavailable and broken.retry_after == wait
    assert not bench.account.messages


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        (error(20003, "Authenticate"), "account_sid"),
        (error(20005, "Account +4915100000000 is not active"), "account_sid"),
        (Reply(403, {}, b"<html>no", taken=False), "account_sid"),
        (error(20404, "not found"), "base_url"),
        (Reply(308, {"Location": "https://elsewhere.example"}, taken=False), "base_url"),
        (error(21609, "callback"), "public_url"),
        (error(21401, "from"), "messaging_service_sid"),
        (error(21606, "from"), "messaging_service_sid"),
        (error(21659, "from"), "messaging_service_sid"),
        (error(21660, "from"), "messaging_service_sid"),
        (error(21703, "service"), "messaging_service_sid"),
    ],
)
def test_what_an_operator_must_see_to(bench: Bench, reply: Reply, hint: str):
    broken = bench.one(reply)
    assert type(broken) is Misconfigured and hint in str(broken)
    assert "+49" not in str(broken)
    assert not bench.account.messages


def test_a_sender_that_does_for_others_stops_nobody_else(bench: Bench):
    bench.account.refuses["+4915100000001"] = 21606
    receipts, broken = bench.send(*outbounds(Medium.SMS, 3))
    assert broken is None
    assert {r.attempt: (r.status, r.reason, r.detail) for r in receipts}["a1"] == (
        "rejected",
        Reason.CONFIGURATION,
        "21606",
    )
    bench.account.refuses.update(dict.fromkeys(["+4915100000000", "+4915100000002"], 21606))
    receipts, broken = bench.send(*outbounds(Medium.SMS, 3))
    assert (receipts, type(broken)) == ([], Misconfigured)


@pytest.mark.parametrize(
    "reply",
    [
        RESET,
        HANG_UP,
        slow(2.5),
        Reply(500),
        Reply(503, {"Retry-After": "5"}, b"busy"),
        Reply(502, {}, b"<html>gateway"),
        Reply(408),
        Reply(201, {}, b"<html>"),
        Reply(201, {}, b"{}"),
        Reply(200, {}, b'{"sid": null}'),
        Reply(201, {}, b'{"sid": 12}'),
        Reply(201, {}, b"[" * 100_000),
        Reply(201),
        Reply(202, {}, b'{"sid": "SM' + b"0" * 32 + b'"}'),
        Reply(400, {}, b"<html>somebody on the way"),
        Reply(400, {}, b'{"code": true}'),
    ],
    ids=lambda r: f"{r.status} {r.body[:12].decode()}",
)
def test_what_may_have_been_taken_is_uncertain(bench: Bench, reply: Reply):
    assert bench.one(reply) == Receipt("a0", "uncertain")


def test_a_refused_connection_is_not_taken(bench: Bench):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bench.connect(base_url=f"http://127.0.0.1:{port}")
    receipts, broken = bench.send(*outbounds(Medium.SMS, 3))
    assert (receipts, type(broken)) == ([], Unavailable)


def test_in_the_middle_of_a_batch_every_message_gets_its_own_word(bench: Bench):
    """All were under way: what the error at the end says is true of those without a receipt, and only of them."""
    numbers = [f"+4915100000{n:03}" for n in range(6)]
    bench.account.refuses = {numbers[1]: 20429, numbers[2]: 21610, numbers[3]: 20005, numbers[4]: 20429}
    receipts, broken = bench.send(*outbounds(Medium.SMS, 6), text(9, to={}))
    assert type(broken) is Misconfigured
    assert {r.attempt: r.status for r in receipts} == {
        "a0": "accepted",
        "a2": "rejected",
        "a5": "accepted",
        "a9": "rejected",
    }
    bench.account.refuses = dict.fromkeys(numbers[1:5], 20429)
    bench.vendor.server.next(RESET)
    receipts, broken = bench.send(*outbounds(Medium.SMS, 6))
    assert type(broken) is Unavailable
    assert sum(r.status == "uncertain" for r in receipts) == 1
    assert not {r.attempt for r in receipts if r.status != "uncertain"} & {"a1", "a2", "a3", "a4"}


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"account_sid": None}, "needs the setting account_sid"),
        ({"auth_token": None}, "needs the setting auth_token"),
        ({"account_sid": "acme"}, "`account_sid` is AC"),
        ({"messaging_service_sid": "AC" + "0" * 32}, "`messaging_service_sid` is MG"),
        ({"messaging_service_sid": None}, "one of the settings messaging_service_sid"),
        ({"from": "+4915112345678"}, "one of the settings messaging_service_sid"),
        ({"messaging_service_sid": None, "from": "A name that is too long"}, "`from` is a number"),
        ({"api_key_sid": "SK" + "0" * 32}, "needs the setting api_key_secret"),
        ({"api_key_secret": "s3cret", "api_key_sid": "wrong"}, "`api_key_sid` is SK"),
        ({"base_url": "http://api.twilio.com"}, "begins with https"),
        ({"base_url": "https://api.twilio.com"}, "public_url"),
        ({"rate": 0}, "`rate` is a number from"),
        ({"rate": "many"}, "`rate` is a number"),
        ({"concurrency": True}, "`concurrency` is a number"),
        ({"timeout": float("nan")}, "`timeout` is a number"),
        ({"smart_encoding": "perhaps"}, "true or false"),
        ({"smart_encoding": 1}, "true or false"),
        ({"trace_after": 5}, "`trace_after` is a number from 60"),
        ({"sandbox": "yes"}, "no setting `sandbox`"),
    ],
)
def test_settings_that_cannot_work_are_told(vendor: Twilio, changes: dict[str, Any], said: str):
    bench = Bench(vendor)
    options = {
        "account_sid": bench.account.sid,
        "auth_token": bench.account.token,
        "messaging_service_sid": SERVICE,
        "base_url": vendor.url,
        **changes,
    }
    options = {name: value for name, value in options.items() if value is not None}
    site = Site(Path(), lambda: NOW, b"s" * 32, "http://localhost:8400/hooks/sms")
    with pytest.raises(Misconfigured, match=said) as raised:
        twilio.connect(Medium.SMS, options, site)
    assert bench.account.token not in str(raised.value) and "s3cret" not in str(raised.value)


def test_only_texts(vendor: Twilio):
    with pytest.raises(Misconfigured, match="carries texts"):
        twilio.connect(Medium.EMAIL, {}, Site(Path(), lambda: NOW, b"s" * 32))


def test_numbers_from_the_environment_are_texts(bench: Bench):
    bench.connect(rate="2.5", concurrency="7")
    assert (bench.channel.rate, bench.channel.batch_size) == (2.5, 7)
    assert bench.account.token not in repr(bench.channel._account)


# ---- tracing --------------------------------------------------------------------------------------------------------


def handed(number: int = 0, **changes: Any) -> Handed:
    one = text(number)
    given: dict[str, Any] = {"attempt": one.attempt, "to": one.to, "at": NOW, "body": one.part("text"), **changes}
    return Handed(**given)


def test_a_message_that_twilio_took_is_found_by_its_words(bench: Bench):
    bench.vendor.server.next(Reply(500))
    receipts, _ = bench.send(text(0, values=("Ben",)), text(1))
    lost = next(r.attempt for r in receipts if r.status == "uncertain")
    assert lost in ("a0", "a1")
    sids = {m["to"]: m["sid"] for m in bench.account.messages}
    bench.now += timedelta(minutes=6)
    body = text(0, values=("Ben",)).part("text")
    found = list(bench.channel.trace([handed(0, body=body), handed(1)]))
    assert found == [
        Receipt("a0", "accepted", sids["+4915100000000"]),
        Receipt("a1", "accepted", sids["+4915100000001"]),
    ]


def test_a_message_that_is_not_listed_was_never_taken_once_time_has_passed(bench: Bench):
    bench.one(values=("Somebody else",))
    bench.now += timedelta(minutes=4, seconds=59)
    assert list(bench.channel.trace([handed()])) == []
    bench.now += timedelta(seconds=1)
    assert list(bench.channel.trace([handed()])) == [
        Receipt("a0", "rejected", detail="never_taken"),
    ]
    bench.connect(trace_after=900)
    assert list(bench.channel.trace([handed()])) == []


def test_what_cannot_be_told_gets_no_receipt(bench: Bench):
    bench.send(text(0), text(0), text(1))
    bench.now += timedelta(minutes=10)
    told = [handed(0), handed(1, body=""), handed(2, to={}), handed(3, at=bench.now), handed(4), handed(4)]
    assert list(bench.channel.trace(told)) == []  # twice, no words, no number, too early, two of ours alike


@pytest.mark.parametrize(
    ("minutes", "status"), [(-3, "rejected"), (-1, "accepted"), (14, "accepted"), (16, "rejected")]
)
def test_another_time_is_another_message(bench: Bench, minutes: int, status: str):
    bench.one()
    earlier(bench.account.messages[0], minutes=-minutes)
    bench.now += timedelta(hours=1)
    assert [r.status for r in bench.channel.trace([handed()])] == [status]


@pytest.mark.parametrize("smart", [True, False, None])
def test_words_that_twilio_rewrote(bench: Bench, smart: bool | None):
    bench.connect(smart_encoding=smart)
    bench.account.smart = True
    bench.one(values=("O’Brien “Bo”",))
    bench.now += timedelta(hours=1)
    body = text(values=("O’Brien “Bo”",)).part("text")
    found = [r.status for r in bench.channel.trace([handed(body=body)])]
    # Where it was forbidden, other words are another message's.
    assert found == (["accepted"] if smart is not False else [])


@pytest.mark.parametrize("shown", ["", "Sent from your Twilio trial account - Dear Anna,\nthis is for you.\n"])
def test_words_that_were_removed_or_framed_are_not_taken_for_absent(bench: Bench, shown: str):
    bench.one()
    bench.account.messages[0]["body"] = shown
    bench.now += timedelta(hours=1)
    assert list(bench.channel.trace([handed()])) == []


def test_a_text_that_came_in_is_none_that_went_out(bench: Bench):
    bench.one()
    bench.account.messages[0]["direction"] = "inbound"
    bench.now += timedelta(hours=1)
    assert [r.detail for r in bench.channel.trace([handed()])] == ["never_taken"]


def test_a_long_list_is_read_to_its_end(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(twilio, "_PAGE", 3)
    bench.one()
    wanted = bench.account.messages[0]["sid"]
    for _ in range(8):
        bench.one(values=("another",))
    bench.now += timedelta(hours=1)
    assert list(bench.channel.trace([handed()])) == [Receipt("a0", "accepted", wanted)]
    lists = [asked.path for asked in bench.vendor.server.asked if asked.method == "GET"]
    assert len(lists) == 3
    monkeypatch.setattr(twilio, "_PAGES", 2)
    assert list(bench.channel.trace([handed()])) == []


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        (error(20003, "Authenticate"), Misconfigured),
        (error(20429, "Too many"), Unavailable),
        (HANG_UP, None),
        (Reply(200, {}, b"{}"), None),
        (Reply(200, {}, b'{"messages": ["a"], "next_page_uri": null}'), None),
        (Reply(200, {}, b'{"messages": [], "next_page_uri": "http://169.254.169.254/"}'), None),
        (Reply(500), None),
    ],
)
def test_a_list_that_cannot_be_read_says_nothing(bench: Bench, reply: Reply, error_type: type[ChannelError] | None):
    bench.now += timedelta(hours=1)
    bench.vendor.server.next(reply, reply)
    found: list[Receipt] = []
    raised: type[ChannelError] | None = None
    try:
        found += bench.channel.trace([handed()])
    except ChannelError as broken:
        raised = type(broken)
    assert (found, raised) == ([], error_type)
