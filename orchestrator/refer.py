"""Who brought whom: codes, referrals that convert, rewards to both, commissions of partners."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from orchestrator import dates, earn, ingest, reward
from orchestrator.apply import in_force
from orchestrator.earn import Award
from orchestrator.model import Kind, Unit
from orchestrator.program import ClassProgram, Refund
from orchestrator.project import Project
from orchestrator.reward import Asked
from orchestrator.store import loyalty, referrals, versions
from orchestrator.store import people as store_people
from orchestrator.store.loyalty import Round
from orchestrator.store.referrals import Candidate, Line, News, Node, Person, Referred, Referrer
from orchestrator.store.standing import Facts
from orchestrator.store.tables import commission, referral
from orchestrator.zones import first_known, zone

PROPERTY = "referral_code"
"""The property by which an event says who referred whoever it is about."""
REASONS: Final[Mapping[str, str]] = {
    "unknown_code": "there is no such code",
    "unknown_customer": "this customer is not known",
    "self": "nobody refers herself, or her own company",
    "loop": "who was referred has referred this referrer, herself or by others",
    "known_before": "was a customer before she was referred",
    "second_referrer": "somebody else referred her before",
    "refunded": "what made it count was refunded",
}
"""Why a referral does not count. The texts name nobody."""
NEW_FOR = timedelta(days=30)
"""So long after joining somebody still is one who can be referred."""
_SEEN, _LOOKED = "referred_until", "referred_on"
_PATIENCE = timedelta(days=60)


class Claim(NamedTuple):
    """Somebody says who referred a customer, or an account where no customer is named."""

    code: str
    customer_id: int | None
    account_id: int | None
    at: datetime
    event_id: int | None = None


class Answer(NamedTuple):
    """What became of a claim: pending, converted, refused, lapsed. `new`: made by it."""

    state: str
    reason: str = ""
    new: bool = False


def link(project: Project, code: str) -> str:
    """Where a referrer's friends go: the sender's website with the code. "" where the workspace names no website."""
    website = project.vocabulary.sender.get("website", "")
    return f"{website}{'&' if '?' in website else '?'}ref={quote(code)}" if website else ""


def with_links(conn: sa.Connection, project: Project, facts: Facts, now: datetime) -> Facts:
    """The facts of a batch, each message's `About` with the link that its customer can hand on; codes are made where
    there is none yet. Nothing is added for classes without a referral programme, or where there is no website."""
    wanted: dict[int, referrals.Whose] = {}
    for message_id, about in facts.about.items():
        person = about.customer
        kind = project.vocabulary.classes.get(person["class"]) if person else None
        if person is None or kind is None:
            continue
        if kind.unit == "customer":
            wanted[message_id] = ("customer", person["id"], person["id"])
        elif person["account_id"] is not None:
            wanted[message_id] = ("account", person["account_id"], person["id"])
    made = referrals.codes(conn, project, wanted.values(), now)
    told = {i: link(project, made[whose]) for i, whose in wanted.items() if whose in made}
    return replace(facts, about={**facts.about, **{i: replace(facts.about[i], referral=to) for i, to in told.items()}})


# ---- recording ------------------------------------------------------------------------------------------------------


def record(conn: sa.Connection, project: Project, claims: Sequence[Claim], now: datetime) -> list[Answer]:
    """Write who referred whom, or why that does not count; an answer for each claim, in their order.

    The same two again are answered as before. What came first counts: by `at`, then in the order given. A fixed number
    of statements.
    """
    if not claims:
        return []
    store_people.take_turns(conn, "referral")
    facts = _Facts(conn, project, claims)
    answers: dict[int, Answer] = {}
    rows, told = [], []
    for number, claim in sorted(enumerate(claims), key=lambda pair: (pair[1].at, pair[0])):
        answer, row = facts.judge(claim)
        answers[number] = answer
        if row is not None:
            rows.append(row)
            told.append(_made(row))
    referrals.add(conn, rows)
    ingest.record_events(conn, told, now=now)
    return [answers[number] for number in range(len(claims))]


def take_in(conn: sa.Connection, claims: Sequence[Claim], now: datetime) -> list[Answer]:
    """`record` by the programme in force; where there is none no code is known."""
    force = in_force(conn)
    if force is None:
        return [Answer("refused", "unknown_code") for _ in claims]
    return record(conn, force.project, claims, now)


def _made(row: tuple[Any, ...]) -> dict[str, Any]:
    key, _, unit, unit_id, customer_id, _, _, state, _, at = row
    return _event("referral_made", f"referral:{key}", (unit, unit_id, customer_id), at, {"state": state})


def _event(
    kind: str, key: str, whose: tuple[Unit, int, int | None], at: datetime, said: Mapping[str, Any]
) -> dict[str, Any]:
    unit, unit_id, customer_id = whose
    return {
        "type": kind,
        "key": key,
        "customer_id": unit_id if unit == "customer" else customer_id,
        "account_id": unit_id if unit == "account" else None,
        "occurred_at": at,
        "properties": dict(said),
    }


class _Facts:
    """What claims are judged on, read for all of them at once."""

    def __init__(self, conn: sa.Connection, project: Project, claims: Sequence[Claim]) -> None:
        self.project = project
        self.house = first_known(project.vocabulary.timezone)
        self.codes = referrals.by_code(conn, {referrals.normal(claim.code) for claim in claims})
        contacts = {one.customer_id for one in self.codes.values()}
        ids = {i for i in (*contacts, *(claim.customer_id for claim in claims)) if i is not None}
        self.people = referrals.people(conn, ids)
        # Where nobody's code is named nothing else is asked.
        nodes = [node for claim in claims if self.codes and (node := self.node(claim)) is not None]
        self.taken = referrals.live(conn, nodes)
        keys = [key for claim in claims if (key := self.key(claim)) is not None]
        self.known: dict[str, tuple[str, str]] = {
            key: (one.state, one.reason) for key, one in referrals.by_key(conn, keys).items()
        }
        self.parents = referrals.above(conn, {(one.unit, one.unit_id) for one in self.codes.values()} | set(nodes))
        types = {p.referral.converts_on for p in project.program.classes.values() if p.referral is not None}
        if project.program.value is not None and project.program.value.event:
            types.add(project.program.value.event)
        self.deeds = referrals.first_deeds(conn, types, nodes)

    def node(self, claim: Claim) -> Node | None:
        """Who was referred: the account, of a class whose points are its account's."""
        if claim.customer_id is None:
            return None if claim.account_id is None else ("account", claim.account_id)
        person = self.people.get(claim.customer_id)
        if person is None:
            return None
        declared = self.project.vocabulary.classes.get(person.class_name)
        if declared is not None and declared.unit == "account" and person.account_id is not None:
            return "account", person.account_id
        return "customer", person.id

    def referrer(self, claim: Claim) -> Referrer | None:
        found = self.codes.get(referrals.normal(claim.code))
        program = None if found is None else self.project.program.classes.get(found.class_name)
        return found if program is not None and program.referral is not None and program.unit == found.unit else None  # type: ignore[union-attr]

    def key(self, claim: Claim) -> str | None:
        """The same two of one programme are one referral, however often it is told."""
        by, whom = self.referrer(claim), self.node(claim)
        if by is None or whom is None:
            return None
        return f"{by.class_name}:{by.unit}:{by.unit_id}:{whom[0]}:{whom[1]}"

    def judge(self, claim: Claim) -> tuple[Answer, tuple[Any, ...] | None]:
        """The answer, and the row to write where there is one."""
        by, whom, key = self.referrer(claim), self.node(claim), self.key(claim)
        if whom is None:
            return Answer("refused", "unknown_customer"), None
        if by is None or key is None:
            return Answer("refused", "unknown_code"), None
        if key in self.known:
            return Answer(*self.known[key]), None
        reason = self._reason(claim, by, whom)
        state = "refused" if reason else "pending"
        self.known[key] = state, reason
        if not reason:
            self.taken.add(whom)
            self.parents.setdefault(whom, set()).add((by.unit, by.unit_id))
        row = (key, by.class_name, by.unit, by.unit_id, by.customer_id, *whom, state, reason, claim.at)
        return Answer(state, reason, True), row

    def _reason(self, claim: Claim, by: Referrer, whom: Node) -> str:
        person = self.people.get(claim.customer_id) if claim.customer_id is not None else None
        if self._is_self(by, whom, person):
            return "self"
        if whom in self.taken:
            return "second_referrer"
        if self._is_above((by.unit, by.unit_id), whom):
            return "loop"
        return "known_before" if self._was_known(claim, by, whom, person) else ""

    def _is_self(self, by: Referrer, whom: Node, person: Person | None) -> bool:
        if whom == (by.unit, by.unit_id):
            return True
        if by.unit == "account" and person is not None and person.account_id == by.unit_id:
            return True
        hand = self.people.get(by.customer_id) if by.customer_id is not None else None
        if hand is None or person is None:
            return False
        same_mail = hand.email is not None and person.email is not None and hand.email.lower() == person.email.lower()
        return hand.id == person.id or same_mail or (hand.phone is not None and hand.phone == person.phone)

    def _is_above(self, start: Node, whom: Node) -> bool:
        """Whether `whom` brought this referrer, or brought who brought him, and so on."""
        seen: set[Node] = set()
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node == whom:
                return True
            if node not in seen:
                seen.add(node)
                waiting += self.parents.get(node, ())
        return False

    def _was_known(self, claim: Claim, by: Referrer, whom: Node, person: Person | None) -> bool:
        """Bought before, or joined long before. Of an account, any of its contacts' deeds are its own."""
        program = self.project.program.classes[by.class_name]
        value = self.project.program.value
        assert program.referral is not None
        types = {program.referral.converts_on} | ({value.event} if value is not None and value.event else set())
        if any(at < claim.at for kind, at in self.deeds.get(whom, {}).items() if kind in types):
            return True
        if person is None or person.joined is None or whom[0] == "account":
            return False
        day = claim.at.astimezone(zone(person.zone or "") or self.house).date()
        return person.joined < day - NEW_FOR


