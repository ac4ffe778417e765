"""Vouchers and rewards: codes given from pools and redeemed once, rewards claimed for points while there are any.

A code is given by what it is for (`given_key`), redeemed by itself, and a claim is made by its key: whatever comes
twice is once, and is answered alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator import earn
from orchestrator.dates import day_after
from orchestrator.ingest import record_events
from orchestrator.model import Unit, Vocabulary
from orchestrator.program import ClassProgram, Reward
from orchestrator.project import Project
from orchestrator.store import claims, loyalty, vouchers
from orchestrator.store.claims import Taken
from orchestrator.store.people import take_turns
from orchestrator.store.segments import Segments
from orchestrator.store.vouchers import Code
from orchestrator.zones import first_known

# ---- giving ---------------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A code wanted from a pool. `key`: what for; the same key gets the same code. `customer_id`: whose the event of it
    is, where the unit is an account. `enrollment_id`: of the run whose step gives it."""

    key: str
    pool: str
    unit: Unit
    unit_id: int
    customer_id: int | None = None
    enrollment_id: int | None = None


def give(conn: sa.Connection, project: Project, rows: Sequence[Asked], now: datetime) -> dict[str, Code]:
    """A code for each of these, by its key; none for whom the pool had no free one left (see `shortages`).

    Lowest id first, in the order of the rows; never the same code to two. Whoever calls holds what the keys are made
    of (a run, a claim), so that no other transaction asks for the same key at this moment. A fixed number of
    statements, and one for each pool.
    """
    asked = {row.key: row for row in rows}
    if not asked:
        return {}
    found = vouchers.given_for(conn, asked)
    wanted: dict[str, list[Asked]] = defaultdict(list)
    for row in asked.values():
        if row.key not in found:
            wanted[row.pool].append(row)
    taken = [
        (row, voucher_id, code)
        for pool, some in sorted(wanted.items())
        for row, (voucher_id, code) in zip(some, vouchers.take(conn, pool, len(some)), strict=False)
    ]
    if not taken:
        return found
    days = _Days(conn, project.vocabulary, ((row.unit, row.unit_id) for row, _, _ in taken))
    given, told = [], []
    for row, voucher_id, code in taken:
        expires_on = _last_day(project.vocabulary, row.pool, days.on(row.unit, row.unit_id, now))
        customer_id = row.unit_id if row.unit == "customer" else row.customer_id
        given.append(_giving(row, voucher_id, customer_id, expires_on, now))
        told.append(_given_event(row, voucher_id, customer_id, expires_on, now))
        found[row.key] = Code(
            voucher_id, row.pool, code, row.unit, row.unit_id, customer_id, row.key, now, expires_on, None, None, None
        )
    vouchers.hand_out(conn, given)
    record_events(conn, told, now=now)
    return found


def _giving(
    row: Asked, voucher_id: int, customer_id: int | None, expires_on: date | None, now: datetime
) -> dict[str, Any]:
    return {
        "id": voucher_id,
        "unit": row.unit,
        "unit_id": row.unit_id,
        "customer_id": customer_id,
        "given_key": row.key,
        "given_at": now,
        "enrollment_id": row.enrollment_id,
        "expires_on": expires_on,
    }


def _given_event(
    row: Asked, voucher_id: int, customer_id: int | None, expires_on: date | None, now: datetime
) -> dict[str, Any]:
    """Without the code: events are exported and shown."""
    said = {"pool": row.pool} | ({"expires": expires_on.isoformat()} if expires_on is not None else {})
    return event_of("voucher_given", f"voucher:{voucher_id}", (row.unit, row.unit_id, customer_id), now, said)


def event_of(
    name: str, key: str, whose: tuple[Unit, int, int | None], at: datetime, properties: Mapping[str, Any]
) -> dict[str, Any]:
    """An event of the programme, as `record_events` takes it; `whose`: unit, its id, the customer whose deed it was."""
    unit, unit_id, customer_id = whose
    return {
        "type": name,
        "key": key,
        "customer_id": customer_id,
        "account_id": unit_id if unit == "account" else None,
        "occurred_at": at,
        "properties": dict(properties),
    }


