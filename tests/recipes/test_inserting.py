"""What a file lacks is put in; what somebody wrote stays as it was, to the letter."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.problems import Problems
from orchestrator.recipes.inserting import CannotInsert, block, inserted, lacking
from orchestrator.source import parse


def plain(text: str) -> Any:
    node = parse(text, "x.yaml", Problems())
    assert node is not None
    return node.plain()


@pytest.mark.parametrize(
    ("text", "wanted", "after"),
    [
        ("", {"a": {"b": "text"}}, "a:\n  b: text\n"),
        ("a: 1\n", {"b": "two words"}, "a: 1\nb: two words\n"),
        ("a: 1", {"b": 2}, "a: 1\nb: 2\n"),
        ("a: 1\n\nz: 2   # last\n", {"b": 2}, "a: 1\n\nz: 2   # last\n\nb: 2\n"),
        ("# head\n", {"a": 1}, "# head\n\na: 1\n"),
        # into a block, behind its last line, before what follows
        (
            "events:\n  one: { a: text }  # 1st\n  # note\n  two: { b: text }\n\n# next\nr: 1\n",
            {"events": {"three": {"c": "money"}}},
            "events:\n  one: { a: text }  # 1st\n  # note\n  two: { b: text }\n  three: { c: money }\n\n# next\nr: 1\n",
        ),
        # into what stands between braces
        ("events: { one: { a: text } }\n", {"events": {"one": {"b": "key"}}}, "events: { one: { a: text, b: key } }\n"),
        ("e: {one: {a: text}}  # x\n", {"e": {"two": {}}}, "e: {one: {a: text}, two: {}}  # x\n"),
        ("e: {}\n", {"e": {"two": 1}}, "e: { two: 1 }\n"),
        ("e: {\n  one: 1,\n}\n", {"e": {"two": 2}}, "e: {\n  one: 1,\n  two: 2,\n}\n"),
        # what is there wins
        ("a: 1\nb: [x]\n", {"a": 2, "b": ["y"], "c": ["p", "q"]}, "a: 1\nb: [x]\nc: [p, q]\n"),
        # texts that would be read as something else are quoted
        (
            "a: 1\n",
            {"b": "true", "c": "1", "d": "x: y", "e": "# no"},
            'a: 1\nb: "true"\nc: "1"\nd: "x: y"\ne: "# no"\n',
        ),
        # a block scalar's end is not the file's
        ("a:\n  t: |\n    one\n    two\n\nb: 1\n", {"a": {"u": 1}}, "a:\n  t: |\n    one\n    two\n  u: 1\n\nb: 1\n"),
    ],
)
def test_what_is_lacking_is_put_in(text: str, wanted: dict[str, Any], after: str) -> None:
    assert inserted(text, wanted) == after


def test_a_long_line_is_broken() -> None:
    found = inserted("e: { one: { a: text } }\n", {"e": {"one": {f"property_{n}": "text" for n in range(12)}}})
    assert max(map(len, found.splitlines())) <= 120
    assert plain(found)["e"]["one"]["property_11"] == "text"
    long = inserted("a: 1\n", {"when": " and ".join(f"country_{n} is set" for n in range(12))})
    assert "when: >-\n  country_0" in long
    assert max(map(len, long.splitlines())) <= 120


def test_no_file_is_spoilt_that_cannot_be_read() -> None:
    for text in ("- a\n", "just words\n", "a: [\n"):
        with pytest.raises(CannotInsert):
            inserted(text, {"b": 1})


WORDS = st.text(alphabet="abcdeé :#-'\"{}[],&*!|>%@01~\n", min_size=0, max_size=12)
NAMES = st.text(alphabet="abcxyz_", min_size=1, max_size=6).filter(lambda name: name not in ("y", "n"))
VALUES = st.recursive(
    WORDS | st.integers(-99, 99) | st.booleans(),
    lambda deeper: st.dictionaries(NAMES, deeper, max_size=4) | st.lists(deeper, max_size=3),
    max_leaves=12,
)
MAPS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(have=MAPS, wanted=MAPS, flow=st.sampled_from([False, None]))
def test_everything_is_there_afterwards_and_no_line_is_lost(have: Any, wanted: Any, flow: bool | None) -> None:
    text = yaml.safe_dump(have, default_flow_style=flow, allow_unicode=True, width=90, sort_keys=False)
    before = parse(text, "x.yaml", Problems())
    if before is None or before.kind != "map":
        return  # YAML 1.1's writer has ways that 1.2 does not read
    try:
        after = inserted(text, wanted)
    except CannotInsert:
        return  # said, and nothing spoilt
    assert lacking(after, wanted) == {}
    kept = iter(after.splitlines())
    for line in text.splitlines():  # in order, each as it was or with something more before its closing braces
        start = line.rstrip().rstrip("}").rstrip()
        assert any(found.startswith(start) for found in kept), (line, after)


@settings(max_examples=100, deadline=None)
@given(wanted=MAPS)
def test_what_is_written_from_nothing_reads_back(wanted: Any) -> None:
    assert plain(block(wanted)) == wanted
