"""A print house's SFTP server of the tests' own, on loopback: keys, one folder, and a way to break off an upload."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh


@dataclass
class House:
    """`options`: as `sftp` in the settings. `breaks_after`: so many writes, then the line is cut."""

    folder: Path
    port: int
    known_hosts: Path
    identity: Path
    breaks_after: int | None = None
    writes: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "acme",
            "identity": str(self.identity),
            "known_hosts": str(self.known_hosts),
            "folder": "jobs",
        }


@contextmanager
def house(place: Path) -> Iterator[House]:
    """Serves `place/jobs` until the end of the block."""
    host, own = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    (place / "jobs").mkdir(parents=True)
    own.write_private_key(place / "identity")
    own.write_public_key(place / "authorized")
    started = threading.Event()
    loop = asyncio.new_event_loop()
    found: list[House] = []

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: Any) -> None:
            super().__init__(channel, chroot=str(place).encode())

        def write(self, file_obj: Any, offset: int, data: bytes) -> Any:
            found[0].writes += 1
            if found[0].breaks_after is not None and found[0].writes > found[0].breaks_after:
                self.channel.get_connection().abort()
                raise asyncssh.SFTPConnectionLost("cut")
            return super().write(file_obj, offset, data)

        def rename(self, oldpath: bytes, newpath: bytes) -> Any:
            found[0].seen.append(f"{oldpath.decode()} -> {newpath.decode()}")
            return super().rename(oldpath, newpath)

    async def serve() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host],
            authorized_client_keys=str(place / "authorized"),
            sftp_factory=Files,
        )
        port = server.sockets[0].getsockname()[1]
        public = host.export_public_key().decode().strip()
        (place / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
        found.append(House(place / "jobs", port, place / "known_hosts", place / "identity"))

    def run() -> None:
        loop.run_until_complete(serve())
        loop.call_soon(started.set)  # once it runs: told to stop before, it would run for ever
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
