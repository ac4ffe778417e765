"""`experiments`: how splits with a winner stand, and what journeys bring against those held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cyclopts import App

from orchestrator.cli._look import counted, table, when
from orchestrator.cli._opening import as_of, ruling
from orchestrator.cli.terminal import FINE, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.decide import Standing
    from orchestrator.experiment import Comparison

_MARK = {"decided": "[green]✓[/]", "gathering": "[cyan]·[/]", "too early": "[dim]·[/]"}


def register(app: App) -> None:
    app.command(experiments)


def experiments(journey: str | None = None, /) -> int:
    """How each experiment stands: arms, runs, successes, differences with intervals, what is decided, what is missing.

    Splits with a `winner`, and journeys with a holdout and a goal by event with a time `within`. Each customer or
    account counts once, when its time is over. Look as often as you like: the intervals hold at all times together.
    Ticks decide, looking every hour: whoever comes to the split from then on takes the winner.

    Parameters
    ----------
    journey
        This one's only.
    """
    from orchestrator import wiring
    from orchestrator.decide import standings
    from orchestrator.problems import suggest

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        force, now = ruling(conn, wired), as_of(conn, wired)
        names = force.project.journeys
        if journey is not None and journey not in names:
            hint = suggest(journey, names)
            raise Usage(f"no journey `{journey}` is in force" + (f"; {hint}" if hint else ""))
        found = standings(conn, force, now, journey=journey)
    document = {"experiments": [_document(one) for one in found]}
    call.answer(lambda: document, lambda console: _show(console, found))
    return FINE


def _document(one: Standing) -> dict[str, Any]:
    decision = one.decision
    return {
        "journey": one.journey,
        "split": one.step,
        "state": one.state,
        "by": one.by,
        "within_seconds": round(one.after.total_seconds()),
        "confidence": one.confidence,
        "since": None if one.since is None else one.since.isoformat(),
        "arms": [{**asdict(arm), "rate": arm.rate, "waiting": one.waiting.get(arm.name, 0)} for arm in one.arms],
        "comparisons": [asdict(compared) for compared in one.finding.comparisons],
        "leader": one.finding.leader,
        "why": one.finding.why,
        "to_go": one.to_go,
        "decision": None if decision is None else {"id": decision.id, "at": decision.at.isoformat(),
                                                   "winner": decision.winner, "arms": list(decision.arms)},
    }  # fmt: skip


# ---- in the terminal ------------------------------------------------------------------------------------------------


def _show(console: Console, found: Sequence[Standing]) -> None:
    if not found:
        console.print(
            "no journey in force has an experiment: give a split a `winner`, or a journey a `holdout` and a goal "
            "`{ event: …, within: … }`",
            soft_wrap=True,
        )
        return
    for number, one in enumerate(found):
        if number:
            console.print()
        _show_one(console, one)


def _show_one(console: Console, one: Standing) -> None:
    shown = table(
        f"{one.journey} · {one.step}", "arm", "share", "runs", "still out", one.by, "rate",
        right=("share", "runs", "still out", one.by, "rate"),
    )  # fmt: skip
    winner = one.decision.winner if one.decision is not None else ""
    for arm in one.arms:
        rate = "–" if arm.rate is None else f"{arm.rate:.1%}"
        name = f"[green]✓ {arm.name}[/]" if arm.name == winner else arm.name
        waiting = one.waiting.get(arm.name, 0)
        shown.add_row(name, f"{arm.share:.0%}", f"{arm.runs:,}", f"{waiting:,}", f"{arm.successes:,}", rate)
    console.print(shown)
    for compared in one.finding.comparisons:
        console.print(f"  {_compared(compared)}", soft_wrap=True, highlight=False)
    console.print(f"{_MARK[one.state]} {_state(one)}", soft_wrap=True, highlight=False)


def _compared(one: Comparison) -> str:
    if one.difference is None:
        return f"{one.first} − {one.second}: nothing to compare yet"
    return (
        f"{one.first} − {one.second}: {one.difference * 100:+.1f} points, "
        f"at all times within {one.low * 100:+.1f} … {one.high * 100:+.1f}"
    )


def _state(one: Standing) -> str:
    """What holds, and what is still needed."""
    from orchestrator.decide import HOLDOUT

    if one.decision is not None:
        d = one.decision
        arm: Mapping[str, Any] = next((a for a in d.arms if a["name"] == d.winner), {"runs": 0, "successes": 0})
        return (
            f"decided on {when(d.at)} UTC: {d.winner} won, {arm['successes']:,} of {arm['runs']:,}; "
            "who comes to the split from then on takes it"
        )
    within = f"{one.by} within {_span(one)}"
    if one.state == "too early":
        out = sum(one.waiting.values())
        return f"too early: nobody's time is over ({within}); {counted(out, 'run')} still out"
    if one.finding.reached:
        if one.step == HOLDOUT:
            return f"clear ({within}): {_said(one.finding.why)}"
        return f"clear ({within}): {_said(one.finding.why)}; the next tick decides, within an hour"
    if any(c.difference is None for c in one.finding.comparisons) or not one.finding.comparisons:
        more = ""
    elif one.to_go is None:
        more = "; they look alike: at these rates it would take more than a million runs"
    else:
        more = f"; some {_rough(one.to_go)} more runs at these rates"
    return f"gathering ({within}, {one.confidence * 100:g}% sure): {_said(one.finding.why)}{more}"


def _said(why: str) -> str:
    return why.replace("`", "")


def _span(one: Standing) -> str:
    hours = one.after.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"


def _rough(n: int) -> str:
    """Two digits are all that such a guess is worth."""
    size = max(0, len(str(n)) - 2)
    return f"{round(n, -size):,}"
