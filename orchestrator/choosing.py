"""What people choose on the preference centre: topics, how much and in what form, what they tell of themselves.

Everything is about the person whom a message's link belongs to. Who has the link may see and change what is here;
so a link that is old is worth less (`FRESH`), and nothing here turns messages to another address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import sqlalchemy as sa

from channels.base import Medium
from orchestrator import consenting
from orchestrator.apply import Force
from orchestrator.consenting import MEDIA, Evidence
from orchestrator.ingest import record_consents
from orchestrator.model import AGAINST_ADVERTISING, Json, Vocabulary
from orchestrator.outbound import Asked
from orchestrator.rows import RowReader
from orchestrator.rules import Consent, Standing, Subject, Verdict
from orchestrator.rules.consent import rule as consent_rule
from orchestrator.store import consents, log, outbox, people, preferences
from orchestrator.store.keys import Keys
from orchestrator.store.links import Linked, is_still_theirs
from orchestrator.store.people import Wanted
from orchestrator.store.preferences import Chosen, Format
from orchestrator.store.standing import whereabouts
from orchestrator.store.tables import customer
from orchestrator.zones import local

FRESH: Final = timedelta(days=90)
"""By an older message's link nobody sees or changes own data, nor says yes to anything that needs proof: it may have
been passed on. To say no it is good for ever."""
REST: Final = timedelta(days=30)
LOAN: Final = timedelta(hours=1)
"""How long the link to somebody's own data is good."""
DATA, FRESHER, CALL = "data_link", "fresh_link", "call_me"
"""Origins of the messages that are asked for here."""
METHOD = "preference_centre"
ADDRESS: Final = ("street", "postcode", "city", "region", "country")
Cell = tuple[str, Medium]
"""(topic, medium)."""
Way = Literal["confirm", "grant", "ask", "no"]
"""How a yes is recorded: proven by the link itself, plainly, by asking for a confirmation; or not at all: the law of
where the person may be asks for more than this page can give."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One topic on one medium. `on`: by what is recorded it would be sent; `asked`: a confirmation is awaited."""

    on: bool
    asked: bool
    way: Way


@dataclass(frozen=True, slots=True)
class Centre:
    """What the page is made of. `cells` in the order of topics, then of media; `stopped`: media whose address is on
    the suppression list; `fresh`: whether own data may be seen by this link; `manager`: whether there is one to call.
    """

    person: Json
    cells: Mapping[Cell, Choice]
    stopped: frozenset[Medium]
    chosen: Chosen
    declared: Mapping[str, datetime]
    fresh: bool
    manager: bool


# ---- looking --------------------------------------------------------------------------------------------------------


def centre_of(conn: sa.Connection, keys: Keys, force: Force, link: Linked, now: datetime) -> Centre:
    """What holds for the person now: a fixed number of statements."""
    own = preferences.person(conn, link.customer_id)
    addresses = _addresses(keys, own)
    fresh = is_fresh(conn, keys, link, now)
    # Control of an address is shown by having what was sent to it, if it is that address still.
    used = log.addresses_used(conn, keys, {(link.message_id, link.attempts)}).get((link.message_id, link.attempts), ())
    proven = link.medium if fresh and addresses.get(link.medium) in used else None
    reasons = preferences.suppressions_of(conn, [(m.value, key) for m, key in addresses.items() if key], now)
    stopped = frozenset(m for m in addresses if reasons.get(m.value, frozenset()) - AGAINST_ADVERTISING)
    said = {m: consents.current(conn, [link.customer_id], m).get(link.customer_id, ()) for m in addresses}
    judged = _Judged(force, own, now, proven)
    cells = {(topic, m): judged.choice(topic, m, said[m]) for topic, m in _cells(force, addresses, said)}
    return Centre(
        own.customer,
        cells,
        stopped,
        preferences.chosen_by(conn, [link.customer_id]).get(link.customer_id, preferences.NOTHING),
        preferences.declared_by(conn, [link.customer_id]).get(link.customer_id, {}),
        fresh,
        bool(own.account.get("manager_email") or own.account.get("manager_name")),
    )


