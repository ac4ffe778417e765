"""Challenges, badges, draws and leaderboards."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator import dates, earn, ingest, lottery, reward
from orchestrator.earn import Award
from orchestrator.model import Unit, Vocabulary
from orchestrator.program import Challenge, ClassProgram, Draw
from orchestrator.project import Project
from orchestrator.reward import Asked
from orchestrator.store import challenges, claims, draws, loyalty, versions
from orchestrator.store.challenges import Achieved, Done
from orchestrator.store.draws import Chance, Drawn, Winner
from orchestrator.store.loyalty import Member, Round
from orchestrator.store.versions import Settings
from orchestrator.zones import first_known, instant

_LOOKED = "played_on"
_BATCH = 5_000
_PATIENCE = timedelta(days=60)
"""How long prizes are given that an empty pool did not have at the draw."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A challenge as its unit may see it: one that is hidden, only when it is done. `badge`: which it gives or has
    given; "" of one that was done silently."""

    name: str
    title: str
    points: int
    badge: str
    hidden: bool
    done_at: datetime | None
    times: int
    until: date | None


def complete(round_: Round) -> int:
    """Challenges that the touched units have done; once a day, all units, for some come true by time alone. Returns
    how many."""
    project = round_.project
    daily, done = _is_new_day(project, round_.kept, round_.now), 0
    deeds = cache(lambda unit: _latest_deeds(round_, unit))  # asked for where somebody has done something
    for program in project.program.classes.values():
        if not program.challenges:
            continue
        _baseline(round_, program)
        members = {one.id: one for one in round_.of_class(program.class_name, program.unit)}
        if daily:
            members |= _all_fulfilling(round_, program, members)
        for some in _parts(list(members.values())):
            done += _done(round_, program, some, deeds)
    if daily:
        versions.set_instant(round_.conn, _LOOKED, round_.now)
    return done


def _parts(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    for start in range(0, len(members), _BATCH):
        yield members[start : start + _BATCH]


def kept_names(project: Project) -> list[str]:
    """Under what names it is kept how far this has looked; none where there are no challenges."""
    programs = project.program.classes.values()
    marks = [_mark(program, one) for program in programs for one in program.challenges]
    return [_LOOKED, *marks] if marks else []


def _mark(program: ClassProgram, one: Challenge) -> str:
    return f"challenge:{program.class_name}:{one.name}"


def _is_new_day(project: Project, kept: Settings, now: datetime) -> bool:
    if not any(program.challenges for program in project.program.classes.values()):
        return False
    last, tz = kept.instant(_LOOKED), first_known(project.vocabulary.timezone)
    return last is None or last.astimezone(tz).date() < now.astimezone(tz).date()


def _latest_deeds(round_: Round, unit: Unit) -> Mapping[int, datetime]:
    if round_.last_id <= round_.first_id:
        return {}
    return challenges.latest_deeds(round_.conn, unit, round_.first_id, round_.last_id)


# ---- challenges -----------------------------------------------------------------------------------------------------


def _baseline(round_: Round, program: ClassProgram) -> None:
    """Who fulfilled a challenge already when it was applied, or edited, has done it silently."""
    conn = round_.conn
    for one in program.challenges:
        name = _mark(program, one)
        mark = int(hashlib.sha256(one.when.text.encode()).hexdigest()[:12], 16)
        if round_.kept.number(name) == mark:
            continue
        versions.set_number(conn, name, mark)
        if one.include_existing:
            continue
        # What came in since the apply is new: it was done when the challenge could be known.
        applied = versions.newest(conn)
        at = min(applied.at, round_.now) if applied is not None else round_.now
        ids = challenges.fulfilling(conn, round_.segments, one.when, program.class_name, program.unit, at, but=one.name)
        silent = [_achieved(program, one, unit_id, 1, at, silent=True) for unit_id in ids]
        challenges.add(conn, silent)


def _achieved(
    program: ClassProgram, one: Challenge, unit_id: int, times: int, at: datetime, *, silent: bool = False
) -> Achieved:
    key = f"challenge:{program.class_name}:{one.name}:{program.unit}:{unit_id}:{times}"
    points, badge = (0, "") if silent else (one.points, one.badge)
    return Achieved(key, one.name, program.unit, unit_id, points, badge, silent, at)


def _all_fulfilling(round_: Round, program: ClassProgram, known: Mapping[int, Member]) -> dict[int, Member]:
    """Everybody else who may have done one by now: one statement a challenge."""
    found: set[int] = set()
    for one in program.challenges:
        since = None if one.again is None else round_.now - _at_least(one.again)
        found |= {
            *challenges.fulfilling(
                round_.conn, round_.segments, one.when, program.class_name, program.unit, round_.now,
                but=one.name, since=since,
            )
        }  # fmt: skip
    members: dict[int, Member] = {}
    ids = sorted(found - known.keys())
    for start in range(0, len(ids), _BATCH):
        members |= loyalty.members(round_.conn, program.unit, ids[start : start + _BATCH])
    return members


def _at_least(duration: Any) -> timedelta:
    """A bit less than the calendar may make of it: each unit's own clock has the last word."""
    days = 28 * duration.months + duration.days + duration.business
    return max(timedelta(0), timedelta(days=days, seconds=duration.seconds) - timedelta(days=2))


