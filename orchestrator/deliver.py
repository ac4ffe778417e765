"""Hand over what is due: judge it on fresh facts, write it, commit to it, look once more, send. The one door out.

A batch goes through five transactions of its own: the lease, the facts, the decisions (the commit point: without that
commit nothing is sent), a last look before every request, and what became of it. A worker may die between any two:
before the commit point the batch is simply judged again; behind it, what has no outcome is `uncertain` and is never
sent again by itself. The promise is: never twice, never unaccounted for.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from channels.base import Channel, Collects, Discards, Medium, Misconfigured, Readies, Rechecks, Unavailable
from orchestrator import collect
from orchestrator.apply import Force, in_force, journey_version
from orchestrator.decision import Case, Lines, broken, policies_hash, policies_text, refused, subject_of
from orchestrator.hand import LEASE, LONGEST, Keep, hand
from orchestrator.ingest import pause_failing
from orchestrator.journey import Journey
from orchestrator.model import Json, Policies
from orchestrator.outbound import Due, Links, Unwritable, Writer
from orchestrator.outcome import (
    REASONS,
    Delivery,
    End,
    asked_for,
    chunks_of,
    ended,
    pause_after,
    reason_of,
    stopped_by,
)
from orchestrator.problems import ProjectError
from orchestrator.refer import with_links
from orchestrator.rules import Contact, judge
from orchestrator.settle import settle, wake
from orchestrator.store import links as linked
from orchestrator.store import log, outbox, rates, versions
from orchestrator.store.counting import Contacts, counted
from orchestrator.store.database import Store, uncollected
from orchestrator.store.keys import Attempt, Keys
from orchestrator.store.outbox import Lease
from orchestrator.store.standing import Asked, Facts, gather
from orchestrator.tracking import link_key

__all__ = ["REASONS", "DeliverReport", "Keys", "Line", "deliver", "links_of", "resend_is_safe"]

BATCH = 1000
_SHARE = 0.5  # seconds of a channel's rate that one round takes
_SPREAD = ("quiet_hours", "budget")  # rules that hold many till one instant
_FRESH, _LOOKS = 0.8, 3  # seconds that a last look may take, and how many are taken
_IN_TIME = 0.75  # how much of the time that something is open is used to spread what was held

Clock = Callable[[], datetime]
Sends = Callable[[Channel, Due], bool]
Senders = Mapping[str, Mapping[str, str]]
Permits = Callable[[Medium, str], bool]
"""Whether a destination may be written to outside production."""


class Line(NamedTuple):
    """What is counted: `kind` decision or outcome; `verdict` allow, hold, deny, or the message's new state."""

    journey: str
    medium: str
    kind: str
    verdict: str
    reason: str


def resend_is_safe(channel: Channel, due: Due) -> bool:
    """Whether an uncertain message may be planned again at once. By its topic's policy alone it is `reconcile`'s to
    say, in time."""
    return channel.resend == "safe"


def links_of(keys: Keys, public_url: str) -> Callable[[int], Mapping[str, str]]:
    """Message id → its own links by name. Opaque: what they lead to is looked up by the message, and nothing in them
    says who got it."""
    base = public_url.rstrip("/")
    return lambda message_id: Links(lambda page: f"{base}/{page}/{keys.link_token(message_id, page)}")


