"""The API: /v1/…, for the house's other systems. JSON in, JSON out, a key of one's own for each system.

Every answer that is no success is a problem (RFC 9457) that says what to do. A request with an Idempotency-Key is
answered once: again, it gets the same answer and does nothing. Rows have keys of their own besides: the same event or
customer handed in twice is one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orchestrator.accepting import (
    MOST_ROWS,
    Accepted,
    NotAccepted,
    accept_claim,
    accept_devices,
    accept_redemptions,
    accept_rows,
    accept_sign_ups,
    accept_units,
    offered,
)
from orchestrator.problems import Conflict
from orchestrator.rows import ImportKind
from orchestrator.store import StoreUnavailable, access
from orchestrator.web.offer import DESCRIPTION, openapi
from orchestrator.web.pages import Body, Pages

LOG = logging.getLogger("orchestrator.web")
PREFIX: Final = "/v1/"
PER_MINUTE = 600
"""Requests of one key; a request may have a thousand rows."""
_WRONG_KEYS = 30  # a minute, from one place: keys are 256 random bits, this only keeps the log quiet
_KEY = re.compile(r"cjo_[\w-]{43}", re.ASCII)
_IDEMPOTENCY = re.compile(r"[!-~]{1,200}", re.ASCII)
_NAME = re.compile(r"[\w.:/-]{1,100}", re.ASCII)
_DEPTH = 6  # a row is flat, or has one list in it


def new_key() -> str:
    """A key as its owner gets it, once."""
    return f"cjo_{secrets.token_urlsafe(32)}"


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Refusal(Exception):
    """An answer that is a problem."""

    def __init__(self, status: int, title: str, detail: str, **headers: str) -> None:
        super().__init__(title)
        self.status, self.title, self.detail = status, title, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def problem(
    status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, reason: str = ""
) -> JSONResponse:
    """RFC 9457; `reason`: a member of its own, for programs."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if reason:
        body["reason"] = reason
    return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


@dataclass(frozen=True, slots=True)
class _Call:
    """One request of a known caller."""

    pages: Pages
    caller: access.Caller
    request: Request
    body: bytes

    def json(self) -> Any:
        """What was sent. Raises Refusal."""
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(415, "Not JSON", "send `Content-Type: application/json`")
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refusal(400, "Not JSON", "the body is not valid JSON (RFC 8259, in UTF-8)") from None
        _storable(found)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """A list of objects, or one object. Raises Refusal."""
        found = self.json()
        rows = found["rows"] if isinstance(found, dict) and set(found) == {"rows"} else found
        rows = [rows] if isinstance(rows, dict) else rows
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise Refusal(422, "No rows", 'send one object, a list of objects, or {"rows": [ … ]}')
        if len(rows) > MOST_ROWS:
            raise Refusal(422, "Too many rows", f"at most {MOST_ROWS:,} in one request: send several")
        return rows


def _storable(value: Any, depth: int = 0) -> None:
    """Raises Refusal for what no database keeps: NUL, numbers without bound, endless nesting."""
    if depth > _DEPTH:
        raise Refusal(422, "Too deep", "rows are flat: names and values")
    if isinstance(value, str):
        if "\x00" in value:
            raise Refusal(422, "A text with NUL", "take the character U+0000 out")
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        if not -(2**63) <= value < 2**63:
            raise Refusal(422, "A number too large", "send it as a text where it is a name")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _storable(name, depth)
            _storable(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _storable(inner, depth + 1)


Answer = tuple[int, dict[str, Any]]


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False, prefix=PREFIX.rstrip("/"))

    def taking(scope: str, work: Callable[..., Answer]) -> Callable[..., Response]:
        def handler(request: Request, body: Body, named: Annotated[dict[str, str], Depends(_named)]) -> Response:
            return _answered(pages, request, body, scope, lambda call: work(call, **named))

        handler.__name__ = f"post_{scope}"
        return handler

    for kind in ("events", "customers", "accounts", "referrals"):
        router.post(f"/{kind}")(taking(kind, _rows(kind)))
    router.post("/devices")(taking("devices", _devices))
    router.post("/consents")(taking("consents", _consents))
    router.post("/records/{record_type}")(taking("records", _records))
    router.post("/journeys/{journey}/enroll")(taking("enroll", _enroll))
    router.post("/vouchers/redeem")(taking("vouchers", _redeem))
    router.post("/rewards/claim")(taking("rewards", _claim))

    @router.get("/rewards")
    def rewards(request: Request) -> Response:
        return _answered(pages, request, b"", "rewards", _offered, writes=False)

    @router.get("/openapi.json")
    def document(request: Request) -> Response:
        try:
            _caller(pages, request)
        except Refusal as refusal:
            return problem(refusal.status, refusal.title, refusal.detail, refusal.headers)
        return JSONResponse(openapi(pages.wired.settings.web.public_url))

    return router


