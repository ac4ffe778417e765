"""Everything a batch of due messages is judged on and written from, read in a fixed number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Any, cast

import sqlalchemy as sa

from channels.base import Medium
from orchestrator.model import Json, Policies, Vocabulary
from orchestrator.outbound import LOYALTY_ROOTS, About, Due, address_text, destinations, household_text, tier
from orchestrator.places import (
    TOLD_BY_POSTCODE,
    address_zones,
    canonical,
    jurisdictions,
    parsed,
    phone_places,
    region_of,
)
from orchestrator.rules import Consent, Partner, Place, Standing, Zone
from orchestrator.store import consents, loyalty, preferences, vouchers
from orchestrator.store.counting import Contacts, Counted, counted
from orchestrator.store.database import bound_ids, bound_keys
from orchestrator.store.keys import Keys
from orchestrator.store.suppressions import VOICE, postal_keys
from orchestrator.store.tables import (
    account,
    customer,
    device,
    enrollment,
    event,
    record,
    suppression,
)

_UNREAD = frozenset({"created_at", "updated_at", "attributes", "tier_stated"})
_GATE = frozenset(
    {"id", "class", "tier", "account_id", "first_name", "last_name", "email", "phone", "country", "locale"}
    | {"timezone", "phone_zones", "phone_places", "region", "postcode", "legal_form", "left_at", "merged_into"}
    | {"partner_id"}
)
"""What every message's judgement, address and language hang on."""
_NOBODY: Json = {}


@dataclass(frozen=True, slots=True)
class Facts:
    """A batch's facts. `addresses` and `dedupe_keys` are keyed hashes, by message id; `ended`: message ids, and so is
    `barred`: those none of whose destinations this installation may write to."""

    about: Mapping[int, About]
    destinations: Mapping[int, tuple[Mapping[str, str], ...]]
    addresses: Mapping[int, tuple[str, ...]]
    dedupe_keys: Mapping[int, str]
    consents: Mapping[int, tuple[Consent, ...]]
    suppressed: Mapping[str, tuple[tuple[str, datetime | None], ...]]
    ended: frozenset[int]
    reserved: Counted
    contacts: Contacts
    vocabulary: Vocabulary
    now: datetime
    barred: frozenset[int] = frozenset()
    listed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Further keys, by message id, under which lists may know the recipient: of a letter, of a call's number."""
    partners: Mapping[int, tuple[Partner, ...]] = field(default_factory=dict)
    """By message id, the accounts that the recipient buys through."""
    banded: bool = False
    """Whether there are caps for bands of the pyramid, so that somebody's is weighed."""

    def usable(self, due: Due) -> tuple[tuple[Mapping[str, str], str], ...]:
        """(destination, address key) of each delivery. Of several devices, a suppressed one is passed over."""
        pairs = tuple(zip(self.destinations[due.id], self.addresses[due.id], strict=True))
        if not self.suppressed:
            return pairs
        live = tuple(pair for pair in pairs if pair[1] not in self.suppressed)
        return live or pairs

    def _suppressions(self, due: Due, key: str | None) -> tuple[tuple[str, datetime | None], ...]:
        keys = [*([key] if key else []), *self.listed.get(due.id, ())]
        return tuple(found for each in keys for found in self.suppressed.get(each, ()))

    def standing(self, due: Due, contacts: Contacts, segments: int = 1) -> Standing:
        """What rules weigh, with what `contacts` counts now. `segments`: of a text that is written already."""
        about = self.about[due.id]
        person, company = about.customer or _NOBODY, about.account or _NOBODY
        if self.suppressed:
            usable = self.usable(due)
            key = usable[0][1] if usable else None
        else:
            key = next(iter(self.addresses[due.id]), None)
        dedupe_key = self.dedupe_keys.get(due.id) if due.payload.get("dedupe") != "off" else None
        zones, places = whereabouts(person, company)
        return Standing(  # by place: one is made for every message
            zones,
            person.get("country") or company.get("country"),
            person.get("class") or company.get("class") or "",
            tier(self.vocabulary, about.customer, about.account),
            self.consents.get(due.customer_id, ()) if due.customer_id is not None else (),
            key,
            self._suppressions(due, key) if self.suppressed else (),
            contacts.of(due),
            contacts.sent_at.get(dedupe_key) if dedupe_key else None,
            due.id in self.ended,
            places,
            person.get("legal_form"),
            _born(person, self.vocabulary.policies.born),
            open_case=due.purpose == "marketing" and due.customer_id in contacts.around.cases,
            rivals=contacts.rivals(due, self.now),
            spent=contacts.spent,
            permitted=due.id not in self.barred,
            segments=segments,
            wishes=contacts.around.wishes.get(due.customer_id) if due.customer_id is not None else None,
            partners=self.partners.get(due.id, ()),
            band=about.loyalty.get("band") if self.banded and about.loyalty is not None else None,
        )


