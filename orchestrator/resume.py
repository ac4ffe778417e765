"""Pauses and their end: what has come due meanwhile, in numbers, and what becomes of it.

A pause says what becomes of those who would enter meanwhile: `hold` keeps it for the first look after the resume,
`discard` lets it go by. The resume says what becomes of those inside: `catch_up` judges at once whatever came due, by
today's rules; `shift` takes the time of the pause out of their waits, so that each ends as much later as it was long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from orchestrator.apply import Force, in_force, journey_version
from orchestrator.enroll import look_away
from orchestrator.problems import Conflict, ProjectError
from orchestrator.steps.first_of import FirstOf
from orchestrator.steps.wait import Wait
from orchestrator.steps.wait_for import WaitFor
from orchestrator.store import pauses, versions
from orchestrator.store.database import Store

How = Literal["catch_up", "shift"]
_COUNTED = (Wait, WaitFor, FirstOf)
"""Waits for a length of time. A `wait_until` is for a day, and that day does not move."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a resume would do now. `scope`: a journey's name, or `*` for all that are not paused by name, too.

    `inside`: live runs; `due`: of them, whose time has come; `waits`: of those due, who stand at a wait for a length of
    time; `messages`: planned or held, and due. Nobody's numbers overlap: each run is counted once, each message once.
    """

    scope: str
    since: datetime
    now: datetime
    meanwhile: versions.Meanwhile
    inside: int
    due: int
    waits: int
    messages: int

    @property
    def length(self) -> timedelta:
        return max(self.now - self.since, timedelta(0))

    def in_words(self) -> str:
        """One line: `12 inside, 3 due meanwhile, 1 message waiting; resume --catch-up …, --shift …`."""
        queued = f", {_counted(self.messages, 'message')} waiting" if self.messages else ""
        told = f"{self.inside:,} inside, {self.due:,} due meanwhile{queued}"
        if not self.inside and not self.messages:
            return f"nobody is inside; {self._comers()}"
        at_once = self.due - self.waits
        catch_up = f"resume --catch-up moves {self.due:,} on at once"
        shift = f"--shift moves {at_once:,} on at once, the other waits end {span(self.length)} later"
        return f"{told}; {catch_up}, {shift}; {self._comers()}"

    def _comers(self) -> str:
        if self.meanwhile == "discard":
            return "who would have entered meanwhile does not enter"
        return "who would have entered meanwhile enters then"


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a resume did. `shifted`: runs whose waits end later; `put_off`: messages that go later."""

    outlook: Outlook
    how: How
    shifted: int = 0
    put_off: int = 0


def outlooks(conn: sa.Connection, force: Force, now: datetime) -> dict[str, Outlook]:
    """Of every pause, by its scope."""
    paused = versions.pauses(conn)
    return {scope: _outlook(conn, force, scope, row, paused.keys(), now) for scope, row in paused.items()}


def _names(conn: sa.Connection, force: Force, scope: str, paused: Collection[str]) -> set[str]:
    """The journeys that a resume sets going again."""
    if scope != versions.EVERYTHING:
        return {scope}
    return (set(force.project.journeys) | pauses.journeys_inside(conn)) - set(paused)


def _outlook(
    conn: sa.Connection, force: Force, scope: str, row: versions.Pause, paused: Collection[str], now: datetime
) -> Outlook:
    names = _names(conn, force, scope, paused)
    inside = due = waits = 0
    for at in pauses.standing(conn, names, now):
        inside, due = inside + at.inside, due + at.due
        if at.due and _is_counted(conn, force, at):
            waits += at.due
    messages = sum(pauses.waiting(conn, names, now).values())
    return Outlook(scope, row["paused_at"], now, row["meanwhile"], inside, due, waits, messages)


def _is_counted(conn: sa.Connection, force: Force, at: pauses.Standing) -> bool:
    try:
        journey = journey_version(conn, force, at.journey, at.version).journey
    except ProjectError:
        return False  # it stays where it is, whatever is resumed
    return journey.has(at.step) and isinstance(journey.step(at.step), _COUNTED)


def resume(store: Store, scope: str, *, by: str, now: datetime, how: How = "catch_up") -> Resumed | None:
    """Let what is paused go on. None when it was not paused.

    One transaction: a tick sees all of it or nothing. Raises Conflict for a shift of one journey while everything is
    paused: how long it is going to stand still is not known yet.
    """

    def work(conn: sa.Connection) -> Resumed | None:
        paused = versions.pauses(conn)
        force = in_force(conn)
        row = paused.get(scope)
        if row is None or force is None:
            return Resumed(_nothing(scope, now), how) if versions.resume(conn, scope, by=by, now=now) else None
        if how == "shift" and scope != versions.EVERYTHING and versions.EVERYTHING in paused:
            raise Conflict("everything is paused, too: first `orchestrator resume --all`, then shift this one")
        found = _outlook(conn, force, scope, row, paused.keys(), now)
        names = _names(conn, force, scope, paused.keys())
        versions.hold_triggers(conn)
        shifted = put_off = 0
        if how == "shift" and found.length:
            shifted = pauses.shift_runs(conn, names, found.since, now)
            put_off = pauses.shift_messages(conn, names, found.since, now)
            if scope == versions.EVERYTHING:
                _shift_until_named(conn, paused, found.since)
        told = {
            "how": how,
            "meanwhile": found.meanwhile,
            "seconds": int(found.length.total_seconds()),
            "inside": found.inside,
            "due": found.due,
            "messages": found.messages,
        }
        if not versions.resume(conn, scope, by=by, now=now, body=told):
            return None
        if found.meanwhile == "discard":
            _look_away(conn, force, names, now)
        return Resumed(found, how, shifted, put_off)

    return store.written(work)


def _shift_until_named(conn: sa.Connection, paused: Mapping[str, versions.Pause], since: datetime) -> None:
    """A journey that was paused by name while everything was stays paused, and its own shift counts from that pause:
    here it is spared the time before."""
    for name, row in paused.items():
        if name != versions.EVERYTHING and row["paused_at"] > since:
            pauses.shift_runs(conn, {name}, since, row["paused_at"])
            pauses.shift_messages(conn, {name}, since, row["paused_at"])


def _nothing(scope: str, now: datetime) -> Outlook:
    return Outlook(scope, now, now, "hold", 0, 0, 0, 0)


def _look_away(conn: sa.Connection, force: Force, names: Collection[str], now: datetime) -> None:
    """Every trigger of these journeys looks from now on, and takes its segments as they are for known."""
    look_away(conn, force, now, lambda journey, trigger, mark: journey.name in names)


# ---- in words -------------------------------------------------------------------------------------------------------


def span(length: timedelta) -> str:
    """The two largest units of it: `2 days 3 hours`, `40 minutes`."""
    parts = [_counted(n, what) for n, what in _units(length) if n]
    return " ".join(parts[:2]) or "less than a minute"


def _units(length: timedelta) -> Iterator[tuple[int, str]]:
    minutes = int(length.total_seconds()) // 60
    yield minutes // 1440, "day"
    yield minutes % 1440 // 60, "hour"
    yield minutes % 60, "minute"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")
