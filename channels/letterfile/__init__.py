"""Letters on paper: one job a cut-off for a print house, dropped in a folder or uploaded by SFTP.

Everything that came together by the cut-off leaves as one folder: records and manifest, a PDF of every letter, proofs
(job.py says what the files are). The same letters are the same job, and the same bytes. A ledger beside the outbox
says what was dropped, so that nobody is printed twice whatever died when; it holds no personal data.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from channels.base import (
    Event,
    EventKind,
    Forged,
    Handed,
    Inbound,
    Job,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Site,
    Unavailable,
    Uncertain,
)
from channels.letterfile import cutoff, paper, returns
from channels.letterfile.drop import Folder, Place
from channels.letterfile.job import Files, Piece, in_order, job_id, piece, row_hash, seeds
from channels.letterfile.layout import Unfit, laid_out
from channels.letterfile.ledger import DROPPED, LATER, SEALED, Entry, Ledger
from channels.letterfile.options import Options, read

__all__ = ["Letterfile", "connect"]

_NAME, _SIGNATURE = "Letterfile-Name", "Letterfile-Signature"
_BATCH = 100_000
"""More letters than this are two jobs."""


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Letterfile:
    """docs/guide/letters.md has the options."""
    chosen = read(options)
    if medium is not Medium.MAIL:
        raise Misconfigured(f"letterfile carries mail, not {medium}")
    cutoff.check(chosen, site.clock())
    for n, seed in enumerate(chosen.seeds, 1):
        try:
            laid_out(seed, chosen)
        except Unfit as unfit:
            raise Misconfigured(f"letterfile cannot write to number {n} of its `seeds`: {unfit.detail}") from None
    if chosen.pdf or chosen.proofs:
        paper.check(chosen)
    if chosen.sftp is not None:
        from channels.letterfile.sftp import Upload
        from channels.letterfile.sftp import check as check_sftp

        check_sftp()
        return Letterfile(chosen, site, Upload(chosen.sftp))
    place = Folder(chosen.folder, shared=True) if chosen.folder else Folder(site.folder / "letters")
    return Letterfile(chosen, site, place)


class Letterfile:
    """A print house. `reports`: what it tells in its receipts and returns."""

    name = "letterfile"
    medium = Medium.MAIL
    batch_size = _BATCH
    rate: float | None = None
    resend: Literal["safe", "never"] = "never"
    reports = frozenset({EventKind.ACCEPTED, EventKind.FAILED, EventKind.RETURNED})

    def __init__(self, options: Options, site: Site, place: Place) -> None:
        self.options = options
        self._clock = site.clock
        self._secret = site.secret
        self._place = place
        self._ledger = Ledger(site.folder / "letterfile" / options.house, site.clock)
        self._left_out: Mapping[str, int] = {}
        self._unchanged: Callable[[], bool] = lambda: True

    # ---- cut-offs

    def closes(self, at: datetime) -> datetime:
        """The next cut-off, `at` itself included."""
        return cutoff.closes(self.options, at)

    def left_out(self, counts: Mapping[str, int]) -> None:
        """Of what comes next, so many were decided not to be sent: for the house's and the auditor's sums."""
        self._left_out = dict(counts)

    def recheck(self, unchanged: Callable[[], bool]) -> None:
        """Setting and uploading ten thousand letters takes minutes, and a no of meanwhile holds: see `_Release`."""
        self._unchanged = unchanged

    # ---- out

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """One job of the whole batch. What is a piece of an earlier job already is not printed again."""
        left_out, self._left_out = self._left_out, {}
        if not batch:
            return
        try:
            self._ledger.open()
            known = self._ledger.of(o.attempt for o in batch)
        except OSError as error:
            raise Misconfigured(f"the ledger of letters cannot be used ({error.strerror})") from None
        pieces: list[Piece] = []
        refused: Counter[str] = Counter()
        for outbound in batch:
            try:
                one = piece(outbound, self.options, self._secret)
            except Unfit as unfit:
                refused[unfit.detail] += 1
                yield _rejected(outbound.attempt, unfit)
                continue
            earlier = known.get(one.id)
            if earlier is not None:
                yield self._again(one, earlier)
            else:
                pieces.append(one)
        if pieces:
            yield from self._drop(pieces, left_out, refused)

    def _again(self, one: Piece, earlier: Entry) -> Receipt:
        """A piece of an earlier job: done already, if it is the same letter."""
        same = earlier.pieces[one.id][1] == row_hash(one)
        if earlier.released and same:
            return Receipt(one.id, "accepted", f"{earlier.job}/{one.id}")
        # Printed perhaps, and perhaps with other words: nobody prints it again before somebody has looked.
        note = "was handed over again" + ("" if same else " with other words")
        if note not in earlier.notes:
            earlier.notes.append(note)
            self._ledger.write(earlier)
        return Receipt(one.id, "uncertain", reason=Reason.CONFIGURATION, detail="no_answer")

    def _drop(self, pieces: Sequence[Piece], left_out: Mapping[str, int], refused: Counter[str]) -> Iterator[Receipt]:
        now = self._clock()
        closed = cutoff.closed(self.options, now)
        job = job_id(self.options.house, closed, (one.id for one in pieces))
        own = self._seeds(pieces, job)
        press = paper.Press(self.options, closed)
        files = Files(
            job,
            closed,
            self.options,
            in_order([*pieces, *own]),
            left_out,
            press.pdf if self.options.pdf else None,
            press.proofs if self.options.proofs else None,
        )
        entry = Entry(job, self.options.house, closed, now, seeds=[one.id for one in own])
        entry.pieces = {one.id: (one.return_code, row_hash(one)) for one in files.pieces}
        self._write(entry)
        released = _Release(self, entry, files, refused)
        try:
            with released:
                self._place.put(job, files, released)
        except _Nothing:
            self._forget_entry(entry)
        except (Unavailable, Misconfigured):
            self._forget_entry(entry)
            raise
        except OSError as error:
            if released.sealed:
                raise Uncertain(f"a job was being released when the folder failed ({error.strerror})") from None
            self._forget_entry(entry)
            raise Unavailable(f"the job could not be written ({error.strerror})") from None
        for one in pieces:
            unfit = files.unfit.get(one.id)
            yield _rejected(one.id, unfit) if unfit else Receipt(one.id, "accepted", f"{job}/{one.id}")

    def _seeds(self, pieces: Sequence[Piece], job: str) -> list[Piece]:
        try:
            return seeds(pieces, self.options, self._secret, job)
        except Unfit as unfit:
            raise Misconfigured(f"letterfile cannot write to one of its `seeds`: {unfit.detail}") from None

    def _write(self, entry: Entry) -> None:
        try:
            self._ledger.write(entry)
        except OSError as error:
            raise Misconfigured(f"the ledger of letters cannot be written ({error.strerror})") from None

    def _forget_entry(self, entry: Entry) -> None:
        (self._ledger.folder / f"{entry.job}.json").unlink(missing_ok=True)

    # ---- what became of them

    def trace(self, handed: Sequence[Handed]) -> Iterator[Receipt]:
        """Looks for pieces whose worker died: in a job that was released, or in none, and then in none ever."""
        with self._ledger.lock():
            born = self._ledger.open()
            known = self._ledger.of(h.attempt for h in handed)
            stands: dict[str, bool | None] = {}
            never: list[str] = []
            lost: dict[str, Entry] = {}
            for one in handed:
                entry = known.get(one.attempt)
                if entry is None:
                    # A ledger made since says nothing about what was handed over before.
                    if born <= one.at:
                        never.append(one.attempt)
                    continue
                if not entry.released and entry.job not in stands:
                    stands[entry.job] = self._place.stands(entry.job)
                    if stands[entry.job]:
                        entry.state, entry.dropped_at = DROPPED, self._clock()
                        self._ledger.write(entry)
                if entry.released:
                    yield Receipt(one.attempt, "accepted", f"{entry.job}/{one.attempt}")
                elif stands.get(entry.job) is False or entry.state != SEALED:
                    never.append(one.attempt)
                    lost[entry.job] = entry
            self._ledger.void(never)
            for entry in lost.values():  # it never was a job, and never will be
                self._ledger.void(entry.pieces)
                self._forget_entry(entry)
        for attempt in never:
            yield Receipt(attempt, "rejected", detail="never_taken")

    # ---- back

    def left(self) -> Iterator[Inbound]:
        """The files that the house left for us, as `events` takes them: what was read from its place is trusted."""
        for file in self._place.left():
            yield self.inbound(file.name, file.body)

    def inbound(self, name: str, body: bytes) -> Inbound:
        """A file of the house, signed to ourselves."""
        return Inbound(body, {_NAME: name, _SIGNATURE: self._signature(name, body)})

    def events(self, inbound: Inbound) -> list[Event]:
        """Of a file of the house that this channel read itself; raises Forged for any other."""
        return self._report(inbound).events

    def taken(self, inbound: Inbound) -> int:
        """The events of this file are stored: note what its job is now, and put it aside. How many rows of it could
        not be read; they are kept beside it, with the reason."""
        report = self._report(inbound)
        with self._ledger.lock():
            for job, state in report.states.items():
                self._become(job, state, report.notes.get(job, ""))
        self._place.done(inbound.headers[_NAME], report.file())
        return len(report.refused)

    def _report(self, inbound: Inbound) -> returns.Report:
        name, given = inbound.headers.get(_NAME, ""), inbound.headers.get(_SIGNATURE, "")
        wanted = self._signature(name, inbound.body)
        if not name or not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
            raise Forged("no file of the house that was read here")
        return returns.read(inbound.body, self._ledger.all(), self._clock(), self.options.zone)

    def _signature(self, name: str, body: bytes) -> str:
        return hmac.digest(self._secret, b"file\0" + name.encode("utf-8", "replace") + b"\0" + body, "sha256").hex()

    def _become(self, job: str, state: str, note: str = "") -> None:
        """A job's state, forwards only."""
        entry = self._ledger.read(job)
        if entry is None:
            return
        if note and note not in entry.notes:
            entry.notes.append(note)
        if entry.state not in LATER or LATER.index(state) > LATER.index(entry.state):
            entry.state = state
        self._ledger.write(entry)

    # ---- jobs

    def jobs(self) -> list[Job]:
        """Every job there is, the oldest first."""
        return [
            Job(
                e.job,
                e.house,
                e.cutoff,
                e.dropped_at,
                e.state,
                len(e.pieces),
                e.manifest,
                e.updated_at or e.begun_at,
                e.refused,
                tuple(e.notes),
            )
            for e in self._ledger.all()
        ]

    def approve(self, job: str, by: str) -> None:
        """Tell the house that the proofs of a job are good. Raises Misconfigured for a job that cannot be approved."""
        with self._ledger.lock():
            entry = self._ledger.read(job)
            if entry is None or not entry.released:
                raise Misconfigured(f"there is no job {job} at the house")
            if entry.state in LATER[1:]:
                raise Misconfigured(f"{job} is {entry.state} already")
            said = {"job": job, "approved_by": by, "at": self._clock().isoformat(), "manifest_sha256": entry.manifest}
            if not self._place.add(job, f"{job}_approved.json", json.dumps(said).encode() + b"\n"):
                raise Misconfigured(f"{job} is not at its place any more; tell the house otherwise")
            self._become(job, "approved")

    def forget(self, mine: Callable[[str], bool]) -> int:
        """Remove letters and rows from jobs that still lie where we can reach them, and from lists of returns."""
        return self._place.forget(mine, self._ledger.all())


