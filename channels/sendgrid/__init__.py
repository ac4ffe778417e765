"""E-mail through Twilio SendGrid: v3 Mail Send out, the signed Event Webhook back.

What carries what: the vendor's package checks signatures (`channels.sendgrid.events`); its client sends one request at
a time and waits without an end, so `channels._http` carries the bytes. Nothing of a person goes into the fields that
the vendor keeps for good (categories, custom arguments): the template's name and the attempt, which is opaque.

SendGrid knows no key by which it would recognise a request that comes twice. So whatever leaves it open whether a
request was taken is `uncertain`: a time-out, a reset, every answer 5xx (503, too: the vendor says that the service is
not available, and not that nothing was taken), and a 202 without the `X-Message-Id` that every 202 of the vendor's has.
The `processed` event, which carries the attempt, tells later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from channels._http import TOTAL_SECONDS, Answer, Http, Request, only, required, retry_after
from channels.base import (
    Channel,
    ChannelError,
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
from channels.sendgrid.body import CATEGORIES, CATEGORY, MOST, Form, Packed, halves, pack
from channels.sendgrid.events import MAX_AGE, REPORTS, read, verifiers, verify

__all__ = ["SendGrid", "connect", "live"]

BASE_URL: Final = "https://api.sendgrid.com"
_OPTIONS: Final = (
    "api_key", "base_url", "sandbox_mode", "rate", "batch_size", "categories", "webhook_keys", "ip_pool_name",
    "timeout", "max_age",
)  # fmt: skip
_LONGEST_WAIT = 3600.0
_AT_ONCE = 16
_TWICE = re.compile(r"only be included once|more than once|duplicate|should be unique", re.IGNORECASE)
_FIELD = re.compile(r"personalizations\.(\d+)(?:\.(\w+))?")
_SHARED: Mapping[str, Reason] = {
    "from": Reason.CONFIGURATION,
    "reply_to": Reason.CONFIGURATION,
    "categories": Reason.CONFIGURATION,
    "subject": Reason.CONTENT,
    "content": Reason.CONTENT,
    "attachments": Reason.CONTENT,
    "headers": Reason.CONTENT,
}
"""What a refusal of a field of the whole request is about."""
_OURS = ("ip_pool_name", "mail_settings", "tracking_settings")
"""Fields that come from this channel's settings: wrong for one request, they are wrong for all."""


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Channel:
    """Options: `api_key`; `base_url` (https://api.eu.sendgrid.com for regional subusers), `sandbox_mode`, `rate`
    (messages a second), `batch_size` (at most 1,000), `categories`, `webhook_keys` (public keys, two while they
    change), `ip_pool_name`, `timeout` (seconds), `max_age` (seconds a webhook's signature is good for)."""
    only(options, "sendgrid", _OPTIONS)
    if medium is not Medium.EMAIL:
        raise Misconfigured(f"sendgrid carries e-mail, not {medium}")
    (key,) = required(options, "sendgrid", "api_key")
    if not re.fullmatch(r"[!-~]+", key):
        raise Misconfigured("sendgrid: `api_key` has characters that no key has")
    base = str(options.get("base_url") or BASE_URL).rstrip("/")
    if not re.fullmatch(r"https://[!-~]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/[!-~]*)?", base):
        raise Misconfigured("sendgrid: `base_url` is an address that begins with https://")
    most = int(_number(options, "batch_size", MOST))
    if most > MOST:
        raise Misconfigured(f"sendgrid: `batch_size` is at most {MOST}")
    rate = _number(options, "rate", 0.0, zero=True)
    form = Form(_categories(options), str(options.get("ip_pool_name") or ""), _truth(options, "sandbox_mode"), most)
    return SendGrid(
        key,
        base,
        form,
        verifiers(options.get("webhook_keys") or []),
        site.clock,
        rate=rate or None,
        timeout=_number(options, "timeout", TOTAL_SECONDS),
        max_age=_number(options, "max_age", MAX_AGE),
    )


