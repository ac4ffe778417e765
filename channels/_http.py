"""Requests for providers that speak HTTP: one event loop in a thread of its own, many requests at once.

What matters is told apart here, once for all vendors: a request that was certainly not taken (the connection was
refused, no byte went out) and one that may have been (a time-out, a reset, an answer that cannot be read). Only the
first may ever be sent again. Nothing of a request or an answer stands in an exception: they name people.
"""

from __future__ import annotations

import asyncio
import atexit
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from channels.base import Misconfigured, Unavailable, Uncertain

CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 20.0
"""Below half of the lease that `deliver` holds while it waits: a slow provider loses us no lease."""
_MOST = 5_000_000  # bytes of an answer that are read


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `key` is the caller's own, and comes back with the answer."""

    key: Any
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back to one request: a status with its headers (names in lower case) and body; or `failed`.

    `failed` is Unavailable where the provider certainly has nothing of it, Uncertain where it may have."""

    key: Any
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    failed: Unavailable | Uncertain | None = None


class Http:
    """A pool of connections. `at_once`: requests under way together. Threads may share one.

    `connector` makes aiohttp's connector, on the loop, for who must choose where it connects to.
    """

    def __init__(
        self,
        *,
        at_once: int = 50,
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        connector: Callable[[], aiohttp.BaseConnector] | None = None,
    ) -> None:
        self._at_once = at_once
        self._timeout = aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds)
        self._connector = connector or (lambda: aiohttp.TCPConnector(limit=at_once, ttl_dns_cache=60))
        self._session: aiohttp.ClientSession | None = None

    def all(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Every request at once, as far as `at_once` goes; answers as they come, one for each.

        Who stops listening cancels nothing: what is under way is finished, and its answers are dropped.
        """
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        asyncio.run_coroutine_threadsafe(self._all(list(requests), answers), _loop())
        for _ in requests:
            yield answers.get()

    def one(self, request: Request) -> Answer:
        return next(self.all([request]))

    def close(self) -> None:
        if self._session is not None:
            asyncio.run_coroutine_threadsafe(self._session.close(), _loop()).result(5)
            self._session = None

    async def _all(self, requests: list[Request], answers: queue.SimpleQueue[Answer]) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(), timeout=self._timeout, auto_decompress=True, trust_env=False
            )
            weakref.finalize(self, _end, self._session)  # who drops a channel leaves no connection behind
        waiting = iter(requests)

        async def work(session: aiohttp.ClientSession) -> None:
            for request in waiting:
                answers.put(await _ask(session, request))

        await asyncio.gather(*(work(self._session) for _ in range(min(self._at_once, len(requests)))))


async def _ask(session: aiohttp.ClientSession, request: Request) -> Answer:
    try:
        async with session.request(
            request.method, request.url, headers=request.headers, data=request.body or None, allow_redirects=False
        ) as response:
            body = await response.content.read(_MOST)
            while len(body) < _MOST and (more := await response.content.read(_MOST - len(body))):
                body += more
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(request.key, response.status, headers, body)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        # Nothing was written yet: this, and only this, is surely not taken.
        return Answer(request.key, failed=Unavailable(f"no connection to the provider ({type(error).__name__})"))
    except (aiohttp.InvalidURL, ValueError) as error:
        return Answer(request.key, failed=Unavailable(f"the request could not be made ({type(error).__name__})"))
    except Exception as error:
        return Answer(request.key, failed=Uncertain(f"no readable answer from the provider ({type(error).__name__})"))


def _end(session: aiohttp.ClientSession) -> None:
    loop = _loop()
    loop.call_soon_threadsafe(lambda: loop.create_task(session.close()))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that `Retry-After` asks to wait, given as a number or as a date; None where it is missing or unreadable.

    `now`: seconds since 1970."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError):
        return None


def required(options: Mapping[str, object], provider: str, *names: str) -> list[str]:
    """Texts that a provider's settings must have. Raises Misconfigured, naming the ones that are missing."""
    missing = [name for name in names if not isinstance(options.get(name), str) or not options[name]]
    if missing:
        raise Misconfigured(f"{provider} needs the setting{'s' * (len(missing) > 1)} {', '.join(missing)}")
    return [str(options[name]) for name in names]


def only(options: Mapping[str, object], provider: str, known: Sequence[str]) -> None:
    """Raises Misconfigured for a setting that the provider does not have."""
    if unknown := sorted(options.keys() - set(known)):
        raise Misconfigured(f"{provider} has no setting `{unknown[0]}`; known: {', '.join(sorted(known))}")


# ---- the loop -------------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_running: asyncio.AbstractEventLoop | None = None


def _loop() -> asyncio.AbstractEventLoop:
    """One for the process, in a thread that ends with it."""
    global _running  # noqa: PLW0603
    with _lock:
        if _running is None or _running.is_closed():
            _running = asyncio.new_event_loop()
            threading.Thread(target=_running.run_forever, name="channels", daemon=True).start()
            atexit.register(_running.call_soon_threadsafe, _running.stop)
        return _running