def _last_day(vocabulary: Vocabulary, pool: str, day: date) -> date | None:
    declared = vocabulary.loyalty.pools.get(pool)
    return None if declared is None or declared.valid is None else day_after(day, declared.valid)


def take_back(
    conn: sa.Connection, rows: Sequence[tuple[str, Unit, int]], now: datetime
) -> frozenset[tuple[str, Unit, int]]:
    """Of each (pool, unit, unit id) the last code that a journey gave and that is not redeemed goes back into its pool;
    returns those who had one. What was claimed or won is not touched. A fixed number of statements.

    The giving stays on record, void and under another code; the code itself is a new row, as one just imported.
    """
    found = vouchers.last_given(conn, rows)
    if not found:
        return frozenset()
    vouchers.put_back(conn, sorted(found.values(), key=lambda code: code.id), now)
    told = [
        event_of("voucher_returned", f"voucher:{code.id}", (unit, unit_id, code.customer_id), now, {"pool": pool})
        for (pool, unit, unit_id), code in found.items()
    ]
    record_events(conn, told, now=now)
    return frozenset(found)


class _Days:
    """Which day it is for these units: by their own zone, else the workspace's. A statement for each kind of unit."""

    def __init__(self, conn: sa.Connection, vocabulary: Vocabulary, units: Iterable[tuple[Unit, int]]) -> None:
        ids: dict[Unit, set[int]] = {"customer": set(), "account": set()}
        for unit, unit_id in units:
            ids[unit].add(unit_id)
        self._house = first_known(vocabulary.timezone)
        self._zones: dict[tuple[Unit | None, int | None], ZoneInfo] = {}
        for kind, some in ids.items():
            for member in loyalty.members(conn, kind, sorted(some)).values():
                self._zones[kind, member.id] = member.tz(vocabulary.timezone)

    def on(self, unit: Unit | None, unit_id: int | None, at: datetime) -> date:
        return at.astimezone(self._zones.get((unit, unit_id), self._house)).date()


def shortages(conn: sa.Connection, vocabulary: Vocabulary, pools: Iterable[str] | None = None) -> tuple[str, ...]:
    """Pools (None: every declared one) that are empty or below their `warn_below`, in words for the operator."""
    declared = vocabulary.loyalty.pools
    wanted = [name for name in (declared if pools is None else pools) if name in declared]
    if not wanted:
        return ()
    return tuple(
        f"voucher pool `{name}` {_left(left)}; `orchestrator vouchers import {name} FILE.csv` fills it"
        for name, left in sorted(vouchers.free(conn, wanted).items())
        if not left or left < declared[name].warn_below
    )


def _left(count: int) -> str:
    if not count:
        return "is empty: nobody is given a code"
    return f"has {count:,} free code{'' if count == 1 else 's'} left"


# ---- redeeming ------------------------------------------------------------------------------------------------------


class Redemption(NamedTuple):
    """A code told by a till. `receipt` is the till's own number: the same one again is the same redemption. `amount`
    in minor units, of what was bought, None where it was not told."""

    code: str
    receipt: str
    at: datetime
    amount: int | None = None
    currency: str | None = None


REFUSALS: Final[Mapping[str, str]] = {
    "unknown": "no such code",
    "not_given": "the code was not given to anybody yet",
    "expired": "the code's last day was {day}",
    "void": "the code was voided",
    "redeemed": "the code was redeemed already, on another receipt",
}
"""Why a code is not redeemed. The texts name no code."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a till is told: `reason` "" where the code is redeemed by this receipt, else one of REFUSALS. `again`: it
    was told so before."""

    reason: str = ""
    pool: str = ""
    expires_on: date | None = None
    again: bool = False

    @property
    def text(self) -> str:
        return REFUSALS[self.reason].format(day=self.expires_on) if self.reason else "redeemed"


