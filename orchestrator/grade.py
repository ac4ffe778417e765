"""Who rises and who falls: classes by rule, tiers by score, reviews, protection.

What a tier comes to is `ladder`'s; here it is asked of the database and written. Every unit of a class with a tier
rule is looked at when something new touches it, and once on each of its own days, just after midnight. A look that
comes late steps through what it missed in order, each review judged on what was known at its own instant, so that
nobody's tier hangs on when a tick ran.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator.belong import Part, belong, by_contract, joins, leave, next_midnight, parts
from orchestrator.condition import Condition, Expression
from orchestrator.ladder import (
    Found,
    Progress,
    Stand,
    moved,
    progress,
    reached_by,
    reviews,
    said,
)
from orchestrator.model import Kind, Unit
from orchestrator.program import ClassProgram
from orchestrator.project import Project
from orchestrator.rows import default_class, direction
from orchestrator.store import loyalty, people, tiers, versions
from orchestrator.store.loyalty import Member, Round
from orchestrator.store.people import TierChange
from orchestrator.store.segments import Segments
from orchestrator.store.tiers import Graded
from orchestrator.zones import first_known, instant

BATCH = 10_000
"""Units looked at by one statement, and how many of those that are due a look takes."""
STEPS = 64
"""Instants that a look steps through, beside reviews: of more arrivals between two looks some are taken together."""
_FURTHEST: Final = timedelta(hours=14)
"""No local clock is further ahead of UTC."""
_NOBODY: Final = Graded()
_WRITTEN: Final = ("score", "score_currency", "next_tier", "missing", "shortfall", "review_on", "protected",
                   "tier_since", "below_since", "held_until", "held_below", "reviewed_on", "graded_tier")  # fmt: skip


# ---- the programme itself -------------------------------------------------------------------------------------------

_RULES = "graded_rules"


def kept_names(project: Project) -> list[str]:
    """Under which names what `place` asks for is kept."""
    return [_RULES, *map(tiers.since_name, project.program.classes)]


def is_edited(round_: Round) -> bool:
    """Whether another programme is in force than the last look saw."""
    return round_.kept.number(_RULES) != _rules(round_.project)


def _rules(project: Project) -> int:
    """One number for the rules that this module looks at people by."""
    said_ = [project.program.hash, project.vocabulary.timezone]
    for name, mine in sorted(project.program.classes.items()):
        score = mine.tier_by.text if mine.tier_by else ""
        said_ += [name, score, repr(sorted(mine.thresholds.items())), repr(mine.downgrade), repr(mine.membership)]
    said_ += [f"{name}={rule.text}" for name, rule in sorted(project.class_rules.items())]
    return int.from_bytes(hashlib.sha256("\n".join(said_).encode()).digest()[:6], "big")


def heed_edits(round_: Round) -> Round:
    """A programme that is new or another one has everybody of its classes looked at, in batches; since when a class
    has a programme is noted, because whoever was there before comes in quietly. The round with what is kept now."""
    conn, project = round_.conn, round_.project
    force = versions.newest(conn)
    for name, mine in project.program.classes.items():
        if tiers.program_since(conn, name) is None:
            tiers.begin_program(conn, name, force.at if force is not None else round_.now)
        if mine.tier_by is not None or mine.membership is not None:
            tiers.wake_class(conn, name, mine.unit, round_.now)
    units: tuple[Unit, Unit] = ("customer", "account")
    for unit in units:
        outside = [name for name in project.vocabulary.classes if not joins(project, name, unit)]
        tiers.leave_classes(conn, unit, outside, round_.now)
    versions.set_number(conn, _RULES, _rules(project))
    return replace(round_, kept=versions.settings(conn, *kept_names(project)))


# ---- classes --------------------------------------------------------------------------------------------------------


def classify(round_: Round) -> Round:
    """The round with everybody touched in the class that the rules say, where nobody stated one: the first rule that is
    true, in the order written; none true: the first class without a rule. Edited rules are asked of everybody."""
    rules = round_.project.class_rules
    if not rules:
        return round_
    everybody = is_edited(round_)
    units: tuple[Unit, Unit] = ("account", "customer")  # a contact's rule may ask for the account's class
    for unit in units:
        round_ = _classified(round_, unit, everybody)
    return round_


def _classified(round_: Round, unit: Unit, everybody: bool) -> Round:
    conn, project = round_.conn, round_.project
    among = round_.customers if unit == "customer" else round_.accounts
    if not everybody and not among:
        return round_
    ids = tiers.unstated(conn, unit, None if everybody else sorted(among))
    asks = {
        name: rule.customers if unit == "customer" else rule.accounts
        for name, rule in project.class_rules.items()
        if unit == "customer" or rule.accounts is not None
    }
    fallback = default_class(project.vocabulary, unit)
    known = {i: among[i] for i in ids if i in among}
    known |= loyalty.members(conn, unit, [i for i in ids if i not in among])
    found: dict[int, str] = {}
    wanted = [ask for ask in asks.values() if ask is not None]
    for i, (truths, _) in round_.segments.of_units(conn, wanted, unit, sorted(known), round_.now).items():
        name = next((n for n, ask in asks.items() if ask is not None and truths[ask.text] is True), fallback)
        if name is not None and name != known[i].class_name:
            found[i] = name
    if not found:
        return round_
    changes = [
        TierChange(unit, i, name, known[i].tier, None, "set", "class")
        for i, name in found.items()
        if known[i].tier is not None
    ]
    tiers.set_classes(conn, unit, found)
    people.add_tier_changes(conn, changes, round_.now)
    fresh = {**among, **{i: replace(known[i], class_name=name, tier=None) for i, name in found.items()}}
    return replace(round_, customers=fresh) if unit == "customer" else replace(round_, accounts=fresh)


def place(round_: Round, *, due: bool) -> int:
    """Who joins and who leaves, who rises and who falls: of the touched units, and of those whose day has come. `due`:
    whether anybody's had when the look began. Returns how many changed."""
    conn, edited = round_.conn, is_edited(round_)
    round_ = heed_edits(round_) if edited else round_
    passed = _passed_over(round_) if due and not edited else 0
    waiting = tiers.due(conn, round_.now, BATCH - passed)
    known = {unit: _members(round_, unit, ids) for unit, ids in waiting.items()}
    left = leave(round_, known)
    some = parts(round_, known)
    changed = left + belong(some) + climb(some)
    for unit, ids in waiting.items():
        theirs = known[unit]
        if gone := [i for i in ids if i not in theirs or not _has_rules(round_.project, theirs[i])]:
            tiers.rest(conn, unit, gone)
    return changed


