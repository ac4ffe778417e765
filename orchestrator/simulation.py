"""What a simulation is given and what comes of it: behaviour, traffic by step, volumes by day. No clock, no chance.

All counts are of what was played; `Simulation.scale` says how many real customers one played stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from channels.base import Medium


@dataclass(frozen=True, slots=True)
class Chances:
    """How likely it is that a message which has gone out is …, each a share in [0, 1] of those it can happen to.

    `clicked` is of those opened where the medium tells of opening, else of those delivered; `converted`: that the
    goal's event follows a message, `bounced`: for good.
    """

    bounced: float = 0.0
    opened: float = 0.0
    clicked: float = 0.0
    converted: float = 0.0
    complained: float = 0.0
    unsubscribed: float = 0.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How people take what they are sent: by (medium, value band), where "" stands for any band."""

    chances: Mapping[tuple[Medium, str], Chances] = field(default_factory=dict)

    def of(self, medium: Medium, band: str = "") -> Chances:
        found = self.chances.get((medium, band))
        return found if found is not None else self.chances.get((medium, ""), Chances())


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who went where in one journey: runs, counted once per step and way however often they came by.

    `steps`: runs that came to a step, by its id; `ways`: runs that took a way at a fork, by (step, way) as
    `rehearse.ways` names them; `inside`: runs that stand at a step now; `ended`: by why; `sent`: messages that went
    out, by step.
    """

    entered: int = 0
    steps: Mapping[str, int] = field(default_factory=dict)
    ways: Mapping[tuple[str, str], int] = field(default_factory=dict)
    inside: Mapping[str, int] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    sent: Mapping[str, int] = field(default_factory=dict)

    @property
    def held_out(self) -> int:
        return self.ended.get("holdout", 0)

    @property
    def reached_goal(self) -> int:
        return self.ended.get("goal", 0)


@dataclass(frozen=True, slots=True)
class Volume:
    """Messages of a step that went out on a day (of the workspace's clock). `cost` is in millionths of `currency`,
    0 where the medium has no price."""

    day: date
    journey: str
    step: str
    medium: Medium
    count: int
    cost: int = 0
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Messages held or denied, each counted once for each reason. `verdict`: hold, deny, expired, cancelled."""

    journey: str
    medium: Medium
    verdict: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What people did with what they got: opened, clicked, converted, bounced, … on a day."""

    day: date
    journey: str
    medium: Medium
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came of it. `project`: the hash of what was played; `seed`, `customers` played and `scale`.

    `messages`: SHA-256 over every message's journey, step, addressee's key, medium, template and instant in order:
    two runs with the same workspace, cohort, behaviour, clock and seed have the same.
    """

    project: str
    began: datetime
    ended: datetime
    seed: int
    customers: int
    scale: float = 1.0
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    replies: tuple[Reply, ...] = ()
    messages: str = ""
    notes: tuple[str, ...] = ()


_HOPS: Final = ((timedelta(days=45), timedelta(hours=1)), (timedelta(days=120), timedelta(hours=3)))
_SELDOM: Final = timedelta(hours=6)


def usual_hop(span: timedelta) -> timedelta:
    """How long after a look there is another one at the soonest, where nothing is said: a year by the hour is more
    patience than anybody has. Never a whole day: looks at the same hour of the night would hold every message for ever.
    """
    return next((hop for most, hop in _HOPS if span <= most), _SELDOM)
