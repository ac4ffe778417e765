"""Hand a request over to its channel, on a lease that is kept while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from channels.base import Channel, Outbound, Receipt
from orchestrator.problems import Conflict
from orchestrator.store import outbox
from orchestrator.store.database import Store, StoreUnavailable
from orchestrator.store.outbox import Lease

LEASE = timedelta(seconds=60)
LONGEST = LEASE / 2
"""What a lease must have left before a request: above channels' own time-outs (`channels._http`: 20 s)."""


@dataclass(slots=True)
class Keep:
    """Keeps a lease long enough for another request: called before each, and as receipts come in."""

    store: Store
    clock: Callable[[], datetime]
    lease: Lease
    renew_at: datetime
    span: timedelta = LEASE
    ours: bool = True

    def __call__(self) -> bool:
        """Whether the lease is still ours."""
        at = self.clock()
        if self.ours and at >= self.renew_at:
            until = at + self.span
            self.ours = self.store.written(lambda conn: outbox.renew(conn, self.lease, until))
            self.renew_at = until - LONGEST
        return self.ours


def hand(
    channel: Channel, outbounds: Sequence[Outbound], keep: Callable[[], bool]
) -> tuple[dict[str, Receipt], Exception | None]:
    """The receipts that came, by attempt, and what broke off the rest."""
    receipts: dict[str, Receipt] = {}
    try:
        for receipt in channel.send(outbounds):
            receipts.setdefault(receipt.attempt, receipt)
            with suppress(StoreUnavailable, Conflict):  # what is being handed over is not broken off for it
                keep()
    except Exception as error:  # whatever it was, the messages without a receipt may have gone out
        return receipts, error
    return receipts, None
