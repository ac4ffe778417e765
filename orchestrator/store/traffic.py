"""Who went where in a journey, from its runs and their traces. Reads only."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from orchestrator.simulation import Traffic
from orchestrator.store.dialect import json_text
from orchestrator.store.overview import WENT_OUT
from orchestrator.store.tables import enrollment, message, trace


def traffic(conn: sa.Connection, journey: str, *, version: str | None = None, since: datetime | None = None) -> Traffic:
    """All runs of a journey; of one version; that entered since an instant. A fixed number of statements.

    A run that was made and has not been moved yet is `inside` at "". A `goto` that was followed is a way named `goto`.
    Steps and ways that nobody came to are missing; ids may be of steps that the version in force no longer has.
    """
    runs = _runs(journey, version, since)
    ends, inside, entered = _ends(conn, runs)
    sends, sent = _messages(conn, runs)
    return Traffic(
        entered=entered,
        steps={**sends, **_steps(conn, runs)},
        ways=_ways(conn, runs),
        inside=inside,
        ended=ends,
        sent=sent,
    )


def _runs(journey: str, version: str | None, since: datetime | None) -> sa.ColumnElement[bool]:
    asked = [enrollment.c.journey == journey]
    if version is not None:
        asked.append(enrollment.c.version == version)
    if since is not None:
        asked.append(enrollment.c.entered_at >= since)
    return sa.and_(*asked)


def _ends(conn: sa.Connection, runs: sa.ColumnElement[bool]) -> tuple[dict[str, int], dict[str, int], int]:
    """Runs by why they ended, those that have not by where they stand, and all of them."""
    live = sa.case((enrollment.c.ended_at.is_(None), enrollment.c.step), else_=None)
    query = sa.select(enrollment.c.ended_because, live.label("step"), sa.func.count().label("n")).where(runs)
    ended: dict[str, int] = {}
    inside: dict[str, int] = {}
    for row in conn.execute(query.group_by(enrollment.c.ended_because, live)):
        if row.step is not None:
            inside[row.step] = int(row.n)
        else:
            ended[row.ended_because] = int(row.n)
    return _ordered(ended), _ordered(inside), sum(ended.values()) + sum(inside.values())


def _steps(conn: sa.Connection, runs: sa.ColumnElement[bool]) -> dict[str, int]:
    query = sa.select(trace.c.step, sa.func.count(trace.c.enrollment_id.distinct()).label("n"))
    query = query.join(enrollment, enrollment.c.id == trace.c.enrollment_id).where(runs, trace.c.step != "")
    return _ordered({row.step: int(row.n) for row in conn.execute(query.group_by(trace.c.step))})


def _ways(conn: sa.Connection, runs: sa.ColumnElement[bool]) -> dict[tuple[str, str], int]:
    way = sa.case(
        (trace.c.what == "came", "then"),
        (trace.c.what == "timed out", "else"),
        (trace.c.what == "jumped", "goto"),
        else_=sa.func.coalesce(json_text(trace.c.detail, "arm"), "none"),
    )
    lines = sa.select(trace.c.step, way.label("way"), trace.c.enrollment_id)
    taken = lines.join(enrollment, enrollment.c.id == trace.c.enrollment_id).where(
        runs, trace.c.what.in_(("came", "timed out", "chose", "jumped"))
    )
    each = taken.subquery()
    query = sa.select(each.c.step, each.c.way, sa.func.count(each.c.enrollment_id.distinct()).label("n"))
    found = {(row.step, row.way): int(row.n) for row in conn.execute(query.group_by(each.c.step, each.c.way))}
    return dict(sorted(found.items()))


def _messages(conn: sa.Connection, runs: sa.ColumnElement[bool]) -> tuple[dict[str, int], dict[str, int]]:
    """By step, runs that planned one there (the sends within a `first_of` leave no trace), and what went out."""
    out = sa.func.sum(sa.case((message.c.state.in_(WENT_OUT), 1), else_=0))
    query = sa.select(
        message.c.step, sa.func.count(message.c.enrollment_id.distinct()).label("runs"), out.label("sent")
    )
    query = query.join(enrollment, enrollment.c.id == message.c.enrollment_id).where(runs)
    rows = conn.execute(query.group_by(message.c.step)).all()
    planned = {row.step: int(row.runs) for row in rows}
    return _ordered(planned), _ordered({row.step: int(row.sent) for row in rows if row.sent})


def _ordered(found: dict[str, int]) -> dict[str, int]:
    return dict(sorted(found.items()))
