"""Fills frozen dataclasses from YAML by the types of their fields; tells what does not fit, all of it, each once.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Email(Step):
        \"\"\"Sends an e-mail.\"\"\"            # the first line is the description in the JSON Schema
        keyword: ClassVar[str] = "email"
        medium: ClassVar[Medium] = Medium.EMAIL     # a kind with a `medium` is a send: its id is never numbered
        email: str = option("the template's name")  # named as the keyword: filled by what follows `email:`
        sender: str | None = option("whose name it carries", key="from", default=None)
        only_if: Condition | None = option("sent only when this holds", default=None)
        expire_after: Duration | None = option("not sent later than this", default=None)

Types a field may have: str, bool, int, float, Literal, StrEnum, timedelta (exact: no months), Duration, time, date,
Share, Days, Rate, Money, Window hours (Hours), Stamp, Zone, Offset, Condition, Expression, names of declared things
(EventName, SegmentName, TopicName, ClassName, TierName, RecordName), Node (as it stands), a dataclass (a map),
Mapping[str, X] (free keys), tuple[X, ...] (a list, or one X alone), a step class or tuple[Step, ...], and unions of
these, told apart by shape; `| None` says that the key may be left out. `span: Span` is filled with the value's place.
A key is the field's name without a trailing underscore (`else_`), unless `key=` says otherwise.

Hooks on a dataclass: `narrow(node, scope) -> Scope` (classmethod), before its fields are read, gives the scope of the
conditions inside it (say `subject_event` for `where`); `check(self, node, context)` adds problems once it is filled.
On a step: `named(head) -> str` (static) tells what its id is made of when that is no single value.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal, TypeVar

from orchestrator import words
from orchestrator.condition import Condition, Expression
from orchestrator.problems import Problems, Span, suggest
from orchestrator.shapes import (
    BAD,
    DECLARED,
    WORDS,
    Choice,
    ClassName,
    Conditional,
    Context,
    Days,
    DaysShape,
    EventName,
    Hours,
    Json,
    ListShape,
    MappingShape,
    Number,
    Offset,
    OffsetShape,
    Opaque,
    RecordName,
    SegmentName,
    Shape,
    Share,
    TierName,
    TopicName,
    UnionShape,
    Word,
    Zone,
    described,
    place,
    read_entry,
    unknown,
)
from orchestrator.source import Entry, Node

__all__ = [
    "BAD",
    "ClassName",
    "Context",
    "Days",
    "EventName",
    "Hours",
    "Offset",
    "Outlined",
    "RecordName",
    "SegmentName",
    "Share",
    "TierName",
    "TopicName",
    "Zone",
    "described",
    "option",
    "outline",
    "place",
    "read",
    "read_entry",
    "read_parts",
    "read_step",
    "read_value",
    "schema",
    "unknown",
]

T = TypeVar("T")
_META: Final = "orchestrator.reading"


@dataclass(frozen=True, slots=True)
class _Meta:
    doc: str = ""
    key: str = ""
    head: bool = False
    beside: bool = False
    checked: bool = True
    low: float | None = None
    high: float | None = None
    skip: bool = False


def option(
    doc: str = "",
    *,
    default: Any = dataclasses.MISSING,
    factory: Any = dataclasses.MISSING,
    key: str = "",
    head: bool = False,
    beside: bool = False,
    checked: bool = True,
    low: float | None = None,
    high: float | None = None,
    skip: bool = False,
) -> Any:
    """A field of a declaration. `doc` is its one line in the schema and the reference; `key` its name in YAML.

    For steps: `head` takes what follows the keyword (else the field named as the keyword does; with neither, the
    keyword is followed by a map that holds the fields, save those `beside` it). `low`, `high`: bounds of a number,
    inclusive. `skip`: not read from YAML.
    """
    meta = _Meta(doc, key, head, beside, checked, low, high, skip)
    if factory is not dataclasses.MISSING:
        return field(default_factory=factory, metadata={_META: meta})
    if default is not dataclasses.MISSING:
        return field(default=default, metadata={_META: meta})
    return field(metadata={_META: meta})


def read(cls: type[T], node: Node, context: Context) -> T | None:
    """An instance of the dataclass from a map; None when anything in it is wrong, with all problems added."""
    value = _map_shape(cls).read(node, context)
    return None if value is BAD else typing.cast("T", value)


def read_parts(cls: type[Any], node: Node, context: Context) -> Json:
    """What could be read of a declaration, by field name, and every default; all problems told. For a file whose
    sound parts are of use while others are mended. Not for a declaration that is no map: then nothing is there.
    """
    shape = _map_shape(cls)
    if node.kind != "map":
        shape.wrong(node, context)
        return {}
    values, _ = shape.parts(node, node.entries, node.span, context, {})
    for f in dataclasses.fields(cls):
        if f.default is not dataclasses.MISSING:
            values.setdefault(f.name, f.default)
        elif f.default_factory is not dataclasses.MISSING:
            values.setdefault(f.name, f.default_factory())
    return values


def read_value(kind: Any, node: Node, context: Context) -> Any:
    """A value of any type a field may have (`Duration`, `tuple[str, ...]`, …); BAD when it is wrong."""
    return _shape(kind, _Meta()).read(node, context)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a declaration, ready to be read."""

    name: str
    key: str
    shape: Shape
    required: bool
    meta: _Meta


