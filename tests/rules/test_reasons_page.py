"""docs/reference/reasons.md lists every code a rule may give, with the rule's own words, and no other."""

import re
from pathlib import Path

from orchestrator.rules import reasons

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reasons.md"
ROW = re.compile(r"^\| (\w+) \| `(\w+)` \| ([\w, ]+) \| (.+?) \| (.+?) \|$")


def rows() -> list[tuple[str, ...]]:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Codes of the rules\n")[2].partition("\n## ")[0]
    lines = section.splitlines()
    return [found.groups() for line in lines if (found := ROW.match(line))]


def test_the_page_has_every_code_in_the_rules_own_words() -> None:
    declared = {(rule or "any", code): told for rule, codes in reasons().items() for code, told in codes.items()}
    assert {(rule, code): told for rule, code, _, told, _ in rows()} == declared


def test_every_row_says_what_to_do() -> None:
    assert len(rows()) > 20
    for rule, code, say, _, what in rows():
        assert set(say.split(", ")) <= {"allow", "hold", "deny"}, (rule, code)
        assert what.endswith("."), (rule, code)


def test_codes_are_plain_and_told_in_a_sentence() -> None:
    for codes in reasons().values():
        for code, told in codes.items():
            assert re.fullmatch(r"[a-z_]+", code)
            assert told.endswith(".") or told.endswith("…")
