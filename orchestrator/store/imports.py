"""How far an import has come: one row for each kind and content of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.store.database import insert_many
from orchestrator.store.tables import import_run

COUNTS = ("inserted", "updated", "unchanged", "quarantined")


@dataclass(frozen=True, slots=True)
class Run:
    id: int
    rows_done: int
    finished: bool
    counts: Mapping[str, int]


def begin(conn: sa.Connection, kind: str, source: str, now: datetime, *, again: bool) -> Run:
    """The run of this content, new or as it was left; `again` takes a finished one from its beginning."""
    insert_many(conn, import_run, [{"kind": kind, "source": source, "started_at": now}], ignore_conflicts=True)
    where = sa.and_(import_run.c.kind == kind, import_run.c.source == source)
    if again:
        fresh = dict.fromkeys(("rows_done", *COUNTS), 0)
        statement = sa.update(import_run).where(where, import_run.c.finished_at.is_not(None))
        conn.execute(statement.values(**fresh, started_at=now, finished_at=None))
    row = conn.execute(sa.select(import_run).where(where)).mappings().one()
    return Run(row["id"], row["rows_done"], row["finished_at"] is not None, {c: row[c] for c in COUNTS})


def move(
    conn: sa.Connection, run_id: int, before: int, after: int, counts: Mapping[str, int], finished_at: datetime | None
) -> bool:
    """Note that rows up to `after` are done; False when another process has moved this run since `before`."""
    statement = sa.update(import_run).where(
        import_run.c.id == run_id, import_run.c.rows_done == before, import_run.c.finished_at.is_(None)
    )
    counted = {c: counts[c] for c in COUNTS}
    return conn.execute(statement.values(rows_done=after, finished_at=finished_at, **counted)).rowcount == 1
