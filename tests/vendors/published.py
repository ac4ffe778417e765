"""Every request that a fake of a vendor's takes is held against what the vendor has published, wherever that is.

A fake tells `sendgrid(body)`, `twilio(form)` or `fcm(found)`; the fixture of tests/conftest.py fails the test in whose
time something was told. Without ../shared nothing is checked, and the head of the run says so.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parents[3] / "shared" / "contracts"
WRONG: list[str] = []
"""What did not fit, since the last test."""
_MOST = 20  # of the recipients of one request; the others are looked at where they have other members


def there() -> bool:
    return CONTRACTS.is_dir()


def sendgrid(body: Any) -> None:
    if (validator := _sendgrid()) is None:
        return
    if isinstance(body, dict) and isinstance(people := body.get("personalizations"), list) and len(people) > _MOST:
        shapes = {tuple(sorted(p)): p for p in people if isinstance(p, dict)}
        body = {**body, "personalizations": [*people[: _MOST // 2], *people[-_MOST // 2 :], *shapes.values()]}
    WRONG.extend(f"sendgrid: {_told(e)}" for e in validator.iter_errors(body))


@cache
def _sendgrid() -> Any:
    from tests.vendors.sendgrid import validator

    return validator()


def twilio(form: dict[str, str]) -> None:
    if not there():
        return
    import jsonschema

    from tests.vendors.twilio_bench import published

    try:
        published.validate(form)
    except (jsonschema.ValidationError, ValueError) as error:
        WRONG.append(f"twilio: {_told(error) if isinstance(error, jsonschema.ValidationError) else error!r}")


def fcm(found: list[str]) -> None:
    WRONG.extend(f"fcm: {each}" for each in found)


def _told(error: Any) -> str:
    return f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}"[:500]


def told_of(kind: str, request: Any) -> list[str]:
    """What is wrong with one request, for a test of this very check."""
    kept, WRONG[:] = WRONG[:], []
    try:
        {"sendgrid": sendgrid, "twilio": twilio}[kind](json.loads(json.dumps(request)))
        return WRONG[:]
    finally:
        WRONG[:] = kept
