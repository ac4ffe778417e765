"""What every channel has to keep to, whoever the provider is; run over each file in channels/ by its kit."""

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path

import pytest

import channels
from channels.base import (
    Channel,
    Event,
    EventKind,
    Forged,
    Inbound,
    Medium,
    Misconfigured,
    Receipt,
    Site,
    Unavailable,
    unreported,
)
from tests.channels.kit import NOW, Kit, outbounds

PROVIDERS = sorted(m.name for m in pkgutil.iter_modules(channels.__path__) if m.name != "base" and m.name[0] != "_")


def kits(provider: str, folder: Path) -> list[Kit]:
    module = importlib.import_module(f"tests.channels.kits.{provider}")
    found: list[Kit] = module.kits(folder)
    return found


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_has_a_kit(provider: str, tmp_path: Path) -> None:
    assert kits(provider, tmp_path), f"tests/channels/kits/{provider}.py makes no kit"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_can_be_connected(provider: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"channels.{provider}")
    site = Site(tmp_path, lambda: NOW, b"a secret of this installation")
    with pytest.raises(Misconfigured, match="colour_of_the_bikeshed"):
        module.connect(Medium.EMAIL, {"colour_of_the_bikeshed": "green"}, site)


def media() -> list[tuple[str, int]]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return [(p, n) for p in PROVIDERS for n in range(len(kits(p, Path(folder) / p)))]


@pytest.fixture(params=media(), ids=lambda p: f"{p[0]}-{p[1]}")
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    provider, number = request.param
    return kits(provider, tmp_path)[number]


def test_it_is_a_channel(kit: Kit) -> None:
    channel = kit.channel
    assert isinstance(channel, Channel)
    assert channel.name.isidentifier()
    assert channel.batch_size >= 1
    assert channel.rate is None or channel.rate > 0
    assert channel.resend in ("safe", "never")
    assert type(channel.reports) is frozenset
    assert channel.reports <= frozenset(EventKind)


def test_one_receipt_for_each_message(kit: Kit) -> None:
    batch = outbounds(kit.channel.medium, 25)
    receipts = list(kit.channel.send(batch))
    assert sorted(r.attempt for r in receipts) == sorted(o.attempt for o in batch)
    assert {r.status for r in receipts} == {"accepted"}
    assert all(r.provider_id for r in receipts)
    if kit.taken is not None:
        assert sorted(kit.taken()) == sorted(o.attempt for o in batch)


def test_nothing_of_nothing(kit: Kit) -> None:
    assert list(kit.channel.send([])) == []


def test_a_batch_of_full_size_and_another(kit: Kit) -> None:
    size = min(kit.channel.batch_size, 1000)
    for first in (0, size):
        receipts = list(kit.channel.send(outbounds(kit.channel.medium, size, first)))
        assert len({r.attempt for r in receipts if r.status == "accepted"}) == size


def test_receipts_name_no_person(kit: Kit) -> None:
    batch = outbounds(kit.channel.medium, 3)
    batch[1] = replace(batch[1], to={})
    for receipt in kit.channel.send(batch):
        told = f"{receipt.detail} {receipt.provider_id}"
        for one in batch:
            assert not any(value in told for value in one.to.values() if len(value) > 3)


def test_a_message_without_an_address_spoils_no_other(kit: Kit) -> None:
    batch = outbounds(kit.channel.medium, 3)
    batch[1] = replace(batch[1], to={})
    status = {r.attempt: r.status for r in kit.channel.send(batch)}
    assert (status["a0"], status["a2"]) == ("accepted", "accepted")
    assert status["a1"] in ("accepted", "rejected")


def test_what_breaks_in_the_middle_leaves_the_rest_unreported(kit: Kit) -> None:
    for error, channel in kit.broken.items():
        batch = outbounds(channel.medium, 5)
        receipts: list[Receipt] = []
        with pytest.raises(error) as raised:
            for receipt in channel.send(batch):
                receipts.append(receipt)
        assert 0 < len(receipts) < len(batch)
        assert [o.attempt for o in unreported(batch, receipts)] == [o.attempt for o in batch[len(receipts) :]]
        assert "example.com" not in str(raised.value)
        if isinstance(raised.value, Unavailable):
            assert raised.value.retry_after is None or raised.value.retry_after > 0


def test_feedback_is_heard_when_genuine(kit: Kit) -> None:
    if kit.genuine is None:
        assert kit.channel.reports == frozenset()
        return
    attempts = [o.attempt for o in outbounds(kit.channel.medium, 3)]
    for inbound, count in kit.genuine(attempts):
        events = kit.channel.events(inbound)
        assert len(events) == count
        for event in events:
            assert type(event) is Event
            assert event.attempt in attempts
            assert event.at.tzinfo is not None
        assert kit.channel.events(inbound) == events


def test_feedback_that_was_tampered_with_is_refused(kit: Kit) -> None:
    made_up = [Inbound(b"[]"), Inbound(b""), Inbound(b"\xff\x00{", {"Content-Type": "application/json"})]
    for inbound, _ in kit.genuine(["a0", "a1"]) if kit.genuine else ():
        made_up.append(replace(inbound, body=inbound.body + b" "))
        made_up.append(replace(inbound, body=inbound.body.replace(b"a0", b"a9") + b"\n"))
        made_up.append(replace(inbound, headers={}))
        wrong = {name: f"0{value[1:]}x" for name, value in inbound.headers.items()}
        made_up.append(replace(inbound, headers=wrong))
    for inbound in made_up:
        with pytest.raises(Forged):
            kit.channel.events(inbound)
