"""`serve`: the web app. `up`: one command, one machine: Prefect's server, the deployments of prefect.yaml, a worker and
the web app, looked after."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import App, Parameter

from orchestrator.cli import starter
from orchestrator.cli.running import on_signals
from orchestrator.cli.terminal import FINE, WORKSPACE, CannotRun, Terminal, terminal

HOST = "127.0.0.1"
WEB_PORT = 8400
POOL = "journeys"
START_SECONDS = 120
STOP_SECONDS = 20
_PREFECT = ("-m", "prefect")
GIVE_UP = 5
"""A child that ends this often within ten minutes will not get better by being started again."""


def register(app: App) -> None:
    app.command(up)
    app.command(serve)


def serve(*, host: str = HOST, port: int = WEB_PORT, proxies: str = HOST) -> int:
    """Serve what links in messages lead to (unsubscribe, preferences, confirmations, surveys) and what providers report
    to, until interrupted. Put a proxy with TLS before it, and its address into `web.public_url`.

    Parameters
    ----------
    host
        The address to listen on. Only this machine can reach 127.0.0.1.
    port
        The port to listen on.
    proxies
        Addresses of the proxies whose word on who asks (X-Forwarded-For) is taken, separated by commas.
    """
    import uvicorn

    from orchestrator import wiring
    from orchestrator.web.app import create_app

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        app = create_app(wired)
        _ = wired.channels  # made with their keys, or told
        listening = _listening(host, port)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # a path carries a link's token
            ws="none",  # no page has a socket, and what is refused of one is logged with its path
            server_header=False,
            date_header=True,
            lifespan="off",
            forwarded_allow_ips=[part.strip() for part in proxies.split(",") if part.strip()],
            limit_concurrency=500,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        server = uvicorn.Server(config)
        # Its own handlers would end the process with the signal once more: who stops us is no failure.
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]

        def stop(number: int, frame: FrameType | None) -> None:
            server.should_exit = True

        shown = f"[{host}]" if ":" in host else host
        call.console.print(f"serving {wired.settings.web.public_url} at http://{shown}:{port}   stop with Ctrl-C")
        with on_signals(stop), listening:
            server.run([listening])
    return FINE


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound to where we shall listen. Raises CannotRun."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        message = f"port {port} of {host} cannot be used ({error.strerror}); choose another: orchestrator serve --port"
        raise CannotRun(f"{message} {port + 1}") from None
    return listening


def up(
    *,
    port: int = 4200,
    poll: Annotated[float, Parameter(name="--poll")] = 5.0,
    web: Annotated[bool, Parameter(negative="--no-web")] = True,
    web_port: int = WEB_PORT,
) -> int:
    """Run on schedule until interrupted: Prefect's server on its own SQLite file, the deployments of prefect.yaml, a
    worker, and the web app. Binds to this machine only.

    A second machine needs no `up`: `prefect worker start --pool journeys`, with PREFECT_API_URL and
    ORCHESTRATOR_WORKSPACE set.

    Parameters
    ----------
    port
        Of Prefect's server and its pages.
    poll
        The worker looks for due runs this often, in seconds.
    web
        Serve the web app, too (`orchestrator serve`).
    web_port
        Of the web app.
    """
    from orchestrator import wiring

    call = terminal()
    with wiring.connected(call.workspace) as wired:
        empty = wired.nothing_applied()
    declared = call.workspace / "prefect.yaml"
    if not declared.is_file():
        declared = starter.folder() / "prefect.yaml"
    if not _free(port):
        raise CannotRun(f"port {port} of {HOST} is taken; choose another: orchestrator up --port {port + 1}")
    if web and not _free(web_port):
        hint = f"choose another: orchestrator up --web-port {web_port + 1}; or --no-web"
        raise CannotRun(f"port {web_port} of {HOST} is taken, which the web app needs; {hint}")
    stopped = threading.Event()
    with on_signals(lambda number, frame: stopped.set()):
        machine = Machine(call.workspace, port, poll, web_port if web else None)
        _run(call, machine, declared, stopped, empty)
    return FINE


def _run(call: Terminal, machine: Machine, declared: Path, stopped: threading.Event, empty: bool) -> None:
    console = call.console
    try:
        console.print(f"starting Prefect's server on {HOST}:{machine.port} (half a minute the first time) …")
        machine.start_server(stopped)
        if not stopped.is_set():
            console.print(f"deploying {declared} …")
            machine.deploy(declared, stopped)
        if not stopped.is_set():
            machine.start_worker()
            if machine.start_web():
                console.print(f"the web app: [bold]http://{HOST}:{machine.web_port}[/]")
            console.print(f"running. Prefect's pages: [bold]http://{HOST}:{machine.port}[/]   logs: {machine.logs}")
            if empty:
                console.print("nothing is in force yet: ticks find nothing to do until `orchestrator apply`")
            console.print("stop with Ctrl-C")
        while not stopped.wait(0.5):
            for name, code in machine.look_after():
                console.print(f"{name} ended with code {code}; started again (see {machine.logs / name}.log)")
    finally:
        console.print("stopping …")
        machine.stop()
    console.print("stopped")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@dataclass(slots=True)
class _Child:
    """A process we started: how (`arguments` to python), and when it ended lately."""

    name: str
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes]
    ends: list[float] = field(default_factory=list)
    again_at: float | None = None


class Machine:
    """The processes of one `up`. Each in a session of its own, so that a Ctrl-C reaches us alone and in order."""

    def __init__(self, workspace: Path, port: int, poll: float, web_port: int | None = None) -> None:
        self.workspace = workspace
        self.port = port
        self.web_port = web_port
        self.home = workspace / ".orchestrator" / "prefect"
        self.logs = workspace / ".orchestrator" / "logs"
        self._poll = poll
        self._children: list[_Child] = []

    def environment(self) -> Mapping[str, str]:
        """Prefect's settings for every child; what the operator set already stays, but the address."""
        chosen = {
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "orchestrator",
            "PREFECT_WORKER_QUERY_SECONDS": str(self._poll),
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            # A tick a minute would grow Prefect's file by gigabytes a month; what counts is in our own log.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "604800",  # a week in seconds; "P7D" is refused
            "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P1D",  # and here seconds are refused
            # In memory (the default of 3.8.8), a server that is killed during a tick would keep the deployment's one
            # slot taken for ever, and CANCEL_NEW would cancel every tick after it.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        }
        fixed = {
            "PREFECT_API_URL": f"http://{HOST}:{self.port}/api",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "PREFECT_UI_API_URL": f"http://{HOST}:{self.port}/api",
            WORKSPACE: str(self.workspace),
            # A proxy must not stand between the worker and the server beside it.
            "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), HOST, "localhost"))),
            "no_proxy": ",".join(filter(None, (os.environ.get("no_proxy"), HOST, "localhost"))),
        }
        return {**chosen, **os.environ, **fixed}

    # ---- starting

    def start_server(self, stopped: threading.Event) -> None:
        """Start it and wait until it answers. Raises CannotRun."""
        for folder in (self.home, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = self._start("server", *_PREFECT, "server", "start", "--host", HOST, "--port", str(self.port))
        until = time.monotonic() + START_SECONDS
        while self._asked("GET", "/health") != 200:
            if server.process.poll() is not None or time.monotonic() > until:
                raise CannotRun(f"Prefect's server did not start: {self._last_line('server')}")
            if stopped.wait(0.2):
                return

    def deploy(self, declared: Path, stopped: threading.Event) -> None:
        """Put the deployments of a prefect.yaml on the server. Raises CannotRun."""
        # 409: there is one already. Asked over HTTP: `prefect work-pool create` takes four seconds to do the same.
        if self._asked("POST", "/work_pools/", {"name": POOL, "type": "process"}) not in (200, 201, 409):
            raise CannotRun(f"Prefect's server did not accept the work pool `{POOL}`: {self._last_line('server')}")
        code = self._once("deploy", stopped, "deploy", "--all", "--prefect-file", str(declared))
        if code:
            raise CannotRun(f"the deployments of {declared} were not accepted: {self._last_line('deploy')}")

    def start_worker(self) -> None:
        name = f"up-{os.getpid()}"
        self._start("worker", *_PREFECT, "worker", "start", "--pool", POOL, "--type", "process", "--name", name)

    def start_web(self) -> bool:
        """Start the web app, where there shall be one."""
        if self.web_port is not None:
            self._start("web", "-m", "orchestrator.cli", "serve", "--host", HOST, "--port", str(self.web_port))
        return self.web_port is not None

    def _start(self, name: str, *arguments: str) -> _Child:
        child = _Child(name, arguments, self._spawn(name, arguments))
        self._children.append(child)
        return child

    def _once(self, name: str, stopped: threading.Event, *arguments: str) -> int:
        """Run a Prefect command to its end; 0 when we are asked to stop meanwhile."""
        process = self._spawn(name, (*_PREFECT, "--no-prompt", *arguments))
        until = time.monotonic() + START_SECONDS
        while process.poll() is None:
            if stopped.wait(0.1) or time.monotonic() > until:
                process.kill()
                process.wait()
                return 0 if stopped.is_set() else 1
        return process.returncode

    def _spawn(self, name: str, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        # Our own handlers (`on_signals`) make it hear SIGINT again where a script in the background made us ignore it:
        # a child inherits what is ignored, not what is handled, and such a worker would never stop.
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.workspace,
                env=dict(self.environment()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _asked(self, method: str, path: str, body: Mapping[str, str] | None = None) -> int:
        """The status of the server's answer; 0 when there was none. No proxy has a part in it."""
        import http.client

        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            connection.request(method, f"/api{path}", json.dumps(body) if body else None, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _last_line(self, name: str) -> str:
        text = (self.logs / f"{name}.log").read_text(errors="replace").strip()
        return f"{text.splitlines()[-1] if text else 'it said nothing'} (more in {self.logs / name}.log)"

    # ---- looking after, and stopping

    def look_after(self) -> list[tuple[str, int]]:
        """Start again what has ended, a little later each time; returns (name, exit code) of those started again.

        Prefect 3.8.8's worker dies of a run that comes back to it too early (RuntimeError of its CapacityLimiter,
        seen 2026-11): that must not end the schedule. Raises CannotRun when a child keeps ending.
        """
        restarted = []
        now = time.monotonic()
        for child in self._children:
            code = child.process.poll()
            if code is None:
                continue
            if child.again_at is None:
                child.ends = [at for at in child.ends if now - at < 600] + [now]
                if len(child.ends) >= GIVE_UP:
                    raise CannotRun(f"the {child.name} keeps ending: {self._last_line(child.name)}")
                _end_group(child.process, signal.SIGTERM)  # runs of a worker that died are nobody's now
                child.again_at = now + 2.0 ** len(child.ends) - 1
            if now >= child.again_at:
                child.process, child.again_at = self._spawn(child.name, child.arguments), None
                restarted.append((child.name, code))
        return restarted

    def stop(self) -> None:
        """End what was started, the worker before its server, by process id; wait for each, then insist."""
        for child in reversed(self._children):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(STOP_SECONDS)
            # A tick under way hears SIGTERM, ends at its next batch and leaves nothing in doubt.
            _end_group(child.process, signal.SIGTERM)
            until = time.monotonic() + STOP_SECONDS
            while _end_group(child.process, 0) and time.monotonic() < until:
                child.process.poll()
                time.sleep(0.1)
            _end_group(child.process, signal.SIGKILL)
            child.process.wait()
        self._children.clear()


def _end_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Signal a child's session (0 only looks); False when nobody of it is left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
