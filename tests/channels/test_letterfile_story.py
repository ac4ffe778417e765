"""Letters from the plan to the print house: cut-offs, withdrawals until the last minute, crashes, returns."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import EventKind, Handed, Inbound, Medium, Misconfigured, Site
from channels.letterfile import Letterfile, connect
from orchestrator import posting
from orchestrator.ingest import receive
from orchestrator.reconcile import reconcile
from orchestrator.store import tables as t
from tests.outgoing import World, files, journey, world_of

MONDAY = datetime(2027, 3, 1, 8, tzinfo=UTC)  # 09:00 in Berlin
TUESDAY_CUTOFF = datetime(2027, 3, 2, 13, tzinfo=UTC)  # 14:00 in Berlin
OPTIONS: dict[str, object] = {"zone": "Europe/Berlin", "country": "DE", "print": "records", "proofs": False}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url, now=datetime(2027, 3, 1, 13, 30, tzinfo=UTC))  # Monday, after the cut-off
    yield made
    made.store.close()


def print_house(world: World, **options: object) -> Letterfile:
    site = Site(world.folder, lambda: world.now, b"a secret of this installation")
    house = connect(Medium.MAIL, {**OPTIONS, **options}, site)
    world.channels[Medium.MAIL] = house  # type: ignore[assignment]
    return house


def letters(world: World, count: int = 3) -> list[int]:
    """People who are to get a letter, planned now."""
    world.apply(files({"post": journey("post", "- mail: letter", more="exit_when: { event: left }")}))
    people = [world.people(street=f"Lindenweg {n}")[0] for n in range(count)]
    world.event(people)
    world.move()
    return people


def printed(world: World) -> list[str]:
    """The piece ids of every job that was released."""
    found = []
    for ok in sorted((world.folder / "letters").glob("*/*.ok")):
        with (ok.parent / f"{ok.stem}_records.csv").open(encoding="utf-8", newline="") as file:
            found += [row["piece_id"] for row in csv.DictReader(file)]
    return found


def jobs(world: World) -> list[Path]:
    return sorted(p for p in (world.folder / "letters").glob("*") if p.is_dir() and p.name[0] != ".")


@pytest.mark.parametrize("what", ["withdraws", "exits", "database away"])
def test_a_no_while_the_letters_are_being_set_holds(world: World, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand letters take minutes: what was looked at before that is old when the job is released."""
    people = letters(world, 3)
    house = print_house(world)
    world.now = TUESDAY_CUTOFF
    set_ = house._seeds
    meanwhile = [1]

    def slow(*given: Any) -> Any:
        if meanwhile and meanwhile.pop():
            world.pass_time(seconds=1)
            if what == "withdraws":
                world.consent([people[1]], "mail", "offers", action="withdraw")
            elif what == "exits":
                world.event([people[1]], "left")
                world.move()
            else:
                house._unchanged = lambda: bool(1 / 0)
        return set_(*given)

    monkeypatch.setattr(house, "_seeds", slow)
    world.deliver()
    assert not printed(world) and not jobs(world), "nothing of that job was released"
    world.pass_time(minutes=2)
    world.deliver()
    left = 3 if what == "database away" else 2
    assert len(printed(world)) == left and len(jobs(world)) == 1
    states = world.states()
    assert states["sent"] == left and not states["uncertain"] and not states["sending"], states


def test_a_letter_waits_for_the_cut_off_and_leaves_with_all_others_in_one_job(world: World) -> None:
    print_house(world)
    letters(world, 5)
    assert world.tick()["planned cut_off"] == 5
    assert {(m.state, m.reason) for m in world.messages()} == {("planned", "cut_off")}
    assert not any(line["kind"] == "decision" for line in world.log()), "nothing is decided before its time"
    world.now = datetime(2027, 3, 2, 12, 59, tzinfo=UTC)
    assert not world.tick()
    world.now = TUESDAY_CUTOFF
    assert world.tick()["sent"] == 5
    assert len(jobs(world)) == 1 and len(printed(world)) == 5
    world.pass_time(days=1)
    assert not world.tick() and len(printed(world)) == 5


