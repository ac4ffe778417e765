"""Values of conditions in SQL, the same on SQLite and PostgreSQL: fields, aggregates, money, the unit's own day.

Aggregates are correlated subqueries that an index covers; there is no window function. Missing or malformed is NULL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from orchestrator.dates import after, before, day_after
from orchestrator.model import SCORES, Kind, Unit, Vocabulary, minor_digits
from orchestrator.store.dialect import json_bool, json_date, json_instant, json_number, json_text, listed
from orchestrator.store.tables import (
    UtcDateTime,
    account,
    customer,
    event,
    loyalty,
    micros,
    point_entry,
    record,
)
from orchestrator.terms import (
    Aggregate,
    Amount,
    Arithmetic,
    DaysSince,
    Literal_,
    Negative,
    Node,
    Operator,
    PointsWithin,
    Ref,
    Rows,
    Scalar,
    kind_of,
)
from orchestrator.words import Duration
from orchestrator.zones import first_known, instant, zone

Sql = sa.ColumnElement[Any]
V = TypeVar("V", date, datetime)

_TABLES = {"customer": customer, "account": account, "event": event, "record": record}
_JSON = {"customer": "attributes", "account": "attributes", "event": "properties", "record": "fields"}
_MEMBERS: Mapping[Kind, Callable[[Sql, str], Sql]] = {
    Kind.NUMBER: json_number,
    Kind.YES_NO: json_bool,
    Kind.DATE: json_date,
    Kind.INSTANT: json_instant,
}
_ANY_CURRENCY = "*"
"""The currency of nothing: an empty sum is 0 of every one."""
_LARGEST, _SMALLEST = 1e15, 1e-15
_DAY_MICROS = 86_400_000_000


class Moment(sa.BindParameter[Any]):
    """A value that hangs on the instant at which a kept statement is asked. Its name says what it is, so that wherever
    one stands in a statement, the same name is the same value; all of them begin with `at_`."""

    inherit_cache = True

    def __init__(self, name: str, of: Callable[[datetime], Any], kind: Any) -> None:
        super().__init__(f"at_{name}", type_=kind)
        self.of = of


@dataclass(frozen=True, slots=True)
class Place:
    """A row outside the unit's own: one that is joined, or one that is looked up by its id."""

    holder: Literal["customer", "account", "event", "record"]
    rows: sa.FromClause | None = None
    id: Sql | None = None

    def take(self, value: Callable[[sa.FromClause], Sql]) -> Sql:
        """A value of that row; NULL when there is no such row."""
        if self.rows is not None:
            return value(self.rows)
        found = _TABLES[self.holder].alias()
        return sa.select(value(found)).where(found.c.id == self.id).correlate_except(found).scalar_subquery()


@dataclass(frozen=True, slots=True)
class Standing:
    """What the programme knows of a unit: its derived row, by whose it is."""

    unit: Sql
    id: Sql

    def take(self, value: Callable[[sa.FromClause], Sql]) -> Sql:
        """A value of that row; NULL when there is none yet."""
        found = loyalty.alias()
        return _lookup(found, value(found), [found.c.unit == self.unit, found.c.unit_id == self.id])


@dataclass(frozen=True, slots=True)
class Frame:
    """The rows that names mean at one depth of a condition."""

    kind: Unit
    unit: sa.FromClause
    account: Place | None = None  # of a customer
    subject: Place | None = None  # the row a `where` judges
    event: Place | None = None
    record: Place | None = None
    enrollment: sa.FromClause | None = None

    def place(self, ref: Ref) -> Place:
        """The row a field is of."""
        if ref.owner == "unit":
            return Place(self.kind, self.unit)
        if ref.owner == "account":
            found = self.account or Place("account", id=self.unit.c.account_id)
        elif ref.owner == "subject" and self.subject is not None:
            found = self.subject
        else:
            scoped = self.event if ref.holder == "event" else self.record
            if scoped is None:
                raise ValueError(f"no {ref.holder} is in scope where the condition is asked")
            found = scoped
        return found


