"""`run`, `pause`, `resume`, `up` as a user types them, and what every command has in common."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Misconfigured
from orchestrator import cli, wiring
from orchestrator.cli.running import Ticks
from orchestrator.problems import ProjectError
from orchestrator.project import load
from orchestrator.store.keys import load_keys
from tests.flows.conftest import outbox, sign_up
from tests.flows.test_schedule import SHIPPED, free_port, shortened


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", "-w", str(folder), *arguments]


def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"PREFECT_HOME": os.environ["PREFECT_HOME"], "COLUMNS": "100"}


# ---- the frame ------------------------------------------------------------------------------------------------------


def test_usage_is_2(capsys: pytest.CaptureFixture[str]):
    assert cli.run(["no-such-command"]) == 2
    assert cli.run(["run", "--every", "often"]) == 2
    assert cli.run(["run", "--now", "tomorrow"]) == 2
    assert "2027-03-28T09:00+02:00" in capsys.readouterr().err
    assert cli.run(["run", "--watch", "--now", "2027-03-28T09:00+02:00"]) == 2


def test_no_database_is_3_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "orchestrator.toml").touch()
    assert cli.run(["-w", str(tmp_path), "run"]) == 3
    captured = capsys.readouterr()
    assert "orchestrator db upgrade" in captured.err
    assert captured.out == ""
    assert cli.run(["-w", str(tmp_path), "--json", "run"]) == 3
    assert "db upgrade" in json.loads(capsys.readouterr().out)["error"]


def test_nothing_in_force_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with wiring.connected(tmp_path, create=True):
        pass
    assert cli.run(["-w", str(tmp_path), "run"]) == 3
    assert "run `orchestrator apply` first" in capsys.readouterr().err


def test_wrong_settings_are_problems_with_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "orchestrator.toml").write_text('[channels]\nemail = "pigeon"\n\n[databas]\nurl = "x"\n')
    assert cli.run(["-w", str(tmp_path), "pause", "*"]) == 1
    told = capsys.readouterr().err
    assert "orchestrator.toml:4" in told
    assert "did you mean `database`" in told


def test_an_unknown_provider_is_placed(small: Path, capsys: pytest.CaptureFixture[str]):
    (small / "orchestrator.toml").write_text('[channels]\nemail = "pigeon"\n')
    with pytest.raises(ProjectError) as caught, wiring.connected(small) as wired:
        assert wired.channels
    [problem] = caught.value.problems
    assert (problem.span.line, problem.code) == (2, "unknown-provider")
    assert "`sandbox`" in problem.hint


def test_a_run_that_cannot_work_says_so_before_prefect_starts(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Ticks, "__call__", lambda *_: pytest.fail("a flow was run"))
    (small / "orchestrator.toml").write_text('[channels]\nemail = { provider = "sandbox", feedback = "maybe" }\n')
    assert cli.run(["-w", str(small), "run"]) == 3
    assert "sandbox for email takes `feedback` as true or false" in capsys.readouterr().err


def test_a_run_that_breaks_off_for_a_ctrl_c_is_no_fault(small: Path, monkeypatch: pytest.MonkeyPatch):
    """The signal goes to the whole group of processes, and Prefect's server is gone before the flow has ended."""
    ticks = Ticks(small)

    def cut_off(*_: Any) -> None:
        ticks.stopped.set()
        raise ConnectionError("no server")

    monkeypatch.setitem(sys.modules, "orchestrator.flows", SimpleNamespace(run_tick=cut_off))
    monkeypatch.setattr("orchestrator.flows", SimpleNamespace(run_tick=cut_off), raising=False)
    with pytest.raises(KeyboardInterrupt):
        ticks(50, None)


def test_doctor_quotes_a_section_whole(small: Path, capsys: pytest.CaptureFixture[str]):
    (small / "orchestrator.toml").write_text("[senders]\nhouse = 3\n")
    assert cli.run(["-w", str(small), "doctor"]) == 1
    assert "`[senders.house]`" in capsys.readouterr().out


