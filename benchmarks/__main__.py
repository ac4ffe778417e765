"""Speeds beside their floors, taken in the same run.

python -m benchmarks [10000 100000 …] [--only sqlite|postgresql|channels]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import channels, gate, sealing
from benchmarks.campaign import Line, stages
from tests.postgres import DURABLE, server

SIZES = (10_000, 100_000)


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[Callable[[], str]]:
    """A maker of empty databases that survive a power cut: no speed is bought with fsync."""
    numbers = count()
    if kind == "sqlite":
        yield lambda: f"sqlite:///{folder / f'bench{next(numbers)}.db'}"
        return
    with server(settings=DURABLE) as pg:
        yield pg.create_database


def table(title: str, lines: list[Line]) -> Table:
    made = Table(title=title, title_justify="left")
    made.add_column("stage")
    for name in ("rows", "seconds", "rows/s", "floor rows/s", "ratio to floor", "statements per 1,000"):
        made.add_column(name, justify="right")
    for line in lines:
        made.add_row(
            line.stage,
            f"{line.count:,}",
            f"{line.seconds:.2f}",
            f"{line.count / line.seconds:,.0f}",
            "" if line.floor is None else f"{line.count / line.floor:,.0f}",
            "" if line.ratio is None else f"{line.ratio:.2f}",
            "" if line.statements is None else f"{line.statements:.1f}",
        )
    return made


def main(arguments: list[str]) -> None:
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else None
    sizes = [int(a) for a in arguments if a.isdigit()] or list(SIZES)
    console = Console()
    for kind in ("sqlite", "postgresql"):
        if only not in (None, kind):
            continue
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder, databases(kind, Path(folder)) as fresh:
                made = chain(
                    stages(Path(folder), size, fresh),
                    gate.stages(Path(folder), size, fresh),
                    sealing.stages(size, fresh),
                )
                lines = list(track(made, f"{kind} {size:,}", total=14, console=console))
            console.print(table(f"{kind}, {size:,} customers", lines))
    if only in (None, "channels"):
        console.print(table("channels", list(track(channels.stages(), "channels", total=8, console=console))))


if __name__ == "__main__":
    main(sys.argv[1:])
