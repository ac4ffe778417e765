"""Is the log what it was? Every leaf against its row, every checkpoint against the tree, all of it against what is kept
outside; and proofs of single entries to hand out.

Whoever can write to the database and has its key can rebuild all that is in it, tree and signatures too: only a
checkpoint kept where he cannot write tells. Without one `verify` says "internally consistent only", and means it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from orchestrator.leaf import LEDGERS, Finding, name_of
from orchestrator.merkle import (
    HASH,
    Checkpoint,
    Frontier,
    Proof,
    Refused,
    Verifier,
    inclusion_ranges,
    leaf_hash,
    leaf_hashes,
    root_of,
    verifier,
)
from orchestrator.store import tree
from orchestrator.store.database import Store, uncollected
from orchestrator.store.keys import Keys

CHUNK = 20_000
LISTED = 100
"""So many findings are listed; more are counted."""
Progress = Callable[[int, int], None]
"""Told (done, of) as entries are read."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """A checkpoint that was kept outside. `hashes`: the leaf hashes kept with it, if they were: 32 bytes an entry."""

    where: str
    note: str
    hashes: Path | None = None


class Examined(Protocol):
    """What a re-judgement of the entries found. `checked`: what was looked at → how many; `notes`: what a reader must
    know and is no fault."""

    @property
    def findings(self) -> Sequence[Finding]: ...
    @property
    def checked(self) -> Mapping[str, int]: ...
    @property
    def notes(self) -> Sequence[str]: ...


Examine = Callable[[sa.Connection, Keys], Examined]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was verified. `size` entries, by ledger in `entries`; `checkpoints` and `anchors` that agree.

    `findings`: what is wrong, the first LISTED of `wrong`. `waiting` rows are not sealed yet, the oldest for `lag`
    seconds. `judged`: what a re-judgement looked at. `largest_anchor`: entries that an agreeing anchor covers.
    """

    log: str
    size: int
    root: bytes
    entries: Mapping[str, int]
    checkpoints: int
    anchors: int
    largest_anchor: int
    findings: tuple[Finding, ...]
    wrong: int
    waiting: int
    lag: float
    judged: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Places where checkpoints were anchored and that cannot be read from here."""

    @property
    def ok(self) -> bool:
        return self.wrong == 0

    @property
    def verdict(self) -> str:
        """One sentence: how much what was verified is worth."""
        if not self.ok:
            return "the log is not what it was"
        if not self.size:
            return "nothing is sealed yet: there is nothing to verify"
        if not self.anchors:
            return "internally consistent only: no checkpoint kept outside was compared"
        if self.largest_anchor < self.size:
            return (
                f"the first {self.largest_anchor:,} entries are those that were anchored; "
                f"the {self.size - self.largest_anchor:,} after them are internally consistent"
            )
        return "every entry is the one that was anchored"


# ---- verify ---------------------------------------------------------------------------------------------------------


def verify(
    store: Store,
    keys: Keys,
    anchors: Sequence[Anchored] = (),
    *,
    now: datetime,
    by: Verifier | None = None,
    progress: Progress | None = None,
    examine: Examine | None = None,
    chunk: int = CHUNK,
) -> VerifyReport:
    """Verify the whole log, on one snapshot of the database. Reads only.

    `by`: whose signatures count; without it, this installation's own key. `examine`: re-judges the entries. What is
    wrong is in the report; raises what the store raises.
    """
    with store.read() as conn, uncollected():
        name = tree.origin(conn) or ""
        by = by or _own(name, keys)
        done = tree.sealed(conn)
        walk = _Walk(done.size, by)
        for table in tree.unguarded(conn):
            walk.tell(None, f"table {table}", "the trigger that refuses changes is gone or switched off", "guard")
        examined, left = None, tree.Waiting(0, None)
        with _readable(walk, "leaves and checkpoints"):
            walk.expect(tree.heads(conn), anchors, tree.anchors(conn))
            start: int | None = 0
            while start is not None and start < done.size:
                walk.take(conn, start, stop := min(done.size, start + chunk))
                if progress is not None:
                    progress(stop, done.size)
                start = stop if not walk.gap else tree.next_leaf(conn, stop)
            walk.end(done.size)
        with _readable(walk, "rows of the ledgers"):
            _rows_found(conn, walk, done)
            _compare_hashes(conn, walk)
            left = tree.waiting(conn, done.below)
        with _readable(walk, "documents"):
            _documents(conn, walk)
        if examine is not None:
            with _readable(walk, "what was judged"):
                examined = examine(conn, keys)
        walk.findings += examined.findings if examined is not None else ()
    findings = walk.sorted()
    return VerifyReport(
        by.name if by else name,
        done.size,
        walk.edge.root(),
        {ledger: walk.entries[ledger] for ledger in LEDGERS},
        walk.heads_agreed,
        walk.anchors_agreed,
        walk.largest_anchor,
        findings[:LISTED],
        len(findings),
        left.rows,
        left.lag(now),
        examined.checked if examined is not None else {},
        tuple(examined.notes) if examined is not None else (),
    )


def _own(name: str, keys: Keys) -> Verifier | None:
    try:
        return verifier(name, keys.sign)
    except ValueError:
        return None


@contextmanager
def _readable(walk: _Walk, what: str) -> Iterator[None]:
    """SQLite keeps any value in any column: what nothing of ours can read was written by hand, and is a finding."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        told = f"a value stands there that is never written ({type(error).__name__}), so not all could be examined"
        walk.tell(None, what, told, "wrong")


