"""`segment`, `customer`, `journeys`, `outbox`, `log`."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.cli.looking import _show_log
from tests.cli.conftest import MONDAY, At, World, golden

# ---- segment --------------------------------------------------------------------------------------------------------


def test_a_condition_is_counted_and_listed(told: World):
    data = told.json("segment", "class == b2c and tier >= silver", "--limit", "2")
    assert (data["count"], data["total"], data["of"], data["name"]) == (5, 6, "customer", None)
    assert data["members"][0] == {"key": "ana", "class": "b2c", "tier": "gold", "account": None}
    assert len(data["members"]) == 2
    golden("segment.txt", told("segment", "class == b2c and tier >= silver", "--limit", "2").out, told)


def test_a_segment_by_name(told: World):
    data = told.json("segment", "gold-members")
    assert (data["count"], data["name"], data["condition"]) == (1, "gold-members", 'class == "b2c" and tier >= "gold"')


def test_a_condition_that_is_wrong(told: World):
    said = told("segment", "class == b2c and teir >= gold")
    assert said.code == 1
    golden("segment-wrong.txt", said.out, told)
    document = told("--json", "segment", "class == b2c and teir >= gold")
    assert (document.code, document.data["problems"][0]["code"]) == (1, "unknown-field")


def test_a_segment_that_is_not_there(told: World):
    said = told("segment", "gold-membres")
    assert said.code == 2
    assert "did you mean `gold-members`?" in said.err
    assert told("segment", "gold-members", "--of", "account").code == 2
    assert told("segment", "gold-members", "--limit", "-1").code == 2


def test_of_accounts_and_as_of_another_instant(told: World):
    assert told.json("segment", "class == b2c", "--of", "account")["count"] == 0
    asked = ("segment", "count(signed_up, 7 days) >= 1", "--now")
    assert told.json(*asked, "2027-03-02T09:00:00+01:00")["count"] == 5
    assert told.json(*asked, "2027-04-02T09:00:00+01:00")["count"] == 0
    assert told(*asked, "tomorrow").code == 2


# ---- customer -------------------------------------------------------------------------------------------------------


def test_a_customers_own_record(told: World):
    said = told("customer", "ana")
    assert said.code == 0
    golden("customer.txt", said.out, told)
    data = told.json("customer", "ana")
    assert data["profile"]["email"] == "ana@example.com"
    assert [c["state"] for c in data["consents"]] == ["granted"]
    assert [r["journey"] for r in data["runs"]] == ["hello"]
    kinds = [e["kind"] for e in data["timeline"]]
    assert {"event", "journey", "consent", "outcome", "tier"} <= set(kinds)
    assert [e["at"] for e in data["timeline"]] == sorted((e["at"] for e in data["timeline"]), reverse=True)


def test_a_customer_without_a_zone_is_told_so(told: World):
    assert told.json("customer", "noor")["zones"] == []
    assert "no text or push goes out" in told("customer", "noor").out


def test_a_customer_who_is_not_there(told: World):
    said = told("customer", "zoe")
    assert (said.code, said.out) == (2, "")
    assert "there is no customer `zoe`" in said.err


# ---- journeys -------------------------------------------------------------------------------------------------------


def test_the_journeys_in_force(told: World):
    found = {j["journey"]: j for j in told.json("journeys")["journeys"]}
    hello = found["hello"]
    assert hello["triggers"] == ["event signed_up"]
    assert (hello["state"], hello["unit"], hello["entered"], hello["inside"]) == ("live", "customer", 4, 4)
    assert hello["sent_7_days"] == 1
    assert found["golden"]["entered"] == 0
    wide, narrow = told("journeys"), told("journeys", width=60)
    assert "comes into the segment gold-members" in wide.out
    assert all(len(line.rstrip()) <= 60 for line in narrow.out.splitlines())


def test_nothing_in_force_is_3(small: World):
    assert "db upgrade" in small("journeys").err
    assert small("db", "upgrade").code == 0
    said = small("journeys")
    assert said.code == 3
    assert "run `orchestrator apply` first" in said.err


# ---- outbox ---------------------------------------------------------------------------------------------------------


def test_what_the_sandbox_kept_and_what_waits(told: World):
    data = told.json("outbox")
    assert data["kept"] == 1
    assert Path(data["page"]).is_file()
    assert (told.folder / ".orchestrator" / "outbox" / data["newest"][0]["file"]).is_file()
    assert data["states"] == {"denied": 2, "held": 1, "sent": 1}
    (waiting,) = data["waiting"]
    assert (waiting["state"], waiting["journey"], waiting["due_at"]) == ("held", "hello", "2027-03-01T12:00:00Z")
    said = told("outbox")
    assert "1 message kept" in said.out
    assert "1 message waiting" in said.out


def test_looking_makes_nothing(tmp_path: Path, clock: At):
    """A folder that was mistyped stays as it is."""
    world = World(tmp_path / "mistyped", clock)
    asked = (("why", "ana"), ("customer", "ana"), ("segment", "x"), ("journeys",), ("outbox",), ("log",), ("doctor",))
    for arguments in (*asked, ("plan",), ("apply", "-m", "x", "--yes"), ("db", "check"), ("db", "stats")):
        said = world(*arguments)
        assert said.code in (1, 3), said
        assert "Traceback" not in said.err
    path = tmp_path / "customers.csv"
    path.write_text("key,class\na,b2c\n")
    assert world("import", "customers", str(path)).code == 3
    assert not world.folder.exists()


def test_an_outbox_with_nothing_in_it(small: World):
    assert small("apply", "-m", "x", "--yes").code == 0
    said = small("outbox")
    assert said.code == 0
    assert "nothing yet" in said.out
    assert "Nothing is waiting" in said.out
    assert small.json("outbox")["page"] is None


# ---- log ------------------------------------------------------------------------------------------------------------


def test_the_log_and_its_filters(told: World):
    def lines(*arguments: str) -> list[dict]:
        found: list[dict] = told.json("log", *arguments)["lines"]
        return found

    everything = lines()
    assert [line["id"] for line in everything] == sorted((line["id"] for line in everything), reverse=True)
    assert {line["verdict"] for line in everything} == {"allow", "sent", "hold", "deny"}
    assert {line["to_key"] for line in lines("--customer", "cleo")} == {"cleo"}
    assert {line["verdict"] for line in lines("--verdict", "deny")} == {"deny"}
    assert lines("--journey", "golden") == []
    assert lines("--since", "1 hour") == everything
    assert lines("--since", "2027-03-01T11:00:00+01:00") == []
    assert len(lines("--limit", "1")) == 1


def test_a_message_in_the_log(told: World):
    number = told.json("log", "--customer", "cleo")["lines"][0]["message_id"]
    assert told.json("log", "--message", str(number))["reason"] == "no_consent"
    assert "by the rule consent" in told("log", "--message", str(number)).out
    assert told("log", "--message", "4711").code == 2


def test_operations_are_in_the_log(told: World):
    """A pause and its end are about no message, and on the record like everything else."""
    copy = World(told.folder.parent / "paused", told.at)
    shutil.copytree(told.folder, copy.folder)
    assert copy("pause", "hello", "--reason", "typo", "--by", "mara").code == 0
    assert copy("resume", "hello").code == 0
    resumed, paused = copy.json("log", "--limit", "2")["lines"]
    assert (resumed["kind"], resumed["verdict"], resumed["message_id"]) == ("operation", "resumed", None)
    assert (paused["verdict"], paused["reason"], paused["by"]) == ("paused", "typo", "mara")
    assert paused["about"] == {"scope": "hello", "meanwhile": "hold"}
    for width in (100, 60):
        shown = copy("log", "--limit", "2", width=width).out
        assert "resumed" in shown and "scope hello" in shown and "by mara" in shown


@pytest.mark.parametrize(
    "arguments", [("--limit", "0"), ("--since", "lately"), ("--customer", "zoe"), ("--since", "3 x")]
)
def test_wrong_filters_are_usage(told: World, arguments: tuple[str, ...]):
    said = told("log", *arguments)
    assert said.code == 2
    assert "Traceback" not in said.err


def test_the_log_at_sixty_columns(told: World):
    said = told("log", width=60)
    assert all(len(line.rstrip()) <= 60 for line in said.out.splitlines()[:-2])
    assert "no_consent" in said.out


def test_numbers_and_instants_beyond_all_measure_are_usage(told: World):
    huge = "9" * 30
    for arguments in (
        ("log", "--message", huge),
        ("log", "--message", "-5"),
        ("log", "--limit", huge),
        ("segment", "gold-members", "--limit", huge),
        ("outbox", "--limit", "-1"),
        ("customer", "ana", "--limit", "0"),
        ("why", "ana", "--now", "0001-01-01T00:00:00+00:00"),
        ("segment", "gold-members", "--now", "9999-12-31T23:59:59+00:00"),
    ):
        said = told(*arguments)
        assert (said.code, said.out) == (2, ""), arguments


def test_a_reader_who_has_read_enough_is_no_error(told: World):
    command = [sys.executable, "-m", "orchestrator.cli", "-w", str(told.folder), "--json", "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()  # before anything was written
        assert running.stderr.read() == b""
        assert running.wait(60) == 0


def test_no_name_in_the_log_is_broken_where_it_can_stand_whole():
    def line(number: int, journey: str, step: str) -> dict:
        common = {"at": MONDAY, "reason": "consent_withdrawn", "addressee": "customer", "to_key": "member-0005"}
        return common | {"kind": "decision", "verdict": "deny", "message_id": number, "journey": journey, "step": step}

    lines = [line(1, "points-programme-first-steps", "email:points-programme-first"), line(2, "hello", "email:hello")]
    about = {"scope": "points-programme-first-steps", "meanwhile": "hold and say why to whoever asks", "by": "mara"}
    lines.append(line(3, "", "") | {"kind": "operation", "verdict": "paused", "by": "mara", "about": about})
    for width, whole in ((150, True), (110, True), (90, True), (80, True), (60, True), (40, False)):
        _show_log(Console(width=width, file=(into := io.StringIO()), color_system=None), lines, 30, "nothing")
        shown = into.getvalue()
        assert max(len(row.rstrip()) for row in shown.splitlines()) <= width
        assert ("email:points-programme-first" in shown) is whole, width
        assert ("points-programme-first-steps" in shown) is whole, width
