"""A plan as people read it, and how what it shows is put in force: asked for, proposed, or applied at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli._look import counted, listed, show_problems, some, table, when
from orchestrator.cli.terminal import FINE, CannotRun, Terminal, Usage, plain_problem

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.apply import ApplyReport
    from orchestrator.edit import Difference
    from orchestrator.plan import JourneyPlan, Plan
    from orchestrator.project import Project
    from orchestrator.store.versions import Applied
    from orchestrator.wiring import Wired

_SIGN = {"added": ("+", "green"), "edited": ("~", "yellow"), "removed": ("-", "red"), "same": ("=", "dim")}
STYLE = {"+": "green", "-": "red", "~": "yellow"}
_WORDS = {"added": "new", "edited": "edited", "removed": "removed", "same": "as before"}
_GOES = {
    "finishes": "= on by their version, to its end",
    "stays": "→ the same step of the new version",
    "leaves": "→ out",
    "stranded": "[red]✗ nowhere: there is no such step[/]",
}


def in_force(conn: Any) -> Applied | None:
    from orchestrator.store import versions

    return versions.newest(conn)


def plan_document(found: Plan) -> dict[str, object]:
    return {
        "project": found.project,
        "base": found.base,
        "changes": found.changes,
        "journeys": found.journeys,
        "segments": [{"name": name, "members": n, "before": old} for name, (n, old) in found.segments.items()],
        "files": found.files,
        "plan": found.id,
        "texts": found.texts,
        "problems": [plain_problem(p) for p in found.problems],
    }


def show_plan(
    console: Console, found: Plan, before: Applied | None, files: Mapping[str, str], everything: bool = False
) -> None:
    """`before`: what is in force. `files`: the workspace's texts, which problems point into."""
    against = "nothing is in force yet"
    if before is not None:
        said = f": {before.message}" if before.message else ""
        against = f"in force now: apply {before.id}, {when(before.at)} UTC by {before.author}{said}"
    console.print(f"[dim]{against}[/]", markup=True, soft_wrap=True)
    if not found.changes and not everything:
        console.print("[bold green]✓[/] nothing changes: this workspace is in force already")
        return
    _show_journeys(console, found, everything)
    _show_segments(console, found, everything)
    _show_texts(console, found)
    _show_files(console, found, everything)
    if found.problems:
        console.print("\n[bold red]✗[/] this cannot be put in force:\n")
        show_problems(console, found.problems, files)


def _show_journeys(console: Console, found: Plan, everything: bool) -> None:
    from rich.padding import Padding

    shown = [j for j in found.journeys if everything or j.change != "same" or j.audience != j.before]
    same = len(found.journeys) - len(shown)
    right = ("audience", "at once", "inside")
    rows = table("\nJourneys", "", "journey", "", "audience", "at once", "inside", right=right)
    for journey in shown:
        sign, style = _SIGN[journey.change]
        inside = sum(journey.inside.values())
        rows.add_row(
            f"  [{style}]{sign}[/]",
            journey.name,
            f"[{style}]{_WORDS[journey.change]}[/]",
            _audience(journey),
            f"{journey.enters_now:,}" if journey.enters_now else "[dim]·[/]",
            f"{inside:,}" if inside else "[dim]·[/]",
        )
    if rows.row_count:
        console.print(rows)
    if same:
        console.print(f"  [dim]= {counted(same, 'journey')} as before[/]")
    _show_how(console, [j for j in shown if j.how])
    _show_inside(console, [j for j in shown if j.steps])
    said = [f"[bold]{j.name}[/]: {j.entering}" for j in shown if j.entering]
    said += [f"[bold]{j.name}[/] is paused: {j.paused}" for j in found.journeys if j.paused]
    said += [f"[bold]{j.name}[/]: {_existing(j)}" for j in shown if j.enters_now]
    said += _unmanaged([j for j in shown if j.unmanaged])
    if said:
        console.print()
    for line in said:
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _existing(journey: JourneyPlan) -> str:
    """Who was there before and is let in all the same."""
    verb = "enters" if journey.enters_now == 1 else "enter"
    return f"{counted(journey.enters_now, journey.unit)} {verb} at the next tick: `include_existing`"


