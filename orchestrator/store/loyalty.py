"""The loyalty programme's own memory: who is touched by what is new, and the derived row of each unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.project import Project
from orchestrator.store.database import bound_among, bound_ids, insert_many, update_many
from orchestrator.store.segments import Segments
from orchestrator.store.tables import (
    UtcDateTime,
    account,
    achievement,
    claim,
    customer,
    event,
    loyalty,
    player,
    record,
    referral_code,
    voucher,
)
from orchestrator.store.versions import Settings
from orchestrator.zones import first_known


@dataclass(frozen=True, slots=True)
class Member:
    """A unit as the programme sees it. `zone`: its own stated one, a customer's account's for want of it, or None;
    `joined`: the stated day; `created_at`: when its row was made."""

    unit: Unit
    id: int
    class_name: str
    tier: str | None
    zone: str | None
    account_id: int | None
    joined: date | None
    created_at: datetime

    def tz(self, home: str) -> ZoneInfo:
        """Whose days are its own; `home`: the workspace's zone, for want of a known one."""
        return first_known(self.zone, home)


@dataclass(frozen=True, slots=True)
class Round:
    """One look of `accrue`: events with first_id < id ≤ last_id, and the units that they or newer data touch.

    `customers`, `accounts`: by id, everybody touched, whatever the class; an account is touched by its contacts' deeds.
    `types`: of its events; `arrived`: when its events came to count for a unit (had happened and were received), where
    that was before now. `kept`: what stood under the names that `accrue` asks for, when the look began. `done`: what
    the verbs did, for an operator: how many of each kind (`tick.DONE`).
    """

    conn: sa.Connection
    project: Project
    segments: Segments
    now: datetime
    first_id: int
    last_id: int
    customers: Mapping[int, Member] = field(default_factory=dict)
    accounts: Mapping[int, Member] = field(default_factory=dict)
    types: frozenset[str] = frozenset()
    arrived: Mapping[Unit, Mapping[int, set[datetime]]] = field(default_factory=dict)
    kept: Settings = field(default_factory=lambda: Settings({}))
    pools: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)

    def units(self) -> bool:
        return bool(self.customers or self.accounts)

    def among(self, unit: Unit) -> Mapping[int, Member]:
        """The touched units of a kind."""
        return self.customers if unit == "customer" else self.accounts

    def of_class(self, class_name: str, unit: Unit) -> tuple[Member, ...]:
        """The touched units whose programme that class's is."""
        return tuple(member for member in self.among(unit).values() if member.class_name == class_name)


class Waiting(NamedTuple):
    """What there is to look at: the newest event, and whether the clock has changed anybody's points or tier."""

    newest: int
    points: bool
    tiers: bool


_WAITING: Final = sa.select(
    sa.func.coalesce(sa.select(sa.func.max(event.c.id)).scalar_subquery(), 0),
    sa.exists().where(loyalty.c.points_due <= sa.bindparam("now")),
    sa.exists().where(loyalty.c.tier_due <= sa.bindparam("now")),
)


def waiting(conn: sa.Connection, now: datetime) -> Waiting:
    newest, *due = conn.execute(_WAITING, {"now": now}).one()
    return Waiting(int(newest), *map(bool, due))


def touched(
    conn: sa.Connection,
    project: Project,
    segments: Segments,
    first_id: int,
    last_id: int,
    since: datetime | None,
    now: datetime,
    kept: Settings | None = None,
) -> Round:
    """Who has events with first_id < id ≤ last_id, or was written since (None: everybody is looked at once).

    What was written in the very instant of the last look is looked at again, by the first look of a later one.
    """
    of_units: dict[Unit, set[int]] = {"customer": set(), "account": set()}
    arrived: dict[Unit, dict[int, set[datetime]]] = {"customer": {}, "account": {}}
    types: set[str] = set()
    new, written = last_id > first_id, since is None or since < now
    if new or written:
        bound = {"first": first_id, "last": last_id, "since": since}
        for customer_id, account_id, kind, at in conn.execute(_touched(new, written, since is None), bound):
            types.update([kind] if kind is not None else ())
            for unit, unit_id in zip(of_units, (customer_id, account_id), strict=True):
                if unit_id is not None:
                    of_units[unit].add(unit_id)
                    if at is not None and at < now:
                        arrived[unit].setdefault(unit_id, set()).add(at)
    customers = members(conn, "customer", sorted(of_units["customer"]))
    of_units["account"].update(m.account_id for m in customers.values() if m.account_id is not None)
    accounts = members(conn, "account", sorted(of_units["account"]))
    return Round(
        conn, project, segments, now, first_id, last_id, customers, accounts, frozenset(types), arrived,
        kept or Settings({}),
    )  # fmt: skip


@cache
def _touched(new: bool, written: bool, everybody: bool) -> Any:
    """(customer id, account id, type, when it came to count) of `new` events, and of what was `written` since; of
    that without the last two. `everybody`: since ever."""
    e, nobody = event.c, sa.cast(sa.null(), sa.BigInteger())
    nothing = sa.cast(sa.null(), sa.Text()), sa.cast(sa.null(), UtcDateTime())
    of_each = [sa.select(customer.c.id, nobody, *nothing), sa.select(nobody, account.c.id, *nothing)]
    since: sa.BindParameter[datetime] = sa.bindparam("since", type_=UtcDateTime())
    wrote = of_each if everybody else [
        of_each[0].where(customer.c.updated_at >= since),
        of_each[1].where(account.c.updated_at >= since),
        sa.select(record.c.customer_id, record.c.account_id, *nothing).where(record.c.updated_at >= since).distinct(),
    ]  # fmt: skip
    later = sa.case((e.occurred_at > e.received_at, e.occurred_at), else_=e.received_at)
    events = sa.select(e.customer_id, e.account_id, e.type, later).distinct()
    events = events.where(e.id > sa.bindparam("first"), e.id <= sa.bindparam("last"))
    return sa.union_all(*([events] if new else []), *(wrote if written else []))


