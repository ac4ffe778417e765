"""Proofreads a text: its syntax, and every name, filter and tag against what the workspace declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal

from jinja2 import Environment, TemplateSyntaxError, nodes

from orchestrator.jinja import DICT_METHODS, SURVEY, TEXT_METHODS, Sandbox, dotted, survey_named, used_names
from orchestrator.model import LOYALTY_FIELDS, SCORES, Kind, Vocabulary
from orchestrator.problems import Problems, Span, suggest

Locate = Callable[[int, int], Span]
"""Tells where a stretch of a text, given by its offset and length, stands in its file."""

Place = Callable[[int, str], Span]
TagKind = Literal["print", "control"]

LEXING = Environment(keep_trailing_newline=True)  # reads, never renders
DEEPEST, LOOPS_WITHIN = 60, 15
"""Levels of one text's tree, and of its loops: Python compiles 20 loops inside each other, and 90 blocks or so."""
LINKS = frozenset({"unsubscribe", "preferences", "view", "confirm", "survey", "click", "referral", "data", "rewards"})
_TAGS = ("if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "include", "raw")
_REFUSED = (
    nodes.Macro,
    nodes.CallBlock,
    nodes.Block,
    nodes.Extends,
    nodes.Import,
    nodes.FromImport,
    nodes.ScopedEvalContextModifier,
    nodes.NSRef,
)


def tags(text: str) -> Iterator[tuple[TagKind | None, int, int, str]]:
    """(kind, start, end, "" or "comment") of every stretch; kind None is plain text. Raises TemplateSyntaxError."""
    at = start = 0
    kind: TagKind | None = None
    for _, token, value in LEXING.lexer.tokeniter(text, None):
        begins = text.index(value, at)
        at = begins + len(value)
        if token == "data" and kind is None:
            yield None, begins, at, ""
        elif token in ("variable_begin", "block_begin", "comment_begin", "raw_begin"):
            start, kind = begins, "control" if token in ("block_begin", "comment_begin") else "print"
        elif token in ("variable_end", "block_end", "comment_end", "raw_end"):
            yield kind, start, at, "comment" if token == "comment_end" else ""
            kind = None


def loyalty_roots() -> dict[str, set[str]]:
    """What texts may name of the programme's facts: by root, its members (`model.LOYALTY_FIELDS`)."""
    found: dict[str, set[str]] = {}
    for name, declared in LOYALTY_FIELDS.items():
        root, dot, member = name.partition(".")
        if dot:
            found.setdefault(root, set()).add(member)
            if declared.kind is Kind.MONEY or name in SCORES:
                found[root].add(f"{member}_currency")
    return found


class Names:
    """What a text may name, by root: its members, None for a value without members, ... where anything goes."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        def members(*groups: Mapping[str, Any]) -> set[str]:
            money = {f"{f.name}_currency" for group in groups for f in group.values() if f.kind == Kind.MONEY}
            return {name for group in groups for name in group} | money

        self.surveys = frozenset(vocabulary.surveys)
        self.roots: dict[str, Any] = {record.name: members(record.fields) for record in vocabulary.records.values()}
        self.roots |= {
            "customer": members(vocabulary.customer),
            "account": members(vocabulary.account),
            "event": members(*(event.fields for event in vocabulary.events.values())),
            "journey": {"name"},
            "workspace": {"name", "sender", "currency", "timezone", "locale"},
            "workspace.sender": {"name", "postal_address", *vocabulary.sender},
            "links": set(LINKS),
            "tier": None,
            "benefits": ...,
            "voucher": {"code", "expires", "pool"},
            **loyalty_roots(),
            "today": None,
            "range": None,
        }

    def wrong(self, path: str, called: bool) -> tuple[str, str, str] | None:
        """(the wrong word, what is wrong, hint) or None."""
        words = path.split(".")
        if called and len(words) > 1 and words[0] != "links":
            method = words.pop()
            if method not in TEXT_METHODS | DICT_METHODS:
                return (
                    method,
                    f"`{method}` is nothing that can be called",
                    suggest(method, TEXT_METHODS) or "use a filter",
                )
        if words[0] not in self.roots:
            return words[0], f"`{words[0]}` is not known in texts", suggest(words[0], self.roots)
        known = words[0]
        for word in words[1:]:
            inside = self.roots.get(known)
            if inside is ...:
                return None
            if inside is None:
                return word, f"`{known}` is a value and has no `{word}`", f"write `{known}`"
            if word not in inside:
                return word, f"`{known}` has no `{word}`", suggest(word, inside)
            known = f"{known}.{word}"
        return None


@cache
def _bare() -> Sandbox:
    """For the names of its filters and tests alone."""
    return Sandbox({})


class Proof:
    """Tells what is wrong with one source of Jinja, without its includes."""

    def __init__(self, names: Names, problems: Problems) -> None:
        self.names = names
        self.problems = problems
        self.sandbox = _bare()

    def text(self, text: str, locate: Locate, local: frozenset[str] = frozenset()) -> nodes.Template | None:
        """The parsed source, None when it is no Jinja at all."""
        lines = [0, *(m.end() for m in re.finditer("\n", text))]

        def place(line: int, pattern: str) -> Span:
            start = lines[min(line, len(lines)) - 1]
            end = text.find("\n", start)
            found = re.compile(pattern).search(text, start) if pattern else None
            if found:
                return locate(found.start(), len(found[0]))
            row = text[start : end if end >= 0 else len(text)]
            return locate(start + len(row) - len(row.lstrip()), max(1, len(row.strip())))

        try:
            tree = LEXING.parse(text)
        except TemplateSyntaxError as error:
            self._syntax(error, text, place)
            return None
        except RecursionError:
            tree = None
        if tree is None or _depth(tree) > DEEPEST:
            hint = "make it simpler: a shorter expression, fewer tags inside each other, or a snippet"
            self.tell("text-syntax", "this text is nested too deeply", place(1, ""), hint)
            return None
        for path, line, called in used_names(tree):
            wrong = None if path.partition(".")[0] in local else self.names.wrong(path, called)
            if wrong:
                word, message, hint = wrong
                before = r"\s*\.\s*".join(map(re.escape, path.split(".")))
                span = place(line, rf"(?<![\w.]){before}(?!\w)")
                inset = path.index(word) if path.startswith(word) else path.index("." + word) + 1
                if span.line == span.end_line and span.end_col - span.col == len(path):
                    span = Span(span.file, span.line, span.col + inset, span.line, span.col + inset + len(word))
                self.tell("unknown-name", message, span, hint)
        self._nodes(tree, place)
        return tree

    def tell(self, code: str, message: str, span: Span, hint: str = "") -> None:
        self.problems.error(code, message, span, hint)

    def _syntax(self, error: TemplateSyntaxError, text: str, place: Place) -> None:
        message = (error.message or "not valid").rstrip(".")
        opened = re.search(r"innermost block that needs to be closed is '(\w+)'", message)
        if opened:
            tag = opened[1]
            last = [text.count("\n", 0, m.start()) + 1 for m in re.finditer(rf"\{{%[-+]?\s*{tag}\b", text)]
            span = place(last[-1] if last else error.lineno, rf"\{{%[-+]?\s*{tag}\b")
            self.tell("text-syntax", f"`{{% {tag} %}}` is never closed", span, f"add `{{% end{tag} %}}`")
            return
        unknown = re.search(r"unknown tag '(\w+)'", message)
        if unknown:
            span = place(error.lineno, rf"(?<=[%\s]){unknown[1]}\b")
            self.tell("text-syntax", f"there is no tag `{unknown[1]}`", span, suggest(unknown[1], _TAGS))
            return
        quoted = re.search(r"(?:got|unexpected|named) '(.+?)'", message)
        pattern = re.escape(quoted[1]) if quoted and quoted[1] not in ("name", "integer", "string") else ""
        self.tell(
            "text-syntax",
            message[0].lower() + message[1:],
            place(error.lineno, pattern),
            "a value is written `{{ name }}`, a condition `{% if name %}`",
        )

    def _nodes(self, tree: nodes.Template, place: Place) -> None:
        for used in tree.find_all(nodes.Filter):
            self._known("filter", used.name, used.lineno, self.sandbox.filters, r"\|\s*", place)
        for test in tree.find_all(nodes.Test):
            self._known("test", test.name, test.lineno, self.sandbox.tests, r"\bis\s+(?:not\s+)?", place)
        for output in tree.find_all(nodes.Output):
            for printed in output.nodes:
                inside = self.names.roots.get(printed.name) if isinstance(printed, nodes.Name) else None
                if inside and inside is not ... and isinstance(printed, nodes.Name):
                    hint = f"write one of its values, such as `{printed.name}.{min(inside)}`"
                    span = place(printed.lineno, rf"(?<![\w.]){printed.name}\b")
                    self.tell("whole-record", f"`{printed.name}` is not a single value", span, hint)
        self._surveys(tree, place)
        for refused in tree.find_all(_REFUSED):
            hint = "use {% if %}, {% for %}, {% set %} and {% include %}"
            self.tell("text-syntax", "this tag is not used in texts", place(refused.lineno, r"\{%.*?%\}"), hint)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                self.tell("text-syntax", "a loop here cannot be recursive", place(loop.lineno, "recursive"))
        for include in tree.find_all(nodes.Include):
            if not isinstance(include.template, nodes.Const) or include.ignore_missing or not include.with_context:
                hint = 'write {% include "snippets/NAME" %}'
                span = place(include.lineno, r"\{%[-+]?\s*include.*?%\}")
                self.tell("include", "an include names one snippet, and nothing else", span, hint)

    def _surveys(self, tree: nodes.Template, place: Place) -> None:
        """`links.survey("nps")` names one survey, written out: what it leads to is the same for everybody."""
        named = set()
        for call in tree.find_all(nodes.Call):
            if dotted(call.node) != SURVEY:
                continue
            named.add(id(call.node))
            name = survey_named(call)
            if name is None:
                hint = 'write {{ links.survey("NAME") }}'
                span = place(call.lineno, r"links\s*\.\s*survey\s*\(.*?\)")
                self.tell("text-syntax", "a survey's link names one survey, in quotes, and nothing else", span, hint)
            elif self.names.surveys and name not in self.names.surveys:
                span = place(call.lineno, rf"(?<=[\"']){re.escape(name)}(?=[\"'])")
                hint = suggest(name, self.names.surveys)
                self.tell("unknown-survey", f"there is no survey `{name}`", span, hint)
        for bare in tree.find_all((nodes.Getattr, nodes.Getitem)) if self.names.surveys else ():
            if dotted(bare) == SURVEY and id(bare) not in named:
                hint = 'write {{ links.survey("NAME") }}'
                span = place(bare.lineno, r"links\s*\.\s*survey")
                self.tell("text-syntax", "a survey's link names the survey it leads to", span, hint)

    def _known(self, kind: str, name: str, line: int, known: Mapping[str, Any], before: str, place: Place) -> None:
        if name in known and not name.startswith("_"):
            return
        hint = suggest(name, (k for k in known if not k.startswith("_")))
        if name == "safe":
            hint = "a value is always escaped; put markup into the template"
        span = place(line, rf"{before}{re.escape(name)}\b")
        self.tell(f"unknown-{kind}", f"there is no {kind} `{name}`", _last(span, name), hint)


def _depth(tree: nodes.Node) -> int:
    """How deep a tree is, level by level, as it may be deeper than Python's stack; too many loops are too deep, too."""
    level: list[tuple[nodes.Node, int]] = [(tree, 0)]
    deepest = 0
    while level and deepest <= DEEPEST:
        deepest += 1
        below = [(child, loops + isinstance(child, nodes.For)) for n, loops in level for child in n.iter_child_nodes()]
        if any(loops > LOOPS_WITHIN for _, loops in below):
            return DEEPEST + 1
        level = below
    return deepest


def _last(span: Span, word: str) -> Span:
    if span.line != span.end_line:
        return span
    return Span(span.file, span.line, max(span.col, span.end_col - len(word)), span.line, span.end_col)
