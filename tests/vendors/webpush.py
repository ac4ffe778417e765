"""A push service and the browsers that subscribe to it, on the loopback: decrypts what it is given as they would.

with FakePush() as push:
    push.subscription("b1")     # the token: a browser's subscription, as JSON
    push.gone.add("b1")         # it has unsubscribed
    push.shown                  # (browser, what it shows, the request's headers)
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
from functools import cache
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from py_vapid import Vapid02

from tests.vendors.server import Asked, Reply, Vendor

SECRET = b"sixteen bytes..."


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@cache
def _browser(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def house_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def vapid_pem() -> str:
    return house_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def vapid_raw() -> str:
    return b64(house_key().private_numbers().private_value.to_bytes(32, "big"))


class FakePush(Vendor):
    def __init__(self) -> None:
        super().__init__(self._answer)
        self.gone: set[str] = set()
        self.shown: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._numbers = itertools.count(1)
        self._own = threading.Lock()

    def subscription(self, name: str) -> str:
        public = _browser(name).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"auth": b64(SECRET), "p256dh": b64(public)}
        return json.dumps({"endpoint": f"{self.url}/wpush/{name}", "expirationTime": None, "keys": keys})

    def _answer(self, asked: Asked) -> Reply:
        name = asked.path.rpartition("/")[2]
        headers = asked.headers
        if not _signed(headers.get("authorization", ""), self.url):
            return Reply(403, {}, b"invalid VAPID")
        if headers.get("content-encoding") != "aes128gcm" or not headers.get("ttl", "").isdigit():
            return Reply(400)
        if len(asked.body) > 4096:
            return Reply(413)
        if name in self.gone:
            return Reply(410)
        plain = http_ece.decrypt(asked.body, private_key=_browser(name), auth_secret=SECRET, version="aes128gcm")
        with self._own:
            self.shown.append((name, json.loads(plain), dict(headers)))
            return Reply(201, {"Location": f"{self.url}/m/{next(self._numbers)}"})


def _signed(header: str, origin: str) -> bool:
    """Whether the house signed it, for this service and for no more than a day."""
    if not header.startswith("vapid t=") or not Vapid02.verify(header):
        return False
    parts = dict(part.split("=", 1) for part in header.removeprefix("vapid ").split(","))
    public = house_key().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    claims = json.loads(unb64(parts["t"].split(".")[1]))
    return unb64(parts["k"]) == public and claims["aud"] == origin and claims["sub"].startswith("mailto:")
