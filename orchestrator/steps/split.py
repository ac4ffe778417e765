"""Several ways by chance: an experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from orchestrator.problems import Span
from orchestrator.reading import Context, EventName, Share, option
from orchestrator.source import Node
from orchestrator.steps import Here, Into, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm of a split."""

    span: Span
    share: Share = option("how many of a hundred: 45%")
    steps: tuple[Step, ...] = option("its steps; [] for a control that is sent nothing", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """When an experiment is decided, and by what."""

    by: EventName = option("the event that counts as success")
    after: timedelta = option("how long it may take from the split on; nobody counts before: 21 days")
    min_confidence: Share = option("how sure: 95%", default=Share(0.95))


LEAST_SURE, MOST_SURE = 0.5, 0.9999
"""Below the one a coin would do; above the other nothing is ever sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Step):
    """Divides the audience by chance, in shares that make up 100%.

    The same customer (or account) always gets the same arm of the same split of a journey: on a second visit, on a
    second run, and after the journey was edited, as long as the split's id stays and the shares do. `control` with no
    steps is a group to compare with.

    With `winner` the split is an experiment that ends by itself. Everybody counts by the arm that was dealt, whatever
    became of the messages: it is a success when the event `by` happens within `after` of the split, and nobody counts
    before that time is over. As soon as one arm is better than each other one by `min_confidence`, it wins: who comes
    to the split from then on takes its arm, on a second visit and in a second run too; who was dealt another keeps it.
    Should `control` win, nobody is sent anything by that split any more. It may be looked at every day: the test stays
    right (`orchestrator experiments`). Other arms or other shares are another experiment, and so is another `by`;
    without `winner` arms are dealt again. An arm that shall say something else gets another name.

    ```yaml
    - split:
        price-lock: { share: 45%, steps: [ { email: renewal-price-lock } ] }
        bundle:     { share: 45%, steps: [ { email: renewal-bundle } ] }
        control:    { share: 10%, steps: [] }
      winner: { by: contract_renewed, after: 21 days, min_confidence: 95% }
    ```
    """

    keyword = "split"

    split: Mapping[str, Arm] = option("the arms by name")
    winner: Winner | None = option("when and by what the experiment is decided", default=None)

    @staticmethod
    def named(head: Node) -> str:
        """By its arms: another split put before it must not deal it new cards."""
        return "-".join(entry.key for entry in head.entries)

    def check(self, node: Node, context: Context) -> None:
        total = sum(round(arm.share * 1_000_000) for arm in self.split.values())
        if not self.split:
            hint = "add arms: `name: { share: 50%, steps: [ … ] }`"
            context.problems.error("split-without-arms", "a split without arms", self.span, hint)
        elif abs(total - 1_000_000) > 2:  # three times 33.3333% is as near to a whole as can be written
            shown = f"{total / 10_000:g}"
            hint = "add an arm without steps for the rest" if total < 1_000_000 else "lower one of them"
            context.problems.error("split-shares", f"the shares make up {shown}%, not 100%", self.span, hint)
        if self.winner is not None:
            self._check_winner(self.winner, node, context)

    def _check_winner(self, winner: Winner, node: Node, context: Context) -> None:
        said = node.get("winner")
        span = self.span if said is None else said.span
        if sum(arm.share > 0 for arm in self.split.values()) == 1:
            hint = "add another arm, such as `control: { share: 20%, steps: [] }`, or take `winner` away"
            context.problems.error("winner-alone", "one arm has nobody to win against", span, hint)
        if not LEAST_SURE <= winner.min_confidence <= MOST_SURE:
            hint = f"from {LEAST_SURE:.0%} to {MOST_SURE:.2%}; 95% is usual"
            message = f"nothing can be {winner.min_confidence:g} sure" if winner.min_confidence > MOST_SURE else ""
            message = message or "a coin would be as sure"
            context.problems.error("winner-confidence", message, span, hint)

    def bodies(self) -> Mapping[str, tuple[Step, ...]]:
        return {name: arm.steps for name, arm in self.split.items()}

    @property
    def cards(self) -> str:
        """The experiment's mark in the diary: another arm or another share is another experiment."""
        return _cards(tuple((name, round(arm.share * 1_000_000)) for name, arm in self.split.items()))

    @property
    def question(self) -> str:
        """What a decision is about: these arms in these shares at this step, by that event. "" without a winner."""
        return "" if self.winner is None else f"{self.id} {self.cards} {self.winner.by}"

    def arrive(self, here: Here) -> Outcome:
        over = here.facts.decided.get(self.question) if self.winner is not None else None
        if over is not None and over.arm in self.split:
            return Into(over.arm, {"arm": over.arm, "decided": over.id})
        drawn = here.draw(f"split {self.id}")
        name = self.dealt(drawn)
        return Into(name, {"arm": name, "draw": round(drawn, 6), "cards": self.cards})

    def dealt(self, drawn: float) -> str:
        """The arm that chance in [0, 1) gives."""
        edge = 0.0
        for name, arm in self.split.items():
            edge += arm.share
            if drawn < edge:
                return name
        return list(self.split)[-1]  # shares in binary fractions may end a hair below one


@cache
def _cards(arms: tuple[tuple[str, int], ...]) -> str:
    return hashlib.sha256(repr(arms).encode()).hexdigest()[:12]
