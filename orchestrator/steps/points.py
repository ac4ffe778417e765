"""Points, given or taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.condition import Condition, Expression
from orchestrator.model import Field, Kind
from orchestrator.reading import Context, option
from orchestrator.source import Node
from orchestrator.steps import Award, Go, Here, Outcome, Step
from orchestrator.steps.setting import Setting, read_settings, settled

MOST = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Points(Step):
    """Awards points, or deducts them: one of `award` and `deduct`, a whole number or an expression after an equals
    sign (rounded down; nothing is given for nought, for less, and for what is not known).

    Whose they are the class says: with `unit: account` the company's, else the customer's. With a `key` it happens once
    for them and that key, whichever run or journey says so; without one, once for this run (once for each time a loop
    comes by). A deduction takes what is there and no more: nobody's balance goes below nought by it. Awarded points
    expire as the class's `points_expire` says, and do not count towards a tier. What follows is judged with the new
    balance.

    ```yaml
    - points: { award: 50, key: welcome }
    - points: { award: "= event.pages * 2" }
    - points: { deduct: 100 }
    ```
    """

    keyword = "points"
    passes: ClassVar[bool] = False

    award: Node | None = option("how many to give: a number, or = and an expression", default=None)
    deduct: Node | None = option("how many to take", default=None)
    key: str = option("what for: once for the unit and this key", default="")
    amount: Setting | None = option(skip=True, default=None)

    def check(self, node: Node, context: Context) -> None:
        problems = context.problems
        if (self.award is None) == (self.deduct is None):
            hint = "write `points: { award: 50 }` or `points: { deduct: 100 }`"
            told = "points both given and taken" if self.award is not None else "points given or taken: how many?"
            problems.error("points-how-many", told, self.span, hint)
            return
        word, said = ("award", self.award) if self.award is not None else ("deduct", self.deduct)
        assert said is not None
        found = read_settings({word: said}, {word: Field(word, Kind.NUMBER)}, "the step", "property", context)
        if not found:
            return
        value = found[0].value
        if found[0].expression is None and not (isinstance(value, int) and 1 <= value <= MOST):
            hint = f"from 1 to {MOST:,}" + ("" if word == "deduct" else "; to take points, write `deduct`")
            problems.error("points-how-many", f"`{said.text}` is no number of points", said.span, hint)
            return
        object.__setattr__(self, "amount", found[0])

    def asks(self) -> tuple[Condition | Expression, ...]:
        found = self.amount.expression if self.amount is not None else None
        return () if found is None else (found,)

    def arrive(self, here: Here) -> Outcome:
        assert self.amount is not None
        value = settled([self.amount], here)[self.amount.name]
        points = int(value) if isinstance(value, (int, float)) and 1 <= value <= MOST else 0
        taken = self.amount.name == "deduct"
        note = {"points": points, **({"key": self.key} if self.key else {})}
        what = "deducted" if taken else "awarded"
        if not points:
            return Go((), note | {"because": "nothing to give" if not taken else "nothing to take"}, what=what)
        effect = Award(self.id, here.enrollment.visit, -points if taken else points, self.key)
        return Go((effect,), note, fresh=True, what=what)
