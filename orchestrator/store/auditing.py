"""What an auditor reads: the log of a period line by line, and the same in numbers. Reads only.

Periods are half-open, [since, until); `since` None: from the beginning. Lines come in chunks by their ids, so that a
period of any length needs no more memory than a chunk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from orchestrator.model import Json
from orchestrator.store.consents import answered
from orchestrator.store.database import id_list
from orchestrator.store.tables import (
    applied,
    consent_event,
    customer,
    document,
    leaf,
    log,
    log_detail,
    message,
)

QUARTER = timedelta(minutes=15)
"""Every zone's midnight falls on one of these: what is counted by them can be summed to anybody's days."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Line(NamedTuple):
    """A line of the log with its leaf's index and the message it is about.

    `owner`, `salt` and `detail`: the sealed record, None where there is none (any more). Of an operation there is no
    message, and of a message's own columns what an erasure has left.
    """

    id: int
    at: datetime
    kind: str
    message_id: int | None
    attempt: int
    verdict: str
    reason: str
    rule: str
    body: bytes
    commitment: bytes | None
    entry: int | None
    owner: int | None
    salt: bytes | None
    detail: bytes | None
    customer_id: int | None
    account_id: int | None
    addressee: str | None
    medium: str | None
    topic: str | None
    purpose: str | None
    origin: str | None
    journey: str | None
    version: str | None
    step: str | None
    visit: int | None
    template: str | None
    state: str | None


_OF_MESSAGE = (
    "customer_id", "account_id", "addressee", "medium", "topic", "purpose", "origin", "journey", "version", "step",
    "visit", "template", "state",
)  # fmt: skip


class Tally(NamedTuple):
    """So many lines of a period that say the same of a journey and a medium ("" for none)."""

    kind: str
    verdict: str
    reason: str
    rule: str
    journey: str
    medium: str
    purpose: str
    lines: int


# ---- line by line ---------------------------------------------------------------------------------------------------


def lines(
    conn: sa.Connection,
    *,
    since: datetime | None,
    until: datetime,
    after: int,
    limit: int,
    customers: Collection[int] | None = None,
) -> list[Line]:
    """The next lines behind a line. `customers`: only about messages to or about these; None: all, operations too."""
    columns = [log.c[name] for name in Line._fields[:10]]
    sealed = [log_detail.c.customer_id, log_detail.c.salt, log_detail.c.body]
    own = [message.c[name] for name in _OF_MESSAGE]
    ledger = sa.and_(leaf.c.ledger == "log", leaf.c.row_id == log.c.id)
    source = (
        log.outerjoin(leaf, ledger)
        .outerjoin(log_detail, log_detail.c.log_id == log.c.id)
        .outerjoin(message, message.c.id == log.c.message_id)
    )
    query = sa.select(*columns, leaf.c["index"], *sealed, *own).select_from(source)
    where = [log.c.id > after, *_within(log.c.at, since, until)]
    if customers is not None:
        where.append(message.c.customer_id.in_(sorted(customers)))
    return [Line._make(row) for row in conn.execute(query.where(*where).order_by(log.c.id).limit(limit))]


def _within(column: Any, since: datetime | None, until: datetime) -> list[Any]:
    return [column < until] if since is None else [column >= since, column < until]


def consents(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Json]:
    """Consent events by id, without what proves them. A confirmation has the ground, the words and the country of the
    request that it answers, where it has none of its own."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    listed = id_list(conn, wanted)
    own = ("id", "medium", "topic", "action", "method", "occurred_at", "received_at")
    asked = consent_event.alias("asked")
    e, a = consent_event.c, asked.c
    either = (sa.func.coalesce(e[name], a[name]).label(name)
              for name in ("basis", "jurisdiction", "wording", "wording_version", "language"))  # fmt: skip
    source = consent_event.outerjoin(asked, answered(e, a)).join(listed, listed.c.id == e.id)
    query = sa.select(*(e[name] for name in own), *either).select_from(source)
    return {row["id"]: dict(row) for row in conn.execute(query).mappings()}


def keys_of(conn: sa.Connection, customers: Collection[int]) -> dict[int, str]:
    """The external keys of these customers."""
    query = sa.select(customer.c.id, customer.c.key).where(customer.c.id.in_(sorted(customers)))
    return dict(conn.execute(query).tuples().all())


def erased_among(conn: sa.Connection, ids: Iterable[int]) -> set[int]:
    """Those of these customers who were erased."""
    wanted = sorted(set(ids))
    if not wanted:
        return set()
    listed = id_list(conn, wanted)
    query = sa.select(customer.c.id).join(listed, listed.c.id == customer.c.id).where(customer.c.erased_at.isnot(None))
    return set(conn.execute(query).scalars())


# ---- in numbers -----------------------------------------------------------------------------------------------------


def tallies(conn: sa.Connection, since: datetime | None, until: datetime) -> list[Tally]:
    """What the lines of a period say, counted."""
    blank = sa.literal("", sa.Text())
    columns = [
        log.c.kind,
        log.c.verdict,
        # What an operation gives as its reason is somebody's own words.
        sa.case((log.c.kind == "operation", blank), else_=log.c.reason),
        log.c.rule,
        sa.func.coalesce(message.c.journey, blank),
        sa.func.coalesce(message.c.medium, blank),
        sa.func.coalesce(message.c.purpose, blank),
    ]
    query = (
        sa.select(*columns, sa.func.count())
        .select_from(log.outerjoin(message, message.c.id == log.c.message_id))
        .where(*_within(log.c.at, since, until))
        .group_by(*columns)
        .order_by(*columns)
    )
    return [Tally._make(row) for row in conn.execute(query)]


def by_time(conn: sa.Connection, since: datetime | None, until: datetime) -> list[tuple[datetime, str, str, int]]:
    """(quarter of an hour, kind, verdict, how many) of decisions and outcomes, in order of time."""
    if conn.dialect.name == "sqlite":
        bucket: Any = sa.type_coerce(log.c.at, sa.BigInteger) // sa.literal(900_000_000, sa.BigInteger)
    else:
        bucket = sa.cast(sa.func.floor(sa.extract("epoch", log.c.at) / 900), sa.BigInteger)
    bucket = bucket.label("bucket")
    query = (
        sa.select(bucket, log.c.kind, log.c.verdict, sa.func.count())
        .where(log.c.kind.in_(("decision", "outcome")), *_within(log.c.at, since, until))
        .group_by(sa.text("bucket"), log.c.kind, log.c.verdict)
        .order_by(sa.text("bucket"), log.c.kind, log.c.verdict)
    )
    return [(_EPOCH + int(row[0]) * QUARTER, row[1], row[2], row[3]) for row in conn.execute(query)]


def first_and_last(conn: sa.Connection, since: datetime | None, until: datetime) -> tuple[datetime, datetime] | None:
    """The instants of a period's first and last line; None where it has none."""
    query = sa.select(sa.func.min(log.c.at), sa.func.max(log.c.at)).where(*_within(log.c.at, since, until))
    row = conn.execute(query).one()
    return None if row[0] is None else (row[0], row[1])


