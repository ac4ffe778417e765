"""A call or a follow-up for one of our own people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from channels.base import Medium
from orchestrator.condition import Condition, Expression, parse_expression
from orchestrator.dates import day_after
from orchestrator.model import Json, Kind
from orchestrator.problems import Problems, Span
from orchestrator.reading import Context, option, place
from orchestrator.source import Node
from orchestrator.steps import Addressee, Here
from orchestrator.steps.sending import MANAGER, NO_MANAGER, SendStep, internal
from orchestrator.words import Duration, names_a_field

_ADDRESS: Final = re.compile(r"[^\s@<>(),:;\"]+@[^\s@<>(),:;\"]+")
_HERS: Final = frozenset({"customer.email", "customer.phone"})
_NAMES: Final = frozenset({Kind.TEXT, Kind.KEY, Kind.CHOICE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(SendStep):
    """Gives one of our own people something to do: a line in the task file, and an e-mail.

    The value says who: `account_manager`, a team by its name, an internal e-mail address, or a field that holds one of
    these, such as `opportunity.owner`. Where the account has no manager, or nothing stands in the field, it goes to
    `otherwise`; without that nobody gets it, and `why` says so, of managers also `run` and `doctor`. Consent and caps
    do not apply: nobody outside hears of it.

    A task that is a call to the customer says `call: yes`. It is given out only within calling hours where the
    customer is: law's, by the ruleset, in every zone and place the customer may be in.

    ```yaml
    - task: account_manager
      otherwise: customer-care
      message: "Call {{ account.name }}: the contract ends on {{ contract.ends | date }}"
      due: 2 business days
      call: yes
    ```
    """

    keyword = "task"
    medium = Medium.TASK
    by_number: ClassVar[bool] = True  # several tasks for one person are several steps: their text is not their name

    task: str = option("who: account_manager, a team's name, an internal e-mail address, or a field that names one")
    text: str = option("what to do; may name customer, account, the record and the event", key="message", default="")
    otherwise: str = option(
        "who, where the account has no manager: a team, or an internal e-mail address; account_manager, too, where a "
        "field is empty",
        default="",
    )
    title: str = option("a short heading; without it, the journey's name", default="")
    due: Duration | None = option("by when, counted from today in the unit's zone: 2 business days", default=None)
    call: Literal["yes", "no"] = option(
        "yes: it is a call to the customer, and is given out in calling hours only", default="no"
    )
    to: tuple[str, ...] = option(skip=True, default=())
    field: Expression | None = option(skip=True, default=None)

    def check(self, node: Node, context: Context) -> None:
        said = node.get("task")
        if said is not None and names_a_field(self.task):
            object.__setattr__(self, "field", place(said, 0, said.text.rstrip(), context, _field))
            if self.task.strip() in _HERS:  # no consent is asked for a task: it would go to her own mailbox
                hint = "name a field that says which of our own people takes it, such as `opportunity.owner`"
                context.problems.error("wrong-type", f"`{self.task}` is the customer's own address", said.span, hint)
        at = node.get("otherwise")
        if at is None:
            return
        if names_a_field(self.otherwise):
            hint = "name a team, or an internal e-mail address; a field is for `task`"
            context.problems.error("wrong-type", f"`{self.otherwise}` may be empty, too", at.span, hint)
        elif self.otherwise == MANAGER and not names_a_field(self.task):
            hint = "name a team, or an internal e-mail address"
            context.problems.error("unused-key", "`otherwise` is for where there is no manager", at.span, hint)
        elif not self.asks_for_somebody:
            hint = "leave it out, or write `task: account_manager`"
            message = f"`otherwise` says nothing here: there is always `{self.task}`"
            context.problems.error("unused-key", message, at.span, hint)

    @property
    def asks_for_somebody(self) -> bool:
        """Whether it goes to somebody whom there may not be."""
        return self.task == MANAGER or names_a_field(self.task)

    def asks(self) -> tuple[Condition | Expression, ...]:
        return (*SendStep.asks(self), *([self.field] if self.field else []))

    def whose(self, here: Here) -> str:
        """Who it is for, as the step says it; "" where there is nobody."""
        if self.field is None:
            return self.task if self.task != MANAGER or here.facts.staff else self.otherwise
        named = " ".join(str(here.facts.values.get(self.field.text) or "").split())
        # Whoever keeps the record writes it: two addresses, or half a one, are nobody's.
        sound = "@" not in named or _ADDRESS.fullmatch(named)
        those = (named if sound else "", self.otherwise)
        return next((one for one in those if one and (one != MANAGER or here.facts.staff)), "")

    def elsewhere(self, here: Here) -> tuple[Addressee, ...]:
        whose = self.whose(here)
        if whose == MANAGER and here.facts.staff:
            return (here.facts.staff,)
        return (internal(here, "staff"),) if whose else ()

    @property
    def needs_manager(self) -> bool:
        return self.task == MANAGER and not self.otherwise

    @property
    def goes_elsewhere(self) -> bool:
        return True

    def nobody(self, here: Here) -> str:
        return f"nobody stands in {self.task}" if self.field else NO_MANAGER

    def payload(self, here: Here) -> Json:
        today = here.now.astimezone(here.zone()).date()
        own = {
            "to": self.whose(here) or self.task,
            "text": self.text,
            "title": self.title,
            "due": day_after(today, self.due).isoformat() if self.due else "",
            "call": self.call == "yes",
        }
        return SendStep.payload(self, here) | {name: value for name, value in own.items() if value}


def _field(text: str, span: Span, context: Context, problems: Problems) -> Expression | None:
    return parse_expression(text, span, context.scope, context.vocabulary, problems, _NAMES)