def _passed_over(round_: Round) -> int:
    """Most nights nothing changes for most: of whom the database says so, nothing is done but to look again when the
    next day begins. Returns how many they are."""
    now, home = round_.now, round_.project.vocabulary.timezone
    day, passed = (now + _FURTHEST).date(), 0
    again: dict[Unit, dict[datetime, list[int]]] = {}
    for program in round_.project.program.classes.values():
        if program.membership is not None and by_contract(program.membership):
            continue
        touched = round_.among(program.unit)
        found = tiers.unchanged(round_.conn, round_.segments, program, touched, day, now, BATCH)
        for (name, due_at), ids in found.items():
            tz = first_known(name, home)
            # Due by the clock alone, and not because somebody said so.
            if instant(due_at.astimezone(tz).date(), time(), tz) == due_at:
                again.setdefault(program.unit, {}).setdefault(next_midnight(now, tz), []).extend(ids)
                passed += len(ids)
    for unit, theirs in again.items():
        tiers.look_again(round_.conn, unit, theirs)
    return passed


def _members(round_: Round, unit: Unit, ids: Sequence[int]) -> dict[int, Member]:
    touched = round_.among(unit)
    known = loyalty.members(round_.conn, unit, [i for i in ids if i not in touched])
    return {i: found for i in ids if (found := touched.get(i) or known.get(i)) is not None}


def _has_rules(project: Project, member: Member) -> bool:
    program = project.program.classes.get(member.class_name)
    if program is None or program.unit != member.unit:
        return False
    return program.tier_by is not None or program.membership is not None


