"""One tick: what was earned, who enters, who moves on, what goes out, until nothing is due; then all of it sealed.
Before all else experiments whose winner is clear are decided."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from channels.base import Channel, Medium
from orchestrator import listen
from orchestrator.accrue import accrue
from orchestrator.advance import advance
from orchestrator.decide import decide
from orchestrator.deliver import Line, Permits, Senders, deliver
from orchestrator.enroll import enroll
from orchestrator.erase import unreplayed
from orchestrator.seal import SealBroken, SealReport, seal
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys
from orchestrator.store.tables import tick as ticks

ROUNDS = 1000
"""More rounds than any journey has steps in a row: what is due after them is a loop, and the next tick's."""


DONE = {
    "points_earned": ("point earned", "points earned"),
    "points_taken_back": ("point taken back", "points taken back"),
    "points_expired": ("point expired", "points expired"),
    "tiers_changed": ("tier changed", "tiers changed"),
    "membership_started": ("membership begun", "memberships begun"),
    "membership_renewed": ("membership renewed", "memberships renewed"),
    "membership_ended": ("membership ended", "memberships ended"),
    "benefits_caught_up": ("benefit that was owed given", "benefits that were owed given"),
    "challenges_done": ("challenge done", "challenges done"),
    "draws_held": ("draw held", "draws held"),
    "referrals_converted": ("referral converted", "referrals converted"),
    "commissions": ("commission", "commissions"),
    "complaints": ("complaint case or task", "complaint cases and tasks"),
}
"""What the programme and complaints came to, in words: one of each, and several."""


@dataclass(frozen=True, slots=True)
class Tally:
    """So many messages of a journey ("" for none) and medium: held or denied, or what became of those handed over."""

    journey: str
    medium: str
    verdict: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class TickReport:
    """What a tick did. Numbers and names of the workspace only: no person.

    `moves` counts moves, `planned` new messages, `ended` runs by why; `messages` says what became of messages.
    `problems`: what an operator should know; `paused`: journeys that `pause_if` or the guard stopped. `finished`:
    nothing was due any more at the end. `sealed`: rows of the ledgers sealed at the end; `seal_lag`: for how many
    seconds the oldest that is not sealed has waited. `programme`: what loyalty and complaints came to, named as in
    `DONE`.
    """

    id: int
    now: datetime
    seconds: float
    rounds: int
    finished: bool
    enrolled: Mapping[str, int] = field(default_factory=dict)
    moves: int = 0
    planned: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)
    messages: tuple[Tally, ...] = ()
    problems: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    sealed: int = 0
    seal_lag: float = 0.0
    programme: Mapping[str, int] = field(default_factory=dict)

    def by_verdict(self) -> dict[str, int]:
        """Messages by what became of them."""
        found: Counter[str] = Counter()
        for tally in self.messages:
            found[tally.verdict] += tally.count
        return dict(found)

    @property
    def name(self) -> str:
        """One word for an operator's list: what kind of tick it was."""
        if not self.finished:
            return "Unfinished"
        verdicts = self.by_verdict()
        if verdicts.get("sent"):
            return "Dispatched"
        return "Moved" if verdicts or self.moves or self.enrolled or self.programme else "Idle"

    @property
    def summary(self) -> str:
        """One line: `12 entered, 30 moves, sent 9, held 2, denied 1, 340 points earned, 2 tiers changed`."""
        parts = [f"{sum(self.enrolled.values())} entered"] if self.enrolled else []
        parts += [f"{self.moves} move{'' if self.moves == 1 else 's'}"] if self.moves else []
        words = {"hold": "held", "deny": "denied"}
        parts += [f"{words.get(verdict, verdict)} {n}" for verdict, n in sorted(self.by_verdict().items())]
        parts += [f"paused {journey}" for journey in self.paused]
        done = [(self.programme.get(name, 0), *words) for name, words in DONE.items()]
        parts += [f"{n:,} {one if n == 1 else many}" for n, one, many in done if n]
        text = ", ".join(parts) or "nothing was due"
        return text if self.finished else f"{text}; time is up, the next tick goes on"

    def counts(self) -> dict[str, Any]:
        """All of it as plain JSON, for results and `--json`."""
        return {
            "tick": self.id,
            "now": self.now.isoformat(),
            "seconds": round(self.seconds, 3),
            "rounds": self.rounds,
            "finished": self.finished,
            "summary": self.summary,
            "enrolled": dict(self.enrolled),
            "moves": self.moves,
            "planned": self.planned,
            "ended": dict(self.ended),
            "messages": [asdict(tally) for tally in self.messages],
            "problems": list(self.problems),
            "paused": list(self.paused),
            "sealed": self.sealed,
            "seal_lag": round(self.seal_lag, 3),
            "programme": dict(self.programme),
        }

    def markdown(self) -> str:
        """The same for Prefect's pages: counts by journey, medium and verdict."""
        lines = [f"**{self.summary}**", "", f"at {self.now:%Y-%m-%d %H:%M} UTC, in {self.seconds:.1f} s", ""]
        lines += [f"- {problem}" for problem in self.problems] + [""] * bool(self.problems)
        if self.enrolled:
            lines += ["| journey | entered |", "| --- | ---: |"]
            lines += [f"| {journey} | {n} |" for journey, n in sorted(self.enrolled.items())]
            lines.append("")
        if self.messages:
            lines += ["| journey | medium | verdict | reason | messages |", "| --- | --- | --- | --- | ---: |"]
            lines += [f"| {t.journey} | {t.medium} | {t.verdict} | {t.reason} | {t.count} |" for t in self.messages]
        return "\n".join(lines)


