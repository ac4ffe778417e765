"""Whoever asked for a rest gets no marketing until it is over, on any medium.

House policy, on the person's own word on the preference centre ("pause for 30 days"); GDPR art. 21(2) knows objections
without an end only. It takes no consent away: when the time is over everything is as it was, and what would have been
sent meanwhile is not sent later. A transactional message goes all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict, stamp

NAME = "pause"
ORDER = 42
REASONS: Mapping[str, str] = {
    "customer_paused": "The customer asked for no marketing until a day that has not come yet.",
}

_ALLOW = Verdict(NAME, "allow")


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `customer_paused` to marketing while the customer's own pause lasts."""
    wishes = standing.wishes
    if wishes is None or wishes.paused_until is None or now >= wishes.paused_until:
        return _ALLOW
    if subject.addressee != "customer" or subject.purpose == "transactional":
        return _ALLOW
    return Verdict(NAME, "deny", "customer_paused", inputs={"paused_until": stamp(wishes.paused_until)})
