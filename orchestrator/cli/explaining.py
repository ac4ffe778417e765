"""`explain`: what a code means, from the pages of the documentation that tell them all. `schema`: for editors."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from orchestrator.cli import starter
from orchestrator.cli.terminal import FINE, CannotRun, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

PAGES = ("docs/codes.md", "docs/reference/reasons.md")
"""Relative to where the starter workspace is: in a checkout its root, in a wheel the starter's folder."""
_WRONG, _DO, _EXAMPLE = ("What is wrong", "What it means"), ("What to do", "What follows"), "For example"
_CELLS = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_WARNINGS = "Allowed, and most likely not meant"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the pages. `kind`: error or warning; of a reason its verdict. `where`: its section; `why`: why that
    section's mistakes matter; `rule`: who gives the reason; `example`: a line that has this problem, or none."""

    code: str
    kind: str
    where: str
    why: str
    wrong: str
    do: str
    example: str = ""
    rule: str = ""


def register(app: App) -> None:
    app.command(explain)
    app.command(schema)


def explain(code: str | None = None, /) -> int:
    """What a code means, why it matters and what to do: of `check`, or of a message's fate.

    Parameters
    ----------
    code
        As it is told in brackets, such as `unknown-template`, or as `why` and the log name it, such as `no_consent`.
        Without it, all codes.
    """
    call = terminal()
    every = entries()
    if code is None:
        call.answer(lambda: {"codes": [_plain(e) for e in every]}, lambda console: _list(console, every))
        return FINE
    asked = code.strip().strip("[]`").removeprefix("error[").removeprefix("warning[")
    found = [e for e in every if e.code == asked] or [e for e in every if _bare(e.code) == _bare(asked)]
    if not found:
        from orchestrator.problems import suggest

        near = suggest(asked.lower(), {e.code for e in every})
        hint = near if near.startswith("did") else "`orchestrator explain` lists them all"
        raise Usage(f"there is no code `{asked}`: {hint}")
    call.answer(lambda: {"codes": [_plain(e) for e in found]}, lambda console: _tell(console, found))
    return FINE


def schema(
    kind: Literal["journey", "workspace", "segments", "test"] | None = None, /, *, to: Path | None = None
) -> int:
    """Print the JSON Schema of a kind of file, for editors; or write all of them into a folder.

    Parameters
    ----------
    kind
        Of which file. Without it, with `--to`, all.
    to
        The folder to write to: `NAME.schema.json` each.
    """
    from orchestrator.project import schemas
    from orchestrator.rehearsal.form import rehearsal_schema

    call = terminal()
    every = {**schemas(), "test.schema.json": rehearsal_schema()}
    chosen = {n: s for n, s in every.items() if kind is None or n == f"{kind}.schema.json"}
    if to is None:
        if kind is None:
            raise Usage("which one: journey, workspace, segments or test? Or `--to DIR` for all of them")
        print(_as_text(chosen[f"{kind}.schema.json"]), end="")
        return FINE
    try:
        to.mkdir(parents=True, exist_ok=True)
        for name, found in chosen.items():
            (to / name).write_text(_as_text(found), encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"the schemas cannot be written to {to}: {error.strerror or error}") from None
    call.answer(lambda: {"files": sorted(chosen)}, lambda console: console.print("\n".join(sorted(chosen))))
    return FINE


def _as_text(found: Mapping[str, object]) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


# ---- the pages ------------------------------------------------------------------------------------------------------


def entries() -> list[Entry]:
    """Every code of the pages, in their order. Raises CannotRun where the installation lacks them."""
    return [entry for page in PAGES for entry in _entries(_page(page), page == PAGES[0])]


def _page(name: str) -> str:
    try:
        return (starter.folder() / name).read_text(encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"{name} is not where the program was installed ({error.strerror}): install it again") from None


def _entries(text: str, problems: bool) -> Iterator[Entry]:
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        intro, _, table = body.partition("\n|")
        first = next((p for p in intro.split("\n\n") if p.strip()), "")
        rows = [_cells(line) for line in f"|{table}".splitlines() if line.startswith("|")]
        if len(rows) < 3 or not {"Code", "Word"} & set(rows[0]):
            continue
        for row in rows[2:]:
            said = dict(zip(rows[0], row, strict=False))
            wrong = _read(next((said[name] for name in _WRONG if name in said), ""))
            warned = title.strip() == _WARNINGS or re.search(r"\b[Ww]arning\b", wrong)
            yield Entry(
                code=(said.get("Code") or said.get("Word", "")).strip("`"),
                kind=("warning" if warned else "error") if problems else said.get("Verdict", ""),
                where=title.strip(),
                why=_read("" if first.lstrip().startswith("```") else first),
                wrong=wrong,
                do=_read(next((said[name] for name in _DO if name in said), "")),
                example=said.get(_EXAMPLE, "").strip("`").replace("—", ""),
                rule=said.get("Rule", ""),
            )


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELLS.split(line.strip().strip("|"))]


def _read(text: str) -> str:
    """Markdown as one line that is read in a terminal."""
    return " ".join(_LINK.sub(r"\1", text).split())


def _bare(code: str) -> str:
    return re.sub(r"[^a-z]", "", code.lower())


# ---- how they are told ----------------------------------------------------------------------------------------------


def _plain(entry: Entry) -> dict[str, str]:
    return {
        "code": entry.code,
        "kind": entry.kind,
        "section": entry.where,
        "rule": entry.rule,
        "wrong": entry.wrong,
        "why": entry.why,
        "do": entry.do,
        "example": entry.example,
    }


def _tell(console: Console, found: list[Entry]) -> None:
    from rich.text import Text

    for number, entry in enumerate(found):
        style = {"warning": "yellow", "error": "red", "deny": "red", "allow": "green"}.get(entry.kind, "yellow")
        rule = f"  rule {entry.rule}" if entry.rule not in ("", "any") else ""
        head = Text.assemble(
            "\n" if number else "", (entry.code, f"bold {style}"), (f"  {entry.kind}" if entry.kind else "", style)
        )
        head.append(f"{rule}  {entry.where}", style="dim")
        console.print(head, soft_wrap=True)
        mistake = entry.kind in ("error", "warning")
        first = ("What is wrong" if mistake else "What it means", entry.wrong)
        why = ("Why it matters" if mistake else "When", entry.why)
        for title, text in (first, why, ("What to do", entry.do)):
            if text:
                console.print(Text(f"\n{title}", style="bold"))
                folded = textwrap.fill(text, console.width - 2, initial_indent="  ", subsequent_indent="  ")
                console.print(Text(folded), soft_wrap=True)
        if entry.example and entry.example != "---":
            console.print(Text("\nA line that has it", style="bold"))
            console.print(Text(f"  {entry.example}", style="cyan"), soft_wrap=True)


def _list(console: Console, every: list[Entry]) -> None:
    from rich.text import Text

    where = ""
    for entry in every:
        if entry.where != where:
            console.print(Text(f"{'' if not where else chr(10)}{entry.where}", style="bold"))
            where = entry.where
        first = re.split(r"(?<=[.;]) ", entry.wrong.removeprefix("Warning: "))[0]
        first = first[:1].upper() + first[1:]
        line = Text(f"  {entry.code:<28} ")
        line.append(first, style="dim")
        line.truncate(max(60, console.width), overflow="ellipsis")
        console.print(line, no_wrap=True, soft_wrap=True)
    console.print(Text("\norchestrator explain CODE tells one of them whole.", style="dim"))
