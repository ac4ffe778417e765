"""Carry those who are inside over to what is applied: who stays, moves, leaves, and who would be stranded.

`plan` shows what this finds, and `apply` does it, from the same code: what was shown is what happens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.edit import Fate, fate, nearest
from orchestrator.engine import ARRIVING
from orchestrator.journey import Journey
from orchestrator.problems import Problem, Problems, ProjectError, Span
from orchestrator.project import WORKSPACE, Project, load_journey
from orchestrator.source import parse
from orchestrator.store import journeys as running
from orchestrator.store import versions
from orchestrator.store.segments import Segments


@dataclass(frozen=True, slots=True)
class Version:
    """A journey version with the segments it was pinned with."""

    journey: Journey
    segments: Segments


@dataclass(frozen=True, slots=True)
class Inside:
    """People (or accounts) at a step of a version, "" the beginning, and what becomes of them.

    `current`: the version is the one that would be in force; nothing becomes of those.
    """

    journey: str
    version: str
    step: str
    people: int
    fate: Fate
    unit: str = "customer"
    current: bool = False


@dataclass(frozen=True, slots=True)
class TextChange:
    """A text that is another, or gone, and how many inside are still to come to it, by journey."""

    medium: Medium
    name: str
    change: Literal["edited", "removed"]
    people: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an apply does to those inside. `problems`: whom it would strand; then it is refused."""

    inside: tuple[Inside, ...] = ()
    texts: tuple[TextChange, ...] = ()
    problems: tuple[Problem, ...] = ()


_pinned: dict[tuple[str, str, str], Version | ProjectError] = {}
_MOST = 2_000


def read_version(conn: sa.Connection, project: Project, version: str) -> Version:
    """A stored journey version, read against a workspace. Raises ProjectError when it can no longer be."""
    key = (version, project.hash, conn.dialect.name)
    found = _pinned.get(key)
    if found is None:
        body = versions.documents(conn, [version])[version]
        vocabulary = project.vocabulary
        try:
            journey, pinned = load_journey(str(body["text"]), str(body["path"]), vocabulary, dict(body["segments"]))
            found = Version(journey, Segments(vocabulary, pinned, conn.dialect.name))
        except ProjectError as exc:
            found = exc
        if len(_pinned) >= _MOST:
            _pinned.clear()
        _pinned[key] = found
    if isinstance(found, ProjectError):
        raise found
    return found


# ---- what becomes of whom -------------------------------------------------------------------------------------------


def outlook(
    conn: sa.Connection, project: Project, before: Project | None, counted: Mapping[tuple[str, str], Mapping[str, int]]
) -> Outlook:
    """What becomes of everybody inside (`versions.inside`) when a workspace is applied over another. Reads only."""
    if not counted:
        return Outlook()
    looking = _Looking(conn, project, before)
    inside = tuple(one for key in sorted(counted) for one in looking.at(*key, counted[key]))
    texts = tuple(looking.texts(inside))
    problems = Problems()
    problems.found += [*looking.stranded(inside), *looking.unreadable(inside), *looking.without_text(inside)]
    return Outlook(inside, texts, tuple(problems.found))


