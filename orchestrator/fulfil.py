"""Rewards that need a person or a warehouse: handed over in files, once each; and what comes back of them, of tills and
of who prints voucher codes.

A claim's file is a draft until the database says that the claim stands in it. Whoever dies in between leaves a draft,
which the next run finishes or throws away: no claim is in two files, and none is in no file.
"""

from __future__ import annotations

import csv
import fcntl
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from orchestrator import reward
from orchestrator.apply import in_force
from orchestrator.ingest import record_events
from orchestrator.model import Vocabulary
from orchestrator.project import Project
from orchestrator.reward import Redemption
from orchestrator.rows import ReadRow
from orchestrator.sheet import csv_line
from orchestrator.store import claims, vouchers
from orchestrator.store.claims import Parcel, Taken
from orchestrator.store.database import Store
from orchestrator.store.people import take_turns

BATCH: Final = 5_000
OTHER: Final = "other"
"""The kind of claims whose reward the programme does not name any more."""

_POSTAL = ("company", "first_name", "last_name", "street", "postcode", "city", "region", "country")
_PERSON = ("company", "first_name", "last_name", "email", "phone")
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "merchandise": _POSTAL,
    "gift_card": _POSTAL,
    "discount": _PERSON,
    "event_ticket": _PERSON,
    "training": _PERSON,
    "business_tool": _PERSON,
    "consulting_session": _PERSON,
    "donation": (),
    OTHER: (*_POSTAL, "email", "phone"),
}
"""What whoever fulfils a kind of reward has to know of the person, and no more."""


class NotHandedOver(Exception):
    """Nothing, or nothing more, was handed over. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class FulfilReport:
    """`files` written, with how many claims each; `cancelled`: claims of people who were erased, with nobody to send
    anything to; `finished`: files of an earlier run that died."""

    files: Mapping[str, int]
    cancelled: int = 0
    finished: tuple[str, ...] = ()

    @property
    def handed_over(self) -> int:
        return sum(self.files.values())


# ---- out ------------------------------------------------------------------------------------------------------------


def fulfil(store: Store, project: Project, folder: Path, *, now: datetime) -> FulfilReport:
    """Write the open claims that have no voucher into a CSV for each kind of reward, readable for its owner only.

    Each claim stands in one file and is `handed_over` from then on. Raises NotHandedOver, and what the store raises.
    """
    written: dict[str, int] = {}
    cancelled = 0
    with _alone(folder):
        try:
            finished = _finished(store, folder)
            while True:
                done = _batch(store, project, folder, now)
                written |= {name: count for name, count in done.files.items() if count}
                cancelled += done.cancelled
                if not done.files and not done.cancelled:
                    return FulfilReport(written, cancelled, finished)
        except OSError as error:
            raise NotHandedOver(
                f"{folder} cannot be written ({error.strerror}); make room or name another folder"
            ) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: another one's drafts are not to be thrown away."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise NotHandedOver(f"{folder} cannot be opened ({error.strerror}); name a folder") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise NotHandedOver(f"another process is writing to {folder}; let it finish") from None
    else:
        yield
    finally:
        os.close(fd)


def _finished(store: Store, folder: Path) -> tuple[str, ...]:
    """Drafts of a run that died: in force where the database says so, else thrown away; names of the former."""
    names = []
    for draft in sorted(folder.glob(".*.csv.part")):
        name = draft.name.removeprefix(".").removesuffix(".part")
        with draft.open(encoding="utf-8", newline="") as file:
            told = [row.get("claim") or "" for row in csv.DictReader(file)]
        ids = [int(number) for number in told if number.isdecimal()]
        with store.read() as conn:
            stands = bool(ids) and claims.in_job(conn, name, ids)
        if stands:
            draft.replace(folder / name)
            names.append(name)
        else:
            draft.unlink()
    return tuple(names)


def _batch(store: Store, project: Project, folder: Path, now: datetime) -> FulfilReport:
    drafts: dict[str, int] = {}

    def work(conn: sa.Connection) -> int:
        drafts.clear()
        take_turns(conn, "claim")
        found = claims.open_ones(conn, BATCH)
        gone = [parcel.claim for parcel in found if parcel.erased]
        by_kind: dict[str, list[Parcel]] = defaultdict(list)
        for parcel in found:
            if not parcel.erased:
                by_kind[_kind(project, parcel.claim.reward)].append(parcel)
        for kind, parcels in sorted(by_kind.items()):
            name = f"{kind}-{now.astimezone(UTC):%Y%m%dT%H%M%S}-{parcels[0].claim.id}.csv"
            _draft(folder / f".{name}.part", _NEEDS[kind], parcels)
            drafts[name] = len(parcels)
            claims.settle(conn, [parcel.claim.id for parcel in parcels], "handed_over", None, name)
        for claim in gone:
            reward.cancel(conn, project, claim.id, now)
        return len(gone)

    cancelled = store.written(work)  # should it raise, the drafts stay: whether it was committed the next run finds out
    for name in drafts:
        (folder / f".{name}.part").replace(folder / name)
    return FulfilReport(drafts, cancelled)


def _kind(project: Project, name: str) -> str:
    for program in project.program.classes.values():
        if name in program.rewards:
            return program.rewards[name].kind
    return OTHER


def _draft(path: Path, columns: Sequence[str], parcels: Sequence[Parcel]) -> None:
    """On the disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
        file.write(csv_line(["claim", "reward", "claimed_at", "points", *columns]))
        for one in parcels:
            cells = [
                one.claim.id,
                one.claim.reward,
                f"{one.claim.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
                one.claim.cost,
            ]
            file.write(csv_line([*cells, *(one.to[column] for column in columns)]))
        file.flush()
        os.fsync(file.fileno())


