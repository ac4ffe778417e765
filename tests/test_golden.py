"""Bad workspaces, and word for word what a marketer is told: one problem for one mistake, at its place, with a hint.

A case is `golden/bad/NAME.yaml`; its first line names the file of the sound workspace it stands for. REGEN_GOLDEN=1
writes the `.out` files anew: read every change before it is committed.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from orchestrator.problems import Problem, ProjectError, render
from orchestrator.project import load_files
from tests.golden.workspace import GOOD

BAD = Path(__file__).resolve().parent / "golden" / "bad"
CASES = sorted(BAD.glob("*.yaml"))


@cache
def told(path: Path) -> tuple[tuple[Problem, ...], str]:
    text = path.read_bytes().decode("utf-8")
    place = text.partition("\n")[0].removeprefix("# ").strip()
    files = GOOD | {place: text}
    with pytest.raises(ProjectError) as caught:
        load_files(files)
    return caught.value.problems, render(caught.value.problems, files) + "\n"


@pytest.mark.parametrize("path", CASES, ids=[p.stem for p in CASES])
def test_what_is_told(path: Path) -> None:
    problems, text = told(path)
    expected = path.with_suffix(".out")
    if os.environ.get("REGEN_GOLDEN"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
    if not path.stem.startswith("several-"):
        assert len(problems) == 1, "one mistake is one problem"


def test_the_sound_workspace_is_sound() -> None:
    assert load_files(GOOD).warnings == ()


def test_there_are_cases_enough_and_no_stray_expectations() -> None:
    assert len(CASES) >= 50
    assert {p.stem for p in BAD.glob("*.out")} == {p.stem for p in CASES}


def test_every_problem_has_a_place_in_its_file_and_says_what_to_do() -> None:
    for path in CASES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for problem in told(path)[0]:
            assert 1 <= problem.span.line <= len(lines), path.name
            assert problem.span.col <= len(lines[problem.span.line - 1]) + 1, path.name
            assert problem.hint or "expected" in problem.message, f"{path.name}: no hint"
            assert "Traceback" not in problem.message and "\n" not in problem.message
