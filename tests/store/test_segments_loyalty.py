"""What conditions say of points, value and membership: SQL on both databases against what the rows say themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.condition import Scope, parse_expression
from orchestrator.problems import Problems, Span
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.store.segments import Segments
from tests.test_condition import ACME, read

NOW = datetime(2027, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CLASSES = ("b2c", "b2c", "b2b", "partner", "gone")
WINDOWS = ("1 hour", "1 day", "30 days", "52 weeks", "365 days", "1 month", "1 year")
AGO = (timedelta(0), timedelta(microseconds=1), timedelta(hours=1), DAY, 30 * DAY, 31 * DAY, 364 * DAY, 365 * DAY)


@dataclass
class Shop:
    """Customers and accounts of every class, and a ledger with every kind of entry at every edge of time."""

    customers: list[dict[str, Any]] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def meant(self, unit: str, row: dict[str, Any], owner: str = "") -> tuple[str, int | None]:
        """Whose points these are: a contact's are her account's where the class says so."""
        if unit == "account":
            return "account", row["id"]
        shared = row["class"] in ("b2b", "partner") or owner == "account"
        return ("account", row["account_id"]) if shared else ("customer", row["id"])

    def points(self, whose: tuple[str, int | None], since: datetime, now: datetime) -> int:
        return sum(
            e["points"]
            for e in self.entries
            if (e["unit"], e["unit_id"]) == whose
            and e["counts"]
            and e["kind"] in ("earn", "award", "reverse")
            and since < e["at"] <= now
            and e["received_at"] <= now
            and e["active_at"] <= now
        )

    def row(self, whose: tuple[str, int | None]) -> dict[str, Any]:
        return next((r for r in self.rows if (r["unit"], r["unit_id"]) == whose), {})


def shop(seed: int) -> Shop:
    r = random.Random(seed)
    made = Shop()
    stamp = {"created_at": NOW, "updated_at": NOW}
    for n in range(1, 7):
        made.accounts.append({"id": n, "key": f"a{n}", "class": r.choice(CLASSES), **stamp})
    for n in range(1, 25):
        account = r.choice([None, *range(1, 7)])
        made.customers.append({"id": n, "key": f"c{n}", "class": r.choice(CLASSES), "account_id": account, **stamp})
    for n in range(1, 400):
        kind = r.choice(["earn", "earn", "award", "reverse", "deduct", "spend", "expire"])
        at = NOW - r.choice(AGO) + r.choice((timedelta(0), timedelta(0), timedelta(microseconds=1), DAY))
        size = r.choice((1, 50, 10**9))
        made.entries.append({
            "id": n, "key": f"e{n}", "unit": r.choice(("customer", "account")), "unit_id": r.randint(1, 6),
            "kind": kind, "points": size if kind in ("earn", "award") else -size,
            "of_id": 1 if kind == "reverse" else None, "counts": r.random() < 0.8, "at": at,
            "received_at": r.choice((at, at, NOW + DAY)), "active_at": r.choice((at, at, at + DAY, NOW)), "rule": "",
        })  # fmt: skip
    for unit, last in (("customer", 24), ("account", 6)):
        for n in range(1, last + 1):
            if r.random() < 0.7:
                made.rows.append({
                    "unit": unit, "unit_id": n, "points": r.choice((None, 0, 5, 500)),
                    "band": r.choice((None, "top", "small")), "clv": r.choice((None, 0, 50_000)),
                    "clv_currency": r.choice((None, "EUR", "EUR", "CHF")), "health": r.choice((None, 12.5, 80.0)),
                    "member": r.choice((None, "none", "active")), "updated_at": NOW,
                })  # fmt: skip
    return made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Shop]]:
    """The shop on each database; filled once, because nothing here writes."""
    if request.param == "sqlite":
        fresh = None
        url = f"sqlite:///{tmp_path_factory.mktemp('loyalty') / 'shop.db'}"
    else:
        fresh = request.getfixturevalue("postgres").fresh_database()
        url = fresh.__enter__()
    store, made = Store.open(url, create=True), shop(20270331)
    store.migrate()
    with store.write() as conn:
        for table, rows in (
            (t.account, made.accounts), (t.customer, made.customers), (t.point_entry, made.entries),
            (t.loyalty, made.rows),
        ):  # fmt: skip
            conn.execute(table.insert(), rows)
    yield store, made
    store.close()
    if fresh is not None:
        fresh.__exit__(None, None, None)


def segments(store: Store) -> Segments:
    return Segments(ACME, {}, store.dialect)


def values(store: Store, text: str, unit: Any, ids: list[int], now: datetime) -> dict[int, Any]:
    problems = Problems()
    expression = parse_expression(text, Span("p", 1, 1, 1, 1 + len(text)), Scope(unit), ACME, problems)
    assert expression is not None, problems.found
    with store.read() as conn:
        found = segments(store).of_units(conn, [expression], unit, ids, now)
    return {i: found[i][1][expression.text] for i in ids}


def before(now: datetime, window: str) -> datetime:
    if window.endswith(("month", "year")):
        return {"1 month": datetime(2027, 2, 28, 12, tzinfo=UTC), "1 year": datetime(2026, 3, 31, 12, tzinfo=UTC)}[
            window
        ]
    count, unit = window.split()
    return (
        now
        - int(count)
        * {"hour": timedelta(hours=1), "day": DAY, "weeks": 7 * DAY}[
            unit.removesuffix("s") + ("s" if unit.startswith("week") else "")
        ]
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_points_of_a_window_are_what_the_ledger_says(asked: tuple[Store, Shop], data: st.DataObject) -> None:
    store, made = asked
    unit = data.draw(st.sampled_from(("customer", "account")))
    owner = data.draw(st.sampled_from(("", "account"))) if unit == "customer" else ""
    window = data.draw(st.sampled_from(WINDOWS))
    rows = made.customers if unit == "customer" else made.accounts
    told = values(store, f"{'account.' * bool(owner)}points({window})", unit, [r["id"] for r in rows], NOW)
    since = before(NOW, window)
    assert told == {r["id"]: made.points(made.meant(unit, r, owner), since, NOW) for r in rows}


@pytest.mark.parametrize("unit", ["customer", "account"])
@pytest.mark.parametrize(
    ("text", "of"),
    [
        ("points >= 5", lambda row: row.get("points") is not None and row["points"] >= 5),
        ("value.band in [top, big]", lambda row: row.get("band") == "top"),
        ("value.clv > 499 EUR", lambda row: bool(row.get("clv")) and row["clv_currency"] == "EUR"),
        ("value.clv is set", lambda row: row.get("clv") is not None and row["clv_currency"] is not None),
        (
            "health < 40 and membership.state == active",
            lambda row: row.get("health") == 12.5 and row["member"] == "active",
        ),
        ("not (points >= 5)", lambda row: row.get("points") == 0),
    ],
)
def test_who_is_meant_is_whose_row_says_so(asked: tuple[Store, Shop], unit: Any, text: str, of: Any) -> None:
    store, made = asked
    rows = made.customers if unit == "customer" else made.accounts
    with store.read() as conn:
        query = segments(store).audience(read(text, Scope(unit)), unit, NOW)
        assert set(conn.execute(query).scalars()) == {r["id"] for r in rows if of(made.row(made.meant(unit, r)))}


def test_the_account_s_row_is_asked_by_its_name(asked: tuple[Store, Shop]) -> None:
    store, made = asked
    expected = {c["id"]: made.row(("account", c["account_id"])).get("points") for c in made.customers}
    assert values(store, "account.points", "customer", list(expected), NOW) == expected
    with store.read() as conn:
        query = segments(store).audience(read("any contact(account.points >= 5)", Scope("account")), "account", NOW)
        rich = {a["id"] for a in made.accounts if (made.row(("account", a["id"])).get("points") or 0) >= 5}
        assert set(conn.execute(query).scalars()) == rich & {c["account_id"] for c in made.customers}


def test_the_ledger_is_asked_by_its_index(asked: tuple[Store, Shop]) -> None:
    store, _ = asked
    if store.dialect != "sqlite":
        pytest.skip("a small table is read whole there")
    with store.read() as conn:
        query = segments(store).audience(read("points(365 days) > 5 and value.band == top"), "customer", NOW)
        plan = conn.execute(
            sa.text("EXPLAIN QUERY PLAN " + str(query.compile(conn, compile_kwargs={"literal_binds": True})))
        )
        lines = [row[3] for row in plan]
    assert any("point_entry" in line and "unit=? AND unit_id=?" in line for line in lines), lines
    assert any("loyalty" in line and "unit=? AND unit_id=?" in line for line in lines), lines
