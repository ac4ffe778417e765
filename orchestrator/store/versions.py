"""What is in force: texts by content, applies in order, pauses. A worker needs no folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestrator.model import Json
from orchestrator.store import log
from orchestrator.store.database import bound_keys, id_list, insert_many, key_list, update_many
from orchestrator.store.people import take_turns
from orchestrator.store.tables import (
    UtcDateTime,
    applied,
    audience_seen,
    batch,
    document,
    enrollment,
    event,
    journey_control,
    message,
    segment_member,
    setting,
    tier_change,
    trigger_state,
)

Meanwhile = Literal["hold", "discard"]
Pause = Mapping[str, Any]
EVERYTHING = "*"
"""The scope of a pause that stops all journeys."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One apply. `files` path → document hash; `journeys` name → version. `approved_by`: the second person, where one
    was asked for, and the `proposal` that was approved."""

    id: int
    at: datetime
    author: str
    message: str
    project: str
    files: Mapping[str, str]
    journeys: Mapping[str, str]
    approved_by: str | None = None
    proposal: int | None = None


def hold_applies(conn: sa.Connection) -> None:
    """Until this transaction ends nobody else applies or proposes: what is in force is the same at its end."""
    take_turns(conn, "applied")


_NEWEST: Final = sa.select(applied).order_by(applied.c.id.desc()).limit(1)


def newest(conn: sa.Connection) -> Applied | None:
    """The apply in force; None before the first."""
    row = conn.execute(_NEWEST).one_or_none()
    return None if row is None else Applied(*row)


_NEWEST_ROW: Final = _NEWEST.subquery()
_NOW: Final = sa.select(_NEWEST_ROW, journey_control).join(journey_control, sa.true(), isouter=True)


def newest_and_pauses(conn: sa.Connection) -> tuple[Applied, dict[str, Pause]] | None:
    """As `newest` and `pauses`, of one moment; None before the first apply. One statement."""
    rows = conn.execute(_NOW).all()
    if not rows:
        return None
    split, names = len(applied.c), journey_control.c.keys()
    paused = (dict(zip(names, row[split:], strict=True)) for row in rows)
    return Applied(*rows[0][:split]), {row["scope"]: row for row in paused if row["scope"] is not None}


def history(conn: sa.Connection, limit: int = 50) -> list[Applied]:
    """Applies, newest first."""
    return [Applied(*row) for row in conn.execute(sa.select(applied).order_by(applied.c.id.desc()).limit(limit))]


def by_number(conn: sa.Connection, number: int) -> Applied | None:
    """An apply by its number; None when there was none."""
    row = conn.execute(sa.select(applied).where(applied.c.id == number)).one_or_none()
    return None if row is None else Applied(*row)


def by_version(conn: sa.Connection, journey: str) -> dict[str, tuple[int, int]]:
    """Runs of a journey: version → (inside, ended)."""
    rows = conn.execute(
        sa.select(
            enrollment.c.version,
            sa.func.count() - sa.func.count(enrollment.c.ended_at),
            sa.func.count(enrollment.c.ended_at),
        )
        .where(enrollment.c.journey == journey)
        .group_by(enrollment.c.version)
    )
    return {version: (inside, ended) for version, inside, ended in rows}


def documents(conn: sa.Connection, hashes: Iterable[str]) -> dict[str, Json]:
    """Stored bodies by hash."""
    listed = key_list(conn, hashes)
    rows = conn.execute(sa.select(document.c.hash, document.c.body).join(listed, listed.c.key == document.c.hash))
    return {row.hash: row.body for row in rows}


def texts(conn: sa.Connection, files: Mapping[str, str]) -> dict[str, str]:
    """Path → text, of files by their documents' hashes."""
    bodies = documents(conn, set(files.values()))
    return {path: str(bodies[key]["text"]) for path, key in files.items()}


_DOCUMENT: Final = sa.select(document.c.hash).where(document.c.hash == sa.bindparam("key"))


def is_document(conn: sa.Connection, key: str) -> bool:
    """Whether there is a document of that hash."""
    return conn.execute(_DOCUMENT, {"key": key}).one_or_none() is not None


def file_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def add_documents(conn: sa.Connection, kind: str, bodies: Mapping[str, tuple[str, Json]], now: datetime) -> None:
    """Store texts by content; what is there already stays. `bodies`: hash → (name, body)."""
    rows = [
        {"hash": key, "kind": kind, "name": name, "body": body, "created_at": now}
        for key, (name, body) in bodies.items()
    ]
    insert_many(conn, document, rows, ignore_conflicts=True)


