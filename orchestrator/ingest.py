"""Take in what happens outside: events, feedback on messages, consents. Only here is consent recorded.

Nothing here decides where anybody goes: sleepers are woken, and `advance` judges exit, goal and wait for them. So a
tick's order is ingest, advance, deliver, and an exit acts on everything still queued.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from channels.base import Event, EventKind, Medium, Reason
from orchestrator.apply import Force, in_force, journey_version
from orchestrator.cells import device_token
from orchestrator.hear import Heard, hear
from orchestrator.problems import ProjectError
from orchestrator.rows import PLATFORMS
from orchestrator.store import consents, devices, log, outbox, people, suppressions, versions
from orchestrator.store import feedback as heard
from orchestrator.store import journeys as running
from orchestrator.store.auditing import erased_among
from orchestrator.store.database import Store
from orchestrator.store.feedback import Told
from orchestrator.store.keys import Attempt, Keys
from orchestrator.store.rights import turned_away

_WOKEN = "woken_by_event"

_PROOF = frozenset(
    {
        EventKind.DELIVERED,
        EventKind.OPENED,
        EventKind.MACHINE_OPENED,
        EventKind.CLICKED,
        EventKind.REPLIED,
        EventKind.COMPLAINED,
        EventKind.UNSUBSCRIBED,
        EventKind.RESUBSCRIBED,
    }
)
"""Whoever does this has the message."""
_TAKEN = frozenset({EventKind.ACCEPTED, EventKind.DEFERRED, EventKind.SOFT_BOUNCED})
"""The provider has it; whether it arrives is open."""
_BOUNCED = frozenset({EventKind.BOUNCED, EventKind.RETURNED})
_LOST = frozenset({EventKind.FAILED, EventKind.BLOCKED, EventKind.DROPPED, EventKind.EXPIRED})
_TEXTS = ("url", "text", "detail", "address", "provider_id")
_LONGEST_URL = 2_000
_OPT_OUTS = frozenset({EventKind.COMPLAINED, EventKind.UNSUBSCRIBED})
_BAD_ADDRESS = frozenset({Reason.INVALID_ADDRESS, Reason.UNKNOWN_ADDRESS})
# What each state may become. A bounce may follow a delivery (a relay took it, the mailbox did not); nothing undoes one.
_OPEN = frozenset({"sending", "uncertain", "sent"})
_FROM: Mapping[str, frozenset[str]] = {
    "sent": frozenset({"uncertain"}),
    "delivered": _OPEN,
    "bounced": _OPEN | {"delivered"},
    "failed": _OPEN,
}


@dataclass(frozen=True, slots=True)
class ReceiveReport:
    """What became of events from channels: `new` by kind; `known` had come before; `unknown` name no attempt of ours.

    `paused`: journeys that `pause_if` stopped.
    """

    new: Mapping[str, int] = field(default_factory=dict)
    known: int = 0
    unknown: int = 0
    suppressed: int = 0
    withdrawn: int = 0
    paused: tuple[str, ...] = ()


# ---- events ---------------------------------------------------------------------------------------------------------


def record_events(conn: sa.Connection, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> int:
    """Store events (type, key, customer_id, account_id, occurred_at, properties); returns how many were new.

    The same type and key is the same event. Ids grow in the order of commits: enroll's watermark, and advance's, is
    the highest id seen. `advance` wakes whoever listens (`wake_new`) before it moves anybody.
    """
    if not rows:
        return 0
    return len(people.add_events(conn, [{**row, "received_at": now} for row in rows]))


def wake_by_events(conn: sa.Connection, first_id: int, last_id: int, now: datetime) -> int:
    """Wake sleepers in journeys that listen to the types of these events, and whose unit they are about.

    One statement for each journey version that people are in and that listens to one of their types. Waking too many or
    twice does no harm: whoever is woken for nothing stays.
    """
    force = in_force(conn)
    return 0 if force is None else _wake(conn, force, first_id, last_id, now)


def wake_new(conn: sa.Connection, force: Force, now: datetime) -> int:
    """Wake for every event since the last call: whoever stored it, and whatever became of that process since."""
    seen, last = versions.seen_of_events(conn, _WOKEN)
    if last <= seen:
        return 0
    woken = _wake(conn, force, seen + 1, last, now)
    versions.set_number(conn, _WOKEN, last)
    return woken


def is_new(conn: sa.Connection) -> bool:
    """Whether there is an event for which `wake_new` has not woken yet."""
    seen, last = versions.seen_of_events(conn, _WOKEN)
    return last > seen


def _wake(conn: sa.Connection, force: Force, first_id: int, last_id: int, now: datetime) -> int:
    new, woken = versions.newest_events(conn, first_id - 1), 0
    for name, version, unit in running.live_versions(conn):
        try:
            types = journey_version(conn, force, name, version).journey.listens()
        except ProjectError:
            continue  # parked until a workspace that can read it is applied, and woken then
        if not types.isdisjoint(new):
            where = heard.heard_by(unit, types)
            woken += running.wake_in(conn, name, version, where, now, first=first_id, last=last_id)
    return woken


# ---- consent --------------------------------------------------------------------------------------------------------


def record_consents(conn: sa.Connection, keys: Keys, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> int:
    """Append consent events that are not there yet, by key; returns how many. What is in force follows from them.

    Rows have key, customer_id, medium, topic ("*": every topic of the medium), action, occurred_at, and of what
    `store.consents.record_consents` names beside these, all that is known."""
    return consents.record_consents(conn, keys, [{**row, "received_at": now} for row in rows])


def suppress(conn: sa.Connection, rows: Iterable[tuple[str, str, str, datetime | None]], *, now: datetime) -> int:
    """Put addresses on the suppression list: (medium, address key, reason, until when, None for good)."""
    return heard.suppress(conn, rows, now)


# ---- feedback -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Round:
    """What a batch of feedback comes to, collected before anything is written."""

    now: datetime
    states: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    entries: list[log.Entry] = field(default_factory=list)
    bad: list[tuple[Told, Attempt, str, datetime]] = field(default_factory=list)
    consents: list[dict[str, Any]] = field(default_factory=list)
    back: list[tuple[Told, Attempt, datetime]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)


def receive(store: Store, keys: Keys, events: Sequence[Event], *, now: datetime) -> ReceiveReport:
    """Record what channels report, once each; settle messages by it, suppress, withdraw, and wake who waits for it.

    Never backwards: what bounced does not become delivered, whatever comes late. An uncertain message of which
    anything is heard is uncertain no more. What names no attempt but an address (a text from somebody's number, a
    bounce that comes days later) is taken in as `hear` finds.
    """
    events = [_storable(event) for event in events]
    found = [(event, attempt) for event in events if (attempt := Attempt.read(event.attempt)) is not None]
    others = [event for event in events if not event.attempt and event.address]
    report = store.written(lambda conn: _receive(conn, keys, found, others, now))
    return replace(report, unknown=report.unknown + len(events) - len(found) - len(others))


def receive_in(conn: sa.Connection, keys: Keys, events: Sequence[Event], *, now: datetime) -> ReceiveReport:
    """The same in the caller's transaction, for what names attempts."""
    found = [(event, attempt) for event in events if (attempt := Attempt.read(event.attempt)) is not None]
    return _receive(conn, keys, found, (), now)


