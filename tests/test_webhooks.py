"""A journey that calls another system and goes on by what it answers: through the real channel, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.settle import answered
from orchestrator.store import tables as t
from tests.channels.kits.webhook import webhook
from tests.outgoing import NOON, World, audit, files, journey, world_of
from tests.vendors.server import RESET, Asked, Reply, Vendor

WAIT = """
- webhook: crm
  with: [customer.email, customer.town, event.source, today]
  answer: scored
- branch:
    - if: count(scored where score >= 5) >= 1
      steps: [ { email: hello } ]
    - else: [ { email: second } ]
- wait: 9 days
"""


def texts(steps: str = WAIT) -> dict[str, str]:
    found = files({"j": journey("j", steps)})
    declared = "  left: { why: text }\n  scored: { score: number, band: text, on: date, worth: money }\n"
    found["journeys/workspace.yaml"] = found["journeys/workspace.yaml"].replace("  left: { why: text }\n", declared)
    return found


@pytest.fixture
def crm() -> Iterator[Vendor]:
    def answer(asked: Asked) -> Reply:
        email = json.loads(asked.body)["data"]["customer"].get("email") or ""
        score = 7 if email.startswith("c1@") else 2
        told = {"score": score, "band": ["no", "text"], "on": "2027-03-01", "worth": 12.5, "worth_currency": "EUR"}
        return Reply(200, {}, json.dumps({**told, "customer": "c9", "type": "bought", "x": 1}).encode())

    with Vendor(answer) as made:
        yield made


@pytest.fixture
def world(database_url: str, crm: Vendor) -> Iterator[World]:
    made = world_of(database_url)
    channel: Any = webhook({"crm": {"url": crm.url}})
    made.channels[Medium.WEBHOOK] = channel
    yield made
    made.store.close()


def answers(world: World) -> list[Any]:
    return world.rows(sa.select(t.event).where(t.event.c.type == "scored").order_by(t.event.c.id))


def test_its_answer_is_an_event_that_the_journey_goes_by(world: World, crm: Vendor) -> None:
    world.apply(texts())
    first, second = world.people(2)
    world.event([first, second], source='a "shop"\n')
    world.tick(4)
    bodies = {b["id"]: b for b in (json.loads(asked.body) for asked in crm.asked)}
    calls = [m for m in world.messages() if m.medium == "webhook"]
    assert bodies.keys() == {f"m{m.id}" for m in calls}
    [mine] = [b for b in bodies.values() if b["data"]["customer"]["email"] == "c1@example.com"]
    assert mine["journey"] == "j" and mine["step"] == "webhook:crm" and mine["attempt"] == f"{mine['id']}a1"
    assert mine["data"] == {
        "customer": {"email": "c1@example.com", "town": None},
        "event": {"source": 'a "shop"\n'},
        "today": "2027-03-01",
    }
    found = answers(world)
    assert {(e.customer_id, e.key) for e in found} == {(m.customer_id, f"answer:{m.id}") for m in calls}
    told = {e.customer_id: e.properties for e in found}
    # Declared, and of their type; nothing that poses as another event or another person.
    assert told[first] == {"score": 7, "on": "2027-03-01", "worth": 1250, "worth_currency": "EUR"}
    mails = {m.customer_id: m.template for m in world.messages() if m.medium == "email"}
    assert mails == {first: "hello", second: "second"}
    assert all(m.state == "sent" for m in world.messages())


def test_a_call_is_judged_and_logged_and_made_once(world: World, crm: Vendor) -> None:
    world.apply(texts())
    world.event(world.people(1), source="x")
    crm.next(Reply(503), Reply(410))
    assert world.tick(2)["planned provider"] == 1
    world.pass_time(minutes=2)
    assert world.tick(2)["planned configuration"] == 1
    world.pass_time(minutes=10)
    assert world.tick(3)["sent"] >= 1
    ids = [(json.loads(a.body)["id"], json.loads(a.body)["attempt"]) for a in crm.asked]
    name = ids[0][0]
    assert ids == [(name, f"{name}a1"), (name, f"{name}a2"), (name, f"{name}a3")]
    assert {a.headers["idempotency-key"] for a in crm.asked} == {name}
    assert len(answers(world)) == 1
    verdicts = [(x["kind"], x["verdict"]) for x in world.log(int(name[1:]))]
    assert verdicts.count(("decision", "allow")) == 3 and verdicts[-1] == ("outcome", "sent")


def test_an_uncertain_call_is_not_made_again(world: World, crm: Vendor) -> None:
    world.apply(texts())
    world.event(world.people(1), source="x")
    crm.next(RESET)
    world.tick(3)
    world.pass_time(hours=2)
    world.tick(3)
    assert len(crm.asked) == 1 and not answers(world)
    assert [m.state for m in world.messages() if m.medium == "webhook"] == ["uncertain"]


def test_nobody_is_named_unasked(database_url: str) -> None:
    world = world_of(database_url)
    world.apply(texts("- webhook: crm\n- wait: 1 day"))
    world.event(world.people(1), source="x")
    world.tick(2)
    [kept] = world.outbox()
    shown = json.loads(world.opened(kept))
    assert shown["to"] == {"name": "crm"}
    assert shown["body"]["data"] == {"account": {"key": None}, "customer": {"key": "c1"}}
    assert shown["body"]["id"] == shown["body"]["attempt"].removesuffix("a1")
    for text in ("example.com", "Ann", "+49", "Lindenweg"):
        assert text not in world.opened(kept)
    audit(world)
    world.store.close()


def test_what_does_not_fit_is_left_out() -> None:
    vocabulary = load_files(texts()).vocabulary
    bad = {"score": "a", "on": "never", "band": ["b"], "worth": "much", "nothing": 1}
    assert answered(vocabulary, "scored", bad, NOON) == {}
    # What the database could not keep is no text.
    assert "\x00" not in str(answered(vocabulary, "scored", {"band": "a\x00b"}, NOON).get("band", ""))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("customer.emial", "`customer.emial` is no field"),
        ("customer", "`customer` is no field"),
        ("links.unsubscribe", "`links.unsubscribe` is no field"),
        ("workspace.name", "is no field"),
        ("tier.name", "is no field"),
        ('"customer.key }} {{ customer.email"', "is no field"),
    ],
)
def test_what_a_call_may_carry_is_checked(fields: str, said: str) -> None:
    with pytest.raises(ProjectError) as raised:
        load_files(texts(f"- webhook: crm\n  with: [{fields}]"))
    assert any(said in p.message and p.code == "unknown-field" for p in raised.value.problems)


def test_its_answer_is_a_declared_event() -> None:
    with pytest.raises(ProjectError) as raised:
        load_files(texts("- webhook: crm\n  answer: scoerd"))
    assert [p.code for p in raised.value.problems] == ["unknown-event"]
