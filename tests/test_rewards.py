"""Rewards on both databases: spent points, counted stock, codes, files for who fulfils them, and what comes back."""

from __future__ import annotations

import csv
import stat
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import reward
from orchestrator.erase import Places, erase
from orchestrator.fulfil import FulfilReport, NotHandedOver, fulfil
from orchestrator.importing import import_rows
from orchestrator.reward import Claimed
from orchestrator.store import claims, loyalty, vouchers
from orchestrator.store import tables as t
from orchestrator.store.claims import Tally
from orchestrator.store.vouchers import Level
from tests.loyal import claimed, company, fill, points_to, project_of, shop
from tests.outgoing import World


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with shop(request, tmp_path) as made:
        yield made


def balance(world: World, unit_id: int, unit: str = "customer") -> int:
    e = t.point_entry.c
    return int(
        world.one(sa.select(sa.func.coalesce(sa.func.sum(e.points), 0)).where(e.unit == unit, e.unit_id == unit_id))
    )


def tally(world: World, name: str) -> Tally:
    with world.store.read() as conn:
        return claims.tallies(conn).get(name, Tally())


def cancelled(world: World, claim_id: int) -> str:
    project = project_of(world)
    return world.store.written(lambda conn: reward.cancel(conn, project, claim_id, world.now))


def handed_over(world: World, folder: Path) -> FulfilReport:
    return fulfil(world.store, project_of(world), folder, now=world.now)


def events(world: World, kind: str) -> list[Any]:
    e = t.event.c
    return world.rows(sa.select(e.customer_id, e.account_id, e.properties).where(e.type == kind).order_by(e.id))


# ---- claiming -------------------------------------------------------------------------------------------------------


def test_a_claim_spends_points_and_is_made_once(world: World) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 700)
    made = claimed(world, "mug", ann, "order-1")
    assert isinstance(made, Claimed) and made.new and made.voucher is None
    again = claimed(world, "mug", ann, "order-1")
    assert (again.claim, again.new) == (made.claim, False)
    assert claimed(world, "tree", ann, "order-1") == "key"
    assert (balance(world, ann), tally(world, "mug")) == (400, Tally(claimed=1))
    number = str(made.claim.id)
    assert [tuple(row) for row in events(world, "reward_claimed")] == [
        (ann, None, {"claim": number, "reward": "mug", "cost": 300})
    ]
    assert isinstance(claimed(world, "mug", ann, "order-2"), Claimed)
    assert claimed(world, "mug", ann, "order-3") == "points"
    assert (balance(world, ann), tally(world, "mug").live) == (100, 2)


def test_why_a_reward_is_not_claimed(world: World) -> None:
    ann, gold, bonn = (world.people(**more)[0] for more in ({}, {"tier": "gold"}, {"attributes": {"town": "Bonn"}}))
    points_to(world, [ann, gold, bonn], 600)
    assert claimed(world, "moon", ann, "a") == "unknown"
    assert claimed(world, "workshop", ann, "a") == "unknown", "of another class"
    assert claimed(world, "mug", 999_999, "a") == "unknown"
    assert claimed(world, "vip-night", ann, "a") == "tier"
    assert claimed(world, "locals", ann, "a") == "only_if"
    assert isinstance(claimed(world, "locals", bonn, "b"), Claimed)
    assert isinstance(claimed(world, "once", ann, "c"), Claimed)
    assert claimed(world, "once", ann, "d") == "each"
    assert claimed(world, "ten-off", gold, "e") == "no_voucher"
    assert isinstance(claimed(world, "vip-night", gold, "f"), Claimed), "costs nothing"
    assert isinstance(claimed(world, "vip-night", gold, "g"), Claimed)
    assert claimed(world, "vip-night", gold, "h") == "sold_out"
    assert (balance(world, ann), balance(world, gold), balance(world, bonn)) == (590, 600, 590)
    assert set(reward.NOT_CLAIMED) >= {"unknown", "tier", "only_if", "each", "no_voucher", "sold_out", "points", "key"}


def test_an_account_s_points_are_its_contacts_to_spend_once_it_is_a_member(world: World) -> None:
    acme = company(world)
    member: dict[str, Any] = {"class": "b2b", "account_id": acme, "tier": None}
    ann, bob = world.people(2, **member)
    points_to(world, [acme], 1500, "account")
    project = project_of(world)
    with world.store.read() as conn:
        assert reward.whose(conn, project, ann) == ("account", acme)
    assert claimed(world, "workshop", acme, "w", "account", ann) == "not_member"
    with world.store.write() as conn:
        loyalty.write(conn, "account", {acme: {"member": "active"}}, world.now)
    made = claimed(world, "workshop", acme, "w", "account", ann)
    assert (made.claim.unit, made.claim.unit_id, made.claim.customer_id) == ("account", acme, ann)
    assert claimed(world, "workshop", acme, "w2", "account", bob) == "sold_out"
    assert balance(world, acme, "account") == 500
    assert [(r.customer_id, r.account_id) for r in events(world, "reward_claimed")] == [(ann, acme)]


