"""The house's own: imports, ticks, settings, and who may call."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from orchestrator.store.tables.base import BigId, Json, UtcDateTime, metadata, new_id, one_of

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

api_key = Table(  # who may call the API; the key itself is shown once and kept nowhere
    "api_key",
    metadata,
    new_id(),
    Column("name", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),  # SHA-256: of 256 random bits, so that nobody can guess it back
    Column("scopes", Text, nullable=False),  # what it may do, space-separated
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

api_answer = Table(  # what a request with an Idempotency-Key was answered; counts and row numbers, no person
    "api_answer",
    metadata,
    Column("api_key_id", BigId, ForeignKey("api_key.id"), primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),  # SHA-256 of the caller's own: that may name a person
    Column("request", Text, nullable=False),  # SHA-256 of method, path and body
    Column("at", UtcDateTime, nullable=False),
    Column("status", Integer),  # NULL while it is being worked on
    Column("body", Text),
    Index(None, "at"),
)
