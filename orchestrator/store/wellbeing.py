"""Whether the machine is well: what an operator asks of the database. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.store import consents
from orchestrator.store.tables import (
    account,
    batch,
    customer,
    log,
    message,
    metadata,
    tick,
)


def sizes(conn: sa.Connection) -> dict[str, int]:
    """Rows by table, in the order of the schema's description."""
    return {
        name: int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
        for name, table in metadata.tables.items()
    }


def zones_stated(conn: sa.Connection) -> dict[str, int]:
    """How many customers (not merged away) have which zone; a contact without one has the account's. "" for none."""
    zone = sa.func.coalesce(customer.c.timezone, account.c.timezone, "")
    query = (
        sa.select(zone, sa.func.count())
        .select_from(customer.outerjoin(account, account.c.id == customer.c.account_id))
        .where(customer.c.merged_into.is_(None))
        .group_by(zone)
    )
    return {row[0]: int(row[1]) for row in conn.execute(query)}


def lost_for_texts(conn: sa.Connection) -> int:
    """Customers with a phone number of whom no zone at all is known: no text can go to them."""
    # Where there is a country there is a zone; where the number tells neither, it is of no country.
    c = customer.c
    nothing = sa.func.coalesce(c.timezone, account.c.timezone, c.phone_zones, c.country, account.c.country, "") == ""
    query = (
        sa.select(sa.func.count())
        .select_from(customer.outerjoin(account, account.c.id == customer.c.account_id))
        .where(customer.c.merged_into.is_(None), customer.c.phone.is_not(None), nothing)
    )
    return int(conn.execute(query).scalar_one())


def in_no_country(conn: sa.Connection) -> int:
    """Customers with a phone number of whom nothing tells a country: nobody can say whose law holds."""
    c = customer.c
    nothing = sa.func.coalesce(c.country, c.phone_places, account.c.country, "") == ""
    query = (
        sa.select(sa.func.count())
        .select_from(customer.outerjoin(account, account.c.id == customer.c.account_id))
        .where(customer.c.merged_into.is_(None), customer.c.phone.is_not(None), nothing)
    )
    return int(conn.execute(query).scalar_one())


def in_no_state(conn: sa.Connection) -> int:
    """Customers in the US with a phone number whose address names neither a state nor a postcode."""
    c = customer.c
    nothing = sa.func.coalesce(c.region, c.postcode, "") == ""
    return _number(conn, customer, c.merged_into.is_(None), c.phone.is_not(None), c.country == "US", nothing)


def uncertain(conn: sa.Connection) -> int:
    """Messages of which nobody can know whether they went out."""
    query = sa.select(sa.func.count()).select_from(message).where(message.c.state == "uncertain")
    return int(conn.execute(query).scalar_one())


@dataclass(frozen=True, slots=True)
class Queue:
    """What deliver has before it: due batches and messages, the oldest due instant, and leases that ran out."""

    batches: int
    messages: int
    oldest: datetime | None
    abandoned: int


def queue(conn: sa.Connection, now: datetime) -> Queue:
    """Batches due by now that are not done."""
    b = batch.c
    gone = sa.func.coalesce(sa.func.sum(sa.case((b.lease_until <= now, 1), else_=0)), 0)
    row = conn.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(b.size), 0), sa.func.min(b.due_at), gone).where(
            b.done_at.is_(None), b.due_at <= now
        )
    ).one()
    return Queue(int(row[0]), int(row[1]), row[2], int(row[3]))


def newest_ticks(conn: sa.Connection, limit: int = 1) -> list[tuple[datetime, datetime | None]]:
    """(started, finished) of the newest ticks, newest first."""
    query = sa.select(tick.c.started_at, tick.c.finished_at).order_by(tick.c.id.desc()).limit(limit)
    return [(row.started_at, row.finished_at) for row in conn.execute(query)]


# ---- what must hold of the data -------------------------------------------------------------------------------------


def damage(conn: sa.Connection) -> list[str]:
    """What SQLite finds wrong with its own file; PostgreSQL looks after itself."""
    if conn.dialect.name != "sqlite":
        return []
    found = [str(row[0]) for row in conn.exec_driver_sql("PRAGMA integrity_check(10)") if row[0] != "ok"]
    orphans = conn.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    return [*found, f"{len(orphans)} rows name another one that is not there"] if orphans else found


def broken_promises(conn: sa.Connection) -> dict[str, int]:
    """How many rows break each promise, by the promise in words; 0 where it is kept."""
    m, line = message.c, log.c
    went_out = m.state.in_(("sent", "delivered", "bounced", "failed", "uncertain"))
    allowed = sa.exists().where(line.message_id == m.id, line.kind == "decision", line.verdict == "allow")
    refused = sa.exists().where(line.message_id == m.id, line.kind == "decision", line.verdict == "deny")
    told = sa.exists().where(line.message_id == m.id, line.kind == "outcome")
    ends = sa.and_(m.state.in_(("cancelled", "uncertain", "sent")), ~told)
    return {
        "no message went out without an allowing decision in the log": _number(conn, message, went_out, ~allowed),
        "every refusal has its decision in the log": _number(conn, message, m.state == "denied", ~refused),
        "every message that was sent, withdrawn or lost has its outcome in the log": _number(conn, message, ends),
        "what stands as current consent follows from the ledger": consents.differing(conn),
    }


def _number(conn: sa.Connection, table: sa.Table, *where: Any) -> int:
    return int(conn.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one())
