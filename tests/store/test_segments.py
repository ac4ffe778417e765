"""Conditions asked of both databases: examples, edges of time and money, what a run has seen, the index's plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import EventKind
from orchestrator.condition import Condition, Scope, happened, heard, parse_expression
from orchestrator.problems import Problems, Span
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.store.people import add_events
from orchestrator.store.segments import Segments
from tests.test_condition import ACME, REFERENCE, RENEWAL, SPECIFIED, read

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SEGMENTS = {
    "vip-club": read("class == b2c and tier >= gold"),
    "complained-recently": read("country in [FR] and city == Lyon"),
}


def euros(minor: int) -> dict[str, Any]:
    return {"annual_value": minor, "annual_value_currency": "EUR"}


class Shop:
    """A store with rows put in as they are needed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.segments = Segments(ACME, SEGMENTS, store.dialect)
        self.made = 0
        with store.write() as conn:
            conn.execute(
                t.document.insert(), {"hash": "v", "kind": "journey", "name": "j", "body": {}, "created_at": NOW}
            )

    def add(self, table: sa.Table, **values: Any) -> int:
        self.made += 1
        row = {"id": self.made, "created_at": NOW, "updated_at": NOW, "key": f"k{self.made}", **values}
        with self.store.write() as conn:
            conn.execute(table.insert(), {k: v for k, v in row.items() if k in table.c})
        return int(row["id"])

    def customer(self, kind: str = "b2c", **values: Any) -> int:
        return self.add(t.customer, **{"class": kind, **values})

    def account(self, kind: str = "b2b", **values: Any) -> int:
        return self.add(t.account, **{"class": kind, **values})

    def event(self, of: str, customer: int, at: datetime = NOW, received: datetime | None = None, **values: Any) -> int:
        with self.store.read() as conn:
            account = conn.execute(sa.select(t.customer.c.account_id).where(t.customer.c.id == customer)).scalar_one()
        times = {"occurred_at": at, "received_at": received or at}
        return self.add(t.event, type=of, customer_id=customer, account_id=account, properties=values, **times)

    def record(self, of: str, account: int, **fields: Any) -> int:
        return self.add(t.record, type=of, account_id=account, fields=fields)

    def run(self, unit: str, unit_id: int, **values: Any) -> int:
        row = {
            "journey": "j", "version": "v", "unit": unit, "unit_id": unit_id, f"{unit}_id": unit_id,
            "run_key": str(self.made), "live_key": str(self.made), "entered_at": NOW, "since": NOW, **values,
        }  # fmt: skip
        return self.add(t.enrollment, **row)

    def who(self, text: str, now: datetime = NOW, unit: Any = "customer") -> set[int]:
        with self.store.read() as conn:
            return set(conn.execute(self.segments.audience(read(text, Scope(unit)), unit, now)).scalars())

    def truth(self, asked: Condition, run: int, now: datetime = NOW) -> bool | None:
        with self.store.read() as conn:
            return self.segments.evaluate(conn, [asked], [run], now)[run][0][asked.text]

    def value(self, text: str, run: int, unit: Any = "customer") -> Any:
        found = parse_expression(text, Span("t", 1, 1, 1, 1), Scope(unit), ACME, Problems())
        assert found is not None
        with self.store.read() as conn:
            return self.segments.evaluate(conn, [found], [run], NOW)[run][1][found.text]


@pytest.fixture
def shop(store: Store) -> Shop:
    return Shop(store)