class Scalars:
    """Values as SQL at one instant. `now` is aware UTC; every value is bound.

    Without `now` it is SQL for a statement that is kept: the same at every instant, and what hangs on it is a `Moment`.
    """

    def __init__(self, vocabulary: Vocabulary, dialect: str, now: datetime | None = None) -> None:
        self.vocabulary, self.dialect, self.now = vocabulary, dialect, now
        self.instant = self.moment("now", _itself, UtcDateTime())

    def moment(self, name: str, of: Callable[[datetime], Any], kind: Any) -> Sql:
        """What `of` makes of the instant. The name says all that `of` does, within one workspace."""
        return Moment(name, of, kind) if self.now is None else sa.literal(of(self.now), kind)

    def ago(self, span: Duration) -> Sql:
        """Now less a span: calendar months in UTC, all else by the clock."""
        return self.moment(f"ago_{_spelled(span)}", lambda now: before(now, span, _UTC), UtcDateTime())

    def ahead(self, span: Duration) -> Sql:
        """Now and a span."""
        return self.moment(f"ahead_{_spelled(span)}", lambda now: after(now, span, _UTC), UtcDateTime())

    def filter(self, node: Node, frame: Frame) -> Sql:
        """The truth where unknown and false come to the same; `Meaning` knows it."""
        raise NotImplementedError

    # ---- rows

    def rows(self, rows: Rows, frame: Frame) -> tuple[sa.FromClause, list[Sql]]:
        """An alias of the rows' table, and what picks them."""
        found = _TABLES[rows.holder].alias()
        if rows.holder == "event":
            picked = self.events(found, rows.of, frame)
            if rows.window is not None:
                picked.append(found.c.occurred_at > self.ago(rows.window))
        else:
            picked = [found.c.type == rows.of, self._owned(found, self.vocabulary.records[rows.of].of, frame)]
        return found, picked

    def events(self, found: sa.FromClause, of: str, frame: Frame) -> list[Sql]:
        """The unit's events of a type that happened and were received by now; an account's are all its contacts'."""
        owner = found.c.customer_id if frame.kind == "customer" else found.c.account_id
        return [
            owner == frame.unit.c.id,
            found.c.type == of,
            found.c.occurred_at <= self.instant,
            found.c.received_at <= self.instant,
        ]

    def _owned(self, found: sa.FromClause, of: Unit, frame: Frame) -> Sql:
        if of == frame.kind:
            return (found.c.customer_id if of == "customer" else found.c.account_id) == frame.unit.c.id
        if of == "account":
            return found.c.account_id == frame.unit.c.account_id
        contact = customer.alias()
        theirs = sa.select(contact.c.id).where(contact.c.account_id == frame.unit.c.id, contact.c.merged_into.is_(None))
        return found.c.customer_id.in_(theirs.correlate_except(contact))

    def judged(self, rows: Rows, found: sa.FromClause, frame: Frame) -> Frame:
        return replace(frame, subject=Place(rows.holder, found))

    # ---- the programme's rows

    def place(self, ref: Ref, frame: Frame) -> Place | Standing:
        """The row a field is of."""
        return Standing(*self._member(ref.owner, frame)) if ref.holder == "loyalty" else frame.place(ref)

    def _member(self, owner: str, frame: Frame) -> tuple[Sql, Sql]:
        """Whose points and value are meant: a contact's are her account's where the class says so."""
        one, company = sa.literal("customer", sa.Text()), sa.literal("account", sa.Text())
        if frame.kind == "account":
            return company, frame.unit.c.id
        if owner == "account":
            return company, frame.unit.c.account_id
        names = [n for n, c in self.vocabulary.classes.items() if c.unit == "account"]
        if not names:
            return one, frame.unit.c.id
        shared = listed(frame.unit.c["class"], names)
        return sa.case((shared, company), else_=one), sa.case((shared, frame.unit.c.account_id), else_=frame.unit.c.id)

    def _points_within(self, node: PointsWithin, frame: Frame) -> Sql:
        unit, unit_id = self._member(node.owner, frame)
        found = point_entry.alias()
        since = self.ago(node.window)
        total: Sql = sa.func.sum(sa.cast(found.c.points, sa.Double()), type_=sa.Double())
        total = sa.func.coalesce(total, 0.0, type_=sa.Double())
        own = _lookup(found, total, [found.c.unit == unit, found.c.unit_id == unit_id, *self._counting(found, since)])
        if frame.kind == "account" or node.owner == "account":
            return own
        # Of those who were merged into her, too. One sum inside the other, so that they are looked for one by one: as a
        # join, SQLite 3.40 reads everybody's points for each of them.
        gone, theirs = customer.alias(), point_entry.alias()
        inner: Any = sa.select(sa.func.sum(sa.cast(theirs.c.points, sa.Double()), type_=sa.Double())).where(
            theirs.c.unit == "customer", theirs.c.unit_id == gone.c.id, *self._counting(theirs, since)
        )
        each = inner.correlate(gone).scalar_subquery()
        merged = sa.select(sa.func.coalesce(sa.func.sum(each, type_=sa.Double()), 0.0, type_=sa.Double())).where(
            unit == "customer", gone.c.merged_into == frame.unit.c.id
        )
        return own + merged.correlate_except(gone, theirs).scalar_subquery()

    def _counting(self, found: Any, since: Sql) -> list[Sql]:
        """Entries that count towards a tier, since an instant and by now."""
        return [
            found.c.counts,
            listed(found.c.kind, ("earn", "award", "reverse")),
            found.c.at > since,
            found.c.at <= self.instant,
            found.c.received_at <= self.instant,
            found.c.active_at <= self.instant,
        ]

    # ---- values

    def _field(self, ref: Ref, rows: sa.FromClause) -> Sql:
        """A field that is not money. A score in money is a number where other classes score in none: in whole units."""
        found = _column(ref, rows)
        if ref.name in SCORES and Kind.MONEY in self.vocabulary.loyalty.scores.values():
            minor = 10 ** minor_digits(self.vocabulary.currency)
            return sa.case((rows.c.score_currency.is_not(None), found / sa.literal(float(minor))), else_=found)
        return found

    def scalar(self, node: Scalar, frame: Frame) -> Sql:
        """A value that is not money, in its native SQL type."""
        match node:
            case Literal_():
                return _bound(node)
            case Ref(kind=Kind.TIER):
                return self.tier(node, frame)
            case Ref():
                return self.place(node, frame).take(lambda rows: self._field(node, rows))
            case Aggregate():
                return self._aggregate(node, frame)
            case DaysSince(since):
                return self._days_since(since, frame)
            case PointsWithin():
                return self._points_within(node, frame)
            case Negative(of):
                return -self._operand(of, frame)
            case Arithmetic(op, left, right):
                if kind_of(left) is Kind.MONEY:
                    return self._ratio(left, right, frame)
                return _reckoned(op, self._operand(left, frame), self._operand(right, frame))
            case _:
                raise TypeError(f"no plain value in a {type(node).__name__}")

    def _operand(self, node: Scalar, frame: Frame) -> Sql:
        """A number to reckon with: a double, so that 1 / 2 is no 0, and within bounds that cannot overflow."""
        found = self.scalar(node, frame)
        return _bounded(found) if _from_data(node) else sa.cast(found, sa.Double())

    def _money_operand(self, node: Scalar, frame: Frame, code: str | None) -> tuple[Sql, Sql]:
        amount, currency = self.money(node, frame, code)
        return (_bounded(amount) if _from_data(node) else sa.cast(amount, sa.Double())), currency

    def _aggregate(self, node: Aggregate, frame: Frame) -> Sql:
        found, picked = self.rows(node.rows, frame)
        inner = self.judged(node.rows, found, frame)
        if node.rows.where is not None:
            picked.append(self.filter(node.rows.where, inner))
        if node.field is None:
            if node.fold == "count":
                return _lookup(found, sa.func.count(), picked)
            outermost = sa.func.min if node.fold == "first" else sa.func.max
            value: Sql = outermost(found.c.occurred_at, type_=UtcDateTime())
            return _lookup(found, value, picked)
        member = _column(node.field, found)
        if node.fold in ("first", "last"):
            return self._outermost(node, found, member, picked)
        if node.fold == "sum":
            return _lookup(found, sa.func.coalesce(sa.func.sum(_finite(member)), 0.0, type_=sa.Double()), picked)
        if node.fold == "avg":
            return _lookup(found, sa.func.avg(_finite(member), type_=sa.Double()), picked)
        fold = sa.func.min if node.fold == "min" else sa.func.max
        return _lookup(found, fold(member, type_=member.type), picked)

    def _outermost(self, node: Aggregate, found: sa.FromClause, value: Sql, picked: list[Sql]) -> Sql:
        """The value in the first or last event; of two at once, the one that came in first or last."""
        by = (found.c.occurred_at, found.c.id)
        order = by if node.fold == "first" else tuple(c.desc() for c in by)
        query = sa.select(value).select_from(found).where(*picked).order_by(*order).limit(1)
        return query.correlate_except(found).scalar_subquery()

    def _days_since(self, since: Scalar, frame: Frame) -> Sql:
        found = self.scalar(since, frame)
        if kind_of(since) is Kind.DATE:
            today = self.today(frame)
            if self.dialect == "postgresql":
                return today.op("-", return_type=sa.Integer())(found)
            return sa.cast(sa.func.julianday(today) - sa.func.julianday(found), sa.Integer)
        if self.dialect == "postgresql":
            elapsed = self.instant.op("-", return_type=sa.Interval())(found)
            return sa.cast(sa.func.trunc(sa.extract("epoch", elapsed) / 86_400), sa.BigInteger)
        passed = self.moment("now_micros", micros, sa.BigInteger()) - sa.type_coerce(found, sa.BigInteger())
        return passed // _DAY_MICROS  # SQLite's division of whole numbers cuts towards zero

    # ---- money

    def money(self, node: Scalar, frame: Frame, code: str | None = None) -> tuple[Sql, Sql]:
        """Amount in minor units, and its currency. With `code`, the amount is NULL unless it is in that currency.

        A sum over several currencies is unknown; over nothing it is 0 of any currency.
        """
        match node:
            case Amount(minor, currency):
                return sa.literal(minor, sa.BigInteger()), sa.literal(currency, sa.Text())
            case Ref():
                place = self.place(node, frame)
                amount = place.take(lambda rows: _money(node, rows)[0])
                currency_sql = place.take(lambda rows: _money(node, rows)[1])
                if code is not None:
                    amount = place.take(lambda rows: _in_currency(node, rows, code))
                return amount, currency_sql
            case Aggregate():
                return self._aggregate_money(node, frame, code)
            case Negative(of):
                amount, currency_sql = self._money_operand(of, frame, code)
                return -amount, currency_sql
            case Arithmetic(op, left, right):
                return self._reckon_money(op, left, right, frame, code)
            case _:
                raise TypeError(f"no money in a {type(node).__name__}")

    def _reckon_money(self, op: str, left: Scalar, right: Scalar, frame: Frame, code: str | None) -> tuple[Sql, Sql]:
        if kind_of(left) is not Kind.MONEY:
            amount, currency = self._money_operand(right, frame, code)
            return _reckoned(op, self._operand(left, frame), amount), currency
        if kind_of(right) is not Kind.MONEY:
            amount, currency = self._money_operand(left, frame, code)
            return _reckoned(op, amount, self._operand(right, frame)), currency
        code = code or _code(left) or _code(right)
        a, one = self._money_operand(left, frame, code)
        b, two = self._money_operand(right, frame, code)
        value = _reckoned(op, a, b)
        if code is not None:
            return value, sa.literal(code, sa.Text())
        return sa.case((_alike(one, two), value)), sa.case((one == _ANY_CURRENCY, two), else_=one)

    def _aggregate_money(self, node: Aggregate, frame: Frame, code: str | None) -> tuple[Sql, Sql]:
        assert node.field is not None
        found, picked = self.rows(node.rows, frame)
        if node.rows.where is not None:
            picked.append(self.filter(node.rows.where, self.judged(node.rows, found, frame)))
        if node.fold in ("first", "last"):
            amount, currency = _money(node.field, found)
            value = amount if code is None else _in_currency(node.field, found, code)
            return self._outermost(node, found, value, picked), self._outermost(node, found, currency, picked)
        # OFFSET 0 keeps both databases from writing the members' JSON into each place where they are used.
        inner = sa.select(self._summand(node.field, found).label("amount"), self._mark(node.field, found, code))
        sums = inner.select_from(found).where(*picked).offset(0).correlate_except(found).subquery()
        usable = [sums.c.mark.is_not(None), sa.func.abs(sums.c.amount) <= _LARGEST]
        mark = sa.func.min(sums.c.mark)
        alone = mark == sa.func.max(sums.c.mark) if code is None else mark == 1
        folded: Sql = sa.cast(getattr(sa.func, "sum" if node.fold == "avg" else node.fold)(sums.c.amount), sa.Double())
        if node.fold == "avg":
            folded = folded / sa.func.count()
        of: Sql = mark if code is None else sa.literal(code, sa.Text())
        if node.fold != "sum":
            return _lookup(sums, sa.case((alone, folded)), usable), _lookup(sums, of, usable)
        total = sa.case((sa.func.count() == 0, 0.0), (alone, folded))
        return _lookup(sums, total, usable), _lookup(sums, sa.func.coalesce(of, _ANY_CURRENCY), usable)

    def _summand(self, ref: Ref, rows: sa.FromClause) -> Sql:
        """An amount to add up; exact on PostgreSQL without going through text, a double on SQLite."""
        members = rows.c[_JSON[ref.holder]]
        if self.dialect == "postgresql":
            member = members.op("->", return_type=JSONB())(sa.literal(ref.name, sa.Text()))
            return sa.case((sa.func.jsonb_typeof(member) == "number", sa.cast(member, sa.Numeric())))
        return sa.cast(json_number(members, ref.name), sa.Double())

    def _mark(self, ref: Ref, rows: sa.FromClause, code: str | None) -> sa.Label[Any]:
        """The currency; against a given one, 1 or 0. NULL when there is none, and the amount is no money."""
        currency = _money_members(ref, rows)[1]
        if code is None:
            return currency.label("mark")
        members, name = rows.c[_JSON[ref.holder]], f"{ref.name}_currency"
        if self.dialect == "postgresql":
            plain: Sql = members.op("->>", return_type=sa.Text())(sa.literal(name, sa.Text()))
        else:
            plain = sa.func.json_extract(members, sa.literal(f'$."{name}"', sa.Text()), type_=sa.Text())
        # Mostly it is the one asked for, and one look into the JSON will do.
        return sa.case((plain == code, 1), (currency.is_not(None), 0)).label("mark")

    def compare_money(self, op: Operator, left: Scalar, right: Scalar, frame: Frame) -> Sql:
        code = _code(left) or _code(right)
        a, one = self.money(left, frame, code)
        b, two = self.money(right, frame, code)
        if code is not None:
            return applied(op, a, b)
        return sa.case((_alike(one, two), applied(op, a, b)))

    def _ratio(self, left: Scalar, right: Scalar, frame: Frame) -> Sql:
        """Money by money is a number."""
        code = _code(left) or _code(right)
        a, one = self._money_operand(left, frame, code)
        b, two = self._money_operand(right, frame, code)
        value = _reckoned("/", a, b)
        return value if code is not None else sa.case((_alike(one, two), value))

    # ---- the unit's own day

    def today(self, frame: Frame, span: Duration | None = None, sign: Literal[1, -1] = 1) -> Sql:
        """The unit's local day, or the day a span after (1) or before (-1) it."""
        home = self.vocabulary.timezone
        suffix = "" if span is None else f"_{'ahead' if sign > 0 else 'ago'}_{_spelled(span)}"

        def day(n: int) -> Sql:
            def of(now: datetime) -> date:
                found = local_days(now, home)[n][0]
                return found if span is None else day_after(found, span, sign)

            return self.moment(f"day_{n}{suffix}", of, sa.Date())

        def zones(n: int) -> Sql:
            return self._names_at(f"zones_{n}", lambda now: local_days(now, home)[n][1])

        return self._by_zone(frame, [(zones(n), day(n)) for n in range(_DAYS_AT_ONCE)], day(0))

    def midnight(self, day: date, frame: Frame) -> Sql:
        """The instant at which a day begins where the unit is."""
        groups = midnights(day)
        of = {name: at for at, names in groups.items() for name in names}
        home = self.vocabulary.timezone
        arms = [(self._names(names), sa.literal(at, UtcDateTime())) for at, names in groups.items()]
        return self._by_zone(frame, arms, sa.literal(of[home if home in of else "UTC"], UtcDateTime()))

    def _by_zone(self, frame: Frame, arms: Sequence[tuple[Sql, Sql]], home: Sql) -> Sql:
        """A value by the unit's zone: its own, else its account's, else the workspace's. `arms`: a list of zones, and
        the value there."""
        theirs: list[Sql] = [frame.unit.c.timezone]
        if frame.kind == "customer":
            shared = frame.account or Place("account", id=frame.unit.c.account_id)
            theirs.append(shared.take(lambda rows: rows.c.timezone))
        last = home
        for stated in reversed(theirs):
            last = sa.case(*((self._listed(stated, names), value) for names, value in arms), else_=last)
        return last

    def _listed(self, value: Sql, names: Sql) -> Sql:
        if self.dialect == "postgresql":
            return value == sa.any_(names)
        each = sa.func.json_each(names).table_valued("value")
        return value.in_(sa.select(each.c.value))

    def _names(self, names: tuple[str, ...]) -> Sql:
        """One bound list, however long."""
        if self.dialect == "postgresql":
            return sa.literal(list(names), ARRAY(sa.Text()))
        return sa.literal(_dumped(names), sa.Text())

    def _names_at(self, name: str, of: Callable[[datetime], tuple[str, ...]]) -> Sql:
        """As `_names`, of a list that hangs on the instant."""
        if self.dialect == "postgresql":
            return self.moment(name, lambda now: list(of(now)), ARRAY(sa.Text()))
        return self.moment(name, lambda now: _dumped(of(now)), sa.Text())

    def tier(self, ref: Ref, frame: Frame, unit: Unit | None = None) -> Sql:
        """The tier; a contact's is its account's where the class says so."""
        place = frame.place(ref)
        own = place.take(lambda r: r.c.tier)
        if ref.holder == "account":
            return own
        shared = frame.account or Place("account", id=frame.unit.c.account_id)
        if unit is not None:
            return own if unit == "customer" else shared.take(lambda r: r.c.tier)
        names = [n for n, c in self.vocabulary.classes.items() if c.unit == "account"]
        if not names:
            return own
        return sa.case((listed(place.take(lambda r: r.c["class"]), names), shared.take(lambda r: r.c.tier)), else_=own)


