"""The unsubscribe page and RFC 8058: what it shows, what it changes, and what is kept of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.store import consents
from orchestrator.store import tables as t
from orchestrator.store.keys import Keys
from tests.outgoing import KEYS, World, audit, files, journey, world_of
from tests.web.site import Asked

HELLO = journey("hello", "- email: hello")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    world = world_of(database_url)
    world.apply(files({"hello": HELLO}))
    yield world
    world.store.close()


def sent(world: World, **person: Any) -> tuple[int, str]:
    """A customer who got an offer by e-mail, and the path of its unsubscribe link."""
    [customer_id] = world.people(1, **person)
    world.event([customer_id])
    world.tick()
    [message] = [m for m in world.messages() if m.customer_id == customer_id]
    assert message.state in ("sent", "delivered")
    return customer_id, f"/u/{world.keys.link_token(message.id)}"


def noes(world: World, customer_id: int) -> list[tuple[str, str]]:
    c = t.consent_event.c
    query = sa.select(c.medium, c.topic).where(c.customer_id == customer_id, c.action == "withdraw").order_by(c.id)
    return [tuple(row) for row in world.rows(query)]


def test_a_get_changes_nothing_and_says_what_it_is_about(world: World) -> None:
    customer_id, path = sent(world, locale="de-AT")
    asked = Asked(world)
    page = asked.get(path)
    assert page.status_code == 200 and '<html lang="de">' in page.text
    assert "„Offers“" in page.text and "c…@example.com" in page.text and "Small" in page.text
    assert "c1@example.com" not in page.text and "<script" not in page.text and "set-cookie" not in page.headers
    assert asked("HEAD", path).status_code == 200
    assert noes(world, customer_id) == []


MULTIPART = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
WAYS = {
    "urlencoded": ({"Content-Type": "application/x-www-form-urlencoded"}, b"List-Unsubscribe=One-Click"),
    "multipart": ({"Content-Type": "multipart/form-data; boundary=b"}, MULTIPART),
    # RFC 8058, section 8.2: the boundary that the header announces is not the one in the body (errata 5117, 8927).
    "the example of the RFC": (
        {"Content-Type": "multipart/form-data; boundary=---FormBoundaryjWmhtjORrn"},
        MULTIPART.replace(b"--b", b"---FormBoundaryjWmhtjORrn"),
    ),
    "no boundary at all": ({"Content-Type": "multipart/form-data"}, MULTIPART),
    "no content type": ({}, b"List-Unsubscribe=One-Click"),
    "the page's own button": ({"Content-Type": "application/x-www-form-urlencoded"}, b""),
    "bytes that are no text": ({"Content-Type": "text/plain"}, b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_say_it_counts_once(world: World, way: str) -> None:
    customer_id, path = sent(world)
    asked = Asked(world)
    headers, body = WAYS[way]
    for _ in range(3):
        answer = asked.post(path, content=body, headers=headers)
        assert answer.status_code == 200 and "You are unsubscribed" in answer.text
        assert "location" not in answer.headers and "set-cookie" not in answer.headers
        world.pass_time(minutes=5)
    assert noes(world, customer_id) == [("email", "offers")]
    method = world.one(sa.select(t.consent_event.c.method).where(t.consent_event.c.action == "withdraw"))
    assert method == ("one_click" if b"One-Click" in body else "unsubscribe_link")
    feedback = world.rows(sa.select(t.feedback.c.kind))
    assert [kind for (kind,) in feedback] == ["unsubscribed"]
    audit(world)


def test_the_headers_own_link_does_it_and_leads_nowhere_else(world: World) -> None:
    customer_id, path = sent(world)
    [kept] = world.outbox()
    text = world.opened(kept).replace("=\n", "")
    found = re.search(r"List-Unsubscribe: <https://small\.example(/o/[\w.-]+)>", " ".join(text.split()))
    assert found is not None and "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in text
    asked = Asked(world)
    shown = asked.get(found[1])
    assert shown.status_code == 200 and "Unsubscribe from" in shown.text and "/p/" not in shown.text
    assert "/p/" in asked.get(path).text
    assert asked.get(found[1].replace("/o/", "/u/")).status_code == 404
    done = asked.post(found[1], data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200 and "/p/" not in done.text
    assert noes(world, customer_id) == [("email", "offers")]


def test_what_is_kept_of_it(world: World) -> None:
    customer_id, path = sent(world)
    Asked(world).post(path, headers={"User-Agent": "A browser", "Accept-Language": "de"}, client="203.0.113.77")
    event_id = world.one(sa.select(t.consent_event.c.id).where(t.consent_event.c.action == "withdraw"))
    with world.store.read() as conn:
        known = consents.evidence_of(conn, KEYS, [event_id])[event_id].evidence
        [word] = consents.words_of(conn, KEYS, [event_id]).values()
    assert known is not None
    assert known["ip"] == "203.0.113.77" and known["agent"] == "A browser"
    assert known["source_url"] == "https://small.example/u/" and path not in str(known)
    assert "Von „Offers“ abmelden" in word["wording"] and "@" not in word["wording"]
    language = world.one(sa.select(t.consent_event.c.language).where(t.consent_event.c.id == event_id))
    assert language == "de"
    assert customer_id


def test_after_a_new_yes_the_old_link_says_a_new_no(world: World) -> None:
    customer_id, path = sent(world)
    asked = Asked(world)
    asked.post(path)
    world.pass_time(days=3)
    world.consent([customer_id], "email", "offers")
    world.pass_time(days=3)
    asked.post(path)
    asked.post(path)
    assert noes(world, customer_id) == [("email", "offers")] * 2


def test_everything_is_every_medium_and_stops_what_is_queued(world: World) -> None:
    customer_id, path = sent(world)
    world.event([customer_id], source="again")
    world.move()
    page = Asked(world).post(path, data={"everything": "yes"})
    assert "will not advertise to you any more" in page.text
    assert sorted(noes(world, customer_id)) == sorted((m, "*") for m in ("email", "sms", "push", "mail", "audience"))
    world.deliver()
    assert set(world.states()) <= {"sent", "delivered", "denied", "cancelled"}
    assert world.states()["sent"] + world.states()["delivered"] == 1


def test_an_erased_person_a_stranger_and_a_wrong_page(world: World) -> None:
    customer_id, path = sent(world)
    asked = Asked(world)
    token = path.removeprefix("/u/")
    for wrong in (token[:-1] + ("A" if token[-1] != "A" else "B"), "x", f"{token}x", token.replace("m1", "m2")):
        assert asked.get(f"/u/{wrong}").status_code == 404
        assert asked.post(f"/u/{wrong}").status_code == 404
    of_another_page = world.keys.link_token(1, "p")
    assert asked.post(f"/u/{of_another_page}").status_code == 404
    nobody = asked.get(f"/u/{world.keys.link_token(999_999)}")
    assert nobody.status_code == 200 and "Nothing is held about you" in nobody.text
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == customer_id).values(erased_at=world.now))
    gone = asked.post(path)
    assert gone.status_code == 200 and "Nothing is held about you" in gone.text and "Offers" not in gone.text
    assert noes(world, customer_id) == []


def test_a_link_made_with_an_old_key_works_for_years(world: World) -> None:
    customer_id, path = sent(world)
    world.keys = Keys(KEYS.address, b"n" * 32, KEYS.seal, KEYS.sign, (b"o" * 32, KEYS.token))
    world.pass_time(days=1500)
    assert Asked(world).post(path).status_code == 200
    assert noes(world, customer_id) == [("email", "offers")]


def test_a_transactional_message_says_what_an_objection_means(world: World) -> None:
    world.apply(files({"paid": journey("paid", "- email: receipt", "{ event: bought }")}))
    [customer_id] = world.people(1)
    world.event([customer_id], "bought", order_id="o1", amount={"amount": 1000, "currency": "EUR"})
    world.tick()
    [message] = world.messages()
    asked = Asked(world)
    path = f"/u/{world.keys.link_token(message.id)}"
    assert "This is no advertising" in asked.get(path).text
    asked.post(path)
    assert noes(world, customer_id) == [("email", "service")]


def test_one_link_is_not_used_without_end(world: World) -> None:
    _, path = sent(world)
    asked = Asked(world)
    statuses = [asked.get(path).status_code for _ in range(70)]
    assert statuses[:50] == [200] * 50 and statuses[-1] == 429
