"""Edits to a journey that people are in: nobody is lost or written to twice, and `plan` had told each the truth."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from channels.base import Outbound
from channels.sandbox import ACCEPT, Act, retry, timed_out
from orchestrator.plan import Plan, plan
from orchestrator.problems import ProjectError
from orchestrator.project import Project, load_files
from orchestrator.store import tables as t
from tests.outgoing import NOON, World, audit, email, files, journey, open_store, world_of

STEPS = """\
- email: hello
- wait: 3 days
- branch:
    - if: tier == gold
      steps: [ { sms: short } ]
    - else: [ { push: ping } ]
- wait: 2 days
- email: second
"""
GOLD = ("email:hello", "wait:3-days", "sms:short", "wait:2-days", "email:second")
SILVER = ("email:hello", "wait:3-days", "push:ping", "wait:2-days", "email:second")
SENT = {"email:hello", "greeting", "sms:short", "push:ping", "extra", "email:second"}


@dataclass(frozen=True)
class Edit:
    """How the file changes, where `migrate` sends those whose step is gone, and the way through the new version."""

    change: tuple[str, str]
    moves: Mapping[str, str] = field(default_factory=dict)
    gold: tuple[str, ...] = GOLD
    silver: tuple[str, ...] = SILVER
    more: str = ""


def _replaced(way: tuple[str, ...], was: str, *now: str) -> tuple[str, ...]:
    at = way.index(was)
    return (*way[:at], *now, *way[at + 1 :])


EDITS = {
    "rename a send": Edit(
        ("- email: hello\n", "- email: hello\n  id: greeting\n"),
        {"email:hello": "greeting"},
        _replaced(GOLD, "email:hello", "greeting"),
        _replaced(SILVER, "email:hello", "greeting"),
    ),
    "rename a wait": Edit(
        ("- wait: 2 days\n", "- wait: 2 days\n  id: pause\n"),
        {"wait:2-days": "pause"},
        _replaced(GOLD, "wait:2-days", "pause"),
        _replaced(SILVER, "wait:2-days", "pause"),
    ),
    "delete a wait": Edit(
        ("- wait: 2 days\n", ""),
        {"wait:2-days": "email:second"},
        _replaced(GOLD, "wait:2-days"),
        _replaced(SILVER, "wait:2-days"),
    ),
    "delete a send": Edit(
        ("- email: hello\n", ""),
        {"email:hello": "wait:3-days"},
        GOLD[1:],
        SILVER[1:],
    ),
    "insert a send": Edit(
        ("- wait: 2 days\n", "- wait: 2 days\n- push: ping\n  id: extra\n"),
        {},
        _replaced(GOLD, "wait:2-days", "wait:2-days", "extra"),
        _replaced(SILVER, "wait:2-days", "wait:2-days", "extra"),
    ),
    "a longer wait": Edit(
        ("- wait: 3 days\n", "- wait: 5 days\n"),
        {"wait:3-days": "wait:5-days"},
        _replaced(GOLD, "wait:3-days", "wait:5-days"),
        _replaced(SILVER, "wait:3-days", "wait:5-days"),
    ),
    "a shorter wait": Edit(
        ("- wait: 3 days\n", "- wait: 1 day\n"),
        {"wait:3-days": "wait:1-day"},
        _replaced(GOLD, "wait:3-days", "wait:1-day"),
        _replaced(SILVER, "wait:3-days", "wait:1-day"),
    ),
    "swap a branch": Edit(
        ("[ { sms: short } ]\n    - else: [ { push: ping } ]", "[ { push: ping } ]\n    - else: [ { sms: short } ]"),
        {},
        SILVER,
        GOLD,
    ),
    "move a send up": Edit(  # before who has had it, and behind who has not
        (STEPS, "- email: second\n" + STEPS.removesuffix("- email: second\n")),
        {},
        ("email:second", *GOLD[:-1]),
        ("email:second", *SILVER[:-1]),
    ),
    "change the audience": Edit(("", ""), more="audience: tier == gold\n"),
}
NIGHT = NOON + timedelta(hours=10, minutes=30)  # half past ten in Berlin
BEFORE = files({"life": journey("life", STEPS)})


def after(edit: Edit, in_flight: str) -> dict[str, str]:
    moves = ", ".join(f"{was}: {now}" for was, now in edit.moves.items())
    word = f"{{ migrate: {{ {moves} }} }}" if in_flight == "migrate" and moves else in_flight
    text = STEPS.replace(*edit.change) if edit.change[0] else STEPS
    return files({"life": journey("life", text, more=f"{edit.more}in_flight: {word}")})


def peopled(url: str, outbox: Path) -> World:
    """At every step somebody of each tier, and it is night: what was planned is held."""
    world = World(open_store(url), outbox, now=NOON - timedelta(days=6))
    world.apply(BEFORE)
    for _ in range(7):
        ids = [*world.people(1, tier="gold"), *world.people(1, tier="silver")]
        world.event(ids)
        world.tick(2)
        world.pass_time(days=1)
    world.now = NIGHT
    world.event([*world.people(1, tier="gold"), *world.people(1, tier="silver")])
    world.tick(2)
    return world


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("edits")
    world = peopled(f"sqlite:///{folder / 'before.db'}", folder)
    yield world
    world.store.close()


@pytest.fixture
def world(before: World, tmp_path: Path) -> Iterator[World]:
    """A copy of it."""
    with (
        closing(sqlite3.connect(before.folder / "before.db")) as one,
        closing(sqlite3.connect(tmp_path / "copy.db")) as other,
    ):
        one.backup(other)
    shutil.copytree(before.folder, tmp_path / "outbox", ignore=shutil.ignore_patterns("*.db*"))
    with closing(open_store(f"sqlite:///{tmp_path / 'copy.db'}")) as store:
        yield World(store, tmp_path / "outbox", now=before.now)


@dataclass(frozen=True)
class Stood:
    """Somebody before the edit."""

    step: str
    gold: bool
    version: str
    had: tuple[str, ...]  # steps that were sent


def stood(world: World) -> dict[int, Stood]:
    sent: dict[int, list[str]] = {}
    for m in world.messages():
        if m.state in ("sent", "delivered"):
            sent.setdefault(m.enrollment_id, []).append(m.step)
    rows = world.rows(
        sa.select(t.enrollment.c.id, t.enrollment.c.step, t.customer.c.tier, t.enrollment.c.version)
        .join(t.customer, t.customer.c.id == t.enrollment.c.customer_id)
        .where(t.enrollment.c.ended_at.is_(None))
    )
    return {i: Stood(step, tier == "gold", version, tuple(sent.get(i, ()))) for i, step, tier, version in rows}


def told(world: World, project: Project) -> Plan:
    return plan(world.store, project, now=world.now)


def ways(edit: Edit, in_flight: str, one: Stood, to: str) -> list[str]:
    """Steps that are sent to somebody in the end, by what the plan had said."""
    old, new = (GOLD, edit.gold) if one.gold else (SILVER, edit.silver)
    if in_flight == "exit":
        return list(one.had)
    if in_flight == "finish":
        return [s for s in old if s in SENT]
    had = [now if step not in new and (now := edit.moves.get(step, "")) in SENT else step for step in one.had]
    rest = [s for s in new[new.index(to) :] if s in SENT]
    return [*had, *(s for s in rest if s not in had)]


def check(world: World, edit: Edit, in_flight: str) -> None:
    texts = after(edit, in_flight)
    project = load_files(texts)
    people = stood(world)
    assert {p.step for p in people.values()} >= {"email:hello", "wait:3-days", "wait:2-days"}
    said = told(world, project)
    (mine,) = said.journeys
    assert not said.problems
    assert {s.step: s.people for s in mine.steps} == Counter(p.step for p in people.values())
    world.apply(texts)
    fates = {s.step: s for s in mine.steps}
    rows = world.rows(sa.select(t.enrollment).where(t.enrollment.c.id.in_(list(people))))
    for row in rows:  # each is where the plan had said
        was, fate = people[row.id], fates[people[row.id].step]
        match fate.becomes:
            case "leaves":
                assert row.ended_because == "edited"
            case "finishes":
                assert (row.version, row.step, row.ended_at) == (was.version, was.step, None)
            case "stays" | "moves":
                assert (row.version, row.step) == (project.journeys["life"].version, fate.to)
            case _:
                raise AssertionError(fate)
    world.pass_time(hours=12, minutes=30)  # the next morning
    for _ in range(10):
        world.tick(2)
        if world.one(sa.select(sa.func.count()).where(t.enrollment.c.ended_at.is_(None))) == 0:
            break
        world.pass_time(days=1)
    ends = dict(world.rows(sa.select(t.enrollment.c.id, t.enrollment.c.ended_because)))
    assert {ends[i] for i in people} == ({"edited"} if in_flight == "exit" else {"completed"})
    got: dict[int, list[str]] = {}
    for m in world.messages():
        assert m.state in ("sent", "delivered", "cancelled"), (m.step, m.state, m.reason)
        if m.state != "cancelled":
            got.setdefault(m.enrollment_id, []).append(m.step)
    for i, was in people.items():
        wanted = ways(edit, in_flight, was, fates[was.step].to)
        assert got.get(i, []) == wanted, (was, fates[was.step])
        assert max(Counter(got.get(i, [])).values(), default=0) <= 1
    audit(world)


@pytest.mark.parametrize("in_flight", ["finish", "migrate", "exit"])
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_with_people_inside(world: World, name: str, in_flight: str):
    check(world, EDITS[name], in_flight)


def test_the_same_on_postgresql(postgresql_database_url: str, tmp_path: Path):
    with closing(peopled(postgresql_database_url, tmp_path).store) as store:
        check(World(store, tmp_path, now=NIGHT), EDITS["rename a send"], "migrate")


def test_who_comes_after_the_edit_is_chosen_and_led_by_it(world: World):
    world.apply(after(EDITS["change the audience"], "finish"))
    gold, silver = world.people(1, tier="gold"), world.people(1, tier="silver")
    world.event([*gold, *silver])
    world.tick(1)
    entered = world.rows(sa.select(t.enrollment.c.customer_id).where(t.enrollment.c.customer_id.in_([*gold, *silver])))
    assert [i for (i,) in entered] == gold


@pytest.mark.parametrize("outcome", [ACCEPT, retry(60), timed_out()], ids=["sent", "put off", "uncertain"])
@pytest.mark.parametrize("name", ["rename a send", "delete a send", "move a send up", "a shorter wait"])
def test_an_edit_while_a_message_is_being_handed_over(one: World, name: str, outcome: Act):
    """Applied by somebody else before it is known what came of it: nobody has a text twice or waits for ever."""
    one.apply(BEFORE)
    edited: list[str] = []

    def act(outbound: Outbound, number: int) -> Act:
        if not edited:
            edited.append(outbound.template)
            one.apply(after(EDITS[name], "migrate"))
            return outcome
        return ACCEPT

    one.behaviour = act
    one.event([*one.people(1, tier="gold"), *one.people(1, tier="silver")])
    for _ in range(14):
        one.tick(3)
        one.pass_time(days=1)
    assert edited == ["hello"]
    assert {end for _, end in where(one)} == {"completed"}
    texts = Counter((m.customer_id, m.template) for m in one.messages() if m.state in ("sent", "uncertain"))
    assert set(texts.values()) == {1}
    audit(one)


# ---- who would be stranded ------------------------------------------------------------------------------------------


@pytest.fixture
def one(sqlite_database_url: str) -> Iterator[World]:
    made = world_of(sqlite_database_url)
    yield made
    made.store.close()


def begin(world: World, steps: str, **more: str) -> dict[str, str]:
    texts = files({"life": journey("life", steps)}, **more)
    world.apply(texts)
    world.event(world.people(1))
    world.tick(2)
    return texts


def refused(world: World, texts: Mapping[str, str]) -> str:
    """What the plan says of it, and the apply likewise; nothing was done."""
    project = load_files(texts)
    (problem,) = told(world, project).problems
    with pytest.raises(ProjectError) as caught:
        world.apply(texts)
    assert caught.value.problems == (problem,) and problem.code == "strands-people"
    assert world.one(sa.select(sa.func.count()).select_from(t.applied)) == 1
    return f"{problem.span}: {problem.message}; {problem.hint}"


def where(world: World) -> list[tuple[str, str | None]]:
    return [tuple(row) for row in world.rows(sa.select(t.enrollment.c.step, t.enrollment.c.ended_because))]


def test_a_step_that_is_gone_strands_whom_no_map_leads_on(one: World):
    begin(one, "- email: hello\n- wait: 3 days\n- email: second")
    texts = files(
        {"life": journey("life", "- email: hello\n- wait: 5 days\n- email: second", more="in_flight: migrate")}
    )
    assert refused(one, texts) == (
        "journeys/life.yaml:4:12: 1 customer inside would be stranded, 1 at `wait:3-days`: a step that this version of "
        "`life` does not have; write `in_flight: { migrate: { wait:3-days: wait:5-days } }`; in place of a step, "
        "`exit` lets them go and `finish` leaves them on the version they are on"
    )


@pytest.mark.parametrize(("word", "end"), [("exit", "edited"), ("finish", "completed")])
def test_a_map_can_let_go_and_let_finish(one: World, word: str, end: str):
    begin(one, "- email: hello\n- wait: 3 days\n- email: second")
    more = f"in_flight: {{ migrate: {{ wait:3-days: {word} }} }}"
    texts = files({"life": journey("life", "- email: hello\n- email: second", more=more)})
    (mine,) = told(one, load_files(texts)).journeys
    assert [s.becomes for s in mine.steps] == [{"exit": "leaves", "finish": "finishes"}[word]]
    one.apply(texts)
    one.pass_time(days=3)
    one.tick(3)
    assert [e for _, e in where(one)] == [end]
    assert [m.step for m in one.messages()] == ["email:hello", *(["email:second"] if word == "finish" else [])]


@pytest.mark.parametrize("in_flight", ["finish", "migrate"])
def test_a_text_that_is_removed_strands_who_is_still_to_get_it(one: World, in_flight: str):
    begin(one, "- email: hello\n- wait: 3 days\n- email: second")
    texts = files({"life": journey("life", "- email: hello\n- wait: 3 days", more=f"in_flight: {in_flight}")})
    del texts["templates/email/second.mjml"]
    if in_flight == "finish":
        said = refused(one, texts)
        assert "1 customer inside `life` is still to get the email text `second`, and it is removed" in said
        assert "keep `templates/email/second.mjml` until they are through" in said
    else:
        assert not told(one, load_files(texts)).problems
        one.apply(texts)
        one.pass_time(days=3)
        one.tick(3)
        assert [e for _, e in where(one)] == ["completed"]


def test_a_workspace_that_takes_the_ground_from_a_version_strands_who_is_on_it(one: World):
    steps = "- email: hello\n- wait_for: { event: bought, timeout: 3 days, then: [ { email: second } ] }"
    begin(one, steps)
    texts = files({"life": journey("life", "- email: hello\n- wait: 3 days")})
    texts["journeys/workspace.yaml"] = texts["journeys/workspace.yaml"].replace(
        "  bought: { order_id: key, amount: money }\n", ""
    )
    texts = {path: text for path, text in texts.items() if "receipt" not in path}
    said = refused(one, texts)
    assert "1 customer inside `life` could not go on by the version they are on: " in said and "bought" in said
    texts["journeys/life.yaml"] = texts["journeys/life.yaml"].replace("steps:", "in_flight: exit\nsteps:")
    one.apply(texts)  # let go, as the hint says
    assert [e for _, e in where(one)] == ["edited"]


def test_texts_that_are_others_are_told_with_how_many_are_to_get_them(one: World):
    texts = begin(one, "- email: hello\n- wait: 3 days\n- email: second")
    texts["templates/email/second.mjml"] = email("Even more", "More.")
    texts["templates/email/hello.mjml"] = email("Good day", "Well.")  # everybody has had it
    (change,) = told(one, load_files(texts)).texts
    assert (change.medium, change.name, change.change, change.people) == ("email", "second", "edited", {"life": 1})


# ---- what is queued, and what has gone out --------------------------------------------------------------------------


def test_what_is_queued_says_what_its_step_says_now(one: World):
    one.now = NOON + timedelta(hours=11)  # held for the night
    begin(one, "- email: hello\n  id: first\n- wait: 1 day")
    one.apply(
        files({"life": journey("life", "- email: second\n  id: first\n- wait: 1 day", more="in_flight: migrate")})
    )
    one.pass_time(hours=10)
    one.tick(2)
    assert [(m.step, m.template, m.state) for m in one.messages()] == [("first", "second", "sent")]
    audit(one)


def test_what_is_queued_by_a_step_of_another_kind_is_withdrawn(one: World):
    one.now = NOON + timedelta(hours=11)
    begin(one, "- email: hello\n- wait: 1 day")
    more = "in_flight: { migrate: { email:hello: push:ping } }"
    one.apply(files({"life": journey("life", "- push: ping\n- wait: 1 day", more=more)}))
    one.pass_time(hours=10)
    one.tick(3)
    assert [(m.step, m.state, m.reason) for m in one.messages()] == [
        ("email:hello", "cancelled", "edited"),
        ("push:ping", "sent", None),
    ]
    audit(one)


def test_a_part_of_a_first_of_that_is_renamed_is_not_sent_again(one: World):
    steps = "- first_of: [ { email: hello }, { sms: short } ]\n  until: opened\n  within: 2 days\n- wait: 1 day"
    begin(one, steps)
    more = "in_flight: { migrate: { email:hello: greeting } }"
    renamed = steps.replace("{ email: hello }", "{ email: hello, id: greeting }")
    one.apply(files({"life": journey("life", renamed, more=more)}))
    for _ in range(7):
        one.tick(2)
        one.pass_time(days=1)
    assert [m.step for m in one.messages()] == ["greeting", "sms:short"]
    assert [e for _, e in where(one)] == ["completed"]
    audit(one)


def test_a_loop_that_is_renamed_goes_on_counting(one: World):
    steps = "- email: hello\n- wait: 1 day\n- goto: email:hello\n  max: 2\n- wait: 5 days"
    begin(one, steps)
    one.pass_time(days=1)
    one.tick(3)  # round two
    renamed = steps.replace("  max: 2", "  max: 2\n  id: again")
    more = "in_flight: { migrate: { goto:email:hello: again } }"
    texts = files({"life": journey("life", renamed, more=more)})
    one.apply(texts)
    for _ in range(4):
        one.pass_time(days=1)
        one.tick(3)
    assert len(one.messages()) == 3


def test_who_was_in_the_segment_of_a_wait_does_not_miss_the_event_that_it_waits_for_now(one: World):
    waits = """\
- wait_for: { segment: silver_ones, timeout: 9 days, already_true: ignore, then: [ { email: hello } ] }
  id: chance
"""
    segments = {"journeys__segments_dot_yaml": "silver_ones: tier == silver\n"}
    begin(one, waits, **segments)
    after = waits.replace("segment: silver_ones", "event: bought")
    one.apply(files({"life": journey("life", after, more="in_flight: migrate")}, **segments))
    one.pass_time(minutes=1)
    one.event([1], "bought", order_id="o1", amount="1.00 EUR")  # before the first look by the new version
    one.tick(2)
    assert [m.step for m in one.messages()] == ["email:hello"]


def test_the_diary_tells_of_the_move(one: World):
    begin(one, "- email: hello\n- wait: 3 days")
    more = "in_flight: { migrate: { wait:3-days: wait:1-week } }"
    one.apply(files({"life": journey("life", "- email: hello\n- wait: 1 week", more=more)}))
    (line,) = one.rows(sa.select(t.trace.c.step, t.trace.c.detail).where(t.trace.c.what == "moved"))
    assert tuple(line) == ("wait:1-week", {"from": "wait:3-days", "apply": 2})
