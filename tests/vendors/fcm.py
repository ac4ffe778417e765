"""Firebase Cloud Messaging as far as we speak with it: the token service and messages:send, over HTTP on the loopback.

with FakeFcm() as fcm:
    fcm.credentials        # the JSON key of a service account that its token service knows
    fcm.url                # for `base_url`
    fcm.gone.add("token")  # this device is unregistered; likewise `malformed`, `foreign`
    fcm.sent               # the messages taken, in order
Every request is held against the discovery document, where ../shared has it; what it says against one is in `wrong`.
"""

from __future__ import annotations

import itertools
import json
import threading
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs

import jsonschema
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.vendors import published
from tests.vendors.server import Asked, Reply, Vendor

DISCOVERY = Path(__file__).resolve().parents[3] / "shared" / "contracts" / "fcm.v1.json"
PROJECT = "acme-shop"
EMAIL = "push@acme-shop.example.com"
_TYPES = "type.googleapis.com/"
FCM_ERROR = _TYPES + "google.firebase.fcm.v1.FcmError"
BAD_REQUEST = _TYPES + "google.rpc.BadRequest"


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def schema() -> dict[str, Any] | None:
    """SendMessageRequest as JSON Schema; unknown members are errors. None without the document."""
    if not DISCOVERY.exists():
        return None
    schemas = json.loads(DISCOVERY.read_text(encoding="utf-8"))["schemas"]
    return {"$ref": "#/$defs/SendMessageRequest", "$defs": {name: _plain(s) for name, s in schemas.items()}}


def _plain(found: Any) -> Any:
    """Discovery's dialect in JSON Schema's: references by name, `any`, closed objects."""
    if isinstance(found, list):
        return [_plain(each) for each in found]
    if not isinstance(found, dict):
        return found
    if isinstance(found.get("$ref"), str):
        return {"$ref": f"#/$defs/{found['$ref']}"}
    plain = {name: _plain(value) for name, value in found.items() if name not in ("format", "description", "id")}
    if isinstance(found.get("properties"), dict):
        plain["properties"] = {name: _plain(value) for name, value in found["properties"].items()}
        plain.setdefault("additionalProperties", False)
    if plain.get("type") == "any":
        del plain["type"]
    return plain


def error(code: int, status: str, message: str = "", *details: dict[str, Any], **headers: str) -> Reply:
    body = {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
    return Reply(code, {"Content-Type": "application/json", **headers}, json.dumps(body).encode(), taken=False)


def fcm_error(code: str) -> dict[str, Any]:
    return {"@type": FCM_ERROR, "errorCode": code}


def violation(field: str) -> dict[str, Any]:
    return {"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": f"Invalid value at '{field}'"}]}


BAD_TOKEN = error(
    400,
    "INVALID_ARGUMENT",
    "The registration token is not a valid FCM registration token",
    fcm_error("INVALID_ARGUMENT"),
)
BAD_PAYLOAD = error(400, "INVALID_ARGUMENT", "Invalid value", violation("message.data[0].value"))
UNREGISTERED = error(404, "NOT_FOUND", "Requested entity was not found.", fcm_error("UNREGISTERED"))
MISMATCH = error(403, "PERMISSION_DENIED", "SenderId mismatch", fcm_error("SENDER_ID_MISMATCH"))
THIRD_PARTY = error(401, "UNAUTHENTICATED", "Auth error from APNS", fcm_error("THIRD_PARTY_AUTH_ERROR"))
UNAUTHENTICATED = error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
DENIED = error(403, "PERMISSION_DENIED", "Permission 'cloudmessaging.messages.create' denied on resource")
NO_PROJECT = error(404, "NOT_FOUND", "Requested entity was not found.")
INTERNAL = error(500, "INTERNAL", "Internal error encountered.", fcm_error("INTERNAL"))
GATEWAY = Reply(502, {"Content-Type": "text/html"}, b"<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>")


def quota(seconds: str = "7") -> Reply:
    return error(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcm_error("QUOTA_EXCEEDED"), **{"Retry-After": seconds})


def unavailable(seconds: str = "3") -> Reply:
    return error(503, "UNAVAILABLE", "Try again.", fcm_error("UNAVAILABLE"), **{"Retry-After": seconds})


class FakeFcm(Vendor):
    """`next` scripts the answers to sends alone; `token_replies` those of the token service."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.gone: set[str] = set()
        self.malformed: set[str] = set()
        self.foreign: set[str] = set()
        self.sent: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self.tokens = 0
        self.lasts = 3600
        self.tokens_api = Vendor(self._token)
        self._numbers = itertools.count(1)
        self._own = threading.Lock()

    def __enter__(self) -> Self:
        self.tokens_api.__enter__()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self.tokens_api.__exit__()
        super().__exit__()

    @property
    def credentials(self) -> str:
        pem = _key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "k1",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "token_uri": f"{self.tokens_api.url}/token",
        }
        return json.dumps(account)

    def _token(self, asked: Asked) -> Reply:
        from google.auth import jwt

        form = parse_qs(asked.body.decode())
        public = (
            _key()
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        # The signature alone: the test's clock is not the library's.
        header, claims, signed, signature = jwt._unverified_decode(form["assertion"][0].encode())
        from google.auth.crypt import verify_signature

        if not verify_signature(signed, signature, public) or claims["iss"] != EMAIL or header["alg"] != "RS256":
            return Reply(400, {}, b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}')
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        assert claims["aud"] == f"{self.tokens_api.url}/token" and claims["exp"] - claims["iat"] <= 3600
        with self._own:
            self.tokens += 1
        body = {"access_token": f"ya29.{self.tokens}", "expires_in": self.lasts, "token_type": "Bearer"}
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _answer(self, asked: Asked) -> Reply:
        if asked.path != f"/v1/projects/{PROJECT}/messages:send" or asked.method != "POST":
            return NO_PROJECT
        if asked.headers.get("authorization") != f"Bearer ya29.{self.tokens}":
            return UNAUTHENTICATED
        request = json.loads(asked.body)
        if (rules := schema()) is not None:
            found = jsonschema.Draft202012Validator(rules).iter_errors(request)
            told = [f"{'.'.join(str(p) for p in e.absolute_path)}: {e.message}" for e in found]
            self.wrong += told
            published.fcm(told)
        message = request["message"]
        token = message["token"]
        if token in self.gone:
            return UNREGISTERED
        if token in self.malformed:
            return BAD_TOKEN
        if token in self.foreign:
            return MISMATCH
        if request.get("validateOnly"):
            return _named("fake_message_id")
        with self._own:
            self.sent.append(message)
            return _named(f"0:{next(self._numbers):016}%31bd1c9631bd1c96")


def _named(number: str) -> Reply:
    name = f"projects/{PROJECT}/messages/{number}"
    return Reply(200, {"Content-Type": "application/json"}, json.dumps({"name": name}).encode())
