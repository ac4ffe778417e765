"""A migrated store on each database: migrated once, and copied for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests.postgres import Postgres


def migrate(url: str) -> None:
    opened = Store.open(url, create=True)
    opened.migrate()
    opened.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "store.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database with every table and no row."""
    if request.param == "sqlite":
        path = tmp_path / "store.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        yield f"sqlite:///{path}"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        with postgres.fresh_database(postgres.template("store", migrate)) as url:
            yield url


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    opened = Store.open(migrated_url)
    yield opened
    opened.close()
