import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from channels.base import Medium, Site
from channels.taskfile import TaskFile, connect
from tests.channels.kit import NOW, Kit


def taskfile(where: Path, /, **options: Any) -> TaskFile:
    return connect(Medium.TASK, {"folder": str(where), **options}, Site(where, lambda: NOW, b"a secret"))


def rows(folder: Path) -> list[Mapping[str, str]]:
    found: list[Mapping[str, str]] = []
    for path in sorted(folder.glob("TASKS-*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def kits(folder: Path) -> list[Kit]:
    return [Kit(taskfile(folder / "tasks"), lambda: [row["task"] for row in rows(folder / "tasks")])]
