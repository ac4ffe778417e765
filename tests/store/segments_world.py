"""A small, awkward business, and what conditions mean in it, told a second time in plain Python.

Each made condition is a pair of its text and a function of a `View`: neither our grammar nor SQL has a part in the
function, so that both are held against the reference page and not against each other.
"""

from __future__ import annotations

import operator
import random
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import reject
from hypothesis import strategies as st

from orchestrator.condition import Scope, parse
from orchestrator.model import (
    ACCOUNT_FIELDS,
    CUSTOMER_FIELDS,
    CustomerClass,
    EventType,
    Field,
    Kind,
    Policies,
    RecordType,
    Vocabulary,
)
from orchestrator.problems import Problems, Span
from orchestrator.store import tables as t

NOW = datetime(2027, 3, 14, 10, 30, tzinfo=UTC)  # the day New York's clocks change; 23:30 in Kiritimati is still ahead
INSTANTS = (NOW, datetime(2027, 3, 31, 23, 59, 59, tzinfo=UTC), datetime(2028, 2, 29, 0, 0, tzinfo=UTC))
HOME = "Europe/Berlin"
LADDERS = {
    "b2c": ("bronze", "silver", "gold", "platinum"),
    "b2b": ("standard", "preferred", "strategic"),
    "partner": ("registered", "silver", "gold"),
}
ACCOUNT_CLASSES = ("b2b", "partner")
SEGMENTS = {
    "vip-club": ("customer", "class == b2c and tier >= gold"),
    "small-shirts": ("customer", "shirt in [s, m] or in segment('vip-club')"),
    "big-accounts": ("account", "annual_value > 5000"),
}


def fields(**kinds: Any) -> dict[str, Field]:
    return {n: Field(n, k[0], k[1]) if isinstance(k, tuple) else Field(n, k) for n, k in kinds.items()}


SHIRTS = ("s", "m", "x-large")
ATTRIBUTES = fields(
    birthday=Kind.DATE, seats=Kind.NUMBER, vip=Kind.YES_NO, since=Kind.INSTANT, budget=Kind.MONEY,
    shirt=(Kind.CHOICE, SHIRTS), note=Kind.TEXT,
)  # fmt: skip
RECORDS = {
    "contract": RecordType(
        "contract",
        "account",
        "contract_id",
        fields(ends=Kind.DATE, value=Kind.MONEY, auto_renew=Kind.YES_NO, seats=Kind.NUMBER),
    ),
    "pet": RecordType("pet", "customer", "pet_id", fields(born=Kind.DATE, weight=Kind.NUMBER, chipped=Kind.YES_NO)),
}
EVENTS = {
    "order_placed": EventType(
        "order_placed",
        fields(amount=Kind.MONEY, channel=Kind.TEXT, items=Kind.NUMBER, gift=Kind.YES_NO, deliver=Kind.DATE),
    ),
    "visited": EventType("visited", fields(page=Kind.TEXT, contract_id=Kind.KEY)),
}
VOCABULARY = Vocabulary(
    "acme",
    HOME,
    "EUR",
    {},
    "en",
    {**CUSTOMER_FIELDS, **ATTRIBUTES},
    {**ACCOUNT_FIELDS, **fields(status=Kind.TEXT, industry=(Kind.CHOICE, ("retail", "e-commerce")))},
    RECORDS,
    EVENTS,
    {c: CustomerClass(c, t, "account" if c in ACCOUNT_CLASSES else "customer") for c, t in LADDERS.items()},
    {},
    Policies(),
    frozenset(SEGMENTS),
)


def condition(text: str, scope: Scope | None = None, vocabulary: Vocabulary = VOCABULARY) -> Any:
    """A condition that has to be right."""
    problems = Problems()
    found = parse(text, Span("t.yaml", 1, 1, 1, 1 + len(text)), scope or Scope(), vocabulary, problems)
    if problems.found and all("has no tier" in p.message for p in problems.found):
        reject()  # `class == b2b and tier == gold` is well made but for what it says
    assert found is not None, (text, problems.found)
    return found


def named_segments() -> dict[str, Any]:
    return {name: condition(text, Scope(unit=unit)) for name, (unit, text) in SEGMENTS.items()}  # type: ignore[arg-type]


# ---- rows -----------------------------------------------------------------------------------------------------------


@dataclass
class World:
    accounts: list[dict[str, Any]] = field(default_factory=list)
    customers: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)


ZONES = (None, None, "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Mars/Olympus", "")
TEXTS = (None, "", "DE", "de", "Zürich", "a b", "ä", "Z", "store", "web")


