"""Sealing on both databases: no gaps, no row lost, whoever writes at the same time and wherever it dies."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import leaf, merkle
from orchestrator.merkle import Checkpoint
from orchestrator.seal import SealBroken, seal
from orchestrator.store import Store, insert_many, log, tree
from orchestrator.store import tables as t
from orchestrator.store.keys import Keys
from orchestrator.store.people import step_in, take_turns

NOW = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)


def append(store: Store, count: int, verdict: str = "allow") -> list[int]:
    with store.write() as conn:
        return log.append(conn, [log.Entry("decision", NOW, n + 1, 0, verdict) for n in range(count)])


def others(store: Store) -> None:
    """A row in each of the other ledgers."""
    with store.write() as conn:
        made = {"created_at": NOW, "updated_at": NOW, "attributes": {}}
        insert_many(conn, t.customer, [{"id": 1, "key": "a", "class": "b2c", **made}])
        said = {"key": "k", "customer_id": 1, "medium": "email", "topic": "*", "action": "grant"}
        insert_many(conn, t.consent_event, [{**said, "occurred_at": NOW, "received_at": NOW, "commitment": b"\1"}])
        files = {"ü.yaml": "h", "a.yaml": "g"}
        row = {"at": NOW, "author": 'O"B', "message": "zwei\nZeilen", "project": "p", "files": files, "journeys": {}}
        insert_many(conn, t.applied, [row])
        insert_many(conn, t.erased, [{"kind": "key", "hash": "h", "customer_id": 1, "at": NOW}])


def leaves(store: Store) -> list[tuple[int, str, int, bytes]]:
    with store.read() as conn:
        return [tuple(row) for row in conn.execute(sa.select(t.leaf).order_by(t.leaf.c.index))]


def check(store: Store) -> None:
    """Every leaf is of its row, without gaps, and the newest checkpoint is over all of them."""
    found = leaves(store)
    assert [row[0] for row in found] == list(range(len(found)))
    with store.read() as conn:
        for ledger in leaf.LEDGERS:
            ids = [row[2] for row in found if row[1] == ledger]
            assert ids == sorted(ids)
            data = tree.of_rows(conn, ledger, ids)
            assert [merkle.leaf_hash(data[i]) for i in ids] == [row[3] for row in found if row[1] == ledger]
        head = tree.newest(conn)
        name = tree.origin(conn)
    assert head is not None
    assert name is not None
    assert head.root == merkle.root_of(row[3] for row in found)
    signed = Checkpoint.open(head.note, merkle.verifier(name, KEYS.sign))
    assert (signed.size, signed.root) == (len(found), head.root) == (head.size, head.root)


# ---- leaves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", leaf.LEDGERS)
def test_a_leaf_has_every_column_of_its_row(ledger: str):
    table = t.metadata.tables[ledger]
    assert set(leaf.COLUMNS[ledger]) == {c.name for c in table.columns}
    assert leaf.COLUMNS[ledger][0] == "id"
    assert leaf.WHEN[ledger] in leaf.COLUMNS[ledger]


def test_leaves_read_as_documented(store: Store):
    others(store)
    with store.write() as conn:
        row = {"id": 7, "at": NOW, "kind": "decision", "message_id": 5, "attempt": 1, "verdict": "allow"}
        insert_many(conn, t.log, [{**row, "reason": 'x"', "rule": "", "body": b'{"a":1}', "commitment": b"\xab\xcd"}])
        insert_many(conn, t.log, [{"id": 9, "at": NOW, "kind": "operation", "attempt": 0, "verdict": "ü", "body": b""}])
    with store.read() as conn:
        ids, lines = tree.rows_after(conn, "log", 0, 100, 10)
        one = {name: tree.rows_after(conn, name, 0, 100, 10)[1] for name in leaf.LEDGERS if name != "log"}
        assert tree.rows_after(conn, "log", 7, 100, 10)[0] == tree.rows_after(conn, "log", 7, 9, 10)[0] == [9]
        assert tree.rows_after(conn, "log", 0, 8, 10)[0] == tree.rows_after(conn, "log", 0, 100, 1)[0] == [7]
    assert ids == [7, 9]
    at = '"2026-11-01T12:30:15.123456Z"'
    assert [line.decode() for line in lines] == [
        f'{{"ledger":"log","id":7,"at":{at},"kind":"decision","message_id":5,"attempt":1,"verdict":"allow",'
        '"reason":"x\\"","rule":"","commitment":"abcd","body":{"a":1}}',
        f'{{"ledger":"log","id":9,"at":{at},"kind":"operation","message_id":null,"attempt":0,"verdict":"ü",'
        '"reason":"","rule":"","commitment":null,"body":}',
    ]
    assert [text.decode() for text in one["applied"]] == [
        f'{{"ledger":"applied","id":1,"at":{at},"author":"O\\"B","message":"zwei\\nZeilen","project":"p",'
        '"files":{"a.yaml":"g","ü.yaml":"h"},"journeys":{}}'
    ]
    assert [text.decode() for text in one["erased"]] == [
        f'{{"ledger":"erased","id":1,"kind":"key","hash":"h","customer_id":1,"at":{at}}}'
    ]
    (said,) = one["consent_event"]
    assert said.startswith(b'{"ledger":"consent_event","id":1,"key":"k","customer_id":1,"medium":"email"')
    assert said.endswith(b'"answers":null,"commitment":"01"}')


def test_no_two_rows_are_one_leaf():
    """A body may hold whatever bytes somebody put there: it cannot imitate what stands around it."""
    row = (1, NOW, "decision", 5, 0, "allow", "", "")
    made = leaf.encoded("log", [(*row, None, b'{},"commitment":"01","body":{}'), (*row, b"\1", b"{}")])
    assert len(set(made)) == 2


# ---- sealing --------------------------------------------------------------------------------------------------------


def test_everything_is_sealed_in_order_and_once(store: Store):
    assert seal(store, KEYS, now=NOW).sealed == 0
    with store.read() as conn:
        assert tree.newest(conn) is None
    append(store, 5)
    others(store)
    report = seal(store, KEYS, now=NOW, chunk=2)
    assert (report.sealed, report.size, report.waiting, report.lag) == (8, 8, 0, 0.0)
    assert [row[1] for row in leaves(store)] == ["consent_event", "applied", "erased", *["log"] * 5]
    check(store)
    assert seal(store, KEYS, now=NOW).sealed == 0
    append(store, 3)
    assert seal(store, KEYS, now=NOW).size == 11
    check(store)
    with store.read() as conn:
        heads = tree.heads(conn)
        hashes = list(tree.hashes(conn, 0, 11))
        assert list(tree.hashes(conn, 3, 7)) == hashes[3:7]
        assert tree.index_of(conn, "log", [1, 5, 400]) == {1: 3, 5: 7}
    assert [head.size for head in heads] == [8, 11]
    path = merkle.consistency_proof(8, 11, lambda start, stop: hashes[start:stop])
    merkle.verify_consistency(8, 11, path, heads[0].root, heads[1].root)
    assert heads[1].below == {"log": 8, "consent_event": 1, "applied": 1, "erased": 1}


def test_the_log_keeps_its_name(store: Store):
    append(store, 1)
    seal(store, KEYS, now=NOW)
    with store.read() as conn:
        name = tree.origin(conn)
    assert name is not None
    assert name.startswith("orchestrator/log/")
    with store.write() as conn:
        assert tree.name_log(conn, KEYS, "Another One") == name


def test_what_waits_is_counted_since_when(store: Store):
    append(store, 2)
    with store.read() as conn:
        found = tree.waiting(conn, tree.sealed(conn).below)
    assert (found.rows, found.since) == (2, NOW)
    assert found.lag(NOW + timedelta(seconds=40)) == 40.0
    assert found.lag(NOW - timedelta(seconds=40)) == 0.0


def test_a_seal_without_time_still_takes_a_chunk(store: Store):
    append(store, 5)
    others(store)
    report = seal(store, KEYS, now=NOW + timedelta(minutes=1), chunk=4, stop=lambda: True)
    assert (report.sealed, report.waiting, report.lag) == (4, 4, 60.0)
    check(store)
    assert seal(store, KEYS, now=NOW, chunk=4, stop=lambda: True).waiting == 0
    check(store)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("survived", [0, 1, 3])
def test_a_sealer_that_dies_leaves_what_the_next_goes_on_from(
    store: Store, survived: int, monkeypatch: pytest.MonkeyPatch
):
    append(store, 9)
    seal(store, KEYS, now=NOW)
    append(store, 20)
    done: list[int] = []
    really = tree.add_leaves

    def dies(conn: sa.Connection, at: int, rows: Sequence[tuple[str, int, bytes]]) -> bool:
        found = really(conn, at, rows)
        if len(done) == survived:
            raise Killed  # before the commit
        done.append(at)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(tree, "add_leaves", dies)
        with pytest.raises(Killed):
            seal(store, KEYS, now=NOW, chunk=4)
    assert len(leaves(store)) == 9 + 4 * survived
    report = seal(store, KEYS, now=NOW, chunk=4)
    assert report.size == 29
    check(store)


def test_a_sealer_that_dies_before_it_signs(store: Store, monkeypatch: pytest.MonkeyPatch):
    append(store, 8)
    with monkeypatch.context() as patched:
        patched.setattr(tree, "add_head", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            seal(store, KEYS, now=NOW, chunk=4)
    assert len(leaves(store)) == 8
    report = seal(store, KEYS, now=NOW)  # nothing new, and yet something to sign
    assert (report.sealed, report.size) == (0, 8)
    check(store)


def test_nothing_is_signed_on_top_of_a_changed_checkpoint(store: Store):
    append(store, 3)
    seal(store, KEYS, now=NOW)
    append(store, 1)
    unguarded(store, "checkpoint")
    with store.write() as conn:
        conn.execute(sa.text("UPDATE checkpoint SET size = 2"))
    with pytest.raises(SealBroken, match="audit verify"):
        seal(store, KEYS, now=NOW)
    assert len(leaves(store)) == 3


def unguarded(store: Store, table: str) -> None:
    with store.write() as conn:
        if store.dialect == "sqlite":
            conn.execute(sa.text(f"DROP TRIGGER {table}_no_update"))
            conn.execute(sa.text(f"DROP TRIGGER {table}_no_delete"))
        else:
            conn.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))


def test_missing_guards_are_seen(store: Store):
    with store.read() as conn:
        assert tree.unguarded(conn) == []
    unguarded(store, "leaf")
    with store.read() as conn:
        assert tree.unguarded(conn) == ["leaf"]


def test_anchors_are_remembered(store: Store):
    with store.write() as conn:
        tree.remember_anchor(conn, "a.txt", "one")
        tree.remember_anchor(conn, "b.txt", "two")
        tree.remember_anchor(conn, "a.txt", "three")
        assert tree.anchors(conn) == {"a.txt": "three", "b.txt": "two"}


# ---- at the same time -----------------------------------------------------------------------------------------------


def test_appending_and_sealing_at_once(store: Store):
    """Several write, several seal: every row ends as one leaf."""
    over = threading.Event()
    failed: list[BaseException] = []

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
            raise

    def write() -> None:
        for n in range(12):
            append(store, 1 + n % 7)

    def keep_sealing() -> None:
        while not over.is_set():
            seal(store, KEYS, now=NOW, chunk=5)
            over.wait(0.01)

    writers = [threading.Thread(target=guarded, args=(write,)) for _ in range(3)]
    sealers = [threading.Thread(target=guarded, args=(keep_sealing,)) for _ in range(2)]
    for thread in (*writers, *sealers):
        thread.start()
    for thread in writers:
        thread.join(120)
    over.set()
    for thread in sealers:
        thread.join(120)
    assert failed == []
    seal(store, KEYS, now=NOW)
    with store.read() as conn:
        rows = set(conn.execute(sa.select(t.log.c.id)).scalars())
    found = leaves(store)
    assert len(found) == len(rows) == 3 * sum(1 + n % 7 for n in range(12))
    assert {row[2] for row in found} == rows
    check(store)


@pytest.fixture
def postgresql_store(postgresql_database_url: str):
    opened = Store.open(postgresql_database_url)
    opened.migrate()
    yield opened
    opened.close()


def test_a_row_that_is_committed_late_is_not_passed_over(postgresql_store: Store):
    """One takes the smaller ids and commits last: without waiting, its rows would never be sealed."""
    store = postgresql_store
    begun, ended = threading.Event(), threading.Event()

    def slow() -> None:
        with store.write() as conn:
            log.append(conn, [log.Entry("decision", NOW, 1, 0, "allow")])
            begun.set()
            ended.wait(30)

    thread = threading.Thread(target=slow)
    thread.start()
    assert begun.wait(30)
    append(store, 1)  # a larger id, committed first: those who append do not wait for each other
    sealing = threading.Thread(target=lambda: seal(store, KEYS, now=NOW))
    sealing.start()
    sealing.join(0.3)
    assert sealing.is_alive()
    ended.set()
    thread.join(30)
    sealing.join(30)
    seal(store, KEYS, now=NOW)
    assert [row[2] for row in leaves(store)] == [1, 2]
    check(store)


def test_a_ledger_that_is_held_for_long_is_left_for_later(postgresql_store: Store, monkeypatch: pytest.MonkeyPatch):
    store = postgresql_store
    monkeypatch.setattr(tree, "TURN_SECONDS", 1)
    append(store, 2)
    with store.write() as conn:
        take_turns(conn, "consent_event")
        report = seal(store, KEYS, now=NOW + timedelta(seconds=9))
    assert (report.sealed, report.waiting, report.lag) == (0, 2, 9.0)
    assert "nothing was sealed this time" in report.held_up
    with store.write() as conn:
        step_in(conn, "erased")  # whoever
    assert seal(store, KEYS, now=NOW).sealed == 2
    check(store)
