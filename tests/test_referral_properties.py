"""Whatever comes in whatever order, and however often: no circle, one referrer, one reward, one commission."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import refer
from orchestrator.apply import in_force
from orchestrator.refer import Claim
from orchestrator.store import referrals, versions
from orchestrator.store import tables as t
from tests.playing import Game, game, migrated_file, snapshot  # noqa: F401

PROGRAM = """
b2c:
  points: [ "1 per 1 EUR of bought.amount" ]
  refunds: [ cancelled takes back bought by order_id ]
  challenges: { buyer: { when: "count(bought) >= 2", points: 7 } }
  referral: { converts_on: bought, reward: { referrer: 500, referred: 200 } }
partner:
  refunds: [ returned takes back bought by order_id of refund ]
  referral: { converts_on: bought, code: per account }
  commission: { share: 10% of bought.amount }
"""
PEOPLE = 5

people = st.integers(0, PEOPLE - 1)
deeds = st.one_of(
    st.tuples(st.just("refers"), people, people),
    st.tuples(st.just("partner"), people, people),
    st.tuples(st.just("buys"), people, st.integers(0, 6)),
    st.tuples(st.just("cancels"), people, st.integers(0, 6)),
    st.tuples(st.just("returns"), people, st.integers(0, 6)),
    st.tuples(st.just("look"), st.just(0), st.just(0)),
    st.tuples(st.just("replay"), st.just(0), st.just(0)),
)


def act(found: Game, ids: list[int], codes: list[str], partner: str, deed: tuple[str, int, int]) -> None:
    what, one, two = deed
    match what:
        case "refers":
            key = f"s{one}-{two}"  # the same sentence again is the same event
            found.tell("signed_up", ids[two], key=key, referral_code=codes[one])
        case "partner":
            found.tell("signed_up", ids[one], key=f"p{one}", referral_code=partner)
        case "buys":
            order = f"o{one}-{two}"
            found.tell("bought", ids[one], key=order, order_id=order, amount=1_000, amount_currency="EUR")
        case "cancels":
            found.tell("cancelled", ids[one], key=f"c{one}-{two}", order_id=f"o{one}-{two}")
        case "returns":
            told: dict[str, Any] = {"order_id": f"o{one}-{two}", "refund": 600, "refund_currency": "EUR"}
            found.tell("returned", ids[one], **told)
        case "replay":
            replay(found)
        case _:
            found.look()
    found.pass_time(minutes=7)


def replay(found: Game) -> None:
    """Every event is looked at again, as after a crash that lost the watermark."""
    with found.store.write() as conn:
        for name in ("accrued_event", "referred_until"):
            versions.set_number(conn, name, 0)
    found.look()


def check(found: Game) -> None:
    rows = found.rows(sa.select(t.referral))
    live = [row for row in rows if row.state in referrals.LIVE]
    assert all(n == 1 for n in Counter((row.referred_unit, row.referred_id) for row in live).values())
    parent = {(row.referred_unit, row.referred_id): (row.unit, row.unit_id) for row in live}
    for start in parent:
        node, steps = start, 0
        while node in parent:
            node, steps = parent[node], steps + 1
            assert steps <= len(parent) and node != start, "a circle"
    p = t.point_entry.c
    given = {row.key: row.points for row in found.rows(sa.select(p.key, p.points).where(p.rule == "referral"))}
    counted = {row.id for row in rows if row.state == "converted"}
    for row in rows:
        if row._mapping["class"] == "b2c":
            there = {side: given.get(f"referral:{row.id}:{side}") for side in ("referrer", "referred")}
            was = row.id in counted or row.reason == "refunded"
            assert there == ({"referrer": 500, "referred": 200} if was else {"referrer": None, "referred": None})
    told = found.events("referral_converted")
    assert len(told) == len({event.key for event in told})
    c = t.commission.c
    orders = Counter(row.event_id for row in found.rows(sa.select(c.event_id).where(c.of_id.is_(None))))
    assert all(n == 1 for n in orders.values())
    sums = found.rows(
        sa.select(sa.func.coalesce(c.of_id, c.id), sa.func.sum(c.amount)).group_by(sa.func.coalesce(c.of_id, c.id))
    )
    assert all(0 <= total <= 100 for _, total in sums)


@pytest.fixture(scope="module")
def prepared(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A database with five people, a partner and everybody's codes, to be copied."""
    folder = tmp_path_factory.mktemp("prepared")
    path = folder / "store.db"
    shutil.copy(migrated_file, path)
    with game(f"sqlite:///{path}", folder, PROGRAM) as found:
        found.people(PEOPLE, consents=None)
        found.company("agency", "partner")
        found.look()
    return path


@pytest.fixture(scope="module")
def world(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    folder = tmp_path_factory.mktemp("world")
    shutil.copy(prepared, folder / "store.db")
    with game(f"sqlite:///{folder / 'store.db'}", folder) as found:
        found.people(9 - PEOPLE, consents=None)
        yield found


@settings(max_examples=12)
@given(st.lists(deeds, max_size=16))
def test_no_circle_and_nothing_twice(prepared: Path, history: list[Any]):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        shutil.copy(prepared, path)
        with game(f"sqlite:///{path}", Path(folder)) as found:
            ids = sorted(row[0] for row in found.rows(sa.select(t.customer.c.id)))
            firm = found.one(sa.select(t.account.c.id))
            with found.store.write() as conn:
                force = in_force(conn)
                assert force is not None
                wanted: list[Any] = [("customer", i, i) for i in ids]
                made = referrals.codes(conn, force.project, [*wanted, ("account", firm, None)], found.now)
            codes, partner = [made[one] for one in wanted], made["account", firm, None]
            for deed in history:
                act(found, ids, codes, partner, deed)
            found.look()
            check(found)
            before, points = snapshot(found), found.points()
            for _ in range(2):
                found.pass_time(minutes=1)
                replay(found)
            assert snapshot(found) == before and found.points() == points


class Undone(Exception):
    """Ends a transaction of which nothing shall stay."""


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30), st.integers(2, 30))
def test_circles_never_form_in_random_graphs(world: Game, pairs: list[tuple[int, int]], size: int):
    """Claims in batches of any size give the same as one at a time."""
    ids = sorted(row[0] for row in world.rows(sa.select(t.customer.c.id)))
    wanted: list[Any] = [("customer", i, i) for i in ids]

    def outcome(batch: int) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        with suppress(Undone), world.store.write() as conn:
            force = in_force(conn)
            assert force is not None
            made = referrals.codes(conn, force.project, wanted, world.now)
            claims = [Claim(made[wanted[a]], ids[b], None, world.now) for a, b in pairs]
            for start in range(0, len(claims), batch):
                refer.record(conn, force.project, claims[start : start + batch], world.now)
            r = t.referral.c
            columns = (r.unit_id, r.referred_id, r.state, r.reason)
            found += [tuple(row) for row in conn.execute(sa.select(*columns).order_by(r.unit_id, r.referred_id))]
            raise Undone
        return found

    alone = outcome(1)
    assert outcome(size) == alone
    parent = {b: a for a, b, state, _ in alone if state == "pending"}
    assert len(parent) == sum(state == "pending" for _, _, state, _ in alone)
    for start in parent:
        node, steps = parent[start], 0
        while node in parent and steps <= len(parent):
            node, steps = parent[node], steps + 1
        assert steps <= len(parent), "a circle"
    # And nothing is refused that closes none: the first claim of each pair, against what was there before it.
    assert {reason for _, _, _, reason in alone} <= {"", "self", "loop", "second_referrer"}
