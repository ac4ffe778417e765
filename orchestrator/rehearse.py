"""One test of journeys, run: the real verbs on a scratch database, a clock that jumps to what is due next.

Nothing here is a model of the engine: rows come in by the importer, points by `accrue`, people by `enroll`, and every
message passes the gate. Only time is invented, and what comes back of messages.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa

from channels.base import Channel, Event, EventKind, Medium, Reason
from orchestrator import earn, grade, play
from orchestrator.accrue import accrue
from orchestrator.advance import advance
from orchestrator.apply import Force, apply, in_force, remember
from orchestrator.condition import Condition
from orchestrator.consider import consider
from orchestrator.deliver import deliver
from orchestrator.engine import draw
from orchestrator.enroll import enroll, enroll_units
from orchestrator.expectation import SPARE, Course, Expectation, Has, Line, Moment, State
from orchestrator.importing import import_rows
from orchestrator.ingest import receive
from orchestrator.journey import (
    AtTrigger,
    DateTrigger,
    EventTrigger,
    Journey,
    MissedRuns,
    ScheduleTrigger,
    SegmentTrigger,
    TierTrigger,
    Trigger,
)
from orchestrator.model import Enrollment
from orchestrator.occurrences import due_runs
from orchestrator.problems import Span
from orchestrator.project import Project
from orchestrator.rehearsal import Change, Deed, Person, Reaction, Rehearsal, Row
from orchestrator.source import digest
from orchestrator.steps.split import Split
from orchestrator.store import explain, versions
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys
from orchestrator.store.tables import account, batch, customer, enrollment, event, log, loyalty, message, trace
from orchestrator.store.tables import claim as claims
from orchestrator.store.tables import voucher as vouchers
from orchestrator.store.triggers import zones_present
from orchestrator.terms import Happened, Heard, walk
from orchestrator.why import meaning
from orchestrator.zones import instant, zone

ROUNDS: Final = 200
STOPS: Final = 50_000
KEYS: Final = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)
REPORTS: Final[Mapping[Medium, frozenset[EventKind]]] = {
    Medium.EMAIL: frozenset(EventKind) - {EventKind.REPLIED, EventKind.RETURNED},
    Medium.SMS: frozenset({EventKind.DELIVERED, EventKind.FAILED, EventKind.CLICKED, EventKind.REPLIED}),
    Medium.PUSH: frozenset({EventKind.FAILED, EventKind.OPENED}),
    Medium.MAIL: frozenset({EventKind.ACCEPTED, EventKind.RETURNED}),
}
"""What the providers of a rehearsal tell: of e-mails and texts that they arrived, of pushes and letters nothing."""
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_ALL = MissedRuns(grace=timedelta(days=1), then="all")
_LOST = frozenset({EventKind.BOUNCED, EventKind.SOFT_BOUNCED, EventKind.BLOCKED, EventKind.FAILED})


# ---- what comes of it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Got:
    """A message as it was: `to` whom, `about` whose keys it concerns; `at` when it went out, was refused or is due.

    `fate`: sent, refused, waiting (held, or planned for later). `held`: instants and reasons of its holds.
    """

    id: int
    at: datetime
    medium: str
    step: str
    template: str
    to: str
    about: frozenset[str]
    journey: str
    fate: Literal["sent", "refused", "waiting"]
    reason: str = ""
    rule: str = ""
    held: tuple[tuple[datetime, str], ...] = ()

    @property
    def name(self) -> str:
        """As a line of a test would name it."""
        return self.template or self.step.removeprefix(f"{self.medium}:")


@dataclass(frozen=True, slots=True)
class Failure:
    """What is not as expected. `kind`: missing, unexpected, forbidden, untrue, impossible."""

    kind: Literal["missing", "unexpected", "forbidden", "untrue", "impossible"]
    text: str
    span: Span
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """A line of the timeline: what was expected, what came; either may be None."""

    at: datetime
    expected: str | None
    got: str | None
    good: bool


@dataclass(frozen=True, slots=True)
class Reached:
    """What of a journey was come to: steps by id, ways as (step, way)."""

    steps: frozenset[str] = frozenset()
    ways: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a test."""

    test: Rehearsal
    failures: tuple[Failure, ...]
    turns: tuple[Turn, ...]
    reached: Mapping[str, Reached]
    stops: int

    @property
    def passed(self) -> bool:
        return not self.failures


def ways(journey: Journey) -> tuple[tuple[str, str], ...]:
    """Every way that a run may take at a fork of the journey: (step, way)."""
    found = []
    for step in journey.every_step():
        names = list(step.bodies())
        if names and step.keyword == "branch" and "else" not in names:
            names.append("none")
        found += [(step.id, name) for name in names]
    return tuple(found)


# ---- the stage ------------------------------------------------------------------------------------------------------