class _Nothing(Exception):
    """None of a job's letters can be made."""


class _Release:
    """Called between a job that stands complete under a temporary name and its renaming: the point of no return."""

    def __init__(self, channel: Letterfile, entry: Entry, files: Files, refused: Counter[str]) -> None:
        self._channel = channel
        self._entry = entry
        self._files = files
        self._refused = refused
        self._lock: Callable[[], object] | None = None
        self.sealed = False

    def __enter__(self) -> None:
        return None

    def __call__(self) -> None:
        ledger, entry = self._channel._ledger, self._entry
        self._look()
        lock = ledger.lock()
        lock.__enter__()
        self._lock = lambda: lock.__exit__(None, None, None)
        if not any(not one.seed for one in self._files.kept):
            raise _Nothing
        if ledger.voided() & entry.pieces.keys():
            # Somebody was told meanwhile that they were never taken, and may have them sent again.
            raise Unavailable("the job was given up as lost while it was being written")
        for one in self._files.unfit:
            entry.pieces.pop(one, None)
        self._refused.update(unfit.detail for unfit in self._files.unfit.values())
        entry.refused = dict(self._refused)
        entry.records, entry.manifest, entry.state = self._files.records, self._files.manifest, SEALED
        ledger.write(entry)
        self.sealed = True

    def _look(self) -> None:
        """The last one: all that takes time is done. The job is made anew, without whom it must do without."""
        try:
            unchanged = self._channel._unchanged()
        except Exception:
            raise Unavailable("the database did not answer when the job was to be released") from None
        if not unchanged:
            raise Unavailable("somebody's letter was stopped while the job was being made: it is made anew", 1.0)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._entry.state, self._entry.dropped_at = DROPPED, self._channel._clock()
                self._channel._ledger.write(self._entry)
        finally:
            if self._lock is not None:
                self._lock()


def _rejected(attempt: str, unfit: Unfit) -> Receipt:
    return Receipt(attempt, "rejected", reason=unfit.reason, detail=unfit.detail)
