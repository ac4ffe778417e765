"""Who a simulation is played with: people made up of what the workspace declares, and what they do by themselves.

Names are invented, e-mail addresses stand under example.com, and phone numbers are valid in form: nothing is ever sent
to them. What is made up says how journeys run, not how many will: the numbers of the real audience are `sampling`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

from orchestrator.centre import ANSWERED
from orchestrator.condition import Condition
from orchestrator.importing import import_rows
from orchestrator.journey import DateTrigger, EventTrigger, MilestoneTrigger
from orchestrator.model import LOYALTY_EVENTS, CustomerClass, EventType, Field, Kind, RecordType, Unit
from orchestrator.project import Project
from orchestrator.rehearse.chance import draw, how_many, pick, whole
from orchestrator.rehearse.inventing import Inventor, at
from orchestrator.rehearse.lapsing import Silence, lapses, silences
from orchestrator.rehearse.seeing import Seen, seen_by
from orchestrator.rows import ImportKind
from orchestrator.sample import invented_name
from orchestrator.stages import CHANGED
from orchestrator.store.database import Store
from orchestrator.store.keys import Keys
from orchestrator.terms import Compare, Literal_, OneOf, Ref, Rows, walk

KEYS: Final = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)
"""Of a scratch database with nobody real in it."""
ORDER: Final[tuple[ImportKind, ...]] = ("accounts", "customers", "devices", "consents", "records", "events")
HOURS: Final = (9, 17)
"""When a shop's systems tell what happened, UTC: a look for each of them, not one for every minute."""
_YEAR: Final = 365
_DAY: Final = timedelta(days=1)


class Told(NamedTuple):
    """A row that comes in at an instant."""

    at: datetime
    kind: ImportKind
    row: Mapping[str, Any]


class Cohort(Protocol):
    """People and what becomes of them by themselves."""

    @property
    def keys(self) -> Keys:
        """Under which addresses are known in the scratch database."""

    @property
    def customers(self) -> int: ...

    @property
    def scale(self) -> float:
        """How many real customers one of these stands for."""

    def fill(self, store: Store, begin: datetime, played: Project) -> tuple[str, ...]:
        """Put everybody in, as of `begin`; what could not be, in words. The database is empty, its schema is there.
        What `played`, the workspace as it is played, cannot see of them may be left out."""

    def life(self, begin: datetime, until: datetime, played: Project) -> Sequence[Told]:
        """What comes in within (begin, until), in order of time."""


# ---- places ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    country: str
    region: str
    city: str
    postcode: str
    zone: str
    locale: str
    street: str
    phone: str  # what comes before the running number
    digits: int


_PLACES: Final = (
    _Place("DE", "", "Berlin", "10115", "Europe/Berlin", "de", "Lindenweg {}", "+49171392", 5),
    _Place("DE", "", "München", "80331", "Europe/Berlin", "de", "Am Brunnen {}", "+49171393", 5),
    _Place("AT", "", "Wien", "1070", "Europe/Vienna", "de-AT", "Ahorngasse {}", "+43664123", 4),
    _Place("CH", "", "Zürich", "8001", "Europe/Zurich", "de-CH", "Quellenstrasse {}", "+4178123", 4),
    _Place("FR", "", "Lyon", "69002", "Europe/Paris", "fr", "{} rue des Tilleuls", "+33612", 6),
    _Place("GB", "", "London", "E1 6AN", "Europe/London", "en-GB", "{} Orchard Mews", "+447400", 6),
    _Place("US", "NY", "New York", "10001", "America/New_York", "en-US", "{} Maple Row", "+1212555", 4),
    _Place("US", "CA", "Los Angeles", "90012", "America/Los_Angeles", "en-US", "{} Cedar Walk", "+1213555", 4),
)
_HOME_SHARE: Final = 0.6
"""The share of those who live by the workspace's own clock."""
_NO_EMAIL, _NO_PHONE, _DEVICE = 0.04, 0.15, 0.6
_SAID_YES: Final = {"email": 0.9, "sms": 0.7, "push": 0.85, "mail": 0.9}
_NEWCOMERS: Final = 0.15
"""The share of customers who come in within a year."""
_CONTACTS: Final = 3
"""Contacts that a company has."""
_LATER: Final = 12
"""Days after which, at the latest, something follows on an event."""
_ALL: Final = Seen(None, frozenset(_SAID_YES), None)