def test_a_reward_with_a_pool_is_answered_with_a_code(world: World) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 1200)
    fill(world, "ten", ["CODE-1"])
    made = claimed(world, "ten-off", ann, "a")
    assert (made.voucher.code, made.claim.state) == ("CODE-1", "fulfilled")
    assert claimed(world, "ten-off", ann, "a").voucher.code == "CODE-1"
    assert claimed(world, "ten-off", ann, "b") == "no_voucher"
    assert balance(world, ann) == 700, "nothing is spent where nothing is given"
    assert "CODE-1" not in repr(made)


def test_a_stock_is_never_oversold_by_many_at_once(world: World) -> None:
    people = world.people(8, consents=None)
    points_to(world, people, 300)
    fill(world, "ten", [f"CODE-{n}" for n in range(5)])
    together = Barrier(4)

    def shop(worker: int) -> list[str]:
        together.wait(10)
        told = []
        for i in people[worker::4]:
            made = claimed(world, "mug", i, f"mug-{i}")
            told.append(made if isinstance(made, str) else "made")
        return told

    with ThreadPoolExecutor(4) as pool:
        said = Counter(word for some in pool.map(shop, range(4)) for word in some)
    assert said == {"made": 3, "sold_out": 5}
    assert tally(world, "mug") == Tally(claimed=3)
    assert sum(balance(world, i) for i in people) == 8 * 300 - 3 * 300


def test_one_s_points_are_not_spent_twice_by_two_at_once(world: World) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 120)
    together = Barrier(4)

    def shop(worker: int) -> bool:
        together.wait(10)
        return isinstance(claimed(world, "tree", ann, f"tree-{worker}"), Claimed)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(shop, range(4))) == [False, False, True, True]
    assert balance(world, ann) == 20


# ---- taking back ----------------------------------------------------------------------------------------------------


def test_a_cancelled_claim_gives_points_stock_and_nothing_else_back(world: World) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 1400)
    fill(world, "ten", ["CODE-1", "CODE-2"])
    mug, code = claimed(world, "mug", ann, "m").claim.id, claimed(world, "ten-off", ann, "t").claim.id
    for _ in range(2):
        assert (cancelled(world, mug), cancelled(world, code)) == ("", "")
    assert balance(world, ann) == 1400
    assert tally(world, "mug") == Tally(cancelled=1)
    with world.store.read() as conn:
        assert vouchers.levels(conn, world.now.date())["ten"] == Level(free=1, void=1), "it was seen: not given again"
    assert cancelled(world, 999_999) == "unknown"


def test_what_is_used_is_not_given_back(world: World) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 1000)
    fill(world, "ten", ["CODE-1"])
    made = claimed(world, "ten-off", ann, "t")
    vocabulary = project_of(world).vocabulary
    with world.store.write() as conn:
        reward.redeem(conn, vocabulary, [reward.Redemption("CODE-1", "r", world.now)], world.now)
    assert cancelled(world, made.claim.id) == "redeemed"
    assert balance(world, ann) == 500


# ---- the catalogue --------------------------------------------------------------------------------------------------


def test_offers_are_the_class_s_rewards_and_why_not(world: World) -> None:
    ann, gold = world.people()[0], world.people(tier="gold")[0]
    points_to(world, [ann], 320)
    claimed(world, "once", ann, "o")
    project = project_of(world)

    def seen(unit_id: int) -> dict[str, tuple[int | None, int, str]]:
        with world.store.read() as conn:
            return {
                o.reward.name: (o.left, o.taken, o.reason)
                for o in reward.offers(conn, project, "customer", unit_id, world.now)
            }

    assert seen(ann) == {
        "vip-night": (2, 0, "tier"),
        "once": (None, 1, "each"),
        "tree": (None, 0, ""),
        "mug": (3, 0, ""),
        "ten-off": (None, 0, "no_voucher"),
    }
    assert list(seen(ann)) == ["vip-night", "once", "tree", "mug", "ten-off"], "the cheapest first"
    fill(world, "ten", ["CODE-1"])
    assert seen(ann)["ten-off"] == (None, 0, "points")
    assert seen(gold)["vip-night"] == (2, 0, "")
    assert seen(999_999) == {}


# ---- fulfilment -----------------------------------------------------------------------------------------------------


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_claims_are_handed_over_once_each_by_kind_with_what_their_kind_needs(world: World, tmp_path: Path) -> None:
    ann, gold = world.people()[0], world.people(tier="gold", company="Lee & Sons")[0]
    points_to(world, [ann, gold], 1000)
    fill(world, "ten", ["CODE-1"])
    numbers = [claimed(world, *what).claim.id for what in (("mug", ann, "a"), ("mug", gold, "b"), ("tree", ann, "c"))]
    night = claimed(world, "vip-night", gold, "d").claim.id
    claimed(world, "ten-off", ann, "e")
    folder = tmp_path / "out"
    report = handed_over(world, folder)
    stamp = "20270301T110000"
    goods, trees, nights = (
        f"merchandise-{stamp}-{numbers[0]}.csv",
        f"donation-{stamp}-{numbers[2]}.csv",
        f"event_ticket-{stamp}-{night}.csv",
    )
    assert report == FulfilReport({goods: 2, trees: 1, nights: 1})
    assert sorted(p.name for p in folder.iterdir()) == sorted([goods, trees, nights])
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in report.files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert read(folder, goods)[1] == {
        "claim": str(numbers[1]), "reward": "mug", "claimed_at": "2027-03-01T11:00:00Z", "points": "300",
        "company": "Lee & Sons", "first_name": "Ann2", "last_name": "Lee", "street": "Lindenweg 1", "postcode": "10115",
        "city": "Berlin", "region": "", "country": "DE",
    }  # fmt: skip
    assert list(read(folder, trees)[0]) == ["claim", "reward", "claimed_at", "points"], "a donation needs no name"
    assert {"email", "phone"} < set(read(folder, nights)[0]) and "street" not in read(folder, nights)[0]
    assert tally(world, "mug") == Tally(handed_over=2)
    assert handed_over(world, folder) == FulfilReport({})