@pytest.fixture
def statements(shop: Shop) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            seen.append(statement)

    sa.event.listen(shop.store.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(shop.store.engine, "before_cursor_execute", note)


def test_every_example_of_the_specification_runs(shop: Shop) -> None:
    nord = shop.account(
        attributes={"status": "active"}, annual_value=8_000_000, annual_value_currency="EUR", tier="preferred"
    )
    ana = shop.customer("b2b", account_id=nord, role="decision_maker", email="ana@example.com")
    shop.record("contract", nord, contract_id="c1", ends="2027-01-10", auto_renew=False)
    shop.event("order_placed", ana, amount=60_000, amount_currency="EUR", channel="store")
    run = shop.run("account", nord)
    with shop.store.read() as conn:
        for text, scope in SPECIFIED:
            if scope.subject_event is not None:
                continue  # a trigger's where: below
            asked = read(text, scope)
            if scope.steps is None:
                shop.segments.count(conn, asked, asked.unit, NOW)
            else:
                shop.segments.evaluate(conn, [asked], [run], NOW)
    assert shop.truth(read('class == b2b and account.status == "active"', RENEWAL), run) is True
    assert shop.truth(read("any contact(role == decision_maker and email is set)", RENEWAL), run) is True
    assert shop.truth(read("account.annual_value >= 50000 or tier >= strategic", RENEWAL), run) is True
    assert shop.truth(read("not contract.auto_renew", RENEWAL), run) is None  # this run is about no contract


# ---- Kleene ---------------------------------------------------------------------------------------------------------

WORDS = {"true": True, "false": False, "unknown": None}
TRUTH_TABLE = [
    tuple(WORDS[cell.strip()] for cell in line.strip("|").split("|"))
    for line in REFERENCE.read_text().splitlines()
    if re.fullmatch(r"\|( (true|false|unknown) \|){5}", line)
]


def test_the_truth_table_of_the_reference(shop: Shop) -> None:
    assert len(TRUTH_TABLE) == 9
    made: dict[tuple[Any, Any], int] = {}
    for a, b, *_ in TRUTH_TABLE:
        city = {True: "yes", False: "no", None: None}
        who = shop.customer(city=city[a], region=city[b])
        made[a, b] = shop.run("customer", who)
    for a, b, negated, both, either in TRUTH_TABLE:
        run = made[a, b]
        assert shop.truth(read('city == "yes"'), run) is a
        assert shop.truth(read('not city == "yes"'), run) is negated
        assert shop.truth(read('city == "yes" and region == "yes"'), run) is both
        assert shop.truth(read('city == "yes" or region == "yes"'), run) is either


def test_unknown_at_the_top_is_no_match_either_way(shop: Shop) -> None:
    shop.customer(city=None)
    assert shop.who("city == Berlin") == set()
    assert shop.who("not city == Berlin") == set()


def test_all_is_no_match_where_one_is_unknown(shop: Shop) -> None:
    """Also where a negation of money is asked, which SQL reads another way without brackets."""
    nord, west = shop.account(), shop.account()
    shop.record("contract", nord, contract_id="c1")
    shop.record("contract", west, contract_id="c2", value=100, value_currency="EUR")
    assert shop.who("all(contract where not (value == 5 EUR))", unit="account") == {west}
    assert shop.who("all(contract where not (value != value))", unit="account") == {west}
    assert shop.who("all(contract where not (value == value))", unit="account") == set()


def test_what_is_always_known(shop: Shop) -> None:
    who = shop.customer()
    for text in (
        "city is not set", "not city is set", "never(order_placed)", "count(order_placed) == 0",
        "sum(order_placed.amount) == 0 EUR", "not any(contract where auto_renew)", "all(contract where auto_renew)",
        'not in segment("vip-club")', "not (sum(order_placed.amount) > 5 USD)",
    ):  # fmt: skip
        assert shop.who(text) == {who}, text
    assert shop.who("avg(order_placed.amount) >= 0 EUR or last(order_placed) is in past") == set()


# ---- units ----------------------------------------------------------------------------------------------------------


def test_those_merged_away_are_left_out(shop: Shop) -> None:
    kept = shop.customer()
    shop.customer(merged_into=kept)
    assert shop.who("class == b2c") == {kept}
    with shop.store.read() as conn:
        assert shop.segments.sample(conn, None, "customer", NOW) == [kept]
        assert shop.segments.count(conn, None, "customer", NOW) == 1


def test_a_contacts_tier_is_its_accounts_where_the_class_says_so(shop: Shop) -> None:
    gold = shop.account("partner", tier="gold")
    contact = shop.customer("partner", account_id=gold, tier="registered")
    consumer = shop.customer("b2c", account_id=gold, tier="silver")
    assert shop.who("tier >= gold") == {contact}
    assert shop.who("tier == silver") == {consumer}
    assert shop.who("tier < gold") == {consumer}
    assert shop.who("class == partner and tier >= silver") == {contact}
    assert shop.who("tier >= gold", unit="account") == {gold}


def test_any_contact_is_one_who_is_there(shop: Shop) -> None:
    nord, west = shop.account(), shop.account()
    shop.customer("b2b", account_id=nord, role="buyer", left_at=NOW - timedelta(days=1))
    assert shop.who("any contact(role == buyer)", unit="account") == set()
    shop.customer("b2b", account_id=west, role="buyer", left_at=NOW + timedelta(days=1))
    assert shop.who("any contact(role == buyer)", unit="account") == {west}


def test_a_segment_is_asked_of_the_other_unit_too(shop: Shop) -> None:
    segments = Segments(ACME, {"large": read("annual_value > 100", Scope("account"))}, shop.store.dialect)
    nord = shop.account(annual_value=20_000, annual_value_currency="EUR")
    contact = shop.customer("b2b", account_id=nord)
    shop.customer("b2b")
    with shop.store.read() as conn:
        assert segments.sample(conn, segments.named("large"), "customer", NOW) == [contact]
        assert segments.sample(conn, segments.named("large"), "account", NOW) == [nord]


def test_a_segment_that_asks_for_itself_is_an_error(shop: Shop) -> None:
    segments = Segments(ACME, {"vip-club": read('city is set and in segment("vip-club")')}, shop.store.dialect)
    with pytest.raises(ValueError, match="vip-club asks for itself"):
        segments.audience(segments.named("vip-club"), "customer", NOW)


# ---- time -----------------------------------------------------------------------------------------------------------


def test_today_is_the_day_where_the_unit_is(shop: Shop) -> None:
    now = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)  # in Berlin it is the 22nd, in New York still the 21st
    zones = {"Europe/Berlin": 22, "America/New_York": 21, "Pacific/Kiritimati": 22, "Pacific/Pago_Pago": 21}
    joined = date(2026, 11, 21)
    here = {zone: shop.customer(timezone=zone, joined=joined) for zone in [*zones, None, "Mars/Olympus"]}
    late = {here[zone] for zone, day in zones.items() if day == 22}
    assert shop.who("joined is in past", now) == late | {here[None], here["Mars/Olympus"]}  # the workspace: Berlin
    assert shop.who("days_since(joined) == 1", now) == late | {here[None], here["Mars/Olympus"]}
    away = shop.customer("b2b", timezone=None, joined=joined, account_id=shop.account(timezone="America/New_York"))
    assert away not in shop.who("joined is in past", now)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("joined is in past", {-31, -30, -29, -1}),
        ("joined is in future", {1, 29, 30, 31}),
        ("joined is within next 30 days", {0, 1, 29, 30}),
        ("joined is within last 30 days", {-30, -29, -1, 0}),
        ("joined is more than 30 days ago", {-31}),
        ("joined is less than 30 days ago", {-29, -1, 0}),
    ],
)
def test_edges_of_days(shop: Shop, text: str, days: set[int]) -> None:
    of = {
        shop.customer(joined=date(2026, 11, 21) + timedelta(days=d), timezone="UTC"): d
        for d in (-31, -30, -29, -1, 0, 1, 29, 30, 31)
    }
    assert {of[i] for i in shop.who(text)} == days


