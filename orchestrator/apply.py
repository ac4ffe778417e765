"""Put a checked workspace in force. Ticks run only what was applied."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.carry import Version, carry, outlook, read_version
from orchestrator.dates import day_after
from orchestrator.decision import policies_hash, policies_text
from orchestrator.journey import (
    AtTrigger,
    DateTrigger,
    EventTrigger,
    Journey,
    MilestoneTrigger,
    RiskTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    StageTrigger,
    TierTrigger,
    Trigger,
)
from orchestrator.model import Purpose
from orchestrator.occurrences import date_windows
from orchestrator.problems import Conflict, Problem, Problems, ProjectError
from orchestrator.project import WORKSPACE, Project, load_files
from orchestrator.source import parse
from orchestrator.store import bygone, proposals, versions
from orchestrator.store import journeys as running
from orchestrator.store import triggers as entering
from orchestrator.store.database import Store
from orchestrator.store.segments import Segments
from orchestrator.store.triggers import Entry, take_baseline
from orchestrator.workspace import segments_used


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What an apply did. `changed` false: the same workspace was in force already, and nothing was written."""

    changed: bool
    apply_id: int
    added: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    migrated: Mapping[str, int] = field(default_factory=dict)
    exited: Mapping[str, int] = field(default_factory=dict)
    baselines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Force:
    """What is in force, ready to run: the project as applied, and any journey version that people are still inside."""

    applied: versions.Applied
    project: Project
    segments: Segments
    paused: frozenset[str]
    discarding: frozenset[str] = frozenset()  # of what is paused: where those who would enter are let go

    def is_paused(self, journey: str) -> bool:
        return versions.EVERYTHING in self.paused or journey in self.paused

    def discards(self, journey: str) -> bool:
        """Whether who would enter a journey now does not enter when it is resumed, either."""
        return (journey if journey in self.paused else versions.EVERYTHING) in self.discarding

    def topic(self, medium: Medium, template: str) -> tuple[str, Purpose]:
        """(topic, purpose) of what a text says to a customer. One that is gone has no topic, and is judged as strictly
        as can be until it is refused."""
        found = self.project.templates.get(medium, template)
        topic = None if found is None else self.project.vocabulary.topics.get(found.topic)
        return (topic.name, topic.purpose) if topic is not None else ("", "marketing")


@dataclass(frozen=True, slots=True)
class Approval:
    """Who has agreed to which proposal, in what words."""

    proposal: int
    by: str
    message: str = ""


_projects: dict[str, Project] = {}


def in_force(conn: sa.Connection) -> Force | None:
    """What the newest apply says; None before the first. Parsed once per process and content."""
    now = versions.newest_and_pauses(conn)
    if now is None:
        return None
    found, paused = now
    project = project_of(conn, found)
    segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
    discarding = frozenset(scope for scope, row in paused.items() if row["meanwhile"] == "discard")
    return Force(found, project, segments, frozenset(paused), discarding)


def project_of(conn: sa.Connection, found: versions.Applied) -> Project:
    """The workspace of an apply. Raises ProjectError when this version of the program cannot read it."""
    project = _projects.get(found.project)
    if project is None:
        project = load_files(versions.texts(conn, found.files))
        remember(project)
    return project


def remember(project: Project) -> None:
    """Spare the next `in_force` of this process the reading of a workspace that is about to be applied."""
    while len(_projects) > 1:  # the one in force and the one that is to be
        _projects.pop(next(iter(_projects)))
    _projects[project.hash] = project


def journey_version(conn: sa.Connection, force: Force, name: str, version: str) -> Version:
    """A journey as of a version: the one in force, or the one its people were pinned to. Read once per process.

    Raises ProjectError when it can no longer be read against the workspace in force.
    """
    current = force.project.journeys.get(name)
    if current is not None and current.version == version:
        return Version(current, force.segments)
    return read_version(conn, force.project, version)


def trigger_key(project: Project, trigger: Trigger) -> str:
    """The name of a trigger's watermark. An edited segment is another trigger: it takes a new baseline."""
    if isinstance(trigger, SegmentTrigger):
        names = {trigger.segment} | segments_used([project.segments[trigger.segment]], project.segments)
        meaning = "\n".join(f"{name}={project.segments[name].text}" for name in sorted(names))
        return f"{trigger.key}-{hashlib.sha256(meaning.encode()).hexdigest()[:12]}"
    return trigger.key


