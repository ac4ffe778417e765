"""Who rises and who falls: membership, tiers by score, reviews, protection."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from orchestrator.store.loyalty import Round


def rise(round_: Round) -> int:
    """Of the touched units, those whose score is enough for a higher tier; and who joins. Returns how many changed."""
    return 0


def is_due(conn: sa.Connection, now: datetime) -> bool:
    """Whether anybody's review has come, or a membership's end."""
    return False


def review(round_: Round) -> int:
    """Reviews that have come. Returns how many tiers changed."""
    return 0
