"""The web application: every module of this package that brings `routes(pages)`, behind one guard.

What is not a page is refused without a word on why: an unknown path, a method that a page does not take, a token that
was not made here all end in the same plain pages.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import orchestrator.web
from orchestrator.web.api import PREFIX, problem
from orchestrator.web.guard import Guard
from orchestrator.web.pages import Pages, static
from orchestrator.wiring import Wired

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # there since 0.150

_STATIC = {"/style.css": ("style.css", "text/css"), "/icon.svg": ("icon.svg", "image/svg+xml")}
# A trace names the path of a request, and a path has the token in it (FastAPI 0.150 traces by itself when asked to by
# the environment, 2026-11).
_NOT_WATCHED: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
_A_YEAR = "public, max-age=31536000, immutable"  # pages name these files with the hash of what is in them


_TOLD: Final = {
    400: ("Not understood", "look at the API's document: GET /v1/openapi.json"),
    404: ("Nothing here", "look at the API's document for what there is: GET /v1/openapi.json"),
    405: ("Another method", "rows are handed in by POST"),
    413: ("Too large", "send fewer rows in each request"),
    500: ("Our fault", "ask again; what was taken is known by its keys, and is not taken twice"),
    503: ("Not now", "the database cannot be reached: ask again"),
}


def create_app(wired: Wired) -> FastAPI:
    """The application for uvicorn; `wired` stays open as long as it is served. Raises what `wired.keys` raises."""
    pages = Pages(wired)
    _ = wired.keys  # told at the start, not to the first who follows a link
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        title="Campaign orchestrator",
        telemetry=_NOT_WATCHED,
        redirect_slashes=False,  # it would lead to whatever host the request claims, with the token in the address
    )

    async def sorry(request: Request, status: int) -> Response:
        if request.url.path.startswith(PREFIX):  # a program asks: it is answered as one
            return problem(status, *_TOLD.get(status, _TOLD[400 if status < 500 else 500]))
        return await anyio.to_thread.run_sync(pages.sorry, request, status)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and not request.url.path.startswith(PREFIX):
            return await anyio.to_thread.run_sync(pages.missed, request)
        response = await sorry(request, error.status_code)
        response.headers.update(error.headers or {})
        return response

    async def unreadable(request: Request, error: Exception) -> Response:
        return await sorry(request, 400)

    app.add_middleware(Guard, sorry=sorry)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, unreadable)
    app.get("/health")(health)
    for path in _STATIC:
        app.add_route(path, _file, methods=["GET"])
    for info in sorted(pkgutil.iter_modules(orchestrator.web.__path__), key=lambda found: found.name):
        module = importlib.import_module(f"orchestrator.web.{info.name}")
        if hasattr(module, "routes"):
            app.include_router(module.routes(pages))
    return app


def health() -> PlainTextResponse:
    """That this process answers, and nothing else."""
    return PlainTextResponse("ok\n")


def _file(request: Request) -> Response:
    name, kind = _STATIC[request.url.path]
    return Response(static(name), media_type=kind, headers={"Cache-Control": _A_YEAR})
