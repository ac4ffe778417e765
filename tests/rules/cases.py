"""What rule tests are made of: one ordinary message to one ordinary customer, changed a little in each case."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import orchestrator.ruleset
from channels.base import Medium
from orchestrator.model import Cap, HouseHours, Policies, Ruleset, Window
from orchestrator.problems import Problems
from orchestrator.rules import Consent, Contact, Standing, Subject, Zone

NOW = datetime(2027, 1, 13, 12, 0, tzinfo=UTC)  # a Wednesday; 13:00 in Berlin
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
BERLIN = Zone("Europe/Berlin", "stated")
RULESET = Path(orchestrator.ruleset.__file__).parent
HOURS, CONSENT = ((RULESET / name).read_text(encoding="utf-8") for name in ("hours.yaml", "consent.yaml"))
SHIPPED = orchestrator.ruleset.read_ruleset(HOURS, CONSENT, Problems())
assert SHIPPED is not None
CONSENT_LAW = Ruleset(SHIPPED.version, (), SHIPPED.consent, SHIPPED.ages)
WRITTEN = frozenset({Medium.EMAIL, Medium.SMS, Medium.PUSH})

SUBJECT = Subject(
    id=1,
    addressee="customer",
    customer_id=7,
    account_id=None,
    medium=Medium.EMAIL,
    topic="offers",
    purpose="marketing",
    priority=50,
    planned_at=NOW - HOUR,
    due_at=NOW,
    expires_at=None,
)


def says(state: Any, ago: timedelta = DAY, topic: str = "offers", event: int = 11) -> Consent:
    """A yes is one that does everywhere: in writing, and confirmed."""
    basis = "express_written" if state == "granted" else ""
    return Consent(topic, state, NOW - ago, event, basis, state == "granted")


def sent(
    ago: timedelta,
    medium: Medium = Medium.EMAIL,
    topic: str = "offers",
    customer: int = 7,
    account: int | None = None,
    purpose: Any = "marketing",
) -> Contact:
    return Contact(NOW - ago, medium, topic, purpose, customer, account)


STANDING = Standing(
    zones=(BERLIN,),
    country="DE",
    customer_class="b2c",
    tier="gold",
    consents=(says("granted"),),
    address="a-keyed-hash",
    suppressions=(),
    contacts=(),
    duplicate_at=None,
)
POLICIES = Policies(ruleset=CONSENT_LAW)


def subject(**changes: Any) -> Subject:
    return replace(SUBJECT, **changes)


def standing(**changes: Any) -> Standing:
    return replace(STANDING, **changes)


def hours(text: str, medium: Medium = Medium.EMAIL, then: Any = "hold", days: str = "0123456") -> Policies:
    opens, closes = (time.fromisoformat(part) for part in text.split("-"))
    return Policies(
        hours={medium: HouseHours(medium, Window(opens, closes, frozenset(int(day) for day in days)), then)},
        ruleset=CONSENT_LAW,
    )


def cap(count: int, key: str = "cap", **changes: Any) -> Cap:
    given: dict[str, Any] = {"scope": "customer", "media": WRITTEN, **changes}
    return Cap(key=key, text=f"at most {count}", count=count, **given)


def capped(*caps: Cap) -> Policies:
    return Policies(caps=caps, ruleset=CONSENT_LAW)
