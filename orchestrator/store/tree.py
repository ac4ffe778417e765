"""The log's tree in the database: ledgers read as leaves, leaves and checkpoints appended, and read back to be checked.

Leaves are without gaps and in one order for ever; the rows behind them are not (ids may gap, four ledgers interleave).
Who wants to know more than is sealed asks the ledgers; who wants to prove something asks here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from orchestrator.leaf import COLUMNS, LEDGERS, WHEN, encoded
from orchestrator.merkle import Frontier, verifier
from orchestrator.store.database import insert_many
from orchestrator.store.keys import Keys
from orchestrator.store.log import person_keys
from orchestrator.store.people import take_turns
from orchestrator.store.tables import APPEND_ONLY, applied, checkpoint, leaf, log_detail, metadata, setting
from orchestrator.store.vault import Damaged, record_key, unseal
from orchestrator.store.versions import documents

TURN_SECONDS = 5
"""How long a ledger's writers are waited for; then sealing is left to the next time."""
_entry = leaf.c["index"]


@dataclass(frozen=True, slots=True)
class Sealed:
    """How far the tree reaches: `size` leaves, and of each ledger every row up to `below`."""

    size: int
    below: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that are not sealed yet, and since when the oldest of them waits."""

    rows: int
    since: datetime | None

    def lag(self, now: datetime) -> float:
        """Seconds; 0 where nothing waits, or where what waits was written ahead of the clock."""
        return 0.0 if self.since is None else max(0.0, (now - self.since).total_seconds())


class Head(NamedTuple):
    """A stored checkpoint."""

    size: int
    at: datetime
    root: bytes
    note: str
    frontier: bytes
    below: Mapping[str, int]


# ---- names ----------------------------------------------------------------------------------------------------------


def origin(conn: sa.Connection) -> str | None:
    """What this log is called in its checkpoints; None before the first seal."""
    return conn.execute(sa.select(setting.c.value).where(setting.c.name == "origin")).scalar_one_or_none()


def name_log(conn: sa.Connection, keys: Keys, workspace: str) -> str:
    """Give the log its name for good: the workspace's, and enough of the key to tell two of one name apart."""
    called = re.sub(r"[^a-z0-9]+", "-", workspace.casefold()).strip("-") or "log"
    mark = verifier("origin", keys.sign).public[:4].hex()
    insert_many(conn, setting, [{"name": "origin", "value": f"orchestrator/{called}/{mark}"}], ignore_conflicts=True)
    return origin(conn) or ""


# ---- how far --------------------------------------------------------------------------------------------------------


def sealed(conn: sa.Connection) -> Sealed:
    """How far the tree reaches now, leaves without a checkpoint over them counted."""
    size = conn.execute(sa.select(sa.func.max(_entry))).scalar_one()
    tops = [
        sa.select(sa.func.max(leaf.c.row_id)).where(leaf.c.ledger == ledger).scalar_subquery() for ledger in LEDGERS
    ]
    row = conn.execute(sa.select(*tops)).one()
    return Sealed(0 if size is None else size + 1, {n: top or 0 for n, top in zip(LEDGERS, row, strict=True)})


def highest(conn: sa.Connection) -> dict[str, int]:
    """The highest row id of each ledger, as far as can be seen."""
    tops = [sa.select(sa.func.max(_table(ledger).c.id)).scalar_subquery() for ledger in LEDGERS]
    row = conn.execute(sa.select(*tops)).one()
    return {name: top or 0 for name, top in zip(LEDGERS, row, strict=True)}


