"""Somebody with the database file in his hands: whatever he changes is found, and the entry is named.

The file is changed by sqlite3 itself, past everything of ours, with the triggers dropped; the log is then verified
against a checkpoint that was kept outside.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator import merkle
from orchestrator.anchor import CannotAnchor, anchor, kept, remembered
from orchestrator.audit import Anchored, VerifyReport, verify
from orchestrator.leaf import CODES, Finding
from orchestrator.merkle import Checkpoint, Frontier, leaf_hash
from orchestrator.seal import SealBroken, seal
from orchestrator.store import Store, insert_many, log, tree
from orchestrator.store import tables as t
from orchestrator.store.keys import Keys

NOW = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)
FIRST, SECOND, THIRD = 200, 350, 420
"""Entries at the three checkpoints: three rows of other ledgers, then lines of the log, whose number is entry − 2."""


@pytest.fixture(scope="module")
def sealed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of three seals, and beside it what was kept outside: the middle checkpoint, with and without hashes."""
    folder = tmp_path_factory.mktemp("sealed")
    store = Store.open(f"sqlite:///{folder / 'log.db'}", create=True)
    store.migrate()
    with store.write() as conn:
        made = {"created_at": NOW, "updated_at": NOW, "attributes": {}}
        insert_many(conn, t.customer, [{"id": 1, "key": "a", "class": "b2c", **made}])
        said = {"key": "k", "customer_id": 1, "medium": "email", "topic": "*", "action": "grant"}
        insert_many(conn, t.consent_event, [{**said, "occurred_at": NOW, "received_at": NOW}])
        body = {"text": "x: 1\n"}
        key = hashlib.sha256(b"x: 1\n").hexdigest()
        insert_many(
            conn, t.document, [{"hash": key, "kind": "file", "name": "a.yaml", "body": body, "created_at": NOW}]
        )
        row = {"at": NOW, "author": "ana", "message": "", "project": "p", "files": {"a.yaml": key}, "journeys": {}}
        insert_many(conn, t.applied, [row])
        insert_many(conn, t.erased, [{"kind": "key", "hash": "h", "customer_id": 1, "at": NOW}])
    for number, size in enumerate((FIRST, SECOND, THIRD)):
        _append(store, size - _size(store) - (3 if number == 0 else 0))
        seal(store, KEYS, now=NOW + timedelta(minutes=number), chunk=64)
        assert _size(store) == size
        if size == SECOND:
            anchor(store, "plain.txt", KEYS, now=NOW, folder=folder)
            anchor(store, "named.txt", KEYS, now=NOW, folder=folder, hashes=True)
    _append(store, 5)  # not sealed
    with store.write() as conn:  # as if they stood where nobody here can read them
        conn.execute(t.setting.delete().where(t.setting.c.name.startswith("anchor:")))
    store.close()
    return folder / "log.db"


def _size(store: Store) -> int:
    with store.read() as conn:
        return tree.sealed(conn).size


def _append(store: Store, count: int) -> None:
    with store.write() as conn:
        body = {"journey": "j"}
        log.append(conn, [log.Entry("decision", NOW, n + 1, 0, "allow", body=body) for n in range(count)])


@pytest.fixture
def file(sealed_file: Path, tmp_path: Path) -> Path:
    for one in sealed_file.parent.iterdir():
        if one.suffix != ".db" and not one.name.startswith("log.db"):
            shutil.copy(one, tmp_path / one.name)
    with closing(sqlite3.connect(sealed_file)) as source, closing(sqlite3.connect(tmp_path / "log.db")) as target:
        source.backup(target)
    return tmp_path / "log.db"


def _verified(file: Path, *anchors: str, now: datetime = NOW, keys: Keys = KEYS) -> VerifyReport:
    store = Store.open(f"sqlite:///{file}")
    listed = [one for name in anchors for one in kept(file.with_name(name))]
    try:
        return verify(store, keys, listed, now=now, chunk=100)
    finally:
        store.close()


Tamper = Callable[[sqlite3.Connection], None]


def _by_hand(file: Path, work: Tamper) -> None:
    """Past everything of ours; the triggers are put back, so that nothing else tells."""
    with closing(sqlite3.connect(file)) as conn:
        triggers = conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            conn.execute(f"DROP TRIGGER {name}")
        work(conn)
        for _, sql in triggers:
            conn.execute(sql)
        conn.commit()


