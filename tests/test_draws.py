"""Draws: the pure part by its own description, and what a look of the programme makes of it."""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import lottery
from orchestrator.lottery import Entry, Published
from orchestrator.store import draws, merging
from orchestrator.store import tables as t
from tests.playing import Game, game, migrated_file, migrated_url, on_sqlite, snapshot  # noqa: F401

PAGE = Path(__file__).parent.parent / "docs/reference/draws.md"


def some(count: int, entrants: int | None = None) -> list[Entry]:
    return [lottery.entry("b2c/x", n, f"k{n}", "customer", n % (entrants or count)) for n in range(count)]


# ---- the pure part --------------------------------------------------------------------------------------------------


def by_the_book(seed: bytes, entries: list[Entry], count: int) -> list[int]:
    """What the page says, as somebody else would write it: with a list of all tickets, from which drawn ones go."""
    listed = "".join(f"{e.number},{e.ticket},{e.entrant}\n" for e in entries).encode()
    digest = hashlib.sha256(listed).digest()
    tickets, n = list(range(len(entries))), 0
    drawn: list[int] = []
    won: list[str] = []
    while tickets and len(drawn) < count:
        word = int.from_bytes(hmac.new(seed, digest + n.to_bytes(8, "big"), hashlib.sha256).digest()[:8], "big")
        n += 1
        if word >= 2**64 - 2**64 % len(tickets):
            continue
        at = word % len(tickets)
        ticket, tickets[at] = tickets[at], tickets[-1]
        tickets.pop()
        if entries[ticket].entrant not in won:
            won.append(entries[ticket].entrant)
            drawn.append(ticket)
    return drawn


@given(st.binary(min_size=32, max_size=32), st.integers(0, 40), st.integers(1, 40), st.integers(0, 12))
def test_anybody_can_compute_the_winners(seed: bytes, tickets: int, entrants: int, winners: int):
    entries = some(tickets, entrants)
    assert list(lottery.winners(seed, entries, winners)) == by_the_book(seed, entries, winners)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 300))
def test_every_ticket_has_its_place(seed: bytes, size: int):
    digest = lottery.digest(some(size))
    assert sorted(lottery.order(seed, digest, size)) == list(range(size))


def test_each_ticket_is_as_likely_as_any_other():
    entries = some(7)
    first = Counter(lottery.winners(n.to_bytes(32, "big"), entries, 1)[0] for n in range(7_000))
    # χ² with 6 degrees of freedom: 22.5 is passed once in a thousand; the seeds are fixed, so this is, too.
    assert sum((found - 1_000) ** 2 / 1_000 for found in first.values()) < 22.5 and len(first) == 7


def test_words_that_would_favour_some_are_passed_over(monkeypatch: pytest.MonkeyPatch):
    words = iter([b"\xff" * 8, (5).to_bytes(8, "big"), *(b"\0" * 8 for _ in range(2))])
    monkeypatch.setattr(hmac, "digest", lambda *_: next(words) + b"\0" * 24)
    assert list(lottery.order(b"", "", 3)) == [2, 0, 1]


def test_nobody_wins_twice_and_fewer_win_than_prizes():
    entries = some(10, 3)
    found = lottery.winners(b"s" * 32, entries, 5)
    assert len(found) == 3 == len({entries[n].entrant for n in found})
    assert lottery.winners(b"s" * 32, [], 5) == ()
    two = lottery.winners(b"s" * 32, entries, 2)
    assert two + lottery.winners(b"s" * 32, entries, 4, after=2) == found


def test_what_was_changed_is_found():
    seed, entries = b"s" * 32, some(20)
    won = lottery.winners(seed, entries, 3)
    good = Published("b2c/x", lottery.commitment(seed), lottery.digest(entries), seed, won)
    assert lottery.problems(good, entries) == ()
    changed: list[tuple[dict[str, Any], list[Entry], str]] = [
        ({"seed": b"t" * 32}, entries, "the seed"),
        ({"winners": won[::-1]}, entries, "other tickets"),
        ({}, [*entries, entries[0]._replace(number=20)], "the list of entries"),
        ({}, entries[1:], "numbers"),
        ({"seed": None}, entries, "not been drawn"),
    ]
    for more, listed, word in changed:
        values = {name: getattr(good, name) for name in ("name", "commitment", "entries", "seed", "winners")}
        assert word in " ".join(lottery.problems(Published(**{**values, **more}), listed))


