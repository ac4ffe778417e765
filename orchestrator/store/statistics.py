"""What became of messages, counted by set: three statements, whatever the number of messages.

Messages are counted and not what was heard of them: an e-mail that is opened five times is one that was opened. They
stand under the time at which they were decided to go, just before they were handed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from channels.base import EventKind
from orchestrator.store.tables import feedback, message

By = Literal["step", "medium", "topic", "journey", "day"]
_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = 86_400_000_000  # microseconds
_TAKEN = ("sent", "delivered", "bounced")
_HEARD: Final[dict[str, tuple[EventKind, ...]]] = {
    "opened": (EventKind.OPENED, EventKind.CLICKED),  # as `opened(step)`: a click needs an opening
    "machine": (EventKind.MACHINE_OPENED,),
    "clicked": (EventKind.CLICKED,),
    "unsubscribed": (EventKind.UNSUBSCRIBED,),
    "complained": (EventKind.COMPLAINED,),
    "replied": (EventKind.REPLIED,),
    "returned": (EventKind.RETURNED,),
    "told": (EventKind.DELIVERED,),
    "lost": (EventKind.FAILED, EventKind.BLOCKED, EventKind.DROPPED, EventKind.EXPIRED),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Messages to customers. `sent`: a provider took them, whatever came after; `failed`: of these, those that it lost,
    and those that it refused. `opened` by people, `machine` by programs alone. `people`: customers among `sent`.

    `base`: what rates are shares of: the delivered ones where the provider tells of deliveries, else the sent ones.
    """

    sent: int = 0
    delivered: int = 0
    bounced: int = 0
    failed: int = 0
    uncertain: int = 0
    opened: int = 0
    machine: int = 0
    clicked: int = 0
    unsubscribed: int = 0
    complained: int = 0
    replied: int = 0
    returned: int = 0
    base: int = 0
    people: int = 0

    def rate(self, name: str) -> float | None:
        """A share of `base`; of bounces and failures, of what was sent. None where there is nothing to divide by."""
        of = self.sent if name in ("delivered", "bounced", "failed", "returned") else self.base
        found: int = getattr(self, name)
        return found / of if of else None


@dataclass(frozen=True, slots=True)
class Tally:
    """`groups` in order of name, each with its numbers; `total` of all of them."""

    by: By
    groups: dict[str, Numbers] = field(default_factory=dict)
    total: Numbers = field(default_factory=Numbers)


def tally(
    conn: sa.Connection,
    by: By,
    *,
    journey: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Tally:
    """What became of messages decided on in [since, until), by one thing; days are UTC's."""
    m = message.c
    where = [m.addressee == "customer", m.decided_at.isnot(None)]
    where += [m.journey == journey] if journey is not None else []
    where += [m.decided_at >= since] if since is not None else []
    where += [m.decided_at < until] if until is not None else []
    group = _group(conn, by).label("g")
    heard = _heard(where)
    flags = {name: sa.func.coalesce(heard.c[name], 0) for name in _HEARD}
    failed_later = sa.and_(m.state == "failed", flags["lost"] == 1)
    sent = sa.or_(m.state.in_(_TAKEN), failed_later)
    counts = {
        "sent": _count(sent),
        "delivered": _count(m.state == "delivered"),
        "bounced": _count(m.state == "bounced"),
        "failed": _count(m.state == "failed"),
        "uncertain": _count(m.state == "uncertain"),
        **{name: _count(flag == 1) for name, flag in flags.items() if name not in ("machine", "lost")},
        "machine": _count(sa.and_(flags["machine"] == 1, flags["opened"] == 0)),
    }
    provider = sa.func.coalesce(m.provider, "").label("p")
    source = message.outerjoin(heard, heard.c.message_id == m.id)
    query = sa.select(group, m.medium, provider, *(n.label(name) for name, n in counts.items())).select_from(source)
    rows = conn.execute(query.where(*where).group_by(group, m.medium, provider)).mappings().all()
    people = sa.select(group, sa.func.count(sa.distinct(m.customer_id))).select_from(source).where(*where, sent)
    each = {_name(by, key): n for key, n in conn.execute(people.group_by(group)).tuples()}
    everybody = sa.select(sa.func.count(sa.distinct(m.customer_id))).select_from(source).where(*where, sent)
    return _tally(by, [dict(row) for row in rows], each, conn.execute(everybody).scalar_one())


def _heard(where: list[Any]) -> sa.Subquery:
    """What was heard of each of these messages, as 0 or 1 by name."""
    f = feedback.c
    flags = [
        sa.func.max(sa.case((f.kind.in_([kind.value for kind in kinds]), 1), else_=0)).label(name)
        for name, kinds in _HEARD.items()
    ]
    joined = feedback.join(message, message.c.id == f.message_id)
    return sa.select(f.message_id, *flags).select_from(joined).where(*where).group_by(f.message_id).subquery()


def _count(condition: Any) -> Any:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _group(conn: sa.Connection, by: By) -> Any:
    m = message.c
    match by:
        case "day" if conn.dialect.name == "postgresql":
            return sa.cast(sa.func.timezone("UTC", m.decided_at), sa.Date)
        case "day":
            return sa.type_coerce(m.decided_at, sa.BigInteger) // sa.literal_column(str(_DAY))
        case "step":
            return sa.func.coalesce(m.journey, m.origin) + "/" + m.step
        case "journey":
            return sa.func.coalesce(m.journey, m.origin)
        case _:
            return m[by]


def _name(by: By, key: Any) -> str:
    if by == "day":
        return (key if isinstance(key, date) else _EPOCH + timedelta(days=int(key))).isoformat()
    return str(key)


def _tally(by: By, rows: Iterable[dict[str, Any]], each: dict[str, int], everybody: int) -> Tally:
    rows = list(rows)
    reports = {(row["medium"], row["p"]) for row in rows if row["told"]}
    names = [f.name for f in fields(Numbers) if f.name not in ("base", "people")]
    sums: dict[str, dict[str, int]] = {}
    total = dict.fromkeys((*names, "base"), 0)
    for row in rows:
        own = sums.setdefault(_name(by, row["g"]), dict.fromkeys((*names, "base"), 0))
        base = row["delivered"] if (row["medium"], row["p"]) in reports else row["sent"]
        for found in (own, total):
            for name in names:
                found[name] += int(row[name])
            found["base"] += int(base)
    groups = {name: Numbers(**sums[name], people=each.get(name, 0)) for name in sorted(sums)}
    return Tally(by, groups, Numbers(**total, people=everybody))
