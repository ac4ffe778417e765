"""What happened, in numbers, for whoever looks on. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.store.tables import account, customer, log, message, tick

WENT_OUT = ("sent", "delivered", "bounced", "failed", "uncertain")
"""States of a message that was handed over, or may have been."""


@dataclass(frozen=True, slots=True)
class Received:
    """So many messages that people of a class and tier were sent. `tier` is today's; of an account, its contacts'."""

    journey: str
    customer_class: str
    tier: str
    medium: str
    template: str
    count: int


def received(conn: sa.Connection) -> list[Received]:
    """Who got what, by class and tier; what account managers got counts for the account's class and tier.
    What no journey sent stands under its origin, such as `complaint`."""
    of_class = sa.func.coalesce(customer.c["class"], account.c["class"], "").label("customer_class")
    tier = sa.func.coalesce(customer.c.tier, account.c.tier, "").label("tier")
    journey = sa.func.coalesce(message.c.journey, message.c.origin, "").label("journey")
    columns = (journey, of_class, tier, message.c.medium, message.c.template)
    rows = conn.execute(
        sa.select(*columns, sa.func.count())
        .select_from(message)
        .outerjoin(customer, customer.c.id == message.c.customer_id)
        .outerjoin(account, account.c.id == message.c.account_id)
        .where(message.c.state.in_(WENT_OUT))
        .group_by(*columns)
        .order_by(*columns)
    )
    return [Received(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Texted:
    """So many texts of a template that went out alike: as so many segments each, and what they cost together
    (in millionths of the currency; 0 where texts have no price)."""

    template: str
    encoding: str
    segments: int
    count: int
    cost: int
    currency: str


def texted(conn: sa.Connection) -> list[Texted]:
    """Texts that went out, by template and size, with what they cost: from the log's last decision on each."""
    newest = (
        sa.select(sa.func.max(log.c.id))
        .join(message, message.c.id == log.c.message_id)
        .where(log.c.kind == "decision", log.c.verdict == "allow")
        .where(message.c.medium == "sms", message.c.state.in_(WENT_OUT))
        .group_by(log.c.message_id)
    )
    query = sa.select(message.c.template, message.c.step, log.c.body).join(message, message.c.id == log.c.message_id)
    found: dict[tuple[str, str, int, str], list[int]] = {}
    for template, step, body in conn.execute(query.where(log.c.id.in_(newest))):
        told = msgspec.json.decode(body).get("segments") or {}
        key = (template or step, told.get("encoding", ""), told.get("count", 1), told.get("currency", ""))
        found.setdefault(key, []).append(told.get("cost", 0))
    return [
        Texted(template, encoding, segments, len(costs), sum(costs), currency)
        for (template, encoding, segments, currency), costs in sorted(found.items())
    ]


def an_example(conn: sa.Connection, verdicts: Sequence[str], reasons: Sequence[str] = ()) -> tuple[str, str] | None:
    """The (customer key, journey) of the newest message of which the log says one of these; None when there is none."""
    query = (
        sa.select(customer.c.key, message.c.journey)
        .select_from(log)
        .join(message, message.c.id == log.c.message_id)
        .join(customer, customer.c.id == message.c.customer_id)
        .where(log.c.verdict.in_(verdicts), message.c.journey.is_not(None))
        .order_by(log.c.id.desc())
        .limit(1)
    )
    if reasons:
        query = query.where(log.c.reason.in_(reasons))
    row = conn.execute(query).one_or_none()
    return None if row is None else (row.key, row.journey)


@dataclass(frozen=True, slots=True)
class Sent:
    """So many messages to one customer, or to an account's people and its manager."""

    medium: str
    topic: str
    journey: str
    count: int


def _of_unit(unit: Unit) -> Any:
    """Whose a message is, as a unit's id."""
    return customer.c.id if unit == "customer" else sa.func.coalesce(customer.c.account_id, message.c.account_id)


def most_written_to(
    conn: sa.Connection, unit: Unit, class_name: str, tiers: Sequence[str]
) -> tuple[int, str, str | None] | None:
    """(id, key, tier) of the unit of this class, and of the first of these tiers that anybody is in, who was reached
    on the most media and most often; None where nobody is of these."""
    table = customer if unit == "customer" else account
    sent = (
        sa.select(_of_unit(unit).label("id"), sa.func.count(message.c.medium.distinct()).label("media"),
                  sa.func.count().label("messages"))
        .select_from(message.outerjoin(customer, customer.c.id == message.c.customer_id))
        .where(message.c.state.in_(WENT_OUT))
        .group_by(_of_unit(unit))
        .subquery()
    )  # fmt: skip
    place = sa.case({tier: n for n, tier in enumerate(tiers)}, value=table.c.tier)
    most = (sa.func.coalesce(sent.c.media, 0).desc(), sa.func.coalesce(sent.c.messages, 0).desc())
    query = (
        sa.select(table.c.id, table.c.key, table.c.tier)
        .outerjoin(sent, sent.c.id == table.c.id)
        .where(table.c["class"] == class_name, table.c.tier.in_(tiers))
        .order_by(place, *most, table.c.key)
        .limit(1)
    )
    if unit == "customer":
        query = query.where(customer.c.merged_into.is_(None), customer.c.left_at.is_(None))
    row = conn.execute(query).one_or_none()
    return None if row is None else (row.id, row.key, row.tier)


def sent_to(conn: sa.Connection, unit: Unit, unit_id: int) -> list[Sent]:
    """What went out to a unit, by medium, topic and journey, in the order in which it began."""
    columns = (message.c.medium, message.c.topic, sa.func.coalesce(message.c.journey, ""))
    rows = conn.execute(
        sa.select(*columns, sa.func.count())
        .select_from(message.outerjoin(customer, customer.c.id == message.c.customer_id))
        .where(message.c.state.in_(WENT_OUT), _of_unit(unit) == unit_id)
        .group_by(*columns)
        .order_by(sa.func.min(message.c.id))
    )
    return [Sent(*row) for row in rows]


def newest_tick(conn: sa.Connection) -> datetime | None:
    """The instant that the newest tick took for now; None before the first."""
    return conn.execute(sa.select(tick.c.now).order_by(tick.c.id.desc()).limit(1)).scalar_one_or_none()
