"""When a simulation has to look again, and at what: the soonest of all that time alone brings about, and of the
conditions that somebody waits for those that may have come true.

A condition changes where something of its unit was written, and where time passes a mark of it: a rolling window lets
go of an event at the very time of day at which it happened, a date turns at some zone's midnight. Nothing else changes
one, so that between marks nobody need be asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator import play
from orchestrator.condition import Condition, Expression
from orchestrator.journey import (
    AtTrigger,
    DateTrigger,
    RiskTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    StageTrigger,
)
from orchestrator.model import Kind
from orchestrator.project import Project
from orchestrator.rehearse.ahead import NIGHT, Calendar, daily
from orchestrator.store import triggers as entering
from orchestrator.store.database import Store
from orchestrator.store.tables import batch, enrollment, event, loyalty, record, trace
from orchestrator.terms import (
    Aggregate,
    Compare,
    DaysSince,
    Happened,
    InSegment,
    Node,
    PointsWithin,
    Ref,
    Rows,
    TierIs,
    When,
    kind_of,
    walk,
)
from orchestrator.zones import instant, zone

_DAY: Final = timedelta(days=1)
_BY_CALENDAR: Final = (AtTrigger, DateTrigger, RiskTrigger, ScheduleTrigger)
POINTS, PROGRESS, RANK = "points", "progress", "rank"
_ANY: Final = "*"
_PROGRESS: Final = frozenset(
    {"score", "next_tier", "missing", "shortfall", "review_on", "protected", "member", "member_since", "member_until"}
)
_RECORD: Final = "record"
"""Under this name stand the times of day at which records came in."""


class Asks(NamedTuple):
    """What a condition hangs on. `types`: events; `days`: it turns at midnights; `marks`: event types (or all of them)
    at whose times of day it turns; `standing`: what it asks of the programme: POINTS, PROGRESS, RANK."""

    types: frozenset[str] = frozenset()
    days: bool = False
    marks: frozenset[str] = frozenset()
    standing: frozenset[str] = frozenset()


def asks_of(root: Node, segments: Mapping[str, Condition]) -> Asks:
    """By what a condition names, and the segments that it names."""
    types: set[str] = set()
    marks: set[str] = set()
    standing: set[str] = set()
    days = False
    waiting, seen = [root], {""}
    while waiting:
        for node in walk(waiting.pop()):
            match node:
                case InSegment(name) if name not in seen and name in segments:
                    seen.add(name)
                    waiting.append(segments[name].root)
                case Rows(holder="event"):
                    types.add(node.of)
                    marks |= {node.of} if node.window is not None else set()
                case Happened():
                    types.add(node.event)
                case PointsWithin():
                    marks.add(_ANY)
                    standing.add(POINTS)
                case TierIs() | Ref(kind=Kind.TIER):
                    standing.add(PROGRESS)
                case Ref(holder="loyalty", column=column):
                    known = POINTS if str(column).startswith("points") else RANK
                    standing.add(PROGRESS if column in _PROGRESS else known)
                case DaysSince(since) | When(value=since):
                    if kind_of(since) is Kind.DATE:
                        days = True
                    elif isinstance(since, Aggregate):
                        marks.add(since.rows.of if since.rows.holder == "event" else _ANY)
                    else:
                        marks.add(_ANY)
                case Compare() if {kind_of(node.left), kind_of(node.right)} == {Kind.DATE, Kind.INSTANT}:
                    days = True
    return Asks(frozenset(types), days, frozenset(marks), frozenset(standing))


@dataclass
class Fresh:
    """What was written since somebody last looked: events, by type; what the programme knows of people, by POINTS,
    PROGRESS and RANK; `wrote`: anything else."""

    types: set[str] = field(default_factory=set)
    standing: set[str] = field(default_factory=set)
    wrote: bool = False

    def touches(self, asks: Asks) -> bool:
        return self.wrote or bool(self.types & asks.types) or bool(self.standing & asks.standing)

    def __bool__(self) -> bool:
        return self.wrote or bool(self.types or self.standing)


class Waiting(NamedTuple):
    """The soonest of each: a sleeper to wake, messages to decide on, something to count; None where there is none.
    `types`: of the events that are new; `moves`: what runs have done since, in the diary's words."""

    wake: datetime | None
    deliver: datetime | None
    programme: datetime | None
    types: frozenset[str] = frozenset()
    moves: frozenset[str] = frozenset()