# ---- tiers ----------------------------------------------------------------------------------------------------------


def climb(some: Iterable[Part]) -> int:
    """Tiers of the touched units and of those whose day has come. Returns how many changed."""
    changed = 0
    again: dict[Unit, dict[datetime, list[int]]] = {}
    conn = None
    for part in some:
        if part.program.tier_by is not None:
            conn = part.round_.conn
            climbed = _climbed(part, again.setdefault(part.program.unit, {}))
            part.round_.done["tiers_changed"] += climbed
            changed += climbed
    for unit, due in again.items():
        assert conn is not None
        tiers.look_again(conn, unit, due)
    return changed


def _climbed(part: Part, again: dict[datetime, list[int]]) -> int:
    """`again`: when to look again at whom; put there."""
    round_, program, members, rows = part.round_, part.program, part.members, part.standing()
    if program.membership is not None:
        members = {i: m for i, m in members.items() if i in rows and rows[i].member == "active"}
    if not members:
        return 0
    look = _Look(round_.conn, round_.segments, program, round_.project)
    since = round_.kept.instant(tiers.since_name(program.class_name)) or round_.now
    for i, member in members.items():
        row = rows.get(i, _NOBODY)
        came, old = None, False
        if row.reviewed_on is None:
            came = began(member.created_at, row.member_since, since, look.zone_of(member))
            old = came == since and member.created_at < since
        look.add(member, row, came, old=old)
    events = round_.arrived.get(program.unit, {})
    arrived = {i: {at for at in events[i] if at > since} for i in events.keys() & members.keys()}
    for i in arrived.keys() & look.stated.keys():
        arrived[i].add(look.stated[i])
    look.walk(_thinned(arrived), round_.now)
    look.write(rows, round_.now, again)
    return len(look.changes)


def began(created_at: datetime, member_since: date | None, since: datetime, tz: ZoneInfo) -> datetime:
    """When somebody came under the programme: it was there, she was there, and a member."""
    start = max(created_at, since)
    return start if member_since is None else max(start, instant(member_since, time(), tz))