def _receive(
    conn: sa.Connection, keys: Keys, named: Sequence[tuple[Event, Attempt]], others: Sequence[Event], now: datetime
) -> ReceiveReport:
    told = hear(conn, keys, others, now) if others else Heard()
    found = [*named, *told.replies]
    messages = heard.lock_messages(conn, {attempt.message_id for _, attempt in found})
    # Two installations behind one account with a provider hear of each other's: what was never tried here is not ours.
    ours = [(e, a) for e, a in found if a.message_id in messages and a.number <= messages[a.message_id].attempts]
    if any(event.url for event, _ in ours):
        ours = _without_the_erased(conn, ours, messages)
    rows = [
        {
            "message_id": a.message_id,
            "kind": e.kind.value,
            "at": e.at,
            "received_at": now,
            "url": e.url,
            "reason": e.reason and e.reason.value,
        }
        for e, a in ours
    ]
    fresh = heard.add_feedback(conn, rows)
    work = _Round(now)
    counts: Counter[str] = Counter()
    # In order of time, so that what was later has the last word where both would have.
    for event, attempt in sorted(ours, key=lambda pair: pair[0].at):
        key = (attempt.message_id, event.kind.value, event.at, event.url)
        if key in fresh:
            fresh.discard(key)
            counts[event.kind.value] += not event.address  # else it is counted as what was heard
            _take(work, messages[attempt.message_id], attempt, event)
    heard.set_states(conn, [(i, state, reason) for i, (state, reason) in work.states.items()], now)
    log.append(conn, work.entries, log.person_keys(conn, keys, {e.customer_id for e in work.entries if e.detail}))
    suppressed = _suppress(conn, keys, work) + told.suppressed
    withdrawn = record_consents(conn, keys, [*work.consents, *told.withdrawals], now=now)
    _start(conn, keys, work)
    _bring_back(conn, keys, told, now)
    record_events(conn, [*work.events, *told.events], now=now)
    outbox.plan(conn, told.answers, now)
    runs = {messages[e.message_id].enrollment_id for e in work.entries if e.message_id is not None}
    running.wake_settled(conn, [i for i in runs if i is not None], now)
    paused = pause_failing(conn, work.wrong, now)
    known = sum(1 for event, _ in ours if not event.address) - sum(counts.values()) + told.known
    return ReceiveReport(+(counts + told.counts), known, len(found) - len(ours) + told.unknown, suppressed, withdrawn,
                         paused)  # fmt: skip


