"""`simulate`: a workspace played ahead of time, with people made up or a sample of the real ones."""

from __future__ import annotations

import importlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, table
from orchestrator.cli._opening import opened
from orchestrator.cli._scratch import scratch
from orchestrator.cli.terminal import FINE, CannotRun, Terminal, Usage, near, terminal

if TYPE_CHECKING:
    from datetime import date, datetime, timedelta

    from rich.console import Console

    from orchestrator.project import Project
    from orchestrator.rehearse.cohort import Cohort
    from orchestrator.simulation import Behaviour, Simulation

ROOM = 4 * 2**30
"""Bytes that have to be free in memory's own file system before a scratch database is put there."""
_SHADES = (("·", "grey30"), ("░", "green4"), ("▒", "green3"), ("▓", "yellow3"), ("█", "orange3"))
"""Of a day on the calendar, by quarters of the busiest: told by the sign alone where there are no colours."""
_VERDICTS = {"hold": "held", "deny": "refused", "expired": "expired", "cancelled": "withdrawn"}
_REPLIES = ("delivered", "opened", "clicked", "converted", "bounced", "complained", "unsubscribed")


def register(app: App) -> None:
    app.command(simulate)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command was asked for."""

    begin: datetime
    until: datetime
    customers: int
    sample: int | None
    seed: int
    hop: timedelta
    journeys: tuple[str, ...]


def simulate(
    journeys: tuple[str, ...] = (),
    /,
    *,
    days: int = 30,
    begin: Annotated[str | None, Parameter(name="--from")] = None,
    until: str | None = None,
    customers: int = 1000,
    sample: int | None = None,
    seed: int = 1,
    behaviour: str | None = None,
    hop: int | None = None,
    out: Path | None = None,
    compare: str | None = None,
) -> int:
    """Play the workspace in this folder ahead of time: the real engine on a scratch database, a clock that jumps, and
    nobody is written to. Shows what would go out and when, what would be held and refused and why, and what it costs.

    With people made up it tells how journeys run together; how many will enter, only a sample of the real ones tells.

    Parameters
    ----------
    journeys
        Only these, and those that they enter; without any, all of them, as they compete for the same people.
    days
        How many days.
    begin
        The first instant (2027-03-28 or 2027-03-28T09:00+02:00); without it, the next full hour.
    until
        The last instant, in place of `--days`.
    customers
        How many customers are made up.
    sample
        Take about so many of the real customers instead, with the journeys they are in. They are read, and copied into
        a scratch database that is gone at the end.
    seed
        The same seed gives the same messages.
    behaviour
        How people take what they get: a YAML file, or `history` for what they did with the messages so far. Without
        it, usual shares that are made up.
    hop
        Hours between two looks at least; without it one for up to 45 days, three for up to 120, six for more.
    out
        Write a report with charts and the journeys as pictures to this HTML file.
    compare
        Play this one, too, with the same people: another folder, or the number of an apply (`orchestrator versions`).
    """
    from orchestrator.project import load

    call = terminal()
    project = load(call.workspace)
    if strange := [name for name in journeys if name not in project.journeys]:
        from orchestrator.problems import suggest

        raise Usage(f"there is no journey `{strange[0]}`; {suggest(strange[0], project.journeys)}".removesuffix("; "))
    if days < 1 or customers < 1 or (hop is not None and hop < 1) or (sample is not None and sample < 1):
        raise Usage("--days, --customers, --sample and --hop are numbers, one at least")
    asked = _asked(project, days, begin, until, customers, sample, seed, hop, journeys)
    other = _other(call, compare) if compare is not None else None
    with _cohort(call, project, asked, behaviour) as (cohort, how):
        played = _played(call, project, cohort, how, asked, "")
        beside = _played(call, other, cohort, how, asked, "the other: ") if other is not None else None
    if out is not None:
        _report(out, played, project, beside, other, compare or "")
    call.answer(
        lambda: document(played) | ({"compared": document(beside)} if beside is not None else {}),
        lambda console: _show(console, played, project, beside, out),
    )
    return FINE


# ---- what is asked for ----------------------------------------------------------------------------------------------


def _asked(
    project: Project,
    days: int,
    begin: str | None,
    until: str | None,
    customers: int,
    sample: int | None,
    seed: int,
    hop: int | None,
    journeys: tuple[str, ...],
) -> _Asked:
    from datetime import UTC, datetime, timedelta

    from orchestrator.simulation import usual_hop

    home = project.vocabulary.timezone
    full = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    first = _instant(begin, home) if begin is not None else full
    last = _instant(until, home) if until is not None else first + timedelta(days=days)
    if last <= first:
        raise Usage("--until lies before the beginning")
    between = usual_hop(last - first) if hop is None else timedelta(hours=hop)
    return _Asked(first, last, customers, sample, seed, between, journeys)


def _instant(text: str, home: str) -> datetime:
    """A day by the workspace's clock, or an instant with its offset."""
    from datetime import date, time

    from orchestrator.cli.running import instant
    from orchestrator.zones import instant as at
    from orchestrator.zones import zone

    try:
        day = date.fromisoformat(text)
    except ValueError:
        return instant(text)
    tz = zone(home)
    assert tz is not None
    return at(day, time(), tz)