def _sql(*statements: str) -> Tamper:
    def work(conn: sqlite3.Connection) -> None:
        for statement in statements:
            conn.execute(statement)

    return work


# ---- untouched ------------------------------------------------------------------------------------------------------


def test_the_untouched_log_is_what_it_was(file: Path):
    report = _verified(file, "plain.txt")
    assert report.findings == ()
    assert report.ok
    assert dict(report.entries) == {"log": THIRD - 3, "consent_event": 1, "applied": 1, "erased": 1}
    assert (report.size, report.checkpoints, report.anchors, report.largest_anchor) == (THIRD, 3, 1, SECOND)
    assert "the first 350 entries are those that were anchored; the 70 after them" in report.verdict
    assert report.waiting == 5
    assert _verified(file, "plain.txt", now=NOW + timedelta(seconds=90)).lag == 90.0


def test_without_a_checkpoint_kept_outside_it_says_so(file: Path):
    report = _verified(file)
    assert report.ok
    assert report.verdict == "internally consistent only: no checkpoint kept outside was compared"


def test_a_log_without_any_entry(tmp_path: Path):
    store = Store.open(f"sqlite:///{tmp_path / 'new.db'}", create=True)
    store.migrate()
    report = verify(store, KEYS, now=NOW)
    store.close()
    assert (report.ok, report.size, report.verdict) == (True, 0, "nothing is sealed yet: there is nothing to verify")


def test_progress_is_told(file: Path):
    store = Store.open(f"sqlite:///{file}")
    told: list[tuple[int, int]] = []
    verify(store, KEYS, now=NOW, chunk=150, progress=lambda done, of: told.append((done, of)))
    store.close()
    assert told == [(150, 420), (300, 420), (420, 420)]


# ---- single entries -------------------------------------------------------------------------------------------------