def redeem(conn: sa.Connection, vocabulary: Vocabulary, rows: Sequence[Redemption], now: datetime) -> list[Answer]:
    """Redeem codes, an answer for each row: each code once, by the first receipt that comes with it.

    A code is good through its last day, where its owner is; that day is judged by when it was shown at the till, not by
    when the till told us. A fixed number of statements.
    """
    known = vouchers.locked(conn, {row.code for row in rows})
    owners = [(code.unit, code.unit_id) for code in known.values() if code.unit and code.unit_id is not None]
    days = _Days(conn, vocabulary, owners)
    receipts = {code.code: code.redeemed_key for code in known.values() if code.redeemed_at is not None}
    done: list[tuple[Code, Redemption]] = []
    answers = []
    for row in rows:
        code = known.get(row.code)
        reason = "unknown" if code is None else _refusal(code, row, receipts.get(row.code), days)
        again = not reason and row.code in receipts
        answers.append(Answer(reason, code.pool if code else "", code.expires_on if code else None, again))
        if code is not None and not reason and row.code not in receipts:
            receipts[row.code] = row.receipt
            done.append((code, row))
    vouchers.redeemed(conn, [(code.id, row.at, row.receipt) for code, row in done])
    told = [_redeemed_event(code, row) for code, row in done if code.unit is not None]  # it is nobody's of the erased
    record_events(conn, told, now=now)
    return answers


def _refusal(code: Code, row: Redemption, receipt: str | None, days: _Days) -> str:
    if receipt is not None:
        return "" if receipt == row.receipt else "redeemed"
    if code.void_at is not None:
        return "void"
    if code.given_at is None:
        return "not_given"
    last = code.expires_on
    return "expired" if last is not None and days.on(code.unit, code.unit_id, row.at) > last else ""


def _redeemed_event(code: Code, row: Redemption) -> dict[str, Any]:
    assert code.unit is not None and code.unit_id is not None
    said: dict[str, Any] = {"pool": code.pool}
    if row.amount is not None and row.currency:
        said |= {"amount": row.amount, "amount_currency": row.currency}
    whose = (code.unit, code.unit_id, code.customer_id)
    return event_of("voucher_redeemed", f"voucher:{code.id}", whose, row.at, said)


def void(conn: sa.Connection, code: str, now: datetime) -> Answer:
    """A code that is not to be given or redeemed any more. Refused when unknown or redeemed; again, nothing more."""
    found = vouchers.locked(conn, [code]).get(code)
    if found is None:
        return Answer("unknown")
    if found.redeemed_at is not None:
        return Answer("redeemed", found.pool)
    if found.void_at is None:
        vouchers.void(conn, found.id, now)
    return Answer("", found.pool)


# ---- rewards --------------------------------------------------------------------------------------------------------

NOT_CLAIMED: Final[Mapping[str, str]] = {
    "unknown": "there is no such reward for this class",
    "not_member": "only members can claim rewards",
    "tier": "this reward is for other tiers",
    "only_if": "this reward is for others",
    "each": "as many as one can have were claimed already",
    "sold_out": "none is left",
    "no_voucher": "no voucher code is left for it at the moment",
    "points": "there are not enough points",
    "key": "this key came with another claim: use a new one for each",
}
"""Why a reward is not claimed."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim that stands. `new`: made by this call; `voucher`: the code that it was answered with."""

    claim: Taken
    voucher: Code | None = field(default=None, repr=False)
    new: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """A reward as one unit sees it. `left` None: without end; `taken`: by this unit; `reason`: why it cannot be claimed
    now, "" when it can. Rewards of other tiers are offered with the reason `tier`, so that there is something to
    reach for; those that `only_if` keeps for others are left out."""

    reward: Reward
    left: int | None
    taken: int
    reason: str


