"""What a journey is made of: one file a step kind, found by its file. Its fields are its YAML, its docstring its page.

A step is pure: it is told what is known (`Here`) and answers with an `Outcome`. Conditions were evaluated before, in
SQL, for the whole batch: a step says beforehand which it may ask for (`asks`), and looks the answer up.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import ClassVar, Literal
from zoneinfo import ZoneInfo

from channels.base import EventKind, Medium
from orchestrator.condition import Condition, Expression
from orchestrator.model import Enrollment, Json
from orchestrator.problems import Span
from orchestrator.zones import zone

Value = str | int | float | bool | datetime | None  # a date comes as "YYYY-MM-DD"


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a message is for. `id` is a customer's id; for staff the account's id (its manager) or the customer's.

    `role`: a contact's, in account journeys; it orders and narrows, it is no part of who somebody is. `above`: of an
    account so many levels above the run's own.
    """

    kind: Literal["customer", "staff", "system"]
    id: int
    customer_id: int | None
    account_id: int | None
    role: str = field(default="", compare=False)
    above: int = field(default=0, compare=False)


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
class Decided:
    """The winner of an experiment that is over, and the decision's number."""

    id: int
    arm: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything outside the enrollment that a move may depend on, read for a whole batch at once.

    `truths` by Condition.text (None is Kleene's unknown); `values` by Expression.text; `zone` the unit's zone name or
    None; `recipients` by medium for account journeys: contacts in order of role, those that cannot be reached on that
    medium (bounced, left) already passed over; for customer journeys it is not looked at (the enrollment's customer is
    meant, reachable or not, so that a refusal is on record). `staff`: the account's manager, None when there is none.
    `reports`: what the channel of each medium can tell; a medium that is missing can tell nothing. `decided`: the
    journey's experiments that are over, by `Split.question`.
    """

    truths: Mapping[str, bool | None] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    messages: tuple[MessageState, ...] = ()
    zone: str | None = None
    workspace_zone: str = "UTC"
    recipients: Mapping[Medium, tuple[Addressee, ...]] = field(default_factory=dict)
    staff: Addressee | None = None
    reports: Mapping[Medium, frozenset[EventKind]] = field(default_factory=dict)
    decided: Mapping[str, Decided] = field(default_factory=dict)


# ---- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """A message to plan. Its identity is (enrollment, step, visit, addressee, medium): planning it twice is one.

    `template` is "" where the text stands in the step itself. `payload` holds what of these the step says:
    `text` (a task's own message), `title`, `due` ("YYYY-MM-DD"), `to` (whom a task or an internal copy goes to, when
    that is not the addressee's own address), `locale`, `from`, `dedupe`, `throttle` ([count, seconds]), `url`; and the
    ids of what texts may name: `event`, `record`.
    """

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

    step: str
    visit: int
    event: str
    properties: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class EnterJourney:
    """The same unit into another journey; the run key there derives from (enrollment, step, visit)."""

    step: str
    visit: int
    journey: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Withdraw this enrollment's messages of these steps that are not yet handed over."""

    steps: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Award:
    """Points to give, or to take when negative. `key` "" : once for (enrollment, step, visit); else once for the unit
    and that key, whichever run says so."""

    step: str
    visit: int
    points: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Give:
    """A voucher of that pool, once for (enrollment, step, visit); texts behind it name it as `voucher`."""

    step: str
    visit: int
    pool: str


@dataclass(frozen=True, slots=True)
class TakeBack:
    """The last code of that pool that a step gave to this unit goes back, where it was not redeemed."""

    step: str
    visit: int
    pool: str


Effect = Send | Update | Emit | EnterJourney | Cancel | Award | Give | TakeBack


# ---- outcomes -------------------------------------------------------------------------------------------------------
# `what` and `note` become a line of the run's diary: what happened in one word, and what a person needs to see why.


@dataclass(frozen=True, slots=True)
class Go:
    """On to the next step. `fresh`: the round ends here, what follows is judged on facts read anew."""

    effects: tuple[Effect, ...] = ()
    note: Json = field(default_factory=dict)
    fresh: bool = False
    what: str = "passed"


@dataclass(frozen=True, slots=True)
class Into:
    """Into the nested steps of that name (see `Step.bodies`); at their end, on behind this step."""

    body: str
    note: Json = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    what: str = "chose"


@dataclass(frozen=True, slots=True)
class Stay:
    """Wait here, to be woken at `until` or by what happens (None: only by what happens)."""

    until: datetime | None
    memory: Json = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    note: Json = field(default_factory=dict)
    what: str = "waits"


@dataclass(frozen=True, slots=True)
class Jump:
    """Back or forward to a step by id; a new visit, counted under the jumping step's id."""

    to: str
    note: Json = field(default_factory=dict)
    what: str = "jumped"


@dataclass(frozen=True, slots=True)
class End:
    """The run ends: completed, exited, failed, …"""

    because: str
    note: Json = field(default_factory=dict)
    what: str = "ended"


Outcome = Go | Into | Stay | Jump | End


@dataclass(frozen=True, slots=True)
class Here:
    """What a step is told. `truth` and `value` raise KeyError for what was not asked for beforehand: a bug, not data.

    `enrollment` stands at the step that is asked (its step, visit, since and memory). `roles`, `at_most`: the journey's
    recipients.
    """

    enrollment: Enrollment
    journey: str
    facts: Facts
    now: datetime
    draw: Callable[
        [str], float
    ]  # [0, 1) by (unit, journey name, unit id, name): the same for ever, whatever the version
    roles: tuple[str, ...] = ()
    at_most: int | None = None
    each: int | None = None

    def truth(self, condition: Condition) -> bool | None:
        return self.facts.truths[condition.text]

    def value(self, expression: Expression) -> Value:
        return self.facts.values[expression.text]

    def messages(self, *steps: str) -> tuple[MessageState, ...]:
        """This enrollment's messages of these steps at its present visit."""
        return tuple(m for m in self.facts.messages if m.step in steps and m.visit == self.enrollment.visit)

    def later(self, since: datetime, until: datetime) -> datetime:
        """The end of a wait from `since` until then, without the pauses that it does not count (`resume --shift`)."""
        for first, last in self.enrollment.paused:
            began, ended = datetime.fromisoformat(first), datetime.fromisoformat(last)
            if ended > since and began < until:
                until += ended - max(began, since)
        return until

    def zone(self) -> ZoneInfo:
        """The unit's zone; the workspace's for want of a known one. For waits and dates, never for a legal window."""
        return _zone(self.facts.zone or "", self.facts.workspace_zone)


@cache
def _zone(name: str, workspace: str) -> ZoneInfo:
    return zone(name) or zone(workspace) or ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. Subclasses add the fields of their YAML; `orchestrator.reading` fills them by their types."""

    keyword: ClassVar[str] = ""
    passes: ClassVar[bool] = True
    """Whether the step behind this one, or one nested in it, can be come to in the same round."""
    ends: ClassVar[bool] = False
    """Whether nothing ever follows it."""
    waits: ClassVar[bool] = False
    """Whether time passes here, so that a loop through it is no endless one."""

    id: str
    span: Span

    def bodies(self) -> Mapping[str, tuple[Step, ...]]:
        """Nested steps by name, in order."""
        return {}

    def through(self) -> bool:
        """Whether the step behind this one can be reached without one of the nested steps."""
        bodies = self.bodies().values()
        return not bodies or not all(bodies)

    def jumps(self) -> tuple[str, ...]:
        """Ids of steps elsewhere in the journey that this one may lead to."""
        return ()

    def enters(self) -> tuple[str, ...]:
        """Names of other journeys that this one may lead into."""
        return ()

    def emits(self) -> str:
        """The type of the event that this one makes, if any."""
        return ""

    def parts(self) -> tuple[Step, ...]:
        """Steps this one performs itself (the sends of `first_of`): known by their ids, never stood at."""
        return ()

    def asks(self) -> tuple[Condition | Expression, ...]:
        """Conditions and expressions this step may look up when it is come to or woken (not those of nested steps)."""
        return ()

    def sends(self) -> tuple[tuple[str, Medium], ...]:
        """(step id, medium) of the messages this step itself may plan: for opened(…), recipients and templates."""
        return ()

    def listens(self) -> frozenset[str]:
        """Event types that may end a wait here: ingest wakes sleepers by them."""
        return frozenset()

    def watches(self) -> tuple[Condition | Expression, ...]:
        """What each tick re-reads for those who sleep here: they are woken when a condition is true, or when an
        expression's value is another than the one noted in `memory["value"]`."""
        return ()

    def arrive(self, here: Here) -> Outcome:
        """Called when the enrollment comes to this step."""
        raise NotImplementedError

    def wake(self, here: Here) -> Outcome:
        """Called when an enrollment that stayed here is due again; may be called at any time, any number of times."""
        return self.arrive(here)


@cache
def kinds() -> Mapping[str, type[Step]]:
    """Every step kind by its keyword, found in this package's modules; nothing else lists them."""
    found: dict[str, type[Step]] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        home = f"{__name__}.{module}"
        for item in vars(importlib.import_module(home)).values():
            if isinstance(item, type) and issubclass(item, Step) and item.keyword and item.__module__ == home:
                found[item.keyword] = item
    return found
