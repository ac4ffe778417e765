"""Whether a condition can ever be true, as far as its words tell without anybody's data.

Known is kept by what is asked: classes with their tiers, fields compared with written values, numbers between bounds;
what a call such as `count(order_placed, 30 days)` gives is one number wherever the same is written. All else is let
pass, so that "never" is never said of what may be. Missing data is a value, too: what is asked of it is not true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import Final, Literal, TypeVar

from orchestrator.model import Kind, Vocabulary
from orchestrator.terms import (
    Aggregate,
    Amount,
    And,
    Any_,
    Compare,
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
    Scalar,
    TierIs,
    When,
)
from orchestrator.words import Duration

Mode = Literal["true", "false", "not true"]
_Place = tuple[str | None, str | None]  # class and tier; None: has none
_Value = str | bool | None
_Key = tuple[object, ...]
_V = TypeVar("_V")
_MIRROR: Final[Mapping[Operator, Operator]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_AGAINST: Final[Mapping[Operator, Operator]] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_LASTING: Final = "event"
"""Owner of what stays as it is for a whole run: the event that began it."""


@dataclass(frozen=True, slots=True)
class _Among:
    """A field's values: one of these, or with `but` any other than these."""

    values: frozenset[_Value]
    but: bool = False

    def __and__(self, other: _Among) -> _Among:
        match self.but, other.but:
            case False, False:
                return _Among(self.values & other.values)
            case True, True:
                return _Among(self.values | other.values, True)
            case False, True:
                return _Among(self.values - other.values)
        return _Among(other.values - self.values)

    def __or__(self, other: _Among) -> _Among:
        match self.but, other.but:
            case False, False:
                return _Among(self.values | other.values)
            case True, True:
                return _Among(self.values & other.values, True)
            case False, True:
                return _Among(other.values - self.values, True)
        return _Among(self.values - other.values, True)

    @property
    def empty(self) -> bool:
        return not self.but and not self.values


@dataclass(frozen=True, slots=True)
class _Between:
    """A number's bounds; `True` beside one: the bound itself is out."""

    low: tuple[float, bool] = (float("-inf"), False)
    high: tuple[float, bool] = (float("inf"), False)

    def __and__(self, other: _Between) -> _Between:
        return _Between(max(self.low, other.low), min(self.high, other.high, key=lambda e: (e[0], not e[1])))

    def __or__(self, other: _Between) -> _Between:
        return _Between(min(self.low, other.low), max(self.high, other.high, key=lambda e: (e[0], not e[1])))

    @property
    def empty(self) -> bool:
        return self.low[0] > self.high[0] or (self.low[0] == self.high[0] and (self.low[1] or self.high[1]))


@dataclass(frozen=True, slots=True)
class Known:
    """What holds of whoever comes to a place; by owner, field."""

    places: Mapping[str, frozenset[_Place]] = field(default_factory=dict)
    values: Mapping[_Key, _Among] = field(default_factory=dict)
    bounds: Mapping[_Key, _Between] = field(default_factory=dict)
    there: Mapping[_Key, bool] = field(default_factory=dict)  # whether it is set

    def one_of(self, *key: str) -> frozenset[str]:
        """All that a field (owner, holder, of, name) may be; empty where that is not known, or it may be empty."""
        among = self.values.get(key, _Among(frozenset(), True))
        texts = frozenset(value for value in among.values if isinstance(value, str))
        return texts if not among.but and len(texts) == len(among.values) else frozenset()


