"""What was decided, read back to be judged again: lines with their sealed details, and what people had said.

Reads only, in batches: a fixed number of statements for thousands of lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from orchestrator.store.database import id_list
from orchestrator.store.tables import (
    applied,
    consent_event,
    consent_evidence,
    consent_wording,
    customer,
    erased,
    leaf,
    log,
    log_detail,
    message,
)


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


def salts(conn: sa.Connection, ids: Iterable[int]) -> dict[int, bytes]:
    """The salts of those of these customers who have one."""
    listed = id_list(conn, sorted(set(ids)))
    c = customer.c
    query = sa.select(c.id, c.salt).join(listed, listed.c.id == c.id).where(c.salt.isnot(None))
    return {row.id: bytes(row.salt) for row in conn.execute(query)}


class Destroyed(NamedTuple):
    """A line of the log that says what was destroyed. `sealed` False: nobody is bound by it yet."""

    line: int
    at: datetime
    by_request: bool
    """True: an erasure; False: a retention."""
    sealed: bool
    customers: tuple[int, ...] = ()
    kind: str = ""
    before: datetime | None = None


def destroyed(conn: sa.Connection) -> list[Destroyed]:
    """What the log itself says was destroyed, in its order: only an append-only line answers for what is not there."""
    query = (
        sa.select(log.c.id, log.c.at, log.c.verdict, log.c.reason, log.c.body, leaf.c.row_id)
        .outerjoin(leaf, sa.and_(leaf.c.ledger == "log", leaf.c.row_id == log.c.id))
        .where(log.c.message_id.is_(None), log.c.kind == "operation", log.c.verdict.in_(("erased", "retained")))
        .order_by(log.c.id)
    )
    found = []
    for row in conn.execute(query):
        try:
            body = json.loads(row.body)
            ids = tuple(int(i) for i in body.get("ids") or [body["customer"]]) if row.verdict == "erased" else ()
            before = datetime.fromisoformat(body["before"]) if row.verdict == "retained" else None
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # a line that cannot be read destroys nothing
        by_request = row.verdict == "erased"
        found.append(Destroyed(row.id, row.at, by_request, row.row_id is not None, ids, row.reason, before))
    return found


def erased_people(conn: sa.Connection) -> set[int]:
    """Whom the ledger of erasures names."""
    return set(conn.execute(sa.select(erased.c.customer_id).distinct()).scalars())


class Put(NamedTuple):
    """An apply: which workspace was put in force, and when."""

    id: int
    at: datetime
    project: str
    files: Mapping[str, str]


def applies(conn: sa.Connection) -> list[Put]:
    """Every apply, in order."""
    c = applied.c
    return [Put(*row) for row in conn.execute(sa.select(c.id, c.at, c.project, c.files).order_by(c.id))]


def said(conn: sa.Connection, customer_ids: Iterable[int]) -> dict[int, list[Said]]:
    """Everything these customers ever said, by customer, in order of arrival."""
    listed = id_list(conn, sorted(set(customer_ids)))
    columns = [consent_event.c[name] for name in Said._fields]
    query = sa.select(*columns).join(listed, listed.c.id == consent_event.c.customer_id).order_by(consent_event.c.id)
    found: dict[int, list[Said]] = {}
    for row in conn.execute(query):
        found.setdefault(row.customer_id, []).append(Said._make(row))
    return found


def entries(conn: sa.Connection, line_ids: Iterable[int], ledger: str = "log") -> dict[int, int]:
    """Line id → its leaf's index, of those that are sealed; of another ledger's rows likewise."""
    listed = id_list(conn, sorted(set(line_ids)))
    # IN, not a join: SQLite would walk the whole ledger for each id.
    these = sa.and_(leaf.c.ledger == ledger, leaf.c.row_id.in_(sa.select(listed.c.id)))
    return dict(conn.execute(sa.select(leaf.c.row_id, leaf.c["index"]).where(these)).tuples().all())


# ---- what stands beside the log -------------------------------------------------------------------------------------


class Proven(NamedTuple):
    """A consent event that committed to evidence; `owner`, `salt` and `body` None where there is none any more."""

    id: int
    customer_id: int
    received_at: datetime
    commitment: bytes
    owner: int | None
    salt: bytes | None
    body: bytes | None


def proven(conn: sa.Connection, after: int, limit: int) -> list[Proven]:
    """The next consent events with a commitment, in order."""
    c, kept = consent_event.c, consent_evidence.c
    query = (
        sa.select(c.id, c.customer_id, c.received_at, c.commitment, kept.customer_id, kept.salt, kept.body)
        .outerjoin(consent_evidence, kept.event_id == c.id)
        .where(c.id > after, c.commitment.is_not(None))
        .order_by(c.id)
        .limit(limit)
    )
    return [Proven._make(row) for row in conn.execute(query)]


def wordings(conn: sa.Connection) -> list[tuple[str, str | None, int]]:
    """(hash, text, the first consent event that names it) of all words shown; text None: not there."""
    c = consent_event.c
    named = sa.select(c.wording, sa.func.min(c.id).label("first")).where(c.wording.is_not(None)).group_by(c.wording)
    used = named.subquery()
    query = sa.select(used.c.wording, consent_wording.c.text, used.c.first).outerjoin(
        consent_wording, consent_wording.c.hash == used.c.wording
    )
    return [(row[0], row[1], row[2]) for row in conn.execute(query.order_by(used.c.first))]


_HANDED_OVER = ("sending", "sent", "delivered", "bounced", "failed", "uncertain")
_REFUSED = ("planned", "held", "denied", "expired", "cancelled")
LISTED = 100


def unallowed(conn: sa.Connection) -> list[tuple[int, str]]:
    """Messages (id, state) that are said to have been handed over, of which the log allowed none."""
    allow = sa.exists().where(log.c.message_id == message.c.id, log.c.kind == "decision", log.c.verdict == "allow")
    query = sa.select(message.c.id, message.c.state).where(message.c.state.in_(_HANDED_OVER), ~allow)
    return [(row.id, row.state) for row in conn.execute(query.order_by(message.c.id).limit(LISTED))]


def contradicted(conn: sa.Connection) -> list[tuple[int, str, str]]:
    """Messages (id, state, the log's last outcome) that are said not to have been handed over, and were."""
    last = (
        sa.select(log.c.verdict)
        .where(log.c.message_id == message.c.id, log.c.kind == "outcome")
        .order_by(log.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = sa.select(message.c.id, message.c.state, last.label("last")).where(message.c.state.in_(_REFUSED))
    found = query.subquery()
    chosen = sa.select(found).where(found.c.last.in_(_HANDED_OVER[1:])).order_by(found.c.id).limit(LISTED)
    return [(row.id, row.state, row.last) for row in conn.execute(chosen)]
