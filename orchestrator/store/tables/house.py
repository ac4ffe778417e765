"""The house's own: imports, ticks, settings, and who may call."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text, UniqueConstraint

from orchestrator.store.tables.base import Json, UtcDateTime, metadata, new_id, one_of

import_run = Table(
    "import_run",
    metadata,
    new_id(),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),  # hash of the file's content: the same file again resumes or is a no-op
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("rows_done", Integer, nullable=False, server_default="0"),
    Column("inserted", Integer, nullable=False, server_default="0"),
    Column("updated", Integer, nullable=False, server_default="0"),
    Column("unchanged", Integer, nullable=False, server_default="0"),
    Column("quarantined", Integer, nullable=False, server_default="0"),
    UniqueConstraint("kind", "source"),
)

tick = Table(  # one row a tick, for the operator and for `run`'s summary
    "tick",
    metadata,
    new_id(),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("now", UtcDateTime, nullable=False),
    Column("counts", Json, nullable=False, server_default="{}"),
)

letter_job = Table(  # one row a job at a print house; no person. The letters themselves are messages.
    "letter_job",
    metadata,
    Column("job", Text, primary_key=True),
    Column("house", Text, nullable=False),
    Column("cutoff", UtcDateTime, nullable=False),
    Column("dropped_at", UtcDateTime),
    Column("state", Text, nullable=False),
    Column("pieces", Integer, nullable=False),
    Column("manifest", Text, nullable=False),  # SHA-256
    Column("updated_at", UtcDateTime, nullable=False),
    one_of("state", ("begun", "sealed", "dropped", "acknowledged", "approved", "mailed", "returned")),
)

setting = Table(  # one row a name: schema facts, the workspace's name
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
