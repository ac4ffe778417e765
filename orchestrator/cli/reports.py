"""`audit export`, `audit report`: the log of a period, for those who ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, listed
from orchestrator.cli.running import instant
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, Usage, near, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.audit import VerifyReport
    from orchestrator.exporting import ExportReport
    from orchestrator.wiring import Wired

FLAG = Parameter(negative=())
FROM = Parameter(name="--from")


def register(app: App) -> None:
    app["audit"].command(export)
    app["audit"].command(report)


def export(
    *,
    from_: Annotated[str | None, FROM] = None,
    to: str | None = None,
    customer: str | None = None,
    format: Literal["csv", "jsonl", "parquet", "pdf"] = "csv",
    out: Path | None = None,
) -> int:
    """Write the log of a period to a file: a row for every decision, outcome, feedback and operation.

    With what each was judged on, the consents it relies on, versions of everything in force, and its leaf in the log's
    tree. People are numbers. A manifest beside it has counts, the file's SHA-256, the newest checkpoint, and what every
    column is.

    Parameters
    ----------
    from_
        The first day (2027-03-01), by the workspace's clock, or an instant with its offset; without it, from the
        beginning.
    to
        The last day, or an instant, which is the first one left out; without it, until now; rehearsed, the newest tick.
    customer
        The key of a customer: only what is about her, with her key in it.
    format
        csv, jsonl, parquet, or pdf for some pages to read.
    out
        The folder for the files; without it, the workspace's own.
    """
    from orchestrator import exporting, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        since, until = _period(wired, from_, to)
        folder = out or wired.exports
        try:
            with _progress(call) as moved:
                found = exporting.export(
                    wired.store,
                    wired.keys,
                    folder,
                    since=since,
                    until=until,
                    now=wired.clock(),
                    form=format,
                    customer=customer,
                    progress=moved,
                )
        except exporting.CannotExport as error:
            raise CannotRun(str(error)) from None
        except LookupError:
            raise Usage(f"there is no customer `{customer}`") from None
        except OSError as error:
            raise CannotRun(f"{folder} cannot be written to: {error.strerror}") from None
    call.answer(lambda: _document(found), lambda console: _show_export(console, found, out is not None))
    return FINE


def _document(found: ExportReport) -> dict[str, Any]:
    return {
        "file": found.file,
        "manifest": found.manifest,
        "rows": found.rows,
        "counts": found.counts,
        "unsealed": found.unsealed,
        "erased": found.erased,
        "bytes": found.size,
        "sha256": found.sha256,
    }


def _show_export(console: Console, found: ExportReport, elsewhere: bool) -> None:
    called = {"feedback": "notice of what came back"}
    many = {"feedback": "notices of what came back"}
    parts = (counted(n, called.get(kind, kind), many.get(kind, "")) for kind, n in found.counts.items() if n)
    kinds = listed(parts) or "none in this time"
    console.print(f"[bold green]✓[/] {counted(found.rows, 'line')}: [bold]{near(found.file)}[/]", soft_wrap=True)
    console.print(f"  {kinds}", style="dim")
    console.print(f"  beside it: {near(found.manifest)}", style="dim", soft_wrap=True)
    if found.erased:
        console.print(f"  of {counted(found.erased, 'line')} what was judged on is destroyed: they say `erased`")
    if found.unsealed:
        console.print(f"[yellow]![/] {counted(found.unsealed, 'line')} not sealed yet; run `orchestrator audit seal`")
    if elsewhere:
        console.print("  an erasure does not look there: delete it when it was handed over", style="dim")


@contextmanager
def _progress(call: Terminal) -> Iterator[Any]:
    if call.json or not call.console.is_terminal:
        yield lambda rows: None
        return
    with call.console.status("writing …") as status:
        yield lambda rows: status.update(f"{rows:,} lines …")


# ---- report ---------------------------------------------------------------------------------------------------------


def report(
    *,
    from_: Annotated[str | None, FROM] = None,
    to: str | None = None,
    format: Literal["html", "pdf"] = "html",
    out: Path | None = None,
    unverified: Annotated[bool, FLAG] = False,
) -> int:
    """A document to read about a period: volumes, refusals and why, rules in force, consent, exceptions, checkpoint.

    The log is verified first, every decision judged again, and the document says how much that is worth. It names no
    customer. Ends with 1 when anything is wrong.

    Parameters
    ----------
    from_
        The first day (2027-03-01), by the workspace's clock, or an instant with its offset; without it, from the
        beginning.
    to
        The last day, or an instant, which is the first one left out; without it, until now; rehearsed, the newest tick.
    format
        html, one page that needs nothing else, or pdf.
    out
        The file to write; without it, one in the workspace's folder of exports.
    unverified
        Do not verify the log first; the document says so.
    """
    from orchestrator import paper, reporting, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        since, until = _period(wired, from_, to)
        path = out or wired.exports / f"report-{_stamp(since)}-{_stamp(until)}.{format}"
        try:
            if format == "pdf":
                paper.ready()
            verified = None if unverified else _verified(wired)
            found = reporting.build(
                wired.store, wired.keys, since=since, until=until, now=wired.clock(), verified=verified
            )
            data = reporting.pdf(found) if format == "pdf" else reporting.html(found).encode()
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.part")
            draft.write_bytes(data)
            draft.replace(path)
        except paper.NoPaper as error:
            raise CannotRun(str(error)) from None
        except OSError as error:
            raise CannotRun(f"{path} cannot be written: {error.strerror}") from None
    told = found["headline"]

    def show(console: Console) -> None:
        console.print(f"[bold green]✓[/] {near(path)}", soft_wrap=True)
        console.print(f"  {told['sent']:,} sent, {told['deny']:,} refused, {told['wrong']:,} went wrong", style="dim")
        if verified is not None:
            colour = "red" if not verified.ok else "green" if verified.anchors else "yellow"
            console.print(f"  [{colour}]{verified.verdict}[/]", soft_wrap=True)

    verdict = None if verified is None else {"ok": verified.ok, "verdict": verified.verdict}
    call.answer(lambda: {"file": path, "headline": told, "verification": verdict}, show)
    return PROBLEMS if verified is not None and not verified.ok else FINE


def _verified(wired: Wired) -> VerifyReport:
    from orchestrator import rejudge
    from orchestrator.anchor import remembered
    from orchestrator.audit import verify

    with wired.store.read() as conn:
        anchors, _ = remembered(conn)
    return verify(wired.store, wired.keys, anchors, now=wired.clock(), examine=rejudge.examine)


# ---- periods --------------------------------------------------------------------------------------------------------


def _period(wired: Wired, first: str | None, last: str | None) -> tuple[datetime | None, datetime]:
    """[since, until) of what was typed. Raises Usage."""
    from orchestrator.apply import in_force
    from orchestrator.cli._opening import as_of

    with wired.store.read() as conn:
        force, now = in_force(conn), as_of(conn, wired)
    zone = force.project.vocabulary.timezone if force else "UTC"
    since = None if first is None else _at(first, "--from", zone, 0)
    # What was written this very moment is in it.
    until = now + timedelta(microseconds=1) if last is None else _at(last, "--to", zone, 1)
    if since is not None and since >= until:
        raise Usage("--from comes before --to")
    return since, until


def _at(text: str, option: str, zone: str, days: int) -> datetime:
    """An instant as it is typed; of a day its beginning, or with `days` 1 its end, by the workspace's clock."""
    from orchestrator import zones

    try:
        day = date.fromisoformat(text)
    except ValueError:
        try:
            return instant(text, option)
        except Usage:
            what = "a day, as 2027-03-01, or an instant with its offset, as 2027-03-01T09:00+01:00"
            raise Usage(f"{option} takes {what}, not `{text}`") from None
    found = zones.zone(zone)
    return (
        zones.instant(day + timedelta(days=days), time(), found)
        if found
        else datetime.combine(day + timedelta(days=days), time(), UTC)
    )


def _stamp(at: datetime | None) -> str:
    return "beginning" if at is None else f"{at.astimezone(UTC):%Y%m%dT%H%MZ}"
