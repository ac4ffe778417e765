"""Lists for advertising platforms: who is on them, who comes off, and that each is in the log."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.audiencefile import AudienceFile, address, number
from channels.base import Medium, Misconfigured
from orchestrator.audience import AudienceReport, NoAudience, export
from orchestrator.rejudge import examine
from orchestrator.store import tables as t
from tests.outgoing import POLICIES, World, files, journey, world_of


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    made = world_of(database_url)
    channel: Any = AudienceFile(tmp_path / "lists", lambda: made.now)
    made.channels[Medium.AUDIENCE] = channel
    texts = files({"j": journey("j", "- email: hello")})
    texts["journeys/segments.yaml"] = "all: class == b2c\n"
    made.apply(texts)
    yield made
    made.store.close()


def listed(world: World, platform: str = "google", run: str = "") -> AudienceReport:
    channels: Any = world.channels
    return export(world.store, channels, world.keys, "all", "offers", platform, now=lambda: world.now, run=run)


def rows(report: AudienceReport, name: str) -> set[str]:
    with (Path(report.job) / name).open(newline="") as file:
        return {cell for row in list(csv.reader(file))[1:] for cell in row if cell}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hashes(world: World, ids: list[int]) -> set[str]:
    found = world.rows(sa.select(t.customer.c.email, t.customer.c.phone).where(t.customer.c.id.in_(ids)))
    return {sha(text) for row in found for text in row}


def test_who_said_yes_to_it_is_on_the_list(world: World) -> None:
    people = world.people(4)  # each has said yes to e-mail, texts, push and letters: to no list
    world.consent(people[:2], "audience", "offers")
    world.consent(people[2:3], "audience", "news")
    report = listed(world)
    assert (report.members, dict(report.left_out), report.waiting) == (2, {"no_consent": 2}, 0)
    assert rows(report, "members.csv") == hashes(world, people[:2])
    assert rows(report, "removals.csv") == set()
    manifest = json.loads((Path(report.job) / "manifest.json").read_text())
    assert (manifest["members"], manifest["removals"], manifest["platform"]) == (2, 0, "google")
    assert (Path(report.job) / f"{Path(report.job).name}.ok").exists()
    text = "".join(p.read_text() for p in Path(report.job).iterdir())
    assert "example.com" not in text and "+49" not in text and "Ann" not in text


def test_each_is_judged_and_logged_and_can_be_judged_again(world: World) -> None:
    people = world.people(2)
    world.consent(people[:1], "audience", "offers")
    listed(world)
    decided = {
        x["body"]["customer"] if "customer" in x["body"] else x["customer_id"]: x["verdict"]
        for x in world.log()
        if x["kind"] == "decision"
    }
    assert sorted(decided.values()) == ["allow", "deny"]
    with world.store.read() as conn:
        examined = examine(conn, world.keys)
    assert not examined.findings and not any("otherwise" in note for note in examined.notes), examined


def test_a_no_is_heeded_and_told(world: World) -> None:
    people = world.people(3)
    world.consent(people, "audience", "offers")
    assert listed(world).members == 3
    world.pass_time(days=1)
    world.consent(people[:1], "audience", "offers", "withdraw")
    report = listed(world)
    assert (report.members, dict(report.left_out)) == (2, {"consent_withdrawn": 1})
    assert rows(report, "members.csv") == hashes(world, people[1:])
    assert rows(report, "removals.csv") == hashes(world, people[:1])
    world.pass_time(days=1)
    assert rows(listed(world), "removals.csv") == set()


def test_the_same_run_twice_is_one_list(world: World) -> None:
    world.consent(world.people(2), "audience", "offers")
    first = listed(world)
    before = {p.name: p.read_bytes() for p in Path(first.job).iterdir()}
    again = listed(world, run=first.run)
    assert again == first
    assert {p.name: p.read_bytes() for p in Path(first.job).iterdir()} == before
    assert len(world.messages()) == 2
    other = listed(world, "meta", run=first.run)
    assert other.job != first.job and other.members == 2


def test_it_counts_under_no_cap(database_url: str, tmp_path: Path) -> None:
    world = world_of(database_url)
    channel: Any = AudienceFile(tmp_path / "lists", lambda: world.now)
    world.channels[Medium.AUDIENCE] = channel
    texts = files({"j": journey("j", "- email: hello")}, POLICIES + "  caps: [ 1 per day ]\n")
    texts["journeys/segments.yaml"] = "all: class == b2c\n"
    world.apply(texts)
    people = world.people(1)
    world.consent(people, "audience", "offers")
    assert [listed(world, p).members for p in ("google", "meta")] == [1, 1]
    world.event(people)
    assert world.tick(2)["sent"] == 1
    assert listed(world, "tiktok").members == 1
    world.store.close()


def test_who_is_erased_is_found_nowhere(world: World, tmp_path: Path) -> None:
    people = world.people(2)
    world.consent(people, "audience", "offers")
    report = listed(world)
    gone = hashes(world, people[:1])
    mine = {f"m{m.id}a1" for m in world.messages() if m.customer_id == people[0]}
    channel = world.channels[Medium.AUDIENCE]
    assert channel.forget(mine.__contains__) == 1
    assert channel.forget(mine.__contains__) == 0
    every = [p for p in (tmp_path / "lists").rglob("*") if p.is_file()]
    assert not any(one in p.read_text() for p in every for one in gone)
    manifest = json.loads((Path(report.job) / "manifest.json").read_text())
    members = (Path(report.job) / "members.csv").read_bytes()
    assert manifest["members"] == 1 and manifest["sha256"]["members.csv"] == hashlib.sha256(members).hexdigest()


def test_what_there_is_none_of(world: World) -> None:
    channels: Any = world.channels

    def asked(segment: str, topic: str, platform: str = "google", run: str = "") -> None:
        export(world.store, channels, world.keys, segment, topic, platform, now=lambda: world.now, run=run)

    with pytest.raises(NoAudience, match="no segment `everyone`"):
        asked("everyone", "offers")
    with pytest.raises(NoAudience, match="`service` is no marketing topic"):
        asked("all", "service")
    with pytest.raises(Misconfigured, match="named by letters"):
        asked("all", "offers", run="../../etc")


@pytest.mark.parametrize(
    ("platform", "email", "phone"),
    [
        ("google", "annalee@gmail.com", "+4915123456789"),
        ("meta", "anna.lee+shop@gmail.com", "4915123456789"),
        ("tiktok", "anna.lee@gmail.com", "4915123456789"),
        ("linkedin", "anna.lee+shop@gmail.com", "4915123456789"),
    ],
)
def test_each_platform_has_its_own_way_of_writing(platform: str, email: str, phone: str) -> None:
    assert address(" Anna.Lee+shop@Gmail.com ", platform) == email
    assert number("+49 151 23456789", platform) == phone
    assert address("A.B+c@Example.com", "google") == "a.b+c@example.com"
