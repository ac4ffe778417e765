"""`value`, `refresh`: the customer pyramid, what one of them is worth, and working it out anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from orchestrator.cli._look import counted, listed, table, when
from orchestrator.cli._opening import as_of, ruling
from orchestrator.cli.terminal import FINE, CannotRun, Usage, terminal

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import Console

    from orchestrator.rank import RankReport
    from orchestrator.store.value import Layer

FLAG = Parameter(negative=())
_PYRAMID = 20
"""Columns of the widest band of the picture."""
_BAR = 8


def register(app: App) -> None:
    app.command(value)
    app.command(refresh)


def value(key: str | None = None, /, *, account: Annotated[bool, FLAG] = False, moved: str = "30 days") -> int:
    """The customer pyramid, by class: how many stand in each band and what they are worth. With a key: one of them.

    As `orchestrator refresh` found it last; the deployment `refresh` does that every night.

    Parameters
    ----------
    key
        Of a customer, or of an account where no customer has it.
    account
        The key is an account's.
    moved
        Movements between bands of the last so long.
    """
    from orchestrator import wiring
    from orchestrator.store import value as kept
    from orchestrator.words import duration

    span = duration(moved)
    if span is None or span.business:
        raise Usage(f"--moved takes a time such as `30 days`, not `{moved}`")
    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        force = ruling(conn, wired)
        summary = kept.summary(conn)
        if summary is None:
            raise CannotRun("nobody has been ranked yet; run `orchestrator refresh`")
        if key is not None:
            found = _one(conn, key, account)
            call.answer(lambda: found, lambda console: _show_one(console, found))
            return FINE
        now, vocabulary = as_of(conn, wired), force.project.vocabulary
        layers = kept.layers(conn, {name: of.unit for name, of in vocabulary.classes.items()})
        since = now - timedelta(days=span.days + 30 * span.months, seconds=span.seconds)
        movements = kept.movements(conn, since, now + timedelta(microseconds=1))
    document = _document(layers, movements, summary, vocabulary.currency)
    call.answer(lambda: document, lambda console: _show(console, document, moved))
    return FINE


def refresh() -> int:
    """Work out everybody's value anew: health, what is expected of each, and the bands of the pyramid.

    Whoever moved from one band to another gets the event `band_changed`. Running it twice changes nothing.
    """
    from orchestrator import wiring
    from orchestrator.rank import refresh as refresh_now

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        with wired.store.read() as conn:
            ruling(conn, wired)
            now = as_of(conn, wired)
        report = refresh_now(wired.store, now=now)
    call.answer(lambda: _told(report), lambda console: _show_report(console, report))
    return FINE


# ---- refresh --------------------------------------------------------------------------------------------------------


def _told(report: RankReport) -> dict[str, Any]:
    return {
        "ranked": report.ranked,
        "moved": report.moved,
        "scored": report.scored,
        "bands": {name: dict(bands) for name, bands in report.bands.items()},
        "notes": list(report.notes),
        "finished": report.finished,
    }


def _show_report(console: Console, report: RankReport) -> None:
    console.print(
        f"[bold green]✓[/] {report.ranked:,} ranked, {report.moved:,} moved to another band, "
        f"{counted(report.scored, 'health score')}",
        soft_wrap=True,
    )
    for name, bands in report.bands.items():
        console.print(f"  {name}: {listed(f'{band} {n:,}' for band, n in bands.items() if n) or 'nobody'}")
    for note in report.notes:
        console.print(f"[yellow]![/] {note}", soft_wrap=True)


# ---- the pyramid ----------------------------------------------------------------------------------------------------


def _document(
    layers: Sequence[Layer], movements: Mapping[tuple[str, str], int], summary: Mapping[str, Any], currency: str
) -> dict[str, Any]:
    from orchestrator.model import BANDS

    classes: dict[str, Any] = {}
    for name in dict.fromkeys(layer.class_name for layer in layers):
        own = {layer.band: layer for layer in layers if layer.class_name == name}
        units, clv = sum(layer.units for layer in own.values()), sum(layer.clv for layer in own.values())
        bands = [
            {
                "band": band,
                "units": own[band].units,
                "share": own[band].units / units,
                "clv": own[band].clv,
                "clv_share": own[band].clv / clv if clv else None,
                "spent": own[band].spent,
            }
            for band in reversed(BANDS)
            if band in own
        ]
        classes[name] = {"units": units, "clv": clv, "bands": bands, "model": summary["models"].get(name)}
    order = {band: n for n, band in enumerate(BANDS)}
    moves = sorted(movements.items(), key=lambda move: (-order.get(move[0][1], 0), -order.get(move[0][0], 0)))
    return {
        "at": summary["at"],
        "currency": currency,
        "classes": classes,
        "moved": [{"from": old, "to": new, "units": n} for (old, new), n in moves],
        "notes": list(summary["notes"]),
    }


def _show(console: Console, found: Mapping[str, Any], moved: str) -> None:
    from orchestrator.model import BANDS

    if not found["classes"]:
        console.print("Nobody is ranked.", style="dim")
    for name, of in found["classes"].items():
        most, money = max(band["units"] for band in of["bands"]), f"value ({found['currency']})"
        title, numbers = f"{name}: {of['units']:,}", ("units", "share", money, "of all value")
        shown = table(title, "band", "", *numbers, " ", right=numbers)
        for band in of["bands"]:
            share = band["clv_share"]
            shown.add_row(
                f"[bold]{band['band']}[/]",
                _layer(band["units"], most),
                f"{band['units']:,}",
                f"{band['share']:.1%}",
                _money(band["clv"], found["currency"]),
                "–" if share is None else f"{share:.1%}",
                "" if share is None else "█" * round(share * _BAR),
            )
        console.print(shown)
        console.print()
    for move in found["moved"]:
        up = BANDS.index(move["to"]) > BANDS.index(move["from"])
        console.print(f"{'[green]▲[/]' if up else '[red]▼[/]'} {move['units']:,} from {move['from']} to {move['to']}")
    if found["moved"]:
        console.print(f"[dim]in the last {moved}[/]")
    for note in found["notes"]:
        console.print(f"[yellow]![/] {note}", soft_wrap=True)
    console.print(
        f"[dim]ranked {found['at'][:16].replace('T', ' ')} UTC; value: what is expected of the time to come[/]"
    )


def _layer(units: int, most: int) -> str:
    """One layer of the picture, centred; a band with somebody in it is never invisible."""
    width = max(1, round(units / most * _PYRAMID))
    return ("█" * width).center(_PYRAMID)


def _money(minor: int | None, currency: str | None) -> str:
    from orchestrator.model import minor_digits

    if minor is None or currency is None:
        return "–"
    digits = minor_digits(currency)
    return f"{minor / 10**digits:,.{digits}f}"


# ---- one of them ----------------------------------------------------------------------------------------------------


def _one(conn: sa.Connection, key: str, account: bool) -> dict[str, Any]:
    from orchestrator.store import loyalty, people
    from orchestrator.store import value as kept

    known = {} if account else people.find_customers(conn, [key])
    companies = {} if known else people.find_accounts(conn, [key])
    if not known and not companies:
        raise CannotRun(f"there is no {'account' if account else 'customer and no account'} `{key}`")
    unit = "customer" if known else "account"
    unit_id = known[key].id if known else companies[key]
    row = loyalty.standing(conn, unit, [unit_id]).get(unit_id)  # type: ignore[arg-type]
    if row is None or row["band"] is None:
        whose = ": its class is ranked by account" if known else ""
        raise CannotRun(f"{unit} `{key}` is not ranked{whose}; `orchestrator refresh` ranks who is new")
    names = ("band", "clv", "clv_currency", "spent", "spent_currency", "p_alive", "expected_orders", "renewal",
             "health", "valued_at")  # fmt: skip
    steps = kept.history(conn, unit, unit_id)  # type: ignore[arg-type]
    history = [{"at": at, "from": old, "to": new} for old, new, at in steps]
    return {"key": key, "unit": unit, **{name: row[name] for name in names}, "history": history}


def _show_one(console: Console, found: Mapping[str, Any]) -> None:
    lines = (
        ("band", found["band"]),
        ("expected value", f"{_money(found['clv'], found['clv_currency'])} {found['clv_currency'] or ''}"),
        ("spent until now", f"{_money(found['spent'], found['spent_currency'])} {found['spent_currency'] or ''}"),
        ("still a customer", _share(found["p_alive"])),
        ("expected orders", None if found["expected_orders"] is None else f"{found['expected_orders']:.2f}"),
        ("contracts go on", _share(found["renewal"])),
        ("health", None if found["health"] is None else f"{found['health']:g}"),
    )
    shown = table(f"{found['unit']} {found['key']}", "what", "")
    for name, told in lines:
        if told is not None:
            shown.add_row(name, str(told))
    console.print(shown)
    for step in found["history"]:
        before = f"from {step['from']} to " if step["from"] else "ranked "
        console.print(f"[dim]{when(step['at'])}[/]  {before}{step['to']}")


def _share(found: float | None) -> str | None:
    return None if found is None else f"{found:.1%}"
