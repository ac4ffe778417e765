"""One enrollment's next move, from what is known. Pure: the same arguments give the same Move, so a replay is safe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.condition import Condition, Expression
from orchestrator.journey import Journey
from orchestrator.model import Enrollment, Json
from orchestrator.steps import Cancel, Effect, End, Facts, Go, Here, Into, Jump, Outcome, Stay, Step

STEPS_A_MOVE = 1_000  # a walk goes forward only, so this is a bug or a monster; either is better told than hung on
ARRIVING = "@arriving"  # in an enrollment's memory: it was moved before this step but has not been let in yet


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of a run's diary, for `why`. `detail["line"]` is the step's line in its file.

    `what`: planned, skipped, waits, woke, left, came, timed out, chose, updated, emitted, entered, passed, jumped,
    ended.
    """

    step: str
    visit: int
    what: str
    detail: Json


@dataclass(frozen=True, slots=True)
class Move:
    """From (step, visit) of the enrollment given, to here. Applied by compare-and-swap on that (step, visit, since).

    `wake_at` None: asleep until something wakes it. `again`: due at once, with fresh facts.
    """

    enrollment: Enrollment
    step: str
    visit: int
    since: datetime
    wake_at: datetime | None
    memory: Json
    visits: Json
    effects: tuple[Effect, ...]
    trace: tuple[Trace, ...]
    ended: str | None
    again: bool


def asks(journey: Journey, step: str) -> tuple[Condition | Expression, ...]:
    """All that a move from this step (“” = the beginning) may look up before its round ends; cached by the journey."""
    found = journey._asks.get(step)
    if found is None:
        found = journey._asks[step] = tuple(_asks(journey, step))
    return found


def _asks(journey: Journey, step: str) -> dict[Condition | Expression, None]:
    """In a fixed order, each once."""
    found: dict[Condition | Expression, None] = dict.fromkeys(journey.exit_when)
    if journey.goal is not None:
        found[journey.goal] = None
    start = step or journey.first
    seen: set[str] = set()
    ahead = [start] if start is not None and journey.has(start) else []
    while ahead:
        here = ahead.pop()
        if here in seen:
            continue
        seen.add(here)
        standing = journey.step(here)
        found |= dict.fromkeys(standing.asks())
        if standing.passes:
            ahead += [body[0].id for body in standing.bodies().values() if body]
            following = journey.after(here)
            ahead += [following] if following is not None else []
    return found


def draw(enrollment: Enrollment, name: str) -> float:
    """Chance in [0, 1): the same for a unit in a journey of that name for ever, whatever the version."""
    text = "\0".join((enrollment.unit, enrollment.journey, str(enrollment.unit_id), name))
    # 53 bits: as many as a float holds, so that the result is below 1.
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11) / 2**53


def advance(journey: Journey, enrollment: Enrollment, facts: Facts, now: datetime) -> Move:
    """The next move: exit and goal first, then the step it stands at, then on until it stays, ends or a round ends.

    Chance is `draw(name)`: a hash of (unit, journey name, unit id, name). KeyError when `facts` lack an answer that
    `asks` asked for.
    """
    walk = _Walk(journey, enrollment, facts, now)
    if not enrollment.step:
        if journey.holdout > 0 and (drawn := draw(enrollment, "holdout")) < journey.holdout:
            return walk.end("holdout", {"share": journey.holdout, "draw": round(drawn, 6)})
        if journey.first is None:
            return walk.end("completed", {})
    elif not journey.has(enrollment.step):
        because = f"this version of the journey has no step `{enrollment.step}`"
        return walk.end("failed", {"because": because}, cancel="failed")
    if journey.goal is not None and facts.truths[journey.goal.text] is True:
        return walk.end("goal", {"condition": journey.goal.text}, cancel="goal")
    for condition in journey.exit_when:
        if facts.truths[condition.text] is True:
            return walk.end("exited", {"because": "exit_when", "condition": condition.text}, cancel="exit_when")
    return walk.on()


