"""E-mail through a relay, over a real connection."""

import time
from dataclasses import replace
from typing import Any

import pytest

from channels.base import Attachment, Medium, Misconfigured, Reason, Receipt, Site, Unavailable
from channels.smtp import Smtp, connect
from orchestrator.store.outbox import last_look
from tests.channels.kit import NOW, outbound, outbounds
from tests.channels.kits.smtp import nobody, smtp
from tests.vendors.relay import GONE, HANGS, Relay, certificate


@pytest.fixture
def relay():
    with Relay() as made:
        yield made


def sent(channel, *batch):
    return {r.attempt: r for r in channel.send(batch)}


def test_what_arrives_is_what_was_written(relay):
    headers = {
        "List-Unsubscribe": "<https://news.example.com/u/v1.m5.abcdefghijklmnopqrstuv>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    sender = {"name": "Müller & Co, GmbH", "address": "hello@example.com", "reply_to": "care@example.com"}
    ics = Attachment("invitation.ics", "text/calendar; method=REQUEST", part="text")
    pdf = Attachment("Überblick.pdf", "application/pdf", b"%PDF-1.7 \x00\xff")
    told = sent(
        smtp(relay.port),
        outbound(Medium.EMAIL, 7, headers=headers, sender=sender, values=("Änne ✓",), attachments=(ics, pdf)),
    )
    assert told["a7"].status == "accepted" and told["a7"].provider_id == "a7/4XyZ"
    ((to, message),) = relay.taken
    assert to == "anna.7@example.com"
    assert message["To"] == "Anna Müller <anna.7@example.com>"
    assert message["From"] == '"Müller & Co, GmbH" <hello@example.com>'
    assert message["Reply-To"] == "care@example.com"
    assert message["Subject"] == "Hello Änne ✓"
    assert {name: message[name] for name in headers} == headers
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain.get_content().rstrip() == "Dear Änne ✓,\nthis is for you."
    assert "Dear Änne ✓, this is for you" in html.get_content()
    files = {part.get_filename(): part for part in message.iter_attachments()}
    assert files["Überblick.pdf"].get_content() == b"%PDF-1.7 \x00\xff"
    assert files["invitation.ics"]["Content-Type"].params["method"] == "REQUEST"


def test_a_line_that_is_a_dot_ends_nothing(relay):
    skeleton = replace(outbound(Medium.EMAIL).skeleton, hash="h", parts={"subject": ("s",), "text": ("a\n.\n..b\n",)},
                       slots={"subject": (), "text": ()})  # fmt: skip
    assert sent(smtp(relay.port), outbound(Medium.EMAIL, skeleton=skeleton, values=()))["a0"].status == "accepted"
    assert relay.taken[0][1].get_content().replace("\r\n", "\n") == "a\n.\n..b\n"


@pytest.mark.parametrize(
    ("when", "reply", "status", "reason"),
    [
        ("rcpt", "550 5.1.1 anna.1@example.com: no such user", "rejected", Reason.UNKNOWN_ADDRESS),
        ("rcpt", "553 5.1.3 bad address", "rejected", Reason.INVALID_ADDRESS),
        ("rcpt", "550 blocked by our list", "rejected", Reason.PROVIDER),
        ("rcpt", "550 5.7.1 you are not allowed", "rejected", Reason.CONFIGURATION),
        ("rcpt", "451 4.7.1 greylisted", "retry", Reason.RATE),
        ("rcpt", GONE, "retry", None),
        ("data", "552 5.3.4 too big", "rejected", Reason.TOO_LARGE),
        ("data", "550 5.6.0 spam", "rejected", Reason.CONTENT),
        ("data", "452 4.3.1 disk full", "retry", Reason.RATE),
        ("data", GONE, "uncertain", Reason.TIMEOUT),
        ("data", HANGS, "uncertain", Reason.TIMEOUT),
    ],
)
def test_what_the_relay_says(relay, when, reply, status, reason):
    (relay.at_rcpt if when == "rcpt" else relay.at_data)["anna.1@example.com"] = reply
    timeout = 5.0 if reply == HANGS else 60.0
    told = sent(smtp(relay.port, connections=1, timeout=timeout), *outbounds(Medium.EMAIL, 3))
    assert (told["a1"].status, told["a1"].reason) == (status, reason)
    assert "example.com" not in told["a1"].detail
    assert {told["a0"].status, told["a2"].status} == {"accepted"}


def test_a_relay_that_is_away_took_nothing():
    with pytest.raises(Unavailable):
        list(smtp(nobody()).send(outbounds(Medium.EMAIL, 3)))


def test_several_connections_share_a_batch(relay):
    assert len(sent(smtp(relay.port, connections=4), *outbounds(Medium.EMAIL, 40))) == 40
    assert relay.sessions <= 4 and len(relay.taken) == 40


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": {"name": "Acme\r\nBcc: all@example.com", "address": "hello@example.com"}},
        {"to": {"address": "anna@example.com\r\nRCPT TO:<b@example.com>", "name": "Anna"}},
        {"to": {"address": "anna@example.com", "name": "Anna\nBcc: all@example.com"}},
        {"headers": {"List-Unsubscribe": "<https://example.com/>\r\nX: y"}},
        {"values": ("Anna\r\nBcc: all@example.com",)},
        {"values": ("Anna\u2028Bcc: x",)},
    ],
)
def test_no_header_can_be_smuggled_in(relay, changes):
    told = sent(smtp(relay.port), outbound(Medium.EMAIL, 1, **changes), outbound(Medium.EMAIL, 2))
    assert (told["a1"].status, told["a1"].reason) == ("rejected", Reason.CONTENT)
    assert told["a2"].status == "accepted" and len(relay.taken) == 1


