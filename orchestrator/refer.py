"""Who brought whom: codes, referrals that convert, rewards to both, commissions of partners."""

from __future__ import annotations

from orchestrator.store.loyalty import Round


def convert(round_: Round) -> int:
    """Referrals that the round's events convert, and commissions they earn. Returns how many."""
    return 0