def is_fresh(conn: sa.Connection, keys: Keys, link: Linked, now: datetime) -> bool:
    """Whether own data may be seen and changed by this link: it is recent, and went to an address of hers."""
    return now - link.planned_at < FRESH and is_still_theirs(conn, keys, link)


def _addresses(keys: Keys, own: preferences.Person) -> dict[Medium, str]:
    """The media that the person can be reached by, with the hash of the address where it is a single one."""
    row = own.customer
    found = {}
    if row["email"]:
        found[Medium.EMAIL] = keys.address_key(Medium.EMAIL, row["email"])
    if row["phone"]:
        found[Medium.SMS] = keys.address_key(Medium.SMS, row["phone"])
    if own.devices:
        found[Medium.PUSH] = ""
    if row["street"] and row["city"] and row["country"]:
        found[Medium.MAIL] = ""
    return found


def _cells(force: Force, media: Mapping[Medium, str], said: Mapping[Medium, Sequence[Consent]]) -> list[Cell]:
    """What the house writes about on which medium, and what the person has said something about."""
    written = {(template.topic, template.medium) for template in force.project.templates}
    topics = force.project.vocabulary.topics
    spoken = {(c.topic, m) for m, some in said.items() for c in some}
    wanted = written | spoken
    return [(topic, m) for topic in topics for m in MEDIA if m in media and (topic, m) in wanted]


@dataclass(frozen=True, slots=True)
class _Judged:
    """Asks the consent rule itself, so that the page can say nothing else than the gate does."""

    force: Force
    own: preferences.Person
    now: datetime
    proven: Medium | None

    def choice(self, topic: str, medium: Medium, said: Sequence[Consent]) -> Choice:
        asked = any(c.topic == topic and c.state == "requested" for c in said)
        on = self._verdict(topic, medium, tuple(said)).say == "allow"
        return Choice(on, asked and not on, self._way(topic, medium))

    def _way(self, topic: str, medium: Medium) -> Way:
        plain, confirmed = (
            self._verdict(topic, medium, (Consent(topic, "granted", self.now, 0, "express", sure),)).say == "allow"
            for sure in (False, True)
        )
        if self.proven is medium and confirmed:
            return "confirm"
        return "grant" if plain else "ask" if confirmed else "no"

    def _verdict(self, topic: str, medium: Medium, said: tuple[Consent, ...]) -> Verdict:
        person, company = self.own.customer, self.own.account
        zones, places = whereabouts(person, company)
        standing = Standing(
            zones, person["country"] or company.get("country"), person["class"], None, said, None, (), (), None,
            places=places, legal_form=person["legal_form"],
        )  # fmt: skip
        declared = self.force.project.vocabulary.topics[topic]
        at = self.now
        subject = Subject(
            0, "customer", person["id"], None, medium, topic, declared.purpose, 0, at, at, None
        )  # fmt: skip
        return consent_rule(subject, standing, self.force.project.vocabulary.policies, at)