# ---- in -------------------------------------------------------------------------------------------------------------

Became = tuple[str, str]
"""(inserted, updated or unchanged; "" and what is wrong with the row)."""


def take_in(
    conn: sa.Connection, kind: str, vocabulary: Vocabulary, pool: str, rows: Sequence[ReadRow], now: datetime
) -> list[Became]:
    """Rows of an import (`orchestrator.slips`), in its transaction: `vouchers` for that pool, `redemptions`, `claims`.
    Problems name no code."""
    match kind:
        case "vouchers":
            return _codes(conn, pool, [row.key for row in rows], now)
        case "redemptions":
            answers = reward.redeem(conn, vocabulary, [redemption(row) for row in rows], now)
            return [(("unchanged" if a.again else "inserted"), a.text if a.reason else "") for a in answers]
        case _:
            return _outcomes(conn, rows, now)


def redemption(row: ReadRow) -> Redemption:
    """A till's row, once it is read."""
    said = row.values
    return Redemption(row.key, said["receipt"], said["at"], said.get("amount"), said.get("amount_currency"))


def _codes(conn: sa.Connection, pool: str, codes: Sequence[str], now: datetime) -> list[Became]:
    known = vouchers.add(conn, pool, codes, now)
    seen: set[str] = set()
    found: list[Became] = []
    for code in codes:
        where = known.get(code)
        if where is not None and where != pool:
            found.append(("", f"this code is in the pool `{where}` already, and a till knows only the code"))
        elif where is not None or code in seen:
            found.append(("", "this code is in the pool already"))
        else:
            found.append(("inserted", ""))
        seen.add(code)
    return found


def _outcomes(conn: sa.Connection, rows: Sequence[ReadRow], now: datetime) -> list[Became]:
    """What became of claims that were handed over; one that failed is cancelled, and its points return."""
    force = in_force(conn)
    take_turns(conn, "claim")
    known = claims.locked(conn, {int(row.key) for row in rows})
    states = {number: claim.state for number, claim in known.items()}
    done: list[tuple[Taken, datetime]] = []
    found: list[Became] = []
    for row in rows:
        claim = known.get(int(row.key))
        if claim is None or force is None:
            found.append(("", reward.NOT_CANCELLED["unknown"]))
            continue
        state, told = states[claim.id], row.values["outcome"]
        if told == "failed":
            found.append(_failed(conn, force.project, claim, state, now))
            states[claim.id] = state if found[-1][1] else "cancelled"
        elif state == "cancelled":
            found.append(("", "the claim was cancelled, and its points were given back"))
        elif state == "fulfilled":
            found.append(("unchanged", ""))
        else:
            states[claim.id] = "fulfilled"
            done.append((claim, row.values["at"]))
            found.append(("updated", ""))
    claims.settle(conn, [claim.id for claim, _ in done], "fulfilled", now)
    record_events(conn, [_fulfilled(claim, at) for claim, at in done], now=now)
    return found


def _failed(conn: sa.Connection, project: Project, claim: Taken, state: str, now: datetime) -> Became:
    if state == "cancelled":
        return "unchanged", ""
    if state == "fulfilled" and claim.voucher_id is None:
        return "", reward.NOT_CANCELLED["fulfilled"]
    reason = reward.cancel(conn, project, claim.id, now)
    return ("updated", "") if not reason else ("", reward.NOT_CANCELLED[reason])


def _fulfilled(claim: Taken, at: datetime) -> dict[str, Any]:
    said = {"claim": str(claim.id), "reward": claim.reward}
    return reward.event_of(
        "reward_fulfilled", f"claim:{claim.id}", (claim.unit, claim.unit_id, claim.customer_id), at, said
    )
