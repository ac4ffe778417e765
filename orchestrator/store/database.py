"""The database: opening it, transactions, migrations, and the fast ways in and out of it.

SQLite (WAL) and PostgreSQL behind one face. Everything above works with `sqlalchemy.Connection`s that it gets from
`Store.write` and `Store.read`; nothing above knows a driver.
"""

from __future__ import annotations

import gc
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import make_url
from sqlalchemy.pool import StaticPool

from orchestrator.problems import Conflict
from orchestrator.store.tables import APPEND_ONLY

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 30
TRIES = 5
T = TypeVar("T")
Row = Mapping[str, Any] | tuple[Any, ...]

# Sorted keys and no spaces: the same value is the same text on every machine, so that texts can be compared and hashed.
_encode_json = msgspec.json.Encoder(order="deterministic").encode
_decode_json = msgspec.json.Decoder().decode


class StoreUnavailable(Exception):
    """The database cannot be used now: absent, locked, gone, or of another schema. The message says what to do."""


def dump_json(value: Any) -> str:
    """A value as the store writes it in a Json column."""
    return _encode_json(value).decode()


# ---- the store ------------------------------------------------------------------------------------------------------


class Store:
    """One database. Thread-safe: every `write` and `read` takes a connection of its own from a pool.

    (A store in memory, `sqlite://`, has a single connection: one transaction at a time, of one thread.)
    """

    def __init__(self, engine: sa.Engine, where: str) -> None:
        self.engine = engine
        self.where = where
        """The database as it may be shown: never with a password."""

    @classmethod
    def open(cls, url: str, *, create: bool = False) -> Store:
        """`sqlite:///FILE`, `sqlite://` (in memory) or `postgresql://…`.

        Nothing is read yet, but a SQLite file must exist unless `create`. PostgreSQL databases are never created here.
        Raises StoreUnavailable.
        """
        try:
            parsed = make_url(url)
        except sa.exc.ArgumentError:
            raise StoreUnavailable(
                "the database URL cannot be read; write sqlite:///FILE or postgresql://USER@HOST/NAME"
            ) from None
        backend = "postgresql" if parsed.drivername == "postgres" else parsed.get_backend_name()
        if backend == "sqlite":
            return _open_sqlite(parsed, create)
        if backend == "postgresql":
            return _open_postgresql(parsed.set(drivername="postgresql+psycopg"))
        raise StoreUnavailable(f"databases of the kind `{backend}` are not supported; use sqlite or postgresql")

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return "sqlite" if self.engine.dialect.name == "sqlite" else "postgresql"

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes: committed at the end, rolled back when the block raises.

        SQLite takes the one write lock at the beginning (BEGIN IMMEDIATE), so that what is read inside still holds
        when it is written; PostgreSQL runs READ COMMITTED, and a compare-and-swap must be in the statement. Raises
        Conflict when PostgreSQL broke a deadlock (do it again), StoreUnavailable when locked or gone.
        """
        with self._transaction("BEGIN IMMEDIATE", {"isolation_level": "READ COMMITTED"}) as conn:
            yield conn

    def written(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, done in one writing transaction; again when PostgreSQL broke a deadlock, for then
        nothing of it was done. `work` must not change anything but the database."""
        for _ in range(TRIES - 1):
            with suppress(Conflict), self.write() as conn:
                return work(conn)
        with self.write() as conn:
            return work(conn)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot: every statement inside sees the same state. Never waits for a writer."""
        postgresql = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._transaction("BEGIN", postgresql) as conn:
            yield conn

    @contextmanager
    def _transaction(self, sqlite: str, postgresql: Mapping[str, Any]) -> Iterator[sa.Connection]:
        try:
            with self.engine.connect() as conn:
                if self.dialect == "postgresql":
                    conn.execution_options(**postgresql)
                with conn.begin():
                    if self.dialect == "sqlite":
                        # Not as an event of the engine's: whose has one asks for listeners around every statement.
                        conn.exec_driver_sql(sqlite)
                    yield conn
        except sa.exc.DBAPIError as exc:
            translated = _translate(exc, self.where)
            if translated is None:
                raise
            raise translated from None

    def migrate(self) -> None:
        """Bring the schema to the newest revision; nothing to do when it is there. Raises StoreUnavailable."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        found = self._revision()
        if found is not None and found not in _revisions():
            raise StoreUnavailable(self._newer(found))
        with self.write() as conn:
            if self.dialect == "postgresql":
                # Two processes that start together must not both create the tables.
                conn.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": 0x0CA3_0001})
            config.attributes["connection"] = conn
            command.upgrade(config, "head")

    def check_schema(self) -> None:
        """Raises StoreUnavailable when the schema is absent, older or newer than this program's."""
        found, known = self._revision(), _revisions()
        if found is None:
            raise StoreUnavailable(f"the database {self.where} has no tables yet; run `orchestrator db upgrade`")
        if found not in known:
            raise StoreUnavailable(self._newer(found))
        if found != known[-1]:
            raise StoreUnavailable(
                f"the database {self.where} is at schema {found}, this program needs {known[-1]}; "
                "run `orchestrator db upgrade`"
            )

    def _newer(self, found: str) -> str:
        return (
            f"the database {self.where} is at schema {found}, which this program ({_revisions()[-1]}) does not know: "
            "it was made by a newer version; install that one"
        )

    def _revision(self) -> str | None:
        with self.read() as conn:
            if not sa.inspect(conn).has_table("alembic_version"):
                return None
            found = conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
            return None if found is None else str(found)

    def close(self) -> None:
        """Give the connections back. The store can be used again."""
        self.engine.dispose()


