"""`import`, `customer merge`, `db`, `doctor`: data in, and the machine's own health."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli._imported import notes
from orchestrator.cli._look import counted, listed, table
from orchestrator.cli._opening import WORKSPACE_FILE, opened, words
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, Usage, near, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.importing import ImportReport
    from orchestrator.wiring import Wired

FLAG = Parameter(negative=())
YES = Parameter(name=["--yes", "-y"], negative=())
ImportKind = Literal[
    "customers", "accounts", "records", "events", "consents", "devices", "touches", "cases", "suppressions", "outcomes",
    "redemptions", "claims", "points", "referrals", "costs", "answers",
]  # fmt: skip

SuppressionList = Literal["mps", "robinson", "dma_choice", "do_not_call", "do_not_mail", "deceased", "house"]


def register(app: App) -> None:
    app.command(import_, name="import")
    database = App(name="db", help="Make, check and measure the database.")
    database.command(upgrade)
    database.command(check)
    database.command(stats)
    app.command(database)
    app.command(doctor)
    app["customer"].command(merge)


# ---- import ---------------------------------------------------------------------------------------------------------


def import_(
    kind: ImportKind,
    file: Path,
    /,
    *,
    quarantine: Path | None = None,
    again: Annotated[bool, FLAG] = False,
    list_: Annotated[SuppressionList | None, Parameter(name="--list")] = None,
) -> int:
    """Take in a file of customers, accounts, records, events, consents, devices, touches, cases, suppressions, the
    outcomes of tasks, redemptions of vouchers, what became of claims, points, referrals, costs, or answers to surveys.
    (Codes: `vouchers import`.)

    Every row is checked; bad ones go to a quarantine file beside it, to be mended and imported as they are, and the
    rest goes on. The same content twice is imported once; an interrupted import goes on where it was. Ends with 1
    when rows were put aside.

    Parameters
    ----------
    kind
        What the rows are.
    file
        A .csv, .jsonl or .parquet file.
    quarantine
        The folder for rows put aside; without it, the file's own.
    again
        Import content that was imported before once more.
    list_
        Of suppressions: which list they are from.
    """
    if (kind == "suppressions") != (list_ is not None):
        raise Usage("`import suppressions` says which list it is, such as `--list mps`, and nothing else does")
    return taken_in(kind, file, quarantine=quarantine, again=again, list_name=list_ or "")


def taken_in(
    kind: ImportKind | Literal["vouchers"],
    file: Path,
    *,
    quarantine: Path | None = None,
    again: bool = False,
    list_name: str = "",
) -> int:
    """Import a file and tell of it; `list_name` as `importing.import_file` has it."""
    from orchestrator.importing import ImportRefused, import_file

    call = terminal()
    if not file.is_file():
        raise CannotRun(f"there is no file {file}")
    if quarantine is not None and not quarantine.is_dir():
        raise Usage(f"--quarantine names a folder, and {quarantine} is none")
    with opened(call.workspace) as wired:
        project = words(wired, draft=False)
        with _progress(call, file.name) as moved:
            try:
                report = import_file(
                    wired.store,
                    wired.keys,
                    project.vocabulary,
                    kind,
                    file,
                    now=wired.clock(),
                    quarantine_dir=quarantine,
                    progress=moved,
                    again=again,
                    clock=wired.clock,
                    list_name=list_name,
                )
            except ImportRefused as error:
                raise CannotRun(str(error)) from None
        drafted = _drafted(wired, project.files)
        with wired.store.read() as conn:
            remarks = list(notes(conn, project, report))
    reasons = _reasons(report.quarantine_file)

    def show(console: Console) -> None:
        into = f"vouchers import {list_name}" if kind == "vouchers" else f"import {kind}"
        _show_import(console, report, reasons, file, into)
        if drafted and report.quarantined:
            text = f"{WORKSPACE_FILE} has changed since it was applied; rows are read by what is in force"
            console.print(f"[yellow]note:[/] {text}", soft_wrap=True)
        for text in remarks:
            console.print(f"[yellow]note:[/] {text}", highlight=False, soft_wrap=True)

    call.answer(lambda: _import_document(report, reasons) | {"notes": remarks}, show)
    return PROBLEMS if report.quarantined else FINE


@contextmanager
def _progress(call: Terminal, name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar for people at a terminal; `moved(rows, of about)` moves it."""
    if call.json or not call.console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=call.console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=max(done, total or 0) or None)


def _drafted(wired: Wired, files: Mapping[str, str]) -> bool:
    """Whether the folder's workspace says something else than what rows were read by."""
    path = wired.folder / WORKSPACE_FILE
    try:
        return path.is_file() and path.read_text(encoding="utf-8") != files.get(WORKSPACE_FILE)
    except (OSError, UnicodeDecodeError):
        return True