def add_applied(
    conn: sa.Connection,
    *,
    author: str,
    message: str,
    project: str,
    files: Mapping[str, str],
    journeys: Mapping[str, str],
    now: datetime,
    approved_by: str | None = None,
    proposal: int | None = None,
) -> int:
    take_turns(conn, "applied")
    result = conn.execute(
        applied.insert().values(
            at=now,
            author=author,
            message=message,
            project=project,
            files=dict(files),
            journeys=dict(journeys),
            approved_by=approved_by,
            proposal=proposal,
        )
    )
    return int((result.inserted_primary_key or (0,))[0])


# ---- pauses ---------------------------------------------------------------------------------------------------------


_PAUSES: Final = sa.select(journey_control)
_PAUSED: Final = (
    sa.select(journey_control.c.scope).where(journey_control.c.scope.in_([sa.bindparam("of"), EVERYTHING])).limit(1)
)


def pauses(conn: sa.Connection) -> dict[str, Pause]:
    """What is paused: a journey's name, or EVERYTHING → when, by whom, why, and what of those who come meanwhile."""
    return {row.scope: dict(row._mapping) for row in conn.execute(_PAUSES)}


def is_paused(conn: sa.Connection, journey: str) -> bool:
    """Whether a journey is paused, by its own name or with everything, as of this transaction."""
    return conn.execute(_PAUSED, {"of": journey}).one_or_none() is not None


def pause(
    conn: sa.Connection, scope: str, *, by: str, reason: str, now: datetime, meanwhile: Meanwhile = "hold"
) -> bool:
    """False when it was paused already, and then nothing is written. A pause is on the record, as is its end.

    `meanwhile`: whether those who would enter do so when it is resumed, or not at all.
    """
    row = {"scope": scope, "paused_at": now, "by": by, "reason": reason, "meanwhile": meanwhile}
    if insert_many(conn, journey_control, [row], ignore_conflicts=True) != 1:
        return False
    log.operation(conn, now, "paused", by=by, reason=reason, body={"scope": scope, "meanwhile": meanwhile})
    return True


def resume(conn: sa.Connection, scope: str, *, by: str, now: datetime, body: Json | None = None) -> bool:
    """False when it was not paused. What its triggers' events meant is held until their next look: nothing that came
    since the pause began is late by then."""
    found = conn.execute(sa.select(journey_control).where(journey_control.c.scope == scope)).one_or_none()
    if found is None or conn.execute(journey_control.delete().where(journey_control.c.scope == scope)).rowcount != 1:
        return False
    since = sa.literal(found.paused_at, trigger_state.c.held_from.type)
    conn.execute(
        trigger_state.update()
        .where(trigger_state.c.journey == scope if scope != EVERYTHING else sa.true())
        .values(held_from=sa.func.coalesce(trigger_state.c.held_from, since))
    )
    log.operation(conn, now, "resumed", by=by, body={"scope": scope, **(body or {})})
    return True


# ---- triggers' watermarks -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a trigger has looked: in time, and in ids of events or tier changes."""

    baseline_at: datetime
    seen_until: datetime
    seen_id: int
    held_from: datetime | None = None
    """When a pause began that has ended since the last look, and held what came."""


def _watermark(row: Any) -> Watermark:
    return Watermark(row.baseline_at, row.seen_until or row.baseline_at, row.seen_id or 0, row.held_from)


_OF_TRIGGER: Final = (
    trigger_state.c.journey == sa.bindparam("of_journey"),
    trigger_state.c.trigger == sa.bindparam("of_trigger"),
)
_WATERMARKS: Final = sa.select(trigger_state)
_HELD: Final = _WATERMARKS.where(*_OF_TRIGGER).with_for_update()


def watermarks(conn: sa.Connection) -> dict[tuple[str, str], Watermark]:
    """By (journey, trigger key)."""
    return {(row.journey, row.trigger): _watermark(row) for row in conn.execute(_WATERMARKS)}


def hold_trigger(conn: sa.Connection, journey: str, trigger: str) -> Watermark | None:
    """A trigger's watermark, locked: who looks at the same trigger waits until this transaction is over. None when the
    trigger is not in force any more."""
    row = conn.execute(_HELD, {"of_journey": journey, "of_trigger": trigger}).one_or_none()
    return None if row is None else _watermark(row)


def hold_triggers(conn: sa.Connection) -> None:
    """Lock every trigger, before anything that an entering customer's transaction locks behind its own trigger."""
    order = (trigger_state.c.journey, trigger_state.c.trigger)
    conn.execute(sa.select(*order).order_by(*order).with_for_update()).all()


