"""What every message has in common: whom it goes to, when it is left, who takes whose place. Holds no step kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, Literal

from channels.base import Medium
from orchestrator.condition import Condition, Expression
from orchestrator.dates import after
from orchestrator.model import SETTLED_STATES, Json
from orchestrator.reading import Context, option
from orchestrator.source import Node
from orchestrator.steps import Addressee, Go, Here, MessageState, Outcome, Send, Stay, Step
from orchestrator.words import Duration, Rate

NOT_THERE = frozenset({"no_address", "invalid_address", "unknown_address", "suppressed", "exited"})
"""Reasons of a refusal that say something of the address and nothing of the message: another contact may have it."""
MANAGER = "account_manager"
NO_MANAGER = "the account has no manager"
"""Why a send to one was passed over; a tick counts these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStep(Step):
    """A step that plans messages on one medium, and is left when all of them are sent, refused or expired.

    A template's topic decides whether it is marketing. While quiet hours hold a message, the journey waits here,
    and a later `wait` begins afterwards.
    """

    medium: ClassVar[Medium]

    template: str = option(skip=True, default="")
    to: tuple[str, ...] = option(
        "whom, when not the customer or the journey's recipients: account_manager, a role of the account's contacts "
        "(it narrows the recipients), or an internal e-mail address",
        default=(),
    )
    locale: str | None = option("the language of the text, when not the recipient's own", default=None)
    only_if: Condition | None = option("passed over unless this is true when the step is come to", default=None)
    expire_after: Duration | None = option("not sent any more this long after it was planned", default=None)
    dedupe: Literal["on", "off"] = option(
        "off: the same text may go to the same address again within the workspace's dedupe time", default="on"
    )
    from_: str | None = option("the sender: account_manager, or one named in orchestrator.toml", default=None)
    throttle: Rate | None = option("at most so many of this step in that time: 500 per hour", default=None)

    def check(self, node: Node, context: Context) -> None:
        at = node.get("to") or node
        if len(self.to) > 1 and any(t == "account_manager" or "@" in t for t in self.to):
            hint = "write two steps, one for each"
            context.problems.error("several-addressees", "`to` names one addressee, or roles", at.span, hint)
        elif self.to and not self.goes_elsewhere and context.scope.unit == "customer":
            hint = "in a customer's journey `to` is `account_manager` or an e-mail address of your own"
            context.problems.error("no-roles", "there are no roles: this journey is about one customer", at.span, hint)

    # ---- what the journey asks of it ------------------------------------------------------------------------------

    def asks(self) -> tuple[Condition | Expression, ...]:
        return (self.only_if,) if self.only_if else ()

    def sends(self) -> tuple[tuple[str, Medium], ...]:
        return ((self.id, self.medium),)

    def arrive(self, here: Here) -> Outcome:
        if here.messages(self.id):  # said already, by a version in which this step came earlier: never twice
            return self.wake(here)
        if skipped := self.not_wanted(here):
            return Go(note=skipped, what="skipped")
        chosen = self.first(here)
        if not chosen:
            return Go(note={"because": self.nobody(here)}, what="skipped")
        note = {"medium": self.medium.value, "template": self.template, "to": [_who(a) for a in chosen]}
        sends = tuple(self.message(here, a) for a in chosen)
        return Stay(None, {"wanted": len(chosen)}, sends, note, "planned")

    def wake(self, here: Here) -> Outcome:
        sent = here.messages(self.id)
        if not sent:
            return self.arrive(here)
        wanted = int(here.enrollment.memory.get("wanted", len(sent)))
        if others := self.in_their_place(here, sent, wanted):
            note = {"medium": self.medium.value, "to": [_who(a) for a in others], "because": "in another's place"}
            return Stay(None, {"wanted": wanted}, tuple(self.message(here, a) for a in others), note, "planned")
        if not all(m.state in SETTLED_STATES for m in sent):
            return Stay(None, {"wanted": wanted})
        return Go(note={"messages": dict(Counter(told(m) for m in sent))}, what="left")

    # ---- whom -----------------------------------------------------------------------------------------------------

    def candidates(self, here: Here) -> tuple[Addressee, ...]:
        """Everybody it may go to, in the order of preference."""
        return self.elsewhere(here) if self.goes_elsewhere else own(here, self.medium, self.to)

    def elsewhere(self, here: Here) -> tuple[Addressee, ...]:
        """The one addressee that is no recipient of the journey: a manager, an internal address, a machine."""
        if self.to == (MANAGER,):
            return (here.facts.staff,) if here.facts.staff else ()
        return (internal(here, "staff"),)

    @property
    def goes_elsewhere(self) -> bool:
        """Whether it goes to our own people or machines instead of the journey's recipients."""
        return len(self.to) == 1 and (self.to[0] == "account_manager" or "@" in self.to[0])

    def first(self, here: Here) -> tuple[Addressee, ...]:
        """Those of the candidates that it goes to at first."""
        found = self.candidates(here)
        return found if self.goes_elsewhere else seated(found, here.at_most, here.each)

    def addressee_for(self, here: Here, recipient: Addressee | None) -> Addressee | None:
        """Where this send goes when it is one recipient's turn (`first_of`); None: this medium does not reach them."""
        if self.goes_elsewhere:
            return next(iter(self.elsewhere(here)), None)
        return recipient if recipient is not None and recipient in self.candidates(here) else None

    @property
    def needs_manager(self) -> bool:
        """Whether nobody gets it where the account has no manager."""
        return self.to == (MANAGER,)

    def nobody(self, here: Here) -> str:
        """Why there is nobody, for `why`."""
        if self.needs_manager:
            return NO_MANAGER
        return "no contact of the account can be reached by this medium in one of the roles"

    def in_their_place(self, here: Here, sent: Sequence[MessageState], wanted: int) -> tuple[Addressee, ...]:
        """The next contacts, for those whose message could not arrive (bounced, failed, no usable address)."""
        if here.enrollment.unit == "customer" or self.goes_elsewhere:
            return ()
        asked = {m.addressee for m in sent}
        lost = {m.addressee for m in sent if unreached(m)}
        kept = [a for a in self.candidates(here) if a in asked - lost]
        spare = [a for a in self.candidates(here) if a not in asked]
        return seated(spare, wanted - len(asked - lost), here.each, Counter(a.role for a in kept))

    # ---- what -----------------------------------------------------------------------------------------------------

    def not_wanted(self, here: Here) -> Json | None:
        """Why `only_if` leaves it out; None when it does not."""
        if self.only_if is None:
            return None
        truth = here.truth(self.only_if)
        return None if truth is True else {"because": "only_if", "condition": self.only_if.text, "truth": truth}

    def message(self, here: Here, addressee: Addressee) -> Send:
        """The message to plan for one addressee, due now."""
        expires: datetime | None = after(here.now, self.expire_after, here.zone()) if self.expire_after else None
        return Send(
            self.id,
            here.enrollment.visit,
            self.medium,
            self.template,
            addressee,
            here.now,
            expires,
            self.payload(here),
        )

    def payload(self, here: Here) -> Json:
        """The options a message carries with it, and the ids of what its text may name; never a person's data."""
        rate = [self.throttle.count, int(self.throttle.per.total_seconds())] if self.throttle else None
        options = {
            "to": self.to[0] if self.to and self.goes_elsewhere else None,
            "locale": self.locale,
            "from": self.from_,
            "dedupe": "off" if self.dedupe == "off" else None,
            "throttle": rate,
            "event": here.enrollment.event_id,
            "record": here.enrollment.record_id,
        }
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateStep(SendStep):
    """A send whose text is a template."""

    template: str = option("the template's name", head=True)


