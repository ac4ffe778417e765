"""What somebody writes into a name, an address, a link or a setting stays that: by channel, and where it comes in.

Each case is refused with a reason that names nobody, and nothing of it reaches the provider; or it stands in the
request as the text it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from channels import taskfile, webhook
from channels.base import Attachment, Channel, Medium, Misconfigured, Outbound, Reason, Receipt, Site
from orchestrator.rows import RowReader
from tests.channels.kit import NOW, PLAIN, outbound
from tests.channels.kits.fcm import fcm
from tests.channels.kits.letterfile import letterfile
from tests.channels.kits.smtp import smtp
from tests.channels.kits.webpush import webpush
from tests.vendors.fcm import FakeFcm
from tests.vendors.relay import Relay
from tests.vendors.sendgrid import SendGridVendor
from tests.vendors.twilio import Twilio
from tests.vendors.twilio_bench import Bench
from tests.vendors.webpush import FakePush

EVIL = "eve\r\nBcc: all@example.com"
BREAKS = {
    "crlf": EVIL,
    "lf": "eve\nBcc: all@example.com",
    "cr": "eve\rBcc: x",
    "nul": "eve\0x",
    "u2028": "eve\u2028x",
    "u2029": "eve\u2029x",
}
GOOD = {"name": "Acme", "address": "hello@example.com"}


def sent(channel: Channel, *batch: Outbound) -> list[Receipt]:
    return list(channel.send(batch))


def refused(receipts: Sequence[Receipt], *reasons: Reason) -> None:
    """One clear word each, and nobody's data in it."""
    for receipt in receipts:
        assert receipt.status in ("rejected", "retry") and receipt.reason in reasons, receipt
        assert receipt.detail, "a reason is told"
        assert not any(word in receipt.detail for word in ("eve", "Bcc", "Anna", "example", "\n", "\r", "\0"))


# ---- e-mail ---------------------------------------------------------------------------------------------------------


def emails(evil: str) -> dict[str, Outbound]:
    """Where a line break would begin a header of its own."""
    one = outbound(Medium.EMAIL)
    return {
        "subject": replace(one, values=(evil,)),
        "name": replace(one, to={**one.to, "name": evil}),
        "address": replace(one, to={**one.to, "address": f"anna@example.com{evil}"}),
        "sender's name": replace(one, sender={**GOOD, "name": evil}),
        "sender's address": replace(one, sender={**GOOD, "address": f"hello@example.com{evil}"}),
        "reply_to": replace(one, sender={**GOOD, "reply_to": f"a@example.com{evil}"}),
        "header": replace(one, headers={"List-Unsubscribe": evil}),
        "header's name": replace(one, headers={f"X-{evil}": "x"}),
    }


@pytest.fixture(params=["sendgrid", "smtp"])
def email(request: pytest.FixtureRequest) -> Iterator[tuple[Channel, Any]]:
    if request.param == "sendgrid":
        with SendGridVendor() as vendor:
            yield vendor.channel(lambda: NOW), lambda: vendor.mails
    else:
        with Relay() as relay:
            yield smtp(relay.port), lambda: relay.taken


@pytest.mark.parametrize("kind", list(BREAKS))
def test_no_line_of_an_email_begins_another(email: tuple[Channel, Any], kind: str) -> None:
    channel, taken = email
    cases = emails(BREAKS[kind])
    for place, case in cases.items():
        # Among others, which go out.
        receipts = {r.attempt: r for r in sent(channel, replace(case, attempt="bad"), outbound(Medium.EMAIL, 7))}
        assert receipts["a7"].status == "accepted", place
        refused([receipts["bad"]], Reason.CONTENT, Reason.INVALID_ADDRESS, Reason.CONFIGURATION)
    assert len(taken()) == len(cases)


def test_one_address_is_one_address(email: tuple[Channel, Any]) -> None:
    channel, taken = email
    for address in (
        "a@example.com,b@example.com",
        "a@example.com;b@example.com",
        "a b@example.com",
        "x <a@example.com>",
    ):
        refused(sent(channel, outbound(Medium.EMAIL, to={"address": address})), Reason.INVALID_ADDRESS)
    assert not taken()


