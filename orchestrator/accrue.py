"""What people did becomes points, challenges, referrals and tiers. Derived from events and time: a replay adds nothing.

A look takes the events since the last one, in order of arrival and in bounds, and the units whose data was written
since; everything that follows from them is written in the same transaction as the watermark. What follows is keyed by
what made it, so that a second look writes nothing. The programme's own events (a challenge done, a referral converted)
are taken by the next look, until there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from orchestrator import belong, earn, grade, listen, play, refer, reward
from orchestrator.apply import Force, in_force
from orchestrator.enroll import take_history
from orchestrator.store import bygone, loyalty, people, versions
from orchestrator.store import points as points_of
from orchestrator.store.database import Store

BATCH = 5_000
"""Events a look takes at once."""
LOOKS = 1_000
_SEEN, _WRITTEN = "accrued_event", points_of.WRITTEN


@dataclass(frozen=True, slots=True)
class AccrueReport:
    """`looks` that found something; what they wrote, by number: point entries, challenges and referrals, tiers, and
    cases and tasks of complaints. `shortages`: what the operator should know of the voucher pools that were asked.
    `done`: the same in what an operator counts, such as points, and not entries (`tick.DONE`)."""

    looks: int = 0
    points: int = 0
    played: int = 0
    referred: int = 0
    graded: int = 0
    heard: int = 0
    shortages: tuple[str, ...] = ()
    done: Mapping[str, int] = field(default_factory=dict)


def accrue(store: Store, *, now: datetime, stop: Callable[[], bool] = lambda: False) -> AccrueReport:
    """Take what is new and what is due, until there is nothing or `stop()` says so. Of complaints also where no
    programme is in force. What was there when the programme came in force is no news to journeys."""
    looks = points = played = referred = graded = heard = 0
    short: dict[str, None] = {}
    all_done: Counter[str] = Counter()
    while not stop() and looks < LOOKS:
        done, more, history = store.written(lambda conn: _look(conn, now))
        if history is not None and not more:
            # Apart from the look: it locks triggers, which whoever lets people in locks before anything else.
            store.written(partial(take_history, since=history, now=now))
        if done is None:
            break
        looks += done.looks
        short.update(dict.fromkeys(done.shortages))
        points, played = points + done.points, played + done.played
        referred, graded = referred + done.referred, graded + done.graded
        heard += done.heard
        all_done.update(done.done)
        if not more:
            break
    return AccrueReport(looks, points, played, referred, graded, heard, tuple(short), +all_done)


def _look(conn: sa.Connection, now: datetime) -> tuple[AccrueReport | None, bool, datetime | None]:
    """One look, None when there is nothing to look at; whether there is something for another one; and, while the
    programme goes through what was there before it, the apply that brought it."""
    force = in_force(conn)
    if force is None:
        return None, False, None
    # Complaints are seen with a programme and without one, by a watermark of their own.
    heard = listen.complaints(conn, force, now)
    if not (force.project.program.classes or force.project.class_rules):
        return (AccrueReport(1, heard=heard, done={"complaints": heard}) if heard else None), False, None
    people.take_turns(conn, "accrue")
    names = [name for verb in (grade, belong, refer, play) for name in verb.kept_names(force.project)]
    kept = versions.settings(conn, _SEEN, _WRITTEN, *bygone.KEPT, *names)
    return *_taken(conn, force, kept, heard, now), bygone.pending_of(kept)


def _taken(
    conn: sa.Connection, force: Force, kept: versions.Settings, heard: int, now: datetime
) -> tuple[AccrueReport | None, bool]:
    """One look of the programme, and whether there is something for another. `heard`: complaints seen before it."""
    caught, asked = belong.catch_up(conn, force.project, kept, now)
    seen, since = kept.number(_SEEN), kept.instant(_WRITTEN)
    waiting = loyalty.waiting(conn, now)
    newest = min(waiting.newest, seen + BATCH)
    upto = versions.happened_by(conn, seen, newest, now) if newest > seen else seen
    round_ = loyalty.touched(conn, force.project, force.segments, seen, upto, since, now, kept)
    if upto == seen and not round_.units():
        due = waiting.points or waiting.tiers or grade.is_edited(round_)
        if not due and not play.is_due(conn, force.project, kept, now):
            if not (heard or asked):
                return None, False
            short = reward.shortages(conn, force.project.vocabulary, asked)
            done = {"complaints": heard, "benefits_caught_up": caught}
            return AccrueReport(1 if heard or caught else 0, heard=heard, shortages=short, done=done), bool(caught)
    round_.pools.update(asked)
    round_.done.update(complaints=heard, benefits_caught_up=caught)
    round_ = grade.classify(round_)
    points = earn.earn(round_) + earn.settle(round_, due=waiting.points)
    referred = refer.convert(round_)
    challenges, draws = play.complete(round_), play.close(round_)
    graded = grade.place(round_, due=waiting.tiers)
    round_.done.update(challenges_done=challenges, draws_held=draws)
    short = reward.shortages(conn, force.project.vocabulary, round_.pools) if round_.pools else ()
    report = AccrueReport(1, points, challenges + draws, referred, graded, heard, short, round_.done)
    versions.set_settings(conn, {_SEEN: upto} | ({_WRITTEN: now} if since != now else {}))
    # What the clock, an edit and what was written since the last look ask for is done, but for what did not fit in.
    left = loyalty.waiting(conn, now)
    return report, bool(caught) or left.newest > upto or left.points or left.tiers
