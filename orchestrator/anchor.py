"""The newest checkpoint, put where whoever runs the log cannot take it back: a file on another machine, a Git remote.

A file grows by one signed note a time and is never written over. With the leaf hashes beside it (32 bytes an entry,
no personal data) an audit can also name the entry that was changed in a log that was rebuilt as a whole.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from orchestrator.audit import Anchored
from orchestrator.merkle import HASH, Checkpoint, Refused, Verifier, root_of, verifier
from orchestrator.store import tree
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys

CHECKPOINTS = "checkpoints.txt"
"""The file in a Git repository."""
HASHES = ".hashes"
"""What is added to a file's name for the leaf hashes kept beside it."""
SECONDS = 120
"""How long Git may take for one command."""


class CannotAnchor(Exception):
    """The checkpoint cannot be kept there. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class AnchorReport:
    """`size` entries are anchored at `to`; `new` is False where that checkpoint stood there already."""

    to: str
    size: int
    root: bytes
    new: bool
    note: str = ""
    """What is left to do, for people; empty where nothing is."""


def anchor(store: Store, to: str, keys: Keys, *, now: datetime, folder: Path, hashes: bool = False) -> AnchorReport:
    """Append the newest checkpoint to a file, a Git working tree or a Git remote, and remember where.

    `to`: a path (relative to `folder`), a folder with a Git working tree in it, or what `git clone` takes.
    `hashes`: the leaf hashes too. Refuses to anchor beside checkpoints that this log does not agree with. Raises
    CannotAnchor.
    """
    with store.read() as conn:
        head, name = tree.newest(conn), tree.origin(conn)
        if head is None or name is None:
            raise CannotAnchor("nothing is sealed yet, so there is no checkpoint; run `orchestrator audit seal` first")
        by = verifier(name, keys.sign)
        kind, place = _place(to, folder)
        if kind == "remote":
            new = _to_remote(conn, place, head, by, now, hashes)
        elif kind == "tree":
            new = _append(conn, Path(place) / CHECKPOINTS, head, by, hashes)
            if new:
                _commit(Path(place), head, now, hashes)
        else:
            new = _append(conn, Path(place), head, by, hashes)
    with store.write() as conn:
        tree.remember_anchor(conn, place, head.note)
    return AnchorReport(place, head.size, head.root, new, _LEFT[kind])


_LEFT = {
    "file": "a file on this machine proves nothing against whoever runs it: keep a copy elsewhere",
    "tree": "committed, not pushed: `git push` puts it out of reach",
    "remote": "",
}


def _place(to: str, folder: Path) -> tuple[str, str]:
    """(file, tree or remote; the path or URL)."""
    if "://" in to or re.match(r"[\w.-]+@[\w.-]+:", to):
        return "remote", to
    path = (folder / Path(to).expanduser()).absolute()
    if (path / "HEAD").is_file() and (path / "objects").is_dir():
        return "remote", str(path)  # a bare repository
    if path.is_dir():
        if (path / ".git").exists():
            return "tree", str(path)
        raise CannotAnchor(f"{path} is a folder without a Git repository; name a file, or a Git repository")
    return "file", str(path)


# ---- reading what was kept ------------------------------------------------------------------------------------------


def read_notes(path: Path) -> tuple[list[str], str]:
    """(signed notes, what is left over) of a file of checkpoints, in its order. Raises OSError, UnicodeDecodeError."""
    lines = path.read_text(encoding="utf-8").split("\n")
    notes, rest = [], []
    at = 0
    while at < len(lines):  # no pattern: what is no file of checkpoints could keep one busy for hours
        start = at
        while at < len(lines) and lines[at]:
            at += 1
        at += 1
        signatures = at
        while at < len(lines) - 1 and lines[at].startswith("— "):
            at += 1
        if signatures < at and start < signatures - 1:
            notes.append("\n".join(lines[start:at]) + "\n")
        else:
            at = min(at, len(lines))
            rest += lines[start:at]
    return notes, "\n".join(rest).strip()


def kept(path: Path) -> list[Anchored]:
    """The checkpoints in a file, for `verify`. Raises CannotAnchor when it cannot be read or is none."""
    try:
        notes, rest = read_notes(path)
    except OSError as error:
        raise CannotAnchor(f"the checkpoints in {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CannotAnchor(f"{path} is no file of checkpoints") from None
    if not notes or rest:
        what = "holds no checkpoint" if not notes else f"has lines that are no checkpoint: `{rest[:60]}`"
        raise CannotAnchor(f"{path} {what}")
    beside = path.with_name(path.name + HASHES)
    return [Anchored(str(path), note, beside if beside.is_file() else None) for note in notes]


def remembered(conn: sa.Connection) -> tuple[list[Anchored], list[str]]:
    """(checkpoints at the places that can be read from here, the places that cannot)."""
    found: list[Anchored] = []
    closed: list[str] = []
    for place in tree.anchors(conn):
        path = Path(place) / CHECKPOINTS if Path(place).is_dir() else Path(place)
        try:
            found += kept(path)
        except CannotAnchor:
            closed.append(place)
    return found, closed


# ---- writing --------------------------------------------------------------------------------------------------------


def _append(conn: sa.Connection, path: Path, head: tree.Head, by: Verifier, hashes: bool) -> bool:
    """False where this checkpoint stands there already."""
    there: list[str] = []
    if path.exists():
        there = [one.note for one in kept(path)] if path.stat().st_size else []
    sizes = [_agreeing(conn, note, head, by, path) for note in there]
    new = head.size not in sizes
    if new and sizes and max(sizes) > head.size:
        raise CannotAnchor(f"{path} holds a checkpoint of {max(sizes):,} entries, and this log has {head.size:,}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if hashes:
            _append_hashes(conn, path.with_name(path.name + HASHES), head)
        if new:
            _write(path, (("\n" if there else "") + head.note).encode())
    except OSError as error:
        raise CannotAnchor(f"{path} cannot be written: {error.strerror}") from None
    return new


def _agreeing(conn: sa.Connection, note: str, head: tree.Head, by: Verifier, path: Path) -> int:
    """The size of a checkpoint that this log agrees with."""
    try:
        said = Checkpoint.open(note, by)
    except Refused as error:
        raise CannotAnchor(f"{path} holds a checkpoint of another log: {error}") from None
    if said.size <= head.size and root_of(tree.hashes(conn, 0, said.size)) != said.root:
        raise CannotAnchor(
            f"{path} holds a checkpoint of {said.size:,} entries that this log does not agree with: entries were "
            f"changed since. `orchestrator audit verify --anchor {path}` says more"
        )
    return said.size


def _append_hashes(conn: sa.Connection, path: Path, head: tree.Head) -> None:
    size = path.stat().st_size if path.exists() else 0
    if size % HASH:
        raise CannotAnchor(f"{path} ends in the middle of a hash: an earlier write was cut off; move it away")
    if size // HASH < head.size:
        _write(path, b"".join(tree.hashes(conn, size // HASH, head.size)))


def _write(path: Path, data: bytes) -> None:
    """Appended in one write, and on the disk before it is reported: also where a file can only be appended to."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


