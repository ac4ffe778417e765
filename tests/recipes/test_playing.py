"""Every recipe played: its own tests on the real engine, and nine weeks with fifty people made up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa

from channels.base import Medium
from channels.null import Null
from orchestrator.importing import import_rows
from orchestrator.project import Project
from orchestrator.recipes import BLANK
from orchestrator.rehearsal import rehearsals
from orchestrator.rehearse import Stage, coverage
from orchestrator.rehearse.behaving import USUAL
from orchestrator.rehearse.cohort import MadeUp, Told, made_up
from orchestrator.rehearse.simulating import simulate
from orchestrator.rows import ImportKind
from orchestrator.store.database import Store
from orchestrator.store.tables import enrollment, message
from tests.recipes.fitting import NAMES, all_in, in_minimal, minimal

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="stage-") as folder:
        yield Stage(Path(folder), {medium: Null(medium) for medium in Medium})


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, BLANK])
def test_the_tests_of_a_recipe_pass_and_come_to_every_step(name: str, stage: Stage) -> None:
    found = in_minimal(name)
    reached = []
    for test in rehearsals({p: t for p, t in found.files.items() if p.endswith(".test.yaml")}, found.project):
        verdict = stage.run(test, found.project)
        told = "\n".join(f"{f.span}: {f.text}\n  " + "\n  ".join(f.why) for f in verdict.failures)
        assert verdict.passed, f"{test.name}\n{told}"
        reached.append(verdict.reached[found.journey])
    missed = coverage(found.project.journeys[found.journey], reached)
    assert missed.unreached == ()


# ---- nine weeks ------------------------------------------------------------------------------------------------------

Rows = Callable[[int, str], Sequence[tuple[float, str, Mapping[str, Any]]]]
"""Of the nth customer (or company), with her key: days from the beginning (before it: negative), kind of row, row."""


def happened(days: float, type_: str, key: str, **values: Any) -> tuple[float, str, Mapping[str, Any]]:
    when = (BEGIN + timedelta(days=days)).isoformat()
    name = f"{key}-{type_}-{days}"
    return days, "events", {"type": type_, "event_id": name, "customer": key, "occurred_at": when, **values}


def said(days: float, key: str, **values: Any) -> tuple[float, str, Mapping[str, Any]]:
    return days, "customers", {"key": key, **values}


def day(days: int) -> str:
    return (BEGIN + timedelta(days=days)).date().isoformat()


@dataclass
class Lives:
    """People made up, with what a recipe is about in the life of each."""

    made: MadeUp
    rows: Rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made, name)

    def _all(self) -> list[Told]:
        there = [one.key for one in self.made._people(BEGIN) if one.joined < BEGIN.date()]
        customers = [key for key in there if key.startswith("customer")]
        companies = [key for key in there if key.startswith("company")]
        keys = [*enumerate(customers), *enumerate(companies)]
        found = [(days, kind, row) for n, key in keys for days, kind, row in self.rows(n, key)]
        return sorted(
            (Told(BEGIN + timedelta(days=d), cast(ImportKind, kind), row) for d, kind, row in found), key=lambda t: t.at
        )

    def fill(self, store: Store, begin: datetime, played: Project) -> tuple[str, ...]:
        notes = self.made.fill(store, begin, played)
        for kind in ("customers", "accounts", "records", "events"):
            rows = [t.row for t in self._all() if t.at <= begin and t.kind == kind]
            report = import_rows(store, self.made.keys, self.made.project.vocabulary, kind, rows, now=begin)
            notes += tuple(str(refused.problem) for refused in report.refused)
        return notes

    def life(self, begin: datetime, until: datetime, played: Project) -> Sequence[Told]:
        mine = [t for t in self._all() if begin < t.at < until]
        return sorted([*self.made.life(begin, until, played), *mine], key=lambda t: t.at)


def of_customers(rows: Rows) -> Rows:
    return lambda n, key: rows(n, key) if key.startswith("customer") else ()


PLAYED: Mapping[str, tuple[Mapping[str, float], Rows]] = {
    "welcome-series": ({}, of_customers(lambda n, k: [happened(n / 5, "signed_up", k)])),
    "abandoned-cart": ({"cart_left": 2}, lambda n, k: ()),
    "browse-abandonment": (
        {}, of_customers(lambda n, k: [happened(n + i / 8, "product_viewed", k, product="lamp") for i in (1, 2)])),
    "post-purchase": ({"order_placed": 2}, lambda n, k: ()),
    "replenishment": ({}, of_customers(lambda n, k: [(-1, "records", {
        "type": "supply", "customer": k, "supply_id": f"s-{n}", "product": "coffee", "runs_out": day(9 + n)})])),
    "price-drop": ({"price_dropped": 8}, lambda n, k: ()),
    "back-in-stock": (
        {}, of_customers(lambda n, k: [happened(1, "stock_asked", k, product="lamp"),
                                           happened(20 + n / 24, "back_in_stock", k, product="lamp")])),
    "birthday": ({}, lambda n, k: ()),
    "anniversary": ({}, of_customers(lambda n, k: [said(-1, k, joined=day(n - 727))])),
    "win-back": ({}, of_customers(lambda n, k: [happened(n % 20 - 59, "order_placed", k, amount="60 EUR")])),
    "sunset": ({"order_placed": 0}, of_customers(lambda n, k: [
        said(-1, k, joined=day(-900)), happened(n % 20 - 364, "order_placed", k, amount="60 EUR")])),
    "tier-upgrade": ({}, of_customers(lambda n, k: [said(-1, k, tier="bronze"), said(n + 1, k, tier="silver")])),
    "points-expiry": ({"order_placed": 0}, of_customers(lambda n, k: [
        happened(n % 20 - 513, "order_placed", k, amount="80 EUR")])),
    "referral": ({}, of_customers(lambda n, k: [
        happened(i + n / 4, "review_written", k, stars=5) for i in (1, 2)])),
    "nps-rescue": ({}, of_customers(lambda n, k: [
        happened(i + n / 4, "order_placed", k, amount="50 EUR") for i in (1, 2, 3)])),
    "renewal-committee": ({}, lambda n, k: [(-1, "records", {
        "type": "contract", "account": k, "contract_id": f"c-{n}", "ends": day(91 + n), "auto_renew": "no"})]
        if k.startswith("company") else ()),
    "trial-onboarding": ({"trial_started": 3, "feature_used": 6}, lambda n, k: ()),
    "event-invitation": ({"event_announced": 1}, lambda n, k: ()),
    "product-launch": ({}, lambda n, k: ()),
    "re-permission": ({}, of_customers(lambda n, k: [said(-1, k, consented_on=day(-699 + n % 20))])),
}  # fmt: skip


TOGETHER: Sequence[tuple[str, ...]] = (
    ("welcome-series", "browse-abandonment", "back-in-stock", "tier-upgrade", "re-permission", "win-back",
     "renewal-committee"),
    ("sunset", "points-expiry", "abandoned-cart", "price-drop", "trial-onboarding", "event-invitation"),
    ("nps-rescue", "referral", "post-purchase", "replenishment", "birthday", "anniversary", "product-launch"),
)  # fmt: skip
"""Played in one workspace: what happens in the life of one recipe's people does not end another's."""


def test_all_are_played() -> None:
    assert set(PLAYED) == set(NAMES) == {name for names in TOGETHER for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("names", TOGETHER, ids=lambda names: names[0])
def test_recipes_played_with_fifty_people(names: tuple[str, ...], tmp_path: Path) -> None:
    project, _ = all_in(names, minimal())
    rates = dict.fromkeys(project.vocabulary.events, 0.05)
    for name in names:
        rates |= PLAYED[name][0]
    cohort = Lives(
        made_up(project, 50, 1, rates=rates), lambda n, key: [row for name in names for row in PLAYED[name][1](n, key)]
    )
    came = simulate(
        project, cohort, begin=BEGIN, until=BEGIN + timedelta(days=66), behaviour=USUAL, seed=1,
        folder=tmp_path, channels={medium: Null(medium) for medium in Medium}, hop=timedelta(hours=12),
    )  # fmt: skip
    assert [note for note in came.notes if not note.startswith("nobody reaches the goal")] == []
    for name in names:
        traffic = came.traffic[name]
        companies = project.journeys[name].unit == "account"
        assert traffic.entered >= (3 if companies else 5), name
        assert sum(traffic.sent.values()) >= 5, name
        each = 3 if companies else 1  # recipients of a step
        assert all(n <= traffic.steps[step] * each for step, n in traffic.sent.items() if step in traffic.steps), name
        assert (traffic.held_out > 0) == (name == "win-back"), name
    held_out, twice, to_held_out = looked(tmp_path)
    assert (held_out > 0, twice, to_held_out) == ("win-back" in names, [], 0)


def looked(folder: Path) -> tuple[int, list[Any], int]:
    """Of the scratch database: runs held out, messages that somebody got twice in a run, messages to those held out."""
    store = Store.open(f"sqlite:///{folder / 'simulation.db'}")
    try:
        with store.read() as conn:
            out = sa.select(enrollment.c.id).where(enrollment.c.ended_because == "holdout")
            held_out = conn.scalar(sa.select(sa.func.count()).select_from(out.subquery()))
            which = (message.c.enrollment_id, message.c.step, message.c.customer_id)
            sent = message.c.state.in_(("sent", "delivered", "uncertain"))
            twice = (
                sa.select(*which).where(sent, message.c.medium != "task").group_by(*which).having(sa.func.count() > 1)
            )
            to = sa.select(sa.func.count()).where(message.c.enrollment_id.in_(out))
            return int(held_out or 0), list(conn.execute(twice)), int(conn.scalar(to) or 0)
    finally:
        store.close()
