"""What is declared, locked, documented and shipped agrees."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import channels
import orchestrator

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DECLARED = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
DECLARED += [line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def locked() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==(\S+)", LOCK, re.MULTILINE))


def test_every_declared_dependency_is_locked_with_hashes() -> None:
    versions = locked()
    assert not {name_of(line) for line in DECLARED} - versions.keys()
    assert len(versions) > 100
    for entry in re.split(r"\n(?=[a-z0-9])", LOCK.strip()):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_lock_names_no_host() -> None:
    assert not re.search(r"https?:|file:|--index|--extra-index|--find-links|--trusted", LOCK)


def test_every_dependency_is_justified_with_its_locked_version() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z0-9-]+)(?:\[[a-z]+\])? \| ([0-9][\w.]*) \|", page, re.MULTILINE))
    assert rows.keys() == {name_of(line) for line in DECLARED}
    versions = locked()
    assert {name: version for name, version in rows.items() if not versions[name].startswith(version)} == {}


def test_one_version() -> None:
    assert orchestrator.__version__ == channels.__version__


def test_the_wheel_carries_the_starter_workspace_and_nothing_of_the_house(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {"orchestrator/py.typed", "channels/py.typed", "orchestrator/starter/prefect.yaml"}
    shipped |= {f"orchestrator/ruleset/{name}" for name in ("__init__.py", "hours.yaml", "consent.yaml")}
    shipped |= {f"orchestrator/pages/{name}" for name in ("report.html", "report.typ", "listing.typ")}
    shipped |= {"orchestrator/starter/verifier/verify.py", "channels/letterfile/letter.typ"}
    shipped |= {f"orchestrator/starter/{path}" for path in ("orchestrator.toml", "journeys/workspace.yaml")}
    shipped |= {f"orchestrator/recipes/win-back/{name}" for name in ("journey.yaml", "recipe.yaml")}
    shipped |= {f"orchestrator/web/{name}" for name in ("static/style.css", "static/icon.svg", "templates/shell.html")}
    assert shipped <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"orchestrator", "channels"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".db", ".key"))]
