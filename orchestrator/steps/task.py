"""A call or a follow-up for one of our own people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from channels.base import Medium
from orchestrator.dates import day_after
from orchestrator.model import Json
from orchestrator.reading import option
from orchestrator.steps import Addressee, Here
from orchestrator.steps.sending import SendStep, internal
from orchestrator.words import Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(SendStep):
    """Gives one of our own people something to do: a line in the task file, and an e-mail.

    The value says who: `account_manager` (an account without one is passed over, and `why` says so), a team by its
    name, or an internal e-mail address. Consent and caps do not apply: nobody outside hears of it.

    A task that is a call to the customer says `call: yes`. It is given out only within calling hours where the
    customer is: law's, by the ruleset, in every zone and place the customer may be in.

    ```yaml
    - task: account_manager
      message: "Call {{ account.name }}: the contract ends on {{ contract.ends | date }}"
      due: 2 business days
      call: yes
    ```
    """

    keyword = "task"
    medium = Medium.TASK
    by_number: ClassVar[bool] = True  # several tasks for one person are several steps: their text is not their name

    task: str = option("who: account_manager, a team's name, or an internal e-mail address")
    text: str = option("what to do; may name customer, account, the record and the event", key="message", default="")
    title: str = option("a short heading; without it, the journey's name", default="")
    due: Duration | None = option("by when, counted from today in the unit's zone: 2 business days", default=None)
    call: Literal["yes", "no"] = option(
        "yes: it is a call to the customer, and is given out in calling hours only", default="no"
    )
    to: tuple[str, ...] = option(skip=True, default=())

    def elsewhere(self, here: Here) -> tuple[Addressee, ...]:
        if self.task == "account_manager":
            return (here.facts.staff,) if here.facts.staff else ()
        return (internal(here, "staff"),)

    @property
    def goes_elsewhere(self) -> bool:
        return True

    def nobody(self, here: Here) -> str:
        return "the account has no manager"

    def payload(self, here: Here) -> Json:
        today = here.now.astimezone(here.zone()).date()
        own = {
            "to": self.task,
            "text": self.text,
            "title": self.title,
            "due": day_after(today, self.due).isoformat() if self.due else "",
            "call": self.call == "yes",
        }
        return SendStep.payload(self, here) | {name: value for name, value in own.items() if value}
