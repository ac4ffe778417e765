"""One enrollment's next move, from what is known. Pure: the same arguments give the same Move, so a replay is safe."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.condition import Condition, Expression
from orchestrator.journey import Journey
from orchestrator.model import Enrollment, Json
from orchestrator.steps import Effect, Facts


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of a run's diary, for `why`. `line` is the step's line in its file."""

    step: str
    visit: int
    what: str
    detail: Json


@dataclass(frozen=True, slots=True)
class Move:
    """From (step, visit) of the enrollment given, to here. Applied by compare-and-swap on that (step, visit, since).

    `wake_at` None: asleep until something wakes it. `again`: due at once, with fresh facts.
    """

    enrollment: Enrollment
    step: str
    visit: int
    since: datetime
    wake_at: datetime | None
    memory: Json
    visits: Json
    effects: tuple[Effect, ...]
    trace: tuple[Trace, ...]
    ended: str | None
    again: bool


def asks(journey: Journey, step: str) -> tuple[Condition | Expression, ...]:
    """All that a move from this step (“” = the beginning) may look up before its round ends; cached by the journey."""
    raise NotImplementedError


def advance(journey: Journey, enrollment: Enrollment, facts: Facts, now: datetime) -> Move:
    """The next move: exit and goal first, then the step it stands at, then on until it stays, ends or a round ends.

    Chance is `draw(name)`: a hash of (unit, journey name, unit id, name).
    """
    raise NotImplementedError
