"""Membership: who joins, by what; how long it lasts; who is renewed and who leaves; the benefit of joining.

What a time of membership comes to is `ladder`'s (`terms`, `covering`); here what it is made of is read, and what
changed since the last look is written and told as events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator.ingest import record_events
from orchestrator.ladder import Term, covering, terms
from orchestrator.model import Kind, Unit
from orchestrator.program import ClassProgram, Membership
from orchestrator.project import Project
from orchestrator.reward import Asked, give
from orchestrator.store import loyalty, tiers, versions, vouchers
from orchestrator.store.loyalty import Member, Round
from orchestrator.store.tiers import Graded
from orchestrator.store.versions import Settings
from orchestrator.zones import instant

BATCH = 10_000
"""Units asked for by one statement."""
STARTS: Final = ("starts", "start", "begins", "since")
ENDS: Final = ("ends", "end", "until", "valid_until")
GOES_ON: Final = "auto_renew"
"""Fields of records that make a member, by which it is known for how long; nobody names them elsewhere."""
PATIENCE: Final = timedelta(days=60)
"""For so long a benefit is owed that an empty pool did not have."""
_DAY, _INSTANT = timedelta(days=1), timedelta(microseconds=1)


def belong(parts: Iterable[Part]) -> int:
    """Memberships that begin, are renewed and end. Returns how many."""
    return sum(
        _Belonging(part.round_, part.program, part.program.membership, part).settle()
        for part in parts
        if part.program.membership is not None
    )


def leave(round_: Round, due: Mapping[Unit, Mapping[int, Member]]) -> int:
    """Touched and due units that came into a class which nobody joins are no members any more. Returns how many."""
    project, told = round_.project, list[dict[str, Any]]()
    if all(program.membership is None for program in project.program.classes.values()):
        return 0
    for unit, theirs in due.items():
        units = {**round_.among(unit), **theirs}
        outside = [i for i, member in units.items() if not joins(project, member.class_name, unit)]
        rows = {i: row for i, row in tiers.graded(round_.conn, unit, outside).items() if row.member is not None}
        for i, row in rows.items():
            told += [_event(round_, units[i], *what) for what in _between(_kept(row), _NOT_IN)]
        loyalty.write(round_.conn, unit, dict.fromkeys(rows, tiers.NO_MEMBER), round_.now, there=rows)
    record_events(round_.conn, told, now=round_.now)
    round_.done.update(row["type"] for row in told)
    return len(told)


def joins(project: Project, class_name: str, unit: Unit) -> bool:
    """Whether units of that kind can be members in a class."""
    program = project.program.classes.get(class_name)
    return program is not None and program.unit == unit and program.membership is not None


class _Stay(NamedTuple):
    """Of one unit: the time that counts now (None: none yet), when it became known, and whether to look again though
    nothing new comes."""

    term: Term | None
    at: datetime | None
    wait: bool = False


_NO_STAY: Final = _Stay(None, None)
_NOBODY: Final = Graded()


@dataclass(slots=True)
class _Belonging:
    """The touched or due units of a class whose programme one joins."""

    round_: Round
    program: ClassProgram
    membership: Membership
    part: Part

    @property
    def members(self) -> Mapping[int, Member]:
        return self.part.members

    def settle(self) -> int:
        conn, now, unit = self.round_.conn, self.round_.now, self.program.unit
        rows = self.part.standing()
        stays = self._stays()
        since = self.round_.kept.instant(tiers.since_name(self.program.class_name)) or now
        told: list[dict[str, Any]] = []
        written: dict[int, dict[str, Any]] = {}
        started: list[Member] = []
        for i, member in self.members.items():
            row, stay, today = rows.get(i, _NOBODY), stays.get(i, _NO_STAY), self._today(member)
            before, after = _kept(row), _as_kept(stay.term, today)
            silent = stay.at is None or stay.at < since
            for kind, mark in _between(before, after) if after != before else ():
                if silent and (kind == "membership_started" or before.state == "none"):
                    continue
                told.append(_event(self.round_, member, kind, mark))
                if kind == "membership_started":
                    started.append(member)
            again = stay.wait or (after.state == "active" and after.until is not None)
            # Whoever has a tier is looked at for it yet in this look, and then says when to look again.
            climbs = self.program.tier_by is not None and after.state == "active"
            waited = row.tier_due is not None and row.tier_due <= now
            if after != before or (not climbs and (again or waited)):
                due_at = next_midnight(now, self._tz(member)) if again else None
                written[i] = {"member": after.state, "member_since": after.since, "member_until": after.until}
                written[i]["tier_due"] = due_at
        loyalty.write(conn, unit, written, now, there=rows)
        self.part.note(written)
        if idle := [i for i in self.members if (w := written.get(i)) and w["member"] != "active" and not w["tier_due"]]:
            tiers.rest(conn, unit, idle)
        record_events(conn, told, now=now)
        self.round_.done.update(row["type"] for row in told)
        give_benefit(self.round_, self.program, started)
        return len(told)

    def _tz(self, member: Member) -> ZoneInfo:
        return member.tz(self.round_.project.vocabulary.timezone)

    def _today(self, member: Member) -> date:
        return self.round_.now.astimezone(self._tz(member)).date()

    # ---- how one comes in

    def _stays(self) -> dict[int, _Stay]:
        m = self.membership
        if by_contract(m):
            return self._by_contract()
        event = m.event or (self._purchase() if m.joins == "purchase" else "")
        return self._by_event(event) if event else self._free()

    def _purchase(self) -> str:
        value = self.round_.project.program.value
        return (value.event if value is not None else "") or "order_placed"

    def _free(self) -> dict[int, _Stay]:
        found = {}
        for i, member in self.members.items():
            tz, today = self._tz(member), self._today(member)
            made = member.created_at.astimezone(tz).date()
            day = min(member.joined or made, today)
            at = member.created_at if day >= made else instant(day, time(), tz)
            times = terms(self.membership, [day], today)
            found[i] = _Stay(times[-1] if times else None, at)
        return found

    def _by_event(self, event: str) -> dict[int, _Stay]:
        happened = tiers.happenings(self.round_.conn, self.program.unit, list(self.members), event, self.round_.now)
        found = {}
        for i, instants in happened.items():
            tz = self._tz(self.members[i])
            by_day = {at.astimezone(tz).date(): at for at in reversed(instants)}
            days = [at.astimezone(tz).date() for at in instants]
            times = terms(self.membership, days, self._today(self.members[i]))
            found[i] = _Stay(times[-1] if times else None, by_day.get(times[-1].since) if times else None)
        return found

    def _by_contract(self) -> dict[int, _Stay]:
        """By records: those that the programme's value calls contracts, else those of the name."""
        vocabulary, value = self.round_.project.vocabulary, self.round_.project.program.value
        kind = value.contract if value is not None and value.contract else self.membership.joins
        type_ = vocabulary.records.get(kind)
        if type_ is None or type_.of != self.program.unit:
            return {}
        dates = [name for name, f in type_.fields.items() if f.kind is Kind.DATE]
        ends = value.contract_ends if value is not None and value.contract == kind else ""
        ends = ends or next((n for n in ENDS if n in dates), "")
        starts = next((n for n in STARTS if n in dates), "")
        flags = [name for name, f in type_.fields.items() if f.kind is Kind.YES_NO]
        goes_on = GOES_ON if GOES_ON in flags else ""
        rows = tiers.contracts(self.round_.conn, self.program.unit, list(self.members), kind, starts, ends, goes_on)
        found = {}
        for i, contracts in rows.items():
            tz, today = self._tz(self.members[i]), self._today(self.members[i])
            spans = [(c.starts or c.created_at.astimezone(tz).date(), None if c.goes_on else c.ends) for c in contracts]
            found[i] = _Stay(
                covering(spans, today), max(c.created_at for c in contracts), any(s > today for s, _ in spans)
            )
        return found


