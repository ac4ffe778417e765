"""Push to Android, iOS and browsers through Firebase Cloud Messaging, HTTP v1 (discovery document 20261023).

FCM has no batch endpoint: every delivery is a request, and all of a batch are under way together. It reports nothing
back; what it says of a device, it says in its answer. Facts of its error answers: firebase.google.com/docs/
cloud-messaging/error-codes, read 2026-11.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode

from channels._addresses import opens
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

LARGEST: Final = 4096
"""Bytes of one message's payload that FCM takes."""
LONGEST: Final = 2_419_200
"""Seconds, four weeks: the longest that FCM keeps a message."""
TTL: Final = 86_400
"""The house's: FCM's own, four weeks and thirty days for APNs, would ring long after anybody meant it."""
OPTIONS: Final = ("credentials", "project", "base_url", "ttl", "at_once", "rate", "validate_only")

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_BASE = "https://fcm.googleapis.com"
_LATER = 300.0  # seconds until what an operator must mend is tried again
_QUOTA = 60.0  # seconds; what the vendor asks for where a 429 has no Retry-After
_MOST = 86_400.0
_EARLY = 300.0  # seconds before its end at which an access token is made anew
_LATE = 1.0  # seconds that the making may take, so that a withdrawal is heeded from the next second on
_SIZE = re.compile(r"\b(big|large|size|bytes)\b", re.IGNORECASE)

Clock = Callable[[], datetime]


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Fcm:
    """Options: `credentials`, a service account's key (its JSON, by reference); `project`, where it is not the key's
    own; `ttl` in seconds; `at_once`; `rate` a second; `validate_only`, the vendor's dry run; `base_url`. Raises
    Misconfigured."""
    only(options, "fcm", OPTIONS)
    if medium is not Medium.PUSH:
        raise Misconfigured(f"fcm carries push, not {medium}")
    [credentials] = required(options, "fcm", "credentials")
    account = _account(credentials)
    project = str(options.get("project") or account.get("project_id") or "")
    if not re.fullmatch(r"[a-z0-9.:-]{1,64}", project):
        raise Misconfigured("fcm needs the setting project: neither it nor the service account's key names one")
    return Fcm(
        project,
        account,
        site.clock,
        base_url=str(options.get("base_url") or _BASE),
        ttl=whole(options, "fcm", "ttl", TTL, 0, LONGEST),
        at_once=whole(options, "fcm", "at_once", 100, 1, 1000),
        rate=whole(options, "fcm", "rate", 0, 1, 100_000) if "rate" in options else None,
        validate_only=options.get("validate_only") in (True, "true", "1"),
    )


def live(options: Mapping[str, object]) -> bool:
    """Whether these settings would ring: Google's own service, and no dry run."""
    base = str(options.get("base_url") or _BASE)
    return options.get("validate_only") not in (True, "true", "1") and not base.startswith("http://127.0.0.1")


def _account(text: str) -> Mapping[str, str]:
    try:
        account = json.loads(text)
        named = {name: account[name] for name in ("client_email", "private_key", "token_uri")}
    except (ValueError, TypeError, KeyError):
        named = {}
    if not named or not all(isinstance(value, str) and value for value in named.values()):
        raise Misconfigured("fcm: `credentials` is not the JSON key of a service account")
    return {name: value for name, value in account.items() if isinstance(value, str)}