# ---- what a look of accrue does -------------------------------------------------------------------------------------


def convert(round_: Round) -> int:
    """Referrals that the round's events convert, and commissions they earn. Returns how many."""
    conn, project = round_.conn, round_.project
    programs = [one for one in project.program.classes.values() if one.referral is not None]
    seen, news = round_.kept.number(_SEEN), referrals.news(conn, round_.first_id, round_.last_id)
    if programs:
        record(conn, project, _claims(round_, news), round_.now)
    news = news._replace(seen=seen, newest=referrals.newest(conn))
    # Without an event and a referral that are new nothing can have changed; refunds are looked at once a day besides.
    fresh = round_.last_id > round_.first_id or news.newest > seen
    done = 0
    if programs:
        daily = _is_new_day(round_)
        for program in programs if news.newest else ():
            converted = _convert(round_, program, news)
            round_.done["referrals_converted"] += converted
            done += converted
            done += _take_back(round_, program, news) if fresh or daily else 0
            if daily:
                _lapse(round_, program)
                _give_again(round_, program)
        if daily:
            versions.set_instant(conn, _LOOKED, round_.now)
    for program in project.program.classes.values():
        if program.commission is not None and fresh:
            shares = _commission(round_, program, news)
            round_.done["commissions"] += shares
            done += shares
    if news.newest != seen:
        versions.set_number(conn, _SEEN, news.newest)
    return done