def by_contract(membership: Membership) -> bool:
    """Whether records make a member; else an event does, or nothing but to be there."""
    return not membership.event and membership.joins not in ("free", "purchase")


class _Kept(NamedTuple):
    """Membership as it stands in the derived row."""

    state: str
    since: date | None
    until: date | None


_NOT_IN: Final = _Kept("none", None, None)


def _event(round_: Round, member: Member, kind: str, mark: date) -> dict[str, Any]:
    whose = {"customer_id": member.id, "account_id": member.account_id}
    if member.unit == "account":
        whose = {"customer_id": None, "account_id": member.id}
    key = f"{member.class_name}:{member.unit}:{member.id}:{mark.isoformat()}"
    said = {"class_name": member.class_name}
    return {"type": kind, "key": key, **whose, "occurred_at": round_.now, "properties": said}


def _kept(row: Graded) -> _Kept:
    return _Kept(row.member or "none", row.member_since, row.member_until)


def _as_kept(term: Term | None, today: date) -> _Kept:
    if term is None:
        return _NOT_IN
    return _Kept("active" if term.until is None or term.until >= today else "lapsed", term.since, term.until)


def _between(before: _Kept, after: _Kept) -> list[tuple[str, date]]:
    """What happened, each with the day that it is told once for."""
    found: list[tuple[str, date]] = []
    if after.state == "none":
        if before.state == "active" and before.since is not None:
            found.append(("membership_ended", before.until or before.since))
        return found
    assert after.since is not None
    if before.state == "none" or before.since != after.since:
        if before.state == "active" and before.until is not None and before.until < after.since:
            found.append(("membership_ended", before.until))
        if before.state != "active" or before.until is None or before.until < after.since:
            found.append(("membership_started", after.since))
    elif before.until is not None and (after.until is None or after.until > before.until):
        found.append(("membership_renewed", after.until or date.max))
    if after.state == "lapsed" and before.state != "lapsed" and after.until is not None:
        found.append(("membership_ended", after.until))
    return found