def audiences(conn: sa.Connection) -> dict[tuple[str, str], int]:
    """How many each trigger found last, or would have found at the apply: by (journey, trigger key)."""
    return {(row.journey, row.trigger): row.units for row in conn.execute(sa.select(audience_seen))}


_OF_AUDIENCE: Final = (
    audience_seen.c.journey == sa.bindparam("of_journey"),
    audience_seen.c.trigger == sa.bindparam("of_trigger"),
)
_AUDIENCE: Final = sa.select(audience_seen.c.units).where(*_OF_AUDIENCE)
_SET_AUDIENCE: Final = (
    audience_seen.update().where(*_OF_AUDIENCE).values(units=sa.bindparam("found"), at=sa.bindparam("now"))
)


def audience(conn: sa.Connection, journey: str, trigger: str) -> int | None:
    """One of them; None where nobody has looked yet."""
    return conn.execute(_AUDIENCE, {"of_journey": journey, "of_trigger": trigger}).scalar_one_or_none()


def set_audience(conn: sa.Connection, journey: str, trigger: str, units: int, now: datetime) -> None:
    values = {"of_journey": journey, "of_trigger": trigger, "found": units, "now": now}
    if not conn.execute(_SET_AUDIENCE, values).rowcount:
        row = {"journey": journey, "trigger": trigger, "units": units, "at": now}
        insert_many(conn, audience_seen, [row], ignore_conflicts=True)


def add_watermark(conn: sa.Connection, journey: str, trigger: str, seen_id: int, now: datetime) -> None:
    """A trigger looks from now on."""
    row = {"journey": journey, "trigger": trigger, "baseline_at": now, "seen_until": now, "seen_id": seen_id}
    insert_many(conn, trigger_state, [row], ignore_conflicts=True)


_MOVE: Final = trigger_state.update().where(*_OF_TRIGGER).values(seen_until=sa.bindparam("until"), held_from=None)
_MOVE_WITH_ID: Final = _MOVE.values(seen_id=sa.bindparam("newest"))


def move_watermark(
    conn: sa.Connection, journey: str, trigger: str, seen_until: datetime, seen_id: int | None = None
) -> None:
    values = {"of_journey": journey, "of_trigger": trigger, "until": seen_until}
    if seen_id is None:
        conn.execute(_MOVE, values)
    else:
        conn.execute(_MOVE_WITH_ID, {**values, "newest": seen_id})


def move_idle(conn: sa.Connection, idle: Mapping[int | None, Iterable[tuple[str, str]]], seen_until: datetime) -> None:
    """Move the watermarks of triggers, (journey, key) by the id up to which nothing was there for them.

    Only forward, and of those alone that nobody else is looking at: whoever is moves them. All was seen in one
    snapshot, and ids grow in the order of commits.
    """
    for seen_id, triggers in idle.items():
        values: dict[str, Any] = {"keys": [f"{journey}\n{key}" for journey, key in triggers], "until": seen_until}
        if seen_id is not None:
            values["newest"] = seen_id
        conn.execute(_move_idle(conn.dialect.name, seen_id is not None), values)


@cache
def _move_idle(dialect: str, with_id: bool) -> sa.Update:
    t, until = trigger_state.c, sa.bindparam("until", type_=UtcDateTime())
    newest = sa.bindparam("newest", type_=sa.BigInteger())
    name = t.journey + sa.literal("\n", sa.Text()) + t.trigger
    mine = sa.select(t.journey, t.trigger).where(
        name.in_(sa.select(bound_keys(dialect).c.key)), sa.func.coalesce(t.seen_until, t.baseline_at) <= until
    )
    values: dict[str, Any] = {"seen_until": until}
    if with_id:
        mine = mine.where(sa.func.coalesce(t.seen_id, 0) <= newest)
        values["seen_id"] = newest
    mine = mine.order_by(t.journey, t.trigger).with_for_update(skip_locked=True)
    return trigger_state.update().where(sa.tuple_(t.journey, t.trigger).in_(mine)).values(**values)


def drop_watermarks(conn: sa.Connection, keys: Iterable[tuple[str, str]]) -> None:
    """Forget triggers no longer in force: put in force again, they start anew, not firing for the time between."""
    for journey, trigger in keys:
        for table in (trigger_state, segment_member, audience_seen):
            conn.execute(table.delete().where(table.c.journey == journey, table.c.trigger == trigger))


