"""`init`, `plan`, `apply`: from an empty folder to a workspace in force."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli import starter
from orchestrator.cli._look import counted, listed, table, when
from orchestrator.cli._opening import opened
from orchestrator.cli.terminal import FINE, CannotRun, Terminal, Usage, near, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.apply import ApplyReport
    from orchestrator.plan import JourneyPlan, Plan
    from orchestrator.store.versions import Applied

FLAG = Parameter(negative=())
_IGNORED = """# What runs leave behind: the database with people's data, the keys, the outbox.
.orchestrator/
*.quarantine-*
"""
_SIGN = {"added": ("+", "green"), "edited": ("~", "yellow"), "removed": ("-", "red"), "same": ("=", "dim")}
_WORDS = {"added": "new", "edited": "edited", "removed": "removed", "same": "as before"}


def register(app: App) -> None:
    app.command(init)
    app.command(plan)
    app.command(apply)


# ---- init -----------------------------------------------------------------------------------------------------------


def init(folder: Path, /) -> int:
    """Begin a workspace: a loyalty programme and its journeys, with their tests and texts in English and German.

    Parameters
    ----------
    folder
        Where to put it: a folder that is empty or does not exist yet.
    """
    call = terminal()
    to = folder.expanduser().absolute()
    if to.exists() and not to.is_dir():
        raise Usage(f"{folder} is a file; name a folder that does not exist yet")
    if to.is_dir() and any(to.iterdir()):
        raise Usage(f"{folder} is not empty; name a folder that is, or that does not exist yet")
    try:
        written = starter.copy(to)
        (to / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"the workspace cannot be written to {folder}: {error.strerror or error}") from None
    steps = (
        (f"cd {near(to)}", ""),
        ("orchestrator check", "is everything as it should be?"),
        ('orchestrator apply -m "a first version"', "put it in force"),
        ("orchestrator run", "do what is due, into a sandbox that reaches nobody"),
    )

    def show(console: Console) -> None:
        console.print(f"[bold green]✓[/] {counted(len(written), 'file')} in [bold]{near(to)}[/]", soft_wrap=True)
        console.print("\nNext:")
        for command, why in steps:
            console.print(f"  [cyan]{command:<42}[/]{'[dim]# ' + why + '[/]' if why else ''}", soft_wrap=True)

    call.answer(lambda: {"folder": to, "files": written, "next": [command for command, _ in steps]}, show)
    return FINE


# ---- plan -----------------------------------------------------------------------------------------------------------


def plan(*, all: Annotated[bool, FLAG] = False) -> int:
    """What an apply would change, in words and numbers. Changes nothing.

    Parameters
    ----------
    all
        List what stays the same, too.
    """
    from orchestrator.plan import plan as planned
    from orchestrator.project import load

    call = terminal()
    project = load(call.workspace)
    with opened(call.workspace) as wired:
        found = planned(wired.store, project, now=wired.clock())
        with wired.store.read() as conn:
            before = _in_force(conn)
    call.answer(lambda: _plan_document(found), lambda console: _show_plan(console, found, before, all))
    return FINE


def _in_force(conn: Any) -> Applied | None:
    from orchestrator.store import versions

    return versions.newest(conn)


def _plan_document(found: Plan) -> dict[str, object]:
    return {
        "project": found.project,
        "base": found.base,
        "changes": found.changes,
        "journeys": found.journeys,
        "segments": [{"name": name, "members": n, "before": old} for name, (n, old) in found.segments.items()],
        "files": found.files,
    }


def _show_plan(console: Console, found: Plan, before: Applied | None, everything: bool) -> None:
    against = "nothing is in force yet"
    if before is not None:
        said = f": {before.message}" if before.message else ""
        against = f"in force now: apply {before.id}, {when(before.at)} UTC by {before.author}{said}"
    console.print(f"[dim]{against}[/]", markup=True, soft_wrap=True)
    if not found.changes and not everything:
        console.print("[bold green]✓[/] nothing changes: this workspace is in force already")
        return
    _show_journeys(console, found, everything)
    _show_segments(console, found, everything)
    _show_files(console, found, everything)


def _show_journeys(console: Console, found: Plan, everything: bool) -> None:
    from rich.padding import Padding

    shown = [j for j in found.journeys if everything or j.change != "same" or j.audience != j.before]
    same = len(found.journeys) - len(shown)
    right = ("audience", "at once", "inside")
    rows = table("\nJourneys", "", "journey", "", "audience", "at once", "inside", right=right)
    for journey in shown:
        sign, style = _SIGN[journey.change]
        inside = sum(journey.inside.values())
        rows.add_row(
            f"  [{style}]{sign}[/]",
            journey.name,
            f"[{style}]{_WORDS[journey.change]}[/]",
            _audience(journey),
            f"{journey.enters_now:,}" if journey.enters_now else "[dim]·[/]",
            f"{inside:,}" if inside else "[dim]·[/]",
        )
    if rows.row_count:
        console.print(rows)
    if same:
        console.print(f"  [dim]= {counted(same, 'journey')} as before[/]")
    said = [f"[bold]{j.name}[/]: {j.becomes}" for j in shown if j.becomes and sum(j.inside.values())]
    said += [f"[bold]{j.name}[/]: {j.entering}" for j in shown if j.entering]
    said += [
        f"[bold]{j.name}[/]: up to {counted(j.enters_now, j.unit)} of its segment enter at the next tick"
        for j in shown
        if j.enters_now
    ]
    if said:
        console.print()
    for line in said:
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _audience(journey: JourneyPlan) -> str:
    """How many, and of what: `1,204 → 1,180 customers`."""
    if journey.audience is None:
        return f"{journey.before:,}" if journey.before is not None else f"[dim]every {journey.unit}[/]"
    now = counted(journey.audience, journey.unit)
    return f"{journey.before:,} → {now}" if journey.before not in (None, journey.audience) else now


def _show_segments(console: Console, found: Plan, everything: bool) -> None:
    shown = table("\nSegments", "", "segment", "before", "", "members", right=("before", "members"))
    for name, (members, before) in found.segments.items():
        if before is not None and before == members and not everything:
            continue
        new = before is None
        shown.add_row(
            "  [green]+[/]" if new else "  [yellow]~[/]" if before != members else "  [dim]=[/]",
            name,
            "" if new else f"{before:,}",
            "" if new else "→",
            f"{members:,}",
        )
    if shown.row_count:
        console.print(shown)


def _show_files(console: Console, found: Plan, everything: bool) -> None:
    changes = {path: change for path, change in found.files.items() if everything or change != "same"}
    kinds = [f"{n} {kind}" for kind in _SIGN if (n := sum(c == kind for c in found.files.values()))]
    console.print(f"\n[bold]Files[/]  [dim]{listed(kinds)}[/]")
    if found.base is None and not everything:
        return
    for path, change in changes.items():
        sign, style = _SIGN[change]
        console.print(f"  [{style}]{sign}[/] {path}", soft_wrap=True)


# ---- apply ----------------------------------------------------------------------------------------------------------


def apply(
    *,
    message: Annotated[str, Parameter(name=["--message", "-m"])],
    author: str | None = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
) -> int:
    """Put the workspace in force. Shows the plan first, and does exactly that.

    Parameters
    ----------
    message
        What changes and why, for whoever looks at it later.
    author
        Who says so; without it, the name you are logged in with.
    yes
        Do not ask.
    """
    import getpass

    from orchestrator.apply import apply as put_in_force
    from orchestrator.plan import plan as planned
    from orchestrator.project import load

    call = terminal()
    if not yes and not _at_a_terminal(call):
        raise Usage("nobody can be asked here: look at `orchestrator plan`, then say `--yes`")
    project = load(call.workspace)
    with opened(call.workspace) as wired:
        found = planned(wired.store, project, now=wired.clock())
        with wired.store.read() as conn:
            before = _in_force(conn)
        if not call.json:
            _show_plan(call.console, found, before, False)
        if found.changes and not yes and not _agreed(call):
            raise CannotRun("nothing was applied")
        report = put_in_force(
            wired.store,
            project,
            author=author or getpass.getuser(),
            message=message,
            now=wired.clock(),
            base=found.base,
        )
    call.answer(lambda: {"apply": report, "plan": _plan_document(found)}, lambda console: _show_done(console, report))
    return FINE


def _at_a_terminal(call: Terminal) -> bool:
    return not call.json and sys.stdin.isatty() and sys.stdout.isatty()


def _agreed(call: Terminal) -> bool:
    call.console.print("\nPut this in force? [bold]y[/]es / [bold]n[/]o ", end="")
    try:
        return input().strip().casefold() in ("y", "yes")
    except EOFError:
        return False


def _show_done(console: Console, report: ApplyReport) -> None:
    if not report.changed:
        return  # the plan has said so
    parts = {"added": report.added, "edited": report.edited, "removed": report.removed}
    told = listed(f"{len(names)} {what}" for what, names in parts.items() if names)
    console.print(
        f"\n[bold green]✓[/] in force: apply {report.apply_id}" + (f" (journeys: {told})" if told else ""),
        soft_wrap=True,
    )
    _tell(console, report.migrated, "{} moved to the new version")
    _tell(console, report.exited, "{} left, and what was queued for them is withdrawn")
    _tell(console, report.baselines, "{} in its segment already; they do not enter, who comes in from now on does")


def _tell(console: Console, numbers: Mapping[str, int], text: str) -> None:
    for name, n in sorted(numbers.items()):
        if n:
            console.print(f"  {name}: {text.format(f'{n:,}')}", soft_wrap=True)
