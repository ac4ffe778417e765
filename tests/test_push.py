"""Push from end to end: one message to each device by its platform's provider; devices registered, moved, retired."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import (
    Channel,
    EventKind,
    Forged,
    Inbound,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Rejected,
    Unavailable,
    Uncertain,
)
from channels.null import Null
from orchestrator import wiring
from orchestrator.cells import device_token
from orchestrator.ingest import register_devices, retire_devices, suppress, unregister_devices
from orchestrator.platforms import Parted
from orchestrator.problems import ProjectError
from orchestrator.store import tables as t
from tests.channels.kit import outbound
from tests.channels.kits.fcm import fcm
from tests.channels.kits.webpush import webpush
from tests.outgoing import KEYS, World, audit, files, journey, world_of
from tests.vendors.fcm import FakeFcm, quota
from tests.vendors.webpush import FakePush, vapid_pem

PING = {"ping": journey("ping", "- push: ping")}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


def person(world: World, *devices: tuple[str, str]) -> int:
    """Somebody with these devices alone: (token, platform)."""
    [one] = world.people(1)
    with world.store.write() as conn:
        conn.execute(t.device.delete().where(t.device.c.customer_id == one))
    register(world, *((one, *device) for device in devices))
    return one


def register(world: World, *rows: tuple[int, str, str]) -> list[str]:
    named = [{"customer_id": c, "token": token, "platform": platform} for c, token, platform in rows]
    with world.store.write() as conn:
        return [what for what, _ in register_devices(conn, KEYS, named, now=world.now)]


def live(world: World) -> list[str]:
    return [row.token for row in world.rows(sa.select(t.device).where(t.device.c.retired_at.is_(None)))]


# ---- end to end -----------------------------------------------------------------------------------------------------


def test_one_message_two_devices_one_of_them_gone(world):
    with FakeFcm() as vendor:
        channels: Any = world.channels
        channels[Medium.PUSH] = fcm(vendor)
        vendor.gone.add("old-phone")
        world.apply(files(PING))
        world.event([person(world, ("old-phone", "android"), ("new-phone", "ios"))])
        assert world.tick() == {"allow": 1, "sent": 1}
        assert [message["token"] for message in vendor.sent] == ["new-phone"]
        assert not vendor.wrong
    [message] = world.messages()
    assert (message.state, message.provider) == ("sent", "fcm")
    assert message.provider_id.startswith("projects/")
    assert live(world) == ["new-phone"]
    [outcome] = [line for line in world.log() if line["kind"] == "outcome"]
    assert outcome["verdict"] == "sent"
    audit_of_log(world)


def audit_of_log(world: World) -> None:
    """What `audit` asks for beside the sandbox's outbox."""
    from orchestrator.rejudge import examine

    with world.store.read() as conn:
        assert not examine(conn, world.keys).findings


def test_each_device_by_its_platform_and_a_browser_reads_it(world):
    with FakeFcm() as phones, FakePush() as browsers:
        channels: Any = world.channels
        channels[Medium.PUSH] = Parted(fcm(phones), {"web": webpush()})
        world.apply(files(PING))
        world.event([person(world, ("phone", "android"), (browsers.subscription("b1"), "web"))])
        assert world.tick() == {"allow": 1, "sent": 1}
        assert [message["notification"]["title"] for message in phones.sent] == ["Hello"]
        [(name, shown, _)] = browsers.shown
    assert (name, shown) == ("b1", {"title": "Hello", "body": "A short word."})
    [message] = world.messages()
    assert (message.state, message.provider) == ("sent", "fcm_webpush")
    audit_of_log(world)


def test_a_provider_that_is_away_stops_no_other(world):
    with FakeFcm() as phones, FakePush() as browsers:
        channels: Any = world.channels
        channels[Medium.PUSH] = Parted(fcm(phones), {"web": webpush()})
        phones.next(*[quota("600")] * 50)
        world.apply(files(PING))
        some = [person(world, ("phone", "android")), person(world, (browsers.subscription("b1"), "web"))]
        world.event(some)
        counts = world.tick()
        assert counts["sent"] == 1 and counts["planned unavailable"] >= 1
        assert len(browsers.shown) == 1 and len(phones.asked) == 1, "asked once, and then let rest"
        phones.scripted.clear()
        world.pass_time(minutes=11)
        channels[Medium.PUSH] = Parted(fcm(phones), {"web": webpush()})  # ten minutes of the provider's are over
        assert world.tick()["sent"] == 1 and len(phones.sent) == 1


# ---- devices --------------------------------------------------------------------------------------------------------