class Fcm:
    """`ttl`: how long, in seconds, FCM may keep a message for a device that is away, where nothing says less."""

    name = "fcm"
    medium = Medium.PUSH
    resend: Literal["safe", "never"] = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(
        self,
        project: str,
        account: Mapping[str, str],
        clock: Clock,
        *,
        base_url: str = _BASE,
        ttl: int = TTL,
        at_once: int = 100,
        rate: float | None = None,
        validate_only: bool = False,
        total_seconds: float = 20.0,
    ) -> None:
        self.rate: float | None = rate
        self.batch_size = at_once  # all begin at once: a withdrawal is heeded up to the second they do
        self._clock, self._ttl, self._dry = clock, ttl, validate_only
        self._url = f"{base_url.rstrip('/')}/v1/projects/{project}/messages:send"
        self._http = Http(at_once=at_once, total_seconds=total_seconds)
        self._token = _Token(account, self._http, clock)

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """Raises Misconfigured and Unavailable, after the receipts of all that was answered otherwise."""
        requests: list[Request] = []
        now = self._clock()
        for outbound in batch:
            if not opens(outbound.part("url")):
                yield Receipt(outbound.attempt, "rejected", reason=Reason.CONTENT, detail="a link that no tap may open")
                continue
            body = self._body(outbound, now)
            if not outbound.to.get("token"):
                yield Receipt(outbound.attempt, "rejected", reason=Reason.INVALID_ADDRESS, detail="no_token")
            elif body is None:
                yield Receipt(outbound.attempt, "rejected", reason=Reason.TOO_LARGE, detail="payload")
            else:
                requests.append(Request(outbound.attempt, "POST", self._url, {}, body))
        if not requests:
            return
        began = time.monotonic()
        token = self._token.now()
        if time.monotonic() - began > _LATE:
            raise Unavailable("the access token took long to come, and is there now", 1.0)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=UTF-8"}
        broken: Misconfigured | Unavailable | None = None
        asked = [Request(r.key, r.method, r.url, headers, r.body) for r in requests]
        for answer in self._http.all(asked):
            said = self._said(answer, token)
            if isinstance(said, Receipt):
                yield said
            elif broken is None or isinstance(said, Misconfigured):
                broken = said
            elif isinstance(broken, Unavailable):
                broken.retry_after = max(broken.retry_after or 0.0, said.retry_after or 0.0) or None
        if broken is not None:
            raise broken

    def events(self, inbound: Inbound) -> list[Event]:
        """Raises Forged: FCM calls nobody back, so nothing can have come from it."""
        raise Forged("fcm reports nothing")

    # ---- out

    def _body(self, outbound: Outbound, now: datetime) -> bytes | None:
        """The request; None where the payload is more than FCM takes."""
        message = self._message(outbound, now)
        if len(_json(message)) > LARGEST:
            return None
        # `token` is deprecated in favour of `fid` since revision 20261023 of the discovery document; it takes both
        # kinds in the transition, and registrations of apps that are out there have tokens.
        body: dict[str, Any] = {"message": {**message, "token": outbound.to.get("token", "")}}
        if self._dry:
            body["validateOnly"] = True
        return _json(body)

    def _message(self, outbound: Outbound, now: datetime) -> dict[str, Any]:
        title, body = outbound.part("title"), outbound.part("body") or outbound.part("text")
        url, image = outbound.part("url"), outbound.meta.get("image", "")
        left = self._ttl
        if outbound.valid_until is not None:  # what waits for a device that is away must not ring after its hours
            left = max(0, min(left, int((outbound.valid_until - now).total_seconds())))
        notification = {"title": title, "body": body, "image": image}
        android: dict[str, Any] = {"ttl": f"{left}s"}
        apple: dict[str, Any] = {"headers": {"apns-expiration": str(int(now.timestamp()) + left if left else 0)}}
        web: dict[str, Any] = {"headers": {"TTL": str(left)}}
        if key := outbound.meta.get("collapse_key", ""):
            android["collapseKey"] = key
            apple["headers"]["apns-collapse-id"] = _short(key)
            web["headers"]["Topic"] = _topic(key)
        if image:
            apple["payload"] = {"aps": {"mutable-content": 1}}  # without it iOS shows no picture
            apple["fcmOptions"] = {"image": image}
        if url.startswith("https://"):  # FCM refuses any other link for browsers
            web["fcmOptions"] = {"link": url}
        data = {"attempt": outbound.attempt, "url": url}
        return {
            "notification": {name: value for name, value in notification.items() if value},
            "data": {name: value for name, value in data.items() if value},
            "android": android,
            "apns": apple,
            "webpush": web,
        }

    # ---- back

    def _said(self, answer: Answer, token: str) -> Receipt | Misconfigured | Unavailable:
        """What an answer says of its message; of the whole channel, where it is an error."""
        attempt = answer.key
        if isinstance(answer.failed, Unavailable):
            return answer.failed
        if answer.failed is not None:
            return Receipt(attempt, "uncertain", reason=Reason.TIMEOUT, detail="no_answer")
        wait = retry_after(answer.headers, self._clock().timestamp())
        wait = min(wait, _MOST) if wait is not None else None
        error = _Error(answer.body)
        match answer.status:
            case 200:
                return self._taken(attempt, answer.body)
            case 400:
                return Receipt(attempt, "rejected", reason=error.invalid(), detail="invalid_argument")
            case 404 if "UNREGISTERED" in error.codes:
                return Receipt(attempt, "rejected", reason=Reason.UNKNOWN_ADDRESS, detail="unregistered")
            case 404:
                return Misconfigured("FCM does not know the project, or not this address of it")
            case 403 if "SENDER_ID_MISMATCH" in error.codes:
                # The device registered with another project. It is kept: the project may be what is wrong here.
                return Receipt(attempt, "rejected", reason=Reason.CONFIGURATION, detail="sender_id_mismatch")
            case 401 if "THIRD_PARTY_AUTH_ERROR" in error.codes:
                # The project's APNs key, or its key for browsers: other devices are served, so the channel goes on.
                return Receipt(attempt, "retry", detail="misconfigured", retry_after=_LATER)
            case 401 | 403:
                self._token.drop(token)
                return Misconfigured("FCM does not let the service account send: its key, its role, or the API is off")
            case 413:
                return Receipt(attempt, "rejected", reason=Reason.TOO_LARGE, detail="payload")
            case 429:
                return Unavailable("FCM's quota is used up for now", wait if wait else _QUOTA)
            case 503 if error.status == "UNAVAILABLE" or "UNAVAILABLE" in error.codes:
                # The one 5xx that the vendor documents as not processed: "retry the same request". INTERNAL (500) is
                # "unknown", and a bad gateway's page says nothing about what stands behind it.
                return Unavailable("FCM is overloaded", wait)
        if answer.status >= 500 or answer.status == 408:
            return Receipt(attempt, "uncertain", reason=Reason.PROVIDER, detail="no_answer")
        if 300 <= answer.status < 400:
            return Misconfigured("FCM's address leads elsewhere: `base_url` is wrong")
        return Receipt(attempt, "rejected", reason=Reason.PROVIDER, detail=f"status_{answer.status}")

    def _taken(self, attempt: str, body: bytes) -> Receipt:
        name = _object(body).get("name")
        if not isinstance(name, str) or not re.fullmatch(r"projects/[!-~]{1,300}", name):
            return Receipt(attempt, "uncertain", reason=Reason.PROVIDER, detail="no_answer")
        # A dry run is answered with one and the same number every time.
        return Receipt(attempt, "accepted", f"dry-run/{attempt}" if self._dry else name)


