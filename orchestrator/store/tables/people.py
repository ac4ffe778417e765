"""People and companies, what they said yes and no to, and what must not be used."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint

from orchestrator.store.tables.base import BigId, Json, UtcDateTime, metadata, new_id, one_of

account = Table(
    "account",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),
    Column("class", Text, nullable=False),
    Column("class_by_rule", sa.Boolean),  # nobody stated the class: a rule of the workspace finds it
    Column("tier", Text),
    Column("tier_stated", Text),  # as a row stated it last: the same again is no news
    Column("name", Text, nullable=False, server_default=""),
    Column("parent_id", BigId, ForeignKey("account.id")),
    Column("partner_id", BigId, ForeignKey("account.id")),  # whose end customer it is
    Column("allows_contact", sa.Boolean),  # of a partner: whether its end customers may be written to; NULL: no
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
    Index(None, "parent_id"),
    Index(None, "partner_id"),
    Index(None, "updated_at"),
    Index(None, "timezone"),
)

customer = Table(
    "customer",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),
    Column("class", Text, nullable=False),
    Column("class_by_rule", sa.Boolean),  # nobody stated the class: a rule of the workspace finds it
    Column("tier", Text),
    Column("tier_stated", Text),  # as a row stated it last: the same again is no news
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("partner_id", BigId, ForeignKey("account.id")),  # whose end customer she is
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
    Index(None, "partner_id"),
    Index(None, "updated_at"),
    Index(None, "email"),
    Index(None, "phone"),
    Index(None, "timezone"),
    Index("ix_customer_merged_into", "merged_into", sqlite_where=sa.text("merged_into IS NOT NULL"),
          postgresql_where=sa.text("merged_into IS NOT NULL")),
)  # fmt: skip

device = Table(
    "device",
    metadata,
    new_id(),
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
    new_id(),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("customer_id", BigId, ForeignKey("customer.id")),
    Column("account_id", BigId, ForeignKey("account.id")),
    Column("fields", Json, nullable=False, server_default="{}"),
    Column("stage_since", UtcDateTime),  # since when it stands in the stage it has; NULL: its type has no stages
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("type", "key"),
    CheckConstraint("(customer_id IS NULL) <> (account_id IS NULL)", name="one_owner"),
    Index(None, "type", "account_id"),
    Index(None, "type", "customer_id"),
    Index(None, "updated_at"),
)

event = Table(
    "event",
    metadata,
    new_id(),
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

preference = Table(  # how much, and in what form, a person wants to hear: said on the preference centre
    "preference",
    metadata,
    Column("customer_id", BigId, ForeignKey("customer.id"), primary_key=True, autoincrement=False),
    Column("paused_until", UtcDateTime),  # no marketing until then
    Column("at_most", sa.Integer),  # marketing messages in each `per`, on all media together
    Column("per", Text),
    Column("format", Text),  # of e-mails; NULL: as the house makes them
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("(at_most IS NULL) = (per IS NULL)", name="both_or_neither"),
    CheckConstraint("at_most >= 0", name="at_most"),
    CheckConstraint("per IN ('week', 'month')", name="per"),
    CheckConstraint("format IN ('html', 'text')", name="format"),
)

declared = Table(  # which of a customer's values she gave herself: others overwrite them only by rule
    "declared",
    metadata,
    Column("customer_id", BigId, ForeignKey("customer.id"), primary_key=True, autoincrement=False),
    Column("field", Text, primary_key=True),  # a column of `customer` or an attribute; the value itself stands there
    Column("at", UtcDateTime, nullable=False),
    Column("source", Text, nullable=False),  # preference_centre
)

survey_answer = Table(  # answers to surveys that are anonymous: nobody's, of no message, of a day and no hour
    "survey_answer",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),  # drawn at random: its order tells nothing
    Column("survey", Text, nullable=False),
    Column("day", sa.Date, nullable=False),
    Column("answers", Json, nullable=False),
    Index(None, "survey", "day"),
)

# ---- consent and suppression ----------------------------------------------------------------------------------------

consent_event = Table(  # append-only; no personal bytes: those are in consent_evidence, sealed
    "consent_event",
    metadata,
    new_id(),
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
    one_of("action", ("request", "confirm", "grant", "withdraw", "expire", "import")),
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
    new_id(),
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
    new_id(),
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
    new_id(),
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
    new_id(),
    Column("kind", Text, nullable=False),  # key, email, sms, mail, push
    Column("hash", Text, nullable=False),
    Column("customer_id", BigId, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("kind", "hash"),
    one_of("kind", ("key", "email", "sms", "mail", "push")),
)
