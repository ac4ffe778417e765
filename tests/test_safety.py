"""Outside production only those on the list are written to; live channels are refused where that is not said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from channels.base import Medium, Misconfigured
from orchestrator import settings as machine
from orchestrator import wiring
from orchestrator.problems import Problems, ProjectError
from orchestrator.project import load_settings
from orchestrator.rules import rules
from orchestrator.settings import Safety, parse_settings
from orchestrator.store import tables as t
from tests.outgoing import World, audit, files, journey, world_of
from tests.rules.cases import NOW, POLICIES, standing, subject

HELLO = journey("hello", "- email: hello")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    audit(made)
    made.store.close()


# ---- the list -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "medium", "address", "is_on"),
    [
        ("*@acme.example", Medium.EMAIL, "ana@acme.example", True),
        ("*@acme.example", Medium.EMAIL, "Ana@ACME.example", True),
        ("*@acme.example", Medium.EMAIL, "ana@acme.example.org", False),
        ("*@acme.example", Medium.EMAIL, "ana@shop.acme.example", False),
        ("*@acme.example", Medium.TASK, "boss@acme.example", True),
        ("*@acme.example", Medium.SMS, "+4930123456", False),
        ("qa+*@example.com", Medium.EMAIL, "qa+7@example.com", True),
        ("qa+*@example.com", Medium.EMAIL, "qaa7@example.com", False),
        ("+4930*", Medium.SMS, "+4930123456", True),
        ("+49 30 1234", Medium.SMS, "+49301234", True),
        ("+4930*", Medium.SMS, "+4940123456", False),
        ("token:AbC", Medium.PUSH, "AbC", True),
        ("token:AbC", Medium.PUSH, "abc", False),
        ("mail:*10115 Berlin*", Medium.MAIL, "Ann Lee Lindenweg 1 Berlin 10115 DE", False),
        ("mail:*Berlin 10115*", Medium.MAIL, "Ann Lee Lindenweg 1  Berlin 10115 DE", True),
        ("task:sales", Medium.TASK, "sales", True),
        ("task:sales", Medium.TASK, "salesforce", False),
        ("webhook:*", Medium.WEBHOOK, "crm", True),
        ("task:sales", Medium.WEBHOOK, "sales", False),
    ],
)
def test_who_is_on_the_list(entry: str, medium: Medium, address: str, is_on: bool) -> None:
    permits = Safety(environment="test", recipients=(entry,)).permits()
    assert permits is not None
    assert permits(medium, address) is is_on


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ("", False),
        ('environment = "production"\nrecipients = ["*@acme.example"]', False),
        ('environment = "staging"\nrecipients = ["*@acme.example"]', True),
        ('recipients = ["*@acme.example"]', True),
        ('environment = "test"', False),
    ],
)
def test_where_the_list_holds(written: str, holds: bool) -> None:
    found = parse_settings(f"[safety]\n{written}\n", Problems())
    assert found is not None
    assert (found.safety.permits() is not None) is holds


def test_the_list_may_come_from_the_environment() -> None:
    said = {
        "ORCHESTRATOR_SAFETY__RECIPIENTS": "*@acme.example, +4930*",
        "ORCHESTRATOR_SAFETY__ENVIRONMENT": "staging",
    }
    found = parse_settings("", Problems(), said)
    assert found is not None and found.safety == Safety(environment="staging", recipients=("*@acme.example", "+4930*"))


@pytest.mark.parametrize("entry", ["*", "*@*", "+*", "+1*", "acme.example", "fax:12345", "", "token:*"])
def test_a_list_that_lets_everybody_in_is_refused(entry: str) -> None:
    problems = Problems()
    assert parse_settings(f'[safety]\nrecipients = ["ana@acme.example", "{entry}"]\n', problems) is None
    [found] = problems.found
    assert (found.code, found.span.line) == ("bad-setting", 2) and "entry 2 of the list" in found.message


def test_environments_have_their_names() -> None:
    problems = Problems()
    assert parse_settings('[safety]\nenvironment = "live"\n', problems) is None
    assert "`production`, `staging`, `test`" in problems.found[0].message


# ---- settings with live channels ------------------------------------------------------------------------------------

LIVE = '[channels]\nsms = "pigeon"\n'


@pytest.mark.parametrize(
    ("safety", "codes"),
    [
        ("", [("no-environment", 2)]),
        ('[safety]\nenvironment = "production"\n', []),
        ('[safety]\nenvironment = "test"\n', [("no-recipients", 4)]),
        ('[safety]\nenvironment = "staging"\n', [("no-recipients", 4)]),
        ('[safety]\nenvironment = "staging"\nrecipients = ["+4930*"]\n', []),
    ],
)
def test_live_channels_are_refused_where_nobody_said_whom_they_may_reach(
    safety: str, codes: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "providers", lambda: ["null", "pigeon", "sandbox"])
    (tmp_path / "orchestrator.toml").write_text(LIVE + safety, encoding="utf-8")
    for read in (wiring.read_settings, lambda folder: load_settings(folder, {})):
        found: list[tuple[str, int]] = []
        try:
            read(tmp_path)
        except ProjectError as error:
            found = [(p.code, p.span.line) for p in error.problems]
        assert found == codes


def test_the_sandbox_needs_no_environment(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.toml").write_text('[safety]\nenvironment = "test"\n', encoding="utf-8")
    assert wiring.read_settings(tmp_path)[0].safety.permits() is None


@pytest.mark.parametrize(
    ("environment", "more", "refused"),
    [
        ("test", "", True),
        ("test", "sandbox_mode = true", False),
        ("test", "sandbox_mode = false", True),
        ("staging", "", False),
        ("production", "", False),
    ],
)
def test_a_test_refuses_the_key_of_a_live_account(
    environment: str, more: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_SENDGRID", "SG.a.key")
    email = f'[channels.email]\nprovider = "sendgrid"\napi_key = "env:KEY_OF_SENDGRID"\n{more}\n'
    safety = f'[safety]\nenvironment = "{environment}"\nrecipients = ["*@acme.example"]\n'
    (tmp_path / "orchestrator.toml").write_text(email + safety, encoding="utf-8")
    with wiring.connected(tmp_path, create=True) as wired:
        if not refused:
            assert wired.channels[Medium.EMAIL].name == "sendgrid"
            return
        with pytest.raises(Misconfigured, match="this is a test") as raised:
            wired.channels[Medium.EMAIL]
        assert "SG.a.key" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({}, True),
        ({"validate_only": False}, True),
        ({"validate_only": True}, False),
        ({"base_url": "http://127.0.0.1:9"}, False),
    ],
)
def test_and_a_push_that_rings(options: dict[str, object], refused: bool) -> None:
    from channels import fcm

    assert fcm.live(options) is refused


# ---- the rule, and its way into a batch -----------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"purpose": "transactional"}, {"addressee": "staff", "customer_id": None}])
def test_the_rule_heeds_nothing_but_the_list(changes: dict[str, str]) -> None:
    judged = rules()["allow_list"](subject(**changes), standing(permitted=False), POLICIES, NOW)
    assert (judged.say, judged.reason) == ("deny", "not_on_allow_list")
    assert rules()["allow_list"](subject(**changes), standing(), POLICIES, NOW).say == "allow"


def test_only_those_on_the_list_are_written_to(world: World) -> None:
    world.apply(files({"hello": HELLO, "staff": journey("staff", "- task: boss@acme.example\n  message: Call")}))
    world.people(3)
    [colleague] = world.people(1, email="ana@acme.example")
    world.event(range(1, colleague + 1))
    permits = Safety(environment="staging", recipients=("*@acme.example",)).permits()
    assert world.tick(permits=permits) == {
        "allow": 5, "sent": 5, "deny not_on_allow_list": 3
    }  # fmt: skip
    assert {k.medium for k in world.outbox()} == {Medium.EMAIL, Medium.TASK}
    denied = [m for m in world.messages() if m.state == "denied"]
    assert {m.reason for m in denied} == {"not_on_allow_list"} and len(denied) == 3
    [rule] = {x["rule"] for x in world.log() if x["verdict"] == "deny"}
    assert rule == "allow_list"


def test_of_several_devices_only_the_one_on_the_list(world: World) -> None:
    world.apply(files({"ping": journey("ping", "- push: ping")}))
    one, other = world.people(2)
    with world.store.write() as conn:
        row = {"customer_id": one, "token": "qa-device", "platform": "web", "created_at": world.now}
        conn.execute(t.device.insert(), [row])
    world.event([one, other])
    assert world.tick(permits=Safety(recipients=("token:qa-*",)).permits())["sent"] == 1
    [kept] = world.outbox()
    assert "qa-device" in world.opened(kept)


def test_a_task_that_has_lost_its_addressee_is_nobodys_on_the_list(world: World) -> None:
    world.apply(
        files({"staff": journey("staff", "- task: account_manager\n  message: Call {{ customer.first_name }}")})
    )
    told = {"class": "b2b", "name": "Nord", "attributes": {}, "created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        row = {**told, "id": 1, "key": "a1", "manager_email": "mo@acme.example"}
        conn.execute(t.account.insert(), [row])
    world.event(world.people(1, account_id=1))
    world.move()
    with world.store.write() as conn:
        conn.execute(t.account.update().values(manager_email=None))
    assert world.tick(permits=Safety(recipients=("*@acme.example",)).permits())["deny not_on_allow_list"] == 1


def test_in_production_the_list_is_not_heeded(world: World) -> None:
    world.apply(files({"hello": HELLO}))
    world.event(world.people(2))
    permits = Safety(environment="production", recipients=("*@acme.example",)).permits()
    assert world.tick(permits=permits)["sent"] == 2
    assert world.one(sa.select(sa.func.count()).select_from(t.message).where(t.message.c.state == "denied")) == 0