def _named(request: Request) -> dict[str, str]:
    return {str(name): str(value) for name, value in request.path_params.items()}


# ---- one request ----------------------------------------------------------------------------------------------------


def _answered(
    pages: Pages, request: Request, body: bytes, scope: str, work: Callable[[_Call], Answer], *, writes: bool = True
) -> Response:
    try:
        caller = _caller(pages, request)
        if scope not in caller.scopes:
            raise Refusal(403, "Not for this key", f"the key `{caller.name}` may not hand in {scope}")
        call = _Call(pages, caller, request, body)
        return _once(call, work) if writes else _json(*work(call))
    except Refusal as refusal:
        return problem(refusal.status, refusal.title, refusal.detail, refusal.headers)
    except NotAccepted as refused:
        return problem(refused.status, "Not accepted", str(refused), reason=refused.reason)
    except (StoreUnavailable, Conflict) as error:
        LOG.error("a request to /v1 could not be written: %s", type(error).__name__)
        return problem(503, "Not now", "the database cannot be reached: ask again", {"Retry-After": "5"})


def _caller(pages: Pages, request: Request) -> access.Caller:
    """Who asks. Raises Refusal."""
    at = time.monotonic()
    scheme, _, said = request.headers.get("authorization", "").partition(" ")
    key = said.strip()
    found = None
    if scheme.lower() == "bearer" and _KEY.fullmatch(key):
        with pages.wired.store.read() as conn:
            found = access.caller(conn, key_hash(key))
    if found is None:
        where = request.client.host if request.client else ""
        if not pages.limits.take(f"wrong key {where}", _WRONG_KEYS, at):
            raise Refusal(429, "Too many wrong keys", "wait a minute, and check the key", Retry_After="60")
        detail = "send `Authorization: Bearer KEY` with a key of `orchestrator api create`"
        raise Refusal(401, "No valid key", detail, WWW_Authenticate="Bearer")
    if not pages.limits.take(f"api {found.id}", PER_MINUTE, at):
        detail = f"at most {PER_MINUTE} requests a minute for a key: put more rows into each"
        raise Refusal(429, "Too many requests", detail, Retry_After="2")
    return found


def _once(call: _Call, work: Callable[[_Call], Answer]) -> Response:
    """The answer; for a request that came before with its Idempotency-Key, the one it got then."""
    said = call.request.headers.get("idempotency-key")
    if said is None:
        return _json(*work(call))
    if not _IDEMPOTENCY.fullmatch(said):
        raise Refusal(400, "Idempotency-Key", "1 to 200 visible ASCII characters, such as a UUID")
    store, now = call.pages.wired.store, call.pages.wired.clock()
    key = hashlib.sha256(said.encode()).hexdigest()
    whole = b"\0".join((call.request.method.encode(), call.request.url.path.encode(), call.body))
    request = hashlib.sha256(whole).hexdigest()
    with store.write() as conn:
        seen = access.claim(conn, call.caller.id, key, request, now)
    if seen == "busy":
        raise Refusal(409, "Still at work", "the same request is being worked on: ask again", Retry_After="5")
    if seen == "another":
        raise Refusal(422, "Idempotency-Key", "this key came with another request: use a new one for each")
    if seen is not None:
        status, text = seen
        return Response(text, status, {"Idempotency-Replayed": "true"}, media_type="application/json")
    try:
        status, answer = work(call)
    except BaseException:
        # What was written before is known by the rows' own keys: the request may come again.
        with store.write() as conn:
            access.unclaim(conn, call.caller.id, key)
        raise
    with store.write() as conn:
        access.answered(conn, call.caller.id, key, status, json.dumps(answer))
    return _json(status, answer)


