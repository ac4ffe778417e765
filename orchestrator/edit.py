"""What an edit of a journey changes, in words, and what it does to somebody who is inside. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from difflib import SequenceMatcher
from enum import Enum
from typing import Any, Literal

from orchestrator.condition import Condition, Expression
from orchestrator.journey import Journey
from orchestrator.problems import Problems, Span
from orchestrator.source import Node, parse
from orchestrator.steps import Step

Becomes = Literal["finishes", "stays", "moves", "leaves", "stranded"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of those who stand at a step once another version of their journey is applied.

    `to`: the step they go on at, "" the beginning. `anew`: they come to it as if from the step before it; without it
    they are at the same step, whatever it is called now, and what they have waited counts.
    """

    becomes: Becomes
    to: str = ""
    anew: bool = False


def fate(new: Journey, old: Journey | None, step: str) -> Fate:
    """Of those at a step of another version; `old` None where that version cannot be read any more."""
    if new.in_flight == "finish":
        return Fate("finishes")
    if new.in_flight == "exit":
        return Fate("leaves")
    target = new.moves.get(step)
    if target == "exit" and not new.has(target):
        return Fate("leaves")
    if target == "finish" and not new.has(target):
        return Fate("finishes")
    to = step if target is None else stands_at(new, target)
    if to is None or not (to == "" or new.has(to)):
        return Fate("stranded")
    return Fate("stays" if to == step else "moves", to, anew=_anew(new, old, step, to))


def stands_at(journey: Journey, step: str) -> str | None:
    """The step itself, or the `first_of` that it is a part of; None when the journey has no such step."""
    if journey.has(step):
        return step
    holders = (s.id for s in journey.every_step() if any(part.id == step for part in s.parts()))
    return next(holders, None)


def _anew(new: Journey, old: Journey | None, step: str, to: str) -> bool:
    if not step or not to:
        return False
    if old is None or not old.has(step):
        return to != step  # of what it was nothing is known: at the same id it is taken for the same
    return type(old.step(step)) is not type(new.step(to))


def nearest(new: Journey, old: Journey | None, step: str) -> str | None:
    """The step that was most likely meant to take the place of one that is gone: same kind first, then the likest."""
    if old is not None and (to := renamed(old, new).get(step)) is not None and new.has(to):
        return to
    candidates = [s for s in new.every_step() if new.has(s.id) and not (old is not None and old.has(s.id))]
    candidates = candidates or [s for s in new.every_step() if new.has(s.id)]
    keyword = step.partition(":")[0]
    if old is not None and old.has(step):
        keyword = old.step(step).keyword

    def likeness(s: Step) -> tuple[bool, float]:
        return s.keyword == keyword, SequenceMatcher(None, step, s.id).ratio()

    return max(candidates, key=likeness).id if candidates else None


# ---- the difference in words ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as before. `kind`: + new, - gone, ~ another. `what`: `step email:hello`, `audience`."""

    kind: Literal["+", "-", "~"]
    what: str
    was: str = ""
    now: str = ""


def differences(old: Journey, new: Journey, old_text: str, new_text: str) -> tuple[Difference, ...]:
    """How two versions of a journey differ: what its head says, then its steps in reading order."""
    return (*_heads(old_text, new_text), *_steps(old, new))


def renamed(old: Journey, new: Journey) -> dict[str, str]:
    """Steps that are called otherwise: by the map of moves, or of one kind, alike, and the only ones that changed."""
    before, after = {s.id: s for s in old.every_step()}, {s.id: s for s in new.every_step()}
    gone = [s for i, s in before.items() if i not in after]
    fresh = [s for i, s in after.items() if i not in before]
    found = {was: to for was, to in new.moves.items() if was in before and was not in after and to in after}
    fresh = [s for s in fresh if s.id not in found.values()]
    for step in gone:
        alike = [s for s in fresh if s.keyword == step.keyword and _alike(step, s)]
        if step.id not in found and alike:
            best = max(alike, key=lambda s: SequenceMatcher(None, step.id, s.id).ratio())
            found[step.id] = best.id
            fresh.remove(best)
    return found


