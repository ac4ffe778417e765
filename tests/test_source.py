"""Strict YAML 1.2 with places: what a value is, where it stands, and what is refused in which words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.problems import Problems, Span, render
from orchestrator.source import MAX_DEPTH, Node, canonical, decode, digest, parse

FILE = "a.yaml"


def good(text: str) -> Node:
    problems = Problems()
    node = parse(text, FILE, problems)
    assert node is not None and not problems.found, render(problems.sorted(), {FILE: text})
    return node


def bad(text: str) -> tuple[str, str, str]:
    """Code, place and message of the one problem."""
    problems = Problems()
    parse(text, FILE, problems)
    assert len(problems.found) == 1, render(problems.sorted(), {FILE: text})
    found = problems.found[0]
    return found.code, f"{found.span.line}:{found.span.col}", found.message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("21:00", "21:00"),
        ("1:30:00", "1:30:00"),
        ("2027-03-28", "2027-03-28"),
        ("2027-03-28T09:00:00Z", "2027-03-28T09:00:00Z"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("=", "="),
        ("'12'", "12"),
        ('"true"', "true"),
        ('""', ""),
        ("45%", "45%"),
        ("3 days", "3 days"),
    ],
)
def test_core_schema(written: str, meant: object) -> None:
    value = good(f"a: {written}\n" if written != "-" else "a: '-'\n").get("a")
    assert value is not None
    assert value.value == meant and type(value.value) is type(meant)


def test_infinities_and_nan_are_floats() -> None:
    node = good("a: [.inf, -.Inf, .nan]")
    values = node.plain()["a"]
    assert values[:2] == [float("inf"), float("-inf")] and values[2] != values[2]


def test_places_of_keys_and_values() -> None:
    node = good("name: x\nsteps:\n  - email: welcome\n    from: 'me'\n")
    entry = node.entry("steps")
    assert entry is not None and entry.key_span == Span(FILE, 2, 1, 2, 6)
    step = entry.value.items[0]
    assert step.span == Span(FILE, 3, 5, 4, 15)
    assert step.get("from") is not None and step.get("from").span == Span(FILE, 4, 11, 4, 15)  # type: ignore[union-attr]
    assert entry.value.span == Span(FILE, 3, 3, 4, 15)


def test_a_comment_behind_the_last_value_is_no_part_of_it() -> None:
    assert good("a:\n  b: 1\n\n# the end\n\n").get("a").span == Span(FILE, 2, 3, 2, 7)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "word", "place"),
    [
        ("a: tier >= gold\n", "gold", (1, 12)),
        ("a: 'tier >= gold'\n", "gold", (1, 13)),
        ('a: "tier >= gold"\n', "gold", (1, 13)),
        ("a: >\n  tier >= silver\n  and tier <= gold\n", "gold", (3, 15)),
        ("a: |\n  tier\n    >= gold\n", "gold", (3, 8)),
        ("a: tier\n  >= gold\n", "gold", (2, 6)),
        ("a: 'tier\n  >= gold'\n", "gold", (2, 6)),
        ("ä: Größe >= gold\n", "gold", (1, 13)),
    ],
)
def test_places_inside_a_text(text: str, word: str, place: tuple[int, int]) -> None:
    node = good(text).entries[0].value
    span = node.at(node.text.index(word), len(word))
    assert (span.line, span.col, span.end_line, span.end_col) == (*place, place[0], place[1] + len(word))


def test_escapes_fall_back_to_the_whole() -> None:
    node = good('a: "\\u0074ier >= gold"\n').entries[0].value
    assert node.at(8, 4) == node.span


def test_an_empty_file_is_an_empty_map() -> None:
    for text in ("", "\n", "# only a comment\n", "---\n", "\ufeff"):
        node = good(text)
        assert node.kind == "map" and node.entries == ()


def test_keys_keep_their_text() -> None:
    assert [e.key for e in good("1: a\ntrue: b\n2027-01-01: c\nno: d\n").entries] == ["1", "true", "2027-01-01", "no"]


def test_aliases_are_values_of_their_own() -> None:
    node = good("a: &x [1, {b: 2}]\nc: *x\n")
    assert node.plain() == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}
    assert node.get("a") is not node.get("c") and node.get("a").items[1] is not node.get("c").items[1]  # type: ignore[union-attr]


REFUSED = [
    ("a: 1\nb: 2\na: 3\n", "duplicate-key", "3:1"),
    ("a: {b: 1, b: 2}\n", "duplicate-key", "1:11"),
    ("a:\n\tb: 1\n", "syntax", "2:1"),
    ("a: 1\n\tb: 2\n", "syntax", "2:1"),
    ("owner: x\njourney y\nunit: z\n", "syntax", "2:1"),
    ("journey y\nunit: z\n", "syntax", "1:1"),
    ("owner:x\nunit: z\n", "syntax", "1:6"),
    ("a: b: c\n", "syntax", "1:5"),
    ("a: 'it\nb: c\n", "syntax", "1:4"),
    ('a: "it\nb: "c"\n', "syntax", "1:4"),
    ("a: 'x' y\n", "syntax", "1:8"),
    ("a: [1, 2\nb: 3\n", "syntax", "1:4"),
    ("a: {b: 1\n", "syntax", "1:4"),
    ("a: [1 2}\n", "syntax", "1:8"),
    ("a:\n  b: 1\n c: 2\n", "syntax", "3:2"),
    ("a: 1\n  b: 2\n", "syntax", "2:3"),
    ("a: - b\n", "syntax", "1:4"),
    ("a:\n  - b\n  c: d\n", "syntax", "3:3"),
    ("a: [x]]\n", "syntax", "1:7"),
    ("a: }\n", "syntax", "1:4"),
    ("a: { b:, c: d }\n", "syntax", "1:7"),
    ("a: @x\n", "syntax", "1:4"),
    ("a: `x`\n", "syntax", "1:4"),
    ("a: %x\n", "syntax", "1:4"),
    ('a: "\\d"\n', "syntax", "1:5"),
    ("a: {{ name }}\n", "unquoted-braces", "1:4"),
    ("a: {{ name }} hello\n", "unquoted-braces", "1:4"),
    ("- {{ name }}\n", "unquoted-braces", "1:3"),
    ("a: !!python/object/apply:os.system ['x']\n", "tag", "1:4"),
    ("a: !mine x\n", "tag", "1:4"),
    ("a: ! x\n", "tag", "1:4"),
    ("a: !!str 5\n", "tag", "1:4"),
    ("<<: {a: 1}\n", "merge-key", "1:1"),
    ("a: *x\n", "alias", "1:4"),
    ("a: &x [*x]\n", "alias", "1:8"),
    ("a: 1\n---\nb: 2\n", "several-documents", "2:1"),
    ("? [a, b]\n: c\n", "bad-key", "1:3"),
    (": c\n", "syntax", "1:1"),
    ("a: { ?: c }\n", "bad-key", "1:7"),
    ("a: 1234567890123456789012\n", "number-too-long", "1:4"),
    ("a: x\x07y\n", "control-character", "1:5"),
    ("a: x\r\x1f\n", "control-character", "2:1"),
    ("a: x\u2028y\n", "control-character", "1:5"),
]


@pytest.mark.parametrize(("text", "code", "place"), REFUSED)
def test_refused(text: str, code: str, place: str) -> None:
    found = bad(text)
    assert found[:2] == (code, place), found


def test_not_utf_8() -> None:
    problems = Problems()
    assert decode("a: 1\nb: ä\n".encode("latin-1"), FILE, problems) is None
    assert [(p.code, p.span.line, p.span.col) for p in problems.found] == [("not-utf-8", 2, 4)]
    assert decode("\ufeffa: ä\n".encode(), FILE, Problems()) == "a: ä\n"


_LAYERS = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
_LAYERS += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\n".join(_LAYERS), id="ten to the twelfth"),
        pytest.param("[" * 500_000, id="lists"),
        pytest.param("- " * 400_000, id="dashes"),
        pytest.param("{a: " * 200_000, id="mappings"),
        pytest.param("".join(" " * i + "a:\n" for i in range(1_200)), id="stairs"),
        pytest.param("x" * 1_000_001, id="long"),
        pytest.param("a: [" + "1, " * 60_000 + "1]", id="many"),
    ],
)
def test_bombs_are_refused(text: str) -> None:
    """That they are is all that is said here: one that were followed would not come to an end."""
    problems = Problems()
    assert parse(text, FILE, problems) is None
    assert len(problems.found) == 1


def test_nesting_up_to_the_bound_is_read() -> None:
    good("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert bad("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH)[0] == "too-deep"


def test_canonical_form_forgets_comments_spacing_quotes_and_flow() -> None:
    one = good("a: 1   # one\nb:\n  - x\n  - 'y'\n")
    two = good('\n\na:   1\nb: [ x, "y" ]\n')
    assert canonical(one) == canonical(two)
    assert canonical(one) != canonical(good("a: '1'\nb: [x, y]\n"))
    assert canonical(one) != canonical(good("a: 1\nb: [y, x]\n"))


def test_digest_tells_lists_of_texts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc") != digest("abc") and digest("a", "b") == digest("a", "b")


ANY_TEXT = st.text(alphabet=st.sampled_from(list("ab:-{}[]\"'#&*!|>%@`,?\n\t .0~<=é\\")), max_size=60)


@given(ANY_TEXT)
def test_any_text_is_read_or_told(text: str) -> None:
    problems = Problems()
    node = parse(text, FILE, problems)
    assert (node is not None) or problems.errors
    render(problems.sorted(), {FILE: text})
    lines = text.splitlines() or [""]
    for found in problems.found:
        assert (found.span.end_line, found.span.end_col) > (found.span.line, found.span.col), found
        assert 1 <= found.span.line <= len(lines) and 1 <= found.span.col <= len(lines[found.span.line - 1]) + 1, found
    for inner in node.walk() if node is not None else ():
        assert inner.span.line >= 1
        for offset in range(len(inner.text)):
            at = inner.at(offset)
            assert inner.span.line <= at.line <= inner.span.end_line


WRITABLE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=8)
LEAVES = WRITABLE | st.integers(-(10**12), 10**12) | st.booleans() | st.none()


@given(
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_is_read_as_itself(value: object) -> None:
    node = good(json.dumps({"a": value}, ensure_ascii=False))
    assert node.plain() == {"a": value}
