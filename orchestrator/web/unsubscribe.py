"""GET and POST /u/TOKEN and /o/TOKEN: no more of a topic, or of everything, without a login, a cookie or a question.

/u/ stands in the text of a message, /o/ in its List-Unsubscribe header. The header's is kept by machines of others: it
shows no way to the preference centre, where more can be read.

A mailbox provider's machine posts here by itself (RFC 8058): with `List-Unsubscribe=One-Click` as a form of either
kind. The RFC's own example of one has a boundary that does not fit its body (errata 5117 and 8927), and there are
senders that copied it. So whatever is posted to a link that we made is a no: the form is read for one thing alone,
whether everything was meant. A GET changes nothing: scanners follow every link of a message before its reader does.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from orchestrator import consenting
from orchestrator.store.keys import UNSUBSCRIBE
from orchestrator.web.links import Followed, evidence, follow, shown, written
from orchestrator.web.pages import Body, Fields, Form, Pages, Said
from orchestrator.web.words import Table

TEXTS: Table = {
    "title": ("Unsubscribe", "Abmelden"),
    "now": (
        "You get “{topic}” from {house} by {medium}.",
        "Sie bekommen „{topic}“ von {house} per {medium}.",
    ),
    "now.to": (
        "You get “{topic}” from {house} by {medium}, to {address}.",
        "Sie bekommen „{topic}“ von {house} per {medium}, an {address}.",
    ),
    "one": ("Unsubscribe from “{topic}”", "Von „{topic}“ abmelden"),
    "transactional": (
        "This is no advertising but a message about something between you and us. If you object to it, you will not be "
        "told of such things by {medium} any more, even where they matter to you.",
        "Das ist keine Werbung, sondern betrifft etwas zwischen Ihnen und uns. Wenn Sie widersprechen, erfahren Sie "
        "von solchen Dingen nicht mehr per {medium}, auch wenn sie für Sie wichtig sind.",
    ),
    "object": ("Object to “{topic}”", "„{topic}“ widersprechen"),
    "all.title": ("No advertising at all?", "Gar keine Werbung mehr?"),
    "all.what": (
        "Then {house} will not advertise to you any more: not by e-mail, text message, push message or letter. "
        "Messages about your orders and contracts still reach you.",
        "Dann bekommen Sie von {house} keine Werbung mehr: nicht per E-Mail, SMS, Push-Nachricht oder Brief. "
        "Nachrichten zu Ihren Bestellungen und Verträgen erreichen Sie weiterhin.",
    ),
    "all": ("Stop all advertising", "Keine Werbung mehr"),
    "choose": (
        "Or choose topic by topic what you want to hear about",
        "Oder wählen Sie Thema für Thema, was Sie lesen möchten",
    ),
    "done.title": ("You are unsubscribed", "Sie sind abgemeldet"),
    "done.one": (
        "You will get no more “{topic}” from {house} by {medium}. What has left our house already may still arrive.",
        "Sie bekommen von {house} kein „{topic}“ mehr per {medium}. Was schon unterwegs ist, kann noch ankommen.",
    ),
    "done.all": (
        "{house} will not advertise to you any more. What has left our house already may still arrive.",
        "{house} schickt Ihnen keine Werbung mehr. Was schon unterwegs ist, kann noch ankommen.",
    ),
    "done.again": (
        "Changed your mind? Choose what you want to hear about",
        "Anders überlegt? Wählen Sie, was Sie lesen möchten",
    ),
}
ONE_CLICK = "o"
"""The page of the List-Unsubscribe header."""


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    for page in (UNSUBSCRIBE, ONE_CLICK):
        _serve(router, pages, page)
    return router


def _serve(router: APIRouter, pages: Pages, page: str) -> None:
    @router.api_route(f"/{page}/{{token}}", methods=["GET", "HEAD"])
    def ask(request: Request, token: str) -> HTMLResponse:
        found = follow(pages, request, token, page)
        if isinstance(found, HTMLResponse):
            return found
        return _page(pages, request, found, page)

    @router.post(f"/{page}/{{token}}")
    def leave(request: Request, token: str, form: Form, body: Body) -> HTMLResponse:
        found = follow(pages, request, token, page)
        if isinstance(found, HTMLResponse):
            return found
        everything = form.one("everything") == "yes"
        _record(pages, request, found, page, everything, _machine(form, body))
        return _page(pages, request, found, page, done="done.all" if everything else "done.one")


def _machine(form: Fields, body: bytes) -> bool:
    """Whether a mailbox provider says it for its user: the words of RFC 8058 in whatever they are wrapped in."""
    return form.one("List-Unsubscribe") == "One-Click" or (b"List-Unsubscribe" in body and b"One-Click" in body)


def _record(pages: Pages, request: Request, found: Followed, page: str, everything: bool, machine: bool) -> None:
    wired, link = pages.wired, found.message
    said, named = _words(pages, request, found)
    button = "all" if everything else "object" if link.purpose == "transactional" else "one"
    words = "" if machine else shown(said, "now.to" if found.address else "now", button, **{**named, "address": "…"})
    proof = {
        **evidence(pages, request, page, method="one_click" if machine else "unsubscribe_link", wording=words),
        "language": pages.language(request, link.locale),
    }
    now = wired.clock()
    written(
        pages,
        found,
        lambda conn, one: consenting.unsubscribe(conn, wired.keys, one, everything=everything, evidence=proof, now=now),
    )


def _words(pages: Pages, request: Request, found: Followed) -> tuple[Said, dict[str, str]]:
    link = found.message
    said = pages.said(request, TEXTS, locale=link.locale)
    return said, {
        "topic": found.title_of(link.topic, pages.language(request, link.locale))
        or said.plain(f"medium.{link.medium}"),
        "house": pages.house().name,
        "medium": said.plain(f"medium.{link.medium}"),
        "address": found.address,
    }


def _page(pages: Pages, request: Request, found: Followed, page: str, *, done: str = "") -> HTMLResponse:
    link = found.message
    _, named = _words(pages, request, found)
    token = pages.wired.keys.link_token(link.message_id, "p")
    return pages.show(
        request,
        "unsubscribe.html",
        TEXTS,
        locale=link.locale,
        done=done,
        named=named,
        transactional=link.purpose == "transactional",
        preferences=f"{pages.base}/p/{token}" if page == UNSUBSCRIBE else "",
    )