_UNREADABLE = date.max
"""Of a date of birth that is none: nobody knows that they are of age."""


def _born(person: Json, name: str) -> date | None:
    """The date of birth, where the workspace says which attribute it is; None: none is known."""
    said = person.get(name) if name else None
    if said is None or type(said) is date:
        return said
    try:
        return date.fromisoformat(said)
    except (TypeError, ValueError):
        return _UNREADABLE


# ---- where somebody may be ------------------------------------------------------------------------------------------

Whereabouts = tuple[tuple[Zone, ...], tuple[Place, ...]]


def whereabouts(person: Json, company: Json) -> Whereabouts:
    """Every zone and every jurisdiction that the recipient may be in, with what says so; the stated zone first.

    `person` is empty where the message is about an account. The same tuples for all of the same whereabouts.
    """
    country, region = person.get("country"), person.get("region")
    # A postcode is asked only where nothing else tells the region: there are too many of them to remember.
    ask = country in TOLD_BY_POSTCODE and region_of(country, region) is None
    places = person.get("phone_places")
    if places is None and (number := person.get("phone")):
        places = " ".join(phone_places(number))  # an import tells them; a number that came otherwise counts no less
    return _whereabouts(
        (person.get("timezone"), company.get("timezone")),
        (country, region, person.get("postcode") if ask else None),
        (person.get("phone_zones"), places),
        company.get("country"),
    )


@lru_cache(maxsize=20_000)
def _whereabouts(
    stated: tuple[str | None, str | None],
    address: tuple[str | None, str | None, str | None],
    phone: tuple[str | None, str | None],
    company: str | None,
) -> Whereabouts:
    zones: dict[str, Zone] = {}
    from_address = address_zones(*(address if address[0] else (company, None, None)), tuple(z for z in stated if z))
    for names, source in (
        (stated[:1], "stated"),
        (stated[1:], "account"),
        (from_address, "address" if address[0] else "account"),
        ((phone[0] or "").split(), "phone"),
    ):
        for name in names:
            if name:
                zones.setdefault(canonical(name), Zone(name, cast(Any, source)))
    places = [Place(*found, "address") for found in jurisdictions(*address)]
    more = [Place(*found, "phone") for found in parsed(phone[1])]
    more += [Place(*found, "account") for found in jurisdictions(company)]
    for place in more:
        # A country alone says nothing against a place in it (a toll-free number, a company's seat).
        if place.region is None and any(place.country == known.country for known in places):
            continue
        if all(place[:2] != known[:2] for known in places):
            places.append(place)
    return tuple(zones.values()), tuple(places)