def kept_names(project: Project) -> list[str]:
    """Under which names it is kept how far `convert` has looked."""
    return [_SEEN, _LOOKED] if project.program.classes else []


def _is_new_day(round_: Round) -> bool:
    last, tz = round_.kept.instant(_LOOKED), first_known(round_.project.vocabulary.timezone)
    return last is None or last.astimezone(tz).date() < round_.now.astimezone(tz).date()


def _claims(round_: Round, news: News) -> list[Claim]:
    """The round's events that name a code: those of types which declare the property."""
    types = [name for name, kind in round_.project.vocabulary.events.items()
             if PROPERTY in kind.fields and kind.fields[PROPERTY].kind in (Kind.KEY, Kind.TEXT)]  # fmt: skip
    return [
        Claim(code, row.customer_id, row.account_id, row.occurred_at, row.id)
        for row in referrals.of_types(round_.conn, news, types)
        if isinstance(code := row.properties.get(PROPERTY), str) and code
    ]


# ---- conversion -----------------------------------------------------------------------------------------------------


def _convert(round_: Round, program: ClassProgram, news: News) -> int:
    conn = round_.conn
    found: list[Candidate] = []
    units: tuple[Unit, ...] = ("customer", "account")
    for unit in units:
        found += referrals.candidates(conn, round_.segments, program, unit, news, round_.now)
    if not found:
        return 0
    zones = _zones(conn, {(one.referred.referred_unit, one.referred.referred_id) for one in found})
    lapsed = [one for one in found if one.referred.state == "lapsed"]
    taken = referrals.live(conn, {(o.referred.referred_unit, o.referred.referred_id) for o in lapsed}) if lapsed else ()
    done: dict[int, Candidate] = {}
    for one in sorted(found, key=lambda c: (c.at, c.event_id)):
        whom = (one.referred.referred_unit, one.referred.referred_id)
        free = one.referred.state == "pending" or whom not in taken
        if free and one.referred.id not in done and _in_time(program, one, zones.get(whom, _house_of(round_))):
            done[one.referred.id] = one
            taken = {*taken, whom} if one.referred.state == "lapsed" else taken
    rows = [(i, "converted", "", one.at, one.event_id) for i, one in done.items()]
    referrals.set_states(conn, rows)
    counted = [one.referred._replace(state="converted", converted_at=one.at, event_id=one.event_id)
               for one in done.values()]  # fmt: skip
    _reward(round_, program, counted)
    return len(done)


