"""`tasks`: what was given to our own people and is still open, and the morning's list by e-mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from cyclopts import App

from orchestrator.cli._look import table, when
from orchestrator.cli.terminal import FINE, CannotRun, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.tasking import Open


def register(app: App) -> None:
    tasks = App(name="tasks", help="Calls and follow-ups that were given out, and are still open.")
    tasks.default(open_)
    tasks.command(digest)
    app.command(tasks)


def open_() -> int:
    """Every open task by its due date. What became of them comes in by `orchestrator import outcomes FILE`."""
    from orchestrator import tasking, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        found = tasking.open_tasks(conn, wired.clock())
    call.answer(lambda: {"tasks": [asdict(one) for one in found]}, lambda console: _show(console, found))
    return FINE


def digest() -> int:
    """Plan today's e-mail to everybody with open tasks, once a day, from the hour on that the settings say.

    The deployment `digest` does it every quarter of an hour; the next tick sends what is planned.
    """
    from channels.base import Medium
    from orchestrator import tasking, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        at = getattr(wired.channels[Medium.TASK], "digest", None)
        if at is None:
            raise CannotRun('no hour is set: `provider = "taskfile"` and `digest = "08:00"` under [channels.task]')
        report = tasking.plan_digests(wired.store, wired.keys, at, now=wired.clock())
    call.answer(lambda: asdict(report), lambda console: console.print(report.summary))
    return FINE


def _show(console: Console, found: Sequence[Open]) -> None:
    if not found:
        console.print("No task is open.", style="dim")
        return
    shown = table("", "due", "task", "for", "title", "call", "given (UTC)", wrap=("title",))
    for one in found:
        shown.add_row(one.due or "–", one.task, one.whose, one.title, "yes" if one.call else "", when(one.given))
    console.print(shown)
