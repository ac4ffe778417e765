"""Of a drawing: where each card stands and which way each line goes. A journey is a tree of bodies whose ways join.

A block stands on an axis: x = 0 is where the flow comes in at its top and leaves at its bottom. Every body is a pile of
blocks, every fork a row of bodies, so that sizes add up and no card can stand on another. A `goto` runs in lanes of
its own: to the right of its column, above the ways of each fork it leaves, to the right of the steps it passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator import caption
from orchestrator.caption import Caption, width, wrapped
from orchestrator.journey import Journey
from orchestrator.steps import Step

CARD: Final = 244.0
PAD: Final = 12.0
TILE: Final = 36.0
BIG, SMALL, TINY = 14.0, 12.0, 11.0
BIG_LINE, SMALL_LINE = 18.0, 16.0
GAP: Final = 30.0
COLUMN_GAP: Final = 26.0
LANE: Final = 14.0
MARGIN: Final = 36.0
ROW: Final = 34.0
FOOT: Final = 24.0
BADGE: Final = 84.0
"""Room beside a pill for how many wait there."""
_CHIP: Final = 220.0
_LEAST: Final = 560.0

Point = tuple[float, float]
Key = tuple[str, ...]
"""What is counted on a line or a way: ("step", id), ("way", id, way), ("after", id), ("entered",), ("held",), …"""


@dataclass(frozen=True, slots=True)
class Row:
    """One send within a `first_of`."""

    step: str
    caption: Caption
    title: str


@dataclass(frozen=True, slots=True)
class Box:
    """What is drawn as one thing. `kind`: card, list, pill, node, chip, leave (an exit), end, held, ending, tile,
    panel.

    `x`, `y`: its upper left corner. `title`, `details`: lines that fit. `count`: what a badge or a line in it counts.
    """

    kind: str
    x: float
    y: float
    w: float
    h: float
    caption: Caption
    title: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    step: str = ""
    way: str = ""
    line: int = 0
    rows: tuple[Row, ...] = ()
    ways: tuple[tuple[str, str], ...] = ()
    count: Key = ()


@dataclass(frozen=True, slots=True)
class Line:
    """An edge through these points, each leg horizontal or vertical. `kind`: flow, jump, held. `label`: where its count
    stands, if it has one."""

    points: tuple[Point, ...]
    count: Key
    kind: str = "flow"
    arrow: bool = True
    label: Point | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """The end of a jump that leaves a block at its right side: from a `goto` (`source`), or to the step it names."""

    jump: str
    source: bool
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """`left`, `right`: how far it reaches from its axis, both positive. `passes`: whether the flow leaves at its
    bottom, counted as `tail`."""

    left: float = 0.0
    right: float = 0.0
    height: float = 0.0
    boxes: tuple[Box, ...] = ()
    lines: tuple[Line, ...] = ()
    threads: tuple[Thread, ...] = ()
    passes: bool = True
    tail: Key = ()

    def moved(self, dx: float, dy: float) -> Block:
        if not dx and not dy:
            return self
        return replace(
            self,
            boxes=tuple(replace(b, x=b.x + dx, y=b.y + dy) for b in self.boxes),
            lines=tuple(
                replace(line, points=_moved(line.points, dx, dy), label=line.label and _moved((line.label,), dx, dy)[0])
                for line in self.lines
            ),
            threads=tuple(replace(t, points=_moved(t.points, dx, dy)) for t in self.threads),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole picture. `title`, `facts`: the heading's lines, above `top`."""

    width: float
    height: float
    title: tuple[str, ...]
    facts: tuple[str, ...]
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def arrange(journey: Journey, *, counted: bool = False, tallies: Sequence[tuple[str, str]] = ()) -> Plan:
    """Where everything of a journey stands. `counted`: with room for counts; `tallies`: (number, word) to list at the
    foot."""
    return _Arranging(journey, counted).plan(tallies)


def _moved(points: Iterable[Point], dx: float, dy: float) -> tuple[Point, ...]:
    return tuple((x + dx, y + dy) for x, y in points)


