"""What commands open: the database (the embedded one made on first use) and the words of the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.terminal import CannotRun

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from orchestrator.apply import Force
    from orchestrator.project import Project
    from orchestrator.wiring import Wired

WORKSPACE_FILE = "journeys/workspace.yaml"


@contextmanager
def opened(workspace: Path) -> Iterator[Wired]:
    """The database of a workspace. An embedded one that is not there yet is made, where there is a workspace to go
    with it: nobody wants one in a folder that was mistyped. Raises what `wiring` raises."""
    from orchestrator import wiring

    settings, _ = wiring.read_settings(workspace)
    path = settings.database.url.removeprefix("sqlite:///")
    embedded = path != settings.database.url and (workspace / WORKSPACE_FILE).is_file()
    fresh = embedded and not (workspace / path).expanduser().exists()
    with wiring.connected(workspace, create=fresh) as wired:
        yield wired


def words(wired: Wired, *, draft: bool) -> Project:
    """The workspace's words: with `draft` the folder's, else those in force; the other where there is none.

    Raises ProjectError when the folder's are wrong, CannotRun when there are none at all.
    """
    from orchestrator.apply import in_force
    from orchestrator.project import load

    written = (wired.folder / WORKSPACE_FILE).is_file()
    if draft and written:
        return load(wired.folder)
    with wired.store.read() as conn:
        force = in_force(conn)
    if force is not None:
        return force.project
    if written:
        return load(wired.folder)
    raise CannotRun(f"nothing is in force in {wired.store.where}, and {wired.folder} is no workspace")


def ruling(conn: sa.Connection, wired: Wired) -> Force:
    """What is in force. Raises CannotRun when nothing is."""
    from orchestrator.apply import in_force

    force = in_force(conn)
    if force is None:
        raise CannotRun(f"nothing is in force in {wired.store.where} yet; run `orchestrator apply` first")
    return force


def as_of(conn: sa.Connection, wired: Wired) -> datetime:
    """Now; or the instant of the newest tick, where ticks were rehearsed ahead of the clock."""
    from orchestrator.store import overview

    return max(wired.clock(), overview.newest_tick(conn) or wired.clock())
