"""Who may call the API, and what was answered to requests that may come twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from orchestrator.store.database import id_list, insert_many
from orchestrator.store.people import find_customers
from orchestrator.store.tables import api_answer, api_key, customer

KEPT = timedelta(days=7)
"""So long a request is known again by its Idempotency-Key."""
STUCK = timedelta(minutes=5)
"""After so long a request that was never answered counts as given up: its process is gone."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An API key as far as it is kept."""

    id: int
    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None = None


def _caller(row: sa.Row[tuple[int, str, str, datetime, datetime | None]]) -> Caller:
    return Caller(row[0], row[1], frozenset(row[2].split()), row[3], row[4])


_COLUMNS = (api_key.c.id, api_key.c.name, api_key.c.scopes, api_key.c.created_at, api_key.c.revoked_at)


def caller(conn: sa.Connection, key_hash: str) -> Caller | None:
    """Whose key it is; None for one that is not known, or was revoked."""
    row = conn.execute(
        sa.select(*_COLUMNS).where(api_key.c.hash == key_hash, api_key.c.revoked_at.is_(None))
    ).one_or_none()
    return None if row is None else _caller(row)


def callers(conn: sa.Connection) -> list[Caller]:
    return [_caller(row) for row in conn.execute(sa.select(*_COLUMNS).order_by(api_key.c.id))]


def add_caller(conn: sa.Connection, name: str, key_hash: str, scopes: Sequence[str], now: datetime) -> bool:
    """False when there is one of that name."""
    row = {"name": name, "hash": key_hash, "scopes": " ".join(sorted(scopes)), "created_at": now}
    return bool(insert_many(conn, api_key, [row], ignore_conflicts=True))


def revoke_caller(conn: sa.Connection, name: str, now: datetime) -> bool:
    """False when no key of that name is in use."""
    of_name = sa.and_(api_key.c.name == name, api_key.c.revoked_at.is_(None))
    return conn.execute(api_key.update().where(of_name).values(revoked_at=now)).rowcount == 1


def emails_of(conn: sa.Connection, keys: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Customers by key: their id, and their e-mail address as it is stored ("" for none)."""
    found = find_customers(conn, keys)
    listed = id_list(conn, {person.id for person in found.values()})
    rows = conn.execute(sa.select(customer.c.id, customer.c.email).join(listed, listed.c.id == customer.c.id))
    address = {row.id: row.email or "" for row in rows}
    return {key: (person.id, address[person.id]) for key, person in found.items()}


# ---- requests that may come twice -----------------------------------------------------------------------------------

Seen = tuple[int, str] | Literal["busy", "another"]
"""An earlier answer (status, body); "busy": it is being worked on; "another": the key came with another request."""


def claim(conn: sa.Connection, caller_id: int, key: str, request: str, now: datetime) -> Seen | None:
    """Take a key for a request; None when it is ours to answer. What is too old is forgotten on the way."""
    conn.execute(api_answer.delete().where(api_answer.c.at < now - KEPT))
    mine = sa.and_(api_answer.c.api_key_id == caller_id, api_answer.c.key == key)
    conn.execute(api_answer.delete().where(mine, api_answer.c.status.is_(None), api_answer.c.at < now - STUCK))
    row = {"api_key_id": caller_id, "key": key, "request": request, "at": now}
    if insert_many(conn, api_answer, [row], ignore_conflicts=True):
        return None
    found = conn.execute(
        sa.select(api_answer.c.request, api_answer.c.status, api_answer.c.body).where(mine)
    ).one_or_none()
    if found is None:
        return "busy"
    if found.request != request:
        return "another"
    return "busy" if found.status is None else (found.status, found.body)


def answered(conn: sa.Connection, caller_id: int, key: str, status: int, body: str) -> None:
    """Keep what a claimed request was answered."""
    mine = sa.and_(api_answer.c.api_key_id == caller_id, api_answer.c.key == key)
    conn.execute(api_answer.update().where(mine).values(status=status, body=body))


def unclaim(conn: sa.Connection, caller_id: int, key: str) -> None:
    """Nothing came of it: the same key may be used again."""
    mine = sa.and_(api_answer.c.api_key_id == caller_id, api_answer.c.key == key)
    conn.execute(api_answer.delete().where(mine, api_answer.c.status.is_(None)))
