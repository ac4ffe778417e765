"""A message that comes too late is worse than none.

House policy (`expire_after` of a send step): at `expires_at` the message is over, whatever it waited for. A hold that
would outlast it is refused where the hold is decided (quiet_hours), with this rule's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict, stamp

NAME = "expiry"
ORDER = 15
REASONS: Mapping[str, str] = {"expired": "The message's time had run out (`expire_after`) before it could be sent."}

_ALLOW = Verdict(NAME, "allow")


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `expired` from `expires_at` on."""
    if subject.expires_at is None or now < subject.expires_at:
        return _ALLOW
    return Verdict(NAME, "deny", "expired", inputs={"expires_at": stamp(subject.expires_at)})
