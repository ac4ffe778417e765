"""What is allowed and most likely not meant: warnings that need the whole workspace.

Every lint looks at what was checked without an error; nothing here reads a file. A worker that reads what is in force
does not pay for it: `check`, `plan` and `apply` ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from itertools import pairwise
from typing import Final

from channels.base import EventKind, Medium
from orchestrator.condition import Condition, Expression, Heard
from orchestrator.gsm import simplified, sms_segments
from orchestrator.imprint import WAYS_OUT, has_address, says_how_to_stop, way_out
from orchestrator.jinja import MissingValue
from orchestrator.journey import Journey, ScheduleTrigger, SegmentTrigger, TierTrigger
from orchestrator.model import HouseHours, Kind, Topic, Vocabulary
from orchestrator.oversights import tell_births, tell_teams
from orchestrator.possible import Known, Possible
from orchestrator.problems import Problem, Problems, Span
from orchestrator.recall import Recall, packed, place, unpacked
from orchestrator.steps import Step
from orchestrator.steps.branch import Branch
from orchestrator.steps.first_of import FirstOf
from orchestrator.steps.sending import SendStep
from orchestrator.steps.wait_for import WaitFor
from orchestrator.steps.wait_until import Clock, WaitUntil
from orchestrator.template import VARIANT, RenderFailed, Template, Templates
from orchestrator.terms import walk
from orchestrator.trigger import DateTrigger, RiskTrigger

WORKSPACE: Final = "journeys/workspace.yaml"


@dataclass(frozen=True, slots=True)
class Checked:
    """A workspace without errors, as `project` has read it."""

    files: Mapping[str, str]
    vocabulary: Vocabulary
    segments: Mapping[str, Condition]
    journeys: Mapping[str, Journey]
    templates: Templates


def lint(found: Checked, recall: Recall | None = None) -> tuple[Problem, ...]:
    """Warnings, in no order. `recall`: what was found out of texts that have not changed since."""
    problems = Problems()
    _Conditions(found, problems).tell()
    for journey in found.journeys.values():
        _tell_closed_windows(journey, found, problems)
        _tell_untracked(journey, found, problems)
        _tell_no_goal(journey, found, problems)
        tell_births(journey, found.vocabulary.policies.born, problems)
    tell_teams(found.journeys.values(), found.vocabulary, found.files, problems)
    _tell_unused(found, problems)
    _tell_missing_locales(found, problems)
    _tell_deadlines(found, problems)
    for template in found.templates:
        problems.found.extend(_of_text(template, found, recall))
    # A snippet is told of once, however many texts include it.
    return tuple(dict.fromkeys(problems.found))


def _of_text(template: Template, found: Checked, recall: Recall | None) -> list[Problem]:
    """What hangs on one text alone, and on what the workspace declares."""
    entry = recall.after.get(place(template.medium, template.name)) if recall is not None else None
    if entry is not None and "linted" in entry:
        return unpacked(entry["linted"])
    own = Problems()
    _tell_long(template, found, own)
    _tell_links(template, found, own)
    _tell_way_out(template, found, own)
    if entry is not None and recall is not None:
        recall.after[place(template.medium, template.name)] = {**entry, "linted": packed(own.found)}
    return own.found


# ---- conditions that are never true ---------------------------------------------------------------------------------


class _Conditions:
    """Goes the ways of every journey with what is known of those who take them."""

    def __init__(self, found: Checked, problems: Problems) -> None:
        self.found, self.problems = found, problems
        roots = {name: (c.unit, c.root) for name, c in found.segments.items()}
        self.possible = {
            unit: Possible(found.vocabulary, {name: pair for name, pair in roots.items() if pair[0] == unit})
            for unit in ("customer", "account")
        }
        self.begin = Known()

    def tell(self) -> None:
        for name, segment in self.found.segments.items():
            if self.possible[segment.unit].after(Known(), segment.root) is None and segment.span is not None:
                message = f"nobody is ever in the segment `{name}`: its parts exclude each other"
                self.problems.warning("never-true", message, segment.span, "take out what contradicts the rest")
        for journey in self.found.journeys.values():
            self._journey(journey)

    def _journey(self, journey: Journey) -> None:
        can = self.possible[journey.unit]
        known: Known | None = Known()
        if journey.audience is not None:
            known = can.after(Known(), journey.audience.root)
            if known is None:
                hint = "take out what contradicts the rest"
                span = journey.audience.span or journey.span
                self.problems.warning("never-true", "nobody is ever in this audience", span, hint)
                return
        assert known is not None
        if len(journey.triggers) == 1:
            known = self._let_in(journey, known)
        if known is None:
            return
        targets = {target for step in journey.every_step() for target in step.jumps()}
        self._steps(journey.steps, known, _Way(can, can.lasting(known), frozenset(targets)))

    def _let_in(self, journey: Journey, known: Known) -> Known | None:
        """What is known of those whom the trigger lets in, too."""
        can, trigger = self.possible[journey.unit], journey.triggers[0]
        found: Known | None = known
        match trigger:
            case SegmentTrigger(segment=name, direction="entry") if name in self.found.segments:
                segment = self.found.segments[name]
                found = can.after(known, segment.root) if segment.unit == journey.unit else known
            case TierTrigger(to=names) if names:
                found = can.tiers(known, "unit", names)
        if found is None:
            message = "nobody whom this lets in is ever in the audience: they exclude each other"
            self.problems.warning("never-true", message, trigger.span, "change the trigger or the audience")
        return found

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
        for body in step.bodies().values():
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
        hint = "take out what contradicts the rest" if alone else "mend the condition, or the journey's audience"
        self.problems.warning("never-true", f"this is never true, {because}: {so}", asked.span or span, hint)


@dataclass(frozen=True, slots=True)
class _Way:
    can: Possible
    lasting: Known
    targets: frozenset[str]


def _takes_time(step: Step) -> bool:
    """Whether what is known of somebody may be another by the time this step is left."""
    if step.waits or step.sends() or step.keyword == "update":
        return True
    return any(_takes_time(inner) for body in step.bodies().values() for inner in body)


# ---- windows --------------------------------------------------------------------------------------------------------

_WEEK: Final = 7 * 24 * 60


def _tell_closed_windows(journey: Journey, found: Checked, problems: Problems) -> None:
    """Marketing that comes due at a time at which it is not sent, and does not wait until it is."""
    for send, days, at in _timed(journey):
        house = found.vocabulary.policies.hours.get(send.medium)
        if house is None or send.goes_elsewhere or not _is_marketing(send, found):
            continue
        expires = send.expire_after.exact if send.expire_after is not None else None
        if house.then == "hold" and (send.expire_after is None or expires is None):
            continue
        lasts = expires if house.then == "hold" and expires is not None else timedelta(minutes=1)
        if all(_shut(house, day * 1440 + at.hour * 60 + at.minute, lasts) for day in days):
            window = f"{house.window.open:%H:%M} to {house.window.close:%H:%M}"
            message = (
                f"this comes due at {at:%H:%M} and is never sent: the house's hours for {send.medium} are {window}"
            )
            hint = "let it come due within the hours" + (", or expire later" if house.then == "hold" else "")
            problems.warning("never-sent", message, send.span, hint)


def _timed(journey: Journey) -> Iterator[tuple[SendStep, frozenset[int], time]]:
    """Sends of which it is known at what time of day, on which weekdays, they come due."""
    first = journey.steps[0] if journey.steps else None
    moments = {(days, at) for t in journey.triggers for days, at in [_moment(t)] if at is not None}
    if isinstance(first, SendStep) and len(moments) == 1 and len(journey.triggers) == 1:
        ((days, at),) = moments
        yield first, days, at
    waiting: list[Sequence[Step]] = [journey.steps]
    while waiting:
        steps = waiting.pop()
        waiting += [body for step in steps for body in step.bodies().values()]
        for step, behind in pairwise(steps):
            if isinstance(step, WaitUntil) and isinstance(step.wait_until, Clock) and isinstance(behind, SendStep):
                yield behind, frozenset(step.wait_until.days), step.wait_until.at


def _moment(trigger: object) -> tuple[frozenset[int], time | None]:
    every = frozenset(range(7))
    if isinstance(trigger, DateTrigger | RiskTrigger):
        return every, trigger.at
    if isinstance(trigger, ScheduleTrigger) and trigger.cron is not None:
        minute, hour, *rest = trigger.cron.split()
        if minute.isdigit() and hour.isdigit() and rest[:2] == ["*", "*"]:
            return every, time(int(hour), int(minute))
    return every, None


def _shut(house: HouseHours, due: int, lasts: timedelta) -> bool:
    """Whether the window stays closed from a minute of the week on, so long."""
    window = house.window
    opens, closes = (at.hour * 60 + at.minute for at in (window.open, window.close))
    length = (closes - opens) % 1440 or 1440
    for day in window.days:
        ahead = (day * 1440 + opens - due) % _WEEK
        if ahead < lasts.total_seconds() / 60 or (due - day * 1440 - opens) % _WEEK < length:
            return False
    return True


# ---- goals, tracking ------------------------------------------------------------------------------------------------


def _tell_no_goal(journey: Journey, found: Checked, problems: Problems) -> None:
    """Advertising that goes on whether or not it has worked."""
    answered = any(isinstance(s, WaitFor) and s.event is not None for s in journey.every_step())
    if journey.goal is not None:
        return
    sends = [s for s in journey.every_step() if isinstance(s, SendStep)]
    marketing = [s for s in sends if not s.goes_elsewhere and _is_marketing(s, found)]
    measured = journey.holdout > 0 or any(step.keyword == "split" for step in journey.every_step())
    if measured and marketing:
        message = "there is a comparison, and no goal to compare by"
        hint = "say what it shall bring about: `goal: { event: …, within: 30 days }`"
        problems.warning("no-goal", message, journey.span, hint)
    elif journey.exit_when or answered:
        return  # what happens ends it, or decides what is said next
    elif _said_apart(journey, marketing) > 1 and any(s.waits for s in journey.every_step()):
        message = "this advertising has no goal: it goes on when it has worked, and nobody sees whether it does"
        hint = "add `goal: { event: …, within: 30 days }`; reaching it ends the run"
        problems.warning("no-goal", message, journey.span, hint)


def _said_apart(journey: Journey, sends: Sequence[SendStep]) -> int:
    """How many things are said: a text of one name is another on another medium, but not where one of them is tried
    after the other."""
    stands_for: dict[tuple[Medium, str], Medium] = {}
    for step in journey.every_step():
        if isinstance(step, FirstOf):
            first: dict[str, Medium] = {}
            for send in step.first_of:
                stands_for[send.medium, send.template] = first.setdefault(send.template, send.medium)
    return len({(stands_for.get((s.medium, s.template), s.medium), s.template) for s in sends})


def _tell_untracked(journey: Journey, found: Checked, problems: Problems) -> None:
    """Waiting for opens and clicks that nobody is told of."""
    told: set[tuple[str, Span]] = set()
    for step in journey.every_step():
        for send, word, span in _looked_for(step):
            blind = _blind(journey.step(send), word, found) if (send, span) not in told else ""
            if blind:
                told.add((send, span))
                message = f"nothing tells whether `{send}` was {word}: {blind}"
                hint = "switch it on under `policies.tracking`, or wait for an event that says more"
                problems.warning("not-tracked", message, span, hint)


def _looked_for(step: Step) -> Iterator[tuple[str, str, Span]]:
    """(send step, opened or clicked, where it is asked)."""
    if isinstance(step, FirstOf) and step.until != "delivered":
        yield from ((send.id, step.until, step.span) for send in step.first_of)
    asked: list[Condition | Expression] = [*step.asks()]
    for condition in asked:
        for node in walk(condition.root):
            if isinstance(node, Heard) and node.kinds <= {EventKind.OPENED, EventKind.CLICKED}:
                word = "opened" if EventKind.OPENED in node.kinds else "clicked"
                own = step.span if isinstance(step, WaitFor) else condition.span or step.span
                yield node.step, word, own


def _blind(send: Step, word: str, found: Checked) -> str:
    """Why nobody is told of it, or nothing."""
    if not isinstance(send, SendStep) or send.medium not in (Medium.EMAIL, Medium.SMS) or send.goes_elsewhere:
        return ""
    tracking = found.vocabulary.policies.tracking
    topic = _topic(send, found)
    if topic is not None and not topic.tracked:
        return f"its topic `{topic.name}` is not tracked"
    opens = tracking.opens and send.medium is Medium.EMAIL
    if (word == "opened" and (opens or tracking.clicks)) or (word == "clicked" and tracking.clicks):
        return ""
    return "tracking is off" if not (tracking.opens or tracking.clicks) else "clicks are not tracked"


def _topic(send: SendStep, found: Checked) -> Topic | None:
    template = found.templates.get(send.medium, send.template) if send.template else None
    return found.vocabulary.topics.get(template.topic) if template is not None else None


def _is_marketing(send: SendStep, found: Checked) -> bool:
    topic = _topic(send, found)
    return topic is not None and topic.purpose == "marketing"


# ---- texts ----------------------------------------------------------------------------------------------------------


def _tell_unused(found: Checked, problems: Problems) -> None:
    sent = {
        (s.medium, s.template)
        for journey in found.journeys.values()
        for s in journey.every_step()
        if isinstance(s, SendStep)
    }
    if (asked := found.vocabulary.policies.double_opt_in) is not None:
        sent.add((Medium.EMAIL, asked.template))
    for template in found.templates:
        if (template.medium, template.name.partition(VARIANT)[0]) not in sent:
            message = f"nothing sends this text: no step says `{template.medium}: {template.name}`"
            problems.warning("unused-template", message, template.span, "send it, or delete the file")
    included = {path for template in found.templates for path in template.files}
    for path in found.files:
        hidden = path.rpartition("/")[2].startswith(".") or path.endswith(".md")
        if path.startswith("templates/snippets/") and path not in included and not hidden:
            message = "no text includes this snippet"
            problems.warning("unused-template", message, Span.whole(path), "include it, or delete the file")


def _tell_missing_locales(found: Checked, problems: Problems) -> None:
    own = [t for t in found.templates if VARIANT not in t.name]
    spoken = {locale for t in own for locale in t.locales}
    usual = {name for name in spoken if len(own) > 3 and 2 * sum(name in t.locales for t in own) > len(own)}
    wanted = sorted({*found.vocabulary.preferences.languages, *usual} - {found.vocabulary.locale})
    for template in own:
        have = {part for locale in template.locales for part in (locale, locale.partition("-")[0])}
        missing = [name for name in wanted if name not in have and name.partition("-")[0] not in template.locales]
        if missing:
            path = template.span.file
            stem, _, suffix = path.rpartition(".")
            message = f"this text is not there in {' and '.join(f'`{name}`' for name in missing)}: those get `"
            message += f"{template.default}`"
            hint = f"add `{stem.removesuffix('.' + template.default).rpartition('/')[2]}.{missing[0]}.{suffix}`"
            problems.warning("missing-locale", message, template.span, hint)


_LINK: Final = re.compile(r"http://(?!www\.w3\.org/)[^\s\"'<>{}()]+", re.IGNORECASE)


def _tell_links(template: Template, found: Checked, problems: Problems) -> None:
    """Links that anybody on the way can read and change. A letter's are typed, and only its pictures fetched by us."""
    if template.medium is Medium.MAIL:
        return
    for path in template.files:
        text = found.files.get(path, "")
        if "http://" not in text.lower() or path.startswith("templates/attachments/"):
            continue
        for said in _LINK.finditer(text):
            message = "this link is not encrypted: who carries it can read and change what is behind it"
            problems.warning("no-https", message, _place(path, text, *said.span()), "write `https://`")


