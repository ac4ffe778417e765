"""What comes back without naming a message: texts that people send us, and what is reported of an address.

`ingest` calls it, in its own transaction, and writes down what it finds: consent is recorded there alone. What a text
asks for is the provider's word where it has one (then the provider has answered, and we do not), else our own.

A STOP is a no to every text, of every customer with that number, and of the number itself, whether anybody is known to
have it or not: since the instant it was sent, and for good (Virginia's SB 1339, from 2026, asks for ten years; `retain`
deletes no suppression). It wins over a START of the same instant. One confirmation answers it, when it changed
something; none to a number that no customer has: there is nobody whose language, class or erasure would judge it, and
the provider's own answer to the plain keywords stands in for ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from channels.base import Event, EventKind, Medium, Reason
from orchestrator import keywords
from orchestrator.apply import in_force
from orchestrator.keywords import Meaning
from orchestrator.model import Vocabulary
from orchestrator.outbound import Asked
from orchestrator.store import suppressions, texts
from orchestrator.store.feedback import suppress
from orchestrator.store.keys import Attempt, Keys
from orchestrator.store.texts import LastText, Owner

ATTRIBUTED = timedelta(days=7)
"""So long after a text an answer is taken for one to it."""
CONFIRMED = timedelta(minutes=5)
"""A confirmation of a STOP goes at once or not at all: 47 CFR 64.1200(a)(12) allows it within five minutes."""
ANSWERED = timedelta(minutes=30)
"""The same of other answers: later, nobody remembers the question."""

_TEXTS = frozenset({EventKind.REPLIED, EventKind.UNSUBSCRIBED, EventKind.RESUBSCRIBED})
_GONE = frozenset({EventKind.BOUNCED, EventKind.RETURNED, EventKind.DROPPED})
_BAD = frozenset({Reason.INVALID_ADDRESS, Reason.UNKNOWN_ADDRESS})
_LOST = frozenset({EventKind.FAILED, EventKind.BLOCKED, EventKind.EXPIRED})
_CONTACTS = ("phone", "email", "postal_address", "name")
"""What a HELP is answered with: the first of the sender's that the workspace has."""


@dataclass(frozen=True, slots=True)
class Start:
    """A customer's START: what the STOP took is to be brought back, by a consent with this key."""

    key: str
    customer_id: int
    at: datetime
    evidence: str


@dataclass(slots=True)
class Heard:
    """What was heard, for `ingest` to write down. `replies`: feedback on the messages that were answered.

    `counts`: by kind of feedback; `unknown`: what is about nobody and nothing; `suppressed`: addresses not to be used
    any more, which is done already.
    """

    replies: list[tuple[Event, Attempt]] = field(default_factory=list)
    withdrawals: list[dict[str, Any]] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Asked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    known: int = 0
    unknown: int = 0
    suppressed: int = 0


def hear(conn: sa.Connection, keys: Keys, events: Sequence[Event], now: datetime) -> Heard:
    """What these events, which name no attempt, come to. Writes the suppression list. A fixed number of statements."""
    found = Heard()
    written = [e for e in events if e.kind in _TEXTS and e.address.startswith("+")]
    reported = [e for e in events if e.address and not (e.kind in _TEXTS and e.address.startswith("+"))]
    found.unknown = len(events) - len(written) - len(reported)
    if written:
        _texts(conn, keys, written, found, now)
    if reported:
        _reports(conn, keys, reported, found, now)
    return found


# ---- texts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Text:
    """One text with what is known of its number. `name`: what it is told apart by; `answered`: by the provider."""

    event: Event
    at: datetime
    name: str
    number: str  # the keyed hash
    owners: tuple[Owner, ...]
    last: LastText | None
    meaning: Meaning
    answered: bool

    @property
    def owner(self) -> Owner | None:
        """To whom an answer goes, and whose a reply is: who was written to last, else the only one with the number."""
        if self.last is not None:
            return next((one for one in self.owners if one.id == self.last.customer_id), None)
        return self.owners[0] if len(self.owners) == 1 else None


