"""The documentation as a site: its links lead somewhere, every page is in its menu, every code has a page."""

import os
import re
import subprocess
import sys

import pytest

from tests.docs import problem_codes
from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow
def test_it_builds_with_strict_links_and_a_page_for_every_code(site):
    for code in problem_codes.codes():
        page = (site / "codes" / f"{code}.html").read_text(encoding="utf-8")
        assert "What to do" in page, code


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site):
    for page in (site / "index.html", site / "guide" / "marketer.html"):
        fetched = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text(encoding="utf-8")
        )
        assert not fetched


def test_every_page_is_in_the_menu():
    listed = set(re.findall(r"\]\(([^)#]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8")))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"}
    alone = {page for page in pages if not page.startswith("decisions/0")} - listed
    assert not alone, "docs/index.md is the site's menu: a page that it does not name is not found"
