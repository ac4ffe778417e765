"""Devices that push goes to: registered, moved with their owner, retired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from orchestrator.store import people
from orchestrator.store.database import allocate_ids, insert_many, key_list, update_many
from orchestrator.store.tables import device

Registration = Literal["new", "known", "moved", "back"]
"""new; known already, and its owner's; another customer's until now; retired until now."""


def register(conn: sa.Connection, rows: Sequence[Mapping[str, Any]], now: datetime) -> list[Registration]:
    """Store devices (token, platform, customer_id), each once, as registered now; says what each was. Four statements.

    `created_at` is the latest registration: what a provider said of the token before it is not held against it.
    """
    there = people.current(conn, device, ((row["token"],) for row in rows))
    fresh: dict[str, dict[str, Any]] = {}
    touched: dict[str, dict[str, Any]] = {}
    said: list[Registration] = []
    for row in rows:
        token, owner = row["token"], row["customer_id"]
        values = {"customer_id": owner, "platform": row["platform"], "created_at": now, "retired_at": None}
        known = fresh.get(token) or touched.get(token) or there.get((token,))
        if known is None:
            fresh[token] = {"token": token, **values}
            said.append("new")
            continue
        moved, back = known["customer_id"] != owner, known["retired_at"] is not None
        said.append("moved" if moved else "back" if back else "known")
        if token in fresh:
            fresh[token] |= values
        else:
            touched[token] = {"id": known["id"], **values}
    for row, new_id in zip(fresh.values(), allocate_ids(conn, device, len(fresh)) if fresh else (), strict=True):
        row["id"] = new_id
    insert_many(conn, device, list(fresh.values()))
    update_many(conn, device, list(touched.values()), where=("id",))
    return said


def retire(conn: sa.Connection, tokens: Iterable[str], now: datetime, customer_id: int | None = None) -> int:
    """Devices that are not written to any more, of one customer where it is said whose; returns how many were."""
    listed = key_list(conn, set(tokens))
    where: list[sa.ColumnElement[bool]] = [device.c.token.in_(sa.select(listed.c.key)), device.c.retired_at.is_(None)]
    if customer_id is not None:
        where.append(device.c.customer_id == customer_id)
    return conn.execute(device.update().where(*where).values(retired_at=now)).rowcount
