"""`new journey` beside files that were written elsewhere."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.making import make, write
from tests.outgoing import files


def test_what_is_added_to_a_workspace_has_its_line_ends(tmp_path: Path):
    for path, text in files({}).items():
        to = tmp_path / path
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text, encoding="utf-8", newline="")
    workspace = tmp_path / "journeys" / "workspace.yaml"
    before = workspace.read_text(encoding="utf-8").replace("\n", "\r\n")
    workspace.write_text(before, encoding="utf-8", newline="")
    write(tmp_path, make(tmp_path, recipe="abandoned-cart"))
    after = workspace.read_bytes()
    assert len(after) > len(before)
    assert after.count(b"\r\n") == after.count(b"\n")
    assert set(before.split("\r\n")) <= set(after.decode().split("\r\n"))