LINE = 99
ENTRY = LINE + 2
ONE_ENTRY: list[tuple[str, Tamper, int, str, str]] = [
    ("verdict changed", _sql(f"UPDATE log SET verdict = 'no' WHERE id = {LINE}"), ENTRY, f"log line {LINE}", "changed"),
    ("reason changed", _sql(f"UPDATE log SET reason = 'x' WHERE id = {LINE}"), ENTRY, f"log line {LINE}", "changed"),
    ("instant changed", _sql(f"UPDATE log SET at = at + 1 WHERE id = {LINE}"), ENTRY, f"log line {LINE}",
     "changed"),
    ("body changed", _sql(f"UPDATE log SET body = x'7b7d' WHERE id = {LINE}"), ENTRY, f"log line {LINE}", "changed"),
    ("commitment put in", _sql(f"UPDATE log SET commitment = x'00' WHERE id = {LINE}"), ENTRY, f"log line {LINE}",
     "changed"),
    ("another message's", _sql(f"UPDATE log SET message_id = 1 WHERE id = {LINE}"), ENTRY, f"log line {LINE}",
     "changed"),
    ("deleted", _sql(f"DELETE FROM log WHERE id = {LINE}"), ENTRY, f"log line {LINE}", "missing"),
    ("the last one deleted", _sql(f"DELETE FROM log WHERE id = {THIRD - 3}"), THIRD - 1, f"log line {THIRD - 3}",
     "missing"),
    ("moved to the end", _sql(f"UPDATE log SET id = 900 WHERE id = {LINE}"), ENTRY, f"log line {LINE}", "moved"),
    ("consent changed", _sql("UPDATE consent_event SET action = 'confirm'"), 0, "consent event 1", "changed"),
    ("consent deleted", _sql("DELETE FROM consent_event"), 0, "consent event 1", "missing"),
    ("apply changed", _sql("UPDATE applied SET author = 'bob'"), 1, "apply 1", "changed"),
    ("erasure forgotten", _sql("DELETE FROM erased"), 2, "erasure 1", "missing"),
    ("leaf's hash changed", _sql(f'UPDATE leaf SET hash = zeroblob(32) WHERE "index" = {ENTRY}'), ENTRY,
     f"log line {LINE}", "changed"),
    ("leaf deleted", _sql(f'DELETE FROM leaf WHERE "index" = {ENTRY}'), ENTRY, f"leaf {ENTRY}", "order"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("work", "entry", "row", "code"), [one[1:] for one in ONE_ENTRY], ids=[o[0] for o in ONE_ENTRY]
)
def test_a_change_of_one_entry_is_found_and_the_entry_named(file: Path, work: Tamper, entry: int, row: str, code: str):
    _by_hand(file, work)
    report = _verified(file, "plain.txt")
    assert not report.ok
    assert report.verdict == "the log is not what it was"
    assert (entry, row, code) in {(f.entry, f.row, f.code) for f in report.findings}, report.findings


def test_a_row_put_in_is_found(file: Path):
    """Where an id was free, and at the end of a ledger that is sealed."""
    _by_hand(
        file,
        _sql(
            f"UPDATE log SET id = 900 WHERE id = {LINE}",
            f"INSERT INTO log SELECT {LINE}, at, kind, 7, attempt, verdict, reason, rule, body, commitment "
            "FROM log WHERE id = 5",
        ),
    )
    report = _verified(file, "plain.txt")
    assert {(f.entry, f.row, f.code) for f in report.findings} == {(ENTRY, f"log line {LINE}", "moved")}


def test_a_row_put_in_between_is_found(file: Path):
    _by_hand(file, _sql("UPDATE leaf SET row_id = 2000 WHERE row_id = 417", "UPDATE log SET id = 2000 WHERE id = 417"))
    _by_hand(
        file, _sql("INSERT INTO log SELECT 1500, at, kind, 7, 0, verdict, '', '', body, NULL FROM log WHERE id = 5")
    )
    report = _verified(file, "plain.txt")
    assert (None, "log line 1500", "inserted") in {(f.entry, f.row, f.code) for f in report.findings}


def test_two_rows_in_each_others_place_are_found(file: Path):
    _by_hand(
        file,
        _sql(
            "UPDATE log SET id = 9999 WHERE id = 40",
            "UPDATE log SET id = 40 WHERE id = 90",
            "UPDATE log SET id = 90 WHERE id = 9999",
        ),
    )
    found = {(f.entry, f.row, f.code): f.what for f in _verified(file, "plain.txt").findings}
    assert found == {
        (42, "log line 40", "moved"): "what was sealed as this row stands in log line 90",
        (92, "log line 90", "moved"): "what was sealed as this row stands in log line 40",
    }


def test_two_leaves_in_each_others_place_are_found(file: Path):
    _by_hand(
        file,
        _sql(
            'UPDATE leaf SET "index" = 9999 WHERE "index" = 42',
            'UPDATE leaf SET "index" = 42 WHERE "index" = 92',
            'UPDATE leaf SET "index" = 92 WHERE "index" = 9999',
        ),
    )
    found = {(f.entry, f.code) for f in _verified(file, "plain.txt").findings}
    assert {(43, "order"), (92, "order")} <= found
    assert (0, "checkpoint") in found  # no tree of the log any more


def test_many_changes_are_counted_and_the_first_listed(file: Path):
    _by_hand(file, _sql("UPDATE log SET verdict = 'deny' WHERE id <= 250"))
    report = _verified(file, "plain.txt")
    assert report.wrong == 250
    assert len(report.findings) == 100
    assert report.findings[0].entry == 3


# ---- the ends, the checkpoints, the guards --------------------------------------------------------------------------


@pytest.mark.parametrize("keep_checkpoints", [True, False])
def test_a_truncated_log_is_found(file: Path, keep_checkpoints: bool):
    """Everything after entry 300 taken away, as if it had never been."""
    _by_hand(file, _sql("DELETE FROM log WHERE id > 297", 'DELETE FROM leaf WHERE "index" >= 300'))
    if not keep_checkpoints:
        _by_hand(file, _sql("DELETE FROM checkpoint WHERE size > 300"))
        assert _verified(file).ok  # nobody could know, but for what is kept outside
    report = _verified(file, "plain.txt")
    [found] = [f for f in report.findings if f.code == "anchor"]
    assert found.entry == 300
    assert found.what == "the anchored checkpoint covers 350 entries, the log has 300: its end is gone"
    assert any(f.code == "checkpoint" for f in report.findings) is keep_checkpoints


def test_checkpoints_taken_out_are_missed(file: Path):
    _by_hand(file, _sql("DELETE FROM checkpoint"))
    [found] = _verified(file).findings
    assert found.code == "checkpoint" and "420 entries and no checkpoint of the log's own" in found.what


def test_the_end_of_the_rows_alone(file: Path):
    _by_hand(file, _sql("DELETE FROM log WHERE id > 400"))
    found = [(f.entry, f.code) for f in _verified(file, "plain.txt").findings]
    assert found == [(n + 2, "missing") for n in range(401, 418)]


def test_an_emptied_log_is_found(file: Path):
    _by_hand(file, _sql("DELETE FROM log", "DELETE FROM leaf", "DELETE FROM checkpoint", "DELETE FROM setting"))
    report = _verified(file, "plain.txt")
    assert not report.ok


@pytest.mark.parametrize(
    ("work", "what"),
    [
        ("UPDATE checkpoint SET root = zeroblob(32) WHERE size = 350", "its columns do not say what was signed"),
        ("UPDATE checkpoint SET note = replace(note, '350', '351') WHERE size = 350", "signature"),
        ("UPDATE checkpoint SET frontier = zeroblob(32) WHERE size = 350", "right edge"),
        ("UPDATE checkpoint SET below = json_set(below, '$.log', 3) WHERE size = 420", "up to which row"),
    ],
)
def test_a_changed_checkpoint_is_found(file: Path, work: str, what: str):
    _by_hand(file, _sql(work))
    [found] = _verified(file, "plain.txt").findings
    assert found.code == "checkpoint"
    assert what in found.what


def test_missing_guards_are_told(file: Path):
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("DROP TRIGGER log_no_update")
        conn.commit()
    [found] = _verified(file, "plain.txt").findings
    assert found == Finding(None, "table log", "the trigger that refuses changes is gone or switched off", "guard")


@pytest.mark.parametrize(
    "work", ["DELETE FROM document", """UPDATE document SET body = '{"text":"x: 2\\n"}'"""], ids=["gone", "changed"]
)
def test_a_changed_text_in_force_is_told(file: Path, work: str):
    _by_hand(file, _sql(work))
    [found] = _verified(file, "plain.txt").findings
    assert found.code == "document"
    assert "a.yaml" in found.what


# ---- rebuilt as a whole, with the real key --------------------------------------------------------------------------


def _rebuilt(file: Path, work: Tamper, keys: Keys = KEYS) -> None:
    """Changed by hand, then leaves and checkpoints made anew as they would have been: all of it fits together."""
    with closing(sqlite3.connect(file)) as conn:
        sizes = [row[0] for row in conn.execute("SELECT size FROM checkpoint ORDER BY size")]
    _by_hand(file, work)
    _by_hand(file, _sql("DELETE FROM leaf", "DELETE FROM checkpoint"))
    store = Store.open(f"sqlite:///{file}")
    seal(store, keys, now=NOW)
    with store.read() as conn:
        top, hashes, name = tree.newest(conn), list(tree.hashes(conn, 0, 10_000)), tree.origin(conn)
    assert top is not None
    assert name is not None
    with store.write() as conn:
        for size in sizes:
            edge = Frontier()
            edge.extend(hashes[:size])
            if size < top.size:
                note = Checkpoint(name, size, edge.root()).signed(keys.sign)
                head = tree.Head(size, NOW, edge.root(), note, edge.dump(), top.below)
                insert_many(conn, t.checkpoint, [head._asdict()])
    store.close()


REBUILT: list[tuple[str, Tamper]] = [
    ("changed", _sql(f"UPDATE log SET verdict = 'deny' WHERE id = {LINE}")),
    ("deleted", _sql(f"DELETE FROM log WHERE id = {LINE}")),
    ("put in", _sql("UPDATE log SET id = id + 1000 WHERE id >= 99", "UPDATE log SET id = id - 999 WHERE id >= 1099",
                    "INSERT INTO log SELECT 99, at, kind, 7, 0, verdict, '', '', body, NULL FROM log WHERE id = 5")),
    ("swapped", _sql("UPDATE log SET verdict = 'deny', message_id = 7 WHERE id = 99",
                     "UPDATE log SET message_id = 8 WHERE id = 120")),
]  # fmt: skip


@pytest.mark.parametrize("work", [one[1] for one in REBUILT], ids=[one[0] for one in REBUILT])
def test_a_rebuilt_log_is_found_by_what_is_kept_outside(file: Path, work: Tamper):
    _rebuilt(file, work)
    assert _verified(file).ok  # with the key, everything inside can be made to fit
    report = _verified(file, "plain.txt")
    [found] = report.findings
    assert (found.entry, found.code) == (0, "anchor")
    assert "one of the entries 0 to 349 was changed" in found.what
    named = _verified(file, "named.txt").findings
    changed = [f for f in named if f.code == "changed"]
    assert changed[0].entry == ENTRY
    assert changed[0].row == f"log line {LINE if work is not REBUILT[1][1] else LINE + 1}"


def test_an_earlier_anchor_narrows_it_down(file: Path):
    store = Store.open(f"sqlite:///{file}")
    with store.read() as conn:
        notes = [head.note for head in tree.heads(conn)]
    store.close()
    _rebuilt(file, _sql("UPDATE log SET verdict = 'deny' WHERE id = 250"))
    store = Store.open(f"sqlite:///{file}")
    report = verify(store, KEYS, [Anchored("kept", note) for note in notes], now=NOW)
    store.close()
    [found] = report.findings
    assert (found.entry, report.anchors, report.largest_anchor) == (FIRST, 1, FIRST)
    assert "one of the entries 200 to 349 was changed" in found.what


def test_a_log_rebuilt_with_another_key_is_found(file: Path):
    other = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"x" * 32)
    _rebuilt(file, _sql(f"DELETE FROM log WHERE id = {LINE}"), other)
    report = _verified(file, "plain.txt", keys=other)
    assert [f.code for f in report.findings] == ["anchor"]
    assert "not signed by" in report.findings[0].what


