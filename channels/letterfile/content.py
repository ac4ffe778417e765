"""A letter's limited HTML as blocks and runs of plain text: what typst is given as data, so that no text of a customer
is ever markup.

Headings, paragraphs, lists, tables, `dl`, emphasis, line breaks and links are understood; styles are not. Elements of
five classes have places of their own on the sheet: `brand`, `window` (left out: the address is set from the record;
its `small` is the line of return), `day`, `foot`, and on a link `qr` (a QR code of where it leads).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

Run = dict[str, Any]
"""`x` text, or `br`; `b`, `i` emphasis."""
Block = dict[str, Any]
"""`t` is p, h1, h2, h3, li, dt, dd, qr or row; `c` its runs (a row: its cells' runs); `n` a list's number, 0: a dot."""

_SILENT = frozenset({"head", "style", "script", "title", "template", "noscript"})
_BLOCKS = frozenset({"p", "div", "section", "article", "header", "footer", "blockquote", "address", "main", "figure"})
_HEADINGS = {"h1": "h1", "h2": "h2", "h3": "h3", "h4": "h3", "h5": "h3", "h6": "h3"}
_VOID = frozenset({"br", "img", "hr", "meta", "link", "input", "col", "wbr"})
_PLACES = ("brand", "window", "day", "foot")


@dataclass(slots=True)
class Letter:
    """What stands where."""

    body: list[Block] = field(default_factory=list)
    brand: list[Block] = field(default_factory=list)
    window: list[Block] = field(default_factory=list)
    day: list[Block] = field(default_factory=list)
    foot: list[Block] = field(default_factory=list)
    return_line: str = ""
    title: str = ""

    def data(self) -> dict[str, Any]:
        """As typst gets it."""
        return {"body": self.body, "brand": self.brand, "day": self.day, "foot": self.foot}


def of_html(text: str) -> Letter:
    """A page's content."""
    walk = _Walk()
    walk.feed(text)
    walk.close()
    walk.end_block()
    return walk.letter


def of_text(text: str) -> Letter:
    """Plain paragraphs, parted by empty lines."""
    letter = Letter()
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        runs: list[Run] = []
        for n, line in enumerate(paragraph.strip("\n").split("\n")):
            runs += ([{"br": True}] if n else []) + ([{"x": line}] if line else [])
        if runs:
            letter.body.append({"t": "p", "c": runs})
    return letter


class _Walk(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.letter = Letter()
        self._open: list[tuple[str, str, bool]] = []  # (tag, place it opened or "", whether nothing in it is shown)
        self._lists: list[int] = []
        self._runs: list[Run] = []
        self._kind, self._number = "p", 0
        self._row: list[list[Run]] | None = None
        self._qr = ""

    # ---- the parser's calls

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        classes = said.get("class", "").split()
        place = next((c for c in _PLACES if c in classes), "")
        if place or tag in _BLOCKS or tag in _HEADINGS or tag in ("ul", "ol", "li", "dl", "dt", "dd", "table", "tr"):
            self.end_block()
        if tag == "br":
            self._runs.append({"br": True})
        elif tag == "ul":
            self._lists.append(0)
        elif tag == "ol":
            self._lists.append(1)
        elif tag == "tr":
            self._row = []
        elif tag == "a" and "qr" in classes:
            self.end_block()
            self._qr = said.get("href", "")
        if tag not in _VOID:
            # What is there for the eye alone is no content (WAI-ARIA).
            self._open.append((tag, place, tag in _SILENT or said.get("aria-hidden") == "true"))
        self._set_kind(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in [name for name, _, _ in self._open]:
            return
        while self._open:
            name, place, _ = self._open[-1]
            if place or name in _BLOCKS or name in _HEADINGS or name in ("li", "dt", "dd", "ul", "ol", "dl", "table"):
                self.end_block()
            self._open.pop()
            if name in ("ul", "ol") and self._lists:
                self._lists.pop()
            elif name in ("td", "th") and self._row is not None:
                self._row.append(self._taken())
            elif name == "tr" and self._row is not None:
                row, self._row = self._row, None
                self._blocks().append({"t": "row", "c": row})
            elif name == "a" and self._qr:
                self._blocks().append({"t": "qr", "c": self._taken(), "href": self._qr})
                self._qr = ""
            if name == tag:
                break
        self._set_kind("")

    def handle_data(self, data: str) -> None:
        names = [name for name, _, _ in self._open]
        if "title" in names:
            self.letter.title += " ".join(data.split())
        if any(silent for _, _, silent in self._open):
            return
        words = " ".join(data.split())
        if not words:
            if data and self._runs and not self._runs[-1].get("br"):
                self._runs.append({"x": " "})
            return
        text = f"{' ' if data[0].isspace() else ''}{words}{' ' if data[-1].isspace() else ''}"
        if "small" in names and self._place() == "window":
            self.letter.return_line = f"{self.letter.return_line} {words}".strip()
            return
        run: Run = {"x": text}
        if {"b", "strong", "th"} & set(names):
            run["b"] = True
        if {"i", "em", "cite"} & set(names):
            run["i"] = True
        self._runs.append(run)

    # ---- blocks

    def end_block(self) -> None:
        """What has come together since the last one is a block."""
        if self._row is not None or self._qr:
            return
        runs = self._taken()
        if runs:
            block: Block = {"t": self._kind, "c": runs}
            if self._kind == "li":
                block["n"] = self._number
                self._kind = "p"  # of an entry's further paragraphs none has a mark
            self._blocks().append(block)

    def _taken(self) -> list[Run]:
        runs, self._runs = self._runs, []
        while runs and (runs[0].get("br") or not runs[0]["x"].strip()):
            runs.pop(0)
        while runs and (runs[-1].get("br") or not runs[-1]["x"].strip()):
            runs.pop()
        if runs:
            runs[0]["x"] = runs[0]["x"].lstrip()
            runs[-1]["x"] = runs[-1]["x"].rstrip()
        for before, after in pairwise(runs):
            if after.get("br") and "x" in before:
                before["x"] = before["x"].rstrip()
            elif before.get("br") and "x" in after:
                after["x"] = after["x"].lstrip()
        return runs

    def _place(self) -> str:
        return next((place for _, place, _ in reversed(self._open) if place), "")

    def _blocks(self) -> list[Block]:
        found: list[Block] = getattr(self.letter, self._place() or "body")
        return found

    def _set_kind(self, tag: str) -> None:
        names = [name for name, _, _ in self._open]
        if tag == "li" and self._lists:
            self._number = self._lists[-1]
            if self._number:
                self._lists[-1] += 1
            self._kind = "li"
            return
        last = next((n for n in reversed(names) if n in _HEADINGS or n in ("dt", "dd")), "")
        if tag or self._kind != "li" or "li" not in names:
            self._kind = _HEADINGS.get(last, last or "p")
