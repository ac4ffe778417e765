"""`stats`: what became of messages, in numbers."""

from __future__ import annotations

from tests.cli.conftest import World


def test_what_became_of_messages(told: World) -> None:
    data = told.json("stats", "--by", "medium")
    total = data["total"]
    assert data["by"] == "medium" and total["sent"] == sum(group["sent"] for group in data["groups"]) > 0
    assert 0 < total["people"] <= total["sent"] and set(total["rates"]) >= {"opened", "clicked", "bounced"}
    said = told("stats")
    assert said.code == 0 and "; rates are of" in said.out and "sent" in said.out
    assert "example.com" not in said.out


def test_of_a_time_in_which_nothing_was_sent(told: World) -> None:
    nothing = told("stats", "hello", "--until", "2001-01-01T00:00Z").out
    assert nothing.startswith("No message to a customer was sent by hello in that time. ")
    assert "`orchestrator tasks`" in nothing
    assert told.json("stats", "no-such-journey")["groups"] == []
    said = told("stats", "--since", "7 moons")
    assert said.code == 2