@dataclass(slots=True)
class _Arranging:
    journey: Journey
    counted: bool
    gap: float = GAP
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gap = GAP + 6 if self.counted else GAP
        found: dict[str, tuple[str, ...]] = {}
        for step in self.journey.every_step():
            for target in step.jumps():
                found[target] = (*found.get(target, ()), step.id)
        self.targets = found

    # ---- steps ------------------------------------------------------------------------------------------------------

    def block(self, step: Step) -> Block:
        """One step with all that is nested in it."""
        told = caption.of(step)
        bodies = step.bodies()
        if step.parts():
            made = self.listed(step, told)
        elif bodies and any(bodies.values()):
            return self.fork(step, self.anchored(step, self.head(step, told)), bodies)
        elif bodies:
            made = self.card(step, told, caption.ways(step))
        elif step.keyword == "goto" or told.tone == "wait":
            made = self.pill(step, told)
        elif step.ends:
            made = self.leave(step, told)
        else:
            made = self.card(step, told)
        return self.anchored(step, made)

    def anchored(self, step: Step, made: Block) -> Block:
        """With the ends of jumps to this step, and of its own."""
        box = made.boxes[0]
        side = (box.x + box.w, box.y + box.h / 2)
        threads = [Thread(source, False, (side,)) for source in self.targets.get(step.id, ())]
        threads += [Thread(step.id, True, (side,)) for target in step.jumps() if self.journey.has(target)]
        return replace(made, threads=tuple(threads), tail=("after", step.id), passes=not step.ends)

    def card(self, step: Step, told: Caption, ways: tuple[tuple[str, str], ...] = ()) -> Block:
        room = CARD - 2 * PAD - TILE - 10
        title = wrapped(told.title, BIG, room, 3 if told.tone == "task" else 2, bold=True)
        details = [line for detail in told.details for line in wrapped(detail, SMALL, room, 2)]
        details += ["" for _ in ways]
        high = len(title) * BIG_LINE + len(details) * SMALL_LINE + 2 * PAD
        if self.counted and step.sends():
            high += FOOT
        high = max(high, TILE + 2 * PAD)
        count = ("sent", step.id) if step.sends() else ()
        box = Box("card", -CARD / 2, 0, CARD, high, told, title, tuple(details), step.id, count=count, ways=ways)
        box = replace(box, line=step.span.line)
        return Block(CARD / 2, CARD / 2, high, (box,))

    def listed(self, step: Step, told: Caption) -> Block:
        """The sends of a `first_of`, a row each."""
        room = CARD - 2 * PAD - 26 - (52 if self.counted else 0)
        rows = []
        for part in step.parts():
            said = caption.of(part)
            rows.append(Row(part.id, said, next(iter(wrapped(said.title, SMALL + 1, room, 1)), "")))
        head = 2 * PAD + BIG_LINE + SMALL_LINE
        high = head + len(rows) * ROW + 4
        details = tuple(line for detail in told.details for line in wrapped(detail, SMALL, CARD - 2 * PAD, 1))
        title = wrapped(told.title, BIG, CARD - 2 * PAD - 28, 1, bold=True)
        box = Box(
            "list", -CARD / 2, 0, CARD, high, told, title, details, step.id, line=step.span.line, rows=tuple(rows)
        )
        return Block(CARD / 2, CARD / 2, high, (box,))

    def pill(self, step: Step, told: Caption) -> Block:
        title = wrapped(told.title, SMALL + 1, CARD + 40, 1)
        wide = width(title[0], SMALL + 1) + 50
        box = Box("pill", -wide / 2, 0, wide, 32, told, title, (), step.id, line=step.span.line)
        return Block(wide / 2, wide / 2 + (BADGE if self.counted else 0), 32, (box,))

    def leave(self, step: Step, told: Caption) -> Block:
        title = wrapped(told.title, SMALL + 1, CARD - 50, 2)
        wide = max(width(line, SMALL + 1) for line in title) + 52
        high = 18.0 + len(title) * 17
        box = Box(
            "leave", -wide / 2, 0, wide, high, told, title, (), step.id, line=step.span.line, count=("step", step.id)
        )
        return Block(wide / 2, wide / 2, high, (box,))

    def head(self, step: Step, told: Caption) -> Block:
        """What a fork is opened by: a card where it has something to say, else a node."""
        if told.tone == "wait" or told.details:
            return self.card(step, told)
        box = Box("node", -20, 0, 40, 40, told, (), (), step.id, line=step.span.line)
        return Block(20, 20, 40, (box,))

    # ---- ways -------------------------------------------------------------------------------------------------------

    def fork(self, step: Step, head: Block, bodies: Mapping[str, tuple[Step, ...]]) -> Block:
        """Ways side by side, each with its label; those that do not end meet again."""
        columns = [self.column(step, way, label, bodies.get(way, ())) for way, label in caption.ways(step)]
        tallest = max(chip.h for chip, _ in columns)
        lanes = 0
        placed: list[tuple[Box, Block]] = []
        for number, (chip, body) in enumerate(columns):
            out = len(body.threads) if number < len(columns) - 1 else 0
            wide = max(chip.w / 2, body.left), max(chip.w / 2, body.right) + LANE * out
            placed.append((chip, replace(body, left=wide[0], right=wide[1])))
            lanes += out
        axes, x = [], 0.0
        for _, body in placed:
            axes.append(x + body.left)
            x += body.left + body.right + COLUMN_GAP
        middle = _middle(axes, x - COLUMN_GAP)
        axes = [a - middle for a in axes]
        left, right = placed[0][1].left - axes[0], placed[-1][1].right + axes[-1]
        bus = head.height + 16
        top = bus + 18 + lanes * LANE
        under = top + tallest
        made = _Fork(head, max(left, head.left), max(right, head.right), bus, top, under)
        for axis, (chip, body) in zip(axes, placed, strict=True):
            made.way(axis, chip, body, self.gap, last=axis == axes[-1])
        return made.closed(("after", step.id))

    def column(self, step: Step, way: str, label: str, body: tuple[Step, ...]) -> tuple[Box, Block]:
        lines = caption.balanced(label, SMALL, _CHIP - 20, 3)
        wide = max(44.0, *(width(line, SMALL) + 22 for line in lines), 92.0 if self.counted else 0.0)
        high = 10 + len(lines) * SMALL_LINE + (SMALL_LINE + 2 if self.counted else 0)
        told = Caption("", "flow", label)
        chip = Box("chip", 0, 0, wide, high, told, lines, (), step.id, way, step.span.line, count=("way", step.id, way))
        return chip, replace(self.body(body), tail=("after", body[-1].id) if body else ("way", step.id, way))

    def body(self, steps: Sequence[Step]) -> Block:
        """Steps one under another, and the jumps among them."""
        made = Block()
        boxes: list[Box] = []
        lines: list[Line] = []
        threads: list[Thread] = []
        y = 0.0
        for number, step in enumerate(steps):
            block = self.block(step)
            if number:
                if made.passes:
                    lines.append(self.between(y, y + self.gap, step))
                y += self.gap
            moved = block.moved(0, y)
            boxes += moved.boxes
            lines += moved.lines
            threads += moved.threads
            y += block.height
            made = replace(made, left=max(made.left, block.left), right=max(made.right, block.right),
                           passes=block.passes, tail=block.tail)  # fmt: skip
        open_threads, jumps, right = _joined(threads, made.right)
        return replace(made, right=right, height=y, boxes=tuple(boxes), lines=(*lines, *jumps), threads=open_threads)

    def between(self, y: float, under: float, step: Step) -> Line:
        label = (8.0, (y + under) / 2 - 1) if self.counted else None
        return Line(((0, y), (0, under)), ("step", step.id), label=label)

    # ---- the whole --------------------------------------------------------------------------------------------------

    def plan(self, tallies: Sequence[tuple[str, str]]) -> Plan:
        top = self.beginning()
        steps = self.body(self.journey.steps)
        boxes = [*top.boxes]
        lines = [*top.lines]
        y = top.height
        if self.journey.steps:
            lines.append(self.between(y, y + self.gap, self.journey.steps[0]))
            y += self.gap
        moved = steps.moved(0, y)
        boxes += moved.boxes
        lines += moved.lines
        y += steps.height
        if steps.passes:
            told = Caption("check", "goal", "Completed")
            wide = width("Completed", SMALL + 1) + (110 if self.counted else 54)
            lines.append(Line(((0, y), (0, y + self.gap)), steps.tail))
            y += self.gap
            boxes.append(Box("end", -wide / 2, y, wide, 34, told, ("Completed",), count=("ended", "completed")))
            y += 34
        return self.framed(boxes, lines, max(top.left, steps.left), max(top.right, steps.right), y, tallies)

    def beginning(self) -> Block:
        """Triggers side by side, the audience under them, who is held out beside it."""
        cards = [self.told_card("card", caption.trigger(t)) for t in self.journey.triggers]
        boxes: list[Box] = []
        lines: list[Line] = []
        whole = len(cards) * CARD + (len(cards) - 1) * COLUMN_GAP if cards else 0
        tallest = max((c.h for c in cards), default=0)
        bus = tallest + self.gap / 2
        gate = self.journey.audience is not None or self.journey.holdout > 0
        under = tallest + self.gap + (6 if len(cards) > 1 else 0)
        y = under if gate else bus + 10 if len(cards) > 1 else tallest
        for number, card in enumerate(cards):
            x = -whole / 2 + number * (CARD + COLUMN_GAP)
            boxes.append(replace(card, x=x))
            axis = x + CARD / 2
            bent = ((axis, card.h), (axis, bus), (0.0, bus), (0.0, y))
            if gate or len(cards) > 1:
                lines.append(Line(bent if axis else (bent[0], bent[-1]), ("entered",), arrow=gate))
        right = whole / 2
        if gate:
            meant = self.journey.audience
            said = caption.condition(meant) if meant is not None else "Everybody it is triggered for"
            card = self.told_card("card", Caption("funnel", "begin", "Audience", (said,)), wide=CARD + 76, most=5)
            boxes.append(replace(card, y=y, count=("entered",)))
            y += card.h
            right = max(right, card.w / 2)
            if self.journey.holdout:
                share = f"{self.journey.holdout * 100:.4g} % held out"
                held = self.told_card("held", Caption("held", "exit", share, ("Sent nothing, to compare",)), wide=190)
                at = y - card.h / 2
                boxes.append(replace(held, x=card.w / 2 + 44, y=at - held.h / 2, count=("ended", "holdout")))
                lines.append(Line(((card.w / 2, at), (card.w / 2 + 44, at)), ("ended", "holdout"), "held"))
                right = max(right, card.w / 2 + 44 + held.w)
        return Block(max(0.0, *(-box.x for box in boxes)) if boxes else 0.0, right, y, tuple(boxes), tuple(lines))

    def told_card(self, kind: str, told: Caption, wide: float = CARD, most: int = 3) -> Box:
        """A card of no step."""
        room = wide - 2 * PAD - TILE - 10
        title = wrapped(told.title, BIG, room, 3, bold=True)
        details = tuple(line for detail in told.details for line in wrapped(detail, SMALL, room, most))
        high = max(len(title) * BIG_LINE + len(details) * SMALL_LINE + 2 * PAD, TILE + 2 * PAD)
        if self.counted and kind == "held":
            high += SMALL_LINE
        return Box(kind, -wide / 2, 0, wide, high, told, title, details)

    def framed(
        self, boxes: list[Box], lines: list[Line], left: float, right: float, height: float,
        tallies: Sequence[tuple[str, str]],
    ) -> Plan:  # fmt: skip
        """Moved into view, with a heading above and what ends a run below."""
        title = wrapped(caption.named(self.journey.name), 24, max(left + right, _LEAST), 2, bold=True)
        whole = max(left + right, _LEAST, *(width(line, 24, bold=True) for line in title))
        told = wrapped(caption.facts(self.journey), SMALL + 1, whole, 3)
        top = MARGIN + len(title) * 30 + len(told) * 19 + 24
        dx = MARGIN + left + max(0.0, (whole - left - right) / 2)
        body = Block(boxes=tuple(boxes), lines=tuple(lines)).moved(dx, top)
        foot, y = self.foot(whole, top + height + 34, tallies)
        return Plan(whole + 2 * MARGIN, y + MARGIN, title, told, (*body.boxes, *foot), body.lines)

    def foot(self, whole: float, y: float, tallies: Sequence[tuple[str, str]]) -> tuple[list[Box], float]:
        """What ends a run wherever it stands, and how runs ended."""
        boxes: list[Box] = []
        ends = [self.told_card("ending", told) for told in caption.endings(self.journey)]
        if ends:
            boxes.append(Box("panel", MARGIN, y, whole, 0, Caption("", "flow", "At any time")))
            y, panel = self.in_rows(ends, whole - 32, MARGIN + 16, y + 34, 14, boxes) + 16, boxes.index(boxes[0])
            boxes[panel] = replace(boxes[panel], h=y - boxes[panel].y)
            y += 20
        tiles = []
        for number, word in tallies:
            wide = max(width(number, 18, bold=True), width(word, TINY)) + 28
            tiles.append(Box("tile", 0, 0, wide, 54, Caption("", "flow", word), (number,), (word,)))
        if tiles:
            y = self.in_rows(tiles, whole, MARGIN, y, 12, boxes) + 20
        return boxes, y - 20 if ends or tiles else y - 34

    @staticmethod
    def in_rows(cards: Sequence[Box], room: float, left: float, y: float, gap: float, boxes: list[Box]) -> float:
        """Put down one beside another, as many as fit; returns where the last row ends."""
        x, tall = left, 0.0
        for card in cards:
            if x > left and x + card.w > left + room:
                x, y, tall = left, y + tall + gap, 0.0
            boxes.append(replace(card, x=x, y=y))
            x += card.w + gap
            tall = max(tall, card.h)
        return y + tall


