import atexit
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from channels.base import Medium, Outbound, Receipt, Site
from channels.webpush import WebPush, connect
from tests.channels.kit import NOW, Kit
from tests.vendors.webpush import FakePush, vapid_raw


class Subscribed:
    """The channel, for the contract suite's devices: each of their tokens is some browser's subscription."""

    def __init__(self, channel: WebPush, vendor: FakePush) -> None:
        self._channel, self._vendor = channel, vendor
        self.sent: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        browsers = [
            replace(o, to={**o.to, "token": self._vendor.subscription(o.attempt)}) if o.to else o for o in batch
        ]
        yield from self._channel.send(browsers)


def kits(folder: Path) -> list[Kit]:
    vendor = FakePush()
    vendor.__enter__()
    atexit.register(vendor.__exit__)
    channel: Any = Subscribed(webpush(folder), vendor)
    return [Kit(channel, lambda: [name for name, _, _ in vendor.shown])]


def webpush(folder: Path = Path(), **options: Any) -> WebPush:
    site = Site(folder, lambda: NOW, b"a secret")
    given = {"vapid_key": vapid_raw(), "vapid_subject": "mailto:push@example.com", "allow_private": True, **options}
    return connect(Medium.PUSH, given, site)
