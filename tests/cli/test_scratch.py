"""What is copied of persons is gone, however the process ends that copied it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli._scratch import scratch, sweep

PLAY = """
import sys, time
from pathlib import Path
from orchestrator.cli._scratch import scratch
with scratch("played", Path(sys.argv[1])) as folder:
    (folder / "simulation.db").write_text("somebody")
    print(folder, flush=True)
    time.sleep(60)
"""


def begun(home: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has copied somebody, and where."""
    process = subprocess.Popen([sys.executable, "-c", PLAY, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert (folder / "simulation.db").exists() and folder.stat().st_mode & 0o777 == 0o700
    return process, folder


def ended(process: subprocess.Popen[str], how: signal.Signals) -> int:
    process.send_signal(how)
    process.communicate(timeout=30)
    return process.returncode


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_stop_leaves_nothing(tmp_path: Path, how: signal.Signals):
    process, folder = begun(tmp_path)
    assert ended(process, how) != 0
    assert not folder.exists()


def test_what_a_killed_process_leaves_goes_with_the_next_and_what_is_in_use_stays(tmp_path: Path):
    killed, left = begun(tmp_path)
    other, in_use = begun(tmp_path)
    try:
        assert ended(killed, signal.SIGKILL) == -signal.SIGKILL
        assert left.exists()
        with scratch("played", tmp_path):
            assert not left.exists()
            assert (in_use / "simulation.db").exists()
    finally:
        ended(other, signal.SIGTERM)
    assert not list(tmp_path.iterdir())


def test_only_folders_of_its_own_are_swept(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "held").touch()
    home = tmp_path / "home"
    home.mkdir()
    (home / "played-link").symlink_to(elsewhere)
    (home / "played-of-another-kind").mkdir()
    (home / "kept-1").mkdir()
    os.close(os.open(home / "kept-1" / "held", os.O_CREAT, 0o600))
    sweep("played", home)
    assert sorted(p.name for p in home.iterdir()) == ["kept-1", "played-link", "played-of-another-kind"]
    assert (elsewhere / "held").exists()
