"""The standalone verifier on what the program hands out, run as an auditor runs it: one file, nothing of ours."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import merkle
from orchestrator.anchor import CannotAnchor, kept
from orchestrator.audit import MessageProofs, leaves, proof
from orchestrator.merkle import Proof
from orchestrator.seal import seal
from orchestrator.store import Store, insert_many, log, tree
from orchestrator.store import tables as t
from orchestrator.store.keys import Keys

NOW = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)
VERIFIER = Path(__file__).parent.parent / "verifier" / "verify.py"
DETAIL = {"address": "ana@example.com", "zones": ["Europe/Berlin"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A log of two checkpoints; message 7 has a decision with a detail and an outcome without."""
    made = Store.open(f"sqlite:///{tmp_path_factory.mktemp('log') / 'log.db'}", create=True)
    made.migrate()
    with made.write() as conn:
        row = {"id": 1, "key": "a", "class": "b2c", "attributes": {}, "created_at": NOW, "updated_at": NOW}
        insert_many(conn, t.customer, [{**row, "salt": b"p" * 32}])
        under = log.person_keys(conn, KEYS, [1])
        decision = log.Entry("decision", NOW, 7, 0, "allow", body={"n": 1}, detail=DETAIL, customer_id=1)
        others = [log.Entry("decision", NOW, 100 + n, 0, "deny", "ü\n") for n in range(20)]
        log.append(conn, [*others[:13], decision, *others[13:]], under)
    seal(made, KEYS, now=NOW)
    with made.write() as conn:
        log.append(conn, [log.Entry("outcome", NOW, 7, 1, "sent")])
        log.append(conn, [log.Entry("outcome", NOW, 100 + n, 1, "sent") for n in range(9)])
    seal(made, KEYS, now=NOW)
    with made.write() as conn:
        log.append(conn, [log.Entry("feedback", NOW, 7, 1, "delivered")])
    yield made
    made.close()


@pytest.fixture(scope="module")
def key(store: Store) -> str:
    with store.read() as conn:
        return str(merkle.verifier(tree.origin(conn) or "", KEYS.sign))


