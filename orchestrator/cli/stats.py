"""`stats`: what became of messages, in numbers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from orchestrator.cli._look import counted, table
from orchestrator.cli._opening import as_of
from orchestrator.cli.running import instant
from orchestrator.cli.terminal import FINE, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.store.statistics import Numbers, Tally

Thing = Literal["step", "medium", "topic", "journey", "day"]
_RATES = ("delivered", "bounced", "failed", "opened", "clicked", "unsubscribed", "complained", "replied", "returned")
_WIDE = {
    "sent": "sent", "delivered": "delivered", "bounced": "bounced", "failed": "failed", "opened": "opened",
    "machine": "machine", "clicked": "clicked", "unsubscribed": "unsub.", "complained": "compl.", "replied": "replied",
    "returned": "returned",
}  # fmt: skip
_NARROW = {"sent": "sent", "delivered": "deliv.", "opened": "opened", "clicked": "clicked"}


def register(app: App) -> None:
    app.command(stats)


def stats(
    journey: str | None = None, /, *, by: Thing = "step", since: str | None = None, until: str | None = None
) -> int:
    """What became of messages: sent, delivered, bounced, opened, clicked, and who left or complained.

    Messages to customers are counted, each once, under the time at which they were decided to go. Rates are shares of
    the delivered ones where the provider tells of deliveries, else of the sent ones; bounces and failures, of the
    sent ones. What machines opened is told apart and is in no rate.

    Parameters
    ----------
    journey
        Of this journey only.
    by
        What to count by: step, medium, topic, journey or day (UTC's).
    since
        From this instant (2027-03-28T09:00+02:00) or for this long (`2 hours`, `7 days`).
    until
        Up to this instant, or to this long ago.
    """
    from orchestrator import wiring
    from orchestrator.store.statistics import tally

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        now = as_of(conn, wired)
        start, end = (_at(name, text, now) for name, text in (("--since", since), ("--until", until)))
        found = tally(conn, by, journey=journey, since=start, until=end)
    call.answer(
        lambda: _plain(found, journey, start, end), lambda console: _show(console, found, _nothing(journey, start, end))
    )
    return FINE


def _at(name: str, text: str | None, now: datetime) -> datetime | None:
    from orchestrator.words import duration

    if text is None:
        return None
    if text[:1].isdigit() and "-" not in text:
        found = duration(text)
        if found is None:
            raise Usage(f"{name} takes an instant with its offset, or a time such as `7 days`, not `{text}`")
        return now - timedelta(days=found.days + 30 * found.months, seconds=found.seconds)
    return instant(text, name)


def _plain(found: Tally, journey: str | None, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    def numbers(own: Numbers) -> dict[str, Any]:
        rates = {name: None if (rate := own.rate(name)) is None else round(rate, 4) for name in _RATES}
        return {**asdict(own), "rates": rates}

    groups = [{found.by: name, **numbers(own)} for name, own in found.groups.items()]
    return {
        "by": found.by,
        "journey": journey,
        "since": since,
        "until": until,
        "groups": groups,
        "total": numbers(found.total),
    }


def _nothing(journey: str | None, since: datetime | None, until: datetime | None) -> str:
    """That there is nothing to count, and what is not counted here."""
    whose, when = f" by {journey}" if journey else "", " in that time" if since or until else ""
    return (
        f"No message to a customer was sent{whose}{when}. "
        "What your own people are given is not counted here: `orchestrator tasks`, `orchestrator log`."
    )


def _show(console: Console, found: Tally, nothing: str) -> None:
    if not found.groups:
        console.print(nothing, style="dim", soft_wrap=True)
        return
    shown = _WIDE if console.width >= 110 else _NARROW
    rows = table("", found.by, *shown.values(), right=tuple(shown.values()), wrap=(found.by,))
    for name, own in found.groups.items():
        rows.add_row(name or "—", *(_cell(own, what) for what in shown))
    if len(found.groups) > 1:
        rows.add_section()
        rows.add_row("[bold]all[/]", *(_cell(found.total, what) for what in shown))
    console.print(rows)
    console.print(
        f"[dim]{counted(found.total.people, 'person', 'people')}; rates are of {counted(found.total.base, 'message')}: "
        "what was delivered where that is told, else what was sent[/]",
        soft_wrap=True,
    )


def _cell(own: Numbers, what: str) -> str:
    count: int = getattr(own, what)
    if not count:
        return "[dim]·[/]"
    rate = own.rate(what) if what in _RATES else None
    return f"{count:,}" if rate is None else f"{count:,} [dim]{rate:.1%}[/]"
