"""What people see of the programme on a page of their own, and do there: take a reward, join a leaderboard.

Whose points these are is the class's word: a contact sees her company's. Who has a message's link may look for as long
as own data may be looked at (`choosing.FRESH`); what is worth money is nearer (`NEAR`): to take a reward, and to read
a voucher's code, the message must be of these days, and have gone to an address which is hers still. By another one a
fresh link is mailed to that address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from channels.base import Medium
from orchestrator import choosing, play, reward
from orchestrator.apply import Force
from orchestrator.model import Unit
from orchestrator.outbound import Asked
from orchestrator.play import Progress
from orchestrator.program import ClassProgram, Content, Draw
from orchestrator.project import Project
from orchestrator.reward import Offer
from orchestrator.store import challenges, claims, draws, loyalty, outbox, players, points, preferences, referrals
from orchestrator.store import vouchers as codes
from orchestrator.store.claims import Taken
from orchestrator.store.draws import Drawn
from orchestrator.store.keys import Keys
from orchestrator.store.links import Linked, is_still_theirs
from orchestrator.store.loyalty import Member
from orchestrator.store.players import Place, Refused
from orchestrator.store.segments import Segments
from orchestrator.store.vouchers import Code

NEAR: Final = timedelta(days=7)
"""By an older message's link no reward is taken and no code is read: messages are passed on, and codes are money."""
LINK, RECEIPT = "rewards_link", "reward_receipt"
"""Origins of the messages that this page asks for."""
LINES: Final = 50
SHOWN_FOR: Final = timedelta(days=60)
"""How long a draw is shown once it was drawn."""
Stage = Literal["soon", "open", "closed", "drawn"]


@dataclass(frozen=True, slots=True)
class Chances:
    """A draw as one unit sees it. `opens_at` None: as soon as it is looked at; `closes_at`: the end of its last day;
    `tickets`: her own; `won`: the place of her best winning ticket."""

    rule: Draw
    stage: Stage
    opens_at: datetime | None
    closes_at: datetime
    tickets: int
    commitment: str = ""
    seed: str = ""
    won: int | None = None


@dataclass(frozen=True, slots=True)
class Badge:
    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page is made of. `near`: whether codes may be read and rewards be taken by this link; `may_take`:
    whether this contact may take rewards of her company's at all. `codes` is empty unless both. `code`: of who brings
    others, None where none was made yet. `places`: only for who stands on the list, under `player`.
    """

    program: ClassProgram
    member: Member
    company: str
    standing: Mapping[str, Any]
    near: bool
    may_take: bool
    history: Sequence[Mapping[str, Any]]
    offers: Sequence[Offer]
    taken: Sequence[Taken]
    codes: Sequence[Code]
    challenges: Sequence[Progress]
    badges: Sequence[Badge]
    chances: Sequence[Chances]
    content: Sequence[Content]
    code: str | None
    player: str | None
    places: Sequence[Place]

    @property
    def is_member(self) -> bool:
        return self.program.membership is None or self.standing.get("member") == "active"


@dataclass(frozen=True, slots=True)
class _Whose:
    """Whose points a link's customer sees, and what she may do with them."""

    unit: Unit
    id: int
    member: Member
    program: ClassProgram
    may_take: bool
    company: str


def _whose(conn: sa.Connection, project: Project, customer_id: int) -> _Whose | None:
    found = reward.whose(conn, project, customer_id)
    if found is None:
        return None
    unit, unit_id = found
    member = loyalty.members(conn, unit, [unit_id]).get(unit_id)
    # A contact's class names the kind of unit; whose programme it is, the account's own class says.
    program = None if member is None else project.program.classes.get(member.class_name)
    if member is None or program is None or program.unit != unit:
        return None
    if unit == "customer":
        return _Whose(unit, unit_id, member, program, True, "")
    own = preferences.person(conn, customer_id)
    role = " ".join((own.customer["role"] or "").split()).casefold()
    may = not program.claimed_by or role in {one.casefold() for one in program.claimed_by}
    return _Whose(unit, unit_id, member, program, may, own.account.get("name") or "")