def test_a_letter_that_is_not_dropped_yet_is_withdrawn(world: World) -> None:
    print_house(world)
    gone, refused, stays = letters(world)
    world.tick()
    world.now = datetime(2027, 3, 2, 12, 59, tzinfo=UTC)
    world.event([gone], "left", why="moved")
    world.consent([refused], "mail", "offers", "withdraw")
    world.now = TUESDAY_CUTOFF
    world.tick()
    states = {m.customer_id: (m.state, m.reason) for m in world.messages()}
    assert states[gone][0] == "cancelled"
    assert states[refused] == ("denied", "consent_withdrawn")
    assert states[stays][0] == "sent"
    assert len(printed(world)) == 1
    (job,) = jobs(world)
    with (job / f"{job.name}_suppressed.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["reason", "pieces"], ["consent_withdrawn", "1"]]


def test_an_exit_between_the_decision_and_the_drop_stops_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    house = print_house(world)
    gone, _ = letters(world, 2)
    world.tick()
    world.now = TUESDAY_CUTOFF
    from orchestrator.deliver import _Run

    decide = _Run._decide

    def and_then_leaves(self: Any, *arguments: Any) -> Any:
        found = decide(self, *arguments)
        world.event([gone], "left", why="moved")
        world.consent([gone], "mail", "offers", "withdraw")
        return found

    monkeypatch.setattr(_Run, "_decide", and_then_leaves)
    world.deliver()
    assert len(printed(world)) == 1
    assert house.jobs()[0].pieces == 1


def test_who_was_down_at_the_cut_off_drops_late_and_once(world: World) -> None:
    print_house(world)
    letters(world)
    world.tick()
    world.now = datetime(2027, 3, 3, 7, tzinfo=UTC)
    assert world.tick()["sent"] == 3
    assert jobs(world)[0].name.startswith("letters-20270302T1300Z-")
    world.now = datetime(2027, 3, 3, 13, tzinfo=UTC)
    world.tick()
    assert len(printed(world)) == 3


def test_a_house_that_cannot_be_reached_gets_them_when_it_can_not_a_day_later(world: World) -> None:
    print_house(world)
    letters(world)
    world.tick()
    world.now = TUESDAY_CUTOFF
    world.folder.mkdir(exist_ok=True)
    (world.folder / "letters").write_text("no folder")
    assert world.tick(1)["planned misconfigured"] == 3
    (world.folder / "letters").unlink()
    world.pass_time(minutes=6)
    assert world.tick()["sent"] == 3
    assert len(printed(world)) == 3 and len(set(printed(world))) == 3


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("where", ["writing", "release", "rename", "ok", "receipts"])
def test_nobody_is_printed_twice_wherever_the_worker_dies(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = print_house(world)
    letters(world)
    world.tick()
    world.now = TUESDAY_CUTOFF
    with monkeypatch.context() as patch:
        die_at(where, house, patch)
        with pytest.raises(Killed):
            world.deliver()
    assert world.states() == {"sending": 3}
    handed = [Handed(f"m{m.id}a{m.attempts}", {}, m.decided_at) for m in world.messages()]
    again = print_house(world)  # another process
    world.pass_time(minutes=31)
    world.tick()
    assert world.states() == {"uncertain": 3}, "nobody sends them again by himself"
    taken = {r.attempt: (r.status, r.detail) for r in again.trace(handed)}
    there = set(printed(world))
    assert len(there) in (0, 3)
    for one in handed:
        assert taken[one.attempt] == (("accepted", "") if one.attempt in there else ("rejected", "never_taken"))
    assert there == (set(taken) if where in ("receipts",) else set())
    assert not list((world.folder / "letters").glob(".*")), "what was half written is taken away"
    assert [job.state for job in again.jobs()] == (["dropped"] if there else [])


def die_at(where: str, house: Letterfile, patch: pytest.MonkeyPatch) -> None:
    from channels.letterfile import _Release, drop, job

    def killed(*_: Any) -> Any:
        raise Killed

    def in_folder(wrapped: Callable[..., Any], ending: str) -> Callable[..., Any]:
        def call(path: Path, *more: Any) -> None:
            if path.name.endswith(ending):
                raise Killed
            wrapped(path, *more)

        return call

    match where:
        case "writing":
            patch.setattr(drop, "_create", in_folder(drop._create, "_manifest.json"))
            patch.setattr("shutil.rmtree", lambda *_, **__: None)  # a process that is killed tidies nothing up
        case "release":
            patch.setattr(_Release, "__call__", killed)
            patch.setattr("shutil.rmtree", lambda *_, **__: None)
        case "rename":
            patch.setattr(Path, "rename", killed)
        case "ok":
            patch.setattr(drop, "_create", in_folder(drop._create, ".ok"))
        case "receipts":
            patch.setattr(_Release, "__exit__", lambda self, *_: self._lock() if self._lock else None)
            patch.setattr(job.Files, "kept", property(lambda self: self.pieces))
            send = Letterfile.send

            def and_dies(self: Letterfile, batch: Any) -> Any:
                yield from list(send(self, batch))[:0]
                raise Killed

            patch.setattr(Letterfile, "send", and_dies)


def test_a_slow_worker_cannot_release_what_was_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    house = print_house(world)
    letters(world)
    world.tick()
    world.now = TUESDAY_CUTOFF
    from channels.letterfile import _Release

    release = _Release.__call__
    told: list[str] = []

    def while_another_asks(self: _Release) -> None:
        handed = [Handed(f"m{m.id}a1", {}, world.now) for m in world.messages()]
        told.extend(r.detail for r in house.trace(handed))
        release(self)

    monkeypatch.setattr(_Release, "__call__", while_another_asks)
    world.deliver()
    assert told == ["never_taken"] * 3
    assert not printed(world)
    assert world.states() == {"planned": 3}


def test_what_the_house_reports_is_taken_in_once(world: World) -> None:
    house = print_house(world)
    people = letters(world)
    world.tick()
    world.now = TUESDAY_CUTOFF
    world.tick()
    (job,) = jobs(world)
    first, second, third = sorted(printed(world))
    receipt = {"job": job.name, "accepted": 2, "rejects": [{"piece_id": first, "reason": "content"}]}
    (job / f"{job.name}_receipt.json").write_text(json.dumps(receipt))
    world.pass_time(days=3)
    returns = world.folder / "letters" / "returns"
    returns.mkdir()
    (returns / "march.csv").write_text(
        f"piece_id,reason,date,new_address\n{second},moved,2027-03-04,Neuer Weg 1\nm999a1,unknown,2027-03-04,\n"
        f"{third},eaten,2027-03-04,\n"
    )
    refused = 0
    for inbound in list(house.left()):
        receive(world.store, world.keys, house.events(inbound), now=world.now)
        refused += house.taken(inbound)
    assert refused == 2
    states = {f"m{m.id}a1": (m.state, m.reason) for m in world.messages()}
    assert states == {first: ("failed", "content"), second: ("bounced", "unknown_address"), third: ("sent", None)}
    assert not list(house.left())
    done = sorted(p.name for p in (returns / "done").iterdir())
    assert done == [f"{job.name}_receipt.json", "march.csv", "march.csv.refused.csv"]
    assert house.jobs()[0].state == "returned"
    suppressed = world.rows(sa.select(t.suppression.c.reason))
    assert [row.reason for row in suppressed] == ["unknown_address"]
    assert len(people) == 3


def test_a_file_that_was_not_read_here_is_forged(world: World) -> None:
    from channels.base import Forged

    house = print_house(world)
    with pytest.raises(Forged):
        house.events(Inbound(b'{"job": "x"}', {"Letterfile-Name": "x.json", "Letterfile-Signature": "0" * 64}))
    assert EventKind.RETURNED in house.reports


def test_the_verb_reads_each_file_once_and_the_table_knows_the_jobs(world: World) -> None:
    house = print_house(world)
    letters(world)
    world.tick()
    world.now = TUESDAY_CUTOFF
    world.tick()
    (job,) = jobs(world)
    assert [(j.id, j.state, j.pieces) for j in posting.jobs(world.store, house)] == [(job.name, "dropped", 3)]
    world.pass_time(hours=2)
    assert posting.approve(world.store, house, job.name, "Anna").state == "approved"
    with pytest.raises(Misconfigured, match="approved already"):
        posting.approve(world.store, house, job.name, "Anna")
    (job / f"{job.name}_receipt.json").write_text(json.dumps({"job": job.name, "accepted": 4}))
    report = posting.take_back(world.store, world.keys, house, now=lambda: world.now)
    assert (report.files, dict(report.new), report.refused) == (1, {"accepted": 3}, 0)
    assert report.problems == (f"{job.name}: the house counts 4 pieces accepted, we count 3",)
    assert posting.take_back(world.store, world.keys, house, now=lambda: world.now).files == 0
    rows = world.rows(sa.select(t.letter_job.c.job, t.letter_job.c.state, t.letter_job.c.pieces))
    assert [tuple(row) for row in rows] == [(job.name, "approved", 3)], "a receipt that comes late takes nothing back"


def test_letters_that_go_elsewhere_have_no_jobs(world: World) -> None:
    with pytest.raises(Misconfigured, match="letterfile"):
        posting.house(world.channels)


@pytest.mark.parametrize("where", ["release", "receipts"])
def test_after_a_crash_reconcile_finds_out_and_each_is_printed_once(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = print_house(world)
    letters(world)
    world.tick()
    world.now = TUESDAY_CUTOFF
    with monkeypatch.context() as patch:
        die_at(where, house, patch)
        with pytest.raises(Killed):
            world.deliver()
    print_house(world)
    world.pass_time(minutes=31)
    world.tick()
    world.pass_time(minutes=10)
    reconcile(world.store, world.channels, world.keys, now=lambda: world.now)
    world.pass_time(days=1)
    world.tick()
    assert world.states() == {"sent": 3}
    assert len(printed(world)) == len(set(printed(world))) == 3
    attempts = {piece.partition("a")[2] for piece in printed(world)}
    assert attempts == ({"1"} if where == "receipts" else {"2"}), "what certainly never went is made anew, at once"


@pytest.mark.parametrize("write", [1, 4, 8, 11, 12, 13, 14, 15, 16, 17])
def test_a_full_disk_prints_nobody_twice_and_loses_nobody(
    sqlite_database_url: str, write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(sqlite_database_url, now=datetime(2027, 3, 1, 13, 30, tzinfo=UTC))
    print_house(world)
    letters(world, 3)
    world.now = TUESDAY_CUTOFF
    really, count = os.fsync, [0]

    def full(file: int) -> None:
        count[0] += 1
        if count[0] == write:
            raise OSError(errno.ENOSPC, "No space left on device")
        really(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        world.deliver()
    assert count[0] >= write, "there were no more writes"
    assert set(world.states()) in ({"planned"}, {"uncertain"})
    for _ in range(3):
        world.pass_time(minutes=20)
        reconcile(world.store, world.channels, world.keys, now=world.now, public_url="https://small.example")
        world.deliver()
    assert world.states() == {"sent": 3} and len(printed(world)) == 3 and len(jobs(world)) == 1
    assert not [p for p in (world.folder / "letters").iterdir() if p.name[0] == "."], "and nothing lies about"
    world.store.close()


def test_a_file_that_cannot_be_put_aside_is_a_problem_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    house = print_house(world)
    letters(world, 1)
    world.now = TUESDAY_CUTOFF
    world.deliver()
    [piece] = printed(world)
    world.pass_time(days=1)
    (world.folder / "letters" / "returns").mkdir()
    (world.folder / "letters" / "returns" / "r.csv").write_text(f"piece_id,reason,date\n{piece},moved,2027-03-03\n")

    def full(name: str, refused: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(house._place), "done", lambda self, name, refused: full(name, refused))
        report = posting.take_back(world.store, world.keys, house, now=lambda: world.now)
    assert report.new == {"returned": 1} and "No space left" in report.problems[0]
    again = posting.take_back(world.store, world.keys, house, now=lambda: world.now)
    assert again.files == 1 and not again.new, "read again, and known"