@dataclass(frozen=True, slots=True)
class Possible:
    """Asks what conditions leave possible; `segments`: name → (unit it is about, root)."""

    vocabulary: Vocabulary
    segments: Mapping[str, tuple[str, Node]] = field(default_factory=dict)

    def after(self, known: Known, node: Node, mode: Mode = "true", depth: int = 0) -> Known | None:
        """What is known where, beside `known`, a condition is true, false, or not true; None: that can never be."""
        match node, mode:
            case And(parts), "true":
                return self._all(known, parts, mode, depth)
            case Or(parts), "false" | "not true":
                return self._all(known, parts, mode, depth)
            case (And(parts), "false" | "not true") | (Or(parts), "true"):
                return _joined([self.after(known, part, mode, depth) for part in parts])
            case Not(part), "true":
                return self.after(known, part, "false", depth)
            case Not(part), "false":
                return self.after(known, part, "true", depth)
            case InSegment(name), _ if name in self.segments and depth < 20:
                # In a segment or not: that is always known.
                root = self.segments[name][1]
                return self.after(known, root, "true" if mode == "true" else "not true", depth + 1)
        return self._atom(known, node, mode)

    def tiers(self, known: Known, owner: str, names: tuple[str, ...]) -> Known | None:
        """What is known where the tier is one of these."""
        return self._placed(known, owner, lambda place: place[1] in names)

    def lasting(self, known: Known, *, moves: bool = False) -> Known:
        """What still holds after time has passed: the class, and what is said of the event that began the run.

        `moves`: but for a class of the same unit, such as that of a partner who becomes a customer."""
        classes = self.vocabulary.classes
        places = {}
        for owner, some in known.places.items():
            may = {c for c, _ in some}
            if moves:
                units = {classes[c].unit for c in may if c is not None and c in classes}
                may |= {name for name, declared in classes.items() if declared.unit in units}
            places[owner] = self._of(may)
        return Known(places, _of_event(known.values), _of_event(known.bounds), _of_event(known.there))

    def _all(self, known: Known, parts: tuple[Node, ...], mode: Mode, depth: int) -> Known | None:
        found: Known | None = known
        for part in parts:
            found = self.after(found, part, mode, depth) if found is not None else None
        return found

    def _atom(self, known: Known, node: Node, mode: Mode) -> Known | None:
        match node:
            case TierIs(tier):
                return self._placed(known, tier.owner, lambda place: self._tier_holds(node, place, mode))
            case Compare(op, Ref() as ref, Literal_(value)) if _is_class(ref) and op in ("==", "!="):
                true = (op == "==") == (mode == "true")
                if mode == "not true" and op == "==":
                    return self._placed(known, ref.owner, lambda place: place[0] != value)
                if mode == "not true":
                    return self._placed(known, ref.owner, lambda place: place[0] in (value, None))
                return self._placed(known, ref.owner, lambda p: p[0] is not None and (p[0] == value) is true)
            case OneOf(Ref() as ref, options) if _is_class(ref):
                names = {o.value for o in options if isinstance(o, Literal_)}
                if mode == "true":
                    return self._placed(known, ref.owner, lambda place: place[0] in names)
                return self._placed(
                    known, ref.owner, lambda p: p[0] not in names and (mode != "false" or p[0] is not None)
                )
            case Compare(op, left, right):
                return self._compared(known, op, left, right, mode)
            case OneOf(Ref() as ref, options):
                values = frozenset(o.value for o in options if isinstance(o, Literal_) and isinstance(o.value, str))
                return _narrowed(known, ref, values, mode) if len(values) == len(options) else known
            case Is(Ref() as ref):
                return _narrowed(known, ref, frozenset([True]), mode)
            case IsSet(Ref() as ref):
                return _set(known, _key(ref), mode == "true")
            case Any_(rows, False):
                some = Aggregate("count", rows, None, Kind.NUMBER)
                return _bounded(known, some, "", ">" if mode == "true" else "<=", 0, mode)
            case When(value) if mode == "true":
                age = _age(node)
                return _within(known, ("age", value), age, _key_of(value), mode) if age is not None else known
        return known

    # ---- classes and tiers ----------------------------------------------------------------------------------------

    def _of(self, classes: set[str | None]) -> frozenset[_Place]:
        found: set[_Place] = {(None, None)} if None in classes else set()
        for name, declared in self.vocabulary.classes.items():
            if name in classes:
                found |= {(name, tier) for tier in (None, *declared.tiers)}
        return frozenset(found)

    def _placed(self, known: Known, owner: str, holds: Callable[[_Place], bool]) -> Known | None:
        before = known.places.get(owner) or self._of({None, *self.vocabulary.classes})
        left = frozenset(place for place in before if holds(place))
        return replace(known, places={**known.places, owner: left}) if left else None

    def _tier_holds(self, node: TierIs, place: _Place, mode: Mode) -> bool:
        """As the database judges it: a class without that tier is neither above nor below."""
        name, tier = place
        ladder = self.vocabulary.classes[name].tiers if name is not None else ()
        named = [n for n in node.names if n in ladder]
        if tier is None or not named:
            return mode != "true"
        at, mark = ladder.index(tier), ladder.index(named[0])
        true = tier in named if node.op == "==" else _ordered(node.op, at, mark)
        return true is (mode == "true")

    # ---- values ---------------------------------------------------------------------------------------------------

    def _compared(self, known: Known, op: Operator, left: Scalar, right: Scalar, mode: Mode) -> Known | None:
        if isinstance(left, Literal_ | Amount):
            left, right, op = right, left, _MIRROR[op]
        if isinstance(right, Literal_) and isinstance(right.value, str | bool) and isinstance(left, Ref):
            if op not in ("==", "!=") or left.kind is Kind.DATE:
                return known
            same = op == "=="
            if mode == "not true" and not same:
                return known
            return _narrowed(known, left, frozenset([right.value]), mode if same else _other(mode))
        if not isinstance(right, Literal_ | Amount):
            return known
        number = right.minor if isinstance(right, Amount) else right.value
        unit = right.currency if isinstance(right, Amount) else ""
        if isinstance(number, str) or (mode == "false" and op == "==") or (mode != "false" and op == "!="):
            return known
        return _bounded(known, left, unit, op if mode == "true" else _AGAINST[op], float(number), mode)