# ---- what happens to whom -------------------------------------------------------------------------------------------

_RARE: Final = ("refund", "cancel", "complain", "return", "unsubscribe", "churn", "lost")
_PER_YEAR: Final = {"money": 5.0, "rare": 0.1, "other": 0.8}
"""How often something happens to one unit in a year, where nothing else is said: what has an amount, what nobody hopes
for, everything else."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """An event type: who causes it, how often; `once`: with their coming; `follows`: the type, or the record type,
    whose key it names. `fields`: those that are made up."""

    type: EventType
    unit: Unit
    classes: frozenset[str]
    rate: float
    once: bool = False
    follows: str = ""
    key: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)


def classes_of(condition: Condition | None, known: Mapping[str, CustomerClass]) -> frozenset[str]:
    """Classes that a condition is about; all of them where it names none."""
    found: set[str] = set()
    for node in walk(condition.root) if condition is not None else ():
        match node:
            case Compare(op="==", left=Ref(name="class"), right=Literal_(value=str() as name)):
                found.add(name)
            case OneOf(value=Ref(name="class"), options=options):
                found |= {str(o.value) for o in options if isinstance(o, Literal_)}
    return frozenset(found & known.keys()) or frozenset(known)


def _kinds(project: Project, rates: Mapping[str, float]) -> list[_Kind]:
    """Event types that matter to anything: they start journeys, end them, wake sleepers, count in segments, earn."""
    known, vocabulary = project.vocabulary.classes, project.vocabulary
    units: dict[str, set[Unit]] = defaultdict(set)
    classes: dict[str, set[str]] = defaultdict(set)
    starts: dict[str, set[bool]] = defaultdict(set)
    for journey in project.journeys.values():
        whose = classes_of(journey.audience, known)
        if journey.audience is None and journey.unit == "account":
            whose = frozenset(c.name for c in known.values() if c.unit == "account") or whose
        named = set(journey.listens())
        for trigger in journey.triggers:
            if isinstance(trigger, EventTrigger | MilestoneTrigger):
                named.add(trigger.event)
                starts[trigger.event].add(journey.reentry.kind == "once" and isinstance(trigger, EventTrigger))
            elif isinstance(trigger, DateTrigger) and trigger.source == "event":
                named.add(trigger.of)
        for name in named:
            units[name].add(journey.unit)
            classes[name] |= whose
    used = {name for journey in project.journeys.values() for name in journey.segments}
    for name, condition in project.segments.items():
        if name not in used and not project.program.classes:
            continue
        for node in walk(condition.root):
            if isinstance(node, Rows) and node.holder == "event":
                units[node.of].add(condition.unit)
                classes[node.of] |= classes_of(condition, known)
    for one in project.program.classes.values():
        for name in {rule.event for rule in one.points} | {one.membership.event if one.membership else ""} - {""}:
            units[name].add(one.unit)
            classes[name].add(one.class_name)
    leaders = _leaders(project)
    found = []
    for name, event in vocabulary.events.items():
        if name not in units or name in (ANSWERED, CHANGED) or (name in LOYALTY_EVENTS and vocabulary.loyalty.declared):
            continue
        follows, key = leaders.get(name, ("", ""))
        once = bool(starts[name]) and all(starts[name]) and not follows
        for unit in sorted(units[name]):
            rate = rates.get(name, _usual(event, name == vocabulary.loyalty.purchase))
            found.append(_Kind(event, unit, frozenset(classes[name]), rate, once, follows, key))
    return found


def _usual(event: EventType, purchase: bool) -> float:
    if any(word in event.name for word in _RARE):
        return _PER_YEAR["rare"]
    money = purchase or any(f.kind is Kind.MONEY for f in event.fields.values())
    return _PER_YEAR["money" if money else "other"]


def _leaders(project: Project) -> dict[str, tuple[str, str]]:
    """Event type → (what it follows, by which key): the record type whose key it names, or the first event that has
    a key of that name."""
    records = {r.key: r.name for r in project.vocabulary.records.values()}
    first: dict[str, str] = {}
    found: dict[str, tuple[str, str]] = {}
    for name, event in project.vocabulary.events.items():
        for key in (f.name for f in event.fields.values() if f.kind is Kind.KEY):
            leader = records.get(key) or first.setdefault(key, name)
            if leader != name:
                found.setdefault(name, (leader, key))
    return found


# ---- made up --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Person:
    """A customer or an account of the cohort. `joined` may lie within the simulated time."""

    key: str
    unit: Unit
    class_name: str
    number: int
    joined: date
    place: _Place
    account: str = ""
    role: str = ""


def made_up(project: Project, n: int, seed: int, *, rates: Mapping[str, float] | None = None) -> MadeUp:
    """`n` customers of the workspace's own classes, a third of them contacts of companies where a class is of accounts.

    `rates`: event type → how often it happens to one unit in a year, where that is known.
    """
    return MadeUp(project, n, seed, rates or {})


@dataclass
class MadeUp:
    """A cohort of nobody. The same project, number and seed make the same one, whatever project it is played with."""

    project: Project
    customers: int
    seed: int
    rates: Mapping[str, float] = field(default_factory=dict)
    scale: float = 1.0
    keys: Keys = KEYS
    _silent: Mapping[tuple[str, str], Silence] = field(default_factory=dict, init=False, repr=False)

    def fill(self, store: Store, begin: datetime, played: Project) -> tuple[str, ...]:
        """Everybody who is there when the clock begins, and what they did before."""
        first = begin - timedelta(days=_YEAR)
        rows: dict[ImportKind, list[Mapping[str, Any]]] = defaultdict(list)
        for told in self._all(begin, first, begin, seen_by(played)):
            rows[told.kind].append(told.row)
        notes: dict[str, None] = {}
        for kind in ORDER:
            report = import_rows(store, self.keys, self.project.vocabulary, kind, rows[kind], now=begin)
            notes.update((f"{kind}: {refused.problem}", None) for refused in report.refused[:3])
        return tuple(notes)

    def life(self, begin: datetime, until: datetime, played: Project) -> Sequence[Told]:
        """Newcomers and events, at the hours at which they are told."""
        return self._all(begin, begin, until, seen_by(played))

    def told_by_unit(self, begin: datetime, until: datetime) -> dict[str, list[Told]]:
        """All that is told of each unit, by its key, from a year before the clock begins."""
        found: dict[str, list[Told]] = defaultdict(list)
        first = begin - timedelta(days=_YEAR)
        for told in (*self._all(begin, first, begin, _ALL), *self._all(begin, begin, until, _ALL)):
            own = told.row.get("key") if told.kind in ("customers", "accounts") else None
            found[str(own or told.row.get("customer") or told.row.get("account"))].append(told)
        return dict(found)

    def _all(self, begin: datetime, first: datetime, last: datetime, seen: Seen) -> list[Told]:
        """What is told in (first, last]; what stands since earlier comes at `first` where that is before `begin`."""
        past = first < begin
        people = self._people(begin)
        inventor = Inventor(self.project, self.seed, begin.date())
        found: list[Told] = []
        for one in people:
            came = at(one.joined, HOURS[0])
            if came > begin if past else not begin < came <= last:
                continue
            found += self._rows_of(one, begin if past else came, inventor, seen)
        found += self._events(people, inventor, begin, first, last, seen)
        return sorted(found, key=lambda t: (t.at, ORDER.index(t.kind)))

    # ---- people

    def _people(self, begin: datetime) -> list[_Person]:
        classes = self.project.vocabulary.classes.values()
        own = [c.name for c in classes if c.unit == "customer"] or ([] if any(classes) else [""])
        companies = [c.name for c in classes if c.unit == "account"]
        contacts = 0 if not companies else self.customers if not own else self.customers // 3
        roles = self._roles()
        found: list[_Person] = []
        for i in range(max(1, contacts // _CONTACTS) if contacts else 0):
            name = companies[i % len(companies)]
            found.append(self._person("account", f"company-{i + 1:05}", name, i, begin))
        firms = list(found)
        for i in range(contacts):
            firm = firms[i % len(firms)]
            role = roles[(i // len(firms)) % len(roles)]
            key = f"contact-{i + 1:05}"
            found.append(_Person(key, "customer", firm.class_name, i, firm.joined, firm.place, firm.key, role))
        for i in range(self.customers - contacts):
            found.append(self._person("customer", f"customer-{i + 1:05}", own[i % len(own)], i + contacts, begin))
        return found

    def _person(self, unit: Unit, key: str, class_name: str, number: int, begin: datetime) -> _Person:
        if draw(self.seed, "new", key) < _NEWCOMERS:
            joined = begin.date() + timedelta(days=whole(1, 365, self.seed, "joined", key))
        else:
            joined = begin.date() - timedelta(days=whole(1, 1500, self.seed, "joined", key))
        return _Person(key, unit, class_name, number, joined, self._place(key))

    def _place(self, key: str) -> _Place:
        home = [p for p in _PLACES if p.zone == self.project.vocabulary.timezone]
        at_home = bool(home) and draw(self.seed, "home", key) < _HOME_SHARE
        return pick(home if at_home else _PLACES, self.seed, "place", key)

    def _roles(self) -> list[str]:
        named = [r for j in self.project.journeys.values() for r in j.recipients.roles]
        return list(dict.fromkeys(named)) or ["contact"]

    def _rows_of(self, one: _Person, when: datetime, inventor: Inventor, seen: Seen) -> Iterator[Told]:
        if not seen.has(one.class_name):
            # Nobody comes to see more of them than that they are there: others keep their place in the order.
            named = {"key": one.key, "class": one.class_name}
            firm = one.unit == "account"
            yield Told(when, "accounts" if firm else "customers", named if firm else {**named, "account": one.account})
            return
        if one.unit == "account":
            yield Told(when, "accounts", self._account(one, inventor, seen))
        else:
            yield Told(when, "customers", self._customer(one, inventor, seen))
            if "push" in seen.media and draw(self.seed, "device", one.key) < _DEVICE:
                platform = pick(("ios", "android", "web"), self.seed, "platform", one.key)
                yield Told(when, "devices", {"token": f"token-{one.key}", "customer": one.key, "platform": platform})
            for row in self._consents(one, at(one.joined, HOURS[0]), seen.media):
                yield Told(when, "consents", row)
        for record in self.project.vocabulary.records.values():
            if record.of == one.unit and seen.names(record.name) and draw(self.seed, "has", record.name, one.key) < 0.8:
                yield Told(when, "records", self._record(record, one, inventor, seen))

    def _tier(self, one: _Person) -> str:
        """The lower, the more often; none where the programme finds it."""
        ruled = self.project.program.classes.get(one.class_name)
        if ruled is not None and ruled.tier_by is not None:
            return ""
        known = self.project.vocabulary.classes.get(one.class_name)
        tiers = known.tiers if known is not None else ()
        if not tiers:
            return ""
        return tiers[int(draw(self.seed, "tier", one.key) ** 2 * len(tiers))]

    def _account(self, one: _Person, inventor: Inventor, seen: Seen) -> dict[str, Any]:
        fields = seen.of({n: f for n, f in self.project.vocabulary.account.items() if f.column is None})
        return {
            "key": one.key,
            "name": f"{pick(_FIRMS, self.seed, 'firm', one.key)} {one.number + 1}",
            "class": one.class_name,
            "tier": self._tier(one),
            "country": one.place.country,
            "timezone": one.place.zone,
            "joined": one.joined.isoformat(),
            "annual_value": inventor.money("account", one.key),
            "manager_name": "Mara Lindenau",
            "manager_email": f"manager-{one.number % 7 + 1}@example.com",
            **inventor.members("account", fields, one.key, sure=False),
        }

    def _customer(self, one: _Person, inventor: Inventor, seen: Seen) -> dict[str, Any]:
        fields = seen.of({n: f for n, f in self.project.vocabulary.customer.items() if f.column is None})
        known = self.project.vocabulary.classes.get(one.class_name)
        first, last = invented_name(self.seed, one.key)
        row = {
            "key": one.key,
            "account": one.account,
            "role": one.role,
            "first_name": first,
            "last_name": last,
            "email": "" if draw(self.seed, "email", one.key) < _NO_EMAIL else f"{one.key}@example.com",
            "phone": "" if draw(self.seed, "phone", one.key) < _NO_PHONE else self._phone(one),
            "country": one.place.country,
            "region": one.place.region,
            "locale": one.place.locale,
            "timezone": one.place.zone,
            "street": one.place.street.format(1 + one.number),
            "city": one.place.city,
            "postcode": one.place.postcode,
            "joined": one.joined.isoformat(),
            "legal_form": "corporate" if one.account else "individual",
            **inventor.members("customer", fields, one.key, sure=False),
        }
        if one.class_name:
            row["class"] = one.class_name
        if known is not None and known.unit == "customer":
            row["tier"] = self._tier(one)
        return row

    def _phone(self, one: _Person) -> str:
        return one.place.phone + f"{one.number % 10**one.place.digits:0{one.place.digits}}"

    def _consents(self, one: _Person, when: datetime, media: Collection[str]) -> Iterator[dict[str, Any]]:
        """A yes to everything on a medium, as the country wants it: in writing for American texts, asked and confirmed
        in Germany; a few take one topic back."""
        marketing = [t.name for t in self.project.vocabulary.topics.values() if t.purpose == "marketing"]
        for medium, share in _SAID_YES.items():
            if medium not in media or draw(self.seed, "yes", one.key, medium) >= share:
                continue
            written = one.place.country == "US" and medium == "sms"
            row = {
                "event_id": f"{one.key}-{medium}",
                "customer": one.key,
                "medium": medium,
                "topic": "*",
                "action": "grant",
                "occurred_at": _text(when),
                "basis": "express_written" if written else "express",
                "method": "form",
                "jurisdiction": one.place.country,
            }
            if one.place.country == "DE" and medium in ("email", "sms"):
                yield row | {"event_id": f"{one.key}-{medium}-asked", "action": "request"}
                row |= {"action": "confirm", "answers": f"{one.key}-{medium}-asked", "method": "double opt-in"}
                row |= {"basis": "", "occurred_at": _text(when)}
            yield row
            if marketing and draw(self.seed, "no", one.key, medium) < 0.03:
                no = {"action": "withdraw", "topic": pick(marketing, self.seed, "no", one.key), "basis": ""}
                yield row | no | {"event_id": f"{one.key}-{medium}-no", "answers": "", "method": "link"}

    def _record(self, record: RecordType, one: _Person, inventor: Inventor, seen: Seen) -> dict[str, Any]:
        key = f"{one.key}-{record.name}"
        return {
            "type": record.name,
            one.unit: one.key,
            **inventor.members(record.name, seen.of(record.fields), key),
            record.key: key,
        }

    # ---- what they do

    def _events(
        self,
        people: Sequence[_Person],
        inventor: Inventor,
        begin: datetime,
        first: datetime,
        last: datetime,
        seen: Seen,
    ) -> Iterator[Told]:
        kinds = [replace(k, fields=seen.of(k.type.fields)) for k in _kinds(self.project, self.rates)]
        self._silent = self._silences(people, begin)
        of: dict[tuple[Unit, str], list[_Kind]] = {}
        for one in people:
            if not seen.has(one.class_name):
                continue
            mine = of.get((one.unit, one.class_name))
            if mine is None:
                mine = [k for k in kinds if k.unit == one.unit and (not one.class_name or one.class_name in k.classes)]
                of[one.unit, one.class_name] = mine
            for kind in mine:
                if not kind.follows:
                    yield from self._course(kind, mine, one, inventor, begin, first, last)
                elif kind.follows in self.project.vocabulary.records:
                    yield from self._of_record(kind, one, inventor, begin, first, last)

    def _silences(self, people: Sequence[_Person], begin: datetime) -> dict[tuple[str, str], Silence]:
        segments, known = self.project.segments, self.project.vocabulary.classes
        found = []
        for lapse in lapses(self.project):
            classes = classes_of(segments[lapse.segment], known)
            mine = {name for name in classes if lapse.unit == "customer" or known[name].unit == "account"}
            found.append((lapse, frozenset(mine)))
        return silences(found, people, begin.date(), self.seed)

    def _course(
        self,
        kind: _Kind,
        mine: Sequence[_Kind],
        one: _Person,
        inventor: Inventor,
        begin: datetime,
        first: datetime,
        last: datetime,
    ) -> Iterator[Told]:
        """Events of one kind in the life of one unit, each with what may follow from it by its key."""
        following = [k for k in mine if k.follows == kind.type.name and k.key in kind.type.fields]
        since = first - timedelta(days=_LATER) if following else first
        for n, when in self._times(kind, one, begin, since, last):
            name = f"{one.key}-{kind.type.name}-{n}"
            row = self._event(kind, one, inventor, name, when)
            if first < when <= last:
                yield Told(when, "events", row)
            for after in following:
                rare = after.rate <= _PER_YEAR["rare"]
                if draw(self.seed, "follows", after.type.name, name) < (0.03 if rare else 0.8):
                    days = whole(1, _LATER, self.seed, "later", after.type.name, name)
                    later = self._hour(when + timedelta(days=days))
                    if first < later <= last and not self._is_silent(one, after, later):
                        told = self._event(after, one, inventor, f"{name}-{after.type.name}", later)
                        yield Told(later, "events", told | {after.key: row[after.key]})

    def _of_record(
        self, kind: _Kind, one: _Person, inventor: Inventor, begin: datetime, first: datetime, last: datetime
    ) -> Iterator[Told]:
        record = self.project.vocabulary.records[kind.follows]
        if record.of != one.unit or draw(self.seed, "has", record.name, one.key) >= 0.8:
            return
        for n, when in self._times(kind, one, begin, first, last):
            if first < when <= last:
                row = self._event(kind, one, inventor, f"{one.key}-{kind.type.name}-{n}", when)
                yield Told(when, "events", row | {kind.key: f"{one.key}-{record.name}"})

    def _times(
        self, kind: _Kind, one: _Person, begin: datetime, first: datetime, last: datetime
    ) -> Iterator[tuple[int, datetime]]:
        """Those of [first, last], to a day, each with its number: from a year before the clock begins on, as long as
        the unit is there. Year by year: what happens in one does not hang on how many are played."""
        came = at(one.joined, HOURS[0])
        if kind.once:
            yield 0, came
            return
        silence = self._silent.get((one.key, kind.type.name))
        for n, when in enumerate(silence.lasts if silence is not None else (), 1):
            if first < when <= last:
                yield -n, when
        # Some do it often and most seldom: of the same mean, spread as widely as buyers are in every shop.
        keen = 2 * draw(self.seed, "keen", kind.type.name, one.key)
        number, since, until = 0, first.date() - _DAY, last.date() + _DAY
        for year in range(-1, 1 + (last - begin).days // _YEAR):
            name = (kind.type.name, one.key, year)
            start = begin + timedelta(days=_YEAR * year)
            often = how_many(kind.rate * keen, self.seed, "count", *name)
            if (start + timedelta(days=_YEAR)).date() < since and one.joined < start.date():
                number += often
                continue
            for n in range(often):
                about = start + timedelta(days=_YEAR * draw(self.seed, "when", *name, n))
                day = about.date()
                if day < one.joined or (day == one.joined and self._hour(about, *name, n) <= came):
                    continue
                if since <= day <= until and not self._is_silent(one, kind, self._hour(about, *name, n)):
                    yield number, self._hour(about, *name, n)
                number += 1

    def _is_silent(self, one: _Person, kind: _Kind, when: datetime) -> bool:
        silence = self._silent.get((one.key, kind.type.name))
        return silence is not None and silence.since < when < silence.until

    def _hour(self, when: datetime, *name: object) -> datetime:
        return at(when.date(), pick(HOURS, self.seed, "hour", when.date(), *name))

    def _event(self, kind: _Kind, one: _Person, inventor: Inventor, name: str, when: datetime) -> dict[str, Any]:
        row = {"type": kind.type.name, "event_id": name, one.unit: one.key, "occurred_at": _text(when)}
        return row | inventor.members(kind.type.name, kind.fields, name)


_FIRMS: Final = ("Velora", "Tannwerk", "Brightfen", "Quillstone", "Maristo", "Heliobay", "Nordhafen", "Copperlane")


def _text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
