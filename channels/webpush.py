"""Push to browsers by Web Push: RFC 8030, encrypted as of RFC 8291, signed as of RFC 8292 (VAPID).

A browser's "token" is its whole subscription: {"endpoint": "https://…", "keys": {"p256dh": …, "auth": …}}. The
endpoint comes from outside and is called by us, so it must be https and on a public address (channels._addresses);
and since any answer may be a stranger's, no answer speaks for more than its own device.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from channels._addresses import PublicOnly, opens
from channels._http import Answer, Http, Request, only, required, retry_after, whole
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

LARGEST: Final = 3993
"""Bytes of text that fit into the 4,096 which every push service takes: 86 go to the header, 17 to the encryption."""
LONGEST: Final = 2_419_200
TTL: Final = 86_400
OPTIONS: Final = ("vapid_key", "vapid_subject", "ttl", "urgency", "at_once", "rate", "allow_private")
URGENCIES: Final = ("very-low", "low", "normal", "high")

_LATER = 300.0
_MOST = 86_400.0
_LASTS = 12 * 3600  # seconds; RFC 8292 allows a day
_KEPT = 1000  # origins whose signature is kept

Clock = Callable[[], datetime]


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> WebPush:
    """Options: `vapid_key`, the private key as PEM or in raw base64 (a reference); `vapid_subject`, mailto: or https:;
    `ttl` in seconds; `urgency`; `at_once`; `rate` a second; `allow_private`, for tests. Raises Misconfigured."""
    only(options, "webpush", OPTIONS)
    if medium is not Medium.PUSH:
        raise Misconfigured(f"webpush carries push, not {medium}")
    key, subject = required(options, "webpush", "vapid_key", "vapid_subject")
    if not re.fullmatch(r"mailto:[^\s@]+@[\w.-]+\.\w+|https://[\w-]+\.[\w.-]+", subject, re.ASCII):
        raise Misconfigured("webpush: `vapid_subject` is `mailto:…` or `https://…`: whom a push service may ask")
    urgency = str(options.get("urgency") or "normal")
    if urgency not in URGENCIES:
        raise Misconfigured(f"webpush: `urgency` is one of {', '.join(URGENCIES)}")
    return WebPush(
        _Vapid(key, subject, site.clock),
        site.clock,
        ttl=whole(options, "webpush", "ttl", TTL, 0, LONGEST),
        urgency=urgency,
        at_once=whole(options, "webpush", "at_once", 100, 1, 1000),
        rate=whole(options, "webpush", "rate", 0, 1, 100_000) if "rate" in options else None,
        allow_private=options.get("allow_private") in (True, "true", "1"),
    )


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where a browser is reached, and what only it can read. `public`: a point of P-256; `secret`: 16 bytes."""

    endpoint: str
    public: bytes
    secret: bytes

    @staticmethod
    def read(token: str) -> Subscription | None:
        """None for what is none."""
        try:
            found = json.loads(token)
            keys = found["keys"]
            public, secret = _raw(keys["p256dh"]), _raw(keys["auth"])
            endpoint = found["endpoint"]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not isinstance(endpoint, str) or len(public) != 65 or public[0] != 4 or len(secret) != 16:
            return None
        return Subscription(endpoint, public, secret)


def _raw(text: str) -> bytes:
    if not re.fullmatch(r"[\w+/-]+={0,2}", text, re.ASCII):
        raise ValueError("not base64")
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))


