"""Take up what people complain of: a case that pauses marketing, a task with a date for a person, and its end.

Derived from events, keyed by them: a second look writes nothing. The same event that a journey may start by is seen
here, whether there is a programme or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.apply import Force, in_force
from orchestrator.centre import ANSWERED
from orchestrator.dates import after
from orchestrator.listening import SENTIMENT, Period, Point, feeling, feels, periods, trend
from orchestrator.model import Complaints, Vocabulary
from orchestrator.outbound import Asked
from orchestrator.store import outbox, people, versions
from orchestrator.store.database import bound_among, bound_keys, insert_many, update_many
from orchestrator.store.preferences import answers_to
from orchestrator.store.tables import account, customer, event, support_case
from orchestrator.zones import first_known

ORIGIN: Final = "complaint"
OLD: Final = timedelta(days=30)
"""A complaint that is older than this when it is first seen is history: no case and no task."""
_SEEN: Final = "listened_event"


@dataclass(frozen=True, slots=True)
class Case:
    """A complaint that is not settled. `due`: the instant by which somebody was to take it up."""

    key: str
    customer_id: int
    opened_at: datetime
    due: datetime


def complaints(conn: sa.Connection, force: Force, now: datetime) -> int:
    """Open cases and plan tasks for new complaints, close what was settled; returns how many of each together."""
    declared = force.project.vocabulary.complaints
    if declared is None:
        return 0
    people.take_turns(conn, "listen")
    seen, newest = versions.seen_of_events(conn, _SEEN)
    upto = versions.happened_by(conn, seen, newest, now) if newest > seen else seen
    if upto <= seen:
        return 0
    found = _said(conn, declared, seen, upto)
    opened = [row for row in found if row.type == declared.event and row.occurred_at > now - OLD]
    cases = [
        {"key": _key(row), "customer_id": row.customer_id, "account_id": row.company, "opened_at": row.occurred_at}
        for row in opened
        if row.customer_id is not None
    ]
    done = insert_many(conn, support_case, [{**c, "closed_at": None} for c in cases], ignore_conflicts=True)
    closings = [row for row in found if row.type == declared.closed_by]
    done += _close(conn, declared, _settling_before(conn, declared, opened, seen) + closings, seen)
    settled = _settled(conn, [_key(row) for row in opened])
    workspace = force.project.vocabulary.timezone
    asked = [_task(declared, row, workspace) for row in opened if _key(row) not in settled]
    done += outbox.plan(conn, asked, now) if asked else 0
    versions.set_number(conn, _SEEN, upto)
    return done


def _key(row: Any) -> str:
    return f"{ORIGIN}:{row.id}"


_COMPANY: Final = sa.func.coalesce(event.c.account_id, customer.c.account_id)
_TOLD: Final = (
    sa.select(event.c.id, event.c.type, event.c.occurred_at, event.c.properties, event.c.customer_id)
    .add_columns(_COMPANY.label("company"), sa.func.coalesce(customer.c.timezone, account.c.timezone).label("timezone"))
    .add_columns(account.c.manager_email, account.c.manager_name)
    .select_from(
        event.outerjoin(customer, customer.c.id == event.c.customer_id).outerjoin(account, account.c.id == _COMPANY)
    )
    .where(event.c.type.in_([sa.bindparam("opened"), sa.bindparam("closed")]))
    .where(event.c.id > sa.bindparam("seen"), event.c.id <= sa.bindparam("upto"), customer.c.erased_at.is_(None))
    .order_by(event.c.occurred_at, event.c.id)
)


def _said(conn: sa.Connection, declared: Complaints, seen: int, upto: int) -> list[Any]:
    """The events of both kinds, in order of time; not of who was erased."""
    of = {"opened": declared.event, "closed": declared.closed_by}
    return list(conn.execute(_TOLD, {**of, "seen": seen, "upto": upto}))


def _settling_before(conn: sa.Connection, declared: Complaints, opened: list[Any], seen: int) -> list[Any]:
    """Closings that were seen before the openings they are of: files come in any order. One that names no key and has
    settled what was open then is of nothing else. One statement, if any, and one more where there are such."""
    if not opened:
        return []
    whose = {
        "people": list({row.customer_id for row in opened if row.customer_id is not None}),
        "companies": list({row.company for row in opened if row.company is not None}),
    }
    bound = {"closed": declared.closed_by, "seen": seen, "first": min(row.occurred_at for row in opened)}
    found = list(conn.execute(_seen_closings(conn.dialect.name), whose | bound))
    if not any(_is_of_all(declared, row) for row in found):
        return found
    settled = conn.execute(_settled_since(conn.dialect.name), whose | {"first": bound["first"]}).all()
    done: set[tuple[str, int | None, datetime]] = set()
    for customer_id, company, at in settled:
        done |= {("customer", customer_id, at), ("account", company, at)}
    return [row for row in found if not (_is_of_all(declared, row) and _by(row) in done)]


def _is_of_all(declared: Complaints, row: Any) -> bool:
    """Whether a closing names none of the complaints, and is of all that are open."""
    return not declared.key or row.properties.get(declared.key) is None


def _by(row: Any) -> tuple[str, int | None, datetime]:
    if row.customer_id is not None:
        return "customer", row.customer_id, row.occurred_at
    return "account", row.company, row.occurred_at


@cache
def _settled_since(dialect: str) -> sa.Select[Any]:
    c = support_case.c
    whose = sa.or_(bound_among(dialect, c.customer_id, "people"), bound_among(dialect, c.account_id, "companies"))
    query = sa.select(c.customer_id, c.account_id, c.closed_at)
    return query.where(whose, c.key.startswith(f"{ORIGIN}:"), c.closed_at >= sa.bindparam("first"))


@cache
def _seen_closings(dialect: str) -> sa.Select[Any]:
    e = event.c
    theirs = sa.and_(e.customer_id.is_(None), bound_among(dialect, e.account_id, "companies"))
    query = sa.select(e.id, e.customer_id, e.account_id.label("company"), e.occurred_at, e.properties)
    return (
        query.where(sa.or_(bound_among(dialect, e.customer_id, "people"), theirs))
        .where(e.type == sa.bindparam("closed"), e.id <= sa.bindparam("seen"), e.occurred_at >= sa.bindparam("first"))
        .order_by(e.occurred_at, e.id)
    )


def _close(conn: sa.Connection, declared: Complaints, closings: list[Any], seen: int) -> int:
    """Close the open cases that these events settle: hers (or the company's, where nobody is named), of that key. Each
    by the first that does. One that was `seen` before the opening and names no key settles nothing of its own instant:
    it was of what had been open till then."""
    if not closings:
        return 0
    whose = {
        "people": list({row.customer_id for row in closings if row.customer_id is not None}),
        "companies": list({row.company for row in closings if row.customer_id is None and row.company}),
    }
    cases = list(conn.execute(_open(conn.dialect.name), whose))
    named = _named(conn, declared.key, [case.key for case in cases])
    closed: dict[int, datetime] = {}
    for case in cases:
        for row in sorted(closings, key=lambda row: row.occurred_at):
            hers = row.customer_id == case.customer_id
            if not (hers or (row.customer_id is None and row.company == case.account_id)):
                continue
            wanted = row.properties.get(declared.key) if declared.key else None
            if row.occurred_at == case.opened_at and row.id <= seen and wanted is None:
                continue
            if row.occurred_at >= case.opened_at and wanted in (None, named.get(case.key)):
                closed.setdefault(case.id, row.occurred_at)
    update_many(conn, support_case, [{"id": i, "closed_at": at} for i, at in closed.items()], where=("id",))
    return len(closed)


@cache
def _open(dialect: str) -> sa.Select[Any]:
    c = support_case.c
    whose = sa.or_(bound_among(dialect, c.customer_id, "people"), bound_among(dialect, c.account_id, "companies"))
    query = sa.select(c.id, c.key, c.customer_id, c.account_id, c.opened_at)
    return query.where(whose, c.key.startswith(f"{ORIGIN}:"), c.closed_at.is_(None))


def _named(conn: sa.Connection, name: str, keys: list[str]) -> dict[str, Any]:
    """Case → the property that tells its complaint from another."""
    ids = {int(number) for key in keys if (number := key.removeprefix(f"{ORIGIN}:")).isdecimal()}
    if not name or not ids:
        return {}
    rows = conn.execute(_properties_of(conn.dialect.name), {"ids": list(ids)})
    return {f"{ORIGIN}:{i}": properties.get(name) for i, properties in rows}


@cache
def _properties_of(dialect: str) -> sa.Select[Any]:
    return sa.select(event.c.id, event.c.properties).where(bound_among(dialect, event.c.id))


def _settled(conn: sa.Connection, keys: list[str]) -> frozenset[str]:
    if not keys:
        return frozenset()
    return frozenset(conn.execute(_closed(conn.dialect.name), {"keys": list(set(keys))}).scalars())


@cache
def _closed(dialect: str) -> sa.Select[Any]:
    c, listed = support_case.c, bound_keys(dialect)
    return sa.select(c.key).join(listed, listed.c.key == c.key).where(c.closed_at.is_not(None))


def _task(declared: Complaints, row: Any, workspace: str) -> Asked:
    managed = bool(row.manager_email or row.manager_name)
    to = declared.otherwise if declared.to == "account_manager" and not managed else declared.to
    tz = first_known(row.timezone, workspace)
    due = after(row.occurred_at, declared.within, tz).astimezone(tz).date()
    return Asked(
        ORIGIN,
        str(row.id),
        "staff",
        row.company or row.customer_id or 0,
        row.customer_id,
        row.company,
        Medium.TASK,
        "",
        "",
        "transactional",
        payload={
            "to": to,
            "title": declared.title,
            "text": declared.text,
            "due": due.isoformat(),
            "event": row.id,
        },
    )


# ---- what is open ---------------------------------------------------------------------------------------------------


def open_complaints(conn: sa.Connection, declared: Complaints, workspace: str) -> list[Case]:
    """Complaints that are not settled, by when they were due. One statement."""
    c = support_case.c
    query = (
        sa.select(c.key, c.customer_id, c.opened_at, sa.func.coalesce(customer.c.timezone, account.c.timezone))
        .select_from(
            support_case.join(customer, customer.c.id == c.customer_id).outerjoin(account, account.c.id == c.account_id)
        )
        .where(c.key.startswith(f"{ORIGIN}:"), c.closed_at.is_(None))
    )
    found = [
        Case(key, whose, opened, after(opened, declared.within, first_known(stated, workspace)))
        for key, whose, opened, stated in conn.execute(query)
    ]
    return sorted(found, key=lambda case: (case.due, case.key))


def overdue(conn: sa.Connection, now: datetime) -> tuple[int, int, date | None]:
    """(complaints that are open, those of them that are overdue, the day on which the oldest of these was due)."""
    force = in_force(conn)
    vocabulary = force.project.vocabulary if force is not None else None
    if vocabulary is None or vocabulary.complaints is None:
        return 0, 0, None
    found = open_complaints(conn, vocabulary.complaints, vocabulary.timezone)
    late = [case for case in found if case.due <= now]
    return len(found), len(late), late[0].due.date() if late else None


def told(conn: sa.Connection, now: datetime) -> Mapping[str, None]:
    """What a tick says of complaints that nobody settled in time."""
    _, late, since = overdue(conn, now)
    if not late:
        return {}
    many = "1 complaint is" if late == 1 else f"{late:,} complaints are"
    return {f"{many} overdue, the oldest since {since}: `orchestrator tasks` lists whose they are": None}


# ---- what people say ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """`name`: a survey, or an event's type. `kind`: nps or sentiment. `odd`: values that say nothing."""

    name: str
    kind: str
    odd: int
    points: tuple[Point, ...]


def heard(conn: sa.Connection, vocabulary: Vocabulary, first: date, last: date, by: Period) -> list[Line]:
    """The trend of each survey that asks for an NPS and of each event that tells a sentiment, from the week or month of
    the first day to that of the last, by the workspace's clock. One statement a line."""
    over = periods(first, last, by)
    zone_, since = first_known(vocabulary.timezone), over[0]
    found = []
    for survey in vocabulary.surveys.values():
        question = next((q.name for q in survey.questions if q.kind == "nps"), None)
        if question is None:
            continue
        if survey.anonymous:
            rows = [(row["day"], row["answers"].get(question)) for row in answers_to(conn, survey.name)]
        else:
            said = _properties(conn, ANSWERED, since, zone_)
            rows = [(day, p.get(question)) for day, p in said if p.get("survey") == survey.name]
        values = [(day, float(v)) for day, v in rows if v is not None and since <= day <= last]
        found.append(Line(survey.name, "nps", 0, tuple(trend(values, over, by, nps=True))))
    for kind in vocabulary.events.values():
        if not feels(kind.fields):
            continue
        told_ = [(day, p.get(SENTIMENT)) for day, p in _properties(conn, kind.name, since, zone_) if day <= last]
        felt = [(day, feeling(value)) for day, value in told_ if value is not None]
        values = [(day, value) for day, value in felt if value is not None]
        found.append(Line(kind.name, "sentiment", len(felt) - len(values), tuple(trend(values, over, by))))
    return found


def _properties(conn: sa.Connection, kind: str, since: date, tz: ZoneInfo) -> list[tuple[date, Mapping[str, Any]]]:
    """(local day, properties) of the events of a type since a day."""
    begin = datetime.combine(since, time(), tz).astimezone(UTC)
    rows = conn.execute(
        sa.select(event.c.occurred_at, event.c.properties).where(event.c.type == kind, event.c.occurred_at >= begin)
    )
    return [(at.astimezone(tz).date(), properties) for at, properties in rows]
