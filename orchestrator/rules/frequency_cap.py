"""No customer, and no company, gets more marketing than the workspace allows.

House policy (`policies.caps`). The law knows such caps too: three on a subject in a rolling 24 hours in Florida (Stat.
501.059(8)), Oklahoma and Maryland; `3 within 24 hours across sms` keeps to it.

A cap counts marketing messages that were allowed (reservations), on its media and of its topic, to the customer, or
with scope account to all contacts of the company together. `per` day, week (from Monday) and month are the calendar of
the customer's first candidate zone; where that zone is missing or unknown the period is taken as long as it can be
anywhere. `within` is rolling. A cap for a tier replaces, for that tier, the general cap of the same scope, media,
period and topic: the most specific word counts, whether it allows more or less; all other caps stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from orchestrator.model import Cap, Policies
from orchestrator.rules import Contact, Standing, Subject, Verdict, stamp, worked_out
from orchestrator.zones import local_start

NAME = "frequency_cap"
ORDER = 60
REASONS: Mapping[str, str] = {
    "not_applicable": "Caps judge customers only, and this message is for staff or a system.",
    "transactional": "A transactional message ignores caps.",
    "frequency_cap": "The customer, or the company, has had as many marketing messages as the workspace allows.",
}

_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")
_ALLOW = Verdict(NAME, "allow")
# The longest that a local day, week or month can have lasted so far: the clock is put back an hour once in each.
_LONGEST = {
    "day": timedelta(days=1, hours=1),
    "week": timedelta(days=7, hours=1),
    "month": timedelta(days=31, hours=1),
}


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `frequency_cap` when a cap has no room; the inputs carry the marketer's line and the counts."""
    if subject.addressee != "customer":
        return _NOT_APPLICABLE
    if subject.purpose == "transactional":
        return _TRANSACTIONAL
    if standing.contacts:
        return _verdict(subject, standing, policies, now)
    # Without contacts there is nothing of the customer's own in it.
    zone = standing.zones[0].name if standing.zones else None
    key = (NAME, subject.medium, subject.topic, subject.account_id is None, standing.tier, zone)
    known = worked_out(policies, now)
    verdict = known.get(key)
    if verdict is None:
        verdict = known[key] = _verdict(subject, standing, policies, now)
    return verdict


def _verdict(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    counts = []
    full: dict[str, Any] | None = None
    for cap in _applicable(policies.caps, subject, standing.tier):
        since = _since(cap, standing, now)
        counted = sum(1 for contact in standing.contacts if _counts(cap, contact, subject, since))
        told = {"cap": cap.key, "line": cap.text, "counted": counted, "allowed": cap.count, "since": stamp(since)}
        counts.append(told)
        if counted >= cap.count and full is None:
            full = told
    if full is not None:
        return Verdict(NAME, "deny", "frequency_cap", inputs={**full, "caps": counts})
    return Verdict(NAME, "allow", inputs={"caps": counts}) if counts else _ALLOW


def _applicable(caps: Iterable[Cap], subject: Subject, tier: str | None) -> list[Cap]:
    """The caps that concern the message, without the general ones that a cap for the tier replaces."""
    found = [
        cap
        for cap in caps
        if (cap.tier is None or cap.tier == tier)
        and (not cap.media or subject.medium in cap.media)
        and (cap.topic is None or cap.topic == subject.topic)
        and (cap.scope == "customer" or subject.account_id is not None)
    ]
    replaced = {_place(cap) for cap in found if cap.tier is not None}
    return [cap for cap in found if cap.tier is not None or _place(cap) not in replaced] if replaced else found


def _place(cap: Cap) -> tuple[object, ...]:
    return cap.scope, cap.media, cap.per, cap.within, cap.topic


def _since(cap: Cap, standing: Standing, now: datetime) -> datetime:
    """From when on contacts count. A cap without a period counts everything that is known."""
    if cap.within is not None:
        return now - cap.within
    if cap.per is None:
        return min((contact.at for contact in standing.contacts), default=now)
    start = local_start(now, standing.zones[0].name, cap.per) if standing.zones else None
    return now - _LONGEST[cap.per] if start is None else start


def _counts(cap: Cap, contact: Contact, subject: Subject, since: datetime) -> bool:
    if contact.purpose != "marketing" or contact.at < since:
        return False
    if cap.within is not None and contact.at == since:
        return False  # exactly so long ago is no longer within
    if (cap.media and contact.medium not in cap.media) or (cap.topic is not None and contact.topic != cap.topic):
        return False
    if cap.scope == "account":
        return contact.account_id == subject.account_id
    return contact.customer_id == subject.customer_id
