"""Asking and being told: the survey step, complaints that somebody takes up, and the trend of what people say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, audit, email, files, journey, world_of

SURVEYS = """
surveys:
  nps: { title: How did we do?, questions: { likely: { kind: nps, ask: Likely? } } }
  secret: { title: Between us, anonymous: yes, questions: { mood: { kind: scale, ask: How are you? } } }
"""
ASKING = """
- survey: nps
- wait_for:
    event: survey_answered
    where: survey == "nps" and likely <= 6
    timeout: 7 days
    then: [ { email: second } ]
"""

LINK = '<a href="{{ links.survey("nps") }}">Answer</a>'


def asking(steps: str = ASKING, text: str = LINK, **more: str) -> dict[str, str]:
    names = {"ask": journey("ask", steps, more="reentry: always"), **more}
    found = files(names, POLICIES) | {"templates/email/survey-nps.mjml": email("A question", text)}
    return {**found, "journeys/workspace.yaml": found["journeys/workspace.yaml"] + SURVEYS}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def codes(texts: dict[str, str]) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        load_files(texts)
    return [problem.code for problem in caught.value.problems]


# ---- the step -------------------------------------------------------------------------------------------------------


def test_a_survey_is_asked_answered_and_not_asked_again(world: World) -> None:
    world.apply(asking())
    [ann] = world.people(1)
    world.event([ann])
    world.tick()
    [first] = world.messages()
    assert (first.template, first.step, first.state) == ("survey-nps", "survey:nps", "sent")
    [asked] = world.rows(sa.select(t.event).where(t.event.c.type == "survey_asked"))
    assert asked.customer_id == ann and asked.properties == {"survey": "nps"}
    world.pass_time(days=1)
    world.event([ann], "survey_answered", survey="nps", likely=3)
    world.event([ann])
    world.tick()
    assert [m.template for m in world.messages()] == ["survey-nps", "second"], "an answer ends the wait; asked once"
    world.pass_time(days=91)
    world.event([ann])
    world.tick()
    assert [m.template for m in world.messages()].count("survey-nps") == 2


def test_who_could_not_be_asked_was_not(world: World) -> None:
    world.apply(asking())
    [ann] = world.people(1, consents=None)
    world.event([ann])
    world.tick()
    assert world.states() == {"denied": 1}
    assert not world.rows(sa.select(t.event).where(t.event.c.type == "survey_asked"))


@pytest.mark.parametrize(
    ("steps", "text", "code"),
    [
        ("- survey: npss", "x", "unknown-survey"),
        ("- survey: nps", "No link here.", "survey-without-link"),
        ("- survey: nps", '<a href="{{ links.survey("secret") }}">Answer</a>', "survey-without-link"),
        ("- { survey: nps, text: nothing }", "x", "unknown-template"),
        (
            "- first_of: [ { email: hello }, { survey: nps } ]\n  within: 1 day",
            '{{ links.survey("nps") }}',
            "misplaced-step",
        ),
    ],
)
def test_what_cannot_be_asked(steps: str, text: str, code: str) -> None:
    assert codes(asking(steps, text)) == [code]


def test_nothing_can_be_given_for_an_anonymous_answer() -> None:
    texts = asking('- wait_for: { event: survey_answered, where: survey == "secret", timeout: 1 day }')
    with pytest.raises(ProjectError) as caught:
        load_files(texts)
    [problem] = caught.value.problems
    assert problem.code == "unknown-choice" and "it is anonymous" in (problem.hint or "")
