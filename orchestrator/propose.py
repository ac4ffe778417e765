"""Propose a workspace to a second person, who puts it in force or turns it down; and go back to an earlier one."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from orchestrator.apply import ApplyReport, Approval, apply, same_person
from orchestrator.problems import Conflict
from orchestrator.project import Project, load_files, shipped_ruleset
from orchestrator.store import log, proposals, versions
from orchestrator.store.database import Store
from orchestrator.store.proposals import Proposal


class NotThere(LookupError):
    """There is no apply, or no proposal, of that number."""


def propose(store: Store, project: Project, *, author: str, message: str, base: int | None, now: datetime) -> int:
    """Keep a checked workspace for somebody else to approve; returns the proposal's number. `base`: the apply it was
    planned against; Conflict when another is in force meanwhile."""
    files = {path: versions.file_hash(text) for path, text in project.files.items()}
    with store.write() as conn:
        versions.hold_applies(conn)
        _still(conn, base)
        bodies = {key: (path, {"text": project.files[path]}) for path, key in files.items()}
        versions.add_documents(conn, "file", bodies, now)
        number = proposals.add(
            conn, author=author, message=message, base=base, project=project.hash, files=files, now=now
        )
        body = {"proposal": number, "base": base, "project": project.hash}
        log.operation(conn, now, "proposed", by=author, body=body)
    return number


def approve(store: Store, number: int, *, by: str, message: str, now: datetime) -> ApplyReport:
    """Put a proposal in force, exactly as it was proposed. Conflict when it is answered already, when who proposed it
    asks, and when another apply or newer law came between; ProjectError when somebody would be stranded by now."""
    with store.read() as conn:
        found, project = ready(conn, number, by)
    approval = Approval(number, by, message)
    return apply(
        store, project, author=found.author, message=found.message, now=now, base=found.base, approval=approval
    )


def reject(store: Store, number: int, *, by: str, message: str, now: datetime) -> Proposal:
    """Turn a proposal down; who proposed it may take it back so, too. Conflict when it is answered already."""
    with store.write() as conn:
        found = waiting(conn, number)
        if not proposals.end(conn, number, what="rejected", by=by, message=message, now=now):
            raise Conflict(f"proposal {number} has been answered meanwhile")
        log.operation(conn, now, "rejected", by=by, body={"proposal": number})
    return found


def ready(conn: sa.Connection, number: int, by: str) -> tuple[Proposal, Project]:
    """A proposal that somebody may approve now, and its workspace. Raises NotThere, Conflict."""
    found = waiting(conn, number)
    if same_person(found.author, by):
        raise Conflict(f"{found.author} has proposed it: somebody else has to approve it")
    _still(conn, found.base)
    files = versions.texts(conn, found.files)
    if any(files.get(path) != text for path, text in shipped_ruleset().items()):
        raise Conflict("the program brings a newer legal ruleset than this was proposed with; propose it again")
    return found, load_files(files)


def waiting(conn: sa.Connection, number: int) -> Proposal:
    """A proposal that has no answer yet. Raises NotThere, Conflict."""
    found = proposals.one(conn, number)
    if found is None:
        raise NotThere(f"there is no proposal {number}; `orchestrator proposals` lists them")
    if found.what:
        raise Conflict(f"proposal {number} was {found.what} already, by {found.ended_by}")
    return found


def _still(conn: sa.Connection, base: int | None) -> None:
    newest = versions.newest(conn)
    if base != (newest.id if newest is not None else None):
        raise Conflict("another apply came between; look at the plan as it is now, and propose it again")


def earlier(conn: sa.Connection, number: int | None) -> tuple[int, Project]:
    """(number, workspace) of an apply; None: of the one before the newest. Law is not rolled back: the workspace comes
    with the ruleset that this version of the program brings. Raises NotThere, and ProjectError when it cannot be read
    any more."""
    if number is None:
        last = versions.history(conn, 2)
        if len(last) < 2:
            raise NotThere("there is no earlier apply to go back to; `orchestrator versions` lists them")
        number = last[1].id
    found = versions.by_number(conn, number)
    if found is None:
        raise NotThere(f"there is no apply {number}; `orchestrator versions` lists them")
    return number, load_files({**versions.texts(conn, found.files), **shipped_ruleset()})
