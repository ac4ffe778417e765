"""The API of tills and shops: codes redeemed once, rewards listed and claimed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from orchestrator import reward
from orchestrator.store import tables as t
from tests.loyal import fill, points_to, project_of, shop
from tests.outgoing import World
from tests.web.test_api import Calling


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with shop(request, tmp_path) as made:
        yield made


def listed(call: Calling, customer: str) -> httpx.Response:
    return call.asked.get("/v1/rewards", params={"customer": customer}, headers={"Authorization": f"Bearer {call.key}"})


def give(world: World, unit_id: int, *keys: str) -> None:
    project = project_of(world)
    asked = [reward.Asked(key, "ten", "customer", unit_id) for key in keys]
    with world.store.write() as conn:
        reward.give(conn, project, asked, world.now)


def test_a_till_redeems_codes_and_is_told_the_same_again(world: World) -> None:
    (ann,) = world.people()
    fill(world, "ten", ["CODE-1", "CODE-2", "CODE-3"])
    give(world, ann, "a", "b")
    till = Calling(world, "vouchers")
    first = till("vouchers/redeem", {"code": "CODE-1", "receipt": "r-1", "amount": 42.5})
    told = {"rows": 1, "redeemed": 1, "refused": [], "warnings": []}
    assert (first.status_code, first.json()) == (200, told)
    assert till("vouchers/redeem", {"code": "CODE-1", "receipt": "r-1", "amount": 42.5}).json() == told
    rows = [
        {"code": "CODE-1", "receipt": "r-2"},
        {"code": " CODE-2 ", "receipt": "r-2", "at": "2027-03-01T09:30:00+01:00", "amount": "5 USD"},
        {"code": "CODE-3", "receipt": "r-2"},
        {"code": "CODE-9", "receipt": "r-2"},
        {"code": "CODE 9", "receipt": ""},
        {"code": "CODE-2", "receipt": "r-2", "at": "2028-01-01"},
    ]
    several = till("vouchers/redeem", rows)
    assert several.json() == {
        "rows": 6,
        "redeemed": 1,
        "refused": [
            {"row": 1, "problem": "the code was redeemed already, on another receipt", "reason": "redeemed"},
            {"row": 3, "problem": "the code was not given to anybody yet", "reason": "not_given"},
            {"row": 4, "problem": "no such code", "reason": "unknown"},
            {
                "row": 5,
                "problem": "receipt is missing; code is no voucher code: 4 to 100 visible characters of ASCII, "
                "without a space",
            },
            {"row": 6, "problem": "at is in the future"},
        ],
        "warnings": [],
    }
    assert till("vouchers/redeem", rows[3]).status_code == 422
    said = world.rows(sa.select(t.event.c.properties).where(t.event.c.type == "voucher_redeemed"))
    assert [row.properties.get("amount_currency") for row in said] == ["EUR", "USD"]


def test_a_shop_lists_and_claims_rewards(world: World) -> None:
    (ann,) = world.people()
    points_to(world, [ann], 850)
    fill(world, "ten", ["CODE-1"])
    call = Calling(world, "rewards")
    seen = listed(call, "c1").json()
    assert (seen["customer"], seen["points"]) == ("c1", 850)
    assert [(r["reward"], r["available"], r["reason"], r["left"]) for r in seen["rewards"]] == [
        ("vip-night", False, "tier", 2),
        ("once", True, "", None),
        ("tree", True, "", None),
        ("mug", True, "", 3),
        ("ten-off", True, "", None),
    ]
    ask = {"customer": "c1", "reward": "ten-off", "key": "order-1"}
    made = call("rewards/claim", ask, Idempotency_Key="x")
    assert made.status_code == 200
    assert made.json() | {"claim": 0} == {
        "claim": 0, "reward": "ten-off", "cost": 500, "state": "fulfilled",
        "voucher": {"code": "CODE-1", "expires": "2027-03-31"},
    }  # fmt: skip
    assert call("rewards/claim", ask, Idempotency_Key="x").json() == made.json()
    assert call("rewards/claim", ask).json() == made.json()
    assert call("rewards/claim", {**ask, "reward": "mug", "key": "order-2"}).json()["state"] == "claimed"
    refused = call("rewards/claim", {**ask, "reward": "mug", "key": "order-3"})
    assert refused.status_code == 409 and refused.headers["content-type"] == "application/problem+json"
    assert (refused.json()["reason"], refused.json()["detail"]) == (
        "points",
        "not claimed: there are not enough points",
    )
    assert listed(call, "c1").json()["points"] == 50


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"customer": "nobody", "reward": "mug", "key": "k"}, 404),
        ({"customer": "c1", "reward": "mug"}, 422),
        ({"customer": "c1", "reward": "mug", "key": ""}, 422),
        ({"customer": "c1", "reward": ["mug"], "key": "k"}, 422),
        ([], 422),
        ({"customer": "c1", "reward": "moon", "key": "k"}, 409),
    ],
)
def test_what_cannot_be_claimed_is_a_problem(tmp_path: Path, body: object, status: int) -> None:
    class Sqlite:
        param = "sqlite"

    with shop(Sqlite(), tmp_path) as world:  # type: ignore[arg-type]
        world.people()
        assert Calling(world)("rewards/claim", body).status_code == status
        assert [listed(Calling(world), key).status_code for key in ("", "nobody", "x" * 201)] == [422, 404, 422]


def test_keys_may_what_they_may(world: World) -> None:
    world.people()
    other = Calling(world, "events")
    assert other("vouchers/redeem", {"code": "CODE-1", "receipt": "r"}).status_code == 403
    assert other("rewards/claim", {}).status_code == 403
    assert listed(other, "c1").status_code == 403
    assert other.asked.get("/v1/rewards?customer=c1").status_code == 401


def test_no_code_is_logged_or_kept_but_for_who_asked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (ann,) = world.people()
    fill(world, "ten", ["SECRET-7K3"])
    give(world, ann, "a")
    caplog.set_level("DEBUG")
    till = Calling(world, "vouchers")
    for receipt in ("r-1", "r-2"):
        answer = till("vouchers/redeem", {"code": "SECRET-7K3", "receipt": receipt}, Idempotency_Key=receipt)
        assert "SECRET" not in answer.text
    assert "SECRET" not in caplog.text
    assert not any("SECRET" in json.dumps(dict(r._mapping), default=str) for r in world.rows(sa.select(t.api_answer)))
