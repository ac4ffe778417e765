"""SendGrid: what goes out, what an answer means, what comes back; against the published schema and the vendor's own
package."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sendgrid.helpers import mail as helper

from channels.base import (
    Attachment,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Site,
    Skeleton,
    Unavailable,
)
from channels.sendgrid import connect, live
from channels.sendgrid.body import SUBSTITUTIONS, Form, Packed, pack
from tests.channels.kit import NOW, PLAIN, outbound, outbounds
from tests.vendors.sendgrid import KEY, Mail, SendGridVendor, put_in, validator
from tests.vendors.server import HANG_UP, RESET, Reply, slow

SITE = Site(Path(), lambda: NOW, b"secret")
UNSUBSCRIBE = {
    "List-Unsubscribe": "<https://go.example/u/v1.k.h.m>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


@pytest.fixture(scope="module")
def schema() -> Any:
    found = validator()
    if found is None:
        pytest.skip("the vendor's published schema is not there: ../shared/contracts/sendgrid")
    return found


@pytest.fixture
def vendor() -> Any:
    with SendGridVendor() as made:
        yield made


def email(number: int = 0, **changes: Any) -> Outbound:
    return outbound(Medium.EMAIL, number, **changes)


def by_attempt(receipts: list[Receipt]) -> dict[str, tuple[str, Reason | None]]:
    return {r.attempt: (r.status, r.reason) for r in receipts}


def bodies(batch: list[Outbound], **form: Any) -> list[dict[str, Any]]:
    return [json.loads(p.body) for p in pack(batch, Form(**form)) if isinstance(p, Packed)]


# ---- what goes out --------------------------------------------------------------------------------------------------


def test_a_thousand_messages_of_one_text_are_one_request(vendor: SendGridVendor) -> None:
    batch = [
        email(n, values=(f"Anna {n}",), headers={"List-Unsubscribe": f"<https://go.example/u/{n}>"})
        for n in range(1000)
    ]
    receipts = list(vendor.channel(lambda: NOW).send(batch))
    assert {r.status for r in receipts} == {"accepted"}
    assert len({r.provider_id for r in receipts}) == 1000
    assert len(vendor.bodies) == 1
    (content,) = [c["value"] for c in vendor.bodies[0]["content"] if c["type"] == "text/plain"]
    assert "Anna" not in content
    assert as_sent(vendor.mails) == as_meant(batch)


def as_sent(mails: list[Mail]) -> dict[str, tuple[Any, ...]]:
    return {m.attempt: (m.to, m.name, m.subject, m.text, m.html, *sorted(m.headers.items())) for m in mails}


def as_meant(batch: list[Outbound]) -> dict[str, tuple[Any, ...]]:
    return {
        o.attempt: (
            o.to["address"],
            o.to.get("name", ""),
            o.part("subject"),
            o.part("text"),
            o.part("html"),
            *sorted(o.headers.items()),
        )
        for o in batch
    }


# Texts that are much like tags, and end as tags begin.
PIECE = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=6),
    st.sampled_from(
        ["-s7q", "-", "~s7q0_", "-s7q0_", "-s7q1_", "s7q0_", "-s", "0_", "!s7q", "%s0%", "{{x}}", "\\1", "$1", "&"]
    ),
    st.lists(st.sampled_from(["-", "s7q", "0_", "1", "_", "~"]), max_size=5).map("".join),
)


@st.composite
def batches(draw: Any) -> list[Outbound]:
    slots = draw(st.integers(0, 4))
    parts: dict[str, tuple[str, ...]] = {}
    places: dict[str, tuple[int, ...]] = {}
    for part in ("subject", "text", "html"):
        here = draw(st.lists(st.integers(0, slots - 1), max_size=4)) if slots else []
        pieces = draw(st.lists(PIECE, min_size=len(here) + 1, max_size=len(here) + 1))
        parts[part], places[part] = ("x" + pieces[0], *pieces[1:]), tuple(here)
    skeleton = Skeleton("h", parts, places)
    count = draw(st.integers(2, 4))
    return [
        email(
            n,
            skeleton=skeleton,
            values=tuple(draw(st.lists(PIECE, min_size=slots, max_size=slots))),
            headers={"List-Unsubscribe": f"<https://go.example/u/{n}-s7q0_>"} if draw(st.booleans()) else {},
        )
        for n in range(count)
    ]


@given(batches())
@settings(max_examples=150, deadline=None)
def test_everybody_gets_the_words_that_were_meant(batch: list[Outbound]) -> None:
    """Whatever stands in texts and values, and in whatever order the vendor replaces."""
    from tests.vendors.sendgrid import _checked, _mail

    mails = []
    for body in bodies(batch):
        assert _checked(body) is None
        mails += [_mail(body, person, "id") for person in body["personalizations"]]
    assert as_sent(mails) == as_meant(batch)


def test_a_value_that_looks_like_every_tag_costs_a_request_and_no_more(vendor: SendGridVendor) -> None:
    nasty = "-s7q ~s7q !s7q Qs7q Xs7q Zs7q =s7q @s7q ;s7q :s7q"
    batch = [email(n, values=(nasty if n == 5 else "Anna",)) for n in range(8)]
    assert {r.status for r in vendor.channel(lambda: NOW).send(batch)} == {"accepted"}
    assert as_sent(vendor.mails) == as_meant(batch)
    assert sorted(len(b["personalizations"]) for b in vendor.bodies) == [1, 1, 2, 4]


def test_put_in_would_tell() -> None:
    with pytest.raises(AssertionError, match="order"):
        put_in("a -0- b", {"-0-": "-1-", "-1-": "x"})


def test_requests_keep_to_the_published_schema(schema: Any) -> None:
    files = (Attachment("terms.pdf", "application/pdf", b"%PDF"),)
    kinds = [
        outbounds(Medium.EMAIL, 3),
        [
            email(
                7,
                headers=UNSUBSCRIBE,
                sender={"name": "Acme", "address": "a@example.com", "reply_to": "Us <b@example.com>"},
            )
        ],
        [email(n, attachments=files, meta={"track": "opens clicks"}) for n in range(2)],
        [email(8, skeleton=replace_part("html", None), values=())],
    ]
    for batch in kinds:
        for body in bodies(batch, categories=("spring",), ip_pool_name="marketing", sandbox_mode=True):
            # The schema has a text here, and the reference below it an object: what we send, nobody sends on top.
            assert "custom_args" not in body
            assert [e.message for e in schema.iter_errors(body)] == []


def test_the_schema_would_tell(schema: Any) -> None:
    (body,) = bodies([email()])
    assert list(schema.iter_errors({**body, "personalizations": [{}]}))
    assert list(schema.iter_errors({**body, "content": [{"type": "text/plain"}]}))
    assert list(schema.iter_errors({**body, "from": {"name": "x"}}))


def replace_part(part: str, pieces: tuple[str, ...] | None) -> Skeleton:
    parts = {p: pieces_ for p, pieces_ in PLAIN.parts.items() if p != part}
    slots = {p: s for p, s in PLAIN.slots.items() if p != part}
    if pieces is None:
        return Skeleton("other", dict.fromkeys(parts, ("Hello",)), dict.fromkeys(slots, ()))
    return Skeleton("other", {**parts, part: pieces}, {**slots, part: (0,) * (len(pieces) - 1)})


def test_one_message_is_what_the_vendors_own_helper_makes() -> None:
    one = email(
        headers=UNSUBSCRIBE,
        sender={"name": "Acme", "address": "a@example.com", "reply_to": "b@example.com"},
        attachments=(Attachment("terms.pdf", "application/pdf", b"%PDF-1.7"),),
        meta={"track": "opens"},
    )
    (ours,) = bodies([one], categories=("spring",), ip_pool_name="marketing", sandbox_mode=True)
    made = helper.Mail(
        helper.From("a@example.com", "Acme"), None, one.part("subject"), one.part("text"), one.part("html")
    )
    person = helper.Personalization()
    person.add_to(helper.To(one.to["address"], one.to["name"]))
    for name, value in one.headers.items():
        person.add_header(helper.Header(name, value))
    person.add_custom_arg(helper.CustomArg("attempt_id", one.attempt))
    made.add_personalization(person)
    made.reply_to = helper.ReplyTo("b@example.com")
    made.add_attachment(helper.Attachment("JVBERi0xLjc=", "terms.pdf", "application/pdf", "attachment"))
    made.ip_pool_name = helper.IpPoolName("marketing")
    for category in ("welcome", "spring"):  # the helper puts each new one in front
        made.add_category(helper.Category(category))
    made.mail_settings = helper.MailSettings(
        footer_settings=helper.FooterSettings(False), sandbox_mode=helper.SandBoxMode(True)
    )
    made.tracking_settings = helper.TrackingSettings(
        click_tracking=helper.ClickTracking(False, False),
        open_tracking=helper.OpenTracking(True),
        subscription_tracking=helper.SubscriptionTracking(False),
        ganalytics=helper.Ganalytics(False),
    )
    assert ours == made.get()


def test_nothing_of_a_person_where_the_vendor_keeps_it_for_good() -> None:
    batch = outbounds(Medium.EMAIL, 3)
    (body,) = bodies(batch, categories=("spring",))
    assert body["categories"] == ["spring", "welcome"]
    assert [p["custom_args"] for p in body["personalizations"]] == [{"attempt_id": f"a{n}"} for n in range(3)]
    assert "asm" not in body and body["tracking_settings"]["subscription_tracking"] == {"enable": False}


@pytest.mark.parametrize(("track", "clicks", "opens"), [("", 0, 0), ("opens", 0, 1), ("opens clicks", 1, 1)])
def test_tracking_only_where_it_is_asked_for(track: str, clicks: bool, opens: bool) -> None:
    (body,) = bodies([email(meta={"track": track})])
    found = body["tracking_settings"]
    assert (found["click_tracking"]["enable"], found["open_tracking"]["enable"]) == (clicks, opens)


def test_the_same_address_twice_goes_in_two_requests(vendor: SendGridVendor) -> None:
    addresses = ["a@example.com", "A@Example.com", "b@example.com", "a@EXAMPLE.com"]
    batch = [email(n, to={"address": a}) for n, a in enumerate(addresses)]
    assert {r.status for r in vendor.channel(lambda: NOW).send(batch)} == {"accepted"}
    assert sorted(len(b["personalizations"]) for b in vendor.bodies) == [1, 1, 2]


def test_what_does_not_share_a_text_or_a_sender_shares_no_request(vendor: SendGridVendor) -> None:
    other = replace_part("text", ("Good day, ", "."))
    batch = [
        email(0),
        email(1),
        email(2, skeleton=other),
        email(3, sender={"name": "Max", "address": "max@example.com"}),
        email(4, sender={"address": "hello@example.com", "name": "Acme"}),  # the same in another order
    ]
    assert {r.status for r in vendor.channel(lambda: NOW).send(batch)} == {"accepted"}
    assert sorted(len(b["personalizations"]) for b in vendor.bodies) == [1, 1, 3]
    assert as_sent(vendor.mails) == as_meant(batch)


def test_a_long_value_goes_with_its_text_filled_in(vendor: SendGridVendor, schema: Any) -> None:
    batch = [email(n, values=("ä" * SUBSTITUTIONS if n == 1 else "Anna",)) for n in range(4)]
    assert {r.status for r in vendor.channel(lambda: NOW).send(batch)} == {"accepted"}
    assert as_sent(vendor.mails) == as_meant(batch)
    assert sorted(len(b["personalizations"]) for b in vendor.bodies) == [1, 3]
    assert all(not list(schema.iter_errors(b)) for b in vendor.bodies)


def test_more_than_the_vendor_takes_at_once(vendor: SendGridVendor) -> None:
    """Only what is too large by itself is refused."""
    files = (Attachment("film.mp4", "video/mp4", b"x" * 24_000_000),)
    batch = [email(0), email(1, attachments=files)]
    found = by_attempt(list(vendor.channel(lambda: NOW).send(batch)))
    assert found == {"a0": ("accepted", None), "a1": ("rejected", Reason.TOO_LARGE)}


def test_attachments(vendor: SendGridVendor) -> None:
    shared = (Attachment("terms.pdf", "application/pdf", b"%PDF"),)
    own = (*shared, Attachment("date.ics", "text/calendar; method=REQUEST", part="text"))
    batch = [email(n, attachments=shared) for n in range(3)] + [email(n, attachments=own) for n in range(3, 5)]
    assert {r.status for r in vendor.channel(lambda: NOW).send(batch)} == {"accepted"}
    assert sorted(len(b["personalizations"]) for b in vendor.bodies) == [1, 1, 3]
    for mail in vendor.mails:
        assert mail.attachments[0] == ("terms.pdf", "application/pdf", b"%PDF")
    (last,) = [m for m in vendor.mails if m.attempt == "a4"]
    assert last.attachments[1] == ("date.ics", "text/calendar; method=REQUEST", batch[4].part("text").encode())


BREAKS = ["\r\nBcc: x@example.com", "a\nb", "a\0b", "a\u2028b", "a\u2029b", "a\x85b"]


@pytest.mark.parametrize("smuggled", BREAKS)
@pytest.mark.parametrize("where", ["subject", "name", "header"])
def test_a_line_break_where_none_may_be_stops_that_message_alone(
    vendor: SendGridVendor, where: str, smuggled: str
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "subject": {"values": (smuggled,)},
        "name": {"to": {"address": "anna.1@example.com", "name": smuggled}},
        "header": {"headers": {"List-Unsubscribe": smuggled}},
    }
    batch = [email(0), email(1, **changes[where]), email(2)]
    found = by_attempt(list(vendor.channel(lambda: NOW).send(batch)))
    assert found == {"a0": ("accepted", None), "a1": ("rejected", Reason.CONTENT), "a2": ("accepted", None)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"to": {}}, Reason.INVALID_ADDRESS),
        ({"to": {"address": "anna"}}, Reason.INVALID_ADDRESS),
        ({"to": {"address": "a@b@example.com"}}, Reason.INVALID_ADDRESS),
        ({"to": {"address": "a@example.com, b@example.com"}}, Reason.INVALID_ADDRESS),
        ({"to": {"address": "a@example.com\r\nb"}}, Reason.INVALID_ADDRESS),
        ({"headers": {"Sub ject": "x"}}, Reason.CONTENT),
        ({"headers": {"Subject": "x"}}, Reason.CONFIGURATION),
        ({"values": ("half \ud83d",)}, Reason.CONTENT),
        ({"attempt": "x" * 2000}, Reason.CONFIGURATION),
        ({"sender": {"name": "Acme"}}, Reason.CONFIGURATION),
        ({"sender": {"name": "Ac\nme", "address": "a@example.com"}}, Reason.CONTENT),
        ({"sender": {"address": "a@example.com", "reply_to": "nobody"}}, Reason.CONFIGURATION),
        ({"skeleton": replace_part("subject", ("a\nb", ""))}, Reason.CONTENT),
        ({"skeleton": replace_part("subject", ("", "")), "values": ("",)}, Reason.CONTENT),
        ({"skeleton": Skeleton("h", {"text": ("x",)}, {"text": ()})}, Reason.CONTENT),
        ({"skeleton": Skeleton("h", {"subject": ("x",), "text": ("",)}, {"subject": (), "text": ()})}, Reason.CONTENT),
        ({"attachments": (Attachment("a\nb", "text/plain", b"x"),)}, Reason.CONTENT),
        ({"attachments": (Attachment("a", "text/plain", b""),)}, Reason.CONTENT),
    ],
)
def test_what_cannot_be_sent_is_refused_alone(vendor: SendGridVendor, changes: dict[str, Any], reason: Reason) -> None:
    bad = email(1, **changes)
    receipts = list(vendor.channel(lambda: NOW).send([email(0), bad, email(2)]))
    assert by_attempt(receipts) == {
        "a0": ("accepted", None),
        bad.attempt: ("retry" if "sender" in changes and reason is Reason.CONFIGURATION else "rejected", reason),
        "a2": ("accepted", None),
    }


def test_headers_beyond_ascii_are_encoded(vendor: SendGridVendor) -> None:
    (receipt,) = vendor.channel(lambda: NOW).send([email(headers={"X-Kind": "Grüße"})])
    assert receipt.status == "accepted" and vendor.mails[0].headers["X-Kind"].startswith("=?utf-8?")


def test_sandbox_mode(vendor: SendGridVendor) -> None:
    receipts = list(vendor.channel(lambda: NOW, sandbox_mode=True).send(outbounds(Medium.EMAIL, 3)))
    assert {r.status for r in receipts} == {"accepted"} and vendor.mails == []
    assert len({r.provider_id for r in receipts}) == 3
    assert vendor.bodies[0]["mail_settings"]["sandbox_mode"] == {"enable": True}


# ---- what an answer means -------------------------------------------------------------------------------------------


def refusal(field: str, message: str = "anna.1@example.com is no good") -> Reply:
    return Reply(
        400, {}, json.dumps({"errors": [{"message": message, "field": field, "help": None}]}).encode(), taken=False
    )


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        (RESET, "uncertain", Reason.TIMEOUT),
        (HANG_UP, "uncertain", Reason.TIMEOUT),
        (slow(1.0), "uncertain", Reason.TIMEOUT),
        (Reply(500), "uncertain", Reason.PROVIDER),
        (Reply(502), "uncertain", Reason.PROVIDER),
        (Reply(503), "uncertain", Reason.PROVIDER),
        (Reply(504), "uncertain", Reason.PROVIDER),
        (Reply(408), "uncertain", Reason.PROVIDER),
        (Reply(200, {}, b"<html>a hotel's page"), "uncertain", Reason.PROVIDER),
        (Reply(202), "uncertain", Reason.PROVIDER),
        (refusal("from.email"), "rejected", Reason.CONFIGURATION),
        (refusal("content.0.value"), "rejected", Reason.CONTENT),
        (refusal("something.new"), "rejected", Reason.PROVIDER),
        (Reply(400, {}, b"not json", taken=False), "rejected", Reason.PROVIDER),
        (Reply(400, {}, b"[" * 100_000, taken=False), "rejected", Reason.PROVIDER),
    ],
)
def test_answers_that_are_about_all(vendor: SendGridVendor, reply: Reply, status: str, reason: Reason) -> None:
    channel = vendor.channel(lambda: NOW, timeout=0.5 if reply.delay else 60)
    vendor.next(reply)
    receipts = list(channel.send(outbounds(Medium.EMAIL, 3)))
    assert by_attempt(receipts) == {f"a{n}": (status, reason) for n in range(3)}
    assert "example.com" not in str(receipts)


def test_a_refusal_that_names_some(vendor: SendGridVendor) -> None:
    batch = [email(n, to={"address": f"c{n}@invalid" if n == 2 else f"c{n}@example.com"}) for n in range(4)]
    found = by_attempt(list(vendor.channel(lambda: NOW).send(batch)))
    retry = ("retry", None)
    assert found == {"a0": retry, "a1": retry, "a2": ("rejected", Reason.INVALID_ADDRESS), "a3": retry}
    assert vendor.mails == []


def test_two_addresses_that_the_vendor_takes_for_one(vendor: SendGridVendor) -> None:
    same = refusal("personalizations", "Each unique email address should only be included once. You have included x.")
    vendor.refuse = lambda body: same if len(body["personalizations"]) > 2 else None
    receipts = list(vendor.channel(lambda: NOW).send(outbounds(Medium.EMAIL, 7)))
    assert {r.status for r in receipts} == {"accepted"} and len(vendor.mails) == 7


def test_too_large_is_parted(vendor: SendGridVendor) -> None:
    vendor.refuse = lambda body: Reply(413) if len(body["personalizations"]) > 2 else None
    assert {r.status for r in vendor.channel(lambda: NOW).send(outbounds(Medium.EMAIL, 9))} == {"accepted"}
    assert len(vendor.mails) == 9
    vendor.refuse = lambda body: Reply(413)
    receipts = list(vendor.channel(lambda: NOW).send(outbounds(Medium.EMAIL, 2, 20)))
    assert {r.reason for r in receipts} == {Reason.TOO_LARGE}


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "api_key"), (403, "sender is not verified"), (404, "base_url"), (302, "base_url"), (451, "region")],
)
def test_what_an_operator_must_mend(vendor: SendGridVendor, status: int, said: str) -> None:
    vendor.next(Reply(status, {"Location": "/x"}, b"for anna.0@example.com", taken=False))
    with pytest.raises(Misconfigured, match=said) as raised:
        list(vendor.channel(lambda: NOW).send(outbounds(Medium.EMAIL, 2)))
    assert "example.com" not in str(raised.value) and KEY not in str(raised.value)


def test_a_setting_that_the_vendor_refuses(vendor: SendGridVendor) -> None:
    vendor.next(refusal("ip_pool_name"))
    with pytest.raises(Misconfigured, match="ip_pool_name"):
        list(vendor.channel(lambda: NOW, ip_pool_name="none").send([email()]))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 30)}, 30.0),
        ({"X-RateLimit-Reset": "12"}, 1.0),
        ({"X-RateLimit-Reset": "99999999999"}, 3600.0),
        ({}, 10.0),
    ],
)
def test_too_many_requests(vendor: SendGridVendor, headers: dict[str, str], seconds: float) -> None:
    vendor.next(Reply(429, headers, taken=False))
    with pytest.raises(Unavailable) as raised:
        list(vendor.channel(lambda: NOW).send(outbounds(Medium.EMAIL, 2)))
    assert raised.value.retry_after == seconds


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    channel = connect(Medium.EMAIL, {"api_key": KEY, "base_url": f"http://127.0.0.1:{port}"}, SITE)
    with pytest.raises(Unavailable):
        list(channel.send(outbounds(Medium.EMAIL, 2)))


def test_an_error_speaks_only_for_what_was_not_taken(vendor: SendGridVendor) -> None:
    """Of three requests under way together one is taken, one hangs up, one is refused: the first two have receipts."""
    replies = {"a0": None, "a2": Reply(503), "a4": Reply(429)}
    vendor.refuse = lambda body: replies[body["personalizations"][0]["custom_args"]["attempt_id"]]
    receipts = []
    with pytest.raises(Unavailable):
        for receipt in vendor.channel(lambda: NOW, batch_size=2).send(outbounds(Medium.EMAIL, 6)):
            receipts.append(receipt)
    assert sorted((r.attempt, r.status) for r in receipts) == [
        ("a0", "accepted"), ("a1", "accepted"), ("a2", "uncertain"), ("a3", "uncertain"),
    ]  # fmt: skip


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_key": "SG.a\nb"}, "characters"),
        ({"base_url": "http://api.sendgrid.com"}, "https"),
        ({"batch_size": 1001}, "at most 1000"),
        ({"batch_size": 0}, "above 0"),
        ({"timeout": "soon"}, "above 0"),
        ({"rate": -1}, "above 0"),
        ({"rate": True}, "above 0"),
        ({"sandbox_mode": "yes"}, "true or false"),
        ({"categories": ["x" * 256]}, "255"),
        ({"categories": [str(n) for n in range(10)]}, "at most 9"),
        ({"categories": [1]}, "list of texts"),
        ({"webhook_keys": ["nonsense"]}, "cannot be read"),
        ({"webhook_keys": {"a": 1}}, "list of public keys"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, object], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        connect(Medium.EMAIL, {"api_key": KEY, **options}, SITE)


def test_only_email() -> None:
    with pytest.raises(Misconfigured, match="not sms"):
        connect(Medium.SMS, {"api_key": KEY}, SITE)


def test_which_settings_reach_people() -> None:
    assert live({"api_key": "SG.x"}) and not live({"api_key": "SG.x", "sandbox_mode": True})
    assert not live({"api_key": "SG.x", "sandbox_mode": "true"}) and not live({"api_key": "test"})