def _place(path: str, text: str, start: int, end: int) -> Span:
    line = text.count("\n", 0, start) + 1
    col = start - (text.rfind("\n", 0, start) + 1) + 1
    return Span(path, line, col, line, col + end - start)


def _tell_way_out(template: Template, found: Checked, problems: Problems) -> None:
    """Advertising that does not say how to have no more of it, or who sends it from where."""
    topic = found.vocabulary.topics.get(template.topic)
    if topic is None or topic.purpose != "marketing" or template.medium not in (Medium.EMAIL, Medium.SMS):
        return
    address = found.vocabulary.sender.get("postal_address", "").strip()
    for locale in template.locales:
        made = template.compiled(locale)
        suffix = "mjml" if template.medium is Medium.EMAIL else "txt"
        path = next((p for p in template.files if p.endswith(f".{locale}.{suffix}")), template.span.file)
        if template.medium is Medium.SMS:
            if not says_how_to_stop(made):
                message = "advertising without a way out: it does not say how to have no more of it"
                hint = (
                    "end it with `Reply STOP to opt out`: the answer is understood; or put in `{{ links.preferences }}`"
                )
                problems.warning("no-unsubscribe", message, Span.whole(path), hint)
            continue
        if (way := way_out(made)) == "not there":
            message = "advertising without a way out: there is no link to unsubscribe with"
            hint = "put `{{ links.unsubscribe }}` into it, best by a footer that all texts include"
            problems.warning("no-unsubscribe", message, Span.whole(path), hint)
        elif way == "sometimes":
            message = "advertising without a way out for some: the link to unsubscribe with stands within a condition"
            hint = "put it behind `{% endif %}`, where everybody gets it"
            problems.warning("no-unsubscribe", message, _way_out_of(template, path, found), hint)
        if not has_address(made, address):
            message = "advertising that does not say where it comes from: there is no postal address"
            hint = "put `{{ workspace.sender.postal_address }}` into it, best by a footer that all texts include"
            problems.warning("no-postal-address", message, Span.whole(path), hint)


