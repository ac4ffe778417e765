"""Rows of the ledgers become leaves of the tree, and the tree's head is signed. Safe to repeat, to kill, to run twice.

Appending is cheap because nobody seals while appending: `seal` comes after, at the end of a tick and by itself, and
takes all that is new in chunks. A row becomes a leaf once every row before it is committed; a chunk is a transaction of
its own, so a sealer that dies leaves leaves without a checkpoint, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat

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
    try:
        tops = _settled(store)
    except StoreUnavailable as error:
        tops, held_up = dict.fromkeys(LEDGERS, 0), f"nothing was sealed this time: {error}"
    else:
        held_up = ""
    sealed, edge, over = 0, None, False
    with uncollected():
        while not over:
            step = _next(store, tops, chunk, edge)
            edge, over = step.edge, step.last or (sealed + len(step.rows) >= chunk and stop())
            if not _added(store, step, keys if over else None, name, now):
                edge, over = None, False  # another sealer came between: look again
                continue
            sealed += len(step.rows)
    with store.read() as conn:
        done = tree.sealed(conn)
        left = tree.waiting(conn, done.below)
    return SealReport(sealed, done.size, left.rows, left.lag(now), held_up)


def _settled(store: Store) -> dict[str, int]:
    """Up to where each ledger can be sealed, each asked in a transaction of its own so that nobody waits in a circle.

    The log is asked first: what its lines rely on was committed before them, so it is within what the others say, and
    (since the others are sealed first) has the smaller index.
    """
    if store.dialect == "sqlite":  # one writer: ids are in the order of commits
        with store.read() as conn:
            return tree.highest(conn)
    found = {}
    for ledger in reversed(LEDGERS):
        with store.write() as conn:
            found[ledger] = tree.settled(conn, ledger)
    return found


@dataclass(frozen=True, slots=True)
class _Step:
    """Leaves to be added in one transaction. `edge`: the tree's right edge after them; `last`: nothing is left then."""

    done: tree.Sealed
    head: tree.Head | None
    rows: list[tuple[str, int, bytes]]
    edge: Frontier
    last: bool


def _next(store: Store, tops: Mapping[str, int], chunk: int, edge: Frontier | None) -> _Step:
    rows: list[tuple[str, int, bytes]] = []
    with store.read() as conn:
        done, head = tree.sealed(conn), tree.newest(conn)
        for ledger in LEDGERS:
            room = chunk - len(rows)
            if room and tops[ledger] > done.below[ledger]:
                ids, leaves = tree.rows_after(conn, ledger, done.below[ledger], tops[ledger], room)
                rows += zip(repeat(ledger), ids, leaf_hashes(leaves), strict=False)
        if edge is None or edge.size != done.size:
            try:
                edge = tree.frontier_now(conn, head)
            except ValueError as error:
                raise SealBroken(_BROKEN.format(size=head.size if head else 0, why=error)) from None
    edge.extend(row[2] for row in rows)
    return _Step(done, head, rows, edge, len(rows) < chunk)


def _added(store: Store, step: _Step, keys: Keys | None, name: str, now: datetime) -> bool:
    """Leaves, and with `keys` the checkpoint over all there are, in one transaction; False when the tree has moved."""
    edge, head = step.edge, step.head
    note = ""
    if keys is not None:
        _trusted(head, name, keys)
        note = Checkpoint(name, edge.size, edge.root()).signed(keys.sign)
    if not step.rows and (keys is None or edge.size == (head.size if head else 0)):
        return True
    below = dict(step.done.below) | {ledger: i for ledger, i, _ in step.rows}
    with store.write() as conn:
        if not tree.add_leaves(conn, step.done.size, step.rows):
            return False
        if keys is not None:
            tree.add_head(conn, tree.Head(edge.size, now, edge.root(), note, edge.dump(), below))
    return True


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
