"""Move every enrollment whose time has come: facts for a batch, pure moves, one transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from channels.base import EventKind, Medium
from orchestrator import earn, engine
from orchestrator.apply import Force, in_force, journey_version
from orchestrator.carry import Version
from orchestrator.condition import Condition
from orchestrator.ingest import is_new, record_events, wake_new
from orchestrator.journey import Journey
from orchestrator.model import Enrollment, Json
from orchestrator.problems import ProjectError
from orchestrator.reward import Asked, give, shortages, take_back
from orchestrator.steps import Addressee, Award, Cancel, Emit, EnterJourney, Facts, Give, Send, TakeBack, Update
from orchestrator.steps.sending import NO_MANAGER
from orchestrator.steps.split import Split
from orchestrator.store import experiments, points, versions
from orchestrator.store import journeys as running
from orchestrator.store import triggers as entering
from orchestrator.store.database import Store, uncollected
from orchestrator.store.journeys import UnitFacts
from orchestrator.store.tables import account, customer
from orchestrator.store.triggers import Entry

BATCH = 1000
Reports = Mapping[Medium, frozenset[EventKind]]
_WATCHED = "watched_until"
_Lines = Mapping[tuple[int, str], Json]
"""Where each step of a move stands in its file, by run and step."""


@dataclass(frozen=True, slots=True)
class AdvanceReport:
    """`problems`: what an operator should know, in words: voucher pools that run short, tasks that nobody got.

    `unmanaged`: by journey, messages for an account's manager that were passed over, as there is none."""

    moved: int = 0
    planned: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unmanaged: Mapping[str, int] = field(default_factory=dict)


def advance(
    store: Store,
    *,
    now: datetime,
    reports: Reports = {},  # noqa: B006  (never written)
    batch: int = BATCH,
    stop: Callable[[], bool] = lambda: False,
) -> AdvanceReport:
    """Move what is due until nothing is, or `stop()` says so between two batches.

    `reports`: what the channel of each medium can tell (`Channel.reports`); `first_of` hangs on it.
    """
    moved = planned = 0
    ended: Counter[str] = Counter()
    unmanaged: Counter[str] = Counter()
    short: dict[str, str] = {}  # by pool: of several batches the last one's word
    more = store.written(lambda conn: _woken(conn, now))
    while more and not stop():
        with uncollected():
            done, more = store.written(lambda conn: _batch(conn, reports, batch, now))
        moved, planned = moved + done.moved, planned + done.planned
        ended.update(done.ended)
        unmanaged.update(done.unmanaged)
        short.update((problem.split("`")[1], problem) for problem in done.problems)
    told = (*short.values(), *(_nobody(name, n) for name, n in sorted(unmanaged.items())))
    return AdvanceReport(moved, planned, ended, told, unmanaged)


def _nobody(journey: str, n: int) -> str:
    todo = "import `manager_email`, or say who takes a task then: `otherwise: TEAM`"
    return f"{journey}: skipped {n:,}, {'its account has' if n == 1 else 'their accounts have'} no manager; {todo}"


def _batch(conn: sa.Connection, reports: Reports, batch: int, now: datetime) -> tuple[AdvanceReport, bool]:
    """One batch of moves, and whether there may be more to do."""
    force = in_force(conn)
    if force is None or versions.EVERYTHING in force.paused:
        return AdvanceReport(), False
    runs = running.due(conn, now, batch, force.paused)
    if not runs:
        # What these runs emitted, or what came in meanwhile, may be somebody's exit, goal or wait.
        return AdvanceReport(), bool(wake_new(conn, force, now))
    moves = _moves(conn, force, runs, reports, now)
    planned, problems = _write(conn, force, moves, now)
    ended = Counter(m.ended for _, m in moves if m.ended)
    report = AdvanceReport(len(moves), planned, ended, problems, _unmanaged(m for _, m in moves))
    return report, _is_due(conn, now) or is_new(conn)