def test_it_logs_in_under_tls_and_trusts_only_whom_it_knows(tmp_path):
    files = certificate(tmp_path)
    with Relay(certificate=files, login=("acme", "secret")) as relay:

        def made(**changes):
            return smtp(relay.port, security="starttls", **{"ca_file": str(files[0]), **changes})

        assert sent(made(login=("acme", "secret")), outbound(Medium.EMAIL))["a0"].status == "accepted"
        with pytest.raises(Misconfigured, match="login"):
            list(made(login=("acme", "wrong")).send([outbound(Medium.EMAIL)]))
        with pytest.raises(Misconfigured, match="certificate"):
            list(made(login=("acme", "secret"), ca_file=None).send([outbound(Medium.EMAIL)]))
        assert len(relay.taken) == 1


def test_a_message_without_a_sender_waits_for_one(relay):
    told = sent(smtp(relay.port), outbound(Medium.EMAIL, 1, sender={"name": "Acme"}), outbound(Medium.EMAIL, 2))
    assert (told["a1"].status, told["a1"].reason) == ("retry", Reason.CONFIGURATION)
    assert told["a2"].status == "accepted" and len(relay.taken) == 1


def test_addresses_beyond_ascii_need_a_relay_that_takes_them(relay):
    to = {"address": "änne@exämple.com", "name": "Änne"}
    assert sent(smtp(relay.port), outbound(Medium.EMAIL, 1, to=to))["a1"].status == "accepted"
    with Relay(smtputf8=False) as other:
        told = sent(smtp(other.port), outbound(Medium.EMAIL, 1, to=to), outbound(Medium.EMAIL, 2))
    assert [told["a1"].status, told["a2"].status] == ["rejected", "accepted"]


def test_the_same_attempt_has_the_same_name_and_says_nothing_of_the_person(relay):
    channel = smtp(relay.port)
    sent(channel, outbound(Medium.EMAIL, 1))
    sent(channel, outbound(Medium.EMAIL, 1, to={"address": "other@example.com", "name": "O"}))
    first, second = (str(m["Message-ID"]) for _, m in relay.taken)
    assert first == second and "anna" not in first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs the setting host"),
        ({"host": "mail.example.com", "security": "none"}, "without TLS only a relay on this machine"),
        ({"host": "mail.example.com", "username": "a"}, "together, or neither"),
        ({"host": "mail.example.com", "security": "ssl"}, '"starttls", "tls" or "none"'),
        ({"host": "mail.example.com", "port": "many"}, "`port` is a number from 1 to 65535"),
        ({"host": "mail.example.com", "timeout": 60}, "`timeout` is a number from 1 to 25"),
        ({"host": "mail.example.com", "ca_file": "/nowhere.pem"}, "`ca_file` /nowhere.pem cannot be read"),
    ],
)
def test_settings_that_cannot_be(tmp_path, options, said):
    site = Site(tmp_path, lambda: NOW, b"s" * 32)
    with pytest.raises(Misconfigured, match=said):
        connect(Medium.EMAIL, options, site)
    assert isinstance(connect(Medium.EMAIL, {"host": "mail.example.com"}, site), Smtp)


def test_a_slow_relay_does_not_outlast_a_lease(relay):
    relay.at_data["anna.0@example.com"] = HANGS
    told = sent(smtp(relay.port, timeout=1.0), outbound(Medium.EMAIL, 0))
    assert told["a0"].reason is Reason.TIMEOUT and not relay.outwaited


def test_what_takes_long_is_done_before_the_last_look(sqlite_database_url):
    """A greeting, TLS and a login take a slow relay seconds, and a STOP of meanwhile holds."""

    from tests.outgoing import files, journey, world_of

    world = world_of(sqlite_database_url)
    channel = smtp(1, connections=4)
    told = []

    class Line:
        def close(self):
            told.append("closed")

        quit = close

    def opened():
        time.sleep(0.2)
        told.append("opened")
        return Line()

    def looked(*given):
        told.append("looked")
        return last_look(*given)

    def handed(relay, outbound, data):
        told.append("handed over")
        return Receipt(outbound.attempt, "accepted", outbound.attempt), True

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(channel, "_open", opened)
        patched.setattr("channels.smtp._hand_over", handed)
        patched.setattr("orchestrator.deliver.outbox.last_look", looked)
        world.channels[Medium.EMAIL] = channel  # type: ignore[assignment]
        texts = files({"j": journey("j", "- email: hello")})
        ours = 'sender: { name: Small, email: "hello@small.example",'
        texts["journeys/workspace.yaml"] = texts["journeys/workspace.yaml"].replace("sender: { name: Small,", ours)
        world.apply(texts)
        people = world.people(6)
        world.event(people[:4])
        world.move()
        world.deliver()
        assert told == [*["opened"] * 4, "looked", *["handed over"] * 4, *["closed"] * 4]
        told.clear()
        world.event(people[4:])
        world.move()
        world.consent(people[4:], "email", "offers", "withdraw")
        world.deliver()
        assert told.count("opened") == told.count("closed"), "and nothing stays open"
    world.store.close()


def test_who_stops_listening_stops_the_rest(relay):
    channel = smtp(relay.port, connections=1)
    receipts: Any = channel.send(outbounds(Medium.EMAIL, 60))
    next(receipts)
    receipts.close()
    assert len(relay.taken) < 60