def test_the_page_s_example_is_right():
    text = PAGE.read_text(encoding="utf-8")
    seed = bytes.fromhex(re.search(r"seed\s+([0-9a-f]{64})", text)[1])  # type: ignore[index]
    assert lottery.commitment(seed) == re.search(r"commitment\s+([0-9a-f]{64})", text)[1]  # type: ignore[index]
    listed = re.findall(r"^(\d+),([0-9a-f]{64}),([0-9a-f]{64})$", text, re.MULTILINE)
    entries = [Entry(int(n), ticket, entrant) for n, ticket, entrant in listed]
    assert len(entries) == 5
    assert lottery.digest(entries) == re.search(r"entries\s+([0-9a-f]{64})", text)[1]  # type: ignore[index]
    won = [int(n) for n in re.search(r"winners\s+([\d ]+)", text)[1].split()]  # type: ignore[index]
    assert list(lottery.winners(seed, entries, 2)) == won
    assert entries[0] == lottery.entry("b2c/summer", 0, "b2c/summer:each:customer:1", "customer", 1)


# ---- what a look makes of it ----------------------------------------------------------------------------------------

PROGRAM = """
b2c:
  points: [ "1 per 1 EUR of bought.amount" ]
  refunds: [ returned takes back bought by order_id ]
  challenges:
    reviewer: { when: "count(reviewed, 1 days) >= 1", again: 1 day }
  draws:
    summer: { entry: per challenge, opens: 2027-03-02, closes: 2027-03-10, winners: 2, prize: ten-off }
    spend: { entry: per 100 points, closes: 2027-03-10 }
    raffle: { entry: each, closes: 2027-03-10, open_to: town is set, winners: 5 }
"""
AFTER = datetime(2027, 3, 10, 23, tzinfo=UTC)  # midnight in Berlin


