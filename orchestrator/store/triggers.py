"""Who enters a journey: one INSERT … SELECT per trigger, whatever the audience. A replay inserts nothing.

Uniqueness does the work: (journey, unit, unit_id, run_key) for what a run was made for, (journey, unit, unit_id,
live_key) for one live run. So a tick that runs twice, late or beside another one enters nobody twice.

Statements are made once and kept (`Segments.kept`), by what they are made of; instants, ids, zones and the name of the
journey are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache, partial
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator.condition import Condition
from orchestrator.journey import (
    DateTrigger,
    EventTrigger,
    Journey,
    MilestoneTrigger,
    RiskTrigger,
    SegmentTrigger,
    StageTrigger,
    TierTrigger,
)
from orchestrator.occurrences import Window
from orchestrator.stages import CHANGED, STAGE
from orchestrator.store.database import bound_ids, bound_keys, insert_new
from orchestrator.store.dialect import json_date, json_text, listed
from orchestrator.store.segments import Segments, meant
from orchestrator.store.tables import (
    UtcDateTime,
    account,
    customer,
    enrollment,
    event,
    loyalty,
    record,
    segment_member,
    tier_change,
)

_ENTERED = (
    "journey",
    "version",
    "unit",
    "unit_id",
    "customer_id",
    "account_id",
    "run_key",
    "live_key",
    "event_id",
    "record_id",
    "priority",
    "entered_at",
    "since",
    "wake_at",
    "memory",
    "visits",
)
_NOW: Final = sa.bindparam("now", type_=UtcDateTime())
_FIRING: Final = sa.bindparam("firing", type_=sa.Text())
_INSTANT: Final = timedelta(microseconds=1)  # a look takes those for new whose `since` is its own


@dataclass(frozen=True, slots=True)
class Entry:
    """What one trigger needs beside itself."""

    journey: Journey
    segments: Segments
    now: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """Field dates due for the units of these zones; `rest`: also for those whose zone is none of the known ones."""

    window: Window
    zones: tuple[str, ...]
    rest: bool


def _unit(entry: Entry) -> sa.Table:
    return customer if entry.journey.unit == "customer" else account


def _live(entry: Entry) -> Any:
    """Units that may still be addressed."""
    if entry.journey.unit == "customer":
        return sa.and_(customer.c.merged_into.is_(None), customer.c.left_at.is_(None))
    return sa.true()


def _zone(entry: Entry) -> Any:
    """The unit's stated zone; a contact's falls back to the account's. Display time only, never a legal window."""
    if entry.journey.unit == "account":
        return account.c.timezone
    own = sa.select(account.c.timezone).where(account.c.id == customer.c.account_id).scalar_subquery()
    return sa.func.coalesce(customer.c.timezone, own)


def _predicate(entry: Entry, condition: Condition | None, **subjects: Any) -> Any:
    return sa.true() if condition is None else entry.segments.predicate(condition, _unit(entry), **subjects)


def _run_key(entry: Entry, firing: Any, by_key: Any | None) -> Any:
    """What the run is made for: the journey's `reentry` chooses between once, the key, and the firing itself."""
    kind = entry.journey.reentry.kind
    if kind == "once":
        return sa.literal("once", sa.Text())
    return by_key if kind == "key" and by_key is not None else firing


Parts = tuple[Hashable, ...]


def _asked(conn: sa.Connection, entry: Entry, parts: Parts, make: Callable[[], Any], **bound: Any) -> Any:
    """Execute the statement that `make` makes of the journey's audience and re-entry rules and of these parts."""
    j = entry.journey
    kept = entry.segments.kept((*parts, j.unit, j.overlap, j.reentry, *meant(j.audience)), make)
    own = {"now": entry.now, "of_journey": j.name, "of_version": j.version, "of_priority": j.priority}
    if j.reentry.after is not None:
        own["reentered"] = entry.now - j.reentry.after
    return conn.execute(kept.statement, kept.binds(entry.now, **own, **bound))


