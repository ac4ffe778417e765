"""Asking and being told: the survey step, complaints that somebody takes up, and the trend of what people say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.ingest import record_events
from orchestrator.listen import heard, overdue, told
from orchestrator.listening import begins, feeling, periods, trend
from orchestrator.problems import ProjectError
from orchestrator.project import load_files
from orchestrator.store import insert_ids
from orchestrator.store import tables as t
from orchestrator.tasking import open_tasks
from tests.outgoing import POLICIES, World, audit, email, files, journey, world_of

SURVEYS = """
surveys:
  nps: { title: How did we do?, questions: { likely: { kind: nps, ask: Likely? } } }
  secret: { title: Between us, anonymous: yes, questions: { mood: { kind: scale, ask: How are you? } } }
"""
ASKING = """
- survey: nps
- wait_for:
    event: survey_answered
    where: survey == "nps" and likely <= 6
    timeout: 7 days
    then: [ { email: second } ]
"""

LINK = '<a href="{{ links.survey("nps") }}">Answer</a>'


def asking(steps: str = ASKING, text: str = LINK, **more: str) -> dict[str, str]:
    names = {"ask": journey("ask", steps, more="reentry: always"), **more}
    found = files(names, POLICIES) | {"templates/email/survey-nps.mjml": email("A question", text)}
    return {**found, "journeys/workspace.yaml": found["journeys/workspace.yaml"] + SURVEYS}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def codes(texts: dict[str, str]) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        load_files(texts)
    return [problem.code for problem in caught.value.problems]


# ---- the step -------------------------------------------------------------------------------------------------------


def test_a_survey_is_asked_answered_and_not_asked_again(world: World) -> None:
    world.apply(asking())
    [ann] = world.people(1)
    world.event([ann])
    world.tick()
    [first] = world.messages()
    assert (first.template, first.step, first.state) == ("survey-nps", "survey:nps", "sent")
    [asked] = world.rows(sa.select(t.event).where(t.event.c.type == "survey_asked"))
    assert asked.customer_id == ann and asked.properties == {"survey": "nps"}
    world.pass_time(days=1)
    world.event([ann], "survey_answered", survey="nps", likely=3)
    world.event([ann])
    world.tick()
    assert [m.template for m in world.messages()] == ["survey-nps", "second"], "an answer ends the wait; asked once"
    world.pass_time(days=91)
    world.event([ann])
    world.tick()
    assert [m.template for m in world.messages()].count("survey-nps") == 2


def test_who_could_not_be_asked_was_not(world: World) -> None:
    world.apply(asking())
    [ann] = world.people(1, consents=None)
    world.event([ann])
    world.tick()
    assert world.states() == {"denied": 1}
    assert not world.rows(sa.select(t.event).where(t.event.c.type == "survey_asked"))


@pytest.mark.parametrize(
    ("steps", "text", "code"),
    [
        ("- survey: npss", "x", "unknown-survey"),
        ("- survey: nps", "No link here.", "survey-without-link"),
        ("- survey: nps", '<a href="{{ links.survey("secret") }}">Answer</a>', "survey-without-link"),
        ("- { survey: nps, text: nothing }", "x", "unknown-template"),
        (
            "- first_of: [ { email: hello }, { survey: nps } ]\n  within: 1 day",
            '{{ links.survey("nps") }}',
            "misplaced-step",
        ),
    ],
)
def test_what_cannot_be_asked(steps: str, text: str, code: str) -> None:
    assert codes(asking(steps, text)) == [code]


def test_nothing_can_be_given_for_an_anonymous_answer() -> None:
    texts = asking('- wait_for: { event: survey_answered, where: survey == "secret", timeout: 1 day }')
    with pytest.raises(ProjectError) as caught:
        load_files(texts)
    [problem] = caught.value.problems
    assert problem.code == "unknown-choice" and "it is anonymous" in (problem.hint or "")


# ---- complaints -----------------------------------------------------------------------------------------------------

COMPLAINTS = """
complaints:
  event: complaint_opened
  closed_by: complaint_closed
  key: ticket
  task: { to: account_manager, otherwise: customer-care, within: 2 days, text: "Call about {{ event.subject }}" }
