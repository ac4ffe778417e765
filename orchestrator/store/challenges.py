"""Challenges that were done, and by whom they could be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from orchestrator.condition import Condition
from orchestrator.model import Unit
from orchestrator.store.database import id_list, insert_many, key_list
from orchestrator.store.segments import Segments
from orchestrator.store.tables import account, achievement, customer, event


class Done(NamedTuple):
    """How often, and when last. `silent`: all of it before the challenge was there."""

    times: int
    at: datetime
    silent: bool


class Achieved(NamedTuple):
    key: str
    challenge: str
    unit: Unit
    unit_id: int
    points: int
    badge: str
    silent: bool
    at: datetime


def done_by(conn: sa.Connection, unit: Unit, ids: Iterable[int]) -> dict[int, dict[str, Done]]:
    """Unit → challenge → how it stands with it. One statement."""
    a = achievement.c
    listed = id_list(conn, ids)
    silent = sa.func.min(sa.case((a.silent, 1), else_=0))
    query = (
        sa.select(a.unit_id, a.challenge, sa.func.count(), sa.func.max(a.at), silent)
        .join(listed, listed.c.id == a.unit_id)
        .where(a.unit == unit)
        .group_by(a.unit_id, a.challenge)
    )
    found: dict[int, dict[str, Done]] = {}
    for unit_id, name, times, at, quiet in conn.execute(query):
        found.setdefault(unit_id, {})[name] = Done(times, at, bool(quiet))
    return found


def add(conn: sa.Connection, rows: Sequence[Achieved]) -> None:
    """Write what was done; what is there already stays as it is."""
    insert_many(conn, achievement, list(rows), columns=Achieved._fields, ignore_conflicts=True)


def known(conn: sa.Connection, keys: Iterable[str]) -> set[str]:
    """Those of these keys that are written."""
    listed = key_list(conn, keys)
    return set(conn.execute(sa.select(achievement.c.key).join(listed, listed.c.key == achievement.c.key)).scalars())


def fulfilling(
    conn: sa.Connection,
    segments: Segments,
    when: Condition,
    class_name: str,
    unit: Unit,
    now: datetime,
    *,
    but: str = "",
    since: datetime | None = None,
) -> list[int]:
    """Units of a class of which the condition is true, without those who did the challenge `but` (`since` then)."""
    table = customer if unit == "customer" else account
    query = segments.audience(when, unit, now).where(table.c["class"] == class_name)
    if but:
        a = achievement.c
        mine = sa.exists().where(a.unit == unit, a.unit_id == table.c.id, a.challenge == but)
        query = query.where(~(mine if since is None else mine.where(a.at > since)).correlate(table))
    return list(conn.execute(query.order_by(table.c.id)).scalars())


def latest_deeds(conn: sa.Connection, unit: Unit, first_id: int, last_id: int) -> dict[int, datetime]:
    """When each unit last did something, of the events with first_id < id ≤ last_id. An account's are its contacts'."""
    owner = event.c.customer_id if unit == "customer" else event.c.account_id
    query = (
        sa.select(owner, sa.func.max(event.c.occurred_at))
        .where(event.c.id > first_id, event.c.id <= last_id, owner.is_not(None))
        .group_by(owner)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def numbers(conn: sa.Connection) -> Mapping[str, int]:
    """By challenge, how many units have done it since it was there."""
    a = achievement.c
    query = sa.select(a.challenge, sa.func.count(a.unit_id.distinct())).where(~a.silent).group_by(a.challenge)
    return {row[0]: row[1] for row in conn.execute(query)}