def _is_class(ref: Ref) -> bool:
    return ref.column == "class" and ref.holder in ("customer", "account")


def _key(ref: Ref) -> _Key:
    return ref.owner, ref.holder, ref.of, ref.name


def _other(mode: Mode) -> Mode:
    return "false" if mode == "true" else "true"


def _ordered(op: Operator, at: float, mark: float) -> bool:
    return {"<": at < mark, "<=": at <= mark, ">": at > mark, ">=": at >= mark}.get(op, (at == mark) is (op == "=="))


def _of_event(known: Mapping[_Key, _V]) -> dict[_Key, _V]:
    return {key: value for key, value in known.items() if key[0] == _LASTING}


def _key_of(value: Scalar) -> _Key:
    return _key(value) if isinstance(value, Ref) else (value,)


def _set(known: Known, key: _Key, there: bool) -> Known | None:
    if known.there.get(key, there) is not there:
        return None
    return replace(known, there={**known.there, key: there})


def _narrowed(known: Known, ref: Ref, values: frozenset[_Value], mode: Mode) -> Known | None:
    """A field that is one of these (`true`), known and none of them (`false`), or none of them or empty."""
    key = _key(ref)
    asked = _Among(values) if mode == "true" else _Among(values | ({None} if mode == "false" else set()), True)
    left = known.values.get(key, _Among(frozenset(), True)) & asked
    if ref.kind is Kind.YES_NO:
        left = left & _Among(frozenset([True, False, None]))
    if left.empty:
        return None
    narrowed = replace(known, values={**known.values, key: left})
    return narrowed if mode == "not true" else _set(narrowed, key, True)


def _bounded(known: Known, value: Scalar, unit: str, op: Operator, number: float, mode: Mode) -> Known | None:
    """A number on one side of another one. What is counted is whole, never less than none, and always known."""
    counted = isinstance(value, Aggregate) and value.fold == "count"
    if counted and op in ("<", ">"):
        op, number = (">=", floor(number) + 1) if op == ">" else ("<=", ceil(number) - 1)
    asked = {
        "<": _Between(high=(number, True)),
        "<=": _Between(high=(number, False)),
        ">": _Between(low=(number, True)),
        ">=": _Between(low=(number, False)),
        "==": _Between((number, False), (number, False)),
    }.get(op, _Between())
    if counted:
        return _within(known, (value, unit), asked & _Between(low=(0, False)), None, "true")
    key = _key_of(value)
    return _within(known, (*key, unit), asked, key, mode)


def _within(known: Known, key: _Key, asked: _Between, there: _Key | None, mode: Mode) -> Known | None:
    """A number between bounds; "not true": if it is set at all. `there` tells whether it is; None: it always is."""
    left = known.bounds.get(key, _Between()) & asked
    if left.empty:
        return _set(known, there, False) if mode == "not true" and there is not None else None
    narrowed = replace(known, bounds={**known.bounds, key: left})
    return narrowed if mode == "not true" or there is None else _set(narrowed, there, True)


def _age(node: When) -> _Between | None:
    """How many days ago a date is (less than none: to come), with a day to spare, as days end elsewhere at other hours.
    None: not told."""
    if node.span is None:
        return _Between(low=(-1, False)) if node.how == "past" else _Between(high=(1, False))
    days = _days(node.span)
    if days is None:
        return None
    least, most = days[0] - 1, days[1] + 1
    match node.how:
        case "more":
            return _Between(low=(least, False))
        case "less":
            return _Between(high=(most, False))
        case "last":
            return _Between((-1, False), (most, False))
        case "next":
            return _Between((-most, False), (1, False))
    return None


def _days(span: Duration) -> tuple[float, float] | None:
    """How many days a length has at least and at most; None where that hangs on weekends."""
    if span.business:
        return None
    exact = span.days + span.seconds / 86_400
    return floor(span.months * 30.4) - 3 * bool(span.months) + exact, span.months * 31 + exact


def _joined(ways: list[Known | None]) -> Known | None:
    """What is known when one of several ways was taken."""
    found = [way for way in ways if way is not None]
    if not found:
        return None
    first, *others = found
    for other in others:
        first = Known(
            {k: first.places[k] | other.places[k] for k in first.places.keys() & other.places.keys()},
            {k: first.values[k] | other.values[k] for k in first.values.keys() & other.values.keys()},
            {k: first.bounds[k] | other.bounds[k] for k in first.bounds.keys() & other.bounds.keys()},
            {k: v for k, v in first.there.items() if other.there.get(k) is v},
        )
    return first
