"""Wrong texts: what is told, where, with which hint; and that a mistake is told once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.problems import Problems, Span, render
from orchestrator.template import compile_text, load_templates
from tests.templates.declared import VOCABULARY, email, load, sms

BAD = Path(__file__).parent / "templates" / "bad"
CASES = sorted(BAD.glob("*.txt"))
SEVERAL = {"two-at-once": 2}


def files_of(case: Path) -> dict[str, str]:
    """A case holds several files, each behind a line `=== PATH`."""
    sections = case.read_text(encoding="utf-8").removeprefix("=== ").split("=== ")
    return {head: body for head, _, body in (section.partition("\n") for section in sections)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_mistake_is_told_once_with_its_place_and_a_hint(case: Path):
    files = files_of(case)
    _, problems = load(files)
    told = render(problems.sorted(), {f"templates/{path}": text for path, text in files.items()})
    assert told + "\n" == case.with_suffix(".out").read_text(encoding="utf-8")
    assert len(problems.errors) == SEVERAL.get(case.stem, 1)
    for problem in problems.found:
        lines = files[problem.span.file.removeprefix("templates/")].splitlines()
        assert 1 <= problem.span.line <= len(lines)
        assert 1 <= problem.span.col <= len(lines[problem.span.line - 1]) + 1


def test_all_mistakes_of_all_files_are_told_at_once():
    files = sms("{{ customer.a }}", path="sms/one.txt") | sms("{{ customer.b }}", path="sms/two.txt", head="topic: x")
    files |= email("<mj-foo />") | sms("good", path="sms/good.txt")
    templates, problems = load(files)
    assert sorted(p.code for p in problems.found) == ["unknown-name", "unknown-name", "unknown-tag", "unknown-topic"]
    assert [t.name for t in templates] == ["good"], "what is right is loaded all the same"


def test_a_mistake_in_a_snippet_is_one_mistake_however_many_include_it():
    files = {"snippets/foot.mjml": "<mj-text>{{ tiar }}</mj-text>\n<mj-foo />\n"}
    for name in ("a", "b", "c"):
        files |= email('{% include "snippets/foot.mjml" %}', path=f"email/{name}.mjml")
    _, problems = load(files)
    assert [p.code for p in problems.sorted()] == ["unknown-name"]
    files["snippets/foot.mjml"] = "<mj-text>x</mj-text>\n<mj-foo />\n"
    _, problems = load(files)
    assert [(p.code, str(p.span)) for p in problems.found] == [("unknown-tag", "templates/snippets/foot.mjml:2:1")]


@pytest.mark.parametrize(
    ("source", "inset"), [("{{ acount.name }} opened", 0), ('"{{ acount.name }} opened"', 1)], ids=["plain", "quoted"]
)
def test_a_text_in_a_journey_is_placed_in_its_line(source: str, inset: int):
    problems = Problems()
    span = Span("journeys/a.yaml", 7, 20, 7, 20 + len(source))
    made = compile_text(source.strip('"'), span, VOCABULARY, problems)
    (problem,) = problems.found
    assert (problem.code, problem.span.line, problem.span.col) == ("unknown-name", 7, 20 + inset + 3)
    assert problem.hint == "did you mean `account`?"
    assert made.render({}) == {"text": ""}


PIECES = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", " if ", " for ", " in ", "endif", "endfor", "set ", " x", " = ", "|", "date",
     "customer", ".", "first_name", "tier", "'", '"', "(", ")", "[", "]", "<", ">", "/", "<mj-text>", "</mj-text>",
     "<mj-raw>", "</mj-raw>", "<mj-style>", "<!--", "-->", "include", "snippets/a.mjml", "raw", "endraw", "-", "+",
     "\n", "---\n", "subject:", "topic: loyalty\n", "zqj0jqz", "zqj99jqz", "&amp;", "<p", "=", "{", "}"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join))
def test_no_text_brings_a_traceback(text: str):
    files = email(text) | {"sms/x.txt": text, "mail/x.html": text, "push/x.yaml": text, "snippets/a.mjml": text}
    files = {f"templates/{path}": body for path, body in files.items()}
    files["templates/email/y.mjml"] = "---\nsubject: x\ntopic: loyalty\n---\n" + text
    templates = load_templates(files, VOCABULARY, problems := Problems())
    assert problems.errors or len(templates) == 5
    for problem in problems.found:
        assert problem.message and problem.span.line >= 1 and problem.span.col >= 1


DEEP = {
    "parens": "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
    "sum": "{{ 1" + " + 1" * 20_000 + " }}",
    "ifs": "{% if customer.first_name %}" * 300 + "x" + "{% endif %}" * 300,
    "loops": "{% for n in [1] %}" * 25 + "x" + "{% endfor %}" * 25,
    "ifs in ifs of snippets": "{% include 'snippets/s0.txt' %}",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_deeper_than_the_stack_is_told(text: str):
    problems = Problems()
    files = {"templates/sms/a.txt": f"---\ntopic: offers\n---\n{text}\n"}
    for n in range(12):
        below = f"{{% include 'snippets/s{n + 1}.txt' %}}" if n < 11 else "x"
        opened = "{% for n in [1] %}" * 3
        files[f"templates/snippets/s{n}.txt"] = opened + below + "{% endfor %}" * 3
    load_templates(files, VOCABULARY, problems)
    assert {(p.code, p.span.file) for p in problems.errors} == {("text-syntax", "templates/sms/a.txt")}
    assert "nested too deeply" in problems.errors[0].message