def test_months_back_end_with_the_month(shop: Shop) -> None:
    now = datetime(2027, 3, 31, 12, tzinfo=UTC)
    on_28th, on_27th = shop.customer(joined=date(2027, 2, 28)), shop.customer(joined=date(2027, 2, 27))
    assert shop.who("joined is within last 1 month", now) == {on_28th}
    assert shop.who("joined is more than 1 month ago", now) == {on_27th}


def test_a_window_holds_what_was_received_by_now_and_happened_not_after_now(shop: Shop) -> None:
    tick = timedelta(microseconds=1)
    day = timedelta(days=90)
    inside = [shop.customer(), shop.customer()]
    shop.event("order_placed", inside[0], NOW)
    shop.event("order_placed", inside[1], NOW - day + tick)
    shop.event("order_placed", shop.customer(), NOW - day)
    shop.event("order_placed", shop.customer(), NOW + tick)
    shop.event("order_placed", shop.customer(), NOW - tick, received=NOW + tick)
    assert shop.who("count(order_placed, 90 days) >= 1") == set(inside)
    assert shop.who("any(order_placed, 90 days)") == set(inside)


def test_a_written_day_beside_an_instant_is_that_day_where_the_unit_is(shop: Shop) -> None:
    at = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    berlin, new_york = shop.customer(timezone="Europe/Berlin"), shop.customer(timezone="America/New_York")
    for who in (berlin, new_york):
        shop.event("order_placed", who, at)
    assert shop.who("last(order_placed) == 2026-11-21") == {berlin}
    assert shop.who("last(order_placed) < 2026-11-21") == {new_york}
    assert shop.who("last(order_placed) in [2026-11-20]") == {new_york}


