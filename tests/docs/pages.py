"""The pages of the documentation as tests read them: their text, code blocks, tables and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"


def every_page() -> list[Path]:
    """README.md and all of docs/, in order of their paths."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    """A page as a test's id: its path in the repository."""
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. `info` is what stands behind the opening fence, such as `yaml journey`."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, info: str | None = None) -> list[Block]:
    """The code blocks of a page, or those of one kind."""
    whole = text_of(page)
    found = []
    for match in _FENCE.finditer(whole):
        inside = "\n".join(line.removeprefix(match["indent"]) for line in match["text"].splitlines())
        block = Block(page, whole.count("\n", 0, match.start()) + 1, match["info"].strip(), inside + "\n")
        if info is None or block.info == info:
            found.append(block)
    return found


def prose(page: Path) -> str:
    """A page without its code: no blocks, no `words like these`."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text_of(page)))


def rows(text: str) -> Iterator[list[str]]:
    """The rows of all tables in a text, cells stripped; without heads and rules."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("| ") or re.fullmatch(r"[| :-]+", line):
            continue
        if number + 1 < len(lines) and re.fullmatch(r"\|[| :-]+\|", lines[number + 1]):
            continue
        cells = re.split(r"(?<!\\)\|", line.strip()[1:-1])
        yield [cell.strip().replace("\\|", "|") for cell in cells]


def commands(page: Path) -> Iterator[tuple[Block, str]]:
    """Every line of the `sh` blocks that calls us, without its comment; a line that ends in a backslash goes on."""
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            written = re.sub(r"\s+#.*$", "", line).strip()
            if written.split(" ")[0] == "orchestrator":
                yield block, written


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(what is shown, where it leads) of each link outside code."""
    without = re.sub(r"`[^`\n]*`", "`", _FENCE.sub("", text_of(page)))
    yield from re.findall(r"\[([^\]\n]*)\]\(([^)\s]+)\)", without)


def anchors(page: Path) -> set[str]:
    """What `#…` of a page there is, made of its headings as GitHub does."""
    headings = re.findall(r"^#+ +(.+)$", _FENCE.sub("", text_of(page)), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", h)).strip().lower() for h in headings)
    return {h.replace(" ", "-") for h in plain}
