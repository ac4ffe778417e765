"""The typed parts a condition is made of, and the one way to write each of them down.

Names are resolved here: a `Ref` knows whose field it is. `text` prints a node so that reading it again in the same
scope gives the same node; equal forms (spacing, quotes, `1 week` and `7 days`) print alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Literal

from channels.base import EventKind
from orchestrator.model import Kind, minor_digits
from orchestrator.words import Duration

Owner = Literal["unit", "account", "subject", "event", "record"]
Holder = Literal["customer", "account", "event", "record", "loyalty"]
Operator = Literal["==", "!=", "<", "<=", ">", ">="]
Fold = Literal["count", "sum", "avg", "min", "max", "first", "last"]


@dataclass(frozen=True, slots=True)
class Node:
    """A typed node of a condition; concrete nodes below. Frozen and hashable, so that equal conditions are one."""


@dataclass(frozen=True, slots=True)
class Scalar(Node):
    """A node with a value of some kind."""


@dataclass(frozen=True, slots=True)
class Truth(Node):
    """A node that is true, false or unknown."""


# ---- values ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal_(Scalar):
    """Text, key, choice as str; number as int or float; yes_no as bool; date as "YYYY-MM-DD"."""

    value: str | int | float | bool
    kind: Kind


@dataclass(frozen=True, slots=True)
class Amount(Scalar):
    """Money written out, in minor units."""

    minor: int
    currency: str

    @property
    def kind(self) -> Kind:
        return Kind.MONEY


@dataclass(frozen=True, slots=True)
class Ref(Scalar):
    """A field. `owner`: the innermost unit, its account (of a customer), the row a `where` judges, the triggering event
    or the record in scope. `of` names the event or record type, of what the programme knows (`loyalty`) the unit that
    is asked about; `column` is None for a member of the row's JSON."""

    owner: Owner
    holder: Holder
    of: str
    name: str
    kind: Kind
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Rows(Node):
    """Events or records of one type, of the unit: those `where` is true of, and within the rolling window."""

    holder: Literal["event", "record"]
    of: str
    where: Truth | None = None
    window: Duration | None = None


@dataclass(frozen=True, slots=True)
class Aggregate(Scalar):
    """`field` is a subject of `rows`; None for `count`, and for first and last of an event: its instant."""

    fold: Fold
    rows: Rows
    field: Ref | None
    kind: Kind


@dataclass(frozen=True, slots=True)
class DaysSince(Scalar):
    """Whole days from a date (local days) or an instant (elapsed, towards zero) to now."""

    since: Scalar

    @property
    def kind(self) -> Kind:
        return Kind.NUMBER


@dataclass(frozen=True, slots=True)
class PointsWithin(Scalar):
    """Points that count towards tiers, earned in a rolling window; 0 without any. `owner`, `of`: as a Ref's."""

    owner: Literal["unit", "account"]
    of: Holder
    window: Duration

    @property
    def kind(self) -> Kind:
        return Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Arithmetic(Scalar):
    op: Literal["+", "-", "*", "/"]
    left: Scalar
    right: Scalar
    kind: Kind


@dataclass(frozen=True, slots=True)
class Negative(Scalar):
    of: Scalar
    kind: Kind


# ---- truths ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Is(Truth):
    """A yes_no value taken as it stands."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Compare(Truth):
    op: Operator
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class TierIs(Truth):
    """A tier against one of its ladder (`op`), or among several (op "==")."""

    tier: Ref
    op: Operator
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OneOf(Truth):
    value: Scalar
    options: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class IsSet(Truth):
    """Always known. An empty text is not set."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class When(Truth):
    """A date or instant against now: past, future; next, last (within `span`); more, less (than `span` ago)."""

    value: Scalar
    how: Literal["past", "future", "next", "last", "more", "less"]
    span: Duration | None = None


@dataclass(frozen=True, slots=True)
class Any_(Truth):
    """There is one; with `every`, there is none that `rows.where` is not true of. Always known."""

    rows: Rows
    every: bool = False


@dataclass(frozen=True, slots=True)
class AnyContact(Truth):
    """Of an account: one of its present contacts of whom this is true. Always known."""

    where: Truth


