"""A process that delivers until nothing is due, to be killed meanwhile. Loaded once, forked for each death."""

from __future__ import annotations

from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orchestrator.apply
from channels.base import Medium, Outbound
from channels.sandbox import Act, Sandbox
from orchestrator.deliver import deliver
from orchestrator.project import load_files
from orchestrator.store import Store
from tests.outgoing import KEYS, POLICIES, files, journey

TEXTS = files(
    {"two": journey("two", "- email: hello\n- email: second")},
    POLICIES + "  dedupe: same address and same content within 24 hours\n",
)
_project = load_files(dict(TEXTS))
orchestrator.apply._projects[_project.hash] = _project


def work(url: str, folder: str, now: datetime, ready: Connection, slow: float) -> None:
    """One worker's life: many small rounds, and a provider that takes its time over each message."""
    store = Store.open(url)
    clock: Any = lambda: now  # noqa: E731

    def behave(outbound: Outbound, number: int) -> Act:
        if number == 0:
            ready.send("handing over")
        return Act(slow=slow)

    email = Sandbox(Medium.EMAIL, Path(folder), behave, clock=clock, batch_size=20, secret=b"s" * 32)
    ready.send("ready")
    while deliver(store, {Medium.EMAIL: email}, KEYS, now=now, worker="doomed", limit=60).judged:
        pass
    store.close()
