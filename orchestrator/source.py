"""Source texts: strict YAML 1.2 with the place of every key and value, and words of our own for what is wrong in it.

Nodes are built from libyaml's events, not from its composer: no recursion, so that nesting cannot exhaust the stack,
and aliases are expanded under a cap.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import yaml

from orchestrator.problems import Problems, Span

Scalar = str | int | float | bool | None
Style = Literal["plain", "single", "double", "literal", "folded", ""]

MAX_CHARACTERS: Final = 1_000_000
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 50

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_BREAK = re.compile("\r\n|\n|\r|\x85")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Scalar]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_STYLES: Final[dict[str | None, Style]] = {
    None: "plain", "": "plain", "'": "single", '"': "double", "|": "literal", ">": "folded",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text, shared by its nodes."""

    file: str
    text: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map, with its value. `key` is the text as written, also of keys that look like numbers."""

    key: str
    key_span: Span
    value: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a file. `value` is a scalar's, typed by YAML 1.2's core schema: only true and false are bools, `no`,
    `on`, `21:00` and dates are text. `text` is the scalar as written, unquoted. A list has `items`, a map `entries` in
    order. `span` runs to the end of the last child; `key_span` is the key's that it stands under, None in a list.
    """

    kind: Literal["scalar", "list", "map"]
    span: Span
    value: Scalar = None
    text: str = ""
    style: Style = ""
    items: tuple[Node, ...] = ()
    entries: tuple[Entry, ...] = ()
    source: Source = field(repr=False, compare=False, default=Source("", "", ()))
    key_span: Span | None = field(repr=False, compare=False, default=None)

    def entry(self, key: str) -> Entry | None:
        """The map's entry of that key, or None."""
        return next((e for e in self.entries if e.key == key), None)

    def get(self, key: str) -> Node | None:
        """The value under a key of a map, or None."""
        return next((e.value for e in self.entries if e.key == key), None)

    @property
    def empty(self) -> bool:
        """Nothing written, or null."""
        return self.kind == "scalar" and self.value is None

    def at(self, offset: int, length: int = 1) -> Span:
        """The place of a stretch of a scalar's `text`; the whole value's span where it cannot be told (escapes)."""
        span = self.span
        if self.kind != "scalar":
            return span
        if span.line == span.end_line:
            inset = 0 if self.style == "plain" else 1
            if span.end_col - span.col - 2 * inset != len(self.text):
                return span
            col = span.col + inset + max(0, min(offset, len(self.text)))
            return Span(span.file, span.line, col, span.line, col + max(1, length))
        places = self._places()
        if places is None or not 0 <= offset < len(places):
            return span
        line, col = places[offset]
        last_line, last_col = places[min(offset + max(1, length), len(places)) - 1]
        return Span(span.file, line, col, last_line, last_col + 1)

    def _places(self) -> list[tuple[int, int]] | None:
        """Line and column of each character of a scalar that runs over several lines, by walking text and source."""
        lines = self.source.lines
        line, col = self.span.line, self.span.col
        if self.style in ("literal", "folded"):
            line, col = line + 1, 1
        elif self.style != "plain":
            col += 1
        places: list[tuple[int, int]] = []
        for character in self.text:
            if character.isspace():
                places.append((line, col))
                continue
            while line <= len(lines) and (col > len(lines[line - 1]) or lines[line - 1][col - 1].isspace()):
                line, col = (line + 1, 1) if col > len(lines[line - 1]) else (line, col + 1)
            if line > len(lines) or lines[line - 1][col - 1] != character:
                return None
            places.append((line, col))
            col += 1
        return places

    def plain(self) -> Any:
        """The value as plain Python: dicts, lists, scalars."""
        if self.kind == "map":
            return {e.key: e.value.plain() for e in self.entries}
        if self.kind == "list":
            return [n.plain() for n in self.items]
        return self.value

    def walk(self) -> Iterator[Node]:
        """This node and all beneath it, in reading order."""
        yield self
        for child in self.items:
            yield from child.walk()
        for entry in self.entries:
            yield from entry.value.walk()


def canonical(node: Node) -> str:
    """The same text for the same content: comments, spacing, quoting and flow style do not count; order does."""
    return json.dumps(node.plain(), ensure_ascii=False, separators=(",", ":"))


