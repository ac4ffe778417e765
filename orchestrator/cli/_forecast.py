"""A forecast beside a plan: played while somebody waits, with a bar and an end to it, and shown as a small table."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.cli._look import counted, table
from orchestrator.cli._scratch import scratch
from orchestrator.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from orchestrator.foresee import Forecast, Pair
    from orchestrator.project import Project
    from orchestrator.wiring import Wired

PATIENCE = 60.0
"""Seconds that a plan nobody asked a forecast of waits for one."""
_VERDICTS = {"hold": "held", "deny": "refused", "expired": "expired", "cancelled": "withdrawn"}


def foreseen(call: Terminal, wired: Wired, project: Project, *, patience: float | None) -> Forecast | str:
    """The forecast, or in words why there is none. `patience`: seconds until it is given up; None: as long as it
    takes."""
    from channels.base import Medium
    from orchestrator.foresee import DAYS, PEOPLE, TooLong, foresee
    from orchestrator.rehearse.sampling import Nobody

    keys = wired.keys_if_any()
    if keys is None:
        return "nobody has been imported yet"
    null: Any = importlib.import_module("channels.null")
    channels = {medium: null.Null(medium) for medium in Medium}
    began = time.monotonic()
    with (
        scratch("forecast") as folder,
        _bar(call, DAYS) as on,
    ):

        def progress(played: timedelta) -> bool:
            on(played)
            return patience is None or time.monotonic() - began < patience

        try:
            return foresee(
                wired.store, keys, project, now=wired.clock(), folder=folder, channels=channels, progress=progress
            )
        except Nobody as error:
            return str(error)
        except TooLong as error:
            days = f"{error.played.days} of {2 * DAYS} days played for {PEOPLE:,} people"
            return f"not done within {patience:.0f} seconds ({days}): `orchestrator plan --forecast` takes its time"


@contextmanager
def _bar(call: Terminal, days: int) -> Iterator[Callable[[timedelta], None]]:
    """Told how much has been played, of both together. Silent where nobody looks."""
    if call.json or not call.console.is_terminal:
        yield lambda played: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("[dim]the next weeks, as in force and as written[/]"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=call.console, transient=True) as bar:
        task = bar.add_task("", total=2.0 * days)
        yield lambda played: bar.update(task, completed=played / timedelta(days=1))


def show_forecast(console: Console, found: Forecast | str) -> None:
    if isinstance(found, str):
        console.print(f"\n[dim]no forecast: {found}[/]", soft_wrap=True)
        return
    media = list(dict.fromkeys(one.medium for one in found.sends))
    days = found.by_day()
    heads = [medium.value for medium in media]
    rows = table("", "  day", *heads, right=heads)
    for day, counts in days.items():
        cells = (_pair(counts[m]) if m in counts else "[dim]·[/]" for m in media)
        rows.add_row(f"  {day:%a} {day.day:>2} {day:%b}", *cells)
    sums = {m: _sum(counts[m] for counts in days.values() if m in counts) for m in media}
    if len(days) > 1:
        rows.add_section()
        rows.add_row("  in all", *(_pair(sums[m]) for m in media))
    _show_costs(rows, found, heads)
    if rows.row_count:
        console.print(f"\n[bold]Messages in the next {found.days} days[/]")
        console.print(rows)
    else:
        console.print(f"\nNobody is sent anything in the next {found.days} days")
    _show_journeys(console, found)
    stopped = table("\nHeld, refused", "", "because", "messages", right=("messages",))
    for one in found.stopped:
        stopped.add_row(f"  {_VERDICTS.get(one.verdict, one.verdict)}", one.reason, _pair(one.count))
    if stopped.row_count:
        console.print(stopped)
    _show_basis(console, found)


def _show_costs(rows: Any, found: Forecast, media: list[str]) -> None:
    currencies = dict.fromkeys(one.currency for one in found.costs)
    for currency in currencies:
        costs = {one.medium.value: one.cost for one in found.costs if one.currency == currency}
        cells = [_pair(costs[name], 1_000_000) if name in costs else "[dim]·[/]" for name in media]
        rows.add_row(f"  {currency}", *cells)


def _show_journeys(console: Console, found: Forecast) -> None:
    changed = {name: pair for name, pair in found.journeys.items() if pair.before != pair.after}
    rows = table("", "  journey", "messages", right=("messages",))
    for name, pair in changed.items():
        rows.add_row(f"  {name}", _pair(pair))
    if rows.row_count:
        console.print("\n[bold]Journeys that send more, or less[/]")
        console.print(rows)


def _show_basis(console: Console, found: Forecast) -> None:
    who = counted(found.people, "customer")
    if found.scale > 1:
        who = f"{found.people:,} of {counted(found.audience, 'customer')}, times {found.scale:.1f}"
    sides = "as in force" if found.same else "in force → as written"
    console.print(f"\n[dim]{sides}; played for {who}, seed {found.seed}; people take it as they did so far[/]")
    for note in found.notes:
        console.print(f"[dim]  {note}[/]", soft_wrap=True, highlight=False)


def _pair(pair: Pair, unit: int = 1) -> str:
    """`1,204 → 1,310`, or the one number where both are the same."""
    before, after = round(pair.before / unit), round(pair.after / unit)
    return f"{after:,}" if before == after else f"[dim]{before:,} →[/] {after:,}"


def _sum(pairs: Iterator[Pair]) -> Pair:
    from orchestrator.foresee import Pair

    both = list(pairs)
    return Pair(sum(p.before for p in both), sum(p.after for p in both))
