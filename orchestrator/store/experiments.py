"""Experiments: who was dealt which arm of a split, what came of it, and what was decided. A fixed number of statements
for each experiment, whatever the number of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from orchestrator.model import Unit
from orchestrator.steps import Decided
from orchestrator.store import log
from orchestrator.store.database import bound_keys, insert_many
from orchestrator.store.dialect import json_text
from orchestrator.store.people import take_turns
from orchestrator.store.tables import UtcDateTime, enrollment, event, experiment_decision, trace

DECIDED = "decided"
"""What an operation of the log is called by which an experiment ended."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What is counted: arms of `cards` at a step of a journey, and `by` within `after` of being dealt one."""

    journey: str
    unit: Unit
    step: str
    cards: str
    by: str
    after: timedelta


@dataclass(frozen=True, slots=True)
class Count:
    """Of one arm: units whose time is over, successes of these, units whose time is not over."""

    runs: int = 0
    successes: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """By arm; `first`: when the first was dealt, None when none was."""

    arms: Mapping[str, Count]
    first: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """One experiment's end. `arms`: name, share, runs, successes each; `comparisons`: first, second, difference, low,
    high, e_value, p_value each."""

    id: int
    at: datetime
    journey: str
    step: str
    cards: str
    by: str
    after: timedelta
    confidence: float
    winner: str
    arms: Sequence[Mapping[str, Any]]
    comparisons: Sequence[Mapping[str, Any]]

    @property
    def question(self) -> str:
        """As `Split.question` has it."""
        return f"{self.step} {self.cards} {self.by}"


def counted(conn: sa.Connection, aim: Aim, now: datetime) -> Counts:
    """Each unit once, by the first arm that it was dealt, whatever became of its run. One statement.

    Who was sent the winner's way was dealt nothing and is not counted. Events that were not known by `now` are not,
    either.
    """
    dealt = _dealt(aim).subquery()
    started = sa.select(dealt.c.unit_id, trace.c.at, json_text(trace.c.detail, "arm").label("arm"))
    each = started.select_from(dealt.join(trace, trace.c.id == dealt.c.line)).subquery()
    over = each.c.at <= now - aim.after
    happened = (
        sa.exists()
        .where(
            event.c[f"{aim.unit}_id"] == each.c.unit_id,
            event.c.type == aim.by,
            event.c.occurred_at >= each.c.at,
            _until(conn, event.c.occurred_at, each.c.at, aim.after),
            event.c.received_at <= now,
        )
        .correlate(each)
    )
    query = sa.select(
        each.c.arm,
        sa.func.coalesce(sa.func.sum(sa.case((over, 1), else_=0)), 0).label("runs"),
        sa.func.coalesce(sa.func.sum(sa.case((sa.and_(over, happened), 1), else_=0)), 0).label("successes"),
        sa.func.count().label("dealt"),
        sa.func.min(each.c.at).label("first"),
    ).group_by(each.c.arm)
    arms: dict[str, Count] = {}
    first: datetime | None = None
    for row in conn.execute(query):
        if row.arm is None:
            continue
        arms[row.arm] = Count(int(row.runs), int(row.successes), int(row.dealt) - int(row.runs))
        first = row.first if first is None or row.first < first else first
    return Counts(arms, first)


def _dealt(aim: Aim) -> sa.Select[tuple[int, int]]:
    """By unit, the diary's line of its first deal."""
    lines = sa.select(enrollment.c.unit_id, sa.func.min(trace.c.id).label("line"))
    return (
        lines.join(trace, trace.c.enrollment_id == enrollment.c.id)
        .where(
            enrollment.c.journey == aim.journey,
            enrollment.c.unit == aim.unit,
            trace.c.step == aim.step,
            trace.c.what == "chose",
            json_text(trace.c.detail, "cards") == aim.cards,
        )
        .group_by(enrollment.c.unit_id)
    )


def _until(conn: sa.Connection, at: Any, start: Any, span: timedelta) -> Any:
    """`at` is not later than so long after `start`."""
    if conn.dialect.name == "postgresql":
        return at <= start.op("+", return_type=UtcDateTime())(sa.literal(span, sa.Interval()))
    micros = round(span.total_seconds() * 1_000_000)
    return sa.type_coerce(at, sa.BigInteger) <= sa.type_coerce(start, sa.BigInteger) + micros


# ---- decisions ------------------------------------------------------------------------------------------------------


def decided(conn: sa.Connection, journeys: Iterable[str]) -> dict[str, dict[str, Decided]]:
    """What is decided of these journeys: name → `Split.question` → the winner. One statement, none for no journey."""
    names = list(journeys)
    found: dict[str, dict[str, Decided]] = {}
    rows = conn.execute(_decided(conn.dialect.name), {"keys": names}) if names else ()
    for row in rows:
        found.setdefault(row.journey, {})[f"{row.step} {row.cards} {row.by}"] = Decided(row.id, row.winner)
    return found


@cache
def _decided(dialect: str) -> sa.Select[Any]:
    d, names = experiment_decision.c, bound_keys(dialect)
    query = sa.select(d.id, d.journey, d.step, d.cards, d.by, d.winner).join(names, names.c.key == d.journey)
    return query.order_by(d.id)


def decisions(conn: sa.Connection) -> list[Decision]:
    """All that was ever decided, in order."""
    d = experiment_decision.c
    return [
        Decision(
            row.id,
            row.at,
            row.journey,
            row.step,
            row.cards,
            row.by,
            timedelta(seconds=row.seconds),
            row.confidence,
            row.winner,
            row.arms,
            row.comparisons,
        )
        for row in conn.execute(sa.select(experiment_decision).order_by(d.id))
    ]


def decide(
    conn: sa.Connection,
    aim: Aim,
    *,
    winner: str,
    confidence: float,
    arms: Sequence[Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
    now: datetime,
) -> int | None:
    """Write down that an arm won, and a line of the log; returns its number, None when somebody else was first."""
    take_turns(conn, "experiment_decision")
    key = {"journey": aim.journey, "step": aim.step, "cards": aim.cards, "by": aim.by}
    d = experiment_decision.c
    mine = sa.select(d.id).where(*(d[name] == value for name, value in key.items()))
    if conn.execute(mine).one_or_none() is not None:
        return None
    row = {
        **key,
        "at": now,
        "seconds": round(aim.after.total_seconds()),
        "confidence": confidence,
        "winner": winner,
        "arms": list(arms),
        "comparisons": list(comparisons),
    }
    insert_many(conn, experiment_decision, [row])
    number = int(conn.execute(mine).scalar_one())
    about = {"journey": aim.journey, "step": aim.step, "experiment": number, "winner": winner, "event": aim.by}
    counts = ", ".join(f"{arm['name']} {arm['successes']} of {arm['runs']}" for arm in arms)
    log.operation(conn, now, DECIDED, by="orchestrator", body={**about, "confidence": confidence, "counts": counts})
    return number
