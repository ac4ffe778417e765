"""One campaign, stage by stage, each beside its floor: the least work that could have the same result.

Everyone is sent to, or a floor would do more work than the product. The floor writes the very rows the product wrote,
in bulk, into a fresh database with the same constraints, and knows nothing of checks, verdicts or crashes.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from channels.base import Medium, Outbound, Receipt
from channels.null import Null
from orchestrator import project
from orchestrator.advance import advance
from orchestrator.apply import apply, in_force
from orchestrator.deliver import deliver
from orchestrator.enroll import enroll
from orchestrator.importing import import_file
from orchestrator.project import Project
from orchestrator.store import tables as t
from orchestrator.store.database import Store, insert_many
from orchestrator.store.keys import Keys

WORKSPACE = Path(__file__).parent / "workspace"
APPLIED = datetime(2027, 4, 1, 6, tzinfo=UTC)
NOW = datetime(2027, 4, 1, 10, tzinfo=UTC)
KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)
CHUNK = 1000
TIERS = ("bronze", "silver", "gold", "platinum")
BUYERS = """
    SELECT count(*) FROM customer c
    WHERE c.class = 'b2c' AND c.tier IN ('gold', 'platinum') AND c.merged_into IS NULL
      AND (SELECT count(*) FROM event e WHERE e.customer_id = c.id AND e.type = 'order_placed'
           AND e.occurred_at > :since AND e.occurred_at <= :now AND e.received_at <= :now) >= 2
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A stage: what it did, in what time, beside its floor's. `statements`: SQL statements per thousand of `count`."""

    stage: str
    count: int
    seconds: float
    floor: float | None = None
    statements: float | None = None

    @property
    def ratio(self) -> float | None:
        """Speed as a share of the floor's."""
        return None if self.floor is None else self.floor / self.seconds


class Filled(Null):
    """A sink that needs every message whole, as a relay does."""

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        for outbound in batch:
            for part in outbound.skeleton.parts:
                outbound.part(part)
            self.taken += 1
            yield Receipt(outbound.attempt, "accepted", outbound.attempt)


class _Statements:
    """Counts what goes to the database; an executemany is one statement."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


@contextmanager
def counted(store: Store) -> Iterator[_Statements]:
    counter = _Statements()
    sa.event.listen(store.engine, "before_cursor_execute", counter)
    try:
        yield counter
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", counter)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# ---- input ----------------------------------------------------------------------------------------------------------


def write_files(folder: Path, count: int) -> None:
    """customers.csv, consents.csv and orders.csv for so many people."""
    folder.mkdir(parents=True, exist_ok=True)
    joined = date(2025, 1, 1)
    with (folder / "customers.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("key", "class", "tier", "first_name", "last_name", "email", "phone", "city", "country",
                       "locale", "timezone", "joined"))  # fmt: skip
        for n in range(count):
            rows.writerow((f"p{n}", "b2c", TIERS[n % 4], f"First{n % 997}", f"Last{n % 1009}", f"p{n}@example.com",
                           f"+4915123{n % 1_000_000:06d}", f"City{n % 101}", "DE", "en", "Europe/Berlin",
                           joined + timedelta(days=n % 700)))  # fmt: skip
    with (folder / "consents.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("customer", "medium", "topic", "action", "occurred_at", "method"))
        rows.writerows((f"p{n}", "email", "offers", "confirm", "2026-01-01T00:00:00Z", "form") for n in range(count))
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("type", "event_id", "customer", "occurred_at", "order_id", "amount", "channel"))
        for n in range(count * 2):
            at = APPLIED - timedelta(days=1 + n % 180, hours=n % 24)
            rows.writerow(("order_placed", f"o{n}", f"p{n % count}", at.isoformat(), f"o{n}", "19.90 EUR", "web"))


def _floor_import(store: Store, path: Path) -> None:
    """Reads the file and writes its cells, believing every one of them."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        while chunk := [row for _, row in zip(range(5000), reader, strict=False)]:
            rows: list[dict[str, Any]] = [
                {**row, "joined": date.fromisoformat(row["joined"]), "attributes": {}, "created_at": APPLIED,
                 "updated_at": APPLIED}
                for row in chunk
            ]  # fmt: skip
            with store.write() as conn:
                insert_many(conn, t.customer, rows)


