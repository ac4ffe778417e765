"""One customer's record, read and shown. The one place that shows a person's own data, because it was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from channels.base import Medium
from orchestrator.cli._look import counted, fate, heard, plain, table, when
from orchestrator.outbound import About, Due, address_text, destinations
from orchestrator.store import consents, explain, log
from orchestrator.store.suppressions import VOICE, postal_keys

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from orchestrator.store.explain import Row, Who
    from orchestrator.wiring import Wired

_HIDDEN = frozenset(
    {"id", "key", "account_id", "merged_into", "attributes", "created_at", "updated_at", "phone_zones", "phone_places"}
    | {"left_at", "salt", "partner_id"}
)


def read(conn: sa.Connection, wired: Wired, key: str, limit: int) -> dict[str, Any] | None:
    """All of it as one document; None when there is no customer of that key."""
    one = explain.who(conn, key)
    if one is None or one.customer_id is None:
        return None
    own = explain.profile(conn, one)
    devices = explain.devices(conn, one.customer_id)
    runs = explain.runs(conn, one)
    return {
        "key": one.key,
        "merged_from": one.merged_from,
        "account": one.account_key,
        "left_at": one.left_at,
        "profile": {name: value for name, value in own.items() if name not in _HIDDEN and value is not None},
        "attributes": own["attributes"],
        **_whereabouts(conn, one, own),
        "devices": [{k: v for k, v in d.items() if k != "token"} for d in devices],
        "consents": consents.standing(conn, wired.keys_if_any(), one.customer_id),
        "suppressions": _suppressed(conn, wired, one, own, devices),
        "runs": [_run(run) for run in runs if run["ended_at"] is None],
        "timeline": sorted(_timeline(conn, one, runs, limit), key=lambda e: e["at"], reverse=True)[:limit],
    }


def _whereabouts(conn: sa.Connection, one: Who, own: Row) -> dict[str, list[dict[str, Any]]]:
    """Every zone and place they may be in, as messages are judged on them."""
    from orchestrator.store.standing import whereabouts
    from orchestrator.zones import zone

    company: Row = {}
    if one.account_id is not None:
        company = explain.profile(conn, explain.Who(one.account_key or "", None, one.account_id, one.account_key))
    zones, places = whereabouts(dict(own), dict(company))
    return {
        "zones": [{"name": z.name, "source": z.source, "known": zone(z.name) is not None} for z in zones],
        "places": [{"country": p.country, "region": p.region, "source": p.source} for p in places],
    }


def _suppressed(conn: sa.Connection, wired: Wired, one: Who, own: Row, devices: Sequence[Row]) -> list[Row]:
    """Suppressions of any address of theirs. Nothing when there are no keys yet: then nothing is suppressed."""
    if not wired.keys_path.exists():
        return []
    company = None
    if one.account_id is not None:
        company = dict(explain.profile(conn, explain.Who("", None, one.account_id, None)))
    about = About(customer=dict(own), account=company, devices=tuple(d["token"] for d in devices))
    found = [
        (medium.value, wired.keys.address_key(medium, address_text(medium, to)))
        for medium in (Medium.EMAIL, Medium.SMS, Medium.PUSH, Medium.MAIL)
        for to in destinations(_addressed(medium), about)
    ]
    found += [
        (Medium.MAIL.value, key)
        for to in destinations(_addressed(Medium.MAIL), about)
        for key in postal_keys(wired.keys, to)
    ]
    if own["phone"]:
        found.append((VOICE, wired.keys.address_key(VOICE, own["phone"])))
    return explain.suppressions(conn, found)


def _addressed(medium: Medium) -> Due:
    """A message of that medium to a customer, as far as its destination is concerned."""
    at = datetime.min.replace(tzinfo=UTC)
    to = (0, 0, "", None, None, None, "", 0, "customer", 0, None, None)
    return Due(*to, medium, "", "", "marketing", 0, "planned", at, at, None, 0, {})  # type: ignore[arg-type]


def _run(run: Row) -> dict[str, Any]:
    names = ("id", "journey", "unit", "step", "entered_at", "wake_at")
    return {name: run[name] for name in names}


# ---- what happened --------------------------------------------------------------------------------------------------


def _timeline(conn: sa.Connection, one: Who, runs: Sequence[Row], limit: int) -> Iterator[dict[str, Any]]:
    """{at, kind, what, state, where}: events, tier changes, runs' beginnings and ends, messages and what became of
    them, consents."""
    for event in explain.events_of(conn, one, limit):
        yield _entry(event["occurred_at"], "event", event["type"], detail=event["properties"])
    for change in explain.tier_changes(conn, one):
        yield _entry(change["at"], "tier", f"{change['from_tier'] or 'none'} → {change['to_tier'] or 'none'}")
    for run in runs:
        yield _entry(run["entered_at"], "journey", f"entered {run['journey']}", journey=run["journey"])
        if run["ended_at"] is not None:
            what = f"left {run['journey']}: {run['ended_because']}"
            yield _entry(run["ended_at"], "journey", what, journey=run["journey"])
    for consent in consents.standing(conn, None, one.customer_id or 0):
        topic = "everything" if consent["topic"] == "*" else consent["topic"]
        what = f"{consent['state']} {topic} on {consent['medium']}"
        yield _entry(consent["since"], "consent", what, state=consent["state"])
    yield from _messages(conn, one, limit)


def _messages(conn: sa.Connection, one: Who, limit: int) -> Iterator[dict[str, Any]]:
    rows = {row["id"]: row for row in explain.messages_to(conn, one.customer_id or 0, limit)}
    for line in log.of_messages(conn, list(rows), None):
        row = rows[line["message_id"]]
        if line["kind"] == "decision" and line["verdict"] == "allow":
            continue  # what became of it follows
        what = f"{row['medium']} {row['template']}".strip()
        detail = {"reason": line["reason"], "rule": line["rule"]} if line["reason"] else {}
        where = {"journey": row["journey"], "step": row["step"], "message": row["id"]}
        yield _entry(line["at"], line["kind"], what, state=line["verdict"], detail=detail, **where)
    for row in rows.values():
        if row["state"] in ("planned", "held"):
            what = f"{row['medium']} {row['template']}".strip()
            where = {"journey": row["journey"], "step": row["step"], "message": row["id"]}
            yield _entry(row["planned_at"], "planned", what, state=row["state"], **where)


def _entry(at: datetime, kind: str, what: str, **more: Any) -> dict[str, Any]:
    return {"at": at, "kind": kind, "what": what, **more}


# ---- on the terminal ------------------------------------------------------------------------------------------------


def show(console: Console, found: Mapping[str, Any]) -> None:
    """The record, then the timeline."""
    from rich.text import Text

    account = f" of {found['account']}" if found["account"] else ""
    console.print(Text.assemble((f"{found['key']}{account}", "bold"), ("   all times are UTC", "dim")))
    if found["merged_from"]:
        console.print(f"[yellow]{found['merged_from']} was merged into {found['key']}[/]", soft_wrap=True)
    if found["left_at"]:
        console.print(f"[yellow]left the company {when(found['left_at'])}[/]")
    own = table("", "", "", wrap=("",))
    own.show_header = False
    for name, value in {**found["profile"], **found["attributes"]}.items():
        own.add_row(f"  [dim]{name.replace('_', ' ')}[/]", Text(plain(value)))
    zones = ", ".join(f"{z['name']} ({z['source']}{'' if z['known'] else ', unknown'})" for z in found["zones"])
    live = sum(d["retired_at"] is None for d in found["devices"])
    places = ", ".join(
        f"{p['country'] or 'anywhere'}{'-' + p['region'] if p['region'] else ''} ({p['source']})"
        for p in found["places"]
    )
    own.add_row("  [dim]zones[/]", zones or "[yellow]none known: no text or push goes out[/]")
    own.add_row("  [dim]places[/]", places or "[yellow]no country is known: the strictest rules hold[/]")
    own.add_row("  [dim]devices[/]", counted(live, "device") if live else "none")
    console.print(own)
    _show_consents(console, found["consents"])
    for one in found["suppressions"]:
        until = f"until {when(one['until'])}" if one["until"] else "for good"
        text = f"{one['medium']} is suppressed since {when(one['since'])}, {until}: {one['reason']}"
        console.print(f"  [red]✗[/] {text}", soft_wrap=True)
    for run in found["runs"]:
        text = f"in {run['journey']} since {when(run['entered_at'])}, at {run['step'] or 'the beginning'}"
        wakes = f", until {when(run['wake_at'])}" if run["wake_at"] else ""
        console.print(f"  [cyan]●[/] {text}{wakes}", soft_wrap=True)
    _show_timeline(console, found)


def _show_consents(console: Console, consents: Sequence[Row]) -> None:
    from rich.text import Text

    rows = table("", "  medium", "topic", "consent", "since", "how", wrap=("how",))
    for consent in consents:
        style = {"granted": "green", "withdrawn": "red"}.get(consent["state"], "yellow")
        topic = "everything" if consent["topic"] == "*" else consent["topic"]
        how = _how(consent)
        state = Text(consent["state"], style=style)
        rows.add_row(f"  {consent['medium']}", topic, state, when(consent["since"]), Text(how))
    if consents:
        console.print(rows)
    else:
        console.print("  no consent is known: no marketing goes out", style="yellow")


def _how(consent: Row) -> str:
    """How a consent is known, on what ground, and until when."""
    sealed = f"its source is {consent['sealed']}" if consent["sealed"] in ("erased", "damaged") else ""
    known = ", ".join(part for part in (consent["method"], consent["source"], sealed) if part)
    ground = (consent["basis"] or "").replace("_", " ") + (", confirmed" if consent["confirmed"] else "")
    until = f"until {when(consent['until'])}" if consent["until"] else ""
    return "; ".join(part for part in (known, ground, until) if part)


def _show_timeline(console: Console, found: Mapping[str, Any]) -> None:
    from rich.text import Text

    console.print("\n[bold]What happened[/]  [dim]newest first[/]")
    rows = table("", "at", "", "what", wrap=("what",))
    rows.show_header = False
    for entry in found["timeline"]:
        state = entry.get("state")
        mark = fate(state) if entry["kind"] in ("decision", "outcome", "planned") else Text(entry["kind"], style="dim")
        if entry["kind"] == "feedback":
            mark = heard(str(state))
        rows.add_row(f"  {when(entry['at'])}", mark, _what(entry))
    console.print(rows)
    console.print(f"\n[dim]why: orchestrator why {found['key']}[/]", soft_wrap=True)


def _values(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Properties for people: an amount of money with its currency, as one."""
    from orchestrator.model import minor_digits
    from orchestrator.terms import money_text

    for name, value in properties.items():
        currency = properties.get(f"{name}_currency")
        if currency and isinstance(value, int):
            yield name, f"{money_text(value, minor_digits(str(currency)))} {currency}"
        elif not (name.endswith("_currency") and name.removesuffix("_currency") in properties):
            yield name, plain(value)


def _what(entry: Mapping[str, Any]) -> Any:
    from rich.text import Text

    text = Text(entry["what"])
    detail = entry.get("detail") or {}
    if entry["kind"] == "event":
        text.append("".join(f"  {name}={value}" for name, value in _values(detail)), style="dim")
    elif detail:
        text.append(f": {detail['reason']}" + (f" (rule {detail['rule']})" if detail.get("rule") else ""))
    if entry.get("step"):
        text.append(f"  {entry['journey'] or ''} {entry['step']}", style="dim")
    return text