def _way_out_of(template: Template, path: str, found: Checked) -> Span:
    """Where the link stands: in the text, or in what it includes."""
    for file in (path, *template.files):
        for name in sorted(WAYS_OUT):
            if (at := found.files.get(file, "").find(name)) >= 0:
                return _place(file, found.files[file], at, at + len(name))
    return Span.whole(path)


# ---- the length of texts --------------------------------------------------------------------------------------------

_TYPICAL: Final[Mapping[str, str]] = {
    "first_name": "Katharina",
    "last_name": "Zimmermann",
    "company": "Muster Handel GmbH",
    "name": "Muster Handel GmbH",
    "city": "Wuppertal",
    "tier": "platinum",
    "code": "A7K2-9QX4",
}
"""What is not shorter for most people."""
_BY_KIND: Final[Mapping[Kind, object]] = {
    Kind.NUMBER: 1250,
    Kind.MONEY: 124_950,
    Kind.YES_NO: True,
    Kind.DATE: date(2027, 9, 29),
    Kind.KEY: "2027-004711",
}
_ADDRESS: Final = "https://news.example.com/u/v1.k1.9f2c4b7de1a04c58.5b1d2c7e"


def _tell_long(template: Template, found: Checked, problems: Problems) -> None:
    """A text that takes one segment as it is written, and several with what most people bring along."""
    if template.medium is not Medium.SMS:
        return
    smart = found.vocabulary.policies.texts == "smart"
    for locale in template.locales:
        made = template.compiled(locale)
        fixed = "".join(made.skeleton.parts["text"])
        try:
            filled = made.render(_typical(made.names, found.vocabulary))["text"]
        except (MissingValue, RenderFailed):
            continue
        fixed, filled = (simplified(text) if smart else text for text in (fixed, filled))
        count = sms_segments(filled).segments
        if sms_segments(fixed).segments < 2 <= count:
            path = next((p for p in template.files if p.endswith(f".{locale}.txt")), template.span.file)
            text = found.files.get(path, "")
            at = text.find("\n---", 3) + 5
            message = f"with what most people bring along, this text takes {count} segments ({len(filled)} characters)"
            hint = "each segment is charged as a text, and one has 160 characters (70 with letters outside GSM-7)"
            line = text.find("\n", at)
            problems.warning("long-filled", message, _place(path, text, at, line if line > at else len(text)), hint)


