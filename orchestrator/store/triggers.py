"""Who enters a journey: one INSERT … SELECT per trigger, whatever the audience. A replay inserts nothing.

Uniqueness does the work: (journey, unit, unit_id, run_key) for what a run was made for, (journey, unit, unit_id,
live_key) for one live run. So a tick that runs twice, late or beside another one enters nobody twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

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
from orchestrator.store.database import id_list, key_list
from orchestrator.store.dialect import json_date, json_text
from orchestrator.store.segments import Segments
from orchestrator.store.tables import (
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
    if condition is None:
        return sa.true()
    return entry.segments.predicate(condition, _unit(entry), now=entry.now, **subjects)


def _run_key(entry: Entry, firing: Any, by_key: Any | None) -> Any:
    """What the run is made for: the journey's `reentry` chooses between once, the key, and the firing itself."""
    kind = entry.journey.reentry.kind
    if kind == "once":
        return sa.literal("once", sa.Text())
    if kind == "key" and by_key is not None:
        return by_key
    return firing


def _insert(
    conn: sa.Connection,
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
) -> int:
    """The one INSERT: units of `source` where all of `where` hold, with the journey's audience and re-entry rules.

    Whatever fires, nobody comes into a journey that is a draft or archived.
    """
    journey, unit = entry.journey, _unit(entry)
    if not journey.admits:
        return 0
    now = sa.literal(entry.now, enrollment.c.entered_at.type)
    run_key = _run_key(entry, firing, by_key)
    live_key = run_key if journey.overlap == "allow" else sa.literal("", sa.Text())
    null = sa.cast(sa.null(), sa.BigInteger())
    conditions = [*where, _live(entry)]
    if journey.reentry.kind == "after" and journey.reentry.after is not None:
        earlier = enrollment.alias("earlier")
        conditions.append(
            ~sa.exists().where(
                earlier.c.journey == journey.name,
                earlier.c.unit == journey.unit,
                earlier.c.unit_id == unit.c.id,
                earlier.c.entered_at > entry.now - journey.reentry.after,
            )
        )
    empty = sa.literal({}, enrollment.c.memory.type)
    select = (
        sa.select(
            sa.literal(journey.name, sa.Text()),
            sa.literal(journey.version, sa.Text()),
            sa.literal(journey.unit, sa.Text()),
            unit.c.id,
            unit.c.id if journey.unit == "customer" else null,
            customer.c.account_id if journey.unit == "customer" else unit.c.id,
            run_key,
            live_key,
            event_id if event_id is not None else null,
            record_id if record_id is not None else null,
            sa.literal(journey.priority, sa.Integer()),
            now,
            now,
            wake_at if wake_at is not None else now,
            empty,
            empty,
        )
        .select_from(source)
        .where(*conditions, _predicate(entry, journey.audience, event=event_id, record=record_id))
    )
    if order is not None:
        select = select.order_by(order)
    return insert_select(conn, enrollment, _ENTERED, select)


def insert_select(conn: sa.Connection, table: sa.Table, names: Sequence[str], select: sa.Select[Any]) -> int:
    """INSERT … SELECT that leaves out what is there already; how many were new."""
    if conn.dialect.name == "sqlite":
        statement: Any = table.insert().prefix_with("OR IGNORE").from_select(names, select, include_defaults=False)
    else:
        statement = postgresql.insert(table).from_select(names, select, include_defaults=False)
        statement = statement.on_conflict_do_nothing()
    return conn.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


# ---- segments -------------------------------------------------------------------------------------------------------


def _in_segment(entry: Entry, trigger: SegmentTrigger) -> Any:
    return _predicate(entry, entry.segments.named(trigger.segment))


def _mark_members(
    conn: sa.Connection, entry: Entry, trigger: SegmentTrigger, key: str, since: datetime | None = None
) -> int:
    """Record those who came in since the last look; their `since` is now, unless it is given."""
    unit = _unit(entry)
    member = (
        sa.exists()
        .where(
            segment_member.c.journey == entry.journey.name,
            segment_member.c.trigger == key,
            segment_member.c.unit_id == unit.c.id,
        )
        .correlate(unit)
    )
    select = sa.select(
        sa.literal(entry.journey.name, sa.Text()),
        sa.literal(key, sa.Text()),
        unit.c.id,
        sa.literal(since or entry.now, segment_member.c.since.type),
    ).where(_live(entry), ~member, _in_segment(entry, trigger))
    return insert_select(conn, segment_member, ("journey", "trigger", "unit_id", "since"), select)