def _storable(event: Event) -> Event:
    """The same as every database keeps it: PostgreSQL knows no NUL, half a character is no UTF-8, and a link's address
    is in an index, whose entries have an end. One event that cannot be written would hold up all that came with it."""
    texts = {name: getattr(event, name) for name in _TEXTS}
    whole = "".join(texts.values())
    if whole.isascii() and "\0" not in whole and len(event.url) <= _LONGEST_URL:
        return event
    plain = {name: text.replace("\0", "").encode(errors="replace").decode() for name, text in texts.items()}
    return replace(event, **{**plain, "url": plain["url"][:_LONGEST_URL]})


def _without_the_erased(
    conn: sa.Connection, ours: Sequence[tuple[Event, Attempt]], messages: Mapping[int, Told]
) -> list[tuple[Event, Attempt]]:
    """The same, without the addresses of links that people followed who have been erased since: they may name them."""
    people = {told.id: told.customer_id for told in messages.values() if told.customer_id is not None}
    gone = erased_among(conn, people.values())
    return [(replace(e, url="") if people.get(a.message_id) in gone else e, a) for e, a in ours]


def _take(work: _Round, told: Told, attempt: Attempt, event: Event) -> None:
    """One new piece of feedback: its line in the log, and what follows from it."""
    state = work.states.get(told.id, (told.state, None))[0]
    reason = event.reason.value if event.reason else ""
    kind, about = event.kind, {"journey": told.journey, "step": told.step, "medium": told.medium}
    body = {**about, "at": event.at.isoformat(), "delivery": attempt.delivery or None}
    body = {name: value for name, value in body.items() if value}
    # The address of a link may name who follows it (`?for=…`): sealed, it is gone when that person is erased.
    detail = {"url": event.url} if event.url else None
    entry = log.Entry("feedback", work.now, told.id, attempt.number, kind.value, reason, "", body, detail)
    work.entries.append(entry._replace(customer_id=told.customer_id))
    new = _becomes(kind, attempt)
    given_up = state == "failed" and told.id not in work.states and told.reason == "unknown_outcome"
    if new is not None and (state in _FROM[new] or given_up):
        why = (reason or kind.value) if new in ("bounced", "failed") else None
        work.states[told.id] = (new, why)
        entry = log.Entry("outcome", work.now, told.id, attempt.number, new, why or "", body={**about, "was": state})
        work.entries.append(entry)
        if new in heard.ERRORS and told.journey:
            work.wrong.add(told.journey)
    if kind is EventKind.REPLIED:
        work.events.append(_reply(told, event))
    if event.address:
        return  # what it does to the address and to consents is said of the number itself, whoever has it
    if (why := _bad_address(told, event)) is not None:
        work.bad.append((told, attempt, why, event.at))
    if kind in _OPT_OUTS or (kind in _LOST and event.reason is Reason.OPTED_OUT):
        _refuse(work, told, kind.value, event.at)
    if kind is EventKind.RESUBSCRIBED:
        work.back.append((told, attempt, event.at))


