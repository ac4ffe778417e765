import atexit
from pathlib import Path
from typing import Any

from channels.base import Medium, Misconfigured, Site, Unavailable
from channels.fcm import Fcm, connect
from tests.channels.kit import NOW, Kit
from tests.vendors.fcm import DENIED, FakeFcm, unavailable
from tests.vendors.server import Reply


def kits(folder: Path) -> list[Kit]:
    vendor = _started(FakeFcm())
    return [
        Kit(
            fcm(vendor, folder),
            lambda: [message["data"]["attempt"] for message in vendor.sent],
            {Unavailable: _broken(folder, unavailable()), Misconfigured: _broken(folder, DENIED)},
        )
    ]


def fcm(vendor: FakeFcm, folder: Path = Path(), **options: Any) -> Fcm:
    site = Site(folder, lambda: NOW, b"a secret")
    return connect(Medium.PUSH, {"credentials": vendor.credentials, "base_url": vendor.url, **options}, site)


def _broken(folder: Path, reply: Reply) -> Fcm:
    """One at a time, so that the first two are taken."""
    vendor = _started(FakeFcm())
    vendor.next(Reply(0), Reply(0), reply, reply, reply)
    return fcm(vendor, folder, at_once=1)


def _started(vendor: FakeFcm) -> FakeFcm:
    vendor.__enter__()
    atexit.register(vendor.__exit__)
    return vendor