class _Map(Shape):
    """A dataclass from a map. `plan`: its fields by their keys in YAML."""

    takes = frozenset(("map",))

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.is_step = hasattr(cls, "keyword")
        self.noun = cls.keyword if self.is_step else ""
        self.plan: dict[str, _Field] = {}
        self.spanned = False
        self.expects = "a map of keys"

    def keys(self) -> frozenset[str]:
        return frozenset(self.plan)

    def resolve(self) -> None:
        """Apart from the constructor: a declaration may hold itself."""
        hints = typing.get_type_hints(self.cls)
        for f in dataclasses.fields(self.cls):
            meta: _Meta = f.metadata.get(_META, _Meta())
            if f.name == "span" and hints[f.name] is Span:
                self.spanned = True
                continue
            if meta.skip or not f.init or f.name.startswith("_") or (self.is_step and f.name == "id"):
                continue
            required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            key = meta.key or f.name.rstrip("_")
            self.plan[key] = _Field(f.name, key, _shape(hints[f.name], meta), required, meta)
        if self.plan:
            self.expects = "a map with " + ", ".join(f"`{k}`" for k in list(self.plan)[:6])
        head = next((p for p in self.plan.values() if p.meta.head), None)
        self.head = head or (self.plan.get(self.cls.keyword) if self.is_step else None)

    def read(self, node: Node, context: Context) -> Any:
        if node.kind != "map":
            return self.wrong(node, context)
        return self.fill(node, node.entries, node.span, context, {})

    def fill(
        self, node: Node, entries: Iterable[Entry], missing_at: Span, context: Context, given: dict[str, Any]
    ) -> Any:
        """An instance from entries and what is given already; `missing_at` is where a missing key is told."""
        narrow = getattr(self.cls, "narrow", None)
        inner = context if narrow is None else context.within(narrow(node, context.scope))
        values, good = self.parts(node, entries, missing_at, inner, given)
        if not good:
            return BAD
        if self.spanned:
            values.setdefault("span", node.span)
        instance = self.cls(**values)
        check = getattr(instance, "check", None)
        if check is not None:
            check(node, inner)
        return instance

    def parts(
        self, node: Node, entries: Iterable[Entry], missing_at: Span, context: Context, given: dict[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """The fields that could be read, and whether all could that were written or must be."""
        values, good, strangers, met = dict(given), True, [], set()
        for entry in entries:
            plan = self.plan.get(entry.key)
            if plan is None:
                strangers.append(entry)
                continue
            met.add(entry.key)
            told = len(context.problems.found)
            value = read_entry(entry, plan.shape, context, plan.required)
            if value is BAD:
                good = False
                _hinted(context.problems, told, self.noun if plan is self.head else plan.key, plan.meta.doc)
            else:
                values[plan.name] = value
        missing = [p for p in self.plan.values() if p.required and p.name not in values and p.key not in met]
        for entry in strangers:
            good = False
            near = self.stranger(entry, context, met)
            missing = [p for p in missing if p.key != near]
        for plan in missing:
            good = False
            self._missing(plan, missing_at, context)
        return values, good

    def _missing(self, plan: _Field, at: Span, context: Context) -> None:
        message = f"`{self.noun}` needs `{plan.key}`" if self.noun else f"`{plan.key}` is missing"
        expects, doc = plan.shape.expects, plan.meta.doc
        plain = plan.shape is WORDS[str] or not isinstance(plan.shape, (Word, Number, Choice))
        hint = f"it takes {expects}" if not doc else doc if plain or ":" in doc else f"{doc}; {expects}"
        context.problems.error("missing-key", message, at, hint)

    def stranger(self, entry: Entry, context: Context, met: set[str]) -> str:
        """Tells of an unknown key; the key that was probably meant, or nothing."""
        known = [k for k in self.plan if k not in met and self.plan[k] is not self.head] + (["id"] * self.is_step)
        hint = suggest(entry.key, known)
        name, colon, rest = entry.key.partition(":")
        if colon and rest and entry.value.empty and name in self.plan:
            hint = f"a space is missing after the colon: `{name}: {rest}`"
        of = f" of `{self.noun}`" if self.noun else ""
        context.problems.error("unknown-key", f"unknown key `{entry.key}`{of}", entry.key_span, hint)
        return hint.split("`")[1] if hint.startswith("did") else ""

    def nested(self, node: Node) -> Iterator[Node]:
        for entry in node.entries:
            plan = self.plan.get(entry.key)
            if plan is not None:
                yield from plan.shape.nested(entry.value)

    def schema(self, defs: Json) -> Json:
        name = self.cls.__name__
        if name not in defs:
            defs[name] = {}
            defs[name] = self.object_schema(defs, self.plan.values())
        return {"$ref": f"#/definitions/{name}"}

    def object_schema(self, defs: Json, fields: Iterable[_Field]) -> Json:
        fields = list(fields)
        properties = {p.key: _documented(p.shape.schema(defs), p.meta.doc) for p in fields}
        found: Json = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [p.key for p in fields if p.required]
        return _documented(found | ({"required": required} if required else {}), _summary(self.cls))


def _hinted(problems: Problems, told: int, key: str, doc: str) -> None:
    """What a key is for, as the hint of a problem that has none."""
    for number in range(told, len(problems.found)):
        found = problems.found[number]
        if " " in doc and not found.hint and found.code in ("wrong-type", "wrong-choice"):
            problems.found[number] = replace(found, hint=f"`{key}`: {doc}")


def _documented(schema: Json, doc: str) -> Json:
    if not doc:
        return schema
    # Draft 7 ignores what stands beside a reference.
    return {"description": doc, "allOf": [schema]} if "$ref" in schema else {"description": doc, **schema}


def _summary(cls: type[Any]) -> str:
    doc = inspect.getdoc(cls) or ""
    return "" if doc.startswith(f"{cls.__name__}(") else " ".join(doc.split("\n\n")[0].split())


# ---- steps ----------------------------------------------------------------------------------------------------------


class _Steps(Shape):
    """Steps of some kind: one, or a list of them."""

    def __init__(self, base: type[Any], many: bool) -> None:
        self.base, self.many = base, many
        self.takes = frozenset(("list",)) if many else frozenset(("map", "scalar"))
        self.expects = "a list of steps" if many else "a step such as `email: welcome`"

    def kinds(self, context: Context) -> Mapping[str, type[Any]]:
        if not self.base.keyword and self.base.__name__ == "Step":
            return context.kinds
        return {k: c for k, c in context.kinds.items() if issubclass(c, self.base)}

    def read(self, node: Node, context: Context) -> Any:
        if not self.many:
            step = read_step(node, context, self.kinds(context))
            return BAD if step is None else step
        if node.kind != "list":
            return self.wrong(node, context, "begin each step with `- `")
        kinds = self.kinds(context)
        steps = [read_step(n, context, kinds) for n in node.items]
        return BAD if any(s is None for s in steps) else tuple(steps)

    def nested(self, node: Node) -> Iterator[Node]:
        yield from node.items if self.many else (node,)

    def schema(self, defs: Json) -> Json:
        plain = self.base.__name__ == "Step"
        one: Json = {"$ref": "#/definitions/step"}
        if not plain:
            one = {"$ref": f"#/definitions/{self.base.__name__}"}
            defs.setdefault(self.base.__name__, {"steps": self.base})
        return {"type": "array", "items": one} if self.many else one


def told_if_nothing(length: words.Duration, node: Node | None, context: Context) -> None:
    """A wait of no time is told: with it, a loop would go round in no time."""
    if node is not None and length == words.Duration():
        hint = "say how long, or leave the step out"
        context.problems.error("wrong-type", f"a wait of {described(node)} is none", node.span, hint)


@dataclass(frozen=True, slots=True)
class Outlined:
    """A step before it is read. `head` is what follows the keyword, None when nothing does."""

    id: str
    keyword: str
    kind: type[Any]
    node: Node
    head: Node | None


def outline(steps: Node | None, context: Context) -> tuple[Outlined, ...]:
    """Every step beneath a `steps:` node, nested ones too, in reading order, with its id; fills `context.ids`.

    Done before reading, so that a condition may name any step. Tells of ids that stand twice; what else is wrong with
    a step is told when it is read.
    """
    found: list[Outlined] = []
    taken: dict[str, Span] = {}
    numbers: dict[str, int] = {}
    written = {n.text for s in _below(steps, context) if (n := s.get("id")) is not None and n.kind == "scalar"}
    for node in _below(steps, context):
        keyword, _ = _keyword(node, context.kinds)
        if keyword is None:
            continue
        kind = context.kinds[keyword]
        head = node.get(keyword)
        head = None if head is None or head.empty else head
        own = node.get("id")
        if own is not None and own.kind == "scalar" and own.text:
            step_id, at = own.text, own.span
            if not re.fullmatch(r"[\w.:-]{1,80}", step_id):
                hint = "letters, digits and `- _ . :`, at most 80"
                context.problems.error("bad-id", f"`{step_id[:80]}` cannot be a step's id", at, hint)
        else:
            named = words.slug(_name(kind, head)) if head is not None else ""
            step_id, at = f"{keyword}:{named}" if named else keyword, _step_span(node, keyword)
            if getattr(kind, "medium", None) is None or getattr(kind, "by_number", False):
                step_id = _numbered(step_id, taken, written, numbers)
        if step_id in taken and (head is not None or own is not None):
            hint = "give one of them an `id:` of its own"
            message = f"the step `{step_id}` stands here a second time; the first is on line {taken[step_id].line}"
            context.problems.error("duplicate-step", message, at, hint)
        taken.setdefault(step_id, at)
        context.ids[id(node)] = step_id
        found.append(Outlined(step_id, keyword, kind, node, head))
    return tuple(found)


def _name(kind: type[Any], head: Node) -> str:
    """What a step is known by beside its keyword: its one value, or what the kind's own `named` makes of a map."""
    own = getattr(kind, "named", None)
    return str(own(head)) if own is not None else head.text if head.kind == "scalar" else ""


def _numbered(step_id: str, taken: Container[str], written: Container[str], numbers: dict[str, int]) -> str:
    """The id, or with the first number behind it that makes it one of its own."""
    found = step_id
    while found in taken or found in written:
        numbers[step_id] = numbers.get(step_id, 1) + 1
        found = f"{step_id}-{numbers[step_id]}"
    return found


def _below(steps: Node | None, context: Context) -> Iterator[Node]:
    for node in steps.items if steps is not None else ():
        yield node
        yield from _within(node, context)


def _within(node: Node, context: Context) -> Iterator[Node]:
    keyword, _ = _keyword(node, context.kinds)
    if keyword is None or node.kind != "map":
        return
    shape = _map_shape(context.kinds[keyword])
    for entry in node.entries:
        if entry.key == keyword:
            plan = shape.head
            below = plan.shape.nested(entry.value) if plan is not None else shape.nested(entry.value)
        else:
            beside = shape.plan.get(entry.key)
            below = beside.shape.nested(entry.value) if beside is not None else iter(())
        for inner in below:
            yield inner
            yield from _within(inner, context)


def _keyword(node: Node, kinds: Mapping[str, type[Any]]) -> tuple[str | None, list[Entry]]:
    """A step's keyword, when it has exactly one; and its keys that are keywords."""
    if node.kind == "scalar":
        return (node.text if node.text in kinds else None), []
    found = [e for e in node.entries if e.key in kinds]
    if len(found) > 1:
        # One kind's option may be called as another kind is: the kind that takes all the others is meant.
        keys = {e.key for e in found}
        fits = [e for e in found if keys - {e.key} <= _map_shape(kinds[e.key]).plan.keys()]
        if len(fits) == 1:
            return fits[0].key, fits
    return (found[0].key if len(found) == 1 else None), found


def _step_span(node: Node, keyword: str) -> Span:
    """From the keyword to the end of its value when that is on the same line, else the keyword."""
    entry = node.entry(keyword)
    if entry is None:
        return node.span
    end = entry.value.span
    if entry.value.kind == "scalar" and not entry.value.empty and end.end_line == entry.key_span.line:
        return replace(entry.key_span, end_line=end.end_line, end_col=end.end_col)
    return entry.key_span


def read_step(node: Node, context: Context, kinds: Mapping[str, type[Any]]) -> Any:
    """A step from a map with exactly one keyword (or from the keyword alone); None when it is wrong, and told.

    Its id is the one `outline` gave it. `kinds` may be a part of `context.kinds`: where only sends may stand.
    """
    if node.kind == "list" or node.empty:
        hint = "a step begins with `- ` and its name, such as `- email: welcome`"
        context.problems.error("wrong-type", f"expected a step, got {described(node)}", node.span, hint)
        return None
    keyword, found = _keyword(node, kinds)
    if keyword is None:
        _no_keyword(node, found, context, kinds)
        return None
    shape = _map_shape(kinds[keyword])
    span = _step_span(node, keyword)
    given: dict[str, Any] = {"id": context.ids.get(id(node), keyword), "span": span}
    entry = node.entry(keyword)
    others = [e for e in node.entries if e.key not in (keyword, "id")]
    own = node.entry("id")
    if own is not None and (own.value.kind != "scalar" or own.value.empty):
        read_entry(own, WORDS[str], context)
        return None
    if shape.head is not None:
        return _headed(node, shape, entry, others, span, context, given)
    return _spread(node, shape, entry, others, span, context, given)


def _headed(
    node: Node,
    shape: _Map,
    entry: Entry | None,
    others: list[Entry],
    span: Span,
    context: Context,
    given: dict[str, Any],
) -> Any:
    """A step whose keyword's value fills one field."""
    assert shape.head is not None
    if twice := next((e for e in others if e.key == shape.head.key), None):
        shape.stranger(twice, context, {e.key for e in others})
        return None
    if entry is not None and not entry.value.empty:
        others = [Entry(shape.head.key, entry.key_span, entry.value), *others]
    elif shape.head.required:
        hint = f"after the colon stands {shape.head.meta.doc or shape.head.shape.expects}"
        context.problems.error("empty-value", f"`{shape.noun}` has no value", span, hint)
        return None
    value = shape.fill(node, others, span, context, given)
    return None if value is BAD else value


def _spread(
    node: Node,
    shape: _Map,
    entry: Entry | None,
    others: list[Entry],
    span: Span,
    context: Context,
    given: dict[str, Any],
) -> Any:
    """A step whose keyword is followed by a map of its fields."""
    inside: tuple[Entry, ...] = ()
    body = node
    if entry is not None and not entry.value.empty:
        if entry.value.kind != "map":
            shape.wrong(entry.value, context)
            return None
        inside, body = entry.value.entries, entry.value
    beside = [e for e in others if e.key in shape.plan and not shape.plan[e.key].meta.beside]
    if beside:
        names = ", ".join(f"`{e.key}`" for e in beside)
        message = f"{names} {'stand' if len(beside) > 1 else 'stands'} beside `{shape.noun}`, not below it"
        hint = f"indent further than `{shape.noun}`"
        context.problems.error("misplaced-key", message, beside[0].key_span, hint)
        return None
    value = shape.fill(body, [*inside, *others], span, context, given)
    return None if value is BAD else value


def _no_keyword(node: Node, found: list[Entry], context: Context, kinds: Mapping[str, type[Any]]) -> None:
    if len(found) > 1:
        names = " and ".join(f"`{e.key}`" for e in found[:3])
        hint = f"begin a new step: `- {found[1].key}: …`"
        context.problems.error("several-steps", f"{names} are two steps in one", found[1].key_span, hint)
        return
    known = sorted(kinds)
    if node.kind == "scalar":
        first = node.text.split()[0] if node.text.split() else ""
        hint = f"write `{first}: …`" if first in kinds else suggest(node.text, known, words.CALLED)
        context.problems.error("unknown-step", f"{described(node)} is not a step", node.span, hint)
        return
    if not node.entries:
        context.problems.error("unknown-step", "an empty step", node.span, "remove it")
        return
    # The key most like a keyword is the one that was meant.
    # `message` is also what a task says: only where it stands first does it name a medium.
    hints = [(suggest(e.key, known, None if n else words.CALLED), e) for n, e in enumerate(node.entries)]
    hint, entry = next(((h, e) for h, e in hints if h.startswith("did")), hints[0])
    if entry.key in context.kinds:
        hint = "here may stand: " + ", ".join(f"`{k}`" for k in known)
        message = f"the step `{entry.key}` cannot stand here"
        context.problems.error("misplaced-step", message, entry.key_span, hint)
        return
    hint = hint or "a step begins with its kind: " + ", ".join(f"`{k}`" for k in known)
    context.problems.error("unknown-step", f"there is no step `{entry.key}`", entry.key_span, hint)


# ---- from a type to its shape ------------------------------------------------------------------------------------


_MAPS: Final[dict[type[Any], _Map]] = {}


def _map_shape(cls: type[Any]) -> _Map:
    shape = _MAPS.get(cls)
    if shape is None:
        shape = _MAPS[cls] = _Map(cls)
        shape.resolve()
    return shape


def _shape(kind: Any, meta: _Meta) -> Shape:
    if kind in WORDS:
        return WORDS[kind]
    if kind in DECLARED:
        return DECLARED[kind]
    if kind is int or kind is float:
        return Number(kind is int, meta.low, meta.high)
    if kind is Days:
        return DaysShape()
    if kind is Node:
        return Opaque()
    if kind is Condition or kind is Expression:
        return Conditional(kind is Expression)
    if kind is Offset:
        return OffsetShape(meta.checked)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return Choice({str(m): m for m in kind})
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _Steps(kind, many=False) if hasattr(kind, "keyword") else _map_shape(kind)
    return _generic(kind, meta)


def _generic(kind: Any, meta: _Meta) -> Shape:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return Choice({str(a): a for a in arguments})
    if origin in (typing.Union, types.UnionType):
        rest = [a for a in arguments if a is not type(None)]
        return _shape(rest[0], meta) if len(rest) == 1 else UnionShape([_shape(a, meta) for a in rest])
    if origin in (tuple, frozenset, set):
        item = arguments[0]
        if dataclasses.is_dataclass(item) and hasattr(item, "keyword"):
            return _Steps(typing.cast("type[Any]", item), many=True)
        return ListShape(_shape(item, meta), tuple if origin is tuple else frozenset)
    if origin is not None and issubclass(origin, Mapping):
        return MappingShape(_shape(arguments[1], meta))
    raise TypeError(f"no reading for the type {kind!r}")


# ---- JSON Schema ----------------------------------------------------------------------------------------------------


def schema(cls: type[Any], kinds: Mapping[str, type[Any]] | None = None) -> Json:
    """A JSON Schema (draft 7) of files of this declaration; `kinds`: the step kinds, where it holds steps."""
    defs: Json = {}
    shape = _map_shape(cls)
    root = shape.object_schema(defs, shape.plan.values())
    return {"$schema": "http://json-schema.org/draft-07/schema#", **root, "definitions": defs_of(defs, kinds or {})}


def defs_of(defs: Json, kinds: Mapping[str, type[Any]]) -> Json:
    """The definitions with those of steps filled in, in order of their names."""
    if kinds:
        for keyword, kind in kinds.items():
            defs[f"step-{keyword}"] = _step_schema(_map_shape(kind), keyword, defs)
        defs["step"] = {"anyOf": [{"$ref": f"#/definitions/step-{k}"} for k in sorted(kinds)]}
    for name, found in list(defs.items()):
        base = found.get("steps")
        if isinstance(base, type):
            some = sorted(k for k, c in kinds.items() if issubclass(c, base))
            defs[name] = {"anyOf": [{"$ref": f"#/definitions/step-{k}"} for k in some]}
    return dict(sorted(defs.items()))


def _step_schema(shape: _Map, keyword: str, defs: Json) -> Json:
    own = _Field("id", "id", WORDS[str], False, _Meta("keeps the step's id over a rename"))
    head = shape.head
    if head is not None:
        options = [p for p in shape.plan.values() if p is not head]
        found = shape.object_schema(defs, [*options, own])
        value = _documented(head.shape.schema(defs), head.meta.doc)
        bare = not head.required
    else:
        beside = [p for p in shape.plan.values() if p.meta.beside]
        found = shape.object_schema(defs, [*beside, own])
        value = shape.object_schema(defs, [p for p in shape.plan.values() if not p.meta.beside])
        bare = not any(p.required for p in shape.plan.values())
    found["properties"] = {keyword: {"anyOf": [value, {"type": "null"}]} if bare else value, **found["properties"]}
    found["required"] = [keyword, *found.get("required", [])]
    return {"anyOf": [found, {"const": keyword}]} if bare else found
