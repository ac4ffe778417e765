"""A vendor that takes everything: reads a request and answers, at once or later.

Prints its port; ends by a signal, with its parent's pipe, or after ten minutes.

python -m benchmarks.sink [MILLISECONDS]
"""

from __future__ import annotations

import asyncio
import re
import sys
from itertools import count

LONGEST = 600.0
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_numbers = count()


class Vendor(asyncio.Protocol):
    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._held = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._held, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._held) < whole:
                return
            answer = _answer(bytes(self._held[:end]))
            del self._held[:whole]
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)
            else:
                self._transport.write(answer)


def _answer(head: bytes) -> bytes:
    number = next(_numbers)
    if b"/v3/mail/send" in head.split(b"\r\n", 1)[0]:
        return b"HTTP/1.1 202 Accepted\r\nX-Message-Id: id%d\r\nContent-Length: 0\r\n\r\n" % number
    body = b'{"sid": "SM%032x", "status": "queued", "error_code": null, "num_segments": "1"}' % number
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


async def main(delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Vendor(delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = loop.run_in_executor(None, sys.stdin.read)
    await asyncio.wait([over], timeout=LONGEST)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0))
