"""Where a print house takes its jobs and leaves its answers: a folder that both can reach.

A job is written under a temporary name that no house looks at, made durable, renamed, and released by `JOB.ok`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from channels.base import Misconfigured, Unavailable
from channels.letterfile.ledger import Entry, replace, sync
from channels.letterfile.returns import thinned
from channels.letterfile.thin import thin

RETURNS, DONE = "returns", "done"
"""Where the house leaves files for us, and where those go that were read."""
LARGEST = 20_000_000
"""A file of the house with more bytes is none."""


@dataclass(frozen=True, slots=True)
class Left:
    """A file the house left: its name under `returns/`, or a receipt in a job's folder (`JOB/JOB_receipt.json`)."""

    name: str
    body: bytes


class Place(Protocol):
    """What can be done at a house. Raises Unavailable where surely nothing was released, Uncertain, Misconfigured."""

    def put(self, job: str, files: Iterable[tuple[str, bytes]], release: Callable[[], None]) -> None:
        """Write a job under its temporary name, call `release`, rename it, and set `JOB.ok`."""
        ...

    def stands(self, job: str) -> bool | None:
        """True: it is there with its `.ok`. False: it never was released, and is taken away so that it cannot be.
        None: nothing is there."""
        ...

    def add(self, job: str, name: str, body: bytes) -> bool:
        """One more file for a job; False when the house has taken the job's folder away."""
        ...

    def left(self) -> Iterable[Left]:
        """Files the house left for us."""
        ...

    def done(self, name: str, refused: bytes) -> None:
        """Put a file aside that was read, and beside it the rows of it that could not be."""
        ...

    def forget(self, mine: Callable[[str], bool], entries: Sequence[Entry]) -> int:
        """Remove what is here of these attempts; how many letters that were."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, or mounted on it. `shared`: its group is the house, which reads jobs and takes them."""

    root: Path
    shared: bool = False

    def put(self, job: str, files: Iterable[tuple[str, bytes]], release: Callable[[], None]) -> None:
        draft = self._draft(job)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(draft, ignore_errors=True)  # of a process that died over it
            self._make(draft)
        except OSError as error:
            raise Misconfigured(f"the folder for the print house cannot be written ({error.strerror})") from None
        try:
            folders = {draft}
            for name, data in files:
                path = draft / name
                if path.parent not in folders:
                    self._make(path.parent)
                    folders.add(path.parent)
                self._create(path, data)
            for folder in folders:
                sync(folder)
            release()
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise Unavailable(f"the folder for the print house cannot be written ({error.strerror})") from None
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        draft.rename(self.root / job)
        sync(self.root)
        self._create(self.root / job / f"{job}.ok", b"")
        sync(self.root / job)

    def stands(self, job: str) -> bool | None:
        draft, final = self._draft(job), self.root / job
        if (final / f"{job}.ok").exists():
            return True
        if not draft.exists() and not final.exists():
            return None
        shutil.rmtree(draft, ignore_errors=True)
        if final.exists():  # renamed, and never released
            final.rename(draft)
            shutil.rmtree(draft, ignore_errors=True)
        return False

    def add(self, job: str, name: str, body: bytes) -> bool:
        if not (self.root / job).is_dir():
            return False
        draft = self.root / job / f".{name}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        self._create(draft, body)
        draft.rename(self.root / job / name)
        return True

    def left(self) -> Iterable[Left]:
        found = []
        if (self.root / RETURNS).is_dir():
            found += [p for p in sorted((self.root / RETURNS).iterdir()) if p.is_file() and not hidden(p.name)]
        found += sorted(self.root.glob("*/*_receipt.json"))
        for path in found:
            try:
                if path.stat().st_size <= LARGEST:
                    yield Left(path.relative_to(self.root).as_posix(), path.read_bytes())
            except OSError as error:
                raise Unavailable(f"a file of the house cannot be read ({error.strerror})") from None

    def done(self, name: str, refused: bytes) -> None:
        done = self.root / RETURNS / DONE
        done.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = free(Path(name).name, lambda taken: (done / taken).exists())
        if refused:
            _create(done / f"{target}.refused.csv", refused)
        (self.root / name).rename(done / target)
        sync(done)

    def forget(self, mine: Callable[[str], bool], entries: Sequence[Entry]) -> int:
        gone = 0
        for entry in entries:
            own = {piece for piece in entry.pieces if mine(piece)}
            for folder in (self._draft(entry.job), self.root / entry.job):
                if own and folder.is_dir():
                    gone += thin(folder, entry.job, own)
        done = self.root / RETURNS / DONE
        for path in done.iterdir() if done.is_dir() else ():
            without = thinned(path.read_bytes(), mine, entries)
            if without is not None:
                replace(path, without)
        return gone

    def _make(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        if self.shared:
            folder.chmod(0o770)

    def _create(self, path: Path, data: bytes) -> None:
        _create(path, data, 0o640 if self.shared else 0o600)

    def _draft(self, job: str) -> Path:
        return self.root / f".{job}.part"


def hidden(name: str) -> bool:
    """A file that somebody is still writing."""
    return name.startswith(".") or name.endswith((".part", ".tmp", ".filepart", "~"))


def free(name: str, taken: Callable[[str], bool]) -> str:
    """A name that no file has yet: what came before is kept."""
    if not taken(name):
        return name
    return next(other for n in range(2, 10_000) if not taken(other := f"{n}-{name}"))


def _create(path: Path, data: bytes, mode: int = 0o600) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
