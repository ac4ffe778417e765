"""A forecast: both workspaces played for the same people, and what they come to side by side."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from channels.base import Medium
from channels.null import Null
from orchestrator.foresee import Forecast, Pair, Stopped, TooLong, compared, foresee
from orchestrator.project import load_files
from orchestrator.rehearse.sampling import Nobody
from orchestrator.simulation import Refusal, Simulation, Volume
from orchestrator.store import tables as t
from orchestrator.store import versions
from tests.outgoing import KEYS, NOON, World, files, journey, world_of

HELLO = "- email: hello\n- wait: 3 days\n- email: second"
EMAIL, SMS = Medium.EMAIL, Medium.SMS


@pytest.fixture
def world(sqlite_database_url: str) -> Iterator[World]:
    """Ten people who signed up 360 days ago; in 52 weeks from then on, as many do on the same weekday."""
    made = world_of(sqlite_database_url, now=NOON - timedelta(days=360))
    made.event(made.people(10))
    made.now = NOON - timedelta(days=1)
    made.apply(files({"welcome": journey("welcome", HELLO)}))
    made.now = NOON
    yield made
    made.store.close()


def ahead(world: World, folder: Path, texts: dict[str, str]) -> Forecast:
    channels = {medium: Null(medium) for medium in Medium}
    project = load_files(texts)
    return foresee(world.store, KEYS, project, now=world.now, folder=folder, channels=channels, days=14, people=100)


def test_what_would_go_out_by_both(world: World, tmp_path: Path):
    written = files({"welcome": journey("welcome", HELLO + "\n- sms: short")})
    found = ahead(world, tmp_path, written)
    assert (found.people, found.audience, found.scale, found.same) == (10, 10, 1.0, False)
    days = {(one.day, one.medium): one.count for one in found.sends}
    assert days == {
        (date(2027, 3, 5), EMAIL): Pair(10, 10),
        (date(2027, 3, 8), EMAIL): Pair(10, 10),
        (date(2027, 3, 8), SMS): Pair(0, 10),
    }
    assert found.by_day() == {
        date(2027, 3, 5): {EMAIL: Pair(10, 10)},
        date(2027, 3, 8): {EMAIL: Pair(10, 10), SMS: Pair(0, 10)},
    }
    assert found.journeys == {"welcome": Pair(20, 30)}
    assert not world.messages(), "the store is only read"
    assert world.one(sa.select(sa.func.count()).select_from(t.applied)) == 1
    with pytest.raises(Nobody):
        with world.store.write() as conn:
            conn.execute(t.customer.update().values(merged_into=1))
        ahead(world, tmp_path, written)


def test_before_the_first_apply_it_is_set_beside_nothing(sqlite_database_url: str, tmp_path: Path):
    world = world_of(sqlite_database_url, now=NOON - timedelta(days=360))
    world.event(world.people(10))
    world.now = NOON
    found = ahead(world, tmp_path, files({"welcome": journey("welcome", HELLO)}))
    assert (found.same, found.journeys, found.notes[0]) == (False, {"welcome": Pair(0, 20)}, "nothing is in force yet")
    assert {one.count for one in found.sends} == {Pair(0, 10)}
    world.store.close()


def test_a_draft_sends_nothing_and_what_is_archived_nothing_new(world: World, tmp_path: Path):
    for n, status in enumerate(("draft", "archived")):
        place = tmp_path / str(n)
        place.mkdir()
        found = ahead(world, place, files({"welcome": journey("welcome", HELLO, more=f"status: {status}")}))
        assert found.journeys == {"welcome": Pair(20, 0)}


def test_what_is_paused_stays_so(world: World, tmp_path: Path):
    with world.store.write() as conn:
        versions.pause(conn, "welcome", by="me", reason="", now=world.now)
    found = ahead(world, tmp_path, files({"welcome": journey("welcome", HELLO + "\n- sms: short")}))
    assert found.sends == ()
    assert found.notes[0] == "welcome is paused, and stays so here"


def test_the_same_is_played_once_and_the_same_twice(world: World, tmp_path: Path):
    same = files({"welcome": journey("welcome", HELLO)})
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
    first, second = (ahead(world, place, same) for place in places)
    assert first == second
    assert first.same
    assert sorted(p.name for p in places[0].iterdir()) == ["before"]
    assert all(one.count.before == one.count.after for one in first.sends)


def test_it_stops_when_told_to(world: World, tmp_path: Path):
    told: list[timedelta] = []

    def on(played: timedelta) -> bool:
        told.append(played)
        return len(told) < 2

    with pytest.raises(TooLong) as caught:
        foresee(
            world.store,
            KEYS,
            load_files(files({"welcome": journey("welcome", HELLO)})),
            now=world.now,
            folder=tmp_path,
            channels={medium: Null(medium) for medium in Medium},
            progress=on,
        )
    assert caught.value.played == told[-1]


def test_two_simulations_side_by_side() -> None:
    def one(count: int, cost: int, held: int) -> Simulation:
        volumes = (Volume(date(2027, 3, 2), "a", "mail:x", Medium.MAIL, count, cost, "EUR"),)
        refusals = (Refusal("a", EMAIL, "hold", "quiet_hours", held), Refusal("b", EMAIL, "hold", "quiet_hours", 1))
        return Simulation("p", NOON, NOON + timedelta(days=30), 7, 40, 2.5, {}, volumes, refusals, notes=("n",))

    found = compared(one(2, 1_600_000, 3), one(5, 4_000_000, 0), began=NOON.date(), same=False)
    assert (found.days, found.people, found.audience, found.seed, found.notes) == (30, 40, 100, 7, ("n",))
    assert [one.count for one in found.sends] == [Pair(5, 12)]  # half of them, rounded to even
    assert [(one.medium, one.currency, one.cost) for one in found.costs] == [
        (Medium.MAIL, "EUR", Pair(4_000_000, 10_000_000))
    ]
    assert found.stopped == (Stopped("hold", "quiet_hours", Pair(10, 2)),)
