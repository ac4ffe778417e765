"""Voucher pools on both databases: a code is given to one, redeemed once, and seen by nobody else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import reward
from orchestrator.reward import Answer, Asked, Redemption
from orchestrator.store import tables as t
from orchestrator.store import vouchers
from orchestrator.store.vouchers import Code, Level
from orchestrator.tick import tick
from tests.loyal import company, fill, project_of, shop, texts
from tests.outgoing import NOON, Statements, World, journey

STEPS = """
- voucher: ten
- email: hello
"""


JOURNEYS = {"j": journey("j", STEPS), "firms": journey("firms", "- voucher: ten", "{ event: bought }", "unit: account")}


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with shop(request, tmp_path, JOURNEYS) as made:
        yield made


def given(world: World, *asked: Asked) -> dict[str, Code]:
    project = project_of(world)
    return world.store.written(lambda conn: reward.give(conn, project, asked, world.now))


def ask(key: str, unit_id: int, pool: str = "ten") -> Asked:
    return Asked(key, pool, "customer", unit_id)


def redeemed(world: World, *rows: tuple[str, str] | Redemption) -> list[Answer]:
    told = [row if isinstance(row, Redemption) else Redemption(*row, world.now) for row in rows]
    vocabulary = project_of(world).vocabulary
    return world.store.written(lambda conn: reward.redeem(conn, vocabulary, told, world.now))


def level(world: World, pool: str = "ten") -> Level:
    with world.store.read() as conn:
        return vouchers.levels(conn, world.now.date()).get(pool, Level())


# ---- giving ---------------------------------------------------------------------------------------------------------


def test_codes_are_given_lowest_first_and_once_for_a_key(world: World) -> None:
    ann, bob = world.people(2)
    fill(world, "ten", ["AAAA-1", "AAAA-2", "AAAA-3"])
    first = given(world, ask("k1", ann), ask("k2", bob))
    assert {key: code.code for key, code in first.items()} == {"k1": "AAAA-1", "k2": "AAAA-2"}
    again = given(world, ask("k2", bob), ask("k1", ann), ask("k3", ann))
    assert {key: code.code for key, code in again.items()} == {"k1": "AAAA-1", "k2": "AAAA-2", "k3": "AAAA-3"}
    assert again["k1"] == first["k1"]
    assert level(world) == Level(given=3)
    events = world.rows(sa.select(t.event.c.customer_id, t.event.c.properties).where(t.event.c.type == "voucher_given"))
    assert [tuple(row) for row in events] == [
        (ann, {"pool": "ten", "expires": "2027-03-31"}),
        (bob, {"pool": "ten", "expires": "2027-03-31"}),
        (ann, {"pool": "ten", "expires": "2027-03-31"}),
    ]


def test_an_empty_pool_gives_nothing_and_the_next_codes_go_to_who_asks_again(world: World) -> None:
    ann, bob = world.people(2)
    fill(world, "ten", ["AAAA-1"])
    assert list(given(world, ask("k1", ann), ask("k2", bob))) == ["k1"]
    fill(world, "ten", ["AAAA-2"])
    assert given(world, ask("k2", bob))["k2"].code == "AAAA-2"


def test_a_code_is_good_for_months_by_the_calendar(world: World) -> None:
    declared = texts(JOURNEYS)
    path = "journeys/workspace.yaml"
    declared[path] = declared[path].replace("valid: 30 days", "valid: 1 year 3 months")
    world.apply(declared)
    world.now = datetime(2027, 11, 29, 23, 30, tzinfo=UTC)  # the 30th in Berlin
    fill(world, "ten", ["AAAA-1"])
    found = given(world, ask("k1", world.people()[0]))
    assert found["k1"].expires_on == date(2029, 2, 28)


def test_a_code_is_good_for_so_many_days_from_the_owners_own_day(world: World) -> None:
    """23:30 UTC on the first: the second in Berlin, where the house is, and still the first in Los Angeles."""
    zones = ("Europe/Berlin", "America/Los_Angeles", None, "No/Where")
    people = [world.people(timezone=zone)[0] for zone in zones]
    fill(world, "ten", [f"AAAA-{n}" for n in range(4)])
    fill(world, "welcome", ["WWWW-1"])
    world.now = datetime(2027, 3, 1, 23, 30, tzinfo=UTC)
    found = given(world, *(ask(f"k{i}", i) for i in people))
    assert [code.expires_on for code in found.values()] == [date(2027, 4, 1), date(2027, 3, 31)] + [
        date(2027, 4, 1)
    ] * 2
    assert given(world, ask("k", people[0], "welcome"))["k"].expires_on is None


def test_a_thousand_are_given_by_as_many_statements_as_ten(world: World) -> None:
    people = world.people(1010, consents=None)
    fill(world, "ten", [f"CODE-{n:05}" for n in range(1010)])
    counts = []
    for some in (people[:10], people[10:]):
        with Statements(world.store.engine) as seen:
            found = given(world, *(ask(f"k{i}", i) for i in some))
        assert len({code.code for code in found.values()}) == len(some)
        counts.append(seen.count)
    assert counts[0] == counts[1] <= 16


def test_two_who_give_at_once_never_give_the_same_code(world: World) -> None:
    people = world.people(40, consents=None)
    fill(world, "ten", [f"CODE-{n:05}" for n in range(30)])
    together = Barrier(4)

    def work(worker: int) -> dict[str, Code]:
        together.wait(10)
        return given(world, *(ask(f"k{i}", i) for i in people[worker::4]))

    with ThreadPoolExecutor(4) as pool:
        found = [code.code for some in pool.map(work, range(4)) for code in some.values()]
    assert len(found) == len(set(found)) == 30 - level(world).free
    # Who found codes in another's hand had none; asked again, they get what is left.
    given(world, *(ask(f"k{i}", i) for i in people))
    assert level(world) == Level(given=30)


# ---- the step -------------------------------------------------------------------------------------------------------


def test_a_journey_gives_a_code_once_and_goes_on_without_one_where_there_is_none(world: World) -> None:
    ann, bob, cid = world.people(3)
    fill(world, "ten", ["AAAA-1", "AAAA-2"])
    world.event([ann, bob, cid])
    world.move()
    world.move()
    with world.store.read() as conn:
        runs = dict(conn.execute(sa.select(t.enrollment.c.customer_id, t.enrollment.c.id)).tuples().all())
        latest = vouchers.latest(conn, runs.values())
    assert latest == {
        runs[ann]: ("AAAA-1", date(2027, 3, 31), "ten"),
        runs[bob]: ("AAAA-2", date(2027, 3, 31), "ten"),
    }
    diary = world.rows(
        sa.select(t.trace.c.enrollment_id, t.trace.c.what, t.trace.c.detail)
        .where(t.trace.c.what.in_(("voucher", "no_voucher")))
        .order_by(t.trace.c.id)
    )
    said = Counter((row.what, row.detail["pool"]) for row in diary)
    assert said == {("voucher", "ten"): 3, ("no_voucher", "ten"): 1}
    assert [row.enrollment_id for row in diary if row.what == "no_voucher"] == [runs[cid]]
    assert len(world.messages()) == 3, "the message behind the step is planned for everybody"


def test_the_tick_tells_of_a_pool_that_runs_short(world: World) -> None:
    fill(world, "ten", ["AAAA-1", "AAAA-2", "AAAA-3", "AAAA-4"])

    def problems() -> tuple[str, ...]:
        world.pass_time(minutes=1)
        report = tick(world.store, world.channels, world.keys, clock=lambda: world.now, budget_seconds=60, worker="w")
        return report.problems

    def arrive(count: int) -> None:
        world.event(world.people(count))

    fills = "; `orchestrator vouchers import ten FILE.csv` fills it"
    arrive(2)
    assert problems() == (), "two are left, and two are enough"
    arrive(1)
    assert problems() == ("voucher pool `ten` has 1 free code left" + fills,)
    arrive(3)
    assert problems() == ("voucher pool `ten` is empty: nobody is given a code" + fills,)


def test_an_account_s_journey_gives_to_the_account(world: World) -> None:
    acme = company(world)
    member: dict[str, Any] = {"class": "b2b", "account_id": acme, "tier": None}
    (ann,) = world.people(**member)
    fill(world, "ten", ["AAAA-1"])
    world.event([ann], "bought", order_id="1")
    world.move()
    with world.store.read() as conn:
        (code,) = vouchers.of_unit(conn, "account", acme)
    assert (code.code, code.customer_id) == ("AAAA-1", None)
    row = world.rows(sa.select(t.event).where(t.event.c.type == "voucher_given"))[0]
    assert (row.customer_id, row.account_id) == (None, acme)


# ---- redeeming ------------------------------------------------------------------------------------------------------


def test_a_code_is_redeemed_once_and_its_receipt_may_come_again(world: World) -> None:
    (ann,) = world.people()
    fill(world, "ten", ["AAAA-1", "AAAA-2"])
    given(world, ask("k1", ann))
    good = Answer("", "ten", date(2027, 3, 31))
    first = Redemption("AAAA-1", "till-1/77", world.now, 4250, "EUR")
    assert redeemed(world, first) == [good]
    world.pass_time(days=90)
    assert redeemed(world, first, ("AAAA-1", "till-2/1")) == [
        replace(good, again=True),
        Answer("redeemed", "ten", date(2027, 3, 31)),
    ]
    rows = world.rows(sa.select(t.event).where(t.event.c.type == "voucher_redeemed"))
    assert [(r.customer_id, r.occurred_at, r.properties) for r in rows] == [
        (ann, NOON, {"pool": "ten", "amount": 4250, "amount_currency": "EUR"})
    ]
    assert level(world) == Level(free=1, redeemed=1)


def test_why_a_code_is_refused(world: World) -> None:
    (ann,) = world.people()
    fill(world, "ten", ["GIVEN-1", "GIVEN-2", "FREE-1", "FREE-2"])
    given(world, ask("k1", ann), ask("k2", ann))
    with world.store.write() as conn:
        assert reward.void(conn, "GIVEN-2", world.now) == Answer("", "ten")
        assert reward.void(conn, "GIVEN-2", world.now) == Answer("", "ten"), "once more changes nothing"
        assert reward.void(conn, "FREE-2", world.now) == Answer("", "ten")
        assert reward.void(conn, "NOBODY", world.now) == Answer("unknown")
    late = Redemption("GIVEN-1", "r1", datetime(2027, 3, 31, 22, tzinfo=UTC))  # midnight in Berlin
    codes = ("NOBODY", "FREE-1", "FREE-2", "GIVEN-2")
    answers = redeemed(world, late, *((code, "r2") for code in codes))
    assert [a.reason for a in answers] == ["expired", "unknown", "not_given", "void", "void"]
    assert answers[0].text == "the code's last day was 2027-03-31"
    assert not any(code in answer.text for answer in answers for code in codes)
    in_time = replace_at(late, datetime(2027, 3, 31, 21, 59, tzinfo=UTC))
    world.now = datetime(2027, 4, 8, tzinfo=UTC)
    assert redeemed(world, in_time)[0].reason == "", "told late, shown in time"
    with world.store.write() as conn:
        assert reward.void(conn, "GIVEN-1", world.now) == Answer("redeemed", "ten")


def replace_at(row: Redemption, at: datetime) -> Redemption:
    return row._replace(at=at)


def test_a_code_twice_in_one_batch_is_redeemed_by_the_first(world: World) -> None:
    (ann,) = world.people()
    fill(world, "ten", ["AAAA-1", "AAAA-2"])
    given(world, ask("k1", ann), ask("k2", ann))
    told = redeemed(world, ("AAAA-1", "r1"), ("AAAA-1", "r1"), ("AAAA-1", "r2"), ("AAAA-2", "r1"))
    assert [(a.reason, a.again) for a in told] == [("", False), ("", True), ("redeemed", False), ("", False)]


def test_of_tills_that_redeem_one_code_at_the_same_moment_one_does(world: World) -> None:
    people = world.people(5, consents=None)
    fill(world, "ten", [f"CODE-{n}" for n in range(5)])
    codes = [code.code for code in given(world, *(ask(f"k{i}", i) for i in people)).values()]
    together = Barrier(4)

    def till(number: int) -> list[str]:
        told = []
        for code in codes:
            together.wait(10)
            told.append(redeemed(world, (code, f"till-{number}"))[0].reason)
        return told

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(till, range(4)))
    for said in zip(*answers, strict=True):
        assert Counter(said) == {"": 1, "redeemed": 3}
    assert level(world) == Level(redeemed=5)
    kind = sa.select(sa.func.count()).select_from(t.event).where(t.event.c.type == "voucher_redeemed")
    assert world.one(kind) == 5


# ---- secrets --------------------------------------------------------------------------------------------------------


def test_no_code_is_in_an_event_a_diary_or_a_repr(world: World) -> None:
    (ann,) = world.people()
    fill(world, "ten", ["SECRET-7K3"])
    world.event([ann])
    world.tick()
    redeemed(world, ("SECRET-7K3", "r1"))
    with world.store.read() as conn:
        (code,) = vouchers.of_unit(conn, "customer", ann)
        for table in t.metadata.sorted_tables:
            for row in conn.execute(sa.select(table)).mappings():
                if table.name != "voucher":
                    assert "SECRET" not in json.dumps(dict(row), default=str), table.name
    assert code.masked == "…7K3"
    assert "SECRET" not in repr(code) and "r1" not in repr(code)
    assert vouchers.mask("ABC") == "…"


def test_levels_tell_every_code_once(world: World) -> None:
    people = world.people(4, consents=None)
    fill(world, "ten", [f"CODE-{n}" for n in range(6)])
    given(world, *(ask(f"k{i}", i) for i in people))
    redeemed(world, ("CODE-0", "r"))
    with world.store.write() as conn:
        reward.void(conn, "CODE-1", world.now)
        reward.void(conn, "CODE-5", world.now)
    assert level(world) == Level(free=1, given=2, redeemed=1, void=2)
    world.now += timedelta(days=31)
    assert level(world) == Level(free=1, expired=2, redeemed=1, void=2)
    assert level(world).codes == 6
    with world.store.read() as conn:
        assert vouchers.free(conn, ["ten", "welcome"]) == {"ten": 1, "welcome": 0}