def _texts(conn: sa.Connection, keys: Keys, events: Sequence[Event], found: Heard, now: datetime) -> None:
    force = in_force(conn)
    vocabulary = force.project.vocabulary if force is not None else None
    whose = texts.owners(conn, Medium.SMS, {e.address for e in events})
    last = texts.last_texts(conn, keys, whose, ATTRIBUTED, now)
    hashes = {e.address: keys.address_key(Medium.SMS, e.address) for e in events}
    stopped = texts.opted_out(conn, hashes.values())
    names = [f"text:{_name(keys, e)}:{owner.id}" for e in events for owner in whose.get(e.address, ())]
    said_before = texts.said_before(conn, keys, names)
    refused = texts.refused_all(conn, {owner.id for some in whose.values() for owner in some})
    all_of_it = []
    for event in events:
        those, before = tuple(whose.get(event.address, ())), last.get(event.address)
        said = _meaning(event, those, vocabulary)
        if said == "start" and not event.meaning and keywords.says_yes(event.text):
            # A bare yes answers whatever we asked last. It is a START to who has stopped, and to nobody else.
            is_out = hashes[event.address] in stopped or any(owner.id in refused for owner in those)
            said = said if is_out else ""
        at, name = min(event.at, now), _name(keys, event)
        if said == "start" and any(f"text:{name}:{owner.id}" in said_before for owner in those):
            found.known += 1  # told again, maybe after a STOP that came behind it
            continue
        text = _Text(event, at, name, hashes[event.address], those, before, said, bool(event.meaning))
        all_of_it.append(text)
    # In order of time; of one instant the STOP has the last word.
    all_of_it.sort(key=lambda text: (text.at, text.meaning == "stop"))
    fresh, lifted = _opt_outs(conn, all_of_it, stopped)
    found.suppressed += len(fresh)
    _replies(conn, all_of_it, found)
    final = {text.number: text for text in all_of_it if text.meaning in ("stop", "start")}
    for text in all_of_it:
        match text.meaning:
            case "stop":
                _stop(text, found, first=text.number in fresh and final[text.number] is text)
            case "start":
                _start(text, found)
            case "help":
                found.counts[EventKind.REPLIED.value] += 1
        changed = text.meaning == "help" or (final.get(text.number) is text and text.number in fresh | lifted)
        if text.meaning and changed and not text.answered and vocabulary is not None:
            _answer(text, vocabulary, found, now)


def _name(keys: Keys, event: Event) -> str:
    """What tells one text from another: the provider's own number of it, else who wrote what and when."""
    own = event.provider_id or f"{event.address}:{event.at.isoformat()}:{event.text}"
    return keys.hash("text", own)


def _meaning(event: Event, those: Iterable[Owner], vocabulary: Vocabulary | None) -> Meaning:
    if event.meaning:
        return event.meaning
    if event.kind is EventKind.UNSUBSCRIBED:
        return "stop"
    if event.kind is EventKind.RESUBSCRIBED:
        return "start"
    house = [vocabulary.locale] if vocabulary is not None else []
    return keywords.meaning(event.text, [*(one.locale for one in those if one.locale), *house])


def _opt_outs(
    conn: sa.Connection, all_of_it: Sequence[_Text], stopped: Mapping[str, datetime]
) -> tuple[set[str], set[str]]:
    """(numbers that are suppressed since now, numbers that are not any more). The last word of each number counts; one
    that is older than the STOP there is lifts nothing."""
    out: dict[str, datetime] = {}
    back: set[str] = set()
    for text in all_of_it:
        if text.meaning == "stop":
            out.setdefault(text.number, text.at)
            back.discard(text.number)
        elif text.meaning == "start":
            out.pop(text.number, None)
            if text.number in stopped and stopped[text.number] < text.at:
                back.add(text.number)
    suppressions.lift(conn, [(Medium.SMS.value, key) for key in back], Reason.OPTED_OUT.value)
    return texts.opt_out(conn, out), back


def _stop(text: _Text, found: Heard, *, first: bool) -> None:
    found.counts[EventKind.UNSUBSCRIBED.value] += 1
    if first and text.last is not None:  # the text that it answers; said again, it answers none
        found.replies.append(_feedback(text, text.last, EventKind.UNSUBSCRIBED))
    for owner in text.owners:
        found.withdrawals.append(
            {
                "key": f"text:{text.name}:{owner.id}",
                "customer_id": owner.id,
                "medium": Medium.SMS.value,
                "topic": "*",
                "action": "withdraw",
                "occurred_at": text.at,
                "method": "keyword",
                "source": "text from the customer's number",
                "evidence": text.event.text[:500],
            }
        )


def _start(text: _Text, found: Heard) -> None:
    found.counts[EventKind.RESUBSCRIBED.value] += 1
    for owner in text.owners:
        found.starts.append(Start(f"text:{text.name}:{owner.id}", owner.id, text.at, text.event.text[:500]))