def _becomes(kind: EventKind, attempt: Attempt) -> str | None:
    if kind in _PROOF:
        return "delivered"
    if kind in _TAKEN:
        return "sent"
    if attempt.delivery:
        return None  # one device of several: the message itself may have arrived on another
    if kind in _BOUNCED:
        return "bounced"
    return "failed" if kind in _LOST else None


def _bad_address(told: Told, event: Event) -> str | None:
    """Why the address must not be used any more; None when it may be.

    A complaint and a STOP are about the address, whoever shares it (47 CFR 64.1200(a)(10); mailbox providers judge a
    sender by what it sends to those who complained). An unsubscription by e-mail is the customer's, from one topic.
    """
    kind, reason = event.kind, event.reason
    if kind is EventKind.COMPLAINED:
        return kind.value
    if kind is EventKind.UNSUBSCRIBED:
        return Reason.OPTED_OUT.value if told.medium == Medium.SMS else None
    if kind in _LOST and reason is Reason.OPTED_OUT:
        return reason.value
    if kind in _BOUNCED or kind is EventKind.DROPPED or (kind in _LOST and reason in _BAD_ADDRESS):
        return reason.value if reason is not None and reason in _BAD_ADDRESS else kind.value
    return None


def _refuse(work: _Round, told: Told, method: str, at: datetime) -> None:
    """A complaint and an unsubscription are a no to the topic; a STOP by text is one to every text.

    Said now at the latest: a provider's clock may be ahead, and no yes could follow on a no of later.
    """
    at = min(at, work.now)
    if told.addressee == "customer" and told.customer_id is not None:
        work.consents.append(_word(told, method, at, _scope(told.medium, told.topic), "withdraw"))


def _scope(medium: str, topic: str) -> str:
    return "*" if medium == Medium.SMS or not topic else topic


def _word(told: Told, method: str, at: datetime, topic: str, action: str, **more: Any) -> dict[str, Any]:
    # The topic and the ground are in the key of what a START brings back: it may be several.
    part = f":{topic}:{more['basis']}" if more else ""
    return {
        "key": f"feedback:{told.id}:{method}:{at.isoformat()}{part}",
        "customer_id": told.customer_id,
        "medium": told.medium,
        "topic": topic,
        "action": action,
        "occurred_at": at,
        "method": method,
        "source": f"message {told.id}",
        **more,
    }


def _start(conn: sa.Connection, keys: Keys, work: _Round) -> None:
    """What a START, or a resubscription, brings back: what the STOP took, and nothing that somebody else did.

    The customer's grounds are those of before; where there were none, it is the plain yes that it says. A bounce, a
    complaint and a list's entry stay.
    """
    if not work.back:
        return
    used = log.addresses_used(conn, keys, {(told.id, attempt.number) for told, attempt, _ in work.back})
    pairs = [(told.medium, key) for told, attempt, _ in work.back for key in used.get((told.id, attempt.number), ())]
    suppressions.lift(conn, pairs, Reason.OPTED_OUT.value)
    rows = []
    for told, _, said_at in work.back:
        at = min(said_at, work.now)  # a provider's clock may be ahead, and nothing is sent on a yes of later
        if told.addressee != "customer" or told.customer_id is None:
            continue
        scope, method = _scope(told.medium, told.topic), EventKind.RESUBSCRIBED.value
        for given, action, more in _before(conn, told.customer_id, told.medium, scope):
            rows.append(_word(told, method, at, given.topic, action, **more))
    record_consents(conn, keys, rows, now=work.now)


