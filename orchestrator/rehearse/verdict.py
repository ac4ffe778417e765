"""What comes of a test: messages as they were, what is not as expected, what of the journeys was come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from orchestrator.journey import Journey
from orchestrator.problems import Span
from orchestrator.rehearsal import Rehearsal


@dataclass(frozen=True, slots=True)
class Got:
    """A message as it was: `to` whom, `about` whose keys it concerns; `at` when it went out, was refused or is due.

    `fate`: sent, refused (or withdrawn), waiting (held, or planned for later). `why`: the reason in a sentence;
    `held`: instants and reasons of its holds.
    """

    id: int
    at: datetime
    medium: str
    step: str
    template: str
    to: str
    about: frozenset[str]
    journey: str
    fate: Literal["sent", "refused", "waiting"]
    reason: str = ""
    why: str = ""
    held: tuple[tuple[datetime, str], ...] = ()

    @property
    def line(self) -> str:
        """As a line of a test would say it."""
        step = self.step.removeprefix(f"{self.medium}:")
        name = self.template or ("" if step == self.to else step)
        if self.template and step != self.template:
            name = f"{name} ({step})"
        return " ".join(part for part in (self.medium, name, "to", self.to) if part)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is not as expected. `kind`: missing, unexpected, forbidden, untrue, impossible; `why`: what came instead."""

    kind: Literal["missing", "unexpected", "forbidden", "untrue", "impossible"]
    text: str
    span: Span
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """A line of the timeline: what was expected, what came; either may be None. `timed`: `at` is an instant, not just
    a day."""

    at: datetime
    expected: str | None
    got: str | None
    good: bool
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Reached:
    """What of a journey was come to: steps by id, ways as (step, way)."""

    steps: frozenset[str] = frozenset()
    ways: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a test. `stops`: at how many moments there was something to do."""

    test: Rehearsal
    failures: tuple[Failure, ...]
    turns: tuple[Turn, ...]
    reached: Mapping[str, Reached]
    stops: int

    @property
    def passed(self) -> bool:
        return not self.failures


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of one journey, over all tests: how many steps and ways there are, and those that no test came to."""

    journey: str
    steps: int
    ways: int
    unreached: tuple[str, ...]
    untaken: tuple[tuple[str, str], ...]

    @property
    def share(self) -> float:
        """Of steps and ways together, [0, 1]."""
        whole = self.steps + self.ways
        return 1 - (len(self.unreached) + len(self.untaken)) / whole if whole else 1.0


def ways(journey: Journey) -> tuple[tuple[str, str], ...]:
    """Every way that a run may take at a fork of the journey: (step, way); "none" where no condition may hold."""
    found = []
    for step in journey.every_step():
        names = list(step.bodies())
        if step.keyword == "branch" and "else" not in names:
            names.append("none")
        found += [(step.id, name) for name in names]
    return tuple(found)


def way_taken(what: str, detail: Mapping[str, Any]) -> str:
    """The way at a fork, as `ways` names it, that a line of a run's diary tells of; "" for any other line."""
    if what == "chose":
        return str(detail.get("arm") or "none")
    return {"came": "then", "timed out": "else"}.get(what, "")


def coverage(journey: Journey, reached: list[Reached]) -> Coverage:
    """What these tests leave out of a journey."""
    steps = [step.id for step in journey.every_step()]
    every = ways(journey)
    unreached = tuple(s for s in steps if not any(s in r.steps for r in reached))
    untaken = tuple(w for w in every if not any(w in r.ways for r in reached))
    return Coverage(journey.name, len(steps), len(every), unreached, untaken)
