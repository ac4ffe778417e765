"""What an apply would change, in words and numbers, before it does."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from orchestrator.apply import Force, drafts_with_people, in_force, trigger_key
from orchestrator.carry import Inside, TextChange, outlook
from orchestrator.edit import Difference, differences
from orchestrator.journey import Journey
from orchestrator.problems import Problem
from orchestrator.project import Project
from orchestrator.resume import outlooks
from orchestrator.store import versions
from orchestrator.store.database import Store
from orchestrator.store.explain import audience_size, entering_size, without_manager
from orchestrator.store.segments import Segments
from orchestrator.trigger import AtTrigger, SegmentTrigger, Trigger

Change = Literal["added", "edited", "removed", "same"]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Those who stand at a step, "" the beginning, of a version other than the one to be applied.

    `becomes`: finishes (the version they are on), stays (at the same step of the new one), moves (to `to`), leaves, or
    stranded: then the apply is refused.
    """

    step: str
    people: int
    version: str
    becomes: str
    to: str = ""


@dataclass(frozen=True, slots=True)
class JourneyPlan:
    """One journey. `audience` counts who matches now (`before`: by the version in force); None where it has none.

    `members`: who is in the trigger's segment now; `enters_now`: how many of those who are in it (or out of it) already
    would enter at the next tick. `how`: what an edit changes, in reading order.
    `inside`: live runs of any version by step; `becomes` says what an apply does to them. A change of `status` alone
    is an edit, and no new version.
    """

    name: str
    change: Change
    unit: str
    audience: int | None = None
    before: int | None = None
    members: int | None = None
    enters_now: int = 0
    inside: Mapping[str, int] = field(default_factory=dict)
    becomes: str = ""
    status: str = "live"
    was: str | None = None  # its status in force; None where it is new
    entering: str = ""  # what its status means for those to come; "" where it is live and was so
    steps: tuple[StepPlan, ...] = ()  # what becomes of those inside, where anything does
    paused: str = ""  # what its resume would do, in words; "" where it is not paused by name
    unmanaged: int = 0  # accounts in its audience without a manager, where something is for managers alone
    how: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`base` is the apply this was planned against, None before the first; a stale plan is one with another base."""

    project: str
    base: int | None
    journeys: tuple[JourneyPlan, ...]
    files: Mapping[str, Change]
    segments: Mapping[str, tuple[int, int | None]]  # name → (members now, members by the definition in force)
    problems: tuple[Problem, ...] = ()  # why an apply would refuse it, as things stand
    texts: tuple[TextChange, ...] = ()  # that people inside are still to come to, and that are others now

    @property
    def id(self) -> str:
        """What was shown: this workspace over that apply. People go on meanwhile: their numbers are not in it."""
        return hashlib.sha256(f"{self.project} over {self.base}".encode()).hexdigest()[:8]

    @property
    def changes(self) -> bool:
        return any(c != "same" for c in self.files.values())


def plan(store: Store, project: Project, *, now: datetime) -> Plan:
    """Compare a checked workspace with what is in force. Reads only."""
    with store.read() as conn:
        force = in_force(conn)
        inside = versions.inside(conn)
        found = outlook(conn, project, None if force is None else force.project, inside)
        segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
        paused = {} if force is None else outlooks(conn, force, now)
        before = {} if force is None else dict(force.applied.files)
        files = _compare({p: versions.file_hash(t) for p, t in project.files.items()}, before)
        names = sorted(project.journeys.keys() | (force.project.journeys.keys() if force else set()))
        known = versions.watermarks(conn)
        return Plan(
            project.hash,
            None if force is None else force.applied.id,
            tuple(
                replace(
                    _journey(conn, project, force, segments, known, name, found.inside, now),
                    paused=paused[name].in_words() if name in paused else "",
                    unmanaged=_unmanaged(conn, segments, project.journeys.get(name), now),
                )
                for name in names
            ),
            files,
            {name: _segment(conn, segments, force, name, now) for name in sorted(project.segments)},
            (*drafts_with_people(conn, project), *found.problems),
            found.texts,
        )


def _compare(after: Mapping[str, str], before: Mapping[str, str]) -> dict[str, Change]:
    found: dict[str, Change] = {}
    for path in sorted(after.keys() | before.keys()):
        if path not in before:
            found[path] = "added"
        elif path not in after:
            found[path] = "removed"
        else:
            found[path] = "same" if after[path] == before[path] else "edited"
    return found


def _segment(
    conn: sa.Connection, segments: Segments, force: Force | None, name: str, now: datetime
) -> tuple[int, int | None]:
    condition = segments.named(name)
    count = segments.count(conn, condition, condition.unit, now)
    if force is None or name not in force.project.segments:
        return count, None
    old = force.segments.named(name)
    if old.text == condition.text:
        return count, count
    return count, force.segments.count(conn, old, old.unit, now)


def _journey(
    conn: sa.Connection,
    project: Project,
    force: Force | None,
    segments: Segments,
    known: Container[tuple[str, str]],
    name: str,
    everybody: Sequence[Inside],
    now: datetime,
) -> JourneyPlan:
    new = project.journeys.get(name)
    old = force.project.journeys.get(name) if force else None
    inside = [one for one in everybody if one.journey == name]
    steps: Counter[str] = Counter()
    for one in inside:
        steps[one.step] += one.people
    before = _audience(conn, force.segments, old, now) if force and old else None
    if new is None:
        assert old is not None
        becomes = _becomes(inside, removed=True)
        return JourneyPlan(name, "removed", old.unit, None, before, None, 0, steps, becomes, steps=_by_step(inside))
    change: Change = "added" if old is None else "same"
    if old is not None and (old.version, old.status) != (new.version, new.status):
        change = "edited"
    members, enters = _entering(conn, project, segments, new, known, now)
    edited = old is not None and old.version != new.version
    becomes = _becomes(inside) if edited or any(not one.current for one in inside) else ""
    audience = _audience(conn, segments, new, now)
    was = None if old is None else old.status
    status = (new.status, was, _comes(new, old, sum(steps.values()), now))
    how: tuple[Difference, ...] = ()
    if change == "edited" and force and old:
        how = differences(old, new, force.project.files[old.path], project.files[new.path])
    return JourneyPlan(
        name, change, new.unit, audience, before, members, enters, steps, becomes, *status, _by_step(inside), how=how
    )


def _comes(new: Journey, old: Journey | None, inside: int, now: datetime) -> str:
    """What the status, or a moment that is over, means for those to come."""
    if new.status == "draft":
        return "draft: nobody enters"
    if new.status == "archived":
        return f"archived: nobody new enters; {inside:,} inside finish" if inside else "archived: nobody enters"
    if (old is None or old.version != new.version) and all(_over(t, now) for t in new.triggers):
        return "its moment is over, so nobody enters: give it one to come"
    if old is not None and not old.admits:
        return "goes live: its triggers look from the apply on"
    return ""


def _over(trigger: Trigger, now: datetime) -> bool:
    """Whether a broadcast's moment has gone by, in the last zone too: twelve hours west of Greenwich."""
    if not isinstance(trigger, AtTrigger):
        return False
    return trigger.at + timedelta(hours=12 * trigger.local) <= now