def test_a_verifier_key_of_the_auditors_own_counts(file: Path):
    store = Store.open(f"sqlite:///{file}")
    with store.read() as conn:
        name = tree.origin(conn) or ""
    good = verify(store, KEYS, now=NOW, by=merkle.verifier(name, KEYS.sign))
    bad = verify(store, KEYS, now=NOW, by=merkle.verifier(name, b"x" * 32))
    store.close()
    assert good.ok
    assert {f.code for f in bad.findings} == {"checkpoint"}


# ---- anchors --------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{file}")
    yield opened
    opened.close()


def test_a_file_of_checkpoints_grows_and_is_never_written_over(store: Store, file: Path):
    path = file.with_name("plain.txt")
    before = path.read_bytes()
    report = anchor(store, "plain.txt", KEYS, now=NOW, folder=file.parent)
    assert (report.size, report.new) == (THIRD, True)
    assert path.read_bytes().startswith(before)
    assert [Checkpoint.read(one.note.partition("\n\n")[0] + "\n").size for one in kept(path)] == [SECOND, THIRD]
    assert not anchor(store, "plain.txt", KEYS, now=NOW, folder=file.parent).new
    hashed = anchor(store, "plain.txt", KEYS, now=NOW, folder=file.parent, hashes=True)
    assert not hashed.new
    with store.read() as conn:
        hashes = b"".join(tree.hashes(conn, 0, THIRD))
        found, closed = remembered(conn)
    assert path.with_name("plain.txt.hashes").read_bytes() == hashes
    assert (len(found), closed) == (2, [])
    with store.write() as conn:
        tree.remember_anchor(conn, "https://example.com/log.git", "note")
    with store.read() as conn:
        assert remembered(conn)[1] == ["https://example.com/log.git"]


