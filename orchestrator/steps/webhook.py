"""A call to another system."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import Medium
from orchestrator.fields import check_fields
from orchestrator.model import Json
from orchestrator.reading import Context, EventName, option
from orchestrator.source import Node
from orchestrator.steps import Addressee, Here
from orchestrator.steps.sending import SendStep, internal


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(SendStep):
    """Tells another system: an HTTP call to an endpoint named in orchestrator.toml.

    The value is the endpoint's name; addresses and secrets stay out of journeys. The call says which step of which
    journey it is and whom it is about, by their keys; `with` names what else. Nothing more of a person leaves.

    What the system answers may be of use: `answer` names an event, and what the answer's fields say of it is recorded
    for the same customer or account. It ends waits and counts in conditions like any other event.

    ```yaml
    - webhook: crm-follow-up
    - webhook: signing-desk
      with: [account.key, account.name, contract.contract_id]
      answer: contract_signed
    ```
    """

    keyword = "webhook"
    medium = Medium.WEBHOOK

    webhook: str = option("the endpoint's name")
    with_: tuple[str, ...] = option(
        "what the call carries: fields of the customer, account, event or record, such as `customer.email`; instead "
        "of the two keys",
        default=(),
    )
    answer: EventName | None = option("the event that is made of what is answered", default=None)
    to: tuple[str, ...] = option(skip=True, default=())

    def check(self, node: Node, context: Context) -> None:
        at = node.get("with") or node
        check_fields(self.with_, context.vocabulary, context.problems, at.span)

    def emits(self) -> str:
        return self.answer or ""

    def elsewhere(self, here: Here) -> tuple[Addressee, ...]:
        return (internal(here, "system"),)

    @property
    def goes_elsewhere(self) -> bool:
        return True

    def payload(self, here: Here) -> Json:
        own = {"to": self.webhook, "with": list(self.with_), "answer": self.answer}
        return SendStep.payload(self, here) | {name: value for name, value in own.items() if value}
