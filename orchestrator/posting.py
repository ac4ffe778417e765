"""What became of jobs at a print house: its receipts and returned post taken in, jobs listed, proofs approved.

The channel reads the house's files and knows its jobs; what they say of letters goes the way of all feedback, through
`ingest`. A table says to everybody who has the database what was dropped when, and how far it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from channels.base import Channel, ChannelError, Forged, Job, Medium, Misconfigured, Posts
from orchestrator.ingest import receive
from orchestrator.store.database import Store, insert_many
from orchestrator.store.keys import Keys
from orchestrator.store.tables import letter_job

_CHUNK = 2_000
"""Events of one transaction: a receipt speaks of every letter of a job."""


@dataclass(frozen=True, slots=True)
class PostReport:
    """What `take_back` found: `files` read, `new` events by kind, `refused` rows put aside, `jobs` known.

    `problems`: what an operator should look at, in words."""

    files: int = 0
    new: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    jobs: int = 0
    problems: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line: `2 files, accepted 12, returned 1`."""
        told = [f"{self.files} file{'' if self.files == 1 else 's'}"] if self.files else []
        told += [f"{kind} {n}" for kind, n in sorted(self.new.items())]
        told += [f"{self.refused} rows put aside"] if self.refused else []
        return ", ".join(told) or "the house left nothing"


def house(channels: Mapping[Medium, Channel]) -> Posts:
    """The channel that has jobs. Raises Misconfigured where letters go another way."""
    channel = channels[Medium.MAIL]
    if not isinstance(channel, Posts):
        raise Misconfigured(
            f'letters go by {channel.name}, which has no jobs; `provider = "letterfile"` under [channels.mail] has'
        )
    return channel


def take_back(
    store: Store, keys: Keys, channel: Posts, *, now: Callable[[], datetime], stop: Callable[[], bool] = lambda: False
) -> PostReport:
    """Read what the house left, each file once: stored first, then put aside. Again, after a crash: the same result.

    Raises Misconfigured; a house that cannot be reached is a problem told."""
    files = refused = 0
    new: Counter[str] = Counter()
    problems: list[str] = []
    try:
        for inbound in channel.left():
            if stop():
                break
            try:
                events = channel.events(inbound)  # type: ignore[attr-defined]
            except Forged as error:
                problems.append(f"a file was left alone: {error}")
                continue
            for n in range(0, len(events), _CHUNK):
                new.update(receive(store, keys, events[n : n + _CHUNK], now=now()).new)
            bad = channel.taken(inbound)
            files, refused = files + 1, refused + bad
            if bad:
                problems.append(f"{bad} row{'' if bad == 1 else 's'} of a file could not be read; see returns/done")
    except Misconfigured:
        raise
    except ChannelError as error:
        problems.append(f"the house's files could not be read: {error}")
    except OSError as error:
        problems.append(f"a file of the house could not be put aside ({error.strerror}); it is read again next time")
    found = jobs(store, channel)
    problems += [f"{job.id}: {note}" for job in found for note in job.notes]
    return PostReport(files, dict(new), refused, len(found), tuple(problems))


def jobs(store: Store, channel: Posts) -> list[Job]:
    """Every job, the oldest first; the table is brought up to date with them."""
    found = channel.jobs()
    store.written(lambda conn: _remember(conn, found))
    return found


def approve(store: Store, channel: Posts, job: str, by: str) -> Job:
    """Tell the house that a job's proofs are good. Raises Misconfigured for a job that cannot be approved."""
    channel.approve(job, by)
    return next(one for one in jobs(store, channel) if one.id == job)


def _remember(conn: sa.Connection, found: list[Job]) -> None:
    known = dict(conn.execute(sa.select(letter_job.c.job, letter_job.c.updated_at)).tuples().all())
    fresh = [job for job in found if job.id not in known]
    insert_many(conn, letter_job, [_row(job) for job in fresh], ignore_conflicts=True)
    for job in found:
        if job.id in known and known[job.id] != job.updated_at:  # a few a day
            conn.execute(letter_job.update().where(letter_job.c.job == job.id).values(_row(job)))


def _row(job: Job) -> dict[str, object]:
    return {
        "job": job.id,
        "house": job.house,
        "cutoff": job.cutoff,
        "dropped_at": job.dropped_at,
        "state": job.state,
        "pieces": job.pieces,
        "manifest": job.digest,
        "updated_at": job.updated_at,
    }
