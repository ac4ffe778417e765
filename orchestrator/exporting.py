"""The log of a period as a file for an auditor: a row for every decision, outcome, feedback and operation.

What was judged on is opened for it, of everybody whose key still stands; where it was destroyed, the cell says
"erased". A person is a number, which this database alone can resolve; the key by which the outside calls somebody
stands only in an export of that one person. A file appears whole or not at all, and its manifest after it.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

import msgspec
import sqlalchemy as sa

import orchestrator
from orchestrator import paper
from orchestrator.merkle import verifier
from orchestrator.rules import stamp
from orchestrator.store import auditing, log, rights, tree
from orchestrator.store.auditing import Line
from orchestrator.store.database import Store, uncollected
from orchestrator.store.keys import Keys
from orchestrator.store.vault import Damaged, unseal

Format = Literal["csv", "jsonl", "parquet", "pdf"]
FORMATS: Final = ("csv", "jsonl", "parquet", "pdf")
CHUNK = 2_000
PAGES = 5_000
"""More lines than this nobody reads on paper: as PDF they are refused."""
ERASED, DAMAGED = "erased", "damaged"
Progress = Callable[[int], None]
"""Told how many rows are written."""

COLUMNS: Final[Mapping[str, str]] = {
    "line": "number of the line in the log",
    "at": "when it was written, UTC",
    "kind": "decision, outcome, feedback or operation",
    "verdict": "allow, hold, deny; what became of it; what was heard of it; what was done",
    "reason": "the reason's code (docs/reference/reasons.md)",
    "rule": "the rule that decided",
    "leaf": "index of the line's leaf in the log's tree; empty while it is not sealed",
    "message": "number of the message",
    "attempt": "number of the attempt",
    "attempt_id": "the attempt's name at the provider",
    "customer": "number of the customer, which this database alone can resolve",
    "customer_key": "the customer's own key; only in an export of one customer",
    "account": "number of the account",
    "addressee": "customer, staff or system",
    "medium": "email, sms, push, mail, task, webhook or audience",
    "topic": "what one says yes or no to",
    "purpose": "marketing or transactional",
    "origin": "who planned the message: a journey",
    "journey": "name of the journey",
    "journey_version": "hash of the journey as the person went through it",
    "step": "step of the journey",
    "visit": "how often the person came to that step before",
    "file": "file of the journey",
    "source_line": "line of the step in it",
    "template": "name of the text",
    "template_hash": "hash of the text's fixed part",
    "content_hash": "hash of the words as this person got them (sealed)",
    "locale": "language of the words (sealed)",
    "address_hash": "keyed hashes of the addresses (sealed)",
    "project": "hash of everything that was in force",
    "policies": "hash of the policies it was judged under",
    "ruleset": "version of the legal ruleset",
    "rules": "version of the program, and hash of its rules",
    "tzdata": "version of the time zone data",
    "holidays": "version of the holiday data",
    "until": "held until, or tried again at",
    "local_time": "wall clock of the first candidate zone (sealed)",
    "zones": "candidate time zones, each with its source (sealed)",
    "places": "candidate jurisdictions, each with its source (sealed)",
    "hours": "what quiet hours were judged on, as JSON (sealed)",
    "caps": "contacts that counted, and what the caps said, as JSON (sealed)",
    "suppressions": "suppressions of the address, as JSON (sealed)",
    "verdicts": "what every rule said, as JSON",
    "inputs": "what every rule looked at, as JSON (sealed)",
    "consent_events": "numbers of the consent events relied on",
    "consent_basis": "on what ground, by event; of a confirmation, its request's",
    "consent_method": "how it was given, by event",
    "consent_action": "what was said, by event",
    "consent_at": "when, UTC, by event",
    "consent_wording": "hash of the words shown, by event; of a confirmation, its request's",
    "provider": "who carried it",
    "provider_id": "its number there",
    "operation": "what else an operation says of itself, as JSON",
    "sealed": 'empty: the sealed columns were opened; "erased": destroyed with the person\'s key; "damaged"',
}
"""Every column, and what it is; docs/reference/audit-export.md is the page of this."""
SEALED: Final = tuple(name for name, what in COLUMNS.items() if "(sealed)" in what)
_NUMBERS: Final = ("line", "leaf", "message", "attempt", "customer", "account", "visit", "source_line")
_OWN: Final = ("project", "policies", "ruleset", "rules", "tzdata", "holidays", "file", "template_hash", "until")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="deterministic").encode
Row = dict[str, Any]


class CannotExport(Exception):
    """It cannot be written so. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """`rows` by kind in `counts`; `unsealed` of them have no leaf yet, of `erased` what was judged on is destroyed."""

    file: Path
    manifest: Path
    rows: int
    counts: Mapping[str, int]
    unsealed: int
    erased: int
    size: int
    sha256: str