"""


def complaining(more: str = COMPLAINTS, journeys: dict[str, str] | None = None) -> dict[str, str]:
    found = files(journeys or {"hello": journey("hello", "- email: hello")}, POLICIES)
    opened = "events:\n  complaint_opened: { ticket: key, subject: text }\n  complaint_closed: { ticket: key }\n"
    workspace = found["journeys/workspace.yaml"].replace("events:\n", opened) + more
    return {**found, "journeys/workspace.yaml": workspace}


def accrued(world: World) -> int:
    return accrue(world.store, now=world.now).heard


def test_a_complaint_pauses_marketing_until_it_is_settled_and_is_somebodys_task(world: World) -> None:
    world.apply(complaining())
    ann, bea = world.people(2)
    world.event([ann], "complaint_opened", ticket="t1", subject="a broken cup")
    assert accrued(world) == 2 and accrued(world) == 0, "a case and a task, once"
    world.event([ann, bea])
    world.tick()
    task, *letters = sorted(world.messages(), key=lambda m: m.origin or "z")
    assert (task.medium, task.state, task.customer_id, task.origin) == ("task", "sent", ann, "complaint")
    assert task.payload["to"] == "customer-care" and task.payload["due"] == "2027-03-03"
    assert {(m.customer_id, m.state, m.reason) for m in letters} == {(ann, "held", "open_case"), (bea, "sent", None)}
    with world.store.read() as conn:
        assert overdue(conn, world.now) == (1, 0, None)
        assert [one.whose for one in open_tasks(conn, world.now)] == ["customer-care"]
    world.pass_time(days=3)
    with world.store.read() as conn:
        assert overdue(conn, world.now)[:2] == (1, 1)
        assert "1 complaint is overdue, the oldest since 2027-03-03" in next(iter(told(conn, world.now)))
    world.event([ann], "complaint_closed", ticket="other")
    assert accrued(world) == 0, "another complaint's end"
    world.event([ann], "complaint_closed", ticket="t1")
    assert accrued(world) == 1
    world.pass_time(hours=7)
    world.tick()
    assert [m.state for m in world.messages() if m.customer_id == ann] == ["sent", "sent"]
    with world.store.read() as conn:
        assert overdue(conn, world.now) == (0, 0, None) and not open_tasks(conn, world.now)
        assert not told(conn, world.now)


def test_a_companys_complaint_goes_to_its_manager_and_one_without_a_person_has_no_case(world: World) -> None:
    world.apply(complaining())
    with world.store.write() as conn:
        row = {"key": "nord", "name": "Nord", "class": "b2b", "manager_email": "eva@small.example", "attributes": {}}
        [(nord,)] = insert_ids(conn, t.account, [{**row, "created_at": world.now, "updated_at": world.now}])
    [ann] = world.people(1, account_id=nord)
    world.event([ann], "complaint_opened", ticket="t1", subject="late")
    event: dict[str, Any] = {"type": "complaint_opened", "key": "x", "customer_id": None, "account_id": nord}
    with world.store.write() as conn:
        record_events(conn, [{**event, "occurred_at": world.now, "properties": {"ticket": "t2"}}], now=world.now)
    assert accrued(world) == 3
    assert [(m.payload["to"], m.account_id) for m in world.messages()] == [("account_manager", nord)] * 2
    [case] = world.rows(sa.select(t.support_case))
    assert (case.customer_id, case.account_id, case.closed_at) == (ann, nord, None)


def test_history_and_what_is_settled_already_is_nobodys_task(world: World) -> None:
    world.apply(complaining())
    [ann] = world.people(1)
    world.event([ann], "complaint_opened", ticket="t0", subject="long ago")
    world.pass_time(days=40)
    world.event([ann], "complaint_opened", ticket="t1", subject="late")
    world.pass_time(days=1)
    world.event([ann], "complaint_closed", ticket="t1")
    accrued(world)
    [case] = world.rows(sa.select(t.support_case))
    assert case.closed_at == world.now and not world.messages()


def test_a_complaint_whose_end_is_seen_first_is_settled(world: World) -> None:
    """Two files in the other order. The end of another complaint, or one from before, settles nothing."""
    world.apply(complaining())
    with world.store.write() as conn:
        row = {"key": "nord", "name": "Nord", "class": "b2b", "attributes": {}}
        [(nord,)] = insert_ids(conn, t.account, [{**row, "created_at": world.now, "updated_at": world.now}])
    ann, bea, cid = world.people(3)
    [eva] = world.people(1, account_id=nord)
    opened = world.now
    world.event([cid], "complaint_closed", ticket="t3")
    world.pass_time(hours=1)
    world.event([ann], "complaint_closed", ticket="t1")
    world.event([bea], "complaint_closed", ticket="other")
    company: dict[str, Any] = {"type": "complaint_closed", "key": "x", "customer_id": None, "account_id": nord}
    with world.store.write() as conn:
        record_events(conn, [{**company, "occurred_at": world.now, "properties": {"ticket": "t4"}}], now=world.now)
    assert accrued(world) == 0
    closed = world.now
    world.pass_time(hours=1)
    late = [(ann, "t1", opened), (bea, "t2", opened), (cid, "t3", closed), (eva, "t4", opened)]
    blank = {"type": "complaint_opened", "account_id": None}
    rows = [{**blank, "key": n, "customer_id": i, "occurred_at": at, "properties": {"ticket": n}} for i, n, at in late]
    with world.store.write() as conn:
        record_events(conn, rows, now=world.now)
    accrued(world)
    cases = {case.customer_id: case.closed_at for case in world.rows(sa.select(t.support_case))}
    assert cases == {ann: closed, bea: None, cid: None, eva: closed}
    assert sorted(m.customer_id for m in world.messages()) == [bea, cid], "a task only of what is not settled"


def test_an_end_that_has_settled_one_complaint_settles_none_that_is_told_later(world: World) -> None:
    """It names no ticket: it was of what was open then, and what comes to light afterwards is somebody's task."""
    world.apply(complaining(COMPLAINTS.replace("  key: ticket\n", "")))
    [ann] = world.people(1)
    first = world.now
    world.event([ann], "complaint_opened", ticket="t1")
    accrued(world)
    world.pass_time(hours=2)
    closed = world.now
    world.event([ann], "complaint_closed")
    accrued(world)
    world.pass_time(minutes=5)
    late = closed - timedelta(minutes=1)
    opened = {"type": "complaint_opened", "key": "late", "customer_id": ann, "account_id": None, "occurred_at": late}
    with world.store.write() as conn:
        record_events(conn, [{**opened, "properties": {"ticket": "t2"}}], now=world.now)
    accrued(world)
    cases = {case.opened_at: case.closed_at for case in world.rows(sa.select(t.support_case))}
    assert cases == {first: closed, late: None}
    assert len(world.messages()) == 2