def test_nothing_is_anchored_beside_what_the_log_does_not_agree_with(store: Store, file: Path):
    _rebuilt(file, _sql(f"UPDATE log SET verdict = 'deny' WHERE id = {LINE}"))
    with pytest.raises(CannotAnchor, match=r"350 entries that this log does not agree with.*audit verify"):
        anchor(store, "plain.txt", KEYS, now=NOW, folder=file.parent)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("hello\n", "holds no checkpoint"),
        (merkle.Checkpoint("other", 1, leaf_hash(b"")).signed(b"x" * 32), "of another log"),
    ],
)
def test_nothing_is_anchored_in_a_file_of_something_else(store: Store, file: Path, text: str, what: str):
    path = file.with_name("other.txt")
    path.write_text(text)
    with pytest.raises(CannotAnchor, match=what):
        anchor(store, str(path), KEYS, now=NOW, folder=file.parent)
    assert path.read_text() == text


def test_a_write_that_was_cut_off_is_told(file: Path):
    path = file.with_name("plain.txt")
    whole = path.read_text()
    path.write_text(whole + "\n" + whole[:40])
    with pytest.raises(CannotAnchor, match="lines that are no checkpoint"):
        kept(path)


def test_damaged_hashes_beside_an_anchor_prove_nothing(file: Path):
    _rebuilt(file, _sql(f"UPDATE log SET verdict = 'deny' WHERE id = {LINE}"))
    path = file.with_name("named.txt.hashes")
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    found = _verified(file, "named.txt").findings
    assert "the hashes kept there are not those of the anchored checkpoint" in {f.what for f in found}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