def _replies(conn: sa.Connection, all_of_it: Sequence[_Text], found: Heard) -> None:
    """What is none of our words is the customer's own: an event, and feedback on the text that it answers."""
    others = {f"text:{text.name}": text for text in all_of_it if not text.meaning}
    known = texts.heard_before(conn, others)
    found.known += len(known)
    for key, text in others.items():
        owner = text.owner
        if key in known:
            continue
        if owner is None:  # nobody's number, or several people's: whose words they are nobody can say
            found.unknown += 1
            continue
        found.counts[EventKind.REPLIED.value] += 1
        if text.last is not None:
            found.replies.append(_feedback(text, text.last, EventKind.REPLIED, key))
            continue
        found.events.append(
            {
                "type": "message_replied",
                "key": key,
                "customer_id": owner.id,
                "account_id": owner.account_id,
                "occurred_at": text.at,
                "properties": {"medium": Medium.SMS.value, "journey": "", "step": "", "text": text.event.text},
            }
        )


def _feedback(text: _Text, last: LastText, kind: EventKind, key: str = "") -> tuple[Event, Attempt]:
    """As feedback on a message. `detail`: the key of the event that it becomes."""
    attempt = Attempt(last.message_id, last.attempt)
    return replace(text.event, attempt=str(attempt), kind=kind, at=text.at, detail=key, url=""), attempt


# ---- answers --------------------------------------------------------------------------------------------------------

_ORIGIN: Mapping[str, str] = {"stop": "stop_confirmation", "start": "start_confirmation", "help": "help_reply"}


def _answer(text: _Text, vocabulary: Vocabulary, found: Heard, now: datetime) -> None:
    """One answer, in the customer's language. Of a HELP one an hour: another machine may answer each of ours."""
    owner = text.owner or next(iter(text.owners), None)
    if owner is None:
        return
    origin = _ORIGIN[text.meaning]
    contact = next((name for name in _CONTACTS if vocabulary.sender.get(name)), "name")
    languages = [language for language in (owner.locale, vocabulary.locale) if language]
    language, words = keywords.answer(origin, languages, contact)
    said = f"{text.number}:{text.at:%Y-%m-%dT%H}" if text.meaning == "help" else text.name
    found.answers.append(
        Asked(
            origin,
            said,
            "customer",
            owner.id,
            owner.id,
            owner.account_id,
            Medium.SMS,
            "",
            "",
            "transactional",
            expires_at=now + (CONFIRMED if text.meaning == "stop" else ANSWERED),
            payload={"text": words, "locale": language, "dedupe": "off"},
        )
    )


# ---- what is reported of an address ---------------------------------------------------------------------------------


def _reports(conn: sa.Connection, keys: Keys, events: Sequence[Event], found: Heard, now: datetime) -> None:
    """Bounces, complaints and unsubscriptions that name an address and no message: the address is not used any more,
    and who complains or unsubscribes says no to everything on the medium."""
    rows: list[tuple[str, str, str, datetime | None]] = []
    against: dict[Medium, list[Event]] = defaultdict(list)
    for event in events:
        medium = Medium.SMS if event.address.startswith("+") else Medium.EMAIL
        why = _why(event)
        if why:
            rows.append((medium.value, keys.address_key(medium, event.address), why, None))
        if event.kind in (EventKind.COMPLAINED, EventKind.UNSUBSCRIBED) or event.reason is Reason.OPTED_OUT:
            against[medium].append(event)
        elif not why:
            found.unknown += 1
            continue
        found.counts[event.kind.value] += 1
    found.suppressed += suppress(conn, rows, now)
    for medium, those in against.items():
        whose = texts.owners(conn, medium, {e.address for e in those})
        found.withdrawals += [
            {
                "key": f"address:{keys.address_key(medium, e.address)}:{e.kind.value}:{e.at.isoformat()}:{owner.id}",
                "customer_id": owner.id,
                "medium": medium.value,
                "topic": "*",
                "action": "withdraw",
                "occurred_at": min(e.at, now),
                "method": e.kind.value,
                "source": "reported of the address by the provider",
            }
            for e in those
            for owner in whose.get(e.address, ())
        ]


def _why(event: Event) -> str:
    """Why an address must not be used any more; "" when it may be."""
    kind, reason = event.kind, event.reason
    if kind is EventKind.COMPLAINED:
        return kind.value
    if reason is Reason.OPTED_OUT:
        return reason.value
    if kind in _GONE or (kind in _LOST and reason in _BAD):
        return reason.value if reason is not None and reason in _BAD else kind.value
    return ""
