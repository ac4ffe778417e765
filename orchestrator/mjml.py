"""MJML with Jinja in it: checked tag by tag, compiled to HTML once, and read out as plain text.

Jinja's tags are masked before MJML sees the text and put back afterwards, so that neither MJML nor the CSS inliner can
change them. The engine lets unknown tags and text between elements pass without a word, unstyled and outside the
layout; both are problems here.
"""

from __future__ import annotations

import bisect
import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import css_inline
from mjml import mjml2html

from orchestrator.problems import Problems, Span, suggest

Kind = Literal["print", "control"]

_MASK = re.compile(r"<!--zqj(\d+)jqz-->|zqj(\d+)jqz")
_TOKEN = re.compile(
    r"<!--(?P<comment>.*?)-->"
    r"|<[!?](?P<declaration>[^>]*)>"
    r"|</\s*(?P<close>[A-Za-z][\w:-]*)\s*>"
    r"|<(?P<open>[A-Za-z][\w:-]*)(?P<attributes>(?:\"[^\"]*\"|'[^']*'|[^\"'<>])*)>"
    r"|(?P<text>[^<]+)"
    r"|(?P<stray><)",
    re.DOTALL,
)
_ROWS_FIRST = re.compile(r"(?:\s|zqj\d+jqz|<!--.*?-->)*<tr[\s>]", re.DOTALL)
_ATTRIBUTE = re.compile(r"([^\s=<>\"'/]+)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))?")

_BLOCKS = frozenset({
    "mj-accordion", "mj-button", "mj-carousel", "mj-divider", "mj-image", "mj-navbar", "mj-raw", "mj-social",
    "mj-spacer", "mj-table", "mj-text",
})  # fmt: skip
_ROWS = frozenset(["mj-section", "mj-wrapper", "mj-hero", "mj-raw"])
_HEAD = frozenset({"mj-attributes", "mj-breakpoint", "mj-font", "mj-preview", "mj-raw", "mj-style", "mj-title"})
_INSIDE: Mapping[str, frozenset[str]] = {
    "mjml": frozenset(["mj-head", "mj-body"]),
    "mj-head": _HEAD,
    "mj-body": _ROWS,
    "mj-wrapper": frozenset(["mj-section", "mj-hero", "mj-raw"]),
    "mj-section": frozenset(["mj-column", "mj-group", "mj-raw"]),
    "mj-group": frozenset(["mj-column", "mj-raw"]),
    "mj-column": _BLOCKS,
    "mj-hero": _BLOCKS,
    "mj-navbar": frozenset(["mj-navbar-link", "mj-raw"]),
    "mj-social": frozenset(["mj-social-element", "mj-raw"]),
    "mj-accordion": frozenset(["mj-accordion-element", "mj-raw"]),
    "mj-accordion-element": frozenset(["mj-accordion-title", "mj-accordion-text"]),
    "mj-carousel": frozenset(["mj-carousel-image"]),
}
_TEXTUAL = frozenset({
    "mj-accordion-text", "mj-accordion-title", "mj-button", "mj-navbar-link", "mj-preview", "mj-raw",
    "mj-social-element", "mj-style", "mj-table", "mj-text", "mj-title",
})  # fmt: skip
_KNOWN = frozenset(_INSIDE) | _TEXTUAL | frozenset(tag for tags in _INSIDE.values() for tag in tags) | {"mj-attributes"}
_DEFAULTS = (_KNOWN - _HEAD - {"mjml", "mj-head"}) | {"mj-all", "mj-class", "mj-body"}
# Where a control tag must look like a comment: an HTML parser would move bare text out of a table.
_COMMENTED = frozenset(["mj-text", "mj-table", "mj-raw"])
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip
_RAW = frozenset(["mj-style", "style", "script"])


