"""What is told of people and is older than its time: found and destroyed in batches, so that each is one short
transaction, and whatever stops in between goes on with the next.

An event is not deleted but becomes nobody's, as in an erasure: runs point at it, and ticks have looked up to its id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.store.database import id_list
from orchestrator.store.tables import (
    consent_current,
    consent_event,
    consent_evidence,
    event,
    feedback,
    import_run,
    log,
    log_detail,
    message,
    support_case,
    survey_answer,
    touch,
)

Finds = Callable[[datetime], Any]
"""The ids of what was taken in before an instant, in order."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is destroyed together: found by `finds`, known by `column` of `table`; `values`: emptied, not deleted."""

    table: sa.Table
    column: str
    finds: Finds
    values: Mapping[str, Any] | None = None

    def batch(self, conn: sa.Connection, before: datetime, after: int, limit: int) -> tuple[int, int]:
        """(how many, the last one's id) of at most `limit` behind `after`."""
        query = self.finds(before)
        id_ = query.selected_columns[0]
        ids = list(conn.execute(query.where(id_ > after).order_by(id_).limit(limit)).scalars())
        if not ids:
            return 0, after
        here = self.table.c[self.column].in_(sa.select(id_list(conn, ids).c.id))
        if self.values is None:
            conn.execute(sa.delete(self.table).where(here))
        else:
            conn.execute(sa.update(self.table).where(here).values(**self.values))
        return len(ids), ids[-1]

    def count(self, conn: sa.Connection, before: datetime) -> int:
        """How many there are."""
        found = self.finds(before).subquery()
        return int(conn.execute(sa.select(sa.func.count()).select_from(found)).scalar_one())


def _details(before: datetime) -> Any:
    return sa.select(log_detail.c.log_id).join(log, log.c.id == log_detail.c.log_id).where(log.c.at < before)


def _evidence(before: datetime) -> Any:
    """Evidence of what does not hold any more. What a consent in force rests on is kept, its request too."""
    c, now = consent_event.c, consent_current.c
    holds = sa.exists().where(
        now.customer_id == c.customer_id, now.medium == c.medium, now.topic == c.topic, now.state == "granted"
    )
    return (
        sa.select(consent_evidence.c.event_id)
        .join(consent_event, c.id == consent_evidence.c.event_id)
        .where(c.received_at < before, ~holds.correlate(consent_event))
    )


def _events(before: datetime) -> Any:
    e = event.c
    somebodys = sa.or_(e.customer_id.isnot(None), e.account_id.isnot(None))
    return sa.select(e.id).where(e.received_at < before, somebodys)


def _answers(before: datetime) -> Any:
    return sa.select(survey_answer.c.id).where(survey_answer.c.day < before.date())


def _feedback(before: datetime) -> Any:
    return sa.select(feedback.c.id).where(feedback.c.received_at < before)


def _payloads(before: datetime) -> Any:
    """Of messages that are over; one whose outcome is uncertain still has to be asked about."""
    m = message.c
    full = sa.or_(m.provider_id.isnot(None), sa.cast(m.payload, sa.Text) != "{}")
    over = m.state.not_in(("planned", "held", "sending", "uncertain"))
    return sa.select(m.id).where(m.settled_at < before, over, full)


def _imports(before: datetime) -> Any:
    return sa.select(import_run.c.id).where(import_run.c.finished_at < before)


def _touches(before: datetime) -> Any:
    return sa.select(touch.c.id).where(touch.c.received_at < before)


def _cases(before: datetime) -> Any:
    return sa.select(support_case.c.id).where(support_case.c.closed_at < before)


_NOBODYS: Mapping[str, Any] = {
    "key": sa.literal("retained-") + sa.cast(event.c.id, sa.Text),
    "customer_id": sa.null(),
    "account_id": sa.null(),
    "properties": {},
}


KINDS: Mapping[str, tuple[Kind, ...]] = {
    "decision_details": (Kind(log_detail, "log_id", _details),),
    "consent_evidence": (Kind(consent_evidence, "event_id", _evidence),),
    "events": (Kind(event, "id", _events, _NOBODYS), Kind(survey_answer, "id", _answers)),
    "feedback": (Kind(feedback, "id", _feedback),),
    "message_payloads": (Kind(message, "id", _payloads, {"payload": {}, "provider_id": sa.null()}),),
    "import_runs": (Kind(import_run, "id", _imports),),
    "touches": (Kind(touch, "id", _touches), Kind(support_case, "id", _cases)),
}
"""By kind of record, as `policies.retention` names them."""
