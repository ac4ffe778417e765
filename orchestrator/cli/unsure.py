"""`uncertain`, `reconcile`, `settle`: sends of which nobody knows whether they went out."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, table, when
from orchestrator.cli._opening import as_of
from orchestrator.cli.terminal import COULD_NOT_RUN, FINE, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.reconcile import Prospect

FLAG = Parameter(negative=())
MOST = 10_000


def register(app: App) -> None:
    app.command(uncertain)
    app.command(reconcile)
    app.command(settle)


def uncertain(*, limit: int = 30) -> int:
    """Sends of which nobody knows whether they went out, oldest first, and what happens next to each of them.

    Parameters
    ----------
    limit
        How many to list.
    """
    from orchestrator import wiring
    from orchestrator.reconcile import prospects
    from orchestrator.store import wellbeing

    call = terminal()
    if not 1 <= limit <= MOST:
        raise Usage(f"--limit is a number of messages: 1 to {MOST:,}")
    with wiring.connected(call.workspace) as wired:
        found = list(prospects(wired.store, wired.channels, limit=limit))
        with wired.store.read() as conn:
            total, now = wellbeing.uncertain(conn), as_of(conn, wired)
    rows = [_told(prospect, now) for prospect in found]
    call.answer(lambda: {"uncertain": total, "messages": rows}, lambda console: _show(console, rows, total))
    return FINE


def _told(prospect: Prospect, now: datetime) -> dict[str, Any]:
    one = prospect.message
    due = one.due
    return {
        "message": due.id,
        "attempt": f"m{due.id}a{due.attempts}",
        "since": one.settled_at,
        "hours": round((now - one.settled_at).total_seconds() / 3600, 1),
        "journey": due.journey,
        "step": due.step,
        "medium": due.medium.value,
        "purpose": due.purpose,
        "provider": one.provider,
        "reason": one.reason,
        "next": prospect.next,
        "at": prospect.at,
    }


def _show(console: Console, rows: Sequence[dict[str, Any]], total: int) -> None:
    if not rows:
        console.print("Of every message it is known whether it went out.", style="dim")
        return
    wide = console.width >= 90
    heads = ["since (UTC)", "message", "journey", "step", "by", "why", "next"]
    shown = heads if wide else [head for head in heads if head not in ("journey", "step", "why")]
    found = table("", *shown, right=("message",), wrap=("journey", "step", "next"))
    words = {
        "ask": "{provider} is asked after {at}",
        "again": "sent again after {at}, if it still may",
        "give_up": "given up after {at}",
    }
    for row in rows:
        following = words[row["next"]].format(provider=row["provider"], at=when(row["at"], year=False))
        about = (row["journey"] or "—", row["step"]) if wide else ()
        by = f"{row['medium']} {row['provider']}"
        why = (row["reason"],) if wide else ()
        found.add_row(when(row["since"], year=wide), str(row["message"]), *about, by, *why, following)
    console.print(found)
    if total > len(rows):
        console.print(f"[dim]and {total - len(rows):,} more; --limit shows them[/]")
    console.print("[dim]now, and not on schedule: orchestrator reconcile · if you know better: orchestrator settle[/]")


def reconcile() -> int:
    """Find out what became of uncertain sends: ask their providers, send again what its topic wants sent again, give
    up what nobody can tell of any more. The deployment `reconcile` does the same every ten minutes."""
    from orchestrator import wiring
    from orchestrator.reconcile import reconcile as reconcile_now

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        report = reconcile_now(
            wired.store,
            wired.channels,
            wired.keys,
            now=wired.clock,
            public_url=wired.settings.web.public_url,
            senders=wired.settings.senders,
        )
    counts = [{"state": s, "reason": r, "messages": n} for (s, r), n in sorted(report.counts.items())]

    def show(console: Console) -> None:
        console.print(report.summary)
        for problem in report.problems:
            console.print(f"[yellow]![/] {problem}", soft_wrap=True)

    document = {"looked": report.looked, "left": report.left, "settled": counts, "problems": list(report.problems)}
    call.answer(lambda: document, show)
    return COULD_NOT_RUN if report.problems else FINE


def settle(
    message: int,
    /,
    *,
    sent: Annotated[bool, FLAG] = False,
    not_sent: Annotated[bool, FLAG] = False,
    because: str,
    by: str | None = None,
) -> int:
    """Say what became of an uncertain send, when you know better than the program: it is settled so, and on record.

    Parameters
    ----------
    message
        The message, by its number (`orchestrator uncertain`).
    sent
        It went out.
    not_sent
        It did not. It counts no longer under caps, and is not sent any more.
    because
        How you know; every auditor reads it: no name, address or number of a person.
    by
        Who says so; without it, the name you are logged in with.
    """
    from orchestrator import wiring
    from orchestrator.reconcile import settle_by_hand

    call = terminal()
    if sent == not_sent:
        raise Usage("say either --sent or --not-sent")
    if not because.strip():
        raise Usage('--because says how you know, such as --because "in the provider\'s log"')
    who = by or getpass.getuser()
    with wiring.connected(call.workspace) as wired:
        try:
            state = settle_by_hand(
                wired.store, wired.keys, message, sent=sent, because=because, by=who, now=wired.clock()
            )
        except LookupError as error:
            raise Usage(f"{error.args[0]}: `orchestrator uncertain` lists those to be settled") from None
    text = f"{counted(1, 'message')} settled: message {message} is {state}"
    call.answer(lambda: {"message": message, "state": state, "by": who}, lambda console: console.print(text))
    return FINE
