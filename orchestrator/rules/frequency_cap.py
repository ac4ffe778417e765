"""No customer, and no company, gets more marketing than the law and the workspace allow.

House policy (`policies.caps`), and the law's own caps, as the ruleset has them: at most three texts on one subject in a
rolling 24 hours in Florida (Fla. Stat. 501.059(8)), Oklahoma (15 O.S. 775C.4) and Maryland (Com. Law 14-3201 and
following). The subject is the topic. Those of every candidate jurisdiction count, where only the country is known
those of each of its regions, and all where no country is; no house policy widens them, and no tier.

A cap counts marketing messages that were allowed (reservations), on its media and of its topic, to the customer, or
with scope account to all contacts of the company together; and contacts of the departments that `policies.counting`
names, which have no topic: a house cap for a topic does not count them, the law's counts those by text, as nobody can
say that they were about something else. `per` day, week (from Monday) and month are the calendar of the customer's
first candidate zone; where that zone is missing or unknown the period is taken as long as it can be anywhere. `within`
is rolling. A customer's own wish ("at most two a week", on the preference centre) is one cap more, on all media
together: it narrows what the house allows and never widens it. A cap for a tier, or for a band of the pyramid, replaces
for those who are in it the general cap of the same scope, media, period and topic: the most specific word counts,
whether it allows more or less; all other caps stay, and of one for a tier and one for a band both count.

Where a cap leaves less room than there are messages ready, priority decides: a message makes way for those that go
before it, and is looked at again a few minutes later. Never when it would expire meanwhile: to wait is no reason to
be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from channels.base import Medium
from orchestrator.model import Cap, HoursRule, Policies
from orchestrator.rules import Contact, Place, Rival, Standing, Subject, Verdict, stamp, worked_out
from orchestrator.zones import local_start

NAME = "frequency_cap"
ORDER = 60
REASONS: Mapping[str, str] = {
    "not_applicable": "Caps judge what customers hear of: this is for staff, a system or a list.",
    "transactional": "A transactional message ignores caps.",
    "legal_cap": "The law allows no more texts on this subject within the time, in a place the customer may be in.",
    "frequency_cap": "The customer, or the company, has had as many marketing messages as the workspace allows.",
    "customer_frequency": "The customer has had as many marketing messages as she said she wants.",
    "outranked": "A cap leaves less room than there are messages ready, and others go first; judged again in minutes.",
}

AGAIN = timedelta(minutes=5)
"""When a message that made way is looked at again: by then the others have had their turn."""

_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")
_ALLOW = Verdict(NAME, "allow")
# The longest that a local day, week or month can have lasted so far: the clock is put back an hour once in each.
_LONGEST = {
    "day": timedelta(days=1, hours=1),
    "week": timedelta(days=7, hours=1),
    "month": timedelta(days=31, hours=1),
}
_LAW = "law "  # begins the key of a cap that is one of the ruleset's rows
_OWN = "own"  # the key of a customer's own cap


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `legal_cap` or `frequency_cap` when a cap has no room, hold `outranked` when others fill it first; the
    inputs carry the marketer's line, or the law, and the counts."""
    if subject.addressee != "customer" or subject.medium is Medium.AUDIENCE:
        return _NOT_APPLICABLE
    if subject.purpose == "transactional":
        return _TRANSACTIONAL
    if standing.contacts or standing.rivals:
        return _verdict(subject, standing, policies, now)
    # Without contacts there is nothing of the customer's own in it.
    zone = standing.zones[0].name if standing.zones else None
    places = _candidates(standing) if subject.medium is Medium.SMS else ()
    key = (
        NAME,
        subject.medium,
        subject.topic,
        subject.account_id is None,
        standing.tier,
        standing.band,
        zone,
        places,
        _own_cap(standing),
    )
    known = worked_out(policies, now)
    verdict = known.get(key)
    if verdict is None:
        verdict = known[key] = _verdict(subject, standing, policies, now)
    return verdict