def _other(call: Terminal, name: str) -> Project:
    """Another folder's workspace, or one that was applied."""
    from orchestrator.project import load, load_files
    from orchestrator.store import versions

    if not name.isdigit():
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise Usage(f"there is no folder {name}; name one, or the number of an apply")
        return load(folder)
    with opened(call.workspace) as wired, wired.store.read() as conn:
        found = versions.by_number(conn, int(name))
        if found is None:
            raise CannotRun(f"there was no apply {name}; `orchestrator versions` lists them")
        return load_files(versions.texts(conn, found.files))


@contextmanager
def _cohort(
    call: Terminal, project: Project, asked: _Asked, behaviour: str | None
) -> Iterator[tuple[Cohort, Behaviour]]:
    """Who is played with, and how they behave. The database is opened where it is asked for, and only read."""
    from orchestrator.rehearse.behaving import USUAL, learned, read_behaviour
    from orchestrator.rehearse.cohort import made_up
    from orchestrator.rehearse.sampling import Nobody, sampled
    from orchestrator.rehearse.simulating import part

    how = USUAL
    if behaviour is not None and behaviour != "history":
        path = Path(behaviour)
        try:
            how = read_behaviour(path.read_text(encoding="utf-8"), behaviour)
        except (OSError, UnicodeDecodeError) as error:
            raise CannotRun(f"{behaviour} cannot be read: {type(error).__name__}") from None
    if asked.sample is None and behaviour != "history":
        yield made_up(part(project, asked.journeys), asked.customers, asked.seed), how
        return
    with opened(call.workspace) as wired:
        if behaviour == "history":
            with wired.store.read() as conn:
                how = learned(conn)
        if asked.sample is None:
            yield made_up(part(project, asked.journeys), asked.customers, asked.seed), how
            return
        try:
            cohort = sampled(wired.store, wired.keys, asked.sample, asked.seed, project)
        except Nobody as error:
            raise CannotRun(str(error)) from None
        yield cohort, how


# ---- played ---------------------------------------------------------------------------------------------------------


