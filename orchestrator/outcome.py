"""What becomes of messages that were allowed: from receipts, errors and last looks to one end each. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from channels.base import ChannelError, Misconfigured, Outbound, Reason, Receipt, Rejected, Unavailable
from orchestrator.outbound import Due

MAX_ATTEMPTS = 24
"""So often a provider may put a message off: with the growing pauses between, about eighteen hours."""
LATER = timedelta(minutes=5)
"""When a channel that needs an operator is tried again."""
MOST_ASKED = timedelta(days=1)
"""The longest that a provider can make us wait by a `Retry-After`: it is asked again then."""
_APART = 16
_BAD_ADDRESS = frozenset({Reason.INVALID_ADDRESS, Reason.UNKNOWN_ADDRESS, Reason.OPTED_OUT})

REASONS: Mapping[str, str] = {
    "lost_worker": "A worker died between handing over and noting what became of it: nobody can know, so never again.",
    "cut_off": "It goes with the job of the next cut-off, and is judged then; until then anything still stops it.",
    "lost_lease": "Its provider kept a worker waiting until another took its messages: this one was not handed over.",
    "no_answer": "The provider did not answer, or not so that it could be understood: it may have taken the message.",
    "no_receipt": "The provider's answer does not name the message: it may have taken it.",
    "channel_failed": "The channel broke in an unexpected way: the message may have gone out.",
    "rejected": "The provider refused the message for good.",
    "unavailable": "The provider could not take it now, certainly did not, and is asked again later.",
    "gave_up": "The provider put the message off too many times.",
    "misconfigured": "The channel is not set up rightly; an operator must act, and the message waits.",
    "stopped": "The worker was told to stop before it came to this message; the next one goes on with it.",
    "never_taken": "The provider was asked, and certainly has nothing of it: it is judged again, if it still may go.",
    "sent_again": "Nobody knows whether it arrived, and its topic asks for such messages to be sent again.",
    "unknown_outcome": "Nobody found out in time whether it was taken: given up, counted as if it had arrived.",
    "settled_by_hand": "Somebody found out otherwise what became of it, and said so.",
    "slow_look": "The last look took so long that a STOP might have come in since; the message is judged again.",
    "paused": "The journey was paused between decision and hand-over; the message waits until it is resumed.",
    "exited": "The journey ended for this customer between decision and hand-over.",
    "consent_withdrawn": "The customer said no between decision and hand-over.",
    "customer_paused": "The customer asked for a pause between decision and hand-over.",
    "suppressed": "The address was suppressed between decision and hand-over.",
    "hours_over": "The medium's hours closed between decision and hand-over; the message is judged again, and held.",
    "expired": "The message's time ran out between decision and hand-over.",
}
"""Why a message ended, or waits, after it was allowed: reason codes of outcomes, beside a provider's own."""


class Delivery(NamedTuple):
    """One message on its way, to each of its addresses. `listed`: further keys under which lists may know them."""

    due: Due
    number: int
    outbounds: tuple[Outbound, ...]
    addresses: tuple[str, ...]
    listed: tuple[str, ...] = ()


class End(NamedTuple):
    """What became of one message. State `planned`: it waits, until `again`."""

    delivery: Delivery
    state: str
    reason: str = ""
    provider_id: str = ""
    again: datetime | None = None
    bad: tuple[tuple[str, str], ...] = ()  # (address key, why) that must not be used any more
    given_back: bool = False  # surely not sent, so that it counts no longer
    answer: Mapping[str, Any] | None = None  # what another system answered to a call


@dataclass(frozen=True, slots=True)
class Look:
    """What has become of a message and its recipient since the decision."""

    state: str
    paused: bool
    over: bool
    withdrawn: bool
    suppressed: bool
    attempts: int = 0
    held_back: datetime | None = None  # the provider asked every worker to wait until then
    resting: bool = False  # the customer asked for a pause


class Now(NamedTuple):
    """How a message stands when its end is written."""

    state: str
    attempts: int
    reason: str | None = None


def reason_of(error: Unavailable | Misconfigured) -> str:
    return "misconfigured" if isinstance(error, Misconfigured) else "unavailable"


def chunks_of(deliveries: Sequence[Delivery], size: int) -> Iterator[list[Delivery]]:
    """Of at most `size` deliveries; a message's own are never parted. Those with files of their own are requests of
    their own, too: only as many are together as any provider is asked at once, or the last would go out long after the
    last look."""
    chunk: list[Delivery] = []
    count = 0
    most = size
    for delivery in deliveries:
        own = any(a.part for o in delivery.outbounds for a in o.attachments)
        if chunk and (count + len(delivery.outbounds) > (min(most, _APART) if own else most)):
            yield chunk
            chunk, count, most = [], 0, size
        if own:
            most = min(size, _APART)
        chunk.append(delivery)
        count += len(delivery.outbounds)
    if chunk:
        yield chunk