_NEWEST_EVENT: Final = sa.select(sa.func.coalesce(sa.func.max(event.c.id), 0))
_NEWEST_TIER_CHANGE: Final = sa.select(sa.func.coalesce(sa.func.max(tier_change.c.id), 0))
_TYPE: Final = event.c.type + sa.literal_column("''")
"""Or SQLite would go through the index by types, from the first event that ever came, to group a few."""
_NEWEST_EVENTS: Final = (
    sa.select(_TYPE, sa.func.max(event.c.id)).where(event.c.id > sa.bindparam("after")).group_by(_TYPE)
)
_AHEAD: Final = sa.select(sa.func.min(event.c.id)).where(
    event.c.id > sa.bindparam("after"), event.c.id <= sa.bindparam("until"), event.c.occurred_at > sa.bindparam("now")
)


def newest_event(conn: sa.Connection) -> int:
    return int(conn.execute(_NEWEST_EVENT).scalar_one())


def newest_events(conn: sa.Connection, after_id: int) -> dict[str, int]:
    """Of the events behind this id: type → the newest's."""
    return dict(conn.execute(_NEWEST_EVENTS, {"after": after_id}).tuples().all())


def happened_by(conn: sa.Connection, after_id: int, until_id: int, now: datetime) -> int:
    """The highest id of events up to which all have happened by now. One dated ahead, and what came behind it, is
    looked at again: runs are unique, so that nobody enters twice for it."""
    first = conn.execute(_AHEAD, {"after": after_id, "until": until_id, "now": now}).scalar_one()
    return until_id if first is None else first - 1


def newest_tier_change(conn: sa.Connection) -> int:
    return int(conn.execute(_NEWEST_TIER_CHANGE).scalar_one())


# ---- people inside --------------------------------------------------------------------------------------------------


def inside(conn: sa.Connection) -> dict[tuple[str, str], dict[str, int]]:
    """Live enrollments: (journey, version) → step → how many."""
    rows = conn.execute(
        sa.select(enrollment.c.journey, enrollment.c.version, enrollment.c.step, sa.func.count().label("n"))
        .where(enrollment.c.ended_at.is_(None))
        .group_by(enrollment.c.journey, enrollment.c.version, enrollment.c.step)
    )
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        found.setdefault((row.journey, row.version), {})[row.step] = row.n
    return found


def hold_inside(conn: sa.Connection, journeys: Iterable[str]) -> None:
    """Lock everybody inside these journeys, so that nobody moves on between being counted and being moved."""
    if conn.dialect.name == "postgresql":  # an embedded database has one writer at a time
        names = key_list(conn, journeys)
        live = sa.and_(enrollment.c.ended_at.is_(None), enrollment.c.journey.in_(sa.select(names.c.key)))
        locked = sa.select(enrollment.c.id).where(live).order_by(enrollment.c.id).with_for_update(key_share=True)
        conn.execute(sa.select(sa.func.count()).select_from(locked.subquery()))


def move_inside(
    conn: sa.Connection,
    journey: str,
    version: str,
    step: str,
    to_version: str,
    to: str,
    afresh: Json | None,
    now: datetime,
) -> list[int]:
    """Move those who stand at a step of a version to a step of another; returns their ids.

    They are woken, for what they wait for may be shorter now. `afresh` None: what they have waited counts, and what
    they remember stays; else they come to the step at `now`, with that memory.
    """
    values: dict[str, Any] = {"version": to_version, "step": to, "wake_at": now}
    if afresh is not None:
        values |= {"since": now, "memory": afresh}
    here = (enrollment.c.journey == journey, enrollment.c.version == version, enrollment.c.step == step)
    result = conn.execute(
        enrollment.update().where(*here, enrollment.c.ended_at.is_(None)).values(**values).returning(enrollment.c.id)
    )
    return list(result.scalars())


def recount_visits(conn: sa.Connection, enrollment_ids: Iterable[int], names: Mapping[str, str]) -> None:
    """Loops that are called otherwise go on counting: `names` former step id → the new one."""
    listed = id_list(conn, enrollment_ids)
    query = sa.select(enrollment.c.id, enrollment.c.visits).join(listed, listed.c.id == enrollment.c.id)
    rows = [
        {"id": row.id, "visits": {names.get(step, step): n for step, n in row.visits.items()}}
        for row in conn.execute(query)
        if row.visits.keys() & names.keys()
    ]
    update_many(conn, enrollment, rows, where=("id",))


