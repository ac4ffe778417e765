"""`tiers`: how a class is spread over its tiers; of one person or company, where she stands and how she came there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import table
from orchestrator.cli._opening import as_of, opened, ruling
from orchestrator.cli.terminal import FINE, PROBLEMS, Usage, terminal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from orchestrator.apply import Force
    from orchestrator.model import Unit

FLAG = Parameter(negative=())
_WHY: Mapping[str, str] = {
    "": "set by an import",
    "first": "first looked at",
    "score": "the score was enough",
    "review": "a review, after the grace",
    "class": "another class",
}


def register(app: App) -> None:
    app.command(tiers)


def tiers(key: str = "", /, *, limit: int = 20, replay: Annotated[bool, FLAG] = False) -> int:
    """How many stand on which tier; with a key, where one stands, what is missing, what is at risk, and the history.

    Parameters
    ----------
    key
        The customer's or the account's key. A contact's tier is her company's, where her class says so.
    limit
        So many changes, newest first.
    replay
        Work the tier out from the first event, and leave with exit code 1 where what is kept is another.
    """
    call = terminal()
    with opened(call.workspace) as wired, wired.store.read() as conn:
        force = ruling(conn, wired)
        if not key:
            if replay:
                raise Usage("`--replay` is of one customer or account: name it")
            told = {"classes": _spread(conn, force)}
            call.answer(lambda: told, lambda console: _show_spread(console, told["classes"]))
            return FINE
        unit, unit_id, name = _whose(conn, force, key)
        one = _one(conn, force, unit, unit_id, name, limit)
        if replay:
            one["replayed"] = _replayed(conn, force, unit_id, one, as_of(conn, wired))
    call.answer(lambda: one, lambda console: _show(console, one))
    return PROBLEMS if replay and one["replayed"] != one["tier"] else FINE


def _spread(conn: sa.Connection, force: Force) -> list[dict[str, Any]]:
    from orchestrator.store import tiers as stored

    found = []
    for declared in force.project.vocabulary.classes.values():
        shares = {share.tier: share for share in stored.distribution(conn, declared.name, declared.unit)}
        rows = []
        for tier in (*reversed(declared.tiers), *(t for t in shares if t not in declared.tiers)):
            share = shares.get(tier, stored.Share(declared.name, tier, 0, 0, 0))
            counts = {"units": share.units, "at_risk": share.at_risk, "protected": share.protected}
            rows.append({"tier": tier, **counts})
        found.append({"class": declared.name, "unit": declared.unit, "tiers": rows})
    return found


def _whose(conn: sa.Connection, force: Force, key: str) -> tuple[Unit, int, str]:
    """Whose tier it is."""
    from orchestrator.store import people, points

    person = people.find_customers(conn, [key]).get(key)
    if person is not None:
        owner = points.whose(conn, force.project, [person.id]).get(person.id)
        if owner is not None:
            return (*owner, points.names(conn, owner[0], [owner[1]])[owner[1]])
    account_id = people.find_accounts(conn, [key]).get(key)
    if account_id is None:
        raise Usage(f"there is no customer and no account `{key}`")
    return "account", account_id, key


def _one(conn: sa.Connection, force: Force, unit: Unit, unit_id: int, name: str, limit: int) -> dict[str, Any]:
    from orchestrator.store import loyalty
    from orchestrator.store import tiers as stored

    row = loyalty.standing(conn, unit, [unit_id]).get(unit_id, {})
    member = loyalty.members(conn, unit, [unit_id])[unit_id]
    program = force.project.program.classes.get(member.class_name)
    return {
        "unit": unit,
        "key": name,
        "class": member.class_name,
        "tier": member.tier,
        "since": row.get("tier_since"),
        "by": program.tier_by.text if program is not None and program.tier_by is not None else None,
        "score": row.get("score"),
        "next": row.get("next_tier"),
        "missing": row.get("missing"),
        "shortfall": row.get("shortfall"),
        "currency": row.get("score_currency"),
        "lost_on": row.get("review_on"),
        "grace_since": row.get("below_since"),
        "held_until": row.get("held_until"),
        "held_below": row.get("held_below"),
        "protected": row.get("protected"),
        "membership": row.get("member"),
        "member_since": row.get("member_since"),
        "member_until": row.get("member_until"),
        "changes": [
            {"at": c["at"], "from": c["from_tier"], "to": c["to_tier"], "direction": c["direction"], "why": c["reason"]}
            for c in stored.history(conn, unit, unit_id, limit)
        ],
    }


def _replayed(conn: sa.Connection, force: Force, unit_id: int, one: Mapping[str, Any], now: Any) -> str | None:
    from orchestrator import grade

    if one["by"] is None:
        raise Usage(f"class {one['class']} has no `tier_by`: its tiers are imported")
    found = grade.rebuilt(conn, force.project, force.segments, one["class"], [unit_id], now)
    return found[unit_id].stand.tier


def _show_spread(console: Console, classes: list[dict[str, Any]]) -> None:
    for one in classes:
        rows = table(f"{one['class']} ({one['unit']}s)", "tier", "how many", "at risk", "protected",
                     right=("how many", "at risk", "protected"))  # fmt: skip
        for share in one["tiers"]:
            numbers = (f"{share[name]:,}" for name in ("units", "at_risk", "protected"))
            rows.add_row(share["tier"] or "none", *numbers)
        console.print(rows)


def _show(console: Console, one: Mapping[str, Any]) -> None:
    since = f" since {one['since']:%Y-%m-%d}" if one["since"] is not None else ""
    head = f"[bold]{one['tier'] or 'no tier'}[/]{since}: {one['unit']} {one['key']}, class {one['class']}"
    console.print(head, soft_wrap=True, highlight=False)
    for line in _lines(one):
        console.print(line, soft_wrap=True, highlight=False)
    if one["changes"]:
        rows = table("", "at (UTC)", "from", "to", "why", wrap=("why",))
        for change in one["changes"]:
            why = _WHY.get(change["why"], change["why"])
            rows.add_row(f"{change['at']:%Y-%m-%d %H:%M}", change["from"] or "none", change["to"] or "none", why)
        console.print(rows)


def _lines(one: Mapping[str, Any]) -> list[str]:
    from orchestrator.model import scored

    lines = []
    if one["membership"] is not None:
        until = f" until {one['member_until']}" if one["member_until"] is not None else ""
        since = f" since {one['member_since']}" if one["member_since"] is not None else ""
        lines.append(f"membership {one['membership']}{since}{until}")
    if one["by"] is None:
        return [*lines, "[dim]no rule: the tier is imported[/]"]
    if one["membership"] == "none":
        return [*lines, "[dim]no member: the tier begins to move with a membership[/]"]
    if one["membership"] == "lapsed":
        return [*lines, "[dim]the membership is over: the tier stays as it is until it is renewed[/]"]
    if one["score"] is None:
        return [*lines, f"[dim]{one['by']} is not known: nothing moves[/]"]
    following = (
        f"; {scored(one['missing'], one['currency'])} more make {one['next']}" if one["next"] is not None else ""
    )
    lines.append(f"{one['by']} is {scored(one['score'], one['currency'])}{following}")
    if one["lost_on"] is not None:
        grace = f", the grace began on {one['grace_since']}" if one["grace_since"] is not None else ""
        missing = scored(one["shortfall"], one["currency"])
        lines.append(f"[yellow]at risk[/]: {missing} missing; lost on {one['lost_on']}{grace}")
    elif one["protected"]:
        lines.append("[green]protected[/]: not lost whatever the score")
    if one["held_until"] is not None:
        lines.append(f"an import set it lower than the score: it holds until {one['held_until']}")
    elif one["held_below"] is not None:
        lines.append(
            f"an import set it lower than the score: it holds until that is enough for more than {one['held_below']}"
        )
    if "replayed" in one:
        same = one["replayed"] == one["tier"]
        lines.append("replayed from the first event: the same" if same else f"[red]replayed: {one['replayed']}[/]")
    return lines
