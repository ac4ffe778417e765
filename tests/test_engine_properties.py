"""Any journey, any facts, any order of wakes and replays: the same move, no message twice, and an end or a wait."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import EventKind, Medium
from orchestrator.condition import Condition, Expression, happened
from orchestrator.engine import Move, advance, asks
from orchestrator.journey import Journey, Recipients
from orchestrator.model import MESSAGE_STATES, SETTLED_STATES, Enrollment, Unit
from orchestrator.reading import Share
from orchestrator.steps import Addressee, Emit, EnterJourney, Facts, MessageState, Send, Step, Value
from orchestrator.steps.branch import Branch, Case
from orchestrator.steps.email import Email
from orchestrator.steps.emit import Emit as EmitStep
from orchestrator.steps.enter import Enter
from orchestrator.steps.exit import Exit
from orchestrator.steps.first_of import FirstOf
from orchestrator.steps.goto import Goto
from orchestrator.steps.push import Push
from orchestrator.steps.sms import Sms
from orchestrator.steps.split import Arm, Split
from orchestrator.steps.task import Task
from orchestrator.steps.update import Update
from orchestrator.steps.wait import Wait
from orchestrator.steps.wait_for import WaitFor
from orchestrator.steps.wait_until import WaitUntil
from orchestrator.words import Duration
from tests.making import NOW, SPAN, condition, contact, enrollment, moved, of_steps, offset, step

TRUTHS = [condition(name) for name in ("a", "b", "c")]
PEOPLE = tuple(contact(n, role) for n, role in ((21, "boss"), (22, "buyer"), (23, "buyer")))
MANAGER = Addressee("staff", 11, None, 11)

# ---- any journey ---------------------------------------------------------------------------------------------------


@dataclass
class Growing:
    """Grows a tree of steps from a source of chance; ids count up."""

    chance: random.Random
    unit: Unit
    count: int = 0
    ids: list[str] = field(default_factory=list)

    def id(self, kind: str) -> str:
        self.count += 1
        name = f"{kind}-{self.count}"
        self.ids.append(name)
        return name

    def steps(self, depth: int, least: int = 0) -> tuple[Step, ...]:
        return tuple(self.step(depth) for _ in range(self.chance.randint(least, 3)))

    def span(self) -> Duration:
        return self.chance.choice([Duration(days=1), Duration(seconds=3600), Duration(business=2), Duration()])

    def send(self) -> Step:
        only = self.chance.choice([None, None, *TRUTHS])
        if self.chance.random() < 0.2:
            return step(Task, self.id("task"), task=self.chance.choice(["account_manager", "support"]), text="call")
        kind = self.chance.choice([Email, Sms, Push])
        return step(kind, self.id(kind.keyword), template="t", only_if=only)

    def step(self, depth: int) -> Step:
        c = self.chance
        flat = ["send", "send", "wait", "wait_until", "update", "emit", "enter", "exit", "first_of", "goto"]
        match c.choice(flat if depth == 0 else [*flat, "branch", "split", "wait_for", "wait_for"]):
            case "send":
                return self.send()
            case "wait":
                return step(Wait, self.id("wait"), wait=self.span())
            case "wait_until":
                return step(WaitUntil, self.id("until"), wait_until=offset(Duration(days=2), "before", "ends"))
            case "update":
                return step(Update, self.id("update"), update={}, settings=())
            case "emit":
                return step(EmitStep, self.id("emit"), emit="order_placed")
            case "enter":
                return step(Enter, self.id("enter"), enter="other")
            case "exit":
                return step(Exit, self.id("exit"))
            case "first_of":
                some = tuple(self.send() for _ in range(c.randint(1, 3)))
                until = c.choice(["delivered", "opened"])
                return step(FirstOf, self.id("first"), first_of=some, until=until, within=Duration(days=1))
            case "goto":
                return step(Goto, self.id("goto"), goto="", max=c.randint(1, 3))
            case "branch":
                cases = [Case(span=SPAN, if_=t, steps=self.steps(depth - 1)) for t in c.sample(TRUTHS, 2)]
                if c.random() < 0.5:
                    cases.append(Case(span=SPAN, else_=self.steps(depth - 1)))
                return step(Branch, self.id("branch"), branch=tuple(cases))
            case "split":
                arms = {n: Arm(span=SPAN, share=Share(0.5), steps=self.steps(depth - 1)) for n in ("x", "y")}
                return step(Split, self.id("split"), split=arms)
            case _:
                return step(
                    WaitFor,
                    self.id("for"),
                    event="order_placed",
                    timeout=Duration(days=3),
                    then=self.steps(depth - 1),
                    else_=self.steps(depth - 1),
                    already_true=c.choice(["skip", "ignore"]),
                    condition=happened("order_placed", None, "entry", "customer"),
                )


def any_journey(chance: random.Random) -> Journey:
    unit: Unit = "customer" if chance.random() < 0.5 else "account"
    growing = Growing(chance, unit)
    steps = growing.steps(3, least=1)
    j = of_steps(
        *steps,
        unit=unit,
        recipients=Recipients(("boss", "buyer"), chance.choice([None, 1, 2])),
        goal=chance.choice([None, condition("goal")]),
        exit_when=(condition("exit"),),
        holdout=chance.choice([0.0, 0.2]),
    )
    standing = [i for i in j._by_id if j.has(i)]
    for each in j.every_step():
        if isinstance(each, Goto):
            object.__setattr__(each, "goto", chance.choice(standing))
    return j


# ---- any world -----------------------------------------------------------------------------------------------------


@dataclass
class World:
    """One enrollment, its messages and everything that may befall them."""

    j: Journey
    run: Enrollment
    chance: random.Random
    now: datetime = NOW
    wild: bool = True
    messages: dict[tuple[object, ...], MessageState] = field(default_factory=dict)
    contents: dict[tuple[object, ...], Send] = field(default_factory=dict)
    events: set[tuple[object, ...]] = field(default_factory=set)
    ended: str | None = None
    past: list[tuple[Enrollment, Facts, datetime, Move]] = field(default_factory=list)

    def facts(self) -> Facts:
        truths: dict[str, bool | None] = {}
        values: dict[str, Value] = {}
        for asked in asks(self.j, self.run.step):
            if isinstance(asked, Condition):
                rare = asked.text in ("goal", "exit")
                often = [True, False, None] if not rare else [True, *[False] * 30]
                truths[asked.text] = self.chance.choice(often) if self.wild else False
            elif isinstance(asked, Expression):
                values[asked.text] = (
                    self.chance.choice(["2027-03-20", "2027-02-01", None]) if self.wild else "2027-02-01"
                )
        reached = {m: tuple(p for p in PEOPLE if self.chance.random() < 0.7) for m in Medium} if self.wild else {}
        return Facts(
            truths=truths,
            values=values,
            messages=tuple(self.messages.values()),
            zone=self.chance.choice(["Europe/Berlin", None, "No/Where"]),
            recipients=reached,
            staff=self.chance.choice([MANAGER, None]),
        )

    def befall(self) -> None:
        """Something happens to one of the messages."""
        open_ones = [k for k, m in self.messages.items() if m.state not in ("denied", "cancelled", "expired")]
        if not open_ones:
            return
        key = self.chance.choice(open_ones)
        state = self.chance.choice(MESSAGE_STATES)
        heard = frozenset(self.chance.sample(list(EventKind), self.chance.randint(0, 2)))
        settled = self.now if state in SETTLED_STATES else None
        self.messages[key] = replace(self.messages[key], state=state, heard=heard, settled_at=settled)

    def settle(self) -> None:
        """All that is under way comes to its end."""
        for key, m in self.messages.items():
            if m.state not in SETTLED_STATES:
                self.messages[key] = replace(m, state="sent", settled_at=self.now)

    def move(self) -> Move:
        facts = self.facts()
        found = advance(self.j, self.run, facts, self.now)
        assert found == advance(self.j, self.run, facts, self.now)
        self.past.append((self.run, facts, self.now, found))
        self.apply(found)
        return found

    def apply(self, found: Move, *, late: bool = False) -> None:
        """By compare-and-swap, as the store does."""
        cursor = (self.run.step, self.run.visit, self.run.since)
        was = found.enrollment
        if self.ended is not None or cursor != (was.step, was.visit, was.since) or was.memory != self.run.memory:
            return
        self.check(found, late)
        self.run, self.ended = moved(found), found.ended
        for effect in found.effects:
            if isinstance(effect, Send):
                self.plan(effect)
            elif isinstance(effect, (Emit, EnterJourney)):
                key = (type(effect).__name__, effect.step, effect.visit)
                assert key not in self.events, "the same event twice"
                self.events.add(key)

    def plan(self, send: Send) -> None:
        key = (send.step, send.visit, send.addressee, send.medium)
        content = replace(send, due_at=NOW)
        assert self.contents.setdefault(key, content) == content, "one identity, two contents"
        if key in self.messages:
            return  # a replay that left the cursor where it was: the store's key lets nothing in
        self.messages[key] = MessageState(
            send.step, send.visit, send.addressee, send.medium, "planned", "", None, frozenset()
        )

    def check(self, found: Move, late: bool) -> None:
        assert sum(bool(x) for x in (found.ended, found.again)) <= 1
        if found.ended:
            assert found.wake_at is None
            return
        assert self.j.has(found.step)
        assert found.visit - found.enrollment.visit == sum(found.visits.values()) - sum(
            found.enrollment.visits.values()
        )
        for each in self.j.every_step():
            if isinstance(each, Goto):
                assert found.visits.get(each.id, 0) <= each.max
        if not found.again and found.wake_at is None and not late:
            # Asleep without an end: something must be able to wake it. (A late worker judged by messages that have
            # settled since. The store keeps that out: who settles waits for who moves, and wakes the run behind them.)
            mine = [m for m in self.messages.values() if m.state not in SETTLED_STATES and m.visit == found.visit]
            assert found.effects or mine or isinstance(self.j.step(found.step), (WaitUntil, FirstOf))


CHANCE = st.randoms(use_true_random=False)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lived(chance: random.Random, moves: int = 60) -> World:
    j = any_journey(chance)
    unit_id = chance.randint(1, 10**9)
    run = enrollment(j.unit, unit_id, event_id=5)
    world = World(j, run, chance)
    rounds = 0
    for _ in range(moves):
        what = chance.random()
        if what < 0.6:
            found = world.move()
            rounds = rounds + 1 if found.again else 0
            # At most every jump there is, and a step each that writes, before a wait or an end.
            assert rounds <= (sum(s.max for s in j.every_step() if isinstance(s, Goto)) + 1) * (len(j._by_id) + 1)
        elif what < 0.8:
            world.befall()
        elif what < 0.9 and world.past:
            world.apply(chance.choice(world.past)[3], late=True)  # a replay, or a worker that comes late
        else:
            world.now += chance.choice([timedelta(minutes=7), timedelta(hours=5), timedelta(days=4)])
        if world.ended:
            break
    return world


@MANY
@given(CHANCE)
def test_nothing_twice_and_always_an_end_or_a_wait(chance: random.Random) -> None:
    world = lived(chance)
    for run, facts, now, found in world.past:
        assert advance(world.j, run, facts, now) == found  # a replay is the same, however late


@MANY
@given(CHANCE)
def test_every_run_ends_once_the_world_is_calm(chance: random.Random) -> None:
    """When messages settle, dates pass and time goes on, no journey goes on for ever."""
    world = lived(chance, 15)
    world.wild = False
    jumps = sum(s.max for s in world.j.every_step() if isinstance(s, Goto))
    for _ in range((jumps + 1) * (len(world.j._by_id) + 1) * 8):
        if world.ended:
            break
        world.settle()
        world.now = max(world.now, world.run.wake_at or world.now) + timedelta(days=3)
        world.move()
    assert world.ended in ("completed", "exited", "goal", "holdout"), (world.ended, world.run)


@settings(max_examples=60, deadline=None)
@given(CHANCE)
def test_only_what_was_asked_for_is_looked_up(chance: random.Random) -> None:
    """From every step: `asks` is enough, whatever the answers (a KeyError otherwise)."""
    j = any_journey(chance)
    for at in [i for i in j._by_id if j.has(i)]:
        world = World(j, enrollment(j.unit, step=at, since=NOW - timedelta(days=9)), chance)
        for _ in range(6):
            world.run, world.ended = enrollment(j.unit, step=at, since=NOW - timedelta(days=9)), None
            world.messages.clear()
            world.contents.clear()
            world.events.clear()
            world.move()


@settings(max_examples=40, deadline=None)
@given(CHANCE, st.integers(1, 10**12))
def test_an_arm_stays_whatever_else_is_edited(chance: random.Random, unit_id: int) -> None:
    arms = {n: Arm(span=SPAN, share=Share(0.5), steps=()) for n in ("x", "y")}
    splitting = step(Split, "offer", split=arms)

    def arm(j: Journey, **others: Any) -> str:
        run = enrollment(unit_id=unit_id, step="w", since=NOW - timedelta(days=9), **others)
        known = World(j, run, random.Random(1), wild=False).facts()
        return next(str(t.detail["arm"]) for t in advance(j, run, known, NOW).trace if t.step == "offer")

    wait = step(Wait, "w", wait=Duration(days=1))
    first = of_steps(wait, splitting)
    edited = of_steps(wait, splitting, *Growing(chance, "customer").steps(2), version="v2", priority=1)
    for each in edited.every_step():
        if isinstance(each, Goto):
            object.__setattr__(each, "goto", "w")
    assert arm(first) == arm(first, visit=4, visits={"g": 4}) == arm(edited, version="v2", run_key="again", id=77)