def decisions(
    conn: sa.Connection, since: datetime | None, until: datetime, after: int, limit: int
) -> list[tuple[int, datetime, str, bytes]]:
    """(line, instant, verdict, body) of the next decisions."""
    where = [log.c.id > after, log.c.kind == "decision", *_within(log.c.at, since, until)]
    query = sa.select(log.c.id, log.c.at, log.c.verdict, log.c.body).where(*where).order_by(log.c.id).limit(limit)
    return [(row.id, row.at, row.verdict, bytes(row.body)) for row in conn.execute(query)]


def said(conn: sa.Connection, since: datetime | None, until: datetime) -> list[tuple[str, str, str, str, int]]:
    """(medium, action, basis, method, how many) of the consent events that came in. A confirmation is on the ground of
    the request that it answers, where it has none of its own."""
    asked = consent_event.alias("asked")
    c, a = consent_event.c, asked.c
    blank = sa.literal("", sa.Text())
    basis = sa.func.coalesce(c.basis, a.basis, blank)
    columns = [c.medium, c.action, basis, sa.func.coalesce(c.method, blank)]
    query = sa.select(*columns, sa.func.count()).select_from(consent_event.outerjoin(asked, answered(c, a)))
    query = query.where(*_within(c.received_at, since, until))
    return [row._tuple() for row in conn.execute(query.group_by(*columns).order_by(*columns))]


def of_note(
    conn: sa.Connection, since: datetime | None, until: datetime, verdicts: Collection[str], limit: int
) -> list[Json]:
    """The first lines of a period with one of these outcomes: about which message, and why."""
    names = ("journey", "medium", "step", "customer_id", "provider")
    query = (
        sa.select(log.c.id, log.c.at, log.c.message_id, log.c.attempt, log.c.verdict, log.c.reason, leaf.c["index"],
                  *(message.c[name] for name in names))
        .select_from(
            log.outerjoin(message, message.c.id == log.c.message_id).outerjoin(
                leaf, sa.and_(leaf.c.ledger == "log", leaf.c.row_id == log.c.id)
            )
        )
        .where(log.c.kind == "outcome", log.c.verdict.in_(sorted(verdicts)), *_within(log.c.at, since, until))
        .order_by(log.c.id)
        .limit(limit)
    )  # fmt: skip
    return [dict(row) for row in conn.execute(query).mappings()]


def operations(conn: sa.Connection, since: datetime | None, until: datetime) -> list[Json]:
    """What was done to the whole, in order: line, instant, what, why, and the body's bytes."""
    names = ("id", "at", "verdict", "reason", "body")
    query = sa.select(*(log.c[name] for name in names)).where(
        log.c.kind == "operation", *_within(log.c.at, since, until)
    )
    return [dict(row) for row in conn.execute(query.order_by(log.c.id)).mappings()]


def applies(conn: sa.Connection, since: datetime | None, until: datetime) -> list[Json]:
    """What was in force in a period: the applies in it, and the one before it."""
    a = applied.c
    where = [a.at < until]
    if since is not None:
        before = sa.select(sa.func.max(a.id)).where(a.at < since).scalar_subquery()
        where.append(sa.or_(a.at >= since, a.id == before))
    return [dict(row) for row in conn.execute(sa.select(applied).where(*where).order_by(a.id)).mappings()]


def documents(conn: sa.Connection, hashes: Collection[str]) -> Mapping[str, Json]:
    """Stored documents by hash."""
    query = sa.select(document.c.hash, document.c.body).where(document.c.hash.in_(sorted(hashes)))
    return {row.hash: row.body for row in conn.execute(query)}
