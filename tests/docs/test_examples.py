"""What pages show as YAML, TOML and conditions is right: it is read as the program reads it."""

from __future__ import annotations

import re
import tempfile
import textwrap
from pathlib import Path

import pytest

from channels.base import Medium
from channels.null import Null
from orchestrator.problems import Problem, Problems, ProjectError, render
from orchestrator.project import load_files, read_files
from orchestrator.rehearsal import rehearsals
from orchestrator.rehearse import Stage
from orchestrator.settings import parse_settings
from tests.docs.pages import DOCS, README, ROOT, Block, blocks, every_page

STARTER = {path: text for path, text in read_files(ROOT).items() if path.startswith("journeys/")}
MORE_WORDS = {
    "\n  customer:\n": "\n  customer:\n    newsletter_series: text\n    last_seen: instant\n",
    "{ order_id: key, amount": "{ store: text, pages: number, order_id: key, amount",
    "  contract_signed:": "  renewal_at_risk: { contract_id: key, reason: text }\n  contract_signed:",
    "\n  ten-off:": "\n  pool-ten: {}\n  summer-voucher: {}\n  ten-off:",
}
"""Declared for the pages' sake, over what the starter workspace declares."""
ELSEWHERE = {"unknown-template", "unknown-journey", "one-alternative"}
"""What is no mistake of an example: it names texts and journeys that are not here."""


def workspace() -> dict[str, str]:
    path = "journeys/workspace.yaml"
    text = STARTER[path]
    for before, after in MORE_WORDS.items():
        assert before in text
        text = text.replace(before, after, 1)
    more = "\nvip-club-two: class == b2c\n"
    return STARTER | {path: text, "journeys/segments.yaml": STARTER["journeys/segments.yaml"] + more}


def mistakes(files: dict[str, str], below: dict[str, str] | None = None) -> str:
    """Problems of the workspace with these files laid over, as `check` shows them; "" when there are none."""
    whole = (workspace() if below is None else below) | files
    found: tuple[Problem, ...] = ()
    try:
        load_files(whole)
    except ProjectError as error:
        found = tuple(p for p in error.problems if p.code not in ELSEWHERE)
    return render(found, whole)


def shown(info: str) -> list[Block]:
    return [block for page in every_page() for block in blocks(page, info)]


@pytest.mark.parametrize("block", shown("yaml journey"), ids=str)
def test_a_journey_on_a_page_is_a_journey(block):
    assert mistakes({"journeys/example.yaml": block.text}) == ""


TRIGGERS = (
    "trigger: { event: order_placed }",
    "unit: account\ntrigger: { date: 90 days before contract.ends }",
    "unit: account\ntrigger: { date: on invoice.due }",
)
"""What may be in scope of an example."""


@pytest.mark.parametrize("block", [*shown("yaml steps"), *blocks(DOCS / "reference" / "steps.md", "yaml")], ids=str)
def test_steps_on_a_page_are_steps(block):
    """Together in one journey, or each in one of its own: some examples show several that no journey has at once."""
    together = tried(block.text)
    if together:
        alone = [tried(item) for item in re.split(r"^(?=- )", block.text, flags=re.MULTILINE) if item.strip()]
        assert len(alone) > 1, together
        assert not any(alone), "\n\n".join(alone)


def tried(steps: str) -> str:
    """What is told of steps in the journey that fits them best; "" when they are right in one."""
    before = "- email: renewal-notice\n" if "email:renewal-notice" in steps else ""
    body = textwrap.indent(before + steps, "  ")
    told = []
    for trigger in TRIGGERS:
        told.append(mistakes({"journeys/example.yaml": f"journey: example\n{trigger}\nsteps:\n{body}"}))
        if not told[-1]:
            return ""
    return min(told, key=len)


@pytest.mark.parametrize("block", shown("yaml triggers"), ids=str)
def test_triggers_on_a_page_are_triggers(block):
    for line in block.text.splitlines():
        unit = "account" if "contract." in line or "opportunity" in line else "customer"
        text = f"journey: example\nunit: {unit}\ntrigger:\n  {line}\nsteps: [ {{ email: welcome }} ]\n"
        assert mistakes({"journeys/example.yaml": text}) == ""


@pytest.mark.parametrize("block", shown("yaml segments"), ids=str)
def test_segments_on_a_page_are_segments(block):
    path = "journeys/segments.yaml"
    assert mistakes({path: workspace()[path] + block.text}) == ""


@pytest.mark.parametrize("block", shown("yaml workspace"), ids=str)
def test_parts_of_a_workspace_on_a_page_are_such_parts(block):
    path = "journeys/workspace.yaml"
    text, own = workspace()[path], block.text
    if events := re.search(r"^events:\n((?: .*\n)+)", own, re.MULTILINE):  # beside the starter's, which its rules name
        own = own.replace(events[0], "", 1)
        for name in re.findall(r"^  (\w+):", events[1], re.MULTILINE):
            text = re.sub(rf"^  {name}:.*\n", "", text, flags=re.MULTILINE)
        text = text.replace("\nevents:\n", f"\nevents:\n{events[1]}", 1)
    for key in re.findall(r"^(\w+):", own, re.MULTILINE):
        text = re.sub(rf"^{key}:.*\n(?: .*\n|\n)*", "", text, flags=re.MULTILINE)
    # Alone: the starter's journeys name what its own programme has.
    assert mistakes({path: text + own}, {}) == ""


@pytest.mark.parametrize("block", shown("yaml test"), ids=str)
def test_tests_on_a_page_pass(block):
    """Read against the starter workspace, and run."""
    project = load_files(dict(read_files(ROOT)))
    (test,) = rehearsals({"journeys/example.test.yaml": block.text}, project)
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        verdict = Stage(Path(folder), {medium: Null(medium) for medium in Medium}).run(test, project)
    assert verdict.passed, verdict.failures


@pytest.mark.parametrize("block", shown("toml"), ids=str)
def test_settings_on_a_page_are_settings(block):
    problems = Problems()
    assert parse_settings(block.text, problems) is not None, problems.found


def test_every_yaml_block_is_one_that_is_tested():
    kinds = {"yaml journey", "yaml steps", "yaml triggers", "yaml segments", "yaml workspace", "yaml test"}
    steps = set(map(str, blocks(DOCS / "reference" / "steps.md", "yaml")))
    for page in every_page():
        for block in blocks(page):
            if block.info.startswith("yaml"):
                assert block.info in kinds or str(block) in steps, f"{block}: say what it is, such as `yaml steps`"


def test_the_readme_shows_a_journey_of_twelve_lines():
    (journey,) = blocks(README, "yaml journey")
    assert len(journey.text.splitlines()) == 12
