"""Messages of which nobody knows whether they went out, and what the log knows of them. Reads only, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.outbound import Due
from orchestrator.store.database import id_list, key_list
from orchestrator.store.tables import log, message

_DUE = tuple(Due.__dataclass_fields__)


@dataclass(slots=True)
class Unsettled:
    """An uncertain message: when its last attempt was decided on, since when and why nobody knows, and by whom it went.

    `deliveries`: how many addresses it went to, once the log has said so.
    """

    due: Due
    decided_at: datetime
    settled_at: datetime
    reason: str
    provider: str
    deliveries: int = 1


class Used(NamedTuple):
    """Keyed hashes of the addresses that an attempt went to, in order, and the hash of its words."""

    addresses: tuple[str, ...]
    content_hash: str


def uncertain(conn: sa.Connection, after: int, limit: int) -> list[Unsettled]:
    """The next uncertain messages behind an id."""
    where = (sa.text("message.state = 'uncertain'"), message.c.id > after)  # as the index says it
    return _read(conn, _query().where(*where).order_by(message.c.id).limit(limit))


def by_id(conn: sa.Connection, message_id: int) -> Unsettled:
    """One message, whatever its state. Raises LookupError where there is none, or none was ever handed over."""
    found = _read(conn, _query().where(message.c.id == message_id, message.c.attempts > 0))
    if not found:
        raise LookupError(f"no message {message_id} was ever handed over")
    return found[0]


def _query() -> sa.Select[Any]:
    m = message.c
    return sa.select(*(m[name] for name in _DUE), m.decided_at, m.settled_at, m.reason, m.provider)


def _read(conn: sa.Connection, query: sa.Select[Any]) -> list[Unsettled]:
    found = []
    for row in conn.execute(query).mappings():
        due = Due(**{name: row[name] for name in _DUE if name != "medium"}, medium=Medium(row["medium"]))
        decided = row["decided_at"] or due.planned_at
        settled = row["settled_at"] or decided
        found.append(Unsettled(due, decided, settled, row["reason"] or "", row["provider"] or ""))
    return found


def times_sent_again(conn: sa.Connection, ids: Iterable[int]) -> dict[int, int]:
    """Message id → how often it was sent again because nobody knew whether it had arrived."""
    listed = id_list(conn, ids)
    query = (
        sa.select(log.c.message_id, sa.func.count())
        .join(listed, listed.c.id == log.c.message_id)
        .where(log.c.kind == "outcome", log.c.verdict == "planned", log.c.reason == "sent_again")
        .group_by(log.c.message_id)
    )
    return dict(conn.execute(query).tuples().all())


def overtaken(conn: sa.Connection, fallbacks: Mapping[int, Iterable[str]]) -> frozenset[int]:
    """Of these messages (id → the other sends of its `first_of`), those whose place another medium has taken since."""
    if not fallbacks:
        return frozenset()
    listed = id_list(conn, fallbacks)
    m, other = message.c, message.alias("other")
    same = sa.and_(
        other.c.enrollment_id == m.enrollment_id,
        other.c.visit == m.visit,
        other.c.addressee_id == m.addressee_id,
        other.c.id > m.id,
        other.c.state.not_in(("denied", "cancelled")),
    )
    query = sa.select(m.id, other.c.step).join(listed, listed.c.id == m.id).join(other, same)
    return frozenset(i for i, step in conn.execute(query).tuples() if step in set(fallbacks[i]))


def numbers_of_others(conn: sa.Connection, provider: str, numbers: Iterable[str]) -> frozenset[str]:
    """Those of a provider's numbers that stand for a message of ours already."""
    wanted = sorted(numbers)
    if not wanted:
        return frozenset()
    listed = key_list(conn, wanted)
    query = sa.select(message.c.provider_id).where(
        message.c.provider == provider, message.c.provider_id.in_(sa.select(listed.c.key))
    )
    return frozenset(conn.execute(query).scalars())