@dataclass(frozen=True, slots=True)
class InSegment(Truth):
    """Whether the segment's condition is true: always known."""

    name: str


@dataclass(frozen=True, slots=True)
class Not(Truth):
    part: Truth


@dataclass(frozen=True, slots=True)
class And(Truth):
    parts: tuple[Truth, ...]


@dataclass(frozen=True, slots=True)
class Or(Truth):
    parts: tuple[Truth, ...]


@dataclass(frozen=True, slots=True)
class Happened(Truth):
    """An event of this type (with `where` true of it) since the enrollment's entry or since it came to this step.

    "Since" is both by arrival and by occurrence: occurred_at ≥ the mark, received by now.
    """

    event: str
    where: Node | None
    since: Literal["entry", "step", "ever"]
    within_seconds: int | None = None  # counted from the entry: a goal's `within`


@dataclass(frozen=True, slots=True)
class Heard(Truth):
    """Feedback of one of these kinds for this enrollment's message of a step (at its present visit when since=step)."""

    step: str
    kinds: frozenset[EventKind]
    since: Literal["entry", "step"] = "entry"


STEP_WORDS: dict[str, frozenset[EventKind]] = {
    # A click needs an open, and an open a delivery; a machine's opening is a delivery but no person's look.
    "opened": frozenset({EventKind.OPENED, EventKind.CLICKED}),
    "clicked": frozenset({EventKind.CLICKED}),
    "delivered": frozenset(
        {EventKind.DELIVERED, EventKind.OPENED, EventKind.MACHINE_OPENED, EventKind.CLICKED, EventKind.REPLIED}
    ),
    "bounced": frozenset({EventKind.BOUNCED}),
}
"""What `opened(step)` and its like have to have heard, any of them."""


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    stack: list[Node] = [node]
    while stack:
        here = stack.pop()
        yield here
        for f in fields(here):
            value = getattr(here, f.name)
            if isinstance(value, Node):
                stack.append(value)
            elif isinstance(value, tuple):
                stack += [v for v in value if isinstance(v, Node)]


def kind_of(node: Scalar) -> Kind:
    """The kind of a scalar's value."""
    kind: Kind = node.kind  # type: ignore[attr-defined]
    return kind


# ---- writing it down ------------------------------------------------------------------------------------------------

_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGN, _ATOM = range(8)


def text(node: Node, *, inside: bool = False) -> str:
    """The canonical text. `inside`: within a `where`, where a bare name is the judged row's."""
    return _write(node, inside)[0]


def quoted(value: str) -> str:
    """A text literal. No text with both kinds of quotation marks can be written, so none can be read."""
    return f"'{value}'" if '"' in value else f'"{value}"'


