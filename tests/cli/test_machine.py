"""`import`, `customer merge`, `db`, `doctor`."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator import carry, project, wiring
from orchestrator.store import versions
from tests.cli.conftest import MONDAY, PEOPLE, World, golden

# ---- import ---------------------------------------------------------------------------------------------------------


def test_an_import_tells_what_became_of_the_rows(small: World):
    path = small.write("customers.csv", [*PEOPLE[:3], {**PEOPLE[3], "class": "b2x"}, {**PEOPLE[4], "email": "nobody"}])
    said = small("import", "customers", str(path))
    assert said.code == 1
    golden("import.txt", said.out, small)
    (put_aside,) = small.folder.glob("*.quarantine-*")
    assert "dora" in put_aside.read_text()


def test_the_same_file_twice_is_done_once(small: World):
    path = str(small.write("customers.csv", PEOPLE[:3]))
    assert small.json("import", "customers", path)["inserted"] == 3
    again = small.json("import", "customers", path)
    assert (again["already"], again["inserted"]) == (True, 3)
    assert small.json("import", "customers", path, "--again")["unchanged"] == 3
    assert "imported before" in small("import", "customers", path).out


def test_what_was_put_aside_is_mended_and_imported(small: World):
    path = small.write("customers.csv", [PEOPLE[0], {**PEOPLE[1], "class": "b2x"}])
    report = small("--json", "import", "customers", str(path))
    assert report.code == 1
    assert report.data["reasons"][0]["first_line"] == 3
    put_aside = Path(report.data["quarantine_file"])
    put_aside.write_text(put_aside.read_text().replace("b2x", "b2c"))
    assert small.json("import", "customers", str(put_aside))["inserted"] == 1


def test_reasons_that_differ_in_a_name_are_one_kind(small: World):
    rows = [{"customer": f"nobody-{n}", "type": "signed_up", "occurred_at": "2027-01-01T00:00:00Z", "event_id": str(n),
             "properties": {}} for n in range(3)]  # fmt: skip
    report = small("--json", "import", "events", str(small.write("events.jsonl", rows)))
    assert (report.code, len(report.data["reasons"]), report.data["reasons"][0]["rows"]) == (1, 1, 3)


@pytest.mark.parametrize("name, content", [("customers.xlsx", b"PK"), ("customers.csv", b"key,name\n1,M\xfcller\n")])
def test_a_file_that_cannot_be_read_is_3(small: World, name: str, content: bytes):
    (small.folder / name).write_bytes(content)
    said = small("import", "customers", str(small.folder / name))
    assert said.code == 3
    assert "Traceback" not in said.err
    assert name in said.err


def test_wrong_kinds_and_files_are_told(small: World, tmp_path: Path):
    assert small("import", "people", "x.csv").code == 2
    nowhere = small("import", "customers", str(tmp_path / "nowhere.csv"))
    assert (nowhere.code, "there is no file" in nowhere.err) == (3, True)
    path = str(small.write("customers.csv", PEOPLE[:1]))
    assert small("import", "customers", path, "--quarantine", path).code == 2


def test_rows_are_read_by_what_is_in_force(told: World, tmp_path: Path):
    """A draft that is broken does not stop the night's import; a new word in it counts from its apply on."""
    world = World(tmp_path / "copy", told.at)
    shutil.copytree(told.folder, world.folder)
    path = world.folder / "journeys" / "workspace.yaml"
    path.write_text(path.read_text().replace("birthday: date", "birthday: dat"))
    assert (
        world.json("import", "customers", str(world.write("more.csv", [{**PEOPLE[0], "key": "zoe"}])))["inserted"] == 1
    )
    bad = world("import", "customers", str(world.write("bad.csv", [{**PEOPLE[0], "class": "b2x"}])))
    assert "has changed since it was applied" in bad.out


# ---- customer merge -------------------------------------------------------------------------------------------------


def test_two_records_of_one_person(told: World, tmp_path: Path):
    world = World(tmp_path / "copy", told.at)
    shutil.copytree(told.folder, world.folder)
    assert world("customer", "merge", "ana", "ben").code == 2  # nobody can be asked, and it cannot be undone
    merged = world.json("customer", "merge", "ana", "ben", "--yes")
    assert (merged["keep"], merged["drop"], merged["enrollments_ended"]) == ("ana", "ben", 1)
    found = world.json("customer", "ben")
    assert (found["key"], found["merged_from"]) == ("ana", "ben")
    assert "ben was merged into ana" in world("why", "ben").out
    assert world("customer", "merge", "ana", "ben", "--yes").code == 2
    assert world("customer", "merge", "ana", "zoe", "--yes").code == 2


