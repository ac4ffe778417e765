"""What SendGrid's Event Webhook tells. The signature is checked by the vendor's own code, on the bytes as they came.

The vendor sends what it has told again, for up to a day, in any order and with new event ids: so an event is known by
its attempt, kind, instant and link, and nothing here remembers anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from sendgrid import EventWebhook, EventWebhookHeader

from channels.base import ChannelError, Event, EventKind, Forged, Inbound, Misconfigured, Reason
from channels.sendgrid.body import ATTEMPT

MAX_AGE = 600.0
_AHEAD = 60.0  # seconds that the vendor's clock may be ahead of ours
_SIGNATURE = EventWebhookHeader.SIGNATURE.lower()
_TIMESTAMP = EventWebhookHeader.TIMESTAMP.lower()
_LATEST = 2**33  # seconds since 1970

Told = tuple[EventKind, Reason | None]

_PLAIN: Mapping[str, Told] = {
    "processed": (EventKind.ACCEPTED, None),
    "deferred": (EventKind.DEFERRED, None),
    "delivered": (EventKind.DELIVERED, None),
    "open": (EventKind.OPENED, None),
    "click": (EventKind.CLICKED, None),
    "spamreport": (EventKind.COMPLAINED, None),
    "unsubscribe": (EventKind.UNSUBSCRIBED, None),
    "group_unsubscribe": (EventKind.UNSUBSCRIBED, None),
    "group_resubscribe": (EventKind.RESUBSCRIBED, None),
}
_HARD: Told = (EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS)
_FULL: Told = (EventKind.SOFT_BOUNCED, None)
_REFUSED: Told = (EventKind.BLOCKED, Reason.PROVIDER)

_CLASSES: Sequence[tuple[str, Told]] = (
    ("invalid", _HARD),
    ("mailbox", _FULL),
    ("content", (EventKind.BLOCKED, Reason.CONTENT)),
    ("reputation", _REFUSED),
    ("frequency", (EventKind.BLOCKED, Reason.RATE)),
    ("technical", _REFUSED),
)
"""How the vendor classifies a bounce, by the first letters."""

_STATUSES: Sequence[tuple[str, Told]] = (
    ("5.1.8", _REFUSED),  # it is our own address that is refused
    ("5.1.7", _REFUSED),
    ("5.1.", _HARD),
    ("5.2.1", _HARD),  # switched off
    ("5.2.2", _FULL),
    ("5.2.", _REFUSED),
    ("5.3.", _REFUSED),
    ("5.4.", _REFUSED),
    ("5.5.", _REFUSED),
    ("5.6.", (EventKind.BLOCKED, Reason.CONTENT)),
    ("5.7.", _REFUSED),
    ("4.", _FULL),
)
"""RFC 3463's codes, for what is not classified."""

_DROPS: Sequence[tuple[str, Told]] = (
    ("bounced address", (EventKind.DROPPED, Reason.UNKNOWN_ADDRESS)),
    ("unsubscribed address", (EventKind.DROPPED, Reason.OPTED_OUT)),
    ("spam reporting address", (EventKind.DROPPED, Reason.OPTED_OUT)),
    # These say nothing against the address; what is DROPPED is not written to again.
    ("spam content", (EventKind.FAILED, Reason.CONTENT)),
    ("invalid smtpapi", (EventKind.FAILED, Reason.CONFIGURATION)),
    ("recipient list over", (EventKind.FAILED, Reason.CONFIGURATION)),
    ("invalid", (EventKind.DROPPED, Reason.INVALID_ADDRESS)),
)
"""Why the vendor did not try, by the beginning of its text."""

REPORTS = frozenset(
    {told[0] for told in _PLAIN.values()}
    | {told[0] for _, told in (*_CLASSES, *_STATUSES, *_DROPS)}
    | {EventKind.MACHINE_OPENED}
)
_OF_ADDRESSES = frozenset({EventKind.BOUNCED, EventKind.DROPPED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED})
"""What counts without an attempt: it is a word on the address itself."""


def verifiers(keys: object) -> tuple[EventWebhook, ...]:
    """For public keys as the vendor shows them: base64, with or without PEM's first and last line; a list, or one text
    with spaces or commas between. Raises Misconfigured."""
    found = [keys] if isinstance(keys, str) else keys
    if not isinstance(found, list | tuple) or not all(isinstance(key, str) for key in found):
        raise Misconfigured("sendgrid: `webhook_keys` is a list of public keys")
    made = []
    for text in found:
        bare = re.sub(r"-----(BEGIN|END) PUBLIC KEY-----", " ", text)
        # A key in PEM has line breaks within it; keys side by side begin alike.
        for key in re.split(r"[\s,]+(?=MFk)", bare):
            if not (plain := re.sub(r"[\s,]", "", key)):
                continue
            try:
                verifier = EventWebhook(plain)
            except Exception as error:
                raise Misconfigured(
                    f"sendgrid: a key of `webhook_keys` cannot be read ({type(error).__name__})"
                ) from None
            if not isinstance(verifier.public_key, ec.EllipticCurvePublicKey):
                raise Misconfigured("sendgrid: a key of `webhook_keys` is not one for ECDSA")
            made.append(verifier)
    return tuple(made)


