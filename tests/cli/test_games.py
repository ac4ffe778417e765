"""`challenges`, `draws`, `leaderboard`, `referrals` and `commissions` on the command line."""

from __future__ import annotations

import csv
import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.apply import in_force
from orchestrator.store import Store, insert_ids, players, referrals
from orchestrator.store import tables as t
from tests.cli.conftest import SMALL, At, World, small_files

PROGRAM = """
events:
  signed_up: { referral_code: key }
  bought: { order_id: key, amount: money }
  reviewed: { stars: number }
program:
  b2c:
    challenges:
      first-review: { when: count(reviewed) >= 1, points: 100, badge: critic }
      regular: { when: "count(bought, 30 days) >= 2", points: 5, again: 30 days, hidden: yes }
    leaderboard: yes
    referral: { converts_on: bought, reward: { referrer: 50 } }
    draws: { spring: { entry: per challenge, closes: 2027-03-10, winners: 2 } }
  partner:
    commission: 10% of bought.amount
"""


@pytest.fixture
def club(tmp_path: Path, clock: At) -> World:
    world = World(small_files(tmp_path / "small"), clock)
    text = SMALL["journeys/workspace.yaml"]
    before, _, rest = text.partition("events:\n")
    after = rest[rest.index("classes:\n") :].replace(
        "classes:\n", "classes:\n  partner: { tiers: [silver, gold], unit: account }\n"
    )
    head, _, policies = after.partition("\npolicies:")
    (world.folder / "journeys/workspace.yaml").write_text(
        f"{before}{head.rstrip()}\n{PROGRAM}policies:{policies}", encoding="utf-8"
    )
    for name in ("hello", "golden"):
        (world.folder / f"journeys/{name}.yaml").unlink()
    (world.folder / "journeys/segments.yaml").unlink(missing_ok=True)
    clock.now = clock.now.replace(year=2027, month=3, day=1)
    said = world("apply", "--yes", "-m", "first")
    assert said.code == 0, said.out + said.err
    rows = [{"key": k, "class": "b2c", "first_name": k.title()} for k in ("ana", "ben", "cem")]
    assert world("import", "customers", str(world.write("people.csv", rows))).code == 0
    return world


def look(world: World) -> None:
    store = Store.open(f"sqlite:///{next(world.folder.glob('**/*.db'))}")
    try:
        accrue(store, now=world.at.now)
    finally:
        store.close()


def tell(world: World, *rows: tuple[str, str, dict[str, str]]) -> None:
    number = len(list(world.folder.glob("e*.csv")))
    at = world.at.now.isoformat()
    names = sorted({name for _, _, more in rows for name in more})
    told = [
        {"type": kind, "event_id": f"{number}-{n}", "customer": who, "occurred_at": at}
        | {name: more.get(name, "") for name in names}
        for n, (kind, who, more) in enumerate(rows)
    ]
    said = world("import", "events", str(world.write(f"e{number}.csv", told)))
    assert said.code == 0, said.out
    look(world)


def test_a_draw_from_its_commitment_to_its_proof(club: World) -> None:
    assert [one["state"] for one in club("--json", "draws").data["draws"]] == ["to come"]
    look(club)
    club.at.now += timedelta(hours=1)
    tell(club, *(("reviewed", who, {"stars": "5"}) for who in ("ana", "ben", "cem")))
    [one] = club("--json", "draws").data["draws"]
    assert (one["state"], one["tickets"], one["prizes"]) == ("open", 3, 2)
    early = club("--json", "draws", "show", "b2c/spring").data
    assert early["seed"] is None and early["commitment"] == one["commitment"]
    assert club("draws", "verify", "b2c/spring").code == 3
    wrong = club("draws", "show", "b2c/sprung")
    assert wrong.code == 2 and "did you mean `b2c/spring`" in wrong.err
    club.at.now += timedelta(days=20)
    look(club)
    listed = club.folder / "entries.csv"
    late = club("--json", "draws", "show", "b2c/spring", "--entries", str(listed), "--alternates", "5", "--keys").data
    assert hashlib.sha256(bytes.fromhex(late["seed"])).hexdigest() == early["commitment"]
    assert hashlib.sha256(listed.read_bytes()).hexdigest() == late["entries"]
    assert {w["key"] for w in late["winners"] + late["alternates"]} == {"ana", "ben", "cem"}
    assert len(late["winners"]) == 2 and len(late["alternates"]) == 1
    assert "fits" not in club("draws", "verify", "b2c/spring").out
    assert club("draws", "verify", "b2c/spring", "--entries", str(listed), "--seed", late["seed"]).code == 0
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([*lines[:2], lines[2][:-1] + "0"]) + "\n")
    bad = club("draws", "verify", "b2c/spring", "--entries", str(listed))
    assert bad.code == 1 and "not the one that was drawn from" in bad.out
    assert "ana" not in club("draws", "show", "b2c/spring").out


