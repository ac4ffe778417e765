"""`init`, `plan`, `apply`: from an empty folder to a workspace in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from orchestrator.cli import starter
from orchestrator.cli._forecast import PATIENCE, foreseen, show_forecast
from orchestrator.cli._look import counted, tell_warnings
from orchestrator.cli._opening import opened
from orchestrator.cli._planned import in_force, may_ask, me, plan_document, put, show_plan
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, Usage, near, plain_problem, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.foresee import Forecast
    from orchestrator.plan import Plan
    from orchestrator.project import Project
    from orchestrator.wiring import Wired

FLAG = Parameter(negative=())
_IGNORED = """# What runs leave behind: the database with people's data, the keys, the outbox.
.orchestrator/
*.quarantine-*

# What commands write where one stands: drawings, pages of simulations; proofs and checkpoints of the log, its verifier.
/*.svg
/report.html
*.tlog-proof
*.note
/verify.py
"""


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
        ("orchestrator import customers FILE", "whom you know already; then consents, events"),
        ('orchestrator apply -m "a first version"', "put it in force: who is there by now is no newcomer"),
        ("orchestrator run", "do what is due, into a sandbox that reaches nobody"),
    )

    def show(console: Console) -> None:
        console.print(f"[bold green]✓[/] {counted(len(written), 'file')} in [bold]{near(to)}[/]", soft_wrap=True)
        console.print("\nNext:")
        for command, why in steps:
            console.print(f"  [cyan]{command:<42}[/]{'[dim]# ' + why + '[/]' if why else ''}", soft_wrap=True)

    call.answer(lambda: {"folder": to, "files": written, "next": [command for command, _ in steps]}, show)
    return FINE


# ---- plan and apply -------------------------------------------------------------------------------------------------


def plan(*, all: Annotated[bool, FLAG] = False, forecast: bool | None = None) -> int:
    """What an apply would change, in words and numbers: who would enter, and what becomes of those inside. Changes
    nothing. Ends with 1 where an apply would be refused.

    At a terminal the next thirty days are played, as in force and as written, for a part of the real customers: what
    would go out by week and medium, what it costs, what is held or refused. That waits a minute at most.

    Parameters
    ----------
    all
        List what stays the same, too.
    forecast
        Play the next thirty days, however long it takes; or do not play them.
    """
    from orchestrator.plan import plan as planned
    from orchestrator.project import load

    call = terminal()
    project = load(call.workspace, lint=True)
    with opened(call.workspace) as wired:
        found = planned(wired.store, project, now=wired.clock())
        with wired.store.read() as conn:
            before = in_force(conn)
        ahead = _ahead(call, wired, project, found, forecast)

    def show(console: Console) -> None:
        tell_warnings(console, project.warnings)
        show_plan(console, found, before, project.files, all)
        if ahead is not None:
            show_forecast(console, ahead)
        if found.changes and not found.problems:
            console.print(f"\n[dim]plan {found.id}: `orchestrator apply -m … --plan {found.id}` does exactly this[/]")

    warnings = [plain_problem(p) for p in project.warnings]
    told = {"forecast": None if isinstance(ahead, str) else ahead, "warnings": warnings}
    call.answer(lambda: plan_document(found) | told, show)
    return PROBLEMS if found.problems else FINE


def _ahead(call: Terminal, wired: Wired, project: Project, found: Plan, asked: bool | None) -> Forecast | str | None:
    """The forecast; in words why there is none; None where nobody wants one."""
    if asked is None:
        looked_at = not call.json and call.console.is_terminal
        asked = looked_at and found.changes and not found.problems
        patience: float | None = PATIENCE
    else:
        patience = None
    if not asked:
        return None
    if found.problems:
        return "this cannot be put in force"
    return foreseen(call, wired, project, patience=patience)


def apply(
    *,
    message: Annotated[str, Parameter(name=["--message", "-m"])],
    author: str | None = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    plan: str | None = None,
) -> int:
    """Put the workspace in force. Shows the plan first, and does exactly that. Where the workspace asks for a second
    person (`policies.approval`), it is proposed instead, and waits for `orchestrator approve`.

    Parameters
    ----------
    message
        What changes and why, for whoever looks at it later.
    author
        Who says so; without it, the name you are logged in with.
    yes
        Do not ask.
    plan
        The plan you have looked at, as `orchestrator plan` names it: nothing else is put in force, and nobody is asked.
    """
    from orchestrator.project import load

    call = terminal()
    if plan is None:
        may_ask(call, yes)
    project = load(call.workspace, lint=True)
    if not call.json:
        tell_warnings(call.console, project.warnings)
    with opened(call.workspace) as wired:
        return put(call, wired, project, author=me(author), message=message, yes=yes or plan is not None, shown=plan)