def settled(conn: sa.Connection, ledger: str) -> int:
    """The highest row id of a ledger up to which every row is committed or will never be.

    Waits for those who write now, and holds nobody up but for this transaction: end it at once. Raises
    StoreUnavailable (the caller's transaction) when they take longer than TURN_SECONDS.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text(f"SET LOCAL lock_timeout = '{TURN_SECONDS}s'"))
    take_turns(conn, ledger)
    return conn.execute(sa.select(sa.func.max(_table(ledger).c.id))).scalar_one() or 0


def waiting(conn: sa.Connection, below: Mapping[str, int]) -> Waiting:
    """What stands in the ledgers above what is sealed."""
    count, oldest = 0, []
    for ledger in LEDGERS:
        table = _table(ledger)
        later = table.c.id > below.get(ledger, 0)
        first = sa.select(table.c[WHEN[ledger]]).where(later).order_by(table.c.id).limit(1)
        found = conn.execute(first).scalar_one_or_none()
        if found is not None:
            oldest.append(found)
            count += conn.execute(sa.select(sa.func.count()).select_from(table).where(later)).scalar_one()
    return Waiting(count, min(oldest, default=None))


# ---- rows as leaves -------------------------------------------------------------------------------------------------


def rows_after(conn: sa.Connection, ledger: str, after: int, upto: int, limit: int) -> tuple[list[int], list[bytes]]:
    """(ids, leaves' bytes) of the next rows of a ledger, by id."""
    table = _table(ledger)
    rows = conn.execute(
        sa.select(*_columns(ledger)).where(table.c.id > after, table.c.id <= upto).order_by(table.c.id).limit(limit)
    ).all()
    return [row[0] for row in rows], encoded(ledger, rows)


def of_rows(conn: sa.Connection, ledger: str, ids: Iterable[int]) -> dict[int, bytes]:
    """The leaves' bytes of these rows, by id; a row that is not there is left out."""
    wanted = sorted(set(ids))
    table = _table(ledger)
    rows: list[Any] = []
    for start in range(0, len(wanted), 500):  # few: findings, a message's lines
        part = wanted[start : start + 500]
        rows += conn.execute(sa.select(*_columns(ledger)).where(table.c.id.in_(part)).order_by(table.c.id))
    return dict(zip((row[0] for row in rows), encoded(ledger, rows), strict=True))


def add_leaves(conn: sa.Connection, at: int, rows: Sequence[tuple[str, int, bytes]]) -> bool:
    """Append leaves (ledger, row id, hash) at index `at`; False, and nothing done, when the tree has another size."""
    take_turns(conn, "seal")
    top = conn.execute(sa.select(sa.func.max(_entry))).scalar_one()
    if (0 if top is None else top + 1) != at:
        return False
    insert_many(
        conn, leaf, [(n, *row) for n, row in enumerate(rows, at)], columns=("index", "ledger", "row_id", "hash")
    )
    return True


def hashes(conn: sa.Connection, start: int, stop: int) -> Iterator[bytes]:
    """Leaf hashes by index, from `start` up to and without `stop`."""
    chunk = 20_000
    for first in range(start, stop, chunk):
        last = min(stop, first + chunk)
        query = sa.select(leaf.c.hash).where(_entry >= first, _entry < last).order_by(_entry)
        yield from conn.execute(query).scalars()


def next_leaf(conn: sa.Connection, start: int) -> int | None:
    """The first index from `start` on that a leaf has: after a gap, which somebody may have made of any width."""
    found: int | None = conn.execute(sa.select(sa.func.min(_entry)).where(_entry >= start)).scalar_one()
    return found


class Stored(NamedTuple):
    """A leaf as it is stored, and the bytes of the row it is of; None where there is no such row."""

    entry: int
    row_id: int
    hash: bytes
    data: bytes | None


def stored(conn: sa.Connection, ledger: str, start: int, stop: int) -> list[Stored]:
    """The leaves of one ledger with an index from `start` up to and without `stop`, each with its row as it is now."""
    table = _table(ledger)
    columns = _columns(ledger)
    rows = conn.execute(
        sa.select(_entry, leaf.c.row_id, leaf.c.hash, *columns)
        .select_from(leaf)
        .outerjoin(table, table.c.id == leaf.c.row_id)
        .where(_entry >= start, _entry < stop, leaf.c.ledger == ledger)
        .order_by(_entry)
    ).all()
    data: Sequence[bytes | None]
    try:
        data = encoded(ledger, [row[3:] for row in rows if row[3] is not None])
    except (TypeError, ValueError, AttributeError, KeyError):  # SQLite keeps a text where bytes or a number belong
        data = [_one(ledger, row[3:]) for row in rows if row[3] is not None]
    if len(data) < len(rows):
        each = iter(data)
        data = [None if row[3] is None else next(each) for row in rows]
    return [Stored(row[0], row[1], row[2], one) for row, one in zip(rows, data, strict=True)]


def _one(ledger: str, row: Sequence[Any]) -> bytes:
    """No bytes of any leaf, where a row has values that no leaf is made of."""
    try:
        return encoded(ledger, [row])[0]
    except (TypeError, ValueError, AttributeError, KeyError):
        return b""


def never_sealed(conn: sa.Connection, ledger: str, below: int, limit: int) -> tuple[int, list[int]]:
    """(how many, the first ids) of rows at or below the sealed mark that no leaf is of."""
    table = _table(ledger)
    alone = (
        sa.select(table.c.id)
        .select_from(table)
        .outerjoin(leaf, sa.and_(leaf.c.ledger == ledger, leaf.c.row_id == table.c.id))
        .where(table.c.id <= below, leaf.c.row_id.is_(None))
    )
    first = list(conn.execute(alone.order_by(table.c.id).limit(limit)).scalars())
    if len(first) < limit:
        return len(first), first
    return conn.execute(sa.select(sa.func.count()).select_from(alone.subquery())).scalar_one(), first


def index_of(conn: sa.Connection, ledger: str, ids: Iterable[int]) -> dict[int, int]:
    """The leaf index of each of these rows; one that is not sealed is left out."""
    query = sa.select(leaf.c.row_id, _entry).where(leaf.c.ledger == ledger, leaf.c.row_id.in_(sorted(set(ids))))
    return {row[0]: row[1] for row in conn.execute(query)}


def rows_of(conn: sa.Connection, entries: Sequence[int]) -> dict[int, tuple[str, int]]:
    """(ledger, row id) of these leaves, few of them, by index."""
    rows = conn.execute(sa.select(_entry, leaf.c.ledger, leaf.c.row_id).where(_entry.in_(list(entries))))
    return {row[0]: (row[1], row[2]) for row in rows}


def lines_of(conn: sa.Connection, message_id: int) -> list[int]:
    """The lines of the log about a message, in order."""
    log = metadata.tables["log"]
    return list(conn.execute(sa.select(log.c.id).where(log.c.message_id == message_id).order_by(log.c.id)).scalars())


def openings(conn: sa.Connection, keys: Keys, ids: Sequence[int]) -> dict[int, tuple[bytes, bytes]]:
    """Of these lines of the log, few of them: what was judged, and the key that opens this one record alone.

    A line without a detail, and one whose detail was destroyed or does not open, is left out.
    """
    c = log_detail.c
    rows = conn.execute(sa.select(c.log_id, c.customer_id, c.salt, c.body).where(c.log_id.in_(list(ids)))).all()
    known = person_keys(conn, keys, {row.customer_id for row in rows})
    found = {}
    for row in rows:
        person = known.get(row.customer_id)
        if person is not None:
            with suppress(Damaged):
                record = unseal(person, bytes(row.salt), bytes(row.body))
                found[row.log_id] = (record, record_key(person, bytes(row.salt)))
    return found


def texts_in_force(conn: sa.Connection) -> list[tuple[str, str, str | None]]:
    """(hash, path, text) of every file that was ever applied; None for a text that is not there."""
    files: dict[str, str] = {}
    for named in conn.execute(sa.select(applied.c.files).order_by(applied.c.id)).scalars():
        files |= {key: path for path, key in named.items()}
    found = documents(conn, files)
    return [(key, path, found[key].get("text") if key in found else None) for key, path in sorted(files.items())]


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def newest(conn: sa.Connection) -> Head | None:
    """The newest checkpoint."""
    row = conn.execute(sa.select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1)).one_or_none()
    return None if row is None else Head(*row)


