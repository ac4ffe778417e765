"""`run`, `pause`, `resume`: one machine, no server to start."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli.terminal import FINE, CannotRun, Terminal, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

FLAG = Parameter(negative=())
_FIRST_YEAR, _LAST_YEAR = 1980, 2200  # what zone data and both databases reckon with, and a margin


def register(app: App) -> None:
    app.command(run)
    app.command(pause)
    app.command(resume)


def run(
    *,
    watch: Annotated[bool, FLAG] = False,
    every: Annotated[float, Parameter(name="--every")] = 60.0,
    budget: int = 50,
    now: str | None = None,
) -> int:
    """Do what is due, once: who enters, who moves on, what goes out. Runs the Prefect flow `tick` on Prefect's
    embedded engine, or on the server that PREFECT_API_URL names.

    Parameters
    ----------
    watch
        Do it again and again until interrupted.
    every
        With --watch: seconds between two beginnings.
    budget
        Begin no new batch after this many seconds.
    now
        Rehearse this instant (2027-03-28T09:00+02:00) instead of the present. Refused where a channel is live.
    """
    call = terminal()
    if budget < 1 or every <= 0:
        raise Usage("--budget and --every are seconds: one at least")
    at = instant(now) if now is not None else None
    if watch and at is not None:
        raise Usage("--watch follows the clock and --now stands still: use one of them")
    ready(call.workspace)
    with embedded(call.workspace) as ticks:
        with waiting(call, "starting Prefect's engine"):
            first = ticks(budget, at)
        _show(call, first)
        while watch and not ticks.stopped.wait(max(0.0, every - first["seconds"])):
            first = ticks(budget, None)
            _show(call, first)
    return FINE


def instant(text: str, option: str = "--now") -> datetime:
    """An instant as typed: ISO 8601 with its offset. Raises Usage."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Usage(f"{option} takes an instant with its offset, as 2027-03-28T09:00+02:00, not `{text}`")
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise Usage(f"{option} takes an instant between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return found.astimezone(UTC)


def ready(workspace: Path) -> None:
    """Say at once, not after Prefect's start, that a run cannot work here. Raises what `wiring.connected` raises."""
    from orchestrator import wiring

    with wiring.connected(workspace) as wired:
        if wired.nothing_applied():
            raise CannotRun(f"nothing is in force in {wired.store.where} yet; run `orchestrator apply` first")
        _ = wired.channels  # made with their keys, or told


# ---- the embedded engine --------------------------------------------------------------------------------------------


class Ticks:
    """Flow runs, one after the other, away from the main thread: that one only waits, and hears signals.

    Prefect turns a SIGTERM within a flow run of the main thread into an exception in the middle of it; here it only
    sets `stopped`, and the run under way ends at its next batch.
    """

    def __init__(self, workspace: Path) -> None:
        self.stopped = threading.Event()
        self._workspace = workspace

    def __call__(self, budget: int, at: datetime | None) -> dict[str, Any]:
        """One flow run's counts. Raises what the run raised."""
        outcome: list[dict[str, Any]] = []
        failure: list[BaseException] = []

        def work() -> None:
            try:
                from orchestrator import flows

                if not self.stopped.is_set():
                    now = at.isoformat() if at else None
                    outcome.append(flows.run_tick(str(self._workspace), budget, now))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=work, name="tick", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.2)  # a join without an end does not let the main thread hear signals on every platform
        if failure:
            if self.stopped.is_set():  # a Ctrl-C ends Prefect's own server too, and the run with whatever it says then
                raise KeyboardInterrupt from failure[0]
            raise failure[0]
        if not outcome:
            raise KeyboardInterrupt
        return outcome[0]


@contextmanager
def embedded(workspace: Path) -> Iterator[Ticks]:
    """Prefect's engine in this process, with its home in the workspace, until SIGINT or SIGTERM."""
    from orchestrator import wiring

    os.environ.setdefault("PREFECT_HOME", str(workspace / ".orchestrator" / "prefect"))
    ticks = Ticks(workspace)

    def stop(number: int, frame: FrameType | None) -> None:
        if ticks.stopped.is_set():
            raise KeyboardInterrupt  # asked twice: at once
        ticks.stopped.set()
        wiring.stopping.set()

    with on_signals(stop):
        yield ticks


