"""The demo's tables: per day, why not, who got what, and where to look. Sixty to a hundred columns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

from orchestrator.cli.terminal import near, program

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.store.overview import Received, Texted

MEDIA = ("email", "sms", "push", "mail", "task")
_STYLE = {"sent": "green", "held": "yellow", "refused": "red"}
"""What a message's day comes to, and its colour; also the order within a cell."""
_WIDE = 94
"""The columns that a cell for each medium takes."""


@dataclass(slots=True)
class Day:
    """One simulated day's numbers: (medium, sent | held | refused) → messages, and what else happened."""

    day: date
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    entered: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)


def _table(*columns: str, right: Sequence[str] = (), wraps: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="dim")
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        folds = name in wraps
        table.add_column(name, justify=justify, no_wrap=not folds, overflow="fold" if folds else "ellipsis")
    return table


def by_day(console: Console, days: Sequence[Day], runs: int) -> None:
    """A row a day; in each medium's cell: sent, held, refused. Where that is too wide: all media in one, and a row for
    each medium below."""
    legend = ", ".join(f"[{style}]{name}[/]" for name, style in _STYLE.items())
    all_of_it = Day(days[0].day if days else date.min)
    for day in days:
        all_of_it.messages.update(day.messages)
        all_of_it.ended.update(day.ended)
        all_of_it.heard.update(day.heard)
        all_of_it.entered += day.entered
    wide = console.width >= _WIDE
    told = f"of each medium: {legend}" if wide else "messages of all media"
    console.print(f"\n[bold]Day by day[/]  {runs} runs of the Prefect flow; {told}")
    numbers = ("entered", "goal", "exit", "opened", "bounced")
    shown = MEDIA if wide else tuple(_STYLE)
    table = _table("", *shown, *numbers, right=(*shown, *numbers))
    widths = {(medium, what): _room((*days, all_of_it), medium, what) for medium in MEDIA for what in _STYLE}
    for day in days:
        _add_day(table, f"{day.day:%a %d %b}" if wide else f"{day.day:%d %b}", day, widths if wide else None)
    _add_day(table, "all", all_of_it, widths if wide else None)
    table.rows[-1].style = "bold"
    console.print(table)
    if not wide:
        table = _table("medium", *_STYLE, right=tuple(_STYLE))
        for medium in MEDIA:
            counts = (_number(all_of_it.messages.get((medium, what), 0), style) for what, style in _STYLE.items())
            table.add_row(medium, *counts)
        console.print()
        console.print(table)


def _room(days: Sequence[Day], medium: str, what: str) -> int:
    """Columns of a number within its medium's cell: as many as the longest has."""
    return max(len(str(day.messages.get((medium, what), 0))) for day in days)


def _add_day(table: Table, name: str, day: Day, widths: Mapping[tuple[str, str], int] | None) -> None:
    """`widths`: of the numbers in each medium's cell; None: of all media in one."""
    if widths is not None:
        messages = [_cell(day.messages, medium, widths) for medium in MEDIA]
    else:
        messages = [_number(sum(day.messages.get((m, what), 0) for m in MEDIA), _STYLE[what]) for what in _STYLE]
    numbers = (day.entered, *(day.ended.get(k, 0) for k in ("goal", "exited")))
    heard = (day.heard.get("opened", 0), day.heard.get("bounced", 0))
    table.add_row(name, *messages, *map(_number, (*numbers, *heard)))


def _cell(messages: Mapping[tuple[str, str], int], medium: str, widths: Mapping[tuple[str, str], int]) -> Text:
    text = Text()
    for what, style in _STYLE.items():
        n = messages.get((medium, what), 0)
        text.append(f"{' ' if text else ''}{n or '·':>{widths[medium, what]}}", style=style if n else "dim")
    return text


def _number(n: int, style: str = "") -> Text:
    return Text(str(n), style=style) if n else Text("·", style="dim")


