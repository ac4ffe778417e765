"""`check`: everything that can be known of a workspace without sending, for people, programs and pull requests."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

import orchestrator
from orchestrator.cli._look import counted, listed, show_problems
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, near, plain_problem, sources, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.problems import Problem
    from orchestrator.project import Project
    from orchestrator.recall import Recall


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
    with _uncollected():
        recall = _recalled(where)
        problems, project = _read(where, recall)
        tests = _tests(where, problems, project, recall)
    if project is None:  # what could not be looked at may still be as it was
        recall.after = {**recall.before, **recall.after}
    _keep(where, recall)
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


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector: nearly all that a check makes lives to its end, and looking through it again and again
    took a fifth of its time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _read(folder: Path, recall: Recall) -> tuple[list[Problem], Project | None]:
    """All problems of the machine settings and of the workspace, and the workspace when it has no error."""
    from orchestrator.problems import ProjectError
    from orchestrator.project import load

    found = _settings(folder, recall)
    try:
        project = load(folder, lint=True, recall=recall)
    except ProjectError as error:
        return [*found, *error.problems], None
    found += project.warnings
    return found, project


def _settings(folder: Path, recall: Recall) -> list[Problem]:
    from orchestrator.problems import ProjectError
    from orchestrator.project import load_settings

    path = folder / "orchestrator.toml"
    try:
        key = recall.key(path.read_text(encoding="utf-8")) if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        key = ""
    if key and recall.found(path.name, key) is not None:
        return []
    try:
        load_settings(folder, {})
    except ProjectError as error:
        return list(error.problems)
    if key:
        recall.keep(path.name, key)
    return []


def _tests(folder: Path, problems: list[Problem], project: Project | None, recall: Recall) -> int:
    """How many tests lie beside the journeys; what is wrong in them is added to the problems."""
    from orchestrator.cli.testing import read_tests
    from orchestrator.problems import ProjectError

    texts = read_tests(folder) if project is not None else {}
    if project is None or not texts:
        return 0
    names = ",".join(sorted(f"{t.medium}/{t.name}" for t in project.templates))
    count, changed = 0, {}
    for path, text in texts.items():
        named = [f"{j.name} {j.version}" for j in project.journeys.values() if j.name in text]
        key = recall.key(text, path, names, ",".join(sorted(project.journeys)), *named)
        entry = recall.found(path, key)
        count += int(entry["tests"]) if entry is not None else 0
        if entry is None:
            changed[path] = (text, key)
    if not changed:
        return count
    from orchestrator.rehearsal import rehearsals

    try:
        found = Counter(test.span.file for test in rehearsals({path: t for path, (t, _) in changed.items()}, project))
    except ProjectError as error:
        problems += error.problems
        return count
    for path, (_, key) in changed.items():
        recall.keep(path, key, tests=found[path])
    return count + found.total()


# ---- what the last check found out ----------------------------------------------------------------------------------


def _kept(folder: Path) -> Path:
    """Where it lies: with the caches of whoever is logged in, so that a check leaves nothing in the workspace, and a
    workspace that comes from elsewhere brings no findings along."""
    from orchestrator.source import digest

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "campaign-orchestrator" / f"check-{digest(str(folder.resolve()))[:20]}.json"


def _recalled(folder: Path) -> Recall:
    """What an earlier check of this workspace found out, as far as it was this very program."""
    import msgspec

    from orchestrator.recall import Recall

    before: dict[str, Any] = {}
    # What cannot be read is found out again; RuntimeError: nobody knows where this user is at home.
    with suppress(OSError, RuntimeError, msgspec.DecodeError):
        before = msgspec.json.decode(_kept(folder).read_bytes(), type=dict[str, dict[str, Any]])
    return Recall(_stamp(), before)


def _keep(folder: Path, recall: Recall) -> None:
    """Writes it down; where nothing can be written, the next check takes longer."""
    if not recall.changed:
        return
    import tempfile

    import msgspec

    with suppress(OSError, RuntimeError, TypeError, msgspec.MsgspecError):
        written, path = msgspec.json.encode(recall.after), _kept(folder)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix="check-", delete=False) as file:
            file.write(written)
        Path(file.name).replace(path)


def _stamp() -> str:
    """Names the program by its files and what is installed beside it: an update looks at everything anew."""
    package = Path(orchestrator.__file__).parent
    sources = (*package.glob("*.py"), *package.glob("*/*.py"))
    newest = sorted((path.name, path.stat().st_mtime_ns) for path in sources)
    return f"{orchestrator.__version__} {sys.version} {(package.parent).stat().st_mtime_ns} {newest}"


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