def _alike(a: Step, b: Step) -> bool:
    said, other = _said(a), _said(b)
    same = sum(said.get(key) == other.get(key) for key in said.keys() | other.keys())
    return same >= len(said.keys() | other.keys()) - 1 or SequenceMatcher(None, a.id, b.id).ratio() >= 0.7


def _heads(old_text: str, new_text: str) -> Iterator[Difference]:
    before, after = _entries(old_text), _entries(new_text)
    for key in dict.fromkeys((*before, *after)):
        if key == "steps" or before.get(key) == after.get(key):
            continue
        kind: Literal["+", "-", "~"] = "+" if key not in before else "-" if key not in after else "~"
        yield Difference(kind, key, before.get(key, ""), after.get(key, ""))


def _entries(text: str) -> dict[str, str]:
    """What stands under each key of a file, on one line."""
    node = parse(text, "", Problems())
    return {e.key: written(e.value, text) for e in node.entries} if node is not None else {}


def written(node: Node, text: str) -> str:
    """A value as it stands in its file, on one line."""
    span: Span = node.span
    lines = text.splitlines()[span.line - 1 : span.end_line]
    if not lines:
        return ""
    lines[-1] = lines[-1][: span.end_col - 1]
    lines[0] = lines[0][span.col - 1 :]
    return " ".join(" ".join(line.split(" #")[0].split()) for line in lines)


def _steps(old: Journey, new: Journey) -> Iterator[Difference]:
    before, after = {s.id: s for s in old.every_step()}, {s.id: s for s in new.every_step()}
    names = renamed(old, new)
    for was, step in before.items():
        if was not in after and was not in names:
            yield Difference("-", f"step {was}", was=_shown(_said(step)))
    known = {to: was for was, to in names.items()}
    for now, step in after.items():
        if now not in before and now not in known:
            yield Difference("+", f"step {now}", now=_shown(_said(step)))
        elif now in known:
            yield Difference("~", "step", was=known[now], now=now)
        if (was := known.get(now, now)) in before:
            yield from _changed(before[was], step, renamed=was != now)
    kept = [names.get(i, i) for i in before if names.get(i, i) in after]
    order = [i for i in after if i in kept]
    if kept != order:
        yield Difference("~", "order of the steps", was=", ".join(kept), now=", ".join(order))


def _changed(old: Step, new: Step, *, renamed: bool) -> Iterator[Difference]:
    said, says = _said(old), _said(new)
    if type(old) is not type(new):
        yield Difference("~", f"step {new.id}", was=old.keyword, now=new.keyword)
        return
    for key in dict.fromkeys((*said, *says)):
        if said.get(key) != says.get(key) and not (renamed and key in (new.keyword, "template")):
            what = f"step {new.id}" if key == new.keyword else f"{key} of {new.id}"
            yield Difference("~", what, said.get(key, ""), says.get(key, ""))


def _said(step: Step) -> dict[str, str]:
    """What a step itself says, by key; what is nested in it says that for itself."""
    found = {}
    for f in dataclasses.fields(step):
        if f.name in ("id", "span") or f.name.startswith("_"):
            continue
        value = getattr(step, f.name)
        default = f.default if f.default is not dataclasses.MISSING else None
        if value is None or value == default or value in ((), ""):
            continue
        if text := _plain(value):
            found[f.name.rstrip("_")] = text
    return found


def _plain(value: Any) -> str:
    if isinstance(value, Condition | Expression):
        return value.text
    if isinstance(value, Step):
        return value.id
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, time):
        return f"{value:%H:%M}"
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(v) for v in value)
    if isinstance(value, frozenset):
        return ", ".join(_DAYS[day] if isinstance(day, int) else _plain(day) for day in sorted(value))
    if "__str__" in vars(type(value)):
        return str(value)
    if dataclasses.is_dataclass(value):
        parts = ((f.name.rstrip("_"), getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "span")
        return " ".join(f"{name} {_plain(v)}" for name, v in parts if v not in (None, (), ""))
    return str(value)


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _shown(said: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {text}" for key, text in said.items())