# ---- stages ---------------------------------------------------------------------------------------------------------


def stages(folder: Path, count: int, fresh: Callable[[], str]) -> Iterator[Line]:
    """Every stage for so many customers; `fresh` makes an empty database and returns its URL."""
    write_files(folder, count)
    loaded = project.load(WORKSPACE)
    store, floor = opened(fresh()), opened(fresh())
    with counted(store) as statements:
        spent = timed(lambda: imported(store, loaded, "customers", folder / "customers.csv"))
    least = timed(lambda: _floor_import(floor, folder / "customers.csv"))
    yield Line("import customers", count, spent, least, statements.count / count * 1000)
    yield Line("import consents", count, timed(lambda: imported(store, loaded, "consents", folder / "consents.csv")))
    yield Line("import orders", count * 2, timed(lambda: imported(store, loaded, "events", folder / "orders.csv")))
    analyzed(store)
    yield _segment(store, loaded, count)
    apply(store, loaded, author="bench", message="bench", now=APPLIED)
    with counted(store) as statements:
        spent = timed(lambda: entered(store))
    yield Line("enroll and advance", count, spent, _floor_enter(store, floor), statements.count / count * 1000)
    with counted(store) as statements:
        channel = Null(Medium.EMAIL)
        spent = timed(lambda: deliver(store, {Medium.EMAIL: channel}, KEYS, now=NOW, worker="bench"))
    assert channel.taken == count, f"{channel.taken} of {count} were sent"
    slots, plain = _floor_deliver(store, floor, loaded)
    yield Line("deliver, skeletons (T2)", count, spent, slots, statements.count / count * 1000)
    whole = _again(fresh, folder, loaded)
    yield Line("deliver, whole messages (T1)", count, whole, plain)
    store.close()
    floor.close()


def opened(url: str) -> Store:
    store = Store.open(url, create=url.startswith("sqlite"))
    store.migrate()
    return store


def imported(store: Store, loaded: Project, kind: Any, path: Path) -> None:
    report = import_file(store, KEYS, loaded.vocabulary, kind, path, now=APPLIED)
    assert not report.quarantined, report


def analyzed(store: Store) -> None:
    with store.write() as conn:
        conn.exec_driver_sql("ANALYZE")


def _segment(store: Store, loaded: Project, count: int) -> Line:
    """T9: the compiled segment beside hand-written SQL, the median of seven."""
    apply(store, loaded, author="bench", message="bench", now=APPLIED)
    hand = sa.text(BUYERS).bindparams(
        sa.bindparam("since", NOW - timedelta(days=90), t.event.c.occurred_at.type),
        sa.bindparam("now", NOW, t.event.c.occurred_at.type),
    )
    with store.read() as conn:
        force = in_force(conn)
        assert force is not None
        buyers = force.segments.named("buyers")
        found: list[int] = []
        compiled = _median(lambda: found.append(force.segments.count(conn, buyers, "customer", NOW)))
        written = _median(lambda: found.append(conn.execute(hand).scalar_one()))
    assert len(set(found)) == 1, set(found)
    return Line("segment (T9)", count, compiled, written)


def _median(work: Callable[[], object]) -> float:
    return sorted(timed(work) for _ in range(7))[3]


def entered(store: Store) -> None:
    enroll(store, now=NOW)
    advance(store, now=NOW)


def _rows(store: Store, table: sa.Table) -> list[tuple[Any, ...]]:
    with store.read() as conn:
        return [tuple(row) for row in conn.execute(sa.select(table).order_by(table.c[0]))]