def test_what_a_help_desk_has_open_and_what_is_closed_already_stays_as_it_is(world: World) -> None:
    world.apply(complaining(COMPLAINTS.replace("  key: ticket\n", "")))
    [ann] = world.people(1)
    with world.store.write() as conn:
        row = {"key": "desk-17", "customer_id": ann, "account_id": None, "opened_at": world.now, "closed_at": None}
        insert_ids(conn, t.support_case, [row])
    closed = []
    for _ in range(2):
        world.event([ann], "complaint_opened", ticket="t1", subject="late")
        accrued(world)
        world.pass_time(days=1)
        world.event([ann], "complaint_closed", ticket="t1")
        assert accrued(world) == 1
        closed.append(world.now)
    cases = world.rows(sa.select(t.support_case).order_by(t.support_case.c.id))
    assert [case.closed_at for case in cases] == [None, *closed]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("event: complaint_opend, closed_by: complaint_closed", "unknown-event"),
        ("event: complaint_opened, closed_by: complaint_opened", "complaint-closes-itself"),
        ("event: complaint_opened, closed_by: complaint_closed, key: subject", "unknown-property"),
    ],
)
def test_what_cannot_be_a_complaint(line: str, code: str) -> None:
    task = "{ to: care, within: 2 days, text: Call }"
    assert codes(complaining(f"complaints: {{ {line}, task: {task} }}\n")) == [code]


