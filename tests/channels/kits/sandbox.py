from collections.abc import Sequence
from pathlib import Path

from channels.base import Event, EventKind, Inbound, Medium, Misconfigured, Reason, Unavailable, Uncertain
from channels.sandbox import Sandbox, after, kept, misconfigured, timed_out, unavailable
from tests.channels.kit import NOW, Kit


def kits(folder: Path) -> list[Kit]:
    return [kit(medium, folder / medium.value) for medium in Medium]


def kit(medium: Medium, folder: Path) -> Kit:
    channel = Sandbox(medium, folder, clock=lambda: NOW)
    faults = {Uncertain: timed_out(), Unavailable: unavailable(30), Misconfigured: misconfigured()}

    def genuine(attempts: Sequence[str]) -> list[tuple[Inbound, int]]:
        events = [Event(a, EventKind.BOUNCED, NOW, f"sandbox-{a}", Reason.UNKNOWN_ADDRESS) for a in attempts]
        return [(channel.inbound(events), len(events)), (channel.inbound([]), 0)]

    return Kit(
        channel,
        lambda: [delivery.attempt for delivery in kept(folder) if delivery.medium is medium],
        {
            kind: Sandbox(medium, folder / kind.__name__, after(2, fault), clock=lambda: NOW)
            for kind, fault in faults.items()
        },
        genuine,
    )
