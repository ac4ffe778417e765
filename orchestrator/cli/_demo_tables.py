"""The demo's tables: per day, why not, who got what, and where to look. A hundred columns wide at most."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from orchestrator.cli.terminal import near, program

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.store.overview import Received

MEDIA = ("email", "sms", "push", "mail", "task")
_STYLE = {"sent": "green", "held": "yellow", "refused": "red"}
"""What a message's day comes to, and its colour; also the order within a cell."""


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
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name not in wraps)
    return table


def by_day(console: Console, days: Sequence[Day], runs: int) -> None:
    """A row a day; in each medium's cell: sent, held, refused."""
    legend = ", ".join(f"[{style}]{name}[/]" for name, style in _STYLE.items())
    console.print(f"\n[bold]Day by day[/]  {runs} runs of the Prefect flow; of each medium: {legend}")
    numbers = ("entered", "goal", "exit", "opened", "bounced")
    table = _table("", *MEDIA, *numbers, right=(*MEDIA, *numbers))
    for day in days:
        _add_day(table, f"{day.day:%a %d %b}", day.messages, day.entered, day.ended, day.heard)
    _add_day(
        table,
        "all",
        sum((day.messages for day in days), Counter()),
        sum(day.entered for day in days),
        sum((day.ended for day in days), Counter()),
        sum((day.heard for day in days), Counter()),
    )
    table.rows[-1].style = "bold"
    console.print(table)


def _add_day(
    table: Table,
    name: str,
    messages: Mapping[tuple[str, str], int],
    entered: int,
    ended: Mapping[str, int],
    heard: Mapping[str, int],
) -> None:
    numbers = (entered, ended.get("goal", 0), ended.get("exited", 0), heard.get("opened", 0), heard.get("bounced", 0))
    table.add_row(name, *(_cell(messages, medium) for medium in MEDIA), *map(_number, numbers))


def _cell(messages: Mapping[tuple[str, str], int], medium: str) -> Text:
    text = Text()
    for (what, style), width in zip(_STYLE.items(), (3, 3, 3), strict=True):
        n = messages.get((medium, what), 0)
        text.append(f"{n or '·':>{width}}", style=style if n else "dim")
    return text


def _number(n: int) -> Text:
    return Text(str(n)) if n else Text("·", style="dim")


def reasons(console: Console, found: Mapping[tuple[str, str, str], int]) -> None:
    """Why messages were refused or held: by reason, with the media concerned."""
    console.print("\n[bold]Not sent, or not at once[/]")
    table = _table("", "why", "messages", "on", right=("messages",))
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


def where_to_look(console: Console, folder: Path, page: Path, examples: Mapping[str, tuple[str, str]]) -> None:
    """Commands and files, with keys filled in."""
    orchestrator = f"{program()} -w {near(folder)}"
    lines = [("every message, as a page", near(page))]
    lines += [
        (told, f"{orchestrator} why {' '.join(examples[name])}") for name, told in _ASK.items() if name in examples
    ]
    lines.append(("every decision", f"{orchestrator} log"))
    console.print("\n[bold]Where to look[/]")
    for told, where in lines:
        console.print(f"  {told:<25} [cyan]{where}[/]", soft_wrap=True)


_ASK = {
    "sent": "one who was sent to",
    "held": "one who was held",
    "refused": "one who was refused",
    "bounced": "one whose mail bounced",
}
