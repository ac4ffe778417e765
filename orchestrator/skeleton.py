"""Texts as fixed pieces and slots: what is the same for everybody, and what a message costs.

A text is parsed once; what is the same for everybody becomes pieces of a `Skeleton`, each run of what is not becomes a
slot, and all slots of all parts become one generated function, so that a message costs its slots, not its page.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jinja2 import nodes
from jinja2.environment import Template
from markupsafe import escape

from channels.base import Skeleton
from orchestrator.jinja import OUTPUT_TOO_LONG, MissingValue, Sandbox, Scope, babel_locale, stored_names, value_names

IN_CHARACTERS = 1_600  # caps up to this count characters, larger ones bytes
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class RenderFailed(Exception):
    """A text could not be made for one recipient. `reason` names the place in the text, never a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message as Jinja. `cap` in characters up to 1,600, above in bytes; `line`: must stay one line."""

    name: str
    source: str
    escape: bool = False
    line: bool = False
    cap: int = 500_000


@dataclass(frozen=True, slots=True)
class _Run:
    """What is evaluated for one slot, or between slots (`set`, which prints nothing)."""

    body: tuple[nodes.Node, ...]
    slot: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """A text for one locale: `locale` is the variant chosen, `written` (babel's) that of its numbers and dates."""

    skeleton: Skeleton
    locale: str
    written: str
    names: frozenset[str]
    parts: tuple[Part, ...]
    _sandbox: Sandbox = field(repr=False)
    _base: Mapping[str, Any] = field(repr=False)
    _root: Callable[[Scope], Iterator[str]] = field(repr=False)  # yields the slots
    _uses: tuple[tuple[str, tuple[str, ...]], ...] = field(repr=False)  # slot → its first part and its names
    _lines: tuple[int, ...] = field(repr=False)  # slots that stand in one-line parts
    _room: tuple[tuple[Part, int, tuple[int, ...]], ...] = field(repr=False)  # characters any part's slots may have

    def for_locale(self, written: str) -> Compiled:
        """The same texts and the same skeleton object, numbers and dates in another locale."""
        return self if written == self.written else replace(self, written=written)

    def again(self, parts: Sequence[Part]) -> Compiled:
        """The same text with these parts in place of its own."""
        return compile_parts(self._sandbox, parts, self.locale)

    def slots(self, context: Mapping[str, Any]) -> tuple[str, ...]:
        """The slots of one message, in the order of `Outbound.values`. Raises MissingValue, RenderFailed."""
        try:
            values = list(self._root(self._scope(context)))
        except Exception as error:
            raise self._explained(error, context) from None
        for index in self._lines:
            if _CONTROL.search(values[index]):
                raise RenderFailed(f"{self._uses[index][0]}: a value with a line break or a control character")
        total = sum(map(len, values))
        for part, room, used in self._room:
            if total > room and sum([len(values[index]) for index in used]) > room:
                self._check_cap(part, values)
        return tuple(values)

    def _scope(self, context: Mapping[str, Any]) -> Scope:
        scope = Scope(self._sandbox, {**self._base, **context}, None, {})
        scope.locale = self.written
        return scope

    def _explained(self, error: Exception, context: Mapping[str, Any]) -> MissingValue | RenderFailed:
        """An error of the slots with its place, found by counting those that come before it."""
        before = 0
        try:
            for _ in self._root(self._scope(context)):
                before += 1
        except Exception as again:
            error = again
        if isinstance(error, MissingValue):
            return MissingValue(self._full(error.name, before))
        # The message of an error may quote a value; its type does not.
        where, names = self._uses[before] if before < len(self._uses) else ("text", ())
        if str(error) == OUTPUT_TOO_LONG:
            return RenderFailed(f"{where}: longer than allowed")
        over = f" over {', '.join(names)}" if names else ""
        return RenderFailed(f"{where}: {type(error).__name__} in an expression{over}")

    def slots_many(self, contexts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...] | Exception]:
        """One result for each context, in order: its slots, or the MissingValue or RenderFailed that stopped it."""
        for context in contexts:
            try:
                yield self.slots(context)
            except (MissingValue, RenderFailed) as error:
                yield error

    def render(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Every part as the recipient gets it."""
        values = self.slots(context)
        return {name: self.skeleton.fill(name, values) for name in self.skeleton.parts}

    def _full(self, name: str, slot: int) -> str:
        names = self._uses[slot][1] if slot < len(self._uses) else ()
        near = [n for n in (*names, *sorted(self.names)) if n == name or n.endswith("." + name)]
        return near[0] if near else names[0] if len(names) == 1 else name

    def _check_cap(self, part: Part, values: Sequence[str]) -> None:
        text = self.skeleton.fill(part.name, values)
        if len(text if part.cap <= IN_CHARACTERS else text.encode("utf-8", "replace")) > part.cap:
            raise RenderFailed(f"{part.name}: longer than {part.cap:,}")


class _Builder:
    """Splits parts into pieces and runs; runs that print the same share a slot."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.keys: dict[Any, int] = {}
        self.uses: list[tuple[str, tuple[str, ...]]] = []
        self.body: list[nodes.Node] = []
        self.pieces: dict[str, tuple[str, ...]] = {}
        self.slots: dict[str, tuple[int, ...]] = {}
        self.names: set[str] = set()

    def add(self, part: Part) -> None:
        tree = self.sandbox.parse(part.source)
        self.names |= value_names(tree)
        if any(used.name == "date" for used in tree.find_all(nodes.Filter)):
            self.names.add("customer.timezone")  # the day of an instant is that of the reader's zone
        assigned = _assigned(tree)
        pieces: list[str] = [""]
        slots: list[int] = []
        body: list[nodes.Node] = []
        for item in self._items(tree, part.escape):
            if isinstance(item, str):
                pieces[-1] += item
                continue
            if not item.slot:
                body.extend(item.body)
                continue
            index, fresh = self._slot(item, part, assigned)
            if fresh and len(item.body) == 1 and isinstance(item.body[0], nodes.Output):
                body.extend(item.body)  # a single expression yields itself
            elif fresh:
                edge = nodes.ExprStmt(nodes.Const(None, lineno=1), lineno=1)
                body.extend((edge, *item.body, edge))
            slots.append(index)
            pieces.append("")
        self.pieces[part.name], self.slots[part.name] = tuple(pieces), tuple(slots)
        if assigned:
            body = [nodes.Scope(body, lineno=1)]
        if part.escape and body:
            on = nodes.Keyword("autoescape", nodes.Const(True, lineno=1), lineno=1)
            body = [nodes.ScopedEvalContextModifier([on], body, lineno=1)]
        self.body.extend(body)

    def _items(self, tree: nodes.Template, escaped: bool) -> Iterator[str | _Run]:
        """Fixed texts and runs in the order in which they print."""
        context = nodes.EvalContext(self.sandbox)
        context.autoescape = escaped
        run: list[nodes.Node] = []
        for node in self._flat(tree):
            fixed = self._constant(node, context)
            if fixed == "":
                continue
            if fixed is None and not run and isinstance(node, nodes.Assign | nodes.AssignBlock):
                yield _Run((node,), False)
            elif fixed is None:
                run.append(node)
            else:
                if run:
                    yield _Run(tuple(run), True)
                    run = []
                yield fixed
        if run:
            yield _Run(tuple(run), True)

    def _flat(self, tree: nodes.Template) -> Iterator[nodes.Node]:
        for node in tree.body:
            if isinstance(node, nodes.Output):
                yield from (nodes.Output([child], lineno=child.lineno) for child in node.nodes)
            else:
                yield node

    def _constant(self, node: nodes.Node, context: nodes.EvalContext) -> str | None:
        """What an output prints for everybody; None when it depends on the recipient. As Jinja's compiler does it."""
        if not isinstance(node, nodes.Output):
            return None
        child = node.nodes[0]
        try:
            value = child.as_const(context)
            if not isinstance(child, nodes.TemplateData):
                value = self.sandbox.printed(value)
            return str(escape(value) if context.autoescape else value)
        except Exception:
            return None  # fails for everybody, or is not constant: told when it is evaluated

    def _slot(self, run: _Run, part: Part, assigned: frozenset[str]) -> tuple[int, bool]:
        tree = nodes.Template(list(run.body), lineno=1)
        own = assigned & {n.name for n in tree.find_all(nodes.Name)}
        key = (part.escape, repr(run.body), (part.name, len(self.keys)) if own else None)
        found = self.keys.get(key)
        if found is not None:
            return found, False
        self.keys[key] = len(self.uses)
        names = (name for name in value_names(tree) if name.partition(".")[0] not in assigned)
        self.uses.append((part.name, tuple(sorted(names))))
        return len(self.uses) - 1, True


def _assigned(tree: nodes.Node) -> frozenset[str]:
    """Names given a value by `set`: they last to the end of the part."""
    found: set[str] = set()
    for target in [n.target for n in tree.find_all(nodes.Assign)] + [
        n.target for n in tree.find_all(nodes.AssignBlock)
    ]:
        found |= {target.name} if isinstance(target, nodes.Name) else stored_names(target)
    return frozenset(found)


def compile_parts(sandbox: Sandbox, parts: Sequence[Part], locale: str) -> Compiled:
    """Parts of one text for one locale. Raises jinja2.TemplateSyntaxError for what `check` did not see."""
    builder = _Builder(sandbox)
    for part in parts:
        builder.add(part)
    tree = nodes.Template(builder.body, lineno=1)
    tree.set_environment(sandbox)
    template = Template.from_code(sandbox, sandbox.compile(tree), {})
    lines = {index for part in parts if part.line for index in builder.slots[part.name]}
    canonical = json.dumps([builder.pieces, builder.slots], sort_keys=True, ensure_ascii=False)
    return Compiled(
        skeleton=Skeleton(hashlib.sha256(canonical.encode()).hexdigest(), builder.pieces, builder.slots),
        locale=locale,
        written=babel_locale(locale) or sandbox.locale,
        names=frozenset(builder.names),
        parts=tuple(parts),
        _sandbox=sandbox,
        _base={**sandbox.globals, **sandbox.constants},
        _root=template.root_render_func,
        _uses=tuple(builder.uses),
        _lines=tuple(sorted(lines)),
        _room=tuple(_room(part, builder) for part in parts if builder.slots[part.name]),
    )


def _room(part: Part, builder: _Builder) -> tuple[Part, int, tuple[int, ...]]:
    """So many characters in a part's slots cannot break its cap, however they are encoded."""
    pieces, widest = builder.pieces[part.name], 1 if part.cap <= IN_CHARACTERS else 4
    fixed = sum(len(piece) if widest == 1 else len(piece.encode()) for piece in pieces)
    return part, max(0, part.cap - fixed) // widest, builder.slots[part.name]