def _typical(names: frozenset[str], vocabulary: Vocabulary) -> dict[str, object]:
    """A context with a value for every name."""
    made: dict[str, object] = {}
    for name in sorted(names):
        root, _, rest = name.partition(".")
        if root == "workspace":
            continue
        if not rest:
            made.setdefault(root, _TYPICAL.get(root, "gold"))
            continue
        inside = made.get(root)
        if not isinstance(inside, dict):
            inside = made[root] = {}
        inside[rest.partition(".")[0]] = _value(root, rest, vocabulary)
    return made


def _value(root: str, name: str, vocabulary: Vocabulary) -> object:
    if root == "links":
        return _ADDRESS
    if name.endswith("_currency"):
        return vocabulary.currency
    fields = {"customer": vocabulary.customer, "account": vocabulary.account}.get(root)
    if fields is None and root in vocabulary.records:
        fields = vocabulary.records[root].fields
    events = [e.fields for e in vocabulary.events.values()] if root == "event" else []
    declared = next((f[name] for f in (fields or {}, *events) if name in f), None)
    if declared is not None and declared.kind in _BY_KIND:
        return _BY_KIND[declared.kind]
    return _TYPICAL.get(name, "1250" if root == "points" else "something")


# ---- deadlines for companies ----------------------------------------------------------------------------------------

