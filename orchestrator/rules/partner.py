"""A partner's end customers are the partner's: no marketing over its head, unless it is allowed.

House policy (`policies.end_customers`): `if_partner_allows`, which it is without a word, asks what the partner's
account says (`allows_contact`); `never` refuses whatever the partner says, `always` refuses nobody. A topic with
`over_partner: yes` passes in any case. Who buys through two partners, herself through one and her company through
another, needs the word of both. A partner that never said anything has not allowed it. Transactional messages go: what
a contract with us needs is between her and us.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.model import Policies
from orchestrator.rules import Standing, Subject, Verdict

NAME = "partner"
ORDER = 47
REASONS: Mapping[str, str] = {
    "partners_customer": "The customer buys through a partner, who has not allowed that we write to its customers.",
}

_ALLOW = Verdict(NAME, "allow")


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Deny `partners_customer`; the inputs carry the policy and the partners' accounts, by id."""
    if not standing.partners or subject.addressee != "customer" or subject.purpose == "transactional":
        return _ALLOW
    if policies.end_customers == "always" or subject.topic in policies.over_partner:
        return _ALLOW
    refusing = [
        partner.account_id
        for partner in standing.partners
        if policies.end_customers != "if_partner_allows" or partner.allows is not True
    ]
    if not refusing:
        return _ALLOW
    inputs = {"policy": policies.end_customers, "partners": refusing}
    return Verdict(NAME, "deny", "partners_customer", inputs=inputs)
