"""What comes back about messages, and what must not be used any more. A fixed number of statements per batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import sqlalchemy as sa

from orchestrator.store.counting import book, taken_back
from orchestrator.store.database import bound_ids, id_list, insert_ids, insert_many, update_many
from orchestrator.store.tables import (
    customer,
    device,
    enrollment,
    event,
    feedback,
    suppression,
)
from orchestrator.store.tables import message as message_table

_COLUMNS = (
    "id",
    "enrollment_id",
    "journey",
    "step",
    "customer_id",
    "account_id",
    "addressee",
    "medium",
    "topic",
    "purpose",
    "state",
    "attempts",
    "reason",
)
ERRORS = ("failed", "bounced", "uncertain")
"""States that count as errors for `pause_if`."""
_HANDED_OVER = ("sent", "delivered", *ERRORS)


@dataclass(frozen=True, slots=True)
class Told:
    """A message that something was heard of."""

    id: int
    enrollment_id: int | None
    journey: str | None
    step: str
    customer_id: int | None
    account_id: int | None
    addressee: str
    medium: str
    topic: str
    purpose: str
    state: str
    attempts: int
    reason: str | None = None


def lock_messages(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Told]:
    """These messages, nobody else's to change until the transaction ends; their enrollments first (see `lock_runs`)."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    if conn.dialect.name == "postgresql":
        listed = id_list(conn, wanted)
        lock_runs(conn, sa.select(message_table.c.enrollment_id).join(listed, listed.c.id == message_table.c.id))
    return {row[0]: Told(*row) for row in conn.execute(_told(conn.dialect.name), {"ids": wanted})}


@cache
def _told(dialect: str) -> sa.Select[Any]:
    m = message_table.c
    mine = m.id.in_(sa.select(bound_ids(dialect).c.id))
    columns = (m[name] for name in _COLUMNS)
    return sa.select(*columns).where(mine).order_by(m.id).with_for_update(of=message_table)


def lock_runs(conn: sa.Connection, runs: Any) -> None:
    """Lock enrollments in order of id: nobody moves them until what is written about their messages can be seen.

    Every transaction locks in one order, so that two wait for one another and not in a circle: enrollments, customers,
    accounts, messages. SQLite has one writer, and needs none of it.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(
            sa.select(enrollment.c.id)
            .where(enrollment.c.id.in_(runs))
            .order_by(enrollment.c.id)
            .with_for_update(key_share=True)
        ).all()


# ---- feedback -------------------------------------------------------------------------------------------------------


def add_feedback(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, str, datetime, str]]:
    """Store what is not known yet; returns (message id, kind, at, url) of what was new."""
    unique = {(r["message_id"], r["kind"], r["at"], r["url"]): r for r in reversed(rows)}
    names = ("message_id", "kind", "at", "url")
    return set(insert_ids(conn, feedback, list(reversed(unique.values())), names, ignore_conflicts=True))


def set_states(conn: sa.Connection, rows: Sequence[tuple[int, str, str | None]], now: datetime) -> None:
    """(message id, new state, reason) of messages locked before."""
    changed = [{"id": i, "state": state, "reason": reason, "settled_at": now} for i, state, reason in rows]
    update_many(conn, message_table, changed, where=("id",))


def give_back(conn: sa.Connection, ids: Iterable[int]) -> None:
    """Reservations of messages that were surely not sent count no longer, nor does what they cost."""
    book(conn, taken_back(conn, ids))


# ---- what must not be used ------------------------------------------------------------------------------------------


def suppress(conn: sa.Connection, rows: Iterable[tuple[str, str, str, datetime | None]], now: datetime) -> int:
    """Put (medium, address key, reason, until) on the suppression list; returns how many were not there yet."""
    unique = {(medium, key, reason): until for medium, key, reason, until in rows if key}
    return insert_many(
        conn,
        suppression,
        [(medium, key, reason, now, until) for (medium, key, reason), until in unique.items()],
        columns=("medium", "address_key", "reason", "since", "until"),
        ignore_conflicts=True,
    )


def devices_of(conn: sa.Connection, customer_ids: Iterable[int]) -> list[tuple[int, int, str, datetime]]:
    """(id, customer id, token, when it was last registered) of live devices."""
    rows = conn.execute(_devices(conn.dialect.name), {"ids": list(customer_ids)})
    return [tuple(row) for row in rows]


@cache
def _devices(dialect: str) -> sa.Select[Any]:
    d, listed = device.c, bound_ids(dialect)
    query = sa.select(d.id, d.customer_id, d.token, d.created_at).join(listed, listed.c.id == d.customer_id)
    return query.where(d.retired_at.is_(None)).order_by(d.id)


def retire_devices(conn: sa.Connection, device_ids: Iterable[int], now: datetime) -> None:
    conn.execute(_retire(conn.dialect.name), {"ids": list(device_ids), "now": now})


@cache
def _retire(dialect: str) -> sa.Update:
    mine = device.c.id.in_(sa.select(bound_ids(dialect).c.id))
    return device.update().where(mine, device.c.retired_at.is_(None)).values(retired_at=sa.bindparam("now"))


# ---- journeys that go wrong -----------------------------------------------------------------------------------------


def errors_of_last(conn: sa.Connection, journey: str, last: int) -> int:
    """How many of a journey's last so many messages that were handed over went wrong."""
    return conn.execute(_wrong(), {"journey": journey, "last": last}).scalar_one()


@cache
def _wrong() -> sa.Select[tuple[int]]:
    m = message_table.c
    # By id and not by time: backwards along the primary key it ends as soon as it has found enough.
    newest = sa.select(m.state).where(m.journey == sa.bindparam("journey"), m.state.in_(_HANDED_OVER))
    some = newest.order_by(m.id.desc()).limit(sa.bindparam("last", type_=sa.Integer())).subquery()
    return sa.select(sa.func.count()).select_from(some).where(some.c.state.in_(ERRORS))


# ---- who may be woken by events -------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def heard_by(unit: str, types: frozenset[str]) -> sa.ColumnElement[bool]:
    """A condition on `enrollment`, made once: an event of these types, with an id in [`first`, `last`], which are left
    to be bound, is about its unit.

    An account hears what its contacts do.
    """
    among = sa.and_(event.c.id >= sa.bindparam("first"), event.c.id <= sa.bindparam("last"))
    fresh = sa.and_(among, event.c.type.in_(sorted(types)))
    if unit == "customer":
        return enrollment.c.customer_id.in_(sa.select(event.c.customer_id).where(fresh))
    theirs = sa.func.coalesce(event.c.account_id, customer.c.account_id)
    source = event.outerjoin(customer, customer.c.id == event.c.customer_id)
    return enrollment.c.account_id.in_(sa.select(theirs).select_from(source).where(fresh, theirs.isnot(None)))
