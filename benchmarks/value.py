"""`orchestrator refresh` over the whole CDNOW history: 23,570 customers and 69,659 orders, both databases' way.

    python -m benchmarks value
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import cdnow
from orchestrator.apply import apply
from orchestrator.importing import import_file
from orchestrator.project import load_files
from orchestrator.rank import RankReport, refresh
from orchestrator.store import Store
from orchestrator.store.keys import Keys

NOW = datetime(1998, 7, 1, 15, tzinfo=UTC)  # the day after the history ends
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


def measure() -> tuple[RankReport, float]:
    """What a refresh of everybody finds, and how many seconds it takes."""
    with tempfile.TemporaryDirectory() as name:
        store = Store.open(f"sqlite:///{name}/store.db", create=True)
        store.migrate()
        fill(store, Path(name) / "files")
        began = time.perf_counter()
        report = refresh(store, now=NOW)
        took = time.perf_counter() - began
        store.close()
    return report, took


if __name__ == "__main__":
    found, seconds = measure()
    print(f"{seconds:.1f} s: {found.summary}")
    print(found.bands, found.models, found.notes)
