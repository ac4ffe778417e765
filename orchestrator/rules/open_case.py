"""Whoever waits for an answer from support gets no offers meanwhile.

House policy (`pause_on_case: yes`): marketing is held while a case of the customer is open, and judged again an hour
later; every six hours once it has waited for a day, and a last time a minute before it expires. When the case is
closed it goes, unless anything else speaks against it by then. Transactional messages go.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict

NAME = "open_case"
ORDER = 55
REASONS: Mapping[str, str] = {
    "open_case": "The customer has an open case with support; marketing waits until it is closed.",
}

_ALLOW = Verdict(NAME, "allow")
_SOON, _LATER, _LONG = timedelta(hours=1), timedelta(hours=6), timedelta(days=1)
_LAST = timedelta(minutes=1)


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Hold `open_case`; deny it in the message's last minute."""
    if not policies.pause_on_case or not standing.open_case:
        return _ALLOW
    if subject.addressee != "customer" or subject.purpose == "transactional":
        return _ALLOW
    until = now + (_SOON if now - subject.due_at < _LONG else _LATER)
    if subject.expires_at is not None and subject.expires_at <= until:
        until = subject.expires_at - _LAST
        if until <= now:
            return Verdict(NAME, "deny", "open_case")
    return Verdict(NAME, "hold", "open_case", until)