def _unmanaged(conn: sa.Connection, segments: Segments, journey: Journey | None, now: datetime) -> int:
    if journey is None or not (journey.admits and journey.needs_manager):
        return 0
    return without_manager(conn, segments, [journey], now)


def _audience(conn: sa.Connection, segments: Segments, journey: Journey, now: datetime) -> int | None:
    return None if journey.audience is None else audience_size(conn, segments, journey, now)


def _entering(
    conn: sa.Connection,
    project: Project,
    segments: Segments,
    new: Journey,
    known: Container[tuple[str, str]],
    now: datetime,
) -> tuple[int | None, int]:
    """(members of the triggering segment, how many enter at once because the trigger includes existing ones)."""
    found = [t for t in new.triggers if isinstance(t, SegmentTrigger)]
    if not found or not new.admits:
        return None, 0
    members = segments.count(conn, segments.named(found[0].segment), new.unit, now)
    fresh = [t for t in found if t.include_existing and (new.name, trigger_key(project, t)) not in known]
    return members, entering_size(conn, segments, new, fresh, now) if fresh else 0


def _by_step(inside: Sequence[Inside]) -> tuple[StepPlan, ...]:
    return tuple(
        StepPlan(one.step, one.people, one.version, one.fate.becomes, one.fate.to) for one in inside if not one.current
    )


_SAID = {
    "finishes": ("finishes the version they are on", "finish the version they are on"),
    "stays": ("goes on at the same step of the new version", "go on at the same step of the new version"),
    "moves": ("moves to another step", "move to another step"),
    "leaves": ("leaves, what is queued for them is withdrawn", "leave, what is queued for them is withdrawn"),
    "stranded": ("would be stranded", "would be stranded"),
}


def _becomes(inside: Sequence[Inside], *, removed: bool = False) -> str:
    """`7 inside: 4 go on at the same step of the new version, 3 move to another step`."""
    if not sum(one.people for one in inside):
        return "nobody is inside"
    totals: Counter[str] = Counter()
    for one in inside:
        totals["" if one.current else one.fate.becomes] += one.people
    parts = [f"{totals[kind]:,} {said[totals[kind] != 1]}" for kind, said in _SAID.items() if totals[kind]]
    if totals[""]:
        parts.append(f"{totals['']:,} on this version already")
    text = parts[0].replace(" ", " inside ", 1) if len(parts) == 1 else f"{totals.total():,} inside: {', '.join(parts)}"
    return f"{text}; nobody new enters" if removed else text