class _Looking:
    """One look at everybody inside, with the versions they are on read once."""

    def __init__(self, conn: sa.Connection, project: Project, before: Project | None) -> None:
        self.conn, self.project, self.before = conn, project, before
        self.read: dict[tuple[str, str], Journey | ProjectError] = {}

    def journey(self, name: str, version: str, project: Project | None) -> Journey | None:
        """A version against a workspace; None where it cannot be read."""
        if project is None:
            return None
        current = project.journeys.get(name)
        if current is not None and current.version == version:
            return current
        key = (project.hash, version)
        if key not in self.read:
            try:
                self.read[key] = read_version(self.conn, project, version).journey
            except ProjectError as error:
                self.read[key] = error
        found = self.read[key]
        return None if isinstance(found, ProjectError) else found

    def kept(self, name: str, version: str) -> Journey | None:
        """The version as those know it who stay on it, or leave it."""
        return self.journey(name, version, self.project) or self.journey(name, version, self.before)

    def at(self, name: str, version: str, steps: Mapping[str, int]) -> Iterator[Inside]:
        new = self.project.journeys.get(name)
        was = self.before.journeys.get(name) if self.before is not None else None
        old = self.kept(name, version)
        unit = new.unit if new is not None else old.unit if old is not None else "customer"
        current = new is not None and new.version == version
        carried = new is not None and was is not None and was.version != new.version and not current
        for step, people in sorted(steps.items()):
            becomes = Fate("stays", step) if current else Fate("finishes")
            if carried and new is not None:
                becomes = fate(new, old, step)
            yield Inside(name, version, step, people, becomes, unit, current)

    # ---- refusals ---------------------------------------------------------------------------------------------------

    def stranded(self, inside: Sequence[Inside]) -> Iterator[Problem]:
        """At a step that is gone, and the map of moves says nothing of it. One problem a journey: it is one line."""
        gone: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        lines: dict[str, dict[str, str]] = defaultdict(dict)
        for one in inside:
            if one.fate.becomes == "stranded":
                new = self.project.journeys[one.journey]
                gone[one.journey][one.step] += one.people
                to = nearest(new, self.kept(one.journey, one.version), one.step) or "exit"
                lines[one.journey].setdefault(one.step, to)
        for name, steps in gone.items():
            new = self.project.journeys[name]
            written = ", ".join(f"{was}: {to}" for was, to in {**new.moves, **lines[name]}.items())
            hint = (
                f"write `in_flight: {{ migrate: {{ {written} }} }}`; in place of a step, `exit` lets them go and "
                "`finish` leaves them on the version they are on"
            )
            where = " and ".join(f"{n:,} at `{step}`" for step, n in steps.items())
            step_is = "a step that this version" if len(steps) == 1 else "steps that this version"
            people = _people(sum(steps.values()), new.unit)
            message = f"{people} inside would be stranded, {where}: {step_is} of `{name}` does not have"
            yield Problem("strands-people", message, _in_flight(self.project, new), hint)

    def unreadable(self, inside: Sequence[Inside]) -> Iterator[Problem]:
        """On a version that nobody could read any more, though it can be read now."""
        finishing: dict[tuple[str, str], int] = defaultdict(int)
        for one in inside:
            if one.fate.becomes == "finishes":
                finishing[(one.journey, one.version)] += one.people
        for (name, version), people in finishing.items():
            if self.journey(name, version, self.project) is not None:
                continue
            was = self.journey(name, version, self.before)
            if was is None:
                continue  # they are parked already: it is not this apply that strands them
            error = self.read[(self.project.hash, version)]
            first = error.problems[0] if isinstance(error, ProjectError) else None
            because = f": {first.message} ({first.span})" if first is not None else ""
            message = f"{_people(people, was.unit)} inside `{name}` could not go on by the version they are on{because}"
            hint = f"put it back until they are through; {_let_go(name)}"
            yield Problem("strands-people", message, Span.whole(WORKSPACE), hint)

    def without_text(self, inside: Sequence[Inside]) -> Iterator[Problem]:
        """Still to come to a text that is removed, on a version that names it."""
        if self.before is None:
            return
        lost: dict[tuple[str, Medium, str], int] = defaultdict(int)
        units = {}
        for one in inside:
            for medium, text in self._ahead(one) if one.fate.becomes == "finishes" else ():
                if self.before.templates.get(medium, text) and not self.project.templates.get(medium, text):
                    lost[(one.journey, medium, text)] += one.people
                    units[one.journey] = one.unit
        for (name, medium, text), people in sorted(lost.items()):
            old = self.before.templates.get(medium, text)
            path = old.files[0] if old is not None and old.files else text
            are = "is" if people == 1 else "are"
            message = (
                f"{_people(people, units[name])} inside `{name}` {are} still to get the {medium} text `{text}`, "
                "and it is removed"
            )
            new = self.project.journeys.get(name)
            span = Span.whole(WORKSPACE) if new is None else _in_flight(self.project, new)
            yield Problem("strands-people", message, span, f"keep `{path}` until they are through; {_let_go(name)}")

    # ---- texts ------------------------------------------------------------------------------------------------------

    def texts(self, inside: Sequence[Inside]) -> Iterator[TextChange]:
        """Texts that are others than before, for those who are still to come to them."""
        changes = self._changed_texts()
        people: dict[tuple[Medium, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for one in inside if changes else ():
            for key in self._ahead(one):
                if key in changes:
                    people[key][one.journey] += one.people
        for (medium, name), by_journey in sorted(people.items()):
            yield TextChange(medium, name, changes[(medium, name)], dict(by_journey))

    def _changed_texts(self) -> dict[tuple[Medium, str], Literal["edited", "removed"]]:
        if self.before is None:
            return {}
        found: dict[tuple[Medium, str], Literal["edited", "removed"]] = {}
        for text in self.before.templates:
            now = self.project.templates.get(text.medium, text.name)
            if now is None:
                found[(text.medium, text.name)] = "removed"
            elif set(text.files) != set(now.files) or any(
                self.before.files.get(path) != self.project.files.get(path) for path in text.files
            ):
                found[(text.medium, text.name)] = "edited"
        return found

    def _ahead(self, one: Inside) -> set[tuple[Medium, str]]:
        """Texts that these can still come to, wherever they go on."""
        if one.fate.becomes in ("leaves", "stranded"):
            return set()
        new = self.project.journeys.get(one.journey)
        moved = one.current or one.fate.becomes in ("stays", "moves")
        journey = new if moved else self.kept(one.journey, one.version)
        step = one.fate.to if moved else one.step
        if journey is None or not (step == "" or journey.has(step)):
            return set()
        return texts_ahead(journey, step)


def texts_ahead(journey: Journey, step: str) -> set[tuple[Medium, str]]:
    """(medium, name) of the texts that somebody at a step may still be sent."""
    found = set()
    for step_id in journey.ahead(step):
        standing = journey.step(step_id)
        for sender in (standing, *standing.parts()):
            for _, medium in sender.sends():
                if name := getattr(sender, "template", ""):
                    found.add((medium, str(name)))
    return found


def _people(n: int, unit: str) -> str:
    return f"{n:,} {unit if n == 1 else unit + 's'}"


def _let_go(journey: str) -> str:
    return f"or move them with `in_flight: migrate` in `{journey}`, or let them go with `in_flight: exit`"


def _in_flight(project: Project, journey: Journey) -> Span:
    """Where a journey's file says it; its name where it says nothing."""
    node = parse(project.files.get(journey.path, ""), journey.path, Problems())
    entry = node.entry("in_flight") if node is not None else None
    return journey.span if entry is None else entry.value.span


# ---- doing it -------------------------------------------------------------------------------------------------------


def carry(
    conn: sa.Connection, project: Project, found: Outlook, apply_id: int, now: datetime
) -> tuple[dict[str, int], dict[str, int]]:
    """Do what `outlook` has found. Returns how many moved to the new version, and how many left, by journey.

    Nobody loses what he has waited, and a message that went out is never planned again: where a step has another name,
    its messages go by that name, too. Raises ProjectError when somebody would be stranded.
    """
    if found.problems:
        raise ProjectError(found.problems)
    migrated: dict[str, int] = {}
    exited: dict[str, int] = {}
    for name, journey in project.journeys.items():
        if journey.in_flight == "exit":
            those = [one for one in found.inside if one.journey == name and one.fate.becomes == "leaves"]
            if those:
                exited[name] = running.end_all(conn, name, keep_version=journey.version, because="edited", now=now)
        elif journey.in_flight == "migrate":
            acted = ("stays", "moves", "leaves")
            moves = [o for o in found.inside if o.journey == name and not o.current and o.fate.becomes in acted]
            if moves:
                migrated[name], exited[name] = _migrate(conn, project, journey, moves, apply_id, now)
    return migrated, exited


def _migrate(
    conn: sa.Connection, project: Project, journey: Journey, moves: Sequence[Inside], apply_id: int, now: datetime
) -> tuple[int, int]:
    moved: list[int] = []
    left, sends = 0, journey.sends()
    for one in moves:
        step, to = one.step, one.fate.to
        if one.fate.becomes == "leaves":
            left += running.end_at(conn, journey.name, one.version, step, because="edited", now=now)
        elif one.fate.becomes in ("stays", "moves"):
            afresh = _afresh(journey, to) if one.fate.anew else None
            ids = versions.move_inside(conn, journey.name, one.version, step, journey.version, to, afresh, now)
            running.add_trace(conn, [(i, now, to, 0, "moved", {"from": step, "apply": apply_id}) for i in ids])
            moved += ids
            if one.fate.becomes == "moves" and step in sends:  # the step is there still, and she has left it
                running.cancel_messages(conn, dict.fromkeys(ids, (frozenset({step}), "edited")), now)
    if moved:
        versions.recount_visits(conn, moved, journey.moves)
        names = {was: to for was, to in journey.moves.items() if was not in sends and to in sends}
        versions.rename_sent(conn, moved, {was: (to, sends[to].value) for was, to in names.items()})
        gone = versions.queued_steps(conn, moved) - sends.keys()
        if gone:
            running.cancel_messages(conn, dict.fromkeys(moved, (gone, "edited")), now)
        versions.retell_queued(conn, moved, journey.version, _told(project, journey), now)
    return len(moved), left


def _afresh(journey: Journey, step: str) -> dict[str, bool]:
    """The memory of somebody who has come to a step and was not let in yet. A send is looked at as one that stands
    there, so that what it has sent already is not sent again."""
    sends = any(part.sends() for part in (journey.step(step), *journey.step(step).parts()))
    return {} if sends else {ARRIVING: True}


def _told(project: Project, journey: Journey) -> dict[str, tuple[str, str, str]]:
    """Step → (template, topic, purpose) of what a journey says to customers from a text."""
    found = {}
    for step in journey.every_step():
        for step_id, medium in step.sends():
            name = getattr(step, "template", "")
            text = project.templates.get(medium, name) if name and step.id == step_id else None
            topic = project.vocabulary.topics.get(text.topic) if text is not None else None
            if topic is not None:
                found[step_id] = (str(name), topic.name, str(topic.purpose))
    return found
