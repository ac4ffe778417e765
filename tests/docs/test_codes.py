"""docs/codes.md has every code a problem can have, and its examples are examples of it."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from orchestrator.problems import Problem, Problems, ProjectError
from orchestrator.project import load_files, shipped_ruleset
from orchestrator.settings import FILE, parse_settings
from tests.docs.pages import DOCS, ROOT, rows, text_of
from tests.docs.problem_codes import codes, formatted
from tests.golden.workspace import GOOD

PAGE = DOCS / "codes.md"
WITHOUT_EXAMPLE = {
    "draft-with-people-inside",
    "file-too-large",
    "no-environment",
    "no-recipients",
    "no-workspace",
    "not-utf-8",
    "strands-people",
    "stray-file",
    "too-deep",
    "too-many-files",
    "too-many-values",
    "unknown-provider",
    "unreadable-file",
}
"""What no single line of a file shows."""


def told() -> dict[str, list[str]]:
    """Code → the other cells of its row."""
    return {row[0].strip("`"): row[1:] for row in rows(text_of(PAGE))}


def _journey(steps: str = "  - email: welcome\n", **keys: str) -> dict[str, str]:
    declared = {"trigger": "{ event: signed_up }"} | keys
    head = "".join(f"{key}: {value}\n" for key, value in declared.items())
    return {"journeys/other.yaml": f"journey: other\n{head}steps:\n{steps}"}


def _attached(name: str) -> dict[str, str]:
    path = next(path for path in GOOD if path.startswith("templates/email/"))
    return {path: GOOD[path].replace("---\n", f"---\nattachments: [{name}]\n", 1)}


def _segment(line: str) -> dict[str, str]:
    name = line.partition(":")[0]
    kept = [old for old in GOOD["journeys/segments.yaml"].splitlines() if not old.startswith(f"{name}:")]
    return {"journeys/segments.yaml": "\n".join([*kept, line]) + "\n"}


def _workspace(line: str) -> dict[str, str]:
    return {"journeys/workspace.yaml": GOOD["journeys/workspace.yaml"] + line + "\n"}


PROGRAMME = {
    "journeys/workspace.yaml": GOOD["journeys/workspace.yaml"].replace(", points: number", "")
    + "program: { b2c: { challenges: { first: { when: count(order_placed) >= 1, badge: critic } } } }\n"
}
DEALS = {
    "journeys/workspace.yaml": GOOD["journeys/workspace.yaml"].replace(
        "records:\n", "records:\n  deal: { of: account, key: deal_id, stage: { one_of: [lead, won] } }\n"
    )
}
PUSH = "templates/push/news.yaml"
MORE: dict[str, dict[str, str]] = {
    "survey-without-link": {
        "journeys/workspace.yaml": GOOD["journeys/workspace.yaml"]
        + "surveys: { nps: { title: T, questions: { likely: { kind: nps, ask: How? } } } }\n",
        "templates/email/survey-nps.mjml": GOOD["templates/email/welcome.mjml"],
    }
    | _journey("  - survey: nps\n"),
    "complaint-closes-itself": _workspace(
        "complaints: { event: order_placed, closed_by: order_placed, task: { to: care, within: 2 days, text: Call } }"
    ),
    "enter-closed": _journey("  - enter: quiet\n")
    | {
        "journeys/quiet.yaml": "journey: quiet\nstatus: draft\ntrigger: { event: signed_up }\n"
        "steps: [ email: welcome ]\n"
    },
    "at-without-day": _journey(trigger="{ at: 09:00 }"),
    "bad-key": _journey() | {"journeys/odd.yaml": "journey: odd\n? [a, b]\n: c\n"},
    "bad-locale": _workspace("locale: English"),
    "bad-ruleset": {
        "ruleset/hours.yaml": shipped_ruleset()["ruleset/hours.yaml"].replace("country: DE", "country: Germany")
    },
    "branch-without-if": _journey("  - branch:\n      - steps: [ { sms: hello } ]\n"),
    "closed-field": _workspace("preferences: { fields: [first_name, email] }"),
    "bad-overwrite": _workspace("preferences: { overwrite: sometimes }"),
    "bad-survey": _workspace("surveys: { nps: { title: Hello, questions: {} } }"),
    "unknown-survey": _workspace("surveys: { nps: { title: Hello, questions: { likely: { kind: nps, ask: Why } } } }")
    | {
        "templates/sms/hello.txt": '---\ntopic: contract-notices\n---\nTell us: {{ links.survey("npss") }}\n',
    },
    "misspelt-team": _journey("  - task: account_manger\n    message: Call\n"),
    "never-comes": _journey(trigger="{ date: 10 days before birthday, at: 09:00 }"),
    "day-and-date": _journey(trigger="{ date: on birthday, at: 2027-03-01 09:00 }"),
    "else-with-if": _journey("  - branch:\n      - if: tier >= gold\n        else: [ { sms: hello } ]\n"),
    "empty-update": _journey("  - update: {}\n"),
    "every-year-wait": _journey("  - wait_until: every year on birthday\n"),
    "holdout-everybody": _journey(holdout="100%"),
    "hours-never-meet": {
        "journeys/workspace.yaml": GOOD["journeys/workspace.yaml"].replace(
            "  quiet_hours:\n", "  quiet_hours:\n    sms: { open: 21:30-23:00 }\n"
        )
    },
    "hours-from-date": _journey(trigger="{ date: 5 hours before birthday }"),
    "long-text": {"templates/sms/hello.txt": "---\ntopic: loyalty\n---\nŁódź calls\n" + "and calls " * 9 + "\n"},
    "missing-body": {PUSH: "topic: loyalty\ntitle: News\n"},
    "missing-title": {PUSH: "topic: loyalty\nbody: News\n"},
    "mixed-currency": _segment("big-spenders: 5 EUR + 3 USD > 7 EUR"),
    "money-expression": _journey('  - emit: order_placed\n    properties: { amount: "= points" }\n'),
    "bad-variant": _workspace("templates: { variant_by: account.name }"),
    "no-stages": _journey(trigger="{ stage_change: contract }", unit="account"),
    "stalled-where": DEALS | _journey(trigger="{ stage_change: deal, stalled: 30 days }", unit="account"),
    "unknown-stage": DEALS | _journey(trigger="{ stage_change: deal, to: [wonn] }", unit="account"),
    "no-roles": _journey("  - email: welcome\n    to: decision_maker\n"),
    "not-a-date": _journey(trigger="{ date: every year on favourite_store }"),
    "not-in-scope": _journey(audience="contract.auto_renew"),
    "number-too-long": _journey(owner="1234567890123456789"),
    "one-alternative": _journey("  - first_of: [ { email: welcome } ]\n    within: 2 days\n"),
    "one-trigger": _journey(trigger="{ event: signed_up, segment_entry: regulars }"),
    "several-addressees": _journey("  - email: welcome\n    to: [account_manager, office@acme.example]\n"),
    "split-without-arms": _journey("  - split: {}\n"),
    "unknown-choice": _segment('still-looking: count(order_placed where channel == "shop", 30 days) > 0'),
    "unknown-badge": _segment('still-looking: badge("critik")') | PROGRAMME,
    "unknown-class": _segment("still-looking: class == b2x"),
    "unknown-currency": _segment("big-spenders: sum(order_placed.amount, 365 days) > 100 EUX"),
    "unknown-function": _segment("still-looking: cnt(order_placed, 90 days) >= 2"),
    "unknown-key-of-run": _journey(reentry="once per month"),
    "unknown-property": _journey(trigger="{ event: signed_up, key: order_id }"),
    "unknown-record": _segment("still-looking: any(contract where ends is in past) or any(order.ends)"),
    "unknown-record-or-event": _journey(trigger="{ date: 90 days before contrat.ends, at: 09:00 }", unit="account"),
    "unknown-role": _journey(
        "  - email: renewal\n    to: owner\n",
        trigger="{ date: 90 days before contract.ends }",
        unit="account",
        recipients="{ role: admin }",
    ),
    "unknown-zone": _journey(trigger='{ schedule: "0 9 * * mon", timezone: Europe/Berln }'),
    "no-such-file": _attached("price.pdf"),
    "bad-attachment": {**_attached("run.exe"), "templates/attachments/run.exe": "AAAA"},
    "unused-at": _journey("  - wait_until: { time: 09:00 }\n    at: 10:00\n"),
    "unused-key": _journey(trigger="{ event: signed_up, waves: 3 }"),
    "update-contact": _journey("  - update: { customer.favourite_store: Berlin }\n", unit="account"),
    "emit-of-the-programme": PROGRAMME | _journey("  - emit: draw_won\n"),
    "update-standard-field": _journey("  - update: { email: x@example.com }\n"),
    "winner-alone": _journey("  - split: { a: { share: 100% } }\n    winner: { by: order_placed, after: 3 days }\n"),
    "winner-confidence": _journey(
        "  - split: { a: { share: 50% }, b: { share: 50% } }\n"
        "    winner: { by: order_placed, after: 3 days, min_confidence: 100% }\n"
    ),
    "wait-for-what": _journey("  - wait_for: { timeout: 3 days }\n"),
    "waves-without-every": _journey(trigger="{ at: 2027-03-01 09:00, waves: 3 }"),
}
"""Files laid over the sound workspace, for codes that no golden case has."""
SETTINGS = {
    "bad-setting": '[web]\npublic_url = "acme.example"\n',
    "secret-inline": '[database]\nurl = "postgresql://crm:secret@db.example/crm"\n',
    "settings-syntax": "[outbox]\npath = outbox\n",
    "unknown-setting": '[outbox]\npathh = "outbox"\n',
}


def _found(files: dict[str, str]) -> tuple[Problem, ...]:
    try:
        return load_files(files, lint=True).warnings
    except ProjectError as error:
        return error.problems


@cache
def shown() -> dict[str, set[str]]:
    """Code → lines that were told to have it, in golden files and in the cases above."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "tests").rglob("*.out"):
        for code, line in _golden(path):
            found[code].add(line)
    for files in MORE.values():
        _add(found, GOOD | files, _found(GOOD | files))
    for text in SETTINGS.values():
        problems = Problems()
        parse_settings(text, problems)
        _add(found, {FILE: text}, tuple(problems.found))
    return found