_WHATEVER = -1


def apply(
    store: Store,
    project: Project,
    *,
    author: str,
    message: str,
    now: datetime,
    base: int | None = _WHATEVER,
    approval: Approval | None = None,
) -> ApplyReport:
    """Store the workspace by content and put it in force; new and edited triggers look from now on.

    People inside keep their version (`in_flight: finish`), move to this one (`migrate`) or leave (`exit`); ProjectError
    when somebody would be stranded. One transaction: a tick sees all of it or nothing. `base`: the apply that was
    planned against (`Plan.base`); Conflict when another is in force meanwhile, and where a second person is asked for
    and `approval` is nobody else's.
    """
    files = {path: versions.file_hash(text) for path, text in project.files.items()}
    journeys = {name: j.version for name, j in project.journeys.items()}
    with store.write() as conn:
        versions.hold_applies(conn)  # or two that were planned against the same apply would both be put in force
        before = versions.newest(conn)
        if base != _WHATEVER and base != (before.id if before else None):
            raise Conflict("another apply came between; look at the new plan, then apply again")
        if before is not None and before.project == project.hash:
            return ApplyReport(False, before.id)
        _approved(conn, project, before, author, approval, now)
        versions.add_documents(
            conn, "file", {h: (path, {"text": project.files[path]}) for path, h in files.items()}, now
        )
        versions.add_documents(
            conn, "journey", {j.version: _pinned(project, j) for j in project.journeys.values()}, now
        )
        policies = policies_text(project.vocabulary.policies)
        versions.add_documents(conn, "policies", {policies_hash(policies): ("", msgspec.json.decode(policies))}, now)
        apply_id = versions.add_applied(
            conn,
            author=author,
            message=message,
            project=project.hash,
            files=files,
            journeys=journeys,
            now=now,
            approved_by=approval.by if approval is not None else None,
            proposal=approval.proposal if approval is not None else None,
        )
        old = dict(before.journeys) if before else {}
        versions.hold_triggers(conn)
        versions.hold_inside(conn, [name for name, version in journeys.items() if old.get(name, version) != version])
        if refused := drafts_with_people(conn, project):
            raise ProjectError(refused)  # before anything else is moved: the transaction is given up
        inside = versions.inside(conn)
        was = _before(conn, before) if inside else None
        migrated, exited = carry(conn, project, outlook(conn, project, was, inside), apply_id, now)
        running.wake_parked(conn, now)
        baselines = _baselines(conn, project, now)
        if project.program.classes:
            bygone.begin(conn, now)
        _audiences(conn, project, old, now)
    return ApplyReport(
        True,
        apply_id,
        added=tuple(sorted(journeys.keys() - old.keys())),
        edited=tuple(sorted(n for n in journeys.keys() & old.keys() if journeys[n] != old[n])),
        removed=tuple(sorted(old.keys() - journeys.keys())),
        migrated=migrated,
        exited=exited,
        baselines=baselines,
    )


def drafts_with_people(conn: sa.Connection, project: Project) -> list[Problem]:
    """Journeys that are to be drafts and have people inside: a draft is something that nobody is in."""
    drafts = [journey for _, journey in sorted(project.journeys.items()) if journey.status == "draft"]
    if not drafts:
        return []
    counts: Counter[str] = Counter()
    for (name, _), steps in versions.inside(conn).items():
        counts[name] += sum(steps.values())
    return [
        Problem(
            "draft-with-people-inside",
            f"{counts[journey.name]:,} inside: what has people in it is no draft",
            journey.span,
            f"`status: archived` lets them finish and nobody enter; `orchestrator pause {journey.name}` stops them",
        )
        for journey in drafts
        if counts[journey.name]
    ]


def asks_for_approval(conn: sa.Connection, project: Project, before: versions.Applied | None) -> bool:
    """Whether a second person has to agree: by what is proposed or by what is in force, so that nobody switches it off
    alone. What is in force and cannot be read is taken to ask."""
    if project.vocabulary.policies.approval != "none":
        return True
    if before is None or WORKSPACE not in before.files:
        return False
    text = versions.texts(conn, {WORKSPACE: before.files[WORKSPACE]})[WORKSPACE]
    problems = Problems()
    node = parse(text, WORKSPACE, problems)
    if node is None or problems.errors:
        return True
    policies = node.get("policies")
    said = policies.get("approval") if policies is not None else None
    return said is not None and said.text != "none"


