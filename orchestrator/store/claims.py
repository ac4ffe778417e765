"""Rewards that were taken: how many of each there are, whose they are, and how far each one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.store.database import bound_ids, bound_keys, id_list, insert_ids
from orchestrator.store.tables import account, claim, customer

State = Literal["claimed", "handed_over", "fulfilled", "cancelled"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A claim. `voucher_id`: the code that it was answered with; `job`: the fulfilment file that it stands in."""

    id: int
    key: str
    reward: str
    unit: Unit
    unit_id: int
    customer_id: int | None
    cost: int
    voucher_id: int | None
    state: State
    job: str | None
    at: datetime
    settled_at: datetime | None


_COLUMNS = tuple(claim.c[name] for name in Taken.__dataclass_fields__)
_LIVE = claim.c.state != "cancelled"


@dataclass(frozen=True, slots=True)
class Tally:
    """Claims of a reward by state."""

    claimed: int = 0
    handed_over: int = 0
    fulfilled: int = 0
    cancelled: int = 0

    @property
    def live(self) -> int:
        """What is taken from the stock."""
        return self.claimed + self.handed_over + self.fulfilled


def by_key(conn: sa.Connection, key: str) -> Taken | None:
    """The claim that was made for this key."""
    row = conn.execute(_BY_KEY, {"of": key}).one_or_none()
    return None if row is None else Taken(*row)


_BY_KEY: Final = sa.select(*_COLUMNS).where(claim.c.key == sa.bindparam("of"))


def locked(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Taken]:
    """Claims by id, nobody else's to change until the transaction ends."""
    return {row.id: Taken(*row) for row in conn.execute(_locked(conn.dialect.name), {"ids": list(ids)})}


@cache
def _locked(dialect: str) -> sa.Select[Any]:
    mine = claim.c.id.in_(sa.select(bound_ids(dialect).c.id))
    return sa.select(*_COLUMNS).where(mine).order_by(claim.c.id).with_for_update()


def add(conn: sa.Connection, row: Mapping[str, Any]) -> int:
    """Insert a claim; its id."""
    return int(insert_ids(conn, claim, [row])[0][0])


def settle(conn: sa.Connection, ids: Iterable[int], state: State, now: datetime | None, job: str | None = None) -> None:
    """Claims that are in another state now; `job`: since they stand in that file."""
    listed = id_list(conn, ids)
    values: dict[str, Any] = {"state": state, "settled_at": now} | ({"job": job} if job is not None else {})
    conn.execute(sa.update(claim).where(claim.c.id.in_(sa.select(listed.c.id))).values(**values))


def tallies(conn: sa.Connection, rewards: Iterable[str] | None = None) -> dict[str, Tally]:
    """By reward (None: all that were ever claimed), how many claims are in which state. One statement."""
    query = _tallies(conn.dialect.name, every=rewards is None)
    found: dict[str, dict[str, int]] = {}
    for reward, state, count in conn.execute(query, {"keys": list(rewards or ())}):
        found.setdefault(reward, {})[state] = count
    return {reward: Tally(**counts) for reward, counts in found.items()}


@cache
def _tallies(dialect: str, *, every: bool) -> sa.Select[tuple[str, str, int]]:
    query = sa.select(claim.c.reward, claim.c.state, sa.func.count()).group_by(claim.c.reward, claim.c.state)
    return query if every else query.where(claim.c.reward.in_(sa.select(bound_keys(dialect).c.key)))


def taken_by(conn: sa.Connection, unit: Unit, unit_id: int) -> dict[str, int]:
    """How many of each reward a unit has, those it gave back left out."""
    return dict(conn.execute(_TAKEN_BY, {"unit": unit, "of": unit_id}).tuples().all())


_HERS: Final = sa.and_(claim.c.unit == sa.bindparam("unit"), claim.c.unit_id == sa.bindparam("of"), _LIVE)
_TAKEN_BY: Final = sa.select(claim.c.reward, sa.func.count()).where(_HERS).group_by(claim.c.reward)


def of_unit(conn: sa.Connection, unit: Unit, unit_id: int) -> list[Taken]:
    """Every claim of a unit, newest first."""
    query = sa.select(*_COLUMNS).where(claim.c.unit == unit, claim.c.unit_id == unit_id)
    return [Taken(*row) for row in conn.execute(query.order_by(claim.c.at.desc(), claim.c.id.desc()))]


# ---- for who fulfils ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parcel:
    """An open claim with whom it goes to: the customer who claimed it, at her company where the points are its."""

    claim: Taken
    erased: bool
    to: Mapping[str, str]


_TO = ("first_name", "last_name", "street", "city", "postcode", "region", "country", "email", "phone")


def open_ones(conn: sa.Connection, limit: int) -> list[Parcel]:
    """Claims that nobody has in hand, oldest first, locked. Who claims with another process at this moment is passed
    over until the next time."""
    c, a = customer.c, account.c
    names = [c[name] for name in _TO]
    query = (
        sa.select(*_COLUMNS, c.erased_at, sa.func.coalesce(a.name, c.company, "").label("company"), *names)
        .outerjoin(customer, c.id == claim.c.customer_id)
        .outerjoin(account, a.id == sa.case((claim.c.unit == "account", claim.c.unit_id), else_=c.account_id))
        .where(claim.c.state == "claimed")
        .order_by(claim.c.id)
        .limit(limit)
        .with_for_update(of=claim, skip_locked=True)
    )
    found = []
    for row in conn.execute(query):
        plain = row._mapping
        to = {"company": row.company} | {name: plain[name] or "" for name in _TO}
        found.append(Parcel(Taken(*row[: len(_COLUMNS)]), row.erased_at is not None, to))
    return found


def in_job(conn: sa.Connection, job: str, ids: Sequence[int]) -> bool:
    """Whether all of these claims were handed over in that file."""
    listed = id_list(conn, ids)
    mine = sa.and_(claim.c.id.in_(sa.select(listed.c.id)), claim.c.job == job)
    return conn.execute(sa.select(sa.func.count()).select_from(claim).where(mine)).scalar_one() == len(set(ids))