def reasons(console: Console, found: Mapping[tuple[str, str, str], int]) -> None:
    """Why messages were refused or held: by reason, with the media concerned."""
    console.print("\n[bold]Not sent, or not at once[/]")
    table = _table("", "why", "messages", "on", right=("messages",), wraps=("on",))
    grouped: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (what, reason, medium), n in found.items():
        grouped[what, reason][medium] += n
    for (what, reason), media in sorted(grouped.items(), key=lambda g: (g[0][0] == "held", -g[1].total(), g[0])):
        on = ", ".join(f"{medium} {media[medium]}" for medium in MEDIA if media[medium])
        table.add_row(Text(what, style=_STYLE[what]), reason, str(media.total()), on)
    console.print(table)


def differences(console: Console, rows: Sequence[Received], rank: Mapping[tuple[str, str], int]) -> None:
    """Who got what: by journey, class and tier, tiers from the lowest. `rank`: (class, tier) → its place."""
    console.print("\n[bold]Who got what[/]")
    table = _table("journey", "class", "tier", "what went out", wraps=("what went out",))
    grouped: dict[tuple[str, str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    for row in rows:
        grouped[row.journey, row.customer_class, row.tier][row.medium, row.template] = row.count
    before = ""
    for journey, of, tier in sorted(grouped, key=lambda g: (g[0], g[1], rank.get((g[1], g[2]), -1), g[2])):
        sent = grouped[journey, of, tier]
        what = Text(", ").join(
            Text.assemble((medium, "cyan"), f" {template}" if template else "", (f" ×{n}", "dim"))
            for (medium, template), n in sorted(sent.items(), key=lambda s: (MEDIA.index(s[0][0]), s[0][1]))
        )
        table.add_row("" if journey == before else journey, of, tier, what)
        before = journey
    console.print(table)


def texts(console: Console, rows: Sequence[Texted], example: str) -> None:
    """What texts went out as, and what that costs; one of them as it was sent."""
    from orchestrator.outbound import price_text

    if not rows:
        return
    console.print("\n[bold]Texts and what they cost[/]  every segment is charged as one text")
    table = _table("template", "texts", "segments each", "", "cost", right=("texts", "segments each", "cost"))
    for row in rows:
        cost = f"{price_text(row.cost)} {row.currency}" if row.cost else ""
        table.add_row(row.template, _number(row.count), _number(row.segments), Text(row.encoding, style="dim"), cost)
    total = sum(row.cost for row in rows)
    several = sum(row.count * row.segments for row in rows)
    whole = f"{price_text(total)} {rows[0].currency}" if total else ""
    table.add_row("all", _number(sum(row.count for row in rows)), "", f"{several} segments", whole, style="bold")
    console.print(table)
    if example:
        console.print(Text(example.strip(), style="cyan"), soft_wrap=True)


def where_to_look(
    console: Console, folder: Path, page: Path, letters: Sequence[Path], examples: Mapping[str, tuple[str, str]]
) -> None:
    """Commands and files, with keys filled in."""
    orchestrator = f"{program()} -w {near(folder)}"
    # A push to two devices is one message, and lies there as two; letters are the print house's.
    lines = [("all but the letters, as a page", near(page))]
    lines += [("a letter, ready to post", near(letter)) for letter in letters[-1:]]
    lines += [("the print house's jobs", f"{orchestrator} letters")]
    lines += [
        (told, f"{orchestrator} why {' '.join(examples[name])}") for name, told in _ASK.items() if name in examples
    ]
    lines.append(("every decision", f"{orchestrator} log"))
    console.print("\n[bold]Where to look[/]")
    for told, where in lines:
        console.print(f"  {told:<30} [cyan]{where}[/]", soft_wrap=True)


_ASK = {
    "sent": "one who was sent to",
    "held": "one who was held",
    "refused": "one who was refused",
    "bounced": "one whose mail bounced",
}
