"""Draws: what was committed to, who has tickets, what was drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator.lottery import Entry, Published, commitment, entry
from orchestrator.model import Unit
from orchestrator.program import Draw
from orchestrator.store.database import bound_keys, insert_many
from orchestrator.store.tables import account, achievement, claim, customer, draw, point_entry, ticket, voucher

EARNED = ("earn", "award")
"""Kinds of point entries that earn, where they count towards tiers; what was taken back of them is not earned."""


class Chance(NamedTuple):
    """A ticket before it has a number. `key`: what it is for."""

    key: str
    unit_id: int
    at: datetime


class Drawn(NamedTuple):
    """A draw as it stands."""

    name: str
    opened_at: datetime
    seed: bytes
    commitment: str
    entries: str | None
    drawn_at: datetime | None
    winners: list[int] | None

    def published(self) -> Published:
        """What may be known of it by now: of one that was not drawn, never the seed."""
        if self.drawn_at is None:
            return Published(self.name, self.commitment)
        return Published(self.name, self.commitment, self.entries or "", self.seed, tuple(self.winners or ()))


class Winner(NamedTuple):
    place: int
    number: int
    unit: Unit
    unit_id: int


_ALL: Final = sa.select(draw).order_by(draw.c.opened_at, draw.c.name)


def all_draws(conn: sa.Connection) -> dict[str, Drawn]:
    """By name: class/name."""
    rows = conn.execute(_ALL).all()
    return {row.name: Drawn(*row)._replace(seed=bytes(row.seed)) for row in rows}


def opened(conn: sa.Connection, name: str, seed: bytes, now: datetime) -> None:
    """Commit to a seed; one that is open keeps its own."""
    row = {"name": name, "opened_at": now, "seed": seed, "commitment": commitment(seed)}
    insert_many(conn, draw, [row], ignore_conflicts=True)


def drawn(
    conn: sa.Connection,
    name: str,
    unit: Unit,
    chances: Sequence[Chance],
    entries: str,
    winners: Sequence[int],
    now: Any,
) -> None:
    """Write the tickets by number, and who won."""
    rows = [(name, n, f"{name}:{one.key}", unit, one.unit_id, one.at) for n, one in enumerate(chances)]
    insert_many(conn, ticket, rows, columns=("draw", "number", "key", "unit", "unit_id", "at"))
    conn.execute(
        sa.update(draw).where(draw.c.name == name).values(entries=entries, drawn_at=now, winners=list(winners))
    )


def entries(conn: sa.Connection, name: str) -> list[Entry]:
    """The tickets as they are published, by number."""
    t = ticket.c
    query = sa.select(t.number, t.key, t.unit, t.unit_id).where(t.draw == name).order_by(t.number)
    return [entry(name, *row) for row in conn.execute(query)]


def owners(conn: sa.Connection, name: str, numbers: Sequence[int]) -> list[Winner]:
    """Whose tickets these are, in their order: of a merged customer, the one she was merged into."""
    t = ticket.c
    query = (
        sa.select(t.number, t.unit, sa.func.coalesce(customer.c.merged_into, t.unit_id))
        .outerjoin(customer, sa.and_(t.unit == "customer", customer.c.id == t.unit_id))
        .where(t.draw == name, t.number.in_(list(numbers)))
    )
    of = {number: (unit, unit_id) for number, unit, unit_id in conn.execute(query)}
    return [Winner(place, n, *of[n]) for place, n in enumerate(numbers, 1) if n in of]


def given(conn: sa.Connection, keys: Iterable[str], *, of_pool: bool) -> set[str]:
    """Those of these keys for which a prize was given: a code of a pool, or a claim."""
    return set(conn.execute(_given(conn.dialect.name, of_pool), {"keys": list(keys)}).scalars())


@cache
def _given(dialect: str, of_pool: bool) -> sa.Select[Any]:
    listed, key = bound_keys(dialect), voucher.c.given_key if of_pool else claim.c.key
    return sa.select(key).join(listed, listed.c.key == key)


def keys(conn: sa.Connection, name: str, numbers: Sequence[int]) -> dict[int, str]:
    """What the outside calls the owners of these tickets."""
    found: dict[int, str] = {}
    for one in owners(conn, name, numbers):
        table = customer if one.unit == "customer" else account
        key = conn.execute(sa.select(table.c.key).where(table.c.id == one.unit_id)).scalar_one_or_none()
        if key is not None:
            found[one.number] = key
    return found


# ---- what gives tickets ---------------------------------------------------------------------------------------------


def by_challenges(
    conn: sa.Connection, names: Iterable[str], unit: Unit, since: datetime, until: datetime
) -> list[Chance]:
    """One for each time that one of these challenges was done in [since, until)."""
    a = achievement.c
    query = sa.select(a.key, a.unit_id, a.at).where(
        a.unit == unit, a.challenge.in_(sorted(names)), ~a.silent, a.at >= since, a.at < until
    )
    return [Chance(*row) for row in conn.execute(query)]


def own_chances(
    conn: sa.Connection,
    rule: Draw,
    names: Iterable[str],
    unit: Unit,
    ids: Sequence[int],
    since: datetime,
    until: datetime,
) -> int:
    """How many tickets one unit would have. `names`: the challenges that give one; `ids`: of the unit, and of who was
    merged into it. One statement."""
    if rule.entry == "each":
        return 1
    if rule.entry == "points":
        rows = conn.execute(earned(unit, since, until, ids)).all()
        return sum(int(row.points) // max(rule.per_points, 1) for row in rows if row.points > 0)
    a = achievement.c
    mine = (a.unit == unit, a.unit_id.in_(list(ids)), a.challenge.in_(sorted(names)), ~a.silent)
    query = sa.select(sa.func.count()).where(*mine, a.at >= since, a.at < until)
    return int(conn.execute(query).scalar_one())


def own_tickets(conn: sa.Connection, names: Sequence[str], unit: Unit, ids: Sequence[int]) -> dict[str, list[int]]:
    """The numbers of one unit's tickets in draws that are over, by draw."""
    t = ticket.c
    query = sa.select(t.draw, t.number).where(t.draw.in_(list(names)), t.unit == unit, t.unit_id.in_(list(ids)))
    found: dict[str, list[int]] = {}
    for name, number in conn.execute(query.order_by(t.draw, t.number)):
        found.setdefault(name, []).append(number)
    return found


