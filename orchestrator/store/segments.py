"""Conditions asked of the database: who is meant, how many, and what is true of each enrollment of a batch.

The SQL itself is `meaning`'s. One statement per question, whatever the number of units.

A statement with a condition takes far longer to make than SQLite takes to answer it, so it is made once and kept. What
hangs on the instant is bound when it is asked:

    kept = segments.kept(("woken", *meant(condition)), lambda: sa.select(…).where(segments.predicate(condition, unit)))
    conn.execute(kept.statement, kept.binds(now, ids=ids))
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from threading import Lock
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.sql.visitors import ExternallyTraversible, iterate

from orchestrator.condition import Condition, Expression
from orchestrator.model import Kind, Unit, Vocabulary
from orchestrator.steps import Value
from orchestrator.store.database import bound_ids
from orchestrator.store.meaning import Meaning
from orchestrator.store.scalars import Frame, Moment, Place
from orchestrator.store.tables import account, customer, enrollment, event, record

Truths = Mapping[str, bool | None]
Values = Mapping[str, Value]
S = TypeVar("S", bound=sa.Executable)

_MOST = 1_000
_made: OrderedDict[Hashable, tuple[Kept[Any], object]] = OrderedDict()
_making = Lock()


@dataclass(frozen=True, slots=True)
class Kept(Generic[S]):
    """A statement that is the same at every instant. `moments`: name → what it is at an instant."""

    statement: S
    moments: Mapping[str, Callable[[datetime], Any]]

    def binds(self, now: datetime, /, **more: Any) -> dict[str, Any]:
        """What to execute it with at an instant; `more`: what the caller left to be bound, by its names."""
        for name, of in self.moments.items():
            more[name] = of(now)
        return more


def meant(*asked: Condition | Expression | None) -> tuple[Hashable, ...]:
    """What these mean, for the key of a kept statement. Their texts alone do not say it: `event.amount` is what the
    trigger's event has by that name."""
    return tuple(None if a is None else (a, a.root) for a in asked)


