"""`init`, `check`, `plan`, `apply`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from orchestrator import cli, wiring
from orchestrator.apply import apply
from orchestrator.cli import _planned as planned
from orchestrator.project import load
from tests.cli.conftest import MONDAY, World, golden

ROOT = Path(__file__).parents[2]

# ---- init -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory, clock: object) -> World:
    folder = tmp_path_factory.mktemp("begun") / "acme"
    assert cli.run(["init", str(folder)]) == 0
    return World(folder, clock)  # type: ignore[arg-type]


def test_a_new_workspace_is_whole(starter: World):
    written = [p for p in (starter.folder / "journeys").glob("*/*.yaml") if not p.name.endswith(".test.yaml")]
    said = starter("check")
    assert said.code == 0 and f"no problems in {len(written)} journeys" in said.out and len(written) > 8
    ignored = (starter.folder / ".gitignore").read_text().splitlines()
    assert {".orchestrator/", "*.tlog-proof", "*.note", "/*.svg", "/report.html"} <= set(ignored)
    assert not list(starter.folder.rglob("__pycache__"))


def test_editors_find_the_schemas_that_the_files_name(starter: World):
    for path in (starter.folder / "journeys").rglob("*.yaml"):
        named = re.match(r"# yaml-language-server: \$schema=(\S+)", path.read_text(encoding="utf-8"))
        assert named is not None, path
        json.loads((path.parent / named[1]).read_text(encoding="utf-8"))


def test_init_tells_what_to_do_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "acme"
    assert cli.run(["--json", "init", str(folder)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["next"][1:] == [
        "orchestrator check",
        "orchestrator import customers FILE",
        'orchestrator apply -m "a first version"',
        "orchestrator run",
    ]
    assert "journeys/workspace.yaml" in answer["files"]


def test_init_spoils_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert cli.run(["init", str(tmp_path / "full")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert cli.run(["init", str(tmp_path / "full" / "mine.txt")]) == 2
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert cli.run(["init", str(tmp_path / "empty")]) == 0


@pytest.mark.slow
def test_init_works_from_an_installed_wheel(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The unpacked wheel comes first on the path, its dependencies from this environment.
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestrator.cli", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    where = [sys.executable, "-c", "import orchestrator; print(orchestrator.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(site)), "the checkout got in between"
    assert run("init", "acme").returncode == 0
    checked = run("-w", "acme", "--json", "check")
    assert checked.returncode == 0, checked
    written = [p for p in (ROOT / "journeys").glob("*/*.yaml") if not p.name.endswith(".test.yaml")]
    assert len(json.loads(checked.stdout)["journeys"]) == len(written)
    assert (tmp_path / "acme" / "docs" / "schema" / "journey.schema.json").is_file()
    applied = run("-w", "acme", "apply", "-m", "first", "--yes")
    assert applied.returncode == 0, applied


# ---- check ----------------------------------------------------------------------------------------------------------


def spoil(world: World) -> None:
    path = world.folder / "journeys" / "hello.yaml"
    path.write_text(path.read_text().replace("signed_up", "singed_up").replace("wait: 2 days", "wait: 2 dais"))


def test_check_tells_all_and_ends_with_1(small: World):
    assert small("check").code == 0
    spoil(small)
    said = small("check")
    assert said.code == 1
    golden("check.txt", said.out, small)
    assert "Traceback" not in said.err


def test_check_as_a_document(small: World):
    assert small.json("check")["journeys"] == ["golden", "hello"]
    spoil(small)
    said = small("check", "--format", "json")
    assert said.code == 1
    assert said.data["errors"] == len(said.data["problems"]) == 2
    first = said.data["problems"][0]
    assert (first["file"], first["line"], first["code"]) == ("journeys/hello.yaml", 3, "unknown-event")
    assert said.data["hash"] is None


def test_check_looks_at_the_machine_settings_too(small: World):
    (small.folder / "orchestrator.toml").write_text("[databas]\n")
    said = small("check")
    assert said.code == 1
    assert "orchestrator.toml:1:" in said.out


def test_check_needs_no_database_and_nothing_heavy(small: World):
    code = (
        "import sys; from orchestrator import cli; code = cli.run(['check', sys.argv[1]]);"
        "heavy = {'prefect', 'sqlalchemy', 'alembic', 'fastapi', 'psycopg', 'pyarrow'} & set(sys.modules);"
        "print(sorted(heavy)); sys.exit(code)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(small.folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found
    assert found.stdout.splitlines()[-1] == "[]"
    assert not (small.folder / ".orchestrator").exists()


def test_check_of_another_folder_and_of_none(small: World, tmp_path: Path):
    assert small("check", str(small.folder)).code == 0
    nowhere = small("check", str(tmp_path / "nowhere"))
    assert nowhere.code == 3
    assert "orchestrator init" in nowhere.err
    (tmp_path / "empty").mkdir()
    empty = small("check", str(tmp_path / "empty"))
    assert empty.code == 1
    assert "no-workspace" in empty.out


def test_problems_in_colour_for_people(small: World):
    from rich.console import Console

    from orchestrator.cli._look import show_problems
    from orchestrator.problems import ProjectError

    spoil(small)
    with pytest.raises(ProjectError) as caught:
        load(small.folder)
    with (small.folder / "out.txt").open("w+", encoding="utf-8") as file:
        console = Console(file=file, force_terminal=True, width=80, color_system="standard", legacy_windows=False)
        text = (small.folder / "journeys" / "hello.yaml").read_text()
        show_problems(console, caught.value.problems, {"journeys/hello.yaml": text})
        file.seek(0)
        shown = file.read()
    assert "\x1b[" in shown
    assert "journeys/hello.yaml:3:" in re.sub(r"\x1b\[[\d;]*m", "", shown)


# ---- plan and apply -------------------------------------------------------------------------------------------------


def test_plan_before_and_after_the_first_apply(small: World):
    first = small("plan")
    assert first.code == 0
    golden("plan-first.txt", first.out, small)
    assert small.json("plan")["base"] is None
    done = small("apply", "-m", "the first", "--author", "mara", "--yes")
    assert done.code == 0
    golden("apply-first.txt", done.out, small)
    again = small("plan")
    assert "nothing changes" in again.out
    assert small.json("plan")["changes"] is False


def test_plan_of_an_edit(told: World):
    path = told.folder / "journeys" / "hello.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace("tier >= silver", "tier >= gold"))
        said = told("plan")
        data = told.json("plan")
    finally:
        path.write_text(before)
    golden("plan-edit.txt", said.out, told)
    (hello,) = (j for j in data["journeys"] if j["name"] == "hello")
    assert (hello["change"], hello["before"], hello["audience"]) == ("edited", 5, 1)
    assert sum(hello["inside"].values()) == 4


def test_apply_asks_where_somebody_can_be_asked(small: World, monkeypatch: pytest.MonkeyPatch):
    nobody = small("apply", "-m", "x")
    assert nobody.code == 2
    assert "--yes" in nobody.err
    assert small("--json", "apply", "-m", "x").code == 2
    assert not (small.folder / ".orchestrator").exists()
    monkeypatch.setattr(planned, "agreed", lambda call, what: False)
    monkeypatch.setattr(planned, "_at_a_terminal", lambda call: True)
    assert small("apply", "-m", "x").code == 3
    assert small.json("plan")["base"] is None
    monkeypatch.setattr(planned, "agreed", lambda call, what: True)
    assert small("apply", "-m", "x").code == 0
    assert small.json("plan")["base"] == 1


def test_apply_does_exactly_what_was_planned(small: World, monkeypatch: pytest.MonkeyPatch):
    def meanwhile(call: object, what: str) -> bool:
        with wiring.connected(small.folder) as wired:
            apply(wired.store, load(small.folder), author="another", message="quicker", now=MONDAY)
        return True

    monkeypatch.setattr(planned, "agreed", meanwhile)
    monkeypatch.setattr(planned, "_at_a_terminal", lambda call: True)
    said = small("apply", "-m", "slower")
    assert said.code == 3
    assert "another apply came between" in said.err


def test_apply_of_a_wrong_workspace_changes_nothing(small: World):
    spoil(small)
    said = small("apply", "-m", "x", "--yes")
    assert said.code == 1
    assert "unknown-event" in said.err
    assert not (small.folder / ".orchestrator").exists()


def test_apply_wants_a_message(small: World):
    assert small("apply", "--yes").code == 2
