"""T4: what the tree costs, beside the same append without it; and how fast the whole is verified.

Nothing of the tree is on the way of a send: sealing comes afterwards, and T4 adds its time to the append's.

The lines are a decision's: a detail sealed under a person's key, a body of some 350 bytes, a commitment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks.campaign import KEYS, Line, counted, timed
from orchestrator.audit import verify
from orchestrator.seal import seal
from orchestrator.store import log
from orchestrator.store import tables as t
from orchestrator.store.database import Store, insert_many

NOW = datetime(2027, 4, 1, 10, tzinfo=UTC)
CHUNK = 1000
BODY = (
    b'{"addressee":"customer","attempt":"m4711a1","consents":[815],"content":"'
    + b"c" * 64
    + b'","file":"journeys/a.yaml",'
    b'"journey":"autumn","line":12,"medium":"email","policies":"' + b"d" * 64 + b'","purpose":"marketing",'
    b'"topic":"offers","tzdata":"2026a","version":"' + b"e" * 64 + b'"}'
)
DETAIL = b'{"addresses":["0123456789abcdef0123456789abcdef"],"zones":[["Europe/Berlin","stated"]]}'


def stages(count: int, fresh: Callable[[], str]) -> Iterator[Line]:
    """Lines appended, sealed, verified; each append on a database of its own."""
    plain, store = _opened(fresh()), _opened(fresh())
    rows = _rows(count)
    floor = timed(lambda: _append_plain(plain, rows))
    plain.close()
    append = timed(lambda: _append(store, count))
    yield Line("append a line, its detail sealed", count, append, floor)
    with counted(store) as statements:
        spent = timed(lambda: seal(store, KEYS, now=NOW))
    yield Line("seal, afterwards", count, spent, None, statements.count / count * 1000)
    yield Line("append and seal together (T4)", count, append + spent, append)
    with counted(store) as statements:
        spent = timed(lambda: _verified(store, count))
    yield Line("audit verify, the tree", count, spent, None, statements.count / count * 1000)
    store.close()


def _opened(url: str) -> Store:
    store = Store.open(url, create=url.startswith("sqlite"))
    store.migrate()
    return store


def _rows(count: int) -> list[tuple[Any, ...]]:
    return [
        (n, NOW + timedelta(seconds=n // CHUNK), "decision", n, 1, "allow", "", "", BODY, b"k" * 32)
        for n in range(1, count + 1)
    ]


def _append_plain(store: Store, rows: list[tuple[Any, ...]]) -> None:
    """The very rows and their details, as they come."""
    columns = [c.name for c in t.log.c]
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        with store.write() as conn:
            insert_many(conn, t.log, part, columns=columns)
            details = [(row[0], None, b"s" * 16, DETAIL + b"t" * 16) for row in part]
            insert_many(conn, t.log_detail, details, columns=("log_id", "customer_id", "salt", "body"))


def _append(store: Store, count: int) -> None:
    under: dict[int | None, bytes] = {None: KEYS.person_key(b"")}
    for start in range(1, count + 1, CHUNK):
        at = NOW + timedelta(seconds=start // CHUNK)
        numbers = range(start, min(start + CHUNK, count + 1))
        with store.write() as conn:
            entries = [log.Entry("decision", at, n, 1, "allow", body=BODY, detail=DETAIL) for n in numbers]
            log.append(conn, entries, under)


def _verified(store: Store, count: int) -> None:
    report = verify(store, KEYS, now=NOW)
    assert report.ok, report.findings
    assert report.size == count
    with store.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(t.leaf)).scalar_one() == count