@dataclass(frozen=True, slots=True)
class _Mark:
    """A root that the tree must have at a size. `anchor`: kept outside."""

    size: int
    root: bytes
    where: str
    anchor: bool
    hashes: Path | None = None
    head: tree.Head | None = None


@dataclass(frozen=True, slots=True)
class _Bad:
    entry: int
    ledger: str
    row_id: int
    hash: bytes
    gone: bool
    data: bytes | None
    """What the row is now, of the first LISTED: it may have been moved."""


class _Walk:
    """One pass over the leaves in their order."""

    def __init__(self, size: int, by: Verifier | None) -> None:
        self.size, self.by = size, by
        self.edge = Frontier()
        self.entries: Counter[str] = Counter()
        self.heads_agreed = self.anchors_agreed = self.largest_anchor = 0
        self.findings: list[Finding] = []
        self.bad: list[_Bad] = []
        self.kept: _Mark | None = None
        """A checkpoint that does not agree, and with which the leaf hashes were kept: they tell which entry it is."""
        self._marks: list[_Mark] = []
        self._next = 0
        self._agreed = {False: 0, True: 0}
        self._disagreed = {False: False, True: False}
        self._above = dict.fromkeys(LEDGERS, 0)
        self.gap = False

    def tell(self, entry: int | None, row: str, what: str, code: str) -> None:
        self.findings.append(Finding(entry, row, what, code))

    def sorted(self) -> tuple[Finding, ...]:
        last = self.size + 1
        return tuple(sorted(self.findings, key=lambda f: last if f.entry is None else f.entry))

    # ---- what must be true

    def expect(
        self, heads: Sequence[tree.Head], anchors: Sequence[Anchored], remembered: Mapping[str, str] = {}
    ) -> None:
        """Checkpoints whose signature holds are kept to be compared on the way.

        `remembered`: place → note, as the database remembers what it anchored: worth what its own checkpoints are.
        """
        for head in heads:
            row = f"checkpoint {head.size}"
            said = self._opened(head.note, row, "checkpoint")
            if said is None:
                continue
            if (said.size, said.root) != (head.size, head.root):
                self.tell(None, row, "its columns do not say what was signed", "checkpoint")
            self._marks.append(_Mark(said.size, said.root, row, False, head=head))
        for anchor in anchors:
            said = self._opened(anchor.note, anchor.where, "anchor")
            if said is not None:
                self._marks.append(_Mark(said.size, said.root, anchor.where, True, anchor.hashes))
        for place, note in remembered.items():
            where = f"what was anchored at {place}"
            said = self._opened(note, where, "checkpoint")
            if said is not None:
                self._marks.append(_Mark(said.size, said.root, where, False))
        self._marks.sort(key=lambda mark: mark.size)
        self._compare()  # with the empty tree

    def _opened(self, note: str, row: str, code: str) -> Checkpoint | None:
        if self.by is None:
            self.tell(None, row, "the log has lost its name (setting `origin`): nothing can be checked by it", code)
            return None
        try:
            return Checkpoint.open(note, self.by)
        except Refused as error:
            self.tell(None, row, str(error), code)
            return None

    # ---- the pass

    def take(self, conn: sa.Connection, start: int, stop: int) -> None:
        """Leaves `start` up to and without `stop`."""
        placed: list[bytes | None] = [None] * (stop - start)
        for ledger in LEDGERS:
            found = tree.stored(conn, ledger, start, stop)
            self.entries[ledger] += len(found)
            self._rows(ledger, found)
            for one in found:
                placed[one.entry - start] = one.hash
        if not self.gap:
            self._grow(placed, start)

    def _rows(self, ledger: str, found: Sequence[tree.Stored]) -> None:
        made = leaf_hashes(one.data or b"" for one in found)
        above = self._above[ledger]
        for one, hashed in zip(found, made, strict=True):
            if one.data is None or hashed != one.hash:
                data = one.data if len(self.bad) < LISTED else None
                self.bad.append(_Bad(one.entry, ledger, one.row_id, one.hash, one.data is None, data))
            if one.row_id <= above:
                what = f"it stands after {name_of(ledger, above)}, and was sealed before it"
                self.tell(one.entry, name_of(ledger, one.row_id), what, "order")
            above = one.row_id
        self._above[ledger] = above

    def _grow(self, placed: Sequence[bytes | None], start: int) -> None:
        at = 0
        for n, hashed in enumerate(placed):
            if hashed is None or len(hashed) != HASH:
                self.gap = True
                what = "it is missing" if hashed is None else "its hash is none"
                self.tell(start + n, f"leaf {start + n}", f"{what}: the tree cannot be followed any further", "order")
                placed = placed[:n]
                break
        whole = [one for one in placed if one is not None]
        while at < len(whole):
            mark = self._marks[self._next].size if self._next < len(self._marks) else None
            stop = len(whole) if mark is None else min(len(whole), mark - start)
            self.edge.extend(whole[at:stop])
            at = stop
            self._compare()

    def _compare(self) -> None:
        """Every mark at the tree's present size."""
        while self._next < len(self._marks) and self._marks[self._next].size == self.edge.size:
            mark = self._marks[self._next]
            self._next += 1
            if mark.root == self.edge.root():
                self._agrees(mark)
            else:
                self._differs(mark)

    def _agrees(self, mark: _Mark) -> None:
        self._agreed[mark.anchor] = mark.size
        if mark.anchor:
            self.anchors_agreed += 1
            self.largest_anchor = max(self.largest_anchor, mark.size)
            return
        if mark.head is None:
            return
        self.heads_agreed += 1
        if mark.head.frontier != self.edge.dump():
            what = "the tree's right edge kept with it is another one: the next seal would go on wrongly"
            self.tell(None, mark.where, what, "checkpoint")
        said = {ledger: mark.head.below.get(ledger, 0) for ledger in LEDGERS}
        if mark.size == self.size and said != self._above:
            self.tell(None, mark.where, "it does not say up to which row it is sealed", "checkpoint")

    def _differs(self, mark: _Mark) -> None:
        """The first that does not agree says most; those after it cannot agree either."""
        if self._disagreed[mark.anchor]:
            return
        self._disagreed[mark.anchor] = True
        first = self._agreed[mark.anchor]
        code = "anchor" if mark.anchor else "checkpoint"
        if mark.hashes is not None:
            self.kept = mark
        span = f"entry {first:,}" if mark.size - first == 1 else f"one of the entries {first:,} to {mark.size - 1:,}"
        what = (
            f"the first {mark.size:,} entries are not those that were signed: {span} was changed together with its "
            "leaf, taken out, put in, or moved"
        )
        self.tell(first, mark.where, what, code)

    def end(self, size: int) -> None:
        """What could not be compared: checkpoints over more than there is; and entries under no checkpoint at all."""
        told = {False: False, True: False}
        if size and all(mark.anchor for mark in self._marks):
            what = (
                f"{size:,} entries and no checkpoint of the log's own: they were taken out, or a first seal was cut off"
            )
            self.tell(None, "checkpoints", f"{what}; `orchestrator audit seal` signs a new one", "checkpoint")
        for mark in self._marks[self._next :]:
            if told[mark.anchor] or self._disagreed[mark.anchor] or mark.size <= size:
                continue
            told[mark.anchor] = True
            kind = "the anchored checkpoint" if mark.anchor else "the checkpoint"
            what = f"{kind} covers {mark.size:,} entries, the log has {size:,}: its end is gone"
            self.tell(size, mark.where, what, "anchor" if mark.anchor else "checkpoint")


