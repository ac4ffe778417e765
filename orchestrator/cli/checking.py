"""`check`: everything that can be known of a workspace without sending, for people, programs and pull requests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from orchestrator.cli._look import counted, listed, show_problems
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, near, plain_problem, sources, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.problems import Problem
    from orchestrator.project import Project


def register(app: App) -> None:
    app.command(check)


def check(folder: Path | None = None, /, *, format: Literal["text", "json", "github"] = "text") -> int:
    """Read a workspace and tell every mistake in it, each with its place and what to do. Needs no database.

    Parameters
    ----------
    folder
        The workspace; without it, the one that all commands work on.
    format
        How to tell: for people; as one JSON document (the same as --json); as annotations that GitHub shows beside the
        lines of a pull request.
    """
    call = terminal()
    where = folder.expanduser().absolute() if folder is not None else call.workspace
    call = Terminal(where, call.json or format == "json")
    if not where.is_dir():
        raise CannotRun(f"there is no folder {folder or where}; `orchestrator init DIR` makes a workspace")
    problems, project = _read(where)
    tests = _tests(where, problems, project)
    errors = [p for p in problems if p.severity == "error"]

    def show(console: Console) -> None:
        if problems and format == "github":
            print("\n".join(_annotation(where, p) for p in problems), file=console.file)
        elif problems:
            show_problems(console, problems, sources(where, tuple(problems)))
            console.print()
        console.print(_verdict(errors, problems, project, tests), soft_wrap=True)

    call.answer(lambda: _checked(where, errors, problems, project), show)
    return PROBLEMS if errors else FINE


def _read(folder: Path) -> tuple[list[Problem], Project | None]:
    """All problems of the machine settings and of the workspace, and the workspace when it has no error."""
    from orchestrator.problems import ProjectError
    from orchestrator.project import load, load_settings

    found: list[Problem] = []
    try:
        load_settings(folder, {})
    except ProjectError as error:
        found += error.problems
    try:
        project = load(folder, lint=True)
    except ProjectError as error:
        return [*found, *error.problems], None
    found += project.warnings
    return found, project


def _tests(folder: Path, problems: list[Problem], project: Project | None) -> int:
    """How many tests lie beside the journeys; what is wrong in them is added to the problems."""
    from orchestrator.cli.testing import read_tests
    from orchestrator.problems import ProjectError

    texts = read_tests(folder) if project is not None else {}
    if project is None or not texts:
        return 0
    from orchestrator.rehearsal import rehearsals

    try:
        return len(rehearsals(texts, project))
    except ProjectError as error:
        problems += error.problems
        return 0


def _verdict(errors: list[Problem], problems: list[Problem], project: Project | None, tests: int) -> str:
    warnings = counted(len(problems) - len(errors), "warning") if len(problems) > len(errors) else ""
    if errors:
        files = len({p.span.file for p in errors})
        text = f"[bold red]✗[/] {counted(len(errors), 'problem')} in {counted(files, 'file')}"
        return listed([text, warnings])
    parts = [counted(n, what) for what, n in _contents(project).items()] if project is not None else []
    parts += [counted(tests, "test")] if tests else []
    return f"[bold green]✓[/] no problems in {listed([*parts])}" + (f"; {warnings}" if warnings else "")


def _contents(project: Project) -> dict[str, int]:
    texts = sum(path.startswith("templates/") for path in project.files)
    return {"journey": len(project.journeys), "segment": len(project.segments), "text": texts}


def _checked(
    folder: Path, errors: list[Problem], problems: list[Problem], project: Project | None
) -> dict[str, object]:
    return {
        "workspace": folder,
        "errors": len(errors),
        "warnings": len(problems) - len(errors),
        "problems": [plain_problem(p) for p in problems],
        "journeys": sorted(project.journeys) if project is not None else None,
        "hash": project.hash if project is not None else None,
    }


# ---- annotations ----------------------------------------------------------------------------------------------------


def _annotation(folder: Path, problem: Problem) -> str:
    """One line that a GitHub workflow shows at its place: `::error file=…,line=…::what is wrong`."""
    at = problem.span
    told = {
        "file": _from_root(folder / at.file),
        "line": str(at.line),
        "col": str(at.col),
        "endLine": str(at.end_line),
        "endColumn": str(at.end_col),
        "title": problem.code,
    }
    named = ",".join(f"{key}={_property(value)}" for key, value in told.items())
    message = problem.message + (f"\n{problem.hint}" if problem.hint else "")
    return f"::{problem.severity} {named}::{_data(message)}"


def _from_root(path: Path) -> str:
    """A path as the repository has it, which is where a workflow's checkout lies."""
    root = os.environ.get("GITHUB_WORKSPACE")
    if root and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return near(path)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
