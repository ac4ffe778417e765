"""Everything a batch of due messages is judged on and written from, read in a fixed number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from channels.base import Medium
from orchestrator.model import Cap, Json, Policies, Purpose, Vocabulary
from orchestrator.outbound import About, Due, address_text, destinations, tier
from orchestrator.rules import Consent, Contact, Standing, Zone
from orchestrator.store.database import id_list, key_list
from orchestrator.store.keys import Keys
from orchestrator.store.tables import (
    account,
    consent_current,
    customer,
    device,
    enrollment,
    event,
    record,
    reservation,
    suppression,
)

_LONGEST = {"day": timedelta(days=1, hours=1), "week": timedelta(days=7, hours=1), "month": timedelta(days=31, hours=1)}
_UNREAD = frozenset({"created_at", "updated_at", "attributes"})
_GATE = frozenset(
    {"id", "class", "tier", "account_id", "first_name", "last_name", "email", "phone", "country", "locale"}
    | {"timezone", "phone_zones", "left_at", "merged_into"}
)
"""What every message's judgement, address and language hang on."""
_NOBODY: Json = {}
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
Reserved = tuple[int, Contact]
"""A reservation: its message's id, and what caps count."""


@dataclass(slots=True)
class Contacts:
    """What was allowed before, within this batch too, by customer, by account and by content. Grows as one allows."""

    by_customer: dict[int, list[Contact]]
    by_account: dict[int, list[Contact]]
    sent_at: dict[str, datetime]

    def of(self, due: Due) -> list[Contact]:
        """Each once: the customer's own, and those of the account's other contacts."""
        own = self.by_customer.get(due.customer_id, []) if due.customer_id is not None else []
        if due.account_id is None:
            return list(own)
        return [*own, *(c for c in self.by_account.get(due.account_id, []) if c.customer_id != due.customer_id)]

    def add(self, contact: Contact, dedupe_key: str) -> None:
        self.by_customer.setdefault(contact.customer_id, []).append(contact)
        if contact.account_id is not None:
            self.by_account.setdefault(contact.account_id, []).append(contact)
        self.sent_at[dedupe_key] = contact.at


@dataclass(frozen=True, slots=True)
class Facts:
    """A batch's facts. `addresses` and `dedupe_keys` are keyed hashes, by message id; `ended`: message ids."""

    about: Mapping[int, About]
    destinations: Mapping[int, tuple[Mapping[str, str], ...]]
    addresses: Mapping[int, tuple[str, ...]]
    dedupe_keys: Mapping[int, str]
    consents: Mapping[int, tuple[Consent, ...]]
    suppressed: Mapping[str, tuple[tuple[str, datetime | None], ...]]
    ended: frozenset[int]
    reserved: frozenset[int]
    contacts: Contacts
    vocabulary: Vocabulary
    _zones: dict[tuple[str | None, ...], tuple[Zone, ...]] = field(default_factory=dict)

    def usable(self, due: Due) -> tuple[tuple[Mapping[str, str], str], ...]:
        """(destination, address key) of each delivery. Of several devices, a suppressed one is passed over."""
        pairs = tuple(zip(self.destinations[due.id], self.addresses[due.id], strict=True))
        if not self.suppressed:
            return pairs
        live = tuple(pair for pair in pairs if pair[1] not in self.suppressed)
        return live or pairs

    def standing(self, due: Due, contacts: Contacts) -> Standing:
        """What rules weigh, with what `contacts` counts now."""
        about = self.about[due.id]
        person, company = about.customer or _NOBODY, about.account or _NOBODY
        if self.suppressed:
            usable = self.usable(due)
            key = usable[0][1] if usable else None
        else:
            key = next(iter(self.addresses[due.id]), None)
        dedupe_key = self.dedupe_keys.get(due.id) if due.payload.get("dedupe") != "off" else None
        return Standing(  # by place: one is made for every message
            self.zones(person, company),
            person.get("country") or company.get("country"),
            person.get("class") or company.get("class") or "",
            tier(self.vocabulary, about.customer, about.account),
            self.consents.get(due.customer_id, ()) if due.customer_id is not None else (),
            key,
            self.suppressed.get(key, ()) if key else (),
            contacts.of(due),
            contacts.sent_at.get(dedupe_key) if dedupe_key else None,
            due.id in self.ended,
        )

    def zones(self, person: Json, company: Json) -> tuple[Zone, ...]:
        """Every zone the recipient may be in, the stated one first; each name once."""
        key = (person.get("timezone"), company.get("timezone"), person.get("phone_zones"))
        found = self._zones.get(key)
        if found is None:
            stated, theirs, phone = key
            named = [(stated, "stated"), (theirs, "account"), *((z, "phone") for z in (phone or "").split())]
            unique: dict[str, Zone] = {}
            for name, source in named:
                if name and name not in unique:
                    unique[name] = Zone(name, cast(Any, source))
            found = self._zones[key] = tuple(unique.values())
        return found