# Not by the column itself: SQLite would go through the index by types, from the first event that ever came.
_NEW_TYPE: Final = event.c.type + sa.literal_column("''")
_NEW_EVENTS: Final = (
    sa.select(_NEW_TYPE, event.c.occurred_at, sa.func.max(event.c.id))
    .where(event.c.id > sa.bindparam("last"))
    .group_by(_NEW_TYPE, event.c.occurred_at)
)
_NEW_MOVES: Final = (
    sa.select(trace.c.what, sa.func.max(trace.c.id)).where(trace.c.id > sa.bindparam("last")).group_by(trace.c.what)
)


@cache
def _waiting(programme: bool) -> sa.Select[Any]:
    """The newest event, the newest line of the diary, and what is waited for."""
    asked = [
        sa.select(sa.func.max(event.c.id)),
        sa.select(sa.func.max(trace.c.id)),
        sa.select(sa.func.min(enrollment.c.wake_at)).where(enrollment.c.ended_at.is_(None)),
        sa.select(sa.func.min(batch.c.due_at)).where(batch.c.done_at.is_(None)),
    ]
    if programme:
        asked += [sa.select(sa.func.min(c)) for c in (loyalty.c.points_due, loyalty.c.tier_due)]
    return sa.select(*(query.scalar_subquery() for query in asked))