def span_text(span: Duration) -> str:
    """A duration in its largest single unit."""
    if span.months and span.months % 12 == 0:
        return _counted(span.months // 12, "year")
    if span.months:
        return _counted(span.months, "month")
    if span.days:
        return _counted(span.days, "day")
    if span.seconds % 3600 == 0:
        return _counted(span.seconds // 3600, "hour")
    return _counted(span.seconds // 60, "minute")


def money_text(minor: int, digits: int) -> str:
    """Minor units as a decimal number of major ones, without needless zeros."""
    return number_text(Decimal(minor).scaleb(-digits))


def number_text(value: float | Decimal) -> str:
    """A number without exponent or needless zeros."""
    plain = format(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _in(node: Node, least: int, inside: bool) -> str:
    written, strength = _write(node, inside)
    return written if strength >= least else f"({written})"


def _write(node: Node, inside: bool) -> tuple[str, int]:
    """The text and how tightly its outermost operator binds."""
    match node:
        case Or(parts):
            return " or ".join(_in(p, _AND, inside) for p in parts), _OR
        case And(parts):
            return " and ".join(_in(p, _NOT, inside) for p in parts), _AND
        case Not(IsSet(value)):
            return f"{_in(value, _SUM, inside)} is not set", _COMPARE
        case Not(Any_(Rows("event"), False)):
            return f"never({node.part.rows.of}{_rest(node.part.rows)})", _ATOM  # type: ignore[attr-defined]
        case Not(part):
            return f"not {_in(part, _NOT, inside)}", _NOT
        case Compare(op, left, right):
            return f"{_in(left, _SUM, inside)} {op} {_in(right, _SUM, inside)}", _COMPARE
        case TierIs(tier, op, names):
            if len(names) == 1:
                return f"{_in(tier, _SUM, inside)} {op} {quoted(names[0])}", _COMPARE
            return f"{_in(tier, _SUM, inside)} in [{', '.join(map(quoted, names))}]", _COMPARE
        case OneOf(value, options):
            listed = ", ".join(_in(o, _SUM, inside) for o in options)
            return f"{_in(value, _SUM, inside)} in [{listed}]", _COMPARE
        case IsSet(value):
            return f"{_in(value, _SUM, inside)} is set", _COMPARE
        case When(value, how, span):
            return f"{_in(value, _SUM, inside)} is {_when(how, span)}", _COMPARE
        case Arithmetic(op, left, right):
            least = _SUM if op in "+-" else _PRODUCT
            # A right operand of the same strength needs its parentheses: a - (b - c).
            return f"{_in(left, least, inside)} {op} {_in(right, least + 1, inside)}", least
        case Negative(of):
            return f"-{_in(of, _SIGN, inside)}", _SIGN
        case _:
            return _atom(node, inside)


def _when(how: str, span: Duration | None) -> str:
    if span is None:
        return f"in {how}"
    if how in ("next", "last"):
        return f"within {how} {span_text(span)}"
    return f"{how} than {span_text(span)} ago"


def _atom(node: Node, inside: bool) -> tuple[str, int]:
    match node:
        case Is(value):
            return _write(value, inside)
        case Literal_(value, kind):
            return _literal(value, kind)
        case Amount(minor, currency):
            return f"{money_text(minor, minor_digits(currency))} {currency}", _SIGN if minor < 0 else _ATOM
        case Ref():
            return _name(node, inside), _ATOM
        case Aggregate(fold, rows, field, _):
            of = rows.of if field is None else f"{rows.of}.{field.name}"
            return f"{fold}({of}{_rest(rows)})", _ATOM
        case Any_(rows, every):
            return f"{'all' if every else 'any'}({rows.of}{_rest(rows)})", _ATOM
        case DaysSince(since):
            return f"days_since({text(since, inside=inside)})", _ATOM
        case PointsWithin(owner, _, window):
            return f"{'account.' if owner == 'account' else ''}points({span_text(window)})", _ATOM
        case AnyContact(where):
            return f"any contact({text(where)})", _ATOM
        case InSegment(name):
            return f"in segment({quoted(name)})", _ATOM
        case Happened(event, judged, mark, seconds):
            where_text = f" where {text(judged, inside=True)}" if judged else ""
            within = f" within {seconds}s" if seconds is not None else ""
            return f"happened({event}{where_text} since {mark}{within})", _ATOM
        case Heard(step, kinds, mark):
            word = next((w for w, k in STEP_WORDS.items() if k == kinds), None)
            if word and mark == "entry":
                return f"{word}({quoted(step)})", _ATOM
            return f"heard({step} {','.join(sorted(kinds))} since {mark})", _ATOM
        case _:
            raise TypeError(f"no text for a {type(node).__name__}")


def _literal(value: str | float | bool, kind: Kind) -> tuple[str, int]:
    if isinstance(value, bool):
        return ("yes" if value else "no"), _ATOM
    if isinstance(value, str):
        return (value if kind is Kind.DATE else quoted(value)), _ATOM
    return number_text(value), _SIGN if value < 0 else _ATOM


def _name(ref: Ref, inside: bool) -> str:
    if ref.owner == "subject" or (ref.owner == "unit" and not inside):
        return ref.name
    if ref.owner in ("unit", "account"):
        return f"{ref.of if ref.holder == 'loyalty' else ref.holder}.{ref.name}"
    return f"{'event' if ref.owner == 'event' else ref.of}.{ref.name}"


def _rest(rows: Rows) -> str:
    where = f" where {text(rows.where, inside=True)}" if rows.where is not None else ""
    return where + (f", {span_text(rows.window)}" if rows.window is not None else "")
