"""Recipes fitted into workspaces of every kind, without a folder: what the tests of this package share."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

from orchestrator.project import Project, load, load_files
from orchestrator.recipes import BLANK, Made, Wish, made, recipes

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


@cache
def in_minimal(name: str) -> Made:
    """A recipe in the smallest workspace there is."""
    return fitted(name, minimal())