def _enter(conn: sa.Connection, entry: Entry, parts: Parts, make: Callable[[], sa.Insert], **bound: Any) -> int:
    """How many have come in. Whatever fires, nobody comes into a journey that is a draft or archived."""
    return _asked(conn, entry, ("enter", *parts), make, **bound).rowcount if entry.journey.admits else 0


def _inserting(
    entry: Entry,
    source: Any,
    where: Sequence[Any],
    *,
    firing: Any,
    by_key: Any | None = None,
    event_id: Any = None,
    record_id: Any = None,
    wake_at: Any = None,
    order: Any = None,
) -> sa.Insert:
    """The one INSERT: units of `source` where all of `where` hold, with the journey's audience and re-entry rules."""
    journey, unit = entry.journey, _unit(entry)
    run_key = _run_key(entry, firing, by_key)
    live_key = run_key if journey.overlap == "allow" else sa.literal("", sa.Text())
    null = sa.cast(sa.null(), sa.BigInteger())
    name = sa.bindparam("of_journey", type_=sa.Text())
    conditions = [*where, _live(entry)]
    if journey.reentry.kind == "after" and journey.reentry.after is not None:
        earlier = enrollment.alias("earlier")
        conditions.append(
            ~sa.exists().where(
                earlier.c.journey == name,
                earlier.c.unit == journey.unit,
                earlier.c.unit_id == unit.c.id,
                earlier.c.entered_at > sa.bindparam("reentered"),
            )
        )
    empty = sa.literal({}, enrollment.c.memory.type)
    select = (
        sa.select(
            name,
            sa.bindparam("of_version", type_=sa.Text()),
            sa.literal(journey.unit, sa.Text()),
            unit.c.id,
            unit.c.id if journey.unit == "customer" else null,
            customer.c.account_id if journey.unit == "customer" else unit.c.id,
            run_key,
            live_key,
            event_id if event_id is not None else null,
            record_id if record_id is not None else null,
            sa.bindparam("of_priority", type_=sa.Integer()),
            _NOW,
            _NOW,
            wake_at if wake_at is not None else _NOW,
            empty,
            empty,
        )
        .select_from(source)
        .where(*conditions, _predicate(entry, journey.audience, event=event_id, record=record_id))
    )
    if order is not None:
        select = select.order_by(order)
    return insert_new(entry.segments.dialect, enrollment, _ENTERED, select)


# ---- segments -------------------------------------------------------------------------------------------------------


def _in_segment(entry: Entry, trigger: SegmentTrigger) -> Any:
    return _predicate(entry, entry.segments.named(trigger.segment))


_MINE: Final = sa.and_(
    segment_member.c.journey == sa.bindparam("of_journey"), segment_member.c.trigger == sa.bindparam("of_trigger")
)
"""Members of the segment as a trigger saw it last."""


def _still(entry: Entry, trigger: SegmentTrigger) -> Any:
    """Whether a member is one still."""
    unit = _unit(entry)
    return sa.exists().where(unit.c.id == segment_member.c.unit_id, _live(entry), _in_segment(entry, trigger))


def _mark_members(
    conn: sa.Connection, entry: Entry, trigger: SegmentTrigger, key: str, since: datetime, everybody: bool = False
) -> int:
    """Record those who came in since the last look, or everybody."""

    def make() -> sa.Insert:
        unit, texts = _unit(entry), [sa.bindparam(name, type_=sa.Text()) for name in ("of_journey", "of_trigger")]
        member = sa.exists().where(_MINE, segment_member.c.unit_id == unit.c.id).correlate(unit)
        came = sa.select(*texts, unit.c.id, sa.bindparam("came", type_=UtcDateTime()))
        select = came.where(_live(entry), ~member, sa.true() if everybody else _in_segment(entry, trigger))
        return insert_new(entry.segments.dialect, segment_member, ("journey", "trigger", "unit_id", "since"), select)

    parts = ("mark", everybody, *meant(entry.segments.named(trigger.segment)))
    return int(_asked(conn, entry, parts, make, of_trigger=key, came=since).rowcount)


