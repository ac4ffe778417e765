"""`orchestrator refresh` over the whole CDNOW history: 23,570 customers and 69,659 orders, on both databases.

python -m benchmarks.value
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import cdnow
from orchestrator.apply import apply, in_force
from orchestrator.importing import import_file
from orchestrator.measure import measure
from orchestrator.metrics import Period
from orchestrator.project import load_files
from orchestrator.rank import RankReport, refresh
from orchestrator.store import Store
from orchestrator.store.keys import Keys

NOW = datetime(1998, 7, 1, 15, tzinfo=UTC)  # the day after the history ends
HALF = date(1998, 1, 1)
KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)
WORKSPACE = """
workspace: records
timezone: America/New_York
currency: USD
sender: { name: Records, postal_address: "Records Inc., 1 Main Street, Ambler, PA 19002, US" }
events:
  order_placed: { amount: money, channel: text, order_id: key }
classes:
  b2c: { tiers: [bronze, silver] }
topics:
  offers: { purpose: marketing, title: Offers }
program:
  value: { orders: order_placed.amount, inactive_after: 12 months }
"""


def fill(store: Store, folder: Path, workspace: str = WORKSPACE) -> None:
    """A migrated store with the workspace in force and the whole history imported."""
    project = load_files({"journeys/workspace.yaml": workspace})
    cdnow.write(folder)
    import_file(store, KEYS, project.vocabulary, "customers", folder / "customers.csv", now=NOW)
    import_file(store, KEYS, project.vocabulary, "events", folder / "orders.csv", now=NOW)
    apply(store, project, author="bench", message="", now=NOW)


def measure_at(url: str, folder: Path) -> tuple[RankReport, list[tuple[str, float]]]:
    """What a refresh of everybody finds, and the seconds of each stage."""
    store = Store.open(url, create=True)
    store.migrate()
    took: list[tuple[str, float]] = []

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = work()
        took.append((stage, time.perf_counter() - began))
        return found

    timed("import", lambda: fill(store, folder))
    report: RankReport = timed("refresh, all new", lambda: refresh(store, now=NOW))
    timed("refresh, the day after", lambda: refresh(store, now=NOW + timedelta(days=1)))
    with store.read() as conn:
        force = in_force(conn)
        assert force is not None
        timed("metrics of half a year", lambda: measure(conn, force, Period(HALF, NOW.date()), now=NOW, by="band"))
    store.close()
    return report, took


if __name__ == "__main__":
    from benchmarks.__main__ import databases

    for kind in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, databases(kind, Path(name)) as fresh:
            found, stages = measure_at(fresh(), Path(name) / "files")
            print(kind, *(f"{stage} {seconds:.1f} s" for stage, seconds in stages), sep="; ")
    print(found.bands, found.models, found.notes)
