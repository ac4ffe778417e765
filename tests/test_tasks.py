"""Tasks from the journey to the list, the morning's e-mail, and what somebody says became of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.advance import advance
from orchestrator.apply import in_force
from orchestrator.enroll import enroll
from orchestrator.importing import ImportReport, import_file
from orchestrator.plan import plan
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.store import insert_ids
from orchestrator.store import tables as t
from orchestrator.tasking import open_tasks, plan_digests
from orchestrator.why import of_message
from tests.channels.kits.taskfile import rows, taskfile
from tests.outgoing import World, files, journey, world_of

STEPS = """
- task: account_manager
  message: "Call {{ customer.first_name }} of {{ account.name }}"
  title: Call back
  due: 2 days
  call: yes
- task: sales
  message: Look at the offer
- wait_for:
    event: task_done
    where: outcome == "reached"
    timeout: 5 days
- email: hello
"""
NUMBER = "+4915123456789"


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    made = world_of(database_url)
    channel: Any = taskfile(tmp_path / "tasks", zone="Europe/Berlin", digest="08:00")
    channel._clock = lambda: made.now
    made.channels[Medium.TASK] = channel
    texts = files({"j": journey("j", STEPS)})
    declared = "  left: { why: text }\n  task_done: { outcome: text, note: text }\n"
    texts["journeys/workspace.yaml"] = texts["journeys/workspace.yaml"].replace("  left: { why: text }\n", declared)
    made.apply(texts)
    yield made
    made.store.close()


def started(world: World, count: int = 1) -> list[int]:
    company: dict[str, Any] = {
        "key": "acme",
        "name": "=Acme",
        "class": "b2b",
        "tier": "std",
        "manager_name": "Max",
        "attributes": {},
    }
    company |= {"manager_email": "max@small.example", "created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        [(company_id,)] = insert_ids(conn, t.account, [company])
    people = world.people(count, account_id=company_id, phone=NUMBER)
    world.event(people)
    world.tick(2)
    return people


def outcomes(world: World, folder: Path, text: str, again: bool = False) -> ImportReport:
    path = folder / "outcomes.csv"
    path.write_text("task,outcome,note,at\n" + text)
    with world.store.read() as conn:
        force = in_force(conn)
    assert force is not None
    vocabulary = force.project.vocabulary
    return import_file(world.store, world.keys, vocabulary, "outcomes", path, now=world.now, again=again)


def task(world: World, whose: str = "account_manager") -> str:
    [found] = [m for m in world.messages() if m.medium == "task" and m.payload["to"] == whose]
    return f"m{found.id}a{found.attempts}"


def test_the_list_says_whom_to_call_where_it_is_a_call(world: World, tmp_path: Path) -> None:
    started(world)
    called, other = sorted(rows(tmp_path / "tasks"), key=lambda row: row["title"])
    assert (called["title"], called["due"], called["for"]) == ("Call back", "2027-03-03", "Max")
    assert called["text"] == "Call Ann1 of =Acme"
    assert (called["customer"], called["phone"], called["account"]) == ("Ann1 Lee", NUMBER, "'=Acme")
    assert (other["for"], other["text"], other["customer"], other["phone"]) == ("sales", "Look at the offer", "", "")
    assert called["task"] == task(world)


def test_a_list_each_morning(world: World) -> None:
    started(world, 2)
    with world.store.read() as conn:
        found = open_tasks(conn, world.now)
    assert [(one.whose, one.due, one.call) for one in found] == [
        *[("max@small.example", "2027-03-03", True)] * 2,
        *[("sales", "", False)] * 2,
    ]
    at = time(13)
    assert plan_digests(world.store, world.keys, at, now=world.now).early
    world.pass_time(hours=2)
    for expected in (1, 0):
        report = plan_digests(world.store, world.keys, at, now=world.now)
        assert (report.planned, report.tasks, report.nobody) == (expected, 4, 2)
    world.tick(1)
    [mail] = [k for k in world.outbox() if k.medium is Medium.EMAIL]
    text = world.opened(mail)
    assert "max@small.example" in text and "Subject: Your tasks on 2027-03-01: 2 open" in text
    assert text.count("due 2027-03-03: Call back (call), m") == 2
    assert "Ann" not in text and NUMBER not in text and "Acme" not in text
    [digest] = [m for m in world.messages() if m.origin == "task_digest"]
    assert digest.state == "sent" and world.log(digest.id)[0]["verdict"] == "allow"
    world.pass_time(days=4)
    assert plan_digests(world.store, world.keys, at, now=world.now).planned == 1
    [late] = [m for m in world.messages() if m.origin == "task_digest" and m.id != digest.id]
    assert late.payload["title"] == "Your tasks on 2027-03-05: 2 open, 2 overdue"


def test_what_became_of_it(world: World, tmp_path: Path) -> None:
    [customer] = started(world)
    name = task(world)
    world.pass_time(hours=3)
    said = f"{name},reached,She is glad,2027-03-01T12:30:00Z\n"
    report = outcomes(world, tmp_path, f"{said}m999999a1,done,,\nnonsense,done,,\n{name},perhaps,,\n")
    assert (report.inserted, report.quarantined) == (1, 3)
    assert report.quarantine_file is not None
    bad = report.quarantine_file.read_text()
    assert "no such task" in bad and "no number of a task" in bad and "perhaps" in bad
    assert outcomes(world, tmp_path, said, again=True).unchanged == 1
    [event] = world.rows(sa.select(t.event).where(t.event.c.type == "task_done"))
    assert event.customer_id == customer
    assert event.properties == {
        "outcome": "reached",
        "note": "She is glad",
        "journey": "j",
        "step": "task:account_manager",
    }
    [message] = [m for m in world.messages() if name.startswith(f"m{m.id}a")]
    assert message.state == "delivered"
    assert [x["verdict"] for x in world.log(message.id)][-2:] == ["delivered", "delivered"]  # feedback, outcome
    with world.store.read() as conn:
        assert [one.whose for one in open_tasks(conn, world.now)] == ["sales"]
    world.tick(2)
    assert [m.template for m in world.messages() if m.medium == "email"] == ["hello"]


def test_who_wants_none_gets_none(world: World, tmp_path: Path) -> None:
    [customer] = started(world)
    world.pass_time(hours=1)
    assert outcomes(world, tmp_path, f"{task(world)},wants_none,,\n").inserted == 1
    words = world.rows(sa.select(t.consent_event).where(t.consent_event.c.action == "withdraw"))
    assert {(w.customer_id, w.medium, w.topic) for w in words} == {
        (customer, m, "*") for m in ("email", "sms", "push", "mail", "audience")
    }
    key = world.keys.address_key("voice", NUMBER)
    assert [(s.medium, s.address_key) for s in world.rows(sa.select(t.suppression))] == [("voice", key)]
    # Another run, and another customer at the same number: neither is written to nor called.
    world.pass_time(days=1)
    other = world.people(1, account_id=world.one(sa.select(t.account.c.id)), phone=NUMBER)
    world.event(other)
    world.tick(2)
    states = {(m.customer_id, m.payload["to"]): (m.state, m.reason) for m in world.messages() if m.medium == "task"}
    assert states[other[0], "account_manager"][0] == "denied"
    assert states[other[0], "sales"][0] == "sent"  # no call: something for the house to do


def test_a_number_is_no_task_that_is_none(world: World, tmp_path: Path) -> None:
    started(world)
    world.tick(1)
    world.pass_time(days=6)
    world.tick(3)
    [mail] = [m for m in world.messages() if m.medium == "email"]
    report = outcomes(world, tmp_path, f"m{mail.id}a1,done,,\n{task(world).replace('a1', 'a7')},done,,\n")
    assert (report.inserted, report.quarantined) == (0, 2)


# ---- an account without a manager -----------------------------------------------------------------------------------

FOR_MANAGERS = "- task: account_manager\n  message: Call"


def unmanaged(world: World) -> list[int]:
    company = {"key": "nord", "name": "Nord", "class": "b2b", "tier": "std", "manager_name": "Max", "attributes": {}}
    with world.store.write() as conn:
        [(company_id,)] = insert_ids(conn, t.account, [company | {"created_at": world.now, "updated_at": world.now}])
    people = world.people(2, account_id=company_id, phone=NUMBER)
    world.event(people)
    enroll(world.store, now=world.now)
    return people


def test_without_a_manager_it_goes_to_the_team_that_is_named_and_why_says_so(world: World, tmp_path: Path) -> None:
    world.apply(files({"j": journey("j", f"{FOR_MANAGERS}\n  otherwise: customer-care")}))
    unmanaged(world)
    world.tick(2)
    assert [row["for"] for row in rows(tmp_path / "tasks")] == ["customer-care"] * 2
    with world.store.read() as conn:
        assert {one.whose for one in open_tasks(conn, world.now)} == {"customer-care"}
    found = of_message(world.store, world.keys, world.messages()[0].id)
    assert found is not None and found.whom == "customer-care"


def test_the_manager_is_named_as_such_and_not_by_an_address(world: World) -> None:
    started(world)
    found = of_message(world.store, world.keys, int(task(world)[1:].partition("a")[0]))
    assert found is not None and found.whom == "the account's manager"


def test_what_nobody_gets_is_told_by_the_tick_and_by_a_plan(world: World) -> None:
    texts = files({"j": journey("j", FOR_MANAGERS)})
    project = world.apply(texts)
    assert advance(world.store, now=world.now).unmanaged == {}
    people = unmanaged(world)
    report = advance(world.store, now=world.now)
    assert report.unmanaged == {"j": len(people)} and not world.messages()
    assert [p.partition(" no manager")[0] for p in report.problems] == ["j: skipped 2, their accounts have"]
    told = {one.name: one.unmanaged for one in plan(world.store, project, now=world.now).journeys}
    assert told == {"j": 1}
    taken = world.apply(files({"j": journey("j", f"{FOR_MANAGERS}\n  otherwise: sales")}))
    assert [one.unmanaged for one in plan(world.store, taken, now=world.now).journeys] == [0]


@pytest.mark.parametrize("field", ["customer.email", "customer.phone"])
def test_no_task_goes_to_the_customer_herself(field: str) -> None:
    """Nobody asks for consent to a task: it would be a letter that she has not agreed to."""
    with pytest.raises(ProjectError) as caught:
        load_files(files({"j": journey("j", f"- task: {field}\n  message: Buy something")}))
    assert [(p.code, p.message) for p in caught.value.problems] == [
        ("wrong-type", f"`{field}` is the customer's own address")
    ]
