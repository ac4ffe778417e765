"""What people chose for themselves: how much they want to hear, in what form, and which of their data they gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.centre import ANSWERED
from orchestrator.rules import Wishes
from orchestrator.store.database import bound_ids, bound_keys, insert_many, key_list
from orchestrator.store.tables import (
    account,
    customer,
    declared,
    device,
    event,
    message,
    preference,
    suppression,
    survey_answer,
)

Format = Literal["html", "text"]
SOURCE = "preference_centre"
"""Where a declared value came from."""


class Chosen(NamedTuple):
    """One customer's choices; `format` None: as the house makes its e-mails."""

    wishes: Wishes
    format: Format | None = None


NOTHING = Chosen(Wishes())
"""Of who never chose anything."""


def chosen_by(conn: sa.Connection, customer_ids: Iterable[int]) -> dict[int, Chosen]:
    """The choices of those who made any: one statement."""
    rows = conn.execute(_chosen(conn.dialect.name), {"ids": list(customer_ids)}).all()
    return {
        i: Chosen(Wishes(paused_until, at_most, cast(Any, per) or "week"), cast(Any, format_))
        for i, paused_until, at_most, per, format_ in rows
    }


@cache
def _chosen(dialect: str) -> sa.Select[Any]:
    listed, p = bound_ids(dialect), preference.c
    query = sa.select(p.customer_id, p.paused_until, p.at_most, p.per, p.format)
    return query.join(listed, listed.c.id == p.customer_id)


def choose(conn: sa.Connection, customer_id: int, chosen: Chosen, now: datetime) -> None:
    """Write down one customer's choices, in place of the earlier ones."""
    wishes = chosen.wishes
    values: dict[str, Any] = {
        "paused_until": wishes.paused_until,
        "at_most": wishes.at_most,
        "per": None if wishes.at_most is None else wishes.per,
        "format": chosen.format,
        "updated_at": now,
    }
    insert: Any = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(preference)
    insert = insert.values(customer_id=customer_id, **values)
    conn.execute(insert.on_conflict_do_update(index_elements=["customer_id"], set_=values))


def carry_over(conn: sa.Connection, keep: int, drop: int, now: datetime) -> None:
    """Of two records of one person the stricter wish holds: the longer pause, the lower number."""
    found = chosen_by(conn, (keep, drop))
    other = found.get(drop)
    if other is None:
        return
    own = found.get(keep, Chosen(Wishes()))
    pauses = [w.paused_until for w in (own.wishes, other.wishes) if w.paused_until is not None]
    caps = [w for w in (own.wishes, other.wishes) if w.at_most is not None]
    # A month has some four weeks and a third: to compare the two, a week's number is that of a month.
    least = min(caps, key=lambda w: (w.at_most or 0) * (3 if w.per == "month" else 13), default=Wishes())
    wishes = least._replace(paused_until=max(pauses, default=None))
    choose(conn, keep, Chosen(wishes, own.format or other.format), now)
    conn.execute(sa.delete(preference).where(preference.c.customer_id == drop))


# ---- what they said of themselves -----------------------------------------------------------------------------------


def declared_by(conn: sa.Connection, customer_ids: Iterable[int]) -> dict[int, dict[str, datetime]]:
    """Customer id → field → since when its value is the customer's own word. One statement."""
    found: dict[int, dict[str, datetime]] = {}
    for customer_id, field, at in conn.execute(_declared(conn.dialect.name), {"ids": list(customer_ids)}):
        found.setdefault(customer_id, {})[field] = at
    return found


@cache
def _declared(dialect: str) -> sa.Select[Any]:
    listed, d = bound_ids(dialect), declared.c
    return sa.select(d.customer_id, d.field, d.at).join(listed, listed.c.id == d.customer_id)


def declare(conn: sa.Connection, customer_id: int, fields: Sequence[str], now: datetime, source: str = SOURCE) -> None:
    """These fields' values are the customer's own word from now on."""
    undeclare(conn, {customer_id: fields})
    insert_many(
        conn, declared, [{"customer_id": customer_id, "field": f, "at": now, "source": source} for f in sorted(fields)]
    )


def undeclare(conn: sa.Connection, fields: Mapping[int, Iterable[str]]) -> None:
    """These fields' values come from elsewhere by now. A statement for each set of fields."""
    by_fields: dict[tuple[str, ...], list[int]] = {}
    for customer_id, names in fields.items():
        by_fields.setdefault(tuple(sorted(names)), []).append(customer_id)
    for names, ids in by_fields.items():
        if names:
            conn.execute(_undeclare(conn.dialect.name), {"ids": ids, "keys": list(names)})


@cache
def _undeclare(dialect: str) -> sa.Delete:
    theirs = declared.c.customer_id.in_(sa.select(bound_ids(dialect).c.id))
    return sa.delete(declared).where(theirs, declared.c.field.in_(sa.select(bound_keys(dialect).c.key)))


# ---- who ------------------------------------------------------------------------------------------------------------