def _done(
    round_: Round, program: ClassProgram, members: Sequence[Member], deeds: Callable[[Unit], Mapping[int, datetime]]
) -> int:
    """Write what these have done: by one question to the database, whatever the number of challenges, and one more of
    those of whom one is true."""
    conn, now, unit = round_.conn, round_.now, program.unit
    ids = [one.id for one in members]
    answers = round_.segments.of_units(conn, [one.when for one in program.challenges], unit, ids, now)
    true = {unit_id: truths for unit_id, (truths, _) in answers.items() if any(truths.values())}
    before = challenges.done_by(conn, unit, true) if true else {}
    home = round_.project.vocabulary.timezone
    found: list[Achieved] = []
    for member in members:
        truths, past = true.get(member.id, {}), before.get(member.id, {})
        for one in program.challenges:
            last = past.get(one.name)
            if not truths.get(one.when.text) or (last is not None and one.again is None):
                continue
            at = deeds(unit).get(member.id, now)
            if _may(one, last, at, member.tz(home)):
                found.append(_achieved(program, one, member.id, last.times + 1 if last else 1, at))
    _write(round_, found)
    return len(found)


def _may(one: Challenge, last: Done | None, at: datetime, tz: ZoneInfo) -> bool:
    """Whether it can be done at that time, by somebody who did it `last`."""
    if one.until is not None and at.astimezone(tz).date() > one.until:
        return False
    return last is None or (one.again is not None and at >= dates.after(last.at, one.again, tz))


def _write(round_: Round, found: Sequence[Achieved]) -> None:
    if not found:
        return
    conn, project, now = round_.conn, round_.project, round_.now
    challenges.add(conn, found)
    ingest.record_events(conn, [_event(one) for one in found], now=now)
    earn.award(
        conn,
        project,
        [
            Award(one.key, one.unit, one.unit_id, one.points, rule=f"challenge:{one.challenge}", counts=True, at=one.at)
            for one in found
            if one.points
        ],
        now,
    )


def _event(one: Achieved) -> dict[str, Any]:
    properties: dict[str, Any] = {"challenge": one.challenge, "points": one.points}
    if one.badge:
        properties["badge"] = one.badge
    return _of(one.unit, one.unit_id, "challenge_completed", one.key, one.at, properties)


def _of(unit: Unit, unit_id: int, kind: str, key: str, at: datetime, properties: dict[str, Any]) -> dict[str, Any]:
    """An event of the programme's own, as `ingest.record_events` takes it."""
    return {
        "type": kind,
        "key": key,
        "customer_id": unit_id if unit == "customer" else None,
        "account_id": unit_id if unit == "account" else None,
        "occurred_at": at,
        "properties": properties,
    }


def progress(
    conn: sa.Connection, project: Project, unit: Unit, unit_id: int, class_name: str, locale: str = ""
) -> tuple[Progress, ...]:
    """The challenges of a unit as its pages show them, in the programme's order."""
    program = project.program.classes.get(class_name)
    if program is None or program.unit != unit:
        return ()
    done = challenges.done_by(conn, unit, [unit_id]).get(unit_id, {})
    title = project.vocabulary.loyalty.title
    return tuple(
        Progress(
            one.name,
            title(one.name, locale or project.vocabulary.locale),
            one.points,
            "" if one.name in done and done[one.name].silent else one.badge,
            one.hidden,
            done[one.name].at if one.name in done else None,
            done[one.name].times if one.name in done else 0,
            one.until,
        )
        for one in program.challenges
        if not one.hidden or one.name in done
    )


# ---- draws ----------------------------------------------------------------------------------------------------------


def times_of(one: Draw, vocabulary: Vocabulary) -> tuple[datetime | None, datetime]:
    """When entries open (None: when it is first seen) and the end of its last day, by the workspace's clock."""
    tz = first_known(vocabulary.timezone)
    opens = None if one.opens is None else instant(one.opens, time(0), tz)
    return opens, instant(one.closes + timedelta(days=1), time(0), tz)


def is_due(conn: sa.Connection, project: Project, kept: Settings, now: datetime) -> bool:
    """Whether a draw is to be opened or drawn, or a day has begun on which all are looked at."""
    if _is_new_day(project, kept, now):
        return True
    declared = [*_declared(project)]
    if not declared:
        return False
    known = draws.all_draws(conn)
    return any(_is_to_open(one, known.get(name), project, now) or _is_over(one, known.get(name), project, now)
               for name, _, one in declared)  # fmt: skip


def _declared(project: Project) -> Iterator[tuple[str, ClassProgram, Draw]]:
    for program in project.program.classes.values():
        for one in program.draws:
            yield f"{program.class_name}/{one.name}", program, one


def _is_to_open(one: Draw, known: Drawn | None, project: Project, now: datetime) -> bool:
    opens, closes = times_of(one, project.vocabulary)
    return known is None and now < closes and (opens is None or opens <= now)


