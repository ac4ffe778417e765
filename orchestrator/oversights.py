"""What was most likely overlooked while writing: a team's name that is nearly another, a birthday that comes once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from orchestrator.journey import Journey
from orchestrator.model import Vocabulary
from orchestrator.problems import Problems, Span, alike
from orchestrator.steps.sending import MANAGER
from orchestrator.steps.task import Task
from orchestrator.trigger import DateTrigger, in_words

_WORKSPACE: Final = "journeys/workspace.yaml"
_BORN: Final = frozenset(
    ("birthday", "birth_date", "birthdate", "date_of_birth", "dob", "born", "born_on", "geburtstag", "geburtsdatum")
)
_NEARLY_A_YEAR: Final = 360


def tell_births(journey: Journey, born: str, problems: Problems) -> None:
    """A birth date is in the past: nobody is imported before it. What is counted from it in years may come.

    `born`: the field that `policies.minors` names, "" none."""
    for trigger in journey.triggers:
        if not isinstance(trigger, DateTrigger) or trigger.source != "customer" or trigger.every_year:
            continue
        if trigger.field_name not in _BORN and trigger.field_name != born:
            continue
        if trigger.offset_months * 30 + trigger.offset_days < _NEARLY_A_YEAR:
            day = in_words(trigger).partition(", at")[0]
            message = f"`{day}` is over when somebody becomes a customer: nobody ever enters"
            problems.warning("never-comes", message, trigger.span, f"did you mean `every year {day}`?")


def tell_teams(
    journeys: Iterable[Journey], vocabulary: Vocabulary, files: Mapping[str, str], problems: Problems
) -> None:
    """A task for a team that there is not lies where nobody looks: a name that is nearly another one is a slip.

    `files`: the workspace's texts, in which the names in workspace.yaml have their place."""
    said = [
        (name, step.span)
        for journey in journeys
        for step in journey.every_step()
        if isinstance(step, Task)
        for name in (step.task, step.otherwise)
    ]
    complaints = vocabulary.complaints
    declared = [complaints.to, complaints.otherwise] if complaints is not None else []
    declared.append(vocabulary.preferences.call_me)
    every = (*(name for name, _ in said), *declared)
    # An address has an @, a field such as `opportunity.owner` a dot.
    teams = Counter(name for name in every if name and not {"@", "."} & {*name})
    for name, span in (*said, *((name, _place(name, files)) for name in dict.fromkeys(declared))):
        if name not in teams or name == MANAGER:
            continue
        often = [team for team, n in teams.items() if n > 1 and alike(name, team)] if teams[name] == 1 else []
        meant = MANAGER if alike(name, MANAGER) else max(often, key=teams.__getitem__, default="")
        if meant:
            what = "is taken for a team" if meant == MANAGER else f"is said once, and `{meant}` more often"
            hint = f"did you mean `{meant}`? Nobody looks after the list of a team that is not there"
            problems.warning("misspelt-team", f"`{name}` {what}", span, hint)


def _place(name: str, files: Mapping[str, str]) -> Span:
    """Where workspace.yaml names it."""
    text = files.get(_WORKSPACE, "")
    said = re.search(rf"\b(?:to|otherwise|call_me):\s*[\"']?({re.escape(name)})", text) if name else None
    if said is None:
        return Span.whole(_WORKSPACE)
    line = text.count("\n", 0, said.start(1)) + 1
    col = said.start(1) - text.rfind("\n", 0, said.start(1))
    return Span(_WORKSPACE, line, col, line, col + len(name))
