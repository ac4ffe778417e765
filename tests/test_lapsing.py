"""Made-up people who fall silent: journeys of the silent are entered, and where nobody enters, it is said why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from channels.base import Medium
from channels.null import Null
from orchestrator.project import Project, load_files
from orchestrator.rehearse.behaving import USUAL
from orchestrator.rehearse.cohort import made_up
from orchestrator.rehearse.lapsing import absent, lapses
from orchestrator.rehearse.simulating import part, simulate
from orchestrator.simulation import Simulation
from tests.outgoing import files, journey

BEGIN = datetime(2027, 3, 1, 8, tzinfo=UTC)
CALL = "- task: account_manager\n  message: Call them"


def _project(
    segment: str, *, of: str = "account", more: str = "", trigger: str = "{ segment_entry: silent }"
) -> Project:
    steps = CALL if of == "account" else "- email: hello"
    texts = files({"win-back": journey("win-back", steps, trigger, f"unit: {of}\n{more}".rstrip())})
    texts["journeys/segments.yaml"] = f'silent: {{ of: {of}, when: "{segment}" }}\n'
    return load_files(texts)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("days_since(last(bought)) > 90", [("bought", 91)]),
        ("90 <= days_since(last(bought))", [("bought", 90)]),
        ("never(bought, 90 days)", [("bought", 90)]),
        ("count(bought, 12 weeks) == 0", [("bought", 84)]),
        ("count(bought, 2 months) < 2", [("bought", 62)]),
        ("not count(bought, 90 days) >= 1", [("bought", 90)]),
        ("last(bought) is more than 90 days ago or never(bought)", [("bought", 90)]),
        ("sum(bought.amount, 30 days) < 5 EUR and town is set", [("bought", 30)]),
        ("never(bought)", []),
        ("count(bought, 90 days) >= 2", []),
        ("days_since(last(bought)) < 90", []),
    ],
)
def test_what_must_not_have_happened(condition: str, found: list[tuple[str, int]]) -> None:
    project = _project(condition, of="customer")
    assert list(absent(project.segments["silent"].root, project.segments)) == found


def test_who_leaves_a_segment_of_buyers_is_silent_too() -> None:
    project = _project("count(bought, 30 days) >= 1", of="customer", trigger="{ segment_exit: silent }")
    assert [(one.event, one.days) for one in lapses(project)] == [("bought", 30)]


def _played(project: Project, folder: Path, customers: int = 60, days: int = 30) -> Simulation:
    folder.mkdir(exist_ok=True)
    people = made_up(part(project, ("win-back",)), customers, 1, rates={"bought": 12.0})
    return simulate(
        project, people, begin=BEGIN, until=BEGIN + timedelta(days=days), behaviour=USUAL, seed=1, folder=folder,
        channels={medium: Null(medium) for medium in Medium}, hop=timedelta(hours=12), journeys=("win-back",),
    )  # fmt: skip


def test_companies_with_many_contacts_lapse(tmp_path: Path) -> None:
    project = _project("days_since(last(bought)) > 60")
    came = _played(project, tmp_path)
    assert came.traffic["win-back"].entered >= 3 and not came.notes


def test_people_lapse(tmp_path: Path) -> None:
    came = _played(_project("never(bought, 60 days)", of="customer"), tmp_path)
    assert came.traffic["win-back"].entered >= 4


@pytest.mark.parametrize(
    ("segment", "more", "why"),
    [
        ("class == b2b", "", "are in `silent` and were from the first day: only those enter who come into it"),
        ("class == b2c", "", "none of the companies came into `silent`"),
        ("class == b2b", "audience: class == b2c", "nobody of the companies belongs to its audience"),
    ],
)
def test_where_nobody_enters_it_is_said_why(segment: str, more: str, why: str, tmp_path: Path) -> None:
    came = _played(_project(segment, more=more), tmp_path, 30, 2)
    assert not came.traffic["win-back"].entered
    [first, then] = came.notes
    assert first.startswith("nobody entered win-back: ") and why in first
    assert "--sample" in then


def test_an_event_that_never_happens_is_named(tmp_path: Path) -> None:
    project = _project("class == b2b", trigger="{ event: left }", more="audience: class == b2b")
    came = _played(project, tmp_path, 9, 1)
    assert came.notes[0] == "nobody entered win-back: `left` did not happen to anybody"


def test_an_audience_that_asks_of_the_event_is_asked_so(tmp_path: Path) -> None:
    """What a trigger's event has can only be asked beside one: not of a company alone."""
    project = _project("class == b2b", trigger="{ event: bought }", more='audience: event.order_id == "none of these"')
    came = _played(project, tmp_path, 9, 1)
    assert came.notes[0] == "nobody entered win-back: nobody of the companies belongs to its audience at the end"
