"""What every command shares: the workspace it works on, how it answers (people or `--json`), and how it fails.

A command returns an exit code (None is 0): 0 fine, 1 problems, 2 usage, 3 could not run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.problems import Problem, ProjectError

FINE, PROBLEMS, USAGE, COULD_NOT_RUN = 0, 1, 2, 3
WORKSPACE = "ORCHESTRATOR_WORKSPACE"
"""The environment variable that names the workspace where no option does: for workers."""
WIDTH = 100
"""Columns when nobody is looking, so that what goes into a file or a pipe does not depend on a terminal."""


class CannotRun(Exception):
    """The command cannot do its work now. The message says what is wrong and what to do; exit code 3."""


class Usage(Exception):
    """The command was asked for something it does not take; exit code 2."""


@dataclass(frozen=True)
class Terminal:
    """One call of the command line."""

    workspace: Path
    json: bool = False

    @cached_property
    def console(self) -> Console:
        """For people: standard output, or standard error when that is kept for one JSON document."""
        from rich.console import Console

        stderr = self.json
        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
        return Console(stderr=stderr, width=width, highlight=False)

    def answer(self, data: Callable[[], Any], show: Callable[[Console], None]) -> None:
        """The command's result: `data()` as one JSON document with `--json`, else `show(console)`."""
        if self.json:
            self.document(data())
        else:
            show(self.console)

    def document(self, data: Any) -> None:
        """One JSON document on standard output: two spaces deep, instants as ISO 8601."""
        import msgspec

        raw = msgspec.json.encode(data, enc_hook=str, order="deterministic")
        print(msgspec.json.format(raw, indent=2).decode(), flush=True)  # `run --watch` is read as it goes


_current: ContextVar[Terminal | None] = ContextVar("terminal", default=None)


def terminal() -> Terminal:
    """The call that is being answered."""
    found = _current.get()
    return found if found is not None else Terminal(default_workspace())


@contextmanager
def answering(call: Terminal) -> Iterator[Terminal]:
    """Make this the call that is being answered."""
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


def default_workspace() -> Path:
    """What ORCHESTRATOR_WORKSPACE names, else the folder one stands in."""
    return Path(os.environ.get(WORKSPACE) or Path.cwd())


def tell_problems(error: ProjectError, call: Terminal) -> int:
    """Every problem with its place and line, on standard error; as a document on standard output with `--json`."""
    from orchestrator.problems import render

    if call.json:
        call.document({"problems": [plain_problem(p) for p in error.problems]})
    else:
        print(render(error.problems, sources(call.workspace, error.problems)), file=sys.stderr)
        print(f"\n{error}", file=sys.stderr)
    return PROBLEMS


def sources(workspace: Path, problems: tuple[Problem, ...]) -> dict[str, str]:
    """The texts that problems point into; one that cannot be read is left out, and shown without its line."""
    found = {}
    for name in {p.span.file for p in problems}:
        try:
            found[name] = (workspace / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError):
            continue
    return found


def plain_problem(problem: Problem) -> dict[str, Any]:
    """A problem as JSON shows it."""
    at = problem.span
    return {
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
        "hint": problem.hint,
        "file": at.file,
        "line": at.line,
        "column": at.col,
        "end_line": at.end_line,
        "end_column": at.end_col,
    }


def tell_failure(message: str, call: Terminal, code: int = COULD_NOT_RUN) -> int:
    """One sentence of what is wrong and what to do, on standard error; as a document too with `--json`."""
    if call.json:
        call.document({"error": message})
    print(f"error: {message}", file=sys.stderr)
    return code


def near(path: Path) -> str:
    """A path as one would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def program() -> str:
    """This program as one would type it from here: its name where the shell finds it, else its path."""
    import shutil

    beside = Path(sys.executable).with_name("orchestrator")
    return "orchestrator" if shutil.which("orchestrator") or not beside.exists() else near(beside)
