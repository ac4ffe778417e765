"""Who of those made up falls silent, so that journeys of the silent are entered: a segment such as "no order for 90
days" would else have nobody, for chance spreads what people do too evenly, and a company has many contacts who order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from orchestrator.condition import Condition
from orchestrator.journey import SegmentTrigger
from orchestrator.model import Unit
from orchestrator.project import Project
from orchestrator.rehearse.chance import draw
from orchestrator.rehearse.inventing import at
from orchestrator.terms import (
    Aggregate,
    And,
    Any_,
    Compare,
    DaysSince,
    InSegment,
    Node,
    Not,
    Or,
    Rows,
    Scalar,
    When,
)
from orchestrator.words import Duration

SHARE: Final = 0.05
LEAST: Final = 4
"""Of whoever a journey is for, so many fall silent: this share, a few at least, and every second at most."""
WITHIN: Final = 28
"""Days after the beginning within which they come into the segment, one after the other."""
_BEFORE: Final = (0, 4, 9)
"""Days before the silence on which it happens once more: with them they stood outside the segment."""
_GOES_ON: Final = 21
"""Days that the silence lasts once somebody is in the segment."""
_LONGEST: Final = 360
"""A longer silence began before anything is made up."""
_HOUR: Final = 9
_DAY: Final = timedelta(days=1)
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_ELSE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


class Lapse(NamedTuple):
    """A segment that somebody comes into by an event's not happening to the unit for so many days."""

    segment: str
    unit: Unit
    event: str
    days: int


class Unit_(Protocol):
    """A customer or an account of a cohort."""

    @property
    def key(self) -> str: ...
    @property
    def unit(self) -> Unit: ...
    @property
    def class_name(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def joined(self) -> date: ...


class Silence(NamedTuple):
    """Nothing of a type happens to a unit in (since, until); it happens at each of `lasts`, of which one is `since`."""

    since: datetime
    until: datetime
    lasts: tuple[datetime, ...] = ()


def lapses(project: Project) -> list[Lapse]:
    """Of the segments that journeys begin with, as far as their conditions say what must not have happened."""
    found: dict[Lapse, None] = {}
    for journey in project.journeys.values():
        for trigger in journey.triggers:
            if isinstance(trigger, SegmentTrigger) and trigger.segment in project.segments:
                root, enters = project.segments[trigger.segment].root, trigger.direction == "entry"
                asked = absent(root, project.segments, wanted=enters)
                for event, days in asked:
                    if 0 < days <= _LONGEST:
                        found[Lapse(trigger.segment, journey.unit, event, days)] = None
    return list(found)


def absent(root: Node, segments: Mapping[str, Condition], *, wanted: bool = True) -> Iterator[tuple[str, int]]:
    """(event type, days for which it must not have happened), wherever a condition asks that. `wanted`: whether the
    condition is to be true."""
    match root:
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from absent(part, segments, wanted=wanted)
        case Not(part=part):
            yield from absent(part, segments, wanted=not wanted)
        case InSegment(name=name) if name in segments:
            # Segments do not go round in circles: the workspace would not have been read.
            yield from absent(segments[name].root, segments, wanted=wanted)
        case Any_(rows=Rows(holder="event", of=event, window=Duration() as window), every=False) if not wanted:
            yield event, whole_days(window)
        case When(value=Aggregate(fold="last", rows=Rows(holder="event", of=event)), how=how, span=Duration() as span):
            if how == ("more" if wanted else "last"):
                yield event, whole_days(span)
        case Compare(op=op, left=left, right=right):
            yield from _compared(op if wanted else _ELSE[op], left, right)
            yield from _compared(_TURNED[op if wanted else _ELSE[op]], right, left)


def _compared(op: str, left: Scalar, right: Scalar) -> Iterator[tuple[str, int]]:
    match left:
        case DaysSince(since=Aggregate(fold="last", rows=Rows(holder="event", of=event))) if op in (">", ">="):
            number = getattr(right, "value", None)
            if isinstance(number, int | float):
                yield event, int(number) + (op == ">")
        case Aggregate(fold="count" | "sum", rows=Rows(holder="event", of=event, window=Duration() as window)):
            if op in ("<", "<=") or (op == "==" and getattr(right, "value", None) == 0):
                yield event, whole_days(window)


def whole_days(span: Duration) -> int:
    """A duration in days, rounded up; a month as 31 of them."""
    return span.months * 31 + span.days + -(-span.business * 7 // 5) + -(-span.seconds // 86_400)


def silences(
    found: Sequence[tuple[Lapse, frozenset[str]]], people: Sequence[Unit_], begin: date, seed: int
) -> dict[tuple[str, str], Silence]:
    """(unit's key, event type) → when it falls silent, for a few of everybody whom a lapse is about; an account's
    silence is its contacts' as well. `found`: lapses, each with the classes that it is about."""
    silent: dict[tuple[str, str], Silence] = {}
    contacts: dict[str, list[str]] = defaultdict(list)
    for p in people:
        if p.account:
            contacts[p.account].append(p.key)
    for lapse, classes in found:
        long_ago = begin - _DAY * (lapse.days + _BEFORE[-1] + 1)
        those = [p for p in people if p.unit == lapse.unit and p.joined < long_ago]
        for name in sorted(classes) or [""]:
            mine = [p for p in those if not p.class_name or p.class_name == name]
            mine.sort(key=lambda p: draw(seed, "silent", lapse.segment, lapse.event, p.key))
            n = min(max(LEAST, round(SHARE * len(mine))), (len(mine) + 1) // 2)
            for place, one in enumerate(mine[:n]):
                comes = begin + _DAY * (1 + (WITHIN - 1) * place // n)
                since = at(comes - _DAY * lapse.days, _HOUR)
                until = at(comes + _DAY * _GOES_ON, _HOUR)
                lasts = tuple(since - _DAY * days for days in _BEFORE)
                silent.setdefault((one.key, lapse.event), Silence(since, until, lasts))
                for key in contacts[one.key]:
                    silent.setdefault((key, lapse.event), Silence(since, until))
    return silent
