"""The starter workspace with its invented people: whoever asks about any of them is answered, each place is there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator import cli, sample, wiring
from orchestrator.cli._story import show_run
from orchestrator.store import explain
from orchestrator.why import Decision, Moment, Run, Sent, Story, why
from tests.cli.conftest import At, World

MIDNIGHT = datetime.combine(sample.START, time(), UTC)
MORNINGS = tuple(MIDNIGHT + timedelta(hours=hours) for hours in (8, 18, 32, 44, 80, 81))


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory, clock: At) -> World:
    """Made by `init`, filled by `import`, put in force by `apply`; some ticks over four days."""
    world = World(tmp_path_factory.mktemp("stories") / "acme", clock)
    clock.now = MIDNIGHT
    assert cli.run(["init", str(world.folder)]) == 0
    assert world("apply", "-m", "the starter workspace", "--yes").code == 0
    for kind in ("accounts", "customers", "records", "devices", "consents", "events"):
        assert take_in(world, kind, MIDNIGHT).code == 0
    for now in MORNINGS:
        clock.now = now
        for kind in ("customers", "consents", "events"):
            assert take_in(world, kind, now).code == 0
        world.tick(now)
    return world


def take_in(world: World, kind: str, now: datetime) -> Any:
    rows: list[dict[str, Any]] = getattr(sample, kind)(on=now.date())
    rows = [r for r in rows if "occurred_at" not in r or datetime.fromisoformat(r["occurred_at"]) <= now]
    ending = "jsonl" if kind in ("records", "events") else "csv"
    return world("import", kind, str(world.write(f"{kind}-{now:%d%H}.{ending}", rows)))


@pytest.fixture(scope="module")
def stories(acme: World) -> list[Story]:
    """Of everybody to whom anything happened, of everybody's company, and of some others."""
    with wiring.connected(acme.folder) as wired:
        with wired.store.read() as conn:
            lines = explain.log_lines(conn, explain.LogFilter(), 10_000)
        keys = sorted({str(line["to_key"]) for line in lines if line["to_key"]})
        keys += ["company-001", "company-005", "member-0090", "contact-0063"]
        return [why(wired.store, wired.keys, key, None, now=MORNINGS[-1]) for key in keys]


def sent_in(stories: list[Story]) -> Iterator[Sent]:
    for story in stories:
        for run in story.runs:
            yield from run.messages


def test_every_fate_is_among_them(stories: list[Story]):
    assert {"sent", "held", "denied"} <= {sent.state for sent in sent_in(stories)}
    rules = {sent.decisions[-1].rule for sent in sent_in(stories) if sent.decisions and sent.state != "sent"}
    assert {"consent", "quiet_hours", "address"} <= rules


def test_every_message_has_its_place_and_its_verdicts(acme: World, stories: list[Story]):
    for sent in sent_in(stories):
        assert sent.line is not None
        line = (acme.folder / sent.file).read_text(encoding="utf-8").splitlines()[sent.line - 1]
        assert sent.template in line or sent.medium in line, (sent.file, sent.line, line)
        if sent.state in ("sent", "held", "denied"):
            assert sent.decisions and sent.decisions[-1].verdicts
        for decision in sent.decisions:
            assert decision.say == "allow" or (decision.rule and decision.meaning), decision
        if sent.purpose == "marketing" and sent.state == "sent":
            assert sent.relied_on, "marketing relies on somebody's word"


def test_every_moment_has_its_place(stories: list[Story]):
    for story in stories:
        for run in story.runs:
            assert run.readable and run.current and run.began
            for moment in run.moments:
                assert moment.line is not None and moment.file.startswith("journeys/")


def test_whoever_is_not_in_a_journey_is_told_why(stories: list[Story]):
    for story in stories:
        inside = {run.journey for run in story.runs}
        for entry in story.entries:
            assert entry.journey not in inside
            assert entry.first_reason, (story.key, entry)


