"""`versions`, `diff`, `rollback`, and what a second person says: `proposals`, `approve`, `reject`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, listed, table, when
from orchestrator.cli._opening import opened
from orchestrator.cli._planned import (
    STYLE,
    agreed,
    in_force,
    may_ask,
    me,
    plan_document,
    put,
    show_differences,
    show_done,
    show_plan,
)
from orchestrator.cli.terminal import FINE, CannotRun, Usage, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.edit import Difference
    from orchestrator.project import Project
    from orchestrator.store.proposals import Proposal
    from orchestrator.store.versions import Applied

FLAG = Parameter(negative=())
MESSAGE = Parameter(name=["--message", "-m"])
YES = Parameter(name=["--yes", "-y"], negative=())


def register(app: App) -> None:
    for command in (versions, diff, rollback, proposals, approve, reject):
        app.command(command)


# ---- versions -------------------------------------------------------------------------------------------------------


def versions(journey: str | None = None, /, *, limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 20) -> int:
    """What was put in force, newest first: when, by whom, and what changed. Of a journey: its versions, and how many
    people are on each.

    Parameters
    ----------
    journey
        A journey's name.
    limit
        So many applies at most.
    """
    from orchestrator.store import versions as stored

    if limit < 1:
        raise Usage("--limit is a number, one at least")
    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        applies = stored.history(conn, limit + 1 if journey is None else 10_000)
        people = stored.by_version(conn, journey) if journey is not None else {}
    if journey is not None:
        found = _of_journey(applies, journey, people)
        if not found:
            raise CannotRun(f"no journey `{journey}` was ever applied; `orchestrator journeys` lists those in force")
        call.answer(lambda: {"journey": journey, "versions": found}, lambda console: _show_versions(console, found))
        return FINE
    listed_ = [_one(one, before) for one, before in zip(applies, [*applies[1:], None], strict=True)][:limit]
    call.answer(lambda: {"applies": listed_}, lambda console: _show_applies(console, listed_))
    return FINE


def _one(one: Applied, before: Applied | None) -> dict[str, Any]:
    """An apply, and what it changed."""
    was = before.journeys if before is not None else {}
    files = before.files if before is not None else {}
    return {
        "apply": one.id,
        "at": one.at,
        "author": one.author,
        "approved_by": one.approved_by,
        "message": one.message,
        "added": sorted(one.journeys.keys() - was.keys()),
        "edited": sorted(n for n in one.journeys.keys() & was.keys() if one.journeys[n] != was[n]),
        "removed": sorted(was.keys() - one.journeys.keys()),
        "files": sum(files.get(path) != one.files.get(path) for path in files.keys() | one.files.keys()),
    }


def _show_applies(console: Console, applies: list[dict[str, Any]]) -> None:
    if not applies:
        console.print("nothing is in force yet")
        return
    rows = table("", "apply", "when (UTC)", "who", "what changed", "message", right=("apply",), wrap=("message",))
    for one in applies:
        who = one["author"] + (f", approved by {one['approved_by']}" if one["approved_by"] else "")
        rows.add_row(f"{one['apply']}", when(one["at"]), who, _changed(one), one["message"])
    console.print(rows)


def _changed(one: Mapping[str, Any]) -> str:
    """`+2 ~1 journeys, 4 files`; of few journeys their names."""
    parts = []
    for kind, sign in (("added", "+"), ("edited", "~"), ("removed", "-")):
        names = one[kind]
        if names:
            style = STYLE[sign]
            told = ", ".join(names) if len(names) <= 2 else counted(len(names), "journey")
            parts.append(f"[{style}]{sign}[/] {told}")
    return listed([*parts, counted(one["files"], "file")])


def _of_journey(applies: list[Applied], journey: str, people: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Its versions, newest first: each by the apply that brought it first."""
    first: dict[str, Applied] = {}
    for one in applies:
        if (version := one.journeys.get(journey)) is not None:
            first.pop(version, None)
            first[version] = one
    now = applies[0].journeys.get(journey) if applies else None
    return [
        {
            "version": version,
            "in_force": version == now,
            "apply": one.id,
            "at": one.at,
            "author": one.author,
            "message": one.message,
            "inside": people.get(version, (0, 0))[0],
            "ended": people.get(version, (0, 0))[1],
        }
        for version, one in sorted(first.items(), key=lambda pair: -pair[1].id)
    ]


def _show_versions(console: Console, found: list[dict[str, Any]]) -> None:
    right = ("since apply", "inside", "ended")
    rows = table(
        "", "version", "since apply", "when (UTC)", "who", "inside", "ended", "message", right=right, wrap=("message",)
    )
    for one in found:
        name = f"[bold]{one['version'][:7]}[/] [green]in force[/]" if one["in_force"] else one["version"][:7]
        numbers = (f"{one['inside']:,}", f"{one['ended']:,}")
        rows.add_row(name, f"{one['apply']}", when(one["at"]), one["author"], *numbers, one["message"])
    console.print(rows)


# ---- diff -----------------------------------------------------------------------------------------------------------


