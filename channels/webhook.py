"""Calls other systems over HTTPS, signed as Standard Webhooks has it; one endpoint a name in orchestrator.toml.

    [channels.webhook]
    provider = "webhook"

    [channels.webhook.endpoints.crm-follow-up]
    url = "https://crm.example/hooks/follow-up"
    secret = "env:CRM_SECRET"                       # whsec_…, as `openssl rand -base64 32` makes it
    old_secret = "env:CRM_SECRET_BEFORE"            # while it changes: both sign
    headers = { Authorization = "env:CRM_TOKEN" }
    timeout = 10                                    # seconds, at most 20
    resend = false                                  # true: the receiver tells ids apart, and uncertain calls go again
    allow_private = false                           # true: addresses of the own network too, and plain http

Each call is a POST with a JSON object (see `_call`), and the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature` (https://github.com/standard-webhooks/standard-webhooks, version 1). The id is the message's and
stays over its attempts, also as `Idempotency-Key`. Redirects are not followed, and only public addresses are called.

What an endpoint does stays its own: one that is gone or set up wrongly makes its messages wait, and no others.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from channels._addresses import PublicOnly
from channels._call import call_body, call_id
from channels._http import Answer, Http, Request, only, retry_after
from channels.base import (
    Event,
    EventKind,
    Forged,
    Inbound,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Site,
    Unavailable,
)

AT_ONCE: Final = 50
LARGEST_ANSWER: Final = 64 * 1024
_LONGEST: Final = 20.0  # seconds: a worker's lease must last for all that it hands over together
_LATER: Final = 300.0  # seconds until an endpoint that an operator must see to is called again
_OPTIONS: Final = ("endpoints", "rate")
_OF_ENDPOINT: Final = ("url", "secret", "old_secret", "headers", "timeout", "resend", "allow_private")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS: Final = frozenset(
    {"host", "content-type", "content-length", "connection", "transfer-encoding", "idempotency-key", "user-agent"}
)
_WHY: Final = {
    "scheme": "is not called: its address must begin with https:// (`allow_private = true` allows http)",
    "form": "is not called: its address is written in a way that may mean another one (a name and password, a number "
    "for a host, a blank); write https://HOST/PATH",
    "private": "is not called: its address is one of a private network; `allow_private = true` allows that",
}
# 408, 425, 429 and 503 say that the request was not acted upon (RFC 9110, 6585, 8470); other errors of a server do not.
_NOT_TAKEN: Final = frozenset({408, 425, 429, 503})
_OPERATORS: Final = frozenset({401, 403, 404, 405, 407, 410, 421})


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Webhook:
    """Options: `endpoints`, a table each (see above); `rate`, calls a second over all of them."""
    only(options, "webhook", _OPTIONS)
    if medium is not Medium.WEBHOOK:
        raise Misconfigured(f"webhook carries no {medium}: it is a provider for `webhook`")
    tables = options.get("endpoints", {})
    if not isinstance(tables, Mapping) or not tables:
        raise Misconfigured("webhook needs at least one endpoint: a section [channels.webhook.endpoints.NAME]")
    rate = options.get("rate")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0):
        raise Misconfigured("webhook takes `rate` as calls a second, a number above 0")
    made = {str(name): _endpoint(str(name), table) for name, table in tables.items()}
    return Webhook(made, site.clock, None if rate is None else float(rate))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Another system's door, checked."""

    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    resend: bool
    guard: PublicOnly
    http: Http


def _endpoint(name: str, table: object) -> Endpoint:
    """Raises Misconfigured; names the endpoint, never what stands in its settings."""
    called = f"the webhook endpoint {name}"
    if not isinstance(table, Mapping):
        raise Misconfigured(f"{called} is a section of its own: [channels.webhook.endpoints.{name}]")
    only(table, called, _OF_ENDPOINT)
    url, private = table.get("url"), table.get("allow_private", False)
    if not isinstance(url, str) or not url:
        raise Misconfigured(f"{called} needs a `url`")
    if not isinstance(private, bool) or not isinstance(table.get("resend", False), bool):
        raise Misconfigured(f"{called} takes `allow_private` and `resend` as true or false")
    guard = PublicOnly(allow_private=private, at_once=AT_ONCE)
    if why := guard.refuses(url):
        raise Misconfigured(f"{called} {_WHY[why]}")
    seconds = table.get("timeout", 10)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
        raise Misconfigured(f"{called} takes `timeout` in seconds, at most {_LONGEST:g}")
    secrets = [_secret(called, key, table.get(key)) for key in ("secret", "old_secret") if key in table]
    if "secret" not in table:
        raise Misconfigured(f"{called} needs a `secret` to sign with: whsec_ and 24 to 64 random bytes in Base64")
    http = Http(at_once=AT_ONCE, total_seconds=float(seconds), connector=guard.connector)
    return Endpoint(url, tuple(secrets), _headers(called, table.get("headers", {})), table.get("resend") is True, guard,
                    http)  # fmt: skip


