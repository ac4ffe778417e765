"""Who comes to which step, as far as a journey's own words tell: conditions that are never true, ways nobody takes,
messages asked about that were not sent before.

Goes the ways of every journey with what is known of those who take them (`possible`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from orchestrator.condition import Condition
from orchestrator.journey import Journey, SegmentTrigger, TierTrigger
from orchestrator.model import Unit, Vocabulary
from orchestrator.possible import Known, Possible
from orchestrator.problems import Problems, Span
from orchestrator.steps import Step
from orchestrator.steps.branch import Branch
from orchestrator.steps.sending import SendStep
from orchestrator.steps.split import Split
from orchestrator.steps.wait_for import WaitFor
from orchestrator.terms import Heard, InSegment, Literal_, walk

UNITS: Final[tuple[Unit, ...]] = ("customer", "account")
_CONTRADICTS: Final = "take out what contradicts the rest"


class Reach:
    """What the audiences of a workspace's journeys leave possible on their ways."""

    def __init__(self, vocabulary: Vocabulary, segments: Mapping[str, Condition], problems: Problems) -> None:
        self.segments, self.problems = segments, problems
        roots = {name: (c.unit, c.root) for name, c in segments.items()}
        units: tuple[Unit, ...] = ("customer", "account")
        self.possible = {
            unit: Possible(vocabulary, {name: pair for name, pair in roots.items() if pair[0] == unit})
            for unit in units
        }

    def audience(self, journey: Journey) -> Known | None:
        """What is known of all whom a journey is for; None: it is for nobody."""
        if journey.audience is None:
            return Known()
        return self.possible[journey.unit].after(Known(), journey.audience.root)

    def countries(self, journey: Journey) -> frozenset[str]:
        """Where all the customers are whom a journey is for; empty where that is not known."""
        known = self.audience(journey) if journey.unit == "customer" else None
        return known.one_of("unit", "customer", "customer", "country") if known is not None else frozenset()

    def companies(self, journey: Journey) -> Literal["all", "some", "none"]:
        """Whether a journey writes to companies or their people, classes whose tier is the account's: to them alone, or
        among others, be it that its audience names both or that it is for everybody."""
        if journey.unit == "account":
            return "all"
        known = self.audience(journey)
        companies = {c.name for c in self.possible["customer"].vocabulary.classes.values() if c.unit == "account"}
        if journey.audience is None:
            return "some" if companies else "none"
        if known is None:
            return "none"
        classes = {name for name, _ in known.places.get("unit") or ()}
        if classes and classes <= companies:
            return "all"
        return "some" if classes & companies & self._named(journey.audience) else "none"

    def _named(self, condition: Condition) -> set[str]:
        """The choices that a condition names, those of segments in it, too."""
        found: set[str] = set()
        waiting, seen = [condition], set[str]()
        while waiting:
            for node in walk(waiting.pop().root):
                if isinstance(node, Literal_) and isinstance(node.value, str):
                    found.add(node.value)
                if isinstance(node, InSegment) and node.name in self.segments and node.name not in seen:
                    seen.add(node.name)
                    waiting.append(self.segments[node.name])
        return found

    def tell_segments(self) -> None:
        for name, segment in self.segments.items():
            if self.possible[segment.unit].after(Known(), segment.root) is None and segment.span is not None:
                message = f"nobody is ever in the segment `{name}`: its parts exclude each other"
                self.problems.warning("never-true", message, segment.span, _CONTRADICTS)

    def tell(self, journey: Journey) -> None:
        can = self.possible[journey.unit]
        known = self.audience(journey)
        self._tell_unsent(journey)
        if known is None:
            span = (journey.audience.span if journey.audience is not None else None) or journey.span
            self.problems.warning("never-true", "nobody is ever in this audience", span, _CONTRADICTS)
            return
        if len(journey.triggers) == 1:
            known = self._let_in(journey, known)
        if known is None:
            return
        targets = {target for step in journey.every_step() for target in step.jumps()}
        way = _Way(can, can.lasting(known), frozenset(targets))
        self._ends(journey, known, way)
        self._steps(journey.steps, known, way)

    def _let_in(self, journey: Journey, known: Known) -> Known | None:
        """What is known of those whom the trigger lets in, too."""
        can, trigger = self.possible[journey.unit], journey.triggers[0]
        found: Known | None = known
        match trigger:
            case SegmentTrigger(segment=name, direction="entry") if name in self.segments:
                segment = self.segments[name]
                found = can.after(known, segment.root) if segment.unit == journey.unit else known
            case TierTrigger(to=names) if names:
                found = can.tiers(known, "unit", names)
        if found is None:
            message = "nobody whom this lets in is ever in the audience: they exclude each other"
            self.problems.warning("never-true", message, trigger.span, "change the trigger or the audience")
        return found

    def _ends(self, journey: Journey, known: Known, way: _Way) -> None:
        """What ends the runs: whether it does so before the first step, or never."""
        for asked in (journey.goal, *journey.exit_when):
            if asked is None:
                continue
            what = "the goal is reached" if asked is journey.goal else "the run is over"
            if way.can.after(known, asked.root, "not true") is None:
                message = f"this is true of everybody who comes in: {what} before the first step"
                hint = "ask for what is yet to happen, or leave those out of the audience"
                self.problems.warning("ends-at-once", message, asked.span or journey.span, hint)
            else:
                so = "the goal is never reached" if asked is journey.goal else "it never ends a run"
                # To come into another class may be what is hoped for.
                self._asked(asked, way.can.lasting(known, moves=True), way, journey.span, so)

    def _steps(self, steps: Sequence[Step], known: Known, way: _Way) -> None:
        for step in steps:
            if step.id in way.targets:
                known = way.lasting
            self._step(step, known, way)
            if _takes_time(step):
                known = way.can.lasting(known)

    def _step(self, step: Step, known: Known, way: _Way) -> None:
        for send in (step, *step.parts()):
            if isinstance(send, SendStep) and send.only_if is not None:
                self._asked(send.only_if, known, way, send.span, "the step is always passed over")
        if isinstance(step, Branch):
            self._branch(step, known, way)
            return
        inside = way.can.lasting(known) if step.waits else known
        for name, body in step.bodies().items():
            if isinstance(step, Split) and body and not step.split[name].share:
                hint = "give it a share, or take its steps out"
                message = f"nobody is ever dealt `{name}`: its share is 0%"
                self.problems.warning("never-taken", message, step.split[name].span, hint)
            self._steps(body, inside, way)

    def _branch(self, step: Branch, known: Known, way: _Way) -> None:
        rest: Known | None = known
        for case in step.branch:
            steps = case.steps if case.if_ is not None else case.else_ or ()
            if rest is None:
                span = case.if_.span if case.if_ is not None and case.if_.span else case.span
                message = "nobody ever takes this way: those before it take everybody"
                self.problems.warning("never-taken", message, span, "move it up, or take it out")
                continue
            if case.if_ is None:
                self._steps(steps, rest, way)
                continue
            taken = way.can.after(rest, case.if_.root)
            if taken is not None:
                self._steps(steps, taken, way)
            elif way.can.after(known, case.if_.root) is None:
                self._asked(case.if_, known, way, case.span, "nobody ever takes this way")
            else:
                span, message = case.if_.span or case.span, "nobody ever takes this way: those before it take them all"
                hint = "put the narrower condition first, or take this way out"
                self.problems.warning("never-taken", message, span, hint)
            rest = way.can.after(rest, case.if_.root, "not true")

    def _asked(self, asked: Condition, known: Known, way: _Way, span: Span, so: str) -> None:
        if way.can.after(known, asked.root) is not None:
            return
        alone = way.can.after(Known(), asked.root) is None
        because = "its parts exclude each other" if alone else "not for those who come here (audience, trigger, ways)"
        hint = _CONTRADICTS if alone else "mend the condition, or the journey's audience"
        self.problems.warning("never-true", f"this is never true, {because}: {so}", asked.span or span, hint)

    def _tell_unsent(self, journey: Journey) -> None:
        """Questions about messages that nobody who comes to the question has been sent."""
        within = {part.id: step.id for step in journey.every_step() for part in step.parts()}
        told: set[tuple[str, Span]] = set()
        for step in journey.every_step():
            if step.id in within:
                continue  # asked by the step that it is a part of
            for asked in step.asks():
                span = step.span if isinstance(step, WaitFor) else asked.span or step.span
                for node in walk(asked.root):
                    if not isinstance(node, Heard) or (node.step, span) in told:
                        continue
                    sent = within.get(node.step, node.step)
                    if sent != step.id and step.id not in journey.ahead(sent):
                        told.add((node.step, span))
                        where = "only behind this" if sent in journey.ahead(step.id) else "on another way"
                        message = f"nothing is ever heard here of `{node.step}`: it is sent {where}"
                        hint = "ask behind the step that sends it"
                        self.problems.warning("never-true", message, span, hint)


@dataclass(frozen=True, slots=True)
class _Way:
    can: Possible
    lasting: Known
    targets: frozenset[str]


def _takes_time(step: Step) -> bool:
    """Whether what is known of somebody may be another by the time this step is left."""
    if step.waits or step.sends() or step.keyword in ("update", "emit", "points"):
        return True
    return any(_takes_time(inner) for body in step.bodies().values() for inner in body)
