"""What an apply would change, in words and numbers, before it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from orchestrator.apply import Force, drafts_with_people, in_force
from orchestrator.journey import Journey, SegmentTrigger
from orchestrator.problems import Problem
from orchestrator.project import Project
from orchestrator.store import versions
from orchestrator.store.database import Store
from orchestrator.store.explain import audience_size
from orchestrator.store.segments import Segments

Change = Literal["added", "edited", "removed", "same"]


@dataclass(frozen=True, slots=True)
class JourneyPlan:
    """One journey. `audience` counts who matches now (`before`: by the version in force); None where it has none.

    `members`: who is in the trigger's segment now; `enters_now`: how many of them would enter at the next tick.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """`base` is the apply this was planned against, None before the first; a stale plan is one with another base."""

    project: str
    base: int | None
    journeys: tuple[JourneyPlan, ...]
    files: Mapping[str, Change]
    segments: Mapping[str, tuple[int, int | None]]  # name → (members now, members by the definition in force)
    problems: tuple[Problem, ...] = ()  # why an apply would refuse it, as things stand

    @property
    def changes(self) -> bool:
        return any(c != "same" for c in self.files.values())


def plan(store: Store, project: Project, *, now: datetime) -> Plan:
    """Compare a checked workspace with what is in force. Reads only."""
    with store.read() as conn:
        force = in_force(conn)
        inside = versions.inside(conn)
        segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
        before = {} if force is None else dict(force.applied.files)
        files = _compare({p: versions.file_hash(t) for p, t in project.files.items()}, before)
        names = sorted(project.journeys.keys() | (force.project.journeys.keys() if force else set()))
        return Plan(
            project.hash,
            None if force is None else force.applied.id,
            tuple(_journey(conn, project, force, segments, name, inside, now) for name in names),
            files,
            {name: _segment(conn, segments, force, name, now) for name in sorted(project.segments)},
            tuple(drafts_with_people(conn, project)),
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
    name: str,
    inside: Mapping[tuple[str, str], Mapping[str, int]],
    now: datetime,
) -> JourneyPlan:
    new = project.journeys.get(name)
    old = force.project.journeys.get(name) if force else None
    steps: dict[str, int] = {}
    for (journey, _), counts in inside.items():
        if journey == name:
            for step, n in counts.items():
                steps[step] = steps.get(step, 0) + n
    before = _audience(conn, force.segments, old, now) if force and old else None
    if new is None:
        assert old is not None
        return JourneyPlan(name, "removed", old.unit, None, before, None, 0, steps, _becomes_removed(steps))
    change: Change = "added" if old is None else "same"
    if old is not None and (old.version, old.status) != (new.version, new.status):
        change = "edited"
    members, enters = _entering(conn, segments, new, old, now)
    becomes = _becomes(new, steps) if old is not None and old.version != new.version else ""
    audience = _audience(conn, segments, new, now)
    was = None if old is None else old.status
    status = (new.status, was, _comes(new, old, sum(steps.values())))
    return JourneyPlan(name, change, new.unit, audience, before, members, enters, steps, becomes, *status)


def _comes(new: Journey, old: Journey | None, inside: int) -> str:
    """What the status means for those to come."""
    if new.status == "draft":
        return "draft: nobody enters"
    if new.status == "archived":
        return f"archived: nobody new enters; {inside:,} inside finish" if inside else "archived: nobody enters"
    if old is not None and not old.admits:
        return "goes live: its triggers look from the apply on"
    return ""


def _audience(conn: sa.Connection, segments: Segments, journey: Journey, now: datetime) -> int | None:
    return None if journey.audience is None else audience_size(conn, segments, journey, now)


def _entering(
    conn: sa.Connection, segments: Segments, new: Journey, old: Journey | None, now: datetime
) -> tuple[int | None, int]:
    """(members of the triggering segment, how many enter at once because the trigger includes existing ones)."""
    found = [t for t in new.triggers if isinstance(t, SegmentTrigger)]
    if not found or not new.admits:
        return None, 0
    condition = segments.named(found[0].segment)
    members = segments.count(conn, condition, new.unit, now)
    known = {t.key for t in old.triggers} if old and old.admits else set()
    enters = members if any(t.include_existing and t.key not in known for t in found) else 0
    return members, enters


def _becomes(journey: Journey, steps: Mapping[str, int]) -> str:
    total = sum(steps.values())
    if not total:
        return "nobody is inside"
    people = f"{total} inside"
    if journey.in_flight == "finish":
        return f"{people} finish the version they are on"
    if journey.in_flight == "exit":
        return f"{people} leave, what is queued for them is withdrawn"
    known = {step.id for step in journey.every_step()} | {""}
    lost = {step: n for step, n in steps.items() if step not in known}
    if not lost:
        return f"{people} move to the new version, each at the same step"
    where = ", ".join(f"{n} at `{step}`" for step, n in sorted(lost.items()))
    return f"{people}: {total - sum(lost.values())} move to the new version; {where} finish the old one"


def _becomes_removed(steps: Mapping[str, int]) -> str:
    total = sum(steps.values())
    return f"{total} inside finish the version they are on; nobody new enters" if total else "nobody is inside"
