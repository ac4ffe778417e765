"""GET /r/TOKEN/KEY: a counted link. It leads to what the house wrote into the text, and notes that it was followed.

Never an open redirect: what it leads to is looked up (`store.links`), and nothing in the address says it. A click is a
person's: what fetches ahead of its reader, or for a preview, says so in a header or by its name, and is led there
without a word. A mailbox's scanner that hides behind a browser's name cannot be told from who follows a link.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from channels.base import Event, EventKind
from orchestrator.ingest import receive
from orchestrator.store import links
from orchestrator.store.keys import FOLLOWED, Attempt
from orchestrator.web.pages import Pages

ONE: Final = timedelta(minutes=1)
"""The same link followed again within it is one click: a finger that taps twice, a page loaded anew."""
_AHEAD = ("purpose", "sec-purpose", "x-purpose", "x-moz")
"""Headers of a browser that fetches what nobody has asked for yet: `prefetch`, `prefetch;prerender`, `preview`."""
_PROGRAMS = re.compile(
    r"bot\b|crawler|spider|preview|facebookexternalhit|whatsapp|slackbot|telegrambot|discordbot|linkedinbot|twitterbot"
    r"|skypeuripreview|googleimageproxy|barracuda|mimecast|proofpoint|curl/|wget/|python-|go-http-client|java/|okhttp/",
    re.IGNORECASE,
)
"""How programs that follow links before, or instead of, people call themselves."""


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.api_route(f"/{FOLLOWED}/{{token}}/{{key}}", methods=["GET", "HEAD"])
    def go(request: Request, token: str, key: str) -> Response:
        wired = pages.wired
        message_id = wired.keys.read_link_token(token, FOLLOWED)
        if message_id is None and pages.keys_rotated():
            message_id = wired.keys.read_link_token(token, FOLLOWED)
        if message_id is None:
            return pages.missed(request)
        with wired.store.read() as conn:
            found = links.target(conn, message_id, key)
        if found is None:
            return pages.missed(request)
        answer = Response(status_code=302, headers={"Location": found.url})
        now = wired.clock()
        # Who follows one link too often is still led there: it may be printed in a newspaper by now.
        if _is_click(request, found, now) and not pages.busy(request, token):
            attempt = str(Attempt(message_id, found.attempts))
            # Behind the answer: nobody waits for what we note, and what goes wrong with it stops nobody.
            answer.background = BackgroundTask(_record, pages, Event(attempt, EventKind.CLICKED, now, url=found.url))
        return answer

    return router


def _is_click(request: Request, found: links.Target, now: datetime) -> bool:
    if request.method != "GET" or not found.attempts:
        return False
    told = " ".join(request.headers.get(name, "") for name in _AHEAD).lower()
    if "prefetch" in told or "preview" in told or "prerender" in told:
        return False
    agent = request.headers.get("user-agent", "")
    if not agent or _PROGRAMS.search(agent):
        return False
    return found.clicked_at is None or not timedelta(0) <= now - found.clicked_at < ONE


def _record(pages: Pages, click: Event) -> None:
    receive(pages.wired.store, pages.wired.keys, [click], now=click.at)
