"""Challenges, badges, draws and leaderboards."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from orchestrator.project import Project
from orchestrator.store.loyalty import Round


def complete(round_: Round) -> int:
    """Challenges that the touched units have done. Returns how many."""
    return 0


def is_due(conn: sa.Connection, project: Project, now: datetime) -> bool:
    """Whether a draw is to be opened or drawn."""
    return False


def close(round_: Round) -> int:
    """Draws whose entries are over: drawn. Returns how many."""
    return 0
