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

from orchestrator import earn, grade, listen, play, refer
from orchestrator.apply import in_force
from orchestrator.store import loyalty, people, versions
from orchestrator.store.database import Store

BATCH = 5_000
"""Events a look takes at once."""
LOOKS = 1_000
_SEEN, _WRITTEN = "accrued_event", "accrued_until"


@dataclass(frozen=True, slots=True)
class AccrueReport:
    """`looks` that found something; what they wrote, by number: point entries, challenges and referrals, tiers, and
    cases and tasks of complaints."""

    looks: int = 0
    points: int = 0
    played: int = 0
    referred: int = 0
    graded: int = 0
    heard: int = 0


def accrue(store: Store, *, now: datetime, stop: Callable[[], bool] = lambda: False) -> AccrueReport:
    """Take what is new and what is due, until there is nothing or `stop()` says so. Of complaints also where no
    programme is in force."""
    looks = points = played = referred = graded = heard = 0
    while not stop() and looks < LOOKS:
        done = store.written(lambda conn: _look(conn, now))
        if done is None:
            break
        looks += 1
        points, played = points + done.points, played + done.played
        referred, graded = referred + done.referred, graded + done.graded
        heard += done.heard
    return AccrueReport(looks, points, played, referred, graded, heard)


def _look(conn: sa.Connection, now: datetime) -> AccrueReport | None:
    """One look; None when there is nothing to look at."""
    force = in_force(conn)
    if force is None:
        return None
    # Complaints are seen with a programme and without one, by a watermark of their own.
    heard = AccrueReport(1, heard=n) if (n := listen.complaints(conn, force, now)) else None
    if not (force.project.program.classes or force.project.class_rules):
        return heard
    people.take_turns(conn, "accrue")
    seen, since = versions.setting_number(conn, _SEEN), versions.setting_instant(conn, _WRITTEN)
    newest = min(versions.newest_event(conn), seen + BATCH)
    upto = versions.happened_by(conn, seen, newest, now) if newest > seen else seen
    round_ = loyalty.touched(conn, force.project, force.segments, seen, upto, since, now)
    due = earn.is_due(conn, now) or grade.is_due(conn, force.project, now) or play.is_due(conn, force.project, now)
    if upto == seen and not round_.units() and not due:
        return heard
    round_ = grade.classify(round_)
    report = AccrueReport(
        1,
        points=earn.earn(round_) + earn.settle(round_),
        referred=refer.convert(round_),
        played=play.complete(round_) + play.close(round_),
        graded=grade.place(round_),
        heard=heard.heard if heard is not None else 0,
    )
    versions.set_number(conn, _SEEN, upto)
    versions.set_instant(conn, _WRITTEN, now)
    return report
