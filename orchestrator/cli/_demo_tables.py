"""The demo's tables: per day, why not, who got what, and where to look. A hundred columns wide at most."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from orchestrator.cli.terminal import near

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.cli.demo import Day
    from orchestrator.store.overview import Received

MEDIA = ("email", "sms", "push", "mail", "task")
_STYLE = {"sent": "green", "held": "yellow", "refused": "red"}


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def by_day(days: Sequence[Day], runs: int) -> Table:
    """A row a day; in each medium's cell: sent, held, refused."""
    title = Text.assemble(
        "\nDay by day", (f"  {runs} runs of the Prefect flow; each cell: ", "not bold dim"), *_legend(), style="bold"
    )
    table = _table("", "day", *MEDIA, "entered", "goal", "exit", "came back", right=(*MEDIA, "entered", "goal", "exit"))
    table.title = title
    total: Counter[tuple[str, str]] = Counter()
    for day in days:
        total.update(day.messages)
        table.add_row(
            f"{day.day:%a %d %b}",
            *(_cell(day.messages, medium) for medium in MEDIA),
            _number(day.entered),
            _number(day.ended.get("goal", 0)),
            _number(day.ended.get("exited", 0)),
            _heard(day.heard),
        )
    ended = sum((day.ended for day in days), Counter[str]())
    table.add_section()
    table.add_row(
        "all",
        *(_cell(total, medium) for medium in MEDIA),
        _number(sum(day.entered for day in days)),
        _number(ended.get("goal", 0)),
        _number(ended.get("exited", 0)),
        _heard(sum((day.heard for day in days), Counter[str]())),
    )
    return table


def _legend() -> list[tuple[str, str]]:
    return [(f"{name} ", f"not bold {style}") for name, style in _STYLE.items()]


def _cell(messages: Mapping[tuple[str, str], int], medium: str) -> Text:
    parts = [(what, messages.get((medium, what), 0)) for what in _STYLE]
    text = Text()
    for what, n in parts:
        text.append(f"{n or '·':>3}", style=_STYLE[what] if n else "dim")
    return text


def _number(n: int) -> Text:
    return Text(str(n)) if n else Text("·", style="dim")


def _heard(heard: Mapping[str, int]) -> str:
    shown = ("delivered", "opened", "bounced", "failed", "unsubscribed")
    short = {"delivered": "del", "opened": "open", "bounced": "bounce", "failed": "fail", "unsubscribed": "unsub"}
    return ", ".join(f"{heard[kind]} {short[kind]}" for kind in shown if heard.get(kind))


def refusals(found: Mapping[tuple[str, str], int]) -> Table:
    """Why messages were not sent: by reason, with the media concerned."""
    table = _table("\nNot sent, and why", "reason", "messages", "on", right=("messages",))
    by_reason: dict[str, Counter[str]] = defaultdict(Counter)
    for (reason, medium), n in found.items():
        by_reason[reason][medium] += n
    for reason, media in sorted(by_reason.items(), key=lambda item: (-item[1].total(), item[0])):
        on = ", ".join(f"{medium} {n}" for medium, n in sorted(media.items()))
        table.add_row(reason, str(media.total()), on)
    return table


def differences(rows: Sequence[Received]) -> Table:
    """Who got what: by journey, class and tier. What one tier gets and another does not stands below each other."""
    table = _table("\nWho got what", "journey", "class", "tier", "what went out")
    table.columns[3].no_wrap = False
    grouped: dict[tuple[str, str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    for row in rows:
        grouped[row.journey, row.customer_class, row.tier][row.medium, row.template] = row.count
    before = ""
    for (journey, customer_class, tier), sent in sorted(grouped.items()):
        what = Text(", ").join(
            Text.assemble((medium, "cyan"), f" {template}" if template else "", (f" ×{n}", "dim"))
            for (medium, template), n in sorted(sent.items())
        )
        table.add_row("" if journey == before else journey, customer_class, tier, what)
        before = journey
    return table


def where_to_look(console: Console, folder: Path, page: Path, examples: Mapping[str, tuple[str, str]]) -> None:
    """Commands and files, with keys filled in."""
    orchestrator = f"orchestrator -w {near(folder)}"
    console.print("\n[bold]Where to look[/]")
    console.print(f"  every message as a file, and as a page:  {near(page)}", soft_wrap=True)
    for name, (key, journey) in examples.items():
        console.print(f"  one {name + ':':<10} {orchestrator} why {key} {journey}", soft_wrap=True)
    console.print(f"  the log:       {orchestrator} log", soft_wrap=True)
