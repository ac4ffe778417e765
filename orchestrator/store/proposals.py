"""Proposals: workspaces that wait for a second person, and what was said to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.store.database import insert_many
from orchestrator.store.people import take_turns
from orchestrator.store.tables import applied, proposal, proposal_end


@dataclass(frozen=True, slots=True)
class Proposal:
    """`base`: the apply it was planned against, None before the first. `files` path → document hash.

    `what`: "" while it waits, else approved or rejected; by whom, when and with what words. `applied_as`: the apply.
    """

    id: int
    at: datetime
    author: str
    message: str
    base: int | None
    project: str
    files: Mapping[str, str]
    what: str = ""
    ended_at: datetime | None = None
    ended_by: str = ""
    ended_with: str = ""
    applied_as: int | None = None


def add(
    conn: sa.Connection,
    *,
    author: str,
    message: str,
    base: int | None,
    project: str,
    files: Mapping[str, str],
    now: datetime,
) -> int:
    """Its files are stored as documents by now."""
    take_turns(conn, "applied")
    values = {"at": now, "author": author, "message": message, "base": base, "project": project, "files": dict(files)}
    result = conn.execute(proposal.insert().values(**values))
    return int((result.inserted_primary_key or (0,))[0])


def end(conn: sa.Connection, number: int, *, what: str, by: str, message: str, now: datetime) -> bool:
    """False when something was said to it already."""
    row = {"proposal": number, "at": now, "by": by, "what": what, "message": message}
    return insert_many(conn, proposal_end, [row], ignore_conflicts=True) == 1


def one(conn: sa.Connection, number: int) -> Proposal | None:
    """A proposal by its number; None when there is none."""
    return next(iter(_found(conn, proposal.c.id == number, 1)), None)


def newest(conn: sa.Connection, *, waiting: bool, limit: int = 50) -> list[Proposal]:
    """Proposals, newest first; those that wait only, or all."""
    return _found(conn, proposal_end.c.proposal.is_(None) if waiting else sa.true(), limit)


def _found(conn: sa.Connection, where: sa.ColumnElement[bool], limit: int) -> list[Proposal]:
    query = (
        sa.select(
            proposal,
            sa.func.coalesce(proposal_end.c.what, ""),
            proposal_end.c.at,
            sa.func.coalesce(proposal_end.c.by, ""),
            sa.func.coalesce(proposal_end.c.message, ""),
            applied.c.id,
        )
        .outerjoin(proposal_end, proposal_end.c.proposal == proposal.c.id)
        .outerjoin(applied, applied.c.proposal == proposal.c.id)
        .where(where)
        .order_by(proposal.c.id.desc())
        .limit(limit)
    )
    return [Proposal(*row) for row in conn.execute(query)]
