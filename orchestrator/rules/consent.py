"""Marketing goes to customers who said yes to this topic on this medium, and have not said no since.

Law: prior consent for electronic marketing (ePrivacy Directive art. 13, UWG § 7, PECR reg. 22, CPCE L34-5, CASL s. 6,
TCPA 47 CFR 64.1200(a)(2) and (f)(9)), provable and withdrawn as easily as given (GDPR art. 7). "No record" is never
taken for a yes. Of what the ledger says about the topic and about "*" (every topic of the medium) the newest counts,
and a withdrawal wins a tie: a general no ends every earlier yes, a topic's no ends that topic under an earlier general
yes, and a later yes, particular or general (START by text), answers an earlier no. A request still to be confirmed
neither grants nor takes away. A yes dated after `now` does not count yet; a no always does.

Transactional messages need no consent; only a no to exactly their topic, given on the preference centre, is heeded.
Staff and systems are not customers: consent does not judge them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.model import Policies
from orchestrator.rules import Consent, Standing, Subject, Verdict, stamp

NAME = "consent"
ORDER = 40
REASONS: Mapping[str, str] = {
    "consented": "The customer said yes to this topic on this medium; the inputs name the consent events relied on.",
    "not_applicable": "Consent judges customers only, and this message is for staff or a system.",
    "transactional": "A transactional message needs no consent.",
    "no_consent": "There is no record that the customer ever said yes to this topic on this medium.",
    "consent_unconfirmed": "The customer asked for it, but has not confirmed it yet (double opt-in).",
    "consent_withdrawn": "The customer said no to this topic, or to everything on this medium.",
    "consent_expired": "The customer's consent was for a time, and that time is over.",
}

_CODES = {"withdrawn": "consent_withdrawn", "requested": "consent_unconfirmed", "expired": "consent_expired"}
_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Allow with the event ids relied on, or deny with the code of the newest word against it."""
    if subject.addressee != "customer":
        return _NOT_APPLICABLE
    found = [c for c in standing.consents if c.topic == subject.topic or c.topic == "*"]
    if len(found) == 1 and subject.purpose == "marketing" and found[0].state == "granted" and found[0].since <= now:
        return Verdict(NAME, "allow", "consented", inputs=_inputs(found))  # what most messages rely on, told at once
    noes = [c for c in found if c.state == "withdrawn"]
    if subject.purpose == "transactional":
        noes = [c for c in noes if c.topic == subject.topic]
        if not noes or _grants(found, noes, now):
            return _TRANSACTIONAL
        return _deny("consent_withdrawn", noes)
    grants = _grants(found, noes, now)
    if grants:
        return Verdict(NAME, "allow", "consented", inputs=_inputs(grants))
    against = [c for c in found if c.state in _CODES]
    if not against:
        return Verdict(NAME, "deny", "no_consent", inputs={"topic": subject.topic, "medium": subject.medium.value})
    newest = max(against, key=lambda c: (c.since, c.state == "withdrawn"))
    return _deny(_CODES[newest.state], [newest])


def _grants(found: list[Consent], noes: list[Consent], now: datetime) -> list[Consent]:
    """Grants in force, the topic's own before the general one: none when a no is as new or newer."""
    last_no = max((c.since for c in noes), default=None)
    grants = [c for c in found if c.state == "granted" and c.since <= now and (last_no is None or c.since > last_no)]
    return sorted(grants, key=lambda c: c.topic == "*")


def _deny(code: str, because: list[Consent]) -> Verdict:
    return Verdict(NAME, "deny", code, inputs=_inputs(because))


def _inputs(consents: list[Consent]) -> dict[str, object]:
    return {
        "events": [c.event_id for c in consents],
        "states": [{"topic": c.topic, "state": c.state, "since": stamp(c.since)} for c in consents],
    }
