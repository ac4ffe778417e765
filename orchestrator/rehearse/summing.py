"""What a played scratch database comes to, as numbers: volumes, refusals, replies, traffic, the messages' digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from typing import Final, NamedTuple

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.project import Project
from orchestrator.rehearse.cohort import Cohort
from orchestrator.simulation import Refusal, Reply, Simulation, Volume
from orchestrator.store.database import Store
from orchestrator.store.tables import account, customer, enrollment, feedback, log, message, reservation
from orchestrator.store.traffic import traffic
from orchestrator.zones import zone

WENT: Final = ("sent", "delivered", "bounced", "failed", "uncertain")
"""States of a message that was handed over."""


class Heard(NamedTuple):
    """Something that a provider does not tell, and we know: a conversion."""

    at: datetime
    journey: str
    medium: Medium
    kind: str


def simulation(
    store: Store,
    project: Project,
    name: str,
    cohort: Cohort,
    begin: datetime,
    until: datetime,
    seed: int,
    heard: Mapping[Heard, int],
    notes: tuple[str, ...],
    *,
    only: bool = False,
) -> Simulation:
    """All of it since `begin`. `name`: the hash of the workspace as it was asked for. `only`: messages of no journey,
    such as the task that a complaint becomes, are not counted; a note tells of them."""
    tz = zone(project.vocabulary.timezone) or UTC
    with store.write() as conn:
        # Runs that were over before are kept in a sample so that nobody enters twice; here they are no traffic.
        conn.execute(enrollment.delete().where(enrollment.c.ended_at < begin))
    with store.read() as conn:
        volumes = _volumes(conn, project, begin, tz)
        refusals = _refusals(conn, begin)
        replies = _replies(conn, begin, heard, tz)
        if only:
            played = project.journeys
            besides = [v for v in volumes if v.journey not in played]
            volumes = tuple(v for v in volumes if v.journey in played)
            refusals = tuple(r for r in refusals if r.journey in played)
            replies = tuple(r for r in replies if r.journey in played)
            notes += _besides(besides)
        return Simulation(
            project=name,
            began=begin,
            ended=until,
            seed=seed,
            customers=cohort.customers,
            scale=cohort.scale,
            traffic={journey: traffic(conn, journey) for journey in sorted(project.journeys)},
            volumes=volumes,
            refusals=refusals,
            replies=replies,
            messages=hashed(conn, begin),
            notes=notes,
        )


def _besides(volumes: Sequence[Volume]) -> tuple[str, ...]:
    """A note on what went out besides the journeys that were asked for."""
    counts: Counter[str] = Counter()
    for volume in volumes:
        counts[volume.journey] += volume.count
    if not counts:
        return ()
    told = ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))
    return (f"not counted here: messages of no journey, which went out besides ({told})",)


def _volumes(conn: sa.Connection, project: Project, begin: datetime, tz: tzinfo) -> tuple[Volume, ...]:
    m, cost = message.c, sa.func.coalesce(sa.func.sum(reservation.c.cost), 0).label("cost")
    query = (
        sa.select(m.decided_at, m.journey, m.origin, m.step, m.medium, sa.func.count().label("n"), cost)
        .outerjoin(reservation, reservation.c.message_id == m.id)
        .where(m.decided_at >= begin, m.state.in_(WENT))
        .group_by(m.decided_at, m.journey, m.origin, m.step, m.medium)
    )
    counts: Counter[tuple[date, str, str, str]] = Counter()
    costs: Counter[tuple[date, str, str, str]] = Counter()
    for row in conn.execute(query):
        key = (_day(row.decided_at, tz), row.journey or row.origin, row.step, row.medium)
        counts[key] += int(row.n)
        costs[key] += int(row.cost)
    currency = project.vocabulary.currency
    return tuple(
        Volume(day, journey, step, Medium(medium), n, costs[key], currency if costs[key] else "")
        for key, n in sorted(counts.items())
        for day, journey, step, medium in (key,)
    )


def _refusals(conn: sa.Connection, begin: datetime) -> tuple[Refusal, ...]:
    """By the log's decisions, a message once for each reason; and by their state those that ended without one."""
    m = message.c
    name = sa.func.coalesce(m.journey, m.origin).label("journey")
    said = (
        sa.select(name, m.medium, log.c.verdict, log.c.reason, sa.func.count(sa.distinct(m.id)).label("n"))
        .join(log, log.c.message_id == m.id)
        .where(log.c.kind == "decision", log.c.verdict.in_(("hold", "deny")), log.c.at >= begin)
        .group_by(name, m.medium, log.c.verdict, log.c.reason)
    )
    ended = (
        sa.select(name, m.medium, m.state, sa.func.coalesce(m.reason, m.state), sa.func.count())
        .where(m.state.in_(("expired", "cancelled")), m.settled_at >= begin)
        .group_by(name, m.medium, m.state, sa.func.coalesce(m.reason, m.state))
    )
    rows = [*conn.execute(said).tuples(), *conn.execute(ended).tuples()]
    return tuple(Refusal(j, Medium(medium), verdict, reason, n) for j, medium, verdict, reason, n in sorted(rows))


