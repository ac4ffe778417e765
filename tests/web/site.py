"""The web app over a World's database: asked in this process, or served on loopback for a browser."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from orchestrator.settings import Reveal, Settings, Web
from orchestrator.web.app import create_app
from orchestrator.wiring import Wired
from tests.outgoing import World

PUBLIC = "https://small.example"


def wired_of(world: World, public_url: str = PUBLIC) -> Wired:
    """What `wiring.connected` would give, over a test's world: its store, its keys, its channels and its clock."""
    settings = Settings(web=Web(public_url=public_url))
    wired = Wired(world.folder, settings, world.store, lambda: world.now, Reveal(os.environ, _no_file), "")
    for name, value in (("keys", world.keys), ("channels", world.channels)):
        wired.__dict__[name] = value  # cached properties, already worked out
    return wired


def _no_file(path: str) -> str:
    raise OSError


class Asked:
    """Requests to the app without a socket. Each ends in its answer; nothing is followed."""

    def __init__(self, world: World, public_url: str = PUBLIC) -> None:
        self.world = world
        self.app = create_app(wired_of(world, public_url))

    def __call__(self, method: str, path: str, *, client: str = "203.0.113.9", **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=(client, 50000))
            async with httpx.AsyncClient(transport=transport, base_url=PUBLIC) as http:
                return await http.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self("POST", path, **more)


@contextmanager
def served(world: World) -> Iterator[str]:
    """The app on a free port of loopback; its address, which is its public one as well."""
    import socket

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    app = create_app(wired_of(world, url))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],), name="web", daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive(), "the web app did not stop"
