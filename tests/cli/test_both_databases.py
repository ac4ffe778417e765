"""What commands read, they read alike from SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import At, World, happened, small_files

ASKED = (
    ("plan",),
    ("segment", "class == b2c and tier >= silver"),
    ("segment", "count(signed_up, 7 days) >= 1"),
    *(("customer", key) for key in ("ana", "ben", "cleo", "noor")),
    *(("why", key) for key in ("ana", "ben", "cleo", "dora", "emil")),
    *(("why", key, "golden") for key in ("ana", "ben")),
    ("journeys",),
    ("log",),
    ("log", "--verdict", "deny", "--since", "1 day"),
    ("db", "check"),
)


@pytest.fixture
def elsewhere(tmp_path: Path, clock: At, postgresql_database_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same people and the same tick, on PostgreSQL."""
    world = World(small_files(tmp_path / "small"), clock)
    (world.folder / "orchestrator.toml").write_text('[database]\nurl = "env:CLI_TEST_DATABASE"\n')
    monkeypatch.setenv("CLI_TEST_DATABASE", postgresql_database_url)
    assert world("db", "upgrade").code == 0
    return happened(world)


def test_the_same_answers(told: World, elsewhere: World, monkeypatch: pytest.MonkeyPatch):
    for arguments in ASKED:
        assert elsewhere.json(*arguments) == told.json(*arguments), arguments
    sizes = [world.json("db", "stats")["rows"] for world in (told, elsewhere)]
    assert sizes[0] == sizes[1]
    waiting: list[Any] = [world.json("outbox")["waiting"] for world in (told, elsewhere)]
    assert waiting[0] == waiting[1]
    assert elsewhere("doctor").code == 0
    assert elsewhere.json("customer", "merge", "ana", "cleo", "--yes")["enrollments_ended"] == 1
