"""How people take what they are sent: what each message leads to, drawn from a seed and from what the message is.

Nothing is random: a draw is a hash of the seed, the message's own name (journey, step, visit, whom, medium, since when)
and what is drawn. So a message has the same fate in whatever order messages go out, and in another version of the
journey that sends it too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from channels.base import EventKind, Medium, Reason
from orchestrator.model import BANDS
from orchestrator.problems import Problems, ProjectError, Span
from orchestrator.rehearse.chance import after, draw
from orchestrator.simulation import Behaviour, Chances
from orchestrator.source import parse
from orchestrator.store.tables import customer, enrollment, feedback, loyalty, message

CONVERTED: Final = "converted"
USUAL: Final = Behaviour(
    {
        (Medium.EMAIL, ""): Chances(0.005, 0.35, 0.08, 0.02, 0.0003, 0.002),
        (Medium.SMS, ""): Chances(bounced=0.01, clicked=0.06, converted=0.02, unsubscribed=0.008),
        (Medium.PUSH, ""): Chances(bounced=0.01, opened=0.05, clicked=0.3, converted=0.01),
        (Medium.MAIL, ""): Chances(bounced=0.02, converted=0.015),
        (Medium.TASK, ""): Chances(converted=0.1),
    }
)
"""Made up, round, and on the cautious side of what senders tell of themselves; docs/guide/simulating.md says what of it
has a source. Whoever has a history uses `learned`."""
_SOON: Final[Mapping[str, tuple[timedelta, timedelta]]] = {
    "opened": (timedelta(hours=6), timedelta(days=5)),
    "clicked": (timedelta(minutes=10), timedelta(hours=4)),
    "complained": (timedelta(hours=8), timedelta(days=3)),
    "unsubscribed": (timedelta(hours=8), timedelta(days=5)),
    CONVERTED: (timedelta(days=2), timedelta(days=14)),
}
"""How long it takes: on average, at most. Made up as well."""
ARRIVES: Final = frozenset({Medium.EMAIL, Medium.SMS})
"""Media whose providers tell that a message arrived."""
_OPENS: Final = frozenset({Medium.EMAIL, Medium.PUSH})
_LOST: Final[Mapping[Medium, tuple[EventKind, Reason]]] = {
    Medium.EMAIL: (EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS),
    Medium.SMS: (EventKind.FAILED, Reason.UNKNOWN_ADDRESS),
    Medium.PUSH: (EventKind.FAILED, Reason.INVALID_ADDRESS),
    Medium.MAIL: (EventKind.RETURNED, Reason.UNKNOWN_ADDRESS),
}


class Sent(NamedTuple):
    """A message that has gone out. `name`: what it is, in whatever order it came; `attempt`: as its provider calls it.
    `run`: its enrollment. `heeded`: whether anything may hang on its being opened or clicked."""

    id: int
    attempt: str
    name: str
    journey: str
    step: str
    medium: Medium
    band: str
    run: int | None
    to_customer: bool
    heeded: bool = True


class Back(NamedTuple):
    """What comes back of a message; `kind` None: what its journey hopes for happens."""

    at: datetime
    sent: Sent
    kind: EventKind | None
    reason: Reason | None = None

    @property
    def told(self) -> str:
        """As `simulation.Reply.kind` says it."""
        return CONVERTED if self.kind is None else self.kind.value


@dataclass
class Behaving:
    """Draws what becomes of messages. Two of one name (two orders within the hour) are told apart by their number."""

    behaviour: Behaviour
    seed: int
    _seen: Counter[str] = field(default_factory=Counter)

    def takes(self, sent: Sent, now: datetime) -> list[Back]:
        """All that will come back of a message that has just gone out, at once or later."""
        number = self._seen[sent.name]
        self._seen[sent.name] += 1
        name = f"{sent.name}/{number}" if number else sent.name
        chances = self.behaviour.of(sent.medium, sent.band)
        if sent.medium in _LOST and sent.to_customer and self._does(name, "bounced", chances.bounced):
            kind, reason = _LOST[sent.medium]
            return [Back(now, sent, kind, reason)]
        return list(self._lives(sent, name, chances, now))

    def _lives(self, sent: Sent, name: str, chances: Chances, now: datetime) -> Iterator[Back]:
        if sent.medium in ARRIVES:
            yield Back(now, sent, EventKind.DELIVERED)
        if sent.to_customer:
            opens = sent.medium in _OPENS
            opened = self._when(name, "opened", now)
            looked = opens and self._does(name, "opened", chances.opened)
            if looked:
                yield Back(opened, sent, EventKind.OPENED)
            if (
                (looked or not opens)
                and sent.medium is not Medium.MAIL
                and self._does(name, "clicked", chances.clicked)
            ):
                yield Back(self._when(name, "clicked", opened), sent, EventKind.CLICKED)
            if sent.medium is Medium.EMAIL and self._does(name, "complained", chances.complained):
                yield Back(self._when(name, "complained", now), sent, EventKind.COMPLAINED)
            elif sent.medium in ARRIVES and self._does(name, "unsubscribed", chances.unsubscribed):
                yield Back(self._when(name, "unsubscribed", now), sent, EventKind.UNSUBSCRIBED)
        if sent.run is not None and self._does(name, CONVERTED, chances.converted):
            yield Back(self._when(name, CONVERTED, now), sent, None)

    def _does(self, name: str, what: str, chance: float) -> bool:
        return chance > 0 and draw(self.seed, name, what) < chance

    def _when(self, name: str, what: str, since: datetime) -> datetime:
        mean, longest = (span.total_seconds() for span in _SOON[what])
        return since + timedelta(seconds=round(after(mean, longest, self.seed, name, what, "after")))


# ---- as it is written -----------------------------------------------------------------------------------------------


def read_behaviour(text: str, path: str) -> Behaviour:
    """A YAML file: a medium, then shares by name, and by value band where they differ:
    `email: { opened: 40%, bands: { top: { opened: 60% } } }`. What is not said is USUAL's. Raises ProjectError."""
    problems = Problems()
    node = parse(text, path, problems)
    found = dict(USUAL.chances)
    if node is not None and node.kind == "map":
        for entry in node.entries:
            if entry.key not in [m.value for m in Medium]:
                known = ", ".join(m.value for m in Medium)
                problems.error("unknown-key", f"`{entry.key}` is no medium", entry.key_span, f"one of: {known}")
                continue
            medium = Medium(entry.key)
            bands = [e for e in entry.value.entries if e.key == "bands"]
            usual = found[medium, ""] = _shares(entry.value, USUAL.of(medium), problems)
            for band in (e for e in (bands[0].value.entries if bands else ())):
                if band.key not in BANDS:
                    hint = f"one of: {', '.join(BANDS)}"
                    problems.error("unknown-key", f"`{band.key}` is no value band", band.key_span, hint)
                else:
                    found[medium, band.key] = _shares(band.value, usual, problems)
    elif not problems.errors:
        hint = "write a medium and its shares: `email: { opened: 40% }`"
        problems.error("wrong-type", "this says nothing of how people behave", Span.whole(path), hint)
    if problems.errors:
        raise ProjectError(problems.sorted())
    return Behaviour(found)


