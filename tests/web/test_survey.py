"""Surveys: what a link shows, what the button records, and that an anonymous answer leads back to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.retain import retain
from orchestrator.store import tables as t
from orchestrator.store.preferences import answers_to
from tests.outgoing import POLICIES, World, journey, world_of
from tests.web.choosing_world import page, texts, written_to
from tests.web.site import Asked

NPS, SECRET = "nps", "secret"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    made.apply(texts())
    yield made
    made.store.close()


def answered(world: World) -> list[tuple[Any, ...]]:
    e = t.event.c
    rows = world.rows(sa.select(e.customer_id, e.properties).where(e.type == "survey_answered").order_by(e.id))
    return [tuple(row) for row in rows]


def test_a_text_links_to_it_and_the_figure_marks_only(world: World) -> None:
    [customer_id] = world.people(1)
    world.event([customer_id], "bought")
    world.tick()
    [message] = world.messages()
    address = f"{page(world, message.id, 's')}/nps?score=9"
    assert f"https://small.example{address}" in world.opened(world.outbox()[0]).replace("=\n", "").replace("=3D", "=")
    asked = Asked(world)
    found = asked.get(address)
    assert 'name="recommend" value="9" checked' in found.text and found.text.count(" checked") == 1
    assert answered(world) == [], "scanners follow every link"
    assert asked.get(address.replace("=9", "=99")).text.count(" checked") == 0


def test_an_answer_is_an_event_and_the_first_counts(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), f"{page(world, message, 's')}/nps"
    done = asked.post(path, data={"recommend": "6", "bought": "web", "why": " Too\x07 slow ", "junk": "x"})
    assert "Your answers have arrived" in done.text and "We read every answer." in done.text
    assert answered(world) == [
        (customer_id, {"survey": "nps", "score": 6, "recommend": 6, "bought": "web", "why": "Too slow"})
    ]
    again = asked.post(path, data={"recommend": "10"})
    assert "answered already" in again.text and len(answered(world)) == 1
    other = f"{page(world, written_to(world)[1], 's')}/nps"
    asked.post(other, data={"recommend": "0"})
    assert [properties["score"] for _, properties in answered(world)] == [6, 0]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({}, "Please answer"),
        ({"why": "because"}, "Please answer"),
        ({"recommend": "11"}, "Please answer"),
        ({"recommend": "-1"}, "Please answer"),
        ({"recommend": "٣"}, "Please answer"),
        ({"recommend": "3", "why": "x" * 2001}, "2,000"),
    ],
)
def test_what_is_no_answer_is_asked_again(world: World, said: dict[str, str], wrong: str) -> None:
    _, message = written_to(world)
    found = Asked(world).post(f"{page(world, message, 's')}/nps", data=said)
    assert found.status_code == 422 and wrong in found.text and answered(world) == []


def test_a_choice_that_is_none_is_left_out(world: World) -> None:
    _, message = written_to(world)
    Asked(world).post(f"{page(world, message, 's')}/nps", data={"recommend": "3", "bought": "<b>"})
    assert answered(world)[0][1] == {"survey": "nps", "score": 3, "recommend": 3}


def test_an_anonymous_answer_is_nobodys(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), f"{page(world, message, 's')}/secret"
    assert "anonymous" in asked.get(path).text
    before = _everything(world)
    asked.post(path, data={"mood": "2", "more": "Between us"})
    after = _everything(world)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"survey_answer"}, "no event, no mark, no line anywhere else"
    [row] = world.rows(sa.select(t.survey_answer))
    assert (row.survey, row.day, row.answers) == ("secret", date(2027, 3, 1), {"mood": 2, "more": "Between us"})
    assert set(t.survey_answer.c.keys()) == {"id", "survey", "day", "answers"}
    asked.post(path, data={"mood": "5"})
    with world.store.read() as conn:
        assert {a["answers"]["mood"] for a in answers_to(conn, "secret")} == {2, 5}
    assert customer_id


def _everything(world: World) -> dict[str, int]:
    found = {}
    for table in t.metadata.sorted_tables:
        found[table.name] = hash(tuple(sorted(map(repr, world.rows(sa.select(table))))))
    return found


def test_it_closes_by_the_houses_own_clock(world: World) -> None:
    _, message = written_to(world)
    asked, path = Asked(world), f"{page(world, message, 's')}/nps"
    world.now = datetime(2027, 12, 31, 22, 59, tzinfo=UTC)
    assert asked.get(path).status_code == 200
    world.now = datetime(2027, 12, 31, 23, 0, tzinfo=UTC)  # midnight in Berlin
    assert asked.get(path).status_code == asked.post(path, data={"recommend": "9"}).status_code == 410
    assert "31 December 2027" in asked.get(path).text or "December 31, 2027" in asked.get(path).text
    assert answered(world) == []


def test_only_a_surveys_own_link_opens_it(world: World) -> None:
    _, message = written_to(world)
    asked = Asked(world)
    assert asked.get(f"{page(world, message, 's')}/other").status_code == 404
    assert asked.get(f"{page(world, message, 'p')}/nps".replace("/p/", "/s/")).status_code == 404
    assert asked.post(f"/s/v1.m{message}.{'A' * 22}/nps", data={"recommend": "9"}).status_code == 404


def test_a_journey_waits_for_the_answer(world: World) -> None:
    steps = (
        "- email: hello\n"
        "- wait_for:\n"
        "    event: survey_answered\n"
        "    where: survey == nps and score <= 6\n"
        "    timeout: 7 days\n"
        "    then: [ { task: service, message: Call her } ]\n"
    )
    world.apply(texts() | {"journeys/hello.yaml": journey("hello", steps, more="reentry: always")})
    _, message = written_to(world)
    world.pass_time(days=1)
    Asked(world).post(f"{page(world, message, 's')}/nps", data={"recommend": "2"})
    world.tick()
    assert [m.medium for m in world.messages()] == ["email", "task"]


def test_in_german(world: World) -> None:
    _, message = written_to(world, locale="de-AT")
    found = Asked(world).get(f"{page(world, message, 's')}/nps")
    assert (
        '<html lang="de">' in found.text
        and "Würden Sie uns empfehlen?" in found.text
        and "(Pflichtangabe)" in found.text
    )
    assert "Where do you buy?" in found.text, "a question without a translation is in the workspace's language"


def test_answers_grow_old_as_events_do(world: World) -> None:
    policies = POLICIES + "  retention: { events: 30 days }\n"
    world.apply(texts(policies=policies))
    _, message = written_to(world)
    Asked(world).post(f"{page(world, message, 's')}/secret", data={"mood": "2"})
    world.pass_time(days=32)
    retain(world.store, now=world.now)
    assert world.rows(sa.select(t.survey_answer)) == []
