"""Challenges that were done, and by whom they could be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from orchestrator.condition import Condition
from orchestrator.model import Unit
from orchestrator.store.database import bound_ids, insert_many, key_list
from orchestrator.store.segments import Segments, meant
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
    rows = conn.execute(_done_by(conn.dialect.name), {"of": unit, "ids": list(ids)})
    found: dict[int, dict[str, Done]] = {}
    for unit_id, name, times, at, quiet in rows:
        found.setdefault(unit_id, {})[name] = Done(times, at, bool(quiet))
    return found


@cache
def _done_by(dialect: str) -> sa.Select[Any]:
    a, listed = achievement.c, bound_ids(dialect)
    silent = sa.func.min(sa.case((a.silent, 1), else_=0))
    return (
        sa.select(a.unit_id, a.challenge, sa.func.count(), sa.func.max(a.at), silent)
        .join(listed, listed.c.id == a.unit_id)
        .where(a.unit == sa.bindparam("of"))
        .group_by(a.unit_id, a.challenge)
    )


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
    kept = segments.kept(
        ("fulfilling", unit, bool(but), since is None, meant(when)),
        lambda: _fulfilling(segments.audience(when, unit), unit, bool(but), since is None),
    )
    return list(conn.execute(kept.statement, kept.binds(now, of=class_name, but=but, since=since)).scalars())


def _fulfilling(audience: sa.Select[tuple[int]], unit: Unit, but: bool, ever: bool) -> sa.Select[tuple[int]]:
    table, a = customer if unit == "customer" else account, achievement.c
    query = audience.where(table.c["class"] == sa.bindparam("of")).order_by(table.c.id)
    if not but:
        return query
    mine = sa.exists().where(a.unit == unit, a.unit_id == table.c.id, a.challenge == sa.bindparam("but"))
    return query.where(~(mine if ever else mine.where(a.at > sa.bindparam("since"))).correlate(table))


def latest_deeds(conn: sa.Connection, unit: Unit, first_id: int, last_id: int) -> dict[int, datetime]:
    """When each unit last did something, of the events with first_id < id ≤ last_id. An account's are its contacts'."""
    return dict(conn.execute(_latest_deeds(unit), {"first": first_id, "last": last_id}).tuples().all())


@cache
def _latest_deeds(unit: Unit) -> sa.Select[Any]:
    owner = event.c.customer_id if unit == "customer" else event.c.account_id
    return (
        sa.select(owner, sa.func.max(event.c.occurred_at))
        .where(event.c.id > sa.bindparam("first"), event.c.id <= sa.bindparam("last"), owner.is_not(None))
        .group_by(owner)
    )


def numbers(conn: sa.Connection) -> Mapping[str, int]:
    """By challenge, how many units have done it since it was there."""
    a = achievement.c
    query = sa.select(a.challenge, sa.func.count(a.unit_id.distinct())).where(~a.silent).group_by(a.challenge)
    return {row[0]: row[1] for row in conn.execute(query)}
