"""Of a drawing: what a step, a way, a trigger says in a few words, and how much room the words take.

Widths are estimates for a common sans serif, in pixels: a page that is drawn here is looked at elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from orchestrator.condition import Condition
from orchestrator.journey import Journey
from orchestrator.steps import Step
from orchestrator.terms import Happened
from orchestrator.trigger import (
    ApiTrigger,
    AtTrigger,
    DateTrigger,
    EventTrigger,
    MilestoneTrigger,
    RiskTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    StageTrigger,
    TierTrigger,
    Trigger,
    in_words,
)
from orchestrator.words import WEEKDAY_NAMES, Duration


@dataclass(frozen=True, slots=True)
class Caption:
    """`icon` and `tone` are names the drawing knows; `title` and `details` are whole texts, not yet broken into
    lines."""

    icon: str
    tone: str
    title: str
    details: tuple[str, ...] = ()


# ---- room -----------------------------------------------------------------------------------------------------------

_WIDTHS: Final[Mapping[str, int]] = {
    char: width
    for chars, width in (
        ("'ijl", 215), (" !,./:;I[\\]ft|", 275), ("()-`r{}", 333), ('"*', 370), ("^ckJsvxyz", 500),
        ("#$0123456789?L_abdeghnopqu", 556), ("+<=>~≤≥≠F", 590), ("TZ", 611), ("&ABEKPSVXY", 667),
        ("CDHNRUw", 722), ("GOQ", 778), ("Mm", 833), ("%W…—", 940), ("@", 1015),
    )
    for char in chars
}  # fmt: skip
_SAFE: Final = 1.04
"""Fonts differ: a text that just fits here must fit elsewhere."""


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Of one line, in pixels."""
    units = sum(_WIDTHS.get(char, 1000 if ord(char) > 0x2E7F else 620) for char in text)
    return units / 1000 * size * (1.07 if bold else 1) * _SAFE


def wrapped(text: str, size: float, room: float, most: int, *, bold: bool = False) -> tuple[str, ...]:
    """At most so many lines, none wider than `room`; what is left out ends in an ellipsis. A no-break space holds."""
    lines: list[str] = []
    ahead = [part for word in re.split(r"[ \t\r\n]+", text) if word for part in _parts(word, size, room, bold)]
    while ahead and len(lines) < most:
        line = ahead.pop(0)
        while ahead and width(f"{line} {ahead[0]}", size, bold=bold) <= room:
            line = f"{line} {ahead.pop(0)}"
        lines.append(line.removesuffix(" ·"))
    if ahead:
        last = lines[-1]
        while last and width(f"{last}…", size, bold=bold) > room:
            last = last[:-1]
        lines[-1] = f"{last.rstrip(' ,.;:·')}…"
    return tuple(lines)


def balanced(text: str, size: float, room: float, most: int) -> tuple[str, ...]:
    """The same in lines of about one length."""
    lines = wrapped(text, size, room, most)
    while len(lines) > 1 and room > 60:
        room -= 6
        narrower = wrapped(text, size, room, most)
        if len(narrower) > len(lines) or " ".join(narrower) != " ".join(lines):
            break
        lines = narrower
    return lines


def _parts(word: str, size: float, room: float, bold: bool) -> Iterable[str]:
    """A word that is too long for a line, in pieces; behind a mark where there is one."""
    while width(word, size, bold=bold) > room:
        cut = next(n for n in range(len(word), 0, -1) if n == 1 or width(word[:n], size, bold=bold) <= room)
        marks = [m.end() for m in re.finditer(r"[-_./(:]", word[:cut])]
        at = marks[-1] if marks and marks[-1] > cut // 3 else cut
        yield word[:at]
        word = word[at:]
        if not word:
            return
    yield word


# ---- words ----------------------------------------------------------------------------------------------------------

_SIGNS: Final = ((" == ", " = "), (" != ", " ≠ "), (" >= ", " ≥ "), (" <= ", " ≤ "))
_SEGMENT = re.compile(r'in segment\("([^"]*)"\)')
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")')
_PLAIN = re.compile(r'"([A-Za-z][\w:.-]*)"')
_NPS = re.compile(r"last\(survey_answered\.(\w+) where survey (?:in \[[^\]]*\]|== \S+) and \1 is set\)")
_HEARD = re.compile(r"\b(opened|clicked|delivered|bounced)\((?:\w+:)?([\w.-]+)\)")
_TAG = re.compile(r"\{\{\s*([a-z_.]+)[^}]*\}\}")


