"""The condition language: typed against the workspace, mistakes are placed, SQL is made elsewhere (store.segments).

This module is the whole front: grammar, types, checks. It evaluates nothing; there is one evaluator and it is SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from channels.base import EventKind, Medium
from orchestrator.model import Kind, Unit, Vocabulary
from orchestrator.problems import Problems, Span


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be named where a condition stands.

    `record`: that record type is in scope by its name (contract.ends). `event`: the triggering event's type, in scope
    as `event.PROPERTY`. `subject_event`: bare names are properties of this event type first (inside `where`), then the
    unit's fields; `subject_record` likewise for records. `steps`: send steps by id, for opened(…) and clicked(…);
    None outside a journey.
    """

    unit: Unit = "customer"
    record: str | None = None
    event: str | None = None
    subject_event: str | None = None
    subject_record: str | None = None
    steps: Mapping[str, Medium] | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A typed node of a condition; concrete nodes below. Frozen and hashable, so that equal conditions are one."""


@dataclass(frozen=True, slots=True)
class Happened(Node):
    """An event of this type (with `where` true of it) since the enrollment's entry or since it came to this step.

    "Since" is both by arrival and by occurrence: occurred_at ≥ the mark, received by now.
    """

    event: str
    where: Node | None
    since: Literal["entry", "step", "ever"]
    within_seconds: int | None = None  # counted from the entry: a goal's `within`


@dataclass(frozen=True, slots=True)
class Heard(Node):
    """Feedback of one of these kinds for this enrollment's message of a step (at its present visit when since=step)."""

    step: str
    kinds: frozenset[EventKind]
    since: Literal["entry", "step"] = "entry"


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition. `text` is canonical (equal meaning by form, equal text); compare and hash by it."""

    text: str
    root: Node = field(compare=False)
    unit: Unit = "customer"
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked scalar: a field, an aggregate, arithmetic. `kind` is the type of its value."""

    text: str
    root: Node = field(compare=False)
    kind: Kind = Kind.TEXT
    unit: Unit = "customer"
    span: Span | None = field(default=None, compare=False)


def parse(text: str, span: Span, scope: Scope, vocabulary: Vocabulary, problems: Problems) -> Condition | None:
    """A condition, or None with every mistake in it added to `problems`, each at its own place within `span`."""
    raise NotImplementedError


def parse_expression(
    text: str,
    span: Span,
    scope: Scope,
    vocabulary: Vocabulary,
    problems: Problems,
    expect: frozenset[Kind] | None = None,
) -> Expression | None:
    """A scalar expression of one of the expected kinds, or None with problems."""
    raise NotImplementedError


def happened(
    event: str,
    where: Condition | None,
    since: Literal["entry", "step", "ever"],
    unit: Unit,
    within_seconds: int | None = None,
) -> Condition:
    """`wait_for`, `goal` and `exit_when` by event, as a condition: the engine knows no other evaluator."""
    where_text = f" where {where.text}" if where else ""
    within = f" within {within_seconds}s" if within_seconds is not None else ""
    node = Happened(event, where.root if where else None, since, within_seconds)
    return Condition(f"happened({event}{where_text} since {since}{within})", node, unit)


def heard(step: str, kinds: frozenset[EventKind], unit: Unit, since: Literal["entry", "step"] = "entry") -> Condition:
    """`first_of … until`, `wait_for: {message}` and opened(…) as a condition."""
    listed = ",".join(sorted(kinds))
    return Condition(f"heard({step} {listed} since {since})", Heard(step, kinds, since), unit)
