"""`accounts`: one company at a look: its tree, its people, what it has with us, and who would be written to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cyclopts import App

from orchestrator.cli._look import counted, listed, plain, table, when
from orchestrator.cli._opening import as_of, ruling
from orchestrator.cli.terminal import FINE, Usage, terminal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from orchestrator.apply import Force
    from orchestrator.journey import Journey
    from orchestrator.store.accounts import Row
    from orchestrator.store.journeys import UnitFacts
    from orchestrator.wiring import Wired

_MEDIA = ("email", "sms", "push", "mail")
_HEAD = ("class", "tier", "country", "timezone", "joined", "manager_name", "manager_email")
_KNOWN = ("health", "band", "renewal", "points", "score", "member")


def register(app: App) -> None:
    app.command(accounts)


def accounts(key: str, /) -> int:
    """A company at a look: its tree, contacts by role and how they are reached, contracts and opportunities, health,
    and whom each account journey would write to now.

    A contact is not reached where there is no address, or it is suppressed (it bounced, or somebody said stop). Whether
    they said yes to a topic is judged when a message goes; `orchestrator why` tells.

    Parameters
    ----------
    key
        The account's key.
    """
    from orchestrator import wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        found = _read(conn, wired, ruling(conn, wired), key, as_of(conn, wired))
    if found is None:
        raise Usage(f"there is no account `{key}`")
    call.answer(lambda: found, lambda console: _show(console, found))
    return FINE


# ---- reading --------------------------------------------------------------------------------------------------------


def _read(conn: sa.Connection, wired: Wired, force: Force, key: str, now: datetime) -> dict[str, Any] | None:
    from orchestrator.store import accounts as store
    from orchestrator.store import journeys as running

    own = store.own(conn, key)
    if own is None:
        return None
    account_id = own["id"]
    facts = running.company_facts(conn, [account_id])[account_id]
    people = store.contacts(conn, account_id)
    lost, written = _lost(conn, wired, people, now), store.last_written(conn, account_id)
    vocabulary = force.project.vocabulary
    money = {"amount": own["annual_value"], "currency": own["annual_value_currency"]}
    return {
        "key": key,
        "name": own["name"],
        **{name: own[name] for name in _HEAD},
        "annual_value": money if own["annual_value"] is not None else None,
        "attributes": own["attributes"],
        "partner": own["partner"],
        "partner_allows_contact": own["partner_allows"] is True if own["partner"] else None,
        "has_customers_of_its_own": own["is_partner"],
        "allows_contact": own["allows_contact"],
        "tree": [
            {
                **{n: row[n] for n in ("key", "name", "class", "tier", "level", "contacts")},
                "own": row["id"] == account_id,
            }
            for row in store.tree(conn, account_id)
        ],
        "contacts": [_contact(row, lost, written) for row in people],
        "records": [dict(row) for row in store.records(conn, account_id, vocabulary)],
        "standing": {n: v for n, v in store.standing(conn, account_id).items() if n not in ("unit", "unit_id")},
        "runs": [dict(row) for row in store.runs(conn, account_id)],
        "journeys": _written_to(conn, force, facts, lost, now),
    }


def _lost(conn: sa.Connection, wired: Wired, people: Iterable[Row], now: datetime) -> set[tuple[int, str]]:
    """(contact, medium) of addresses that are there and not written to. Without keys nothing is suppressed yet."""
    from channels.base import Medium
    from orchestrator.store import accounts as store

    if not wired.keys_path.exists():
        return set()
    own = {
        (row["id"], medium.value): wired.keys.address_key(medium, row[column])
        for row in people
        for medium, column in ((Medium.EMAIL, "email"), (Medium.SMS, "phone"))
        if row[column]
    }
    found = store.suppressed(conn, own.values(), now)
    return {(i, medium) for (i, medium), hashed in own.items() if (medium, hashed) in found}


def _contact(row: Row, lost: set[tuple[int, str]], written: Mapping[int, datetime]) -> dict[str, Any]:
    there = {"email": row["email"], "sms": row["phone"], "push": row["push"], "mail": row["mail"]}
    by = {m: "suppressed" if (row["id"], m) in lost else "yes" if there[m] else "no" for m in _MEDIA}
    return {
        "key": row["key"],
        "role": row["role"],
        "left_at": row["left_at"],
        "reached_by": by,
        "said_yes": row["yes"],
        "last_written": written.get(row["id"]),
    }


def _written_to(
    conn: sa.Connection, force: Force, facts: UnitFacts, lost: set[tuple[int, str]], now: datetime
) -> list[dict[str, Any]]:
    """By account journey that is for this account: who would be written to now and who stands in, in their order."""
    from orchestrator.steps.sending import seated
    from orchestrator.store import accounts as store

    account_id = facts.account_id or 0
    keys = store.keys_of(conn, {c.customer_id for c in facts.contacts})
    found = []
    for journey in force.project.journeys.values():
        if journey.unit != "account" or not store.in_audience(conn, force.segments, journey, account_id, now):
            continue
        pool = _pool(journey, facts, lost)
        first = seated(pool, journey.recipients.at_most, journey.recipients.each)
        then = [a for a in pool if a not in first]
        found.append(
            {
                "journey": journey.name,
                "writes_to": [_named(keys, a.id, a.above) for a in first],
                "then": [_named(keys, a.id, a.above) for a in then],
            }
        )
    return found


def _pool(journey: Journey, facts: UnitFacts, lost: set[tuple[int, str]]) -> tuple[Any, ...]:
    """Contacts whom any medium that the journey sends by reaches."""
    from orchestrator.advance import recipients

    sends = {medium for step in journey.every_step() for _, medium in step.sends()}
    found: dict[int, Any] = {}
    for medium, those in recipients(journey, facts).items():
        if medium in sends:
            found |= {a.id: a for a in those if (a.id, medium.value) not in lost and a.id not in found}
    order = {role: n for n, role in enumerate(journey.recipients.roles)}
    return tuple(sorted(found.values(), key=lambda a: (a.above, order.get(a.role, len(order)), a.id)))


def _named(keys: Mapping[int, tuple[str, str]], customer_id: int, above: int) -> str:
    own, company = keys[customer_id]
    return f"{own} of {company}" if above else own


# ---- showing --------------------------------------------------------------------------------------------------------

_MARK = {"yes": "[green]✓[/]", "no": "[dim]·[/]", "suppressed": "[red]✗[/]"}


def _show(console: Console, found: Mapping[str, Any]) -> None:
    from rich.text import Text

    console.print(Text.assemble((found["key"], "bold"), f"  {found['name']}", ("   all times are UTC", "dim")))
    manager = listed([found["manager_name"] or "", found["manager_email"] or ""])
    tier = listed([found["class"], found["tier"] or "no tier", _money(found["annual_value"], " a year")])
    _line(console, "class", tier)
    _line(console, "manager", manager or "[yellow]none: tasks for the account manager are passed over[/]")
    if found["partner"]:
        said = "lets us write to its customers" if found["partner_allows_contact"] else "has not let us write to them"
        _line(console, "partner", f"buys through {found['partner']}, which {said}")
    if found["has_customers_of_its_own"]:
        said = "lets us write to them" if found["allows_contact"] else "has not let us write to them"
        _line(console, "partner", f"has customers of its own, and {said}")
    for name, value in found["attributes"].items():
        _line(console, name.replace("_", " "), plain(value))
    _standing(console, found["standing"])
    if len(found["tree"]) > 1:
        console.print("\n[bold]Tree[/]")
        for row in found["tree"]:
            told = listed([row["class"], row["tier"] or "", counted(row["contacts"], "contact")])
            style = "bold cyan" if row["own"] else ""
            console.print(
                Text.assemble("  " + "  " * row["level"], (row["key"], style), f"  {row['name']}  ", (told, "dim"))
            )
    _contacts(console, found["contacts"])
    _records(console, found["records"])
    if found["runs"]:
        console.print("\n[bold]Under way[/]")
    for run in found["runs"]:
        wakes = f", until {when(run['wake_at'])}" if run["wake_at"] else ""
        text = f"in {run['journey']} since {when(run['entered_at'])}, at {run['step'] or 'the beginning'}{wakes}"
        console.print(f"  [cyan]●[/] {text}", soft_wrap=True)
    if found["journeys"]:
        console.print("\n[bold]Who would be written to[/]")
        rows = table("", "journey", "first", "then, in another's place", wrap=("first", "then, in another's place"))
        for one in found["journeys"]:
            first = ", ".join(one["writes_to"]) or "[yellow]nobody can be reached[/]"
            rows.add_row(one["journey"], first, ", ".join(one["then"]) or "[dim]·[/]")
        console.print(rows)


def _line(console: Console, label: str, text: str) -> None:
    console.print(f"  [dim]{label:<9}[/] {text}", soft_wrap=True)


def _standing(console: Console, standing: Mapping[str, Any]) -> None:
    told = [f"{name} {standing[name]:g}" if isinstance(standing[name], float) else f"{name} {standing[name]}"
            for name in _KNOWN if standing.get(name, "none") != "none"]  # fmt: skip
    for name in ("clv", "spent"):
        if name in standing:
            told.append(f"{name} {_money({'amount': standing[name], 'currency': standing.get(f'{name}_currency')})}")
    if told:
        _line(console, "value", ", ".join(told))


def _money(value: Mapping[str, Any] | None, more: str = "") -> str:
    from orchestrator.model import minor_digits

    if value is None or value["amount"] is None or not value["currency"]:
        return ""
    digits = minor_digits(value["currency"])
    return f"{value['amount'] / 10**digits:,.{digits}f} {value['currency']}{more}"


def _contacts(console: Console, contacts: Sequence[Mapping[str, Any]]) -> None:
    console.print(
        "\n[bold]Contacts[/]" if contacts else "\n[yellow]No contacts: nobody of this account can be written to[/]"
    )
    if not contacts:
        return
    rows = table("", "role", "contact", *_MEDIA, "said yes to", "last written", wrap=("said yes to",))
    for one in contacts:
        yes = "; ".join(f"{medium}: {', '.join(topics)}" for medium, topics in one["said_yes"].items())
        if one["left_at"]:
            rows.add_row(
                one["role"] or "·", one["key"], *["[dim]·[/]"] * 4, f"[yellow]left {when(one['left_at'])}[/]", ""
            )
            continue
        marks = [_MARK[one["reached_by"][medium]] for medium in _MEDIA]
        rows.add_row(
            one["role"] or "·", one["key"], *marks, yes or "[dim]·[/]", when(one["last_written"]) or "[dim]·[/]"
        )
    console.print(rows)


def _records(console: Console, records: Sequence[Mapping[str, Any]]) -> None:
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in records:
        kinds.setdefault(row["type"], []).append(row)
    for kind, rows in kinds.items():
        console.print(f"\n[bold]{kind}[/]")
        for row in rows:
            fields = dict(row["fields"])
            told = []
            for name in [n for n in fields if not n.endswith("_currency") or n.removesuffix("_currency") not in fields]:
                currency = fields.get(f"{name}_currency")
                value = _money({"amount": fields[name], "currency": currency}) if currency else plain(fields[name])
                if str(fields[name]) != row["key"]:
                    told.append(f"{name.replace('_', ' ')} {value}")
            since = f" (since {when(row['stage_since'])})" if row["stage"] and row["stage_since"] else ""
            console.print(f"  {row['key']}  [dim]{', '.join(told)}{since}[/]", soft_wrap=True)
