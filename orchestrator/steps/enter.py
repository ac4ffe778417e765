"""Into another journey, too."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.reading import option
from orchestrator.steps import EnterJourney, Go, Here, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter(Step):
    """Enters the customer (or account) into another journey, and goes on here.

    The other journey's audience, re-entry and overlap rules decide whether a run begins there. Both journeys must be
    about the same: customers or accounts.

    ```yaml
    - enter: win-back
    ```
    """

    keyword = "enter"

    enter: str = option("the other journey's name")

    def enters(self) -> tuple[str, ...]:
        return (self.enter,)

    def arrive(self, here: Here) -> Outcome:
        effect = EnterJourney(self.id, here.enrollment.visit, self.enter)
        return Go((effect,), {"journey": self.enter}, what="entered")
