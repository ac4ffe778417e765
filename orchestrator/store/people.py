"""Customers, accounts and what is theirs: upserts by set. A fixed number of statements per batch."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from zlib import crc32

import sqlalchemy as sa

from orchestrator.store.database import (
    allocate_ids,
    bound_ids,
    bound_keys,
    insert_ids,
    insert_many,
    key_list,
    update_many,
)
from orchestrator.store.tables import (
    account,
    customer,
    event,
    tier_change,
)

Outcome = Literal["inserted", "updated", "unchanged"]


def take_turns(conn: sa.Connection, *names: str) -> None:
    """Until this transaction ends, nobody else who takes one of these names gets past this line.

    SQLite has one writer anyway. On PostgreSQL two transactions may commit in another order than they took their ids;
    a reader that remembers the highest id it saw ("events after 4711") would then miss one for ever. So whoever
    inserts into `event` or `tier_change` takes turns by the table's name.
    """
    if conn.dialect.name == "postgresql":
        for name in sorted(names):
            conn.execute(sa.text("SELECT pg_advisory_xact_lock(:space, :n)"), {"space": 0x0CA3, "n": _signed(name)})


def step_in(conn: sa.Connection, name: str) -> None:
    """Until this transaction ends, nobody who takes turns by this name gets past; others who step in do.

    Who appends to the log steps in before taking ids: `seal` takes its turn to know that no smaller id will appear.
    """
    if conn.dialect.name == "postgresql":
        values = {"space": 0x0CA3, "n": _signed(name)}
        conn.execute(sa.text("SELECT pg_advisory_xact_lock_shared(:space, :n)"), values)


def _signed(name: str) -> int:
    return crc32(name.encode()) - 2**31


# ---- who is who -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """What a key stands for: the customer to write to (the one it was merged into), and that one's account."""

    id: int
    account_id: int | None


def find_customers(conn: sa.Connection, keys: Iterable[str]) -> dict[str, Person]:
    """Customers by key. A key that was merged away finds the one it went into."""
    wanted = list(set(keys))
    rows = conn.execute(_customers(conn.dialect.name), {"keys": wanted}).tuples() if wanted else ()
    return {key: Person(found, of) for key, found, of in rows}


@cache
def _customers(dialect: str) -> sa.Select[tuple[str, int, int | None]]:
    listed, kept = bound_keys(dialect), customer.alias("kept")
    # Merging keeps chains one link long.
    return (
        sa.select(customer.c.key, kept.c.id, kept.c.account_id)
        .join(listed, listed.c.key == customer.c.key)
        .join(kept, kept.c.id == sa.func.coalesce(customer.c.merged_into, customer.c.id))
    )


def find_accounts(conn: sa.Connection, keys: Iterable[str]) -> dict[str, int]:
    """Accounts' ids by key."""
    wanted = list(set(keys))
    return dict(conn.execute(_accounts(conn.dialect.name), {"keys": wanted}).tuples().all()) if wanted else {}


@cache
def _accounts(dialect: str) -> sa.Select[tuple[str, int]]:
    listed = bound_keys(dialect)
    return sa.select(account.c.key, account.c.id).join(listed, listed.c.key == account.c.key)


def countries(conn: sa.Connection, keys: Iterable[str]) -> dict[str, str]:
    """Customers' countries by key, of those that have one."""
    listed = key_list(conn, set(keys))
    query = sa.select(customer.c.key, customer.c.country).join(listed, listed.c.key == customer.c.key)
    return {row.key: row.country for row in conn.execute(query.where(customer.c.country.is_not(None)))}


def ancestors(conn: sa.Connection, keys: Iterable[str]) -> dict[str, str | None]:
    """Account key → its parent's key (None at the top), for these accounts and all above them."""
    listed = key_list(conn, set(keys))
    up = (
        sa.select(account.c.id, account.c.key, account.c.parent_id)
        .join(listed, listed.c.key == account.c.key)
        .cte("up", recursive=True)
    )
    above = account.alias("above")
    # UNION without ALL: were there ever a cycle, this would still end.
    up = up.union(sa.select(above.c.id, above.c.key, above.c.parent_id).join(up, above.c.id == up.c.parent_id))
    rows = conn.execute(sa.select(up.c.id, up.c.key, up.c.parent_id)).all()
    key_of = {row.id: row.key for row in rows}
    return {row.key: key_of.get(row.parent_id) for row in rows}


# ---- their keys -----------------------------------------------------------------------------------------------------