def _rows_found(conn: sa.Connection, walk: _Walk, done: tree.Sealed) -> None:
    """Rows that are not what their leaves say, and rows without a leaf; what was moved is known again."""
    alone: dict[str, list[int]] = {}
    for ledger in LEDGERS:
        count, first = tree.never_sealed(conn, ledger, done.below[ledger], LISTED)
        alone[ledger] = first
        for row_id in first:
            walk.tell(None, name_of(ledger, row_id), "it stands among sealed rows and was never sealed", "inserted")
        if count > len(first):
            walk.tell(None, ledger, f"and {count - len(first):,} more rows that were never sealed", "inserted")
    newer = {ledger: tree.rows_after(conn, ledger, done.below[ledger], 2**62, LISTED) for ledger in LEDGERS}
    known = {ledger: dict(zip(*newer[ledger], strict=True)) for ledger in LEDGERS}
    for ledger in LEDGERS:
        known[ledger].update(tree.of_rows(conn, ledger, alone[ledger]))
    for one in walk.bad[:LISTED]:
        known[one.ledger].update({one.row_id: one.data} if one.data is not None else {})
    for n, one in enumerate(walk.bad):
        now_in = _found_again(one, known[one.ledger]) if n < LISTED else None
        row = name_of(one.ledger, one.row_id)
        if now_in is not None:
            walk.tell(one.entry, row, f"what was sealed as this row stands in {name_of(one.ledger, now_in)}", "moved")
        elif one.gone:
            walk.tell(one.entry, row, "the row is not there", "missing")
        else:
            walk.tell(one.entry, row, "the row is not the one that was sealed", "changed")


