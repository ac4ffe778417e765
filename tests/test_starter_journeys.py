"""The starter workspace's own tests pass, and every starter journey has one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from channels.base import Medium
from channels.null import Null
from orchestrator.cli.testing import read_tests
from orchestrator.project import Project, load
from orchestrator.rehearsal import Rehearsal, rehearsals
from orchestrator.rehearse import Stage

ROOT = Path(__file__).resolve().parent.parent


@lru_cache(maxsize=1)
def starter() -> tuple[Project, tuple[Rehearsal, ...]]:
    project = load(ROOT)
    return project, rehearsals(read_tests(ROOT), project)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        yield Stage(Path(folder), {medium: Null(medium) for medium in Medium})


def files() -> list[str]:
    return sorted({test.path for test in starter()[1]})


@pytest.mark.slow
@pytest.mark.parametrize("path", files())
def test_the_tests_of_a_starter_journey_pass(path, stage):
    project, tests = starter()
    for test in tests:
        if test.path == path:
            verdict = stage.run(test, project)
            told = "\n".join(f"{f.span}: {f.text}\n  " + "\n  ".join(f.why) for f in verdict.failures)
            assert verdict.passed, f"{test.name}\n{told}"


def test_every_starter_journey_has_a_test_of_its_own():
    project, tests = starter()
    tested = {name for test in tests if len(test.journeys) < len(project.journeys) for name in test.journeys}
    assert set(project.journeys) - tested == set()
