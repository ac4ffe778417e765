import atexit
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from channels.base import Inbound, Misconfigured, Unavailable
from tests.channels.kit import NOW, Kit
from tests.vendors.sendgrid import SendGridVendor
from tests.vendors.server import Reply


def started() -> SendGridVendor:
    vendor = SendGridVendor().__enter__()
    atexit.register(vendor.__exit__)
    return vendor


def kits(folder: Path) -> list[Kit]:
    vendor = started()

    def genuine(attempts: Sequence[str]) -> list[tuple[Inbound, int]]:
        known = {mail.attempt: mail for mail in vendor.mails}
        if not known:
            list(vendor.channel(lambda: NOW).send(_batch(attempts)))
            known = {mail.attempt: mail for mail in vendor.mails}
        mails = [known[a] for a in attempts]
        told = [vendor.event(mail, kind, NOW) for mail in mails for kind in ("delivered", "processed")]
        return [(vendor.signed(told, NOW), len(told)), (vendor.signed([], NOW), 0)]

    return [
        Kit(
            vendor.channel(lambda: NOW),
            vendor.attempts,
            {
                Misconfigured: _after_the_first(Reply(401, {}, b"hello anna.1@example.com")),
                Unavailable: _after_the_first(Reply(429, {"X-RateLimit-Reset": str(int(NOW.timestamp()) + 30)})),
            },
            genuine,
        )
    ]


def _batch(attempts: Sequence[str]) -> list[Any]:
    from channels.base import Medium
    from tests.channels.kit import outbound

    return [outbound(Medium.EMAIL, n, attempt=a) for n, a in enumerate(attempts)]


def _after_the_first(reply: Reply) -> Any:
    """Requests of two each, of which only the one with the first message is taken."""
    vendor = started()
    vendor.refuse = lambda body: None if '"a0"' in json.dumps(body) else reply
    return vendor.channel(lambda: NOW, batch_size=2)
