"""What each condition means in SQL, the same on SQLite and PostgreSQL.

Kleene's logic is SQL's own: NULL is unknown. Rows are picked by what is true of them, so `any`, `all`, `never` and
segments are always known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from orchestrator.condition import Condition
from orchestrator.model import Kind, Vocabulary
from orchestrator.store.dialect import listed
from orchestrator.store.scalars import Frame, Place, Scalars, Sql, applied, bound_value
from orchestrator.store.tables import UtcDateTime, account, customer, event, feedback, message
from orchestrator.terms import (
    Aggregate,
    And,
    Any_,
    AnyContact,
    Compare,
    Happened,
    Heard,
    InSegment,
    Is,
    IsSet,
    Literal_,
    Node,
    Not,
    OneOf,
    Operator,
    Or,
    Ref,
    Rows,
    Scalar,
    TierIs,
    When,
    kind_of,
)


class Meaning(Scalars):
    """Conditions as SQL at one instant; without `now`, for a statement that is kept (see `Scalars`)."""

    def __init__(
        self, vocabulary: Vocabulary, segments: Mapping[str, Condition], dialect: str, now: datetime | None = None
    ) -> None:
        super().__init__(vocabulary, dialect, now)
        self.segments = segments
        self._within: list[str] = []

    # ---- truths

    def match(self, condition: Condition, frame: Frame) -> Sql:
        """For a WHERE: of this unit, or of the account or a contact of it when the condition is about those."""
        if condition.unit == frame.kind:
            return self.filter(condition.root, frame)
        return self._other_unit(condition, frame)

    def filter(self, node: Node, frame: Frame) -> Sql:
        """The truth where unknown and false come to the same: keeps comparisons bare, for the indexes."""
        match node:
            case And(parts):
                only = self._classes(parts)
                return sa.and_(
                    *(self._tier_is(p, frame, only) if isinstance(p, TierIs) else self.filter(p, frame) for p in parts)
                )
            case Or(parts):
                return sa.or_(*(self.filter(p, frame) for p in parts))
            case InSegment(name):
                return self._segment(name, frame, known=False)
            case _:
                return self.truth(node, frame)

    def truth(self, node: Node, frame: Frame) -> Sql:
        """True, false, or NULL for unknown."""
        match node:
            case And(parts):
                only = self._classes(parts)
                return sa.and_(
                    *(self._tier_is(p, frame, only) if isinstance(p, TierIs) else self.truth(p, frame) for p in parts)
                )
            case Or(parts):
                return sa.or_(*(self.truth(p, frame) for p in parts))
            case Not(part):
                return sa.not_(self.truth(part, frame))
            case Is(value):
                return self.scalar(value, frame)
            case Compare():
                return self._compare(node, frame)
            case TierIs():
                return self._tier_is(node, frame, {})
            case OneOf(value, options):
                return self._one_of(value, options, frame)
            case IsSet(value):
                return self._is_set(value, frame)
            case When():
                return self._when(node, frame)
            case Any_(rows, every):
                return self._any(rows, every, frame)
            case AnyContact(where):
                return self._any_contact(frame, lambda inner: self.filter(where, inner))
            case InSegment(name):
                return self._segment(name, frame, known=True)
            case Happened():
                return self._happened(node, frame)
            case Heard():
                return self._heard(node, frame)
            case _:
                raise TypeError(f"no truth in a {type(node).__name__}")

    def _compare(self, node: Compare, frame: Frame) -> Sql:
        op, left, right = node.op, node.left, node.right
        if isinstance(left, Aggregate) and left.fold == "count" and isinstance(right, Literal_):
            found = self._counted(left.rows, op, right.value, frame)
            if found is not None:
                return found
        one, two = kind_of(left), kind_of(right)
        if one is Kind.MONEY:
            return self.compare_money(op, left, right, frame)
        if {one, two} == {Kind.DATE, Kind.INSTANT}:
            return self._compare_day(node, frame)
        a, b = self.scalar(left, frame), self.scalar(right, frame)
        if one in (Kind.TEXT, Kind.KEY, Kind.CHOICE) and op not in ("==", "!=") and self.dialect == "postgresql":
            a = sa.collate(a, "C")  # by code points, as SQLite does: the server's own order differs between machines
        return applied(op, a, b)

    def _counted(self, rows: Rows, op: str, value: Any, frame: Frame) -> Sql | None:
        """`count(…) >= 1` and its like need no counting."""
        if (op, value) in ((">=", 1), (">", 0), ("!=", 0)):
            return self._any(rows, False, frame)
        if (op, value) in (("<", 1), ("<=", 0), ("==", 0)):
            return sa.not_(self._any(rows, False, frame))
        return None

    def _compare_day(self, node: Compare, frame: Frame) -> Sql:
        """An instant against a written day: by the unit's local midnights."""
        op, at, day = node.op, node.left, node.right
        if isinstance(at, Literal_):
            op, at, day = _mirrored(op), node.right, node.left
        assert isinstance(day, Literal_)
        first = date.fromisoformat(str(day.value))
        found = self.scalar(at, frame)
        begins = self.midnight(first, frame)
        ends = self.midnight(first + timedelta(days=1), frame)
        match op:
            case "==":
                return sa.and_(found >= begins, found < ends)
            case "!=":
                return sa.or_(found < begins, found >= ends)
            case "<":
                return found < begins
            case "<=":
                return found < ends
            case ">":
                return found >= ends
            case _:
                return found >= begins

    def _one_of(self, value: Scalar, options: tuple[Scalar, ...], frame: Frame) -> Sql:
        kind = kind_of(value)
        if kind is Kind.MONEY or (kind is Kind.INSTANT):
            return sa.or_(*(self._compare(Compare("==", value, option), frame) for option in options))
        values = [bound_value(o) for o in options if isinstance(o, Literal_)]
        if kind is Kind.NUMBER:
            values = [float(n) for n in values if not isinstance(n, str | date)]  # psycopg muddles int with float here
        return listed(self.scalar(value, frame), values)

    def _is_set(self, value: Scalar, frame: Frame) -> Sql:
        kind = kind_of(value)
        if kind is Kind.MONEY:
            return self.money(value, frame)[0].is_not(None)
        found = self.scalar(value, frame)
        if kind in (Kind.TEXT, Kind.KEY, Kind.CHOICE, Kind.TIER):
            return sa.func.coalesce(found, "") != ""
        return found.is_not(None)

    def _when(self, node: When, frame: Frame) -> Sql:
        found = self.scalar(node.value, frame)
        if kind_of(node.value) is Kind.DATE:
            return self._when_day(node, found, frame)
        if node.span is None:
            return found <= self.instant if node.how == "past" else found > self.instant
        if node.how == "next":
            return sa.and_(found > self.instant, found <= self.ahead(node.span))
        back = self.ago(node.span)
        if node.how == "more":
            return found <= back
        return sa.and_(found > back, found <= self.instant)

    def _when_day(self, node: When, found: Sql, frame: Frame) -> Sql:
        today = self.today(frame)
        span = node.span
        if span is None:
            return found < today if node.how == "past" else found > today
        if node.how == "next":
            return sa.and_(found >= today, found <= self.today(frame, span))
        back = self.today(frame, span, -1)
        if node.how == "more":
            return found < back
        earliest = found > back if node.how == "less" else found >= back
        return sa.and_(earliest, found <= today)

    # ---- tiers

    def _classes(self, parts: Iterable[Node]) -> dict[str, str]:
        """The classes that a conjunction pins, by whose class it is: their tiers need no other class looked at."""
        return {
            p.left.owner: str(p.right.value)
            for p in parts
            if isinstance(p, Compare) and p.op == "==" and isinstance(p.left, Ref) and isinstance(p.right, Literal_)
            and p.left.column == "class"
        }  # fmt: skip

    def _tier_is(self, node: TierIs, frame: Frame, only: Mapping[str, str]) -> Sql:
        """One arm per class that has the tier; a class without it is neither above nor below: false."""
        place = frame.place(node.tier)
        pinned = only.get(node.tier.owner)
        arms = []
        for name, ladder in self.vocabulary.classes.items():
            known = [t for t in node.names if t in ladder.tiers]
            if not known or (pinned is not None and name != pinned):
                continue
            if node.op == "==":
                allowed = known
            else:
                mark = ladder.tiers.index(known[0])
                allowed = [t for n, t in enumerate(ladder.tiers) if _holds(node.op, n, mark)]
            tier = self.tier(node.tier, frame, ladder.unit)
            # With no tier allowed, it still is unknown when the tier is.
            arms.append(
                sa.and_(place.take(lambda r: r.c["class"]) == name, listed(tier, allowed) if allowed else tier != tier)
            )
        return sa.or_(*arms) if arms else sa.false()

    # ---- rows

    def _any(self, rows: Rows, every: bool, frame: Frame) -> Sql:
        found, picked = self.rows(rows, frame)
        if rows.where is not None:
            inner = self.judged(rows, found, frame)
            if every:
                # SQLAlchemy 2.0 writes the negation of a CASE without brackets: NOT x IS NOT true would be x IS true.
                picked.append(Grouping(self.truth(rows.where, inner)).is_not(sa.true()))
            else:
                picked.append(self.filter(rows.where, inner))
        some = sa.exists().select_from(found).where(*picked).correlate_except(found)
        return sa.not_(some) if every else some

    def _any_contact(self, frame: Frame, of: Callable[[Frame], Sql]) -> Sql:
        contact = customer.alias()
        inner = replace(frame, kind="customer", unit=contact, account=Place("account", frame.unit), subject=None)
        present = sa.or_(contact.c.left_at.is_(None), contact.c.left_at > self.instant)
        return (
            sa.exists()
            .select_from(contact)
            .where(contact.c.account_id == frame.unit.c.id, contact.c.merged_into.is_(None), present, of(inner))
            .correlate_except(contact)
        )

    # ---- segments

    def _segment(self, name: str, frame: Frame, *, known: bool) -> Sql:
        """Whether the unit is in it. `known`: false where the segment's condition is unknown."""
        condition = self.segments[name]
        if condition.unit != frame.kind:
            with self._inside(name):
                return self._other_unit(condition, frame)
        with self._inside(name):
            inner = replace(frame, subject=None, event=None, record=None, enrollment=None)
            if not known:
                return self.filter(condition.root, inner)
            return sa.func.coalesce(self.truth(condition.root, inner), sa.false(), type_=sa.Boolean())

    def _other_unit(self, condition: Condition, frame: Frame) -> Sql:
        if frame.kind == "account":
            return self._any_contact(frame, lambda inner: self.filter(condition.root, inner))
        theirs = account.alias()
        inner = Frame("account", theirs, event=frame.event, record=frame.record, enrollment=frame.enrollment)
        return (
            sa.exists()
            .select_from(theirs)
            .where(theirs.c.id == frame.unit.c.account_id, self.filter(condition.root, inner))
            .correlate_except(theirs)
        )

    @contextmanager
    def _inside(self, name: str) -> Iterator[None]:
        if name in self._within:
            raise ValueError(f"segment {name} asks for itself")
        self._within.append(name)
        try:
            yield
        finally:
            self._within.pop()

    # ---- what happened to an enrollment

    def _happened(self, node: Happened, frame: Frame) -> Sql:
        run = _enrollment(frame)
        found = event.alias()
        picked = self.events(found, node.event, frame)
        if node.since != "ever":
            picked.append(found.c.occurred_at >= (run.c.entered_at if node.since == "entry" else run.c.since))
        if node.within_seconds is not None:
            picked.append(self._after(found.c.occurred_at, run.c.entered_at, node.within_seconds))
        if node.where is not None:
            picked.append(self.filter(node.where, replace(frame, subject=Place("event", found))))
        return sa.exists().select_from(found).where(*picked).correlate_except(found)

    def _after(self, at: Sql, start: Sql, seconds: int) -> Sql:
        """`at` is not later than so long after `start`."""
        if self.dialect == "postgresql":
            return at <= start.op("+", return_type=UtcDateTime())(sa.literal(timedelta(seconds=seconds), sa.Interval()))
        return sa.type_coerce(at, sa.BigInteger) <= sa.type_coerce(start, sa.BigInteger) + seconds * 1_000_000

    def _heard(self, node: Heard, frame: Frame) -> Sql:
        run = _enrollment(frame)
        said, sent = feedback.alias(), message.alias()
        picked = [
            sent.c.enrollment_id == run.c.id,
            sent.c.step == node.step,
            listed(said.c.kind, sorted(node.kinds)),
            said.c.received_at <= self.instant,
        ]
        if node.since == "step":
            picked.append(sent.c.visit == run.c.visit)
        both = sent.join(said, said.c.message_id == sent.c.id)
        return sa.exists().select_from(both).where(*picked).correlate_except(sent, said)


# ---- small parts ----------------------------------------------------------------------------------------------------


def _enrollment(frame: Frame) -> sa.FromClause:
    if frame.enrollment is None:
        raise ValueError("the condition asks about an enrollment, and none is in scope where it is asked")
    return frame.enrollment


def _mirrored(op: Operator) -> Operator:
    mirrors: dict[Operator, Operator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    return mirrors.get(op, op)


def _holds(op: Operator, one: int, two: int) -> bool:
    match op:
        case "<":
            return one < two
        case "<=":
            return one <= two
        case ">":
            return one > two
        case _:
            return one >= two