def _found_again(one: _Bad, rows: Mapping[int, bytes]) -> int | None:
    """The row in which the sealed content stands now, under another id."""
    begin = f'{{"ledger":"{one.ledger}","id":'.encode()
    for row_id, data in rows.items():
        rest = data.removeprefix(begin + str(row_id).encode())
        if row_id != one.row_id and leaf_hash(begin + str(one.row_id).encode() + rest) == one.hash:
            return row_id
    return None


def _compare_hashes(conn: sa.Connection, walk: _Walk) -> None:
    """Which entries it is, where the leaf hashes were kept outside with a checkpoint that does not agree."""
    mark = walk.kept
    if mark is None or mark.hashes is None:
        return
    try:
        data = mark.hashes.read_bytes()[: mark.size * HASH]
    except OSError as error:
        walk.tell(None, str(mark.hashes), f"the hashes kept there cannot be read: {error.strerror}", "anchor")
        return
    kept = [data[at : at + HASH] for at in range(0, len(data), HASH)]
    if len(data) != mark.size * HASH or root_of(kept) != mark.root:
        walk.tell(None, str(mark.hashes), "the hashes kept there are not those of the anchored checkpoint", "anchor")
        return
    here = tree.hashes(conn, 0, mark.size)
    other = [entry for entry, (was, now) in enumerate(zip(kept, here, strict=False)) if was != now]
    rows = tree.rows_of(conn, other[:LISTED])
    for entry in other[:LISTED]:
        what = f"it is not the entry that was anchored in {mark.where}, though it has a leaf"
        walk.tell(entry, name_of(*rows[entry]) if entry in rows else f"leaf {entry}", what, "changed")
    if len(other) > LISTED:
        walk.tell(other[LISTED], f"leaf {other[LISTED]}", f"and {len(other) - LISTED:,} more such entries", "changed")