def digest(*texts: str) -> str:
    """SHA-256 in hex over texts, each with its length, so that no two lists of texts share a digest."""
    sha = hashlib.sha256()
    for text in texts:
        raw = text.encode()
        sha.update(f"{len(raw)}:".encode())
        sha.update(raw)
    return sha.hexdigest()


def decode(raw: bytes, file: str, problems: Problems) -> str | None:
    """A file's bytes as text; a problem when they are not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "replace")
        line, col = _end(before)
        problems.error(
            "not-utf-8",
            f"the file is not UTF-8 text: byte 0x{raw[error.start]:02x}",
            Span(file, line, col, line, col + 1),
            "save the file as UTF-8 in your editor",
        )
        return None


def _end(text: str) -> tuple[int, int]:
    """Line and column behind a text."""
    lines = _BREAK.split(text)
    return len(lines), len(lines[-1]) + 1


def parse(text: str, file: str, problems: Problems) -> Node | None:
    """The file's one document, or None with a problem. An empty file is an empty map. Linear in the text's length."""
    text = text.removeprefix("\ufeff")
    source = Source(file, text, tuple(_BREAK.split(text)))
    if len(text) > MAX_CHARACTERS:
        hint = f"a file holds at most {MAX_CHARACTERS:,} characters: split it"
        problems.error("file-too-large", f"the file has {len(text):,} characters", Span.whole(file), hint)
        return None
    if bad := _CONTROL.search(text):
        line, col = _end(text[: bad.start()])
        name = f"U+{ord(bad.group()):04X}"
        span = Span(file, line, col, line, col + 1)
        problems.error("control-character", f"an invisible control character ({name})", span, "delete it")
        return None
    builder = _Builder(source, problems)
    try:
        return builder.build()
    except _Refused:
        return None
    except yaml.YAMLError as error:
        message, span, hint = _explain(error, source)
        problems.error("syntax", message, span, hint)
        return None


class _Refused(Exception):
    """The document was refused; its problem is already told."""


@dataclass(slots=True)
class _Open:
    """A list or map whose end has not come yet."""

    start: Any
    flow: bool
    is_map: bool
    anchor: str | None
    items: list[Node] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    keys: dict[str, Span] = field(default_factory=dict)
    key: Node | None = None


class _Builder:
    def __init__(self, source: Source, problems: Problems) -> None:
        self.source, self.problems = source, problems
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.count = 0
        self.root: Node | None = None

    def build(self) -> Node | None:
        documents = 0
        loader = yaml.CSafeLoader(self.source.text)
        try:
            while loader.check_event():
                event = loader.get_event()
                if isinstance(event, yaml.ScalarEvent):
                    self._scalar(event)
                elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                    self._open(event)
                elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                    self._close(event)
                elif isinstance(event, yaml.AliasEvent):
                    self._alias(event)
                elif isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        hint = "a file holds one document: remove the `---`, or make two files"
                        self._refuse("several-documents", "a second document begins here", self._span(event), hint)
        finally:
            loader.dispose()
        if self.root is None or self.root.empty:
            return Node("map", Span.whole(self.source.file), source=self.source)
        return self.root

    def _span(self, event: Any, end: Any = None) -> Span:
        a, b = event.start_mark, (end or event).end_mark
        if a.index == b.index:  # nothing written: point at where it would stand
            return Span(self.source.file, a.line + 1, a.column + 1, a.line + 1, a.column + 2)
        return Span(self.source.file, a.line + 1, a.column + 1, b.line + 1, b.column + 1)

    def _refuse(self, code: str, message: str, span: Span, hint: str) -> None:
        self.problems.error(code, message, span, hint)
        raise _Refused

    def _tick(self, nodes: int, span: Span) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            hint = "split the file; look for an alias (`*name`) that repeats a large part over and over"
            self._refuse("too-many-values", f"the file has more than {MAX_NODES:,} values", span, hint)

    def _tag(self, event: Any) -> None:
        if event.tag is not None:
            hint = "remove it; to keep a number or a date as text, put it in quotes"
            span = self._span(event)
            line = self.source.lines[span.line - 1]
            end = span.col + len(re.split(r"[\s,\]}]", line[span.col - 1 :], maxsplit=1)[0])
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse("tag", f"the YAML tag `{shown}` is not allowed", Span(span.file, *_one(span, end)), hint)

    def _scalar(self, event: Any) -> None:
        self._tag(event)
        span, text = self._span(event), event.value
        style = _STYLES[event.style]
        if style == "literal" or style == "folded":
            span = self._trimmed(span)
        value: Scalar = text
        if style == "plain":
            value = self._typed(text, span)
        node = Node("scalar", span, value, text, style, source=self.source, key_span=self._under())
        self._add(node, event.anchor, 1)

    def _under(self) -> Span | None:
        """Where the key stands whose value comes next."""
        key = self.stack[-1].key if self.stack else None
        return key.span if key is not None else None

    def _trimmed(self, span: Span) -> Span:
        """libyaml ends a block scalar at the next token: step back to its last written line."""
        line = min(span.end_line, len(self.source.lines)) if span.end_col > 1 else span.end_line - 1
        while line > span.line and not self.source.lines[line - 1].strip():
            line -= 1
        return Span(span.file, span.line, span.col, line, len(self.source.lines[line - 1]) + 1)

    def _typed(self, text: str, span: Span) -> Scalar:
        if text in _WORDS:
            return _WORDS[text]
        first = text[0]
        if first in "-+.0123456789":
            if _INT.fullmatch(text) or _FLOAT.fullmatch(text):
                if len(text) > 18:
                    hint = "put it in quotes when it is a key or a code"
                    self.problems.error("number-too-long", "a number of more than 18 digits", span, hint)
                    return 0
                return int(text) if _INT.fullmatch(text) else float(text)
            if re.fullmatch(r"0o[0-7]{1,18}", text):
                return int(text[2:], 8)
            if re.fullmatch(r"0x[0-9a-fA-F]{1,15}", text):
                return int(text[2:], 16)
            if re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
                return float(text.replace(".", "").lower())
        return text

    def _open(self, event: Any) -> None:
        self._tag(event)
        if len(self.stack) >= MAX_DEPTH:
            hint = f"at most {MAX_DEPTH} levels: move inner steps into a journey of their own and `enter` it"
            span = self._span(event)
            span = Span(span.file, span.line, span.col, span.line, span.col + 1)
            self._refuse("too-deep", "lists and maps are nested too deeply", span, hint)
        is_map = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Open(event, bool(event.flow_style), is_map, event.anchor))

    def _close(self, event: Any) -> None:
        top = self.stack.pop()
        span = self._span(top.start, event)
        if not top.flow:
            last = top.entries[-1].value.span if top.entries else top.items[-1].span if top.items else None
            if last is not None:
                end = (span.line, span.col + 1) if last < span else (last.end_line, last.end_col)
                span = Span(span.file, span.line, span.col, *end)
        kind: Literal["map", "list"] = "map" if top.is_map else "list"
        node = Node(
            kind, span, items=tuple(top.items), entries=tuple(top.entries), source=self.source, key_span=self._under()
        )
        self._add(node, top.anchor, 1)

    def _alias(self, event: Any) -> None:
        span = self._span(event)
        if any(o.anchor == event.anchor for o in self.stack):
            self._refuse("alias", f"`*{event.anchor}` stands inside the value it names", span, "write the value out")
        if event.anchor not in self.anchors:
            hint = f"name the value first with `&{event.anchor}`, or put the text in quotes"
            self._refuse("alias", f"`*{event.anchor}` names a value that is not there", span, hint)
        node, size = self.anchors[event.anchor]
        self._tick(size - 1, span)
        self._add(replace(_copy(node), key_span=self._under()), None, 1)

    def _add(self, node: Node, anchor: str | None, count: int) -> None:
        self._tick(count, node.span)
        if anchor is not None:
            self.anchors[anchor] = (node, sum(1 for _ in node.walk()))
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if not top.is_map:
            top.items.append(node)
        elif top.key is None:
            self._check_key(node)
            top.key = node
        else:
            key, top.key = top.key, None
            if key.text in top.keys:
                first = top.keys[key.text]
                self.problems.error(
                    "duplicate-key",
                    f"the key `{key.text}` stands here a second time; the first is on line {first.line}",
                    key.span,
                    "a list of several begins each with `- `; otherwise remove one of the two",
                )
                return
            top.keys[key.text] = key.span
            top.entries.append(Entry(key.text, key.span, node))

    def _check_key(self, key: Node) -> None:
        line = self.source.lines[key.span.line - 1]
        if key.kind != "scalar":
            if key.kind == "map" and "{{" in line:
                raise _braces(self, key.span, line)
            self._refuse("bad-key", "a list or a map cannot be a key", key.span, "a key is a word, then `: `")
        if key.text == "<<" and key.style == "plain":
            self._refuse("merge-key", "the merge key `<<` is not part of YAML 1.2", key.span, "write the keys out")
        if key.text == "":
            self._refuse("bad-key", "there is no key before the colon", key.span, "a key is a word, then `: `")


def _one(span: Span, end: int) -> tuple[int, int, int, int]:
    return span.line, span.col, span.line, end


def _braces(builder: _Builder, span: Span, line: str) -> _Refused:
    col = line.index("{{") + 1
    close = line.find("}}", col)
    end = close + 3 if close >= 0 else len(line) + 1
    place = Span(span.file, span.line, col, span.line, end)
    builder.problems.error("unquoted-braces", _BRACES, place, 'like this: "… {{ name }} …"')
    return _Refused()


_BRACES = "a text that begins with `{{` must stand in quotes"


def _copy(node: Node) -> Node:
    """A fresh tree: each place an alias stands at is a value of its own."""
    return Node(
        node.kind,
        node.span,
        node.value,
        node.text,
        node.style,
        tuple(_copy(n) for n in node.items),
        tuple(Entry(e.key, e.key_span, _copy(e.value)) for e in node.entries),
        node.source,
        node.key_span,
    )


# ---- syntax errors in our own words ---------------------------------------------------------------------------------

_QUOTE_HINT = "close the quote, or put the whole text in the other kind of quotes"
_ALIGN = "let keys that belong together begin below each other"
_KEY_LIKE = re.compile(r"\s*(?:- +)*([\w.-]+)\s*:(?=\S)(?!//)")


def _explain(error: yaml.YAMLError, source: Source) -> tuple[str, Span, str]:
    """Message, place and hint for what libyaml could not read."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable")
    context = str(getattr(error, "context", None) or "")
    origin = getattr(error, "context_mark", None)
    if mark is None:
        return f"this is not valid YAML: {problem}", Span.whole(source.file), ""
    spot = _spot(source, mark.line, mark.column)
    begun = _spot(source, origin.line, origin.column) if origin is not None else spot
    line = _line(source, mark.line)
    found = _by_character(source, mark, line, spot)
    if found:
        return found
    if "quoted scalar" in context and "escape" not in problem:
        return "this quote is never closed", begun, _QUOTE_HINT
    if "unknown escape" in problem or "escape" in problem:
        return "a backslash means something in double quotes", spot, "use single quotes, or write `\\\\`"
    if "{{" in line and re.search(r"(:|-)\s+\{\{", line):
        col = line.index("{{")
        end = line.find("}}", col)
        return _BRACES, _spot(source, mark.line, col, end + 2 - col if end > 0 else 2), 'like this: "… {{ name }} …"'
    if "flow" in context:
        same_line = origin is not None and origin.line == mark.line and mark.column < len(line)
        return _in_flow(context, begun, spot, same_line)
    if "mapping values are not allowed" in problem:
        return _second_colon(source, mark, line, spot)
    if "could not find expected ':'" in problem:
        return _missing_colon(source, (origin or mark).line)
    return _by_structure(source, problem, mark, line, spot)


