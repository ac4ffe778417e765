"""POST /hooks/MEDIUM: what providers report. The channel checks the signature on the raw bytes; `ingest` does the rest.

2xx only when what was reported is written. What is wrong with us is 503, so that the provider tries again: a 4xx would
make some of them drop the report at once. A request that the channel calls forged gets 403 and no word more.
"""

from __future__ import annotations

import logging

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from channels.base import ChannelError, Forged, Inbound, Medium
from orchestrator.ingest import receive
from orchestrator.problems import Conflict, ProjectError
from orchestrator.store import StoreUnavailable
from orchestrator.web.pages import Body, Pages

LOG = logging.getLogger("orchestrator.web")
# Twilio reads the answer to a text as what to say back (2026-11): said with nothing in it, nothing is sent.
_SILENT = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.post("/hooks/{medium}")
    @router.post("/hooks/{medium}/{rest:path}")
    def hook(request: Request, medium: str, body: Body, rest: str = "") -> Response:
        try:
            chosen = Medium(medium)
        except ValueError:
            return pages.missed(request)
        return _taken(pages, request, chosen, body)

    return router


def _taken(pages: Pages, request: Request, medium: Medium, body: bytes) -> Response:
    wired = pages.wired
    inbound = Inbound(body, dict(request.headers), public_url(pages, request))
    try:
        events = wired.channels[medium].events(inbound)
    except Forged:
        LOG.warning("a request to /hooks/%s does not bear its provider's signature", medium)
        return Response(status_code=403)
    except (ChannelError, ProjectError) as error:
        LOG.error("reports about %s cannot be read: %s: %s", medium, type(error).__name__, error)
        return Response(status_code=503)
    try:
        receive(wired.store, wired.keys, events, now=wired.clock())
    except (StoreUnavailable, Conflict) as error:
        LOG.error("reports about %s could not be written: %s", medium, type(error).__name__)
        return Response(status_code=503)
    if medium is Medium.SMS:
        return Response(_SILENT, media_type="text/xml")
    return Response(status_code=204)


def public_url(pages: Pages, request: Request) -> str:
    """The address as the provider called it, of which it made its signature: from the settings. What a proxy made of
    it, and what a Host header claims, is not asked."""
    scope = request.scope
    path = scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0] or scope["path"]
    query = scope.get("query_string", b"").decode("ascii", "replace")
    return f"{pages.wired.settings.web.public_url.rstrip('/')}{path}{'?' + query if query else ''}"