def heads(conn: sa.Connection) -> list[Head]:
    """All checkpoints, smallest first."""
    return [Head(*row) for row in conn.execute(sa.select(checkpoint).order_by(checkpoint.c.size))]


def frontier_now(conn: sa.Connection, head: Head | None) -> Frontier:
    """The tree's right edge over every leaf there is, from a checkpoint's on. Raises ValueError for a damaged one."""
    tree = Frontier() if head is None else Frontier.load(head.size, head.frontier)
    size = sealed(conn).size
    beyond = conn.execute(sa.select(sa.func.count()).where(_entry >= tree.size)).scalar_one()
    if beyond != size - tree.size:
        raise ValueError("leaves are missing among those that no checkpoint covers yet")
    tree.extend(hashes(conn, tree.size, size))
    return tree


def add_head(conn: sa.Connection, head: Head) -> bool:
    """Append a checkpoint; False when there is one of this size or a larger one."""
    take_turns(conn, "seal")
    top = conn.execute(sa.select(sa.func.max(checkpoint.c.size))).scalar_one()
    if top is not None and top >= head.size:
        return False
    insert_many(conn, checkpoint, [head._asdict()])
    return True


# ---- guards ---------------------------------------------------------------------------------------------------------


def unguarded(conn: sa.Connection) -> list[str]:
    """Tables that would let themselves be changed: a trigger that refuses UPDATE or DELETE is gone or switched off."""
    if conn.dialect.name == "sqlite":
        there = set(conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars())
        return [n for n in APPEND_ONLY if not {f"{n}_no_update", f"{n}_no_delete"} <= there]
    there = set(
        conn.exec_driver_sql(
            "SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE t.tgname = c.relname || '_append_only' AND t.tgenabled IN ('O', 'A') "
            "AND c.relnamespace = current_schema()::regnamespace"
        ).scalars()
    )
    return [name for name in APPEND_ONLY if name not in there]


# ---- where checkpoints are kept outside -----------------------------------------------------------------------------

_ANCHOR = "anchor:"


def anchors(conn: sa.Connection) -> dict[str, str]:
    """Where checkpoints were anchored (a file, a Git remote) → the last one's note."""
    rows = conn.execute(sa.select(setting).where(setting.c.name.startswith(_ANCHOR, autoescape=True)))
    return {row.name.removeprefix(_ANCHOR): row.value for row in rows}


def remember_anchor(conn: sa.Connection, to: str, note: str) -> None:
    """That the checkpoint of this note was anchored there."""
    name = _ANCHOR + to
    if not conn.execute(setting.update().where(setting.c.name == name).values(value=note)).rowcount:
        with suppress(sa.exc.IntegrityError), conn.begin_nested():
            insert_many(conn, setting, [{"name": name, "value": note}])


def _table(ledger: str) -> sa.Table:
    return metadata.tables[ledger]


def _columns(ledger: str) -> list[sa.Column[Any]]:
    return [_table(ledger).c[name] for name in COLUMNS[ledger]]
