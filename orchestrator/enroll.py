"""Find who enters, trigger by trigger, one INSERT … SELECT each. Any tick may run twice, late, or beside another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from orchestrator.apply import Force, in_force, trigger_key
from orchestrator.journey import (
    AtTrigger,
    DateTrigger,
    EventTrigger,
    Journey,
    ScheduleTrigger,
    SegmentTrigger,
    TierTrigger,
    Trigger,
)
from orchestrator.occurrences import Window, date_windows, due_runs
from orchestrator.store import triggers as entering
from orchestrator.store import versions
from orchestrator.store.database import Store
from orchestrator.store.triggers import Due, Entry
from orchestrator.store.versions import Watermark
from orchestrator.zones import zone


def enroll(store: Store, *, now: datetime) -> Mapping[str, int]:
    """New enrollments by journey name. Paused journeys wait: what fired meanwhile is looked at after the resume.

    Every trigger is a transaction of its own, its watermark moved in it, so that a crash repeats at most one look.
    """
    counts: Counter[str] = Counter()
    with store.read() as conn:
        force = in_force(conn)
        if force is None:
            return counts
        marks = versions.watermarks(conn)
    for journey in force.project.journeys.values():
        if force.is_paused(journey.name):
            continue
        for trigger in journey.triggers:
            key = trigger_key(force.project, trigger)
            mark = marks.get((journey.name, key))
            if mark is None or now < mark.seen_until:
                continue  # applied meanwhile by another, or a clock that went back: nothing is due
            fire = partial(_fire, force=force, journey=journey, trigger=trigger, key=key, mark=mark, now=now)
            counts[journey.name] += store.written(fire)
    return counts


def enroll_units(store: Store, journey_name: str, unit_ids: Sequence[int], run_key: str, *, now: datetime) -> int:
    """Enter these units by name (the `api` trigger, `enter`). KeyError when no such journey is in force."""
    with store.write() as conn:
        force = in_force(conn)
        if force is None:
            raise KeyError(journey_name)
        entry = Entry(force.project.journeys[journey_name], force.segments, now)
        return entering.enter_units(conn, entry, unit_ids, run_key)


def _fire(
    conn: sa.Connection, force: Force, journey: Journey, trigger: Trigger, key: str, mark: Watermark, now: datetime
) -> int:
    entry = Entry(journey, force.segments, now)
    seen_id: int | None = None
    entered = 0
    not_before = now - journey.missed_runs.grace
    match trigger:
        case SegmentTrigger():
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
        case DateTrigger():
            entered = _fire_dates(conn, entry, trigger, mark, force.project.vocabulary.timezone)
        case AtTrigger() | ScheduleTrigger():
            entered = _fire_schedule(conn, entry, trigger, mark, force.project.vocabulary.timezone)
        case _:
            return 0  # `api`: entered by call
    versions.move_watermark(conn, journey.name, key, now, seen_id)
    return entered


def _known_zones(conn: sa.Connection, journey: Journey) -> list[str]:
    """Zones that units state and tzdata knows. The others keep the workspace's time here: entering is not sending."""
    return [name for name in entering.zones_present(conn, journey.unit) if zone(name) is not None]


def _fire_dates(conn: sa.Connection, entry: Entry, trigger: DateTrigger, mark: Watermark, home: str) -> int:
    known = _known_zones(conn, entry.journey)
    missed = entry.journey.missed_runs
    since = mark.seen_until if missed.then == "all" else max(mark.seen_until, entry.now - missed.grace)
    zones: dict[Window, list[str]] = defaultdict(list)
    for name in known:
        for window in date_windows(trigger, since, entry.now, name):
            zones[window].append(name)
    rest = set(date_windows(trigger, since, entry.now, home))
    dues = [Due(window, tuple(zones[window]), window in rest) for window in zones.keys() | rest]
    return entering.enter_by_date(conn, entry, trigger, dues, known)


def _fire_schedule(
    conn: sa.Connection, entry: Entry, trigger: AtTrigger | ScheduleTrigger, mark: Watermark, home: str
) -> int:
    missed = entry.journey.missed_runs
    per_zone = trigger.local if isinstance(trigger, AtTrigger) else trigger.timezone == "recipient"
    if not per_zone:
        own = home if isinstance(trigger, AtTrigger) else trigger.timezone
        runs = due_runs(trigger, mark.seen_until, entry.now, own, missed)
        return sum(entering.enter_all(conn, entry, key, wakes=_waves(trigger, entry.now)) for key, _ in runs)
    known = _known_zones(conn, entry.journey)
    zones: dict[str, list[str]] = defaultdict(list)
    for name in known:
        for key, _at in due_runs(trigger, mark.seen_until, entry.now, name, missed):
            zones[key].append(name)
    rest = {key for key, _at in due_runs(trigger, mark.seen_until, entry.now, home, missed)}
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