def take_baseline(
    conn: sa.Connection, segments: Segments, journey: Journey, trigger: SegmentTrigger, key: str, now: datetime
) -> int:
    """Who is in the segment when the trigger is first put in force: they have not entered it, they were there."""
    # A look at this very instant takes those for new whose `since` it is.
    return _mark_members(conn, Entry(journey, segments, now), trigger, key, now - timedelta(microseconds=1))


def retake_baseline(
    conn: sa.Connection, segments: Segments, journey: Journey, trigger: SegmentTrigger, key: str, now: datetime
) -> None:
    """Who came into the segment, or left it, since the last look: written down, and nobody enters for it."""
    entry, unit = Entry(journey, segments, now), customer if journey.unit == "customer" else account
    take_baseline(conn, segments, journey, trigger, key, now)
    mine = sa.and_(segment_member.c.journey == journey.name, segment_member.c.trigger == key)
    still = sa.exists().where(unit.c.id == segment_member.c.unit_id, _live(entry), _in_segment(entry, trigger))
    conn.execute(segment_member.delete().where(mine, ~still))


def enter_by_segment(conn: sa.Connection, entry: Entry, trigger: SegmentTrigger, key: str) -> int:
    """Recorded transitions since the last look, and the runs they start."""
    unit = _unit(entry)
    came = _mark_members(conn, entry, trigger, key)
    mine = sa.and_(segment_member.c.journey == entry.journey.name, segment_member.c.trigger == key)
    still = sa.exists().where(unit.c.id == segment_member.c.unit_id, _live(entry), _in_segment(entry, trigger))
    # DELETE … RETURNING is evaluated once: whoever leaves is known from the same look that forgets them.
    left = list(conn.execute(segment_member.delete().where(mine, ~still).returning(segment_member.c.unit_id)).scalars())
    firing = sa.literal(f"{trigger.direction}:{entry.now.isoformat()}", sa.Text())
    if trigger.direction == "entry":
        if not came:
            return 0
        new = sa.and_(mine, segment_member.c.since == entry.now)
        source = unit.join(segment_member, segment_member.c.unit_id == unit.c.id)
        return _insert(conn, entry, source, [new], firing=firing)
    if not left:
        return 0
    gone = id_list(conn, left)
    return _insert(conn, entry, unit.join(gone, gone.c.id == unit.c.id), [], firing=firing)


# ---- events and tiers -----------------------------------------------------------------------------------------------