def _house_of(round_: Round) -> ZoneInfo:
    return first_known(round_.project.vocabulary.timezone)


def _zones(conn: sa.Connection, nodes: Iterable[Node]) -> dict[Node, ZoneInfo]:
    by_unit: dict[Unit, set[int]] = defaultdict(set)
    for unit, unit_id in nodes:
        by_unit[unit].add(unit_id)
    return {
        (unit, member.id): tz
        for unit, ids in by_unit.items()
        for member in loyalty.members(conn, unit, sorted(ids)).values()
        if (tz := zone(member.zone or "")) is not None
    }


def _in_time(program: ClassProgram, one: Candidate, tz: ZoneInfo) -> bool:
    assert program.referral is not None
    within = program.referral.within
    return within is None or one.at < dates.after(one.referred.at, within, tz)


def _reward(round_: Round, program: ClassProgram, done: Sequence[Referred]) -> None:
    """What both have of it: an event each, and points or a code."""
    conn, project, now = round_.conn, round_.project, round_.now
    told, awards, asked = [], [], []
    for row, side, whose, prize in _sides(conn, project, program, done):
        at = row.converted_at or now
        key = f"referral:{row.id}:{side}"
        points = prize if isinstance(prize, int) else 0
        told.append(_event("referral_converted", key, whose, at, {"side": side, "points": points}))
        if points:
            unit, unit_id, contact = whose
            customer_id = contact if unit == "account" else None
            awards.append(
                Award(key, unit, unit_id, points, rule="referral", customer_id=customer_id, counts=True, at=at)
            )
        elif isinstance(prize, str) and prize:
            asked.append(Asked(key, prize, *whose))
    ingest.record_events(conn, told, now=now)
    if awards:
        earn.award(conn, project, awards, now)
    if asked:
        round_.pools.update(one.pool for one in asked)
        reward.give(conn, project, asked, now)


_Side = tuple[Referred, str, tuple[Unit, int, int | None], int | str | None]


def _sides(conn: sa.Connection, project: Project, program: ClassProgram, rows: Sequence[Referred]) -> Iterator[_Side]:
    """Each side of each referral with what it gets; without those who are gone. Points only where there is a
    programme whose points they would be."""
    assert program.referral is not None
    ids: dict[Unit, set[int]] = {"customer": set(), "account": set()}
    for row in rows:
        ids[row.unit].add(row.unit_id)
        ids[row.referred_unit].add(row.referred_id)
        if row.customer_id is not None:
            ids["customer"].add(row.customer_id)
    there = {unit: loyalty.members(conn, unit, sorted(some)) for unit, some in ids.items()}
    for row in rows:
        contact = row.customer_id if row.customer_id in there["customer"] else None
        sides: tuple[tuple[str, Unit, int, int | None, int | str | None], ...] = (
            ("referrer", row.unit, row.unit_id, contact, program.referral.referrer),
            ("referred", row.referred_unit, row.referred_id, None, program.referral.referred),
        )
        for side, unit, unit_id, hand, prize in sides:
            member = there[unit].get(unit_id)
            if member is None:
                continue
            own = project.program.classes.get(member.class_name)
            if isinstance(prize, int) and (own is None or own.unit != unit):
                prize = None
            yield row, side, (unit, unit_id, hand if unit == "account" else unit_id), prize


def _lapse(round_: Round, program: ClassProgram) -> None:
    """Those whose time is over, by the clock of who was referred."""
    assert program.referral is not None
    within = program.referral.within
    if within is None:
        return
    waiting = referrals.pending(round_.conn, program.class_name)
    zones = _zones(round_.conn, {(one.referred_unit, one.referred_id) for one in waiting})
    house = _house_of(round_)
    over = [
        (one.id, "lapsed", "", None, None)
        for one in waiting
        if dates.after(one.at, within, zones.get((one.referred_unit, one.referred_id), house)) <= round_.now
    ]
    referrals.set_states(round_.conn, over)


def _give_again(round_: Round, program: ClassProgram) -> None:
    """Codes that an empty pool did not have when a referral counted: whoever got one gets no other."""
    assert program.referral is not None
    if not any(isinstance(prize, str) for prize in (program.referral.referrer, program.referral.referred)):
        return
    conn, project, now = round_.conn, round_.project, round_.now
    rows = referrals.converted_since(conn, program.class_name, now - _PATIENCE)
    asked = [Asked(f"referral:{row.id}:{side}", prize, *whose)
             for row, side, whose, prize in _sides(conn, project, program, rows) if isinstance(prize, str)]  # fmt: skip
    round_.pools.update(one.pool for one in asked)
    reward.give(conn, project, asked, now)


