"""A journey as it was checked: triggers, who, how often, and its steps. A frozen version of one YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Literal

from channels.base import Medium
from orchestrator.condition import Condition, Expression
from orchestrator.model import Unit
from orchestrator.problems import Span
from orchestrator.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTrigger:
    """Enters on a recorded false→true of the segment (`entry`), or true→false (`exit`)."""

    segment: str
    direction: Literal["entry", "exit"]
    include_existing: bool = False
    key: str  # stable hash of this trigger's own form: its watermark's name
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """Enters on an event. `run_by`: a property; one run per its value. Without it, one run per event."""

    event: str
    where: Condition | None = None
    run_by: str | None = None
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class AtTrigger:
    """A one-off broadcast at an instant, or at a wall time in each one's own zone when `local`.

    `waves`: so many equal parts by hash of the unit, `wave_gap` apart.
    """

    at: datetime  # aware; when `local`, its wall time is what counts
    local: bool = False
    waves: int = 1
    wave_gap: timedelta = timedelta(0)
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTrigger:
    """Enters everyone of the audience at each scheduled local time. Run key: the local scheduled date and time."""

    cron: str | None = None
    rrule: str | None = None
    timezone: str  # a zone's name, or "recipient": each one's own
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class DateTrigger:
    """Enters on a day `offset_days` from a date (negative: before), at a wall time in the unit's zone.

    `of`: customer, account, a record type (one run per record) or an event type (keyed, `run_by`). Run key: the date
    itself (and the record's or event's key), so an edited date plans anew and a replay is a no-op.
    """

    of: str
    source: Literal["customer", "account", "record", "event"]
    field_name: str
    offset_days: int = 0
    offset_months: int = 0
    business_days: bool = False
    every_year: bool = False
    leap_day: Literal["feb_28", "mar_1"] = "feb_28"
    at: time = time(9)
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTrigger:
    direction: Literal["up", "down", "any"] = "any"
    to: tuple[str, ...] = ()
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiTrigger:
    """Enters by a call (web, CLI). Run key: the caller's own."""

    key: str
    span: Span


Trigger = SegmentTrigger | EventTrigger | AtTrigger | ScheduleTrigger | DateTrigger | TierTrigger | ApiTrigger


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom of an account's contacts a send goes to: by role in this order, at most so many."""

    roles: tuple[str, ...] = ()
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class Reentry:
    """`once`: one run a unit for ever · `always`: one per trigger firing · `after`: a pause since the last entry ·
    `key`: one per key (an event property or a record)."""

    kind: Literal["once", "always", "after", "key"] = "once"
    after: timedelta | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class MissedRuns:
    grace: timedelta = timedelta(hours=12)
    then: Literal["skip", "latest", "all"] = "latest"


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `count` sends in each `per`."""

    count: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """`version` hashes the canonical form and the segments it names. Step order is reading order, nested inside."""

    name: str
    path: str
    owner: str
    unit: Unit
    priority: int
    triggers: tuple[Trigger, ...]
    audience: Condition | None
    recipients: Recipients
    reentry: Reentry
    overlap: Literal["forbid", "allow"]
    goal: Condition | None
    goal_text: str
    exit_when: tuple[Condition, ...]
    in_flight: Literal["finish", "migrate", "exit"]
    holdout: float  # share, 0 to 1
    missed_runs: MissedRuns
    throttle: Throttle | None
    record: str | None  # the record type in scope, from the trigger
    event: str | None  # the triggering event's type, in scope as `event`
    steps: tuple[Step, ...]
    segments: frozenset[str]
    version: str
    span: Span
    _by_id: Mapping[str, Step] = field(repr=False, compare=False)
    _next: Mapping[str, str | None] = field(repr=False, compare=False)

    @property
    def first(self) -> str | None:
        return self.steps[0].id if self.steps else None

    def step(self, step_id: str) -> Step:
        """KeyError when this version has no such step."""
        return self._by_id[step_id]

    def after(self, step_id: str) -> str | None:
        """The step reached when this one is left: its next sibling, or what follows the step it is nested in."""
        return self._next[step_id]

    def every_step(self) -> Iterator[Step]:
        return iter(self._by_id.values())

    def sends(self) -> Mapping[str, Medium]:
        """Every message the journey may plan: step id → medium."""
        return {sid: medium for s in self._by_id.values() for sid, medium in s.sends()}

    def listens(self) -> frozenset[str]:
        """Event types that may wake a sleeper: waits, goal, exits."""
        raise NotImplementedError

    def watches(self) -> tuple[Condition | Expression, ...]:
        """What each tick re-reads for sleepers: exit conditions on state, and fields a `wait_until` hangs on."""
        raise NotImplementedError
