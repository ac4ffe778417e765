"""Minors from the attribute in the database to the verdict in the log, and the log judged again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from orchestrator.audit import verify
from orchestrator.ingest import record_consents
from orchestrator.rejudge import examine
from orchestrator.seal import seal
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, WORKSPACE, files, journey, world_of

BORN = WORKSPACE.replace("customer: { town: text }", "customer: { town: text, birthday: date }")
MINORS = POLICIES + "  minors: { born: birthday }\n"


@pytest.fixture
def world(database_url):
    found = world_of(database_url)
    texts = files({"hello": journey("hello", "- email: hello\n- email: receipt", "{ event: bought }")}, MINORS)
    found.apply(texts | {"journeys/workspace.yaml": BORN + MINORS})
    yield found
    found.store.close()


def test_children_get_nothing_but_what_a_parent_agreed_to_and_what_is_no_marketing(world):
    born = {
        "adult": "1990-01-01",
        "child": "2015-05-05",
        "of a parent": "2015-05-05",
        "odd": "the fifth",
        "unknown": None,
    }
    people = {}
    for name, day in born.items():
        [people[name]] = world.people(1, attributes={"birthday": day} if day else {})
    with world.store.write() as conn:
        said = {"medium": "email", "topic": "offers", "action": "grant", "occurred_at": world.now, "method": "paper"}
        row = {"key": "p", "customer_id": people["of a parent"], "basis": "parental", "source": "form", **said}
        record_consents(conn, world.keys, [row], now=world.now)
    world.event(people.values(), "bought", order_id="o1", amount=500, amount_currency="EUR")
    world.tick(6)
    found = {
        (row.customer_id, row.template): row.reason or row.state
        for row in world.rows(sa.select(t.message).order_by(t.message.c.id))
    }
    offers = {name: found[i, "hello"] for name, i in people.items()}
    assert offers == {
        "adult": "sent",
        "child": "minor",
        "of a parent": "sent",
        "odd": "birth_unreadable",
        "unknown": "sent",
    }
    assert {found[i, "receipt"] for i in people.values()} == {"sent"}
    lines = [x for x in world.log() if x["kind"] == "decision" and x["reason"] == "minor"]
    assert "2015" not in str([x["body"] for x in lines])
    seal(world.store, world.keys, now=world.now)
    report = verify(world.store, world.keys, now=world.now, examine=examine)
    assert report.ok, report.findings
    assert report.judged["judged again"] == 10
