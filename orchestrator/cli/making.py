"""`new journey`: a journey with its texts and its test, by a recipe or empty, fitted into the workspace's own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli import starter
from orchestrator.cli._look import counted, show_problems, table
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, Usage, plain_problem, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.problems import Problem
    from orchestrator.recipes import CannotMake, Made, Recipe

_APP = App(name="new", help="Write a journey to begin with: files that pass `check`, with a test beside them.")


def register(app: App) -> None:
    app.command(_APP)


@_APP.default
def new() -> int:
    """Show the recipes that `new journey --recipe NAME` writes, by what they are for."""
    return _listed(terminal())


@_APP.command
def journey(
    name: str = "",
    /,
    *,
    recipe: str = "",
    class_: Annotated[str, Parameter(name="--class")] = "",
    topic: str = "",
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> int:
    """Write a journey, its texts and its test into the workspace. Overwrites nothing and puts nothing in force.

    What a recipe needs and workspace.yaml does not declare is added there, comments and layout kept, and shown.

    Parameters
    ----------
    name
        What it is called. With a recipe it may be left out.
    recipe
        A journey of the field to begin with, such as `win-back`; without it, a small one with a word on each part.
    class_
        Of which class it is; without it, one that fits.
    topic
        The marketing topic of its messages; without it, one that fits.
    list_
        Show the recipes, and write nothing.
    """
    from orchestrator.recipes import CannotMake

    call = terminal()
    if list_:
        return _listed(call)
    if not call.workspace.is_dir():
        raise CannotRun(f"there is no folder {call.workspace}; `orchestrator init DIR` makes a workspace")
    try:
        found = make(call.workspace, name=name, recipe=recipe, class_name=class_, topic=topic)
    except CannotMake as error:
        return _refused(call, error)
    write(call.workspace, found)
    call.answer(lambda: _document(found), lambda console: _show(console, found))
    return FINE


def make(folder: Path, *, name: str = "", recipe: str = "", class_name: str = "", topic: str = "") -> Made:
    """What would be written, checked with everything that is there; its tests read, too.

    Raises orchestrator.recipes.CannotMake, and ProjectError where the workspace has errors of its own.
    """
    from datetime import UTC, datetime

    from orchestrator.cli.testing import read_tests
    from orchestrator.problems import ProjectError
    from orchestrator.project import load
    from orchestrator.recipes import BLANK, CannotMake, Wish, made
    from orchestrator.rehearsal import rehearsals

    wish = Wish(recipe or BLANK, name, class_name, topic)
    there = [path.relative_to(folder).as_posix() for path in _beside(folder)]
    found = made(wish, load(folder), there, _snippets(), datetime.now(UTC).date())
    tests = {path: text for path, text in found.files.items() if path.endswith(".test.yaml")}
    try:
        rehearsals({**read_tests(folder), **tests}, found.project)
    except ProjectError as error:
        mine = [p for p in error.problems if p.span.file in tests]
        if mine:
            raise CannotMake("the recipe's test does not fit this workspace; nothing was written", mine) from None
    return found


def _beside(folder: Path) -> Iterator[Path]:
    """Files whose place may be taken, and by which the layout of a workspace is known."""
    for part in ("journeys", "templates", "docs/schema"):
        yield from (path for path in (folder / part).rglob("*") if path.is_file())


def _snippets() -> dict[str, str]:
    folder = starter.folder() / "templates" / "snippets"
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.mjml"))}


def write(folder: Path, found: Made) -> None:
    """New files first, each only where there is none, then what was added to others; a failure takes all back."""
    written: list[Path] = []
    try:
        for path, text in found.files.items():
            to = folder / path
            to.parent.mkdir(parents=True, exist_ok=True)
            with to.open("x", encoding="utf-8", newline="\n") as file:
                written.append(to)
                file.write(text)
        for path, (before, after) in found.edited.items():
            aside = folder / f"{path}.new~"
            written.append(aside)
            aside.write_text(_ended_alike(before, after), encoding="utf-8", newline="\n")
        for path in found.edited:
            (folder / f"{path}.new~").replace(folder / path)
    except OSError as error:
        for to in written:
            to.unlink(missing_ok=True)
        raise CannotRun(f"nothing was written: {error.strerror or error}") from None


def _ended_alike(before: str, after: str) -> str:
    """With the line ends that the file has: what is added never makes them two kinds."""
    if "\r\n" not in before or before.count("\n") != before.count("\r\n"):
        return after
    return after.replace("\r\n", "\n").replace("\n", "\r\n")


# ---- what is told ---------------------------------------------------------------------------------------------------


def _refused(call: Terminal, error: CannotMake) -> int:
    if not error.problems and not error.by_hand:
        raise Usage(str(error))
    if call.json:
        problems = [plain_problem(p) for p in error.problems]
        call.document({"error": str(error), "problems": problems, "by_hand": error.by_hand})
        return PROBLEMS
    show_problems(call.console, error.problems, _texts(call.workspace, error.problems))
    call.console.print(f"\n[bold red]✗[/] {error}", soft_wrap=True)
    if error.by_hand:
        call.console.print("\nAdd by hand what it needs, in the words of your workspace:\n")
        call.console.print(error.by_hand, markup=False, soft_wrap=True)
    return PROBLEMS


def _texts(folder: Path, problems: tuple[Problem, ...]) -> Mapping[str, str]:
    from orchestrator.cli.terminal import sources

    return sources(folder, problems)


def next_steps(found: Made) -> tuple[tuple[str, str], ...]:
    """What to do now: a command and why, each."""
    return (
        (f"orchestrator preview {found.journey}", "look at its texts"),
        (f"orchestrator test {found.path.replace('.yaml', '.test.yaml')}", "see it pass its tests"),
        (f"orchestrator simulate {found.journey}", "play it ahead of time, with people made up; --sample 500: yours"),
        ("orchestrator plan", "what an apply would change"),
    )


def _show(console: Console, found: Made) -> None:
    console.print(f"[bold green]✓[/] [bold]{found.journey}[/]  [dim]class {found.class_name}, topic {found.topic}[/]")
    for path in found.files:
        console.print(f"  [green]+[/] {path}", soft_wrap=True)
    for path, (before, after) in found.edited.items():
        console.print(f"  [yellow]~[/] {path}", soft_wrap=True)
        for line in diff(path, before, after)[2:]:
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
            console.print(f"      [{colour}]{line.replace('[', chr(92) + '[')}[/]", soft_wrap=True)
    if found.warnings:
        console.print(f"\n{counted(len(found.warnings), 'warning')} of `check`:", markup=False)
        show_problems(console, found.warnings, found.project.files)
    for note in found.notes:
        console.print(f"\n[yellow]![/] {note}", soft_wrap=True)
    console.print("\nNext:")
    for command, why in next_steps(found):
        console.print(f"  [cyan]{command:<62}[/][dim]# {why}[/]", soft_wrap=True)


def diff(path: str, before: str, after: str) -> list[str]:
    """The change of a file, unified, two lines of what is around it."""
    import difflib

    old, new = before.splitlines(), after.splitlines()
    return list(difflib.unified_diff(old, new, path, path, n=2, lineterm=""))


def _document(found: Made) -> dict[str, Any]:
    return {
        "journey": found.journey,
        "file": found.path,
        "class": found.class_name,
        "topic": found.topic,
        "written": sorted(found.files),
        "changed": {p: "\n".join(diff(p, *texts)) for p, texts in found.edited.items()},
        "warnings": [plain_problem(p) for p in found.warnings],
        "notes": list(found.notes),
        "next": [command for command, _ in next_steps(found)],
    }


# ---- the list -------------------------------------------------------------------------------------------------------


def _listed(call: Terminal) -> int:
    from orchestrator.recipes import BLANK, recipes

    found = [one for one in recipes().values() if one.name != BLANK]

    def plain(one: Recipe) -> dict[str, Any]:
        return {"recipe": one.name, "group": one.group, "title": one.title, "about": one.about, "unit": one.unit}

    def show(console: Console) -> None:
        for group in dict.fromkeys(one.group for one in found):
            rows = table(f"\n{group}", "", "", wrap=("",))
            rows.show_header = False
            for one in found:
                if one.group == group:
                    rows.add_row(f"  [cyan]{one.name}[/]", one.about)
            console.print(rows)
        console.print("\n[dim]orchestrator new journey --recipe NAME writes one into this workspace[/]", soft_wrap=True)

    call.answer(lambda: {"recipes": [plain(one) for one in found]}, show)
    return FINE
