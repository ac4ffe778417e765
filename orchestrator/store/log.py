"""The send log: every decision and every outcome, appended, never changed. No personal bytes in `log`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from orchestrator.model import Json
from orchestrator.store.database import allocate_ids, id_list, insert_many
from orchestrator.store.tables import log, log_detail

_encode = msgspec.json.Encoder(order="deterministic").encode


class Entry(NamedTuple):
    """One line of the log. `body`: ids, codes, hashes, versions. `detail`: what it was judged on, kept apart so that an
    erasure can destroy it while the line stands."""

    kind: Literal["decision", "outcome", "feedback"]
    at: datetime
    message_id: int
    attempt: int
    verdict: str
    reason: str = ""
    rule: str = ""
    body: Json | bytes = b"{}"  # bytes: canonical JSON already (see `Form`)
    detail: Json | bytes | None = None


class Form:
    """Canonical JSON of many lines that have most members in common: those are written once, the others put between.

    `own`: the names of the members that each line has for itself, in order.
    """

    def __init__(self, shared: Json, own: Sequence[str]) -> None:
        names = sorted({*shared, *own})
        if list(own) != [name for name in names if name in own]:
            raise ValueError("the names of a form's own members are given in order")
        self._before: list[str] = []
        fixed = ""
        for name in names:
            key = as_json(name) + ":"
            if name in own:
                self._before += [fixed, key]
                fixed = ""
            else:
                fixed += key + as_json(shared[name]) + ","
        self._last = fixed

    def filled(self, *own: str | None) -> bytes:
        """With each own member's value as JSON text; None leaves the member out."""
        pieces = []
        before = iter(self._before)
        for fixed, key, value in zip(before, before, own, strict=True):
            pieces.append(fixed if value is None else f"{fixed}{key}{value},")
        pieces.append(self._last)
        return b"{" + "".join(pieces)[:-1].encode() + b"}"


def as_json(value: object) -> str:
    """A value as the log writes it."""
    return _encode(value).decode()


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
