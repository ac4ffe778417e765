"""What a test expects, a line each: a message that goes out, what is true of somebody, where somebody's run stands.

2027-01-10 09:00 email renewal-notice to ana
after 14 days task call-back to account_manager
2027-03-01 tier of ana is gold
ana left b2b-renewal because goal
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Literal

from channels.base import Medium
from orchestrator.condition import Condition, Scope, parse
from orchestrator.model import Unit
from orchestrator.problems import Problems, Span, alike, suggest
from orchestrator.project import Project
from orchestrator.source import Node
from orchestrator.steps.sending import MANAGER
from orchestrator.words import CALLED, clock

ENDS: Final = ("completed", "exited", "goal", "holdout", "failed")
SPARE: Final = timedelta(minutes=5)
"""How much later than its time a message may go out."""
Instant = Callable[[str], datetime | None]
"""A day or a length of time as written → its instant (noon, or as long after the clock as it says)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A day, and the time of day or the hours of it. `at`: the day's noon; `first` None: any time of that day."""

    day: date
    at: datetime
    first: time | None = None
    last_time: time | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A message. `name`: its text's or its step's; `to`: a person's key, a team; `about`: whose matter it is; "" any.

    `fate`: sent, refused (never sent) or held (put off at least once); `reason`: a code of the log.
    """

    text: str
    span: Span
    when: Moment | None
    medium: str
    name: str = ""
    to: str = ""
    about: str = ""
    fate: Literal["sent", "refused", "held"] = "sent"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A condition that is true of somebody: at that moment (a day: at its end), or when the test ends."""

    text: str
    span: Span
    when: Moment | None
    who: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Course:
    """Where somebody's run of a journey stands. `what`: enters, in (a run under way, at `step`), out (none), left."""

    text: str
    span: Span
    when: Moment | None
    who: str
    journey: str
    what: Literal["enters", "in", "out", "left"]
    step: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Has:
    """What somebody has of the programme by name."""

    text: str
    span: Span
    when: Moment | None
    who: str
    what: Literal["voucher", "reward", "badge", "challenge"]
    name: str


Expectation = Line | State | Course | Has

_DAY = re.compile(r"(\d{4}-\d\d-\d\d)\s+")
_AFTER = re.compile(r"after\s+(\d+\s+(?:business\s+)?\w+)\s+")
_TIME = re.compile(r"(\d?\d:\d\d)(?:-(\d?\d:\d\d))?\s+")
_OF = re.compile(r"(?P<field>.+?)\s+of\s+(?P<who>\S+)\s+(?:is|are)\s+(?P<value>.+)")
_SEGMENT = re.compile(r"is\s+(?P<no>not\s+)?in\s+segment\s+(?P<name>\S+)")
_IN = re.compile(r"is\s+(?P<no>not\s+)?in\s+(?:journey\s+)?(?P<name>\S+)(?:\s+at\s+(?:step\s+)?(?P<step>\S+))?")
_LEFT = re.compile(r"left\s+(?:journey\s+)?(?P<name>\S+)(?:\s+because\s+(?P<reason>\S+))?")
_ENTERS = re.compile(r"enters\s+(?:journey\s+)?(?P<name>\S+)")
_HAS = re.compile(r"has\s+(?P<what>voucher|reward|badge)\s+(?P<name>\S+)")
_DONE = re.compile(r"completed\s+(?P<name>\S+)")
_FORMS = (
    "`2027-01-10 09:00 email welcome to ana`, `2027-01-12 mail welcome-letter to ana`, "
    "`2027-03-01 tier of ana is gold`, `ana left welcome because goal`, `ana is in segment vip-club`, "
    "`ana matches points >= 500`"
)


def read_line(
    node: Node,
    never: bool,
    instant: Instant,
    people: Mapping[str, Unit],
    tested: Collection[str],
    project: Project,
    problems: Problems,
) -> Expectation | None:
    """A line of `expect`, or with `never` of that; None when it cannot be read, and told."""
    reader = _Line(node, never, people, tested, project, problems)
    return reader.read(instant)


