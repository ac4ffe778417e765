"""The check that is made of every captured request tells what does not fit."""

from typing import Any

import pytest

from tests.channels.kit import outbounds
from tests.vendors import published
from tests.vendors.sendgrid import SendGridVendor
from tests.vendors.server import Asked

pytestmark = pytest.mark.skipif(
    not published.there(), reason="the vendors' published schemas are not beside this repository: ../shared/contracts"
)


def test_a_request_that_does_not_fit_is_told():
    assert published.told_of("twilio", {"To": "+4915112345678", "Body": "x", "Colour": "green"})
    assert not published.told_of("twilio", {"To": "+4915112345678", "Body": "x", "ValidityPeriod": "60"})
    good: dict[str, Any] = {
        "personalizations": [{"to": [{"email": f"a{n}@example.com"}]} for n in range(50)],
        "from": {"email": "a@example.com"},
        "subject": "x",
        "content": [{"type": "text/plain", "value": "x"}],
    }
    assert not published.told_of("sendgrid", good)
    good["personalizations"][30] = {"cc": []}
    assert published.told_of("sendgrid", good), "one of many is looked at, too, if it is unlike the others"


def test_what_a_fake_takes_is_checked(monkeypatch):
    """An ordinary send to the fake, with a check that finds everything wrong."""
    from channels.base import Medium
    from tests.channels.kit import NOW

    seen: list[Any] = []
    monkeypatch.setattr(published, "sendgrid", seen.append)
    with SendGridVendor() as vendor:
        list(vendor.channel(lambda: NOW).send(outbounds(Medium.EMAIL, 2)))
        vendor.answer(Asked("GET", "/", {}, b"", 0.0))
    assert seen == vendor.bodies and len(seen) == 1
