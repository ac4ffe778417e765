"""`segment`, `customer`, `why`, `journeys`, `outbox`, `log`: looking at people, at what runs, at what was decided."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, fate, heard, listed, plain, show_problems, table, when, widest
from orchestrator.cli._opening import as_of, ruling, words
from orchestrator.cli.running import instant
from orchestrator.cli.terminal import FINE, PROBLEMS, Usage, near, plain_problem, terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from orchestrator.condition import Condition
    from orchestrator.journey import Journey
    from orchestrator.problems import Problem
    from orchestrator.project import Project
    from orchestrator.store.explain import Row
    from orchestrator.why import Sent

Unit = Literal["customer", "account"]
NOW = Parameter(name="--now")
MOST = 1_000_000
"""More than this nobody lists: there is the database for that."""


def register(app: App) -> None:
    app.command(segment)
    person = App(name="customer", help="Everything about one customer; or make two records of one person one.")
    person.default(customer)
    app.command(person)
    app.command(why)
    app.command(journeys)
    app.command(outbox)
    app.command(log)


# ---- segment --------------------------------------------------------------------------------------------------------


def segment(what: str, /, *, of: Unit | None = None, limit: int = 20, now: str | None = None) -> int:
    """Who is meant by a condition, or by a segment's name: how many, and the first of them.

    Read by the words of the folder's workspace where there is one, else by those in force.

    Parameters
    ----------
    what
        A condition such as 'class == b2c and tier >= gold', or the name of a segment.
    of
        Whom a condition is about: customers, if you do not say.
    limit
        How many keys to list.
    now
        Ask as of this instant (2027-03-28T09:00+02:00).
    """
    from orchestrator import wiring
    from orchestrator.store import explain
    from orchestrator.store.segments import Segments

    call = terminal()
    if not 0 <= limit <= MOST:
        raise Usage(f"--limit is a number of keys: 0 to {MOST:,}")
    at = instant(now) if now is not None else None
    with wiring.connected(call.workspace) as wired:
        project = words(wired, draft=True)
        name, condition, problems = _meant(what, of, project)
        if condition is None:
            return _mistyped(what, problems)
        unit = condition.unit
        with wired.store.read() as conn:
            asked_at = at or as_of(conn, wired)
            segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
            count = segments.count(conn, condition, unit, asked_at)
            total = segments.count(conn, None, unit, asked_at)
            ids = segments.sample(conn, condition, unit, asked_at, limit) if limit else []
            members = explain.units(conn, unit, ids) if ids else []

    def show(console: Console) -> None:
        share = f" of {total:,}" + (f" ({count / total:.1%})" if total else "")
        console.print(f"[bold]{counted(count, unit)}[/]{share}", end="  ")
        console.print(condition.text, style="dim", markup=False, soft_wrap=True)
        _show_units(console, unit, members, count)

    call.answer(
        lambda: {
            "name": name,
            "condition": condition.text,
            "of": unit,
            "asked_at": asked_at,
            "count": count,
            "total": total,
            "members": members,
        },
        show,
    )
    return FINE


_TYPED = "expression"


def _meant(what: str, of: Unit | None, project: Project) -> tuple[str | None, Condition | None, Sequence[Problem]]:
    """(the segment's name, its condition, problems) of what was typed."""
    from orchestrator.condition import Scope, parse
    from orchestrator.problems import Problems, Span, suggest

    if what in project.segments:
        found = project.segments[what]
        if of is not None and of != found.unit:
            raise Usage(f"the segment {what} is one of {found.unit}s, not of {of}s")
        return what, found, ()
    problems = Problems()
    span = Span(_TYPED, 1, 1, 1, len(what) + 1)
    condition = parse(what, span, Scope(unit=of or "customer"), project.vocabulary, problems)
    if condition is None and what.replace("-", "").replace("_", "").isalnum():
        hint = suggest(what, project.segments)
        raise Usage(f"there is no segment `{what}`" + (f"; {hint}" if hint else ""))
    return None, condition, problems.sorted()


def _mistyped(what: str, problems: Sequence[Problem]) -> int:
    terminal().answer(
        lambda: {"problems": [plain_problem(p) for p in problems]},
        lambda console: show_problems(console, problems, {_TYPED: what}),
    )
    return PROBLEMS


def _show_units(console: Console, unit: str, members: Sequence[Row], count: int) -> None:
    if not members:
        return
    rows = table("", unit, "class", "tier", *(["account"] if unit == "customer" else []))
    for member in members:
        rows.add_row(*(str(value) if value is not None else "[dim]·[/]" for value in member.values()))
    console.print(rows)
    if count > len(members):
        console.print(f"[dim]and {count - len(members):,} more (--limit)[/]")


# ---- customer -------------------------------------------------------------------------------------------------------


def customer(key: str, /, *, limit: int = 40) -> int:
    """A customer's own record: profile, consents, runs under way, and everything that happened, newest first.

    Parameters
    ----------
    key
        The customer's key.
    limit
        How much of the timeline to show.
    """
    from orchestrator import wiring
    from orchestrator.cli import _person

    call = terminal()
    if not 1 <= limit <= MOST:
        raise Usage(f"--limit is a number of lines: 1 to {MOST:,}")
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        found = _person.read(conn, wired, key, limit)
    if found is None:
        raise Usage(f"there is no customer `{key}`")
    call.answer(lambda: found, lambda console: _person.show(console, found))
    return FINE


# ---- why ------------------------------------------------------------------------------------------------------------


def why(key: str, journey: str | None = None, /, *, now: Annotated[str | None, NOW] = None) -> int:
    """Why somebody got something, or did not: every step and message with its place and every rule's verdict.

    Where there is no run, which part of the trigger or the audience does not hold, and what else is in the way.

    Parameters
    ----------
    key
        A customer's key, or an account's.
    journey
        One journey; without it, all of them.
    now
        What holds is asked as of this instant (2027-03-28T09:00+02:00).
    """
    from orchestrator import wiring
    from orchestrator.problems import suggest
    from orchestrator.why import Nobody, NoJourney
    from orchestrator.why import why as told

    call = terminal()
    at = instant(now) if now is not None else None
    with wiring.connected(call.workspace) as wired:
        with wired.store.read() as conn:
            asked_at = at or as_of(conn, wired)
        try:
            story = told(wired.store, wired.keys_if_any(), key, journey, now=asked_at)
        except Nobody:
            raise Usage(f"there is neither a customer nor an account `{key}`") from None
        except NoJourney as error:
            hint = suggest(str(journey), error.args[1])
            raise Usage(f"no journey `{journey}` is in force" + (f"; {hint}" if hint else "")) from None

    def show(console: Console) -> None:
        from orchestrator.cli._story import show_story

        show_story(console, story)

    call.answer(lambda: story, show)
    return FINE


# ---- journeys -------------------------------------------------------------------------------------------------------


def journeys() -> int:
    """The journeys in force: who they are for, what lets somebody in, and how many went which way."""
    from orchestrator import wiring
    from orchestrator.consider import paused
    from orchestrator.resume import outlooks
    from orchestrator.store import explain, versions
    from orchestrator.trigger import in_words

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        force = ruling(conn, wired)
        now = as_of(conn, wired)
        counts = explain.journey_counts(conn, now - timedelta(days=7))
        ends = explain.why_ended(conn)
        pauses = versions.pauses(conn)
        ahead = outlooks(conn, force, now) if pauses else {}
    names = sorted(force.project.journeys.keys() | {n for n, c in counts.items() if c["inside"]})
    nothing = {"entered": 0, "ended": 0, "inside": 0, "sent": 0}
    found = []
    for name in names:
        journey = force.project.journeys.get(name)
        numbers = counts.get(name, nothing)
        stopped = paused(pauses, name)
        found.append(
            {
                "journey": name,
                "file": journey.path if journey else None,
                "version": journey.version if journey else None,
                "unit": journey.unit if journey else None,
                "state": "removed" if journey is None else _state(journey, stopped),
                "paused": stopped,
                "resume": (ahead.get(name) or ahead.get(versions.EVERYTHING)) if stopped else None,
                "triggers": [in_words(t) for t in journey.triggers] if journey else [],
                "inside": numbers["inside"],
                "entered": numbers["entered"],
                "ended": numbers["ended"],
                "ended_because": ends.get(name, {}),
                "sent_7_days": numbers["sent"],
            }
        )
    found.sort(key=lambda row: list(_STATES).index(row["state"]) if row["state"] in _APART else 0)
    call.answer(lambda: {"asked_at": now, "journeys": found}, lambda console: _show_journeys(console, found))
    return FINE


_STATES = {"live": "green", "draft": "cyan", "paused": "yellow", "archived": "dim", "removed": "red"}
_APART = ("draft", "archived", "removed")
"""Listed behind those that people enter."""


def _state(journey: Journey, stopped: str) -> str:
    return "paused" if stopped and journey.status != "draft" else journey.status


def _show_journeys(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    wide = console.width >= 90
    numbers = {"inside": "inside", "entered": "entered", "ended": "ended", "sent_7_days": "sent 7 d"}
    if not wide:
        numbers = {"inside": "in", "sent_7_days": "sent 7 d"}
    heads = tuple(numbers.values())
    rows = table("", "journey", "state", *(("version",) if wide else ()), *heads, right=heads)
    if wide:
        rows.add_column("begins with", overflow="fold")
    apart = False
    for row in found:
        if row["state"] in _APART and not apart:
            rows.add_section()
            apart = True
        cells = [row["journey"], f"[{_STATES[row['state']]}]{row['state']}[/]"]
        cells += [(row["version"] or "")[:7]] if wide else []
        cells += [f"{row[name]:,}" if row[name] else "[dim]·[/]" for name in numbers]
        cells += [f"[dim]{' or '.join(row['triggers'])}[/]"] if wide else []
        rows.add_row(*cells)
    console.print(rows)
    for row in found:
        if row["paused"]:
            console.print(f"[yellow]![/] {row['journey']}: {row['paused']}", soft_wrap=True)
            if row["resume"].scope == row["journey"]:
                console.print(f"  [dim]{row['resume'].in_words()}[/]", soft_wrap=True)


# ---- outbox ---------------------------------------------------------------------------------------------------------


def outbox(*, limit: int = 15) -> int:
    """What the sandbox kept, as files and as a page to open; and what is still waiting to go.

    Parameters
    ----------
    limit
        How many of each to list.
    """
    from orchestrator import wiring
    from orchestrator.store import explain

    call = terminal()
    if not 0 <= limit <= MOST:
        raise Usage(f"--limit is a number of messages: 0 to {MOST:,}")
    sandbox: Any = importlib.import_module("channels.sandbox")
    with wiring.connected(call.workspace) as wired:
        folder = wired.settings.outbox_path(wired.folder)
        kept = list(sandbox.kept(folder))
        page = sandbox.browse(folder) if kept else None
        with wired.store.read() as conn:
            waiting = explain.waiting(conn, max(limit, 1))
            states = explain.states(conn)
    newest = kept[::-1][: max(limit, 0)]

    def show(console: Console) -> None:
        if page is not None:
            console.print(f"[bold]{counted(len(kept), 'message')} kept[/]; open {near(page)}", soft_wrap=True)
            _show_kept(console, newest, len(kept))
        else:
            console.print("The sandbox has kept nothing yet.", style="dim")
        _show_waiting(console, waiting, states)

    call.answer(
        lambda: {
            "folder": folder,
            "page": page,
            "kept": len(kept),
            "newest": newest,
            "states": states,
            "waiting": waiting,
        },
        show,
    )
    return FINE


def _show_kept(console: Console, newest: Sequence[Any], total: int) -> None:
    wide = console.width >= 90
    rows = table("", "at (UTC)", *(("medium", "text") if wide else ()), "file", wrap=("file",))
    for one in newest:
        twice = "  [bold red]twice[/]" if one.duplicate else ""
        cells = (str(one.medium), one.template or "—") if wide else ()
        rows.add_row(one.at[:16].replace("T", " "), *cells, one.file + twice)
    console.print(rows)
    if total > len(newest):
        console.print(f"[dim]and {total - len(newest):,} before them[/]")


def _show_waiting(console: Console, waiting: Sequence[Row], states: Mapping[str, int]) -> None:
    open_ = sum(states.get(s, 0) for s in ("planned", "held", "sending"))
    console.print()
    if not open_:
        console.print("Nothing is waiting to go.", style="dim")
        return
    console.print(f"[bold]{counted(open_, 'message')} waiting[/]")
    wide = console.width >= 90
    heads = ("until (UTC)", "state", "journey", *(("medium", "why") if wide else ()), "messages")
    rows = table("", *heads, right=("messages",))
    for row in waiting:
        cells = (row["medium"], row["reason"] or "") if wide else ()
        state = fate(row["state"], "" if wide else row["reason"] or "")
        rows.add_row(when(row["due_at"], year=wide), state, row["journey"] or "—", *cells, f"{row['messages']:,}")
    console.print(rows)


# ---- log ------------------------------------------------------------------------------------------------------------


def log(
    *,
    message: int | None = None,
    journey: str | None = None,
    customer: str | None = None,
    since: str | None = None,
    verdict: str | None = None,
    limit: int = 30,
) -> int:
    """The record: every decision and every outcome, newest first. With --message, all about that one.

    Parameters
    ----------
    message
        One message, by its number: every verdict with what it was judged on.
    journey
        Of this journey only.
    customer
        Of messages to this customer only.
    since
        From this instant (2027-03-28T09:00+02:00) or for this long (`2 hours`, `7 days`).
    verdict
        Only this: allow, hold, deny; sent, delivered, bounced, failed, uncertain, cancelled, …
    limit
        How many lines.
    """
    from orchestrator import wiring
    from orchestrator.store import explain

    call = terminal()
    if not 1 <= limit <= MOST:
        raise Usage(f"--limit is a number of lines: 1 to {MOST:,}")
    with wiring.connected(call.workspace) as wired:
        if message is not None:
            return _log_of(wired.store, wired.keys_if_any(), message)
        with wired.store.read() as conn:
            one = explain.who(conn, customer) if customer is not None else None
            if customer is not None and (one is None or one.customer_id is None):
                raise Usage(f"there is no customer `{customer}`")
            start = _since(since, as_of(conn, wired)) if since is not None else None
            wanted = explain.LogFilter(None, one.customer_id if one else None, journey, verdict, start)
            lines = explain.log_lines(conn, wanted, limit)
    nothing = "Nothing has been judged yet." if wanted == explain.LogFilter() else "The log has no such line."
    call.answer(lambda: {"lines": lines}, lambda console: _show_log(console, lines, limit, nothing))
    return FINE


def _log_of(store: Any, keys: Any, number: int) -> int:
    from orchestrator.why import of_message

    call = terminal()
    found = of_message(store, keys, number) if 0 < number < 2**63 else None
    if found is None:
        raise Usage(f"there is no message {number}")
    sent: Sent = found

    def show(console: Console) -> None:
        from orchestrator.cli._story import show_message

        console.print("[dim]all times are UTC[/]")
        show_message(console, sent, indent=0)

    call.answer(lambda: sent, show)
    return FINE


def _since(text: str, now: datetime) -> datetime:
    from orchestrator.words import duration

    if text[:1].isdigit() and "-" not in text:
        found = duration(text)
        if found is None:
            raise Usage(f"--since takes an instant with its offset, or a time such as `2 hours`, not `{text}`")
        return now - timedelta(days=found.days + 30 * found.months, seconds=found.seconds)
    return instant(text, "--since")


_LAYOUTS: Mapping[str, tuple[str, ...]] = {
    "wide": ("at (UTC)", "what", "why", "journey", "step", "to", "message"),
    "stacked": ("at (UTC)", "what", "why", "journey, step", "to", "message"),
    "narrow": ("at (UTC)", "what", "step", "message"),
    "tight": ("at (UTC)", "what, step", "message"),
}
"""Of the log, the most telling first: the first in which no name has to be broken is shown."""
_FOLDS = {"wide": "journey", "stacked": "journey, step", "narrow": "step", "tight": "what, step"}
"""The one column of each that may take several lines."""


def _show_log(console: Console, lines: Sequence[Row], limit: int, nothing: str) -> None:
    if not lines:
        console.print(nothing, style="dim")
        return
    for layout, heads in _LAYOUTS.items():
        shown = [_log_row(layout, line) for line in lines]
        folds = heads.index(_FOLDS[layout])
        if layout == "tight" or widest([heads, *shown], folds) <= console.width:
            break
    rows = table("", *heads, right=("message",), wrap=(_FOLDS[layout],))
    for row in shown:
        rows.add_row(*row)
    console.print(rows)
    if len(lines) == limit:
        console.print(f"[dim]the newest {limit:,}; more with --limit. All about one: orchestrator log --message N[/]")


def _log_row(layout: str, line: Row) -> tuple[str | Text, ...]:
    """A line of the log as the cells of a layout."""
    from rich.text import Text

    at, number, to = when(line["at"], year=layout in ("wide", "stacked")), str(line["message_id"]), ""
    reason, journey, step = line["reason"], line["journey"] or "—", line["step"]
    if line["kind"] == "operation":
        about = [line["reason"], *(f"{name} {plain(value)}" for name, value in line["about"].items())]
        reason, to, number, step = "", f"by {line['by']}", "", ""
        what, journey = Text(line["verdict"]), listed(about)
    else:
        to = plain(line["to_key"] if line["addressee"] == "customer" else line["addressee"])
        what = (heard if line["kind"] == "feedback" else fate)(line["verdict"])
    if layout == "wide":
        return at, what, reason, journey, step, to, number
    if layout == "stacked":
        return at, what, reason, f"{journey}\n{step}".rstrip(), to, number
    if line["kind"] == "operation":
        step = "\n".join(part for part in (to, *about) if part)
    elif reason:
        what = (heard if line["kind"] == "feedback" else fate)(line["verdict"], reason)
    if layout == "narrow":
        return at, what, step, number
    return at, Text("\n").join([what, Text(step)]), number
