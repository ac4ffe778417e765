"""Experiments decided: how each split with a winner stands, and an arm that won written down, once.

From then on `advance` sends whoever comes to that split the winner's way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestrator import experiment
from orchestrator.apply import Force, in_force
from orchestrator.experiment import Arm, Finding
from orchestrator.journey import Journey
from orchestrator.project import Project
from orchestrator.steps.split import Split
from orchestrator.store import experiments, measures, versions
from orchestrator.store.database import Store
from orchestrator.store.experiments import Aim, Count, Counts, Decision
from orchestrator.terms import Happened

EVERY: Final = timedelta(hours=1)
"""A tick looks no oftener."""
HOLDOUT: Final = "holdout"
"""In the place of a step: the journey itself against those who were held out."""
SURE: Final = 0.95
HELD, SENT = "held out", "journey"
_LOOKED = "experiments_looked"

State = Literal["too early", "gathering", "decided"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How an experiment stands. `step` a split's id, or HOLDOUT, which is never decided by itself.

    `arms`: units whose time is over, each counted once; `waiting`: by arm, units whose time is not. `finding`: of these
    counts now, whatever was decided before. `decision` None while it is open. `to_go`: roughly how many more runs it
    takes if the rates stay; None: more than anybody waits for, or nobody can tell yet.
    """

    journey: str
    step: str
    by: str
    after: timedelta
    confidence: float
    since: datetime | None
    arms: tuple[Arm, ...]
    waiting: Mapping[str, int]
    finding: Finding
    decision: Decision | None
    to_go: int | None

    @property
    def state(self) -> State:
        if self.decision is not None:
            return "decided"
        return "gathering" if any(arm.runs for arm in self.arms) else "too early"

    @property
    def name(self) -> str:
        return f"{self.journey}/{self.step}"