class Person(NamedTuple):
    """A customer's row, her company's ({} without one), and whether a device of hers is live."""

    customer: dict[str, Any]
    account: dict[str, Any]
    devices: bool


def person(conn: sa.Connection, customer_id: int) -> Person:
    """Two statements. The customer is there: a link has led here."""
    live = sa.exists().where(device.c.customer_id == customer.c.id, device.c.retired_at.is_(None))
    row = dict(
        conn.execute(sa.select(customer, live.label("_live")).where(customer.c.id == customer_id)).mappings().one()
    )
    devices = bool(row.pop("_live"))
    company = conn.execute(sa.select(account).where(account.c.id == row["account_id"])).mappings().one_or_none()
    return Person(row, dict(company) if company is not None else {}, devices)


def suppressions_of(conn: sa.Connection, pairs: Sequence[tuple[str, str]], now: datetime) -> dict[str, frozenset[str]]:
    """Medium → why its address must not be used, of (medium, address key). One statement."""
    s = suppression.c
    listed = key_list(conn, {key for _, key in pairs})
    in_force = sa.or_(s.until.is_(None), s.until > now)
    query = sa.select(s.medium, s.address_key, s.reason).join(listed, listed.c.key == s.address_key).where(in_force)
    found: dict[str, set[str]] = {}
    for medium, key, reason in conn.execute(query):
        if (medium, key) in pairs:
            found.setdefault(medium, set()).add(reason)
    return {medium: frozenset(reasons) for medium, reasons in found.items()}


def decided_at(conn: sa.Connection, message_id: int) -> datetime | None:
    """When a message was last judged; None before that."""
    found: datetime | None = conn.execute(
        sa.select(message.c.decided_at).where(message.c.id == message_id)
    ).scalar_one_or_none()
    return found


# ---- anonymous answers ----------------------------------------------------------------------------------------------


def add_answer(conn: sa.Connection, number: int, survey: str, day: date, answers: Mapping[str, Any]) -> None:
    """Keep an answer of which nobody knows whose it is."""
    insert_many(conn, survey_answer, [{"id": number, "survey": survey, "day": day, "answers": dict(answers)}])


def add_answers(conn: sa.Connection, rows: Mapping[int, tuple[str, date, Mapping[str, Any]]]) -> int:
    """Keep nobody's answers by number, in no order but the numbers'; those that are there stay. How many were new."""
    found = [
        {"id": number, "survey": survey, "day": day, "answers": dict(answers)}
        for number, (survey, day, answers) in sorted(rows.items())
    ]
    return insert_many(conn, survey_answer, found, ignore_conflicts=True)


def answers_to(conn: sa.Connection, survey: str) -> list[dict[str, Any]]:
    """The anonymous answers to a survey, by day."""
    a = survey_answer.c
    query = sa.select(a.day, a.answers).where(a.survey == survey).order_by(a.day, a.id)
    return [dict(row) for row in conn.execute(query).mappings()]


def answered(conn: sa.Connection, survey: str) -> list[dict[str, Any]]:
    """The answers to a survey that is not anonymous, without whose they are, as they came in."""
    e = event.c
    rows = conn.execute(sa.select(e.properties).where(e.type == ANSWERED).order_by(e.id)).scalars()
    return [{"answers": properties} for properties in rows if properties.get("survey") == survey]


class OwnWords:
    """What customers said of themselves, in a batch: an import overwrites it only where the workspace's rule says so
    (`preferences.overwrite`; None: never). One statement, and one more for what is overwritten. `kept_back`: how many
    values stay as they were said."""

    def __init__(
        self,
        conn: sa.Connection,
        overwrite: timedelta | None,
        existing: Mapping[Any, Mapping[str, Any]],
        now: datetime,
    ) -> None:
        self.overwrite, self.now, self.kept_back = overwrite, now, 0
        self.rows = {identity[0]: row for identity, row in existing.items()}
        self.said = declared_by(conn, [row["id"] for row in self.rows.values()]) if self.rows else {}
        self.over: dict[int, set[str]] = {}

    def kept(self, key: str, values: dict[str, Any], members: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The row without what must stay as the customer said it."""
        there = self.rows.get(key)
        said = self.said.get(there["id"]) if there is not None else None
        if there is None or not said:
            return values, members
        stays = set()
        for field_, at in said.items():
            new = values if field_ in values else members if field_ in members else None
            old = there if field_ in values else there["attributes"]
            if new is None or new[field_] == old.get(field_):
                continue
            if self.overwrite is not None and at + self.overwrite <= self.now:
                self.over.setdefault(there["id"], set()).add(field_)
            else:
                stays.add(field_)
        if not stays:
            return values, members
        self.kept_back += len(stays)
        return (
            {name: value for name, value in values.items() if name not in stays},
            {name: value for name, value in members.items() if name not in stays},
        )

    def undeclare(self, conn: sa.Connection) -> None:
        """What is overwritten is theirs no more."""
        undeclare(conn, self.over)
