"""Reads that answer people's questions: who somebody is, what happened to them, and what holds of them now.

Statements are few and bound to one customer, one account or one page of rows; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from orchestrator.condition import Condition
from orchestrator.journey import Journey
from orchestrator.model import Unit
from orchestrator.store.database import id_list
from orchestrator.store.meaning import Meaning
from orchestrator.store.scalars import Frame, Place
from orchestrator.store.segments import Segments
from orchestrator.store.tables import (
    account,
    batch,
    consent_event,
    customer,
    device,
    enrollment,
    event,
    log,
    message,
    record,
    segment_member,
    suppression,
    tier_change,
    trace,
)
from orchestrator.terms import And, Node, Ref, text, walk
from orchestrator.trigger import SegmentTrigger

Row = Mapping[str, Any]


# ---- audiences ------------------------------------------------------------------------------------------------------


def audience_size(conn: sa.Connection, segments: Segments, journey: Journey, now: datetime) -> int:
    """How many units the journey's audience is true of; where it speaks of a record or an event, of any of theirs."""
    about = None if journey.audience is None else subject_of(journey.audience)
    if journey.audience is None or about is None:
        return segments.count(conn, journey.audience, journey.unit, now)
    among = _audience(segments, journey, now).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(among)).scalar_one())


def without_manager(conn: sa.Connection, segments: Segments, journeys: Iterable[Journey], now: datetime) -> int:
    """How many accounts in these journeys' audiences, or of customers in them, have no manager with an address."""
    told = []
    for journey in journeys:
        ids: Any = _audience(segments, journey, now)
        if journey.unit == "customer":
            ids = sa.select(customer.c.account_id).where(customer.c.id.in_(ids))
        told.append(account.c.id.in_(ids))
    if not told:
        return 0
    query = sa.select(sa.func.count()).select_from(account).where(account.c.manager_email.is_(None), sa.or_(*told))
    return int(conn.execute(query).scalar_one())


def _audience(segments: Segments, journey: Journey, now: datetime) -> sa.Select[tuple[int]]:
    """The ids of the units it is true of."""
    about = None if journey.audience is None else subject_of(journey.audience)
    if journey.audience is None or about is None:
        return segments.audience(journey.audience, journey.unit, now)
    unit = customer if journey.unit == "customer" else account
    subject = record if about == "record" else event
    kind = journey.record if about == "record" else journey.event
    owner = _owner(subject, journey.unit)
    place: dict[str, Any] = {"record" if subject is record else "event": subject.c.id}
    where = [subject.c.type == kind, segments.predicate(journey.audience, unit, now=now, **place)]
    if unit is customer:
        where += [customer.c.merged_into.is_(None), customer.c.erased_at.is_(None)]
    return sa.select(unit.c.id).distinct().select_from(subject.join(unit, unit.c.id == owner)).where(*where)


def entering_size(
    conn: sa.Connection, segments: Segments, journey: Journey, triggers: Sequence[SegmentTrigger], now: datetime
) -> int:
    """How many of those in one of these (or out) already the next look lets in: of the audience, and kept out by no
    run. Each once, by however many triggers."""
    unit = customer if journey.unit == "customer" else account
    meant = []
    for trigger in triggers:
        within = segments.predicate(segments.named(trigger.segment), unit, now=now)
        meant.append(within if trigger.direction == "entry" else ~within)
    where = [sa.or_(sa.false(), *meant)]
    if unit is customer:
        where += [customer.c.merged_into.is_(None), customer.c.left_at.is_(None)]
    if journey.audience is not None:
        where.append(segments.predicate(journey.audience, unit, now=now))
    run = enrollment.c
    kept_out = [run.live_key == ""] if journey.overlap != "allow" else []
    if journey.reentry.kind == "once":
        kept_out.append(run.run_key == "once")
    if journey.reentry.kind == "after" and journey.reentry.after is not None:
        kept_out.append(run.entered_at > now - journey.reentry.after)
    if kept_out:
        theirs = (run.journey == journey.name, run.unit == journey.unit, run.unit_id == unit.c.id)
        where.append(~sa.exists().where(*theirs, sa.or_(*kept_out)))
    return int(conn.execute(sa.select(sa.func.count()).select_from(unit).where(*where)).scalar_one())


