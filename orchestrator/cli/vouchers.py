"""`vouchers`: pools of codes filled, looked at, redeemed at the till, voided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from orchestrator.cli._look import table
from orchestrator.cli._opening import opened, ruling
from orchestrator.cli.terminal import FINE, PROBLEMS, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.model import Pool
    from orchestrator.reward import Answer


def register(app: App) -> None:
    vouchers = App(name="vouchers", help="Pools of voucher codes: filled, given, redeemed, voided.")
    vouchers.command(import_, name="import")
    vouchers.command(list_, name="list")
    vouchers.command(redeem)
    vouchers.command(void)
    app.command(vouchers)


def import_(pool: str, file: Path, /, *, quarantine: Path | None = None) -> int:
    """Put codes into a pool: a file with a column `code`, one unique code a line.

    Codes that are in a pool already, and what is no code, go to a quarantine file beside it; the rest goes on. The same
    content twice is imported once. Ends with 1 when rows were put aside.

    Parameters
    ----------
    pool
        The pool, as `vouchers` of workspace.yaml declares it.
    file
        A .csv, .jsonl or .parquet file.
    quarantine
        The folder for rows put aside; without it, the file's own.
    """
    from orchestrator.cli.machine import taken_in

    return taken_in("vouchers", file, quarantine=quarantine, list_name=pool)


def list_() -> int:
    """Every pool: how many codes are free, given, redeemed, expired and void. Ends with 1 when one runs short."""
    from orchestrator import reward
    from orchestrator.store import vouchers
    from orchestrator.store.vouchers import Level
    from orchestrator.zones import local

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        vocabulary = ruling(conn, wired).project.vocabulary
        here = local(wired.clock(), vocabulary.timezone) or wired.clock()
        found = vouchers.levels(conn, here.date())
        short = reward.shortages(conn, vocabulary)
    pools = vocabulary.loyalty.pools
    told: list[dict[str, Any]] = [
        {"pool": name, "declared": name in pools, **asdict(found.get(name, Level()))} | _rules(pools, name)
        for name in sorted({*pools, *found})
    ]
    call.answer(lambda: {"pools": told, "problems": short}, lambda console: _show(console, told, short))
    return PROBLEMS if short else FINE


def _rules(pools: Mapping[str, Pool], name: str) -> dict[str, str | int | None]:
    valid = pools[name].valid if name in pools else None
    return {
        "valid": None if valid is None else str(valid),
        "warn_below": pools[name].warn_below if name in pools else None,
    }


def _show(console: Console, told: list[dict[str, Any]], short: tuple[str, ...]) -> None:
    if not told:
        console.print("No pool is declared; `vouchers` in workspace.yaml does it.", style="dim")
        return
    states = ("free", "given", "redeemed", "expired", "void")
    shown = table("", "pool", *states, "valid", right=states)
    for one in told:
        valid = one["valid"] or ("for ever" if one["declared"] else "not declared")
        shown.add_row(one["pool"], *(f"{one[state]:,}" for state in states), valid)
    console.print(shown)
    for problem in short:
        console.print("[yellow]![/]", problem, soft_wrap=True, markup=True, highlight=False)


def redeem(
    code: str | None = None,
    /,
    *,
    receipt: str | None = None,
    amount: str | None = None,
    at: str | None = None,
    file: Path | None = None,
) -> int:
    """Redeem a code, or a till's file of them. Each code is redeemed once; the same receipt again changes nothing.

    A file has the columns code, receipt, and if wanted at, amount and amount_currency; codes that are refused go to a
    quarantine file with the reason. Ends with 1 when a code was refused.

    Parameters
    ----------
    code
        The code that was shown.
    receipt
        The till's own number of the sale.
    amount
        What was bought for, such as `42.50 EUR`.
    at
        When it was, such as `2027-03-01T17:30`; without it, now.
    file
        A .csv, .jsonl or .parquet file of the till, instead of a code.
    """
    from orchestrator.cli.machine import taken_in

    if (code is None) == (file is None):
        raise Usage("name a code with its `--receipt`, or a till's `--file`")
    if file is not None:
        if receipt or amount or at:
            raise Usage("a file has receipt, amount and time of each code in its own columns")
        return taken_in("redemptions", file)
    if not receipt:
        raise Usage("`--receipt` is missing: the till's own number of the sale, so that telling it twice is once")
    row = {"code": str(code), "receipt": receipt, "amount": amount or "", "at": at or ""}
    return _redeemed(row)


def _redeemed(row: Mapping[str, str]) -> int:
    from orchestrator import fulfil, reward
    from orchestrator.rows import RowReader

    call = terminal()
    with opened(call.workspace) as wired:
        now = wired.clock()
        with wired.store.read() as conn:
            vocabulary = ruling(conn, wired).project.vocabulary
        read = RowReader("redemptions", vocabulary, now).read(row)
        if isinstance(read, str):
            raise Usage(read)
        told = [fulfil.redemption(read)]
        (answer,) = wired.store.written(lambda conn: reward.redeem(conn, vocabulary, told, now))
    call.answer(lambda: _document(answer), lambda console: _say(console, answer, "redeemed"))
    return PROBLEMS if answer.reason else FINE


def void(code: str, /) -> int:
    """Make a code worthless: it is not given or redeemed any more. A code that was redeemed stays so.

    Parameters
    ----------
    code
        The code.
    """
    from orchestrator import reward

    call = terminal()
    with opened(call.workspace) as wired:
        now = wired.clock()
        answer = wired.store.written(lambda conn: reward.void(conn, code, now))
    call.answer(lambda: _document(answer), lambda console: _say(console, answer, "void"))
    return PROBLEMS if answer.reason else FINE


def _document(answer: Answer) -> dict[str, object]:
    return {"done": not answer.reason, "reason": answer.reason, "pool": answer.pool, "expires_on": answer.expires_on}


def _say(console: Console, answer: Answer, done: str) -> None:
    of = f" (pool {answer.pool})" if answer.pool else ""
    if answer.reason:
        console.print(f"[bold red]✗[/] refused: {answer.text}{of}", soft_wrap=True)
    else:
        console.print(f"[bold green]✓[/] {done}{of}", soft_wrap=True)
