"""Take in what people answer to a survey: as an event of theirs, or, where it is anonymous, as nobody's answer.

One answer for each link: the first counts. Of an anonymous survey not even that is known, for a mark that a link was
used would stand beside the answer, in time and in the database's files, and could lead back from one to the other.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.cells import text as free_text
from orchestrator.centre import ANSWERED
from orchestrator.ingest import record_events
from orchestrator.model import Json, Question, Survey
from orchestrator.store.links import Linked
from orchestrator.store.preferences import add_answer
from orchestrator.zones import local

LONGEST = 2_000
"""Characters of a free answer."""
_IDS = 2**62


@dataclass(frozen=True, slots=True)
class Read:
    """Answers as they were sent: what can be stored of them, and what is wrong, by question: needed, or long."""

    answers: Json
    wrong: Mapping[str, str]


def is_closed(survey: Survey, timezone: str, now: datetime) -> bool:
    """Whether its last day is over, by the workspace's clock."""
    return survey.closes is not None and (local(now, timezone) or now).date() > survey.closes


def read(survey: Survey, said: Mapping[str, str]) -> Read:
    """The answers of a form. What is no answer to a question counts as none."""
    answers: Json = {}
    wrong: dict[str, str] = {}
    for question in survey.questions:
        value = said.get(question.name, "").strip()
        if question.kind == "text" and value:
            try:
                value = free_text(value)
            except ValueError:
                value = "".join(c for c in value if c >= " " or c in "\n\t")
            if len(value) > LONGEST:
                wrong[question.name] = "long"
                continue
        found = _answer(question, value)
        if found is None:
            if question.needed:
                wrong[question.name] = "needed"
        else:
            answers[question.name] = found
    if not answers and not wrong:
        wrong[survey.questions[0].name] = "needed"
    return Read(answers, wrong)


def _answer(question: Question, value: str) -> int | str | None:
    if question.kind in ("nps", "scale"):
        fits = value.isascii() and value.isdecimal() and len(value) < 3 and question.low <= int(value) <= question.high
        return int(value) if fits else None
    if question.kind == "choice":
        return value if value in question.choices else None
    return value or None


def answer(conn: sa.Connection, survey: Survey, link: Linked, answers: Json, timezone: str, now: datetime) -> bool:
    """Store what somebody answered; False where this link has brought an answer before."""
    if survey.anonymous:
        # Neither who, nor by which message, nor when but for the day; the id tells no order.
        add_answer(conn, secrets.randbelow(_IDS) + 1, survey.name, (local(now, timezone) or now).date(), answers)
        return True
    score = next((answers[q.name] for q in survey.questions if q.kind in ("nps", "scale") and q.name in answers), None)
    told = {"survey": survey.name, **({} if score is None else {"score": score}), **answers}
    row = {
        "type": ANSWERED,
        "key": f"survey:{survey.name}:{link.message_id}",
        "customer_id": link.customer_id,
        "account_id": None,
        "occurred_at": now,
        "properties": told,
    }
    return record_events(conn, [row], now=now) == 1
