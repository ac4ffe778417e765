"""What a journey is made of: one file a step kind, found by its file. Its fields are its YAML, its docstring its page.

A step is pure: it is told what is known (`Here`) and answers with an `Outcome`. Conditions were evaluated before, in
SQL, for the whole batch: a step says beforehand which it may ask for (`asks`), and looks the answer up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from channels.base import EventKind, Medium
from orchestrator.condition import Condition, Expression
from orchestrator.model import Enrollment, Json
from orchestrator.problems import Span

Value = str | int | float | bool | datetime | None  # a date comes as "YYYY-MM-DD"


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a message is for. `id` is a customer's id; for staff the account's id (its manager) or the customer's."""

    kind: Literal["customer", "staff", "system"]
    id: int
    customer_id: int | None
    account_id: int | None


@dataclass(frozen=True, slots=True)
class MessageState:
    """One message of this enrollment, as the engine may see it."""

    step: str
    visit: int
    addressee: Addressee
    medium: Medium
    state: str
    reason: str
    settled_at: datetime | None
    heard: frozenset[EventKind]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything outside the enrollment that a move may depend on, read for a whole batch at once.

    `truths` by Condition.text (None is Kleene's unknown); `values` by Expression.text; `zone` the unit's zone name or
    None; `recipients` by medium for account journeys: contacts in order of role, those that cannot be reached on that
    medium (bounced, left) already passed over; for customer journeys the customer alone.
    """

    truths: Mapping[str, bool | None] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    messages: tuple[MessageState, ...] = ()
    zone: str | None = None
    workspace_zone: str = "UTC"
    recipients: Mapping[Medium, tuple[Addressee, ...]] = field(default_factory=dict)
    staff: Addressee | None = None


# ---- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """A message to plan. Its identity is (enrollment, step, visit, addressee, medium): planning it twice is one."""

    step: str
    visit: int
    medium: Medium
    template: str
    addressee: Addressee
    due_at: datetime
    expires_at: datetime | None
    payload: Json


@dataclass(frozen=True, slots=True)
class Update:
    """Attributes to set on the customer or the account."""

    target: Literal["customer", "account"]
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Emit:
    """An event to record; its key derives from (enrollment, step, visit)."""

    event: str
    properties: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class EnterJourney:
    journey: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Withdraw this enrollment's messages of these steps that are not yet handed over."""

    steps: tuple[str, ...]
    reason: str


Effect = Send | Update | Emit | EnterJourney | Cancel


# ---- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Go:
    """On to the next step. `fresh`: the round ends here, what follows is judged on facts read anew."""

    effects: tuple[Effect, ...] = ()
    note: Json = field(default_factory=dict)
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Into:
    """Into the nested steps of that name (see `Step.bodies`); at their end, on behind this step."""

    body: str
    note: Json = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Stay:
    """Wait here, to be woken at `until` or by what happens (None: only by what happens)."""

    until: datetime | None
    memory: Json = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    note: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Jump:
    """Back or forward to a step by id; a new visit."""

    to: str
    note: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """The run ends: completed, exited, failed, …"""

    because: str
    note: Json = field(default_factory=dict)


Outcome = Go | Into | Stay | Jump | End


@dataclass(frozen=True, slots=True)
class Here:
    """What a step is told. `truth` and `value` raise KeyError for what was not asked beforehand: a bug, not data."""

    enrollment: Enrollment
    journey: str
    facts: Facts
    now: datetime
    draw: Callable[
        [str], float
    ]  # [0, 1) by (unit, journey name, unit id, name): the same for ever, whatever the version

    def truth(self, condition: Condition) -> bool | None:
        return self.facts.truths[condition.text]

    def value(self, expression: Expression) -> Value:
        return self.facts.values[expression.text]

    def messages(self, *steps: str) -> tuple[MessageState, ...]:
        """This enrollment's messages of these steps at its present visit."""
        return tuple(m for m in self.facts.messages if m.step in steps and m.visit == self.enrollment.visit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. Subclasses add the fields of their YAML; `orchestrator.reading` fills them by their types."""

    keyword: ClassVar[str] = ""

    id: str
    span: Span

    def bodies(self) -> Mapping[str, tuple[Step, ...]]:
        """Nested steps by name, in order."""
        return {}

    def asks(self) -> tuple[Condition | Expression, ...]:
        """Conditions and expressions this step may look up on arrival or when woken (not those of nested steps)."""
        return ()

    def sends(self) -> tuple[tuple[str, Medium], ...]:
        """(step id, medium) of the messages this step itself may plan: for opened(…), recipients and templates."""
        return ()

    def listens(self) -> frozenset[str]:
        """Event types that may end a wait here: ingest wakes sleepers by them."""
        return frozenset()

    def arrive(self, here: Here) -> Outcome:
        """Called when the enrollment comes to this step."""
        raise NotImplementedError

    def wake(self, here: Here) -> Outcome:
        """Called when an enrollment that stayed here is due again; may be called at any time, any number of times."""
        return self.arrive(here)
