"""Write an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestrator.condition import Condition, Expression
from orchestrator.reading import Context, option
from orchestrator.source import Node
from orchestrator.steps import Go, Here, Outcome, Step
from orchestrator.steps import Update as Updated
from orchestrator.steps.setting import Setting, read_settings, settled

Target = Literal["customer", "account"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Step):
    """Writes attributes of the customer or the account, as workspace.yaml declares them.

    A bare name is an attribute of whom the journey is about; `account.NAME` in a customer's journey is their company's.
    The value is written as it stands, or worked out when it begins with an equals sign. What follows this step is
    judged with the new values known. Standard fields (names, addresses, tier) come from imports alone.

    ```yaml
    - update: { favourite_store: "= event.store", newsletter_series: finished }
    - update: { account.status: active }
    ```
    """

    keyword = "update"
    passes: ClassVar[bool] = False

    update: Mapping[str, Node] = option("attribute: value, or = and an expression")
    settings: tuple[tuple[Target, tuple[Setting, ...]], ...] = option(skip=True, default=())

    def check(self, node: Node, context: Context) -> None:
        by_target: dict[Target, dict[str, Node]] = {}
        for name, value in self.update.items():
            target, bare = _target(name, context)
            if target is None:
                hint = "an account has several contacts: write an attribute of the account"
                problem = f"`{name}` in an account's journey could mean any contact"
                context.problems.error("update-contact", problem, value.key_span or value.span, hint)
                continue
            by_target.setdefault(target, {})[bare] = value
        found = []
        for target, values in by_target.items():
            declared = context.vocabulary.customer if target == "customer" else context.vocabulary.account
            own = {n: f for n, f in declared.items() if f.column is None}
            for name in [n for n in values if n in declared and n not in own]:
                hint = "declare an attribute of your own in workspace.yaml"
                problem = f"`{name}` is a standard field: journeys do not write it"
                value = values.pop(name)
                context.problems.error("update-standard-field", problem, value.key_span or value.span, hint)
            found.append((target, read_settings(values, own, f"the {target}", "attribute", context)))
        if not self.update:
            context.problems.error("empty-update", "nothing to write", self.span, "add `attribute: value`")
        object.__setattr__(self, "settings", tuple(found))

    def asks(self) -> tuple[Condition | Expression, ...]:
        return tuple(s.expression for _, some in self.settings for s in some if s.expression is not None)

    def arrive(self, here: Here) -> Outcome:
        effects = tuple(Updated(target, settled(some, here)) for target, some in self.settings)
        written = [f"{target}.{s.name}" for target, some in self.settings for s in some]
        return Go(effects, {"fields": written}, fresh=True, what="updated")


def _target(name: str, context: Context) -> tuple[Target | None, str]:
    head, dot, rest = name.partition(".")
    if not dot:
        return context.scope.unit, name
    if head == "account":
        return "account", rest
    if head == "customer":
        return ("customer" if context.scope.unit == "customer" else None), rest
    return context.scope.unit, name