def _secret(called: str, key: str, value: object) -> bytes:
    try:
        found = base64.b64decode(str(value).removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not 24 <= len(found) <= 64 or not str(value).startswith("whsec_"):
        raise Misconfigured(f"{called}: its `{key}` is no signing secret: whsec_ and 24 to 64 random bytes in Base64")
    return found


def _headers(called: str, table: object) -> dict[str, str]:
    if not isinstance(table, Mapping):
        raise Misconfigured(f"{called} takes `headers` as a table of names and texts")
    for name, value in table.items():
        # A header's name or value with a line break in it would be two headers, or the end of them.
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Misconfigured(f"{called}: one of its headers has a name that headers cannot have")
        if name.lower() in _OURS or name.lower().startswith("webhook-"):
            raise Misconfigured(f"{called}: the header {name} is made here, and cannot be set")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise Misconfigured(f"{called}: the header {name} is no text on one line")
    return dict(table)


def signed(secrets: Sequence[bytes], name: str, stamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one for each secret."""
    text = f"{name}.{stamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode() for key in secrets)


class Webhook:
    """Other systems by name. A message's `to` has the endpoint's `name`."""

    name = "webhook"
    medium = Medium.WEBHOOK
    batch_size = AT_ONCE  # all of them at once, so that the slowest endpoint keeps the others no longer than its time
    reports: frozenset[EventKind] = frozenset()

    def __init__(
        self, endpoints: Mapping[str, Endpoint], clock: Callable[[], datetime], rate: float | None = None
    ) -> None:
        self.rate = rate
        # What a dead worker left may go again only where every receiver tells ids apart.
        self.resend: Literal["safe", "never"] = "safe" if all(e.resend for e in endpoints.values()) else "never"
        self._endpoints = endpoints
        self._clock = clock

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        now = self._clock()
        calls: dict[str, list[Request]] = {}
        for outbound in batch:
            name = outbound.to.get("name", "")
            endpoint = self._endpoints.get(name)
            if not name:
                yield Receipt(outbound.attempt, "rejected", "", Reason.INVALID_ADDRESS, "no endpoint is named")
            elif endpoint is None:
                yield _operator(outbound.attempt, "no endpoint of that name")
            else:
                calls.setdefault(name, []).append(_request(endpoint, outbound, now))
        answers: queue.SimpleQueue[tuple[Endpoint, Answer]] = queue.SimpleQueue()
        for name, requests in calls.items():
            threading.Thread(target=_ask, args=(self._endpoints[name], requests, answers), daemon=True).start()
        for _ in range(sum(map(len, calls.values()))):
            endpoint, answer = answers.get()
            yield _receipt(endpoint, answer, now)

    def events(self, inbound: Inbound) -> list[Event]:
        raise Forged("nothing is heard of a webhook call but its answer")


def _ask(endpoint: Endpoint, requests: Sequence[Request], answers: queue.SimpleQueue[tuple[Endpoint, Answer]]) -> None:
    for answer in endpoint.http.all(requests):
        answers.put((endpoint, answer))


def _request(endpoint: Endpoint, outbound: Outbound, now: datetime) -> Request:
    body = json.dumps(call_body(outbound, now), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    name, stamp = call_id(outbound), int(now.timestamp())
    headers = {
        **endpoint.headers,
        "Content-Type": "application/json",
        "User-Agent": "campaign-orchestrator",
        "Idempotency-Key": name,
        "webhook-id": name,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signed(endpoint.secrets, name, stamp, body),
    }
    return Request((outbound.attempt, name), "POST", endpoint.url, headers, body)


def _receipt(endpoint: Endpoint, answer: Answer, now: datetime) -> Receipt:
    attempt, name = answer.key
    status = answer.status
    if answer.failed is not None:
        if endpoint.guard.private(endpoint.url):
            return _operator(attempt, "the endpoint's name leads to a private address")
        if isinstance(answer.failed, Unavailable) or endpoint.resend:
            return Receipt(attempt, "retry", "", Reason.TIMEOUT, "no answer")
        return Receipt(attempt, "uncertain", "", None, "no_answer")
    if 200 <= status < 300:
        return Receipt(attempt, "accepted", name, answer=_object(answer))
    if status in _NOT_TAKEN:
        reason = Reason.RATE if status == 429 else Reason.PROVIDER
        return Receipt(attempt, "retry", "", reason, f"HTTP {status}",
                       retry_after(answer.headers, now.timestamp()))  # fmt: skip
    if status >= 500:
        return Receipt(attempt, "retry" if endpoint.resend else "uncertain", "", Reason.PROVIDER, f"HTTP {status}")
    if status in _OPERATORS or 300 <= status < 400:
        return _operator(attempt, "redirects are not followed" if status < 400 else f"HTTP {status}")
    return Receipt(attempt, "rejected", "", Reason.TOO_LARGE if status == 413 else Reason.CONTENT, f"HTTP {status}")


def _operator(attempt: str, detail: str) -> Receipt:
    """Nothing was taken, and somebody must see to the endpoint: its messages wait, as long as messages do."""
    return Receipt(attempt, "retry", "", Reason.CONFIGURATION, detail, _LATER)


def _object(answer: Answer) -> Mapping[str, Any] | None:
    """The JSON object that was answered; None for anything else."""
    if len(answer.body) > LARGEST_ANSWER:
        return None
    try:
        found = json.loads(answer.body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_number(name: str) -> float:
    """NaN and Infinity are no JSON, and no database keeps them."""
    raise ValueError(name)
