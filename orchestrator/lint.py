"""What is allowed and most likely not meant: warnings that need the whole workspace.

Every lint looks at what was checked without an error; nothing here reads a file. A worker that reads what is in force
does not pay for it: `check`, `plan` and `apply` ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final

from channels.base import EventKind, Medium
from orchestrator.condition import Condition, Expression, Heard
from orchestrator.gsm import simplified, sms_segments
from orchestrator.imprint import WAYS_OUT, has_address, says_how_to_stop, way_out
from orchestrator.jinja import MissingValue
from orchestrator.journey import Journey
from orchestrator.model import Kind, Topic, Vocabulary
from orchestrator.offers import presses
from orchestrator.oversights import tell_births, tell_teams
from orchestrator.problems import Problem, Problems, Span
from orchestrator.reach import Reach
from orchestrator.recall import Recall, packed, place, unpacked
from orchestrator.steps import Step
from orchestrator.steps.first_of import FirstOf
from orchestrator.steps.sending import SendStep
from orchestrator.steps.wait_for import WaitFor
from orchestrator.template import VARIANT, RenderFailed, Template, Templates
from orchestrator.terms import walk
from orchestrator.windows import tell_closed_windows, tell_passed

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
    reach = Reach(found.vocabulary, found.segments, problems)
    reach.tell_segments()
    marketing = partial(_is_marketing, found=found)
    for journey in found.journeys.values():
        reach.tell(journey)
        tell_closed_windows(journey, found.vocabulary.policies, marketing, reach.countries(journey), problems)
        tell_passed(journey, problems)
        _tell_untracked(journey, found, problems)
        _tell_no_goal(journey, found, problems)
        tell_births(journey, found.vocabulary.policies.born, problems)
    tell_teams(found.journeys.values(), found.vocabulary, found.files, problems)
    _tell_unused(found, problems)
    _tell_missing_locales(found, problems)
    _tell_deadlines(found, reach, problems)
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


def _tell_deadlines(found: Checked, reach: Reach, problems: Problems) -> None:
    """Companies decide by committee and by budget: an offer that presses them for time is refused or resented."""
    told: set[tuple[Medium, str]] = set()
    snippets: set[str] = set()
    for journey in found.journeys.values():
        if (reached := reach.companies(journey)) == "none":
            continue
        because = f"`{journey.name}` writes to companies{', too' * (reached == 'some')}"
        for step in journey.every_step():
            if not isinstance(step, SendStep) or step.goes_elsewhere or (step.medium, step.template) in told:
                continue
            if step.template and _is_marketing(step, found):
                told.add((step.medium, step.template))
                for template in found.templates.every(step.medium, step.template):
                    files = [path for path in template.files if path not in snippets]
                    snippets |= {path for path in files if path.startswith("templates/snippets/")}
                    _tell_deadline(files, because, found, problems)


def _tell_deadline(files: Sequence[str], because: str, found: Checked, problems: Problems) -> None:
    for path in files:
        text = found.files.get(path, "")
        if path.startswith("templates/attachments/") or (said := presses(text)) is None:
            continue
        message = f"`{said[0]}` presses for time, and {because}, who decide by committee"
        hint = "say what it is worth and who helps with the decision; a date of the contract itself may stand"
        problems.warning("deadline-for-companies", message, _place(path, text, *said.span()), hint)