# ---- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a batch: `names` its texts may print; `keyed`, journeys with a run for each record or key;
    `permits`, whether a destination may be written to outside production (None: every one)."""

    medium: Medium
    policies: Policies
    vocabulary: Vocabulary
    names: frozenset[str]
    keyed: frozenset[str]
    now: datetime
    permits: Callable[[Medium, str], bool] | None = None


def gather(conn: sa.Connection, batch: Sequence[Due], keys: Keys, asked: Asked) -> Facts:
    """The facts of a batch of one medium: at most nineteen statements, whatever its size."""
    people = _people(conn, {d.customer_id for d in batch if d.customer_id is not None}, asked)
    account_ids = {d.account_id for d in batch} | {p["account_id"] for p in people.values()}
    companies = _companies(conn, {i for i in account_ids if i is not None}, asked)
    around = _around(conn, people, companies, asked)
    chosen = preferences.chosen_by(conn, people) if people else {}
    devices = _devices(conn, people) if asked.medium is Medium.PUSH else {}
    events = _events(conn, {d.event_id for d in batch if d.event_id is not None}) if _names(asked, "event") else {}
    with_record = {d.record_id for d in batch if d.record_id is not None}
    records = _records(conn, with_record, asked.vocabulary) if _names(asked, *asked.vocabulary.records) else {}
    rewarded = _rewarded(conn, people, companies, asked)
    codes = _vouchers(conn, batch) if _names(asked, "voucher") else {}
    found = _Found(keys, asked)
    for due in batch:
        person = people.get(due.customer_id) if due.customer_id is not None else None
        company_id = due.account_id if due.account_id is not None or person is None else person["account_id"]
        record_type, fields = records.get(due.record_id, ("", None)) if due.record_id is not None else ("", None)
        owned = devices.get(due.customer_id, {}) if devices and due.customer_id is not None else {}
        told = About(
            person,
            companies.get(company_id) if company_id is not None else None,
            events.get(due.event_id) if due.event_id is not None else None,
            fields,
            record_type,
            tuple(owned),
            due.customer_id in chosen and chosen[due.customer_id].format == "text",
            owned,
            rewarded.of(person, companies.get(company_id) if company_id is not None else None),
            codes.get(due.id),
        )
        try:
            found.add(due, told)
        except Exception:  # fail closed: what nobody knows is not sent, and stops nobody else
            found.leave_out(due)
    wishes = {i: of.wishes for i, of in chosen.items()}
    reserved, contacts = counted(conn, batch, found.dedupe_keys, asked, wishes=wishes)
    return Facts(
        about=found.about,
        destinations=found.places,
        addresses=found.addresses,
        dedupe_keys=found.dedupe_keys,
        consents=consents.current(conn, people, asked.medium),
        suppressed=_suppressed(conn, asked, [found.addresses, found.lists]),
        listed=found.lists,
        ended=_ended(conn, batch, people),
        reserved=reserved,
        contacts=contacts,
        vocabulary=asked.vocabulary,
        now=asked.now,
        barred=frozenset(found.barred),
        partners=_partners(batch, people, companies, around) if around else {},
        banded=_banded(asked),
    )


@dataclass(slots=True)
class _Found:
    """Where the messages of a batch go, by message id, as it is found."""

    keys: Keys
    asked: Asked
    about: dict[int, About] = field(default_factory=dict)
    places: dict[int, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    addresses: dict[int, tuple[str, ...]] = field(default_factory=dict)
    dedupe_keys: dict[int, str] = field(default_factory=dict)
    lists: dict[int, tuple[str, ...]] = field(default_factory=dict)
    barred: set[int] = field(default_factory=set)

    def add(self, due: Due, told: About) -> None:
        keys, permits = self.keys, self.asked.permits
        to = destinations(due, told)
        if permits is not None and not to and not permits(due.medium, ""):
            self.barred.add(due.id)  # a task goes out without a name, too
        elif permits is not None and to:
            listed = tuple(t for t in to if permits(due.medium, address_text(due.medium, t)))
            if not listed:
                self.barred.add(due.id)
            to = listed or to
        self.places[due.id] = to
        self.addresses[due.id] = hashes = tuple(keys.address_key(due.medium, address_text(due.medium, t)) for t in to)
        if self.asked.medium in _LISTED and (further := _listed(due, told, to, keys)):
            self.lists[due.id] = further
        if due.addressee == "customer" and hashes:
            # Letters count by household: people who live together get one copy of a letter.
            where = hashes[0]
            if due.medium is Medium.MAIL:
                where = keys.address_key(due.medium, household_text(to[0]))
            self.dedupe_keys[due.id] = keys.dedupe_key(where, due.template or due.step, _business(due, self.asked))
        self.about[due.id] = told

    def leave_out(self, due: Due) -> None:
        """Nothing is known about it: it cannot be judged, and so is refused."""
        self.places[due.id], self.addresses[due.id] = (), ()
        self.dedupe_keys.pop(due.id, None)
        self.lists.pop(due.id, None)


def _business(due: Due, asked: Asked) -> str:
    """What a message is about, where its journey runs once for each such thing."""
    if due.record_id is not None:
        return f"record:{due.record_id}"
    return f"event:{due.event_id}" if due.event_id is not None and due.journey in asked.keyed else ""


# ---- rows -----------------------------------------------------------------------------------------------------------


def _names(asked: Asked, *roots: str) -> bool:
    return any(name.partition(".")[0] in roots for name in asked.names)


def _members(asked: Asked, table: sa.Table) -> tuple[str, ...]:
    """The columns read of a unit, `id` first: what the gate and the address hang on, and what a text names. When that
    is anything else, the attributes are read and decoded, last."""
    readable = [c.name for c in table.columns if c.name not in _UNREAD]
    paths = [name.split(".") for name in asked.names if name.partition(".")[0] == table.name]
    if table is customer and asked.policies.born:
        paths.append(["customer", asked.policies.born])
    if table is account or asked.medium is Medium.MAIL or any(len(path) == 1 for path in paths):
        wanted = set(readable)
    else:
        wanted = {*_GATE, *(path[1] for path in paths)}
    names = tuple(name for name in readable if name in wanted)
    decoded = any(len(path) == 1 or path[1] not in table.c for path in paths)
    return (*names, "attributes") if decoded else names


def _unit_rows(conn: sa.Connection, table: sa.Table, ids: Iterable[int], names: tuple[str, ...]) -> dict[int, Json]:
    rows = conn.execute(_units(conn.dialect.name, table, names), {"ids": list(ids)}).all()
    if names[-1] != "attributes":
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    # Columns last: an attribute that is called like one of them must not stand in for it.
    return {row[0]: {**row[-1], **dict(zip(names[:-1], row[:-1], strict=True))} for row in rows}


@lru_cache(maxsize=128)
def _units(dialect: str, table: sa.Table, names: tuple[str, ...]) -> sa.Select[Any]:
    listed = bound_ids(dialect)
    return sa.select(*(table.c[name] for name in names)).join(listed, listed.c.id == table.c.id)


def _people(conn: sa.Connection, ids: set[int], asked: Asked) -> dict[int, Json]:
    return _unit_rows(conn, customer, ids, _members(asked, customer)) if ids else {}


def _companies(conn: sa.Connection, ids: set[int], asked: Asked) -> dict[int, Json]:
    return _unit_rows(conn, account, ids, _members(asked, account)) if ids else {}


_RELATED = ("parent", "partner")
"""Accounts that a row names, and what texts name of them: `account.parent`, `customer.partner_name`."""


def _around(
    conn: sa.Connection, people: Mapping[int, Json], companies: Mapping[int, Json], asked: Asked
) -> dict[int, sa.Row[Any]]:
    """The partners of a batch's people and companies by id, and the accounts above where a text names them; what texts
    may name of them is put into the rows. One statement, and none where there are none."""
    rows = [*people.values(), *companies.values()]
    named = [r for r in _RELATED if any(f"{unit}.{r}" in n for n in asked.names for unit in ("customer", "account"))]
    ids = {row[f"{r}_id"] for row in rows for r in {*named, "partner"} if row.get(f"{r}_id") is not None}
    found: dict[int, sa.Row[Any]] = {}
    if ids:
        found = {row.id: row for row in conn.execute(_named(conn.dialect.name), {"ids": list(ids)})}
    for row in rows if named else ():
        for related in named:
            other = found.get(row.get(f"{related}_id") or 0)
            row[related], row[f"{related}_name"] = (other.key, other.name) if other is not None else (None, None)
    return found


@cache
def _named(dialect: str) -> sa.Select[Any]:
    listed, a = bound_ids(dialect), account.c
    return sa.select(a.id, a.key, a.name, a.allows_contact).join(listed, listed.c.id == a.id)


def _partners(
    batch: Sequence[Due], people: Mapping[int, Json], companies: Mapping[int, Json], around: Mapping[int, sa.Row[Any]]
) -> dict[int, tuple[Partner, ...]]:
    """By message id, whom its recipient buys through: she herself, her company, and the company it is about. The
    partner's own people are nobody's end customers."""
    found = {}
    for due in batch:
        person = people.get(due.customer_id, _NOBODY) if due.customer_id is not None else _NOBODY
        own = [i for i in (person.get("account_id"), due.account_id) if i is not None]
        units = [person, *(companies.get(i, _NOBODY) for i in own)]
        ids = dict.fromkeys(i for unit in units if (i := unit.get("partner_id")) is not None and i not in own)
        if ids:
            found[due.id] = tuple(Partner(i, around[i].allows_contact if i in around else None) for i in ids)
    return found


def _devices(conn: sa.Connection, ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """Live devices by customer: token → platform."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for row in conn.execute(_live_devices(conn.dialect.name), {"ids": list(ids)}):
        found[row.customer_id][row.token] = row.platform
    return found