def enter_by_event(
    conn: sa.Connection, entry: Entry, trigger: EventTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for events with ids in (after_id, until_id] that happened at or after `not_before` (an old one, imported
    late, starts nothing)."""
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
    where = [
        event.c.type == trigger.event,
        event.c.id > after_id,
        event.c.id <= until_id,
        event.c.occurred_at >= not_before,
        event.c.occurred_at <= entry.now,
        _predicate(entry, trigger.where, event=event.c.id),
    ]
    if trigger.run_by:
        where.append(json_text(event.c.properties, trigger.run_by).isnot(None))
    return _insert(conn, entry, source, where, firing=firing, by_key=by_key, event_id=event.c.id, order=event.c.id)


def enter_by_tier(
    conn: sa.Connection, entry: Entry, trigger: TierTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for tier changes with ids in (after_id, until_id]."""
    unit = _unit(entry)
    change = tier_change
    if entry.journey.unit == "customer":
        # A contact's tier is the account's where the class says so: the account's change is each contact's.
        on = sa.or_(
            sa.and_(change.c.unit == "customer", change.c.unit_id == unit.c.id),
            sa.and_(change.c.unit == "account", change.c.unit_id == customer.c.account_id),
        )
    else:
        on = sa.and_(change.c.unit == "account", change.c.unit_id == unit.c.id)
    where = [change.c.id > after_id, change.c.id <= until_id, change.c.received_at >= not_before]
    where.append(change.c.direction == trigger.direction if trigger.direction != "any" else change.c.direction != "set")
    if trigger.to:
        where.append(change.c.to_tier.in_(trigger.to))
    firing = sa.literal("tier:", sa.Text()) + sa.cast(change.c.id, sa.Text())
    return _insert(conn, entry, change.join(unit, on), where, firing=firing, order=change.c.id)


def _records_unit(entry: Entry) -> Any:
    """Records with the unit that has them."""
    unit = _unit(entry)
    return record.join(unit, unit.c.id == (record.c.customer_id if unit is customer else record.c.account_id))


def enter_by_stage(
    conn: sa.Connection, entry: Entry, trigger: StageTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for changes of stage whose events have ids in (after_id, until_id], with the record in scope."""

    def said(name: str) -> Any:
        return json_text(event.c.properties, name)

    changed = sa.and_(record.c.type == said("record"), record.c.key == said("record_key"))
    where = [
        event.c.type == CHANGED,
        event.c.id > after_id,
        event.c.id <= until_id,
        event.c.occurred_at >= not_before,
        event.c.occurred_at <= entry.now,
        said("record") == trigger.record,
    ]
    if trigger.to:
        where.append(said("to_stage").in_(trigger.to))
    if trigger.from_:
        where.append(said("from_stage").in_(trigger.from_))
    elif not trigger.include_new:
        where.append(said("from_stage").isnot(None))
    firing = sa.literal("stage:", sa.Text()) + sa.cast(event.c.id, sa.Text())
    by_key = sa.literal(f"{trigger.record}:", sa.Text()) + record.c.key
    source = _records_unit(entry).join(event, changed)
    return _insert(conn, entry, source, where, firing=firing, by_key=by_key, record_id=record.c.id, order=event.c.id)


def _micros(conn: sa.Connection, column: Any) -> Any:
    """An instant as microseconds since 1970: as text it would hang on the session's zone."""
    if conn.dialect.name == "postgresql":
        return sa.cast(sa.extract("epoch", column) * 1_000_000, sa.BigInteger())
    return sa.type_coerce(column, sa.BigInteger())


def enter_by_stalled(
    conn: sa.Connection, entry: Entry, trigger: StageTrigger, first: datetime | None, last: datetime
) -> int:
    """Runs for records that stand in one of the stages since an instant in (first, last]; first None: since ever."""
    stage = json_text(record.c.fields, STAGE)
    where = [record.c.type == trigger.record, stage.in_(trigger.to), record.c.stage_since <= last]
    if first is not None:
        where.append(record.c.stage_since > first)
    since = sa.cast(_micros(conn, record.c.stage_since), sa.Text())
    name = sa.literal(f"{trigger.record}:", sa.Text()) + record.c.key
    firing = sa.literal("stalled:", sa.Text()) + name + sa.literal(":", sa.Text()) + stage
    firing = firing + sa.literal(":", sa.Text()) + since
    return _insert(
        conn, entry, _records_unit(entry), where, firing=firing, by_key=name, record_id=record.c.id, order=record.c.id
    )


def enter_by_milestone(
    conn: sa.Connection, entry: Entry, trigger: MilestoneTrigger, after_id: int, until_id: int, not_before: datetime
) -> int:
    """Runs for units whose `count`-th event is one with an id in (after_id, until_id]. Counted by arrival, so that it
    is one event and no other, whatever comes late."""
    unit, earlier = _unit(entry), event.alias("earlier")
    if entry.journey.unit == "customer":
        owner, theirs = event.c.customer_id, earlier.c.customer_id
    else:
        owner, theirs = event.c.account_id, earlier.c.account_id
    number = (
        sa.select(sa.func.count())
        .where(
            earlier.c.type == trigger.event,
            theirs == owner,
            earlier.c.id <= event.c.id,
            earlier.c.occurred_at <= entry.now,
        )
        .correlate(event)
        .scalar_subquery()
    )
    where = [
        event.c.type == trigger.event,
        event.c.id > after_id,
        event.c.id <= until_id,
        event.c.occurred_at >= not_before,
        event.c.occurred_at <= entry.now,
        number == trigger.count,
    ]
    firing = sa.literal(f"milestone:{trigger.event}:{trigger.count}", sa.Text())
    source = event.join(unit, unit.c.id == owner)
    return _insert(conn, entry, source, where, firing=firing, event_id=event.c.id, order=event.c.id)


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
    source, mine, day = _risk(entry, trigger)
    prefix = "points:" if trigger.of == "points" else "risk:"
    firing = sa.literal(prefix, sa.Text()) + sa.cast(day, sa.Text())
    entered = 0
    for due in dues:
        # A tier is lost at the review itself; points can be spent until the day is over.
        soon = [day >= due.after if trigger.of == "points" else day > due.after, day <= due.until]
        where = [*mine, *soon, _of_zones(entry, conn, due.zones, due.rest, known)]
        entered += _insert(conn, entry, source, where, firing=firing, order=_unit(entry).c.id)
    return entered


def risk_count(conn: sa.Connection, entry: Entry, trigger: RiskTrigger, until: date) -> int:
    """Who would lose the tier, or points, by that day, in every zone."""
    source, mine, day = _risk(entry, trigger)
    mine += [day <= until, _live(entry), _predicate(entry, entry.journey.audience)]
    return _count(conn, sa.select(_unit(entry).c.id).select_from(source).where(*mine))


# ---- dates and schedules --------------------------------------------------------------------------------------------


def zones_present(conn: sa.Connection, unit: str) -> list[str]:
    """The distinct zones stated by units."""
    tables = (customer, account) if unit == "customer" else (account,)
    found: set[str] = set()
    for table in tables:
        found |= {z for z in conn.execute(sa.select(table.c.timezone).distinct()).scalars() if z}
    return sorted(found)


def _of_zones(entry: Entry, conn: sa.Connection, zones: Sequence[str], rest: bool, known: Sequence[str]) -> Any:
    zone = _zone(entry)
    inside = zone.in_(sa.select(key_list(conn, zones).c.key))
    if not rest:
        return inside
    other = sa.or_(zone.is_(None), zone.not_in(sa.select(key_list(conn, known).c.key)))
    return sa.or_(inside, other) if zones else other


def enter_by_date(
    conn: sa.Connection, entry: Entry, trigger: DateTrigger, dues: Sequence[Due], known: Sequence[str]
) -> int:
    """Runs for field dates due now: one statement per distinct range (zones of one wall clock share one)."""
    return sum(_enter_due(conn, entry, trigger, due, known) for due in dues)


def _within(trigger: DateTrigger, column: Any, wanted: Window) -> tuple[list[Any], Any]:
    """(conditions, the run's date as text) of the dates that a window wants."""
    text = sa.cast(column, sa.Text())
    if trigger.every_year:
        listed = [f"{m:02d}-{d:02d}" for m, d in wanted.month_days]
        assert wanted.run_date is not None
        on = sa.literal(wanted.run_date.isoformat(), sa.Text())
        # The day itself, this year, is no anniversary yet.
        return [sa.func.substr(text, 6, 5).in_(listed), text < on], on
    assert wanted.first is not None and wanted.last is not None
    return [column.between(wanted.first, wanted.last)], text


def _enter_due(conn: sa.Connection, entry: Entry, trigger: DateTrigger, due: Due, known: Sequence[str]) -> int:
    unit = _unit(entry)
    source, column, owner_where, ids = _date_source(entry, trigger)
    wanted, suffix = _within(trigger, column, due.window)
    where = [*owner_where, _of_zones(entry, conn, due.zones, due.rest, known), *wanted]
    base = sa.literal("date:", sa.Text()) + suffix
    by_key = None
    if trigger.source == "record":
        name = sa.literal(f"{trigger.of}:", sa.Text()) + record.c.key
        firing, by_key = name + sa.literal(":", sa.Text()) + base, name
    elif trigger.source == "event":
        name = sa.literal(f"{trigger.of}:", sa.Text()) + event.c.key
        firing, by_key = name + sa.literal(":", sa.Text()) + base, name
    else:
        firing = base
    return _insert(conn, entry, source, where, firing=firing, by_key=by_key, order=unit.c.id, **ids)


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
    unit = _unit(entry)
    where = [] if zones is None else [_of_zones(entry, conn, zones, rest, known)]
    wake: Any = None
    if len(wakes) > 1:
        # Knuth's multiplicative hash spreads ids over the waves; cut to 31 bits before the product for both databases.
        bucket = ((unit.c.id % 65_536) * 40_503 % 65_536) % len(wakes)
        kind = enrollment.c.wake_at.type
        wake = sa.case({n: sa.literal(at, kind) for n, at in enumerate(wakes)}, value=bucket, else_=None)
    elif wakes:
        wake = sa.literal(wakes[0], enrollment.c.wake_at.type)
    return _insert(conn, entry, unit, where, firing=sa.literal(firing, sa.Text()), wake_at=wake, order=unit.c.id)


def enter_units(conn: sa.Connection, entry: Entry, unit_ids: Sequence[int], firing: str) -> int:
    """Runs for these units: the `api` trigger."""
    unit = _unit(entry)
    listed = id_list(conn, unit_ids)
    source = unit.join(listed, listed.c.id == unit.c.id)
    return _insert(conn, entry, source, [], firing=sa.literal(firing, sa.Text()))


def enter_from(conn: sa.Connection, entry: Entry, run_ids: Sequence[int], step: str, visit: int) -> int:
    """Runs for the units of these enrollments, sent on by a step of theirs: once for each time they come there."""
    unit, sender = _unit(entry), enrollment.alias("sender")
    listed = id_list(conn, run_ids)
    same = sa.and_(sender.c.unit == entry.journey.unit, sender.c.unit_id == unit.c.id)
    source = unit.join(sender, same).join(listed, listed.c.id == sender.c.id)
    firing = (
        sa.literal("enter:", sa.Text()) + sa.cast(sender.c.id, sa.Text()) + sa.literal(f":{step}:{visit}", sa.Text())
    )
    return _insert(conn, entry, source, [], firing=firing)


# ---- how many it would be: what the blast guard compares ------------------------------------------------------------


def audience_count(conn: sa.Connection, entry: Entry) -> int:
    """Whom a broadcast or a schedule means, in every zone."""
    unit = _unit(entry)
    return _count(conn, sa.select(unit.c.id).where(_live(entry), _predicate(entry, entry.journey.audience)))


def members_count(conn: sa.Connection, entry: Entry, trigger: SegmentTrigger) -> int:
    """Who is in the trigger's segment."""
    return _count(conn, sa.select(_unit(entry).c.id).where(_live(entry), _in_segment(entry, trigger)))


def leavers_count(conn: sa.Connection, entry: Entry, trigger: SegmentTrigger, key: str) -> tuple[int, int]:
    """(who has left the segment since the last look, who was in it then)."""
    unit = _unit(entry)
    mine = sa.and_(segment_member.c.journey == entry.journey.name, segment_member.c.trigger == key)
    still = sa.exists().where(unit.c.id == segment_member.c.unit_id, _live(entry), _in_segment(entry, trigger))
    gone = sa.func.coalesce(sa.func.sum(sa.case((still, 0), else_=1)), 0)
    row = conn.execute(sa.select(gone, sa.func.count()).select_from(segment_member).where(mine)).one()
    return int(row[0]), int(row[1])


def due_count(conn: sa.Connection, entry: Entry, trigger: DateTrigger, window: Window) -> int:
    """How many dates of a window there are, in every zone, already entered or not."""
    source, column, where, ids = _date_source(entry, trigger)
    wanted, _ = _within(trigger, column, window)
    return _count(conn, _dated(entry, source, [*where, *wanted], ids))


def most_due(conn: sa.Connection, entry: Entry, trigger: DateTrigger, window: Window | None) -> int:
    """The most dates that fall on one day: of the year (`every_year`), or within a window."""
    source, column, where, ids = _date_source(entry, trigger)
    text = sa.cast(column, sa.Text())
    day = sa.func.substr(text, 6, 5) if trigger.every_year else text
    if window is not None:
        where = [*where, *_within(trigger, column, window)[0]]
    days = _dated(entry, source, [*where, column.isnot(None)], ids)
    counts = days.with_only_columns(sa.func.count().label("n")).group_by(day).subquery()
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(counts.c.n), 0))).scalar_one())


def _dated(entry: Entry, source: Any, where: Sequence[Any], ids: dict[str, Any]) -> sa.Select[Any]:
    subjects = {name.removesuffix("_id"): column for name, column in ids.items()}
    mine = [*where, _live(entry), _predicate(entry, entry.journey.audience, **subjects)]
    return sa.select(_unit(entry).c.id).select_from(source).where(*mine)


def _count(conn: sa.Connection, query: sa.Select[Any]) -> int:
    return int(conn.execute(query.with_only_columns(sa.func.count(), maintain_column_froms=True)).scalar_one())
