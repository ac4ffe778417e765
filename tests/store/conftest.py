"""A migrated store on each database."""

from collections.abc import Iterator

import pytest

from orchestrator.store import Store


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store.open(database_url, create=True)
    opened.migrate()
    yield opened
    opened.close()