def claim(
    conn: sa.Connection,
    project: Project,
    unit: Unit,
    unit_id: int,
    name: str,
    key: str,
    customer_id: int | None,
    now: datetime,
) -> Claimed | str:
    """Take a reward for points, or why not (one of NOT_CLAIMED): then nothing was written.

    `key`: what the caller calls this claim; the same key again is answered with the same claim. `customer_id`: who
    claims, where the points are an account's. Claims take turns, so that no reward is sold twice. One that has a pool
    is answered with a code and is fulfilled by that; the others wait for `fulfil`.
    """
    take_turns(conn, "claim")
    before = claims.by_key(conn, key)
    if before is not None:
        same = (before.reward, before.unit, before.unit_id) == (name, unit, unit_id)
        return _again(conn, before) if same else "key"
    customer_id = unit_id if unit == "customer" else customer_id
    facts = _facts(conn, project, unit, unit_id, (name,), now)
    reward = None if facts is None else facts.program.rewards.get(name)
    if facts is None or reward is None:
        return "unknown"
    refused = facts.reason(reward)
    if refused:
        return refused
    if reward.voucher and not vouchers.take(conn, reward.voucher, 1):  # held by us until the end of the transaction
        return "no_voucher"
    if reward.costs and not _spent(conn, project, facts.member, reward, key, customer_id, now):
        return "points"
    code = None
    if reward.voucher:
        asked = Asked(f"claim:{key}", reward.voucher, unit, unit_id, customer_id)
        code = give(conn, project, [asked], now)[asked.key]
    return _written(conn, reward, facts.member, key, customer_id, code, now)


def _again(conn: sa.Connection, before: Taken) -> Claimed:
    code = vouchers.locked_by_id(conn, before.voucher_id) if before.voucher_id is not None else None
    return Claimed(before, code, new=False)


def _spent(
    conn: sa.Connection,
    project: Project,
    member: loyalty.Member,
    reward: Reward,
    key: str,
    customer_id: int | None,
    now: datetime,
) -> bool:
    spending = earn.Award(
        f"claim:{key}", member.unit, member.id, -reward.costs, "spend", reward.name, customer_id, at=now
    )
    return bool(earn.award(conn, project, [spending], now))


def _written(
    conn: sa.Connection,
    reward: Reward,
    member: loyalty.Member,
    key: str,
    customer_id: int | None,
    code: Code | None,
    now: datetime,
) -> Claimed:
    row: dict[str, Any] = {
        "key": key,
        "reward": reward.name,
        "unit": member.unit,
        "unit_id": member.id,
        "customer_id": customer_id,
        "cost": reward.costs,
        "voucher_id": None if code is None else code.id,
        "state": "claimed" if code is None else "fulfilled",
        "job": None,
        "at": now,
        "settled_at": None if code is None else now,
    }
    made = Taken(id=claims.add(conn, row), **row)
    said = {"claim": str(made.id), "reward": reward.name, "cost": reward.costs}
    whose = (member.unit, member.id, customer_id)
    record_events(conn, [event_of("reward_claimed", f"claim:{made.id}", whose, now, said)], now=now)
    return Claimed(made, code)


def offers(conn: sa.Connection, project: Project, unit: Unit, unit_id: int, now: datetime) -> tuple[Offer, ...]:
    """The catalogue of a unit's class as this unit sees it, the cheapest first. A fixed number of statements."""
    facts = _facts(conn, project, unit, unit_id, None, now)
    if facts is None:
        return ()
    found = []
    for reward in sorted(facts.program.rewards.values(), key=lambda one: (one.costs, one.name)):
        reason = facts.reason(reward)
        if not reason and reward.voucher and not facts.free.get(reward.voucher):
            reason = "no_voucher"
        if not reason and reward.costs > facts.points:
            reason = "points"
        if reason != "only_if":
            found.append(Offer(reward, facts.left(reward), facts.mine.get(reward.name, 0), reason))
    return tuple(found)