@dataclass(frozen=True, slots=True)
class DeliverReport:
    """What a call did. `judged`: messages decided on. `problems`: what an operator should know, in words; `paused`:
    journeys that `pause_if` stopped."""

    judged: int = 0
    counts: Mapping[Line, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()

    def total(self, verdict: str, reason: str | None = None) -> int:
        """How many of a verdict or outcome, over all journeys and media."""
        return sum(n for line, n in self.counts.items() if line.verdict == verdict and reason in (None, line.reason))


def deliver(
    store: Store,
    channels: Mapping[Medium, Channel],
    keys: Keys,
    *,
    now: datetime | Clock,
    worker: str = "deliver",
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    public_url: str = "http://localhost:8400",
    senders: Senders = {},  # noqa: B006  (never written)
    permits: Permits | None = None,
    send_again: Sends = resend_is_safe,
    writer: type[Writer] = Writer,
) -> DeliverReport:
    """Deliver what is due until nothing is, `stop()` says so between two requests, or `limit` messages were judged.

    `now`: aware UTC, or a clock that gives it. Any number of workers may run at once: a batch is one worker's at a
    time, for a minute. Media take turns, so that none waits for a slow one; within a medium transactional messages go
    first, then by priority and time. A channel's `rate` is kept by all workers together, and where its provider asks
    to wait, all of them do.
    `public_url`: where links in messages lead. `senders`: the machine settings' own; `permits`: their list of
    recipients, None where every one may be written to. `send_again` may allow that what a dead worker left is planned
    once more: by default only where the channel says that a resend is safe. `writer`: whose words go out; another one
    than the usual is for channels alone that throw them away, else ValueError.
    """
    if writer is not Writer and not all(isinstance(channel, Discards) for channel in channels.values()):
        raise ValueError("words that are not everybody's own may only go to channels that throw them away")
    clock: Clock = now if callable(now) else lambda: now
    owner = f"{worker}/{secrets.token_hex(4)}"
    run = _Run(store, channels, keys, clock, owner, stop, public_url, senders, permits, send_again, writer)
    while not stop() and (limit is None or run.judged < limit):
        if not run.one_round_each(BATCH if limit is None else limit - run.judged):
            break
    return DeliverReport(run.judged, run.counts, tuple(dict.fromkeys(run.problems)), tuple(sorted(run.paused)))


@dataclass(slots=True)
class _Run:
    """One call of `deliver`."""

    store: Store
    channels: Mapping[Medium, Channel]
    keys: Keys
    clock: Clock
    owner: str
    stop: Callable[[], bool]
    public_url: str
    senders: Senders
    permits: Permits | None
    send_again: Sends
    makes: type[Writer]
    began: datetime = field(init=False)
    began_at: float = field(init=False)
    judged: int = 0
    counts: Counter[Line] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)  # journeys of which a message failed
    away: set[Medium] = field(default_factory=set)
    ready_at: dict[Medium, float] = field(default_factory=dict)
    documented: set[str] = field(default_factory=set)  # policies that are among the documents
    writer: tuple[str, Writer] | None = None
    left_out: Counter[str] = field(default_factory=Counter)  # of a job under way, by reason

    def __post_init__(self) -> None:
        self.began, self.began_at = self.clock(), time.monotonic()

    def one_round_each(self, most: int) -> bool:
        """One batch of every medium; False when none had anything to do."""
        busy, waiting = False, []
        with self.store.read() as conn:
            due, held_back = outbox.waiting(conn, self.clock())
        for medium, channel in self.channels.items():
            if medium not in due or medium in self.away or self.stop() or rates.name_of(channel) in held_back:
                continue
            wait = self.ready_at.get(medium, 0.0) - time.monotonic()
            if wait > 0:
                waiting.append(wait)
            else:
                with uncollected():
                    busy |= self._round(medium, channel, most)
        if not busy and waiting:
            self._sleep(min(waiting))
        return busy or bool(waiting)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stop():
            time.sleep(min(left, 0.2))

    def _round(self, medium: Medium, channel: Channel, most: int) -> bool:
        if isinstance(channel, Collects):
            return self._job(medium, channel)
        now = self.clock()
        found = self.store.written(lambda conn: self._lease(conn, medium, channel, min(most, BATCH), now))
        if found is None:
            return False
        began = time.monotonic()
        if isinstance(found, float):  # the channel's rate is used up, by whomever
            self.ready_at[medium] = began + found
            return True
        force, held = found
        used = 0
        if held.messages:
            deliveries = self._decide(force, held)
            used = self._hand_over(channel, held, deliveries)
            if channel.rate is not None:
                self.ready_at[medium] = began + used / channel.rate
        self.store.written(lambda conn: self._release(conn, channel, held, len(held.messages) - used))
        return True

    def _job(self, medium: Medium, channel: Channel) -> bool:
        """Everything that has come together by a channel's cut-off, decided and handed over in one piece."""
        assert isinstance(channel, Collects)
        self.left_out = Counter()

        def lease(conn: sa.Connection, now: datetime) -> tuple[Force, Lease] | float | None:
            return self._lease(conn, medium, channel, BATCH, now)

        job = collect.gathered(self.store, channel, lease, self._decide, self.clock, self.stop, BATCH)
        if (held := job.held) is None:
            return False
        self._count("outcome", ((due, "planned", collect.REASON) for due in job.waiting))
        if job.deliveries:
            self._hand_over(channel, held, job.deliveries)
        self.store.written(lambda conn: self._release(conn, channel, held, 0))
        return True

    def _instant(self) -> datetime:
        """The clock for what is left of a rate: goes on where a rehearsal's stands still, and never back."""
        return max(self.clock(), self.began + timedelta(seconds=time.monotonic() - self.began_at))

    def _release(self, conn: sa.Connection, channel: Channel, held: Lease, left: int) -> None:
        if channel.rate is not None:
            rates.give_back(conn, rates.name_of(channel), left)
        outbox.release(conn, held, self.clock())
        if self.wrong:
            # Once more behind our own commit: of two workers that had each too few failures to pause for, neither
            # saw the other's when it settled.
            self.paused.update(pause_failing(conn, self.wrong, self.clock()))

    # ---- leases

    def _lease(
        self, conn: sa.Connection, medium: Medium, channel: Channel, most: int, now: datetime
    ) -> tuple[Force, Lease] | float | None:
        """What is leased; None when nothing is due; seconds to wait while the channel's rate is used up."""
        force = in_force(conn)
        if force is None or versions.EVERYTHING in force.paused:
            return None
        taken = None
        if channel.rate is not None:
            name, burst = rates.name_of(channel), max(1.0, channel.rate * _SHARE)
            taken = rates.take(conn, name, channel.rate, burst, most, self._instant())
            if not taken.tokens:
                return taken.wait
            most = taken.tokens
        held = outbox.lease(
            conn,
            medium,
            owner=self.owner,
            now=now,
            until=now + _span(channel),
            most=most,
            paused=bool(force.paused),
            whole=isinstance(channel, Collects),
        )
        if taken is not None:
            rates.give_back(conn, name, taken.tokens - (0 if held is None else len(held.messages)))
        if held is None:
            return None
        if held.lost:
            self._lost(conn, channel, held.lost, now)
        changed = _changed_topics(force, held.messages)
        if changed:
            outbox.set_topics(conn, changed.values())
            held = replace(held, messages=tuple(changed.get(due.id, due) for due in held.messages))
        return force, held

    def _lost(self, conn: sa.Connection, channel: Channel, lost: Sequence[Due], now: datetime) -> None:
        """Decided by a worker that never told the outcome: it may have handed them over, so nobody does it again."""
        ends = []
        for due in lost:
            delivery = Delivery(due, due.attempts, (), ())
            if self.send_again(channel, due):
                ends.append(End(delivery, "planned", "lost_worker", again=now, given_back=True))
            else:
                ends.append(End(delivery, "uncertain", "lost_worker"))
        self._settle(conn, channel, ends, now)

    # ---- the decision

    def _decide(self, force: Force, held: Lease) -> list[Delivery]:
        """Facts, verdicts, words; then the commit point. What comes back may be handed over."""
        writer, policies = self._writer(force), force.project.vocabulary.policies
        with self.store.read() as conn:
            journeys = _journeys(conn, force, held.messages)
            record = self._record(conn, force, journeys, held.messages)
            now = self.clock()  # behind the first statement: what the snapshot shows was received before it
            asked = Asked(
                medium=held.messages[0].medium,
                policies=policies,
                vocabulary=force.project.vocabulary,
                names=_names(writer, held.messages),
                keyed=frozenset(name for (name, _), journey in journeys.items() if journey and _is_keyed(journey)),
                now=now,
                permits=self.permits,
            )
            facts = gather(conn, held.messages, self.keys, asked)
        if "links.referral" in asked.names:
            facts = self.store.written(lambda conn: with_links(conn, force.project, facts, now))
        if lacking := {due.customer_id for due in held.messages} - record.people.keys():
            # Made before any message is locked: customers come first. Whoever was erased gets none.
            made = self.store.written(lambda conn: log.person_keys(conn, self.keys, lacking, make=True))
            record = record._replace(people={**record.people, **made})
        cases = [self._case(due, facts, writer, policies, now) for due in held.messages]
        committed = self.store.written(lambda conn: self._commit(conn, record, asked, facts, cases, now))
        self.documented.add(record.policies)
        self.judged += len(committed)
        self._count("decision", ((c.due, c.judgement.say, c.judgement.reason) for c in committed))
        self.left_out.update(c.judgement.reason for c in committed if c.judgement.say != "allow")
        return [self._delivery(case, facts) for case in committed if case.judgement.say == "allow"]

    def _case(self, due: Due, facts: Facts, writer: Writer, policies: Policies, now: datetime) -> Case:
        case = _judged(due, facts, facts.contacts, policies, now)
        if case.judgement.say != "allow":
            return case
        try:
            written = case.written = writer.write(due, facts.about[due.id], now)
        except Unwritable as error:
            case.where = error.detail
            case.judgement = refused(case.judgement, "text", error.reason)
        except Exception as error:  # one recipient's data must not stop the batch; the kind of error tells nothing
            case.where = type(error).__name__
            case.judgement = refused(case.judgement, "text", "render_failed")
        else:
            if written.segments > 1 and due.medium in policies.budgets:
                case = _again(case, facts, facts.contacts, policies, now)  # it costs more than one
            else:
                _count_in(facts.contacts, due, facts, now, written.cost)
        return case

    def _commit(
        self,
        conn: sa.Connection,
        record: _Record,
        asked: Asked,
        facts: Facts,
        cases: Sequence[Case],
        now: datetime,
    ) -> list[Case]:
        """The commit point. Only what is still planned is decided; caps and dedupe are counted again under the lock."""
        batch = [case.due for case in cases]
        accounts = any(cap.scope == "account" for cap in asked.policies.caps)
        shared = {to[0].get("address") or to[0].get("number") or "" for to in facts.destinations.values() if to}
        same = facts.dedupe_keys.values() if asked.policies.dedupe is not None else ()
        states = outbox.lock(conn, batch, shared, accounts, same)
        open_cases = [case for case in cases if states.get(case.due.id) in outbox.READY]
        if any(case.written for case in open_cases):
            reserved, contacts = counted(conn, batch, facts.dedupe_keys, asked, facts.contacts)
            if reserved != facts.reserved:
                open_cases = [_again(case, facts, contacts, asked.policies, now) for case in open_cases]
        self._log(conn, record, facts, open_cases, now)
        allowed = [case for case in open_cases if case.judgement.say == "allow"]
        outbox.allow(conn, [case.due.id for case in allowed], now)
        kept = [case for case in allowed if case.due.addressee == "customer"]
        again = [case.due.id for case in kept if case.due.attempts]
        outbox.reserve(conn, [_reservation(case, facts, now) for case in kept], again)
        denied = [case for case in open_cases if case.judgement.say == "deny"]
        outbox.refuse(conn, [(c.due.id, c.state, c.judgement.reason) for c in denied], now)
        held = [case for case in open_cases if case.judgement.say == "hold"]
        release = asked.policies.release
        outbox.put_off(
            conn, [(c.due, "held", c.judgement.reason, _released(c, release)) for c in held], now, decided=True
        )
        wake(conn, [case.due for case in denied], now)
        return open_cases

    def _record(
        self,
        conn: sa.Connection,
        force: Force,
        journeys: Mapping[tuple[str, str], Journey | None],
        batch: Sequence[Due],
    ) -> _Record:
        """What the batch's lines of the log are made with, and sealed under."""
        name, text = _policies(force)
        # The program's own ruleset may be newer than the apply: what was never a document becomes one with the first
        # decision that it is relied on for.
        known = name in self.documented or versions.is_document(conn, name)
        people = log.person_keys(conn, self.keys, {due.customer_id for due in batch})
        return _Record(_lines(force, journeys, name), people, name, b"" if known else text)

    def _log(self, conn: sa.Connection, record: _Record, facts: Facts, cases: Sequence[Case], now: datetime) -> None:
        if record.document:
            versions.add_documents(conn, "policies", {record.policies: ("", msgspec.json.decode(record.document))}, now)
        entries = []
        for case in cases:
            due = case.due
            case.addresses = facts.addresses[due.id] if case.written is None else [key for _, key in facts.usable(due)]
            entries.append(record.lines.entry(case, str(Attempt(due.id, case.attempt)), now))
        log.append(conn, entries, record.people)

    def _delivery(self, case: Case, facts: Facts) -> Delivery:
        assert case.written is not None
        usable, closes = facts.usable(case.due) or (({}, ""),), case.closes
        if len(usable) == 1:
            to, key = usable[0]
            attempt = str(Attempt(case.due.id, case.attempt))
            outbound = case.written.outbound(attempt, case.due, to, closes)
            return Delivery(case.due, case.attempt, (outbound,), (key,), facts.listed.get(case.due.id, ()))
        outbounds = []
        for n, (to, _) in enumerate(usable, 1):
            each = Attempt(case.due.id, case.attempt, n)
            outbounds.append(case.written.outbound(str(each), case.due, to, closes))
        return Delivery(case.due, case.attempt, tuple(outbounds), tuple(key for _, key in usable))

    def _writer(self, force: Force) -> Writer:
        if self.writer is None or self.writer[0] != force.applied.project:
            links = links_of(self.keys, self.public_url)
            made = self.makes(force.project.vocabulary, force.project.templates, links, self.senders)
            self._keep_links(force)
            self.writer = (force.applied.project, made)
        return self.writer[1]

    def _keep_links(self, force: Force) -> None:
        """What counted links lead to is stored before the first of them goes out."""
        targets = {link_key(url): url for template in force.project.templates for url in template.links}
        if not targets:
            return
        with self.store.read() as conn:
            missing = targets.keys() - linked.kept(conn, targets)
        if missing:
            self.store.written(lambda conn: linked.keep(conn, {key: targets[key] for key in missing}))

    # ---- hand-over

    def _hand_over(self, channel: Channel, held: Lease, deliveries: Sequence[Delivery]) -> int:
        """Request by request, each after a last look and with time enough on the lease; what is not come to goes back.
        Returns how many deliveries the provider was given."""
        span = _span(channel)
        keep = Keep(self.store, self.clock, held, held.until - LONGEST if span == LEASE else self.clock(), span)
        chunks = list(chunks_of(deliveries, channel.batch_size))
        used = 0
        while chunks:
            if isinstance(channel, Readies):
                channel.ready(sum(len(d.outbounds) for d in chunks[0]))
            at = self.clock()
            if self.stop() or not keep():
                if isinstance(channel, Readies):
                    channel.ready(0)
                self._put_back(channel, chunks, "stopped" if keep.ours else "lost_lease", at, at)
                return used
            chunk = chunks.pop(0)
            going, stopped = self._fresh_look(channel, chunk, at)
            outbounds = [o for d in going for o in d.outbounds]
            used += len(outbounds)
            if isinstance(channel, Collects):
                channel.left_out(self.left_out + Counter(end.reason for end in stopped))
            if isinstance(channel, Rechecks):
                channel.recheck(lambda going=going: self._unchanged(channel, going))  # type: ignore[misc]
            if isinstance(channel, Readies) and not going:
                channel.ready(0)
            receipts, error = hand(channel, outbounds, keep) if going else ({}, None)
            at = self.clock()
            ends = stopped + [ended(delivery, receipts, error, at) for delivery in going]
            self.store.written(lambda conn, ends=ends, at=at: self._settle(conn, channel, ends, at))  # type: ignore[misc]
            if isinstance(error, Unavailable | Misconfigured):
                self._leave_alone(channel, error, at)
                self._put_back(channel, chunks, reason_of(error), at + pause_after(error, 1), at)
                return used
        return used

    def _leave_alone(self, channel: Channel, error: Unavailable | Misconfigured, at: datetime) -> None:
        """For the rest of this call; where the provider says how long, for every worker."""
        self.away.add(channel.medium)
        what = "needs an operator" if isinstance(error, Misconfigured) else "is not available"
        self.problems.append(f"{channel.medium} by {channel.name} {what}: {error}")
        if isinstance(error, Unavailable) and error.retry_after is not None and error.retry_after > 0:
            until = at + asked_for(error.retry_after)
            self.store.written(lambda conn: rates.hold_back(conn, rates.name_of(channel), until, at))

    def _fresh_look(
        self, channel: Channel, chunk: Sequence[Delivery], at: datetime
    ) -> tuple[list[Delivery], list[End]]:
        """A last look that is young when the request begins: from the second after a STOP on nothing may. Of a database
        that answers slowly another one is taken, and if it always does so, nothing goes."""
        for _ in range(_LOOKS):
            began = time.monotonic()
            found = self._last_look(channel, chunk, at)
            if time.monotonic() - began < _FRESH:
                return found
        again = at + pause_after(Unavailable(""), 1)
        return [], [End(delivery, "planned", "slow_look", again=again, given_back=True) for delivery in chunk]

    def _last_look(self, channel: Channel, chunk: Sequence[Delivery], at: datetime) -> tuple[list[Delivery], list[End]]:
        with self.store.read() as conn:
            pairs = [(d.due.id, key) for d in chunk for key in (*d.addresses, *d.listed)]
            looks = outbox.last_look(conn, pairs, at, rates.name_of(channel))
        going, stopped = [], []
        for delivery in chunk:
            seen = [looks.get((delivery.due.id, key)) for key in delivery.addresses]
            barred = any(look.suppressed for key in delivery.listed if (look := looks.get((delivery.due.id, key))))
            end = stopped_by(delivery, seen, at, barred)
            if end is not None:
                stopped.append(end)
            elif seen[0] is not None and (seen[0].state, seen[0].attempts) == ("sending", delivery.number):
                if not any(look is None or look.suppressed for look in seen):
                    going.append(delivery)
                    continue
                usable = [n for n, look in enumerate(seen) if look is not None and not look.suppressed]
                going.append(
                    Delivery(
                        delivery.due,
                        delivery.number,
                        tuple(delivery.outbounds[n] for n in usable),
                        tuple(delivery.addresses[n] for n in usable),
                    )
                )
        return going, stopped

    def _unchanged(self, channel: Channel, going: Sequence[Delivery]) -> bool:
        """Whether every one of these would still go, now."""
        return len(self._last_look(channel, going, self.clock())[0]) == len(going)

    def _put_back(
        self, channel: Channel, chunks: Iterable[Sequence[Delivery]], reason: str, again: datetime, at: datetime
    ) -> None:
        """Never handed over: they wait, and count no longer."""
        ends = [End(d, "planned", reason, again=again, given_back=True) for chunk in chunks for d in chunk]
        if ends:
            self.store.written(lambda conn: self._settle(conn, channel, ends, at))

    # ---- outcomes

    def _settle(self, conn: sa.Connection, channel: Channel, ends: Sequence[End], at: datetime) -> None:
        """One transaction. What feedback, or another worker after our lease, has said meanwhile is not taken back."""
        settled = settle(conn, self.keys, channel.name, channel.medium, ends, at)
        if settled.wrong:
            self.wrong.update(settled.wrong)
            self.paused.update(pause_failing(conn, self.wrong, at))
        self._count("outcome", ((end.delivery.due, end.state, end.reason) for end in settled.ends))

    def _count(self, kind: str, told: Iterable[tuple[Due, str, str]]) -> None:
        """Messages with their verdicts or outcomes, and the reasons."""
        found = Counter((due.journey, due.medium, verdict, reason) for due, verdict, reason in told)
        for (journey, medium, verdict, reason), n in found.items():
            self.counts[Line(journey or "", medium.value, kind, verdict, reason)] += n


