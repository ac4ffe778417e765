"""What this installation knows of its jobs: a file a job, with the ids of its pieces and nothing of a person.

A job is begun before anything of it is written, sealed when all of it stands under a temporary name, and dropped when
the house may take it. Under one lock a job is released, or an attempt is declared void so that it never can be: who
asks after a crash and who was only slow cannot both be right. All workers that hand letters over use one ledger.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

BEGUN, SEALED, DROPPED = "begun", "sealed", "dropped"
LATER = ("acknowledged", "approved", "mailed", "returned")
"""What a house makes of a dropped job, in its order."""


@dataclass(slots=True)
class Entry:
    """One job. `pieces`: piece id → (return code, hash of its row); `seeds`: those of them that are our own."""

    job: str
    house: str
    cutoff: datetime
    begun_at: datetime
    state: str = BEGUN
    dropped_at: datetime | None = None
    updated_at: datetime | None = None
    pieces: dict[str, tuple[str, str]] = field(default_factory=dict)
    seeds: list[str] = field(default_factory=list)
    records: str = ""  # SHA-256 of the records
    manifest: str = ""
    refused: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def released(self) -> bool:
        return self.state not in (BEGUN, SEALED)


class Ledger:
    """A folder of entries. Raises OSError."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self.folder = folder
        self._clock = clock

    def open(self) -> datetime:
        """Makes the folder; when that was."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        born = self.folder / "born"
        if not born.exists():
            replace(born, self._clock().isoformat().encode())
        return datetime.fromisoformat(born.read_text())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Between processes, and between threads too: the file is opened anew each time."""
        self.open()
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def write(self, entry: Entry) -> None:
        entry.updated_at = self._clock()
        self.open()
        replace(self.folder / f"{entry.job}.json", json.dumps(_plain(entry)).encode())

    def read(self, job: str) -> Entry | None:
        try:
            return _entry(json.loads((self.folder / f"{job}.json").read_bytes()))
        except FileNotFoundError:
            return None

    def all(self) -> list[Entry]:
        """Every job, the oldest first."""
        found = [_entry(json.loads(path.read_bytes())) for path in self.folder.glob("*.json")]
        return sorted(found, key=lambda e: (e.begun_at, e.job))

    def of(self, attempts: Iterable[str]) -> dict[str, Entry]:
        """Attempt → the job it is a piece of; one that is released before one that is not."""
        wanted, found = set(attempts), dict[str, Entry]()
        for entry in self.all():
            for attempt in wanted & entry.pieces.keys():
                if attempt not in found or not found[attempt].released:
                    found[attempt] = entry
        return found

    def void(self, attempts: Iterable[str]) -> None:
        """These will never be released. Call it under the lock."""
        lines = "".join(f"{attempt}\n" for attempt in attempts)
        if lines:
            with (self.folder / "void").open("a", encoding="ascii") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())

    def voided(self) -> set[str]:
        try:
            return set((self.folder / "void").read_text(encoding="ascii").split())
        except FileNotFoundError:
            return set()


def _plain(entry: Entry) -> dict[str, Any]:
    at = {name: (v := getattr(entry, name)) and v.isoformat() for name in ("cutoff", "begun_at", "dropped_at")}
    at["updated_at"] = entry.updated_at and entry.updated_at.isoformat()
    names = ("job", "house", "state", "pieces", "seeds", "records", "manifest", "refused", "notes")
    return at | {name: getattr(entry, name) for name in names}


def _entry(said: Mapping[str, Any]) -> Entry:
    when = {name: v and datetime.fromisoformat(v) for name, v in said.items() if name.endswith(("_at", "cutoff"))}
    pieces = {piece: (code, digest) for piece, (code, digest) in said["pieces"].items()}
    return Entry(**{**said, **when, "pieces": pieces})


def replace(path: Path, data: bytes) -> None:
    """Whole and at once, durable, for the owner's eyes only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
