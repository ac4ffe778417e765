"""Two people at once: one plan is put in force, the other is refused; and who is somebody else."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.apply import apply, same_person
from orchestrator.problems import Conflict
from orchestrator.project import load_files
from orchestrator.store import Store, versions
from orchestrator.store import tables as t
from tests.outgoing import NOON, World, files, journey, open_store


def waits(days: int) -> dict[str, str]:
    return files({"life": journey("life", f"- email: hello\n- wait: {days} days")})


def test_of_two_applies_at_once_against_the_same_one_is_stale(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The second waits for the first before it looks at what is in force."""
    with closing(open_store(database_url)) as one, closing(Store.open(database_url)) as other:
        world = World(one, tmp_path)
        world.apply(waits(3))
        both = threading.Barrier(2)
        add_documents = versions.add_documents

        def meeting(conn: sa.Connection, kind: str, bodies: Mapping[str, Any], now: datetime) -> None:
            with suppress(threading.BrokenBarrierError):
                both.wait(1)
            add_documents(conn, kind, bodies, now)

        monkeypatch.setattr(versions, "add_documents", meeting)
        became: list[str] = []

        def put(store: Store, days: int) -> None:
            try:
                apply(store, load_files(waits(days)), author="me", message="", now=NOON, base=1)
                became.append("in force")
            except Conflict as refused:
                became.append(str(refused))

        threads = [threading.Thread(target=put, args=pair) for pair in ((one, 4), (other, 5))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(became) == [
            "another apply came between; look at the new plan, then apply again",
            "in force",
        ]
        assert world.one(sa.select(sa.func.count()).select_from(t.applied)) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann Lee", "ann  lee"),
        ("Ann", "A\u200bnn"),  # a space of no width
        ("Andr\u00e9", "Andre\u0301"),  # the accent apart
        ("Ann", "\uff21nn"),  # a wide letter
        ("Ann", "Ann\u00ad"),
        ("Ann", " "),  # nobody
        ("Ann", "\u200b"),
    ],
)
def test_another_spelling_is_nobody_else(one: str, other: str):
    assert same_person(one, other) and same_person(other, one)


def test_others_are_others():
    assert not same_person("Ann", "Anne") and not same_person("ann@small.example", "anna@small.example")