# ---- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a batch: `names` its texts may print; `keyed`, journeys with a run for each record or key."""

    medium: Medium
    policies: Policies
    vocabulary: Vocabulary
    names: frozenset[str]
    keyed: frozenset[str]
    now: datetime


def gather(conn: sa.Connection, batch: Sequence[Due], keys: Keys, asked: Asked) -> Facts:
    """The facts of a batch of one medium: at most ten statements, whatever its size."""
    people = _people(conn, {d.customer_id for d in batch if d.customer_id is not None}, asked)
    account_ids = {d.account_id for d in batch} | {p["account_id"] for p in people.values()}
    companies = _companies(conn, {i for i in account_ids if i is not None}, asked)
    devices = _devices(conn, people) if asked.medium is Medium.PUSH else {}
    events = _events(conn, {d.event_id for d in batch if d.event_id is not None}) if _names(asked, "event") else {}
    with_record = {d.record_id for d in batch if d.record_id is not None}
    records = _records(conn, with_record, asked.vocabulary) if _names(asked, *asked.vocabulary.records) else {}
    about, places, addresses, dedupe_keys = {}, {}, {}, {}
    for due in batch:
        person = people.get(due.customer_id) if due.customer_id is not None else None
        company_id = due.account_id if due.account_id is not None or person is None else person["account_id"]
        record_type, fields = records.get(due.record_id, ("", None)) if due.record_id is not None else ("", None)
        about[due.id] = told = About(
            person,
            companies.get(company_id) if company_id is not None else None,
            events.get(due.event_id) if due.event_id is not None else None,
            fields,
            record_type,
            tuple(devices.get(due.customer_id, ())) if devices and due.customer_id is not None else (),
        )
        places[due.id] = to = destinations(due, told)
        addresses[due.id] = hashes = tuple(keys.address_key(due.medium, address_text(due.medium, t)) for t in to)
        if due.addressee == "customer" and hashes:
            dedupe_keys[due.id] = keys.dedupe_key(hashes[0], due.template or due.step, _business(due, asked))
    reserved, contacts = counted(conn, batch, dedupe_keys, asked)
    return Facts(
        about=about,
        destinations=places,
        addresses=addresses,
        dedupe_keys=dedupe_keys,
        consents=_consents(conn, people, asked.medium),
        suppressed=_suppressed(conn, asked.medium, {key for some in addresses.values() for key in some}, asked.now),
        ended=_ended(conn, batch, people),
        reserved=reserved,
        contacts=contacts,
        vocabulary=asked.vocabulary,
    )


