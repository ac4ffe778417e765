"""`test`: journeys' tests, each on a scratch database, with the real engine and a clock that jumps."""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from channels.base import Channel, Medium
    from orchestrator.project import Project
    from orchestrator.rehearsal import Rehearsal
    from orchestrator.rehearse import Coverage, Stage, Turn, Verdict

A_PROCESS = 8
"""So many tests are worth a process of their own."""
ENDING = ".test.yaml"
"""Of `orchestrator.rehearsal`, whose import reads the tables of phone numbers."""


def register(app: App) -> None:
    app.command(test)


def test(
    paths: tuple[Path, ...] = (),
    /,
    *,
    journey: str | None = None,
    only: Annotated[str | None, Parameter(name=["--only", "-k"])] = None,
    coverage: Annotated[bool, Parameter(negative=())] = False,
    record: str | None = None,
    out: Path | None = None,
    customers: int = 300,
    days: int = 120,
    seed: int = 1,
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
    record
        Write tests of this journey from a simulation: of people made up, those who go different ways, what they do,
        and what comes of it. Read them before you keep them: they say what is, not what should be.
    out
        Where to write them; without it, NAME.test.yaml beside the journey.
    customers
        How many are made up for the simulation.
    days
        How long it lasts.
    seed
        Another number, other people.
    """
    from orchestrator.project import load

    call = terminal()
    if record is not None:
        if paths or journey or only or coverage:
            raise Usage("--record NAME writes tests of a journey; it takes --out, --customers, --days and --seed alone")
        return _record(call, record, out, customers, days, seed)
    texts = read_tests(call.workspace, paths)
    project = load(call.workspace)
    if journey is not None and journey not in project.journeys:
        from orchestrator.problems import suggest

        raise Usage(f"there is no journey `{journey}`; {suggest(journey, project.journeys)}".removesuffix("; "))
    tests = _chosen(texts, project, journey, only)
    if not tests:
        raise CannotRun("there is no such test; tests are files named NAME.test.yaml beside the journeys")
    verdicts = list(_played(call, tests, project))
    covered = _covered(verdicts, project, journey) if coverage else []
    call.answer(lambda: _document(verdicts, covered), lambda console: _show(console, verdicts, covered))
    return FINE if all(v.passed for v in verdicts) else PROBLEMS


def read_tests(workspace: Path, paths: Sequence[Path] = ()) -> dict[str, str]:
    """Texts of test files by their path in the workspace. Raises Usage for a path where there is none."""
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
    """Each verdict in order, with a bar for people at a terminal; many tests by several processes."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder, ExitStack() as stack:
        verdicts = _by_processes(stack, Path(folder), tests, project) or _one_by_one(Path(folder), tests, project)
        step = stack.enter_context(_progress(call, len(tests)))
        for one, verdict in zip(tests, verdicts, strict=True):
            step(one.name, 1)
            yield verdict


def _one_by_one(folder: Path, tests: Sequence[Rehearsal], project: Project) -> Iterator[Verdict]:
    stage = a_stage(folder)
    return (stage.run(one, project) for one in tests)


def a_stage(folder: Path) -> Stage:
    """Where tests are played, in a folder of the caller's: messages are taken, and kept nowhere."""
    from orchestrator.rehearse import Stage

    return Stage(folder, _nowhere())


def _nowhere() -> dict[Medium, Channel]:
    """Channels that take everything, and keep nothing."""
    from channels.base import Medium

    null: Any = importlib.import_module("channels.null")
    return {medium: null.Null(medium) for medium in Medium}


@dataclass(slots=True)
class _Shared:
    """What processes have in common from the moment they are forked, and each one's own stage."""

    folder: Path = Path()
    tests: Sequence[Rehearsal] = ()
    project: Project | None = None
    stage: Stage | None = None


_shared = _Shared()


def _by_processes(
    stack: ExitStack, folder: Path, tests: Sequence[Rehearsal], project: Project
) -> Iterator[Verdict] | None:
    """None where there are too few tests, or processes cannot share what is loaded."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    processes = min(os.cpu_count() or 1, len(tests) // A_PROCESS)
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return None
    _shared.folder, _shared.tests, _shared.project = folder, tests, project
    pool = stack.enter_context(ProcessPoolExecutor(processes, multiprocessing.get_context("fork")))
    # All of them at once, and before the bar has a thread: a fork must not take a lock with it that somebody holds.
    return pool.map(_in_a_process, range(len(tests)))


def _in_a_process(number: int) -> Verdict:
    assert _shared.project is not None
    if _shared.stage is None:
        mine = _shared.folder / str(os.getpid())
        mine.mkdir()
        _shared.stage = a_stage(mine)
    return _shared.stage.run(_shared.tests[number], _shared.project)


@contextmanager
def _progress(call: Terminal, total: int) -> Iterator[Any]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<60.60}"), BarColumn(30), TextColumn("{task.completed}/{task.total}"))
    quiet = call.json or not call.console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=call.console, disable=quiet, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda text, done: bar.update(task, description=text, advance=done)


# ---- written from a simulation --------------------------------------------------------------------------------------


def _record(call: Terminal, name: str, out: Path | None, customers: int, days: int, seed: int) -> int:
    from datetime import UTC, datetime, timedelta

    from orchestrator.problems import suggest
    from orchestrator.project import load
    from orchestrator.rehearse.recording import record

    if not (1 <= customers <= 10_000 and 1 <= days <= 3650):
        raise Usage("--customers takes 1 to 10,000, --days 1 to 3,650")
    project = load(call.workspace)
    if name not in project.journeys:
        hint = suggest(name, project.journeys)
        raise Usage(f"there is no journey `{name}`" + (f"; {hint}" if hint else ""))
    path = out or (call.workspace / project.journeys[name].path).with_suffix(".test.yaml")
    if path.exists():
        raise Usage(f"{path} is there already, and nothing is written over it; name another file with --out")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        found = record(
            project,
            name,
            begin=today,
            until=today + timedelta(days=days),
            customers=customers,
            seed=seed,
            folder=Path(folder),
            channels=_nowhere(),
        )
    if not found.text:
        why = "nobody entered it" if not found.runs else f"none of its {found.runs} runs could be told as a test"
        raise CannotRun(f"{name}: {why}; try more --customers or --days, or write the test by hand")
    head = (
        f"# Written from a simulation of {customers} made-up customers (seed {seed}): what comes, for you to judge.\n"
    )
    path.write_text(head + found.text, encoding="utf-8")

    def show(console: Console) -> None:
        console.print(f"[bold green]✓[/] {counted(found.tests, 'test')} in [bold]{path}[/]", soft_wrap=True)
        _show_coverage(console, [found.covered])
        console.print("\nRead them before you keep them: they say what comes, not what should come.")

    covered = {"unreached": found.covered.unreached, "untaken": [list(way) for way in found.covered.untaken]}
    call.answer(lambda: {"file": str(path), "tests": found.tests, "runs": found.runs, **covered}, show)
    return FINE


# ---- what is told ---------------------------------------------------------------------------------------------------


def _show(console: Console, verdicts: Sequence[Verdict], covered: Sequence[Coverage]) -> None:
    path = ""
    for verdict in verdicts:
        if verdict.test.path != path:
            path = verdict.test.path
            console.print(f"[dim]{path}[/]", soft_wrap=True)
        sign = "[bold green]✓[/]" if verdict.passed else "[bold red]✗[/]"
        console.print(f"  {sign} ", end="")
        console.print(verdict.test.name, markup=False, soft_wrap=True)
        if not verdict.passed:
            show_failures(console, verdict)
    if covered:
        _show_coverage(console, covered)
    failed = sum(not v.passed for v in verdicts)
    tests = counted(len(verdicts), "test")
    console.print(f"\n[bold red]✗[/] {failed} of {tests} failed" if failed else f"\n[bold green]✓[/] {tests} passed")


_SAID = {
    "missing": "did not come",
    "unexpected": "came, and no line of `expect` says so",
    "forbidden": "must not come",
    "untrue": "is not so",
}


def show_failures(console: Console, verdict: Verdict) -> None:
    """Each failure with its line and what came instead, then all that was expected beside all that came."""
    from rich.padding import Padding
    from rich.text import Text

    for failure in verdict.failures:
        console.print(Text(f"    {failure.span.file}:{failure.span.line}", style="cyan"), soft_wrap=True)
        told = Text.assemble("      ", failure.text, " ", (_SAID.get(failure.kind, ""), "bold red"))
        console.print(told, soft_wrap=True)
        for line in failure.why:
            console.print(Padding(Text(line, style="dim"), (0, 0, 0, 8)))
    if verdict.turns:
        console.print(Padding(_timeline(verdict), (0, 0, 1, 4)))


def _timeline(verdict: Verdict) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for title in (" ", "when", "expected", "got"):
        table.add_column(title, overflow="fold", no_wrap=title == "when")
    for turn in verdict.turns:
        sign = "✓" if turn.good and turn.expected else " " if turn.good else "+" if turn.got else "−"
        style = "" if turn.good and turn.expected else "dim" if turn.good else "red"
        cells = (sign, _when(turn, verdict), _short(turn.expected), turn.got or "")
        table.add_row(*(Text(cell, style) for cell in cells))
    return table


def _when(turn: Turn, verdict: Verdict) -> str:
    from orchestrator.zones import local

    at = local(turn.at, verdict.test.zone) or turn.at
    return f"{at:%Y-%m-%d %H:%M}" if turn.timed else f"{at:%Y-%m-%d}"


def _short(expected: str | None) -> str:
    """A line without its time, which stands beside it; what has none says so."""
    if expected is None:
        return ""
    return re.sub(r"^(\d{4}-\d\d-\d\d|after \d+ (business )?\w+)( \d?\d:\d\d(-\d?\d:\d\d)?)? ", "", expected)


def _covered(verdicts: Sequence[Verdict], project: Project, asked: str | None) -> list[Coverage]:
    """Of the journey asked for, else of every one."""
    from orchestrator.rehearse import coverage

    names = [asked] if asked is not None else sorted(project.journeys)
    return [
        coverage(project.journeys[name], [v.reached[name] for v in verdicts if name in v.reached]) for name in names
    ]


def _show_coverage(console: Console, covered: Sequence[Coverage]) -> None:
    console.print("\nWhat tests came to, of each journey's steps and ways")
    for one in covered:
        colour = "green" if one.share == 1 else "yellow" if one.share else "red"
        console.print(f"  [{colour}]{one.share:>5.0%}[/]  {one.journey}", soft_wrap=True)
        if not one.share:
            console.print("         [dim]no test[/]")
            continue
        for missed in (*one.unreached, *(f"{step} → {way}" for step, way in one.untaken)):
            console.print(f"         [dim]never[/] {missed}", soft_wrap=True)


def _document(verdicts: Sequence[Verdict], covered: Sequence[Coverage]) -> dict[str, Any]:
    tests = [
        {
            "test": v.test.name,
            "file": v.test.path,
            "line": v.test.span.line,
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
    passed = sum(v.passed for v in verdicts)
    found: dict[str, Any] = {"passed": passed, "failed": len(verdicts) - passed, "tests": tests}
    if covered:
        found["coverage"] = [
            {
                "journey": one.journey,
                "share": round(one.share, 4),
                "steps": one.steps,
                "unreached": one.unreached,
                "ways": one.ways,
                "untaken": [{"step": step, "way": way} for step, way in one.untaken],
            }
            for one in covered
        ]
    return found
