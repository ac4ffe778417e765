"""How fast a channel may be used by all workers together: a token bucket, and the time a provider asked us to wait.

A row for each channel, named `PROVIDER/MEDIUM`. The bucket holds at most `burst` tokens and gets `rate` a second; a
message is a token. So in any stretch of time no more than `burst + rate * seconds` are taken, by however many workers.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from channels.base import Channel
from orchestrator.store.tables import rate as table

_AHEAD = timedelta(minutes=5)
"""So far the clocks of machines differ. What was written further ahead is a clock's that was set wrong, for good."""
_MOST = timedelta(days=1) + _AHEAD  # `outcome.MOST_ASKED`
_SOON = 0.25  # of the burst: an empty bucket is asked again once so much may be in it, not for every single token


class Taken(NamedTuple):
    """`tokens` of them; where that is 0, `wait` says in how many seconds to ask again."""

    tokens: int
    wait: float = 0.0


def name_of(channel: Channel) -> str:
    """The name of a channel's row."""
    return f"{channel.name}/{channel.medium.value}"


def take(conn: sa.Connection, name: str, rate: float, burst: float, want: int, now: datetime) -> Taken:
    """Take up to `want` tokens, whole ones only; the row stays locked until the transaction ends.

    `rate`: tokens a second; `burst`: the most that come together. A `now` before the last one brings no token: of two
    machines whose clocks differ, the one that is behind waits until it has caught up.
    An instant more than minutes ahead is nobody's, and does not count.
    """
    row = conn.execute(_LOCKED, {"of": name}).one_or_none()
    if row is None:
        _begin(conn, name, burst, now)
        row = conn.execute(_LOCKED, {"of": name}).one()
    last = row.at if row.at <= now + _AHEAD else now
    passed = max(0.0, (now - last).total_seconds())
    tokens = min(burst, row.tokens + passed * rate)
    count = max(0, min(want, floor(tokens)))
    conn.execute(_TAKE, {"of": name, "left": tokens - count, "last": max(last, now)})
    if count or want <= 0:
        return Taken(count)
    behind = max(0.0, (last - now).total_seconds())
    return Taken(0, behind + (max(1.0, burst * _SOON) - tokens) / rate)


def give_back(conn: sa.Connection, name: str, tokens: float) -> None:
    """Tokens that were taken and not used. Negative: more was used (several devices to a message), to be worked off."""
    if tokens:
        conn.execute(_GIVE_BACK, {"of": name, "unused": tokens})


def hold_back(conn: sa.Connection, name: str, until: datetime, now: datetime) -> None:
    """Nobody uses the channel before `until`: its provider asked for it. An earlier word that reaches further stays,
    within a day: more is never asked for."""
    insert: Any = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table)
    insert = insert.values(name=name, tokens=0.0, at=now, blocked_until=until)
    longer = sa.or_(table.c.blocked_until.is_(None), table.c.blocked_until < until, table.c.blocked_until > now + _MOST)
    conn.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"blocked_until": until}, where=longer))


def looked_at(now: datetime) -> dict[str, datetime]:
    """What is bound to a statement with `blocked` in it."""
    return {"now": now, "furthest": now + _MOST}


def blocked() -> Any:
    """As part of a statement that is made once: whether a row of the table says to wait, with `looked_at` bound.
    Further ahead than anybody can ask for, a clock was wrong."""
    return sa.and_(table.c.blocked_until > sa.bindparam("now"), table.c.blocked_until <= sa.bindparam("furthest"))


def held_back() -> Any:
    """Likewise: until when the channel of the name bound as `channel` is held back; NULL where it is not."""
    return sa.select(table.c.blocked_until).where(table.c.name == sa.bindparam("channel"), blocked()).scalar_subquery()


_LOCKED: Final = sa.select(table.c.tokens, table.c.at).where(table.c.name == sa.bindparam("of")).with_for_update()
_TAKE: Final = (
    table.update()
    .where(table.c.name == sa.bindparam("of"))
    .values(tokens=sa.bindparam("left"), at=sa.bindparam("last"))
)
_GIVE_BACK: Final = (
    table.update()
    .where(table.c.name == sa.bindparam("of"))
    .values(tokens=table.c.tokens + sa.bindparam("unused", type_=sa.Float()))
)


def _begin(conn: sa.Connection, name: str, burst: float, now: datetime) -> None:
    """A channel's first use: its bucket is full. Of two that begin it together one does."""
    insert: Any = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(table)
    conn.execute(insert.values(name=name, tokens=burst, at=now).on_conflict_do_nothing())
