"""A provider of texts, in files that dying processes share: an attempt is taken once, and can be asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from channels.base import EventKind, Handed, Inbound, Medium, Outbound, Receipt
from orchestrator.deliver import deliver
from orchestrator.reconcile import reconcile
from orchestrator.store import Store
from tests.outgoing import KEYS

URL = "https://small.example"


class Kept:
    """Takes a text by making a file of its attempt's name, slowly."""

    name = "kept"
    medium = Medium.SMS
    batch_size = 20
    rate: float | None = None
    resend: Any = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(self, folder: Path, slow: float) -> None:
        self.folder, self.slow = folder / "taken", slow
        self.folder.mkdir(exist_ok=True)

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        for outbound in batch:
            os.close(os.open(self.folder / outbound.attempt, os.O_CREAT | os.O_EXCL))
            time.sleep(self.slow)
            yield Receipt(outbound.attempt, "accepted", f"SM{outbound.attempt}")

    def events(self, inbound: Inbound) -> list[Any]:
        return []

    def trace(self, handed: Sequence[Handed]) -> Iterator[Receipt]:
        for one in handed:
            if (self.folder / one.attempt).exists():
                yield Receipt(one.attempt, "accepted", f"SM{one.attempt}")
            else:
                yield Receipt(one.attempt, "rejected", "", None, "never_taken")


def taken(folder: Path) -> list[str]:
    return [path.name for path in (folder / "taken").iterdir()] if (folder / "taken").exists() else []


def count(folder: Path) -> int:
    return len(taken(folder))


def rounds(store: Store, folder: Path, now: datetime, slow: float) -> None:
    channel = Kept(folder, slow)
    reconcile(store, {Medium.SMS: channel}, KEYS, now=now, public_url=URL)
    while deliver(store, {Medium.SMS: channel}, KEYS, now=now, public_url=URL, limit=20).judged:
        reconcile(store, {Medium.SMS: channel}, KEYS, now=now, public_url=URL)


def work(url: str, folder: str, now: datetime, chance: float) -> None:
    """A worker's life, until it is killed or nothing is left to do."""
    store = Store.open(url)
    rounds(store, Path(folder), now, 0.02 + 0.02 * chance)
    store.close()