def instant_text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def world(seed: int) -> World:
    r = random.Random(seed)
    made = World()
    pick = r.choice

    def day() -> date:
        base = pick(INSTANTS).date()
        return base + timedelta(days=pick([-400, -366, -365, -90, -31, -30, -28, -7, -2, -1, 0, 1, 2, 7, 30, 90, 366]))

    def moment() -> datetime:
        far = timedelta(days=pick([-400, -90, -60, -31, -30, -7, -3, -1, 0, 0, 1]))
        near = timedelta(seconds=pick([0, 0, 0, 1, -1, 3600, -3600]), microseconds=pick([0, 0, 1]))
        return pick(INSTANTS) + far + near

    def odd(members: dict[str, Any]) -> dict[str, Any]:
        """Members missing, null, or of the wrong kind."""
        kept = {}
        for name, value in members.items():
            luck = r.random()
            if luck < 0.15:
                continue
            kept[name] = value if luck < 0.9 else pick([None, "abc", 7, True, "2027-02-30", [1], {"a": 1}, "2027-1-1"])
        return kept

    def number() -> Any:
        return pick([0, 0, 1, 2, 3, 4, 5, -2, 0.25, 2.5, 100, 1e16, 10**15])

    def amount(name: str) -> dict[str, Any]:
        return {name: pick([0, 100, 2500, 5000, 50_000, 123_45, -100]), f"{name}_currency": pick(["EUR", "EUR", "USD"])}

    for n in range(1, 7):
        money = amount("annual_value") if r.random() < 0.8 else {"annual_value": None, "annual_value_currency": None}
        made.accounts.append(
            {
                "id": n, "key": f"a{n}", "class": pick([*ACCOUNT_CLASSES]), "name": pick(["", "Nord", "Süd"]),
                "country": pick([None, "DE", "US"]), "timezone": pick(ZONES), "joined": pick([None, day()]),
                "manager_name": None, "manager_email": None, "parent_id": None,
                "attributes": odd(
                    {"status": pick(["active", "churned", ""]), "industry": pick(["retail", "e-commerce"])}
                ),
                "created_at": NOW, "updated_at": NOW, **money,
            }
        )  # fmt: skip
        made.accounts[-1]["tier"] = pick([None, "bogus", *LADDERS[made.accounts[-1]["class"]]])
    for n in range(1, 41):
        kind = pick(["b2c", "b2c", "b2c", "b2b", "partner"])
        at = None if kind == "b2c" and r.random() < 0.7 else pick([None, *range(1, 7)])
        made.customers.append(
            {
                "id": n, "key": f"c{n}", "class": kind, "tier": pick([None, "bogus", *LADDERS[kind], *LADDERS[kind]]),
                "account_id": at, "role": pick([None, "decision_maker", "procurement"]), "city": pick(TEXTS),
                "country": pick([None, "DE", "AT", "US"]), "locale": pick([None, "de", "de-AT"]),
                "timezone": pick(ZONES), "joined": pick([None, day(), day()]),
                "email": pick([None, "", "x@example.com"]),
                "left_at": pick([None, None, None, moment()]),
                "merged_into": pick([None] * 9 + [1]) if n > 1 else None,
                "attributes": odd(
                    {
                        "birthday": day().isoformat(), "seats": number(), "vip": pick([True, False]),
                        "since": instant_text(moment()), "shirt": pick([*SHIRTS, "huge"]), "note": pick(TEXTS),
                        **amount("budget"),
                    }
                ),
                "created_at": NOW, "updated_at": NOW,
            }
        )  # fmt: skip
    for n in range(1, 41):
        kind = pick(["contract", "pet"])
        of = (
            odd({"ends": day().isoformat(), "auto_renew": pick([True, False]), "seats": number(), **amount("value")})
            if kind == "contract"
            else odd({"born": day().isoformat(), "weight": number(), "chipped": pick([True, False])})
        )
        made.records.append(
            {
                "id": n, "type": kind, "key": f"r{n}", "fields": of, "created_at": NOW, "updated_at": NOW,
                "account_id": pick(range(1, 7)) if kind == "contract" else None,
                "customer_id": pick(range(1, 41)) if kind == "pet" else None,
            }
        )  # fmt: skip
    for n in range(1, 201):
        kind = pick(["order_placed", "order_placed", "visited"])
        who = pick(made.customers)
        at = moment()
        members = (
            {"channel": pick(["store", "web", ""]), "items": number(), "gift": pick([True, False]),
             "deliver": day().isoformat(), **amount("amount")}
            if kind == "order_placed"
            else {"page": pick(TEXTS), "contract_id": f"r{pick(range(1, 41))}"}
        )  # fmt: skip
        made.events.append(
            {
                "id": n, "type": kind, "key": f"e{n}", "customer_id": who["id"], "account_id": who["account_id"],
                "occurred_at": at, "received_at": at + timedelta(hours=pick([0, 0, 0, 0, 30, 3000])),
                "properties": odd(members),
            }
        )  # fmt: skip
    for n in range(1, 41):
        unit = "customer" if n <= 30 else "account"
        unit_id = n if unit == "customer" else n - 30
        if unit_id > len(made.accounts) and unit == "account":
            continue
        made.runs.append(
            {
                "id": n, "journey": f"j{unit}", "version": "v", "unit": unit, "unit_id": unit_id,
                "customer_id": unit_id if unit == "customer" else None,
                "account_id": made.customers[unit_id - 1]["account_id"] if unit == "customer" else unit_id,
                "run_key": "once", "live_key": "", "entered_at": moment(), "since": moment(),
                "event_id": pick([None, *range(1, 201)]), "record_id": pick([None, *range(1, 41)]),
            }
        )  # fmt: skip
    return made


