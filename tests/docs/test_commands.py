"""Every command that a page shows is one that the program takes, and every command is on the page of commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from cyclopts import App

from orchestrator.cli import build
from tests.docs.pages import DOCS, blocks, commands, every_page, text_of

SHOWN = [(f"{block}: {line}", line) for page in every_page() for block, line in commands(page)]


def every_command(app: App | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The commands by their words: ("db", "upgrade")."""
    app = build() if app is None else app
    for name in app:
        if name.startswith("-"):
            continue
        inner = app[name]
        nested = list(every_command(inner, (*path, name)))
        yield from nested
        if inner.default_command is not None or not nested:
            yield (*path, name)


@pytest.mark.parametrize("line", [line for _, line in SHOWN], ids=[place for place, _ in SHOWN])
def test_a_command_on_a_page_is_one(line):
    words = shlex.split(line)[1:]
    for name in ("-w", "--workspace"):
        if name in words:
            at = words.index(name)
            del words[at : at + 2]
    words = [word for word in words if word != "--json"]
    command, bound, _ = build().parse_args(words, exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound is not None


def test_commands_are_shown_in_sh_blocks_only():
    """So that none escapes this test. The page of commands is made of the commands, and shows them as `console`."""
    for page in every_page():
        for block in blocks(page):
            if block.info not in ("sh", "console"):
                assert not re.search(r"^(\$ )?orchestrator ", block.text, re.MULTILINE), f"{block}: is it `sh`?"


def test_the_page_of_commands_has_every_command():
    page = text_of(DOCS / "reference" / "cli.md")
    missing = [" ".join(words) for words in every_command() if f"orchestrator {' '.join(words)}" not in page]
    assert missing == []