# ---- Git ------------------------------------------------------------------------------------------------------------


def _to_remote(conn: sa.Connection, url: str, head: tree.Head, by: Verifier, now: datetime, hashes: bool) -> bool:
    with tempfile.TemporaryDirectory(prefix="anchor-") as made:
        clone = Path(made) / "clone"
        _git(Path(made), "clone", "--quiet", "--", url, str(clone))
        new = _append(conn, clone / CHECKPOINTS, head, by, hashes)
        if new:
            _commit(clone, head, now, hashes)
            _git(clone, "push", "--quiet", "origin", "HEAD")
        return new


def _commit(folder: Path, head: tree.Head, now: datetime, hashes: bool) -> None:
    names = [CHECKPOINTS, *([CHECKPOINTS + HASHES] if hashes else [])]
    _git(folder, "add", "--", *names)
    stamp = now.isoformat(timespec="seconds")
    dates = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
    message = f"Checkpoint of {head.size} entries"
    _git(folder, "commit", "--quiet", "--no-verify", "-m", message, "--", *names, extra=dates)


_IDENTITY = ("-c", "user.name=campaign-orchestrator", "-c", "user.email=audit@campaign-orchestrator.invalid")


def _git(folder: Path, *arguments: str, extra: dict[str, str] | None = None) -> None:
    """One Git command, without a shell, without questions, within SECONDS. Raises CannotAnchor."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"} | (extra or {})
    command: Sequence[str] = ("git", *_IDENTITY, "-c", "commit.gpgsign=false", *arguments)
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise CannotAnchor("git is not installed: install it, or anchor to a file") from None
    except subprocess.TimeoutExpired:
        raise CannotAnchor(f"git {arguments[0]} did not end within {SECONDS} seconds") from None
    if done.returncode:
        lines = re.sub(r"://[^@\s/]+@", "://…@", done.stderr).strip().splitlines() or ["no reason given"]
        raise CannotAnchor(f"git {arguments[0]} failed: {lines[-1]}")
