"""Conditions asked of the database: who is meant, how many, and what is true of each enrollment of a batch.

The SQL itself is `meaning`'s. One statement per question, whatever the number of units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from orchestrator.condition import Condition, Expression
from orchestrator.model import Kind, Unit, Vocabulary
from orchestrator.steps import Value
from orchestrator.store.database import id_list
from orchestrator.store.meaning import Meaning
from orchestrator.store.scalars import Frame, Place
from orchestrator.store.tables import account, customer, enrollment, event, record

Truths = dict[str, bool | None]
Values = dict[str, Value]


class Segments:
    """The conditions of one workspace. `segments` are those that `in segment("…")` may name; `dialect` is SQLAlchemy's
    name of it."""

    def __init__(self, vocabulary: Vocabulary, segments: Mapping[str, Condition], dialect: str) -> None:
        self.vocabulary = vocabulary
        self.segments = segments
        self.dialect = dialect

    def named(self, name: str) -> Condition:
        """A segment's condition. KeyError when there is none of that name."""
        return self.segments[name]

    def predicate(
        self,
        condition: Condition,
        unit: sa.FromClause,
        *,
        now: datetime,
        event: Any = None,
        record: Any = None,
        run: sa.FromClause | None = None,
    ) -> sa.ColumnElement[bool]:
        """The condition for the WHERE of a statement that has `unit` (the customer or account table, or an alias).

        `event` and `record` are the ids of those in scope: of the tables' own `id` columns when they are in the
        statement too, so that nothing is looked up twice. A trigger's `where` judges that event or record. `run` is
        the enrollment, for what happened since. Unknown and false are not told apart: not to be negated. A condition
        about the other unit is asked of the customer's account, or of any of the account's contacts.
        """
        frame = Frame(_kind(unit), unit, event=_place("event", event), record=_place("record", record), enrollment=run)
        return self._meaning(now).match(condition, frame)

    def audience(self, condition: Condition | None, unit: Unit, now: datetime) -> sa.Select[tuple[int]]:
        """Ids of the units of whom it is true (None: of all), customers that were merged away left out."""
        if unit == "account":
            query = sa.select(account.c.id)
            frame = Frame("account", account)
        else:
            query = (
                sa.select(customer.c.id)
                .select_from(_with_account())
                .where(customer.c.merged_into.is_(None), customer.c.erased_at.is_(None))
            )
            frame = Frame("customer", customer, account=Place("account", account))
        return query if condition is None else query.where(self._meaning(now).match(condition, frame))

    def count(self, conn: sa.Connection, condition: Condition | None, unit: Unit, now: datetime) -> int:
        """How many units it is true of."""
        meant = self.audience(condition, unit, now).subquery()
        return conn.execute(sa.select(sa.func.count()).select_from(meant)).scalar_one()

    def sample(
        self, conn: sa.Connection, condition: Condition | None, unit: Unit, now: datetime, limit: int = 20
    ) -> list[int]:
        """The first ids of the audience, in their order."""
        table = customer if unit == "customer" else account
        return list(conn.execute(self.audience(condition, unit, now).order_by(table.c.id).limit(limit)).scalars())

    def among(
        self, condition: Condition, enrollments: sa.Select[tuple[int]], unit: Unit, now: datetime
    ) -> sa.Select[tuple[int]]:
        """Those of these enrollments (a SELECT of their ids) of which it is true."""
        source, frame = _of_enrollments(unit, [condition])
        return (
            sa.select(enrollment.c.id)
            .select_from(source)
            .where(enrollment.c.id.in_(enrollments), self._meaning(now).match(condition, frame))
        )

    def evaluate(
        self,
        conn: sa.Connection,
        asks: Iterable[Condition | Expression],
        enrollment_ids: Sequence[int],
        now: datetime,
    ) -> dict[int, tuple[Truths, Values]]:
        """What is true and what is the value, by enrollment, for up to 5,000 of one journey: one statement.

        Truths by Condition.text, None when unknown; values by Expression.text as `steps.Value` (money in minor units).
        An enrollment that does not exist is left out.
        """
        asked = list(dict.fromkeys(asks))
        if not asked or not enrollment_ids:
            return {run: ({}, {}) for run in enrollment_ids}
        source, frame = _of_enrollments(asked[0].unit, asked)
        meaning = self._meaning(now)
        columns = [
            meaning.truth(a.root, frame) if isinstance(a, Condition) else _value(meaning, a, frame) for a in asked
        ]
        listed = id_list(conn, enrollment_ids)
        query = (
            sa.select(enrollment.c.id, *(c.label(f"a{n}") for n, c in enumerate(columns)))
            .select_from(source)
            .where(enrollment.c.id.in_(sa.select(listed.c.id)))
        )
        return _answers(asked, conn.execute(query).all())

    def of_units(
        self,
        conn: sa.Connection,
        asks: Iterable[Condition | Expression],
        unit: Unit,
        unit_ids: Sequence[int],
        now: datetime,
    ) -> dict[int, tuple[Truths, Values]]:
        """As `evaluate`, of customers or accounts by id: what the programme's rules ask. One statement."""
        asked = list(dict.fromkeys(asks))
        if not asked or not unit_ids:
            return {found: ({}, {}) for found in unit_ids}
        table: sa.Table = customer if unit == "customer" else account
        source: sa.FromClause = _with_account() if unit == "customer" else account
        theirs = Place("account", account) if unit == "customer" else None
        frame = Frame(unit, table, account=theirs)
        meaning = self._meaning(now)
        columns = [
            meaning.truth(a.root, frame) if isinstance(a, Condition) else _value(meaning, a, frame) for a in asked
        ]
        listed = id_list(conn, unit_ids)
        query = (
            sa.select(table.c.id, *(c.label(f"a{n}") for n, c in enumerate(columns)))
            .select_from(source)
            .where(table.c.id.in_(sa.select(listed.c.id)))
        )
        return _answers(asked, conn.execute(query).all())

    def _meaning(self, now: datetime) -> Meaning:
        return Meaning(self.vocabulary, self.segments, self.dialect, now)