# ---- small parts ----------------------------------------------------------------------------------------------------

_UTC = ZoneInfo("UTC")


def _itself(now: datetime) -> datetime:
    return now


def _spelled(span: Duration) -> str:
    return f"{span.months}_{span.days}_{span.business}_{span.seconds}"


@lru_cache(maxsize=1)
def _zone_names() -> tuple[str, ...]:
    return tuple(sorted(name for name in available_timezones() if zone(name) is not None))


_DAYS_AT_ONCE = 3
"""Offsets go from -12 to +14 hours: wherever one is, it is the UTC day, the one before or the one after."""


@lru_cache(maxsize=32)
def local_days(now: datetime, home: str) -> tuple[tuple[date, tuple[str, ...]], ...]:
    """Today's date in each zone: three times a date and its zones, of which some may have none.

    First the date in the zone `home` (in UTC where there is none of that name), then where most zones are: SQL compares
    in that order, and most people live at home.
    """
    utc = now.astimezone(UTC).date()
    found: dict[date, list[str]] = {utc + timedelta(days=n): [] for n in (0, 1, -1)}
    for name in _zone_names():
        tz = zone(name)
        assert tz is not None
        found[now.astimezone(tz).date()].append(name)
    at_home = now.astimezone(first_known(home)).date()
    return tuple(
        (day, tuple(names))
        for day, names in sorted(found.items(), key=lambda group: (group[0] != at_home, -len(group[1])))
    )


