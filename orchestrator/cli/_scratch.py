"""A private folder for what is copied of persons, gone at the end: of a run that was told to stop, too, and of one that
was killed as soon as the next begins."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

_HELD: Final = "held"
"""A file that its process holds a lock on, and that the kernel lets go of however the process ends."""
_STOPS: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def scratch(name: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder that only this user may look into, for as long as the block lasts. `parent` None: where temporary
    files go. Folders of this name there, that a killed process has left behind, are removed before."""
    home = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(name, home)
    with _stopped_in_order(), tempfile.TemporaryDirectory(prefix=f"{name}-", dir=home) as folder:
        held = os.open(Path(folder) / _HELD, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield Path(folder)
        finally:
            os.close(held)


def sweep(name: str, home: Path) -> None:
    """Remove this user's scratch folders of that name that no process holds any more."""
    for folder in home.glob(f"{name}-*"):
        try:
            # Where somebody else may write, too, a link could lead anywhere.
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            held = os.open(folder / _HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # none of ours, being made at this moment, or gone meanwhile
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # somebody is at work in it
        finally:
            os.close(held)


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """Whoever ends this process lets it clean up; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
