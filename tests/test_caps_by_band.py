"""Who stands high in the customer pyramid may be written to more often: caps for bands, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.store import loyalty
from tests.outgoing import POLICIES, World, audit, files, journey, world_of

CAPS = "  caps:\n    - 1 per day across email\n    - for band top: 2 per day across email\n"
JOURNEYS = {
    "a": journey("a", "- email: hello", more="priority: 10"),
    "b": journey("b", "- email: second", more="priority: 90"),
}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


def ranked(world: World, bands: dict[int, str]) -> None:
    with world.store.write() as conn:
        loyalty.write(conn, "customer", {i: {"band": band} for i, band in bands.items()}, world.now)


def test_the_top_hears_more_and_the_others_as_much_as_ever(world: World) -> None:
    world.apply(files(JOURNEYS, POLICIES + CAPS))
    top, big, unranked = world.people(3)
    ranked(world, {top: "top", big: "big"})
    world.event([top, big, unranked])
    assert world.tick() == {"allow": 4, "sent": 4, "deny frequency_cap": 2}
    assert sorted(m.customer_id for m in world.messages() if m.state == "denied") == [big, unranked]
    told = next(m for m in world.messages() if m.customer_id == top and m.state == "sent")
    assert world.log(told.id)[0]["detail"]["standing"]["band"] == "top", "it is judged again from the log"


def test_a_band_is_weighed_and_kept_only_where_a_cap_asks(world: World) -> None:
    world.apply(files(JOURNEYS, POLICIES + "  caps:\n    - 1 per day across email\n"))
    (one,) = world.people(1)
    ranked(world, {one: "top"})
    world.event([one])
    assert world.tick() == {"allow": 1, "sent": 1, "deny frequency_cap": 1}
    told = next(m for m in world.messages() if m.state == "sent")
    assert world.log(told.id)[0]["detail"]["standing"].get("band") is None
