"""What is due next: time jumps there, and nothing is missed on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestrator import play
from orchestrator.apply import in_force
from orchestrator.condition import Condition
from orchestrator.dates import after
from orchestrator.journey import (
    AtTrigger,
    DateTrigger,
    EventTrigger,
    Journey,
    MissedRuns,
    ScheduleTrigger,
    SegmentTrigger,
    TierTrigger,
    Trigger,
)
from orchestrator.model import Unit
from orchestrator.occurrences import due_runs
from orchestrator.project import Project
from orchestrator.rehearse.scene import Scene
from orchestrator.store.explain import subject_of
from orchestrator.store.tables import batch, enrollment, loyalty
from orchestrator.terms import Happened, Heard, walk
from orchestrator.words import Duration
from orchestrator.workspace import segments_used
from orchestrator.zones import instant, zone

NIGHT: Final = time(3)
"""When the nightly ranking runs, by the workspace's clock."""
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_ALL: Final = MissedRuns(grace=_DAY, then="all")
_HORIZONS: Final = (1, 8, 40, 400)
_MANY: Final = 1000
_RANKED: Final = ("value.", "health", "band_changed")


@dataclass(frozen=True, slots=True)
class Stop:
    """The next instant at which there may be something to do. `only`: that is all that may be: somebody may enter, or
    the programme may have something to count; "": anything."""

    at: datetime
    only: Literal["", "enter", "count"] = ""


@dataclass(frozen=True, slots=True)
class Calendar:
    """When triggers may fire by the calendar. `home`: the workspace's zone; `zones`: all that somebody may be in;
    `end`: behind everything."""

    home: str
    zones: tuple[str, ...]
    end: datetime

    def next(self, trigger: Trigger, now: datetime) -> datetime:
        """After `now`; `end` for what fires by what happens."""
        match trigger:
            case EventTrigger() | TierTrigger() | SegmentTrigger():
                return self.end
            case AtTrigger():
                return self._run(trigger, self.zones if trigger.local else (self.home,), now)
            case ScheduleTrigger():
                return self._run(trigger, self.zones if trigger.timezone == "recipient" else (trigger.timezone,), now)
            case DateTrigger():
                return daily(trigger.at, self.zones, now)
        at = getattr(trigger, "at", None)
        return daily(at if isinstance(at, time) else time(), self.zones, now)

    def _run(self, trigger: AtTrigger | ScheduleTrigger, zones: tuple[str, ...], now: datetime) -> datetime:
        for days in _HORIZONS:
            end = min(self.end, now + timedelta(days=days))
            if runs := [at for name in zones for _, at in due_runs(trigger, now, end, name, _ALL)]:
                return min(runs)
            if end == self.end:
                break
        return self.end


def daily(at: time, zones: tuple[str, ...], now: datetime) -> datetime:
    """The next instant at which it is so late in any of the zones."""
    found = []
    for name in zones:
        tz = zone(name)
        assert tz is not None
        day = now.astimezone(tz).date()
        found += [when for n in range(3) if (when := instant(day + n * _DAY, at, tz)) > now][:1]
    return min(found)