# ---- judging --------------------------------------------------------------------------------------------------------


def _judged(due: Due, facts: Facts, contacts: Contacts, policies: Policies, now: datetime, segments: int = 1) -> Case:
    standing = None
    try:
        standing = facts.standing(due, contacts, segments)
        return Case(due, judge(subject_of(due), standing, policies, now), standing)
    except Exception as error:  # fail closed: what cannot be judged is not sent, and stops nobody else
        return Case(due, broken(error), standing)


def _again(case: Case, facts: Facts, contacts: Contacts, policies: Policies, now: datetime) -> Case:
    """Judged once more: on what the words cost, and what others have been allowed since the facts were read."""
    if case.written is None:
        return case
    again = _judged(case.due, facts, contacts, policies, now, case.written.segments)
    if again.judgement.say == "allow":
        _count_in(contacts, case.due, facts, now, case.written.cost)
        again.written = case.written
    return again


def _count_in(contacts: Contacts, due: Due, facts: Facts, now: datetime, cost: int) -> None:
    """What is allowed counts for the rest of the batch."""
    if due.addressee == "customer" and due.customer_id is not None:
        contact = Contact(now, due.medium, due.topic, due.purpose, due.customer_id, due.account_id)
        contacts.add(contact, facts.dedupe_keys.get(due.id, ""), cost)


