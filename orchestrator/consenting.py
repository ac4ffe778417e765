"""What people say by a message's link: no to a topic, no to everything, yes to what they were asked to confirm.

All of it goes through `ingest`, which alone records consent. A link is followed more than once (a reload, a mailbox
provider's machine, a year later): the same word is one event, and after a new yes the same link says a new no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from channels.base import EventKind, Medium
from orchestrator.apply import Force
from orchestrator.ingest import record_consents
from orchestrator.outbound import Asked
from orchestrator.store import log, outbox
from orchestrator.store.feedback import add_feedback
from orchestrator.store.keys import Keys
from orchestrator.store.links import Linked, confirmed_of, newest_yes, said_of

EVERYTHING = "*"
MEDIA = (Medium.EMAIL, Medium.SMS, Medium.PUSH, Medium.MAIL)
"""On which people are written to, and on all of which "nothing more" holds."""
CONFIRMATION = "confirmation"
"""The origin of the message that asks for a confirmation (double opt-in)."""

Evidence = Mapping[str, Any]
"""Of what is said: method, wording (the words shown), wording_version, language, source_url, ip, agent, jurisdiction;
what of it names a person is sealed (`store.consents.EVIDENCE`)."""


# ---- no -------------------------------------------------------------------------------------------------------------


def unsubscribe(
    conn: sa.Connection, keys: Keys, link: Linked, *, everything: bool, evidence: Evidence, now: datetime
) -> int:
    """Record that the customer does not want the message's topic on its medium any more, or no advertising at all;
    returns how many new events that were (0: it was said already, and no yes came since).

    What is queued is stopped by the last look before each hand-over. The message is told of it, once.
    """
    topic = EVERYTHING if everything or not link.topic else link.topic
    media = [*(medium.value for medium in MEDIA), Medium.AUDIENCE.value] if everything else [link.medium.value]
    rows = [
        {
            "key": f"unsubscribe:{link.customer_id}:{medium}:{topic}:{answered}",
            "customer_id": link.customer_id,
            "medium": medium,
            "topic": topic,
            "action": "withdraw",
            "occurred_at": now,
            "source": f"message {link.message_id}",
            **evidence,
        }
        for medium, answered in newest_yes(conn, link.customer_id, media, topic).items()
    ]
    recorded = record_consents(conn, keys, rows, now=now)
    if recorded:
        _tell(conn, keys, link, now)
    return recorded


def _tell(conn: sa.Connection, keys: Keys, link: Linked, now: datetime) -> None:
    """In the message's own history: what it led to is counted by message."""
    kind = EventKind.UNSUBSCRIBED.value
    row = {"message_id": link.message_id, "kind": kind, "at": now, "received_at": now, "url": "", "reason": None}
    if add_feedback(conn, [row]):
        about = {"journey": link.journey, "step": link.step, "medium": link.medium.value, "at": now.isoformat()}
        body = {name: value for name, value in about.items() if value}
        entry = log.Entry("feedback", now, link.message_id, max(link.attempts, 1), kind, body=body)
        log.append(conn, [entry._replace(customer_id=link.customer_id)])


# ---- yes, twice -----------------------------------------------------------------------------------------------------

Asking = Literal["asked", "asked_today", "known", "no_template", "no_address"]
"""What became of a question: it goes out; one went to this address today already; all of it is confirmed already;
workspace.yaml names no message to ask with; the customer has no address on the medium."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asked for and shall confirm: topics by the id under which each request was recorded."""

    medium: Medium
    requests: Mapping[str, str]
    until: datetime


def ask_confirmation(
    conn: sa.Connection,
    keys: Keys,
    force: Force,
    customer_id: int,
    address: str,
    topics: Sequence[str],
    *,
    evidence: Evidence,
    now: datetime,
    medium: Medium = Medium.EMAIL,
) -> Asking:
    """Record that a sign-up asked for these topics, and plan the one message that asks its reader to confirm them.

    `address`: the customer's own on the medium, as it is stored; `evidence`: of the sign-up. Nothing is sent on a
    request. At most one such message a day goes to an address (by UTC's calendar), whoever asks: a form that anybody
    can fill in must not become a way to flood somebody's mailbox. A suppressed address gets none: the gate sees to it.
    """
    opt_in = force.project.vocabulary.policies.double_opt_in
    template = force.project.templates.get(medium, opt_in.template) if opt_in is not None else None
    if opt_in is None or template is None:
        return "no_template"
    if not address:
        return "no_address"
    confirmed = confirmed_of(conn, customer_id, medium.value, topics, now)
    wanted = [topic for topic in dict.fromkeys(topics) if topic not in confirmed]
    if not wanted:
        return "known"
    day = f"{keys.address_key(medium, address)}:{now:%Y-%m-%d}"
    requests = {topic: f"request:{day}:{medium}:{topic}" for topic in wanted}
    topic, purpose = force.topic(medium, opt_in.template)
    asked = Asked(
        CONFIRMATION,
        day,
        "customer",
        customer_id,
        customer_id,
        None,
        medium,
        opt_in.template,
        topic,
        purpose,
        expires_at=now + opt_in.within,
        payload={"requests": requests},
    )
    if not outbox.plan(conn, [asked], now):
        return "asked_today"
    rows = [
        {
            "key": key,
            "customer_id": customer_id,
            "medium": medium.value,
            "topic": topic,
            "action": "request",
            "occurred_at": now,
            "method": "form",
            **evidence,
        }
        for topic, key in requests.items()
    ]
    record_consents(conn, keys, rows, now=now)
    return "asked"


def question(link: Linked, within: timedelta) -> Question | None:
    """What a confirmation's message asks; None for a message that asks nothing."""
    requests = link.payload.get("requests")
    if link.origin != CONFIRMATION or not isinstance(requests, dict):
        return None
    return Question(link.medium, requests, link.planned_at + within)


def confirm(
    conn: sa.Connection, keys: Keys, link: Linked, asked: Question, *, evidence: Evidence, now: datetime
) -> dict[str, str]:
    """Record the yes to each request, once; returns what holds of its topics then ("granted", "withdrawn", …): who
    has said no since is not brought back by following the old link again."""
    rows = [
        {
            "key": f"confirm:{key}",
            "answers": key,
            "customer_id": link.customer_id,
            "medium": asked.medium.value,
            "topic": topic,
            "action": "confirm",
            "occurred_at": now,
            "method": "double_opt_in",
            "source": f"message {link.message_id}",
            **evidence,
        }
        for topic, key in asked.requests.items()
    ]
    record_consents(conn, keys, rows, now=now)
    return said_of(conn, link.customer_id, asked.medium.value, asked.requests)
