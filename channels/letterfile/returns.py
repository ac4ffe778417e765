"""What a print house tells: receipts as JSON, returned post as CSV. A row that cannot be read is kept with its reason.

A receipt: {"job": JOB, "state": "acknowledged" | "approved" | "mailed", "at": INSTANT, "accepted": COUNT,
"rejects": [{"piece_id": …, "reason": …}]}. A list of returns has the columns piece_id (or return_code), reason, date,
and perhaps new_address, which stays in the house's file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from channels.base import Event, EventKind, Reason
from channels.letterfile.ledger import LATER, Entry

_STATES = LATER[:3]
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
"""Nothing was ever posted before. The year 1 is none any more in some zones: one such row must not stop all files."""
_REJECTS: Mapping[str, Reason] = {
    "address": Reason.INVALID_ADDRESS,
    "invalid_address": Reason.INVALID_ADDRESS,
    "content": Reason.CONTENT,
    "too_large": Reason.TOO_LARGE,
}
"""Why a house does not print a piece; anything else is the house's own."""
_RETURNS: Mapping[str, Reason | None] = {
    **dict.fromkeys(("unknown", "unknown_address", "gone_away", "moved", "deceased"), Reason.UNKNOWN_ADDRESS),
    **dict.fromkeys(("insufficient_address", "invalid_address"), Reason.INVALID_ADDRESS),
    **dict.fromkeys(("refused", "unclaimed", "damaged", "other"), None),
}
"""Why a letter came back. Who did not take it in still lives there."""


@dataclass(slots=True)
class Report:
    """A file read: what happened, which rows could not be read, and what becomes of jobs."""

    events: list[Event] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)  # line, why, the row as it came
    states: dict[str, str] = field(default_factory=dict)  # job → what it is now
    notes: dict[str, str] = field(default_factory=dict)

    def file(self) -> bytes:
        """The refused rows as a table; empty when there are none."""
        if not self.refused:
            return b""
        out = io.StringIO(newline="")
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
            [("line", "problem", "row"), *((str(n), why, row) for n, why, row in self.refused)]
        )
        return out.getvalue().encode("utf-8", "replace")


def read(body: bytes, entries: Iterable[Entry], now: datetime, zone: ZoneInfo) -> Report:
    """Never raises: what cannot be read is in `refused`."""
    released = {entry.job: entry for entry in entries if entry.released}
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Report(refused=[(0, "the file is not UTF-8", "")])
    if text.lstrip()[:1] == "{":
        return _receipt(text, released, now)
    return _returns(text, released, now, zone)


# ---- receipts -------------------------------------------------------------------------------------------------------


def _receipt(text: str, released: Mapping[str, Entry], now: datetime) -> Report:
    found = Report()
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        found.refused.append((0, "the receipt is no JSON object", text[:2000]))
        return found
    entry = released.get(str(said.get("job", "")))
    if entry is None or entry.dropped_at is None:
        found.refused.append((0, "`job` names no job that was dropped here", text[:2000]))
        return found
    state = said.get("state", "acknowledged")
    if state not in _STATES:
        found.refused.append((0, f"`state` is none of {', '.join(_STATES)}", str(state)[:200]))
        return found
    at = _instant(said.get("at"), entry.dropped_at, now)
    if at is None:
        found.refused.append((0, "`at` is no instant with its offset, or lies ahead", str(said.get("at"))[:200]))
        return found
    rejects = said.get("rejects", [])
    refused_here: set[str] = set()
    for n, row in enumerate(rejects if isinstance(rejects, list) else [rejects], 1):
        piece = str(row.get("piece_id", "")) if isinstance(row, dict) else ""
        if piece not in entry.pieces:
            found.refused.append((n, "`piece_id` is none of this job's", json.dumps(row)[:2000]))
            continue
        refused_here.add(piece)
        reason = _REJECTS.get(str(row.get("reason", "")).strip().lower(), Reason.PROVIDER)
        if piece not in entry.seeds:
            found.events.append(Event(piece, EventKind.FAILED, at, f"{entry.job}/{piece}", reason))
    if state == "acknowledged":
        for piece in entry.pieces:
            if piece not in refused_here and piece not in entry.seeds:
                found.events.append(Event(piece, EventKind.ACCEPTED, at, f"{entry.job}/{piece}"))
    found.states[entry.job] = state
    accepted = said.get("accepted")
    wanted = len(entry.pieces) - len(refused_here)
    if isinstance(accepted, int) and accepted != wanted:
        found.notes[entry.job] = f"the house counts {accepted} pieces accepted, we count {wanted}"
    return found


