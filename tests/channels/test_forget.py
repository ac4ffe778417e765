"""What the sandbox forgets of a person, and what of everybody else it does not touch."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from channels.base import Keeps, Medium, Outbound
from channels.sandbox import Sandbox, browse, forget, kept
from tests.channels.kit import NOW, outbound, outbounds


def of(*attempts: str) -> Callable[[str], bool]:
    return lambda attempt: attempt.partition("d")[0] in attempts


def sent(folder: Path, medium: Medium, *batches: list[Outbound]) -> Sandbox:
    channel = Sandbox(medium, folder, clock=lambda: NOW)
    for batch in batches:
        assert {r.status for r in channel.send(batch)} == {"accepted"}
    return channel


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("medium", list(Medium))
def test_ones_messages_go_and_the_others_stay(tmp_path, medium):
    batch = [outbound(medium, n, attempt=f"attempt-{n}", values=(f"Nobody Else {n}",)) for n in range(4)]
    gone, stay = batch[1].attempt, [o.attempt for o in (batch[0], batch[2], batch[3])]
    channel = sent(tmp_path, medium, batch)
    browse(tmp_path)
    before = {k.attempt: (tmp_path / k.file).read_bytes() for k in kept(tmp_path)}
    assert isinstance(channel, Keeps)
    assert channel.forget(of(gone)) == 1
    assert {k.attempt: (tmp_path / k.file).read_bytes() for k in kept(tmp_path)} == {a: before[a] for a in stay}
    assert not any(gone.encode() in data or b"Nobody Else 1" in data for data in files(tmp_path).values())
    assert not (tmp_path / "index.html").exists(), "pages for a browser are made anew"
    browse(tmp_path)
    assert len(list((tmp_path / "pages").iterdir())) == 3
    after = files(tmp_path)
    assert channel.forget(of(gone)) == 0
    assert {n: d for n, d in files(tmp_path).items() if n in after and "page" not in n} == {
        n: d for n, d in after.items() if "page" not in n
    }


@pytest.mark.parametrize(("medium", "name"), [(Medium.EMAIL, "index.jsonl"), (Medium.TASK, "task/tasks.csv")])
def test_lists_keep_their_length_so_that_no_append_is_lost(tmp_path, medium, name):
    batch = outbounds(medium, 3)
    channel = sent(tmp_path, medium, batch)
    size = (tmp_path / name).stat().st_size
    inode = (tmp_path / name).stat().st_ino
    assert channel.forget(of(batch[1].attempt)) == 1
    assert (tmp_path / name).stat().st_size == size
    assert (tmp_path / name).stat().st_ino == inode
    more = outbounds(medium, 5)[3:]
    sent(tmp_path, medium, more)
    assert [k.attempt for k in kept(tmp_path)] == [batch[0].attempt, batch[2].attempt, *(o.attempt for o in more)]


def test_a_tasks_row_is_one_row_without_a_word(tmp_path):
    batch = outbounds(Medium.TASK, 3)
    channel = sent(tmp_path, Medium.TASK, batch)
    channel.forget(of(batch[0].attempt))
    with (tmp_path / "task/tasks.csv").open(encoding="utf-8", newline="") as file:
        head, first, *rest = list(csv.reader(file))
    assert [cell.strip() for cell in first] == [""] * len(head)
    assert [row[0] for row in rest] == [batch[1].attempt, batch[2].attempt]


def test_a_print_houses_job_is_whole_without_the_letter(tmp_path):
    batch = outbounds(Medium.MAIL, 3)
    channel = sent(tmp_path, Medium.MAIL, batch)
    channel.forget(of(batch[2].attempt))
    [job] = (tmp_path / "mail").glob("letters-*")
    manifest = json.loads((job / f"{job.name}_manifest.json").read_bytes())
    assert manifest["rows"] == 2
    assert sum(manifest["by_country"].values()) == sum(manifest["by_template"].values()) == 2
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((job / name).read_bytes()).hexdigest() == digest
    assert {p.name for p in job.rglob("*") if p.is_file()} == {
        *(Path(name).name for name in manifest["sha256"]),
        f"{job.name}_manifest.json",
        f"{job.name}.ok",
    }
    with (job / f"{job.name}_records.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in list(csv.reader(file))[1:]] == sorted(o.attempt for o in batch[:2])


def test_a_job_that_was_never_finished_keeps_nothing_of_it(tmp_path):
    one = outbound(Medium.MAIL)
    sent(tmp_path, Medium.MAIL, [one])
    [job] = (tmp_path / "mail").glob("letters-*")
    job.rename(job.with_name(f".{job.name}.77.part"))
    assert forget(tmp_path, of(one.attempt)) == 1
    assert not any(name.endswith((".html", ".csv")) for name in files(tmp_path))


def test_every_delivery_and_every_copy_of_an_attempt(tmp_path):
    one = outbound(Medium.PUSH)
    sent(tmp_path, Medium.PUSH, [one])
    list(Sandbox(Medium.PUSH, tmp_path, clock=lambda: NOW).send([one]))  # handed over twice, kept beside the first
    assert len(list((tmp_path / "push").iterdir())) == 2
    assert forget(tmp_path, of(one.attempt)) == 1
    assert list((tmp_path / "push").iterdir()) == []


def test_where_nothing_was_kept(tmp_path):
    assert forget(tmp_path / "nowhere", lambda attempt: True) == 0
    assert forget(tmp_path, lambda attempt: True) == 0