class Stage:
    """Where tests are run, one after the other: a folder, an empty database to copy, channels that reach nobody."""

    def __init__(self, folder: Path, channels: Mapping[Medium, Channel]) -> None:
        self.folder, self.channels = folder, channels
        self._template = folder / "empty.db"
        self._number = count(1)
        store = Store.open(f"sqlite:///{self._template}", create=True)
        store.migrate()
        store.close()

    def scratch(self) -> tuple[Store, Path]:
        """A database of its own; nothing in it outlives the test, so nothing waits for the disk."""
        path = self.folder / f"{next(self._number)}.db"
        shutil.copyfile(self._template, path)
        store = Store.open(f"sqlite:///{path}")

        @sa.event.listens_for(store.engine, "connect")
        def hurry(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA synchronous = OFF")

        return store, path

    def run(self, test: Rehearsal, project: Project) -> Verdict:
        """Run one test. Raises what the verbs raise; what the test asks for and cannot be had is a failure of it."""
        store, path = self.scratch()
        try:
            return _Run(test, _narrowed(project, test.journeys), store, self.channels).verdict()
        finally:
            store.close()
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)


def _narrowed(project: Project, names: Sequence[str]) -> Project:
    """The workspace with these journeys alone, and those that they enter."""
    wanted: dict[str, Journey] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted and name in project.journeys:
            wanted[name] = project.journeys[name]
            waiting += [other for step in wanted[name].every_step() for other in step.enters()]
    return replace(
        project, journeys=dict(sorted(wanted.items())), hash=digest("rehearsal", project.hash, *sorted(wanted))
    )


@dataclass(frozen=True, slots=True)
class _Check:
    """Something to be looked at when its time has come."""

    expected: State | Course | Has


class _Impossible(Exception):
    """What the test asks for cannot be done; the message says why."""


# ---- one run --------------------------------------------------------------------------------------------------------


