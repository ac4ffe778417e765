"""The house: what the program has is in the documentation, and the documentation says nothing else.

Problem codes: test_codes. Commands: test_commands. Tables made of the program: test_generated. Examples: test_examples.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import channels.base
import orchestrator
from orchestrator import exporting, outbound, outcome, rules, settings, template
from orchestrator.jinja import Sandbox
from orchestrator.model import Kind
from orchestrator.proof import LINKS, Names
from orchestrator.rows import KINDS, RowReader
from orchestrator.steps import kinds
from orchestrator.trigger import _GOES_WITH
from orchestrator.workspace import nothing_declared
from tests.docs.pages import DOCS, README, ROOT, anchors, every_page, links, name_of, prose, rows, text_of
from tests.making import NOW

REFERENCE = DOCS / "reference"
PACKAGE = Path(orchestrator.__file__).parent


def section(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    after = text_of(page).partition(f"\n{heading}\n")[2]
    assert after, f"{name_of(page)} has no {heading}"
    return re.split(rf"^#{{1,{level}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """What the first column names, a row's several names each for itself."""
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])]


# ---- everything is documented ---------------------------------------------------------------------------------------


def test_every_step_kind_is_on_its_page():
    text = text_of(REFERENCE / "steps.md")
    for keyword in kinds():
        assert f"### `{keyword}`" in text or f"- `{keyword}`: " in text, keyword


def test_every_trigger_is_on_its_page():
    text = section(REFERENCE / "journey.md", "## Triggers")
    for trigger in _GOES_WITH:
        assert f"`{trigger}`" in text, trigger


def test_every_rule_is_on_the_page_of_reasons():
    named = {row[0] for row in rows(section(REFERENCE / "reasons.md", "## Codes of the rules"))}
    assert named == {rule or "any" for rule in rules.reasons()}


@pytest.mark.parametrize(
    ("heading", "declared"),
    [("## Codes of the text", outbound.REASONS), ("## Codes after the decision", outcome.REASONS)],
)
def test_every_reason_of_delivery_is_told_in_the_programs_own_words(heading, declared):
    found = [[cell for cell in row if cell not in ("text", "deny")] for row in rows(section(_REASONS, heading))]
    assert {code.strip("`"): told for code, told, _ in found} == dict(declared)
    assert all(what.endswith(".") for _, _, what in found)


_REASONS = REFERENCE / "reasons.md"


def test_every_reason_of_a_provider_is_told():
    assert set(first_cells(section(_REASONS, "## What providers say"))) == {r.value for r in channels.base.Reason}


def test_every_way_a_run_ends_is_told():
    """Collected from the engine's calls, and from the verbs that end runs."""
    files = ["engine.py", "carry.py", "steps/exit.py", "store/merging.py", "store/rights.py"]
    source = "\n".join((PACKAGE / name).read_text(encoding="utf-8") for name in files)
    pattern = r"""(?:\.end\(|\bEnd\(|ended=|because=|ended_because=)"([a-z_]+)\""""
    assert set(re.findall(pattern, source)) == set(first_cells(section(_REASONS, "## How a run ends")))


def test_every_setting_is_told():
    page = text_of(REFERENCE / "settings.md")
    told = set(re.findall(r"`([a-z]+\.[A-Za-z_]+)`", page))
    sections = settings.Settings.model_fields
    for name, field in sections.items():
        inner = getattr(type(field.default), "model_fields", None)
        for key in inner or ():
            assert f"{name}.{key}" in told
    assert {"channels", "senders"} <= {name.partition(".")[0] for name in told}
    assert {name.partition(".")[0] for name in told} - {"orchestrator", "prefect"} == set(sections)


def test_every_provider_is_told():
    from orchestrator.settings import providers

    assert first_cells(section(REFERENCE / "settings.md", "## Providers")) == sorted(providers(), key=_sandbox_first)


def _sandbox_first(name: str) -> tuple[bool, str]:
    return name != "sandbox", name