def export(
    store: Store,
    keys: Keys,
    folder: Path,
    *,
    since: datetime | None,
    until: datetime,
    now: datetime,
    form: Format = "csv",
    customer: str | None = None,
    progress: Progress = lambda rows: None,
) -> ExportReport:
    """Write the log's lines of [since, until), on one snapshot of the database.

    `customer`: the key of somebody; then only lines about messages to or about her. Raises CannotExport, LookupError
    where nobody is called that, OSError where the folder cannot be written to.
    """
    _can_write(form)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with store.read() as conn, uncollected():
        chosen = None if customer is None else _customer(conn, customer)
        work = _Work(conn, keys, None if chosen is None else auditing.keys_of(conn, chosen))
        name = _name(since, until, chosen)
        path = folder / f"{name}.{form}"
        with _whole(path) as draft:
            _written(draft, form, work.rows(since, until, chosen, progress), work, _title(since, until))
        size, digest = path.stat().st_size, _sha256(path)
        counts = {kind: work.counts[kind] for kind in ("decision", "outcome", "feedback", "operation")}
        manifest = _manifest(conn, keys, path.name, size, digest, work)
        told = {"from": since and stamp(since), "to": stamp(until), "written_at": stamp(now), "format": form}
        manifest = {**told, "customer": chosen[0] if chosen else None, **manifest}
    beside = folder / f"{name}.{form}.manifest.json"
    with _whole(beside) as draft:
        draft.write_bytes(msgspec.json.format(_encode(manifest), indent=2) + b"\n")
    rows = sum(counts.values())
    return ExportReport(path, beside, rows, counts, work.unsealed, work.erased, size, digest)


def _customer(conn: sa.Connection, key: str) -> tuple[int, ...]:
    found = rights.person(conn, key)
    if found is None:
        raise LookupError(key)
    return found.ids


def _name(since: datetime | None, until: datetime, chosen: Sequence[int] | None) -> str:
    """A name that says nothing of a person but the number; an erasure knows its own files by it."""
    begin = f"{since.astimezone(UTC):%Y%m%dT%H%MZ}" if since is not None else "beginning"
    whose = f"customer-{chosen[0]}-" if chosen else ""
    return f"{whose}audit-{begin}-{until.astimezone(UTC):%Y%m%dT%H%MZ}"


def _title(since: datetime | None, until: datetime) -> str:
    begin = f"{since.astimezone(UTC):%Y-%m-%d %H:%M}" if since is not None else "the beginning"
    return f"The send log from {begin} to {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _manifest(conn: sa.Connection, keys: Keys, name: str, size: int, digest: str, work: _Work) -> dict[str, Any]:
    head, log_name = tree.newest(conn), tree.origin(conn)
    return {
        "file": {"name": name, "bytes": size, "sha256": digest},
        "rows": sum(work.counts.values()),
        "kinds": dict(work.counts),
        "first_line": work.first,
        "last_line": work.last,
        "not_sealed_yet": work.unsealed,
        "erased": work.erased,
        "log": log_name,
        "log_key": str(verifier(log_name, keys.sign)) if log_name else None,
        "checkpoint": {"size": head.size, "root": head.root.hex(), "note": head.note} if head else None,
        "program": orchestrator.__version__,
        "columns": COLUMNS,
    }


# ---- rows -----------------------------------------------------------------------------------------------------------