def tick(
    store: Store,
    channels: Mapping[Medium, Channel],
    keys: Keys,
    *,
    clock: Callable[[], datetime],
    budget_seconds: float,
    worker: str,
    public_url: str = "http://localhost:8400",
    senders: Senders = {},  # noqa: B006  (never written)
    permits: Permits | None = None,
    erasures: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TickReport:
    """Accrue, enroll, advance, deliver until nothing is due, `budget_seconds` are over or `stop()` says so; seal.

    Exits and goals act before deliveries: every delivery comes after an advance. Any number of ticks may run at once.
    `clock` gives aware UTC instants; `worker` names who leases; `public_url`, `senders` and `permits` are `deliver`'s.
    `erasures`: the list of erasures; from a database that does not know them all nothing is done (see `erase`).
    Raises what the verbs raise; what was done stays done.
    """
    begun, began = time.monotonic(), clock()

    def over() -> bool:
        return time.monotonic() - begun >= budget_seconds or stop()

    with store.write() as conn:
        tick_id = _begin(conn, began)
    reports = {medium: channel.reports for medium, channel in channels.items()}
    enrolled: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    lines: Counter[Line] = Counter()
    problems: dict[str, None] = {}
    paused: set[str] = set()
    programme: Counter[str] = Counter()
    moves = planned = rounds = 0
    finished = False
    if erasures is not None and (restored := unreplayed(store, erasures)):
        problems[restored] = None
        finished = True

    def held(journey: str, why: str) -> None:
        paused.add(journey)
        problems[f"{journey} is paused, and nobody entered: {why}; look, then `orchestrator resume {journey}`"] = None

    if not finished:
        problems.update(dict.fromkeys(decide(store, now=clock()).told))
    while rounds < ROUNDS and not finished and not over():
        rounds += 1
        accrued = accrue(store, now=clock(), stop=over)
        problems.update(dict.fromkeys(accrued.shortages))
        programme.update(accrued.done)
        entered = enroll(store, now=clock(), tell=held)
        enrolled.update(entered)
        moved = advance(store, now=clock(), reports=reports, stop=over)
        moves, planned = moves + moved.moved, planned + moved.planned
        ended.update(moved.ended)
        problems.update(dict.fromkeys(moved.problems))
        if over():
            break
        sent = deliver(
            store,
            channels,
            keys,
            now=clock,
            worker=worker,
            stop=over,
            public_url=public_url,
            senders=senders,
            permits=permits,
        )
        lines.update(sent.counts)
        problems.update(dict.fromkeys(sent.problems))
        paused.update(sent.paused)
        finished = not over() and not (accrued.looks or any(entered.values()) or moved.moved or sent.judged)
    with store.read() as conn:
        problems.update(listen.told(conn, clock()))
    sealed = _sealed(store, keys, clock(), over, problems)
    report = TickReport(
        tick_id,
        began,
        time.monotonic() - begun,
        rounds,
        finished,
        {journey: n for journey, n in sorted(enrolled.items()) if n},
        moves,
        planned,
        dict(sorted(ended.items())),
        _tallies(lines),
        tuple(problems),
        tuple(sorted(paused)),
        sealed.sealed,
        sealed.lag,
        dict(programme),
    )
    with store.write() as conn:
        _end(conn, report, clock())
    return report


def _sealed(store: Store, keys: Keys, now: datetime, over: Callable[[], bool], problems: dict[str, None]) -> SealReport:
    """What this tick wrote, and what else is new, sealed. That it cannot be is told, and undoes nothing."""
    try:
        report = seal(store, keys, now=now, stop=over)
    except SealBroken as error:
        problems[str(error)] = None
        return SealReport(0, 0, 0, 0.0)
    if report.held_up:
        problems[report.held_up] = None
    return report


def _tallies(lines: Mapping[Line, int]) -> tuple[Tally, ...]:
    """What the log says of these messages, without the allowances: an outcome follows each of them."""
    told = {line: n for line, n in lines.items() if line.verdict != "allow"}
    return tuple(Tally(line.journey, line.medium, line.verdict, line.reason, told[line]) for line in sorted(told))


def _begin(conn: sa.Connection, now: datetime) -> int:
    return int(conn.execute(ticks.insert().values(started_at=now, now=now).returning(ticks.c.id)).scalar_one())


def _end(conn: sa.Connection, report: TickReport, at: datetime) -> None:
    conn.execute(ticks.update().where(ticks.c.id == report.id).values(finished_at=at, counts=report.counts()))
