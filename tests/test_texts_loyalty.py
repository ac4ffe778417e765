"""Points, progress, benefits and value in texts: whose they are, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes, policy

import pytest
import sqlalchemy as sa

from orchestrator.model import Loyalty
from orchestrator.outbound import _standing
from orchestrator.store import loyalty
from orchestrator.store import tables as t
from tests.outgoing import NOON, POLICIES, WORKSPACE, World, email, files, journey, world_of

PROGRAM = """
program:
  b2c:
    tier_by: count(bought, 365 days)
    thresholds: { silver: 0, gold: 500 }
    benefits: { silver: [free-shipping], gold: [early-access] }
    referral: { converts_on: bought, reward: { referrer: 50 } }
    titles: { early-access: { en: Early access, de: Früher Zugang } }
  b2b:
    tier_by: account.annual_value
    thresholds: { std: 0, big: 25000 }
    benefits: { std: [phone-support], big: [personal-advice] }
"""
BODY = (
    "{{ points.balance | number }} points, {{ progress.missing | default('nothing') }} "
    "to {{ progress.next | default('-') }}:"
    "{% for title in benefits.values() %} {{ title }};{% endfor %}"
    "{% if 'early-access' in benefits %} early{% endif %}"
)


def texts(body: str = BODY) -> dict[str, str]:
    found = files({"hello": journey("hello", "- email: news")}, POLICIES)
    named = WORKSPACE.replace("name: Small,", "name: Small, website: https://small.example/in,")
    found["journeys/workspace.yaml"] = named + POLICIES + PROGRAM
    found["templates/email/news.mjml"] = email("News", body)
    found["templates/email/news.de.mjml"] = email("Neues", body)
    return found


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    yield made
    made.store.close()


def said(world: World) -> str:
    world.tick()
    (one,) = world.outbox()
    parsed = message_from_bytes((world.folder / one.file).read_bytes(), policy=policy.default)
    body = parsed.get_body(("plain",))
    assert body is not None
    return " ".join(body.get_content().split())


def test_a_customers_own_points_and_benefits(world: World) -> None:
    world.apply(texts())
    (person,) = world.people(tier="gold", locale="de")
    with world.store.write() as conn:
        row = {"points": 1250, "missing": None, "next_tier": None}
        loyalty.write(conn, "customer", {person: row}, NOON)
    assert Loyalty().title("free-shipping", "de") == "free shipping"
    world.event([person])
    text = said(world)
    assert "1.250 points, nothing to -" in text
    assert "free shipping; Früher Zugang; early" in text


def test_the_link_that_somebody_hands_on_is_hers_and_stays_the_same(world: World) -> None:
    world.apply(texts("Hand this on: {{ links.referral }}"))
    (person,) = world.people()
    world.event([person])
    text = said(world)
    with world.store.read() as conn:
        (code,) = conn.execute(sa.select(t.referral_code.c.code)).scalars()
    assert f"https://small.example/in?ref={code}" in text


def test_who_has_no_row_yet_has_no_points_and_the_rest_is_missing() -> None:
    assert _standing("points", None)["balance"] == 0
    assert _standing("progress", None) == {}
    row = {"clv": 1200, "clv_currency": "EUR", "band": "top"}
    assert _standing("value", row) == {"clv": 1200, "clv_currency": "EUR", "band": "top"}
    assert "points" in {c.name for c in t.loyalty.columns}
