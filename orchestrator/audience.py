"""A segment as a list for an advertising platform: each of its customers judged like a message, and logged.

Whoever is on the list has said yes to this very use: consent to the topic on the medium `audience`. The gate decides,
so that a minor, somebody erased and a no that came a minute ago are left out for reasons that stand in the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import sqlalchemy as sa

from channels.base import Channel, Medium, Misconfigured
from orchestrator.apply import in_force
from orchestrator.deliver import Clock, deliver
from orchestrator.outbound import Asked
from orchestrator.store import outbox
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys
from orchestrator.store.tables import customer, message

ORIGIN: Final = "audience"
_CHUNK = 5_000
_OPEN = ("planned", "held", "sending")


@runtime_checkable
class Lists(Protocol):
    """A channel that makes lists."""

    def finish(self, audience: str, platform: str, run: str) -> Path:
        """Make the job of a run, once."""
        ...


@dataclass(frozen=True, slots=True)
class AudienceReport:
    """What a run came to: `members` on the list, `left_out` by reason. `waiting`: not decided yet, so that there is no
    job; ask for the same `run` again."""

    run: str
    members: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    job: str = ""


class NoAudience(Exception):
    """There is no such list. The message says why."""


def export(
    store: Store,
    channels: Mapping[Medium, Channel],
    keys: Keys,
    segment: str,
    topic: str,
    platform: str,
    *,
    now: Clock,
    run: str = "",
) -> AudienceReport:
    """Judge everybody in a segment, hand over who may be on the list, and make the job.

    `run`: an earlier one to go on with; by default it is named by the minute. Raises NoAudience, Misconfigured."""
    channel = channels[Medium.AUDIENCE]
    if not isinstance(channel, Lists):
        raise Misconfigured(
            f'lists go by {channel.name}, which makes none; `provider = "audiencefile"` under [channels.audience] does'
        )
    begun = now()
    name = run or begun.strftime("%Y%m%dT%H%M")
    ids = _members(store, segment, topic, begun)
    # The earlier runs' messages stay what they were: the key names the run.
    for n in range(0, len(ids), _CHUNK):
        asked = [_asked(i, of, segment, topic, platform, name) for i, of in ids[n : n + _CHUNK]]
        store.written(lambda conn, asked=asked: outbox.plan(conn, asked, now()))  # type: ignore[misc]
    deliver(store, {Medium.AUDIENCE: channel}, keys, now=now, worker=ORIGIN)
    found = _states(store, f"{ORIGIN}:{segment}:{platform}:{name}:")
    waiting = sum(n for (state, _), n in found.items() if state in _OPEN)
    members = sum(n for (state, _), n in found.items() if state in ("sent", "delivered"))
    left: Counter[str] = Counter()
    for (state, reason), n in found.items():
        if state not in (*_OPEN, "sent", "delivered"):
            left[reason or state] += n
    if waiting:
        return AudienceReport(name, members, left, waiting)
    place = channel.finish(segment, platform, name)
    return AudienceReport(name, members, left, 0, str(place))


def _members(store: Store, segment: str, topic: str, now: datetime) -> list[tuple[int, int | None]]:
    """(customer, account) ids, in one statement."""
    with store.read() as conn:
        force = in_force(conn)
        if force is None:
            raise NoAudience("no workspace is in force: orchestrator apply")
        if segment not in force.project.segments:
            raise NoAudience(f"there is no segment `{segment}`")
        declared = force.project.vocabulary.topics.get(topic)
        if declared is None or declared.purpose != "marketing":
            raise NoAudience(f"`{topic}` is no marketing topic: name what customers said yes to on `audience`")
        meant = force.segments.audience(force.segments.named(segment), "customer", now).subquery()
        query = sa.select(customer.c.id, customer.c.account_id).join(meant, meant.c[0] == customer.c.id)
        return [(row.id, row.account_id) for row in conn.execute(query.order_by(customer.c.id))]


def _asked(customer_id: int, account_id: int | None, segment: str, topic: str, platform: str, run: str) -> Asked:
    return Asked(
        ORIGIN,
        f"{segment}:{platform}:{run}:{customer_id}",
        "customer",
        customer_id,
        customer_id,
        account_id,
        Medium.AUDIENCE,
        "",
        topic,
        "marketing",
        payload={"audience": segment, "platform": platform, "run": run, "dedupe": "off"},
    )


def _states(store: Store, prefix: str) -> dict[tuple[str, str | None], int]:
    m = message.c
    query = sa.select(m.state, m.reason, sa.func.count()).where(
        m.origin == ORIGIN, m.origin_key.startswith(prefix, autoescape=True)
    )
    with store.read() as conn:
        return {(state, reason): n for state, reason, n in conn.execute(query.group_by(m.state, m.reason))}