@pytest.mark.parametrize("width", [60, 100])
def test_all_of_it_can_be_shown(acme: World, stories: list[Story], width: int):
    for story in stories[:: max(1, len(stories) // 12)]:
        said = acme("why", story.key, width=width)
        assert said.code == 0, said
        for line in said.out.splitlines():
            # A place is never broken, so that a terminal can open it.
            assert len(line) <= width or re.search(r"journeys/\S+:\d+$", line), line


def test_no_message_is_left_out(acme: World, stories: list[Story]):
    """Nor what a fallback tried second: each message's own number is told, for a step that plans twice, too."""
    asked = [s for s in stories if any(len({m.step for m in r.messages}) > 1 for r in s.runs)]
    for story in asked[:: max(1, len(asked) // 12)]:
        out = acme("why", story.key, width=200).out
        for sent in sent_in([story]):
            assert f"(message {sent.id}, " in out, (story.key, sent.id)


def test_a_fallback_tells_of_every_medium(capsys: pytest.CaptureFixture[str]):
    at = MIDNIGHT

    def sent(number: int, step: str, state: str = "denied", **more: Any) -> Sent:
        given: dict[str, Any] = {field.name: "" for field in fields(Sent)} | {"decisions": (), "notices": ()}
        given |= {"id": number, "step": step, "state": state, "visit": 1, "line": 2, "next_at": None, "planned_at": at}
        return Sent(**given | more)

    def moment(what: str, **detail: Any) -> Moment:
        return Moment(at, "first_of", 1, what, "journeys/a.yaml", 2, detail)

    until = at + timedelta(hours=6)
    held = Decision(at, 1, "hold", "quiet_hours", "quiet_hours", "", until, ())
    given: dict[str, Any] = {field.name: "" for field in fields(Run)} | {"id": 1, "line": 2, "entered_at": at}
    run = Run(
        **given
        | {"step": "first_of", "wake_at": None, "ended_at": None, "readable": True, "current": True}
        | {"messages": (
            sent(7, "sms:a"), sent(8, "push:b"),
            sent(9, "mail:c", "held", next_at=until + timedelta(minutes=22), decisions=(held,)),
        )}
        | {"moments": (
            moment("planned", sends=["sms:a to customer 1"]),
            moment("planned", sends=["push:b to customer 1"]),
            moment("planned", sends=["mail:c to customer 1"]),
            moment("timed out", **{"for": "happened(bought since entry)", "waited": "7 days"}),
            moment("left", outcome=["sms:a: denied: no_consent; push:b: reached", *["mail:c: reached"] * 2]),
        )}
    )  # fmt: skip
    show_run(Console(width=200, file=sys.stdout), run)
    out = capsys.readouterr().out
    assert "(message 7, " in out and "(message 8, " in out
    assert "at first_of, until message 9 is sent or refused" in out
    assert "until 2027-03-25 06:22: its turn after 06:00, `release` spreads what was held" in out
    assert "the event bought since the entry has not come within 7 days" in out
    assert "goes on: sms:a refused: no_consent; push:b: reached; mail:c: reached ×2" in out


def test_a_contacts_company_answers_for_her(acme: World):
    with wiring.connected(acme.folder) as wired, wired.store.read() as conn:
        lines = explain.log_lines(conn, explain.LogFilter(journey="b2b-renewal"), 10)
    key = next(str(line["to_key"]) for line in lines if line["to_key"])
    story = acme.json("why", key, "b2b-renewal")
    company = acme.json("why", story["account"], "b2b-renewal")
    assert [run["id"] for run in company["runs"]] == [run["id"] for run in story["runs"]]
    assert story["runs"][0]["because"].startswith("contract contract-")


def test_looking_at_it_all(acme: World):
    for arguments in (("journeys",), ("outbox",), ("log",), ("doctor",), ("db", "check"), ("segment", "vip-club")):
        for width in (60, 100):
            said = acme(*arguments, width=width)
            assert said.code == 0, said
            assert "Traceback" not in said.out + said.err


def test_nothing_of_an_answer_is_a_place_of_the_machine(acme: World, stories: list[Story]):
    assert not [sent for sent in sent_in(stories) if Path(sent.file).is_absolute()]
