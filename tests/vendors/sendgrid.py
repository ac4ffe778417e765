"""SendGrid, as far as it shows itself: checks a request as the real one does, puts the substitutions in, keeps what
each recipient would get, and signs what it reports.

with SendGridVendor() as vendor:
    channel = vendor.channel(clock=lambda: NOW)
    list(channel.send(batch))
    vendor.mails                                  # what each recipient would find
    channel.events(vendor.signed([vendor.event(mail, "delivered", NOW)], NOW))
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from channels.base import Inbound, Medium, Site
from channels.sendgrid import SendGrid, connect
from tests.vendors import published
from tests.vendors.server import Asked, Reply, Vendor

KEY = "SG.not-a-real-key"
SCHEMA = Path(__file__).resolve().parents[3] / "shared/contracts/sendgrid"
"""The vendor's published description of the request, beside the repository; not everybody has it."""


@dataclass(frozen=True)
class Mail:
    """What one recipient would find in the inbox."""

    to: str
    name: str
    sender: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]
    attempt: str
    attachments: tuple[tuple[str, str, bytes], ...]
    message_id: str
    categories: tuple[str, ...] = ()


def put_in(text: str, substitutions: Mapping[str, str]) -> str:
    """The vendor does not say in which order, or how often: every way has to come to the same."""
    tags = list(substitutions)
    found = set()
    for order in (tags, tags[::-1], random.Random(1).sample(tags, len(tags)), tags + tags):
        done = text
        for tag in order:
            done = done.replace(tag, substitutions[tag])
        found.add(done)
    assert len(found) == 1, "what comes out depends on the order in which the vendor replaces"
    return found.pop()


def validator() -> Any:
    """Of a request's body against the published schema; None where that is not there."""
    path = SCHEMA / "paths/mail_send/mail_send.json"
    if not path.exists():
        return None
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    def retrieve(uri: str) -> Resource[Any]:
        return DRAFT7.create_resource(json.loads((SCHEMA / "paths/mail_send" / uri).read_text(encoding="utf-8")))

    schema = json.loads(path.read_text(encoding="utf-8"))
    body = schema["mail_send"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return Draft7Validator(body, registry=Registry(retrieve=retrieve))  # type: ignore[call-arg]


@dataclass
class _Keys:
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public(self) -> str:
        """As the vendor's settings page shows it."""
        der = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()


class SendGridVendor(Vendor):
    def __init__(self) -> None:
        super().__init__(self._answer)
        self.keys = _Keys()
        self.mails: list[Mail] = []
        self.bodies: list[dict[str, Any]] = []
        self.refuse: Callable[[dict[str, Any]], Reply | None] = lambda body: None

    def channel(self, clock: Callable[[], datetime], **options: Any) -> SendGrid:
        given = {"api_key": KEY, "base_url": self.url, "webhook_keys": [self.keys.public], **options}
        made = connect(Medium.EMAIL, given, Site(Path(), clock, b"secret"))
        assert isinstance(made, SendGrid)
        return made

    def attempts(self) -> list[str]:
        return [mail.attempt for mail in self.mails]

    # ---- mail send

    def _answer(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) != ("POST", "/v3/mail/send"):
            return _error(404, "", "not found")
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "", "The provided authorization grant is invalid, expired, or revoked")
        if len(asked.body) > 30_000_000:
            return _error(413, "", "Payload too large")
        body = json.loads(asked.body)
        self.bodies.append(body)
        published.sendgrid(body)
        told = self.refuse(body) or _checked(body)
        if told is not None:
            return told
        sandbox = body["mail_settings"]["sandbox_mode"]["enable"]
        message_id = f"id{len(self.bodies)}-{len(asked.body)}"
        if sandbox:
            return Reply(200)
        self.mails += [_mail(body, person, message_id) for person in body["personalizations"]]
        return Reply(202, {"X-Message-Id": message_id})

    # ---- event webhook

    def event(self, mail: Mail, kind: str, at: datetime, **more: Any) -> dict[str, Any]:
        return {
            "email": mail.to,
            "timestamp": int(at.timestamp()),
            "smtp-id": f"<{mail.message_id}@geopod-ismtpd-1>",
            "event": kind,
            "category": list(mail.categories),
            "sg_event_id": base64.b64encode(random.randbytes(16)).decode(),  # another at each telling
            "sg_message_id": f"{mail.message_id}.recvd-1.0",
            "attempt_id": mail.attempt,
            **({"attempt": "5", "response": "400 try again later"} if kind == "deferred" else {}),
            **more,
        }

    def signed(self, events: Sequence[Any], at: datetime) -> Inbound:
        lines = ",\r\n".join(json.dumps(event, separators=(",", ":")) for event in events)
        return self.signed_bytes(f"[{lines}]\r\n".encode(), at)

    def signed_bytes(self, body: bytes, at: datetime, keys: _Keys | None = None) -> Inbound:
        stamp = str(int(at.timestamp()))
        signature = (keys or self.keys).private.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return Inbound(
            body,
            {
                "Content-Type": "application/json",
                "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
                "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
            },
        )


