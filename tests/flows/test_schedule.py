"""Schedules trigger sends: the shipped prefect.yaml on a real server, a real worker, and a mail in the outbox, once."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import starter
from tests.flows.conftest import outbox

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

INTERVAL = 5
ENOUGH = 300  # seconds from the worker's start: a run begins within some seconds, and four need a minute on two cores
SHIPPED = starter.folder() / "prefect.yaml"


def shortened(text: str) -> str:
    """The shipped declaration with its schedules every few seconds instead of every minute; nothing else changed."""
    found, n = re.subn(r'cron: "\* \* \* \* \*"', f"interval: {INTERVAL}", text)
    assert n == 2, "tick and seal are no longer what runs every minute: this test must follow"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str, body: Mapping[str, Any] | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        if body is None:
            connection.request("GET", f"/api{path}")
        else:
            connection.request("POST", f"/api{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status in (200, 201), (answer.status, data[:500])
        return json.loads(data)
    finally:
        connection.close()


@contextmanager
def running(log: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Prefect command in a session of its own, ended by its id with whatever it started.

    A worker hears SIGINT only if it is not ignored where it comes from, as it is in a script's background.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            env=dict(environment),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def until(condition: Any, seconds: float, process: subprocess.Popen[bytes], log: Path) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            if found := condition():
                return found
        except OSError:
            pass
        time.sleep(0.3)
    pytest.fail(f"not within {seconds} s:\n{log.read_text(errors='replace')[-3000:]}")


def test_the_shipped_schedule_sends_what_is_due_once(waiting: Path, tmp_path: Path):
    port = free_port()
    declared = tmp_path / "prefect.yaml"
    declared.write_text(shortened(SHIPPED.read_text()))
    environment = os.environ | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "ORCHESTRATOR_WORKSPACE": str(waiting),
    }
    server_log, worker_log = tmp_path / "server.log", tmp_path / "worker.log"
    with running(server_log, environment, "server", "start", "--host", "127.0.0.1", "--port", str(port)) as server:
        until(lambda: ask(port, "/health"), 300, server, server_log)
        ask(port, "/work_pools/", {"name": "journeys", "type": "process"})
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(declared)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        names = ("tick", "seal", "reconcile", "letters", "digest", "retention", "refresh")
        deployed = {name: ask(port, f"/deployments/name/{name}/{name}") for name in names}
        for name, deployment in deployed.items():
            assert deployment["entrypoint"] == f"orchestrator.flows.{name}"
            assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        worker = ("worker", "start", "--pool", "journeys", "--type", "process", "--name", "test")
        with running(worker_log, environment, *worker) as process:
            until(lambda: outbox(waiting), ENOUGH, process, worker_log)

            def completed(name: str) -> list[dict[str, Any]]:
                runs: list[dict[str, Any]] = ask(port, "/flow_runs/filter", {"sort": "START_TIME_ASC"})
                own = [run for run in runs if run["deployment_id"] == deployed[name]["id"]]
                return [run for run in own if run["state"]["type"] == "COMPLETED"]

            # Another run after the one that sent: it finds nothing to do.
            runs = until(lambda: found if len(found := completed("tick")) >= 2 else None, ENOUGH, process, worker_log)
            until(lambda: completed("seal"), ENOUGH, process, worker_log)
    assert [run["state"]["name"] for run in runs][:2] == ["Dispatched", "Idle"]
    assert "sent 1" in runs[0]["state"]["message"]
    assert runs[0]["auto_scheduled"], "the run came from the schedule"
    assert not any("@" in json.dumps(run["parameters"]) for run in runs)
    [mail] = outbox(waiting)
    assert "ana@example.com" in mail.read_text()