def test_the_names_of_files_and_templates_are_data() -> None:
    with SendGridVendor() as vendor:
        channel = vendor.channel(lambda: NOW)
        bad = (Attachment(EVIL, "application/pdf", b"x"),)
        refused(sent(channel, outbound(Medium.EMAIL, attachments=bad)), Reason.CONTENT)
        assert not vendor.bodies
        odd = 'x","to":[{"email":"all@example.com"}],"y":"'
        assert sent(channel, outbound(Medium.EMAIL, template=odd))[0].status == "accepted"
        assert vendor.bodies[0]["categories"] == [odd] and vendor.mails[0].to == "anna.0@example.com"


def test_a_substitution_puts_in_no_other() -> None:
    """Whoever knew how tags look could have another's words put in."""
    with SendGridVendor() as vendor:
        batch = [outbound(Medium.EMAIL, n, values=(v,)) for n, v in enumerate(("~s7q0_", "!s7q0_", "Anna", "{{x}}"))]
        assert {r.status for r in sent(vendor.channel(lambda: NOW), *batch)} == {"accepted"}
        assert {m.subject for m in vendor.mails} == {f"Hello {o.values[0]}" for o in batch}


# ---- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["+49151\r\n1", "+4915112345678&To=+4915199999999", "whatsapp:+4915112345678", "+49151１２３４"]
)
def test_a_number_is_digits_and_nothing_else(number: str) -> None:
    with Twilio() as vendor:
        bench = Bench(vendor)
        refused(sent(bench.channel, outbound(Medium.SMS, to={"number": number})), Reason.INVALID_ADDRESS)
        refused(sent(bench.channel, outbound(Medium.SMS, sender={"number": number})), Reason.CONFIGURATION)
        assert not bench.account.forms


def test_a_text_adds_no_parameter_and_a_name_no_part_of_the_callback() -> None:
    with Twilio() as vendor:
        bench = Bench(vendor)
        words, attempt = "Hi&To=+4915199999999&From=x\r\nBody=y", "m1a1&at=0#?attempt=m2a2"
        texts = {"text": ("", ""), "body": ("", "")}
        skeleton = replace(PLAIN, parts={**PLAIN.parts, **texts})
        one = outbound(Medium.SMS, attempt=attempt, skeleton=skeleton, values=(words,))
        assert sent(bench.channel, one)[0].status == "accepted"
        [form] = bench.account.forms
        assert form["To"] == one.to["number"] and form["Body"] == words and "From" not in form
        query = parse_qsl(urlsplit(form["StatusCallback"]).query)
        assert query[0] == ("attempt", attempt) and [name for name, _ in query] == ["attempt", "at"]
        for unseen in ("\0", "\x1b", "\u202e"):
            refused(sent(bench.channel, outbound(Medium.SMS, values=(unseen,))), Reason.CONTENT)
        assert len(bench.account.forms) == 1


# ---- push -----------------------------------------------------------------------------------------------------------

LINKS = [
    *("javascript:alert(1)", "JavaScript:x", " javascript:x", "java\nscript:x", "data:text/html,x", "intent://x"),
    *("file:///etc/passwd", "https://example.com/\r\nX: y", "https://example.com\\@evil.example", "//evil.example"),
]


def linked(url: str, **more: Any) -> Outbound:
    return outbound(Medium.PUSH, skeleton=replace(PLAIN, parts={**PLAIN.parts, "url": (url,)}), **more)


@pytest.mark.parametrize("url", LINKS)
def test_a_tap_runs_nothing(url: str) -> None:
    with FakeFcm() as vendor:
        refused(sent(fcm(vendor), linked(url)), Reason.CONTENT)
        assert not vendor.asked
    with FakePush() as browsers:
        to = {"token": browsers.subscription("a0"), "platform": "web"}
        refused(sent(webpush(), linked(url, to=to)), Reason.CONTENT)
        assert not browsers.asked


def test_what_replaces_another_is_no_header_line() -> None:
    meta = {"collapse_key": EVIL}
    with FakeFcm() as vendor:
        assert sent(fcm(vendor), outbound(Medium.PUSH, meta=meta))[0].status == "accepted"
        headers = [vendor.sent[0]["apns"]["headers"], vendor.sent[0]["webpush"]["headers"]]
        assert not any(c in value for each in headers for value in each.values() for c in "\r\n")
    with FakePush() as browsers:
        to = {"token": browsers.subscription("a0"), "platform": "web"}
        assert sent(webpush(), outbound(Medium.PUSH, to=to, meta=meta))[0].status == "accepted"
        assert browsers.asked[0].headers["topic"].isalnum()


