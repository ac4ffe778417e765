"""What the gate and the log cost a delivery: beside the same delivery without them.

Each run on a database of its own, the same people, the same messages, to a channel that takes everything. Without the
log nothing is written down, committed to or sealed; without the gate no rule is heard and nothing is read that only
rules need. Neither can be switched off in the product: here they are patched away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.campaign import APPLIED, KEYS, NOW, WORKSPACE, Line, analyzed, entered, imported, opened, timed
from channels.base import Medium
from channels.null import Null
from orchestrator import deliver as delivering
from orchestrator import project
from orchestrator.apply import apply
from orchestrator.audit import VerifyReport, verify
from orchestrator.decision import Case
from orchestrator.outbound import Due
from orchestrator.project import Project
from orchestrator.rejudge import examine
from orchestrator.rules import Judgement
from orchestrator.seal import seal
from orchestrator.store import consents, standing
from orchestrator.store import log as log_lines
from orchestrator.store.counting import Contacts
from orchestrator.store.database import Store

_ALLOWED = Judgement((), "allow", "", "", None)


def stages(folder: Path, count: int, fresh: Callable[[], str]) -> Iterator[Line]:
    """Needs the files of `campaign.write_files`. The floor of each line is the run without."""
    loaded = project.load(WORKSPACE)
    store, whole = _delivered(fresh, folder, loaded, count)
    yield _verified(store)
    store.close()
    silent = _delivered(fresh, folder, loaded, count, log=False)
    bare = _delivered(fresh, folder, loaded, count, log=False, gate=False)
    yield Line("deliver, beside it without the log", count, whole, silent[1])
    yield Line("deliver, beside it without gate and log", count, whole, bare[1])
    silent[0].close()
    bare[0].close()


def _verified(store: Store) -> Line:
    """All of it: the tree, the consents, every decision judged again."""
    seal(store, KEYS, now=NOW)
    reports: list[VerifyReport] = []
    spent = timed(lambda: reports.append(verify(store, KEYS, now=NOW, examine=examine)))
    assert reports[0].ok, reports[0].findings[:3]
    return Line("audit verify, each decision judged again", reports[0].size, spent)


def _delivered(
    fresh: Callable[[], str], folder: Path, loaded: Project, count: int, *, log: bool = True, gate: bool = True
) -> tuple[Store, float]:
    store = opened(fresh())
    for kind, name in (("customers", "customers.csv"), ("consents", "consents.csv")):
        imported(store, loaded, kind, folder / name)
    apply(store, loaded, author="bench", message="bench", now=APPLIED)
    entered(store)
    analyzed(store)
    channel = Null(Medium.EMAIL)
    with ExitStack() as without:
        for patched in [*([] if log else _no_log()), *([] if gate else _no_gate())]:
            without.enter_context(patched)
        spent = timed(lambda: delivering.deliver(store, {Medium.EMAIL: channel}, KEYS, now=NOW, worker="bench"))
    assert channel.taken == count, f"{channel.taken} of {count} were sent"
    return store, spent


def _no_log() -> list[Any]:
    return [
        patch.object(delivering._Run, "_log", lambda *_: None),
        patch.object(log_lines, "append", lambda *_: []),
        patch.object(log_lines, "person_keys", lambda conn, keys, ids, make=False: dict.fromkeys(ids, b"")),
    ]


def _no_gate() -> list[Any]:
    def judged(due: Due, *_: Any) -> Case:
        return Case(due, _ALLOWED, None)

    def nothing(*_: Any, **__: Any) -> dict[Any, Any]:
        return {}

    def uncounted(*_: Any, **__: Any) -> tuple[frozenset[int], Contacts]:
        return frozenset(), Contacts({}, {}, {})

    return [
        patch.object(delivering, "_judged", judged),
        patch.object(delivering, "counted", uncounted),
        patch.object(standing, "counted", uncounted),
        patch.object(consents, "current", nothing),
        patch.object(standing, "_suppressed", nothing),
    ]