_SALT = 32


def salts(conn: sa.Connection, customer_ids: Iterable[int], *, make: bool = True) -> dict[int, bytes]:
    """Customer id → what makes the person's own key (`Keys.person_key`); whoever was erased is missing from it.

    Those who have none yet get one in this transaction, locked by id; without `make` they are missing too, and
    nothing is written. One statement where all have one, else at most four.
    """
    wanted = set(customer_ids)
    if not wanted:
        return {}
    known, bare = _read_salts(conn, wanted)
    if not bare or not make:
        return known
    # Two may see the same person without a salt: the second waits here, and finds the first one's.
    locked = conn.execute(_to_salt(conn.dialect.name), {"ids": sorted(bare)}).scalars().all()
    made = {i: secrets.token_bytes(_SALT) for i in locked}
    update_many(conn, customer, [{"id": i, "salt": salt} for i, salt in made.items()], where=("id",))
    known |= made
    if missed := bare - made.keys():
        known |= _read_salts(conn, missed)[0]
    return known


def _read_salts(conn: sa.Connection, ids: Iterable[int]) -> tuple[dict[int, bytes], set[int]]:
    """Salts by id, and who has none but may have one."""
    known: dict[int, bytes] = {}
    bare: set[int] = set()
    for customer_id, salt, erased_at in conn.execute(_salted(conn.dialect.name), {"ids": sorted(ids)}):
        if erased_at is not None:
            continue
        if salt is None:
            bare.add(customer_id)
        else:
            known[customer_id] = bytes(salt)
    return known, bare


@cache
def _salted(dialect: str) -> sa.Select[Any]:
    listed = bound_ids(dialect)
    return sa.select(customer.c.id, customer.c.salt, customer.c.erased_at).join(listed, listed.c.id == customer.c.id)


@cache
def _to_salt(dialect: str) -> sa.Select[Any]:
    c = customer.c
    bare = sa.and_(c.id.in_(sa.select(bound_ids(dialect).c.id)), c.salt.is_(None), c.erased_at.is_(None))
    return sa.select(c.id).where(bare).order_by(c.id).with_for_update(key_share=True)


# ---- upserts --------------------------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """One row as it should be. Columns and members that are not named keep what they have; a member None goes away."""

    identity: tuple[str, ...]
    values: dict[str, Any]
    members: Mapping[str, Any] = MappingProxyType({})


IDENTITY: Mapping[str, tuple[str, ...]] = {
    "customer": ("key",),
    "account": ("key",),
    "device": ("token",),
    "record": ("type", "key"),
    "support_case": ("key",),
}
_MEMBERS: Mapping[str, str] = {"customer": "attributes", "account": "attributes", "record": "fields"}


def current(
    conn: sa.Connection, table: sa.Table, identities: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[str, Any]]:
    """Whole rows by identity, nobody else's to change until the transaction ends."""
    take_turns(conn, table.name)
    names = IDENTITY[table.name]
    wanted = set(identities)
    if not wanted:
        return {}
    keys = list({identity[-1] for identity in wanted})
    found = {}
    for row in conn.execute(_rows(table, conn.dialect.name), {"keys": keys}).mappings():
        identity = tuple(row[name] for name in names)
        if identity in wanted:
            found[identity] = dict(row)
    return found


@cache
def _rows(table: sa.Table, dialect: str) -> sa.Select[Any]:
    mine = table.c[IDENTITY[table.name][-1]].in_(sa.select(bound_keys(dialect).c.key))
    # In order of id: two transactions that lock the same rows wait for one another and not in a circle.
    return sa.select(table).where(mine).order_by(table.c.id).with_for_update()


