"""What the sandbox does to a message instead of taking it quietly: faults now, and feedback later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from channels.base import ChannelError, EventKind, Misconfigured, Outbound, Reason, Unavailable, Uncertain


@dataclass(frozen=True, slots=True)
class Later:
    """Feedback that comes `after` a message was taken."""

    kind: EventKind
    after: timedelta = timedelta(minutes=1)
    url: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What happens to one message. `taken`: whether the provider has it, whatever it says.

    `receipt` None: taken or not, no receipt names it. `raises`: the batch breaks off here; this message and those
    behind it get no receipt, those behind it are not taken. `crash`: the process dies here, by SIGKILL or os._exit.
    """

    receipt: Literal["accepted", "rejected", "uncertain", "retry"] | None = "accepted"
    taken: bool = True
    reason: Reason | None = None
    retry_after: float | None = None
    raises: ChannelError | None = None
    crash: Literal["kill", "exit"] | None = None
    slow: float = 0.0  # seconds that the provider takes over it
    feedback: tuple[Later, ...] = ()


Behaviour = Callable[[Outbound, int], Act]
"""What happens to a message, given its number: from 0 over the channel's life."""

ACCEPT = Act()


def delivered(after: timedelta = timedelta(minutes=1), *more: Later) -> Act:
    """Taken, and delivered later."""
    return Act(feedback=(Later(EventKind.DELIVERED, after), *more))


def delayed(after: timedelta) -> Act:
    """Taken, deferred at once, delivered late."""
    return Act(feedback=(Later(EventKind.DEFERRED, timedelta(0)), Later(EventKind.DELIVERED, after)))


def bounced(after: timedelta = timedelta(minutes=1), kind: EventKind = EventKind.BOUNCED) -> Act:
    """Taken, and found later to have no such address (or what `kind` says)."""
    return Act(feedback=(Later(kind, after, reason=Reason.UNKNOWN_ADDRESS),))


def rejected(reason: Reason = Reason.INVALID_ADDRESS) -> Act:
    """Refused for good."""
    return Act("rejected", taken=False, reason=reason)


def retry(after: float | None = None) -> Act:
    """Certainly not taken, try later."""
    return Act("retry", taken=False, reason=Reason.RATE, retry_after=after)


def unavailable(after: float | None = None) -> Act:
    """The provider is away from here on."""
    return Act(None, taken=False, raises=Unavailable("the sandbox was told to be away", after))


def misconfigured() -> Act:
    """An operator must act first."""
    return Act(None, taken=False, raises=Misconfigured("the sandbox was told to be set up wrongly"))


def timed_out(taken: bool = True) -> Act:
    """No answer comes: the message was taken, or not, and nobody here can know."""
    return Act(None, taken=taken, raises=Uncertain("the sandbox was told not to answer in time"))


def malformed() -> Act:
    """Taken, but the answer cannot be read: no receipt names the message."""
    return Act(None)


def crashed(how: Literal["kill", "exit"] = "kill", taken: bool = True) -> Act:
    """This process dies between hand-over and receipt."""
    return Act(None, taken=taken, crash=how)


def always(act: Act) -> Behaviour:
    """The same for every message."""
    return lambda outbound, number: act


def after(count: int, act: Act, before: Act = ACCEPT) -> Behaviour:
    """`before` for the first `count` messages, then `act` for all the rest."""
    return lambda outbound, number: before if number < count else act


def numbered(acts: Mapping[int, Act], otherwise: Act = ACCEPT) -> Behaviour:
    """By the number of the message, from 0."""
    return lambda outbound, number: acts.get(number, otherwise)


def by_template(acts: Mapping[str, Act], otherwise: Act = ACCEPT) -> Behaviour:
    """By the name of the template."""
    return lambda outbound, number: acts.get(outbound.template, otherwise)


def share(part: float, act: Act, otherwise: Act = ACCEPT) -> Behaviour:
    """For a share of the messages (0 to 1), the same ones each time: chosen by their attempt."""

    def choose(outbound: Outbound, number: int) -> Act:
        drawn = int.from_bytes(hashlib.sha256(outbound.attempt.encode()).digest()[:8], "big") / 2**64
        return act if drawn < part else otherwise

    return choose