def _forget_members(conn: sa.Connection, entry: Entry, trigger: SegmentTrigger, key: str) -> list[int]:
    """Forget those who left since the last look; their units' ids."""

    def make() -> Any:
        return segment_member.delete().where(_MINE, ~_still(entry, trigger)).returning(segment_member.c.unit_id)

    # DELETE … RETURNING is evaluated once: whoever leaves is known from the same look that forgets them.
    parts = ("forget", *meant(entry.segments.named(trigger.segment)))
    return list(_asked(conn, entry, parts, make, of_trigger=key).scalars())


def take_baseline(
    conn: sa.Connection, segments: Segments, journey: Journey, trigger: SegmentTrigger, key: str, now: datetime
) -> int:
    """Who is in the segment at first, and does not enter it; where who is out is to enter as a leaver, everybody."""
    everybody = trigger.include_existing and trigger.direction == "exit"
    return _mark_members(conn, Entry(journey, segments, now), trigger, key, now - _INSTANT, everybody)


def retake_baseline(
    conn: sa.Connection, segments: Segments, journey: Journey, trigger: SegmentTrigger, key: str, now: datetime
) -> None:
    """Who came into the segment, or left it, since the last look: written down, and nobody enters for it."""
    _forget_members(conn, entry := Entry(journey, segments, now), trigger, key)
    _mark_members(conn, entry, trigger, key, now - _INSTANT)


def enter_by_segment(conn: sa.Connection, entry: Entry, trigger: SegmentTrigger, key: str) -> int:
    """Recorded transitions since the last look, and the runs they start."""
    came = _mark_members(conn, entry, trigger, key, entry.now)
    left = _forget_members(conn, entry, trigger, key)
    unit, firing = _unit(entry), f"{trigger.direction}:{entry.now.isoformat()}"
    if trigger.direction == "entry":
        source, new = unit.join(segment_member, segment_member.c.unit_id == unit.c.id), segment_member.c.since == _NOW
        make = partial(_inserting, entry, source, [_MINE, new], firing=_FIRING)
        return _enter(conn, entry, ("members",), make, firing=firing, of_trigger=key) if came else 0
    return enter_units(conn, entry, left, firing) if left else 0


# ---- events and tiers -----------------------------------------------------------------------------------------------


