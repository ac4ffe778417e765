"""How long simulations take, by processor time: `python -m benchmarks.simulate [CUSTOMERS] [DAYS] [JOURNEY …]`.

Wall time says little on a machine that is shared; what a second machine would take is the processor's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from channels.base import Medium
from channels.null import Null
from orchestrator.project import load
from orchestrator.rehearse.behaving import USUAL
from orchestrator.rehearse.cohort import made_up
from orchestrator.rehearse.simulating import part, simulate

BEGIN = datetime(2027, 3, 7, 23, tzinfo=UTC)  # behind the starter's broadcasts


def main(arguments: list[str]) -> None:
    numbers = [int(a) for a in arguments if a.isdigit()]
    customers, days = (*numbers, *(1000, 30)[len(numbers) :])
    journeys = [a for a in arguments if not a.isdigit()]
    project = load(Path(__file__).parent.parent)
    looks: list[datetime] = []
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        played = simulate(
            project,
            made_up(part(project, journeys), customers, 1),
            begin=BEGIN,
            until=BEGIN + timedelta(days=days),
            behaviour=USUAL,
            seed=1,
            folder=Path(folder),
            channels={medium: Null(medium) for medium in Medium},
            journeys=journeys,
            progress=looks.append,
        )
        seconds = time.process_time() - began
    sent = sum(v.count for v in played.volumes)
    print(
        f"{customers:,} customers, {days} days, {len(journeys or project.journeys)} journeys: {seconds:.1f} s of "
        f"processor time, {len(looks):,} looks ({1000 * seconds / max(1, len(looks)):.0f} ms each), {sent:,} messages"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