def test_every_variable_of_the_environment_is_told():
    sources = [p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py")]
    used = {name for text in sources for name in re.findall(r'"(ORCHESTRATOR_[A-Z]+)"', text)}
    assert used == set(first_cells(section(REFERENCE / "settings.md", "## From the environment")))


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_of_an_import_is_told(kind):
    found = first_cells(section(REFERENCE / "import.md", f"### `{kind}`"))
    assert set(found) == set(RowReader(kind, nothing_declared(), NOW)._standard_columns())
    assert len(found) == len(set(found))


def test_every_key_of_front_matter_is_told():
    table = rows(section(REFERENCE / "templates.md", "## Front matter"))
    told = {row[0].strip("`"): row[1] for row in table}
    media: dict[str, set[str]] = {}
    for medium, keys in template._OPTIONS.items():
        for key in keys:
            media.setdefault(key, set()).add(medium.value)
    assert {k: set(v.split(", ")) if v != "all" else set(template._OPTIONS) for k, v in told.items()} == media


def test_every_name_of_texts_is_told():
    names = {root.partition(".")[0] for root in Names(nothing_declared()).roots}
    page = section(REFERENCE / "templates.md", "## What a text may name")
    assert names <= set(re.findall(r"`([a-z]+)", page))
    assert set(re.findall(r"\b(?:links\.)?([a-z]+)`", page)) >= LINKS


def test_every_filter_is_told():
    page = section(REFERENCE / "templates.md", "## Filters")
    told = set(first_cells(page)) | set(re.findall(r"`([a-z]+)`", page.partition("And of Jinja's own")[2]))
    assert told - {"safe"} == {name for name in Sandbox({}).filters if not name.startswith("_")}


def test_bounds_of_texts_are_those_there_are():
    from orchestrator import jinja

    table = {row[0]: row[1] for row in rows(section(REFERENCE / "templates.md", "## Bounds"))}
    numbers = {what: int(re.sub(r"\D", "", told)) for what, told in table.items()}
    caps = template._CAPS
    assert numbers == {
        "rounds of all loops together": jinja.LOOPS,
        "characters of one value": jinja.LONG,
        **{key: caps[key] for key in ("subject", "preheader", "title", "body", "url")},
        "text of an SMS": 1_600,
        "text of an e-mail or letter": caps["text"],
        "page of an e-mail": caps["html"],
    }


def test_every_kind_of_field_is_told():
    heading = "### `attributes`, `records`, `events`: fields and their kinds"
    told = first_cells(section(REFERENCE / "workspace.md", heading))
    plain = {kind.value for kind in Kind} - {"choice", "tier"}  # a choice is written as a list, tiers come with a class
    assert plain <= set(told)


# ---- rooms ----------------------------------------------------------------------------------------------------------


def test_every_module_has_its_line_among_the_rooms():
    told = first_cells(section(DOCS / "architecture.md", "## Rooms"))
    modules = {p.name for p in PACKAGE.glob("*.py") if p.name != "__init__.py"}
    packages = {f"{p.name}/" for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert set(told) == modules | packages | {"channels/"}
    assert len(told) == len(set(told))


# ---- words ----------------------------------------------------------------------------------------------------------

SYNONYMS = {
    r"users?": "customer, or people",
    r"subscribers?": "customer",
    r"contact lists?|mailing lists?|distribution lists?": "segment",
    r"campaigns?(?!-orchestrator)": "journey",
    r"workflows?|automations?|drips?": "journey",
    r"blasts?": "a journey with an `at` trigger",
    r"cron ?jobs?": "tick, or schedule",
    r"blacklists?|blocklists?|do-not-contact": "suppression",
}
"""Words of other houses, and ours for them."""


def test_every_word_of_the_glossary_is_used():
    words = [row[0] for row in rows(text_of(DOCS / "glossary.md"))]
    elsewhere = " ".join(text_of(p) for p in every_page() if p.name != "glossary.md")
    elsewhere += " ".join(p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py"))
    lower = elsewhere.lower()
    unused = [w for words_ in words for w in words_.split(", ") if not re.search(rf"\b{re.escape(w.lower())}", lower)]
    assert unused == []


def test_the_glossary_is_in_order():
    words = [row[0] for row in rows(text_of(DOCS / "glossary.md"))]
    assert words == sorted(words)


PAGES = [p for p in every_page() if p.name not in ("glossary.md", "dependencies.md") and "decisions" not in p.parts]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_use_our_words(page):
    text = re.sub(r"\]\([^)]*\)", "]", prose(page))
    for pattern, ours in SYNONYMS.items():
        found = re.search(rf"(?<![\w-])({pattern})(?![\w-])", text, re.IGNORECASE)
        said = "" if found is None else found[0]
        assert not said, f"`{said}`: we say {ours}"


# ---- links and length -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*every_page(), ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_lead_somewhere(page):
    for shown, to in links(page):
        if re.match(r"[a-z]+:", to):
            continue
        path, _, anchor = to.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"[{shown}]({to})"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"[{shown}]({to})"


def test_every_page_is_linked_from_the_index():
    linked = {(DOCS / to.partition("#")[0]).resolve() for _, to in links(DOCS / "index.md")}
    decisions = set((DOCS / "decisions").glob("0*.md"))
    assert set(DOCS.rglob("*.md")) - decisions - {DOCS / "index.md"} <= linked
    listed = {(DOCS / "decisions" / to).resolve() for _, to in links(DOCS / "decisions" / "README.md")}
    assert decisions <= listed


def test_the_readme_is_short_and_leads_to_the_rest():
    assert len(text_of(README).splitlines()) <= 120
    assert "docs/index.md" in {to for _, to in links(README)}


def test_nothing_of_a_machine_is_on_a_page():
    for page in every_page():
        assert not re.search(r"/(root|home|work)/", text_of(page)), name_of(page)


def test_every_column_of_the_export_is_on_its_page():
    found = {row[0].strip("`"): row[1] for row in rows(section(REFERENCE / "audit-export.md", "## Columns"))}
    assert found == dict(exporting.COLUMNS)
