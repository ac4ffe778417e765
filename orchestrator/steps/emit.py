"""Tell the rest of the house that something happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestrator.condition import Condition, Expression
from orchestrator.model import LOYALTY_EVENTS
from orchestrator.reading import Context, EventName, option
from orchestrator.source import Node
from orchestrator.steps import Emit as Emitted
from orchestrator.steps import Go, Here, Outcome, Step, Value
from orchestrator.steps.setting import Setting, read_settings, settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit(Step):
    """Records an event, as if it had come from outside: it starts journeys, ends waits, counts in conditions.

    Properties are values, or expressions after an equals sign. What follows this step is judged with the event known.

    ```yaml
    - emit: renewal_at_risk
      properties: { contract_id: "= contract.contract_id", reason: no answer }
    ```
    """

    keyword = "emit"
    passes: ClassVar[bool] = False

    emit: EventName = option("the event")
    properties: Mapping[str, Node] = option("its properties: a value, or = and an expression", factory=dict)
    settings: tuple[Setting, ...] = option(skip=True, default=())

    def check(self, node: Node, context: Context) -> None:
        if self.emit in LOYALTY_EVENTS and context.vocabulary.loyalty.declared:
            message = f"`{self.emit}` is an event that the programme itself records"
            context.problems.error("emit-of-the-programme", message, self.span, "declare an event of your own")
            return
        fields = context.vocabulary.events[self.emit].fields
        found = read_settings(self.properties, fields, f"the event `{self.emit}`", "property", context)
        object.__setattr__(self, "settings", found)

    def emits(self) -> str:
        return self.emit

    def asks(self) -> tuple[Condition | Expression, ...]:
        return tuple(s.expression for s in self.settings if s.expression is not None)

    def arrive(self, here: Here) -> Outcome:
        values: dict[str, Value] = settled(self.settings, here)
        effect = Emitted(self.id, here.enrollment.visit, self.emit, values)
        return Go((effect,), {"event": self.emit}, fresh=True, what="emitted")