@dataclass
class Ahead:
    """Looks ahead from a scene's present. `ranks`: whether anybody asks for what the nightly ranking finds."""

    scene: Scene
    ranks: bool = False
    _looks: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _zones: tuple[str, ...] = ()
    _calendar: Calendar = field(init=False)

    def __post_init__(self) -> None:
        self._zones = self.scene.zones()
        home = self.scene.project.vocabulary.timezone
        self._calendar = Calendar(home, self._zones, self.scene.test.until + _DAY)

    def stop(self, end: datetime) -> Stop:
        """The next one, `end` at the latest."""
        home = (self.scene.project.vocabulary.timezone,)
        soonest = self.scene.now + timedelta(microseconds=1)
        with self.scene.store.read() as conn:
            full = min([end, *([daily(NIGHT, home, self.scene.now)] if self.ranks else []), *self._waits(conn)])
            full = max(soonest, self._changes(conn, full))
            counts = max(soonest, self._counts(conn, full))
        journeys = self.scene.project.journeys.values()
        enters = min((self._look(j, t) for j in journeys for t in j.triggers), default=full)
        first = min(full, counts, enters)
        if first == full or counts == enters:
            return Stop(first)
        return Stop(first, "count" if first == counts else "enter")

    def is_night(self) -> bool:
        """Whether the nightly ranking is due at the scene's present."""
        tz = zone(self.scene.project.vocabulary.timezone)
        assert tz is not None
        return self.ranks and self.scene.now == instant(self.scene.now.astimezone(tz).date(), NIGHT, tz)

    def _waits(self, conn: sa.Connection) -> list[datetime]:
        """When sleepers wake and batches are due."""
        now = self.scene.now
        asked = (
            sa.select(sa.func.min(enrollment.c.wake_at)).where(
                enrollment.c.ended_at.is_(None), enrollment.c.wake_at > now
            ),
            sa.select(sa.func.min(batch.c.due_at)).where(batch.c.done_at.is_(None), batch.c.due_at > now),
        )
        row = conn.execute(sa.select(*(query.scalar_subquery() for query in asked))).one()
        return [at for at in row if at is not None]

    def _counts(self, conn: sa.Connection, end: datetime) -> datetime:
        """When the programme has something to do: points begin or end to count, somebody's tier is looked at, a day
        begins on which challenges are, a draw opens or closes."""
        project, now = self.scene.project, self.scene.now
        programs = project.program.classes.values()
        if not programs:
            return end
        asked = [
            sa.select(sa.func.min(column)).where(column > now).scalar_subquery()
            for column in (loyalty.c.points_due, loyalty.c.tier_due)
        ]
        stops = [at for at in conn.execute(sa.select(*asked)).one() if at is not None]
        stops += [
            at for p in programs for d in p.draws for at in play.times_of(d, project.vocabulary) if at is not None
        ]
        end = min([end, *(at for at in stops if at > now)])
        challenges = [(c, p.unit) for p in programs for c in p.challenges]
        force = in_force(conn) if challenges else None
        if force is None:
            return end

        def done(at: datetime) -> list[list[int]]:
            return [force.segments.sample(conn, c.when, unit, at, _MANY) for c, unit in challenges]

        # Every night all challenges are looked at. That comes to something only where time has made one true, or where
        # one that is true may be done again.
        tz = zone(project.vocabulary.timezone)
        assert tz is not None
        day, was = now.astimezone(tz).date() + _DAY, done(now)
        again = any(who and c.again is not None for (c, _), who in zip(challenges, was, strict=True))
        while (midnight := instant(day, time(), tz)) < end:
            if again or done(midnight) != was:
                return midnight
            day += _DAY
        return end

    # ---- what time alone changes

    def _changes(self, conn: sa.Connection, end: datetime) -> datetime:
        """The first minute before `end` at which somebody comes into a segment, or a condition that ends a run comes
        true, by time alone. Nothing is written until then, so the future can be asked."""
        asked = self._conditions(conn)
        force = in_force(conn)
        if not asked or force is None:
            return end

        def seen(at: datetime) -> list[Any]:
            return [force.segments.sample(conn, c, unit, at, _MANY) for c, unit in asked]

        low, was = self.scene.now, seen(self.scene.now)
        while low < end:
            high = min(low + _DAY, end)
            if seen(high) != was:
                while high - low > _MINUTE:
                    middle = low + (high - low) / 2
                    low, high = (middle, high) if seen(middle) == was else (low, middle)
                return min(end, high.replace(second=0, microsecond=0) + _MINUTE)
            low = high
        return end

    def _conditions(self, conn: sa.Connection) -> list[tuple[Condition, Unit]]:
        """Segments that triggers and sleepers wait for; goals and exits by state, of journeys that somebody is in."""
        live = sa.select(enrollment.c.journey).where(enrollment.c.ended_at.is_(None)).distinct()
        inside = set(conn.execute(live).scalars())
        found: dict[str, tuple[Condition, Unit]] = {}
        for journey in self.scene.project.journeys.values():
            for trigger in journey.triggers:
                if isinstance(trigger, SegmentTrigger):
                    condition = self.scene.project.segments[trigger.segment]
                    found[condition.text] = (condition, condition.unit)
            for asked in journey.watches() if journey.name in inside else ():
                if isinstance(asked, Condition) and _of_unit_alone(asked):
                    found[asked.text] = (asked, journey.unit)
        return list(found.values())

    # ---- triggers by the calendar

    def _look(self, journey: Journey, trigger: Trigger) -> datetime:
        """When the trigger may fire next by the calendar; behind the end for one that fires by what happens."""
        stalled = getattr(trigger, "stalled", None)
        if stalled is not None:
            return min([self._calendar.next(trigger, self.scene.now), *self._stalled(stalled)])
        key = (journey.name, trigger.key)
        known = self._looks.get(key)
        if known is None or known <= self.scene.now:
            known = self._looks[key] = self._calendar.next(trigger, self.scene.now)
        return known

    def _stalled(self, length: Duration) -> Iterator[datetime]:
        """When a record that was written at some moment has stood for so long."""
        for mark in self.scene.marks:
            for name in self._zones:
                tz = zone(name)
                if tz is not None and (at := after(mark, length, tz)) > self.scene.now:
                    yield at


def is_ranked(project: Project, more: Sequence[str] = ()) -> bool:
    """Whether these journeys, or the conditions in `more`, ask for what the nightly ranking finds."""
    if not project.program.classes:
        return False
    texts = list(more)
    for journey in project.journeys.values():
        texts.append(project.files.get(journey.path, ""))
        texts += [project.segments[name].text for name in journey.segments if name in project.segments]
    named = [c for c in project.segments.values() if any(c.text in text for text in texts)]
    texts += [project.segments[name].text for name in segments_used(named, project.segments)]
    return any(word in text for text in texts for word in _RANKED)


def _of_unit_alone(condition: Condition) -> bool:
    """Whether it can be asked of a unit, without its run."""
    return subject_of(condition) is None and not any(isinstance(n, Happened | Heard) for n in walk(condition.root))
