"""`vouchers` and `rewards` on the command line."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, At, World, small_files
from tests.loyal import PROGRAM


@pytest.fixture
def shop(tmp_path: Path, clock: At) -> World:
    world = World(small_files(tmp_path / "small"), clock)
    text = SMALL["journeys/workspace.yaml"].replace("customer: { birthday: date }", "customer: { town: text }")
    text = text.replace("order_placed: { amount: money }", "bought: { amount: money }")
    text = text.replace("classes:\n", "classes:\n  b2b: { tiers: [std, big], unit: account }\n")
    text = text.replace("\npolicies:", f"{PROGRAM}policies:")
    (world.folder / "journeys/workspace.yaml").write_text(text, encoding="utf-8")
    for name in ("hello", "golden"):
        (world.folder / f"journeys/{name}.yaml").unlink()
    clock.now = clock.now.replace(year=2027, month=3, day=1)
    assert world("apply", "--yes", "-m", "first").code == 0
    rows = [{"key": k, "class": "b2c", "tier": "gold", "first_name": k.title(), "street": "Weg 1", "city": "Bonn",
             "postcode": "53111", "country": "DE"} for k in ("ana", "ben")]  # fmt: skip
    assert world("import", "customers", str(world.write("people.csv", rows))).code == 0
    return world


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_pool_is_filled_and_what_is_no_code_is_put_aside_to_be_mended(shop: World) -> None:
    codes = ["AAAA-1", "AAAA-2", "AAAA-1", "x", "1.2E+10", "", "a b c d", "AAAA-3"]
    file = shop.write("codes.csv", [{"code": code} for code in codes])
    said = shop("vouchers", "import", "ten", str(file))
    assert said.code == 1 and "3 inserted" in said.out and "5 rows put aside" in said.out
    aside = next(shop.folder.glob("codes.quarantine-*"))
    assert f"orchestrator vouchers import ten {aside}" in said.out.replace("\n", "")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert [(row["_line"], row["code"], row["_problem"]) for row in rows_of(aside)] == [
        ("4", "AAAA-1", "this code is in the pool already"),
        ("5", "x", "code is no voucher code: 4 to 100 visible characters of ASCII, without a space"),
        ("6", "1.2E+10", "code was made a number by a spreadsheet; export the column as text"),
        ("7", "", "code is missing"),
        ("8", "a b c d", "code is no voucher code: 4 to 100 visible characters of ASCII, without a space"),
    ]
    assert "imported before" in shop("vouchers", "import", "ten", str(file)).out
    mended = shop.write("mended.csv", [{"code": "AAAA-4"}, {"code": "AAAA-3"}])
    other = shop("vouchers", "import", "welcome", str(mended))
    assert other.code == 1 and "in the pool `ten` already" in other.out
    listed = shop("--json", "vouchers", "list").data
    assert [(p["pool"], p["free"]) for p in listed["pools"]] == [("ten", 3), ("welcome", 1)]
    wrong = shop("vouchers", "import", "tenn", str(file))
    assert wrong.code == 3 and "did you mean `ten`" in wrong.err


def test_pools_that_run_short_are_told_by_list_and_doctor(shop: World) -> None:
    said = shop("vouchers", "list")
    assert said.code == 1 and "`ten` is empty" in said.out and "`welcome` is empty" in said.out
    assert "vouchers" in shop("doctor").out
    finding = next(f for f in shop("--json", "doctor").data["findings"] if f["what"] == "vouchers")
    assert finding["state"] == "look" and "`ten` is empty" in finding["text"]
    for pool, codes in (("ten", 2), ("welcome", 1)):
        file = shop.write(f"{pool}.csv", [{"code": f"{pool}-{n}"} for n in range(codes)])
        assert shop("vouchers", "import", pool, str(file)).code == 0
    said = shop("vouchers", "list")
    assert said.code == 0 and "30 days" in said.out and "for ever" in said.out
    finding = next(f for f in shop("--json", "doctor").data["findings"] if f["what"] == "vouchers")
    assert finding["state"] == "ok"


def test_claimed_redeemed_handed_over_and_cancelled(shop: World) -> None:
    from orchestrator import earn, wiring
    from orchestrator.apply import in_force

    file = shop.write("ten.csv", [{"code": f"TEN-{n}"} for n in range(4)])
    assert shop("vouchers", "import", "ten", str(file)).code == 0
    with wiring.connected(shop.folder) as wired, wired.store.write() as conn:
        force = in_force(conn)
        assert force is not None
        earn.award(conn, force.project, [earn.Award("t", "customer", 1, 2000)], wired.clock())
    code = shop.json("rewards", "claim", "ana", "ten-off", "--key", "o1")["voucher"]["code"]
    assert code == "TEN-0"
    assert shop("vouchers", "redeem", code, "--receipt", "r1", "--amount", "12.50 EUR").code == 0
    assert shop("vouchers", "redeem", code, "--receipt", "r1").code == 0
    again = shop("vouchers", "redeem", code, "--receipt", "r2")
    assert again.code == 1 and "on another receipt" in again.out
    assert shop("vouchers", "redeem", code).code == 2
    assert shop("vouchers", "redeem", code, "--receipt", "r", "--file", "x.csv").code == 2
    assert shop("vouchers", "void", code).code == 1
    assert shop("vouchers", "void", "TEN-3").code == 0
    second = shop.json("rewards", "claim", "ana", "ten-off", "--key", "o2")["voucher"]["code"]
    till = shop.write("till.csv", [
        {"code": second, "receipt": "r5", "at": "2027-03-01T10:00", "amount": "9.90"},
        {"code": "TEN-3", "receipt": "r5"}, {"code": "TEN-2", "receipt": "r6"},
    ])  # fmt: skip
    told = shop("vouchers", "redeem", "--file", str(till))
    assert told.code == 1 and "1 inserted" in told.out
    aside = next(shop.folder.glob("till.quarantine-*"))
    assert [row["_problem"] for row in rows_of(aside)] == [
        "the code was voided",
        "the code was not given to anybody yet",
    ]
    mug = shop.json("rewards", "claim", "ana", "mug", "--key", "o3")["claim"]
    tree = shop.json("rewards", "claim", "ana", "tree", "--key", "o4")["claim"]
    narrow = shop("rewards", width=80).out
    assert "…" not in narrow and "1 open" in narrow and "2 fulfilled" in narrow
    refused = shop("rewards", "claim", "ben", "mug", "--key", "o5")
    assert refused.code == 1 and "not enough points" in refused.out
    assert shop("rewards", "claim", "nobody", "mug", "--key", "o6").code == 2
    out = shop.folder / "warehouse"
    files = shop.json("rewards", "fulfil", str(out))["files"]
    assert sorted(files.values()) == [1, 1] and len(list(out.glob("*.csv"))) == 2
    assert "no claim is open" in shop("rewards", "fulfil", str(out)).out
    back = shop.write("back.csv", [{"claim": mug, "outcome": "fulfilled"}, {"claim": tree, "outcome": "failed"}])
    assert shop("import", "claims", str(back)).code == 0
    gone = shop("rewards", "cancel", str(mug))
    assert gone.code == 1 and "fulfilled already" in gone.out
    assert shop("rewards", "cancel", str(tree)).code == 0
    listed = {one["reward"]: one for one in shop.json("rewards")["rewards"]}
    assert [listed["mug"][name] for name in ("left", "fulfilled", "costs")] == [2, 1, 300]
    assert [listed["tree"][name] for name in ("left", "cancelled")] == [None, 1]
    assert listed["ten-off"]["left"] == 1
    assert listed["vip-night"]["tiers"] == ["gold"]
    shown = shop("rewards", width=140).out
    assert "vip-night" in shown and "event ticket" in shown and "any" in shown
