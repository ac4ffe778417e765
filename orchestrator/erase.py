"""Erase a person on request: out of the database, out of what was kept of her messages, out of earlier exports.

What stays is what the law wants kept and nobody can read her from: lines of the log that speak of a number, keyed
hashes that keep her from coming back by accident, and that her addresses must not be written to.

An erasure is first noted in a file beside the keys, apart from the database: a backup that is restored is older than
that note, and nothing is sent from it until the note has been followed again (`replay`).
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from orchestrator.ingest import suppress
from orchestrator.problems import Conflict
from orchestrator.store import log, rights
from orchestrator.store.database import TRIES, Store, insert_many
from orchestrator.store.keys import Attempt, Keys
from orchestrator.store.people import take_turns
from orchestrator.store.rights import Emptied, Hash, Person
from orchestrator.store.tables import customer, erased

GROUNDS: Final[Mapping[str, str]] = {
    "request": "The person asked for it.",
    "objection": "The person objected to direct marketing, or took back the consent that all of it rested on.",
    "not_needed": "The data is no longer needed for what it was collected for.",
    "unlawful": "The data was collected or used without a ground.",
    "legal_obligation": "A law, a court or an authority demands it.",
    "minor": "The data was collected from a child.",
}
"""Why somebody is erased (GDPR art. 17(1)). A code and no free text: the line stands in the log for ever."""

Forget = Callable[[Callable[[str], bool]], int]
"""Removes what is kept of the attempts it is asked about; returns how many deliveries."""


class Refused(Exception):
    """Nothing was erased. The message says why and what to do, and names nobody."""


class Entry(NamedTuple):
    """One erasure as the list beside the keys has it; `addresses`: (medium, address key) not to be written to."""

    at: datetime
    hashes: tuple[Hash, ...]
    addresses: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class EraseReport:
    """What was done, in numbers; `left`: what is still to be done, and how. `known`: she had been erased before."""

    customer_id: int
    at: datetime
    emptied: Emptied
    deliveries: int = 0
    exports: int = 0
    quarantined: int = 0
    accounts: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where anything about a person may be kept outside the database.

    `listed`: the list of erasures; `forget`: by those who keep messages; `exports`: what was exported for people;
    `folder`: the workspace's, where imports leave rows they refused; `previews`: pages that show texts for somebody.
    """

    listed: Path
    forget: Sequence[Forget] = ()
    exports: Path | None = None
    folder: Path | None = None
    previews: Path | None = None


# ---- the list beside the keys ---------------------------------------------------------------------------------------


def read_list(path: Path) -> list[Entry]:
    """The erasures that a list names, in order. Raises Refused when it cannot be read: then nobody knows."""
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError):
        raise Refused(f"the list of erasures {path} cannot be read; bring it back from its backup") from None
    found = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if "hashes" in entry:
                pairs = [tuple((str(a), str(b)) for a, b in entry[name]) for name in ("hashes", "addresses")]
                found.append(Entry(datetime.fromisoformat(entry["at"]), *pairs))
        except (ValueError, KeyError, TypeError):
            if number == len(lines):
                continue  # half a line of a process that died: its erasure was not committed either
            raise Refused(f"the list of erasures {path} is damaged in line {number}; bring it back") from None
    return found