def rename_sent(conn: sa.Connection, enrollment_ids: Iterable[int], names: Mapping[str, tuple[str, str]]) -> None:
    """Call the messages of steps by the steps' new names, so that none is planned again. `names`: former step id →
    (new one, its medium). Where there is one by the new name already, both stay as they are."""
    if not names:
        return
    listed = id_list(conn, enrollment_ids)
    there = message.alias("there")
    for was, (to, medium) in names.items():
        same = (
            there.c.enrollment_id == message.c.enrollment_id,
            there.c.step == to,
            there.c.visit == message.c.visit,
            there.c.addressee == message.c.addressee,
            there.c.addressee_id == message.c.addressee_id,
            there.c.medium == message.c.medium,
        )
        conn.execute(
            message.update()
            .where(
                message.c.enrollment_id.in_(sa.select(listed.c.id)),
                message.c.step == was,
                message.c.medium == medium,
                ~sa.exists().where(*same).correlate(message),
            )
            .values(step=to)
        )


def queued_steps(conn: sa.Connection, enrollment_ids: Iterable[int]) -> frozenset[str]:
    """Steps of which somebody among these has a message that can still be withdrawn."""
    listed = id_list(conn, enrollment_ids)
    query = sa.select(message.c.step).join(listed, listed.c.id == message.c.enrollment_id)
    return frozenset(conn.execute(query.where(message.c.state.in_(("planned", "held"))).distinct()).scalars())


def retell_queued(
    conn: sa.Connection,
    enrollment_ids: Iterable[int],
    version: str,
    said: Mapping[str, tuple[str, str, str]],
    now: datetime,
) -> None:
    """Let what is queued say what its step says in a version. `said`: step → (template, topic, purpose). What a worker
    holds at this moment goes out as it was planned."""
    steps = queued_steps(conn, enrollment_ids) & said.keys()
    if not steps:
        return
    listed = id_list(conn, enrollment_ids)
    for step in sorted(steps):
        template, topic, purpose = said[step]
        held = sa.exists().where(batch.c.id == message.c.batch_id, batch.c.lease_until > now)
        conn.execute(
            message.update()
            .where(
                message.c.enrollment_id.in_(sa.select(listed.c.id)),
                message.c.step == step,
                message.c.state.in_(("planned", "held")),
                ~held,
            )
            .values(template=template, topic=topic, purpose=purpose, version=version)
        )


# ---- what is kept under names ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """What was kept under some names when they were read: each is a whole number or an instant, as its reader knows."""

    kept: Mapping[str, str]

    def number(self, name: str) -> int:
        """0 when there is none."""
        return int(self.kept.get(name, 0))

    def instant(self, name: str) -> datetime | None:
        """None when there is none."""
        found = self.kept.get(name)
        return None if found is None else datetime.fromisoformat(found)


def settings(conn: sa.Connection, *names: str) -> Settings:
    """What is kept under these names, one statement for all: whoever needs several in a transaction asks here, once."""
    rows = conn.execute(_settings(conn.dialect.name), {"keys": list(names)}).tuples()
    return Settings(dict(rows.all()))


@cache
def _settings(dialect: str) -> sa.Select[tuple[str, str]]:
    listed = bound_keys(dialect)
    return sa.select(setting.c.name, setting.c.value).join(listed, listed.c.key == setting.c.name)


_SETTING: Final = sa.select(setting.c.value).where(setting.c.name == sa.bindparam("of"))
_SET: Final = setting.update().where(setting.c.name == sa.bindparam("of")).values(value=sa.bindparam("to"))


def setting_instant(conn: sa.Connection, name: str) -> datetime | None:
    """An instant kept under a name."""
    found = conn.execute(_SETTING, {"of": name}).scalar_one_or_none()
    return None if found is None else datetime.fromisoformat(found)


def set_instant(conn: sa.Connection, name: str, value: datetime) -> None:
    set_settings(conn, {name: value})


def set_number(conn: sa.Connection, name: str, value: int) -> None:
    set_settings(conn, {name: value})


def set_settings(conn: sa.Connection, values: Mapping[str, int | datetime]) -> None:
    """Keep these instead of what was kept under their names: one statement, and one more for those that are new."""
    rows = [
        {"of": name, "to": value.isoformat() if isinstance(value, datetime) else str(value)}
        for name, value in values.items()
    ]
    if rows and conn.execute(_SET, rows).rowcount != len(rows):
        insert_many(
            conn, setting, [(row["of"], row["to"]) for row in rows], columns=("name", "value"), ignore_conflicts=True
        )


_SEEN_OF: Final = sa.select(_SETTING.scalar_subquery(), _NEWEST_EVENT.scalar_subquery())


def seen_of_events(conn: sa.Connection, name: str) -> tuple[int, int]:
    """(the number kept under a name, 0 for want of one; the newest event's id) in one statement: nothing is new to the
    reader that keeps how far it has looked there, unless the second is higher."""
    seen, newest = conn.execute(_SEEN_OF, {"of": name}).one()
    return int(seen or 0), int(newest)
