"""`new`: a journey written into a folder that checks, with nothing overwritten and nothing half written."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.cli import making
from orchestrator.cli.terminal import CannotRun
from tests.recipes.fitting import MINIMAL, in_minimal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "journeys").mkdir()
    (tmp_path / "journeys" / "workspace.yaml").write_text("# ours\n" + MINIMAL, encoding="utf-8")
    return tmp_path


def call(folder: Path, *words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(["-w", str(folder), *words])
    return code, out.getvalue(), err.getvalue()


def kept(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_recipe_is_written_shown_and_checks(folder: Path) -> None:
    code, out, _ = call(folder, "new", "journey", "--recipe", "win-back")
    assert code == 0
    assert "+ journeys/win-back.test.yaml" in out
    assert "+lapsed-buyers: class == b2c" in out
    assert "orchestrator test journeys/win-back.test.yaml" in out
    files = kept(folder)
    assert files["journeys/workspace.yaml"].startswith("# ours\nworkspace: mini\n")
    assert not [path for path in files if path.endswith("~")]
    code, out, _ = call(folder, "check")
    assert (code, "no problems in 1 journey, 1 segment, 7 texts, 2 tests" in out) == (0, True)
    assert "warning" not in out
    # again: nothing of the first is touched, whatever it is called
    code, out, _ = call(folder, "--json", "new", "journey", "--recipe", "win-back")
    said = json.loads(out)
    assert (code, said["journey"], said["changed"]) == (0, "win-back-2", {})
    code, _, err = call(folder, "new", "journey", "win-back", "--recipe", "win-back")
    assert (code, "nothing is overwritten" in err) == (2, True)
    after = kept(folder)
    assert {path: after[path] for path in files} == files
    assert set(said["written"]) == after.keys() - files.keys()


def test_without_a_recipe_a_small_one_with_a_word_on_each_part(folder: Path) -> None:
    code, _, _ = call(folder, "new", "journey", "spring-sale")
    assert code == 0
    assert "goal: { event: order_placed, within: 30 days }" in (folder / "journeys/spring-sale.yaml").read_text()
    assert call(folder, "check")[0] == 0
    assert call(folder, "new", "journey")[0] == 2


def test_what_does_not_fit_is_told_and_nothing_is_written(folder: Path) -> None:
    path = folder / "journeys" / "workspace.yaml"
    path.write_text(MINIMAL + "events: { order_placed: { amount: text } }\n", encoding="utf-8")
    before = kept(folder)
    code, out, _ = call(folder, "new", "journey", "--recipe", "win-back")
    assert code == 1
    assert "nothing was written" in out
    assert "Add by hand" in out
    assert "complaint_opened: { subject: text }" in out
    code, out, _ = call(folder, "--json", "new", "journey", "--recipe", "win-back")
    assert code == 1
    assert json.loads(out)["problems"]
    assert kept(folder) == before
    path.write_text("workspace: [\n", encoding="utf-8")  # its own errors come first
    assert call(folder, "new", "journey", "--recipe", "win-back")[0] == 1


def test_a_file_that_appears_meanwhile_is_not_overwritten(folder: Path) -> None:
    found = in_minimal("win-back")
    there = folder / "templates" / "email" / "win-back-offer.mjml"
    there.parent.mkdir(parents=True)
    there.write_text("mine", encoding="utf-8")
    before = kept(folder)
    with pytest.raises(CannotRun, match="nothing was written"):
        making.write(folder, found)
    assert kept(folder) == before


def test_the_recipes_are_listed_by_what_they_are_for(folder: Path) -> None:
    code, out, _ = call(folder, "new")
    assert code == 0
    assert out.index("Begin") < out.index("welcome-series") < out.index("Announce") < out.index("product-launch")
    assert call(folder, "new", "journey", "--list")[1] == out
    said = json.loads(call(folder, "--json", "new")[1])
    assert len(said["recipes"]) == 20
