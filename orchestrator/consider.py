"""Would somebody enter, and if not, what is in the way? A journey's conditions asked of one unit. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator.apply import Force, trigger_key
from orchestrator.condition import Condition
from orchestrator.dates import add_business_days, add_months, after, anniversary, day_after
from orchestrator.engine import draw
from orchestrator.journey import (
    ApiTrigger,
    AtTrigger,
    DateTrigger,
    EventTrigger,
    Journey,
    MilestoneTrigger,
    MissedRuns,
    RiskTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    StageTrigger,
    TierTrigger,
    Trigger,
)
from orchestrator.model import Enrollment, scored
from orchestrator.occurrences import due_runs
from orchestrator.stages import STAGE
from orchestrator.store import bygone, explain, tiers, versions
from orchestrator.store.explain import Part, Row, Who
from orchestrator.store.versions import Watermark
from orchestrator.trigger import in_words
from orchestrator.zones import instant, zone

__all__ = ["Asked", "Audience", "Entry", "Part", "consider", "paused"]

_HORIZONS = (1, 8, 40, 400)  # days: the first that holds an occurrence is enough
_SHOWN = 3
_NOT_YET = "not looked at yet: the next tick does"
_IN_THE_WAY = "it began no run: the audience or the rules of re-entry were in the way then"
_OF_OLD = "it is made of what was known before the programme came in force, which begins no run"


@dataclass(frozen=True, slots=True)
class Asked:
    """One trigger: in words, where it stands, what it knows of this unit, and its condition part by part.

    `holds`: whether it would begin a run at the next tick, as far as can be told; None where that hangs on time.
    """

    words: str
    file: str
    line: int
    holds: bool | None
    told: tuple[str, ...]
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Audience:
    """The audience, part by part; `about`: the record or event it was judged with, "" where it needs none."""

    about: str
    parts: tuple[Part, ...]

    @property
    def holds(self) -> bool:
        """Kleene's logic: unknown is no match."""
        return all(part.truth is True for part in self.parts)