@cache
def _live_devices(dialect: str) -> sa.Select[Any]:
    listed, d = bound_ids(dialect), device.c
    query = sa.select(d.customer_id, d.token, d.platform).join(listed, listed.c.id == d.customer_id)
    return query.where(d.retired_at.is_(None)).order_by(d.id)


def _events(conn: sa.Connection, ids: set[int]) -> dict[int, Json]:
    if not ids:
        return {}
    return {row.id: row.properties for row in conn.execute(_told(conn.dialect.name), {"ids": list(ids)})}


@cache
def _told(dialect: str) -> sa.Select[Any]:
    listed = bound_ids(dialect)
    return sa.select(event.c.id, event.c.properties).join(listed, listed.c.id == event.c.id)


def _records(conn: sa.Connection, ids: set[int], vocabulary: Vocabulary) -> dict[int, tuple[str, Json]]:
    """(type, fields with the record's own key among them) by id."""
    if not ids:
        return {}
    found = {}
    for row in conn.execute(_kept(conn.dialect.name), {"ids": list(ids)}):
        kind = vocabulary.records.get(row.type)
        found[row.id] = (row.type, {**({kind.key: row.key} if kind else {}), **row.fields})
    return found


@cache
def _kept(dialect: str) -> sa.Select[Any]:
    listed, r = bound_ids(dialect), record.c
    return sa.select(r.id, r.type, r.key, r.fields).join(listed, listed.c.id == r.id)