def _names(writer: Writer, batch: Iterable[Due]) -> frozenset[str]:
    """Every name the batch's texts may print: each text is asked once."""
    texts = {(d.template or (d.payload.get("text"), (*d.payload.get("with", ()),), d.step)): d for d in batch}
    return frozenset(name for due in texts.values() for name in writer.needs(due))


def _journeys(conn: sa.Connection, force: Force, batch: Iterable[Due]) -> dict[tuple[str, str], Journey | None]:
    """The journey versions a batch comes from; None for one that cannot be read any more."""
    found: dict[tuple[str, str], Journey | None] = {}
    for name, version in {(d.journey or "", d.version or "") for d in batch if d.journey and d.version}:
        try:
            found[(name, version)] = journey_version(conn, force, name, version).journey
        except ProjectError:
            found[(name, version)] = None
    return found


def _is_keyed(journey: Journey) -> bool:
    """Whether it runs once for each of several things: then each of them is content of its own."""
    return journey.reentry.kind == "key" or any(getattr(t, "run_by", None) for t in journey.triggers)


def _changed_topics(force: Force, batch: Iterable[Due]) -> dict[int, Due]:
    """Messages whose text has come under another topic since they were planned, as they are now: the words are those
    in force, and consent is asked for what they say."""
    topics: dict[tuple[Medium, str], tuple[str, Any]] = {}
    changed = {}
    for due in batch:
        if due.addressee != "customer" or not due.template:
            continue
        key = (due.medium, due.template)
        if key not in topics:
            topics[key] = force.topic(*key)
        if topics[key][0] and topics[key] != (due.topic, due.purpose):
            changed[due.id] = replace(due, topic=topics[key][0], purpose=topics[key][1])
    return changed