def _revisions() -> list[str]:
    """The schema's revisions, oldest first. Files are named by them, so that a check need not import alembic."""
    return sorted(p.name.split("_")[0] for p in (MIGRATIONS / "versions").glob("[0-9]*.py"))


# ---- opening --------------------------------------------------------------------------------------------------------


def _engine(url: str | sa.URL, **options: Any) -> sa.Engine:
    return sa.create_engine(
        url,
        hide_parameters=True,  # an exception's text must not carry a customer's data
        json_serializer=dump_json,
        json_deserializer=_decode_json,
        query_cache_size=2_000,  # a programme asks some 600 statements: at 500 they would be made anew in turns
        **options,
    )


def _open_sqlite(url: sa.URL, create: bool) -> Store:
    name = url.database
    if name in (None, "", ":memory:"):
        engine = _engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        where = "in memory"
    else:
        path = Path(str(name)).expanduser().absolute()
        where = str(path)
        if create and not path.exists():
            _create_private(path)
        if not path.is_file():
            raise StoreUnavailable(f"there is no database at {path}; run `orchestrator db upgrade` to make it")
        uri = f"file:{quote(str(path))}?mode=rw"  # rw: a file removed meanwhile is an error, not a new empty database

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, cached_statements=256)

        engine = _engine("sqlite+pysqlite:///x", creator=connect)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours: the driver's own comes too late and is never IMMEDIATE
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a commit point is one only if it survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only unlinked
        connection.execute("PRAGMA wal_autocheckpoint = 20000")  # at 1,000 pages half of a bulk load is checkpointing
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA temp_store = MEMORY")

    return Store(engine, where)


def _create_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it will hold names and addresses
    except OSError as exc:
        raise StoreUnavailable(f"the database {path} cannot be made: {exc.strerror}") from None


def _open_postgresql(url: sa.URL) -> Store:
    engine = _engine(url, pool_pre_ping=True, pool_size=8, connect_args={"connect_timeout": 10})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
            cursor.execute("SET timezone = 'UTC'")
        connection.commit()

    host = url.host or url.query.get("host", "local socket")
    return Store(engine, f"{url.database} on {host}")


_SQLITE_GONE = re.compile(r"locked|busy|unable to open|disk I/O|readonly|malformed|not a database|is full", re.I)