def _thinned(arrived: Mapping[int, Iterable[datetime]]) -> dict[datetime, list[int]]:
    """Units by the instants at which something new came to count for them, at most STEPS instants."""
    found: dict[datetime, list[int]] = {}
    for i, instants in arrived.items():
        for at in instants:
            found.setdefault(at, []).append(i)
    order = sorted(found)
    kept = order[:: -(-len(order) // STEPS)] if order else []
    return {at: found[at] for at in kept}


@dataclass(slots=True)
class _Look:
    """Units of one class on their way up or down the ladder, instant by instant."""

    conn: sa.Connection
    segments: Segments
    program: ClassProgram
    project: Project
    members: dict[int, Member] = field(default_factory=dict)
    stands: dict[int, Stand] = field(default_factory=dict)
    found: dict[int, Found] = field(default_factory=dict)
    since: dict[int, datetime | None] = field(default_factory=dict)
    imposed: dict[int, str | None] = field(default_factory=dict)
    told: dict[tuple[datetime, int], str | None] = field(default_factory=dict)  # of a replay: what was imposed when
    stated: dict[int, datetime] = field(default_factory=dict)  # came with a tier, which is judged as of then
    quiet: dict[int, datetime] = field(default_factory=dict)  # were there before the programme: since when it is
    changes: list[TierChange] = field(default_factory=list)

    def zone_of(self, member: Member) -> ZoneInfo:
        return member.tz(self.project.vocabulary.timezone)

    def add(self, member: Member, row: Graded, came: datetime | None, *, old: bool) -> None:
        """`row`: what stands in the derived table; `came`: when she came under the programme, where this is the first
        look at her; `old`: she was there before it."""
        i = member.id
        self.members[i] = member
        if came is None:
            known = Stand(row.graded_tier, row.below_since, row.held_until, row.reviewed_on, row.held_below)
            self.since[i] = row.tier_since
        else:
            known = Stand(None, reviewed_on=came.astimezone(self.zone_of(member)).date())
            self.since[i] = None
            if old:
                self.quiet[i] = came
            elif member.tier is None and self.program.tiers:  # whoever is new begins at the foot
                known = replace(known, tier=self.program.tiers[0])
                self.stands[i] = known
                self._changed(i, None, known.tier, "first", came)
            else:
                self.stated[i] = came
        if member.tier != (row.graded_tier if came is None else None):
            self.imposed[i] = member.tier
        self.stands[i] = known

    def walk(self, arrived: Mapping[datetime, Iterable[int]], now: datetime) -> None:
        """Through what came and the reviews, in order, to now."""
        steps: dict[datetime, dict[int, date | None]] = {at: dict.fromkeys(ids) for at, ids in arrived.items()}
        for i, stand in self.stands.items():
            tz = self.zone_of(self.members[i])
            last = stand.reviewed_on
            assert last is not None
            for day in reviews(self.program.downgrade.review, last, now.astimezone(tz).date()):
                steps.setdefault(instant(day, time(), tz), {})[i] = day
            steps.setdefault(min(now, self.quiet.get(i, now)), {}).setdefault(i, None)
            steps.setdefault(now, {}).setdefault(i, None)
        for at in sorted(steps):
            self._step(at, steps[at])

    def _step(self, at: datetime, review_of: Mapping[int, date | None]) -> None:
        self._ask(at, list(review_of))
        for i, review in review_of.items():
            found, tz = self.found[i], self.zone_of(self.members[i])
            stand = self.stands[i]
            if (at, i) in self.told:
                self.imposed[i] = self.told[at, i]
            if i in self.imposed:
                stand = self._told(i, stand, at.astimezone(tz).date())
                self.since[i] = at if stand.tier is not None else self.since[i]
            if stand.tier is None or stand.tier not in self.program.tiers:
                stand = self._first(i, stand, at)
            after = moved(self.program, stand, found, review)
            if after.tier != stand.tier:
                self._changed(i, stand.tier, after.tier, "review" if review is not None else "score", at)
            self.stands[i] = after

    def _ask(self, at: datetime, ids: Sequence[int]) -> None:
        score, protected = self.program.tier_by, self.program.downgrade.protected_if
        assert score is not None
        asks: list[Condition | Expression] = [score] if protected is None else [score, protected]
        for i, (truths, values) in self.segments.of_units(self.conn, asks, self.program.unit, ids, at).items():
            value = values[score.text]
            known = float(value) if isinstance(value, int | float) else None
            self.found[i] = Found(known, protected is not None and truths[protected.text] is True)

    def _told(self, i: int, stand: Stand, today: date) -> Stand:
        """Somebody else has set the tier. Whoever was there before the programme is not held below her score."""
        tier = self.imposed.pop(i)
        if i in self.quiet and tier is not None:
            reached = reached_by(self.program, self.found[i].score)
            after = said(self.program, stand, tier, self.found[i], today)
            held = after.held_until is not None or after.held_below is not None
            return replace(stand, tier=None if held and reached is not None else tier)
        return said(self.program, stand, tier, self.found[i], today)

    def _first(self, i: int, stand: Stand, at: datetime) -> Stand:
        """No tier of this class: she gets what her score is enough for, and nothing is made of it."""
        tier = reached_by(self.program, self.found[i].score)
        tier = tier or (self.program.tiers[0] if self.program.tiers else None)
        self._changed(i, self.members[i].tier, tier, "first", at)
        return replace(stand, tier=tier, below_since=None, held_until=None, held_below=None)

    def _changed(self, i: int, before: str | None, after: str | None, reason: str, at: datetime) -> None:
        self.since[i] = at
        if before == after:
            return
        name, unit = self.program.class_name, self.program.unit
        way = "set" if reason == "first" else direction(self.project.vocabulary, name, before, after)
        if reason == "review" and way == "up":
            reason = "score"
        self.changes.append(TierChange(unit, i, name, before, after, way, reason, at))

    def progress_of(self, i: int, now: datetime) -> Progress:
        today = now.astimezone(self.zone_of(self.members[i])).date()
        return progress(self.program, self.stands[i], self.found[i], today)

    def write(self, known: Mapping[int, Graded], now: datetime, again: dict[datetime, list[int]]) -> None:
        """The tiers, their ledger, and the derived rows that are not as `known`: a fixed number of statements. Who of
        the others is to be looked at at another time than it says there goes into `again`."""
        unit, score = self.program.unit, self.program.tier_by
        currency = self.project.vocabulary.currency if score is not None and score.kind is Kind.MONEY else None
        risen = {i: s.tier for i, s in self.stands.items() if s.tier != self.members[i].tier}
        tiers.set_tiers(self.conn, unit, risen)
        people.add_tier_changes(self.conn, self.changes, now)
        rows = {}
        for i, stand in self.stands.items():
            told, there = self.progress_of(i, now), known.get(i, _NOBODY)
            row = there._replace(
                score=told.score,
                score_currency=currency,
                next_tier=told.next_tier,
                missing=told.missing,
                shortfall=told.shortfall,
                review_on=told.review_on,
                protected=told.protected,
                tier_since=self.since[i] or now,
                below_since=stand.below_since,
                held_until=stand.held_until,
                held_below=stand.held_below,
                reviewed_on=stand.reviewed_on,
                graded_tier=stand.tier,
            )
            due_at = next_midnight(now, self.zone_of(self.members[i]))
            if not there.there or row != there:
                rows[i] = {name: getattr(row, name) for name in _WRITTEN} | {"tier_due": due_at}
            elif there.tier_due != due_at:
                again.setdefault(due_at, []).append(i)  # most nights nothing has changed for most
        loyalty.write(self.conn, unit, rows, now, there=known)


# ---- from scratch ---------------------------------------------------------------------------------------------------


class Rebuilt(NamedTuple):
    """What a replay comes to: where the unit stands, and its changes as (tier, why, when), oldest first."""

    stand: Stand
    changes: tuple[tuple[str | None, str, datetime], ...]


def rebuilt(
    conn: sa.Connection, project: Project, segments: Segments, class_name: str, ids: Sequence[int], now: datetime
) -> dict[int, Rebuilt]:
    """Tiers from the beginning: events and imported tiers, each at the instant at which it was known, and the reviews
    between them. KeyError where the class has no programme.

    What is kept equals this, where every arrival got a look before the next one came (as with `STEPS` arrivals between
    two looks it does). What is no event, such as attributes and zones, counts as it is now.
    """
    program = project.program.classes[class_name]
    members = loyalty.members(conn, program.unit, ids)
    look = _Look(conn, segments, program, project)
    rows = tiers.graded(conn, program.unit, ids)
    since = tiers.program_since(conn, class_name) or now
    arrived: dict[datetime, list[int]] = {}
    imposed = tiers.set_by_others(conn, program.unit, ids)
    for i, member in members.items():
        came = began(member.created_at, rows.get(i, _NOBODY).member_since, since, look.zone_of(member))
        told_before = [tier for at, tier in imposed.get(i, []) if at <= came]
        old = came == since and member.created_at < since
        look.add(replace(member, tier=told_before[-1] if told_before else None), _NOBODY, came, old=old)
        for at, tier in imposed.get(i, []):
            if at > came:
                look.told[at, i] = tier
                arrived.setdefault(at, []).append(i)
    for i, came in look.stated.items():
        arrived.setdefault(came, []).append(i)
    newest = versions.newest_event(conn)
    for found in (
        tiers.arrivals(conn, program.unit, ids, 0, newest, since, now),
        tiers.point_arrivals(conn, program.unit, ids, since, now),
    ):
        for i, instants in found.items():
            for at in instants:
                arrived.setdefault(at, []).append(i)
    look.walk({at: found for at, found in arrived.items() if at < now}, now)
    told: dict[int, list[tuple[str | None, str, datetime]]] = {i: [] for i in members}
    for change in look.changes:
        told[change.unit_id].append((change.to_tier, change.reason, change.at or now))
    return {i: Rebuilt(look.stands[i], tuple(told[i])) for i in members}
