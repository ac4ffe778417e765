"""A workspace played ahead of time: the real verbs on a scratch database, for people made up or a sample of the real.

Nothing here is a model of the engine: rows come in by the importer, points by `accrue`, people by `enroll`, every
message passes the gate, and what comes back of it comes by `ingest`. Invented is only what people do. Time jumps to
what is due next, rounded up to the hop: at those instants, and at no other, ticks would find something to do.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from itertools import count, groupby
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from channels.base import Channel, Discards, Event, Medium
from orchestrator import lottery, program, rank
from orchestrator.accrue import accrue
from orchestrator.advance import advance
from orchestrator.apply import apply, remember
from orchestrator.decide import decide, seeks
from orchestrator.deliver import deliver
from orchestrator.enroll import enroll
from orchestrator.importing import BATCH, import_rows
from orchestrator.ingest import receive
from orchestrator.journey import ApiTrigger
from orchestrator.model import LOYALTY_FIELDS
from orchestrator.outbound import Writer
from orchestrator.program import ClassProgram, Program
from orchestrator.project import Project
from orchestrator.rehearse.ahead import is_ranked
from orchestrator.rehearse.behaving import Back, Behaving, Sent
from orchestrator.rehearse.closing import Closings
from orchestrator.rehearse.cohort import HOURS, ORDER, Cohort, MadeUp, Told
from orchestrator.rehearse.converting import Converting
from orchestrator.rehearse.due import POINTS, PROGRESS, RANK, Due, Fresh, Waiting
from orchestrator.rehearse.missing import missing
from orchestrator.rehearse.playing import REPORTS
from orchestrator.rehearse.seeing import LOOKS, classes, listened
from orchestrator.rehearse.sketching import Sketching
from orchestrator.rehearse.stage import hurried, narrowed
from orchestrator.rehearse.summing import Heard, simulation
from orchestrator.simulation import Behaviour, Simulation
from orchestrator.source import digest
from orchestrator.store import versions
from orchestrator.store.database import Store
from orchestrator.store.tables import account, customer, enrollment, log, loyalty, message
from orchestrator.store.tables import draw as draws

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
AWARDED: Final = frozenset({"awarded", "deducted"})
"""In the diary: points were given, or taken."""
ROUNDS: Final = 200
"""More rounds than any journey has steps in a row: what is due after them is a loop."""

_ACCOUNT: Final = re.compile(
    rf"\baccount\.({'|'.join(['tier', *(name.partition('.')[0] for name in LOYALTY_FIELDS)])})\b"
)
"""What it decides of the account, asked of one of its contacts."""

_M: Final = message.c
_SENT: Final = (
    sa.select(
        log.c.id.label("line"), _M.id, _M.attempts, _M.journey, _M.step, _M.visit, _M.addressee, _M.medium,
        _M.enrollment_id, _M.addressee_id, enrollment.c.entered_at, enrollment.c.version, customer.c.key,
        account.c.key.label("firm"), loyalty.c.band,
    )
    .join(message, _M.id == log.c.message_id)
    .outerjoin(enrollment, enrollment.c.id == _M.enrollment_id)
    .outerjoin(customer, customer.c.id == _M.customer_id)
    .outerjoin(account, account.c.id == _M.account_id)
    .outerjoin(loyalty, sa.and_(loyalty.c.unit == "customer", loyalty.c.unit_id == _M.customer_id))
    .where(log.c.id > sa.bindparam("seen"), log.c.kind == "outcome", log.c.verdict == "sent")
    .order_by(log.c.id)
)  # fmt: skip
"""Messages that went out since a line of the log, in order."""

_UNDRAWN: Final = sa.select(draws.c.name).where(draws.c.drawn_at.is_(None))

Progress = Callable[[datetime], None]


def simulate(
    project: Project,
    cohort: Cohort,
    *,
    begin: datetime,
    until: datetime,
    behaviour: Behaviour,
    seed: int,
    folder: Path,
    channels: Mapping[Medium, Channel],
    hop: timedelta = HOUR,
    journeys: Sequence[str] = (),
    progress: Progress | None = None,
) -> Simulation:
    """What comes of a workspace from `begin` to `until` (aware UTC), for this cohort.

    `folder` is the caller's: private, and hers to remove; the scratch database is made in it, and holds all that the
    cohort holds of persons. `channels` reach nobody; where they throw away what they are given, only samples of each
    text are written. `journeys`: only these, and those that they enter; all without. `hop`: between two looks at least.
    The same arguments give the same messages. Raises what the verbs raise.
    """
    run = _Run(project, cohort, begin, until, behaviour, seed, folder, channels, hop, tuple(journeys))
    try:
        return run.play(progress or (lambda at: None))
    finally:
        run.store.close()


@dataclass
class _Run:
    """One simulation under way. `now` is its present; `backs` what will come back, soonest first; `late`: what comes
    back and nobody asks for, taken in at the end."""

    asked: Project
    cohort: Cohort
    begin: datetime
    until: datetime
    behaviour: Behaviour
    seed: int
    folder: Path
    channels: Mapping[Medium, Channel]
    hop: timedelta
    names: tuple[str, ...]
    project: Project = field(init=False)
    store: Store = field(init=False)
    now: datetime = field(init=False)
    behaving: Behaving = field(init=False)
    converting: Converting = field(init=False)
    due: Due = field(init=False)
    closings: Closings = field(init=False)
    fresh: Fresh = field(default_factory=Fresh)
    before: datetime = field(init=False)
    heard: Counter[Heard] = field(default_factory=Counter)
    notes: dict[str, None] = field(default_factory=dict)
    paused: Counter[str] = field(default_factory=Counter)
    backs: list[tuple[datetime, int, Back]] = field(default_factory=list)
    late: list[Event] = field(default_factory=list)
    _number: Iterator[int] = field(default_factory=count)
    _seen: int = 0
    _life: list[Told] = field(default_factory=list)
    _told: int = 0
    _waiting: Waiting | None = None
    writer: type[Writer] = Writer

    def __post_init__(self) -> None:
        self.now = self.before = self.begin
        self.project = scaled(part(self.asked, self.names), self.cohort.scale)
        if all(isinstance(channel, Discards) for channel in self.channels.values()):
            self.writer = Sketching
        self.store = hurried(self.folder / "simulation.db")
        self.behaving = Behaving(self.behaviour, self.seed)
        self.converting = Converting(self.store, self.cohort.keys, self.project, self.seed, self.begin)

    def play(self, progress: Progress) -> Simulation:
        self._begin()
        self._look()
        while (at := self._next()) < self.until:
            self.now = at
            self._look()
            progress(at)
        progress(self.until)
        self._hear_late()
        self._tell()
        return simulation(
            self.store, self.project, self.asked.hash, self.cohort, self.begin, self.until, self.seed, self.heard,
            tuple(self.notes), only=bool(self.names),
        )  # fmt: skip

    def _begin(self) -> None:
        """Everybody comes in, what they did is counted, and the workspace is put in force."""
        self.notes.update(dict.fromkeys(self.cohort.fill(self.store, self.begin, self.project)))
        with self.store.read() as conn:
            fresh = versions.newest(conn) is None
        caps = self.project.vocabulary.policies.caps
        ranks = bool(self.project.program.classes) and (
            is_ranked(self.project, _told(self.project)) or any(cap.band for cap in caps)
        )
        if fresh and self.project.program.classes:
            # What they did before is counted before the clock begins: no journey takes it for news.
            self._apply(replace(self.project, journeys={}, hash=digest("before", self.project.hash)))
            accrue(self.store, now=self.begin)
            if ranks:
                rank.refresh(self.store, now=self.begin)
                accrue(self.store, now=self.begin)
        self._apply(self.project)
        self._life = list(self.cohort.life(self.begin, self.until, self.project))
        self.due = Due(self.store, self.project, self.until, ranks)
        self.fresh.wrote = True
        self._seeks, self._decided = seeks(self.project), self.begin
        # An experiment's winner may hang on any of them.
        self._listened = {} if self._seeks else {j.version: listened(j) for j in self.project.journeys.values()}
        with self.store.read() as conn:
            self._seen = conn.execute(sa.select(sa.func.coalesce(sa.func.max(log.c.id), 0))).scalar_one()
            self.closings = Closings.found(conn, self.project)

    def _apply(self, project: Project) -> None:
        remember(project)
        apply(self.store, project, author="simulation", message="", now=self.begin)

    # ---- time

    def _next(self) -> datetime:
        """The next instant of the hop's grid at which there may be something to do; before hours close, if it comes
        sooner."""
        soonest = [self.until, self.due.next(self.now, self._waiting or self._ask())]
        if self._told < len(self._life):
            soonest.append(self._life[self._told].at)
        if self.backs:
            soonest.append(self.backs[0][0])
        at = max(min(soonest), self.now + timedelta(microseconds=1))
        grid = self._grid(at)
        return self.closings.before(at, grid) or grid

    def _ask(self) -> Waiting:
        """What is waited for, as it stands; and what has been written since it was asked last."""
        self._waiting = waiting = self.due.waiting()
        self.fresh.types |= waiting.types
        self.fresh.wrote |= "updated" in waiting.moves
        self.fresh.standing |= {POINTS} if waiting.moves & AWARDED else set()
        return waiting

    def _grid(self, at: datetime) -> datetime:
        """Rounded up to the hop."""
        return self.begin - (self.begin - at) // self.hop * self.hop

    def _look(self) -> None:
        """All that is due now, and what comes back of it at once."""
        before = self.before
        self._decide()
        self._take_in()
        heard = self._hear()
        counts = self.due.counts(before, self.now)
        if self.due.is_night(self.now):
            rank.refresh(self.store, now=self.now)
            self.fresh.standing.add(RANK)
        fires = before == self.now or self.due.fires(before, self.now)
        for _ in range(ROUNDS):
            if not self._round(before, counts, fires, heard):
                self.before = self.now
                return
            before, counts, fires, heard = self.now, False, False, False
        self.notes[f"more than {ROUNDS} moves in a row at one instant: a journey goes round in a circle"] = None

    def _decide(self) -> None:
        """Once a day what a tick does every hour: experiments whose winner is clear."""
        if self._seeks and self.now - self._decided >= DAY:
            self._decided = self.now
            for told in decide(self.store, now=self.now, every=DAY).told:
                self.notes[f"{self.now:%Y-%m-%d}: {told}"] = None

    def _round(self, before: datetime, counts: bool, fires: bool, heard: bool) -> bool:
        """One round of a tick, of each verb only where there may be something for it: whether anything was."""
        store, now, due = self.store, self.now, self.due
        waiting = self._ask()
        fresh, self.fresh = self.fresh, Fresh()
        looks = 0
        if self._counts(fresh) or counts or _is_due(waiting.programme, now):
            self._waiting = None
            counted = accrue(store, now=now)
            looks = counted.looks
            self._seed_draws()
            if looks:
                fresh.types |= due.new_events()
                fresh.standing.add(PROGRESS)
            fresh.standing |= {POINTS} if counted.points or _is_due(waiting.programme, now) else set()
        unchanged = due.unchanged(before, now, fresh)
        entered = moved = planned = judged = 0
        if fresh or fires or len(unchanged) < due.triggers():
            self._waiting = None
            entered = sum(enroll(store, now=now, tell=self._held, unchanged=unchanged).values())
        if entered or fresh or heard or _is_due(waiting.wake, now) or due.watched(before, now, fresh):
            self._waiting = None
            done = advance(store, now=now, reports=REPORTS)
            moved, planned = done.moved, done.planned
        if planned or heard or _is_due(waiting.deliver, now):
            self._waiting = None
            sent = deliver(
                store, self.channels, self.cohort.keys, now=lambda: now, worker="simulation", writer=self.writer
            )
            judged = sent.judged
            for journey in sent.paused:
                self._held(journey, "too many of its messages failed (`policies.pause_if`)")
        back = self._gone_out() if judged else False
        self._waiting = None if back else self._waiting
        return bool(looks or entered or moved or judged or back)

    def _counts(self, fresh: Fresh) -> bool:
        """Whether what is fresh may be something to count: by a programme anything, else complaints."""
        if self.project.program.classes or self.project.class_rules:
            return bool(fresh)
        complaints = self.project.vocabulary.complaints
        return complaints is not None and bool(fresh.types & {complaints.event, complaints.closed_by})

    def _seed_draws(self) -> None:
        """Lots are drawn by a secret seed: here by one that is the same every time."""
        if not any(p.draws for p in self.project.program.classes.values()):
            return
        with self.store.write() as conn:
            for name in conn.execute(_UNDRAWN).scalars().all():
                seed = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[: lottery.SEED]
                told = {"seed": seed, "commitment": hashlib.sha256(seed).hexdigest()}
                conn.execute(draws.update().where(draws.c.name == name, draws.c.seed != seed).values(**told))

    def _held(self, journey: str, why: str) -> None:
        """A pause that somebody would look at: here it is told, and the journey goes on."""
        self.paused[journey] += 1
        with self.store.write() as conn:
            versions.resume(conn, journey, by="simulation", now=self.now)
        reason = f"{journey} would have been paused: {why}"
        if self.paused[journey] == 1:
            self.notes[f"{self.now:%Y-%m-%d}: {reason}"] = None

    # ---- what people do

    def _take_in(self) -> None:
        """What the cohort does by itself by now."""
        first = self._told
        while self._told < len(self._life) and self._life[self._told].at <= self.now:
            self._told += 1
        rows = sorted(self._life[first : self._told], key=lambda told: ORDER.index(told.kind))
        for kind, some in groupby(rows, key=lambda told: told.kind):
            mine = [told.row for told in some]
            report = import_rows(self.store, self.cohort.keys, self.project.vocabulary, kind, mine, now=self.now)
            self.due.came_in(kind, mine, self.now)
            self.fresh.wrote |= kind in ("accounts", "customers", "records")
            self.notes.update((f"{kind}: {refused.problem}", None) for refused in report.refused[:1])

    def _gone_out(self) -> bool:
        """Draw what becomes of messages that have just gone out; take in what comes back of them at once."""
        for sent in self._sent():
            for back in self.behaving.takes(sent, self.now):
                if back.kind is None:
                    back = back._replace(at=_told_at(back.at))
                elif back.kind in LOOKS and not sent.heeded:
                    # It needs no look of its own: heard at the end, at its time.
                    self.late.append(Event(sent.attempt, back.kind, self._grid(back.at)))
                    continue
                heapq.heappush(self.backs, (back.at, next(self._number), back))
        return self._hear()

    def _hear(self) -> bool:
        """What has come back by now, by the one door; whether anything has."""
        backs = []
        while self.backs and self.backs[0][0] <= self.now:
            backs.append(heapq.heappop(self.backs)[2])
        hopes = [back.sent for back in backs if back.kind is None]
        done = self.converting.convert(hopes, self.now) if hopes else []
        self.heard.update(Heard(self.now, s.journey, s.medium, "converted") for s in done)
        told = [
            Event(back.sent.attempt, back.kind, self.now, reason=back.reason) for back in backs if back.kind is not None
        ]
        if told:
            receive(self.store, self.cohort.keys, told, now=self.now)
        self.fresh.wrote |= bool(done)
        return bool(told or done)

    def _hear_late(self) -> None:
        """What nobody asked for, as if it had been heard on its way."""
        late = [told for told in self.late if told.at < self.until]
        for first in range(0, len(late), BATCH):
            receive(self.store, self.cohort.keys, late[first : first + BATCH], now=self.now)

    def _sent(self) -> list[Sent]:
        """Messages that went out since the last call, in order. One statement, by the log's own order."""
        with self.store.read() as conn:
            rows = conn.execute(_SENT, {"seen": self._seen}).all()
        if rows:
            self._seen = rows[-1].line
        return [_sent(row, self._heeds(row)) for row in rows if row.enrollment_id is not None]

    def _heeds(self, row: Any) -> bool:
        """Whether anything may hang on a message's being opened: of another version nothing is known."""
        known = self._listened.get(row.version)
        return known is None or row.step in known

    def _tell(self) -> None:
        self.notes.update(self.converting.notes)
        called = [j.name for j in self.project.journeys.values() if all(isinstance(t, ApiTrigger) for t in j.triggers)]
        entered = {name for j in self.project.journeys.values() for step in j.every_step() for name in step.enters()}
        for name in sorted(set(called) - entered):
            self.notes[f"nobody enters {name}: it waits for a call, and nobody calls here"] = None
        invented = isinstance(self.cohort, MadeUp)
        whys = missing(self.store, self.project, self.names, self.begin, self.now, made_up=invented)
        self.notes.update(dict.fromkeys(whys))
        for name, times in self.paused.items():
            if times > 1:
                self.notes[f"{name} would have been paused {times} times in all"] = None