def _translate(exc: sa.exc.DBAPIError, where: str) -> Exception | None:
    """What a driver's error means to a caller; None: it is a mistake of ours and goes up as it is."""
    original = exc.orig
    if isinstance(original, sqlite3.Error):
        text = str(original)
        if not isinstance(original, sqlite3.DatabaseError) or not _SQLITE_GONE.search(text):
            return None
        if re.search("locked|busy", text, re.I):
            return StoreUnavailable(
                f"the database {where} is locked: another process has been writing for more than {BUSY_SECONDS} "
                "seconds; try again when it is done"
            )
        return StoreUnavailable(f"the database {where} cannot be used: {text}")
    state = getattr(original, "sqlstate", None)
    if state in ("40001", "40P01"):
        return Conflict("another process changed the same rows at the same time; try again")
    if state == "55P03":
        return StoreUnavailable(
            f"the database {where} is locked: another process has held rows for more than {BUSY_SECONDS} seconds; "
            "try again when it is done"
        )
    gone = exc.connection_invalidated or (isinstance(exc, sa.exc.OperationalError) and state is None)
    if gone or (state is not None and state[:2] in ("08", "28", "3D", "53", "57", "58")):
        return StoreUnavailable(f"the database {where} cannot be reached: {_reason(original)}; is its server running?")
    return None


def _reason(original: BaseException | None) -> str:
    """The driver's first line, without what may be a secret."""
    lines = str(original).strip().splitlines() or ["no answer"]
    return re.sub(r"password=\S+|://[^@\s]+@", "…", lines[0]).rstrip(".;")


