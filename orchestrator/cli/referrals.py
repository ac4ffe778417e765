"""`referrals`, `commissions`: who brought whom, and what partners earned of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from orchestrator.cli._look import table, when
from orchestrator.cli._opening import opened, ruling
from orchestrator.cli.games import between
from orchestrator.cli.terminal import FINE, CannotRun, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.store.referrals import Item, Statement


def register(app: App) -> None:
    app.command(referrals)
    app.command(commissions)


def referrals(*, state: Literal["pending", "converted", "lapsed", "refused"] | None = None, limit: int = 20) -> int:
    """How many were brought by others, what became of it and why not; the newest of them.

    Parameters
    ----------
    state
        Only these.
    limit
        How many of the newest are listed.
    """
    from orchestrator import refer
    from orchestrator.store import referrals as stored

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        ruling(conn, wired)
        counts = stored.counts(conn)
        found = stored.listed(conn, state=state, limit=max(limit, 0))
        keys = stored.keys_of(conn, found)
    told = [
        {
            "referrer": keys.get((one.unit, one.unit_id)),
            "referred": keys.get((one.referred_unit, one.referred_id)),
            "class": one.class_name,
            "state": one.state,
            "reason": one.reason or None,
            "at": one.at,
            "converted_at": one.converted_at if one.state == "converted" else None,
        }
        for one in found
    ]
    sums = [{"state": name, "reason": reason or None, "referrals": n} for (name, reason), n in counts.items()]
    call.answer(lambda: {"counts": sums, "referrals": told}, lambda console: _show(console, sums, told, refer.REASONS))
    return FINE


def _show(console: Console, sums: list[dict[str, Any]], told: list[dict[str, Any]], reasons: Any) -> None:
    if not sums:
        console.print("Nobody has been referred yet.", style="dim")
        return
    for one in sums:
        why = f" [dim]{reasons.get(one['reason'], one['reason'])}[/]" if one["reason"] else ""
        console.print(f"{one['referrals']:>8,} {one['state']}{why}", highlight=False, soft_wrap=True)
    if told:
        shown = table("\nnewest", "when (UTC)", "referrer", "referred", "", wrap=("referrer", "referred"))
        for one in told:
            state = one["state"] + (f" ({one['reason']})" if one["reason"] else "")
            shown.add_row(when(one["at"]), one["referrer"] or "—", one["referred"] or "—", state)
        console.print(shown)


def commissions(*, period: str, out: Path | None = None, partner: str | None = None) -> int:
    """What partners earned in a period, by partner and currency; every line of it as a CSV file.

    By when things happened, by the workspace's clock. A refund is a line of its own, negative, in the period in which
    it happened.

    Parameters
    ----------
    period
        `2027`, `2027-Q1`, `2027-03` or `2027-03-01..2027-03-15`.
    out
        Write the lines, with a total for each partner, to this file.
    partner
        The key of an account: only that one's.
    """
    from orchestrator.model import minor_digits
    from orchestrator.store import referrals as stored

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        since, until = between(period, ruling(conn, wired).project.vocabulary)
        if since is None or until is None:
            raise Usage("--period says which")
        found = [one for one in stored.statements(conn, since, until) if partner in (None, one.partner)]
        items = [one for one in stored.items(conn, since, until) if partner in (None, one.partner)] if out else []

    def money(minor: int, currency: str) -> str:
        digits = minor_digits(currency)
        return f"{Decimal(minor).scaleb(-digits):.{digits}f}"

    if out is not None:
        _write(out, found, items, money)
    told = [{**one._asdict(), "total": one.total} for one in found]
    call.answer(
        lambda: {"period": period, "since": since, "until": until, "partners": told, "file": out},
        lambda console: _show_statements(console, found, money, out),
    )
    return FINE


def _write(path: Path, found: Sequence[Statement], items: Sequence[Item], money: Any) -> None:
    import csv

    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            sheet = csv.writer(file)
            sheet.writerow(("partner", "name", "what", "at", "event", "amount", "currency"))
            for total in found:
                for one in items:
                    if (one.partner, one.currency) == (total.partner, total.currency):
                        what, at = "refund" if one.is_refund else "commission", one.at.isoformat()
                        amount = money(one.amount, one.currency)
                        sheet.writerow((one.partner, one.name, what, at, one.event, amount, one.currency))
                amount = money(total.total, total.currency)
                sheet.writerow((total.partner, total.name, "total", "", "", amount, total.currency))
    except OSError as error:
        raise CannotRun(f"{path} cannot be written: {error.strerror}") from None


def _show_statements(console: Console, found: Sequence[Statement], money: Any, out: Path | None) -> None:
    if not found:
        console.print("No partner earned anything then.", style="dim")
    else:
        right = ("sales", "earned", "taken back", "total")
        shown = table("", "partner", "name", *right, "", right=right, wrap=("name",))
        for one in found:
            amounts = (money(n, one.currency) for n in (one.earned, one.taken_back, one.total))
            shown.add_row(one.partner, one.name, f"{one.sales:,}", *amounts, one.currency)
        console.print(shown)
    if out is not None:
        console.print(f"Every line is in {out}.", soft_wrap=True)