@dataclass(frozen=True, slots=True)
class DecideReport:
    """`looked`: experiments judged; `decided`: those that an arm won just now."""

    looked: int = 0
    decided: tuple[Decision, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """A line each for who runs this: names of the workspace and numbers only."""
        return tuple(
            f"the experiment {d.journey}/{d.step} is decided: `{d.winner}` won by {d.by}; who comes there from now on "
            f"takes it (`orchestrator experiments {d.journey}`)"
            for d in self.decided
        )


def decide(store: Store, *, now: datetime, every: timedelta = EVERY) -> DecideReport:
    """Judge what is open of the journeys in force, where the last look is `every` ago; write down what an arm won.

    Any number may run at once: a decision is made once. Cheap where no journey in force has a winner to find.
    """
    with store.read() as conn:
        force = in_force(conn)
        if force is None or not seeks(force.project):
            return DecideReport()
        looked = versions.setting_instant(conn, _LOOKED)
        if looked is not None and timedelta() <= now - looked < every:
            return DecideReport()
        over = _over(conn)
        asked = [
            (journey, split) for journey, split in _splits(force.project) if (journey.name, split.question) not in over
        ]
        found = [_of_split(conn, journey, split, None, now) for journey, split in asked]
    won = [one for one in found if one.finding.reached]

    def written(conn: sa.Connection) -> set[int]:
        versions.set_instant(conn, _LOOKED, now)
        units = force.project.journeys
        numbers = (_write(conn, units[one.journey], one, now) for one in won)
        return {number for number in numbers if number is not None}

    new = store.written(written)
    if not new:
        return DecideReport(len(found))
    with store.read() as conn:
        return DecideReport(len(found), tuple(d for d in experiments.decisions(conn) if d.id in new))


def standings(conn: sa.Connection, force: Force, now: datetime, *, journey: str | None = None) -> tuple[Standing, ...]:
    """Every split with a winner of the journeys in force, and every holdout of one whose goal is an event with a time
    `within`; of one journey where it is named. One statement for each split, a few for each holdout."""
    over = _over(conn)
    found = []
    for one, split in _splits(force.project):
        if journey in (None, one.name):
            found.append(_of_split(conn, one, split, over.get((one.name, split.question)), now))
    for one in force.project.journeys.values():
        if journey in (None, one.name) and (standing := _of_holdout(conn, force, one, now)) is not None:
            found.append(standing)
    return tuple(sorted(found, key=lambda one: (one.journey, one.step == HOLDOUT)))


def seeks(project: Project) -> bool:
    """Whether any journey asks for a winner."""
    return any(True for _ in _splits(project))


def _over(conn: sa.Connection) -> dict[tuple[str, str], Decision]:
    return {(d.journey, d.question): d for d in experiments.decisions(conn)}


def _splits(project: Project) -> Iterator[tuple[Journey, Split]]:
    for journey in project.journeys.values():
        for step in journey.every_step():
            if isinstance(step, Split) and step.winner is not None:
                yield journey, step


def _of_split(
    conn: sa.Connection, journey: Journey, split: Split, decision: Decision | None, now: datetime
) -> Standing:
    assert split.winner is not None
    aim = _aim(journey, split)
    counts = experiments.counted(conn, aim, now)
    arms = tuple(_arm(name, float(arm.share), counts) for name, arm in split.split.items())
    confidence = float(split.winner.min_confidence)
    finding = experiment.judge(arms, confidence)
    return Standing(
        journey.name,
        split.id,
        aim.by,
        aim.after,
        confidence,
        counts.first,
        arms,
        {name: counts.arms[name].waiting for name in split.split if name in counts.arms},
        finding,
        decision,
        0 if decision is not None else experiment.to_go(arms, confidence),
    )


def _aim(journey: Journey, split: Split) -> Aim:
    assert split.winner is not None
    return Aim(journey.name, journey.unit, split.id, split.cards, split.winner.by, split.winner.after)


def _arm(name: str, share: float, counts: Counts) -> Arm:
    count = counts.arms.get(name, Count())
    return Arm(name, count.runs, count.successes, share)


def _of_holdout(conn: sa.Connection, force: Force, journey: Journey, now: datetime) -> Standing | None:
    """What the journey brings: those who entered against those held out, by its goal. Each unit once, by its first
    run."""
    goal = journey.goal.root if journey.goal is not None else None
    if not journey.holdout or not isinstance(goal, Happened) or goal.within_seconds is None:
        return None
    within = timedelta(seconds=goal.within_seconds)
    aim = measures.Aim(journey.name, journey.unit, goal.event, goal.where, within, first=True)
    first = measures.first_entry(conn, journey.name)
    span = measures.Span(now if first is None else first, now, now)
    tally = measures.runs(conn, force.segments, aim, force.project.vocabulary.currency, span)
    waiting = measures.waiting(conn, aim, now)
    arms = (
        Arm(SENT, tally.runs, tally.reached, 1 - journey.holdout),
        Arm(HELD, tally.held, tally.held_reached, journey.holdout),
    )
    finding, sure = experiment.judge(arms, SURE), SURE
    return Standing(
        journey.name,
        HOLDOUT,
        goal.event,
        within,
        sure,
        first,
        arms,
        {SENT: waiting[0], HELD: waiting[1]},
        finding,
        None,
        experiment.to_go(arms, sure),
    )


def _write(conn: sa.Connection, journey: Journey, one: Standing, now: datetime) -> int | None:
    split = journey.step(one.step)
    assert isinstance(split, Split) and one.finding.winner is not None
    return experiments.decide(
        conn,
        _aim(journey, split),
        winner=one.finding.winner,
        confidence=one.confidence,
        arms=[asdict(arm) for arm in one.arms],
        comparisons=[_plain(asdict(c)) for c in one.finding.comparisons],
        now=now,
    )


def _plain(comparison: dict[str, Any]) -> dict[str, Any]:
    """Rounded as it may be read: twelve digits are no knowledge."""
    return {name: float(f"{v:.6g}") if isinstance(v, float) else v for name, v in comparison.items()}
