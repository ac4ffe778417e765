"""A draw that anybody can check: the seed is committed to before entries close, and revealed after.

Pure: `docs/reference/draws.md` says the same in words, with an example worked out, so that it can be checked by a
program that is not ours. Everything is SHA-256 (FIPS 180-4) and HMAC (RFC 2104).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SEED = 32
"""Bytes of a seed."""
_WORD = 8
_WORDS = 1 << (8 * _WORD)


class Entry(NamedTuple):
    """One ticket as it is published: its number, the hash of what it was given for, and whose it is, as a hash."""

    number: int
    ticket: str
    entrant: str

    @property
    def line(self) -> str:
        return f"{self.number},{self.ticket},{self.entrant}\n"


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of a draw: the first two before it, the last two after."""

    name: str
    commitment: str
    entries: str = ""
    seed: bytes | None = None
    winners: tuple[int, ...] = ()


def commitment(seed: bytes) -> str:
    """SHA-256 of the seed, hexadecimal: published when entries open."""
    return hashlib.sha256(seed).hexdigest()


def entry(draw: str, number: int, key: str, unit: str, unit_id: int) -> Entry:
    """A ticket without anything that names anybody. `key`: what it was given for, unique; `unit_id`: our own number."""
    entrant = hashlib.sha256(f"{draw} {unit} {unit_id}".encode()).hexdigest()
    return Entry(number, hashlib.sha256(key.encode()).hexdigest(), entrant)


def listed(entries: Iterable[Entry]) -> str:
    """The list of entries as it is published: a line each, by number."""
    return "".join(one.line for one in entries)


def digest(entries: Iterable[Entry]) -> str:
    """SHA-256 of that list, hexadecimal: what is drawn from is fixed by it."""
    found = hashlib.sha256()
    for one in entries:
        found.update(one.line.encode())
    return found.hexdigest()


def order(seed: bytes, entries: str, size: int) -> Iterator[int]:
    """All ticket numbers below `size` in the order in which they are drawn; `entries` is the list's digest.

    The n-th word is the first eight bytes, read as a big-endian number, of HMAC-SHA256(seed, digest ‖ n), n in eight
    bytes from 0 on. Of k tickets left the (word mod k)-th is drawn, words at and above the largest multiple of k
    passed over so that each ticket is as likely as any other; the last ticket left takes the place of the drawn one.
    """
    fixed, counter = bytes.fromhex(entries), 0
    moved: dict[int, int] = {}
    for left in range(size, 0, -1):
        bound = _WORDS - _WORDS % left
        while True:
            message = fixed + counter.to_bytes(8, "big")
            word = int.from_bytes(hmac.digest(seed, message, "sha256")[:_WORD], "big")
            counter += 1
            if word < bound:
                break
        place, last = word % left, left - 1
        drawn = moved.get(place, place)
        moved[place] = moved.pop(last, last)
        yield drawn


def winners(seed: bytes, entries: Sequence[Entry], count: int, *, after: int = 0) -> tuple[int, ...]:
    """The numbers of the tickets that win, in order: the first of each entrant, `count` of them or as many as there
    are. `after`: those behind so many winners, who are next should somebody not take the prize."""
    found: list[int] = []
    seen: set[str] = set()
    if count <= 0:
        return ()
    for number in order(seed, digest(entries), len(entries)):
        if entries[number].entrant in seen:
            continue
        seen.add(entries[number].entrant)
        found.append(number)
        if len(found) == after + count:
            break
    return tuple(found[after:])


def problems(published: Published, entries: Sequence[Entry]) -> tuple[str, ...]:
    """What does not fit together in a draw that was drawn; nothing when it was fair by its own rules."""
    found = []
    if published.seed is None or not published.entries:
        return ("it has not been drawn",)
    if not hmac.compare_digest(commitment(published.seed), published.commitment):
        found.append("the seed is not the one that was committed to")
    if [one.number for one in entries] != list(range(len(entries))):
        found.append("the tickets' numbers are not 0, 1, 2 and so on")
        return tuple(found)
    if digest(entries) != published.entries:
        found.append("the list of entries is not the one that was drawn from")
    if winners(published.seed, entries, len(published.winners)) != published.winners:
        found.append("other tickets win with this seed and these entries")
    return tuple(found)
