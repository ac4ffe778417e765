"""A channel against a Twilio of the test's own; every request is held against the vendor's published schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from channels import twilio
from channels.base import ChannelError, Medium, Outbound, Receipt, Site
from tests.channels.kit import outbound
from tests.vendors.server import Reply
from tests.vendors.twilio import Account, Twilio

NOW = datetime(2027, 1, 13, 12, 0, tzinfo=UTC)
HOOK = "https://small.example/hooks/sms"
SERVICE = "MG" + "0" * 32
CONTRACT = Path(__file__).parents[3] / "shared" / "contracts" / "twilio_messages.json"


class Bench:
    """A channel, its vendor, and a clock that only tests move."""

    def __init__(self, vendor: Twilio, **options: Any) -> None:
        self.vendor = vendor
        self.now = NOW
        self.account: Account = vendor.account(now=NOW)
        self.channel = self.connect(**options)

    def connect(self, **options: Any) -> twilio.Twilio:
        given: dict[str, Any] = {
            "account_sid": self.account.sid,
            "auth_token": self.account.token,
            "messaging_service_sid": SERVICE,
            "base_url": self.vendor.url,
            "timeout": 2,
            **options,
        }
        given = {name: value for name, value in given.items() if value is not None}
        self.channel = twilio.connect(Medium.SMS, given, Site(Path(), lambda: self.now, b"s" * 32, HOOK))
        opened.append(self.channel)
        return self.channel

    def send(self, *batch: Outbound) -> tuple[list[Receipt], ChannelError | None]:
        receipts = []
        try:
            for receipt in self.channel.send(batch or [text()]):
                receipts.append(receipt)
        except ChannelError as broken:
            return receipts, broken
        return receipts, None

    def one(self, *replies: Reply, **changes: Any) -> Receipt | ChannelError:
        """What one message came to when the vendor answers so."""
        self.vendor.server.next(*replies)
        receipts, broken = self.send(text(**changes))
        assert len(receipts) == (broken is None)
        return broken or receipts[0]


opened: list[twilio.Twilio] = []


def text(number: int = 0, **changes: Any) -> Outbound:
    return outbound(Medium.SMS, number, **changes)


@contextmanager
def running() -> Iterator[Twilio]:
    """A vendor; at the end connections are closed, and what it was asked is held against the schema."""
    with Twilio() as vendor:
        yield vendor
        while opened:
            opened.pop().close()
        forms = [form for account in vendor.accounts.values() for form in account.forms]
    if CONTRACT.exists():
        for form in forms:
            published.validate(form)


class Published:
    """The vendor's own description of its API."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}

    def _load(self) -> dict[str, Any]:
        if not self.document:
            self.document = json.loads(CONTRACT.read_text(encoding="utf-8"), object_hook=_nullable)
        return self.document

    def validate(self, form: dict[str, str]) -> None:
        path = self._load()["paths"]["/2010-04-01/Accounts/{AccountSid}/Messages.json"]
        schema = path["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        typed: dict[str, Any] = {**form}
        if "ValidityPeriod" in typed:
            typed["ValidityPeriod"] = int(typed["ValidityPeriod"])
        if "SmartEncoded" in typed:
            typed["SmartEncoded"] = json.loads(typed["SmartEncoded"])
        self._check({**schema, "additionalProperties": False}, typed)

    def response(self, said: dict[str, Any]) -> None:
        self._check({"$ref": "#/components/schemas/api.v2010.account.message"}, said)

    def _check(self, schema: dict[str, Any], value: dict[str, Any]) -> None:
        whole = {"components": self._load()["components"], **schema}
        jsonschema.Draft202012Validator(whole).validate(value)


def _nullable(found: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0 says `nullable` where JSON Schema lists null among the types."""
    if found.get("nullable") is True and isinstance(found.get("type"), str):
        return {**found, "type": [found["type"], "null"]}
    return found


published = Published()
