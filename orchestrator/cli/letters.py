"""`letters`: jobs at the print house, what it reports, and the word that its proofs are good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from cyclopts import App

from orchestrator.cli._look import table, when
from orchestrator.cli.terminal import COULD_NOT_RUN, FINE, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from channels.base import Job


def register(app: App) -> None:
    letters = App(name="letters", help="Jobs at the print house: what was dropped, printed, and came back.")
    letters.default(jobs)
    letters.command(take_back, name="take-back")
    letters.command(approve)
    app.command(letters)


def jobs() -> int:
    """Every job with its state: dropped, acknowledged, approved, mailed, returned."""
    from orchestrator import posting, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        found = posting.jobs(wired.store, posting.house(wired.channels))
    call.answer(lambda: {"jobs": [asdict(job) for job in found]}, lambda console: _show(console, found))
    return FINE


def take_back() -> int:
    """Read the receipts and the returned post that the house left. The deployment `letters` does the same every hour.

    Each file is read once and put aside under `returns/done`; rows that cannot be read stand beside it, with the why.
    """
    from orchestrator import posting, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        report = posting.take_back(wired.store, wired.keys, posting.house(wired.channels), now=wired.clock)

    def show(console: Console) -> None:
        console.print(report.summary)
        for problem in report.problems:
            console.print("[yellow]![/]", problem, soft_wrap=True, markup=True, highlight=False)

    call.answer(lambda: asdict(report), show)
    return COULD_NOT_RUN if report.problems else FINE


def approve(job: str, /, *, by: str | None = None) -> int:
    """Tell the house that the proofs of a job are good: a file `JOB_approved.json` in the job's folder.

    Parameters
    ----------
    job
        The job's name, as `orchestrator letters` lists it.
    by
        Who says so; without it, the name you are logged in with.
    """
    import getpass

    from orchestrator import posting, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        found = posting.approve(wired.store, posting.house(wired.channels), job, by or getpass.getuser())
    call.answer(lambda: asdict(found), lambda console: console.print(f"{found.id} is approved: {found.pieces} pieces"))
    return FINE


def _show(console: Console, found: Sequence[Job]) -> None:
    if not found:
        console.print("No job has been dropped yet; letters leave at the next cut-off.", style="dim")
        return
    heads = ("cut-off (UTC)", "job", "state", "pieces", "not made", "since (UTC)")
    shown = table("", *heads, right=("pieces", "not made"), wrap=("job",))
    for job in found:
        left = sum(job.refused.values())
        state = f"[yellow]{job.state}[/]" if job.notes or job.dropped_at is None else job.state
        shown.add_row(when(job.cutoff), job.id, state, str(job.pieces), str(left or ""), when(job.updated_at))
    console.print(shown)
    for job in found:
        for note in (*job.notes, *(f"{n} not made: {why}" for why, n in sorted(job.refused.items()))):
            console.print(f"[yellow]![/] {job.id}: {note}", soft_wrap=True, highlight=False)
