"""What somebody does to the pages who means no good, or holds what is not theirs (any more)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Event, EventKind, Medium
from orchestrator import consenting
from orchestrator.apply import in_force
from orchestrator.erase import Places, erase
from orchestrator.ingest import receive
from orchestrator.store import consents
from orchestrator.store import tables as t
from orchestrator.store.keys import Attempt
from orchestrator.web import links
from tests.outgoing import World, world_of
from tests.web.choosing_world import page, texts, written_to
from tests.web.site import Asked, served
from tests.web.test_api import Calling

FAR = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    world = world_of(database_url)
    world.apply(texts())
    yield world
    world.store.close()


def moves(world: World, customer_id: int, email: str = "new@example.com") -> None:
    """The customer has another e-mail address from now on."""
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == customer_id).values(email=email))


def said(world: World, customer_id: int) -> list[tuple[str, str, str, datetime]]:
    c = t.consent_event.c
    columns = (c.medium, c.topic, c.action, c.occurred_at)
    return [tuple(row) for row in world.rows(sa.select(*columns).where(c.customer_id == customer_id).order_by(c.id))]


# ---- whose mailbox it was --------------------------------------------------------------------------------------------


def test_the_holder_of_an_old_mailbox_confirms_nothing_for_the_new_one(world: World) -> None:
    [ann] = world.people(1, consents=None)

    def ask(conn: sa.Connection) -> str:
        force = in_force(conn)
        assert force is not None
        return consenting.ask_confirmation(
            conn, world.keys, force, ann, "c1@example.com", ["offers"], evidence={"method": "form"}, now=world.now
        )

    assert world.store.written(ask) == "asked"
    world.deliver()
    [message] = world.messages()
    path = page(world, message.id, "c")
    asked = Asked(world)
    assert "Yes, I confirm" in asked.get(path).text
    moves(world, ann, "new@elsewhere.example")
    for answer in (asked.get(path), asked.post(path)):
        assert answer.status_code == 200 and "This link does nothing any more" in answer.text
        assert "elsewhere" not in answer.text
    assert [action for _, _, action, _ in said(world, ann)] == ["request"]


def test_the_holder_of_an_old_mailbox_reads_and_changes_no_data(world: World) -> None:
    ann, message = written_to(world, first_name="Annabel", street="Neuer Weg 7")
    asked, path = Asked(world), page(world, message)
    assert "Neuer Weg 7" in asked.get(path).text
    asked.post(path, data={"do": "data"})
    world.deliver()
    [mailed] = [m.id for m in world.messages() if m.origin == "data_link"]
    file = page(world, mailed, "d")
    assert asked.get(file).status_code == 200
    moves(world, ann)
    shown = asked.get(path).text
    assert "Neuer Weg 7" not in shown and "Annabel" not in shown
    assert asked.post(path, data={"do": "tell", "first_name": "Mallory"}).status_code == 400
    assert world.one(sa.select(t.customer.c.first_name).where(t.customer.c.id == ann)) == "Annabel"
    assert asked.get(file).status_code == asked.post(file, data={"as": "json"}).status_code == 410
    assert asked.post(page(world, message, "u")).status_code == 200  # a no is good from anywhere
    assert said(world, ann)[-1][:3] == ("email", "offers", "withdraw")


# ---- at the same time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        {"do": "tell", "first_name": "Mallory", "street": "Neuer Weg 7"},
        {"do": "save", "shown": "offers:email", "was": "offers:email", "language": "de"},
        {"do": "nothing"},
        {"do": "pause"},
        {"do": "call"},
    ],
    ids=lambda form: str(form["do"]),
)
def test_who_is_erased_between_the_look_and_the_writing_leaves_nothing(
    world: World, form: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ann, message = written_to(world)
    asked, followed = Asked(world), links.follow

    def then_erased(*args: Any) -> Any:
        found = followed(*args)
        erase(world.store, world.keys, "c1", Places(tmp_path / "erased.jsonl"), now=world.now, by="me")
        return found

    monkeypatch.setattr("orchestrator.web.preferences.follow", then_erased)
    assert asked.post(page(world, message), data=form).status_code in (400, 503)
    row = world.rows(sa.select(t.customer).where(t.customer.c.id == ann))[0]._mapping
    assert row["erased_at"] is not None and not any(row[name] for name in ("first_name", "street", "email", "locale"))
    assert "withdraw" not in [action for _, _, action, _ in said(world, ann)]


def test_an_anonymous_answer_shares_no_transaction_with_its_giver(world: World) -> None:
    """PostgreSQL keeps the number of the transaction on each row that it wrote, and on each that it locked."""
    _, message = written_to(world)
    statements: list[str] = []
    sa.event.listen(world.store.engine, "before_cursor_execute", lambda *a: statements.append(str(a[2])))
    answer = Asked(world).post(f"{page(world, message, 's')}/secret", data={"mood": "3"})
    assert "Your answers have arrived" in answer.text
    assert not [text for text in statements if "FOR NO KEY UPDATE" in text.upper()]
    if world.store.dialect == "postgresql":
        own = world.rows(sa.text("SELECT xmin::text, xmax::text FROM customer"))[0]
        [(written,)] = world.rows(sa.text("SELECT xmin::text FROM survey_answer"))
        assert written not in tuple(own)


# ---- addresses that lie ----------------------------------------------------------------------------------------------


def test_nothing_leads_to_the_host_that_a_request_claims(world: World) -> None:
    _, message = written_to(world)
    asked = Asked(world)
    for path in (page(world, message, "u"), page(world, message), "/v1/events", "/hooks/sms"):
        for method in ("GET", "POST"):
            answer = asked(method, f"{path}/", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
            assert "evil.example" not in str(answer.headers) + answer.text
            assert answer.status_code in (403, 404, 405)


# ---- nonsense that bears a genuine signature -------------------------------------------------------------------------


def hear(world: World, *events: Event) -> Any:
    return receive(world.store, world.keys, events, now=world.now)


def test_an_attempt_that_was_never_made_here_settles_nothing(world: World) -> None:
    _, message = written_to(world)
    before = world.states()
    others = [f"m{message}a2", f"m{message}a999999999d9999", "m9223372036854775807a1", "m9223372036854775808a1",
              "m9999999999999999999a1", "m1a1\N{ARABIC-INDIC DIGIT THREE}", "m0a1", "m1", "m1a1d0"]  # fmt: skip
    report = hear(world, *(Event(name, EventKind.BOUNCED, world.now) for name in others))
    assert report.unknown == len(others) and not report.new and not report.suppressed
    assert world.states() == before
    assert Attempt.read(f"m{2**63 - 1}a1") == Attempt(2**63 - 1, 1) and Attempt.read(f"m{2**63}a1") is None


@pytest.mark.parametrize("bad", ["\0", "\ud800", "\U0001f600" * 3_000], ids=["nul", "half", "long"])
def test_texts_that_no_database_keeps_hold_nothing_up(world: World, bad: str) -> None:
    _, message = written_to(world)
    attempt = f"m{message}a1"
    report = hear(
        world,
        Event(attempt, EventKind.CLICKED, world.now, url=f"https://small.example/{bad}"),
        Event(attempt, EventKind.REPLIED, world.now, text=f"Hello{bad}", detail=bad),
        Event("", EventKind.REPLIED, world.now, f"SM{bad}"[:40], address="+491713900001", text=f"Well{bad}"),
        Event("", EventKind.COMPLAINED, world.now, address=f"c1@example.com{bad}"[:60]),
    )
    assert {kind: report.new[kind] for kind in ("clicked", "replied", "complained")} == {
        "clicked": 1,
        "replied": 2,
        "complained": 1,
    }


def test_a_clock_that_is_ahead_says_no_now_and_not_for_ever(world: World) -> None:
    ann, message = written_to(world)
    hear(world, Event(f"m{message}a1", EventKind.UNSUBSCRIBED, FAR))
    hear(world, Event("", EventKind.UNSUBSCRIBED, FAR - timedelta(days=1), address="c1@example.com"))
    noes = [at for _, _, action, at in said(world, ann) if action == "withdraw"]
    assert len(noes) == 2 and max(noes) <= world.now
    world.pass_time(hours=1)
    world.consent([ann], "email", "offers")
    with world.store.read() as conn:
        stand = consents.current(conn, [ann], Medium.EMAIL)[ann]
    assert "granted" in {one.state for one in stand if one.topic == "offers"}


# ---- the API ---------------------------------------------------------------------------------------------------------


def test_an_event_is_known_by_the_id_its_system_gave_it(world: World) -> None:
    world.people(1)
    call = Calling(world)
    one = {"type": "signed_up", "customer": "c1", "occurred_at": "2027-03-01T10:00:00Z", "key": "order-1"}
    other = {**one, "key": "order-2"}  # at the same second, and alike but for its id
    told = call("events", [one, other]).json()
    assert told["inserted"] == 2 and told["warnings"] == []
    late = {**one, "occurred_at": "2027-03-01T10:00:09Z"}
    assert call("events", late).json()["unchanged"] == 1, "told again with another instant it is still that event"
    assert call("events", {**one, "key": None, "event_id": "order-2"}).json()["unchanged"] == 1
    for wrong in ({"a": 1}, ["x"], 1.5, True):
        assert call("events", {**one, "key": wrong}).status_code in (200, 422)
    no = {"customer": "c1", "medium": "email", "topic": "offers", "action": "withdraw"}
    no |= {"occurred_at": "2027-03-01T10:00:00Z", "key": "no-1"}
    assert call("consents", [no, {**no, "key": "no-2"}]).json()["inserted"] == 2


# ---- what the server says of it --------------------------------------------------------------------------------------


def test_no_log_has_a_link_whatever_is_asked_of_the_server(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A refused web socket, a body that never comes, a form of thousands of fields: driven over a real socket."""
    _, message = written_to(world)
    path = page(world, message, "u")
    shake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    asked = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\n{shake}Sec-WebSocket-Version: 13\r\n\r\n",
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
        f"GET {path} HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n",
        f"PUT {path}%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    with caplog.at_level("INFO"), served(world) as url:
        wait_for(url)
        for text in asked:
            with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=10) as line:
                line.sendall(text.encode())
                if "Content-Length" not in text:
                    assert line.recv(100).startswith(b"HTTP/1.1 ")
    token = path.rpartition("/")[2]
    assert token not in caplog.text and token.rpartition(".")[2] not in caplog.text
    assert "a page failed" not in caplog.text, "who goes away is no fault of ours"


def wait_for(url: str) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the web app does not listen")
