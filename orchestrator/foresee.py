"""What the next weeks would bring, by a workspace and by what is in force: both played for the same people.

The real verbs play a part of the real audience on a scratch database (`rehearse.simulating`), with the people who are
inside journeys today. Numbers are scaled to the whole audience. What people do is drawn by a fixed seed, from how they
took what they were sent so far; so two forecasts of the same workspace over the same data are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from channels.base import Channel, Medium
from orchestrator.apply import in_force
from orchestrator.project import Project
from orchestrator.rehearse.behaving import learned
from orchestrator.rehearse.sampling import Sampled, sampled
from orchestrator.rehearse.simulating import simulate
from orchestrator.simulation import Behaviour, Simulation
from orchestrator.store import versions
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys
from orchestrator.zones import zone

DAYS: Final = 30
PEOPLE: Final = 500
HOP: Final = timedelta(hours=6)
"""Between two looks of the forecast: a message may go as much later in it than it would, never on fewer days."""
SEED: Final = 1

K = TypeVar("K")
Progress = Callable[[timedelta], bool]
"""Told how much time has been played, of both together; False: stop."""


class TooLong(Exception):
    """Told to stop before it was done. `played`: how far it had come, of twice the days."""

    def __init__(self, played: timedelta) -> None:
        super().__init__(f"stopped after {played.days} days played")
        self.played = played


@dataclass(frozen=True, slots=True)
class Pair:
    """A number by what is in force, and by the workspace; both of the whole audience."""

    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Sends:
    """Messages that go out on a day (of the workspace's clock)."""

    day: date
    medium: Medium
    count: Pair


@dataclass(frozen=True, slots=True)
class Spent:
    """What a medium costs in the whole time, in millionths of the currency."""

    medium: Medium
    currency: str
    cost: Pair


@dataclass(frozen=True, slots=True)
class Stopped:
    """Messages held (`hold`), refused (`deny`), `expired` or `cancelled`, for a reason."""

    verdict: str
    reason: str
    count: Pair


@dataclass(frozen=True, slots=True)
class Forecast:
    """The days from `began` on. `people` of `audience` were played; what was counted is multiplied by `scale`.

    `same`: nothing that is to be applied differs from what is in force, and both numbers are one. `journeys`: messages
    that go out, by journey.
    """

    began: date
    days: int
    people: int
    audience: int
    scale: float
    seed: int
    same: bool
    sends: tuple[Sends, ...] = ()
    costs: tuple[Spent, ...] = ()
    stopped: tuple[Stopped, ...] = ()
    journeys: Mapping[str, Pair] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def by_day(self) -> dict[date, dict[Medium, Pair]]:
        """Sends by day and medium; of the days on which anything is sent."""
        found: dict[date, dict[Medium, Pair]] = {}
        for one in sorted(self.sends, key=lambda one: one.day):
            found.setdefault(one.day, {})[one.medium] = one.count
        return found


def foresee(
    store: Store,
    keys: Keys,
    project: Project,
    *,
    now: datetime,
    folder: Path,
    channels: Mapping[Medium, Channel],
    days: int = DAYS,
    people: int = PEOPLE,
    seed: int = SEED,
    progress: Progress = lambda played: True,
) -> Forecast:
    """Both played from `now` on; before the first apply the workspace alone. Reads the store, and writes to scratch
    databases in `folder`, which is the caller's: private, and hers to remove. `channels` reach nobody.

    Raises rehearse.sampling.Nobody where there is nobody to be played, TooLong when `progress` says so, ProjectError
    where the workspace could not be applied, and what the verbs raise.
    """
    cohort = sampled(store, keys, people, seed, project)
    with store.read() as conn:
        force = in_force(conn)
        behaviour = learned(conn)
    until = now + timedelta(days=days)

    def played(one: Project, name: str, done: timedelta) -> Simulation:
        def on(at: datetime) -> None:
            if not progress(done + (at - now)):
                raise TooLong(done + (at - now))

        place = folder / name
        place.mkdir()
        return _simulated(one, cohort, behaviour, now, until, seed, place, channels, on)

    same = force is not None and force.project.hash == project.hash
    before = played(force.project, "before", timedelta()) if force is not None else None
    after = before if before is not None and same else played(project, "after", until - now)
    before = before or replace(after, volumes=(), refusals=())
    tz = zone(project.vocabulary.timezone) or UTC
    found = compared(before, after, began=now.astimezone(tz).date(), same=same)
    stopped = force.paused if force is not None else ()
    paused = sorted("everything" if name == versions.EVERYTHING else name for name in stopped)
    first = ("nothing is in force yet",) if force is None else ()
    return replace(found, notes=(*first, *(f"{name} is paused, and stays so here" for name in paused), *found.notes))


def _simulated(
    project: Project,
    cohort: Sampled,
    behaviour: Behaviour,
    now: datetime,
    until: datetime,
    seed: int,
    folder: Path,
    channels: Mapping[Medium, Channel],
    on: Callable[[datetime], None],
) -> Simulation:
    return simulate(
        project,
        cohort,
        begin=now,
        until=until,
        behaviour=behaviour,
        seed=seed,
        folder=folder,
        channels=channels,
        hop=HOP,
        progress=on,
    )


# ---- two simulations as one -----------------------------------------------------------------------------------------


def compared(before: Simulation, after: Simulation, *, began: date, same: bool) -> Forecast:
    """Both by what they have in common, scaled to the audience. Pure."""
    sends = _paired(before, after, lambda s: (((v.day, v.medium), v.count) for v in s.volumes))
    journeys = _paired(before, after, lambda s: ((v.journey, v.count) for v in s.volumes))
    costs = _paired(before, after, lambda s: (((v.medium, v.currency), v.cost) for v in s.volumes if v.cost))
    stopped = _paired(before, after, lambda s: (((r.verdict, r.reason), r.count) for r in s.refusals))
    return Forecast(
        began=began,
        days=(after.ended - after.began).days,
        people=after.customers,
        audience=round(after.customers * after.scale),
        scale=after.scale,
        seed=after.seed,
        same=same,
        sends=tuple(Sends(day, medium, count) for (day, medium), count in sends.items()),
        costs=tuple(Spent(medium, currency, cost) for (medium, currency), cost in costs.items()),
        stopped=tuple(Stopped(verdict, reason, count) for (verdict, reason), count in stopped.items()),
        journeys=journeys,
        notes=tuple(dict.fromkeys((*before.notes, *after.notes))),
    )


def _paired(
    before: Simulation, after: Simulation, of: Callable[[Simulation], Iterable[tuple[K, int]]]
) -> dict[K, Pair]:
    """Sums by key, of both, in order."""
    sums: list[Counter[K]] = []
    for one in (before, after):
        counts: Counter[K] = Counter()
        for key, n in of(one):
            counts[key] += n
        sums.append(counts)
    return {
        key: Pair(round(sums[0][key] * before.scale), round(sums[1][key] * after.scale))
        for key in sorted(sums[0].keys() | sums[1].keys(), key=str)
    }
