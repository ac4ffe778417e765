"""The tick verb: bounded, safe beside others, told in numbers."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import wiring
from orchestrator.audit import verify
from orchestrator.project import load
from orchestrator.seal import SealBroken
from orchestrator.store import tree, versions
from orchestrator.store.tables import message
from orchestrator.store.tables import tick as ticks
from orchestrator.tick import Tally, TickReport, tick
from tests.flows.conftest import outbox, sign_up


def run(folder: Path, budget: float = 30, worker: str = "w") -> TickReport:
    with wiring.connected(folder) as wired:
        return tick(wired.store, wired.channels, wired.keys, clock=wired.clock, budget_seconds=budget, worker=worker)


def test_goes_on_until_nothing_is_due_and_keeps_a_row(waiting: Path):
    report = run(waiting)
    assert report.finished
    assert report.rounds >= 2
    assert dict(report.enrolled) == {"hello": 1}
    assert dict(report.ended) == {"completed": 1}
    assert report.messages == (Tally("hello", "email", "sent", "", 1),)
    assert report.name == "Dispatched"
    assert report.summary == "1 entered, 2 moves, sent 1"
    with wiring.connected(waiting) as wired, wired.store.read() as conn:
        row = conn.execute(ticks.select()).one()
    assert row.finished_at is not None
    assert row.counts["summary"] == report.summary
    again = run(waiting)
    assert (again.name, again.summary, again.rounds) == ("Idle", "nothing was due", 1)


def test_what_a_tick_wrote_is_sealed_at_its_end(waiting: Path):
    report = run(waiting)
    with wiring.connected(waiting) as wired:
        with wired.store.read() as conn:
            done, head = tree.sealed(conn), tree.newest(conn)
            left = tree.waiting(conn, done.below)
        verified = verify(wired.store, wired.keys, now=wired.clock())
    assert head is not None
    assert (report.sealed, report.seal_lag, left.rows) == (done.size, 0.0, 0)
    assert head.size == done.size >= 3
    assert report.counts()["sealed"] == report.sealed
    assert verified.ok, verified.findings
    again = run(waiting)
    assert (again.sealed, again.seal_lag) == (0, 0.0)


def test_a_log_that_cannot_be_sealed_is_told_and_stops_nothing(waiting: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise SealBroken("the checkpoint of size 3 was changed")

    monkeypatch.setattr("orchestrator.tick.seal", broken)
    report = run(waiting)
    assert report.by_verdict() == {"sent": 1}
    assert report.problems == ("the checkpoint of size 3 was changed",)


def test_a_budget_of_nothing_does_nothing_and_says_so(waiting: Path):
    report = run(waiting, budget=0)
    assert not report.finished
    assert report.name == "Unfinished"
    assert "time is up" in report.summary
    assert outbox(waiting) == []
    assert run(waiting).by_verdict() == {"sent": 1}


def test_a_pause_holds_everything(waiting: Path):
    with wiring.connected(waiting) as wired, wired.store.write() as conn:
        versions.pause(conn, versions.EVERYTHING, by="test", reason="", now=datetime.now(UTC))
    assert run(waiting).name == "Idle"
    with wiring.connected(waiting) as wired, wired.store.write() as conn:
        versions.resume(conn, versions.EVERYTHING, by="me", now=datetime.now(UTC))
    assert run(waiting).by_verdict() == {"sent": 1}


def test_several_at_once_send_each_message_once(small: Path):
    keys = [f"c{n}" for n in range(40)]
    sign_up(small, load(small), *keys, now=datetime.now(UTC))
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            run(small, worker=name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    run(small)  # a lease that one took and another waited for
    assert len(outbox(small)) == 40
    assert not [path for path in outbox(small) if "~" in path.name], "an attempt was handed over twice"
    with wiring.connected(small) as wired, wired.store.read() as conn:
        assert {row.state for row in conn.execute(message.select())} == {"sent"}


verdicts = st.sampled_from(["sent", "hold", "deny", "expired", "uncertain"])
tallies = st.lists(st.builds(Tally, st.just("j"), st.just("email"), verdicts, st.just(""), st.integers(1, 9)))


@given(tallies, st.booleans(), st.integers(0, 3))
def test_what_is_told_adds_up(messages: list[Tally], finished: bool, moves: int):
    report = TickReport(1, datetime.now(UTC), 0.1, 1, finished, {}, moves, 0, {}, tuple(messages))
    assert sum(report.by_verdict().values()) == sum(tally.count for tally in messages)
    assert report.markdown().count("| j | email |") == len(messages)
    assert report.summary and report.name
    assert ("time is up" in report.summary) is not finished
