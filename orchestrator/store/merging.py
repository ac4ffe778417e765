"""Two records of one person become one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.store import loyalty, referrals
from orchestrator.store.database import id_list, update_many
from orchestrator.store.journeys import add_trace, cancel_messages, wake_settled, withdraw
from orchestrator.store.preferences import carry_over
from orchestrator.store.referrals import Node, Referred
from orchestrator.store.tables import (
    customer,
    device,
    enrollment,
    event,
    message,
    record,
    referral,
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
    _merge_referrals(conn, keep, drop)
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


def _merge_referrals(conn: sa.Connection, keep: int, drop: int) -> None:
    """What one record of a person referred, and who referred it, is the other's. Whom she brought as herself is
    refused; of two who brought her, the first stays."""
    r = referral.c
    mine = sa.select(referral).where(
        sa.or_(
            sa.and_(r.unit == "customer", r.unit_id.in_((keep, drop))),
            sa.and_(r.referred_unit == "customer", r.referred_id.in_((keep, drop))),
            r.customer_id.in_((keep, drop)),
        )
    )
    rows = [Referred(*row) for row in conn.execute(mine.order_by(r.at, r.id).with_for_update())]
    brought: Mapping[Node, set[Node]] = referrals.above(conn, [("customer", keep), ("customer", drop)])
    ancestors = _ancestors({"customer": {keep, drop}}, brought)
    seen: set[str] = set()
    states, owners = [], []
    for row in rows:
        unit_id = keep if row.unit == "customer" and row.unit_id == drop else row.unit_id
        referred_id = keep if row.referred_unit == "customer" and row.referred_id == drop else row.referred_id
        state, reason = row.state, row.reason
        is_hers = row.referred_unit == "customer" and referred_id == keep
        if state in referrals.LIVE and is_hers:
            if (row.unit, unit_id) == (row.referred_unit, referred_id):
                state, reason = "refused", "self"
            elif row.class_name in seen:
                state, reason = "refused", "second_referrer"
            elif ("customer", keep) in ancestors.get((row.unit, unit_id), set()):
                state, reason = "refused", "loop"
            else:
                seen.add(row.class_name)
        contact = keep if row.customer_id == drop else row.customer_id
        states.append({"id": row.id, "state": state, "reason": reason})
        owners.append({"id": row.id, "unit_id": unit_id, "referred_id": referred_id, "customer_id": contact})
    # States first: the index that lets a customer have one referrer must never see two.
    update_many(conn, referral, states, where=("id",))
    update_many(conn, referral, owners, where=("id",))


def _ancestors(start: Mapping[str, set[int]], brought: Mapping[Node, set[Node]]) -> dict[Node, set[Node]]:
    """Node → everybody above it, the two records of `start` taken as one (its least id)."""
    one = min(start["customer"])
    alike: set[Node] = {("customer", i) for i in start["customer"]}

    def as_one(node: Node) -> Node:
        return ("customer", one) if node in alike else node

    edges: dict[Node, set[Node]] = defaultdict(set)
    for node, parents in brought.items():
        edges[as_one(node)] |= {as_one(parent) for parent in parents}
    found: dict[Node, set[Node]] = {}
    for node in list(edges):
        reached: set[Node] = set()
        waiting = list(edges[node])
        while waiting:
            parent = waiting.pop()
            if parent not in reached:
                reached.add(parent)
                waiting += edges.get(parent, ())
        found[node] = reached | (alike if ("customer", one) in reached else set())
    return found