# ---- money and numbers ----------------------------------------------------------------------------------------------


def test_money_compares_within_a_currency(shop: Shop) -> None:
    euro = shop.account(annual_value=500_001, annual_value_currency="EUR")
    dollar = shop.account(annual_value=900_000, annual_value_currency="USD")
    assert shop.who("annual_value > 5000", unit="account") == {euro}
    assert shop.who("not annual_value > 5000", unit="account") == set()
    assert shop.who("annual_value > 5000 USD", unit="account") == {dollar}


def test_a_sum_over_currencies_is_unknown(shop: Shop) -> None:
    who = shop.customer()
    run = shop.run("customer", who)
    shop.event("order_placed", who, amount=5_000, amount_currency="EUR")
    assert shop.value("sum(order_placed.amount)", run) == 5_000
    assert shop.truth(read("sum(order_placed.amount) > 10 USD"), run) is None
    shop.event("order_placed", who, amount=5_000, amount_currency="USD")
    shop.event("order_placed", who, amount="odd", amount_currency="GBP")
    assert shop.value("sum(order_placed.amount)", run) is None
    assert shop.truth(read("sum(order_placed.amount) > 10 EUR"), run) is None
    assert shop.truth(read("sum(order_placed.amount) is set"), run) is False


def test_malformed_members_are_missing_and_stop_nothing(shop: Shop) -> None:
    odd = shop.customer(attributes={"birthday": "2027-02-30", "favourite_store": 7})
    other = shop.customer(attributes={"birthday": 19900101, "favourite_store": ["x"]})
    fine = shop.customer(attributes={"birthday": "1990-01-01", "favourite_store": "Mitte"})
    assert shop.who("birthday is not set and favourite_store is not set") == {odd, other}
    assert shop.who("birthday is in past or birthday is in future or days_since(birthday) > 0") == {fine}
    assert shop.who('favourite_store == "7"') == set()


def test_values_come_as_a_step_takes_them(shop: Shop) -> None:
    nord = shop.account(annual_value=12_345, annual_value_currency="EUR")
    who = shop.customer(joined=date(2020, 2, 29), attributes={"birthday": "1990-01-02"}, account_id=nord, tier="gold")
    run = shop.run("customer", who)
    shop.event("order_placed", who, NOW - timedelta(days=2), amount=100, amount_currency="EUR", channel="web")
    wanted = {
        "joined": "2020-02-29", "birthday": "1990-01-02", "account.annual_value": 12_345, "tier": "gold",
        "last(order_placed)": NOW - timedelta(days=2), "last(order_placed.channel)": "web", "count(order_placed)": 1,
        "count(order_placed) / 2": 0.5, "count(order_placed) / 0.5": 2, "count(order_placed) / (1 - 1)": None,
        "days_since(last(order_placed))": 2, "city": None, "sum(invoice.amount)": 0,
    }  # fmt: skip
    assert {text: shop.value(text, run) for text in wanted} == wanted


# ---- runs -----------------------------------------------------------------------------------------------------------


def test_what_happened_since_the_run_came_here(shop: Shop) -> None:
    who = shop.customer()
    hour = timedelta(hours=1)
    run = shop.run("customer", who, entered_at=NOW - 10 * hour, since=NOW - 2 * hour)
    shop.event("contract_renewed", who, NOW - 5 * hour, received=NOW - hour, contract_id="c1")
    where = read("contract_id == c1", Scope(subject_event="contract_renewed"))
    other = read("contract_id == c2", Scope(subject_event="contract_renewed"))

    def since(mark: Any, condition: Condition | None = None, within: int | None = None, now: datetime = NOW) -> Any:
        return shop.truth(happened("contract_renewed", condition, mark, "customer", within), run, now)

    assert since("entry") is True
    assert since("step") is False
    assert since("ever") is True
    assert since("entry", where) is True
    assert since("entry", other) is False
    assert since("entry", None, 5 * 3600) is True
    assert since("entry", None, 5 * 3600 - 1) is False
    assert since("entry", now=NOW - 2 * hour) is False  # not yet received


