"""`rewards`: the catalogue with what is left of it; claims made, handed over to who fulfils them, cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from orchestrator.cli._look import counted, listed, table
from orchestrator.cli._opening import opened, ruling
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Usage, near, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.project import Project
    from orchestrator.store.claims import Tally


def register(app: App) -> None:
    rewards = App(name="rewards", help="What can be had for points: the catalogue, claims, and who fulfils them.")
    rewards.default(catalogue)
    rewards.command(fulfil)
    rewards.command(claim)
    rewards.command(cancel)
    app.command(rewards)


def catalogue() -> int:
    """Every reward: what it costs, for which tiers, what is left, and how far its claims are."""
    from orchestrator.store import claims, vouchers

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        project = ruling(conn, wired).project
        tallies = claims.tallies(conn)
        free = vouchers.free(conn, project.vocabulary.loyalty.pools)
    told = _rows(project, tallies, free)
    named = {one["reward"] for one in told}
    gone = [{"reward": name, **_counts(tally)} for name, tally in sorted(tallies.items()) if name not in named]
    call.answer(lambda: {"rewards": told, "not_declared": gone}, lambda console: _show(console, told, gone))
    return FINE


def _counts(tally: Tally) -> dict[str, int]:
    return {name: getattr(tally, name) for name in ("claimed", "handed_over", "fulfilled", "cancelled")}


def _rows(project: Project, tallies: Mapping[str, Tally], free: Mapping[str, int]) -> list[dict[str, Any]]:
    from orchestrator.store.claims import Tally

    rows = []
    for class_name, program in sorted(project.program.classes.items()):
        for one in sorted(program.rewards.values(), key=lambda reward: (reward.costs, reward.name)):
            tally = tallies.get(one.name, Tally())
            stock = None if one.stock is None else max(0, one.stock - tally.live)
            codes = free.get(one.voucher, 0) if one.voucher else None
            rows.append(
                {
                    "reward": one.name,
                    "class": class_name,
                    "kind": one.kind,
                    "costs": one.costs,
                    "tiers": list(one.tiers or program.tiers),
                    "left": codes if stock is None else stock if codes is None else min(stock, codes),
                    "stock": one.stock,
                    "voucher": one.voucher or None,
                    **_counts(tally),
                }
            )
    return rows


def _show(console: Console, told: list[dict[str, Any]], gone: list[dict[str, Any]]) -> None:
    if not told and not gone:
        console.print("No reward is declared; `rewards` of a class in workspace.yaml does it.", style="dim")
        return
    heads = ("class", "reward", "kind", "costs", "left", "claims", "for")
    shown = table("", *heads, right=("costs", "left"), wrap=("kind", "claims", "for"))
    words = {"claimed": "open", "handed_over": "handed over", "fulfilled": "fulfilled", "cancelled": "cancelled"}
    for one in told:
        left = "any" if one["left"] is None else f"{one['left']:,}"
        claims = listed(f"{one[name]:,} {word}" for name, word in words.items() if one[name])
        cells = (one["class"], one["reward"], one["kind"].replace("_", " "), f"{one['costs']:,}", left, claims or "–")
        shown.add_row(*cells, listed(one["tiers"]))
    console.print(shown)
    for one in gone:
        text = f"{one['reward']}: not declared any more; {counted(one['claimed'], 'claim')} open"
        console.print("[yellow]![/]", text, soft_wrap=True, highlight=False)


def fulfil(folder: Path, /) -> int:
    """Hand over the open claims that have no voucher: a CSV for each kind of reward, each claim once.

    The files hold what whoever fulfils needs of people and are readable for their owner only (mode 0600): take them
    away, and delete them when they are done with. What became of the claims comes back by `orchestrator import claims`.

    Parameters
    ----------
    folder
        Where the files go.
    """
    from orchestrator import fulfil as fulfilling

    call = terminal()
    with opened(call.workspace) as wired:
        with wired.store.read() as conn:
            project = ruling(conn, wired).project
        try:
            report = fulfilling.fulfil(wired.store, project, folder.expanduser().absolute(), now=wired.clock())
        except fulfilling.NotHandedOver as error:
            raise CannotRun(str(error)) from None

    def show(console: Console) -> None:
        for name, count in report.files.items():
            console.print(
                f"[bold green]✓[/] {counted(count, 'claim')} in {near(folder.absolute() / name)}", soft_wrap=True
            )
        for name in report.finished:
            console.print(f"[bold green]✓[/] {name} of an earlier run that had died is finished", soft_wrap=True)
        if report.cancelled:
            console.print(f"[yellow]![/] {counted(report.cancelled, 'claim')} of people who were erased: cancelled")
        if not report.files and not report.finished:
            console.print("no claim is open", style="dim")

    document = {"files": report.files, "claims": report.handed_over, "cancelled": report.cancelled}
    call.answer(lambda: {**document, "finished": report.finished}, show)
    return FINE


def claim(customer: str, reward: str, /, *, key: str) -> int:
    """Claim a reward for a customer, as a shop or the rewards page would. Ends with 1 when it is refused.

    Parameters
    ----------
    customer
        The customer's key. Where her points are her company's, the company pays.
    reward
        The reward's name.
    key
        What for, such as an order's number: the same key again is the same claim.
    """
    from orchestrator.accepting import NotAccepted, accept_claim

    call = terminal()
    with opened(call.workspace) as wired:
        try:
            answer = accept_claim(wired.store, {"customer": customer, "reward": reward, "key": key}, now=wired.clock())
        except NotAccepted as refused:
            if not refused.reason:
                raise Usage(str(refused)) from None
            told = {"claim": None, "reason": refused.reason, "text": str(refused)}
            call.answer(lambda: told, lambda console: console.print(f"[bold red]✗[/] {told['text']}", soft_wrap=True))
            return PROBLEMS

    def show(console: Console) -> None:
        code = answer.get("voucher")
        what = f": {code['code']}" if code else ""
        console.print(f"[bold green]✓[/] claim {answer['claim']} of {reward}{what}", soft_wrap=True, highlight=False)

    call.answer(lambda: answer, show)
    return FINE


def cancel(number: int, /) -> int:
    """Take a claim back: its points return, its stock too, and its voucher is void. Ends with 1 when it cannot be.

    Parameters
    ----------
    number
        The claim's number, as files and events have it.
    """
    from orchestrator import reward as rewards

    call = terminal()
    with opened(call.workspace) as wired:
        now = wired.clock()
        with wired.store.read() as conn:
            project = ruling(conn, wired).project
        reason = wired.store.written(lambda conn: rewards.cancel(conn, project, number, now))
    text = rewards.NOT_CANCELLED[reason] if reason else ""

    def show(console: Console) -> None:
        done = f"[bold red]✗[/] not cancelled: {text}" if reason else f"[bold green]✓[/] claim {number} is cancelled"
        console.print(done, soft_wrap=True)

    call.answer(lambda: {"claim": number, "cancelled": not reason, "reason": reason}, show)
    return PROBLEMS if reason else FINE
