"""Complaints as workspace.yaml declares them, and what people say summed up by week or month. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from orchestrator.metrics import Z, net_promoters
from orchestrator.model import Complaints, EventType, Field, Kind, Vocabulary
from orchestrator.problems import Problems
from orchestrator.reading import option, unknown
from orchestrator.source import Node
from orchestrator.template import compile_text
from orchestrator.words import Duration, names_a_field

SENTIMENT: Final = "sentiment"
"""The property by which an event says how somebody feels: −1 to 1, or one of WORDS."""
WORDS: Final[Mapping[str, float]] = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
Period = Literal["week", "month"]


# ---- what it looks like ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """Who takes a complaint up, and by when."""

    to: str = option("who: account_manager, a team's name, or an internal e-mail address")
    otherwise: str = option("who, where the company has no manager, or there is no company", default="complaints")
    within: Duration = option("by when, counted from the complaint: 2 days, 1 business day")
    text: str = option("what to do; may name customer, account and the event")
    title: str = option("a short heading", default="A complaint")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplaintsEntry:
    """Complaints: the event that opens a case, the one that closes it, and who takes it up."""

    event: str = option("the event that is a complaint")
    closed_by: str = option("the event that says it is settled")
    key: str = option(
        "the property of both by which one complaint is told from another; without it all of hers are closed",
        default="",
    )
    task: TaskEntry = option("who takes it up, and by when")
    pause: Literal["yes", "no"] = option(
        "whether marketing to her waits meanwhile, as `policies.pause_on_case` says of every case", default="yes"
    )


# ---- reading --------------------------------------------------------------------------------------------------------


def read_complaints(
    node: Node | None, entry: ComplaintsEntry | None, events: Mapping[str, EventType], problems: Problems
) -> Complaints | None:
    """Of all that could be read."""
    if node is None or entry is None:
        return None
    sound = True
    for name, said in (("event", entry.event), ("closed_by", entry.closed_by)):
        at = node.get(name)
        if at is None:
            continue
        if said not in events:
            unknown(problems, "event", said, at.span, events, " in workspace.yaml")
            sound = False
        elif entry.key and entry.key not in events[said].fields:
            where = node.get("key") or node
            hint = f"declare it with `{said}`, or leave `key` out: then all of a customer's are closed"
            problems.error("unknown-property", f"`{said}` has no `{entry.key}`", where.span, hint)
            sound = False
    closed = node.get("closed_by")
    if closed is not None and entry.event == entry.closed_by:
        hint = "name the event that says it is settled"
        problems.error("complaint-closes-itself", "one event cannot open a case and close it", closed.span, hint)
        sound = False
    task, own = entry.task, node.get("task")
    for name, to in (("to", task.to), ("otherwise", task.otherwise)):
        at = own.get(name) if own is not None else None
        if at is not None and names_a_field(to):
            hint = "write `account_manager`, a team or an internal e-mail address"
            problems.error("wrong-type", f"`{to}` is no team: a complaint is about no record", at.span, hint)
            sound = False
    if not sound:
        return None
    return Complaints(
        entry.event, entry.closed_by, task.within, task.text, task.to, task.otherwise, task.title, entry.key,
        entry.pause == "yes",
    )  # fmt: skip


def check_complaints(node: Node | None, vocabulary: Vocabulary, problems: Problems) -> None:
    """The task's words: they name what there is of everybody who complains."""
    declared, task = vocabulary.complaints, node.get("task") if node is not None else None
    if declared is None or task is None:
        return
    for key in ("text", "title"):
        said = task.get(key)
        if said is None or "{" not in said.text:
            continue
        before = len(problems.errors)
        names = compile_text(said.text, said.span, vocabulary, problems).names
        if len(problems.errors) > before:
            continue
        for name in sorted(names):
            root, _, member = name.partition(".")
            fields: Mapping[str, Field] = vocabulary.events[declared.event].fields
            if root == "event" and member and not {member, member.removesuffix("_currency")} & fields.keys():
                hint = "name a property of it, or take it out"
                message = f"the text names `{name}`, and `{declared.event}` has no `{member}`"
                problems.error("text-out-of-scope", message, said.span, hint)
            elif root not in ("customer", "account", "event", "workspace"):
                hint = "it may name customer, account and the event"
                message = f"the text names `{name}`, which a complaint has not"
                problems.error("text-out-of-scope", message, said.span, hint)


# ---- the trend ------------------------------------------------------------------------------------------------------


def feels(fields: Mapping[str, Field]) -> bool:
    """Whether an event of these properties says how somebody feels."""
    found = fields.get(SENTIMENT)
    if found is None:
        return False
    return found.kind is Kind.NUMBER or (found.kind is Kind.CHOICE and set(found.choices) <= set(WORDS))


def feeling(value: object) -> float | None:
    """−1 to 1; None where the value is none."""
    if isinstance(value, str):
        return WORDS.get(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1 <= value <= 1:
        return None
    return float(value)


def begins(day: date, by: Period) -> date:
    """The Monday of its week, or the first of its month."""
    return day.replace(day=1) if by == "month" else day - timedelta(days=day.weekday())


def periods(first: date, last: date, by: Period) -> list[date]:
    """The beginnings of all weeks or months from the first day's to the last's."""
    found, at = [], begins(first, by)
    while at <= last:
        found.append(at)
        at = begins(at + timedelta(days=31 if by == "month" else 7), by)
    return found


@dataclass(frozen=True, slots=True)
class Point:
    """One week or month: how many said something, their mean, and its interval of 95 %. None where nobody did.

    Of an NPS `value` is the score, −100 to 100, with the interval of `metrics`.
    """

    begins: date
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


def trend(said: Iterable[tuple[date, float]], over: list[date], by: Period, nps: bool = False) -> list[Point]:
    """A point for each of `over`, also where nobody said anything. `said`: (day, value)."""
    grouped: dict[date, list[float]] = defaultdict(list)
    for day, value in said:
        grouped[begins(day, by)].append(value)
    return [_scored(at, grouped.get(at, [])) if nps else _mean(at, grouped.get(at, [])) for at in over]


def _scored(at: date, values: list[float]) -> Point:
    found = net_promoters(sum(v >= 9 for v in values), sum(v <= 6 for v in values), len(values))
    return Point(at, len(values), found.value if values else None, found.low, found.high)


def _mean(at: date, values: list[float]) -> Point:
    """With the normal interval of a mean; of a single one nobody knows how far it carries."""
    n = len(values)
    if not n:
        return Point(at, 0)
    mean = sum(values) / n
    if n == 1:
        return Point(at, 1, mean)
    spread = Z * (sum((v - mean) ** 2 for v in values) / (n - 1) / n) ** 0.5
    return Point(at, n, mean, max(-1.0, mean - spread), min(1.0, mean + spread))
