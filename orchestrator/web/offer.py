"""What the API offers, as an OpenAPI document: made of what the program takes, so that the two cannot part."""

from __future__ import annotations

from typing import Any, Final

from orchestrator import __version__
from orchestrator.accepting import MOST_ROWS
from orchestrator.rows import CONSENT_ACTIONS, CONSENT_MEDIA, PLATFORMS

DESCRIPTION: Final = (
    "Hand in what happened, who people are and what they said yes or no to. Rows have the columns of the import files "
    "(see the page on imports), and keys of their own: the same row twice changes nothing. Values that workspace.yaml "
    "declares go by their names there."
)
_TEXT = {"type": "string", "minLength": 1, "maxLength": 200}
_VALUE = {"type": ["string", "number", "boolean", "null"]}
_ROWS: Final[dict[str, tuple[str, list[str], dict[str, Any]]]] = {
    "events": (
        "What happened",
        ["type", "occurred_at"],
        {
            "type": {**_TEXT, "description": "as workspace.yaml declares it"},
            "key": {**_TEXT, "description": "the event's own id: the same one twice is one event"},
            "customer": _TEXT,
            "account": _TEXT,
            "occurred_at": {"type": "string", "format": "date-time"},
        },
    ),
    "customers": (
        "People",
        ["key"],
        {
            "key": _TEXT,
            "class": _TEXT,
            "tier": _VALUE,
            "account": _VALUE,
            "email": {"type": ["string", "null"]},
            "phone": {"type": ["string", "null"]},
            "first_name": _VALUE,
            "last_name": _VALUE,
            "country": {"type": ["string", "null"], "description": "ISO 3166 alpha-2"},
            "timezone": {"type": ["string", "null"]},
            "locale": {"type": ["string", "null"]},
        },
    ),
    "accounts": ("Companies", ["key"], {"key": _TEXT, "class": _TEXT, "name": _VALUE, "parent": _VALUE}),
    "devices": (
        "Devices that take push messages",
        ["token", "customer"],
        {
            "token": {"type": "string", "minLength": 1, "maxLength": 4096},
            "customer": _TEXT,
            "platform": {"type": "string", "enum": list(PLATFORMS)},
            "gone": {"type": "boolean", "description": "signed out: it is written to no more"},
        },
    ),
    "consents": (
        "Yes and no, as they were said; or sign-ups, which are asked to be confirmed (action `request`)",
        ["customer", "action"],
        {
            "key": _TEXT,
            "customer": _TEXT,
            "medium": {"type": "string", "enum": [str(m) for m in CONSENT_MEDIA]},
            "topic": {**_TEXT, "description": "as workspace.yaml declares it; `*`: every topic of the medium"},
            "action": {"type": "string", "enum": list(CONSENT_ACTIONS)},
            "occurred_at": {"type": "string", "format": "date-time"},
            "basis": _VALUE,
            "method": _VALUE,
            "wording": {**_VALUE, "description": "the words that were shown"},
            "source_url": _VALUE,
            "ip": _VALUE,
            "agent": _VALUE,
        },
    ),
    "vouchers/redeem": (
        "Voucher codes that a till redeems; a refused row has a `reason`: unknown, not_given, expired, void, redeemed",
        ["code", "receipt"],
        {
            "code": {"type": "string", "minLength": 1, "maxLength": 100},
            "receipt": {**_TEXT, "description": "the till's number of the sale: the same one again is the same sale"},
            "at": {"type": "string", "format": "date-time", "description": "when; without it, now"},
            "amount": {"type": ["number", "string", "null"], "description": "what was bought for"},
            "amount_currency": {"type": ["string", "null"], "description": "ISO 4217; without it, the workspace's"},
        },
    ),
    "referrals": (
        "Who was brought by whose code; what does not count is refused with the reason",
        ["code"],
        {
            "code": {"type": "string", "minLength": 1, "maxLength": 100},
            "customer": {**_VALUE, "description": "who was referred; or `account`"},
            "account": _VALUE,
            "at": {"type": "string", "format": "date-time", "description": "when; without it, now"},
        },
    ),
    "records/{record_type}": (
        "What a customer or an account has several of: contracts, invoices",
        [],
        {"customer": _TEXT, "account": _TEXT},
    ),
}
_REFUSALS: Final = {
    400: "not JSON, or an Idempotency-Key that is none",
    401: "no valid key",
    403: "the key may not do this",
    404: "workspace.yaml declares nothing of that name",
    409: "no workspace is in force, a journey is paused or has no trigger `api`, or the same request is at work",
    413: "the body is too large",
    415: "not JSON",
    422: "no row could be taken; `refused` says why of each, or `detail` of the whole",
    429: "too many requests: wait as long as `Retry-After` says",
    503: "the database cannot be reached: ask again",
}