@dataclass
class _Run:
    test: Rehearsal
    project: Project
    store: Store
    channels: Mapping[Medium, Channel]
    now: datetime = field(init=False)
    queue: list[tuple[datetime, int, Any]] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    armed: list[Reaction] = field(default_factory=list)
    told: set[int] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    held_true: list[Expectation] = field(default_factory=list)
    zones: tuple[str, ...] = ()
    stops: int = 0
    _number: Iterator[int] = field(default_factory=count)
    _looks: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def verdict(self) -> Verdict:
        self.now = self.test.clock
        try:
            self._begin()
            self._play()
        except _Impossible as error:
            self._fail("impossible", str(error), self.test.span)
        got = self._messages()
        turns = self._judged(got)
        failures = tuple(sorted(self.failures, key=lambda f: f.span))
        return Verdict(self.test, failures, turns, self._reached(), self.stops)

    def _fail(self, kind: Any, text: str, span: Span, *why: str) -> None:
        self.failures.append(Failure(kind, text, span, tuple(w for w in why if w)))

    def _put(self, at: datetime, what: Any) -> None:
        heapq.heappush(self.queue, (max(at, self.test.clock), next(self._number), what))

    # ---- before the clock

    def _begin(self) -> None:
        test = self.test
        self._people("account")
        self._people("customer")
        self._import(test.given.rows)
        self._import([d.row for d in test.given.deeds if d.row is not None])
        if self.project.program.classes:
            # What is given has been counted before the clock begins: points and tiers stand as they would.
            self._apply(replace(self.project, journeys={}, hash=digest("given", self.project.hash)))
            self._grant()
            accrue(self.store, now=self.now)
        self._apply(self.project)
        with self.store.read() as conn:
            present = {z for unit in ("customer", "account") for z in zones_present(conn, unit)}
        self.zones = tuple(sorted({self.project.vocabulary.timezone, *(z for z in present if zone(z))}))
        for happening in test.happens:
            self._put(happening.since if isinstance(happening, Reaction) else happening.at, happening)
        for expected in test.expect:
            if not isinstance(expected, Line):
                self._put(self._check_at(expected.when), _Check(expected))

    def _apply(self, project: Project) -> None:
        remember(project)
        apply(self.store, project, author="test", message="", now=self.now)

    def _check_at(self, when: Moment | None) -> datetime:
        """With a time of day: then; a day: its last second; else the last of the test."""
        tz = zone(self.test.zone)
        assert tz is not None
        if when is None:
            return self.test.until - timedelta(seconds=1)
        if when.first is not None:
            return instant(when.day, when.first, tz)
        return instant(when.day + _DAY, time(), tz) - timedelta(seconds=1)

    def _people(self, unit: str) -> None:
        """Import those given, each with an id that chance deals what the test says."""
        table = customer if unit == "customer" else account
        fillers: list[int] = []
        last = 0
        for person in self.test.given.people.values():
            if person.unit != unit:
                continue
            wanted = self._dealt(person, last + 1)
            if wanted > last + 1:
                fillers.append(wanted - 1)
                with self.store.write() as conn:
                    conn.execute(table.insert().values(**_filler(wanted - 1, unit, self.now)))
            self._import([person.row])
            self.ids[person.key] = last = wanted
        if fillers:
            with self.store.write() as conn:
                conn.execute(table.delete().where(table.c.id.in_(fillers)))

    def _dealt(self, person: Person, first: int) -> int:
        """The first id from `first` on with which chance keeps to what the test says of this person."""
        journeys = [j for j in self.project.journeys.values() if j.unit == person.unit]
        splits = [(j, s) for j in journeys for s in j.every_step() if isinstance(s, Split)]
        known = {name for _, s in splits for name in s.split}
        if strange := sorted(person.takes - known):
            raise _Impossible(f"`{person.key}` takes `{strange[0]}`, and no split of these journeys has such an arm")
        for number in range(first, first + 100_000):
            if all(_fits(person, j, number) for j in journeys) and all(_arm(person, j, s, number) for j, s in splits):
                return number
        raise _Impossible(f"chance cannot deal what `{person.key}` takes")

    def _import(self, rows: Sequence[Row]) -> None:
        for kind in dict.fromkeys(row.kind for row in rows):
            mine = [row for row in rows if row.kind == kind]
            report = import_rows(
                self.store, KEYS, self.project.vocabulary, kind, [row.values for row in mine], now=self.now
            )
            for refused in report.refused:
                span = mine[refused.line - 1].span
                self._fail("impossible", f"this row was refused: {refused.problem}", span)

    def _grant(self) -> None:
        given = self.test.given
        awards = []
        for key, points in given.points.items():
            unit, unit_id = self._owner(key)
            awards.append(earn.Award(f"given:{key}", unit, unit_id, points, at=self.now))
        with self.store.write() as conn:
            if awards:
                earn.award(conn, self.project, awards, self.now)
            rows = [
                {"pool": pool, "code": f"{pool}-{n:04}".upper(), "created_at": self.now}
                for pool, how_many in given.vouchers.items()
                for n in range(1, how_many + 1)
            ]
            if rows:
                conn.execute(vouchers.insert(), rows)

    def _owner(self, key: str) -> tuple[Any, int]:
        """Whose points and tier somebody's are."""
        person = self.test.given.people[key]
        found = self.project.vocabulary.classes.get(str(person.row.values.get("class") or ""))
        if person.unit == "customer" and found is not None and found.unit == "account" and person.account:
            return "account", self.ids[person.account]
        return person.unit, self.ids[key]

    # ---- time passes

    def _play(self) -> None:
        self._settle()
        while self.stops < STOPS:
            following, light = self._next()
            if following >= self.test.until:
                return
            self.now, self.stops = following, self.stops + 1
            if light and not self._entered():
                continue
            checks = self._happen()
            self._settle()
            for check in checks:
                self._look_at(check.expected)
        raise _Impossible(f"more than {STOPS:,} moments: something here never comes to rest")

    def _entered(self) -> bool:
        return any(enroll(self.store, now=self.now).values())

    def _settle(self) -> None:
        """All that is due at this moment, and what comes back of it at once."""
        for _ in range(ROUNDS):
            looks = accrue(self.store, now=self.now).looks
            entered = any(enroll(self.store, now=self.now).values())
            moved = advance(self.store, now=self.now, reports=REPORTS)
            sent = deliver(self.store, self.channels, KEYS, now=lambda: self.now, worker="test")
            heard = self._hear() if sent.judged else False
            if not (looks or entered or moved.moved or sent.judged or heard):
                return

    def _hear(self) -> bool:
        """Messages that have just gone out arrive, unless the test says what else becomes of them."""
        arrived = []
        for got in self._messages():
            if got.fate != "sent" or got.id in self.told:
                continue
            self.told.add(got.id)
            mine = [r for r in self.armed if self._about(r, got)]
            for reaction in mine[:1]:
                self.armed.remove(reaction)
                tz = zone(self.test.zone)
                assert tz is not None
                from orchestrator.dates import after

                self._put(after(self.now, reaction.delay, tz), (reaction, got.id))
            lost = mine and mine[0].kind in _LOST
            if not lost and EventKind.DELIVERED in REPORTS.get(Medium(got.medium), ()):
                arrived.append(Event(self._attempt(got.id), EventKind.DELIVERED, self.now))
        if arrived:
            receive(self.store, KEYS, arrived, now=self.now)
        return bool(arrived)

    def _about(self, reaction: Reaction, got: Got) -> bool:
        return got.step == reaction.step and reaction.to in ("", got.to, *got.about)

    def _attempt(self, message_id: int) -> str:
        with self.store.read() as conn:
            query = sa.select(message.c.attempts).where(message.c.id == message_id)
            return f"m{message_id}a{conn.execute(query).scalar_one()}"

    def _happen(self) -> list[_Check]:
        """What the test says happens now; what there is to be looked at afterwards."""
        checks = []
        while self.queue and self.queue[0][0] <= self.now:
            _, _, what = heapq.heappop(self.queue)
            match what:
                case _Check():
                    checks.append(what)
                case Deed():
                    self._act(what)
                case Change():
                    self._import(what.rows)
                case Reaction():
                    self._arm(what)
                case (Reaction() as reaction, int(message_id)):
                    self._react(reaction, message_id)
        return checks

    def _arm(self, reaction: Reaction) -> None:
        """The last message that is out already reacts now; else the next one."""
        out = [g for g in self._messages() if g.fate == "sent" and self._about(reaction, g)]
        if out and reaction.since > self.test.clock:
            self._react(reaction, out[-1].id)
        else:
            self.armed.append(reaction)

    def _react(self, reaction: Reaction, message_id: int) -> None:
        reason = Reason.UNKNOWN_ADDRESS if reaction.kind is EventKind.BOUNCED else None
        came = Event(
            self._attempt(message_id), reaction.kind, self.now, reason=reason, url=reaction.url, text=reaction.text
        )
        receive(self.store, KEYS, [came], now=self.now)

    def _act(self, deed: Deed) -> None:
        if deed.row is not None:
            self._import([deed.row])
            return
        if deed.verb == "enters":
            try:
                unit_id = self.ids[deed.who]
                enroll_units(self.store, str(deed.details["journey"]), [unit_id], f"test:{self.stops}", now=self.now)
            except KeyError:
                self._fail(
                    "impossible", f"the journey `{deed.details['journey']}` does not run in this test", deed.span
                )
            return
        self._fail("impossible", f"`{deed.who}: {deed.verb}` cannot be played yet", deed.span)

    # ---- what is due next

    def _next(self) -> tuple[datetime, bool]:
        """The next instant at which anything may happen, and whether all that may is that somebody enters."""
        full = self.test.until
        if self.queue:
            full = min(full, self.queue[0][0])
        with self.store.read() as conn:
            full = min([full, *self._due(conn)])
            force = in_force(conn)
            assert force is not None
            full = self._probed(conn, force, full)
        full = max(full, self.now + timedelta(microseconds=1))
        look = min((self._look(j, t) for j in self.project.journeys.values() for t in j.triggers), default=full)
        return (look, True) if look < full else (full, False)

    def _due(self, conn: sa.Connection) -> list[datetime]:
        """When sleepers wake, batches are due, points change."""
        live = enrollment.c.ended_at.is_(None)
        asked = (
            sa.select(sa.func.min(enrollment.c.wake_at)).where(live, enrollment.c.wake_at > self.now),
            sa.select(sa.func.min(batch.c.due_at)).where(batch.c.done_at.is_(None), batch.c.due_at > self.now),
            sa.select(sa.func.min(loyalty.c.points_due)).where(loyalty.c.points_due > self.now),
        )
        row = conn.execute(sa.select(*(query.scalar_subquery() for query in asked))).one()
        return [at for at in row if at is not None]

    def _probed(self, conn: sa.Connection, force: Force, end: datetime) -> datetime:
        """The first minute before `end` at which time alone makes a difference: to who is in a segment, to a condition
        that ends a run, to what the programme has to do. Nothing else changes until then, so it can be asked ahead."""
        asked = self._conditions(conn)
        programme = bool(self.project.program.classes)
        if not asked and not programme:
            return end

        def seen(at: datetime) -> tuple[Any, ...]:
            found: list[Any] = [force.segments.sample(conn, c, unit, at, 1000) for c, unit in asked]
            if programme:
                found.append(
                    earn.is_due(conn, at) or grade.is_due(conn, self.project, at) or play.is_due(conn, self.project, at)
                )
            return tuple(found)

        before, low = seen(self.now), self.now
        while low < end:
            high = min(low + _DAY, end)
            if seen(high) != before:
                while high - low > _MINUTE:
                    middle = low + (high - low) / 2
                    low, high = (middle, high) if seen(middle) == before else (low, middle)
                return min(end, high.replace(second=0, microsecond=0) + _MINUTE)
            low = high
        return end

    def _conditions(self, conn: sa.Connection) -> list[tuple[Condition, Any]]:
        """What is asked ahead: segments that triggers and sleepers wait for, goals and exits by state."""
        live = set(conn.execute(sa.select(enrollment.c.journey).where(enrollment.c.ended_at.is_(None))).scalars())
        found: dict[str, tuple[Condition, Any]] = {}
        for journey in self.project.journeys.values():
            for trigger in journey.triggers:
                if isinstance(trigger, SegmentTrigger):
                    condition = self.project.segments[trigger.segment]
                    found[condition.text] = (condition, condition.unit)
            for asked in journey.watches() if journey.name in live else ():
                if isinstance(asked, Condition) and _alone(asked):
                    found[asked.text] = (asked, journey.unit)
        return list(found.values())

    def _look(self, journey: Journey, trigger: Trigger) -> datetime:
        """When the trigger may fire next by the calendar; far off for one that fires by what happens."""
        key = (journey.name, trigger.key)
        known = self._looks.get(key)
        if known is None or known <= self.now:
            known = self._looks[key] = self._occurrence(trigger)
        return known

    def _occurrence(self, trigger: Trigger) -> datetime:
        far = self.test.until + _DAY
        home = self.project.vocabulary.timezone
        match trigger:
            case EventTrigger() | TierTrigger() | SegmentTrigger():
                return far
            case AtTrigger() | ScheduleTrigger():
                per_zone = trigger.local if isinstance(trigger, AtTrigger) else trigger.timezone == "recipient"
                own = home if isinstance(trigger, AtTrigger) else trigger.timezone
                for days in (1, 8, 40, 400):
                    end = min(far, self.now + timedelta(days=days))
                    runs = [
                        at
                        for name in (self.zones if per_zone else (own,))
                        for _, at in due_runs(trigger, self.now, end, name, _ALL)
                    ]
                    if runs or end == far:
                        return min(runs, default=far)
                return far
            case DateTrigger():
                return self._daily(trigger.at)
        at = getattr(trigger, "at", None)
        return self._daily(at if isinstance(at, time) else time())

    def _daily(self, at: time) -> datetime:
        """The next time that it is so late in any zone."""
        found = []
        for name in self.zones:
            tz = zone(name)
            assert tz is not None
            day = self.now.astimezone(tz).date()
            found += [when for n in range(3) if (when := instant(day + n * _DAY, at, tz)) > self.now][:1]
        return min(found)

    # ---- what came

    def _messages(self) -> list[Got]:
        """Every message, in order of time."""
        with self.store.read() as conn:
            rows = conn.execute(sa.select(message).order_by(message.c.id)).all()
            lines = conn.execute(
                sa.select(log.c.message_id, log.c.at, log.c.verdict, log.c.reason, log.c.rule)
                .where(log.c.kind == "decision")
                .order_by(log.c.id)
            ).all()
        said: dict[int, list[Any]] = {}
        for line in lines:
            said.setdefault(int(line.message_id), []).append(line)
        names = {(p.unit, self.ids[p.key]): p.key for p in self.test.given.people.values() if p.key in self.ids}
        found = [_got(row, said.get(row.id, []), names) for row in rows]
        return sorted(found, key=lambda g: (g.at, g.id))

    def _look_at(self, expected: State | Course | Has) -> None:
        match expected:
            case State():
                good, why = self._holds(expected)
            case Course():
                good, why = self._stands(expected)
            case Has():
                good, why = self._has(expected)
        if good:
            self.held_true.append(expected)
        else:
            self._fail("untrue", expected.text, expected.span, *why)

    def _holds(self, expected: State) -> tuple[bool, list[str]]:
        unit = self.test.given.people[expected.who].unit
        with self.store.read() as conn:
            force = in_force(conn)
            assert force is not None
            unit_id = self.ids[expected.who]
            parts = explain.parts_of(conn, force.segments, expected.condition, unit_id, self.now, unit=unit)
            about = _values(conn, force, expected.condition, unit, unit_id, self.now)
        wrong = [p for p in parts if p.truth is not True]
        told = [f"`{p.text}` is {'not known' if p.truth is None else 'false'} {self._when()}" for p in wrong]
        return bool(parts) and not wrong, told + about

    def _when(self) -> str:
        return f"at {self.now.astimezone(zone(self.test.zone)):%Y-%m-%d %H:%M}"

    def _runs(self, who: str, journey: str) -> list[Any]:
        """Somebody's runs of a journey: her own, or her company's where it is about companies."""
        person = self.test.given.people[who]
        unit_id = self.ids[who]
        if self.project.journeys.get(journey) is not None and self.project.journeys[journey].unit != person.unit:
            unit_id = self.ids.get(person.account, 0)
        query = (
            sa.select(enrollment)
            .where(enrollment.c.journey == journey, enrollment.c.unit_id == unit_id)
            .order_by(enrollment.c.id)
        )
        with self.store.read() as conn:
            return list(conn.execute(query))

    def _stands(self, expected: Course) -> tuple[bool, list[str]]:
        runs = self._runs(expected.who, expected.journey)
        live = [r for r in runs if r.ended_at is None]
        if expected.what == "out":
            return not live, [self._told(r) for r in live]
        if expected.what == "enters":
            if expected.when is None:
                return bool(runs), self._absent(expected.who, expected.journey)
            good = [r for r in runs if self._in(expected.when, r.entered_at)]
            return bool(good), [self._told(r) for r in runs] or self._absent(expected.who, expected.journey)
        if expected.what == "in":
            good = [r for r in live if expected.step in ("", r.step)]
        else:
            good = [r for r in runs if r.ended_at is not None and expected.reason in ("", r.ended_because)]
        return bool(good), [self._told(r) for r in runs] or self._absent(expected.who, expected.journey)

    def _told(self, run: Any) -> str:
        stood = f"at `{run.step}`" if run.step else "before its first step"
        if run.ended_at is None:
            until = f", until {self._shown(run.wake_at)}" if run.wake_at is not None else ""
            return f"the run of {self._shown(run.entered_at)} stands {stood}{until}"
        return (
            f"the run of {self._shown(run.entered_at)} ended {self._shown(run.ended_at)} {stood}: {run.ended_because}"
        )

    def _shown(self, at: datetime) -> str:
        return f"{at.astimezone(zone(self.test.zone)):%Y-%m-%d %H:%M}"

    def _absent(self, who: str, journey: str) -> list[str]:
        """Why somebody never entered."""
        with self.store.read() as conn:
            force = in_force(conn)
            one = explain.who(conn, who)
            if force is None or one is None or journey not in force.project.journeys:
                return [f"{who} never entered {journey}"]
            entry = consider(conn, force, journey, one, self.now)
        return [f"{who} never entered {journey}" + (f": {entry.first_reason}" if entry.first_reason else "")]

    def _has(self, expected: Has) -> tuple[bool, list[str]]:
        unit, unit_id = self._owner(expected.who)
        own = self.ids[expected.who] if self.test.given.people[expected.who].unit == "customer" else None
        with self.store.read() as conn:
            found = _possessions(conn, expected.what, unit, unit_id, own)
        told = f"{expected.who} has {', '.join(sorted(found)) or 'none'}"
        return expected.name in found, [told]

    # ---- judging

    def _in(self, when: Moment, at: datetime, *zones: str) -> bool:
        """Whether an instant is within what is expected, by the clock's zone or one of these."""
        for name in (self.test.zone, *zones):
            tz = zone(name)
            if tz is None:
                continue
            wall = at.astimezone(tz)
            if when.first is None:
                if wall.date() == when.day:
                    return True
                continue
            begins = instant(when.day, when.first, tz)
            ends = instant(when.day, when.last_time, tz) if when.last_time else begins + SPARE
            if begins <= at <= ends:
                return True
        return False

    def _fits(self, line: Line, got: Got, *, timed: bool = True) -> bool:
        """Whether this is the message that the line means; with `timed`, at its time and with its fate."""
        if line.medium != got.medium:
            return False
        if line.name and line.name not in (got.template, got.step, got.step.removeprefix(f"{got.medium}:")):
            return False
        if line.to and line.to != got.to and not (line.to in got.about and got.medium in ("task", "webhook")):
            return False
        if line.about and line.about not in got.about:
            return False
        if not timed:
            return True
        zones = [p.zone for p in self.test.given.people.values() if p.zone and p.key in {got.to, *got.about}]
        if line.fate == "held":
            reasons = [(at, reason) for at, reason in got.held if line.reason in ("", reason)]
            return any(line.when is None or self._in(line.when, at, *zones) for at, _ in reasons)
        if got.fate != line.fate or (line.fate == "refused" and line.reason not in ("", got.reason)):
            return False
        return line.when is None or self._in(line.when, got.at, *zones)

    def _judged(self, got: Sequence[Got]) -> tuple[Turn, ...]:
        lines = [e for e in self.test.expect if isinstance(e, Line)]
        lines.sort(key=lambda e: (e.when is None, e.when is not None and e.when.first is None, e.to == ""))
        taken: dict[int, Line] = {}
        missing: list[Line] = []
        for line in lines:
            fitting = [g for g in got if (g.id not in taken or line.fate == "held") and self._fits(line, g)]
            if fitting:
                taken.setdefault(fitting[0].id, line)
            else:
                missing.append(line)
        for line in missing:
            self._fail("missing", line.text, line.span, *self._why(line, got, taken))
        strange = []
        for g in got:
            if g.fate == "sent" and g.id not in taken and g.journey in self.test.journeys and self.test.strict:
                strange.append(g)
                told = f"{self._line(g)} went out, and no line of `expect` says so"
                self._fail("unexpected", told, self.test.span, "add it to `expect`, or allow it: `also: allowed`")
        forbidden = self._never(got)
        return self._turns(got, taken, missing, {g.id for g in strange} | forbidden)

    def _never(self, got: Sequence[Got]) -> set[int]:
        found: set[int] = set()
        for line in self.test.never:
            if isinstance(line, Course):
                good, why = self._stands(line)
                if good:
                    self._fail("forbidden", line.text, line.span, *why)
                continue
            bare = replace(line, fate="sent")
            sent = [g for g in got if self._fits(bare, g)]
            found |= {g.id for g in sent}
            for g in sent:
                self._fail("forbidden", line.text, line.span, f"it went out {self._shown(g.at)}: {self._line(g)}")
            refused = [
                g for g in got if g.fate == "refused" and self._fits(replace(line, fate="refused", reason=""), g)
            ]
            if line.reason and refused and not any(g.reason == line.reason for g in refused):
                told = f"it was refused because {refused[0].reason}: {meaning(refused[0].rule, refused[0].reason)}"
                self._fail("forbidden", line.text, line.span, told)
        return found

    def _line(self, got: Got) -> str:
        return f"{got.medium} {got.name} to {got.to}".strip()

    def _why(self, line: Line, got: Sequence[Got], taken: Mapping[int, Line]) -> list[str]:
        """What became of a message that did not come as expected."""
        told = []
        for g in got:
            if g.id in taken or not self._fits(line, g, timed=False):
                continue
            for at, reason in g.held[:2]:
                told.append(f"it was held {self._shown(at)} because {reason}: {meaning(reason, reason)}".rstrip(": "))
            if g.fate == "sent":
                told.append(f"it went out {self._shown(g.at)}")
            elif g.fate == "refused":
                told.append(f"it was refused {self._shown(g.at)} because {g.reason}: {meaning(g.rule, g.reason)}")
            else:
                told.append(f"it waits, due {self._shown(g.at)}")
        return told or self._nowhere(line)

    def _nowhere(self, line: Line) -> list[str]:
        """Where the run stood that should have sent it, or why there is none."""
        told: list[str] = []
        whose = [k for k in (line.to, line.about) if k in self.test.given.people] or list(self.test.given.people)
        for name in self.test.journeys:
            journey = self.project.journeys[name]
            steps = [s for s, m in journey.sends().items() if m == line.medium]
            if line.name and not _sends(journey, line):
                continue
            if not steps:
                continue
            runs = [r for who in whose for r in self._runs(who, name)]
            told += [f"{name}: {self._told(r)}" for r in dict.fromkeys(runs)][:3]
            told += self._skipped(runs, line)
            if not runs and whose:
                told += self._absent(whose[0], name)
        return told

    def _skipped(self, runs: Sequence[Any], line: Line) -> list[str]:
        query = (
            sa.select(trace.c.step, trace.c.at, trace.c.detail)
            .where(trace.c.enrollment_id.in_([r.id for r in runs]), trace.c.what == "skipped")
            .order_by(trace.c.id)
        )
        with self.store.read() as conn:
            rows = conn.execute(query).all()
        return [
            f"`{row.step}` was passed over {self._shown(row.at)}: {row.detail.get('because') or row.detail.get('outcome')}"
            for row in rows
            if line.name in ("", row.step.partition(":")[2], row.step) or "outcome" in row.detail
        ]

    def _turns(
        self, got: Sequence[Got], taken: Mapping[int, Line], missing: Sequence[Line], bad: set[int]
    ) -> tuple[Turn, ...]:
        turns = [Turn(line.when.at if line.when else self.test.until, line.text, None, False) for line in missing]
        for g in got:
            line = taken.get(g.id)
            if g.fate != "sent" and line is None:
                text = f"{self._line(g)} {'refused: ' + g.reason if g.fate == 'refused' else 'waits'}"
            else:
                text = self._line(g) + (f" refused: {g.reason}" if g.fate == "refused" else "")
            turns.append(Turn(g.at, line.text if line else None, text, g.id not in bad))
        return tuple(sorted(turns, key=lambda t: t.at))

    def _reached(self) -> dict[str, Reached]:
        query = sa.select(enrollment.c.journey, trace.c.step, trace.c.what, trace.c.detail).join(
            enrollment, enrollment.c.id == trace.c.enrollment_id
        )
        steps: dict[str, set[str]] = {}
        taken: dict[str, set[tuple[str, str]]] = {}
        with self.store.read() as conn:
            rows = conn.execute(query).all()
            sent = conn.execute(sa.select(message.c.journey, message.c.step)).all()
        for journey, step in sent:
            steps.setdefault(journey, set()).add(step)
        for row in rows:
            steps.setdefault(row.journey, set()).add(row.step)
            arm = {"came": "then", "timed out": "else"}.get(row.what)
            if row.what == "chose":
                arm = row.detail.get("arm") or "none"
            if arm:
                taken.setdefault(row.journey, set()).add((row.step, str(arm)))
        return {
            name: Reached(frozenset(steps.get(name, ())), frozenset(taken.get(name, ()))) for name in self.test.journeys
        }