@contextmanager
def on_signals(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """`stop` hears SIGINT and SIGTERM inside. Does nothing outside the main thread (tests)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def waiting(call: Terminal, what: str) -> Iterator[None]:
    """A spinner for people at a terminal."""
    if call.json or not call.console.is_terminal:
        yield
        return
    with call.console.status(f"{what} …"):
        yield


# ---- what a tick did ------------------------------------------------------------------------------------------------


def _show(call: Terminal, counts: Mapping[str, Any]) -> None:
    call.answer(lambda: counts, lambda console: show_tick(console, counts))


def show_tick(console: Console, counts: Mapping[str, Any]) -> None:
    """One tick for people: a line, and a table where anything was judged."""
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold]{counts['now'][:16].replace('T', ' ')} UTC[/]  {counts['summary']}")
    for problem in counts["problems"]:
        console.print("[yellow]![/]", escape(problem), soft_wrap=True, highlight=False)
    if not counts["messages"]:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("journey", "medium", "what became of it", "why"):
        table.add_column(name)
    table.add_column("messages", justify="right")
    for row in counts["messages"]:
        table.add_row(row["journey"], row["medium"], row["verdict"], row["reason"], str(row["count"]))
    console.print(table)


# ---- pauses ---------------------------------------------------------------------------------------------------------


def pause(
    journey: str | None = None,
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    reason: Annotated[str, Parameter(name=["--reason", "-m"])] = "",
    by: str | None = None,
    hold: Annotated[bool, Parameter(name="--hold", negative=())] = False,
    discard: Annotated[bool, Parameter(name="--discard", negative=())] = False,
) -> int:
    """Stop a journey where it stands: nobody enters, moves on or is sent to until `orchestrator resume`.

    Every worker looks for a pause before each request to a provider: what was decided and not yet handed over waits.
    Said again of a journey that is paused, it tells what a resume would do, in numbers.

    Parameters
    ----------
    journey
        The journey's name.
    all_
        Everything: every journey, and messages of no journey.
    reason
        Why, for whoever looks at it next.
    by
        Who says so; without it, the name you are logged in with.
    hold
        Who would have entered meanwhile enters when it is resumed. So it is where neither is said.
    discard
        Who would have entered meanwhile does not enter: what fires during the pause goes by.
    """
    import getpass

    from orchestrator import wiring
    from orchestrator.apply import in_force
    from orchestrator.resume import outlooks
    from orchestrator.store import versions

    call = terminal()
    journey = _scope(journey, all_)
    if hold and discard:
        raise Usage("--hold or --discard: one of the two")
    meanwhile: versions.Meanwhile = "discard" if discard else "hold"
    with wiring.connected(call.workspace) as wired:
        _known(wired, journey)
        now, who = wired.clock(), by or getpass.getuser()
        with wired.store.write() as conn:
            new = versions.pause(conn, journey, by=who, reason=reason, now=now, meanwhile=meanwhile)
            since = versions.pauses(conn)[journey]
            force = in_force(conn)
            outlook = outlooks(conn, force, now)[journey] if force is not None else None
    text = f"{_named(journey)} paused"
    if new:
        text += "; " + ("who would enter meanwhile does not" if discard else "who would enter meanwhile waits")
    if not new:
        text += f" already, since {since['paused_at']:%Y-%m-%d %H:%M} UTC by {since['by']}"
        text += f": {since['reason']}" if since["reason"] else ""
        if reason and reason != since["reason"]:
            text += "; your reason is not on record: resume it first, then pause it with another"
        if (hold or discard) and meanwhile != since["meanwhile"]:
            text += f"; it was paused with --{since['meanwhile']}, and stays so"
    found = {"journey": journey, "paused": True, "changed": new, "meanwhile": since["meanwhile"], "outlook": outlook}

    def show(console: Console) -> None:
        console.print(text, soft_wrap=True)
        if outlook is not None:
            console.print(f"  [dim]{outlook.in_words()}[/]", soft_wrap=True)

    call.answer(lambda: found, show)
    return FINE


def resume(
    journey: str | None = None,
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    catch_up: Annotated[bool, Parameter(name="--catch-up", negative=())] = False,
    shift: Annotated[bool, Parameter(name="--shift", negative=())] = False,
) -> int:
    """Let a paused journey go on. What became due meanwhile is judged anew, with today's rules.

    A journey that the guard paused, because its audience had grown, is let go with the audience it has now.

    Parameters
    ----------
    journey
        The journey's name.
    all_
        End the pause of everything. Journeys that were paused by name stay so.
    catch_up
        Whose time came meanwhile moves on at once. So it is where neither is said.
    shift
        Waits for a length of time do not count the pause: each ends as much later as it was long. What waits for a day
        or an hour of the clock does not move.
    """
    import getpass

    from orchestrator import wiring
    from orchestrator.resume import resume as let_go
    from orchestrator.resume import span
    from orchestrator.store import versions

    call = terminal()
    journey = _scope(journey, all_)
    if catch_up and shift:
        raise Usage("--catch-up or --shift: one of the two")
    how: Literal["catch_up", "shift"] = "shift" if shift else "catch_up"
    with wiring.connected(call.workspace) as wired:
        done = let_go(wired.store, journey, by=getpass.getuser(), now=wired.clock(), how=how)
        with wired.store.read() as conn:
            left = versions.pauses(conn)
    text = f"{_named(journey)} resumed" if done else f"{_named(journey)} not paused"
    if done:
        text += f" after {span(done.outlook.length)}"
        if done.shifted:
            text += f": {done.shifted:,} inside, whose waits end as much later"
        elif done.outlook.inside:
            text += f": {done.outlook.inside:,} inside, {done.outlook.due:,} move on at once"
    if versions.EVERYTHING in left:
        text += "; everything is still paused: orchestrator resume --all"
    elif journey == versions.EVERYTHING and left:
        text += f"; still paused by name: {', '.join(sorted(left))}"
    found = {"journey": journey, "paused": False, "changed": done is not None, "resumed": done}
    call.answer(lambda: found, lambda console: console.print(text, soft_wrap=True))
    return FINE


def _scope(journey: str | None, everything: bool) -> str:
    """What is meant: a journey by its name, or all of them. `*` says the same as --all."""
    if everything == (journey is not None) and journey != "*":
        raise Usage("name one journey, or say --all")
    return journey or "*"


def _named(journey: str) -> str:
    return "everything is" if journey == "*" else f"{journey} is"


def _known(wired: Any, journey: str) -> None:
    from orchestrator.problems import suggest
    from orchestrator.store import versions

    with wired.store.read() as conn:
        applied = versions.newest(conn)
    names = applied.journeys if applied else {}
    if journey != versions.EVERYTHING and journey not in names:
        hint = suggest(journey, names)
        raise Usage(f"no journey `{journey}` is in force" + (f"; {hint}" if hint else ""))
