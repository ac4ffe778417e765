"""Files as sheets of rows: looked through, opened whatever their form, and what is refused of them put aside."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from orchestrator.sheet import CsvSheet, Entry, JsonSheet, Unreadable


class ImportRefused(Exception):
    """The file as a whole cannot be imported; nothing of it was stored by this call. Says where, why and what to do."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not stored. `problem` names no person's data; `row` is that data."""

    line: int
    row: Mapping[str, Any]
    problem: str


class Sheet(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...
    def __iter__(self) -> Iterator[Entry]: ...
    def quarantine_header(self) -> str: ...
    def quarantine(self, line: int, row: Mapping[str, Any], problem: str) -> str: ...


_CSV, _JSON, _PARQUET = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson"), (".parquet", ".pq")


def fingerprint(path: Path) -> tuple[str, int | None]:
    """(SHA-256 of the content, its lines), and a look at every byte: half a file in another encoding is none."""
    if path.suffix.lower() not in (*_CSV, *_JSON, *_PARQUET):
        raise ImportRefused(
            f"{path.name}: the ending `{path.suffix}` is not known; import .csv, .jsonl or .parquet files"
        )
    digest, lines = hashlib.sha256(), 0
    decode = None if path.suffix.lower() in _PARQUET else codecs.getincrementaldecoder("utf-8")().decode
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                if decode is not None:
                    if b"\0" in chunk:
                        raise ImportRefused(f"{path.name}: this is not UTF-8 text; save it as `CSV UTF-8`")
                    decode(chunk)
                    lines += chunk.count(b"\n")
            if decode is not None:
                decode(b"", True)
    except UnicodeDecodeError as exc:
        line = lines + exc.object.count(b"\n", 0, exc.start) + 1
        raise ImportRefused(
            f"{path.name}: line {line}: this is not UTF-8 (it looks like Latin-1 or Windows-1252, in which umlauts and "
            "accents would be guesses); save it as `CSV UTF-8`"
        ) from None
    except OSError as exc:
        raise ImportRefused(f"{path.name}: cannot be read: {exc.strerror}") from None
    return digest.hexdigest(), lines if decode is not None else None


class opened:
    """The sheet in a file, which is closed at the end of the block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> Sheet:
        path = self._path
        if path.suffix.lower() in _PARQUET:
            return _ParquetSheet(path)
        self._file = path.open(encoding="utf-8-sig", newline="" if path.suffix.lower() in _CSV else "\n")
        try:
            return CsvSheet(self._file) if path.suffix.lower() in _CSV else JsonSheet(self._file)
        except Unreadable as exc:
            self._file.close()
            raise ImportRefused(f"{path.name}: {exc}") from None

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


class _ParquetSheet(JsonSheet):
    """Rows of a Parquet file; refused ones are written as JSON Lines, which can be mended with an editor."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet
        except ImportError:
            raise ImportRefused(
                f"{path.name}: reading Parquet needs the package pyarrow; install `campaign-orchestrator[parquet]`, "
                "or export the file as CSV or JSON Lines"
            ) from None
        try:
            self._parquet = pyarrow.parquet.ParquetFile(path)
        except (OSError, ValueError) as exc:  # pyarrow's own errors are both
            raise ImportRefused(f"{path.name}: this is no Parquet file: {str(exc).splitlines()[0]}") from None
        self.columns = tuple(self._parquet.schema_arrow.names)
        self._name = path.name
        if twice := sorted(name for name, times in Counter(self.columns).items() if times > 1):
            raise ImportRefused(f"{path.name}: more than one column `{twice[0]}`; every column needs a name of its own")

    def __iter__(self) -> Iterator[Entry]:
        line = 0
        with self._parquet as opened:
            try:
                for part in opened.iter_batches(batch_size=10_000):
                    for row in _in_python(part):
                        line += 1
                        yield line, row, ""
            except (OSError, ValueError, OverflowError) as exc:  # pyarrow's own errors are the first two
                raise ImportRefused(
                    f"{self._name}: behind row {line:,} the file cannot be read: {str(exc).splitlines()[0]}; "
                    "write it anew; what was imported of it stays"
                ) from None


def _in_python(part: Any) -> list[dict[str, Any]]:
    """A batch's rows. Python's times go down to microseconds: nanoseconds, which pandas writes, are cut off."""
    import pyarrow

    columns = [
        column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
        if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns"
        else column
        for column in part.columns
    ]
    rows: list[dict[str, Any]] = pyarrow.RecordBatch.from_arrays(columns, names=part.schema.names).to_pylist()
    return rows


class Quarantine:
    """Where refused rows go. Made at the first of them; readable for its owner only, as it holds people's data."""

    def __init__(self, path: Path, sheet: Sheet) -> None:
        self.path = path
        self._sheet = sheet
        self._file: Any = None

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def keep(self, rows: int) -> None:
        """Leave the first so many rows of an interrupted run: what came after them was not committed."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            found = CsvSheet(file) if self.path.suffix.lower() in _CSV else JsonSheet(file)
            kept = list(islice(found, rows))
        self.path.unlink()
        self._open()
        # Read back and written anew they are the same lines.
        self._write(Refused(row.pop("_line"), row, row.pop("_problem")) for _, row, _ in kept)

    def write(self, refused: Sequence[Refused]) -> None:
        """Append, and see it on the disk."""
        if refused:
            self._open()
            self._write(refused)

    def size(self) -> int:
        """Its length in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, size: int) -> None:
        """Back to a length it had."""
        if self.size() > size:
            os.truncate(self.path, size)

    def _open(self) -> None:
        if self._file is None:
            new = self.size() == 0
            self._file = os.fdopen(os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "w", newline="")
            if new:
                self._file.write(self._sheet.quarantine_header())

    def _write(self, refused: Iterable[Refused]) -> None:
        for r in refused:
            self._file.write(self._sheet.quarantine(r.line, r.row, r.problem))
        self._file.flush()
        os.fsync(self._file.fileno())