@dataclass
class Due:
    """Looks ahead from a simulation's present. `ranks`: whether the nightly ranking is asked for."""

    store: Store
    project: Project
    until: datetime
    ranks: bool
    _zones: set[str] = field(default_factory=set)
    _calendar: Calendar = field(init=False)
    _fires: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _triggers: dict[tuple[str, str], Asks] = field(default_factory=dict)
    _stalled: set[tuple[str, str]] = field(default_factory=set)
    _watched: list[Asks] = field(default_factory=list)
    _marks: dict[str, set[time]] = field(default_factory=lambda: defaultdict(set))
    _last: int = 0
    _line: int = 0

    def __post_init__(self) -> None:
        segments = self.project.segments
        for journey in self.project.journeys.values():
            for trigger in journey.triggers:
                if isinstance(trigger, SegmentTrigger):
                    self._triggers[journey.name, trigger.key] = asks_of(segments[trigger.segment].root, segments)
                elif isinstance(trigger, StageTrigger) and trigger.stalled is not None:
                    self._stalled.add((journey.name, trigger.key))
            self._watched += [asks_of(c.root, segments) for c in journey.watches() if isinstance(c, Condition)]
            if any(isinstance(c, Expression) for c in journey.watches()):
                self._watched.append(Asks())
        with self.store.read() as conn:
            stated = {name for unit in ("customer", "account") for name in entering.zones_present(conn, unit)}
            self._last = conn.execute(sa.select(sa.func.coalesce(sa.func.max(event.c.id), 0))).scalar_one()
            self._line = conn.execute(sa.select(sa.func.coalesce(sa.func.max(trace.c.id), 0))).scalar_one()
            for kind, at in conn.execute(sa.select(event.c.type, event.c.occurred_at).distinct()).tuples():
                self._marks[kind].add(at.time())
            since = sa.select(record.c.stage_since).where(record.c.stage_since.isnot(None)).distinct()
            for at in conn.execute(since).scalars():
                self._mark_record(at)
        self._learn(stated)

    # ---- what comes in

    def came_in(self, kind: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Rows that were taken in now."""
        if kind in ("customers", "accounts"):
            self._learn({str(row.get("timezone") or "") for row in rows})
        elif kind == "records":
            self._mark_record(now)

    def _mark_record(self, at: datetime) -> None:
        """A standstill is counted by the workspace's clock, which is put forward and back: an hour around, too."""
        hour = timedelta(hours=1)
        self._marks[_RECORD].update((at.time(), (at - hour).time(), (at + hour).time()))

    def _learn(self, stated: set[str]) -> None:
        known = {name for name in stated if zone(name) is not None} | {self.project.vocabulary.timezone}
        if known - self._zones:
            self._zones |= known
            self._calendar = Calendar(self.project.vocabulary.timezone, tuple(sorted(self._zones)), self.until + _DAY)
            self._fires.clear()

    def new_events(self) -> set[str]:
        """Types of the events since the last call; their times of day are marks from now on."""
        with self.store.read() as conn:
            return self._new_events(conn)

    def _new_events(self, conn: sa.Connection) -> set[str]:
        rows = conn.execute(_NEW_EVENTS, {"last": self._last}).tuples().all()
        for kind, at, last in rows:
            self._marks[kind].add(at.time())
            self._last = max(self._last, last)
        return {kind for kind, _, _ in rows}

    def _new_moves(self, conn: sa.Connection) -> set[str]:
        rows = conn.execute(_NEW_MOVES, {"last": self._line}).tuples().all()
        self._line = max([self._line, *(last for _, last in rows)])
        return {what for what, _ in rows}

    # ---- what is due

    def is_night(self, now: datetime) -> bool:
        """Whether the nightly ranking is due: the first look of a night at or behind its hour."""
        if not self.ranks:
            return False
        tz = zone(self.project.vocabulary.timezone)
        assert tz is not None
        begins = instant(now.astimezone(tz).date(), NIGHT, tz)
        return begins <= now < begins + timedelta(hours=1)

    def fires(self, before: datetime, now: datetime) -> bool:
        """Whether a trigger by the calendar may fire in (before, now]."""
        return any(at <= now for at in self._fired(before))

    def unchanged(self, before: datetime, now: datetime, fresh: Fresh) -> set[tuple[str, str]]:
        """Triggers by segments and by standstill that would find at `now` what they found at `before`."""
        same = {
            name
            for name, asks in self._triggers.items()
            if not fresh.touches(asks) and not self._turns(asks, before, now)
        }
        if not fresh.wrote and not self._passed({_RECORD}, before, now):
            same |= self._stalled
        return same

    def triggers(self) -> int:
        """How many triggers `unchanged` may name."""
        return len(self._triggers) + len(self._stalled)

    def watched(self, before: datetime, now: datetime, fresh: Fresh) -> bool:
        """Whether an exit or a goal by state, or what a wait hangs on, may have changed."""
        return any(fresh.touches(asks) or self._turns(asks, before, now) for asks in self._watched)

    def _turns(self, asks: Asks, before: datetime, now: datetime) -> bool:
        if asks.days and daily(time(), tuple(self._zones), before) <= now:
            return True
        return bool(asks.marks) and self._passed(asks.marks, before, now)

    def _passed(self, marks: Iterable[str], before: datetime, now: datetime) -> bool:
        times = self._times(marks)
        return bool(times) and min(self._at(t, before) for t in times) <= now

    def _times(self, marks: Iterable[str]) -> set[time]:
        names = set(marks)
        found = self._marks.values() if _ANY in names else [self._marks[name] for name in names if name in self._marks]
        return {t for some in found for t in some}

    def _at(self, mark: time, after: datetime) -> datetime:
        """The next instant behind `after` at which it is so late, UTC."""
        at = datetime.combine(after.date(), mark, UTC)
        return at if at > after else at + _DAY

    # ---- what is next

    def next(self, now: datetime, waiting: Waiting) -> datetime:
        """The soonest instant after `now` at which there may be something to do, `until` at the latest."""
        found = [
            self.until,
            *(at for at in waiting[:3] if at is not None and at > now),
            *self._fired(now),
            *self._counts(now),
        ]
        if self.ranks:
            found.append(daily(NIGHT, (self.project.vocabulary.timezone,), now))
        asked = [*self._triggers.values(), *self._watched]
        if any(asks.days for asks in asked):
            found.append(daily(time(), tuple(self._zones), now))
        marks = {name for asks in asked for name in asks.marks} | ({_RECORD} if self._stalled else set())
        found += [self._at(t, now) for t in self._times(marks)]
        return min(found)

    def waiting(self) -> Waiting:
        """One statement, and one each where events and moves are new since the last call: times of day of events are
        marks from now on."""
        with self.store.read() as conn:
            last, line, wake, deliver, *counts = conn.execute(_waiting(bool(self.project.program.classes))).one()
            types = self._new_events(conn) if (last or 0) > self._last else ()
            moves = self._new_moves(conn) if (line or 0) > self._line else ()
        soonest = min((at for at in counts if at is not None), default=None)
        return Waiting(wake, deliver, soonest, frozenset(types), frozenset(moves))

    def _fired(self, now: datetime) -> Iterator[datetime]:
        """When triggers fire by the calendar, after `now`."""
        for journey in self.project.journeys.values():
            for trigger in journey.triggers:
                if isinstance(trigger, _BY_CALENDAR):
                    key = (journey.name, trigger.key)
                    known = self._fires.get(key)
                    if known is None or known <= now:
                        known = self._fires[key] = self._calendar.next(trigger, now)
                    yield known

    def _counts(self, now: datetime) -> list[datetime]:
        """When the programme has something to do that stands in nobody's row: draws open and close, and each midnight
        challenges are looked at."""
        programs = self.project.program.classes.values()
        draws = [at for p in programs for d in p.draws for at in play.times_of(d, self.project.vocabulary) if at]
        found = [at for at in draws if at > now]
        if any(p.challenges for p in programs):
            found.append(daily(time(), (self.project.vocabulary.timezone,), now))
        return found

    def counts(self, before: datetime, now: datetime) -> bool:
        """Whether the programme has something to do within (before, now]."""
        return any(at <= now for at in self._counts(before))