@contextmanager
def uncollected() -> Iterator[None]:
    """No cyclic garbage collection while a batch is worked on.

    A batch makes hundreds of thousands of objects without a cycle among them; the collector would walk through all of
    them, again and again, and find nothing. What little there is it finds between two batches.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# ---- bulk in --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _plan(
    table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect
) -> tuple[str, tuple[tuple[int, Callable[[Any], Any]], ...]]:
    """The quoted column list, and the bind processing of those columns that need any: (position, function)."""
    quoter = dialect.identifier_preparer.quote
    processors: list[tuple[int, Callable[[Any], Any]]] = []
    for position, name in enumerate(columns):
        kind = table.c[name].type
        if isinstance(kind, sa.JSON):
            processors.append((position, dump_json))  # as text on both: COPY reads jsonb from text
            continue
        process = kind.dialect_impl(dialect).bind_processor(dialect)
        if process is not None and not isinstance(kind, sa.LargeBinary):  # both drivers take bytes as they are
            processors.append((position, process))
    return ", ".join(quoter(name) for name in columns), tuple(processors)


def _tuples(rows: Sequence[Row], columns: Sequence[str] | None) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
    first = rows[0]
    if isinstance(first, tuple):
        if columns is None:
            raise ValueError("rows given as tuples need `columns`")
        return tuple(columns), rows  # type: ignore[return-value]
    names = tuple(columns) if columns is not None else tuple(first)
    if columns is None and any(len(row) != len(names) for row in rows):
        raise ValueError("every row of one bulk insert must have the same columns")
    if len(names) == 1:
        return names, ((row[names[0]],) for row in rows)  # type: ignore[call-overload]
    return names, map(itemgetter(*names), rows)


def _bound(
    tuples: Iterable[tuple[Any, ...]], processors: tuple[tuple[int, Callable[[Any], Any]], ...]
) -> Iterator[tuple[Any, ...]]:
    if not processors:
        yield from tuples
        return
    # One instant and one empty object stand in every row of a batch: what was just converted need not be again.
    last: list[tuple[Any, Any]] = [(None, None)] * len(processors)
    for values in tuples:
        out = list(values)
        for n, (position, process) in enumerate(processors):
            value = out[position]
            if value is None:
                continue
            seen, done = last[n]
            if value is not seen:
                done = process(value)
                last[n] = (value, done)
            out[position] = done
        yield tuple(out)


def insert_many(
    conn: sa.Connection,
    table: sa.Table,
    rows: Sequence[Row],
    *,
    columns: Sequence[str] | None = None,
    ignore_conflicts: bool = False,
) -> int:
    """Insert rows, all with the same columns, the fast way; returns how many were inserted.

    Rows are mappings, or tuples in the order of `columns`. Columns left out get their server default. None is SQL's
    NULL, in a Json column too. With `ignore_conflicts` a row that breaks a unique constraint is left out silently.
    """
    if not rows:
        return 0
    names, tuples = _tuples(rows, columns)
    listed, processors = _plan(table, names, conn.dialect)
    values = _bound(tuples, processors)
    target = conn.dialect.identifier_preparer.format_table(table)
    if conn.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        conflict = " ON CONFLICT DO NOTHING" if ignore_conflicts else ""
        statement = f"INSERT INTO {target} ({listed}) VALUES ({marks}){conflict}"
        return conn.exec_driver_sql(statement, list(values)).rowcount
    if not ignore_conflicts:
        _copy(conn, f"COPY {target} ({listed}) FROM STDIN", values)
        return len(rows)
    stage = conn.dialect.identifier_preparer.quote(f"stage_{table.name}")
    # AS SELECT, not LIKE: that would bring NOT NULL along for the columns left out. Kept for the connection's life.
    conn.exec_driver_sql(
        f"CREATE TEMP TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS SELECT * FROM {target} WITH NO DATA"
    )
    conn.exec_driver_sql(f"DELETE FROM {stage}")
    _copy(conn, f"COPY {stage} ({listed}) FROM STDIN", values)
    return conn.exec_driver_sql(
        f"INSERT INTO {target} ({listed}) SELECT {listed} FROM {stage} ON CONFLICT DO NOTHING"
    ).rowcount


def _copy(conn: sa.Connection, statement: str, values: Iterable[tuple[Any, ...]]) -> None:
    driver = conn.connection.driver_connection
    assert driver is not None
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            write = copy.write_row
            for row in values:
                write(row)
    except conn.dialect.loaded_dbapi.Error as exc:
        raise _raised(conn, statement, exc) from None


def _raised(conn: sa.Connection, statement: str, exc: Exception) -> Exception:
    """A driver's error as SQLAlchemy would have raised it, and without the row: COPY's own message quotes it."""
    kind = conn.dialect.loaded_dbapi.Error
    return sa.exc.DBAPIError.instance(statement, None, exc, kind, hide_parameters=True, dialect=conn.dialect)


def allocate_ids(conn: sa.Connection, table: sa.Table, count: int) -> list[int]:
    """`count` fresh ids of a table, ascending, for rows about to be inserted in this transaction.

    SQLite: max(id) + 1 and following. That is safe because `Store.write` holds the one write lock from BEGIN
    IMMEDIATE to its end: nobody can insert in between. PostgreSQL: from the table's sequence, in one statement;
    ids taken and not used leave a gap.
    """
    if count <= 0:
        return []
    if conn.dialect.name == "sqlite":
        top = conn.execute(_top(table)).scalar_one()
        return list(range(top + 1, top + 1 + count))
    statement = sa.text(
        "SELECT nextval(CAST(pg_get_serial_sequence(:t, 'id') AS regclass)) FROM generate_series(1, :n)"
    )
    return sorted(conn.execute(statement, {"t": table.name, "n": count}).scalars())


@cache
def _top(table: sa.Table) -> sa.Select[tuple[int]]:
    return sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))


def insert_ids(
    conn: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    returning: Sequence[str] = ("id",),
    *,
    ignore_conflicts: bool = False,
) -> list[tuple[Any, ...]]:
    """As `insert_many`, with ids given out first (see `allocate_ids`): one tuple of `returning` per inserted row.

    `returning` names `id` and columns that the rows carry, and answers in the rows' order; rows left out for a
    conflict are missing from it.
    """
    if not rows:
        return []
    ids = allocate_ids(conn, table, len(rows))
    names, tuples = _tuples(rows, None)
    names = ("id", *names)
    full = [(i, *row) for i, row in zip(ids, tuples, strict=True)]
    inserted = insert_many(conn, table, full, columns=names, ignore_conflicts=ignore_conflicts)
    if inserted != len(full):
        there = set(conn.execute(_there(table, conn.dialect.name), {"ids": ids}).scalars())
        full = [row for row in full if row[0] in there]
    places = [names.index(name) for name in returning]
    return [tuple(row[place] for place in places) for row in full]


@cache
def _there(table: sa.Table, dialect: str) -> sa.Select[tuple[int]]:
    listed = bound_ids(dialect)
    return sa.select(table.c.id).join(listed, listed.c.id == table.c.id)


def insert_new(dialect: str, table: sa.Table, names: Sequence[str], select: sa.Select[Any]) -> sa.Insert:
    """INSERT … SELECT that leaves out what is there already; its result's `rowcount` is how many were new."""
    if dialect == "sqlite":
        statement = table.insert().prefix_with("OR IGNORE").from_select(names, select, include_defaults=False)
    else:
        fresh = postgresql.insert(table).from_select(names, select, include_defaults=False)
        statement = fresh.on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