def upsert(
    conn: sa.Connection,
    table: sa.Table,
    wanted: Sequence[Wanted],
    rows: dict[tuple[str, ...], dict[str, Any]],
    *,
    now: datetime,
) -> list[Outcome]:
    """Insert what is new, update what differs, leave the rest alone; says which it was of each. Three statements.

    `rows` is what `current` found of them in this transaction; it is changed in place. The comparison is made here and
    not by the database, because members of Json columns are merged one by one and because the caller needs to know what
    each row was before. Rows that come twice are applied one after the other.
    """
    names, members = IDENTITY[table.name], _MEMBERS.get(table.name)
    fresh: dict[tuple[str, ...], dict[str, Any]] = {}
    touched: dict[tuple[str, ...], dict[str, Any]] = {}
    blank = _blank(table, now)
    outcomes: list[Outcome] = []
    for w in wanted:
        row = rows.get(w.identity)
        if row is None:
            row = blank | dict(zip(names, w.identity, strict=True)) | w.values
            if members:
                row[members] = {k: v for k, v in w.members.items() if v is not None}
            rows[w.identity] = fresh[w.identity] = row
            outcomes.append("inserted")
        elif _apply(row, w, members):
            if "updated_at" in row:
                row["updated_at"] = now
            if w.identity not in fresh:
                touched[w.identity] = row
            outcomes.append("updated")
        else:
            outcomes.append("unchanged")
    if fresh:
        for row, new_id in zip(fresh.values(), allocate_ids(conn, table, len(fresh)), strict=True):
            row["id"] = new_id
        insert_many(conn, table, list(fresh.values()))
    if touched:
        fixed = {*names, "created_at"}
        changed = [{k: v for k, v in row.items() if k not in fixed} for row in touched.values()]
        update_many(conn, table, changed, where=("id",))
    return outcomes


def _blank(table: sa.Table, now: datetime) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys(c.name for c in table.columns)
    if "name" in blank:
        blank["name"] = ""
    return blank | {c: now for c in ("created_at", "updated_at") if c in blank}


def _apply(row: dict[str, Any], wanted: Wanted, members: str | None) -> bool:
    changed = False
    for column, value in wanted.values.items():
        if row[column] != value:
            row[column] = value
            changed = True
    if members and wanted.members:
        old = row[members]
        new = {**old, **wanted.members}
        new = {k: v for k, v in new.items() if v is not None}
        # True == 1 in Python, and not in the database.
        if new != old or any(type(new[k]) is not type(old[k]) for k in new):
            row[members] = new
            changed = True
    return changed


class TierChange(NamedTuple):
    """`direction` is up, down or set, by the order of the class's tiers. `reason`: "" somebody set it (an import), else
    one of `ladder.REASONS`; `at`: when it came true, None the moment it is written."""

    unit: str
    unit_id: int
    class_name: str
    from_tier: str | None
    to_tier: str | None
    direction: str
    reason: str = ""
    at: datetime | None = None


def add_tier_changes(conn: sa.Connection, rows: Sequence[TierChange], now: datetime) -> None:
    """Append to the ledger of tiers; ids grow in the order of commits."""
    if rows:
        take_turns(conn, "tier_change")
        ids = allocate_ids(conn, tier_change, len(rows))
        columns = ("id", "unit", "unit_id", "class", "from_tier", "to_tier", "direction", "reason", "at", "received_at")
        filled = [(i, *row[:-1], row.at or now, now) for i, row in zip(ids, rows, strict=True)]
        insert_many(conn, tier_change, filled, columns=columns)


def add_events(
    conn: sa.Connection, rows: Sequence[Mapping[str, Any]], accounts: Mapping[int, int | None] = MappingProxyType({})
) -> list[int]:
    """Store events that are not there yet (same type and key: the same event); returns the new ones' ids, ascending.

    Ids grow in the order of commits, so that "after the last id I saw" misses nothing. An event of a contact is its
    account's too: of the one it belongs to now, whatever becomes of it later. `accounts`: those of customers that were
    read in this transaction, by the customer's id.
    """
    take_turns(conn, "event")
    unique = {(row["type"], row["key"]): row for row in reversed(rows)}  # the first of several stays
    added = _with_accounts(conn, list(reversed(unique.values())), accounts)
    return [i for (i,) in insert_ids(conn, event, added, ignore_conflicts=True)]


def _with_accounts(
    conn: sa.Connection, rows: Sequence[Mapping[str, Any]], known: Mapping[int, int | None]
) -> Sequence[Mapping[str, Any]]:
    """The rows, each with its customer's account where none is named: conditions on accounts find them by it."""
    theirs = {row["customer_id"] for row in rows if row.get("customer_id") and not row.get("account_id")}
    if not theirs:
        return rows
    of: dict[Any, int | None] = dict(known)
    if unread := sorted(theirs - of.keys()):
        of |= conn.execute(_accounts_of(conn.dialect.name), {"ids": unread}).tuples().all()
    return [row if row.get("account_id") else {**row, "account_id": of.get(row.get("customer_id"))} for row in rows]


@cache
def _accounts_of(dialect: str) -> sa.Select[tuple[int, int | None]]:
    listed = bound_ids(dialect)
    return sa.select(customer.c.id, customer.c.account_id).join(listed, listed.c.id == customer.c.id)
