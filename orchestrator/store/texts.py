"""Texts that people send us: whose number it is, what went to it last, and the opt-outs of numbers.

A number is several customers' at times (a family's, a company's), and may be nobody's that we know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from channels.base import Medium, Reason
from orchestrator.rules import ANSWERS
from orchestrator.store import log
from orchestrator.store.database import id_list, insert_ids, key_list
from orchestrator.store.keys import Keys
from orchestrator.store.tables import consent_current, consent_event, customer, event, message, suppression

_HANDED_OVER = ("sent", "delivered")  # never what may not have gone: feedback says of a message that it arrived
_LOOKED_AT = 20  # messages to one customer, newest first


class Owner(NamedTuple):
    """A customer who is reached at an address."""

    id: int
    account_id: int | None
    locale: str | None


class LastText(NamedTuple):
    """The newest text that went to a number: an answer is taken for one to it."""

    message_id: int
    attempt: int
    customer_id: int


def owners(conn: sa.Connection, medium: Medium, addresses: Iterable[str]) -> dict[str, list[Owner]]:
    """Whose these e-mail addresses or numbers are, by address; who was merged or erased is not there. One statement."""
    c = customer.c
    column = c.phone if medium is Medium.SMS else c.email
    listed = key_list(conn, set(addresses))
    query = sa.select(column, c.id, c.account_id, c.locale).join(listed, listed.c.key == column)
    found: dict[str, list[Owner]] = {}
    for address, *rest in conn.execute(query.where(c.merged_into.is_(None)).order_by(c.id)).all():
        found.setdefault(address, []).append(Owner(*rest))
    return found


def last_texts(
    conn: sa.Connection, keys: Keys, numbers: Mapping[str, Iterable[Owner]], within: timedelta, now: datetime
) -> dict[str, LastText]:
    """By number, the newest text that went to that very number within this time, our own answers apart."""
    whose = {owner.id: number for number, those in numbers.items() for owner in those}
    if not whose:
        return {}
    m, listed = message.c, id_list(conn, whose)
    newest = sa.func.row_number().over(partition_by=m.customer_id, order_by=m.id.desc()).label("n")
    recent = (
        sa.select(m.id, m.attempts, m.customer_id, m.decided_at, newest)
        .join(listed, listed.c.id == m.customer_id)
        .where(
            m.medium == Medium.SMS.value,
            m.addressee == "customer",
            m.state.in_(_HANDED_OVER),
            m.origin.not_in(sorted(ANSWERS)),
            m.decided_at > now - within,
        )
        .subquery()
    )
    columns = (recent.c.id, recent.c.attempts, recent.c.customer_id)
    query = sa.select(*columns).where(recent.c.n <= _LOOKED_AT).order_by(recent.c.decided_at, recent.c.id)
    rows = conn.execute(query).all()
    used = log.addresses_used(conn, keys, {(i, attempt) for i, attempt, _ in rows}) if rows else {}
    found: dict[str, LastText] = {}
    for i, attempt, customer_id in rows:  # the later ones have the last word
        number = whose[customer_id]
        if keys.address_key(Medium.SMS, number) in used.get((i, attempt), ()):
            found[number] = LastText(i, attempt, customer_id)
    return found


def heard_before(conn: sa.Connection, event_keys: Iterable[str]) -> set[str]:
    """Those of these keys under which a reply is kept already."""
    listed = key_list(conn, set(event_keys))
    query = sa.select(event.c.key).join(listed, listed.c.key == event.c.key).where(event.c.type == "message_replied")
    return set(conn.execute(query).scalars())


def said_before(conn: sa.Connection, keys: Keys, consent_keys: Iterable[str]) -> set[str]:
    """Those of these keys (the sender's) under which the ledger of consents has an event already."""
    hashes = {keys.hash("consent", key): key for key in consent_keys}
    listed = key_list(conn, set(hashes))
    query = sa.select(consent_event.c.key).join(listed, listed.c.key == consent_event.c.key)
    return {hashes[found] for found in conn.execute(query).scalars()}


# ---- opt-outs -------------------------------------------------------------------------------------------------------


def opt_out(conn: sa.Connection, at: Mapping[str, datetime]) -> set[str]:
    """Suppress numbers, by address key, since these instants and for good; those that were not suppressed so before."""
    if not at:
        return set()
    rows = [
        {"medium": Medium.SMS.value, "address_key": key, "reason": Reason.OPTED_OUT.value, "since": since}
        for key, since in sorted(at.items())
    ]
    return {key for (key,) in insert_ids(conn, suppression, rows, ("address_key",), ignore_conflicts=True)}


def opted_out(conn: sa.Connection, address_keys: Iterable[str]) -> dict[str, datetime]:
    """Which of these numbers somebody said STOP from (as an answer to us, and on no list), and when."""
    s, listed = suppression.c, key_list(conn, set(address_keys))
    query = sa.select(s.address_key, s.since).join(listed, listed.c.key == s.address_key)
    query = query.where(s.medium == Medium.SMS.value, s.reason == Reason.OPTED_OUT.value, s.source == "")
    return dict(conn.execute(query).tuples().all())


def refused_all(conn: sa.Connection, customer_ids: Iterable[int]) -> set[int]:
    """Those of these customers whose last word on all texts is a no."""
    c, listed = consent_current.c, id_list(conn, set(customer_ids))
    no = sa.select(c.customer_id, c.since).where(c.medium == Medium.SMS.value, c.topic == "*", c.state == "withdrawn")
    return {row.customer_id for row in conn.execute(no.join(listed, listed.c.id == c.customer_id))}
