"""A sink: accepts everything and keeps only a count. For benchmarks, and for runs whose messages nobody reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from channels.base import Event, EventKind, Forged, Inbound, Medium, Misconfigured, Outbound, Receipt, Site


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Null:
    """Takes no options."""
    if options:
        raise Misconfigured(f"null for {medium} takes no settings, but has: {', '.join(sorted(options))}")
    return Null(medium)


class Null:
    """A channel that takes whatever it is given, at once. `taken` counts the messages, so that a run can be checked."""

    name = "null"
    rate: float | None = None
    resend: Literal["safe", "never"] = "never"
    reports: frozenset[EventKind] = frozenset()
    discards: Literal[True] = True

    def __init__(self, medium: Medium, *, batch_size: int = 1000) -> None:
        self.medium = medium
        self.batch_size = batch_size
        self.taken = 0

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """Accepts each message."""
        for outbound in batch:
            self.taken += 1
            yield Receipt(outbound.attempt, "accepted", outbound.attempt)

    def events(self, inbound: Inbound) -> list[Event]:
        """Raises Forged: a sink reports nothing, so nothing can have come from it."""
        raise Forged("the null channel reports nothing")