@lru_cache(maxsize=128)
def midnights(day: date) -> Mapping[datetime, tuple[str, ...]]:
    """When a day begins in each zone: instant → zones."""
    found: dict[datetime, list[str]] = {}
    for name in _zone_names():
        tz = zone(name)
        assert tz is not None
        found.setdefault(instant(day, time(0), tz), []).append(name)
    return {at: tuple(names) for at, names in found.items()}


@lru_cache(maxsize=256)
def _dumped(names: tuple[str, ...]) -> str:
    return json.dumps(names)


def _lookup(found: sa.FromClause, value: Sql, picked: list[Sql]) -> Sql:
    return sa.select(value).select_from(found).where(*picked).correlate_except(found).scalar_subquery()


def _column(ref: Ref, rows: sa.FromClause) -> Sql:
    """A field that is not money, of a row."""
    if ref.column is not None:
        if ref.column not in rows.c:
            return _related(ref.column, rows)
        return rows.c[ref.column]
    member: Callable[[Sql, str], Sql] = _MEMBERS.get(ref.kind, json_text)
    return member(rows.c[_JSON[ref.holder]], ref.name)


def _related(column: str, rows: sa.FromClause) -> Sql:
    """`parent.key`: a column of the account that the row names."""
    name, _, member = column.partition(".")
    other = account.alias()
    return (
        sa.select(other.c[member]).where(other.c.id == rows.c[f"{name}_id"]).correlate_except(other).scalar_subquery()
    )


