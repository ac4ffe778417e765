"""Steps of the loyalty programme, known by name so that using one too early is told plainly."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.reading import Context, option
from orchestrator.source import Node
from orchestrator.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class _Later(Step):
    body: Node = option("comes with the loyalty programme", head=True)
    key: Node | None = option("comes with the loyalty programme", default=None)

    def check(self, node: Node, context: Context) -> None:
        message = f"`{self.keyword}` comes with the loyalty programme, which this version does not have yet"
        context.problems.error("not-yet", message, self.span, "leave the step out for now")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(_Later):
    """Asks a survey's question. Comes with the loyalty programme."""

    keyword = "survey"