def earned(
    unit: Unit, since: datetime | None, until: datetime | None, ids: Sequence[int] | None = None
) -> sa.Select[Any]:
    """SELECT unit_id, points, at: points earned in [since, until), net of what was taken back of them; `at` the last
    earning. Of a merged customer, the one she was merged into. `ids`: in these units' entries alone."""
    e, of = point_entry, point_entry.alias("of")
    at, kind, counts = (sa.func.coalesce(of.c[name], e.c[name]) for name in ("at", "kind", "counts"))
    source = e.outerjoin(of, of.c.id == e.c.of_id)
    owner: Any = e.c.unit_id
    if unit == "customer":
        source = source.join(customer, customer.c.id == e.c.unit_id)
        owner = sa.func.coalesce(customer.c.merged_into, customer.c.id)
    query = sa.select(owner.label("unit_id"), sa.func.sum(e.c.points).label("points"), sa.func.max(at).label("at"))
    query = query.select_from(source).where(
        e.c.unit == unit, kind.in_(EARNED), counts, e.c.kind.in_((*EARNED, "reverse"))
    )
    if ids is not None:
        query = query.where(e.c.unit_id.in_(list(ids)))
    if since is not None:
        query = query.where(at >= since)
    if until is not None:
        query = query.where(at < until)
    return query.group_by(owner)


def by_points(conn: sa.Connection, unit: Unit, per: int, since: datetime, until: datetime) -> list[Chance]:
    """One for each `per` points that were earned in [since, until)."""
    found = []
    for unit_id, points, at in conn.execute(earned(unit, since, until)):
        found += [Chance(f"points:{unit}:{unit_id}:{n}", unit_id, at) for n in range(1, int(points) // per + 1)]
    return found


def living(conn: sa.Connection, class_name: str, unit: Unit) -> sa.Select[tuple[int]]:
    """Units of a class; customers that were merged away or erased are left out."""
    table = customer if unit == "customer" else account
    query = sa.select(table.c.id).where(table.c["class"] == class_name)
    return (
        query.where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None)) if unit == "customer" else query
    )
