"""Nights on which nothing changes: whom the database passes over is left just as a look at her would leave her."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import accrue as accruing
from orchestrator import grade
from orchestrator.accrue import accrue
from orchestrator.store import insert_ids, merging, tiers
from orchestrator.store import tables as t
from tests.outgoing import World
from tests.tiered import at, row, texts, world

__all__ = ["world"]

LADDER = """
    tier_by: count(bought, 5 days)
    thresholds: { bronze: 0, silver: 1, gold: 3, platinum: 8 }
    downgrade: { steps: one, review: monthly, protected_if: "safe_until is in future" }
"""
FREE = "\n    membership: { joins: free }"
FOR_A_TERM = "\n    membership: { joins: purchase, event: bought, term: 7 days }"
RENEWED = "\n    membership: { joins: purchase, event: bought, term: 3 days, renews: auto }"
START = datetime(2027, 3, 25, 6, tzinfo=UTC)


class _Undone(Exception):
    pass


def _stands(conn: sa.Connection) -> list[Sequence[Any]]:
    """All that a look decides of tiers and memberships; ids and the instant of writing left out."""
    of, e, row_ = t.tier_change.c, t.event.c, t.loyalty.c
    derived = sa.select(*(c for c in row_ if c.name != "updated_at")).order_by(row_.unit, row_.unit_id)
    moved = sa.select(of.unit_id, of.from_tier, of.to_tier, of.reason, of.at).order_by(of.id)
    told = sa.select(e.key, e.occurred_at).where(e.type.like("membership%")).order_by(e.id)
    mine = sa.select(t.customer.c.id, t.customer.c.tier).order_by(t.customer.c.id)
    return [row for query in (derived, moved, told, mine) for row in conn.execute(query).tuples().all()]


def _looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """How all would stand if everybody who is due were looked at."""
    found: list[Sequence[Any]] = []
    with monkeypatch.context() as patch, pytest.raises(_Undone), world.store.write() as conn:
        patch.setattr(tiers, "unchanged", lambda *_: {})
        more = True
        while more:
            _, more, _ = accruing._look(conn, world.now)
        found += _stands(conn)
        raise _Undone
    return found


def _firm(world: World) -> int:
    firm = {"key": "firm", "class": "b2b", "name": "Firm", "attributes": {}, "timezone": "Europe/Berlin"}
    stamps = {"created_at": world.now, "updated_at": world.now}
    with world.store.write() as conn:
        return int(insert_ids(conn, t.account, [firm | stamps])[0][0])


def _said(world: World, table: sa.Table, i: int, **values: Any) -> None:
    with world.store.write() as conn:
        conn.execute(table.update().where(table.c.id == i).values(**values, updated_at=world.now))


@pytest.mark.parametrize("joins", ["", FREE, FOR_A_TERM, RENEWED], ids=["nobody", "free", "term", "renewed"])
def test_who_is_passed_over_at_night_stands_as_if_she_had_been_looked_at(
    world: World, joins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.now = START
    world.apply(texts(joins + LADDER))
    usual = world.people(6)
    far = [*world.people(2, timezone="America/New_York"), *world.people(2, timezone="Pacific/Auckland")]
    coming, safe = world.people(joined=date(2027, 3, 29)), world.people(attributes={"safe_until": "2027-04-02"})
    firm = _firm(world)
    contact = world.people(account_id=firm, timezone=None, created_at=datetime(2026, 7, 1, 22, 30, tzinfo=UTC))
    everybody = [*usual, *far, *coming, *safe, *contact]
    world.event(everybody[1:], "bought", order_id="o", amount=100)
    passed: list[int] = []
    asked = tiers.unchanged

    def counted(*args: Any) -> Any:
        found = asked(*args)
        passed.extend(i for ids in found.values() for i in ids)
        return found

    monkeypatch.setattr(tiers, "unchanged", counted)
    for step in range(20):
        world.now = START + timedelta(hours=12 * step)
        if step == 2:
            for _ in range(3):
                world.event(usual[:3], "bought", order_id="o", amount=100)
        elif step == 3:
            _said(world, t.customer, usual[4], tier="platinum")
        elif step == 4:
            _said(world, t.account, firm, timezone="Africa/Lagos")  # midnight is Berlin's now, and was not in summer
        elif step == 5:
            _said(world, t.customer, usual[5], timezone="Asia/Tokyo")
        elif step == 7:  # as an import that committed late
            with world.store.write() as conn:
                conn.execute(t.customer.update().where(t.customer.c.id == usual[1]).values(tier="platinum"))
        expected = _looked_at(world, monkeypatch)
        accrue(world.store, now=world.now)
        with world.store.read() as conn:
            assert _stands(conn) == expected, world.now
    assert len(passed) > 30
    reasons = {reason for (reason,) in world.rows(sa.select(t.tier_change.c.reason).distinct())}
    assert reasons >= {"score", "review"}


def test_an_edited_programme_is_asked_of_everybody_though_they_are_more_than_a_look_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grade, "BATCH", 3)
    world.now = datetime(2027, 3, 20, 23, tzinfo=UTC)  # midnight in Berlin
    world.apply(texts(LADDER))
    everybody = world.people(8)
    world.event(everybody, "bought", order_id="o", amount=100)
    accrue(world.store, now=world.now)
    assert {row(world, i).graded_tier for i in everybody} == {"silver"}
    world.pass_time(hours=1)
    accrue(world.store, now=world.now)
    world.pass_time(hours=23)
    world.apply(texts(LADDER.replace("silver: 1, gold: 3", "silver: 1, gold: 2")))
    accrue(world.store, now=world.now)
    assert {row(world, i).missing for i in everybody} == {1.0}


def test_whose_other_record_was_merged_into_hers_is_not_passed_over(world: World) -> None:
    """The other one's class had no programme: nothing else says that what she did counts for another membership."""
    world.now = START
    world.apply(texts(FOR_A_TERM + LADDER.replace("count(bought", "count(left")))
    (kept,), (other,) = world.people(), world.people(1, **{"class": "b2b", "tier": None})
    world.event([kept], "bought", order_id="o", amount=100)
    at(world, "2027-03-25 07:00")
    world.now = datetime(2027, 3, 27, 6, tzinfo=UTC)
    world.event([other], "bought", order_id="o", amount=100)
    at(world, "2027-03-27 07:00")
    with world.store.write() as conn:
        merging.merge(conn, kept, other, now=world.now)
    at(world, "2027-03-27 08:00")
    assert row(world, kept).member_until == date(2027, 4, 7)
