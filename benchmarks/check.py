"""`check` for a workspace of many journeys, beside a floor: reading and parsing the same files with PyYAML alone.

    python -m benchmarks.check [JOURNEYS]

The journeys are the starter's, copied under other names until there are as many; texts and tests are the starter's.
Each run is a process of its own, as a marketer starts it: the start of Python counts. Copies ask the same questions as
the journeys they are of, and a condition is read once: two hundred journeys by two hundred authors would take longer.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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


def timed(*command: str, environment: dict[str, str]) -> tuple[float, float]:
    """(seconds by the clock, seconds of the processor) of a process."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False, timeout=120)
    clock, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout.decode() + done.stderr.decode())
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def best(*command: str, environment: dict[str, str], before: Callable[[], None] = lambda: None) -> tuple[float, float]:
    """Of five: others use this machine, too."""
    runs = []
    for _ in range(5):
        before()
        runs.append(timed(*command, environment=environment))
    return min(clock for clock, _ in runs), min(cpu for _, cpu in runs)


def main(journeys: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-check-") as temporary:
        folder, cache = Path(temporary) / "workspace", Path(temporary) / "cache"
        made = workspace(folder, journeys)
        # As installed: with the bytecode that an installation has.
        environment = {"XDG_CACHE_HOME": str(cache), "PYTHONPYCACHEPREFIX": str(Path(temporary) / "pyc")}
        environment["PYTHONDONTWRITEBYTECODE"] = ""
        check = (sys.executable, "-m", "orchestrator.cli", "check", str(folder))
        timed(*check, environment=environment)

        def forget() -> None:
            shutil.rmtree(cache, ignore_errors=True)

        def edit() -> None:
            for path in (folder / "journeys/b2c/welcome.yaml", folder / "templates/email/welcome.mjml"):
                path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")

        lines = [
            (
                "floor: read, and parse the YAML",
                best(sys.executable, "-c", _FLOOR, str(folder), environment=environment),
            ),
            ("the program's start: --version", best(*check[:3], "--version", environment=environment)),
            ("check, nothing remembered", best(*check, environment=environment, before=forget)),
            ("check, nothing changed", best(*check, environment=environment)),
            ("check, a journey and a text edited", best(*check, environment=environment, before=edit)),
        ]
    print(f"{made} journeys; load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print(f"{'':36}{'clock':>8}{'processor':>12}")
    for name, (clock, cpu) in lines:
        print(f"{name:36}{clock:7.2f}s{cpu:11.2f}s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