def _money(ref: Ref, rows: sa.FromClause) -> tuple[Sql, Sql]:
    """Amount and currency; an amount without a currency is none."""
    amount, currency = _money_members(ref, rows)
    return sa.case((currency.is_not(None), amount)), currency


def _in_currency(ref: Ref, rows: sa.FromClause, code: str) -> Sql:
    amount, currency = _money_members(ref, rows)
    return sa.case((currency == code, amount))


def _money_members(ref: Ref, rows: sa.FromClause) -> tuple[Sql, Sql]:
    if ref.column is not None:
        return rows.c[ref.column], rows.c["score_currency" if ref.name in SCORES else f"{ref.column}_currency"]
    members = rows.c[_JSON[ref.holder]]
    return json_number(members, ref.name), json_text(members, f"{ref.name}_currency")


def _from_data(node: Scalar) -> bool:
    """Whether its size is the data's; what is reckoned from bounded values is bounded by the length of a condition."""
    return isinstance(node, Ref | Aggregate | PointsWithin)


def _finite(number: Sql) -> Sql:
    """A double, so that whole numbers do not overflow when they are added up."""
    return sa.case((sa.func.abs(number) <= _LARGEST, sa.cast(number, sa.Double())))


def _bounded(number: Sql) -> Sql:
    """A double that can be added up and multiplied without an overflow, which PostgreSQL takes for an error."""
    size = sa.func.abs(number)
    return sa.case(
        (size.between(_SMALLEST, _LARGEST), sa.cast(number, sa.Double())), (number == 0, sa.literal(0.0, sa.Double()))
    )


