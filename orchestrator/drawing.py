"""A journey as a picture: an SVG that one would put into a presentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

from orchestrator import caption
from orchestrator.journey import Journey
from orchestrator.layout import BIG, BIG_LINE, MARGIN, PAD, ROW, SMALL, SMALL_LINE, TILE, TINY, Box, Key, Line, Plan
from orchestrator.layout import arrange as arranged
from orchestrator.simulation import Traffic
from orchestrator.source import digest
from orchestrator.steps import Step

Theme = Literal["light", "dark", "auto"]

FONT: Final = "-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Noto Sans',sans-serif"
COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "page": ("#f6f8fa", "#11161c"),
    "card": ("#ffffff", "#1c242d"),
    "line": ("#d5dce4", "#36424f"),
    "ink": ("#17202b", "#e8edf2"),
    "soft": ("#566273", "#a3b0bf"),
    "flow": ("#7f8ea0", "#6f8093"),
    "jump": ("#8a5a00", "#d9a648"),
    "held": ("#75849a", "#6f8093"),
    "on": ("#ffffff", "#11161c"),
    **{
        f"{tone}{part}": pair
        for tone, pairs in {
            "email": (("#e2edfb", "#16304d"), ("#1d5fa8", "#8ec1f5")),
            "sms": (("#ddf3e5", "#13341f"), ("#1a7343", "#7fd6a0")),
            "push": (("#ece5fb", "#2c2149"), ("#673bb3", "#c0a5f4")),
            "mail": (("#fbeed5", "#3a2a10"), ("#8f540a", "#e9b862")),
            "task": (("#fbe3ea", "#401a28"), ("#ad2853", "#f49bb5")),
            "webhook": (("#e5e9ee", "#2a333d"), ("#48566a", "#b3c0ce")),
            "survey": (("#d8f2ee", "#10332f"), ("#0c6d65", "#6fd3c7")),
            "data": (("#e6e8fb", "#242850"), ("#4348a8", "#adb3f7")),
            "begin": (("#dff0f6", "#12323f"), ("#12667f", "#79c9e2")),
            "wait": (("#eaeef3", "#27313c"), ("#4c5a6b", "#b4c1cf")),
            "flow": (("#eaeef3", "#27313c"), ("#34414f", "#d5dde6")),
            "goal": (("#d9f2e3", "#12361f"), ("#14703e", "#77d69d")),
            "exit": (("#f0e6e4", "#3a2422"), ("#8a4038", "#eba69d")),
        }.items()
        for part, pair in zip(("-soft", "-deep"), pairs, strict=True)
    },
}
"""Every colour by name, light and dark. Texts keep 4.5:1 on what they stand on, icons 3:1."""

_ICONS: Final[Mapping[str, str]] = {  # 20 × 20, drawn with a line of 1.6
    "email": "M3 5.5h14v9.5H3z M3.4 6l6.6 5 6.6-5",
    "sms": "M3 4.5h14v8.6H9.2L5.6 16v-2.9H3z M6.6 8.8h.1 M10 8.8h.1 M13.4 8.8h.1",
    "push": "M4.5 14h11c-1.2-1.2-1.6-2.6-1.6-5a3.9 3.9 0 0 0-7.8 0c0 2.4-.4 3.8-1.6 5z M8.4 16.6h3.2",
    "mail": "M5 2.8h7.2L15 5.6v11.6H5z M12 3v3h3 M7.4 9.4h5.2 M7.4 12h5.2 M7.4 14.4h3",
    "survey": "M3.5 3.5h13v13h-13z M6.2 7.4l1 1 1.8-2 M11 7.4h3 M6.2 12.4l1 1 1.8-2 M11 12.4h3",
    "task": "M5 4.5h10v12.5H5z M8 3h4v3H8z M7.6 11.2l1.7 1.8 3.2-3.6",
    "call": "M5.6 3.2l2.3 3.4-1.5 1.7c1 2.2 2.9 4.1 5.2 5.2l1.7-1.5 3.5 2.3-.7 2.6C9.4 17.6 2.4 10.6 3 4z",
    "webhook": "M7.2 5L2.8 10l4.4 5 M12.8 5l4.4 5-4.4 5 M11 4L9 16",
    "clock": "M10 3a7 7 0 1 0 .01 0z M10 6v4.2l2.8 1.7",
    "calendar": "M3.5 5h13v11.5h-13z M3.5 8.6h13 M6.8 3v3.4 M13.2 3v3.4",
    "hourglass": "M5.5 3h9 M5.5 17h9 M6.5 3c0 4 2.5 4.6 2.5 7s-2.5 3-2.5 7 M13.5 3c0 4-2.5 4.6-2.5 7s2.5 3 2.5 7",
    "fork": "M10 17v-5c0-3-5-2.5-5-7 M10 12c0-3 5-2.5 5-7 M2.8 7L5 4.6 7.2 7 M12.8 7L15 4.6 17.2 7",
    "split": "M3 6h3.5l7 8H17 M3 14h3.5l2-2.3 M11.5 8.3l2-2.3H17 M14.8 3.8L17 6l-2.2 2.2 M14.8 11.8L17 14l-2.2 2.2",
    "ladder": "M4 4.5h12 M4 10h8 M4 15.5h5 M14.5 8.5v8 M12.3 14.3l2.2 2.2 2.2-2.2",
    "back": "M7 4L3.5 7.5 7 11 M3.5 7.5h8.5a4.3 4.3 0 0 1 0 8.6H8",
    "enter": "M8 3.5h8.5v13H8 M3 10h8.5 M8.6 6.8l3 3.2-3 3.2",
    "exit": "M12 3.5H3.5v13H12 M8 10h9 M14 6.8l3 3.2-3 3.2",
    "update": "M4 16l.8-3.4L13.4 4l2.6 2.6-8.6 8.6z M11.8 5.6l2.6 2.6",
    "event": "M11.5 2.5L4.5 11.3h4.8l-.8 6.2 7-8.8h-4.8z",
    "points": "M10 2.8l2.2 4.6 5 .7-3.6 3.5.9 5-4.5-2.4-4.5 2.4.9-5L2.8 8.1l5-.7z",
    "voucher": "M2.8 6h14.4v2.6a1.5 1.5 0 0 0 0 2.9V14H2.8v-2.5a1.5 1.5 0 0 0 0-2.9z M8 8.3v.1 M8 10v.1 M8 11.7v.1",
    "people": (
        "M7.5 4a2.7 2.7 0 1 0 .01 0z M2.5 16c0-3.4 2-5 5-5s5 1.6 5 5"
        " M13 4.6a2.4 2.4 0 0 1 0 4.6 M14.5 11.4c2 .5 3 2 3 4.6"
    ),
    "funnel": "M3.5 4h13l-5 6.2v5.3l-3 1.5v-6.8z",
    "megaphone": "M3 8v4h2.5L14 16V4L5.5 8z M6 12.2l1 4h2 M16.3 8.4v3.2",
    "flag": "M5 17.5V3 M5 3.8h9.8l-2.2 3.4 2.2 3.4H5",
    "check": "M4 10.6l4 4.2 8-9.4",
    "held": "M7 4.5v11 M13 4.5v11",
    "dot": "M10 7a3 3 0 1 0 .01 0z",
}


def draw(journey: Journey, traffic: Traffic | None = None, *, theme: Theme = "auto") -> str:
    """The journey as one SVG document: no script, no font or image from elsewhere.

    With `traffic`, counts stand on edges and steps. `auto` follows the reader's light or dark setting. Deterministic.
    Steps carry `data-step`, ways `data-way` (as `rehearse.ways` names them). It may stand within an HTML page: its
    styles hold for class `journey-drawing` alone.
    """
    tallies = _tallies(traffic) if traffic is not None else ()
    plan = arranged(journey, counted=traffic is not None, tallies=tallies)
    counts = _Counts(journey, traffic) if traffic is not None else None
    return _Drawing(journey, plan, counts, theme).document()


# ---- counts ---------------------------------------------------------------------------------------------------------

_ENDED: Final = ("completed", "goal", "exited", "holdout", "failed")
_ENDED_WORDS: Final = {"goal": "reached the goal", "holdout": "held out"}


def _tallies(traffic: Traffic) -> tuple[tuple[str, str], ...]:
    """How many came, where they are, how they ended."""
    inside = sum(traffic.inside.values())
    found = [(f"{traffic.entered:,}", "entered"), (f"{inside:,}", "inside now")]
    names = [*_ENDED, *sorted(set(traffic.ended) - set(_ENDED))]
    for name in names:
        if count := traffic.ended.get(name, 0):
            could = traffic.entered - (traffic.held_out if name == "goal" else 0)
            share = f" · {count / could:.0%}" if could else ""
            found.append((f"{count:,}", _ENDED_WORDS.get(name, name.replace("_", " ")) + share))
    found.append((f"{sum(traffic.sent.values()):,}", "messages sent"))
    return tuple(found)


class _Counts:
    """Traffic by what stands in the picture."""

    def __init__(self, journey: Journey, traffic: Traffic) -> None:
        self.traffic = traffic
        self.after: dict[str, int] = {}
        self._follow(journey.steps)
        self.most = max(traffic.entered, *traffic.steps.values(), 1) if traffic.steps else max(traffic.entered, 1)

    def _follow(self, steps: Iterable[Step]) -> int:
        """How many leave the last of these steps by its end: known of ways, else who came and is not there still."""
        count = 0
        for step in steps:
            ways = caption.ways(step)
            count = self.traffic.steps.get(step.id, 0) - self.traffic.inside.get(step.id, 0)
            if ways:
                count = sum(self._way(step, way) for way, _ in ways)
            count -= sum(self.traffic.ways.get((step.id, "goto"), 0) for _ in step.jumps())
            self.after[step.id] = count = 0 if step.ends else max(count, 0)
        return count

    def _way(self, step: Step, way: str) -> int:
        body = step.bodies().get(way, ())
        came = self.traffic.ways.get((step.id, way), 0)
        return min(came, self._follow(body)) if body else came

    def of(self, key: Key) -> int:
        """How many there are of what a key names."""
        match key:
            case ("entered",):
                return self.traffic.entered
            case ("ended", why):
                return self.traffic.ended.get(why, 0)
            case ("step", step):
                return self.traffic.steps.get(step, 0)
            case ("way", step, way):
                return self.traffic.ways.get((step, way), 0)
            case ("sent", step):
                return self.traffic.sent.get(step, 0)
            case ("after", step):
                return self.after.get(step, 0)
        return 0


# ---- the document ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Drawing:
    journey: Journey
    plan: Plan
    counts: _Counts | None
    theme: Theme
    out: list[str] = field(default_factory=list)

    def document(self) -> str:
        wide, high = _n(self.plan.width), _n(self.plan.height)
        room = "" if self.theme == "auto" else ' style="max-width:100%;height:auto"'
        name = "d" + digest(f"{self.journey.name} {self.journey.version} {self.theme}")[:10]
        self.out.append(
            f'<svg xmlns="http://www.w3.org/2000/svg" class="journey-drawing {self.theme}" width="{wide}" '
            f'height="{high}" viewBox="0 0 {wide} {high}" role="img" aria-labelledby="{name}-t {name}-d" '
            f'font-family="{FONT}" font-size="{SMALL:g}"{room}>'
        )
        self.out.append(f'<title id="{name}-t">{_text("Journey " + self.journey.name)}</title>')
        self.out.append(f'<desc id="{name}-d">{_text(self.told())}</desc>')
        if self.theme == "auto":
            self.out.append(f"<style>{STYLE}</style>")
        self.out.append(f'<rect {self.paint(fill="page")} width="{wide}" height="{high}" rx="12"/>')
        self.heading()
        for box in (b for b in self.plan.boxes if b.kind == "panel"):
            self.panel(box)
        order = {"held": 0, "flow": 1, "jump": 2}
        lines = sorted(self.plan.lines, key=lambda line: (order[line.kind], self.weight(line)))
        for line in lines:
            self.line(line)
        for box in self.plan.boxes:
            self.box(box)
        for line in lines:
            self.label(line)
        self.out.append("</svg>\n")
        return "".join(self.out)

    def told(self) -> str:
        """The picture in a few sentences, for who does not see it."""
        begins = "; ".join(" ".join((c.title, *c.details)) for c in map(caption.trigger, self.journey.triggers))
        names = [caption.of(s) for s in self.journey.every_step()]
        steps = ", ".join(c.title for c in names if c.title)
        ends = "; ".join(" ".join((*c.details, c.title)) for c in caption.endings(self.journey))
        parts = [
            f"Begins: {begins}." if begins else "",
            f"Steps: {steps}.",
            f"Ends at any time: {ends}." if ends else "",
        ]
        if self.counts is not None:
            parts.append(", ".join(f"{number} {word}" for number, word in _tallies(self.counts.traffic)) + ".")
        return " ".join(part for part in parts if part)

    def paint(self, fill: str = "", stroke: str = "", width: float = 0.0) -> str:
        """Colours by name: as attributes, which every program that opens SVG understands, and as classes, so that a
        style may change them."""
        at = 1 if self.theme == "dark" else 0
        names = [f"f-{fill}" if fill else "", f"s-{stroke}" if stroke else ""]
        found = [f'class="{" ".join(n for n in names if n)}"'] if self.theme == "auto" else []
        found.append(f'fill="{COLOURS[fill][at] if fill else "none"}"')
        if stroke:
            found.append(f'stroke="{COLOURS[stroke][at]}"')
        if width:
            found.append(f'stroke-width="{width:.4g}"')
        return " ".join(found)

    def text(self, x: float, y: float, text: str, *, size: float = SMALL, fill: str = "ink", bold: bool = False,
             anchor: str = "", extra: str = "") -> None:  # fmt: skip
        weight = ' font-weight="600"' if bold else ""
        at = f' text-anchor="{anchor}"' if anchor else ""
        sized = f' font-size="{size:g}"' if size != SMALL else ""
        self.out.append(
            f'<text x="{_n(x)}" y="{_n(y)}" {self.paint(fill=fill)}{sized}{weight}{at}{extra}>{_text(text)}</text>'
        )

    def icon(self, name: str, x: float, y: float, size: float, stroke: str) -> None:
        """Its middle at (x, y)."""
        scale = size / 20
        self.out.append(
            f'<path transform="translate({_n(x - size / 2)} {_n(y - size / 2)}) scale({scale:.4g})" d="{_ICONS[name]}" '
            f'{self.paint(stroke=stroke, width=1.6)} stroke-linecap="round" stroke-linejoin="round"/>'
        )

    # ---- heading and lines ------------------------------------------------------------------------------------------

    def heading(self) -> None:
        y = MARGIN + 20
        for line in self.plan.title:
            self.text(MARGIN, y, line, size=24, bold=True)
            y += 30
        y -= 6
        for line in self.plan.facts:
            self.text(MARGIN, y, line, size=SMALL + 1, fill="soft")
            y += 19

    def weight(self, line: Line) -> float:
        """How thick a line is: by its share of all runs."""
        if self.counts is None:
            return 1.8
        return 1.4 + 6.6 * min(self.counts.of(line.count) / self.counts.most, 1)

    def line(self, line: Line) -> None:
        thick = self.weight(line) if line.kind != "jump" or self.counts is not None else 1.6
        colour = {"flow": "flow", "jump": "jump", "held": "held"}[line.kind]
        idle = self.counts is not None and not self.counts.of(line.count)
        dashed = ' stroke-dasharray="5 5"' if line.kind == "jump" or idle else ""
        points = _spare(line.points)
        if line.arrow:
            head = 6 + thick * 0.7
            points = (*points[:-1], _towards(points[-1], points[-2], head * 0.8))
        self.out.append(
            f'<path d="{_rounded(points)}" {self.paint(stroke=colour, width=thick)}{dashed} stroke-linejoin="round"/>'
        )
        if line.arrow:
            self.out.append(f'<path d="{_head(line.points[-1], line.points[-2], head)}" {self.paint(fill=colour)}/>')

    def label(self, line: Line) -> None:
        if self.counts is None or line.label is None:
            return
        x, y = line.label
        self.text(x + self.weight(line) / 2, y, f"{self.counts.of(line.count):,}", fill="soft", bold=True)

    # ---- boxes ------------------------------------------------------------------------------------------------------

    def box(self, box: Box) -> None:
        draw = {
            "card": self.card, "list": self.listed, "pill": self.pill, "node": self.node, "chip": self.chip,
            "leave": self.leave, "end": self.end, "held": self.card, "ending": self.card, "tile": self.tile,
        }.get(box.kind)  # fmt: skip
        if draw is None:
            return
        names = f" data-step={quoteattr(_clean(box.step))}" if box.step else ""
        names += f" data-way={quoteattr(_clean(box.way))}" if box.way else ""
        self.out.append(f'<g class="{box.kind}"{names}>')
        told = [box.caption.title, *box.caption.details, f"{box.step}, line {box.line}" if box.step else ""]
        self.out.append(f"<title>{_text(' · '.join(part for part in told if part))}</title>")
        draw(box)
        self.inside(box)
        self.out.append("</g>")

    def rect(self, box: Box, radius: float, paint: str, extra: str = "") -> None:
        self.out.append(
            f'<rect x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.w)}" height="{_n(box.h)}" rx="{radius:g}" '
            f"{paint}{extra}/>"
        )

    def card(self, box: Box) -> None:
        tone = box.caption.tone
        dashed = ' stroke-dasharray="5 4"' if box.kind == "held" else ""
        self.rect(box, 12, self.paint(fill="card", stroke="line", width=1.2), dashed)
        self.tile_icon(box.x + PAD, box.y + PAD, TILE, box.caption.icon, tone)
        x, y = box.x + PAD + TILE + 10, box.y + PAD
        lines = len(box.title) * BIG_LINE + len(box.details) * SMALL_LINE
        y += max(0.0, (TILE - lines) / 2) + 13
        for line in box.title:
            self.text(x, y, line, size=BIG, bold=True)
            y += BIG_LINE
        y -= 1
        for line in box.details:
            if line:
                self.text(x, y, line, fill="soft")
                y += SMALL_LINE
        for way, label in box.ways:
            said = label + (f": {self.counts.of(('way', box.step, way)):,}" if self.counts else "")
            self.text(x, y, said, fill="soft", extra=f" data-way={quoteattr(_clean(way))}")
            y += SMALL_LINE
        if self.counts is None or not box.count:
            return
        number = self.counts.of(box.count)
        if box.kind == "held":
            self.text(x, y, f"{number:,} run{'' if number == 1 else 's'}", bold=True)
        elif box.count[0] == "sent":
            self.text(x, box.y + box.h - PAD, f"{number:,} sent", fill=f"{tone}-deep", bold=True)

    def tile_icon(self, x: float, y: float, size: float, icon: str, tone: str) -> None:
        self.out.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{size:g}" height="{size:g}" rx="{size / 4:g}" '
            f"{self.paint(fill=f'{tone}-soft')}/>"
        )
        self.icon(icon, x + size / 2, y + size / 2, size * 0.56, f"{tone}-deep")

    def listed(self, box: Box) -> None:
        self.rect(box, 12, self.paint(fill="card", stroke="line", width=1.2))
        x, y = box.x + PAD, box.y + PAD
        self.icon(box.caption.icon, x + 9, y + 8, 18, "soft")
        for line in box.title:
            self.text(x + 26, y + 13, line, size=BIG, bold=True)
        for line in box.details:
            self.text(x + 26, y + 13 + SMALL_LINE, line, fill="soft")
        y += BIG_LINE + SMALL_LINE + PAD - 2
        for number, row in enumerate(box.rows):
            tone = row.caption.tone
            self.out.append(f"<g data-step={quoteattr(_clean(row.step))}>")
            told = " · ".join((row.caption.title, *row.caption.details, row.step))
            self.out.append(f"<title>{_text(told)}</title>")
            if number:
                self.out.append(
                    f'<path d="M{_n(x + 34)} {_n(y)}H{_n(box.x + box.w - PAD)}" {self.paint(stroke="line", width=1)}/>'
                )
            self.tile_icon(x, y + (ROW - 26) / 2, 26, row.caption.icon, tone)
            self.text(x + 36, y + ROW / 2 + 4.5, row.title, size=SMALL + 1)
            if self.counts is not None:
                sent = f"{self.counts.of(('sent', row.step)):,}"
                self.text(box.x + box.w - PAD, y + ROW / 2 + 4.5, sent, fill=f"{tone}-deep", bold=True, anchor="end")
            self.out.append("</g>")
            y += ROW

    def pill(self, box: Box) -> None:
        back = box.caption.icon == "back"
        stroke = "jump" if back else "line"
        self.rect(box, box.h / 2, self.paint(fill="card" if back else "wait-soft", stroke=stroke, width=1.2))
        self.icon(box.caption.icon, box.x + 20, box.y + box.h / 2, 17, "jump" if back else "wait-deep")
        self.text(box.x + 34, box.y + box.h / 2 + 4.5, box.title[0], size=SMALL + 1, fill="jump" if back else "ink")

    def node(self, box: Box) -> None:
        x, y, half = box.x + box.w / 2, box.y + box.h / 2, box.w / 2
        self.out.append(
            f'<path d="M{_n(x)} {_n(y - half)}L{_n(x + half)} {_n(y)}L{_n(x)} {_n(y + half)}L{_n(x - half)} {_n(y)}z" '
            f'{self.paint(fill="card", stroke="flow", width=1.6)} stroke-linejoin="round"/>'
        )
        self.icon(box.caption.icon, x, y, 17, "flow-deep")

    def chip(self, box: Box) -> None:
        self.rect(box, 9, self.paint(fill="flow-soft", stroke="line", width=1))
        x, y = box.x + box.w / 2, box.y + 5 + 11.5
        for line in box.title:
            self.text(x, y, line, anchor="middle")
            y += SMALL_LINE
        if self.counts is not None:
            count = self.counts.of(box.count)
            whole = sum(n for (step, way), n in self.counts.traffic.ways.items() if step == box.step)
            share = f" · {count / whole:.0%}" if whole else ""
            self.text(x, y + 1, f"{count:,}{share}", anchor="middle", bold=True)

    def leave(self, box: Box) -> None:
        self.rect(
            box, box.h / 2 if len(box.title) == 1 else 14, self.paint(fill="exit-soft", stroke="exit-deep", width=1)
        )
        self.icon(box.caption.icon, box.x + 20, box.y + box.h / 2, 16, "exit-deep")
        y = box.y + box.h / 2 + 4.5 - (len(box.title) - 1) * 8.5
        for line in box.title:
            self.text(box.x + 34, y, line, size=SMALL + 1)
            y += 17

    def end(self, box: Box) -> None:
        self.rect(box, box.h / 2, self.paint(fill="goal-soft", stroke="goal-deep", width=1))
        self.icon(box.caption.icon, box.x + 20, box.y + box.h / 2, 16, "goal-deep")
        said = box.title[0] + (f" · {self.counts.of(box.count):,}" if self.counts is not None else "")
        self.text(box.x + 34, box.y + box.h / 2 + 4.5, said, size=SMALL + 1, bold=True)

    def panel(self, box: Box) -> None:
        self.rect(box, 14, self.paint(stroke="line", width=1.4), ' stroke-dasharray="2 5" stroke-linecap="round"')
        self.text(box.x + 16, box.y + 23, box.caption.title, fill="soft", bold=True)

    def tile(self, box: Box) -> None:
        self.rect(box, 10, self.paint(fill="card", stroke="line", width=1))
        self.text(box.x + 14, box.y + 25, box.title[0], size=18, bold=True)
        for line in box.details:
            self.text(box.x + 14, box.y + 42, line, size=TINY, fill="soft")

    def inside(self, box: Box) -> None:
        """A badge on its upper edge, or beside a pill: who stands there now."""
        count = self.counts.traffic.inside.get(box.step, 0) if self.counts is not None and not box.way else 0
        if not box.step or not count or box.kind == "leave":
            return
        said = f"{count:,} here"
        wide = caption.width(said, TINY, bold=True) + 16
        x, y = box.x + box.w - wide + 10, box.y - 10
        if box.kind == "pill":
            x, y = box.x + box.w + 6, box.y + box.h / 2 - 9.5
        self.out.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(wide)}" height="19" rx="9.5" {self.paint(fill="begin-deep")}/>'
        )
        self.text(x + wide / 2, y + 13.5, said, size=TINY, fill="on", bold=True, anchor="middle")


# ---- geometry -------------------------------------------------------------------------------------------------------


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _spare(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Without points that a straight line passes anyway."""
    kept: list[tuple[float, float]] = []
    for point in points:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == point[0] or kept[-2][1] == kept[-1][1] == point[1]):
            kept.pop()
        kept.append(point)
    return tuple(kept)


