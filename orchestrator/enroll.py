"""Find who enters, trigger by trigger, one INSERT … SELECT each. Any tick may run twice, late, or beside another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator import program
from orchestrator.apply import Force, in_force, trigger_key
from orchestrator.dates import before, day_after
from orchestrator.journey import (
    ApiTrigger,
    AtTrigger,
    DateTrigger,
    EventTrigger,
    Journey,
    MilestoneTrigger,
    RiskTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    StageTrigger,
    TierTrigger,
    Trigger,
)
from orchestrator.occurrences import Window, date_windows, days_fired, due_runs
from orchestrator.project import Project
from orchestrator.stages import CHANGED
from orchestrator.store import bygone, versions
from orchestrator.store import triggers as entering
from orchestrator.store.database import Store
from orchestrator.store.triggers import AtRisk, Due, Entry
from orchestrator.store.versions import Watermark
from orchestrator.workspace import segments_used
from orchestrator.zones import zone

FLOOR = 50
"""An audience below this is never held: twice as many of a handful is still a handful."""
Tell = Callable[[str, str], None]
"""(journey, why): told of a journey that the guard has paused."""


def enroll(
    store: Store,
    *,
    now: datetime,
    tell: Tell = lambda journey, why: None,
    unchanged: Collection[tuple[str, str]] = (),
) -> Mapping[str, int]:
    """New enrollments by journey name. Paused journeys wait: what fired meanwhile is looked at after the resume.

    Every trigger is a transaction of its own, its watermark moved in it, so that a crash repeats at most one look; a
    pause that comes meanwhile stops at the next one. With `policies.guard`, a trigger whose audience has grown by more
    than that enters nobody: its journey is paused, `tell` hears why, and what it found is what it is compared with
    after the resume.

    Triggers for which there is nothing to look at (no such event, no such hour in any zone) have their watermarks moved
    together. `unchanged`: triggers, by (journey, trigger's key), of which the caller knows that a look would find what
    the last one did: they are passed over.
    """
    counts: Counter[str] = Counter()
    with store.read() as conn:
        force = in_force(conn)
        if force is None:
            return counts
        history = bygone.pending(conn) if force.project.program.classes else None
        looks = [
            look
            for look in _looks(force, versions.watermarks(conn), unchanged, now)
            if history is None or not waits_for_history(force.project, look.trigger, look.mark, history)
        ]
        sight = _sight(conn, force, looks)
    idle: dict[int | None, list[tuple[str, str]]] = defaultdict(list)
    for journey, trigger, key, mark in looks:
        if _is_idle(journey, trigger, mark, sight, now):
            seen_id = _newest(trigger, sight)
            if mark.seen_until < now or (seen_id or 0) > mark.seen_id:
                idle[seen_id].append((journey.name, key))
            continue
        fire = partial(_fire, force=force, journey=journey, trigger=trigger, key=key, now=now)
        entered, held = store.written(fire)
        counts[journey.name] += entered
        if held:
            tell(journey.name, held)
    if idle:
        store.written(lambda conn: versions.move_idle(conn, idle, now))
    return counts


# ---- what there is to look at ---------------------------------------------------------------------------------------


class _Look(NamedTuple):
    """A trigger that is to look, by the name of its watermark, and how far it has looked."""

    journey: Journey
    trigger: Trigger
    key: str
    mark: Watermark


def _looks(
    force: Force,
    marks: Mapping[tuple[str, str], Watermark],
    unchanged: Collection[tuple[str, str]],
    now: datetime,
) -> Iterator[_Look]:
    for journey in force.project.journeys.values():
        if not journey.admits or force.is_paused(journey.name):
            continue
        for trigger in journey.triggers:
            if isinstance(trigger, ApiTrigger) or (journey.name, trigger.key) in unchanged:
                continue
            key = trigger_key(force.project, trigger)
            mark = marks.get((journey.name, key))
            if mark is not None and now >= mark.seen_until:  # else applied meanwhile, or a clock that went back
                yield _Look(journey, trigger, key, mark)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What is new for the triggers that are to look, by one snapshot: the newest event, of each type among the new ones
    and of all, the newest change of a tier; by unit the known zones, the workspace's with them."""

    event: int
    events: Mapping[str, int]
    tier_change: int
    home: str
    zones: Mapping[str, tuple[str, ...]]


def _sight(conn: sa.Connection, force: Force, looks: Sequence[_Look]) -> _Sight:
    seen = [look.mark.seen_id for look in looks if _is_by_event(look.trigger)]
    events = versions.newest_events(conn, min(seen)) if seen else {}
    newest = max((*events.values(), *seen), default=0)
    tiers = versions.newest_tier_change(conn) if any(isinstance(look.trigger, TierTrigger) for look in looks) else 0
    home = force.project.vocabulary.timezone
    units = {look.journey.unit for look in looks if isinstance(look.trigger, _BY_CALENDAR)}
    return _Sight(newest, events, tiers, home, {unit: tuple({*_known(conn, unit), home}) for unit in units})


_BY_CALENDAR = (DateTrigger, RiskTrigger, AtTrigger, ScheduleTrigger)


def _is_by_event(trigger: Trigger) -> bool:
    return isinstance(trigger, EventTrigger | MilestoneTrigger) or (
        isinstance(trigger, StageTrigger) and trigger.stalled is None
    )


def _newest(trigger: Trigger, sight: _Sight) -> int | None:
    """Up to which id an idle trigger has looked; None for one that goes by time."""
    if isinstance(trigger, TierTrigger):
        return sight.tier_change
    return sight.event if _is_by_event(trigger) else None


def _is_idle(journey: Journey, trigger: Trigger, mark: Watermark, sight: _Sight, now: datetime) -> bool:
    """Whether nothing is there that the trigger could fire for since it looked last."""
    if mark.held_from is not None:
        return False  # the first look after a pause is a look of its own kind
    since, zones = mark.seen_until, sight.zones.get(journey.unit, ())
    match trigger:
        case EventTrigger() | MilestoneTrigger():
            return sight.events.get(trigger.event, 0) <= mark.seen_id
        case StageTrigger() if trigger.stalled is None:
            return sight.events.get(CHANGED, 0) <= mark.seen_id
        case TierTrigger():
            return sight.tier_change <= mark.seen_id
        case DateTrigger():
            return not any(date_windows(trigger, since, now, name) for name in zones)
        case RiskTrigger():
            return not any(days_fired(since, now, trigger.at, name) for name in zones)
        case AtTrigger():
            own = zones if trigger.local else (sight.home,)
            return not any(due_runs(trigger, since, now, name, journey.missed_runs) for name in own)
        case ScheduleTrigger():
            own = zones if trigger.timezone == "recipient" else (trigger.timezone,)
            return not any(due_runs(trigger, since, now, name, journey.missed_runs) for name in own)
    return False


def enroll_units(store: Store, journey_name: str, unit_ids: Sequence[int], run_key: str, *, now: datetime) -> int:
    """Enter these units by name (the `api` trigger, `enter`). KeyError when no such journey is in force."""
    with store.write() as conn:
        force = in_force(conn)
        if force is None:
            raise KeyError(journey_name)
        entry = Entry(force.project.journeys[journey_name], force.segments, now)
        return entering.enter_units(conn, entry, unit_ids, run_key)


def _fire(
    conn: sa.Connection, force: Force, journey: Journey, trigger: Trigger, key: str, now: datetime
) -> tuple[int, str]:
    """(how many entered, why nobody was let in)."""
    mark = versions.hold_trigger(conn, journey.name, key)
    if mark is None or now < mark.seen_until or versions.is_paused(conn, journey.name):
        return 0, ""  # another worker was here meanwhile, or somebody has paused it
    guard = _Guard(conn, Entry(journey, force.segments, now), key, force.project.vocabulary.policies.growth)
    try:
        return _entered(conn, force, guard, trigger, mark), ""
    except _Held as held:  # nothing was written before it
        versions.set_audience(conn, journey.name, key, held.found, now)
        versions.pause(conn, journey.name, by="orchestrator", reason=held.why, now=now)
        return 0, held.why


def _not_before(journey: Journey, mark: Watermark, now: datetime) -> datetime:
    """What happened earlier comes too late to begin a run. The time of a pause that held what came is no delay, unless
    the journey itself wants nothing that is late."""
    since = now if mark.held_from is None or journey.missed_runs.then == "skip" else min(mark.held_from, now)
    return since - journey.missed_runs.grace


def _entered(conn: sa.Connection, force: Force, guard: _Guard, trigger: Trigger, mark: Watermark) -> int:
    entry, key = guard.entry, guard.key
    journey, now = entry.journey, entry.now
    seen_id: int | None = None
    entered = 0
    not_before = _not_before(journey, mark, now)
    match trigger:
        case SegmentTrigger():
            guard.segment(trigger)
            entered = entering.enter_by_segment(conn, entry, trigger, key)
        case EventTrigger():
            seen_id = versions.newest_event(conn)
            if seen_id > mark.seen_id:
                entered = entering.enter_by_event(conn, entry, trigger, mark.seen_id, seen_id, not_before)
                seen_id = versions.happened_by(conn, mark.seen_id, seen_id, now)
        case TierTrigger():
            seen_id = versions.newest_tier_change(conn)
            if seen_id > mark.seen_id:
                entered = entering.enter_by_tier(conn, entry, trigger, mark.seen_id, seen_id, not_before)
        case MilestoneTrigger():
            seen_id = versions.newest_event(conn)
            if seen_id > mark.seen_id:
                entered = entering.enter_by_milestone(conn, entry, trigger, mark.seen_id, seen_id, not_before)
                seen_id = versions.happened_by(conn, mark.seen_id, seen_id, now)
        case RiskTrigger():
            entered = _fire_risk(conn, guard, trigger, mark, force.project.vocabulary.timezone)
        case StageTrigger() if trigger.stalled is not None:
            entered = _fire_stalled(conn, entry, trigger, mark, force.project.vocabulary.timezone)
        case StageTrigger():
            seen_id = versions.newest_event(conn)
            if seen_id > mark.seen_id:
                entered = entering.enter_by_stage(conn, entry, trigger, mark.seen_id, seen_id, not_before)
        case DateTrigger():
            entered = _fire_dates(conn, guard, trigger, mark, force.project.vocabulary.timezone)
        case AtTrigger() | ScheduleTrigger():
            entered = _fire_schedule(conn, guard, trigger, mark, force.project.vocabulary.timezone)
        case _:
            return 0  # `api`: entered by call
    versions.move_watermark(conn, journey.name, key, now, seen_id)
    return entered


# ---- the blast guard ------------------------------------------------------------------------------------------------


class _Held(Exception):
    """The guard lets nobody in. `found`: what the trigger is compared with from now on."""

    def __init__(self, found: int, why: str) -> None:
        super().__init__(why)
        self.found = found
        self.why = why


@dataclass(frozen=True, slots=True)
class _Guard:
    """Compares what a trigger finds with what it found last, or what the apply counted; `growth` None: it does not.

    Every method raises _Held where it is too much, before anything is written.
    """

    conn: sa.Connection
    entry: Entry
    key: str
    growth: float | None

    def segment(self, trigger: SegmentTrigger) -> None:
        if self.growth is None:
            return
        if trigger.direction == "entry":
            found = entering.members_count(self.conn, self.entry, trigger)
            self._compare(found, f"segment `{trigger.segment}` has {{found}} now, and had {{known}}")
            return
        gone, inside = entering.leavers_count(self.conn, self.entry, trigger, self.key)
        known = self._known() or 0  # how many left at a time that somebody accepted
        if gone >= FLOOR and gone > max(known * (1 + self.growth), inside * self.growth):
            self._hold(gone, f"{self._people(gone)} of {inside:,} would leave segment `{trigger.segment}` at once")
        self._keep(gone, known)

    def audience(self) -> None:
        """Of a schedule or a broadcast."""
        if self.growth is not None:
            found = entering.audience_count(self.conn, self.entry)
            self._compare(found, "its audience is {found} now, and was {known}")

    def dates(self, trigger: DateTrigger, windows: Sequence[Window]) -> None:
        """By the greatest day so far: dates are never spread evenly over the year, and zones come one by one."""
        if self.growth is None:
            return
        found = max(entering.due_count(self.conn, self.entry, trigger, window) for window in windows)
        field = f"{trigger.of}.{trigger.field_name}" if trigger.of else trigger.field_name
        told = f"{{found}} are due at once by `{field}`, and on no day before were there more than {{known}}"
        self._compare(found, told, greatest=True)

    def risk(self, trigger: RiskTrigger, until: date) -> None:
        """Of tiers, or points, that would be lost by that day."""
        if self.growth is not None:
            what = "their tier" if trigger.of == "tier" else "points"
            told = f"{{found}} would lose {what} soon, and on no day before were there more than {{known}}"
            self._compare(entering.risk_count(self.conn, self.entry, trigger, until), told, greatest=True)

    def _compare(self, found: int, told: str, *, greatest: bool = False) -> None:
        assert self.growth is not None
        known = self._known()
        if known is not None and found >= FLOOR and found > known * (1 + self.growth):
            self._hold(found, told.format(found=self._people(found), known=f"{known:,}"))
        self._keep(max(found, known or 0) if greatest else found, known)

    def _hold(self, found: int, why: str) -> None:
        raise _Held(found, f"{why}: more than the guard allows ({self.growth:.4%})".replace(".0000%", "%"))

    def _known(self) -> int | None:
        return versions.audience(self.conn, self.entry.journey.name, self.key)

    def _keep(self, found: int, known: int | None) -> None:
        if found != known:
            versions.set_audience(self.conn, self.entry.journey.name, self.key, found, self.entry.now)

    def _people(self, n: int) -> str:
        return f"{n:,} {self.entry.journey.unit}s"


# ---- what is taken for known ----------------------------------------------------------------------------------------


def waits_for_history(project: Project, trigger: Trigger, mark: Watermark, since: datetime) -> bool:
    """Whether a trigger, put in force by the apply of that instant or later, looks only when the programme has gone
    through all that was there before: half of somebody's orders make too few points. A segment that asks for nothing
    of the programme's waits for nothing."""
    if mark.baseline_at < since or not isinstance(trigger, SegmentTrigger | TierTrigger):
        return False
    return isinstance(trigger, TierTrigger) or _asks_programme(project, trigger.segment)


def _asks_programme(project: Project, segment: str) -> bool:
    names = {segment} | segments_used([project.segments[segment]], project.segments)
    words = (*program.WORDS, "class") if project.class_rules else program.WORDS
    return any(word in project.segments[name].text for name in names for word in words)


def take_history(conn: sa.Connection, since: datetime, now: datetime) -> None:
    """The programme has gone through what was there at the apply of that instant: points and tiers of old orders are no
    news, and what came of them begins no run, but where those in the segment already are to enter."""
    versions.hold_triggers(conn)
    force = in_force(conn)
    if bygone.pending(conn) is None or force is None:
        return  # another worker was here meanwhile
    project = force.project

    def is_known(_: Journey, trigger: Trigger, mark: Watermark) -> bool:
        wanted = isinstance(trigger, SegmentTrigger) and trigger.include_existing
        return waits_for_history(project, trigger, mark, since) and not wanted

    look_away(conn, force, now, is_known)
    bygone.end(conn, now)


def look_away(
    conn: sa.Connection, force: Force, now: datetime, meant: Callable[[Journey, Trigger, Watermark], bool]
) -> None:
    """These triggers look from now on, and take their segments as they are for known."""
    marks = versions.watermarks(conn)
    events, tiers = versions.newest_event(conn), versions.newest_tier_change(conn)
    for _, journey in sorted(force.project.journeys.items()):
        for trigger in journey.triggers:
            key = trigger_key(force.project, trigger)
            mark = marks.get((journey.name, key))
            if mark is None or not meant(journey, trigger, mark):
                continue
            if isinstance(trigger, SegmentTrigger):
                entering.retake_baseline(conn, force.segments, journey, trigger, key, now)
                if force.project.vocabulary.policies.growth is not None and trigger.direction == "entry":
                    members = entering.members_count(conn, Entry(journey, force.segments, now), trigger)
                    versions.set_audience(conn, journey.name, key, members, now)
            by_event = isinstance(trigger, EventTrigger | MilestoneTrigger | StageTrigger)
            seen = events if by_event else tiers if isinstance(trigger, TierTrigger) else None
            versions.move_watermark(conn, journey.name, key, now, seen)


# ---- dates and schedules --------------------------------------------------------------------------------------------


def _known_zones(conn: sa.Connection, journey: Journey) -> list[str]:
    """Zones that units state and tzdata knows. The others keep the workspace's time here: entering is not sending."""
    return _known(conn, journey.unit)


def _known(conn: sa.Connection, unit: str) -> list[str]:
    return [name for name in entering.zones_present(conn, unit) if zone(name) is not None]


def _fire_dates(conn: sa.Connection, guard: _Guard, trigger: DateTrigger, mark: Watermark, home: str) -> int:
    entry = guard.entry
    known = _known_zones(conn, entry.journey)
    journey, since = entry.journey, mark.seen_until
    if journey.missed_runs.then != "all":
        since = max(since, _not_before(journey, mark, entry.now))
    zones: dict[Window, list[str]] = defaultdict(list)
    for name in known:
        for window in date_windows(trigger, since, entry.now, name):
            zones[window].append(name)
    rest = set(date_windows(trigger, since, entry.now, home))
    # By day: a set has another order in every process, and who comes in first has the lower id.
    dues = [Due(window, tuple(zones[window]), window in rest) for window in sorted(zones.keys() | rest, key=_by_day)]
    if dues:
        guard.dates(trigger, [due.window for due in dues])
    return entering.enter_by_date(conn, entry, trigger, dues, known)


def _by_day(window: Window) -> tuple[date, date]:
    return window.run_date or window.first or date.min, window.last or date.min


def _fire_risk(conn: sa.Connection, guard: _Guard, trigger: RiskTrigger, mark: Watermark, home: str) -> int:
    """Once on each local day, at its time, whoever would lose the tier, or points, within `within` of it."""
    entry = guard.entry
    known = _known_zones(conn, entry.journey)
    since = max(mark.seen_until, _not_before(entry.journey, mark, entry.now))
    zones: dict[date, list[str]] = defaultdict(list)
    for name in known:
        for day in days_fired(since, entry.now, trigger.at, name)[-1:]:
            zones[day].append(name)
    rest = days_fired(since, entry.now, trigger.at, home)[-1:]
    dues = [
        AtRisk(day, day_after(day, trigger.within), tuple(zones[day]), day in rest)
        for day in sorted(zones.keys() | set(rest))
    ]
    if dues:
        guard.risk(trigger, max(due.until for due in dues))
    return entering.enter_by_risk(conn, entry, trigger, dues, known)


def _fire_stalled(conn: sa.Connection, entry: Entry, trigger: StageTrigger, mark: Watermark, home: str) -> int:
    """Those that came into their stage so long ago that the time was over since the last look."""
    assert trigger.stalled is not None
    tz, since = zone(home) or ZoneInfo("UTC"), mark.seen_until
    if entry.journey.missed_runs.then != "all":
        since = max(since, _not_before(entry.journey, mark, entry.now))
    first = None if trigger.include_existing else before(since, trigger.stalled, tz)
    return entering.enter_by_stalled(conn, entry, trigger, first, before(entry.now, trigger.stalled, tz))


def _fire_schedule(
    conn: sa.Connection, guard: _Guard, trigger: AtTrigger | ScheduleTrigger, mark: Watermark, home: str
) -> int:
    entry = guard.entry
    missed = entry.journey.missed_runs
    per_zone = trigger.local if isinstance(trigger, AtTrigger) else trigger.timezone == "recipient"
    if not per_zone:
        own = home if isinstance(trigger, AtTrigger) else trigger.timezone
        runs = due_runs(trigger, mark.seen_until, entry.now, own, missed)
        if runs:
            guard.audience()
        return sum(entering.enter_all(conn, entry, key, wakes=_waves(trigger, entry.now)) for key, _ in runs)
    known = _known_zones(conn, entry.journey)
    zones: dict[str, list[str]] = defaultdict(list)
    for name in known:
        for key, _at in due_runs(trigger, mark.seen_until, entry.now, name, missed):
            zones[key].append(name)
    rest = {key for key, _at in due_runs(trigger, mark.seen_until, entry.now, home, missed)}
    if zones or rest:
        guard.audience()
    return sum(
        entering.enter_all(
            conn, entry, key, zones=zones[key], rest=key in rest, known=known, wakes=_waves(trigger, entry.now)
        )
        for key in sorted(zones.keys() | rest)
    )


def _waves(trigger: AtTrigger | ScheduleTrigger, now: datetime) -> list[datetime]:
    if isinstance(trigger, AtTrigger) and trigger.waves > 1:
        return [now + n * trigger.wave_gap for n in range(trigger.waves)]
    return []