# ---- bulk change ----------------------------------------------------------------------------------------------------


def update_many(
    conn: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    where: Sequence[str],
    returning: str | None = None,
) -> list[Any]:
    """Update each row of `table` that equals the mapping in the columns of `where`, to the mapping's other columns.

    For compare-and-swap: what moved on meanwhile is left alone. A column to be compared and set in one is given as
    `old_NAME` in `where`. Returns that column of the rows that were changed, when asked for. All mappings have the
    same keys; None in `where` equals NULL.
    """
    if not rows:
        return []
    names = tuple(rows[0])
    column_of = {n: n.removeprefix("old_") if n in where and n not in table.c else n for n in names}
    listed_of = {n: _plan(table, (column_of[n],), conn.dialect) for n in names}
    quote_name = conn.dialect.identifier_preparer.quote
    target = conn.dialect.identifier_preparer.format_table(table)

    if conn.dialect.name == "sqlite":
        sets = ", ".join(f"{listed_of[n][0]} = ?" for n in names if n not in where)
        tests = " AND ".join(f"{listed_of[n][0]} IS ?" for n in where)
        order = [n for n in names if n not in where] + list(where)
        processors = [(at, process) for at, n in enumerate(order) for _, process in listed_of[n][1]]
        values = list(_bound(map(itemgetter(*order), rows), tuple(processors)))
        statement = f"UPDATE {target} SET {sets} WHERE {tests}"
        if returning is None:
            conn.exec_driver_sql(statement, values)
            return []
        if returning in where and len(rows) > 1 and _all_changed(conn, statement, values):
            return [row[returning] for row in rows]
        # executemany gives no rows back; one prepared statement run for each does, and stays in the driver.
        statement = f"{statement} RETURNING {quote_name(returning)}"
        cursor = conn.connection.cursor()
        try:
            return [r[0] for v in values for r in cursor.execute(statement, v)]
        except conn.dialect.loaded_dbapi.Error as exc:
            raise _raised(conn, statement, exc) from None
        finally:
            cursor.close()
    types = {n: table.c[column_of[n]].type.dialect_impl(conn.dialect).compile(conn.dialect) for n in names}
    arrays = ", ".join(f"CAST(%s AS {'text' if types[n] == 'JSONB' else types[n]}[])" for n in names)
    aliases = ", ".join(quote_name(n) for n in names)
    cast = {n: f"CAST(v.{quote_name(n)} AS jsonb)" if types[n] == "JSONB" else f"v.{quote_name(n)}" for n in names}
    sets = ", ".join(f"{listed_of[n][0]} = {cast[n]}" for n in names if n not in where)
    # Only an equality is looked up in an index: of what is never NULL both mean the same.
    equals = {n: "IS NOT DISTINCT FROM" if table.c[column_of[n]].nullable else "=" for n in where[1:]}
    tests = " AND ".join(f"{target}.{listed_of[n][0]} {equals[n]} {cast[n]}" for n in where[1:])
    key = where[0]  # an equality, so that the index on it serves
    statement = (
        f"UPDATE {target} SET {sets} FROM unnest({arrays}) AS v({aliases}) "
        f"WHERE {target}.{listed_of[key][0]} = {cast[key]}" + (f" AND {tests}" if tests else "")
    )
    if returning is not None:
        statement += f" RETURNING {target}.{quote_name(returning)}"
    processors = [(at, process) for at, n in enumerate(names) for _, process in listed_of[n][1]]
    columns = zip(*_bound(map(itemgetter(*names), rows), tuple(processors)), strict=True)
    result = conn.exec_driver_sql(statement, tuple(map(list, columns)))
    return list(result.scalars()) if returning is not None else []


def _all_changed(conn: sa.Connection, statement: str, values: Sequence[tuple[Any, ...]]) -> bool:
    """Whether SQLite changed a row for each of these values; when not, nothing is changed.

    What a writer has read in its own transaction nobody else moves on: then this is all there is to do.
    """
    conn.exec_driver_sql("SAVEPOINT bulk")
    if conn.exec_driver_sql(statement, list(values)).rowcount == len(values):
        conn.exec_driver_sql("RELEASE bulk")
        return True
    conn.exec_driver_sql("ROLLBACK TO bulk")
    conn.exec_driver_sql("RELEASE bulk")
    return False


