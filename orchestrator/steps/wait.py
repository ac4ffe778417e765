"""Wait for a length of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from orchestrator.dates import after
from orchestrator.reading import Context, option, told_if_nothing
from orchestrator.source import Node
from orchestrator.steps import Go, Here, Outcome, Stay, Step
from orchestrator.words import Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Step):
    """Waits, counted from when the journey comes to this step.

    Days, weeks and months keep the wall time over a change of the clock: who comes here at 09:00 goes on at 09:00, in
    the customer's (or account's) own zone. Hours and minutes are elapsed time. `2 business days` leaves out weekends.

    ```yaml
    - wait: 3 days
    - wait: 2 hours
    ```
    """

    keyword = "wait"
    waits: ClassVar[bool] = True

    wait: Duration = option("how long: 3 days, 2 hours, 2 business days")

    def check(self, node: Node, context: Context) -> None:
        told_if_nothing(self.wait, node.get("wait"), context)

    def arrive(self, here: Here) -> Outcome:
        return self._until(here, here.now)

    def wake(self, here: Here) -> Outcome:
        return self._until(here, here.enrollment.since)

    def _until(self, here: Here, since: datetime) -> Outcome:
        until = here.later(since, after(since, self.wait, here.zone()))
        if until <= here.now:
            return Go(note={"waited": str(self.wait)}, what="woke")
        return Stay(until, note={"for": str(self.wait), "until": until.isoformat(), "zone": here.zone().key})
