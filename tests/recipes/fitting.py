"""Recipes fitted into workspaces of every kind, without a folder: what the tests of this package share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

from orchestrator.project import Project, load, load_files
from orchestrator.recipes import BLANK, Made, Wish, _Fitting, made, recipes

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 22)
MINIMAL = """workspace: mini
timezone: Europe/Berlin
currency: EUR
sender: { name: Mini, postal_address: "Mini GmbH, Weg 1, 10115 Berlin, DE" }
"""
NAMES = tuple(name for name in recipes() if name != BLANK)


@cache
def shipped() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "templates" / "snippets").glob("*.mjml")}


@cache
def starter() -> Project:
    return load(ROOT)


def workspace(text: str = MINIMAL, **files: str) -> Project:
    """A workspace of one file, and of others by their paths with dots for slashes."""
    return load_files({"journeys/workspace.yaml": text, **files})


@cache
def minimal() -> Project:
    return workspace()


def fitted(name: str, before: Project, wish: Wish | None = None, there: tuple[str, ...] = ()) -> Made:
    return made(wish or Wish(name, "first-try" if name == BLANK else ""), before, there, shipped(), TODAY)


def all_in(names: Sequence[str], before: Project, there: tuple[str, ...] = ()) -> tuple[Project, dict[str, str]]:
    """Several recipes in one workspace, and their tests' texts. It is read once: twenty readings of two hundred texts
    take a minute."""
    files, tests = dict(before.files), dict[str, str]()
    for name in names:
        fitting = _Fitting(
            recipes()[name], Wish(name), replace(before, files=files), {*files, *there}, shipped(), TODAY
        )
        new, edited, *_ = fitting.parts("")
        tests |= {path: text for path, text in new.items() if path.endswith(".test.yaml")}
        files |= {path: text for path, text in new.items() if path not in tests}
        files |= {path: after for path, (_, after) in edited.items()}
    return load_files(files), tests


@cache
def in_minimal(name: str) -> Made:
    """A recipe in the smallest workspace there is."""
    return fitted(name, minimal())
