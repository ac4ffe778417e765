"""Whom and what a message's link is about, or where it leads: one query for each page that is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from channels.base import EventKind, Medium
from orchestrator.model import Json
from orchestrator.store import log
from orchestrator.store.database import bound_keys, insert_many
from orchestrator.store.keys import Keys
from orchestrator.store.tables import consent_current, consent_event, customer, feedback, link, message

GIVEN = ("grant", "confirm", "import")
"""What is a yes."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A message to a customer about whom something is held. `customer_id`: who it is now (after a merge)."""

    message_id: int
    customer_id: int
    medium: Medium
    topic: str
    purpose: str
    origin: str
    journey: str | None
    step: str
    attempts: int
    planned_at: datetime
    payload: Json
    locale: str | None
    email: str | None
    phone: str | None


def linked(conn: sa.Connection, message_id: int) -> Linked | None:
    """None where there is nobody (any more) whom the link could be about: no such message, one to our own people, or
    to somebody who has been erased."""
    m, written_to, now = message.c, customer.alias("written_to"), customer.alias("now")
    columns = (m.medium, m.topic, m.purpose, m.origin, m.journey, m.step, m.attempts, m.planned_at, m.payload)
    row = conn.execute(
        sa.select(now.c.id, *columns, now.c.locale, now.c.email, now.c.phone)
        .select_from(
            message.join(written_to, written_to.c.id == m.customer_id).join(
                now, now.c.id == sa.func.coalesce(written_to.c.merged_into, written_to.c.id)
            )
        )
        .where(m.id == message_id, m.addressee == "customer")
        .where(written_to.c.erased_at.is_(None), now.c.erased_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    customer_id, medium, *about, payload, locale, email, phone = row
    rest: list[Any] = [*about, payload or {}, locale, email, phone]
    return Linked(message_id, customer_id, Medium(medium), *rest)


def hold(conn: sa.Connection, message_id: int) -> Linked | None:
    """The same for who writes: until the transaction ends, the person is neither erased nor merged into another."""
    found = linked(conn, message_id)
    while found is not None:
        # As strong as erasing and merging need it to wait, and no hindrance to rows that only name the customer.
        person = sa.select(customer.c.id).where(customer.c.id == found.customer_id)
        conn.execute(person.with_for_update(key_share=True))
        again = linked(conn, message_id)
        if again is None or again.customer_id == found.customer_id:
            return again
        found = again
    return None


def is_still_theirs(conn: sa.Connection, keys: Keys, one: Linked) -> bool:
    """Whether the address that the message went to is its customer's still: whoever has an old mailbox, or an old
    number, must neither learn nor prove anything by what lies in it. True of media without a single address."""
    own = {Medium.EMAIL: one.email, Medium.SMS: one.phone}
    if one.medium not in own:
        return True
    last = (one.message_id, one.attempts)
    return keys.address_key(one.medium, own[one.medium] or "") in log.addresses_used(conn, keys, {last}).get(last, ())


def newest_yes(conn: sa.Connection, customer_id: int, media: Iterable[str], topic: str) -> dict[str, int]:
    """The id of the newest yes that a no to this topic ("*": to all) would end, by medium; 0 where there was none.

    What is said by a link is known by the yes that it answers: said twice it is one word, and after a new yes another.
    """
    c, wanted = consent_event.c, list(media)
    mine = [c.customer_id == customer_id, c.medium.in_(wanted), c.action.in_(GIVEN)]
    if topic != "*":
        mine.append(c.topic.in_((topic, "*")))
    rows = conn.execute(sa.select(c.medium, sa.func.max(c.id)).where(*mine).group_by(c.medium)).tuples()
    return dict.fromkeys(wanted, 0) | dict(rows.all())


def said_of(conn: sa.Connection, customer_id: int, medium: str, topics: Iterable[str]) -> dict[str, str]:
    """By topic, what holds: "granted", "withdrawn", "expired", "requested"; topics nothing was said of are left out.

    What somebody said of "*" is not looked at.
    """
    c = consent_current.c
    where = (c.customer_id == customer_id, c.medium == medium, c.topic.in_(list(topics)))
    found: dict[str, str] = {}
    order = ("requested", "expired", "withdrawn", "granted")  # a yes that stands is newer than the no beside it
    for topic, state in conn.execute(sa.select(c.topic, c.state).where(*where)).tuples():
        if topic not in found or order.index(state) > order.index(found[topic]):
            found[topic] = state
    return found


def confirmed_of(
    conn: sa.Connection, customer_id: int, medium: str, topics: Iterable[str], now: datetime
) -> frozenset[str]:
    """Those of these topics to which there is a confirmed yes already that still holds."""
    c = consent_current.c
    mine = (c.customer_id == customer_id, c.medium == medium, c.topic.in_(list(topics)))
    holds = (c.state == "granted", c.confirmed, sa.or_(c.until.is_(None), c.until > now))
    return frozenset(conn.execute(sa.select(c.topic).where(*mine, *holds)).scalars())


# ---- links that lead elsewhere --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """What a counted link leads to. `attempts` 0: no message of ours that has been sent; `clicked_at`: when the same
    link of the same message was followed last."""

    url: str
    attempts: int
    clicked_at: datetime | None


def keep(conn: sa.Connection, targets: Mapping[str, str]) -> int:
    """Store what counted links lead to, by key; what is known stays. What has been sent must lead there for years:
    nothing is ever taken out. Returns how many were new."""
    rows = sorted(targets.items())
    return insert_many(conn, link, rows, columns=("key", "url"), ignore_conflicts=True) if rows else 0


def kept(conn: sa.Connection, keys: Iterable[str]) -> frozenset[str]:
    """Those of these keys under which something is stored."""
    return frozenset(conn.execute(_kept(conn.dialect.name), {"keys": list(keys)}).scalars())


@cache
def _kept(dialect: str) -> sa.Select[tuple[str]]:
    return sa.select(link.c.key).where(link.c.key.in_(sa.select(bound_keys(dialect).c.key)))


def target(conn: sa.Connection, message_id: int, key: str) -> Target | None:
    """What this link of this message leads to: one query. None for a key under which nothing is stored."""
    f = feedback.c
    mine = (f.message_id == message_id, f.kind == EventKind.CLICKED.value, f.url == link.c.url)
    last = sa.select(sa.func.max(f.at)).where(*mine).scalar_subquery()
    sent = sa.select(message.c.attempts).where(message.c.id == message_id).scalar_subquery()
    row = conn.execute(sa.select(link.c.url, sent, last).where(link.c.key == key)).one_or_none()
    return None if row is None else Target(row[0], row[1] or 0, row[2])