class Segments:
    """The conditions of one workspace. `segments` are those that `in segment("…")` may name; `dialect` is SQLAlchemy's
    name of it.

    What is asked without `now` is for a statement that is `kept`.
    """

    def __init__(self, vocabulary: Vocabulary, segments: Mapping[str, Condition], dialect: str) -> None:
        self.vocabulary = vocabulary
        self.segments = segments
        self.dialect = dialect

    def named(self, name: str) -> Condition:
        """A segment's condition. KeyError when there is none of that name."""
        return self.segments[name]

    def kept(self, key: Hashable, make: Callable[[], S]) -> Kept[S]:
        """The statement that `make` gave for this key, of these very conditions and declarations; made when there is
        none yet, or no more.

        The key holds everything that `make` builds with and does not bind: `meant` of its conditions, and who asks. The
        process keeps so many statements (those that were asked last), not the instance: one may live for a moment.
        """
        found = (id(self.vocabulary), id(self.segments), self.dialect, key)
        with _making:
            there = _made.get(found)
            if there is not None:
                _made.move_to_end(found)
                return there[0]
        statement = make()
        parts = iterate(cast(ExternallyTraversible, statement))
        moments = {part.key: part.of for part in parts if isinstance(part, Moment)}
        kept = Kept(statement, moments)
        with _making:
            _made[found] = (kept, (self.vocabulary, self.segments))  # held, so that their ids stay theirs
            while len(_made) > _MOST:
                _made.popitem(last=False)
        return kept

    def predicate(
        self,
        condition: Condition,
        unit: sa.FromClause,
        *,
        now: datetime | None = None,
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

    def value(self, asked: Expression, unit: sa.FromClause) -> sa.ColumnElement[Any]:
        """A value for a statement that is kept and has `unit`, as `predicate`; money in minor units, not rounded."""
        return _value(self._meaning(None), asked, Frame(_kind(unit), unit))

    def audience(self, condition: Condition | None, unit: Unit, now: datetime | None = None) -> sa.Select[tuple[int]]:
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
        kept = self.kept(
            ("count", unit, meant(condition)),
            lambda: sa.select(sa.func.count()).select_from(self.audience(condition, unit).subquery()),
        )
        return conn.execute(kept.statement, kept.binds(now)).scalar_one()

    def sample(
        self, conn: sa.Connection, condition: Condition | None, unit: Unit, now: datetime, limit: int = 20
    ) -> list[int]:
        """The first ids of the audience, in their order."""
        table = customer if unit == "customer" else account
        kept = self.kept(
            ("sample", unit, meant(condition)),
            lambda: self.audience(condition, unit).order_by(table.c.id).limit(sa.bindparam("most", type_=sa.Integer())),
        )
        return list(conn.execute(kept.statement, kept.binds(now, most=limit)).scalars())

    def among(
        self, condition: Condition, enrollments: sa.Select[tuple[int]], unit: Unit, now: datetime | None = None
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
        asked = tuple(dict.fromkeys(asks))
        if not asked or not enrollment_ids:
            return {run: ({}, {}) for run in enrollment_ids}

        def make() -> sa.Select[Any]:
            source, frame = _of_enrollments(asked[0].unit, asked)
            return self._told(asked, enrollment, source, frame)

        kept = self.kept(("evaluate", meant(*asked)), make)
        return _answers(asked, conn.execute(kept.statement, kept.binds(now, ids=list(enrollment_ids))).tuples().all())

    def of_units(
        self,
        conn: sa.Connection,
        asks: Iterable[Condition | Expression],
        unit: Unit,
        unit_ids: Sequence[int],
        now: datetime,
    ) -> dict[int, tuple[Truths, Values]]:
        """As `evaluate`, of customers or accounts by id: what the programme's rules ask. One statement."""
        asked = tuple(dict.fromkeys(asks))
        if not asked or not unit_ids:
            return {found: ({}, {}) for found in unit_ids}

        def make() -> sa.Select[Any]:
            if unit == "account":
                return self._told(asked, account, account, Frame("account", account))
            frame = Frame("customer", customer, account=Place("account", account))
            return self._told(asked, customer, _with_account(), frame)

        kept = self.kept(("of_units", unit, meant(*asked)), make)
        return _answers(asked, conn.execute(kept.statement, kept.binds(now, ids=list(unit_ids))).tuples().all())

    def _told(
        self, asked: Sequence[Condition | Expression], table: sa.Table, source: sa.FromClause, frame: Frame
    ) -> sa.Select[Any]:
        """The answers of each of `ids` of a table: first the truths, then the values."""
        meaning = self._meaning(None)
        truths = [meaning.truth(a.root, frame) for a in asked if isinstance(a, Condition)]
        values = [_value(meaning, a, frame) for a in asked if isinstance(a, Expression)]
        told = [*(sa.type_coerce(truth, sa.Boolean()) for truth in truths), *values]
        listed = bound_ids(self.dialect)
        return (
            sa.select(table.c.id, *(answer.label(f"a{n}") for n, answer in enumerate(told)))
            .select_from(source)
            .where(table.c.id.in_(sa.select(listed.c.id)))
        )

    def _meaning(self, now: datetime | None) -> Meaning:
        return Meaning(self.vocabulary, self.segments, self.dialect, now)


def _answers(
    asked: Sequence[Condition | Expression], rows: Iterable[tuple[Any, ...]]
) -> dict[int, tuple[Truths, Values]]:
    """By id. Those of whom all is the same share one answer, which nobody changes."""
    texts = [a.text for a in asked if isinstance(a, Condition)]
    reads = [(a.text, _READ.get(a.kind, _as_is)) for a in asked if isinstance(a, Expression)]
    behind = len(texts)
    told: dict[tuple[Any, ...], tuple[Truths, Values]] = {}
    answers: dict[int, tuple[Truths, Values]] = {}
    for row in rows:
        of, found = row[0], row[1:]
        answer = told.get(found)
        if answer is None:
            values = {text: read(value) for (text, read), value in zip(reads, found[behind:], strict=True)}
            answer = told[found] = (dict(zip(texts, found, strict=False)), values)
        answers[of] = answer
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