def fill(conn: sa.Connection, made: World) -> None:
    conn.execute(t.document.insert(), [{"hash": "v", "kind": "journey", "name": "j", "body": {}, "created_at": NOW}])
    for table, rows in (
        (t.account, made.accounts),
        (t.customer, made.customers),
        (t.record, made.records),
        (t.event, made.events),
        (t.enrollment, made.runs),
    ):
        conn.execute(table.insert(), rows)


# ---- what things mean -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """What names mean at one depth: the unit's row, the judged row, and what the run was started by."""

    world: World
    now: datetime
    unit: str
    row: dict[str, Any]
    subject: dict[str, Any] | None = None
    event: dict[str, Any] | None = None
    record: dict[str, Any] | None = None

    @property
    def account(self) -> dict[str, Any] | None:
        if self.unit == "account":
            return self.row
        return next((a for a in self.world.accounts if a["id"] == self.row["account_id"]), None)

    def zone(self) -> zoneinfo.ZoneInfo:
        theirs = [self.row["timezone"]]
        if self.unit == "customer" and self.account is not None:
            theirs.append(self.account["timezone"])
        for name in [*theirs, HOME]:
            if name and name in zoneinfo.available_timezones():
                return zoneinfo.ZoneInfo(name)
        raise AssertionError

    def today(self) -> date:
        return self.now.astimezone(self.zone()).date()

    def contacts(self) -> list[View]:
        return [
            replace(self, unit="customer", row=c, subject=None)
            for c in self.world.customers
            if c["account_id"] == self.row["id"]
            and c["merged_into"] is None
            and (c["left_at"] is None or c["left_at"] > self.now)
        ]

    def rows(self, of: str) -> list[dict[str, Any]]:
        """Events known by now or records, of the unit."""
        if of in EVENTS:
            known = [e for e in self.world.events if e["occurred_at"] <= self.now and e["received_at"] <= self.now]
            return [e for e in known if e["type"] == of and e[f"{self.unit}_id"] == self.row["id"]]
        records = [r for r in self.world.records if r["type"] == of]
        if RECORDS[of].of == self.unit:
            return [r for r in records if r[f"{self.unit}_id"] == self.row["id"]]
        if self.unit == "customer":
            return [r for r in records if r["account_id"] == self.row["account_id"] and r["account_id"] is not None]
        theirs = {
            c["id"] for c in self.world.customers if c["account_id"] == self.row["id"] and c["merged_into"] is None
        }
        return [r for r in records if r["customer_id"] in theirs]


def member(row: dict[str, Any] | None, name: str, kind: Kind) -> Any:
    """A declared value as it counts: missing and malformed are unknown."""
    if row is None:
        return None
    if name in row and name not in ("attributes", "properties", "fields"):
        value = row[name]
    else:
        holder = next(k for k in ("attributes", "properties", "fields") if k in row)
        value = row[holder].get(name)
        if kind is Kind.DATE:
            value = _day(value)
        elif kind is Kind.INSTANT:
            value = datetime.fromisoformat(value) if isinstance(value, str) and len(value) == 27 else None
    if kind is Kind.MONEY:
        holder_row = row if name in row else row[next(k for k in ("attributes", "properties", "fields") if k in row)]
        amount, currency = member_of(holder_row.get(name), Kind.NUMBER), holder_row.get(f"{name}_currency")
        return (amount, currency) if amount is not None and isinstance(currency, str) else None
    return member_of(value, kind)


def member_of(value: Any, kind: Kind) -> Any:
    if kind in (Kind.NUMBER,):
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind is Kind.YES_NO:
        return value if isinstance(value, bool) else None
    if kind in (Kind.DATE, Kind.INSTANT):
        return value
    return value if isinstance(value, str) else None


def _day(value: Any) -> date | None:
    if not (isinstance(value, str) and len(value) == 10):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def compared(op: str, a: Any, b: Any) -> bool | None:
    return None if a is None or b is None else OPERATORS[op](a, b)


