"""Ranking a small world worked out by hand, on both databases; and the whole CDNOW history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks import cdnow
from orchestrator.rank import refresh
from orchestrator.store import Store, insert_ids
from orchestrator.store import tables as t
from orchestrator.store import value as kept
from tests.copied import copied
from tests.outgoing import NOON, WORKSPACE, Statements, World

PROGRAM = """
program:
  b2c:
    refunds: [returned takes back bought by order_id]
  b2b: { health: account.happy }
  value:
    orders: bought.amount
    contracts: { value: deal.worth, ends: deal.ends, begins: deal.begins, renews: deal.auto,
                 renewed: deal_renewed, cancelled: deal_cancelled }
    opportunities: { value: chance.worth, stage: chance.stage, stages: { open: 30% } }
    inactive_after: 6 months
    margin: 50%
"""
DECLARED = (
    WORKSPACE.replace("  customer: { town: text }", "  customer: { town: text }\n  account: { happy: number }")
    .replace(
        "events:\n",
        """records:
  deal: { of: account, key: deal_id, worth: money, begins: date, ends: date, auto: yes_no }
  chance: { of: account, key: chance_id, worth: money, stage: { one_of: [open, won, lost] } }
events:
  returned: { order_id: key }
  deal_renewed: { deal_id: key }
  deal_cancelled: { deal_id: key }