@dataclass(slots=True)
class _Fork:
    """A fork as its ways are put down. `ends`: where a way that passes leaves its steps, and its count."""

    head: Block
    left: float
    right: float
    bus: float
    top: float
    under: float
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    ends: list[tuple[float, float, Key]] = field(default_factory=list)
    bottom: float = 0.0
    lane: int = 0

    def way(self, axis: float, chip: Box, body: Block, gap: float, *, last: bool) -> None:
        """One way: its line, its label, its steps."""
        self.lines.append(Line(_bent(axis, self.head.height, self.bus, self.top), chip.count, arrow=False))
        self.boxes.append(replace(chip, x=axis - chip.w / 2, y=self.top))
        end = self.top + chip.h
        if body.boxes:
            y = self.under + gap - 8
            self.lines.append(Line(((axis, end), (axis, y)), chip.count))
            moved = body.moved(axis, y)
            self.boxes += moved.boxes
            self.lines += moved.lines
            self.threads += self.led_out(moved.threads, axis + body.right, last)
            end = y + body.height
        if body.passes:
            self.ends.append((axis, end, body.tail))
        self.bottom = max(self.bottom, self.under, end)

    def led_out(self, threads: Sequence[Thread], edge: float, last: bool) -> list[Thread]:
        """Jumps out of a way, or into it: beside its steps, then above all ways to the right."""
        found = []
        for number, thread in enumerate(threads):
            y = thread.points[-1][1]
            more: tuple[Point, ...] = ((self.right, y),)
            if not last:
                x = edge - LANE * (len(threads) - number) + LANE / 2
                lane = self.bus + 12 + self.lane * LANE
                self.lane += 1
                more = ((x, y), (x, lane), (self.right, lane))
            found.append(replace(thread, points=(*thread.points, *more)))
        return found

    def closed(self, tail: Key) -> Block:
        """Where its ways have met again."""
        join, end = self.bottom + 18, self.bottom + (34 if self.ends else 0)
        for axis, start, count in self.ends:
            self.lines.append(Line(_bent_back(axis, start, join, end), count, arrow=False))
        stem = Line(((0, self.head.height), (0, self.bus - 4)), ("step", tail[1]), arrow=False)
        trunk = [Line(((0, join + 8), (0, end)), tail, arrow=False)] if self.ends else []
        self.lines += [stem, *trunk]
        return Block(
            self.left, self.right, end, (*self.head.boxes, *self.boxes), (*self.head.lines, *self.lines),
            (*self.head.threads, *self.threads), bool(self.ends), tail,
        )  # fmt: skip