def ended(delivery: Delivery, receipts: Mapping[str, Receipt], error: Exception | None, at: datetime) -> End:
    """One message's end from the receipts of its deliveries: sent when any was taken, else the least certain word."""
    if len(delivery.outbounds) == 1 and error is None:
        only = receipts.get(delivery.outbounds[0].attempt)
        if only is not None and only.status == "accepted":
            return End(delivery, "sent", "", only.provider_id, answer=only.answer)
    found = [(o, receipts.get(o.attempt) or _without(o, error)) for o in delivery.outbounds]
    bad = tuple(
        (key, receipt.reason.value)
        for (_, receipt), key in zip(found, delivery.addresses, strict=True)
        if receipt.status == "rejected" and receipt.reason in _BAD_ADDRESS and key
    )
    for status in ("accepted", "uncertain", "retry", "rejected"):
        receipt = next((r for _, r in found if r.status == status), None)
        if receipt is not None:
            break
    assert receipt is not None
    reason = receipt.reason.value if receipt.reason else receipt.detail if receipt.detail in REASONS else ""
    match receipt.status:
        case "accepted":
            return End(delivery, "sent", "", receipt.provider_id, bad=bad)
        case "uncertain":
            return End(delivery, "uncertain", reason or "no_answer")
        case "rejected":
            return End(delivery, "failed", reason or "rejected", bad=bad, given_back=True)
    if delivery.number >= MAX_ATTEMPTS:
        return End(delivery, "failed", "gave_up", given_back=True)
    wait = _backoff(receipt.retry_after, delivery.number)
    if isinstance(error, Misconfigured):
        wait = LATER
    return End(delivery, "planned", reason or "unavailable", again=at + wait, given_back=True)


def _without(outbound: Outbound, error: Exception | None) -> Receipt:
    """What must be taken for the receipt of a message that got none."""
    match error:
        case None:
            return Receipt(outbound.attempt, "uncertain", detail="no_receipt")
        case Misconfigured():
            return Receipt(outbound.attempt, "retry", detail="misconfigured")
        case Unavailable():
            return Receipt(outbound.attempt, "retry", detail="unavailable", retry_after=error.retry_after)
        case Rejected():
            return Receipt(outbound.attempt, "rejected", detail="rejected")
        case ChannelError():
            return Receipt(outbound.attempt, "uncertain", detail="no_answer")
        case _:
            return Receipt(outbound.attempt, "uncertain", detail="channel_failed")


def _backoff(asked: float | None, attempt: int) -> timedelta:
    """At least what the provider asks for; half a minute, doubled with each attempt, up to an hour."""
    own = timedelta(seconds=min(3600, 30 * 2 ** min(attempt - 1, 10)))
    return own if asked is None else max(own, asked_for(asked))


def asked_for(seconds: float) -> timedelta:
    """What a provider asks us to wait, within reason."""
    return timedelta(seconds=min(max(seconds, 0.0), MOST_ASKED.total_seconds()))


def pause_after(error: Exception, attempt: int) -> timedelta:
    return LATER if isinstance(error, Misconfigured) else _backoff(getattr(error, "retry_after", None), attempt)


def stopped_by(delivery: Delivery, seen: Sequence[Look | None], at: datetime, barred: bool = False) -> End | None:
    """Why a message that was allowed is not handed over after all; None when nothing has changed. `seen`: of each
    address; `barred`: somebody's list has come to know the recipient."""
    look = seen[0] if seen else None
    if look is None or look.attempts != delivery.number:
        return None  # it is another worker's by now
    if look.state == "uncertain":  # said by one who took it over, and could not know that it is still here
        return End(delivery, "planned", "lost_lease", again=at, given_back=True)
    if look.state != "sending":
        return None
    expires = delivery.due.expires_at
    if look.over:
        return End(delivery, "cancelled", "exited", given_back=True)
    if look.withdrawn:
        return End(delivery, "cancelled", "consent_withdrawn", given_back=True)
    if look.resting:
        return End(delivery, "cancelled", "customer_paused", given_back=True)
    if barred or all(s is not None and s.suppressed for s in seen):
        return End(delivery, "cancelled", "suppressed", given_back=True)
    if expires is not None and expires <= at:
        return End(delivery, "expired", "expired", given_back=True)
    if look.paused:
        return End(delivery, "planned", "paused", again=at, given_back=True)
    closed = delivery.outbounds[0].valid_until if delivery.outbounds else None
    if closed is not None and closed <= at:  # it waited for the channel's rate while its hours ran out
        return End(delivery, "planned", "hours_over", again=at, given_back=True)
    if look.held_back is not None:
        return End(delivery, "planned", "unavailable", again=look.held_back, given_back=True)
    return None


def may_end(now: Now | None, end: End) -> bool:
    """Whether an end may still be written: of this attempt, on its way, or given up as uncertain by somebody who knew
    less. Planned again (or refused) from there only where it was surely not sent, or its topic wants it."""
    if now is None or now.attempts != end.delivery.number:
        return False
    match now.state:
        case "sending":
            return True
        case "uncertain":
            return end.state in ("sent", "failed") or (end.given_back and end.state != "uncertain")
        case "failed":  # given up without knowing; what is known by now is not lost
            return now.reason == "unknown_outcome" and end.state in ("sent", "failed")
    return False