def openapi(server: str) -> dict[str, Any]:
    """The document, OpenAPI 3.1, for an installation at this address."""
    paths = {f"/v1/{path}": {"post": _taking(path, *what)} for path, what in _ROWS.items()}
    paths["/v1/journeys/{journey}/enroll"] = {"post": _enrolling()}
    paths["/v1/rewards/claim"] = {"post": _claiming()}
    paths["/v1/rewards"] = {"get": _offering()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Campaign orchestrator", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": server.rstrip("/")}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Accepted": _ACCEPTED, "Problem": _PROBLEM},
        },
    }


_NUMBER = {"type": "integer", "minimum": 0}
_ACCEPTED: Final = {
    "type": "object",
    "required": ["rows", "refused", "warnings"],
    "properties": {
        "rows": _NUMBER,
        "refused": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["row", "problem"],
                "properties": {
                    "row": {"type": "integer", "minimum": 1},
                    "problem": {"type": "string"},
                    "reason": {"type": "string", "description": "a word for programs, where there is one"},
                },
            },
        },
        "warnings": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": _NUMBER,
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "a word for programs, where there is one"},
    },
}
_CLAIM: Final = {
    "type": "object",
    "required": ["claim", "reward", "cost", "state"],
    "properties": {
        "claim": {"type": "integer", "minimum": 1},
        "reward": {"type": "string"},
        "cost": _NUMBER,
        "state": {"type": "string", "enum": ["claimed", "handed_over", "fulfilled", "cancelled"]},
        "voucher": {
            "type": "object",
            "required": ["code", "expires"],
            "properties": {"code": {"type": "string"}, "expires": {"type": ["string", "null"], "format": "date"}},
        },
    },
}
_OFFERS: Final = {
    "type": "object",
    "required": ["customer", "points", "rewards"],
    "properties": {
        "customer": {"type": "string"},
        "points": {"type": "integer"},
        "rewards": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["reward", "title", "kind", "costs", "left", "taken", "available", "reason"],
                "properties": {
                    "reward": {"type": "string"},
                    "title": {"type": "string"},
                    "kind": {"type": "string"},
                    "costs": _NUMBER,
                    "left": {"type": ["integer", "null"], "description": "null: any number"},
                    "taken": _NUMBER,
                    "available": {"type": "boolean"},
                    "reason": {"type": "string", "description": "why it cannot be claimed now; empty when it can"},
                },
            },
        },
    },
}


def _operation(summary: str, body: dict[str, Any], parameters: list[str]) -> dict[str, Any]:
    accepted = {"schema": {"$ref": "#/components/schemas/Accepted"}}
    said = {"schema": {"$ref": "#/components/schemas/Problem"}}
    refusals = {
        str(status): {"description": text, "content": {"application/problem+json": said}}
        for status, text in _REFUSALS.items()
    }
    refusals["422"]["content"]["application/json"] = accepted  # type: ignore[index]
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 200}}
        for name in parameters
    ]
    once = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "the same key with the same body within a week is done once, and answered alike",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]{1,200}$"},
    }
    return {
        "summary": summary,
        "parameters": [*named, once],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": {"description": "taken", "content": {"application/json": accepted}}, **refusals},
    }


def _taking(path: str, summary: str, required: list[str], columns: dict[str, Any]) -> dict[str, Any]:
    row = {"type": "object", "required": required, "properties": columns, "additionalProperties": _VALUE}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": MOST_ROWS}
    return _operation(summary, {"oneOf": [row, rows]}, ["record_type"] if "{" in path else [])


def _enrolling() -> dict[str, Any]:
    listed = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_ROWS}
    body = {
        "type": "object",
        "required": ["key"],
        "properties": {
            "customers": listed,
            "accounts": listed,
            "key": {"type": "string", "pattern": "^[A-Za-z0-9_.:/-]{1,100}$", "description": "what for"},
        },
        "oneOf": [{"required": ["customers"]}, {"required": ["accounts"]}],
        "additionalProperties": False,
    }
    return _operation("Let people or companies into a journey that has the trigger `api`", body, ["journey"])


def _claiming() -> dict[str, Any]:
    body = {
        "type": "object",
        "required": ["customer", "reward", "key"],
        "properties": {
            "customer": _TEXT,
            "reward": _TEXT,
            "key": {
                **_TEXT,
                "description": "what for, such as an order's number: the same one again is the same claim",
            },
        },
    }
    reasons = "unknown, not_member, tier, only_if, each, sold_out, no_voucher, points, key"
    found = _operation(f"Claim a reward for a customer's points; a refusal (409) has a `reason`: {reasons}", body, [])
    found["responses"]["200"] = {
        "description": "claimed, now or before with this key",
        "content": {"application/json": {"schema": _CLAIM}},
    }
    found["responses"]["409"]["description"] = "no workspace is in force, or the claim is refused, with its `reason`"
    return found


def _offering() -> dict[str, Any]:
    found = _operation("What a customer can have for her points", {}, [])
    del found["requestBody"], found["responses"]["422"]["content"]["application/json"]
    found["parameters"] = [{"name": "customer", "in": "query", "required": True, "schema": _TEXT}]
    found["responses"]["200"] = {
        "description": "the rewards of her class, the cheapest first",
        "content": {"application/json": {"schema": _OFFERS}},
    }
    return found
