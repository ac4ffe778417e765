"""What is in force: texts by content, applies in order, pauses. A worker needs no folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.model import Json
from orchestrator.store import log
from orchestrator.store.database import insert_many, key_list
from orchestrator.store.people import take_turns
from orchestrator.store.tables import (
    applied,
    audience_seen,
    document,
    enrollment,
    event,
    journey_control,
    segment_member,
    setting,
    tier_change,
    trigger_state,
)

EVERYTHING = "*"
"""The scope of a pause that stops all journeys."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One apply. `files` path → document hash; `journeys` name → version."""

    id: int
    at: datetime
    author: str
    message: str
    project: str
    files: Mapping[str, str]
    journeys: Mapping[str, str]


def newest(conn: sa.Connection) -> Applied | None:
    """The apply in force; None before the first."""
    row = conn.execute(sa.select(applied).order_by(applied.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Applied(*row)


def history(conn: sa.Connection, limit: int = 50) -> list[Applied]:
    """Applies, newest first."""
    return [Applied(*row) for row in conn.execute(sa.select(applied).order_by(applied.c.id.desc()).limit(limit))]


def documents(conn: sa.Connection, hashes: Iterable[str]) -> dict[str, Json]:
    """Stored bodies by hash."""
    listed = key_list(conn, hashes)
    rows = conn.execute(sa.select(document.c.hash, document.c.body).join(listed, listed.c.key == document.c.hash))
    return {row.hash: row.body for row in rows}


def is_document(conn: sa.Connection, key: str) -> bool:
    """Whether there is a document of that hash."""
    return conn.execute(sa.select(document.c.hash).where(document.c.hash == key)).one_or_none() is not None


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
) -> int:
    take_turns(conn, "applied")
    result = conn.execute(
        applied.insert().values(
            at=now, author=author, message=message, project=project, files=dict(files), journeys=dict(journeys)
        )
    )
    return int((result.inserted_primary_key or (0,))[0])


# ---- pauses ---------------------------------------------------------------------------------------------------------


def pauses(conn: sa.Connection) -> dict[str, Mapping[str, Any]]:
    """What is paused: a journey's name, or EVERYTHING → when, by whom, why."""
    return {row.scope: dict(row._mapping) for row in conn.execute(sa.select(journey_control))}


def is_paused(conn: sa.Connection, journey: str) -> bool:
    """Whether a journey is paused, by its own name or with everything, as of this transaction."""
    query = sa.select(journey_control.c.scope).where(journey_control.c.scope.in_([journey, EVERYTHING])).limit(1)
    return conn.execute(query).one_or_none() is not None


def pause(conn: sa.Connection, scope: str, *, by: str, reason: str, now: datetime) -> bool:
    """False when it was paused already, and then nothing is written. A pause is on the record, as is its end."""
    row = {"scope": scope, "paused_at": now, "by": by, "reason": reason}
    if insert_many(conn, journey_control, [row], ignore_conflicts=True) != 1:
        return False
    log.operation(conn, now, "paused", by=by, reason=reason, body={"scope": scope})
    return True


def resume(conn: sa.Connection, scope: str, *, by: str, now: datetime) -> bool:
    """False when it was not paused."""
    if conn.execute(journey_control.delete().where(journey_control.c.scope == scope)).rowcount != 1:
        return False
    log.operation(conn, now, "resumed", by=by, body={"scope": scope})
    return True


# ---- triggers' watermarks -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a trigger has looked: in time, and in ids of events or tier changes."""

    baseline_at: datetime
    seen_until: datetime
    seen_id: int


def watermarks(conn: sa.Connection) -> dict[tuple[str, str], Watermark]:
    """By (journey, trigger key)."""
    return {
        (row.journey, row.trigger): Watermark(row.baseline_at, row.seen_until or row.baseline_at, row.seen_id or 0)
        for row in conn.execute(sa.select(trigger_state))
    }


def hold_trigger(conn: sa.Connection, journey: str, trigger: str) -> Watermark | None:
    """A trigger's watermark, locked: who looks at the same trigger waits until this transaction is over. None when the
    trigger is not in force any more."""
    row = conn.execute(
        sa.select(trigger_state)
        .where(trigger_state.c.journey == journey, trigger_state.c.trigger == trigger)
        .with_for_update()
    ).one_or_none()
    return None if row is None else Watermark(row.baseline_at, row.seen_until or row.baseline_at, row.seen_id or 0)


def hold_triggers(conn: sa.Connection) -> None:
    """Lock every trigger, before anything that an entering customer's transaction locks behind its own trigger."""
    order = (trigger_state.c.journey, trigger_state.c.trigger)
    conn.execute(sa.select(*order).order_by(*order).with_for_update()).all()


def audiences(conn: sa.Connection) -> dict[tuple[str, str], int]:
    """How many each trigger found last, or would have found at the apply: by (journey, trigger key)."""
    return {(row.journey, row.trigger): row.units for row in conn.execute(sa.select(audience_seen))}


def audience(conn: sa.Connection, journey: str, trigger: str) -> int | None:
    """One of them; None where nobody has looked yet."""
    where = (audience_seen.c.journey == journey, audience_seen.c.trigger == trigger)
    return conn.execute(sa.select(audience_seen.c.units).where(*where)).scalar_one_or_none()


def set_audience(conn: sa.Connection, journey: str, trigger: str, units: int, now: datetime) -> None:
    where = (audience_seen.c.journey == journey, audience_seen.c.trigger == trigger)
    if not conn.execute(audience_seen.update().where(*where).values(units=units, at=now)).rowcount:
        row = {"journey": journey, "trigger": trigger, "units": units, "at": now}
        insert_many(conn, audience_seen, [row], ignore_conflicts=True)


def add_watermark(conn: sa.Connection, journey: str, trigger: str, seen_id: int, now: datetime) -> None:
    """A trigger looks from now on."""
    row = {"journey": journey, "trigger": trigger, "baseline_at": now, "seen_until": now, "seen_id": seen_id}
    insert_many(conn, trigger_state, [row], ignore_conflicts=True)


def move_watermark(
    conn: sa.Connection, journey: str, trigger: str, seen_until: datetime, seen_id: int | None = None
) -> None:
    values: dict[str, Any] = {"seen_until": seen_until}
    if seen_id is not None:
        values["seen_id"] = seen_id
    conn.execute(
        trigger_state.update()
        .where(trigger_state.c.journey == journey, trigger_state.c.trigger == trigger)
        .values(**values)
    )


def drop_watermarks(conn: sa.Connection, keys: Iterable[tuple[str, str]]) -> None:
    """Forget triggers no longer in force: put in force again, they start anew, not firing for the time between."""
    for journey, trigger in keys:
        for table in (trigger_state, segment_member, audience_seen):
            conn.execute(table.delete().where(table.c.journey == journey, table.c.trigger == trigger))


def newest_event(conn: sa.Connection) -> int:
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(event.c.id), 0))).scalar_one())