def _reasons(file: Path | None) -> list[dict[str, Any]]:
    """Why rows were put aside: each kind of problem with how many rows have it, and the first of them.

    Problems that differ only in a name are of one kind.
    """
    alike: dict[str, list[tuple[int, str]]] = {}
    for line, problem in _put_aside(file) if file is not None else ():
        alike.setdefault(re.sub(r"`[^`]*`", "`…`", problem), []).append((line, problem))
    found = []
    for some in alike.values():
        line, problem = min(some)
        others = len({p for _, p in some}) - 1
        found.append({"problem": problem, "rows": len(some), "first_line": line, "others_like_it": others})
    return sorted(found, key=lambda r: (-int(str(r["rows"])), int(str(r["first_line"]))))


def _put_aside(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8", newline="") as rows:
        read = map(json.loads, rows) if file.suffix == ".jsonl" else csv.DictReader(rows, delimiter=_delimiter(file))
        for row in read:
            yield int(row.get("_line") or 0), str(row.get("_problem") or "")


def _delimiter(file: Path) -> str:
    with file.open(encoding="utf-8", newline="") as rows:
        head = rows.readline()
    return max(",;\t|", key=head.count)


def _import_document(report: ImportReport, reasons: list[dict[str, Any]]) -> dict[str, Any]:
    told = {
        name: getattr(report, name)
        for name in ("kind", "rows", "inserted", "updated", "unchanged", "quarantined", "already", "resumed_at")
    }
    warnings = [{"warning": text, "rows": n} for text, n in report.warnings.items()]
    return {**told, "quarantine_file": report.quarantine_file, "reasons": reasons, "warnings": warnings}


def _show_import(console: Console, report: ImportReport, reasons: list[dict[str, Any]], file: Path, into: str) -> None:
    names = ("inserted", "updated", "unchanged")
    done = listed(f"{getattr(report, name):,} {name}" for name in names if getattr(report, name)) or "none new"
    if report.already:
        console.print(f"[bold green]✓[/] {file.name} was imported before; nothing was done ({done})", soft_wrap=True)
    else:
        mark = "[bold yellow]![/]" if report.quarantined else "[bold green]✓[/]"
        resumed = f", going on behind row {report.resumed_at:,}" if report.resumed_at else ""
        rows = counted(report.rows, "row")
        console.print(f"{mark} {report.kind}: {rows} of {file.name}{resumed}: {done}", soft_wrap=True)
    for text, n in report.warnings.items():
        console.print(f"  [yellow]note:[/] {counted(n, 'row')}: {text}", highlight=False, soft_wrap=True)
    if not report.quarantined:
        return
    where = f": [bold]{near(report.quarantine_file)}[/]" if report.quarantine_file else " by an earlier import"
    console.print(f"[bold red]✗[/] {counted(report.quarantined, 'row')} put aside{where}", soft_wrap=True)
    rows_ = table("", "rows", "first line", "what is wrong", right=("rows", "first line"), wrap=("what is wrong",))
    for reason in reasons[:8]:
        text = reason["problem"] + (" (and others like it)" if reason["others_like_it"] else "")
        rows_.add_row(f"  {reason['rows']:,}", f"{reason['first_line']:,}", _plain_text(text))
    if reasons:
        console.print(rows_)
    if len(reasons) > 8:
        console.print(f"  [dim]and {counted(len(reasons) - 8, 'other problem')}[/]")
    if report.kind == "suppressions":
        console.print(f"[dim]nobody's data is kept there: mend the lines in {file.name}, and import it again[/]")
    elif report.quarantine_file is not None:
        command = f"orchestrator {into} {near(report.quarantine_file)}"
        console.print(f"[dim]mend them there, then:[/] {command}", soft_wrap=True)


def _plain_text(text: str) -> Any:
    from rich.text import Text

    return Text(text)


# ---- customer merge -------------------------------------------------------------------------------------------------


def merge(keep: str, drop: str, /, *, yes: Annotated[bool, YES] = False) -> int:
    """Make two records of one person one. It cannot be undone.

    Events, records, devices, consents and runs go over; withdrawals win; what the one that stays says about name,
    address and attributes stands. The other key finds the one that stays from then on.

    Parameters
    ----------
    keep
        The key of the customer who stays.
    drop
        The key of the one who goes into it.
    yes
        Do not ask.
    """
    from orchestrator import wiring
    from orchestrator.importing import merge_customers

    call = terminal()
    if not yes:
        if call.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise Usage("nobody can be asked here, and it cannot be undone: say `--yes`")
        call.console.print(f"{drop} goes into {keep}, for good. [bold]y[/]es / [bold]n[/]o ", end="")
        if input().strip().casefold() not in ("y", "yes"):
            raise CannotRun("nothing was merged")
    with wiring.connected(call.workspace) as wired:
        try:
            merged = merge_customers(wired.store, wired.keys, keep, drop, now=wired.clock())
        except ValueError as error:
            raise Usage(str(error)) from None
    told = {k: n for k, n in asdict(merged).items() if n}
    text = listed(f"{n:,} {k.replace('_', ' ')}" for k, n in told.items()) or "nothing to take over"
    call.answer(
        lambda: {"keep": keep, "drop": drop, **asdict(merged)},
        lambda console: console.print(f"[bold green]✓[/] {drop} is {keep} now: {text}", soft_wrap=True),
    )
    return FINE


# ---- db -------------------------------------------------------------------------------------------------------------


def upgrade() -> int:
    """Make the database, or bring its tables to what this program needs."""
    from orchestrator import wiring

    call = terminal()
    with wiring.connected(call.workspace, create=True) as wired:
        where = wired.store.where
    call.answer(
        lambda: {"database": where, "schema": "current"},
        lambda console: console.print(f"[bold green]✓[/] {where} has the tables this program needs", soft_wrap=True),
    )
    return FINE


def check() -> int:
    """Whether the database keeps what it promises: sound, nothing sent without a decision, consent by the ledger."""
    from orchestrator import wiring
    from orchestrator.store import wellbeing

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        damage = wellbeing.damage(conn)
        promises = wellbeing.broken_promises(conn)
    wrong = bool(damage) or any(promises.values())

    def show(console: Console) -> None:
        for text in damage:
            console.print(f"[bold red]✗[/] {text}", soft_wrap=True)
        for text, n in promises.items():
            mark = f"[bold red]✗[/] {n:,} break it:" if n else "[bold green]✓[/]"
            console.print(f"{mark} {text}", soft_wrap=True)
        if wrong:
            console.print("restore the database from its backup, and report this", style="bold")

    broken = [{"promise": text, "broken": n} for text, n in promises.items()]
    call.answer(lambda: {"damage": damage, "promises": broken, "ok": not wrong}, show)
    return PROBLEMS if wrong else FINE


def stats() -> int:
    """How much is in the database."""
    from orchestrator import wiring
    from orchestrator.store import wellbeing

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        sizes = wellbeing.sizes(conn)
        where, dialect = wired.store.where, wired.store.dialect
    path = Path(where)
    size = path.stat().st_size if dialect == "sqlite" and path.is_file() else None

    def show(console: Console) -> None:
        about = f"  [dim]{size / 2**20:,.1f} MB[/]" if size is not None else ""
        console.print(f"[bold]{where}[/]{about}", soft_wrap=True)
        rows = table("", "table", "rows", right=("rows",))
        for name, n in sizes.items():
            rows.add_row(f"  {name}", f"{n:,}" if n else "[dim]·[/]")
        console.print(rows)

    call.answer(lambda: {"database": where, "bytes": size, "rows": sizes}, show)
    return FINE


# ---- doctor ---------------------------------------------------------------------------------------------------------


def doctor(*, prefect: Annotated[bool, FLAG] = False) -> int:
    """Look at everything a run needs, and say what is well and what to do about the rest.

    Parameters
    ----------
    prefect
        Ask also whether Prefect's server answers, where PREFECT_API_URL names one.
    """
    from rich.markup import escape

    from orchestrator.cli._doctor import examine

    call = terminal()
    findings = examine(call.workspace, prefect=prefect)
    counts = Counter(f.state for f in findings)

    def show(console: Console) -> None:
        marks = {"ok": "[bold green]✓[/]", "look": "[bold yellow]![/]", "bad": "[bold red]✗[/]"}
        rows = table("", "", "what", "how it is", wrap=("how it is",))
        rows.show_header = False
        for f in findings:
            # They quote settings, whose [sections] look like rich's own marks.
            text = escape(f.text) + (f"\n[dim]→[/] {escape(f.todo)}" if f.todo else "")
            rows.add_row(marks[f.state], f"[bold]{f.what}[/]", text)
        console.print(rows)
        console.print()
        if counts["bad"] or counts["look"]:
            parts = (_count(counts["bad"], "to mend"), _count(counts["look"], "to look at"))
            console.print(listed(parts))
        else:
            console.print("all is well", style="bold green")

    call.answer(lambda: {"ok": not counts["bad"], "findings": findings}, show)
    return PROBLEMS if counts["bad"] else FINE


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n else ""
