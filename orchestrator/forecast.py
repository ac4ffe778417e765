"""What a simulation came to, as one page to open, send or print: nothing is loaded from elsewhere, no script runs.

`orchestrator simulate --out FILE.html` writes what `page` gives; with `--compare`, two simulations side by side.
"""

from __future__ import annotations

from orchestrator.project import Project
from orchestrator.simulation import Simulation


def page(
    simulation: Simulation,
    project: Project,
    other: Simulation | None = None,
    other_project: Project | None = None,
    *,
    names: tuple[str, str] = ("this", "the other"),
) -> str:
    """The HTML document. `project`: what was simulated, for the journeys' drawings and names.

    With `other` (of `other_project`; None: of the same one) both stand side by side, differences are `simulation` minus
    `other`, and `names` says what each is called, such as ("written here", "in force"). Deterministic.
    """
    raise NotImplementedError
