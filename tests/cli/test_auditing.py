"""`audit`: what an auditor types, and what he is told."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests.cli.conftest import World

VKEY = "orchestrator/small/"


@pytest.fixture
def world(told: World, tmp_path: Path) -> World:
    """The world that is told of, to be changed at will."""
    shutil.copytree(told.folder, tmp_path / "audited")
    return World(tmp_path / "audited", told.at)


def database(world: World) -> Path:
    [found] = world.folder.rglob("*.db")
    return found


def by_hand(world: World, statement: str) -> None:
    with closing(sqlite3.connect(database(world))) as conn:
        triggers = conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute(statement)
        for _, sql in triggers:
            conn.execute(sql)
        conn.commit()


def test_a_log_that_is_what_it_was(world: World):
    said = world("audit", "verify")
    assert said.code == 0, said
    assert "internally consistent only: no checkpoint kept outside was compared" in said.out
    assert "5 consent events" in said.out
    found = world.json("audit", "verify")
    assert found["ok"]
    assert found["findings"] == []
    assert found["judged"]["decisions"] >= 3
    assert found["log"].startswith(VKEY)


def test_a_log_that_was_changed(world: World, tmp_path: Path):
    kept = tmp_path / "kept.txt"
    assert world("audit", "anchor", str(kept)).code == 0
    by_hand(world, "UPDATE log SET verdict = 'allow' WHERE verdict = 'deny'")
    said = world("audit", "verify", "--anchor", str(kept))
    assert said.code == 1
    assert "changed: the row is not the one that was sealed" in " ".join(said.out.split())
    assert "✗ the log is not what it was" in said.out
    found = world("--json", "audit", "verify", "--tree-only").data
    assert (found["ok"], found["judged"]) == (False, {})
    assert found["findings"][0]["code"] == "changed"


def test_a_truncated_log_is_found_by_the_anchor_it_remembers(world: World, tmp_path: Path):
    kept = tmp_path / "kept.txt"
    said = world("audit", "anchor", str(kept))
    assert "keep a copy elsewhere" in said.out
    for table in ("log", "leaf", "checkpoint"):
        by_hand(world, f"DELETE FROM {table}")
    said = world("audit", "verify", "--tree-only")
    assert said.code == 1
    assert "its end is gone" in " ".join(said.out.split())
    kept.rename(tmp_path / "elsewhere.txt")
    said = world("audit", "verify", "--tree-only")
    assert said.code == 1  # the database remembers what it anchored
    assert "cannot be read from here: name a copy with --anchor" in " ".join(said.out.split())
    by_hand(world, "DELETE FROM setting WHERE name LIKE 'anchor:%'")
    assert world("audit", "verify", "--tree-only").code == 0
    assert world("audit", "verify", "--tree-only", "--anchor", str(tmp_path / "elsewhere.txt")).code == 1


def test_an_anchor_that_covers_everything(world: World, tmp_path: Path):
    assert world("audit", "anchor", str(tmp_path / "kept.txt"), "--hashes").code == 0
    said = world("audit", "verify")
    assert "✓ every entry is the one that was anchored" in said.out
    again = world("audit", "anchor", str(tmp_path / "kept.txt"))
    assert "it stood there already" in again.out


def test_what_cannot_be_run(small: World, world: World, tmp_path: Path):
    assert small("apply", "-m", "x", "--yes").code == 0
    for arguments in (("audit", "key"), ("audit", "anchor", "x.txt"), ("audit", "leaves", str(tmp_path / "out"))):
        said = small(*arguments)
        assert said.code == 3
        assert "orchestrator audit seal" in said.err
    assert world("audit", "verify", "--anchor", str(tmp_path / "none.txt")).code == 3
    assert world("audit", "verify", "--key", "nonsense").code == 2
    assert world("audit", "proof", "4711").code == 2
    assert world("audit", "anchor", str(tmp_path)).code == 3


def test_seal_by_hand(small: World):
    assert small("apply", "-m", "x", "--yes").code == 0
    assert "1 row sealed; the log has 1 entry" in small("audit", "seal").out
    assert small.json("audit", "seal") == {"sealed": 0, "size": 1, "waiting": 0, "lag": 0.0}
    assert small("audit", "key").out.startswith(VKEY)


def test_a_broken_checkpoint_is_not_sealed_upon(world: World):
    by_hand(world, "UPDATE checkpoint SET note = replace(note, 'orchestrator', 'orchestrators')")
    by_hand(world, "INSERT INTO erased (kind, hash, customer_id, at) VALUES ('key', 'h', 1, 0)")
    said = world("audit", "seal")
    assert said.code == 3
    assert "nothing more is sealed on top of it" in said.err
    assert world("audit", "verify").code == 1


def test_an_auditor_on_his_own(world: World, tmp_path: Path):
    """Proofs, leaves, the key and the verifier leave the house; there is nothing else."""
    message = next(line["message_id"] for line in world.json("log")["lines"] if line["verdict"] == "sent")
    out = tmp_path / "handed over"
    said = world("audit", "proof", str(message), "--open", "--out", str(out))
    assert said.code == 0, said
    assert "opened: personal data" in said.out
    assert world("audit", "leaves", str(out)).code == 0
    (out / "key.txt").write_text(world("audit", "key").out)
    assert world("audit", "verifier", str(out / "verify.py")).code == 0
    assert (out / "verify.py").read_text(encoding="utf-8") == world("audit", "verifier").out
    proofs = sorted(path.name for path in out.glob("*.tlog-proof"))
    assert len(proofs) >= 2

    def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "verify.py", *arguments],
            cwd=out,
            env={"LC_ALL": "C.UTF-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    held = verify("proof", "--key", "@key.txt", *proofs)
    assert held.returncode == 0, held.stdout
    assert "as committed to" in held.stdout
    whole = verify("leaves", "--key", "@key.txt", "leaves.jsonl", "checkpoints.txt")
    assert whole.returncode == 0, whole.stdout
    lines = (out / "leaves.jsonl").read_bytes().splitlines()
    (out / "leaves.jsonl").write_bytes(b"\n".join([lines[0] + b" ", *lines[1:]]))
    assert verify("leaves", "--key", "@key.txt", "leaves.jsonl", "checkpoints.txt").returncode == 1


def test_doctor_knows_how_far_it_is_sealed(small: World):
    from datetime import timedelta

    assert small("apply", "-m", "x", "--yes").code == 0
    small.at.now += timedelta(seconds=61)
    findings = {f["what"]: f for f in small("--json", "doctor").data["findings"]}
    assert findings["seal"]["state"] == "look"
    assert "1 row not yet, the oldest for 61 s" in findings["seal"]["text"]
    assert small("audit", "seal").code == 0
    findings = {f["what"]: f for f in small("--json", "doctor").data["findings"]}
    assert (findings["seal"]["state"], findings["seal"]["text"]) == ("ok", "1 entry of the log sealed")


def test_a_message_that_is_not_sealed_yet(world: World):
    store = Store.open(f"sqlite:///{database(world)}")
    store.close()
    message = next(line["message_id"] for line in world.json("log")["lines"] if line["verdict"] == "sent")
    statement = (
        "INSERT INTO log (at, kind, message_id, attempt, verdict, body) VALUES (0, 'feedback', {}, 1, 'opened', x'')"
    )
    with closing(sqlite3.connect(database(world))) as conn:
        conn.execute(statement.format(message))
        conn.commit()
    said = world("audit", "proof", str(message), "--out", str(world.folder / "proofs"))
    assert said.code == 1
    assert "is not sealed yet; run `orchestrator audit seal`" in said.out