def kleene_not(a: bool | None) -> bool | None:
    return None if a is None else not a


def kleene_and(parts: Iterable[bool | None]) -> bool | None:
    found = list(parts)
    return False if False in found else None if None in found else True


def kleene_or(parts: Iterable[bool | None]) -> bool | None:
    found = list(parts)
    return True if True in found else None if None in found else False


def money_compared(op: str, a: Any, b: Any) -> bool | None:
    """Only within one currency; nothing at all ("*") is 0 of any."""
    if a is None or b is None or (a[1] != b[1] and "*" not in (a[1], b[1])):
        return None
    return OPERATORS[op](a[0], b[0])


def bounded(value: Any) -> float | None:
    if value is None or abs(value) > 1e15:
        return None
    return float(value)


def reckoned(op: str, a: float | None, b: float | None) -> float | None:
    if a is None or b is None or (op == "/" and b == 0):
        return None
    return {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[op](float(a), float(b))


def months_on(day: date, months: int) -> date:
    total = day.year * 12 + day.month - 1 + months
    first = date(total // 12, total % 12 + 1, 1)
    last = (date(first.year + first.month // 12, first.month % 12 + 1, 1) - timedelta(days=1)).day
    return first.replace(day=min(day.day, last))


@dataclass(frozen=True)
class Spell:
    """A length of time, in words and as it moves a day and an instant."""

    count: int
    unit: str

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}"

    def day(self, day: date, sign: int) -> date:
        if self.unit in ("month", "year"):
            return months_on(day, sign * self.count * (12 if self.unit == "year" else 1))
        return day + sign * timedelta(days=self.count * (7 if self.unit == "week" else 1))

    def instant(self, at: datetime, sign: int) -> datetime:
        if self.unit in ("hour", "minute"):
            return at + sign * timedelta(**{f"{self.unit}s": self.count})
        return datetime.combine(self.day(at.date(), sign), at.time(), UTC)


# ---- conditions as pairs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    text: str
    of: Callable[[View], Any]

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Env:
    """Where a condition is made: its unit, the type its `where` judges, and whether a run is in scope."""

    unit: str = "customer"
    subject: str | None = None
    run: bool = False


DAY_SPELLS = [
    Spell(n, u) for n, u in ((1, "day"), (7, "day"), (30, "day"), (90, "day"), (2, "week"), (1, "month"), (1, "year"))
]
SPELLS = [*DAY_SPELLS, Spell(1, "hour"), Spell(30, "minute"), Spell(24, "hour")]


def _field(text: str, of: Callable[[View], dict[str, Any] | None], name: str, kind: Kind) -> Made:
    return Made(text, lambda v: member(of(v), name, kind))


def names(env: Env, kind: Kind) -> list[Made]:
    """Fields of a kind that can be named here."""
    found: list[Made] = []
    unit = "" if env.subject is None else f"{env.unit}."
    own: dict[str, Kind] = (
        {n: f.kind for n, f in ATTRIBUTES.items()} if env.unit == "customer" else {"status": Kind.TEXT}
    )
    own |= (
        {"city": Kind.TEXT, "joined": Kind.DATE}
        if env.unit == "customer"
        else {"annual_value": Kind.MONEY, "joined": Kind.DATE}
    )
    for name, k in own.items():
        if k is kind:
            found.append(_field(f"{unit}{name}", lambda v: v.row, name, kind))
    if env.unit == "customer":
        for name, k in {"annual_value": Kind.MONEY, "status": Kind.TEXT, "joined": Kind.DATE}.items():
            if k is kind:
                found.append(_field(f"account.{name}", lambda v: v.account, name, kind))
    if env.subject is not None:
        declared = EVENTS[env.subject].fields if env.subject in EVENTS else RECORDS[env.subject].fields
        for name, f in declared.items():
            if f.kind is kind:
                found += [_field(name, lambda v: v.subject, name, kind)] * 3
    if env.run:
        for name, f in EVENTS["order_placed"].fields.items():
            if f.kind is kind:
                found.append(_field(f"event.{name}", lambda v: v.event, name, kind))
        for name, f in RECORDS["contract"].fields.items():
            if f.kind is kind:
                found.append(_field(f"contract.{name}", lambda v: v.record, name, kind))
    return found


@st.composite
def picked_rows(draw: st.DrawFn, env: Env, of: str | None = None) -> Made:
    """`TYPE where …, WINDOW`, and the rows it stands for."""
    of = of or draw(st.sampled_from([*EVENTS, *RECORDS]))
    where = draw(st.none() | truths(replace(env, subject=of), 1))
    window = draw(st.none() | st.sampled_from(SPELLS)) if of in EVENTS else None
    text = f"{{}}{f' where {where.text}' if where else ''}{f', {window}' if window else ''}"

    def rows(v: View) -> list[dict[str, Any]]:
        found = v.rows(of)
        if window:
            found = [r for r in found if r["occurred_at"] > window.instant(v.now, -1)]
        return [r for r in found if where is None or where.of(replace(v, subject=r)) is True]

    return Made(f"{of}|{text}", rows)


def _aggregate(fold: str, rows: Made, prop: str | None, value: Callable[[View, list[dict[str, Any]]], Any]) -> Made:
    of, text = rows.text.split("|", 1)
    return Made(f"{fold}({text.format(of if prop is None else f'{of}.{prop}')})", lambda v: value(v, rows.of(v)))


@st.composite
def numbers(draw: st.DrawFn, env: Env, depth: int = 1) -> tuple[Made, str]:
    """A number, and what it comes from: "data", "literal", "days" or "sum"."""
    kinds = ["field", "field", "literal"] + (["count", "days", "aggregate", "arithmetic", "ratio"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    fields_here = names(env, Kind.NUMBER)
    if kind == "field" and fields_here:
        return draw(st.sampled_from(fields_here)), "data"
    if kind == "count":
        return _aggregate("count", draw(picked_rows(env)), None, lambda v, rows: len(rows)), "data"
    if kind == "days":
        since = draw(dates(env, depth) | instants(env, depth))

        def days(v: View) -> int | None:
            found = since.of(v)
            if found is None:
                return None
            if isinstance(found, datetime):
                passed = v.now - found
                whole = abs(passed) // timedelta(days=1)
                return whole if passed >= timedelta(0) else -whole
            return (v.today() - found).days

        return Made(f"days_since({since.text})", days), "days"
    if kind == "aggregate":
        of, prop = draw(st.sampled_from([("order_placed", "items"), ("contract", "seats"), ("pet", "weight")]))
        fold = draw(st.sampled_from(["sum", "avg", "min", "max"] + (["first", "last"] if of in EVENTS else [])))
        return _aggregate(fold, draw(picked_rows(env, of)), prop, lambda v, rows: folded(fold, rows, prop)), "data"
    if kind == "arithmetic":
        op = draw(st.sampled_from("+-*/"))
        (a, one), (b, two) = draw(numbers(env, depth - 1)), draw(numbers(env, depth - 1))
        if op == "/":  # by powers of two, which leave nothing to round
            b, two = Made(*draw(st.sampled_from([("2", lambda v: 2), ("0.5", lambda v: 0.5)]))), "literal"
            if draw(st.booleans()) and fields_here:
                zero = draw(st.sampled_from(fields_here))
                b, two = Made(f"({zero.text} * 0)", lambda v: reckoned("*", bounded(zero.of(v)), 0)), "sum"
        return Made(
            f"({a.text} {op} {b.text})", lambda v: reckoned(op, operand(a.of(v), one), operand(b.of(v), two))
        ), "sum"
    if kind == "ratio":
        a, b = draw(moneys(env, 0)), draw(moneys(env, 0))

        def ratio(v: View) -> float | None:
            one, two = a.of(v), b.of(v)
            if one is None or two is None or (one[1] != two[1] and "*" not in (one[1], two[1])):
                return None
            return reckoned("/", one[0], two[0])

        if ("EUR" in a.text and "USD" in b.text) or ("USD" in a.text and "EUR" in b.text):
            return Made("1", lambda v: 1), "literal"
        return Made(f"({a.text} / {b.text})", ratio), "sum"
    literal = draw(st.sampled_from([0, 1, 2, 5, 100, 0.25, -2]))
    return Made(str(literal), lambda v: literal), "literal"


def operand(value: Any, source: str) -> float | None:
    return bounded(value) if source == "data" else value


_FOLDS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "sum": sum}


def folded(fold: str, rows: list[dict[str, Any]], prop: str) -> Any:
    if fold in ("first", "last"):
        ordered = sorted(rows, key=lambda r: (r["occurred_at"], r["id"]))
        return member(ordered[0 if fold == "first" else -1], prop, Kind.NUMBER) if ordered else None
    values = [x for r in rows if (x := member(r, prop, Kind.NUMBER)) is not None]
    if fold in ("min", "max"):
        return _FOLDS[fold](values, default=None)
    values = [float(x) for x in values if abs(x) <= 1e15]
    return sum(values) if fold == "sum" else (sum(values) / len(values) if values else None)


@st.composite
def moneys(draw: st.DrawFn, env: Env, depth: int = 1) -> Made:
    kind = draw(st.sampled_from(["field", "field", "literal"] + (["aggregate", "sum", "times"] if depth else [])))
    fields_here = names(env, Kind.MONEY)
    if kind == "field" and fields_here:
        return draw(st.sampled_from(fields_here))
    if kind == "aggregate":
        of, prop = draw(st.sampled_from([("order_placed", "amount"), ("contract", "value")]))
        fold = draw(st.sampled_from(["sum", "min", "max"] + (["last"] if of in EVENTS else [])))
        return _aggregate(fold, draw(picked_rows(env, of)), prop, lambda v, rows: money_folded(fold, rows, prop))
    if kind == "sum":
        a, b = draw(moneys(env, 0)), draw(moneys(env, 0))
        op = draw(st.sampled_from("+-"))
        if not (("EUR" in a.text and "USD" in b.text) or ("USD" in a.text and "EUR" in b.text)):
            return Made(f"({a.text} {op} {b.text})", lambda v: money_sum(op, a.of(v), b.of(v)))
    if kind == "times":
        a = draw(moneys(env, 0))
        return Made(f"(2 * {a.text})", lambda v: None if (m := a.of(v)) is None else (2.0 * m[0], m[1]))
    literal = draw(
        st.sampled_from(
            [("0 EUR", 0, "EUR"), ("25 EUR", 2500, "EUR"), ("123.45 EUR", 12345, "EUR"), ("50 USD", 5000, "USD")]
        )
    )
    return Made(literal[0], lambda v: (literal[1], literal[2]))


def money_sum(op: str, a: Any, b: Any) -> Any:
    if a is None or b is None or (a[1] != b[1] and "*" not in (a[1], b[1])):
        return None
    return reckoned(op, a[0], b[0]), (b[1] if a[1] == "*" else a[1])


def money_folded(fold: str, rows: list[dict[str, Any]], prop: str) -> Any:
    if fold == "last":
        ordered = sorted(rows, key=lambda r: (r["occurred_at"], r["id"]))
        return member(ordered[-1], prop, Kind.MONEY) if ordered else None
    values = [x for r in rows if (x := member(r, prop, Kind.MONEY)) is not None]
    if not values:
        return (0.0, "*") if fold == "sum" else None
    if len({c for _, c in values}) > 1:
        return None
    return _FOLDS[fold](a for a, _ in values), values[0][1]


@st.composite
def dates(draw: st.DrawFn, env: Env, depth: int = 1) -> Made:
    kind = draw(st.sampled_from(["field", "field", "field", "literal"] + (["aggregate"] if depth else [])))
    fields_here = names(env, Kind.DATE)
    if kind == "field" and fields_here:
        return draw(st.sampled_from(fields_here))
    if kind == "aggregate":
        of, prop = draw(st.sampled_from([("order_placed", "deliver"), ("contract", "ends"), ("pet", "born")]))
        fold = draw(st.sampled_from(["min", "max"]))

        def outermost(v: View, rows: list[dict[str, Any]]) -> Any:
            values = [x for r in rows if (x := member(r, prop, Kind.DATE)) is not None]
            return _FOLDS[fold](values, default=None)

        return _aggregate(fold, draw(picked_rows(env, of)), prop, outermost)
    day = draw(st.sampled_from([date(2027, 3, 14), date(2027, 3, 31), date(2028, 2, 29), date(2020, 1, 1)]))
    return Made(day.isoformat(), lambda v: day)


@st.composite
def instants(draw: st.DrawFn, env: Env, depth: int = 1) -> Made:
    fields_here = names(env, Kind.INSTANT)
    if depth and (not fields_here or draw(st.booleans())):
        fold = draw(st.sampled_from(["first", "last"]))

        def outermost(v: View, rows: list[dict[str, Any]]) -> Any:
            found = [r["occurred_at"] for r in rows]
            return (min if fold == "first" else max)(found, default=None)

        return _aggregate(fold, draw(picked_rows(env, draw(st.sampled_from(list(EVENTS))))), None, outermost)
    return draw(st.sampled_from(fields_here)) if fields_here else draw(dates(env, 0))


def in_parens(made: Made) -> str:
    return f"({made.text})"


@st.composite
def truths(draw: st.DrawFn, env: Env, depth: int = 2) -> Made:
    if depth and draw(st.integers(0, 2)) == 0:
        joint = draw(st.sampled_from(["and", "or", "not"]))
        if joint == "not":
            part = draw(truths(env, depth - 1))
            return Made(f"not {in_parens(part)}", lambda v: kleene_not(part.of(v)))
        parts = draw(st.lists(truths(env, depth - 1), min_size=2, max_size=3))
        logic = kleene_and if joint == "and" else kleene_or
        return Made(f" {joint} ".join(map(in_parens, parts)), lambda v: logic(p.of(v) for p in parts))
    makers = [number_test, money_test, date_test, text_test, class_test, tier_test, yes_no_test, set_test]
    if depth:
        makers += [rows_test, rows_test, instant_test]
        if env.subject is None:
            makers.append(segment_test)
            if env.unit == "account":
                makers.append(contact_test)
    return draw(draw(st.sampled_from(makers))(env, max(depth - 1, 0)))


@st.composite
def number_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    (a, _), (b, _) = draw(numbers(env, depth)), draw(numbers(env, 0))
    op = draw(st.sampled_from(list(OPERATORS)))
    if draw(st.integers(0, 4)) == 0:
        return Made(f"{a.text} in [0, 2.5, 100]", lambda v: None if (x := a.of(v)) is None else x in (0, 2.5, 100))
    return Made(f"{a.text} {op} {b.text}", lambda v: compared(op, a.of(v), b.of(v)))


@st.composite
def money_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    a, b = draw(moneys(env, depth)), draw(moneys(env, 0))
    op = draw(st.sampled_from(list(OPERATORS)))
    if ("EUR" in a.text and "USD" in b.text) or ("USD" in a.text and "EUR" in b.text):
        b = Made("25 EUR", lambda v: (2500, "EUR")) if "EUR" in a.text else Made("25 USD", lambda v: (2500, "USD"))
    return Made(f"{a.text} {op} {b.text}", lambda v: money_compared(op, a.of(v), b.of(v)))


@st.composite
def date_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    a = draw(dates(env, depth))
    how = draw(st.sampled_from(["compare", "past", "future", "next", "last", "more", "less"]))
    if how == "compare":
        b, op = draw(dates(env, 0)), draw(st.sampled_from(list(OPERATORS)))
        return Made(f"{a.text} {op} {b.text}", lambda v: compared(op, a.of(v), b.of(v)))
    spell = draw(st.sampled_from(DAY_SPELLS))

    def test(v: View) -> bool | None:
        found, today = a.of(v), v.today()
        if found is None:
            return None
        return {
            "past": found < today,
            "future": found > today,
            "next": today <= found <= spell.day(today, 1),
            "last": spell.day(today, -1) <= found <= today,
            "more": found < spell.day(today, -1),
            "less": spell.day(today, -1) < found <= today,
        }[how]

    return Made(f"{a.text} is {_when(how, spell)}", test)


@st.composite
def instant_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    a = draw(instants(env, 1))
    how = draw(st.sampled_from(["day", "compare", "past", "future", "next", "last", "more", "less"]))
    if how == "compare":
        b, op = draw(instants(env, 1)), draw(st.sampled_from(list(OPERATORS)))
        return Made(f"{a.text} {op} {b.text}", lambda v: compared(op, a.of(v), b.of(v)))
    if how == "day":
        day, op = draw(st.sampled_from([date(2027, 3, 14), date(2028, 2, 29)])), draw(st.sampled_from(list(OPERATORS)))

        def local(v: View) -> bool | None:
            found = a.of(v)
            return None if found is None else OPERATORS[op](found.astimezone(v.zone()).date(), day)

        return Made(f"{a.text} {op} {day}", local)
    spell = draw(st.sampled_from(SPELLS))

    def test(v: View) -> bool | None:
        found = a.of(v)
        if found is None:
            return None
        back, ahead = spell.instant(v.now, -1), spell.instant(v.now, 1)
        return {
            "past": found <= v.now,
            "future": found > v.now,
            "next": v.now < found <= ahead,
            "last": back < found <= v.now,
            "more": found <= back,
            "less": back < found <= v.now,
        }[how]

    return Made(f"{a.text} is {_when(how, spell)}", test)


def _when(how: str, spell: Spell) -> str:
    if how in ("past", "future"):
        return f"in {how}"
    return f"within {how} {spell}" if how in ("next", "last") else f"{how} than {spell} ago"


@st.composite
def text_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    choices = names(env, Kind.TEXT)
    a = draw(st.sampled_from(choices))
    op = draw(st.sampled_from([*OPERATORS, "in"]))
    if op == "in":
        return Made(
            f"{a.text} in [DE, 'a b', store]", lambda v: None if (x := a.of(v)) is None else x in ("DE", "a b", "store")
        )
    if draw(st.integers(0, 3)) == 0:
        b = draw(st.sampled_from(choices))
        return Made(f"{a.text} {op} {b.text}", lambda v: compared(op, a.of(v), b.of(v)))
    literal = draw(st.sampled_from(["DE", "", "ä", "a b", "Zürich"]))
    return Made(f'{a.text} {op} "{literal}"', lambda v: compared(op, a.of(v), literal))


@st.composite
def class_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    name, op = draw(st.sampled_from(list(LADDERS))), draw(st.sampled_from(["==", "!="]))
    unit = "" if env.subject is None else f"{env.unit}."
    if env.unit == "customer" and draw(st.integers(0, 2)) == 0:
        shirt = draw(st.sampled_from(SHIRTS))
        return Made(f"{unit}shirt {op} {shirt}", lambda v: compared(op, member(v.row, "shirt", Kind.CHOICE), shirt))
    return Made(f"{unit}class {op} {name}", lambda v: compared(op, v.row["class"], name))


@st.composite
def tier_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    unit = "" if env.subject is None else f"{env.unit}."
    op = draw(st.sampled_from([*OPERATORS, "in"]))
    name = draw(st.sampled_from(sorted({t for ladder in LADDERS.values() for t in ladder})))
    of_account = env.unit == "customer" and draw(st.integers(0, 3)) == 0
    listed = ["gold", "standard"] if op == "in" else [name]

    def test(v: View) -> bool | None:
        row = v.account if of_account else v.row
        if row is None:
            return None
        ladder = LADDERS[row["class"]]
        tier = row["tier"]
        if v.unit == "customer" and not of_account and row["class"] in ACCOUNT_CLASSES:
            tier = v.account["tier"] if v.account else None
        here = [t for t in listed if t in ladder]
        if not here:
            return op == "!="
        if tier is None:
            return None
        if op in ("in", "=="):
            return tier in here
        if op == "!=":
            return tier not in here
        return tier in ladder and OPERATORS[op](ladder.index(tier), ladder.index(here[0]))

    owner = "account." if of_account else unit
    return Made(f"{owner}tier {op} {'[gold, standard]' if op == 'in' else name}", test)


@st.composite
def yes_no_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    choices = names(env, Kind.YES_NO)
    if not choices:
        return draw(class_test(env, depth))
    a = draw(st.sampled_from(choices))
    if draw(st.booleans()):
        return a
    word = draw(st.sampled_from(["yes", "no"]))
    return Made(f"{a.text} == {word}", lambda v: compared("==", a.of(v), word == "yes"))


@st.composite
def set_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    kind = draw(st.sampled_from([Kind.TEXT, Kind.DATE, Kind.NUMBER, Kind.MONEY, Kind.YES_NO, Kind.INSTANT]))
    choices = names(env, kind) or names(env, Kind.TEXT)
    a = draw(st.sampled_from(choices))
    negated = draw(st.booleans())
    return Made(f"{a.text} is {'not ' if negated else ''}set", lambda v: (a.of(v) not in (None, "")) is not negated)


@st.composite
def rows_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    rows = draw(picked_rows(env))
    of, text = rows.text.split("|", 1)
    how = draw(st.sampled_from(["any", "never", "count", "all"]))
    if how == "all" and " where " in text:
        bare = text.split(" where ")[0] + (", " + text.rsplit(", ", 1)[1] if text.count(", ") else "")
        del bare
        everyone = draw(truths(replace(env, subject=of), 1))

        def all_(v: View) -> bool:
            return all(everyone.of(replace(v, subject=r)) is True for r in v.rows(of))

        return Made(f"all({of} where {everyone.text})", all_)
    if how == "count":
        op, n = draw(st.sampled_from([(">=", 1), (">", 0), ("==", 0), ("<", 1), (">=", 2), ("!=", 0), ("<=", 0)]))
        return Made(f"count({text.format(of)}) {op} {n}", lambda v: OPERATORS[op](len(rows.of(v)), n))
    if how == "never":
        return Made(f"never({text.format(of)})", lambda v: not rows.of(v))
    return Made(f"any({text.format(of)})", lambda v: bool(rows.of(v)))


@st.composite
def segment_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    name = draw(st.sampled_from(sorted(SEGMENTS)))

    def vip(v: View) -> bool:
        return v.row["class"] == "b2c" and v.row["tier"] in ("gold", "platinum")

    def inside(v: View) -> bool:
        if name == "big-accounts":
            money = member(v.account, "annual_value", Kind.MONEY)
            return money is not None and money[1] == "EUR" and money[0] > 500_000
        if v.unit == "account":
            return any(inside(c) for c in v.contacts())
        return vip(v) or (name == "small-shirts" and member(v.row, "shirt", Kind.CHOICE) in ("s", "m"))

    return Made(f'in segment("{name}")', inside)


@st.composite
def contact_test(draw: st.DrawFn, env: Env, depth: int) -> Made:
    part = draw(truths(Env("customer"), 1))
    return Made(f"any contact({part.text})", lambda v: any(part.of(c) is True for c in v.contacts()))


def midnight(day: date, zone: zoneinfo.ZoneInfo) -> datetime:
    return datetime.combine(day, time(0), zone).astimezone(UTC)