def _line(source: Source, index: int) -> str:
    return source.lines[index] if index < len(source.lines) else ""


def _spot(source: Source, line: int, col: int, length: int = 1) -> Span:
    """A place, from libyaml's counting from 0; at the end of the file, the end of the last line that says something."""
    while line > 0 and (line >= len(source.lines) or not source.lines[line].strip()):
        line -= 1
        col = len(source.lines[line]) if line < len(source.lines) else 0
    return Span(source.file, line + 1, col + 1, line + 1, col + 1 + length)


def _by_character(source: Source, mark: Any, line: str, spot: Span) -> tuple[str, Span, str] | None:
    tab = re.match(r" *\t", line)
    if tab:
        place = _spot(source, mark.line, tab.end() - 1)
        return "this line is indented with a tab", place, "indent with spaces: two for each level"
    character = line[mark.column] if mark.column < len(line) else ""
    if character == "\t":
        return "a tab stands where a space is expected", spot, "use spaces"
    if character in "]}" and character and (mark.column == 0 or line[mark.column - 1] in " ]}"):
        return f"the bracket `{character}` was never opened", spot, "remove it, or put the whole text in quotes"
    if character == ":" and re.match(r":\s*[,\]}]", line[mark.column :]):
        return "there is no value after the colon", spot, "write one, or leave the key out"
    if character in "@`%" and character:
        return f"a text cannot begin with `{character}`", spot, "put it in quotes"
    return None