def test_what_the_warehouse_says_fulfils_or_gives_back(world: World, tmp_path: Path) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 700)
    sent, lost = (claimed(world, "mug", ann, key).claim.id for key in "ab")
    tree = claimed(world, "tree", ann, "c").claim.id
    handed_over(world, tmp_path)

    def told(*rows: tuple[object, str]) -> Any:
        said = [{"claim": claim, "outcome": outcome} for claim, outcome in rows]
        return import_rows(world.store, world.keys, project_of(world).vocabulary, "claims", said, now=world.now)

    report = told((sent, "fulfilled"), (lost, "failed"), (999_999, "fulfilled"), ("x", "lost"))
    assert (report.updated, report.quarantined) == (2, 2)
    assert [r.problem for r in report.refused] == [
        "there is no such claim",
        "outcome `lost` is not an outcome; one of: `failed`, `fulfilled`; claim is no number of a claim",
    ]
    assert tally(world, "mug") == Tally(fulfilled=1, cancelled=1)
    assert balance(world, ann) == 700 - 300 - 50
    assert [r.properties for r in events(world, "reward_fulfilled")] == [{"claim": str(sent), "reward": "mug"}]
    again = told((sent, "fulfilled"), (lost, "failed"), (sent, "failed"), (lost, "fulfilled"), (tree, "fulfilled"))
    assert (again.unchanged, again.updated) == (2, 1)
    assert [r.problem for r in again.refused] == [
        "it was fulfilled already",
        "the claim was cancelled, and its points were given back",
    ]
    assert balance(world, ann) == 350


def test_a_run_that_died_before_or_behind_its_commit_is_made_up_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 700)
    first = claimed(world, "mug", ann, "a").claim.id

    class Died(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Died

    with monkeypatch.context() as broken:
        broken.setattr(claims, "settle", dies)
        with pytest.raises(Died):
            handed_over(world, tmp_path)
    assert len(list(tmp_path.glob(".*.part"))) == 1 and tally(world, "mug") == Tally(claimed=1)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", dies)
        with pytest.raises(Died):
            handed_over(world, tmp_path)
    assert tally(world, "mug") == Tally(handed_over=1), "committed, and no file yet"
    second = claimed(world, "mug", ann, "b").claim.id
    world.pass_time(minutes=1)
    report = handed_over(world, tmp_path)
    assert (report.finished, report.handed_over) == ((f"merchandise-20270301T110000-{first}.csv",), 1)
    rows = [row["claim"] for path in tmp_path.glob("*.csv") for row in read(tmp_path, path.name)]
    assert sorted(rows) == sorted([str(first), str(second)])
    assert not list(tmp_path.glob(".*"))


def test_two_who_hand_over_at_once_and_a_folder_that_is_none(world: World, tmp_path: Path) -> None:
    from orchestrator.fulfil import _alone

    with _alone(tmp_path), pytest.raises(NotHandedOver, match="another process is writing"):
        handed_over(world, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotHandedOver, match="cannot be opened"):
        handed_over(world, tmp_path / "file")


def test_nothing_is_sent_to_who_was_erased_and_a_company_has_its_points_back(world: World, tmp_path: Path) -> None:
    acme = company(world)
    with world.store.write() as conn:
        loyalty.write(conn, "account", {acme: {"member": "active"}}, world.now)
    points_to(world, [acme], 1000, "account")
    member: dict[str, Any] = {"class": "b2b", "account_id": acme, "tier": None}
    ann = world.people(**member)[0]
    bob = world.people()[0]
    points_to(world, [bob], 300)
    claimed(world, "workshop", acme, "w", "account", ann)
    claimed(world, "mug", bob, "m")
    world.now += timedelta(days=1)
    for i in (ann, bob):
        key = world.one(sa.select(t.customer.c.key).where(t.customer.c.id == i))
        erase(world.store, world.keys, key, Places(tmp_path / "erased.list"), now=world.now, by="me")
    assert handed_over(world, tmp_path / "out") == FulfilReport({}, cancelled=2)
    assert (tally(world, "workshop"), tally(world, "mug")) == (Tally(cancelled=1), Tally(cancelled=1))
    assert balance(world, acme, "account") == 1000
    assert list((tmp_path / "out").iterdir()) == []
