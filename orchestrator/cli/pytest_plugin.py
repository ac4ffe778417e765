"""For pytest: journeys' tests (`*.test.yaml`) collected beside all others, with the timeline where one fails.

Installed with the program, and found by pytest itself. It takes only files of a workspace (a folder above them
with journeys/workspace.yaml) and imports nothing of ours before it has found one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orchestrator.project import Project
    from orchestrator.rehearsal import Rehearsal
    from orchestrator.rehearse import Stage, Verdict

ENDING = ".test.yaml"
_REACHED = "orchestrator.reached"
_OPTION = "--journey-coverage"
_stages = pytest.StashKey[dict[Path, "Workspace"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("journeys", "tests of customer journeys")
    group.addoption(_OPTION, action="store_true", help="tell which steps and ways of journeys no test came to")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_stages] = {}
    if config.getoption(_OPTION):
        config.pluginmanager.register(Coverage(), "journey-coverage")


def pytest_unconfigure(config: pytest.Config) -> None:
    for workspace in config.stash.get(_stages, {}).values():
        workspace.close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not file_path.name.endswith(ENDING):
        return None
    folder = next((above for above in file_path.parents if (above / "journeys" / "workspace.yaml").is_file()), None)
    return None if folder is None else JourneyTests.from_parent(parent, path=file_path, folder=folder)


class Workspace:
    """One workspace of this run: read once, with one stage for all of its tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._scratch = tempfile.TemporaryDirectory(prefix="rehearsal-")

    @cached_property
    def project(self) -> Project:
        from orchestrator.project import load

        return load(self.folder)

    @cached_property
    def stage(self) -> Stage:
        from orchestrator.cli.testing import a_stage

        return a_stage(Path(self._scratch.name))

    def close(self) -> None:
        self._scratch.cleanup()


class JourneyTests(pytest.File):
    """A file of journeys' tests."""

    folder: Path

    def __init__(self, *, folder: Path, **rest: Any) -> None:
        super().__init__(**rest)
        self.folder = folder

    def collect(self) -> Iterable[pytest.Item]:
        from orchestrator.cli.terminal import sources
        from orchestrator.cli.testing import read_tests
        from orchestrator.problems import ProjectError, render
        from orchestrator.rehearsal import rehearsals

        known = self.config.stash[_stages]
        workspace = known.setdefault(self.folder, Workspace(self.folder))
        try:
            tests = rehearsals(read_tests(self.folder, [self.path]), workspace.project)
        except ProjectError as error:
            raise self.CollectError(render(error.problems, sources(self.folder, error.problems))) from None
        for test in tests:
            yield JourneyTest.from_parent(self, name=test.name, test=test, workspace=workspace)


class NotAsExpected(Exception):
    """A test of a journey that failed."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.test.name)
        self.verdict = verdict


class JourneyTest(pytest.Item):
    """One test: played on the real engine, by a clock that jumps."""

    def __init__(self, *, test: Rehearsal, workspace: Workspace, **rest: Any) -> None:
        super().__init__(**rest)
        self.test, self.workspace = test, workspace

    def runtest(self) -> None:
        verdict = self.workspace.stage.run(self.test, self.workspace.project)
        if self.config.getoption(_OPTION):
            self.user_properties.append((_REACHED, _plain(self.workspace.folder, verdict)))
        if not verdict.passed:
            raise NotAsExpected(verdict)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if not isinstance(excinfo.value, NotAsExpected):
            return super().repr_failure(excinfo, style)
        from rich.console import Console

        from orchestrator.cli.testing import show_failures

        told = StringIO()
        show_failures(Console(file=told, width=110, highlight=False), excinfo.value.verdict)
        return told.getvalue()

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.test.span.line - 1, self.name


# ---- coverage -------------------------------------------------------------------------------------------------------


def _plain(folder: Path, verdict: Verdict) -> dict[str, Any]:
    """What a test came to as plain data, so that it also comes back from another process."""
    reached = {name: [sorted(r.steps), sorted(map(list, r.ways))] for name, r in verdict.reached.items()}
    return {"folder": str(folder), "reached": reached}


class Coverage:
    """What all tests came to together, told at the end."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.found += [value for name, value in report.user_properties if name == _REACHED]  # type: ignore[misc]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for folder in sorted({found["folder"] for found in self.found}):
            terminalreporter.section(f"journeys of {folder}")
            for line in self._lines(folder):
                terminalreporter.write_line(line)

    def _lines(self, folder: str) -> Iterator[str]:
        from orchestrator.project import load
        from orchestrator.rehearse import Reached, coverage

        reached: dict[str, list[Reached]] = {}
        for found in self.found:
            for name, (steps, ways) in found["reached"].items() if found["folder"] == folder else ():
                reached.setdefault(name, []).append(Reached(frozenset(steps), frozenset((s, w) for s, w in ways)))
        for name, journey in sorted(load(Path(folder)).journeys.items()):
            one = coverage(journey, reached.get(name, []))
            yield f"{one.share:>5.0%}  {name}"
            missed = (*one.unreached, *(f"{step} → {way}" for step, way in one.untaken)) if one.share else ("any test",)
            yield from (f"       never {missing}" for missing in missed)