# ---- db -------------------------------------------------------------------------------------------------------------


def test_a_database_is_made_and_measured(small: World):
    assert small("db", "stats").code == 3
    assert "db upgrade" in small("db", "check").err
    assert small("db", "upgrade").code == 0
    assert small("db", "upgrade").code == 0
    assert small.json("db", "stats")["rows"]["customer"] == 0
    assert small.json("db", "check")["ok"] is True
    assert (small.folder / ".orchestrator" / "orchestrator.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("words", ["run", "journeys", "why somebody", "db check", "pause --all"])
def test_in_a_folder_that_is_no_workspace_a_command_says_how_to_begin_one(tmp_path: Path, small: World, words: str):
    said = World(tmp_path, small.at)(*words.split())
    assert said.code == 3
    assert "is no workspace" in said.err and "`orchestrator init DIR`" in said.err
    assert "db upgrade" not in said.err


def test_check_finds_broken_promises(told: World, tmp_path: Path):
    assert told.json("db", "check")["ok"] is True
    world = World(tmp_path / "copy", told.at)
    shutil.copytree(told.folder, world.folder)
    with sqlite3.connect(world.folder / ".orchestrator" / "orchestrator.db") as connection:
        connection.execute("update message set state = 'sent' where state = 'held'")
        connection.execute("update consent_current set state = 'withdrawn' where customer_id = 1")
    said = world("--json", "db", "check")
    assert said.code == 1
    broken = {p["promise"]: p["broken"] for p in said.data["promises"] if p["broken"]}
    assert broken == {
        "no message went out without an allowing decision in the log": 1,
        "every message that was sent, withdrawn or lost has its outcome in the log": 1,
        "what stands as current consent follows from the ledger": 1,
    }
    assert "restore the database" in world("db", "check").out


# ---- doctor ---------------------------------------------------------------------------------------------------------


def findings(world: World, *arguments: str) -> dict[str, dict]:
    return {f["what"]: f for f in world("--json", "doctor", *arguments).data["findings"]}


def test_a_fresh_workspace_is_told_what_comes_first(small: World):
    found = findings(small)
    assert found["database"]["state"] == "bad"
    assert "orchestrator db upgrade" in found["database"]["todo"]
    assert small("doctor").code == 1


def test_all_is_looked_at(told: World):
    found = findings(told)
    assert [name for name, f in found.items() if f["state"] == "bad"] == []
    assert list(found) == [
        "workspace", "settings", "sending", "safety", "database", "keys", "erasures", "channels", "in force",
        "sender", "ruleset", "pauses", "ticks", "queue", "seal",
        "uncertain", "people inside", "zones", "places", "vouchers", "complaints", "managers", "zone data",
    ]  # fmt: skip
    assert "tzdata" in found["zone data"]["text"]
    assert told("doctor").code == 0


def test_accounts_without_a_manager_are_told_where_a_journey_has_tasks_for_one(small: World):
    call = "journey: calls\nunit: account\ntrigger: api\nsteps: [ { task: account_manager, message: Call } ]\n"
    path = small.folder / "journeys" / "calls.yaml"
    path.write_text(call)
    declared = small.folder / "journeys" / "workspace.yaml"
    declared.write_text(
        declared.read_text().replace("classes:\n", "classes:\n  b2b: { tiers: [std], unit: account }\n")
    )
    assert small("apply", "-m", "calls", "--yes").code == 0
    rows = [{"key": "nord", "class": "b2b"}, {"key": "south", "class": "b2b", "manager_email": "mara@example.com"}]
    assert small("import", "accounts", str(small.write("accounts.csv", rows))).code == 0
    found = findings(small)["managers"]
    assert found["state"] == "look"
    assert found["text"].startswith("1 account has no manager, and calls give tasks to managers")
    assert "1 account has no manager, and nobody gets what is for them" in " ".join(small("plan", "--all").out.split())
    path.write_text(call.replace("message:", "otherwise: customer-care, message:"))
    assert small("apply", "-m", "calls", "--yes").code == 0
    assert findings(small)["managers"]["state"] == "ok"


def test_what_is_amiss_is_found(told: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = World(tmp_path / "copy", told.at)
    shutil.copytree(told.folder, world.folder)
    told.at.now = MONDAY + timedelta(hours=6)  # nobody has ticked since ben's hold was over
    (world.folder / ".orchestrator" / "orchestrator.keys").chmod(0o644)
    with sqlite3.connect(world.folder / ".orchestrator" / "orchestrator.db") as connection:
        connection.execute("update message set state = 'uncertain' where state = 'sent'")
        connection.execute("update customer set timezone = 'Mars/Olympus' where key = 'dora'")
        connection.execute("update batch set lease_until = 1, lease_owner = 'gone' where done_at is null")
    with wiring.connected(world.folder) as wired, wired.store.write() as conn:
        versions.pause(conn, "hello", by="mara", reason="typo", now=MONDAY)
    path = world.folder / "journeys" / "hello.yaml"
    path.write_text(path.read_text().replace("2 days", "3 days"))
    found = findings(world)
    assert found["keys"]["state"] == "bad" and "chmod 600" in found["keys"]["todo"]
    assert found["pauses"]["state"] == "look" and "by mara (typo)" in found["pauses"]["text"]
    assert found["uncertain"]["state"] == "look"
    assert found["queue"]["state"] == "look" and "worker that died" in found["queue"]["text"]
    assert found["in force"]["state"] == "look" and found["in force"]["todo"] == "orchestrator plan"
    assert "Mars/Olympus" in found["zones"]["text"]
    assert world("doctor").code == 1
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert findings(world, "--prefect")["prefect"]["state"] == "bad"


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [("", "ok", "no legal advice"), ("2031-01-01", "look", "a newer one, 2031-01-01+"),
     ("2020-01-01", "look", "an older one, 2020-01-01+")],
)  # fmt: skip
def test_a_ruleset_newer_than_the_applied_one_is_found(
    told: World, monkeypatch: pytest.MonkeyPatch, version: str, state: str, words: str
):
    shipped = project.shipped_ruleset()
    dated = {path: re.sub(r'(?m)^version: "[0-9-]+"', f'version: "{version}"', text) for path, text in shipped.items()}
    monkeypatch.setattr(project, "shipped_ruleset", lambda: dated if version else shipped)
    found = findings(told)["ruleset"]
    assert (found["state"], words in found["text"]) == (state, True), found
    assert state == "ok" or "apply" in found["todo"] or "install" in found["todo"]


def test_people_whose_version_cannot_be_read_are_found(told: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = World(tmp_path / "copy", told.at)
    shutil.copytree(told.folder, world.folder)
    for name in ("journeys/workspace.yaml", "journeys/hello.yaml"):
        path = world.folder / name
        path.write_text(path.read_text().replace("order_placed", "purchase_made"))
    refused = world("apply", "-m", "renamed", "--yes")
    assert refused.code == 1 and "strands-people" in refused.err
    # An apply would not do it. A later program may read old versions more strictly, and then nobody is asked.
    monkeypatch.setattr(carry._Looking, "unreadable", lambda self, inside: [])
    assert world("apply", "-m", "renamed", "--yes").code == 0
    found = findings(world)["people inside"]
    assert found["state"] == "bad" and "4 in hello" in found["text"]
    assert "parked" in world("why", "ana", "hello").out


def test_wrong_settings_stop_the_look(small: World):
    (small.folder / "orchestrator.toml").write_text('[channels]\nemail = "pigeon"\n')
    assert small("db", "upgrade").code == 0
    os.environ.pop("ORCHESTRATOR_KEYS", None)
    assert small("apply", "-m", "x", "--yes").code == 0
    with wiring.connected(small.folder) as wired:
        assert wired.keys is not None
    found = findings(small)
    assert found["channels"]["state"] == "bad"
    assert "orchestrator.toml:2:" in found["channels"]["text"]
    assert found["sending"]["state"] == "look" and "no provider `pigeon` for email" in found["sending"]["text"]
    (small.folder / "orchestrator.toml").write_text("[channels\n")
    assert findings(small)["settings"]["state"] == "bad"