def _is_over(one: Draw, known: Drawn | None, project: Project, now: datetime) -> bool:
    return known is not None and known.drawn_at is None and times_of(one, project.vocabulary)[1] <= now


def close(round_: Round) -> int:
    """Open draws whose time has come, and draw those whose entries are over, once everything that happened by now is
    counted. Returns how many were drawn."""
    conn, project, now = round_.conn, round_.project, round_.now
    known = draws.all_draws(conn) if any(True for _ in _declared(project)) else {}
    done = 0
    for name, program, one in _declared(project):
        if _is_to_open(one, known.get(name), project, now):
            draws.opened(conn, name, secrets.token_bytes(lottery.SEED), now)
        elif _is_over(one, known.get(name), project, now) and not _is_more(round_):
            _draw(round_, program, one, known[name])
            done += 1
        elif one.prize and name in known and _is_recent(known[name], now):
            _hand_out(round_, program, one, name, known[name].winners or ())
    return done


def _is_recent(known: Drawn, now: datetime) -> bool:
    return known.drawn_at is not None and now - known.drawn_at < _PATIENCE


def _is_more(round_: Round) -> bool:
    """Whether something that happened by now is still to be looked at."""
    newest = versions.newest_event(round_.conn)
    return versions.happened_by(round_.conn, round_.last_id, newest, round_.now) > round_.last_id


def _draw(round_: Round, program: ClassProgram, one: Draw, known: Drawn) -> None:
    conn, now = round_.conn, round_.now
    chances = tickets(round_, program, one, known)
    entered = [lottery.entry(known.name, n, f"{known.name}:{c.key}", program.unit, c.unit_id)
               for n, c in enumerate(chances)]  # fmt: skip
    numbers = lottery.winners(known.seed, entered, one.winners)
    draws.drawn(conn, known.name, program.unit, chances, lottery.digest(entered), numbers, now)
    won = [
        _of(program.unit, chances[number].unit_id, "draw_won", f"draw:{known.name}:{place}", now,
            {"draw": one.name, "place": place})
        for place, number in enumerate(numbers, 1)
    ]  # fmt: skip
    ingest.record_events(conn, won, now=now)
    _hand_out(round_, program, one, known.name, numbers)


def _hand_out(round_: Round, program: ClassProgram, one: Draw, name: str, numbers: Sequence[int]) -> None:
    """Give the prize to each winner, once: a code of a pool, or a reward at no cost. Where the pool is empty, another
    look gives the rest."""
    conn, project, now = round_.conn, round_.project, round_.now
    catalogue = program.rewards.get(one.prize)
    pool = one.prize if one.prize in project.vocabulary.loyalty.pools else catalogue.voucher if catalogue else ""
    if not pool and catalogue is None:
        return
    keys = {place: f"draw:{name}:{place}" for place in range(1, len(numbers) + 1)}
    given = draws.given(conn, keys.values(), of_pool=bool(pool))
    if given.issuperset(keys.values()):
        return
    winners = [w for w in draws.owners(conn, name, numbers) if keys[w.place] not in given]
    if pool:
        asked = [Asked(keys[w.place], pool, w.unit, w.unit_id) for w in winners]
        round_.pools.add(pool)
        reward.give(conn, project, asked, now)
        return
    for w in winners:
        claims.add(conn, _claim(keys[w.place], one.prize, w, now))


def _claim(key: str, name: str, winner: Winner, now: datetime) -> dict[str, Any]:
    """A reward that was won: it waits to be handed over as any other."""
    return {
        "key": key,
        "reward": name,
        "unit": winner.unit,
        "unit_id": winner.unit_id,
        "customer_id": winner.unit_id if winner.unit == "customer" else None,
        "cost": 0,
        "voucher_id": None,
        "state": "claimed",
        "job": None,
        "at": now,
        "settled_at": None,
    }


def tickets(round_: Round, program: ClassProgram, one: Draw, known: Drawn) -> list[Chance]:
    """Everybody's chances as they stand, in the order of their numbers: by when they were earned, then by whose."""
    conn, unit = round_.conn, program.unit
    opens, closes = times_of(one, round_.project.vocabulary)
    since = opens or known.opened_at
    if one.open_to is not None:
        may = set(challenges.fulfilling(conn, round_.segments, one.open_to, program.class_name, unit, round_.now))
    else:
        may = set(conn.execute(draws.living(conn, program.class_name, unit)).scalars())
    if one.entry == "challenge":
        found = draws.by_challenges(conn, {c.name for c in program.challenges}, unit, since, closes)
    elif one.entry == "points":
        found = draws.by_points(conn, unit, max(one.per_points, 1), since, closes)
    else:
        found = [Chance(f"each:{unit}:{unit_id}", unit_id, since) for unit_id in may]
    return sorted((c for c in found if c.unit_id in may), key=lambda c: (c.at, c.unit_id, c.key))


def of_unit(found: Iterable[Chance], unit_id: int) -> int:
    """How many of them are one unit's."""
    return sum(1 for one in found if one.unit_id == unit_id)