def test_the_record_of_the_run_is_in_scope(shop: Shop) -> None:
    nord = shop.account()
    who = shop.customer("b2b", account_id=nord)
    first = shop.record("contract", nord, ends="2027-01-01", auto_renew=True)
    other = shop.record("contract", nord, ends="2028-01-01", auto_renew=False)
    runs = {record: shop.run("account", nord, record_id=record) for record in (first, other)}
    asked = read("contract.auto_renew", RENEWAL)
    assert [shop.truth(asked, runs[r]) for r in (first, other)] == [True, False]
    shop.event("contract_renewed", who, contract_id="none")
    key = read(
        "contract_id == contract.contract_id", Scope("account", record="contract", subject_event="contract_renewed")
    )
    renewed = happened("contract_renewed", key, "entry", "account")
    assert shop.truth(renewed, runs[first]) is False
    with shop.store.read() as conn:
        name = conn.execute(sa.select(t.record.c.key).where(t.record.c.id == first)).scalar_one()
    shop.event("contract_renewed", who, contract_id=name)
    assert [shop.truth(renewed, runs[r]) for r in (first, other)] == [True, False]


def test_what_was_heard_of_a_runs_messages(shop: Shop) -> None:
    who = shop.customer()
    run = shop.run("customer", who, visit=2)
    batch = shop.add(t.batch, medium="email", purpose="marketing", priority=50, due_at=NOW, size=1)

    def message(visit: int, kind: EventKind, at: datetime = NOW) -> None:
        sent = shop.add(
            t.message, batch_id=batch, enrollment_id=run, step="email:renewal-notice", visit=visit, state="sent",
            addressee="customer", addressee_id=who, customer_id=who, medium="email", template="x", topic="x",
            purpose="marketing", priority=50, planned_at=NOW, due_at=NOW,
        )  # fmt: skip
        shop.add(t.feedback, message_id=sent, kind=kind, at=at, received_at=at)

    scope = Scope(steps=RENEWAL.steps)
    opened, delivered = read("opened(email:renewal-notice)", scope), read("delivered(email:renewal-notice)", scope)
    assert shop.truth(opened, run) is False
    message(0, EventKind.MACHINE_OPENED)
    assert (shop.truth(opened, run), shop.truth(delivered, run)) == (False, True)
    message(1, EventKind.CLICKED)
    assert shop.truth(opened, run) is True
    assert shop.truth(read("opened(sms:renewal-short)", scope), run) is False
    clicks = frozenset({EventKind.CLICKED})
    assert shop.truth(heard("email:renewal-notice", clicks, "customer"), run) is True
    assert shop.truth(heard("email:renewal-notice", clicks, "customer", "step"), run) is False
    message(2, EventKind.BOUNCED, NOW + timedelta(seconds=1))
    assert shop.truth(read("bounced(email:renewal-notice)", scope), run) is False


def test_a_batch_is_one_statement(shop: Shop, statements: list[str]) -> None:
    runs = [shop.run("customer", shop.customer(city="x")) for _ in range(5)]
    asked = [read(text) for text, scope in SPECIFIED if scope == Scope()]
    statements.clear()
    with shop.store.read() as conn:
        told = shop.segments.evaluate(conn, [*asked, *asked], [*runs, 999_999], NOW)
    assert len(statements) == 1
    assert told.keys() == set(runs)
    assert all(len(truths) == len(asked) and not values for truths, values in told.values())


def test_a_question_nobody_asks_is_no_statement(shop: Shop, statements: list[str]) -> None:
    with shop.store.read() as conn:
        assert shop.segments.evaluate(conn, [], [1, 2], NOW) == {1: ({}, {}), 2: ({}, {})}
        assert shop.segments.evaluate(conn, [read("email is set")], [], NOW) == {}
    assert statements == []


def test_runs_of_whom_it_is_true(shop: Shop) -> None:
    runs = {city: shop.run("customer", shop.customer(city=city)) for city in ("a", "b", None)}
    every = sa.select(t.enrollment.c.id)
    with shop.store.read() as conn:
        found = conn.execute(shop.segments.among(read("city != a"), every, "customer", NOW)).scalars().all()
    assert found == [runs["b"]]


