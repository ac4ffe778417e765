"""`customer export`, `customer erase`, `retain`: what people may ask for, and what is kept no longer than its time."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli._look import counted
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Usage, near, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.erase import EraseReport

FLAG = Parameter(negative=())
YES = Parameter(name=["--yes", "-y"], negative=())
Ground = Literal["request", "objection", "not_needed", "unlawful", "legal_obligation", "minor"]


def register(app: App) -> None:
    app["customer"].command(export)
    app["customer"].command(erase)
    app.command(retain)


# ---- export ---------------------------------------------------------------------------------------------------------


def export(key: str, /, *, out: Path | None = None) -> int:
    """Everything held about a customer, as a page to read and as JSON: for a request of access (GDPR art. 15 and 20).

    Profile, devices, consents with the words shown and the evidence, messages with their text where it is still kept,
    decisions with each rule's word, what came back, events, records, journeys. No colleague's and no staff's data.

    Parameters
    ----------
    key
        The customer's key.
    out
        The folder for the two files; without it, the workspace's own, where an erasure finds them.
    """
    from orchestrator import handout, wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        found = handout.document(wired, key)
        if found is None:
            raise Usage(f"there is no customer `{key}`")
        number, document = found
        try:
            page, plain = handout.write(document, number, out or wired.exports)
        except OSError as error:
            raise CannotRun(f"the export cannot be written: {error.strerror}") from None
    counts = {name: len(rows) for name, rows in document.items() if isinstance(rows, list)}

    def show(console: Console) -> None:
        console.print(f"[bold green]✓[/] to read: [bold]{near(page)}[/]", soft_wrap=True)
        console.print(f"  for programs: {near(plain)}", soft_wrap=True)
        told = ", ".join(counted(counts[n], *words) for n, words in _COUNTED.items())
        console.print(f"  {told}", style="dim")
        if out is not None:
            console.print("  an erasure does not look there: delete the files when they were handed over", style="dim")

    call.answer(lambda: {"customer": number, "page": page, "file": plain, "counts": counts}, show)
    return FINE


_COUNTED = {
    "consents": ("word of consent", "words of consent"),
    "messages": ("message",),
    "decisions": ("line of the log", "lines of the log"),
    "events": ("event",),
}


# ---- erase ----------------------------------------------------------------------------------------------------------


def erase(
    key: str | None = None,
    /,
    *,
    reason: Ground = "request",
    by: str | None = None,
    yes: Annotated[bool, YES] = False,
    replay: Annotated[bool, FLAG] = False,
    finish: Annotated[bool, FLAG] = False,
) -> int:
    """Erase a customer: nothing is left by which anybody could tell who it was. It cannot be undone.

    Name, addresses, events, records, evidence and what was kept of messages go; the log keeps its lines without the
    person, and addresses stay suppressed by keyed hash. Asks for the key once more. Ends with 1 when something is
    left to be done, which it tells.

    Parameters
    ----------
    key
        The customer's key.
    reason
        Why; it stands in the log.
    by
        Who erases; without it, whoever is logged in.
    yes
        Do not ask.
    replay
        After a backup was restored: erase again whom the list of erasures names.
    finish
        Do what an erasure could not do at once.
    """
    from orchestrator import wiring
    from orchestrator.erase import Refused

    call = terminal()
    if (key is None) is not (replay or finish) or (replay and finish):
        raise Usage("name the customer to be erased; or --replay, or --finish, and nobody")
    with wiring.connected(call.workspace) as wired:
        try:
            if key is None:
                return _again(wired, by or getpass.getuser(), replay)
            return _one(wired, key, reason, by or getpass.getuser(), yes)
        except Refused as error:
            raise CannotRun(str(error)) from None


def _one(wired: Any, key: str, reason: str, by: str, yes: bool) -> int:
    from orchestrator.erase import erase as erase_now
    from orchestrator.store import rights

    call = terminal()
    with wired.store.read() as conn:
        one = rights.person(conn, key)
        if one is None:
            raise Usage(f"there is no customer `{key}`")
    if not yes:
        if not sys.stdin.isatty():
            raise Usage("an erasure asks to type the key once more, and nobody is at the terminal; say --yes")
        more = f", with {counted(len(one.rows) - 1, 'record')} merged into it" if len(one.rows) > 1 else ""
        print(
            f"This erases the customer{more}, for good. Type the key once more: ", end="", file=sys.stderr, flush=True
        )
        if sys.stdin.readline().strip() != key:
            raise CannotRun("that was another key; nothing was erased")
    report = erase_now(wired.store, wired.keys, key, wired.places(), now=wired.clock(), by=by, reason=reason)
    call.answer(lambda: _told(report), lambda console: _show(console, report))
    return PROBLEMS if report.left else FINE


def _again(wired: Any, by: str, replayed: bool) -> int:
    from orchestrator.erase import finish, replay

    call = terminal()
    places, now = wired.places(), wired.clock()
    entries = people = 0
    left: list[str] = []
    if replayed:
        done = replay(wired.store, wired.keys, places, now=now, by=by)
        entries, people, left = done.entries, done.people, list(done.left)
    left = list(dict.fromkeys([*left, *finish(wired.store, places)]))

    def show(console: Console) -> None:
        if replayed:
            was = f"{counted(entries, 'erasure')} of the list {'was' if entries == 1 else 'were'} not known here"
            console.print(f"[bold green]✓[/] {was}; {counted(people, 'customer')} erased again", soft_wrap=True)
        elif not left:
            console.print("[bold green]✓[/] nothing is left to be done")
        _show_left(console, left)

    call.answer(lambda: {"entries": entries, "customers": people, "left": left}, show)
    return PROBLEMS if left else FINE


def _told(report: EraseReport) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "customer": report.customer_id,
        "at": report.at,
        "done": {
            **asdict(report.emptied),
            "deliveries": report.deliveries,
            "exports": report.exports,
            "quarantined": report.quarantined,
        },
        "accounts": report.accounts,
        "left": report.left,
    }


def _show(console: Console, report: EraseReport) -> None:
    done = report.emptied
    console.print(f"[bold green]✓[/] erased; the log knows the customer as number {report.customer_id}")
    lines = (
        (done.customers, "record emptied", "records emptied"),
        (done.runs_ended, "run ended", "runs ended"),
        (done.messages_cancelled, "message cancelled", "messages cancelled"),
        (done.addresses_suppressed, "address suppressed", "addresses suppressed"),
        (done.devices, "device deleted", "devices deleted"),
        (done.events, "event made nobody's", "events made nobody's"),
        (done.records + done.contacts, "contract, contact or case emptied", "contracts, contacts or cases emptied"),
        (done.evidence + done.details, "sealed record destroyed", "sealed records destroyed"),
        (report.deliveries, "kept message deleted", "kept messages deleted"),
        (report.exports, "export deleted", "exports deleted"),
        (report.quarantined, "refused row deleted", "refused rows deleted"),
    )
    for number, one, many in lines:
        if number:
            console.print(f"  {number:,} {one if number == 1 else many}", style="dim")
    for account in report.accounts:
        text = f"the account `{account}` has no other contact: if its name is a person's, import it with another one"
        console.print(f"[yellow]note:[/] {text}", soft_wrap=True)
    elsewhere = "providers, print houses, backups and the files you imported from"
    console.print(f"  what {elsewhere} keep is not here: see the guide on people's rights", style="dim", soft_wrap=True)
    _show_left(console, report.left)


def _show_left(console: Console, left: Any) -> None:
    for what in left:
        console.print(f"[bold yellow]![/] {what}", soft_wrap=True)


# ---- retain ---------------------------------------------------------------------------------------------------------


def retain(*, dry_run: Annotated[bool, FLAG] = False, budget: int = 300) -> int:
    """Destroy what is older than `policies.retention` in force says; the log and the ledgers keep their lines.

    In batches, for a time: what it does not come to, the next run does. Nothing is named there, nothing is destroyed.

    Parameters
    ----------
    dry_run
        Only count what is too old.
    budget
        Begin no new batch after this many seconds.
    """
    from orchestrator import wiring
    from orchestrator.retain import retain as retain_now

    call = terminal()
    if budget < 1:
        raise Usage("--budget is a number of seconds, at least 1")
    with wiring.connected(call.workspace) as wired:
        report = retain_now(
            wired.store, now=wired.clock(), by=getpass.getuser(), budget_seconds=budget, dry_run=dry_run
        )

    def show(console: Console) -> None:
        if not report.counts:
            console.print("policies.retention names nothing: everything is kept", style="dim")
        else:
            mark, what = ("[bold]to be destroyed[/]", "") if dry_run else ("[bold green]✓[/]", "destroyed: ")
            console.print(f"{mark} {what}{report.summary}", soft_wrap=True)

    document = {"counts": dict(report.counts), "finished": report.finished, "dry_run": dry_run}
    call.answer(lambda: document, show)
    return FINE
