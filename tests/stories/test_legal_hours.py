"""Law at work from the plan to the outbox: held over Sundays and holidays, released within the hours, dead behind them;
and the ruleset that speaks is the one that was applied."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import orchestrator.apply
from channels.base import Medium, Outbound
from channels.sandbox import ACCEPT
from orchestrator.apply import in_force
from orchestrator.model import Ruleset
from orchestrator.plan import plan
from orchestrator.project import load_files, shipped_ruleset
from orchestrator.ruleset import CONSENT, HOURS
from orchestrator.store import tables as t
from tests.outgoing import World, audit, files, journey, world_of

TEXT = {"s": journey("s", "- sms: short")}
NO_HOUSE_HOURS = ""
FLORIDA = {"country": "US", "region": "FL", "timezone": "America/New_York", "phone": None, "postcode": "33101"}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def seen(world: World) -> list[Outbound]:
    """Fills with every message as it is handed over."""
    found: list[Outbound] = []

    def behave(outbound: Outbound, number: int) -> Any:
        found.append(outbound)
        return ACCEPT

    world.behaviour = behave
    return found


def test_a_text_waits_over_easter(world: World) -> None:
    world.now = at("2027-03-27T21:00+01:00")  # Saturday night; Sunday and Monday are Easter, and the clock changes
    world.apply(files(TEXT, NO_HOUSE_HOURS))
    world.event(world.people(2))
    assert world.tick() == {"hold quiet_hours": 2}
    world.now = at("2027-03-29T12:00+02:00")
    assert world.tick() == {}
    world.now = at("2027-03-30T08:00+02:00")
    assert world.tick() == {"allow": 2, "sent": 2}
    (verdict,) = [v for v in world.log(1)[0]["detail"]["verdicts"] if v["rule"] == "quiet_hours"]
    assert verdict["inputs"]["rules"] == ["de"] and verdict["until"] == "2027-03-30T06:00:00.000000Z"
    assert verdict["inputs"]["ruleset"].startswith("2026-") and verdict["inputs"]["holidays"]


def test_an_email_rests_on_no_sunday(world: World) -> None:
    world.now = at("2027-03-28T12:00+02:00")
    world.apply(files({"e": journey("e", "- email: hello")}, NO_HOUSE_HOURS))
    world.event(world.people(1))
    assert world.tick() == {"allow": 1, "sent": 1}


def test_what_is_handed_over_dies_when_its_hours_close(world: World) -> None:
    handed = seen(world)
    world.now = at("2027-03-01T18:00+01:00")
    steps = "- sms: short\n  expire_after: 1 hour\n- sms: short\n  id: again\n- push: ping\n- email: hello"
    house = "\n  quiet_hours:\n    push: { open: 08:00-21:00 }\n    email: { open: 07:00-22:00 }\n"
    world.apply(files({"s": journey("s", steps)}, house))
    world.event(world.people(1))
    world.tick(8)
    assert [(o.medium, o.valid_until) for o in handed] == [
        (Medium.SMS, at("2027-03-01T19:00+01:00")),  # its own end is nearer
        (Medium.SMS, at("2027-03-01T20:00+01:00")),  # German practice
        (Medium.PUSH, at("2027-03-01T21:00+01:00")),  # the house
        (Medium.EMAIL, None),
    ]


def test_a_text_whose_hours_close_before_its_turn_waits_for_the_next(world: World) -> None:
    last = at("2027-03-01T19:59:59+01:00")
    world.now = last
    world.apply(files(TEXT, NO_HOUSE_HOURS))
    world.event(world.people(1))
    world.move()
    over = False

    def clock() -> datetime:
        """Allowed in the last second; when the request is made it is over."""
        nonlocal over
        over = over or world.states()["sending"] == 1
        return last + timedelta(seconds=1) if over else last

    counts = world.deliver(now=clock).counts
    assert {(line.kind, line.verdict, line.reason): n for line, n in counts.items()} == {
        ("decision", "allow", ""): 1,
        ("outcome", "planned", "hours_over"): 1,
        ("decision", "hold", "quiet_hours"): 1,
    }
    assert world.outbox() == []
    world.now = at("2027-03-02T08:00+01:00")
    assert world.tick() == {"allow": 1, "sent": 1}


def test_a_release_is_spread_within_a_narrow_window(world: World) -> None:
    world.now = at("2027-03-01T21:00+01:00")
    policies = "\n  quiet_hours:\n    sms: { open: 08:00-08:40 }\n    release: spread 2 hours\n"
    world.apply(files(TEXT, policies))
    world.event(world.people(60))
    assert world.tick() == {"hold quiet_hours": 60}
    starts = {b.due_at for b in world.rows(sa.select(t.batch).where(t.batch.c.due_at > world.now))}
    eight = at("2027-03-02T08:00+01:00")
    assert min(starts) >= eight and max(starts) < eight + timedelta(minutes=30) and len(starts) > 20
    world.now = eight + timedelta(minutes=31)
    assert world.tick() == {"allow": 60, "sent": 60}


def test_a_call_is_given_out_in_calling_hours_where_the_customer_is(world: World) -> None:
    world.now = at("2027-03-01T07:00-05:00")
    step = "- task: sales@small.example\n  message: Call them\n  call: yes\n"
    later = "- task: sales@small.example\n  message: Write to them\n"
    world.apply(files({"c": journey("c", step), "w": journey("w", later)}))
    world.event(world.people(1, **FLORIDA))
    assert world.tick() == {"hold quiet_hours": 1, "allow": 1, "sent": 1}
    held = next(m for m in world.messages() if m.state == "held")
    (verdict,) = [v for v in world.log(held.id)[0]["detail"]["verdicts"] if v["rule"] == "quiet_hours"]
    assert verdict["inputs"]["rules"] == ["us-federal", "us-fl"]
    assert {place["region"] for place in verdict["inputs"]["places"]} == {"FL"}
    world.now = datetime.fromisoformat(verdict["until"])
    assert world.now == at("2027-03-01T08:00-06:00"), "by the panhandle's clock"
    assert world.tick() == {"allow": 1, "sent": 1}


# ---- the ruleset in force -------------------------------------------------------------------------------------------


def ruleset(world: World) -> Ruleset:
    orchestrator.apply._projects.clear()  # as another process would see it
    with world.store.read() as conn:
        force = in_force(conn)
    assert force is not None
    return force.project.vocabulary.policies.ruleset


def narrowed() -> dict[str, str]:
    texts = dict(shipped_ruleset())
    texts[HOURS] = texts[HOURS].replace("[weekdays, sat], open: 08:00-20:00", "[weekdays, sat], open: 08:00-12:00")
    return texts


def test_a_worker_judges_by_the_ruleset_that_was_applied(world: World) -> None:
    world.now = at("2027-03-01T13:00+01:00")
    world.apply(files(TEXT, NO_HOUSE_HOURS) | narrowed())
    applied = ruleset(world)
    assert applied.version != load_files(files(TEXT, NO_HOUSE_HOURS)).vocabulary.policies.ruleset.version
    assert {w.close.hour for row in applied.hours if row.id == "de" for w in row.windows} == {12}
    world.event(world.people(1))
    assert world.tick() == {"hold quiet_hours": 1}


def test_a_plan_shows_another_ruleset_and_an_apply_puts_it_in_force(world: World) -> None:
    texts = files(TEXT, NO_HOUSE_HOURS)
    world.apply(texts | narrowed())
    newer = load_files(texts | dict(shipped_ruleset()))
    changes = {
        path: change for path, change in plan(world.store, newer, now=world.now).files.items() if change != "same"
    }
    assert changes == {HOURS: "edited"}
    before = ruleset(world).version
    world.apply(texts | dict(shipped_ruleset()))
    assert ruleset(world).version == newer.vocabulary.policies.ruleset.version != before


def test_what_was_applied_before_there_was_a_ruleset_goes_by_the_shipped_one(world: World) -> None:
    texts = files(TEXT, NO_HOUSE_HOURS)
    world.apply(texts)
    project = load_files(texts | dict(shipped_ruleset()))
    assert ruleset(world).version == project.vocabulary.policies.ruleset.version
    assert plan(world.store, project, now=world.now).files[CONSENT] == "added"
