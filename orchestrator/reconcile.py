"""Find out what became of sends that nobody knows the fate of, and settle what nobody can find out.

A message is `uncertain` where a worker died, or a provider did not answer, between hand-over and record. What comes
back by itself settles it at once (`ingest`). The rest is settled here: by asking the provider, where it can be asked;
by sending it again, where its topic asks for that; and by giving it up after a while. Marketing is sent again only
where its provider certainly has nothing of it. So: never twice, never unaccounted for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import sqlalchemy as sa

from channels.base import Channel, ChannelError, Handed, Medium, Reason, Receipt, Traces
from orchestrator.apply import Force, in_force, journey_version
from orchestrator.deliver import Senders, links_of, resend_is_safe
from orchestrator.model import Resend
from orchestrator.outbound import Due, Unwritable, Writer
from orchestrator.outcome import MAX_ATTEMPTS, Delivery, End
from orchestrator.problems import Conflict, ProjectError
from orchestrator.settle import settle
from orchestrator.store import log, unsettled
from orchestrator.store.database import Store
from orchestrator.store.keys import Attempt, Keys
from orchestrator.store.standing import Asked, gather
from orchestrator.store.unsettled import Unsettled, Used

__all__ = ["Prospect", "ReconcileReport", "prospects", "reconcile", "settle_by_hand"]

CHUNK = 500
ASK_AFTER = timedelta(minutes=5)
"""A provider is not asked before: what it was given last may still be on its way into its own list."""
NEVER_TAKEN = "never_taken"
_BAD = frozenset({Reason.INVALID_ADDRESS, Reason.UNKNOWN_ADDRESS})
Clock = Callable[[], datetime]
_Answers = dict[int, list[tuple[Receipt, str]]]


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """`looked`: uncertain messages seen. `counts`: (new state, reason) → how many were settled so. `left`: still
    uncertain. `problems`: providers that could not be asked. `finished`: every one was looked at."""

    looked: int = 0
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    finished: bool = True

    @property
    def settled(self) -> int:
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        return self.looked - self.settled

    @property
    def summary(self) -> str:
        """One line: `sent 3, sent again 1, given up 2; 4 are still uncertain`."""
        words: Counter[str] = Counter()
        for (state, reason), n in self.counts.items():
            words[_TOLD.get((state, reason), state)] += n
        told = ", ".join(f"{word} {n:,}" for word, n in sorted(words.items()))
        left = f"{self.left:,} {'is' if self.left == 1 else 'are'} still uncertain" if self.left else ""
        return "; ".join(part for part in (told, left) if part) or "of every message it is known what became of it"


_TOLD = {
    ("planned", "never_taken"): "never taken, planned again",
    ("planned", "sent_again"): "sent again",
    ("failed", "unknown_outcome"): "given up",
}


class Prospect(NamedTuple):
    """An uncertain message, and what comes next for it: `ask` its provider, `again` it goes out, `give_up`; at `at`."""

    message: Unsettled
    next: Literal["ask", "again", "give_up"]
    at: datetime


def reconcile(
    store: Store,
    channels: Mapping[Medium, Channel],
    keys: Keys,
    *,
    now: datetime | Clock,
    public_url: str = "http://localhost:8400",
    senders: Senders = {},  # noqa: B006  (never written)
    stop: Callable[[], bool] = lambda: False,
) -> ReconcileReport:
    """Look at every uncertain message once, in batches; settle those of which enough is known, or nothing ever will be.

    `now`: aware UTC, or a clock that gives it. A channel that is `base.Traces` is asked about those that went by it.
    `public_url` and `senders` as `deliver` has them: with them a text is written once more, to be looked for. Any
    number may run at once, and any number of times.
    """
    clock: Clock = now if callable(now) else lambda: now
    with store.read() as conn:
        force = in_force(conn)
    if force is None:
        return ReconcileReport()
    work = _Work(store, channels, keys, force, Writing(force, keys, public_url, senders))
    after = looked = 0
    while not stop():
        with store.read() as conn:
            chunk = unsettled.uncertain(conn, after, CHUNK)
        if not chunk:
            return ReconcileReport(looked, work.counts, tuple(dict.fromkeys(work.problems)))
        work.chunk(chunk, clock)
        after, looked = chunk[-1].due.id, looked + len(chunk)
    return ReconcileReport(looked, work.counts, tuple(dict.fromkeys(work.problems)), finished=False)


class Writing:
    """Texts as they were, where what they are made of has not changed since."""

    def __init__(self, force: Force, keys: Keys, public_url: str, senders: Senders) -> None:
        vocabulary = force.project.vocabulary
        self.vocabulary = vocabulary
        self.writer = Writer(vocabulary, force.project.templates, links_of(keys, public_url), senders)

    def handed(
        self, conn: sa.Connection, keys: Keys, asked: Sequence[tuple[Unsettled, Used]], medium: Medium
    ) -> dict[str, tuple[Handed, Unsettled, str]]:
        """What a provider may be asked about: attempt → (as it was handed over, its message, the address's key).

        Only what went to an address that is known still: the one in use now, if its keyed hash is the logged one's.
        The body is the one written anew, if its hash is the logged one's; else "".
        """
        batch = [one.due for one, _ in asked]
        names = frozenset(name for due in batch for name in self._needs(due))
        now = max(one.decided_at for one, _ in asked)
        facts = gather(
            conn,
            batch,
            keys,
            Asked(medium, self.vocabulary.policies, self.vocabulary, names, frozenset(), now),
        )
        found = {}
        for one, used in asked:
            due = one.due
            places = dict(zip(facts.addresses[due.id], facts.destinations[due.id], strict=True))
            for n, key in enumerate(used.addresses, 1):
                to = places.get(key)
                if to is None:
                    continue
                attempt = str(Attempt(due.id, due.attempts, n if len(used.addresses) > 1 else 0))
                try:
                    written = self.writer.write(due, facts.about[due.id], one.decided_at)
                    out = written.outbound(attempt, due, to)
                    same = bool(used.content_hash) and written.content_hash == used.content_hash
                    body = (out.part("text") or out.part("body")) if same else ""
                except (Unwritable, ValueError, KeyError):
                    body = ""
                found[attempt] = (Handed(attempt, to, one.decided_at, body), one, key)
        return found

    def _needs(self, due: Due) -> frozenset[str]:
        try:
            return self.writer.needs(due)
        except Unwritable:
            return frozenset()


@dataclass(slots=True)
class _Work:
    """One call of `reconcile`."""

    store: Store
    channels: Mapping[Medium, Channel]
    keys: Keys
    force: Force
    writing: Writing
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    away: set[Medium] = field(default_factory=set)

    def chunk(self, chunk: Sequence[Unsettled], clock: Clock) -> None:
        """Asks outside of any transaction; then one that settles, for each medium and provider."""
        groups: dict[tuple[Medium, str], list[Unsettled]] = defaultdict(list)
        for one in chunk:
            groups[one.due.medium, one.provider].append(one)
        for (medium, provider), ones in groups.items():
            channel = self.channels.get(medium)
            answers = self._asked(channel, ones, clock()) if channel is not None and channel.name == provider else {}
            at = clock()
            with self.store.read() as conn:
                resends = unsettled.times_sent_again(conn, [one.due.id for one in ones])
                superseded = unsettled.overtaken(conn, self._fallbacks(conn, ones))
            ends = []
            for one in ones:
                end = self._end(one, answers.get(one.due.id), superseded, at)
                ends.append(end or self._by_policy(one, channel, resends.get(one.due.id, 0), superseded, at))
            self._settle(provider, medium, [end for end in ends if end is not None], at)

    def _settle(self, provider: str, medium: Medium, ends: Sequence[End], at: datetime) -> None:
        if ends:
            settled = self.store.written(lambda conn: settle(conn, self.keys, provider, medium, ends, at))
            self.counts.update((end.state, end.reason) for end in settled.ends)

    # ---- asking

    def _asked(self, channel: Channel, ones: Sequence[Unsettled], now: datetime) -> _Answers:
        """Message id → what its provider knows of its deliveries, with the key of each address."""
        due = [one for one in ones if one.settled_at + ASK_AFTER <= now]
        if not isinstance(channel, Traces) or not due or channel.medium in self.away:
            return {}
        with self.store.read() as conn:
            used = log_used(conn, self.keys, due)
            pairs = [(one, used[one.due.id]) for one in due if one.due.id in used]
            handed = self.writing.handed(conn, self.keys, pairs, channel.medium) if pairs else {}
        receipts: dict[str, Receipt] = {}
        try:
            for receipt in channel.trace([one for one, _, _ in handed.values()]) if handed else ():
                receipts.setdefault(receipt.attempt, receipt)
        except ChannelError as error:
            self.away.add(channel.medium)
            self.problems.append(f"{channel.medium} by {channel.name} could not be asked: {error}")
        except Exception as error:  # its text may name somebody
            self.away.add(channel.medium)
            self.problems.append(f"{channel.medium} by {channel.name} could not be asked: {type(error).__name__}")
        return self._told(channel, handed, receipts)

    def _told(
        self,
        channel: Channel,
        handed: Mapping[str, tuple[Handed, Unsettled, str]],
        receipts: Mapping[str, Receipt],
    ) -> _Answers:
        """Without answers that name one thing twice: a provider's number stands for one message."""
        numbers = Counter(r.provider_id for r in receipts.values() if r.status == "accepted" and r.provider_id)
        with self.store.read() as conn:
            known = unsettled.numbers_of_others(conn, channel.name, numbers)
        found: _Answers = defaultdict(list)
        for attempt, receipt in receipts.items():
            if attempt not in handed:
                continue
            if numbers[receipt.provider_id] > 1 or receipt.provider_id in known:
                continue
            _, one, key = handed[attempt]
            found[one.due.id].append((receipt, key))
        return found

    # ---- what follows

    def _end(
        self, one: Unsettled, answers: Sequence[tuple[Receipt, str]] | None, overtaken: frozenset[int], at: datetime
    ) -> End | None:
        """By what its provider says; None where that does not settle it."""
        if not answers:
            return None
        delivery = _delivery(one)
        for receipt, _ in answers:
            if receipt.status == "accepted":
                return End(delivery, "sent", "", receipt.provider_id)
        if any(r.status != "rejected" for r, _ in answers) or len(answers) < one.deliveries:
            return None  # of one of several devices nothing is known
        if all(receipt.detail == NEVER_TAKEN for receipt, _ in answers):
            return self._again(one, NEVER_TAKEN, overtaken, at)
        bad = tuple((key, r.reason.value) for r, key in answers if r.reason in _BAD and r.reason is not None)
        reason = next((r.reason.value for r, _ in answers if r.reason is not None), "rejected")
        return End(delivery, "failed", reason, bad=bad, given_back=True)

    def _again(self, one: Unsettled, reason: str, overtaken: frozenset[int], at: datetime) -> End:
        """Planned again; what has run out of time, or whose place another medium has taken, is surely unsent."""
        delivery, expires = _delivery(one), one.due.expires_at
        if expires is not None and expires <= at:
            return End(delivery, "expired", "expired", given_back=True)
        if one.due.id in overtaken or one.due.attempts >= MAX_ATTEMPTS:
            return End(delivery, "failed", reason, given_back=True)
        return End(delivery, "planned", reason, again=at, given_back=True)

    def _by_policy(
        self, one: Unsettled, channel: Channel | None, times: int, overtaken: frozenset[int], at: datetime
    ) -> End | None:
        """What nobody can find out: sent again where its topic asks for it, or given up after a while."""
        what, when = _next(self.force, one, channel, times, overtaken)
        if when > at:
            return None
        if what == "again":
            return End(_delivery(one), "planned", "sent_again", again=at, given_back=True)
        return End(_delivery(one), "failed", "unknown_outcome")

    def _fallbacks(self, conn: sa.Connection, ones: Sequence[Unsettled]) -> dict[int, frozenset[str]]:
        return {one.due.id: steps for one in ones if (steps := _alternatives(conn, self.force, one.due))}


def _next(
    force: Force, one: Unsettled, channel: Channel | None, times: int, overtaken: frozenset[int]
) -> tuple[Literal["again", "give_up"], datetime]:
    """What the policies in force make of a message that nobody can tell of, and when."""
    due = one.due
    resend = _resend(force, due, channel)
    in_time = due.expires_at is None or due.expires_at > one.settled_at + (resend.after if resend else timedelta(0))
    if resend is not None and times < resend.at_most and in_time and due.id not in overtaken:
        return "again", one.settled_at + resend.after
    return "give_up", one.settled_at + force.project.vocabulary.policies.give_up_after


def _resend(force: Force, due: Due, channel: Channel | None) -> Resend | None:
    """Never marketing by policy, whatever a topic has become since it was planned."""
    if channel is not None and resend_is_safe(channel, due):
        return Resend(ASK_AFTER, MAX_ATTEMPTS)
    topic = force.project.vocabulary.topics.get(due.topic)
    if topic is None or topic.purpose != "transactional" or due.purpose != "transactional":
        return None
    return topic.resend


def _alternatives(conn: sa.Connection, force: Force, due: Due) -> frozenset[str]:
    """The other sends of the `first_of` that this message is one of."""
    if not due.journey or not due.version:
        return frozenset()
    try:
        journey = journey_version(conn, force, due.journey, due.version).journey
    except (ProjectError, KeyError):
        return frozenset()
    for step in journey.every_step():
        parts = {part.id for part in step.parts()}
        if due.step in parts:
            return frozenset(parts - {due.step})
    return frozenset()


def _delivery(one: Unsettled) -> Delivery:
    return Delivery(one.due, one.due.attempts, (), ())


def log_used(conn: sa.Connection, keys: Keys, ones: Iterable[Unsettled]) -> dict[int, Used]:
    """What the log's sealed details say of where, and with which words, these went; without those that are gone."""
    chosen = {one.due.id: one for one in ones}
    found = {}
    for line in log.of_messages(conn, sorted(chosen), keys):
        one = chosen[line["message_id"]]
        if (line["kind"], line["verdict"], line["attempt"]) != ("decision", "allow", one.due.attempts):
            continue
        if line["detail"] is not None:
            addresses = tuple(line["detail"].get("addresses") or ())
            found[one.due.id] = Used(addresses, str(line["detail"].get("content_hash") or ""))
            one.deliveries = max(1, len(addresses))
    return found


# ---- to look at, and by hand ----------------------------------------------------------------------------------------


def prospects(store: Store, channels: Mapping[Medium, Channel], *, limit: int = 100) -> Iterator[Prospect]:
    """The uncertain messages, oldest first, with what comes next for each: reads only."""
    with store.read() as conn:
        force = in_force(conn)
        ones = unsettled.uncertain(conn, 0, limit)
        ids = [one.due.id for one in ones]
        times = unsettled.times_sent_again(conn, ids)
        if force is None:
            return
        fallbacks = {one.due.id: steps for one in ones if (steps := _alternatives(conn, force, one.due))}
        overtaken = unsettled.overtaken(conn, fallbacks)
    for one in ones:
        channel = channels.get(one.due.medium)
        what, when = _next(force, one, channel, times.get(one.due.id, 0), overtaken)
        asks = isinstance(channel, Traces) and channel.name == one.provider
        if asks and (ask := one.settled_at + ASK_AFTER) <= when:
            yield Prospect(one, "ask", ask)
        else:
            yield Prospect(one, what, when)


def settle_by_hand(
    store: Store, keys: Keys, message_id: int, *, sent: bool, because: str, by: str, now: datetime
) -> Literal["sent", "failed"]:
    """Somebody found out otherwise what became of an uncertain message, and says so; both are on the record.

    Not sent is the end of it: it is not planned again. Raises Conflict where the message is not uncertain, LookupError
    where there is none.
    """
    end: Literal["sent", "failed"] = "sent" if sent else "failed"

    def work(conn: sa.Connection) -> None:
        one = unsettled.by_id(conn, message_id)
        made = End(_delivery(one), end, "settled_by_hand", given_back=not sent)
        if not settle(conn, keys, one.provider, one.due.medium, [made], now).ends:
            raise Conflict(f"message {message_id} is {one.due.state}: only what is uncertain is settled by hand")
        attempt = str(Attempt(message_id, one.due.attempts))
        log.operation(conn, now, "settled", by=by, reason=because, body={"attempt": attempt, "state": end})

    store.written(work)
    return end
