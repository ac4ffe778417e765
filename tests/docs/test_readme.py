"""The front page tells the truth: its journey is right, its mistake is told so, and `why` answers so."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator import wiring
from orchestrator.cli import demo, run, starter
from orchestrator.cli.terminal import Terminal
from orchestrator.tick import tick
from tests.docs.pages import README, ROOT, blocks, commands

TYPO = ("tier >= gold", "tier >= golden")
DAYS = 2
"""Days of the demo until the message on the page is held and sent."""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    starter.copy(tmp_path / "spring")
    monkeypatch.chdir(tmp_path / "spring")
    return tmp_path / "spring"


def journey() -> str:
    return blocks(README, "yaml journey")[0].text


def answers() -> list[str]:
    return [block.text for block in blocks(README, "text")]


def test_the_journey_passes_check(workspace, capsys):
    (workspace / "journeys" / "second-order.yaml").write_text(journey(), encoding="utf-8")
    assert run(["check"]) == 0
    shipped = [path for path in (ROOT / "journeys").glob("*/*.yaml") if not path.name.endswith(".test.yaml")]
    assert f"no problems in {len(shipped) + 1} journeys" in capsys.readouterr().out


def test_the_typo_is_told_byte_for_byte(workspace, capsys):
    assert journey().count(TYPO[0]) == 1
    (workspace / "journeys" / "second-order.yaml").write_text(journey().replace(*TYPO), encoding="utf-8")
    assert run(["check"]) == 1
    assert capsys.readouterr().out == answers()[0]


@pytest.fixture
def demonstrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The demo's first days, each tick by the flow's own verb; that it goes through Prefect is tested elsewhere."""
    folder = tmp_path / ".orchestrator" / "demo"

    def ticked(budget: int, at: datetime | None) -> dict[str, Any]:
        with wiring.connected(folder, now=at) as wired:
            report = tick(
                wired.store, wired.channels, wired.keys, clock=wired.clock, budget_seconds=budget, worker="test"
            )
            return report.counts()

    monkeypatch.chdir(tmp_path)
    story = demo.Story(Terminal(tmp_path, json=True), folder, DAYS)
    story.prepare(keep=False)
    story.play(ticked)  # type: ignore[arg-type]
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_why_answers_as_shown(demonstrated, capsys, monkeypatch):
    """The page shows an excerpt: its lines stand in the answer, in this order. A message's number hangs on how many
    the starter's other journeys sent before it."""

    def plain(text: str) -> str:
        return re.sub(r"\(message \d+,", "(message N,", text.rstrip())

    monkeypatch.setenv("COLUMNS", "120")
    (line,) = [line for _, line in commands(README) if " why " in line]
    assert run(line.split()[1:]) == 0
    told = map(plain, capsys.readouterr().out.splitlines())
    for shown in answers()[1].splitlines():
        if shown.strip() != "…":
            assert any(line == plain(shown) for line in told), f"not told, or not there: {shown}"