PRIVATE = [
    "http://push.example.com/x", "https://127.0.0.1/x", "https://localhost/x", "https://169.254.169.254/latest/meta-data",
    "https://[::1]/x", "https://[::ffff:10.0.0.1]/x", "https://2130706433/x", "https://0x7f.1/x", "https://10.0.0.1.:443/x",
    "https://a:b@push.example.com/", "https://push.example.com\r\nX: y/", "file:///etc/passwd", "https://intranet/x",
    "https://db.internal/x", "https://push.example.com\\@10.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("endpoint", PRIVATE)
def test_nobody_has_us_call_our_own_machines(endpoint: str) -> None:
    with FakePush() as browsers:
        token = json.loads(browsers.subscription("a0"))
    to = {"token": json.dumps({**token, "endpoint": endpoint}), "platform": "web"}
    [receipt] = sent(webpush(allow_private=False), outbound(Medium.PUSH, to=to))
    assert (receipt.status, receipt.reason) == ("rejected", Reason.INVALID_ADDRESS)
    assert receipt.detail in ("endpoint_scheme", "endpoint_form", "endpoint_private")
    secret = "whsec_" + "A" * 40
    with pytest.raises(Misconfigured, match="is not called"):
        site = Site(Path(), lambda: NOW, b"s")
        webhook.connect(Medium.WEBHOOK, {"endpoints": {"crm": {"url": endpoint, "secret": secret}}}, site)


@pytest.mark.parametrize("header", [{"X-A": EVIL}, {EVIL: "x"}, {"Host": "evil.example"}, {"Content-Length": "0"}])
def test_a_call_has_the_headers_that_were_meant(header: dict[str, str]) -> None:
    table = {"url": "https://crm.example.com/x", "secret": "whsec_" + "A" * 40, "headers": header}
    with pytest.raises(Misconfigured) as error:
        webhook.connect(Medium.WEBHOOK, {"endpoints": {"crm": table}}, Site(Path(), lambda: NOW, b"s"))
    assert "crm" in str(error.value) and "\n" not in str(error.value)


# ---- letters and lists ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["name", "street", "city", "company", "region"])
@pytest.mark.parametrize("evil", [*BREAKS.values(), "\u202eeve", "\u2066eve", "=eve()", "+eve", "-eve", "@eve"])
def test_a_line_of_an_address_is_a_line(tmp_path: Path, part: str, evil: str) -> None:
    one = outbound(Medium.MAIL)
    refused(sent(letterfile(tmp_path), replace(one, to={**one.to, part: evil})), Reason.CONTENT, Reason.INVALID_ADDRESS)
    assert not list(tmp_path.glob("letters/*"))


@pytest.mark.parametrize(
    "evil", ['=HYPERLINK("https://x.example","eve")', "@SUM(A1)", "+eve|x", "-1+eve|' /C calc'!A0"]
)
def test_no_cell_for_a_print_house_is_a_formula(tmp_path: Path, evil: str) -> None:
    refused(sent(letterfile(tmp_path), outbound(Medium.MAIL, values=(evil,))), Reason.CONTENT)
    assert not list(tmp_path.glob("letters/*"))


@pytest.mark.parametrize("good", ["-5,00 €", "+49 171 1234567", "Anna = Eva", "3-4"])
def test_and_a_number_with_a_sign_is_none(tmp_path: Path, good: str) -> None:
    assert sent(letterfile(tmp_path), outbound(Medium.MAIL, values=(good,)))[0].status == "accepted"


@pytest.mark.parametrize("evil", ["=cmd|' /C calc'!A0", "@SUM(A1)", " =1", "＝1", "\t=1", "+x"])
def test_no_cell_of_a_list_of_tasks_runs(evil: str) -> None:
    assert taskfile.tame(evil).startswith("'")


# ---- where it comes in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evil", [*BREAKS.values(), "\u202eeve", "=eve()", "@eve", "-eve", "+eve"])
@pytest.mark.parametrize("column", ["first_name", "last_name", "street", "city"])
def test_what_is_imported_is_refused_with_a_reason(column: str, evil: str) -> None:
    from tests.outgoing import _loaded, files

    vocabulary = _loaded(tuple(sorted(files({}).items()))).vocabulary
    told = RowReader("customers", vocabulary, NOW).read({"key": "c1", "class": "b2c", "tier": "silver", column: evil})
    assert isinstance(told, str) and column in told and "eve" not in told
    assert "control characters" in told or "formula" in told