def enter_by_event(
    conn: sa.Connection, entry: Entry, trigger: EventTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for events with ids in (after_id, until_id] that happened at or after `not_before` (an old one, imported
    late, starts nothing)."""
    parts = ("event", trigger.event, trigger.run_by, *meant(trigger.where))
    new = {"after": after_id, "until": until_id, "not_before": not_before}
    return _enter(conn, entry, parts, lambda: _by_event(entry, trigger), **new)


_NEW_EVENTS: Final = (
    event.c.id > sa.bindparam("after"),
    event.c.id <= sa.bindparam("until"),
    event.c.occurred_at >= sa.bindparam("not_before"),
    event.c.occurred_at <= _NOW,
)


def _by_event(entry: Entry, trigger: EventTrigger) -> sa.Insert:
    unit = _unit(entry)
    if entry.journey.unit == "customer":
        source = event.join(unit, unit.c.id == event.c.customer_id)
    else:
        theirs = sa.select(customer.c.account_id).where(customer.c.id == event.c.customer_id).scalar_subquery()
        source = event.join(unit, unit.c.id == sa.func.coalesce(event.c.account_id, theirs))
    firing = sa.literal("event:", sa.Text()) + sa.cast(event.c.id, sa.Text())
    name = entry.journey.reentry.key or trigger.run_by
    by_key = None
    if name is not None:
        by_key = sa.literal(f"{name}:", sa.Text()) + json_text(event.c.properties, name)
        firing = by_key if trigger.run_by else firing
    where = [event.c.type == trigger.event, *_NEW_EVENTS, _predicate(entry, trigger.where, event=event.c.id)]
    if trigger.run_by:
        where.append(json_text(event.c.properties, trigger.run_by).isnot(None))
    return _inserting(entry, source, where, firing=firing, by_key=by_key, event_id=event.c.id, order=event.c.id)


def enter_by_tier(
    conn: sa.Connection, entry: Entry, trigger: TierTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for tier changes with ids in (after_id, until_id]."""
    parts = ("tier", trigger.direction, trigger.to)
    new = {"after": after_id, "until": until_id, "not_before": not_before}
    return _enter(conn, entry, parts, lambda: _by_tier(entry, trigger), **new)


def _by_tier(entry: Entry, trigger: TierTrigger) -> sa.Insert:
    unit, change = _unit(entry), tier_change
    if entry.journey.unit == "customer":
        # A contact's tier is the account's where the class says so: the account's change is each contact's.
        on = sa.or_(
            sa.and_(change.c.unit == "customer", change.c.unit_id == unit.c.id),
            sa.and_(change.c.unit == "account", change.c.unit_id == customer.c.account_id),
        )
    else:
        on = sa.and_(change.c.unit == "account", change.c.unit_id == unit.c.id)
    where = [change.c.id > sa.bindparam("after"), change.c.id <= sa.bindparam("until")]
    where.append(change.c.received_at >= sa.bindparam("not_before"))
    where.append(change.c.direction == trigger.direction if trigger.direction != "any" else change.c.direction != "set")
    if trigger.to:
        where.append(listed(change.c.to_tier, trigger.to))
    firing = sa.literal("tier:", sa.Text()) + sa.cast(change.c.id, sa.Text())
    return _inserting(entry, change.join(unit, on), where, firing=firing, order=change.c.id)


def _records_unit(entry: Entry) -> Any:
    """Records with the unit that has them."""
    unit = _unit(entry)
    return record.join(unit, unit.c.id == (record.c.customer_id if unit is customer else record.c.account_id))


def enter_by_stage(
    conn: sa.Connection, entry: Entry, trigger: StageTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for changes of stage whose events have ids in (after_id, until_id], with the record in scope."""
    parts = ("stage", trigger.record, trigger.to, trigger.from_, trigger.include_new)
    new = {"after": after_id, "until": until_id, "not_before": not_before}
    return _enter(conn, entry, parts, lambda: _by_stage(entry, trigger), **new)


def _by_stage(entry: Entry, trigger: StageTrigger) -> sa.Insert:
    said = partial(json_text, event.c.properties)
    changed = sa.and_(record.c.type == said("record"), record.c.key == said("record_key"))
    where = [event.c.type == CHANGED, *_NEW_EVENTS, said("record") == trigger.record]
    if trigger.to:
        where.append(listed(said("to_stage"), trigger.to))
    if trigger.from_:
        where.append(listed(said("from_stage"), trigger.from_))
    elif not trigger.include_new:
        where.append(said("from_stage").isnot(None))
    firing = sa.literal("stage:", sa.Text()) + sa.cast(event.c.id, sa.Text())
    by_key = sa.literal(f"{trigger.record}:", sa.Text()) + record.c.key
    source = _records_unit(entry).join(event, changed)
    return _inserting(entry, source, where, firing=firing, by_key=by_key, record_id=record.c.id, order=event.c.id)


def _micros(dialect: str, column: Any) -> Any:
    """An instant as microseconds since 1970: as text it would hang on the session's zone."""
    if dialect == "postgresql":
        return sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger())
    return sa.type_coerce(column, sa.BigInteger())


def enter_by_stalled(
    conn: sa.Connection, entry: Entry, trigger: StageTrigger, first: datetime | None, last: datetime
) -> int:
    """Runs for records that stand in one of the stages since an instant in (first, last]; first None: since ever."""
    parts = ("stalled", trigger.record, trigger.to, first is None)
    between = {"last": last} | ({} if first is None else {"first": first})
    return _enter(conn, entry, parts, lambda: _by_stalled(entry, trigger, ever=first is None), **between)


def _by_stalled(entry: Entry, trigger: StageTrigger, *, ever: bool) -> sa.Insert:
    r, stage = record.c, json_text(record.c.fields, STAGE)
    where = [r.type == trigger.record, listed(stage, trigger.to), r.stage_since <= sa.bindparam("last")]
    if not ever:
        where.append(r.stage_since > sa.bindparam("first"))
    since = sa.cast(_micros(entry.segments.dialect, r.stage_since), sa.Text())
    name = sa.literal(f"{trigger.record}:", sa.Text()) + r.key
    firing = sa.literal("stalled:", sa.Text()) + name + sa.literal(":", sa.Text()) + stage
    firing = firing + sa.literal(":", sa.Text()) + since
    return _inserting(entry, _records_unit(entry), where, firing=firing, by_key=name, record_id=r.id, order=r.id)


def enter_by_milestone(
    conn: sa.Connection, entry: Entry, trigger: MilestoneTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for units whose `count`-th event is one with an id in (after_id, until_id]. Counted by arrival, so that it
    is one event and no other, whatever comes late."""
    new = {"after": after_id, "until": until_id, "not_before": not_before}
    parts = ("milestone", trigger.event, trigger.count)
    return _enter(conn, entry, parts, lambda: _by_milestone(entry, trigger), **new)


def _by_milestone(entry: Entry, trigger: MilestoneTrigger) -> sa.Insert:
    unit, earlier = _unit(entry), event.alias("earlier")
    if entry.journey.unit == "customer":
        owner, theirs = event.c.customer_id, earlier.c.customer_id
    else:
        owner, theirs = event.c.account_id, earlier.c.account_id
    before = (earlier.c.type == trigger.event, theirs == owner, earlier.c.id <= event.c.id)
    number = sa.select(sa.func.count()).where(*before, earlier.c.occurred_at <= _NOW).correlate(event).scalar_subquery()
    where = [event.c.type == trigger.event, *_NEW_EVENTS, number == trigger.count]
    firing = sa.literal(f"milestone:{trigger.event}:{trigger.count}", sa.Text())
    source = event.join(unit, unit.c.id == owner)
    return _inserting(entry, source, where, firing=firing, event_id=event.c.id, order=event.c.id)


class AtRisk(NamedTuple):
    """Whose tier a review in (after, until] would take, or whose points expire at the end of a day in [after, until],
    of the units of these zones; `rest`: and of unknown ones."""

    after: date
    until: date
    zones: tuple[str, ...]
    rest: bool


def _risk(entry: Entry, trigger: RiskTrigger) -> tuple[Any, list[Any], Any]:
    """(FROM, conditions, the day) of units with their own row of the programme: a contact's is the account's, where the
    tier of her class is."""
    unit = _unit(entry)
    shared = [c.name for c in entry.segments.vocabulary.classes.values() if c.unit == "account"]
    if entry.journey.unit == "account":
        on = sa.and_(loyalty.c.unit == "account", loyalty.c.unit_id == unit.c.id)
    else:
        own = sa.and_(loyalty.c.unit == "customer", loyalty.c.unit_id == unit.c.id, unit.c["class"].not_in(shared))
        theirs = sa.and_(
            loyalty.c.unit == "account", loyalty.c.unit_id == customer.c.account_id, unit.c["class"].in_(shared)
        )
        on = sa.or_(own, theirs)
    if trigger.of == "points":
        return loyalty.join(unit, on), [loyalty.c.points_expiring > 0], loyalty.c.points_expire_on
    return loyalty.join(unit, on), [loyalty.c.shortfall > 0], loyalty.c.review_on


def enter_by_risk(
    conn: sa.Connection, entry: Entry, trigger: RiskTrigger, dues: Sequence[AtRisk], known: Sequence[str]
) -> int:
    """Runs for who would lose the tier, or points, soon: one for each day on which they would be lost."""
    return sum(_enter_at_risk(conn, entry, trigger, due, known) for due in dues)


def _enter_at_risk(conn: sa.Connection, entry: Entry, trigger: RiskTrigger, due: AtRisk, known: Sequence[str]) -> int:
    some = bool(due.zones)
    parts = ("risk", trigger.of, some, due.rest)
    bound = {"after": due.after, "until": due.until, "zones": list(due.zones), "known": list(known)}
    return _enter(conn, entry, parts, lambda: _by_risk(entry, trigger, _of_zones(entry, some, due.rest)), **bound)


def _by_risk(entry: Entry, trigger: RiskTrigger, of_zones: Any) -> sa.Insert:
    source, mine, day = _risk(entry, trigger)
    prefix = "points:" if trigger.of == "points" else "risk:"
    firing = sa.literal(prefix, sa.Text()) + sa.cast(day, sa.Text())
    # A tier is lost at the review itself; points can be spent until the day is over.
    behind = day.__ge__ if trigger.of == "points" else day.__gt__
    soon = [behind(sa.bindparam("after")), day <= sa.bindparam("until")]
    return _inserting(entry, source, [*mine, *soon, of_zones], firing=firing, order=_unit(entry).c.id)


def risk_count(conn: sa.Connection, entry: Entry, trigger: RiskTrigger, until: date) -> int:
    """Who would lose the tier, or points, by that day, in every zone."""

    def make() -> sa.Select[Any]:
        source, mine, day = _risk(entry, trigger)
        return _meant(entry, source, [*mine, day <= sa.bindparam("until")])

    return _count(conn, entry, ("risk", trigger.of), make, until=until)


# ---- dates and schedules --------------------------------------------------------------------------------------------


def zones_present(conn: sa.Connection, unit: str) -> list[str]:
    """The distinct zones stated by units."""
    return sorted({zone for zone in conn.execute(_stated(unit)).scalars() if zone})


@cache
def _stated(unit: str) -> Any:
    return sa.union_all(*(_each_zone(table) for table in ((customer, account) if unit == "customer" else (account,))))


def _each_zone(table: sa.Table) -> Any:
    """From one zone to the next by the index: DISTINCT would read every row, for a few dozen zones."""
    stated = table.c.timezone
    first = sa.select(sa.func.min(stated).label("zone")).cte(f"{table.name}_zones", recursive=True)
    following = sa.select(sa.func.min(stated)).where(stated > first.c.zone).scalar_subquery()
    return sa.select(first.union_all(sa.select(following).where(first.c.zone.isnot(None))).c.zone)


def _of_zones(entry: Entry, some: bool, rest: bool) -> Any:
    """Units of these `zones` (there are `some`), and with `rest` those of none that is `known`: both are bound."""
    zone, dialect = _zone(entry), entry.segments.dialect
    inside = zone.in_(sa.select(bound_keys(dialect, "zones").c.key))
    if not rest:
        return inside
    other = sa.or_(zone.is_(None), zone.not_in(sa.select(bound_keys(dialect, "known").c.key)))
    return sa.or_(inside, other) if some else other


def enter_by_date(
    conn: sa.Connection, entry: Entry, trigger: DateTrigger, dues: Sequence[Due], known: Sequence[str]
) -> int:
    """Runs for field dates due now: one statement per distinct range (zones of one wall clock share one)."""
    return sum(_enter_due(conn, entry, trigger, due, known) for due in dues)


def _dates(trigger: DateTrigger) -> Parts:
    return ("dates", trigger.source, trigger.of, trigger.field_name, trigger.every_year)


def _within(entry: Entry, trigger: DateTrigger, column: Any) -> tuple[list[Any], Any]:
    """(conditions, the run's date as text) of the dates that a window wants: `_days` of it are to be bound."""
    text = sa.cast(column, sa.Text())
    if trigger.every_year:
        on, days = sa.bindparam("on", type_=sa.Text()), bound_keys(entry.segments.dialect, "days")
        # The day itself, this year, is no anniversary yet.
        return [sa.func.substr(text, 6, 5).in_(sa.select(days.c.key)), text < on], on
    first, last = (sa.bindparam(name, type_=column.type) for name in ("first", "last"))
    return [column.between(first, last)], text


def _days(trigger: DateTrigger, wanted: Window) -> dict[str, Any]:
    if trigger.every_year:
        assert wanted.run_date is not None
        return {"days": [f"{m:02d}-{d:02d}" for m, d in wanted.month_days], "on": wanted.run_date.isoformat()}
    assert wanted.first is not None and wanted.last is not None
    return {"first": wanted.first, "last": wanted.last}


def _enter_due(conn: sa.Connection, entry: Entry, trigger: DateTrigger, due: Due, known: Sequence[str]) -> int:
    some = bool(due.zones)
    parts = (*_dates(trigger), some, due.rest)
    bound = {"zones": list(due.zones), "known": list(known), **_days(trigger, due.window)}
    return _enter(conn, entry, parts, lambda: _by_date(entry, trigger, _of_zones(entry, some, due.rest)), **bound)


def _by_date(entry: Entry, trigger: DateTrigger, of_zones: Any) -> sa.Insert:
    source, column, where, ids = _date_source(entry, trigger)
    wanted, suffix = _within(entry, trigger, column)
    firing = sa.literal("date:", sa.Text()) + suffix
    by_key = None
    if trigger.source in ("record", "event"):
        by_key = sa.literal(f"{trigger.of}:", sa.Text()) + (record if trigger.source == "record" else event).c.key
        firing = by_key + sa.literal(":", sa.Text()) + firing
    order = _unit(entry).c.id
    return _inserting(entry, source, [*where, of_zones, *wanted], firing=firing, by_key=by_key, order=order, **ids)


def _date_source(entry: Entry, trigger: DateTrigger) -> tuple[Any, Any, list[Any], dict[str, Any]]:
    """(FROM, the date column, owner conditions, event or record ids) of a date trigger."""
    unit = _unit(entry)
    if trigger.source == "record":
        owner = record.c.customer_id if entry.journey.unit == "customer" else record.c.account_id
        source = record.join(unit, unit.c.id == owner)
        column = json_date(record.c.fields, trigger.field_name)
        return source, column, [record.c.type == trigger.of], {"record_id": record.c.id}
    if trigger.source == "event":
        owner = event.c.customer_id if entry.journey.unit == "customer" else event.c.account_id
        source = event.join(unit, unit.c.id == owner)
        column = json_date(event.c.properties, trigger.field_name)
        return source, column, [event.c.type == trigger.of], {"event_id": event.c.id}
    table = customer if trigger.source == "customer" else account
    their = trigger.source == "account" and entry.journey.unit == "customer"
    units: Any = customer.join(account, account.c.id == customer.c.account_id) if their else unit
    if trigger.field_name in table.c:
        return units, table.c[trigger.field_name], [], {}
    return units, json_date(table.c.attributes, trigger.field_name), [], {}


def enter_all(
    conn: sa.Connection,
    entry: Entry,
    firing: str,
    *,
    zones: Sequence[str] | None = None,
    rest: bool = False,
    known: Sequence[str] = (),
    wakes: Sequence[datetime] = (),
) -> int:
    """Runs for the whole audience (of these zones): broadcasts and schedules. `wakes`: the waves' instants."""
    some = bool(zones)
    parts = ("all", zones is None, some, rest, len(wakes))
    bound = {"zones": list(zones or ()), "known": list(known), **{f"wake_{n}": at for n, at in enumerate(wakes)}}

    def make() -> sa.Insert:
        unit = _unit(entry)
        where = [] if zones is None else [_of_zones(entry, some, rest)]
        return _inserting(entry, unit, where, firing=_FIRING, wake_at=_wave(unit, len(wakes)), order=unit.c.id)

    return _enter(conn, entry, parts, make, firing=firing, **bound)


def _wave(unit: sa.Table, count: int) -> Any:
    """The instant of a unit's wave; None where there are none."""
    wakes = [sa.bindparam(f"wake_{n}", type_=enrollment.c.wake_at.type) for n in range(count)]
    if len(wakes) < 2:
        return wakes[0] if wakes else None
    # Knuth's multiplicative hash spreads ids over the waves; cut to 31 bits before the product for both databases.
    bucket = ((unit.c.id % 65_536) * 40_503 % 65_536) % count
    return sa.case(dict(enumerate(wakes)), value=bucket, else_=None)


def enter_units(conn: sa.Connection, entry: Entry, unit_ids: Sequence[int], firing: str) -> int:
    """Runs for these units: the `api` trigger."""

    def make() -> sa.Insert:
        unit, these = _unit(entry), bound_ids(entry.segments.dialect)
        return _inserting(entry, unit.join(these, these.c.id == unit.c.id), [], firing=_FIRING)

    return _enter(conn, entry, ("units",), make, ids=list(unit_ids), firing=firing)


def enter_from(conn: sa.Connection, entry: Entry, run_ids: Sequence[int], step: str, visit: int) -> int:
    """Runs for the units of these enrollments, sent on by a step of theirs: once for each time they come there."""

    def make() -> sa.Insert:
        unit, sender, these = _unit(entry), enrollment.alias("sender"), bound_ids(entry.segments.dialect)
        same = sa.and_(sender.c.unit == entry.journey.unit, sender.c.unit_id == unit.c.id)
        source = unit.join(sender, same).join(these, these.c.id == sender.c.id)
        firing = sa.literal("enter:", sa.Text()) + sa.cast(sender.c.id, sa.Text()) + _FIRING
        return _inserting(entry, source, [], firing=firing)

    return _enter(conn, entry, ("from",), make, ids=list(run_ids), firing=f":{step}:{visit}")


# ---- how many it would be: what the blast guard compares ------------------------------------------------------------


def audience_count(conn: sa.Connection, entry: Entry) -> int:
    """Whom a broadcast or a schedule means, in every zone."""
    return _count(conn, entry, ("audience",), lambda: _meant(entry, _unit(entry), []))


def members_count(conn: sa.Connection, entry: Entry, trigger: SegmentTrigger) -> int:
    """Who is in the trigger's segment."""
    unit, parts = _unit(entry), ("members", *meant(entry.segments.named(trigger.segment)))
    return _count(conn, entry, parts, lambda: sa.select(unit.c.id).where(_live(entry), _in_segment(entry, trigger)))


def leavers_count(conn: sa.Connection, entry: Entry, trigger: SegmentTrigger, key: str) -> tuple[int, int]:
    """(who has left the segment since the last look, who was in it then)."""

    def make() -> sa.Select[Any]:
        gone = sa.func.coalesce(sa.func.sum(sa.case((_still(entry, trigger), 0), else_=1)), 0)
        return sa.select(gone, sa.func.count()).select_from(segment_member).where(_MINE)

    row = _asked(conn, entry, ("leavers", *meant(entry.segments.named(trigger.segment))), make, of_trigger=key).one()
    return int(row[0]), int(row[1])


def due_count(conn: sa.Connection, entry: Entry, trigger: DateTrigger, window: Window) -> int:
    """How many dates of a window there are, in every zone, already entered or not."""
    return _count(conn, entry, _dates(trigger), lambda: _dated(entry, trigger, within=True), **_days(trigger, window))


def most_due(conn: sa.Connection, entry: Entry, trigger: DateTrigger, window: Window | None) -> int:
    """The most dates that fall on one day: of the year (`every_year`), or within a window."""

    def make() -> sa.Select[Any]:
        column = _date_source(entry, trigger)[1]
        text = sa.cast(column, sa.Text())
        day = sa.func.substr(text, 6, 5) if trigger.every_year else text
        days = _dated(entry, trigger, within=window is not None).where(column.isnot(None))
        counts = days.with_only_columns(sa.func.count().label("n")).group_by(day).subquery()
        return sa.select(sa.func.coalesce(sa.func.max(counts.c.n), 0))

    parts = ("most", *_dates(trigger), window is None)
    return int(_asked(conn, entry, parts, make, **(_days(trigger, window) if window else {})).scalar_one())


def _dated(entry: Entry, trigger: DateTrigger, *, within: bool) -> sa.Select[Any]:
    source, column, where, ids = _date_source(entry, trigger)
    wanted = _within(entry, trigger, column)[0] if within else []
    return _meant(entry, source, [*where, *wanted], **{name.removesuffix("_id"): found for name, found in ids.items()})


def _meant(entry: Entry, source: Any, where: Sequence[Any], **subjects: Any) -> sa.Select[Any]:
    """The journey's audience, among these."""
    mine = [*where, _live(entry), _predicate(entry, entry.journey.audience, **subjects)]
    return sa.select(_unit(entry).c.id).select_from(source).where(*mine)


def _count(conn: sa.Connection, entry: Entry, parts: Parts, make: Callable[[], sa.Select[Any]], **bound: Any) -> int:
    def counted() -> sa.Select[Any]:
        return make().with_only_columns(sa.func.count(), maintain_column_froms=True)

    return int(_asked(conn, entry, ("count", *parts), counted, **bound).scalar_one())
