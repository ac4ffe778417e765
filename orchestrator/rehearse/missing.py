"""Why nobody entered a journey that was played: as far as the scratch database knows it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from orchestrator.journey import ApiTrigger, EventTrigger, Journey, MilestoneTrigger, SegmentTrigger
from orchestrator.project import Project
from orchestrator.store.database import Store
from orchestrator.store.explain import audience_size
from orchestrator.store.segments import Segments
from orchestrator.store.tables import enrollment, event, segment_member


def missing(
    store: Store, project: Project, names: Sequence[str], begin: datetime, now: datetime, *, made_up: bool
) -> Iterator[str]:
    """A sentence for each of these journeys that nobody entered since `begin`, and what may be done about it. Of those
    that wait for a call nothing is said here."""
    told = False
    with store.read() as conn:
        segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
        came = sa.select(enrollment.c.journey).where(enrollment.c.entered_at >= begin).distinct()
        entered = set(conn.execute(came).scalars())
        for name in names:
            journey = project.journeys[name]
            if name in entered or all(isinstance(t, ApiTrigger) for t in journey.triggers):
                continue
            told = True
            yield f"nobody entered {name}: {'; '.join(_whys(conn, journey, segments, begin, now))}"
    if told and made_up:
        yield (
            "these people are made up: `--sample 500` takes about so many of your real ones, which is what tells how"
            " many will enter; `--days` plays for longer, `--customers` with more people"
        )


def _whys(conn: sa.Connection, journey: Journey, segments: Segments, begin: datetime, now: datetime) -> Iterator[str]:
    whom = "companies" if journey.unit == "account" else "customers"
    open_to = audience_size(conn, segments, journey, now)
    if not open_to:
        yield f"nobody of the {whom} belongs to its audience at the end"
        return
    for trigger in journey.triggers:
        match trigger:
            case SegmentTrigger():
                yield _of_segment(conn, journey, trigger, whom, begin)
            case EventTrigger(event=name) | MilestoneTrigger(event=name):
                query = sa.select(sa.func.count()).where(event.c.type == name, event.c.received_at > begin)
                n = conn.execute(query).scalar_one()
                times = "once" if n == 1 else f"{n:,} times"
                yield (
                    f"`{name}` happened {times}, never so that somebody may enter"
                    if n
                    else (f"`{name}` did not happen to anybody")
                )
            case _:
                yield f"its trigger came for none of the {open_to:,} {whom} of its audience"


def _of_segment(conn: sa.Connection, journey: Journey, trigger: SegmentTrigger, whom: str, begin: datetime) -> str:
    """By the members that the trigger knows: those of the beginning stand from before it."""
    m = segment_member.c
    query = sa.select(sa.func.count(), sa.func.sum(sa.case((m.since >= begin, 1), else_=0))).where(
        m.journey == journey.name
    )
    inside, came = conn.execute(query).tuples().one()
    name = trigger.segment
    if trigger.direction == "exit":
        return f"nobody of its audience left `{name}`, where {inside:,} {whom} are at the end"
    if came:
        return f"{came:,} {whom} came into `{name}`, none of them of its audience"
    if inside:
        return f"{inside:,} {whom} are in `{name}` and were from the first day: only those enter who come into it"
    return f"none of the {whom} came into `{name}`"
