"""What was there before the programme came in force: points and tiers of it are no news."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from orchestrator.store.tables import account, customer
from orchestrator.store.tiers import began
from orchestrator.store.versions import Settings, set_instant, settings

_BEFORE, _TAKEN = "history_before", "history_taken"
KEPT: Final = (_BEFORE, _TAKEN)


def begin(conn: sa.Connection, now: datetime) -> None:
    """A programme comes in force that has never looked; where people are there already, they have a history."""
    if settings(conn, *KEPT).kept or began(conn):
        return  # rules of classes alone are no programme, and have looked without one
    if any(conn.execute(sa.select(sa.exists().select_from(table))).scalar_one() for table in (customer, account)):
        set_instant(conn, _BEFORE, now)


def pending(conn: sa.Connection) -> datetime | None:
    """See `pending_of`."""
    return pending_of(settings(conn, *KEPT))


def pending_of(kept: Settings) -> datetime | None:
    """The apply before which all is history, as long as the programme is still going through it."""
    return None if _TAKEN in kept.kept else kept.instant(_BEFORE)


def was_history(conn: sa.Connection, baseline: datetime, at: datetime) -> bool:
    """Whether what a trigger, put in force at `baseline`, found at an instant was made of what was there before."""
    kept = settings(conn, *KEPT)
    before, taken = kept.instant(_BEFORE), kept.instant(_TAKEN)
    return before is not None and taken is not None and baseline >= before and at <= taken


def end(conn: sa.Connection, now: datetime) -> None:
    set_instant(conn, _TAKEN, now)


def people(conn: sa.Connection, at: datetime) -> tuple[int, int]:
    """Customers in all, and of them those that were there at an instant."""
    query = sa.select(sa.func.count(), sa.func.count().filter(customer.c.created_at < at))
    total, before = conn.execute(query.select_from(customer)).one()
    return int(total), int(before)
