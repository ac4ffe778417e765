"""Messages, what they count and cost, and the log."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from orchestrator.model import MESSAGE_STATES
from orchestrator.store.tables.base import BigId, Json, UtcDateTime, metadata, new_id, one_of

batch = Table(  # what deliver leases: the messages one advance (or one hold) planned for one instant
    "batch",
    metadata,
    new_id(),
    Column("medium", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("size", Integer, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("lease_owner", Text),
    Column("done_at", UtcDateTime),
    Index(
        "ix_batch_due",
        "medium",
        "due_at",
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    ),
)

message = Table(
    "message",
    metadata,
    new_id(),
    Column("batch_id", BigId, ForeignKey("batch.id"), nullable=False),
    Column("origin", Text, nullable=False, server_default="journey"),  # journey, or what else asked for it
    Column("origin_key", Text, unique=True),  # what an origin made it once for; NULL: a journey's, known by its step
    Column("enrollment_id", BigId, ForeignKey("enrollment.id")),
    Column("journey", Text),
    Column("version", Text),
    Column("step", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("addressee", Text, nullable=False),  # customer, staff, system
    Column("addressee_id", BigId, nullable=False),  # customer id; account id for its manager (staff)
    Column("customer_id", BigId, ForeignKey("customer.id")),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("medium", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("decided_at", UtcDateTime),
    Column("settled_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("provider", Text),
    Column("provider_id", Text),
    Column(
        "payload", Json, nullable=False, server_default="{}"
    ),  # step options and ids of what texts may name; no person
    # The message's identity: a replayed move inserts nothing. (A deterministic tuple, so `id` needs no hash.)
    UniqueConstraint("enrollment_id", "step", "visit", "addressee", "addressee_id", "medium"),
    one_of("state", MESSAGE_STATES),
    one_of("addressee", ("customer", "staff", "system")),
    one_of("purpose", ("marketing", "transactional")),
    CheckConstraint("addressee <> 'customer' OR customer_id IS NOT NULL", name="customer"),
    Index(None, "batch_id"),
    Index(None, "customer_id", "id"),
    Index(  # who else waits for the room under a cap: few at any time, however long a customer's history
        "ix_message_ready",
        "customer_id",
        sqlite_where=sa.text("state IN ('planned', 'held')"),
        postgresql_where=sa.text("state IN ('planned', 'held')"),
    ),
    Index(  # of which nobody knows whether they went out: few among millions
        "ix_message_uncertain",
        "id",
        sqlite_where=sa.text("state = 'uncertain'"),
        postgresql_where=sa.text("state = 'uncertain'"),
    ),
)

reservation = Table(  # one row an allowed message: what caps, dedupe and budgets count; given back if surely not sent
    "reservation",
    metadata,
    Column("message_id", BigId, ForeignKey("message.id"), primary_key=True),
    Column("customer_id", BigId, nullable=False),
    Column("account_id", BigId),
    Column("medium", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("dedupe_key", Text, nullable=False),  # keyed hash of address, template and business key
    Column("cost", sa.BigInteger, nullable=False, server_default="0"),  # millionths of the workspace currency
    Column("day", Text),  # the workspace's local day that the cost is booked on; NULL: costs nothing
    Index(None, "customer_id", "at"),
    Index(None, "account_id", "at"),
    Index(None, "dedupe_key", "at"),
)

spend = Table(  # money spent on a medium in a budget's period: the sum of its reservations, locked at the commit point
    "spend",
    metadata,
    Column("medium", Text, primary_key=True),
    Column("period", Text, primary_key=True),  # 2027-03, 2027-W09, 2027-03-01: in the workspace's zone
    Column("amount", sa.BigInteger, nullable=False),  # millionths of the workspace currency
)

rate = Table(  # one row a channel: tokens for all workers, and until when its provider asked to be left alone
    "rate",
    metadata,
    Column("name", Text, primary_key=True),  # PROVIDER/MEDIUM
    Column("tokens", sa.Double, nullable=False),
    Column("at", UtcDateTime, nullable=False),  # never goes back, whatever a machine's clock says
    Column("blocked_until", UtcDateTime),
)

audience_seen = Table(  # how many a trigger found last: the blast guard compares
    "audience_seen",
    metadata,
    Column("journey", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("units", sa.BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

log = Table(  # append-only: every decision and every outcome. No personal bytes.
    "log",
    metadata,
    new_id(),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", Text, nullable=False),
    Column("message_id", BigId),  # NULL: an operation, which is about no message
    Column("attempt", Integer, nullable=False),
    # decision: allow, hold, deny · outcome: the new message state · feedback: an EventKind · operation: what was done
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("rule", Text, nullable=False, server_default=""),
    Column("body", sa.LargeBinary, nullable=False),  # canonical JSON: ids, codes, hashes, versions
    Column("commitment", sa.LargeBinary),  # to the detail: HMAC-SHA-256 under the record's own key; NULL: no detail
    one_of("kind", ("decision", "outcome", "feedback", "operation")),
    CheckConstraint("(kind = 'operation') = (message_id IS NULL)", name="operation"),
    Index(None, "message_id", "id"),
)

log_detail = Table(  # what a decision was judged on, sealed under the person's key: gone with it, while the line stands
    "log_detail",
    metadata,
    Column("log_id", BigId, ForeignKey("log.id"), primary_key=True, autoincrement=False),
    Column("customer_id", BigId),  # whose key; NULL: the house's own (staff, systems)
    Column("salt", sa.LargeBinary, nullable=False),
    Column("body", sa.LargeBinary, nullable=False),
)

leaf = Table(  # append-only: the log's tree (RFC 6962), leaf by leaf; made by `seal`
    "leaf",
    metadata,
    Column("index", BigId, primary_key=True, autoincrement=False),  # without gaps, from 0
    Column("ledger", Text, nullable=False),  # log, consent_event, applied, erased
    Column("row_id", BigId, nullable=False),
    Column("hash", sa.LargeBinary, nullable=False),
    UniqueConstraint("ledger", "row_id"),
    one_of("ledger", ("log", "consent_event", "applied", "erased")),
)

checkpoint = Table(  # append-only: signed tree heads
    "checkpoint",
    metadata,
    Column("size", BigId, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("root", sa.LargeBinary, nullable=False),
    Column("note", Text, nullable=False),  # C2SP tlog-checkpoint, a signed note
    Column("frontier", sa.LargeBinary, nullable=False),  # the tree's right edge: what the next seal goes on from
    Column("below", Json, nullable=False),  # ledger → highest row id sealed
)

link = Table(  # what counted links lead to, by their address's hash: what the house wrote, the same for everybody
    "link",
    metadata,
    Column("key", Text, primary_key=True),
    Column("url", Text, nullable=False),
)

feedback = Table(  # what came back, deduplicated; `opened(step)` reads it
    "feedback",
    metadata,
    new_id(),
    Column("message_id", BigId, ForeignKey("message.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("url", Text, nullable=False, server_default=""),
    Column("reason", Text),
    UniqueConstraint("message_id", "kind", "at", "url"),
)