# ---- refunds --------------------------------------------------------------------------------------------------------


def _refunds(project: Project, of: str) -> list[Refund]:
    """The rules by which an event of this type is taken back, of whatever class."""
    found: dict[tuple[str, str, str], Refund] = {}
    for program in project.program.classes.values():
        for one in program.refunds:
            if one.takes_back == of:
                found.setdefault((one.event, one.match, one.of), one)
    return list(found.values())


def _take_back(round_: Round, program: ClassProgram, news: News) -> int:
    """Referrals whose converting event was refunded as a whole: they do not count, and the points go back."""
    assert program.referral is not None
    conn = round_.conn
    rules = _refunds(round_.project, program.referral.converts_on)
    since = round_.now - _PATIENCE
    new = [one.id for one in referrals.converted_since(conn, program.class_name, since)] if rules else []
    over: dict[int, datetime] = {}
    for rule in rules:
        sums: dict[int, int] = defaultdict(int)
        for back in referrals.backs(conn, referral, program.class_name, rule, rule.of, news, new):
            sums[back.of] += back.amount or 0
            if not rule.of or (back.whole is not None and sums[back.of] >= back.whole):
                over.setdefault(back.of, back.at)
    if not over:
        return 0
    rows = referrals.by_id(conn, over)
    referrals.set_states(conn, [(one.id, "refused", "refunded", one.converted_at, one.event_id) for one in rows])
    awards = []
    for row, side, (unit, unit_id, hand), prize in _sides(conn, round_.project, program, rows):
        if isinstance(prize, int):
            customer_id = hand if unit == "account" else None
            awards.append(Award(f"referral:{row.id}:{side}:back", unit, unit_id, -prize, "deduct", "referral",
                                customer_id, at=over[row.id]))  # fmt: skip
    if awards:
        earn.award(conn, round_.project, awards, round_.now)
    return len(rows)


# ---- commission -----------------------------------------------------------------------------------------------------


def _commission(round_: Round, program: ClassProgram, news: News) -> int:
    """Shares of what those brought in whom partners referred, or whose end customers they are; refunds take their
    share back, and never more than was given."""
    rule = program.commission
    assert rule is not None
    conn = round_.conn
    lines, told = [], []
    for sale in referrals.sales(conn, program, rule.event, rule.of, news):
        amount = _share(sale.amount, rule.times.get(sale.tier or "", rule.share))
        key = f"{program.class_name}:{sale.event_id}"
        if amount:
            lines.append(Line(key, sale.account_id, sale.event_id, None, amount, sale.currency, sale.at))
            said = {"amount": amount, "amount_currency": sale.currency}
            whose: tuple[Unit, int, int | None] = ("account", sale.account_id, None)
            told.append(_event("commission_earned", f"commission:{key}", whose, sale.at, said))
    new = referrals.add_lines(conn, lines, round_.now)
    ingest.record_events(conn, [one for one in told if one["key"].removeprefix("commission:") in new], now=round_.now)
    done = len(new)
    for refund in _refunds(round_.project, rule.event):
        done += _refund(round_, program, refund, news, new.values())
    return done


def _share(amount: int, share: Decimal) -> int:
    """In whole minor units, halves away from nought, as on an invoice."""
    return int((Decimal(amount) * share).quantize(Decimal(1), ROUND_HALF_UP))


def _refund(round_: Round, program: ClassProgram, refund: Refund, news: News, new: Iterable[int]) -> int:
    rule = program.commission
    assert rule is not None
    conn = round_.conn
    backs = referrals.backs(conn, commission, program.class_name, refund, rule.of, news, new)
    if not backs:
        return 0
    earned = referrals.lines(conn, {back.of for back in backs})
    before = referrals.refunded(conn, earned)
    found: dict[str, Line] = {}
    for back in backs:
        line = earned[back.of]
        key = f"refund:{back.event_id}:{back.of}"
        left = line.amount + before.get(back.of, 0)
        if back.amount is None or not back.whole:
            amount = left
        elif back.currency != line.currency:
            continue
        else:
            amount = min(left, _share(back.amount, Decimal(line.amount) / Decimal(back.whole)))
        if amount > 0 and key not in found:
            before[back.of] = before.get(back.of, 0) - amount
            found[key] = Line(key, line.account_id, back.event_id, back.of, -amount, line.currency, back.at)
    return len(referrals.add_lines(conn, list(found.values()), round_.now))
