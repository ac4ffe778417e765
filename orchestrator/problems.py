"""What a person wrote wrongly: placed, coded, explained; collected, never thrown one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a source file. Lines and columns count from 1; `end_col` is one past the last character."""

    file: str
    line: int
    col: int
    end_line: int
    end_col: int

    @classmethod
    def whole(cls, file: str) -> Span:
        """The first character of a file, for a problem that concerns the file as such."""
        return cls(file, 1, 1, 1, 2)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `code` is stable and documented (docs/codes.md); `message` says what is wrong; `hint` what to do."""

    code: str
    message: str
    span: Span
    hint: str = ""
    severity: Severity = "error"


class Problems:
    """Collects problems while a workspace is read, so that all of them are told at once."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def error(self, code: str, message: str, span: Span, hint: str = "") -> None:
        self.found.append(Problem(code, message, span, hint))

    def warning(self, code: str, message: str, span: Span, hint: str = "") -> None:
        self.found.append(Problem(code, message, span, hint, "warning"))

    @property
    def errors(self) -> list[Problem]:
        return [p for p in self.found if p.severity == "error"]

    def sorted(self) -> tuple[Problem, ...]:
        return tuple(sorted(self.found, key=lambda p: (p.span, p.code, p.message)))


class ProjectError(Exception):
    """The workspace cannot be used. Carries every problem found, errors and warnings."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        errors = sum(p.severity == "error" for p in self.problems)
        super().__init__(f"{errors} problem{'' if errors == 1 else 's'} in the workspace")


class Conflict(Exception):
    """The stored state moved on (another apply, another worker): read again and decide again."""


def suggest(word: str, known: Iterable[str], called: Mapping[str, str] | None = None) -> str:
    """A hint such as "did you mean `gold`?", or the choices when nothing is near; empty when there are none.

    `called`: other names that people have for one of the choices, such as letter → mail."""
    import difflib

    choices = sorted({k for k in known if k})
    word = word[:80]  # nobody's slip is longer, and the search takes the square of it
    meant = (called or {}).get(word.lower())
    same = [c for c in choices if c.lower() == word.lower() or c == meant]
    near = same or difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    if choices and len(choices) <= 12:
        return "one of: " + ", ".join(f"`{c}`" for c in choices)
    return ""


def alike(one: str, other: str) -> bool:
    """Whether one of two names is most likely a slip for the other: `custmer-care` or `customer care` for
    `customer-care`. Names that differ in a number, or in words (`sales-austria`, `sales-australia`), are two."""
    parts = [re.split(r"[\s_.-]+", name.strip().casefold()) for name in (one, other)]
    whole = ["".join(of) for of in parts]
    if one == other or re.findall(r"\d+", whole[0]) != re.findall(r"\d+", whole[1]):
        return False
    if whole[0] == whole[1]:
        return True
    pairs = list(zip(*parts, strict=True)) if len(parts[0]) == len(parts[1]) else [(whole[0], whole[1])]
    return all(a == b or (max(len(a), len(b)) > 4 and _one_slip(a, b)) for a, b in pairs)


def _one_slip(one: str, other: str) -> bool:
    """Whether a letter too many, one too few, a wrong one, or two that changed places are all that differs."""
    short, long = sorted((one, other), key=len)
    if len(short) == len(long):
        at = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        turned = len(at) == 2 and at[1] == at[0] + 1 and (one[at[0]], one[at[1]]) == (other[at[1]], other[at[0]])
        return len(at) == 1 or turned
    return len(long) == len(short) + 1 and any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


def render(problems: Iterable[Problem], sources: Mapping[str, str]) -> str:
    """Problems as text, each with its line and a caret; `sources` maps file names to their text."""
    blocks = []
    for p in problems:
        head = f"{p.severity}[{p.code}]: {_printable(_short(p.message))}\n --> {p.span}"
        lines = sources.get(p.span.file, "").splitlines()
        if 1 <= p.span.line <= len(lines):
            line = _printable(lines[p.span.line - 1])
            end = p.span.end_col if p.span.end_line == p.span.line else len(line) + 1
            width = max(1, min(end, len(line) + 1) - p.span.col)
            line, before, width = _around(line, p.span.col - 1, width)
            gutter = " " * len(str(p.span.line))
            head += f"\n{gutter} |\n{p.span.line} | {line}\n{gutter} | {' ' * before}{'^' * width}"
        if p.hint:
            head += f"\n  = help: {_printable(_short(p.hint))}"
        blocks.append(head)
    return "\n\n".join(blocks)


LONGEST_LINE = 400
"""Characters of a source line, a message or a hint that are shown: a line of a megabyte tells nobody more."""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


def _around(line: str, before: int, width: int) -> tuple[str, int, int]:
    """The part of a line to be shown, and where the marked stretch stands in it."""
    if len(line) <= LONGEST_LINE:
        return line, before, width
    start = max(0, min(before - 40, len(line) - LONGEST_LINE))
    shown = ("…" if start else "") + line[start : start + LONGEST_LINE] + "…" * (start + LONGEST_LINE < len(line))
    before = before - start + bool(start)
    return shown, before, max(1, min(width, len(shown) - before))


def _printable(line: str) -> str:
    """One line that cannot move a terminal's cursor or colour it; one column for one character."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "·" for c in line)
