"""GET and POST /c/TOKEN: the second yes of a double opt-in.

A GET shows what is asked and changes nothing: scanners follow every link of a message, and a machine's visit is no
consent. The yes is the button; what stood beside it is kept with it.
"""

from __future__ import annotations

from datetime import timedelta

from babel.dates import format_date
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from orchestrator import consenting
from orchestrator.consenting import Question
from orchestrator.store.links import confirmed_of, is_still_theirs
from orchestrator.web.links import NOBODY, Followed, evidence, follow, shown, written
from orchestrator.web.pages import Pages, Said
from orchestrator.web.words import Table

PAGE = "c"
TEXTS: Table = {
    "title": ("Please confirm", "Bitte bestätigen"),
    "asked": (
        "You, or somebody who entered your address {address}, asked to hear from {house} by {medium} about:",
        "Sie, oder jemand, der Ihre Adresse {address} eingegeben hat, möchten von {house} per {medium} hören über:",
    ),
    "agree": (
        "By confirming you agree that {house} writes to you about this by {medium}. You can take that back at any "
        "time, with the link in every message.",
        "Mit der Bestätigung willigen Sie ein, dass {house} Ihnen dazu per {medium} schreibt. Das können Sie jederzeit "
        "widerrufen, mit dem Link in jeder Nachricht.",
    ),
    "yes": ("Yes, I confirm", "Ja, ich bestätige"),
    "no": (
        "You did not ask for this? Then close this page: without a confirmation you will not hear from us.",
        "Sie wollten das nicht? Dann schließen Sie diese Seite: Ohne Bestätigung hören Sie nichts von uns.",
    ),
    "done.title": ("Thank you, it is confirmed", "Danke, es ist bestätigt"),
    "done": (
        "From now on you hear from {house} by {medium} about:",
        "Sie hören ab jetzt von {house} per {medium} über:",
    ),
    "done.later": (
        "Every message has a link to unsubscribe with.",
        "Jede Nachricht enthält einen Link zum Abmelden.",
    ),
    "over.title": ("This link is too old", "Dieser Link ist zu alt"),
    "over": (
        "It could be used until {day}, and does nothing any more.",
        "Er galt bis {day} und bewirkt nichts mehr.",
    ),
    "over.do": ("If you still want to, sign up once more.", "Wenn Sie noch möchten, melden Sie sich noch einmal an."),
    "moved.title": ("This link does nothing any more", "Dieser Link bewirkt nichts mehr"),
    "moved": (
        "It went to an address that has been replaced by another one since.",
        "Er ging an eine Adresse, die inzwischen durch eine andere ersetzt wurde.",
    ),
    "moved.do": (
        "If you still want to, sign up once more with the address that you use now.",
        "Wenn Sie noch möchten, melden Sie sich noch einmal an, mit der Adresse, die Sie jetzt benutzen.",
    ),
    "withdrawn.title": ("You have unsubscribed since", "Sie haben sich inzwischen abgemeldet"),
    "withdrawn": (
        "You had confirmed this, and later said no. The no holds: you will not hear from us about it.",
        "Sie hatten das bestätigt und sich später abgemeldet. Dabei bleibt es: Sie hören dazu nichts von uns.",
    ),
    "withdrawn.do": ("If you want to after all, sign up once more.", "Wenn Sie doch möchten, melden Sie sich neu an."),
}
_WEEK = timedelta(days=7)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.api_route("/c/{token}", methods=["GET", "HEAD"])
    def ask(request: Request, token: str) -> HTMLResponse:
        found = _asked(pages, request, token)
        if isinstance(found, HTMLResponse):
            return found
        return _page(pages, request, *found, "ask")

    @router.post("/c/{token}")
    def confirm(request: Request, token: str) -> HTMLResponse:
        found = _asked(pages, request, token)
        if isinstance(found, HTMLResponse):
            return found
        return _page(pages, request, *found, _record(pages, request, *found))

    return router


def _asked(pages: Pages, request: Request, token: str) -> tuple[Followed, Question] | HTMLResponse:
    """The link and what it asks; a page instead where it asks nothing any more."""
    found = follow(pages, request, token, PAGE)
    if isinstance(found, HTMLResponse):
        return found
    policy = found.force.project.vocabulary.policies.double_opt_in if found.force is not None else None
    question = consenting.question(found.message, policy.within if policy is not None else _WEEK)
    if question is None:
        return pages.show(request, "nobody.html", NOBODY, locale=found.message.locale)
    link, now = found.message, pages.wired.clock()
    with pages.wired.store.read() as conn:
        theirs = is_still_theirs(conn, pages.wired.keys, link)
        confirmed = confirmed_of(conn, link.customer_id, question.medium, question.requests, now)
    if not theirs:  # the yes of an old mailbox says nothing about the new one
        return _page(pages, request, found, question, "moved")
    if confirmed == question.requests.keys():
        return _page(pages, request, found, question, "done")
    if now >= question.until:
        return _page(pages, request, found, question, "over")
    return found, question


def _record(pages: Pages, request: Request, found: Followed, question: Question) -> str:
    """Write the yes down; which page tells what holds then."""
    wired, link = pages.wired, found.message
    said, named, titles = _words(pages, request, found, question)
    words = "\n".join(
        [shown(said, "asked", **{**named, "address": "…"}), *titles, shown(said, "agree", "yes", **named)]
    )
    proof = {
        **evidence(pages, request, PAGE, method="double_opt_in", wording=words),
        "language": pages.language(request, link.locale),
    }
    now = wired.clock()
    states = written(
        pages,
        found,
        lambda conn, one: consenting.confirm(conn, wired.keys, one, question, evidence=proof, now=now),
    )
    return "done" if "granted" in states.values() else "withdrawn"


def _words(
    pages: Pages, request: Request, found: Followed, question: Question
) -> tuple[Said, dict[str, str], list[str]]:
    language = pages.language(request, found.message.locale)
    said = pages.said(request, TEXTS, locale=found.message.locale)
    named = {
        "house": pages.house().name,
        "medium": said.plain(f"medium.{question.medium}"),
        "address": found.address,
        "day": format_date(question.until.date(), "long", language),
    }
    return said, named, [found.title_of(topic, language) for topic in question.requests]


def _page(pages: Pages, request: Request, found: Followed, question: Question, state: str) -> HTMLResponse:
    _, named, titles = _words(pages, request, found, question)
    return pages.show(
        request, "confirm.html", TEXTS, locale=found.message.locale, state=state, named=named, titles=titles
    )
