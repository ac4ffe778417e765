"""A job that still lies where we can reach it, without the letters of somebody who asked to be erased."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

from channels.letterfile.ledger import replace


def thin(folder: Path, job: str, own: set[str]) -> int:
    """Remove these pieces' letters and rows; the manifest says how many are gone, and what the files are now."""
    gone = 0
    letters = folder / f"{job}_letters"
    for path in letters.iterdir() if letters.is_dir() else ():
        if path.stem in own:
            path.unlink(missing_ok=True)
    records = folder / f"{job}_records.csv"
    if not records.exists():
        return gone
    with records.open(encoding="utf-8", newline="") as file:
        ending = "\r\n" if "\r\n" in file.readline() else "\n"
        file.seek(0)
        head, *rows = csv.reader(file)
    kept = [row for row in rows if row and row[0] not in own]
    gone = len(rows) - len(kept)
    if not gone:
        return 0
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=ending).writerows([head, *kept])
    data = out.getvalue().encode()
    replace(records, data)
    path = folder / f"{job}_manifest.json"
    if path.exists():
        manifest = json.loads(path.read_bytes())
        letters_of = {f"{job}_letters/{piece}.pdf" for piece in own}
        hashes = {name: digest for name, digest in manifest["sha256"].items() if name not in letters_of}
        # What was counted by country and template stays: of so few it could say who is gone.
        manifest |= {"rows": len(kept), "withdrawn": manifest.get("withdrawn", 0) + gone}
        manifest["sha256"] = hashes | {records.name: hashlib.sha256(data).hexdigest()}
        replace(path, json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n")
    return gone