@dataclass(slots=True)
class Masked:
    """A text whose Jinja tags are masked. `places` tells the source of every stretch, for problems."""

    text: str = ""
    tags: list[tuple[str, Kind]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    places: list[tuple[Callable[[int, int], Span], int]] = field(default_factory=list)

    def add(self, text: str, locate: Callable[[int, int], Span], offset: int, kind: Kind | None = None) -> None:
        """Appends a stretch that stands at `offset` of its source; `kind` says that it is a Jinja tag."""
        self.offsets.append(len(self.text))
        self.places.append((locate, offset))
        # An author's own text that looks like a mask is masked itself, and comes back as it was.
        plain = _MASK.sub(lambda found: self.mask(found[0], "print"), text) if kind is None else ""
        self.text += plain if kind is None else self.mask(text, kind)

    def mask(self, tag: str, kind: Kind) -> str:
        """A word that stands for a tag."""
        self.tags.append((tag, kind))
        return f"zqj{len(self.tags) - 1}jqz"

    def span(self, offset: int, length: int = 1) -> Span:
        """The place in the sources of a stretch of the masked text."""
        index = max(0, bisect.bisect_right(self.offsets, offset) - 1)
        locate, start = self.places[index]
        return locate(start + offset - self.offsets[index], length)

    def restore(self, text: str) -> str:
        """Puts the tags back."""

        def tag(found: re.Match[str]) -> str:
            number = int(found[1] or found[2])
            return self.tags[number][0] if number < len(self.tags) else found[0]

        return _MASK.sub(tag, text)


@dataclass(frozen=True, slots=True)
class Event:
    kind: Literal["open", "close", "text", "other", "stray"]
    name: str
    start: int
    end: int
    attributes: Mapping[str, str]
    empty: bool = False


def events(text: str) -> Iterator[Event]:
    """Tags and texts in order. The inside of a style or a script is one text."""
    at, raw = 0, ""
    while at < len(text):
        if raw:
            end = text.find(f"</{raw}", at)
            end = len(text) if end < 0 else end
            raw = ""
            if end > at:
                yield Event("text", text[at:end], at, end, {})
                at = end
                continue
        found = _TOKEN.match(text, at)
        assert found is not None
        name, empty = found["open"] or found["close"], False
        attributes = {}
        if found["open"]:
            empty = found["attributes"].endswith("/")
            pairs = _ATTRIBUTE.findall(found["attributes"])
            attributes = {key: value[1:-1] if value[:1] in ("'", '"') else value for key, value in pairs}
            raw = name if name in _RAW and not empty else ""
            yield Event("open", name, at, found.end(), attributes, empty)
        elif found["close"]:
            yield Event("close", name, at, found.end(), {})
        elif found["text"] is not None:
            yield Event("text", found["text"], at, found.end(), {})
        else:
            yield Event("stray" if found["stray"] else "other", "", at, found.end(), {})
        at = found.end()


@dataclass(frozen=True, slots=True)
class Page:
    """A compiled e-mail as two Jinja sources: `html` to be escaped, `text` not."""

    html: str
    text: str


def compile_page(page: Masked, problems: Problems, *, lang: str, title: str, preview: str) -> Page | None:
    """HTML and text of an MJML document; None when it has problems. `title` and `preview` are Jinja for HTML, masked
    by the caller; they fill `mj-title` and `mj-preview` where the document has none."""
    checker = _Checker(page, problems)
    source = checker.run()
    if checker.failed:
        return None
    if "mj-title" not in checker.seen and title:
        source = _in_head(source, f"<mj-title>{title}</mj-title>")
    if "mj-preview" not in checker.seen and preview:
        source = _in_head(source, f"<mj-preview>{preview}</mj-preview>")
    root = source.index("<mjml")
    if "lang" not in checker.root:
        source = f'{source[:root]}<mjml lang="{html.escape(lang)}"{source[root + 5 :]}'
    before, document, after = _around(source)
    try:
        # No fonts: a link to a font server in an e-mail tells a third party who opened it.
        compiled = mjml2html(document, fonts={})
    except ValueError as error:
        # The engine's positions are those of the masked text, of no use to an author.
        reason = re.sub(r" in root.*", "", str(error))
        problems.error("mjml", "this document is not valid MJML", page.span(0, 5), reason)
        return None
    if checker.inline:
        inliner = css_inline.CSSInliner(
            inline_style_tags=False, keep_style_tags=True, load_remote_stylesheets=False, extra_css=checker.inline
        )
        compiled = inliner.inline(compiled)
    lost = {int(n) for pair in _MASK.findall(document) for n in pair if n} - {
        int(n) for pair in _MASK.findall(compiled) for n in pair if n
    }
    for number in sorted(lost - checker.unprinted):
        place = page.text.find(f"zqj{number}jqz")
        if place >= 0:
            problems.error(
                "lost-in-mjml",
                "MJML needs a fixed value here, a variable would be dropped",
                page.span(place, len(page.tags[number][0])),
                "sizes are numbers; use a style or choose between two elements with {% if %}",
            )
    text = _Reader(page).read(events(page.text))
    return Page(page.restore(before + compiled + after), text)


_ADDRESSES = frozenset(["href", "src", "action", "background", "background-url", "poster", "formaction"])
_PRINT = re.compile(r"\{\{([-+]?)(.*?)([-+]?)\}\}", re.DOTALL)
_OUR_LINK = re.compile(r"\s*links\.\w+\s*(\([^()]*\)\s*)?")


def guard(page: Masked, problems: Problems) -> None:
    """Places where escaping does not help: programs and styles take no value, and an address takes none that runs."""
    inside = ""
    for event in events(page.text):
        if event.kind == "text" and inside in ("style", "mj-style"):
            for found in _MASK.finditer(event.name):
                tag, kind = page.tags[int(found[2])] if found[2] else ("", "control")
                if kind == "print" and not tag.startswith(("{% raw", "{%- raw")):
                    span = page.span(event.start + found.start(), len(tag))
                    hint = "choose between two classes with {% if %}, in the element's `class`"
                    problems.error("misplaced-jinja", "a value cannot stand in a style", span, hint)
        inside = event.name if event.kind == "open" else "" if event.kind == "close" else inside
        if event.kind != "open":
            continue
        if event.name == "script":
            span = page.span(event.start, 7)
            problems.error("misplaced-tag", "`<script>` cannot stand in a text", span, "no mail program runs it")
        for key, value in event.attributes.items():
            if re.fullmatch(r"on[a-z]+", key, re.IGNORECASE):
                span = page.span(event.start, 1 + len(event.name))
                problems.error(
                    "misplaced-tag", f"`{key}` runs a program here", span, "no mail program runs it: remove it"
                )
            elif key in _ADDRESSES and (first := _MASK.match(value)) is not None and first[2]:
                number = int(first[2])
                tag, kind = page.tags[number]
                if kind == "print":
                    page.tags[number] = as_address(tag), kind


def as_address(text: str) -> str:
    """A Jinja text that is an address; what it begins with, if that is a value, may not be one that runs a program."""
    found = _PRINT.match(text)
    if found is None or _OUR_LINK.fullmatch(found[2]):
        return text
    return f"{{{{{found[1]} ({found[2].strip()}) | _address {found[3]}}}}}{text[found.end() :]}"


def page_text(page: Masked) -> str:
    """An HTML page as plain text lines, as a Jinja source."""
    return _Reader(page).read(events(page.text))


def _in_head(source: str, tag: str) -> str:
    at = source.find("<mj-head")
    if at < 0:
        at = source.index(">", source.index("<mjml")) + 1
        return f"{source[:at]}<mj-head>{tag}</mj-head>{source[at:]}"
    at = source.index(">", at) + 1
    if source[at - 2] == "/":
        return f"{source[: at - 2]}>{tag}</mj-head>{source[at:]}"
    return source[:at] + tag + source[at:]


def _around(source: str) -> tuple[str, str, str]:
    """Control tags before the document, the document, control tags behind it."""
    start, end = source.index("<mjml"), source.rindex("</mjml")
    end = source.index(">", end) + 1
    keep = [" ".join(found[0] for found in _MASK.finditer(part)) for part in (source[:start], source[end:])]
    return keep[0], source[start:end], keep[1]


class _Checker:
    """Walks a document: tells what MJML would drop or misread, and carries control tags through `mj-raw`."""

    def __init__(self, page: Masked, problems: Problems) -> None:
        self.page = page
        self.problems = problems
        self.failed = False
        self.seen: set[str] = set()
        self.root: Mapping[str, str] = {}
        self.inline = ""
        self.unprinted: set[int] = set()
        self.out: list[str] = []
        self.stack: list[Event] = []
        self.classes: set[str] = set()
        self.classed: list[tuple[str, int]] = []  # mj-class names used, and where
        self.bodies: list[Event] = []  # tables given a <tbody>

    def run(self) -> str:
        if not re.search(r"<mjml[\s>]", self.page.text):
            self._at("mjml", "this template has no `<mjml>`", 0, 1, "put everything into `<mjml>`…`</mjml>`")
            return ""
        for event in events(self.page.text):
            if event.kind == "open":
                self._open(event)
            elif event.kind == "close":
                self._close(event)
            elif event.kind == "text":
                self._text(event)
            elif event.kind == "other" and self._parent() in _TEXTUAL:
                self.out.append(self.page.text[event.start : event.end])
            elif event.kind == "stray":
                self._tell("stray-character", "`<` does not begin a tag here", event, "write `&lt;` for the character")
        for name, start in self.classed:
            if name not in self.classes and not _MASK.search(name):
                hint = suggest(name, self.classes) or 'add `<mj-class name="…" />` to `<mj-attributes>`'
                self._at("unknown-class", f"there is no mj-class `{name}`", start, len(name), hint)
        for event in reversed(self.stack):
            self._tell("unclosed-tag", f"`<{event.name}>` is never closed", event, f"add `</{event.name}>`")
        return "".join(self.out)

    def _tell(self, code: str, message: str, event: Event, hint: str = "") -> None:
        length = len(event.name) + (1 if event.kind == "open" else 2 if event.kind == "close" else 0)
        self._at(code, message, event.start, max(1, length), hint)

    def _at(self, code: str, message: str, start: int, length: int, hint: str) -> None:
        self.failed = True
        self.problems.error(code, message, self.page.span(start, length), hint)

    def _told(self) -> bool:
        """Whether we are inside an element that is itself a problem: what it holds is not another one."""
        return bool(self.stack) and self.stack[-1].name not in _KNOWN

    def _parent(self) -> str:
        return next((e.name for e in reversed(self.stack) if e.name in _KNOWN), "")

    def _open(self, event: Event) -> None:
        name, parent = event.name, self._parent()
        self.seen.add(name)
        if name == "mj-include":
            self._tell("mj-include", "`mj-include` is not used here", event, 'write {% include "snippets/NAME.mjml" %}')
        elif name.startswith("mj") and name not in _KNOWN | {"mj-all", "mj-class"}:
            self._tell("unknown-tag", f"MJML has no `<{name}>`", event, suggest(name, _KNOWN))
        elif parent in _TEXTUAL:
            if name in _KNOWN:
                message = f"`<{name}>` cannot stand in `<{parent}>`"
                self._tell("misplaced-tag", message, event, f"close `<{parent}>` first")
        else:
            self._child(event, parent)
        self._attributes(event)
        if name == "mjml":
            self.root = event.attributes
        elif name == "mj-class":
            self.classes.add(event.attributes.get("name", ""))
        self.out.append(self.page.text[event.start : event.end])
        if not event.empty and name not in _VOID:
            self.stack.append(event)
            if name in ("table", "mj-table") and _ROWS_FIRST.match(self.page.text, event.end):
                # The CSS inliner's parser would put its own <tbody> inside a loop over the rows.
                self.out.append("<tbody>")
                self.bodies.append(event)

    def _attributes(self, event: Event) -> None:
        begins = event.start + 1 + len(event.name)
        for found in _ATTRIBUTE.finditer(self.page.text, begins, event.end - 1):
            key, value = found[1], found[2]
            inside = _MASK.search(key)
            if inside:
                length = len(self.page.tags[int(inside[2])][0])
                message = "a Jinja tag cannot stand between attributes"
                self._at("tag-in-tag", message, found.start() + inside.start(), length, "put it into a value")
                return
            if key == "mj-class" and event.name != "mj-class":
                start = found.start(2) + 1
                self.classed += [(w[0], start + w.start()) for w in re.finditer(r"\S+", value.strip("\"'"))]
            if value and value[0] not in "\"'" and event.name in _KNOWN:
                hint = f'write `{key}="{value}"`'
                self._at("unquoted-attribute", f"the value of `{key}` needs quotes", found.start(), len(key), hint)

    def _child(self, event: Event, parent: str) -> None:
        name = event.name
        if self._told():
            return
        if parent == "mj-attributes":
            if name not in _DEFAULTS:
                self._tell("misplaced-tag", f"`<{name}>` has no default attributes", event, suggest(name, _DEFAULTS))
            return
        allowed = _INSIDE.get(parent, frozenset(["mjml"]) if not parent else frozenset())
        if name in allowed:
            return
        if name in _KNOWN | {"mj-all", "mj-class"}:
            where = f"in `<{parent}>`" if parent else "outside `<mjml>`"
            homes = sorted(home for home, inside in _INSIDE.items() if name in inside)
            self._tell(
                "misplaced-tag",
                f"`<{name}>` cannot stand {where}",
                event,
                "it belongs in " + " or ".join(f"`<{home}>`" for home in homes) if homes else "",
            )
        else:
            hint = "put it into `<mj-text>` or `<mj-raw>`"
            self._tell("stray-text", f"`<{name}>` stands outside the layout here", event, hint)

    def _close(self, event: Event) -> None:
        if event.name in _VOID:
            return
        if not any(e.name == event.name for e in self.stack):
            hint = f"write `</{self.stack[-1].name}>`" if self.stack else "take it out"
            self._tell("unopened-tag", f"`</{event.name}>` closes nothing", event, hint)
            if self.stack and self._misspelt(event):
                self.stack.pop()
            return
        while self.stack and self.stack[-1].name != event.name:
            left = self.stack.pop()
            self._tell("unclosed-tag", f"`<{left.name}>` is never closed", left, f"add `</{left.name}>`")
        closed = self.stack.pop()
        if self.bodies and self.bodies[-1] is closed:
            self.bodies.pop()
            self.out.append("</tbody>")
        self.out.append(self.page.text[event.start : event.end])

    def _misspelt(self, event: Event) -> bool:
        """Whether a closing tag that fits nothing stands where the innermost element should have been closed."""
        rest, names = self.page.text[event.end :], [e.name for e in reversed(self.stack)]
        places = [rest.find(f"</{name}") for name in names[:2]]
        return places[0] < 0 or (len(places) == 2 and 0 <= places[1] < places[0])

    def _text(self, event: Event) -> None:
        parent = self._parent()
        if parent == "mj-style":
            if self.stack[-1].attributes.get("inline") == "inline":
                self.inline += event.name
                self.unprinted.update(int(n) for pair in _MASK.findall(event.name) for n in pair if n)
                return
            if "<" in event.name:
                self._tell("stray-character", "`<` cannot stand in a style", event)
            self.out.append(event.name)
        elif parent in _TEXTUAL:
            self.out.append(self._commented(event.name) if parent in _COMMENTED else event.name)
        else:
            self._between(event, parent)

    def _commented(self, text: str) -> str:
        return _MASK.sub(
            lambda found: f"<!--{found[0]}-->" if self.page.tags[int(found[2])][1] == "control" else found[0], text
        )

    def _between(self, event: Event, parent: str) -> None:
        """Between elements only control tags may stand, and `mj-raw` carries them."""
        at = 0
        for found in [*_MASK.finditer(event.name), None]:
            plain = event.name[at : found.start() if found else None]
            if plain.strip() and not self._told():
                start = event.start + at + len(plain) - len(plain.lstrip())
                message, length = "text between elements stands outside the layout", len(plain.strip().split("\n")[0])
                self._at("stray-text", message, start, length, "put it into `<mj-text>`")
            if found is None:
                break
            at = found.end()
            tag, kind = self.page.tags[int(found[2])]
            start = event.start + found.start()
            if self._told():
                continue
            if kind == "print":
                message = "a value between elements stands outside the layout"
                self._at("stray-text", message, start, len(tag), "put it into `<mj-text>`")
            elif "mj-raw" in _INSIDE.get(parent, ()):
                self.out.append(f"<mj-raw><!--{found[0]}--></mj-raw>")
            elif not parent:
                self.out.append(found[0])
            elif not re.match(r"\{%[-+]?\s*(end|el)", tag):
                message = f"a Jinja tag cannot stand directly in `<{parent}>`"
                self._at("misplaced-jinja", message, start, len(tag), "move it inside")


# ---------------------------------------------------------------------------------------------------- plain text

_LINES = frozenset({
    "address", "article", "blockquote", "body", "center", "dd", "div", "dl", "dt", "footer", "h1", "h2", "h3",
    "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "tbody", "tfoot",
    "thead", "tr", "ul", "mj-text", "mj-button", "mj-table", "mj-divider", "mj-social-element", "mj-navbar-link",
    "mj-section", "mj-accordion-title", "mj-accordion-text",
})  # fmt: skip
_TIGHT = frozenset(["tr", "li", "dt", "dd", "div"])
_SILENT = frozenset({
    "mj-head", "head", "style", "script", "title", "mj-style", "mj-preview", "mj-title",
})  # fmt: skip
_CONTROL_END = re.compile(r"(?<![-+])%\}$")


class _Reader:
    """Reads a page aloud: paragraphs, list items, rows, "label: address" for buttons, "label (address)" for links."""

    def __init__(self, page: Masked) -> None:
        self.page = page
        self.blocks: list[
            tuple[str, bool]
        ] = []  # finished lines, "" for a blank one; whether it is a tag that prints none
        self.line = ""
        self.silent: list[str] = []
        self.links: list[tuple[str, str, int]] = []  # tag, address, where its label begins in the line

    def read(self, events: Iterator[Event]) -> str:
        for event in events:
            if self.silent:
                if event.kind == "close" and event.name == self.silent[-1]:
                    self.silent.pop()
                elif event.kind == "open" and event.name == self.silent[-1] and not event.empty:
                    self.silent.append(event.name)
            elif event.kind == "open":
                self._open(event)
            elif event.kind == "close":
                self._close(event.name)
            elif event.kind == "text":
                self._say(event.name)
        self._break(True)
        while self.blocks and not self.blocks[-1][0]:
            self.blocks.pop()
        return "\n".join(line for line, _ in self.blocks)

    def _open(self, event: Event) -> None:
        name = event.name
        hidden = event.attributes.get("aria-hidden") == "true"  # for the eye alone, such as a logo's letter
        if (hidden or name in _SILENT) and not event.empty:
            self.silent.append(name)
        elif name == "br":
            self._break(False)
        elif name in ("hr", "mj-divider"):
            self._break(True)
            self.blocks += [("----", False), ("", False)]
        elif name in ("td", "th") and self.line.strip():
            self.line += "  "
        elif name == "img" and event.attributes.get("alt"):
            self._say(event.attributes["alt"])
        elif name in _LINES:
            self._break(name not in _TIGHT)
            self.line += "- " if name == "li" else ""
        if name in ("a", "mj-button", "mj-navbar-link", "mj-social-element") and event.attributes.get("href"):
            self.links.append((name, event.attributes["href"], len(self.line)))

    def _close(self, name: str) -> None:
        if self.links and self.links[-1][0] == name:
            _, address, start = self.links.pop()
            label, url = self.line[start:].strip(), self._plain(address)
            if label and label != url and not (name == "a" and url.partition(":")[2] == label):
                url = f"{label} ({url})" if name == "a" else f"{label}: {url}"
            self.line = self.line[:start] + url
        if name in _LINES:
            self._break(name not in _TIGHT)

    def _plain(self, text: str) -> str:
        """Text as its reader sees it, with the Jinja tags back in place and no new ones made."""
        parts, at = [], 0
        for found in [*_MASK.finditer(text), None]:
            data = html.unescape(text[at : found.start() if found else None])
            data = re.sub(r"[\s\xa0]+", " ", data)
            parts.append(re.sub(r"\{(?=[{%#])", '{{ "{" }}', data))
            if found is not None:
                tag, kind = self.page.tags[int(found[2])]
                # Jinja takes the line break behind a control tag away; here it ends a paragraph.
                parts.append(_CONTROL_END.sub("+%}", tag) if kind == "control" else tag)
                at = found.end()
        return "".join(parts)

    def _say(self, text: str) -> None:
        if not self.line.strip() and all(k == "control" for k in self._kinds(text)) and not _MASK.sub("", text).strip():
            for found in _MASK.finditer(text):
                # A tag on a line of its own prints no line.
                self.blocks.append((self.page.tags[int(found[2])][0], True))
            return
        said = self._plain(text)
        self.line += said.lstrip() if not self.line or self.line.endswith(" ") else said

    def _kinds(self, text: str) -> list[Kind]:
        return [self.page.tags[int(found[2])][1] for found in _MASK.finditer(text)]

    def _break(self, blank: bool) -> None:
        if self.line.strip():
            self.blocks.append((self.line.strip(), False))
        self.line = ""
        if blank and next((line for line, silent in reversed(self.blocks) if not silent), ""):
            self.blocks.append(("", False))