def _vouchers(conn: sa.Connection, batch: Sequence[Due]) -> dict[int, Json]:
    """By message the voucher that its run gave last, else the one that the event tells of which began the run."""
    given = vouchers.latest(conn, {due.enrollment_id for due in batch if due.enrollment_id is not None})
    told = vouchers.of_events(conn, {d.event_id for d in batch if d.event_id is not None})
    found = {}
    for due in batch:
        code = given.get(due.enrollment_id or 0) or told.get(due.event_id or 0)
        if code is not None:
            day = {} if code[1] is None else {"expires": code[1].isoformat()}
            found[due.id] = {"code": code[0], "pool": code[2], **day}
    return found


@dataclass(frozen=True, slots=True)
class _Rewarded:
    """The programme's rows of a batch's customers and accounts, by id."""

    vocabulary: Vocabulary
    customers: Mapping[int, Mapping[str, Any]]
    accounts: Mapping[int, Mapping[str, Any]]

    def of(self, person: Json | None, company: Json | None) -> Json | None:
        """The row of whoever has the tier."""
        unit = person or company
        kind = self.vocabulary.classes.get(unit["class"]) if unit else None
        if company is not None and (person is None or (kind is not None and kind.unit == "account")):
            found = self.accounts.get(company["id"])
        else:
            found = self.customers.get(person["id"]) if person else None
        return dict(found) if found is not None else None