def _answers(asked: Sequence[Condition | Expression], rows: Iterable[sa.Row[Any]]) -> dict[int, tuple[Truths, Values]]:
    reads = [
        (a.text, isinstance(a, Condition), _truth if isinstance(a, Condition) else _READ.get(a.kind, _as_is))
        for a in asked
    ]
    answers: dict[int, tuple[Truths, Values]] = {}
    for of, *row in rows:
        truths: Truths = {}
        values: Values = {}
        for (text, is_truth, read), found in zip(reads, row, strict=True):
            (truths if is_truth else values)[text] = read(found)
        answers[of] = (truths, values)
    return answers


def _with_account() -> sa.Join:
    return customer.outerjoin(account, account.c.id == customer.c.account_id)


def _of_enrollments(unit: Unit, asks: Sequence[Condition | Expression]) -> tuple[sa.FromClause, Frame]:
    """Enrollments with their unit (and a customer's account), and what names mean there."""
    # Left joins on primary keys: both databases drop those that nothing asks for.
    if unit == "customer":
        source = enrollment.join(customer, customer.c.id == enrollment.c.customer_id).outerjoin(
            account, account.c.id == customer.c.account_id
        )
        frame = Frame("customer", customer, account=Place("account", account))
    else:
        source = enrollment.join(account, account.c.id == enrollment.c.account_id)
        frame = Frame("account", account)
    source = source.outerjoin(event, event.c.id == enrollment.c.event_id).outerjoin(
        record, record.c.id == enrollment.c.record_id
    )
    return source, Frame(
        frame.kind, frame.unit, frame.account, None, Place("event", event), Place("record", record), enrollment
    )


def _kind(unit: sa.FromClause) -> Unit:
    return "customer" if "merged_into" in unit.c else "account"


def _place(holder: Any, given: Any) -> Place | None:
    """A row by its id; when that is the id of its own table, the row itself."""
    if given is None:
        return None
    table = getattr(given, "table", None)
    mark = "occurred_at" if holder == "event" else "fields"
    if table is not None and given.key == "id" and mark in table.c:
        return Place(holder, table)
    return Place(holder, id=given)


def _value(meaning: Meaning, asked: Expression, frame: Frame) -> sa.ColumnElement[Any]:
    if asked.kind is Kind.MONEY:
        return meaning.money(asked.root, frame)[0]  # type: ignore[arg-type]
    return meaning.scalar(asked.root, frame)  # type: ignore[arg-type]


def _truth(found: Any) -> bool | None:
    return None if found is None else bool(found)


def _number(found: Any) -> int | float | None:
    if found is None:
        return None
    return int(found) if found == int(found) else float(found)


def _day(found: date | None) -> str | None:
    return None if found is None else found.isoformat()


def _minor(found: Any) -> int | None:
    return None if found is None else round(found)


def _as_is(found: Any) -> Any:
    return found


_READ: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.NUMBER: _number,
    Kind.MONEY: _minor,
    Kind.DATE: _day,
    Kind.YES_NO: _truth,
}