_DEADLINE: Final = re.compile(
    r"\b(?:only (?:until|till|today|this week)|(?:offer|price|discount)s? (?:ends?|expires?|(?:is )?valid until)"
    r"|last chance|hurry(?! either)|act (?:now|fast)|while (?:stocks?|supplies) last|don['’]t miss"
    r"|(?:\d+|few) (?:days|hours) left|limited[- ]time|countdown"
    r"|nur (?:noch )?(?:bis|heute|diese woche|(?:\d+|wenige) (?:tage|stunden))"
    r"|(?:angebot|preis|rabatt) (?:endet|gilt (?:nur )?bis)"
    r"|letzte (?:chance|gelegenheit)|solange (?:der )?vorrat|jetzt zugreifen|nicht verpassen|schnell sein)\b",
    re.IGNORECASE,
)
_DENIED: Final = re.compile(
    r"\b(?:no|not|never|kein\w*|nicht|nie|without|ohne) (?:\w+ )?$",
    re.IGNORECASE,
)


def _tell_deadlines(found: Checked, problems: Problems) -> None:
    """Companies decide by committee and by budget: an offer that presses them for time is refused or resented."""
    told: set[tuple[Medium, str]] = set()
    for journey in found.journeys.values():
        if not _for_companies(journey, found):
            continue
        for step in journey.every_step():
            if not isinstance(step, SendStep) or step.goes_elsewhere or (step.medium, step.template) in told:
                continue
            if step.template and _is_marketing(step, found):
                told.add((step.medium, step.template))
                for template in found.templates.every(step.medium, step.template):
                    _tell_deadline(template, journey, found, problems)


