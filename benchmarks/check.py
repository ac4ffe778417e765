"""`check` for a workspace of many journeys, beside a floor: reading and parsing the same files with PyYAML alone.

    python -m benchmarks.check [JOURNEYS]

The journeys are the starter's, copied under other names until there are as many; texts and tests are the starter's. Each
run is a process of its own, as a marketer starts it: the start of Python counts. `first`: nothing is remembered of the
texts; `again`: nothing has changed since; `edited`: one journey and one text have.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.cli import starter

_FLOOR = """
import sys, pathlib, yaml
loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*")):
    if path.is_file():
        text = path.read_bytes()
        if path.suffix == ".yaml" and "docs" not in path.parts:
            yaml.load(text, loader)
"""


def workspace(folder: Path, journeys: int) -> int:
    """Writes one; returns how many journeys it has."""
    starter.copy(folder)
    own = sorted(p for p in (folder / "journeys").rglob("*.yaml") if _name(p))
    made = len(own)
    for number in range(journeys - made):
        source = own[number % len(own)]
        text = source.read_text(encoding="utf-8")
        copy = f"{_name(source)}-copy-{number}"
        again = source.with_name(f"{source.stem}-copy-{number}.yaml")
        again.write_text(re.sub(r"^journey: \S+", f"journey: {copy}", text, flags=re.MULTILINE), encoding="utf-8")
    return max(made, journeys)


def _name(path: Path) -> str:
    if path.name.endswith(".test.yaml"):
        return ""
    found = re.search(r"^journey: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def timed(*command: str, environment: dict[str, str]) -> float:
    """Seconds that a process takes; the best of three, for others use this machine, too."""
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False, timeout=120)
        best = min(best, time.perf_counter() - begin)
        if done.returncode:
            raise SystemExit(done.stdout.decode() + done.stderr.decode())
    return best