@pytest.mark.parametrize(("key", "other"), [("to: account_manager", "to: deal.owner"),
                                            ("otherwise: customer-care", "otherwise: account.owner")])  # fmt: skip
def test_a_complaint_goes_to_nobody_that_a_field_names(key: str, other: str) -> None:
    assert codes(complaining(COMPLAINTS.replace(key, other))) == ["wrong-type"]


@pytest.mark.parametrize("name", ["event.subjct", "event.order_id", "voucher.code"])
def test_a_complaints_task_names_what_there_is(name: str) -> None:
    texts = complaining(COMPLAINTS.replace("event.subject", name))
    assert len(codes(texts)) == 1


# ---- the trend ------------------------------------------------------------------------------------------------------


def test_weeks_and_months() -> None:
    sunday, monday = date(2027, 3, 7), date(2027, 3, 1)
    assert begins(sunday, "week") == monday and begins(sunday, "month") == monday
    found = periods(date(2027, 2, 26), date(2027, 3, 8), "week")
    assert found == [date(2027, 2, 22), monday, date(2027, 3, 8)]
    found = periods(date(2026, 12, 31), date(2027, 2, 1), "month")
    assert found == [date(2026, 12, 1), date(2027, 1, 1), date(2027, 2, 1)]


@pytest.mark.parametrize(
    ("value", "felt"),
    [(0.5, 0.5), (-1, -1.0), ("negative", -1.0), ("neutral", 0.0), (1.1, None), ("angry", None), (True, None)],
)
def test_what_is_felt(value: object, felt: float | None) -> None:
    assert feeling(value) == felt


def test_a_mean_has_an_interval_and_a_week_of_silence_is_shown() -> None:
    first, second = date(2027, 3, 1), date(2027, 3, 8)
    silent, one = trend([(second, 0.5)], [first, second], "week")
    assert (silent.n, silent.value) == (0, None) and (one.n, one.value, one.low) == (1, 0.5, None)
    [both] = trend([(first, 0.0), (first, 1.0)], [first], "week")
    assert both.value == 0.5 and both.low == pytest.approx(0.5 - 1.96 * 0.5, abs=1e-3) and both.high == 1.0
    [score] = trend([(first, 10.0), (first, 9.0), (first, 7.0), (first, 2.0)], [first], "week", nps=True)
    assert score.value == 25 and score.low is not None and score.low < 25


def test_what_is_heard(world: World) -> None:
    texts = asking()
    workspace = texts["journeys/workspace.yaml"].replace("events:\n", "events:\n  mentioned: { sentiment: number }\n")
    project = world.apply({**texts, "journeys/workspace.yaml": workspace})
    people = world.people(3)
    world.event(people[:2], "survey_answered", survey="nps", likely=10)
    world.event(people[2:], "survey_answered", survey="nps", likely=0)
    world.event(people, "mentioned", sentiment=-0.5)
    world.event(people[:1], "mentioned", sentiment=7)
    with world.store.read() as conn:
        nps, mentions = heard(conn, project.vocabulary, date(2027, 2, 22), date(2027, 3, 1), "week")
    assert [(p.n, p.value and round(p.value)) for p in nps.points] == [(0, None), (3, 33)]
    assert (mentions.name, mentions.odd, mentions.points[-1].n, mentions.points[-1].value) == ("mentioned", 1, 3, -0.5)
