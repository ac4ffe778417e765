"""What mkdocs does not do itself: docs/index.md is the menu, each problem code has a page, files of the root, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
GUESTS = {"../CHANGELOG.md": "changelog.md", "../benchmarks/README.md": "benchmarks.md", "../README.md": "readme.md"}
"""Pages that lie outside docs/, by the way in which pages at its root link to them."""
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.md)\)")
_ROW = re.compile(r"^\| `(?P<code>[\w-]+)` \|(?P<rest>.*)\|$")


def on_config(config: Any) -> Any:
    """The menu, from the headings and links of docs/index.md, so that a page is listed in one place only."""
    menu: list[dict[str, Any]] = [{"Home": "index.md"}]
    section: list[dict[str, str]] | None = None
    for line in (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = []
            menu.append({line[3:]: section})
        elif section is not None and line.startswith(("- ", "| ")):
            section += [{title: GUESTS.get(page, page)} for title, page in _LINK.findall(line)[:1]]
    config.nav = menu
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what is made here: a page for every code, and the guests."""
    for outside, page in GUESTS.items():
        text = (ROOT / outside.removeprefix("../")).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_without_links(text)))
    for code, text in code_pages((ROOT / "docs" / "codes.md").read_text(encoding="utf-8")).items():
        files.append(File.generated(config, f"codes/{code}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to guests lead to their pages here; codes in their table lead to theirs."""
    if page.file.src_uri == "codes.md":
        markdown = re.sub(r"^\| `([\w-]+)` \|", r"| [`\1`](codes/\1.md) |", markdown, flags=re.MULTILINE)
    for outside, inside in GUESTS.items():
        markdown = markdown.replace(f"]({outside}", f"]({inside}")
    return markdown


def code_pages(text: str) -> dict[str, str]:
    """A page for each code of docs/codes.md: what is wrong, what to do, an example."""
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif match := _ROW.match(line):
            wrong, todo, example = (cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", match["rest"]))
            shown = "" if example == "—" else f"\n## For example\n\n{example}\n"
            found[match["code"]] = (
                f"# `{match['code']}`\n\n*{section}*\n\n{_up(wrong)}\n\n## What to do\n\n{_up(todo)}\n{shown}\n"
                "[All problems](../codes.md)\n"
            )
    return found


def _up(text: str) -> str:
    """Links of a page, one folder further down."""
    return re.sub(r"\]\((?!#)([\w./-]+\.md)", r"](../\1", text)


def _without_links(text: str) -> str:
    """Links of a page that lies elsewhere lead nowhere from here; only those to the web stay."""
    return re.sub(
        r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]+\)", "", text)
    )
