"""What providers report: taken when it is written, refused when forged, asked for again when the fault is ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from channels.base import Event, EventKind, Inbound, Medium, Misconfigured, Reason
from orchestrator.store import StoreUnavailable
from orchestrator.store import tables as t
from orchestrator.web import hooks
from tests.outgoing import World, audit, files, journey, world_of
from tests.web.site import Asked


@pytest.fixture
def world(sqlite_database_url: str) -> Iterator[World]:
    world = world_of(sqlite_database_url)
    world.apply(files({"hello": journey("hello", "- email: hello")}))
    yield world
    world.store.close()


def report(world: World, kind: EventKind = EventKind.BOUNCED) -> Inbound:
    world.event(world.people(1))
    world.tick()
    [kept] = world.outbox()
    event = Event(kept.attempt, kind, world.now, reason=Reason.UNKNOWN_ADDRESS)
    return world.channels[Medium.EMAIL].inbound([event])


def test_a_report_is_written_once(world: World) -> None:
    inbound = report(world)
    asked = Asked(world)
    for path in ("/hooks/email", "/hooks/email", "/hooks/email/another?x=1"):
        answer = asked.post(path, content=inbound.body, headers=dict(inbound.headers))
        assert answer.status_code == 204 and not answer.content
    assert world.states() == {"bounced": 1}
    assert world.one(sa.select(sa.func.count()).select_from(t.feedback)) == 1
    audit(world)


def test_what_bears_no_signature_changes_nothing(world: World) -> None:
    inbound = report(world)
    asked = Asked(world)
    for headers in ({}, {"X-Sandbox-Signature": "0" * 64}):
        answer = asked.post("/hooks/email", content=inbound.body, headers=headers)
        assert answer.status_code == 403 and not answer.content
    changed = asked.post("/hooks/email", content=inbound.body + b" ", headers=dict(inbound.headers))
    assert changed.status_code == 403
    assert world.states() == {"sent": 1}


def test_a_text_is_answered_with_nothing_to_say(world: World) -> None:
    inbound = world.channels[Medium.SMS].inbound([])
    answer = Asked(world).post("/hooks/sms", content=inbound.body, headers=dict(inbound.headers))
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/xml")
    assert answer.text.endswith("<Response/>")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_a_post_reports(world: World, method: str) -> None:
    assert Asked(world)(method, "/hooks/email").status_code == 405


def test_there_are_only_the_media_there_are(world: World) -> None:
    assert Asked(world).post("/hooks/pigeon", content=b"[]").status_code == 404


def test_more_than_a_report_can_be_is_refused(world: World) -> None:
    asked = Asked(world)
    assert asked.post("/hooks/email", content=b"x" * (10 * 1024 * 1024 + 1)).status_code == 413
    assert asked.post("/hooks/email", content=b"x" * (9 * 1024 * 1024)).status_code == 403


def test_our_own_faults_make_the_provider_try_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    inbound = report(world)
    asked = Asked(world)

    def gone(*_: object, **__: object) -> None:
        raise StoreUnavailable("the database is away")

    def unset(_: Inbound) -> list[Event]:
        raise Misconfigured("no key to verify with")

    def broken(_: Inbound) -> list[Event]:
        raise KeyError("a field that we do not know")

    with monkeypatch.context() as patch:
        patch.setattr(hooks, "receive", gone)
        assert asked.post("/hooks/email", content=inbound.body, headers=dict(inbound.headers)).status_code == 503
    for fault, status in ((unset, 503), (broken, 500)):
        with monkeypatch.context() as patch:
            patch.setattr(world.channels[Medium.EMAIL], "events", fault)
            assert asked.post("/hooks/email", content=inbound.body).status_code == status
    assert world.states() == {"sent": 1}
    assert asked.post("/hooks/email", content=inbound.body, headers=dict(inbound.headers)).status_code == 204
    assert world.states() == {"bounced": 1}


def test_the_address_that_was_signed_is_the_public_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Inbound] = []

    def looked(inbound: Inbound) -> list[Event]:
        seen.append(inbound)
        return []

    monkeypatch.setattr(world.channels[Medium.SMS], "events", looked)
    asked = Asked(world, "https://mail.example.com/team")
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    asked.post("/hooks/sms/status%20x?a=1&b=%C3%A4", content=b"Body=x", headers=headers)
    assert seen[0].url == "https://mail.example.com/team/hooks/sms/status%20x?a=1&b=%C3%A4"
    assert seen[0].body == b"Body=x"
