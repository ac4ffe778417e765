"""Opportunities: a change of stage is an event, and begins journeys; one that stands too long does, too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.importing import import_rows
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.store import tables as t
from tests.outgoing import NOON, WORKSPACE, World, audit, email, files, journey, world_of

DEALS = WORKSPACE.replace(
    "events:",
    """records:
  deal:
    of: account
    key: deal_id
    stage: { one_of: [lead, proposal, won, lost] }
    owner: text
    value: money
events:""",
)
MORE = "unit: account\npriority: 60"
JOURNEYS = {
    "won": journey("won", "- email: thanks", "{ stage_change: deal, to: [won] }", MORE),
    "slow": journey("slow", "- email: nudge", "{ stage_change: deal, to: [proposal], stalled: 30 days }", MORE),
}
NUDGE = email("About {{ deal.deal_id }} for {{ account.name }}", "It is worth {{ deal.value | money }}.", "service")


def workspace(journeys: dict[str, str] = JOURNEYS) -> dict[str, str]:
    made = files(journeys, templates__email__thanks_dot_mjml=NUDGE, templates__email__nudge_dot_mjml=NUDGE)
    return {**made, "journeys/workspace.yaml": made["journeys/workspace.yaml"].replace(WORKSPACE, DEALS)}


VOCABULARY = load_files(workspace({})).vocabulary


@pytest.fixture
def bare(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


@pytest.fixture
def world(bare: World) -> World:
    made = bare
    made.apply(workspace())
    imported(made, "accounts", {"key": "nord", "class": "b2b", "name": "Nord", "timezone": "Europe/Berlin"})
    contact = {"key": "ana", "class": "b2b", "account": "nord", "email": "ana@example.com", "country": "DE"}
    imported(made, "customers", {**contact, "timezone": "Europe/Berlin"})
    return made


def imported(world: World, kind: Any, *rows: dict[str, Any]) -> Any:
    found = import_rows(world.store, world.keys, VOCABULARY, kind, rows, now=world.now)
    assert not found.refused, found.refused
    return found


def deal(world: World, stage: str | None, key: str = "d1", **more: Any) -> None:
    imported(world, "records", {"type": "deal", "deal_id": key, "account": "nord", "stage": stage, **more})
    world.tick(1)


def changes(world: World) -> list[tuple[str, Any, Any]]:
    rows = world.rows(sa.select(t.event.c.properties).where(t.event.c.type == "stage_changed").order_by(t.event.c.id))
    return [(p["record_key"], p.get("from_stage"), p.get("to_stage")) for (p,) in rows]


def runs(world: World, name: str) -> int:
    return world.one(sa.select(sa.func.count()).where(t.enrollment.c.journey == name))


def test_each_change_is_an_event_of_the_account_once(world: World) -> None:
    deal(world, "lead", value="1000 EUR")
    deal(world, "lead", value="1200 EUR", owner="me")
    world.pass_time(days=1)
    deal(world, "proposal")
    world.pass_time(days=1)
    deal(world, "lead")
    deal(world, "lead")
    deal(world, None)
    assert changes(world) == [
        ("d1", None, "lead"),
        ("d1", "lead", "proposal"),
        ("d1", "proposal", "lead"),
        ("d1", "lead", None),
    ]
    owners = world.rows(sa.select(t.event.c.account_id, t.event.c.customer_id).distinct())
    assert [tuple(row) for row in owners] == [(1, None)]
    assert world.one(sa.select(t.record.c.stage_since)) is None


def test_several_changes_of_one_batch_each_count(world: World) -> None:
    rows = [{"type": "deal", "deal_id": "d1", "account": "nord", "stage": s} for s in ("lead", "lead", "won", "lead")]
    imported(world, "records", *rows)
    assert changes(world) == [("d1", None, "lead"), ("d1", "lead", "won"), ("d1", "won", "lead")]


def test_a_change_begins_one_run_for_each_record_with_the_record_in_the_text(world: World) -> None:
    for key in ("d1", "d2"):
        deal(world, "proposal", key, value="900 EUR")
    deal(world, "won", "d3")  # new: nothing has changed
    world.pass_time(hours=1)
    deal(world, "won", "d1")
    deal(world, "won", "d2")
    deal(world, "won", "d1")
    assert runs(world, "won") == 2
    texts = [world.opened(k) for k in world.outbox()]
    assert len(texts) == 2 and all("€900" in text or "900" in text for text in texts)
    world.pass_time(days=1)
    deal(world, "proposal", "d1")
    world.pass_time(days=1)
    deal(world, "won", "d1")
    assert runs(world, "won") == 3, "won a second time"


def test_a_task_is_its_owners_and_without_one_the_teams(bare: World) -> None:
    call = '- task: deal.owner\n  otherwise: sales\n  message: "Call {{ account.name }} about {{ deal.deal_id }}"'
    world = bare
    world.apply(workspace({"won": journey("won", call, "{ stage_change: deal, to: [won] }", MORE)}))
    imported(world, "accounts", {"key": "nord", "class": "b2b", "name": "Nord", "timezone": "Europe/Berlin"})
    for key, owner in (("d1", "mara@small.example"), ("d2", "Mara Beck"), ("d3", None)):
        deal(world, "lead", key, owner=owner)
        world.pass_time(hours=1)
        deal(world, "won", key)
    world.tick(2)
    found = world.rows(sa.select(t.message).order_by(t.message.c.id))
    assert [(m.medium, m.state, m.payload["to"]) for m in found] == [
        ("task", "sent", whose) for whose in ("mara@small.example", "Mara Beck", "sales")
    ]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ("- task: deal.owner", ""),
        ("- task: account.name", ""),
        ("- task: deal.ownr", "unknown-field"),
        ("- task: deal.value", "type-mismatch"),
        ("- task: sales.team", "unknown-field"),
        ("- task: account_manager\n  otherwise: deal.owner", "wrong-type"),
        ("- task: deal.owner\n  otherwise: account_manager", ""),
        ("- task: sales\n  otherwise: care", "unused-key"),
        ("- task: J. Beck, sales", ""),
    ],
)
def test_who_can_take_a_task(steps: str, code: str) -> None:
    texts = workspace({"won": journey("won", steps + "\n  message: Call", "{ stage_change: deal, to: [won] }", MORE)})
    try:
        load_files(texts)
        found = [""]
    except ProjectError as error:
        found = [p.code for p in error.problems]
    assert found == [code]


def test_new_ones_and_where_they_come_from(bare: World) -> None:
    world = bare
    both = {
        "new": journey("new", "- exit", "{ stage_change: deal, to: [lead], include_new: true }", MORE),
        "back": journey("back", "- exit", "{ stage_change: deal, from: [won, lost] }", MORE),
    }
    world.apply(workspace(both))
    imported(world, "accounts", {"key": "nord", "class": "b2b"})
    deal(world, "lead")
    assert (runs(world, "new"), runs(world, "back")) == (1, 0)
    deal(world, "won")
    deal(world, "lead")
    assert (runs(world, "new"), runs(world, "back")) == (2, 1)


def test_a_deal_that_stands_too_long_is_told_once(world: World) -> None:
    deal(world, "proposal")
    deal(world, "lead", "d2")
    world.pass_time(days=29, hours=22)
    world.tick(1)
    assert runs(world, "slow") == 0
    deal(world, "proposal", owner="other")  # no change of stage: it stands where it stood
    world.pass_time(hours=2)
    for _ in range(3):
        world.tick(1)
    assert runs(world, "slow") == 1
    world.pass_time(days=60)
    world.tick(1)
    assert runs(world, "slow") == 1, "it stalls once, however long"
    deal(world, "lead")
    world.pass_time(days=1)
    deal(world, "proposal")
    world.pass_time(days=30, minutes=1)
    world.tick(1)
    assert runs(world, "slow") == 2, "another stand is another one"


@pytest.mark.parametrize(("option", "expected"), [("", 0), (", include_existing: true", 1)])
def test_what_stood_long_before_the_journey(bare: World, option: str, expected: int) -> None:
    world = bare
    world.now = NOON - timedelta(days=90)
    world.apply(workspace({"other": journey("other", "- exit")}))
    imported(world, "accounts", {"key": "nord", "class": "b2b"})
    deal(world, "proposal")
    world.now = NOON
    slow = journey("slow", "- exit", f"{{ stage_change: deal, to: [proposal], stalled: 30 days{option} }}", MORE)
    world.apply(workspace({"slow": slow}))
    for _ in range(2):
        world.pass_time(minutes=5)
        world.tick(1)
    assert runs(world, "slow") == expected


WRONG = [
    ("{ stage_change: deal, to: [wonn] }", MORE, "unknown-stage", "did you mean `won`?"),
    ("{ stage_change: deal }", "", "wrong-unit", "write `unit: account`"),
    ("{ stage_change: deal, stalled: 3 days }", MORE, "stalled-where", "say in which stages"),
    ("{ stage_change: deal, to: [won], stalled: 3 days, from: [lead] }", MORE, "unused-key", "remove it"),
    ("{ stage_change: deal, include_existing: true }", MORE, "unused-key", "remove it"),
    ("{ stage_change: meal }", MORE, "unknown-record", "did you mean `deal`?"),
    ("{ tier_change: up, to: [bigg] }", MORE, "unknown-tier", "did you mean `big`?"),
]


@pytest.mark.parametrize(("trigger", "more", "code", "hint"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_told(trigger: str, more: str, code: str, hint: str) -> None:
    with pytest.raises(ProjectError) as refused:
        load_files(workspace({"a": journey("a", "- exit", trigger, more)}))
    assert [p.code for p in refused.value.problems] == [code]
    assert hint in refused.value.problems[0].hint


def test_a_record_without_stages_and_a_taken_name() -> None:
    made = workspace({})
    plain = made["journeys/workspace.yaml"].replace("stage: {", "state: {")
    texts = {**made, "journeys/workspace.yaml": plain, "journeys/w.yaml": JOURNEYS["won"]}
    with pytest.raises(ProjectError) as refused:
        load_files(texts)
    assert [p.code for p in refused.value.problems] == ["no-stages"]
    taken = made["journeys/workspace.yaml"].replace("events:", "events:\n  stage_changed: { a: text }", 1)
    with pytest.raises(ProjectError) as refused:
        load_files({**made, "journeys/workspace.yaml": taken})
    assert [p.code for p in refused.value.problems] == ["name-taken"]