def _tell_deadline(template: Template, journey: Journey, found: Checked, problems: Problems) -> None:
    for path in template.files:
        text = found.files.get(path, "")
        if not path.startswith(f"templates/{template.medium}/"):
            continue
        for said in _DEADLINE.finditer(text):
            if _DENIED.search(text, max(0, said.start() - 30), said.start()):
                continue
            message = f"`{said[0]}` presses for time, and `{journey.name}` writes to companies, who decide by committee"
            hint = "say what it is worth and who helps with the decision; a date of the contract itself may stand"
            problems.warning("deadline-for-companies", message, _place(path, text, *said.span()), hint)
            break


def _for_companies(journey: Journey, found: Checked) -> bool:
    """Whether all whom it writes to are companies or their people: classes whose tier is the account's."""
    if journey.unit == "account":
        return True
    if journey.audience is None:
        return False
    roots = {name: (c.unit, c.root) for name, c in found.segments.items() if c.unit == "customer"}
    can = Possible(found.vocabulary, roots)
    known = can.after(Known(), journey.audience.root)
    places = known.places.get("unit") if known is not None else None
    classes = {name for name, _ in places or ()}
    companies = {c.name for c in found.vocabulary.classes.values() if c.unit == "account"}
    return bool(classes) and classes <= companies