def live(options: Mapping[str, object]) -> bool:
    """Whether these settings would reach people: a key as the vendor makes them, and no sandbox mode."""
    return str(options.get("api_key") or "").startswith("SG.") and not _truth(options, "sandbox_mode")


class SendGrid:
    """One account. Threads may share one."""

    name = "sendgrid"
    medium = Medium.EMAIL
    resend: Literal["safe", "never"] = "never"

    def __init__(
        self,
        key: str,
        base: str,
        form: Form,
        keys: Sequence[Any],
        clock: Callable[[], datetime],
        *,
        rate: float | None = None,
        timeout: float = TOTAL_SECONDS,
        max_age: float = MAX_AGE,
    ) -> None:
        self.batch_size = form.most
        self.rate = rate
        self.reports: frozenset[EventKind] = REPORTS if keys else frozenset()
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._url = f"{base}/v3/mail/send"
        self._form = form
        self._keys = tuple(keys)
        self._clock = clock
        self._max_age = max_age
        self._http = Http(at_once=_AT_ONCE, total_seconds=timeout)

    def close(self) -> None:
        self._http.close()

    # ---- out

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """See `Channel.send`. Raises Misconfigured and Unavailable, and these only when every answer is in: what has
        no receipt by then was certainly not taken."""
        made = list(pack(batch, self._form))
        error: ChannelError | None = None
        while made:
            requests = [p for p in made if isinstance(p, Packed)]
            yield from (r for r in made if isinstance(r, Receipt))
            made = []
            posts = [Request(n, "POST", self._url, self._headers, p.body) for n, p in enumerate(requests)]
            for answer in self._http.all(posts):
                packed = requests[answer.key]
                try:
                    receipts = self._receipts(packed, answer)
                except _TooMuch:
                    middle = len(packed.messages) // 2
                    for half in (packed.messages[:middle], packed.messages[middle:]):
                        made += halves(half, self._form)
                except (Misconfigured, Unavailable) as found:
                    error = found if error is None or isinstance(found, Misconfigured) else error
                else:
                    yield from receipts
            if error is not None:
                raise error

    def _receipts(self, packed: Packed, answer: Answer) -> list[Receipt]:
        """What one answer says of each message. Raises Misconfigured, Unavailable, _TooMuch: nothing was taken."""
        status = answer.status
        if isinstance(answer.failed, Unavailable):
            raise answer.failed
        if answer.failed is not None:
            return _all(packed, "uncertain", Reason.TIMEOUT, str(answer.failed))
        named = answer.headers.get("x-message-id", "")
        if status == 202 and named:
            return [Receipt(o.attempt, "accepted", f"{named}/{n}") for n, o in enumerate(packed.messages)]
        if status == 200 and self._form.sandbox_mode:
            return [Receipt(o.attempt, "accepted", f"{named or 'sandbox'}/{o.attempt}") for o in packed.messages]
        if status in (400, 422):
            return _refused(packed, answer.body)
        if status == 413:
            if len(packed.messages) > 1:
                raise _TooMuch
            return _all(packed, "rejected", Reason.TOO_LARGE, "413")
        if status == 429:
            raise Unavailable("SendGrid takes no more requests for now (429)", self._wait(answer.headers))
        if 300 <= status < 500 and status != 408:
            raise Misconfigured(f"SendGrid refuses our requests ({status}): {_ACT.get(status, 'see `base_url`')}")
        return _all(packed, "uncertain", Reason.PROVIDER, f"answered {status}")

    def _wait(self, headers: Mapping[str, str]) -> float:
        """Seconds: `Retry-After`, else until `X-RateLimit-Reset`, an instant in seconds since 1970."""
        now = self._clock().timestamp()
        asked, reset = retry_after(headers, now), headers.get("x-ratelimit-reset", "")
        if asked is None and re.fullmatch(r"[0-9]{1,12}", reset):
            asked = int(reset) - now
        return min(max(1.0, asked if asked is not None else 10.0), _LONGEST_WAIT)

    # ---- back

    def events(self, inbound: Inbound) -> list[Event]:
        """See `Channel.events`. Raises Forged; ChannelError for a genuine request that cannot be read."""
        if not self._keys:
            raise Forged("no `webhook_keys` are set: nothing can be told to be genuine")
        verify(inbound, self._keys, self._clock().timestamp(), self._max_age)
        return read(inbound.body)


