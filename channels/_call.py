"""What a webhook call says, for every provider of that medium alike."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from channels.base import Outbound


def call_body(outbound: Outbound, at: datetime) -> dict[str, Any]:
    """The JSON object that another system gets. `id` is the message's, the same however often it is tried; `at`: when
    this attempt is made. `data` holds what the step asks for, by what it is of."""
    return {
        "id": call_id(outbound),
        "attempt": outbound.attempt,
        "journey": outbound.part("journey"),
        "step": outbound.template,
        "at": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": json.loads(outbound.part("fields") or "{}"),
    }


def call_id(outbound: Outbound) -> str:
    """What the receiver tells messages apart by."""
    return outbound.meta.get("message") or outbound.attempt
