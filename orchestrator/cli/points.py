"""`points`: what somebody has, points given and taken by hand, and the proof that balances are the ledger's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, table
from orchestrator.cli._opening import as_of, opened, ruling
from orchestrator.cli.terminal import FINE, PROBLEMS, Usage, terminal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from orchestrator.model import Unit
    from orchestrator.project import Project
    from orchestrator.store.points import Owner

FLAG = Parameter(negative=())
UNITS: tuple[Unit, ...] = ("customer", "account")


def register(app: App) -> None:
    points = App(name="points", help="Points: looked at, given and taken by hand, proved.")
    points.command(show)
    points.command(award)
    points.command(check)
    app.command(points)


def show(key: str, /, *, limit: int = 20) -> int:
    """What a customer, or an account, has: to spend, pending, expiring, and the newest lines of the ledger.

    Parameters
    ----------
    key
        The customer's or the account's key. Where a customer's points are her company's, the company's are shown.
    limit
        So many lines.
    """
    from orchestrator.store import loyalty, points

    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        project = ruling(conn, wired).project
        unit, unit_id = _owner(conn, project, key)
        row = loyalty.standing(conn, unit, [unit_id]).get(unit_id, {})
        lines = points.history(conn, unit, unit_id, limit)
        name = points.names(conn, unit, [unit_id])[unit_id]
        class_name = loyalty.members(conn, unit, [unit_id])[unit_id].class_name
    rules = _rules(project, unit, class_name)
    declared = project.vocabulary.classes.get(class_name)
    told: dict[str, Any] = {
        "unit": unit,
        "key": name,
        "points": row.get("points") or 0,
        "pending": row.get("points_pending") or 0,
        "earned": row.get("points_earned") or 0,
        "expiring": row.get("points_expiring") or 0,
        "expire_on": row.get("points_expire_on"),
        "without_account": unit == "customer" and declared is not None and declared.unit == "account",
        "entries": [
            {
                "at": line["at"],
                "kind": line["kind"],
                "points": line["points"],
                "what": rules.get(line["rule"], line["rule"]),
                "active_at": line["active_at"],
                "expires_on": line["expires_on"],
            }
            for line in lines
        ],
    }
    call.answer(lambda: told, lambda console: _show(console, told))
    return FINE


def _rules(project: Project, unit: Unit, class_name: str) -> dict[str, str]:
    """Key of a rule → its text. Classes may have rules of one key: her own class's comes first; what she earned in
    another is named where only one of that unit's has it."""
    found: dict[str, set[str]] = {}
    for program in project.program.classes.values():
        for rule in program.points if program.unit == unit else ():
            found.setdefault(rule.key, set()).add(rule.text)
    own = project.program.classes.get(class_name)
    told = {key: min(texts) for key, texts in found.items() if len(texts) == 1}
    return told | ({rule.key: rule.text for rule in own.points} if own is not None and own.unit == unit else {})


def _owner(conn: sa.Connection, project: Project, key: str) -> Owner:
    from orchestrator.store import people, points

    person = people.find_customers(conn, [key]).get(key)
    if person is not None:
        owner = points.whose(conn, project, [person.id]).get(person.id)
        if owner is not None:
            return owner
    account_id = people.find_accounts(conn, [key]).get(key)
    if account_id is None:
        raise Usage(f"there is no customer and no account `{key}`")
    return "account", account_id


def _show(console: Console, told: Mapping[str, Any]) -> None:
    owed = "  [red](owed: what is earned next fills it first)[/]" if told["points"] < 0 else ""
    pending = f", {told['pending']:,} pending" if told["pending"] else ""
    console.print(
        f"[bold]{told['points']:,} points[/]{pending} of {told['unit']} {told['key']}{owed}",
        soft_wrap=True,
        highlight=False,
    )
    if told["without_account"]:
        console.print(
            "[yellow]![/] her class's points are an account's, and she belongs to none: what she does earns nothing; "
            "`orchestrator import customers` with her `account` attaches her, for what she does from then on",
            soft_wrap=True,
            highlight=False,
        )
    if told["expire_on"] is not None:
        console.print(f"[dim]{told['expiring']:,} expire at the end of {told['expire_on']}[/]", highlight=False)
    if not told["entries"]:
        return
    rows = table("", "at (UTC)", "kind", "points", "expires", "what", right=("points",), wrap=("what",))
    for line in told["entries"]:
        last = "" if line["expires_on"] is None else line["expires_on"].isoformat()
        rows.add_row(f"{line['at']:%Y-%m-%d %H:%M}", line["kind"], f"{line['points']:+,}", last, line["what"])
    console.print(rows)


