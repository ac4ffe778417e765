"""What is in force, and who is where in it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from orchestrator.store.tables.base import BigId, Json, UtcDateTime, metadata, new_id, one_of

document = Table(  # content-addressed texts: journeys with the segments they name, templates, the workspace
    "document",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # file, journey
    Column("name", Text, nullable=False),
    Column("body", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

applied = Table(  # append-only: who put what in force, when
    "applied",
    metadata,
    new_id(),
    Column("at", UtcDateTime, nullable=False),
    Column("author", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("project", Text, nullable=False),  # hash over all files
    Column("files", Json, nullable=False),  # path → document hash
    Column("journeys", Json, nullable=False),  # journey name → version
    Column("approved_by", Text),  # who agreed, where a second person was asked for
    Column("proposal", BigId, ForeignKey("proposal.id")),  # what was approved
)

proposal = Table(  # append-only: a workspace that waits for a second person; its files are documents
    "proposal",
    metadata,
    new_id(),
    Column("at", UtcDateTime, nullable=False),
    Column("author", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("base", BigId),  # the apply it was planned against; NULL: none yet
    Column("project", Text, nullable=False),
    Column("files", Json, nullable=False),  # path → document hash
)

proposal_end = Table(  # append-only: what was said to a proposal, once
    "proposal_end",
    metadata,
    Column("proposal", BigId, ForeignKey("proposal.id"), primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    one_of("what", ("approved", "rejected")),
)

journey_control = Table(
    "journey_control",
    metadata,
    Column("scope", Text, primary_key=True),  # a journey's name, or "*" for everything
    Column("paused_at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("meanwhile", Text, nullable=False, server_default="hold"),  # what becomes of those who would enter
    one_of("meanwhile", ("hold", "discard")),
)

trigger_state = Table(  # how far a trigger has looked; keyed by journey name and the trigger's own hash
    "trigger_state",
    metadata,
    Column("journey", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("baseline_at", UtcDateTime, nullable=False),
    Column("seen_until", UtcDateTime),
    Column("seen_id", BigId),
    Column("held_from", UtcDateTime),  # a pause that held what came: until the next look nothing since then is late
)

segment_member = Table(  # who was in a segment when a trigger last looked: an entry is a recorded false→true
    "segment_member",
    metadata,
    Column("journey", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("unit_id", BigId, primary_key=True),
    Column("since", UtcDateTime, nullable=False),
)

tier_change = Table(  # append-only: imported here, computed by the loyalty programme
    "tier_change",
    metadata,
    new_id(),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("class", Text, nullable=False),
    Column("from_tier", Text),
    Column("to_tier", Text),
    Column("direction", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),  # "": somebody set it; else one of ladder.REASONS
    Column("at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    one_of("unit", ("customer", "account")),
    one_of("direction", ("up", "down", "set")),
    Index(None, "unit", "unit_id", "at"),
)

# ---- journeys under way ---------------------------------------------------------------------------------------------

enrollment = Table(
    "enrollment",
    metadata,
    new_id(),
    Column("journey", Text, nullable=False),
    Column("version", Text, ForeignKey("document.hash"), nullable=False),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("customer_id", BigId, ForeignKey("customer.id")),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("run_key", Text, nullable=False),  # what the trigger made it for: replaying a trigger inserts nothing
    Column("live_key", Text),  # "" where overlap is forbidden, run_key where allowed; NULL once ended
    Column("event_id", BigId, ForeignKey("event.id")),
    Column("record_id", BigId, ForeignKey("record.id")),
    Column("priority", Integer, nullable=False, server_default="50"),
    Column("step", Text, nullable=False, server_default=""),
    Column("visit", Integer, nullable=False, server_default="0"),
    Column("entered_at", UtcDateTime, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("wake_at", UtcDateTime),  # due for advance when ≤ now; NULL: until something wakes it
    Column("memory", Json, nullable=False, server_default="{}"),
    Column("visits", Json, nullable=False, server_default="{}"),
    Column("paused", Json, nullable=False, server_default="[]"),  # [from, until] of pauses that its waits do not count
    Column("ended_at", UtcDateTime),
    Column("ended_because", Text),  # completed, exited, goal, holdout, failed, …
    UniqueConstraint("journey", "unit", "unit_id", "run_key"),
    one_of("unit", ("customer", "account")),
    CheckConstraint("(ended_at IS NULL) = (live_key IS NOT NULL)", name="live"),
    CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name="ended"),
    # One live enrollment: NULLs are distinct in a unique index on both databases.
    Index("uq_enrollment_live", "journey", "unit", "unit_id", "live_key", unique=True),
    Index(
        "ix_enrollment_due",
        "wake_at",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    Index(  # who is inside what, whatever the number of those who were
        "ix_enrollment_live",
        "journey",
        "version",
        "unit",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    Index(None, "customer_id"),
    Index(None, "account_id"),
)

trace = Table(  # append-only: every move, for `why`
    "trace",
    metadata,
    new_id(),
    Column("enrollment_id", BigId, ForeignKey("enrollment.id"), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("step", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("what", Text, nullable=False),  # arrived, waits, woke, chose, sent, skipped, updated, emitted, jumped, ended
    Column("detail", Json, nullable=False, server_default="{}"),
    Index(None, "enrollment_id", "id"),
)

experiment_decision = Table(  # append-only: which arm of a split won, on what counts; nobody's data
    "experiment_decision",
    metadata,
    new_id(),
    Column("at", UtcDateTime, nullable=False),
    Column("journey", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("cards", Text, nullable=False),  # the arms and their shares, as a hash: Split.cards
    Column("by", Text, nullable=False),  # the event that counted
    Column("seconds", BigId, nullable=False),  # how long it might take
    Column("confidence", sa.Double, nullable=False),
    Column("winner", Text, nullable=False),
    Column("arms", Json, nullable=False),  # name, share, runs, successes each, in the file's order
    Column("comparisons", Json, nullable=False),  # of the winner with each other arm
    UniqueConstraint("journey", "step", "cards", "by"),  # of two ticks that decide at once one is the first
)
