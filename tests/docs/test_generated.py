"""Pages show the program's own tables and docstrings as they are now."""

import os
import re

import pytest

from orchestrator.steps import kinds
from tests.docs import generated
from tests.docs.pages import every_page, name_of, text_of

PAGES = [page for page in every_page() if "<!-- made of:" in text_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_generated_parts_are_current(page):
    text = text_of(page)
    fresh = generated.regenerated(text)
    if os.environ.get("REGEN_GOLDEN"):
        page.write_text(fresh, encoding="utf-8")
    assert text == fresh, "run this test once with REGEN_GOLDEN=1, and look at the change"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_markers_are_closed_and_known(page):
    text = text_of(page)
    names = re.findall(r"<!-- made of: (.+?) -->", text)
    assert [match["name"] for match in generated.PART.finditer(text)] == names
    assert set(names) <= set(generated.PARTS)


def test_every_part_is_on_a_page():
    shown = {m["name"] for page in PAGES for m in generated.PART.finditer(text_of(page))}
    assert shown == set(generated.PARTS)


def test_every_step_kind_is_in_one_group():
    grouped = [keyword for group in generated.GROUPS.values() for keyword in group]
    assert sorted(grouped) == sorted(kinds())