def give_benefit(round_: Round, program: ClassProgram, started: Sequence[Member]) -> None:
    """The instant benefit of joining, once for each new member; `catch_up` gives what the pool does not have."""
    if program.membership is None or not program.membership.benefit or not started:
        return
    name, unit = program.class_name, program.unit
    pool = program.membership.benefit
    asked = [Asked(vouchers.benefit_key(name, m.unit, m.id), pool, m.unit, m.id) for m in started]
    given = give(round_.conn, round_.project, asked, round_.now)
    round_.pools.add(pool)
    mark = _owed_name(name)
    if all(a.key in given for a in asked) or versions.settings(round_.conn, mark).number(mark):
        return
    # From the first of these on: who joined before there was a benefit is owed none.
    if first := vouchers.owed(round_.conn, name, unit, 0, round_.now - _INSTANT, 1):
        versions.set_number(round_.conn, mark, first[0][0])


def kept_names(project: Project) -> list[str]:
    """Under which names it is kept since which event a benefit is owed, by class; 0: none is."""
    return [_owed_name(p.class_name) for p in project.program.classes.values() if _benefit(p)]


def _owed_name(class_name: str) -> str:
    return f"benefit_owed:{class_name}"


def _benefit(program: ClassProgram) -> str:
    return program.membership.benefit if program.membership is not None else ""


def catch_up(conn: sa.Connection, project: Project, kept: Settings, now: datetime) -> tuple[int, set[str]]:
    """Benefits that an empty pool did not have when somebody joined, within `PATIENCE`, in the order of joining.
    Returns how many, and the pools asked. No statement where none is owed."""
    done, pools = 0, set()
    for program in project.program.classes.values():
        pool, mark = _benefit(program), _owed_name(program.class_name)
        first = kept.number(mark)
        if not pool or not first:
            continue
        many = min(BATCH, max(1, vouchers.free(conn, [pool])[pool]))
        rows = vouchers.owed(conn, program.class_name, program.unit, first, now - PATIENCE, many)
        if not rows:
            versions.set_number(conn, mark, 0)
            continue
        pools.add(pool)
        ids = dict.fromkeys(unit_id for _, unit_id in rows)
        asked = [Asked(vouchers.benefit_key(program.class_name, program.unit, i), pool, program.unit, i) for i in ids]
        done += len(give(conn, project, asked, now))
    return done, pools


# ---- units and their days -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Part:
    """Units of one class that a look is about. `shared`: what stands of the units of that kind, where they are few
    enough for it to be read for all classes at once; what is written meanwhile is noted there."""

    round_: Round
    program: ClassProgram
    members: Mapping[int, Member]
    shared: dict[int, Graded] | None = None

    def standing(self) -> Mapping[int, Graded]:
        """What stands of each now, by unit id."""
        return (
            self.shared
            if self.shared is not None
            else tiers.graded(self.round_.conn, self.program.unit, [*self.members])
        )

    def note(self, written: Mapping[int, Mapping[str, Any]]) -> None:
        if self.shared is not None:
            for i, values in written.items():
                self.shared[i] = self.shared.get(i, _NOBODY)._replace(**values, there=True)


def parts(round_: Round, due: Mapping[Unit, Mapping[int, Member]]) -> list[Part]:
    """Touched and due units by class, of those with a tier or a membership, in the programme's order; in bounds."""
    found: list[Part] = []
    of: dict[tuple[Unit, str], dict[int, Member]] = {
        (program.unit, name): {}
        for name, program in round_.project.program.classes.items()
        if program.tier_by is not None or program.membership is not None
    }
    shared: dict[Unit, dict[int, Graded] | None] = {}
    for unit, theirs in due.items():
        units = {**round_.among(unit), **theirs}
        for i in sorted(units):
            if (mine := of.get((unit, units[i].class_name))) is not None:
                mine[i] = units[i]
        ids = [i for (other, _), mine in of.items() if other == unit for i in mine]
        shared[unit] = tiers.graded(round_.conn, unit, ids) if len(ids) <= BATCH else None
    for (unit, name), mine in of.items():
        ids_of = iter(mine)
        while some := list(islice(ids_of, BATCH)):
            members = {i: mine[i] for i in some}
            found.append(Part(round_, round_.project.program.classes[name], members, shared[unit]))
    return found


@lru_cache(maxsize=1_000)
def next_midnight(now: datetime, tz: ZoneInfo) -> datetime:
    """The instant at which the next local day begins."""
    day = now.astimezone(tz).date() + _DAY
    while (at := instant(day, time(), tz)) <= now:  # a date that the zone left out
        day += _DAY
    return at
