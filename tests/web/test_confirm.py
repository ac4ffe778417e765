"""Double opt-in: who signs up is asked once, confirms by a button, and what was shown is kept with the yes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.apply import in_force
from orchestrator.consenting import ask_confirmation
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.store import consents
from orchestrator.store import tables as t
from tests.outgoing import KEYS, MAIL, POLICIES, World, audit, files, journey, world_of
from tests.web.site import Asked

CONFIRM = "---\nsubject: Please confirm\npreheader: One click.\ntopic: service\n---\n" + MAIL.format(
    '<a href="{{ links.confirm }}">Confirm</a> {{ workspace.sender.postal_address }}'
)
OPT_IN = "\n  double_opt_in: { template: confirm, within: 3 days }\n"
TEXTS = files(
    {"hello": journey("hello", "- email: hello", more="reentry: always")},
    POLICIES + OPT_IN,
    templates__email__confirm_dot_mjml=CONFIRM,
)
PROOF = {
    "method": "form",
    "wording": "Offers by e-mail, please.",
    "ip": "192.0.2.1",
    "source_url": "https://x.example/",
}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    world = world_of(database_url)
    world.apply(TEXTS)
    yield world
    world.store.close()


def sign_up(world: World, customer_id: int, *topics: str, **more: Any) -> str:
    def work(conn: sa.Connection) -> str:
        force = in_force(conn)
        assert force is not None
        address = conn.execute(sa.select(t.customer.c.email).where(t.customer.c.id == customer_id)).scalar_one()
        wanted = topics or ("offers",)
        return ask_confirmation(
            conn, world.keys, force, customer_id, address or "", wanted, evidence={**PROOF, **more}, now=world.now
        )

    return world.store.written(work)


def the_link(world: World) -> str:
    world.deliver()
    [kept] = [k for k in world.outbox() if k.template == "confirm"]
    found = re.search(r"https://small\.example(/c/[\w.-]+)", world.opened(kept).replace("=\n", "").replace("=3D", "="))
    assert found is not None
    return found[1]


def actions(world: World) -> list[tuple[str, str]]:
    c = t.consent_event.c
    return [tuple(row) for row in world.rows(sa.select(c.action, c.topic).order_by(c.id))]


def test_from_the_form_to_the_first_offer(world: World) -> None:
    [ann] = world.people(1, consents=None, locale="de")
    assert sign_up(world, ann) == "asked"
    world.event([ann])
    world.tick()
    assert [k.template for k in world.outbox()] == ["confirm"]  # a request is no yes: the offer is refused
    path = the_link(world)
    asked = Asked(world)
    page = asked.get(path)
    assert page.status_code == 200 and "Bitte bestätigen" in page.text and "<strong>Offers</strong>" in page.text
    assert "c…@example.com" in page.text and asked("HEAD", path).status_code == 200
    assert actions(world) == [("request", "offers")]
    world.pass_time(hours=1)
    for _ in range(3):
        assert "Danke, es ist bestätigt" in asked.post(path).text
    assert "Danke, es ist bestätigt" in asked.get(path).text
    assert actions(world) == [("request", "offers"), ("confirm", "offers")]
    world.event([ann], source="again")
    world.tick()
    assert [k.template for k in world.outbox()] == ["confirm", "hello"]
    audit(world)


def test_the_evidence_is_what_was_shown_when_and_to_whom(world: World) -> None:
    [ann] = world.people(1, consents=None)
    sign_up(world, ann)
    path = the_link(world)
    world.pass_time(hours=5)
    Asked(world).post(path, headers={"User-Agent": "A browser"}, client="203.0.113.77")
    event = world.rows(sa.select(t.consent_event).where(t.consent_event.c.action == "confirm"))[0]
    assert (event.method, event.language, event.occurred_at) == ("double_opt_in", "en", world.now)
    with world.store.read() as conn:
        known = consents.evidence_of(conn, KEYS, [event.id])[event.id].evidence
        word = consents.words_of(conn, KEYS, [event.id])[event.id]
    assert known is not None and (known["ip"], known["agent"]) == ("203.0.113.77", "A browser")
    assert known["source_url"] == "https://small.example/c/"
    assert "By confirming you agree that Small writes to you" in word["wording"] and "Offers" in word["wording"]
    assert word["basis"] == "express" and "@" not in word["wording"]
    asked = world.rows(sa.select(t.consent_event.c.key).where(t.consent_event.c.action == "request"))[0]
    assert event.answers == asked.key
    current = world.rows(sa.select(t.consent_current.c.state, t.consent_current.c.confirmed))
    assert [tuple(row) for row in current] == [("granted", True)]


def test_a_mailbox_is_not_flooded(world: World) -> None:
    ann, ben = world.people(2, consents=None, email="same@example.com")
    assert [sign_up(world, ann), sign_up(world, ann, "news"), sign_up(world, ben)] == ["asked"] + ["asked_today"] * 2
    world.deliver()
    assert len(world.outbox()) == 1 and actions(world) == [("request", "offers")]
    world.pass_time(days=1)
    assert sign_up(world, ann) == "asked"


def test_who_is_not_asked(world: World) -> None:
    [known] = world.people(1)
    assert sign_up(world, known) == "known"
    [unreachable] = world.people(1, consents=None, email=None)
    assert sign_up(world, unreachable) == "no_address"
    [bounced] = world.people(1, consents=None)
    with world.store.write() as conn:
        key = world.keys.address_key(Medium.EMAIL, f"c{bounced}@example.com")
        row = {"medium": "email", "address_key": key, "reason": "unknown_address", "since": world.now}
        conn.execute(t.suppression.insert().values(**row))
    assert sign_up(world, bounced) == "asked"
    world.deliver()
    assert world.outbox() == [] and world.states() == {"denied": 1}


def test_who_gave_a_plain_yes_may_confirm_it(world: World) -> None:
    [ann] = world.people(1, consents=None)
    world.consent([ann], "email", "offers", "grant")
    assert sign_up(world, ann) == "asked"


def test_the_link_ends(world: World) -> None:
    [ann] = world.people(1, consents=None)
    sign_up(world, ann)
    path = the_link(world)
    world.pass_time(days=3)
    asked = Asked(world)
    for answer in (asked.get(path), asked.post(path)):
        assert answer.status_code == 200 and "This link is too old" in answer.text and "March 4, 2027" in answer.text
    assert actions(world) == [("request", "offers")]


def test_an_old_link_does_not_bring_back_who_left(world: World) -> None:
    [ann] = world.people(1, consents=None)
    sign_up(world, ann)
    path = the_link(world)
    asked = Asked(world)
    asked.post(path)
    world.pass_time(hours=1)
    world.consent([ann], "email", "offers", "withdraw")
    world.pass_time(hours=1)
    assert "You have unsubscribed since" in asked.post(path).text
    assert [action for action, _ in actions(world)] == ["request", "confirm", "withdraw"]


def test_only_a_confirmations_link_confirms(world: World) -> None:
    [ann] = world.people(1)
    world.event([ann])
    world.tick()
    [message] = world.messages()
    asked = Asked(world)
    before = actions(world)
    assert "Nothing is held" in asked.post(f"/c/{world.keys.link_token(message.id, 'c')}").text
    assert asked.post(f"/c/{world.keys.link_token(message.id, 'u')}").status_code == 404
    assert actions(world) == before


def test_nothing_is_asked_where_the_house_names_no_text(sqlite_database_url: str) -> None:
    world = world_of(sqlite_database_url)
    world.apply(files({}))
    [ann] = world.people(1, consents=None)
    assert sign_up(world, ann) == "no_template"
    world.store.close()


@pytest.mark.parametrize(
    ("policy", "text", "code"),
    [
        ("{ template: confrim }", CONFIRM, "unknown-template"),
        ("{ template: hello }", CONFIRM, "bad-double-opt-in"),
        ("{ template: confirm }", CONFIRM.replace("topic: service", "topic: offers"), "bad-double-opt-in"),
        ("{ template: confirm, within: 5 minutes }", CONFIRM, "bad-double-opt-in"),
        ("{ template: confirm, within: soon }", CONFIRM, "bad-double-opt-in"),
    ],
)
def test_what_cannot_ask_is_told(policy: str, text: str, code: str) -> None:
    policies = f"{POLICIES}  double_opt_in: {policy}\n"
    if "topic: offers" in text:
        text = text.replace("</mj-text>", '<a href="{{ links.unsubscribe }}">No more</a></mj-text>')
    with pytest.raises(ProjectError) as told:
        load_files(files({}, policies, templates__email__confirm_dot_mjml=text))
    assert {p.code for p in told.value.problems} == {code}


def test_a_journey_cannot_send_it() -> None:
    with pytest.raises(ProjectError) as told:
        load_files({**TEXTS, "journeys/a.yaml": journey("a", "- email: confirm")})
    assert [p.code for p in told.value.problems] == ["text-out-of-scope"]
