"""`pause` and `resume`: what they say, in numbers, and what they refuse."""

from __future__ import annotations

from datetime import timedelta

from tests.cli.conftest import MONDAY, World


def inside(world: World) -> None:
    """In force, with two in `hello` who wait for two days."""
    assert world("apply", "-m", "first", "--yes").code == 0
    people = [{"key": k, "class": "b2c", "tier": "silver", "email": f"{k}@example.com"} for k in ("ana", "ben")]
    assert world("import", "customers", str(world.write("customers.csv", people))).code == 0
    rows = [
        {"type": "signed_up", "event_id": p["key"], "customer": p["key"], "occurred_at": MONDAY.isoformat()}
        for p in people
    ]
    assert world("import", "events", str(world.write("events.jsonl", rows))).code == 0
    world.tick()


def test_what_a_pause_and_its_end_say(small: World):
    inside(small)
    said = small("pause", "hello", "--discard", "--reason", "typo", "--by", "mara")
    assert said.out.splitlines()[0] == "hello is paused; who would enter meanwhile does not"
    small.at.now = MONDAY + timedelta(days=2, hours=3)
    again = small("pause", "hello", "--hold", width=250)
    assert again.out.splitlines() == [
        "hello is paused already, since 2027-03-01 09:00 UTC by mara: typo; it was paused with --discard, and stays so",
        "  2 inside, 2 due meanwhile; resume --catch-up moves 2 on at once, --shift moves 0 on at once, the other "
        "waits end 2 days 3 hours later; who would have entered meanwhile does not enter",
    ]
    [row] = [r for r in small.json("journeys")["journeys"] if r["journey"] == "hello"]
    assert (row["state"], row["resume"]["inside"], row["resume"]["waits"]) == ("paused", 2, 2)
    assert "2 inside, 2 due meanwhile" in small("journeys", width=200).out
    path = small.folder / "journeys/hello.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("2 days", "4 days"), encoding="utf-8")
    assert "hello is paused: 2 inside, 2 due meanwhile" in small("plan", width=250).out
    assert small("resume", "hello", "--shift").out == (
        "hello is resumed after 2 days 3 hours: 2 inside, whose waits end as much later\n"
    )
    assert small("resume", "hello").out == "hello is not paused\n"


def test_what_is_refused(small: World):
    inside(small)
    assert small("pause", "hello", "--hold", "--discard").code == 2
    assert small("resume", "hello", "--shift", "--catch-up").code == 2
    assert small("pause", "hello").code == 0
    assert small("pause", "--all").code == 0
    refused = small("resume", "hello", "--shift")
    assert refused.code == 3
    assert "resume --all" in refused.err


def test_drafts_and_archived_journeys_are_listed_apart(small: World):
    path = small.folder / "journeys/golden.yaml"
    path.write_text("status: archived\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    said = small("apply", "-m", "first", "--yes", width=120)
    assert "golden: archived: nobody enters" in said.out
    rows = small.json("journeys")["journeys"]
    assert [(row["journey"], row["state"]) for row in rows] == [("hello", "live"), ("golden", "archived")]
    assert small("journeys").out.index("hello") < small("journeys").out.index("golden")