def _in_flow(context: str, begun: Span, spot: Span, same_line: bool) -> tuple[str, Span, str]:
    opening, closing = ("[", "]") if "sequence" in context else ("{", "}")
    if not same_line:
        return f"the bracket `{opening}` is never closed", begun, f"add `{closing}`"
    hint = f"a comma between the parts, a space after each colon, `{closing}` at the end; texts with brackets in quotes"
    return f"inside `{opening} {closing}` a comma or `{closing}` is missing here", spot, hint


def _second_colon(source: Source, mark: Any, line: str, spot: Span) -> tuple[str, Span, str]:
    before = line[: mark.column]
    if re.search(r":\s", before):
        return "a second `: ` in one line", spot, "put the text after the first colon in quotes"
    indent = len(line) - len(line.lstrip())
    above = mark.line - 1
    while above >= 0 and (not source.lines[above].strip() or source.lines[above].lstrip().startswith("#")):
        above -= 1
    if above >= 0:
        previous = source.lines[above]
        previous_indent = len(previous) - len(previous.lstrip())
        if indent <= previous_indent and not re.search(r":(\s|$)", previous):
            return _missing_colon(source, above)
    place = _spot(source, mark.line, indent, max(1, mark.column - indent))
    return (
        "this line is indented further than the one above it",
        place,
        _ALIGN,
    )


