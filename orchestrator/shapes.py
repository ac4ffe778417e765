"""How one value is read from YAML: what it can look like, and what to say when it does not. `reading` joins them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from typing import Any, Final, Literal, NewType

from orchestrator import words
from orchestrator.condition import Condition, Expression, Scope, parse, parse_expression
from orchestrator.model import Kind, Vocabulary, minor_digits
from orchestrator.problems import Problem, Problems, Span, suggest
from orchestrator.source import Entry, Node
from orchestrator.words import Duration, Money, Rate, Stamp
from orchestrator.zones import zone

Share = NewType("Share", float)
"""`10%` as 0.1."""
Days = NewType("Days", frozenset[int])
"""`weekdays`, `weekends`, `mon`, [mon, tue] as days of the week, Monday 0."""
Hours = NewType("Hours", tuple[time, time])
"""`08:00-20:00` as opening and closing time."""
Zone = NewType("Zone", str)
"""The name of a time zone there is."""
EventName = NewType("EventName", str)
SegmentName = NewType("SegmentName", str)
TopicName = NewType("TopicName", str)
ClassName = NewType("ClassName", str)
TierName = NewType("TierName", str)
RecordName = NewType("RecordName", str)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Offset:
    """`90 days before contract.ends`. `expression` is the checked field, in the context's scope; None when the option
    was declared with `checked=False` and the reader of the file resolves `field` itself.
    """

    amount: Duration
    side: Literal["before", "on", "after"]
    every_year: bool
    field: str
    expression: Expression | None
    span: Span
    field_span: Span


@dataclass(slots=True)
class Context:
    """What reading depends on besides the text. `kinds` are the step kinds by keyword; `ids` come from `outline`."""

    problems: Problems
    vocabulary: Vocabulary
    scope: Scope = field(default_factory=Scope)
    kinds: Mapping[str, type[Any]] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)

    def within(self, scope: Scope) -> Context:
        """The same, with conditions read in another scope."""
        return Context(self.problems, self.vocabulary, scope, self.kinds, self.ids)


class _Bad:
    """What could not be read; its problem is told."""


BAD: Final = _Bad()

# ---- what a value looks like, and how to say that it does not ------------------------------------------------------


def described(node: Node) -> str:
    """A value as a message names it: text `abc`, the number 3, a list, nothing."""
    if node.kind != "scalar":
        return "a list" if node.kind == "list" else "a map of keys"
    if node.value is None and node.style == "plain":
        return "nothing"
    shown = node.text if len(node.text) <= 40 else node.text[:37] + "…"
    shown = re.sub(r"\s+", " ", shown)
    return f"`{shown}`" if isinstance(node.value, (str, bool)) else f"the number {shown}"


def unknown(problems: Problems, noun: str, word: str, span: Span, known: Iterable[str], where: str = "") -> None:
    """The problem `unknown-<noun>`: a name that nothing has, with the nearest that something has."""
    known = list(known)
    hint = suggest(word, known) or (f"there is no {noun} yet{where}" if not known else f"declare it{where} first")
    problems.error(f"unknown-{noun.replace(' ', '-')}", f"there is no {noun} `{word}`", span, hint)


class Shape:
    """How a value of one type is read. `takes`: the kinds of node it can come from; `expects`: for messages."""

    expects: str = "a value"
    takes: frozenset[str] = frozenset(("scalar",))

    def read(self, node: Node, context: Context) -> Any:
        raise NotImplementedError

    def nested(self, node: Node) -> Iterator[Node]:
        """The step nodes directly beneath."""
        return iter(())

    def keys(self) -> frozenset[str]:
        """The keys of a map it knows."""
        return frozenset()

    def claims(self, node: Node) -> bool:
        """In a union: whether a scalar that cannot be read was plainly meant as this, so that its problems are told."""
        return False

    def schema(self, defs: Json) -> Json:
        return {}

    def wrong(self, node: Node, context: Context, hint: str = "") -> Any:
        message = f"expected {self.expects}, got {described(node)}"
        context.problems.error("wrong-type", message, node.span, hint)
        return BAD


class Word(Shape):
    """A scalar in words: `parse` gives its value, or BAD without a problem."""

    def __init__(
        self, expects: str, parse: Callable[[Node, Context], Any], schema: Json, hint: Hint | str = ""
    ) -> None:
        self.expects, self.parse, self._schema, self.hint = expects, parse, schema, hint

    def read(self, node: Node, context: Context) -> Any:
        if node.kind == "scalar":
            value = self.parse(node, context)
            if value is not BAD:
                return value
            return self.wrong(node, context, self.hint if isinstance(self.hint, str) else self.hint(node.text))
        return self.wrong(node, context)

    def schema(self, defs: Json) -> Json:
        return dict(self._schema)


Hint = Callable[[str], str]


def _worded(expects: str, parse: Callable[[str], Any], pattern: str = "", hint: Hint | str = "") -> Word:
    def read_text(node: Node, context: Context) -> Any:
        value = parse(node.text)
        return BAD if value is None else value

    schema: Json = {"type": "string"}
    if pattern:
        schema["pattern"] = pattern
    return Word(expects, read_text, schema, hint)


def _text(node: Node, context: Context) -> Any:
    return BAD if isinstance(node.value, bool) or not node.text.strip() else node.text


def _exact(text: str) -> timedelta | None:
    found = words.duration(text)
    return found.exact if found else None


def _meant(text: str) -> str:
    meant = words.nearest_duration(text)
    return f"write `{meant}`" if meant else ""


def _meant_exact(text: str) -> str:
    if words.duration(text) is not None:
        return "in seconds, minutes, hours, days or weeks: months and business days differ in length"
    return _meant(text)


def _money(text: str) -> Money | None:
    return words.money(text, minor_digits)


def _zone(text: str) -> str | None:
    return text if zone(text) is not None else None


_DURATION = r"^(\d+|an?) +(business +day|second|minute|hour|day|week|month|year)s?\b"
WORDS: Final[dict[Any, Word]] = {
    str: Word("text", _text, {"type": "string"}, "put it in quotes when it is meant as text"),
    bool: Word("`true` or `false`", lambda n, c: n.value if isinstance(n.value, bool) else BAD, {"type": "boolean"}),
    timedelta: _worded("a length of time such as `2 hours` or `14 days`", _exact, _DURATION, _meant_exact),
    Duration: _worded("a length of time such as `3 days` or `2 business days`", words.duration, _DURATION, _meant),
    time: _worded("a time of day such as `09:00`", words.clock, r"^\d?\d:\d\d$", "from 00:00 to 23:59"),
    date: _worded("a date such as `2027-08-31`", words.day, r"^\d{4}-\d\d-\d\d$"),
    Share: _worded("a share such as `10%`", words.share, r"^[\d.]+ ?%$", "from 0% to 100%"),
    Rate: _worded("a rate such as `1000 per hour`", words.rate, r"^[\d,]+ per "),
    Money: _worded("an amount such as `500 EUR`", _money, r"^[\d.,]+ [A-Z]{3}$"),
    Hours: _worded("hours such as `08:00-20:00`", words.hours, r"^\d?\d:\d\d ?-"),
    Stamp: _worded("a time such as `2027-03-01 09:00 Europe/Berlin`", words.stamp, r"^\d{4}-\d\d-\d\d "),
    Zone: _worded("a time zone such as `Europe/Berlin`", _zone, "", "names as in the IANA database"),
}


class Number(Shape):
    def __init__(self, whole: bool, low: float | None, high: float | None) -> None:
        self.whole, self.low, self.high = whole, low, high
        self.expects = "a whole number" if whole else "a number"
        if low is not None and high is not None:
            self.expects += f" from {low:g} to {high:g}"
        elif low is not None:
            self.expects += f" of at least {low:g}"

    def read(self, node: Node, context: Context) -> Any:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return self.wrong(node, context)
        if not math.isfinite(value) or (self.low is not None and value < self.low):
            return self.wrong(node, context)
        return self.wrong(node, context) if self.high is not None and value > self.high else value

    def schema(self, defs: Json) -> Json:
        bounds = {"minimum": self.low, "maximum": self.high}
        return {"type": "integer" if self.whole else "number", **{k: v for k, v in bounds.items() if v is not None}}


class Choice(Shape):
    """One of some words, of a Literal or a StrEnum."""

    def __init__(self, choices: Mapping[str, Any]) -> None:
        self.choices = choices
        self.expects = "one of " + ", ".join(f"`{c}`" for c in choices)

    def read(self, node: Node, context: Context) -> Any:
        if node.kind != "scalar":
            return self.wrong(node, context)
        if node.text not in self.choices:
            near = suggest(node.text, self.choices)
            hint = near if near.startswith("did") else ""
            context.problems.error("wrong-choice", f"{described(node)} is not {self.expects}", node.span, hint)
            return BAD
        return self.choices[node.text]

    def schema(self, defs: Json) -> Json:
        return {"enum": list(self.choices)}


class Declared(Shape):
    """The name of something the workspace declares."""

    def __init__(self, noun: str, known: Callable[[Vocabulary], Iterable[str]], where: str) -> None:
        self.noun, self.known, self.where = noun, known, where
        self.expects = f"the name of {'an' if noun[0] in 'aeiou' else 'a'} {noun}"

    def read(self, node: Node, context: Context) -> Any:
        if node.kind != "scalar" or node.value is None:
            return self.wrong(node, context)
        known = self.known(context.vocabulary)
        if node.text not in known:
            unknown(context.problems, self.noun, node.text, node.span, known, self.where)
            return BAD
        return node.text

    def schema(self, defs: Json) -> Json:
        return {"type": "string"}


_IN_WORKSPACE = " in workspace.yaml"
DECLARED: Final[dict[Any, Declared]] = {
    EventName: Declared("event", lambda v: v.events, _IN_WORKSPACE),
    SegmentName: Declared("segment", lambda v: v.segments, " in segments.yaml"),
    TopicName: Declared("topic", lambda v: v.topics, _IN_WORKSPACE),
    ClassName: Declared("class", lambda v: v.classes, _IN_WORKSPACE),
    TierName: Declared("tier", lambda v: v.tiers(), _IN_WORKSPACE),
    RecordName: Declared("record", lambda v: v.records, _IN_WORKSPACE),
}


class DaysShape(Shape):
    expects = "days such as `weekdays` or `[mon, thu]`"
    takes = frozenset(("scalar", "list"))

    def read(self, node: Node, context: Context) -> Any:
        found: frozenset[int] = frozenset()
        for item in node.items if node.kind == "list" and node.items else (node,):
            days = words.days(item.text) if item.kind == "scalar" else None
            if days is None:
                return self.wrong(item, context, suggest(item.text, ["weekdays", "weekends", *words.WEEKDAY_NAMES]))
            found |= days
        return found

    def schema(self, defs: Json) -> Json:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class Conditional(Shape):
    """A condition or an expression. Mistakes are placed inside the text wherever it stands in the file."""

    def __init__(self, scalar: bool) -> None:
        self.scalar = scalar
        self.expects = "an expression such as `points * 2`" if scalar else "a condition such as `tier >= gold`"

    def read(self, node: Node, context: Context) -> Any:
        if node.kind != "scalar" or node.value is None:
            return self.wrong(node, context)
        found = place(node, 0, node.text.rstrip(), context, self._parse)
        return BAD if found is None else found

    def claims(self, node: Node) -> bool:
        return True

    def _parse(self, text: str, span: Span, context: Context, problems: Problems) -> Any:
        if "{{" in text:
            at = text.index("{{")
            here = Span(span.file, span.line, span.col + at, span.line, span.col + at + 2)
            problems.error("template-in-condition", "`{{ }}` is for texts", here, "name the field as it is")
            return None
        if self.scalar:
            return parse_expression(text, span, context.scope, context.vocabulary, problems)
        return parse(text, span, context.scope, context.vocabulary, problems)

    def schema(self, defs: Json) -> Json:
        return {"type": ["string", "boolean"]}


Parser = Callable[[str, Span, Context, Problems], Any]


def place(node: Node, offset: int, text: str, context: Context, parser: Parser) -> Any:
    """Runs a parser on a stretch of a scalar, so that its problems point into the file.

    The parser is given a one-line span as long as the text; where the file has none such (several lines, escapes),
    its problems are moved to where their characters stand.
    """
    span = node.at(offset, len(text))
    if span.line == span.end_line and span.end_col - span.col == len(text):
        return parser(text, span, context, context.problems)
    line = Span(span.file, 1, 1, 1, 1 + len(text))
    mine = Problems()
    found = parser(text, line, context, mine)
    for problem in mine.found:
        at = node.at(offset + problem.span.col - 1, problem.span.end_col - problem.span.col)
        context.problems.found.append(replace(problem, span=at))
    return replace(found, span=span) if isinstance(found, (Condition, Expression)) else found


class OffsetShape(Shape):
    expects = "a day such as `90 days before contract.ends`"

    def __init__(self, checked: bool) -> None:
        self.checked = checked

    def read(self, node: Node, context: Context) -> Any:
        said = words.offset(node.text) if node.kind == "scalar" and node.value is not None else None
        if said is None:
            hint = "a length of time, `before` or `after`, and the name of a date"
            if not self.checked:  # a trigger's: a wait comes once
                hint += "; what comes each year begins so: `every year 10 days before birthday`"
            return self.wrong(node, context, hint)
        expression = None
        if self.checked:
            expression = place(node, said.begins, said.field, context, _date_field)
            if expression is None:
                return BAD
        at = node.at(said.begins, len(said.field))
        return Offset(said.amount, said.side, said.every_year, said.field, expression, node.span, at)

    def claims(self, node: Node) -> bool:
        return words.offset(node.text) is not None

    def schema(self, defs: Json) -> Json:
        return {"type": "string"}


def _date_field(text: str, span: Span, context: Context, problems: Problems) -> Any:
    expect = frozenset((Kind.DATE, Kind.INSTANT))
    return parse_expression(text, span, context.scope, context.vocabulary, problems, expect)


class Opaque(Shape):
    takes = frozenset(("scalar", "list", "map"))

    def read(self, node: Node, context: Context) -> Any:
        return node


# ---- made of others -------------------------------------------------------------------------------------------------


class ListShape(Shape):
    takes = frozenset(("scalar", "list", "map"))

    def __init__(self, item: Shape, make: Callable[[Iterable[Any]], Any]) -> None:
        self.item, self.make = item, make
        self.expects = f"a list; each: {item.expects}"

    def _items(self, node: Node) -> tuple[Node, ...]:
        return node.items if node.kind == "list" else (node,)

    def read(self, node: Node, context: Context) -> Any:
        values = [self.item.read(n, context) for n in self._items(node)]
        return BAD if any(v is BAD for v in values) else self.make(values)

    def nested(self, node: Node) -> Iterator[Node]:
        for item in self._items(node):
            yield from self.item.nested(item)

    def schema(self, defs: Json) -> Json:
        item = self.item.schema(defs)
        return {"anyOf": [{"type": "array", "items": item}, item]}


class MappingShape(Shape):
    takes = frozenset(("map",))

    def __init__(self, item: Shape) -> None:
        self.item = item
        self.expects = f"a map of names; each: {item.expects}"

    def read(self, node: Node, context: Context) -> Any:
        if node.kind != "map":
            return self.wrong(node, context)
        values = {e.key: read_entry(e, self.item, context) for e in node.entries}
        return BAD if any(v is BAD for v in values.values()) else values

    def nested(self, node: Node) -> Iterator[Node]:
        for entry in node.entries:
            yield from self.item.nested(entry.value)

    def schema(self, defs: Json) -> Json:
        return {"type": "object", "additionalProperties": self.item.schema(defs)}


class UnionShape(Shape):
    """One of several: by the kind of node, then by the keys of a map or by the first word that can be read."""

    def __init__(self, shapes: list[Shape]) -> None:
        # Text can be anything: it is asked last.
        self.shapes = sorted(shapes, key=lambda s: s is WORDS[str] or isinstance(s, Conditional))
        self.takes = frozenset().union(*(s.takes for s in shapes))
        self.expects = " or ".join(s.expects for s in shapes)

    def _pick(self, node: Node) -> Shape | None:
        able = [s for s in self.shapes if node.kind in s.takes]
        exact = [s for s in able if not isinstance(s, ListShape)] if node.kind != "list" else able
        able = exact or able
        if node.kind == "map" and len(able) > 1:
            keys = {e.key for e in node.entries}
            return max(able, key=lambda s: len(s.keys() & keys))
        return able[0] if len(able) == 1 else None

    def read(self, node: Node, context: Context) -> Any:
        if node.kind not in self.takes or node.empty:
            return self.wrong(node, context)
        picked = self._pick(node)
        if picked is not None:
            return picked.read(node, context)
        claimed: list[Problem] | None = None
        for shape in self.shapes:
            if "scalar" not in shape.takes:
                continue
            trial = Context(Problems(), context.vocabulary, context.scope, context.kinds, context.ids)
            value = shape.read(node, trial)
            if value is not BAD:
                return value
            if claimed is None and shape.claims(node):
                claimed = trial.problems.found
        if claimed is None:
            return self.wrong(node, context)
        context.problems.found.extend(claimed)
        return BAD

    def nested(self, node: Node) -> Iterator[Node]:
        picked = self._pick(node)
        return picked.nested(node) if picked is not None else iter(())

    def schema(self, defs: Json) -> Json:
        return {"anyOf": [s.schema(defs) for s in self.shapes]}


def read_entry(entry: Entry, shape: Shape, context: Context, required: bool = False) -> Any:
    """A key's value; a key with nothing after it is a problem at the key."""
    if entry.value.empty and entry.value.style == "plain" and not isinstance(shape, Opaque):
        hint = f"it takes {shape.expects}" + ("" if required else "; leave the key out when there is none")
        context.problems.error("empty-value", f"`{entry.key}` has no value", entry.key_span, hint)
        return BAD
    return shape.read(entry.value, context)
