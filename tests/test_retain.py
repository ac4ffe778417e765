"""What is older than its time goes, batch by batch; what is younger, or still needed, stays; and the log verifies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import EventKind
from orchestrator.audit import verify
from orchestrator.rejudge import examine
from orchestrator.retain import retain
from orchestrator.seal import seal
from orchestrator.store import retention
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, files, journey, world_of

DAY = timedelta(days=1)
ALL = """
  retention:
    decision_details: 30 days
    consent_evidence: 1 month
    events: 30 days
    feedback: 30 days
    message_payloads: 30 days
    import_runs: 30 days
    touches: 30 days
"""
HELLO = {"hello": journey("hello", "- email: hello\n- sms: short", more="reentry: always")}


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    found = world_of(str(request.getfixturevalue(f"{request.param}_database_url")))
    yield found
    found.store.close()


def count(world: World, table: sa.Table, *where: Any) -> int:
    return int(world.one(sa.select(sa.func.count()).select_from(table).where(*where)))


def happened(world: World, policies: str = POLICIES + ALL) -> list[int]:
    """Three people of whom much is told; then forty days; then the same of one of them once more."""
    world.apply(files(HELLO, policies))
    people = world.people(3)
    world.event(people, source="shop")
    world.tick(4)
    for kept in world.outbox():
        if kept.medium == "email":
            world.hear(kept.attempt, EventKind.OPENED)
    with world.store.write() as conn:
        for n, i in enumerate(people):
            row = {"customer_id": i, "department": "support", "medium": "task", "at": world.now}
            conn.execute(t.touch.insert().values(key=f"t{n}", received_at=world.now, **row))
        closed = {"opened_at": world.now, "closed_at": world.now}
        conn.execute(t.support_case.insert().values(key="closed", customer_id=people[0], **closed))
        conn.execute(t.support_case.insert().values(key="open", customer_id=people[1], opened_at=world.now))
        for source, finished in (("f1", world.now), ("f2", None)):
            row = {"kind": "customers", "source": source, "started_at": world.now, "finished_at": finished}
            conn.execute(t.import_run.insert().values(**row))
    world.pass_time(days=40)
    world.event(people[:1], source="web")
    world.tick(4)
    return people


def ran(world: World, **more: Any) -> Any:
    return retain(world.store, now=world.now, **more)


def test_what_is_too_old_goes_and_what_is_younger_stays(world):
    happened(world)
    young = world.now - DAY
    report = ran(world)
    assert report.finished
    assert report.counts == {
        "decision_details": 6,
        "consent_evidence": 0,
        "events": 3,
        "feedback": 3,
        "message_payloads": 6,
        "import_runs": 1,
        "touches": 4,
    }
    assert count(world, t.log_detail) == 2, "those of today"
    assert count(world, t.event, t.event.c.customer_id.isnot(None)) == 1
    old = world.rows(sa.select(t.event).where(t.event.c.received_at < young))
    assert {(e.key == f"retained-{e.id}", e.customer_id, json.dumps(e.properties)) for e in old} == {(True, None, "{}")}
    assert count(world, t.feedback) == 0
    settled = world.rows(sa.select(t.message).where(t.message.c.settled_at < young))
    assert {(json.dumps(m.payload), m.provider_id) for m in settled} == {("{}", None)}
    assert all(m.provider_id for m in world.messages() if m.settled_at and m.settled_at > young)
    assert count(world, t.import_run) == 1, "one that is not finished goes on from its row"
    assert count(world, t.touch) == 0
    assert [c.key for c in world.rows(sa.select(t.support_case))] == ["open"]


def test_the_log_says_it_and_verifies(world):
    happened(world)
    seal(world.store, world.keys, now=world.now)
    ran(world, by="night")
    seal(world.store, world.keys, now=world.now)
    report = verify(world.store, world.keys, now=world.now, examine=examine)
    assert report.ok, report.findings
    assert report.judged["destroyed in time"] == 6
    lines = world.rows(sa.select(t.log).where(t.log.c.kind == "operation").order_by(t.log.c.id))
    told = [json.loads(line.body) for line in lines if line.verdict == "retained"]
    assert {(line["kind"], line["destroyed"]) for line in told} >= {("decision_details", 6), ("events", 3)}
    assert {line["by"] for line in told} == {"night"}


def test_details_that_went_without_a_word_are_found(world):
    """Only what is older than what the log says was destroyed may be missing."""
    happened(world)
    ran(world)
    with world.store.write() as conn:
        conn.execute(t.log_detail.delete())
    seal(world.store, world.keys, now=world.now)
    report = verify(world.store, world.keys, now=world.now, examine=examine)
    assert not report.ok
    assert {f.code for f in report.findings} == {"detail"}
    assert report.wrong == 2


def test_evidence_is_kept_while_the_consent_holds(world):
    people = happened(world)
    assert count(world, t.consent_evidence) == 12
    assert ran(world).counts["consent_evidence"] == 0
    world.consent(people[:1], "email", "offers", "withdraw")
    assert ran(world).counts["consent_evidence"] == 1, "the yes holds no more; the no is of today"
    world.pass_time(days=40)
    assert ran(world).counts["consent_evidence"] == 1, "and now the no is old, too; what was said stands"
    assert count(world, t.consent_event, t.consent_event.c.customer_id == people[0]) == 5


def test_it_goes_on_where_it_was_stopped(world):
    happened(world)
    first = ran(world, budget_seconds=0)
    assert (first.finished, sum(first.counts.values())) == (False, 0)
    calls = iter(range(100))
    part = ran(world, batch=2, stop=lambda: next(calls) >= 2)
    assert not part.finished
    assert part.counts["decision_details"] == 4
    rest = ran(world, batch=2)
    assert rest.finished
    assert rest.counts["decision_details"] == 2
    assert rest.counts["events"] == 3
    assert sum(ran(world).counts.values()) == 0


def test_a_dry_run_counts_the_same_and_changes_nothing(world):
    happened(world)
    counted = ran(world, dry_run=True)
    assert counted.counts == ran(world, dry_run=True).counts
    assert ran(world).counts == counted.counts
    assert set(ran(world, dry_run=True).counts.values()) == {0}


def test_nothing_goes_that_is_not_named(world):
    happened(world, POLICIES)
    before = {table.name: count(world, table) for table in t.metadata.sorted_tables}
    assert ran(world).counts == {}
    assert {table.name: count(world, table) for table in t.metadata.sorted_tables} == before


def test_an_uncertain_message_keeps_its_number_at_the_provider(world):
    happened(world)
    with world.store.write() as conn:
        conn.execute(t.message.update().where(t.message.c.id == 1).values(state="uncertain"))
    ran(world)
    assert world.rows(sa.select(t.message).where(t.message.c.id == 1))[0].provider_id


def test_every_kind_that_may_be_named_is_known():
    import dataclasses

    from orchestrator.policies import Retention

    assert {f.name for f in dataclasses.fields(Retention)} == set(retention.KINDS)
