"""Who went where in a journey, from its runs and their traces. Reads only."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from orchestrator.simulation import Traffic


def traffic(conn: sa.Connection, journey: str, *, version: str | None = None, since: datetime | None = None) -> Traffic:
    """All runs of a journey; of one version; that entered since an instant. A fixed number of statements."""
    raise NotImplementedError
