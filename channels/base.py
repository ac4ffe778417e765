"""The wire's vocabulary: what a message is when it leaves, and what can come back. Knows nothing of orchestrator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable


class Medium(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    MAIL = "mail"
    TASK = "task"
    WEBHOOK = "webhook"
    AUDIENCE = "audience"  # a place on a list that an advertising platform gets, as hashes


class EventKind(StrEnum):
    """One vocabulary of feedback over all vendors."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    OPENED = "opened"
    MACHINE_OPENED = "machine_opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"  # hard: the address does not exist
    SOFT_BOUNCED = "soft_bounced"
    BLOCKED = "blocked"  # refused for reputation or content; the address may be good
    DROPPED = "dropped"  # the provider's own suppression
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    RESUBSCRIBED = "resubscribed"
    REPLIED = "replied"
    FAILED = "failed"
    RETURNED = "returned"
    EXPIRED = "expired"


class Reason(StrEnum):
    """Why a provider refused or a delivery failed."""

    INVALID_ADDRESS = "invalid_address"
    UNKNOWN_ADDRESS = "unknown_address"
    OPTED_OUT = "opted_out"
    CONTENT = "content"
    TOO_LARGE = "too_large"
    RATE = "rate"
    CONFIGURATION = "configuration"
    PROVIDER = "provider"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The fixed part of a rendered template, shared by every message of a batch that carries the same object.

    `parts` maps a part name (subject, html, text, body, title, url, preheader) to literal pieces; between piece i and
    piece i+1 stands slot `slots[part][i]`, an index into `Outbound.values`. So `len(parts[p]) == len(slots[p]) + 1`.
    """

    hash: str
    parts: Mapping[str, tuple[str, ...]]
    slots: Mapping[str, tuple[int, ...]]

    def fill(self, part: str, values: Sequence[str]) -> str:
        """One part as the recipient gets it."""
        pieces = self.parts[part]
        out = [pieces[0]]
        for piece, slot in zip(pieces[1:], self.slots[part], strict=True):
            out.append(values[slot])
            out.append(piece)
        return "".join(out)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with an e-mail: `content`, or, where it is the recipient's own, the skeleton's part `part`."""

    name: str
    type: str  # a media type: application/pdf; text/calendar; method=REQUEST
    content: bytes = field(default=b"", repr=False)
    part: str = ""


@dataclass(frozen=True, slots=True)
class Outbound:
    """One delivery as the provider gets it. `attempt` is opaque and is the only id that may travel."""

    attempt: str
    medium: Medium
    to: Mapping[str, str]  # email: address, name · sms: number · push: token, platform · mail: name, street, …, country
    # audience: address, number
    skeleton: Skeleton
    values: tuple[str, ...]
    sender: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    locale: str = ""
    valid_until: datetime | None = None
    meta: Mapping[str, str] = field(default_factory=dict)  # letters and tasks: job fields; never an id of a person
    attachments: tuple[Attachment, ...] = ()  # the same object for all messages of a skeleton

    def part(self, name: str) -> str:
        """A rendered part, empty when the template has none of that name."""
        return self.skeleton.fill(name, self.values) if name in self.skeleton.parts else ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one Outbound. `uncertain` means it may or may not have been taken."""

    attempt: str
    status: Literal["accepted", "rejected", "uncertain", "retry"]
    provider_id: str = ""
    reason: Reason | None = None
    detail: str = ""  # never an address or a name
    retry_after: float | None = None  # seconds; with `retry`, the provider certainly did not take it
    answer: Mapping[str, Any] | None = field(default=None, repr=False)  # webhook: the JSON object that came back


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that came back. Keyed by (attempt, kind, at, url): vendors' own event ids are no dedupe keys.

    What names no attempt (a text that somebody sends us, a bounce that comes days later) has `attempt` "" and the
    `address` it is about. `text` is what a person wrote, and `meaning` what the provider took it for.
    """

    attempt: str
    kind: EventKind
    at: datetime
    provider_id: str = ""
    reason: Reason | None = None
    url: str = ""
    detail: str = ""
    address: str = field(default="", repr=False)  # as in `Outbound.to`: an e-mail address, a number in E.164
    text: str = field(default="", repr=False)
    meaning: Literal["", "stop", "start", "help"] = ""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A raw request of a provider's webhook, or a file it left."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""  # the public one, with its query: made from the settings, never from a Host header


class ChannelError(Exception):
    """The batch could not be handed over as a whole."""


class Rejected(ChannelError):
    """Refused for good; nothing was taken."""


