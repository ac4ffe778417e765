"""What lets somebody into a journey: kinds of triggers, and how they are read. When they fire: `occurrences`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

from cronsim import CronSim, CronSimError
from dateutil.rrule import rrule, rruleset, rrulestr

from orchestrator.condition import Condition, Scope
from orchestrator.model import Field, Kind, Unit, Vocabulary
from orchestrator.problems import Problems, Span, suggest
from orchestrator.reading import BAD, Context, EventName, Offset, RecordName, SegmentName, option, read_value, unknown
from orchestrator.source import Node, canonical, digest
from orchestrator.stages import STAGE, has_stages
from orchestrator.words import Duration, Stamp
from orchestrator.zones import instant, zone


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
class StageTrigger:
    """Enters whoever has a record whose stage changes to one of `to` (none: any), out of one of `from_` (none: any).

    A record that is new has not changed, unless `include_new`. With `stalled` it enters when a record has stood in one
    of `to` for so long: one run for each time it came into that stage. `include_existing`: also those that stood so
    long when the journey began.
    """

    record: str
    to: tuple[str, ...] = ()
    from_: tuple[str, ...] = ()
    include_new: bool = False
    stalled: Duration | None = None
    include_existing: bool = False
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskTrigger:
    """Enters who would lose the tier, or points, within that time, as things stand: at a wall time in the unit's zone,
    once for the day on which they would be lost."""

    of: Literal["tier", "points"] = "tier"
    within: Duration
    at: time = time(9)
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneTrigger:
    """Enters with the `count`-th such event there ever was, by arrival; never for one behind it."""

    event: str
    count: int
    key: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiTrigger:
    """Enters by a call (web, CLI). Run key: the caller's own."""

    key: str
    span: Span


Trigger = (
    SegmentTrigger
    | EventTrigger
    | AtTrigger
    | ScheduleTrigger
    | DateTrigger
    | TierTrigger
    | StageTrigger
    | RiskTrigger
    | MilestoneTrigger
    | ApiTrigger
)


def in_words(trigger: Trigger) -> str:
    """One line that says when it fires: `90 days before contract.ends, at 09:00`."""
    match trigger:
        case SegmentTrigger():
            verb = "comes into" if trigger.direction == "entry" else "leaves"
            return f"{verb} the segment {trigger.segment}"
        case EventTrigger():
            where = f" where {trigger.where.text}" if trigger.where else ""
            return f"event {trigger.event}{where}" + (f", once for each {trigger.run_by}" if trigger.run_by else "")
        case AtTrigger():
            whose = "in each one's own zone" if trigger.local else "UTC"
            waves = f", in {trigger.waves} waves" if trigger.waves > 1 else ""
            return f"once, {trigger.at:%Y-%m-%d %H:%M} {whose}{waves}"
        case ScheduleTrigger():
            whose = "each one's own zone" if trigger.timezone == "recipient" else trigger.timezone
            return f"schedule {trigger.cron or trigger.rrule}, in {whose}"
        case DateTrigger():
            of = (
                trigger.field_name
                if trigger.source in ("customer", "account")
                else f"{trigger.of}.{trigger.field_name}"
            )
            day = f"every year on {of}" if trigger.every_year else f"on {of}"
            if offset := _offset_words(trigger):
                day = f"{offset} {of}" + (" every year" if trigger.every_year else "")
            return f"{day}, at {trigger.at:%H:%M}"
        case TierTrigger():
            to = f" to {' or '.join(trigger.to)}" if trigger.to else ""
            return f"tier changes{to}" if trigger.direction == "any" else f"tier goes {trigger.direction}{to}"
        case StageTrigger():
            stages = f" to {' or '.join(trigger.to)}" if trigger.to else ""
            if trigger.stalled is not None:
                return f"{trigger.record} has been in {' or '.join(trigger.to)} for {trigger.stalled}"
            before = f" from {' or '.join(trigger.from_)}" if trigger.from_ else ""
            return f"stage of {trigger.record} changes{before}{stages}"
        case RiskTrigger():
            what = "would lose the tier" if trigger.of == "tier" else "points expire"
            return f"{what} within {trigger.within}, at {trigger.at:%H:%M}"
        case MilestoneTrigger():
            return f"event {trigger.event}, number {trigger.count} ever"
        case ApiTrigger():
            return "entered by a call alone"


