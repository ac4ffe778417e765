import atexit
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from channels.base import Medium, Site
from channels.webhook import Webhook, connect
from tests.channels.kit import NOW, Kit
from tests.vendors.server import Asked, Reply, Vendor

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()


def webhook(endpoints: Mapping[str, Mapping[str, Any]], **options: Any) -> Webhook:
    tables = {name: {"secret": SECRET, "allow_private": True, **table} for name, table in endpoints.items()}
    return connect(Medium.WEBHOOK, {"endpoints": tables, **options}, Site(Path(), lambda: NOW, b"a secret"))


class Endpoint(Vendor):
    """Another system: takes every call once, by its id."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.taken: list[str] = []

    def _take(self, asked: Asked) -> Reply:
        if asked.headers["webhook-id"] not in self.taken:
            self.taken.append(asked.headers["webhook-id"])
        return Reply(200)


def kits(folder: Path) -> list[Kit]:
    endpoint = Endpoint().__enter__()
    atexit.register(endpoint.__exit__)
    return [Kit(webhook({"crm": {"url": endpoint.url}}), lambda: endpoint.taken)]
