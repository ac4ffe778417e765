"""Reads that answer people's questions: who somebody is, what happened to them, and what holds of them now.

Statements are few and bound to one customer, one account or one page of rows; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.condition import Condition
from orchestrator.journey import Journey
from orchestrator.model import Unit
from orchestrator.store.meaning import Meaning
from orchestrator.store.scalars import Frame, Place
from orchestrator.store.segments import Segments
from orchestrator.store.tables import (
    account,
    customer,
    event,
    record,
)
from orchestrator.terms import And, Node, text

Row = Mapping[str, Any]


# ---- audiences ------------------------------------------------------------------------------------------------------


def audience_size(conn: sa.Connection, segments: Segments, journey: Journey, now: datetime) -> int:
    """How many units the journey's audience is true of; where it speaks of a record or an event, of any of theirs."""
    if journey.audience is None or (journey.record is None and journey.event is None):
        return segments.count(conn, journey.audience, journey.unit, now)
    unit = customer if journey.unit == "customer" else account
    subject = record if journey.record is not None else event
    kind = journey.record or journey.event
    owner = _owner(subject, journey.unit)
    place: dict[str, Any] = {"record" if subject is record else "event": subject.c.id}
    where = [subject.c.type == kind, segments.predicate(journey.audience, unit, now=now, **place)]
    if unit is customer:
        where.append(customer.c.merged_into.is_(None))
    query = sa.select(sa.func.count(unit.c.id.distinct())).select_from(subject.join(unit, unit.c.id == owner))
    return int(conn.execute(query.where(*where)).scalar_one())


def _owner(subject: sa.Table, unit: Unit) -> Any:
    if unit == "customer":
        return subject.c.customer_id
    if subject is record:
        return record.c.account_id
    theirs = sa.select(customer.c.account_id).where(customer.c.id == event.c.customer_id).scalar_subquery()
    return sa.func.coalesce(event.c.account_id, theirs)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts that a condition joins by `and`. `truth` None: unknown, which is no match."""

    text: str
    truth: bool | None


def parts_of(
    conn: sa.Connection,
    segments: Segments,
    condition: Condition,
    unit_id: int,
    now: datetime,
    *,
    unit: Unit | None = None,
    event_id: int | None = None,
    record_id: int | None = None,
) -> tuple[Part, ...]:
    """Each part of a condition, and whether it is true of one unit now. One statement. Empty when there is no unit."""
    parts: tuple[Node, ...] = condition.root.parts if isinstance(condition.root, And) else (condition.root,)
    meaning = Meaning(segments.vocabulary, segments.segments, segments.dialect, now)
    event_at = Place("event", id=sa.literal(event_id, sa.BigInteger())) if event_id is not None else None
    record_at = Place("record", id=sa.literal(record_id, sa.BigInteger())) if record_id is not None else None
    if (unit or condition.unit) == "customer":
        source: sa.FromClause = customer.outerjoin(account, account.c.id == customer.c.account_id)
        frame = Frame("customer", customer, Place("account", account), None, event_at, record_at)
        here = customer.c.id == unit_id
    else:
        source, here = account, account.c.id == unit_id
        frame = Frame("account", account, None, None, event_at, record_at)
    columns = [meaning.truth(part, frame).label(f"p{n}") for n, part in enumerate(parts)]
    row = conn.execute(sa.select(*columns).select_from(source).where(here)).one_or_none()
    if row is None:
        return ()
    return tuple(
        Part(text(part), None if found is None else bool(found)) for part, found in zip(parts, row, strict=True)
    )