def named(name: str) -> str:
    """A name as a heading: `renewal-notice` → Renewal notice, `b2b-nps` → B2B NPS."""
    words = re.split(r"[-_\s]+", name.strip())
    shown = [w.upper() if re.fullmatch(r"(?=.*\d)\w{2,3}|[b-df-hj-np-tv-xz]{2,4}", w) else w for w in words if w]
    text = " ".join(shown)
    return text[:1].upper() + text[1:]


def condition(meant: Condition) -> str:
    """A condition as people read it: signs of mathematics, an event with its time in days."""
    if isinstance(meant.root, Happened):
        return happening(meant)[0]
    return _signs(meant.text)


def happening(meant: Condition) -> tuple[str, tuple[str, ...]]:
    """An event that ends something: its name, and what else there is to it."""
    root = meant.root
    if not isinstance(root, Happened):
        return _signs(meant.text), ()
    found = re.search(r" where (.*) since (?:entry|step|ever)", meant.text)
    details = [f"where {_signs(found[1])}"] if found else []
    if root.within_seconds:
        details.append(f"within {_span(timedelta(seconds=root.within_seconds))}")
    return root.event, tuple(details)


def _signs(text: str) -> str:
    text = _NPS.sub("nps", _SEGMENT.sub(r"in segment \1", text))  # the latest answer, as it was written
    parts = _QUOTED.split(text)  # what stands in quotes is left as it is
    for sign, shown in _SIGNS:
        parts[::2] = [part.replace(sign, shown) for part in parts[::2]]
    return _HEARD.sub(lambda m: f"{m[1]} {named(m[2])}", _PLAIN.sub(r"\1", "".join(parts)))


def _span(length: timedelta) -> str:
    return str(Duration(days=length.days, seconds=length.seconds))


def said(text: str) -> str:
    """A text with its tags as plain words: `Call {{ account.name }}` → Call [account name]."""
    shown = _TAG.sub(lambda m: f"[{m[1].replace('.', ' ').replace('_', ' ')}]", text)
    return " ".join(re.sub(r"\{[{%#].*?[}%#]\}", "…", shown, flags=re.DOTALL).split())


# ---- steps ----------------------------------------------------------------------------------------------------------

_MEDIA: Final = {"email": "E-mail", "sms": "SMS", "push": "Push", "mail": "Letter", "survey": "Survey by e-mail"}


def of(step: Step) -> Caption:
    """What one step says. A kind that is not known here says its keyword and its id."""
    tell = _TELLERS.get(step.keyword)
    return tell(step) if tell is not None else Caption("dot", "data", named(step.keyword), (step.id,))


def _send(step: Any) -> Caption:
    name = getattr(step, "survey", "") or step.template
    return Caption(step.keyword, step.keyword, named(name), _details(_MEDIA[step.keyword], step))


def _details(first: str, step: Any, *more: str) -> tuple[str, ...]:
    """Of a send: its medium and what is special about it, on one line; its condition on another."""
    words = [first]
    if step.from_:
        words.append(f"from {_who(step.from_)}")
    if step.to and step.keyword not in ("task", "webhook"):
        words.append("to " + ", ".join(_who(to) for to in step.to))
    words += more
    if step.throttle:
        words.append(f"at most {step.throttle.count:,} in {_span(step.throttle.per)}")
    line = " · ".join(words)
    return (line, f"only if {condition(step.only_if)}") if step.only_if is not None else (line,)


def _who(name: str) -> str:
    return name if "@" in name else name.replace("_", " ").replace("-", " ")


def _task(step: Any) -> Caption:
    text = said(step.title) or said(step.text) or named(step.id.partition(":")[2] or step.id)
    due = (f"due in {step.due}",) if step.due else ()
    first = "Call" if step.call == "yes" else "Task"
    return Caption("call" if step.call == "yes" else "task", "task", text, _details(first, step, _who(step.task), *due))


def _webhook(step: Any) -> Caption:
    more = (f"answers with {step.answer}",) if step.answer else ()
    return Caption("webhook", "webhook", named(step.webhook), _details("System", step, *more))


