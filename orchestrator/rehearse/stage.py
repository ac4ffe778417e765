"""Where tests are run, one after the other: a folder, an empty database to copy, channels that reach nobody."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from channels.base import Channel, Medium
from orchestrator.journey import Journey
from orchestrator.project import Project
from orchestrator.rehearsal import Rehearsal
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
        self._folder, self._channels = folder, channels
        self._empty = folder / "empty.db"
        self._number = count(1)
        store = Store.open(f"sqlite:///{self._empty}", create=True)
        store.migrate()
        store.close()

    def run(self, test: Rehearsal, project: Project) -> Verdict:
        """One test. Raises what the verbs raise; what it asks for and cannot be had is a failure of it."""
        path = self._folder / f"{next(self._number)}.db"
        shutil.copyfile(self._empty, path)
        store = Store.open(f"sqlite:///{path}")
        sa.event.listen(store.engine, "connect", _hurry)
        tz = zone(test.zone)
        assert tz is not None
        scene = Scene(test, narrowed(project, test.journeys), store, test.clock, tz)
        try:
            play = Play(scene, self._channels)
            play.run()
            turns = judge(scene)
            failures = tuple(sorted(scene.failures, key=lambda f: f.span))
            return Verdict(test, failures, turns, reached(scene), play.stops)
        finally:
            store.close()
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)


def _hurry(connection: Any, _: Any) -> None:
    """Nothing outlives the test, so nothing waits for the disk."""
    connection.execute("PRAGMA synchronous = OFF")


def narrowed(project: Project, names: Sequence[str]) -> Project:
    """The workspace with these journeys alone, and those that they enter."""
    wanted: dict[str, Journey] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted and name in project.journeys:
            wanted[name] = project.journeys[name]
            waiting += [other for step in wanted[name].every_step() for other in step.enters()]
    mark = digest("rehearsal", project.hash, *sorted(wanted))
    return replace(project, journeys=dict(sorted(wanted.items())), hash=mark)
