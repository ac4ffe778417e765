"""Where tests are run, one after the other: a folder, an empty database to copy, channels that reach nobody."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from channels.base import Channel, Medium
from orchestrator.journey import Journey
from orchestrator.project import Project
from orchestrator.rehearsal import Change, Rehearsal
from orchestrator.rehearse.judging import judge
from orchestrator.rehearse.looking import reached
from orchestrator.rehearse.playing import Play
from orchestrator.rehearse.scene import Scene
from orchestrator.rehearse.verdict import Verdict
from orchestrator.source import digest
from orchestrator.store.database import Store
from orchestrator.zones import zone


class Stage:
    """Made once for any number of tests. `folder` is the caller's, and hers to remove."""

    def __init__(self, folder: Path, channels: Mapping[Medium, Channel]) -> None:
        self._channels = channels
        self._empty, self._scratch = folder / "empty.db", folder / "scratch.db"
        store = Store.open(f"sqlite:///{self._empty}", create=True)
        store.migrate()
        store.close()
        self._clear()
        # One for all tests: it keeps its compiled statements, which are a half of what a test costs.
        self._store = Store.open(f"sqlite:///{self._scratch}")
        sa.event.listen(self._store.engine, "connect", _hurry)

    def _clear(self) -> None:
        """An empty database in place of the last test's."""
        for ending in ("-wal", "-shm"):
            self._scratch.with_name(self._scratch.name + ending).unlink(missing_ok=True)
        shutil.copyfile(self._empty, self._scratch)

    def run(self, test: Rehearsal, project: Project) -> Verdict:
        """One test. Raises what the verbs raise; what it asks for and cannot be had is a failure of it."""
        tz = zone(test.zone)
        assert tz is not None
        self._clear()
        scene = Scene(test, narrowed(project, test.journeys, _classes(test)), self._store, test.clock, tz)
        try:
            play = Play(scene, self._channels)
            play.run()
            turns = judge(scene)
            failures = tuple(sorted(scene.failures, key=lambda f: f.span))
            return Verdict(test, failures, turns, reached(scene), play.stops)
        finally:
            self._store.close()


def hurried(path: Path) -> Store:
    """A new scratch database. Rows of a sample may name others that are not in it: references are not looked after."""
    store = Store.open(f"sqlite:///{path}", create=True)
    store.migrate()
    store.close()
    sa.event.listen(store.engine, "connect", _hurry)
    sa.event.listen(store.engine, "connect", _loosen)
    return store


def _loosen(connection: Any, _: Any) -> None:
    """Nobody else reads it, and a run that breaks off is not gone on with."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA locking_mode = NORMAL")


def _hurry(connection: Any, _: Any) -> None:
    """Nothing outlives the test, so nothing waits for the disk."""
    connection.execute("PRAGMA synchronous = OFF")


def _classes(test: Rehearsal) -> set[str]:
    """Of everybody given, now or later."""
    rows = [p.row for p in test.given.people.values()]
    rows += [row for h in test.happens if isinstance(h, Change) for row in h.rows]
    return {str(row.values.get("class") or "") for row in rows}


def narrowed(project: Project, names: Sequence[str], present: Collection[str]) -> Project:
    """The workspace with these journeys alone, and those that they enter; with the programmes of the classes that are
    present. The others would find nobody, and looking for them takes time."""
    wanted: dict[str, Journey] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted and name in project.journeys:
            # A draft is tested before it is put live, and what is archived still has people inside.
            wanted[name] = replace(project.journeys[name], status="live")
            waiting += [other for step in wanted[name].every_step() for other in step.enters()]
    classes = sorted(name for name in project.program.classes if name in present)
    program = replace(project.program, classes={name: project.program.classes[name] for name in classes})
    mark = digest("rehearsal", project.hash, *sorted(wanted), "", *classes)
    return replace(project, journeys=dict(sorted(wanted.items())), program=program, hash=mark)