def _append(path: Path, line: Mapping[str, Any]) -> None:
    """One line, on the disk when this returns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(fd).st_size
            broken = size and os.pread(fd, 1, size - 1) != b"\n"
            if broken:  # the half line of a process that died: it is nobody's entry
                os.ftruncate(fd, _whole(fd, size))
            os.write(fd, json.dumps(line, sort_keys=True).encode("ascii") + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Refused(f"the list of erasures {path} cannot be written ({error.strerror}); nothing was erased") from None


def _whole(fd: int, size: int) -> int:
    """The length of a file without the half line at its end."""
    data = os.pread(fd, min(size, 1 << 20), max(0, size - (1 << 20)))
    return size - len(data) + data.rfind(b"\n") + 1


def missing(conn: sa.Connection, listed: Path) -> list[Entry]:
    """Erasures that the list names and this database does not know: it is a backup from before them. One statement."""
    entries = read_list(listed)
    if not entries:
        return []
    known = rights.known_erased(conn, (h for entry in entries for h in entry.hashes if h[0] == "key"))
    return [entry for entry in entries if any(h[0] == "key" and h not in known for h in entry.hashes)]


def unreplayed(store: Store, listed: Path) -> str:
    """Why nothing may be sent from this database, in words; empty when every erasure on the list is known to it."""
    try:
        with store.read() as conn:
            entries = missing(conn, listed)
    except Refused as error:
        return str(error)
    if not entries:
        return ""
    people = "1 person was" if len(entries) == 1 else f"{len(entries)} people were"
    return (
        f"{people} erased whom this database still knows, as a restored backup does: nothing is sent. Run "
        "`orchestrator customer erase --replay`"
    )


# ---- the verb -------------------------------------------------------------------------------------------------------


def erase(
    store: Store, keys: Keys, key: str, places: Places, *, now: datetime, by: str, reason: str = "request"
) -> EraseReport:
    """Erase the customer of this key, with every record merged into it. Raises Refused, and what the store raises.

    One transaction for the database; what lies in files goes afterwards, and is remembered until it is done
    (`finish`). `by`: who did it; `reason`: one of GROUNDS.
    """
    if reason not in GROUNDS:
        raise Refused(f"`{reason}` is no reason that is known; give one of {', '.join(GROUNDS)}")
    with store.read() as conn:
        one = rights.person(conn, key)
    if one is None:
        raise Refused("there is no customer of that key")
    if one.rows[0]["erased_at"] is not None:
        raise Refused("this customer has been erased already")
    exports = _forget_exports(places.exports, one)
    quarantined = _forget_refused(places.folder, one)
    emptied, alone = _committed(store, keys, one.id, places.listed, now, by, reason)
    deliveries, left = _finish_one(store, one.id, one.ids, places)
    left += _scrubbed(store, one.id)
    return EraseReport(one.id, now, emptied, deliveries, exports, quarantined, tuple(alone), tuple(left))


def _committed(
    store: Store, keys: Keys, kept: int, listed: Path, now: datetime, by: str, reason: str
) -> tuple[Emptied, list[str]]:
    """The transaction, again when PostgreSQL broke a deadlock. The list is written just before the commit: whoever
    dies in between has announced an erasure that did not happen, and it is made up for by `replay`."""
    for last in (*[False] * (TRIES - 1), True):
        try:
            with store.write() as conn:
                one = rights.by_id(conn, kept, lock=True)
                if one.rows[0]["erased_at"] is not None:
                    raise Refused("this customer has been erased already")
                hashes = one.hashes(keys)
                alone = rights.accounts_left_alone(conn, one)
                addresses = [*rights.addresses_of(conn, one, keys), *_earlier(conn, keys, one)]
                done = rights.empty(conn, one, hashes, addresses, now)
                _say(conn, one, done, now, by, reason)
                rights.note_left(conn, kept, one.ids, ("outbox", "files"))
                addresses = list(dict.fromkeys(addresses))
                _append(listed, {"at": now.isoformat(), "hashes": hashes, "addresses": addresses})
            break
        except Conflict:
            if last:
                raise
    _append(listed, {"done": now.isoformat(), "customer": kept})
    return done, alone


def _earlier(conn: sa.Connection, keys: Keys, one: Person) -> list[Hash]:
    """Addresses that messages to her went to, as long as it is still known."""
    found = []
    for line in log.of_messages(conn, sorted(rights.message_ids(conn, one.ids)), keys):
        if line["detail"] and line["body"].get("addressee") == "customer":
            found += [(str(line["body"]["medium"]), str(key)) for key in line["detail"].get("addresses", ())]
    return found


def _say(conn: sa.Connection, one: Person, done: Emptied, now: datetime, by: str, reason: str) -> None:
    """The line in the log: numbers and a code. Only it answers to an auditor for what is not there any more."""
    body = {"customer": one.id, "ids": list(one.ids), **{name: n for name, n in asdict(done).items() if n}}
    log.operation(conn, now, "erased", by=by, reason=reason, body=body)


# ---- files ----------------------------------------------------------------------------------------------------------


def finish(store: Store, places: Places) -> list[str]:
    """Do what erasures left to do: after a crash, or because a message was being handed over at that moment.

    Returns what is still left, in words. Nothing to do, nothing done.
    """
    with store.read() as conn:
        found = rights.left_to_do(conn)
    left: list[str] = []
    for kept, (ids, _) in found.items():
        left += _finish_one(store, kept, ids, places)[1]
    if found:
        left += _scrubbed(store, *found)
    return list(dict.fromkeys(left))


def _finish_one(store: Store, kept: int, ids: Sequence[int], places: Places) -> tuple[int, list[str]]:
    """What is kept of her messages; (deliveries, what is left)."""
    with store.read() as conn:
        messages = rights.message_ids(conn, ids)
        waiting = rights.under_way(conn, ids)

    def mine(attempt: str) -> bool:
        found = Attempt.read(attempt)
        return found is not None and found.message_id in messages

    count = sum(forget(mine) for forget in places.forget)
    if places.exports is not None:
        _forget_named(places.exports, ids)
    # All of them: a page may show her among the longest names of somebody else's, and is made again in a second.
    for page in places.previews.glob("*.html") if places.previews is not None else ():
        page.unlink(missing_ok=True)
    with store.write() as conn:
        if waiting:
            rights.note_left(conn, kept, ids, ("outbox", "files"))
        else:
            rights.sweep(conn, ids)
            rights.note_left(conn, kept, ids, ("files",))
    if not waiting:
        return count, []
    what = "1 message is" if waiting == 1 else f"{waiting} messages are"
    return count, [f"{what} being handed over at this moment: run `orchestrator customer erase --finish` in a minute"]


def _scrubbed(store: Store, *people: int) -> list[str]:
    """The database's own files; those who wait for nothing else are done with."""
    left = rights.scrub(store)
    if not left:
        with store.write() as conn:
            for kept, (ids, what) in rights.left_to_do(conn).items():
                if kept in people and what == ("files",):
                    rights.note_left(conn, kept, ids, ())
    return left


