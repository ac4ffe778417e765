"""Random well-typed conditions over an awkward little business: SQL on both databases against plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.condition import Expression, Scope, parse_expression
from orchestrator.model import Kind
from orchestrator.problems import Problems, Span
from orchestrator.store import Store
from orchestrator.store.segments import Segments
from tests.store import segments_world as w
from tests.store.segments_world import Env, Made, View, condition

WORLD = w.world(20270314)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Segments]]:
    """The business on each database; filled once, because nothing here writes."""
    if request.param == "sqlite":
        fresh = None
        url = f"sqlite:///{tmp_path_factory.mktemp('segments') / 'world.db'}"
    else:
        fresh = request.getfixturevalue("postgres").fresh_database()
        url = fresh.__enter__()
    store = Store.open(url, create=True)
    store.migrate()
    with store.write() as conn:
        w.fill(conn, WORLD)
    yield store, Segments(w.VOCABULARY, w.named_segments(), store.dialect)
    store.close()
    if fresh is not None:
        fresh.__exit__(None, None, None)


def views(unit: str, now: datetime) -> dict[int, View]:
    rows = WORLD.customers if unit == "customer" else WORLD.accounts
    return {row["id"]: View(WORLD, now, unit, row) for row in rows}


def run_views(unit: str, now: datetime) -> dict[int, View]:
    found = {}
    for run in WORLD.runs:
        if run["unit"] == unit:
            rows = WORLD.customers if unit == "customer" else WORLD.accounts
            row = next(r for r in rows if r["id"] == run["unit_id"])
            of = {r["id"]: r for r in WORLD.events}.get(run["event_id"])
            record = {r["id"]: r for r in WORLD.records}.get(run["record_id"])
            found[run["id"]] = View(WORLD, now, unit, row, None, of, record)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["customer", "account"])
@settings(max_examples=100)
@given(data=st.data())
def test_an_audience_is_who_the_condition_is_true_of(
    unit: Any, asked: tuple[Store, Segments], data: st.DataObject
) -> None:
    store, segments = asked
    made: Made = data.draw(w.truths(Env(unit)))
    now = data.draw(st.sampled_from(w.INSTANTS))
    meant = condition(made.text, Scope(unit))
    expected = {
        i for i, view in views(unit, now).items() if made.of(view) is True and view.row.get("merged_into") is None
    }
    with store.read() as conn:
        assert set(conn.execute(segments.audience(meant, unit, now)).scalars()) == expected
        assert segments.count(conn, meant, unit, now) == len(expected)
        assert segments.sample(conn, meant, unit, now, 3) == sorted(expected)[:3]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["customer", "account"])
@settings(max_examples=100)
@given(data=st.data())
def test_a_batch_is_told_true_false_and_unknown(unit: Any, asked: tuple[Store, Segments], data: st.DataObject) -> None:
    store, segments = asked
    made: list[Made] = data.draw(st.lists(w.truths(Env(unit, run=True)), min_size=1, max_size=3))
    now = data.draw(st.sampled_from(w.INSTANTS))
    scope = Scope(unit, record="contract", event="order_placed")
    meant = [condition(m.text, scope) for m in made]
    here = run_views(unit, now)
    with store.read() as conn:
        told = segments.evaluate(conn, meant, list(here), now)
    assert told.keys() == here.keys()
    for run, view in here.items():
        for m, c in zip(made, meant, strict=True):
            assert told[run][0][c.text] is m.of(view), (run, m.text)


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data())
def test_a_batch_is_told_values(asked: tuple[Store, Segments], data: st.DataObject) -> None:
    store, segments = asked
    env = Env("customer", run=True)
    made: Made
    made, kind = data.draw(
        st.one_of(
            w.numbers(env).map(lambda pair: (pair[0], Kind.NUMBER)),
            w.moneys(env).map(lambda m: (m, Kind.MONEY)),
            w.dates(env).map(lambda m: (m, Kind.DATE)),
            w.instants(env).map(lambda m: (m, Kind.INSTANT)),
        )
    )
    now = data.draw(st.sampled_from(w.INSTANTS))
    asked_for = expression(made.text)
    assert asked_for.kind is kind
    here = run_views("customer", now)
    with store.read() as conn:
        told = segments.evaluate(conn, [asked_for], list(here), now)
    for run, view in here.items():
        expected = made.of(view)
        if kind is Kind.MONEY and expected is not None:
            expected = round(expected[0])
        if kind is Kind.DATE and expected is not None:
            expected = expected.isoformat()
        assert told[run][1][asked_for.text] == expected, run


@pytest.mark.slow
@settings(max_examples=200)
@given(data=st.data())
def test_the_canonical_text_reads_back_as_itself(data: st.DataObject) -> None:
    unit: Any = data.draw(st.sampled_from(["customer", "account"]))
    made = data.draw(w.truths(Env(unit, run=True)))
    scope = Scope(unit, record="contract", event="order_placed")
    once = condition(made.text, scope)
    again = condition(once.text, scope)
    assert again.text == once.text
    assert again.root == once.root
    spaced = condition("  " + made.text.replace(" ", "  ") + " ", scope) if "a b" not in made.text else once
    assert spaced == once


def expression(text: str) -> Expression:
    problems = Problems()
    scope = Scope(record="contract", event="order_placed")
    found = parse_expression(text, Span("t.yaml", 1, 1, 1, 1 + len(text)), scope, w.VOCABULARY, problems)
    assert found is not None, (text, problems.found)
    return found
