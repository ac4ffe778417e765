"""`draw`: pictures into files, from the folder alone or with counts from the database."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.conftest import World

ROOT = Path(__file__).parents[2]


@pytest.fixture
def spring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A workspace that was never applied, and where one stands."""
    from tests.cli.conftest import At

    for name in ("journeys", "templates"):
        shutil.copytree(ROOT / name, tmp_path / "spring" / name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return World(tmp_path / "spring", At())


def test_one_journey_needs_no_database(spring: World) -> None:
    said = spring("draw", "welcome")
    assert (said.code, said.out, said.err) == (0, "welcome.svg\n", "")
    assert ET.fromstring(Path("welcome.svg").read_text(encoding="utf-8")).get("role") == "img"
    said = spring("draw", "welcome", "--out", "a/b.svg", "--theme", "dark")
    assert said.out == "a/b.svg\n" and "<style" not in Path("a/b.svg").read_text(encoding="utf-8")
    assert sorted(p.name for p in spring.folder.iterdir()) == ["journeys", "templates"]


def test_all_of_them(spring: World) -> None:
    files = spring.json("draw", "--all", "pictures")["files"]
    assert len(files) > 40 and {str(p) for p in Path("pictures").iterdir()} == set(files)


def test_what_it_does_not_take(spring: World) -> None:
    said = spring("draw", "welcom")
    assert said.code == 2 and "did you mean `welcome`?" in said.err
    assert spring("draw").code == spring("draw", "welcome", "--all", "x").code == 2
    assert spring("draw", "--all", "x", "--out", "y.svg").code == 2
    assert spring("draw", "welcome", "--theme", "pink").code == 2
    Path("file").write_text("", encoding="utf-8")
    said = spring("draw", "welcome", "--out", "file/x.svg")
    assert said.code == 3 and "file/x.svg cannot be written" in said.err
    said = spring("draw", "welcome", "--live")
    assert said.code == 3


def test_with_counts_of_the_version_in_force(told: World, tmp_path: Path) -> None:
    names = [row["journey"] for row in told.json("journeys")["journeys"] if row["entered"] and row["version"]]
    out = tmp_path / "live.svg"
    assert told("draw", names[0], "--live", "--out", str(out)).code == 0
    texts = [e.text for e in ET.fromstring(out.read_text(encoding="utf-8")).iter("{http://www.w3.org/2000/svg}text")]
    assert "entered" in texts and "messages sent" in texts