def _forget_named(exports: Path, ids: Iterable[int]) -> int:
    """Exports made for her: their names carry her number and nothing else."""
    count = 0
    for i in ids:
        for path in [*exports.glob(f"customer-{i}.*"), *exports.glob(f"customer-{i}-*")]:
            path.unlink(missing_ok=True)
            count += 1
    return count


def _forget_exports(exports: Path | None, one: Person) -> int:
    """Every export that names her: it is a copy, and can be made again without her."""
    if exports is None or not exports.is_dir():
        return 0
    count = _forget_named(exports, one.ids)
    # Not as a part of another word: the key `anna` is not in `annabel`.
    words = [re.escape(form) for word in one.names() for form in _forms(word)]
    hers = re.compile(rb"(?<![\w@.+-])(?:" + b"|".join(words) + rb")(?![\w@-])", re.IGNORECASE)
    for path in sorted(exports.rglob("*")):
        if path.is_file() and hers.search(path.read_bytes()):
            path.unlink(missing_ok=True)
            count += 1
    return count


def _forms(word: str) -> set[bytes]:
    """A word as files have it: plain, and within JSON."""
    return {word.encode(), json.dumps(word)[1:-1].encode()}


def _forget_refused(folder: Path | None, one: Person) -> int:
    """Rows about her in the files of refused rows that imports left in the workspace; returns how many."""
    count = 0
    for path in _refused_files(folder):
        kept, gone = _without(path, path.read_text(encoding="utf-8", errors="replace"), one)
        if gone:
            count += gone
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
                file.write(kept)
            draft.replace(path)
    return count


def _refused_files(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        return
    for below, names, files in os.walk(folder):
        names[:] = [n for n in names if n not in ("node_modules", ".git", ".venv")]
        yield from (Path(below) / name for name in files if ".quarantine-" in name)


def _without(path: Path, text: str, one: Person) -> tuple[str, int]:
    """A file of refused rows without those that are about her, and how many these were."""
    if path.suffix != ".jsonl":
        rows = list(csv.reader(io.StringIO(text, newline="")))
        kept = rows[:1] + [row for row in rows[1:] if not _about(row, one)]
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerows(kept)
        return out.getvalue(), len(rows) - len(kept)
    lines = text.splitlines(keepends=True)
    left = [line for line in lines if not _about(_values(line), one)]
    return "".join(left), len(lines) - len(left)


def _values(line: str) -> list[str]:
    try:
        found = json.loads(line)
    except ValueError:
        return [line]
    return [str(value) for value in found.values()] if isinstance(found, dict) else [line]


def _about(cells: Iterable[str], one: Person) -> bool:
    """Whether a row has a key, an e-mail address or a number of hers in a cell of its own."""
    names = {name.casefold() for name in one.names()}
    numbers = {digits[-9:] for row in one.rows if len(digits := _digits(row["phone"] or "")) > 8}
    return any(
        cell.strip().casefold() in names or (numbers and _digits(cell)[-9:] in numbers and len(cell) < 30)
        for cell in cells
    )


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


# ---- after a backup was restored ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """`entries` of the list were unknown here; `people` of them were in this database, and are erased again."""

    entries: int = 0
    people: int = 0
    left: tuple[str, ...] = field(default=())


def replay(store: Store, keys: Keys, places: Places, *, now: datetime, by: str) -> ReplayReport:
    """Erase again whom the list names and this database still, or again, knows."""
    with store.read() as conn:
        entries = missing(conn, places.listed)
        wanted = {value for entry in entries for kind, value in entry.hashes if kind == "key"}
        found = _known_by(conn, keys, wanted) if wanted else []
    left: list[str] = []
    people: set[int] = set()
    for key in found:
        with store.read() as conn:
            one = rights.person(conn, key)
        if one is None or one.id in people:
            continue
        people.add(one.id)
        left += erase(store, keys, key, places, now=now, by=by, reason="request").left
    with store.write() as conn:
        # What the list says beyond what the restored rows could tell: addresses that came after the backup.
        known = [(medium, key, rights.ERASED, None) for entry in entries for medium, key in entry.addresses]
        suppress(conn, known, now=now)
        rows = [(kind, value, 0, now) for entry in entries for kind, value in entry.hashes]
        take_turns(conn, "erased")  # ids in the order of commits, for `seal`
        insert_many(conn, erased, rows, columns=("kind", "hash", "customer_id", "at"), ignore_conflicts=True)
    return ReplayReport(len(entries), len(people), tuple(dict.fromkeys(left)))


def _known_by(conn: sa.Connection, keys: Keys, wanted: set[str]) -> list[str]:
    """Keys of customers whose hash is one of these: every customer is looked at once."""
    rows = conn.execute(sa.select(customer.c.key).where(customer.c.erased_at.is_(None)))
    return [key for key in rows.scalars() if keys.hash("customer", key) in wanted]