def _towards(point: tuple[float, float], other: tuple[float, float], by: float) -> tuple[float, float]:
    """From a point a little way to another, on the same horizontal or vertical."""
    (x, y), (ox, oy) = point, other
    if x == ox:
        return x, y + (by if oy > y else -by)
    return x + (by if ox > x else -by), y


def _rounded(points: Sequence[tuple[float, float]], most: float = 12) -> str:
    """A path of these legs with round corners."""
    found = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        legs = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in ((before, here), (here, after))]
        radius = min(most, *(leg / 2 for leg in legs))
        begin, end = _towards(here, before, radius), _towards(here, after, radius)
        found.append(f"L{_n(begin[0])} {_n(begin[1])}Q{_n(here[0])} {_n(here[1])} {_n(end[0])} {_n(end[1])}")
    found.append(f"L{_n(points[-1][0])} {_n(points[-1][1])}")
    return "".join(found)


def _head(tip: tuple[float, float], before: tuple[float, float], size: float) -> str:
    (x, y), half = tip, size * 0.55
    bx, by = _towards(tip, before, size)
    if bx == x:
        return f"M{_n(x)} {_n(y)}L{_n(x - half)} {_n(by)}H{_n(x + half)}z"
    return f"M{_n(x)} {_n(y)}L{_n(bx)} {_n(y - half)}V{_n(y + half)}z"


# ---- text and style -------------------------------------------------------------------------------------------------

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    """Without what XML has no way to say."""
    return _NO_XML.sub("\ufffd", text)


def _text(text: str) -> str:
    return escape(_clean(text))


def _style() -> str:
    light = "".join(f"--{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in COLOURS.items())
    own = ".journey-drawing.auto"
    rules = "".join(f"{own} .f-{n}{{fill:var(--{n})}}{own} .s-{n}{{stroke:var(--{n})}}" for n in COLOURS)
    # No wider than a window that it is opened in; a page that holds it says otherwise, and is stronger.
    room = f":where({own}){{max-width:100%;height:auto}}"
    return f"{room}{own}{{{light}}}@media screen and (prefers-color-scheme:dark){{{own}{{{dark}}}}}{rules}"


STYLE: Final = _style()
"""Of a drawing that follows the reader's light or dark setting."""
