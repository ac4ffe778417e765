"""What is for somebody who cannot be reached, or whose facts cannot be read, is refused and stops nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import outbound
from orchestrator.store import standing
from orchestrator.store import tables as t
from tests.outgoing import World, audit, files, journey, world_of


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


@pytest.mark.parametrize("step", ["sms: short", "push: ping", "mail: letter"])
def test_our_own_people_have_no_number(world: World, step: str) -> None:
    world.apply(files({"j": journey("j", f"- {step}"), "k": journey("k", f"- {step}\n  to: account_manager")}))
    row = {"key": "a1", "name": "Firm", "class": "b2b", "attributes": {}, "manager_email": "mo@small.example"}
    with world.store.write() as conn:
        conn.execute(t.account.insert().values({**row, "created_at": world.now, "updated_at": world.now}))
    world.event(world.people(1, account_id=1))
    world.tick()
    assert {(m.journey, m.state, m.reason) for m in world.messages()} == {
        ("j", "sent", None), ("k", "denied", "no_address")
    }  # fmt: skip


def test_one_whose_facts_cannot_be_read_is_refused_and_stops_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(files({"j": journey("j", "- email: hello")}))
    first, *others = world.people(3)
    world.event([first, *others])
    plain = outbound.destinations

    def failing(due: Any, about: Any) -> Any:
        if due.customer_id == first:
            raise KeyError("number")
        return plain(due, about)

    monkeypatch.setattr(standing, "destinations", failing)
    counts = world.tick()
    assert counts["sent"] == 2 and counts["deny rule_failed"] == 1
