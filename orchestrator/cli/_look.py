"""How answers look: tables without frames, instants, counts, and problems in colour."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from orchestrator.problems import Problem

STYLE: Mapping[str, str] = {
    "sent": "green",
    "delivered": "green",
    "allow": "green",
    "planned": "cyan",
    "sending": "cyan",
    "held": "yellow",
    "hold": "yellow",
    "denied": "red",
    "deny": "red",
    "expired": "red",
    "cancelled": "red",
    "bounced": "red",
    "failed": "red",
    "uncertain": "magenta",
}
"""One colour for one fate, everywhere."""
MARK: Mapping[str, str] = {
    "sent": "✓", "delivered": "✓", "allow": "✓", "planned": "·", "sending": "·", "held": "…", "hold": "…",
    "uncertain": "?",
}  # fmt: skip
"""The same without colour; ✗ for all else."""


def table(title: str, *columns: str, right: Sequence[str] = (), wrap: Sequence[str] = ()) -> Table:
    """A table of a title and lower-case heads. Columns keep their cells whole but those in `wrap`."""
    from rich.table import Table

    found = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in columns:
        found.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name not in wrap,
            overflow="fold" if name in wrap else "ellipsis",
        )
    return found


_SOME_WORDS = 30


def widest(rows: Iterable[Sequence[str | Text]], folds: int) -> int:
    """How wide a table of these rows is, head and all, when column `folds` is as narrow as it can be: its longest word,
    or some words beside each other."""
    from rich.cells import cell_len

    widths: dict[int, int] = {}
    for row in rows:
        for n, cell in enumerate(row):
            text = str(cell)
            lines = [cell_len(part) for part in text.split("\n")]
            if n == folds:
                lines = [*(min(line, _SOME_WORDS) for line in lines), *(cell_len(word) for word in text.split())]
            widths[n] = max(widths.get(n, 0), *lines)
    return sum(widths.values()) + 2 * (len(widths) - 1)


def when(at: datetime | None, year: bool = True) -> str:
    """An instant to the minute, in UTC: `2027-03-25 09:00`."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}" if year else f"{at:%d %b %H:%M}"


def counted(n: int, what: str, many: str = "") -> str:
    """`1 customer`, `1,204 customers`."""
    return f"{n:,} {what if n == 1 else many or what + 's'}"


def listed(parts: Iterable[str]) -> str:
    """What there is of these, with commas."""
    return ", ".join(p for p in parts if p)


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of these: `welcome, renewal, rings and 4 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def fate(state: str, text: str = "") -> Text:
    """A state or verdict in its colour, with a mark that needs none."""
    from rich.text import Text

    return Text(f"{MARK.get(state, '✗')} {text or state}", style=STYLE.get(state, ""))


def heard(what: str, text: str = "") -> Text:
    """What was heard of a message afterwards."""
    from rich.text import Text

    return Text(f"← {text or what}", style="dim")


_PARTS = (
    (re.compile(r"^error\[[\w-]+\]"), "bold red"),
    (re.compile(r"^warning\[[\w-]+\]"), "bold yellow"),
    (re.compile(r"^ --> .*"), "blue"),
    (re.compile(r"^ *\d* \|"), "blue"),
    (re.compile(r"^  = help:"), "bold cyan"),
    (re.compile(r"(?<=\| ) *\^+$"), "bold red"),
)


def show_problems(console: Console, problems: Sequence[Problem], sources: Mapping[str, str]) -> None:
    """Every problem with its line and a caret: plain where nobody looks on, else in colour, the help's long lines
    folded under themselves."""
    from orchestrator.problems import render

    text = render(problems, sources)
    if not console.is_terminal:
        print(text, file=console.file)
        return
    from rich.padding import Padding
    from rich.text import Text

    for line in text.splitlines():
        head, found, tail = line.partition("  = help: ")
        shown = Text(tail if found and not head else line)
        for pattern, style in _PARTS:
            shown.highlight_regex(pattern, style)
        if found and not head:
            console.print(Text.assemble(("  = help: ", "bold cyan")), end="")
            console.print(shown, soft_wrap=True)
        elif line.startswith(("error[", "warning[")):
            shown.stylize("bold")
            console.print(Padding(shown, 0))
        else:
            console.print(shown, soft_wrap=True, no_wrap=True, crop=False)


def tell_warnings(console: Console, warnings: Sequence[Problem]) -> None:
    """That `check` has something to say, and of what."""
    if warnings:
        codes = listed(f"{n} {code}" for code, n in sorted(Counter(p.code for p in warnings).items()))
        told = f"[yellow]! {counted(len(warnings), 'warning')}[/] [dim]({codes})[/]: `orchestrator check` tells them"
        console.print(told, soft_wrap=True)


def plain(value: Any) -> str:
    """A value of the database as a person reads it."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return when(value) if isinstance(value, datetime) else str(value)