class _Walk:
    """One move under way: where it stands, what it has done so far."""

    def __init__(self, journey: Journey, enrollment: Enrollment, facts: Facts, now: datetime) -> None:
        self.journey, self.start, self.facts, self.now = journey, enrollment, facts, now
        self.effects: list[Effect] = []
        self.trace: list[Trace] = []
        self.draw: Callable[[str], float] = lambda name: draw(enrollment, name)

    def on(self) -> Move:
        """From where the enrollment stands, step by step."""
        start = self.start
        here = start
        waking = bool(start.step) and ARRIVING not in start.memory
        if not waking:
            here = self._at(start.step or str(self.journey.first))
        for _ in range(STEPS_A_MOVE):
            step = self.journey.step(here.step)
            told = Here(
                here,
                self.journey.name,
                self.facts,
                self.now,
                self.draw,
                self.journey.recipients.roles,
                self.journey.recipients.at_most,
                self.journey.recipients.each,
            )
            outcome = step.wake(told) if waking else step.arrive(told)
            self._note(step, here, outcome, waking)
            following = self._follow(step, here, outcome)
            if isinstance(following, Move):
                return following
            here, waking = self._at(following), False
        because = f"more than {STEPS_A_MOVE:,} steps without a wait"
        return self.end("failed", {"because": because}, cancel="failed", at=here.step)

    def end(self, because: str, detail: Json, *, cancel: str = "", at: str | None = None) -> Move:
        """The run ends; with `cancel`, what it has planned and nobody has handed over is withdrawn, for that reason."""
        step = self.start.step if at is None else at
        if cancel:
            # What this very move meant to plan is not planned, either.
            self.effects = [Cancel(tuple(self.journey.sends()), cancel)]
        line = self.journey.step(step).span.line if self.journey.has(step) else self.journey.span.line
        self.trace.append(Trace(step, self.start.visit, "ended", {"line": line, "ended": because, **detail}))
        return self._move(step, wake_at=None, ended=because)

    def _follow(self, step: Step, here: Enrollment, outcome: Outcome) -> Move | str:
        """Where an outcome leads: the next step's id, or the end of the move."""
        match outcome:
            case Stay():
                self.effects += outcome.effects
                return self._move(here.step, wake_at=outcome.until, memory=outcome.memory, since=here.since)
            case End():
                return self._move(here.step, wake_at=None, ended=outcome.because)
            case Jump():
                visits = {**self.start.visits, step.id: self.start.visits.get(step.id, 0) + 1}
                return self._again(outcome.to, self.start.visit + 1, visits)
            case Into():
                self.effects += outcome.effects
                body = step.bodies()[outcome.body]
                following = body[0].id if body else self.journey.after(step.id)
            case Go():
                self.effects += outcome.effects
                following = self.journey.after(step.id)
                if outcome.fresh and following is not None:
                    return self._again(following, self.start.visit, dict(self.start.visits))
        if following is None:
            line = {"line": step.span.line, "ended": "completed"}
            self.trace.append(Trace(step.id, self.start.visit, "ended", line))
            return self._move(step.id, wake_at=None, ended="completed")
        return following

    def _at(self, step: str) -> Enrollment:
        """The enrollment as it comes to a step."""
        s = self.start
        return Enrollment(  # by hand: `replace` takes several times as long, and this is done for every step of all
            s.id, s.journey, s.version, s.unit, s.unit_id, s.customer_id, s.account_id, s.run_key, step, s.visit,
            s.entered_at, self.now, s.wake_at, {}, s.visits, s.event_id, s.record_id,
        )  # fmt: skip

    def _note(self, step: Step, here: Enrollment, outcome: Outcome, waking: bool) -> None:
        if waking and isinstance(outcome, Stay) and not outcome.effects:
            same_time = outcome.until == self.start.wake_at
            if outcome.memory == self.start.memory and (same_time or outcome.until is None):
                return  # woken for nothing: no line, or a busy night would fill the diary
        detail = {"line": step.span.line, **outcome.note}
        if isinstance(outcome, End):
            detail["ended"] = outcome.because
        self.trace.append(Trace(step.id, here.visit, outcome.what, detail))

    def _again(self, step: str, visit: int, visits: Json) -> Move:
        """On to a step, but not into it: that is another round's, on facts read anew."""
        if not self.journey.has(step):
            because = f"this version of the journey has no step `{step}`"
            return self.end("failed", {"because": because}, cancel="failed")
        return replace(
            self._move(step, wake_at=self.now, memory={ARRIVING: True}), visit=visit, visits=visits, again=True
        )

    def _move(
        self,
        step: str,
        *,
        wake_at: datetime | None,
        memory: Json | None = None,
        since: datetime | None = None,
        ended: str | None = None,
    ) -> Move:
        return Move(
            enrollment=self.start,
            step=step,
            visit=self.start.visit,
            since=self.now if since is None else since,
            wake_at=wake_at,
            memory={} if memory is None else memory,
            visits=dict(self.start.visits),
            effects=tuple(self.effects),
            trace=tuple(self.trace),
            ended=ended,
            again=False,
        )
