"""One of several ways, by conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.condition import Condition, Expression
from orchestrator.model import Json
from orchestrator.problems import Span
from orchestrator.reading import Context, option
from orchestrator.source import Node
from orchestrator.steps import Go, Here, Into, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way of a branch: `if` with `steps`, or `else`."""

    span: Span
    if_: Condition | None = option("the condition", default=None)
    steps: tuple[Step, ...] = option("what follows when it is true", default=())
    else_: tuple[Step, ...] | None = option("what follows when none of the conditions is true", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch(Step):
    """Takes the first way whose condition is true, `else` when none is.

    A condition that cannot be told for want of data is not true. Whoever has taken a way stays on it, whatever changes
    afterwards; at its end, all ways meet again behind the branch.

    ```yaml
    - branch:
        - if: tier == platinum
          steps: [ { mail: birthday-letter } ]
        - if: tier == gold
          steps: [ { email: birthday-early-access } ]
        - else: [ { email: birthday } ]
    ```
    """

    keyword = "branch"

    branch: tuple[Case, ...] = option("the ways, in order")

    def check(self, node: Node, context: Context) -> None:
        problems = context.problems
        for number, case in enumerate(self.branch):
            last = number == len(self.branch) - 1
            if case.else_ is not None:
                if case.if_ is not None or case.steps:
                    hint = "make it a list item of its own: `- else: [ … ]`"
                    problems.error("else-with-if", "`else` stands together with `if` or `steps`", case.span, hint)
                elif not last:
                    problems.error("else-not-last", "nothing after `else` can be taken", case.span, "put `else` last")
                elif number == 0:
                    hint = "add `- if: …` before it, or write its steps without `branch`"
                    problems.error("branch-without-if", "a branch with nothing but `else`", case.span, hint)
            elif case.if_ is None:
                hint = "begin with `if: CONDITION`, or write `else: [ … ]`"
                problems.error("branch-without-if", "this way has no `if`", case.span, hint)
        if not self.branch:
            problems.error("branch-without-if", "a branch without ways", self.span, "add `- if: …` with `steps: [ … ]`")

    def bodies(self) -> Mapping[str, tuple[Step, ...]]:
        return {self._name(n): case.steps if case.if_ else case.else_ or () for n, case in enumerate(self.branch)}

    def through(self) -> bool:
        return Step.through(self) or all(case.else_ is None for case in self.branch)

    def asks(self) -> tuple[Condition | Expression, ...]:
        return tuple(case.if_ for case in self.branch if case.if_)

    def arrive(self, here: Here) -> Outcome:
        tried: list[Json] = []
        for number, case in enumerate(self.branch):
            if case.if_ is not None:
                truth = here.truth(case.if_)
                tried.append({"condition": case.if_.text, "truth": truth})
                if truth is not True:
                    continue
            return Into(self._name(number), {"arm": self._name(number), "tried": tried})
        return Go(note={"arm": None, "tried": tried}, what="chose")

    def _name(self, number: int) -> str:
        return f"if {number + 1}" if self.branch[number].if_ else "else"
