"""A rotated key: old links work, new ones do at once in a server that runs already, and the database knows the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.store.keys import KeysUnusable, load_keys, rotate_token
from orchestrator.wiring import connected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with connected(tmp_path, create=True) as wired:
        _ = wired.keys
    return tmp_path


def test_links_of_every_earlier_key_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with connected(folder) as wired:
        path, before = wired.keys_path, wired.keys
        links = [before.link_token(7)]
        for _ in range(2):
            assert cli.run(["-w", str(folder), "keys", "rotate"]) == 0
            links.append(load_keys(path).link_token(7))
        after = load_keys(path)
        assert len(set(links)) == 3 and [after.read_link_token(link) for link in links] == [7, 7, 7]
        assert (after.address, after.seal, after.sign) == (before.address, before.seal, before.sign)
        assert wired.keys.read_link_token(links[2]) is None
        assert wired.reread_keys() and wired.keys.read_link_token(links[2]) == 7
        assert not wired.reread_keys()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [p for p in path.parent.iterdir() if p.name.startswith(f".{path.name}.")]
    said = capsys.readouterr().out
    assert "2 earlier ones" in said and before.token.hex() not in said and after.token.hex() not in said


def test_the_database_knows_the_file_again(folder: Path) -> None:
    with connected(folder) as wired:
        path = wired.keys_path
    rotate_token(path)
    with connected(folder) as wired:
        assert wired.keys.old_tokens


def test_a_damaged_file_is_left_as_it_is(folder: Path) -> None:
    with connected(folder) as wired:
        path = wired.keys_path
    text = json.dumps({**json.loads(path.read_text()), "seal": "00"})
    path.write_text(text)
    with pytest.raises(KeysUnusable, match="restore it"):
        rotate_token(path)
    assert path.read_text() == text
