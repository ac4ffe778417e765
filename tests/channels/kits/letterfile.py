import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from channels.base import Inbound, Medium, Site
from channels.letterfile import Letterfile, connect
from tests.channels.kit import NOW, Kit, outbound


def letterfile(folder: Path, /, **options: object) -> Letterfile:
    """A print house that sets the letters itself: quick. Options as in the settings."""
    site = Site(folder, lambda: NOW, b"a secret of this installation")
    given = {"zone": "Europe/Berlin", "country": "DE", "language": "de", "print": "records", "proofs": False, **options}
    return connect(Medium.MAIL, given, site)


def kits(folder: Path) -> list[Kit]:
    channel = letterfile(folder)

    def taken() -> list[str]:
        return [piece for job in sorted((folder / "letters").glob("*/*_records.csv")) for piece in pieces(job)]

    def genuine(attempts: Sequence[str]) -> list[tuple[Inbound, int]]:
        list(channel.send([replace(outbound(Medium.MAIL), attempt=attempt) for attempt in attempts]))
        job = channel.jobs()[-1].id
        receipt = {"job": job, "accepted": len(attempts) - 1, "rejects": [{"piece_id": attempts[0], "reason": "x"}]}
        lines = "".join(f'"{attempt}","unknown","2027-01-13"\n' for attempt in attempts)
        return [
            (channel.inbound(f"{job}/{job}_receipt.json", json.dumps(receipt).encode()), len(attempts)),
            (channel.inbound("returns/post.csv", b"piece_id,reason,date\n" + lines.encode()), len(attempts)),
            (channel.inbound("returns/none.csv", b"piece_id,reason,date\n"), 0),
        ]

    return [Kit(channel, taken, genuine=genuine)]


def pieces(records: Path) -> list[str]:
    """The piece ids of a job's records."""
    with records.open(encoding="utf-8", newline="") as file:
        return [row["piece_id"] for row in csv.DictReader(file)]
