"""`init`, `plan`, `apply`: from an empty folder to a workspace in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from orchestrator.cli import starter
from orchestrator.cli._look import counted
from orchestrator.cli._opening import opened
from orchestrator.cli._planned import in_force, may_ask, me, plan_document, put, show_plan
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Usage, near, terminal

if TYPE_CHECKING:
    from rich.console import Console

FLAG = Parameter(negative=())
_IGNORED = """# What runs leave behind: the database with people's data, the keys, the outbox.
.orchestrator/
*.quarantine-*
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


# ---- plan and apply -------------------------------------------------------------------------------------------------


def plan(*, all: Annotated[bool, FLAG] = False) -> int:
    """What an apply would change, in words and numbers: who would enter, and what becomes of those inside. Changes
    nothing. Ends with 1 where an apply would be refused.

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
            before = in_force(conn)

    def show(console: Console) -> None:
        show_plan(console, found, before, project.files, all)
        if found.changes and not found.problems:
            console.print(f"\n[dim]plan {found.id}: `orchestrator apply -m … --plan {found.id}` does exactly this[/]")

    call.answer(lambda: plan_document(found), show)
    return PROBLEMS if found.problems else FINE


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
    project = load(call.workspace)
    with opened(call.workspace) as wired:
        return put(call, wired, project, author=me(author), message=message, yes=yes or plan is not None, shown=plan)
