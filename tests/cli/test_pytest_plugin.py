"""Journeys' tests under pytest: collected by themselves, told as `orchestrator test` tells them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import World
from tests.cli.test_testing import FAILS, PASSES, WRONG, put


def run(world: World, *arguments: str) -> tuple[int, str]:
    """pytest in a process of its own, as a house's CI runs it."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "--color=no", *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=world.folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_what_passes_and_what_of_journeys_was_come_to(small):
    put(small, PASSES)
    code, said = run(small, "-v", "--journey-coverage")
    assert code == 0, said
    assert "hello.test.yaml::gold hears twice PASSED" in said
    assert "100%  hello" in said and "0%  golden" in said and "never any test" in said


@pytest.mark.slow
def test_what_fails_is_told_as_a_timeline_and_what_is_wrong_with_its_place(small):
    put(small, FAILS)
    put(small, WRONG, "wrong.test.yaml")
    code, said = run(small, "journeys/hello.test.yaml")
    assert code == 1, said
    assert "2027-03-04 email again to ana did not come" in said
    assert "expected" in said and "Traceback" not in said
    code, said = run(small, "journeys/wrong.test.yaml")
    assert code == 2, said
    assert "journeys/wrong.test.yaml:8:" in said and "unknown-person" in said and "Traceback" not in said
