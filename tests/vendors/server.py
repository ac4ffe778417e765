"""A vendor of the test's own, over real HTTP on the loopback: keeps what it is asked, and behaves as it is told.

with Vendor(answer) as vendor:          # answer(Asked) -> Reply; what a good vendor says
    vendor.next(Reply(429, {"Retry-After": "3"}), RESET, slow(2.0))     # for the requests that come next, in order
    vendor.url                           # http://127.0.0.1:PORT
    vendor.asked                         # every request, in order of arrival
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    at: float  # time.monotonic()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    meet: threading.Barrier | None = None
    taken: bool = True  # whether the vendor acts on the request before it answers as told


RESET = Reply(-1)
"""The connection is reset, after the request was read."""
HANG_UP = Reply(-2)
"""Half an answer, then the end of the line."""


def slow(seconds: float) -> Reply:
    """Its usual answer, late."""
    return Reply(0, delay=seconds)


def together(count: int) -> list[Reply]:
    """Its usual answers to `count` requests, as soon as all of them are in hand at once; 500 where they never are."""
    return [Reply(0, meet=threading.Barrier(count, timeout=60.0))] * count


class Vendor:
    """`answer` is asked for every request that is taken; what `next` was given is said in place of its answer."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.scripted: deque[Reply] = deque()
        self._lock = threading.Lock()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def log_message(self, *arguments: Any) -> None:
                pass

            def _do(self) -> None:
                vendor._serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = _do

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *arguments: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def next(self, *replies: Reply) -> None:
        self.scripted.extend(replies)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, handler.path, headers, body, time.monotonic())
        with self._lock:
            self.asked.append(asked)
            told = self.scripted.popleft() if self.scripted else None
            usual = self.answer(asked) if told is None or told.taken else Reply(500)
        reply = usual if told is None or told.status == 0 else told
        if told is not None and told.delay:
            time.sleep(told.delay)
        if told is not None and told.meet is not None:
            try:
                told.meet.wait()
            except threading.BrokenBarrierError:
                reply = Reply(500)
        if reply.status == RESET.status:
            # Zero linger: the kernel sends RST instead of FIN.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
            return
        if reply.status == HANG_UP.status:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
            handler.close_connection = True
            return
        try:
            handler.send_response(reply.status)
            for name, value in reply.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(reply.body)))
            handler.end_headers()
            handler.wfile.write(reply.body)
        except OSError:
            handler.close_connection = True  # who asked has gone: it timed out, as it was meant to
