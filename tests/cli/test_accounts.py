"""`accounts`: one company at a look, with two journeys of the starter, and people who can and cannot be reached."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from channels.base import Event, EventKind
from orchestrator import wiring
from orchestrator.ingest import receive
from tests.cli.conftest import MONDAY, At, World, golden

ACCOUNTS = (
    {"key": "north", "class": "b2b", "tier": "preferred", "name": "Nordwind North", "parent": "nordwind",
     "partner": "resale", "annual_value": "48000", "annual_value_currency": "EUR", "manager_name": "Mara Manager",
     "manager_email": "mara@example.com", "industry": "software", "status": "active"},
    {"key": "south", "class": "b2b", "name": "Nordwind South", "parent": "nordwind"},
    {"key": "nordwind", "class": "b2b", "tier": "strategic", "name": "Nordwind"},
    {"key": "resale", "class": "partner", "tier": "gold", "name": "Resale", "allows_contact": "yes"},
    {"key": "lone", "class": "b2b", "name": "Lone [wolf]"},
)  # fmt: skip
BASE = {"class": "b2b", "country": "DE", "timezone": "Europe/Berlin"}
PEOPLE = (
    {"key": "ana", "account": "north", "role": "decision_maker", "email": "ana@example.com", **BASE},
    {"key": "ben", "account": "north", "role": "procurement", "email": "ben@example.com", "phone": "+4917139000001",
     **BASE},
    {"key": "carl", "account": "north", "role": "procurement", "street": "Weg 1", "city": "Kiel", "postcode": "24103",
     **BASE},
    {"key": "dora", "account": "north", "role": "user", "email": "dora@example.com", **BASE},
    {"key": "left", "account": "north", "role": "decision_maker", "email": "left@example.com", **BASE,
     "left_at": "2027-02-01T09:00:00+00:00"},
    {"key": "emma", "account": "nordwind", "role": "decision_maker", "email": "emma@example.com", **BASE},
)  # fmt: skip
RECORDS = (
    {"type": "contract", "contract_id": "n-7", "of": "north", "product": "Grid", "ends": "2027-05-31",
     "value": "48000 EUR", "auto_renew": "no"},
    {"type": "opportunity", "opportunity_id": "o-1", "of": "north", "stage": "open", "amount": "9000 EUR"},
)  # fmt: skip
CONSENTS = (
    {
        "customer": "ben",
        "medium": "email",
        "topic": "offers",
        "action": "confirm",
        "occurred_at": "2027-01-01T09:00:00+00:00",
    },
)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory, clock: At) -> World:
    from orchestrator import cli

    world = World(tmp_path_factory.mktemp("accounts") / "acme", clock)
    clock.now = MONDAY
    assert cli.run(["init", str(world.folder)]) == 0
    for path in (world.folder / "journeys").glob("*/*.yaml"):
        if path.stem not in ("onboarding", "renewal"):
            path.unlink()
    assert world("apply", "-m", "start", "--yes").code == 0
    for kind, rows in (("accounts", ACCOUNTS), ("customers", PEOPLE), ("records", RECORDS), ("consents", CONSENTS)):
        ending = "jsonl" if kind == "records" else "csv"
        said = world("import", kind, str(world.write(f"{kind}.{ending}", rows)))
        assert said.code == 0, said
    clock.now = MONDAY + timedelta(days=1)
    world.tick()
    bounced(world)
    world.tick()
    return world


def bounced(world: World) -> None:
    """Ana's address is none."""
    with wiring.connected(world.folder) as wired, wired.store.read() as conn:
        import sqlalchemy as sa

        from orchestrator.store import tables as t

        of = sa.select(t.message.c.id, t.message.c.attempts).join(
            t.customer, t.customer.c.id == t.message.c.customer_id
        )
        ids = [f"m{r.id}a{r.attempts}" for r in conn.execute(of.where(t.customer.c.key == "ana"))]
    with wiring.connected(world.folder) as wired:
        receive(wired.store, wired.keys, [Event(i, EventKind.BOUNCED, world.at.now) for i in ids], now=world.at.now)


def test_a_company_at_a_look(acme: World) -> None:
    golden("accounts-north.txt", acme("accounts", "north", width=110).out, acme)


def test_as_a_document(acme: World) -> None:
    found = acme.json("accounts", "north")
    assert [(row["key"], row["level"], row["own"]) for row in found["tree"]] == [
        ("nordwind", 0, False),
        ("north", 1, True),
        ("south", 1, False),
    ]
    people = {one["key"]: one for one in found["contacts"]}
    assert people["ana"]["reached_by"] == {"email": "suppressed", "sms": "no", "push": "no", "mail": "no"}
    assert people["ben"]["reached_by"]["sms"] == "yes" and people["ben"]["said_yes"] == {"email": ["offers"]}
    assert people["left"]["left_at"] is not None
    assert found["partner"] == "resale" and found["partner_allows_contact"] is True
    renewal = next(one for one in found["journeys"] if one["journey"] == "b2b-renewal")
    assert [one["journey"] for one in found["journeys"]] == ["b2b-onboarding", "b2b-renewal"], "and none for partners"
    assert renewal["writes_to"] == ["ben", "carl"] and renewal["then"] == ["emma of nordwind"]
    assert "@" not in str({k: v for k, v in found.items() if k != "manager_email"}), "no contact's address"


def test_a_partner_and_one_who_is_alone(acme: World) -> None:
    partner = acme("accounts", "resale").out
    assert "has customers of its own, and lets us write to them" in partner and "Tree" not in partner
    lone = acme("accounts", "lone").out
    assert "Lone [wolf]" in lone and "No contacts" in lone
    assert "none: tasks for the account manager are passed over" in lone


def test_nobody(acme: World, tmp_path: Path) -> None:
    said = acme("accounts", "nowhere")
    assert said.code == 2 and "there is no account `nowhere`" in said.err
