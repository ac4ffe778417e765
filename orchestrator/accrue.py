"""What people did becomes points, challenges, referrals and tiers. Derived from events and time: a replay adds nothing.

A look takes the events since the last one, in order of arrival and in bounds, and the units whose data was written
since; everything that follows from them is written in the same transaction as the watermark. What follows is keyed by
what made it, so that a second look writes nothing. The programme's own events (a challenge done, a referral converted)
are taken by the next look, until there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator import earn, grade, play, refer
from orchestrator.apply import in_force
from orchestrator.store import loyalty, people, versions
from orchestrator.store.database import Store

BATCH = 5_000
"""Events a look takes at once."""
LOOKS = 1_000
_SEEN, _WRITTEN = "accrued_event", "accrued_until"


@dataclass(frozen=True, slots=True)
class AccrueReport:
    """`looks` that found something; what they wrote, by number: point entries, challenges and referrals, tiers."""

    looks: int = 0
    points: int = 0
    played: int = 0
    referred: int = 0
    graded: int = 0


def accrue(store: Store, *, now: datetime, stop: Callable[[], bool] = lambda: False) -> AccrueReport:
    """Take what is new and what is due, until there is nothing or `stop()` says so. Nothing where no programme is in
    force."""
    looks = points = played = referred = graded = 0
    while not stop() and looks < LOOKS:
        done = store.written(lambda conn: _look(conn, now))
        if done is None:
            break
        looks += 1
        points, played = points + done.points, played + done.played
        referred, graded = referred + done.referred, graded + done.graded
    return AccrueReport(looks, points, played, referred, graded)


def _look(conn: sa.Connection, now: datetime) -> AccrueReport | None:
    """One look; None when there is nothing to look at."""
    force = in_force(conn)
    if force is None or not (force.project.program.classes or force.project.class_rules):
        return None
    people.take_turns(conn, "accrue")
    seen, since = versions.setting_number(conn, _SEEN), versions.setting_instant(conn, _WRITTEN)
    newest = min(versions.newest_event(conn), seen + BATCH)
    upto = versions.happened_by(conn, seen, newest, now) if newest > seen else seen
    round_ = loyalty.touched(conn, force.project, force.segments, seen, upto, since, now)
    due = earn.is_due(conn, now) or grade.is_due(conn, force.project, now) or play.is_due(conn, force.project, now)
    if upto == seen and not round_.units() and not due:
        return None
    round_ = grade.classify(round_)
    report = AccrueReport(
        1,
        points=earn.earn(round_) + earn.settle(round_),
        referred=refer.convert(round_),
        played=play.complete(round_) + play.close(round_),
        graded=grade.place(round_),
    )
    versions.set_number(conn, _SEEN, upto)
    versions.set_instant(conn, _WRITTEN, now)
    return report