def _golden(path: Path) -> list[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    pattern = r"^(?:error|warning)\[([\w-]+)\]: .*\n --> \S+\n *\|\n *\d+ \| (.*)$"
    return [(code, line.strip()) for code, line in re.findall(pattern, text, re.MULTILINE)]


def _add(found: dict[str, set[str]], files: dict[str, str], problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        lines = files.get(problem.span.file, "").splitlines()
        if problem.span.line <= len(lines):
            found[problem.code].add(lines[problem.span.line - 1].strip())


def test_the_page_has_every_code_and_no_other():
    assert set(told()) == set(codes())


def test_no_code_stands_twice():
    listed = [row[0] for row in rows(text_of(PAGE))]
    assert len(listed) == len(set(listed))


def test_codes_put_together_are_all_known_to_this_test():
    """A new f-string for a code has to be resolved in problem_codes.py."""
    assert set(formatted()) == {"unknown-{}", "missing-{}"}
    assert set(formatted()["unknown-{}"]) == {"proof.py", "setting.py", "shapes.py", "values.py"}


def test_every_code_that_tests_have_seen_is_one_of_these():
    assert set(shown()) <= codes()


@pytest.mark.parametrize("code", sorted(MORE))
def test_each_case_here_has_its_code(code):
    assert code in {p.code for p in _found(GOOD | MORE[code])}


@pytest.mark.parametrize("code", sorted(told()))
def test_a_row_says_what_to_do_and_its_example_is_one(code):
    wrong, what_to_do, example = told()[code]
    assert wrong.endswith(".")
    assert what_to_do.endswith(".")
    if example == "—":
        assert code in WITHOUT_EXAMPLE
    else:
        assert example.strip("`") in shown().get(code, set()), sorted(shown().get(code, set()))
