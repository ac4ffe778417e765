"""What a provider brings to the contract suite: a file in tests/channels/kits/ of its module's name, with `kits`.

    def kits(folder: Path) -> list[Kit]        # one for each medium it serves

Nothing else lists it; a provider without such a file fails the suite.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from channels.base import Channel, ChannelError, Inbound, Medium, Outbound, Skeleton

NOW = datetime(2027, 1, 13, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Kit:
    """A channel against a provider of the test's own.

    `taken`: the attempts that the provider holds, None for one that keeps nothing. `broken`: for each error a channel
    that raises it after some receipts. `genuine`: requests as the provider signs them, each with its number of events.
    """

    channel: Channel
    taken: Callable[[], list[str]] | None
    broken: Mapping[type[ChannelError], Channel] = field(default_factory=dict)
    genuine: Callable[[Sequence[str]], list[tuple[Inbound, int]]] | None = None


PLAIN = Skeleton(
    "a-hash",
    {
        "subject": ("Hello ", ""),
        "title": ("For ", ""),
        "text": ("Dear ", ",\nthis is for you.\n"),
        "body": ("Hi ", ", this is for you."),
        "html": ("<!doctype html><title>A letter</title><p>Dear ", ", this is for you.</p>"),
        "url": ("https://example.com/",),
    },
    {"subject": (0,), "title": (0,), "text": (0,), "body": (0,), "html": (0,), "url": ()},
)
ADDRESS = {
    Medium.EMAIL: {"address": "anna.{n}@example.com", "name": "Anna Müller"},
    Medium.SMS: {"number": "+49151000{n:05}"},
    Medium.PUSH: {"token": "token-{n}"},
    Medium.MAIL: {"name": "Anna Müller", "street": "Weg {n}", "city": "Bonn", "postcode": "00538", "country": "DE"},
    Medium.TASK: {"name": "Max Manager", "address": "max@example.com"},
    Medium.WEBHOOK: {"name": "crm"},
    Medium.AUDIENCE: {"address": "anna.{n}@example.com", "number": "+49151000{n:05}"},
}


def outbound(medium: Medium, number: int = 0, **changes: object) -> Outbound:
    given: dict[str, object] = {
        "attempt": f"a{number}",
        "medium": medium,
        "to": {name: value.format(n=number) for name, value in ADDRESS[medium].items()},
        "skeleton": PLAIN,
        "values": ("Anna",),
        "sender": {"name": "Acme", "address": "hello@example.com"},
        "template": "welcome",
        "locale": "de",
        **changes,
    }
    return Outbound(**given)  # type: ignore[arg-type]


def outbounds(medium: Medium, count: int, first: int = 0) -> list[Outbound]:
    return [outbound(medium, number) for number in range(first, first + count)]
