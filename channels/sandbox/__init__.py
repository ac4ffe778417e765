"""Keeps every message as a file a person can open; sends nothing. The embedded default, rehearsals, tests.

Under its folder: `email/*.eml`, `sms/*.txt`, `push/*.json`, `webhook/*.json`, `task/*.txt` with `task/tasks.csv`, and
one folder a batch of letters, `mail/JOB/`, as a print house takes them. `index.jsonl` has one line a delivery. A file
is named after its attempt and created exclusively: the same attempt handed over twice is refused, kept beside the
first and marked in the index, so that nothing is doubled unseen. Files and folders are for their owner only.

What a provider may do wrong is scripted, message by message, with an `Act`. What comes back later is played with
`feedback` and `inbound`, which sign it as a vendor's webhook would.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from channels.base import (
    Event,
    EventKind,
    Forged,
    Inbound,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Site,
    Uncertain,
)
from channels.sandbox.files import store
from channels.sandbox.forget import forget
from channels.sandbox.page import Kept, browse, kept
from channels.sandbox.script import (
    ACCEPT,
    Act,
    Behaviour,
    Later,
    after,
    always,
    bounced,
    by_template,
    crashed,
    delayed,
    delivered,
    malformed,
    misconfigured,
    numbered,
    rejected,
    retry,
    share,
    timed_out,
    unavailable,
)

__all__ = [
    "ACCEPT",
    "Act",
    "Behaviour",
    "Kept",
    "Later",
    "Sandbox",
    "after",
    "always",
    "bounced",
    "browse",
    "by_template",
    "crashed",
    "delayed",
    "delivered",
    "forget",
    "kept",
    "malformed",
    "misconfigured",
    "numbered",
    "rejected",
    "retry",
    "share",
    "timed_out",
    "unavailable",
]

_REPORTS: Mapping[Medium, frozenset[EventKind]] = {
    Medium.EMAIL: frozenset(EventKind) - {EventKind.REPLIED, EventKind.RETURNED},
    Medium.SMS: frozenset({EventKind.DELIVERED, EventKind.FAILED, EventKind.CLICKED, EventKind.REPLIED}),
    Medium.PUSH: frozenset({EventKind.FAILED, EventKind.OPENED}),
    Medium.MAIL: frozenset({EventKind.ACCEPTED, EventKind.RETURNED}),
}
_SIGNATURE = "X-Sandbox-Signature"
_GROUP = 500  # messages whose names are made durable together


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Sandbox:
    """Option `feedback` (true or false): whether somebody plays what comes back (`Sandbox.inbound`). Without, the
    channel says that it reports nothing, so that no journey waits for a delivery that nobody will report."""
    unknown = sorted(options.keys() - {"feedback"})
    feedback = options.get("feedback", False)
    if unknown or not isinstance(feedback, bool):
        said = f"has no setting `{unknown[0]}`" if unknown else "takes `feedback` as true or false"
        raise Misconfigured(f"sandbox for {medium} {said}")
    reports = None if feedback else frozenset[EventKind]()
    return Sandbox(medium, site.folder, clock=site.clock, reports=reports, secret=site.secret)


class Sandbox:
    """A medium without a provider: what it is given, it keeps under `folder`.

    `clock` gives aware UTC instants, for dates in files and feedback. `behaviour` scripts faults and feedback.
    Raises what its behaviour says, and Misconfigured when the folder cannot be written.
    """

    name = "sandbox"

    def __init__(
        self,
        medium: Medium,
        folder: str | os.PathLike[str],
        behaviour: Behaviour | None = None,
        *,
        clock: Callable[[], datetime],
        batch_size: int = 1000,
        rate: float | None = None,
        resend: Literal["safe", "never"] = "never",
        reports: frozenset[EventKind] | None = None,
        secret: bytes | None = None,
    ) -> None:
        self.medium = medium
        self.folder = Path(folder)
        self.batch_size = batch_size
        self.rate = rate
        self.resend: Literal["safe", "never"] = resend
        self.reports = _REPORTS.get(medium, frozenset()) if reports is None else reports
        self._behaviour = behaviour or always(ACCEPT)
        self._clock = clock
        self._secret = secret or secrets.token_bytes(32)
        self._number = 0
        self._pending: list[Event] = []

    # ---- out

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """Keeps the messages and yields their receipts in order, as scripted. Letters become one job a call."""
        self._prepare()
        group: list[tuple[Outbound, Act]] = []
        unanswered: list[str] = []
        limit = len(batch) if self.medium is Medium.MAIL else _GROUP
        for outbound in batch:
            act = self._behaviour(outbound, self._number)
            self._number += 1
            if act.slow:
                time.sleep(act.slow)
            breaks = act.raises is not None or act.crash is not None
            if breaks:
                # Receipts before the break are given first, so that "after n receipts" is exact.
                yield from self._keep(group)
                group = []
                if act.taken:
                    self._keep([(outbound, replace(act, receipt=None))])
                if act.crash is not None:
                    _die(act.crash)
                if act.raises is not None:
                    if not isinstance(act.raises, Uncertain):
                        yield from (Receipt(attempt, "uncertain") for attempt in unanswered)
                    raise act.raises
            if act.receipt is None and act.taken:
                unanswered.append(outbound.attempt)
            group.append((outbound, act))
            if len(group) >= limit:
                yield from self._keep(group)
                group = []
        yield from self._keep(group)

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / self.medium.value).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Misconfigured(
                f"the sandbox cannot use its folder ({error.strerror}); give it one it may write to"
            ) from error

    def _keep(self, group: Sequence[tuple[Outbound, Act]]) -> list[Receipt]:
        """Writes those that are taken, then the index, and only then returns receipts."""
        if not group:
            return []
        now = self._clock()
        taken = [outbound for outbound, act in group if act.taken]
        try:
            refusals = iter(store(self.folder, self.medium, taken, now))
        except OSError as error:
            raise Uncertain(f"the sandbox could not write all its files: {error.strerror}") from error
        receipts = []
        for outbound, act in group:
            refusal = next(refusals) if act.taken else None
            if refusal is not None:
                receipts.append(refusal)
                continue
            provider_id = f"sandbox-{outbound.attempt}"
            for later in act.feedback:
                at = now + later.after
                self._pending.append(Event(outbound.attempt, later.kind, at, provider_id, later.reason, later.url))
            if act.receipt is not None:
                known = provider_id if act.receipt == "accepted" else ""
                receipts.append(Receipt(outbound.attempt, act.receipt, known, act.reason, retry_after=act.retry_after))
        return receipts

    def forget(self, mine: Callable[[str], bool]) -> int:
        """Remove what was kept of these attempts, from every medium's folder; returns how many deliveries."""
        return forget(self.folder, mine)

    # ---- back

    def feedback(self, until: datetime | None = None) -> list[Inbound]:
        """What has come back by `until` (the clock's now) as one signed request; each event is given once."""
        until = self._clock() if until is None else until
        due = sorted((e for e in self._pending if e.at <= until), key=lambda e: e.at)
        self._pending = [e for e in self._pending if e.at > until]
        return [self.inbound(due)] if due else []

    def inbound(self, events: Sequence[Event]) -> Inbound:
        """A request as this channel's webhook would make it."""
        body = json.dumps([_event_json(e) for e in events]).encode()
        return Inbound(body, {_SIGNATURE: hmac.new(self._secret, body, "sha256").hexdigest()})

    def events(self, inbound: Inbound) -> list[Event]:
        """Checks the signature on the raw bytes first; raises Forged."""
        given = next((v for k, v in inbound.headers.items() if k.lower() == _SIGNATURE.lower()), "")
        wanted = hmac.new(self._secret, inbound.body, "sha256").hexdigest()
        if not hmac.compare_digest(given.encode(), wanted.encode()):
            raise Forged("the signature does not fit the body")
        return [_event(entry) for entry in json.loads(inbound.body)]


def _event_json(event: Event) -> dict[str, Any]:
    return {
        "attempt": event.attempt,
        "kind": event.kind.value,
        "at": event.at.astimezone(UTC).isoformat(),
        "provider_id": event.provider_id,
        "reason": event.reason and event.reason.value,
        "url": event.url,
        "detail": event.detail,
    }


def _event(entry: Mapping[str, Any]) -> Event:
    return Event(
        entry["attempt"],
        EventKind(entry["kind"]),
        datetime.fromisoformat(entry["at"]),
        entry["provider_id"],
        Reason(entry["reason"]) if entry["reason"] else None,
        entry["url"],
        entry["detail"],
    )


def _die(how: Literal["kill", "exit"]) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(70)
