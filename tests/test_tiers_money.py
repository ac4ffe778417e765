"""Tiers by an amount of money: what conditions, letters and the command line say of the way to the next one."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest

from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.condition import Scope, parse
from orchestrator.fields import Fields
from orchestrator.model import Kind, Score, loyalty_field, scored
from orchestrator.outbound import _standing
from orchestrator.problems import Problems, Span
from orchestrator.project import load_files
from orchestrator.store import insert_ids
from orchestrator.store import tables as t
from tests.outgoing import World, email, journey
from tests.tiered import row, texts, world

__all__ = ["world"]

B2B = """
    tier_by: annual_value
    thresholds: { std: 0, big: 250000 }
    downgrade: { grace: 30 days, review: monthly }
"""
SPENT = """
    tier_by: sum(bought.amount, 365 days)
    thresholds: { bronze: 0, silver: 100 }
"""
BUSINESS: dict[str, Any] = {"class": "b2b"}
HOW = "{{ progress.missing }} | {{ progress.missing | number }} | {{ progress.missing | money }} to {{ progress.next }}"


def asked(unit: Any, text: str, vocabulary: Any) -> tuple[Any, list[str]]:
    problems = Problems()
    found = parse(text, Span("t", 1, 1, 1, 1), Scope(unit), vocabulary, problems)
    return found, [f"{p.message}; {p.hint}" for p in problems.found]


def who(world: World, unit: Any, text: str) -> set[int]:
    with world.store.read() as conn:
        force = in_force(conn)
        assert force is not None
        condition, wrong = asked(unit, text, force.project.vocabulary)
        assert condition is not None, wrong
        return set(conn.execute(force.segments.audience(condition, unit, world.now)).scalars())


def company(world: World, euros: int | None, **more: Any) -> int:
    values = {"annual_value": None if euros is None else euros * 100, "annual_value_currency": "EUR", **more}
    base = {"key": f"a{euros}", "class": "b2b", "attributes": {}, "created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        return int(insert_ids(conn, t.account, [{**base, **values}])[0][0])


def looked(world: World) -> None:
    accrue(world.store, now=world.now)


def test_conditions_where_some_classes_score_in_money(world: World) -> None:
    made = texts(b2b=B2B, journeys={"hello": journey("hello", "- email: hello")})
    words = world.apply(made).vocabulary
    near, far = company(world, 200_000), company(world, 30_000)
    (ann,) = world.people(**BUSINESS, account_id=near, tier=None)
    (ben,) = world.people(**BUSINESS, account_id=far, tier=None)
    (cleo,) = world.people(tier=None)
    looked(world)
    assert (row(world, near, "account").missing, row(world, near, "account").score_currency) == (5_000_000, "EUR")
    assert row(world, cleo).score_currency is None
    # Of accounts it is always money, written with the currency or without.
    for text in ("progress.missing < 100000 EUR", "progress.missing < 100000", "progress.score > 199999.99 EUR"):
        assert who(world, "account", text) == {near}
    assert who(world, "account", "progress.missing >= 50000") == {near, far}
    assert who(world, "customer", "account.progress.missing <= 50000 EUR") == {ann}
    # Of customers it may be orders: a number, for companies in whole euros.
    assert who(world, "customer", "progress.missing < 100000") == {ann, cleo}
    assert who(world, "customer", "progress.missing == 220000") == {ben}
    assert who(world, "customer", "progress.missing == 2 and progress.shortfall == 0") == {cleo}
    condition, (wrong,) = asked("customer", "progress.missing < 250000 EUR", words)
    assert condition is None and wrong.endswith("write the plain number, `250000`")


def test_conditions_where_all_score_in_money(world: World) -> None:
    world.apply(texts(b2c=SPENT, b2b=B2B))
    (ann,) = world.people(tier=None)
    world.event([ann], "bought", order_id="o", amount=4_050, amount_currency="EUR")
    looked(world)
    assert row(world, ann).missing == 5_950
    for text in ("progress.missing == 59.50 EUR", "progress.missing < 60", "progress.score > 40 EUR"):
        assert who(world, "customer", text) == {ann}
    assert who(world, "customer", "progress.missing < 59 EUR") == set()


def test_another_rule_takes_the_currency_away(world: World) -> None:
    world.apply(texts(b2c=SPENT))
    (ann,) = world.people(tier=None)
    looked(world)
    assert row(world, ann).score_currency == "EUR"
    world.apply(texts())
    looked(world)
    assert row(world, ann).score_currency is None


def test_letters_write_amounts_and_no_cents(world: World) -> None:
    made = texts(b2b=B2B, journeys={"hello": journey("hello", "- email: news", more="reentry: always")})
    made["templates/email/news.mjml"] = email("News", HOW)
    world.apply(made)
    (ann,) = world.people(**BUSINESS, account_id=company(world, 30_000), tier=None)
    (cleo,) = world.people(tier=None)
    looked(world)
    found = {}
    for one in (ann, cleo):
        world.event([one])
    world.tick()
    for kept in world.outbox():
        letter = message_from_bytes((world.folder / kept.file).read_bytes(), policy=policy.default)
        body = letter.get_body(("plain",))
        assert body is not None
        found[str(letter["to"])] = " ".join(body.get_content().split())
    said = {to.partition("@")[0].rpartition("c")[2]: text for to, text in found.items()}
    assert "220000 | 220,000 | €220,000.00 to big" in said[str(ann)]
    assert "2 | 2 | 2 to silver" in said[str(cleo)]  # orders, and no cents


def test_what_texts_and_calls_have() -> None:
    money = {"score": 3_000_050.0, "missing": 21_999_950.0, "score_currency": "EUR", "next_tier": "big"}
    told = _standing("progress", money)
    assert (str(told["missing"]), told["missing_currency"]) == ("219999.50", "EUR") and told["missing"] < 250_000
    assert _standing("progress", {"score": 4.0}) == {"score": 4}
    call = Fields(("progress.missing", "progress.missing_currency"), "j")
    assert call.slots({"progress": told}) == ("21999950", '"EUR"')  # as all money in a call
    assert str(Score.of(500, "JPY")) == "500" and str(Score.of(12_345, "KWD")) == "12.345"
    assert [scored(n, None) for n in (4.0, 1234567.0, 2.5, 0.25)] == ["4", "1,234,567", "2.5", "0.25"]
    assert scored(22_000_000, "EUR") == "220,000.00 EUR"


@pytest.mark.parametrize(
    ("b2c", "b2b", "customers", "accounts"),
    [
        (SPENT, B2B, Kind.MONEY, Kind.MONEY),
        (None, B2B, Kind.NUMBER, Kind.MONEY),
        (SPENT, "", Kind.MONEY, Kind.NUMBER),
        (None, "", Kind.NUMBER, Kind.NUMBER),
    ],
)
def test_when_it_is_money(b2c: str | None, b2b: str, customers: Kind, accounts: Kind) -> None:
    project = load_files(texts(b2b=b2b) if b2c is None else texts(b2c, b2b=b2b))
    for unit, kind in (("customer", customers), ("account", accounts)):
        found = loyalty_field(project.vocabulary, "progress.missing", unit)  # type: ignore[arg-type]
        assert found is not None and found.kind is kind
