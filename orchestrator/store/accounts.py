"""Reads about one account: its tree, its people by role, what it has, and what is under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.journey import Journey
from orchestrator.model import Vocabulary
from orchestrator.stages import STAGE, has_stages
from orchestrator.store.database import id_list, key_list
from orchestrator.store.explain import subject_of
from orchestrator.store.journeys import HIGHEST, above
from orchestrator.store.segments import Segments
from orchestrator.store.tables import (
    account,
    consent_current,
    customer,
    device,
    enrollment,
    event,
    loyalty,
    message,
    record,
    suppression,
)

Row = Mapping[str, Any]
_MOST = 200


def own(conn: sa.Connection, key: str) -> Row | None:
    """The account's row with its partner's key and word, and whether it has customers of its own; None: no account."""
    partner = account.alias("partner")
    theirs = sa.or_(
        sa.exists().where(customer.c.partner_id == account.c.id).correlate(account),
        sa.exists(sa.select(partner.c.id).where(partner.c.partner_id == account.c.id)).correlate(account),
    )
    named = account.alias("named")
    query = (
        sa.select(
            account,
            named.c.key.label("partner"),
            named.c.name.label("partner_name"),
            named.c.allows_contact.label("partner_allows"),
            theirs.label("is_partner"),
        )
        .outerjoin(named, named.c.id == account.c.partner_id)
        .where(account.c.key == key)
    )
    row = conn.execute(query).mappings().one_or_none()
    return dict(row) if row is not None else None


def tree(conn: sa.Connection, account_id: int) -> list[Row]:
    """The whole tree that an account stands in, from its top, mothers before daughters: id, key, name, class, tier,
    parent_id, level, and the number of contacts who have not left. Two statements; at most 200 accounts."""
    up = above(id_list(conn, [account_id]))
    top = conn.execute(sa.select(up.c.id).order_by(up.c.level.desc()).limit(1)).scalar_one()
    start = sa.select(account.c.id, sa.literal(0, sa.Integer()).label("level")).where(account.c.id == top)
    down = start.cte("down", recursive=True)
    child = account.alias("child")
    step = sa.select(child.c.id, down.c.level + 1).join(down, child.c.parent_id == down.c.id)
    down = down.union_all(step.where(down.c.level < HIGHEST))
    contacts = (
        sa.select(sa.func.count())
        .where(customer.c.account_id == account.c.id, customer.c.left_at.is_(None), customer.c.merged_into.is_(None))
        .correlate(account)
        .scalar_subquery()
    )
    names = ("id", "key", "name", "class", "tier", "parent_id")
    query = (
        sa.select(*(account.c[name] for name in names), down.c.level, contacts.label("contacts"))
        .join(down, down.c.id == account.c.id)
        .order_by(down.c.level, account.c.id)
        .limit(_MOST)
    )
    return _in_order([dict(row) for row in conn.execute(query).mappings()])


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """Each behind its mother."""
    daughters: dict[Any, list[Row]] = {}
    for row in rows[1:]:
        daughters.setdefault(row["parent_id"], []).append(row)
    found: list[Row] = []
    waiting = list(rows[:1])
    while waiting and len(found) < len(rows):
        found.append(row := waiting.pop())
        waiting += reversed(daughters.get(row["id"], []))
    return found


def contacts(conn: sa.Connection, account_id: int) -> list[Row]:
    """An account's people by role: id, key, role, since when they have left, their addresses (`mail`, `push`: whether
    there is one), and what they said yes to by medium (`yes`: email → topics). Two statements."""
    c = customer.c
    live = sa.exists().where(device.c.customer_id == c.id, device.c.retired_at.is_(None)).correlate(customer)
    query = sa.select(
        c.id, c.key, c.role, c.left_at, c.email, c.phone, c.street.is_not(None).label("mail"), live.label("push")
    ).where(c.account_id == account_id, c.merged_into.is_(None), c.erased_at.is_(None))
    rows = [dict(row) for row in conn.execute(query.order_by(c.role.is_(None), c.role, c.id).limit(_MOST)).mappings()]
    listed = id_list(conn, [row["id"] for row in rows])
    of = consent_current.c
    given = sa.select(of.customer_id, of.medium, of.topic).join(listed, listed.c.id == of.customer_id).distinct()
    yes: dict[int, dict[str, list[str]]] = {}
    for one in conn.execute(given.where(of.state == "granted").order_by(of.customer_id, of.medium, of.topic)):
        yes.setdefault(one.customer_id, {}).setdefault(one.medium, []).append(one.topic)
    return [{**row, "yes": yes.get(row["id"], {})} for row in rows]


def records(conn: sa.Connection, account_id: int, vocabulary: Vocabulary) -> list[Row]:
    """What an account has several of, by type: key, fields, and since when it stands in its stage."""
    r = record.c
    query = sa.select(r.type, r.key, r.fields, r.stage_since).where(r.account_id == account_id)
    return [
        {**row, "stage": row["fields"].get(STAGE) if has_stages(vocabulary.records.get(row["type"])) else None}
        for row in conn.execute(query.order_by(r.type, r.id.desc()).limit(_MOST)).mappings()
    ]


def standing(conn: sa.Connection, account_id: int) -> Row:
    """What the programme knows of the account; empty where it knows nothing."""
    query = sa.select(loyalty).where(loyalty.c.unit == "account", loyalty.c.unit_id == account_id)
    row = conn.execute(query).mappings().one_or_none()
    return {} if row is None else {name: value for name, value in row.items() if value is not None}


def runs(conn: sa.Connection, account_id: int) -> list[Row]:
    """Journeys that the account is in: journey, step, entered_at, wake_at."""
    e = enrollment.c
    query = sa.select(e.journey, e.step, e.entered_at, e.wake_at).where(
        e.unit == "account", e.unit_id == account_id, e.ended_at.is_(None)
    )
    return [dict(row) for row in conn.execute(query.order_by(e.entered_at, e.id)).mappings()]


def in_audience(conn: sa.Connection, segments: Segments, journey: Journey, account_id: int, now: datetime) -> bool:
    """Whether a journey is for this account; where its audience speaks of a record or an event, for any of its own."""
    if journey.audience is None:
        return True
    about = subject_of(journey.audience)
    mine = account.c.id == account_id
    if about is None:
        holds = segments.predicate(journey.audience, account, now=now)
        return conn.execute(sa.select(account.c.id).where(mine, holds)).first() is not None
    table, kind = (record, journey.record) if about == "record" else (event, journey.event)
    subject: dict[str, Any] = {about: table.c.id}
    holds = segments.predicate(journey.audience, account, now=now, **subject)
    query = sa.select(account.c.id).join(table, table.c.account_id == account.c.id)
    return conn.execute(query.where(mine, table.c.type == kind, holds).limit(1)).first() is not None


def keys_of(conn: sa.Connection, customer_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """(key, the account's key) of people by id."""
    listed = id_list(conn, customer_ids)
    query = sa.select(customer.c.id, customer.c.key, account.c.key.label("account")).join(
        listed, listed.c.id == customer.c.id
    )
    query = query.join(account, account.c.id == customer.c.account_id)
    return {row.id: (row.key, row.account) for row in conn.execute(query)}


def last_written(conn: sa.Connection, account_id: int) -> dict[int, datetime]:
    """When each contact was last written to about the account, by customer id."""
    m = message.c
    query = sa.select(m.customer_id, sa.func.max(m.settled_at)).where(
        m.account_id == account_id, m.addressee == "customer", m.state.in_(("sent", "delivered"))
    )
    return {row[0]: row[1] for row in conn.execute(query.group_by(m.customer_id)) if row[1] is not None}


def suppressed(conn: sa.Connection, hashes: Iterable[str], now: datetime) -> set[tuple[str, str]]:
    """(medium, address key) of those of these addresses that are not written to now."""
    listed, s = key_list(conn, set(hashes)), suppression.c
    query = sa.select(s.medium, s.address_key).join(listed, listed.c.key == s.address_key)
    return {
        (row.medium, row.address_key) for row in conn.execute(query.where(sa.or_(s.until.is_(None), s.until > now)))
    }
