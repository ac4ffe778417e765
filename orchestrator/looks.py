"""Whether an e-mail can be read by everybody: contrast of its text (WCAG 2.2, 1.4.3 AA), words for its images (1.1.1).

What is judged is what the source says: attributes, `mj-class`, defaults in the head, `style` of HTML within. What hangs
on a variable, a picture or a style sheet is not guessed at. Colours of dark mode are set in style sheets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator.mjml import Event, Masked, events
from orchestrator.problems import Problems

AA: Final = 4.5
AA_LARGE: Final = 3.0
_ENGINE: Final[Mapping[str, Mapping[str, str]]] = {  # MJML's own defaults
    "mj-text": {"color": "#000000", "font-size": "13px"},
    "mj-button": {"color": "#ffffff", "background-color": "#414141", "font-size": "13px"},
    "mj-table": {"color": "#000000", "font-size": "13px"},
    "mj-navbar-link": {"color": "#000000", "font-size": "13px"},
    "mj-social-element": {"color": "#000000", "font-size": "13px"},
    "mj-accordion-title": {"font-size": "13px"},
    "mj-accordion-text": {"font-size": "13px"},
    "mj-hero": {"background-color": "#ffffff"},
}
_NAMED: Final = {
    "black": "#000000", "white": "#ffffff", "red": "#ff0000", "green": "#008000", "blue": "#0000ff",
    "gray": "#808080", "grey": "#808080", "silver": "#c0c0c0", "navy": "#000080", "yellow": "#ffff00",
    "orange": "#ffa500", "maroon": "#800000", "purple": "#800080", "teal": "#008080", "lightgray": "#d3d3d3",
    "lightgrey": "#d3d3d3", "darkgray": "#a9a9a9", "darkgrey": "#a9a9a9", "whitesmoke": "#f5f5f5",
}  # fmt: skip
_HEX: Final = re.compile(r"#([0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)
_RGB: Final = re.compile(r"rgb\(\s*(\d{1,3})\s*[, ]\s*(\d{1,3})\s*[, ]\s*(\d{1,3})\s*\)")
_MEDIA: Final = re.compile(r"@[\w-]+[^{}]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
_RULE: Final = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)px")
_MASK: Final = re.compile(r"<!--zqj\d+jqz-->|zqj\d+jqz")
_IMAGES: Final = frozenset(["mj-image", "mj-carousel-image", "img"])
_NO_END: Final = frozenset(["br", "hr", "img", "input", "meta", "link", "area", "col", "source", "wbr"])

Rgb = tuple[int, int, int]


def look(page: Masked, problems: Problems) -> None:
    """Warns of texts that are hard to read and of images without words, in an MJML page with its includes in place."""
    found = list(events(page.text))
    _Look(page, problems, _Sheet.of(found)).run(found)


def ratio(one: Rgb, other: Rgb) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colour(text: str) -> Rgb | None:
    """A colour as it is written: `#fff`, `#14594b`, `rgb(20, 89, 75)` or a common name; None for all others."""
    text = _NAMED.get(text.strip().lower(), text.strip())
    if found := _HEX.fullmatch(text):
        digits = found[1] if len(found[1]) == 6 else "".join(c * 2 for c in found[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if said := _RGB.fullmatch(text.lower()):
        red, green, blue = (min(255, int(n)) for n in said.groups())
        return red, green, blue
    return None


def _luminance(of: Rgb) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (n / 255 for n in of))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What the head says: attributes by element and by `mj-class`; names whose colours a style sheet decides."""

    defaults: Mapping[str, Mapping[str, str]]
    classes: Mapping[str, Mapping[str, str]]
    styled: frozenset[str]  # "a", ".small"

    @classmethod
    def of(cls, found: list[Event]) -> _Sheet:
        defaults: dict[str, Mapping[str, str]] = {}
        classes: dict[str, Mapping[str, str]] = {}
        styled: set[str] = set()
        where: list[str] = []
        for event in found:
            if event.kind == "open":
                if where[-1:] == ["mj-attributes"]:
                    if event.name == "mj-class":
                        classes[event.attributes.get("name", "")] = event.attributes
                    else:
                        defaults[event.name] = event.attributes
                if not event.empty and event.name not in _NO_END:
                    where.append(event.name)
            elif event.kind == "close" and event.name in where:
                del where[len(where) - 1 - where[::-1].index(event.name) :]
            elif event.kind == "text" and where[-1:] in (["mj-style"], ["style"]):
                styled |= set(_coloured(event.name))
        return cls(defaults, classes, frozenset(styled))

    def attributes(self, event: Event) -> Mapping[str, str]:
        """All of an element's, the nearest to it last."""
        named: dict[str, str] = {}
        for name in event.attributes.get("mj-class", "").split():
            named |= self.classes.get(name, {})
        own = _ENGINE.get(event.name, {})
        return {
            **own,
            **self.defaults.get("mj-all", {}),
            **self.defaults.get(event.name, {}),
            **named,
            **event.attributes,
        }

    def decides(self, event: Event) -> bool:
        """Whether a style sheet may colour this element."""
        names = f"{event.attributes.get('css-class', '')} {event.attributes.get('class', '')}".split()
        return event.name in self.styled or any(f".{name}" in self.styled for name in names)


def _coloured(sheet: str) -> Iterator[str]:
    """What the rules of a style sheet that hold everywhere colour, by the last part of their selectors."""
    for found in _RULE.finditer(_MEDIA.sub("", sheet)):
        if "color" in found[2] or "background" in found[2]:
            for selector in found[1].split(","):
                parts = selector.split()
                # MJML makes a `div` in a `td` of an element: what a rule says of those it says of the element.
                reach = 2 if parts and parts[-1] in ("div", "td", "p", "table") else 1
                for part in parts[-reach:]:
                    yield from re.findall(r"\.[\w-]+|^[a-z][\w-]*", part)