def _wait_until(step: Any) -> Caption:
    clock = step.wait_until
    if hasattr(clock, "days"):
        days = "" if len(clock.days) == 7 else f", {_days(clock.days)}"
        return Caption("calendar", "wait", f"until {clock.at:%H:%M}{days}")
    day = f"on {clock.field}" if clock.side == "on" else f"{clock.amount} {clock.side} {clock.field}"
    return Caption("calendar", "wait", f"until {day}" + (f", {step.at:%H:%M}" if step.at else ""))


def _days(numbers: Iterable[int]) -> str:
    found = sorted(numbers)
    known = {(0, 1, 2, 3, 4): "weekdays", (5, 6): "weekends"}
    return known.get(tuple(found)) or ", ".join(WEEKDAY_NAMES[n].capitalize() for n in found)


def _wait_for(step: Any) -> Caption:
    if step.event:
        title, details = f"Wait for {step.event}", happening(step.condition)[1]
    elif step.segment:
        title, details = f"Wait until in segment {step.segment}", ()
    else:
        title, details = f"Wait until {named(step.message.partition(':')[2] or step.message)} is {step.is_}", ()
    ignored = ("only from now on",) if step.already_true == "ignore" else ()
    more = " · ".join((*details, *ignored))
    return Caption("hourglass", "wait", title, (more,) if more else ())


def _split(step: Any) -> Caption:
    winner = step.winner
    details = (f"winner by {winner.by}, not before {_span(winner.after)}",) if winner else ()
    return Caption("split", "flow", "Split by chance", details)


def _first_of(step: Any) -> Caption:
    return Caption("ladder", "flow", f"Until one is {step.until}", (f"one after the other, {step.within} each",))


def _goto(step: Any) -> Caption:
    return Caption("back", "flow", f"back, at most {step.max}×")


def _enter(step: Any) -> Caption:
    return Caption("enter", "data", named(step.enter), ("Enters this journey, too",))


def _exit(step: Any) -> Caption:
    return Caption("exit", "exit", step.exit or "The run ends here")


def _update(step: Any) -> Caption:
    return Caption("update", "data", "Update " + ", ".join(step.update), (_settings(step.update),))


def _emit(step: Any) -> Caption:
    more = (_settings(step.properties),) if step.properties else ()
    return Caption("event", "data", step.emit, ("Records an event", *more))


def _settings(values: Mapping[str, Any]) -> str:
    told = (f"{name} {node.text if node.text.startswith('=') else '= ' + node.text}" for name, node in values.items())
    return ", ".join(told)


def _points(step: Any) -> Caption:
    text = step.amount.expression.text if step.amount.expression is not None else f"{step.amount.value:,}"
    taken = step.amount.name == "deduct"
    more = (f"once for “{step.key}”",) if step.key else ()
    return Caption("points", "data", f"{text} points", ("taken" if taken else "given", *more))


def _voucher(step: Any) -> Caption:
    back = not isinstance(step.voucher, str)
    pool = step.voucher.take_back if back else step.voucher
    return Caption("voucher", "data", named(pool), ("Voucher taken back" if back else "Voucher from the pool",))


_TELLERS: Final[Mapping[str, Callable[[Any], Caption]]] = {
    **dict.fromkeys(_MEDIA, _send),
    "task": _task,
    "webhook": _webhook,
    "wait": lambda step: Caption("clock", "wait", str(step.wait)),
    "wait_until": _wait_until,
    "wait_for": _wait_for,
    "branch": lambda step: Caption("fork", "flow", ""),
    "split": _split,
    "first_of": _first_of,
    "goto": _goto,
    "enter": _enter,
    "exit": _exit,
    "update": _update,
    "emit": _emit,
    "points": _points,
    "voucher": _voucher,
}


def ways(step: Step) -> tuple[tuple[str, str], ...]:
    """Every way at a fork, as (its name in traffic, its label): those of `rehearse.ways`, in order."""
    found = []
    for number, name in enumerate(step.bodies()):
        found.append((name, _label(step, name, number)))
    if step.keyword == "branch" and "else" not in step.bodies():
        found.append(("none", "otherwise"))
    return tuple(found)


def _label(step: Any, name: str, number: int) -> str:
    match step.keyword:
        case "branch":
            meant = step.branch[number].if_
            return condition(meant) if meant is not None else "otherwise"
        case "split":
            return f"{named(name)} · {step.split[name].share * 100:.4g} %"
        case "wait_for" if name == "else":
            return f"not in {step.timeout}"
        case "wait_for":
            return "it happens" if step.event else f"it is {step.is_}" if step.message else "in the segment"
    return named(name)