def _reckoned(op: str, a: Sql, b: Sql) -> Sql:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case _:
            return a / sa.func.nullif(b, 0.0, type_=sa.Double())


def _alike(one: Sql, two: Sql) -> Sql:
    return sa.or_(one == two, one == _ANY_CURRENCY, two == _ANY_CURRENCY)


def _code(node: Scalar) -> str | None:
    """The currency written in a sum of money, if any: all of it has to be in that one."""
    match node:
        case Amount(_, currency):
            return currency
        case Negative(of):
            return _code(of)
        case Arithmetic(_, left, right, Kind.MONEY):
            return _code(left) or _code(right)
        case _:
            return None


def _bound(node: Literal_) -> Sql:
    value = bound_value(node)
    if isinstance(value, bool):
        return sa.literal(value, sa.Boolean())
    if isinstance(value, int):
        return sa.literal(value, sa.BigInteger())
    if isinstance(value, float):
        return sa.literal(value, sa.Double())
    return sa.literal(value, sa.Date() if isinstance(value, date) else sa.Text())


def bound_value(node: Literal_) -> str | int | float | bool | date:
    return date.fromisoformat(str(node.value)) if node.kind is Kind.DATE else node.value


def applied(op: Operator, a: Sql, b: Sql) -> Sql:
    match op:
        case "==":
            return a == b
        case "!=":
            return a != b
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case _:
            return a >= b
