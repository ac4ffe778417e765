"""Lists of tasks: once each, whole, and nothing that a spreadsheet would run."""

import csv
import io
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Handed, Medium, Misconfigured, Skeleton
from channels.taskfile import COLUMNS, connect, tame
from tests.channels.kit import NOW, outbound, outbounds
from tests.channels.kits.taskfile import rows, taskfile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.csv"))


def test_one_list_a_day_and_person(tmp_path):
    channel = taskfile(tmp_path, zone="Pacific/Auckland")
    batch = outbounds(Medium.TASK, 2)
    batch += [outbound(Medium.TASK, 2, to={"name": "Sales"}), outbound(Medium.TASK, 3, to={"name": "sales!"})]
    assert {r.status for r in channel.send(batch)} == {"accepted"}
    found = names(tmp_path)
    assert len(found) == 3 and all(name.startswith("TASKS-2027-01-14-") for name in found)  # tomorrow, over there
    assert (tmp_path / found[0]).stat().st_mode & 0o077 == 0
    assert {row["task"] for row in rows(tmp_path)} == {"a0", "a1", "a2", "a3"}
    assert tuple(rows(tmp_path)[0]) == COLUMNS


def test_whom_to_call_stands_there_and_nothing_else(tmp_path):
    meta = {"due": "2027-01-15", "customer": "Anna Müller", "phone": "+49 151 23456789", "account": "Acme", "x": "y"}
    list(taskfile(tmp_path).send([outbound(Medium.TASK, 0, meta=meta), outbound(Medium.TASK, 1)]))
    called, other = rows(tmp_path)
    assert (called["customer"], called["phone"], called["account"]) == ("Anna Müller", "+49 151 23456789", "Acme")
    assert (other["customer"], other["phone"], other["account"]) == ("", "", "")


def test_the_same_attempt_is_written_once(tmp_path):
    channel = taskfile(tmp_path)
    for _ in range(2):
        assert [r.status for r in channel.send(outbounds(Medium.TASK, 3))] == ["accepted"] * 3
    assert [row["task"] for row in rows(tmp_path)] == ["a0", "a1", "a2"]


def test_what_a_dead_writer_left_is_cut_off(tmp_path):
    channel = taskfile(tmp_path)
    list(channel.send(outbounds(Medium.TASK, 1)))
    [name] = names(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for cut in range(1, len(whole)):
        (tmp_path / name).write_bytes(whole[:cut])
        assert [r.status for r in channel.send(outbounds(Medium.TASK, 2))] == ["accepted"] * 2
        if cut > 3:
            assert [row["task"] for row in rows(tmp_path)] == ["a0", "a1"], cut


def _write(folder: Path, first: int) -> None:
    list(taskfile(folder).send(outbounds(Medium.TASK, 50, first)))


def test_writers_take_turns(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(tmp_path, first)) for first in (0, 25, 50)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    found = [row["task"] for row in rows(tmp_path)]
    assert sorted(found) == sorted(f"a{n}" for n in range(100))


@pytest.mark.parametrize(
    "value",
    [
        *("=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(1)", "\t=1", " =1", "\r=1", "\n=1"),
        *("\uff1d1+1", "+49 151=1", "\u00a0=1"),
    ],
)
def test_nothing_runs_in_a_spreadsheet(tmp_path, value):
    assert tame(value).startswith("'")
    title = Skeleton("h", {"title": (value,), "text": ("", "")}, {"title": (), "text": (0,)})
    to = {"name": value, "address": "max@example.com"}
    meta = {"customer": value, "account": value}
    list(taskfile(tmp_path).send([outbound(Medium.TASK, 0, skeleton=title, values=(value,), to=to, meta=meta)]))
    [row] = rows(tmp_path)
    assert all(row[name].startswith("'") for name in ("title", "text", "for", "account", "customer"))


@pytest.mark.parametrize("value", ["+49 151 23456789", "Anna", "1,5", "", "a=b"])
def test_what_runs_nowhere_stays(value):
    assert tame(value) == value


@given(st.text(max_size=60))
def test_a_cell_is_a_cell(text):
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(["a", tame(text), "b"])
    [row] = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert row[0] == "a" and row[2] == "b" and row[1].lstrip()[:1] not in ("=", "@")


def test_names_are_no_paths(tmp_path):
    for n, name in enumerate(("../../etc/passwd", "/", "..", "a\x00b", "Ünï / Cöde", "x" * 400)):
        [receipt] = taskfile(tmp_path / "t").send([outbound(Medium.TASK, n, to={"name": name})])
        assert receipt.status == "accepted"
    assert {path.parent for path in tmp_path.rglob("*.csv")} == {tmp_path / "t"}


def test_erased_is_gone(tmp_path):
    channel = taskfile(tmp_path)
    list(channel.send([*outbounds(Medium.TASK, 3), outbound(Medium.TASK, 3, to={"name": "sales"})]))
    assert channel.forget(lambda attempt: attempt in ("a1", "a3")) == 2
    assert sorted(row["task"] for row in rows(tmp_path)) == ["a0", "a2"]
    assert channel.forget(lambda attempt: attempt in ("a1", "a3")) == 0
    list(channel.send(outbounds(Medium.TASK, 1, 9)))
    assert sorted(row["task"] for row in rows(tmp_path)) == ["a0", "a2", "a9"]


def test_what_nobody_knows_can_be_looked_up(tmp_path):
    channel = taskfile(tmp_path)
    list(channel.send(outbounds(Medium.TASK, 1)))
    found = {r.attempt: (r.status, r.detail) for r in channel.trace([Handed("a0", {}, NOW), Handed("a7", {}, NOW)])}
    assert found == {"a0": ("accepted", ""), "a7": ("rejected", "never_taken")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folder": "tasks"}, "a path from the root"),
        ({"zone": "Europe/Nowhere"}, "a time zone"),
        ({"digest": "8"}, "a time of day"),
        ({"digest": "24:00"}, "a time of day"),
    ],
)
def test_settings_that_are_wrong(tmp_path, options, said):
    with pytest.raises(Misconfigured, match=said):
        taskfile(tmp_path, **options)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be written"):
        list(taskfile(tmp_path / "file" / "tasks").send(outbounds(Medium.TASK, 1)))


def test_without_a_folder_it_stands_beside_the_outbox(tmp_path):
    from channels.base import Site

    channel = connect(Medium.TASK, {}, Site(tmp_path / "outbox", lambda: datetime(2027, 3, 1, tzinfo=UTC), b"s"))
    list(channel.send(outbounds(Medium.TASK, 1)))
    assert names(tmp_path / "taskfile")[0].startswith("TASKS-2027-03-01-max-manager-")
