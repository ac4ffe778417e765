"""Build hook: the wheel carries the starter workspace, so that `orchestrator init` works without a checkout, the
standalone verifier, and the pages that `orchestrator explain` reads."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STARTER = (
    "journeys",
    "templates",
    "docs/schema",
    "docs/codes.md",
    "docs/reference/reasons.md",
    "orchestrator.toml",
    "prefect.yaml",
    "verifier/verify.py",
)


class StarterWorkspace(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            # A checkout has the workspace at its root; a copy in site-packages would go stale.
            return
        missing = [name for name in STARTER if not (Path(self.root) / name).exists()]
        if missing:
            raise FileNotFoundError(
                f"the wheel needs the starter workspace, but {', '.join(missing)} is not in {self.root}; "
                "build from a complete checkout"
            )
        for name in STARTER:
            build_data["force_include"][str(Path(self.root) / name)] = f"orchestrator/starter/{name}"
