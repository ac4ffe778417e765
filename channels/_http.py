"""Requests for providers that speak HTTP: one event loop in a thread of its own, many requests at once.

What matters is told apart here, once for all vendors: a request that was certainly not taken (the connection was
refused, no byte went out) and one that may have been (a time-out, a reset, an answer that cannot be read). Only the
first may ever be sent again. Nothing of a request or an answer stands in an exception: they name people.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
import time
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
_SLACK = 10.0  # seconds over what all requests may take together


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
        self._total = total_seconds
        # `connect` counts looking up the name, too: while the resolver hangs, nothing has been handed over.
        connect = min(connect_seconds, total_seconds * 0.9)
        self._timeout = aiohttp.ClientTimeout(total=total_seconds, connect=connect, sock_connect=connect)
        self._connector = connector or (lambda: aiohttp.TCPConnector(limit=at_once, ttl_dns_cache=60))
        self._session: aiohttp.ClientSession | None = None
        self._process = 0

    def all(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Every request at once, as far as `at_once` goes; answers as they come, one for each.

        Who stops listening cancels nothing: what is under way is finished, and its answers are dropped.
        """
        told: queue.SimpleQueue[tuple[int, Answer] | None] = queue.SimpleQueue()
        under_way = asyncio.run_coroutine_threadsafe(self._all(list(requests), told), _loop())
        under_way.add_done_callback(lambda _: told.put(None))
        left = set(range(len(requests)))
        # Whatever becomes of the loop, nobody waits for ever: a worker that hangs here would keep its lease, and stay.
        ends = time.monotonic() + self._total * -(-len(requests) // self._at_once) + _SLACK
        while left:
            try:
                answer = told.get(timeout=max(0.01, ends - time.monotonic()))
            except queue.Empty:
                answer = None
            if answer is None:
                break
            left.discard(answer[0])
            yield answer[1]
        for n in sorted(left):
            yield Answer(requests[n].key, failed=Uncertain("no answer was waited for any longer"))

    def one(self, request: Request) -> Answer:
        return next(self.all([request]))

    def close(self) -> None:
        if self._session is not None and self._process == os.getpid():
            asyncio.run_coroutine_threadsafe(self._session.close(), _loop()).result(5)
        self._session = None

    async def _all(self, requests: list[Request], told: queue.SimpleQueue[tuple[int, Answer] | None]) -> None:
        try:
            session = self._opened()
        except Exception as error:
            failed = Unavailable(f"no connection to the provider ({type(error).__name__})")
            for n, request in enumerate(requests):
                told.put((n, Answer(request.key, failed=failed)))
            return
        waiting = iter(enumerate(requests))

        async def work() -> None:
            for n, request in waiting:
                told.put((n, await _ask(session, request)))

        await asyncio.gather(*(work() for _ in range(min(self._at_once, len(requests)))), return_exceptions=True)

    def _opened(self) -> aiohttp.ClientSession:
        """The connections of this process: those of the one it was forked from are not its own."""
        if self._session is None or self._process != os.getpid():
            self._process = os.getpid()
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                timeout=self._timeout,
                auto_decompress=True,  # piece by piece, so that `_MOST` bounds what it comes to
                cookie_jar=aiohttp.DummyCookieJar(),  # nobody is recognised by us
                trust_env=False,
            )
            # Who drops a channel leaves no connection behind.
            weakref.finalize(self, _end, self._session, self._process)
        return self._session


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


def _end(session: aiohttp.ClientSession, process: int) -> None:
    if process != os.getpid():
        return
    loop = _loop()
    loop.call_soon_threadsafe(lambda: loop.create_task(session.close()))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that `Retry-After` asks to wait, given as a number or as a date; None where it is missing or unreadable.

    `now`: seconds since 1970."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError, OverflowError):  # it may be anybody's: Web Push calls where it is told to
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


def whole(options: Mapping[str, object], provider: str, name: str, usual: int, least: int, most: int) -> int:
    """A setting that is a whole number, `usual` where it is missing; a text where it comes from the environment."""
    value = options.get(name, usual)
    number = int(value) if isinstance(value, int | str) and str(value).isdigit() else -1
    if not least <= number <= most:
        raise Misconfigured(f"{provider}: `{name}` is a number from {least} to {most}")
    return number


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


def _forked() -> None:
    """A thread does not come along into a forked process: it makes a loop of its own."""
    global _running, _lock
    _running, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forked)