def counted(
    conn: sa.Connection, batch: Sequence[Due], dedupe_keys: Mapping[int, str], asked: Asked
) -> tuple[frozenset[int], Contacts]:
    """What caps and dedupe count of these recipients, and the ids of the messages it stands for: two statements."""
    reserved: set[int] = set()
    contacts = Contacts(defaultdict(list), defaultdict(list), {})
    caps = asked.policies.caps
    marketing = [d for d in batch if d.purpose == "marketing" and d.addressee == "customer"]
    if caps and marketing:
        for message_id, contact in _reservations(conn, marketing, caps, asked.now):
            reserved.add(message_id)
            contacts.by_customer[contact.customer_id].append(contact)
            if contact.account_id is not None:
                contacts.by_account[contact.account_id].append(contact)
    if asked.policies.dedupe is not None and dedupe_keys:
        listed = key_list(conn, set(dedupe_keys.values()))
        query = (
            sa.select(reservation.c.dedupe_key, reservation.c.message_id, reservation.c.at)
            .join(listed, listed.c.key == reservation.c.dedupe_key)
            .where(reservation.c.at > asked.now - asked.policies.dedupe)
            .order_by(reservation.c.at)
        )
        for dedupe_key, message_id, at in conn.execute(query).all():
            reserved.add(message_id)
            contacts.sent_at[dedupe_key] = at
    return frozenset(reserved), contacts


def _reservations(conn: sa.Connection, batch: Sequence[Due], caps: Iterable[Cap], now: datetime) -> list[Reserved]:
    """Marketing that was allowed to these customers, or (under a cap for accounts) to anybody of their accounts."""
    spans = [_ALWAYS if c.within is None and c.per is None else now - (c.within or _LONGEST[c.per or ""]) for c in caps]
    since = min(spans)
    columns = [
        reservation.c[n] for n in ("message_id", "at", "medium", "topic", "purpose", "customer_id", "account_id")
    ]
    recent = sa.and_(reservation.c.at >= since, reservation.c.purpose == "marketing")
    theirs = _among(conn, reservation.c.customer_id, {d.customer_id for d in batch if d.customer_id is not None})
    query: Any = sa.select(*columns).where(theirs, recent)
    if any(c.scope == "account" for c in caps):
        theirs = _among(conn, reservation.c.account_id, {d.account_id for d in batch if d.account_id is not None})
        query = query.union(sa.select(*columns).where(theirs, recent))
    return [
        (r.message_id, Contact(r.at, Medium(r.medium), r.topic, cast(Purpose, r.purpose), r.customer_id, r.account_id))
        for r in conn.execute(query)
    ]


def _among(conn: sa.Connection, column: sa.ColumnElement[Any], ids: Iterable[int]) -> sa.ColumnElement[bool]:
    """As `= ANY` on PostgreSQL: a table that grows within the hour has no statistics yet, and a join with a list was
    then planned as every reservation beside every id."""
    if conn.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(list(ids), ARRAY(sa.BigInteger())))
    return column.in_(sa.select(id_list(conn, ids).c.id))


def _business(due: Due, asked: Asked) -> str:
    """What a message is about, where its journey runs once for each such thing."""
    if due.record_id is not None:
        return f"record:{due.record_id}"
    return f"event:{due.event_id}" if due.event_id is not None and due.journey in asked.keyed else ""


# ---- rows -----------------------------------------------------------------------------------------------------------


def _names(asked: Asked, *roots: str) -> bool:
    return any(name.partition(".")[0] in roots for name in asked.names)


def _members(asked: Asked, table: sa.Table) -> list[str]:
    """The columns read of a unit, `id` first: what the gate and the address hang on, and what a text names. When that
    is anything else, the attributes are read and decoded, last."""
    readable = [c.name for c in table.columns if c.name not in _UNREAD]
    paths = [name.split(".") for name in asked.names if name.partition(".")[0] == table.name]
    if table is account or asked.medium is Medium.MAIL or any(len(path) == 1 for path in paths):
        wanted = set(readable)
    else:
        wanted = {*_GATE, *(path[1] for path in paths)}
    names = [name for name in readable if name in wanted]
    decoded = any(len(path) == 1 or path[1] not in table.c for path in paths)
    return [*names, "attributes"] if decoded else names


def _unit_rows(conn: sa.Connection, table: sa.Table, ids: Iterable[int], names: Sequence[str]) -> dict[int, Json]:
    listed = id_list(conn, ids)
    rows = conn.execute(sa.select(*(table.c[name] for name in names)).join(listed, listed.c.id == table.c.id)).all()
    if names[-1] != "attributes":
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    # Columns last: an attribute that is called like one of them must not stand in for it.
    return {row[0]: {**row[-1], **dict(zip(names[:-1], row[:-1], strict=True))} for row in rows}


