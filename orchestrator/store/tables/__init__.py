"""Every table. The schema of record: migrations are made from it, and a test holds the two together.

Invariants live here as constraints. Instants are aware UTC (`UtcDateTime`), never the database's clock. Internal ids
are integers in order of arrival; what the outside calls a thing is its `key`, and that is personal data.
"""

from __future__ import annotations

from orchestrator.store.tables.base import BigId, Json, UtcDateTime, from_micros, metadata, micros
from orchestrator.store.tables.house import (
    import_run,
    letter_job,
    setting,
    tick,
)
from orchestrator.store.tables.people import (
    account,
    consent_current,
    consent_event,
    consent_evidence,
    consent_wording,
    customer,
    declared,
    device,
    erased,
    event,
    preference,
    record,
    support_case,
    suppression,
    survey_answer,
    touch,
)
from orchestrator.store.tables.running import (
    applied,
    document,
    enrollment,
    journey_control,
    segment_member,
    tier_change,
    trace,
    trigger_state,
)
from orchestrator.store.tables.sending import (
    audience_seen,
    batch,
    checkpoint,
    feedback,
    leaf,
    log,
    log_detail,
    message,
    rate,
    reservation,
    spend,
)

__all__ = [
    "APPEND_ONLY",
    "BigId",
    "Json",
    "UtcDateTime",
    "account",
    "applied",
    "audience_seen",
    "batch",
    "checkpoint",
    "consent_current",
    "consent_event",
    "consent_evidence",
    "consent_wording",
    "customer",
    "declared",
    "device",
    "document",
    "enrollment",
    "erased",
    "event",
    "feedback",
    "from_micros",
    "import_run",
    "journey_control",
    "leaf",
    "letter_job",
    "log",
    "log_detail",
    "message",
    "metadata",
    "micros",
    "preference",
    "rate",
    "record",
    "reservation",
    "segment_member",
    "setting",
    "spend",
    "support_case",
    "suppression",
    "survey_answer",
    "tick",
    "tier_change",
    "touch",
    "trace",
    "trigger_state",
]

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