def _write_rows(floor: Store, written: Sequence[tuple[sa.Table, list[tuple[Any, ...]]]]) -> None:
    """Chunk by chunk, as the product commits."""
    most = max(len(rows) for _, rows in written)
    for start in range(0, most, CHUNK):
        with floor.write() as conn:
            for table, rows in written:
                names = [c.name for c in table.c]
                insert_many(conn, table, rows[start : start + CHUNK], columns=names)


def _floor_enter(store: Store, floor: Store) -> float:
    with floor.write() as conn:
        for table in (t.document, t.applied):
            insert_many(conn, table, _rows(store, table), columns=[c.name for c in table.c])
    written = [(table, _rows(store, table)) for table in (t.enrollment, t.batch, t.message, t.trace)]

    def work() -> None:
        with floor.read() as conn:
            conn.execute(sa.select(t.customer.c.id).where(t.customer.c["class"] == "b2c")).all()
        _write_rows(floor, written)

    return timed(work)


def _floor_deliver(store: Store, floor: Store, loaded: Project) -> tuple[float, float]:
    """(slots, whole): read the customers, render, and write one log line each; nothing else."""
    lines = [row for row in _rows(store, t.log) if row[2] == "decision"]
    template = loaded.templates.get(Medium.EMAIL, "offer")
    assert template is not None
    compiled = template.compiled("en")
    context_of = {"workspace": _workspace(loaded), "links": {"unsubscribe": "u", "preferences": "p"}}
    names = ("first_name", "last_name", "city", "tier", "joined")

    def work(render: Callable[[list[dict[str, Any]]], object]) -> None:
        with floor.read() as conn:
            people = conn.execute(sa.select(*(t.customer.c[n] for n in names))).all()
        for start in range(0, len(people), CHUNK):
            contexts = [
                {"customer": dict(zip(names, row, strict=True)), "tier": row[3], **context_of}
                for row in people[start : start + CHUNK]
            ]
            render(contexts)
            with floor.write() as conn:
                insert_many(conn, t.log, lines[start : start + CHUNK], columns=[c.name for c in t.log.c])

    slots = timed(lambda: work(lambda contexts: list(compiled.slots_many(contexts))))
    with floor.write() as conn:
        top = conn.execute(sa.select(sa.func.max(t.log.c.id))).scalar_one()
    lines = [(row[0] + top, *row[1:]) for row in lines]
    sandbox = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    sandbox.filters["date"] = str
    parts = [sandbox.from_string(source) for source in template_sources(loaded)]
    whole = timed(lambda: work(lambda contexts: [[part.render(c) for part in parts] for c in contexts]))
    return slots, whole


def _workspace(loaded: Project) -> dict[str, Any]:
    return {"name": loaded.vocabulary.workspace, "sender": dict(loaded.vocabulary.sender)}


def template_sources(loaded: Project) -> list[str]:
    """Subject, text and HTML of the e-mail, as plain Jinja."""
    from mjml import mjml2html

    text = loaded.files["templates/email/offer.mjml"]
    body = text.split("---\n", 2)[2]
    plain = "Hello {{ customer.first_name }} {{ customer.last_name }}, you are {{ tier }}. {{ links.unsubscribe }}"
    return ["{{ customer.first_name }}, your offer in {{ customer.city }}", plain, str(mjml2html(body))]


def _again(fresh: Callable[[], str], folder: Path, loaded: Project) -> float:
    """The delivery once more, to a channel that needs whole messages."""
    store = opened(fresh())
    for kind, name in (("customers", "customers.csv"), ("consents", "consents.csv")):
        imported(store, loaded, kind, folder / name)
    apply(store, loaded, author="bench", message="bench", now=APPLIED)
    entered(store)
    analyzed(store)
    spent = timed(lambda: deliver(store, {Medium.EMAIL: Filled(Medium.EMAIL)}, KEYS, now=NOW, worker="bench"))
    store.close()
    return spent