def _unmanaged(moves: Iterable[engine.Move]) -> Counter[str]:
    """By journey, what was passed over for want of a manager."""
    return Counter(
        move.enrollment.journey
        for move in moves
        for line in move.trace
        if line.what == "skipped" and line.detail.get("because") == NO_MANAGER
    )


def _is_due(conn: sa.Connection, now: datetime) -> bool:
    """False: nobody's time has come. True may be for one that is paused, or that another process is moving."""
    at = running.next_wake(conn)
    return at is not None and at <= now


def _woken(conn: sa.Connection, now: datetime) -> bool:
    """Wake who is to be woken; whether anybody may be due then."""
    force = in_force(conn)
    if force is None:
        return False
    _watch(conn, force, now)
    return _is_due(conn, now)


def _watch(conn: sa.Connection, force: Force, now: datetime) -> None:
    """Wake sleepers: by events since the last look, and those whom no event wakes: an exit by state came true, or a
    field that a wait hangs on was written."""
    wake_new(conn, force, now)
    hanging = set()
    for name, version, unit in running.live_versions(conn):
        if force.is_paused(name):
            continue
        found = _readable(conn, force, name, version)
        if found is None:
            continue
        for step, watched in found.journey.watched().items():
            for asked in watched:
                if isinstance(asked, Condition):
                    running.wake_where(conn, found.segments, name, version, unit, step, asked, now)
                else:
                    hanging.add(name)
    if hanging:
        since = versions.setting_instant(conn, _WATCHED)
        if since is not None and since < now:  # once for an instant: a tick with a fixed clock looks again
            running.wake_changed(conn, hanging, since, now)
    versions.set_instant(conn, _WATCHED, now)


def _readable(conn: sa.Connection, force: Force, name: str, version: str) -> Version | None:
    try:
        return journey_version(conn, force, name, version)
    except ProjectError:
        return None  # its people stay where they are until a workspace that can read it is applied; `doctor` tells


# ---- facts and moves ------------------------------------------------------------------------------------------------


def _moves(
    conn: sa.Connection, force: Force, runs: Sequence[Enrollment], reports: Reports, now: datetime
) -> list[tuple[Version | None, engine.Move]]:
    units = running.unit_facts(conn, runs)
    groups: dict[tuple[str, str, str], list[Enrollment]] = defaultdict(list)
    for run in runs:
        groups[(run.journey, run.version, run.step)].append(run)
    with_messages = [run.id for run in runs if run.step]
    messages = running.message_states(conn, with_messages) if with_messages else {}
    readable = {of: _readable(conn, force, *of) for of in {of[:2] for of in groups}}
    decided = experiments.decided(conn, {name for (name, _), one in readable.items() if one and _seeks(one.journey)})
    moves: list[tuple[Version | None, engine.Move]] = []
    for (name, version, step), group in groups.items():
        found = readable[name, version]
        if found is None:
            moves += [(None, _parked(run, "unreadable_version")) for run in group]
            continue
        asked = engine.asks(found.journey, step)
        answers = found.segments.evaluate(conn, asked, [run.id for run in group], now) if asked else {}
        for run in group:
            truths, values = answers.get(run.id, ({}, {}))
            unit = units[run.id]
            facts = Facts(
                truths=truths,
                values=values,
                messages=messages.get(run.id, ()),
                zone=unit.zone,
                workspace_zone=force.project.vocabulary.timezone,
                recipients={} if run.unit == "customer" else recipients(found.journey, unit),
                staff=_manager(unit),
                reports=reports,
                decided=decided.get(name, {}),
            )
            try:
                move = engine.advance(found.journey, run, facts, now)
            except Exception as error:  # a fault of ours in one run stops nobody else; its kind tells no data
                move = _parked(run, "fault", type(error).__name__)
            moves.append((found, move))
    return moves


def _seeks(journey: Journey) -> bool:
    """Whether a split of it looks for a winner."""
    return any(isinstance(step, Split) and step.winner is not None for step in journey.every_step())


