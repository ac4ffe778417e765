"""May this message go now? One file a rule, found by its file; every rule is heard, the strictest wins.

A rule is pure and sees one message with everything known about its addressee. A rule that raises denies: fail closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from channels.base import Medium
from orchestrator.model import Json, Policies, Purpose

Say = Literal["allow", "hold", "deny"]


@dataclass(frozen=True, slots=True)
class Consent:
    """What the ledger says of one (medium, topic); `topic` "*" speaks for all. `event_id` is what a send relies on."""

    topic: str
    state: Literal["granted", "withdrawn", "requested", "expired"]
    since: datetime
    event_id: int


@dataclass(frozen=True, slots=True)
class Contact:
    """One earlier allowed message to this customer or this account (a reservation)."""

    at: datetime
    medium: Medium
    topic: str
    purpose: Purpose
    customer_id: int
    account_id: int | None


@dataclass(frozen=True, slots=True)
class Zone:
    """A candidate zone and where it comes from: stated, address, phone, account. `name` may be unknown to tzdata."""

    name: str
    source: Literal["stated", "address", "phone", "account"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything about the addressee that a rule may weigh, read for a whole batch at once.

    `address` is the keyed hash of the address on this medium, None when there is none (for push: no live device).
    `suppressions` are (reason, until) for that address. `contacts` reach back as far as the longest cap, and include
    what this batch has already allowed. `duplicate_at`: when the same content last went to the same address.
    """

    zones: tuple[Zone, ...]
    country: str | None
    customer_class: str
    tier: str | None
    consents: tuple[Consent, ...]
    address: str | None
    suppressions: tuple[tuple[str, datetime | None], ...]
    contacts: Sequence[Contact]
    duplicate_at: datetime | None
    ended: bool = False  # its enrollment ended meanwhile, or the customer was merged or has left


@dataclass(frozen=True, slots=True)
class Subject:
    """The message as rules see it."""

    id: int
    addressee: Literal["customer", "staff", "system"]
    customer_id: int | None
    account_id: int | None
    medium: Medium
    topic: str
    purpose: Purpose
    priority: int
    planned_at: datetime
    due_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's word. `reason` is a stable code (docs/codes.md); `until` with hold: the exact instant to judge again.

    `inputs` are what it was judged on, for `why` and the log's detail: never a name, an address or a number.
    """

    rule: str
    say: Say
    reason: str = ""
    until: datetime | None = None
    inputs: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts and what follows: deny beats hold beats allow; of several holds the latest `until` counts."""

    verdicts: tuple[Verdict, ...]
    say: Say
    rule: str
    reason: str
    until: datetime | None


class Rule(Protocol):
    """What a module in this package provides: NAME, ORDER (of hearing), and this function."""

    def __call__(self, subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict: ...


def rules() -> Mapping[str, Rule]:
    """Every rule by name in its order, found in this package's modules."""
    raise NotImplementedError


def judge(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Judgement:
    """Every rule's verdict, and the sum of them. A rule that raises is heard as deny, reason `rule_failed`."""
    raise NotImplementedError
