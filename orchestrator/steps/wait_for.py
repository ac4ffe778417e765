"""Wait for something to happen, and do one thing if it does and another if it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal

from channels.base import EventKind
from orchestrator.condition import Condition, Expression, Scope, happened, heard, parse
from orchestrator.dates import after
from orchestrator.problems import suggest
from orchestrator.reading import Context, EventName, SegmentName, option, told_if_nothing
from orchestrator.source import Node
from orchestrator.steps import Here, Into, Outcome, Stay, Step
from orchestrator.words import Duration

TELLS: Mapping[str, frozenset[EventKind]] = {
    "delivered": frozenset(
        {EventKind.DELIVERED, EventKind.OPENED, EventKind.MACHINE_OPENED, EventKind.CLICKED, EventKind.REPLIED}
    ),
    "opened": frozenset({EventKind.OPENED, EventKind.CLICKED}),
    "clicked": frozenset({EventKind.CLICKED}),
    "replied": frozenset({EventKind.REPLIED}),
    "bounced": frozenset({EventKind.BOUNCED, EventKind.BLOCKED, EventKind.DROPPED, EventKind.RETURNED}),
}
"""What counts as each word. Machines open mails too: that is a delivery, and no opening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor(Step):
    """Waits for an event, for a segment to be entered, or for an answer to a message; but not for ever.

    It counts from the entry into the journey: what has happened by the time the journey comes here is enough
    (`already_true: skip`). With `already_true: ignore` only what happens from now on counts. In an account's journey an
    event of any contact counts. At the end of `timeout` the steps under `else` follow, before it those under `then`;
    either may be missing.

    ```yaml
    - wait_for:
        event: renewal_quote_opened
        where: contract_id == contract.contract_id
        timeout: 14 days
        then: [ { task: account_manager, message: "{{ account.name }} opened the quote" } ]
        else: [ { email: renewal-reminder } ]
    - wait_for: { message: email:renewal-notice, is: opened, timeout: 3 days }
    - wait_for: { segment: vip-club, timeout: 30 days, already_true: ignore }
    ```
    """

    keyword = "wait_for"
    waits: ClassVar[bool] = True

    event: EventName | None = option("the event", default=None)
    where: Condition | None = option("which of these events count", default=None)
    segment: SegmentName | None = option("the segment to be entered", default=None)
    message: str | None = option("the id of an earlier send step", default=None)
    is_: Literal["delivered", "opened", "clicked", "replied", "bounced"] = option(
        "what is heard of the message", default="opened"
    )
    timeout: Duration = option("how long at most: a wait for something that never comes must end")
    then: tuple[Step, ...] = option("steps for when it came", default=())
    else_: tuple[Step, ...] = option("steps for when it did not", default=())
    already_true: Literal["skip", "ignore"] = option(
        "whether what came before this step is enough (skip) or does not count (ignore)", default="skip"
    )
    condition: Condition = option(skip=True, default=None)

    @staticmethod
    def named(head: Node) -> str:
        """By what is waited for: who sleeps here is found again when another wait is put before it."""
        what = (head.get(key) for key in ("event", "segment", "message"))
        return next((node.text for node in what if node is not None and node.kind == "scalar"), "")

    @classmethod
    def narrow(cls, node: Node, scope: Scope) -> Scope:
        event = node.get("event")
        return replace(scope, subject_event=event.text) if event is not None and event.kind == "scalar" else scope

    def check(self, node: Node, context: Context) -> None:
        problems, scope = context.problems, context.scope
        body = node.get("wait_for") or node
        named = [k for k in ("event", "segment", "message") if getattr(self, k) is not None]
        for key, of in (("where", "event"), ("is", "message")):
            entry = body.entry(key)
            if entry is not None and of not in named:
                hint = f"it goes with `{of}`"
                problems.error("unused-key", f"`{key}` without `{of}` says nothing", entry.key_span, hint)
        told_if_nothing(self.timeout, body.get("timeout"), context)
        if len(named) != 1:
            hint = "name one of `event`, `segment`, `message`; for several, wait for one after the other"
            message = "what is waited for?" if not named else "a wait is for one thing: " + ", ".join(named)
            problems.error("wait-for-what", message, self.span, hint)
            return
        since: Literal["entry", "step"] = "entry" if self.already_true == "skip" else "step"
        condition: Condition | None
        if self.event is not None:
            condition = happened(self.event, self.where, since, scope.unit)
        elif self.segment is not None:
            text = f'in segment("{self.segment}")'
            condition = parse(text, self.span, replace(scope, subject_event=None), context.vocabulary, problems)
        else:
            assert self.message is not None
            if self.message not in (scope.steps or {}):
                at = body.get("message") or node
                hint = suggest(self.message, scope.steps or {}) or "name a send step by its id, such as `email:welcome`"
                problems.error("unknown-step-id", f"no step sends `{self.message}`", at.span, hint)
                return
            condition = heard(self.message, TELLS[self.is_], scope.unit, since)
        object.__setattr__(self, "condition", condition)

    def bodies(self) -> Mapping[str, tuple[Step, ...]]:
        return {"then": self.then, "else": self.else_}

    def asks(self) -> tuple[Condition | Expression, ...]:
        return (self.condition,)

    def listens(self) -> frozenset[str]:
        return frozenset({self.event}) if self.event else frozenset()

    def watches(self) -> tuple[Condition | Expression, ...]:
        return (self.condition,) if self.segment else ()

    def arrive(self, here: Here) -> Outcome:
        # What an `ignore` looks back to is this step's own arrival, which is now: the batch's answer is about another.
        came = self.segment is not None or self.already_true == "skip"
        true = came and here.truth(self.condition) is True
        if true and self.already_true == "skip":
            return self._then(already=True)
        return self._stay(here, here.now, true)

    def wake(self, here: Here) -> Outcome:
        true = here.truth(self.condition) is True
        # Kept of a segment alone: who waited for one by an earlier version must not miss the event of this one.
        was = self.segment is not None and bool(here.enrollment.memory.get("was", False))
        if true and not was:
            return self._then(already=False)
        since = here.enrollment.since
        if here.now >= here.later(since, after(since, self.timeout, here.zone())):
            return Into("else", {"waited": str(self.timeout), **self._for()}, what="timed out")
        return self._stay(here, since, true)

    def _then(self, already: bool) -> Into:
        return Into("then", {"already": already, **self._for()}, what="came")

    def _stay(self, here: Here, since: datetime, true: bool) -> Stay:
        """`was`: in the segment all along; it has to be left before it can be entered."""
        until = here.later(since, after(since, self.timeout, here.zone()))
        note = {"until": until.isoformat(), "zone": here.zone().key, **self._for()}
        return Stay(until, {"was": True} if true else {}, note=note)

    def _for(self) -> dict[str, str]:
        return {"for": self.condition.text}