def _unmanaged(journeys: Sequence[JourneyPlan]) -> list[str]:
    """Of how many accounts nobody would get what is for their manager: one line, however many journeys."""
    if not journeys:
        return []
    many = counted(max(j.unmanaged for j in journeys), "account has", "accounts have")
    up_to = "up to " if len(journeys) > 1 else ""
    text = f"{up_to}{many} no manager, and nobody gets what is for them; a task may say `otherwise: TEAM`"
    return [f"[bold]{some([j.name for j in journeys])}[/]: {text}"]


def _show_how(console: Console, journeys: Sequence[JourneyPlan]) -> None:
    """What an edit changes, as `diff --words` tells it."""
    for journey in journeys:
        console.print(f"\n  [bold]{journey.name}[/]", highlight=False)
        show_differences(console, journey.how)


def show_differences(console: Console, how: Sequence[Difference]) -> None:
    """`~ audience: class == b2c → class == b2c and tier >= gold`, each on a line."""
    from rich.text import Text

    for one in how:
        console.print(Text.assemble("    ", (one.kind, STYLE[one.kind]), " ", in_words(one)), soft_wrap=True)


def in_words(one: Difference) -> str:
    """`audience: class == b2c → class == b2c and tier >= gold`."""
    if one.kind == "+":
        return f"{one.what}" + (f": {one.now}" if one.now else "")
    if one.kind == "-":
        return f"{one.what}" + (f" (was: {one.was})" if one.was else "")
    return f"{one.what}: {one.was or '—'} → {one.now or '—'}"


def _show_inside(console: Console, journeys: Sequence[JourneyPlan]) -> None:
    """What becomes of those inside, step by step."""
    from rich.padding import Padding

    for journey in journeys:
        console.print()
        console.print(Padding(f"[bold]{journey.name}[/]: {journey.becomes}", (0, 0, 0, 2), expand=False))
        rows = table("", "", "inside", "", "", right=("inside",))
        rows.show_header = False
        for one in journey.steps:
            goes = f"→ {one.to}" if one.becomes == "moves" else _GOES[one.becomes]
            rows.add_row("   ", f"{one.people:,}", one.step or "[dim](the beginning)[/]", goes)
        console.print(rows)


def _show_texts(console: Console, found: Plan) -> None:
    """Texts that are others now for people who are inside already: texts are always the newest."""
    if not found.texts:
        return
    console.print("\n[bold]Texts[/]  [dim]that people inside are still to get[/]")
    for text in found.texts:
        sign, style = _SIGN[text.change]
        who = listed(f"{n:,} inside {journey}" for journey, n in sorted(text.people.items()))
        console.print(f"  [{style}]{sign}[/] {text.medium} {text.name}  [dim]{who}[/]", soft_wrap=True)


def _audience(journey: JourneyPlan) -> str:
    """How many, and of what: `1,204 → 1,180 customers`."""
    if journey.audience is None:
        return f"{journey.before:,}" if journey.before is not None else f"[dim]every {journey.unit}[/]"
    now = counted(journey.audience, journey.unit)
    return f"{journey.before:,} → {now}" if journey.before not in (None, journey.audience) else now


def _show_segments(console: Console, found: Plan, everything: bool) -> None:
    shown = table("\nSegments", "", "segment", "before", "", "members", right=("before", "members"))
    for name, (members, before) in found.segments.items():
        if before is not None and before == members and not everything:
            continue
        new = before is None
        shown.add_row(
            "  [green]+[/]" if new else "  [yellow]~[/]" if before != members else "  [dim]=[/]",
            name,
            "" if new else f"{before:,}",
            "" if new else "→",
            f"{members:,}",
        )
    if shown.row_count:
        console.print(shown)