""",
    )
    .removesuffix("policies:\n")
)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with copied(request, tmp_path, {"journeys/workspace.yaml": DECLARED + PROGRAM}) as found:
        yield found


def add(world: World, table: sa.Table, **columns: Any) -> int:
    row = {"created_at": world.now, "updated_at": world.now, **columns}
    with world.store.write() as conn:
        return int(insert_ids(conn, table, [row])[0][0])


def company(world: World, key: str, happy: float | None = None) -> int:
    return add(world, t.account, key=key, **{"class": "b2b"}, attributes={} if happy is None else {"happy": happy})


def deal(world: World, account_id: int, key: str, euros: int, begins: str, ends: str, auto: bool = False) -> None:
    fields = {"worth": euros * 100, "worth_currency": "EUR", "begins": begins, "ends": ends, "auto": auto}
    add(world, t.record, type="deal", key=key, account_id=account_id, fields=fields)


def happened(world: World, kind: str, at: str, *, customer: int | None = None, account: int | None = None,
             **properties: Any) -> None:  # fmt: skip
    from orchestrator.ingest import record_events

    when = datetime.fromisoformat(at).replace(tzinfo=UTC)
    row = {"type": kind, "key": f"{kind}:{customer}:{account}:{at}:{properties}", "customer_id": customer,
           "account_id": account, "occurred_at": when, "properties": properties}  # fmt: skip
    with world.store.write() as conn:
        assert record_events(conn, [row], now=world.now) == 1


def bought(world: World, customer: int, at: str, euros: int, order: str = "", currency: str = "EUR") -> None:
    happened(world, "bought", at, customer=customer, order_id=order, amount=euros * 100, amount_currency=currency)


def standing(world: World, unit: str = "customer") -> dict[int, Any]:
    rows = world.rows(sa.select(t.loyalty).where(t.loyalty.c.unit == unit))
    return {row.unit_id: row for row in rows}


def test_consumers_by_hand(world: World) -> None:
    """Five people on 1 March 2027: too few for a model, so what is expected is what they spent a year, halved by the
    margin."""
    ann, bob, cleo, dan, eva = world.people(5, consents=None)
    bought(world, ann, "2027-01-10T10:00", 100)
    bought(world, ann, "2027-01-10T18:00", 20)
    bought(world, ann, "2027-02-20T10:00", 50)
    bought(world, bob, "2025-06-01T10:00", 400)
    bought(world, dan, "2027-02-01T10:00", 30, currency="CHF")
    bought(world, eva, "2027-02-01T10:00", 100, order="o1")
    bought(world, eva, "2027-02-02T10:00", 60, order="o2")
    happened(world, "returned", "2027-02-05T10:00", customer=eva, order_id="o1")
    report = refresh(world.store, now=world.now)
    assert report.bands["b2c"] == {"top": 1, "big": 0, "medium": 0, "small": 1, "inactive": 1, "prospect": 2}
    assert (report.ranked, report.moved, report.models) == (5, 0, {})
    assert any("1 bought not in EUR" in note for note in report.notes), report.notes
    assert any("2 came back" in note for note in report.notes), report.notes
    rows = standing(world)
    assert {i: rows[i].band for i in rows} == {
        ann: "top", bob: "inactive", cleo: "prospect", dan: "prospect", eva: "small",
    }  # fmt: skip
    # Customers for less than a year count as for one; of Bob, gone, nothing is expected.
    assert [(rows[i].spent, rows[i].clv) for i in (ann, bob, cleo, dan, eva)] == [
        (17_000, 8_500), (40_000, 0), (0, 0), (0, 0), (6_000, 3_000),
    ]  # fmt: skip
    assert rows[ann].clv_currency == "EUR" and rows[ann].p_alive is None and rows[ann].valued_at == NOON


def test_companies_by_hand(world: World) -> None:
    """Contract N: 120,000 EUR from 1 July 2026 to 30 June 2027: on 1 March 122 of 365 days are left."""
    nord, sued, ost, west = (company(world, key, happy) for key, happy in
                             (("nord", 75), ("sued", None), ("ost", None), ("west", None)))  # fmt: skip
    deal(world, nord, "n", 120_000, "2026-07-01", "2027-06-30")
    happened(world, "deal_renewed", "2026-06-20T10:00", account=nord, deal_id="n")
    deal(world, sued, "s", 36_500, "2026-01-01", "2026-12-31")  # ended, and nobody said that it goes on
    deal(world, ost, "o", 73_000, "2026-03-01", "2027-02-28", auto=True)
    deal(world, ost, "o2", 73_000, "2027-03-01", "2028-02-28", auto=True)
    happened(world, "deal_cancelled", "2027-02-01T10:00", account=ost, deal_id="o2")
    fields = {"worth": 1_000_000, "worth_currency": "EUR", "stage": "open"}
    add(world, t.record, type="chance", key="x", account_id=nord, fields=fields)
    add(world, t.record, type="chance", key="y", account_id=west, fields={**fields, "stage": "lost"})
    report = refresh(world.store, now=world.now)
    assert report.scored == 4 and report.ranked == 4
    rows = standing(world, "account")
    # Told of the class: one renewed; lost are s and o (ended) and o2 (cancelled). The share is 2 of 6.
    own = (1 + 2 * (2 / 6)) / (1 + 2)
    odds = own / (1 - own) * 2
    assert rows[nord].renewal == pytest.approx(odds / (1 + odds))
    to_come = 12_000_000 * 122 / 365 + rows[nord].renewal * 12_000_000 + 0.3 * 1_000_000
    assert rows[nord].clv == round(to_come / 2)
    assert rows[nord].spent == round(12_000_000 * 243 / 365)
    assert (rows[ost].renewal, rows[ost].clv) == (0, round(7_300_000 / 2))
    assert (rows[sued].renewal, rows[sued].clv) == (None, 0)
    assert [rows[i].band for i in (nord, sued, ost, west)] == ["top", "small", "small", "prospect"]
    assert (rows[nord].health, rows[sued].health) == (75, None)


def test_movement_is_told_once(world: World) -> None:
    ann, bob = world.people(2, consents=None)
    bought(world, ann, "2027-02-01T10:00", 100)
    refresh(world.store, now=world.now)
    changes = sa.select(t.band_change.c.unit_id, t.band_change.c.from_band, t.band_change.c.to_band)
    assert set(map(tuple, world.rows(changes))) == {(ann, None, "top"), (bob, None, "prospect")}
    events = sa.select(t.event.c.customer_id, t.event.c.properties).where(t.event.c.type == "band_changed")
    assert world.rows(events) == []  # ranked for the first time is no movement

    bought(world, bob, "2027-02-20T10:00", 500)
    assert refresh(world.store, now=world.now).moved == 2
    assert refresh(world.store, now=world.now).moved == 0
    assert {row.customer_id: row.properties for row in world.rows(events)} == {
        ann: {"from_band": "top", "to_band": "small", "direction": "down"},
        bob: {"from_band": "prospect", "to_band": "top", "direction": "up"},
    }
    world.pass_time(days=200)
    assert refresh(world.store, now=world.now).moved == 2
    assert {row.band for row in standing(world).values()} == {"inactive"}
    with world.store.read() as conn:
        assert [step[:2] for step in kept.history(conn, "customer", bob)] == [
            (None, "prospect"), ("prospect", "top"), ("top", "inactive"),
        ]  # fmt: skip
        since = world.now - timedelta(days=1)
        assert kept.movements(conn, since, world.now + timedelta(days=1)) == {
            ("top", "inactive"): 1, ("small", "inactive"): 1,
        }  # fmt: skip


def test_who_was_merged_or_erased_is_not_ranked(world: World) -> None:
    ann, bob, cleo = world.people(3, consents=None)
    for one in (ann, bob, cleo):
        bought(world, one, "2027-02-01T10:00", 10)
    with world.store.write() as conn:
        conn.execute(t.customer.update().where(t.customer.c.id == bob).values(merged_into=ann))
        conn.execute(t.customer.update().where(t.customer.c.id == cleo).values(erased_at=world.now))
    refresh(world.store, now=world.now)
    assert set(standing(world)) == {ann}


def test_statements_do_not_grow_with_customers(world: World) -> None:
    def cost(n: int) -> int:
        for one in world.people(n, consents=None):
            bought(world, one, "2027-02-01T10:00", one)
        with Statements(world.store.engine) as seen:
            refresh(world.store, now=world.now)
        return seen.count

    cost(1)
    few = cost(2)
    assert cost(25) <= few + 2  # a movement's events


def test_in_batches_and_stopped(world: World) -> None:
    people = world.people(7, consents=None)
    for one in people:
        bought(world, one, "2027-02-01T10:00", one)
    asked = iter([False, False, True])
    report = refresh(world.store, now=world.now, batch=2, stop=lambda: next(asked, True))
    assert not report.finished and report.ranked < 7
    assert refresh(world.store, now=world.now, batch=2).ranked == 7
    assert set(standing(world)) == set(people)


def test_nothing_where_no_value_is_declared(world: World) -> None:
    world.apply({"journeys/workspace.yaml": DECLARED})
    report = refresh(world.store, now=world.now)
    assert (report.ranked, report.scored) == (0, 0) and "no `value`" in report.notes[0]


@pytest.mark.slow
@pytest.mark.skipif(not cdnow.MASTER.is_file(), reason=f"the CDNOW history is not at {cdnow.MASTER.parent}")
def test_the_pyramid_over_the_whole_cdnow_history(tmp_path: Path) -> None:
    """23,570 customers: every one stands in one band, and the active ones' bands have their shares."""
    from benchmarks import value

    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    store.migrate()
    try:
        value.fill(store, tmp_path / "files")
        report = refresh(store, now=value.NOW)
        with store.read() as conn:
            layers = {layer.band: layer for layer in kept.layers(conn, {"b2c": "customer"})}
    finally:
        store.close()
    bands = dict(report.bands["b2c"])
    assert {band: layer.units for band, layer in layers.items()} == {band: n for band, n in bands.items() if n}
    assert sum(bands.values()) == report.ranked == 23_570
    last: dict[int, Any] = {}
    cents: dict[int, int] = {}
    for order in cdnow.orders():
        last[order.customer] = max(last.get(order.customer, order.day), order.day)
        cents[order.customer] = cents.get(order.customer, 0) + order.cents
    inactive = sum(day < value.NOW.date().replace(year=1997) for day in last.values())
    assert bands["inactive"] == inactive and bands["prospect"] == 0
    active = 23_570 - inactive
    for band, share in (("top", 0.01), ("big", 0.04), ("medium", 0.15), ("small", 0.80)):
        assert bands[band] == pytest.approx(share * active, abs=2)
    assert sum(layer.spent for layer in layers.values()) == sum(cents.values())
    worth = [layers[band].clv / layers[band].units for band in ("top", "big", "medium", "small")]
    assert worth == sorted(worth, reverse=True)
    model = report.models["b2c"]
    assert model.buying.n == 23_570 and model.spending.n == pytest.approx(11_515, abs=5)
