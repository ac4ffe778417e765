"""`listening`: what people say, week by week: the score of each survey, and how events say somebody feels."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from orchestrator.cli._look import table
from orchestrator.cli.terminal import FINE, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

_BAR = 21


def register(app: App) -> None:
    app.command(listening)


def listening(
    *,
    by: Literal["week", "month"] = "week",
    last: int = 12,
) -> int:
    """What people say, by week or month: the NPS of surveys that ask for it, and the sentiment of events that tell it.

    An event tells it by a property `sentiment`: from -1 to 1, or negative, neutral, positive. With each figure comes
    how many said something, and the interval in which it lies with 95 %.

    Parameters
    ----------
    by
        A week begins on Monday, by the workspace's clock.
    last
        How many weeks or months, this one among them.
    """
    from orchestrator import wiring
    from orchestrator.apply import in_force
    from orchestrator.listen import heard
    from orchestrator.zones import local

    call = terminal()
    if not 1 <= last <= 120:
        raise Usage("`--last` is a number from 1 to 120")
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        force, now = in_force(conn), wired.clock()
        zone = force.project.vocabulary.timezone if force is not None else "UTC"
        today = (local(now, zone) or now).date()
        first = today - timedelta(days=(last - 1) * (7 if by == "week" else 30))
        found = heard(conn, force.project.vocabulary, first, today, by) if force is not None else []
    lines = [asdict(line) for line in found]
    call.answer(lambda: {"by": by, "lines": lines}, lambda console: _show(console, lines))
    return FINE


def _show(console: Console, lines: list[dict[str, Any]]) -> None:
    if not lines:
        console.print("No survey asks for an NPS, and no event has a `sentiment`.", style="dim")
    for line in lines:
        scale = 100.0 if line["kind"] == "nps" else 1.0
        odd = f"  {line['odd']:,} not understood" if line["odd"] else ""
        console.print(f"\n[bold]{line['name']}[/]  {line['kind']}{odd}", soft_wrap=True)
        shown = table("", "from", "n", "figure", "95 %", "-             0             +")
        for point in line["points"]:
            shown.add_row(*_row(point, scale))
        console.print(shown)


def _row(point: dict[str, Any], scale: float) -> tuple[str, ...]:
    begins, n, value = point["begins"].isoformat(), f"{point['n']:,}", point["value"]
    if value is None:
        return begins, n, "–", "–", ""
    form = "{:+.0f}" if scale > 1 else "{:+.2f}"
    low, high = point["low"], point["high"]
    between = "–" if low is None else f"{form.format(low)} to {form.format(high)}"
    return begins, n, form.format(value), between, _bar(value / scale, low, high, scale)


def _bar(value: float, low: float | None, high: float | None, scale: float) -> str:
    """A dot on a line from -1 to 1, with its interval."""
    middle = _BAR // 2
    cells = ["·" if i == middle else " " for i in range(_BAR)]
    if low is not None and high is not None:
        for i in range(_place(low / scale), _place(high / scale) + 1):
            cells[i] = "─"
    cells[_place(value)] = "●"
    return "".join(cells)


def _place(value: float) -> int:
    return round((max(-1.0, min(1.0, value)) + 1) / 2 * (_BAR - 1))
