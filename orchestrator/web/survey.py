"""GET and POST /s/TOKEN/NAME: some short questions. Nothing is recorded but by the button.

`?score=9` marks an answer to the first question of numbers, as the figures in an e-mail link to it; only the button
records it, for scanners of mail follow every figure before the reader does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from orchestrator import answering
from orchestrator.apply import Force
from orchestrator.centre import spoken
from orchestrator.model import Survey
from orchestrator.store.links import Linked
from orchestrator.web.links import Followed, follow, written
from orchestrator.web.pages import Form, Pages
from orchestrator.web.words import Table

TEXTS: Final[Table] = {
    "anonymous": (
        "Your answers are anonymous: they are kept apart from you, with the day and nothing else.",
        "Ihre Antworten sind anonym: Sie werden getrennt von Ihnen aufbewahrt, mit dem Tag und sonst nichts.",
    ),
    "named": (
        "We keep your answers together with what we know of you.",
        "Wir speichern Ihre Antworten zusammen mit dem, was wir von Ihnen wissen.",
    ),
    "needed": ("(needed)", "(Pflichtangabe)"),
    "least": ("Not at all likely", "Sehr unwahrscheinlich"),
    "most": ("Extremely likely", "Sehr wahrscheinlich"),
    "send": ("Send", "Absenden"),
    "wrong": (
        "Nothing was sent yet. Please look at the marked questions.",
        "Es wurde noch nichts gesendet. Bitte prüfen Sie die markierten Fragen.",
    ),
    "wrong.needed": ("Please answer this question.", "Bitte beantworten Sie diese Frage."),
    "wrong.long": ("Please write at most 2,000 characters.", "Bitte schreiben Sie höchstens 2.000 Zeichen."),
    "thanks": ("Thank you", "Vielen Dank"),
    "stored": ("Your answers have arrived.", "Ihre Antworten sind angekommen."),
    "known": (
        "You have answered already; your first answers count.",
        "Sie haben schon geantwortet; Ihre ersten Antworten zählen.",
    ),
    "closed": ("This survey is over", "Diese Umfrage ist beendet"),
    "closed.what": (
        "Answers were taken until {day}. Thank you for wanting to help.",
        "Antworten waren bis {day} möglich. Danke, dass Sie helfen wollten.",
    ),
}


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.api_route("/s/{token}/{name}", methods=["GET", "HEAD"])
    def ask(request: Request, token: str, name: str) -> HTMLResponse:
        found = _follow(pages, request, token, name)
        if isinstance(found, HTMLResponse):
            return found
        first = next((q for q in found.survey.questions if q.kind in ("nps", "scale")), None)
        score = request.query_params.get("score", "")
        return _page(pages, request, found, {first.name: score} if first is not None else {})

    @router.post("/s/{token}/{name}")
    def take(request: Request, token: str, name: str, form: Form) -> Response:
        found = _follow(pages, request, token, name)
        if isinstance(found, HTMLResponse):
            return found
        said = {question.name: form.one(question.name) for question in found.survey.questions}
        read = answering.read(found.survey, said)
        if read.wrong:
            return _page(pages, request, found, said, read.wrong)
        zone, now = found.force.project.vocabulary.timezone, pages.wired.clock()

        def answer(conn: sa.Connection, one: Linked) -> bool:
            return answering.answer(conn, found.survey, one, read.answers, zone, now)

        if found.survey.anonymous:
            # Her row is not held: PostgreSQL would write the transaction's number on it that the answer has, too.
            new = pages.wired.store.written(lambda conn: answer(conn, found.link.message))
        else:
            new = written(pages, found.link, answer)
        return _show(pages, request, found, done="stored" if new else "known")

    return router


@dataclass(frozen=True, slots=True)
class _Found:
    link: Followed
    force: Force
    survey: Survey
    language: str

    def words(self, texts: Mapping[str, str]) -> str:
        return spoken(texts, self.language, self.force.project.vocabulary.locale)


def _follow(pages: Pages, request: Request, token: str, name: str) -> _Found | HTMLResponse:
    link = follow(pages, request, token, "s")
    if isinstance(link, HTMLResponse):
        return link
    if link.force is None:
        return pages.sorry(request, 503, link.message.locale)
    survey = link.force.project.vocabulary.surveys.get(name)
    if survey is None:
        return pages.missed(request)
    found = _Found(link, link.force, survey, pages.language(request, link.message.locale))
    zone = link.force.project.vocabulary.timezone
    if answering.is_closed(survey, zone, pages.wired.clock()):
        return _show(pages, request, found, status=410, closed=_day(survey, found.language))
    return found


def _day(survey: Survey, language: str) -> str:
    from babel.dates import format_date

    return format_date(survey.closes, "long", language)


@dataclass(frozen=True, slots=True)
class _Line:
    """One question as the page asks it. `options`: (value, words); `wrong`: a key of the words, or ""."""

    name: str
    kind: str
    ask: str
    options: tuple[tuple[str, str], ...]
    value: str
    needed: bool
    wrong: str


def _page(
    pages: Pages,
    request: Request,
    found: _Found,
    said: Mapping[str, str],
    wrong: Mapping[str, str] = {},
) -> HTMLResponse:
    lines = []
    for q in found.survey.questions:
        numbers = tuple((str(n), str(n)) for n in range(q.low, q.high + 1)) if q.kind in ("nps", "scale") else ()
        options = numbers or tuple((value, found.words(texts) or value) for value, texts in q.choices.items())
        lines.append(
            _Line(q.name, q.kind, found.words(q.ask), options, said.get(q.name, ""), q.needed, wrong.get(q.name, ""))
        )
    return _show(pages, request, found, lines=lines, status=422 if wrong else 200)


def _show(
    pages: Pages,
    request: Request,
    found: _Found,
    *,
    lines: list[_Line] | None = None,
    done: str = "",
    closed: str = "",
    status: int = 200,
) -> HTMLResponse:
    return pages.show(
        request,
        "survey.html",
        TEXTS,
        locale=found.link.message.locale,
        status=status,
        heading=found.words(found.survey.title),
        anonymous=found.survey.anonymous,
        lines=lines or [],
        done=done,
        thanks=found.words(found.survey.thanks),
        closed=closed,
    )
