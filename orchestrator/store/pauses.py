"""What a pause keeps waiting, counted; and time taken out of waits. A fixed number of statements for any audience.

Who is inside stands still while a journey is paused; what its waits were counted from does not. A shift writes the
pause into each run (`enrollment.paused`), and the engine leaves that time out of what it counts: so a wait ends later
by just what of it was paused, and a date stays a date.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.store.database import allocate_ids, insert_many, key_list, update_many
from orchestrator.store.tables import batch, enrollment, message

_OPEN = ("planned", "held")
_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Who stands at a step of a journey version, and how many of them are due."""

    journey: str
    version: str
    step: str
    inside: int
    due: int


def standing(conn: sa.Connection, journeys: Collection[str], now: datetime) -> list[Standing]:
    """Live runs of these journeys by version and step. One statement."""
    names = key_list(conn, journeys)
    e = enrollment.c
    due = sa.func.sum(sa.case((e.wake_at <= now, 1), else_=0))
    query = (
        sa.select(e.journey, e.version, e.step, sa.func.count(), due)
        .where(e.ended_at.is_(None), e.journey.in_(sa.select(names.c.key)))
        .group_by(e.journey, e.version, e.step)
        .order_by(e.journey, e.version, e.step)
    )
    return [Standing(name, version, step, n, int(ready)) for name, version, step, n, ready in conn.execute(query)]


def waiting(conn: sa.Connection, journeys: Collection[str], now: datetime) -> dict[str, int]:
    """Messages by journey that are planned or held, and due. One statement."""
    names = key_list(conn, journeys)
    m = message.c
    query = (
        sa.select(m.journey, sa.func.count())
        .where(m.state.in_(_OPEN), m.journey.in_(sa.select(names.c.key)), m.due_at <= now)
        .group_by(m.journey)
    )
    return {name: int(n) for name, n in conn.execute(query)}


def journeys_inside(conn: sa.Connection) -> set[str]:
    """Journeys with anybody inside, or with a message that has not gone out."""
    runs = sa.select(enrollment.c.journey).where(enrollment.c.ended_at.is_(None))
    queued = sa.select(message.c.journey).where(message.c.state.in_(_OPEN), message.c.journey.is_not(None))
    return set(conn.execute(sa.union(runs, queued)).scalars())


# ---- time taken out -------------------------------------------------------------------------------------------------


def shift_runs(conn: sa.Connection, journeys: Collection[str], since: datetime, now: datetime) -> int:
    """Take the time since then out of the waits of everybody inside; returns how many.

    All of them are due at once: the engine works out anew until when each waits, or moves on who waits no longer.
    """
    names = key_list(conn, journeys)
    e = enrollment.c
    mine = sa.and_(e.ended_at.is_(None), e.journey.in_(sa.select(names.c.key)))
    if conn.dialect.name == "postgresql":
        # In order of id, as everybody locks.
        locked = sa.select(e.id).where(mine).order_by(e.id).with_for_update(key_share=True)
        conn.execute(sa.select(sa.func.count()).select_from(locked.subquery()))
    pause = [since.isoformat(), now.isoformat()]
    earlier = conn.execute(sa.select(e.id, e.paused).where(mine, sa.cast(e.paused, sa.Text()) != "[]")).all()
    first = sa.and_(mine, sa.cast(e.paused, sa.Text()) == "[]")
    count = conn.execute(enrollment.update().where(first).values(paused=[pause])).rowcount
    for at in range(0, len(earlier), _CHUNK):
        rows = [{"id": row.id, "paused": [*row.paused, pause]} for row in earlier[at : at + _CHUNK]]
        update_many(conn, enrollment, rows, where=("id",))
    asleep = sa.and_(mine, e.wake_at > now)
    conn.execute(enrollment.update().where(asleep).values(wake_at=now))
    return count + len(earlier)


def shift_messages(conn: sa.Connection, journeys: Collection[str], since: datetime, now: datetime) -> int:
    """Put off by the length of the pause what had been planned for a time behind its beginning, so that what a throttle
    has spaced stays so; returns how many. What was due before goes at once; `expires_at` stays."""
    names = key_list(conn, journeys)
    m, b = message.c, batch.c
    rows = conn.execute(
        sa.select(m.id, m.due_at, b.id.label("batch"), b.due_at.label("due"), b.medium, b.purpose, b.priority)
        .join(batch, b.id == m.batch_id)
        .where(m.state.in_(_OPEN), m.journey.in_(sa.select(names.c.key)), b.due_at > since)
        .order_by(m.id)
        .with_for_update(of=message, key_share=True)
    ).all()
    if not rows:
        return 0
    later = now - since
    sizes: dict[int, int] = {}
    heads = {}
    for row in rows:
        sizes[row.batch] = sizes.get(row.batch, 0) + 1
        heads[row.batch] = row
    # Batches of their own: the old ones may hold other journeys' messages.
    ids = dict(zip(heads, allocate_ids(conn, batch, len(heads)), strict=True))
    insert_many(
        conn,
        batch,
        [
            {
                "id": ids[old],
                "medium": head.medium,
                "purpose": head.purpose,
                "priority": head.priority,
                "due_at": head.due + later,
                "size": sizes[old],
            }
            for old, head in heads.items()
        ],
    )
    moved = [{"id": row.id, "batch_id": ids[row.batch], "due_at": row.due_at + later} for row in rows]
    for at in range(0, len(moved), _CHUNK):
        update_many(conn, message, moved[at : at + _CHUNK], where=("id",))
    return len(moved)