def has_programme(conn: sa.Connection, project: Project, customer_id: int) -> bool:
    """Whether there is anything to see."""
    return bool(project.program.classes) and _whose(conn, project, customer_id) is not None


def is_near(conn: sa.Connection, keys: Keys, link: Linked, now: datetime) -> bool:
    """Whether rewards may be taken and codes be read by this link."""
    return now - link.planned_at < NEAR and is_still_theirs(conn, keys, link)


# ---- looking --------------------------------------------------------------------------------------------------------


def overview(
    conn: sa.Connection, keys: Keys, project: Project, link: Linked, locale: str, now: datetime
) -> Overview | None:
    """What holds now; None where there is no programme for her. A fixed number of statements for each draw."""
    whose = _whose(conn, project, link.customer_id)
    if whose is None:
        return None
    unit, unit_id, program = whose.unit, whose.id, whose.program
    near = is_near(conn, keys, link, now)
    standing = loyalty.standing(conn, unit, [unit_id]).get(unit_id, {})
    active = program.membership is None or standing.get("member") == "active"
    player = players.name_of(conn, unit, unit_id) if program.leaderboard else None
    done = challenges.done_by(conn, unit, [unit_id]).get(unit_id, {})
    tier = whose.member.tier
    return Overview(
        program,
        whose.member,
        whose.company,
        standing,
        near,
        whose.may_take,
        points.history(conn, unit, unit_id, LINES),
        reward.offers(conn, project, unit, unit_id, now),
        claims.of_unit(conn, unit, unit_id),
        _codes(conn, whose, link.customer_id) if near and whose.may_take else (),
        play.progress(conn, project, unit, unit_id, whose.member.class_name, locale),
        [Badge(one.badge, done[one.name].at) for one in program.challenges
         if one.badge and one.name in done and not done[one.name].silent],
        _chances(conn, project, whose, now),
        tuple(one for one in program.content if active and (not one.tiers or tier in one.tiers)),
        referrals.code_of(conn, program, (unit, unit_id, link.customer_id)),
        player,
        players.leaderboard(conn, whose.member.class_name, unit, of=unit_id) if player is not None else (),
    )  # fmt: skip


def _codes(conn: sa.Connection, whose: _Whose, customer_id: int) -> list[Code]:
    """What was given to her; of her company's, what was given to it and what she took herself."""
    found = codes.of_unit(conn, whose.unit, whose.id)
    return [one for one in found if one.void_at is None and one.customer_id in (None, customer_id)]


def _chances(conn: sa.Connection, project: Project, whose: _Whose, now: datetime) -> list[Chances]:
    """Its draws, those that are open first, then by their last day."""
    program = whose.program
    if not program.draws:
        return []
    known = draws.all_draws(conn)
    ids = list(points.owners(conn, whose.unit, [whose.id]))
    over = [one.name for one in known.values() if one.drawn_at is not None and now - one.drawn_at < SHOWN_FOR]
    mine = draws.own_tickets(conn, over, whose.unit, ids) if over else {}
    found = []
    for rule in program.draws:
        drawn = known.get(f"{program.class_name}/{rule.name}")
        opens, closes = play.times_of(rule, project.vocabulary)
        stage = _stage(drawn, opens, closes, now)
        if stage is None:
            continue
        if stage == "drawn" and drawn is not None:
            won, has = drawn.winners or [], mine.get(drawn.name, [])
            place = next((n for n, number in enumerate(won, 1) if number in has), None)
            if drawn.name in over and (has or rule.open_to is None):
                seed = drawn.seed.hex()
                found.append(Chances(rule, stage, opens, closes, len(has), drawn.commitment, seed, place))
        elif _may_enter(conn, project, whose, rule, now):
            if drawn is None:
                found.append(Chances(rule, stage, opens, closes, 0))
            else:
                names = {one.name for one in program.challenges}
                count = draws.own_chances(conn, rule, names, whose.unit, ids, opens or drawn.opened_at, closes)
                found.append(Chances(rule, stage, opens, closes, count, drawn.commitment))
    order: Sequence[Stage] = ("open", "closed", "soon", "drawn")
    return sorted(found, key=lambda one: (order.index(one.stage), one.closes_at))


