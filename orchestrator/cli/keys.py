"""`keys`: the secrets that this installation made for itself."""

from __future__ import annotations

from cyclopts import App

from orchestrator.cli.terminal import FINE, near, terminal


def register(app: App) -> None:
    keys = App(name="keys", help="The secrets this installation made for itself.")
    keys.command(rotate)
    app.command(keys)


def rotate() -> int:
    """Make a new secret for the links in messages. Old links, made with the earlier ones, go on working.

    Everything else in the file stays as it is. Where workers on other machines have copies of the file, bring them the
    new one at once. What the sandbox signs its reports with changes, too.
    """
    from orchestrator import wiring
    from orchestrator.store.keys import rotate_token

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        _ = wired.keys  # there, and those that the database was begun with
        kept = rotate_token(wired.keys_path)
        path = wired.keys_path
    call.answer(
        lambda: {"file": str(path), "old": kept},
        lambda console: console.print(
            f"new links are signed with a new secret; those of {kept} earlier one{'s' if kept > 1 else ''} still work. "
            f"Back up {near(path)} again, apart from the database"
        ),
    )
    return FINE