def _approved(
    conn: sa.Connection,
    project: Project,
    before: versions.Applied | None,
    author: str,
    approval: Approval | None,
    now: datetime,
) -> None:
    """Raises Conflict when a second person is asked for and has not agreed, or a proposal had its answer already."""
    if approval is None:
        if asks_for_approval(conn, project, before):
            raise Conflict("this workspace asks for a second person: propose it, and let somebody else approve it")
        return
    if same_person(author, approval.by):
        raise Conflict(f"{author} has proposed it: somebody else has to approve it")
    if not proposals.end(conn, approval.proposal, what="approved", by=approval.by, message=approval.message, now=now):
        raise Conflict(f"proposal {approval.proposal} has been answered meanwhile")


def same_person(one: str, other: str) -> bool:
    """By the names they go by here; capitals, spaces, what is not seen and how an accent is typed do not make
    another, and nobody without a name is somebody else."""
    names = _bare(one), _bare(other)
    return not all(names) or names[0] == names[1]


def _bare(name: str) -> str:
    seen = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in seen if unicodedata.category(c)[0] not in "ZC")


def _before(conn: sa.Connection, before: versions.Applied | None) -> Project | None:
    """The workspace in force; None where there is none that this version of the program can read: what is applied now
    may be what mends that."""
    try:
        return None if before is None else project_of(conn, before)
    except ProjectError:
        return None


def _pinned(project: Project, journey: Journey) -> tuple[str, dict[str, object]]:
    segments = {n: {"of": project.segments[n].unit, "when": project.segments[n].text} for n in sorted(journey.segments)}
    return journey.name, {"path": journey.path, "text": project.files[journey.path], "segments": segments}


def _baselines(conn: sa.Connection, project: Project, now: datetime) -> dict[str, int]:
    known = versions.watermarks(conn)
    wanted: set[tuple[str, str]] = set()
    members: dict[str, int] = {}
    segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
    events, tiers = versions.newest_event(conn), versions.newest_tier_change(conn)
    for name, journey in project.journeys.items():
        for trigger in journey.triggers if journey.admits else ():
            key = (name, trigger_key(project, trigger))
            wanted.add(key)
            if key in known:
                continue
            by_event = isinstance(trigger, EventTrigger | MilestoneTrigger | StageTrigger)
            seen = events if by_event else tiers if isinstance(trigger, TierTrigger) else 0
            versions.add_watermark(conn, *key, seen, now)
            if isinstance(trigger, SegmentTrigger) and (not trigger.include_existing or trigger.direction == "exit"):
                count = take_baseline(conn, segments, journey, trigger, key[1], now)
                if not trigger.include_existing:
                    members[name] = count
    versions.drop_watermarks(conn, known.keys() - wanted)
    return members


def _audiences(conn: sa.Connection, project: Project, old: Mapping[str, str], now: datetime) -> None:
    """What the guard compares a first run with: how many each new or edited journey's triggers would find now."""
    if project.vocabulary.policies.growth is None:
        return
    known = versions.audiences(conn)
    segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
    for name, journey in project.journeys.items():
        entry = Entry(journey, segments, now)
        for trigger in journey.triggers if journey.admits else ():
            key = trigger_key(project, trigger)
            if (name, key) in known and old.get(name) == journey.version:
                continue
            units = _would_find(conn, entry, trigger, key, project.vocabulary.timezone)
            if units is not None:
                versions.set_audience(conn, name, key, units, now)


def _would_find(conn: sa.Connection, entry: Entry, trigger: Trigger, key: str, home: str) -> int | None:
    """None for triggers that the guard does not heed."""
    match trigger:
        case SegmentTrigger():
            if trigger.direction == "exit":  # those who are out already, where they are to enter
                return entering.leavers_count(conn, entry, trigger, key)[0]
            return entering.members_count(conn, entry, trigger)
        case AtTrigger() | ScheduleTrigger():
            return entering.audience_count(conn, entry)
        case RiskTrigger():
            return entering.risk_count(conn, entry, trigger, day_after(entry.now.date(), trigger.within))
        case DateTrigger():
            # Of the days to come within a year; an anniversary's are all of them.
            span = (entry.now - timedelta(days=2), entry.now + timedelta(days=366))
            windows = [None] if trigger.every_year else date_windows(trigger, *span, home)
            return max((entering.most_due(conn, entry, trigger, window) for window in windows), default=0)
    return None
