"""Whatever happens to vouchers and rewards, in whatever order and however often: none is lost, none doubled."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import reward
from orchestrator.fulfil import take_in
from orchestrator.reward import Asked, Claimed, Redemption
from orchestrator.rows import ReadRow
from orchestrator.store import claims, vouchers
from orchestrator.store import tables as t
from tests.loyal import claimed, fill, points_to, project_of, shop
from tests.outgoing import World

POINTS, STOCK = 1500, 3
CODES = [f"CODE-{n:02}" for n in range(8)]
_PERSON, _CODE, _KEY = st.integers(0, 2), st.sampled_from(CODES), st.integers(0, 5)
_GIVE = st.tuples(st.just("give"), st.lists(st.tuples(_KEY, _PERSON), min_size=1, max_size=4))
_REDEEM = st.tuples(st.just("redeem"), st.lists(st.tuples(_CODE, st.integers(0, 1)), min_size=1, max_size=4))
_CLAIM = st.tuples(st.just("claim"), st.tuples(st.sampled_from(["mug", "ten-off", "once"]), _PERSON, st.integers(0, 9)))
OPERATIONS = st.one_of(
    _GIVE,
    _REDEEM,
    _REDEEM,
    _CLAIM,
    _CLAIM,
    _CLAIM,
    st.tuples(st.just("fill"), st.lists(_CODE, max_size=5)),
    st.tuples(st.just("void"), _CODE),
    st.tuples(st.just("cancel"), st.integers(1, 8)),
    st.tuples(st.just("outcome"), st.tuples(st.integers(1, 8), st.sampled_from(["fulfilled", "failed"]))),
    st.tuples(st.just("wait"), st.integers(1, 20)),
)


@dataclass
class Witness:
    """What was seen, to be held against what is there."""

    world: World
    people: list[int]
    filled: set[str] = field(default_factory=set)
    given: dict[str, str] = field(default_factory=dict)  # key → code
    redeemed: dict[str, str] = field(default_factory=dict)  # code → receipt
    voided: set[str] = field(default_factory=set)
    made: dict[str, int] = field(default_factory=dict)  # key → claim

    def fill(self, codes: list[str]) -> None:
        fill(self.world, "ten", codes)
        self.filled |= set(codes)

    def give(self, wanted: list[tuple[int, int]]) -> None:
        project = project_of(self.world)
        asked = [Asked(f"k{key}", "ten", "customer", self.people[person]) for key, person in wanted]
        found = self.world.store.written(lambda conn: reward.give(conn, project, asked, self.world.now))
        for key, code in found.items():
            assert self.given.setdefault(key, code.code) == code.code, "a key has one code, and always the same"
        assert set(self.given) >= {a.key for a in asked if a.key in found}

    def redeem(self, rows: list[tuple[str, int]]) -> None:
        told = [Redemption(code, f"r{receipt}", self.world.now) for code, receipt in rows]
        vocabulary = project_of(self.world).vocabulary
        answers = self.world.store.written(lambda conn: reward.redeem(conn, vocabulary, told, self.world.now))
        again = self.world.store.written(lambda conn: reward.redeem(conn, vocabulary, told, self.world.now))
        assert [a.reason for a in answers] == [a.reason for a in again], "a replay has the same answer"
        for row, answer in zip(told, answers, strict=True):
            if not answer.reason:
                assert self.redeemed.setdefault(row.code, row.receipt) == row.receipt, "by one receipt only"
                assert row.code in self.given.values() and row.code not in self.voided

    def void(self, code: str) -> None:
        answer = self.world.store.written(lambda conn: reward.void(conn, code, self.world.now))
        assert answer.reason == ("redeemed" if code in self.redeemed else "" if code in self.filled else "unknown")
        if not answer.reason:
            self.voided.add(code)

    def claim(self, what: tuple[str, int, int]) -> None:
        name, person, key = what
        found = claimed(self.world, name, self.people[person], f"c{key}")
        if isinstance(found, Claimed):
            assert self.made.setdefault(f"c{key}", found.claim.id) == found.claim.id
            if found.voucher is not None:
                assert self.given.setdefault(f"claim:c{key}", found.voucher.code) == found.voucher.code

    def cancel(self, number: int) -> None:
        project = project_of(self.world)
        reason = self.world.store.written(lambda conn: reward.cancel(conn, project, number, self.world.now))
        if not reason:
            self._gone(number)

    def outcome(self, what: tuple[int, str]) -> None:
        number, outcome = what
        row = ReadRow(str(number), values={"outcome": outcome, "at": self.world.now})
        vocabulary = project_of(self.world).vocabulary
        ((_, problem),) = self.world.store.written(
            lambda conn: take_in(conn, "claims", vocabulary, "", [row], self.world.now)
        )
        if outcome == "failed" and not problem:
            self._gone(number)

    def _gone(self, number: int) -> None:
        keys = [key for key, made in self.made.items() if made == number]
        self.voided |= {self.given[f"claim:{key}"] for key in keys if f"claim:{key}" in self.given}

    def wait(self, days: int) -> None:
        self.world.pass_time(days=days)

    # ---- what must hold at any time

    def check(self) -> None:
        with self.world.store.read() as conn:
            level = vouchers.levels(conn, self.world.now.date()).get("ten", vouchers.Level())
            rows = conn.execute(sa.select(t.voucher)).all()
            taken = conn.execute(sa.select(t.claim)).all()
            tallies = claims.tallies(conn)
            points = dict(
                conn.execute(
                    sa.select(t.point_entry.c.unit_id, sa.func.sum(t.point_entry.c.points)).group_by("unit_id")
                )
                .tuples()
                .all()
            )
            events = Counter(conn.execute(sa.select(t.event.c.type)).scalars())
        assert level.codes == len(rows) == len(self.filled), "free + given + redeemed + expired + void = all"
        assert {row.code for row in rows} == self.filled
        assert {row.given_key: row.code for row in rows if row.given_key} == self.given
        assert len(set(self.given.values())) == len(self.given), "no code to two"
        assert {row.code: row.redeemed_key for row in rows if row.redeemed_key} == self.redeemed
        assert {row.code for row in rows if row.void_at} == self.voided
        assert (events["voucher_given"], events["voucher_redeemed"]) == (len(self.given), len(self.redeemed))
        assert events["reward_claimed"] == len(self.made)
        live = [row for row in taken if row.state != "cancelled"]
        assert {row.key: row.id for row in taken} == self.made
        mugs = tallies.get("mug", claims.Tally())
        assert mugs.live <= STOCK and mugs.live == sum(row.reward == "mug" for row in live)
        for person in self.people:
            spent = sum(row.cost for row in live if row.unit_id == person)
            assert points[person] == POINTS - spent >= 0, "what is spent is what is claimed"
            assert sum(row.reward == "once" and row.unit_id == person for row in live) <= 1


def lived(param: str, request: pytest.FixtureRequest | None, operations: list[tuple[str, Any]]) -> None:
    class Named:
        def __init__(self) -> None:
            self.param = param

        def getfixturevalue(self, name: str) -> Any:
            assert request is not None
            return request.getfixturevalue(name)

    with tempfile.TemporaryDirectory() as folder, shop(Named(), Path(folder)) as world:  # type: ignore[arg-type]
        witness = Witness(world, world.people(3, consents=None))
        points_to(world, witness.people, POINTS)
        witness.fill(CODES[:4])
        for name, what in operations:
            getattr(witness, name)(what)
        witness.check()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(OPERATIONS, min_size=25, max_size=40))
def test_no_voucher_point_or_reward_is_lost_or_doubled(operations: list[tuple[str, Any]]) -> None:
    lived("sqlite", None, operations)


def test_the_same_on_postgresql(request: pytest.FixtureRequest) -> None:
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(OPERATIONS, min_size=25, max_size=40))
    def check(operations: list[tuple[str, Any]]) -> None:
        lived("postgresql", request, operations)

    check()