# ---- pure parts -----------------------------------------------------------------------------------------------------


def _someone(person: Person, journey: Journey, number: int) -> Enrollment:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    return Enrollment(0, journey.name, "", person.unit, number, None, None, "", "", 0, now, now, None)


def _fits(person: Person, journey: Journey, number: int) -> bool:
    """Whether chance leaves this id in (or out of) the journey as the test says."""
    return journey.holdout <= 0 or (
        (draw(_someone(person, journey, number), "holdout") < journey.holdout) == person.holdout
    )


def _arm(person: Person, journey: Journey, split: Split, number: int) -> bool:
    wanted = person.takes & set(split.split)
    if not wanted:
        return True
    drawn, edge = draw(_someone(person, journey, number), f"split {split.id}"), 0.0
    for name, arm in split.split.items():
        edge += arm.share
        if drawn < edge:
            return name in wanted
    return False


def _filler(number: int, unit: str, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {"id": number, "key": f"filler-{number}", "class": "", "attributes": {}}
    return row | {"created_at": now, "updated_at": now}


def _got(row: Any, lines: Sequence[Any], names: Mapping[tuple[Any, int], str]) -> Got:
    """A message's row, with the decisions on it."""
    about = frozenset(
        key
        for unit, of in (("customer", row.customer_id), ("account", row.account_id))
        if of is not None and (key := names.get((unit, of)))
    )
    to = names.get(("customer", row.customer_id), "") if row.addressee == "customer" else ""
    to = to or str(row.payload.get("to") or ("account_manager" if row.addressee == "staff" else row.addressee))
    held = tuple((line.at, line.reason) for line in lines if line.verdict == "hold")
    allowed = [line for line in lines if line.verdict == "allow"]
    denied = [line for line in lines if line.verdict == "deny"]
    fate: Literal["sent", "refused", "waiting"] = "waiting"
    at, reason, rule = row.due_at, "", ""
    if allowed and row.state not in ("cancelled", "planned", "held"):
        fate, at = "sent", allowed[-1].at
    elif row.state in ("denied", "expired", "cancelled"):
        fate, at, reason = "refused", row.settled_at or row.due_at, row.reason or row.state
        if denied:
            at, reason, rule = denied[-1].at, denied[-1].reason, denied[-1].rule
    return Got(row.id, at, row.medium, row.step, row.template, to, about, row.journey or "", fate, reason, rule, held)


def _alone(condition: Condition) -> bool:
    """Whether it can be asked of a unit, without its run."""
    apart = (Happened, Heard)
    return explain.subject_of(condition) is None and not any(isinstance(n, apart) for n in walk(condition.root))


def _sends(journey: Journey, line: Line) -> bool:
    for step in journey.every_step():
        named = (step.id, step.id.partition(":")[2], getattr(step, "template", ""))
        if (step.id, Medium(line.medium)) in step.sends() and line.name in named:
            return True
    return False


def _values(
    conn: sa.Connection, force: Force, condition: Condition, unit: Any, unit_id: int, now: datetime
) -> list[str]:
    """The values that a simple comparison compares: `points` is 150."""
    from orchestrator.condition import Scope, parse_expression
    from orchestrator.problems import Problems

    name = condition.text.split(" ")[0]
    trial = Problems()
    vocabulary = force.project.vocabulary
    found = parse_expression(name, Span.whole(""), Scope(unit=unit), vocabulary, trial)
    if found is None or trial.errors:
        return []
    value = force.segments.of_units(conn, [found], unit, [unit_id], now)[unit_id][1].get(found.text)
    return [f"`{name}` is {value if value is not None else 'not known'}"]


def _possessions(conn: sa.Connection, what: str, unit: str, unit_id: int, own: int | None) -> set[str]:
    """Names of the vouchers, rewards, badges or challenges that somebody has."""
    if what in ("voucher", "reward"):
        table = vouchers if what == "voucher" else claims
        name = table.c.pool if what == "voucher" else table.c.reward
        mine = sa.or_(sa.and_(table.c.unit == unit, table.c.unit_id == unit_id), table.c.customer_id == (own or 0))
        return {str(found) for found in conn.execute(sa.select(name).where(mine)).scalars()}
    column = event.c.account_id if unit == "account" else event.c.customer_id
    query = sa.select(event.c.properties).where(
        event.c.type == "challenge_completed", sa.or_(column == unit_id, event.c.customer_id == (own or 0))
    )
    key = "badge" if what == "badge" else "challenge"
    return {str(p.get(key)) for p in conn.execute(query).scalars()}


__all__ = ["Failure", "Got", "Reached", "Stage", "Turn", "Verdict", "ways"]
_ = versions
