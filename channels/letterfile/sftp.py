"""A print house's SFTP server: the same steps as in a folder, and the host's key checked before anything is sent."""

from __future__ import annotations

import asyncio
import posixpath
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from channels.base import ChannelError, Misconfigured, Unavailable, Uncertain
from channels.letterfile.drop import DONE, LARGEST, RETURNS, Left, free, hidden
from channels.letterfile.ledger import Entry
from channels.letterfile.options import Sftp
from channels.letterfile.returns import thinned

_CONNECT = 20.0
_STEP = 120.0
"""Seconds for one file: a house that hangs does not hang us."""
_AT_ONCE = 16

T = TypeVar("T")


def check() -> None:
    """Raises Misconfigured where the package for it is not installed."""
    try:
        import asyncssh  # noqa: F401
    except ImportError:
        raise Misconfigured(
            "letterfile uploads with asyncssh: pip install 'campaign-orchestrator[sftp]'; or drop jobs in a `folder`"
        ) from None


@dataclass(frozen=True, slots=True)
class Upload:
    """One house's server. Each call is a connection of its own: jobs are a few a day."""

    at: Sftp

    # ---- what a place can do

    def put(self, job: str, files: Iterable[tuple[str, bytes]], release: Callable[[], None]) -> None:
        # Set first and uploaded then: making the letters takes longer than a server waits.
        ready = list(files)
        sealed = False

        async def work(sftp: Any) -> None:
            nonlocal sealed
            draft, final = self._path(f".{job}.part"), self._path(job)
            await _remove(sftp, draft)  # of an upload that broke off
            await sftp.makedirs(draft, exist_ok=True)
            for folder in sorted({posixpath.dirname(name) for name, _ in ready} - {""}):
                await sftp.makedirs(posixpath.join(draft, folder), exist_ok=True)
            for n in range(0, len(ready), _AT_ONCE):
                group = ready[n : n + _AT_ONCE]
                await asyncio.gather(*(_write(sftp, posixpath.join(draft, name), data) for name, data in group))
            release()
            sealed = True
            await asyncio.wait_for(sftp.rename(draft, final), _STEP)
            await _write(sftp, posixpath.join(final, f"{job}.ok"), b"")

        try:
            self._do(work)
        except ChannelError as error:
            if sealed:  # between rename and receipt nobody knows what the house has seen, whatever the server says
                raise Uncertain(str(error)) from None
            with suppress(ChannelError):  # names and addresses do not lie about; the next upload has another name
                self.stands(job)
            raise

    def stands(self, job: str) -> bool | None:
        async def work(sftp: Any) -> bool | None:
            draft, final = self._path(f".{job}.part"), self._path(job)
            if await sftp.exists(posixpath.join(final, f"{job}.ok")):
                return True
            there = [path for path in (draft, final) if await sftp.exists(path)]
            if final in there:
                await _remove(sftp, draft)
                await sftp.rename(final, draft)
            await _remove(sftp, draft)
            return False if there else None

        return self._do(work)

    def add(self, job: str, name: str, body: bytes) -> bool:
        async def work(sftp: Any) -> bool:
            folder = self._path(job)
            if not await sftp.isdir(folder):
                return False
            draft = posixpath.join(folder, f".{name}.part")
            await _write(sftp, draft, body)
            await sftp.rename(draft, posixpath.join(folder, name))
            return True

        return self._do(work)

    def left(self) -> Iterable[Left]:
        async def work(sftp: Any) -> list[Left]:
            names = []
            if await sftp.isdir(self._path(RETURNS)):
                names += [f"{RETURNS}/{name}" for name in sorted(await sftp.listdir(self._path(RETURNS)))]
            # Without a handler of its own, a pattern that nothing fits is an error (asyncssh 2.24).
            receipts = await sftp.glob(self._path("*/*_receipt.json"), error_handler=lambda *_: None)
            names += [posixpath.relpath(path, self.at.folder) for path in sorted(receipts)]
            found = []
            for name in names:
                attributes = await sftp.stat(self._path(name))
                plain = attributes.permissions is None or stat.S_ISREG(attributes.permissions)
                if plain and not hidden(posixpath.basename(name)) and (attributes.size or 0) <= LARGEST:
                    async with sftp.open(self._path(name), "rb") as file:
                        found.append(Left(name, await asyncio.wait_for(file.read(), _STEP)))
            return found

        return self._do(work)

    def done(self, name: str, refused: bytes) -> None:
        async def work(sftp: Any) -> None:
            done = self._path(f"{RETURNS}/{DONE}")
            await sftp.makedirs(done, exist_ok=True)
            taken = set(await sftp.listdir(done))
            target = free(posixpath.basename(name), taken.__contains__)
            if refused:
                await _write(sftp, posixpath.join(done, f"{target}.refused.csv"), refused)
            await sftp.rename(self._path(name), posixpath.join(done, target))

        self._do(work)

    def forget(self, mine: Callable[[str], bool], entries: Sequence[Entry]) -> int:
        """The letters are the house's by now, and it is asked; what we put aside there is ours to clean."""

        async def work(sftp: Any) -> None:
            done = self._path(f"{RETURNS}/{DONE}")
            for name in await sftp.listdir(done) if await sftp.isdir(done) else ():
                path = posixpath.join(done, name)
                if name not in (".", ".."):
                    async with sftp.open(path, "rb") as file:
                        without = thinned(await file.read(), mine, entries)
                    if without is not None:
                        await _write(sftp, path, without)

        self._do(work)
        return 0

    # ---- the connection

    def _path(self, name: str) -> str:
        return posixpath.join(self.at.folder, name)

    def _do(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async def run() -> T:
            async with self._connected() as sftp:
                return await work(sftp)

        return asyncio.run(run())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        """Raises Unavailable, and Misconfigured for what only an operator can mend. No text of the server's is told."""
        import asyncssh

        at = self.at
        try:
            keys = [str(at.identity)] if at.identity else None
            connecting = asyncssh.connect(
                at.host,
                at.port,
                username=at.user,
                known_hosts=str(at.known_hosts),
                client_keys=keys,
                password=at.password or None,
                agent_path=None,
                config=None,
            )
            connection = await asyncio.wait_for(connecting, _CONNECT)
            async with connection, connection.start_sftp_client() as sftp:
                yield sftp
        except ChannelError:
            raise
        except asyncssh.HostKeyNotVerifiable:
            raise Misconfigured(
                f"the SFTP server {at.host} shows a host key that is not in known_hosts: nothing was uploaded. "
                "Ask the house whether it has a new one"
            ) from None
        except (asyncssh.PermissionDenied, asyncssh.KeyImportError, asyncssh.SFTPPermissionDenied) as error:
            raise Misconfigured(f"the SFTP server {at.host} does not let us in ({type(error).__name__})") from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            raise Unavailable(f"the SFTP server {at.host} broke off ({type(error).__name__})") from None


async def _write(sftp: Any, path: str, data: bytes) -> None:
    async with sftp.open(path, "wb") as file:
        await asyncio.wait_for(file.write(data), _STEP)


async def _remove(sftp: Any, folder: str) -> None:
    if await sftp.exists(folder):
        await sftp.rmtree(folder)