@pytest.fixture
def found(migrated_file: Path, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    with on_sqlite(migrated_file, tmp_path, PROGRAM) as found:
        yield found


@pytest.fixture
def both(migrated_url: str, tmp_path: Path) -> Iterator[Game]:  # noqa: F811
    with game(migrated_url, tmp_path, PROGRAM) as found:
        yield found


def standing(found: Game) -> dict[str, draws.Drawn]:
    with found.store.read() as conn:
        return draws.all_draws(conn)


def listed(found: Game, name: str) -> list[tuple[int, int]]:
    k = t.ticket.c
    return [tuple(row) for row in found.rows(sa.select(k.number, k.unit_id).where(k.draw == name).order_by(k.number))]


def test_a_draw_opens_closes_and_can_be_checked(both: Game):
    found = both
    ann, bob, cem = found.people(3, consents=None)
    found.look()
    assert set(standing(found)) == {"b2c/spend", "b2c/raffle"}  # the other one opens tomorrow
    found.pass_time(days=1)
    found.look()
    early = standing(found)["b2c/summer"]
    assert early.published() == Published("b2c/summer", hashlib.sha256(early.seed).hexdigest())
    for day in range(3):
        found.tell("reviewed", ann)
        if not day:
            found.tell("reviewed", bob)
        found.look()
        found.pass_time(days=1, minutes=1)
    found.now = AFTER
    found.tell("reviewed", cem)  # a moment too late
    found.look()
    drawn = standing(found)["b2c/summer"]
    assert sorted(unit_id for _, unit_id in listed(found, "b2c/summer")) == [ann, ann, ann, bob]
    with found.store.read() as conn:
        assert lottery.problems(drawn.published(), draws.entries(conn, "b2c/summer")) == ()
        owners = draws.owners(conn, "b2c/summer", drawn.winners or [])
    assert {one.unit_id for one in owners} == {ann, bob} and drawn.seed == early.seed
    won = [event for event in found.events("draw_won") if event.properties["draw"] == "summer"]
    assert [(e.key, e.properties["place"]) for e in won] == [("draw:b2c/summer:1", 1), ("draw:b2c/summer:2", 2)]
    before = snapshot(found)
    found.pass_time(days=3)
    found.look()
    assert snapshot(found) == before


def test_nothing_is_drawn_before_the_day_is_over(found: Game):
    found.person(attributes={"town": "Bonn"})
    found.look()
    found.now = datetime(2027, 3, 10, 22, 59, tzinfo=UTC)
    found.look()
    assert all(one.drawn_at is None for one in standing(found).values())
    found.now = AFTER
    found.look()
    assert standing(found)["b2c/raffle"].drawn_at == AFTER


def test_points_give_tickets_and_a_refund_takes_them(both: Game):
    found = both
    ann, bob = found.people(2, consents=None)
    found.look()
    found.pass_time(hours=1)
    for who, order, amount in ((ann, "o1", 25_000), (ann, "o2", 10_000), (bob, "o3", 9_900)):
        found.tell("bought", who, order_id=order, amount=amount, amount_currency="EUR")
    found.look()
    found.pass_time(days=2)
    found.tell("returned", ann, order_id="o2")
    found.now = AFTER
    found.tell("bought", bob, order_id="o4", amount=100_000, amount_currency="EUR")  # of the next day
    found.look()
    assert listed(found, "b2c/spend") == [(0, ann), (1, ann)]


def test_everybody_who_may_has_one(found: Game):
    ann, _, cem = (found.person(attributes={"town": town} if town else {}) for town in ("Bonn", "", "Kiel"))
    found.person(**{"class": "b2b", "attributes": {"town": "Ulm"}})
    gone = found.person(attributes={"town": "Jena"}, erased_at=found.now)
    merged = found.person(attributes={"town": "Jena"}, merged_into=ann)
    found.look()
    found.now = AFTER
    found.look()
    assert {unit_id for _, unit_id in listed(found, "b2c/raffle")} == {ann, cem}
    assert gone and merged
    assert len(standing(found)["b2c/raffle"].winners or []) == 2  # fewer than prizes


def test_a_draw_that_nobody_entered(found: Game):
    found.look()
    found.now = AFTER
    found.look()
    assert standing(found)["b2c/spend"].winners == []
    with found.store.read() as conn:
        assert lottery.problems(standing(found)["b2c/spend"].published(), draws.entries(conn, "b2c/spend")) == ()


def test_prizes_are_given_once_and_those_that_lack_later(found: Game):
    from orchestrator.store import vouchers

    ann, bob = found.people(2, consents=None)
    found.pass_time(days=1)
    found.look()
    found.pass_time(hours=1)
    for who in (ann, bob):
        found.tell("reviewed", who)
    found.look()
    with found.store.write() as conn:
        vouchers.add(conn, "ten-off", ["AAAA"], found.now)
    found.now = AFTER
    found.look()
    given = sa.select(t.voucher.c.customer_id).where(t.voucher.c.given_at.is_not(None))
    assert len(found.rows(given)) == 1
    with found.store.write() as conn:
        vouchers.add(conn, "ten-off", ["BBBB", "CCCC"], found.now)
    for _ in range(2):
        found.pass_time(days=1)
        found.look()
    assert {row[0] for row in found.rows(given)} == {ann, bob} and found.counted(t.voucher) == 3


def test_a_merged_winner_is_who_she_was_merged_into(found: Game):
    ann, twin = found.people(2, consents=None)
    found.pass_time(days=1)
    found.look()
    found.pass_time(hours=1)
    found.tell("reviewed", twin)
    found.look()
    found.now = AFTER
    found.look()
    with found.store.write() as conn:
        merging.merge(conn, ann, twin, now=found.now)
        drawn = draws.all_draws(conn)["b2c/summer"]
        assert lottery.problems(drawn.published(), draws.entries(conn, "b2c/summer")) == ()
        assert [one.unit_id for one in draws.owners(conn, "b2c/summer", drawn.winners or [])] == [ann]


def test_a_draw_that_is_over_when_it_is_first_seen_is_none(migrated_file: Path, tmp_path: Path):  # noqa: F811
    with on_sqlite(migrated_file, tmp_path, PROGRAM) as found:
        found.now = AFTER
        found.look()
        assert standing(found) == {}


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_no_two_draws_are_alike(number: int):
    seed = number.to_bytes(32, "big")
    assert lottery.commitment(seed) != lottery.commitment((number + 1).to_bytes(32, "big"))
