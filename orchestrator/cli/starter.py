"""The workspace that comes with the program: where it is, and a copy of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import orchestrator

PARTS = ("journeys", "templates", "docs/schema", "orchestrator.toml", "prefect.yaml")


def folder() -> Path:
    """Inside the installed package; in a checkout the repository's own root, which is the same workspace."""
    package = Path(orchestrator.__file__).parent
    installed = package / "starter"
    return installed if installed.is_dir() else package.parent


def copy(to: Path) -> list[str]:
    """Copy the starter workspace into a folder; returns the workspace-relative paths written, sorted.

    Raises FileExistsError, before anything is written, when a part is there already.
    """
    there = [name for name in PARTS if (to / name).exists()]
    if there:
        raise FileExistsError(f"{to} has {', '.join(there)} already")
    to.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        source = folder() / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copyfile(source, to / name)
    return sorted(str(p.relative_to(to)) for name in PARTS for p in _files(to / name))


def _files(part: Path) -> list[Path]:
    return [p for p in part.rglob("*") if p.is_file()] if part.is_dir() else [part] if part.exists() else []