def _stage(drawn: Drawn | None, opens: datetime | None, closes: datetime, now: datetime) -> Stage | None:
    """None: it is over, and nobody ever opened it."""
    if drawn is not None and drawn.drawn_at is not None:
        return "drawn"
    if closes <= now:
        return "closed" if drawn is not None else None
    return "open" if drawn is not None else "soon"


def _may_enter(conn: sa.Connection, project: Project, whose: _Whose, rule: Draw, now: datetime) -> bool:
    """Whether a draw is for her: others are not shown to her, as rewards for others are not."""
    if rule.open_to is None:
        return True
    segments = Segments(project.vocabulary, project.segments, conn.dialect.name)
    truths = segments.of_units(conn, [rule.open_to], whose.unit, [whose.id], now).get(whose.id, ({}, {}))[0]
    return truths.get(rule.open_to.text) is True


# ---- doing ----------------------------------------------------------------------------------------------------------


def take(
    conn: sa.Connection, keys: Keys, force: Force, link: Linked, name: str, form: str, words: tuple[str, str],
    now: datetime,
) -> str:  # fmt: skip
    """Take a reward; "" when it is hers, else why not: one of `reward.NOT_CLAIMED`, `old` (the link), `role`.

    `form`: the form's own number: sent twice, it is one claim. `words`: title and text of the mail that tells her of
    it, so that nobody who has her message takes anything behind her back.
    """
    if not is_near(conn, keys, link, now):
        return "old"
    whose = _whose(conn, force.project, link.customer_id)
    if whose is None:
        return "unknown"
    if not whose.may_take:
        return "role"
    key = f"page:{whose.unit}:{whose.id}:{form}"
    done = reward.claim(conn, force.project, whose.unit, whose.id, name, key, link.customer_id, now)
    if isinstance(done, str):
        return done
    if done.new and link.email:
        title, text = words
        asked = Asked(
            RECEIPT, f"claim:{done.claim.id}", "customer", link.customer_id, link.customer_id, None, Medium.EMAIL,
            "", "", "transactional", expires_at=now + timedelta(days=2), payload={"title": title, "text": text},
        )  # fmt: skip
        outbox.plan(conn, [asked], now)
    return ""


def join(conn: sa.Connection, keys: Keys, project: Project, link: Linked, name: str, now: datetime) -> bool | None:
    """Stand on the leaderboard under a name; False: not under this one; None: not by this link."""
    whose = _whose(conn, project, link.customer_id)
    if whose is None or not whose.program.leaderboard or not whose.may_take or not is_near(conn, keys, link, now):
        return None
    try:
        players.join(conn, whose.unit, whose.id, name, now)
    except Refused:
        return False
    return True


def leave(conn: sa.Connection, keys: Keys, project: Project, link: Linked, now: datetime) -> bool | None:
    """Off the leaderboard: by any link by which it can be seen."""
    whose = _whose(conn, project, link.customer_id)
    if whose is None or not whose.may_take or not choosing.is_fresh(conn, keys, link, now):
        return None
    return players.leave(conn, whose.unit, whose.id)


def hand_on(conn: sa.Connection, keys: Keys, project: Project, link: Linked, now: datetime) -> bool | None:
    """Make the code that she brings others by; None: not by this link, or there is none in her class."""
    whose = _whose(conn, project, link.customer_id)
    if whose is None or whose.program.referral is None or not choosing.is_fresh(conn, keys, link, now):
        return None
    return bool(referrals.codes(conn, project, [(whose.unit, whose.id, link.customer_id)], now))