class _TooMuch(Exception):
    """Nothing of the request was taken, and parts of it may be."""


_ACT: Mapping[int, str] = {
    401: "the `api_key` is not known there",
    403: "the key may not send mail, or the sender is not verified; see the account",
    451: "the account's region is served at another `base_url`",
}


def _all(packed: Packed, status: Literal["rejected", "uncertain"], reason: Reason, detail: str) -> list[Receipt]:
    return [Receipt(o.attempt, status, "", reason, detail) for o in packed.messages]


def _refused(packed: Packed, body: bytes) -> list[Receipt]:
    """A request is refused as a whole, and the answer says for what: those it names will never do, the others go
    again. Of its texts nothing is kept: they repeat addresses."""
    faults: dict[int, Reason] = {}
    shared: Reason | None = None
    for field, text in _errors(body):
        root, match = field.split(".")[0], _FIELD.match(field)
        if _TWICE.search(text) and len(packed.messages) > 1:
            raise _TooMuch  # it takes two addresses for one that we do not: apart they can go
        if match is not None and int(match[1]) < len(packed.messages):
            about = Reason.INVALID_ADDRESS if match[2] == "to" else Reason.CONTENT
            faults.setdefault(int(match[1]), about)
        elif root in _OURS:
            raise Misconfigured(f"SendGrid refuses the setting {root} (400)")
        else:
            shared = shared or _SHARED.get(root)
    if shared is None and faults:
        return [
            Receipt(o.attempt, "rejected", "", faults[n], "400")
            if n in faults
            else Receipt(o.attempt, "retry", "", None, "unavailable")
            for n, o in enumerate(packed.messages)
        ]
    return _all(packed, "rejected", shared or Reason.PROVIDER, "400")


def _errors(body: bytes) -> Iterator[tuple[str, str]]:
    """(field, text) of each error in an answer, as far as it can be read."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return
    errors = told.get("errors") if isinstance(told, dict) else None
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict):
            yield str(error.get("field") or ""), str(error.get("message") or "")


# ---- settings -------------------------------------------------------------------------------------------------------


def _number(options: Mapping[str, object], name: str, default: float, *, zero: bool = False) -> float:
    """A number above nought; a text where it comes from the environment. Raises Misconfigured."""
    given = options.get(name, default)
    try:
        value = float(str(given)) if not isinstance(given, bool) else -1.0
    except ValueError:
        value = -1.0
    if not (value > 0 or (zero and value == 0)) or value == float("inf"):
        raise Misconfigured(f"sendgrid: `{name}` is a number above 0")
    return value


def _truth(options: Mapping[str, object], name: str) -> bool:
    given = options.get(name, False)
    if isinstance(given, str) and given.lower() in ("true", "false"):
        return given.lower() == "true"
    if not isinstance(given, bool):
        raise Misconfigured(f"sendgrid: `{name}` is true or false")
    return given


def _categories(options: Mapping[str, object]) -> tuple[str, ...]:
    given = options.get("categories") or []
    named = re.split(r"\s*,\s*", given.strip()) if isinstance(given, str) else given
    if not isinstance(named, list | tuple) or not all(isinstance(c, str) and c and c.isascii() for c in named):
        raise Misconfigured("sendgrid: `categories` is a list of texts without accents")
    if len(named) >= CATEGORIES or any(len(c) > CATEGORY for c in named):
        raise Misconfigured(f"sendgrid: `categories` are at most {CATEGORIES - 1}, of {CATEGORY} characters each")
    return tuple(str(c) for c in named)