def subject_of(condition: Condition) -> Literal["record", "event"] | None:
    """What a condition names beside the unit: the record or the event that is in scope; None: neither."""
    owners = {node.owner for node in walk(condition.root) if isinstance(node, Ref)}
    return "record" if "record" in owners else "event" if "event" in owners else None


def _owner(subject: sa.Table, unit: Unit) -> Any:
    if unit == "customer":
        return subject.c.customer_id
    if subject is record:
        return record.c.account_id
    theirs = sa.select(customer.c.account_id).where(customer.c.id == event.c.customer_id).scalar_subquery()
    return sa.func.coalesce(event.c.account_id, theirs)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts that a condition joins by `and`. `truth` None: unknown, which is no match."""

    text: str
    truth: bool | None


def parts_of(
    conn: sa.Connection,
    segments: Segments,
    condition: Condition,
    unit_id: int,
    now: datetime,
    *,
    unit: Unit | None = None,
    event_id: int | None = None,
    record_id: int | None = None,
) -> tuple[Part, ...]:
    """Each part of a condition, and whether it is true of one unit now. One statement. Empty when there is no unit."""
    parts: tuple[Node, ...] = condition.root.parts if isinstance(condition.root, And) else (condition.root,)
    meaning = Meaning(segments.vocabulary, segments.segments, segments.dialect, now)
    event_at = Place("event", id=sa.literal(event_id, sa.BigInteger())) if event_id is not None else None
    record_at = Place("record", id=sa.literal(record_id, sa.BigInteger())) if record_id is not None else None
    if (unit or condition.unit) == "customer":
        source: sa.FromClause = customer.outerjoin(account, account.c.id == customer.c.account_id)
        frame = Frame("customer", customer, Place("account", account), None, event_at, record_at)
        here = customer.c.id == unit_id
    else:
        source, here = account, account.c.id == unit_id
        frame = Frame("account", account, None, None, event_at, record_at)
    columns = [meaning.truth(part, frame).label(f"p{n}") for n, part in enumerate(parts)]
    row = conn.execute(sa.select(*columns).select_from(source).where(here)).one_or_none()
    if row is None:
        return ()
    return tuple(
        Part(text(part), None if found is None else bool(found)) for part, found in zip(parts, row, strict=True)
    )


# ---- who is who -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a key names. A key that was merged away names the customer it went into, and `merged_from` is the key.

    For an account `customer_id` is None; `account_id` is a contact's account, too.
    """

    key: str
    customer_id: int | None
    account_id: int | None
    account_key: str | None
    left_at: datetime | None = None
    merged_from: str | None = None
    role: str | None = None

    def unit_id(self, unit: Unit) -> int | None:
        """Of a journey about this kind of unit: whose run it would be."""
        return self.customer_id if unit == "customer" else self.account_id


def who(conn: sa.Connection, key: str) -> Who | None:
    """A customer by key, or else an account; None when nobody is called that."""
    kept, company = customer.alias("kept"), account.alias("company")
    row = conn.execute(
        sa.select(
            kept.c.key,
            kept.c.id,
            kept.c.account_id,
            company.c.key.label("account_key"),
            kept.c.left_at,
            customer.c.id,
            kept.c.role,
        )
        .select_from(
            customer.join(kept, kept.c.id == sa.func.coalesce(customer.c.merged_into, customer.c.id)).outerjoin(
                company, company.c.id == kept.c.account_id
            )
        )
        .where(customer.c.key == key)
    ).one_or_none()
    if row is not None:
        return Who(row[0], row[1], row[2], row[3], row[4], key if row[5] != row[1] else None, row[6])
    found = conn.execute(sa.select(account.c.id).where(account.c.key == key)).scalar_one_or_none()
    return None if found is None else Who(key, None, found, key)


def contacts(conn: sa.Connection, account_id: int, limit: int = 200) -> list[Row]:
    """An account's people: key, role, whether they have left."""
    c = customer.c
    query = sa.select(c.key, c.role, c.left_at).where(c.account_id == account_id, c.merged_into.is_(None))
    return _rows(conn, query.order_by(c.id).limit(limit))


