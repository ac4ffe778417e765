"""Two records of one person become one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.store import loyalty, referrals
from orchestrator.store.database import id_list
from orchestrator.store.journeys import add_trace, cancel_messages, wake_settled, withdraw
from orchestrator.store.preferences import carry_over
from orchestrator.store.tables import (
    customer,
    device,
    enrollment,
    event,
    message,
    record,
    reservation,
    support_case,
    touch,
)


@dataclass(frozen=True, slots=True)
class Merged:
    """What went over from one customer to another."""

    events: int
    records: int
    devices: int
    enrollments_moved: int
    enrollments_ended: int
    messages_cancelled: int


def merge(conn: sa.Connection, keep: int, drop: int, *, now: datetime) -> Merged:
    """Give everything of `drop` but its consents to `keep`, by ids; neither has been merged away before."""
    moved, ended, cancelled = _merge_enrollments(conn, keep, drop, now)
    counts = {}
    for table in (event, record, device):
        statement = sa.update(table).where(table.c.customer_id == drop).values(customer_id=keep)
        counts[table.name] = conn.execute(statement).rowcount
    # Caps count what a person got, under whichever of the two names; so do other departments' contacts and open cases.
    for counted in (reservation, touch, support_case):
        conn.execute(sa.update(counted).where(counted.c.customer_id == drop).values(customer_id=keep))
    # Who buys through a partner does so under both names: the other way marketing would go over the partner's head.
    theirs = sa.select(customer.c.partner_id).where(customer.c.id == drop).scalar_subquery()
    alone = sa.and_(customer.c.id == keep, customer.c.partner_id.is_(None))
    conn.execute(sa.update(customer).where(alone).values(partner_id=theirs))
    carry_over(conn, keep, drop, now)
    loyalty.carry_over(conn, keep, drop, now)
    referrals.merged(conn, keep, drop)
    cancelled += _merge_queued(conn, keep, drop, now)
    conn.execute(sa.update(message).where(message.c.customer_id == drop).values(customer_id=keep))
    gone = sa.or_(customer.c.id == drop, customer.c.merged_into == drop)  # chains stay one link long
    conn.execute(sa.update(customer).where(gone).values(merged_into=keep, updated_at=now))
    return Merged(counts["event"], counts["record"], counts["device"], moved, ended, cancelled)


def _merge_enrollments(conn: sa.Connection, keep: int, drop: int, now: datetime) -> tuple[int, int, int]:
    e = enrollment.c
    mine = sa.and_(e.unit == "customer", e.unit_id == drop)
    other = enrollment.alias("other")
    theirs = sa.and_(other.c.journey == e.journey, other.c.unit == "customer", other.c.unit_id == keep)
    same_run = sa.exists().where(theirs, other.c.run_key == e.run_key)
    same_live = sa.exists().where(theirs, other.c.live_key == e.live_key)
    # The same journey cannot be gone through twice at once: the run of the one who stays goes on, the other one ends.
    ending = list(
        conn.execute(sa.select(e.id, e.step, e.visit).where(mine, e.ended_at.is_(None), sa.or_(same_run, same_live)))
    )
    closed = id_list(conn, [row.id for row in ending])
    conn.execute(
        sa.update(enrollment)
        .where(e.id.in_(sa.select(closed.c.id)))
        .values(ended_at=now, ended_because="merged", live_key=None, wake_at=None)
    )
    add_trace(conn, [(row.id, now, row.step, row.visit, "ended", {"because": "merged"}) for row in ending])
    cancelled = cancel_messages(conn, {row.id: (None, "merged") for row in ending}, now)
    moving = sa.and_(mine, ~same_run, e.id.not_in(sa.select(closed.c.id)))
    moved = list(conn.execute(sa.select(e.id, e.ended_at).where(moving)))
    listed = id_list(conn, [row.id for row in moved])
    ids = sa.select(listed.c.id)
    conn.execute(sa.update(enrollment).where(e.id.in_(ids)).values(unit_id=keep, customer_id=keep))
    m = message.c
    waiting = m.state.in_(["planned", "held"])
    conn.execute(
        sa.update(message)
        .where(m.enrollment_id.in_(ids), waiting, m.addressee == "customer", m.addressee_id == drop)
        .values(addressee_id=keep)
    )
    return sum(row.ended_at is None for row in moved), len(ending), cancelled


def _merge_queued(conn: sa.Connection, keep: int, drop: int, now: datetime) -> int:
    """What a company's runs have queued for the one who goes: it goes to the one who stays, unless that one was to be
    told the same thing, and would be told it twice. Returns how many messages were withdrawn."""
    m, twin = message.c, message.alias("twin").c
    waiting = [m.state.in_(["planned", "held"]), m.addressee == "customer", m.addressee_id == drop]
    same = [twin[name] == m[name] for name in ("enrollment_id", "step", "visit", "medium", "addressee")]
    told = sa.exists().where(*same, twin.addressee_id == keep)
    columns = [m.id, m.attempts, m.journey, m.step, m.enrollment_id]
    twice = conn.execute(sa.select(*columns).where(*waiting, told).order_by(m.id).with_for_update()).all()
    withdrawn = withdraw(conn, [(row, "merged") for row in twice], now)
    conn.execute(sa.update(message).where(*waiting, ~told).values(addressee_id=keep))
    wake_settled(conn, {row.enrollment_id for row in twice}, now)
    return withdrawn