def _verdict(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    counts = []
    full: dict[str, Any] | None = None
    short: dict[str, Any] | None = None
    house = _applicable(policies.caps, subject, standing)
    for cap in (*_laws(policies, subject, standing, now), *house, *_own_cap(standing)):
        since = _since(cap, standing, now)
        counted = sum(1 for contact in standing.contacts if _counts(cap, contact, subject, since))
        told = {"cap": cap.key, "line": cap.text, "counted": counted, "allowed": cap.count, "since": stamp(since)}
        counts.append(told)
        if counted >= cap.count:
            full = full or told
        elif standing.rivals:
            first = [rival.message_id for rival in standing.rivals if _takes_room(cap, rival, subject)]
            if counted + len(first) >= cap.count:
                short = short or {**told, "first": first}
    if full is not None:
        return Verdict(NAME, "deny", _reason(full["cap"]), inputs={**full, "caps": counts})
    if short is not None and (subject.expires_at is None or now + AGAIN < subject.expires_at):
        return Verdict(NAME, "hold", "outranked", now + AGAIN, {**short, "caps": counts})
    return Verdict(NAME, "allow", inputs={"caps": counts}) if counts else _ALLOW


def _reason(key: str) -> str:
    if key == _OWN:
        return "customer_frequency"
    return "legal_cap" if key.startswith(_LAW) else "frequency_cap"


# ---- which caps -----------------------------------------------------------------------------------------------------


def _laws(policies: Policies, subject: Subject, standing: Standing, now: datetime) -> list[Cap]:
    """The law's caps on this message, as caps of its own topic: each row that a candidate place falls under."""
    if subject.medium is not Medium.SMS:
        return []
    today = now.astimezone(UTC).date()
    day = timedelta(days=1)  # by the place's own calendar it may be the day before or after: in doubt it is in force
    places = _candidates(standing)
    found = []
    for row in policies.ruleset.hours:
        if row.cap is None or "sms" not in row.media or not any(_falls_under(row, p) for p in places):
            continue
        if (row.since and row.since > today + day) or (row.until and row.until < today - day):
            continue
        media = frozenset({Medium.SMS})
        found.append(Cap(_LAW + row.id, row.source, row.cap.count, "customer", media, None, row.cap.within))
    return found


def _own_cap(standing: Standing) -> tuple[Cap, ...]:
    """What the customer said herself, as a cap on everything."""
    wishes = standing.wishes
    if wishes is None or wishes.at_most is None:
        return ()
    text = f"{wishes.at_most} per {wishes.per}, as the customer chose"
    return (Cap(_OWN, text, wishes.at_most, "customer", frozenset(), wishes.per),)


def _candidates(standing: Standing) -> tuple[Place, ...]:
    return standing.places or (Place(standing.country or "", None, "address"),)


def _falls_under(row: HoursRule, place: Place) -> bool:
    """A place whose region is not known may be in any, and one whose country is not known anywhere."""
    if not place.country:
        return True
    return row.country == place.country and (row.region == "*" or place.region in (None, row.region))


def _applicable(caps: Iterable[Cap], subject: Subject, standing: Standing) -> list[Cap]:
    """The caps that concern the message, without the general ones that a cap for the tier or the band replaces."""
    found = [
        cap
        for cap in caps
        if (cap.tier is None or cap.tier == standing.tier)
        and (cap.band is None or cap.band == standing.band)
        and (not cap.media or subject.medium in cap.media)
        and (cap.topic is None or cap.topic == subject.topic)
        and (cap.scope == "customer" or subject.account_id is not None)
    ]
    replaced = {_place(cap) for cap in found if _is_special(cap)}
    return [cap for cap in found if _is_special(cap) or _place(cap) not in replaced] if replaced else found


def _is_special(cap: Cap) -> bool:
    return cap.tier is not None or cap.band is not None


def _place(cap: Cap) -> tuple[object, ...]:
    return cap.scope, cap.media, cap.per, cap.within, cap.topic


# ---- what they count ------------------------------------------------------------------------------------------------


def _since(cap: Cap, standing: Standing, now: datetime) -> datetime:
    """From when on contacts count. A cap without a period counts everything that is known."""
    if cap.within is not None:
        return now - cap.within
    if cap.per is None:
        return min((contact.at for contact in standing.contacts), default=now)
    start = local_start(now, standing.zones[0].name, cap.per) if standing.zones else None
    return now - _LONGEST[cap.per] if start is None else start


def _counts(cap: Cap, contact: Contact, subject: Subject, since: datetime) -> bool:
    if contact.purpose != "marketing" or contact.at < since or contact.medium == Medium.AUDIENCE:
        return False  # nobody hears of being on a list
    if cap.within is not None and contact.at == since:
        return False  # exactly so long ago is no longer within
    if cap.media and contact.medium not in cap.media:
        return False
    if cap.key.startswith(_LAW):
        if not contact.department and contact.topic != subject.topic:
            return False
    elif cap.topic is not None and contact.topic != cap.topic:
        return False
    if cap.scope == "account":
        return contact.account_id == subject.account_id
    return contact.customer_id == subject.customer_id


def _takes_room(cap: Cap, rival: Rival, subject: Subject) -> bool:
    """Whether this cap concerns the other message too; it is to the same customer."""
    if cap.media and rival.medium not in cap.media:
        return False
    if rival.topic != (subject.topic if cap.key.startswith(_LAW) else cap.topic or rival.topic):
        return False
    return cap.scope == "customer" or rival.account_id == subject.account_id
