"""Take in what people answer to a survey: as an event of theirs, or, where it is anonymous, as nobody's answer.

One answer for each link: the first counts. Of an anonymous survey not even that is known, for a mark that a link was
used would stand beside the answer, in time and in the database's files, and could lead back from one to the other.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.cells import text as free_text
from orchestrator.centre import ANSWERED
from orchestrator.ingest import record_events
from orchestrator.model import Json, Question, Survey, Vocabulary
from orchestrator.rows import ReadRow, fingerprint
from orchestrator.store import people
from orchestrator.store.keys import Keys
from orchestrator.store.links import Linked
from orchestrator.store.preferences import add_answer, add_answers
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
    row = {
        "type": ANSWERED,
        "key": f"survey:{survey.name}:{link.message_id}",
        "customer_id": link.customer_id,
        "account_id": None,
        "occurred_at": now,
        "properties": told(survey, answers),
    }
    return record_events(conn, [row], now=now) == 1


def told(survey: Survey, answers: Json) -> Json:
    """What the event of an answer says: the survey, the first number given, each answer."""
    score = next((answers[q.name] for q in survey.questions if q.kind in ("nps", "scale") and q.name in answers), None)
    return {"survey": survey.name, **({} if score is None else {"score": score}), **answers}


# ---- what came by phone, fax or mail --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TakenIn:
    """`event_ids`: of answers with a name that were new; `nobodys`: how many anonymous ones were. `wrong`: by place in
    the rows; `secret`: the places of those that name a person where nobody may."""

    event_ids: Sequence[int]
    nobodys: int
    wrong: Mapping[int, str]
    secret: frozenset[int]


def take_in(
    conn: sa.Connection,
    keys: Keys,
    vocabulary: Vocabulary,
    rows: Sequence[ReadRow],
    customers: Mapping[str, people.Person],
    now: datetime,
) -> TakenIn:
    """Store answers that somebody typed in; the same `answer_id` again, or the same content, is the same answer. One to
    an anonymous survey is kept under a keyed hash of its number: it names nobody, and adds nothing a second time."""
    wrong: dict[int, str] = {}
    secret: set[int] = set()
    events: list[Json] = []
    nobodys = {}
    for place, row in enumerate(rows):
        survey, at, whose = vocabulary.surveys[row.values["survey"]], row.values["at"], row.refs.get("customer")
        given = {name: value for name, value in row.members.items() if value}
        understood = read(survey, given)
        problem = _strange(survey, given, understood) or _whose(survey, row.key, whose, customers)
        if problem:
            wrong[place] = problem
            if survey.anonymous and whose:
                secret.add(place)
        elif survey.anonymous:
            number = int(keys.hash("answer", f"{survey.name}:{row.key}")[:15], 16) + 1
            day = (local(at, vocabulary.timezone) or at).date()
            nobodys[number] = (survey.name, day, understood.answers)
        else:
            number_ = row.key or fingerprint("answer", whose, None, at, {"survey": survey.name, **given})
            events.append(
                {
                    "type": ANSWERED,
                    "key": f"answer:{keys.hash('answer', f'{survey.name}:{number_}')}",
                    "customer_id": customers[whose or ""].id,
                    "account_id": None,
                    "occurred_at": at,
                    "received_at": now,
                    "properties": told(survey, understood.answers) | {"source": row.values["source"]},
                }
            )
    ids = people.add_events(conn, events) if events else []
    return TakenIn(ids, add_answers(conn, nobodys) if nobodys else 0, wrong, frozenset(secret))


def _strange(survey: Survey, given: Mapping[str, str], understood: Read) -> str:
    """What is wrong with answers that somebody typed in; "" where nothing is. It quotes none of them."""
    questions = {question.name: question for question in survey.questions}
    found = [f"{name} is no question of `{survey.name}`" for name in given if name not in questions]
    for name, question in questions.items():
        if name in given and name not in understood.answers:
            said = {"long": f"is longer than {LONGEST:,} characters"}.get(understood.wrong.get(name, ""))
            among = f"{question.low} to {question.high}" if question.high else ", ".join(question.choices)
            found.append(f"{name} {said or f'is no answer to the question: {among}'}")
        elif name in understood.wrong:
            found.append(f"{name} is missing")
    return "; ".join(found)


def _whose(survey: Survey, number: str, whose: str | None, customers: Mapping[str, people.Person]) -> str:
    if survey.anonymous:
        if whose:
            return f"`{survey.name}` is anonymous: leave the customer out"
        return "" if number else "answer_id is missing: nothing else tells one anonymous answer from another"
    if not whose:
        return f"customer is missing: `{survey.name}` is not anonymous"
    return "" if whose in customers else "this customer is not known; import the customers first"