def profile(conn: sa.Connection, one: Who) -> Row:
    """The person's or the company's own row."""
    table, found = (customer, one.customer_id) if one.customer_id is not None else (account, one.account_id)
    return dict(conn.execute(sa.select(table).where(table.c.id == found)).mappings().one())


def suppressions(conn: sa.Connection, keys: Iterable[tuple[str, str]]) -> list[Row]:
    """Suppressions of addresses: (medium, address key) each."""
    s = suppression.c
    pairs = [sa.and_(s.medium == medium, s.address_key == key) for medium, key in keys]
    if not pairs:
        return []
    return _rows(conn, sa.select(s.medium, s.reason, s.since, s.until).where(sa.or_(*pairs)).order_by(s.since))


def devices(conn: sa.Connection, customer_id: int) -> list[Row]:
    """A customer's devices: token, platform, when known and retired."""
    d = device.c
    query = sa.select(d.token, d.platform, d.created_at, d.retired_at).where(d.customer_id == customer_id)
    return _rows(conn, query.order_by(d.id))


def events_of(conn: sa.Connection, one: Who, limit: int) -> list[Row]:
    """The newest events about somebody, newest first."""
    e = event.c
    mine = e.customer_id == one.customer_id if one.customer_id is not None else e.account_id == one.account_id
    query = sa.select(e.id, e.type, e.key, e.occurred_at, e.received_at, e.properties).where(mine)
    return _rows(conn, query.order_by(e.occurred_at.desc(), e.id.desc()).limit(limit))


def events_by_id(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Row]:
    """Type, key and instants of events."""
    listed = id_list(conn, sorted(set(ids)))
    e = event.c
    columns = (e.id, e.type, e.key, e.occurred_at, e.received_at)
    return {row["id"]: row for row in _rows(conn, sa.select(*columns).join(listed, listed.c.id == e.id))}


def records_by_id(conn: sa.Connection, ids: Iterable[int]) -> dict[int, Row]:
    """Type and key of records."""
    listed = id_list(conn, sorted(set(ids)))
    r = record.c
    return {row["id"]: row for row in _rows(conn, sa.select(r.id, r.type, r.key).join(listed, listed.c.id == r.id))}


def tier_changes(conn: sa.Connection, one: Who, limit: int = 20) -> list[Row]:
    """The newest tier changes of somebody, a contact's account's too; newest first."""
    t = tier_change.c
    mine = [sa.and_(t.unit == "customer", t.unit_id == one.customer_id)] if one.customer_id is not None else []
    mine += [sa.and_(t.unit == "account", t.unit_id == one.account_id)] if one.account_id is not None else []
    columns = (t.id, t.unit, t.from_tier, t.to_tier, t.direction, t.at, t.received_at)
    return _rows(conn, sa.select(*columns).where(sa.or_(*mine)).order_by(t.id.desc()).limit(limit))


# ---- what happened --------------------------------------------------------------------------------------------------


def runs(conn: sa.Connection, one: Who, journey: str | None = None, limit: int = 100) -> list[Row]:
    """Somebody's newest runs, and those of a contact's account, oldest first."""
    e = enrollment.c
    mine = [sa.and_(e.unit == "customer", e.unit_id == one.customer_id)] if one.customer_id is not None else []
    mine += [sa.and_(e.unit == "account", e.unit_id == one.account_id)] if one.account_id is not None else []
    query = sa.select(enrollment).where(sa.or_(*mine)).order_by(e.entered_at.desc(), e.id.desc()).limit(limit)
    if journey is not None:
        query = query.where(e.journey == journey)
    return _rows(conn, query)[::-1]


def diary(conn: sa.Connection, run_ids: Sequence[int]) -> list[Row]:
    """What these runs did, in order: enrollment_id, at, step, visit, what, detail."""
    listed = id_list(conn, run_ids)
    query = sa.select(trace).join(listed, listed.c.id == trace.c.enrollment_id)
    return _rows(conn, query.order_by(trace.c.enrollment_id, trace.c.id))


def messages_of_runs(conn: sa.Connection, run_ids: Sequence[int]) -> list[Row]:
    """Messages of these runs in order of id, each with its addressee's key and when it is looked at next."""
    listed = id_list(conn, run_ids)
    return _rows(conn, _messages().where(message.c.enrollment_id.in_(sa.select(listed.c.id))).order_by(message.c.id))


