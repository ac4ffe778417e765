"""May this message go now? One file a rule, found by its file; every rule is heard, the strictest wins.

A rule is pure and sees one message with everything known about its addressee. A rule that raises denies: fail closed.
A new rule is a new file here with NAME, ORDER (of hearing, then of who is named when several deny), REASONS (each
reason code it may give, and what it means) and `rule`, the function; nothing else lists it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from channels.base import Medium
from orchestrator.model import Json, Policies, Purpose

Say = Literal["allow", "hold", "deny"]
_KEPT = 20_000
ANSWERS = frozenset({"stop_confirmation", "start_confirmation", "help_reply"})
"""Origins of what answers a text that the customer sent: each asked for by that text, once, and no advertising. What
would refuse anything else to who has just said STOP lets these pass."""


class Consent(NamedTuple):
    """What the ledger says of one (medium, topic, basis); `topic` "*" speaks for all.

    `event_id` is what a send relies on. `basis` "": a state other than granted, or a yes that does not say its ground.
    A no stands beside the yeses that came since: it ends older ones to everything, or to the topic.
    `confirmed`: by double opt-in since the last no. `until`: given for a time only.
    """

    topic: str
    state: Literal["granted", "withdrawn", "requested", "expired"]
    since: datetime
    event_id: int
    basis: str = ""
    confirmed: bool = False
    until: datetime | None = None


class Contact(NamedTuple):
    """One earlier contact of this customer or this account: a message we allowed (a reservation), or what a department
    of the house said (a touch: `department` names it)."""

    at: datetime
    medium: Medium
    topic: str
    purpose: Purpose
    customer_id: int
    account_id: int | None
    department: str = ""


class Zone(NamedTuple):
    """A candidate zone and where it comes from: stated, address, phone, account. `name` may be unknown to tzdata."""

    name: str
    source: Literal["stated", "address", "phone", "account"]


class Place(NamedTuple):
    """A candidate jurisdiction and where it comes from. `country` "": it may be any, by a number of no country.
    `region` None: not known, or the country is not divided."""

    country: str
    region: str | None
    source: Literal["address", "phone", "account"]


class Rival(NamedTuple):
    """Another message to the same customer that is ready now and goes first: it takes room under a cap before us."""

    message_id: int
    medium: Medium
    topic: str
    priority: int
    account_id: int | None = None


class Partner(NamedTuple):
    """An account that the addressee buys through, and whether it lets us write to its customers; None: it never said,
    or nobody knows."""

    account_id: int
    allows: bool | None = None


class Wishes(NamedTuple):
    """How much marketing a customer wants to hear, as she said herself: none until `paused_until`, at most `at_most`
    messages a `per` on all media together (None: as many as the house allows)."""

    paused_until: datetime | None = None
    at_most: int | None = None
    per: Literal["week", "month"] = "week"


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything about the addressee that a rule may weigh, read for a whole batch at once.

    All of it goes into the log (sealed): a decision is judged again from it, so nothing else may be weighed, and no
    name, address or number may stand in it.

    `address` is the keyed hash of the address on this medium, None when there is none (for push: no live device).
    `suppressions` are (reason, until) for that address. `contacts` reach back as far as the longest cap, and include
    what this batch has already allowed. `duplicate_at`: when the same content last went to the same address.
    `places`: every jurisdiction the addressee may be in. `spent`: on the medium, in the budget's period, before this
    message. `permitted` False: not on the list of recipients that a non-production installation may write to.
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
    ended: bool = False  # its enrollment ended meanwhile, or the customer was merged, has left or is erased
    places: tuple[Place, ...] = ()
    legal_form: str | None = None
    born: date | None = None
    open_case: bool = False
    rivals: tuple[Rival, ...] = ()
    spent: int = 0
    permitted: bool = True
    segments: int = 1  # of a text that was written: it is charged as so many, and a budget weighs that
    wishes: Wishes | None = None
    partners: tuple[Partner, ...] = ()
    band: str | None = None  # of the pyramid, where the workspace has caps for bands


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
    call: bool = False  # a task that is a call to the customer: judged by calling hours, for the customer
    origin: str = "journey"  # what asked for it: see `outbound.Asked`


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's word. `reason` is a stable code (docs/reference/reasons.md); `until` with hold: when to judge again.

    `inputs` are what it was judged on, for `why` and the log's detail: never a name, an address or a number. They are
    plain JSON and may be shared by many messages: read them, do not change them.
    """

    rule: str
    say: Say
    reason: str = ""
    until: datetime | None = None
    inputs: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts and what follows: deny beats hold beats allow; of several holds the latest `until` counts.

    `rule` and `reason` are those of the verdict that decided: of several denials the first heard; "" with allow.
    """

    verdicts: tuple[Verdict, ...]
    say: Say
    rule: str
    reason: str
    until: datetime | None


class Rule(Protocol):
    """What a module in this package provides as `rule`, beside NAME, ORDER and REASONS."""

    def __call__(self, subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Verdict: ...


REASONS: Mapping[str, str] = {
    "rule_failed": "A rule could not judge the message and failed; nothing is sent that was not judged.",
}
"""Codes that `judge` itself may give, under the name of the rule concerned."""


@cache
def _modules() -> tuple[tuple[str, Rule, Mapping[str, str]], ...]:
    """(name, rule, reasons) of every module of this package, in order of hearing."""
    found = []
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        lacking = [part for part in ("NAME", "ORDER", "REASONS", "rule") if not hasattr(module, part)]
        if lacking:
            raise TypeError(f"rule file {info.name}.py lacks {', '.join(lacking)}: every rule provides these")
        found.append((module.ORDER, module.NAME, module.rule, module.REASONS))
    found.sort(key=lambda entry: entry[:2])
    names = [name for _, name, _, _ in found]
    if len(set(names)) != len(names):
        raise TypeError(f"two rule files share a NAME: {', '.join(names)}")
    return tuple((name, rule, reasons) for _, name, rule, reasons in found)


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by name in its order, found in this package's modules. Raises TypeError for a file that is no rule."""
    return MappingProxyType({name: rule for name, rule, _ in _modules()})


