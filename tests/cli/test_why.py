"""`why`: for one sent to, one held, one refused, one never in; with the place and the rule."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator import wiring
from orchestrator.store import versions
from tests.cli.conftest import MONDAY, SMALL, World, golden

HELLO = SMALL["journeys/hello.yaml"].splitlines()
PLACE = f"journeys/hello.yaml:{HELLO.index('  - email: hello') + 1}"


def decision(story: dict, number: int = -1) -> dict:
    return story["runs"][0]["messages"][0]["decisions"][number]


@pytest.mark.parametrize("key", ["ana", "ben", "cleo", "dora", "emil"])
@pytest.mark.parametrize("width", [100, 60])
def test_what_is_told(told: World, key: str, width: int):
    said = told("why", key, "hello", width=width)
    assert said.code == 0
    shown = said.out.replace(story_version(told), "VERSION")
    golden(f"why-{key}-{width}.txt", shown, told)


def story_version(told: World) -> str:
    return str(next(j["version"] for j in told.json("journeys")["journeys"] if j["journey"] == "hello"))[:7]


def test_one_who_was_sent_to(told: World):
    story = told.json("why", "ana", "hello")
    (run,) = story["runs"]
    (sent,) = run["messages"]
    assert sent["state"] == "sent"
    assert f"{sent['file']}:{sent['line']}" == PLACE
    assert decision(story)["say"] == "allow"
    assert {v["rule"] for v in decision(story)["verdicts"]} >= {
        "consent",
        "quiet_hours",
        "frequency_cap",
        "suppression",
    }
    (word,) = sent["relied_on"]
    assert (word["action"], word["method"]) == ("grant", "double opt-in")
    assert run["step"] == "wait:2-days"
    assert run["wake_at"] is not None
    assert run["began"] == "event signed_up"
    assert "run is under way" in story["entries"][0]["blocks"][0]


def test_one_who_is_held(told: World):
    story = told.json("why", "ben", "hello")
    (sent,) = story["runs"][0]["messages"]
    assert (sent["state"], sent["reason"]) == ("held", "quiet_hours")
    # Seven in the morning in New York, where the clock has not changed yet.
    assert sent["next_at"] == "2027-03-01T12:00:00Z"
    held = decision(story)
    assert (held["say"], held["rule"], held["until"]) == ("hold", "quiet_hours", "2027-03-01T12:00:00Z")
    (hours,) = (v for v in held["verdicts"] if v["rule"] == "quiet_hours")
    assert hours["inputs"]["zones"] == [{"name": "America/New_York", "source": "stated"}]
    assert f"{sent['file']}:{sent['line']}" == PLACE


def test_one_who_is_refused(told: World):
    story = told.json("why", "cleo", "hello")
    (sent,) = story["runs"][0]["messages"]
    assert (sent["state"], sent["reason"]) == ("denied", "no_consent")
    refused = decision(story)
    assert (refused["say"], refused["rule"]) == ("deny", "consent")
    assert "no record" in refused["meaning"]
    # Every rule was heard, also those that had nothing against it.
    assert len(refused["verdicts"]) >= 8
    assert f"{sent['file']}:{sent['line']}" == PLACE


def test_one_whom_the_audience_leaves_out(told: World):
    story = told.json("why", "dora", "hello")
    assert story["runs"] == []
    (entry,) = story["entries"]
    (audience,) = entry["audiences"]
    assert audience["parts"] == [
        {"text": 'class == "b2c"', "truth": True},
        {"text": 'tier >= "silver"', "truth": False},
    ]
    assert f"{entry['file']}:{entry['triggers'][0]['line']}" == "journeys/hello.yaml:3"


def test_one_who_set_off_nothing(told: World):
    (entry,) = told.json("why", "emil", "hello")["entries"]
    assert entry["triggers"][0]["holds"] is False
    assert entry["triggers"][0]["told"] == ["no signed_up is known"]
    assert [p["truth"] for p in entry["audiences"][0]["parts"]] == [True, True]


def test_one_who_was_in_the_segment_all_along(told: World):
    (entry,) = told.json("why", "ana", "golden")["entries"]
    assert "was so when the journey was put in force" in entry["triggers"][0]["told"][0]
    assert [p["truth"] for p in entry["triggers"][0]["parts"]] == [True, True]


def test_without_a_journey_all_are_told(told: World):
    story = told.json("why", "ana")
    assert [run["journey"] for run in story["runs"]] == ["hello"]
    assert [entry["journey"] for entry in story["entries"]] == ["golden"]
    assert "Not in" in told("why", "ana").out


def test_a_paused_journey_says_by_whom(told: World):
    with wiring.connected(told.folder) as wired:
        with wired.store.write() as conn:
            versions.pause(conn, "hello", by="mara", reason="typo in the subject", now=MONDAY)
        try:
            story = told.json("why", "emil", "hello")
            assert "by mara: typo in the subject" in story["entries"][0]["blocks"][0]
            assert "by mara" in told.json("why", "ana", "hello")["runs"][0]["paused"]
        finally:
            with wired.store.write() as conn:
                versions.resume(conn, "hello", by="me", now=MONDAY)


def test_nobody_and_no_journey(told: World):
    nobody = told("why", "zoe")
    assert (nobody.code, nobody.out) == (2, "")
    assert "neither a customer nor an account `zoe`" in nobody.err
    wrong = told("why", "ana", "helo")
    assert wrong.code == 2
    assert "did you mean `hello`?" in wrong.err


def test_no_personal_data(told: World):
    for key in ("ana", "ben", "cleo"):
        for said in (
            told("why", key),
            told("--json", "why", key),
            told("log"),
            told("--json", "segment", "class == b2c"),
        ):
            assert "@example.com" not in said.out


def test_what_was_judged_on_can_be_gone(told: World):
    """An erasure destroys the detail; the line of the log stays, and `why` says so."""
    import shutil
    import sqlite3

    copy = World(told.folder.parent / "erased", told.at)
    shutil.copytree(told.folder, copy.folder)
    with sqlite3.connect(copy.folder / ".orchestrator" / "orchestrator.db") as connection:
        connection.execute("delete from log_detail")
    said = copy("why", "cleo", "hello")
    assert said.code == 0
    assert "has been erased" in said.out
    assert decision(copy.json("why", "cleo", "hello"))["verdicts"] is None
    assert "no_consent" in said.out


def test_what_was_judged_on_is_sealed(told: World):
    """Without the key file everything else is told; a detail that was changed is not taken for one that was erased."""
    import shutil
    import sqlite3

    copy = World(told.folder.parent / "closed", told.at)
    shutil.copytree(told.folder, copy.folder)
    keys = copy.folder / ".orchestrator" / "orchestrator.keys"
    kept = keys.read_bytes()
    keys.unlink()
    said = copy("why", "cleo", "hello")
    assert said.code == 0 and "no_consent" in said.out and "key file is not here" in " ".join(said.out.split())
    assert decision(copy.json("why", "cleo", "hello"))["sealed"] == "closed"
    keys.write_bytes(kept)
    keys.chmod(0o600)
    assert decision(copy.json("why", "cleo", "hello"))["verdicts"]
    with sqlite3.connect(copy.folder / ".orchestrator" / "orchestrator.db") as connection:
        connection.execute("update log_detail set body = zeroblob(200)")
    assert decision(copy.json("why", "cleo", "hello"))["sealed"] == "damaged"
    assert "does not open" in copy("why", "cleo", "hello").out


def test_the_way_through_is_told(told: World):
    """Two days later: the wait, the branch with what it tried, the end."""
    import shutil

    later = World(told.folder.parent / "later", told.at)
    shutil.copytree(told.folder, later.folder)
    told.at.now = MONDAY + timedelta(days=3)
    later.tick()
    moments = {(m["step"], m["what"]): m for m in later.json("why", "cleo", "hello")["runs"][0]["moments"]}
    chose = moments["branch", "chose"]["detail"]
    assert chose["tried"] == [{"condition": 'tier >= "gold"', "truth": False}]
    assert 'tier >= "gold" is false' in later("why", "cleo", "hello").out
    ana = later.json("why", "ana", "hello")["runs"][0]
    assert [m["step"] for m in ana["messages"]] == ["email:hello", "again"]