def _before(
    conn: sa.Connection, customer_id: int, medium: str, scope: str
) -> Iterable[tuple[consents.Given, str, dict[str, Any]]]:
    before = consents.given_before(conn, customer_id, medium, scope)
    for given in before or [consents.Given(scope, "express", False, None)]:
        more = {"basis": given.basis, "expires_at": given.until}
        yield given, "confirm" if given.confirmed else "grant", more


def _bring_back(conn: sa.Connection, keys: Keys, told: Heard, now: datetime) -> None:
    """The same for a START that came as a text: of every customer with the number."""
    rows: list[dict[str, Any]] = []
    for start in told.starts:
        for number, (given, action, more) in enumerate(_before(conn, start.customer_id, Medium.SMS.value, "*")):
            row = {
                "key": f"{start.key}:{number}" if number else start.key,  # `hear` asks for the first
                "customer_id": start.customer_id,
                "medium": Medium.SMS.value,
                "topic": given.topic,
                "action": action,
                "occurred_at": start.at,
                "method": "keyword",
                "source": "text from the customer's number",
                "evidence": start.evidence,
            }
            rows.append(row | more)
    record_consents(conn, keys, rows, now=now)


def revoke(conn: sa.Connection, keys: Keys, messages: Iterable[tuple[int, int, str, str]], *, now: datetime) -> int:
    """The provider refused these because the recipient had opted out with it: (message id, customer id, medium, topic).
    That is a no like any other; returns how many were new."""
    rows = [
        {
            "key": f"feedback:{message_id}:{Reason.OPTED_OUT.value}",
            "customer_id": customer_id,
            "medium": medium,
            "topic": _scope(medium, topic),
            "action": "withdraw",
            "occurred_at": now,
            "method": Reason.OPTED_OUT.value,
            "source": f"message {message_id}",
        }
        for message_id, customer_id, medium, topic in messages
    ]
    return record_consents(conn, keys, rows, now=now)


def _reply(told: Told, event: Event) -> dict[str, Any]:
    return {
        "type": "message_replied",
        "key": event.detail if event.address else f"reply:{told.id}:{event.at.isoformat()}",
        "customer_id": told.customer_id,
        "account_id": told.account_id,
        "occurred_at": event.at,
        "properties": {"medium": told.medium, "journey": told.journey or "", "step": told.step}
        | ({"text": event.text} if event.text else {}),
    }


def _suppress(conn: sa.Connection, keys: Keys, work: _Round) -> int:
    """The addresses that bounced, as they were when the message went out; and devices that are gone."""
    if not work.bad:
        return 0
    used = log.addresses_used(conn, keys, {(told.id, attempt.number) for told, attempt, _, _ in work.bad})
    rows: list[tuple[str, str, str, datetime | None]] = []
    gone: dict[int, dict[str, datetime]] = defaultdict(dict)
    for told, attempt, why, at in work.bad:
        addresses = used.get((told.id, attempt.number), ())
        chosen = addresses[attempt.delivery - 1 : attempt.delivery] if attempt.delivery else addresses
        rows += [(told.medium, address, why, None) for address in chosen]
        if told.medium == Medium.PUSH and told.customer_id is not None:
            gone[told.customer_id] |= {address: max(at, gone[told.customer_id].get(address, at)) for address in chosen}
    anew = _retire(conn, keys, gone, work.now)
    return suppress(conn, [row for row in rows if row[1] not in anew], now=work.now)