def test_a_device_is_registered_moves_and_comes_back(world):
    ana, ben = world.people(2)
    before = len(live(world))
    assert register(world, (ana, "t1", "ios"), (ana, "t2", "android"), (ana, "t1", "ios")) == ["new", "new", "known"]
    assert register(world, (ben, "t1", "ios"), (ana, "t2", "android")) == ["moved", "known"]
    assert world.one(sa.select(t.device.c.customer_id).where(t.device.c.token == "t1")) == ben
    with world.store.write() as conn:
        assert unregister_devices(conn, ["t1", "t9"], now=world.now, customer_id=ana) == 0, "it is not hers any more"
        assert unregister_devices(conn, ["t1", "t9"], now=world.now) == 1
    assert len(live(world)) == before + 1
    assert register(world, (ben, "t1", "ios")) == ["back"]
    assert len(live(world)) == before + 2


def test_what_is_no_device_is_refused(world):
    [ana] = world.people(1)
    named = [
        {"customer_id": ana, "token": "", "platform": "ios"},
        {"customer_id": ana, "token": "t", "platform": "fax"},
    ]
    named.append({"customer_id": ana, "token": "t", "platform": "web"})
    with world.store.write() as conn:
        found = register_devices(conn, KEYS, named, now=world.now)
    assert found == [
        ("refused", "token is no device's token"),
        ("refused", "platform is one of ios, android, web"),
        ("new", ""),
    ]


def test_a_token_that_registers_again_is_written_to_again(world):
    one = person(world, ("t1", "ios"))
    key = KEYS.address_key(Medium.PUSH, "t1")
    with world.store.write() as conn:
        retire_devices(conn, KEYS, {one: [key]}, now=world.now)
        suppress(conn, [("push", key, why, None) for why in ("unknown_address", "complained")], now=world.now)
    assert live(world) == []
    world.pass_time(days=1)
    assert register(world, (one, "t1", "ios")) == ["back"]
    left = world.rows(sa.select(t.suppression.c.reason).where(t.suppression.c.address_key == key))
    assert [row.reason for row in left] == ["complained"], "a complaint is about more than the device"


@pytest.mark.parametrize("registered", [timedelta(minutes=-1), timedelta(minutes=1)], ids=["before", "since"])
def test_a_late_word_is_about_the_registration_before(world, registered):
    one = person(world, ("t1", "ios"))
    world.apply(files(PING))
    world.event([one])
    world.tick()
    [kept] = world.outbox()
    said_at = world.now + timedelta(hours=1)
    world.now = said_at + registered
    register(world, (one, "t1", "ios"))
    world.now = said_at + timedelta(hours=1)
    from channels.base import Event
    from orchestrator.ingest import receive

    event = Event(kept.attempt, EventKind.BOUNCED, said_at, reason=Reason.UNKNOWN_ADDRESS)
    report = receive(world.store, KEYS, [event], now=world.now)
    anew = registered > timedelta()
    assert live(world) == (["t1"] if anew else []) and report.suppressed == (0 if anew else 1)
    audit(world)


def test_one_browser_is_one_device_however_it_is_written():
    with FakePush() as browsers:
        written = browsers.subscription("b1")
    found = json.loads(written)
    other = json.dumps({"keys": dict(reversed(found["keys"].items())), "endpoint": found["endpoint"]}, indent=2)
    assert device_token(written) == device_token(other) != ""
    assert json.loads(device_token(written)) == {"endpoint": found["endpoint"], "keys": found["keys"]}
    assert device_token(" abc ") == "abc"
    for bad in ("", " ", None, 7, "a\x00b", "{", '{"endpoint": "https://a.example"}', "x" * 4097, "{" * 5000):
        assert device_token(bad) == ""


# ---- parting --------------------------------------------------------------------------------------------------------


class Telling(Null):
    """Answers as it is told, after it has taken one."""

    def __init__(self, error: Exception | None = None, **changes: Any) -> None:
        super().__init__(Medium.PUSH)
        self.error, self.given = error, 0
        for name, value in changes.items():
            setattr(self, name, value)

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        self.given += 1
        for outbound_ in batch[: 1 if self.error else None]:
            yield Receipt(outbound_.attempt, "accepted", outbound_.attempt)
        if self.error:
            raise self.error


def batch() -> list[Outbound]:
    platforms = ("android", "web", "android", "web", "", "ios")
    return [outbound(Medium.PUSH, n, to={"token": f"t{n}", "platform": p}) for n, p in enumerate(platforms)]