def award(
    owner: str,
    points: Annotated[int, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    reason: str,
    key: str,
    expires: str | None = None,
    counts: Annotated[bool, FLAG] = False,
) -> int:
    """Give points by hand, or take some with a minus: as many as are there, and no more. The same key again is once.

    Parameters
    ----------
    owner
        The customer's or the account's key.
    points
        How many.
    reason
        Why, for the ledger, which is never changed: name no person in it.
    key
        What for, such as a case's number; it is kept as a hash.
    expires
        The last day on which they can be spent (2027-12-31); without it, as the class's `points_expire` says.
    counts
        Whether they count towards a tier.
    """
    from orchestrator import earn, words
    from orchestrator.slips import MOST_POINTS
    from orchestrator.store import loyalty

    if not 1 <= abs(points) <= MOST_POINTS:
        raise Usage(f"from 1 to {MOST_POINTS:,} points, or with a minus to take some")
    if "@" in reason or re.search(r"(?:\d[^\w]{0,2}){6}", reason):
        raise Usage("--reason stands in the ledger for good: no address and no long number, but such as `late parcel`")
    last: date | None = None
    if expires is not None and (last := words.day(expires)) is None:
        raise Usage(f"--expires takes a day such as 2027-12-31, not `{expires}`")
    call = terminal()
    with opened(call.workspace) as wired:
        now = wired.clock()
        hashed = wired.keys.hash("points", key)
        with wired.store.read() as conn:
            project = ruling(conn, wired).project
            unit, unit_id = _owner(conn, project, owner)
        grant = earn.Grant(
            hashed,
            unit_id if unit == "customer" else None,
            unit_id if unit == "account" else None,
            points,
            expires_on=last,
            counts=counts,
            reason=reason[:200],
        )
        new = bool(wired.store.written(lambda conn: earn.take_in(conn, [grant], now)))
        with wired.store.read() as conn:
            row = loyalty.standing(conn, unit, [unit_id]).get(unit_id, {})
    told = {"unit": unit, "key": owner, "written": new, "points": row.get("points") or 0}

    def tell(console: Console) -> None:
        mark, what = ("[bold green]✓[/]", "") if new else ("[yellow]![/]", "nothing new: this key was used before; ")
        console.print(f"{mark} {what}{unit} {owner} has {told['points']:,} points", soft_wrap=True, highlight=False)

    call.answer(lambda: told, tell)
    return FINE


def check(*, rebuild: Annotated[bool, FLAG] = False) -> int:
    """Prove that everybody's balance is what the ledger says; and tell of money that earned nothing for its currency.

    Every balance is worked out once more from its entries and compared. Ends with 1 when one differs.

    Parameters
    ----------
    rebuild
        Write anew what differs, from the ledger.
    """
    from orchestrator import earn
    from orchestrator.store import points

    call = terminal()
    with opened(call.workspace) as wired:
        with wired.store.read() as conn:
            project = ruling(conn, wired).project
            now = as_of(conn, wired)
            looked, found = earn.check(conn, project, now)
            foreign = points.foreign(conn, project)
            alone = points.without_account(conn, project)
            names: dict[Owner, str] = {}
            for unit in UNITS:
                ids = [d.unit_id for d in found if d.unit == unit]
                names |= {(unit, i): name for i, name in points.names(conn, unit, ids).items()}
        if rebuild:
            for unit in UNITS:
                ids = sorted({d.unit_id for d in found if d.unit == unit})
                wired.store.written(partial(earn.rebuild, project=project, unit=unit, ids=ids, now=now))
    told = {
        "looked": looked,
        "differences": [
            {
                "unit": d.unit,
                "key": names.get((d.unit, d.unit_id), ""),
                "what": d.column,
                "stored": d.stored,
                "ledger": d.ledger,
            }
            for d in found
        ],
        "other_currency": [{"rule": text, "currency": currency, "events": n} for text, currency, n in foreign],
        "without_account": [{"class": name, "customers": n} for name, n in alone],
        "rebuilt": rebuild and bool(found),
    }
    call.answer(lambda: told, lambda console: _tell(console, told))
    return PROBLEMS if found and not rebuild else FINE


def _tell(console: Console, told: Mapping[str, Any]) -> None:
    differences: Sequence[Mapping[str, Any]] = told["differences"]
    if not differences:
        console.print(f"[bold green]✓[/] {counted(told['looked'], 'balance')}: each is what the ledger says")
    else:
        rows = table("", "whose", "what", "stored", "ledger", right=("stored", "ledger"))
        for d in differences:
            rows.add_row(f"{d['unit']} {d['key']}", d["what"], str(d["stored"]), str(d["ledger"]))
        console.print(rows)
        done = "written anew" if told["rebuilt"] else "`orchestrator points check --rebuild` writes them anew"
        console.print(f"[bold red]✗[/] {counted(len(differences), 'difference')}: {done}", soft_wrap=True)
    for one in told["other_currency"]:
        console.print(
            f"[yellow]![/] {counted(one['events'], 'event')} in {one['currency']} earned nothing by `{one['rule']}`",
            soft_wrap=True,
        )
    for one in told["without_account"]:
        console.print(
            f"[yellow]![/] {counted(one['customers'], 'customer')} of class {one['class']} without an account: what "
            "they do earns nothing; `orchestrator import customers` with `account` attaches them",
            soft_wrap=True,
        )
