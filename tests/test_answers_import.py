"""`import answers`: what came by phone, fax or mail, once each; and nobody's answers, which stay nobody's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.importing import ImportReport, import_file, import_rows
from orchestrator.store import tables as t
from tests.outgoing import NOON, World, journey, world_of
from tests.test_listening import asking

WORKSPACE = """
surveys:
  nps:
    title: How did we do?
    questions:
      likely: { kind: nps, ask: Likely?, needed: yes }
      shop: { kind: choice, ask: Where?, choices: { store: In a shop, web: On the web } }
      why: { kind: text, ask: Why? }
  secret: { title: Between us, anonymous: yes, questions: { mood: { kind: scale, ask: How are you? } } }
"""


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    texts = asking()
    before, _, _ = texts["journeys/workspace.yaml"].partition("\nsurveys:")
    steps = '- wait_for: { event: survey_answered, where: survey == "nps", timeout: 7 days }\n- email: second'
    made.apply({**texts, "journeys/workspace.yaml": before + WORKSPACE, "journeys/ask.yaml": journey("ask", steps)})
    yield made
    made.store.close()


def vocabulary(world: World) -> Any:
    from orchestrator.apply import in_force

    with world.store.read() as conn:
        force = in_force(conn)
    assert force is not None
    return force.project.vocabulary


def take_in(world: World, *rows: dict[str, Any]) -> ImportReport:
    return import_rows(world.store, world.keys, vocabulary(world), "answers", rows, now=world.now)


def test_an_answer_by_phone_is_an_event_and_ends_a_wait(world: World) -> None:
    [ann] = world.people(1)
    world.event([ann])
    world.tick()
    row = {"survey": "nps", "customer": "c1", "source": "phone", "answer_id": "call-7", "at": "2027-02-28T10:00Z"}
    row |= {"likely": "3", "shop": "web", "why": "Too slow"}
    assert take_in(world, row).inserted == 1
    assert take_in(world, row | {"likely": 9}).unchanged == 1, "the same call is the same answer"
    [event] = world.rows(sa.select(t.event).where(t.event.c.type == "survey_answered"))
    assert event.customer_id == ann and event.properties == {
        "survey": "nps", "score": 3, "likely": 3, "shop": "web", "why": "Too slow", "source": "phone",
    }  # fmt: skip
    assert "call-7" not in event.key


def test_without_a_number_the_content_is_the_key(world: World) -> None:
    world.people(1)
    row = {"survey": "nps", "customer": "c1", "source": "fax", "at": "2027-02-28T10:00Z", "likely": 9.0}
    assert (take_in(world, row).inserted, take_in(world, row).unchanged) == (1, 1)
    assert take_in(world, row | {"at": "2027-02-28T11:00Z"}).inserted == 1


BAD = [
    ({"likely": "11"}, "likely is no answer to the question: 0 to 10"),
    ({"likely": ""}, "likely is missing"),
    ({"shop": "kiosk"}, "shop is no answer to the question: store, web"),
    ({"mood": "3"}, "mood is no question of `nps`"),
    ({"customer": ""}, "customer is missing: `nps` is not anonymous"),
    ({"customer": "nobody"}, "this customer is not known; import the customers first"),
    ({"source": "pigeon"}, "source `pigeon` is not a source"),
    ({"survey": "npss"}, "is not a declared survey"),
    ({"answer_id": ""}, "answer_id or at is missing"),
    ({"at": "2031-01-01T00:00Z"}, "at is in the future"),
    ({"survey": "secret", "likely": "", "mood": "3"}, "`secret` is anonymous: leave the customer out"),
    ({"survey": "secret", "likely": "", "mood": "3", "customer": "", "answer_id": "", "at": "2027-02-28"},
     "answer_id is missing: nothing else tells"),
]  # fmt: skip


def test_bad_rows_are_put_aside(world: World) -> None:
    world.people(1)
    good = {"survey": "nps", "customer": "c1", "source": "mail", "answer_id": "f1", "likely": "9"}
    found = take_in(world, *(good | change for change, _ in BAD))
    assert (found.inserted, found.quarantined) == (0, len(BAD))
    for refused, (change, problem) in zip(found.refused, BAD, strict=True):
        assert problem in refused.problem
        assert bool(refused.row) is not ("customer" not in change and change.get("survey") == "secret"), "not kept"
    assert not world.rows(sa.select(t.event)) and not world.rows(sa.select(t.survey_answer))


def test_nobodys_answers_stay_nobodys(world: World, tmp_path: Path) -> None:
    world.people(2)
    rows = [{"survey": "secret", "source": "mail", "answer_id": f"form-{n}", "mood": n} for n in (5, 1, 5, 3)]
    assert take_in(world, *rows).inserted == 3 and take_in(world, *rows).unchanged == 4
    found = world.rows(sa.select(t.survey_answer).order_by(t.survey_answer.c.id))
    assert sorted(r.answers["mood"] for r in found) == [1, 3, 5] and {r.day for r in found} == {NOON.date()}
    assert not world.rows(sa.select(t.event)), "no event tells"
    file = tmp_path / "forms.csv"
    file.write_text("survey,source,answer_id,customer,mood\nsecret,fax,form-9,c1,2\nsecret,fax,form-8,,4\n")
    done = import_file(world.store, world.keys, vocabulary(world), "answers", file, now=world.now)
    assert (done.inserted, done.quarantined) == (1, 1) and done.quarantine_file is not None
    assert "c1" not in done.quarantine_file.read_text() and "form-9" not in done.quarantine_file.read_text()
    everything = repr([world.rows(sa.select(table)) for table in t.metadata.sorted_tables])
    assert "form-" not in everything, "no form's number, by which somebody with the paper could look"
    assert date(2027, 3, 1) in {r.day for r in world.rows(sa.select(t.survey_answer))}
