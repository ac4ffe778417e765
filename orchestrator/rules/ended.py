"""What made a message sensible must still hold when it is sent.

House policy (exits act at once, on everything still queued): an enrollment that ended meanwhile, a customer who was
merged into another or has left, is not written to by what was planned before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict

NAME = "ended"
ORDER = 10
REASONS: Mapping[str, str] = {
    "exited": "The journey ended for this customer, or the customer was merged or has left, after it was planned.",
}

_ALLOW = Verdict(NAME, "allow")


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `exited` when the enrollment has ended or its customer is no longer there."""
    return Verdict(NAME, "deny", "exited") if standing.ended else _ALLOW