def _instant(said: object, default: datetime, now: datetime) -> datetime | None:
    if said is None:
        return default
    try:
        at = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    if at.tzinfo is None or not _FIRST < at < now + timedelta(hours=1):
        return None
    return at.astimezone(UTC)


# ---- returned post --------------------------------------------------------------------------------------------------


def _returns(text: str, released: Mapping[str, Entry], now: datetime, zone: ZoneInfo) -> Report:
    found = Report()
    head_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=head_line.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        found.refused.append((0, "the table cannot be read: a quote is not closed", text[:2000]))
        return found
    head = [name.strip().lower() for name in rows[0]] if rows else []
    if not {"piece_id", "return_code"} & set(head) or "reason" not in head or "date" not in head:
        why = "the first line names no columns piece_id (or return_code), reason, date"
        found.refused.append((1, why, head_line[:2000]))
        return found
    whose = _whose(released.values())
    for line, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row):
            said = dict(zip(head, (cell.strip() for cell in row), strict=False))
            why = _returned(said, whose, now, zone, found)
            if why:
                found.refused.append((line, why, delimiter.join(row)[:2000]))
    return found


def _whose(entries: Iterable[Entry]) -> Callable[[Mapping[str, str]], tuple[Entry, str] | None]:
    by_piece: dict[str, tuple[Entry, str]] = {}
    by_code: dict[str, tuple[Entry, str]] = {}
    for entry in entries:
        for piece, (code, _) in entry.pieces.items():
            by_piece[piece] = by_code[code] = (entry, piece)

    def find(said: Mapping[str, str]) -> tuple[Entry, str] | None:
        return by_piece.get(said.get("piece_id", "")) or by_code.get(said.get("return_code", "").upper())

    return find


def _returned(
    said: Mapping[str, str],
    whose: Callable[[Mapping[str, str]], tuple[Entry, str] | None],
    now: datetime,
    zone: ZoneInfo,
    found: Report,
) -> str:
    """One row taken in, or why it cannot be."""
    known = whose(said)
    if known is None:
        return "piece_id and return_code are of no job that was dropped here"
    entry, piece = known
    reason = said.get("reason", "").lower().replace(" ", "_").replace("-", "_")
    if reason not in _RETURNS:
        return f"reason is none of {', '.join(_RETURNS)}"
    try:
        day = date.fromisoformat(said.get("date", ""))
    except ValueError:
        return "date is no date; write it as 2027-01-31"
    if day <= _FIRST.date():
        return "date lies before the day the job was dropped"
    at = datetime.combine(day, time(), zone).astimezone(UTC)
    if at > now:
        return "date lies ahead"
    if entry.dropped_at is not None and day < entry.dropped_at.astimezone(zone).date():
        return "date lies before the day the job was dropped"
    if piece not in entry.seeds:
        detail = "moved" if said.get("new_address") else ""
        event = Event(piece, EventKind.RETURNED, at, f"{entry.job}/{piece}", _RETURNS[reason], detail=detail)
        found.events.append(event)
    found.states[entry.job] = "returned"
    return ""


def thinned(body: bytes, mine: Callable[[str], bool], entries: Sequence[Entry]) -> bytes | None:
    """A list of returns without these attempts' rows, or None where it has none: new addresses are in it."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    of_code = {code: piece for entry in entries for piece, (code, _) in entry.pieces.items()}
    lines = text.splitlines(keepends=True)
    kept = []
    for line in lines:
        names = {of_code.get(cell.upper(), cell) for cell in line.replace('"', " ").replace(",", " ").split()}
        names |= {of_code.get(cell.strip('"').upper(), cell.strip('"')) for cell in line.replace(";", "\t").split("\t")}
        if not any(mine(name) for name in names):
            kept.append(line)
    return "".join(kept).encode() if len(kept) < len(lines) else None
