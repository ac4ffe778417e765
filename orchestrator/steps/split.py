"""Several ways by chance: an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.problems import Span
from orchestrator.reading import Context, EventName, Share, option
from orchestrator.source import Node
from orchestrator.steps import Here, Into, Outcome, Step
from orchestrator.words import Duration


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
    after: Duration = option("not before so long: 21 days")
    min_confidence: Share = option("how sure: 95%", default=Share(0.95))


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Step):
    """Divides the audience by chance, in shares that make up 100%.

    The same customer (or account) always gets the same arm of the same split of a journey: on a second visit, on a
    second run, and after the journey was edited, as long as the split's id stays and the shares do. `control` with no
    steps is a group to compare with.

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

    def bodies(self) -> Mapping[str, tuple[Step, ...]]:
        return {name: arm.steps for name, arm in self.split.items()}

    def arrive(self, here: Here) -> Outcome:
        drawn = here.draw(f"split {self.id}")
        name = self.dealt(drawn)
        return Into(name, {"arm": name, "draw": round(drawn, 6)})

    def dealt(self, drawn: float) -> str:
        """The arm that chance in [0, 1) gives."""
        edge = 0.0
        for name, arm in self.split.items():
            edge += arm.share
            if drawn < edge:
                return name
        return list(self.split)[-1]  # shares in binary fractions may end a hair below one