def _parked(run: Enrollment, because: str, error: str = "") -> engine.Move:
    """It cannot be moved: its version cannot be read against the workspace in force, or the program has a fault. It
    sleeps until the next apply, and says so."""
    line = engine.Trace(run.step, run.visit, "parked", {"because": because, **({"error": error} if error else {})})
    return engine.Move(
        enrollment=run,
        step=run.step,
        visit=run.visit,
        since=run.since,
        wake_at=None,
        memory=run.memory,
        visits=dict(run.visits),
        effects=(),
        trace=(line,),
        ended=None,
        again=False,
    )


def _manager(unit: UnitFacts) -> Addressee | None:
    if not unit.manager or unit.account_id is None:
        return None
    return Addressee("staff", unit.account_id, unit.customer_id, unit.account_id)


def recipients(journey: Journey, unit: UnitFacts) -> dict[Medium, tuple[Addressee, ...]]:
    """By medium an account's contacts, in the order of the journey's roles, its own before those above."""
    roles = journey.recipients.roles
    rank = {role: n for n, role in enumerate(roles)}
    above = journey.recipients.above
    chosen = [c for c in unit.contacts if (not roles or c.role in rank) and (above or not c.above)]
    chosen.sort(key=lambda c: (c.above, rank.get(c.role or "", 0), c.customer_id))
    return {
        medium: tuple(
            Addressee("customer", c.customer_id, c.customer_id, unit.account_id, c.role or "", c.above)
            for c in chosen
            if medium in c.media
        )
        for medium in (Medium.EMAIL, Medium.SMS, Medium.PUSH, Medium.MAIL)
    }


# ---- writing --------------------------------------------------------------------------------------------------------


def _write(
    conn: sa.Connection, force: Force, moves: Sequence[tuple[Version | None, engine.Move]], now: datetime
) -> tuple[int, tuple[str, ...]]:
    """Everything a batch of moves did, by kind; returns how many messages were planned, and what to tell the
    operator."""
    moved = running.move(conn, [_cursor(m, now) for _, m in moves])
    done = [(found, m) for found, m in moves if m.enrollment.id in moved]
    running.add_trace(
        conn,
        [(m.enrollment.id, now, t.step, t.visit, t.what, t.detail) for _, m in done for t in m.trace],
    )
    cancels: dict[int, tuple[frozenset[str] | None, str]] = {}
    sends: list[dict[str, Any]] = []
    patches: dict[str, dict[int, Json]] = {"customer": {}, "account": {}}
    emits: list[dict[str, Any]] = []
    gives: list[tuple[Enrollment, Give]] = []
    backs: list[tuple[Enrollment, TakeBack]] = []
    awards: list[tuple[Enrollment, Award]] = []
    entries: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    slots = _Slots(conn, now)
    topics: dict[tuple[Medium, str, str], tuple[str, str]] = {}
    for found, m in done:
        run = m.enrollment
        if m.ended and m.ended != "completed":
            cancels[run.id] = (None, m.ended)
        for effect in m.effects:
            match effect:
                case Send():
                    assert found is not None
                    sends.append(_planned(found.journey, run, effect, slots, _topic(force, effect, topics)))
                case Cancel():
                    cancels.setdefault(run.id, (frozenset(effect.steps), effect.reason))
                case Update():
                    unit_id = run.customer_id if effect.target == "customer" else run.account_id
                    if unit_id is not None:
                        patches[effect.target].setdefault(unit_id, {}).update(effect.values)
                case Emit():
                    emits.append(_emitted(run, effect, now))
                case Give():
                    gives.append((run, effect))
                case TakeBack():
                    backs.append((run, effect))
                case Award():
                    awards.append((run, effect))
                case EnterJourney():
                    entries[effect.journey, effect.step, effect.visit].append(run.id)
    # Locked in the order in which deliver locks: enrollments, customers, accounts, messages.
    running.set_attributes(conn, customer, patches["customer"], now)
    running.set_attributes(conn, account, patches["account"], now)
    running.cancel_messages(conn, cancels, now)
    planned = running.add_messages(conn, sends, now)
    lines = {
        (m.enrollment.id, t.step): {"line": t.detail["line"]} for _, m in done for t in m.trace if "line" in t.detail
    }
    _take_back(conn, backs, lines, now)  # before what is given: somebody may have it at once
    problems = _give(conn, force, gives, lines, now)
    _award(conn, force, awards, now)
    record_events(conn, emits, now=now)
    for (name, step, visit), runs in entries.items():
        _enter(conn, force, name, runs, (step, visit), lines, now)
    return planned, problems


