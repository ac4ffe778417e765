"""Tasks for our own people, as lists in a folder: one file a day and person or team, that a spreadsheet opens.

    [channels.task]
    provider = "taskfile"
    folder = "/srv/tasks"          # without it, `taskfile` beside the outbox
    zone = "Europe/Berlin"         # whose day it is; UTC without it
    digest = "08:00"               # once a day a list by e-mail (`orchestrator tasks digest`)

A file is TASKS-2027-03-01-NAME.csv: UTF-8, every cell in quotes, one row a task. What a spreadsheet would run as a
formula is written as text. A row is written once for each attempt, whole or not at all: writers take turns, and the
half row that a dead one left is cut off. The name and number of a customer stand there only where the task is a call.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo

from channels._http import only
from channels.base import (
    Event,
    EventKind,
    Forged,
    Handed,
    Inbound,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Site,
    Unavailable,
)

COLUMNS: Final = ("task", "due", "title", "text", "for", "account", "customer", "phone")
_BOM: Final = b"\xef\xbb\xbf"  # without it, Excel reads UTF-8 as something else
_FORMULA: Final = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[+-]?[\d ()/.-]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LONGEST: Final = 8_000  # characters of a cell: spreadsheets cut off at 32,767


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> TaskFile:
    only(options, "taskfile", ("folder", "zone", "digest"))
    if medium is not Medium.TASK:
        raise Misconfigured(f"taskfile carries no {medium}: it is a provider for `task`")
    folder, zone, digest = (options.get(name, "") for name in ("folder", "zone", "digest"))
    if not isinstance(folder, str) or (folder and not Path(folder).is_absolute()):
        raise Misconfigured("taskfile takes `folder` as a path from the root: `/srv/tasks`")
    try:
        clock = ZoneInfo(str(zone or "UTC"))
    except (KeyError, ValueError, OSError):
        raise Misconfigured("taskfile takes `zone` as a time zone: `Europe/Berlin`") from None
    if digest and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(digest)):
        raise Misconfigured("taskfile takes `digest` as a time of day: `08:00`")
    found = time.fromisoformat(str(digest)) if digest else None
    return TaskFile(Path(folder) if folder else site.folder.parent / "taskfile", site.clock, clock, found)


class TaskFile:
    """Lists in a folder. Raises Misconfigured where it cannot be written."""

    name = "taskfile"
    medium = Medium.TASK
    batch_size = 500
    rate: float | None = None
    resend: Literal["safe", "never"] = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(self, folder: Path, clock: Callable[[], datetime], zone: ZoneInfo, digest: time | None = None) -> None:
        self.folder, self.digest = folder, digest
        self._clock, self._zone = clock, zone

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """File by file; receipts when a file is safe on the disk."""
        day = self._clock().astimezone(self._zone).date().isoformat()
        files: dict[str, list[Outbound]] = {}
        for outbound in batch:
            if whose := outbound.to.get("address") or outbound.to.get("name"):
                files.setdefault(f"TASKS-{day}-{_slug(outbound.to.get('name', ''), whose)}.csv", []).append(outbound)
            else:
                yield Receipt(outbound.attempt, "rejected", "", Reason.INVALID_ADDRESS, "nobody is named")
        for name, outbounds in files.items():
            with self._alone():
                _append(self.folder / name, outbounds)
            yield from (Receipt(o.attempt, "accepted", f"task-{o.attempt}") for o in outbounds)

    def events(self, inbound: Inbound) -> list[Event]:
        raise Forged("what became of tasks is imported: orchestrator import outcomes FILE")

    def trace(self, handed: Sequence[Handed]) -> Iterator[Receipt]:
        """What is in the lists was taken, and what is not was not."""
        if not self.folder.is_dir():
            return
        with self._alone():
            there = {row[0] for path in self.folder.glob("TASKS-*.csv") for row in _rows(path.read_bytes()) if row}
        for one in handed:
            if one.attempt in there:
                yield Receipt(one.attempt, "accepted", f"task-{one.attempt}")
            else:
                yield Receipt(one.attempt, "rejected", detail="never_taken")

    def forget(self, mine: Callable[[str], bool]) -> int:
        """Take these attempts out of every list."""
        if not self.folder.is_dir():
            return 0
        gone = 0
        with self._alone():
            for path in sorted(self.folder.glob("TASKS-*.csv")):
                head, *rows = _rows(path.read_bytes())
                kept = [row for row in rows if not row or not mine(row[0])]
                if len(kept) < len(rows):
                    _replace(path, _BOM + _written([head, *kept]))
                    gone += len(rows) - len(kept)
        return gone

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Misconfigured(f"the folder for tasks cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)


def _append(path: Path, outbounds: Sequence[Outbound]) -> None:
    """The rows that are not there yet, in one write. Of a write that failed nothing stays."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Misconfigured(f"a list of tasks cannot be written ({error.strerror})") from None
    try:
        found = b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
        end = _whole(found)
        there = {row[0] for row in _rows(found[:end]) if row}
        rows = {o.attempt: _row(o) for o in outbounds if o.attempt not in there}
        data = _written(rows.values()) if end else _BOM + _written([COLUMNS, *rows.values()])
        try:
            os.ftruncate(fd, end)
            view = memoryview(data)
            at = end
            while view:
                n = os.pwrite(fd, view, at)
                view, at = view[n:], at + n
            os.fsync(fd)
        except OSError as error:
            os.ftruncate(fd, end)
            raise Unavailable(f"a list of tasks cannot be written now ({error.strerror})") from None
    finally:
        os.close(fd)


def _whole(data: bytes) -> int:
    """Up to where there are whole rows: a line break within quotes ends none."""
    quoted, end = False, 0
    for n, byte in enumerate(data):
        if byte == 0x22:
            quoted = not quoted
        elif byte == 0x0A and not quoted:
            end = n + 1
    return end


def _row(outbound: Outbound) -> tuple[str, ...]:
    to, meta = outbound.to, outbound.meta
    title = outbound.part("title") or outbound.part("subject")
    text = outbound.part("text") or outbound.part("body")
    cells = (meta.get("due", ""), title, text, to.get("name") or to.get("address", ""))
    return (outbound.attempt, *map(tame, (*cells, *(meta.get(name, "") for name in ("account", "customer", "phone")))))


def tame(value: str) -> str:
    """A cell that no spreadsheet runs as a formula (OWASP, CSV injection); a number stays as it is."""
    plain = _CONTROL.sub(" ", value.replace("\r\n", "\n").replace("\r", "\n"))[:_LONGEST]
    runs = plain.startswith(("\t", "\n")) or (_FORMULA.match(plain) and not _NUMBER.fullmatch(plain))
    return f"'{plain}" if runs else plain


def _written(rows: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


def _rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"), newline="")))


def _slug(name: str, whose: str) -> str:
    """A file's name: readable, never a path, and another for everybody."""
    plain = unicodedata.normalize("NFKD", name or whose.partition("@")[0]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "tasks"
    return f"{words}-{hashlib.sha256(whose.casefold().encode('utf-8', 'replace')).hexdigest()[:6]}"


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