# ---- topics ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of switches: `recorded` at once; `asked`: a confirmation goes out, or went out today; `refused`: the
    law asks for more, or nothing is there to ask with."""

    recorded: int = 0
    asked: tuple[Cell, ...] = ()
    refused: tuple[Cell, ...] = ()


def decide(
    conn: sa.Connection,
    keys: Keys,
    force: Force,
    link: Linked,
    wanted: Mapping[Cell, bool],
    wording: Mapping[Cell, str],
    evidence: Evidence,
    now: datetime,
) -> Decided:
    """Record what was switched: only what is otherwise than it stands now. `wording`: what was shown beside each."""
    centre = centre_of(conn, keys, force, link, now)
    changed = {cell: on for cell, on in wanted.items() if cell in centre.cells and on is not centre.cells[cell].on}
    rows, to_ask, refused = [], [], []
    for cell, on in changed.items():
        way: Way = centre.cells[cell].way if on else "grant"
        if way == "no":
            refused.append(cell)
        elif way == "ask":
            to_ask.append(cell)
        else:
            rows.append(_row(link, cell, way if on else "withdraw", now) | dict(evidence) | {"wording": wording[cell]})
    recorded = record_consents(conn, keys, rows, now=now)
    asked: list[Cell] = []
    for medium in MEDIA:
        mine = [cell for cell in to_ask if cell[1] is medium]
        done = _ask(conn, keys, force, link, centre.person, mine, wording, evidence, now) if mine else True
        (asked if done else refused).extend(mine)
    return Decided(recorded, tuple(asked), tuple(refused))


def _row(link: Linked, cell: Cell, action: str, now: datetime) -> dict[str, Any]:
    topic, medium = cell
    return {
        "key": f"centre:{link.message_id}:{now.isoformat()}:{medium}:{topic}:{action}",
        "customer_id": link.customer_id,
        "medium": medium.value,
        "topic": topic,
        "action": action,
        "occurred_at": now,
        "basis": None if action == "withdraw" else "express",
        "source": f"message {link.message_id}",
    }


def _ask(
    conn: sa.Connection,
    keys: Keys,
    force: Force,
    link: Linked,
    person: Json,
    cells: Sequence[Cell],
    wording: Mapping[Cell, str],
    evidence: Evidence,
    now: datetime,
) -> bool:
    """Double opt-in: whether the person is, or was today, asked to confirm."""
    medium = cells[0][1]
    address = {Medium.EMAIL: person["email"], Medium.SMS: person["phone"]}.get(medium) or ""
    shown = dict(evidence) | {"wording": "\n".join(wording[cell] for cell in cells), "basis": "express"}
    topics = [topic for topic, _ in cells]
    found = consenting.ask_confirmation(
        conn, keys, force, link.customer_id, address, topics, evidence=shown, now=now, medium=medium
    )
    return found in ("asked", "asked_today", "known")


# ---- how much, in what form, in which language -----------------------------------------------------------------------


def set_wishes(
    conn: sa.Connection,
    link: Linked,
    *,
    at_most: int | None,
    per: Literal["week", "month"],
    form: Format,
    now: datetime,
) -> bool:
    """How often, and in what form; whether that is new."""
    old = preferences.chosen_by(conn, [link.customer_id]).get(link.customer_id, preferences.NOTHING)
    new = Chosen(old.wishes._replace(at_most=at_most, per=per), form)
    if new == old._replace(format=old.format or "html") or (at_most is None and _same_but_per(old, new)):
        return False
    preferences.choose(conn, link.customer_id, new, now)
    return True


def _same_but_per(old: Chosen, new: Chosen) -> bool:
    return old.wishes.at_most is None and (old.format or "html") == new.format


def rest(conn: sa.Connection, link: Linked, until: datetime | None, now: datetime) -> None:
    """No marketing until an instant; None: from now on again."""
    old = preferences.chosen_by(conn, [link.customer_id]).get(link.customer_id, preferences.NOTHING)
    preferences.choose(conn, link.customer_id, old._replace(wishes=old.wishes._replace(paused_until=until)), now)


def speak(conn: sa.Connection, vocabulary: Vocabulary, link: Linked, locale: str, now: datetime) -> bool:
    """The language of messages; whether that is new. One that is not offered changes nothing."""
    if locale not in vocabulary.preferences.languages or locale == link.locale:
        return False
    _write(conn, link.customer_id, {"locale": locale}, {}, now)
    preferences.declare(conn, link.customer_id, ["locale"], now)
    return True


# ---- own data -------------------------------------------------------------------------------------------------------


def readable(vocabulary: Vocabulary, person: Json) -> dict[str, str]:
    """The open fields with what stands there, as a form has it."""
    found = {}
    for name in vocabulary.preferences.fields:
        value = person[name] if name in person else person["attributes"].get(name)
        found[name] = ("yes" if value else "no") if isinstance(value, bool) else "" if value is None else str(value)
    return found


def is_settled(vocabulary: Vocabulary, person: Json, name: str) -> bool:
    """Whether a field cannot be changed here any more: an age, once given, is not given again."""
    return bool(name) and name == vocabulary.policies.born and person["attributes"].get(name) is not None


@dataclass(frozen=True, slots=True)
class Told:
    """What became of own data: `changed` fields; `wrong`: those that cannot be stored, and then nothing was."""

    changed: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def tell(conn: sa.Connection, vocabulary: Vocabulary, link: Linked, said: Mapping[str, str], now: datetime) -> Told:
    """Store what the person says of herself, checked as imports check it; it is her own word from now on."""
    person = preferences.person(conn, link.customer_id).customer
    stands = readable(vocabulary, person)
    new = {
        name: " ".join(text.split())
        for name, text in said.items()
        if name in stands and not is_settled(vocabulary, person, name)
    }
    new = {name: text for name, text in new.items() if text != stands[name]}
    if not new:
        return Told()
    reader = RowReader("customers", vocabulary, now)
    wrong = tuple(name for name, text in new.items() if isinstance(reader.read({"key": "x", name: text}), str))
    country = new.get("country") or person["country"]
    more = {"country": country} if "region" in new and country else {}
    read = reader.read({"key": "x", **more, **new})
    if wrong or isinstance(read, str):
        return Told(wrong=wrong or tuple(new))
    values = {name: value for name, value in read.values.items() if name in new}
    _write(conn, link.customer_id, values, read.members, now)
    moved = {*new} & {*ADDRESS}
    # An address is one thing: its town must not come back from an import beside the new street.
    fields = {*new, *(name for name in ADDRESS if moved and name in vocabulary.preferences.fields)}
    preferences.declare(conn, link.customer_id, sorted(fields), now)
    return Told(changed=tuple(new))


def _write(conn: sa.Connection, customer_id: int, values: Json, members: Mapping[str, Any], now: datetime) -> None:
    key = preferences.person(conn, customer_id).customer["key"]
    rows = people.current(conn, customer, [(key,)])
    people.upsert(conn, customer, [Wanted((key,), values, members)], rows, now=now)


# ---- what is asked for ----------------------------------------------------------------------------------------------


def ask_for_link(conn: sa.Connection, link: Linked, origin: str, title: str, text: str, now: datetime) -> bool:
    """Mail the person a link: to her own data (DATA, good for an hour), or a fresh one to this page (FRESHER). At most
    one of a kind goes out in an hour; False where there is no address to mail it to."""
    if not link.email:
        return False
    asked = Asked(
        origin, f"{link.customer_id}:{now:%Y-%m-%dT%H}", "customer", link.customer_id, link.customer_id, None,
        Medium.EMAIL, "", "", "transactional", expires_at=now + LOAN, payload={"title": title, "text": text},
    )  # fmt: skip
    outbox.plan(conn, [asked], now)
    return True


def is_open(conn: sa.Connection, keys: Keys, link: Linked, now: datetime) -> bool:
    """Whether a message's link to own data is good: it was asked for, and went out within the hour, to an address that
    is hers still."""
    if link.origin != DATA or not is_still_theirs(conn, keys, link):
        return False
    at = preferences.decided_at(conn, link.message_id) or link.planned_at
    return now - at < LOAN


def call_me(conn: sa.Connection, force: Force, link: Linked, title: str, text: str, now: datetime) -> bool:
    """Plan a task for whom the workspace names, once a day by its clock. False where nobody would get it."""
    own, vocabulary = preferences.person(conn, link.customer_id), force.project.vocabulary
    to = vocabulary.preferences.call_me
    managed = bool(own.account.get("manager_email") or own.account.get("manager_name"))
    if not to or (to == "account_manager" and not managed):
        return False
    account_id = own.customer["account_id"]
    today = (local(now, vocabulary.timezone) or now).date()
    asked = Asked(
        CALL,
        f"{link.customer_id}:{today}",
        "staff",
        account_id or 0,
        link.customer_id,
        account_id,
        Medium.TASK,
        "",
        "",
        "transactional",
        payload={"to": to, "title": title, "text": text, "call": True},
    )
    outbox.plan(conn, [asked], now)
    return True
