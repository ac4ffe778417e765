"""`api`: who may hand in data over the web, and what the API offers."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import App, Parameter

from orchestrator.cli.terminal import FINE, Usage, terminal


def register(app: App) -> None:
    api = App(name="api", help="Who may hand in data over the web (POST /v1/…), and what is offered there.")
    api.command(create)
    api.command(list_, name="list")
    api.command(revoke)
    api.command(document, name="openapi")
    app.command(api)


def create(name: str, *, may: Annotated[tuple[str, ...], Parameter(consume_multiple=True)]) -> int:
    """Make a key for another system. It is shown once: the database keeps what it can be known again by, no more.

    Parameters
    ----------
    name: What the key is for, such as `shop`.
    may: What it may hand in: events, customers, accounts, consents, devices, records, enroll.
    """
    from orchestrator import wiring
    from orchestrator.accepting import SCOPES
    from orchestrator.problems import suggest
    from orchestrator.store import access
    from orchestrator.web.api import key_hash, new_key

    call = terminal()
    asked = [scope for part in may for scope in part.split(",") if scope]
    for scope in asked:
        if scope not in SCOPES:
            raise Usage(f"`{scope}` is nothing a key may hand in; {suggest(scope, SCOPES)}")
    if not asked:
        raise Usage(f"--may says what the key may hand in: {', '.join(SCOPES)}")
    key = new_key()
    with wiring.connected(call.workspace) as wired:
        _ = wired.keys
        with wired.store.write() as conn:
            made = access.add_caller(conn, name, key_hash(key), asked, wired.clock())
    if not made:
        raise Usage(f"there is, or was, a key `{name}`: take another name, so that the list tells them apart")
    call.answer(
        lambda: {"name": name, "key": key, "may": sorted(asked)},
        lambda console: console.print(
            f"{key}\n\nThis is shown once. {name} sends it as `Authorization: Bearer …`, and may hand in "
            f"{', '.join(sorted(asked))}.",
            soft_wrap=True,
        ),
    )
    return FINE


def list_() -> int:
    """Which keys there are, and what each may hand in."""
    from orchestrator import wiring
    from orchestrator.store import access

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.read() as conn:
        found = access.callers(conn)

    def show(console: object) -> None:
        from rich.console import Console
        from rich.table import Table

        assert isinstance(console, Console)
        if not found:
            console.print("no keys yet: `orchestrator api create NAME --may events`")
            return
        table = Table("Name", "May hand in", "Made", "Revoked", box=None)
        for one in found:
            gone = one.revoked_at.strftime("%Y-%m-%d") if one.revoked_at else ""
            table.add_row(one.name, ", ".join(sorted(one.scopes)), one.created_at.strftime("%Y-%m-%d"), gone)
        console.print(table)

    call.answer(
        lambda: [
            {
                "name": one.name,
                "may": sorted(one.scopes),
                "created_at": one.created_at.isoformat(),
                "revoked_at": one.revoked_at and one.revoked_at.isoformat(),
            }
            for one in found
        ],
        show,
    )
    return FINE


def revoke(name: str) -> int:
    """End a key: from now on nothing is taken from it."""
    from orchestrator import wiring
    from orchestrator.store import access

    call = terminal()
    with wiring.connected(call.workspace) as wired, wired.store.write() as conn:
        ended = access.revoke_caller(conn, name, wired.clock())
    if not ended:
        raise Usage(f"no key `{name}` is in use; `orchestrator api list` shows them")
    call.answer(lambda: {"revoked": name}, lambda console: console.print(f"{name} is revoked"))
    return FINE


def document() -> int:
    """Print the OpenAPI document of the API, as GET /v1/openapi.json answers it."""
    from orchestrator import wiring
    from orchestrator.web.offer import openapi

    call = terminal()
    settings, _ = wiring.read_settings(call.workspace)
    print(json.dumps(openapi(settings.web.public_url), indent=2))
    return FINE
