"""Points: earned by events, awarded and deducted by journeys, spent, expired, taken back on a refund.

Every entry is keyed by what made it, so that whatever is done again is done once. Balances are what `ledger` makes of
the entries; whoever writes entries of a unit holds its row of `loyalty` meanwhile, so that two who spend at the same
moment come one after the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator.apply import in_force
from orchestrator.dates import after, day_after
from orchestrator.ingest import record_events
from orchestrator.ledger import Entry, Standing
from orchestrator.ledger import settle as settled
from orchestrator.model import Kind, Unit
from orchestrator.opening import ImportRefused
from orchestrator.program import ClassProgram, EarnRule, Refund
from orchestrator.project import Project
from orchestrator.store import loyalty, points
from orchestrator.store.loyalty import Member, Round
from orchestrator.store.points import Case, Deed, Earned, Happened
from orchestrator.store.versions import settings
from orchestrator.words import Duration
from orchestrator.zones import instant

DUE = 5_000
"""Units for whom the clock has changed something that a look takes at once."""
MOST = 10**12
"""Points of one entry at most. What a source tells by mistake must not outgrow a column: it would hold up everybody."""
EXPIRED = "points_expired"
_DAY = timedelta(days=1)
_UNITS: tuple[Unit, ...] = ("customer", "account")
_COLUMNS = ("points", "points_pending", "points_earned", "points_expiring", "points_expire_on", "points_due")


class Award(NamedTuple):
    """Points to give (positive) or to take (negative) by hand, a journey, a challenge, a referral. `key`: what for;
    the same key twice is once. `kind`: award or deduct; spend for a reward. `points` of a deduct or a spend may have
    either sign. `at`: when, now for want of it. `expires_on` None: as the class's rule says."""

    key: str
    unit: Unit
    unit_id: int
    points: int
    kind: str = "award"
    rule: str = ""
    customer_id: int | None = None
    event_id: int | None = None
    counts: bool = False
    at: datetime | None = None
    expires_on: date | None = None


# ---- given, taken, spent --------------------------------------------------------------------------------------------


def award(conn: sa.Connection, project: Project, awards: Sequence[Award], now: datetime) -> tuple[str, ...]:
    """Write them, and what follows for balances; returns the keys that were new and were written. Nobody's balance goes
    below nought by a deduction: what is not there is not taken, and a `spend` that is not covered is left out.

    A deduction that finds nothing is written as nought: the same key later takes nothing either. A customer who was
    merged away means the one who stayed; one who was erased is left out. Nothing is written for nought points.
    """
    wanted = _once(conn, awards)
    done: list[str] = []
    books = _Books(conn, project, now)
    ids = {unit: {a.unit_id for a in wanted if a.unit == unit} for unit in _UNITS}
    points.lock(conn, ids, now)
    there = points.known(conn, [a.key for a in wanted])  # behind the lock: who held it may have written one of them
    for unit in _UNITS:
        own = [a for a in wanted if a.unit == unit and a.key not in there]
        if not own:
            continue
        books.open(unit, {a.unit_id for a in own})
        rows = books.covered(unit, own)
        done += books.write(unit, rows)
        books.close(unit)
    given = set(done)
    return tuple(a.key for a in wanted if a.key in given)


def _once(conn: sa.Connection, awards: Sequence[Award]) -> list[Award]:
    """Each key once, of those who are still somebody, with signs as the ledger has them."""
    if not awards:
        return []
    kept = points.kept(conn, {a.unit_id for a in awards if a.unit == "customer"})
    found: dict[str, Award] = {}
    for a in awards:
        unit_id = kept.get(a.unit_id) if a.unit == "customer" else a.unit_id
        if unit_id is None or not a.points:
            continue
        kind = "deduct" if a.kind == "award" and a.points < 0 else a.kind
        amount = min(abs(a.points), MOST) if kind == "award" else -abs(a.points)
        found.setdefault(a.key, a._replace(unit_id=unit_id, kind=kind, points=amount))
    return list(found.values())


class Grant(NamedTuple):
    """Points as a file or a person gives them (negative: takes them); of a customer or of an account, by id. `key`
    carries nothing personal: what the outside calls it, hashed. `reason` stands in the ledger, too."""

    key: str
    customer_id: int | None
    account_id: int | None
    points: int
    at: datetime | None = None
    expires_on: date | None = None
    counts: bool | None = False
    reason: str | None = ""


