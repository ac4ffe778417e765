"""Jobs by SFTP: the host's key, uploads that break off, and what the house leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from channels.base import Handed, Medium, Misconfigured, Unavailable, Uncertain
from tests.channels.kit import NOW, outbounds
from tests.channels.kits.letterfile import letterfile, pieces
from tests.vendors.sftp import House, house


@pytest.fixture
def server(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "house") as found:
        yield found


def test_a_job_is_uploaded_and_the_ok_is_last(server: House, tmp_path: Path) -> None:
    channel = letterfile(tmp_path / "own", sftp=server.options)
    batch = outbounds(Medium.MAIL, 30)
    assert {r.status for r in channel.send(batch)} == {"accepted"}
    (job,) = [p for p in server.folder.iterdir() if p.is_dir()]
    assert sorted(pieces(job / f"{job.name}_records.csv")) == sorted(o.attempt for o in batch)
    assert (job / f"{job.name}.ok").read_bytes() == b""
    assert [s.partition(" -> ")[2].rpartition("/")[2] for s in server.seen] == [job.name]
    assert {r.status for r in channel.send(batch)} == {"accepted"}, "the same again is done already"
    assert len([p for p in server.folder.iterdir() if p.is_dir()]) == 1


def test_a_stranger_gets_nothing(server: House, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}\n")
    channel = letterfile(tmp_path / "own", sftp=server.options)
    with pytest.raises(Misconfigured, match="host key"):
        list(channel.send(outbounds(Medium.MAIL, 2)))
    assert not list(server.folder.iterdir()) and not channel.jobs()


@pytest.mark.parametrize("lacking", ["known_hosts", "identity", "host", "user"])
def test_without_a_host_key_or_a_key_nothing_is_set_up(server: House, tmp_path: Path, lacking: str) -> None:
    options = {name: value for name, value in server.options.items() if name != lacking}
    with pytest.raises(Misconfigured, match=lacking):
        letterfile(tmp_path / "own", sftp=options)


def test_who_is_not_let_in_is_told_so(server: House, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "another")
    channel = letterfile(tmp_path / "own", sftp={**server.options, "identity": str(tmp_path / "another")})
    with pytest.raises(Misconfigured, match="does not let us in"):
        list(channel.send(outbounds(Medium.MAIL, 2)))


def test_an_upload_that_breaks_off_was_certainly_not_taken(server: House, tmp_path: Path) -> None:
    channel = letterfile(tmp_path / "own", sftp=server.options)
    server.breaks_after = 0
    with pytest.raises(Unavailable):
        list(channel.send(outbounds(Medium.MAIL, 5)))
    server.breaks_after = None
    assert not [p for p in server.folder.iterdir() if p.name[0] != "."] and not channel.jobs()
    assert {r.status for r in channel.send(outbounds(Medium.MAIL, 5))} == {"accepted"}
    (job,) = [p for p in server.folder.iterdir() if p.name[0] != "."]
    assert (job / f"{job.name}.ok").exists()


def test_a_house_that_is_down_is_not_available(server: House, tmp_path: Path) -> None:
    channel = letterfile(tmp_path / "own", sftp={**server.options, "port": 1})
    with pytest.raises((Unavailable, Misconfigured)):
        list(channel.send(outbounds(Medium.MAIL, 2)))


def test_a_break_behind_the_rename_is_traced(server: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from channels.letterfile import _Release

    channel = letterfile(tmp_path / "own", sftp=server.options)
    monkeypatch.setattr(_Release, "__exit__", lambda self, *_: self._lock() if self._lock else None)
    list(channel.send(outbounds(Medium.MAIL, 2)))
    assert channel.jobs()[0].state == "sealed"
    handed = [Handed("a0", {}, NOW), Handed("a9", {}, NOW)]
    again = letterfile(tmp_path / "own", sftp=server.options)
    assert {r.attempt: (r.status, r.detail) for r in again.trace(handed)} == {
        "a0": ("accepted", ""),
        "a9": ("rejected", "never_taken"),
    }


def test_whatever_a_server_says_behind_the_release_the_job_is_not_made_again(
    server: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that is lacking is an operator's to mend, and "nothing was taken" only before the job was released."""
    import asyncssh

    async def rename(self: object, *paths: object, **more: object) -> None:
        raise asyncssh.SFTPPermissionDenied("no")

    monkeypatch.setattr(asyncssh.SFTPClient, "rename", rename)
    channel = letterfile(tmp_path / "own", sftp=server.options)
    with pytest.raises(Uncertain):
        list(channel.send(outbounds(Medium.MAIL, 2)))
    assert [job.state for job in channel.jobs()] == ["sealed"]


def test_what_the_house_leaves_is_read_and_put_aside(server: House, tmp_path: Path) -> None:
    channel = letterfile(tmp_path / "own", sftp=server.options)
    list(channel.send(outbounds(Medium.MAIL, 2)))
    job = channel.jobs()[0].id
    channel.approve(job, "Anna")
    assert json.loads((server.folder / job / f"{job}_approved.json").read_text())["approved_by"] == "Anna"
    (server.folder / job / f"{job}_receipt.json").write_text(json.dumps({"job": job, "state": "mailed"}))
    (server.folder / "returns").mkdir()
    (server.folder / "returns" / "a.csv").write_text("piece_id;reason;date\na1;unknown;2027-01-13\na1;?;2027-01-13\n")
    (server.folder / "returns" / "b.csv.part").write_text("somebody is still writing")
    assert sorted(i.headers["Letterfile-Name"] for i in channel.left()) == [
        f"{job}/{job}_receipt.json",
        "returns/a.csv",
    ]
    assert [channel.taken(inbound) for inbound in list(channel.left())] == [1, 0]
    assert not list(channel.left())
    assert channel.jobs()[0].state == "returned"
    assert (server.folder / "returns" / "done" / "a.csv.refused.csv").exists()