class _Work:
    """One export: lines as rows, and what is counted of them on the way."""

    def __init__(self, conn: sa.Connection, keys: Keys, names: Mapping[int, str] | None) -> None:
        self.conn, self.keys, self.names = conn, keys, names
        self.counts: Counter[str] = Counter()
        self.unsealed = self.erased = 0
        self.first: int | None = None
        self.last: int | None = None

    def rows(
        self, since: datetime | None, until: datetime, chosen: Sequence[int] | None, progress: Progress
    ) -> Iterator[list[Row]]:
        """Chunk by chunk."""
        after, done = 0, 0
        while chunk := auditing.lines(self.conn, since=since, until=until, after=after, limit=CHUNK, customers=chosen):
            yield self._made(chunk)
            after, done = chunk[-1].id, done + len(chunk)
            self.first = chunk[0].id if self.first is None else self.first
            self.last = after
            progress(done)

    def _made(self, chunk: Sequence[Line]) -> list[Row]:
        bodies = [_decode(line.body) for line in chunk]
        consents = auditing.consents(self.conn, (i for body in bodies for i in body.get("consents", ())))
        decided = [line for line in chunk if line.kind == "decision"]
        opened = log.person_keys(self.conn, self.keys, {line.owner for line in decided if line.detail is not None})
        gone = auditing.erased_among(self.conn, (i for line in decided if (i := line.customer_id) is not None))
        made = []
        for line, body in zip(chunk, bodies, strict=True):
            row: Row = dict.fromkeys(COLUMNS)
            self._plain(row, line, body)
            if line.kind == "decision":
                self._decision(row, line, body, opened, gone)
                _consents(row, body, consents)
            made.append(row)
            self.counts[line.kind] += 1
            self.unsealed += line.entry is None
        return made

    def _plain(self, row: Row, line: Line, body: Row) -> None:
        """What stands in the line itself, and of its message what the line does not repeat."""
        row |= {
            "line": line.id,
            "at": line.at,
            "kind": line.kind,
            "verdict": line.verdict,
            "reason": line.reason,
            "rule": line.rule,
            "leaf": line.entry,
            "message": line.message_id,
            "attempt": line.attempt if line.message_id is not None else None,
            "attempt_id": body.get("attempt"),
            "customer": body.get("customer", line.customer_id),
            "account": body.get("account", line.account_id),
            "journey_version": body.get("version", line.version),
            "source_line": body.get("line"),
            "provider": body.get("provider"),
            "provider_id": body.get("provider_id"),
        }
        for name in ("addressee", "medium", "topic", "purpose", "origin", "journey", "step", "visit", "template"):
            row[name] = body.get(name, getattr(line, name))
        for name in _OWN:
            row[name] = body.get(name)
        row["until"] = row["until"] or body.get("again")
        if self.names is not None and row["customer"] in self.names:
            row["customer_key"] = self.names[row["customer"]]
        if line.kind == "operation":
            row["operation"] = _json(body)

    def _decision(self, row: Row, line: Line, body: Row, opened: Mapping[int | None, bytes], gone: set[int]) -> None:
        row["verdicts"] = _json(body.get("verdicts", {}))
        detail, why = _opened(line, opened)
        if detail is None:
            why = why or (ERASED if line.commitment is not None or line.customer_id in gone else "")
            if why:
                self.erased += why == ERASED
                row |= dict.fromkeys(SEALED, why)
            row["sealed"] = why
            return
        standing = detail.get("standing") or {}
        said = {verdict["rule"]: verdict for verdict in detail["verdicts"]}
        caps = {"contacts": len(standing.get("contacts", ())), **said.get("frequency_cap", {})}
        row |= {
            "content_hash": detail.get("content_hash"),
            "locale": detail.get("locale"),
            "address_hash": " ".join(detail.get("addresses", ())),
            "local_time": detail.get("local"),
            "zones": " ".join(f"{name}({source})" for name, source in standing.get("zones", ())),
            "places": " ".join(_place(*place) for place in standing.get("places", ())),
            "hours": _json(said["quiet_hours"].get("inputs", {})) if "quiet_hours" in said else None,
            "caps": _json({name: value for name, value in caps.items() if name != "rule"}),
            "suppressions": _json(standing.get("suppressions", [])),
            "inputs": _json({rule: v["inputs"] for rule, v in said.items() if "inputs" in v}),
            "sealed": "",
        }