def take_in(conn: sa.Connection, grants: Sequence[Grant], now: datetime) -> int:
    """Write these, each key once; how many were new. Where a customer's points are her account's, it is the account's.
    Raises ImportRefused where nothing is in force: nobody would know how long they last."""
    force = in_force(conn)
    if force is None:
        raise ImportRefused("nothing is in force yet: apply the workspace first, it says how long points last")
    whose = points.whose(conn, force.project, {g.customer_id for g in grants if g.customer_id is not None})
    wanted = []
    for g in grants:
        company: points.Owner | None = None if g.account_id is None else ("account", g.account_id)
        owner = whose.get(g.customer_id) if g.customer_id is not None else company
        if owner is not None:
            given = Award(f"hand:{g.key}", *owner, g.points, rule=f"by hand: {g.reason or 'import'}")
            wanted.append(
                given._replace(customer_id=g.customer_id, counts=bool(g.counts), at=g.at, expires_on=g.expires_on)
            )
    return len(award(conn, force.project, wanted, now))


# ---- one unit's books, and many at once -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Books:
    """The ledgers of the units that are written to in this transaction, locked; `members` and `entries` by unit id.
    `expired`: how many points were found to have."""

    conn: sa.Connection
    project: Project
    now: datetime
    members: dict[int, Member] = field(default_factory=dict)
    entries: dict[int, list[Entry]] = field(default_factory=dict)
    expired: int = 0

    def open(self, unit: Unit, ids: Iterable[int], known: Mapping[int, Member] | None = None) -> None:
        """Read them. Three statements, and one less where who they are is known."""
        wanted = sorted(set(ids))
        self.members = loyalty.members(self.conn, unit, wanted) if known is None else dict(known)
        self.entries = points.entries(self.conn, unit, self.members)

    def tz(self, unit_id: int) -> ZoneInfo:
        return self.members[unit_id].tz(self.project.vocabulary.timezone)

    def standing(self, unit_id: int) -> Standing:
        return settled(self.entries[unit_id], self.now, ends(self.tz(unit_id)))

    def expires_on(self, unit_id: int, active_at: datetime) -> date | None:
        """The last day of what is earned by the class's rule: counted from the local day on which it becomes active."""
        found = self.project.program.classes.get(self.members[unit_id].class_name)
        if found is None or found.expire is None:
            return None
        return day_after(active_at.astimezone(self.tz(unit_id)).date(), found.expire)

    def covered(self, unit: Unit, wanted: Sequence[Award]) -> list[dict[str, Any]]:
        """Rows for these, one after the other, as far as the balance covers what takes."""
        balance: dict[int, int] = {}
        rows = []
        for a in wanted:
            if a.unit_id not in self.members:
                continue
            if a.unit_id not in balance:
                balance[a.unit_id] = self.standing(a.unit_id).balance
            there = balance[a.unit_id]
            if a.kind == "spend" and there < -a.points:
                continue
            amount = -min(-a.points, max(there, 0)) if a.kind == "deduct" else a.points
            at = min(a.at or self.now, self.now)
            lasts = (a.expires_on or self.expires_on(a.unit_id, at)) if a.kind == "award" else None
            if lasts is None or self.now < ends(self.tz(a.unit_id))(lasts):
                balance[a.unit_id] = there + amount
            rows.append(
                {
                    "key": a.key,
                    "unit": unit,
                    "unit_id": a.unit_id,
                    "customer_id": a.customer_id,
                    "kind": a.kind,
                    "points": amount,
                    "rule": a.rule,
                    "event_id": a.event_id,
                    "counts": a.counts,
                    "at": at,
                    "received_at": self.now,
                    "active_at": at,
                    "expires_on": lasts,
                }
            )
        return rows

    def write(self, unit: Unit, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Append them to the ledger and to these books; the keys of those that are new."""
        added = points.add(self.conn, rows)
        for row in rows:
            if (new := added.get(row["key"])) is not None:
                of = row.get("of_id")
                times = row["at"], row["active_at"], row.get("expires_on")
                self.entries[row["unit_id"]].append(Entry(new, row["kind"], row["points"], *times, of))
        return list(added)

    def close(self, unit: Unit) -> int:
        """Write what has expired by now, and the derived rows of all who are open. Returns how many entries it was."""
        standing = {unit_id: self.standing(unit_id) for unit_id in self.entries}
        rows = [_expiry(unit, unit_id, c, self.now) for unit_id, found in standing.items() for c in found.corrections]
        points.add(self.conn, rows)
        self.expired += sum(-row["points"] for row in rows)
        # A tier may hang on points: whoever's have changed is looked at by `grade` in this look, or the next one.
        rows_of = {unit_id: {**derived(found), "tier_due": self.now} for unit_id, found in standing.items()}
        loyalty.write(self.conn, unit, rows_of, self.now, there=rows_of)  # whoever is locked has a row
        record_events(self.conn, list(self._told(unit, standing)), now=self.now)
        return len(rows)

    def _told(self, unit: Unit, standing: Mapping[int, Standing]) -> Iterator[dict[str, Any]]:
        """An event for each unit and day on which points have expired."""
        for unit_id, found in standing.items():
            gone: dict[tuple[date, datetime], int] = defaultdict(int)
            for c in found.corrections:
                if c.points > 0 and c.expires_on is not None:
                    gone[c.expires_on, c.at] += c.points
            member = self.members[unit_id]
            for (day, at), amount in sorted(gone.items()):
                yield {
                    "type": EXPIRED,
                    "key": f"{EXPIRED}:{unit}:{unit_id}:{day.isoformat()}",
                    "customer_id": unit_id if unit == "customer" else None,
                    "account_id": member.account_id,
                    "occurred_at": at,
                    "properties": {"points": amount},
                }


def _expiry(unit: Unit, unit_id: int, c: Any, now: datetime) -> dict[str, Any]:
    undoes = c.points < 0
    at = now if undoes else c.at
    return {
        "key": f"expire:{c.lot_id}:{c.number}",
        "unit": unit,
        "unit_id": unit_id,
        "kind": "reverse" if undoes else "expire",
        "points": -c.points,
        "of_id": c.undoes if undoes else c.lot_id,
        "rule": "",
        "counts": False,
        "at": at,
        "received_at": now,
        "active_at": at,
    }


def derived(found: Standing) -> dict[str, Any]:
    """The columns of the derived row that are the ledger's."""
    values = (found.balance, found.pending, found.earned, found.expiring, found.expire_on, found.due_at)
    return dict(zip(_COLUMNS, values, strict=True))


_ends: dict[ZoneInfo, Callable[[date], datetime]] = {}


def ends(tz: ZoneInfo) -> Callable[[date], datetime]:
    """When a local day is over."""
    found = _ends.get(tz)
    if found is None:
        found = _ends[tz] = partial(_over, tz)
    return found


def _over(tz: ZoneInfo, day: date) -> datetime:
    return instant(day + _DAY, time(), tz)


# ---- earned by events -----------------------------------------------------------------------------------------------


def earn(round_: Round) -> int:
    """Points for the round's events, by the rules; refunds take back. Returns how many entries were written."""
    if not round_.types:
        return 0
    written = 0
    for unit in _UNITS:
        programs = [p for p in round_.project.program.classes.values() if p.unit == unit]
        written += _Earning(round_, unit, round_.types).all(programs)
    return written


@dataclass(slots=True)
class _Earning:
    """What a round's events come to for one kind of unit. `there`: the types of its events."""

    round: Round
    unit: Unit
    there: frozenset[str]

    def all(self, programs: Sequence[ClassProgram]) -> int:
        found = [
            (program, rule, deeds)
            for program in programs
            for rule in program.points
            if rule.event in self.there and (deeds := self._deeds(program, rule))
        ]
        cases = [
            (case, refund, sides)
            for program in programs
            for refund in program.refunds
            if {refund.event, refund.takes_back} & self.there
            and (case := self._case(program, refund)) is not None
            and (sides := points.both_sides(self.round.conn, case, self.round.first_id, self.round.last_id))
        ]
        members = self.round.customers if self.unit == "customer" else self.round.accounts
        ids = {deed.unit_id for _, _, deeds in found for deed in deeds}
        ids |= {side.unit_id for _, _, sides in cases for side in sides}
        known = {i: members[i] for i in sorted(ids) if i in members}
        if not known:
            return 0
        conn, now = self.round.conn, self.round.now
        points.lock(conn, {self.unit: known}, now)
        books = _Books(conn, self.round.project, now)
        books.open(self.unit, known, known)
        rows = [row for program, rule, deeds in found for row in self._rows(books, program, rule, deeds)]
        # In the order of arrival, so that however the events are divided into looks the ledger reads the same.
        rows.sort(key=lambda row: (row["event_id"], row["key"]))
        written = self._write(books, "points_earned", rows)
        for _case, refund, sides in cases:
            written += self._write(books, "points_taken_back", list(self._back(books, refund, sides)))
        written += books.close(self.unit)
        self.round.done["points_expired"] += books.expired
        return written

    def _write(self, books: _Books, what: str, rows: Sequence[Mapping[str, Any]]) -> int:
        added = set(books.write(self.unit, rows))
        self.round.done[what] += sum(abs(row["points"]) for row in rows if row["key"] in added)
        return len(added)

    def _deeds(self, program: ClassProgram, rule: EarnRule) -> list[Deed]:
        r = self.round
        wanted = (self.unit, program.class_name, rule.event, rule.of, rule.where)
        return points.deeds(r.conn, r.project, r.segments, *wanted, r.first_id, r.last_id, r.now)

    # ---- by the rules

    def _rows(
        self, books: _Books, program: ClassProgram, rule: EarnRule, deeds: Sequence[Deed]
    ) -> Iterator[dict[str, Any]]:
        worth = [(deed, amount) for deed in deeds if deed.unit_id in books.members and (amount := worth_of(rule, deed))]
        if rule.at_most is not None:
            worth = self._allowed(books, rule, rule.at_most, worth)
        tiers = _Tiers.read(self.round, self.unit, {d.unit_id for d, _ in worth}) if rule.times else None
        for deed, amount in worth:
            times = Decimal(1)
            if tiers is not None:
                times = rule.times.get(tiers.at(books.members[deed.unit_id], deed.at) or "", times)
            total = min(int(amount * times), MOST)
            if total <= 0:
                continue
            active_at = after(deed.at, rule.pending, books.tz(deed.unit_id)) if rule.pending else deed.at
            yield {
                "key": f"earn:{rule.key}:{deed.event_id}" + (":account" if self.unit == "account" else ""),
                "unit": self.unit,
                "unit_id": deed.unit_id,
                "customer_id": deed.customer_id,
                "kind": "earn",
                "points": total,
                "rule": rule.key,
                "event_id": deed.event_id,
                "counts": rule.counts,
                "at": deed.at,
                "received_at": self.round.now,
                "active_at": active_at,
                "expires_on": books.expires_on(deed.unit_id, active_at),
            }

    def _allowed(
        self, books: _Books, rule: EarnRule, at_most: tuple[int, Duration], worth: Sequence[tuple[Deed, Decimal]]
    ) -> list[tuple[Deed, Decimal]]:
        """Those for which there is room, in the order of what happened: no time of that length ever has more than so
        many, whatever came late."""
        if not worth:
            return []
        count, within = at_most
        back = timedelta(days=within.months * 31 + within.days + within.business * 2 + 7, seconds=within.seconds)
        since = min(deed.at for deed, _ in worth) - back
        before = points.earned_at(self.round.conn, self.unit, {d.unit_id for d, _ in worth}, rule.key, since)
        allowed = []
        for deed, amount in worth:
            so_far = before.setdefault(deed.unit_id, [])
            if any(event_id == deed.event_id for _, event_id in so_far):
                continue  # it has its points
            n = bisect_left(so_far, (deed.at, deed.event_id))
            so_far.insert(n, (deed.at, deed.event_id))
            tz = books.tz(deed.unit_id)
            crowded = any(
                so_far[i + count][0] < after(so_far[i][0], within, tz)
                for i in range(max(0, n - count), min(n, len(so_far) - 1 - count) + 1)
            )
            if crowded:
                del so_far[n]
            else:
                allowed.append((deed, amount))
        return allowed

    # ---- refunds

    def _case(self, program: ClassProgram, refund: Refund) -> Case | None:
        events = self.round.project.vocabulary.events
        one, other = events.get(refund.event), events.get(refund.takes_back)
        if one is None or other is None or refund.match not in other.fields:
            return None
        money = [name for name, f in other.fields.items() if f.kind is Kind.MONEY]
        earning = [rule.of for rule in program.points if rule.event == other.name and rule.of in money]
        paid = next(iter([*earning, *(name for name in money if name == refund.of), *money]), "")
        return Case(self.unit, program.class_name, one, other, refund.match, refund.of, paid)

    def _back(self, books: _Books, refund: Refund, sides: Sequence[Happened]) -> Iterator[dict[str, Any]]:
        """What refunds take of what the same unit's earlier events earned, as far as it was not taken yet."""
        cases: dict[tuple[int, str], list[Happened]] = defaultdict(list)
        for side in sides:
            if side.unit_id in books.members:
                cases[side.unit_id, side.match].append(side)
        if not any(s.type == refund.event for some in cases.values() for s in some):
            return
        bought = [s.event_id for some in cases.values() for s in some if s.type == refund.takes_back]
        earned = points.earned_by(self.round.conn, self.unit, bought)
        for (unit_id, _), some in cases.items():
            orders = [s for s in some if s.type == refund.takes_back]
            refunds = [s for s in some if s.type == refund.event]
            for order, shares in _shared(orders, refunds):
                for entry in earned.get(order.event_id, ()):
                    yield from self._of_entry(unit_id, entry, shares)

    def _of_entry(
        self, unit_id: int, entry: Earned, shares: Sequence[tuple[Happened, Decimal]]
    ) -> Iterator[dict[str, Any]]:
        taken = sum(entry.back.values())  # by refunds of other types, too
        own = sum(entry.back.get(refund.event_id, 0) for refund, _ in shares)
        for refund, left in shares:
            if refund.event_id in entry.back:
                continue
            amount = min(entry.points - int(entry.points * left) - own, entry.points - taken)
            if amount <= 0:
                continue
            taken, own = taken + amount, own + amount
            at = max(refund.at, entry.at)
            yield {
                "key": f"reverse:{entry.id}:{refund.event_id}",
                "unit": self.unit,
                "unit_id": unit_id,
                "customer_id": refund.customer_id,
                "kind": "reverse",
                "points": -amount,
                "rule": entry.rule,
                "event_id": refund.event_id,
                "of_id": entry.id,
                "counts": entry.counts,
                "at": at,
                "received_at": self.round.now,
                # What is taken back of pending points takes nothing of those that count already.
                "active_at": max(at, entry.active_at),
            }


def worth_of(rule: EarnRule, deed: Deed) -> Decimal:
    """Points for a deed before a tier's multiplier: for each full `per`; nothing for money of another currency."""
    if not rule.of:
        return rule.points
    if deed.amount is None or deed.amount <= 0 or (rule.currency and deed.currency != rule.currency):
        return Decimal(0)
    # As it reads: 0.1 is a tenth, and not the double nearest to it.
    return rule.points * (min(Decimal(str(deed.amount)), Decimal(MOST) * rule.per) // rule.per)


def _shared(
    orders: Sequence[Happened], refunds: Sequence[Happened]
) -> Iterator[tuple[Happened, list[tuple[Happened, Decimal]]]]:
    """For each order, in the order of arrival: what share of it is left after each refund. Several orders of one match
    are refunded one after the other. A refund in another currency is no share of anything: it takes nothing back."""
    filled: dict[int, Decimal] = {r.event_id: Decimal(0) for r in refunds}
    for order in orders:
        paid = None if order.amount is None else Decimal(str(order.amount))
        left, shares = paid or Decimal(0), []
        for refund in refunds:
            if paid is None or paid <= 0 or refund.amount is None:
                left = Decimal(0)
            elif refund.currency != order.currency:
                continue
            else:
                rest = max(Decimal(str(refund.amount)) - filled[refund.event_id], Decimal(0))
                part = min(left, rest)
                filled[refund.event_id] += part
                left -= part
            shares.append((refund, left / paid if paid else Decimal(0)))
        yield order, shares


@dataclass(frozen=True, slots=True)
class _Tiers:
    """Which tier a unit was in when something happened."""

    changes: Mapping[int, Sequence[tuple[datetime, str | None, str | None]]]

    @classmethod
    def read(cls, round_: Round, unit: Unit, ids: Iterable[int]) -> _Tiers:
        return cls(points.tiers(round_.conn, unit, ids))

    def at(self, member: Member, at: datetime) -> str | None:
        """As the ledger of tiers says; for what was before its first line, the tier that one changed."""
        changes = self.changes.get(member.id)
        if not changes:
            return member.tier
        found = changes[0][1]
        for when, _, to in changes:
            if when > at:
                break
            found = to
        return found


# ---- by the clock ---------------------------------------------------------------------------------------------------


def settle(round_: Round, *, due: bool) -> int:
    """Pending points that are active now, and those that have expired. `due`: whether the clock has changed anything
    for anybody. Returns how many entries were written."""
    conn, now = round_.conn, round_.now
    waiting = points.due(conn, now, DUE) if due else {}
    written = 0
    for unit in _UNITS:
        ids = {*waiting.get(unit, ()), *_moved(round_, unit)}
        if not ids:
            continue
        points.lock(conn, {unit: ids}, now)
        books = _Books(conn, round_.project, now)
        books.open(unit, ids)
        written += books.close(unit)
        round_.done["points_expired"] += books.expired
        points.forget_due(conn, unit, ids - books.members.keys())
    return written


def _moved(round_: Round, unit: Unit) -> set[int]:
    """Those whose points expire sooner than we would look, because they live further east now: of the touched ones, and
    of the contacts who live where a touched account does."""
    touched, home = round_.among(unit), round_.project.vocabulary.timezone
    moved = {
        unit_id
        for unit_id, day, due_at in loyalty.expiring(round_.conn, unit, sorted(touched))
        if ends(touched[unit_id].tz(home))(day) < due_at
    }
    if unit == "customer" and round_.accounts:
        since = round_.kept.instant(points.WRITTEN)
        moved.update(
            one.id
            for one in points.contacts(round_.conn, sorted(round_.accounts), since)
            if ends(round_.accounts[one.account_id].tz(home))(one.expire_on) < one.due_at
        )
    return moved


# ---- proof ----------------------------------------------------------------------------------------------------------


_ANYWHERE = frozenset({"total", "points_earned"})
"""What does not hang on where somebody lives."""


class Difference(NamedTuple):
    """A derived column that is not what the ledger says."""

    unit: Unit
    unit_id: int
    column: str
    stored: Any
    ledger: Any


def check(conn: sa.Connection, project: Project, now: datetime, chunk: int = 5_000) -> tuple[int, list[Difference]]:
    """Everybody's balance once more from the ledger: (how many were looked at, what differs). Writes nothing.

    What the clock has changed and no look has taken yet is no difference: each is compared as of its last look. Nor is
    that we would look sooner than anything changes, as of whoever moved west: that look changes nothing.
    """
    looked = 0
    since = settings(conn, points.WRITTEN).instant(points.WRITTEN)
    found: list[Difference] = []
    for unit in _UNITS:
        last = 0
        while ids := points.with_points(conn, unit, last, chunk):
            last = ids[-1]
            looked += len(ids)
            differences = list(_differences(conn, project, unit, ids, now))
            # Whoever was written since the last look may live elsewhere; what that changes is counted by the next one.
            wrong = {d.unit_id for d in differences if d.column in _ANYWHERE}
            maybe = {d.unit_id for d in differences} - wrong
            later = points.written(conn, unit, maybe, since) if maybe and since is not None else ()
            found += [d for d in differences if d.unit_id not in later]
    return looked, found


def _differences(
    conn: sa.Connection, project: Project, unit: Unit, ids: Sequence[int], now: datetime
) -> Iterator[Difference]:
    books = _Books(conn, project, now)
    books.open(unit, ids)
    rows = loyalty.standing(conn, unit, ids)
    joined = {owner for other, owner in points.owners(conn, unit, ids).items() if other != owner}
    for unit_id in sorted(books.members):
        row = rows.get(unit_id, dict.fromkeys(_COLUMNS))
        due_at = row["points_due"]
        if unit_id in joined and due_at is not None and due_at <= now:
            continue  # what a merge brought is counted by the next look
        books.now = now if due_at is None or due_at > now else due_at - timedelta(microseconds=1)
        standing = books.standing(unit_id)
        expected: dict[str, Any] = derived(standing) | {"corrections": len(standing.corrections)}
        stored = {name: row[name] for name in _COLUMNS} | {"corrections": 0}
        if not books.entries[unit_id] and row["points"] is None:
            continue  # never had any
        total = sum(e.points for e in books.entries[unit_id])
        if total != (row["points"] or 0) + (row["points_pending"] or 0):
            yield Difference(unit, unit_id, "total", (row["points"] or 0) + (row["points_pending"] or 0), total)
        yield from (
            Difference(unit, unit_id, name, stored[name], expected[name])
            for name in expected
            if stored[name] != expected[name]
            and not (name == "points_due" and due_at and standing.due_at and due_at < standing.due_at)
        )


def rebuild(conn: sa.Connection, project: Project, unit: Unit, ids: Sequence[int], now: datetime) -> int:
    """Derive these units' rows anew from the ledger. Returns how many expiries were written besides."""
    points.lock(conn, {unit: ids}, now)
    books = _Books(conn, project, now)
    books.open(unit, ids)
    return books.close(unit)