def _middle(axes: Sequence[float], whole: float) -> float:
    """Where a fork of these ways stands: in the middle of all, or straight above a way that is nearly there."""
    nearest = min(axes, key=lambda axis: abs(axis - whole / 2))
    far = abs(nearest - whole / 2)
    if far < (CARD / 2 if len(axes) % 2 else 40):
        return nearest
    return min(max(whole / 2, axes[0]), axes[-1])


def _bent(axis: float, start: float, bus: float, end: float) -> tuple[Point, ...]:
    return ((0, start), (0, bus), (axis, bus), (axis, end)) if axis else ((0, start), (0, end))


def _bent_back(axis: float, start: float, join: float, end: float) -> tuple[Point, ...]:
    return ((axis, start), (axis, join), (0, join), (0, end)) if axis else ((0, start), (0, end))


def _joined(threads: Sequence[Thread], right: float) -> tuple[tuple[Thread, ...], tuple[Line, ...], float]:
    """Both ends of a jump met: it runs up (or down) to the right of all. Returns what is still open, lines, the new
    right."""
    lines: list[Line] = []
    rest: list[Thread] = []
    sources = {t.jump: t for t in threads if t.source}
    targets = {t.jump: t for t in threads if not t.source}
    for thread in threads:
        if thread.jump not in sources or thread.jump not in targets:
            rest.append(thread)
    for jump, source in sources.items():
        if jump not in targets:
            continue
        target = targets[jump]
        right += LANE
        x = right - 2
        here, there = source.points[-1][1], target.points[-1][1]
        points = (*source.points, (x, here), (x, there), *reversed(target.points))
        lines.append(Line(points, ("way", jump, "goto"), "jump", label=None))
    return tuple(rest), tuple(lines), right