class _Error:
    """A google.rpc.Status as FCM answers with it."""

    def __init__(self, body: bytes) -> None:
        error = _object(body).get("error")
        error = error if isinstance(error, dict) else {}
        details = error.get("details")
        found = [d for d in details if isinstance(d, dict)] if isinstance(details, list) else []
        self.status = error.get("status")
        self._message = str(error.get("message") or "")
        self.codes = {d["errorCode"] for d in found if _is(d, "FcmError") and isinstance(d.get("errorCode"), str)}
        violations = [v for d in found if _is(d, "BadRequest") for v in d.get("fieldViolations") or [{}]]
        self._fields = [v.get("field") if isinstance(v, dict) else None for v in violations]

    def invalid(self) -> Reason:
        """What is meant by one and the same 400 INVALID_ARGUMENT: the device's token, or the message itself.

        Only the first retires a device, so it must be said: a violation that names the token; or an FcmError and no
        violation at all. An Android message over the limit is said in that second way too (seen 2023), in words.
        """
        if self._fields:
            token = all(field in ("message.token", "message.fid") for field in self._fields)
            return Reason.INVALID_ADDRESS if token else Reason.CONTENT
        if "INVALID_ARGUMENT" not in self.codes:
            return Reason.CONTENT
        return Reason.TOO_LARGE if _SIZE.search(self._message) else Reason.INVALID_ADDRESS


def _is(detail: Mapping[str, Any], kind: str) -> bool:
    return str(detail.get("@type", "")).endswith(f".{kind}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _short(key: str) -> str:
    """APNs takes 64 bytes; it is a header's value there."""
    return key if re.fullmatch(r"[!-~]{1,64}", key) else hashlib.sha256(key.encode()).hexdigest()


def _topic(key: str) -> str:
    """RFC 8030, 5.4: at most 32 characters of the URL-safe Base64 alphabet."""
    return key if re.fullmatch(r"[\w-]{1,32}", key, re.ASCII) else hashlib.sha256(key.encode()).hexdigest()[:32]


class _Token:
    """The service account's access token: one for all threads, made anew before it ends (RFC 7523)."""

    def __init__(self, account: Mapping[str, str], http: Http, clock: Clock) -> None:
        try:
            from google.auth.crypt import RSASigner
        except ImportError:
            raise Misconfigured("fcm needs google-auth: install campaign-orchestrator[push]") from None
        try:
            self._signer: Any = RSASigner.from_service_account_info(account)  # type: ignore[no-untyped-call]
        except Exception:  # the library's errors quote the key
            raise Misconfigured("fcm: the private key in `credentials` cannot be read") from None
        self._account, self._http, self._clock = account, http, clock
        self._lock = threading.Lock()
        self._text, self._ends = "", 0.0

    def now(self) -> str:
        """Raises Misconfigured; Unavailable, as nothing has been handed over yet."""
        with self._lock:
            if not self._text or time.monotonic() > self._ends - _EARLY:
                self._text, lasts = self._fetched()
                self._ends = time.monotonic() + max(lasts, _EARLY + 30)
            return self._text

    def drop(self, text: str) -> None:
        """Refused: the next batch gets another. One that somebody has made since is kept."""
        with self._lock:
            if self._text == text:
                self._text = ""

    def _fetched(self) -> tuple[str, float]:
        from google.auth import jwt

        encode: Callable[..., bytes] = jwt.encode
        issued = int(self._clock().timestamp())
        uri, email = self._account["token_uri"], self._account["client_email"]
        claims = {"iss": email, "scope": _SCOPE, "aud": uri, "iat": issued, "exp": issued + 3600}
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": encode(self._signer, claims).decode(),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._http.one(Request("", "POST", uri, headers, urlencode(form).encode()))
        if answer.failed is not None or answer.status >= 500 or answer.status == 429:
            raise Unavailable("no access token could be had: Google's token service does not answer")
        found = _object(answer.body)
        text, lasts = found.get("access_token"), found.get("expires_in")
        if answer.status != 200 or not isinstance(text, str) or not re.fullmatch(r"[!-~]+", text):
            raise Misconfigured("Google gives the service account no access token: its key, or this machine's clock")
        return text, float(lasts) if isinstance(lasts, int | float) else 3600.0