def _is_due(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def _told_at(at: datetime) -> datetime:
    """When a shop's systems tell of what happened at some moment."""
    day = at.astimezone(UTC).date()
    hours = [datetime.combine(day + n * timedelta(days=1), time(hour), UTC) for n in (0, 1) for hour in HOURS]
    return min(hour for hour in hours if hour >= at)


def _sent(row: Any, heeded: bool) -> Sent:
    since = row.entered_at.isoformat() if row.entered_at is not None else ""
    whom = f"{row.addressee}:{row.key or ''}:{row.firm or ''}"
    name = f"{row.journey}/{row.step}/{row.visit}/{row.medium}/{whom}/{since}"
    customer_ = row.addressee == "customer"
    medium, attempt = Medium(row.medium), f"m{row.id}a{row.attempts}"
    band = row.band or ""
    return Sent(row.id, attempt, name, row.journey, row.step, medium, band, row.enrollment_id, customer_, heeded)


def part(project: Project, names: Sequence[str]) -> Project:
    """What these journeys need of a workspace, all of it without names: the programme is left out where nothing in
    them can tell what it counts, and so are programmes of classes of which nobody can enter; for its looks are most of
    what an instant costs."""
    if not names:
        return project
    found = narrowed(project, names, set(project.program.classes))
    if not found.program.classes:
        return found
    if not _hangs_on_programme(found):
        return replace(found, program=Program(), hash=digest("without", found.hash))
    kept = _within(found, classes(found))
    if kept == found.program.classes:
        return found
    return replace(found, program=replace(found.program, classes=kept), hash=digest("within", found.hash, *kept))


def _within(project: Project, of: Collection[str] | None) -> Mapping[str, ClassProgram]:
    """The programmes of these classes (None: of all), and of the others what somebody of these may come to see."""
    programs = project.program.classes
    if of is None or _names_accounts(project):  # whose class may be another one than their contacts'
        return programs
    kept = {name: one for name, one in programs.items() if name in of or _gives_to_others(one)}
    known = {refund for one in kept.values() for refund in one.refunds}
    for name, one in programs.items():
        if name not in kept and not known.issuperset(one.refunds):  # which take back whoever's event it is
            kept[name] = ClassProgram(name, one.unit, one.tiers, refunds=one.refunds)
    return {name: kept[name] for name in programs if name in kept}


def _names_accounts(project: Project) -> bool:
    return any(j.unit == "customer" for j in project.journeys.values()) and any(map(_ACCOUNT.search, _told(project)))


def _gives_to_others(one: ClassProgram) -> bool:
    """Whether somebody of another class may get something by it."""
    return one.referral is not None and one.referral.referred is not None


def _hangs_on_programme(project: Project) -> bool:
    """Whether anything of these journeys, of their texts or of what judges their messages names what it decides. Rather
    once too often: the words are looked for wherever they stand."""
    vocabulary = project.vocabulary
    if project.class_rules or any(cap.tier or cap.band for cap in vocabulary.policies.caps):
        return True
    return any(word in text for text in _told(project) for word in program.WORDS)


def _told(project: Project) -> list[str]:
    """Journeys and segments as they are written, and what their texts name."""
    journeys = project.journeys.values()
    told = [project.files.get(journey.path, "") for journey in journeys]
    told += [project.segments[name].text for j in journeys for name in j.segments if name in project.segments]
    for journey in journeys:
        for step in journey.every_step():
            name = getattr(step, "template", "")
            found = (
                [text for _, medium in step.sends() for text in project.templates.every(medium, name)] if name else []
            )
            told += [" ".join(template.names) for template in found]
    return told


def scaled(project: Project, scale: float) -> Project:
    """The workspace with what is counted over everybody cut to a sample: budgets, and journeys' throttles."""
    if scale <= 1:
        return project
    policies = project.vocabulary.policies
    budgets = {m: (max(1, round(b[0] / scale)), *b[1:]) for m, b in policies.budgets.items()}
    journeys = {
        name: j if j.throttle is None else replace(j, throttle=replace(j.throttle, per=j.throttle.per * scale))
        for name, j in project.journeys.items()
    }
    vocabulary = replace(project.vocabulary, policies=replace(policies, budgets=budgets))
    return replace(project, vocabulary=vocabulary, journeys=journeys, hash=digest("scaled", project.hash, str(scale)))
