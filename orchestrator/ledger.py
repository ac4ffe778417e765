"""Points as lots: what of each is left, what expires when, what is owed. Arithmetic over a unit's entries, and pure.

What was earned is a lot. It can be spent from `active_at` on, until the local midnight that ends `expires_on`. What
takes points away takes them from the lot that expires first. A reversal takes from the lot that it undoes; what of it
had expired is not taken a second time, what of it was spent is taken from other lots, and where there are none it is
owed: the balance is below nought, and what becomes active next fills it first.

Everything happens in the order of its own time, not of its writing: earned before taken at one instant, and what
expires at midnight is gone before what happens then. So an event that came late finds its place, and what had expired
meanwhile is corrected. For the same entries the outcome is the same, in whatever number of looks they came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from heapq import heappop, heappush
from typing import NamedTuple

_ADDS = frozenset({"earn", "award"})
_TAKES = frozenset({"deduct", "spend"})
_NEVER = datetime.max.replace(tzinfo=UTC)


class Entry(NamedTuple):
    """One line of the ledger; `points` signed. `of_id`: the lot that an `expire` or a `reverse` is about; of a
    `reverse` with positive points, the `expire` that it undoes."""

    id: int
    kind: str
    points: int
    at: datetime
    active_at: datetime
    expires_on: date | None = None
    of_id: int | None = None


class Correction(NamedTuple):
    """What has to be written so that the entries say what has expired: `points` of a lot (negative: that many too many
    were written), at that instant. `number`: how many entries about this lot's expiry there are already; `undoes`: the
    last `expire` of it."""

    lot_id: int
    points: int
    at: datetime
    expires_on: date | None
    number: int
    undoes: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A unit's points. `balance` can be spent, and is negative where something is owed; `pending` cannot yet; `earned`
    in all, net of what was taken back; `expiring`: how many go next, at the end of `expire_on`. `due_at`: when the
    clock alone changes something next. With `corrections` written, the entries add up to `balance` + `pending`."""

    balance: int = 0
    pending: int = 0
    earned: int = 0
    expiring: int = 0
    expire_on: date | None = None
    due_at: datetime | None = None
    corrections: tuple[Correction, ...] = ()


@dataclass(slots=True)
class _Lot:
    entry: Entry
    end: datetime
    left: int
    expired: int = 0
    active: bool = False


@dataclass(slots=True)
class _Written:
    """What the entries say of a lot's expiry."""

    points: int = 0
    since: datetime = _NEVER
    number: int = 0
    last: int | None = None


@dataclass(slots=True)
class _Book:
    lots: dict[int, _Lot]
    queue: list[tuple[datetime, datetime, int]] = field(default_factory=list)
    owed: int = 0

    def begin(self, lot: _Lot) -> None:
        """It can be spent from now on; what is owed is filled first."""
        lot.active = True
        filled = min(self.owed, lot.left)
        self.owed -= filled
        lot.left -= filled
        if lot.left:
            heappush(self.queue, (lot.end, lot.entry.at, lot.entry.id))

    def take(self, points: int) -> None:
        """From what expires first; what is not there is owed."""
        while points and self.queue:
            lot = self.lots[self.queue[0][2]]
            taken = min(points, lot.left)
            lot.left -= taken
            points -= taken
            if not lot.left:
                heappop(self.queue)
        self.owed += points

    def expire(self, lot: _Lot) -> None:
        lot.expired, lot.left = lot.left, 0

    def reverse(self, lot: _Lot, points: int) -> None:
        unspent = min(points, lot.left)
        lot.left -= unspent
        gone = min(points - unspent, lot.expired)
        lot.expired -= gone
        self.take(points - unspent - gone)


_EXPIRES, _BEGINS, _TAKEN = range(3)


def settle(entries: Sequence[Entry], now: datetime, ends: Callable[[date], datetime]) -> Standing:
    """How the points stand at `now`, or at the latest entry if that is later: a clock that is behind another's must
    not forget what was spent. `ends`: the instant at which a day of the unit's own is over.

    A lot whose expiry was written keeps that instant, whatever zone its unit has moved to since.
    """
    written = _written(entries)
    lots = {e.id: _Lot(e, _end(e, written, ends), e.points) for e in entries if e.kind in _ADDS}
    book = _Book(lots)
    until = max([now, *(e.at for e in entries)])
    for _, what, of in sorted(_timeline(entries, lots, until)):
        if what == _EXPIRES:
            book.expire(lots[of.id])
        elif what == _BEGINS:
            book.begin(lots[of.id])
        elif of.kind == "reverse":
            undone = lots.get(of.of_id or 0)
            if undone is None:
                book.take(-of.points)
            else:
                book.reverse(undone, -of.points)
        else:
            book.take(-of.points)
    return _standing(book, entries, written)


def _written(entries: Iterable[Entry]) -> dict[int, _Written]:
    """By lot; and by the `expire` entries' own ids, so that what undoes one finds its lot."""
    found: dict[int, _Written] = defaultdict(_Written)
    of: dict[int, _Written] = {}
    for e in entries:
        if e.kind == "expire" and e.of_id is not None:
            told = of[e.id] = found[e.of_id]
            told.points -= e.points
            told.since, told.last = min(told.since, e.at), e.id
            told.number += 1
    for e in entries:
        if e.kind == "reverse" and e.of_id in of:
            of[e.of_id].points -= e.points
            of[e.of_id].number += 1
    return found | of


def _end(entry: Entry, written: dict[int, _Written], ends: Callable[[date], datetime]) -> datetime:
    if (told := written.get(entry.id)) is not None:
        return told.since
    return _NEVER if entry.expires_on is None else ends(entry.expires_on)


def _timeline(
    entries: Iterable[Entry], lots: dict[int, _Lot], until: datetime
) -> Iterable[tuple[datetime, int, Entry]]:
    for e in entries:
        lot = lots.get(e.id)
        if lot is not None:
            begins = max(e.at, e.active_at)
            if begins <= until and begins < lot.end:
                yield begins, _BEGINS, e
            if lot.end <= until:
                yield lot.end, _EXPIRES, e
        elif e.kind in _TAKES or (e.kind == "reverse" and e.points < 0):
            yield e.at, _TAKEN, e


def _standing(book: _Book, entries: Iterable[Entry], written: dict[int, _Written]) -> Standing:
    balance, pending, due = -book.owed, 0, _NEVER
    expiring: dict[date, int] = defaultdict(int)
    corrections = []
    for lot in book.lots.values():
        told = written.get(lot.entry.id, _Written())
        if lot.expired != told.points:
            corrections.append(
                Correction(
                    lot.entry.id, lot.expired - told.points, lot.end, lot.entry.expires_on, told.number, told.last
                )
            )
        if not lot.left:
            continue
        due = min(due, lot.end)
        if lot.active:
            balance += lot.left
        else:
            pending += lot.left
            due = min(due, max(lot.entry.at, lot.entry.active_at))
        if lot.entry.expires_on is not None:
            expiring[lot.entry.expires_on] += lot.left
    back = sum(e.points for e in entries if e.kind == "reverse" and e.points < 0)
    first = min(expiring, default=None)
    return Standing(
        balance=balance,
        pending=pending,
        earned=sum(lot.entry.points for lot in book.lots.values()) + back,
        expiring=expiring[first] if first is not None else 0,
        expire_on=first,
        due_at=None if due == _NEVER else due,
        corrections=tuple(corrections),
    )
