"""The same content does not go to the same address twice within a while.

House policy (`dedupe: same address and same content within 24 hours`): customers share addresses, and journeys share
templates. What counts as the same is the dedupe key of the reservation: address, template and business key, so that a
household or a company's shared mailbox still gets what is about different people or different contracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict, stamp

NAME = "dedupe"
ORDER = 50
REASONS: Mapping[str, str] = {"duplicate": "The same content went to the same address within the time of `dedupe`."}

_ALLOW = Verdict(NAME, "allow")


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `duplicate` when less than `policies.dedupe` has passed since the same went to the same address."""
    if policies.dedupe is None or standing.duplicate_at is None or now - standing.duplicate_at >= policies.dedupe:
        return _ALLOW
    within = policies.dedupe.total_seconds()
    return Verdict(
        NAME, "deny", "duplicate", inputs={"last_sent_at": stamp(standing.duplicate_at), "within_seconds": within}
    )