# ---- within other statements ----------------------------------------------------------------------------------------


def test_a_triggers_where_judges_the_event_of_the_statement(shop: Shop) -> None:
    german, french = shop.customer(country="DE"), shop.customer(country="FR")
    events = [
        shop.event("order_placed", who, amount=a, amount_currency="EUR") for who in (german, french) for a in (100, 900)
    ]
    for scope, text in (
        (Scope(subject_event="order_placed"), "amount > 5 EUR and customer.country == DE"),
        (Scope(event="order_placed"), "event.amount > 5 EUR and country == DE"),
    ):
        where = shop.segments.predicate(read(text, scope), t.customer, now=NOW, event=t.event.c.id)
        query = sa.select(t.event.c.id).join(t.customer, t.customer.c.id == t.event.c.customer_id).where(where)
        with shop.store.read() as conn:
            assert conn.execute(query).scalars().all() == [events[1]]


def test_an_event_or_record_is_looked_up_by_an_id(shop: Shop) -> None:
    nord = shop.account()
    who = shop.customer("b2b", account_id=nord)
    small = shop.event("order_placed", who, amount=100, amount_currency="EUR")
    large = shop.event("order_placed", who, amount=900, amount_currency="EUR")
    contract = shop.record("contract", nord, auto_renew=True)
    runs = {e: shop.run("customer", who, event_id=e, record_id=contract) for e in (small, large)}
    asked = read("event.amount > 5 EUR and contract.auto_renew", Scope(event="order_placed", record="contract"))
    run = t.enrollment.alias()
    where = shop.segments.predicate(asked, t.customer, now=NOW, event=run.c.event_id, record=run.c.record_id)
    query = sa.select(run.c.id).join(t.customer, t.customer.c.id == run.c.customer_id).where(where)
    with shop.store.read() as conn:
        assert conn.execute(query).scalars().all() == [runs[large]]


def test_a_condition_about_a_run_needs_one(shop: Shop) -> None:
    with pytest.raises(ValueError, match="enrollment"):
        shop.segments.audience(happened("order_placed", None, "entry", "customer"), "customer", NOW)


# ---- speed ----------------------------------------------------------------------------------------------------------


def test_a_window_is_answered_from_a_covering_index(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'plan.db'}", create=True)
    store.migrate()
    segments = Segments(ACME, SEGMENTS, store.dialect)
    asked = read("class == b2c and tier >= gold and count(order_placed, 90 days) >= 2")
    query = segments.audience(asked, "customer", NOW).compile(store.engine, compile_kwargs={"render_postcompile": True})
    values = tuple(query.construct_params()[name] for name in query.positiontup or ())
    values = tuple(t.micros(v) if isinstance(v, datetime) else v for v in values)
    with store.read() as conn:
        plan = [row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)]
    store.close()
    assert any("ix_customer_class_tier_id (class=? AND tier=?)" in line for line in plan), plan
    covering = (
        "COVERING INDEX ix_event_customer_id_type_occurred_at_received_at (customer_id=? AND type=? AND occurred_at>"
    )
    assert any(covering in line for line in plan), plan
    assert not any("SCAN" in line for line in plan), plan


def test_a_look_for_one_does_not_count_them_all(shop: Shop) -> None:
    for text in ("count(order_placed, 90 days) >= 1", "count(order_placed) == 0", "never(order_placed)"):
        query = str(shop.segments.audience(read(text), "customer", NOW))
        assert "EXISTS" in query and "count(" not in query, text


def test_an_accounts_events_are_its_contacts(shop: Shop) -> None:
    nord = shop.account()
    contact, stranger = shop.customer("b2b", account_id=nord), shop.customer("b2b")
    rows = [
        {
            "type": "order_placed",
            "key": f"e{who}",
            "customer_id": who,
            "account_id": None,
            "occurred_at": NOW,
            "received_at": NOW,
            "properties": {"amount": 700, "amount_currency": "EUR"},
        }
        for who in (contact, stranger)
    ]
    with shop.store.write() as conn:
        add_events(conn, rows)
    assert shop.who("sum(order_placed.amount) == 7 EUR", unit="account") == {nord}
    assert shop.who("count(order_placed, 1 day) == 1") == {contact, stranger}