def _released(case: Case, release: timedelta) -> datetime:
    """When a held message is looked at again: spread by its id over the time of `release`, in steps of a minute.

    Only at the first hold: spread again and again, a message could miss a narrow window every time. And never so far
    that its hours may have closed before a worker comes to it.
    """
    until = case.judgement.until
    assert until is not None
    if case.due.state != "planned" or not release or case.judgement.rule not in _SPREAD:
        return until
    if case.due.expires_at is not None:
        release = min(release, case.due.expires_at - until)
    if (closes := case.closes) is not None and closes > until:
        release = min(release, (closes - until) * _IN_TIME)
    share = (case.due.id * 2_654_435_761 % 2**32) / 2**32  # Knuth's multiplicative hash: neighbours fall far apart
    return until + timedelta(minutes=int(max(release, timedelta(0)) / timedelta(minutes=1) * share))


def _reservation(case: Case, facts: Facts, now: datetime) -> tuple[Any, ...]:
    due, cost = case.due, case.written.cost if case.written is not None else 0
    key = facts.dedupe_keys.get(due.id, "")
    day = facts.contacts.day if cost else None
    return (due.id, due.customer_id, due.account_id, due.medium.value, due.topic, due.purpose, now, key, cost, day)


# ---- the log --------------------------------------------------------------------------------------------------------


