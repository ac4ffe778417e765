"""`audit export`: every line of a period with what it was judged on; whole or not at all; nobody's name in it."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import EventKind, Reason
from channels.sandbox import ACCEPT, rejected
from orchestrator import exporting
from orchestrator.exporting import COLUMNS, CannotExport, export
from orchestrator.seal import seal
from orchestrator.store import auditing, versions
from orchestrator.store import tables as t
from tests.outgoing import NOON, POLICIES, World, files, journey, world_of

CAPPED = POLICIES + '  caps: [ "1 per day across email, sms" ]\n'


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Three who are sent to, one refused, one held; feedback, a pause."""
    made = world_of(database_url)
    made.apply(files({"hello": journey("hello", "- email: hello\n- sms: short")}, CAPPED))
    made.people(3)
    made.people(1, consents=None)
    made.people(1, timezone="America/Los_Angeles", country="DE", phone=None)
    made.event(range(1, 6))
    made.behaviour = lambda outbound, number: rejected(Reason.CONTENT) if outbound.attempt == "m3a1" else ACCEPT
    made.tick()
    made.hear("m1a1", EventKind.DELIVERED)
    with made.store.write() as conn:
        versions.pause(conn, "hello", by="mara", reason="a look", now=made.now)
    seal(made.store, made.keys, now=made.now)
    yield made
    made.store.close()


def exported(world: World, folder: Path, form: Any = "csv", **more: Any) -> exporting.ExportReport:
    span = {"since": NOON - timedelta(days=1), "until": NOON + timedelta(days=1)}
    return export(world.store, world.keys, folder, now=world.now, form=form, **{**span, **more})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_line_is_there_with_what_an_auditor_asks(world: World, tmp_path: Path):
    report = exported(world, tmp_path)
    rows = rows_of(report.file)
    assert list(rows[0]) == list(COLUMNS)
    stored = [row.id for row in world.rows(sa.select(t.log.c.id).order_by(t.log.c.id))]
    assert [int(row["line"]) for row in rows] == stored
    assert report.rows == len(rows) == sum(report.counts.values()) and report.unsealed == report.erased == 0
    sent = rows[0]
    assert (sent["kind"], sent["verdict"], sent["attempt_id"]) == ("decision", "allow", "m1a1")
    assert (sent["customer"], sent["medium"], sent["topic"], sent["purpose"]) == ("1", "email", "offers", "marketing")
    assert (sent["file"], sent["source_line"], sent["step"]) == ("journeys/hello.yaml", "5", "email:hello")
    assert len(sent["journey_version"]) == len(sent["content_hash"]) == len(sent["policies"]) == 64
    assert sent["zones"].startswith("Europe/Berlin(stated)") and "DE(" in sent["places"]
    assert sent["local_time"].startswith("2027-03-01T12:00:00") and sent["tzdata"] and sent["ruleset"]
    assert sent["consent_events"] and sent["consent_at"] == "2027-03-01T11:00:00.000000Z"
    assert sent["consent_action"] in ("grant", "confirm") and sent["consent_method"] == "test"
    assert json.loads(sent["verdicts"])["consent"] == "allow consented"
    assert json.loads(sent["caps"])["contacts"] == 0 and sent["suppressions"] == "[]"
    assert sent["leaf"].isdigit() and sent["sealed"] == "" and sent["customer_key"] == ""
    denied = next(row for row in rows if row["verdict"] == "deny")
    assert (denied["reason"], denied["rule"], denied["content_hash"]) == ("no_consent", "consent", "")
    held = next(row for row in rows if row["verdict"] == "hold")
    assert held["reason"] == "quiet_hours" and held["until"].endswith("Z") and json.loads(held["hours"])
    outcome = next(row for row in rows if row["verdict"] == "sent")
    assert (outcome["provider"], outcome["provider_id"], outcome["customer"]) == ("sandbox", "sandbox-m1a1", "1")
    assert outcome["template"] == "hello" and outcome["journey_version"] == sent["journey_version"]
    assert {row["verdict"] for row in rows if row["kind"] == "feedback"} == {"delivered"}
    [operation] = [row for row in rows if row["kind"] == "operation"]
    assert operation["verdict"] == "paused" and json.loads(operation["operation"])["by"] == "mara"


def test_nobody_is_named(world: World, tmp_path: Path):
    for form in ("csv", "jsonl", "parquet", "pdf"):
        data = exported(world, tmp_path, form).file.read_bytes()
        assert not any(word in data for word in (b"example.com", b"Ann1", b"4917139", b"Lindenweg", b'"c1"', b",c1,"))


def test_one_customer_and_her_key(world: World, tmp_path: Path):
    report = exported(world, tmp_path, customer="c2")
    rows = rows_of(report.file)
    assert rows and {(row["customer"], row["customer_key"]) for row in rows} == {("2", "c2")}
    assert report.file.name.startswith("customer-2-audit-"), "an erasure finds it by its name"
    with pytest.raises(LookupError):
        exported(world, tmp_path, customer="nobody")


def test_what_was_destroyed_says_so(world: World, tmp_path: Path):
    _erase(world, tmp_path, "c1")
    report = exported(world, tmp_path)
    hers = [row for row in rows_of(report.file) if row["customer"] == "1" and row["kind"] == "decision"]
    assert hers and report.erased == len(hers)
    for row in hers:
        assert {row[name] for name in exporting.SEALED} == {"erased"} and row["sealed"] == "erased"
        assert row["verdicts"] and row["policies"], "the line itself stands"
    others = [row for row in rows_of(report.file) if row["customer"] == "2" and row["kind"] == "decision"]
    assert others and all(row["sealed"] == "" and row["address_hash"] for row in others)


