"""What stands before every page: the size of what is sent, the headers of every answer, and the last word on a fault.

A plain ASGI wrapper around all pages: whatever one raises ends here, told to nobody but the log, and that without
what was asked for (a path carries a link's token).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.store import StoreUnavailable

LOG = logging.getLogger("orchestrator.web")
PAGE_BYTES: Final = 64 * 1024
HOOK_BYTES: Final = 10 * 1024 * 1024
_SIZES: Final = (("/hooks/", HOOK_BYTES), ("/v1/", HOOK_BYTES))

# Nothing from anywhere but here, no script at all, no frame around it; where one came from is nobody's business, for
# the address one came from opens the page.
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}

Sorry = Callable[[Request, int], Awaitable[Response]]
"""The page that tells of a status."""


class TooLarge(Exception):
    """More came than the address takes."""


class Guard:
    """See the module."""

    def __init__(self, app: ASGIApp, sorry: Sorry) -> None:
        self.app = app
        self.sorry = sorry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = next((size for prefix, size in _SIZES if scope["path"].startswith(prefix)), PAGE_BYTES)
        begun, seen = False, 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise TooLarge
            return message

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            announced = Headers(scope=scope).get("content-length", "0")
            if not announced.isdecimal() or int(announced) > limit:
                raise TooLarge
            await self.app(scope, limited, answer)
        except ClientDisconnect:
            return  # whoever asked is gone: there is nobody to answer, and nothing of ours failed
        except Exception as error:
            status = 413 if isinstance(error, TooLarge) else 503 if isinstance(error, StoreUnavailable) else 500
            if status != 413:
                _tell(error)
            if begun:
                return  # half an answer: the server sees that it has no end, and closes the connection
            response = await self.sorry(Request(scope), status)
            if status == 413:  # the rest is not read: the connection ends with the answer
                response.headers["Connection"] = "close"
            await response(scope, receive, answer)


def _tell(error: Exception) -> None:
    """The kind of fault and where it arose; never its text, which may quote what somebody sent."""
    trace, places = error.__traceback__, []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}")
        trace = trace.tb_next
    own = [place for place in places if place.startswith(("orchestrator", "channels"))]
    LOG.error("a page failed: %s at %s", type(error).__name__, " > ".join((own or places)[-4:]))