def _error(status: int, field_: str, message: str) -> Reply:
    told = {"errors": [{"message": message, "field": field_ or None, "help": None}]}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(told).encode())


def _checked(body: Mapping[str, Any]) -> Reply | None:
    """The refusal that the real one would give; it names people, as the real one does."""
    people = body.get("personalizations") or []
    if not 1 <= len(people) <= 1000:
        return _error(400, "personalizations", f"The personalization block is limited to 1000. You have {len(people)}")
    seen: set[str] = set()
    for n, person in enumerate(people):
        for to in person.get("to") or [{}]:
            address = to.get("email", "")
            if address.count("@") != 1 or address.split("@")[1] == "invalid":
                return _error(400, f"personalizations.{n}.to", f"{address} does not contain a valid address.")
            if address.lower() in seen:
                said = f"Each unique email address should only be included once. You have included {address} more."
                return _error(400, "personalizations", said)
            seen.add(address.lower())
        size = sum(len(k.encode()) + len(v.encode()) for k, v in person.get("substitutions", {}).items())
        if size > 10_000:
            return _error(400, f"personalizations.{n}.substitutions", "Substitutions may not exceed 10000 bytes")
        if sum(len(k.encode()) + len(v.encode()) for k, v in person.get("custom_args", {}).items()) > 10_000:
            return _error(400, f"personalizations.{n}.custom_args", "may not exceed 10000 bytes")
        for name, value in person.get("headers", {}).items():
            if not value.isascii() or "\n" in value or name.lower() in ("to", "from", "subject", "reply-to"):
                return _error(400, f"personalizations.{n}.headers", f"bad header {name}: {value}")
    for name in ("from", "subject", "content"):
        if not body.get(name):
            return _error(400, name, f"The {name} is required")
    if any(not content["value"] for content in body["content"]):
        return _error(400, "content.0.value", "must be a string at least one character in length")
    kinds = [content["type"] for content in body["content"]]
    if kinds != sorted(kinds, key=["text/plain", "text/html"].index):
        return _error(400, "content", "text/plain has to be the first")
    if len(body.get("categories", ())) > 10 or any(len(c) > 255 for c in body.get("categories", ())):
        return _error(400, "categories", "too many")
    return None


def _mail(body: Mapping[str, Any], person: Mapping[str, Any], message_id: str) -> Mail:
    tags = person.get("substitutions", {})
    content = {part["type"]: put_in(part["value"], tags) for part in body["content"]}
    # Whether the vendor looks for tags in headers, too, it says now so and now so: nothing may hang on it.
    for value in (*person.get("headers", {}).values(), *person.get("custom_args", {}).values()):
        assert put_in(value, tags) == value
    (to,) = person["to"]
    return Mail(
        to["email"],
        to.get("name", ""),
        body["from"]["email"],
        put_in(body["subject"], tags),
        content.get("text/plain", ""),
        content.get("text/html", ""),
        person.get("headers", body.get("headers", {})),
        person["custom_args"]["attempt_id"],
        tuple((a["filename"], a["type"], base64.b64decode(a["content"])) for a in body.get("attachments", ())),
        message_id,
        tuple(body.get("categories", ())),
    )


def epoch(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