def diff(a: int | None = None, b: int | None = None, /, *, words: Annotated[bool, FLAG] = False) -> int:
    """How two workspaces differ: each journey in words, then the files line by line.

    Parameters
    ----------
    a
        The number of an apply (`orchestrator versions`); without it, what is in force.
    b
        The number of another; without it, the folder.
    words
        In words only, without the files' lines.
    """
    from orchestrator.project import load, load_files
    from orchestrator.store import versions as stored

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        first = stored.newest(conn) if a is None else _apply(conn, a)
        old = stored.texts(conn, first.files) if first is not None else {}
        second = _apply(conn, b) if b is not None else None
        new = stored.texts(conn, second.files) if second is not None else None
    after = load(call.workspace) if new is None else load_files(new)
    before = _readable(old)
    told = _differences(before, after)
    lines = _lines(old, dict(after.files), "nothing" if first is None else f"apply {first.id}", b)

    def show(console: Console) -> None:
        if not lines:
            console.print("[bold green]✓[/] no difference")
            return
        _show_words(console, told)
        if first is None:
            console.print(
                "\nnothing is in force yet, so every file is new: `orchestrator plan` tells what an apply does"
            )
        elif not words:
            _show_lines(console, lines)

    call.answer(lambda: _document(first, second, told, lines), show)
    return FINE


def _apply(conn: Any, number: int) -> Applied:
    from orchestrator.store import versions as stored

    found = stored.by_number(conn, number)
    if found is None:
        raise CannotRun(f"there is no apply {number}; `orchestrator versions` lists them")
    return found


def _readable(files: Mapping[str, str]) -> Project | None:
    """An earlier workspace; None where there is none, or this version of the program cannot read it any more."""
    from orchestrator.problems import ProjectError
    from orchestrator.project import load_files

    try:
        return load_files(files) if files else None
    except ProjectError:
        return None


def _differences(before: Project | None, after: Project) -> dict[str, tuple[str, tuple[Difference, ...]]]:
    """Journey → (added, edited or removed; how)."""
    from orchestrator.edit import differences

    was = before.journeys if before is not None else {}
    found: dict[str, tuple[str, tuple[Difference, ...]]] = {}
    for name in sorted(was.keys() | after.journeys.keys()):
        old, new = was.get(name), after.journeys.get(name)
        if before is None or old is None or new is None:
            found[name] = ("added" if old is None else "removed", ())
        elif old.version != new.version or old.status != new.status:
            texts = (before.files[old.path], after.files[new.path])
            how = differences(old, new, *texts)
            found[name] = ("edited", how)
    return found


def _lines(old: Mapping[str, str], new: Mapping[str, str], a: str, b: int | None) -> dict[str, list[str]]:
    """Path → unified diff; of a file that is no text, that it is another."""
    from difflib import unified_diff

    from orchestrator.attached import FOLDER

    to = "folder" if b is None else f"apply {b}"
    found = {}
    for path in sorted(old.keys() | new.keys()):
        one, other = old.get(path, ""), new.get(path, "")
        if (path in old) == (path in new) and one == other:
            continue
        if path.startswith(FOLDER):
            found[path] = [f"--- {path} ({a})", f"+++ {path} ({to})", "this file is no text; it is another"]
            continue
        names = (f"{path} ({a})" if path in old else "nothing", f"{path} ({to})" if path in new else "nothing")
        found[path] = list(unified_diff(one.splitlines(), other.splitlines(), *names, lineterm=""))
    return found


def _show_words(console: Console, told: Mapping[str, tuple[str, tuple[Difference, ...]]]) -> None:
    from rich.text import Text

    for name, (change, how) in told.items():
        sign = {"added": "+", "removed": "-", "edited": "~"}[change]
        console.print(Text.assemble((sign, STYLE[sign]), " ", (name, "bold"), f"  {change}"), soft_wrap=True)
        show_differences(console, how)
        if change == "edited" and not how:
            console.print("    a segment that it names is another", style="dim")


def _show_lines(console: Console, lines: Mapping[str, list[str]]) -> None:
    from rich.text import Text

    styles = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))
    for found in lines.values():
        console.print()
        for line in found:
            style = next((s for begin, s in styles if line.startswith(begin)), "")
            console.print(Text(line, style=style), soft_wrap=True)


def _document(
    first: Applied | None,
    second: Applied | None,
    told: Mapping[str, tuple[str, tuple[Difference, ...]]],
    lines: Mapping[str, list[str]],
) -> dict[str, object]:
    return {
        "a": first.id if first is not None else None,
        "b": second.id if second is not None else None,
        "journeys": [{"name": name, "change": change, "differences": how} for name, (change, how) in told.items()],
        "files": [{"path": path, "diff": "\n".join(found)} for path, found in lines.items()],
    }


# ---- rollback -------------------------------------------------------------------------------------------------------