def _played(call: Terminal, project: Project, cohort: Cohort, how: Behaviour, asked: _Asked, title: str) -> Simulation:
    from channels.base import Medium
    from orchestrator.rehearse.simulating import simulate as play

    null: Any = importlib.import_module("channels.null")
    with _scratch() as folder, _progress(call, asked, title) as progress:
        return play(
            project,
            cohort,
            begin=asked.begin,
            until=asked.until,
            behaviour=how,
            seed=asked.seed,
            folder=folder,
            channels={medium: null.Null(medium) for medium in Medium},
            hop=asked.hop,
            journeys=[name for name in asked.journeys if name in project.journeys],
            progress=progress,
        )


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private folder: in memory where there is plenty of it, for it holds all that the cohort holds of persons."""
    memory = Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM
    with scratch("simulation", memory if room else None) as folder:
        yield folder


@contextmanager
def _progress(call: Terminal, asked: _Asked, title: str) -> Iterator[Callable[[datetime], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(30), TimeElapsedColumn(), TimeRemainingColumn())
    quiet = call.json or not call.console.is_terminal
    whole = (asked.until - asked.begin).total_seconds()
    with Progress(*columns, console=call.console, disable=quiet, transient=True) as bar:
        task = bar.add_task(f"{title}{asked.begin:%Y-%m-%d}", total=whole)
        yield lambda at: bar.update(
            task, description=f"{title}{at:%Y-%m-%d}", completed=(at - asked.begin).total_seconds()
        )


def _report(
    out: Path, played: Simulation, project: Project, beside: Simulation | None, other: Project | None, name: str
) -> None:
    from orchestrator.almanac import page

    names = ("this", f"apply {name}" if name.isdigit() else name or "the other")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(played, project, beside, other, names=names), encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"{out} cannot be written: {error.strerror}") from None


# ---- what is told ---------------------------------------------------------------------------------------------------


def document(played: Simulation) -> dict[str, Any]:
    """A simulation as JSON tells it."""
    return {
        "project": played.project,
        "began": played.began,
        "ended": played.ended,
        "seed": played.seed,
        "customers": played.customers,
        "scale": played.scale,
        "messages": played.messages,
        "volumes": [
            {"day": v.day, "journey": v.journey, "step": v.step, "medium": v.medium, "messages": v.count,
             "cost": v.cost / 1_000_000, "currency": v.currency}
            for v in played.volumes
        ],
        "refusals": [
            {"journey": r.journey, "medium": r.medium, "verdict": r.verdict, "reason": r.reason, "messages": r.count}
            for r in played.refusals
        ],
        "replies": [
            {"day": r.day, "journey": r.journey, "medium": r.medium, "kind": r.kind, "count": r.count}
            for r in played.replies
        ],
        "journeys": {
            name: {"entered": t.entered, "steps": t.steps, "inside": t.inside, "ended": t.ended, "sent": t.sent}
            for name, t in played.traffic.items()
        },
        "notes": played.notes,
    }  # fmt: skip


def _show(console: Console, played: Simulation, project: Project, beside: Simulation | None, out: Path | None) -> None:
    from orchestrator.zones import zone

    tz = zone(project.vocabulary.timezone)
    first, last = played.began.astimezone(tz), played.ended.astimezone(tz)
    who = counted(played.customers, "customer")
    if played.scale > 1:
        who += f" for {played.customers * played.scale:,.0f}"
    console.print(f"[bold]{who}, {first:%d %b %Y} to {last:%d %b %Y}[/]  seed {played.seed}", soft_wrap=True)
    _calendar(console, played, first.date(), last.date())
    _media(console, played)
    _refusals(console, played)
    _funnel(console, played)
    if beside is not None:
        _differences(console, played, beside)
    if played.notes:
        console.print("\n[bold]To know[/]")
        for note in played.notes:
            console.print(f"  · {note}", markup=False, soft_wrap=True)
    if out is not None:
        console.print(f"\nthe report: [cyan]{near(out)}[/]", soft_wrap=True)


def _calendar(console: Console, played: Simulation, first: date, last: date) -> None:
    """A square for each day, a column for each week: the fuller, the more goes out."""
    from datetime import timedelta
    from math import ceil

    from rich.text import Text

    days: Counter[date] = Counter()
    for volume in played.volumes:
        days[volume.day] += volume.count
    most, quarters = max(days.values(), default=0), len(_SHADES) - 1
    monday = first - timedelta(days=first.weekday())
    weeks = min((last - monday).days // 7 + 1, 53)
    console.print(f"\n[bold]Sends[/]  {counted(days.total(), 'message')}, at most {most:,} on a day")
    months, told = Text("    "), 0
    for week in range(weeks):
        day = monday + timedelta(days=7 * week)
        free = len(months) <= 4 + week
        if free and day.month != told and not months.plain[-1:].strip():  # else it is told a week later
            months.append(f"{day:%b}", style="dim")
            told = day.month
        elif free:
            months.append(" ")
    console.print(months)
    for weekday in range(7):
        line = Text(f"{['Mo', 'Tu', 'We', 'Th', 'Fr', 'Sa', 'Su'][weekday]}  ", style="dim")
        for week in range(weeks):
            day = monday + timedelta(days=7 * week + weekday)
            if not first <= day <= last:
                line.append(" ")
                continue
            sign, style = _SHADES[ceil(days[day] * quarters / most) if most else 0]
            line.append(sign, style=style)
        console.print(line)
    if most:
        upto = {ceil(count * quarters / most): count for n in range(1, quarters + 1) if (count := most * n // quarters)}
        legend = "  ".join(f"{_SHADES[n][0]} {count:,}" for n, count in upto.items())
        console.print(f"    [dim]on a day, up to  {legend}[/]", highlight=False)


def _media(console: Console, played: Simulation) -> None:
    sent: Counter[str] = Counter()
    cost: Counter[str] = Counter()
    heard: Counter[tuple[str, str]] = Counter()
    for volume in played.volumes:
        sent[volume.medium.value] += volume.count
        cost[volume.medium.value] += volume.cost
    for reply in played.replies:
        heard[reply.medium.value, reply.kind] += reply.count
    if not sent:
        return
    kinds = [kind for kind in _REPLIES if any(k == kind for _, k in heard)]
    currency = next((v.currency for v in played.volumes if v.currency), "")
    shown = table("By medium", "", "messages", *kinds, "cost", right=("messages", *kinds, "cost"))
    for medium, n in sent.most_common():
        told = [f"{heard[medium, kind]:,}" if heard[medium, kind] else "" for kind in kinds]
        shown.add_row(medium, f"{n:,}", *told, _money(cost[medium], currency))
    if len(sent) > 1:
        totals = [f"{sum(n for (_, k), n in heard.items() if k == kind):,}" for kind in kinds]
        shown.add_row("all", f"{sum(sent.values()):,}", *totals, _money(sum(cost.values()), currency), style="bold")
    console.print()
    console.print(shown)


def _money(cost: int, currency: str) -> str:
    return f"{cost / 1_000_000:,.2f} {currency}" if cost else ""


def _refusals(console: Console, played: Simulation) -> None:
    from orchestrator.almanac import meaning

    counts: Counter[tuple[str, str]] = Counter()
    for refusal in played.refusals:
        counts[refusal.verdict, refusal.reason] += refusal.count
    if not counts:
        return
    shown = table("Held and refused", "", "reason", "messages", "means", right=("messages",), wrap=("means",))
    for (verdict, reason), n in sorted(counts.items(), key=lambda item: (list(_VERDICTS).index(item[0][0]), -item[1])):
        shown.add_row(_VERDICTS[verdict], reason, f"{n:,}", meaning(verdict, reason))
    console.print()
    console.print(shown)


def _funnel(console: Console, played: Simulation) -> None:
    """By journey: who came in, who is in, what went out, who came to its goal. Those that nobody entered by name."""
    shown = table(
        "Journeys", "", "entered", "held out", "messages", "goal", "inside",
        right=("entered", "held out", "messages", "goal", "inside"),
    )  # fmt: skip
    quiet = []
    for name, traffic in sorted(played.traffic.items(), key=lambda item: -item[1].entered):
        if not traffic.entered:
            if not any(note.startswith(f"nobody entered {name}:") for note in played.notes):  # told with the reason
                quiet.append(name)
            continue
        could = traffic.entered - traffic.held_out
        share = f" {traffic.reached_goal / could:.0%}" if traffic.reached_goal and could else ""
        shown.add_row(
            name,
            f"{traffic.entered:,}",
            f"{traffic.held_out:,}" if traffic.held_out else "",
            f"{sum(traffic.sent.values()):,}",
            f"{traffic.reached_goal:,}{share}" if traffic.reached_goal else "",
            f"{sum(traffic.inside.values()):,}" if traffic.inside else "",
        )
    elsewhere: Counter[str] = Counter()
    for volume in played.volumes:
        if volume.journey not in played.traffic:
            elsewhere[volume.journey] += volume.count
    for name, count in elsewhere.items():
        shown.add_row(f"{name} [dim](no journey)[/]", "", "", f"{count:,}", "", "")
    if shown.row_count:
        console.print()
        console.print(shown)
    if quiet:
        console.print(f"[dim]nobody entered {', '.join(quiet)}[/]")


def _differences(console: Console, played: Simulation, beside: Simulation) -> None:
    """Both side by side, journey by journey; those that are alike are left out."""
    shown = table(
        "Compared with the other", "", "entered", "the other", "messages", "the other ", "goal", "the other  ",
        right=("entered", "the other", "messages", "the other ", "goal", "the other  "),
    )  # fmt: skip
    for name in sorted(played.traffic.keys() | beside.traffic.keys()):
        cells: list[str] = []
        for one in (_numbers(played, name), _numbers(beside, name)):
            cells += [f"{n:,}" for n in one]
        if cells[:3] != cells[3:]:
            shown.add_row(name, cells[0], cells[3], cells[1], cells[4], cells[2], cells[5])
    console.print()
    if shown.row_count:
        console.print(shown)
    else:
        same = "the same messages" if played.messages == beside.messages else "as many of everything"
        console.print(f"[bold]Compared with the other[/]  {same}")


def _numbers(played: Simulation, name: str) -> Sequence[int]:
    traffic: Mapping[str, Any] = played.traffic
    found = traffic.get(name)
    return (0, 0, 0) if found is None else (found.entered, sum(found.sent.values()), found.reached_goal)
