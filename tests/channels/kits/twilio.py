from collections.abc import Sequence
from functools import cache
from pathlib import Path

from channels import twilio
from channels.base import Inbound, Medium, Misconfigured, Site, Unavailable
from tests.channels.kit import NOW, Kit, outbounds
from tests.vendors.twilio import Account, Twilio
from tests.vendors.twilio_bench import HOOK


@cache
def _vendor() -> Twilio:
    """One for all: kits are made for every test, and nothing tells when they are done with."""
    vendor = Twilio()
    vendor.__enter__()
    return vendor


def _channel(account: Account, folder: Path) -> twilio.Twilio:
    options = {
        "account_sid": account.sid,
        "auth_token": account.token,
        "messaging_service_sid": "MG" + "0" * 32,
        "base_url": _vendor().url,
    }
    return twilio.connect(Medium.SMS, options, Site(folder, lambda: NOW, b"s" * 32, HOOK))


def kits(folder: Path) -> list[Kit]:
    vendor = _vendor()
    account = vendor.account()
    later = [o.to["number"] for o in outbounds(Medium.SMS, 5)[2:]]
    busy = vendor.account(refuses=dict.fromkeys(later, 20429))
    closed = vendor.account(refuses=dict.fromkeys(later, 20005))

    def genuine(attempts: Sequence[str]) -> list[tuple[Inbound, int]]:
        requests = []
        for attempt in attempts:
            message = {"sid": "SM" + "1" * 32, "to": "+4915100000000"}
            account.callbacks[str(message["sid"])] = f"{HOOK}?attempt={attempt}&at=1800000000000"
            requests.append((account.report(message, "undelivered", 30003), 1))
        return requests

    return [
        Kit(
            _channel(account, folder),
            account.attempts,
            {Unavailable: _channel(busy, folder), Misconfigured: _channel(closed, folder)},
            genuine,
        )
    ]