def _shares(node: Any, usual: Chances, problems: Any) -> Chances:
    names = [f.name for f in fields(Chances)]
    values = {name: getattr(usual, name) for name in names}
    for entry in node.entries:
        if entry.key == "bands":
            continue
        if entry.key not in names:
            hint = f"one of: {', '.join(names)}"
            problems.error("unknown-key", f"`{entry.key}` is nothing that people do here", entry.key_span, hint)
            continue
        share = _share(entry.value.text or "")
        if share is None:
            message = f"`{entry.value.text}` is no share"
            problems.error("wrong-type", message, entry.value.span, "write it as 40% or 0.4, between 0 and 100%")
        else:
            values[entry.key] = share
    return Chances(**values)


def _share(text: str) -> float | None:
    try:
        value = float(text.rstrip("% ")) / (100 if text.rstrip().endswith("%") else 1)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


# ---- as it was ------------------------------------------------------------------------------------------------------

FEW: Final = 200
"""Below so many messages of a medium and band, what became of them says little: the medium's own shares are taken, and
below as many of the medium, the usual ones."""


def learned(conn: sa.Connection) -> Behaviour:
    """The shares by medium and band as they were: of messages that went out to customers, all of them. Conversions are
    messages after which the customer bought, or whatever ended her run as its goal; the band is today's."""
    found = dict(USUAL.chances)
    every: dict[tuple[str, str], Counter[str]] = {}
    for row in conn.execute(_history()):
        for key in {(row.medium, ""), (row.medium, row.band or "")}:
            sums = every.setdefault(key, Counter())
            sums.update({name: int(n or 0) for name, n in row._mapping.items() if name not in ("medium", "band")})
    for (name, band), sums in every.items():
        if sums["out"] < FEW:
            continue
        medium = Medium(name)
        out = sums["out"]
        arrived = max(1, out - sums["lost"])
        clicks = sums["opened"] if medium in _OPENS else arrived
        found[medium, band] = Chances(
            bounced=sums["lost"] / out,
            opened=sums["opened"] / arrived,
            clicked=min(1.0, sums["clicked"] / clicks) if clicks else 0.0,
            converted=sums["goal"] / arrived,
            complained=sums["complained"] / arrived,
            unsubscribed=sums["unsubscribed"] / arrived,
        )
    return Behaviour(found)


