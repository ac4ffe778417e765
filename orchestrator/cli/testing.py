"""`test`: journeys' tests, each on a scratch database, with the real engine and a clock that jumps."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.project import Project
    from orchestrator.rehearsal import Rehearsal
    from orchestrator.rehearse import Reached, Verdict


def register(app: App) -> None:
    app.command(test)


def test(
    paths: tuple[Path, ...] = (),
    /,
    *,
    journey: str | None = None,
    only: Annotated[str | None, Parameter(name=["--only", "-k"])] = None,
    coverage: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run the tests that lie beside the journeys: the real engine, a clock that jumps, and nobody is written to.

    Ends with 1 where a test fails, and where one is written wrongly: then none is run.

    Parameters
    ----------
    paths
        Files or folders; without them, every `.test.yaml` of the workspace.
    journey
        Only tests of this journey.
    only
        Only tests whose sentence or file has these words in it.
    coverage
        Tell which steps and ways of each journey no test came to.
    """
    from orchestrator.project import load

    call = terminal()
    texts = read_tests(call.workspace, paths)
    project = load(call.workspace)
    if journey is not None and journey not in project.journeys:
        raise Usage(f"there is no journey `{journey}`; there are: {', '.join(sorted(project.journeys))}")
    tests = _chosen(texts, project, journey, only)
    if not tests:
        raise CannotRun("there is no such test; tests are files named NAME.test.yaml beside the journeys")
    verdicts = list(_played(call, tests, project))
    call.answer(
        lambda: _document(verdicts, project, coverage), lambda console: _show(console, verdicts, project, coverage)
    )
    return FINE if all(v.passed for v in verdicts) else PROBLEMS


def read_tests(workspace: Path, paths: Sequence[Path] = ()) -> dict[str, str]:
    """Texts of test files by their path in the workspace. Raises Usage for a path where there is none."""
    from orchestrator.rehearsal import ENDING

    found: dict[str, str] = {}
    for path in paths or (workspace / "journeys",):
        where = path if path.is_absolute() or path.exists() else workspace / path
        files = [where] if where.is_file() else sorted(where.rglob(f"*{ENDING}"))
        if paths and not files:
            raise Usage(f"there is no test at {path}; tests are files named NAME{ENDING}")
        for file in files:
            if any(part.startswith(".") for part in file.relative_to(file.anchor).parts[-6:]):
                continue
            resolved = file.resolve()
            inside = resolved.is_relative_to(workspace.resolve())
            name = resolved.relative_to(workspace.resolve()).as_posix() if inside else str(path)
            try:
                found[name] = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise CannotRun(f"{name} cannot be read: {type(error).__name__}") from None
    return found


def _chosen(texts: Mapping[str, str], project: Project, journey: str | None, only: str | None) -> list[Rehearsal]:
    from orchestrator.rehearsal import rehearsals

    tests = list(rehearsals(texts, project))
    if journey is not None:
        tests = [t for t in tests if journey in t.journeys]
    if only:
        tests = [t for t in tests if only.lower() in f"{t.name} {t.path}".lower()]
    return tests


def _played(call: Terminal, tests: Sequence[Rehearsal], project: Project) -> Iterator[Verdict]:
    """Each verdict as it comes, with a bar for people at a terminal."""
    from channels.base import Medium
    from orchestrator.rehearse import Stage

    null: Any = importlib.import_module("channels.null")
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder, _progress(call, len(tests)) as step:
        stage = Stage(Path(folder), {medium: null.Null(medium) for medium in Medium})
        for one in tests:
            step(one.name, 0)
            yield stage.run(one, project)
            step(one.name, 1)


@contextmanager
def _progress(call: Terminal, total: int) -> Iterator[Any]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<60.60}"), BarColumn(30), TextColumn("{task.completed}/{task.total}"))
    quiet = call.json or not call.console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=call.console, disable=quiet, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda text, done: bar.update(task, description=text, advance=done)


# ---- what is told ---------------------------------------------------------------------------------------------------