def _enter(
    conn: sa.Connection,
    force: Force,
    name: str,
    runs: Sequence[int],
    by: tuple[str, int],
    lines: _Lines,
    now: datetime,
) -> None:
    """Sent on into another journey by a step (`by`: its id and visit); a line in the diary when nobody is let in."""
    target = force.project.journeys.get(name)
    closed = "removed" if target is None else "" if target.admits else target.status
    if target is not None and not closed and not force.discards(name):
        # Where it is paused they stand at its beginning until it is resumed.
        entering.enter_from(conn, Entry(target, force.segments, now), runs, *by)
        return
    told = {"journey": name, "because": closed or "paused"}
    running.add_trace(conn, [(run, now, *by, "not_entered", {**lines.get((run, by[0]), {}), **told}) for run in runs])


def _give(
    conn: sa.Connection, force: Force, gives: Sequence[tuple[Enrollment, Give]], lines: _Lines, now: datetime
) -> tuple[str, ...]:
    """Vouchers for runs that came to such a step; a line in the diary of those for whom there was none."""
    if not gives:
        return ()
    asked = [
        Asked(f"step:{run.id}:{g.step}:{g.visit}", g.pool, run.unit, run.unit_id, run.customer_id, run.id)
        for run, g in gives
    ]
    given = give(conn, force.project, asked, now)
    left_out = [
        (run.id, now, g.step, g.visit, "no_voucher", {**lines.get((run.id, g.step), {}), "pool": g.pool})
        for (run, g), wanted in zip(gives, asked, strict=True)
        if wanted.key not in given
    ]
    running.add_trace(conn, left_out)
    return shortages(conn, force.project.vocabulary, {g.pool for _, g in gives})


def _take_back(conn: sa.Connection, backs: Sequence[tuple[Enrollment, TakeBack]], lines: _Lines, now: datetime) -> None:
    """Codes that go back into their pools; a line in the diary of those who had none to give back."""
    if not backs:
        return
    done = take_back(conn, [(b.pool, run.unit, run.unit_id) for run, b in backs], now)
    left_out = [
        (
            run.id,
            now,
            b.step,
            b.visit,
            "no_voucher",
            {**lines.get((run.id, b.step), {}), "pool": b.pool, "because": "there is none to take back"},
        )
        for run, b in backs
        if (b.pool, run.unit, run.unit_id) not in done
    ]
    running.add_trace(conn, left_out)


def _once_for(of: points.Owner, key: str) -> str:
    return f"journey:{of[0]}:{of[1]}:{key}"


def _used_before_a_merge(conn: sa.Connection, awards: Sequence[earn.Award]) -> set[str]:
    """Keys of those who had it under another name: of a record that was merged into theirs."""
    merged = points.owners(conn, "customer", {a.unit_id for a in awards if a.unit == "customer"})
    old: dict[str, str] = {}
    for a in awards:
        own = a.key.removeprefix(_once_for((a.unit, a.unit_id), ""))
        for other, owner in merged.items():
            if a.unit == "customer" and owner == a.unit_id != other:
                old[_once_for(("customer", other), own)] = a.key
    return {old[key] for key in points.known(conn, old)} if old else set()