def _banded(asked: Asked) -> bool:
    return any(cap.band is not None for cap in asked.policies.caps)


def _rewarded(conn: sa.Connection, people: Iterable[int], companies: Iterable[int], asked: Asked) -> _Rewarded:
    if not _names(asked, *LOYALTY_ROOTS) and not _banded(asked):
        return _Rewarded(asked.vocabulary, {}, {})
    customers, accounts = sorted(people), sorted(companies)
    return _Rewarded(
        asked.vocabulary,
        loyalty.standing(conn, "customer", customers),
        loyalty.standing(conn, "account", accounts),
    )


_LISTED = (Medium.MAIL, Medium.TASK)


def _listed(due: Due, about: About, to: Sequence[Mapping[str, str]], keys: Keys) -> tuple[str, ...]:
    """The keys under which lists know a letter's recipient, or the number that a call is to."""
    if due.medium is Medium.MAIL:
        return postal_keys(keys, to[0]) if due.addressee == "customer" and to else ()
    number = (about.customer or _NOBODY).get("phone") if due.payload.get("call") is True else None
    return (keys.address_key(VOICE, number),) if number else ()


def _suppressed(
    conn: sa.Connection, asked: Asked, keys: Iterable[Mapping[int, tuple[str, ...]]]
) -> dict[str, tuple[tuple[str, datetime | None], ...]]:
    hashes = {key for each in keys for some in each.values() for key in some}
    if not hashes:
        return {}
    found: dict[str, list[tuple[str, datetime | None]]] = defaultdict(list)
    query = _barred(conn.dialect.name, asked.medium)
    for key, reason, until in conn.execute(query, {"keys": list(hashes), "now": asked.now}):
        found[key].append((reason, until))
    return {key: tuple(value) for key, value in found.items()}


@cache
def _barred(dialect: str, medium: Medium) -> sa.Select[Any]:
    listed, s = bound_keys(dialect), suppression.c
    media = [medium.value, *([VOICE] if medium is Medium.TASK else [])]
    query = sa.select(s.address_key, s.reason, s.until).join(listed, listed.c.key == s.address_key)
    return query.where(s.medium.in_(media), sa.or_(s.until.is_(None), s.until > sa.bindparam("now")))


def _ended(conn: sa.Connection, batch: Sequence[Due], people: Mapping[int, Json]) -> frozenset[int]:
    """Messages whose run ended otherwise than by coming to its end, or whose customer is no longer there."""
    runs = {d.enrollment_id for d in batch if d.enrollment_id is not None}
    over = set(conn.execute(_over(conn.dialect.name), {"ids": list(runs)}).scalars()) if runs else set()
    gone = {i for i, p in people.items() if p["merged_into"] is not None or p["left_at"] is not None}
    return frozenset(d.id for d in batch if d.enrollment_id in over or (_is_to(d) and d.customer_id in gone))


@cache
def _over(dialect: str) -> sa.Select[tuple[int]]:
    listed = bound_ids(dialect)
    return sa.select(enrollment.c.id).join(listed, listed.c.id == enrollment.c.id).where(run_is_over())


def _is_to(due: Due) -> bool:
    """Whether the customer is reached by it: a task that is a call goes to staff, and comes to the customer."""
    return due.addressee == "customer" or due.payload.get("call") is True


def run_is_over() -> Any:
    """An enrollment that ended before its end: what it had planned is not sent any more."""
    return sa.and_(enrollment.c.ended_at.isnot(None), enrollment.c.ended_because != "completed")