class WebPush:
    """`ttl`: how long, in seconds, a push service may keep a message for a browser that is closed."""

    name = "webpush"
    medium = Medium.PUSH
    resend: Literal["safe", "never"] = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(
        self,
        vapid: _Vapid,
        clock: Clock,
        *,
        ttl: int = TTL,
        urgency: str = "normal",
        at_once: int = 100,
        rate: float | None = None,
        allow_private: bool = False,
        total_seconds: float = 10.0,
    ) -> None:
        self.rate: float | None = rate
        self.batch_size = at_once
        self._vapid, self._clock, self._ttl, self._urgency = vapid, clock, ttl, urgency
        self._guard = PublicOnly(allow_private=allow_private, at_once=at_once)
        self._http = Http(at_once=at_once, total_seconds=total_seconds, connector=self._guard.connector)

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """Raises nothing: endpoints belong to many services, and one of them tells nothing about another."""
        now = self._clock()
        requests: list[Request] = []
        for outbound in batch:
            made = self._request(outbound, now)
            if isinstance(made, Receipt):
                yield made
            else:
                requests.append(made)
        if requests:
            for answer in self._http.all(requests):
                yield self._said(answer)

    def events(self, inbound: Inbound) -> list[Event]:
        """Raises Forged: push services call nobody back."""
        raise Forged("webpush reports nothing")

    # ---- out

    def _request(self, outbound: Outbound, now: datetime) -> Request | Receipt:
        attempt = outbound.attempt
        to = Subscription.read(outbound.to.get("token", ""))
        if to is None:
            return Receipt(attempt, "rejected", reason=Reason.INVALID_ADDRESS, detail="no_subscription")
        if why := self._guard.refuses(to.endpoint):
            return Receipt(attempt, "rejected", reason=Reason.INVALID_ADDRESS, detail=f"endpoint_{why}")
        if not opens(outbound.part("url")):
            return Receipt(attempt, "rejected", reason=Reason.CONTENT, detail="a link that no tap may open")
        said = {
            "title": outbound.part("title"),
            "body": outbound.part("body") or outbound.part("text"),
            "url": outbound.part("url"),
            "image": outbound.meta.get("image", ""),
        }
        plain = json.dumps({k: v for k, v in said.items() if v}, ensure_ascii=False, separators=(",", ":"))
        payload = plain.encode("utf-8", "replace")
        if len(payload) > LARGEST:
            return Receipt(attempt, "rejected", reason=Reason.TOO_LARGE, detail="payload")
        body = _encrypted(to, payload)
        if body is None:
            return Receipt(attempt, "rejected", reason=Reason.INVALID_ADDRESS, detail="no_subscription")
        left = self._ttl
        if outbound.valid_until is not None:  # what waits for a browser that is closed must not show after its hours
            left = max(0, min(left, int((outbound.valid_until - now).total_seconds())))
        headers = {
            "Authorization": self._vapid.header(to.endpoint, now),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(left),
            "Urgency": self._urgency,
        }
        if key := outbound.meta.get("collapse_key", ""):
            headers["Topic"] = _topic(key)
        return Request((attempt, to.endpoint), "POST", to.endpoint, headers, body)

    # ---- back

    def _said(self, answer: Answer) -> Receipt:
        attempt, endpoint = answer.key
        if isinstance(answer.failed, Unavailable):
            if self._guard.private(endpoint):
                # Not retired: a resolver that is out of order answers so for everybody.
                return Receipt(attempt, "rejected", reason=Reason.CONFIGURATION, detail="endpoint_private")
            return Receipt(attempt, "retry", detail="unavailable")
        if answer.failed is not None:
            return Receipt(attempt, "uncertain", reason=Reason.TIMEOUT, detail="no_answer")
        match answer.status:
            case 200 | 201 | 202:  # 201 is the standard's; some services have answered with the others
                return Receipt(attempt, "accepted", _number_of(answer, attempt))
            case 404 | 410:
                return Receipt(attempt, "rejected", reason=Reason.UNKNOWN_ADDRESS, detail="gone")
            case 413:
                return Receipt(attempt, "rejected", reason=Reason.TOO_LARGE, detail="payload")
            case 400 | 401 | 403:
                # The signature, its key, or a header: an operator's to mend, so the message waits, and nobody is
                # retired. Others go on: a stranger's endpoint that says so must not stop the channel.
                return Receipt(attempt, "retry", detail="misconfigured", retry_after=_LATER)
            case 429:
                wait = retry_after(answer.headers, self._clock().timestamp())
                return Receipt(attempt, "retry", detail="unavailable", retry_after=min(wait or 60.0, _MOST))
        if answer.status >= 500 or answer.status == 408 or answer.status < 300:  # another 2xx may well have taken it
            return Receipt(attempt, "uncertain", reason=Reason.PROVIDER, detail="no_answer")
        return Receipt(attempt, "rejected", reason=Reason.PROVIDER, detail=f"status_{answer.status}")


def _number_of(answer: Answer, attempt: str) -> str:
    """The push service's address of the message, without its host; with the attempt, as no service of a stranger's
    choice may give one number to two messages."""
    path = urlsplit(answer.headers.get("location", "")[:2000]).path if _plain(answer.headers.get("location")) else ""
    return f"{path[:200]}#{attempt}" if path else attempt


def _plain(text: str | None) -> bool:
    return bool(text) and re.fullmatch(r"[\w:/.%~=+-]+", text or "", re.ASCII) is not None


def _encrypted(to: Subscription, payload: bytes) -> bytes | None:
    """As only this browser can read it; None where its key is no point of the curve."""
    from pywebpush import WebPusher

    keys = {"p256dh": _text(to.public), "auth": _text(to.secret)}
    try:
        made: bytes = WebPusher({"endpoint": to.endpoint, "keys": keys}).encode(payload)["body"]
    except Exception:  # the library's errors differ; all that came from outside is in the key
        return None
    return made


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _topic(key: str) -> str:
    """RFC 8030, 5.4: at most 32 characters of the URL-safe Base64 alphabet."""
    return key if re.fullmatch(r"[\w-]{1,32}", key, re.ASCII) else hashlib.sha256(key.encode()).hexdigest()[:32]


class _Vapid:
    """Signs who we are, for each push service its own (RFC 8292)."""

    def __init__(self, key: str, subject: str, clock: Clock) -> None:
        try:
            import pywebpush  # noqa: F401
            from py_vapid import Vapid02
        except ImportError:
            raise Misconfigured("webpush needs pywebpush: install campaign-orchestrator[push]") from None
        try:
            self._signer: Any = Vapid02(_private_key(key))
        except (ValueError, TypeError, binascii.Error):
            raise Misconfigured("webpush: `vapid_key` is neither a P-256 key as PEM nor 32 bytes in base64") from None
        self._subject = subject
        self._lock = threading.Lock()
        self._made: dict[str, tuple[float, str]] = {}
        clock()  # an unset clock is found here and not at the first message

    def header(self, endpoint: str, now: datetime) -> str:
        parts = urlsplit(endpoint)
        origin, at = f"{parts.scheme}://{parts.netloc.lower()}", now.timestamp()
        with self._lock:
            ends, text = self._made.get(origin, (0.0, ""))
            if at > ends - _LASTS / 2:
                if len(self._made) >= _KEPT:  # endpoints come from outside: there may be any number
                    self._made.clear()
                claims = {"aud": origin, "sub": self._subject, "exp": int(at) + _LASTS}
                text = self._sign(claims)
                self._made[origin] = (at + _LASTS, text)
            return text

    def _sign(self, claims: Mapping[str, Any]) -> str:
        from py_vapid.jwt import sign

        # py_vapid's own check of `aud` knows no IPv6 address; what stands in it has been judged.
        token = sign(dict(claims), self._signer.private_key)
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._signer.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return f"vapid t={token},k={_text(public)}"


def _private_key(text: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    if "-----BEGIN" in text:
        key = load_pem_private_key(text.encode(), None)
    elif len(raw := _raw(text.strip())) == 32:
        key = ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    else:
        key = load_der_private_key(raw, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("another kind of key")
    return key
