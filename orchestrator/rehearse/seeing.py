"""What a workspace can see of people, and what it listens for: nothing else of a simulation's people is made up, and
for nothing else it has to look.

Rather too much than too little: a name that stands anywhere in what is played counts as seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from channels.base import EventKind
from orchestrator.belong import ENDS, GOES_ON, STARTS
from orchestrator.condition import Condition
from orchestrator.journey import Journey
from orchestrator.model import Field, Kind, Unit
from orchestrator.project import Project
from orchestrator.rehearse.behaving import ARRIVES
from orchestrator.stages import STAGE
from orchestrator.steps.first_of import FirstOf
from orchestrator.terms import And, Compare, Heard, InSegment, Literal_, Node, OneOf, Ref, walk

_WORKSPACE: Final = "journeys/workspace.yaml"
_WORD: Final = re.compile(r"\w+")
_JOURNEY: Final = re.compile(r"^journey:", re.MULTILINE)
_IMPLIED: Final = frozenset({STAGE, GOES_ON, *STARTS, *ENDS})
"""Fields that mean something by their name alone: triggers and programmes ask for them and do not name them."""
LOOKS: Final = frozenset({EventKind.OPENED, EventKind.CLICKED})
"""What people do with a message that has arrived: most journeys do not ask for it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`classes`: of whom somebody can enter a journey; None: everybody. `media`: by which something may go out.
    `words`: all that stand in what is played; None: any."""

    classes: frozenset[str] | None
    media: frozenset[str]
    words: frozenset[str] | None

    def has(self, class_name: str) -> bool:
        return self.classes is None or not class_name or class_name in self.classes

    def names(self, name: str) -> bool:
        return self.words is None or all(word in self.words for word in _WORD.findall(name))

    def of(self, fields: Mapping[str, Field]) -> dict[str, Field]:
        """The fields that are named; keys, which tell what belongs together; and those whose name says it all."""
        return {
            name: one for name, one in fields.items() if one.kind is Kind.KEY or name in _IMPLIED or self.names(name)
        }


def seen_by(project: Project) -> Seen:
    """Of a workspace cut to the journeys that are played."""
    journeys = project.journeys.values()
    media = frozenset(medium.value for journey in journeys for medium in journey.sends().values())
    # A complaint becomes somebody's task, whoever complains.
    who = classes(project) if project.vocabulary.complaints is None else None
    return Seen(who, media, _words(project))


def classes(project: Project) -> frozenset[str] | None:
    """Classes of whoever may enter a journey; None where one is open to all, or where a rule finds the class."""
    if project.class_rules:
        return None
    found = [
        _bound(j.audience.root, j.unit, project.segments) if j.audience else None for j in project.journeys.values()
    ]
    named = [some for some in found if some is not None]
    return frozenset().union(*named) if named and len(named) == len(found) else None


def _bound(root: Node, unit: Unit, segments: Mapping[str, Condition]) -> frozenset[str] | None:
    """The classes of such units outside of which a condition is false; None where it is not said."""
    match root:
        case And(parts=parts):
            found = [some for part in parts if (some := _bound(part, unit, segments)) is not None]
            return frozenset.intersection(*found) if found else None
        case Compare(op="==", left=Ref() as ref, right=Literal_(value=str() as one)) if _is_class(ref, unit):
            return frozenset({one})
        case OneOf(value=Ref() as ref, options=options) if _is_class(ref, unit):
            named = [o.value for o in options if isinstance(o, Literal_)]
            return frozenset(map(str, named)) if len(named) == len(options) else None
        case InSegment(name=name) if name in segments and segments[name].unit == unit:
            # Segments do not go round in circles: the workspace would not have been read.
            return _bound(segments[name].root, unit, segments)
    return None


def _is_class(ref: Ref, unit: Unit) -> bool:
    """Whether it is the unit's own, and not the class of a customer's account."""
    return ref.name == "class" and ref.holder == unit


def _words(project: Project) -> frozenset[str]:
    """In journeys that are played, in segments, and in texts that they send; of what the workspace declares, what is
    named a second time."""
    journeys = project.journeys.values()
    templates = {name for j in journeys for step in j.every_step() if (name := getattr(step, "template", ""))}
    paths = {journey.path for journey in journeys}
    found: set[str] = set()
    for path, text in project.files.items():
        if path == _WORKSPACE:
            found |= {word for word, n in Counter(_WORD.findall(text)).items() if n > 1}
        elif path in paths or (not _is_journey(path, text) and not _is_other_text(path, templates)):
            found |= set(_WORD.findall(text))
    return frozenset(found)


def _is_journey(path: str, text: str) -> bool:
    return path.startswith("journeys/") and _JOURNEY.search(text) is not None


def _is_other_text(path: str, templates: Collection[str]) -> bool:
    """Whether it is a message's text that no step names."""
    parts = PurePosixPath(path).parts
    if parts[0] != "templates" or "snippets" in parts:
        return False
    return not parts[-1].startswith(tuple(templates))


# ---- what is listened for -------------------------------------------------------------------------------------------


def listened(journey: Journey) -> frozenset[str]:
    """Steps of whose messages something hangs on an opening or a click."""
    asked = [journey.goal, *journey.exit_when, *(c for step in journey.every_step() for c in step.asks())]
    found = {
        node.step
        for condition in asked
        if condition is not None
        for node in walk(condition.root)
        if isinstance(node, Heard) and node.kinds & LOOKS
    }
    return frozenset(found.union(*(_tried(step) for step in journey.every_step() if isinstance(step, FirstOf))))


def _tried(step: FirstOf) -> Iterator[str]:
    """Sends one after the other: an opening says that a message has arrived, where its provider does not."""
    for name, medium in step.sends():
        if step.until != "delivered" or medium not in ARRIVES:
            yield name