def whose(conn: sa.Connection, project: Project, customer_id: int) -> tuple[Unit, int] | None:
    """Whose points and rewards a customer's are: her own, or her account's where her class says so; None when her class
    has no programme, or she is nobody's contact."""
    person = loyalty.members(conn, "customer", [customer_id]).get(customer_id)
    found = None if person is None else project.program.classes.get(person.class_name)
    if person is None or found is None:
        return None
    if found.unit == "customer":
        return "customer", customer_id
    return None if person.account_id is None else ("account", person.account_id)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a claim is judged on."""

    member: loyalty.Member
    program: ClassProgram
    is_member: bool
    points: int
    claimed: Mapping[str, int]  # by reward, by everybody
    mine: Mapping[str, int]
    truths: Mapping[str, bool | None]
    free: Mapping[str, int]

    def left(self, reward: Reward) -> int | None:
        """What is left of the stock. A stock that was cut below what is claimed is nought, not less."""
        return None if reward.stock is None else max(0, reward.stock - self.claimed.get(reward.name, 0))

    def reason(self, reward: Reward) -> str:
        """Why not, as far as no points and no codes are concerned."""
        if not self.is_member:
            return "not_member"
        if reward.tiers and self.member.tier not in reward.tiers:
            return "tier"
        if reward.only_if is not None and self.truths.get(reward.only_if.text) is not True:
            return "only_if"
        if reward.each is not None and self.mine.get(reward.name, 0) >= reward.each:
            return "each"
        return "sold_out" if self.left(reward) == 0 else ""


def _facts(
    conn: sa.Connection, project: Project, unit: Unit, unit_id: int, names: Sequence[str] | None, now: datetime
) -> _Facts | None:
    """None for a unit that is not there, or whose class has no programme of such units. `names`: of which rewards."""
    member = loyalty.members(conn, unit, [unit_id]).get(unit_id)
    program = None if member is None else project.program.classes.get(member.class_name)
    if member is None or program is None or program.unit != unit:
        return None
    standing = loyalty.standing(conn, unit, [unit_id]).get(unit_id, {})
    some = [one for name, one in program.rewards.items() if names is None or name in names]
    asked = [one.only_if for one in some if one.only_if is not None]
    segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
    truths = segments.of_units(conn, asked, unit, [unit_id], now).get(unit_id, ({}, {}))[0] if asked else {}
    pools = {one.voucher for one in some if one.voucher}
    return _Facts(
        member,
        program,
        program.membership is None or standing.get("member") == "active",
        standing.get("points") or 0,
        {name: tally.live for name, tally in claims.tallies(conn, [one.name for one in some]).items()},
        claims.taken_by(conn, unit, unit_id),
        truths,
        vouchers.free(conn, pools) if pools and names is None else {},
    )


# ---- what becomes of claims -----------------------------------------------------------------------------------------

NOT_CANCELLED: Final[Mapping[str, str]] = {
    "unknown": "there is no such claim",
    "redeemed": "its voucher was redeemed already",
    "fulfilled": "it was fulfilled already",
}


def cancel(conn: sa.Connection, project: Project, claim_id: int, now: datetime) -> str:
    """Take a claim back: the points return, the stock too, and its code is void, for it was seen. Why not (one of
    NOT_CANCELLED), or "" when it is cancelled, also by an earlier call."""
    take_turns(conn, "claim")
    found = claims.locked(conn, [claim_id]).get(claim_id)
    if found is None:
        return "unknown"
    if found.state == "cancelled":
        return ""
    if found.voucher_id is not None:
        code = vouchers.locked_by_id(conn, found.voucher_id)
        if code.redeemed_at is not None:
            return "redeemed"
        vouchers.void(conn, code.id, now)
    elif found.state == "fulfilled":
        return "fulfilled"
    claims.settle(conn, [claim_id], "cancelled", now)
    if found.cost and loyalty.members(conn, found.unit, [found.unit_id]):  # not of somebody erased
        back = earn.Award(
            f"claim:{found.id}:back", found.unit, found.unit_id, found.cost, "award", found.reward,
            found.customer_id, at=now,
        )  # fmt: skip
        earn.award(conn, project, [back], now)
    return ""