def happened_by(conn: sa.Connection, after_id: int, until_id: int, now: datetime) -> int:
    """The highest id of events up to which all have happened by now. One dated ahead, and what came behind it, is
    looked at again: runs are unique, so that nobody enters twice for it."""
    ahead = sa.select(sa.func.min(event.c.id)).where(
        event.c.id > after_id, event.c.id <= until_id, event.c.occurred_at > now
    )
    first = conn.execute(ahead).scalar_one()
    return until_id if first is None else first - 1


def newest_tier_change(conn: sa.Connection) -> int:
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(tier_change.c.id), 0))).scalar_one())


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


def migrate_inside(conn: sa.Connection, journey: str, version: str, steps: Iterable[str]) -> int:
    """Move people onto a version, those whose step it has; the others finish the one they are on."""
    listed = key_list(conn, [*steps, ""])
    result = conn.execute(
        enrollment.update()
        .where(
            enrollment.c.journey == journey,
            enrollment.c.version != version,
            enrollment.c.ended_at.is_(None),
            enrollment.c.step.in_(sa.select(listed.c.key)),
        )
        .values(version=version)
    )
    return result.rowcount


def setting_instant(conn: sa.Connection, name: str) -> datetime | None:
    """An instant kept under a name."""
    found = conn.execute(sa.select(setting.c.value).where(setting.c.name == name)).scalar_one_or_none()
    return None if found is None else datetime.fromisoformat(found)


def set_instant(conn: sa.Connection, name: str, value: datetime) -> None:
    row = {"name": name, "value": value.isoformat()}
    if not conn.execute(setting.update().where(setting.c.name == name).values(value=row["value"])).rowcount:
        insert_many(conn, setting, [row], ignore_conflicts=True)


def setting_number(conn: sa.Connection, name: str) -> int:
    """A whole number kept under a name; 0 when there is none."""
    found = conn.execute(sa.select(setting.c.value).where(setting.c.name == name)).scalar_one_or_none()
    return 0 if found is None else int(found)


def set_number(conn: sa.Connection, name: str, value: int) -> None:
    if not conn.execute(setting.update().where(setting.c.name == name).values(value=str(value))).rowcount:
        insert_many(conn, setting, [{"name": name, "value": str(value)}], ignore_conflicts=True)
