"""Every table. The schema of record: migrations are made from it, and a test holds the two together.

Invariants live here as constraints. Instants are aware UTC (`UtcDateTime`), never the database's clock. Internal ids
are integers in order of arrival; what the outside calls a thing is its `key`, and that is personal data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from orchestrator.model import MESSAGE_STATES

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware UTC instant: timestamptz on PostgreSQL, integer microseconds since 1970 on SQLite (small, sortable)."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("an instant without a zone cannot be stored")
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return micros(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, int):
            return from_micros(value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]


def micros(value: datetime) -> int:
    """Microseconds since 1970, exactly."""
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


@lru_cache(maxsize=4096)  # the rows of a batch share most of their instants
def from_micros(value: int) -> datetime:
    return _EPOCH + timedelta(0, 0, value)


BigId = sa.BigInteger().with_variant(Integer(), "sqlite")  # SQLite autoincrements only INTEGER PRIMARY KEY
Json = sa.JSON().with_variant(JSONB(), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", BigId, primary_key=True, autoincrement=True)


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{v}'" for v in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


# ---- people and companies -------------------------------------------------------------------------------------------

account = Table(
    "account",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    Column("class", Text, nullable=False),
    Column("tier", Text),
    Column("name", Text, nullable=False, server_default=""),
    Column("parent_id", BigId, ForeignKey("account.id")),
    Column("country", Text),
    Column("timezone", Text),
    Column("annual_value", sa.BigInteger),
    Column("annual_value_currency", Text),
    Column("manager_name", Text),
    Column("manager_email", Text),
    Column("joined", sa.Date),
    Column("attributes", Json, nullable=False, server_default="{}"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

customer = Table(
    "customer",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    Column("class", Text, nullable=False),
    Column("tier", Text),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("role", Text),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("company", Text),
    Column("email", Text),  # normalised; lower-cased domain
    Column("phone", Text),  # E.164
    Column("street", Text),
    Column("city", Text),
    Column("postcode", Text),
    Column("region", Text),
    Column("country", Text),  # ISO 3166 alpha-2, upper case
    Column("locale", Text),  # BCP 47 with a hyphen: de, en-GB
    Column("timezone", Text),
    Column("phone_zones", Text),  # candidate zones of the number, space-separated; made at import, never per send
    Column("phone_places", Text),  # where the number may be: "US-NY US-NJ", "DE"; made at import, never per send
    Column("legal_form", Text),  # individual, sole_trader, corporate; NULL: not known, and judged as an individual
    Column("joined", sa.Date),
    Column("left_at", UtcDateTime),  # a contact who has left the company
    Column("merged_into", BigId, ForeignKey("customer.id")),  # never addressed any more
    # 32 random bytes: with the house's key they make the person's own, under which everything personal in the log and
    # the ledgers is kept. NULL: none made yet, or (with erased_at) destroyed, and nobody can read that any more.
    Column("salt", sa.LargeBinary),
    Column("erased_at", UtcDateTime),
    Column("attributes", Json, nullable=False, server_default="{}"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index(None, "class", "tier", "id"),
    Index(None, "account_id", "role"),
    Index(None, "email"),
    Index(None, "phone"),
)

device = Table(
    "device",
    metadata,
    _id(),
    Column("customer_id", BigId, ForeignKey("customer.id"), nullable=False),
    Column("token", Text, nullable=False, unique=True),
    Column("platform", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("retired_at", UtcDateTime),
    Index(None, "customer_id"),
)

record = Table(
    "record",
    metadata,
    _id(),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("customer_id", BigId, ForeignKey("customer.id")),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("fields", Json, nullable=False, server_default="{}"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("type", "key"),
    CheckConstraint("(customer_id IS NULL) <> (account_id IS NULL)", name="one_owner"),
    Index(None, "type", "account_id"),
    Index(None, "type", "customer_id"),
)

event = Table(
    "event",
    metadata,
    _id(),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),  # the sender's event id, or a hash of the row: the same event twice is one
    Column("customer_id", BigId, ForeignKey("customer.id")),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("properties", Json, nullable=False, server_default="{}"),
    UniqueConstraint("type", "key"),
    # A window counts what happened and was received by now: received_at makes the index cover it.
    Index(None, "customer_id", "type", "occurred_at", "received_at"),
    Index(None, "account_id", "type", "occurred_at", "received_at"),
    Index(None, "type", "id"),
)

# ---- consent and suppression ----------------------------------------------------------------------------------------

consent_event = Table(  # append-only; no personal bytes: those are in consent_evidence, sealed
    "consent_event",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),  # keyed hash of the sender's event id: that may name a person
    Column("customer_id", BigId, ForeignKey("customer.id"), nullable=False),
    Column("medium", Text, nullable=False),
    Column("topic", Text, nullable=False),  # "*": every topic of the medium
    Column("action", Text, nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("basis", Text),  # one of model.CONSENT_BASES; NULL: not stated
    Column("method", Text),  # form, keyword, double_opt_in, call, paper, import, preference_centre, …
    Column("expires_at", UtcDateTime),  # where this consent was given for a time
    Column("jurisdiction", Text),  # US-FL, DE: what law it was asked under
    Column("wording", Text),  # hash of the words shown (consent_wording)
    Column("wording_version", Text),
    Column("language", Text),
    Column("answers", Text),  # a confirmation: the keyed hash of the request's event id (double opt-in)
    Column("commitment", sa.LargeBinary),  # to the evidence; NULL: none was given
    _one_of("action", ("request", "confirm", "grant", "withdraw", "expire", "import")),
    Index(None, "customer_id", "medium", "topic", "occurred_at"),
)

consent_wording = Table(  # what people were shown, each text once
    "consent_wording",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

consent_evidence = Table(  # source URL, IP, agent, evidence: sealed under the person's key, destroyed with it
    "consent_evidence",
    metadata,
    Column("event_id", BigId, ForeignKey("consent_event.id"), primary_key=True, autoincrement=False),
    Column("customer_id", BigId, nullable=False),
    Column("salt", sa.LargeBinary, nullable=False),
    Column("body", sa.LargeBinary, nullable=False),
    Index(None, "customer_id"),
)

consent_current = Table(  # derived from consent_event: rebuildable
    "consent_current",
    metadata,
    Column("customer_id", BigId, ForeignKey("customer.id"), primary_key=True),
    Column("medium", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    # One row for each ground on which there is a yes since the last no, and one, basis "", for that no (withdrawn or
    # expired): it ends older yeses to everything, or to the topic. Basis "request": asked for, and no yes is there.
    Column("basis", Text, primary_key=True, server_default=""),
    Column("state", Text, nullable=False),  # granted, withdrawn, requested, expired
    Column("event_id", BigId, ForeignKey("consent_event.id"), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("confirmed", sa.Boolean, nullable=False, server_default=sa.false()),  # by double opt-in, since the last no
    Column("until", UtcDateTime),
)

suppression = Table(
    "suppression",
    metadata,
    _id(),
    Column("medium", Text, nullable=False),
    Column("address_key", Text, nullable=False),  # keyed hash of the normalised address: outlives an erasure
    Column("reason", Text, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("until", UtcDateTime),
    Column("source", Text, nullable=False, server_default=""),  # the list it was imported from; "": what came back
    UniqueConstraint("medium", "address_key", "reason"),
)

touch = Table(  # a contact by another department (support, sales): counts where a cap says so
    "touch",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    Column("customer_id", BigId, ForeignKey("customer.id"), nullable=False),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("department", Text, nullable=False),
    Column("medium", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Index(None, "customer_id", "at"),
    Index(None, "account_id", "at"),
)

support_case = Table(  # while one is open, marketing pauses where the policy says so
    "support_case",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    Column("customer_id", BigId, ForeignKey("customer.id"), nullable=False),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Index(None, "customer_id"),
    Index(None, "account_id"),
)

erased = Table(  # append-only: whom we have erased, as keyed hashes, so that a later import or a backup is caught
    "erased",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # key, email, sms, mail, push
    Column("hash", Text, nullable=False),
    Column("customer_id", BigId, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("kind", "hash"),
    _one_of("kind", ("key", "email", "sms", "mail", "push")),
)

# ---- what is in force -----------------------------------------------------------------------------------------------

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
    _id(),
    Column("at", UtcDateTime, nullable=False),
    Column("author", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("project", Text, nullable=False),  # hash over all files
    Column("files", Json, nullable=False),  # path → document hash
    Column("journeys", Json, nullable=False),  # journey name → version
)

journey_control = Table(
    "journey_control",
    metadata,
    Column("scope", Text, primary_key=True),  # a journey's name, or "*" for everything
    Column("paused_at", UtcDateTime, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
)

trigger_state = Table(  # how far a trigger has looked; keyed by journey name and the trigger's own hash
    "trigger_state",
    metadata,
    Column("journey", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("baseline_at", UtcDateTime, nullable=False),
    Column("seen_until", UtcDateTime),
    Column("seen_id", BigId),
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
    _id(),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("class", Text, nullable=False),
    Column("from_tier", Text),
    Column("to_tier", Text),
    Column("direction", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    _one_of("unit", ("customer", "account")),
    _one_of("direction", ("up", "down", "set")),
    Index(None, "unit", "unit_id", "at"),
)

# ---- journeys under way ---------------------------------------------------------------------------------------------

enrollment = Table(
    "enrollment",
    metadata,
    _id(),
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
    Column("ended_at", UtcDateTime),
    Column("ended_because", Text),  # completed, exited, goal, holdout, failed, …
    UniqueConstraint("journey", "unit", "unit_id", "run_key"),
    _one_of("unit", ("customer", "account")),
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
    Index(None, "customer_id"),
    Index(None, "account_id"),
)

trace = Table(  # append-only: every move, for `why`
    "trace",
    metadata,
    _id(),
    Column("enrollment_id", BigId, ForeignKey("enrollment.id"), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("step", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("what", Text, nullable=False),  # arrived, waits, woke, chose, sent, skipped, updated, emitted, jumped, ended
    Column("detail", Json, nullable=False, server_default="{}"),
    Index(None, "enrollment_id", "id"),
)

# ---- messages and the log -------------------------------------------------------------------------------------------

batch = Table(  # what deliver leases: the messages one advance (or one hold) planned for one instant
    "batch",
    metadata,
    _id(),
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
    _id(),
    Column("batch_id", BigId, ForeignKey("batch.id"), nullable=False),
    Column("origin", Text, nullable=False, server_default="journey"),
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
    _one_of("state", MESSAGE_STATES),
    _one_of("addressee", ("customer", "staff", "system")),
    _one_of("purpose", ("marketing", "transactional")),
    CheckConstraint("addressee <> 'customer' OR customer_id IS NOT NULL", name="customer"),
    Index(None, "batch_id"),
    Index(None, "customer_id", "id"),
    Index(  # who else waits for the room under a cap: few at any time, however long a customer's history
        "ix_message_ready",
        "customer_id",
        sqlite_where=sa.text("state IN ('planned', 'held')"),
        postgresql_where=sa.text("state IN ('planned', 'held')"),
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
    _id(),
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
    _one_of("kind", ("decision", "outcome", "feedback", "operation")),
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
    _one_of("ledger", ("log", "consent_event", "applied", "erased")),
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

feedback = Table(  # what came back, deduplicated; `opened(step)` reads it
    "feedback",
    metadata,
    _id(),
    Column("message_id", BigId, ForeignKey("message.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("url", Text, nullable=False, server_default=""),
    Column("reason", Text),
    UniqueConstraint("message_id", "kind", "at", "url"),
)

# ---- imports --------------------------------------------------------------------------------------------------------

import_run = Table(
    "import_run",
    metadata,
    _id(),
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
    _id(),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("now", UtcDateTime, nullable=False),
    Column("counts", Json, nullable=False, server_default="{}"),
)

setting = Table(  # one row a name: schema facts, the workspace's name
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

APPEND_ONLY = (
    "log",
    "consent_event",
    "consent_wording",
    "applied",
    "tier_change",
    "trace",
    "erased",
    "leaf",
    "checkpoint",
)
