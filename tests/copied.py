"""A world on the database that a fixture's parameter names: a copy of one migrated once, which costs milliseconds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests.outgoing import World, open_store
from tests.postgres import Postgres

_migrated: list[Path] = []


def _migrate(url: str) -> None:
    open_store(url).close()


@contextmanager
def copied(request: pytest.FixtureRequest, tmp_path: Path, files: Mapping[str, str]) -> Iterator[World]:
    """With this workspace in force; `request.param` is sqlite or postgresql."""
    if request.param == "sqlite":
        if not _migrated:
            path = Path(tempfile.mkdtemp(prefix="migrated-")) / "store.db"
            _migrate(f"sqlite:///{path}")
            _migrated.append(path)
        shutil.copy(_migrated[0], tmp_path / "store.db")
        with _opened(f"sqlite:///{tmp_path / 'store.db'}", files) as world:
            yield world
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        with postgres.fresh_database(postgres.template("copied", _migrate)) as url, _opened(url, files) as world:
            yield world


@contextmanager
def _opened(url: str, files: Mapping[str, str]) -> Iterator[World]:
    world = World(Store.open(url), Path(tempfile.mkdtemp(prefix="outbox-")))
    world.apply(files)
    yield world
    world.store.close()
