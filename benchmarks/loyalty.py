"""A year of a loyalty programme: tiers, notices and expiries of so many members, checked one by one at the end.

python -m benchmarks.loyalty [10000] [zones: 6]

The story is tests/stories/test_loyalty_year.py's, for more people and a whole year: what the verbs did is compared with
what an implementation of its own works out from each member's orders. Prints where the time goes, month by month.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from orchestrator.store import Store
from orchestrator.store import tables as t
from tests.stories import loyalty_life as lives
from tests.stories import test_loyalty_year as story


def main(arguments: list[str]) -> None:
    count, zones = (*(int(a) for a in arguments), *(10_000, len(lives.ZONES))[len(arguments) :])
    span = replace(lives.YEAR, zones=lives.YEAR.zones[:zones])
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{Path(folder) / 'year.db'}", create=True)
        store.migrate()
        year = story.begin(store, Path(folder), span, count)
        hops = lives.clock(span)
        print(f"{count:,} members in {zones} zones, {len(hops):,} looks at the clock", flush=True)
        began, used = time.perf_counter(), time.process_time()
        for month, took in year.months():
            told = ", ".join(f"{name} {seconds:.0f}" for name, seconds in took.items())
            print(f"{month}: {told}; {time.perf_counter() - began:.0f} s so far", flush=True)
        wall, processor = time.perf_counter() - began, time.process_time() - used
        print(f"played in {wall:.0f} s, {processor:.0f} s of the processor", flush=True)
        with store.read() as conn:
            for table in (t.event, t.point_entry, t.tier_change, t.enrollment, t.message):
                print(f"{table.name}: {conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one():,}")
        began = time.perf_counter()
        story.compare(year)
        found = [lives.life(person, hops) for person in year.people]
        kinds = Counter(f"{a} to {b}" for one in found for _, a, b, _ in one.changes)
        print(f"compared in {time.perf_counter() - began:.0f} s: every day is as it should be; {dict(kinds)}")
        print({name: sum(len(getattr(one, name)) for one in found) for name in ("expiries", "at_risk", "expiring")})
        store.close()


if __name__ == "__main__":
    main(sys.argv[1:])