@dataclass(frozen=True, slots=True)
class _Ink:
    """How text looks at a place; None: not known."""

    text: Rgb | None = (0, 0, 0)
    ground: Rgb | None = (255, 255, 255)
    size: float = 13.0
    bold: bool = False

    @property
    def least(self) -> float:
        return AA_LARGE if self.size >= 24 or (self.bold and self.size >= 18.66) else AA


@dataclass(slots=True)
class _Look:
    page: Masked
    problems: Problems
    sheet: _Sheet
    stack: list[tuple[str, _Ink]] = field(default_factory=list)
    told: set[tuple[Rgb, Rgb, int]] = field(default_factory=set)

    def run(self, found: list[Event]) -> None:
        inside = False
        for event in found:
            if event.name == "mj-body" and event.kind in ("open", "close"):
                inside = event.kind == "open"
            if event.kind == "open":
                self._image(event)
                if inside and not event.empty and event.name not in _NO_END:
                    self.stack.append((event.name, self._ink(event)))
            elif event.kind == "close":
                names = [name for name, _ in self.stack]
                if event.name in names:
                    del self.stack[len(names) - 1 - names[::-1].index(event.name) :]
            elif event.kind == "text" and inside and self.stack:
                self._text(event)

    def _ink(self, event: Event) -> _Ink:
        around = self.stack[-1][1] if self.stack else _Ink()
        if event.name.startswith("mj-"):
            return self._element(event, around)
        style = dict(_declarations(event.attributes.get("style", "")))
        if self.sheet.decides(event) or event.name == "a":
            around = replace(around, text=None if "color" not in style else around.text)
        if event.name in ("b", "strong", "h1", "h2", "h3", "th"):
            around = replace(around, bold=True)
        return _over(around, style, "background")

    def _element(self, event: Event, around: _Ink) -> _Ink:
        said = dict(self.sheet.attributes(event))
        ground = said.get("container-background-color", "") if event.name == "mj-button" else ""
        if event.name in ("mj-text", "mj-table", "mj-image"):
            said["background-color"] = said.get("container-background-color", "")
        if event.name == "mj-column" and said.get("inner-background-color"):
            said["background-color"] = said["inner-background-color"]
        if ground:
            around = _over(around, {"background-color": ground}, "")
        if said.get("background-url"):
            return replace(around, text=None, ground=None)
        if said.get("background-color") in ("none", "transparent"):
            said["background-color"] = ""
        made = _over(around, {k: v for k, v in said.items() if v}, "")
        return replace(made, text=None) if self.sheet.decides(event) else made

    def _text(self, event: Event) -> None:
        ink = self.stack[-1][1]
        if ink.text is None or ink.ground is None:
            return
        shown = event.name
        for found in _MASK.finditer(event.name):
            kind = self._kind(found[0])
            shown = shown.replace(found[0], " " if kind == "control" else found[0])
        shown = re.sub(r"&(nbsp|#160|zwnj|shy);", " ", shown)
        if not shown.strip():
            return
        contrast = ratio(ink.text, ink.ground)
        if contrast >= ink.least or (key := (ink.text, ink.ground, int(ink.least))) in self.told:
            return
        self.told.add(key)
        at = event.start + len(event.name) - len(event.name.lstrip())
        length = min(60, len(event.name.strip().partition("\n")[0]))
        one, other = _hex(ink.text), _hex(ink.ground)
        message = f"{one} on {other} has a contrast of {contrast:.1f}, and {ink.least:g} is the least"
        hint = "make the text darker or the ground lighter (WCAG AA; large text needs 3)"
        if sum(ink.text) > sum(ink.ground):
            hint = "make the text lighter or the ground darker (WCAG AA; large text needs 3)"
        self.problems.warning("low-contrast", message, self.page.span(at, max(1, length)), hint)

    def _kind(self, mask: str) -> str:
        number = int(re.sub(r"\D", "", mask))
        return self.page.tags[number][1] if number < len(self.page.tags) else "print"

    def _image(self, event: Event) -> None:
        if event.name not in _IMAGES or any(name == "mj-attributes" for name, _ in self.stack):
            return
        said = self.sheet.attributes(event) if event.name.startswith("mj-") else event.attributes
        alt = said.get("alt")
        if alt is None or (not alt.strip() and said.get("href")):
            message = "this image says nothing to those who cannot see it"
            hint = 'add `alt="what it shows"`; `alt=""` where it is decoration and no link'
            span = self.page.span(event.start, 1 + len(event.name))
            self.problems.warning("no-alt-text", message, span, hint)


def _over(around: _Ink, said: Mapping[str, str], shorthand: str) -> _Ink:
    """What declarations make of the look around them; a colour that cannot be read is none that is known."""
    if said.get("color") and said["color"] != "inherit":
        around = replace(around, text=colour(said["color"]))
    ground = said.get("background-color") or (said.get(shorthand) if shorthand else None)
    if ground and ground != "transparent":
        around = replace(around, ground=colour(ground))
    if size := _SIZE.fullmatch(said.get("font-size", "").strip()):
        around = replace(around, size=float(size[1]))
    if weight := said.get("font-weight"):
        bold = weight == "bold" or (weight.isdigit() and int(weight) >= 700)
        around = replace(around, bold=bold)
    return around


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    for part in style.split(";"):
        name, colon, value = part.partition(":")
        if colon:
            yield name.strip().lower(), value.replace("!important", "").strip()


def _hex(of: Rgb) -> str:
    return "#" + "".join(f"{n:02x}" for n in of)
