import atexit
import socket
from pathlib import Path
from typing import Any

from channels.base import Misconfigured, Unavailable
from channels.smtp import Smtp
from tests.channels.kit import NOW, Kit
from tests.vendors.relay import GONE, Relay, certificate


def smtp(port: int, **changes: Any) -> Smtp:
    given: dict[str, Any] = {"security": "none", "clock": lambda: NOW, "secret": b"s" * 32, "timeout": 15.0, **changes}
    return Smtp("127.0.0.1", port, **given)


def kits(folder: Path) -> list[Kit]:
    relay = Relay()
    relay.__enter__()
    atexit.register(relay.__exit__)
    return [
        Kit(
            smtp(relay.port),
            lambda: [str(message["Message-ID"])[1:].partition(".")[0] for _, message in relay.taken],
        )
    ]


def nobody() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


__all__ = ["GONE", "Misconfigured", "Unavailable", "certificate", "kits", "nobody", "smtp"]