def messages_to(conn: sa.Connection, customer_id: int, limit: int) -> list[Row]:
    """The newest messages to a customer, newest first, whatever they come from."""
    query = _messages().where(message.c.customer_id == customer_id, message.c.addressee == "customer")
    return _rows(conn, query.order_by(message.c.id.desc()).limit(limit))


def message_by_id(conn: sa.Connection, message_id: int) -> Row | None:
    """One message, as `messages_of_runs` has it."""
    found = _rows(conn, _messages().where(message.c.id == message_id))
    return found[0] if found else None


def _messages() -> sa.Select[Any]:
    return (
        sa.select(message, batch.c.due_at.label("next_at"), customer.c.key.label("to_key"))
        .join(batch, batch.c.id == message.c.batch_id)
        .outerjoin(customer, customer.c.id == message.c.customer_id)
    )


# ---- what holds now -------------------------------------------------------------------------------------------------


def member_since(conn: sa.Connection, journey: str, trigger: str, unit_id: int) -> datetime | None:
    """Since when a trigger knows somebody as a member of its segment; None when it does not."""
    m = segment_member.c
    query = sa.select(m.since).where(m.journey == journey, m.trigger == trigger, m.unit_id == unit_id)
    return conn.execute(query).scalar_one_or_none()


def newest_events(conn: sa.Connection, one: Who, unit: Unit, kind: str, limit: int = 3) -> list[Row]:
    """The newest events of a type about a unit (an account's: its contacts' too), newest first."""
    e = event.c
    columns = (e.id, e.type, e.key, e.occurred_at, e.received_at, e.properties)
    if unit == "customer":
        mine: Any = e.customer_id == one.customer_id
    else:
        theirs = sa.select(customer.c.id).where(customer.c.account_id == one.account_id)
        mine = sa.or_(e.account_id == one.account_id, sa.and_(e.account_id.is_(None), e.customer_id.in_(theirs)))
    return _rows(conn, sa.select(*columns).where(e.type == kind, mine).order_by(e.id.desc()).limit(limit))


def records_of(conn: sa.Connection, one: Who, unit: Unit, kind: str, limit: int = 5) -> list[Row]:
    """A unit's newest records of a type: id, key, fields, since when in their stage."""
    r = record.c
    mine = r.customer_id == one.customer_id if unit == "customer" else r.account_id == one.account_id
    query = sa.select(r.id, r.key, r.fields, r.stage_since).where(r.type == kind, mine)
    return _rows(conn, query.order_by(r.id.desc()).limit(limit))


# ---- lists ----------------------------------------------------------------------------------------------------------


def units(conn: sa.Connection, unit: Unit, ids: Sequence[int]) -> list[Row]:
    """Keys, classes and tiers of units, in the order of their ids. No names and no addresses."""
    table = customer if unit == "customer" else account
    listed = id_list(conn, ids)
    columns: list[Any] = [table.c.key, table.c["class"], table.c.tier]
    if unit == "customer":
        # A contact's tier is the account's.
        columns[2] = sa.func.coalesce(customer.c.tier, account.c.tier).label("tier")
        columns.append(account.c.key.label("account"))
        source: Any = customer.outerjoin(account, account.c.id == customer.c.account_id)
    else:
        source = account
    query = sa.select(*columns).select_from(source.join(listed, listed.c.id == table.c.id)).order_by(table.c.id)
    return _rows(conn, query)


def journey_counts(conn: sa.Connection, since: datetime) -> dict[str, dict[str, int]]:
    """By journey: entered and ended ever, inside now, and messages sent since an instant."""
    e, m = enrollment.c, message.c
    ended = sa.func.sum(sa.case((e.ended_at.is_(None), 0), else_=1))
    found: dict[str, dict[str, int]] = {}
    for name, entered, over in conn.execute(sa.select(e.journey, sa.func.count(), ended).group_by(e.journey)):
        found[name] = {"entered": int(entered), "ended": int(over), "inside": int(entered) - int(over), "sent": 0}
    sent = sa.select(m.journey, sa.func.count()).where(
        m.journey.is_not(None), m.state.in_(("sent", "delivered", "bounced", "uncertain")), m.decided_at >= since
    )
    for name, n in conn.execute(sent.group_by(m.journey)):
        found.setdefault(name, {"entered": 0, "ended": 0, "inside": 0, "sent": 0})["sent"] = int(n)
    return found