def test_wrong_usage_is_a_document_too(capsys: pytest.CaptureFixture[str]):
    for words in (["nonsense"], ["log", "--limit", "many"], ["apply", "--what"], ["import"]):
        assert cli.run(["--json", *words]) == 2
        assert json.loads(capsys.readouterr().out)["error"]


@pytest.mark.prefect
@pytest.mark.slow
def test_a_failing_flow_is_told_in_a_line(waiting: Path, tmp_path: Path):
    """Prefect's own account of it, pages of traceback, is for whoever asks (PREFECT_LOGGING_LEVEL)."""
    with wiring.connected(waiting) as wired, wired.store.write() as conn:
        conn.execute(sa.text("ALTER TABLE trigger_state RENAME TO gone"))
    env = {name: value for name, value in environment(tmp_path).items() if name != "PREFECT_LOGGING_LEVEL"}
    done = subprocess.run(command(waiting, "run"), env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 3 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 4, done.stderr


def test_other_keys_than_the_databases_are_refused(small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with wiring.connected(small) as wired:
        first = wired.keys
        assert wired.keys_path.stat().st_mode & 0o777 == 0o600
    with wiring.connected(small) as wired:
        assert wired.keys == first
    other = tmp_path / "other.keys"
    load_keys(other)
    monkeypatch.setenv(wiring.KEYS, str(other))
    with wiring.connected(small) as wired, pytest.raises(Misconfigured, match="suppressed addresses"):
        print(wired.keys)


def test_lost_keys_are_not_made_anew(small: Path, capsys: pytest.CaptureFixture[str]):
    """New ones would know none of the suppressed addresses, and lie where the old ones are to be restored."""
    with wiring.connected(small) as wired:
        path = wired.keys_path
        assert wired.keys is not None
    path.unlink()
    assert cli.run(["-w", str(small), "run"]) == 3
    assert "Bring it back from its backup" in " ".join(capsys.readouterr().err.split())
    assert not path.exists()
    assert cli.run(["-w", str(small), "doctor"]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "keys the key file" in told and "is gone" in told and "none yet" not in told


def test_a_fault_of_ours_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small: Path
):
    def broken(*args: Any, **more: Any) -> None:
        raise ZeroDivisionError("ana@example.com")

    monkeypatch.setattr(wiring, "connected", broken)
    assert cli.run(["-w", str(small), "resume", "*"]) == 3
    told = capsys.readouterr().err
    assert "ZeroDivisionError" in told
    assert "ana@" not in told and "Traceback" not in told


def test_a_call_that_needs_no_database_imports_none():
    code = (
        "import sys; from orchestrator import cli; assert cli.run(['--version']) == 0; "
        "print([m for m in ('prefect', 'sqlalchemy', 'msgspec', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


# ---- pause and resume -----------------------------------------------------------------------------------------------


def test_pause_and_resume(small: Path, capsys: pytest.CaptureFixture[str]):
    def said(*arguments: str) -> str:
        assert cli.run(["-w", str(small), *arguments]) == 0
        return capsys.readouterr().out

    told = said("pause", "hello", "--reason", "typing error")
    assert told.startswith("hello is paused; who would enter meanwhile waits") and "nobody is inside" in told
    again = " ".join(said("pause", "hello", "--reason", "another").split())
    assert again.startswith("hello is paused already, since ") and ": typing error; your reason is not" in again
    paused = {"journey": "*", "paused": True, "changed": True}
    assert json.loads(said("--json", "pause", "*")).items() >= paused.items()
    assert "everything is still paused" in said("resume", "hello")
    assert said("resume", "*").startswith("everything is resumed")
    assert said("resume", "*").strip() == "everything is not paused"
    assert said("pause", "--all", "--reason", "a wrong price").startswith("everything is paused; who would enter")
    assert "everything is paused already" in said("pause", "*", "--all")
    doctor = json.loads(said("--json", "doctor"))
    [pauses] = [f for f in doctor["findings"] if f["what"] == "pauses"]
    assert "everything since" in pauses["text"] and "(a wrong price)" in pauses["text"]
    assert pauses["todo"] == "orchestrator resume --all"
    resumed = {"journey": "*", "paused": False, "changed": True}
    assert json.loads(said("--json", "resume", "--all")).items() >= resumed.items()
    for wrong in (["pause"], ["pause", "hello", "--all"], ["resume"], ["resume", "hello", "--all"]):
        assert cli.run(["-w", str(small), *wrong]) == 2
        assert "--all" in capsys.readouterr().err
    assert cli.run(["-w", str(small), "pause", "helo"]) == 2
    assert "did you mean `hello`?" in capsys.readouterr().err


# ---- run and up -----------------------------------------------------------------------------------------------------


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_backend")
def test_run_is_one_tick_through_the_flow(waiting: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["-w", str(waiting), "run"]) == 0
    assert "sent 1" in capsys.readouterr().out
    assert len(outbox(waiting)) == 1
    assert cli.run(["-w", str(waiting), "--json", "run"]) == 0
    assert json.loads(capsys.readouterr().out)["messages"] == []


@pytest.mark.prefect
@pytest.mark.slow
def test_run_watches_until_it_is_told_to_stop(waiting: Path, tmp_path: Path):
    log = tmp_path / "watch.log"
    with log.open("w") as to:
        process = subprocess.Popen(
            command(waiting, "run", "--watch", "--every", "1"),
            env=environment(tmp_path),
            stdout=to,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        wait_for(lambda: "sent 1" in log.read_text(), 240, process, log)  # the first tick is over, not in its midst
        sign_up(waiting, load(waiting), "ben", now=datetime.now(UTC))
        wait_for(lambda: log.read_text().count("sent 1") == 2, 120, process, log)
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()
    assert len(outbox(waiting)) == 2


@pytest.mark.prefect
@pytest.mark.slow
def test_up_serves_the_schedule_and_leaves_nothing_behind(waiting: Path, tmp_path: Path):
    (waiting / "prefect.yaml").write_text(shortened(SHIPPED.read_text()))
    port, web_port = free_port(), free_port()
    process = subprocess.Popen(
        command(waiting, "up", "--port", str(port), "--poll", "2", "--web-port", str(web_port)),
        env={name: value for name, value in os.environ.items() if name != "PREFECT_HOME"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(outbox(waiting)) == 1, 300, process)
        wait_for(lambda: healthy(web_port), 120, process)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=180)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert f"http://127.0.0.1:{port}" in said
    assert said.rstrip().endswith("stopped")
    ports = (f"--port {port}", f"--port {web_port}")
    assert not [line for line in commands() if str(waiting) in line or any(text in line for text in ports)]
    assert not healthy(web_port)


def test_up_says_that_its_port_is_taken(small: Path, capsys: pytest.CaptureFixture[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.run(["-w", str(small), "up", "--port", str(taken.getsockname()[1])]) == 3
    assert "is taken; choose another" in capsys.readouterr().err


def test_up_says_that_the_web_apps_port_is_taken(small: Path, capsys: pytest.CaptureFixture[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.run(["-w", str(small), "up", "--port", str(free_port()), "--web-port", port]) == 3
        assert "--no-web" in capsys.readouterr().err
        assert cli.run(["-w", str(small), "serve", "--port", port]) == 3
    assert "choose another" in capsys.readouterr().err


def test_serve_answers_until_it_is_asked_to_stop(small: Path):
    port = free_port()
    process = subprocess.Popen(
        command(small, "serve", "--port", str(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: healthy(port), 180, process)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/u/v1.m1.{'A' * 22}", timeout=60)
        refused.value.close()
        assert refused.value.code == 404
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "v1.m1" not in said and "Traceback" not in said


def healthy(port: int) -> bool:
    """Whether the web app answers on a port of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.read() == b"ok\n")
    except OSError:
        return False


def commands() -> list[str]:
    """The command lines of every process there is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def wait_for(condition: Any, seconds: float, process: subprocess.Popen[str], log: Path | None = None) -> None:
    """Until something is so; what the process said until then, in a log or its pipe, is told where it never is."""
    told = lambda: process.communicate(timeout=60)[0] if log is None else log.read_text()  # noqa: E731
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        if process.poll() is not None:
            pytest.fail(f"ended early with {process.returncode}:\n{told()}")
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    pytest.fail(f"not within {seconds} s:\n{told()}")