@cache
def reasons() -> Mapping[str, Mapping[str, str]]:
    """Every reason code by the rule that may give it, with its meaning; `judge`'s own under ""."""
    return MappingProxyType({"": REASONS, **{name: codes for name, _, codes in _modules()}})


def judge(subject: Subject, standing: Standing, policies: Policies, now: datetime) -> Judgement:
    """Every rule's verdict, and the sum of them. A rule that raises is heard as deny, reason `rule_failed`.

    Pure: the same arguments give the same judgement, so a logged decision can be judged again. `now` is aware UTC.
    """
    verdicts = []
    for name, rule in rules().items():
        try:
            verdict = rule(subject, standing, policies, now)
            fault = "" if type(verdict) is Verdict and verdict.say == "allow" else _fault(verdict, now)
        except Exception as error:
            # Only the kind of error: its text may quote what the rule was looking at.
            verdict, fault = None, type(error).__name__
        if fault or verdict is None:
            verdict = Verdict(name, "deny", "rule_failed", inputs={"error": fault})
        verdicts.append(verdict)
    return _sum(tuple(verdicts))


_worked_out: list[tuple[Policies | None, datetime | None, dict[Any, Verdict]]] = [(None, None, {})]


def worked_out(policies: Policies, now: datetime) -> dict[Any, Verdict]:
    """What rules have found under these very policies at this instant: a rule may keep here, under its own name, what
    is the same for many messages of a batch. Never more than a memory of what the rule would find again."""
    held, at, found = _worked_out[0]
    if held is not policies or at != now or len(found) > _KEPT:
        found = {}
        _worked_out[0] = (policies, now, found)
    return found


def _fault(verdict: object, now: datetime) -> str:
    """What makes a verdict unusable; empty when it can be followed."""
    if not isinstance(verdict, Verdict) or verdict.say not in ("allow", "hold", "deny"):
        return "not a verdict"
    if verdict.say == "hold" and (verdict.until is None or verdict.until <= now):
        return "a hold without a later instant"  # it would be judged again at once, for ever
    return ""


def _sum(verdicts: tuple[Verdict, ...]) -> Judgement:
    hold: Verdict | None = None
    for verdict in verdicts:
        if verdict.say == "deny":
            return Judgement(verdicts, "deny", verdict.rule, verdict.reason, None)
        if verdict.say == "hold" and (hold is None or _until(verdict) > _until(hold)):
            hold = verdict
    if hold is not None:
        return Judgement(verdicts, "hold", hold.rule, hold.reason, hold.until)
    if not verdicts:
        return Judgement(verdicts, "deny", "", "rule_failed", None)  # a package without rules allows nothing
    return Judgement(verdicts, "allow", "", "", None)


def _until(verdict: Verdict) -> datetime:
    assert verdict.until is not None
    return verdict.until


def stamp(at: datetime) -> str:
    """An instant as inputs carry it: UTC, always six digits, so that text order is time order."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")[:26] + "Z"