def _replies(conn: sa.Connection, begin: datetime, heard: Mapping[Heard, int], tz: tzinfo) -> tuple[Reply, ...]:
    m = message.c
    name = sa.func.coalesce(m.journey, m.origin).label("journey")
    query = (
        sa.select(feedback.c.at, name, m.medium, feedback.c.kind, sa.func.count().label("n"))
        .join(message, m.id == feedback.c.message_id)
        .where(feedback.c.received_at >= begin)
        .group_by(feedback.c.at, name, m.medium, feedback.c.kind)
    )
    counts: Counter[tuple[date, str, str, str]] = Counter()
    for row in conn.execute(query):
        counts[_day(row.at, tz), row.journey, row.medium, row.kind] += int(row.n)
    for one, n in heard.items():
        counts[_day(one.at, tz), one.journey, one.medium.value, one.kind] += n
    return tuple(Reply(day, j, Medium(medium), kind, n) for (day, j, medium, kind), n in sorted(counts.items()))


def _day(at: datetime, tz: tzinfo) -> date:
    return at.astimezone(tz).date()


# ---- the digest -----------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A message, told without ids: two runs with the same people, clock and seed have the same lines."""

    at: str
    journey: str
    step: str
    addressee: str
    medium: str
    template: str
    fate: str


def lines(conn: sa.Connection, begin: datetime) -> Iterator[Line]:
    """Every message since `begin`, in order: when it was decided, or is due; and what became of it."""
    m = message.c
    at = sa.func.coalesce(m.decided_at, m.settled_at, m.due_at)
    query = (
        sa.select(
            at.label("at"), m.journey, m.origin, m.step, m.addressee, m.medium, m.template, m.state, m.reason,
            customer.c.key, account.c.key.label("firm"),
        )
        .outerjoin(customer, customer.c.id == m.customer_id)
        .outerjoin(account, account.c.id == m.account_id)
        .where(sa.or_(m.planned_at >= begin, at >= begin))
    )  # fmt: skip
    found: list[Line] = []
    for row in conn.execute(query):
        whom = f"{row.addressee}:{row.key or ''}:{row.firm or ''}"
        fate = f"{row.state} {row.reason or ''}".strip()
        found.append(
            Line(row.at.isoformat(), row.journey or row.origin, row.step, whom, row.medium, row.template, fate)
        )
    yield from sorted(found)


def hashed(conn: sa.Connection, begin: datetime) -> str:
    """SHA-256 over all lines, hexadecimal."""
    whole = hashlib.sha256()
    for line in lines(conn, begin):
        whole.update(("\x1f".join(line) + "\n").encode())
    return whole.hexdigest()