@pytest.mark.parametrize(
    ("error", "status", "detail", "wait"),
    [
        (Unavailable("away", 7.0), "retry", "unavailable", 7.0),
        (Misconfigured("wrong"), "retry", "misconfigured", 300.0),
        (Uncertain("odd"), "uncertain", "no_answer", None),
        (Rejected("no"), "rejected", "rejected", None),
        (RuntimeError("broke"), "uncertain", "channel_failed", None),
    ],
)
def test_an_error_of_one_becomes_its_own_receipts(error, status, detail, wait):
    usual, web = Telling(), Telling(error)
    found = {r.attempt: r for r in Parted(usual, {"web": web}).send(batch())}
    assert len(found) == 6
    assert {a for a, r in found.items() if r.status == "accepted"} == {"a0", "a1", "a2", "a4", "a5"}
    assert (found["a3"].status, found["a3"].detail, found["a3"].retry_after) == (status, detail, wait)


def test_a_provider_that_is_away_is_let_rest():
    now = [0.0]
    web = Telling(Unavailable("away", 7.0))
    parted = Parted(Telling(), {"web": web}, lambda: now[0])
    list(parted.send(batch()))
    now[0] = 3.0
    waits = {r.attempt: r.retry_after for r in parted.send(batch()) if r.status == "retry"}
    assert waits == {"a1": 4.0, "a3": 4.0} and web.given == 1
    now[0] = 8.0
    list(parted.send(batch()))
    assert web.given == 2


def test_what_it_says_of_itself():
    kinds = frozenset({EventKind.DELIVERED, EventKind.OPENED})
    usual = Telling(batch_size=50, rate=10.0, reports=kinds, resend="safe")
    parted = Parted(usual, {"web": Telling(batch_size=20, reports=frozenset({EventKind.OPENED}))})
    assert isinstance(parted, Channel)
    assert (parted.batch_size, parted.rate, parted.resend) == (20, 10.0, "never")
    assert parted.reports == {EventKind.OPENED} and parted.name == "null" and list(parted.send([])) == []
    with pytest.raises(Forged):
        parted.events(Inbound(b""))


# ---- settings -------------------------------------------------------------------------------------------------------


def settings(folder: Path, text: str) -> None:
    (folder / "orchestrator.toml").write_text(text, encoding="utf-8")


def test_the_settings_name_a_provider_for_each_platform(tmp_path, monkeypatch):
    with FakeFcm() as vendor:
        (tmp_path / "firebase.json").write_text(json.dumps(json.loads(vendor.credentials), indent=2))
        monkeypatch.setenv("VAPID", vapid_pem())
        settings(
            tmp_path,
            '[safety]\nenvironment = "production"\n[channels.push]\nprovider = "fcm"\n'
            'credentials = "file:firebase.json"\n[channels.push.web]\nprovider = "webpush"\n'
            'vapid_key = "env:VAPID"\nvapid_subject = "mailto:push@example.com"\n',
        )
        with wiring.connected(tmp_path, create=True) as wired:
            assert wired.channels[Medium.PUSH].name == "fcm_webpush"
            assert not wired.rehearses()


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ('[channels.push]\nprovider = "sandbox"\n[channels.push.web]\nprovider = "wepbush"\n', "unknown-provider", 4),
        ('[channels.push]\nprovider = "sandbox"\nweb = "wepbush"\n', "unknown-provider", 3),
        ('[channels.push]\nprovider = "sandbox"\n[channels.push.web]\nvapid_subject = "x"\n', "unknown-provider", 3),
        ('[channels.push]\nprovider = "sandbox"\n[channels.push.web]\nprovider = "webpush"\n', "no-environment", 3),
        ('[channels.push]\nprovider = "sandbox"\n[channels.push.web]\nvapid_key = "AAAA"\n', "secret-inline", 1),
    ],
)
def test_what_is_wrong_for_a_platform_is_told_at_its_line(tmp_path, text, code, line):
    from orchestrator.project import load_settings

    settings(tmp_path, text)
    with pytest.raises(ProjectError) as raised:
        load_settings(tmp_path, {})
    [problem] = raised.value.problems
    assert (problem.code, problem.span.line) == (code, line)


def test_a_platform_s_live_provider_keeps_another_time_from_it(tmp_path):
    settings(
        tmp_path,
        '[safety]\nenvironment = "production"\n[channels.push]\nprovider = "sandbox"\nweb = "webpush"\n',
    )
    from tests.channels.kit import NOW

    with (
        pytest.raises(Misconfigured, match="push to web would be sent"),
        wiring.connected(tmp_path, now=NOW, create=True),
    ):
        pass