class _Record(NamedTuple):
    """What a batch's lines of the log are made with. `document`: the policies' text, when it is not stored yet."""

    lines: Lines
    people: log.PersonKeys
    policies: str
    document: bytes


def _lines(force: Force, journeys: Mapping[tuple[str, str], Journey | None], policies: str) -> Lines:
    project = force.project
    named: Json = {
        "project": force.applied.project,
        "policies": policies,
        "ruleset": project.vocabulary.policies.ruleset.version,
    }
    return Lines(named, lambda due: _place(journeys.get((due.journey or "", due.version or "")), due.step))


def _place(journey: Journey | None, step: str) -> tuple[str, int | None]:
    if journey is None:
        return "", None
    try:
        span = journey.step(step).span
    except KeyError:
        return journey.path, None
    return span.file, span.line


_policy_texts: dict[str, tuple[str, bytes]] = {}


def _policies(force: Force) -> tuple[str, bytes]:
    """The policies in force: their name as a document, and its text. Made once for each state of the workspace."""
    project = force.project
    found = _policy_texts.get(project.hash)
    if found is None:
        _policy_texts.clear()
        text = policies_text(project.vocabulary.policies)
        found = _policy_texts[project.hash] = (policies_hash(text), text)
    return found


def _span(channel: Channel) -> timedelta:
    """How long what is leased for a channel is one worker's: a job takes its time to be made."""
    return collect.LEASE if isinstance(channel, Collects) else LEASE
