"""A journey as it was checked: triggers, who, how often, and its steps. A frozen version of one YAML file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal, cast

from channels.base import Medium
from orchestrator.condition import Condition, Expression, Scope, happened, segments_named
from orchestrator.model import Unit, Vocabulary
from orchestrator.problems import Problems, Span, suggest
from orchestrator.reading import BAD, Context, EventName, Share, option, outline, read, read_value
from orchestrator.source import Entry, Node, canonical, digest
from orchestrator.steps import Step, kinds
from orchestrator.steps.sending import SendStep
from orchestrator.terms import Happened, Heard, Rows, walk
from orchestrator.trigger import (
    ApiTrigger,
    AtTrigger,
    DateTrigger,
    EventTrigger,
    MilestoneTrigger,
    RiskTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    StageTrigger,
    TierTrigger,
    Trigger,
    TriggerForm,
    read_triggers,
)
from orchestrator.words import Rate, duration
from orchestrator.workspace import check_segment_units

__all__ = [
    "ApiTrigger",
    "AtTrigger",
    "DateTrigger",
    "EventTrigger",
    "Journey",
    "JourneyForm",
    "MilestoneTrigger",
    "MissedRuns",
    "Recipients",
    "Reentry",
    "RiskTrigger",
    "ScheduleTrigger",
    "SegmentTrigger",
    "StageTrigger",
    "Throttle",
    "TierTrigger",
    "Trigger",
    "arranged",
    "check_entries",
    "read_journey",
]


Status = Literal["draft", "live", "archived"]
"""Nobody enters yet · whom its triggers let in · nobody enters any more, who is inside finishes."""


@dataclass(frozen=True, slots=True)
class Recipients:
    """Whom of an account's contacts a send goes to: by role in this order, at most so many, of `each` role so many.

    `above`: behind the account's own, contacts of the accounts above it, the nearest first.
    """

    roles: tuple[str, ...] = ()
    at_most: int | None = None
    each: int | None = None
    above: bool = False


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


InFlight = Literal["finish", "migrate", "exit"]
"""What an edit does to those inside; with `migrate`, `Journey.moves` says where those go whose step is gone."""


LEAVES: Final = ("exit", "finish")
"""Words of a map of moves beside the ids of steps."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `count` sends in each `per`."""

    count: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """`version` hashes the canonical form and the segments it names. Step order is reading order, nested ones inside.

    Make one by hand with `_by_id` and `_next` from `arranged(steps)`.
    """

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
    status: Status = "live"
    holdout: float  # share, 0 to 1
    missed_runs: MissedRuns
    throttle: Throttle | None
    record: str | None  # the record type in scope, from the trigger
    event: str | None  # the triggering event's type, in scope as `event`
    steps: tuple[Step, ...]
    segments: frozenset[str]  # those it names, and those they name
    version: str
    span: Span
    moves: Mapping[str, str] = field(default_factory=dict)  # of `migrate`: former step → step here, or exit, or finish
    _by_id: Mapping[str, Step] = field(repr=False, compare=False)
    _next: Mapping[str, str | None] = field(repr=False, compare=False)
    _asks: dict[str, tuple[Condition | Expression, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def admits(self) -> bool:
        """Whether anybody may enter at all. Asked of the journey in force, never of a version that people keep."""
        return self.status == "live"

    @property
    def first(self) -> str | None:
        return self.steps[0].id if self.steps else None

    def step(self, step_id: str) -> Step:
        """Any step by id, the sends within a `first_of` too. KeyError when this version has no such step."""
        return self._by_id[step_id]

    def has(self, step_id: str) -> bool:
        """Whether an enrollment can stand at a step of that id in this version."""
        return step_id in self._next

    def after(self, step_id: str) -> str | None:
        """The step reached when this one is left: its next sibling, or what follows the step it is nested in."""
        return self._next[step_id]

    def ahead(self, step_id: str) -> frozenset[str]:
        """Ids of the steps that somebody there can still come to, that one included; "" is the beginning."""
        return frozenset(_reachable(step_id or self.first, self._by_id, self._next))

    def every_step(self) -> Iterator[Step]:
        """All steps in reading order, the sends within a `first_of` after it."""
        return iter(self._by_id.values())

    @property
    def needs_manager(self) -> bool:
        """Whether it has something for an account's manager that nobody gets where there is none."""
        return any(isinstance(step, SendStep) and step.needs_manager for step in self.every_step())

    def sends(self) -> Mapping[str, Medium]:
        """Every message the journey may plan: step id → medium."""
        return {sid: medium for s in self._by_id.values() for sid, medium in s.sends()}

    def listens(self) -> frozenset[str]:
        """Event types that may wake a sleeper: waits, goal, exits."""
        ends = [c.root for c in (self.goal, *self.exit_when) if c is not None]
        named = {n.event for root in ends for n in walk(root) if isinstance(n, Happened)}
        named |= {n.of for root in ends for n in walk(root) if isinstance(n, Rows) and n.holder == "event"}
        return frozenset(named.union(*(s.listens() for s in self._by_id.values())))

    def watches(self) -> tuple[Condition | Expression, ...]:
        """What each tick re-reads for sleepers: exit conditions on state, and fields a `wait_until` hangs on."""
        return tuple(dict.fromkeys(c for some in self.watched().values() for c in some))

    def watched(self) -> Mapping[str, tuple[Condition | Expression, ...]]:
        """`watches` by the step a sleeper has to stand at for it to matter; "": at any (goal and exits on state)."""
        ends = [c for c in (self.goal, *self.exit_when) if c is not None and not isinstance(c.root, (Happened, Heard))]
        found: dict[str, tuple[Condition | Expression, ...]] = {"": tuple(ends)} if ends else {}
        return found | {s.id: watched for s in self._by_id.values() if (watched := s.watches())}


def arranged(steps: Sequence[Step]) -> tuple[dict[str, Step], dict[str, str | None]]:
    """Steps by id in reading order, and the step reached when each is left."""
    by_id: dict[str, Step] = {}
    following: dict[str, str | None] = {}

    def arrange(some: Sequence[Step], behind: str | None) -> None:
        for number, step in enumerate(some):
            after = some[number + 1].id if number + 1 < len(some) else behind
            by_id[step.id] = step
            following[step.id] = after
            by_id.update({part.id: part for part in step.parts()})
            for body in step.bodies().values():
                arrange(body, after)

    arrange(steps, None)
    return by_id, following


# ---- as it is written -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalForm:
    """An event that ends the run: `{ event, where, within }`."""

    event: EventName = option("the event")
    where: Condition | None = option("which of these events count", default=None)
    within: timedelta | None = option("counted from the entry: 120 days", default=None)

    @classmethod
    def narrow(cls, node: Node, scope: Scope) -> Scope:
        event = node.get("event")
        return replace(scope, subject_event=event.text) if event is not None and event.kind == "scalar" else scope

    def condition(self, unit: Unit) -> Condition:
        seconds = None if self.within is None else int(self.within.total_seconds())
        return happened(self.event, self.where, "entry", unit, seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientsForm:
    """Whom of an account's contacts a send goes to."""

    role: tuple[str, ...] = option("roles, the most wanted first", default=())
    at_most: int | None = option("how many of them", low=1, high=1000, default=None)
    each: int | None = option("how many of each role: a buying committee", low=1, high=1000, default=None)
    above: bool = option("behind the account's own, contacts of the accounts above it", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedForm:
    """What becomes of runs that a stop of the system made late."""

    grace: timedelta = option("how late is still in time", default=timedelta(hours=12))
    then: Literal["skip", "latest", "all"] = option("of those that are later: none, the latest, all", default="latest")


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlightForm:
    """Everybody inside moves to the new version; where a step is gone, to which step, or out."""

    migrate: Mapping[str, str] = option("former step id: its id now, or `exit`, or `finish` (the version she is on)")


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyForm:
    """A journey: who enters, how often, what ends it, and its steps."""

    journey: str = option("its name; numbers and records hang on it, whatever the file is called")
    owner: str = option("who answers for it: an address or a name", default="")
    status: Literal["draft", "live", "archived"] = option(
        "draft: nobody enters yet; archived: nobody enters any more, those inside finish", default="live"
    )
    unit: Literal["customer", "account"] = option("what a run is about", default="customer")
    priority: int = option("who goes first when a cap leaves room for one, 0 to 100", default=50, low=0, high=100)
    trigger: tuple[TriggerForm | Literal["api"], ...] = option("what lets somebody in: one, or a list")
    audience: Condition | None = option("who may enter at all", default=None)
    recipients: RecipientsForm = option("whom of an account's contacts a send goes to", default=RecipientsForm())
    reentry: str | None = option("once, always, after 30 days, once per KEY", default=None)
    overlap: Literal["forbid", "allow"] | None = option(
        "whether a run may begin while another is under way; allowed where there is one run per key", default=None
    )
    goal: GoalForm | Condition | None = option("what ends the run as a success", default=None)
    exit_when: tuple[GoalForm | Condition, ...] = option("what ends the run at once", default=())
    in_flight: InFlightForm | InFlight = option(
        "what an edit does to those inside; a map says where those go whose step is gone: "
        "`{ migrate: { email:old: email:new, wait-2: exit } }`",
        default="finish",
    )
    holdout: Share = option("a share that is sent nothing, to compare with: 10%", default=Share(0.0))
    missed_runs: MissedForm = option("what becomes of runs that come late", default=MissedForm())
    throttle: Rate | None = option("at most so many messages in that time: 1000 per hour", default=None)
    steps: tuple[Step, ...] = option("what happens, in order")


def read_journey(
    node: Node, path: str, vocabulary: Vocabulary, segments: Mapping[str, Condition], problems: Problems
) -> Journey | None:
    """One journey file's content, or None with every mistake in it told.

    `segments` are the workspace's, checked; those the journey names become part of its version. Whether journeys that
    `enter` names exist is not seen from here: `check_entries`.
    """
    before = len(problems.errors)
    reading = _Reading(node, path, Context(problems, vocabulary, kinds=kinds()), segments)
    checked = reading.checked()
    if checked is None or len(problems.errors) > before:
        return None
    found = reading.made(*checked)
    return found if len(problems.errors) == before else None


class _Reading:
    """One file being read: the trigger first, for it decides what the conditions may name."""

    def __init__(self, node: Node, path: str, context: Context, segments: Mapping[str, Condition]) -> None:
        self.node, self.path, self.segments = node, path, segments
        self.context, self.problems = context, context.problems
        unit = node.get("unit")
        self.unit: Unit = "account" if unit is not None and unit.text == "account" else "customer"
        base = Scope(unit=self.unit)
        trigger = node.get("trigger")
        self.triggers: tuple[Trigger, ...] = ()
        if trigger is not None and not trigger.empty:
            self.triggers = read_triggers(trigger, self.unit, context.within(base))
        self.record, self.event = _in_scope(self.triggers)
        self.scope = replace(base, record=self.record, event=self.event)

    def checked(self) -> tuple[JourneyForm, Condition | None, Reentry] | None:
        """What is written, when it is right as far as reading it tells."""
        steps = self.node.get("steps")
        outlined = outline(steps, self.context)
        media = {o.id: cast("Medium", m) for o in outlined if (m := getattr(o.kind, "medium", None)) is not None}
        audience = self._audience()
        entries = [self._settled(e) for e in self.node.entries if e.key != "audience"]
        rest = replace(self.node, entries=tuple(entries))
        form = read(JourneyForm, rest, self.context.within(replace(self.scope, steps=media)))
        if form is None:
            return None
        if steps is not None and not form.steps:
            hint = "add a first step, such as `- email: welcome`"
            self.problems.error("empty-steps", "a journey without steps", steps.span, hint)
        _check_flow(form.steps, self.problems)
        self._check_form(form)
        self._check_units()
        reentry = self._reentry(form.reentry)
        return None if reentry is None else (form, audience, reentry)

    def _settled(self, entry: Entry) -> Entry:
        """The trigger is read already, and what is wrong with it told."""
        if entry.key != "trigger" or entry.value.empty:
            return entry
        return replace(entry, value=Node("scalar", entry.value.span, "api", "api", source=self.node.source))

    def _audience(self) -> Condition | None:
        entry = self.node.entry("audience")
        if entry is None:
            return None
        if entry.value.empty:
            hint = "say who may enter, such as `class == b2c`; leave the key out when everybody may"
            self.problems.error("empty-value", "`audience` has no value", entry.key_span, hint)
            return None
        node = entry.value
        found = read_value(Condition, node, self.context.within(self.scope))
        return None if found is BAD else cast("Condition", found)

    def _span(self, key: str) -> Span:
        entry = self.node.entry(key)
        return self.node.span if entry is None else entry.value.span

    def _check_form(self, form: JourneyForm) -> None:
        if form.unit == "customer" and self.node.get("recipients") is not None:
            hint = "remove it, or write `unit: account`"
            message = "a customer's journey has one recipient, the customer"
            self.problems.error("recipients-of-customer", message, self._span("recipients"), hint)
        if form.holdout >= 1:
            hint = "leave somebody in: `holdout: 10%`"
            self.problems.error("holdout-everybody", "nobody would be sent anything", self._span("holdout"), hint)
        self._check_moves(form)
        roles = form.recipients.role
        for step in arranged(form.steps)[0].values():
            strange = [r for r in getattr(step, "to", ()) if isinstance(step, SendStep) and not step.goes_elsewhere]
            for role in strange if roles else ():
                if role not in roles:
                    hint = suggest(role, roles) or "add it to the journey's `recipients`"
                    message = f"`{role}` is none of the journey's recipients"
                    self.problems.error("unknown-role", message, step.span, hint)

    def _check_moves(self, form: JourneyForm) -> None:
        """Where people are moved to exists in this version; what they stood at cannot be looked up here."""
        if not isinstance(form.in_flight, InFlightForm):
            return
        known = [*arranged(form.steps)[0], *LEAVES]
        said = self.node.get("in_flight")
        listed = said.get("migrate") if said is not None else None
        for entry in listed.entries if listed is not None else ():
            target = entry.value.text
            if target not in known:
                hint = suggest(target, known) or "name a step of this file by its id, or write `exit`"
                message = f"there is no step `{target}` to move to"
                self.problems.error("unknown-step-id", message, entry.value.span, hint)

    def _check_units(self) -> None:
        for trigger in self.triggers:
            if not isinstance(trigger, SegmentTrigger) or trigger.segment not in self.segments:
                continue
            unit = self.segments[trigger.segment].unit
            if unit != self.unit:
                hint = f"write `unit: {unit}`, or name a segment of {self.unit}s"
                message = f"the segment `{trigger.segment}` is one of {unit}s, and this is about {self.unit}s"
                self.problems.error("segment-unit", message, trigger.span, hint)

    def _reentry(self, text: str | None) -> Reentry | None:
        if text is None:
            return _usual_reentry(self.triggers)
        text = " ".join(text.split())
        if text in ("once", "always"):
            return Reentry("once" if text == "once" else "always")
        span = self._span("reentry")
        if text.startswith("after "):
            pause = duration(text.removeprefix("after "))
            if pause is not None and pause.exact:
                return Reentry("after", pause.exact)
            hint = "like `after 30 days`; months differ in length"
            self.problems.error("bad-reentry", "after how long?", span, hint)
            return None
        if text.startswith("once per "):
            key = text.removeprefix("once per ")
            known = [k for k in (self.record, *(t.run_by for t in self._events())) if k]
            known += [n for t in self._events() for n in self.context.vocabulary.events[t.event].fields]
            if key in known:
                return Reentry("key", None, key)
            hint = suggest(key, known) or "only a trigger by event or by a record's date has a key"
            self.problems.error("unknown-key-of-run", f"the trigger knows no `{key}`", span, hint)
            return None
        near = suggest(text, ("once", "always"))
        hint = near if near.startswith("did") else "`once`, `always`, `after 30 days`, or `once per KEY`"
        self.problems.error("bad-reentry", f"`{text}` does not say how often", span, hint)
        return None

    def _events(self) -> list[EventTrigger]:
        return [t for t in self.triggers if isinstance(t, EventTrigger)]

    def made(self, form: JourneyForm, audience: Condition | None, reentry: Reentry) -> Journey:
        by_id, following = arranged(form.steps)
        goal, goal_text = self._goal(form.goal)
        exits = tuple(e.condition(self.unit) if isinstance(e, GoalForm) else e for e in form.exit_when)
        conditions: list[Condition | Expression] = [c for c in (audience, goal, *exits) if c is not None]
        conditions += [t.where for t in self._events() if t.where is not None]
        conditions += [c for s in by_id.values() for c in (*s.asks(), *s.watches())]
        for condition in conditions:
            if isinstance(condition, Condition):
                check_segment_units(condition, self.segments, self.problems)
        named = {t.segment for t in self.triggers if isinstance(t, SegmentTrigger)}
        segments = _segments(named, conditions, self.segments)
        return Journey(
            name=form.journey,
            path=self.path,
            owner=form.owner,
            unit=self.unit,
            priority=form.priority,
            triggers=self.triggers,
            audience=audience,
            recipients=Recipients(
                form.recipients.role, form.recipients.at_most, form.recipients.each, form.recipients.above
            ),
            reentry=reentry,
            # Two contracts that end in one week are two runs: the second must not be lost to the first.
            overlap=form.overlap or _usual_overlap(self.triggers, reentry),
            goal=goal,
            goal_text=goal_text,
            exit_when=exits,
            in_flight="migrate" if isinstance(form.in_flight, InFlightForm) else form.in_flight,
            moves=dict(form.in_flight.migrate) if isinstance(form.in_flight, InFlightForm) else {},
            status=form.status,
            holdout=float(form.holdout),
            missed_runs=MissedRuns(form.missed_runs.grace, form.missed_runs.then),
            throttle=None if form.throttle is None else Throttle(form.throttle.count, form.throttle.per),
            record=self.record,
            event=self.event,
            steps=form.steps,
            segments=segments,
            version=self._version(segments),
            span=self._span("journey"),
            _by_id=by_id,
            _next=following,
        )

    def _goal(self, goal: GoalForm | Condition | None) -> tuple[Condition | None, str]:
        if goal is None:
            return None, ""
        if isinstance(goal, Condition):
            return goal, goal.text
        where = f" where {goal.where.text}" if goal.where else ""
        node = self.node.get("goal")
        within = node.get("within") if node is not None else None
        return goal.condition(self.unit), f"{goal.event}{where}" + (f" within {within.text}" if within else "")

    def _version(self, segments: frozenset[str]) -> str:
        pinned = [f"{n}\0{self.segments[n].unit}\0{self.segments[n].text}" for n in sorted(segments)]
        # Not the status: it says whether anybody enters, and nothing of the way of those who are inside. A journey that
        # is put live, or archived, is to them the one they are in.
        said = replace(self.node, entries=tuple(e for e in self.node.entries if e.key != "status"))
        return digest("journey", canonical(said), *pinned)


def _in_scope(triggers: Sequence[Trigger]) -> tuple[str | None, str | None]:
    """(record type, event type) that every one of the triggers brings along."""
    records = {_record_of(t) for t in triggers}
    events = {_event_of(t) for t in triggers}
    return (records.pop() if len(records) == 1 else None), (events.pop() if len(events) == 1 else None)


def _event_of(trigger: Trigger) -> str | None:
    if isinstance(trigger, EventTrigger | MilestoneTrigger):
        return trigger.event
    return trigger.of if isinstance(trigger, DateTrigger) and trigger.source == "event" else None


def _record_of(trigger: Trigger) -> str | None:
    if isinstance(trigger, StageTrigger):
        return trigger.record
    return trigger.of if isinstance(trigger, DateTrigger) and trigger.source == "record" else None


def _usual_reentry(triggers: Sequence[Trigger]) -> Reentry:
    """Once; but what comes again by its nature (a date, a schedule, a keyed event) once for each time it comes."""
    keys = {t.run_by for t in triggers if isinstance(t, EventTrigger)}
    if triggers and all(isinstance(t, EventTrigger) for t in triggers) and len(keys) == 1 and (key := keys.pop()):
        return Reentry("key", None, key)
    again = (DateTrigger, ScheduleTrigger, AtTrigger, StageTrigger, RiskTrigger, MilestoneTrigger)
    return Reentry("always") if triggers and all(isinstance(t, again) for t in triggers) else Reentry("once")


def _usual_overlap(triggers: Sequence[Trigger], reentry: Reentry) -> Literal["forbid", "allow"]:
    """A run for each contract is a run for each, also when two of them end in the same weeks."""
    dated = [t for t in triggers if _record_of(t) or (isinstance(t, DateTrigger) and t.source == "event")]
    each = reentry.kind == "key" or (reentry.kind == "always" and bool(dated) and len(dated) == len(triggers))
    return "allow" if each else "forbid"


def _segments(
    named: Iterable[str], conditions: Iterable[Condition | Expression], segments: Mapping[str, Condition]
) -> frozenset[str]:
    """Names of segments, and of those that they name."""
    waiting = [*named, *segments_named(*conditions)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found and name in segments:
            found.add(name)
            waiting += segments_named(segments[name])
    return frozenset(found)


# ---- where steps lead -----------------------------------------------------------------------------------------------


def _check_flow(steps: Sequence[Step], problems: Problems) -> None:
    """Jumps to nowhere, steps nobody comes to, loops in which no time passes."""
    by_id, following = arranged(steps)
    for step in by_id.values():
        for target in step.jumps():
            if target not in following:
                hint = suggest(target, following) or "name a step by its id, such as `email:welcome`"
                if target in by_id:
                    hint = "it is one of a `first_of`: name that one instead"
                problems.error("unknown-step-id", f"there is no step `{target}` to go to", step.span, hint)
    reached = _reachable(steps[0].id if steps else None, by_id, following)
    _tell_unreached(steps, reached, problems)
    for step in by_id.values():
        for target in step.jumps():
            if target in following and step.id in _reachable(target, by_id, following, stop_at_waits=True):
                hint = "add a `wait` between them"
                message = f"from `{target}` back to here no time passes: all its rounds come at once"
                problems.error("loop-without-wait", message, step.span, hint)


def _reachable(
    start: str | None, by_id: Mapping[str, Step], following: Mapping[str, str | None], *, stop_at_waits: bool = False
) -> set[str]:
    """Ids of all steps that can be come to from one on, itself included."""
    found: set[str] = set()
    waiting = [start] if start is not None else []
    while waiting:
        step = by_id[waiting.pop()]
        if step.id in found:
            continue
        found.add(step.id)
        if step.ends or (stop_at_waits and step.waits):
            continue
        ahead = [body[0].id for body in step.bodies().values() if body]
        ahead += [target for target in step.jumps() if target in following]
        if step.through():
            ahead += [behind] if (behind := following[step.id]) is not None else []
        waiting += ahead
    return found


def _tell_unreached(steps: Sequence[Step], reached: set[str], problems: Problems) -> None:
    for step in steps:
        if step.id not in reached:
            hint = "remove it, or move it before the step that ends the run or leads away"
            problems.error("unreachable-step", "nobody ever comes to this step", step.span, hint)
            return
        for body in step.bodies().values():
            _tell_unreached(body, reached, problems)


def check_entries(journeys: Mapping[str, Journey], problems: Problems) -> None:
    """Whether the journeys that `enter` names exist and are about the same kind of unit."""
    for journey in journeys.values():
        for step in journey.every_step():
            for name in step.enters():
                other = journeys.get(name)
                if other is None:
                    hint = suggest(name, journeys) or "name it by what its file says after `journey:`"
                    problems.error("unknown-journey", f"there is no journey `{name}`", step.span, hint)
                elif other.unit != journey.unit:
                    hint = f"enter a journey about {journey.unit}s"
                    message = f"`{name}` is about {other.unit}s, this journey about {journey.unit}s"
                    problems.error("wrong-unit", message, step.span, hint)
                elif journey.admits and not other.admits:
                    what = "a draft" if other.status == "draft" else "archived"
                    hint = f"put `{name}` live, make this a draft, too, or take the step out"
                    problems.error("enter-closed", f"`{name}` is {what}: nobody enters it", step.span, hint)
    _tell_circles(journeys, problems)


def _tell_circles(journeys: Mapping[str, Journey], problems: Problems) -> None:
    """Journeys that begin each other without a wait, each again and again: a `goto` without its `max`."""
    at_once = {journey.name: _begins_at_once(journey, journeys) for journey in journeys.values()}
    told: set[str] = set()
    for name, ahead in at_once.items():
        for other, step in ahead.items():
            round_, waiting = {other}, [other]
            while waiting:
                new = at_once[waiting.pop()].keys() - round_
                round_ |= new
                waiting += new
            if name in round_ and not told & round_:
                told |= round_
                message = f"from `{other}` back to here no time passes: runs would begin without end"
                hint = f"add a `wait` before it, or let `{other}` begin but once: `reentry: once`"
                problems.error("loop-without-wait", message, step.span, hint)


def _begins_at_once(journey: Journey, journeys: Mapping[str, Journey]) -> dict[str, Step]:
    """Journeys of which a run of this one begins a new run without a wait, and the step that does."""
    by_id, following = arranged(journey.steps)
    found: dict[str, Step] = {}
    for step_id in sorted(_reachable(journey.first, by_id, following, stop_at_waits=True)):
        step = by_id[step_id]
        for other in journeys.values():
            if other.unit == journey.unit and other.reentry.kind == "always" and _begins(step, other):
                found.setdefault(other.name, step)
    return found


def _begins(step: Step, other: Journey) -> bool:
    heard = {t.event for t in other.triggers if isinstance(t, EventTrigger) and t.where is None and t.run_by is None}
    return other.name in step.enters() or step.emits() in heard