def _erase(world: World, folder: Path, key: str) -> None:
    from orchestrator.erase import Places, erase

    places = Places(folder / "erased.jsonl", ())
    erase(world.store, world.keys, key, places, now=world.now, by="me", reason="request")


def test_a_damaged_record_says_so(world: World, tmp_path: Path):
    with world.store.write() as conn:
        first = conn.execute(sa.select(sa.func.min(t.log_detail.c.log_id))).scalar_one()
        conn.execute(t.log_detail.update().where(t.log_detail.c.log_id == first).values(body=b"other bytes"))
    rows = rows_of(exported(world, tmp_path).file)
    assert [row["sealed"] for row in rows if row["line"] == str(first)] == ["damaged"]


def test_the_period_is_half_open(world: World, tmp_path: Path):
    assert exported(world, tmp_path, since=NOON, until=NOON + timedelta(microseconds=1)).rows > 0
    assert exported(world, tmp_path, since=NOON - timedelta(days=1), until=NOON).rows == 0
    assert exported(world, tmp_path, since=None).rows == exported(world, tmp_path).rows


def test_the_manifest_counts_and_names_the_checkpoint(world: World, tmp_path: Path):
    report = exported(world, tmp_path, "jsonl")
    manifest = json.loads(report.manifest.read_text(encoding="utf-8"))
    assert manifest["file"]["sha256"] == hashlib.sha256(report.file.read_bytes()).hexdigest() == report.sha256
    assert manifest["file"]["name"] == report.file.name and manifest["rows"] == report.rows
    assert manifest["checkpoint"]["size"] == world.one(sa.select(sa.func.max(t.checkpoint.c.size)))
    assert manifest["checkpoint"]["note"].startswith(manifest["log"]) and manifest["log_key"].startswith(
        manifest["log"]
    )
    assert set(manifest["columns"]) == set(COLUMNS)
    assert oct(report.file.stat().st_mode)[-3:] == oct(report.manifest.stat().st_mode)[-3:] == "600"
    with world.store.write() as conn:
        versions.resume(conn, "hello", by="mara", now=world.now)
    assert exported(world, tmp_path, "jsonl").unsealed == 1


def test_all_forms_say_the_same(world: World, tmp_path: Path):
    from pyarrow import parquet

    lines = exported(world, tmp_path, "jsonl").file.read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    rows = rows_of(exported(world, tmp_path).file)
    table = parquet.read_table(exported(world, tmp_path, "parquet").file)
    assert table.column_names == list(COLUMNS) and table.num_rows == len(rows) == len(told)
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("customer").type) == "int64"
    for row, line, cells in zip(rows, told, table.to_pylist(), strict=True):
        assert {name: str(value) for name, value in line.items()} == {n: v for n, v in row.items() if v}
        assert {n: str(v) for n, v in cells.items() if v not in (None, "") and n != "at"} == {
            n: v for n, v in row.items() if v and n != "at"
        }


def test_the_same_question_gives_the_same_bytes(world: World, tmp_path: Path):
    for form in ("csv", "jsonl", "pdf"):
        first = exported(world, tmp_path / "a", form).file.read_bytes()
        assert exported(world, tmp_path / "b", form).file.read_bytes() == first
    assert first.startswith(b"%PDF-")


def test_a_spreadsheet_takes_nothing_for_a_formula(tmp_path: Path):
    for cell in ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1"):
        assert exporting._cell(cell) == f"'{cell}"
    assert [exporting._cell(value) for value in ("a=1", "", None, 7, "{}")] == ["a=1", "", None, 7, "{}"]


def test_whole_or_not_at_all(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = exported(world, tmp_path / "out").file.read_bytes()

    def breaks(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting._Work, "_decision", breaks)
    with pytest.raises(KeyboardInterrupt):
        exported(world, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2, "no draft is left"
    [path] = (tmp_path / "out").glob("*.csv")
    assert path.read_bytes() == whole


def test_chunks_make_no_difference(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = exported(world, tmp_path).file.read_bytes()
    monkeypatch.setattr(exporting, "CHUNK", 2)
    done: list[int] = []
    assert exported(world, tmp_path, progress=done.append).file.read_bytes() == whole
    assert done == sorted(done) and len(done) > 3


@pytest.mark.parametrize(("form", "package"), [("parquet", "pyarrow"), ("pdf", "typst")])
def test_what_is_not_installed_is_said_before_anything_is_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, package: str
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CannotExport, match=rf"{package}: pip install 'campaign-orchestrator\[{form}\]'"):
        exported(world, tmp_path / "out", form)
    assert list((tmp_path / "out").glob("*")) == []


def test_too_much_for_paper(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exporting, "PAGES", 3)
    with pytest.raises(CannotExport, match="csv"):
        exported(world, tmp_path / "out", "pdf")
    assert list((tmp_path / "out").glob("*")) == []


def test_memory_does_not_grow_with_the_log(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No more than a chunk is held at a time."""
    monkeypatch.setattr(exporting, "CHUNK", 3)
    held: list[int] = []
    plain = auditing.lines

    def counted(*args: Any, **kwargs: Any) -> Any:
        found = plain(*args, **kwargs)
        held.append(len(found))
        return found

    monkeypatch.setattr(auditing, "lines", counted)
    exported(world, tmp_path)
    assert max(held) == 3 and len(held) > 4