def _history() -> sa.Select[Any]:
    """One row for each medium and band: messages out, and of how many of them what was heard. One statement."""

    def heard(*kinds: EventKind) -> Any:
        there = sa.exists().where(feedback.c.message_id == message.c.id, feedback.c.kind.in_([k.value for k in kinds]))
        return sa.func.sum(sa.case((there, 1), else_=0))

    lost = (EventKind.BOUNCED, EventKind.FAILED, EventKind.RETURNED, EventKind.DROPPED)
    # The goal is the last message's: each run has reached it once.
    later = message.alias("later")
    last = ~sa.exists().where(later.c.enrollment_id == message.c.enrollment_id, later.c.id > message.c.id)
    goal = sa.func.sum(sa.case((sa.and_(enrollment.c.ended_because == "goal", last), 1), else_=0))
    owner = sa.or_(
        sa.and_(loyalty.c.unit == "customer", loyalty.c.unit_id == message.c.customer_id),
        sa.and_(
            loyalty.c.unit == "account", loyalty.c.unit_id == customer.c.account_id, customer.c.account_id.isnot(None)
        ),
    )
    source = (
        message.join(customer, customer.c.id == message.c.customer_id)
        .outerjoin(enrollment, enrollment.c.id == message.c.enrollment_id)
        .outerjoin(loyalty, owner)
    )
    columns = {
        "out": sa.func.count(sa.distinct(message.c.id)),
        "lost": heard(*lost),
        "opened": heard(EventKind.OPENED, EventKind.CLICKED),
        "clicked": heard(EventKind.CLICKED),
        "complained": heard(EventKind.COMPLAINED),
        "unsubscribed": heard(EventKind.UNSUBSCRIBED),
        "goal": goal,
    }
    went = message.c.state.in_(("sent", "delivered", "bounced", "failed"))
    query = sa.select(message.c.medium, loyalty.c.band, *(c.label(n) for n, c in columns.items()))
    query = query.select_from(source).where(message.c.addressee == "customer", went)
    return query.group_by(message.c.medium, loyalty.c.band).order_by(message.c.medium, loyalty.c.band)
