"""Back, or forward, to another step."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.reading import option
from orchestrator.steps import Go, Here, Jump, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Goto(Step):
    """Goes on at another step, at most `max` times in one run; after that, past this step.

    The other step is named by its id: the keyword and what follows it (`email:reminder`), or its `id`. What is sent
    again is a message of its own.

    ```yaml
    - email: reminder
    - wait_for: { event: order_placed, timeout: 7 days, then: [ { exit: bought } ] }
    - goto: email:reminder
      max: 2
    ```
    """

    keyword = "goto"

    goto: str = option("the id of the step to go on at")
    max: int = option("how many times at most in one run", low=1, high=1000)

    def jumps(self) -> tuple[str, ...]:
        return (self.goto,)

    def arrive(self, here: Here) -> Outcome:
        times = here.enrollment.visits.get(self.id, 0)
        if times >= self.max:
            return Go(note={"to": self.goto, "times": times, "max": self.max})
        return Jump(self.goto, {"to": self.goto, "times": times + 1, "max": self.max})
