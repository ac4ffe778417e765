"""`challenges`, `draws`, `leaderboard`: what there is to win, who won, and the proof that it was fair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from orchestrator.cli._look import counted, table, when
from orchestrator.cli._opening import as_of, opened, ruling
from orchestrator.cli.terminal import FINE, PROBLEMS, CannotRun, Usage, terminal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from orchestrator.apply import Force
    from orchestrator.lottery import Entry
    from orchestrator.model import Vocabulary
    from orchestrator.store.draws import Drawn


def register(app: App) -> None:
    app.command(challenges)
    draws = App(name="draws", help="Draws of lots: open, drawn, and checked by anybody.")
    draws.default(list_)
    draws.command(show)
    draws.command(verify)
    app.command(draws)
    app.command(leaderboard)


# ---- challenges -----------------------------------------------------------------------------------------------------


def challenges() -> int:
    """Every challenge: its condition, what it is worth, and how many have done it since it was there."""
    from orchestrator.store import challenges as stored

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        project = ruling(conn, wired).project
        done = stored.numbers(conn)
    told: list[dict[str, Any]] = [
        {
            "challenge": one.name,
            "class": program.class_name,
            "when": one.when.text,
            "points": one.points,
            "badge": one.badge or None,
            "hidden": one.hidden,
            "again": None if one.again is None else str(one.again),
            "until": one.until,
            "done": done.get(one.name, 0),
        }
        for program in project.program.classes.values()
        for one in program.challenges
    ]
    call.answer(lambda: {"challenges": told}, lambda console: _show_challenges(console, told))
    return FINE


def _show_challenges(console: Console, told: list[dict[str, Any]]) -> None:
    if not told:
        console.print("No challenge is declared; `challenges` of a class in workspace.yaml does it.", style="dim")
        return
    shown = table("", "challenge", "class", "done when", "points", "done by", right=("points", "done by"),
                  wrap=("done when",))  # fmt: skip
    for one in told:
        more = [f"again after {one['again']}"] if one["again"] else []
        more += [f"until {one['until']}"] if one["until"] else []
        more += ["hidden"] if one["hidden"] else []
        name = one["challenge"] + (f" [dim]({', '.join(more)})[/]" if more else "")
        shown.add_row(name, one["class"], one["when"], f"{one['points']:,}", f"{one['done']:,}")
    console.print(shown)


# ---- draws ----------------------------------------------------------------------------------------------------------


def list_() -> int:
    """Every draw: when it closes, tickets so far, who may check it by what."""
    from orchestrator.store import draws as stored

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        force, now = ruling(conn, wired), as_of(conn, wired)
        known = stored.all_draws(conn)
        told = [_row(conn, force, name, known.get(name), now) for name in _names(force, known)]
    call.answer(lambda: {"draws": told}, lambda console: _show_draws(console, told))
    return FINE


def _names(force: Force, known: Mapping[str, Drawn]) -> list[str]:
    declared = {f"{p.class_name}/{one.name}" for p in force.project.program.classes.values() for one in p.draws}
    return sorted({*declared, *known})


def _row(conn: sa.Connection, force: Force, name: str, known: Drawn | None, now: datetime) -> dict[str, Any]:
    from orchestrator import play
    from orchestrator.store import draws as stored
    from orchestrator.store.loyalty import Round

    class_name, _, short = name.partition("/")
    program = force.project.program.classes.get(class_name)
    one = next((d for d in program.draws if d.name == short), None) if program is not None else None
    tickets: int | None = None
    if known is not None and known.drawn_at is not None:
        tickets = len(stored.entries(conn, name))
    elif known is not None and one is not None and program is not None:
        tickets = len(play.tickets(Round(conn, force.project, force.segments, now, 0, 0), program, one, known))
    over = one is not None and known is None and play.times_of(one, force.project.vocabulary)[1] <= now
    state = "over" if over else "to come"
    if known is not None:
        state = "drawn" if known.drawn_at is not None else "open"
    return {
        "draw": name,
        "state": state,
        "entry": None if one is None else one.entry,
        "opens": None if one is None else one.opens,
        "closes": None if one is None else one.closes,
        "tickets": tickets,
        "prizes": None if one is None else one.winners,
        "prize": (one.prize or None) if one is not None else None,
        "commitment": None if known is None else known.commitment,
    }


def _show_draws(console: Console, told: list[dict[str, Any]]) -> None:
    if not told:
        console.print("No draw is declared; `draws` of a class in workspace.yaml does it.", style="dim")
        return
    shown = table("", "draw", "", "closes", "tickets", "prizes", "commitment (SHA-256 of the seed)",
                  right=("tickets", "prizes"), wrap=("commitment (SHA-256 of the seed)",))  # fmt: skip
    for one in told:
        tickets = "" if one["tickets"] is None else f"{one['tickets']:,}"
        closes = str(one["closes"] or "not declared any more")
        prizes = "" if one["prizes"] is None else f"{one['prizes']:,}"
        shown.add_row(one["draw"], one["state"], closes, tickets, prizes, one["commitment"] or "")
    console.print(shown)


def show(name: str, /, *, entries: Path | None = None, alternates: int = 0, keys: bool = False) -> int:
    """What may be known of a draw: before it the commitment, after it the seed, the entries' hash, and who won.

    Parameters
    ----------
    name
        The draw, with its class: `b2c/summer`.
    entries
        Write the list of entries to this file, as it is to be published.
    alternates
        So many more, in order, should somebody not take the prize.
    keys
        The winners by their keys, not by their tickets alone: personal data.
    """
    from orchestrator import lottery
    from orchestrator.store import draws as stored

    call = terminal()
    if alternates < 0:
        raise Usage("--alternates takes a number from 0 on")
    with opened(call.workspace) as wired, wired.store.read() as conn:
        known = _known(conn, name)
        listed = stored.entries(conn, name) if known.drawn_at is not None else []
        numbers = known.winners or []
        more = lottery.winners(known.seed, listed, alternates, after=len(numbers)) if known.drawn_at else ()
        named = stored.keys(conn, name, [*numbers, *more]) if keys else {}
    if entries is not None:
        if known.drawn_at is None:
            raise CannotRun(f"entries of `{name}` are not closed yet")
        _written(entries, lottery.listed(listed))
    public = known.published()
    told = {
        "draw": name,
        "opened_at": known.opened_at,
        "commitment": public.commitment,
        "drawn_at": known.drawn_at,
        "seed": None if public.seed is None else public.seed.hex(),
        "entries": public.entries or None,
        "tickets": len(listed) if known.drawn_at else None,
        "winners": _tickets(numbers, listed, named),
        "alternates": _tickets(more, listed, named),
    }
    call.answer(lambda: told, lambda console: _show_draw(console, told, entries))
    return FINE


def _known(conn: sa.Connection, name: str) -> Drawn:
    from orchestrator.store import draws as stored

    known = stored.all_draws(conn)
    if name not in known:
        raise Usage(f"no draw `{name}` was opened" + _hint(name, known))
    return known[name]


def _hint(name: str, known: Iterable[str]) -> str:
    from orchestrator.problems import suggest

    return f"; {hint}" if (hint := suggest(name, known)) else ""


def _written(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii", newline="\n")
    except OSError as error:
        raise CannotRun(f"{path} cannot be written: {error.strerror}") from None


def _tickets(numbers: Sequence[int], listed: Sequence[Entry], named: Mapping[int, str]) -> list[dict[str, Any]]:
    return [
        {"ticket": n, "hash": listed[n].ticket, **({"key": named.get(n)} if named else {})}
        for n in numbers
        if n < len(listed)
    ]


def _show_draw(console: Console, told: Mapping[str, Any], entries: Path | None) -> None:
    lines = [("opened (UTC)", when(told["opened_at"])), ("commitment", told["commitment"])]
    if told["drawn_at"] is not None:
        lines += [("drawn (UTC)", when(told["drawn_at"])), ("seed", told["seed"])]
        lines += [("entries", told["entries"]), ("tickets", f"{told['tickets']:,}")]
    for name, value in lines:
        console.print(f"[dim]{name:<13}[/]{value}", soft_wrap=True, highlight=False)
    for title in ("winners", "alternates"):
        if told[title]:
            shown = table(f"\n{title}", "", "ticket", "its hash", *(["key"] if "key" in told[title][0] else []))
            for place, one in enumerate(told[title], 1):
                key = [one["key"] or "—"] if "key" in one else []
                shown.add_row(str(place), str(one["ticket"]), one["hash"], *key)
            console.print(shown)
    if told["drawn_at"] is None:
        console.print("The seed is shown once it is drawn.", style="dim")
    if entries is not None:
        console.print(f"\nThe list of entries is in {entries}; its SHA-256 is the entries' hash.", soft_wrap=True)


def verify(name: str, /, *, entries: Path | None = None, seed: str | None = None) -> int:
    """Compute a draw again: commitment, entries, winners. Ends with 1 when anything does not fit.

    Parameters
    ----------
    name
        The draw, with its class: `b2c/summer`.
    entries
        A list that was published, in place of the one in the database.
    seed
        A seed that was published, hexadecimal, in place of the one in the database.
    """
    from dataclasses import replace

    from orchestrator import lottery
    from orchestrator.store import draws as stored

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        known = _known(conn, name)
        listed = stored.entries(conn, name) if entries is None else _read(entries)
    public = known.published()
    if seed is not None:
        try:
            public = replace(public, seed=bytes.fromhex(seed))
        except ValueError:
            raise Usage("--seed is hexadecimal, two characters a byte") from None
    if known.drawn_at is None:
        raise CannotRun(f"`{name}` has not been drawn yet; its commitment is {known.commitment}")
    found = lottery.problems(public, listed)
    told = {"draw": name, "tickets": len(listed), "winners": list(public.winners), "problems": list(found)}
    call.answer(lambda: told, lambda console: _show_verified(console, told))
    return PROBLEMS if found else FINE


def _read(path: Path) -> list[Entry]:
    from orchestrator.lottery import Entry

    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise CannotRun(f"{path} cannot be read as a list of entries") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split(",")
        if len(parts) != 3 or not parts[0].isdecimal():
            raise CannotRun(f"{path}: line {number}: a line is `number,ticket,entrant`")
        found.append(Entry(int(parts[0]), parts[1], parts[2]))
    return found


def _show_verified(console: Console, told: Mapping[str, Any]) -> None:
    if told["problems"]:
        for problem in told["problems"]:
            console.print(f"[red]✗[/] {problem}", soft_wrap=True)
        return
    tickets, winners = counted(told["tickets"], "ticket"), counted(len(told["winners"]), "winner")
    fits = "the seed is the one committed to, the entries are those that were drawn from, and they give these winners"
    console.print(f"[green]✓[/] {told['draw']}: {fits} ({tickets}, {winners})", soft_wrap=True)


# ---- leaderboards ---------------------------------------------------------------------------------------------------


def leaderboard(class_name: str, /, *, period: str | None = None, top: int = 10) -> int:
    """The best of a class by points earned, of those who want to stand there, under the names they play under.

    Parameters
    ----------
    class_name
        The class, whose programme says `leaderboard: true`.
    period
        When the points were earned: `2027`, `2027-Q1`, `2027-03` or `2027-03-01..2027-03-15`; without it, ever.
    top
        How many places.
    """
    from orchestrator.store import players

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        project = ruling(conn, wired).project
        program = project.program.classes.get(class_name)
        if program is None:
            raise Usage(f"no class `{class_name}` has a programme" + _hint(class_name, project.program.classes))
        if not program.leaderboard:
            raise CannotRun(f"`{class_name}` has no leaderboard; `leaderboard: true` in its programme gives it one")
        since, until = between(period, project.vocabulary)
        found = players.leaderboard(conn, class_name, program.unit, since=since, until=until, limit=max(top, 1))
    told = [{"rank": one.rank, "name": one.name, "points": one.points} for one in found]
    call.answer(
        lambda: {"class": class_name, "since": since, "until": until, "places": told},
        lambda console: _show_board(console, told),
    )
    return FINE


def _show_board(console: Console, told: list[dict[str, Any]]) -> None:
    if not told:
        console.print("Nobody has joined yet.", style="dim")
        return
    shown = table("", "", "name", "points", right=("", "points"), wrap=("name",))
    for one in told:
        shown.add_row(str(one["rank"]), one["name"], f"{one['points']:,}")
    console.print(shown)


def between(text: str | None, vocabulary: Vocabulary) -> tuple[datetime | None, datetime | None]:
    """[since, until) of a period as it is typed, by the workspace's clock; None, None for all time. Raises Usage."""
    from orchestrator import words, zones

    if text is None:
        return None, None
    found: tuple[date, date] | None = words.period(text)
    if found is None:
        raise Usage(f"--period takes `2027`, `2027-Q1`, `2027-03` or `2027-03-01..2027-03-15`, not `{text}`")
    tz = zones.first_known(vocabulary.timezone)
    return zones.instant(found[0], time(0), tz), zones.instant(found[1] + timedelta(days=1), time(0), tz)
