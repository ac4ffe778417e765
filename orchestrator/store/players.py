"""Leaderboards: who wants to stand on one, under what name, and where they stand."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.pseudonym import SPACE, drawn, problem
from orchestrator.store.database import insert_many
from orchestrator.store.draws import earned
from orchestrator.store.people import take_turns
from orchestrator.store.tables import account, customer, player

_TRIES = 50


class Refused(Exception):
    """Why a name cannot be had, for who chose it."""


class Place(NamedTuple):
    """A line of a leaderboard. `rank`: who has as many has the same, and the next is counted on. `unit_id` is ours."""

    rank: int
    name: str
    points: int
    unit_id: int


def join(conn: sa.Connection, unit: Unit, unit_id: int, name: str, now: datetime) -> str:
    """Put a unit on its class's leaderboard; returns the name it stands under: the one it chose or, for "", one that is
    drawn (who stands there keeps what she has). Raises Refused."""
    take_turns(conn, "player")
    there = name_of(conn, unit, unit_id)
    name = " ".join(name.split())
    if not name and there is not None:
        return there
    if name:
        if why := problem(name, _own(conn, unit, unit_id)):
            raise Refused(why)
        if name != there and _taken(conn, name, unit, unit_id):
            raise Refused("somebody else plays under this name: choose another one")
    else:
        candidates = (drawn(secrets.randbelow(SPACE)) for _ in range(_TRIES))
        name = next((one for one in candidates if not _taken(conn, one, unit, unit_id)), "")
        if not name:
            raise Refused("no free name was found: choose one")
    p = player.c
    if there is None:
        row = {"unit": unit, "unit_id": unit_id, "name": name, "since": now}
        insert_many(conn, player, [row])
    else:
        conn.execute(sa.update(player).where(p.unit == unit, p.unit_id == unit_id).values(name=name))
    return name


def leave(conn: sa.Connection, unit: Unit, unit_id: int) -> bool:
    """Take a unit off; whether it stood there."""
    p = player.c
    return conn.execute(sa.delete(player).where(p.unit == unit, p.unit_id == unit_id)).rowcount > 0


def name_of(conn: sa.Connection, unit: Unit, unit_id: int) -> str | None:
    """What a unit plays under; None where it does not."""
    p = player.c
    found = conn.execute(sa.select(p.name).where(p.unit == unit, p.unit_id == unit_id)).scalar_one_or_none()
    return None if found is None else str(found)


def _taken(conn: sa.Connection, name: str, unit: Unit, unit_id: int) -> bool:
    """Also by one that only looks the same: without case, and in Python, for SQLite folds ASCII alone."""
    p = player.c
    others = ~sa.and_(p.unit == unit, p.unit_id == unit_id)
    rows = conn.execute(sa.select(p.name).where(others, sa.func.length(p.name) == len(name))).scalars()
    return any(one.casefold() == name.casefold() for one in rows)


def _own(conn: sa.Connection, unit: Unit, unit_id: int) -> Iterable[str]:
    """What somebody could be recognised by; of an account also the names of its contacts."""
    c = customer.c
    query = sa.select(c.first_name, c.last_name, c.email, c.phone, c.company, c.key)
    whose = c.id == unit_id if unit == "customer" else c.account_id == unit_id
    found = {value for row in conn.execute(query.where(whose)) for value in row if value}
    if unit == "account":
        found |= {
            value for row in conn.execute(sa.select(account.c.key).where(account.c.id == unit_id)) for value in row
        }
    return found


def leaderboard(
    conn: sa.Connection,
    class_name: str,
    unit: Unit,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 10,
    of: int | None = None,
) -> list[Place]:
    """The first `limit` places of a class by points earned in [since, until), and the place of the unit `of` behind
    them where it is not among them. Only who has joined is on it, and counted."""
    table = customer if unit == "customer" else account
    sums: Any = earned(unit, since, until).subquery()
    score = sa.func.coalesce(sums.c.points, 0)
    rank = sa.func.rank().over(order_by=score.desc())
    p = player.c
    query = (
        sa.select(rank.label("rank"), p.name, score.label("points"), p.unit_id)
        .join(table, table.c.id == p.unit_id)
        .outerjoin(sums, sums.c.unit_id == p.unit_id)
        .where(p.unit == unit, table.c["class"] == class_name)
    )
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
    ranked = query.subquery()
    ordered = sa.select(ranked).order_by(ranked.c.rank, ranked.c.name)
    found = [_place(row) for row in conn.execute(ordered.limit(limit))]
    if of is not None and all(one.unit_id != of for one in found):
        found += [_place(row) for row in conn.execute(ordered.where(ranked.c.unit_id == of))]
    return found


def _place(row: Any) -> Place:
    return Place(int(row.rank), row.name, int(row.points), row.unit_id)