@dataclass(frozen=True, slots=True)
class Entry:
    """Whether somebody would enter a journey now, and every reason why not.

    `blocks`: what is in the way whatever the conditions say. `notes`: what else one should know.
    """

    journey: str
    unit: str
    file: str
    line: int
    triggers: tuple[Asked, ...] = ()
    audiences: tuple[Audience, ...] = ()
    blocks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether nothing but a trigger is missing."""
        return not self.blocks and (not self.audiences or any(a.holds for a in self.audiences))

    @property
    def first_reason(self) -> str:
        """The first thing in the way, in one line."""
        if self.blocks:
            return self.blocks[0]
        if not self.fits:
            told = [_untrue(part) for part in self.audiences[0].parts if part.truth is not True]
            return f"the audience does not fit: {', '.join(told)}"
        silent = [asked for asked in self.triggers if asked.holds is not True]
        return "; ".join(t for asked in silent for t in asked.told[:1]) if len(silent) == len(self.triggers) else ""


def _untrue(part: Part) -> str:
    return f"`{part.text}` is {'not known' if part.truth is None else 'false'}"


def paused(pauses: Mapping[str, Mapping[str, Any]], journey: str) -> str:
    """Who stopped a journey (or everything), when and why; "" when nobody did."""
    row = pauses.get(journey) or pauses.get(versions.EVERYTHING)
    if row is None:
        return ""
    what = "everything is paused" if row["scope"] == versions.EVERYTHING else "the journey is paused"
    said = f": {row['reason']}" if row["reason"] else ""
    return f"{what} since {row['paused_at']:%Y-%m-%d %H:%M} UTC by {row['by']}{said}"


# ---- one journey ----------------------------------------------------------------------------------------------------


def consider(conn: sa.Connection, force: Force, name: str, one: Who, now: datetime) -> Entry:
    """Ask everything that decides on an entry. KeyError when no journey of that name is in force."""
    journey = force.project.journeys[name]
    unit_id = one.unit_id(journey.unit)
    if unit_id is None:
        kind = "an account" if journey.unit == "account" else "a customer"
        lacks = f"`{one.key}` belongs to none" if journey.unit == "account" else f"`{one.key}` is an account"
        text = f"the journey is about {kind}, and {lacks}"
        return Entry(name, journey.unit, journey.path, journey.span.line, blocks=(text,))
    case = _Case(conn, force, journey, one, unit_id, now)
    triggers = tuple(case.trigger(trigger) for trigger in journey.triggers)
    return Entry(
        journey=name,
        unit=journey.unit,
        file=journey.path,
        line=journey.span.line,
        triggers=triggers,
        audiences=tuple(case.audiences()),
        blocks=tuple(case.blocks()),
        notes=tuple(case.notes()),
    )


@dataclass(slots=True)
class _Case:
    """One unit before the door of one journey."""

    conn: sa.Connection
    force: Force
    journey: Journey
    one: Who
    unit_id: int
    now: datetime
    _known: list[Row] | None = None

    # ---- what no condition changes

    def blocks(self) -> Iterator[str]:
        journey = self.journey
        if journey.status == "draft":
            yield "the journey is a draft: nobody enters before its file says `status: live` and is applied"
        elif journey.status == "archived":
            yield "the journey is archived: nobody enters any more"
        if stopped := paused(versions.pauses(self.conn), journey.name):
            yield stopped
        if journey.unit == "customer" and self.one.left_at is not None:
            yield f"the customer has left the company ({_day(self.one.left_at)})"
        runs = self.runs()
        live = [r for r in runs if r["ended_at"] is None]
        if live and journey.overlap == "forbid":
            began = _minute(live[-1]["entered_at"])
            yield f"a run is under way since {began} (run {live[-1]['id']}), and runs do not overlap"
        if runs:
            yield from self._reentry(runs)

    def _reentry(self, runs: Sequence[Row]) -> Iterator[str]:
        rule, last = self.journey.reentry, runs[-1]
        once = next((r for r in runs if r["run_key"] == "once"), None)
        if rule.kind == "once" and once is not None:
            yield f"`reentry: once`, and that was on {_minute(once['entered_at'])} (run {once['id']})"
        elif rule.kind == "after" and rule.after is not None and last["entered_at"] + rule.after > self.now:
            entered, again = _minute(last["entered_at"]), _minute(last["entered_at"] + rule.after)
            yield f"`reentry: after {rule.after.days} days`: the last entry was {entered}, again from {again}"

    def notes(self) -> Iterator[str]:
        journey = self.journey
        if journey.reentry.kind == "key" and self.runs():
            keys = ", ".join(sorted({str(r["run_key"]) for r in self.runs()})[:10])
            yield f"`reentry: once per {journey.reentry.key}`; had already: {keys}"
        if journey.holdout > 0 and self._drawn() < journey.holdout:
            yield f"in the holdout ({journey.holdout:.0%}): would enter and be sent nothing, to compare with"

    def _drawn(self) -> float:
        someone = Enrollment(
            id=0,
            journey=self.journey.name,
            version=self.journey.version,
            unit=self.journey.unit,
            unit_id=self.unit_id,
            customer_id=self.one.customer_id,
            account_id=self.one.account_id,
            run_key="",
            step="",
            visit=0,
            entered_at=self.now,
            since=self.now,
            wake_at=None,
        )
        return draw(someone, "holdout")

    def _began(self, field: str, value: object) -> str:
        """The run that a firing of the trigger began, by a field that tells; "" when it began none."""
        run = next((r for r in self.runs() if r[field] == value), None)
        return f"it began run {run['id']}" if run is not None else ""

    def _began_on(self, day: date) -> str:
        near = [r for r in self.runs() if abs((r["entered_at"].date() - day).days) <= 1]
        return self._began("id", near[0]["id"]) if near else ""

    def runs(self) -> list[Row]:
        """Earlier runs through this journey, oldest first."""
        if self._known is None:
            found = explain.runs(self.conn, self.one, self.journey.name)
            self._known = [run for run in found if run["unit"] == self.journey.unit]
        return self._known

    # ---- the audience

    def audiences(self) -> Iterator[Audience]:
        """Once, or once for each record or event that it may speak of."""
        journey = self.journey
        if journey.audience is None:
            return
        about = explain.subject_of(journey.audience)
        if about == "record" and journey.record is not None:
            for row in explain.records_of(self.conn, self.one, journey.unit, journey.record, _SHOWN):
                parts = self._parts(journey.audience, record_id=row["id"])
                yield Audience(f"{journey.record} {row['key']}", parts)
        elif about == "event" and journey.event is not None:
            for row in explain.newest_events(self.conn, self.one, journey.unit, journey.event, 1):
                which = f"{journey.event} of {_minute(row['occurred_at'])}"
                yield Audience(which, self._parts(journey.audience, event_id=row["id"]))
        else:
            yield Audience("", self._parts(journey.audience))

    def _parts(self, condition: Condition, **subject: Any) -> tuple[Part, ...]:
        unit, segments = self.journey.unit, self.force.segments
        return explain.parts_of(self.conn, segments, condition, self.unit_id, self.now, unit=unit, **subject)

    # ---- triggers

    def trigger(self, trigger: Trigger) -> Asked:
        key = trigger_key(self.force.project, trigger)
        mark = versions.watermarks(self.conn).get((self.journey.name, key))
        parts: tuple[Part, ...] = ()
        if mark is None:
            closed = {"draft": "a draft's triggers look at nobody", "archived": "what is archived looks at nobody"}
            holds, told = None, [closed.get(self.journey.status, "it has not been put in force yet")]
        elif isinstance(trigger, SegmentTrigger):
            parts = self._parts(self.force.segments.named(trigger.segment))
            holds, told = self._segment(trigger, key, mark, all(p.truth is True for p in parts))
        elif isinstance(trigger, EventTrigger):
            holds, told = self._event(trigger, mark)
        elif isinstance(trigger, TierTrigger):
            holds, told = self._tier(trigger, mark)
        elif isinstance(trigger, RiskTrigger):
            holds, told = self._risk(trigger)
        elif isinstance(trigger, MilestoneTrigger):
            holds, told = self._milestone(trigger, mark)
        elif isinstance(trigger, StageTrigger):
            holds, told = self._stage(trigger, mark)
        elif isinstance(trigger, DateTrigger):
            holds, told = self._date(trigger, mark)
        elif isinstance(trigger, AtTrigger | ScheduleTrigger):
            holds, told = self._scheduled(trigger, mark)
        else:
            assert isinstance(trigger, ApiTrigger)
            holds, told = None, ["nobody enters by themselves: it waits for a call"]
        return Asked(in_words(trigger), trigger.span.file, trigger.span.line, holds, tuple(told), parts)

    def _segment(
        self, trigger: SegmentTrigger, key: str, mark: Watermark, inside: bool
    ) -> tuple[bool | None, list[str]]:
        since = explain.member_since(self.conn, self.journey.name, key, self.unit_id)
        name = f"the segment {trigger.segment}"
        if trigger.direction == "exit":
            if since is None:
                return False, [f"not in {name}, so there is nothing to leave"]
            return (False, [f"in {name} since {_minute(since)}, and still"]) if inside else (True, [f"has left {name}"])
        if not inside:
            return False, [f"not in {name} now"]
        if since is None:
            return True, [f"in {name} since the last look: the next tick sees it"]
        if since <= mark.baseline_at and not trigger.include_existing:
            at = _minute(mark.baseline_at)
            told = f"in {name}, but was so when the journey was put in force ({at}): only who comes in later enters"
        else:
            told = f"came into {name} at {_minute(since)}: {self._began('entered_at', since) or self._why(mark, since)}"
        return False, [told]

    def _why(self, mark: Watermark, at: datetime) -> str:
        """Why a segment that somebody came into, or a change of her tier, began no run."""
        return _OF_OLD if bygone.was_history(self.conn, mark.baseline_at, at) else _IN_THE_WAY

    def _event(self, trigger: EventTrigger, mark: Watermark) -> tuple[bool | None, list[str]]:
        rows = explain.newest_events(self.conn, self.one, self.journey.unit, trigger.event, _SHOWN)
        if not rows:
            return False, [f"no {trigger.event} is known"]
        told, holds = [], False
        for row in rows:
            ready, text = self._one_event(trigger, row, mark)
            holds |= ready
            told.append(f"{trigger.event} of {_minute(row['occurred_at'])}: {text}")
        return holds, told

    def _one_event(self, trigger: EventTrigger, row: Row, mark: Watermark) -> tuple[bool, str]:
        grace = self.journey.missed_runs.grace
        if trigger.where is not None:
            parts = self._parts(trigger.where, event_id=row["id"])
            if wrong := [_untrue(p) for p in parts if p.truth is not True]:
                return False, ", ".join(wrong)
        if row["received_at"] <= mark.baseline_at:
            return False, f"it came before the journey was put in force ({_minute(mark.baseline_at)})"
        if row["received_at"] - row["occurred_at"] > grace:
            late = row["received_at"] - row["occurred_at"]
            return False, f"it came {_span(late)} late, and `missed_runs` gives {_span(grace)}"
        if began := self._began("event_id", row["id"]):
            return False, began
        if row["id"] > mark.seen_id:
            return True, _NOT_YET
        return False, _IN_THE_WAY

    def _tier(self, trigger: TierTrigger, mark: Watermark) -> tuple[bool | None, list[str]]:
        changes = explain.tier_changes(self.conn, self.one, _SHOWN)
        if not changes:
            return False, ["no change of tier is known"]
        told, holds = [], False
        for row in changes:
            fits = (trigger.direction in ("any", row["direction"]) and row["direction"] != "set") and (
                not trigger.to or row["to_tier"] in trigger.to
            )
            if not fits:
                text = "not such a change"
            elif row["received_at"] <= mark.baseline_at:
                text = f"it came before the journey was put in force ({_minute(mark.baseline_at)})"
            elif row["id"] > mark.seen_id:
                text, holds = _NOT_YET, True
            else:
                text = self._began("run_key", f"tier:{row['id']}") or self._why(mark, row["received_at"])
            move = f"{row['from_tier'] or 'no tier'} → {row['to_tier'] or 'no tier'}"
            told.append(f"{move} at {_minute(row['at'])}: {text}")
        return holds, told

    def _expiring(self, trigger: RiskTrigger, row: Mapping[str, Any] | None) -> tuple[bool | None, list[str]]:
        if row is None or not row["points_expiring"]:
            return False, ["there are no points that expire"]
        day = row["points_expire_on"]
        told = f"{row['points_expiring']:,} points expire at the end of {day}"
        if began := self._began("run_key", f"points:{day}"):
            return False, [f"{told}: {began}"]
        begins = day_after(day, trigger.within, -1)
        return self._begins(begins), [f"{told}: a run begins from {begins} on, at {trigger.at:%H:%M}"]

    def _risk(self, trigger: RiskTrigger) -> tuple[bool | None, list[str]]:
        row = tiers.standing_of(self.conn, self.journey.unit, self.unit_id, self.force.project.vocabulary)
        if trigger.of == "points":
            return self._expiring(trigger, row)
        if row is None or row["review_on"] is None:
            return False, ["the tier is not at risk"]
        missing = scored(row["shortfall"], row["score_currency"])
        told = f"as things stand the tier would be lost on {row['review_on']}; {missing} is missing"
        if began := self._began("run_key", f"risk:{row['review_on']}"):
            return False, [f"{told}: {began}"]
        begins = day_after(row["review_on"], trigger.within, -1)
        return self._begins(begins), [f"{told}: she enters from {begins} on, at {trigger.at:%H:%M}"]

    def _begins(self, day: date) -> bool | None:
        """Whether that day has come, where the unit is; None: it is to come."""
        return True if self.now.astimezone(zone(self._zone()) or ZoneInfo("UTC")).date() >= day else None

    def _milestone(self, trigger: MilestoneTrigger, mark: Watermark) -> tuple[bool | None, list[str]]:
        known = tiers.number_of(self.conn, self.journey.unit, self.unit_id, trigger.event, self.now)
        if began := self._began("run_key", f"milestone:{trigger.event}:{trigger.count}"):
            return False, [began]
        told = f"{known:,} {trigger.event} are known"
        if known >= trigger.count:
            return False, [f"{told}: number {trigger.count} came before the journey was put in force, or late"]
        return None, [f"{told}: it begins with number {trigger.count}"]

    def _stage(self, trigger: StageTrigger, mark: Watermark) -> tuple[bool | None, list[str]]:
        rows = explain.records_of(self.conn, self.one, self.journey.unit, trigger.record, _SHOWN)
        if not rows:
            return False, [f"there is no {trigger.record}"]
        told, holds = [], False
        for row in rows:
            stage, since = row["fields"].get(STAGE), row["stage_since"]
            if since is None:
                told.append(f"{trigger.record} {row['key']}: its stage is not set")
                continue
            if trigger.to and stage not in trigger.to:
                text = "not such a stage"
            elif trigger.stalled is not None:
                home = zone(self.force.project.vocabulary.timezone) or ZoneInfo("UTC")
                due = after(since, trigger.stalled, home)
                early = due <= mark.baseline_at and not trigger.include_existing
                text, ready = self._due(due, mark, early, row["id"])
                holds |= ready
            elif since <= mark.baseline_at:
                text = f"it came there before the journey was put in force ({_minute(mark.baseline_at)})"
            elif since > mark.seen_until:
                text, holds = _NOT_YET, True
            else:
                text = self._began("record_id", row["id"]) or _IN_THE_WAY
            told.append(f"{trigger.record} {row['key']}: {stage} since {_minute(since)}: {text}")
        return holds, told

    def _due(self, due: datetime, mark: Watermark, early: bool, record_id: int) -> tuple[str, bool]:
        if due > self.now:
            return f"stalled from {_minute(due)} on, if it stays there", False
        if early:
            return f"stalled before the journey was put in force ({_minute(mark.baseline_at)})", False
        if due > mark.seen_until:
            return _NOT_YET, True
        return self._began("record_id", record_id) or _IN_THE_WAY, False

    # ---- dates and schedules

    def _zone(self) -> str:
        own = explain.profile(self.conn, self.one)
        name = own["timezone"]
        if not name and self.one.account_id is not None and self.one.customer_id is not None:
            company = Who(self.one.account_key or "", None, self.one.account_id, self.one.account_key)
            name = explain.profile(self.conn, company)["timezone"]
        return str(name) if name and zone(str(name)) is not None else self.force.project.vocabulary.timezone

    def _date(self, trigger: DateTrigger, mark: Watermark) -> tuple[bool | None, list[str]]:
        dates = list(self._dates(trigger))
        if not dates:
            return False, [f"there is no {trigger.of}"]
        name, told, holds = self._zone(), [], False
        for about, value in dates:
            if value is None:
                told.append(f"{about}{trigger.field_name} is not set")
                continue
            at = self._fires(trigger, value, name)
            if at > self.now:
                text = "that is still to come"
            elif at <= mark.baseline_at:
                text = f"that was before the journey was put in force ({_minute(mark.baseline_at)})"
            elif at > mark.seen_until:
                text, holds = _NOT_YET, True
            else:
                text = self._began_on(at.date()) or f"{_IN_THE_WAY}, or the date has been changed since"
            told.append(f"{about}due {_minute(at)} UTC ({trigger.at:%H:%M} in {name}): {text}")
        return holds, told

    def _dates(self, trigger: DateTrigger) -> Iterator[tuple[str, date | None]]:
        """(what it is of, the date) of the unit, or of each of its records or events."""
        if trigger.source == "record":
            for row in explain.records_of(self.conn, self.one, self.journey.unit, trigger.of, _SHOWN):
                yield f"{trigger.of} {row['key']}: ", _date(row["fields"].get(trigger.field_name))
        elif trigger.source == "event":
            for row in explain.newest_events(self.conn, self.one, self.journey.unit, trigger.of, _SHOWN):
                yield f"{trigger.of} {row['key']}: ", _date(row["properties"].get(trigger.field_name))
        else:
            one = self.one
            if trigger.source == "account" and one.account_id is not None:
                one = Who(one.account_key or "", None, one.account_id, one.account_key)
            own = explain.profile(self.conn, one)
            found = own[trigger.field_name] if trigger.field_name in own else own["attributes"].get(trigger.field_name)
            yield "", _date(found)

    def _fires(self, trigger: DateTrigger, value: date, name: str) -> datetime:
        """When a date fires: for `every_year` the newest that is due, or the next when none was since the last look."""
        tz = zone(name)
        assert tz is not None
        if not trigger.every_year:
            return instant(_moved(trigger, value), trigger.at, tz)
        years = range(self.now.year - 1, self.now.year + 2)
        days = [_moved(trigger, anniversary(value, year, trigger.leap_day)) for year in years if year > value.year]
        found = [instant(day, trigger.at, tz) for day in days]
        recent = [at for at in found if self.now - timedelta(days=30) < at <= self.now]
        coming = [at for at in found if at > self.now]
        return (recent or coming or found or [instant(_moved(trigger, value), trigger.at, tz)])[0]

    def _scheduled(self, trigger: AtTrigger | ScheduleTrigger, mark: Watermark) -> tuple[bool | None, list[str]]:
        home = self.force.project.vocabulary.timezone
        if isinstance(trigger, AtTrigger):
            name = self._zone() if trigger.local else home
        else:
            name = self._zone() if trigger.timezone == "recipient" else trigger.timezone
        told: list[str] = []
        last = self._occurrence(trigger, name, back=True)
        if last is not None:
            before = last <= mark.baseline_at
            text = f"before the journey was put in force ({_minute(mark.baseline_at)})" if before else "looked at then"
            due = last > mark.seen_until
            told.append(f"last due {_minute(last)} UTC: {_NOT_YET if due else text}")
            if due:
                return True, told
        coming = self._occurrence(trigger, name, back=False)
        told.insert(0, f"next due {_minute(coming)} UTC" if coming is not None else "never due again")
        return False, told

    def _occurrence(self, trigger: AtTrigger | ScheduleTrigger, name: str, *, back: bool) -> datetime | None:
        for days in _HORIZONS:
            span = timedelta(days=days)
            first, last = (self.now - span, self.now) if back else (self.now, self.now + span)
            runs = due_runs(trigger, first, last, name, MissedRuns(then="all"))
            if runs:
                return runs[-1 if back else 0][1].astimezone(UTC)
        return None


def _moved(trigger: DateTrigger, day: date) -> date:
    moved = add_months(day, trigger.offset_months)
    if trigger.business_days:
        return add_business_days(moved, trigger.offset_days)
    return moved + timedelta(days=trigger.offset_days)


def _date(value: object) -> date | None:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)[:10]) if value else None
    except ValueError:
        return None


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
