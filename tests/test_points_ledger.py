"""The arithmetic of lots: what is left, what expires when, what is owed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ledger import Entry, Standing, settle

START = datetime(2027, 1, 1, tzinfo=UTC)


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def ends(on: date) -> datetime:
    return datetime.combine(on + timedelta(days=1), time(), UTC)


def lot(id_: int, points: int, at: float = 0, until: float | None = None, active: float | None = None) -> Entry:
    last = None if until is None else day(until).date()
    return Entry(id_, "earn", points, day(at), day(at if active is None else active), last)


def less(id_: int, kind: str, points: int, at: float, of: int | None = None) -> Entry:
    return Entry(id_, kind, -points, day(at), day(at), None, of)


def look(entries: list[Entry], now: float) -> Standing:
    return settle(entries, day(now), ends)


def written(entries: list[Entry], now: float) -> list[Entry]:
    """With what `settle` finds to be written."""
    more = [*entries]
    for c in look(entries, now).corrections:
        new = max(1000, *(e.id for e in more)) + 1  # an id of its own, beside entries that come in later, too
        if c.points > 0:
            more.append(Entry(new, "expire", -c.points, c.at, c.at, None, c.lot_id))
        else:
            more.append(Entry(new, "reverse", -c.points, day(now), day(now), None, c.undoes))
    return more


def test_nothing():
    assert look([], 5) == Standing()


def test_what_expires_first_is_spent_first():
    entries = [lot(1, 100, 0, until=30), lot(2, 100, 1, until=10), lot(3, 100, 2), less(4, "spend", 150, 3)]
    found = look(entries, 4)
    assert (found.balance, found.expiring, found.expire_on) == (150, 50, day(30).date())
    assert found.due_at == ends(day(30).date())
    assert look(entries, 31).corrections[0][:2] == (1, 50)


def test_the_last_day_is_a_day_on_which_points_can_be_spent():
    entries = [lot(1, 100, 0, until=10)]
    assert look(entries, 10.999).balance == 100
    gone = look(entries, 11)
    assert gone.balance == 0 and gone.corrections[0].at == day(11)
    assert look([*entries, less(2, "spend", 60, 10.9)], 12).corrections[0].points == 40


def test_pending_points_become_active_by_the_clock():
    entries = [lot(1, 100, 0, active=14)]
    before, after = look(entries, 13.9), look(entries, 14)
    assert (before.balance, before.pending, before.due_at) == (0, 100, day(14))
    assert (after.balance, after.pending, after.due_at) == (100, 0, None)


def test_an_expiry_is_written_once():
    entries = written([lot(1, 100, 0, until=10), less(2, "spend", 30, 5)], 20)
    assert [e.points for e in entries] == [100, -30, -70]
    assert look(entries, 20).corrections == () and sum(e.points for e in entries) == look(entries, 20).balance == 0


@pytest.mark.parametrize(
    ("before", "balance", "why"),
    [
        ([], 0, "nothing was spent: all of it goes back"),
        ([less(2, "spend", 60, 5)], -60, "what was spent is owed"),
        ([lot(2, 50, 1), less(3, "spend", 100, 5)], -50, "other lots are taken, then it is owed"),
    ],
)
def test_a_reversal(before: list[Entry], balance: int, why: str):
    assert look([lot(1, 100, 0, until=90), *before, less(9, "reverse", 100, 6, of=1)], 7).balance == balance, why


def test_what_is_owed_is_filled_by_what_is_earned_next():
    entries = [lot(1, 100), less(2, "spend", 100, 1), less(3, "reverse", 100, 2, of=1), lot(4, 130, 3, active=10)]
    assert (look(entries, 4).balance, look(entries, 4).pending) == (-100, 130)
    assert (look(entries, 10).balance, look(entries, 10).pending) == (30, 0)
    assert look(entries, 10).earned == 130


def test_what_has_expired_is_not_taken_a_second_time():
    entries = written([lot(1, 100, 0, until=10), less(2, "spend", 60, 5)], 12)
    late = written([*entries, less(9, "reverse", 100, 20, of=1)], 21)
    assert look(late, 21).balance == -60
    assert sum(e.points for e in late) == -60


def test_a_late_event_finds_its_place_and_corrects_what_had_expired():
    entries = written([lot(1, 100, 0, until=10)], 12)
    late = written([*entries, less(9, "deduct", 30, 5)], 13)  # of the fifth day, told on the thirteenth
    assert [e.points for e in late] == [100, -100, -30, 30]
    assert look(late, 13).balance == 0 and look(late, 13).corrections == ()


def test_a_move_to_another_zone_brings_nothing_back():
    entries = written([lot(1, 100, 0, until=10)], 11)
    west = settle(entries, day(11.1), lambda on: ends(on) + timedelta(hours=9))
    assert west.balance == 0 and west.corrections == ()


def test_a_clock_that_is_behind_does_not_forget_what_was_spent():
    assert look([lot(1, 100), less(2, "spend", 100, 5)], 4).balance == 0


_LOTS = st.lists(
    st.tuples(st.integers(1, 100), st.integers(0, 40), st.none() | st.integers(0, 20), st.integers(0, 10)),
    min_size=1,
    max_size=8,
)
_TAKES = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 60), st.none() | st.integers(0, 7)), max_size=8)


def _entries(lots: Any, takes: Any) -> list[Entry]:
    found = []
    for n, (points, at, lasts, pending) in enumerate(lots):
        until = None if lasts is None else at + pending + lasts
        found.append(lot(n + 1, points, at, until, at + pending))
    left = {e.id: e.points for e in found}
    for n, (points, at, of) in enumerate(takes):
        if of is None:
            found.append(less(100 + n, "deduct", points, at))
        elif of < len(lots) and left[of + 1]:
            back = min(points, left[of + 1])
            left[of + 1] -= back
            found.append(less(100 + n, "reverse", back, max(at, lots[of][1]), of=of + 1))
    return found


@given(_LOTS, _TAKES, st.integers(0, 80), st.randoms(use_true_random=False))
def test_entries_add_up_whatever_their_order(lots: Any, takes: Any, now: int, chance: Any):
    entries = _entries(lots, takes)
    found = look(entries, now)
    full = written(entries, now)
    assert sum(e.points for e in full) == found.balance + found.pending
    again = look(full, now)
    assert again.corrections == () and again.balance == found.balance and again.pending == found.pending
    chance.shuffle(full)
    assert look(full, now) == again


@given(_LOTS, _TAKES, st.lists(st.integers(0, 80), max_size=4))
def test_looks_in_between_change_nothing(lots: Any, takes: Any, looks: list[int]):
    """Each look sees what had happened by then; at the end the outcome is the same."""
    entries = _entries(lots, takes)
    seen: list[Entry] = []
    for now in sorted(looks):
        seen += [e for e in entries if e.at <= day(now) and e not in seen]
        if seen:
            seen = written(seen, now)
    seen = written(seen + [e for e in entries if e not in seen], 200)
    once = look(written(entries, 200), 200)
    assert (look(seen, 200).balance, look(seen, 200).pending) == (once.balance, once.pending)
    assert sum(e.points for e in seen) == once.balance + once.pending


@given(_LOTS, _TAKES, st.integers(0, 80))
def test_point_by_point(lots: Any, takes: Any, now: int):
    """The same once more, each single point on its own: nothing of the first way is used."""
    entries = _entries(lots, takes)
    until = max([day(now), *(e.at for e in entries)])
    points: list[dict[str, Any]] = []
    owed = 0
    moments = sorted({e.at for e in entries} | {e.active_at for e in entries} | {until})
    moments += [ends(e.expires_on) for e in entries if e.expires_on]
    for t in sorted(m for m in set(moments) if m <= until):
        for p in points:
            if p["state"] in ("pending", "active") and p["end"] is not None and p["end"] <= t:
                p["state"] = "expired"
        for e in sorted(entries):
            if e.kind == "earn" and e.at == t:
                end = ends(e.expires_on) if e.expires_on else None
                points += [
                    {"of": e.id, "at": e.at, "active": e.active_at, "end": end, "state": "pending"}
                    for _ in range(e.points)
                ]
        for p in sorted(points, key=lambda p: p["of"]):
            if p["state"] == "pending" and p["active"] <= t and (p["end"] is None or p["end"] > t):
                p["state"] = "active"
                if owed:
                    p["state"], owed = "gone", owed - 1
        for e in sorted(entries):
            if e.kind == "earn" or e.at != t:
                continue
            for _ in range(-e.points):
                mine = [p for p in points if p["of"] == e.of_id and e.kind == "reverse"]
                own = [p for p in mine if p["state"] in ("active", "pending")]
                own += [p for p in mine if p["state"] == "expired"]
                far = datetime.max.replace(tzinfo=UTC)
                rest = sorted(
                    (p for p in points if p["state"] == "active"),
                    key=lambda p: (p["end"] or far, p["at"], p["of"]),
                )
                if own or rest:
                    (own or rest)[0]["state"] = "gone"
                else:
                    owed += 1
    found = look(entries, now)
    assert found.balance == sum(p["state"] == "active" for p in points) - owed
    assert found.pending == sum(p["state"] == "pending" for p in points)
    assert sum(c.points for c in found.corrections) == sum(p["state"] == "expired" for p in points)