# ---- lists as one bound value ---------------------------------------------------------------------------------------


def id_list(conn: sa.Connection, ids: Iterable[int]) -> sa.Subquery:
    """Ids as something to join or `IN (SELECT …)` with: a selectable of one column `id`.

    One bound value however many there are, so the statement's text (and its plan) is the same for 3 and for 5,000.
    """
    return _listed(conn, list(ids), "id", sa.BigInteger())


def key_list(conn: sa.Connection, keys: Iterable[str]) -> sa.Subquery:
    """As `id_list`, for texts: one column `key`."""
    return _listed(conn, list(keys), "key", sa.Text())


@cache
def bound_ids(dialect: str, name: str = "ids") -> sa.Subquery:
    """As `id_list`, for a statement that is made once and kept: the ids are bound by `name` when it is executed, as a
    list. `dialect` is SQLAlchemy's name of it.

    Making a statement and finding it in SQLAlchemy's cache costs several times what SQLite takes to answer it; one
    that is kept carries its key along.
    """
    return _each(dialect, sa.bindparam(name, type_=_many(dialect, sa.BigInteger())), "id", sa.BigInteger())


@cache
def bound_keys(dialect: str, name: str = "keys") -> sa.Subquery:
    """As `bound_ids`, for texts: one column `key`."""
    return _each(dialect, sa.bindparam(name, type_=_many(dialect, sa.Text())), "key", sa.Text())


def among(conn: sa.Connection, column: sa.ColumnElement[Any], ids: Iterable[int]) -> sa.ColumnElement[bool]:
    """As `= ANY` on PostgreSQL: a table that grows within the hour has no statistics yet, and a join with a list was
    then planned as every reservation beside every id."""
    if conn.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(list(ids), ARRAY(sa.BigInteger())))
    return column.in_(sa.select(id_list(conn, ids).c.id))


def bound_among(dialect: str, column: sa.ColumnElement[Any], name: str = "ids") -> sa.ColumnElement[bool]:
    """As `among`, for a statement that is made once: see `bound_ids`."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam(name, type_=ARRAY(sa.BigInteger())))
    return column.in_(sa.select(bound_ids(dialect, name).c.id))


def _listed(conn: sa.Connection, values: list[Any], name: str, kind: Any) -> sa.Subquery:
    return _each(conn.dialect.name, sa.literal(values, _many(conn.dialect.name, kind)), name, kind)


def _each(dialect: str, values: Any, name: str, kind: Any) -> sa.Subquery:
    if dialect == "sqlite":
        each = sa.func.json_each(values).table_valued(sa.column("value", kind))
        return sa.select(each.c.value.label(name)).subquery()
    each = sa.func.unnest(values).table_valued(sa.column(name, kind)).render_derived()
    return sa.select(each.c[name]).subquery()


class _Many(sa.types.TypeDecorator[list[Any]]):
    """A list as SQLite takes it: one JSON text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: list[Any] | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else dump_json(value)


def _many(dialect: str, kind: Any) -> Any:
    return _Many() if dialect == "sqlite" else ARRAY(kind)


# ---- PostgreSQL: who may do what ------------------------------------------------------------------------------------


def grant_application_role(conn: sa.Connection, role: str) -> None:
    """Let `role` do what the program does every day and nothing else; run it as the owner, after `Store.migrate`.

    The owner migrates; the application connects as `role`, which owns no table and so cannot drop the append-only
    triggers; on those tables it may only read and insert. Does nothing on SQLite, which has no roles.
    """
    if conn.dialect.name != "postgresql":
        return
    quote_name = conn.dialect.identifier_preparer.quote_identifier
    name = quote_name(role)
    schema = quote_name(conn.exec_driver_sql("SELECT current_schema()").scalar_one())
    conn.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
    conn.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}")
    conn.exec_driver_sql(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {name}")
    guarded = ", ".join(f"{schema}.{quote_name(t)}" for t in APPEND_ONLY)
    conn.exec_driver_sql(f"REVOKE UPDATE, DELETE, TRUNCATE ON {guarded} FROM {name}")
    conn.exec_driver_sql(f"REVOKE INSERT, UPDATE, DELETE ON {schema}.alembic_version FROM {name}")
