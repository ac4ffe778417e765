"""There must be somewhere to send it to: an address, a number or a live device on this very medium.

House policy: a message without an address is refused and the reason kept, so that `first_of` can pass on to the next
medium and a person can see why. Tasks and webhooks go to a place of the workspace, not to an address of a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from channels.base import Medium
from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict

NAME = "address"
ORDER = 20
REASONS: Mapping[str, str] = {
    "no_address": "There is no address on this medium: no e-mail address, phone number, live device or postal address.",
    "not_applicable": "Tasks and webhooks need no address of a person.",
}

_ALLOW = Verdict(NAME, "allow")
_PLACES = frozenset({Medium.TASK, Medium.WEBHOOK})


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `no_address` unless there is an address on the message's medium."""
    if standing.address:
        return _ALLOW
    if subject.medium in _PLACES:
        return Verdict(NAME, "allow", "not_applicable")
    return Verdict(NAME, "deny", "no_address", inputs={"medium": subject.medium.value})