def _award(conn: sa.Connection, force: Force, awards: Sequence[tuple[Enrollment, Award]], now: datetime) -> None:
    """Points for runs that came to such a step; a line in the diary of those whose key had been used before."""
    if not awards:
        return
    whose = points.whose(conn, force.project, {run.customer_id for run, _ in awards if run.customer_id is not None})
    wanted: list[tuple[Enrollment, Award, earn.Award]] = []
    for run, a in awards:
        of: points.Owner | None = whose.get(run.customer_id or 0)
        if run.unit == "account":
            of = ("account", run.unit_id)
        if of is not None:
            key = f"step:{run.id}:{a.step}:{a.visit}" if not a.key else _once_for(of, a.key)
            rule = f"{run.journey}/{a.step}"
            wanted.append((run, a, earn.Award(key, *of, a.points, rule=rule, customer_id=run.customer_id)))
    used = _used_before_a_merge(conn, [award for _, a, award in wanted if a.key])
    written = set(earn.award(conn, force.project, [award for _, _, award in wanted if award.key not in used], now))
    left_out = [
        (run.id, now, a.step, a.visit, "no_points", {"because": "given for this key before"})
        for run, a, award in wanted
        if award.key not in written
    ]
    running.add_trace(conn, left_out)


def _cursor(m: engine.Move, now: datetime) -> dict[str, Any]:
    run, ended = m.enrollment, m.ended is not None
    end: dict[str, Any] = {"ended_at": now, "ended_because": m.ended, "live_key": None} if ended else {}
    return {
        "id": run.id,
        "old_step": run.step,
        "old_visit": run.visit,
        "old_since": run.since,
        "step": m.step,
        "visit": m.visit,
        "since": m.since,
        "wake_at": None if ended else now if m.again else m.wake_at,
        "memory": m.memory,
        "visits": m.visits,
        **end,
    }


class _Slots:
    """Due instants of throttled messages: `count` to a slot, slots `per` apart; a step may have a rate of its own."""

    def __init__(self, conn: sa.Connection, now: datetime) -> None:
        self._conn, self._now = conn, now
        self._last: dict[tuple[str, str | None], tuple[datetime, int]] = {}

    def take(self, journey: Journey, send: Send) -> datetime:
        due_at = send.due_at
        if rate := send.payload.get("throttle"):
            due_at = self._next((journey.name, send.step), int(rate[0]), timedelta(seconds=rate[1]), due_at)
        if journey.throttle is not None:
            due_at = self._next((journey.name, None), journey.throttle.count, journey.throttle.per, due_at)
        return due_at

    def _next(self, key: tuple[str, str | None], count: int, per: timedelta, due_at: datetime) -> datetime:
        if key not in self._last:
            self._last[key] = running.last_slot(self._conn, *key, self._now - per) or (due_at, 0)
        at, used = self._last[key]
        if due_at >= at + per:
            at, used = due_at, 0
        elif used >= count:
            at, used = at + per, 0
        self._last[key] = (at, used + 1)
        return at


def _planned(journey: Journey, run: Enrollment, send: Send, slots: _Slots, kind: tuple[str, str]) -> dict[str, Any]:
    topic, purpose = kind
    return {
        "origin": "journey",
        "enrollment_id": run.id,
        "journey": journey.name,
        "version": journey.version,
        "step": send.step,
        "visit": send.visit,
        "addressee": send.addressee.kind,
        "addressee_id": send.addressee.id,
        "customer_id": send.addressee.customer_id,
        "account_id": send.addressee.account_id,
        "medium": send.medium.value,
        "template": send.template,
        "topic": topic,
        "purpose": purpose,
        "priority": journey.priority,
        "due_at": slots.take(journey, send),
        "expires_at": send.expires_at,
        "payload": send.payload,
    }


def _topic(force: Force, send: Send, known: dict[tuple[Medium, str, str], tuple[str, str]]) -> tuple[str, str]:
    """(topic, purpose) of what a send says: its template's. A message to staff has none and is service."""
    key = (send.medium, send.template, send.addressee.kind)
    found = known.get(key)
    if found is None:
        own = send.addressee.kind != "customer"
        found = known[key] = ("", "transactional") if own else force.topic(send.medium, send.template)
    return found


def _emitted(run: Enrollment, emit: Emit, now: datetime) -> dict[str, Any]:
    return {
        "type": emit.event,
        "key": f"emit:{run.id}:{emit.step}:{emit.visit}",
        "customer_id": run.customer_id,
        "account_id": run.account_id if run.unit == "account" else None,
        "occurred_at": now,
        "properties": dict(emit.properties),
    }