def members(conn: sa.Connection, unit: Unit, ids: Sequence[int]) -> dict[int, Member]:
    """By id; customers that were merged away or erased are left out."""
    if not ids:
        return {}
    rows = conn.execute(_members(conn.dialect.name, unit), {"ids": list(ids)})
    return {row[0]: Member(unit, *row) for row in rows}


@cache
def _members(dialect: str, unit: Unit) -> sa.Select[Any]:
    listed = bound_ids(dialect)
    if unit == "account":
        a = account.c
        columns = a.id, a["class"], a.tier, a.timezone, a.id.label("account_id"), a.joined, a.created_at
        return sa.select(*columns).join(listed, listed.c.id == a.id)
    c, zone = customer.c, sa.func.coalesce(customer.c.timezone, account.c.timezone).label("timezone")
    return (
        sa.select(c.id, c["class"], c.tier, zone, c.account_id, c.joined, c.created_at)
        .join(listed, listed.c.id == c.id)
        .join(account, account.c.id == c.account_id, isouter=True)
        .where(c.merged_into.is_(None), c.erased_at.is_(None))
    )


def standing(conn: sa.Connection, unit: Unit, ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """The derived rows of these units, by unit id."""
    if not ids:
        return {}
    rows = conn.execute(_standing(conn.dialect.name), {"of": unit, "ids": list(ids)}).mappings()
    return {row["unit_id"]: dict(row) for row in rows}


@cache
def _standing(dialect: str) -> sa.Select[Any]:
    # No join: SQLite would go through the whole list for every row of that kind of unit.
    return sa.select(loyalty).where(loyalty.c.unit == sa.bindparam("of"), bound_among(dialect, loyalty.c.unit_id))


def expiring(conn: sa.Connection, unit: Unit, ids: Sequence[int]) -> list[tuple[int, date, datetime]]:
    """Of these units those whose points expire: (unit id, the last day of what goes next, when we look again)."""
    if not ids:
        return []
    return list(conn.execute(_expiring(conn.dialect.name), {"of": unit, "ids": list(ids)}).tuples())


@cache
def _expiring(dialect: str) -> sa.Select[Any]:
    c = loyalty.c
    return sa.select(c.unit_id, c.points_expire_on, c.points_due).where(
        c.unit == sa.bindparam("of"),
        bound_among(dialect, c.unit_id),
        c.points_expire_on.is_not(None),
        c.points_due.is_not(None),
    )


def write(
    conn: sa.Connection,
    unit: Unit,
    rows: Mapping[int, Mapping[str, Any]],
    now: datetime,
    there: Container[int] = (),
) -> None:
    """Set columns of the derived rows, made where there is none: two statements however many, one where all of these
    ids are known to be `there`. All rows have the same columns."""
    if not rows:
        return
    make(conn, unit, [unit_id for unit_id in rows if unit_id not in there], now)
    update_many(
        conn,
        loyalty,
        [{"unit": unit, "unit_id": unit_id, **values, "updated_at": now} for unit_id, values in rows.items()],
        where=("unit", "unit_id"),
    )


def make(conn: sa.Connection, unit: Unit, ids: Iterable[int], now: datetime) -> None:
    """Empty rows for those who have none."""
    blank = [(unit, unit_id, now) for unit_id in ids]
    insert_many(conn, loyalty, blank, columns=("unit", "unit_id", "updated_at"), ignore_conflicts=True)


def carry_over(conn: sa.Connection, keep: int, drop: int, now: datetime) -> None:
    """What the programme holds of a customer who is merged away is the one's who stays, by ids. Points stay where they
    are, in an append-only ledger, and are read with hers (`points.owners`): the next look works out the balance. So do
    tickets: a draw is checked by whose they were. Of referrals: `merging`."""
    for table in (voucher, claim, achievement, referral_code):
        mine = sa.and_(table.c.unit == "customer", table.c.unit_id == drop)
        conn.execute(sa.update(table).where(mine).values(unit_id=keep))
    for table in (voucher, claim):
        conn.execute(sa.update(table).where(table.c.customer_id == drop).values(customer_id=keep))
    other = referral_code.alias("other")
    same = sa.exists().where(
        other.c.unit == referral_code.c.unit, other.c.unit_id == referral_code.c.unit_id, other.c.customer_id == keep
    )
    conn.execute(sa.update(referral_code).where(referral_code.c.customer_id == drop, ~same).values(customer_id=keep))
    plays = sa.and_(player.c.unit == "customer", player.c.unit_id == drop)
    if conn.execute(sa.select(player.c.unit_id).where(player.c.unit == "customer", player.c.unit_id == keep)).first():
        conn.execute(sa.delete(player).where(plays))
    else:
        conn.execute(sa.update(player).where(plays).values(unit_id=keep))
    had = conn.execute(sa.delete(loyalty).where(loyalty.c.unit == "customer", loyalty.c.unit_id == drop)).rowcount
    if had:
        write(conn, "customer", {keep: {"points_due": now}}, now)
    # What she did under the other name may make her a member for another time: nobody passes her over.
    mine = sa.and_(loyalty.c.unit == "customer", loyalty.c.unit_id == keep)
    conn.execute(sa.update(loyalty).where(mine).values(tier_due=now))
