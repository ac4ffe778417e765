"""What a test of journeys comes to, once it is read: people and rows, deeds, reactions, expectations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from channels.base import EventKind
from orchestrator.problems import Span
from orchestrator.rehearsal.expectation import Course, Expectation, Line
from orchestrator.rows import ImportKind
from orchestrator.words import Duration

HEARD: Final[Mapping[str, EventKind]] = {
    "delivered": EventKind.DELIVERED,
    "opened": EventKind.OPENED,
    "clicked": EventKind.CLICKED,
    "replied": EventKind.REPLIED,
    "hard_bounce": EventKind.BOUNCED,
    "soft_bounce": EventKind.SOFT_BOUNCED,
    "blocked": EventKind.BLOCKED,
    "complained": EventKind.COMPLAINED,
    "unsubscribed": EventKind.UNSUBSCRIBED,
    "returned": EventKind.RETURNED,
    "failed": EventKind.FAILED,
}
"""What may come back of a message, as a test says it."""
DEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "claims": ("reward",),
    "redeems": ("voucher",),
    "refers": ("customer",),
    "answers": ("survey",),
    "consents": ("medium",),
    "withdraws": ("medium",),
    "enters": ("journey",),
}
"""What somebody may do beside causing an event, and the keys that must say what exactly."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row for the importer: `values` by column, as text."""

    kind: ImportKind
    values: Mapping[str, Any]
    span: Span


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody given, or a company. `takes`: arms of splits that chance shall deal; `holdout`: chance keeps her out."""

    key: str
    unit: Literal["customer", "account"]
    row: Row
    account: str = ""
    zone: str = ""
    takes: frozenset[str] = frozenset()
    holdout: bool = False


@dataclass(frozen=True, slots=True)
class Deed:
    """Somebody does something: an event of the workspace (`verb` "event"), or one of DEEDS with its details."""

    at: datetime
    who: str
    verb: str
    details: Mapping[str, Any]
    row: Row | None
    span: Span


@dataclass(frozen=True, slots=True)
class Change:
    """Rows that are imported at an instant."""

    at: datetime
    rows: tuple[Row, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Reaction:
    """What comes back of a message of this step: of the last that is out at `at`, else of the next, `delay` after it
    was sent. `to`: whose it is, "" anybody's."""

    at: datetime
    step: str
    to: str
    kind: EventKind
    delay: Duration
    text: str
    url: str
    span: Span


Happening = Deed | Change | Reaction


@dataclass(frozen=True, slots=True)
class Given:
    """What there is when the clock begins."""

    people: Mapping[str, Person] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    deeds: tuple[Deed, ...] = ()
    points: Mapping[str, int] = field(default_factory=dict)
    vouchers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One test, ready to be run. `journeys`: those that run, and whose messages are looked at; `strict`: every message
    of theirs has to be expected."""

    name: str
    path: str
    span: Span
    journeys: tuple[str, ...]
    clock: datetime
    zone: str
    until: datetime
    given: Given
    happens: tuple[Happening, ...]
    expect: tuple[Expectation, ...]
    never: tuple[Line | Course, ...]
    strict: bool