def _show(console: Console, verdicts: Sequence[Verdict], project: Project, coverage: bool) -> None:
    path = ""
    for verdict in verdicts:
        if verdict.test.path != path:
            path = verdict.test.path
            console.print(f"[dim]{path}[/]", soft_wrap=True)
        sign = "[bold green]✓[/]" if verdict.passed else "[bold red]✗[/]"
        console.print(f"  {sign} ", end="")
        console.print(verdict.test.name, markup=False, soft_wrap=True)
        if not verdict.passed:
            _failed(console, verdict)
    if coverage:
        _coverage(console, verdicts, project)
    failed = sum(not v.passed for v in verdicts)
    tests = counted(len(verdicts), "test")
    console.print(f"\n[bold red]✗[/] {failed} of {tests} failed" if failed else f"\n[bold green]✓[/] {tests} passed")


def _failed(console: Console, verdict: Verdict) -> None:
    from rich.table import Table
    from rich.text import Text

    from orchestrator.zones import local

    for failure in verdict.failures:
        said = {"missing": "did not come", "forbidden": "must not come", "untrue": "is not so"}.get(failure.kind, "")
        console.print(Text.assemble(("    ", ""), (str(failure.span), "cyan")), soft_wrap=True)
        console.print(Text.assemble(("      ", ""), failure.text, (f"  {said}", "bold red")), soft_wrap=True)
        for line in failure.why:
            console.print(Text(f"        {line}", style="dim"), soft_wrap=True)
    if not verdict.turns:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("    ", "when", "expected", "got"):
        table.add_column(title, header_style="dim", overflow="fold")
    for turn in verdict.turns:
        at = local(turn.at, verdict.test.zone) or turn.at
        style = "" if turn.good and turn.got else "red"
        sign = " " if not style else "+" if turn.got else "-"
        when = f"{at:%Y-%m-%d %H:%M}" if turn.got else f"{at:%Y-%m-%d}"
        table.add_row(f"    {sign}", when, Text(turn.expected or "", style), Text(turn.got or "", style))
    console.print(table)


def _coverage(console: Console, verdicts: Sequence[Verdict], project: Project) -> None:
    console.print("\n[bold]Steps and ways that tests came to[/]")
    for name, (reached, steps, taken, all_ways) in _reached(verdicts, project).items():
        unseen = [s for s in steps if s not in reached.steps]
        untaken = [f"{step} → {way}" for step, way in all_ways if (step, way) not in taken]
        done, whole = len(steps) - len(unseen) + len(all_ways) - len(untaken), len(steps) + len(all_ways)
        share = f"{done * 100 // whole if whole else 100} %"
        console.print(f"  {share:>5}  {name}", soft_wrap=True)
        for missing in (*unseen, *untaken):
            console.print(f"         [yellow]never:[/] {missing}", soft_wrap=True)


def _reached(
    verdicts: Sequence[Verdict], project: Project
) -> dict[str, tuple[Reached, list[str], frozenset[tuple[str, str]], tuple[tuple[str, str], ...]]]:
    from orchestrator.rehearse import Reached, ways

    found = {}
    for name, journey in sorted(project.journeys.items()):
        mine = [v.reached[name] for v in verdicts if name in v.reached]
        steps = frozenset(s for r in mine for s in r.steps)
        taken = frozenset(w for r in mine for w in r.ways)
        all_steps = [s.id for s in journey.every_step()]
        found[name] = (Reached(steps, taken), all_steps, taken, ways(journey))
    return found


def _document(verdicts: Sequence[Verdict], project: Project, coverage: bool) -> dict[str, Any]:
    tests = [
        {
            "test": v.test.name,
            "file": v.test.path,
            "journeys": v.test.journeys,
            "passed": v.passed,
            "failures": [
                {"kind": f.kind, "text": f.text, "file": f.span.file, "line": f.span.line, "why": f.why}
                for f in v.failures
            ],
            "timeline": [{"at": t.at, "expected": t.expected, "got": t.got, "good": t.good} for t in v.turns],
        }
        for v in verdicts
    ]
    found: dict[str, Any] = {"passed": sum(v.passed for v in verdicts), "tests": tests}
    if coverage:
        found["coverage"] = [
            {
                "journey": name,
                "steps": len(steps),
                "unreached": [s for s in steps if s not in reached.steps],
                "ways": len(every),
                "untaken": [f"{step} → {way}" for step, way in every if (step, way) not in taken],
            }
            for name, (reached, steps, taken, every) in _reached(verdicts, project).items()
        ]
    return found
