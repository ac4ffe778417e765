"""Rows in a text: CSV and JSON Lines, line by line, with what to do about a line that is broken.

An entry is (line, row, problem): the line's number in the file, from 1; the cells by column; and "" or why the line
could not be read, in one sentence. A broken line never takes the ones after it along.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

Entry = tuple[int, dict[str, Any], str]

LINE, PROBLEM, RAW = "_line", "_problem", "_raw"
"""Columns that a quarantine file adds. Columns that begin with an underscore are ignored when it is imported again."""

LONGEST_CELL = 100_000
"""Characters of a cell in a quarantine file: a reader of CSV takes a cell of more than 131,072 for an open quote."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Unreadable(Exception):
    """The text as a whole is no such sheet. The message says why and what to do; it begins with the line."""


class _Lines:
    """The lines of a text, one after the other; remembers those since the last record, and can take them back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self.number += 1
        return line

    def keep_only_the_first(self) -> str:
        """The lines after the first one will come again."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        return self.taken[0]


class CsvSheet:
    """A CSV text with a header. The delimiter is whichever of comma, semicolon and tab the header has most of.

    `lines` keep their ends (open the file with newline=""): a quoted cell may hold line breaks. Raises Unreadable for
    an empty text and for a header that repeats a column.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = _Lines(lines)
        first = next((line for line in self._lines if line.strip()), "")
        if not first:
            raise Unreadable("line 1: the file is empty; its first line must name the columns")
        self.delimiter = max(",;\t", key=first.count)
        try:
            header = next(csv.reader([first], delimiter=self.delimiter, strict=True))
        except csv.Error:
            raise Unreadable("line 1: the names of the columns cannot be read; a quote is missing") from None
        self.columns = tuple(name.strip() for name in header)
        repeated = sorted(name for name, times in Counter(self.columns).items() if times > 1)
        if repeated:
            listed = ", ".join(f"`{name}`" if name else "without a name" for name in repeated)
            raise Unreadable(f"line 1: more than one column {listed}; every column needs a name of its own")

    def __iter__(self) -> Iterator[Entry]:
        lines, columns = self._lines, self.columns
        wanted = len(columns)
        while True:
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            lines.taken.clear()
            try:
                for cells in reader:
                    taken = lines.taken
                    if len(cells) == wanted:
                        yield lines.number - len(taken) + 1, dict(zip(columns, cells, strict=True)), ""
                    elif cells:
                        if len(taken) > 1:
                            # A quote that was never closed may have swallowed good lines.
                            yield self._broken(lines.keep_only_the_first())
                            break
                        yield self._broken(taken[0])
                    taken.clear()
                else:
                    return
            except csv.Error:
                yield self._broken(lines.keep_only_the_first())

    def _broken(self, line: str) -> Entry:
        """What can be had of a line that is cut off or has a cell too many. Nothing of it is lost."""
        try:
            cells = next(csv.reader([line], delimiter=self.delimiter), [])
        except csv.Error:  # a cell beyond all measure
            cells = line.rstrip("\r\n").split(self.delimiter)
        row: dict[str, Any] = dict(zip(self.columns, cells, strict=False))
        problem = f"{len(cells)} cells where the header names {len(self.columns)}"
        if len(cells) == len(self.columns) and max(map(len, cells)) > LONGEST_CELL:
            problem = "a cell too long to be read"
        elif len(cells) > len(self.columns):
            surplus = self.delimiter.join(cells[len(self.columns) :])
            problem += f"; left over: {surplus.rstrip()}"
        elif line.count('"') % 2:
            problem += "; a quote is opened and not closed"
        if not line.endswith(("\n", "\r")):
            problem += "; the file ends in the middle of this line"
        return self._lines.number, row, problem

    def quarantine_header(self) -> str:
        return csv_line([*self._kept(), LINE, PROBLEM], self.delimiter)

    def quarantine(self, line: int, row: Mapping[str, Any], problem: str) -> str:
        """A refused row as a line that can be mended and imported again."""
        cells = [row.get(name, "") for name in self._kept()]
        for n, name in enumerate(self._kept()):
            if isinstance(cells[n], str) and len(cells[n]) > LONGEST_CELL:
                cells[n] = cells[n][:LONGEST_CELL]
                problem += f"; `{name}` is cut off here, the rest of it is in the file it came from"
        return csv_line([*cells, line, problem], self.delimiter)

    def _kept(self) -> Sequence[str]:
        return [name for name in self.columns if not name.startswith("_")]


class JsonSheet:
    """JSON Lines: one object a line."""

    columns: tuple[str, ...] = ()

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[Entry]:
        for number, line in enumerate(self._lines, 1):
            if not line.strip():
                continue
            try:
                row = _decode(line)
            except (msgspec.DecodeError, UnicodeError) as exc:
                ends = "" if line.endswith("\n") else "; the file ends in the middle of this line"
                yield number, {RAW: line.rstrip("\r\n")}, f"this is no JSON object: {exc}{ends}"
                continue
            if isinstance(row, dict):
                yield number, row, ""
            else:
                yield number, {RAW: line.rstrip("\r\n")}, "this is no JSON object; write {…} with a member a column"

    def quarantine_header(self) -> str:
        return ""

    def quarantine(self, line: int, row: Mapping[str, Any], problem: str) -> str:
        """A refused row as a line that can be mended and imported again."""
        kept = {k: v for k, v in row.items() if not k.startswith("_") or k == RAW}
        return _encode({**kept, LINE: line, PROBLEM: problem}).decode() + "\n"


def csv_line(cells: Sequence[Any], delimiter: str = ",") -> str:
    """One line of CSV, with its end."""
    out = io.StringIO()
    # With "\n" for its line's end, Python's writer leaves a lone carriage return unquoted.
    quoting: Literal[0, 1] = csv.QUOTE_ALL if any("\r" in str(cell) for cell in cells) else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerow(cells)
    return out.getvalue()
