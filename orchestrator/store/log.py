"""The send log: every decision and every outcome, appended, never changed.

No personal bytes in `log`: what a decision was judged on is a detail of its own, sealed under the person's key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.decision import Entry
from orchestrator.model import Json
from orchestrator.store.database import allocate_ids, id_list, insert_many
from orchestrator.store.keys import Keys
from orchestrator.store.people import salts, step_in
from orchestrator.store.tables import log, log_detail
from orchestrator.store.vault import SALT, Damaged, seal, unseal

__all__ = ["Entry", "addresses_used", "append", "of_messages", "operation", "person_keys"]

_encode = msgspec.json.Encoder(order="deterministic").encode
_COLUMNS = ("id", "at", "kind", "message_id", "attempt", "verdict", "reason", "rule", "body", "commitment")
PersonKeys = Mapping[int | None, bytes]
"""Customer id → the person's key; None → the house's own, for what is about nobody."""


def person_keys(
    conn: sa.Connection, keys: Keys, customer_ids: Iterable[int | None], *, make: bool = False
) -> dict[int | None, bytes]:
    """The keys under which these people's details are sealed, and the house's own; whoever was erased has none.

    `make`: those who have none yet get one, in this transaction, which may then lock customers.
    """
    found = salts(conn, {i for i in customer_ids if i is not None}, make=make)
    return {None: keys.person_key(b""), **{i: keys.person_key(salt) for i, salt in found.items()}}


def append(conn: sa.Connection, entries: Sequence[Entry], sealed_under: PersonKeys | None = None) -> list[int]:
    """Append in order; returns the lines' ids. Details are sealed under the keys of those they are about.

    Of somebody who has been erased meanwhile nothing is kept but the line. Raises ValueError for a detail without keys.
    """
    if not entries:
        return []
    step_in(conn, "log")
    ids = allocate_ids(conn, log, len(entries))
    random = os.urandom(SALT * len(entries)) if sealed_under is not None else b""  # one call: each is a system call
    rows, details = [], []
    for n, (i, e) in enumerate(zip(ids, entries, strict=True)):
        commitment = None
        if e.detail is not None:
            if sealed_under is None:
                raise ValueError("a detail is sealed: the keys of those whom it is about are needed")
            key = sealed_under.get(e.customer_id)
            if key is not None:
                salt, body, commitment = seal(key, _bytes(e.detail), random[SALT * n : SALT * (n + 1)])
                details.append((i, e.customer_id, salt, body))
        rows.append((i, e.at, e.kind, e.message_id, e.attempt, e.verdict, e.reason, e.rule, _bytes(e.body), commitment))
    insert_many(conn, log, rows, columns=_COLUMNS)
    insert_many(conn, log_detail, details, columns=("log_id", "customer_id", "salt", "body"))
    return ids


def operation(
    conn: sa.Connection, at: datetime, what: str, *, by: str, reason: str = "", body: Mapping[str, Any] = {}
) -> int:
    """Append what somebody did to the whole (`what`: paused, resumed, erased …), about no message; returns the id.

    `by` and `body` are read by every auditor: no name, address or key of a customer.
    """
    told = {"by": by, **body}
    [i] = append(conn, [Entry("operation", at, None, 0, what, reason, body=told)])
    return i


def _bytes(value: Json | bytes) -> bytes:
    return value if isinstance(value, bytes) else _encode(value)


# ---- reading --------------------------------------------------------------------------------------------------------


def of_messages(conn: sa.Connection, message_ids: Sequence[int], keys: Keys | None) -> list[dict[str, Any]]:
    """Lines of these messages in order, bodies decoded, details opened and decoded.

    `detail` None where there is none to be read: `sealed` says why ("erased", "damaged"; "closed" without `keys`), ""
    where it was read and where there never was one.
    """
    listed = id_list(conn, message_ids)
    found = conn.execute(
        sa.select(log, log_detail.c.customer_id, log_detail.c.salt, log_detail.c.body.label("detail"))
        .join(listed, listed.c.id == log.c.message_id)
        .outerjoin(log_detail, log_detail.c.log_id == log.c.id)
        .order_by(log.c.message_id, log.c.id)
    )
    rows = list(found.mappings())
    owners = {row["customer_id"] for row in rows if row["detail"] is not None}
    known = person_keys(conn, keys, owners) if keys is not None else None
    lines = []
    for row in rows:
        if row["detail"] is None:
            detail, sealed = None, "erased" if row["commitment"] is not None else ""
        else:
            detail, sealed = _opened(known, row["customer_id"], row["salt"], row["detail"])
        line = {**row, "body": msgspec.json.decode(row["body"]), "detail": detail, "sealed": sealed}
        lines.append(line)
    return lines


def _opened(known: PersonKeys | None, customer_id: int | None, salt: bytes, body: bytes) -> tuple[Json | None, str]:
    if known is None:
        return None, "closed"
    key = known.get(customer_id)
    if key is None:
        return None, "erased"
    try:
        detail: Json = msgspec.json.decode(unseal(key, bytes(salt), bytes(body)))
    except Damaged:
        return None, "damaged"
    return detail, ""


def addresses_used(
    conn: sa.Connection, keys: Keys, attempts: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], tuple[str, ...]]:
    """(message id, attempt) → the hashes of the addresses it went to, from the decision's detail.

    Of the message's own time: the customer may have another address by now. Nothing when the detail was destroyed.
    """
    wanted = set(attempts)
    listed = id_list(conn, {i for i, _ in wanted})
    rows = conn.execute(
        sa.select(log.c.message_id, log.c.attempt, log_detail.c.customer_id, log_detail.c.salt, log_detail.c.body)
        .join(listed, listed.c.id == log.c.message_id)
        .join(log_detail, log_detail.c.log_id == log.c.id)
        .where(log.c.kind == "decision", log.c.verdict == "allow")
        .order_by(log.c.id)
    ).all()
    rows = [row for row in rows if (row.message_id, row.attempt) in wanted]
    known = person_keys(conn, keys, {row.customer_id for row in rows})
    found = {}
    for row in rows:
        detail, _ = _opened(known, row.customer_id, row.salt, row.body)
        if detail is not None:
            found[(row.message_id, row.attempt)] = tuple(detail.get("addresses", ()))
    return found
