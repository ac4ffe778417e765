"""The rewards page: what it shows to whom, by which link rewards are taken, and what others never get to see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from orchestrator.accrue import accrue
from orchestrator.erase import Places, erase
from orchestrator.importing import merge_customers
from orchestrator.store import tables as t
from tests.loyal import company, points_to
from tests.outgoing import World
from tests.web.rewards_world import PROGRAM, club, page, somebody, written_to
from tests.web.site import Asked


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with club(request, tmp_path) as made:
        yield made


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with club(request, tmp_path) as made:
        yield made


def form_of(html: str, reward: str) -> dict[str, str]:
    number = re.search(rf'name="reward" value="{reward}">\s*<input type="hidden" name="form" value="([\w-]+)"', html)
    assert number is not None, f"no form takes {reward}"
    return {"do": "take", "reward": reward, "form": number[1]}


def claims(world: World) -> list[Any]:
    return world.rows(sa.select(t.claim).order_by(t.claim.c.id))


def done(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].partition("?done=")[2].partition("#")[0]


def test_what_a_member_sees(either: World) -> None:
    ann, message = somebody(either, tier="silver")
    seen = Asked(either).get(page(either, message))
    assert seen.status_code == 200 and seen.headers["cache-control"] == "no-store"
    text = seen.text
    for words in (
        "Programme: Friends of Small", "Silver", "Way to Gold", "1,160 points more to Gold; you have 840 points.",
        "Free shipping", "With Gold you also get", "Personal shopper", "840", "<dd>50</dd>",
        "840 points expire at the end of September 1, 2028.", "Ten euros off", "89,160 points are missing.",
        "For Gold.", "3 left", "Regular", "You have 8 tickets.", "The silver guide", "Fifty recipes.",
        "Earned: Order", "+840", "to spend from March 15, 2027",
    ):  # fmt: skip
        assert words in text, words
    assert '<progress id="way" max="100" value="22"' in text
    for hidden in ("Mystery", "mystery", "Locals", "Golden", "lounge", "gold-77aa", "TEN-0", f"c{ann}@example.com"):
        assert hidden not in text, hidden
    [commitment] = either.rows(sa.select(t.draw.c.commitment, t.draw.c.seed).where(t.draw.c.name == "b2c/summer"))
    assert commitment.commitment in text and bytes(commitment.seed).hex() not in text


def test_in_german(world: World) -> None:
    _, message = somebody(world, tier="silver", locale="de-DE")
    text = Asked(world).get(page(world, message)).text
    for words in (
        "Ihre Prämien",
        "Freundeskreis Small",
        "Silber",
        "Noch 1.160 Punkte bis Gold",
        "Zehn Euro Rabatt",
        "840 Punkte verfallen am Ende des 1. September 2028.",
        "Verdient: Bestellung",
        "Das Silberheft",
    ):
        assert words in text, words


def test_a_reward_is_taken_once_for_each_form(either: World) -> None:
    ann, message = somebody(either)
    ask, path = Asked(either), page(either, message)
    shown = ask.get(path).text
    form = form_of(shown, "ten-off")
    assert not claims(either)
    assert [done(ask.post(path, data=form)) for _ in range(3)] == ["taken"] * 3
    [claim] = claims(either)
    assert (claim.reward, claim.unit_id, claim.customer_id, claim.cost) == ("ten-off", ann, ann, 500)
    after = ask.get(path + "?done=taken").text
    assert "It is yours." in after and "<code>TEN-0001</code>" in after and "Valid until March 31, 2027." in after
    assert "−500" in after and "Reward: Ten euros off" in after
    assert done(ask.post(path, data={**form, "reward": "mug"})) == "key"
    assert done(ask.post(path, data={**form, "form": "x" * 16})) == "points"
    assert len(claims(either)) == 1
    either.tick()
    [receipt] = [m for m in either.messages() if m.origin == "reward_receipt"]
    assert receipt.state in ("sent", "delivered"), receipt.reason
    mail = either.opened(either.outbox()[-1])
    assert "/w/" in mail and "TEN-0001" not in mail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "said"),
    [("vip-night", "tier"), ("yacht", "points"), ("locals", "only_if"), ("moon", "unknown"), ("workshop", "unknown")],
)
def test_what_is_not_offered_is_not_taken(world: World, reward: str, said: str) -> None:
    _, message = somebody(world)
    ask, path = Asked(world), page(world, message)
    assert done(ask.post(path, data={"do": "take", "reward": reward, "form": "a" * 18})) == said
    assert not claims(world)
    assert "Nothing was taken" in ask.get(f"{path}?done={said}").text


def test_by_an_older_link_nothing_is_taken_and_no_code_is_read(either: World) -> None:
    _, message = somebody(either)
    ask, path = Asked(either), page(either, message)
    form = form_of(ask.get(path).text, "ten-off")
    done(ask.post(path, data=form))
    either.pass_time(days=6, hours=23)
    assert "TEN-0001" in ask.get(path).text
    either.pass_time(hours=1)
    shown = ask.get(path).text
    assert "TEN-0001" not in shown and 'value="take"' not in shown and 'value="join"' not in shown
    assert "some days old" in shown and "c…@example.com" in shown and "340" in shown
    fine = {**form, "reward": "tree", "form": "n" * 16}
    assert done(ask.post(path, data=fine)) == "old"
    assert done(ask.post(path, data={"do": "join", "name": ""})) == "old"
    assert len(claims(either)) == 1
    assert done(ask.post(path, data={"do": "fresh"})) == "fresh"
    assert done(ask.post(path, data={"do": "fresh"})) == "fresh"
    either.tick()
    [fresh] = [m for m in either.messages() if m.origin == "rewards_link"]
    assert fresh.state in ("sent", "delivered")
    assert "TEN-0001" in ask.get(page(either, fresh.id)).text
    assert done(ask.post(page(either, fresh.id), data=fine)) == "taken"


def test_by_an_old_link_nothing_is_seen(world: World) -> None:
    _, message = somebody(world, tier="silver")
    ask, path = Asked(world), page(world, message)
    done(ask.post(path, data={"do": "join", "name": "Otter"}))
    world.pass_time(days=90)
    shown = ask.get(path).text
    assert "more than three months old" in shown
    for hidden in ("840", "Silver", "Otter", "Ten euros", "silver-9f2c", "Recommend us"):
        assert hidden not in shown, hidden
    for act in ("leave", "link", "join"):
        assert done(ask.post(path, data={"do": act})) == "old"
    assert world.one(sa.select(sa.func.count()).select_from(t.player)) == 1
    assert world.one(sa.select(sa.func.count()).select_from(t.referral_code)) == 0


def test_a_mailbox_that_is_hers_no_more_shows_nothing(world: World) -> None:
    ann, message = somebody(world)
    with world.store.write() as conn:
        conn.execute(sa.update(t.customer).where(t.customer.c.id == ann).values(email="new@example.com"))
    ask, path = Asked(world), page(world, message)
    assert "840" not in ask.get(path).text
    assert done(ask.post(path, data={"do": "take", "reward": "tree", "form": "a" * 16})) == "old"


def test_tokens_of_other_pages_open_nothing(world: World) -> None:
    _, message = somebody(world)
    ask = Asked(world)
    for letter in "upcsdo":
        assert ask.get(f"/w/{world.keys.link_token(message, letter)}").status_code == 404
    assert ask.get(page(world, message).replace("/w/", "/p/")).status_code == 404
    preferences = ask.get(f"/p/{world.keys.link_token(message, 'p')}").text
    assert page(world, message) in preferences and "Your points, tier and rewards" in preferences


@pytest.mark.parametrize(
    "form",
    [{}, {"do": "give"}, {"do": "take"}, {"do": "take", "reward": "mug"},
     {"do": "take", "reward": "mug", "form": "short"}, {"do": "take", "reward": "mug", "form": "a" * 15 + "ä"}],
)  # fmt: skip
def test_a_form_that_is_none_of_ours_does_nothing(world: World, form: dict[str, str]) -> None:
    _, message = somebody(world)
    ask, path = Asked(world), page(world, message)
    assert ask.post(path, data=form).status_code == 400
    assert not claims(world)
    assert "<script" not in ask.get(path + "?done=<script>alert(1)</script>").text


def test_referral_and_leaderboard(either: World) -> None:
    _, message = somebody(either, first_name="Annegret")
    ask, path = Asked(either), page(either, message)
    ask.get(path)
    assert either.one(sa.select(sa.func.count()).select_from(t.referral_code)) == 0  # a look changes nothing
    assert done(ask.post(path, data={"do": "link"})) == "link"
    code = either.one(sa.select(t.referral_code.c.code))
    assert f"https://small.example/?ref={code}" in ask.get(path).text
    assert done(ask.post(path, data={"do": "join", "name": "annegret"})) == "name"
    assert done(ask.post(path, data={"do": "join", "name": "Quiet Otter"})) == "joined"
    text = ask.get(path).text
    assert "You are on it as Quiet Otter." in text and "Quiet Otter (you)" in text
    bob, other = somebody(either, spent=100000)
    assert "Quiet Otter" not in ask.get(page(either, other)).text  # seen by those who stand on it
    assert done(ask.post(page(either, other), data={"do": "join", "name": ""})) == "joined"
    assert "Quiet Otter" in ask.get(page(either, other)).text
    assert done(ask.post(path, data={"do": "leave"})) == "left"
    assert either.one(sa.select(t.player.c.unit_id)) == bob


def contact(world: World, acme: int, **columns: Any) -> tuple[int, int]:
    [person] = world.people(1, **{"class": "b2b", "tier": None, "account_id": acme, **columns})
    return person, written_to(world, person)


@pytest.mark.slow
def test_a_contact_sees_her_companys_points_and_takes_rewards_only_in_her_role(world: World) -> None:
    acme = company(world, "Acme Ltd")
    points_to(world, [acme], 300, unit="account")
    buyer, message = contact(world, acme, role="head  of Office")
    _, other = contact(world, acme, role="intern")
    ask = Asked(world)
    path = page(world, message)
    text = ask.get(path).text
    assert "Points and tier are those of Acme Ltd" in text and "300" in text
    assert done(ask.post(path, data=form_of(text, "workshop"))) == "taken"
    [claim] = claims(world)
    assert (claim.unit, claim.unit_id, claim.customer_id) == ("account", acme, buyer)
    assert "TEN-0001" in ask.get(path).text
    shown = ask.get(page(world, other)).text
    assert "Acme Ltd" in shown and "200" in shown and "Workshop" in shown
    assert "TEN-0001" not in shown and 'value="take"' not in shown
    assert done(ask.post(page(world, other), data={"do": "take", "reward": "workshop", "form": "i" * 16})) == "role"
    assert len(claims(world)) == 1
    _, second = contact(world, acme, role="buyer")
    assert "TEN-0001" not in ask.get(page(world, second)).text  # the colleague's own
    _, alone = contact(world, None, role="buyer")  # type: ignore[arg-type]
    assert "There is no rewards programme for you" in ask.get(page(world, alone)).text


@pytest.mark.slow
def test_content_is_for_its_tiers_alone(world: World) -> None:
    ask = Asked(world)
    for tier, there, hidden in (
        ("bronze", (), ("silver-9f2c", "gold-77aa", "The silver guide")),
        ("silver", ("silver-9f2c",), ("gold-77aa", "lounge")),
        ("gold", ("silver-9f2c", "gold-77aa", "The golden lounge"), ()),
    ):
        _, message = somebody(world, spent=0, tier=tier)
        text = ask.get(page(world, message)).text
        assert all(one in text for one in there) and not any(one in text for one in hidden), tier


def test_who_is_no_member_any_more_sees_no_content(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    program = PROGRAM.replace("{ joins: free }", "{ joins: purchase, event: left, term: 1 month }")
    with club(request, tmp_path, program) as world:
        _, message = somebody(world, tier="gold")
        text = Asked(world).get(page(world, message)).text
        assert "You are not a member yet." in text and "gold-77aa" not in text and "For members." in text
        assert done(
            Asked(world).post(page(world, message), data={"do": "take", "reward": "mug", "form": "a" * 16})
        ) == ("not_member")


def test_no_programme(world: World) -> None:
    _, message = somebody(world)
    with world.store.write() as conn:
        conn.execute(sa.update(t.customer).values(**{"class": "b2b", "account_id": None}))
    ask, path = Asked(world), page(world, message)
    assert "There is no rewards programme for you" in ask.get(path).text
    assert "/w/" not in ask.get(f"/p/{world.keys.link_token(message, 'p')}").text
    assert done(ask.post(path, data={"do": "take", "reward": "mug", "form": "a" * 16})) == "unknown"


def test_a_draw_that_is_over_is_told_with_its_number(world: World) -> None:
    ann, _ = somebody(world)
    world.pass_time(days=184)
    accrue(world.store, now=world.now)
    text = Asked(world).get(page(world, written_to(world, ann))).text
    assert "and drawn. Prize: A mug. You have won: place 1. You had 8 tickets." in text
    seed = world.one(sa.select(t.draw.c.seed).where(t.draw.c.name == "b2c/summer"))
    assert bytes(seed).hex() in text


def test_the_merged_is_led_to_who_stays_and_the_erased_to_nobody(world: World, tmp_path: Path) -> None:
    ann, message = somebody(world)
    bob, other = somebody(world, spent=10000)
    ask = Asked(world)
    taken = form_of(ask.get(page(world, message)).text, "ten-off")
    done(ask.post(page(world, message), data=taken))
    with world.store.write() as conn:
        keys = dict(conn.execute(sa.select(t.customer.c.id, t.customer.c.key)).tuples().all())
    merge_customers(world.store, world.keys, keys[bob], keys[ann], now=world.now)
    accrue(world.store, now=world.now)
    mine, hers = ask.get(page(world, other)).text, ask.get(page(world, message)).text
    assert "<dd>540</dd>" in mine and "TEN-0001" in mine and "+840" in mine
    # The message went to an address that is not the one's who stays.
    assert "three months" in hers and "TEN-0001" not in hers
    erase(world.store, world.keys, keys[bob], Places(tmp_path / "erased.jsonl", ()), now=world.now, by="me")
    for one in (message, other):
        answer = ask.get(page(world, one))
        assert answer.status_code == 200 and "Nothing is held about you here" in answer.text
        assert ask.post(page(world, one), data=taken).status_code == 200
    assert len(claims(world)) == 1
