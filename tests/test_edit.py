"""What an edit changes, in words, and what becomes of somebody at a step: without a database."""

from __future__ import annotations

import pytest

from orchestrator.edit import Fate, differences, fate, nearest, renamed
from orchestrator.journey import Journey
from orchestrator.project import load_files
from tests.outgoing import files, journey

OLD = """\
- email: hello
- wait: 3 days
- branch:
    - if: tier == gold
      steps: [ { email: second, id: b } ]
    - else: [ { sms: short } ]
- email: town
"""
NEW = """\
- email: hello
  id: greeting
- wait: 5 days
- wait_until: { time: 09:00, days: weekdays }
- branch:
    - if: tier >= gold
      steps: [ { email: hello, id: b } ]
    - else: [ { email: town } ]
"""


def read(steps: str, more: str = "") -> tuple[Journey, str]:
    text = journey("a", steps, more=more)
    return load_files(files({"a": text})).journeys["a"], text


MAP = "audience: class == b2c\nin_flight: { migrate: { email:hello: greeting, sms:short: exit, wait:3-days: finish } }"


def test_the_difference_in_words():
    (old, was), (new, now) = read(OLD), read(NEW, MAP)
    told = [(d.kind, d.what, d.was, d.now) for d in differences(old, new, was, now)]
    assert told[2:] == [
        ("-", "step sms:short", "template: short", ""),
        ("~", "step", "email:hello", "greeting"),
        ("~", "step", "wait:3-days", "wait:5-days"),
        ("+", "step wait_until", "", "wait_until: at 09:00 days mon, tue, wed, thu, fri"),
        ("~", "step branch", 'if tier == "gold" steps b, else sms:short', 'if tier >= "gold" steps b, else email:town'),
        ("~", "template of b", "second", "hello"),
    ]
    assert told[0] == ("+", "audience", "", "class == b2c")
    assert not differences(old, old, was, was)


@pytest.mark.parametrize(
    ("step", "becomes"),
    [
        ("", Fate("stays", "")),
        ("email:hello", Fate("moves", "greeting")),
        ("wait:3-days", Fate("finishes")),
        ("sms:short", Fate("leaves")),
        ("b", Fate("stays", "b")),
        ("email:town", Fate("stays", "email:town")),
        ("email:gone", Fate("stranded")),
    ],
)
def test_what_becomes_of_somebody(step: str, becomes: Fate):
    assert fate(read(NEW, MAP)[0], read(OLD)[0], step) == becomes


@pytest.mark.parametrize(("word", "becomes"), [("finish", "finishes"), ("exit", "leaves")])
def test_one_word_for_everybody(word: str, becomes: str):
    new, old = read(NEW, f"in_flight: {word}")[0], read(OLD)[0]
    assert {fate(new, old, s.id).becomes for s in old.every_step()} == {becomes}


def test_a_step_of_another_kind_is_come_to_anew():
    new = read(NEW, "in_flight: { migrate: { sms:short: wait:5-days, wait:3-days: wait:5-days } }")[0]
    old = read(OLD)[0]
    assert fate(new, old, "sms:short").anew and not fate(new, old, "wait:3-days").anew
    assert fate(new, None, "wait:3-days").anew  # of a version that nobody can read nothing is known


def test_what_was_most_likely_meant():
    (old, _), (new, _) = read(OLD), read(NEW)
    assert renamed(old, new) == {"email:hello": "greeting", "wait:3-days": "wait:5-days"}
    assert nearest(new, old, "wait:3-days") == "wait:5-days"
    assert nearest(new, old, "email:hello") == "greeting"
    assert nearest(new, None, "email:twon") == "email:town"