def verify(inbound: Inbound, keys: Sequence[EventWebhook], now: float, max_age: float) -> None:
    """Raises Forged. `now`: seconds since 1970."""
    headers = {name.lower(): value for name, value in inbound.headers.items()}
    signature, stamp = headers.get(_SIGNATURE, ""), headers.get(_TIMESTAMP, "")
    if not signature or not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise Forged("the request is not signed")
    try:
        payload = inbound.body.decode()
        genuine = any(key.verify_signature(payload, signature, stamp) for key in keys)
    except ValueError:  # no UTF-8, no base64
        genuine = False
    if not genuine:
        raise Forged("the signature is none of ours")
    # The vendor's code does not look at the age: without this, a request once overheard is good for ever.
    if not -_AHEAD <= now - int(stamp) <= max_age:
        raise Forged("the signature is too old, or a clock is wrong")


def read(body: bytes) -> list[Event]:
    """What a genuine request tells. An entry that makes no sense is left out and spoils no other. Raises ChannelError
    for a body that is no list at all: that is told again later, when somebody has looked, and not lost in silence."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise ChannelError("a signed request of SendGrid's is no JSON") from None
    if isinstance(told, dict):
        told = [told]
    if not isinstance(told, list):
        raise ChannelError("a signed request of SendGrid's is no list of events")
    return [event for entry in told if isinstance(entry, dict) and (event := _event(entry)) is not None]


def _event(entry: Mapping[str, Any]) -> Event | None:
    found, at = _kind(entry), _instant(entry.get("timestamp"))
    if found is None or at is None:
        return None
    kind, reason = found
    attempt = _text(entry, ATTEMPT)
    address = "" if attempt else _text(entry, "email")
    # Of somebody else's mail through the same account, and of a group of theirs, we hear nothing.
    if not attempt and (kind not in _OF_ADDRESSES or not address or entry["event"] == "group_unsubscribe"):
        return None
    return Event(
        attempt,
        kind,
        at,
        _text(entry, "sg_message_id"),
        reason,
        _text(entry, "url") if kind is EventKind.CLICKED else "",
        _status(entry),
        address,
    )


def _kind(entry: Mapping[str, Any]) -> Told | None:
    name = entry.get("event")
    match name:
        case "bounce":
            return _bounce(entry)
        case "dropped":
            why = _text(entry, "reason").lower()
            # Unknown to us: the message is lost, and the address is not judged by a word that nobody understood.
            return next((told for start, told in _DROPS if why.startswith(start)), (EventKind.FAILED, Reason.PROVIDER))
        case "open" if entry.get("sg_machine_open") in (True, "true", 1):
            return EventKind.MACHINE_OPENED, None
        case str():
            return _PLAIN.get(name)
    return None


def _bounce(entry: Mapping[str, Any]) -> Told:
    """The vendor's class first, then the status. What it calls blocked is never held against the address: it tries
    again itself the next time."""
    named, status = _text(entry, "bounce_classification").lower(), _status(entry)
    by_class = next((told for start, told in _CLASSES if named.startswith(start)), None)
    by_status = next((told for start, told in _STATUSES if status.startswith(start)), None)
    if by_class is _FULL and by_status is _HARD:
        by_class = _HARD  # a mailbox that is not full but gone
    told = by_class or by_status
    if entry.get("type") == "blocked":
        return told if told is not None and told[0] is EventKind.BLOCKED else _REFUSED
    return told or _HARD


def _status(entry: Mapping[str, Any]) -> str:
    """An RFC 3463 code and nothing else: the texts beside it name people."""
    given = entry.get("status")
    found = re.match(r"[245]\.\d{1,3}\.\d{1,3}\b", given) if isinstance(given, str) else None
    if found is None and isinstance(entry.get("reason"), str):
        found = re.search(r"(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])", entry["reason"][:200])
    return found[0] if found else ""


def _instant(value: object) -> datetime | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LATEST:
        return None
    return datetime.fromtimestamp(int(value), UTC)


def _text(entry: Mapping[str, Any], name: str) -> str:
    """A text as a database can keep it: PostgreSQL knows no NUL, and half a character is no UTF-8."""
    value = entry.get(name)
    return value.replace("\0", "").encode(errors="replace").decode() if isinstance(value, str) else ""
