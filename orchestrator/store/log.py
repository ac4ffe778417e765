"""The send log: every decision and every outcome, appended, never changed. No personal bytes in `log`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.decision import Entry
from orchestrator.model import Json
from orchestrator.store.database import allocate_ids, id_list, insert_many
from orchestrator.store.tables import log, log_detail

__all__ = ["Entry", "append", "of_messages"]

_encode = msgspec.json.Encoder(order="deterministic").encode


def append(conn: sa.Connection, entries: Sequence[Entry]) -> list[int]:
    """Append in order; returns the lines' ids."""
    if not entries:
        return []
    ids = allocate_ids(conn, log, len(entries))
    insert_many(
        conn,
        log,
        [
            (i, e.at, e.kind, e.message_id, e.attempt, e.verdict, e.reason, e.rule, _bytes(e.body))
            for i, e in zip(ids, entries, strict=True)
        ],
        columns=("id", "at", "kind", "message_id", "attempt", "verdict", "reason", "rule", "body"),
    )
    details = [(i, b"", _bytes(e.detail)) for i, e in zip(ids, entries, strict=True) if e.detail is not None]
    insert_many(conn, log_detail, details, columns=("log_id", "salt", "body"))
    return ids


def _bytes(value: Json | bytes) -> bytes:
    return value if isinstance(value, bytes) else _encode(value)


def of_messages(conn: sa.Connection, message_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Lines of these messages in order, bodies and details decoded (detail None when there is none any more)."""
    listed = id_list(conn, message_ids)
    rows = conn.execute(
        sa.select(log, log_detail.c.body.label("detail"))
        .join(listed, listed.c.id == log.c.message_id)
        .outerjoin(log_detail, log_detail.c.log_id == log.c.id)
        .order_by(log.c.message_id, log.c.id)
    )
    return [
        {
            **row._mapping,
            "body": msgspec.json.decode(row.body),
            "detail": None if row.detail is None else msgspec.json.decode(row.detail),
        }
        for row in rows
    ]
