"""Destroy what is older than `policies.retention` says: sealed records with their keys; the ledgers keep their lines.

Any number may run at once, and where one was stopped the next goes on: what is too old is found anew each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa

from orchestrator.apply import in_force
from orchestrator.model import Policies
from orchestrator.rules import stamp
from orchestrator.store import log, retention
from orchestrator.store.database import Store

BATCH = 5_000


@dataclass(frozen=True, slots=True)
class RetainReport:
    """`counts`: destroyed (with a dry run: to be destroyed) by kind. `finished`: nothing too old is left."""

    counts: Mapping[str, int] = field(default_factory=dict)
    finished: bool = True

    @property
    def summary(self) -> str:
        """One line: `events 120, feedback 7`."""
        told = ", ".join(f"{kind} {n:,}" for kind, n in self.counts.items() if n) or "nothing was too old"
        return told if self.finished else f"{told}; time is up, the next run goes on"


def retain(
    store: Store,
    *,
    now: datetime,
    by: str = "retention",
    budget_seconds: float = 300,
    dry_run: bool = False,
    batch: int = BATCH,
    stop: Callable[[], bool] = lambda: False,
) -> RetainReport:
    """Destroy records older than the policies in force say, kind after kind, in batches of one transaction each.

    No new batch begins after `budget_seconds`, or when `stop()` says so. `dry_run` only counts. Every batch is said in
    the log by a line of its own, in its own transaction.
    """
    with store.read() as conn:
        force = in_force(conn)
        policies = force.project.vocabulary.policies if force is not None else Policies()
        if dry_run:
            kept = policies.retention.items()
            return RetainReport(
                {kind: sum(part.count(conn, now - span) for part in retention.KINDS[kind]) for kind, span in kept}
            )
    until = time.monotonic() + budget_seconds
    counts = dict.fromkeys(policies.retention, 0)
    for kind, span in policies.retention.items():
        for part in retention.KINDS[kind]:
            after, gone = 0, batch
            while gone == batch:
                if time.monotonic() >= until or stop():
                    return RetainReport(counts, finished=False)
                gone, after = store.written(partial(_batch, part, kind, now, span, after, batch, by))
                counts[kind] += gone
    return RetainReport(counts)


def _batch(
    part: retention.Kind,
    kind: str,
    now: datetime,
    span: timedelta,
    after: int,
    batch: int,
    by: str,
    conn: sa.Connection,
) -> tuple[int, int]:
    """One batch and the log's line about it, in one transaction: (how many, where to go on)."""
    gone, last = part.batch(conn, now - span, after, batch)
    if gone:
        # `before` tells an auditor which lines may lack their details since.
        body = {"kind": kind, "destroyed": gone, "before": stamp(now - span)}
        log.operation(conn, now, "retained", by=by, reason=kind, body=body)
    return gone, last
