"""Voucher codes: pools of them, whom each was given to, and what became of it.

A code is as good as money to whoever reads it. Nothing here puts one into an exception, an event or a log; `Code`
shows only its last characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.store.database import id_list, insert_many, key_list, update_many
from orchestrator.store.people import take_turns
from orchestrator.store.tables import account, claim, customer, event, loyalty, voucher

SHOWN = 3
"""How many of a code's last characters are shown where people look at lists."""


@dataclass(frozen=True, slots=True)
class Code:
    """One voucher. `code` is the secret, and not in the repr; `expires_on` the last day, None for ever."""

    id: int
    pool: str
    code: str = field(repr=False)
    unit: Unit | None
    unit_id: int | None
    customer_id: int | None
    given_key: str | None
    given_at: datetime | None
    expires_on: date | None
    redeemed_at: datetime | None
    redeemed_key: str | None = field(repr=False)
    void_at: datetime | None

    @property
    def masked(self) -> str:
        """As it is listed: `…A7K`."""
        return mask(self.code)


_COLUMNS = tuple(voucher.c[name] for name in Code.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Level:
    """How many codes of a pool are in which state; every code is in one. `given`: with somebody, and still good."""

    free: int = 0
    given: int = 0
    redeemed: int = 0
    expired: int = 0
    void: int = 0

    @property
    def codes(self) -> int:
        return self.free + self.given + self.redeemed + self.expired + self.void


def mask(code: str) -> str:
    """A code as it may stand in a list."""
    return "…" + code[-SHOWN:] if len(code) > SHOWN else "…"


# ---- filling and giving ---------------------------------------------------------------------------------------------


def add(conn: sa.Connection, pool: str, codes: Sequence[str], now: datetime) -> dict[str, str]:
    """Put new codes into a pool; those that were there already, each with its pool. No code is in two pools: a till
    knows only the code. Two statements."""
    take_turns(conn, "voucher")
    listed = key_list(conn, codes)
    query = sa.select(voucher.c.code, voucher.c.pool).join(listed, listed.c.key == voucher.c.code)
    known = {row.code: row.pool for row in conn.execute(query)}
    fresh = [(pool, code, now) for code in dict.fromkeys(codes) if code not in known]
    insert_many(conn, voucher, fresh, columns=("pool", "code", "created_at"))
    return known


def take(conn: sa.Connection, pool: str, count: int) -> list[tuple[int, str]]:
    """(id, code) of up to so many free ones, lowest id first; nobody else gets these before the transaction ends. One
    statement. Codes that another transaction holds at this moment are passed over."""
    query = (
        sa.select(voucher.c.id, voucher.c.code)
        .where(voucher.c.pool == pool, voucher.c.given_at.is_(None), voucher.c.void_at.is_(None))
        .order_by(voucher.c.id)
        .limit(count)
        .with_for_update(skip_locked=True)
    )
    return [(row.id, row.code) for row in conn.execute(query)]


def given_for(conn: sa.Connection, keys: Iterable[str]) -> dict[str, Code]:
    """Codes by what they were given for. One statement."""
    listed = key_list(conn, keys)
    query = sa.select(*_COLUMNS).join(listed, listed.c.key == voucher.c.given_key)
    return {row.given_key: Code(*row) for row in conn.execute(query)}


def owed(
    conn: sa.Connection, class_name: str, unit: Unit, first: int, since: datetime, limit: int
) -> list[tuple[int, int]]:
    """(event id, unit id) of memberships that began after `since`, by an event from the number `first` on, still hold
    in this class and have no code of `benefit_key`: of those the first ones. Nobody who was merged into another. One
    statement."""
    e, table = event.c, customer if unit == "customer" else account
    whose = e.customer_id if unit == "customer" else e.account_id
    own = sa.literal(f"{class_name}:{unit}:") + sa.cast(whose, sa.Text) + sa.literal(":")
    key = sa.literal(benefit_key(class_name, unit, "")) + sa.cast(whose, sa.Text)
    query = (
        sa.select(e.id, whose)
        .join(loyalty, sa.and_(loyalty.c.unit == unit, loyalty.c.unit_id == whose, loyalty.c.member == "active"))
        .join(table, sa.and_(table.c.id == whose, table.c["class"] == class_name))
        .where(e.type == "membership_started", e.id >= first, e.occurred_at > since)
        .where(sa.func.substr(e.key, 1, sa.func.length(own)) == own, ~sa.exists().where(voucher.c.given_key == key))
        .where(*([customer.c.erased_at.is_(None)] if unit == "customer" else []))
        .order_by(e.id)
        .limit(limit)
    )
    return [(event_id, unit_id) for event_id, unit_id in conn.execute(query)]


def benefit_key(class_name: str, unit: Unit, unit_id: int | str) -> str:
    """What the code of joining is given for: one for each unit and class, however often it joins."""
    return f"membership:{class_name}:{unit}:{unit_id}"


def hand_out(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write to whom codes were given: `id` and every column of the giving. One statement."""
    update_many(conn, voucher, rows, where=("id",))


def last_given(conn: sa.Connection, rows: Iterable[tuple[str, Unit, int]]) -> dict[tuple[str, Unit, int], Code]:
    """Of each (pool, unit, unit id) the code that a step gave last, neither redeemed nor void, locked. One
    statement."""
    wanted = set(rows)
    pools, ids = key_list(conn, {pool for pool, _, _ in wanted}), id_list(conn, {unit_id for _, _, unit_id in wanted})
    v = voucher.c
    query = (
        sa.select(*_COLUMNS)
        .where(
            v.pool.in_(sa.select(pools.c.key)),
            v.unit_id.in_(sa.select(ids.c.id)),
            v.enrollment_id.is_not(None),
            v.redeemed_at.is_(None),
            v.void_at.is_(None),
        )
        .order_by(v.given_at, v.id)
        .with_for_update()
    )
    found = [Code(*row) for row in conn.execute(query)]
    by_owner = {(code.pool, code.unit, code.unit_id): code for code in found}
    return {key: by_owner[key] for key in sorted(wanted) if key in by_owner}


def put_back(conn: sa.Connection, codes: Sequence[Code], now: datetime) -> None:
    """Make locked codes free again: each is a new row, and the old one, which says who had it, is void and keeps the
    code with its own id behind it. Two statements."""
    update_many(conn, voucher, [{"id": c.id, "code": f"{c.code}~{c.id}", "void_at": now} for c in codes], where=("id",))
    insert_many(conn, voucher, [(c.pool, c.code, now) for c in codes], columns=("pool", "code", "created_at"))


# ---- what became of them --------------------------------------------------------------------------------------------


def locked(conn: sa.Connection, codes: Iterable[str]) -> dict[str, Code]:
    """These codes as they are, nobody else's to change until the transaction ends. One statement."""
    listed = key_list(conn, codes)
    query = sa.select(*_COLUMNS).where(voucher.c.code.in_(sa.select(listed.c.key))).order_by(voucher.c.id)
    return {row.code: Code(*row) for row in conn.execute(query.with_for_update())}


def locked_by_id(conn: sa.Connection, voucher_id: int) -> Code:
    """One of them, as `locked`."""
    return Code(*conn.execute(sa.select(*_COLUMNS).where(voucher.c.id == voucher_id).with_for_update()).one())


def redeemed(conn: sa.Connection, rows: Sequence[tuple[int, datetime, str]]) -> None:
    """Note the redemption of locked codes: (id, at, the till's receipt). One statement."""
    told = [{"id": i, "redeemed_at": at, "redeemed_key": receipt} for i, at, receipt in rows]
    update_many(conn, voucher, told, where=("id",))


def void(conn: sa.Connection, voucher_id: int, now: datetime) -> None:
    """A code that cannot be given or redeemed any more."""
    conn.execute(sa.update(voucher).where(voucher.c.id == voucher_id).values(void_at=now))


# ---- looking --------------------------------------------------------------------------------------------------------


def levels(conn: sa.Connection, today: date, pools: Iterable[str] | None = None) -> dict[str, Level]:
    """By pool (None: all that have codes), how many codes are in which state; `today` tells what has expired. One
    statement."""
    v = voucher.c
    state = sa.case(
        (v.void_at.is_not(None), "void"),
        (v.redeemed_at.is_not(None), "redeemed"),
        (v.given_at.is_(None), "free"),
        (v.expires_on < today, "expired"),
        else_="given",
    ).label("state")
    query = sa.select(v.pool, state, sa.func.count()).group_by(v.pool, state)
    if pools is not None:
        listed = key_list(conn, pools)
        query = query.where(v.pool.in_(sa.select(listed.c.key)))
    found: dict[str, dict[str, int]] = {}
    for pool, name, count in conn.execute(query):
        found.setdefault(pool, {})[name] = count
    return {pool: Level(**counts) for pool, counts in sorted(found.items())}


def free(conn: sa.Connection, pools: Iterable[str]) -> dict[str, int]:
    """How many free codes these pools have; those without any are nought. One statement, on an index."""
    wanted = dict.fromkeys(pools, 0)
    listed = key_list(conn, wanted)
    query = (
        sa.select(voucher.c.pool, sa.func.count())
        .where(voucher.c.given_at.is_(None), voucher.c.void_at.is_(None), voucher.c.pool.in_(sa.select(listed.c.key)))
        .group_by(voucher.c.pool)
    )
    return wanted | dict(conn.execute(query).tuples().all())


def latest(conn: sa.Connection, enrollment_ids: Iterable[int]) -> dict[int, tuple[str, date | None, str]]:
    """What steps of these runs gave last, by enrollment: (code, last day or None, pool). For texts that name
    `voucher`. One statement; codes that were voided are left out."""
    listed = id_list(conn, enrollment_ids)
    v = voucher.c
    query = (
        sa.select(v.enrollment_id, v.code, v.expires_on, v.pool)
        .join(listed, listed.c.id == v.enrollment_id)
        .where(v.void_at.is_(None))
        .order_by(v.given_at, v.id)
    )
    return {row.enrollment_id: (row.code, row.expires_on, row.pool) for row in conn.execute(query)}


def of_events(conn: sa.Connection, event_ids: Iterable[int]) -> dict[int, tuple[str, date | None, str]]:
    """The codes that these events tell of (voucher_given, reward_claimed), by event, as `latest`. A code is told to
    nobody but those it was given to, whatever an event says. Two statements."""
    listed, e, v = id_list(conn, event_ids), event.c, voucher.c
    told = sa.select(e.id, e.type, e.key, e.customer_id, e.account_id).join(listed, listed.c.id == e.id)
    by_type: dict[str, dict[int, sa.Row[Any]]] = {"voucher_given": {}, "reward_claimed": {}}
    for row in conn.execute(told.where(e.type.in_(by_type))):
        number = row.key.partition(":")[2]
        if number.isascii() and number.isdecimal() and len(number) < 19:
            by_type[row.type][int(number)] = row
    if not any(by_type.values()):
        return {}
    given, claimed = id_list(conn, by_type["voucher_given"]), id_list(conn, by_type["reward_claimed"])
    query = (
        sa.select(v.id, v.code, v.expires_on, v.pool, v.unit, v.unit_id, claim.c.id.label("claim_id"))
        .join(claim, claim.c.voucher_id == v.id, isouter=True)
        .where(sa.or_(v.id.in_(sa.select(given.c.id)), claim.c.id.in_(sa.select(claimed.c.id))), v.void_at.is_(None))
    )
    found = {}
    for code in conn.execute(query):
        for told_of in (by_type["voucher_given"].get(code.id), by_type["reward_claimed"].get(code.claim_id)):
            if told_of is None:
                continue
            whose = told_of.customer_id if code.unit == "customer" else told_of.account_id
            if whose == code.unit_id:
                found[told_of.id] = (code.code, code.expires_on, code.pool)
    return found


def of_unit(conn: sa.Connection, unit: Unit, unit_id: int) -> list[Code]:
    """Every code that was given to a unit, newest first."""
    query = sa.select(*_COLUMNS).where(voucher.c.unit == unit, voucher.c.unit_id == unit_id)
    return [Code(*row) for row in conn.execute(query.order_by(voucher.c.given_at.desc(), voucher.c.id.desc()))]