# ---- how a journey begins and ends ----------------------------------------------------------------------------------

_BEGINS: Final[Mapping[type, str]] = {
    SegmentTrigger: "people",
    EventTrigger: "event",
    AtTrigger: "megaphone",
    ScheduleTrigger: "calendar",
    DateTrigger: "calendar",
    TierTrigger: "points",
    StageTrigger: "event",
    RiskTrigger: "points",
    MilestoneTrigger: "flag",
    ApiTrigger: "webhook",
}


def trigger(begins: Trigger) -> Caption:
    """What lets somebody in."""
    text = _signs(in_words(begins))
    if isinstance(begins, EventTrigger):
        more = [f"where {_signs(begins.where.text)}"] if begins.where else []
        more += [f"once for each {begins.run_by}"] if begins.run_by else []
        return Caption("event", "begin", begins.event, (", ".join(more),) if more else ())
    if isinstance(begins, ScheduleTrigger) and begins.cron and (told := cron(begins.cron)):
        text = f"{told}, " + ("in each one's own zone" if begins.timezone == "recipient" else f"in {begins.timezone}")
    title, _, rest = text.removeprefix("event ").partition(", ")
    if not isinstance(begins, MilestoneTrigger):
        title = title[:1].upper() + title[1:]
    return Caption(_BEGINS.get(type(begins), "event"), "begin", title, (rest,) if rest else ())


_MONTHS: Final = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                  "November", "December")  # fmt: skip


def cron(line: str) -> str:
    """A simple cron line in words; "" for any other: those who write them can read them."""
    found = re.fullmatch(r"(\d+) (\d+) (\S+) (\S+) (\S+)", line.strip())
    if found is None:
        return ""
    minute, hour, day, month, weekday = found.groups()
    at = f"at {int(hour):02}:{int(minute):02}"
    if (day, month, weekday) == ("*", "*", "*"):
        return f"every day {at}"
    months = _listed(month, dict(enumerate(_MONTHS, 1)))
    names = {n: name.capitalize() for n, name in enumerate((WEEKDAY_NAMES[-1], *WEEKDAY_NAMES))}
    names |= {name[:3]: name.capitalize() for name in WEEKDAY_NAMES}  # type: ignore[misc]
    if day == "*" and month == "*" and (days := _listed(weekday.lower(), names)):
        return f"every {days} {at}"
    if weekday == "*" and (dates := _listed(day, {n: _ordinal(n) for n in range(1, 32)})):
        when = "each month" if month == "*" else months
        return f"on the {dates} of {when} {at}" if when else ""
    return ""


def _listed(text: str, names: Mapping[Any, str]) -> str:
    found = [names.get(int(part) if part.isdigit() else part, "") for part in text.split(",")]
    return "" if "" in found else " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))


def _ordinal(number: int) -> str:
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def facts(journey: Journey) -> str:
    """What holds of the whole journey, in a line."""
    again = {
        "once": "once for each",
        "always": "as often as it is triggered",
        "after": f"again after {_span(journey.reentry.after or timedelta(0))}",
        "key": f"once for each {journey.reentry.key}",
    }
    words = ["for companies" if journey.unit == "account" else "for customers", again[journey.reentry.kind]]
    if journey.recipients.roles:
        most = f"at most {journey.recipients.at_most} of " if journey.recipients.at_most else ""
        words.append(f"to {most}" + ", ".join(_who(role) for role in journey.recipients.roles))
    if journey.throttle:
        words.append(f"at most {journey.throttle.count:,} in {_span(journey.throttle.per)}")
    words.append(f"priority {journey.priority}")
    return " · ".join(word.replace(" ", "\N{NO-BREAK SPACE}") if len(word) < 30 else word for word in words)


def endings(journey: Journey) -> tuple[Caption, ...]:
    """What ends a run wherever it stands: its goal, its exits."""
    found = []
    if journey.goal is not None:
        name, details = happening(journey.goal)
        found.append(Caption("flag", "goal", name, (" · ".join(("Goal", *details)),)))
    for meant in journey.exit_when:
        name, details = happening(meant)
        found.append(Caption("exit", "exit", name, (" · ".join(("Leaves at once", *details)),)))
    return tuple(found)
