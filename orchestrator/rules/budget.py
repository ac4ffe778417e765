"""A medium costs no more in a day, week or month than its budget.

House policy (`budget: { mail: 500 EUR per month }` with `prices: { mail: 0.85 EUR }`). Counted is what was allowed, at
the price in force when it was allowed; what was surely not sent is given back. A text costs its price for each segment
that it goes out in: it is judged as one before it is written, and once more by its segments when it is longer. The
period is the calendar of the workspace's own zone, weeks from Monday. A message that no longer fits waits for the next
period, if it does not expire before. A transactional message goes all the same, and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from orchestrator.model import Policies, minor_digits
from orchestrator.rules import Standing, Subject, Verdict
from orchestrator.zones import Period, instant, zone

NAME = "budget"
ORDER = 65
REASONS: Mapping[str, str] = {
    "not_applicable": "Budgets judge messages to customers only.",
    "transactional": "A transactional message goes whatever the budget says; it counts.",
    "budget_spent": "What is left of the medium's budget does not pay for this message; it waits for the next period "
    "if it can.",
}

_NOT_APPLICABLE = Verdict(NAME, "allow", "not_applicable")
_TRANSACTIONAL = Verdict(NAME, "allow", "transactional")
_ALLOW = Verdict(NAME, "allow")
_MILLION = 1_000_000


def rule(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict:
    """Hold `budget_spent` till the next period, or deny it when that is too late. Amounts in millionths.

    A budget for a medium without a price fails, and so allows nothing: nobody could say what is left of it.
    """
    budget = policies.budgets.get(subject.medium)
    if budget is None:
        return _ALLOW
    if subject.addressee != "customer":
        return _NOT_APPLICABLE
    if subject.purpose == "transactional":
        return _TRANSACTIONAL
    minor, currency, per = budget
    price = policies.prices[subject.medium] * standing.segments
    limit = minor * _MILLION // 10 ** minor_digits(currency)
    inputs = {"budget": limit, "spent": standing.spent, "price": price, "currency": currency, "per": per}
    if standing.segments > 1:
        inputs["segments"] = standing.segments
    if standing.spent + price <= limit:
        return Verdict(NAME, "allow", inputs=inputs)
    again = _next_start(now, policies.zone, per)
    if again is None or price > limit or (subject.expires_at is not None and subject.expires_at <= again):
        return Verdict(NAME, "deny", "budget_spent", inputs=inputs)
    return Verdict(NAME, "hold", "budget_spent", again, inputs)


def _next_start(now: datetime, name: str, per: Period) -> datetime | None:
    """The instant at which the next local day, week or month begins; None for an unknown zone."""
    tz = zone(name)
    if tz is None:
        return None
    today = now.astimezone(tz).date()
    match per:
        case "day":
            first = today + timedelta(days=1)
        case "week":
            first = today + timedelta(days=7 - today.weekday())
        case "month":
            first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return instant(first, time(), tz)
