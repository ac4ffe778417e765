"""A workspace, loaded and checked: the one noun that reads files (and the database's copies of them, alike)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.condition import Condition
from orchestrator.journey import Journey
from orchestrator.model import Vocabulary
from orchestrator.problems import Problem


@dataclass(frozen=True, slots=True)
class Project:
    """`files`: every source text by its workspace-relative path; enough to load the project again anywhere.

    `templates` is a `template.Templates`. `warnings` are problems that do not stop an apply.
    """

    files: Mapping[str, str]
    vocabulary: Vocabulary
    segments: Mapping[str, Condition]
    journeys: Mapping[str, Journey]
    templates: object
    warnings: tuple[Problem, ...]
    hash: str


def read_files(folder: Path) -> dict[str, str]:
    """The workspace's texts: journeys/**/*.yaml (not tests), templates/**."""
    raise NotImplementedError


def load(folder: Path) -> Project:
    """Loads and checks a folder. Raises ProjectError with all problems."""
    return load_files(read_files(folder))


def load_files(files: Mapping[str, str]) -> Project:
    """The same from texts, as `apply` stored them."""
    raise NotImplementedError


def load_journey(
    text: str, path: str, vocabulary: Vocabulary, segments: Mapping[str, Mapping[str, str]]
) -> tuple[Journey, Mapping[str, Condition]]:
    """One stored journey version, with the segments it was pinned with: name → {"of": unit, "when": condition text}.

    Raises ProjectError when it cannot be read against this vocabulary.
    """
    raise NotImplementedError
