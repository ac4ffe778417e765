"""One medium through several providers: each device of a push goes by its platform. Pure; `wiring` puts it together."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from channels.base import (
    Channel,
    ChannelError,
    Event,
    EventKind,
    Forged,
    Inbound,
    Keeps,
    Medium,
    Misconfigured,
    Outbound,
    Receipt,
    Rejected,
    Unavailable,
    unreported,
)

_LATER = 300.0  # seconds until a channel that needs an operator is asked again
_SOON = 30.0


class Parted:
    """A channel made of others: `usual`, and for the platforms in `own` another. They stand or fall each on its own:
    where one cannot take anything, its deliveries get `retry` and the others' go out."""

    def __init__(
        self, usual: Channel, own: Mapping[str, Channel], seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._usual, self._own, self._seconds = usual, dict(own), seconds
        self._all = [usual, *self._own.values()]
        self._resting: dict[int, tuple[float, str]] = {}  # by the channel's place in `_all`: until when, and why
        self.name = "_".join(dict.fromkeys(channel.name for channel in self._all))
        self.medium: Medium = usual.medium
        self.batch_size = min(channel.batch_size for channel in self._all)
        rates = [channel.rate for channel in self._all if channel.rate is not None]
        self.rate: float | None = min(rates) if rates else None
        self.resend: Literal["safe", "never"] = "safe" if all(c.resend == "safe" for c in self._all) else "never"
        # What not every one can tell is not to be waited for.
        self.reports: frozenset[EventKind] = frozenset.intersection(*(channel.reports for channel in self._all))

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """Raises nothing: an error of one provider becomes the receipts of what it was given."""
        parts: dict[int, list[Outbound]] = {}
        for outbound in batch:
            channel = self._own.get(outbound.to.get("platform", ""), self._usual)
            parts.setdefault(self._all.index(channel), []).append(outbound)
        told: queue.SimpleQueue[Receipt | None] = queue.SimpleQueue()
        for place, part in parts.items():
            # Beside each other: behind another's time-out, a withdrawal of meanwhile would not be heeded.
            threading.Thread(target=self._part, args=(place, part, told), name="platform", daemon=True).start()
        left = len(parts)
        while left:
            receipt = told.get()
            if receipt is None:
                left -= 1
            else:
                yield receipt

    def events(self, inbound: Inbound) -> list[Event]:
        """What the provider that signed it says. Raises Forged."""
        for channel in self._all:
            try:
                return channel.events(inbound)
            except Forged:
                continue
        raise Forged("none of the providers signed this")

    def forget(self, mine: Callable[[str], bool]) -> int:
        return sum(channel.forget(mine) for channel in self._all if isinstance(channel, Keeps))

    def _part(self, place: int, part: Sequence[Outbound], told: queue.SimpleQueue[Receipt | None]) -> None:
        receipts: list[Receipt] = []
        try:
            until, why = self._resting.get(place, (0.0, ""))
            if (wait := until - self._seconds()) > 0:
                receipts = [Receipt(o.attempt, "retry", detail=why, retry_after=wait) for o in part]
                for receipt in receipts:
                    told.put(receipt)
                return
            error: Exception | None = None
            try:
                for receipt in self._all[place].send(part):
                    receipts.append(receipt)
                    told.put(receipt)
            except Exception as broken:
                error = broken
                self._rest(place, broken)
            for outbound in unreported(part, receipts):
                told.put(_instead(outbound.attempt, error))
        finally:
            told.put(None)

    def _rest(self, place: int, error: Exception) -> None:
        if isinstance(error, Misconfigured):
            self._resting[place] = (self._seconds() + _LATER, "misconfigured")
        elif isinstance(error, Unavailable):
            self._resting[place] = (self._seconds() + (error.retry_after or _SOON), "unavailable")


def _instead(attempt: str, error: Exception | None) -> Receipt:
    """The receipt of a delivery that got none."""
    match error:
        case Misconfigured():
            return Receipt(attempt, "retry", detail="misconfigured", retry_after=_LATER)
        case Unavailable():
            return Receipt(attempt, "retry", detail="unavailable", retry_after=error.retry_after)
        case Rejected():
            return Receipt(attempt, "rejected", detail="rejected")
        case None:
            return Receipt(attempt, "uncertain", detail="no_receipt")
        case ChannelError():
            return Receipt(attempt, "uncertain", detail="no_answer")
    return Receipt(attempt, "uncertain", detail="channel_failed")