class Unavailable(ChannelError):
    """Certainly not taken; try later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Uncertain(ChannelError):
    """May have been taken: time-out, reset, unreadable answer."""


class Misconfigured(ChannelError):
    """An operator must act; nothing was taken."""


class Forged(ChannelError):
    """A webhook whose signature does not verify."""


@runtime_checkable
class Channel(Protocol):
    """A medium through one provider."""

    name: str
    medium: Medium
    batch_size: int
    rate: float | None  # messages a second, None for unlimited
    resend: Literal["safe", "never"]
    reports: frozenset[EventKind]

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """One receipt for each, in any order, as they come. Raises a ChannelError for what is left of the batch.

        What the error says is taken for true of every message without a receipt: one that was handed over and not
        answered gets its `uncertain` before anything but Uncertain is raised.
        """
        ...

    def events(self, inbound: Inbound) -> list[Event]:
        """Checks the signature on the raw bytes first; raises Forged."""
        ...


@runtime_checkable
class Keeps(Protocol):
    """A channel that keeps what it was given where we can reach it: files, a job for a print house."""

    def forget(self, mine: Callable[[str], bool]) -> int:
        """Remove for good what is kept of the attempts of which `mine` is true; returns how many deliveries that were.

        Somebody has asked to be erased. Doing it again does no harm.
        """
        ...


@runtime_checkable
class Collects(Protocol):
    """A channel that hands over at set times: what has come together by then leaves as one job."""

    def closes(self, at: datetime) -> datetime:
        """The next cut-off, `at` itself included (aware UTC, whole seconds). What is due by it goes with it."""
        ...

    def left_out(self, counts: Mapping[str, int]) -> None:
        """Called just before a job is sent: how many of it were decided not to go, by reason code."""
        ...


@runtime_checkable
class Discards(Protocol):
    """A channel that keeps nothing of what it is given and hands it to nobody: what it gets need not be anybody's own
    words."""

    discards: Literal[True]


@runtime_checkable
class Readies(Protocol):
    """A channel that has something to do first which may take long: connections, logging in."""

    def ready(self, count: int) -> None:
        """Called before the last look, so that so many deliveries can begin at once behind it; 0: nothing is sent after
        all. Raises nothing: what is wrong, `send` says."""
        ...


@runtime_checkable
class Rechecks(Protocol):
    """A channel whose hand-over takes long, and is one moment at its end: a job that is released."""

    def recheck(self, unchanged: Callable[[], bool]) -> None:
        """Called just before a batch is sent. `unchanged()` is asked in that moment, and says whether all of the batch
        may still go; where it is not so, nothing is handed over, and `send` raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a provider was given as one: `state` begun, sealed (complete, and not yet released), dropped,
    acknowledged, approved, mailed or returned. `pieces`: with our own seeds."""

    id: str
    house: str
    cutoff: datetime
    dropped_at: datetime | None
    state: str
    pieces: int
    digest: str  # SHA-256 of its manifest
    updated_at: datetime
    refused: Mapping[str, int] = field(default_factory=dict)  # what could not be made, by why
    notes: tuple[str, ...] = ()  # what somebody should look at


@runtime_checkable
class Posts(Protocol):
    """A channel that hands jobs to a house, and reads what the house leaves for us in files."""

    def jobs(self) -> list[Job]:
        """Every job, the oldest first."""
        ...

    def left(self) -> Iterator[Inbound]:
        """The files that the house left, as `events` takes them. Raises a ChannelError."""
        ...

    def taken(self, inbound: Inbound) -> int:
        """The events of this file are stored: it is put aside. How many of its rows could not be read."""
        ...

    def approve(self, job: str, by: str) -> None:
        """Tell the house that a job's proofs are good. Raises Misconfigured for a job that cannot be approved."""
        ...


@dataclass(frozen=True, slots=True)
class Handed:
    """An attempt of which no outcome is known, as far as a provider may be asked about it."""

    attempt: str
    to: Mapping[str, str] = field(repr=False)
    at: datetime  # when it was decided
    body: str = field(default="", repr=False)  # a text as it went out; "": not known any more


@runtime_checkable
class Traces(Protocol):
    """A channel that can find out what became of an attempt that it did not answer for."""

    def trace(self, handed: Sequence[Handed]) -> Iterator[Receipt]:
        """A receipt for each that is now known: accepted, or rejected with the detail "never_taken" where the
        provider certainly has nothing of it. None for the others. Raises a ChannelError."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """What an installation gives every provider. A provider's module brings `connect(medium, options, site)`, which
    returns its Channel and raises Misconfigured; `options` are its own table of the settings, secrets revealed."""

    folder: Path  # where it may keep files
    clock: Callable[[], datetime]  # aware UTC
    secret: bytes = field(repr=False)  # its own, always the same: for what it must sign to itself
    hook: str = ""  # the public URL at which its provider's webhooks arrive: https://…/hooks/MEDIUM


def unreported(batch: Sequence[Outbound], receipts: Sequence[Receipt]) -> list[Outbound]:
    """Those of a batch that got no receipt: uncertain by definition."""
    seen = {r.attempt for r in receipts}
    return [o for o in batch if o.attempt not in seen]
