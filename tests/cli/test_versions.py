"""`versions`, `diff`, `rollback`, `proposals`, `approve`, `reject`, and `apply --plan`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import wiring
from orchestrator.store import tables as t
from tests.cli.conftest import At, World, golden, happened, small_files


def edit(world: World, *pairs: tuple[str, str], name: str = "journeys/hello.yaml") -> None:
    path = world.folder / name
    text = path.read_text()
    for was, now in pairs:
        assert was in text
        text = text.replace(was, now)
    path.write_text(text)


def apply(world: World, message: str, *more: str) -> None:
    said = world("apply", "-m", message, "--yes", *(more or ("--author", "mara")))
    assert said.code == 0, said


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory, clock: At) -> World:
    """People inside, and a second apply over the first."""
    world = happened(World(small_files(tmp_path_factory.mktemp("edited") / "small"), clock))
    edit(
        world,
        ("wait: 2 days", "wait: 3 days"),
        ("tier >= silver", "tier >= gold"),
        ("- email: hello\n", "- email: hello\n    id: email:greeting\n"),
    )
    said = world("plan")
    assert said.code == 0
    edit(world, ("reentry: once\n", "reentry: once\nin_flight: migrate\n"))
    refused = world("plan")
    assert refused.code == 1
    golden("plan-strands.txt", refused.out, world)
    assert world("apply", "-m", "no", "--yes").code == 1
    assert world.json("versions")["applies"][0]["apply"] == 1
    line = re.search(r"in_flight: \{ migrate: \{[^}]*\} \}", refused.out.replace("\n", " "))
    assert line is not None
    edit(world, ("in_flight: migrate", line[0]))  # what the hint says can be written as it stands
    said = world("plan")
    assert said.code == 0
    golden("plan-moves.txt", said.out, world)
    apply(world, "slower, and for gold alone")
    return world


def test_versions_newest_first(edited: World):
    said = edited("versions")
    golden("versions.txt", said.out, edited)
    newest, first = edited.json("versions")["applies"]
    assert (newest["apply"], newest["edited"], newest["files"]) == (2, ["hello"], 1)
    assert (first["author"], first["added"]) == ("mara", ["golden", "hello"])
    assert len(edited.json("versions", "-n", "1")["applies"]) == 1


def test_versions_of_a_journey_and_who_is_on_them(edited: World):
    new, old = edited.json("versions", "hello")["versions"]
    assert (new["in_force"], new["inside"], old["inside"]) == (True, 4, 0)
    assert "in force" in edited("versions", "hello").out
    said = edited("versions", "nothing")
    assert said.code == 3
    assert "was ever applied" in said.err


def test_diff_before_the_first_apply_spares_the_lines(tmp_path: Path, clock: At):
    world = World(small_files(tmp_path / "small"), clock)
    said = world("diff").out
    assert "+ hello  added" in said and "nothing is in force yet" in said
    assert "+++" not in said
    assert world.json("diff")["files"], "all of it, for programs"


def test_diff_in_words_and_lines(edited: World):
    said = edited("diff", "1", "2")
    golden("diff.txt", said.out, edited)
    assert "no difference" in edited("diff").out
    data = edited.json("diff", "1", "2")
    assert [j["name"] for j in data["journeys"]] == ["hello"]
    assert "+  - wait: 3 days" in data["files"][0]["diff"]
    assert edited("diff", "9").code == 3


def test_a_plan_that_is_stale_is_refused(small: World):
    shown = small.json("plan")["plan"]
    assert f"plan {shown}" in small("plan").out
    edit(small, ("wait: 2 days", "wait: 3 days"))
    said = small("apply", "-m", "x", "--plan", shown)  # the folder is another
    assert said.code == 3
    assert f"not plan {shown}" in said.err and small.json("plan")["base"] is None
    shown = small.json("plan")["plan"]
    assert small("apply", "-m", "x", "--plan", shown).code == 0
    edit(small, ("wait: 3 days", "wait: 4 days"))
    shown = small.json("plan")["plan"]
    edit(small, ("wait: 4 days", "wait: 5 days"))
    apply(small, "between")
    edit(small, ("wait: 5 days", "wait: 4 days"))
    said = small("apply", "-m", "x", "--plan", shown)  # the same folder, over another apply
    assert said.code == 3
    assert small.json("plan")["base"] == 2


def test_rollback_is_a_new_apply(small: World):
    assert small("rollback", "-m", "x", "--yes").code == 3
    apply(small, "first")
    assert "no earlier apply" in small("rollback", "-m", "x", "--yes").err
    edit(small, ("wait: 2 days", "wait: 3 days"))
    apply(small, "second")
    said = small("rollback", "-m", "two were enough", "--author", "ben", "--yes")
    assert said.code == 0
    assert "the folder still has what came after apply 1" in said.out
    newest = small.json("versions")["applies"][0]
    assert (newest["apply"], newest["author"], newest["message"]) == (3, "ben", "two were enough")
    assert small.json("diff", "1", "3")["files"] == []
    assert "wait: 3 days" in small("diff").out  # the folder is as it was
    assert small("rollback", "9", "-m", "x", "--yes").code == 3
    assert "nothing changes" in small("rollback", "1", "-m", "again", "--yes").out


APPROVAL = ("  caps:", "  approval: second person\n  caps:")
WORKSPACE = "journeys/workspace.yaml"


def test_a_second_person_approves(small: World):
    apply(small, "first")
    edit(small, APPROVAL, name=WORKSPACE)
    said = small("apply", "-m", "four eyes", "--author", "mara", "--yes")
    assert said.code == 0
    assert "orchestrator approve 1" in said.out
    assert small.json("versions")["applies"][0]["apply"] == 1  # by what is proposed, though it is not in force
    own = small("approve", "1", "--author", " Mara", "--yes")
    assert own.code == 3
    assert "somebody else" in own.err
    golden("proposals.txt", small("proposals").out, small)
    edit(small, ("wait: 2 days", "wait: 9 days"))  # what is approved is what was proposed, not the folder
    done = small("approve", "1", "--author", "ben", "-m", "good", "--yes")
    assert done.code == 0
    assert "in force: apply 2" in done.out
    newest = small.json("versions")["applies"][0]
    assert (newest["author"], newest["approved_by"], newest["edited"]) == ("mara", "ben", [])
    assert small("approve", "1", "--author", "eva", "--yes").code == 3  # it has its answer
    assert small("approve", "7", "--yes").code == 3
    assert small.json("proposals")["proposals"] == []
    (one,) = small.json("proposals", "--all")["proposals"]
    assert (one["state"], one["answered_by"], one["apply"]) == ("approved", "ben", 2)


def test_nobody_switches_it_off_alone(small: World):
    edit(small, APPROVAL, name=WORKSPACE)
    proposed = small.json("apply", "-m", "x", "--author", "mara", "--yes")
    assert (proposed["apply"], proposed["proposal"]) == (None, 1)
    assert small("approve", "1", "--author", "ben", "--yes").code == 0
    edit(small, APPROVAL[::-1], name=WORKSPACE)
    off = small.json("apply", "-m", "off", "--author", "mara", "--yes")
    assert (off["apply"], off["proposal"]) == (None, 2)
    back = small("rollback", "1", "-m", "x", "--author", "mara", "--yes")
    assert "nothing changes" in back.out
    assert small("approve", "2", "--author", "ben", "--yes").code == 0
    apply(small, "no change")
    edit(small, ("wait: 2 days", "wait: 9 days"))
    apply(small, "alone again")
    assert small.json("versions")["applies"][0]["approved_by"] is None


def test_rejected_and_stale_proposals(small: World):
    edit(small, APPROVAL, name=WORKSPACE)
    for wait in ("3", "4"):
        edit(small, (re.search(r"wait: \d", (small.folder / "journeys/hello.yaml").read_text())[0], f"wait: {wait}"))  # type: ignore[index]
        assert small.json("apply", "-m", wait, "--author", "mara", "--yes")["apply"] is None
    assert small("reject", "1", "-m", "too fast", "--author", "ben").code == 0
    assert small("reject", "1", "-m", "again", "--author", "ben").code == 3
    assert "too fast" in small("proposals", "--all").out
    edit(small, ("wait: 4", "wait: 5"))
    assert small.json("apply", "-m", "5", "--author", "mara", "--yes")["proposal"] == 3
    assert small("approve", "3", "--author", "ben", "--yes").code == 0
    stale = small("approve", "2", "--author", "ben", "--yes")
    assert stale.code == 3
    assert "another apply came between" in stale.err
    assert "stale" in small("proposals").out
    with wiring.connected(small.folder) as wired, wired.store.read() as conn:
        said = [row.verdict for row in conn.execute(sa.select(t.log).where(t.log.c.kind == "operation"))]
    assert said == ["proposed", "proposed", "rejected", "proposed"]


def test_what_was_approved_can_be_verified(small: World, tmp_path: Path):
    apply(small, "first")  # a leaf without the columns, sealed beside one with them
    small.tick()
    edit(small, APPROVAL, name=WORKSPACE)
    small("apply", "-m", "x", "--author", "mara", "--yes")
    assert small("approve", "1", "--author", "ben", "--yes").code == 0
    small.tick()
    said = small("audit", "verify")
    assert said.code == 0, said