@dataclass(slots=True)
class _Line:
    node: Node
    never: bool
    people: Mapping[str, Unit]
    tested: Collection[str]
    project: Project
    problems: Problems
    when: Moment | None = None

    def read(self, instant: Instant) -> Expectation | None:
        told = len(self.problems.found)
        rest = self._moment(self.node.text.strip() + " ", instant)
        if rest is None:
            return None
        first, _, more = rest.partition(" ")
        if first in set(Medium):
            return self._message(first, more.split())
        found: Expectation | None = None
        if first in self.people:
            found = self._course(first, more.strip())
            if found is None and len(self.problems.found) == told:
                found = self._of_person(first, more.strip())
        elif (said := _OF.fullmatch(rest)) is not None:
            found = self._field(said["field"], said["who"], said["value"])
        if found is None:
            if len(self.problems.found) == told:
                hint = "" if first in self.people else suggest(first, {*self.people, *Medium}, CALLED)
                hint = hint if hint.startswith("did") else f"write it like {_FORMS}"
                self._tell("bad-expectation", "this line cannot be read", hint)
            return None
        if self.never and not isinstance(found, Course):
            hint = "under `never` stand messages, `ana enters welcome` and `ana left welcome`"
            self._tell("bad-expectation", "what is true of somebody is expected, at its time", hint)
            return None
        return found

    def _tell(self, code: str, message: str, hint: str, word: str = "") -> None:
        at = self.node.text.find(word) if word else -1
        span = self.node.at(at, len(word)) if at >= 0 else self.node.span
        self.problems.error(code, message, span, hint)

    def _moment(self, text: str, instant: Instant) -> str | None:
        """What stands behind the time; the time goes to `when`."""
        day = _DAY.match(text) or _AFTER.match(text)
        if day is None:
            return text.strip()
        at = instant(day[1])
        if at is None:
            self._tell("bad-expectation", f"`{day[1]}` is no day there is", "write `2027-01-10` or `after 14 days`")
            return None
        text = text[day.end() :]
        hours = _TIME.match(text)
        first = last = None
        if hours is not None:
            first, last = clock(hours[1]), clock(hours[2]) if hours[2] else None
            if first is None or (hours[2] and last is None):
                self._tell("bad-expectation", f"`{hours[0].strip()}` is no time", "write `09:00` or `09:00-11:00`")
                return None
            text = text[hours.end() :]
        self.when = Moment(at.date(), at, first, last)
        return text.strip()

    # ---- messages

    def _message(self, medium: str, words: list[str]) -> Line | None:
        found: dict[str, str] = {"name": "", "to": "", "about": "", "because": ""}
        fate: Literal["sent", "refused", "held"] = "sent"
        if words and words[0] not in ("to", "for", "because", "refused", "held"):
            found["name"] = words.pop(0)
        while words:
            word = words.pop(0)
            if word in ("refused", "held"):
                fate = "refused" if word == "refused" else "held"
            elif word in ("to", "for", "because") and words:
                found["about" if word == "for" else word] = words.pop(0)
            else:
                hint = "behind the message stand `to ana`, `for nord`, `refused`, `held` and `because CODE`"
                self._tell("bad-expectation", f"`{word}` is not understood here", hint, word)
                return None
        if not self._named(medium, found["name"]):
            return None
        for key in ("to", "about"):
            if found[key] and not self._known(medium, found[key]):
                return None
        if found["because"] and fate == "sent" and not self.never:
            hint = "a reason goes with `refused` or `held`; for a remark write a comment, `# …`"
            self._tell("bad-expectation", "a message that is sent has no reason", hint, "because")
            return None
        text = self.node.text.strip()
        reason = found.pop("because")
        return Line(text, self.node.span, self.when, medium, fate=fate, reason=reason, **found)

    def _named(self, medium: str, name: str) -> bool:
        """Whether a step of the journeys, or a text of the workspace, is called so."""
        steps = [s for n in self.tested for s, m in self.project.journeys[n].sends().items() if m == medium]
        texts = self.project.templates.names(Medium(medium))
        known = {*steps, *(s.removeprefix(f"{medium}:") for s in steps), *texts}
        if name and name not in known:
            hint = suggest(name, known) or "name the text, or the step by its id"
            slips = [s for s in sorted(known) if alike(s, MANAGER)] if (medium, name) == ("task", MANAGER) else []
            for slip in slips:
                hint = f"the journey says `{slip}`, which is taken for a team: correct it there"
            self._tell("unknown-template", f"no step sends the {medium} `{name}`", hint, name)
            return False
        return True

    def _known(self, medium: str, name: str) -> bool:
        if name in self.people or (medium in ("task", "webhook") and name not in self.people) or "@" in name:
            return True
        if name == MANAGER:
            return True
        self._tell("unknown-person", f"nobody is called `{name}`", suggest(name, self.people), name)
        return False

    # ---- people

    def _course(self, who: str, text: str) -> Expectation | None:
        for pattern, what in ((_ENTERS, "enters"), (_LEFT, "left"), (_IN, "in")):
            said = pattern.fullmatch(text)
            if said is None or (what == "in" and said["name"] == "segment"):
                continue
            parts = said.groupdict()
            name, step, reason = parts["name"], parts.get("step") or "", parts.get("reason") or ""
            journey = self.project.journeys.get(name)
            if journey is None:
                self._tell(
                    "unknown-journey", f"there is no journey `{name}`", suggest(name, self.project.journeys), name
                )
            elif step and not journey.has(step):
                known = [s.id for s in journey.every_step()]
                self._tell("unknown-step-id", f"`{name}` has no step `{step}`", suggest(step, known), step)
            elif reason and reason not in ENDS:
                self._tell("bad-expectation", f"no run ends because `{reason}`", suggest(reason, ENDS), reason)
            else:
                outside: Literal["out"] = "out"
                kind = outside if parts.get("no") else what
                told = (self.node.text.strip(), self.node.span, self.when, who, name)
                return Course(*told, kind, step, reason)  # type: ignore[arg-type]
            return None
        return None

    def _of_person(self, who: str, text: str) -> Expectation | None:
        told = (self.node.text.strip(), self.node.span, self.when, who)
        if text.startswith("matches "):
            return self._state(who, text.removeprefix("matches ").strip())
        if (said := _SEGMENT.fullmatch(text)) is not None:
            return self._state(who, f'{"not " if said["no"] else ""}in segment("{said["name"]}")')
        known = self.project.vocabulary.loyalty
        if (said := _HAS.fullmatch(text)) is not None:
            names = {"voucher": known.pools, "reward": known.rewards}.get(said["what"])
            if names is not None and said["name"] not in names:
                noun = "pool of vouchers" if said["what"] == "voucher" else "reward"
                hint = suggest(said["name"], names)
                self._tell("not-in-programme", f"there is no {noun} `{said['name']}`", hint, said["name"])
                return None
            return Has(*told, said["what"], said["name"])  # type: ignore[arg-type]
        if (said := _DONE.fullmatch(text)) is not None:
            if said["name"] in self.project.journeys:
                return Course(*told, said["name"], "left", "", "completed")
            if said["name"] not in known.challenges:
                hint = suggest(said["name"], {*known.challenges, *self.project.journeys})
                self._tell("not-in-programme", f"there is no challenge `{said['name']}`", hint, said["name"])
                return None
            return Has(*told, "challenge", said["name"])
        return None

    def _field(self, field: str, who: str, value: str) -> State | None:
        if who not in self.people:
            self._tell("unknown-person", f"nobody is called `{who}`", suggest(who, self.people), who)
            return None
        value = value.strip()
        signs = {"at least ": ">=", "at most ": "<=", "not ": "!="}
        word = next((w for w in signs if value.startswith(w)), "")
        value, sign = value.removeprefix(word), signs.get(word, "==")
        if value in ("set", "known"):
            return self._state(who, f"{field} is {'not ' if sign == '!=' else ''}set")
        quoted = '"' + value.replace('"', "") + '"'
        return self._state(who, f"{field} {sign} {value}", f"{field} {sign} {quoted}")

    def _state(self, who: str, *texts: str) -> State | None:
        """The first of these conditions that can be read; the mistakes told are the first's."""
        first: Problems | None = None
        for text in texts:
            trial = Problems()
            condition = parse(text, self.node.span, Scope(unit=self.people[who]), self.project.vocabulary, trial)
            if condition is not None and not trial.errors:
                return State(self.node.text.strip(), self.node.span, self.when, who, condition)
            first = first or trial
        for problem in first.found if first is not None else ():
            self.problems.error(problem.code, problem.message, self.node.span, problem.hint)
        return None
