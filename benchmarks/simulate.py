"""How long simulations take, by processor time, looking as often as `orchestrator simulate` does:

    python -m benchmarks.simulate [--workspace DIR | --recipes] [CUSTOMERS] [DAYS] [JOURNEY …]

Without either, the starter is played. With `--recipes`, a small workspace is made that has nothing but recipes: those
that are named, or all of them. Wall time says little on a machine that is shared; what a second machine would take is
the processor's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from channels.base import Medium
from channels.null import Null
from orchestrator.project import Project, load, load_files
from orchestrator.recipes import BLANK, Wish, made, recipes
from orchestrator.rehearse.behaving import USUAL
from orchestrator.rehearse.cohort import made_up
from orchestrator.rehearse.simulating import part, simulate
from orchestrator.simulation import usual_hop

ROOT = Path(__file__).parent.parent
BEGIN = datetime(2027, 3, 7, 23, tzinfo=UTC)  # behind the starter's broadcasts
SMALL = """workspace: small
timezone: Europe/Berlin
currency: EUR
sender: { name: Small, postal_address: "Small GmbH, Weg 1, 10115 Berlin, DE" }
"""


def of_recipes(names: Sequence[str]) -> Project:
    """A workspace of these recipes, of all of them without names."""
    snippets = ROOT / "templates" / "snippets"
    shipped = {path.name: path.read_text(encoding="utf-8") for path in snippets.glob("*.mjml")}
    project = load_files({"journeys/workspace.yaml": SMALL})
    for name in names or [name for name in recipes() if name != BLANK]:
        project = made(Wish(name), project, (), shipped, date(2026, 11, 22)).project
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workspace", type=Path, default=ROOT)
    where.add_argument("--recipes", action="store_true")
    parser.add_argument("customers", type=int, nargs="?", default=1000)
    parser.add_argument("days", type=int, nargs="?", default=30)
    parser.add_argument("journeys", nargs="*")
    asked = parser.parse_args()
    project = of_recipes(asked.journeys) if asked.recipes else load(asked.workspace)
    span, looks = timedelta(days=asked.days), list[datetime]()
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        played = simulate(
            project,
            made_up(part(project, asked.journeys), asked.customers, 1),
            begin=BEGIN,
            until=BEGIN + span,
            behaviour=USUAL,
            seed=1,
            folder=Path(folder),
            channels={medium: Null(medium) for medium in Medium},
            hop=usual_hop(span),
            journeys=asked.journeys,
            progress=looks.append,
        )
        seconds = time.process_time() - began
    sent = sum(v.count for v in played.volumes)
    print(
        f"{asked.customers:,} customers, {asked.days} days, {len(asked.journeys or project.journeys)} journeys: "
        f"{seconds:.1f} s of processor time, {len(looks):,} looks ({1000 * seconds / max(1, len(looks)):.0f} ms each), "
        f"{sum(t.entered for t in played.traffic.values()):,} entered, {sent:,} messages"
    )


if __name__ == "__main__":
    main()