def proved(store: Store, keys: Keys | None = None) -> MessageProofs:
    with store.read() as conn:
        return proof(conn, 7, keys)


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Path:
    """What an auditor has: the file, proofs, leaves, checkpoints."""
    shutil.copy(VERIFIER, tmp_path / "verify.py")
    for name, keys in (("closed", None), ("opened", KEYS)):
        for line in proved(store, keys).lines:
            (tmp_path / f"{name}-{line.name}.tlog-proof").write_text(line.proof, encoding="utf-8")
    with store.read() as conn:
        heads = tree.heads(conn)
        (tmp_path / "leaves.jsonl").write_bytes(b"".join(one + b"\n" for one in leaves(conn, heads[-1].size)))
    (tmp_path / "checkpoints.txt").write_text("\n".join(head.note for head in heads), encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """As far from us as can be: isolated mode, no environment, another folder."""
    done = subprocess.run(
        [sys.executable, "-I", "verify.py", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def test_it_needs_nothing_of_ours():
    text = VERIFIER.read_text(encoding="utf-8")
    modules = set(re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE))
    assert modules - set(sys.stdlib_module_names) == {"cryptography"}
    assert len(text.splitlines()) < 450


@given(size=st.integers(1, 70), data=st.data())
@settings(max_examples=60)
def test_two_implementations_agree(size: int, data: st.DataObject):
    spec = importlib.util.spec_from_file_location("verify", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    verify = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(verify)
    lines = [b"%d" % n for n in range(size)]
    hashes = merkle.leaf_hashes(lines)
    grown = verify.Tree()
    for line in lines:
        grown.add(line)
    root = merkle.root_of(hashes)
    assert grown.root() == root
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(index, size, lambda start, stop: hashes[start:stop])
    assert verify.root_from_path(hashes[index], index, size, path) == root
    for bent in ((*path, root), path[:-1] if path else (root,)):
        with pytest.raises(verify.Bad):
            verify.root_from_path(hashes[index], index, size, bent)


# ---- proofs ---------------------------------------------------------------------------------------------------------


def test_proofs_of_a_message(store: Store):
    found = proved(store)
    assert (found.size, found.waiting) == (31, ("log line 32",))
    assert [(line.row, line.entry, line.opened) for line in found.lines] == [
        ("log line 14", 13, False),
        ("log line 22", 21, False),
    ]
    with store.read() as conn, pytest.raises(LookupError):
        proof(conn, 8)
    [first, second] = proved(store, KEYS).lines
    assert (first.opened, second.opened) == (True, False)


def test_a_proof_holds(folder: Path, key: str):
    code, told = run(folder, "proof", "--key", key, "closed-log-14.tlog-proof", "closed-log-22.tlog-proof")
    assert code == 0, told
    assert told.count(": holds") == 2
    assert '"verdict":"allow"' in told
    assert "ana@example.com" not in told


def test_an_opened_proof_shows_what_was_committed_to(folder: Path, key: str):
    (folder / "key.txt").write_text(key + "\n")
    code, told = run(folder, "proof", "--key", "@key.txt", "opened-log-14.tlog-proof")
    assert code == 0, told
    assert '"address":"ana@example.com"' in told
    assert "as committed to" in told


def test_a_proof_of_a_leaf_that_is_given_apart(folder: Path, store: Store, key: str):
    line = proved(store).lines[0]
    bare = re.sub(r"^extra .*\n", "", line.proof, flags=re.MULTILINE)
    (folder / "bare.tlog-proof").write_text(bare, encoding="utf-8")
    (folder / "leaf.json").write_bytes(line.leaf)
    assert run(folder, "proof", "--key", key, "--leaf", "leaf.json", "bare.tlog-proof")[0] == 0
    code, told = run(folder, "proof", "--key", key, "bare.tlog-proof")
    assert (code, "does not carry its leaf" in told) == (1, True)
    (folder / "leaf.json").write_bytes(line.leaf + b" ")
    assert run(folder, "proof", "--key", key, "--leaf", "leaf.json", "bare.tlog-proof")[0] == 1


def _with_extra(text: str, **changed: str) -> str:
    found = Proof.read(text)
    extra = json.loads(found.extra or b"{}") | changed
    return Proof(found.index, found.path, found.checkpoint, json.dumps(extra).encode()).text()


def _with_raw(text: str, extra: bytes) -> str:
    found = Proof.read(text)
    return Proof(found.index, found.path, found.checkpoint, extra).text()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


OTHER_LOG = str(merkle.verifier("orchestrator/other/00000000", KEYS.sign))
OTHER_KEY = b"x" * 32


@pytest.mark.parametrize(
    ("bend", "told"),
    [
        (lambda text: text.replace("index 13", "index 12"), "is not entry 12"),
        (lambda text: text.replace("index 13", "index 31"), "there is no entry 31"),
        (lambda text: text.replace("\n31\n", "\n32\n"), "signature"),
        (lambda text: re.sub(r"(index 13\n)[^\n]+\n", r"\1", text), "it must have 5"),
        (lambda text: re.sub(r"(index 13\n)", r"\1" + base64.b64encode(bytes(32)).decode() + "\n", text), "must have"),
        (lambda text: re.sub(r"(index 13\n)[^\n]+\n", r"\1AAAA\n", text), "a hash has 32 bytes"),
        (lambda text: text.replace("@v1", "@v2"), "no tlog-proof"),
        (lambda text: _with_extra(text, leaf=_base64('{"commitment":null}')), "the leaf is not entry 13"),
        (lambda text: _with_extra(text, record=_base64("{}")), "not the one that the leaf committed to"),
        (lambda text: _with_extra(text, key="00" * 32), "not the one that the leaf committed to"),
        (lambda text: _with_extra(text, key="?"), "cannot be checked"),
        (lambda text: text[: len(text) // 2], "DOES NOT HOLD"),
        (lambda text: _with_raw(text, b"[" * 200_000), "does not carry its leaf"),
        (lambda text: text + "— other AAAA\n" * 64, "too many signatures"),
        (lambda text: text.replace("\n", "\r\n"), "no tlog-proof"),
        (lambda text: text.replace("—", "–"), "malformed"),
        (lambda text: text.replace("index 13", "index 9223372036854775808"), "there is no entry 9223372036854775808"),
        (lambda text: text.replace("index 13", "index ١٣"), "which entry"),
    ],
)
def test_a_bent_proof_does_not_hold(folder: Path, key: str, bend, told: str):
    path = folder / "opened-log-14.tlog-proof"
    bent = bend(path.read_text(encoding="utf-8"))
    assert bent != path.read_text(encoding="utf-8")
    path.write_text(bent, encoding="utf-8")
    code, said = run(folder, "proof", "--key", key, path.name)
    assert code == 1, said
    assert "DOES NOT HOLD" in said
    assert told in said


def test_another_key_does_not_hold(folder: Path, store: Store, key: str):
    name = key.partition("+")[0]
    for other in (OTHER_LOG, str(merkle.verifier(name, OTHER_KEY)), key[:-4] + "AAA=", "nonsense"):
        assert run(folder, "proof", "--key", other, "closed-log-14.tlog-proof")[0] == 1
        assert run(folder, "checkpoint", "--key", other, "checkpoints.txt")[0] == 1
        assert run(folder, "leaves", "--key", other, "leaves.jsonl", "checkpoints.txt")[0] == 1


# ---- checkpoints and leaves -----------------------------------------------------------------------------------------


def test_checkpoints_hold(folder: Path, key: str):
    code, told = run(folder, "checkpoint", "--key", key, "checkpoints.txt")
    assert code == 0, told
    assert "signed 21 entries" in told
    assert "signed 31 entries" in told
    (folder / "checkpoints.txt").write_text("hello\n")
    assert run(folder, "checkpoint", "--key", key, "checkpoints.txt")[0] == 1


@pytest.mark.parametrize("text", ["", "\n", "a\n" * 200_000, "— a\n" * 100_000, "a\n\n" * 100_000, "a" * 5_000_000])
def test_a_file_of_something_else_is_refused_at_once(folder: Path, key: str, text: str):
    """No file keeps an auditor's machine busy; what stands before or behind the notes is told."""
    notes = (folder / "checkpoints.txt").read_text()
    for whole in (text, text + "\n" + notes, notes + "\n" + text):
        (folder / "other.txt").write_text(whole)
        code, told = run(folder, "checkpoint", "--key", key, "other.txt")
        assert code == (0 if not text.strip() and notes in whole else 1), told[:200]
        assert "Traceback" not in told
        if code and "\n" in text:  # else it is a checkpoint with a long first line, that nobody signed
            with pytest.raises(CannotAnchor):
                kept(folder / "other.txt")


def test_exported_leaves_hold_at_every_size(folder: Path, key: str):
    code, told = run(folder, "leaves", "--key", key, "leaves.jsonl", "checkpoints.txt")
    assert code == 0, told
    assert "the first 21 leaves are those that were signed" in told
    assert "the first 31 leaves are those that were signed" in told
    first = (folder / "checkpoints.txt").read_text(encoding="utf-8").split("\n\n")
    (folder / "checkpoints.txt").write_text("\n\n".join(first[:2]).partition("\n\norchestrator")[0] + "\n")
    code, told = run(folder, "leaves", "--key", key, "leaves.jsonl", "checkpoints.txt")
    assert (code, "10 leaves after them are under no checkpoint" in told) == (0, True), told


@pytest.mark.parametrize(
    ("bend", "told"),
    [
        (lambda lines: [lines[0].replace(b"deny", b"allow"), *lines[1:]], "the first 21 leaves are not those"),
        (lambda lines: lines[1:], "the first 21 leaves are not those"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "the first 21 leaves are not those"),
        (lambda lines: [*lines[:25], lines[25] + b" ", *lines[26:]], "the first 21 are: the difference is in between"),
        (lambda lines: [*lines[:21], lines[3], *lines[21:]], "the first 31 leaves are not those"),
        (lambda lines: lines[:30], "31 entries were signed, and only 30 leaves are here"),
    ],
)
def test_bent_leaves_do_not_hold(folder: Path, key: str, bend, told: str):
    path = folder / "leaves.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"".join(line + b"\n" for line in bend(lines)))
    code, said = run(folder, "leaves", "--key", key, "leaves.jsonl", "checkpoints.txt")
    assert code == 1
    assert told in said


def test_what_cannot_be_read(folder: Path, key: str):
    assert run(folder, "proof", "--key", key, "none.tlog-proof")[0] == 3
    assert run(folder, "proof", "closed-log-14.tlog-proof")[0] == 2
    (folder / "odd.tlog-proof").write_bytes(b"\xff\xfe")
    assert run(folder, "proof", "--key", key, "odd.tlog-proof")[0] == 1
