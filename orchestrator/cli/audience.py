"""`audience`: a segment as a list for an advertising platform, as hashes, judged and logged like any send."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from orchestrator.cli.terminal import COULD_NOT_RUN, FINE, CannotRun, terminal

if TYPE_CHECKING:
    from rich.console import Console

Platform = Literal["google", "meta", "tiktok", "linkedin"]


def register(app: App) -> None:
    app.command(audience)


def audience(
    segment: str, /, *, topic: str, for_: Annotated[Platform, Parameter(name="--for")], run: str | None = None
) -> int:
    """Make a list of a segment for an advertising platform: SHA-256 hashes of e-mail addresses and numbers.

    On it is who said yes to the topic on the medium `audience`, and nobody else: each customer passes the gate, and is
    in the log with the reason. The job has the list and, beside it, who is to be taken off. Ends with 2 where some are
    not decided yet: ask again with the same `--run`.

    Parameters
    ----------
    segment
        Whom, by a segment's name.
    topic
        The marketing topic that they said yes to.
    for_
        The platform: each wants addresses written in its own way before they are hashed.
    run
        An earlier run to go on with; without it, a new one named by the minute.
    """
    from orchestrator import wiring
    from orchestrator.audience import AudienceReport, NoAudience, export

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        try:
            report = export(
                wired.store, wired.channels, wired.keys, segment, topic, for_, now=wired.clock, run=run or ""
            )
        except NoAudience as error:
            raise CannotRun(str(error)) from None

    def show(console: Console, found: AudienceReport = report) -> None:
        left = sum(found.left_out.values())
        console.print(f"{found.members} on the list, {left} left out, {found.waiting} not decided yet")
        for reason, n in sorted(found.left_out.items()):
            console.print(f"  {n} {reason}", style="dim")
        console.print(found.job or f"no list yet: ask again with --run {found.run}", soft_wrap=True)

    call.answer(lambda: asdict(report), show)
    return COULD_NOT_RUN if report.waiting else FINE
