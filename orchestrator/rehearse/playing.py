"""One test played from its clock to its end: what is due, what happens, what comes back."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from itertools import count
from typing import Any, Final

import sqlalchemy as sa

from channels.base import Channel, Event, EventKind, Medium, Reason
from orchestrator import earn, rank
from orchestrator.accrue import accrue
from orchestrator.advance import advance
from orchestrator.apply import apply, remember
from orchestrator.dates import after
from orchestrator.deliver import deliver
from orchestrator.enroll import enroll
from orchestrator.ingest import receive
from orchestrator.problems import Span
from orchestrator.project import Project
from orchestrator.rehearsal import Change, Deed, Reaction
from orchestrator.rehearsal.expectation import Course, Has, Line, Moment, State
from orchestrator.rehearse.acting import act
from orchestrator.rehearse.ahead import Ahead, Stop, is_ranked
from orchestrator.rehearse.looking import attempt, found, messages
from orchestrator.rehearse.scene import KEYS, Impossible, Scene
from orchestrator.rehearse.verdict import Got
from orchestrator.source import digest
from orchestrator.store.tables import voucher
from orchestrator.zones import instant

ROUNDS: Final = 200
STOPS: Final = 50_000
REPORTS: Final[Mapping[Medium, frozenset[EventKind]]] = {
    Medium.EMAIL: frozenset(EventKind) - {EventKind.REPLIED, EventKind.RETURNED},
    Medium.SMS: frozenset({EventKind.DELIVERED, EventKind.FAILED, EventKind.CLICKED, EventKind.REPLIED}),
    Medium.PUSH: frozenset({EventKind.FAILED, EventKind.OPENED}),
    Medium.MAIL: frozenset({EventKind.ACCEPTED, EventKind.RETURNED}),
}
"""What the providers of a rehearsal tell: of e-mails and texts that they arrived, of pushes and letters not."""
_LOST: Final = frozenset({EventKind.BOUNCED, EventKind.SOFT_BOUNCED, EventKind.BLOCKED, EventKind.FAILED})
_LAST: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Check:
    """Something to be looked at when its time has come."""

    expected: State | Course | Has


@dataclass(frozen=True, slots=True)
class _Back:
    """Something that comes back of a message."""

    reaction: Reaction
    message_id: int


@dataclass
class Play:
    """A scene under way. `armed`: what is to come back of messages that are not out yet; `told`: messages whose
    arrival was reported."""

    scene: Scene
    channels: Mapping[Medium, Channel]
    stops: int = 0
    armed: list[Reaction] = field(default_factory=list)
    told: set[int] = field(default_factory=set)
    _queue: list[tuple[datetime, int, Any]] = field(default_factory=list)
    _number: Iterator[int] = field(default_factory=count)

    def run(self) -> None:
        """From the first to the last. What cannot be had is a failure of the test."""
        try:
            self._begin()
            self._on()
        except Impossible as error:
            self.scene.fail("impossible", str(error), self.scene.test.span)
        for reaction in self.armed:
            self.scene.fail("impossible", f"no {reaction.step} went out, so nothing came back of it", reaction.span)

    # ---- before the clock

    def _begin(self) -> None:
        scene, test = self.scene, self.scene.test
        scene.people("account")
        scene.people("customer")
        scene.take_in(test.given.rows)
        scene.take_in([deed.row for deed in test.given.deeds if deed.row is not None])
        project = scene.project
        if project.program.classes:
            # What is given is counted before the clock begins: points and tiers stand as they would, and no journey
            # takes them for news.
            self._apply(replace(project, journeys={}, hash=digest("given", project.hash)))
            self._grant()
            accrue(scene.store, now=scene.now)
            if self._is_ranked():
                rank.refresh(scene.store, now=scene.now)
                accrue(scene.store, now=scene.now)
        self._apply(project)
        for happening in test.happens:
            self._put(happening.at, happening)
        for expected in test.expect:
            if not isinstance(expected, Line):
                self._put(self._check_at(expected.when), _Check(expected))

    def _apply(self, project: Project) -> None:
        remember(project)
        apply(self.scene.store, project, author="test", message="", now=self.scene.now)

    def _grant(self) -> None:
        """Points and voucher codes that are given."""
        scene, given = self.scene, self.scene.test.given
        awards = []
        for key, points in given.points.items():
            unit, unit_id = scene.owner(key)
            awards.append(earn.Award(f"given:{key}", unit, unit_id, points, counts=True, at=scene.now))
        rows = [
            {"pool": pool, "code": f"{pool}-{n:04}".upper(), "created_at": scene.now}
            for pool, how_many in given.vouchers.items()
            for n in range(1, how_many + 1)
        ]
        with scene.store.write() as conn:
            if awards:
                earn.award(conn, scene.project, awards, scene.now)
            if rows:
                conn.execute(sa.insert(voucher), rows)

    def _check_at(self, when: Moment | None) -> datetime:
        """With a time of day: then; of a day: its last second; without: the test's last."""
        if when is None:
            return self.scene.test.until - _LAST
        if when.first is not None:
            return instant(when.day, when.first, self.scene.tz)
        return instant(when.day + timedelta(days=1), time(), self.scene.tz) - _LAST

    def _put(self, at: datetime, what: Any) -> None:
        heapq.heappush(self._queue, (max(at, self.scene.test.clock), next(self._number), what))

    # ---- time passes

    def _on(self) -> None:
        scene, ahead = self.scene, Ahead(self.scene, self._is_ranked())
        self._settled()
        while self.stops < STOPS:
            stop = ahead.stop(min([scene.test.until, *(at for at, _, _ in self._queue[:1])]))
            if stop.at >= scene.test.until:
                return
            scene.now, self.stops = stop.at, self.stops + 1
            if stop.only and not self._anything(stop):
                continue
            if ahead.is_night():
                rank.refresh(scene.store, now=scene.now)
            self._settled()
        raise Impossible(f"more than {STOPS:,} moments at which something is due: it never comes to rest")

    def _settled(self) -> None:
        """What happens now, all that follows from it, and a look at what should be so by then."""
        checks = self._happen()
        self._settle()
        for check in checks:
            so, why = found(self.scene, check.expected)
            if not so:
                self.scene.fail("untrue", check.expected.text, check.expected.span, *why)

    def _anything(self, stop: Stop) -> bool:
        """Whether the one thing that may be due there came to anything."""
        store, now = self.scene.store, self.scene.now
        if stop.only == "enter":
            return any(enroll(store, now=now).values())
        done = accrue(store, now=now)
        return bool(done.points or done.played or done.referred or done.graded)

    def _is_ranked(self) -> bool:
        """Whether these journeys, or what is expected, ask for what the nightly ranking finds."""
        return is_ranked(self.scene.project, [e.condition.text for e in self.scene.test.expect if isinstance(e, State)])

    def _settle(self) -> None:
        """All that is due at this moment, and what comes back of it at once."""
        store, now = self.scene.store, self.scene.now
        for _ in range(ROUNDS):
            looks = accrue(store, now=now).looks
            entered = any(enroll(store, now=now).values())
            moved = advance(store, now=now, reports=REPORTS).moved
            sent = deliver(store, self.channels, KEYS, now=lambda: now, worker="test").judged
            heard = self._hear() if sent else False
            if not (looks or entered or moved or sent or heard):
                return

    def _hear(self) -> bool:
        """Messages that have just gone out arrive, unless the test says what else becomes of them."""
        arrived = []
        for got in messages(self.scene):
            if got.fate != "sent" or got.id in self.told:
                continue
            self.told.add(got.id)
            mine = next((r for r in self.armed if _about(r, got)), None)
            if mine is not None:
                self.armed.remove(mine)
                self._put(after(self.scene.now, mine.delay, self.scene.tz), _Back(mine, got.id))
            lost = mine is not None and mine.kind in _LOST
            if not lost and EventKind.DELIVERED in REPORTS.get(Medium(got.medium), ()):
                arrived.append(Event(attempt(self.scene, got.id), EventKind.DELIVERED, self.scene.now))
        if arrived:
            receive(self.scene.store, KEYS, arrived, now=self.scene.now)
        return bool(arrived)

    # ---- what happens

    def _happen(self) -> list[_Check]:
        """What the test says happens by now; returns what there is to be looked at once it is settled."""
        checks = []
        while self._queue and self._queue[0][0] <= self.scene.now:
            what = heapq.heappop(self._queue)[2]
            match what:
                case _Check():
                    checks.append(what)
                case Deed():
                    self._do(what)
                case Change():
                    self.scene.take_in(what.rows)
                case Reaction():
                    self._arm(what)
                case _Back():
                    self._react(what.reaction, what.message_id)
        return checks

    def _do(self, deed: Deed) -> None:
        if deed.row is not None:
            self.scene.take_in([deed.row])
        elif refused := act(self.scene, deed, self.stops):
            self._impossible(f"{deed.who} {deed.verb}: {refused}", deed.span)

    def _impossible(self, text: str, span: Span) -> None:
        self.scene.fail("impossible", text, span)

    def _arm(self, reaction: Reaction) -> None:
        """The last such message that is out reacts now; where none is, the next one will."""
        out = [g for g in messages(self.scene) if g.fate == "sent" and _about(reaction, g)]
        if out:
            self._react(reaction, out[-1].id)
        else:
            self.armed.append(reaction)

    def _react(self, reaction: Reaction, message_id: int) -> None:
        reason = Reason.UNKNOWN_ADDRESS if reaction.kind is EventKind.BOUNCED else None
        told = attempt(self.scene, message_id)
        came = Event(told, reaction.kind, self.scene.now, reason=reason, url=reaction.url, text=reaction.text)
        receive(self.scene.store, KEYS, [came], now=self.scene.now)


def _about(reaction: Reaction, got: Got) -> bool:
    return got.step == reaction.step and reaction.to in ("", got.to, *got.about)
