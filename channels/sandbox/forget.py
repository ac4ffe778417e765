"""One person's messages out of a sandbox, for good: their files, their lines in the index and in the lists.

Lists that other processes may be appending to (the index, the tasks) keep their length: a line is overwritten where it
stands, with as many bytes that say nothing, so that nobody's append is lost. A letters' job is finished when it can be
seen; its records and its manifest are written anew.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

from channels.base import Medium
from channels.sandbox.files import write_list

Mine = Callable[[str], bool]
"""Whether an attempt is one of those to be forgotten."""


def forget(folder: str | os.PathLike[str], mine: Mine) -> int:
    """Remove what was kept of these attempts from every medium's folder; returns how many deliveries that were.

    Doing it again does no harm. Pages made for a browser are removed as a whole: `browse` makes them anew.
    """
    root = Path(folder)
    if not root.is_dir():
        return 0
    gone: set[str] = set()
    for medium in Medium:
        place = root / medium.value
        if medium is Medium.MAIL:
            gone |= _letters(place, mine)
        else:
            gone |= _files(place, mine)
    _blank_lines(root / "index.jsonl", mine)
    _blank_tasks(root / Medium.TASK.value / "tasks.csv", mine)
    if gone:
        for page in [root / "index.html", *(root / "pages").glob("*.html")]:
            page.unlink(missing_ok=True)
    return len(gone)


def _attempt(name: str) -> str:
    """The attempt that a file was named after (see `files.file_name`)."""
    return unquote(name.partition("~")[0])


def _files(place: Path, mine: Mine) -> set[str]:
    gone = set()
    for path in place.glob("*.*") if place.is_dir() else ():
        if mine(_attempt(path.stem)):
            path.unlink(missing_ok=True)
            gone.add(_attempt(path.stem))
    return gone


# ---- lists that grow ------------------------------------------------------------------------------------------------


def _blank_lines(path: Path, mine: Mine) -> None:
    """The index's lines of these attempts: what stays is an empty object, as long as the line was."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        for start, line in _lines(file.read()):
            try:
                found = json.loads(line)
            except ValueError:
                continue  # half a line, from a writer that was killed
            if isinstance(found, dict) and mine(str(found.get("attempt", ""))):
                _overwrite(file.fileno(), start, b"{" + b" " * (len(line) - 2) + b"}")
        os.fsync(file.fileno())


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    for line in data.split(b"\n"):
        yield start, line
        start += len(line) + 1


def _blank_tasks(path: Path, mine: Mine) -> None:
    """The rows of these attempts in tasks.csv: one row with nothing in it, as long as the row was."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        for start, row in _rows(file.read()):
            cells = next(csv.reader(io.StringIO(row.decode("utf-8", "replace"), newline="")), [])
            if cells and mine(cells[0]):
                empty = b",".join([b'""'] * (len(cells) - 1)) + b","
                _overwrite(file.fileno(), start, empty + b'"' + b" " * (len(row) - len(empty) - 2) + b'"')
        os.fsync(file.fileno())


def _rows(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The rows of a table with every cell in quotes, as bytes: a line break within quotes ends none."""
    start, quoted = 0, False
    for end, byte in enumerate(data):
        if byte == 0x22:
            quoted = not quoted
        elif byte == 0x0A and not quoted:
            yield start, data[start:end]
            start = end + 1


def _overwrite(fd: int, start: int, data: bytes) -> None:
    os.pwrite(fd, data, start)


# ---- letters --------------------------------------------------------------------------------------------------------


def _letters(place: Path, mine: Mine) -> set[str]:
    gone = _files(place / ".pieces", mine)
    for job in place.glob("letters-*") if place.is_dir() else ():
        letters = [path for path in (job / "letters").glob("*.html") if mine(_attempt(path.stem))]
        records = job / f"{job.name}_records.csv"
        if letters or (records.exists() and any(mine(row[0]) for row in _table(records)[1:] if row)):
            _thin(job, records, mine)
            gone |= {_attempt(path.stem) for path in letters}
            for path in letters:
                path.unlink(missing_ok=True)
    for abandoned in place.glob(".letters-*.part") if place.is_dir() else ():
        # A job that its writer never finished: nobody has seen it, and nobody will.
        for path in sorted(abandoned.rglob("*"), reverse=True):
            if path.is_file() and (mine(_attempt(path.stem)) or path.suffix == ".csv"):
                path.unlink(missing_ok=True)
    return gone


def _table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _thin(job: Path, records: Path, mine: Mine) -> None:
    """A job's records without these letters, and the manifest that goes with them."""
    head, *rows = _table(records)
    kept = [row for row in rows if row and not mine(row[0])]
    data = write_list([head, *kept])
    _replace(records, data)
    path = job / f"{job.name}_manifest.json"
    if not path.exists():
        return
    manifest = json.loads(path.read_bytes())
    at = {name: n for n, name in enumerate(head)}
    hashes = {name: digest for name, digest in manifest["sha256"].items() if not mine(_attempt(Path(name).stem))}
    manifest |= {
        "rows": len(kept),
        "by_template": dict(sorted(Counter(row[at["template"]] for row in kept).items())),
        "by_country": dict(sorted(Counter(row[at["country"]] for row in kept).items())),
        "widths": {name: max((len(row[n]) for row in kept), default=0) for name, n in at.items()},
        "sha256": hashes | {records.name: hashlib.sha256(data).hexdigest()},
    }
    _replace(path, json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n")


def _replace(path: Path, data: bytes) -> None:
    """Whole and at once, for the owner's eyes only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