def _json(status: int, answer: Mapping[str, Any]) -> Response:
    return JSONResponse(dict(answer), status)


# ---- what may be asked ----------------------------------------------------------------------------------------------


def _rows(kind: ImportKind) -> Callable[[_Call], Answer]:
    def work(call: _Call) -> Answer:
        wired = call.pages.wired
        return _told(accept_rows(wired.store, wired.keys, kind, call.rows(), now=wired.clock()))

    return work


def _records(call: _Call, record_type: str) -> Answer:
    wired = call.pages.wired
    rows = call.rows()
    return _told(
        accept_rows(wired.store, wired.keys, "records", rows, record_type=record_type[:100], now=wired.clock())
    )


def _devices(call: _Call) -> Answer:
    wired = call.pages.wired
    return _told(accept_devices(wired.store, wired.keys, call.rows(), now=wired.clock()))


def _consents(call: _Call) -> Answer:
    """Words as they were said are recorded; a `request` by e-mail is asked to be confirmed (double opt-in)."""
    wired, rows = call.pages.wired, call.rows()
    source = f"api {call.caller.name}"
    sign_ups = [row.get("action") == "request" for row in rows]
    if any(sign_ups) and not all(sign_ups):
        detail = "rows with `action: request` ask people to confirm: send them apart from words that were said"
        raise Refusal(422, "Two kinds of rows", detail)
    if all(sign_ups):
        return _told(accept_sign_ups(wired.store, wired.keys, rows, source=source, now=wired.clock()))
    rows = [{"source": source, **row} for row in rows]
    return _told(accept_rows(wired.store, wired.keys, "consents", rows, now=wired.clock()))


def _enroll(call: _Call, journey: str) -> Answer:
    said = call.json()
    names = {"customers", "accounts"} & set(said) if isinstance(said, dict) else set()
    units = said[names.pop()] if len(names) == 1 else None
    if not isinstance(units, list) or not units or not all(isinstance(key, str) and key for key in units):
        raise Refusal(422, "Whom?", '`{"customers": ["KEY", …], "key": "what for"}`; an account\'s journey: `accounts`')
    if len(units) > MOST_ROWS:
        raise Refusal(422, "Too many", f"at most {MOST_ROWS:,} in one request: send several")
    run_key = said.get("key")
    if not isinstance(run_key, str) or not _NAME.fullmatch(run_key):
        detail = (
            "`key` says what for, such as an order's number: the same one lets nobody in twice (letters, digits, .:/-)"
        )
        raise Refusal(422, "What for?", detail)
    wired = call.pages.wired
    return _told(accept_units(wired.store, journey[:200], units, run_key, now=wired.clock()))


def _redeem(call: _Call) -> Answer:
    wired = call.pages.wired
    return _told(accept_redemptions(wired.store, call.rows(), now=wired.clock()))


def _claim(call: _Call) -> Answer:
    said = call.json()
    if not isinstance(said, dict):
        raise Refusal(422, "What?", '`{"customer": "KEY", "reward": "NAME", "key": "what for"}`')
    wired = call.pages.wired
    return 200, accept_claim(wired.store, said, now=wired.clock())


def _offered(call: _Call) -> Answer:
    key = call.request.query_params.get("customer", "")
    if not 0 < len(key) <= 200 or "\x00" in key:
        raise Refusal(422, "Whose?", "ask as `/v1/rewards?customer=KEY`")
    wired = call.pages.wired
    return 200, offered(wired.store, key, now=wired.clock())


def _told(accepted: Accepted) -> Answer:
    """200 when anything was taken, else 422; what was refused, by number."""
    refused: Sequence[dict[str, Any]] = [
        {"row": row, "problem": said} | ({"reason": accepted.reasons[row]} if row in accepted.reasons else {})
        for row, said in accepted.refused
    ]
    status = 200 if len(refused) < accepted.rows else 422
    return status, {
        "rows": accepted.rows,
        **accepted.counts,
        "refused": list(refused),
        "warnings": list(accepted.warnings),
    }


__all__ = ["DESCRIPTION", "key_hash", "new_key", "problem", "routes"]
