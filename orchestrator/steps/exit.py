"""The end of this run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.reading import option
from orchestrator.steps import End, Here, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit(Step):
    """Ends the run here. A word of why is kept for `why`.

    ```yaml
    - branch:
        - if: account.status == "churned"
          steps: [ { exit: has left } ]
    ```
    """

    keyword = "exit"
    passes: ClassVar[bool] = False
    ends: ClassVar[bool] = True

    exit: str | None = option("why, in a few words", default=None)

    def arrive(self, here: Here) -> Outcome:
        return End("exited", {"because": self.exit or "exit"})