def _offset_words(trigger: DateTrigger) -> str:
    unit = "business day" if trigger.business_days else "day"
    parts = [(abs(trigger.offset_months), "month"), (abs(trigger.offset_days), unit)]
    told = " and ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in parts if n)
    side = "before" if min(trigger.offset_months, trigger.offset_days) < 0 else "after"
    return f"{told} {side}" if told else ""


# ---- as they are written --------------------------------------------------------------------------------------------

_GOES_WITH: Mapping[str, tuple[str, ...]] = {
    "segment_entry": ("include_existing",),
    "segment_exit": ("include_existing",),
    "event": ("where", "key"),
    "at": ("waves", "every"),
    "schedule": ("timezone",),
    "date": ("at", "leap_day"),
    "tier_change": ("to",),
    "tier_at_risk": ("at",),
    "points_expiring": ("at",),
    "milestone": ("at",),
    "stage_change": ("to", "from", "stalled", "include_new", "include_existing"),
    "api": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskEntry:
    """Who would lose the tier at a review to come, as things stand."""

    within: Duration = option("so long before that day: 30 days")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiringEntry:
    """Who has points that expire."""

    within: Duration = option("so long before the last day on which they can be spent: 30 days")


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneEntry:
    """A number of events, or a time since somebody came."""

    event: EventName | None = option("which event is counted; with `count`", default=None)
    count: int | None = option("the run begins with this one of them", default=None, low=1, high=1_000_000)
    orders: int | None = option("so many purchases: `program.value`'s event", default=None, low=1, high=1_000_000)
    joined: Duration | None = option("so long after `joined`: 1 year", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerForm:
    """What begins a run: one of these keys, with the options that go with it."""

    span: Span
    segment_entry: SegmentName | None = option("who comes into this segment", default=None)
    segment_exit: SegmentName | None = option("who leaves this segment", default=None)
    include_existing: bool = option("also those who are in (or out) when the journey begins", default=False)
    event: EventName | None = option("whoever this event happens to", default=None)
    where: Condition | None = option("which of these events count", default=None)
    key: str | None = option("a property of the event: one run for each of its values", default=None)
    at: Stamp | time | None = option("once, at `2027-03-01 09:00 Europe/Berlin`; with `date`, the time", default=None)
    waves: int = option("in so many equal parts", default=1, low=1, high=1000)
    every: timedelta | None = option("how far apart the waves are: 2 hours", default=None)
    schedule: str | None = option("a cron line such as `0 9 * * mon`, or an RRULE", default=None)
    timezone: str | None = option("whose clock: a zone's name, or recipient", default=None)
    date: Offset | None = option("`90 days before contract.ends`, `every year on joined`", checked=False, default=None)
    leap_day: Literal["feb_28", "mar_1"] = option("when 29 February is kept in other years", default="feb_28")
    tier_change: Literal["up", "down", "any"] | None = option("who moves up or down", default=None)
    to: tuple[str, ...] = option("into these tiers, or stages, only", default=())
    from_: tuple[str, ...] = option("out of these stages only", default=())
    api: bool = option("entered by a call alone", default=False)
    tier_at_risk: RiskEntry | None = option("who would lose the tier, as things stand", default=None)
    points_expiring: ExpiringEntry | None = option("who has points that expire soon", default=None)
    milestone: MilestoneEntry | None = option("who comes to a number of orders, or of years", default=None)
    stage_change: RecordName | None = option("a record whose stage changes: opportunity", default=None)
    stalled: Duration | None = option("not the change, but this long without another: 30 days", default=None)
    include_new: bool = option("also records that are new, and in such a stage", default=False)

    @classmethod
    def narrow(cls, node: Node, scope: Scope) -> Scope:
        event = node.get("event")
        return replace(scope, subject_event=event.text) if event is not None and event.kind == "scalar" else scope

    def check(self, node: Node, context: Context) -> None:
        problems = context.problems
        named = [k for k in _GOES_WITH if node.get(k) is not None and not (k == "at" and _has_day(node))]
        if len(named) != 1:
            hint = "a list of triggers begins each with `- `" if named else "one of: " + ", ".join(_GOES_WITH)
            message = "several triggers in one: " + ", ".join(named) if named else "nothing that could begin a run"
            problems.error("one-trigger", message, node.span, hint)
            return
        for entry in node.entries:
            if entry.key != named[0] and entry.key not in _GOES_WITH[named[0]]:
                hint = "it takes " + ", ".join(f"`{k}`" for k in _GOES_WITH[named[0]]) if _GOES_WITH[named[0]] else ""
                problems.error("unused-key", f"`{entry.key}` does not go with `{named[0]}`", entry.key_span, hint)


def _has_day(node: Node) -> bool:
    """Whether something else finds the day, so that `at` is the time alone."""
    return any(node.get(key) is not None for key in ("date", "tier_at_risk", "points_expiring", "milestone"))


def read_triggers(node: Node, unit: Unit, context: Context) -> tuple[Trigger, ...]:
    """A journey's `trigger`: one, or a list; without those that are wrong, whose problems are told."""
    return tuple(
        t for n in (node.items if node.kind == "list" else (node,)) if (t := _read(n, unit, context)) is not None
    )


def _read(node: Node, unit: Unit, context: Context) -> Trigger | None:
    key = digest(canonical(node))[:16]
    if node.kind == "scalar" and node.text == "api":
        return ApiTrigger(key=key, span=node.span)
    before = len(context.problems.errors)
    form = read_value(TriggerForm, node, context)
    if form is BAD or len(context.problems.errors) > before:
        return None
    return _Reader(node, unit, context, key).trigger(form)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes a trigger of a form that is right as far as single keys go."""

    node: Node
    unit: Unit
    context: Context
    key: str

    @property
    def problems(self) -> Problems:
        return self.context.problems

    @property
    def vocabulary(self) -> Vocabulary:
        return self.context.vocabulary

    def span(self, key: str) -> Span:
        found = self.node.get(key)
        return found.span if found is not None else self.node.span

    def trigger(self, form: TriggerForm) -> Trigger | None:
        if form.segment_entry or form.segment_exit:
            direction: Literal["entry", "exit"] = "entry" if form.segment_entry else "exit"
            segment = str(form.segment_entry or form.segment_exit)
            return SegmentTrigger(
                segment=segment,
                direction=direction,
                include_existing=form.include_existing,
                key=self.key,
                span=self.node.span,
            )
        if form.event:
            return self._event(form)
        if form.date:
            return self._date(form, form.date)
        if form.tier_at_risk:
            at = self._time(form)
            within = form.tier_at_risk.within
            return None if at is None else RiskTrigger(within=within, at=at, key=self.key, span=self.node.span)
        if form.points_expiring:
            at = self._time(form)
            within = form.points_expiring.within
            if at is None:
                return None
            return RiskTrigger(of="points", within=within, at=at, key=self.key, span=self.node.span)
        if form.milestone:
            return self._milestone(form, form.milestone)
        if form.at:
            return self._at(form)
        if form.schedule:
            return self._schedule(form, form.schedule)
        if form.stage_change:
            return self._stage(form, form.stage_change)
        if form.tier_change:
            tiers = self.vocabulary.tiers()
            for word in self._strange("to", tiers):
                unknown(self.problems, "tier", word.text, word.span, tiers, " in workspace.yaml")
            return TierTrigger(direction=form.tier_change, to=form.to, key=self.key, span=self.node.span)
        return ApiTrigger(key=self.key, span=self.node.span)

    def _time(self, form: TriggerForm) -> time | None:
        """`at` beside what finds the day."""
        if isinstance(form.at, Stamp):
            hint = "write the time alone, `at: 09:00`"
            self.problems.error("day-and-date", "two days for one trigger", self.span("at"), hint)
            return None
        return form.at or time(9)

    def _milestone(self, form: TriggerForm, said: MilestoneEntry) -> MilestoneTrigger | DateTrigger | None:
        node = self.node.get("milestone")
        named = [name for name in ("event", "orders", "joined") if getattr(said, name) is not None]
        if len(named) != 1 or (said.event is None) != (said.count is None):
            message = "a milestone is one of a number of events, of orders, and a time since somebody joined"
            hint = "write `{ event: order_placed, count: 10 }`, `{ orders: 10 }` or `{ joined: 1 year }`"
            self.problems.error("which-milestone", message, self.span("milestone"), hint)
            return None
        if said.joined is not None:
            return self._since_joined(form, said.joined)
        if (entry := self.node.entry("at")) is not None:
            hint = "leave it out: the run begins with the event"
            self.problems.error("unused-key", "`at` does not go with events", entry.key_span, hint)
            return None
        event = said.event or self.vocabulary.loyalty.purchase or "order_placed"
        if event not in self.vocabulary.events:
            place = node.get("orders") if node is not None else None
            message = "which event is an order is not said"
            hint = "name it in `program`: `value: { orders: bought.amount }`, or write `{ event: …, count: 10 }`"
            self.problems.error("which-milestone", message, place.span if place else self.node.span, hint)
            return None
        return MilestoneTrigger(event=event, count=said.count or said.orders or 1, key=self.key, span=self.node.span)

    def _since_joined(self, form: TriggerForm, length: Duration) -> DateTrigger | None:
        node = self.node.get("milestone")
        place = (node.get("joined") if node is not None else None) or self.node
        if length.seconds or not (length.days or length.months or length.business):
            hint = "count in days, months or years, and say the time with `at: 10:30`"
            self.problems.error("hours-from-date", "a day is found by counting days", place.span, hint)
            return None
        at = self._time(form)
        if at is None:
            return None
        return DateTrigger(
            of=self.unit,
            source=self.unit,
            field_name="joined",
            offset_days=length.business or length.days,
            offset_months=length.months,
            business_days=bool(length.business),
            at=at,
            key=self.key,
            span=self.node.span,
        )

    def _event(self, form: TriggerForm) -> EventTrigger | None:
        assert form.event is not None
        fields = self.vocabulary.events[form.event].fields
        if form.key is not None and form.key not in fields:
            message = f"the event `{form.event}` has no property `{form.key}`"
            self.problems.error("unknown-property", message, self.span("key"), suggest(form.key, fields))
            return None
        return EventTrigger(event=form.event, where=form.where, run_by=form.key, key=self.key, span=self.node.span)

    def _at(self, form: TriggerForm) -> AtTrigger | None:
        if not isinstance(form.at, Stamp):
            hint = "write the day as well: `2027-03-01 09:00 Europe/Berlin`"
            self.problems.error("at-without-day", "a time without a day", self.span("at"), hint)
            return None
        if form.waves > 1 and form.every is None:
            hint = "say how far apart: `every: 2 hours`"
            self.problems.error("waves-without-every", "waves all at once are none", self.span("waves"), hint)
            return None
        wall, name = form.at.wall, form.at.zone or self.vocabulary.timezone
        if not 2000 <= wall.year <= 2200:
            hint = "a year from 2000 to 2200"
            self.problems.error("wrong-type", f"{wall.year:04} is no year to send anything in", self.span("at"), hint)
            return None
        local = name == "recipient"
        tz = None if local else zone(name)
        if tz is None and not local:
            hint = suggest(name, _NEAR_ZONES) or "a name of the IANA database, such as `Europe/Berlin`, or `recipient`"
            self.problems.error("unknown-zone", f"there is no time zone `{name}`", self.span("at"), hint)
            return None
        return AtTrigger(
            at=wall.replace(tzinfo=UTC) if tz is None else instant(wall.date(), wall.time(), tz),
            local=local,
            waves=form.waves,
            wave_gap=form.every or timedelta(0),
            key=self.key,
            span=self.node.span,
        )

    def _schedule(self, form: TriggerForm, text: str) -> ScheduleTrigger | None:
        name = form.timezone or self.vocabulary.timezone
        before = len(self.problems.errors)
        if name != "recipient" and zone(name) is None:
            hint = suggest(name, _NEAR_ZONES) or "a name of the IANA database, such as `Europe/Berlin`, or `recipient`"
            self.problems.error("unknown-zone", f"there is no time zone `{name}`", self.span("timezone"), hint)
        by_rule = "FREQ=" in text.upper()
        if wrong := rule_mistake(text) if by_rule else cron_mistake(text):
            self.problems.error("bad-schedule", wrong[0], self.span("schedule"), wrong[1])
        if len(self.problems.errors) > before:
            return None
        return ScheduleTrigger(
            cron=None if by_rule else text,
            rrule=text if by_rule else None,
            timezone=name,
            key=self.key,
            span=self.node.span,
        )

    def _date(self, form: TriggerForm, offset: Offset) -> DateTrigger | None:
        owner = self._owner(offset)
        if owner is None:
            return None
        of, source, found = owner
        if found.kind is not Kind.DATE:
            hint = "a trigger by date needs a field of kind `date`"
            message = f"`{offset.field}` is no date but {found.kind.value.replace('_', '/')}"
            self.problems.error("not-a-date", message, offset.field_span, hint)
            return None
        if offset.amount.seconds:
            hint = "count in days, and say the time with `at: 10:30`"
            self.problems.error("hours-from-date", "a day is found by counting days", offset.span, hint)
            return None
        if isinstance(form.at, Stamp):
            hint = "the day comes from `date`; write the time alone, `at: 09:00`"
            self.problems.error("day-and-date", "two days for one trigger", self.span("at"), hint)
            return None
        if self.node.get("leap_day") is not None and not offset.every_year:
            hint = "it goes with `every year on …`"
            self.problems.error("unused-key", "`leap_day` says nothing here", self.span("leap_day"), hint)
            return None
        sign = -1 if offset.side == "before" else 1
        return DateTrigger(
            of=of,
            source=source,
            field_name=found.name,
            offset_days=sign * (offset.amount.business or offset.amount.days),
            offset_months=sign * offset.amount.months,
            business_days=bool(offset.amount.business),
            every_year=offset.every_year,
            leap_day=form.leap_day,
            at=form.at or time(9),
            key=self.key,
            span=self.node.span,
        )

    def _stage(self, form: TriggerForm, name: str) -> StageTrigger | None:
        record, before = self.vocabulary.records[name], len(self.problems.errors)
        if not has_stages(record):
            hint = "declare a field `stage: { one_of: [lead, proposal, won, lost] }` of it in workspace.yaml"
            self.problems.error("no-stages", f"a `{name}` has no stages", self.span("stage_change"), hint)
        elif record.of != self.unit:
            message = f"a `{name}` belongs to {_a(record.of)}, and this journey is about {_a(self.unit)}"
            self.problems.error("wrong-unit", message, self.span("stage_change"), f"write `unit: {record.of}`")
        else:
            stages = record.fields[STAGE].choices
            for word in (*self._strange("to", stages), *self._strange("from", stages)):
                unknown(self.problems, "stage", word.text, word.span, stages, f" of `{name}` in workspace.yaml")
        if form.stalled is not None and not form.to:
            hint = "say in which stages: `to: [proposal, negotiation]`; who has won is not stalled"
            self.problems.error("stalled-where", "stalled in what stage?", self.span("stalled"), hint)
        for key, wrong in (
            ("from", form.stalled),
            ("include_new", form.stalled),
            ("include_existing", not form.stalled),
        ):
            if wrong and (entry := self.node.entry(key)) is not None:
                beside = "with `stalled`" if form.stalled else "without `stalled`"
                self.problems.error("unused-key", f"`{key}` says nothing {beside}", entry.key_span, "remove it")
        if len(self.problems.errors) > before:
            return None
        return StageTrigger(
            record=name,
            to=form.to,
            from_=form.from_,
            include_new=form.include_new,
            stalled=form.stalled,
            include_existing=form.include_existing,
            key=self.key,
            span=self.node.span,
        )

    def _strange(self, key: str, known: Collection[str]) -> list[Node]:
        """The words of a list that are none of these."""
        said = self.node.get(key)
        words = () if said is None else said.items if said.kind == "list" else (said,)
        return [word for word in words if word.text not in known]

    def _owner(self, offset: Offset) -> tuple[str, Literal["customer", "account", "record", "event"], Field] | None:
        """Whose field `contract.ends` is; None with a problem."""
        head, dot, name = offset.field.partition(".")
        if not dot:
            head, name = self.unit, offset.field
        source: Literal["customer", "account", "record", "event"]
        if head in ("customer", "account"):
            source = "customer" if head == "customer" else "account"
            fields = self.vocabulary.customer if source == "customer" else self.vocabulary.account
            if source == "customer" and self.unit == "account":
                hint = "a date of a person begins a customer's journey: remove `unit: account`"
                self.problems.error("wrong-unit", "an account is not one customer", offset.field_span, hint)
                return None
        elif head in self.vocabulary.records:
            record = self.vocabulary.records[head]
            source, fields = "record", record.fields
            if record.of != self.unit:
                hint = f"write `unit: {record.of}`"
                message = f"a `{head}` belongs to {_a(record.of)}, and this journey is about {_a(self.unit)}"
                self.problems.error("wrong-unit", message, offset.field_span, hint)
                return None
        elif head in self.vocabulary.events:
            source, fields = "event", self.vocabulary.events[head].fields
        else:
            known = ["account", *self.vocabulary.records, *self.vocabulary.events]
            unknown(self.problems, "record or event", head, offset.field_span, known, " in workspace.yaml")
            return None
        if name not in fields:
            dates = [n for n, f in fields.items() if f.kind is Kind.DATE]
            hint = suggest(name, dates) or "declare it in workspace.yaml first"
            if not dot and (near := self._elsewhere(name)):
                hint = f"did you mean `{near}`?"
            self.problems.error("unknown-field", f"`{head}` has no field `{name}`", offset.field_span, hint)
            return None
        return head, source, fields[name]

    def _elsewhere(self, name: str) -> str:
        return next((f"{r.name}.{name}" for r in self.vocabulary.records.values() if name in r.fields), "")


_NEAR_ZONES = (
    "recipient", "Europe/Berlin", "Europe/Vienna", "Europe/Zurich", "Europe/London", "Europe/Paris", "Europe/Madrid",
    "Europe/Rome", "Europe/Amsterdam", "Europe/Warsaw", "America/New_York", "America/Chicago", "America/Denver",
    "America/Los_Angeles", "America/Sao_Paulo", "Asia/Tokyo", "Asia/Singapore", "Asia/Dubai", "Asia/Kolkata",
    "Australia/Sydney", "Pacific/Auckland", "UTC",
)  # fmt: skip


def _a(unit: Unit) -> str:
    return "an account" if unit == "account" else "a customer"


# ---- calendar rules -------------------------------------------------------------------------------------------------

ANCHOR = datetime(2024, 1, 1, 9)  # noqa: DTZ001  # wall time: where a rule without DTSTART counts from, a Monday
_TOO_OFTEN = ("SECONDLY", "MINUTELY", "HOURLY")


def cron_mistake(text: str) -> tuple[str, str] | None:
    """What is wrong with a cron line, and what to do."""
    hint = "minute, hour, day of month, month, day of week: `0 9 * * mon` is Mondays at nine"
    parts = text.split()
    if len(parts) != 5:
        return f"a cron line has five fields, not {len(parts)}", hint
    try:
        next(CronSim(text, ANCHOR))
    except CronSimError as error:
        return f"this cron line cannot be read: {str(error)[:1].lower()}{str(error)[1:]}", hint
    except StopIteration:
        return "this schedule never comes", hint
    return None


def rule_mistake(text: str) -> tuple[str, str] | None:
    """What is wrong with an RRULE, and what to do."""
    upper = text.upper()
    if any(f"FREQ={often}" in upper for often in _TOO_OFTEN):
        return "a rule this often is not kept", "write it as a cron line, such as `0 * * * *`"
    if "COUNT=" in upper and "DTSTART" not in upper:
        return "`COUNT` counts from a beginning, and there is none", "add a `DTSTART:20270104T090000` line before it"
    if re.search(r"INTERVAL=0*(;|\s|$)", upper):  # dateutil would count on the spot for ever
        return "an `INTERVAL` of nothing", "count from 1"
    try:
        first = next(iter(parsed_rule(text)), None)
    except Exception:  # dateutil raises whatever comes of it, such as IndexError at BYDAY=31MO
        return "this RRULE cannot be read", "write it like `FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=9;BYMINUTE=0`"
    if first is None:
        return "this schedule never comes", "look at its days and months again"
    if first.tzinfo is not None:
        return "a time in this RRULE carries a zone", "remove it, and name the zone in `timezone`"
    return None


@lru_cache(maxsize=512)
def parsed_rule(text: str) -> rrule | rruleset:
    """An RRULE over wall time. ValueError and the like when it cannot be read."""
    return rrulestr(text.replace(" RRULE:", "\nRRULE:"), dtstart=ANCHOR, cache=True)


def rule_walls(text: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """Wall times of an RRULE in [first, last], in order."""
    yield from parsed_rule(text).between(first, last, inc=True)


def cron_walls(text: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """Wall times of a cron line in [first, last], in order."""
    for wall in CronSim(text, first - timedelta(seconds=1)):
        if wall > last:
            return
        yield wall
