"""What was decided, read back to be judged again: lines with their sealed details, and what people had said.

Reads only, in batches: a fixed number of statements for thousands of lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from orchestrator.store.database import id_list
from orchestrator.store.tables import consent_event, customer, leaf, log, log_detail


class Line(NamedTuple):
    """A decision or an outcome as it is stored; `owner`, `salt` and `detail` None where there is no detail."""

    id: int
    at: datetime
    kind: str
    message_id: int
    attempt: int
    verdict: str
    reason: str
    rule: str
    body: bytes
    commitment: bytes | None
    owner: int | None
    salt: bytes | None
    detail: bytes | None


class Said(NamedTuple):
    """A consent event, without what proves it."""

    id: int
    customer_id: int
    medium: str
    topic: str
    action: str
    occurred_at: datetime
    received_at: datetime

    @property
    def at(self) -> datetime:
        """When it counts from: one dated ahead of its arrival counts from its arrival."""
        return min(self.occurred_at, self.received_at)


def lines(conn: sa.Connection, after: int, limit: int) -> list[Line]:
    """The next decisions and outcomes behind a line, in order."""
    columns = [log.c[name] for name in Line._fields[:10]]
    query = (
        sa.select(*columns, log_detail.c.customer_id, log_detail.c.salt, log_detail.c.body)
        .outerjoin(log_detail, log_detail.c.log_id == log.c.id)
        .where(log.c.id > after, log.c.kind.in_(("decision", "outcome")))
        .order_by(log.c.id)
        .limit(limit)
    )
    return [Line._make(row) for row in conn.execute(query)]


def people(conn: sa.Connection, ids: Iterable[int]) -> dict[int, tuple[bytes | None, datetime | None]]:
    """Customer id → (salt, when erased)."""
    listed = id_list(conn, sorted(set(ids)))
    c = customer.c
    query = sa.select(c.id, c.salt, c.erased_at).join(listed, listed.c.id == c.id)
    return {row.id: (row.salt, row.erased_at) for row in conn.execute(query)}


def said(conn: sa.Connection, customer_ids: Iterable[int]) -> dict[int, list[Said]]:
    """Everything these customers ever said, by customer, in order of arrival."""
    listed = id_list(conn, sorted(set(customer_ids)))
    columns = [consent_event.c[name] for name in Said._fields]
    query = sa.select(*columns).join(listed, listed.c.id == consent_event.c.customer_id).order_by(consent_event.c.id)
    found: dict[int, list[Said]] = {}
    for row in conn.execute(query):
        found.setdefault(row.customer_id, []).append(Said._make(row))
    return found


def entries(conn: sa.Connection, line_ids: Iterable[int]) -> dict[int, int]:
    """Line id → its leaf's index, of those that are sealed."""
    listed = id_list(conn, sorted(set(line_ids)))
    query = sa.select(leaf.c.row_id, leaf.c["index"]).join(listed, listed.c.id == leaf.c.row_id)
    return dict(conn.execute(query.where(leaf.c.ledger == "log")).tuples().all())
