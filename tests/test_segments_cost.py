"""Texts as networks carry them, and what they cost: counted on the very words that go out, and known before they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gsm import outside, simplified, sms_segments
from orchestrator.outbound import price_text
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, audit, files, journey, world_of

TYPOGRAPHIC = "---\ntopic: offers\n---\nIt’s “new” – for {{ customer.first_name }}…\u00a0today"


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def policies(*lines: str) -> str:
    return POLICIES + "".join(f"  {line}\n" for line in lines)


def send(world: World, text: str, *house: str, people: int = 1, **columns: Any) -> Any:
    texts = files({"j": journey("j", "- sms: note")}, policies(*house))
    world.apply({**texts, "templates/sms/note.txt": text})
    world.event(world.people(people, **columns))
    return world.tick()


def decided(world: World) -> list[dict[str, Any]]:
    return [line["body"]["segments"] for line in world.log() if line["verdict"] == "allow"]


def spent(world: World) -> int:
    return world.one(sa.select(sa.func.coalesce(sa.func.max(t.spend.c.amount), 0)))


# ---- plain characters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("It’s “new” – really…", 'It\'s "new" - really...'),
        ("a\u00a0b\u202fc\u2009d", "a b c d"),  # one space each
        ("‹a›", "'a'"),
        ("«a»", '"a"'),
        ("soft\u00adhyphen\u200b\ufeff", "softhyphen"),
        ("Zu\u0308rich", "Zürich"),  # as a Mac writes it
        ("• one\u2028• two", "- one\n- two"),
        ("Ça va, garçon?", "Ça va, garçon?"),  # letters are nobody's to change
        ("Łódź, Dvořák, Ελλάδα, дом, 寿司, 😀", "Łódź, Dvořák, Ελλάδα, дом, 寿司, 😀"),
        ("5 € [net] ~1 {x}", "5 € [net] ~1 {x}"),
    ],
)
def test_plain_characters(written: str, expected: str) -> None:
    assert simplified(written) == expected


@given(st.text())
def test_what_is_plain_stays_so_and_nothing_gets_dearer(text: str) -> None:
    once = simplified(text)
    assert simplified(once) == once
    if sms_segments(text).encoding == "GSM-7":
        assert once == text and not outside(text)
    if sms_segments(once).encoding == "GSM-7" and len(text) <= 70:
        assert sms_segments(once).segments <= 2


@pytest.mark.parametrize(("amount", "text"), [(150_000, "0.15"), (7_900, "0.0079"), (1_000_000, "1.00"), (0, "0.00")])
def test_amounts_as_people_write_them(amount: int, text: str) -> None:
    assert price_text(amount) == text


# ---- what goes out is what was counted ------------------------------------------------------------------------------


def test_a_text_goes_out_plain_where_that_makes_it_cheaper(world: World):
    send(world, TYPOGRAPHIC, "prices: { sms: 0.075 EUR }")
    assert decided(world) == [{"count": 1, "encoding": "GSM-7", "cost": 75_000, "currency": "EUR"}]
    [kept] = world.outbox()
    text = world.opened(kept)
    assert 'It\'s "new" - for Ann1... today' in text and "Segments: 1 (GSM-7), 0.075 EUR" in text


def test_as_it_is_written_where_the_house_says_so_or_nothing_is_gained(world: World):
    send(world, TYPOGRAPHIC, "texts: as_written")
    assert decided(world) == [{"count": 1, "encoding": "UCS-2"}]
    assert "It’s “new” – for Ann1…" in world.opened(world.outbox()[0])
    send(world, TYPOGRAPHIC, first_name="Łucja")
    assert decided(world)[1] == {"count": 1, "encoding": "UCS-2"}
    assert "It’s “new” – for Łucja…" in world.opened(world.outbox()[1])


def test_each_of_its_segments_costs(world: World):
    send(world, "---\ntopic: offers\n---\n" + "x" * 150 + " {{ customer.first_name }}", "prices: { sms: 0.075 EUR }",
         "budget: { sms: 100 EUR per month }", first_name="Maximiliane")  # fmt: skip
    assert decided(world) == [{"count": 2, "encoding": "GSM-7", "cost": 150_000, "currency": "EUR"}]
    assert spent(world) == 150_000 == world.one(sa.select(t.reservation.c.cost))
    [line] = [line for line in world.log() if line["verdict"] == "allow"]
    assert line["detail"]["standing"]["segments"] == 2
    assert "Maximiliane" not in json.dumps([line["body"], line["detail"]], default=str)


def test_a_budget_is_weighed_by_segments(world: World):
    """0.40 EUR, 0.075 a segment: five segments. Two texts of two fit, the third does not, the fourth of one does."""
    text = "---\ntopic: offers\n---\n{{ customer.last_name }}"
    house = ("prices: { sms: 0.075 EUR }", "budget: { sms: 0.40 EUR per day }")
    texts = files({"j": journey("j", "- sms: note")}, policies(*house))
    world.apply({**texts, "templates/sms/note.txt": text})
    people = [*world.people(3, last_name="x" * 161), *world.people(2, last_name="y")]
    world.event(people)
    assert world.tick(1) == {"allow": 3, "sent": 3, "hold budget_spent": 2}
    assert spent(world) == 375_000 == world.one(sa.select(sa.func.sum(t.reservation.c.cost)))
    held = [m.customer_id for m in world.messages() if m.state == "held"]
    assert held == [people[2], people[4]]


def test_what_was_surely_not_sent_gives_all_its_segments_back(world: World):
    from channels.sandbox import always, rejected

    world.behaviour = always(rejected())
    send(world, "---\ntopic: offers\n---\n" + "x" * 400, "prices: { sms: 0.075 EUR }")
    assert decided(world)[0]["count"] == 3 and spent(world) == 0