def test_challenges_and_who_has_done_them(club: World) -> None:
    look(club)
    club.at.now += timedelta(hours=1)
    tell(club, ("reviewed", "ana", {"stars": "5"}))
    told = {one["challenge"]: one for one in club("--json", "challenges").data["challenges"]}
    assert (told["first-review"]["done"], told["regular"]["done"]) == (1, 0)
    said = club("challenges").out
    assert "again after 30 days, hidden" in said.replace("\n", "") and "count(reviewed) >= 1" in said


def test_a_leaderboard_shows_who_joined(club: World) -> None:
    look(club)
    club.at.now += timedelta(hours=1)
    tell(club, ("reviewed", "ana", {"stars": "5"}), ("reviewed", "ben", {"stars": "1"}))
    assert "Nobody has joined" in club("leaderboard", "b2c").out
    store = Store.open(f"sqlite:///{next(club.folder.glob('**/*.db'))}")
    with store.write() as conn:
        ana = conn.execute(sa.select(t.customer.c.id).where(t.customer.c.key == "ana")).scalar_one()
        players.join(conn, "customer", ana, "Otter", club.at.now)
    store.close()
    assert club("--json", "leaderboard", "b2c", "--period", "2027-Q1").data["places"] == [
        {"rank": 1, "name": "Otter", "points": 100}
    ]
    assert club("--json", "leaderboard", "b2c", "--period", "2026").data["places"][0]["points"] == 0
    assert club("leaderboard", "b2c", "--period", "soon").code == 2
    assert club("leaderboard", "partner").code == 3
    assert club("leaderboard", "b2d").code == 2


def test_referrals_come_in_by_a_file_and_what_does_not_count_is_put_aside(club: World) -> None:
    look(club)
    store = Store.open(f"sqlite:///{next(club.folder.glob('**/*.db'))}")
    with store.write() as conn:
        force = in_force(conn)
        assert force is not None
        ana = conn.execute(sa.select(t.customer.c.id).where(t.customer.c.key == "ana")).scalar_one()
        code = referrals.codes(conn, force.project, [("customer", ana, None)], club.at.now)["customer", ana, None]
    store.close()
    assert "Nobody has been referred" in club("referrals").out
    rows = [{"code": code.lower(), "customer": who} for who in ("ben", "ana")] + [{"code": "XXXX", "customer": "cem"}]
    said = club("import", "referrals", str(club.write("brought.csv", rows)))
    assert said.code == 1 and "1 inserted" in said.out
    aside = next(club.folder.glob("brought.quarantine-*"))
    with aside.open(newline="") as file:
        problems = [row["_problem"] for row in csv.DictReader(file)]
    assert problems == ["self: nobody refers herself, or her own company", "unknown_code: there is no such code"]
    club.at.now += timedelta(hours=1)
    tell(club, ("bought", "ben", {"order_id": "o1", "amount": "10.00 EUR"}))
    told = club("--json", "referrals").data
    assert {(one["state"], one["reason"], one["referrals"]) for one in told["counts"]} == {
        ("converted", None, 1),
        ("refused", "self", 1),
    }
    assert told["referrals"][-1]["referred"] == "ben"
    assert "1 converted" in club("referrals").out


def test_commissions_of_a_quarter(club: World) -> None:
    store = Store.open(f"sqlite:///{next(club.folder.glob('**/*.db'))}")
    now = club.at.now
    with store.write() as conn:
        firm = {"key": "agency", "class": "partner", "name": "The Agency", "created_at": now, "updated_at": now}
        [(agency,)] = insert_ids(conn, t.account, [firm])
        conn.execute(sa.update(t.customer).where(t.customer.c.key == "ana").values(partner_id=agency))
    store.close()
    look(club)
    club.at.now += timedelta(hours=1)
    tell(club, *(("bought", "ana", {"order_id": f"o{n}", "amount": f"{n}0.00 EUR"}) for n in (1, 2)))
    out = club.folder / "q1.csv"
    told = club("--json", "commissions", "--period", "2027-Q1", "--out", str(out)).data
    [one] = told["partners"]
    assert (one["partner"], one["sales"], one["earned"], one["total"]) == ("agency", 2, 300, 300)
    with out.open(newline="") as file:
        rows = [(row["what"], row["amount"], row["currency"]) for row in csv.DictReader(file)]
    assert rows == [("commission", "1.00", "EUR"), ("commission", "2.00", "EUR"), ("total", "3.00", "EUR")]
    assert "3.00" in club("commissions", "--period", "2027").out
    assert "No partner earned" in club("commissions", "--period", "2026", "--partner", "agency").out
    assert club("commissions", "--period", "2027-Q5").code == 2
