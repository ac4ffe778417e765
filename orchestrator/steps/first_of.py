"""One medium after the other, until one of them arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from channels.base import EventKind, Medium
from orchestrator.condition import Condition, Expression
from orchestrator.dates import after
from orchestrator.model import SETTLED_STATES, Json
from orchestrator.reading import Context, option
from orchestrator.source import Node
from orchestrator.steps import Addressee, Cancel, Effect, Go, Here, MessageState, Outcome, Send, Stay, Step
from orchestrator.steps.sending import SendStep, own, seated, told, unreached
from orchestrator.words import Duration

Mark = Literal["delivered", "opened", "clicked"]

_CLICKED = frozenset({EventKind.CLICKED})
_OPENED = _CLICKED | {EventKind.OPENED, EventKind.REPLIED}
_DELIVERED = _OPENED | {EventKind.DELIVERED, EventKind.MACHINE_OPENED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED}
_REACHED: Mapping[str, frozenset[EventKind]] = {"opened": _OPENED, "clicked": _CLICKED}
_LOST = frozenset(
    {
        EventKind.BOUNCED,
        EventKind.BLOCKED,
        EventKind.DROPPED,
        EventKind.FAILED,
        EventKind.RETURNED,
        EventKind.EXPIRED,
    }
)
_ENDED = frozenset({"bounced", "failed", "denied", "expired", "cancelled"})
_NOBODY = 0  # stands for "no recipient": sends to our own people still go


@dataclass(frozen=True, slots=True)
class _Turn:
    """How far one recipient has come: a message to plan, or an instant to look again (None: when woken), or over.

    `lost`: over because no medium has a usable address, so that the next contact takes the place.
    """

    send: Send | None = None
    again: datetime | None = None
    over: bool = False
    lost: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstOf(Step):
    """Tries several sends in order, until one arrives (or is opened, or clicked).

    A medium without an address or without consent is refused, with the reason on record, and the next one takes its
    turn at once; a bounce moves on at once, too. Otherwise each has `within` to succeed, counted from when it was
    handed over, so that a night's hold does not use it up. Where a channel cannot report delivery (SMTP), no bounce
    within the time counts as delivered. In an account's journey every recipient has their own turn, and a contact who
    cannot be reached by any of the media gives the place to the next. When one has arrived, what is still queued of the
    others is withdrawn.

    ```yaml
    - first_of: [ { email: renewal-reminder }, { sms: renewal-short }, { mail: renewal-letter } ]
      until: delivered
      within: 2 days
    ```
    """

    keyword = "first_of"

    first_of: tuple[SendStep, ...] = option("the sends, in order")
    until: Mark = option("when it is enough: delivered, opened or clicked", default="delivered")
    within: Duration = option("how long each of them has, counted from its hand-over: 2 days")

    def check(self, node: Node, context: Context) -> None:
        for asked in (send for send in self.first_of if send.keyword == "survey"):
            hint = 'send texts that hold `{{ links.survey("NAME") }}` instead'
            context.problems.error("misplaced-step", "a survey is a step of its own", asked.span, hint)
        if len(self.first_of) == 1:
            hint = "add what to try next, or write the send as a step of its own"
            message = "`first_of` with a single send falls back to nothing"
            context.problems.warning("one-alternative", message, self.span, hint)
        elif not self.first_of:
            context.problems.error("empty-steps", "`first_of` has nothing to send", self.span, "list the sends to try")

    def parts(self) -> tuple[Step, ...]:
        return self.first_of

    def asks(self) -> tuple[Condition | Expression, ...]:
        return tuple(c for s in self.first_of for c in s.asks())

    def sends(self) -> tuple[tuple[str, Medium], ...]:
        return tuple((s.id, s.medium) for s in self.first_of)

    def arrive(self, here: Here) -> Outcome:
        pool = self._pool(here)
        who = [a.id for a in seated(pool, here.at_most, here.each)] or [_NOBODY]
        return self._go_on(here, pool, who, len(who))

    def wake(self, here: Here) -> Outcome:
        memory = here.enrollment.memory
        if "who" not in memory:
            return self.arrive(here)
        return self._go_on(here, self._pool(here), [int(i) for i in memory["who"]], int(memory["wanted"]))

    def _pool(self, here: Here) -> tuple[Addressee, ...]:
        """Everybody any of the media reaches, in the order of the journey's roles, then of the media."""
        found: dict[int, Addressee] = {}
        for send in self.first_of:
            for addressee in () if send.goes_elsewhere else own(here, send.medium, send.to):
                found.setdefault(addressee.id, addressee)
        order = {role: n for n, role in enumerate(here.roles)}
        return tuple(sorted(found.values(), key=lambda a: (a.above, order.get(a.role, len(order)))))

    def _go_on(self, here: Here, pool: tuple[Addressee, ...], who: list[int], wanted: int) -> Outcome:
        mine = here.messages(*(s.id for s in self.first_of))
        known = {m.addressee.id: m.addressee for m in mine if m.addressee.kind == "customer"}
        known |= {a.id: a for a in pool}
        turns = [self._turn(here, known.get(i), mine) for i in who]
        at_first = len(who)
        if here.enrollment.unit == "account":
            while spare := self._spare(here, pool, who, turns, wanted):
                who = [*who, spare.id]
                turns.append(self._turn(here, spare, mine))
        return self._outcome(here, turns, {"who": who, "wanted": wanted}, mine, len(who) > at_first)

    def _spare(
        self, here: Here, pool: tuple[Addressee, ...], who: list[int], turns: list[_Turn], wanted: int
    ) -> Addressee | None:
        """Who takes the place of somebody that none of the media reaches."""
        kept = {i for i, turn in zip(who, turns, strict=True) if not turn.lost}
        sitting = Counter(a.role for a in pool if a.id in kept)
        free = [a for a in pool if a.id not in who]
        return next(iter(seated(free, wanted - len(kept), here.each, sitting)), None)

    def _outcome(
        self, here: Here, turns: list[_Turn], memory: Json, mine: tuple[MessageState, ...], others: bool
    ) -> Outcome:
        # Two recipients may come to one of our own people by the same send: one message says it.
        sends = {(t.send.step, t.send.addressee): t.send for t in turns if t.send is not None}
        if sends:
            told_of = [f"{s.step} to {s.addressee.kind} {s.addressee.id}" for s in sends.values()]
            note: Json = {"sends": told_of, **({"because": "in another's place"} if others else {})}
            return Stay(None, memory, tuple(sends.values()), note, "planned")
        if not all(t.over for t in turns):
            instants = [t.again for t in turns if t.again is not None]
            until = min(instants) if instants else None
            return Stay(until, memory, note={"until": until.isoformat()} if until else {"for": "hand-over"})
        queued = tuple(dict.fromkeys(m.step for m in mine if m.state not in SETTLED_STATES))
        effects: tuple[Effect, ...] = (Cancel(queued, "reached by another medium"),) if queued else ()
        return Go(effects, {"outcome": [t.note for t in turns]}, what="left" if mine else "skipped")

    def _turn(self, here: Here, recipient: Addressee | None, mine: tuple[MessageState, ...]) -> _Turn:
        """One recipient's way through the sends, told anew each time from what became of each."""
        notes, lost = [], True
        for send in self.first_of:
            message = self._planned(here, send, recipient, mine)
            if message is None:
                if skipped := send.not_wanted(here):
                    notes.append(f"{send.id}: {skipped['because']}")
                    lost = False
                    continue
                addressee = send.addressee_for(here, recipient)
                if addressee is None:
                    notes.append(f"{send.id}: {send.nobody(here)}")
                    continue
                return _Turn(send=send.message(here, addressee))
            state = self._state(here, message)
            if isinstance(state, datetime):
                return _Turn(again=state)
            if state == "pending":
                return _Turn()
            if state in ("reached", "assumed"):
                return _Turn(over=True, note=f"{send.id}: {state}")
            notes.append(f"{send.id}: {told(message)}")
            lost = lost and unreached(message)
        return _Turn(over=True, lost=lost and recipient is not None, note="; ".join(notes))

    def _planned(
        self, here: Here, send: SendStep, recipient: Addressee | None, mine: tuple[MessageState, ...]
    ) -> MessageState | None:
        # To our own people it goes once, whoever that is by now: the account may have got a manager meanwhile.
        return next((m for m in mine if m.step == send.id and (send.goes_elsewhere or m.addressee == recipient)), None)

    def _state(self, here: Here, message: MessageState) -> Literal["reached", "assumed", "pending", "next"] | datetime:
        """What became of one message; an instant: too early to say, look again then."""
        # A bounce may follow a report of delivery (a gateway took it, the mailbox did not), never an opening.
        if message.heard & (_OPENED if self.until == "delivered" else _REACHED[self.until]):
            return "reached"
        if message.state in _ENDED or message.heard & _LOST:
            return "next"
        if self.until == "delivered" and (message.state == "delivered" or message.heard & _DELIVERED):
            return "reached"
        if message.state not in SETTLED_STATES:
            return "pending"
        since = message.settled_at or here.enrollment.since
        ends = here.later(since, after(since, self.within, here.zone()))
        if here.now < ends:
            return ends
        can_tell = EventKind.DELIVERED in here.facts.reports.get(message.medium, frozenset())
        return "assumed" if message.state == "sent" and self.until == "delivered" and not can_tell else "next"
