"""`test`: what passes, what fails and how it is told, what is covered, exit codes."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.cli import testing
from tests.cli.conftest import World, golden

GIVEN = """\
  journey: hello
  clock: 2027-03-01 10:00 Europe/Berlin
  given:
    customers:
      - { key: ana, class: b2c, tier: gold, consent: [email news] }
      - { key: ben, class: b2c, tier: silver }
  when:
    - { after: 1 hour, ana: signed_up }
    - { after: 1 hour, ben: signed_up }
"""
PASSES = f"""\
- test: gold hears twice
{GIVEN}  expect:
    - 2027-03-01 11:00 email hello to ana
    - 2027-03-03 11:00 email again to ana
    - 2027-03-01 email hello to ben refused because no_consent
- test: nobody is written to by night
{GIVEN}  also: allowed
  never: [ 2027-03-01 22:00-23:00 email ]
"""
FAILS = f"""\
- test: gold hears twice
{GIVEN}  expect:
    - 2027-03-01 11:00 email hello to ana
    - 2027-03-04 email again to ana
    - 2027-03-01 11:00 email hello to ben
    - 2027-03-03 tier of ana is silver
    - ben left hello because goal
  never:
    - email hello to ana
    - email to ben because frequency_cap
"""
WRONG = """\
test: nothing here is right
clock: 2027-03-01 10:00 Europe/Berlin
given:
  customers: [ { key: ana, class: b2c, birthday: tomorrow } ]
  vouchers: { ten-euro: 5 }
expect:
  - 2027-03-01 welcome email for ana
  - 2027-03-01 email hello to anna
"""


def put(world: World, text: str, name: str = "hello.test.yaml") -> Path:
    path = world.folder / "journeys" / name
    path.write_text(text, encoding="utf-8")
    return path


def test_all_pass(small):
    put(small, PASSES)
    said = small("test", "--coverage")
    assert said.code == 0, said
    golden("test-passes.txt", said.out, small)


def test_what_fails_is_told_with_both_sides(small):
    put(small, FAILS)
    said = small("test")
    assert said.code == 1 and said.err == ""
    golden("test-fails.txt", said.out, small)


def test_mistakes_in_a_test_are_told_and_none_is_run(small):
    put(small, WRONG)
    said = small("test")
    assert said.code == 1 and said.out == ""
    golden("test-wrong.out", said.err, small)
    assert small("check").code == 1


def test_check_reads_tests_too(small):
    assert "test" not in small("check").out
    put(small, PASSES)
    said = small("check")
    assert (said.code, "2 tests" in said.out) == (0, True)
    put(small, WRONG)
    assert {p["code"] for p in small("check", "--format", "json").data["problems"]} == {
        "bad-row",
        "not-in-programme",
        "bad-expectation",
        "unknown-person",
    }


def test_one_document(small):
    put(small, FAILS)
    said = small("--json", "test", "--coverage")
    assert said.code == 1
    (one,) = said.data["tests"]
    assert (said.data["passed"], said.data["failed"], one["line"]) == (0, 1, 1)
    assert [f["kind"] for f in one["failures"]].count("missing") == 2
    assert {c["journey"]: c["share"] for c in said.data["coverage"]}["golden"] == 0
    assert one["timeline"][0]["got"]


def test_some_of_them(small):
    put(small, PASSES)
    put(small, FAILS, "fails.test.yaml")
    assert "2 tests passed" in small("test", "journeys/hello.test.yaml").out
    assert "1 test passed" in small("test", "-k", "NIGHT").out
    assert small("test", "--journey", "hello").code == 1
    assert small("test", "--journey", "hullo").code == 2
    assert small("test", "--journey", "golden").code == 3
    assert small("test", "nowhere").code == 2


def test_where_there_is_none(small):
    said = small("test")
    assert said.code == 3 and "NAME.test.yaml" in said.err


def test_many_are_run_by_several_processes_and_told_in_order(small, monkeypatch):
    monkeypatch.setattr(testing, "A_PROCESS", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    put(small, PASSES)
    put(small, FAILS, "fails.test.yaml")
    together = small("test")
    monkeypatch.setattr(testing, "A_PROCESS", 100)
    assert together == small("test")
    assert (together.code, "1 of 3 tests failed" in together.out) == (1, True)
