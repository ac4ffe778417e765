"""`audit`: is the log what it was, proofs of single messages, checkpoints put out of reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, listed, table
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Terminal, Usage, near, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.audit import Anchored, MessageProofs, VerifyReport
    from orchestrator.merkle import Verifier
    from orchestrator.wiring import Wired

FLAG = Parameter(negative=())
MANY = Parameter(negative=(), consume_multiple=True)
SHOWN = 20
"""So many findings are shown to people; --json has more."""


def register(app: App) -> None:
    audit = App(name="audit", help="Verify the log, prove single messages, put its checkpoints out of reach.")
    audit.command(verify)
    audit.command(proof)
    audit.command(leaves)
    audit.command(anchor)
    audit.command(seal)
    audit.command(key)
    audit.command(verifier)
    app.command(audit)


# ---- verify ---------------------------------------------------------------------------------------------------------


def verify(
    *,
    anchor: Annotated[list[Path] | None, MANY] = None,
    key: str | None = None,
    tree_only: Annotated[bool, FLAG] = False,
) -> int:
    """Is the log what it was, and was every decision right?

    Every entry against its row, every checkpoint against the tree, all of it against what is kept outside; then every
    decision judged again from what was logged, and every send held against the consents before it.

    Checkpoints at places that `audit anchor` wrote to, and that can be read from here, are compared without being
    named. Ends with 1 when anything is wrong.

    Parameters
    ----------
    anchor
        Files of checkpoints that were kept outside; those in `FILE.hashes` beside them name the entry that was changed.
    key
        Whose signatures count: a verifier key as `audit key` prints it; without it, this installation's own.
    tree_only
        Do not judge the decisions again.
    """
    from orchestrator import rejudge, wiring
    from orchestrator.anchor import CannotAnchor, kept, remembered
    from orchestrator.audit import verify as verified

    call = terminal()
    by = _verifier(key)
    named: list[Anchored] = []
    for path in anchor or ():
        try:
            named += kept(path)
        except CannotAnchor as error:
            raise CannotRun(str(error)) from None
    with wiring.connected(call.workspace) as wired:
        with wired.store.read() as conn:
            known, closed = remembered(conn)
        anchors = list({one.note: one for one in (*known, *named)}.values())
        with _progress(call) as moved:
            examine = None if tree_only else rejudge.examine
            report = verified(
                wired.store, wired.keys, anchors, now=wired.clock(), by=by, progress=moved, examine=examine
            )
    report = replace(report, unreadable=tuple(closed))
    call.answer(lambda: _document(report), lambda console: _show_report(console, report, wired))
    return FINE if report.ok else PROBLEMS


def _verifier(text: str | None) -> Verifier | None:
    from orchestrator.merkle import Refused, Verifier

    if text is None:
        return None
    try:
        return Verifier.read(text)
    except Refused as error:
        raise Usage(f"--key: {error}") from None


@contextmanager
def _progress(call: Terminal) -> Iterator[Callable[[int, int], None]]:
    """A bar for people at a terminal."""
    if call.json or not call.console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=call.console, transient=True) as bar:
        task = bar.add_task("entries", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _document(report: VerifyReport) -> dict[str, Any]:
    found = asdict(report)
    found["root"] = report.root.hex()
    return {**found, "ok": report.ok, "verdict": report.verdict}


def _show_report(console: Console, report: VerifyReport, wired: Wired) -> None:
    from rich.markup import escape

    console.print(f"[bold]{report.log or 'a log without a name'}[/]  [dim]in {wired.store.where}[/]", soft_wrap=True)
    kinds = {"log": "log line", "consent_event": "consent event", "applied": "apply", "erased": "erasure"}
    many = {"applied": "applies"}
    parts = listed(counted(report.entries.get(name, 0), what, many.get(name, "")) for name, what in kinds.items())
    rows = table("", "checked", "", wrap=("",))
    rows.add_row("entries", f"{report.size:,}: {parts}; each against its row")
    rows.add_row("checkpoints", f"{report.checkpoints:,} signed by this log and of this tree")
    rows.add_row("kept outside", f"{counted(report.anchors, 'checkpoint')} compared and agreeing")
    for what, count in report.judged.items():
        rows.add_row("erased, commitment intact" if what == "erased" else what, f"{count:,}")
    console.print(rows)
    if report.waiting:
        since = f"the oldest for {report.lag:,.0f} s" if report.lag else "written ahead of the clock"
        console.print(f"{counted(report.waiting, 'row')} not sealed yet ({since}): they prove nothing until they are")
    for place in report.unreadable:
        console.print(
            f"[yellow]![/] the checkpoints at {place} cannot be read from here: name a copy with --anchor",
            soft_wrap=True,
        )
    for note in report.notes:
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    _show_findings(console, report)
    colour = "green" if report.ok and report.anchors else "yellow" if report.ok else "red"
    console.print(f"\n[bold {colour}]{'✓' if report.ok else '✗'}[/] {report.verdict}", soft_wrap=True)


def _show_findings(console: Console, report: VerifyReport) -> None:
    from rich.markup import escape

    from orchestrator import leaf, rejudge

    if report.ok:
        return
    codes = {**rejudge.CODES, **leaf.CODES}
    console.print(f"\n[bold red]{counted(report.wrong, 'thing')} wrong[/]")
    rows = table("", "entry", "where", "what", right=("entry",), wrap=("where", "what"))
    for finding in report.findings[:SHOWN]:
        entry = "" if finding.entry is None else f"{finding.entry:,}"
        rows.add_row(entry, escape(finding.row), f"[red]{finding.code}[/]: {escape(finding.what)}")
    console.print(rows)
    if report.wrong > SHOWN:
        console.print(f"[dim]and {report.wrong - SHOWN:,} more; --json lists {len(report.findings):,}[/]")
    console.print()
    for code in sorted({finding.code for finding in report.findings}):
        if code in codes:
            console.print(f"[dim]{code}: {codes[code]}[/]", soft_wrap=True)


# ---- proof ----------------------------------------------------------------------------------------------------------


def proof(
    message: int, /, *, open: Annotated[bool, FLAG] = False, out: Annotated[Path | None, Parameter(name="--out")] = None
) -> int:
    """Prove what the log says of one message: a file for each line, to be verified without us.

    Each is a tlog-proof with the line in it. Who is given one and the log's public key (`audit key`) checks it with
    the standalone verifier (`audit verifier`), offline. Ends with 1 while a line is not sealed yet.

    Parameters
    ----------
    message
        The message's number.
    open
        Put in what was judged, and the key that opens this record alone: personal data.
    out
        The folder to write to; without it, the one you are in.
    """
    from orchestrator import wiring
    from orchestrator.audit import proof as proved

    call = terminal()
    folder = out or Path.cwd()
    with wiring.connected(call.workspace) as wired:
        keys = wired.keys if open else None
        with wired.store.read() as conn:
            try:
                found = proved(conn, message, keys)
            except LookupError:
                raise Usage(f"the log says nothing of a message {message}") from None
    written = _write_proofs(found, folder)

    def show(console: Console) -> None:
        for line, path in zip(found.lines, written, strict=True):
            opened = "; [yellow]opened: personal data[/]" if line.opened else ""
            console.print(f"{line.row} is entry {line.entry:,}: {near(path)}{opened}", soft_wrap=True)
        if found.lines:
            console.print(f"[dim]against the checkpoint of {found.size:,} entries[/]")
        for row in found.waiting:
            console.print(f"[yellow]![/] {row} is not sealed yet; run `orchestrator audit seal`")

    files = [{"row": one.row, "entry": one.entry, "file": path} for one, path in zip(found.lines, written, strict=True)]
    call.answer(lambda: {"message": message, "size": found.size, "proofs": files, "waiting": found.waiting}, show)
    return PROBLEMS if found.waiting else FINE


def _write_proofs(found: MessageProofs, folder: Path) -> Sequence[Path]:
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for line in found.lines:
            path = folder / f"message-{found.message_id}-{line.name}.tlog-proof"
            path.write_text(line.proof, encoding="utf-8")
            paths.append(path)
    except OSError as error:
        raise CannotRun(f"{folder} cannot be written to: {error.strerror}") from None
    return paths


# ---- leaves ---------------------------------------------------------------------------------------------------------


def leaves(folder: Path, /) -> int:
    """Write every entry of the log as a line of a file, and every checkpoint beside it: for the standalone verifier.

    leaves.jsonl holds one entry a line, byte for byte what was hashed; checkpoints.txt the signed notes. Nothing in
    them names a person, but numbers that stand for people in this database.

    Parameters
    ----------
    folder
        Where to write leaves.jsonl and checkpoints.txt.
    """
    from orchestrator import wiring
    from orchestrator.audit import Gone
    from orchestrator.audit import leaves as exported
    from orchestrator.store import tree

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn, _progress(call) as moved:
        heads = tree.heads(conn)
        if not heads:
            raise CannotRun("nothing is sealed yet; run `orchestrator audit seal` first")
        size = heads[-1].size
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoints.txt").write_text("\n".join(head.note for head in heads), encoding="utf-8")
            with (folder / "leaves.jsonl").open("wb") as file:
                for n, line in enumerate(exported(conn, size), 1):
                    file.write(line + b"\n")
                    if not n % 10_000:
                        moved(n, size)
        except OSError as error:
            raise CannotRun(f"{folder} cannot be written to: {error.strerror}") from None
        except Gone as error:
            raise CannotRun(
                f"the row of entry {error.args[0]} is gone; `orchestrator audit verify` says more"
            ) from None
    call.answer(
        lambda: {"folder": folder, "size": size, "checkpoints": len(heads)},
        lambda console: console.print(
            f"{counted(size, 'entry', 'entries')} and {counted(len(heads), 'checkpoint')} are in {near(folder)}"
        ),
    )
    return FINE


# ---- anchor, seal, key, verifier ------------------------------------------------------------------------------------


def anchor(to: str, /, *, hashes: Annotated[bool, FLAG] = False) -> int:
    """Keep the newest checkpoint where whoever runs the log cannot take it back.

    A file grows by one signed note a time; in a Git repository that is checkpoints.txt, committed and, to a remote,
    pushed. Refused where the place holds a checkpoint that this log does not agree with.

    Parameters
    ----------
    to
        A file, a folder with a Git working tree, or what `git clone` takes.
    hashes
        Keep the entries' hashes too (32 bytes each, nothing personal): they name the entry that was changed.
    """
    from orchestrator import wiring
    from orchestrator.anchor import CannotAnchor
    from orchestrator.anchor import anchor as anchored

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        try:
            report = anchored(wired.store, to, wired.keys, now=wired.clock(), folder=Path.cwd(), hashes=hashes)
        except CannotAnchor as error:
            raise CannotRun(str(error)) from None

    def show(console: Console) -> None:
        stood = "" if report.new else " (it stood there already)"
        console.print(f"the checkpoint of {report.size:,} entries is at {report.to}{stood}", soft_wrap=True)
        if report.note:
            console.print(f"[dim]{report.note}[/]", soft_wrap=True)

    call.answer(
        lambda: {"to": report.to, "size": report.size, "root": report.root.hex(), "new": report.new},
        show,
    )
    return FINE


def seal() -> int:
    """Make what is new in the ledgers part of the log's tree, now. Ticks do it, and a deployment does every minute."""
    from orchestrator import wiring
    from orchestrator.seal import SealBroken
    from orchestrator.seal import seal as sealed

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        try:
            report = sealed(wired.store, wired.keys, now=wired.clock())
        except SealBroken as error:
            raise CannotRun(str(error)) from None
    if report.held_up:
        raise CannotRun(report.held_up)
    call.answer(
        lambda: {"sealed": report.sealed, "size": report.size, "waiting": report.waiting, "lag": report.lag},
        lambda console: console.print(
            f"{counted(report.sealed, 'row')} sealed; the log has {counted(report.size, 'entry', 'entries')}"
        ),
    )
    return FINE


def key() -> int:
    """The log's public key, as auditors are given it: NAME+ID+KEY. Hand it over in person, and once."""
    from orchestrator import merkle, wiring
    from orchestrator.store import tree

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        with wired.store.read() as conn:
            name = tree.origin(conn)
        if name is None:
            raise CannotRun("the log gets its name at the first seal; run `orchestrator audit seal` first")
        found = str(merkle.verifier(name, wired.keys.sign))
    call.answer(lambda: {"key": found}, lambda console: print(found, file=console.file))
    return FINE


def verifier(to: Path | None = None, /) -> int:
    """Hand out the standalone verifier: one Python file that needs nothing of ours.

    Parameters
    ----------
    to
        The file to write; without it, the verifier is printed.
    """
    from orchestrator.cli import starter

    call = terminal()
    text = (starter.folder() / "verifier" / "verify.py").read_text(encoding="utf-8")
    if to is not None:
        try:
            to.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CannotRun(f"{to} cannot be written: {error.strerror}") from None
    call.answer(
        lambda: {"verifier": text},
        lambda console: (
            print(text, file=console.file, end="") if to is None else console.print(f"{near(to)} is written")
        ),
    )
    return FINE
