"""A contract ends, and the journey does what a good account manager would: the shipped renewal, in a company of three
levels with six contacts, of whom two bounce and one leaves. 90, 45 and 14 days before the end, on a virtual clock.

    nordwind (the holding)            fritz   decision_maker
      └ nordwind-energy               emma    decision_maker
          └ nordwind-north            ana     decision_maker   her e-mail bounces, and there is no other way to her
            (the contract's own)      ben     procurement      leaves in May
                                      carl    procurement      his e-mail bounces at the end of May
                                      dora    user             decides nothing
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from rich.console import Console

from channels.base import EventKind, Medium
from orchestrator.cli._story import show_story
from orchestrator.importing import import_rows
from orchestrator.project import read_files
from orchestrator.rows import ImportKind
from orchestrator.store import tables as t
from orchestrator.why import why
from tests.outgoing import World, audit, world_of

ROOT = Path(__file__).resolve().parent.parent.parent
RENEWAL, BERLIN = "journeys/b2b/renewal.yaml", ZoneInfo("Europe/Berlin")
ENDS = "2027-07-12"  # a Monday; 90 days before it is 13 April, 45 days 28 May, 14 days 28 June
BOUNCE = {"ana": None, "carl": "2027-05-28"}  # since when their e-mail does


def workspace() -> dict[str, str]:
    """The shipped workspace with this one journey, and at most two offers a week to a company."""
    shipped = read_files(ROOT)
    kept = {p: text for p, text in shipped.items() if p == RENEWAL or not p.startswith("journeys/") or p.count("/") < 2}
    name = "journeys/workspace.yaml"
    assert "6 per week per account" in kept[name]
    return {**kept, name: kept[name].replace("6 per week per account", "2 per week per account")}


@dataclass
class Firm:
    """The company, and what its account manager can see."""

    world: World
    vocabulary: Any
    heard: set[str] = field(default_factory=set)

    def take(self, kind: ImportKind, *rows: dict[str, Any]) -> None:
        found = import_rows(self.world.store, self.world.keys, self.vocabulary, kind, rows, now=self.world.now)
        assert not found.refused, found.refused

    def at(self, wall: str) -> list[str]:
        """Let time come to this minute in Berlin, and some more for what comes of it: a bounce comes back after a
        minute. Who was written to, and by what."""
        self.world.now = datetime.fromisoformat(wall).replace(tzinfo=BERLIN).astimezone(UTC)
        told: list[str] = []
        for _ in range(4):
            self.world.tick(1)
            self.world.now += timedelta(minutes=1)
            told += self.feedback(wall[:10])
        return told

    def feedback(self, day: str) -> list[str]:
        """What providers tell of what went out: those who bounce bounced, the others have it."""
        keys = dict(tuple(row) for row in self.world.rows(sa.select(t.customer.c.id, t.customer.c.key)))
        told = []
        for m in self.world.messages():
            if m.state != "sent" or (attempt := f"m{m.id}a{m.attempts}") in self.heard:
                continue
            self.heard.add(attempt)
            who = keys[m.customer_id] if m.addressee == "customer" else "mara@example.com"
            told.append(f"{m.medium} {m.template or m.step} to {who}")
            if m.medium in (Medium.EMAIL, Medium.SMS) and m.addressee == "customer":
                since = BOUNCE.get(who, "9999")
                lost = m.medium == Medium.EMAIL and (since is None or day >= since)
                self.world.hear(attempt, EventKind.BOUNCED if lost else EventKind.DELIVERED)
        return told

    def sent_to(self, key: str) -> set[str]:
        """The templates that went out to somebody."""
        m = t.message.c
        query = sa.select(m.template).join(t.customer, t.customer.c.id == m.customer_id)
        return {row.template for row in self.world.rows(query.where(t.customer.c.key == key, m.provider.is_not(None)))}

    def denials(self) -> set[tuple[str, str, str]]:
        """(who, by what, why not) of everything that was refused."""
        keys = dict(tuple(row) for row in self.world.rows(sa.select(t.customer.c.id, t.customer.c.key)))
        return {(keys[m.customer_id], m.template, m.reason) for m in self.world.messages() if m.state == "denied"}

    def why(self, key: str) -> str:
        """What `orchestrator why KEY b2b-renewal` says, as one line of words."""
        text = StringIO()
        story = why(self.world.store, self.world.keys, key, "b2b-renewal", now=self.world.now)
        show_story(Console(file=text, width=200, color_system=None), story)
        return " ".join(text.getvalue().split())


def contact(key: str, account: str, role: str, **more: Any) -> dict[str, Any]:
    own = {"key": key, "class": "b2b", "account": account, "role": role, "first_name": key.title(), "last_name": "Vogt"}
    return {**own, "email": f"{key}@example.com", "country": "DE", "timezone": "Europe/Berlin", "locale": "en", **more}


ADDRESS = {"street": "Hafenweg 3", "city": "Kiel", "postcode": "24103"}
PEOPLE = (
    contact("ana", "nordwind-north", "decision_maker"),
    contact("ben", "nordwind-north", "procurement"),
    contact("carl", "nordwind-north", "procurement", **ADDRESS),
    contact("dora", "nordwind-north", "user", **ADDRESS),
    contact("emma", "nordwind-energy", "decision_maker"),
    contact("fritz", "nordwind", "decision_maker"),
)


def accounts() -> Sequence[dict[str, Any]]:
    """Daughters before mothers: one file, in the order somebody happened to write it in."""
    own = {"class": "b2b", "tier": "preferred", "status": "active", "country": "DE", "timezone": "Europe/Berlin"}
    manager = {"manager_name": "Mara Manager", "manager_email": "mara@example.com"}
    return (
        {"key": "nordwind-north", "name": "Nordwind North", "parent": "nordwind-energy", **own, **manager},
        {"key": "nordwind-energy", "name": "Nordwind Energy", "parent": "nordwind", **own},
        {"key": "nordwind", "name": "Nordwind", **own},
    )


@pytest.fixture
def firm(database_url: str) -> Iterator[Firm]:
    world = world_of(database_url, now=datetime(2027, 3, 1, 8, tzinfo=UTC))
    found = Firm(world, world.apply(workspace()).vocabulary)
    found.take("accounts", *accounts())
    found.take("customers", *PEOPLE)
    contract = {"type": "contract", "contract_id": "n-7", "account": "nordwind-north", "product": "Acme Grid"}
    found.take("records", {**contract, "ends": ENDS, "value": "48000 EUR", "auto_renew": "no"})
    world.consent(range(1, len(PEOPLE) + 1), "email", "offers")
    yield found
    audit(world)
    world.store.close()


def test_a_good_account_manager(firm: Firm) -> None:
    assert firm.at("2027-04-13 08:50") == []
    # 90 days: the two who decide. Ana's mail bounces, nothing else reaches her, and the next by role takes the place.
    assert firm.at("2027-04-13 09:00") == [
        "email renewal-notice to ana",
        "email renewal-notice to ben",
        "email renewal-notice to carl",
    ]
    assert firm.at("2027-04-19 12:00") == [], "they have a week"
    # Nobody opened the quote: a reminder to those who can be reached; Ana's address is not tried again.
    assert firm.at("2027-04-20 09:05") == ["email renewal-reminder to ben", "email renewal-reminder to carl"]
    firm.take("customers", {"key": "ben", "left_at": "2027-05-10T12:00:00+02:00"})
    assert firm.at("2027-05-27 12:00") == []
    # 45 days: a call for the account manager, and her own words to who is left. Ana's chair is Emma's now, of
    # the company above. Carl's mail bounces, and Fritz of the holding would be next: but two offers a week are enough.
    assert firm.at("2027-05-28 09:00") == [
        "task call-before-the-end to mara@example.com",
        "email renewal-personal to carl",
        "email renewal-personal to emma",
    ]
    # 14 days: the manager calls, and every way that is left is used: a letter to Carl, an e-mail to Emma.
    assert firm.at("2027-06-28 09:00") == [
        "task call-at-the-end to mara@example.com",
        "mail renewal-letter to carl",
        "email renewal-last-days to emma",
    ]
    assert firm.at("2027-07-13 09:00") == []
    assert firm.denials() == {
        ("ana", "renewal-reminder", "suppressed"),
        ("ana", "renewal-personal", "suppressed"),
        ("ana", "renewal-last-days", "suppressed"),
        ("carl", "renewal-last-days", "suppressed"),
        ("fritz", "renewal-personal", "frequency_cap"),
    }
    assert firm.sent_to("ben") == {"renewal-notice", "renewal-reminder"}, "nothing since he has left"
    assert firm.sent_to("dora") == set(), "she decides nothing"
    ended = firm.world.rows(sa.select(t.enrollment.c.ended_because))
    assert [tuple(row) for row in ended] == [("completed",)]
    told_why(firm)


def told_why(firm: Firm) -> None:
    """What `why` says of the company, and of the people it was about."""
    company = firm.why("nordwind-north")
    for words in (
        "by: 90 days before contract.ends, at 09:00, contract n-7",
        "✗ bounced email renewal-notice to ana",
        "the next by role takes the place of one who cannot be reached",
        "✓ delivered email renewal-notice to carl",
        "has not come within 7 days",
        "✗ refused 2027-04-20 07:05 by the rule suppression: suppressed",
        'tier >= "preferred" is true',
        "✓ delivered email renewal-personal to emma",
        "✗ denied email renewal-personal to fritz",
        "2 of 2 since 2027-05-23 22:00, by `2 per week per account`",
        "✓ sent mail renewal-letter to carl",
        "completed, all steps are done",
    ):
        assert words in company, words
    assert company.index("renewal-notice to ana") < company.index("the next by role") < company.index("to emma")
    assert "`ben` left on 2027-05-10: from then on others of the account are written to" in firm.why("ben")
    assert "contacts in the roles decision_maker, procurement, at most 2; `dora` has the role user" in firm.why("dora")


def test_who_opened_the_quote_is_anybody_and_a_renewal_ends_it(firm: Firm) -> None:
    firm.at("2027-04-13 09:00")
    event = {"type": "renewal_quote_opened", "customer": "dora", "occurred_at": "2027-04-15T10:00:00+02:00"}
    firm.world.now = datetime(2027, 4, 15, 8, 1, tzinfo=UTC)
    firm.take("events", {**event, "contract_id": "n-7"})
    assert firm.at("2027-04-15 10:05") == ["task task:account_manager to mara@example.com"]
    assert firm.at("2027-04-20 09:05") == [], "no reminder to who has opened it"
    firm.world.now = datetime(2027, 5, 1, 8, tzinfo=UTC)
    renewed = {"type": "contract_renewed", "account": "nordwind-north", "contract_id": "n-7"}
    firm.take("events", {**renewed, "occurred_at": "2027-05-01T09:00:00+02:00"})
    for wall in ("2027-05-01 11:00", "2027-05-28 09:00", "2027-06-28 09:00"):
        assert firm.at(wall) == []
    assert "the goal was reached" in firm.why("nordwind-north")


def test_a_circle_of_companies_is_refused(firm: Firm) -> None:
    rows = [{"key": "nordwind", "parent": "nordwind-north"}]
    found = import_rows(firm.world.store, firm.world.keys, firm.vocabulary, "accounts", rows, now=firm.world.now)
    assert [r.problem for r in found.refused] == [
        "parent `nordwind-north` stands below this account itself; that is a circle"
    ]
