"""Whatever is done to a workspace's files: a project, or problems with places; no other exception, no hang."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.problems import Problems, ProjectError, render
from orchestrator.project import load_files, read_files
from orchestrator.settings import parse_settings
from tests.golden.workspace import GOOD

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = {path: text for path, text in read_files(ROOT).items() if path.startswith("journeys/")}
WORDS = sorted({w for text in (*SHIPPED.values(), *GOOD.values()) for w in re.findall(r"[\w.-]{3,}", text)})
TOKENS = [
    *"-:{}[]\"'#&*!|>%@`,?\n\t ()=<~.0\x00\x85\u2028é😀",
    ": ", "- ", "\n  ", "\n    ", "{{", "}}", "{%", "<<: ", "---\n", "*a", "&a ", "!!int ", "[]", "{}", ">-\n", "|\n",
    "null", "true", "no", "1e999", "99999999999999999999", "-1", "100%", "9999-12-31", "0000-00-00", "25:00", "1/0",
    " or ", " and ", " not ", " in ", " is ", " where ", "segment(", "(((", "days", "0 days", "999999 years",
    "every year on ", " before ", "1 per 0 days", "0 per day", "opened(", "any contact(", "count(", "sum(", "last(",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split("\n")
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        match draw(st.integers(0, 8)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = " " * draw(st.integers(0, 8)) + lines[at].lstrip()
            case 4:
                begin = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:begin] + lines[at][begin + draw(st.integers(1, 5)) :]
            case 5:
                begin = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:begin] + draw(st.sampled_from(TOKENS)) + lines[at][begin:]
            case 6 | 7:
                found = list(re.finditer(r"[\w.-]+", lines[at]))
                if found:
                    word = draw(st.sampled_from(found))
                    new = draw(st.sampled_from(WORDS) | st.sampled_from(TOKENS) | st.text(max_size=6))
                    lines[at] = lines[at][: word.start()] + new + lines[at][word.end() :]
            case _:
                lines[at:] = []
        text = "\n".join(lines)
    return text


def survives(files: dict[str, str]) -> None:
    try:
        load_files(files)
    except ProjectError as error:
        assert error.problems
        render(error.problems, files)
        for problem in error.problems:
            lines = files.get(problem.span.file, "").splitlines() or [""]
            assert 1 <= problem.span.line <= len(lines) + 1, problem
            line = lines[problem.span.line - 1] if problem.span.line <= len(lines) else ""
            assert 1 <= problem.span.col <= len(line) + 1, problem
            assert (problem.span.end_line, problem.span.end_col) > (problem.span.line, problem.span.col), problem
            assert problem.message and problem.code, problem


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(path for path in GOOD if path.startswith("journeys/")))
@given(data=st.data())
def test_a_mutated_file_gives_problems(path: str, data: st.DataObject) -> None:
    survives(GOOD | {path: data.draw(mutated(GOOD[path]))})


@pytest.mark.slow
@given(data=st.data())
def test_a_mutated_shipped_file_gives_problems(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(SHIPPED)))
    survives(SHIPPED | {path: data.draw(mutated(SHIPPED[path]))})


@given(st.text(st.sampled_from(list("abc:-{}[]\"'\n \t#&*")), max_size=40))
def test_any_journey_text_gives_problems(text: str) -> None:
    survives(GOOD | {"journeys/second.yaml": text})


TOML = (ROOT / "orchestrator.toml").read_text(encoding="utf-8")


@given(data=st.data())
def test_mutated_settings_give_problems(data: st.DataObject) -> None:
    text = data.draw(mutated(TOML))
    problems = Problems()
    found = parse_settings(text, problems)
    assert (found is None) == bool(problems.errors)
    render(problems.sorted(), {"orchestrator.toml": text})


@pytest.mark.parametrize(
    "steps",
    [
        "  - " + "branch: [ { else: [ { " * 15 + "exit: " + "} ] } ]" * 15,
        "".join("  " * (2 * n + 1) + "- branch:\n" + "  " * (2 * n + 3) + "- else:\n" for n in range(40)),
        "\n".join(f"  - email: welcome\n    id: m{n}" for n in range(3_000)),
        "\n".join("  - wait: 1 day" for _ in range(3_000)),
    ],
    ids=["deep-flow", "deep-block", "many-sends", "many-waits"],
)
def test_large_and_deep_journeys_take_bounded_time(steps: str) -> None:
    survives(GOOD | {"journeys/second.yaml": f"journey: second\ntrigger: api\nsteps:\n{steps}\n"})


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 2_000 + "tier >= gold" + ")" * 2_000,
        "not " * 3_000 + "email is set",
        " and ".join(["email is set"] * 2_000),
        "points > " + "1 + " * 2_000 + "1",
        "points > " + "-" * 3_000 + "1",
        "country in [" + ", ".join(["DE"] * 5_000) + "]",
        "email == " + '"' + "x" * 100_000 + '"',
        "points > " + "9" * 5_000,
    ],
    ids=["parentheses", "nots", "ands", "sum", "signs", "list", "text", "digits"],
)
def test_monstrous_conditions_take_bounded_time(condition: str) -> None:
    survives(GOOD | {"journeys/segments.yaml": GOOD["journeys/segments.yaml"] + f"monster: '{condition}'\n"})


def test_a_long_chain_of_segments_is_no_recursion() -> None:
    chain = "".join(f's{n}: in segment("s{n + 1}")\n' for n in range(800)) + "s800: email is set\n"
    survives(GOOD | {"journeys/segments.yaml": GOOD["journeys/segments.yaml"] + chain})