def rollback(
    apply: int | None = None,
    /,
    *,
    message: Annotated[str, MESSAGE],
    author: str | None = None,
    yes: Annotated[bool, YES] = False,
) -> int:
    """Put the workspace of an earlier apply in force again, as a new apply: nothing of what happened is rewritten.
    Shows the plan first, refuses what would strand somebody, and waits for a second person where one is asked for.
    The law it comes with is the newest, and the folder stays as it is.

    Parameters
    ----------
    apply
        Its number (`orchestrator versions`); without it, the one before the newest.
    message
        Why, for whoever looks at it later.
    author
        Who says so; without it, the name you are logged in with.
    yes
        Do not ask.
    """
    from orchestrator.propose import NotThere, earlier

    call = terminal()
    may_ask(call, yes)
    with opened(call.workspace) as wired:
        try:
            with wired.store.read() as conn:
                number, project = earlier(conn, apply)
        except NotThere as error:
            raise CannotRun(str(error)) from None

        def done(console: Console) -> None:
            console.print(
                f"[yellow]![/] the folder still has what came after apply {number}: mend it there, too, or the next "
                "`orchestrator apply` brings it back",
                soft_wrap=True,
            )

        return put(call, wired, project, author=me(author), message=message, yes=yes, done=done)


# ---- a second person ------------------------------------------------------------------------------------------------


def proposals(*, all: Annotated[bool, FLAG] = False) -> int:
    """Workspaces that wait for a second person, newest first.

    Parameters
    ----------
    all
        Those that have their answer, too.
    """
    from orchestrator.store import proposals as stored

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        found = stored.newest(conn, waiting=not all)
        newest = in_force(conn)
    base = newest.id if newest is not None else None

    def show(console: Console) -> None:
        if not found:
            console.print("nothing waits for approval" if not all else "nothing was ever proposed")
            return
        rows = table("", "number", "when (UTC)", "who", "what became of it", "message", wrap=("message",))
        for one in found:
            rows.add_row(f"{one.id}", when(one.at), one.author, _answer(one, base), one.message)
        console.print(rows)

    call.answer(lambda: {"proposals": [_proposal(one, base) for one in found]}, show)
    return FINE


def _answer(one: Proposal, base: int | None) -> str:
    if one.what == "approved":
        return f"[green]apply {one.applied_as}[/], approved by {one.ended_by}"
    if one.what:
        return f"[red]rejected[/] by {one.ended_by}" + (f": {one.ended_with}" if one.ended_with else "")
    return "[yellow]waits[/]" if one.base == base else "[red]stale[/]: another apply came between"


def _proposal(one: Proposal, base: int | None) -> dict[str, object]:
    return {
        "proposal": one.id,
        "at": one.at,
        "author": one.author,
        "message": one.message,
        "base": one.base,
        "state": one.what or ("waits" if one.base == base else "stale"),
        "answered_by": one.ended_by or None,
        "answered_at": one.ended_at,
        "answer": one.ended_with or None,
        "apply": one.applied_as,
    }


def approve(
    proposal: int,
    /,
    *,
    message: Annotated[str, MESSAGE] = "",
    author: str | None = None,
    yes: Annotated[bool, YES] = False,
) -> int:
    """Put a proposal in force, exactly as it was proposed: somebody other than who proposed it says so. Shows its plan
    as of now first.

    Parameters
    ----------
    proposal
        Its number (`orchestrator proposals`).
    message
        What there is to say to it.
    author
        Who approves; without it, the name you are logged in with.
    yes
        Do not ask.
    """
    from orchestrator import propose
    from orchestrator.plan import plan
    from orchestrator.problems import ProjectError

    call = terminal()
    may_ask(call, yes)
    with opened(call.workspace) as wired:
        by = me(author)
        try:
            with wired.store.read() as conn:
                one, project = propose.ready(conn, proposal, by)
        except propose.NotThere as error:
            raise CannotRun(str(error)) from None
        found = plan(wired.store, project, now=wired.clock())
        with wired.store.read() as conn:
            before = in_force(conn)
        if found.problems:
            raise ProjectError(found.problems)
        if not call.json:
            said = f": {one.message}" if one.message else ""
            call.console.print(f"[dim]proposed {when(one.at)} UTC by {one.author}{said}[/]", soft_wrap=True)
            show_plan(call.console, found, before, project.files)
        if not yes and not agreed(call, "Put this in force"):
            raise CannotRun("nothing was applied")
        report = propose.approve(wired.store, proposal, by=by, message=message, now=wired.clock())
    call.answer(
        lambda: {"apply": report, "proposal": proposal, "plan": plan_document(found)},
        lambda console: show_done(console, report),
    )
    return FINE


def reject(
    proposal: int,
    /,
    *,
    message: Annotated[str, MESSAGE],
    author: str | None = None,
) -> int:
    """Turn a proposal down. Who proposed it may take it back so, too.

    Parameters
    ----------
    proposal
        Its number (`orchestrator proposals`).
    message
        Why.
    author
        Who says so; without it, the name you are logged in with.
    """
    from orchestrator import propose

    call = terminal()
    with opened(call.workspace) as wired:
        try:
            propose.reject(wired.store, proposal, by=me(author), message=message, now=wired.clock())
        except propose.NotThere as error:
            raise CannotRun(str(error)) from None
    call.answer(
        lambda: {"proposal": proposal, "rejected": True},
        lambda console: console.print(f"[bold]✗[/] proposal {proposal} is rejected", soft_wrap=True),
    )
    return FINE
