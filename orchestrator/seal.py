"""Rows of the ledgers become leaves of the tree, and the tree's head is signed. Safe to repeat, to kill, to run twice.

Appending is cheap because nobody seals while appending: `seal` comes after, at the end of a tick and by itself, and
takes all that is new in chunks. A row becomes a leaf once every row before it is committed; a chunk is a transaction of
its own, so a sealer that dies leaves leaves without a checkpoint, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from orchestrator.apply import in_force
from orchestrator.leaf import LEDGERS
from orchestrator.merkle import Checkpoint, Frontier, Refused, leaf_hashes, verifier
from orchestrator.problems import ProjectError
from orchestrator.store import tree
from orchestrator.store.database import Store, StoreUnavailable, uncollected
from orchestrator.store.keys import Keys

CHUNK = 10_000
"""Leaves a transaction."""


class SealBroken(Exception):
    """The newest checkpoint is not one that this log signed: nothing more is signed on top of it."""


@dataclass(frozen=True, slots=True)
class SealReport:
    """`sealed` leaves were added, to `size`; `waiting` rows are left, the oldest for `lag` seconds.

    `held_up`: why nothing was sealed, for an operator; empty when all went well.
    """

    sealed: int
    size: int
    waiting: int
    lag: float
    held_up: str = ""


def seal(
    store: Store, keys: Keys, *, now: datetime, chunk: int = CHUNK, stop: Callable[[], bool] = lambda: False
) -> SealReport:
    """Seal what is new in the ledgers and sign one checkpoint over it; `stop` is asked after each chunk, not before
    one is full: even a tick without any time left seals something.

    Any number may run at once: one of them wins each chunk. Where a ledger's writers hold it for longer than some
    seconds, nothing is sealed this time. Raises SealBroken, and what the store raises.
    """
    with store.read() as conn:
        done, head = tree.sealed(conn), tree.newest(conn)
        above = tree.highest(conn)
        name = tree.origin(conn)
    if all(above[n] <= done.below[n] for n in LEDGERS) and done.size == (head.size if head else 0):
        return SealReport(0, done.size, 0, 0.0)
    name = name or _named(store, keys)
    _trusted(head, name, keys)
    held_up = ""
    try:
        tops = _settled(store)
    except StoreUnavailable as error:
        tops, held_up = {}, f"nothing was sealed this time: {error}"
    work = _Work(store, chunk, stop)
    with uncollected():
        for ledger in LEDGERS if tops else ():
            work.take(ledger, tops[ledger])
            if work.over():
                break
        _sign(store, keys, name, now, work.edge)
    with store.read() as conn:
        done = tree.sealed(conn)
        left = tree.waiting(conn, done.below)
    return SealReport(work.sealed, done.size, left.rows, left.lag(now), held_up)


def _settled(store: Store) -> dict[str, int]:
    """Up to where each ledger can be sealed, each asked in a transaction of its own so that nobody waits in a circle.

    The log is asked first: what its lines rely on was committed before them, so it is within what the others say, and
    (since the others are sealed first) has the smaller index.
    """
    found = {}
    for ledger in reversed(LEDGERS):
        with store.write() as conn:
            found[ledger] = tree.settled(conn, ledger)
    return found


class _Work:
    """Leaves being added. `edge`: the tree's right edge after them; None until the first, and when another sealer came
    between, for then it has to be read."""

    def __init__(self, store: Store, chunk: int, stop: Callable[[], bool]) -> None:
        self.store, self.chunk, self.stop = store, chunk, stop
        self.sealed = 0
        self.edge: Frontier | None = None

    def over(self) -> bool:
        return self.sealed >= self.chunk and self.stop()

    def take(self, ledger: str, upto: int) -> None:
        """All rows of a ledger up to this one, in chunks."""
        while not self.over():
            with self.store.read() as conn:
                done = tree.sealed(conn)
                ids, leaves = tree.rows_after(conn, ledger, done.below[ledger], upto, self.chunk)
                if ids and (self.edge is None or self.edge.size != done.size):
                    self.edge = tree.frontier_now(conn, tree.newest(conn))
            if not ids:
                return
            hashes = leaf_hashes(leaves)
            with self.store.write() as conn:
                added = tree.add_leaves(conn, done.size, ledger, ids, hashes)
            if added and self.edge is not None:
                self.sealed += len(ids)
                self.edge.extend(hashes)


def _sign(store: Store, keys: Keys, name: str, now: datetime, edge: Frontier | None) -> None:
    with store.read() as conn:
        head, done = tree.newest(conn), tree.sealed(conn)
        if done.size == (head.size if head else 0):
            return
        if edge is None or edge.size != done.size:
            edge = tree.frontier_now(conn, head)
    _trusted(head, name, keys)
    note = Checkpoint(name, edge.size, edge.root()).signed(keys.sign)
    with store.write() as conn:
        tree.add_head(conn, tree.Head(edge.size, now, edge.root(), note, edge.dump(), done.below))


def _trusted(head: tree.Head | None, name: str, keys: Keys) -> None:
    """A log never signs on top of what it did not sign itself."""
    if head is None:
        return
    try:
        said = Checkpoint.open(head.note, verifier(name, keys.sign))
        edge = Frontier.load(head.size, head.frontier)
    except (Refused, ValueError) as error:
        raise SealBroken(_BROKEN.format(size=head.size, why=error)) from None
    if (said.size, said.root) != (head.size, head.root) or edge.root() != head.root:
        raise SealBroken(_BROKEN.format(size=head.size, why="its columns do not say what was signed"))


_BROKEN = (
    "the checkpoint of size {size} was changed ({why}); nothing more is sealed on top of it. "
    "`orchestrator audit verify` says what is wrong with the log"
)


def _named(store: Store, keys: Keys) -> str:
    """The log's name, given to it now."""
    with store.read() as conn:
        try:
            force = in_force(conn)
        except (ProjectError, KeyError):  # a name is not worth a seal
            force = None
    with store.write() as conn:
        return tree.name_log(conn, keys, force.project.vocabulary.workspace if force else "")