def test_checkpoints_in_a_git_remote(store: Store, tmp_path: Path):
    bare = tmp_path / "kept.git"
    git(tmp_path, "init", "--quiet", "--bare", str(bare))
    report = anchor(store, str(bare), KEYS, now=NOW, folder=tmp_path, hashes=True)
    assert (report.new, report.note) == (True, "")
    assert not anchor(store, str(bare), KEYS, now=NOW, folder=tmp_path, hashes=True).new
    _append(store, 3)
    seal(store, KEYS, now=NOW)
    assert anchor(store, str(bare), KEYS, now=NOW, folder=tmp_path, hashes=True).new
    assert git(bare, "log", "--format=%s").splitlines() == ["Checkpoint of 428 entries", "Checkpoint of 420 entries"]
    git(tmp_path, "clone", "--quiet", str(bare), "copy")
    found = kept(tmp_path / "copy" / "checkpoints.txt")
    assert len(found) == 2
    report_ = verify(store, KEYS, found, now=NOW)
    assert report_.ok
    assert report_.verdict == "every entry is the one that was anchored"


def test_checkpoints_in_a_git_working_tree(store: Store, tmp_path: Path):
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "--quiet")
    report = anchor(store, "work", KEYS, now=NOW, folder=tmp_path)
    assert "not pushed" in report.note
    assert git(folder, "show", "HEAD:checkpoints.txt") == (folder / "checkpoints.txt").read_text()
    with store.read() as conn:
        assert len(remembered(conn)[0]) == 1


@pytest.mark.parametrize(("to", "what"), [("there", "without a Git repository"), ("file://nowhere/x.git", "git clone")])
def test_places_that_cannot_be(store: Store, tmp_path: Path, to: str, what: str):
    (tmp_path / "there").mkdir()
    with pytest.raises(CannotAnchor, match=what):
        anchor(store, to, KEYS, now=NOW, folder=tmp_path)


def test_every_code_is_explained():
    assert all(text and not text.endswith(".") for text in CODES.values())
    assert json.loads(json.dumps(dict(CODES))) == dict(CODES)


@pytest.mark.parametrize(
    ("work", "told"),
    [
        ('UPDATE leaf SET "index" = 999999999999 WHERE "index" = (SELECT max("index") FROM leaf)', "order"),
        ("UPDATE log SET body = CAST(body AS TEXT) || ' ' WHERE id = 5", "moved"),  # another line says the same
        ("UPDATE log SET at = 'abc' WHERE id = 5", "wrong"),
        ("UPDATE log SET at = 9000000000000000000 WHERE id = 5", "wrong"),
        ("UPDATE checkpoint SET below = '[]'", "wrong"),
        ("UPDATE setting SET value = 'a b+' WHERE name = 'origin'", "checkpoint"),
    ],
)
def test_values_that_nobody_writes_are_findings_and_no_crash(file: Path, work: str, told: str):
    _by_hand(file, _sql(work))
    report = _verified(file)
    assert not report.ok
    assert told in {finding.code for finding in report.findings}


def test_nothing_is_sealed_on_top_of_a_gap(file: Path):
    _by_hand(file, _sql("INSERT INTO leaf SELECT 999999999999, 'log', 10000, hash FROM leaf WHERE \"index\" = 0"))
    opened = Store.open(f"sqlite:///{file}")
    try:
        with pytest.raises(SealBroken, match="leaves are missing"):
            seal(opened, KEYS, now=NOW)
    finally:
        opened.close()
