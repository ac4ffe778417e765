"""`orchestrator uncertain`, `reconcile`, `settle`: a person looks at what nobody knows, and settles it."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import MONDAY, World


@pytest.fixture
def unsure(told: World, tmp_path: Path) -> World:
    """A workspace of whose sends two are uncertain."""
    world = World(tmp_path / "copy", told.at)
    shutil.copytree(told.folder, world.folder)
    with sqlite3.connect(world.folder / ".orchestrator" / "orchestrator.db") as db:
        chosen = "select id from message order by state <> 'sent', id limit 2"
        what = "state = 'uncertain', reason = 'no_answer', attempts = 1, provider = 'sandbox', provider_id = null"
        db.execute(f"update message set {what} where id in ({chosen})")
    return world


def test_what_nobody_knows_is_listed_with_what_comes_next(unsure: World):
    found = unsure.json("uncertain")
    assert found["uncertain"] == 2
    first = found["messages"][0]
    assert (first["next"], first["reason"], first["provider"]) == ("give_up", "no_answer", "sandbox")
    for width in (100, 60):
        said = unsure("uncertain", width=width)
        assert said.code == 0 and "given up" in said.out
        assert max(map(len, said.out.splitlines())) <= width
    assert "and 1 more" in unsure("uncertain", "--limit", "1").out
    assert unsure("uncertain", "--limit", "0").code == 2


def test_reconcile_gives_up_in_time(unsure: World):
    found = unsure.json("reconcile")
    assert found == {"looked": 2, "left": 2, "settled": [], "problems": []}
    unsure.at.now = MONDAY + timedelta(days=3)
    try:
        assert unsure("reconcile").out.strip() == "given up 2"
        assert unsure.json("uncertain") == {"uncertain": 0, "messages": []}
        assert "known whether it went out" in unsure("uncertain").out
        assert "known what became" in unsure("reconcile").out
    finally:
        unsure.at.now = MONDAY


def test_who_knows_better_says_so(unsure: World):
    one, two = [row["message"] for row in unsure.json("uncertain")["messages"]]
    said = unsure("settle", str(one), "--sent", "--because", "in the provider's log", "--by", "mara")
    assert said.code == 0 and f"message {one} is sent" in said.out
    assert unsure.json("settle", str(two), "--not-sent", "--because", "never came", "--by", "mara")["state"] == "failed"
    again = unsure("settle", str(one), "--not-sent", "--because", "no")
    assert again.code != 0 and "only what is uncertain is settled by hand" in again.err
    assert unsure("settle", "999", "--sent", "--because", "no").code == 2
    assert unsure("settle", str(one), "--because", "no").code == 2
    assert unsure("settle", str(one), "--sent", "--because", " ").code == 2
    log = unsure.json("log", "--verdict", "settled")["lines"]
    assert [(line["by"], line["reason"]) for line in log] == [("mara", "never came"), ("mara", "in the provider's log")]