def why_ended(conn: sa.Connection) -> dict[str, dict[str, int]]:
    """By journey: how many runs ended for which reason."""
    e = enrollment.c
    query = sa.select(e.journey, e.ended_because, sa.func.count()).where(e.ended_at.is_not(None))
    found: dict[str, dict[str, int]] = {}
    for name, because, n in conn.execute(query.group_by(e.journey, e.ended_because)):
        found.setdefault(name, {})[because] = int(n)
    return found


def waiting(conn: sa.Connection, limit: int) -> list[Row]:
    """What is planned, held or being sent: by state, journey, medium and instant of the next look; soonest first."""
    m = message.c
    due = batch.c.due_at.label("due_at")
    key = (due, m.state, m.journey, m.medium, m.reason)
    query = (
        sa.select(*key, sa.func.count().label("messages"))
        .join(batch, batch.c.id == m.batch_id)
        .where(m.state.in_(("planned", "held", "sending")))
        .group_by(*key)
        .order_by(due, m.journey, m.medium, m.state)
        .limit(limit)
    )
    return _rows(conn, query)


def states(conn: sa.Connection) -> dict[str, int]:
    """Messages by state."""
    query = sa.select(message.c.state, sa.func.count()).group_by(message.c.state)
    return {row[0]: int(row[1]) for row in conn.execute(query)}


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines of the log are wanted; None: all. `since` counts itself in."""

    message_id: int | None = None
    customer_id: int | None = None
    journey: str | None = None
    verdict: str | None = None
    since: datetime | None = None


def log_lines(conn: sa.Connection, wanted: LogFilter, limit: int) -> list[Row]:
    """The newest lines of the log, newest first, with the message's journey, step, medium and addressee's key.

    Of an operation, which is about no message, `by` and what else it says of itself (`about`) instead.
    """
    where = [
        column == value
        for column, value in (
            (log.c.message_id, wanted.message_id),
            (message.c.customer_id, wanted.customer_id),
            (message.c.journey, wanted.journey),
            (log.c.verdict, wanted.verdict),
        )
        if value is not None
    ]
    if wanted.since is not None:
        where.append(log.c.at >= wanted.since)
    columns: list[Any] = [log.c[n] for n in ("id", "at", "kind", "message_id", "attempt", "verdict", "reason", "rule")]
    columns += [message.c[n] for n in ("journey", "step", "medium", "addressee")]
    columns += [customer.c.key.label("to_key"), sa.case((log.c.kind == "operation", log.c.body)).label("body")]
    query = (
        sa.select(*columns)
        .select_from(
            log.outerjoin(message, message.c.id == log.c.message_id).outerjoin(
                customer, customer.c.id == message.c.customer_id
            )
        )
        .where(*where)
        .order_by(log.c.id.desc())
        .limit(limit)
    )
    return [_with_operation(row) for row in _rows(conn, query)]


def _with_operation(row: Row) -> Row:
    line = {name: value for name, value in row.items() if name != "body"}
    if row["body"] is None:
        return line
    about = msgspec.json.decode(row["body"])
    return {**line, "by": about.pop("by", ""), "about": about}


def _rows(conn: sa.Connection, query: Any) -> list[Row]:
    return [dict(row) for row in conn.execute(query).mappings()]


def said(conn: sa.Connection, customer_id: int) -> list[Row]:
    """What a customer said yes and no to, in order of when it counts: medium, topic, action, method, at."""
    c = consent_event.c
    at = sa.case((c.occurred_at > c.received_at, c.received_at), else_=c.occurred_at).label("at")
    query = sa.select(c.medium, c.topic, c.action, c.method, at).where(
        c.customer_id == customer_id, c.action.in_(("withdraw", "grant", "confirm", "import"))
    )
    return [dict(row) for row in conn.execute(query.order_by(at, c.id)).mappings()]