def own(here: Here, medium: Medium, roles: tuple[str, ...] = ()) -> tuple[Addressee, ...]:
    """The journey's own recipients on a medium: the customer, reachable or not, or the account's contacts in order."""
    enrollment = here.enrollment
    if enrollment.unit == "customer":
        return (Addressee("customer", enrollment.unit_id, enrollment.unit_id, enrollment.account_id),)
    return tuple(a for a in here.facts.recipients.get(medium, ()) if not roles or a.role in roles)


def seated(
    pool: Sequence[Addressee], at_most: int | None, each: int | None, taken: Mapping[str, int] = MappingProxyType({})
) -> tuple[Addressee, ...]:
    """The first of a pool, as many as there are places: of `each` role so many, of whom some are `taken`."""
    chosen: list[Addressee] = []
    sitting = Counter(taken)
    for addressee in pool:
        if at_most is not None and len(chosen) >= at_most:
            break
        if each is None or sitting[addressee.role] < each:
            chosen.append(addressee)
            sitting[addressee.role] += 1
    return tuple(chosen)


def internal(here: Here, kind: Literal["staff", "system"]) -> Addressee:
    """Somebody or something of ours, told about this unit."""
    enrollment = here.enrollment
    return Addressee(kind, enrollment.unit_id, enrollment.customer_id, enrollment.account_id)


def unreached(message: MessageState) -> bool:
    """Whether a message could not arrive for want of a usable address, so that the next contact takes the place."""
    return message.state in ("bounced", "failed") or (message.state == "denied" and message.reason in NOT_THERE)


def told(message: MessageState) -> str:
    """`denied: no_consent`."""
    return f"{message.state}: {message.reason}" if message.reason else message.state


def _who(addressee: Addressee) -> str:
    return f"{addressee.kind} {addressee.id}"