def _missing_colon(source: Source, index: int) -> tuple[str, Span, str]:
    line = _line(source, index)
    indent = len(line) - len(line.lstrip())
    tight = _KEY_LIKE.match(line)
    if tight:
        place = _spot(source, index, tight.end() - 1)
        return "a space is missing after the colon", place, f"write `{tight.group(1)}: …`"
    place = _spot(source, index, indent, max(1, len(line.strip())))
    return "this line has no `key: value`", place, "a colon and a space stand between the two"


def _by_structure(source: Source, problem: str, mark: Any, line: str, spot: Span) -> tuple[str, Span, str]:
    indent = len(line) - len(line.lstrip())
    rest = _spot(source, mark.line, mark.column, max(1, len(line) - mark.column))
    if "block sequence entries are not allowed" in problem:
        return "a list cannot begin on the same line as its key", spot, "begin it on the next line, indented"
    for index in range(min(mark.line + 1, len(source.lines))):
        text = re.sub(r"\\.|(^|\s)#.*$", "", source.lines[index])
        if text.count('"') % 2 and re.search(r'[:\-,\[{]\s+"|^\s*"', text):
            col = source.lines[index].index('"')
            return "this quote is never closed", _spot(source, index, col), _QUOTE_HINT
    if line.strip().startswith(":"):
        return "there is no key before the colon", rest, "a key is a word, then `: `"
    if mark.column > indent:
        hint = "put the whole text in quotes" if line.count('"') + line.count("'") >= 2 else "put the text in quotes"
        return "something follows here that does not belong to the value before it", rest, hint
    if "'-' indicator" in problem and not line.lstrip().startswith("- "):
        return (
            "a line of a list must begin with `- `",
            rest,
            "begin it with `- `, or indent it further",
        )
    if "indicator" in problem or "expected key" in problem or "document start" in problem or "block end" in problem:
        return (
            "this line's indentation fits no line above it",
            rest,
            _ALIGN,
        )
    if "tag" in problem or "directive" in problem:
        return "this is not valid YAML here", rest, "put the text in quotes"
    return f"this is not valid YAML: {problem}", rest, ""