def _people(conn: sa.Connection, ids: set[int], asked: Asked) -> dict[int, Json]:
    return _unit_rows(conn, customer, ids, _members(asked, customer)) if ids else {}


def _companies(conn: sa.Connection, ids: set[int], asked: Asked) -> dict[int, Json]:
    return _unit_rows(conn, account, ids, _members(asked, account)) if ids else {}


def _devices(conn: sa.Connection, ids: Iterable[int]) -> dict[int, list[str]]:
    listed = id_list(conn, ids)
    found: dict[int, list[str]] = defaultdict(list)
    query = sa.select(device.c.customer_id, device.c.token).join(listed, listed.c.id == device.c.customer_id)
    for row in conn.execute(query.where(device.c.retired_at.is_(None)).order_by(device.c.id)):
        found[row.customer_id].append(row.token)
    return found


def _events(conn: sa.Connection, ids: set[int]) -> dict[int, Json]:
    if not ids:
        return {}
    listed = id_list(conn, ids)
    query = sa.select(event.c.id, event.c.properties).join(listed, listed.c.id == event.c.id)
    return {row.id: row.properties for row in conn.execute(query)}


def _records(conn: sa.Connection, ids: set[int], vocabulary: Vocabulary) -> dict[int, tuple[str, Json]]:
    """(type, fields with the record's own key among them) by id."""
    if not ids:
        return {}
    listed = id_list(conn, ids)
    query = sa.select(record.c.id, record.c.type, record.c.key, record.c.fields)
    found = {}
    for row in conn.execute(query.join(listed, listed.c.id == record.c.id)):
        kind = vocabulary.records.get(row.type)
        found[row.id] = (row.type, {**({kind.key: row.key} if kind else {}), **row.fields})
    return found


def _consents(conn: sa.Connection, ids: Iterable[int], medium: Medium) -> dict[int, tuple[Consent, ...]]:
    listed = id_list(conn, ids)
    found: dict[int, list[Consent]] = defaultdict(list)
    c = consent_current.c
    query = sa.select(c.customer_id, c.topic, c.state, c.since, c.event_id).join(listed, listed.c.id == c.customer_id)
    for customer_id, *said in conn.execute(query.where(c.medium == medium.value)).all():
        found[customer_id].append(Consent(*said))
    return {key: tuple(value) for key, value in found.items()}


def _suppressed(
    conn: sa.Connection, medium: Medium, hashes: set[str], now: datetime
) -> dict[str, tuple[tuple[str, datetime | None], ...]]:
    if not hashes:
        return {}
    listed = key_list(conn, hashes)
    found: dict[str, list[tuple[str, datetime | None]]] = defaultdict(list)
    query = (
        sa.select(suppression.c.address_key, suppression.c.reason, suppression.c.until)
        .join(listed, listed.c.key == suppression.c.address_key)
        .where(suppression.c.medium == medium.value, sa.or_(suppression.c.until.is_(None), suppression.c.until > now))
    )
    for row in conn.execute(query):
        found[row.address_key].append((row.reason, row.until))
    return {key: tuple(value) for key, value in found.items()}


def _ended(conn: sa.Connection, batch: Sequence[Due], people: Mapping[int, Json]) -> frozenset[int]:
    """Messages whose run ended otherwise than by coming to its end, or whose customer is no longer there."""
    listed = id_list(conn, {d.enrollment_id for d in batch if d.enrollment_id is not None})
    query = sa.select(enrollment.c.id).join(listed, listed.c.id == enrollment.c.id)
    over = set(conn.execute(query.where(run_is_over())).scalars())
    gone = {i for i, p in people.items() if p["merged_into"] is not None or p["left_at"] is not None}
    return frozenset(
        d.id for d in batch if d.enrollment_id in over or (d.addressee == "customer" and d.customer_id in gone)
    )


def run_is_over() -> Any:
    """An enrollment that ended before its end: what it had planned is not sent any more."""
    return sa.and_(enrollment.c.ended_at.isnot(None), enrollment.c.ended_because != "completed")