def _show_files(console: Console, found: Plan, everything: bool) -> None:
    changes = {path: change for path, change in found.files.items() if everything or change != "same"}
    kinds = [f"{n} {kind}" for kind in _SIGN if (n := sum(c == kind for c in found.files.values()))]
    console.print(f"\n[bold]Files[/]  [dim]{listed(kinds)}[/]")
    if found.base is None and not everything:
        return
    for path, change in changes.items():
        sign, style = _SIGN[change]
        console.print(f"  [{style}]{sign}[/] {path}", soft_wrap=True)


# ---- putting it in force --------------------------------------------------------------------------------------------


def me(author: str | None) -> str:
    """Who does this: as told, else the name one is logged in with."""
    import getpass

    return author or getpass.getuser()


def may_ask(call: Terminal, yes: bool) -> None:
    """Raises Usage when nobody can be asked and nothing was said beforehand."""
    if not yes and not _at_a_terminal(call):
        raise Usage("nobody can be asked here: look at `orchestrator plan`, then say `--yes`")


def put(
    call: Terminal,
    wired: Wired,
    project: Project,
    *,
    author: str,
    message: str,
    yes: bool,
    shown: str | None = None,
    done: Callable[[Console], None] = lambda console: None,
) -> int:
    """Show the plan of a workspace, ask, and do exactly that: put it in force, or propose it where a second person is
    asked for. `shown`: the id of a plan that was looked at before; CannotRun when it is not this one. `done` shows
    what else there is to say once it is in force."""
    from orchestrator.apply import apply, asks_for_approval
    from orchestrator.plan import plan
    from orchestrator.problems import ProjectError
    from orchestrator.propose import propose

    found = plan(wired.store, project, now=wired.clock())
    if shown is not None and shown != found.id:
        text = f"this is not plan {shown}: the workspace, or what is in force, is another by now"
        raise CannotRun(f"{text}; look at `orchestrator plan` again (it is {found.id})")
    with wired.store.read() as conn:
        before = in_force(conn)
        second = asks_for_approval(conn, project, before)
    if not call.json and not found.problems:
        show_plan(call.console, found, before, project.files)
    if found.problems:
        raise ProjectError(found.problems)
    if found.changes and not yes and not agreed(call, "Propose this" if second else "Put this in force"):
        raise CannotRun("nothing was applied")
    if found.changes and second:
        number = propose(wired.store, project, author=author, message=message, base=found.base, now=wired.clock())
        call.answer(
            lambda: {"apply": None, "proposal": number, "plan": plan_document(found)},
            lambda console: console.print(
                f"\n[bold yellow]…[/] waits for approval: somebody else says `orchestrator approve {number}`",
                soft_wrap=True,
            ),
        )
        return FINE
    report = apply(wired.store, project, author=author, message=message, now=wired.clock(), base=found.base)

    def show(console: Console) -> None:
        show_done(console, report)
        done(console)

    call.answer(lambda: {"apply": report, "proposal": None, "plan": plan_document(found)}, show)
    return FINE


def _at_a_terminal(call: Terminal) -> bool:
    return not call.json and sys.stdin.isatty() and sys.stdout.isatty()


def agreed(call: Terminal, what: str = "Put this in force") -> bool:
    call.console.print(f"\n{what}? [bold]y[/]es / [bold]n[/]o ", end="")
    try:
        return input().strip().casefold() in ("y", "yes")
    except EOFError:
        return False


def show_done(console: Console, report: ApplyReport) -> None:
    if not report.changed:
        return  # the plan has said so
    parts = {"added": report.added, "edited": report.edited, "removed": report.removed}
    told = listed(f"{len(names)} {what}" for what, names in parts.items() if names)
    console.print(
        f"\n[bold green]✓[/] in force: apply {report.apply_id}" + (f" (journeys: {told})" if told else ""),
        soft_wrap=True,
    )
    _tell(console, report.migrated, "{} moved to the new version")
    _tell(console, report.exited, "{} left, and what was queued for them is withdrawn")
    _tell(console, report.baselines, "{} in its segment already; they do not enter, who comes in from now on does")


def _tell(console: Console, numbers: Mapping[str, int], text: str) -> None:
    for name, n in sorted(numbers.items()):
        if n:
            console.print(f"  {name}: {text.format(f'{n:,}')}", soft_wrap=True)
