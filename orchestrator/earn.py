"""Points: earned by events, awarded and deducted by journeys, spent, expired, taken back on a refund."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.project import Project
from orchestrator.store.loyalty import Round


class Award(NamedTuple):
    """Points to give (positive) or to take (negative) by hand, a journey, a challenge, a referral. `key`: what for;
    the same key twice is once. `kind`: award or deduct; spend for a reward."""

    key: str
    unit: Unit
    unit_id: int
    points: int
    kind: str = "award"
    rule: str = ""
    customer_id: int | None = None
    event_id: int | None = None
    counts: bool = False
    at: datetime | None = None


def award(conn: sa.Connection, project: Project, awards: Sequence[Award], now: datetime) -> tuple[str, ...]:
    """Write them, and what follows for balances; returns the keys that were new and were written. Nobody's balance goes
    below nought by a deduction: what is not there is not taken, and a `spend` that is not covered is left out."""
    raise NotImplementedError


def earn(round_: Round) -> int:
    """Points for the round's events, by the rules; refunds take back. Returns how many entries were written."""
    return 0


def is_due(conn: sa.Connection, now: datetime) -> bool:
    """Whether pending points became active, or points expired, for anybody."""
    return False


def settle(round_: Round) -> int:
    """Pending points that are active now, and those that have expired. Returns how many entries were written."""
    return 0