def _documents(conn: sa.Connection, walk: _Walk) -> None:
    """The texts that were in force are kept by their hashes, and the ledger of applies names those."""
    for key, path, found in tree.texts_in_force(conn):
        if found is None:
            walk.tell(None, f"document {key[:12]}", f"the text of {path} that was applied is not there", "document")
        elif hashlib.sha256(found.encode()).hexdigest() != key:
            walk.tell(None, f"document {key[:12]}", f"the text of {path} is not the one that was applied", "document")


# ---- leaves to hand out ---------------------------------------------------------------------------------------------


class Gone(LookupError):
    """An entry's row is not there; the first argument is the entry."""


def leaves(conn: sa.Connection, size: int) -> Iterator[bytes]:
    """The bytes of the first `size` leaves in their order, as they are made of the rows now. Raises Gone."""
    for start in range(0, size, CHUNK):
        stop = min(size, start + CHUNK)
        found = {one.entry: one.data for ledger in LEDGERS for one in tree.stored(conn, ledger, start, stop)}
        for entry in range(start, stop):
            data = found.get(entry)
            if data is None:
                raise Gone(entry)
            yield data


# ---- proofs of a message's lines ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LineProof:
    """A line of the log proved: `name` for a file (`log-812`), `proof` as text, `leaf` its bytes."""

    name: str
    row: str
    entry: int
    proof: str
    leaf: bytes
    opened: bool


@dataclass(frozen=True, slots=True)
class MessageProofs:
    """All lines of a message that are under a checkpoint; `waiting`: lines that no checkpoint covers yet."""

    message_id: int
    size: int
    lines: tuple[LineProof, ...]
    waiting: tuple[str, ...]


def proof(conn: sa.Connection, message_id: int, keys: Keys | None = None) -> MessageProofs:
    """Proofs that a message's lines are in the log, against the newest checkpoint, each with its leaf in `extra`.

    With `keys`, what was judged as well, and the key that opens that one record and no other: personal data. Raises
    LookupError where the log has nothing about such a message.
    """
    ids = tree.lines_of(conn, message_id)
    if not ids:
        raise LookupError(message_id)
    opened = tree.openings(conn, keys, ids) if keys is not None else {}
    head = tree.newest(conn)
    size = head.size if head else 0
    places = tree.index_of(conn, "log", ids)
    data = tree.of_rows(conn, "log", ids)
    roots: dict[tuple[int, int], bytes] = {}  # the lines of a message have most of their paths in common

    def path(index: int) -> tuple[bytes, ...]:
        ranges = inclusion_ranges(index, size)
        for one in ranges:
            if one not in roots:
                roots[one] = root_of(tree.hashes(conn, *one))
        return tuple(roots[one] for one in ranges)

    lines = []
    for i in ids:
        if head is None or places.get(i, size) >= size:
            continue
        extra = {"leaf": base64.b64encode(data[i]).decode()}
        if i in opened:
            record, key = opened[i]
            extra |= {"record": base64.b64encode(record).decode(), "key": key.hex()}
        text = Proof(places[i], path(places[i]), head.note, json.dumps(extra).encode()).text()
        lines.append(LineProof(f"log-{i}", name_of("log", i), places[i], text, data[i], "key" in extra))
    waiting = tuple(name_of("log", i) for i in ids if places.get(i, size) >= size)
    return MessageProofs(message_id, size, tuple(lines), waiting)