def _opened(line: Line, opened: Mapping[int | None, bytes]) -> tuple[Row | None, str]:
    """(what the decision was made on, why it cannot be read)."""
    if line.detail is None or line.salt is None:
        return None, ""
    key = opened.get(line.owner)
    if key is None:
        return None, ERASED
    try:
        return _decode(unseal(key, bytes(line.salt), bytes(line.detail))), ""
    except (Damaged, msgspec.DecodeError):
        return None, DAMAGED


def _place(country: str, region: str | None, source: str) -> str:
    return f"{country}-{region}({source})" if region else f"{country}({source})"


def _consents(row: Row, body: Row, known: Mapping[int, Mapping[str, Any]]) -> None:
    ids: Sequence[int] = body.get("consents") or ()
    if not ids:
        return
    told = [known.get(i, {}) for i in ids]

    def each(name: str) -> str:
        return " ".join(str(event.get(name) or "none") for event in told)

    row["consent_events"] = " ".join(map(str, ids))
    for name in ("basis", "method", "action", "wording"):
        row[f"consent_{name}"] = each(name)
    row["consent_at"] = " ".join(stamp(event["occurred_at"]) if event else "none" for event in told)


def _json(value: Any) -> str:
    return _encode(value).decode()


# ---- files ----------------------------------------------------------------------------------------------------------


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A draft beside the file, for its owner's eyes only, that takes its place at the end, or leaves no trace."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Writer(Protocol):
    def __call__(self, rows: Sequence[Row], /) -> None: ...


def _written(path: Path, form: Format, chunks: Iterator[list[Row]], work: _Work, title: str) -> None:
    match form:
        case "csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                _each(chunks, _csv(file))
        case "jsonl":
            with path.open("wb") as file:
                _each(chunks, lambda rows: file.writelines(_encode(_told(row)) + b"\n" for row in rows))
        case "parquet":
            _parquet(path, chunks)
        case "pdf":
            path.write_bytes(_pdf(chunks, work, title))


def _each(chunks: Iterator[list[Row]], write: _Writer) -> None:
    for rows in chunks:
        write(rows)


def _told(row: Row) -> Row:
    """For JSON: instants as text, what is not known left out."""
    found = {name: value for name, value in row.items() if value not in (None, "")}
    return {**found, "at": stamp(row["at"])}


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _csv(file: IO[str]) -> _Writer:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)

    def write(rows: Sequence[Row]) -> None:
        for row in rows:
            row["at"] = stamp(row["at"])
            writer.writerow([_cell(value) for value in row.values()])

    return write


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _can_write(form: Format) -> None:
    """Say at once that a format's package is missing."""
    if form == "pdf":
        try:
            paper.ready()
        except paper.NoPaper as error:
            raise CannotExport(str(error)) from None
    if form == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            what = "Parquet needs pyarrow: pip install 'campaign-orchestrator[parquet]'; or take csv or jsonl"
            raise CannotExport(what) from None


def _parquet(path: Path, chunks: Iterator[list[Row]]) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds = {name: pyarrow.int64() if name in _NUMBERS else pyarrow.string() for name in COLUMNS}
    kinds["at"] = pyarrow.timestamp("us", tz="UTC")
    schema = pyarrow.schema(kinds.items())
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in chunks:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


_ON_PAPER: Final = (
    *("line", "at", "message", "customer", "medium", "topic", "journey", "kind", "verdict", "reason", "rule"),
    *("consent_events", "leaf"),
)


def _pdf(chunks: Iterator[list[Row]], work: _Work, title: str) -> bytes:
    shown: list[list[str]] = []
    for rows in chunks:
        if len(shown) + len(rows) > PAGES:
            raise CannotExport(f"these are more than {PAGES:,} lines: take a shorter time, one customer, or csv")
        shown += [[_on_paper(row[name]) for name in _ON_PAPER] for row in rows]
    head, name = tree.newest(work.conn), tree.origin(work.conn) or ""
    foot = f"{name}, checkpoint of {head.size:,} entries, root {head.root.hex()}" if head else "nothing is sealed yet"
    return paper.table_pdf(title, [name.replace("_", " ") for name in _ON_PAPER], shown, foot)


def _on_paper(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "" if value is None else str(value)