def retire_devices(conn: sa.Connection, keys: Keys, gone: Mapping[int, Iterable[str]], *, now: datetime) -> None:
    """Devices that are not written to any more, as was said now: customer id → hashes of their tokens."""
    _retire(conn, keys, {owner: dict.fromkeys(those, now) for owner, those in gone.items()}, now)


def _retire(
    conn: sa.Connection, keys: Keys, gone: Mapping[int, Mapping[str, datetime]], now: datetime
) -> frozenset[str]:
    """The same, with when it was said of each. Whoever registered since is kept, and returned: a late word is about the
    registration before (APNs gives the instant with its 410; an app may be back by the time we hear of it)."""
    ids, anew = [], set()
    for device_id, owner, token, registered in heard.devices_of(conn, gone) if gone else ():
        said_at = gone[owner].get(key := keys.address_key(Medium.PUSH, token))
        if said_at is not None and registered > said_at:
            anew.add(key)
        elif said_at is not None:
            ids.append(device_id)
    if ids:
        heard.retire_devices(conn, ids, now)
    return frozenset(anew)


# ---- devices --------------------------------------------------------------------------------------------------------


def register_devices(
    conn: sa.Connection, keys: Keys, rows: Sequence[Mapping[str, Any]], *, now: datetime
) -> list[tuple[str, str]]:
    """An app says that it is there: rows have customer_id, token, platform. What became of each, in order: new, known,
    moved (it was another customer's: a token goes with whoever is signed in), back (it was retired), or refused, with
    why. Registered again, a token counts as good again; a complaint, an opt-out and a list's entry stay."""
    tokens = [device_token(row["token"]) for row in rows]
    erased = turned_away(conn, keys, {token: {"token": token} for token in tokens if token})
    good = [
        {"customer_id": row["customer_id"], "token": token, "platform": row["platform"]}
        for row, token in zip(rows, tokens, strict=True)
        if token and token not in erased and row["platform"] in PLATFORMS
    ]
    said = iter(devices.register(conn, good, now) if good else ())
    pairs = [(Medium.PUSH.value, keys.address_key(Medium.PUSH, row["token"])) for row in good]
    for reason in (*(why.value for why in _BAD_ADDRESS), *(kind.value for kind in (*_BOUNCED, EventKind.DROPPED))):
        suppressions.lift(conn, pairs, reason)
    found = []
    for row, token in zip(rows, tokens, strict=True):
        if not token:
            found.append(("refused", "token is no device's token"))
        elif token in erased:
            found.append(("refused", erased[token]))
        elif row["platform"] not in PLATFORMS:
            found.append(("refused", f"platform is one of {', '.join(PLATFORMS)}"))
        else:
            found.append((str(next(said)), ""))
    return found


def unregister_devices(
    conn: sa.Connection, tokens: Iterable[str], *, now: datetime, customer_id: int | None = None
) -> int:
    """An app says that it is gone, or its user signed out; returns how many were live. `customer_id`: only hers."""
    return devices.retire(conn, [t for token in tokens if (t := device_token(token))], now, customer_id)


# ---- journeys that go wrong -----------------------------------------------------------------------------------------


def pause_failing(conn: sa.Connection, journeys: Iterable[str], now: datetime) -> tuple[str, ...]:
    """Pause those of these journeys of whose last sends more went wrong than `pause_if` allows; returns their names."""
    names = sorted(set(journeys))
    force = in_force(conn) if names else None
    if force is None or force.project.vocabulary.policies.pause_if is None:
        return ()
    share, last = force.project.vocabulary.policies.pause_if
    paused = []
    for name in names:
        # Of `last`, even when it has sent fewer so far: the second message ever is not one half of anything.
        errors = heard.errors_of_last(conn, name, last)
        if errors <= share * last or force.is_paused(name):
            continue
        reason = f"{errors} of the last {last} messages went wrong, more than pause_if allows ({share:.4g})"
        if versions.pause(conn, name, by="orchestrator", reason=reason, now=now):
            paused.append(name)
    return tuple(paused)
